//! How supervisors and children start, and what is left of those that do not.

use greenroom::prelude::*;
use greenroom::{ActorState, ChildInfoError, RestartChildError, StartChildError};
use greenroom_it::settle;

use super::start;
use crate::doubles::*;

use ActorState::{Running, Stopped};

#[tokio::test(start_paused = true)]
async fn s01_a_supervisor_without_children_starts_and_stops_in_order() {
    let system = start(Supervisor::one_for_one("app").restart_limit(2, HOUR))
        .await
        .unwrap();
    assert_eq!(counts(&system.supervisor("app").unwrap()), [0, 0, 0, 0]);
    system.stop().await;
    assert!(system.stopped().await.is_ok(), "it did not give up");
}

/// The order of [`SupervisorRef::children`] is that of the start, as in the tree; OTP lists the latest first.
#[tokio::test(start_paused = true)]
async fn s03_a_child_that_ignores_its_start_keeps_its_place_and_no_life() {
    let system = start(Supervisor::one_for_one("app").child(child("c1")))
        .await
        .unwrap();
    let app = system.supervisor("app").unwrap();
    let ignoring = Double::spec("c2", Plan::starts([Starts::Ignored]));
    let error = app.start_child(ignoring).await.unwrap_err();
    assert!(matches!(error, StartChildError::Ignored(ref path) if path.name() == "c2"));
    assert_eq!(states(&app), are([("c1", Running), ("c2", Stopped)]));
    assert_eq!(counts(&app), [2, 1, 0, 2]);
    assert!(system.find::<Double>("app/c2").is_err(), "nobody is there");
    // It may be tried again.
    app.restart_child("c2").await.unwrap();
    assert_eq!(states(&app), are([("c1", Running), ("c2", Running)]));
}

#[tokio::test(start_paused = true)]
async fn s03_a_listed_child_that_ignores_its_start_does_not_hold_up_the_tree() {
    let tree = Supervisor::one_for_one("app")
        .child(Double::spec("c1", Plan::starts([Starts::Ignored])))
        .child(child("c2"));
    let system = start(tree).await.unwrap();
    let app = system.supervisor("app").unwrap();
    assert_eq!(states(&app), are([("c1", Stopped), ("c2", Running)]));
    system.stop().await;
    assert!(system.ledger().is_balanced());
}

#[tokio::test(start_paused = true)]
async fn s04_a_listed_temporary_child_that_ignores_its_start_is_forgotten() {
    let ignoring = Double::spec("c2", Plan::starts([Starts::Ignored]));
    let tree = Supervisor::one_for_one("app")
        .child(child("c1"))
        .child(ignoring.restart(Restart::Temporary));
    let system = start(tree).await.unwrap();
    let app = system.supervisor("app").unwrap();
    assert_eq!(states(&app), are([("c1", Running)]));
    assert_eq!(counts(&app), [1, 1, 0, 1]);
}

#[tokio::test(start_paused = true)]
async fn s05_a_temporary_child_that_ignores_its_start_is_forgotten() {
    let system = start(Supervisor::one_for_one("app").child(child("c1")))
        .await
        .unwrap();
    let app = system.supervisor("app").unwrap();
    let ignoring = Double::spec("c2", Plan::starts([Starts::Ignored]));
    let error = app.start_child(ignoring.restart(Restart::Temporary)).await;
    assert!(matches!(error, Err(StartChildError::Ignored(_))));
    assert_eq!(counts(&app), [1, 1, 0, 1]);
    app.start_child(child("c2")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn s06_a_temporary_dynamic_child_that_ignores_its_start_is_not_listed() {
    let system = start(Supervisor::dynamic("app")).await.unwrap();
    let app = system.supervisor("app").unwrap();
    let temporary = |spec: Spec<Double>| spec.restart(Restart::Temporary);
    app.start_child(temporary(child("c1"))).await.unwrap();
    let ignoring = Double::spec("c2", Plan::starts([Starts::Ignored]));
    let error = app.start_child(temporary(ignoring)).await;
    assert!(matches!(error, Err(StartChildError::Ignored(_))));
    assert_eq!(states(&app), are([("c1", Running)]));
    assert_eq!(counts(&app), [1, 1, 0, 1]);
}

#[tokio::test(start_paused = true)]
async fn s07_a_permanent_dynamic_child_that_ignores_its_start_is_not_listed() {
    let system = start(Supervisor::dynamic("app")).await.unwrap();
    let app = system.supervisor("app").unwrap();
    for _ in 0..3 {
        let ignoring = Double::spec("c1", Plan::starts([Starts::Ignored]));
        let error = app.start_child(ignoring).await;
        assert!(matches!(error, Err(StartChildError::Ignored(_))));
        assert_eq!(counts(&app), [0, 0, 0, 0]);
    }
    system.stop().await;
    assert!(system.stopped().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn s08_a_tree_that_cannot_be_is_refused_with_its_reason_and_nothing_runs() {
    let plan = Plan::default();
    let tree = || {
        Supervisor::one_for_one("app")
            .child(Double::spec("c1", plan.clone()))
            .child(child("a/b"))
    };
    let error = tree().check().unwrap_err();
    let started = start(tree()).await.unwrap_err();
    assert_eq!(error.to_string(), started.to_string());
    assert!(error.to_string().contains("\"a/b\""), "{error}");
    settle().await;
    assert!(plan.log.take().is_empty());
}

#[tokio::test(start_paused = true)]
async fn s10_a_child_whose_start_fails_is_not_listed() {
    let system = start(Supervisor::one_for_one("app")).await.unwrap();
    let app = system.supervisor("app").unwrap();
    let cases = [
        (Starts::Fails, "no luck"),
        (Starts::FailsAfter(SECOND), "no luck"),
        (Starts::Panics, "no way"),
    ];
    for (how, why) in cases {
        let failing = Double::spec("c1", Plan::starts([how]));
        match app.start_child(failing).await {
            Err(StartChildError::Failed(failure)) => {
                assert_eq!(failure.text(), why);
                assert_eq!(failure.path().as_str(), "app/c1");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(counts(&app), [0, 0, 0, 0]);
    }
    app.start_child(child("c1")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn s11_a_restart_by_order_that_fails_leaves_the_child_listed_and_down() {
    let plan = Plan::starts([Starts::Well, Starts::Fails, Starts::Panics]);
    let tree = Supervisor::one_for_one("app").child(Double::spec("c1", plan));
    let system = start(tree).await.unwrap();
    let app = system.supervisor("app").unwrap();
    app.stop_child("c1").await.unwrap();
    for why in ["no luck", "no way"] {
        match app.restart_child("c1").await {
            Err(RestartChildError::Failed(failure)) => assert_eq!(failure.text(), why),
            other => panic!("{other:?}"),
        }
        assert_eq!(states(&app), are([("c1", Stopped)]));
        assert_eq!(counts(&app), [1, 0, 0, 1]);
    }
    app.restart_child("c1").await.unwrap();
    assert_eq!(states(&app), are([("c1", Running)]));
    system.stop().await;
    assert!(system.ledger().is_balanced());
}

#[tokio::test(start_paused = true)]
async fn s12_a_dynamic_child_whose_start_fails_is_not_listed() {
    let system = start(Supervisor::dynamic("app")).await.unwrap();
    let app = system.supervisor("app").unwrap();
    let failing = Double::spec("c1", Plan::starts([Starts::Fails]));
    let error = app.start_child(failing).await.unwrap_err();
    assert!(matches!(error, StartChildError::Failed(_)), "{error}");
    assert_eq!(counts(&app), [0, 0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn s13_a_child_of_which_only_name_and_start_are_given_has_the_defaults() {
    let tree = Supervisor::one_for_one("app")
        .child(child("actor"))
        .child(Supervisor::one_for_one("supervisor"));
    let system = start(tree).await.unwrap();
    let app = system.supervisor("app").unwrap();
    let actor = app.child("actor").unwrap();
    assert_eq!(actor.restart, Restart::Permanent);
    assert_eq!(actor.stop_within, Some(5 * SECOND));
    assert!(!actor.significant && !actor.is_supervisor);
    assert_eq!(actor.kind, "Double");
    let supervisor = app.child("supervisor").unwrap();
    assert_eq!(supervisor.restart, Restart::Permanent);
    assert_eq!(supervisor.stop_within, None, "as long as it takes");
    assert!(supervisor.is_supervisor);
    assert!(matches!(
        app.child("other"),
        Err(ChildInfoError::NotFound(path)) if path.as_str() == "app/other"
    ));
}

#[tokio::test(start_paused = true)]
async fn s14_each_dynamic_child_has_the_terms_that_it_was_started_with() {
    let tree = Supervisor::one_for_one("app")
        .child(Supervisor::dynamic("pool"))
        .child(child("foreign"));
    let system = start(tree).await.unwrap();
    let pool = system.supervisor("app/pool").unwrap();
    for name in ["a", "b"] {
        let spec = child(name).restart(Restart::Transient).stop_within(SECOND);
        pool.start_child(spec).await.unwrap();
        let info = pool.child(name).unwrap();
        assert_eq!(info.restart, Restart::Transient);
        assert_eq!(info.stop_within, Some(SECOND));
    }
    assert!(matches!(
        pool.child("foreign"),
        Err(ChildInfoError::NotFound(_))
    ));
}

/// A spec without a start cannot be written; one without a name can be, in a way.
#[tokio::test(start_paused = true)]
async fn s15_a_child_without_a_name_is_refused() {
    let error = start(Supervisor::one_for_one("app").child(child(""))).await;
    assert!(error.is_err());
    let system = start(Supervisor::one_for_one("app")).await.unwrap();
    let app = system.supervisor("app").unwrap();
    let error = app.start_child(child("")).await.unwrap_err();
    assert!(matches!(error, StartChildError::InvalidName(_)), "{error}");
    let error = app.start_supervisor(Supervisor::one_for_one("")).await;
    assert!(matches!(error, Err(StartChildError::InvalidName(_))));
}

#[tokio::test(start_paused = true)]
async fn x01_a_failed_start_at_boot_stops_those_before_it_in_reverse() {
    let script = greenroom_it::Script::default();
    let scripted = |name: &str| greenroom_it::Scripted::spec(name, script.clone());
    let tree = Supervisor::one_for_one("app")
        .child(scripted("a"))
        .child(scripted("b"))
        .child(Double::spec("c", Plan::starts([Starts::Fails])))
        .child(scripted("d"));
    let error = start(tree).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("app/c") && text.contains("no luck"), "{text}");
    assert_eq!(
        script.log.take(),
        ["a: start 1", "b: start 1", "b: stop", "a: stop"]
    );
}

#[tokio::test(start_paused = true)]
async fn x01_a_branch_that_fails_to_start_by_order_leaves_nothing_behind() {
    let system = start(Supervisor::one_for_one("app")).await.unwrap();
    let app = system.supervisor("app").unwrap();
    let branch = |starts| {
        Supervisor::one_for_one("branch")
            .child(child("a"))
            .child(Double::spec("b", Plan::starts([starts])))
    };
    let error = app.start_supervisor(branch(Starts::Fails)).await;
    assert!(matches!(error, Err(StartChildError::Failed(failure)) if failure.text() == "no luck"));
    assert_eq!(counts(&app), [0, 0, 0, 0]);
    assert!(system.find::<Double>("app/branch/a").is_err());
    let branch = app.start_supervisor(branch(Starts::Well)).await.unwrap();
    assert_eq!(branch.path().as_str(), "app/branch");
    assert_eq!(counts(&app), [1, 1, 1, 0]);
    assert_eq!(states(&branch), are([("a", Running), ("b", Running)]));
}
