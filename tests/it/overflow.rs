//! What a full mailbox does with one message more: each policy, each way to send.

use std::pin::pin;
use std::task::{Context as Cx, Poll, Waker};
use std::time::Duration;

use greenroom::prelude::*;
use greenroom::{AskError, Metric, Overflow, TellError, TryTellError};
use greenroom_it::*;

use super::start;

/// As long as nobody waits for it in real time.
const LONG: Duration = Duration::from_secs(3600);
/// Short enough to be waited for in real time.
const BRIEF: Duration = Duration::from_millis(5);

/// An actor that is stuck, subscribed, and has `queued` in its mailbox of two.
async fn full(overflow: Overflow) -> (System, ActorRef<Scripted>, Script) {
    let script = Script::default();
    let spec = Scripted::spec("it", script.clone()).mailbox(2);
    let tree = Supervisor::one_for_one("app").child(spec.overflow(overflow));
    let system = start(tree).await.unwrap();
    let it = system.find::<Scripted>("app/it").unwrap();
    it.ask(with(|cx| cx.subscribe::<Happened>())).await.unwrap();
    hold(&it, &script).await;
    it.try_tell(Say("a")).unwrap();
    it.try_tell(Say("b")).unwrap();
    script.log.clear();
    (system, it, script)
}

/// What became of the messages beyond: rejected by reason, dropped because it was full, and the dead letters.
fn beyond(system: &System) -> (u64, u64, u64, Vec<String>) {
    let families = system.scrape();
    let of = |metric, reason| {
        let labels = [("group", "Scripted"), ("reason", reason)];
        number(&families, metric, &labels) as u64
    };
    let letters = system.dead_letters();
    let letters: Vec<String> = letters.iter().map(ToString::to_string).collect();
    assert_eq!(
        number(&families, Metric::DeadLetters, &[("reason", "full")]) as usize,
        letters.len()
    );
    let ledger = system.ledger();
    assert!(ledger.is_balanced(), "{ledger}");
    (
        of(Metric::MailboxRejected, "full"),
        of(Metric::MailboxRejected, "timeout"),
        of(Metric::MailboxDropped, "full"),
        letters,
    )
}

/// Lets the actor go on; returns what it handled of what was queued.
async fn rest(it: &ActorRef<Scripted>, script: &Script) -> Vec<String> {
    script.gate.add_permits(1);
    // Where the newest are dropped a question finds no room until the actor has gone on.
    until(|| it.depth() == 0).await;
    caught_up(it).await;
    script.log.take()
}

#[tokio::test]
async fn where_senders_wait_each_is_given_back_when_its_time_is_up_and_a_published_event_is_lost() {
    let (system, it, script) = full(Overflow::Wait).await;
    assert!(matches!(
        it.try_tell(Say("x")),
        Err(TryTellError::Full {
            message: Say("x"),
            ..
        })
    ));
    assert!(matches!(
        it.tell(Say("y")).within(BRIEF).await,
        Err(TellError::Timeout {
            message: Say("y"),
            waited: BRIEF,
            ..
        })
    ));
    assert!(matches!(
        it.ask(Echo(1)).within(BRIEF).await,
        Err(AskError::NoRoom {
            message: Echo(1),
            waited: BRIEF,
            ..
        })
    ));
    let delivery = system.publish(Happened(1));
    assert_eq!((delivery.delivered, delivery.dropped), (0, 1));
    let delivery = system.publish_within(Happened(2), BRIEF).await;
    assert_eq!((delivery.delivered, delivery.dropped), (0, 1));
    let letters = [1, 2].map(|n| format!("Happened to app/it (full): Happened({n})"));
    assert_eq!(beyond(&system), (1, 2, 2, letters.to_vec()));
    assert_eq!(rest(&it, &script).await, ["it: a", "it: b"]);
}

#[tokio::test]
async fn where_senders_wait_the_first_in_line_is_the_first_in_and_who_gives_up_holds_up_nobody() {
    let (system, it, script) = full(Overflow::Wait).await;
    let mut cx = Cx::from_waker(Waker::noop());
    let (mut first, mut third) = (pin!(it.tell(Say("c"))), pin!(it.tell(Say("e"))));
    let mut asked = pin!(it.ask(Echo(7)));
    assert!(first.as_mut().poll(&mut cx).is_pending());
    {
        let mut second = pin!(it.tell(Say("d")).within(LONG));
        assert!(second.as_mut().poll(&mut cx).is_pending());
        assert!(third.as_mut().poll(&mut cx).is_pending());
        assert!(asked.as_mut().poll(&mut cx).is_pending());
    }
    script.gate.add_permits(1);
    assert_eq!(asked.await.unwrap(), 7);
    assert!(matches!(first.poll(&mut cx), Poll::Ready(Ok(()))));
    assert!(matches!(third.poll(&mut cx), Poll::Ready(Ok(()))));
    assert_eq!(script.log.take(), ["it: a", "it: b", "it: c", "it: e"]);
    let ledger = system.ledger();
    assert_eq!(ledger.rejected, 1, "the one that gave up: {ledger}");
    assert!(ledger.is_balanced(), "{ledger}");
}

#[tokio::test]
async fn where_what_does_not_fit_is_rejected_every_sender_has_it_back_at_once() {
    let (system, it, script) = full(Overflow::Reject).await;
    assert!(matches!(
        it.tell(Say("x")).await,
        Err(TellError::Full {
            message: Say("x"),
            ..
        })
    ));
    assert!(matches!(
        it.tell(Say("x")).within(LONG).await,
        Err(TellError::Full { .. })
    ));
    assert!(matches!(
        it.try_tell(Say("y")),
        Err(TryTellError::Full {
            message: Say("y"),
            ..
        })
    ));
    assert!(matches!(
        it.ask(Echo(1)).within(LONG).await,
        Err(AskError::Full {
            message: Echo(1),
            ..
        })
    ));
    let delivery = system.publish(Happened(1));
    assert_eq!((delivery.delivered, delivery.dropped), (0, 1));
    let delivery = system.publish_within(Happened(2), LONG).await;
    assert_eq!((delivery.delivered, delivery.dropped), (0, 1));
    // Nobody has an event back.
    let letters = [1, 2].map(|n| format!("Happened to app/it (full): Happened({n})"));
    assert_eq!(beyond(&system), (4, 0, 2, letters.to_vec()));
    assert_eq!(rest(&it, &script).await, ["it: a", "it: b"]);
}

#[tokio::test]
async fn where_the_newest_is_dropped_what_is_told_is_lost_and_what_is_asked_or_tried_is_given_back()
{
    let (system, it, script) = full(Overflow::DropNewest).await;
    it.tell(Say("x")).await.unwrap();
    it.tell(Say("x")).within(LONG).await.unwrap();
    assert!(matches!(
        it.try_tell(Say("y")),
        Err(TryTellError::Full {
            message: Say("y"),
            ..
        })
    ));
    assert!(matches!(
        it.ask(Echo(1)).within(LONG).await,
        Err(AskError::Full {
            message: Echo(1),
            ..
        })
    ));
    let delivery = system.publish(Happened(1));
    assert_eq!((delivery.delivered, delivery.dropped), (0, 1));
    let delivery = system.publish_within(Happened(2), LONG).await;
    assert_eq!((delivery.delivered, delivery.dropped), (0, 1));
    let letters = [
        "Say to app/it (full): the mailbox was full",
        "Say to app/it (full): the mailbox was full",
        "Happened to app/it (full): Happened(1)",
        "Happened to app/it (full): Happened(2)",
    ];
    let letters = letters.map(str::to_owned).to_vec();
    assert_eq!(beyond(&system), (2, 0, 4, letters));
    assert_eq!(rest(&it, &script).await, ["it: a", "it: b"]);
}

#[tokio::test]
async fn where_the_oldest_is_dropped_what_comes_takes_its_place_but_a_question_is_given_back() {
    let (system, it, script) = full(Overflow::DropOldest).await;
    it.tell(Say("c")).await.unwrap();
    it.try_tell(Say("d")).unwrap();
    assert_eq!(it.depth(), 2);
    assert!(matches!(
        it.ask(Echo(1)).within(LONG).await,
        Err(AskError::Full {
            message: Echo(1),
            ..
        })
    ));
    let delivery = system.publish(Happened(1));
    assert_eq!((delivery.delivered, delivery.dropped), (1, 0));
    let delivery = system.publish_within(Happened(2), LONG).await;
    assert_eq!((delivery.delivered, delivery.dropped), (1, 0));
    let letters = ["Say to app/it (full): the mailbox was full"; 4];
    let letters = letters.map(str::to_owned).to_vec();
    assert_eq!(beyond(&system), (1, 0, 4, letters));
    assert_eq!(
        rest(&it, &script).await,
        ["it: happened 1", "it: happened 2"]
    );
}

#[tokio::test]
async fn a_question_that_is_dropped_as_the_oldest_is_answered_at_once() {
    let (system, it, script) = full(Overflow::DropOldest).await;
    script.gate.add_permits(1);
    until(|| it.depth() == 0).await;
    hold(&it, &script).await;
    let mut cx = Cx::from_waker(Waker::noop());
    let mut asked = pin!(it.ask(Echo(1)).within(LONG));
    assert!(asked.as_mut().poll(&mut cx).is_pending());
    for text in ["c", "d"] {
        it.tell(Say(text)).await.unwrap();
    }
    let error = asked.await.unwrap_err();
    assert!(matches!(error, AskError::Abandoned { .. }), "{error}");
    assert_eq!(
        error.to_string(),
        "app/it did not come to the message: it stopped, or dropped it for a newer one"
    );
    let letters = vec!["Echo to app/it (full): the mailbox was full".to_owned()];
    assert_eq!(beyond(&system), (0, 0, 1, letters));
}

/// Begins an interval, fills the mailbox, and returns once more than one tick has found it full.
async fn ticking(overflow: Overflow) -> (System, ActorRef<Scripted>, Script) {
    let (system, it, script) = full(overflow).await;
    rest(&it, &script).await;
    it.tell(with(|cx| {
        cx.every(Duration::from_millis(2), Say("tick"));
    }))
    .await
    .unwrap();
    hold(&it, &script).await;
    while it.depth() < 2 {
        let _ = it.try_tell(Say("x"));
    }
    (system, it, script)
}

#[tokio::test]
async fn an_interval_goes_on_after_its_ticks_found_the_mailbox_full() {
    for overflow in [
        Overflow::Wait,
        Overflow::Reject,
        Overflow::DropNewest,
        Overflow::DropOldest,
    ] {
        let (system, it, script) = ticking(overflow).await;
        let lost = || system.ledger().dropped;
        match overflow {
            // One tick stands in line, and no second one is made meanwhile.
            Overflow::Wait => {
                let waiting = || system.snapshot()[1].mailbox.clone().unwrap();
                until(|| it.depth() + waiting().waiting_senders == 3).await;
                tokio::time::sleep(10 * BRIEF).await;
                assert_eq!((waiting().waiting_senders, lost()), (1, 0));
            }
            // More messages than the timer's displace the tick that is queued; it makes others.
            Overflow::DropOldest => {
                let (before, mut told) = (system.ledger().sent, 0);
                until(|| {
                    for _ in 0..2 {
                        it.try_tell(Say("x")).unwrap();
                    }
                    told += 2;
                    system.ledger().sent >= before + told + 3
                })
                .await;
            }
            _ => until(|| lost() >= 3).await,
        }
        script.log.clear();
        script.gate.add_permits(1);
        let mut ticks = 0;
        until(|| {
            let log = script.log.take();
            ticks += log.iter().filter(|line| *line == "it: tick").count();
            ticks >= 3
        })
        .await;
        system.stop().await;
        let (_, _, dropped, letters) = beyond(&system);
        assert_eq!(dropped as usize, letters.len(), "{overflow:?}");
    }
}

#[tokio::test]
async fn the_bound_counts_what_is_taken_out_but_not_yet_in_hand_and_no_reference_stretches_it() {
    for overflow in [Overflow::Wait, Overflow::DropOldest] {
        let script = Script::default();
        let spec = Scripted::spec("it", script.clone()).mailbox(10);
        let tree = Supervisor::one_for_one("app").child(spec.overflow(overflow));
        let system = start(tree).await.unwrap();
        let it = system.find::<Scripted>("app/it").unwrap();
        hold(&it, &script).await;
        it.try_tell(Hold).ok();
        for _ in 0..9 {
            it.try_tell(Say("x")).unwrap();
        }
        // In hand there is one more, which does not count.
        assert_eq!(it.depth(), 10);
        assert!(it.ask(Echo(1)).within(BRIEF).await.is_err());
        script.gate.add_permits(1);
        script.held.acquire().await.unwrap().forget();
        assert_eq!(it.depth(), 9, "{overflow:?}");
        it.try_tell(Say("x")).unwrap();
        for clone in vec![it.clone(); 100] {
            assert!(clone.ask(Echo(1)).within(Duration::ZERO).await.is_err());
            assert_eq!(clone.depth(), 10);
        }
        script.gate.add_permits(1);
        until(|| it.depth() == 0).await;
        caught_up(&it).await;
        let ledger = system.ledger();
        assert!(ledger.is_balanced(), "{ledger}");
        assert_eq!((ledger.handled, ledger.rejected), (13, 101), "{ledger}");
    }
}

#[tokio::test]
async fn a_message_that_has_expired_when_its_turn_comes_is_not_handled() {
    let (system, it, script) = full(Overflow::Wait).await;
    script.gate.add_permits(1);
    until(|| it.depth() == 0).await;
    hold(&it, &script).await;
    it.tell(Say("late")).expires(Duration::ZERO).await.unwrap();
    it.tell(Say("in time")).expires(LONG).await.unwrap();
    // Also one that waits for room.
    let mut cx = Cx::from_waker(Waker::noop());
    let mut waits = pin!(it.tell(Say("waited")).expires(Duration::ZERO));
    assert!(waits.as_mut().poll(&mut cx).is_pending());
    script.log.clear();
    script.gate.add_permits(1);
    waits.await.unwrap();
    caught_up(&it).await;
    assert_eq!(script.log.take(), ["it: in time"]);
    let letters = system.dead_letters();
    let letters: Vec<String> = letters.iter().map(ToString::to_string).collect();
    let expected = "Say to app/it (expired): its time was up before its turn came";
    assert_eq!(letters, [expected, expected]);
    let families = system.scrape();
    let labels = [("group", "Scripted"), ("reason", "expired")];
    assert_eq!(number(&families, Metric::MailboxDropped, &labels), 2.0);
    let ledger = system.ledger();
    assert!(ledger.is_balanced(), "{ledger}");
}
