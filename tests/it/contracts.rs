//! What a subscription on terms of its own may rely on: what becomes of each event for which there is no room, in
//! which order the others come, and that all of them are counted; also when the actor is started anew meanwhile.

use std::time::Duration;

use greenroom::prelude::*;
use greenroom::{
    DeadLetterReason, Delivery, DropReason, EventOverflow, Family, Metric, SubscribeError,
    Subscription,
};
use greenroom_it::*;
use tokio::time::{Instant, advance};

use super::{builder, start};

mod groups;
mod panics;
mod replay;
mod required;
mod subjects;

const ROOM: &str = "hall";
const SECOND: Duration = Duration::from_secs(1);

/// One actor with so much room in its mailbox.
async fn one(capacity: usize, script: &Script) -> (System, ActorRef<Scripted>) {
    let tree = Supervisor::one_for_one("app")
        .restart_limit(100, Duration::from_secs(60))
        .backoff(Backoff::none())
        .child(Scripted::spec("it", script.clone()).mailbox(capacity));
    let system = start(tree).await.unwrap();
    let it = system.find::<Scripted>("app/it").unwrap();
    script.log.clear();
    (system, it)
}

fn named(name: &str) -> Subscription<Reading> {
    Subscription::new(name)
}

fn readings() -> Subscription<Reading> {
    named("readings")
}

async fn subscribe<E: Event>(it: &ActorRef<Scripted>, terms: Subscription<E>)
where
    Scripted: Handler<E>,
{
    let made = with(move |cx| cx.subscribe_with(terms).unwrap());
    it.ask::<Do>(made).await.unwrap();
}

/// Publishes readings of one room; returns what became of them at once, added up.
fn publish(system: &System, numbers: impl IntoIterator<Item = u32>) -> (usize, usize, usize) {
    let mut sum = (0, 0, 0);
    for n in numbers {
        let Delivery {
            delivered,
            buffered,
            dropped,
            ..
        } = system.publish(Reading(ROOM, n));
        sum = (sum.0 + delivered, sum.1 + buffered, sum.2 + dropped);
    }
    sum
}

fn heard(numbers: impl IntoIterator<Item = u32>) -> Vec<String> {
    let line = |n| format!("it: {ROOM} {n}");
    numbers.into_iter().map(line).collect()
}

/// What the subscription of a name says of itself; and that no event of it is in no count.
#[derive(Clone, Debug, PartialEq)]
struct Counted {
    delivered: u64,
    dropped: Vec<(&'static str, u64)>,
    lag: u64,
}

fn counted(system: &System, name: &str) -> Counted {
    let families = system.scrape();
    let counted = count(&families, name);
    let ledger = system.ledger();
    assert!(ledger.is_balanced(), "{ledger}");
    counted
}

fn count(families: &[Family], name: &str) -> Counted {
    let get = |metric| number(families, metric, &[("subscription", name)]) as u64;
    let why = [
        DropReason::Full,
        DropReason::Stopped,
        DropReason::Expired,
        DropReason::Replaced,
        DropReason::Unsubscribed,
        DropReason::Disconnected,
        DropReason::Panicked,
    ];
    let dropped = why.map(|why| {
        let labels = [("subscription", name), ("reason", why.as_str())];
        let n = number(families, Metric::SubscriptionDropped, &labels);
        (why.as_str(), n as u64)
    });
    let counted = Counted {
        delivered: get(Metric::SubscriptionDelivered),
        dropped: dropped.into_iter().filter(|(_, n)| *n > 0).collect(),
        lag: get(Metric::SubscriptionLag),
    };
    let lost: u64 = counted.dropped.iter().map(|(_, n)| n).sum();
    assert_eq!(
        get(Metric::SubscriptionEvents),
        counted.delivered + lost + counted.lag,
        "{counted:?}"
    );
    counted
}

/// The subscriber holds still, with room for one event, and then goes on: without and with a restart between.
async fn full(
    terms: Subscription<Reading>,
    is_restarted: bool,
    published: u32,
) -> (Vec<String>, Counted, System) {
    let script = Script::default();
    let capacity = if is_restarted { 2 } else { 1 };
    let (system, it) = one(capacity, &script).await;
    subscribe(&it, terms).await;
    hold(&it, &script).await;
    if is_restarted {
        it.tell(Fail("bust")).await.unwrap();
    }
    publish(&system, 0..published);
    script.gate.add_permits(1);
    settle().await;
    let log = script.log.take();
    let begun: &[&str] = if is_restarted {
        &["it: hold", "it: fail", "it: start 2"]
    } else {
        &["it: hold"]
    };
    assert_eq!(&log[..begun.len()], begun);
    let counted = counted(&system, "readings");
    (log[begun.len()..].to_vec(), counted, system)
}

#[tokio::test(start_paused = true)]
async fn an_event_that_finds_the_mailbox_full_is_kept_and_comes_in_its_order() {
    for is_restarted in [false, true] {
        let (log, counted, _) = full(readings(), is_restarted, 200).await;
        assert_eq!(log, heard(0..200));
        assert_eq!((counted.delivered, counted.lag), (200, 0));
        assert!(counted.dropped.is_empty(), "{counted:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_published_while_it_was_behind_tells_the_publisher_so() {
    let script = Script::default();
    let (system, it) = one(1, &script).await;
    subscribe(&it, readings().buffer(3)).await;
    hold(&it, &script).await;
    assert_eq!(publish(&system, 0..6), (1, 3, 2));
    assert_eq!(counted(&system, "readings").lag, 3);
    assert_eq!(system.ledger().queued, 1 + 1 + 3);
    script.gate.add_permits(1);
    settle().await;
    assert_eq!(publish(&system, 6..7), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_newest_is_lost_where_what_is_queued_matters_more() {
    for is_restarted in [false, true] {
        let terms = readings().buffer(3);
        let (log, counted, system) = full(terms, is_restarted, 7).await;
        assert_eq!(log, heard(0..4));
        assert_eq!((counted.delivered, counted.lag), (4, 0));
        assert_eq!(counted.dropped, [("full", 3)]);
        let letters = system.dead_letters();
        let letters = letters
            .iter()
            .filter(|l| l.reason == DeadLetterReason::Full);
        let texts: Vec<&str> = letters.map(|l| l.text.as_str()).collect();
        let expected = [4, 5, 6].map(|n| format!("Reading(\"hall\", {n})"));
        assert_eq!(texts, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn the_oldest_is_lost_where_what_is_new_matters_more() {
    for is_restarted in [false, true] {
        let terms = readings().buffer(3).when_full(EventOverflow::DropOldest);
        let (log, counted, system) = full(terms, is_restarted, 7).await;
        assert_eq!(log, heard([0, 4, 5, 6]));
        assert_eq!((counted.delivered, counted.lag), (4, 0));
        assert_eq!(counted.dropped, [("full", 3)]);
        let lost = system.dead_letters();
        let full = lost.iter().filter(|l| l.reason == DeadLetterReason::Full);
        assert_eq!(full.count(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn only_the_latest_of_each_key_comes_and_in_order() {
    for is_restarted in [false, true] {
        let script = Script::default();
        let (system, it) = one(if is_restarted { 2 } else { 1 }, &script).await;
        let terms = readings().buffer(3);
        subscribe(&it, terms.when_full(EventOverflow::LatestPerKey)).await;
        hold(&it, &script).await;
        if is_restarted {
            it.tell(Fail("bust")).await.unwrap();
        }
        for (room, n) in [("a", 0), ("a", 1), ("b", 2), ("a", 3), ("b", 4), ("a", 5)] {
            system.publish(Reading(room, n));
        }
        script.gate.add_permits(1);
        settle().await;
        let log = script.log.take();
        let heard = &log[if is_restarted { 3 } else { 1 }..];
        // The first is in the mailbox, the second has its turn, and of the others one of each is left.
        assert_eq!(heard, ["it: a 0", "it: a 1", "it: b 4", "it: a 5"]);
        let counted = counted(&system, "readings");
        assert_eq!((counted.delivered, counted.lag), (4, 0));
        assert_eq!(counted.dropped, [("replaced", 2)]);
        // What is obsolete is no loss that anybody would look for.
        let letters = system.dead_letters();
        assert!(!letters.iter().any(|l| l.message == "Reading"));
    }
}

#[tokio::test(start_paused = true)]
async fn more_keys_than_room_lose_the_oldest_and_a_lone_key_never_its_last() {
    let script = Script::default();
    let (system, it) = one(1, &script).await;
    let terms = readings().buffer(2);
    subscribe(&it, terms.when_full(EventOverflow::LatestPerKey)).await;
    hold(&it, &script).await;
    for (room, n) in [("x", 0), ("a", 1), ("b", 2), ("c", 3), ("c", 4)] {
        system.publish(Reading(room, n));
    }
    script.gate.add_permits(1);
    settle().await;
    assert_eq!(script.log.take()[1..], ["it: x 0", "it: b 2", "it: c 4"]);
    let dropped = counted(&system, "readings").dropped;
    assert_eq!(dropped, [("full", 1), ("replaced", 1)]);
}

#[tokio::test(start_paused = true)]
async fn an_event_waits_for_room_until_its_deadline_and_holds_up_nobody() {
    for is_restarted in [false, true] {
        let script = Script::default();
        let (system, it) = one(if is_restarted { 2 } else { 1 }, &script).await;
        let terms = readings().when_full(EventOverflow::Wait(SECOND)).buffer(3);
        subscribe(&it, terms).await;
        hold(&it, &script).await;
        if is_restarted {
            it.tell(Fail("bust")).await.unwrap();
        }
        let before = Instant::now();
        assert_eq!(publish(&system, 0..5), (1, 3, 1));
        assert_eq!(before.elapsed(), Duration::ZERO);
        advance(SECOND / 2).await;
        assert_eq!(counted(&system, "readings").lag, 3);
        advance(SECOND / 2).await;
        // A look is enough; nobody has moved.
        let counted_then = counted(&system, "readings");
        assert_eq!(counted_then.dropped, [("full", 1), ("expired", 3)]);
        assert_eq!(counted_then.lag, 0);
        assert_eq!(publish(&system, 5..6), (0, 1, 0));
        advance(SECOND / 2).await;
        script.gate.add_permits(1);
        settle().await;
        let log = script.log.take();
        assert_eq!(log[if is_restarted { 3 } else { 1 }..], heard([0, 5]));
        let letters = system.dead_letters();
        let late = letters
            .iter()
            .filter(|l| l.reason == DeadLetterReason::Expired);
        assert_eq!(late.count(), 3);
        assert_eq!(counted(&system, "readings").delivered, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_waited_for_too_long_does_not_come_though_nobody_looks() {
    let script = Script::default();
    let (system, it) = one(1, &script).await;
    let terms = readings().when_full(EventOverflow::Wait(SECOND));
    subscribe(&it, terms).await;
    hold(&it, &script).await;
    assert_eq!(publish(&system, 0..4), (1, 3, 0));
    advance(2 * SECOND).await;
    script.gate.add_permits(1);
    settle().await;
    assert_eq!(script.log.take()[1..], heard([0]));
    assert_eq!(counted(&system, "readings").dropped, [("expired", 3)]);
}

#[tokio::test(start_paused = true)]
async fn who_cannot_follow_is_disconnected_told_so_and_can_begin_anew() {
    for is_restarted in [false, true] {
        let script = Script::default();
        let (system, it) = one(if is_restarted { 2 } else { 1 }, &script).await;
        let terms = readings()
            .when_full(EventOverflow::Disconnect)
            .buffer(2)
            .gaps_to(it.clone());
        subscribe(&it, terms.clone()).await;
        hold(&it, &script).await;
        if is_restarted {
            it.tell(Fail("bust")).await.unwrap();
        }
        assert_eq!(publish(&system, 0..5), (1, 2, 1), "and then it is nobody's");
        let families = system.scrape();
        let event = ("event", "Reading");
        let there = number(&families, Metric::EventSubscribers, &[event]);
        assert_eq!(there, 0.0);
        script.gate.add_permits(1);
        settle().await;
        let mut expected = heard(0..3);
        expected.push("it: readings missed 1 (disconnected)".to_owned());
        let log = script.log.take();
        assert_eq!(log[if is_restarted { 3 } else { 1 }..], expected);
        assert_eq!(counted(&system, "readings").dropped, [("disconnected", 1)]);
        subscribe(&it, terms).await;
        assert_eq!(publish(&system, 5..6), (1, 0, 0));
        settle().await;
        assert_eq!(script.log.take(), heard([5]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_gap_is_told_where_it_is_and_two_notices_at_most_are_under_way() {
    let newest = readings().buffer(3);
    let oldest = newest.clone().when_full(EventOverflow::DropOldest);
    let cases: [(_, &[&str]); 2] = [
        (
            newest,
            &[
                "hall 0",
                "hall 1",
                "hall 2",
                "hall 3",
                "readings missed 3 (full)",
            ],
        ),
        (
            oldest,
            &[
                "hall 0",
                "readings missed 1 (full)",
                "hall 4",
                "hall 5",
                "hall 6",
            ],
        ),
    ];
    for (terms, expected) in cases {
        let script = Script::default();
        let (system, it) = one(1, &script).await;
        subscribe(&it, terms.clone().gaps_to(it.clone())).await;
        hold(&it, &script).await;
        publish(&system, 0..7);
        script.gate.add_permits(1);
        settle().await;
        let log: Vec<String> = script.log.take();
        let log: Vec<&str> = log[1..]
            .iter()
            .map(|l| l.trim_start_matches("it: "))
            .collect();
        let (gaps, events): (Vec<&str>, Vec<&str>) =
            log.iter().copied().partition(|l| l.contains("missed"));
        let (expected_gaps, expected_events): (Vec<&str>, Vec<&str>) =
            expected.iter().copied().partition(|l| l.contains("missed"));
        assert_eq!(events, expected_events, "{log:?}");
        let missed = |gaps: &[&str]| -> u32 {
            let n = |gap: &&str| gap.split(' ').nth(2).and_then(|n| n.parse::<u32>().ok());
            gaps.iter().filter_map(n).sum()
        };
        assert_eq!(missed(&gaps), 3, "{log:?}");
        assert!(gaps.len() <= expected_gaps.len() + 1, "{log:?}");
        // The first gap is behind what came before it and before what came after.
        let place = |log: &[&str]| log.iter().position(|l| l.contains("missed"));
        assert_eq!(place(&log), place(expected), "{log:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_gap_is_told_to_whom_it_may_concern() {
    let script = Script::default();
    let tree = Supervisor::one_for_one("app")
        .child(Scripted::spec("it", script.clone()).mailbox(1))
        .child(Scripted::spec("other", script.clone()));
    let system = start(tree).await.unwrap();
    let it = system.find::<Scripted>("app/it").unwrap();
    let other = system.find::<Scripted>("app/other").unwrap();
    subscribe(&it, readings().buffer(1).gaps_to(other)).await;
    script.log.clear();
    hold(&it, &script).await;
    publish(&system, 0..3);
    settle().await;
    assert_eq!(
        script.log.take(),
        ["it: hold", "other: readings missed 1 (full)"]
    );
}

#[tokio::test(start_paused = true)]
async fn only_what_is_wanted_comes_by_key_and_by_filter() {
    let script = Script::default();
    let (system, it) = one(8, &script).await;
    subscribe(&it, named("b").key("b")).await;
    let odd = |reading: &Reading| reading.1 % 2 == 1;
    subscribe(&it, named("odd").filter(odd)).await;
    let both = named("odd of a").key("a").filter(odd);
    subscribe(&it, both).await;
    let deliveries: Vec<usize> = [("a", 0), ("a", 1), ("b", 2), ("b", 3), ("c", 4)]
        .map(|(room, n)| system.publish(Reading(room, n)).delivered)
        .into();
    assert_eq!(deliveries, [0, 2, 1, 2, 0]);
    settle().await;
    let log = script.log.take();
    assert_eq!(
        log,
        ["a 1", "a 1", "b 2", "b 3", "b 3"].map(|l| format!("it: {l}"))
    );
    assert_eq!(counted(&system, "odd").delivered, 2);
    let families = system.scrape();
    let subscribers = number(&families, Metric::EventSubscribers, &[("event", "Reading")]);
    assert_eq!(subscribers, 3.0);
}

#[tokio::test(start_paused = true)]
async fn doing_it_again_changes_the_terms_and_keeps_what_is_kept() {
    let script = Script::default();
    let (system, it) = one(2, &script).await;
    let other = system.clone();
    subscribe(&it, readings().key(ROOM)).await;
    // It subscribes on other terms while it is behind.
    let again = with(move |cx| {
        publish(&other, 0..5);
        cx.subscribe_with(readings().key("attic").buffer(1))
            .unwrap();
        publish(&other, 5..9);
        other.publish(Reading("attic", 9));
    });
    it.ask(again).await.unwrap();
    settle().await;
    assert_eq!(script.log.take(), heard([0, 1, 2]));
    let counted = counted(&system, "readings");
    assert_eq!((counted.delivered, counted.lag), (3, 0));
    assert_eq!(
        counted.dropped,
        [("full", 3)],
        "two on the change, one after"
    );
}

#[tokio::test(start_paused = true)]
async fn it_belongs_to_the_role_and_goes_with_it_or_when_it_is_given_up() {
    let script = Script::default();
    let (system, it) = one(1, &script).await;
    let clone = system.clone();
    subscribe(&it, readings()).await;
    let given_up = with(move |cx| {
        publish(&clone, 0..5);
        cx.unsubscribe_from::<Reading>("nothing");
        cx.unsubscribe_from::<Reading>("readings");
        assert_eq!(publish(&clone, 5..6), (0, 0, 0));
    });
    it.ask(given_up).await.unwrap();
    settle().await;
    assert_eq!(script.log.take(), heard([0]));
    assert_eq!(counted(&system, "readings").dropped, [("unsubscribed", 4)]);
    subscribe(&it, readings()).await;
    hold(&it, &script).await;
    publish(&system, 6..10);
    let app = system.supervisor("app").unwrap();
    let stopped = tokio::spawn(async move { app.stop_child("it").await });
    settle().await;
    script.gate.add_permits(1);
    stopped.await.unwrap().unwrap();
    let counted = counted(&system, "readings");
    assert_eq!(counted.lag, 0);
    assert_eq!(counted.dropped, [("stopped", 3), ("unsubscribed", 4)]);
    let letters = system.dead_letters();
    let stopped = letters
        .iter()
        .filter(|l| l.reason == DeadLetterReason::Stopped);
    assert_eq!(stopped.count(), 3);
    assert_eq!(publish(&system, 10..11), (0, 0, 0));
}

const LOSSY: [greenroom::Overflow; 3] = [
    greenroom::Overflow::Reject,
    greenroom::Overflow::DropNewest,
    greenroom::Overflow::DropOldest,
];

/// One whose mailbox has room for one message, and lets nobody wait.
async fn lossy(overflow: greenroom::Overflow, script: &Script) -> (System, ActorRef<Scripted>) {
    let spec = Scripted::spec("it", script.clone()).mailbox(1);
    let tree = Supervisor::one_for_one("app").child(spec.overflow(overflow));
    let system = builder().measure_every(1).start(tree).await.unwrap();
    let it = system.find::<Scripted>("app/it").unwrap();
    (system, it)
}

#[tokio::test(start_paused = true)]
async fn the_terms_hold_also_where_the_mailbox_lets_nobody_wait() {
    let mut expected = None;
    for overflow in [greenroom::Overflow::Wait].into_iter().chain(LOSSY) {
        let script = Script::default();
        let (system, it) = lossy(overflow, &script).await;
        let terms = readings().when_full(EventOverflow::LatestPerKey).buffer(3);
        subscribe(&it, terms.gaps_to(it.clone())).await;
        hold(&it, &script).await;
        script.log.clear();
        publish(&system, 0..2);
        system.publish(Reading("kitchen", 2));
        assert_eq!(publish(&system, 3..9), (0, 6, 0), "{overflow:?}");
        script.gate.add_permits(1);
        settle().await;
        let heard = script.log.take();
        assert_eq!(heard.last().unwrap(), "it: hall 8", "{overflow:?}");
        assert!(heard.contains(&"it: kitchen 2".to_owned()), "{heard:?}");
        let now = (heard, counted(&system, "readings"));
        assert_eq!(*expected.get_or_insert(now.clone()), now, "{overflow:?}");
        system.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn where_the_mailbox_lets_nobody_wait_a_gap_is_counted_and_told_all_the_same() {
    for overflow in LOSSY {
        let script = Script::default();
        let (system, it) = lossy(overflow, &script).await;
        subscribe(&it, readings().buffer(1).gaps_to(it.clone())).await;
        hold(&it, &script).await;
        script.log.clear();
        publish(&system, 0..5);
        script.gate.add_permits(1);
        settle().await;
        let log = script.log.take();
        assert_eq!(log[..2], heard(0..2), "{overflow:?}");
        // The first notice is in line when the others are lost.
        let missed = [1, 2].map(|n| format!("it: readings missed {n} (full)"));
        assert_eq!(log[2..], missed, "{overflow:?}");
        let counted = counted(&system, "readings");
        assert_eq!(counted.dropped, [("full", 3)], "{overflow:?}");
        system.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn with_no_buffer_a_mailbox_that_lets_nobody_wait_decides_itself() {
    for overflow in LOSSY {
        let script = Script::default();
        let (system, it) = lossy(overflow, &script).await;
        subscribe(&it, readings().buffer(0)).await;
        hold(&it, &script).await;
        script.log.clear();
        publish(&system, 0..5);
        script.gate.add_permits(1);
        settle().await;
        let is_oldest = overflow == greenroom::Overflow::DropOldest;
        let n = if is_oldest { 4 } else { 0 };
        assert_eq!(script.log.take(), heard(n..=n), "{overflow:?}");
        assert_eq!(system.ledger().dropped, 4);
        system.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_notice_of_a_gap_is_the_runtimes_and_not_of_who_published() {
    let script = Script::default();
    let tree = Supervisor::one_for_one("app")
        .child(Scripted::spec("it", script.clone()).mailbox(1))
        .child(Scripted::spec("sender", script.clone()).group("Senders"));
    let system = builder().measure_every(1).start(tree).await.unwrap();
    let it = system.find::<Scripted>("app/it").unwrap();
    let sender = system.find::<Scripted>("app/sender").unwrap();
    subscribe(&it, readings().buffer(0).gaps_to(sender.clone())).await;
    hold(&it, &script).await;
    let publishes = with(|cx| {
        for n in 0..3 {
            cx.publish(Reading(ROOM, n));
        }
    });
    sender.ask(publishes).await.unwrap();
    script.gate.add_permits(1);
    settle().await;
    let graph = system.flow_graph();
    let told = graph.edges().iter().filter(|edge| edge.message == "Gap");
    let told: Vec<String> = told.map(ToString::to_string).collect();
    assert_eq!(told, ["_runtime tells Senders Gap"]);
}

#[tokio::test(start_paused = true)]
async fn with_no_buffer_there_is_only_the_mailbox() {
    let script = Script::default();
    let (system, it) = one(2, &script).await;
    let terms = readings().buffer(0).gaps_to(it.clone());
    subscribe(&it, terms.clone()).await;
    hold(&it, &script).await;
    assert_eq!(publish(&system, 0..5), (2, 0, 3));
    script.gate.add_permits(1);
    settle().await;
    let log = script.log.take();
    assert_eq!(log[1..3], heard(0..2));
    assert!(log[3].starts_with("it: readings missed"), "{log:?}");
    assert_eq!(counted(&system, "readings").dropped, [("full", 3)]);
    subscribe(&it, terms.when_full(EventOverflow::Disconnect)).await;
    hold(&it, &script).await;
    assert_eq!(publish(&system, 5..10), (2, 0, 1));
    let dropped = counted(&system, "readings").dropped;
    assert_eq!(dropped, [("full", 3), ("disconnected", 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_higher_priority_is_given_the_event_first() {
    let script = Script::default();
    let (system, it) = one(64, &script).await;
    let seen = |name: &'static str| {
        let log = script.log.clone();
        move |_: &Reading| {
            log.add(name);
            true
        }
    };
    for (name, priority) in [
        ("low", -1),
        ("plain", 0),
        ("high", 7),
        ("later", 0),
        ("mid", 3),
    ] {
        let terms = named(name).filter(seen(name));
        subscribe(&it, terms.priority(priority)).await;
    }
    it.ask(with(|cx| cx.subscribe::<Reading>())).await.unwrap();
    let delivery = system.publish(Reading(ROOM, 1));
    assert_eq!(delivery.delivered, 6);
    assert_eq!(
        script.log.take()[..5],
        ["high", "mid", "plain", "later", "low"]
    );
}

#[tokio::test(start_paused = true)]
async fn one_slow_among_a_thousand_fast_ones_costs_them_nothing_and_is_bounded() {
    let (fast, slow) = (Script::default(), Script::default());
    let mut tree = Supervisor::one_for_one("app").child(Supervisor::dynamic("fast"));
    tree = tree.child(Scripted::spec("it", slow.clone()).mailbox(4));
    let system = start(tree).await.unwrap();
    let pool = system.supervisor("app/fast").unwrap();
    for n in 0..1_000 {
        let child = Scripted::spec(format!("n{n}"), fast.clone());
        let child = pool.start_child(child).await.unwrap();
        child
            .ask(with(|cx| cx.subscribe::<Reading>()))
            .await
            .unwrap();
    }
    let it = system.find::<Scripted>("app/it").unwrap();
    let terms = readings().buffer(16).when_full(EventOverflow::DropOldest);
    subscribe(&it, terms).await;
    hold(&it, &slow).await;
    fast.log.clear();
    for n in 0..100 {
        let delivery = system.publish(Reading(ROOM, n));
        assert_eq!(delivery.delivered + delivery.buffered, 1_001);
        settle().await;
        assert_eq!(fast.log.take().len(), 1_000, "all at once");
        assert!(counted(&system, "readings").lag <= 16);
    }
    let counted_then = counted(&system, "readings");
    assert_eq!(counted_then.dropped, [("full", 80)]);
    slow.log.clear();
    slow.gate.add_permits(1);
    settle().await;
    assert_eq!(slow.log.take(), heard((0..4).chain(84..100)));
    assert_eq!(counted(&system, "readings").delivered, 20);
}
