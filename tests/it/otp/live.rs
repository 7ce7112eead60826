//! Settings and specs that are changed while the supervisor runs, OTP's code change.

use greenroom::prelude::*;
use greenroom::{ActorState, StartChildError, UpdateError};
use greenroom_it::{Script, Scripted, settle};

use super::start;
use crate::doubles::*;

use ActorState::{Running, Stopped};

fn app(strategy: fn(&'static str) -> Supervisor) -> Supervisor {
    lenient(strategy, "app")
}

#[tokio::test(start_paused = true)]
async fn s83_new_settings_take_effect_and_nobody_is_stopped_or_started() {
    let tree = app(Supervisor::one_for_one)
        .child(child("c1"))
        .child(child("c2"));
    let system = start(tree).await.unwrap();
    let supervisor = system.supervisor("app").unwrap();

    let all = app(Supervisor::one_for_all);
    supervisor.update(all).await.unwrap();
    assert_eq!((life(&supervisor, "c1"), life(&supervisor, "c2")), (1, 1));
    end(&system, "app/c1", Ends::Failing).await;
    assert_eq!((life(&supervisor, "c1"), life(&supervisor, "c2")), (2, 2));

    // Who is added is known and not started; who is not listed stays.
    let added = app(Supervisor::one_for_one).child(child("c3"));
    supervisor.update(added).await.unwrap();
    assert_eq!(
        states(&supervisor),
        are([("c1", Running), ("c2", Running), ("c3", Stopped)])
    );
    assert!(system.find::<Double>("app/c3").is_err());
    supervisor.restart_child("c3").await.unwrap();
    assert_eq!(counts(&supervisor), [3, 3, 0, 3]);
    end(&system, "app/c1", Ends::Failing).await;
    assert_eq!((life(&supervisor, "c1"), life(&supervisor, "c2")), (3, 2));

    let strict = Supervisor::one_for_one("app").restart_limit(2, HOUR);
    supervisor
        .update(strict.backoff(Backoff::none()))
        .await
        .unwrap();
    // The two restarts before count under the new limit.
    end(&system, "app/c3", Ends::Failing).await;
    assert!(system.stopped().await.is_err(), "it gave up");
}

#[tokio::test(start_paused = true)]
async fn s83_an_update_that_cannot_be_changes_nothing() {
    let tree = || {
        app(Supervisor::one_for_one)
            .child(child("c1"))
            .child(Supervisor::one_for_one("branch"))
    };
    let system = start(tree()).await.unwrap();
    let supervisor = system.supervisor("app").unwrap();
    let all = || app(Supervisor::one_for_all);
    let error = supervisor.update(all().child(child("a/b"))).await;
    assert!(matches!(error, Err(UpdateError::InvalidTree(_))));
    let error = supervisor
        .update(all().child(child("x")).child(child("x")))
        .await;
    assert!(matches!(error, Err(UpdateError::InvalidTree(_))));
    let error = supervisor.update(Supervisor::one_for_all("other")).await;
    assert!(matches!(error, Err(UpdateError::OtherName { .. })));
    let error = supervisor.update(Supervisor::dynamic("app")).await;
    assert!(matches!(error, Err(UpdateError::Dynamic(_))));
    let branch = Supervisor::one_for_one("c1");
    let error = supervisor
        .update(all().child(child("new")).child(branch))
        .await;
    assert!(
        matches!(error, Err(UpdateError::OtherType { ref wanted, ref found, .. })
            if wanted == "supervisor" && found == "Double"),
        "{error:?}"
    );
    assert_eq!(
        states(&supervisor),
        are([("c1", Running), ("branch", Running)])
    );
    // It goes on as before: one for one.
    end(&system, "app/c1", Ends::Failing).await;
    assert_eq!(
        (life(&supervisor, "c1"), life(&supervisor, "branch")),
        (2, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn s83_an_added_child_comes_along_with_its_group_and_with_its_supervisor() {
    let plan = Plan::default();
    let branch = || {
        lenient(Supervisor::one_for_all, "branch")
            .restart_limit(1, HOUR)
            .child(Double::spec("c1", plan.clone()))
    };
    let tree = lenient(Supervisor::one_for_one, "top").child(branch());
    let system = start(tree).await.unwrap();
    let supervisor = system.supervisor("top/branch").unwrap();
    supervisor
        .update(branch().child(child("c2")))
        .await
        .unwrap();
    assert_eq!(states(&supervisor), are([("c1", Running), ("c2", Stopped)]));
    end(&system, "top/branch/c1", Ends::Failing).await;
    assert_eq!(states(&supervisor), are([("c1", Running), ("c2", Running)]));
    // One failure more than it may repair: it is started anew, with all that it has by now.
    end(&system, "top/branch/c1", Ends::Failing).await;
    assert_eq!(life(&system.supervisor("top").unwrap(), "branch"), 2);
    assert_eq!(states(&supervisor), are([("c1", Running), ("c2", Running)]));
    system.stop().await;
    assert!(system.ledger().is_balanced());
}

#[tokio::test(start_paused = true)]
async fn s84_changed_specs_are_seen_and_hold_from_the_next_time_on() {
    let tree = app(Supervisor::one_for_one).child(child("c1"));
    let system = start(tree).await.unwrap();
    let supervisor = system.supervisor("app").unwrap();
    let changed = child("c1").restart(Restart::Transient).stop_within(SECOND);
    supervisor
        .update(app(Supervisor::one_for_one).child(changed))
        .await
        .unwrap();
    let info = supervisor.child("c1").unwrap();
    assert_eq!(info.stop_within, Some(SECOND));
    assert_eq!(info.restart, Restart::Transient);
    assert_eq!((info.state, info.incarnation), (Running, 1));

    let c1 = system.find::<Double>("app/c1").unwrap();
    c1.tell(Forever).await.unwrap();
    settle().await;
    let begun = tokio::time::Instant::now();
    supervisor.stop_child("c1").await.unwrap();
    assert_eq!(begun.elapsed(), SECOND);
    supervisor.restart_child("c1").await.unwrap();
    end(&system, "app/c1", Ends::Normally).await;
    assert_eq!(states(&supervisor), are([("c1", Stopped)]));
}

/// There is no template: each child of a dynamic supervisor has a spec of its own, so an update lists those that are
/// there, or none.
#[tokio::test(start_paused = true)]
async fn s85_the_settings_of_a_dynamic_supervisor_can_be_changed() {
    let system = start(Supervisor::dynamic("app")).await.unwrap();
    let supervisor = system.supervisor("app").unwrap();
    supervisor.start_child(child("c1")).await.unwrap();
    let lenient = || app(Supervisor::dynamic);
    let error = supervisor.update(lenient().child(child("new"))).await;
    assert!(matches!(error, Err(UpdateError::Dynamic(_))));
    assert_eq!(states(&supervisor), are([("c1", Running)]));
    supervisor.update(lenient().max_children(2)).await.unwrap();
    for _ in 0..5 {
        end(&system, "app/c1", Ends::Failing).await;
    }
    assert_eq!(states(&supervisor), are([("c1", Running)]));
    supervisor.start_child(child("c2")).await.unwrap();
    let error = supervisor.start_child(child("c3")).await.unwrap_err();
    assert!(matches!(error, StartChildError::MaxChildren { max: 2, .. }));
}

#[tokio::test(start_paused = true)]
async fn s86_the_spec_of_a_dynamic_child_can_be_changed() {
    let system = start(app(Supervisor::dynamic)).await.unwrap();
    let supervisor = system.supervisor("app").unwrap();
    supervisor.start_child(child("c1")).await.unwrap();
    let changed = child("c1").restart(Restart::Temporary).stop_within(SECOND);
    let update = app(Supervisor::dynamic).child(changed);
    supervisor.update(update).await.unwrap();
    assert_eq!(supervisor.child("c1").unwrap().stop_within, Some(SECOND));
    end(&system, "app/c1", Ends::Failing).await;
    assert_eq!(states(&supervisor), are([]));
}

#[tokio::test(start_paused = true)]
async fn a_limit_can_be_raised_while_a_child_is_failing() {
    let script = Script::default();
    let tree = Supervisor::one_for_one("app")
        .restart_limit(1, HOUR)
        .backoff(Backoff::none())
        .child(Scripted::spec("it", script));
    let system = start(tree).await.unwrap();
    let supervisor = system.supervisor("app").unwrap();
    let it = system.find::<Scripted>("app/it").unwrap();
    supervisor.set_limit(10, HOUR).await.unwrap();
    for _ in 0..5 {
        it.tell(greenroom_it::Fail("bust")).await.unwrap();
    }
    settle().await;
    assert_eq!(life(&supervisor, "it"), 6);
    supervisor.set_limit(3, HOUR).await.unwrap();
    it.tell(greenroom_it::Fail("bust")).await.unwrap();
    let escalated = system.stopped().await;
    assert!(escalated.is_err(), "five and one are more than three");
}

#[tokio::test(start_paused = true)]
async fn a_child_that_was_removed_and_comes_back_by_an_update_is_there_once_from_then_on() {
    let branch = || {
        lenient(Supervisor::one_for_one, "branch")
            .restart_limit(1, HOUR)
            .child(child("c1"))
            .child(child("c2"))
    };
    let tree = lenient(Supervisor::one_for_one, "top").child(branch());
    let system = start(tree).await.unwrap();
    let supervisor = system.supervisor("top/branch").unwrap();
    supervisor.stop_child("c1").await.unwrap();
    supervisor.remove_child("c1").await.unwrap();
    supervisor.update(branch()).await.unwrap();
    assert_eq!(states(&supervisor), are([("c2", Running), ("c1", Stopped)]));
    // It is started anew, with all that it has by now.
    end(&system, "top/branch/c2", Ends::Failing).await;
    end(&system, "top/branch/c2", Ends::Failing).await;
    assert_eq!(life(&system.supervisor("top").unwrap(), "branch"), 2);
    assert_eq!(states(&supervisor), are([("c2", Running), ("c1", Running)]));
    assert_eq!(counts(&supervisor), [2, 2, 0, 2]);
    system.stop().await;
    assert!(system.ledger().is_balanced());
}
