//! An author's code that panics while an event is published: others have the event, and the publisher goes on.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// Its code panics as it says.
#[derive(Debug)]
struct Bad {
    /// Which of its copies panics.
    copy: u32,
    copies: Arc<AtomicU32>,
    key: bool,
}

impl Bad {
    fn copy(n: u32) -> Self {
        Bad {
            copy: n,
            copies: Arc::default(),
            key: false,
        }
    }
}

impl Clone for Bad {
    fn clone(&self) -> Self {
        let n = self.copies.fetch_add(1, Ordering::Relaxed);
        assert_ne!(n, self.copy, "no copy");
        Bad {
            copies: Arc::clone(&self.copies),
            ..*self
        }
    }
}

impl Event for Bad {
    fn key(&self) -> Option<Cow<'_, str>> {
        assert!(!self.key, "no key");
        Some("bad".into())
    }
}

struct Listener(Log);

impl Actor for Listener {
    type Args = (Log, bool);
    type Error = SubscribeError;

    async fn start(
        (log, is_plain): Self::Args,
        cx: &mut Context<Self>,
    ) -> Result<Self, Self::Error> {
        if is_plain {
            cx.subscribe::<Bad>();
        } else {
            let terms = Subscription::<Bad>::new("bad");
            cx.subscribe_with(terms.when_full(EventOverflow::LatestPerKey))?;
        }
        Ok(Listener(log))
    }
}

impl Handler<Bad> for Listener {
    async fn handle(&mut self, _: Bad, cx: &mut Context<Self>) -> Result<(), SubscribeError> {
        self.0.add(cx.path().name());
        Ok(())
    }
}

async fn three(log: &Log, is_plain: bool, capacity: usize) -> System {
    let mut tree = Supervisor::one_for_one("app");
    for name in ["a", "b", "c"] {
        tree = tree.child(Listener::spec(name, (log.clone(), is_plain)).mailbox(capacity));
    }
    start(tree).await.unwrap()
}

fn sorted(log: &Log) -> Vec<String> {
    let mut lines = log.take();
    lines.sort();
    lines
}

#[tokio::test(start_paused = true)]
async fn who_gets_no_copy_is_one_and_the_others_get_theirs() {
    for is_plain in [true, false] {
        for (copy, missing) in [(0, "a"), (1, "b"), (2, "c")] {
            let log = Log::default();
            let system = three(&log, is_plain, 8).await;
            let delivery = system.publish(Bad::copy(copy));
            assert_eq!((delivery.delivered, delivery.dropped), (2, 1));
            settle().await;
            let mut expected = vec!["a", "b", "c"];
            expected.retain(|name| *name != missing);
            assert_eq!(sorted(&log), expected);
            let families = system.scrape();
            let labels = [("event", "Bad"), ("result", "panicked")];
            assert_eq!(number(&families, Metric::EventsDelivered, &labels), 1.0);
            let letters = system.dead_letters();
            let path = format!("app/{missing}");
            assert!(letters.iter().any(|l| l.path.as_str() == path));
            if !is_plain {
                let counted = counted(&system, "bad");
                assert_eq!(counted.dropped, [("panicked", 1)]);
                assert_eq!(counted.delivered, 2);
            }
            // It publishes as before.
            assert_eq!(system.publish(Bad::copy(9)).delivered, 3);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_patient_publisher_goes_on_too() {
    let log = Log::default();
    let system = three(&log, true, 8).await;
    let delivery = system.publish_within(Bad::copy(1), SECOND).await;
    assert_eq!((delivery.delivered, delivery.dropped), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_filter_that_panics_costs_its_own_subscription_the_event_alone() {
    let script = Script::default();
    let (system, it) = one(8, &script).await;
    let never = |reading: &Reading| {
        assert_ne!(reading.1, 2, "not two");
        true
    };
    subscribe(&it, readings().filter(never).gaps_to(it.clone())).await;
    subscribe(&it, named("other")).await;
    let deliveries = [1, 2, 3].map(|n| {
        let delivery = system.publish(Reading(ROOM, n));
        (delivery.delivered, delivery.dropped)
    });
    assert_eq!(deliveries, [(2, 0), (1, 1), (2, 0)]);
    settle().await;
    let log = script.log.take();
    let gap = "it: readings missed 1 (panicked)".to_owned();
    let mut expected = heard([1, 1]);
    expected.extend([gap]);
    expected.extend(heard([2, 3, 3]));
    assert_eq!(log, expected);
    let counted_of_it = counted(&system, "readings");
    assert_eq!(counted_of_it.dropped, [("panicked", 1)]);
    assert_eq!(counted(&system, "other").delivered, 3);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_panics_is_asked_only_by_who_needs_it() {
    let log = Log::default();
    let system = three(&log, false, 1).await;
    let bad = || Bad {
        key: true,
        ..Bad::copy(9)
    };
    // There is room, so nobody asks.
    assert_eq!(system.publish(bad()).delivered, 3);
    let delivery = system.publish(bad());
    assert_eq!((delivery.delivered, delivery.dropped), (0, 3));
    assert_eq!(counted(&system, "bad").dropped, [("panicked", 3)]);
    settle().await;
    assert_eq!(sorted(&log), ["a", "b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn whose_an_event_is_that_does_not_say_its_key_nobody_knows() {
    let log = Log::default();
    let system = three(&log, true, 8).await;
    let a = system.find::<Listener>("app/a").unwrap();
    a.ask(Choose).await.unwrap();
    let bad = Bad {
        key: true,
        ..Bad::copy(9)
    };
    let delivery = system.publish(bad);
    assert_eq!((delivery.delivered, delivery.dropped), (3, 1));
    settle().await;
    assert_eq!(sorted(&log), ["a", "b", "c"]);
    let families = system.scrape();
    let labels = [("event", "Bad"), ("result", "panicked")];
    assert_eq!(number(&families, Metric::EventsDelivered, &labels), 1.0);
}

/// Subscribes by key, beside.
struct Choose;

impl Message for Choose {
    type Reply = ();
}

impl Handler<Choose> for Listener {
    async fn handle(&mut self, _: Choose, cx: &mut Context<Self>) -> Result<(), SubscribeError> {
        cx.subscribe_with(Subscription::<Bad>::new("bad").key("bad"))
    }
}

/// Panics where it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("the bomb of a filter");
    }
}

#[tokio::test(start_paused = true)]
async fn a_filter_whose_drop_panics_harms_nobody() {
    let script = Script::default();
    let (system, it) = one(8, &script).await;
    let armed = |name| {
        let bomb = Bomb;
        named(name).filter(move |_| {
            let _ = &bomb;
            true
        })
    };
    let arm = with(move |cx| {
        for name in ["changed", "ended", "stopped"] {
            cx.subscribe_with(armed(name)).unwrap();
        }
        cx.subscribe_with(named("changed")).unwrap();
        cx.unsubscribe_from::<Reading>("ended");
    });
    it.ask(arm).await.unwrap();
    assert_eq!(system.publish(Reading(ROOM, 1)).delivered, 2);
    settle().await;
    assert_eq!(script.log.take(), heard([1, 1]), "the same life");
    let app = system.supervisor("app").unwrap();
    app.stop_child("it").await.unwrap();
    assert!(system.find::<Scripted>("app/it").is_err());
    assert_eq!(system.publish(Reading(ROOM, 2)).delivered, 0);
    system.stop().await;
    assert!(system.ledger().is_balanced());
}

#[tokio::test(start_paused = true)]
async fn an_event_that_does_not_say_its_key_is_published_where_causes_are_kept_too() {
    let log = Log::default();
    let tree = Supervisor::one_for_one("app").child(Listener::spec("a", (log.clone(), true)));
    let system = super::super::builder()
        .keep_causes(16)
        .start(tree)
        .await
        .unwrap();
    let bad = Bad {
        key: true,
        ..Bad::copy(9)
    };
    assert_eq!(system.publish(bad).delivered, 1);
    settle().await;
    assert_eq!(sorted(&log), ["a"]);
}
