//! Starts, calls and stops as `gen_server` has them: what the one who starts, asks or stops an actor learns, and when.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use greenroom::prelude::*;
use greenroom::{
    AskError, Down, ExitReason, FailureKind, StartChildError, StopError, SupervisorRef, Task,
};
use greenroom_it::*;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::start;

const SECOND: Duration = Duration::from_secs(1);

/// `app/it`, which is started again if it fails, `app/other`, and the dynamic supervisor `app/pool`.
async fn some(script: &Script) -> (System, ActorRef<Scripted>, SupervisorRef) {
    let tree = Supervisor::one_for_one("app")
        .restart_limit(1000, SECOND)
        .backoff(Backoff::none())
        .child(Scripted::spec("it", script.clone()).restart(Restart::Transient))
        .child(Scripted::spec("other", Script::default()))
        .child(Supervisor::dynamic("pool"));
    let system = start(tree).await.unwrap();
    let it = system.find::<Scripted>("app/it").unwrap();
    let pool = system.supervisor("app/pool").unwrap();
    settle().await;
    script.log.clear();
    (system, it, pool)
}

/// In which way a start goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    Well,
    Fails,
    Panics,
    Hangs,
    Ignores,
    /// Its error panics when it is shown.
    FailsUnshown,
}

/// An actor that lets a watcher know of itself, and then starts as it is told.
struct Starter;

struct Unshown(bool);

impl fmt::Display for Unshown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        assert!(self.0, "cannot be shown");
        f.write_str("no luck")
    }
}

impl fmt::Debug for Unshown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Actor for Starter {
    type Args = (Start, Option<ActorRef<Scripted>>);
    type Error = Unshown;

    async fn start((how, watcher): Self::Args, cx: &mut Context<Self>) -> Result<Self, Unshown> {
        if let Some(watcher) = watcher {
            let me = cx.me();
            let monitor = with(move |cx| drop(cx.monitor(&me)));
            watcher.ask(monitor).await.map_err(|_| Unshown(true))?;
        }
        tokio::time::sleep(SECOND).await;
        match how {
            Start::Well => Ok(Starter),
            Start::Fails => Err(Unshown(true)),
            Start::FailsUnshown => Err(Unshown(false)),
            Start::Panics => panic!("boom"),
            Start::Hangs => std::future::pending().await,
            Start::Ignores => cx.ignore().await,
        }
    }
}

// ===== start =====

#[tokio::test(start_paused = true)]
async fn g01_a_start_returns_when_the_actor_s_own_start_is_over() {
    let (_system, _it, pool) = some(&Script::default()).await;
    let before = Instant::now();
    let spec = Starter::spec("it", (Start::Well, None));
    pool.start_child(spec).await.unwrap();
    assert_eq!(before.elapsed(), SECOND);
    let before = Instant::now();
    let spec = Starter::spec("it", (Start::Well, None));
    let tree = Supervisor::one_for_one("app").child(spec);
    start(tree).await.unwrap();
    assert_eq!(before.elapsed(), SECOND);
}

#[tokio::test(start_paused = true)]
async fn g02_a_start_that_takes_too_long_is_a_failure_and_the_half_started_actor_is_gone() {
    let script = Script::default();
    let (system, watcher, pool) = some(&script).await;
    for watched in [false, true] {
        let watcher = watched.then(|| watcher.clone());
        let spec = Starter::spec("it", (Start::Hangs, watcher)).start_within(3 * SECOND);
        let before = Instant::now();
        let error = pool.start_child(spec).await.unwrap_err();
        assert_eq!(before.elapsed(), 3 * SECOND);
        let text = "did not start within 3s; see `Spec::start_within`";
        assert!(
            matches!(&error, StartChildError::Failed(f) if f.text() == text),
            "{error}"
        );
        assert!(system.find::<Starter>("app/pool/it").is_err());
        tokio::time::sleep(100 * SECOND).await;
        let log = script.log.take();
        let down = format!("it: down app/pool/it (incarnation 1) failed starting: {text}");
        assert_eq!(
            log,
            [down][..usize::from(watched)],
            "one news, and only for who watches"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn g03_each_way_a_start_can_fail_has_its_error_however_often_it_is_tried() {
    let script = Script::default();
    let (system, watcher, pool) = some(&script).await;
    for (how, text) in [
        (Start::Fails, "no luck"),
        (Start::FailsUnshown, "its error panicked when shown"),
        (Start::Panics, "boom"),
    ] {
        for round in 0..5 {
            let watched = (round % 2 == 0).then(|| watcher.clone());
            let is_watched = watched.is_some();
            let spec = Starter::spec("it", (how, watched));
            let error = pool.start_child(spec).await.unwrap_err();
            let StartChildError::Failed(failure) = &error else {
                panic!("{error}");
            };
            assert_eq!(failure.text(), text);
            settle().await;
            assert_eq!(script.log.take().len(), usize::from(is_watched));
            assert_eq!(system.snapshot().len(), 4, "something is left of it");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn g03_a_start_that_is_ignored_is_no_failure_and_leaves_nothing() {
    let script = Script::default();
    let (system, watcher, pool) = some(&script).await;
    for _ in 0..5 {
        let spec = Starter::spec("it", (Start::Ignores, Some(watcher.clone())));
        let error = pool.start_child(spec).await.unwrap_err();
        assert!(matches!(error, StartChildError::Ignored(_)), "{error}");
        settle().await;
        let news = "it: down app/pool/it (incarnation 1) ended normally";
        assert_eq!(script.log.take(), [news]);
        assert_eq!(system.snapshot().len(), 4, "something is left of it");
    }
}

#[tokio::test(start_paused = true)]
async fn g04_after_a_failed_start_the_name_is_free_at_once() {
    let (system, _it, pool) = some(&Script::default()).await;
    for _ in 0..10 {
        let spec = Starter::spec("it", (Start::Fails, None));
        pool.start_child(spec).await.unwrap_err();
        assert!(system.find::<Starter>("app/pool/it").is_err());
        let spec = Scripted::spec("it", Script::default());
        pool.start_child(spec).await.unwrap();
        pool.stop_child("it").await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn g05_a_panic_in_a_start_hangs_nobody_and_is_one_result_for_all() {
    let (_system, _it, pool) = some(&Script::default()).await;
    let before = Instant::now();
    let spec = || Starter::spec("it", (Start::Panics, None));
    let of_child = pool.start_child(spec()).await.unwrap_err();
    let of_tree = start(Supervisor::one_for_one("app").child(spec())).await;
    let of_tree = of_tree.unwrap_err();
    assert_eq!(before.elapsed(), 2 * SECOND);
    for text in [of_child.to_string(), of_tree.to_string()] {
        assert!(
            text.contains("panicked at") && text.contains("boom"),
            "{text}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn g06_of_many_who_start_one_name_at_once_one_wins_and_the_others_are_told_who_has_it() {
    let (system, _it, pool) = some(&Script::default()).await;
    let starts: Vec<_> = (0..50)
        .map(|_| {
            let pool = pool.clone();
            let spec = Scripted::spec("it", Script::default());
            tokio::spawn(async move { pool.start_child(spec).await })
        })
        .collect();
    let mut won = Vec::new();
    for start in starts {
        match start.await.unwrap() {
            Ok(it) => won.push(it),
            Err(StartChildError::AlreadyStarted(path)) => {
                assert_eq!(path.as_str(), "app/pool/it");
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(won, [system.find::<Scripted>("app/pool/it").unwrap()]);
}

// ===== calls =====

#[tokio::test(start_paused = true)]
async fn g07_a_call_to_who_is_dead_or_dies_of_it_returns_at_once_with_the_reason() {
    let script = Script::default();
    let (_system, it, pool) = some(&script).await;
    let before = Instant::now();
    // It dies of this call, or before its turn comes, or is killed meanwhile.
    let error = it.ask(Panic("boom")).await.unwrap_err();
    assert!(error.to_string().ends_with("it panicked: boom"), "{error}");
    let one = pool
        .start_child(Scripted::spec("one", script.clone()))
        .await
        .unwrap();
    for is_killed in [true, false] {
        hold(&it, &script).await;
        let (a, b) = (it.clone(), it.clone());
        let in_hand = tokio::spawn(async move { a.ask(Hold).await });
        let queued = tokio::spawn(async move { b.ask(Echo(1)).await });
        settle().await;
        if is_killed {
            script.gate.add_permits(1);
            settle().await;
            it.kill();
            let error = in_hand.await.unwrap().unwrap_err();
            assert!(matches!(error, AskError::Failed { .. }), "{error}");
            // What is queued is the next life's.
            assert_eq!(queued.await.unwrap().unwrap(), 1);
        } else {
            it.tell(Quit).await.unwrap();
            script.gate.add_permits(2);
            in_hand.await.unwrap().unwrap();
            queued.await.unwrap().unwrap();
        }
        settle().await;
    }
    let error = it.ask(Echo(1)).await.unwrap_err();
    assert!(matches!(error, AskError::Stopped { .. }), "{error}");
    let other = one.clone();
    hold(&one, &script).await;
    let queued = tokio::spawn(async move { other.ask(Echo(1)).await });
    settle().await;
    let stops = tokio::spawn(async move { pool.stop_child("one").await });
    settle().await;
    one.kill();
    stops.await.unwrap().unwrap();
    let error = queued.await.unwrap().unwrap_err();
    assert!(matches!(error, AskError::Abandoned { .. }), "{error}");
    assert!(before.elapsed() < SECOND / 10);
}

#[tokio::test(start_paused = true)]
async fn g08_a_reply_that_comes_too_late_reaches_nobody() {
    let script = Script::default();
    let (system, it, _pool) = some(&script).await;
    let other = system.find::<Scripted>("app/other").unwrap();
    let callee = it.clone();
    let calls = awaiting(async move {
        let error = callee
            .ask(Slow(3 * SECOND))
            .within(SECOND)
            .await
            .unwrap_err();
        assert!(matches!(error, AskError::Timeout { .. }), "{error}");
    });
    other.ask(calls).await.unwrap();
    let before = system.ledger();
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(script.log.take(), ["it: slow"]);
    let ledger = system.ledger();
    assert_eq!(ledger.sent, before.sent, "the late reply is a message");
    assert!(ledger.is_balanced() && system.dead_letters().is_empty());
}

#[tokio::test(start_paused = true)]
async fn g09_who_calls_itself_is_told_so_at_once() {
    let (_system, it, _pool) = some(&Script::default()).await;
    let me = it.clone();
    let calls = awaiting(async move {
        let before = Instant::now();
        let error = me.ask(Echo(1)).await.unwrap_err();
        assert!(
            matches!(&error, AskError::Cycle { cycle, .. } if cycle.len() == 1),
            "{error}"
        );
        assert_eq!(before.elapsed(), Duration::ZERO);
    });
    it.ask(calls).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn g10_who_tells_the_dead_and_the_stuck_is_not_held_up() {
    let script = Script::default();
    let (_system, it, _pool) = some(&script).await;
    hold(&it, &script).await;
    let before = Instant::now();
    for _ in 0..1000 {
        it.tell(Say("queued")).await.unwrap();
    }
    while it.try_tell(Say("until it is full")).is_ok() {}
    assert!(it.try_tell(Say("full")).is_err());
    assert_eq!(before.elapsed(), Duration::ZERO);
    it.tell(Quit).within(SECOND).await.unwrap_err();
    it.kill();
    it.stop().await.unwrap_err();
    tokio::time::sleep(SECOND).await;
    it.stop().await.unwrap();
    let before = Instant::now();
    it.tell(Say("dead")).await.unwrap_err();
    it.try_tell(Say("dead")).unwrap_err();
    assert_eq!(before.elapsed(), Duration::ZERO);
}

/// An actor that keeps a question, and answers it when another message comes.
#[derive(Default)]
struct Clerk {
    open: Vec<oneshot::Sender<u32>>,
}

struct Later;
impl Message for Later {
    type Reply = oneshot::Receiver<u32>;
}

struct Answer(u32);
impl Message for Answer {
    type Reply = ();
}

impl Actor for Clerk {
    type Args = ();
    type Error = Infallible;
    async fn start((): (), _: &mut Context<Self>) -> Result<Self, Infallible> {
        Ok(Clerk::default())
    }
}

impl Handler<Later> for Clerk {
    async fn handle(
        &mut self,
        _: Later,
        _: &mut Context<Self>,
    ) -> Result<oneshot::Receiver<u32>, Infallible> {
        let (answer, promise) = oneshot::channel();
        self.open.push(answer);
        Ok(promise)
    }
}

impl Handler<Answer> for Clerk {
    async fn handle(&mut self, Answer(n): Answer, _: &mut Context<Self>) -> Result<(), Infallible> {
        for open in self.open.drain(..) {
            let _ = open.send(n);
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn g11_an_answer_that_comes_with_a_later_message_is_a_promise_in_the_reply() {
    let (_system, _it, pool) = some(&Script::default()).await;
    let clerk = pool.start_child(Clerk::spec("clerk", ())).await.unwrap();
    let promise = clerk.ask(Later).await.unwrap();
    let other = clerk.clone();
    let answers = tokio::spawn(async move {
        tokio::time::sleep(SECOND).await;
        other.tell(Answer(7)).await.unwrap();
    });
    assert_eq!(promise.await.unwrap(), 7);
    answers.await.unwrap();
    // It is broken with the life that gave it.
    let promise = clerk.ask(Later).await.unwrap();
    clerk.kill();
    assert!(promise.await.is_err());
}

/// An actor that notices when nothing comes.
struct Idler {
    log: Log,
    timer: Task,
}

#[derive(Clone)]
struct Idle;
impl Message for Idle {
    type Reply = ();
}

impl Actor for Idler {
    type Args = Log;
    type Error = Infallible;
    async fn start(log: Log, cx: &mut Context<Self>) -> Result<Self, Infallible> {
        let timer = cx.after(SECOND, Idle);
        Ok(Idler { log, timer })
    }
}

impl Handler<Say> for Idler {
    async fn handle(&mut self, Say(text): Say, cx: &mut Context<Self>) -> Result<(), Infallible> {
        self.timer.cancel();
        self.timer = cx.after(SECOND, Idle);
        self.log.add(text);
        Ok(())
    }
}

impl Handler<Idle> for Idler {
    async fn handle(&mut self, _: Idle, _: &mut Context<Self>) -> Result<(), Infallible> {
        self.log.add("idle");
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn g12_an_idle_timeout_is_a_timer_that_each_message_puts_off() {
    let (_system, _it, pool) = some(&Script::default()).await;
    let log = Log::default();
    let it = pool
        .start_child(Idler::spec("idler", log.clone()))
        .await
        .unwrap();
    for _ in 0..5 {
        tokio::time::sleep(SECOND / 2).await;
        it.tell(Say("busy")).await.unwrap();
    }
    settle().await;
    assert_eq!(log.take(), ["busy"; 5]);
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(log.take(), ["idle"]);
}

#[tokio::test(start_paused = true)]
async fn g13_what_a_start_does_comes_before_every_message_that_was_queued() {
    let script = Script::default();
    let (_system, it, _pool) = some(&script).await;
    hold(&it, &script).await;
    it.tell(Fail("no luck")).await.unwrap();
    for _ in 0..10 {
        it.tell(Say("queued")).await.unwrap();
    }
    script.log.clear();
    script.gate.add_permits(1);
    settle().await;
    let log = script.log.take();
    assert_eq!(log[..2], ["it: fail", "it: start 2"]);
    assert_eq!(log[2..], ["it: queued"; 10]);
}

// ===== stop from outside =====

#[tokio::test(start_paused = true)]
async fn g14_a_stop_returns_when_the_actor_is_gone() {
    let script = Script {
        stop_takes: SECOND,
        ..Script::default()
    };
    let (system, it, _pool) = some(&script).await;
    let before = Instant::now();
    it.stop().await.unwrap();
    assert_eq!(before.elapsed(), SECOND);
    assert!(system.find::<Scripted>("app/it").is_err());
    assert_eq!(script.log.take(), ["it: stop"]);
    let error = it.stop().await.unwrap_err();
    assert!(matches!(error, StopError::NotRunning(_)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn g14_a_stop_goes_past_what_is_queued_which_a_permanent_actor_handles_in_its_next_life() {
    let script = Script::default();
    let tree = Supervisor::one_for_one("app").child(Scripted::spec("it", script.clone()));
    let system = start(tree).await.unwrap();
    let it = system.find::<Scripted>("app/it").unwrap();
    hold(&it, &script).await;
    it.tell(Say("queued")).await.unwrap();
    script.log.clear();
    let other = it.clone();
    let stops = tokio::spawn(async move { other.stop().await });
    settle().await;
    script.gate.add_permits(1);
    stops.await.unwrap().unwrap();
    settle().await;
    assert_eq!(script.log.take(), ["it: stop", "it: start 2", "it: queued"]);
    assert!(system.ledger().is_balanced(), "{}", system.ledger());
}

#[tokio::test(start_paused = true)]
async fn g14_a_stop_that_runs_out_of_time_is_delivered_all_the_same() {
    let script = Script::default();
    let (_system, it, _pool) = some(&script).await;
    hold(&it, &script).await;
    let before = Instant::now();
    let error = it.stop().within(SECOND).await.unwrap_err();
    assert!(matches!(error, StopError::TimedOut { .. }), "{error}");
    assert_eq!(before.elapsed(), SECOND);
    // Also where nobody waits any more.
    let error = it.stop().within(Duration::ZERO).await.unwrap_err();
    assert!(matches!(error, StopError::TimedOut { .. }), "{error}");
    script.gate.add_permits(1);
    settle().await;
    assert_eq!(script.log.take(), ["it: hold", "it: stop"]);
    assert!(matches!(it.stop().await, Err(StopError::NotRunning(_))));
}

#[tokio::test(start_paused = true)]
async fn g14_who_stops_an_actor_that_ends_otherwise_is_told_how() {
    let script = Script::default();
    let (_system, it, _pool) = some(&script).await;
    let stops = |it: &ActorRef<Scripted>| {
        let it = it.clone();
        tokio::spawn(async move { it.stop().await })
    };
    it.tell(awaiting(async {
        tokio::time::sleep(SECOND).await;
        panic!("boom");
    }))
    .await
    .unwrap();
    settle().await;
    let error = stops(&it).await.unwrap().unwrap_err();
    let StopError::Ended { reason, .. } = &error else {
        panic!("{error}");
    };
    assert!(matches!(reason, ExitReason::Failed(failure) if failure.text() == "boom"));
    assert!(
        error
            .to_string()
            .starts_with("app/it failed handling Await: boom"),
        "{error}"
    );
    hold(&it, &script).await;
    let stop = stops(&it);
    settle().await;
    it.kill();
    let error = stop.await.unwrap().unwrap_err();
    assert!(
        error.to_string().starts_with("app/it was killed"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn g14_a_stop_that_would_wait_for_the_one_who_asks_for_it_is_refused() {
    let script = Script::default();
    let (system, it, _pool) = some(&script).await;
    let me = it.clone();
    let itself = awaiting(async move {
        let error = me.stop().await.unwrap_err();
        assert!(matches!(error, StopError::WouldDeadlock { .. }), "{error}");
    });
    it.ask(itself).await.unwrap();
    // The other waits for its reply.
    let other = system.find::<Scripted>("app/other").unwrap();
    let (asked, asker) = (it.clone(), other.clone());
    let stops_asker = awaiting(async move {
        let error = asker.stop().await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "app/other would never end: app/it -> app/other -> app/it wait for each other; an actor ends itself with `Context::stop`"
        );
    });
    let asks = awaiting(async move { asked.ask(stops_asker).await.unwrap() });
    other.ask(asks).await.unwrap();
    assert_eq!(it.ask(Echo(1)).await.unwrap(), 1, "nobody was stopped");
    // Where nobody waits for it, it may.
    let victim = other.clone();
    let stops = awaiting(async move { victim.stop().await.unwrap() });
    it.ask(stops).await.unwrap();
}

// ===== under load =====

#[tokio::test(start_paused = true)]
async fn g15_a_call_costs_the_same_whatever_is_queued_for_the_caller() {
    const CALLS: u32 = 10_000;
    const QUEUED: usize = 500_000;
    let script = Script::default();
    let tree = Supervisor::one_for_one("app")
        .child(Scripted::spec("callee", Script::default()))
        .child(Scripted::spec("caller", script.clone()).mailbox(QUEUED + 1));
    let system = start(tree).await.unwrap();
    let callee = system.find::<Scripted>("app/callee").unwrap();
    let caller = system.find::<Scripted>("app/caller").unwrap();
    let calls = || {
        let callee = callee.clone();
        let (send, took) = oneshot::channel();
        let calls = awaiting(async move {
            let before = std::time::Instant::now();
            for n in 0..CALLS {
                assert_eq!(callee.ask(Echo(n)).await.unwrap(), n);
            }
            let _ = send.send(before.elapsed());
        });
        (calls, took)
    };
    let (first, took) = calls();
    caller.ask(first).within(60 * SECOND).await.unwrap();
    let alone = took.await.unwrap();
    hold(&caller, &script).await;
    let (second, took) = calls();
    caller.tell(second).await.unwrap();
    for _ in 0..QUEUED {
        caller.try_tell(Quit).unwrap();
    }
    script.gate.add_permits(1);
    let queued = took.await.unwrap();
    assert!(queued < alone * 10, "{queued:?} instead of {alone:?}");
    // The rest is not to be handled one life after the other.
    caller.kill();
}

// ===== failures =====

#[tokio::test(start_paused = true)]
async fn g17_an_error_that_panics_when_it_is_shown_hides_no_crash() {
    struct Secretive;
    impl Actor for Secretive {
        type Args = ();
        type Error = Unshown;
        async fn start((): (), _: &mut Context<Self>) -> Result<Self, Unshown> {
            Ok(Secretive)
        }
    }
    impl Handler<Quit> for Secretive {
        async fn handle(&mut self, _: Quit, _: &mut Context<Self>) -> Result<(), Unshown> {
            Err(Unshown(false))
        }
    }
    let script = Script::default();
    let (system, watcher, pool) = some(&script).await;
    let it = pool.start_child(Secretive::spec("it", ())).await.unwrap();
    let other = it.clone();
    watcher
        .ask(with(move |cx| drop(cx.monitor(&other))))
        .await
        .unwrap();
    let error = it.ask(Quit).await.unwrap_err();
    let text = "its error panicked when shown";
    assert!(
        matches!(&error, AskError::Failed { reason, .. } if reason == text),
        "{error}"
    );
    settle().await;
    assert_eq!(
        script.log.take(),
        [format!(
            "it: down app/pool/it (incarnation 1) failed handling Quit: {text}"
        )]
    );
    assert_eq!(system.dead_letters()[0].text, text);
}

/// An actor whose end goes wrong.
struct Stubborn(Log);

impl Actor for Stubborn {
    type Args = Log;
    type Error = Scripts;
    async fn start(log: Log, cx: &mut Context<Self>) -> Result<Self, Scripts> {
        log.add(format!("start {}", cx.incarnation()));
        Ok(Stubborn(log))
    }
    async fn stop(&mut self, cx: &mut Context<Self>) -> Result<(), Scripts> {
        self.0.add("stop");
        assert!(cx.incarnation() < 3, "the disk is full");
        Err(Scripts("nothing is saved"))
    }
}

impl Handler<Quit> for Stubborn {
    async fn handle(&mut self, _: Quit, cx: &mut Context<Self>) -> Result<(), Scripts> {
        cx.stop();
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn g18_a_failure_at_the_end_is_how_the_life_ended() {
    let script = Script::default();
    let (_system, watcher, _pool) = some(&script).await;
    let log = Log::default();
    let tree = Supervisor::one_for_one("other")
        .restart_limit(2, SECOND)
        .backoff(Backoff::none())
        .child(Stubborn::spec("it", log.clone()).restart(Restart::Transient));
    let other = start(tree).await.unwrap();
    let it = other.find::<Stubborn>("other/it").unwrap();
    let monitor = || {
        let it = it.clone();
        with(move |cx| drop(cx.monitor(&it)))
    };
    watcher.ask(monitor()).await.unwrap();
    it.tell(Quit).await.unwrap();
    settle().await;
    let news = "it: down other/it (incarnation 1) failed stopping: nothing is saved";
    assert_eq!(script.log.take(), [news]);
    // It wanted to end well and has not: a transient actor is started again.
    assert_eq!(log.take(), ["start 1", "stop", "start 2"]);
    let error = it.stop().await.unwrap_err();
    assert!(error.to_string().contains("nothing is saved"), "{error}");
    it.tell(Quit).await.unwrap();
    let escalated = other.stopped().await.unwrap_err();
    let failure = escalated.failure().unwrap();
    assert_eq!(failure.kind(), FailureKind::Panic);
    assert_eq!(failure.text(), "the disk is full");
}

#[tokio::test(start_paused = true)]
async fn g19_what_a_handler_cannot_go_on_from_ends_it_for_that_reason_and_the_caller_is_told() {
    let script = Script::default();
    let (system, it, _pool) = some(&script).await;
    let other = system.find::<Scripted>("app/other").unwrap();
    let target = other.clone();
    it.ask(with(move |cx| drop(cx.monitor(&target))))
        .await
        .unwrap();
    let error = other.ask(Fail("no luck")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "app/other failed on the message: no luck"
    );
    settle().await;
    let news = "it: down app/other (incarnation 1) failed handling Fail: no luck";
    assert_eq!(script.log.take(), [news]);
}

/// Waits without a message of its own.
fn _is_a_future<F: Future<Output = Result<(), StopError>> + Send>(_: &F) {}

#[tokio::test(start_paused = true)]
async fn g14_a_stop_may_be_awaited_by_many_who_all_hear_of_the_one_end() {
    let script = Script::default();
    let (_system, it, _pool) = some(&script).await;
    hold(&it, &script).await;
    let told = Arc::new(AtomicU32::new(0));
    let waits: Vec<_> = (0..20)
        .map(|_| {
            let (it, told) = (it.clone(), told.clone());
            tokio::spawn(async move {
                let stop = it.stop();
                _is_a_future(&stop);
                stop.await.unwrap();
                told.fetch_add(1, Ordering::Relaxed);
            })
        })
        .collect();
    settle().await;
    script.gate.add_permits(1);
    for wait in waits {
        wait.await.unwrap();
    }
    assert_eq!(told.load(Ordering::Relaxed), 20);
    assert_eq!(script.log.take(), ["it: hold", "it: stop"]);
}

/// What is monitored is heard of as a message is.
fn _is_a_message<M: Message<Reply = ()>>(_: &M) {}
const _: fn(&Down) = _is_a_message::<Down>;
