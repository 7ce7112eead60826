//! Failures: what is caught, what is reported, and what a restart keeps.

use std::sync::Arc;
use std::time::Duration;

use greenroom::prelude::*;
use greenroom::{DeadLetterReason, During, FailureKind};
use greenroom_it::*;

use super::start;

#[tokio::test(start_paused = true)]
async fn a_panic_and_an_error_restart_the_actor_and_keep_reference_and_queue_in_order() {
    let script = Script::default();
    let system = start(lone(&script)).await.unwrap();
    let it = system.find::<Scripted>("app/it").unwrap();
    it.tell(Say("a")).await.unwrap();
    it.tell(Panic("boom")).await.unwrap();
    it.tell(Say("b")).await.unwrap();
    it.tell(Fail("bust")).await.unwrap();
    it.tell(Say("c")).await.unwrap();
    settle().await;
    assert_eq!(
        script.log.take(),
        [
            "it: start 1",
            "it: a",
            "it: panic",
            "it: start 2",
            "it: b",
            "it: fail",
            "it: start 3",
            "it: c"
        ]
    );
    let info = system.snapshot().remove(1);
    assert_eq!((info.incarnation, info.restarts), (3, 2));
    let ledger = system.ledger();
    assert_eq!((ledger.sent, ledger.handled, ledger.failed), (5, 3, 2));
    assert!(ledger.is_balanced(), "{ledger}");
}

#[tokio::test(start_paused = true)]
async fn a_failure_tells_path_message_text_and_place() {
    let script = Script::default();
    let tree = Supervisor::one_for_one("app")
        .restart_limit(0, Duration::from_secs(5))
        .child(Scripted::spec("it", script));
    let system = start(tree).await.unwrap();
    system
        .find::<Scripted>("app/it")
        .unwrap()
        .tell(Panic("boom"))
        .await
        .unwrap();
    let escalated = system.stopped().await.unwrap_err();
    let failure = escalated.failure().unwrap();
    assert_eq!(failure.path().as_str(), "app/it");
    assert_eq!(failure.kind(), FailureKind::Panic);
    assert_eq!(failure.text(), "boom");
    assert!(matches!(failure.during(), During::Message(name) if name.ends_with("::Panic")));
    assert!(failure.location().unwrap().contains("support.rs:"));
    let shown = failure.to_string();
    assert!(
        shown.starts_with("app/it (incarnation 1) failed handling Panic: panicked at "),
        "{shown}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_message_that_failed_is_a_dead_letter() {
    let script = Script::default();
    let system = start(lone(&script)).await.unwrap();
    system
        .find::<Scripted>("app/it")
        .unwrap()
        .tell(Fail("bust"))
        .await
        .unwrap();
    settle().await;
    let letters = system.dead_letters();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].to_string(), "Fail to app/it (failed): bust");
    assert_eq!(
        (letters[0].incarnation, letters[0].reason),
        (1, DeadLetterReason::Failed)
    );
}

#[tokio::test(start_paused = true)]
async fn a_state_that_panics_when_dropped_is_survived() {
    let script = Script {
        drop_panics: true,
        ..Script::default()
    };
    let system = start(lone(&script)).await.unwrap();
    let it = system.find::<Scripted>("app/it").unwrap();
    it.tell(Fail("bust")).await.unwrap();
    assert_eq!(it.ask(Echo(1)).await.unwrap(), 1);
    system.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_tree_that_does_not_come_up_is_rolled_back_in_reverse_order() {
    let good = Script::default();
    let bad = Script {
        failing_starts: Arc::new(1.into()),
        ..good.clone()
    };
    let good = Script {
        failing_starts: Arc::default(),
        ..good
    };
    let tree = Supervisor::one_for_one("app")
        .child(Scripted::spec("a", good.clone()))
        .child(Supervisor::one_for_one("in").child(Scripted::spec("b", good.clone())))
        .child(Scripted::spec("c", bad))
        .child(Scripted::spec("d", good.clone()));
    let error = start(tree).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the tree did not start: app/c (incarnation 1) failed starting: no luck"
    );
    assert_eq!(
        good.log.take(),
        [
            "a: start 1",
            "b: start 1",
            "c: start failed",
            "b: stop",
            "a: stop"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_restart_that_fails_is_tried_again_with_back_off() {
    let script = Script::default();
    let tree = Supervisor::one_for_one("app")
        .restart_limit(10, Duration::from_secs(600))
        .backoff(Backoff::exponential(Duration::from_secs(1), Duration::from_secs(60)).jitter(0.0))
        .child(Scripted::spec("it", script.clone()));
    let system = start(tree).await.unwrap();
    let it = system.find::<Scripted>("app/it").unwrap();
    script
        .failing_starts
        .store(2, std::sync::atomic::Ordering::SeqCst);
    let before = tokio::time::Instant::now();
    it.tell(Fail("bust")).await.unwrap();
    // Told while it is down: the message waits in the mailbox, the reference stays good.
    assert_eq!(
        it.ask(Echo(5))
            .within(Duration::from_secs(60))
            .await
            .unwrap(),
        5
    );
    assert_eq!(before.elapsed().as_secs(), 1 + 2 + 4);
    assert_eq!(
        script.log.take(),
        [
            "it: start 1",
            "it: fail",
            "it: start failed",
            "it: start failed",
            "it: start 4"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_background_future_is_a_failure_of_the_actor() {
    let script = Script::default();
    let system = start(lone(&script)).await.unwrap();
    let it = system.find::<Scripted>("app/it").unwrap();
    it.tell(with(|cx| {
        cx.background(async {
            if tokio::time::Instant::now().elapsed() < Duration::MAX {
                panic!("behind the scenes");
            }
            Say("unreachable")
        });
    }))
    .await
    .unwrap();
    settle().await;
    assert_eq!(script.log.take(), ["it: start 1", "it: start 2"]);
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_stops_itself_is_judged_by_its_restart_type() {
    let script = Script::default();
    let tree = Supervisor::one_for_one("app")
        .child(Scripted::spec("for-ever", script.clone()))
        .child(Scripted::spec("once", script.clone()).restart(Restart::Transient))
        .child(Scripted::spec("brief", script.clone()).restart(Restart::Temporary));
    let system = start(tree).await.unwrap();
    script.log.clear();
    let gone = system.find::<Scripted>("app/once").unwrap();
    for name in ["app/for-ever", "app/once", "app/brief"] {
        let it = system.find::<Scripted>(name).unwrap();
        it.tell(Quit).await.unwrap();
        it.tell(Say("still here")).await.unwrap();
        settle().await;
    }
    assert_eq!(
        script.log.take(),
        [
            "for-ever: quit",
            "for-ever: stop",
            "for-ever: start 2",
            "for-ever: still here",
            "once: quit",
            "once: stop",
            "brief: quit",
            "brief: stop"
        ]
    );
    assert!(system.find::<Scripted>("app/once").is_err());
    assert!(gone.try_tell(Say("x")).is_err());
    let left: Vec<String> = system
        .dead_letters()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        left,
        [
            "Say to app/once (stopped): left in the mailbox",
            "Say to app/brief (stopped): left in the mailbox"
        ]
    );
    assert!(system.ledger().is_balanced(), "{}", system.ledger());
}

#[tokio::test(start_paused = true)]
async fn a_start_that_takes_too_long_has_failed() {
    struct Hangs;
    impl Actor for Hangs {
        type Args = ();
        type Error = std::convert::Infallible;
        async fn start((): (), _: &mut Context<Self>) -> Result<Self, Self::Error> {
            std::future::pending().await
        }
    }
    let error = start(Supervisor::one_for_one("app").child(Hangs::spec("it", ())))
        .await
        .unwrap_err();
    let shown = error.to_string();
    assert!(shown.ends_with("app/it (incarnation 1) failed starting: did not start within 30s; see `Spec::start_within`"), "{shown}");
}

#[tokio::test(start_paused = true)]
async fn a_permanent_actor_that_ends_by_itself_too_often_is_named() {
    let script = Script::default();
    let tree = Supervisor::one_for_one("app").child(Scripted::spec("it", script.clone()));
    let system = start(tree).await.unwrap();
    let it = system.find::<Scripted>("app/it").unwrap();
    it.tell(Quit).await.unwrap();
    it.tell(Quit).await.unwrap();
    let escalated = system.stopped().await.unwrap_err();
    assert_eq!(
        escalated.to_string(),
        "the system stopped: app gave up, its restart limit is used up; the last to end was app/it, normally: give it `Restart::Transient` if it may end"
    );
}

#[tokio::test(start_paused = true)]
async fn an_ask_on_which_the_handler_panics_brings_the_text_of_the_panic() {
    let script = Script::default();
    let system = start(lone(&script)).await.unwrap();
    let it = system.find::<Scripted>("app/it").unwrap();
    let error = it.ask(Panic("boom")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "app/it failed on the message: it panicked: boom"
    );
    // By the time of the reply it is on record.
    assert_eq!(
        (system.ledger().failed, system.dead_letters().len()),
        (1, 1)
    );
}
