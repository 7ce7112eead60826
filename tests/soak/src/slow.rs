//! One slow subscriber among a thousand fast ones: these do not notice, it costs the memory of its bounds and no more,
//! and each event that it misses is counted.

use std::borrow::Cow;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::Poll;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use greenroom::prelude::*;
use greenroom::{DropReason, EventOverflow, Metric, Subscription, Value};

use crate::Plan;
use crate::figures::{Broken, Histogram, Report, at_rest, kept_waiting, resident, until};

const FAST: usize = 1_000;
/// How many times each contract is measured with a slow one and without, in turns: many short runs, since whoever else
/// uses the machine for some milliseconds is seen in the p99 of a run, and so only in few of them.
const ROUNDS: usize = 21;
/// The runs are compared by the p99 that this part of them does not exceed: those in which nobody else took the
/// processors away, for a hundredth of the time is all of a p99.
const CALM: f64 = 0.25;
/// What part of the events is published that there can be.
const LOAD: f64 = 0.4;
/// How long the slow one takes for an event, some thirty times as long as it has.
const SLOW: Duration = Duration::from_millis(10);
/// How many events the mailbox of that one holds, how many its subscription keeps, and how many dead letters there are:
/// few, so that all are full before anything is measured.
const ROOM: usize = 64;
/// One event in so many is timed, another one at each subscriber, so that clocks are not what is measured.
const TIMED: u64 = 16;
/// Fewer than a subscription keeps events.
const KEYS: u64 = ROOM as u64 / 2;
/// Large, so that an event that is kept is seen in the memory of the process.
const BODY: usize = 4_096;

/// What becomes of an event without room; `None` for a plain subscription.
const CONTRACTS: [(&str, Option<EventOverflow>); 6] = [
    ("plain", None),
    ("drop newest", Some(EventOverflow::DropNewest)),
    ("drop oldest", Some(EventOverflow::DropOldest)),
    ("latest per key", Some(EventOverflow::LatestPerKey)),
    (
        "wait 20 ms",
        Some(EventOverflow::Wait(Duration::from_millis(20))),
    ),
    ("disconnect", Some(EventOverflow::Disconnect)),
];

/// The subscription of the one that is slow in every second run, and those of the others.
const ODD: &str = "odd";
const OTHERS: &str = "others";

/// What all share.
struct Field {
    epoch: Instant,
    /// In events a second; infinite for as many as there can be.
    pace: f64,
    is_timed: AtomicBool,
    latencies: Histogram,
    /// How many events the first subscriber has handled.
    seen: AtomicU64,
    /// A [`Mood`].
    mood: AtomicU8,
    is_held: AtomicBool,
}

/// What the odd subscriber does with an event.
#[derive(Clone, Copy, PartialEq)]
#[repr(u8)]
enum Mood {
    Fast,
    Slow,
    /// Nothing, until it is told otherwise.
    Held,
}

impl Field {
    fn nanos(&self) -> u64 {
        self.epoch.elapsed().as_nanos() as u64
    }

    fn is_mood(&self, mood: Mood) -> bool {
        self.mood.load(Ordering::Relaxed) == mood as u8
    }
}

#[derive(Clone)]
struct Sample {
    n: u64,
    /// When it was to be published, in ns.
    due: u64,
    body: Arc<Body>,
}

struct Body {
    key: String,
    _bytes: [u8; BODY],
}

impl Event for Sample {
    fn key(&self) -> Option<Cow<'_, str>> {
        Some(self.body.key.as_str().into())
    }
}

/// Short, as a dead letter has it.
impl fmt::Debug for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sample({})", self.n)
    }
}

struct Subscriber {
    args: SubscriberArgs,
    handled: u64,
}

#[derive(Clone)]
struct SubscriberArgs {
    field: Arc<Field>,
    n: usize,
    contract: Option<EventOverflow>,
}

impl SubscriberArgs {
    fn is_odd(&self) -> bool {
        // In the middle, so that there are some before it and some behind it.
        self.n == FAST / 2
    }
}

impl Actor for Subscriber {
    type Args = SubscriberArgs;
    type Error = BoxError;

    async fn start(args: SubscriberArgs, cx: &mut Context<Self>) -> Result<Self, BoxError> {
        match args.contract {
            None => cx.subscribe::<Sample>(),
            Some(overflow) => {
                let name = if args.is_odd() { ODD } else { OTHERS };
                let subscription = Subscription::<Sample>::new(name).when_full(overflow);
                cx.subscribe_with(subscription.buffer(ROOM))?;
            }
        }
        Ok(Subscriber { args, handled: 0 })
    }
}

impl Handler<Sample> for Subscriber {
    async fn handle(&mut self, event: Sample, _: &mut Context<Self>) -> Result<(), BoxError> {
        self.handled += 1;
        let field = &*self.args.field;
        if self.args.is_odd() {
            if field.is_mood(Mood::Slow) {
                tokio::time::sleep(SLOW).await;
            }
            while field.is_mood(Mood::Held) {
                field.is_held.store(true, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            return Ok(());
        }
        if self.args.n == 0 {
            field.seen.store(self.handled, Ordering::Relaxed);
        }
        let is_its_turn = (event.n + self.args.n as u64).is_multiple_of(TIMED);
        if is_its_turn && field.is_timed.load(Ordering::Relaxed) {
            field.latencies.add(field.nanos().saturating_sub(event.due));
        }
        Ok(())
    }
}

/// Asks how many events a subscriber has handled.
struct Handled;

impl Message for Handled {
    type Reply = u64;
}

impl Handler<Handled> for Subscriber {
    async fn handle(&mut self, _: Handled, _: &mut Context<Self>) -> Result<u64, BoxError> {
        Ok(self.handled)
    }
}

struct Publisher {
    field: Arc<Field>,
    begun: u64,
    published: u64,
    is_over: bool,
}

impl Actor for Publisher {
    type Args = Arc<Field>;
    type Error = BoxError;

    async fn start(field: Arc<Field>, cx: &mut Context<Self>) -> Result<Self, BoxError> {
        cx.after(Duration::ZERO, Go);
        let begun = field.nanos();
        Ok(Publisher {
            field,
            begun,
            published: 0,
            is_over: false,
        })
    }
}

struct Go;

impl Message for Go {
    type Reply = ();
}

impl Handler<Go> for Publisher {
    async fn handle(&mut self, _: Go, cx: &mut Context<Self>) -> Result<(), BoxError> {
        if self.is_over {
            return Ok(());
        }
        let (n, now) = (self.published, self.field.nanos());
        let due = match self.field.pace.is_finite() {
            true => self.begun + (n as f64 / self.field.pace * 1e9) as u64,
            false => now,
        };
        if due <= now {
            self.published += 1;
            let body = Body {
                key: (n % KEYS).to_string(),
                _bytes: [n as u8; BODY],
            };
            let body = Arc::new(body);
            cx.publish(Sample { n, due, body });
        }
        // A timer would be a millisecond's load at a time.
        cx.me().tell(Go).await?;
        others_first().await;
        Ok(())
    }
}

/// Ends it; asks how many events there were.
struct End;

impl Message for End {
    type Reply = u64;
}

impl Handler<End> for Publisher {
    async fn handle(&mut self, _: End, _: &mut Context<Self>) -> Result<u64, BoxError> {
        self.is_over = true;
        Ok(self.published)
    }
}

/// Returns when all that is ready at this moment has had its turn.
async fn others_first() {
    let mut has_waited = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut has_waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// What one run has shown.
#[derive(Clone, Copy, Default)]
struct Outcome {
    events_a_second: f64,
    /// What part of the time a worker was ready and not run.
    waited: f64,
    p50: Duration,
    p99: Duration,
    /// Resident at the end over that at half time.
    memory: f64,
    /// How many events there were.
    published: u64,
    /// What the others have not handled of them.
    lost_by_others: u64,
    /// What was in no count of the odd one while it was held, and what at the end.
    uncounted: [u64; 2],
    odd: Counts,
}

/// What a subscription is counted by, or, of plain ones, what all of them are.
#[derive(Clone, Copy, Default)]
struct Counts {
    matched: u64,
    delivered: u64,
    kept: u64,
    dropped: [u64; REASONS.len()],
}

const REASONS: [DropReason; 4] = [
    DropReason::Full,
    DropReason::Expired,
    DropReason::Replaced,
    DropReason::Disconnected,
];

impl Counts {
    /// What the system says of the odd one at this moment.
    fn now(system: &System, is_plain: bool, published: u64) -> Counts {
        let families = system.scrape();
        let sum = |metric, labels: &[(&str, &str)]| -> u64 {
            let family = families.iter().find(|family| family.metric == metric);
            let samples = family.map_or(&[][..], |family| &family.samples);
            let samples = samples.iter().filter(|sample| {
                let has = |(name, value): &(&str, &str)| {
                    let mut all = sample.labels.iter();
                    all.any(|(label, is)| label == name && is == value)
                };
                labels.iter().all(has)
            });
            let number = |sample: &greenroom::Sample| match sample.value {
                Value::Number(number) => number as u64,
                _ => 0,
            };
            samples.map(number).sum()
        };
        if is_plain {
            let event = ("event", "Sample");
            let of = |result| sum(Metric::EventsDelivered, &[event, ("result", result)]);
            return Counts {
                matched: published,
                // All others have each event, which is looked at by itself.
                delivered: of("delivered").saturating_sub(published * FAST as u64),
                kept: 0,
                dropped: REASONS.map(|why| of(why.as_str())),
            };
        }
        let odd = ("subscription", ODD);
        let dropped = |why: DropReason| [odd, ("reason", why.as_str())];
        Counts {
            matched: sum(Metric::SubscriptionEvents, &[odd]),
            delivered: sum(Metric::SubscriptionDelivered, &[odd]),
            kept: sum(Metric::SubscriptionLag, &[odd]),
            dropped: REASONS.map(|why| sum(Metric::SubscriptionDropped, &dropped(why))),
        }
    }

    fn lost(&self) -> u64 {
        self.dropped.iter().sum()
    }

    fn uncounted(&self) -> u64 {
        self.matched
            .abs_diff(self.delivered + self.lost() + self.kept)
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts {
            matched, delivered, ..
        } = self;
        write!(f, "{matched} = {delivered} delivered")?;
        let lost = REASONS.iter().zip(self.dropped).filter(|(_, n)| *n > 0);
        for (why, n) in lost {
            write!(f, " + {n} {why}")?;
        }
        write!(f, " + {} kept", self.kept)
    }
}

/// One system under this load for this time, and half as long before that.
async fn run(
    contract: Option<EventOverflow>,
    (pace, mood): (f64, Mood),
    (time, seed): (Duration, u64),
) -> Result<Outcome, Broken> {
    let field = Arc::new(Field {
        epoch: Instant::now(),
        pace,
        is_timed: AtomicBool::new(false),
        latencies: Histogram::default(),
        seen: AtomicU64::new(0),
        mood: AtomicU8::new(mood as u8),
        is_held: AtomicBool::new(false),
    });
    let tree = Supervisor::one_for_one("soak")
        .child(Supervisor::dynamic("subscribers"))
        .child(Supervisor::dynamic("publishers"));
    let builder = System::builder().seed(seed).dead_letters(ROOM);
    let system = builder.start(tree).await?;
    let subscribers = system.supervisor("soak/subscribers")?;
    let (mut odd, mut others) = (None, Vec::new());
    for n in 0..=FAST {
        let field = Arc::clone(&field);
        let args = SubscriberArgs { field, n, contract };
        let is_odd = args.is_odd();
        let spec = Subscriber::spec(n.to_string(), args);
        match is_odd {
            true => odd = Some(subscribers.start_child(spec.mailbox(ROOM)).await?),
            false => others.push(subscribers.start_child(spec).await?),
        }
    }
    let odd = odd.ok_or_else(|| Broken("nobody is the odd one".to_owned()))?;
    let publisher = Publisher::spec("publisher", Arc::clone(&field));
    let publishers = system.supervisor("soak/publishers")?;
    let publisher = publishers.start_child(publisher).await?;

    tokio::time::sleep(time / 2).await;
    let waited = kept_waiting()?;
    field.is_timed.store(true, Ordering::Relaxed);
    let (seen, begun) = (field.seen.load(Ordering::Relaxed), Instant::now());
    tokio::time::sleep(time / 2).await;
    let half = resident()?;
    tokio::time::sleep(time / 2).await;
    let seen = field.seen.load(Ordering::Relaxed) - seen;
    let took = begun.elapsed();
    let waited = kept_waiting()?.saturating_sub(waited);
    let memory = resident()? as f64 / half as f64;
    field.is_timed.store(false, Ordering::Relaxed);
    let limit = Duration::from_secs(60);
    let published = publisher.ask(End).within(limit).await?;

    // What it keeps is counted while it is there.
    let mut held = Counts::default();
    if mood == Mood::Slow {
        field.mood.store(Mood::Held as u8, Ordering::Relaxed);
        let is_held = || field.is_held.load(Ordering::Relaxed);
        until("the slow one's rest", limit, is_held).await?;
        held = Counts::now(&system, contract.is_none(), published);
    }
    field.mood.store(Mood::Fast as u8, Ordering::Relaxed);
    at_rest(&system).await?;
    let counts = Counts::now(&system, contract.is_none(), published);
    let mut handled = 0;
    for other in &others {
        handled += other.ask(Handled).within(limit).await?;
    }
    let by_odd = odd.ask(Handled).within(limit).await?;
    system.stop().await;
    let workers = available_parallelism().map_or(1, |n| n.get()) as f64;
    let at = |part| Duration::from_nanos(field.latencies.at(part));
    Ok(Outcome {
        events_a_second: seen as f64 / took.as_secs_f64(),
        waited: waited.as_secs_f64() / took.as_secs_f64() / workers,
        p50: at(0.5),
        p99: at(0.99),
        memory,
        published,
        lost_by_others: (published * FAST as u64).abs_diff(handled),
        // It had what was delivered, neither more nor less.
        uncounted: [
            held.uncounted(),
            counts.uncounted() + counts.delivered.abs_diff(by_odd),
        ],
        odd: if mood == Mood::Slow { held } else { counts },
    })
}

/// What this part of the runs do not exceed.
fn quantile<T: PartialOrd + Copy>(of: &[Outcome], part: f64, figure: impl Fn(&Outcome) -> T) -> T {
    let mut all: Vec<T> = of.iter().map(figure).collect();
    all.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    all[((all.len() - 1) as f64 * part) as usize]
}

fn median<T: PartialOrd + Copy>(of: &[Outcome], figure: impl Fn(&Outcome) -> T) -> T {
    quantile(of, 0.5, figure)
}

pub(crate) async fn check(plan: Plan) -> Result<Report, Broken> {
    let runs = CONTRACTS.len() * ROUNDS * 2;
    let time = plan.time / runs as u32;
    let mut paces = [0.0; CONTRACTS.len()];
    for ((_, contract), pace) in CONTRACTS.into_iter().zip(&mut paces) {
        let load = (f64::INFINITY, Mood::Fast);
        let peak = run(contract, load, (time * 2, plan.seed)).await?;
        *pace = peak.events_a_second * LOAD;
    }
    let mut all = [const { (Vec::new(), Vec::new()) }; CONTRACTS.len()];
    for round in 0..ROUNDS {
        for (((_, contract), pace), (without, with)) in
            CONTRACTS.into_iter().zip(paces).zip(&mut all)
        {
            // Neither is always the one after the other.
            let mut moods = [(Mood::Fast, without), (Mood::Slow, with)];
            moods.rotate_left(round % 2);
            for (mood, outcomes) in moods {
                outcomes.push(run(contract, (pace, mood), (time, plan.seed)).await?);
            }
        }
    }
    let mut report = Report::new(format!(
        "slow: one slow subscriber among {FAST} fast ones, at {LOAD} of the events there can be, {ROUNDS} runs of \
         {time:.1?} with it and without"
    ));
    // What the times below have of it is the machine's.
    let each: Vec<Outcome> = all.iter().flat_map(|(a, b)| [&a[..], b].concat()).collect();
    let waited = each.iter().map(|o| o.waited).sum::<f64>() / each.len() as f64 * 100.0;
    let what = "workers ready and not run, % of the time";
    report.tell(what, format!("{waited:.1}"));
    for ((name, _), (without, with)) in CONTRACTS.into_iter().zip(&all) {
        tell(&mut report, name, without, with);
    }
    Ok(report)
}

fn tell(report: &mut Report, name: &str, without: &[Outcome], with: &[Outcome]) {
    let said = |what: &str| format!("{name}: {what}");
    let rate = median(with, |o| o.events_a_second);
    report.tell(said("events a second"), format!("{rate:.0}"));
    let of = |o| {
        let p99 = |part| quantile(o, part, |o: &Outcome| o.p99);
        (median(o, |o| o.p50), p99(0.5), p99(CALM))
    };
    let (without_it, with_it) = (of(without), of(with));
    for (what, (p50, p99, calm)) in [("without it", without_it), ("with it", with_it)] {
        let what = said(&format!("{what}, p50, p99, p99 when calm"));
        report.tell(what, format!("{p50:.0?} {p99:.0?} {calm:.0?}"));
    }
    let ratio = with_it.2.as_secs_f64() / without_it.2.as_secs_f64();
    report.ratio(said("p99 of the fast, with over without"), ratio, 1.2);
    let memory = median(with, |o| o.memory);
    report.ratio(said("memory at the end over half time"), memory, 1.05);
    let both = || without.iter().chain(with);
    let lost = both().map(|o| o.lost_by_others).sum();
    report.count(said("events lost by the fast"), lost, 0);
    if let Some(last) = with.last() {
        let megabytes = (last.published * BODY as u64) >> 20;
        let what = said("the slow one at last");
        report.tell(what, format_args!("{}, of {megabytes} MiB", last.odd));
    }
    let uncounted = |at: usize| both().map(|o| o.uncounted[at]).sum();
    report.count(said("uncounted while it was held"), uncounted(0), 0);
    report.count(said("uncounted when all had ended"), uncounted(1), 0);
}
