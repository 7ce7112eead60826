//! A thousand panics a second among 10,000 actors at half load: nothing is lost but the messages that fail.

use std::collections::HashSet;
use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use greenroom::DeadLetterReason;
use greenroom::prelude::*;
use parking_lot::Mutex;

use crate::Plan;
use crate::figures::{Broken, Dice, Report, Times, at_rest, kept_waiting};

const ACTORS: usize = 10_000;
const PANICS_PER_SECOND: u64 = 1_000;
/// How long the load is measured that there can be.
const PEAK_TIME: Duration = Duration::from_secs(3);
/// How many messages a source sends at most before it lets others run: few, so that it is a load and no tide, also
/// when it makes up for a time in which the machine did something else.
const BATCH: u64 = 64;

/// What all share.
struct Field {
    epoch: Instant,
    /// When the actor panicked whose next message has not come, in ns; 0 for none.
    fell: Vec<AtomicU64>,
    handled: AtomicU64,
    sent: AtomicU64,
    poisons: AtomicU64,
    /// How many messages a second each source sends; `u64::MAX` for as many as it can.
    pace: AtomicU64,
    is_over: AtomicBool,
    recovered: Mutex<Vec<u64>>,
}

/// Handles jobs, and panics at a poisoned one.
struct Worker {
    field: Arc<Field>,
    n: usize,
}

struct Job {
    poison: Option<u64>,
}

impl Message for Job {
    type Reply = ();
}

impl Actor for Worker {
    type Args = (Arc<Field>, usize);
    type Error = Infallible;

    async fn start((field, n): Self::Args, _: &mut Context<Self>) -> Result<Self, Infallible> {
        Ok(Worker { field, n })
    }
}

impl Handler<Job> for Worker {
    async fn handle(&mut self, job: Job, _: &mut Context<Self>) -> Result<(), Infallible> {
        let fell = &self.field.fell[self.n];
        let at = fell.load(Ordering::Relaxed);
        if at != 0 {
            fell.store(0, Ordering::Relaxed);
            let took = self.field.nanos() - at;
            self.field.recovered.lock().push(took);
        }
        if let Some(poison) = job.poison {
            fell.store(self.field.nanos(), Ordering::Relaxed);
            panic!("{poison}");
        }
        self.field.handled.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

impl Field {
    fn nanos(&self) -> u64 {
        // Never 0, which says that nobody fell.
        self.epoch.elapsed().as_nanos() as u64 + 1
    }
}

/// Sends jobs to workers that the dice choose.
struct Source {
    field: Arc<Field>,
    workers: Arc<Vec<ActorRef<Worker>>>,
    dice: Dice,
    begun: Instant,
    pace: u64,
    sent: u64,
    /// When the next one is poisoned, in seconds after `begun`.
    poison_at: f64,
    sources: u64,
}

#[derive(Clone)]
struct SourceArgs {
    field: Arc<Field>,
    workers: Arc<Vec<ActorRef<Worker>>>,
    seed: u64,
    sources: u64,
}

struct Go;

impl Message for Go {
    type Reply = ();
}

impl Actor for Source {
    type Args = SourceArgs;
    type Error = BoxError;

    async fn start(args: SourceArgs, cx: &mut Context<Self>) -> Result<Self, BoxError> {
        cx.after(Duration::ZERO, Go);
        Ok(Source {
            field: args.field,
            workers: args.workers,
            dice: Dice(args.seed),
            begun: Instant::now(),
            pace: u64::MAX,
            sent: 0,
            poison_at: 0.0,
            sources: args.sources,
        })
    }
}

impl Handler<Go> for Source {
    async fn handle(&mut self, _: Go, cx: &mut Context<Self>) -> Result<(), BoxError> {
        if self.field.is_over.load(Ordering::Relaxed) {
            return Ok(());
        }
        let pace = self.field.pace.load(Ordering::Relaxed);
        if pace != self.pace {
            (self.pace, self.begun, self.sent) = (pace, Instant::now(), 0);
            self.poison_at = self.pause();
        }
        let seconds = self.begun.elapsed().as_secs_f64();
        let (due, poisons_until) = match pace {
            u64::MAX => (self.sent + BATCH, 0.0),
            pace => ((seconds * pace as f64) as u64, seconds),
        };
        let until = due.min(self.sent + BATCH);
        while self.sent < until {
            let worker = self.dice.below(self.workers.len());
            if self.poison_at <= poisons_until {
                let poison = Some(self.field.poisons.fetch_add(1, Ordering::Relaxed));
                self.field.sent.fetch_add(1, Ordering::Relaxed);
                self.workers[worker].tell(Job { poison }).await?;
                self.sent += 1;
                self.poison_at += self.pause();
            }
            // Behind a poisoned one there is a message to be handled next.
            self.workers[worker].tell(Job { poison: None }).await?;
            self.sent += 1;
            self.field.sent.fetch_add(1, Ordering::Relaxed);
        }
        // A timer would be a millisecond's load at a time.
        cx.me().tell(Go).await?;
        // What it tells itself it would handle in the same run, as often as a run has messages.
        others_first().await;
        Ok(())
    }
}

impl Source {
    /// Draws the time to the next poisoned message, in seconds.
    ///
    /// Exponential, as of a source that does not know when the last one was. Panics in step would meet each other
    /// all the time, and the ticks of the machine's scheduler always or never.
    fn pause(&mut self) -> f64 {
        // Above 0 and at most 1.
        let part = ((self.dice.next() >> 11) + 1) as f64 / (1_u64 << 53) as f64;
        -part.ln() * self.sources as f64 / PANICS_PER_SECOND as f64
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

pub(crate) async fn check(plan: Plan) -> Result<Report, Broken> {
    let sources = available_parallelism().map_or(1, |n| n.get()) as u64;
    let field = Arc::new(Field {
        epoch: Instant::now(),
        fell: (0..ACTORS).map(|_| AtomicU64::new(0)).collect(),
        handled: AtomicU64::new(0),
        sent: AtomicU64::new(0),
        poisons: AtomicU64::new(0),
        pace: AtomicU64::new(u64::MAX),
        is_over: AtomicBool::new(false),
        recovered: Mutex::default(),
    });
    let most = (plan.time.as_secs() + 5) * PANICS_PER_SECOND;
    let crowd = Supervisor::dynamic("crowd")
        .restart_limit(u32::MAX, Duration::from_secs(1))
        .backoff(Backoff::none());
    let tree = Supervisor::one_for_one("soak")
        .child(crowd)
        .child(Supervisor::dynamic("sources"));
    let builder = System::builder().seed(plan.seed);
    let system = builder.dead_letters(most as usize).start(tree).await?;
    let crowd = system.supervisor("soak/crowd")?;
    let mut workers = Vec::new();
    for n in 0..ACTORS {
        let spec = Worker::spec(n.to_string(), (Arc::clone(&field), n));
        workers.push(crowd.start_child(spec).await?);
    }
    let workers = Arc::new(workers);
    let all = system.supervisor("soak/sources")?;
    for n in 0..sources {
        let args = SourceArgs {
            field: Arc::clone(&field),
            workers: Arc::clone(&workers),
            seed: plan.seed.wrapping_add(n),
            sources,
        };
        all.start_child(Source::spec(n.to_string(), args)).await?;
    }

    // The peak: as many as there can be, after a second of warming up.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (before, begun) = (field.handled.load(Ordering::Relaxed), Instant::now());
    tokio::time::sleep(PEAK_TIME).await;
    let handled = field.handled.load(Ordering::Relaxed) - before;
    let peak = handled as f64 / begun.elapsed().as_secs_f64();

    let before = field.handled.load(Ordering::Relaxed);
    let waited_before = kept_waiting()?;
    field
        .pace
        .store((peak / 2.0 / sources as f64) as u64, Ordering::Relaxed);
    let begun = Instant::now();
    tokio::time::sleep(plan.time).await;
    let took = begun.elapsed();
    let handled = field.handled.load(Ordering::Relaxed) - before;
    let waited = kept_waiting()?.saturating_sub(waited_before);
    field.is_over.store(true, Ordering::Relaxed);
    at_rest(&system).await?;

    let poisons = field.poisons.load(Ordering::Relaxed);
    let (mut letters, mut others) = (HashSet::new(), 0_u64);
    let mut twice = 0;
    for letter in system.dead_letters() {
        let number = letter.text.parse::<u64>().ok();
        match (letter.reason, number) {
            (DeadLetterReason::Failed, Some(n)) if n < poisons => {
                twice += u64::from(!letters.insert(n));
            }
            _ => others += 1,
        }
    }
    let sent = field.sent.load(Ordering::Relaxed);
    let handled_ever = field.handled.load(Ordering::Relaxed);
    let lost = (sent - poisons).abs_diff(handled_ever);
    let recovered = Times::new(std::mem::take(&mut field.recovered.lock()));
    system.stop().await;

    let seconds = took.as_secs_f64();
    let mut report = Report::new(format!(
        "panics: {ACTORS} actors at half load for {seconds:.0} s"
    ));
    report.tell("peak, messages a second", format!("{peak:.0}"));
    let load = handled as f64 / seconds / peak;
    report.tell("load, of the peak", format!("{load:.2}"));
    let rate = poisons as f64 / seconds;
    report.tell("panics a second", format!("{rate:.0}"));
    report.count("messages lost", lost, 0);
    let letters = letters.len() as u64;
    report.count("poisoned messages among the dead letters", letters, poisons);
    report.count("there twice", twice, 0);
    report.count("other dead letters", others, 0);
    // What the times below have of it is the machine's.
    let waited = waited.as_secs_f64() / seconds / sources as f64 * 100.0;
    report.tell(
        "workers ready and not run, % of the time",
        format!("{waited:.1}"),
    );
    report.tell("times from panic to next message", recovered.len());
    let us = Duration::from_micros;
    report.time(
        "panic to next message handled, p50",
        recovered.at(0.5),
        us(100),
    );
    report.time("p99", recovered.at(0.99), us(1_000));
    report.time("p99.9", recovered.at(0.999), us(5_000));
    Ok(report)
}
