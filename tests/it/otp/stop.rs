//! How children are stopped: their deadlines, those that miss them, and those that end by themselves meanwhile.

use std::time::Duration;

use greenroom::DeadLetterReason;
use greenroom::prelude::*;
use greenroom_it::*;
use tokio::time::Instant;

use super::start;

const SECOND: Duration = Duration::from_secs(1);

/// A supervisor with the restart limit that OTP's suite gives it.
fn app() -> Supervisor {
    Supervisor::one_for_one("app").restart_limit(2, Duration::from_secs(3600))
}

fn dynamic() -> Supervisor {
    Supervisor::dynamic("app").restart_limit(2, Duration::from_secs(3600))
}

/// The script of a child whose `Actor::stop` takes so long.
fn slow(script: &Script, stop_takes: Duration) -> Script {
    Script {
        stop_takes,
        ..script.clone()
    }
}

/// Makes a child busy for far longer than any deadline.
async fn block(system: &System, path: &str) {
    let it = system.find::<Scripted>(path).unwrap();
    it.tell(Slow(200 * SECOND)).await.unwrap();
    settle().await;
}

/// Stops the system; returns how long that took.
async fn stopped(system: &System) -> Duration {
    let before = Instant::now();
    system.stop().await;
    let took = before.elapsed();
    assert!(system.stopped().await.is_ok(), "it was stopped by order");
    let ledger = system.ledger();
    assert!(ledger.is_balanced(), "{ledger}");
    took
}

/// Who was cut off in the middle of a message.
fn cut_off(system: &System) -> Vec<String> {
    let letters = system.dead_letters().into_iter();
    let failed = letters.filter(|letter| letter.reason == DeadLetterReason::Failed);
    failed.map(|letter| letter.path.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn s16_who_has_all_the_time_to_stop_is_waited_for() {
    const DAY: Duration = Duration::from_secs(86_400);
    let script = Script::default();
    let low = Scripted::spec("low", slow(&script, DAY)).stop_within(Duration::MAX);
    let high = Scripted::spec("high", slow(&script, DAY)).stop_within(Duration::MAX);
    let tree = app()
        .child(Supervisor::one_for_one("in").child(low))
        .child(high);
    let system = start(tree).await.unwrap();
    script.log.clear();
    assert_eq!(stopped(&system).await, 2 * DAY);
    assert_eq!(script.log.take(), ["high: stop", "low: stop"]);
}

#[tokio::test(start_paused = true)]
async fn s17_who_does_not_stop_within_its_deadline_is_killed() {
    let script = Script::default();
    let tree = app()
        .child(Scripted::spec("c1", script.clone()).stop_within(SECOND))
        .child(Scripted::spec("c2", script.clone()).stop_within(SECOND));
    let system = start(tree).await.unwrap();
    block(&system, "app/c2").await;
    script.log.clear();
    assert_eq!(stopped(&system).await, SECOND);
    assert_eq!(script.log.take(), ["c1: stop"]);
    assert_eq!(cut_off(&system), ["app/c2"]);
}

#[tokio::test(start_paused = true)]
async fn s18_a_dynamic_child_that_does_not_stop_within_its_deadline_is_killed() {
    let script = Script::default();
    let system = start(dynamic()).await.unwrap();
    let app = system.supervisor("app").unwrap();
    for name in ["c1", "c2"] {
        let spec = Scripted::spec(name, script.clone())
            .restart(Restart::Temporary)
            .stop_within(SECOND);
        app.start_child(spec).await.unwrap();
    }
    block(&system, "app/c2").await;
    script.log.clear();
    assert_eq!(stopped(&system).await, SECOND);
    assert_eq!(script.log.take(), ["c1: stop"]);
    assert_eq!(cut_off(&system), ["app/c2"]);
}

#[tokio::test(start_paused = true)]
async fn s19_who_has_no_time_to_stop_is_killed_at_once() {
    let script = Script::default();
    let spec = |name| Scripted::spec(name, script.clone()).stop_within(SECOND);
    let tree = app()
        .child(spec("c1"))
        .child(spec("idle").stop_within(Duration::ZERO))
        .child(spec("busy").stop_within(Duration::ZERO));
    let system = start(tree).await.unwrap();
    block(&system, "app/busy").await;
    script.log.clear();
    assert_eq!(stopped(&system).await, Duration::ZERO);
    // Neither was asked: `Actor::stop` is for who is.
    assert_eq!(script.log.take(), ["c1: stop"]);
    assert_eq!(cut_off(&system), ["app/busy"]);
}

#[tokio::test(start_paused = true)]
async fn s19_who_has_no_time_to_stop_is_killed_by_a_group_restart_as_well() {
    let script = Script::default();
    let tree = Supervisor::one_for_all("app")
        .restart_limit(2, Duration::from_secs(3600))
        .backoff(Backoff::none())
        .child(Scripted::spec("c1", script.clone()))
        .child(Scripted::spec("c2", script.clone()).stop_within(Duration::ZERO));
    let system = start(tree).await.unwrap();
    block(&system, "app/c2").await;
    let c2 = system.find::<Scripted>("app/c2").unwrap();
    c2.tell(Say("kept")).await.unwrap();
    script.log.clear();
    crate::look::fails(&system, "app/c1").await;
    assert_eq!(
        script.log.take(),
        ["c1: fail", "c1: start 2", "c2: start 2", "c2: kept"]
    );
}

#[tokio::test(start_paused = true)]
async fn s20_dynamic_children_that_have_no_time_to_stop_are_all_killed_at_once() {
    let script = Script::default();
    let system = start(dynamic()).await.unwrap();
    let app = system.supervisor("app").unwrap();
    for n in 0..10 {
        let spec = Scripted::spec(format!("c{n}"), slow(&script, SECOND))
            .restart(Restart::Temporary)
            .stop_within(Duration::ZERO);
        app.start_child(spec).await.unwrap();
    }
    script.log.clear();
    assert_eq!(stopped(&system).await, Duration::ZERO);
    assert!(script.log.take().is_empty(), "nobody was asked");
    assert!(system.snapshot().is_empty());
}

#[tokio::test(start_paused = true)]
async fn s36_dynamic_children_stop_at_the_same_time() {
    let script = Script::default();
    let system = start(dynamic()).await.unwrap();
    let app = system.supervisor("app").unwrap();
    for (name, stop_takes) in [("c1", SECOND), ("c2", SECOND), ("c3", 5 * SECOND)] {
        let spec = Scripted::spec(name, slow(&script, stop_takes)).stop_within(2 * SECOND);
        app.start_child(spec).await.unwrap();
    }
    script.log.clear();
    // The slow one was killed when its two seconds were over.
    assert_eq!(stopped(&system).await, 2 * SECOND);
    let mut log = script.log.take();
    log.sort();
    assert_eq!(log, ["c1: stop", "c2: stop"]);
}

#[tokio::test(start_paused = true)]
async fn s36_dynamic_children_stop_at_the_same_time_when_their_supervisor_gives_up() {
    let script = Script::default();
    let tree = Supervisor::dynamic("app").restart_limit(0, SECOND);
    let system = start(tree).await.unwrap();
    let app = system.supervisor("app").unwrap();
    for n in 0..10 {
        let spec = Scripted::spec(format!("c{n}"), slow(&script, SECOND));
        app.start_child(spec).await.unwrap();
    }
    let before = Instant::now();
    let c5 = system.find::<Scripted>("app/c5").unwrap();
    c5.tell(Fail("died")).await.unwrap();
    assert!(system.stopped().await.is_err());
    assert_eq!(before.elapsed(), SECOND);
}

#[tokio::test(start_paused = true)]
async fn x11_a_supervisor_is_waited_for_however_long_its_children_take() {
    let script = Script::default();
    let level = |name| Supervisor::one_for_one(name).restart_limit(2, Duration::from_secs(3600));
    let spec = |name| {
        let limit = Duration::from_secs(3600);
        Scripted::spec(name, slow(&script, limit)).stop_within(limit)
    };
    let inner = level("in")
        .child(spec("c1"))
        .child(spec("c2"))
        .child(spec("c3"));
    let system = start(level("app").child(level("mid").child(inner)))
        .await
        .unwrap();
    script.log.clear();
    // Nobody above has a deadline of its own that could leave them orphans.
    assert_eq!(stopped(&system).await, 3 * Duration::from_secs(3600));
    assert_eq!(script.log.take(), ["c3: stop", "c2: stop", "c1: stop"]);
}
