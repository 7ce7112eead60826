//! Events: who gets them, in which order, and what happens to those who cannot.

use std::time::Duration;

use greenroom::prelude::*;
use greenroom::{ActorState, DeadLetterReason, FindError};
use greenroom_it::*;

use super::start;

fn two(a: &Script, b: &Script, capacity: usize) -> Supervisor {
    Supervisor::one_for_one("app")
        .backoff(Backoff::none())
        .child(Scripted::spec("a", a.clone()).mailbox(capacity))
        .child(Scripted::spec("b", b.clone()).mailbox(capacity))
}

async fn subscribe(system: &System, path: &str) -> ActorRef<Scripted> {
    let it = system.find::<Scripted>(path).unwrap();
    it.ask(with(|cx| cx.subscribe::<Happened>())).await.unwrap();
    it
}

#[tokio::test(start_paused = true)]
async fn an_event_reaches_every_subscriber_in_the_order_of_its_publisher() {
    let script = Script::default();
    let system = start(two(&script, &script, 8)).await.unwrap();
    subscribe(&system, "app/a").await;
    subscribe(&system, "app/b").await;
    script.log.clear();
    for n in 0..3 {
        assert_eq!(system.publish(Happened(n)).delivered, 2);
    }
    settle().await;
    let log = script.log.take();
    for name in ["a", "b"] {
        let own: Vec<&String> = log.iter().filter(|l| l.starts_with(name)).collect();
        let expected: Vec<String> = (0..3).map(|n| format!("{name}: happened {n}")).collect();
        assert_eq!(own, expected.iter().collect::<Vec<_>>());
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscription_belongs_to_the_role_and_survives_a_restart() {
    let script = Script::default();
    let system = start(two(&script, &script, 8)).await.unwrap();
    let a = subscribe(&system, "app/a").await;
    script.log.clear();
    a.tell(Fail("bust")).await.unwrap();
    system.publish(Happened(1));
    settle().await;
    assert_eq!(
        script.log.take(),
        ["a: fail", "a: start 2", "a: happened 1"]
    );
}

#[tokio::test(start_paused = true)]
async fn subscribing_twice_delivers_once_and_unsubscribing_ends_it() {
    let script = Script::default();
    let system = start(two(&script, &script, 8)).await.unwrap();
    subscribe(&system, "app/a").await;
    let a = subscribe(&system, "app/a").await;
    assert_eq!(system.publish(Happened(1)).delivered, 1);
    a.ask(with(|cx| cx.unsubscribe::<Happened>()))
        .await
        .unwrap();
    assert_eq!(system.publish(Happened(2)).delivered, 0);
}

#[tokio::test(start_paused = true)]
async fn a_slow_subscriber_holds_up_nobody_and_what_it_misses_is_a_dead_letter() {
    let (slow, quick) = (Script::default(), Script::default());
    let system = start(two(&slow, &quick, 4)).await.unwrap();
    let a = subscribe(&system, "app/a").await;
    subscribe(&system, "app/b").await;
    a.tell(Hold).await.unwrap();
    settle().await;
    let before = tokio::time::Instant::now();
    let mut dropped = 0;
    for n in 0..7 {
        dropped += system.publish(Happened(n)).dropped;
        // The quick one gets its turn between two events.
        tokio::task::yield_now().await;
    }
    assert_eq!((before.elapsed(), dropped), (Duration::ZERO, 3));
    let letters: Vec<String> = system
        .dead_letters()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        letters,
        [4, 5, 6].map(|n| format!("Happened to app/a (full): Happened({n})"))
    );
    slow.gate.add_permits(1);
    settle().await;
    assert_eq!(slow.log.take().len(), 2 + 4);
    assert_eq!(quick.log.take().len(), 1 + 7);
    let ledger = system.ledger();
    assert_eq!(ledger.dropped, 3);
    assert!(ledger.is_balanced(), "{ledger}");
}

#[tokio::test(start_paused = true)]
async fn a_patient_publisher_waits_for_room_up_to_its_limit() {
    let (slow, quick) = (Script::default(), Script::default());
    let system = start(two(&slow, &quick, 1)).await.unwrap();
    let a = subscribe(&system, "app/a").await;
    subscribe(&system, "app/b").await;
    a.tell(Hold).await.unwrap();
    settle().await;
    system.publish(Happened(0));
    settle().await;
    let before = tokio::time::Instant::now();
    let delivery = system
        .publish_within(Happened(1), Duration::from_secs(1))
        .await;
    assert_eq!((delivery.delivered, delivery.dropped), (1, 1));
    assert_eq!(before.elapsed(), Duration::from_secs(1));
    let gate = slow.gate.clone();
    let opener = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(300)).await;
        gate.add_permits(1);
    });
    let delivery = system
        .publish_within(Happened(2), Duration::from_secs(1))
        .await;
    assert_eq!((delivery.delivered, delivery.dropped), (2, 0));
    opener.await.unwrap();
    settle().await;
    assert_eq!(slow.log.take()[2..], ["a: happened 0", "a: happened 2"]);
    assert!(system.ledger().is_balanced(), "{}", system.ledger());
}

#[tokio::test(start_paused = true)]
async fn an_actor_is_found_by_path_and_type_and_an_error_helps() {
    let script = Script::default();
    let tree = Supervisor::one_for_one("home")
        .child(Supervisor::one_for_one("kitchen").child(Scripted::spec("lights", script.clone())));
    let system = start(tree).await.unwrap();
    assert_eq!(
        system
            .find::<Scripted>("home/kitchen/lights")
            .unwrap()
            .path()
            .name(),
        "lights"
    );
    let error = system.find::<Scripted>("home/kitchen/light").unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no \"home/kitchen/light\"; near it there are home/kitchen/lights"
    );
    let error = system.find::<Scripted>("home/kitchen").unwrap_err();
    assert!(
        matches!(error, FindError::WrongType { ref found, .. } if found == "supervisor"),
        "{error}"
    );
    assert!(system.supervisor("home/kitchen").is_ok());
    assert!(
        system
            .snapshot()
            .iter()
            .all(|info| info.state == ActorState::Running)
    );
}

#[tokio::test(start_paused = true)]
async fn an_actor_can_keep_what_it_cannot_use_as_a_dead_letter() {
    let script = Script::default();
    let system = start(lone(&script)).await.unwrap();
    let it = system.find::<Scripted>("app/it").unwrap();
    it.ask(with(|cx| cx.dead_letter("line", "x".repeat(10_000_000))))
        .await
        .unwrap();
    let letter = system.dead_letters().remove(0);
    assert_eq!(
        (letter.reason, letter.text.len()),
        (DeadLetterReason::Reported, 512)
    );
    assert!(system.ledger().is_balanced());
}

#[tokio::test(start_paused = true)]
async fn a_patient_publisher_that_is_given_up_leaves_no_event_uncounted() {
    let script = Script::default();
    let mut tree = Supervisor::one_for_one("app");
    for name in ["a", "b", "c"] {
        tree = tree.child(Scripted::spec(name, script.clone()).mailbox(1));
    }
    let system = start(tree).await.unwrap();
    for path in ["app/a", "app/b", "app/c"] {
        let it = subscribe(&system, path).await;
        it.tell(Hold).await.unwrap();
        settle().await;
        it.try_tell(Say("full")).unwrap();
    }
    let sent = system.ledger().sent;
    let publishing = system.publish_within(Happened(1), Duration::from_secs(9));
    assert!(
        tokio::time::timeout(Duration::from_secs(1), publishing)
            .await
            .is_err()
    );
    let ledger = system.ledger();
    assert_eq!((ledger.sent - sent, ledger.rejected), (3, 3));
    assert!(ledger.is_balanced(), "{ledger}");
}

#[tokio::test(start_paused = true)]
async fn a_path_that_lacks_its_beginning_is_understood_by_the_error() {
    let script = Script::default();
    let system = start(lone(&script)).await.unwrap();
    let error = system.find::<Scripted>("it").unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no \"it\"; near it there are app/it"
    );
}
