//! Races and corners: what a hunt for defects found.

use std::convert::Infallible;
use std::pin::pin;
use std::task::{Context as Cx, Waker};
use std::time::Duration;

use greenroom::StartChildError;
use greenroom::prelude::*;
use greenroom_it::*;
use tracing::{Metadata, Subscriber, span};

use super::start;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_start_that_is_dropped_at_once_leaves_nothing_running() {
    let script = Script::default();
    {
        let mut starting = pin!(start(lone(&script)));
        let mut cx = Cx::from_waker(Waker::noop());
        assert!(starting.as_mut().poll(&mut cx).is_pending());
    }
    tokio::time::sleep(60 * SECOND).await;
    let log = script.log.take();
    let stopped = log.is_empty() || log.last().unwrap() == "it: stop";
    assert!(stopped, "it runs on, and nobody can stop it: {log:?}");
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_stops_itself_in_its_start_ends() {
    struct OneShot;
    impl Actor for OneShot {
        type Args = ();
        type Error = Infallible;
        async fn start((): (), cx: &mut Context<Self>) -> Result<Self, Infallible> {
            cx.stop();
            Ok(OneShot)
        }
    }
    let tree =
        Supervisor::one_for_one("app").child(OneShot::spec("it", ()).restart(Restart::Temporary));
    let system = start(tree).await.unwrap();
    settle().await;
    assert!(
        system.find::<OneShot>("app/it").is_err(),
        "it is still there"
    );
}

#[tokio::test(start_paused = true)]
async fn a_patient_publisher_waits_for_all_subscribers_at_once() {
    let stuck = Script::default();
    let busy = Script::default();
    let tree = Supervisor::one_for_one("app")
        .child(Scripted::spec("stuck", stuck.clone()).mailbox(1))
        .child(Scripted::spec("busy", busy.clone()).mailbox(1));
    let system = start(tree).await.unwrap();
    for name in ["app/stuck", "app/busy"] {
        let it = system.find::<Scripted>(name).unwrap();
        it.tell(with(|cx| cx.subscribe::<Happened>()))
            .await
            .unwrap();
        settle().await;
    }
    let it = system.find::<Scripted>("app/stuck").unwrap();
    it.tell(Hold).await.unwrap();
    settle().await;
    it.tell(Say("fills it")).await.unwrap();
    // Three senders keep the busy one busy: whoever stands in line gets in within 40 ms.
    for _ in 0..3 {
        let it = system.find::<Scripted>("app/busy").unwrap();
        tokio::spawn(
            async move { while it.tell(Slow(Duration::from_millis(10))).await.is_ok() {} },
        );
    }
    settle().await;
    let delivery = system.publish_within(Happened(7), SECOND).await;
    assert_eq!(
        (delivery.delivered, delivery.dropped),
        (1, 1),
        "the busy one had room within 40 ms for whoever waited"
    );
}

#[tokio::test(start_paused = true)]
async fn an_escalation_does_not_blame_an_older_failure() {
    let script = Script::default();
    let tree = Supervisor::one_for_one("app")
        .restart_limit(1, 1000 * SECOND)
        .child(Scripted::spec("a", script.clone()))
        .child(Scripted::spec("b", script.clone()));
    let system = start(tree).await.unwrap();
    let a = system.find::<Scripted>("app/a").unwrap();
    let b = system.find::<Scripted>("app/b").unwrap();
    a.tell(Fail("long ago")).await.unwrap();
    settle().await;
    b.tell(Quit).await.unwrap();
    let escalated = system.stopped().await.unwrap_err();
    assert!(
        escalated.failure().is_none(),
        "b quit: {:?}",
        escalated.failure()
    );
}

#[tokio::test(start_paused = true)]
async fn a_failure_does_not_show_the_place_of_another_panic() {
    let script = Script::default();
    let system = start(lone(&script)).await.unwrap();
    let it = system.find::<Scripted>("app/it").unwrap();
    let line = line!() + 2;
    it.tell(with(|_| {
        let _ = std::panic::catch_unwind(|| panic!("caught by its author"));
    }))
    .await
    .unwrap();
    it.tell(with(|_| std::panic::resume_unwind(Box::new("another"))))
        .await
        .unwrap();
    let quits = it.tell(Panic("x"));
    quits.await.unwrap();
    settle().await;
    let tree = Supervisor::one_for_one("top")
        .restart_limit(0, SECOND)
        .child(Scripted::spec("it", script.clone()));
    let second = start(tree).await.unwrap();
    let it = second.find::<Scripted>("top/it").unwrap();
    it.tell(with(|_| {
        let _ = std::panic::catch_unwind(|| panic!("caught by its author"));
    }))
    .await
    .unwrap();
    it.tell(with(|_| std::panic::resume_unwind(Box::new("another"))))
        .await
        .unwrap();
    let escalated = second.stopped().await.unwrap_err();
    let failure = escalated.failure().unwrap();
    assert_eq!(failure.text(), "another");
    assert!(
        failure.location().is_none(),
        "shows {:?} (cf. line {line})",
        failure.location()
    );
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_asks_for_a_child_while_its_group_restarts_is_not_cut_off() {
    struct Asker;
    #[derive(Debug)]
    struct Spawn(Duration);
    impl Message for Spawn {
        type Reply = ();
    }
    impl Actor for Asker {
        type Args = Script;
        type Error = Infallible;
        async fn start(_: Script, _: &mut Context<Self>) -> Result<Self, Infallible> {
            Ok(Asker)
        }
    }
    impl Handler<Spawn> for Asker {
        async fn handle(
            &mut self,
            Spawn(after): Spawn,
            cx: &mut Context<Self>,
        ) -> Result<(), Infallible> {
            tokio::time::sleep(after).await;
            let me = cx.system().supervisor("app").unwrap();
            let _ = me
                .start_child(Scripted::spec("new", Script::default()))
                .await;
            Ok(())
        }
    }
    let script = Script::default();
    let tree = Supervisor::one_for_all("app")
        .restart_limit(100, SECOND)
        .backoff(Backoff::none())
        .child(Asker::spec("asker", script.clone()))
        .child(Scripted::spec("it", script.clone()));
    let system = start(tree).await.unwrap();
    let asker = system.find::<Asker>("app/asker").unwrap();
    let it = system.find::<Scripted>("app/it").unwrap();
    asker.tell(Spawn(Duration::from_millis(10))).await.unwrap();
    settle().await;
    let before = tokio::time::Instant::now();
    it.tell(Fail("x")).await.unwrap();
    it.ask(Echo(1)).within(20 * SECOND).await.unwrap();
    let took = before.elapsed();
    let ledger = system.ledger();
    assert_eq!(
        ledger.failed, 1,
        "the asker's message was cut off too: {ledger}, {took:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_child_that_has_itself_stopped_is_told_that_it_would_wait_for_itself() {
    struct Selfish;
    #[derive(Debug)]
    struct Go;
    impl Message for Go {
        type Reply = ();
    }
    impl Actor for Selfish {
        type Args = ();
        type Error = Infallible;
        async fn start((): (), _: &mut Context<Self>) -> Result<Self, Infallible> {
            Ok(Selfish)
        }
    }
    impl Handler<Go> for Selfish {
        async fn handle(&mut self, _: Go, cx: &mut Context<Self>) -> Result<(), Infallible> {
            let app = cx.system().supervisor("app").unwrap();
            let error = app.stop_child("it").await.unwrap_err();
            assert!(
                matches!(error, greenroom::StopChildError::WouldDeadlock(_)),
                "{error}"
            );
            Ok(())
        }
    }
    let system = start(Supervisor::one_for_one("app").child(Selfish::spec("it", ())))
        .await
        .unwrap();
    let it = system.find::<Selfish>("app/it").unwrap();
    it.tell(Go).await.unwrap();
    tokio::time::sleep(60 * SECOND).await;
    let ledger = system.ledger();
    assert_eq!((ledger.handled, ledger.failed), (1, 0), "{ledger}");
}

/// Asks its supervisor for another child in its start, after a while.
struct Begetter;

impl Actor for Begetter {
    type Args = ();
    type Error = BoxError;
    async fn start((): (), cx: &mut Context<Self>) -> Result<Self, BoxError> {
        tokio::time::sleep(SECOND / 10).await;
        let app = cx.system().supervisor("app")?;
        app.start_child(Scripted::spec("new", Script::default()))
            .await?;
        Ok(Begetter)
    }
}

#[tokio::test(start_paused = true)]
async fn a_child_that_asks_for_another_in_its_start_is_told_at_once_though_its_supervisor_is_busy()
{
    let script = Script {
        stop_takes: SECOND,
        ..Script::default()
    };
    let system = start(lone(&script)).await.unwrap();
    let app = system.supervisor("app").unwrap();
    let before = tokio::time::Instant::now();
    // The stop is on its way when the child is started on the spot, and takes longer than the child takes to ask.
    let (stopped, begun) = tokio::join!(
        app.stop_child("it"),
        app.start_child(Begetter::spec("begetter", ()))
    );
    stopped.unwrap();
    let error = begun.unwrap_err().to_string();
    assert!(
        error.contains("ask again in a message of its own"),
        "{error}"
    );
    assert!(before.elapsed() < 2 * SECOND, "{:?}", before.elapsed());
    system.stop().await;
}

/// Is up when the test says so.
struct Late(Script);

impl Actor for Late {
    type Args = Script;
    type Error = BoxError;
    async fn start(script: Script, cx: &mut Context<Self>) -> Result<Self, BoxError> {
        for text in ["one", "two"] {
            cx.me().try_tell(Say(text))?;
        }
        script.gate.acquire().await?.forget();
        Ok(Late(script))
    }
}

impl Handler<Say> for Late {
    async fn handle(&mut self, Say(text): Say, _: &mut Context<Self>) -> Result<(), BoxError> {
        tokio::time::sleep(SECOND).await;
        self.0.log.add(text);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_child_that_came_up_when_the_stop_was_ordered_handles_what_it_has() {
    for is_ordered in [true, false] {
        let script = Script::default();
        let mut tree = Supervisor::one_for_one("app");
        if !is_ordered {
            tree = tree.child(Scripted::spec("it", Script::default()));
        }
        let system = start(tree).await.unwrap();
        let app = system.supervisor("app").unwrap();
        if !is_ordered {
            // So that the supervisor is busy, and starts it itself.
            let it = system.find::<Scripted>("app/it").unwrap();
            it.try_tell(Fail("once")).unwrap();
        }
        let (late, system) = (Late::spec("late", script.clone()), &system);
        let stop = async {
            settle().await;
            script.gate.add_permits(1);
            system.stop().await;
        };
        let (begun, ()) = tokio::join!(app.start_child(late), stop);
        assert_eq!(script.log.take(), ["one", "two"], "{begun:?}");
        assert!(system.ledger().is_balanced());
    }
}

/// A log that panics at each record of the runtime.
struct Broken;

impl Subscriber for Broken {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("greenroom")
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        panic!("the log is broken");
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[tokio::test(start_paused = true)]
async fn a_log_that_panics_ends_nobody() {
    let _broken = tracing::subscriber::set_default(Broken);
    let script = Script::default();
    let retried = Scripted::spec("retried", script.clone()).retry::<Fail>(2);
    let tree = lone(&script).child(retried);
    let system = start(tree).await.unwrap();
    let app = system.supervisor("app").unwrap();
    let it = system.find::<Scripted>("app/it").unwrap();
    for text in ["once", "twice"] {
        it.tell(Fail(text)).await.unwrap();
        it.ask(Echo(1)).await.unwrap();
    }
    let retried = system.find::<Scripted>("app/retried").unwrap();
    retried.tell(Fail("again")).await.unwrap();
    retried.ask(Echo(1)).await.unwrap();
    let new = Scripted::spec("new", script.clone());
    let new = app.start_child(new).await.unwrap();
    new.pause();
    new.tell(Say("left")).await.unwrap();
    new.kill();
    app.stop_child("it").await.unwrap();
    app.restart_child("it").await.unwrap();
    it.ask(Echo(1)).await.unwrap();
    settle().await;
    assert_eq!(app.count_children().unwrap().active, 3);
    system.stop().await;
    assert!(system.ledger().is_balanced(), "{}", system.ledger());
}

#[tokio::test(start_paused = true)]
async fn a_start_that_has_itself_killed_is_said_to_have_failed() {
    struct Selfless;
    impl Actor for Selfless {
        type Args = ();
        type Error = Infallible;
        async fn start((): (), cx: &mut Context<Self>) -> Result<Self, Infallible> {
            cx.me().kill();
            Ok(Selfless)
        }
    }
    let script = Script {
        stop_takes: SECOND,
        ..Script::default()
    };
    let system = start(lone(&script)).await.unwrap();
    let app = system.supervisor("app").unwrap();
    // Started on the spot, and by the supervisor, which is busy with another order.
    for is_busy in [false, true] {
        let stop = async {
            if is_busy {
                app.stop_child("it").await.unwrap();
            }
        };
        let begin = async {
            if is_busy {
                settle().await;
            }
            app.start_child(Selfless::spec("selfless", ())).await
        };
        let ((), begun) = tokio::join!(stop, begin);
        let error = begun.unwrap_err();
        assert!(matches!(error, StartChildError::Failed(_)), "{error}");
        assert!(app.child("selfless").is_err(), "it is forgotten");
    }
    system.stop().await;
}
