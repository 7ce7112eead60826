//! Which end of a child restarts it: permanent, transient and temporary ones.

use std::time::Duration;

use greenroom::prelude::*;
use greenroom_it::*;

use super::start;
use crate::doubles::counts;
use crate::look::{fails, life, quits, running};

/// A running supervisor `app` with one child `it` of this restart type.
async fn one(restart: Restart) -> System {
    let script = Script::default();
    let tree = Supervisor::one_for_one("app")
        .restart_limit(2, Duration::from_secs(3600))
        .backoff(Backoff::none());
    let system = start(tree).await.unwrap();
    let it = Scripted::spec("it", script).restart(restart);
    let app = system.supervisor("app").unwrap();
    app.start_child(it).await.unwrap();
    system
}

/// The supervisor's counts, and which life of the child runs, if one does.
fn left(system: &System) -> ([usize; 4], Option<u64>) {
    let app = system.supervisor("app").unwrap();
    let lives = running(system, "app");
    (counts(&app), lives.first().map(|(_, life)| *life))
}

#[tokio::test(start_paused = true)]
async fn s45_permanent_child_that_ends_normally_is_restarted() {
    let system = one(Restart::Permanent).await;
    quits(&system, "app/it").await;
    assert_eq!(left(&system), ([1, 1, 0, 1], Some(2)));
}

#[tokio::test(start_paused = true)]
async fn s46_transient_child_that_ends_normally_stays_down_in_its_place() {
    let system = one(Restart::Transient).await;
    quits(&system, "app/it").await;
    assert_eq!(left(&system), ([1, 0, 0, 1], None));
}

#[tokio::test(start_paused = true)]
async fn s47_temporary_child_that_ends_normally_is_forgotten() {
    let system = one(Restart::Temporary).await;
    quits(&system, "app/it").await;
    assert_eq!(left(&system), ([0, 0, 0, 0], None));
}

#[tokio::test(start_paused = true)]
async fn s52_permanent_child_that_fails_is_restarted() {
    let system = one(Restart::Permanent).await;
    fails(&system, "app/it").await;
    assert_eq!(left(&system), ([1, 1, 0, 1], Some(2)));
}

#[tokio::test(start_paused = true)]
async fn s53_transient_child_that_fails_is_restarted() {
    let system = one(Restart::Transient).await;
    fails(&system, "app/it").await;
    assert_eq!(left(&system), ([1, 1, 0, 1], Some(2)));
}

#[tokio::test(start_paused = true)]
async fn s54_temporary_child_that_fails_is_forgotten() {
    let system = one(Restart::Temporary).await;
    fails(&system, "app/it").await;
    assert_eq!(left(&system), ([0, 0, 0, 0], None));
}

#[tokio::test(start_paused = true)]
async fn s55_temporary_sibling_that_is_taken_along_does_not_come_back() {
    for strategy in [Supervisor::one_for_all, Supervisor::rest_for_one] {
        let script = Script::default();
        let tree = strategy("app")
            .restart_limit(2, Duration::from_secs(300))
            .backoff(Backoff::none());
        let system = start(tree).await.unwrap();
        let app = system.supervisor("app").unwrap();
        let c1 = Scripted::spec("c1", script.clone());
        let c2 = Scripted::spec("c2", script.clone()).restart(Restart::Temporary);
        app.start_child(c1).await.unwrap();
        app.start_child(c2).await.unwrap();
        script.log.clear();
        quits(&system, "app/c1").await;
        assert_eq!(
            script.log.take(),
            ["c1: quit", "c1: stop", "c2: stop", "c1: start 2"]
        );
        assert_eq!(running(&system, "app"), [life("c1", 2)]);
        assert_eq!(counts(&app), [1, 1, 0, 1]);
    }
}

#[tokio::test(start_paused = true)]
async fn dy06_a_dynamic_supervisor_judges_each_child_by_its_restart_type() {
    let script = Script::default();
    let tree = Supervisor::dynamic("app")
        .restart_limit(100, Duration::from_secs(60))
        .backoff(Backoff::none());
    let system = start(tree).await.unwrap();
    let app = system.supervisor("app").unwrap();
    let types = [Restart::Permanent, Restart::Transient, Restart::Temporary];
    for restart in types {
        for end in ["normal", "error", "panic"] {
            let name = format!("{restart}-{end}");
            let spec = Scripted::spec(name, script.clone()).restart(restart);
            let it = app.start_child(spec).await.unwrap();
            match end {
                "normal" => it.tell(Quit).await.unwrap(),
                "error" => it.tell(Fail("died")).await.unwrap(),
                _ => it.tell(Panic("died")).await.unwrap(),
            }
        }
    }
    settle().await;
    assert_eq!(
        running(&system, "app"),
        [
            life("permanent-error", 2),
            life("permanent-normal", 2),
            life("permanent-panic", 2),
            life("transient-error", 2),
            life("transient-panic", 2),
        ]
    );
    // Who ended for good has left nothing behind, not even its name.
    for name in ["transient-normal", "temporary-error"] {
        let spec = Scripted::spec(name, script.clone());
        app.start_child(spec).await.unwrap();
    }
}
