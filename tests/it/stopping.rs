//! The end: drained mailboxes, reverse order, deadlines, and what cannot be stopped.

use std::time::Duration;

use greenroom::prelude::*;
use greenroom_it::*;

use super::start;

#[tokio::test(start_paused = true)]
async fn children_stop_in_reverse_order_each_with_its_mailbox_drained() {
    let script = Script::default();
    let tree = Supervisor::one_for_one("app")
        .child(Scripted::spec("a", script.clone()))
        .child(
            Supervisor::one_for_one("in")
                .child(Scripted::spec("b", script.clone()))
                .child(Scripted::spec("c", script.clone())),
        )
        .child(Scripted::spec("d", script.clone()));
    let system = start(tree).await.unwrap();
    script.log.clear();
    for name in ["app/a", "app/in/b", "app/in/c", "app/d"] {
        let it = system.find::<Scripted>(name).unwrap();
        it.tell(Slow(Duration::from_millis(50))).await.unwrap();
        it.tell(Say("last")).await.unwrap();
    }
    system.stop().await;
    let log = script.log.take();
    let stops: Vec<&str> = log
        .iter()
        .filter(|l| l.ends_with("stop"))
        .map(String::as_str)
        .collect();
    assert_eq!(stops, ["d: stop", "c: stop", "b: stop", "a: stop"]);
    assert_eq!(log.iter().filter(|l| l.ends_with("last")).count(), 4);
    let ledger = system.ledger();
    assert_eq!((ledger.sent, ledger.handled), (8, 8));
    assert!(system.stopped().await.is_ok());
    assert!(system.snapshot().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_stop_goes_past_a_full_mailbox() {
    let script = Script::default();
    let tree =
        Supervisor::one_for_one("app").child(Scripted::spec("it", script.clone()).mailbox(1));
    let system = start(tree).await.unwrap();
    let it = system.find::<Scripted>("app/it").unwrap();
    it.tell(Slow(Duration::from_millis(10))).await.unwrap();
    it.tell(Say("queued")).await.unwrap();
    let waiting = {
        let it = it.clone();
        tokio::spawn(async move { it.tell(Say("too late")).await })
    };
    tokio::task::yield_now().await;
    system.stop().await;
    assert!(
        waiting.await.unwrap().is_err(),
        "a sender in line gets its message back"
    );
    assert_eq!(
        script.log.take(),
        ["it: start 1", "it: slow", "it: queued", "it: stop"]
    );
    assert!(system.ledger().is_balanced(), "{}", system.ledger());
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_does_not_stop_in_time_is_cut_off_and_its_queue_kept_as_dead_letters() {
    let script = Script::default();
    let tree = Supervisor::one_for_one("app")
        .child(Scripted::spec("it", script.clone()).stop_within(Duration::from_secs(2)));
    let system = start(tree).await.unwrap();
    let it = system.find::<Scripted>("app/it").unwrap();
    it.tell(Hold).await.unwrap();
    it.tell(Say("left")).await.unwrap();
    settle().await;
    let before = tokio::time::Instant::now();
    system.stop().await;
    assert_eq!(before.elapsed(), Duration::from_secs(2));
    let letters: Vec<String> = system
        .dead_letters()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        letters,
        [
            "Hold to app/it (failed): did not stop within its deadline",
            "Say to app/it (stopped): left in the mailbox"
        ]
    );
    let ledger = system.ledger();
    assert_eq!((ledger.sent, ledger.failed, ledger.dropped), (2, 1, 1));
    assert!(ledger.is_balanced(), "{ledger}");
}

#[tokio::test(start_paused = true)]
async fn dynamic_children_stop_together() {
    let script = Script {
        stop_takes: Duration::from_secs(1),
        ..Script::default()
    };
    let system = start(Supervisor::one_for_one("app").child(Supervisor::dynamic("pool")))
        .await
        .unwrap();
    let pool = system.supervisor("app/pool").unwrap();
    for n in 0..50 {
        pool.start_child(Scripted::spec(format!("n{n}"), script.clone()))
            .await
            .unwrap();
    }
    let before = tokio::time::Instant::now();
    system.stop().await;
    assert_eq!(before.elapsed(), Duration::from_secs(1));
    assert_eq!(
        script
            .log
            .take()
            .iter()
            .filter(|l| l.ends_with("stop"))
            .count(),
        50
    );
}

#[tokio::test(start_paused = true)]
async fn a_start_that_hangs_does_not_keep_the_system_from_stopping() {
    struct Hangs;
    impl Actor for Hangs {
        type Args = std::sync::Arc<tokio::sync::Notify>;
        type Error = std::convert::Infallible;
        async fn start(reached: Self::Args, _: &mut Context<Self>) -> Result<Self, Self::Error> {
            reached.notify_one();
            std::future::pending().await
        }
    }
    let reached = std::sync::Arc::new(tokio::sync::Notify::new());
    let tree = Supervisor::one_for_one("app")
        .child(Supervisor::one_for_one("in").child(Hangs::spec("it", reached.clone())));
    let starting = tokio::spawn(start(tree));
    reached.notified().await;
    starting.abort();
    settle().await;
    assert!(starting.await.unwrap_err().is_cancelled());
    let tree = Supervisor::one_for_one("app").child(Supervisor::dynamic("pool"));
    let system = start(tree).await.unwrap();
    let pool = system.supervisor("app/pool").unwrap();
    let child = tokio::spawn({
        let (pool, reached) = (pool.clone(), reached.clone());
        async move {
            pool.start_child(Hangs::spec("it", reached))
                .await
                .map(|_| ())
        }
    });
    reached.notified().await;
    system.stop().await;
    assert!(child.await.unwrap().is_err());
}

/// A message that panics when it is dropped.
#[derive(Clone, Debug)]
struct Bomb;

impl Message for Bomb {
    type Reply = ();
}

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

struct Sleepy;

impl Actor for Sleepy {
    type Args = ();
    type Error = std::convert::Infallible;
    async fn start((): (), _: &mut Context<Self>) -> Result<Self, Self::Error> {
        Ok(Sleepy)
    }
}

impl Handler<Bomb> for Sleepy {
    async fn handle(&mut self, bomb: Bomb, _: &mut Context<Self>) -> Result<(), Self::Error> {
        std::mem::forget(bomb);
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_panics_when_it_is_dropped_harms_nobody() {
    let sleepy = Sleepy::spec("it", ()).stop_within(Duration::from_secs(1));
    let tree = Supervisor::one_for_one("app").child(Supervisor::one_for_one("in").child(sleepy));
    let system = start(tree).await.unwrap();
    let it = system.find::<Sleepy>("app/in/it").unwrap();
    for _ in 0..3 {
        it.try_tell(Bomb).unwrap();
    }
    settle().await;
    system.stop().await;
    assert!(system.stopped().await.is_ok());
    let ledger = system.ledger();
    assert_eq!((ledger.failed, ledger.dropped), (1, 2));
    assert!(ledger.is_balanced(), "{ledger}");
}

#[tokio::test(start_paused = true)]
async fn the_longest_durations_are_taken_as_for_ever() {
    let script = Script::default();
    let spec = Scripted::spec("it", script.clone())
        .stop_within(Duration::MAX)
        .start_within(Duration::MAX);
    let tree = Supervisor::one_for_one("app")
        .backoff(Backoff::exponential(Duration::MAX, Duration::MAX))
        .child(Supervisor::one_for_one("in").child(spec))
        .child(Scripted::spec("down", script.clone()));
    let system = start(tree).await.unwrap();
    let it = system.find::<Scripted>("app/in/it").unwrap();
    it.ask(with(|cx| {
        cx.every(Duration::MAX, Say("never"));
        cx.after(Duration::MAX, Say("never"));
        cx.subscribe::<Happened>();
    }))
    .await
    .unwrap();
    assert_eq!(
        system
            .publish_within(Happened(1), Duration::MAX)
            .await
            .delivered,
        1
    );
    it.ask(Echo(1)).within(Duration::MAX).await.unwrap();
    system
        .find::<Scripted>("app/down")
        .unwrap()
        .tell(Fail("for ever"))
        .await
        .unwrap();
    settle().await;
    assert_eq!(
        system.ready().unwrap_err().to_string(),
        "app/down is restarting"
    );
    system.stop().await;
    assert!(system.stopped().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_actor_may_ask_for_the_end_of_the_system() {
    let script = Script::default();
    let system = start(lone(&script)).await.unwrap();
    let before = tokio::time::Instant::now();
    system
        .find::<Scripted>("app/it")
        .unwrap()
        .tell(with(|cx| cx.system().request_stop()))
        .await
        .unwrap();
    system.stopped().await.unwrap();
    assert_eq!(before.elapsed(), Duration::ZERO);
    assert_eq!(script.log.take(), ["it: start 1", "it: stop"]);
}
