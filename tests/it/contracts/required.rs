//! A publisher that asks for it waits for those that are required to have the event, and for nobody else.

use greenroom::RequiredError;

use super::*;

async fn two(capacity: usize, script: &Script) -> (System, [ActorRef<Scripted>; 2]) {
    let tree = Supervisor::one_for_one("app")
        .backoff(Backoff::none())
        .child(Scripted::spec("it", script.clone()).mailbox(capacity))
        .child(Scripted::spec("other", script.clone()).mailbox(capacity));
    let system = start(tree).await.unwrap();
    let find = |path| system.find::<Scripted>(path).unwrap();
    let both = [find("app/it"), find("app/other")];
    script.log.clear();
    (system, both)
}

#[tokio::test(start_paused = true)]
async fn it_waits_for_required_ones_and_not_for_others() {
    let (script, others) = (Script::default(), Script::default());
    let tree = Supervisor::one_for_one("app")
        .child(Scripted::spec("it", script.clone()).mailbox(1))
        .child(Scripted::spec("other", others.clone()).mailbox(1));
    let system = start(tree).await.unwrap();
    let it = system.find::<Scripted>("app/it").unwrap();
    let other = system.find::<Scripted>("app/other").unwrap();
    subscribe(&it, readings().required()).await;
    subscribe(&other, named("others")).await;
    hold(&it, &script).await;
    hold(&other, &others).await;
    let first = system.publish(Reading(ROOM, 0));
    assert_eq!((first.delivered, first.buffered), (2, 0));
    let before = Instant::now();
    first.await_required(SECOND).await.unwrap();
    let second = system.publish(Reading(ROOM, 1));
    assert_eq!((second.delivered, second.buffered), (0, 2));
    let gate = script.gate.clone();
    let opener = tokio::spawn(async move {
        tokio::time::sleep(SECOND / 4).await;
        gate.add_permits(1);
    });
    let second = second.await_required(SECOND).await.unwrap();
    assert_eq!(before.elapsed(), SECOND / 4);
    assert_eq!((second.delivered, second.buffered), (1, 1));
    opener.await.unwrap();
    settle().await;
    assert_eq!(counted(&system, "others").lag, 1);
    assert_eq!(counted(&system, "readings").delivered, 2);
}

#[tokio::test(start_paused = true)]
async fn while_it_waits_the_event_is_kept_though_the_buffer_is_full() {
    let script = Script::default();
    let (system, [it, _]) = two(1, &script).await;
    subscribe(&it, readings().required().buffer(1)).await;
    hold(&it, &script).await;
    assert_eq!(
        publish(&system, 0..4),
        (1, 3, 0),
        "kept as long as the deliveries are"
    );
    assert_eq!(counted(&system, "readings").dropped, [("full", 2)]);
    let deliveries: Vec<Delivery> = (4..7).map(|n| system.publish(Reading(ROOM, n))).collect();
    assert_eq!(counted(&system, "readings").lag, 4);
    let awaited = async {
        for delivery in deliveries {
            delivery.await_required(SECOND).await.unwrap();
        }
    };
    script.gate.add_permits(1);
    awaited.await;
    settle().await;
    assert_eq!(script.log.take()[1..], heard([0, 1, 4, 5, 6]));
}

#[tokio::test(start_paused = true)]
async fn who_has_waited_long_enough_leaves_it_to_the_contract() {
    let script = Script::default();
    let (system, [it, _]) = two(1, &script).await;
    let oldest = readings().when_full(EventOverflow::DropOldest);
    subscribe(&it, oldest.required().buffer(1)).await;
    hold(&it, &script).await;
    publish(&system, 0..2);
    let delivery = system.publish(Reading(ROOM, 2));
    let before = Instant::now();
    let error = delivery.await_required(SECOND).await.unwrap_err();
    assert_eq!(before.elapsed(), SECOND);
    let timed_out = RequiredError::TimedOut {
        left: 1,
        waited: SECOND,
    };
    assert_eq!(error, timed_out);
    assert_eq!(
        error.to_string(),
        "1 required subscriptions had no room after 1s; publish less, or wait for longer"
    );
    assert_eq!(counted(&system, "readings").dropped, [("full", 1)]);
    script.gate.add_permits(1);
    settle().await;
    assert_eq!(script.log.take()[1..], heard([0, 2]));
}

#[tokio::test(start_paused = true)]
async fn who_gives_the_future_up_leaves_it_to_the_contract() {
    let script = Script::default();
    let (system, [it, _]) = two(1, &script).await;
    subscribe(&it, readings().required().buffer(0)).await;
    hold(&it, &script).await;
    publish(&system, 0..1);
    let delivery = system.publish(Reading(ROOM, 1));
    assert_eq!(delivery.buffered, 1);
    let waits = delivery.await_required(SECOND);
    let given_up = tokio::time::timeout(SECOND / 2, waits).await;
    assert!(given_up.is_err());
    let counted = counted(&system, "readings");
    assert_eq!((counted.lag, counted.dropped), (0, vec![("full", 1)]));
}

#[tokio::test(start_paused = true)]
async fn a_restart_keeps_it_waiting_and_a_stop_ends_it() {
    let script = Script::default();
    let (system, [it, other]) = two(2, &script).await;
    subscribe(&it, readings().required()).await;
    subscribe(&other, named("others").required()).await;
    hold(&it, &script).await;
    it.tell(Fail("bust")).await.unwrap();
    publish(&system, 0..1);
    settle().await;
    let delivery = system.publish(Reading(ROOM, 1));
    assert_eq!(delivery.buffered, 1);
    script.gate.add_permits(1);
    delivery.await_required(SECOND).await.unwrap();
    settle().await;
    hold(&other, &script).await;
    publish(&system, 2..4);
    settle().await;
    let delivery = system.publish(Reading(ROOM, 4));
    assert_eq!(delivery.buffered, 1);
    let app = system.supervisor("app").unwrap();
    let stopped = tokio::spawn(async move { app.stop_child("other").await });
    let error = delivery.await_required(SECOND).await.unwrap_err();
    assert_eq!(error, RequiredError::Lost { lost: 1 });
    script.gate.add_permits(1);
    stopped.await.unwrap().unwrap();
    assert!(system.ledger().is_balanced());
}
