//! Time limits of telling and asking, and what a mailbox shows while its actor is stuck.

use std::time::Duration;

use greenroom::prelude::*;
use greenroom::{AskError, TellError};
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

#[tokio::test(start_paused = true)]
async fn a_message_expires_when_its_time_is_up_and_not_before() {
    let (system, it, script) = one(8).await;
    hold(&it, &script).await;
    it.tell(Say("one")).expires(SECOND).await.unwrap();
    it.tell(Say("three")).expires(3 * SECOND).await.unwrap();
    tokio::time::sleep(2 * SECOND).await;
    script.gate.add_permits(1);
    caught_up(&it).await;
    assert_eq!(script.log.take(), ["it: start 1", "it: hold", "it: three"]);
    assert_eq!(system.ledger().dropped, 1);
}
