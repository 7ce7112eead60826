//! Restarts and starts that need no messenger, on workers: what they must not change.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use greenroom::prelude::*;
use greenroom::{StartChildError, StopChildError, SupervisorRef};
use greenroom_it::*;

const SECOND: Duration = Duration::from_secs(1);

/// A system on two workers whose children come and go under `app/pool`.
async fn pool(restarts: u32) -> (System, SupervisorRef) {
    let pool = Supervisor::dynamic("pool")
        .restart_limit(restarts, 3600 * SECOND)
        .backoff(Backoff::none());
    let tree = Supervisor::one_for_one("app")
        .restart_limit(1000, 3600 * SECOND)
        .backoff(Backoff::none())
        .child(pool)
        .child(Foreman::spec("foreman", ()));
    let system = System::builder().workers(2).start(tree).await.unwrap();
    let pool = system.supervisor("app/pool").unwrap();
    (system, pool)
}

/// How the start of a [`Picky`] actor goes.
#[derive(Clone, Copy, Debug)]
enum How {
    Well,
    Pends,
    Fails,
    FailsLate,
    Panics,
    Ignores,
    IgnoresLate,
    AsksItsSupervisor,
}

struct Picky;

impl Actor for Picky {
    type Args = How;
    type Error = BoxError;

    async fn start(how: How, cx: &mut Context<Self>) -> Result<Self, BoxError> {
        match how {
            How::Well => {}
            How::Pends => tokio::task::yield_now().await,
            How::Fails => return Err("no luck".into()),
            How::FailsLate => {
                tokio::task::yield_now().await;
                return Err("no luck later".into());
            }
            How::Panics => panic!("no way"),
            How::Ignores => return cx.ignore().await,
            How::IgnoresLate => {
                tokio::task::yield_now().await;
                return cx.ignore().await;
            }
            How::AsksItsSupervisor => {
                let pool = cx.system().supervisor("app/pool")?;
                let sibling = Picky::spec("sibling", How::Well);
                let error = pool.start_child(sibling).await.err();
                let is_told = matches!(error, Some(StartChildError::WouldDeadlock(_)));
                assert!(is_told, "{error:?}");
            }
        }
        Ok(Picky)
    }
}

/// An actor that starts children from its handler.
struct Foreman;

impl Actor for Foreman {
    type Args = ();
    type Error = BoxError;

    async fn start((): (), _: &mut Context<Self>) -> Result<Self, BoxError> {
        Ok(Foreman)
    }
}

/// Starts a child of this name; answers what became of it.
struct Hire(&'static str, How);
impl Message for Hire {
    type Reply = Result<(), StartChildError>;
}
impl Handler<Hire> for Foreman {
    async fn handle(
        &mut self,
        Hire(name, how): Hire,
        cx: &mut Context<Self>,
    ) -> Result<Result<(), StartChildError>, BoxError> {
        let pool = cx.system().supervisor("app/pool")?;
        Ok(pool.start_child(Picky::spec(name, how)).await.map(drop))
    }
}

#[test]
fn a_restart_on_the_spot_keeps_queue_order_counts_and_name() {
    greenroom::block_on(async {
        let (system, pool) = pool(100).await;
        let script = Script::default();
        let it = pool.start_child(Scripted::spec("it", script.clone())).await;
        let it = it.unwrap();
        it.tell(Hold).await.unwrap();
        it.tell(Panic("a")).await.unwrap();
        it.tell(Say("one")).await.unwrap();
        it.tell(Fail("b")).await.unwrap();
        it.tell(Fail("c")).await.unwrap();
        it.tell(Say("two")).await.unwrap();
        script.gate.add_permits(1);
        assert_eq!(it.ask(Echo(3)).await.unwrap(), 3);
        let expected = [
            "start 1", "hold", "panic", "start 2", "one", "fail", "start 3", "fail", "start 4",
            "two",
        ];
        assert_eq!(
            script.log.take(),
            expected.map(|line| format!("it: {line}"))
        );
        let again = system.find::<Scripted>("app/pool/it").unwrap();
        assert_eq!(again.ask(Echo(4)).await.unwrap(), 4);
        let infos = system.snapshot();
        let info = infos.iter().find(|i| i.path.name() == "it").unwrap();
        assert_eq!((info.incarnation, info.restarts), (4, 3));
        let ledger = system.ledger();
        assert_eq!((ledger.failed, ledger.queued), (3, 0), "{ledger}");
        system.stop().await;
        assert!(system.ledger().is_balanced());
    });
}

#[test]
fn the_first_panic_at_a_place_has_a_backtrace() {
    greenroom::block_on(async {
        let it = Scripted::spec("it", Script::default());
        let tree = Supervisor::one_for_one("app")
            .restart_limit(0, SECOND)
            .child(it);
        let system = System::builder().workers(2).start(tree).await.unwrap();
        let it = system.find::<Scripted>("app/it").unwrap();
        it.tell(with(|_| panic!("here, and nowhere else")))
            .await
            .unwrap();
        let escalated = system.stopped().await.unwrap_err();
        let failure = escalated.failure().unwrap();
        assert!(failure.location().unwrap().contains("on_the_spot.rs:"));
        assert!(failure.backtrace().is_some());
    });
}

#[test]
fn a_restart_on_the_spot_keeps_to_the_limit() {
    greenroom::block_on(async {
        let (system, pool) = pool(3).await;
        let script = Script::default();
        let it = pool.start_child(Scripted::spec("it", script.clone())).await;
        let it = it.unwrap();
        for _ in 0..4 {
            it.tell(Panic("again")).await.unwrap();
        }
        // The pool gives up and comes back empty.
        while system.find::<Scripted>("app/pool/it").is_ok() {
            thread::yield_now();
        }
        let starts = script.log.take();
        let starts = starts.iter().filter(|line| line.contains("start"));
        assert_eq!(starts.count(), 4, "one and three restarts");
        system.stop().await;
    });
}

#[test]
fn a_restart_that_is_to_wait_is_not_made_on_the_spot() {
    greenroom::block_on(async {
        let wait = Duration::from_millis(200);
        let it = Scripted::spec("it", Script::default());
        let tree = Supervisor::one_for_one("app")
            .restart_limit(10, 3600 * SECOND)
            .backoff(Backoff::exponential(wait, wait).jitter(0.0))
            .child(it);
        let system = System::builder().workers(2).start(tree).await.unwrap();
        let it = system.find::<Scripted>("app/it").unwrap();
        let began = std::time::Instant::now();
        it.tell(Panic("once")).await.unwrap();
        assert_eq!(it.ask(Echo(1)).await.unwrap(), 1);
        assert!(began.elapsed() >= wait);
        system.stop().await;
    });
}

#[test]
fn a_start_from_a_handler_tells_how_it_went() {
    greenroom::block_on(async {
        let (system, pool) = pool(100).await;
        let foreman = system.find::<Foreman>("app/foreman").unwrap();
        for round in 0..20 {
            for how in [How::Well, How::Pends, How::AsksItsSupervisor] {
                let hired = foreman.ask(Hire("it", how)).await.unwrap();
                assert!(hired.is_ok(), "{round} {how:?}: {hired:?}");
                assert!(system.find::<Picky>("app/pool/it").is_ok());
                let hired = foreman.ask(Hire("it", How::Well)).await.unwrap();
                let is_taken = matches!(hired, Err(StartChildError::AlreadyStarted(_)));
                assert!(is_taken, "{round} {how:?}: {hired:?}");
                pool.stop_child("it").await.unwrap();
            }
            for (how, why) in [
                (How::Fails, "no luck"),
                (How::FailsLate, "no luck later"),
                (How::Panics, "no way"),
            ] {
                match foreman.ask(Hire("it", how)).await.unwrap() {
                    Err(StartChildError::Failed(failure)) => assert_eq!(failure.text(), why),
                    other => panic!("{round} {how:?}: {other:?}"),
                }
                // It is forgotten, and not restarted.
                assert!(system.find::<Picky>("app/pool/it").is_err());
            }
        }
        for how in [How::Ignores, How::IgnoresLate] {
            let hired = foreman.ask(Hire("it", how)).await.unwrap();
            let is_told =
                matches!(&hired, Err(StartChildError::Ignored(path)) if path.name() == "it");
            assert!(is_told, "{how:?}: {hired:?}");
            assert!(system.find::<Picky>("app/pool/it").is_err());
            assert_eq!(pool.count_children().unwrap().specs, 0);
        }
        let hired = foreman.ask(Hire("a/b", How::Well)).await.unwrap();
        assert!(matches!(hired, Err(StartChildError::InvalidName(_))));
        system.stop().await;
        assert!(system.ledger().is_balanced());
    });
}

#[test]
fn a_start_that_hangs_does_not_hold_up_the_stop() {
    struct Hangs;
    impl Actor for Hangs {
        type Args = ();
        type Error = BoxError;
        async fn start((): (), _: &mut Context<Self>) -> Result<Self, BoxError> {
            std::future::pending().await
        }
    }
    greenroom::block_on(async {
        let (system, pool) = pool(100).await;
        let caller =
            thread::spawn(move || greenroom::block_on(pool.start_child(Hangs::spec("it", ()))));
        while system.find::<Hangs>("app/pool/it").is_err() {
            thread::yield_now();
        }
        let began = std::time::Instant::now();
        system.stop().await;
        assert!(began.elapsed() < 3 * SECOND);
        let started = caller.join().unwrap();
        let is_told = matches!(started, Err(StartChildError::SupervisorStopped(_)));
        assert!(is_told, "{started:?}");
    });
}

#[test]
fn of_two_that_start_the_same_name_at_once_one_gets_it() {
    let (system, pool) = greenroom::block_on(pool(100));
    for round in 0..300 {
        let barrier = Barrier::new(2);
        let won = AtomicU64::new(0);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    barrier.wait();
                    let spec = Picky::spec("it", How::Well);
                    match greenroom::block_on(pool.start_child(spec)) {
                        Ok(_) => drop(won.fetch_add(1, Ordering::Relaxed)),
                        Err(StartChildError::AlreadyStarted(_)) => {}
                        Err(other) => panic!("{round}: {other}"),
                    }
                });
            }
        });
        assert_eq!(won.into_inner(), 1, "{round}");
        greenroom::block_on(pool.stop_child("it")).unwrap();
    }
    greenroom::block_on(system.stop());
}

#[test]
fn a_stop_that_races_a_restart_wins() {
    let (system, pool) = greenroom::block_on(pool(u32::MAX));
    for round in 0..300 {
        let script = Script::default();
        let spec = Scripted::spec("it", script.clone());
        let it = greenroom::block_on(pool.start_child(spec)).unwrap();
        let barrier = Barrier::new(2);
        thread::scope(|scope| {
            scope.spawn(|| {
                barrier.wait();
                for _ in 0..20 {
                    // Refused once it has stopped.
                    let _ = it.try_tell(Panic("p"));
                }
            });
            barrier.wait();
            greenroom::block_on(pool.stop_child("it")).unwrap();
            script.log.clear();
        });
        thread::yield_now();
        let late = script.log.take();
        assert!(late.is_empty(), "{round}: {late:?}");
        assert!(system.find::<Scripted>("app/pool/it").is_err());
        let again = greenroom::block_on(pool.stop_child("it"));
        assert!(matches!(again, Err(StopChildError::NotFound(_))));
    }
    greenroom::block_on(system.stop());
    let ledger = system.ledger();
    assert!(ledger.is_balanced() && ledger.queued == 0, "{ledger}");
}

#[test]
fn in_a_hail_of_starts_failures_and_stops_nothing_is_lost() {
    let (system, pool) = greenroom::block_on(pool(u32::MAX));
    thread::scope(|scope| {
        for n in 0..4u64 {
            let (system, pool) = (&system, &pool);
            scope.spawn(move || {
                let mut dice = 0x9E37_79B9_7F4A_7C15 ^ (n + 1);
                for _ in 0..200 {
                    dice ^= dice << 13;
                    dice ^= dice >> 7;
                    dice ^= dice << 17;
                    let name = format!("n{}", dice % 3);
                    let find = || system.find::<Scripted>(&format!("app/pool/{name}"));
                    match dice >> 8 & 7 {
                        0 | 1 => {
                            let script = Script::default();
                            script
                                .failing_starts
                                .store((dice >> 16 & 1) as u32, Ordering::Relaxed);
                            let spec = Scripted::spec(name.clone(), script);
                            let _ = greenroom::block_on(pool.start_child(spec));
                        }
                        2 => drop(greenroom::block_on(pool.stop_child(&name))),
                        3 | 4 => drop(find().map(|it| it.try_tell(Panic("p")))),
                        5 => drop(find().map(|it| it.try_tell(Fail("f")))),
                        6 => drop(find().map(|it| it.try_tell(Quit))),
                        _ => drop(find().map(|it| it.try_tell(Say("s")))),
                    }
                    assert!(system.ledger().is_balanced(), "{}", system.ledger());
                }
            });
        }
    });
    greenroom::block_on(system.stop());
    let ledger = system.ledger();
    assert!(ledger.is_balanced() && ledger.queued == 0, "{ledger}");
    assert!(system.snapshot().is_empty());
}

#[test]
fn in_a_hail_of_orders_a_supervisor_keeps_its_book() {
    let tree = Supervisor::one_for_one("app")
        .restart_limit(u32::MAX, 3600 * SECOND)
        .backoff(Backoff::none());
    let system = System::builder().workers(2).start(tree);
    let system = greenroom::block_on(system).unwrap();
    let app = system.supervisor("app").unwrap();
    thread::scope(|scope| {
        for n in 0..4u64 {
            let (system, app) = (&system, &app);
            scope.spawn(move || {
                let mut dice = 0x9E37_79B9_7F4A_7C15 ^ (n + 1);
                for _ in 0..300 {
                    dice ^= dice << 13;
                    dice ^= dice >> 7;
                    dice ^= dice << 17;
                    let name = format!("n{}", dice % 3);
                    let find = || system.find::<Scripted>(&format!("app/{name}"));
                    match dice >> 8 & 15 {
                        0..=2 => {
                            let spec = Scripted::spec(name.clone(), Script::default());
                            drop(greenroom::block_on(app.start_child(spec)));
                        }
                        3 => {
                            let ignores = Picky::spec(name.clone(), How::Ignores);
                            drop(greenroom::block_on(app.start_child(ignores)));
                        }
                        4 | 5 => drop(greenroom::block_on(app.stop_child(&name))),
                        6..=8 => drop(greenroom::block_on(app.restart_child(&name))),
                        9 | 10 => drop(greenroom::block_on(app.remove_child(&name))),
                        11 => drop(find().map(|it| it.try_tell(Panic("p")))),
                        12 => drop(find().map(|it| it.try_tell(Fail("f")))),
                        13 => drop(find().map(|it| it.try_tell(Quit))),
                        _ => drop(find().map(|it| it.try_tell(Say("s")))),
                    }
                    let counts = app.count_children().unwrap();
                    assert!(counts.specs <= 3 && counts.active <= counts.specs);
                    assert!(system.ledger().is_balanced(), "{}", system.ledger());
                }
            });
        }
    });
    // Whatever is there obeys.
    for info in app.children().unwrap() {
        let name = info.path.name();
        greenroom::block_on(app.stop_child(name)).unwrap();
        greenroom::block_on(app.remove_child(name)).unwrap();
    }
    assert_eq!(app.count_children().unwrap().specs, 0);
    greenroom::block_on(system.stop());
    let ledger = system.ledger();
    assert!(ledger.is_balanced() && ledger.queued == 0, "{ledger}");
    assert!(system.snapshot().is_empty());
}

/// Comes up, crashes at once, and then takes a while to start.
struct OnceOnly(#[expect(dead_code, reason = "it is what a life is made of")] u64);

impl Actor for OnceOnly {
    type Args = ();
    type Error = BoxError;

    async fn start((): (), cx: &mut Context<Self>) -> Result<Self, BoxError> {
        if cx.incarnation() > 1 {
            for _ in 0..1_000 {
                tokio::task::yield_now().await;
            }
            return Ok(OnceOnly(cx.incarnation()));
        }
        cx.me().try_tell(Crash)?;
        Ok(OnceOnly(cx.incarnation()))
    }
}

struct Crash;

impl Message for Crash {
    type Reply = ();
}

impl Handler<Crash> for OnceOnly {
    async fn handle(&mut self, _: Crash, _: &mut Context<Self>) -> Result<(), BoxError> {
        Err("as it does".into())
    }
}

#[test]
fn a_child_that_came_up_and_is_starting_again_has_started() {
    greenroom::block_on(async {
        let (system, pool) = pool(1_000_000).await;
        for n in 0..200 {
            let spec = OnceOnly::spec(format!("n{n}"), ()).stop_within(Duration::from_millis(1));
            let started = tokio::time::timeout(5 * SECOND, pool.start_child(spec)).await;
            assert!(matches!(started, Ok(Ok(_))), "round {n}: {started:?}");
        }
        system.stop().await;
    });
}
