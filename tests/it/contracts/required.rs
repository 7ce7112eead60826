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

/// Whom an actor's handler waits for.
fn waits_for(system: &System, path: &str) -> Vec<String> {
    let mut infos = system.snapshot().into_iter();
    let info = infos.find(|info| info.path.as_str() == path).unwrap();
    info.waiting_for.iter().map(ToString::to_string).collect()
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
        subscriptions: vec!["readings".into()],
        kept: 1,
    };
    assert_eq!(error, timed_out);
    assert_eq!(
        error.to_string(),
        "required subscription \"readings\" had no room after 1s, and it keeps the event; \
         publish less, or wait for longer"
    );
    assert_eq!(counted(&system, "readings").dropped, [("full", 1)]);
    script.gate.add_permits(1);
    settle().await;
    assert_eq!(script.log.take()[1..], heard([0, 2]));
}

#[tokio::test(start_paused = true)]
async fn who_has_waited_in_vain_is_told_for_whom_and_what_became_of_the_event() {
    let script = Script::default();
    let (system, [it, other]) = two(1, &script).await;
    subscribe(&it, named("one").required()).await;
    subscribe(&it, named("another").required().buffer(0)).await;
    subscribe(&other, named("quick").required()).await;
    hold(&it, &script).await;
    system.publish(Reading(ROOM, 0));
    let delivery = system.publish(Reading(ROOM, 1));
    let error = delivery.await_required(SECOND).await.unwrap_err();
    let timed_out = RequiredError::TimedOut {
        left: 2,
        waited: SECOND,
        subscriptions: vec!["another".into(), "one".into()],
        kept: 1,
    };
    assert_eq!(error, timed_out);
    assert_eq!(
        error.to_string(),
        "required subscriptions \"another\", \"one\" had no room after 1s, and 1 keep the event, 1 lost it; \
         publish less, or wait for longer"
    );
    assert_eq!(counted(&system, "another").dropped, [("full", 2)]);
    assert_eq!(counted(&system, "one").lag, 1);
    script.gate.add_permits(1);
    system.stop().await;
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
    assert_eq!(
        error.to_string(),
        "1 required subscription has lost the event: it has ended meanwhile, or its contract gave it up"
    );
    script.gate.add_permits(1);
    stopped.await.unwrap().unwrap();
    assert!(system.ledger().is_balanced());
}

#[tokio::test(start_paused = true)]
async fn publishers_that_wait_for_each_other_are_seen_and_told_of() {
    const LONG: Duration = Duration::from_secs(3_600);
    let scripts = [Script::default(), Script::default()];
    let [one, other] = scripts.clone();
    let tree = Supervisor::one_for_one("app")
        .child(Scripted::spec("it", one).mailbox(1))
        .child(Scripted::spec("other", other).mailbox(1));
    let system = start(tree).await.unwrap();
    let both = ["app/it", "app/other"].map(|path| system.find::<Scripted>(path).unwrap());
    for (it, room) in both.iter().zip(["hall", "cellar"]) {
        subscribe(it, named(room).key(room).required()).await;
    }
    let waiting = || ["app/it", "app/other"].map(|path| waits_for(&system, path));
    for ((it, script), to) in both.iter().zip(&scripts).zip(["cellar", "hall"]) {
        let system = system.clone();
        let gate = script.gate.clone();
        let waits = awaiting(async move {
            gate.acquire().await.unwrap().forget();
            let delivery = system.publish(Reading(to, 9));
            assert_eq!(delivery.buffered, 1);
            // As one of the two will be stopped.
            let _ = delivery.await_required(LONG).await;
        });
        it.tell(waits).await.unwrap();
    }
    settle().await;
    for room in ["hall", "cellar"] {
        assert_eq!(
            system.publish(Reading(room, 0)).delivered,
            1,
            "it fills the mailbox"
        );
    }
    assert!(waiting().iter().all(Vec::is_empty));
    scripts.iter().for_each(|script| script.gate.add_permits(1));
    settle().await;
    assert_eq!(waiting(), [["app/other"], ["app/it"]]);
    let suspected = || number(&system.scrape(), Metric::DeadlocksSuspected, &[]);
    until(|| suspected() > 0.0).await;
    assert_eq!(suspected(), 1.0);
    // One of them goes: what the other waits for is lost with it.
    let app = system.supervisor("app").unwrap();
    app.stop_child("other").await.unwrap();
    settle().await;
    assert_eq!(waits_for(&system, "app/it"), [""; 0]);
    system.stop().await;
}

#[tokio::test(start_paused = true)]
async fn who_has_the_event_is_not_waited_for_any_more() {
    let scripts = [Script::default(), Script::default(), Script::default()];
    let [it, other, sender] = scripts.clone();
    let tree = Supervisor::one_for_one("app")
        .child(Scripted::spec("it", it).mailbox(1))
        .child(Scripted::spec("other", other).mailbox(1))
        .child(Scripted::spec("sender", sender));
    let system = start(tree).await.unwrap();
    let find = |path| system.find::<Scripted>(path).unwrap();
    for (path, script) in ["app/it", "app/other"].into_iter().zip(&scripts) {
        subscribe(&find(path), named(path).required()).await;
        hold(&find(path), script).await;
    }
    publish(&system, 0..1);
    let publisher = system.clone();
    let waits = awaiting(async move {
        let delivery = publisher.publish(Reading(ROOM, 1));
        let _ = delivery.await_required(SECOND).await;
    });
    find("app/sender").tell(waits).await.unwrap();
    settle().await;
    let waiting = || waits_for(&system, "app/sender");
    assert_eq!(waiting(), ["app/it", "app/other"]);
    scripts[0].gate.add_permits(1);
    settle().await;
    assert_eq!(waiting(), ["app/other"]);
    tokio::time::sleep(SECOND).await;
    assert_eq!(waiting(), [""; 0], "its time is up");
    scripts[1].gate.add_permits(1);
    system.stop().await;
}
