//! Restart strategies, the restart limit, and what happens when it is used up.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use greenroom::Metric;
use greenroom::prelude::*;
use greenroom_it::*;

use super::start;
use crate::doubles::counts;
use crate::look::{fails, life, quits, running};

const HOUR: Duration = Duration::from_secs(3600);

/// A supervisor that restarts at once, so often within an hour.
fn with_limit(strategy: fn(&'static str) -> Supervisor, restarts: u32) -> Supervisor {
    strategy("app")
        .restart_limit(restarts, HOUR)
        .backoff(Backoff::none())
}

/// A child that shares the log of `script`, but none of its failing starts.
fn sound(name: &str, script: &Script) -> Spec<Scripted> {
    let failing_starts = Arc::default();
    let script = Script {
        failing_starts,
        ..script.clone()
    };
    Scripted::spec(name, script)
}

/// From here on no start of a child with this script succeeds.
fn never_starts_again(script: &Script) {
    script.failing_starts.store(u32::MAX, Ordering::SeqCst);
}

fn escalations(system: &System) -> f64 {
    number(&system.scrape(), Metric::SupervisorEscalations, &[])
}

#[tokio::test(start_paused = true)]
async fn s29_a_child_that_dies_less_often_than_the_limit_is_always_restarted() {
    let script = Script::default();
    let tree = Supervisor::one_for_one("app")
        .restart_limit(1, Duration::from_secs(1))
        .backoff(Backoff::none())
        .child(Scripted::spec("c1", script).stop_within(Duration::ZERO));
    let system = start(tree).await.unwrap();
    for n in 2..=5 {
        fails(&system, "app/c1").await;
        assert_eq!(running(&system, "app"), [life("c1", n)]);
        tokio::time::sleep(Duration::from_millis(2100)).await;
    }
    assert_eq!(escalations(&system), 0.0);
    assert!(system.ready().is_ok());
}

#[tokio::test(start_paused = true)]
async fn s30_one_for_one_restarts_the_child_that_died_until_the_limit_is_used_up() {
    let script = Script::default();
    let tree = with_limit(Supervisor::one_for_one, 2)
        .child(Scripted::spec("c1", script.clone()))
        .child(Scripted::spec("c2", script.clone()));
    let system = start(tree).await.unwrap();
    fails(&system, "app/c1").await;
    assert_eq!(running(&system, "app"), [life("c1", 2), life("c2", 1)]);
    fails(&system, "app/c2").await;
    assert_eq!(running(&system, "app"), [life("c1", 2), life("c2", 2)]);
    assert_eq!(counts(&system.supervisor("app").unwrap()), [2, 2, 0, 2]);
    script.log.clear();
    fails(&system, "app/c1").await;
    assert!(system.stopped().await.is_err(), "the third is one too many");
    assert_eq!(script.log.take(), ["c1: fail", "c2: stop"]);
}

#[tokio::test(start_paused = true)]
async fn s31_a_restart_that_always_fails_uses_up_the_limit_of_one_for_one() {
    let script = Script::default();
    let tree = with_limit(Supervisor::one_for_one, 4)
        .child(Scripted::spec("c1", script.clone()))
        .child(sound("c2", &script));
    let system = start(tree).await.unwrap();
    never_starts_again(&script);
    script.log.clear();
    fails(&system, "app/c1").await;
    let escalated = system.stopped().await.unwrap_err();
    assert_eq!(escalated.failure().unwrap().path().as_str(), "app/c1");
    // Each try is one restart, and the limit allows four.
    let tries = ["c1: start failed"; 4];
    let all = [&["c1: fail"][..], &tries, &["c2: stop"]].concat();
    assert_eq!(script.log.take(), all);
}

#[tokio::test(start_paused = true)]
async fn s32_one_for_all_restarts_everybody_until_the_limit_is_used_up() {
    let script = Script::default();
    let tree = with_limit(Supervisor::one_for_all, 2)
        .child(Scripted::spec("c1", script.clone()))
        .child(Scripted::spec("c2", script.clone()));
    let system = start(tree).await.unwrap();
    script.log.clear();
    fails(&system, "app/c1").await;
    assert_eq!(
        script.log.take(),
        ["c1: fail", "c2: stop", "c1: start 2", "c2: start 2"]
    );
    assert_eq!(running(&system, "app"), [life("c1", 2), life("c2", 2)]);
    fails(&system, "app/c2").await;
    assert_eq!(running(&system, "app"), [life("c1", 3), life("c2", 3)]);
    script.log.clear();
    fails(&system, "app/c2").await;
    assert!(system.stopped().await.is_err(), "the third is one too many");
    assert_eq!(script.log.take(), ["c2: fail", "c1: stop"]);
}

#[tokio::test(start_paused = true)]
async fn s33_a_sibling_that_cannot_be_restarted_uses_up_the_limit_of_one_for_all() {
    let script = Script::default();
    let tree = with_limit(Supervisor::one_for_all, 4)
        .child(sound("c1", &script))
        .child(Scripted::spec("c2", script.clone()));
    let system = start(tree).await.unwrap();
    never_starts_again(&script);
    script.log.clear();
    fails(&system, "app/c1").await;
    let escalated = system.stopped().await.unwrap_err();
    assert_eq!(escalated.failure().unwrap().path().as_str(), "app/c2");
    assert_eq!(
        script.log.take(),
        [
            "c1: fail",
            "c2: stop",
            "c1: start 2",
            "c2: start failed",
            "c1: stop",
            "c1: start 3",
            "c2: start failed",
            "c1: stop",
            "c1: start 4",
            "c2: start failed",
            "c1: stop",
            "c1: start 5",
            "c2: start failed",
            "c1: stop",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn s34_one_for_all_stops_who_was_restarted_when_a_later_one_does_not_come_up() {
    let script = Script::default();
    let tree = with_limit(Supervisor::one_for_all, 3)
        .child(sound("c1", &script))
        .child(Scripted::spec("c2", script.clone()));
    let system = start(tree).await.unwrap();
    script.failing_starts.store(1, Ordering::SeqCst);
    script.log.clear();
    fails(&system, "app/c1").await;
    assert_eq!(
        script.log.take(),
        [
            "c1: fail",
            "c2: stop",
            "c1: start 2",
            "c2: start failed",
            "c1: stop",
            "c1: start 3",
            "c2: start 3",
        ]
    );
    assert_eq!(running(&system, "app"), [life("c1", 3), life("c2", 3)]);
    assert_eq!(escalations(&system), 0.0);
}

#[tokio::test(start_paused = true)]
async fn s35_a_dynamic_supervisor_restarts_each_child_alone_until_the_limit_is_used_up() {
    let script = Script::default();
    let pool = Supervisor::dynamic("pool")
        .restart_limit(2, HOUR)
        .backoff(Backoff::none())
        .restart(Restart::Transient);
    let system = start(Supervisor::one_for_one("app").child(pool))
        .await
        .unwrap();
    let pool = system.supervisor("app/pool").unwrap();
    for name in ["c1", "c2"] {
        let spec = Scripted::spec(name, script.clone());
        pool.start_child(spec).await.unwrap();
    }
    script.log.clear();
    fails(&system, "app/pool/c1").await;
    assert_eq!(running(&system, "app/pool"), [life("c1", 2), life("c2", 1)]);
    fails(&system, "app/pool/c2").await;
    assert_eq!(running(&system, "app/pool"), [life("c1", 2), life("c2", 2)]);
    fails(&system, "app/pool/c1").await;
    // It ended by its own decision, which is no failure: who is transient stays down.
    assert!(running(&system, "app").is_empty());
    assert!(script.log.take().ends_with(&["c2: stop".to_owned()]));
    assert_eq!(escalations(&system), 1.0);
    assert!(system.find::<Scripted>("app/pool/c1").is_err());
    system.stop().await;
    assert!(system.stopped().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn s38_a_dynamic_child_that_cannot_be_restarted_takes_its_siblings_down() {
    let script = Script::default();
    let system = start(with_limit(Supervisor::dynamic, 4)).await.unwrap();
    let app = system.supervisor("app").unwrap();
    app.start_child(Scripted::spec("c1", script.clone()))
        .await
        .unwrap();
    app.start_child(sound("c2", &script)).await.unwrap();
    never_starts_again(&script);
    script.log.clear();
    fails(&system, "app/c1").await;
    assert!(system.stopped().await.is_err());
    let tries = ["c1: start failed"; 4];
    let all = [&["c1: fail"][..], &tries, &["c2: stop"]].concat();
    assert_eq!(script.log.take(), all);
}

#[tokio::test(start_paused = true)]
async fn s41_rest_for_one_restarts_who_was_started_later_until_the_limit_is_used_up() {
    let script = Script::default();
    let tree = with_limit(Supervisor::rest_for_one, 2)
        .child(Scripted::spec("c1", script.clone()))
        .child(Scripted::spec("c2", script.clone()))
        .child(Scripted::spec("c3", script.clone()));
    let system = start(tree).await.unwrap();
    script.log.clear();
    fails(&system, "app/c2").await;
    assert_eq!(
        script.log.take(),
        ["c2: fail", "c3: stop", "c2: start 2", "c3: start 2"]
    );
    let all = [life("c1", 1), life("c2", 2), life("c3", 2)];
    assert_eq!(running(&system, "app"), all);
    fails(&system, "app/c3").await;
    let all = [life("c1", 1), life("c2", 2), life("c3", 3)];
    assert_eq!(running(&system, "app"), all);
    script.log.clear();
    fails(&system, "app/c2").await;
    assert!(system.stopped().await.is_err(), "the third is one too many");
    assert_eq!(script.log.take(), ["c2: fail", "c3: stop", "c1: stop"]);
}

#[tokio::test(start_paused = true)]
async fn s42_a_later_sibling_that_cannot_be_restarted_uses_up_the_limit_of_rest_for_one() {
    let script = Script::default();
    let tree = with_limit(Supervisor::rest_for_one, 4)
        .child(sound("c1", &script))
        .child(Scripted::spec("c2", script.clone()));
    let system = start(tree).await.unwrap();
    never_starts_again(&script);
    script.log.clear();
    fails(&system, "app/c1").await;
    let escalated = system.stopped().await.unwrap_err();
    assert_eq!(escalated.failure().unwrap().path().as_str(), "app/c2");
    let (before, after) = (["c1: fail", "c2: stop", "c1: start 2"], ["c1: stop"]);
    let tries = ["c2: start failed"; 4];
    let all = [&before[..], &tries, &after].concat();
    assert_eq!(script.log.take(), all);
}

#[tokio::test(start_paused = true)]
async fn s43_rest_for_one_leaves_who_was_restarted_when_a_later_one_does_not_come_up() {
    let script = Script::default();
    let tree = with_limit(Supervisor::rest_for_one, 3)
        .child(sound("c1", &script))
        .child(Scripted::spec("c2", script.clone()))
        .child(sound("c3", &script));
    let system = start(tree).await.unwrap();
    script.failing_starts.store(1, Ordering::SeqCst);
    script.log.clear();
    fails(&system, "app/c1").await;
    assert_eq!(
        script.log.take(),
        [
            "c1: fail",
            "c3: stop",
            "c2: stop",
            "c1: start 2",
            "c2: start failed",
            "c2: start 3",
            "c3: start 2",
        ]
    );
    assert_eq!(escalations(&system), 0.0);
}

#[tokio::test(start_paused = true)]
async fn s87_children_start_in_the_order_of_the_list_and_stop_in_the_reverse() {
    let script = Script::default();
    let names = ["ch7", "ch3", "ch10", "ch2", "ch5"];
    let mut tree = with_limit(Supervisor::rest_for_one, 2);
    for name in names {
        tree = tree.child(Scripted::spec(name, script.clone()));
    }
    let system = start(tree).await.unwrap();
    let all = |what: &str| -> Vec<String> {
        names.iter().map(|name| format!("{name}: {what}")).collect()
    };
    assert_eq!(script.log.take(), all("start 1"));
    fails(&system, "app/ch10").await;
    assert_eq!(
        script.log.take(),
        [
            "ch10: fail",
            "ch5: stop",
            "ch2: stop",
            "ch10: start 2",
            "ch2: start 2",
            "ch5: start 2",
        ]
    );
    system.stop().await;
    let mut reverse = all("stop");
    reverse.reverse();
    assert_eq!(script.log.take(), reverse);
}

// ===== the limit =====

async fn two_failures(apart: Duration, limit: Option<(u32, Duration)>) -> System {
    let script = Script::default();
    let mut tree = Supervisor::one_for_one("app").backoff(Backoff::none());
    if let Some((restarts, within)) = limit {
        tree = tree.restart_limit(restarts, within);
    }
    let system = start(tree.child(Scripted::spec("it", script)))
        .await
        .unwrap();
    let it = system.find::<Scripted>("app/it").unwrap();
    for wait in [apart, Duration::ZERO] {
        // A supervisor that has given up takes nothing any more.
        let _ = it.tell(Fail("died")).await;
        tokio::time::sleep(wait).await;
    }
    settle().await;
    system
}

#[tokio::test(start_paused = true)]
async fn x02_a_restart_counts_up_to_the_very_end_of_the_window() {
    let ms = Duration::from_millis;
    let limit = || Some((1, ms(5000)));
    let system = two_failures(ms(5000), limit()).await;
    assert!(system.stopped().await.is_err(), "exactly that long ago");
    let system = two_failures(ms(5001), limit()).await;
    assert_eq!(running(&system, "app"), [life("it", 3)]);
}

#[tokio::test(start_paused = true)]
async fn x02_no_restart_is_allowed_by_a_limit_of_none() {
    let script = Script::default();
    let tree = with_limit(Supervisor::one_for_one, 0).child(Scripted::spec("it", script.clone()));
    let system = start(tree).await.unwrap();
    fails(&system, "app/it").await;
    assert!(system.stopped().await.is_err());
    assert_eq!(script.log.take(), ["it: start 1", "it: fail"]);
}

#[tokio::test(start_paused = true)]
async fn x02_one_restart_in_five_seconds_is_allowed_by_default() {
    let ms = Duration::from_millis;
    let system = two_failures(ms(4900), None).await;
    assert!(system.stopped().await.is_err());
    let system = two_failures(ms(5100), None).await;
    assert_eq!(running(&system, "app"), [life("it", 3)]);
}

/// A branch `app/in` of `a` and `b` with this restart type, after one failure more than it may repair.
async fn after_giving_up(restart: Restart) -> (System, Script) {
    let script = Script::default();
    let branch = Supervisor::one_for_one("in")
        .restart_limit(0, HOUR)
        .restart(restart)
        .child(Scripted::spec("a", script.clone()))
        .child(Scripted::spec("b", script.clone()))
        .child(Scripted::spec("c", script.clone()));
    let tree = with_limit(Supervisor::one_for_one, 1).child(branch);
    let system = start(tree).await.unwrap();
    script.log.clear();
    fails(&system, "app/in/b").await;
    assert_eq!(escalations(&system), 1.0);
    (system, script)
}

#[tokio::test(start_paused = true)]
async fn x03_a_permanent_supervisor_that_gives_up_stops_its_children_in_reverse_and_comes_back() {
    let (system, script) = after_giving_up(Restart::Permanent).await;
    assert_eq!(
        script.log.take(),
        [
            "b: fail",
            "c: stop",
            "a: stop",
            "a: start 2",
            "b: start 2",
            "c: start 2",
        ]
    );
    assert_eq!(running(&system, "app"), [life("in", 2)]);
}

#[tokio::test(start_paused = true)]
async fn x03_a_transient_or_temporary_supervisor_that_gives_up_stays_down() {
    for restart in [Restart::Transient, Restart::Temporary] {
        let (system, script) = after_giving_up(restart).await;
        assert_eq!(script.log.take(), ["b: fail", "c: stop", "a: stop"]);
        assert!(running(&system, "app").is_empty());
        system.stop().await;
        assert!(system.stopped().await.is_ok(), "it was no failure");
    }
}

#[tokio::test(start_paused = true)]
async fn x09_a_group_costs_one_restart_however_many_are_in_it() {
    let script = Script::default();
    let mut tree = with_limit(Supervisor::one_for_all, 2);
    for name in ["a", "b", "c", "d", "e"] {
        tree = tree.child(Scripted::spec(name, script.clone()));
    }
    let system = start(tree).await.unwrap();
    for n in 2..=3 {
        fails(&system, "app/c").await;
        let all = ["a", "b", "c", "d", "e"].map(|name| life(name, n));
        assert_eq!(running(&system, "app"), all);
    }
    fails(&system, "app/c").await;
    assert!(system.stopped().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn x10_a_group_stops_in_reverse_and_starts_in_order_without_its_temporary_members() {
    let script = Script::default();
    let spec = |name| Scripted::spec(name, script.clone());
    let tree = with_limit(Supervisor::one_for_all, 2)
        .child(spec("a"))
        .child(spec("b").restart(Restart::Temporary))
        .child(spec("c").restart(Restart::Transient))
        .child(spec("d"));
    let system = start(tree).await.unwrap();
    // The transient one is down when the group is restarted, and comes back with it.
    quits(&system, "app/c").await;
    script.log.clear();
    fails(&system, "app/d").await;
    assert_eq!(
        script.log.take(),
        [
            "d: fail",
            "b: stop",
            "a: stop",
            "a: start 2",
            "c: start 2",
            "d: start 2",
        ]
    );
    script.log.clear();
    system.stop().await;
    assert_eq!(script.log.take(), ["d: stop", "c: stop", "a: stop"]);
}

#[tokio::test(start_paused = true)]
async fn x12_the_restarts_of_all_levels_multiply() {
    let script = Script::default();
    let level = |name| {
        Supervisor::one_for_one(name)
            .restart_limit(2, HOUR)
            .backoff(Backoff::none())
    };
    let it = Scripted::spec("it", script.clone());
    let tree = level("app").child(level("mid").child(level("low").child(it)));
    let system = start(tree).await.unwrap();
    let mut lives = 0;
    while let Ok(it) = system.find::<Scripted>("app/mid/low/it") {
        it.tell(Fail("for good")).await.unwrap();
        settle().await;
        lives += 1;
    }
    assert!(system.stopped().await.is_err());
    // Each level may repair two: three lives of the level below for each of its own.
    assert_eq!(lives, 3 * 3 * 3);
}
