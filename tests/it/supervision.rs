//! The law carried out: who is stopped and started, in which order, and what escalates.

use std::sync::atomic::Ordering;
use std::time::Duration;

use greenroom::prelude::*;
use greenroom::{StartChildError, StopChildError};
use greenroom_it::*;

use super::start;

fn three(strategy: fn(&'static str) -> Supervisor, script: &Script) -> Supervisor {
    strategy("app")
        .restart_limit(2, Duration::from_secs(3600))
        .backoff(Backoff::none())
        .child(Scripted::spec("a", script.clone()))
        .child(Scripted::spec("b", script.clone()))
        .child(Scripted::spec("c", script.clone()))
}

async fn after_b_fails(strategy: fn(&'static str) -> Supervisor) -> Vec<String> {
    let script = Script::default();
    let system = start(three(strategy, &script)).await.unwrap();
    script.log.clear();
    system
        .find::<Scripted>("app/b")
        .unwrap()
        .tell(Fail("bust"))
        .await
        .unwrap();
    settle().await;
    script.log.take()
}

#[tokio::test(start_paused = true)]
async fn one_for_one_restarts_only_the_one_that_failed() {
    assert_eq!(
        after_b_fails(Supervisor::one_for_one).await,
        ["b: fail", "b: start 2"]
    );
}

#[tokio::test(start_paused = true)]
async fn one_for_all_stops_the_others_in_reverse_and_starts_all_in_order() {
    assert_eq!(
        after_b_fails(Supervisor::one_for_all).await,
        [
            "b: fail",
            "c: stop",
            "a: stop",
            "a: start 2",
            "b: start 2",
            "c: start 2"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn rest_for_one_takes_those_along_that_were_started_later() {
    assert_eq!(
        after_b_fails(Supervisor::rest_for_one).await,
        ["b: fail", "c: stop", "b: start 2", "c: start 2"]
    );
}

#[tokio::test(start_paused = true)]
async fn siblings_keep_their_queue_when_they_are_taken_along() {
    let script = Script::default();
    let system = start(three(Supervisor::one_for_all, &script))
        .await
        .unwrap();
    let a = system.find::<Scripted>("app/a").unwrap();
    a.tell(Hold).await.unwrap();
    settle().await;
    a.tell(Say("one")).await.unwrap();
    a.tell(Say("two")).await.unwrap();
    script.log.clear();
    system
        .find::<Scripted>("app/b")
        .unwrap()
        .tell(Fail("bust"))
        .await
        .unwrap();
    settle().await;
    script.gate.add_permits(1);
    settle().await;
    let of_a: Vec<String> = script
        .log
        .take()
        .into_iter()
        .filter(|l| l.starts_with("a:"))
        .collect();
    assert_eq!(of_a, ["a: stop", "a: start 2", "a: one", "a: two"]);
    assert!(system.ledger().is_balanced());
}

#[tokio::test(start_paused = true)]
async fn one_failure_too_many_stops_the_rest_in_reverse_and_ends_the_system() {
    let script = Script::default();
    let system = start(three(Supervisor::one_for_one, &script))
        .await
        .unwrap();
    let b = system.find::<Scripted>("app/b").unwrap();
    for _ in 0..3 {
        b.tell(Panic("again")).await.unwrap();
    }
    let escalated = system.stopped().await.unwrap_err();
    let shown = escalated.to_string();
    assert!(shown.starts_with("the system stopped: app gave up, its restart limit is used up; the last failure: app/b (incarnation 3)"), "{shown}");
    assert_eq!(
        script.log.take()[3..],
        [
            "b: panic",
            "b: start 2",
            "b: panic",
            "b: start 3",
            "b: panic",
            "c: stop",
            "a: stop"
        ]
    );
    assert!(system.ready().is_err());
}

#[tokio::test(start_paused = true)]
async fn the_limit_slides_so_that_rare_failures_never_escalate() {
    let script = Script::default();
    // The default limit: 1 restart in 5 s.
    let tree = Supervisor::one_for_one("app")
        .backoff(Backoff::none())
        .child(Scripted::spec("it", script.clone()));
    let system = start(tree).await.unwrap();
    let it = system.find::<Scripted>("app/it").unwrap();
    for _ in 0..20 {
        it.tell(Fail("bust")).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5100)).await;
    }
    assert_eq!(it.ask(Echo(1)).await.unwrap(), 1);
    assert_eq!(system.snapshot()[1].restarts, 20);
}

#[tokio::test(start_paused = true)]
async fn a_branch_that_gives_up_is_restarted_by_the_one_above_and_its_references_stay_good() {
    let script = Script::default();
    let tree = Supervisor::one_for_one("top")
        .backoff(Backoff::none())
        .child(Scripted::spec("other", script.clone()))
        .child(
            Supervisor::one_for_one("branch")
                .restart_limit(0, Duration::from_secs(5))
                .child(Scripted::spec("x", script.clone()))
                .child(Scripted::spec("y", script.clone())),
        );
    let system = start(tree).await.unwrap();
    let y = system.find::<Scripted>("top/branch/y").unwrap();
    script.log.clear();
    y.tell(Fail("bust")).await.unwrap();
    y.tell(Say("kept")).await.unwrap();
    settle().await;
    assert_eq!(
        script.log.take(),
        ["y: fail", "x: stop", "x: start 2", "y: start 2", "y: kept"]
    );
    let branch = system
        .snapshot()
        .into_iter()
        .find(|i| i.path.as_str() == "top/branch")
        .unwrap();
    assert_eq!((branch.incarnation, branch.restarts), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn dynamic_children_come_and_go_and_do_not_return_with_their_supervisor() {
    let script = Script::default();
    let tree = Supervisor::one_for_one("app")
        .backoff(Backoff::none())
        .child(
            Supervisor::dynamic("pool")
                .restart_limit(1, Duration::from_secs(60))
                .backoff(Backoff::none()),
        );
    let system = start(tree).await.unwrap();
    let pool = system.supervisor("app/pool").unwrap();
    let first = pool
        .start_child(Scripted::spec("first", script.clone()))
        .await
        .unwrap();
    assert_eq!(first.path().as_str(), "app/pool/first");
    let error = pool
        .start_child(Scripted::spec("first", script.clone()))
        .await
        .unwrap_err();
    assert!(
        matches!(error, StartChildError::AlreadyStarted(ref path) if path == first.path()),
        "{error}"
    );
    let error = pool
        .start_child(Scripted::spec("a/b", script.clone()))
        .await
        .unwrap_err();
    assert!(matches!(error, StartChildError::InvalidName(_)), "{error}");
    let bad = Script {
        failing_starts: std::sync::Arc::new(1.into()),
        ..script.clone()
    };
    let error = pool
        .start_child(Scripted::spec("bad", bad))
        .await
        .unwrap_err();
    assert!(matches!(error, StartChildError::Failed(_)), "{error}");
    assert!(system.find::<Scripted>("app/pool/bad").is_err());

    first.tell(Fail("bust")).await.unwrap();
    assert_eq!(first.ask(Echo(1)).await.unwrap(), 1);
    let second = pool
        .start_child(Scripted::spec("second", script.clone()))
        .await
        .unwrap();
    pool.stop_child("second").await.unwrap();
    assert!(matches!(
        pool.stop_child("second").await,
        Err(StopChildError::NotFound(_))
    ));
    assert!(second.try_tell(Say("x")).is_err());

    // One restart was allowed; the next failure ends the pool, and a fresh one is empty.
    first.tell(Fail("bust")).await.unwrap();
    settle().await;
    assert!(first.try_tell(Say("x")).is_err());
    assert!(system.find::<Scripted>("app/pool/first").is_err());
    pool.start_child(Scripted::spec("first", script.clone()))
        .await
        .unwrap();
    assert!(system.ledger().is_balanced(), "{}", system.ledger());
}

#[tokio::test(start_paused = true)]
async fn a_child_that_does_not_come_up_does_not_keep_the_supervisor_from_stopping() {
    let script = Script::default();
    let tree = Supervisor::one_for_one("app")
        .restart_limit(u32::MAX, Duration::from_secs(60))
        .backoff(Backoff::none())
        .child(Scripted::spec("it", script.clone()));
    let system = start(tree).await.unwrap();
    script
        .failing_starts
        .store(u32::MAX, std::sync::atomic::Ordering::SeqCst);
    system
        .find::<Scripted>("app/it")
        .unwrap()
        .tell(Fail("bust"))
        .await
        .unwrap();
    // Each lets the others run for many turns, and none of them ever rests.
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
    system.stop().await;
    assert!(system.stopped().await.is_ok());
    assert!(script.log.take().len() > 10, "it was tried again and again");
}

#[tokio::test]
async fn names_are_checked_before_anything_runs() {
    let script = Script::default();
    let spec = || Scripted::spec("x", script.clone());
    let error = start(Supervisor::one_for_one("app").child(spec()).child(spec()))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "app has two children named \"x\"; rename one of them"
    );
    let error = start(Supervisor::one_for_one("a/b")).await.unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("the root cannot be named \"a/b\"; a name has 1 to 128 bytes"),
        "{error}"
    );
    let error = start(Supervisor::one_for_one("app").child(Scripted::spec("", script.clone())))
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("a child of app cannot be named \"\""),
        "{error}"
    );
    assert!(script.log.take().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_that_gives_up_over_a_start_that_failed_is_restarted_all_the_same() {
    let script = Script::default();
    let branch = Supervisor::one_for_one("branch")
        .restart_limit(1, Duration::from_secs(60))
        .backoff(Backoff::none())
        .child(Scripted::spec("it", script.clone()));
    let tree = Supervisor::one_for_one("app")
        .restart_limit(3, Duration::from_secs(60))
        .child(branch);
    let system = start(tree).await.unwrap();
    let it = system.find::<Scripted>("app/branch/it").unwrap();
    // The first restart fails as well, which is one more than the branch may repair.
    script.failing_starts.store(1, Ordering::SeqCst);
    it.tell(Fail("bust")).await.unwrap();
    settle().await;
    assert!(script.log.take().contains(&"it: start 3".to_owned()));
    caught_up(&it).await;
    system.stop().await;
}
