//! Children that are stopped, started again, removed and looked at by order.

use std::collections::BTreeSet;
use std::sync::Arc;

use greenroom::prelude::*;
use greenroom::{
    ActorState, AutoShutdown, BadCombination, ChildInfoError, RemoveChildError, RestartChildError,
    StartChildError, StartError, StopChildError,
};
use greenroom_it::settle;
use tokio::time::Instant;

use super::start;
use crate::doubles::*;

use ActorState::{Restarting, Running, Stopped};

#[tokio::test(start_paused = true)]
async fn s23_children_are_administered_one_by_one() {
    let tree = lenient(Supervisor::one_for_one, "app").child(child("c1"));
    let system = start(tree).await.unwrap();
    let app = system.supervisor("app").unwrap();

    let error = app.start_child(child("c1")).await.unwrap_err();
    assert!(matches!(error, StartChildError::AlreadyStarted(ref path) if path.name() == "c1"));
    let error = app.stop_child("c2").await.unwrap_err();
    assert!(matches!(error, StopChildError::NotFound(_)), "{error}");

    let c1 = system.find::<Double>("app/c1").unwrap();
    app.stop_child("c1").await.unwrap();
    assert_eq!(states(&app), are([("c1", Stopped)]));
    assert_eq!(counts(&app), [1, 0, 0, 1]);
    let refused = c1.try_tell(Ends::Normally).unwrap_err();
    assert_eq!(refused.into_message(), Ends::Normally, "it is given back");
    app.stop_child("c1").await.unwrap();

    let error = app.start_child(child("c1")).await.unwrap_err();
    assert!(matches!(error, StartChildError::AlreadyPresent(_)));
    app.restart_child("c1").await.unwrap();
    assert_eq!(c1.ask(WhichLife).await.unwrap(), 2, "the reference is good");
    let error = app.restart_child("c1").await.unwrap_err();
    assert!(matches!(error, RestartChildError::Running(_)), "{error}");
    let error = app.restart_child("c2").await.unwrap_err();
    assert!(matches!(error, RestartChildError::NotFound(_)), "{error}");

    let error = app.remove_child("c1").await.unwrap_err();
    assert!(matches!(error, RemoveChildError::Running(_)), "{error}");
    app.stop_child("c1").await.unwrap();
    app.remove_child("c1").await.unwrap();
    assert_eq!(states(&app), are([]));
    assert_eq!(counts(&app), [0, 0, 0, 0]);
    let error = app.restart_child("c1").await.unwrap_err();
    assert!(matches!(error, RestartChildError::NotFound(_)), "{error}");
    let error = app.remove_child("c1").await.unwrap_err();
    assert!(matches!(error, RemoveChildError::NotFound(_)), "{error}");
    app.start_child(child("c1")).await.unwrap();

    system.stop().await;
    let error = app.start_child(child("c2")).await.unwrap_err();
    assert!(matches!(error, StartChildError::SupervisorStopped(_)));
    let error = app.stop_child("c1").await.unwrap_err();
    assert!(matches!(error, StopChildError::SupervisorStopped(_)));
    let error = app.restart_child("c1").await.unwrap_err();
    assert!(matches!(error, RestartChildError::SupervisorStopped(_)));
    let error = app.remove_child("c1").await.unwrap_err();
    assert!(matches!(error, RemoveChildError::SupervisorStopped(_)));
    let error = app.children().unwrap_err();
    assert!(matches!(error, ChildInfoError::SupervisorStopped(_)));
    assert!(system.ledger().is_balanced(), "{}", system.ledger());
}

/// Children are known by name, those of a dynamic supervisor too; so each is a spec of its own, as in Elixir.
#[tokio::test(start_paused = true)]
async fn s24_dynamic_children_are_administered_by_name() {
    let tree = Supervisor::one_for_one("app")
        .child(Supervisor::dynamic("pool"))
        .child(child("foreign"));
    let system = start(tree).await.unwrap();
    let pool = system.supervisor("app/pool").unwrap();
    assert_eq!(counts(&pool), [0, 0, 0, 0]);
    pool.start_child(child("a")).await.unwrap();
    let b = pool.start_child(child("b")).await.unwrap();
    assert_eq!(counts(&pool), [2, 2, 0, 2]);
    pool.stop_child("b").await.unwrap();
    assert!(b.try_tell(Ends::Normally).is_err(), "it is dead");
    assert_eq!(counts(&pool), [1, 1, 0, 1]);
    let again = pool.stop_child("b").await.unwrap_err();
    assert!(matches!(again, StopChildError::NotFound(_)), "{again}");
    let foreign = pool.stop_child("foreign").await.unwrap_err();
    assert!(matches!(foreign, StopChildError::NotFound(_)));
    assert!(system.find::<Double>("app/foreign").is_ok());
    let error = pool.restart_child("a").await.unwrap_err();
    assert!(matches!(error, RestartChildError::Dynamic(_)), "{error}");
    let error = pool.remove_child("a").await.unwrap_err();
    assert!(matches!(error, RemoveChildError::Dynamic(_)), "{error}");
}

/// What else a spec could have wrong in OTP cannot be written in Rust.
#[tokio::test(start_paused = true)]
async fn s26_a_faulty_spec_is_named_before_anything_is_started() {
    let plan = Plan::default();
    let good = || Double::spec("good", plan.clone());
    let cases = [
        (
            Supervisor::one_for_one("app").child(good()).child(good()),
            "two children named \"good\"",
        ),
        (
            Supervisor::one_for_one("app")
                .child(good())
                .child(child("a/b")),
            "\"a/b\"",
        ),
        (
            Supervisor::one_for_one("app").child(good()).child(
                Supervisor::rest_for_one("below")
                    .child(child(""))
                    .child(child("x")),
            ),
            "a child of app/below cannot be named \"\"",
        ),
        (
            Supervisor::one_for_one("").child(good()),
            "the root cannot be named",
        ),
    ];
    for (tree, why) in cases {
        let error = tree.check().unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
        let error = start(tree).await.unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
    settle().await;
    assert!(plan.log.take().is_empty(), "nobody was started");
    let system = start(Supervisor::one_for_one("app").child(good()))
        .await
        .unwrap();
    let app = system.supervisor("app").unwrap();
    let twice = Supervisor::one_for_one("branch")
        .child(child("x"))
        .child(child("x"));
    let error = app.start_supervisor(twice).await.unwrap_err();
    assert!(
        matches!(
            error,
            StartChildError::InvalidTree(StartError::DuplicateName { .. })
        ),
        "{error}"
    );
    assert_eq!(counts(&app), [1, 1, 0, 1]);
}

#[tokio::test(start_paused = true)]
async fn s27_of_all_combinations_those_that_contradict_themselves_are_refused() {
    for auto in AUTO {
        let empty = Supervisor::one_for_one("app").auto_shutdown(auto);
        let system = start(empty).await.unwrap();
        let app = system.supervisor("app").unwrap();
        for restart in RESTARTS {
            for significant in [false, true] {
                let why = match (significant, auto, restart) {
                    (false, ..) => None,
                    (true, AutoShutdown::Never, _) => Some(BadCombination::Never),
                    (true, _, Restart::Permanent) => Some(BadCombination::Permanent),
                    (true, ..) => None,
                };
                let spec = || match significant {
                    true => child("c").restart(restart).significant(),
                    false => child("c").restart(restart),
                };
                let branch = || {
                    let branch = Supervisor::one_for_all("b").restart(restart);
                    if significant {
                        branch.significant()
                    } else {
                        branch
                    }
                };
                let tree = || Supervisor::one_for_one("app").auto_shutdown(auto);
                for tree in [tree().child(spec()), tree().child(branch())] {
                    match tree.check() {
                        Ok(()) => assert_eq!(why, None, "{tree}"),
                        Err(StartError::BadCombination { why: found, .. }) => {
                            assert_eq!(why, Some(found), "{tree}");
                        }
                        Err(other) => panic!("{other}"),
                    }
                }
                match app.start_child(spec()).await {
                    Ok(_) => assert_eq!(why, None, "{restart} {auto}"),
                    Err(StartChildError::BadCombination { why: found, .. }) => {
                        assert_eq!(why, Some(found));
                        continue;
                    }
                    Err(other) => panic!("{other}"),
                }
                app.start_supervisor(branch()).await.unwrap();
                for name in ["b", "c"] {
                    app.stop_child(name).await.unwrap();
                    // A temporary one is gone already.
                    let _ = app.remove_child(name).await;
                }
            }
        }
        system.stop().await;
    }
}

/// There is nothing like unlinking: a child that does not stop is cut off, and its supervisor goes on.
#[tokio::test(start_paused = true)]
async fn s56_a_child_that_ignores_its_stop_does_not_hang_its_supervisor() {
    let tree = Supervisor::one_for_one("app")
        .child(child("c1").stop_within(SECOND))
        .child(child("c2"));
    let system = start(tree).await.unwrap();
    let app = system.supervisor("app").unwrap();
    let c1 = system.find::<Double>("app/c1").unwrap();
    c1.tell(Forever).await.unwrap();
    settle().await;
    let begun = Instant::now();
    app.stop_child("c1").await.unwrap();
    assert_eq!(begun.elapsed(), SECOND);
    app.start_child(child("c3")).await.unwrap();
    assert_eq!(begun.elapsed(), SECOND, "it attends to others");
    assert_eq!(
        states(&app),
        are([("c1", Stopped), ("c2", Running), ("c3", Running)])
    );
}

#[tokio::test(start_paused = true)]
async fn s57_a_tree_is_repaired_at_the_level_where_it_broke() {
    let plan = Plan::default();
    let branch = |name: &'static str, plan: &Plan| {
        Supervisor::one_for_one(name)
            .restart_limit(2, HOUR)
            .backoff(Backoff::none())
            .child(Double::spec("w1", plan.clone()))
            .child(child("w2"))
    };
    let tree = lenient(Supervisor::one_for_all, "top")
        .child(branch("a", &Plan::default()))
        .child(branch("b", &Plan::default()))
        .child(branch("c", &plan));
    let system = start(tree).await.unwrap();
    let top = system.supervisor("top").unwrap();
    let of = |name: &str| system.supervisor(&format!("top/{name}")).unwrap();
    assert_eq!(counts(&top), [3, 3, 3, 0]);

    top.stop_child("a").await.unwrap();
    assert_eq!(counts(&top), [3, 2, 3, 0]);
    assert!(system.find::<Double>("top/a/w1").is_err());
    of("b").start_child(child("late")).await.unwrap();

    end(&system, "top/b/w1", Ends::Failing).await;
    assert_eq!((life(&of("b"), "w1"), life(&of("b"), "w2")), (2, 1));
    assert_eq!((life(&top, "b"), life(&top, "c")), (1, 1));

    // Its restarts fail twice and use up the limit, so all three begin anew.
    plan.hereafter(Starts::Fails);
    let w1 = system.find::<Double>("top/c/w1").unwrap();
    w1.tell(Ends::Failing).await.unwrap();
    plan.hereafter(Starts::FailsAfter(SECOND));
    tokio::time::sleep(2 * SECOND + SECOND / 2).await;
    plan.hereafter(Starts::Well);
    tokio::time::sleep(SECOND).await;
    assert_eq!(counts(&top), [3, 3, 3, 0], "also the one that was stopped");
    assert_eq!(states(&of("a")), are([("w1", Running), ("w2", Running)]));
    // Who was started by hand is not there any more.
    assert_eq!(states(&of("b")), are([("w1", Running), ("w2", Running)]));
    assert!(life(&top, "b") >= 2);
    system.stop().await;
    assert!(system.ledger().is_balanced());
}

#[tokio::test(start_paused = true)]
async fn s75_a_look_at_a_child_says_what_it_is() {
    let tree = Supervisor::one_for_one("app")
        .child(child("c"))
        .child(Supervisor::dynamic("pool"));
    let system = start(tree).await.unwrap();
    let app = system.supervisor("app").unwrap();
    assert_eq!(app.child("c").unwrap().kind, "Double");
    assert_eq!(app.child("pool").unwrap().kind, "supervisor");
}

/// Built from something large, of which it keeps nothing.
#[derive(Debug)]
struct Lean;

impl Actor for Lean {
    type Args = Arc<[u8]>;
    type Error = BoxError;

    async fn start(_: Arc<[u8]>, _: &mut Context<Self>) -> Result<Self, BoxError> {
        Ok(Lean)
    }
}

#[tokio::test(start_paused = true)]
async fn s76_nothing_is_kept_of_what_temporary_children_are_built_from() {
    let strategies = [
        Supervisor::one_for_one,
        Supervisor::one_for_all,
        Supervisor::rest_for_one,
        Supervisor::dynamic,
    ];
    for strategy in strategies {
        for restart in RESTARTS {
            let system = start(strategy("app")).await.unwrap();
            let app = system.supervisor("app").unwrap();
            let large: Arc<[u8]> = vec![0; 50_000].into();
            for n in 0..100 {
                let spec = Lean::spec(format!("n{n}"), Arc::clone(&large));
                app.start_child(spec.restart(restart)).await.unwrap();
            }
            settle().await;
            let kept = match restart {
                Restart::Temporary => 0,
                _ => 100,
            };
            assert_eq!(Arc::strong_count(&large), 1 + kept, "{restart}");
            system.stop().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn s77_only_temporary_children_are_forgotten_when_they_end() {
    let strategies = [
        Supervisor::one_for_one,
        Supervisor::one_for_all,
        Supervisor::rest_for_one,
    ];
    for strategy in strategies {
        for restart in RESTARTS {
            for how in [
                Some(Ends::Killed),
                Some(Ends::Panicking),
                Some(Ends::Normally),
                Some(Ends::Failing),
                None,
            ] {
                let spec = || child("c").restart(restart);
                let system = start(lenient(strategy, "app")).await.unwrap();
                let app = system.supervisor("app").unwrap();
                app.start_child(spec()).await.unwrap();
                match how {
                    Some(how) => end(&system, "app/c", how).await,
                    None => app.stop_child("c").await.unwrap(),
                }
                let again = app.start_child(spec()).await;
                let case = format!("{restart} {how:?}: {again:?}");
                match (restart, how) {
                    (Restart::Temporary, _) => assert!(again.is_ok(), "{case}"),
                    (_, None) | (Restart::Transient, Some(Ends::Normally)) => {
                        assert!(
                            matches!(again, Err(StartChildError::AlreadyPresent(_))),
                            "{case}"
                        );
                    }
                    _ => {
                        assert!(
                            matches!(again, Err(StartChildError::AlreadyStarted(_))),
                            "{case}"
                        );
                    }
                }
                system.stop().await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn s80_a_restart_that_hangs_and_fails_again_and_again_can_be_stopped() {
    let plan = Plan::default();
    let tree = Supervisor::one_for_one("app")
        .restart_limit(8, 10 * SECOND)
        .backoff(Backoff::none())
        .child(Double::spec("c", plan.clone()));
    let system = start(tree).await.unwrap();
    let app = system.supervisor("app").unwrap();
    plan.hereafter(Starts::FailsAfter(2 * SECOND));
    end(&system, "app/c", Ends::Failing).await;
    for _ in 0..3 {
        let error = app.start_child(child("c")).await.unwrap_err();
        assert!(
            matches!(error, StartChildError::AlreadyPresent(_)),
            "{error}"
        );
        let error = app.restart_child("c").await.unwrap_err();
        assert!(matches!(error, RestartChildError::Restarting(_)), "{error}");
        let error = app.remove_child("c").await.unwrap_err();
        assert!(matches!(error, RemoveChildError::Restarting(_)), "{error}");
        assert_eq!(counts(&app), [1, 0, 0, 1]);
        assert!(!matches!(state(&app, "c"), Running | Stopped));
    }
    app.stop_child("c").await.unwrap();
    let tries = plan.log.take().len();
    assert_eq!(states(&app), are([("c", Stopped)]));
    tokio::time::sleep(10 * SECOND).await;
    assert!(plan.log.take().is_empty(), "none after {tries}");

    plan.hereafter(Starts::Well);
    app.restart_child("c").await.unwrap();
    assert_eq!(states(&app), are([("c", Running)]));

    plan.hereafter(Starts::FailsAfter(2 * SECOND));
    end(&system, "app/c", Ends::Failing).await;
    let begun = Instant::now();
    system.stop().await;
    assert!(begun.elapsed() < SECOND, "the start that hangs is cut off");
}

/// OTP leaves the later siblings down for good when the one whose restart fails is stopped; here they come up.
#[tokio::test(start_paused = true)]
async fn s81_while_a_restart_hangs_earlier_siblings_run_and_later_ones_wait() {
    let plan = Plan::default();
    let tree = Supervisor::rest_for_one("app")
        .restart_limit(8, 10 * SECOND)
        .backoff(Backoff::none())
        .child(child("a"))
        .child(Double::spec("b", plan.clone()))
        .child(child("c"));
    let system = start(tree).await.unwrap();
    let app = system.supervisor("app").unwrap();
    plan.hereafter(Starts::FailsAfter(2 * SECOND));
    end(&system, "app/b", Ends::Failing).await;
    tokio::time::sleep(3 * SECOND).await;
    assert_eq!(counts(&app), [3, 1, 0, 3]);
    assert_eq!((state(&app, "a"), life(&app, "a")), (Running, 1));
    assert_eq!(state(&app, "c"), Restarting);
    let error = app.restart_child("c").await.unwrap_err();
    assert!(matches!(error, RestartChildError::Restarting(_)), "{error}");
    app.stop_child("b").await.unwrap();
    settle().await;
    assert_eq!(
        states(&app),
        are([("a", Running), ("b", Stopped), ("c", Running)])
    );
    assert_eq!(life(&app, "a"), 1);
    plan.hereafter(Starts::Well);
    app.restart_child("b").await.unwrap();
    assert_eq!(counts(&app), [3, 3, 0, 3]);
}

#[tokio::test(start_paused = true)]
async fn x04_between_the_tries_of_a_restart_others_are_served_and_each_try_counts() {
    let plan = Plan::default();
    let tree = Supervisor::one_for_one("app")
        .restart_limit(5, HOUR)
        .backoff(Backoff::none())
        .child(Double::spec("c", plan.clone()));
    let system = start(tree).await.unwrap();
    let app = system.supervisor("app").unwrap();
    plan.log.clear();
    plan.hereafter(Starts::FailsAfter(SECOND));
    end(&system, "app/c", Ends::Failing).await;
    let begun = Instant::now();
    let mut served = BTreeSet::new();
    for n in 1..=4 {
        app.start_child(child(&format!("other{n}"))).await.unwrap();
        served.insert(begun.elapsed().as_secs());
        tokio::time::sleep(SECOND / 2).await;
    }
    assert!(served.len() >= 2, "between several tries: {served:?}");
    assert!(system.stopped().await.is_err(), "it gives up");
    assert_eq!(
        plan.log.take().len(),
        5,
        "each of its tries was one restart"
    );
}

#[tokio::test(start_paused = true)]
async fn x05_an_end_that_comes_late_confuses_nobody() {
    let tree = lenient(Supervisor::one_for_one, "app").child(child("c").stop_within(SECOND));
    let system = start(tree).await.unwrap();
    let app = system.supervisor("app").unwrap();
    for n in 1..=20 {
        let c = system.find::<Double>("app/c").unwrap();
        // It ends by itself, or does not at all, while it is told to stop.
        let how = [Ends::Normally, Ends::Failing, Ends::Panicking];
        match how.get(n % 4) {
            Some(how) => c.tell(*how).await.unwrap(),
            None => c.tell(Forever).await.unwrap(),
        }
        app.stop_child("c").await.unwrap();
        assert_eq!(states(&app), are([("c", Stopped)]));
        tokio::time::sleep(2 * SECOND).await;
        assert_eq!(states(&app), are([("c", Stopped)]), "and stays so");
        app.restart_child("c").await.unwrap();
    }
    system.stop().await;
    assert!(system.stopped().await.is_ok());
    assert!(system.ledger().is_balanced());
}

#[tokio::test(start_paused = true)]
async fn a_child_that_asks_about_itself_is_told_and_not_waited_for() {
    let script = greenroom_it::Script::default();
    let tree = Supervisor::one_for_one("app").child(greenroom_it::Scripted::spec("it", script));
    let system = start(tree).await.unwrap();
    let it = system.find::<greenroom_it::Scripted>("app/it").unwrap();
    let app = system.supervisor("app").unwrap();
    let asks = async move {
        let error = app.restart_child("it").await.unwrap_err();
        assert!(matches!(error, RestartChildError::Running(_)), "{error}");
        let error = app.remove_child("it").await.unwrap_err();
        assert!(matches!(error, RemoveChildError::Running(_)), "{error}");
        let error = app.stop_child("it").await.unwrap_err();
        assert!(matches!(error, StopChildError::WouldDeadlock(_)), "{error}");
        assert_eq!(app.children().unwrap().len(), 1);
        app.set_limit(3, HOUR).await.unwrap();
    };
    it.ask(greenroom_it::awaiting(asks)).await.unwrap();
    assert_eq!(system.snapshot().len(), 2);
}

/// The law has ordered a restart on the spot by the time that the supervisor reads the order, which was sent before.
#[tokio::test(start_paused = true)]
async fn a_child_that_fails_while_its_stop_is_on_its_way_stays_down() {
    for restart in [Restart::Permanent, Restart::Transient] {
        let tree = Supervisor::one_for_one("app")
            .restart_limit(100, HOUR)
            .backoff(Backoff::exponential(SECOND, SECOND))
            .child(child("c").restart(restart));
        let system = start(tree).await.unwrap();
        let app = system.supervisor("app").unwrap();
        let c = system.find::<Double>("app/c").unwrap();
        settle().await;
        c.try_tell(Ends::Failing).unwrap();
        app.stop_child("c").await.unwrap();
        assert_eq!(states(&app), are([("c", Stopped)]), "{restart}");
        tokio::time::sleep(10 * SECOND).await;
        assert_eq!(states(&app), are([("c", Stopped)]), "{restart}");
        app.restart_child("c").await.unwrap();
        assert_eq!(c.ask(WhichLife).await.unwrap(), 2);
        system.stop().await;
        assert!(system.ledger().is_balanced());
    }
}

/// The same of one that ends for good: it is down once, and not again after it has been started by the next order.
#[tokio::test(start_paused = true)]
async fn a_child_that_ends_while_orders_are_on_their_way_is_down_before_they_are_carried_out() {
    let tree =
        lenient(Supervisor::one_for_one, "app").child(child("c").restart(Restart::Transient));
    let system = start(tree).await.unwrap();
    let app = system.supervisor("app").unwrap();
    let c = system.find::<Double>("app/c").unwrap();
    settle().await;
    c.try_tell(Ends::Normally).unwrap();
    let (stopped, restarted) = tokio::join!(app.stop_child("c"), app.restart_child("c"));
    stopped.unwrap();
    restarted.unwrap();
    settle().await;
    assert_eq!(states(&app), are([("c", Running)]));
    assert_eq!(c.ask(WhichLife).await.unwrap(), 2);

    c.try_tell(Ends::Normally).unwrap();
    app.restart_child("c").await.unwrap();
    assert_eq!(c.ask(WhichLife).await.unwrap(), 3);
    c.try_tell(Ends::Normally).unwrap();
    app.remove_child("c").await.unwrap();
    assert_eq!(counts(&app), [0, 0, 0, 0]);
    system.stop().await;
    assert!(system.ledger().is_balanced());
}
