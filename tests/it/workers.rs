//! What shows on real threads only: those that block, races, and storms that look for more.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use greenroom::prelude::*;
use greenroom::{Metric, SubscribeError, Subscription};
use greenroom_it::*;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn an_actor_that_blocks_its_thread_is_left_behind_and_can_do_no_more() {
    let script = Script::default();
    let tree = Supervisor::one_for_one("app")
        .child(Scripted::spec("it", script.clone()).stop_within(Duration::ZERO));
    let system = System::builder().workers(2).start(tree).await.unwrap();
    let it = system.find::<Scripted>("app/it").unwrap();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let (entered, is_in) = tokio::sync::oneshot::channel();
    it.tell(with(move |_| {
        let _ = entered.send(());
        let _ = released.recv();
    }))
    .await
    .unwrap();
    it.tell(Say("left")).await.unwrap();
    is_in.await.unwrap();
    system.stop().await;
    let ledger = system.ledger();
    assert_eq!((ledger.failed, ledger.dropped), (1, 1));
    release.send(()).unwrap();
    assert!(it.tell(Say("x")).await.is_err());
    assert_eq!(
        system.ledger().handled,
        0,
        "what it finished after it was cut off does not count"
    );
    assert!(system.ledger().is_balanced());
    assert!(!script.log.take().contains(&"it: left".to_owned()));
}

#[cfg(unix)]
#[test]
fn the_second_signal_ends_the_process_at_once() {
    use std::io::{BufRead, BufReader};
    use std::process::{Child, Command, Stdio};

    struct Run(Child);
    impl Drop for Run {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
    let program = env!("CARGO_BIN_EXE_stubborn");
    let mut run = Run(Command::new(program)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap());
    let mut lines = BufReader::new(run.0.stdout.take().unwrap()).lines();
    let mut next = || lines.next().unwrap().unwrap();
    let pid = run.0.id().to_string();
    let terminate = || {
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        )
    };
    assert_eq!(next(), "ready");
    terminate();
    assert_eq!(next(), "asked to stop");
    assert!(run.0.try_wait().unwrap().is_none(), "it takes its time");
    terminate();
    assert_eq!(run.0.wait().unwrap().code(), Some(143));
}

#[tokio::test]
async fn blocking_work_runs_off_the_workers_and_its_panic_is_the_awaiters() {
    let script = Script::default();
    let system = System::builder()
        .workers(1)
        .start(lone(&script))
        .await
        .unwrap();
    let it = system.find::<Scripted>("app/it").unwrap();
    let (release, released) = std::sync::mpsc::channel::<()>();
    it.tell(with(move |cx| {
        cx.background(async move {
            greenroom::blocking(move || {
                let _ = released.recv();
            })
            .await;
            Say("unblocked")
        });
    }))
    .await
    .unwrap();
    // The only worker is free although the work blocks.
    assert_eq!(it.ask(Echo(4)).await.unwrap(), 4);
    release.send(()).unwrap();
    it.tell(with(|cx| {
        cx.background(async {
            greenroom::blocking(|| panic!("disk")).await;
            Say("never")
        });
    }))
    .await
    .unwrap();
    while system.snapshot()[1].incarnation < 2 {
        tokio::task::yield_now().await;
    }
    assert!(!script.log.take().contains(&"it: never".to_owned()));
    system.stop().await;
}

#[test]
fn the_futures_can_be_awaited_on_any_executor() {
    let script = Script::default();
    // On workers of its own, driven from a thread without any runtime.
    let system = park_on(System::start(lone(&script))).unwrap();
    let it = system.find::<Scripted>("app/it").unwrap();
    assert_eq!(park_on(it.ask(Echo(3))).unwrap(), 3);
    park_on(it.tell(Hold)).unwrap();
    let error = park_on(it.ask(Echo(4)).within(Duration::from_millis(1))).unwrap_err();
    assert!(matches!(error, greenroom::AskError::Timeout { .. }));
    script.gate.add_permits(1);
    park_on(system.stop());
}

/// The smallest executor there is.
fn park_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
    let mut cx = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut cx) {
            std::task::Poll::Ready(output) => return output,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}

#[tokio::test]
async fn a_life_that_was_cut_off_cannot_subscribe() {
    let script = Script::default();
    let tree = Supervisor::one_for_one("app").child(Supervisor::dynamic("pool"));
    let system = System::builder().workers(4).start(tree).await.unwrap();
    let pool = system.supervisor("app/pool").unwrap();
    let it = pool
        .start_child(Scripted::spec("it", script.clone()).stop_within(Duration::ZERO))
        .await
        .unwrap();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let (entered, is_in) = tokio::sync::oneshot::channel();
    let (done, is_done) = tokio::sync::oneshot::channel();
    it.tell(with(move |cx| {
        let _ = entered.send(());
        let _ = released.recv();
        cx.subscribe::<Happened>();
        let _ = done.send(());
    }))
    .await
    .unwrap();
    is_in.await.unwrap();
    let _ = pool.stop_child("it").await;
    release.send(()).unwrap();
    is_done.await.unwrap();
    let delivery = system.publish(Happened(1));
    assert_eq!(delivery.dropped, 0, "a role that is gone is subscribed");
    system.stop().await;
}

#[tokio::test]
async fn a_life_that_was_cut_off_is_told_that_it_does_not_subscribe() {
    let script = Script::default();
    let tree = Supervisor::one_for_one("app").child(Supervisor::dynamic("pool"));
    let system = System::builder().workers(4).start(tree).await.unwrap();
    let pool = system.supervisor("app/pool").unwrap();
    let it = pool
        .start_child(Scripted::spec("it", script.clone()).stop_within(Duration::ZERO))
        .await
        .unwrap();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let (entered, is_in) = tokio::sync::oneshot::channel();
    let (done, is_done) = tokio::sync::oneshot::channel();
    it.tell(with(move |cx| {
        let _ = entered.send(());
        let _ = released.recv();
        let terms = Subscription::<Happened>::new("late");
        let _ = done.send(cx.subscribe_with(terms));
    }))
    .await
    .unwrap();
    is_in.await.unwrap();
    let _ = pool.stop_child("it").await;
    release.send(()).unwrap();
    let error = is_done.await.unwrap().unwrap_err();
    assert!(
        matches!(&error, SubscribeError::Ended { path, subscription }
            if path.as_str() == "app/pool/it" && &**subscription == "late"),
        "{error:?}"
    );
    assert_eq!(
        error.to_string(),
        "app/pool/it does not subscribe as \"late\": this life of it is over; its next one subscribes for itself"
    );
    let delivery = system.publish(Happened(1));
    assert_eq!((delivery.delivered, delivery.dropped), (0, 0));
    system.stop().await;
}

/// A life is cut off while its filter looks at what is replayed to it; the next one has that once, and in order.
#[tokio::test]
async fn what_is_replayed_to_a_life_that_was_cut_off_does_not_come_to_the_next() {
    let script = Script::default();
    let tree = Supervisor::one_for_all("app")
        .backoff(Backoff::none())
        .child(Scripted::spec("it", script.clone()).stop_within(Duration::ZERO))
        .child(Scripted::spec("other", script.clone()));
    let system = System::builder().workers(4).start(tree).await.unwrap();
    let it = system.find::<Scripted>("app/it").unwrap();
    let other = system.find::<Scripted>("app/other").unwrap();
    let _ = system.publish(Level("a", 1));
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let (entered, mut is_in) = tokio::sync::mpsc::unbounded_channel();
    let (done, is_done) = tokio::sync::oneshot::channel();
    let levels = || Subscription::<Level>::new("levels").replay();
    it.tell(with(move |cx| {
        let blocks = levels().filter(move |_| {
            let _ = entered.send(());
            let _ = released.lock().map(|released| released.recv());
            true
        });
        let _ = done.send(cx.subscribe_with(blocks).is_ok());
    }))
    .await
    .unwrap();
    is_in.recv().await.unwrap();
    other.tell(Fail("bust")).await.unwrap();
    caught_up(&it).await;
    it.ask(with(move |cx| cx.subscribe_with(levels()).unwrap()))
        .await
        .unwrap();
    caught_up(&it).await;
    assert_eq!(system.publish(Level("a", 2)).delivered, 1);
    caught_up(&it).await;
    release.send(()).unwrap();
    assert!(is_done.await.unwrap());
    caught_up(&it).await;
    let log = script.log.take();
    let heard: Vec<&str> = log
        .iter()
        .map(String::as_str)
        .filter(|line| line.starts_with("it: a"))
        .collect();
    assert_eq!(heard, ["it: a 1", "it: a 2"]);
    until(|| system.ledger().is_balanced()).await;
    system.stop().await;
}

#[tokio::test]
async fn an_event_that_is_not_retained_is_dropped_under_no_lock() {
    static SYSTEM: std::sync::Mutex<Option<System>> = std::sync::Mutex::new(None);
    #[derive(Clone, Debug)]
    struct Bad(bool);
    impl Event for Bad {
        fn key(&self) -> Option<std::borrow::Cow<'_, str>> {
            assert!(!self.0, "no key");
            None
        }
        fn retained() -> usize {
            1
        }
    }
    impl Drop for Bad {
        fn drop(&mut self) {
            let system = SYSTEM.lock().ok().and_then(|system| system.clone());
            if let Some(system) = system.filter(|_| self.0) {
                // It is not to be without end.
                *SYSTEM.lock().unwrap() = None;
                let _ = system.publish(Bad(false));
            }
        }
    }
    let script = Script::default();
    let system = System::builder()
        .workers(2)
        .start(lone(&script))
        .await
        .unwrap();
    *SYSTEM.lock().unwrap() = Some(system.clone());
    let publisher = {
        let system = system.clone();
        std::thread::spawn(move || drop(system.publish(Bad(true))))
    };
    until(|| publisher.is_finished()).await;
    publisher.join().unwrap();
    system.stop().await;
}

#[tokio::test]
async fn the_background_work_of_a_life_is_over_before_the_next_begins() {
    static OVERLAPS: AtomicUsize = AtomicUsize::new(0);
    struct Held(Arc<AtomicBool>);
    impl Drop for Held {
        fn drop(&mut self) {
            self.0.store(false, Ordering::SeqCst);
        }
    }
    struct Server;
    #[derive(Debug)]
    struct Crash;
    impl Message for Crash {
        type Reply = ();
    }
    impl Actor for Server {
        type Args = Arc<AtomicBool>;
        type Error = std::io::Error;
        async fn start(port: Self::Args, cx: &mut Context<Self>) -> Result<Self, Self::Error> {
            if port.swap(true, Ordering::SeqCst) {
                OVERLAPS.fetch_add(1, Ordering::SeqCst);
            }
            let held = Held(port);
            cx.background(async move {
                let _held = held;
                // Work in small steps, as a server's accept loop under load.
                loop {
                    std::hint::black_box((0..20_000u64).sum::<u64>());
                    tokio::task::yield_now().await;
                    if Arc::strong_count(&_held.0) == 0 {
                        return Crash;
                    }
                }
            });
            Ok(Server)
        }
    }
    impl Handler<Crash> for Server {
        async fn handle(&mut self, _: Crash, _: &mut Context<Self>) -> Result<(), Self::Error> {
            Err(std::io::Error::other("crash"))
        }
    }
    let tree = Supervisor::one_for_one("app")
        .restart_limit(100_000, SECOND)
        .backoff(Backoff::none())
        .child(Server::spec("it", Arc::default()));
    let system = System::builder().workers(4).start(tree).await.unwrap();
    let it = system.find::<Server>("app/it").unwrap();
    for _ in 0..300 {
        let _ = it.ask(Crash).await;
    }
    system.stop().await;
    assert_eq!(OVERLAPS.load(Ordering::SeqCst), 0, "of 300 restarts");
}

#[tokio::test]
async fn a_restart_is_not_starved_by_children_that_come_and_go() {
    let script = Script::default();
    let tree = Supervisor::one_for_one("app").child(
        Supervisor::dynamic("pool")
            .restart_limit(1000, SECOND)
            .backoff(Backoff::none()),
    );
    let system = System::builder().workers(4).start(tree).await.unwrap();
    let pool = system.supervisor("app/pool").unwrap();
    let it = pool
        .start_child(Scripted::spec("it", script.clone()))
        .await
        .unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let mut hammers = Vec::new();
    for n in 0..100 {
        let (pool, over) = (pool.clone(), over.clone());
        hammers.push(tokio::spawn(async move {
            let script = Script::default();
            while !over.load(Ordering::Relaxed) {
                let name = format!("n{n}");
                let _ = pool
                    .start_child(Scripted::spec(name.clone(), script.clone()))
                    .await;
                let _ = pool.stop_child(&name).await;
            }
        }));
    }
    it.tell(Fail("x")).await.unwrap();
    let before = Instant::now();
    let answer = it.ask(Echo(1)).within(3 * SECOND).await;
    let took = before.elapsed();
    over.store(true, Ordering::Relaxed);
    for hammer in hammers {
        hammer.await.unwrap();
    }
    system.stop().await;
    assert!(answer.is_ok(), "not restarted after {took:?}");
    assert!(
        took < Duration::from_millis(500),
        "restarted only after {took:?}"
    );
}

#[test]
fn nothing_keeps_a_stopped_system_alive() {
    struct Probe(std::sync::mpsc::Sender<()>);
    impl Drop for Probe {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    struct Holder;
    impl Actor for Holder {
        type Args = Arc<Probe>;
        type Error = Infallible;
        async fn start(_: Self::Args, cx: &mut Context<Self>) -> Result<Self, Infallible> {
            cx.subscribe::<Happened>();
            Ok(Holder)
        }
    }
    impl Handler<Happened> for Holder {
        async fn handle(&mut self, _: Happened, _: &mut Context<Self>) -> Result<(), Infallible> {
            Ok(())
        }
    }
    let (sender, dropped) = std::sync::mpsc::channel();
    let probe = Arc::new(Probe(sender));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let tree = Supervisor::one_for_one("app").child(Holder::spec("it", probe.clone()));
        let system = System::start(tree).await.unwrap();
        system.publish(Happened(1));
        system.stop().await;
    });
    drop(probe);
    let freed = dropped.recv_timeout(5 * SECOND);
    assert!(
        freed.is_ok(),
        "the args, hence the cell and the system, are still held"
    );
}

fn rng(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

/// Many senders with cancelled tells and asks, actors that panic, fail, quit and are cut off, children that come and
/// go: at every moment no message is unaccounted for.
fn storm(seed: u64, stop_while_sending: bool) {
    let (done, is_done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(3)
            .enable_all()
            .build()
            .unwrap();
        let balanced = runtime.block_on(async move {
            let sub = |name: &str, restart| {
                Scripted::spec(name.to_owned(), Script::default())
                    .mailbox(2)
                    .restart(restart)
                    .stop_within(Duration::from_millis(20))
                    .group(name.to_owned())
            };
            let tree = Supervisor::one_for_one("app")
                .restart_limit(u32::MAX, SECOND)
                .backoff(Backoff::none())
                .child(
                    Supervisor::one_for_all("in")
                        .restart_limit(40, Duration::from_millis(50))
                        .backoff(Backoff::none())
                        .child(sub("a", Restart::Permanent))
                        .child(sub("b", Restart::Transient))
                        .child(sub("c", Restart::Temporary)),
                )
                .child(
                    Supervisor::dynamic("pool")
                        .restart_limit(60, Duration::from_millis(50))
                        .backoff(Backoff::none()),
                );
            let system = System::builder().workers(4).start(tree).await.unwrap();
            let refs: Vec<ActorRef<Scripted>> = ["app/in/a", "app/in/b", "app/in/c"]
                .iter()
                .filter_map(|p| system.find(p).ok())
                .collect();
            let mut tasks = Vec::new();
            for n in 0..8u64 {
                let (system, refs) = (system.clone(), refs.clone());
                let pool = system.supervisor("app/pool").unwrap();
                tasks.push(tokio::spawn(async move {
                    let mut s = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ ((n + 1) * 7919);
                    let mut mine: Option<ActorRef<Scripted>> = None;
                    for _ in 0..600 {
                        let r = rng(&mut s);
                        let it = match (&mine, r % 4) {
                            (Some(m), 3) => m.clone(),
                            _ => refs[(r >> 8) as usize % refs.len()].clone(),
                        };
                        let brief = Duration::from_micros(r >> 20 & 0x3ff);
                        match (r >> 3) % 16 {
                            0 => drop(tokio::time::timeout(brief, it.tell(Panic("p"))).await),
                            1 => drop(tokio::time::timeout(brief, it.tell(Fail("f"))).await),
                            2 => drop(tokio::time::timeout(brief, it.tell(Quit)).await),
                            3 => drop(it.ask(Echo(1)).within(brief).await),
                            4 => drop(tokio::time::timeout(brief, it.ask(Echo(2))).await),
                            5 => drop(it.try_tell(Say("t"))),
                            6 => drop(tokio::time::timeout(brief, it.tell(Slow(brief))).await),
                            7 => drop(system.publish(Happened(1))),
                            8 => drop(
                                tokio::time::timeout(
                                    brief,
                                    system.publish_within(Happened(2), brief * 2),
                                )
                                .await,
                            ),
                            9 => drop(
                                it.tell(with(|cx| cx.subscribe::<Happened>()))
                                    .within(brief)
                                    .await,
                            ),
                            10 => drop(
                                it.tell(with(move |cx| {
                                    let task = cx.every(Duration::from_millis(1), Say("tick"));
                                    if brief.as_micros().is_multiple_of(2) {
                                        task.cancel();
                                    }
                                    cx.after(brief, Say("later"));
                                    cx.background(async move {
                                        tokio::time::sleep(brief).await;
                                        if brief.as_micros().is_multiple_of(5) {
                                            panic!("bg")
                                        };
                                        Say("bg")
                                    });
                                }))
                                .within(brief)
                                .await,
                            ),
                            11 => {
                                let spec = Scripted::spec(format!("n{n}"), Script::default())
                                    .mailbox(1)
                                    .stop_within(Duration::from_millis(10))
                                    .restart(if r & 0x1000 == 0 {
                                        Restart::Permanent
                                    } else {
                                        Restart::Transient
                                    });
                                mine = pool.start_child(spec).await.ok();
                            }
                            12 => drop(
                                tokio::time::timeout(brief, pool.stop_child(&format!("n{n}")))
                                    .await,
                            ),
                            13 => {
                                drop(it.tell(Slow(Duration::from_millis(30))).within(brief).await)
                            }
                            14 => {
                                let _ = system.scrape();
                                drop(system.snapshot());
                            }
                            _ => drop(it.tell(Say("s")).within(brief).await),
                        }
                        assert!(system.ledger().is_balanced(), "{}", system.ledger());
                    }
                }));
            }
            if stop_while_sending {
                // In the middle of it.
                while system.ledger().sent < 1500 {
                    tokio::task::yield_now().await;
                }
                system.stop().await;
            }
            for task in tasks {
                task.await.unwrap();
            }
            system.stop().await;
            let ledger = system.ledger();
            (
                ledger.is_balanced() && ledger.queued == 0 && system.snapshot().is_empty(),
                ledger.to_string(),
                format!(
                    "{:?}",
                    system
                        .snapshot()
                        .iter()
                        .map(|i| i.path.to_string())
                        .collect::<Vec<_>>()
                ),
            )
        });
        done.send(balanced).unwrap();
    });
    let (ok, ledger, left) = is_done
        .recv_timeout(Duration::from_secs(60))
        .unwrap_or_else(|_| panic!("seed {seed}: it hangs, or a sender panicked"));
    assert!(ok, "seed {seed}: {ledger} {left}");
}

/// How many storms are raised; `STORMS=1000` raises more, `SEED` says from which on.
fn storms(stop_while_sending: bool) {
    let storms = std::env::var("STORMS").map_or(4, |n| n.parse().unwrap());
    let first = seed();
    for seed in first..first + storms {
        println!("SEED={seed}");
        storm(seed, stop_while_sending);
    }
}

#[test]
fn in_a_storm_of_failures_and_cancelled_senders_every_message_is_accounted_for() {
    storms(false);
}

#[test]
fn in_a_storm_that_ends_with_a_stop_every_message_is_accounted_for() {
    storms(true);
}

/// Returns the thread on which an actor's handler runs.
async fn thread_of(it: &ActorRef<Scripted>) -> std::thread::ThreadId {
    let (tell, told) = tokio::sync::oneshot::channel();
    it.ask(with(move |_| {
        let _ = tell.send(std::thread::current().id());
    }))
    .await
    .unwrap();
    told.await.unwrap()
}

#[tokio::test]
async fn an_actor_that_is_bound_to_a_worker_runs_there_whoever_tells_it_and_after_a_restart() {
    let script = Script::default();
    let mut tree = Supervisor::one_for_one("app")
        .restart_limit(100, SECOND)
        .backoff(Backoff::none());
    for n in 0..4 {
        tree = tree.child(Scripted::spec(format!("bound{n}"), script.clone()).on_worker(n));
    }
    let tree = tree
        .child(Scripted::spec("again", script.clone()).on_worker(5))
        .child(Scripted::spec("free", script.clone()));
    let system = System::builder().workers(4).start(tree).await.unwrap();
    let find = |name: &str| system.find::<Scripted>(&format!("app/{name}")).unwrap();
    let bound: Vec<_> = (0..4).map(|n| find(&format!("bound{n}"))).collect();
    let mut threads = Vec::new();
    for it in &bound {
        threads.push(thread_of(it).await);
    }
    let different: std::collections::HashSet<_> = threads.iter().collect();
    assert_eq!(different.len(), 4);
    // Beyond the number of workers it begins anew.
    assert_eq!(thread_of(&find("again")).await, threads[1]);
    for round in 0..20 {
        for (it, thread) in bound.iter().zip(&threads) {
            assert_eq!(thread_of(it).await, *thread, "round {round}");
            // From another actor, which is on whatever worker.
            let (callee, expected) = (it.clone(), *thread);
            find("free")
                .ask(awaiting(async move {
                    assert_eq!(thread_of(&callee).await, expected);
                    tokio::time::sleep(Duration::from_micros(100)).await;
                    assert_eq!(thread_of(&callee).await, expected);
                }))
                .await
                .unwrap();
            it.tell(Fail("bust")).await.unwrap();
        }
    }
    // Also after it has waited in its handler.
    let expected = threads[2];
    bound[2]
        .ask(awaiting(async move {
            for _ in 0..20 {
                tokio::time::sleep(Duration::from_micros(100)).await;
                assert_eq!(std::thread::current().id(), expected);
            }
        }))
        .await
        .unwrap();
    system.stop().await;
}

#[tokio::test]
async fn what_is_bound_to_a_thread_can_be_used_in_a_handler() {
    let script = Script::default();
    let spec = Scripted::spec("it", script.clone()).on_worker(1);
    let system = System::builder()
        .workers(2)
        .start(Supervisor::one_for_one("app").child(spec))
        .await
        .unwrap();
    let it = system.find::<Scripted>("app/it").unwrap();
    let (tell, told) = tokio::sync::oneshot::channel();
    it.ask(with(move |_| {
        // Neither can leave its thread.
        let shared = std::rc::Rc::new(7);
        let here = std::thread::current().id();
        tokio::task::spawn_local(async move {
            tokio::task::yield_now().await;
            let _ = tell.send((*shared, std::thread::current().id() == here));
        });
    }))
    .await
    .unwrap();
    assert_eq!(told.await.unwrap(), (7, true));
    system.stop().await;
}

#[tokio::test]
async fn timers_and_sockets_are_served_while_the_only_worker_is_busy() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let script = Script::default();
    let tree = Supervisor::one_for_one("app")
        .child(Scripted::spec("busy", script.clone()))
        .child(Scripted::spec("it", script.clone()));
    let system = System::builder().workers(1).start(tree).await.unwrap();
    let find = |name| system.find::<Scripted>(name).unwrap();
    let (busy, it) = (find("app/busy"), find("app/it"));
    fn again(me: ActorRef<Scripted>, over: Arc<AtomicBool>) -> Do {
        with(move |_| {
            if !over.load(Ordering::Relaxed) {
                let next = again(me.clone(), over);
                let _ = me.try_tell(next);
            }
        })
    }
    let over = Arc::new(AtomicBool::new(false));
    busy.tell(again(busy.clone(), over.clone())).await.unwrap();
    let served = it
        .ask(awaiting(async {
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let peer = std::thread::spawn(move || {
                use std::io::{Read, Write};
                let mut stream = std::net::TcpStream::connect(address).unwrap();
                for _ in 0..20 {
                    stream.write_all(b"x").unwrap();
                    stream.read_exact(&mut [0]).unwrap();
                }
            });
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut byte = [0];
            for _ in 0..20 {
                stream.read_exact(&mut byte).await.unwrap();
                stream.write_all(&byte).await.unwrap();
            }
            drop(peer);
        }))
        .within(10 * SECOND)
        .await;
    over.store(true, Ordering::Relaxed);
    served.unwrap();
    assert!(system.ledger().handled > 100, "it was busy meanwhile");
    system.stop().await;
}

#[tokio::test]
async fn counts_are_exact_although_one_message_in_many_is_timed() {
    let script = Script::default();
    for (every, n) in [(64, 6400), (1, 640)] {
        let builder = System::builder().workers(2).measure_every(every);
        let system = builder.start(lone(&script)).await.unwrap();
        let it = system.find::<Scripted>("app/it").unwrap();
        for _ in 0..n {
            it.tell(Say("x")).await.unwrap();
        }
        system.stop().await;
        let families = system.scrape();
        let of = |metric| number(&families, metric, &[("group", "Scripted")]) as u32;
        assert_eq!(of(Metric::MailboxEnqueued), n);
        assert_eq!(of(Metric::MailboxDequeued), n);
        assert_eq!(system.ledger().handled, u64::from(n));
        let timed = (of(Metric::MailboxWait), of(Metric::MessageHandle));
        assert_eq!(timed.0, timed.1);
        // More where it took long enough for some to be rare.
        assert!(timed.0 >= n / every, "{timed:?} of {n}");
        assert!(every == 1 || timed.0 < n, "{timed:?} of {n}");
    }
}

#[tokio::test]
async fn rare_messages_are_timed_although_they_are_few() {
    let script = Script::default();
    let builder = System::builder().workers(1).measure_every(1 << 20);
    let system = builder.start(lone(&script)).await.unwrap();
    let it = system.find::<Scripted>("app/it").unwrap();
    let timed = || {
        let families = system.scrape();
        number(&families, Metric::MailboxWait, &[("group", "Scripted")])
    };
    // Far fewer than one in so many, but seldom enough.
    until(|| {
        let _ = it.try_tell(Say("x"));
        timed() >= 4.0
    })
    .await;
    assert!(system.ledger().sent < 1 << 20);
    system.stop().await;
}

#[tokio::test]
async fn the_first_panic_at_a_place_is_traced() {
    let script = Script::default();
    let tree = Supervisor::one_for_one("app")
        .restart_limit(0, SECOND)
        .child(Scripted::spec("it", script));
    let system = System::start(tree).await.unwrap();
    let it = system.find::<Scripted>("app/it").unwrap();
    // At a place where no other test panics in this second.
    it.tell(with(|_| panic!("boom"))).await.unwrap();
    let escalated = system.stopped().await.unwrap_err();
    assert!(escalated.failure().unwrap().backtrace().is_some());
}
