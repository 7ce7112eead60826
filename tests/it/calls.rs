//! Actors that ask each other, where one may answer on the stack of the other; and those that never rest.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context as Cx, Poll, Waker};

use greenroom::AskError;
use greenroom::prelude::*;
use greenroom_it::*;

use super::start;

/// Actors `app/0`, `app/1` and so on, all with one script.
async fn some(n: usize) -> (System, Vec<ActorRef<Scripted>>, Script) {
    let script = Script::default();
    let mut tree = Supervisor::one_for_one("app")
        .restart_limit(100, std::time::Duration::from_secs(60))
        .backoff(Backoff::none());
    for i in 0..n {
        let spec = Scripted::spec(i.to_string(), script.clone()).restart(Restart::Transient);
        tree = tree.child(spec);
    }
    let system = start(tree).await.unwrap();
    let find = |i: usize| system.find::<Scripted>(&format!("app/{i}")).unwrap();
    let all = (0..n).map(find).collect();
    script.log.clear();
    (system, all, script)
}

#[tokio::test]
async fn what_an_actor_asks_is_handled_after_what_it_told_before() {
    let (_system, all, script) = some(2).await;
    let callee = all[1].clone();
    let calls = awaiting(async move {
        for _ in 0..50 {
            callee.tell(Say("told")).await.unwrap();
            callee.ask(Say("asked")).await.unwrap();
        }
    });
    all[0].ask(calls).await.unwrap();
    let log = script.log.take();
    assert_eq!(log, ["1: told", "1: asked"].repeat(50));
}

#[tokio::test]
async fn calls_within_calls_go_as_deep_as_there_are_actors() {
    const DEPTH: usize = 200;
    let (system, all, _script) = some(DEPTH).await;
    let reached = Arc::new(AtomicUsize::new(0));
    fn call(all: Arc<[ActorRef<Scripted>]>, n: usize, reached: Arc<AtomicUsize>) -> Await {
        awaiting(async move {
            reached.fetch_add(1, Ordering::SeqCst);
            if let Some(next) = all.get(n + 1).cloned() {
                let inner = call(all, n + 1, reached);
                next.ask(inner).await.unwrap();
            }
        })
    }
    let call = call(all.clone().into(), 0, reached.clone());
    all[0].ask(call).await.unwrap();
    assert_eq!(reached.load(Ordering::SeqCst), DEPTH);
    assert_eq!(system.ledger().handled, DEPTH as u64);
}

#[tokio::test]
async fn a_callee_that_waits_lets_its_caller_wait_and_nobody_else() {
    let (_system, all, script) = some(3).await;
    let callee = all[1].clone();
    let mut calling = pin!(all[0].ask(awaiting(async move { callee.ask(Hold).await.unwrap() })));
    let mut cx = Cx::from_waker(Waker::noop());
    assert!(calling.as_mut().poll(&mut cx).is_pending());
    script.held.acquire().await.unwrap().forget();
    assert_eq!(all[2].ask(Echo(2)).await.unwrap(), 2);
    // One message at a time: while it waits in its handler it takes no other.
    let brief = std::time::Duration::from_millis(2);
    let error = all[1].ask(Echo(1)).within(brief).await.unwrap_err();
    assert!(matches!(error, AskError::Timeout { .. }), "{error}");
    assert!(calling.as_mut().poll(&mut cx).is_pending());
    script.gate.add_permits(1);
    calling.await.unwrap();
}

#[tokio::test]
async fn a_callee_that_panics_fails_its_caller_s_question_and_not_its_caller() {
    let (system, all, script) = some(2).await;
    let callee = all[1].clone();
    let calls = awaiting(async move {
        let error = callee.ask(Panic("boom")).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "app/1 failed on the message: it panicked: boom"
        );
        assert_eq!(callee.ask(Echo(1)).await.unwrap(), 1);
    });
    all[0].ask(calls).await.unwrap();
    assert_eq!(script.log.take(), ["1: panic", "1: start 2"]);
    let ledger = system.ledger();
    assert_eq!((ledger.handled, ledger.failed), (2, 1));
    assert!(ledger.is_balanced(), "{ledger}");
}

#[tokio::test]
async fn a_callee_that_stops_itself_has_answered_and_then_takes_no_more() {
    let (system, all, script) = some(2).await;
    let callee = all[1].clone();
    let calls = awaiting(async move {
        callee.ask(Quit).await.unwrap();
        assert!(callee.ask(Echo(1)).await.is_err());
    });
    all[0].ask(calls).await.unwrap();
    assert_eq!(script.log.take(), ["1: quit", "1: stop"]);
    assert!(system.ledger().is_balanced(), "{}", system.ledger());
}

#[tokio::test]
async fn who_asks_without_end_starves_nobody() {
    let (system, all, _script) = some(3).await;
    let over = Arc::new(AtomicBool::new(false));
    let (callee, is_over) = (all[1].clone(), over.clone());
    let mut calling = pin!(all[0].ask(awaiting(async move {
        while !is_over.load(Ordering::Relaxed) {
            callee.ask(Echo(1)).await.unwrap();
        }
    })));
    let mut cx = Cx::from_waker(Waker::noop());
    assert!(calling.as_mut().poll(&mut cx).is_pending());
    for n in 0..10 {
        let answer = all[2].ask(Echo(n)).await;
        if answer.is_err() {
            over.store(true, Ordering::Relaxed);
        }
        assert_eq!(answer.unwrap(), n, "its worker has no time for others");
    }
    over.store(true, Ordering::Relaxed);
    calling.await.unwrap();
    assert!(system.ledger().is_balanced(), "{}", system.ledger());
}

#[tokio::test]
async fn who_asks_a_thousand_times_in_one_poll_gets_every_answer() {
    let (system, all, _script) = some(2).await;
    let callee = all[1].clone();
    let calls = awaiting(async move {
        let ask = |n| (n, Box::pin(callee.ask(Echo(n))));
        let mut asks: Vec<_> = (0..1_000).map(ask).collect();
        std::future::poll_fn(|cx| {
            asks.retain_mut(|(n, ask)| match ask.as_mut().poll(cx) {
                Poll::Ready(answer) => {
                    assert_eq!(answer.unwrap(), *n);
                    false
                }
                Poll::Pending => true,
            });
            if asks.is_empty() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    });
    all[0].ask(calls).await.unwrap();
    assert!(system.ledger().is_balanced(), "{}", system.ledger());
}

#[tokio::test(start_paused = true)]
async fn the_limit_of_an_ask_that_is_queued_counts_from_its_first_poll() {
    let (_system, all, _script) = some(2).await;
    let (callee, second) = (all[1].clone(), std::time::Duration::from_secs(1));
    let calls = awaiting(async move {
        // It is busy, so the question is queued behind this.
        let hold = callee.ask(awaiting(tokio::time::sleep(10 * second)));
        let mut hold = pin!(hold);
        let mut ask = pin!(callee.ask(Echo(1)).within(second));
        {
            let mut cx = Cx::from_waker(Waker::noop());
            assert!(hold.as_mut().poll(&mut cx).is_pending());
            assert!(ask.as_mut().poll(&mut cx).is_pending());
        }
        tokio::time::sleep(second / 2).await;
        let began = tokio::time::Instant::now();
        let answer = ask.await;
        assert!(matches!(answer, Err(AskError::Timeout { waited, .. }) if waited == second));
        assert!(began.elapsed() < second * 9 / 10, "its clock began late");
    });
    all[0].ask(calls).within(20 * second).await.unwrap();
}

#[tokio::test]
async fn who_always_has_a_message_for_itself_starves_nobody_and_can_be_stopped() {
    struct Busy;
    #[derive(Debug)]
    struct Again;
    impl Message for Again {
        type Reply = ();
    }
    impl Actor for Busy {
        type Args = ();
        type Error = std::convert::Infallible;
        async fn start((): (), cx: &mut Context<Self>) -> Result<Self, Self::Error> {
            let _ = cx.me().try_tell(Again);
            Ok(Busy)
        }
    }
    impl Handler<Again> for Busy {
        async fn handle(&mut self, _: Again, cx: &mut Context<Self>) -> Result<(), Self::Error> {
            let _ = cx.me().try_tell(Again);
            Ok(())
        }
    }
    let script = Script::default();
    let tree = Supervisor::one_for_one("app")
        .child(Busy::spec("busy", ()))
        .child(Scripted::spec("it", script.clone()));
    let system = start(tree).await.unwrap();
    let it = system.find::<Scripted>("app/it").unwrap();
    for n in 0..100 {
        assert_eq!(it.ask(Echo(n)).await.unwrap(), n);
    }
    system.stop().await;
    assert!(system.ledger().is_balanced(), "{}", system.ledger());
}

#[tokio::test]
async fn the_end_of_a_life_overtakes_a_full_queue() {
    let script = Script::default();
    let spec = |name: &'static str| {
        let spec = Scripted::spec(name, script.clone()).mailbox(10);
        spec.restart(Restart::Temporary)
            .stop_within(std::time::Duration::ZERO)
    };
    let tree = Supervisor::one_for_one("app")
        .child(spec("quits"))
        .child(spec("killed"));
    let system = start(tree).await.unwrap();
    for name in ["app/quits", "app/killed"] {
        let it = system.find::<Scripted>(name).unwrap();
        hold(&it, &script).await;
        if name == "app/quits" {
            it.try_tell(Quit).unwrap();
        }
        while it.try_tell(Say("never")).is_ok() {}
        if name == "app/quits" {
            script.gate.add_permits(1);
            until(|| system.find::<Scripted>(name).is_err()).await;
        }
    }
    system.stop().await;
    assert_eq!(
        script.log.take()[2..],
        ["quits: hold", "quits: quit", "quits: stop", "killed: hold"]
    );
    let ledger = system.ledger();
    assert_eq!((ledger.failed, ledger.dropped), (1, 19), "{ledger}");
    assert!(ledger.is_balanced(), "{ledger}");
}

#[tokio::test]
async fn a_panic_behind_the_end_of_a_message_does_not_keep_the_next() {
    struct Broken;
    impl std::task::Wake for Broken {
        fn wake(self: Arc<Self>) {
            panic!("an executor that cannot be woken");
        }
    }
    let (system, all, _script) = some(1).await;
    let waker = Waker::from(Arc::new(Broken));
    for n in 0..3 {
        {
            let mut asked = pin!(all[0].ask(Echo(n)));
            // The actor is at another place than this test, or the answer would be there at once.
            let _ = asked.as_mut().poll(&mut Cx::from_waker(&waker));
            assert_eq!(all[0].ask(Echo(7)).await.unwrap(), 7);
        }
    }
    let ledger = system.ledger();
    assert_eq!((ledger.handled, ledger.failed), (6, 0));
}
