//! What goes on beside the handlers: timers, streams, background and blocking work.

use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use futures_core::Stream;
use greenroom::prelude::*;
use greenroom_it::*;

use super::start;

const SECOND: Duration = Duration::from_secs(1);

async fn one() -> (System, ActorRef<Scripted>, Script) {
    let script = Script::default();
    let system = start(lone(&script)).await.unwrap();
    let it = system.find::<Scripted>("app/it").unwrap();
    settle().await;
    script.log.clear();
    (system, it, script)
}

#[tokio::test(start_paused = true)]
async fn a_timer_fires_once_after_its_delay() {
    let (_system, it, script) = one().await;
    it.tell(with(|cx| {
        cx.after(SECOND, Say("ding"));
    }))
    .await
    .unwrap();
    tokio::time::sleep(SECOND - Duration::from_millis(5)).await;
    assert!(script.log.take().is_empty());
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(script.log.take(), ["it: ding"]);
}

#[tokio::test(start_paused = true)]
async fn an_interval_ticks_until_it_is_cancelled() {
    let (_system, it, script) = one().await;
    let (send, task) = tokio::sync::oneshot::channel();
    it.tell(with(move |cx| {
        let _ = send.send(cx.every(SECOND, Say("tick")));
    }))
    .await
    .unwrap();
    tokio::time::sleep(3 * SECOND + SECOND / 2).await;
    assert_eq!(script.log.take().len(), 3);
    task.await.unwrap().cancel();
    tokio::time::sleep(10 * SECOND).await;
    assert!(script.log.take().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_message_of_a_cancelled_timer_is_not_handled_even_if_it_was_queued() {
    let (system, it, script) = one().await;
    let (send, task) = tokio::sync::oneshot::channel();
    it.tell(with(move |cx| {
        let _ = send.send(cx.after(SECOND, Say("late")));
    }))
    .await
    .unwrap();
    it.tell(Hold).await.unwrap();
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(it.depth(), 1, "the timer fired while the handler was busy");
    task.await.unwrap().cancel();
    script.gate.add_permits(1);
    settle().await;
    assert_eq!(script.log.take(), ["it: hold"]);
    let ledger = system.ledger();
    assert_eq!(ledger.dropped, 1);
    assert!(ledger.is_balanced(), "{ledger}");
}

#[tokio::test(start_paused = true)]
async fn an_interval_does_not_pile_up_before_a_busy_actor() {
    let (_system, it, script) = one().await;
    it.tell(with(|cx| {
        cx.every(SECOND, Say("tick"));
    }))
    .await
    .unwrap();
    it.tell(Hold).await.unwrap();
    tokio::time::sleep(100 * SECOND).await;
    assert_eq!(it.depth(), 1);
    script.gate.add_permits(1);
    settle().await;
    assert_eq!(script.log.take(), ["it: hold", "it: tick"]);
}

#[tokio::test(start_paused = true)]
async fn timers_and_their_queued_messages_die_with_the_life() {
    let (system, it, script) = one().await;
    it.tell(with(|cx| {
        cx.after(SECOND, Say("queued"));
        cx.after(10 * SECOND, Say("not yet fired"));
        cx.background(async {
            tokio::time::sleep(10 * SECOND).await;
            Say("not yet done")
        });
    }))
    .await
    .unwrap();
    it.tell(Hold).await.unwrap();
    it.tell(Fail("bust")).await.unwrap();
    it.tell(Say("mine")).await.unwrap();
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(it.depth(), 3);
    script.gate.add_permits(1);
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(
        script.log.take(),
        ["it: hold", "it: fail", "it: start 2", "it: mine"]
    );
    let ledger = system.ledger();
    assert_eq!(ledger.dropped, 1);
    assert!(ledger.is_balanced(), "{ledger}");
}

/// Yields numbers as events.
struct Numbers(std::ops::Range<u32>);

impl Stream for Numbers {
    type Item = Happened;
    fn poll_next(mut self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<Option<Happened>> {
        Poll::Ready(self.0.next().map(Happened))
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_becomes_messages_in_order_and_waits_for_room() {
    let script = Script::default();
    let tree =
        Supervisor::one_for_one("app").child(Scripted::spec("it", script.clone()).mailbox(3));
    let system = start(tree).await.unwrap();
    let it = system.find::<Scripted>("app/it").unwrap();
    it.tell(with(|cx| {
        cx.attach(Numbers(0..20));
    }))
    .await
    .unwrap();
    it.tell(Hold).await.unwrap();
    settle().await;
    assert!(it.depth() <= 3);
    script.gate.add_permits(1);
    settle().await;
    let happened: Vec<String> = script
        .log
        .take()
        .into_iter()
        .filter(|l| l.contains("happened"))
        .collect();
    let expected: Vec<String> = (0..20).map(|n| format!("it: happened {n}")).collect();
    assert_eq!(happened, expected);
    assert_eq!(system.ledger().dropped, 0);
}

#[tokio::test(start_paused = true)]
async fn a_background_future_does_not_hold_up_the_actor() {
    let (_system, it, script) = one().await;
    it.tell(with(|cx| {
        cx.background(async {
            tokio::time::sleep(SECOND).await;
            Say("done")
        });
    }))
    .await
    .unwrap();
    it.tell(Say("meanwhile")).await.unwrap();
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(script.log.take(), ["it: meanwhile", "it: done"]);
}
