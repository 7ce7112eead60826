//! Telling and asking: order, room, and messages given back; in any time.

use std::time::Duration;

use greenroom::prelude::*;
use greenroom::{AskError, TryTellError};
use greenroom_it::*;

use super::start;

const SECOND: Duration = Duration::from_secs(1);

async fn one(capacity: usize) -> (System, ActorRef<Scripted>, Script) {
    let script = Script::default();
    let tree = Supervisor::one_for_one("app")
        .child(Scripted::spec("it", script.clone()).mailbox(capacity));
    let system = start(tree).await.unwrap();
    let it = system.find::<Scripted>("app/it").unwrap();
    (system, it, script)
}

#[tokio::test]
async fn messages_of_one_sender_are_handled_in_order() {
    let (_system, it, script) = one(2).await;
    for text in ["a", "b", "c", "d", "e"] {
        it.tell(Say(text)).await.unwrap();
    }
    caught_up(&it).await;
    assert_eq!(
        script.log.take(),
        ["it: start 1", "it: a", "it: b", "it: c", "it: d", "it: e"]
    );
}

#[tokio::test]
async fn a_full_mailbox_gives_the_message_back() {
    let (system, it, script) = one(2).await;
    hold(&it, &script).await;
    it.try_tell(Say("a")).unwrap();
    it.try_tell(Say("b")).unwrap();
    let error = it.try_tell(Say("c")).unwrap_err();
    assert!(matches!(&error, TryTellError::Full { path, .. } if path.as_str() == "app/it"));
    assert_eq!(
        error.to_string(),
        "the mailbox of app/it is full; wait for room with `tell` if its spec lets senders wait, or send less"
    );
    assert_eq!(error.into_message(), Say("c"));
    script.gate.add_permits(1);
    caught_up(&it).await;
    let ledger = system.ledger();
    assert!(ledger.is_balanced(), "{ledger}");
    assert_eq!((ledger.sent, ledger.handled, ledger.rejected), (5, 4, 1));
}

#[tokio::test]
async fn tell_waits_for_room_and_nobody_overtakes_who_waits() {
    let (system, it, script) = one(1).await;
    hold(&it, &script).await;
    it.try_tell(Say("first")).unwrap();
    {
        let waiting = it.tell(Say("second"));
        tokio::pin!(waiting);
        assert!(futures_poll(waiting.as_mut()).await.is_none());
        let mailbox = system.snapshot()[1].mailbox.clone().unwrap();
        assert_eq!(mailbox.waiting_senders, 1);
        script.gate.add_permits(1);
        waiting.await.unwrap();
    }
    caught_up(&it).await;
    assert_eq!(
        script.log.take(),
        ["it: start 1", "it: hold", "it: first", "it: second"]
    );

    // While somebody waits, a free place is theirs.
    hold(&it, &script).await;
    it.try_tell(Say("a")).unwrap();
    let waiting = it.tell(Say("b")).within(SECOND);
    tokio::pin!(waiting);
    assert!(futures_poll(waiting.as_mut()).await.is_none());
    assert!(matches!(
        it.try_tell(Say("c")),
        Err(TryTellError::Full { .. })
    ));
    script.gate.add_permits(1);
    waiting.await.unwrap();
}

/// Polls a future once.
async fn futures_poll<F: Future>(mut future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    std::future::poll_fn(|cx| {
        std::task::Poll::Ready(match future.as_mut().poll(cx) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

#[tokio::test]
async fn a_tell_that_is_dropped_while_it_waits_takes_its_message_back() {
    let (system, it, script) = one(1).await;
    hold(&it, &script).await;
    it.try_tell(Say("a")).unwrap();
    {
        let given_up = it.tell(Say("never"));
        tokio::pin!(given_up);
        assert!(futures_poll(given_up.as_mut()).await.is_none());
    }
    script.gate.add_permits(1);
    caught_up(&it).await;
    assert_eq!(script.log.take(), ["it: start 1", "it: hold", "it: a"]);
    let ledger = system.ledger();
    assert_eq!((ledger.sent, ledger.handled, ledger.rejected), (4, 3, 1));
    assert!(ledger.is_balanced(), "{ledger}");
}

#[tokio::test]
async fn nothing_is_sent_by_a_tell_that_is_not_awaited() {
    let (system, it, _script) = one(1).await;
    drop(it.tell(Say("never")));
    drop(it.ask(Echo(1)));
    assert_eq!(system.ledger().sent, 0);
}

#[tokio::test]
async fn an_ask_brings_the_reply() {
    let (_system, it, _script) = one(1).await;
    assert_eq!(it.ask(Echo(7)).await.unwrap(), 7);
    assert_eq!(
        it.recipient::<Echo>()
            .ask(Echo(8))
            .within(SECOND)
            .await
            .unwrap(),
        8
    );
}

#[tokio::test]
async fn an_ask_that_finds_no_room_gives_the_message_back() {
    let (_system, it, script) = one(1).await;
    hold(&it, &script).await;
    it.try_tell(Say("a")).unwrap();
    let brief = Duration::from_millis(5);
    let error = it.ask(Echo(9)).within(brief).await.unwrap_err();
    assert!(matches!(error, AskError::NoRoom { .. }));
    assert_eq!(error.into_message(), Some(Echo(9)));
}
