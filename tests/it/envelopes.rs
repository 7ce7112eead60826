//! Subscriptions that ask for the envelopes of their events: who has one, which one, and what becomes of it on the way.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use greenroom::prelude::*;
use greenroom::{
    Builder, CausalRecord, CloudEvent, Envelope, EventId, EventOverflow, SubscribeError,
    Subscription,
};
use greenroom_it::until;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::builder;

/// What is published to those who asked.
#[derive(Clone, Debug)]
struct Measured(u32);

/// Its author does not like it.
const UNLUCKY: u32 = 13;

impl Event for Measured {
    fn subject(&self) -> Option<Cow<'_, str>> {
        assert_ne!(self.0, UNLUCKY, "its author does not like it");
        Some("home.meter".into())
    }
    fn retained() -> usize {
        1
    }
}

/// What those publish who heard of it.
#[derive(Clone, Debug)]
struct Summed;
impl Event for Summed {}

/// Who saw what, and its envelope.
type Sight = (String, &'static str, Option<Arc<Envelope>>);

#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<Sight>>>);

impl Seen {
    fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// What this actor saw first of this kind.
    fn of(&self, who: &str, what: &str) -> Option<Arc<Envelope>> {
        let seen = self.0.lock();
        let sight = |(name, kind, _): &&Sight| name == who && *kind == what;
        let (.., envelope) = seen.iter().find(sight).unwrap();
        envelope.clone()
    }

    fn ids(&self) -> Vec<EventId> {
        let seen = self.0.lock();
        let envelopes = seen.iter().filter_map(|(.., envelope)| envelope.as_ref());
        envelopes.map(|envelope| envelope.id.clone()).collect()
    }
}

/// An actor that subscribes as these say, plainly where they say nothing.
#[derive(Clone)]
struct Terms {
    seen: Seen,
    measured: Option<Subscription<Measured>>,
    summed: Option<Subscription<Summed>>,
    /// It handles so many measurements.
    gate: Arc<Semaphore>,
}

struct Reader(Terms);

impl Actor for Reader {
    type Args = Terms;
    type Error = SubscribeError;
    async fn start(terms: Terms, cx: &mut Context<Self>) -> Result<Self, SubscribeError> {
        match &terms.measured {
            Some(subscription) => cx.subscribe_with(subscription.clone())?,
            None => cx.subscribe::<Measured>(),
        }
        if let Some(subscription) = &terms.summed {
            cx.subscribe_with(subscription.clone())?;
        }
        Ok(Reader(terms))
    }
}

impl Reader {
    fn note(&self, what: &'static str, cx: &Context<Self>) {
        let seen = (cx.path().name().to_owned(), what, cx.envelope());
        self.0.seen.0.lock().push(seen);
    }
}

impl Handler<Measured> for Reader {
    async fn handle(&mut self, _: Measured, cx: &mut Context<Self>) -> Result<(), SubscribeError> {
        self.note("measured", cx);
        if self.0.summed.is_some() {
            cx.publish(Summed);
        }
        if let Ok(permit) = self.0.gate.acquire().await {
            permit.forget();
        }
        Ok(())
    }
}

impl Handler<Summed> for Reader {
    async fn handle(&mut self, _: Summed, cx: &mut Context<Self>) -> Result<(), SubscribeError> {
        self.note("summed", cx);
        Ok(())
    }
}

fn plain(seen: &Seen) -> Terms {
    Terms {
        seen: seen.clone(),
        measured: None,
        summed: None,
        gate: Arc::new(Semaphore::new(99)),
    }
}

fn asks() -> Subscription<Measured> {
    Subscription::new("asks").with_envelope()
}

fn on(seen: &Seen, measured: Subscription<Measured>) -> Terms {
    Terms {
        measured: Some(measured),
        ..plain(seen)
    }
}

/// A system of such actors, each with room for one message.
async fn readers(of: impl IntoIterator<Item = (&'static str, Terms)>) -> System {
    readers_on(builder(), of).await
}

async fn readers_on(
    builder: Builder,
    of: impl IntoIterator<Item = (&'static str, Terms)>,
) -> System {
    let tree = of.into_iter().fold(
        Supervisor::one_for_one("app").backoff(Backoff::none()),
        |tree, (name, terms)| tree.child(Reader::spec(name, terms).mailbox(1)),
    );
    builder.start(tree).await.unwrap()
}

async fn join(system: &System, name: &'static str, terms: Terms) {
    let app = system.supervisor("app").unwrap();
    app.start_child(Reader::spec(name, terms)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_envelope_is_made_for_all_that_asked_and_none_for_the_others() {
    let seen = Seen::default();
    let system = readers([
        ("first", on(&seen, asks().priority(1))),
        ("plain", plain(&seen)),
        ("other", on(&seen, Subscription::new("other"))),
        ("last", on(&seen, asks())),
        (
            "behind",
            on(&seen, Subscription::new("behind").priority(-1)),
        ),
    ])
    .await;
    assert_eq!(system.publish(Measured(1)).delivered, 5);
    until(|| seen.len() == 5).await;
    let of = |who| seen.of(who, "measured");
    let (first, last) = (of("first").unwrap(), of("last").unwrap());
    assert!(Arc::ptr_eq(&first, &last));
    for who in ["plain", "other", "behind"] {
        assert_eq!(of(who), None, "{who}");
    }
    assert_eq!(first.subject.as_deref(), Some("home.meter"));
    assert_eq!(first.key.as_deref(), Some("home.meter"), "its subject");
    assert_eq!(first.source, "/app");
    assert_eq!(first.causation_id, None);
    assert!(system.causes_of(&first.id).is_empty(), "nothing is kept");
}

#[tokio::test(start_paused = true)]
async fn what_a_subscription_keeps_has_its_envelope_and_what_it_loses_its_id() {
    let seen = Seen::default();
    let mut slow = on(&seen, asks().buffer(2).when_full(EventOverflow::DropNewest));
    slow.gate = Arc::new(Semaphore::new(0));
    let gate = Arc::clone(&slow.gate);
    let system = readers([("it", slow)]).await;
    system.publish(Measured(0));
    until(|| seen.len() == 1).await;
    let outcomes: Vec<_> = (1..=4)
        .map(|n| system.publish(Measured(n)))
        .map(|d| (d.delivered, d.buffered, d.dropped))
        .collect();
    assert_eq!(outcomes, [(1, 0, 0), (0, 1, 0), (0, 1, 0), (0, 0, 1)]);
    let letters = system.dead_letters();
    assert_eq!(letters.len(), 1);
    let lost = letters[0].event_id.clone().unwrap();
    gate.add_permits(9);
    until(|| seen.len() == 4).await;
    let mut ids = seen.ids();
    ids.push(lost);
    assert_eq!(ids.len(), 5, "each has one");
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    until(|| system.ledger().queued == 0).await;
    assert!(system.ledger().is_balanced(), "{:?}", system.ledger());
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_handled_with_its_envelope_is_the_cause_of_the_next() {
    let seen = Seen::default();
    let mut terms = on(&seen, asks());
    terms.summed = Some(Subscription::new("sums").with_envelope());
    let system = readers([("it", terms)]).await;
    system.publish(Measured(1));
    until(|| seen.len() == 2).await;
    let (measured, summed) = (seen.of("it", "measured"), seen.of("it", "summed"));
    let (measured, summed) = (measured.unwrap(), summed.unwrap());
    assert_eq!(summed.causation_id.as_ref(), Some(&measured.id));
    assert_eq!(summed.correlation_id, measured.correlation_id);
    assert_eq!(summed.source, "/app/it");
}

#[tokio::test(start_paused = true)]
async fn what_is_replayed_has_the_envelope_that_it_came_with() {
    let seen = Seen::default();
    let system = readers([("plain", plain(&seen))]).await;
    let envelope = Envelope::new("7", "https://example.com", "com.example.measured");
    system.publish_received(CloudEvent::new(envelope.clone(), Measured(1)));
    join(&system, "late", on(&seen, asks().replay())).await;
    until(|| seen.len() == 2).await;
    assert_eq!(seen.of("late", "measured").as_deref(), Some(&envelope));
}

#[tokio::test(start_paused = true)]
async fn what_is_replayed_has_its_envelope_from_when_on_somebody_asked_for_any() {
    let seen = Seen::default();
    let system = readers([("plain", plain(&seen))]).await;
    system.publish(Measured(1));
    join(&system, "early", on(&seen, asks().replay())).await;
    until(|| seen.len() == 2).await;
    assert_eq!(seen.of("early", "measured"), None, "nobody had asked");
    system.publish(Measured(2));
    until(|| seen.len() == 4).await;
    join(&system, "late", on(&seen, asks().replay())).await;
    until(|| seen.len() == 5).await;
    let published = seen.ids();
    assert_eq!(published.len(), 2);
    assert_eq!(published[0], published[1], "it is that of the event");
}

#[tokio::test(start_paused = true)]
async fn an_event_whose_subject_panics_has_an_envelope_without_it() {
    let seen = Seen::default();
    let system = readers([("it", on(&seen, asks()))]).await;
    let envelope = system.envelope_of(&Measured(UNLUCKY));
    assert_eq!((envelope.subject, envelope.key), (None, None));
    // It is retained by its key, which it cannot tell: that is a loss, and who takes all has it still.
    let delivery = system.publish(Measured(UNLUCKY));
    assert_eq!((delivery.delivered, delivery.dropped), (1, 1));
    until(|| seen.len() == 1).await;
    let envelope = seen.of("it", "measured").unwrap();
    assert_eq!((&envelope.subject, &envelope.key), (&None, &None));
}

#[tokio::test(start_paused = true)]
async fn whoever_is_waited_for_has_the_envelope_too() {
    let seen = Seen::default();
    let mut slow = on(&seen, asks().required());
    slow.gate = Arc::new(Semaphore::new(0));
    let gate = Arc::clone(&slow.gate);
    let system = readers([("it", slow)]).await;
    system.publish(Measured(0));
    until(|| seen.len() == 1).await;
    system.publish(Measured(1));
    let waits = system.publish(Measured(2));
    gate.add_permits(9);
    let limit = Duration::from_secs(5);
    let delivery = waits.await_required(limit).await;
    assert!(delivery.is_ok(), "{delivery:?}");
    until(|| seen.len() == 3).await;
    let ids = seen.ids();
    assert_eq!(ids.len(), 3);
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
}

#[tokio::test(start_paused = true)]
async fn what_went_through_a_buffer_is_the_cause_of_what_its_handler_publishes() {
    let seen = Seen::default();
    let waits = EventOverflow::Wait(Duration::from_secs(60));
    let mut slow = on(&seen, Subscription::new("waits").when_full(waits).buffer(4));
    slow.summed = Some(Subscription::new("sums"));
    slow.gate = Arc::new(Semaphore::new(0));
    let gate = Arc::clone(&slow.gate);
    let system = readers_on(builder().keep_causes(100), [("it", slow)]).await;
    system.publish(Measured(0));
    until(|| seen.len() == 1).await;
    // It is in hand, and what it publishes is queued.
    until(|| system.ledger().queued == 2).await;
    let kept: Vec<usize> = (1..=4)
        .map(|n| system.publish(Measured(n)).buffered)
        .collect();
    // The mailbox has the sum that the first published.
    assert_eq!(kept, [1, 1, 1, 1]);
    gate.add_permits(9);
    until(|| seen.len() == 10).await;
    let all = seen.0.lock().clone();
    let of = |what| {
        let of = all.iter().filter(move |(_, kind, _)| *kind == what);
        of.map(|(.., envelope)| envelope.clone().unwrap())
    };
    assert_eq!(of("measured").count(), 5);
    for (measured, summed) in of("measured").zip(of("summed")) {
        assert_eq!(summed.causation_id.as_ref(), Some(&measured.id));
        assert_eq!(summed.source, "/app/it");
        let causes = system.causes_of(&summed.id);
        let shown: Vec<String> = causes.iter().map(ToString::to_string).collect();
        let line = [
            "Summed published by app/it",
            "Measured published by outside",
        ];
        assert_eq!(shown, line);
        let ids = |records: Vec<CausalRecord>| records.into_iter().map(|record| record.id);
        let effects: Vec<EventId> = ids(system.effects_of(&measured.id)).collect();
        assert_eq!(effects, [measured.id.clone(), summed.id.clone()]);
    }
    until(|| system.ledger().queued == 0).await;
    assert!(system.ledger().is_balanced(), "{:?}", system.ledger());
}
