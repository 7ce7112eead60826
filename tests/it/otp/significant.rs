//! Significant children, and the supervisors that end with them.

use greenroom::StartError;
use greenroom::prelude::*;
use greenroom::{ActorState, AutoShutdown, BadCombination, StartChildError, UpdateError};

use super::start;
use crate::doubles::*;

use ActorState::{Running, Stopped};
use AutoShutdown::{AllSignificant, AnySignificant, Never};

/// How children end by themselves, or by somebody who is not their supervisor.
const ENDS: [Ends; 4] = [Ends::Killed, Ends::Panicking, Ends::Failing, Ends::Normally];

/// The supervisor whose end is looked at, below one that leaves it down: `top/app`.
async fn below_top(app: Supervisor) -> System {
    let tree = Supervisor::one_for_one("top").child(app.restart(Restart::Transient));
    start(tree).await.unwrap()
}

fn app(auto: AutoShutdown) -> Supervisor {
    lenient(Supervisor::one_for_one, "app").auto_shutdown(auto)
}

fn supervisor(system: &System) -> greenroom::SupervisorRef {
    system.supervisor("top/app").unwrap()
}

/// Whether it still runs, a second later.
async fn is_up(system: &System) -> bool {
    tokio::time::sleep(SECOND).await;
    state(&system.supervisor("top").unwrap(), "app") == Running
}

/// It has ended in order, and nobody below it is left.
async fn is_shut_down(system: &System) -> bool {
    let is_up = is_up(system).await;
    let below = |info: &greenroom::ActorInfo| info.path.as_str().starts_with("top/app/");
    assert!(system.ledger().is_balanced(), "{}", system.ledger());
    !is_up && !system.snapshot().iter().any(below)
}

#[tokio::test(start_paused = true)]
async fn s58_the_end_of_a_temporary_child_that_is_not_significant_ends_nobody_else() {
    for auto in AUTO {
        let system = below_top(app(auto)).await;
        let app = supervisor(&system);
        let spec = || child("c").restart(Restart::Temporary);
        app.start_child(spec()).await.unwrap();
        app.stop_child("c").await.unwrap();
        assert!(is_up(&system).await, "{auto}");
        for how in ENDS {
            app.start_child(spec()).await.unwrap();
            end(&system, "top/app/c", how).await;
            assert!(is_up(&system).await, "{auto} {how:?}");
            assert_eq!(counts(&app), [0, 0, 0, 0]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn s59_the_end_of_a_transient_child_that_is_not_significant_ends_nobody_else() {
    for auto in AUTO {
        let spec = child("c").restart(Restart::Transient);
        let system = below_top(app(auto).child(spec)).await;
        let app = supervisor(&system);
        app.stop_child("c").await.unwrap();
        assert!(is_up(&system).await, "{auto}");
        app.restart_child("c").await.unwrap();
        for (how, then) in ENDS.into_iter().zip([Running, Running, Running, Stopped]) {
            end(&system, "top/app/c", how).await;
            assert!(is_up(&system).await, "{auto} {how:?}");
            assert_eq!(state(&app, "c"), then);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn s60_a_significant_temporary_child_takes_its_supervisor_along_however_it_ends() {
    let temporary = |name: &str| child(name).restart(Restart::Temporary);
    for how in ENDS {
        let tree = || {
            app(AnySignificant)
                .child(temporary("c1").significant())
                .child(temporary("c2").significant())
                .child(child("c3"))
        };
        let system = below_top(tree()).await;
        supervisor(&system).stop_child("c1").await.unwrap();
        assert!(is_up(&system).await, "by order it ends nobody");
        end(&system, "top/app/c2", how).await;
        assert!(is_shut_down(&system).await, "{how:?}");

        let system = below_top(tree().auto_shutdown(AllSignificant)).await;
        end(&system, "top/app/c1", how).await;
        assert!(is_up(&system).await, "another is left");
        assert_eq!(counts(&supervisor(&system)), [2, 2, 0, 2]);
        end(&system, "top/app/c2", how).await;
        assert!(is_shut_down(&system).await, "{how:?}");

        // One that was stopped by order is not left, either.
        let system = below_top(tree().auto_shutdown(AllSignificant)).await;
        supervisor(&system).stop_child("c1").await.unwrap();
        assert!(is_up(&system).await);
        end(&system, "top/app/c2", how).await;
        assert!(is_shut_down(&system).await, "{how:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn s61_a_significant_transient_child_takes_its_supervisor_along_when_it_is_done() {
    let transient = |name: &str| child(name).restart(Restart::Transient).significant();
    for auto in [AnySignificant, AllSignificant] {
        let tree = app(auto)
            .child(transient("c1"))
            .child(transient("c2"))
            .child(child("c3"));
        let system = below_top(tree).await;
        let app = supervisor(&system);
        app.stop_child("c1").await.unwrap();
        assert!(is_up(&system).await);
        app.restart_child("c1").await.unwrap();
        for how in [Ends::Killed, Ends::Panicking, Ends::Failing] {
            end(&system, "top/app/c1", how).await;
            assert!(is_up(&system).await, "{auto} {how:?}");
            assert_eq!(state(&app, "c1"), Running);
        }
        end(&system, "top/app/c1", Ends::Normally).await;
        if auto == AllSignificant {
            assert!(is_up(&system).await, "another is left");
            assert_eq!(state(&app, "c1"), Stopped);
            end(&system, "top/app/c2", Ends::Normally).await;
        }
        assert!(is_shut_down(&system).await, "{auto}");
    }
}

#[tokio::test(start_paused = true)]
async fn s62_a_dynamic_supervisor_cannot_shut_itself_down() {
    for auto in [AnySignificant, AllSignificant] {
        let error = start(Supervisor::dynamic("app").auto_shutdown(auto)).await;
        let why = BadCombination::Dynamic;
        assert!(
            matches!(error, Err(StartError::BadCombination { why: found, .. }) if found == why)
        );
    }
    let system = start(Supervisor::dynamic("app")).await.unwrap();
    let app = system.supervisor("app").unwrap();
    let significant = child("c").restart(Restart::Temporary).significant();
    let error = app.start_child(significant).await.unwrap_err();
    let why = BadCombination::Never;
    assert!(matches!(error, StartChildError::BadCombination { why: found, .. } if found == why));
}

#[tokio::test(start_paused = true)]
async fn s63_who_is_stopped_along_with_a_sibling_ends_nobody() {
    type Strategy = (fn(&'static str) -> Supervisor, &'static str);
    let strategies: [Strategy; 3] = [
        (Supervisor::one_for_one, "one_for_one"),
        (Supervisor::one_for_all, "one_for_all"),
        (Supervisor::rest_for_one, "rest_for_one"),
    ];
    for (strategy, name) in strategies {
        for auto in [AnySignificant, AllSignificant] {
            let tree = lenient(strategy, "app")
                .auto_shutdown(auto)
                .child(child("c1"))
                .child(child("c2").restart(Restart::Transient).significant())
                .child(child("c3").restart(Restart::Temporary).significant());
            let system = below_top(tree).await;
            end(&system, "top/app/c1", Ends::Failing).await;
            assert!(is_up(&system).await, "{name} {auto}");
            let app = supervisor(&system);
            let left = match name {
                "one_for_one" => [3, 3, 0, 3],
                _ => [2, 2, 0, 2],
            };
            assert_eq!(counts(&app), left, "{name} {auto}");
            // The temporary one went with its group; of those that count only this one is left.
            end(&system, "top/app/c2", Ends::Normally).await;
            let ends = auto == AnySignificant || name != "one_for_one";
            assert_eq!(is_up(&system).await, !ends, "{name} {auto}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn s64_the_end_of_a_significant_supervisor_counts_as_any_childs() {
    for significant in [true, false] {
        let worker = child("c").restart(Restart::Transient).significant();
        let b = Supervisor::one_for_one("b")
            .auto_shutdown(AnySignificant)
            .restart(Restart::Transient)
            .child(worker);
        let b = if significant { b.significant() } else { b };
        let a = app(AnySignificant).child(b).child(child("bystander"));
        let system = below_top(a).await;
        end(&system, "top/app/b/c", Ends::Normally).await;
        if significant {
            assert!(is_shut_down(&system).await);
        } else {
            assert!(is_up(&system).await);
            let app = supervisor(&system);
            assert_eq!(states(&app), are([("b", Stopped), ("bystander", Running)]));
            assert!(system.find::<Double>("top/app/b/c").is_err());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn s64_a_root_whose_significant_child_is_done_has_stopped_in_order() {
    let tree = Supervisor::one_for_one("app")
        .auto_shutdown(AnySignificant)
        .child(child("bystander"))
        .child(child("c").restart(Restart::Transient).significant());
    let system = start(tree).await.unwrap();
    end(&system, "app/c", Ends::Normally).await;
    assert!(system.stopped().await.is_ok(), "it did not give up");
    assert!(system.snapshot().is_empty());
}

// ===== changed while it runs =====

fn significant(name: &str) -> Spec<Double> {
    child(name).restart(Restart::Temporary).significant()
}

/// Starts two significant children; whether the first and the second end each leave the supervisor up.
async fn ends_of_two(system: &System, names: [&str; 2]) -> [bool; 2] {
    let mut up = [false; 2];
    for (name, up) in names.into_iter().zip(&mut up) {
        if let Ok(child) = system.find::<Double>(&format!("top/app/{name}")) {
            child.tell(Ends::Normally).await.unwrap();
        }
        *up = is_up(system).await;
    }
    up
}

#[tokio::test(start_paused = true)]
async fn s65_from_never_to_any_the_first_end_stops_all() {
    let system = below_top(app(Never)).await;
    let supervisor = supervisor(&system);
    let error = supervisor.start_child(significant("c1")).await;
    assert!(matches!(error, Err(StartChildError::BadCombination { .. })));
    supervisor.update(app(AnySignificant)).await.unwrap();
    supervisor.start_child(significant("c1")).await.unwrap();
    supervisor.start_child(significant("c2")).await.unwrap();
    assert_eq!(ends_of_two(&system, ["c1", "c2"]).await, [false, false]);
    assert!(is_shut_down(&system).await);
}

#[tokio::test(start_paused = true)]
async fn s67_from_never_to_all_the_last_end_stops_all() {
    let system = below_top(app(Never)).await;
    let supervisor = supervisor(&system);
    let error = supervisor.start_child(significant("c1")).await;
    assert!(matches!(error, Err(StartChildError::BadCombination { .. })));
    supervisor.update(app(AllSignificant)).await.unwrap();
    supervisor.start_child(significant("c1")).await.unwrap();
    supervisor.start_child(significant("c2")).await.unwrap();
    assert_eq!(ends_of_two(&system, ["c1", "c2"]).await, [true, false]);
    assert!(is_shut_down(&system).await);
}

async fn to_never_nobodys_end_counts_any_more(before: AutoShutdown) {
    let transient = child("c1").restart(Restart::Transient).significant();
    let system = below_top(app(before).child(transient)).await;
    let supervisor = supervisor(&system);
    supervisor.update(app(Never)).await.unwrap();
    assert!(is_up(&system).await, "the change itself stops nobody");
    let error = supervisor.start_child(significant("c2")).await;
    assert!(matches!(error, Err(StartChildError::BadCombination { .. })));
    end(&system, "top/app/c1", Ends::Normally).await;
    assert!(is_up(&system).await);
    assert_eq!(states(&supervisor), are([("c1", Stopped)]));
    supervisor.restart_child("c1").await.unwrap();
    assert_eq!(states(&supervisor), are([("c1", Running)]));
}

#[tokio::test(start_paused = true)]
async fn s66_from_any_to_never_nobodys_end_counts_any_more() {
    to_never_nobodys_end_counts_any_more(AnySignificant).await;
}

#[tokio::test(start_paused = true)]
async fn s68_from_all_to_never_nobodys_end_counts_any_more() {
    to_never_nobodys_end_counts_any_more(AllSignificant).await;
}

async fn changed(from: AutoShutdown, to: AutoShutdown) -> [bool; 2] {
    let tree = app(from)
        .child(significant("c1"))
        .child(significant("c2"))
        .child(child("c3"));
    let system = below_top(tree).await;
    supervisor(&system).update(app(to)).await.unwrap();
    assert!(is_up(&system).await);
    ends_of_two(&system, ["c1", "c2"]).await
}

#[tokio::test(start_paused = true)]
async fn s69_from_any_to_all_the_second_end_stops_all() {
    assert_eq!(changed(AnySignificant, AllSignificant).await, [true, false]);
}

#[tokio::test(start_paused = true)]
async fn s70_from_all_to_any_the_first_end_stops_all() {
    assert_eq!(
        changed(AllSignificant, AnySignificant).await,
        [false, false]
    );
}

#[tokio::test(start_paused = true)]
async fn s71_whether_a_child_is_significant_can_be_changed_while_it_runs() {
    let plain = || child("c1").restart(Restart::Transient);
    // Under a supervisor that never shuts itself down it is refused, and all stays as it was.
    let system = below_top(app(Never).child(plain())).await;
    let never = supervisor(&system);
    let error = never.update(app(Never).child(plain().significant())).await;
    assert!(
        matches!(
            error,
            Err(UpdateError::InvalidTree(StartError::BadCombination { .. }))
        ),
        "{error:?}"
    );
    assert!(!never.child("c1").unwrap().significant);
    never.start_child(child("c2")).await.unwrap();

    // Under one that may, it holds in both directions.
    let system = below_top(app(AnySignificant).child(plain())).await;
    let any = supervisor(&system);
    let with = |spec| any.update(app(AnySignificant).child(spec));
    with(plain().significant()).await.unwrap();
    assert!(any.child("c1").unwrap().significant);
    with(plain()).await.unwrap();
    assert!(!any.child("c1").unwrap().significant);
    end(&system, "top/app/c1", Ends::Normally).await;
    assert!(is_up(&system).await);
    any.restart_child("c1").await.unwrap();
    with(plain().significant()).await.unwrap();
    end(&system, "top/app/c1", Ends::Normally).await;
    assert!(is_shut_down(&system).await);
}
