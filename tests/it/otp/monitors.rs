//! Monitors and links: what one actor hears of the end of another, and when two end together.

use std::convert::Infallible;
use std::pin::Pin;
use std::time::Duration;

use greenroom::prelude::*;
use greenroom::{Down, ExitReason, FailureKind, Monitor, StopError, SupervisorRef};
use greenroom_it::*;

use super::start;

const SECOND: Duration = Duration::from_secs(1);

/// An actor that runs what it is given, with its context, and writes down what it is told.
struct Party {
    name: String,
    log: Log,
}

impl Actor for Party {
    type Args = Log;
    type Error = Infallible;

    async fn start(log: Log, cx: &mut Context<Self>) -> Result<Self, Infallible> {
        let name = cx.path().name().to_owned();
        log.add(format!("{name}: start {}", cx.incarnation()));
        Ok(Party { name, log })
    }

    async fn stop(&mut self, _: &mut Context<Self>) -> Result<(), Infallible> {
        self.log.add(format!("{}: stop", self.name));
        Ok(())
    }
}

type Doing<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

type Run = dyn for<'a> FnOnce(&'a mut Context<Party>) -> Doing<'a> + Send;

struct Go(Box<Run>);
impl Message for Go {
    type Reply = ();
}

fn go(f: impl for<'a> FnOnce(&'a mut Context<Party>) -> Doing<'a> + Send + 'static) -> Go {
    Go(Box::new(f))
}

/// Runs `f` in a handler.
fn now(f: impl FnOnce(&mut Context<Party>) + Send + 'static) -> Go {
    go(move |cx| {
        f(cx);
        Box::pin(async {})
    })
}

impl Handler<Go> for Party {
    async fn handle(&mut self, Go(f): Go, cx: &mut Context<Self>) -> Result<(), Infallible> {
        f(cx).await;
        Ok(())
    }
}

impl Handler<Say> for Party {
    async fn handle(&mut self, Say(text): Say, _: &mut Context<Self>) -> Result<(), Infallible> {
        self.log.add(format!("{}: {text}", self.name));
        Ok(())
    }
}

impl Handler<Happened> for Party {
    async fn handle(&mut self, _: Happened, _: &mut Context<Self>) -> Result<(), Infallible> {
        Ok(())
    }
}

impl Handler<Down> for Party {
    async fn handle(&mut self, down: Down, cx: &mut Context<Self>) -> Result<(), Infallible> {
        let Down { path, reason, .. } = &down;
        let reason = match reason {
            ExitReason::Failed(failure) => format!("failed: {}", failure.text()),
            reason => reason.to_string(),
        };
        let is_free = cx.system().find::<Party>(path.as_str()).is_err();
        let name = if is_free { "free" } else { "taken" };
        let heard = cx.publish(Happened(0)).delivered;
        let line = format!(
            "{path} {} {reason}; {name}, {heard} heard",
            down.incarnation
        );
        self.log.add(format!("{}: {line}", self.name));
        Ok(())
    }
}

struct Two {
    system: System,
    a: ActorRef<Party>,
    b: ActorRef<Party>,
    log: Log,
}

/// `app/a`, which is permanent, and `app/b`.
async fn two(b: Restart) -> Two {
    let log = Log::default();
    let tree = Supervisor::one_for_one("app")
        .restart_limit(10_000, SECOND)
        .backoff(Backoff::none())
        .child(Party::spec("a", log.clone()))
        .child(Party::spec("b", log.clone()).restart(b));
    let system = start(tree).await.unwrap();
    let a = system.find::<Party>("app/a").unwrap();
    let b = system.find::<Party>("app/b").unwrap();
    settle().await;
    log.clear();
    Two { system, a, b, log }
}

impl Two {
    async fn a_monitors_b(&self) {
        let b = self.b.clone();
        self.a
            .ask(now(move |cx| drop(cx.monitor(&b))))
            .await
            .unwrap();
    }

    async fn a_links_b(&self) {
        let b = self.b.clone();
        self.a.ask(now(move |cx| cx.link(&b))).await.unwrap();
    }

    async fn settled(&self) -> Vec<String> {
        settle().await;
        let ledger = self.system.ledger();
        assert!(ledger.is_balanced(), "{ledger}");
        self.log.take()
    }
}

fn boom() -> Go {
    now(|_| panic!("boom"))
}

// ===== monitors =====

#[tokio::test(start_paused = true)]
async fn m01_what_was_told_before_the_end_is_handled_before_the_news_of_it() {
    const ROUNDS: usize = 1000;
    let it = two(Restart::Permanent).await;
    let mut expected = Vec::new();
    for n in 1..=ROUNDS {
        it.a_monitors_b().await;
        let a = it.a.clone();
        let last = now(move |_| {
            for text in ["one", "two", "three"] {
                a.try_tell(Say(text)).unwrap();
            }
            panic!("boom");
        });
        it.b.tell(last).await.unwrap();
        settle().await;
        expected.extend(["a: one", "a: two", "a: three"].map(str::to_owned));
        expected.push(format!("a: app/b {n} failed: boom; taken, 0 heard"));
    }
    let mut log = it.settled().await;
    log.retain(|line| line.starts_with("a:"));
    assert_eq!(log.len(), expected.len());
    assert!(log == expected, "in another order than told");
}

#[tokio::test(start_paused = true)]
async fn m02_to_monitor_who_has_stopped_brings_one_news_at_once() {
    let it = two(Restart::Temporary).await;
    it.b.stop().await.unwrap();
    assert_eq!(it.settled().await, ["b: stop"]);
    it.a_monitors_b().await;
    let news = "a: app/b 1 was not running; free, 0 heard";
    assert_eq!(it.settled().await, [news]);
    tokio::time::sleep(100 * SECOND).await;
    assert!(it.settled().await.is_empty(), "it came twice");
}

#[tokio::test(start_paused = true)]
async fn m03_after_a_monitor_is_cancelled_no_news_of_it_comes() {
    // Before the end, and when the news is queued already.
    for is_queued in [false, true] {
        let it = two(Restart::Temporary).await;
        let (b, other) = (it.b.clone(), it.b.clone());
        let watch = go(move |cx| {
            Box::pin(async move {
                let monitor: Monitor = cx.monitor(&b);
                if is_queued {
                    b.tell(boom()).await.unwrap();
                    tokio::time::sleep(SECOND).await;
                    assert_eq!(cx.me().depth(), 1);
                }
                monitor.cancel();
                monitor.cancel();
            })
        });
        it.a.ask(watch).await.unwrap();
        if !is_queued {
            other.tell(boom()).await.unwrap();
        }
        settle().await;
        assert!(it.settled().await.is_empty());
        assert_eq!(it.system.ledger().dropped, u64::from(is_queued));
    }
}

#[tokio::test(start_paused = true)]
async fn m04_each_monitor_brings_one_news() {
    let it = two(Restart::Temporary).await;
    for _ in 0..7 {
        it.a_monitors_b().await;
    }
    it.b.tell(boom()).await.unwrap();
    let news = "a: app/b 1 failed: boom; free, 0 heard";
    assert_eq!(it.settled().await, [news; 7]);
    tokio::time::sleep(100 * SECOND).await;
    assert!(
        it.settled().await.is_empty(),
        "there are more than monitors"
    );
}

#[tokio::test(start_paused = true)]
async fn m04_a_monitor_ends_with_the_life_that_began_it() {
    let it = two(Restart::Temporary).await;
    it.a_monitors_b().await;
    it.a.tell(boom()).await.unwrap();
    assert_eq!(it.settled().await, ["a: start 2"]);
    it.b.tell(boom()).await.unwrap();
    assert!(it.settled().await.is_empty());
    assert_eq!(it.system.ledger().dropped, 0);
}

#[tokio::test(start_paused = true)]
async fn m04_the_news_waits_for_room_in_a_full_mailbox() {
    let script = Script::default();
    let tree = Supervisor::one_for_one("app")
        .child(Scripted::spec("watcher", script.clone()).mailbox(1))
        .child(Supervisor::dynamic("pool"));
    let system = start(tree).await.unwrap();
    let watcher = system.find::<Scripted>("app/watcher").unwrap();
    let pool = system.supervisor("app/pool").unwrap();
    let mut names = Vec::new();
    for n in 0..5 {
        let spec = Scripted::spec(format!("n{n}"), Script::default()).restart(Restart::Temporary);
        let it = pool.start_child(spec).await.unwrap();
        let other = it.clone();
        watcher
            .ask(with(move |cx| drop(cx.monitor(&other))))
            .await
            .unwrap();
        names.push(it);
    }
    script.log.clear();
    hold(&watcher, &script).await;
    watcher.tell(Say("queued")).await.unwrap();
    for it in &names {
        it.tell(Quit).await.unwrap();
        settle().await;
    }
    script.gate.add_permits(1);
    settle().await;
    let log = script.log.take();
    let told =
        (0..5).map(|n| format!("watcher: down app/pool/n{n} (incarnation 1) ended normally"));
    let expected: Vec<String> = ["watcher: hold", "watcher: queued"]
        .map(str::to_owned)
        .into_iter()
        .chain(told)
        .collect();
    assert_eq!(log, expected);
    assert!(system.ledger().is_balanced(), "{}", system.ledger());
}

#[tokio::test(start_paused = true)]
async fn m04_who_waits_for_its_restart_is_watched_from_then_on() {
    let script = Script::default();
    let wait = Backoff::exponential(10 * SECOND, 10 * SECOND).jitter(0.0);
    let tree = Supervisor::one_for_one("app")
        .restart_limit(100, SECOND)
        .backoff(wait)
        .child(Scripted::spec("watcher", script.clone()))
        .child(Scripted::spec("it", Script::default()));
    let system = start(tree).await.unwrap();
    let watcher = system.find::<Scripted>("app/watcher").unwrap();
    let it = system.find::<Scripted>("app/it").unwrap();
    let monitor = || {
        let it = it.clone();
        with(move |cx| drop(cx.monitor(&it)))
    };
    it.tell(Fail("one")).await.unwrap();
    it.tell(Fail("two")).await.unwrap();
    settle().await;
    script.log.clear();
    watcher.ask(monitor()).await.unwrap();
    tokio::time::sleep(SECOND).await;
    assert!(
        script.log.take().is_empty(),
        "it is told of a life that was over"
    );
    tokio::time::sleep(20 * SECOND).await;
    let news = "watcher: down app/it (incarnation 2) failed handling Fail: two";
    assert_eq!(script.log.take(), [news]);
}

#[tokio::test(start_paused = true)]
async fn m05_the_news_comes_when_the_name_is_free() {
    let it = two(Restart::Temporary).await;
    it.b.ask(now(|cx| cx.subscribe::<Happened>()))
        .await
        .unwrap();
    it.a_monitors_b().await;
    it.b.tell(boom()).await.unwrap();
    let news = "a: app/b 1 failed: boom; free, 0 heard";
    assert_eq!(it.settled().await, [news]);
}

#[tokio::test(start_paused = true)]
async fn m06_a_kill_ends_a_life_at_once_and_goes_on_to_the_linked_as_one() {
    let it = two(Restart::Temporary).await;
    it.a_monitors_b().await;
    let stuck = go(|_| Box::pin(std::future::pending()));
    it.b.tell(stuck).await.unwrap();
    it.b.tell(Say("never")).await.unwrap();
    it.a_links_b().await;
    settle().await;
    it.b.kill();
    let log = it.settled().await;
    // The link is told at once, the news is a message of the life that it ended.
    assert_eq!(log, ["a: start 2"]);
    assert!(it.system.find::<Party>("app/b").is_err());
    let letters: Vec<String> = it
        .system
        .dead_letters()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        letters[..2],
        [
            "Go to app/b (failed): was killed",
            "Say to app/b (stopped): left in the mailbox"
        ]
    );
    it.a.kill();
    assert_eq!(it.settled().await, ["a: start 3"]);
}

#[tokio::test(start_paused = true)]
async fn m06_who_was_linked_to_a_killed_one_was_killed() {
    let log = Log::default();
    let mut tree = Supervisor::one_for_one("app");
    for name in ["watcher", "a", "b", "c"] {
        tree = tree.child(Party::spec(name, log.clone()).restart(Restart::Temporary));
    }
    let system = start(tree).await.unwrap();
    let find = |name: &str| system.find::<Party>(&format!("app/{name}")).unwrap();
    let (watcher, a, b, c) = (find("watcher"), find("a"), find("b"), find("c"));
    for (one, other) in [(&a, &b), (&b, &c)] {
        let other = other.clone();
        one.ask(now(move |cx| cx.link(&other))).await.unwrap();
    }
    for it in [&a, &b, &c] {
        let it = it.clone();
        watcher
            .ask(now(move |cx| drop(cx.monitor(&it))))
            .await
            .unwrap();
    }
    settle().await;
    log.clear();
    c.kill();
    settle().await;
    let mut told = log.take();
    told.sort();
    let expected =
        ["a", "b", "c"].map(|name| format!("watcher: app/{name} 1 was killed; free, 0 heard"));
    assert_eq!(told, expected);
}

// ===== links =====

#[tokio::test(start_paused = true)]
async fn m07_to_link_to_who_has_stopped_is_a_failure() {
    let it = two(Restart::Temporary).await;
    it.b.stop().await.unwrap();
    it.a_links_b().await;
    assert_eq!(it.settled().await, ["b: stop", "a: start 2"]);
}

#[tokio::test(start_paused = true)]
async fn m07_a_link_taken_back_in_the_same_handler_does_nothing() {
    let it = two(Restart::Temporary).await;
    it.b.stop().await.unwrap();
    let b = it.b.clone();
    let both = now(move |cx| {
        cx.link(&b);
        cx.unlink(&b);
    });
    it.a.ask(both).await.unwrap();
    assert_eq!(it.settled().await, ["b: stop"]);
}

#[tokio::test(start_paused = true)]
async fn m08_no_end_of_another_comes_after_the_link_was_taken_back() {
    // By the one side and by the other, before the end and when it has come already.
    for (is_over, by_other) in [(false, false), (false, true), (true, false)] {
        let it = two(Restart::Temporary).await;
        it.a_links_b().await;
        let (b, a) = (it.b.clone(), it.a.clone());
        if by_other {
            it.b.ask(now(move |cx| cx.unlink(&a))).await.unwrap();
        } else {
            let unlinks = go(move |cx| {
                Box::pin(async move {
                    if is_over {
                        b.tell(boom()).await.unwrap();
                        tokio::time::sleep(SECOND).await;
                    }
                    cx.unlink(&b);
                })
            });
            it.a.ask(unlinks).await.unwrap();
        }
        if !is_over {
            it.b.tell(boom()).await.unwrap();
        }
        let log = it.settled().await;
        assert!(log.is_empty(), "{is_over} {by_other}: {log:?}");
    }
}

/// The link that is taken back stands in the place of the one whose end has come.
#[tokio::test(start_paused = true)]
async fn m08_an_end_that_has_come_is_taken_back_though_the_next_life_was_linked_since() {
    for by_other in [false, true] {
        let it = two(Restart::Permanent).await;
        it.a_links_b().await;
        let (a, b) = (it.a.clone(), it.b.clone());
        let unlinks = go(move |cx| {
            Box::pin(async move {
                b.tell(boom()).await.unwrap();
                tokio::time::sleep(SECOND).await;
                if by_other {
                    b.ask(now(move |cx| cx.link(&a))).await.unwrap();
                } else {
                    cx.link(&b);
                }
                cx.unlink(&b);
            })
        });
        it.a.ask(unlinks).await.unwrap();
        assert_eq!(it.settled().await, ["b: start 2"], "{by_other}");
    }
}

#[tokio::test(start_paused = true)]
async fn m09_links_made_and_taken_back_from_both_sides_at_once_lose_nothing() {
    let it = two(Restart::Permanent).await;
    for round in 0..200 {
        let (a, b) = (it.a.clone(), it.b.clone());
        let (to_b, to_a) = (it.b.clone(), it.a.clone());
        let by_a = a.ask(now(move |cx| {
            cx.link(&to_b);
            cx.unlink(&to_b);
            cx.link(&to_b);
        }));
        let by_b = b.ask(now(move |cx| {
            cx.link(&to_a);
            if round % 2 == 0 {
                cx.unlink(&to_a);
                cx.link(&to_a);
            }
        }));
        let (by_a, by_b) = tokio::join!(by_a, by_b);
        by_a.unwrap();
        by_b.unwrap();
        assert!(it.settled().await.is_empty());
        // Whatever the order was, there is one link now: one end, and one that goes with it.
        it.b.tell(boom()).await.unwrap();
        let mut log = it.settled().await;
        log.sort();
        let expected = ["a", "b"].map(|name| format!("{name}: start {}", round + 2));
        assert_eq!(log, expected, "round {round}");
    }
}

#[tokio::test(start_paused = true)]
async fn m10_a_normal_end_of_the_linked_is_ignored() {
    let it = two(Restart::Permanent).await;
    it.a_links_b().await;
    it.b.stop().await.unwrap();
    assert_eq!(it.settled().await, ["b: stop", "b: start 2"]);
    // And the link was with that life.
    it.b.tell(boom()).await.unwrap();
    assert_eq!(it.settled().await, ["b: start 3"]);
}

#[tokio::test(start_paused = true)]
async fn m10_a_failure_goes_to_the_other_side_with_its_cause() {
    let it = two(Restart::Permanent).await;
    it.a_links_b().await;
    it.a.tell(boom()).await.unwrap();
    let mut log = it.settled().await;
    log.sort();
    assert_eq!(log, ["a: start 2", "b: start 2"]);
    // With no restart left the failure comes to light.
    let script = Script::default();
    let tree = Supervisor::one_for_one("app")
        .restart_limit(0, SECOND)
        .child(Scripted::spec("a", script.clone()))
        .child(Scripted::spec("b", script).restart(Restart::Temporary));
    let system = start(tree).await.unwrap();
    let a = system.find::<Scripted>("app/a").unwrap();
    let b = system.find::<Scripted>("app/b").unwrap();
    let other = b.clone();
    a.ask(with(move |cx| cx.link(&other))).await.unwrap();
    b.tell(Fail("no luck")).await.unwrap();
    let escalated = system.stopped().await.unwrap_err();
    let failure = escalated.failure().unwrap();
    assert_eq!(failure.kind(), FailureKind::Error);
    assert_eq!(
        failure.to_string(),
        "app/a (incarnation 1) failed by a link: app/b (incarnation 1) failed handling Fail: no luck"
    );
}

#[tokio::test(start_paused = true)]
async fn m10_a_shutdown_of_the_linked_is_a_shutdown_in_order() {
    let log = Log::default();
    let mut tree = Supervisor::one_for_one("app");
    for name in ["watcher", "a", "b"] {
        tree = tree.child(Party::spec(name, log.clone()).restart(Restart::Transient));
    }
    let system = start(tree).await.unwrap();
    let find = |name: &str| system.find::<Party>(&format!("app/{name}")).unwrap();
    let (watcher, a, b) = (find("watcher"), find("a"), find("b"));
    let (to_a, to_b) = (a.clone(), b.clone());
    watcher
        .ask(now(move |cx| drop(cx.monitor(&to_a))))
        .await
        .unwrap();
    a.ask(now(move |cx| cx.link(&to_b))).await.unwrap();
    settle().await;
    log.clear();
    b.ask(now(|cx| cx.shutdown("unplugged"))).await.unwrap();
    settle().await;
    assert_eq!(
        log.take(),
        [
            "b: stop",
            "a: stop",
            "watcher: app/a 1 was shut down: unplugged; free, 0 heard"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn m11_name_and_subscriptions_are_released_before_anybody_hears_of_the_end() {
    // Of a linked one, which looks when it starts again.
    struct Linked(Log);
    impl Actor for Linked {
        type Args = (Log, ActorRef<Party>);
        type Error = Infallible;
        async fn start(
            (log, other): (Log, ActorRef<Party>),
            cx: &mut Context<Self>,
        ) -> Result<Self, Infallible> {
            if cx.incarnation() == 1 {
                cx.link(&other);
            } else {
                let is_free = cx.system().find::<Party>(other.path().as_str()).is_err();
                let heard = cx.publish(Happened(0)).delivered;
                log.add(format!("linked: {is_free} {heard}"));
            }
            Ok(Linked(log))
        }
    }
    impl Handler<Say> for Linked {
        async fn handle(
            &mut self,
            Say(text): Say,
            _: &mut Context<Self>,
        ) -> Result<(), Infallible> {
            self.0.add(text);
            Ok(())
        }
    }
    let it = two(Restart::Temporary).await;
    it.b.ask(now(|cx| cx.subscribe::<Happened>()))
        .await
        .unwrap();
    it.a_monitors_b().await;
    let tree =
        Supervisor::one_for_one("other").child(Linked::spec("it", (it.log.clone(), it.b.clone())));
    let other = start(tree).await.unwrap();
    it.b.tell(boom()).await.unwrap();
    let mut log = it.settled().await;
    log.sort();
    // Another system has names of its own; its events are not heard here.
    assert_eq!(
        log,
        ["a: app/b 1 failed: boom; free, 0 heard", "linked: true 0"]
    );
    other.stop().await;
}

#[tokio::test(start_paused = true)]
async fn g14_an_end_of_another_kind_is_told_to_who_waits_for_it() {
    let it = two(Restart::Temporary).await;
    let b = it.b.clone();
    let busy = go(|_| Box::pin(tokio::time::sleep(SECOND)));
    it.b.tell(busy).await.unwrap();
    settle().await;
    let stops = tokio::spawn(async move { b.stop().await });
    settle().await;
    it.b.kill();
    let error = stops.await.unwrap().unwrap_err();
    assert!(
        matches!(
            &error,
            StopError::Ended {
                reason: ExitReason::Killed,
                ..
            }
        ),
        "{error}"
    );
}

/// In OTP a supervisor is a process like others.
#[tokio::test(start_paused = true)]
async fn m04_the_end_of_a_supervisor_is_told_once_the_one_above_it_has_decided() {
    let log = Log::default();
    let below = Supervisor::one_for_one("below")
        .restart_limit(0, SECOND)
        .restart(Restart::Transient)
        .child(Scripted::spec("it", Script::default()));
    let again = Supervisor::one_for_one("again")
        .restart_limit(0, SECOND)
        .child(Scripted::spec("it", Script::default()));
    let tree = Supervisor::one_for_one("app")
        .restart_limit(10, SECOND)
        .backoff(Backoff::none())
        .child(Party::spec("a", log.clone()))
        .child(below)
        .child(again);
    let system = start(tree).await.unwrap();
    let a = system.find::<Party>("app/a").unwrap();
    let watch = |supervisor: &SupervisorRef| {
        let supervisor = supervisor.clone();
        now(move |cx| drop(cx.monitor_supervisor(&supervisor)))
    };
    let find = |path| system.supervisor(path).unwrap();
    let (app, below, again) = (find("app"), find("app/below"), find("app/again"));
    for supervisor in [&below, &again, &again] {
        a.ask(watch(supervisor)).await.unwrap();
    }
    log.clear();
    for path in ["app/below/it", "app/again/it"] {
        let it = system.find::<Scripted>(path).unwrap();
        it.tell(Fail("died")).await.unwrap();
        settle().await;
    }
    let gone = "app/below 1 was shut down; free, 0 heard";
    let back = "app/again 1 was shut down; free, 0 heard";
    assert_eq!(
        log.take(),
        [gone, back, back].map(|line| format!("a: {line}"))
    );
    // Who is down for good is told of at once, who was started again when that life ends, and who has been
    // left nobody hears of.
    a.ask(watch(&below)).await.unwrap();
    settle().await;
    assert_eq!(
        log.take(),
        ["a: app/below 1 was not running; free, 0 heard"]
    );
    app.restart_child("below").await.unwrap();
    for supervisor in [&below, &again] {
        a.ask(watch(supervisor)).await.unwrap();
    }
    let cancelled = again.clone();
    a.ask(now(move |cx| cx.monitor_supervisor(&cancelled).cancel()))
        .await
        .unwrap();
    app.stop_child("below").await.unwrap();
    app.stop_child("again").await.unwrap();
    settle().await;
    let ends =
        ["app/below", "app/again"].map(|path| format!("a: {path} 2 was shut down; free, 0 heard"));
    assert_eq!(log.take(), ends);
    system.stop().await;
    assert!(system.ledger().is_balanced());
}
