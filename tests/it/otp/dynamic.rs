//! Supervisors of children that come and go.

use greenroom::prelude::*;
use greenroom::{ActorState, StartChildError, StopChildError, SupervisorRef};
use greenroom_it::settle;

use super::start;
use crate::doubles::*;

use ActorState::{Running, Stopped};

async fn pool(pool: Supervisor) -> (System, SupervisorRef) {
    let system = start(lenient(Supervisor::one_for_one, "app").child(pool));
    let system = system.await.unwrap();
    let pool = system.supervisor("app/pool").unwrap();
    (system, pool)
}

fn dynamic() -> Supervisor {
    lenient(Supervisor::dynamic, "pool")
}

#[tokio::test(start_paused = true)]
async fn s40_a_dynamic_child_that_ignores_a_restart_is_dropped() {
    for restart in [Restart::Permanent, Restart::Transient] {
        let system = start(lenient(Supervisor::dynamic, "app")).await.unwrap();
        let app = system.supervisor("app").unwrap();
        let plan = Plan::starts([Starts::Well, Starts::Well, Starts::Ignored]);
        let spec = Double::spec("c", plan).restart(restart);
        app.start_child(spec).await.unwrap();
        app.start_child(child("other")).await.unwrap();
        end(&system, "app/c", Ends::Failing).await;
        assert_eq!(states(&app), are([("c", Running), ("other", Running)]));
        end(&system, "app/c", Ends::Failing).await;
        assert_eq!(states(&app), are([("other", Running)]));
        assert!(system.find::<Double>("app/c").is_err());
        system.stop().await;
        assert!(system.stopped().await.is_ok());
        assert!(system.ledger().is_balanced());
    }
}

/// Each child is a spec of its own here, as in Elixir, where OTP counts one template.
#[tokio::test(start_paused = true)]
async fn s72_dynamic_children_are_counted() {
    let (system, pool) = pool(dynamic()).await;
    for n in 0..2000 {
        pool.start_child(child(&format!("n{n}"))).await.unwrap();
        if n == 999 {
            assert_eq!(counts(&pool), [1000, 1000, 0, 1000]);
        }
    }
    assert_eq!(counts(&pool), [2000, 2000, 0, 2000]);
    assert_eq!(counts(&pool), [2000, 2000, 0, 2000], "and so again");
    for info in pool.children().unwrap() {
        pool.stop_child(info.path.name()).await.unwrap();
    }
    assert_eq!(counts(&pool), [0, 0, 0, 0]);
    system.stop().await;
    assert!(system.ledger().is_balanced());
}

#[tokio::test(start_paused = true)]
async fn s73_dynamic_supervisors_are_counted() {
    let (system, pool) = pool(dynamic()).await;
    for n in 0..200 {
        let name = format!("n{n}");
        pool.start_supervisor(Supervisor::one_for_one(name))
            .await
            .unwrap();
        if n == 99 {
            assert_eq!(counts(&pool), [100, 100, 100, 0]);
        }
    }
    assert_eq!(counts(&pool), [200, 200, 200, 0]);
    for info in pool.children().unwrap() {
        pool.stop_child(info.path.name()).await.unwrap();
    }
    assert_eq!(counts(&pool), [0, 0, 0, 0]);
    system.stop().await;
    assert!(system.snapshot().is_empty());
}

#[tokio::test(start_paused = true)]
async fn s74_children_that_wait_for_their_restart_are_counted_and_not_active() {
    let pool_tree = Supervisor::dynamic("pool")
        .restart_limit(20, 10 * SECOND)
        .backoff(Backoff::none());
    let (system, pool) = pool(pool_tree).await;
    let plans = [Plan::default(), Plan::default()];
    pool.start_child(Double::spec("a", plans[0].clone()))
        .await
        .unwrap();
    pool.start_child(Double::spec("b", plans[1].clone()))
        .await
        .unwrap();
    pool.start_child(child("c")).await.unwrap();
    for plan in &plans {
        plan.hereafter(Starts::FailsAfter(SECOND));
    }
    for name in ["a", "b"] {
        let child = system.find::<Double>(&format!("app/pool/{name}")).unwrap();
        child.tell(Ends::Failing).await.unwrap();
    }
    for _ in 0..5 {
        settle().await;
        assert_eq!(counts(&pool), [3, 1, 0, 3]);
        tokio::time::sleep(SECOND).await;
    }
    // One that is stopped leaves both counts.
    pool.stop_child("b").await.unwrap();
    assert_eq!(counts(&pool), [2, 1, 0, 2]);
    plans[0].hereafter(Starts::Well);
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(counts(&pool), [2, 2, 0, 2]);
    pool.stop_child("a").await.unwrap();
    assert_eq!(counts(&pool), [1, 1, 0, 1]);
}

#[tokio::test(start_paused = true)]
async fn s82_a_dynamic_child_whose_restart_hangs_can_be_stopped() {
    let pool_tree = Supervisor::dynamic("pool")
        .restart_limit(8, 10 * SECOND)
        .backoff(Backoff::none());
    let (system, pool) = pool(pool_tree).await;
    let plan = Plan::default();
    pool.start_child(Double::spec("c", plan.clone()))
        .await
        .unwrap();
    plan.hereafter(Starts::FailsAfter(2 * SECOND));
    end(&system, "app/pool/c", Ends::Failing).await;
    assert_eq!(counts(&pool), [1, 0, 0, 1]);
    let error = pool.start_child(child("c")).await.unwrap_err();
    assert!(
        matches!(error, StartChildError::AlreadyPresent(_)),
        "{error}"
    );
    pool.stop_child("c").await.unwrap();
    assert_eq!(counts(&pool), [0, 0, 0, 0]);
    plan.log.clear();
    tokio::time::sleep(10 * SECOND).await;
    assert!(plan.log.take().is_empty(), "it is not tried again");
    pool.start_child(child("c")).await.unwrap();
}

/// An actor is built from its `Args`, which are whatever its author likes, in each of its lives.
#[tokio::test(start_paused = true)]
async fn dy01_a_child_is_restarted_with_the_arguments_that_it_was_started_with() {
    #[derive(Debug)]
    struct Told(Vec<u32>);
    impl Actor for Told {
        type Args = Vec<u32>;
        type Error = BoxError;
        async fn start(args: Vec<u32>, _: &mut Context<Self>) -> Result<Self, BoxError> {
            Ok(Told(args))
        }
    }
    struct With;
    impl Message for With {
        type Reply = Vec<u32>;
    }
    impl Handler<With> for Told {
        async fn handle(&mut self, _: With, _: &mut Context<Self>) -> Result<Vec<u32>, BoxError> {
            Ok(std::mem::take(&mut self.0))
        }
    }
    impl Handler<Ends> for Told {
        async fn handle(&mut self, _: Ends, _: &mut Context<Self>) -> Result<(), BoxError> {
            Err("died".into())
        }
    }
    let (_system, pool) = pool(dynamic()).await;
    for n in 0..4 {
        let args: Vec<u32> = (0..n).collect();
        let spec = Told::spec(format!("n{n}"), args.clone());
        let told = pool.start_child(spec).await.unwrap();
        for _ in 0..2 {
            assert_eq!(told.ask(With).await.unwrap(), args);
            told.tell(Ends::Failing).await.unwrap();
        }
    }
}

/// Other flags that cannot be cannot be written.
#[tokio::test(start_paused = true)]
async fn dy02_what_cannot_be_is_refused_without_contacting_the_supervisor() {
    let (system, pool) = pool(dynamic()).await;
    system.stop().await;
    // There is nobody to be contacted any more.
    let error = pool.start_child(child("a/b")).await.unwrap_err();
    assert!(matches!(error, StartChildError::InvalidName(_)), "{error}");
    let significant = child("c").significant();
    let error = pool.start_child(significant).await.unwrap_err();
    assert!(matches!(error, StartChildError::BadCombination { .. }));
    let branch = Supervisor::one_for_one("branch")
        .child(child("x"))
        .child(child("x"));
    let error = pool.start_supervisor(branch).await.unwrap_err();
    assert!(matches!(error, StartChildError::InvalidTree(_)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn dy03_however_a_start_goes_the_supervisor_goes_on() {
    let (_system, pool) = pool(dynamic()).await;
    let cases = [
        (Starts::Well, None),
        (Starts::Ignored, Some("nothing to run")),
        (Starts::Fails, Some("no luck")),
        (Starts::FailsAfter(SECOND), Some("no luck")),
        (Starts::Panics, Some("no way")),
    ];
    for (n, (how, why)) in cases.into_iter().enumerate() {
        let spec = Double::spec(format!("n{n}"), Plan::starts([how]));
        let started = pool.start_child(spec).await;
        match why {
            None => assert!(started.is_ok(), "{started:?}"),
            Some(why) => {
                let error = started.unwrap_err().to_string();
                assert!(error.contains(why), "{error}");
            }
        }
        assert_eq!(states(&pool), are([("n0", Running)]));
    }
}

#[tokio::test(start_paused = true)]
async fn dy04_a_supervisor_takes_no_more_children_than_it_may() {
    let (_system, pool) = pool(dynamic().max_children(2)).await;
    pool.start_child(child("a")).await.unwrap();
    pool.start_supervisor(Supervisor::one_for_one("b"))
        .await
        .unwrap();
    let error = pool.start_child(child("c")).await.unwrap_err();
    assert!(
        matches!(error, StartChildError::MaxChildren { ref supervisor, max: 2 }
            if supervisor == pool.path()),
        "{error}"
    );
    // A name that is taken is the better reason.
    let error = pool.start_child(child("a")).await.unwrap_err();
    assert!(
        matches!(error, StartChildError::AlreadyStarted(_)),
        "{error}"
    );
    pool.stop_child("b").await.unwrap();
    pool.start_child(child("c")).await.unwrap();

    let (_system, none) = pool_of_none().await;
    let error = none.start_child(child("a")).await.unwrap_err();
    assert!(matches!(error, StartChildError::MaxChildren { max: 0, .. }));
}

async fn pool_of_none() -> (System, SupervisorRef) {
    pool(dynamic().max_children(0)).await
}

#[tokio::test(start_paused = true)]
async fn dy05_children_that_wait_for_their_restart_count_against_the_maximum() {
    let (system, pool) = pool(dynamic().max_children(1)).await;
    let plan = Plan::default();
    pool.start_child(Double::spec("a", plan.clone()))
        .await
        .unwrap();
    plan.hereafter(Starts::FailsAfter(SECOND));
    end(&system, "app/pool/a", Ends::Failing).await;
    for _ in 0..3 {
        let error = pool.start_child(child("b")).await.unwrap_err();
        assert!(
            matches!(error, StartChildError::MaxChildren { .. }),
            "{error}"
        );
    }
    // One whose first start fails, or that ends for good, does not.
    pool.stop_child("a").await.unwrap();
    for starts in [Starts::Fails, Starts::Ignored, Starts::FailsAfter(SECOND)] {
        let failing = Double::spec("c", Plan::starts([starts]));
        assert!(pool.start_child(failing).await.is_err());
    }
    let transient = child("d").restart(Restart::Transient);
    pool.start_child(transient).await.unwrap();
    end(&system, "app/pool/d", Ends::Normally).await;
    pool.start_child(child("e")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn dy07_a_restart_goes_well_or_is_ignored_or_is_tried_again() {
    let (system, pool) = pool(dynamic()).await;
    let cases = [
        (Plan::starts([Starts::Well]), Some(2)),
        (Plan::starts([Starts::Well, Starts::Ignored]), None),
        (Plan::starts([Starts::Well, Starts::Fails]), Some(3)),
        (
            Plan::starts([Starts::Well, Starts::Panics, Starts::Fails]),
            Some(4),
        ),
        (
            Plan::starts([Starts::Well, Starts::Fails, Starts::Ignored]),
            None,
        ),
    ];
    for (plan, then) in cases {
        pool.start_child(Double::spec("c", plan)).await.unwrap();
        end(&system, "app/pool/c", Ends::Failing).await;
        match then {
            None => assert_eq!(states(&pool), are([])),
            Some(n) => {
                assert_eq!(states(&pool), are([("c", Running)]));
                assert_eq!(life(&pool, "c"), n);
                pool.stop_child("c").await.unwrap();
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn dy07_a_child_that_is_tried_again_is_shown_as_restarting() {
    let pool_tree = dynamic().backoff(Backoff::exponential(SECOND, SECOND).jitter(0.0));
    let (system, pool) = pool(pool_tree).await;
    let plan = Plan::starts([Starts::Well, Starts::Fails]);
    pool.start_child(Double::spec("c", plan)).await.unwrap();
    end(&system, "app/pool/c", Ends::Failing).await;
    tokio::time::sleep(SECOND).await;
    assert_eq!(states(&pool), are([("c", ActorState::Restarting)]));
    tokio::time::sleep(SECOND).await;
    assert_eq!(states(&pool), are([("c", Running)]));
}

#[tokio::test(start_paused = true)]
async fn dy08_too_many_restarts_end_the_supervisor_also_while_it_tries_again() {
    for starts in [Starts::Fails, Starts::Panics, Starts::FailsAfter(SECOND)] {
        let pool_tree = dynamic().restart_limit(3, HOUR).restart(Restart::Temporary);
        let (system, pool) = pool(pool_tree).await;
        let plan = Plan::default();
        pool.start_child(Double::spec("c", plan.clone()))
            .await
            .unwrap();
        pool.start_child(child("other")).await.unwrap();
        plan.hereafter(starts);
        plan.log.clear();
        end(&system, "app/pool/c", Ends::Failing).await;
        tokio::time::sleep(10 * SECOND).await;
        assert_eq!(plan.log.take().len(), 3, "{starts:?}");
        assert!(pool.children().is_err(), "it is gone");
        assert!(system.find::<Double>("app/pool/other").is_err());
        assert_eq!(counts(&system.supervisor("app").unwrap()), [0, 0, 0, 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn dy10_a_child_is_stopped_once_whatever_it_is_doing() {
    let (system, pool) = pool(dynamic()).await;
    let plan = Plan::default();
    let brutal = child("brutal").stop_within(std::time::Duration::ZERO);
    for spec in [
        child("idle"),
        child("busy").stop_within(SECOND),
        brutal,
        Double::spec("restarting", plan.clone()),
    ] {
        pool.start_child(spec).await.unwrap();
    }
    for name in ["busy", "brutal"] {
        let child = system.find::<Double>(&format!("app/pool/{name}")).unwrap();
        child.tell(Forever).await.unwrap();
    }
    plan.hereafter(Starts::FailsAfter(SECOND));
    end(&system, "app/pool/restarting", Ends::Failing).await;
    assert_eq!(counts(&pool), [4, 3, 0, 4]);
    for (left, name) in [(3, "restarting"), (2, "idle"), (1, "busy"), (0, "brutal")] {
        pool.stop_child(name).await.unwrap();
        let again = pool.stop_child(name).await.unwrap_err();
        assert!(matches!(again, StopChildError::NotFound(_)), "{again}");
        assert_eq!(counts(&pool), [left, left, 0, left]);
    }
    system.stop().await;
    assert!(system.ledger().is_balanced(), "{}", system.ledger());
}

#[tokio::test(start_paused = true)]
async fn dy11_the_maximum_can_be_changed_while_it_runs() {
    let (_system, pool) = pool(dynamic().max_children(1)).await;
    pool.start_child(child("a")).await.unwrap();
    let is_full = |started: Result<ActorRef<Double>, StartChildError>| {
        matches!(started, Err(StartChildError::MaxChildren { .. }))
    };
    assert!(is_full(pool.start_child(child("b")).await));
    pool.set_max_children(2).await.unwrap();
    pool.start_child(child("b")).await.unwrap();
    assert!(is_full(pool.start_child(child("c")).await));
    pool.set_max_children(0).await.unwrap();
    assert_eq!(counts(&pool), [2, 2, 0, 2], "nobody is stopped");
    pool.stop_child("a").await.unwrap();
    assert!(is_full(pool.start_child(child("c")).await));
}

#[tokio::test(start_paused = true)]
async fn dy11_a_changed_maximum_outlives_its_supervisor() {
    let (system, pool) = pool(dynamic().restart_limit(0, HOUR)).await;
    pool.set_max_children(1).await.unwrap();
    pool.start_child(child("a")).await.unwrap();
    end(&system, "app/pool/a", Ends::Failing).await;
    assert_eq!(counts(&pool), [0, 0, 0, 0], "it has begun anew");
    pool.start_child(child("b")).await.unwrap();
    let error = pool.start_child(child("c")).await;
    assert!(matches!(error, Err(StartChildError::MaxChildren { .. })));
}

#[tokio::test(start_paused = true)]
async fn dy12_many_supervisors_start_children_of_one_form() {
    let of = |name: &'static str| Supervisor::dynamic(name);
    let tree = lenient(Supervisor::one_for_one, "app")
        .child(of("north"))
        .child(of("south"));
    let system = start(tree).await.unwrap();
    for place in ["north", "south"] {
        let supervisor = system.supervisor(&format!("app/{place}")).unwrap();
        for name in ["a", "b"] {
            let it = supervisor.start_child(child(name)).await.unwrap();
            assert_eq!(it.path().as_str(), format!("app/{place}/{name}"));
        }
        assert_eq!(counts(&supervisor), [2, 2, 0, 2]);
    }
    let north = system.supervisor("app/north").unwrap();
    north.stop_child("a").await.unwrap();
    assert!(system.find::<Double>("app/south/a").is_ok());
    let app = system.supervisor("app").unwrap();
    app.stop_child("north").await.unwrap();
    assert_eq!(states(&app), are([("north", Stopped), ("south", Running)]));
    assert!(north.start_child(child("a")).await.is_err());
    app.restart_child("north").await.unwrap();
    north.start_child(child("a")).await.unwrap();
}
