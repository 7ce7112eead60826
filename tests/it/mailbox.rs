//! Telling and asking: order, room, time limits, and messages given back.

use std::time::Duration;

use greenroom::prelude::*;
use greenroom::{AskError, TellError, TryTellError};
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

#[tokio::test(start_paused = true)]
async fn messages_of_one_sender_are_handled_in_order() {
    let (_system, it, script) = one(2).await;
    for text in ["a", "b", "c", "d", "e"] {
        it.tell(Say(text)).await.unwrap();
    }
    settle().await;
    assert_eq!(
        script.log.take(),
        ["it: start 1", "it: a", "it: b", "it: c", "it: d", "it: e"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_full_mailbox_gives_the_message_back() {
    let (system, it, script) = one(2).await;
    it.tell(Hold).await.unwrap();
    settle().await;
    it.try_tell(Say("a")).unwrap();
    it.try_tell(Say("b")).unwrap();
    let error = it.try_tell(Say("c")).unwrap_err();
    assert!(matches!(&error, TryTellError::Full { path, .. } if path.as_str() == "app/it"));
    assert_eq!(
        error.to_string(),
        "the mailbox of app/it is full; wait for room with `tell`, or send less"
    );
    assert_eq!(error.into_message(), Say("c"));
    script.gate.add_permits(1);
    settle().await;
    let ledger = system.ledger();
    assert!(ledger.is_balanced(), "{ledger}");
    assert_eq!((ledger.sent, ledger.handled, ledger.rejected), (4, 3, 1));
}

#[tokio::test(start_paused = true)]
async fn tell_waits_for_room_and_nobody_overtakes_who_waits() {
    let (system, it, script) = one(1).await;
    it.tell(Hold).await.unwrap();
    settle().await;
    it.try_tell(Say("first")).unwrap();
    let waiting = {
        let it = it.clone();
        tokio::spawn(async move { it.tell(Say("second")).await })
    };
    settle().await;
    assert!(!waiting.is_finished());
    assert_eq!(
        system.snapshot()[1]
            .mailbox
            .as_ref()
            .unwrap()
            .waiting_senders,
        1
    );
    script.gate.add_permits(1);
    settle().await;
    waiting.await.unwrap().unwrap();
    assert_eq!(
        script.log.take(),
        ["it: start 1", "it: hold", "it: first", "it: second"]
    );

    // While somebody waits, a free place is theirs.
    it.tell(Hold).await.unwrap();
    settle().await;
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

#[tokio::test(start_paused = true)]
async fn a_tell_with_a_limit_gives_the_message_back_in_time() {
    let (system, it, _script) = one(1).await;
    it.tell(Hold).await.unwrap();
    settle().await;
    it.try_tell(Say("a")).unwrap();
    let before = tokio::time::Instant::now();
    let error = it.tell(Say("b")).within(SECOND).await.unwrap_err();
    assert_eq!(before.elapsed(), SECOND);
    assert!(matches!(error, TellError::Timeout { waited: SECOND, .. }));
    assert_eq!(error.into_message(), Say("b"));
    assert!(system.ledger().is_balanced(), "{}", system.ledger());
}

#[tokio::test(start_paused = true)]
async fn a_tell_that_is_dropped_while_it_waits_takes_its_message_back() {
    let (system, it, script) = one(1).await;
    it.tell(Hold).await.unwrap();
    settle().await;
    it.try_tell(Say("a")).unwrap();
    {
        let given_up = it.tell(Say("never"));
        tokio::pin!(given_up);
        assert!(futures_poll(given_up.as_mut()).await.is_none());
    }
    script.gate.add_permits(1);
    settle().await;
    assert_eq!(script.log.take(), ["it: start 1", "it: hold", "it: a"]);
    let ledger = system.ledger();
    assert_eq!((ledger.sent, ledger.handled, ledger.rejected), (3, 2, 1));
    assert!(ledger.is_balanced(), "{ledger}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_by_a_tell_that_is_not_awaited() {
    let (system, it, _script) = one(1).await;
    drop(it.tell(Say("never")));
    drop(it.ask(Echo(1)));
    assert_eq!(system.ledger().sent, 0);
}

#[tokio::test(start_paused = true)]
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

#[tokio::test(start_paused = true)]
async fn an_ask_waits_five_seconds_unless_told_otherwise() {
    let (system, it, script) = one(8).await;
    it.tell(Hold).await.unwrap();
    let before = tokio::time::Instant::now();
    let error = it.ask(Echo(1)).await.unwrap_err();
    assert_eq!(before.elapsed(), Duration::from_secs(5));
    assert!(matches!(
        error,
        AskError::Timeout {
            waited: greenroom::ASK_TIMEOUT,
            ..
        }
    ));
    let before = tokio::time::Instant::now();
    assert!(it.ask(Echo(2)).within(SECOND).await.is_err());
    assert_eq!(before.elapsed(), SECOND);
    // The late replies go nowhere and hurt nobody.
    script.gate.add_permits(1);
    settle().await;
    assert_eq!(it.ask(Echo(3)).await.unwrap(), 3);
    assert!(system.ledger().is_balanced());
}

#[tokio::test(start_paused = true)]
async fn an_ask_that_finds_no_room_gives_the_message_back() {
    let (_system, it, _script) = one(1).await;
    it.tell(Hold).await.unwrap();
    settle().await;
    it.try_tell(Say("a")).unwrap();
    let error = it.ask(Echo(9)).within(SECOND).await.unwrap_err();
    assert!(matches!(error, AskError::NoRoom { .. }));
    assert_eq!(error.into_message(), Some(Echo(9)));
}

#[tokio::test(start_paused = true)]
async fn an_ask_on_which_the_handler_fails_says_so_at_once() {
    let (_system, it, _script) = one(8).await;
    let before = tokio::time::Instant::now();
    let error = it.ask(Fail("lamp gone")).await.unwrap_err();
    assert_eq!(error.to_string(), "app/it failed on the message: lamp gone");
    // Its one restart was immediate; the mailbox goes on.
    assert_eq!(it.ask(Echo(1)).await.unwrap(), 1);
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn after_the_end_senders_get_their_messages_back() {
    let (system, it, _script) = one(8).await;
    it.tell(Hold).await.unwrap();
    settle().await;
    let waiting = {
        let it = it.clone();
        tokio::spawn(async move { it.ask(Echo(1)).within(60 * SECOND).await })
    };
    settle().await;
    system.stop().await;
    assert!(matches!(
        waiting.await.unwrap(),
        Err(AskError::Abandoned { .. })
    ));
    assert_eq!(it.try_tell(Say("a")).unwrap_err().into_message(), Say("a"));
    assert_eq!(
        it.tell(Say("b")).await.unwrap_err().into_message(),
        Say("b")
    );
    assert_eq!(
        it.ask(Echo(1)).await.unwrap_err().into_message(),
        Some(Echo(1))
    );
    let ledger = system.ledger();
    assert!(ledger.is_balanced(), "{ledger}");
    assert_eq!(ledger.queued, 0);
}

#[tokio::test(start_paused = true)]
async fn depth_and_age_are_exact_while_the_handler_is_stuck() {
    let (system, it, script) = one(8).await;
    it.tell(Hold).await.unwrap();
    settle().await;
    for n in 1..=5 {
        it.try_tell(Say("x")).unwrap();
        assert_eq!(it.depth(), n);
    }
    tokio::time::sleep(Duration::from_secs(30)).await;
    let seen = system.snapshot().remove(1);
    let mailbox = seen.mailbox.unwrap();
    assert_eq!((mailbox.depth, mailbox.capacity), (5, 8));
    assert_eq!(mailbox.handling.as_deref(), Some("Hold"));
    assert!(
        mailbox.oldest_age >= Duration::from_secs(30),
        "{:?}",
        mailbox.oldest_age
    );
    script.gate.add_permits(1);
    settle().await;
    let mailbox = system.snapshot().remove(1).mailbox.unwrap();
    assert_eq!(
        (mailbox.depth, mailbox.oldest_age, mailbox.handling),
        (0, Duration::ZERO, None)
    );
}

#[tokio::test(start_paused = true)]
async fn a_weak_reference_does_not_keep_the_role() {
    let (system, it, _script) = one(8).await;
    let weak = it.downgrade();
    assert_eq!(weak.upgrade().as_ref(), Some(&it));
    drop(it);
    assert!(weak.upgrade().is_some(), "the tree holds the role");
    system.stop().await;
    settle().await;
    assert!(weak.upgrade().is_none());
}
