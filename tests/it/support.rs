//! What tests share: a scripted actor that writes down what happens to it, and a look at what listens.

#![forbid(unsafe_code)]
#![allow(
    clippy::expect_used,
    reason = "a test that cannot go on shall fail where it stands"
)]

pub mod web;

use std::borrow::Cow;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use greenroom::prelude::*;
use greenroom::{Builder, Down, Family, Gap, Metric, Sample, Value};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

/// What happened, in order, to all actors that share it.
#[derive(Clone, Default, Debug)]
pub struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    /// Adds a line.
    pub fn add(&self, line: impl Into<String>) {
        self.0.lock().push(line.into());
    }

    /// Forgets all lines.
    pub fn clear(&self) {
        self.0.lock().clear();
    }

    /// Takes all lines out.
    #[must_use]
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock())
    }
}

/// How a [`Scripted`] actor behaves; clones share the log, the gate and the count of starts to fail.
#[derive(Clone, Debug)]
pub struct Script {
    /// Where it writes.
    pub log: Log,
    /// What [`Hold`] waits for.
    pub gate: Arc<Semaphore>,
    /// How often [`Hold`] was reached; see [`hold`].
    pub held: Arc<Semaphore>,
    /// How many of its next starts fail.
    pub failing_starts: Arc<AtomicU32>,
    /// How long `Actor::stop` takes.
    pub stop_takes: Duration,
    /// Whether dropping its state panics.
    pub drop_panics: bool,
}

impl Default for Script {
    fn default() -> Self {
        Script {
            log: Log::default(),
            gate: Arc::new(Semaphore::new(0)),
            held: Arc::new(Semaphore::new(0)),
            failing_starts: Arc::default(),
            stop_takes: Duration::ZERO,
            drop_panics: false,
        }
    }
}

/// An actor that does what it is told and writes it down as `name: what`.
#[derive(Debug)]
pub struct Scripted {
    name: String,
    script: Script,
}

/// The error of a [`Scripted`] actor.
#[derive(Debug)]
pub struct Scripts(pub &'static str);

impl fmt::Display for Scripts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Actor for Scripted {
    type Args = Script;
    type Error = Scripts;

    async fn start(script: Script, cx: &mut Context<Self>) -> Result<Self, Scripts> {
        let name = cx.path().name().to_owned();
        let failing = &script.failing_starts;
        if failing
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
            .is_ok()
        {
            script.log.add(format!("{name}: start failed"));
            return Err(Scripts("no luck"));
        }
        script
            .log
            .add(format!("{name}: start {}", cx.incarnation()));
        Ok(Scripted { name, script })
    }

    async fn stop(&mut self, _: &mut Context<Self>) -> Result<(), Scripts> {
        tokio::time::sleep(self.script.stop_takes).await;
        self.add("stop");
        Ok(())
    }
}

impl Scripted {
    fn add(&self, what: impl fmt::Display) {
        self.script.log.add(format!("{}: {what}", self.name));
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        assert!(!self.script.drop_panics, "dropped");
    }
}

macro_rules! messages {
    ($($(#[$doc:meta])* $name:ident -> $reply:ty;)*) => {$(
        $(#[$doc])*
        impl Message for $name {
            type Reply = $reply;
        }
    )*};
}

/// Writes the text down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Say(pub &'static str);
/// Answers with the number.
#[derive(Debug, PartialEq, Eq)]
pub struct Echo(pub u32);
/// Panics with the text.
#[derive(Clone, Debug)]
pub struct Panic(pub &'static str);
/// Returns the text as an error.
#[derive(Clone, Debug)]
pub struct Fail(pub &'static str);
/// Waits until the test opens the gate once.
#[derive(Debug)]
pub struct Hold;
/// Answers after so long.
#[derive(Debug)]
pub struct Slow(pub Duration);
/// Ends the life normally.
#[derive(Debug)]
pub struct Quit;
/// Runs the closure with the context.
pub struct Do(Action);

/// Awaits the future.
pub struct Await(Pin<Box<dyn Future<Output = ()> + Send>>);

type Action = Box<dyn FnOnce(&mut Context<Scripted>) + Send>;

messages! {
    Say -> ();
    Echo -> u32;
    Panic -> ();
    Fail -> ();
    Hold -> ();
    Slow -> ();
    Quit -> ();
    Do -> ();
    Await -> ();
}

impl fmt::Debug for Await {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Await")
    }
}

/// Awaits `future` in a handler.
pub fn awaiting(future: impl Future<Output = ()> + Send + 'static) -> Await {
    Await(Box::pin(future))
}

impl fmt::Debug for Do {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Do")
    }
}

/// Runs `f` in a handler.
pub fn with(f: impl FnOnce(&mut Context<Scripted>) + Send + 'static) -> Do {
    Do(Box::new(f))
}

/// Something happened, with a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happened(pub u32);
impl Event for Happened {}

/// A reading of a room, with a number: its key is the room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading(pub &'static str, pub u32);

impl Event for Reading {
    fn subject(&self) -> Option<Cow<'_, str>> {
        Some(format!("home.{}.reading", self.0).into())
    }

    fn key(&self) -> Option<Cow<'_, str>> {
        Some(self.0.into())
    }
}

/// The same; the last of three rooms is retained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level(pub &'static str, pub u32);

impl Event for Level {
    fn subject(&self) -> Option<Cow<'_, str>> {
        Some(format!("home.{}.level", self.0).into())
    }

    fn key(&self) -> Option<Cow<'_, str>> {
        Some(self.0.into())
    }

    fn retained() -> usize {
        3
    }
}

type Ran<T = ()> = Result<T, Scripts>;

impl Handler<Say> for Scripted {
    async fn handle(&mut self, Say(text): Say, _: &mut Context<Self>) -> Ran {
        self.add(text);
        Ok(())
    }
}

impl Handler<Echo> for Scripted {
    async fn handle(&mut self, Echo(n): Echo, _: &mut Context<Self>) -> Ran<u32> {
        Ok(n)
    }
}

impl Handler<Panic> for Scripted {
    async fn handle(&mut self, Panic(text): Panic, _: &mut Context<Self>) -> Ran {
        self.add("panic");
        panic!("{text}");
    }
}

impl Handler<Fail> for Scripted {
    async fn handle(&mut self, Fail(text): Fail, _: &mut Context<Self>) -> Ran {
        self.add("fail");
        Err(Scripts(text))
    }
}

impl Handler<Hold> for Scripted {
    async fn handle(&mut self, _: Hold, _: &mut Context<Self>) -> Ran {
        self.add("hold");
        self.script.held.add_permits(1);
        if let Ok(permit) = self.script.gate.acquire().await {
            permit.forget();
        }
        Ok(())
    }
}

impl Handler<Slow> for Scripted {
    async fn handle(&mut self, Slow(time): Slow, _: &mut Context<Self>) -> Ran {
        tokio::time::sleep(time).await;
        self.add("slow");
        Ok(())
    }
}

impl Handler<Quit> for Scripted {
    async fn handle(&mut self, _: Quit, cx: &mut Context<Self>) -> Ran {
        self.add("quit");
        cx.stop();
        Ok(())
    }
}

impl Handler<Do> for Scripted {
    async fn handle(&mut self, Do(f): Do, cx: &mut Context<Self>) -> Ran {
        f(cx);
        Ok(())
    }
}

impl Handler<Await> for Scripted {
    async fn handle(&mut self, Await(future): Await, _: &mut Context<Self>) -> Ran {
        future.await;
        Ok(())
    }
}

impl Handler<Happened> for Scripted {
    async fn handle(&mut self, Happened(n): Happened, _: &mut Context<Self>) -> Ran {
        self.add(format!("happened {n}"));
        Ok(())
    }
}

impl Handler<Reading> for Scripted {
    async fn handle(&mut self, Reading(room, n): Reading, _: &mut Context<Self>) -> Ran {
        self.add(format!("{room} {n}"));
        Ok(())
    }
}

impl Handler<Level> for Scripted {
    async fn handle(&mut self, Level(room, n): Level, _: &mut Context<Self>) -> Ran {
        self.add(format!("{room} {n}"));
        Ok(())
    }
}

impl Handler<Gap> for Scripted {
    async fn handle(&mut self, gap: Gap, _: &mut Context<Self>) -> Ran {
        self.add(gap);
        Ok(())
    }
}

impl Handler<Down> for Scripted {
    async fn handle(&mut self, down: Down, _: &mut Context<Self>) -> Ran {
        self.add(format!("down {down}"));
        Ok(())
    }
}

/// What runs the actors of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// So many workers of the system's own, in real time.
    Workers(usize),
    /// Tasks of the test's own runtime, so that time is virtual.
    Tasks,
    /// A simulation on the test's own runtime: time is virtual, and the order is that of a seed.
    Simulated,
}

impl Driver {
    /// Returns a builder of systems that are run so; `SEED` says by which dice.
    ///
    /// # Panics
    ///
    /// When `SEED` is not a number.
    pub fn builder(self) -> Builder {
        let seed = seed();
        let builder = System::builder().seed(seed);
        match self {
            Driver::Workers(n) => builder.workers(n),
            Driver::Tasks => builder.in_current_runtime(),
            Driver::Simulated => {
                println!("SEED={seed}");
                builder.simulated(seed)
            }
        }
    }
}

/// The seed of a run: `SEED` from the environment, or 1.
///
/// # Panics
///
/// When it is not a number.
#[must_use]
pub fn seed() -> u64 {
    std::env::var("SEED").map_or(1, |seed| match seed.parse() {
        Ok(seed) => seed,
        Err(error) => panic!("SEED={seed}: {error}"),
    })
}

/// A tree of one scripted actor, `app/it`, that may be restarted a hundred times.
#[must_use]
pub fn lone(script: &Script) -> Supervisor {
    Supervisor::one_for_one("app")
        .restart_limit(100, Duration::from_secs(60))
        .backoff(Backoff::none())
        .child(Scripted::spec("it", script.clone()))
}

/// Makes an idle actor stuck in a handler, until the test opens its gate; returns when it is.
///
/// # Panics
///
/// When it takes no messages.
pub async fn hold(it: &ActorRef<Scripted>, script: &Script) {
    it.tell(Hold).await.expect("it takes messages");
    let held = script.held.acquire().await;
    held.expect("nobody closes it").forget();
}

/// Returns when an actor has handled all that was queued before this call.
///
/// # Panics
///
/// When it does not answer.
pub async fn caught_up(it: &ActorRef<Scripted>) {
    it.ask(Echo(0)).await.expect("it answers");
}

/// Waits for something that others bring about, in whatever time.
///
/// # Panics
///
/// When it has not come about after ten seconds.
pub async fn until(mut is_so: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !is_so() {
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "it does not come"
        );
        // Lets virtual time pass, and threads have their turn.
        tokio::time::sleep(Duration::from_millis(1)).await;
        std::thread::yield_now();
    }
}

/// Returns what the series of a metric with these labels says; of a histogram, how much was recorded.
///
/// # Panics
///
/// When there is no such series.
#[must_use]
pub fn number(families: &[Family], metric: Metric, wanted: &[(&str, &str)]) -> f64 {
    let samples = families.iter().filter(|f| f.metric == metric);
    let has = |sample: &&Sample, (k, v): &(&str, &str)| {
        let mut labels = sample.labels.iter();
        labels.any(|(name, value)| name == k && value == v)
    };
    let sample = samples
        .flat_map(|family| &family.samples)
        .find(|sample| wanted.iter().all(|label| has(sample, label)))
        .unwrap_or_else(|| panic!("no series of {metric:?} with {wanted:?}"));
    match &sample.value {
        Value::Number(n) => *n,
        Value::Histogram(h) => h.count as f64,
        other => panic!("{other:?} is no number"),
    }
}

/// Lets everything run that can run without time passing, beyond one virtual millisecond.
///
/// On a paused clock the sleep ends only when every other task is idle.
pub async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// The README's code is compiled and run as a test.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
