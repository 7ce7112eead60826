//! Measures what it costs to publish to subscribers with contracts and by patterns, over what it costs to publish to
//! plain ones, and to publish to few where there are many whose patterns do not match.
//!
//! Everything goes the way of an application: an actor publishes, actors handle. Each measurement is a system of
//! its own; all kinds of subscription take turns, and medians of the rounds are shown.

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use greenroom::prelude::*;
use greenroom::{EventOverflow, Subscription};

const SUBSCRIBERS: [usize; 4] = [1, 100, 1_000, 10_000];
const PATTERNS: [usize; 3] = [10, 1_000, 100_000];
const ROUNDS: usize = 7;
/// How many deliveries a measurement has, and how many before it.
const DELIVERIES: usize = 1_000_000;
const WARM_UP: usize = 100_000;
/// How many events are published to few among many patterns.
const EVENTS: usize = 200_000;

const LONG: Duration = Duration::from_secs(60);

/// So many tokens that each of 10,000 subscribers can have a pattern of its own that matches.
const SUBJECT: &str = "a.b.c.d.e.f.g.h.i.j.k.l.m.n";

/// How somebody subscribes.
#[derive(Clone, Copy)]
enum Kind {
    Plain,
    Named,
    With(EventOverflow),
    Filtered,
    ByKey,
    /// All by the same pattern.
    OnePattern,
    /// Each by its own.
    Patterns,
}

const KINDS: [(&str, Kind); 8] = [
    ("plain", Kind::Plain),
    ("with a name", Kind::Named),
    ("drop oldest", Kind::With(EventOverflow::DropOldest)),
    ("latest per key", Kind::With(EventOverflow::LatestPerKey)),
    ("a filter", Kind::Filtered),
    ("by key", Kind::ByKey),
    ("by one pattern", Kind::OnePattern),
    ("each by its pattern", Kind::Patterns),
];

/// 64 bytes, as the events of the other benchmark.
#[derive(Clone, Debug)]
struct Published(Arc<[u64; 8]>);

impl Event for Published {
    fn subject(&self) -> Option<Cow<'_, str>> {
        Some(SUBJECT.into())
    }

    fn key(&self) -> Option<Cow<'_, str>> {
        Some("key".into())
    }
}

/// What happened in one of many rooms.
#[derive(Clone, Debug)]
struct Warmer(Arc<str>);

impl Event for Warmer {
    fn subject(&self) -> Option<Cow<'_, str>> {
        Some((&*self.0).into())
    }
}

/// Counts what it is given.
struct Subscriber {
    seen: u64,
}

#[derive(Clone)]
enum Wants {
    Published(Kind, usize),
    Warmer(String),
}

impl Actor for Subscriber {
    type Args = Wants;
    type Error = BoxError;

    async fn start(wants: Wants, cx: &mut Context<Self>) -> Result<Self, BoxError> {
        match wants {
            Wants::Warmer(pattern) => {
                cx.subscribe_with(Subscription::<Warmer>::new("rooms").subject(&pattern))?;
            }
            Wants::Published(kind, n) => match terms(kind, n) {
                None => cx.subscribe::<Published>(),
                Some(terms) => cx.subscribe_with(terms)?,
            },
        }
        Ok(Subscriber { seen: 0 })
    }
}

fn terms(kind: Kind, n: usize) -> Option<Subscription<Published>> {
    let named = Subscription::new("bench");
    Some(match kind {
        Kind::Plain => return None,
        Kind::Named => named,
        Kind::With(overflow) => named.when_full(overflow),
        Kind::Filtered => named.filter(|event: &Published| event.0[7] == 1),
        Kind::ByKey => named.key("key"),
        Kind::OnePattern => named.subject("a.>"),
        Kind::Patterns => {
            let tokens = SUBJECT.split('.').enumerate();
            let own = tokens.map(|(i, token)| if n >> i & 1 == 0 { token } else { "*" });
            named.subject(&own.collect::<Vec<_>>().join("."))
        }
    })
}

impl Handler<Published> for Subscriber {
    async fn handle(&mut self, event: Published, _: &mut Context<Self>) -> Result<(), BoxError> {
        self.seen += event.0[0];
        Ok(())
    }
}

impl Handler<Warmer> for Subscriber {
    async fn handle(&mut self, event: Warmer, _: &mut Context<Self>) -> Result<(), BoxError> {
        self.seen += event.0.len().min(1) as u64;
        Ok(())
    }
}

/// Asks how much it was given.
struct Seen;

impl Message for Seen {
    type Reply = u64;
}

impl Handler<Seen> for Subscriber {
    async fn handle(&mut self, _: Seen, _: &mut Context<Self>) -> Result<u64, BoxError> {
        Ok(self.seen)
    }
}

/// Publishes when it is told to, and says how long that took.
struct Publisher {
    delivered: Arc<AtomicU64>,
}

impl Actor for Publisher {
    type Args = Arc<AtomicU64>;
    type Error = BoxError;

    async fn start(delivered: Arc<AtomicU64>, _: &mut Context<Self>) -> Result<Self, BoxError> {
        Ok(Publisher { delivered })
    }
}

struct Publish {
    events: usize,
}

impl Message for Publish {
    type Reply = Duration;
}

impl Handler<Publish> for Publisher {
    async fn handle(
        &mut self,
        Publish { events }: Publish,
        cx: &mut Context<Self>,
    ) -> Result<Duration, BoxError> {
        let event = |_| Published(Arc::new([1; 8]));
        Ok(self.publish(events, cx, event).await)
    }
}

/// Tells it to publish each time about another of these subjects.
struct PublishWarmer {
    events: usize,
    subjects: Arc<Vec<Arc<str>>>,
}

impl Message for PublishWarmer {
    type Reply = Duration;
}

impl Handler<PublishWarmer> for Publisher {
    async fn handle(
        &mut self,
        PublishWarmer { events, subjects }: PublishWarmer,
        cx: &mut Context<Self>,
    ) -> Result<Duration, BoxError> {
        let event = |i: usize| Warmer(Arc::clone(&subjects[i % subjects.len()]));
        Ok(self.publish(events, cx, event).await)
    }
}

impl Publisher {
    async fn publish<E: Event>(
        &self,
        events: usize,
        cx: &Context<Self>,
        event: impl Fn(usize) -> E,
    ) -> Duration {
        let (mut delivered, began) = (0, Instant::now());
        for i in 0..events {
            let delivery = cx.publish_within(event(i), LONG).await;
            delivered += delivery.delivered + delivery.buffered;
            // They have it while it is warm.
            tokio::task::yield_now().await;
        }
        self.delivered
            .fetch_add(delivered as u64, Ordering::Relaxed);
        began.elapsed()
    }
}

/// A system with these subscribers; returns the ns that an event takes, till all have been handled.
async fn measure(
    workers: usize,
    wants: impl Iterator<Item = Wants>,
    subjects: Option<Arc<Vec<Arc<str>>>>,
    (warm_up, events): (usize, usize),
    matching: usize,
) -> Result<f64, BoxError> {
    let tree = Supervisor::one_for_one("bench")
        .child(Supervisor::dynamic("subscribers"))
        .child(Supervisor::dynamic("publishers"));
    let system = System::builder().workers(workers).start(tree).await?;
    let all = system.supervisor("bench/subscribers")?;
    let mut subscribers = Vec::new();
    for (n, wants) in wants.enumerate() {
        let spec = Subscriber::spec(n.to_string(), wants);
        subscribers.push(all.start_child(spec).await?);
    }
    let delivered = Arc::new(AtomicU64::new(0));
    let publisher = Publisher::spec("publisher", Arc::clone(&delivered));
    let publishers = system.supervisor("bench/publishers")?;
    let publisher = publishers.start_child(publisher).await?;
    let mut took = Duration::ZERO;
    for events in [warm_up, events] {
        let began = Instant::now();
        match &subjects {
            None => publisher.ask(Publish { events }).within(LONG).await?,
            Some(subjects) => {
                let subjects = Arc::clone(subjects);
                let order = PublishWarmer { events, subjects };
                publisher.ask(order).within(LONG).await?
            }
        };
        // What is left of the last event is handled.
        if let Some(last) = subscribers.last() {
            last.ask(Seen).within(LONG).await?;
        }
        took = began.elapsed();
    }
    let mut seen = 0;
    for subscriber in &subscribers {
        seen += subscriber.ask(Seen).within(LONG).await?;
    }
    let wanted = ((warm_up + events) * matching) as u64;
    if seen != wanted || delivered.load(Ordering::Relaxed) != wanted {
        return Err(format!("{wanted} were to be delivered, {seen} were handled").into());
    }
    system.stop().await;
    Ok(took.as_nanos() as f64 / events as f64)
}

async fn of_kind(workers: usize, kind: Kind, n: usize) -> Result<f64, BoxError> {
    let wants = (0..n).map(|i| Wants::Published(kind, i));
    // Of one subscriber there are fewer: each is a publisher's turn, too.
    let counts = [WARM_UP, DELIVERIES].map(|all| (all / n.max(5)).max(2));
    let ns = measure(workers, wants, None, (counts[0], counts[1]), n).await?;
    Ok(ns / n as f64)
}

/// Of five patterns four are about a room of their own; an event about such a room comes to these four.
async fn among(workers: usize, n: usize) -> Result<f64, BoxError> {
    let wants = (0..n).map(|i| {
        let room = i / 5 * 5;
        Wants::Warmer(match i % 5 {
            0 => format!("home.room{room}.temperature"),
            1 => format!("home.room{room}.*"),
            2 => format!("*.room{room}.temperature"),
            3 => format!("home.room{room}.>"),
            _ => format!("house{room}.>"),
        })
    });
    // In an order that no cache foresees, the same in each run.
    let mut rooms: Vec<u64> = (0..n as u64 / 5).map(|room| room * 5).collect();
    rooms.sort_by_key(|room| room.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let subjects = rooms
        .iter()
        .map(|room| format!("home.room{room}.temperature").into());
    let subjects = Arc::new(subjects.collect());
    measure(workers, wants, Some(subjects), (EVENTS / 10, EVENTS), 4).await
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

async fn tables(workers: usize) -> Result<(), BoxError> {
    let mut figures = [const { [const { Vec::new() }; SUBSCRIBERS.len()] }; KINDS.len()];
    let mut few = [const { Vec::new() }; PATTERNS.len()];
    for _ in 0..ROUNDS {
        for (at, n) in SUBSCRIBERS.into_iter().enumerate() {
            for ((_, kind), figures) in KINDS.into_iter().zip(&mut figures) {
                figures[at].push(of_kind(workers, kind, n).await?);
            }
        }
        for (n, few) in PATTERNS.into_iter().zip(&mut few) {
            few.push(among(workers, n).await?);
        }
    }
    let figures = figures.map(|of| of.map(median));
    let threads = if workers == 1 { "thread" } else { "threads" };
    let head = SUBSCRIBERS.map(|n| n.to_string()).join(" | ");
    println!("| ns for each delivery, {workers} {threads}, by subscribers | {head} |");
    println!("|---|{}", "---:|".repeat(SUBSCRIBERS.len()));
    for ((name, _), of) in KINDS.iter().zip(&figures) {
        let cell = |(ns, plain): (&f64, &f64)| format!("{ns:.0} ({:.2})", ns / plain);
        let cells: Vec<String> = of.iter().zip(&figures[0]).map(cell).collect();
        println!("| {name} | {} |", cells.join(" | "));
    }
    let head = PATTERNS.map(|n| n.to_string()).join(" | ");
    println!("\n| ns for each event, {workers} {threads}, by patterns | {head} |");
    println!("|---|{}", "---:|".repeat(PATTERNS.len()));
    let cells = few.map(|of| format!("{:.0}", median(of))).join(" | ");
    println!("| publish to 4, each time others | {cells} |\n");
    Ok(())
}

fn main() -> Result<(), BoxError> {
    greenroom::block_on(async {
        for workers in [1, 2] {
            tables(workers).await?;
        }
        Ok(())
    })
}
