//! Whole systems in an order that a seed decides, many seeds after each other, and the first that fails made short.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::env;
use std::fmt;
use std::future::{Future, poll_fn};
use std::ops::Range;
use std::panic::{self, AssertUnwindSafe, Location};
use std::pin::pin;
use std::sync::{Arc, Once};
use std::task::Poll;
use std::time::Duration;

use greenroom::{StartError, Supervisor, System};
use parking_lot::Mutex;
use tokio::time::timeout;

use crate::checks::{Checks, Unrest, Violation};
use crate::dice::{Choices, Dice, Lane};
use crate::faults::{Faults, Uses};
use crate::shrink::shrink;
use crate::stage::{Crash, Stage};
use crate::time::{in_virtual_time, pass};
use crate::trace::{Shows, Trace};

/// What a scenario has in hand: the system under test, the dice, and a way to say what is wrong.
///
/// Clones are the same. Actors may have one as well.
///
/// # Panics
///
/// Its methods do in a closure of [`Faults`] or [`Checks`] and in the `Debug` of a message, which are asked in the
/// middle of a decision.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use greenroom_testkit::{Fault, Faults, Sim, pass, simulate};
/// # use greenroom::prelude::*;
/// # struct Lamp;
/// # impl Actor for Lamp {
/// #     type Args = ();
/// #     type Error = BoxError;
/// #     async fn start((): (), _: &mut Context<Self>) -> Result<Self, BoxError> { Ok(Lamp) }
/// # }
/// # #[derive(Clone, Debug)]
/// # struct Switch(bool);
/// # impl Message for Switch { type Reply = (); }
/// # impl Handler<Switch> for Lamp {
/// #     async fn handle(&mut self, _: Switch, _: &mut Context<Self>) -> Result<(), BoxError> { Ok(()) }
/// # }
///
/// async fn an_evening(sim: Sim) {
///     let home = Supervisor::one_for_one("home").child(Lamp::spec("lamp", ()));
///     let system = sim.start(home).await.unwrap();
///     let lamp = system.find::<Lamp>("home/lamp").unwrap();
///     for n in 0..3 {
///         sim.note(format_args!("somebody comes home, the {}.", n + 1));
///         lamp.tell(Switch(sim.chance(1, 2))).await.unwrap();
///         pass(Duration::from_secs(sim.choose(60) as u64)).await;
///     }
///     sim.calm();
///     pass(Duration::from_secs(60)).await;
///     if sim.crashes().iter().all(|crash| crash.path != "home/lamp") {
///         sim.fail("the lamp has never been short-circuited");
///     }
/// }
///
/// let faults = Faults::new().nth("home/lamp", 2, Fault::Panic("short circuit".into()));
/// simulate(an_evening).faults(faults).seeds(0..10).run();
/// ```
#[derive(Clone)]
pub struct Sim(Arc<Inner>);

struct Inner {
    stage: Arc<Stage>,
    seed: u64,
    /// Each with its number on the stage.
    systems: Mutex<Vec<(usize, System)>>,
    checks: Checks,
}

impl Sim {
    /// Starts a tree in the simulation; when it has started, faults may come to it by chance.
    ///
    /// # Errors
    ///
    /// As [`Builder::start`](greenroom::Builder::start).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the tree.
    pub async fn start(&self, tree: Supervisor) -> Result<System, StartError> {
        let (director, n) = self.0.stage.direct();
        let builder = System::builder().directed(self.0.seed, director);
        let system = builder.start(tree).await?;
        self.0.systems.lock().push((n, system.clone()));
        self.0.stage.roughen(n);
        Ok(system)
    }

    /// Returns the seed of this run.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.0.seed
    }

    /// Returns a number below `n`, as the seed decides; 0 should mean the least that can be done.
    ///
    /// Where `n` is 0 there is no such number, and it returns 0.
    /// It may be called anywhere, also in handlers. Whoever rolls other dice is not reproduced.
    #[must_use]
    pub fn choose(&self, n: usize) -> usize {
        self.0.stage.with(|state| state.dice.choose(Lane::World, n))
    }

    /// Returns true `part` of `whole` times, as the seed decides; false should mean the least that can be done.
    #[must_use]
    pub fn chance(&self, part: u32, whole: u32) -> bool {
        let chance = |dice: &mut Dice| dice.chance(Lane::World, part, whole);
        self.0.stage.with(|state| chance(&mut state.dice))
    }

    /// From here on nothing goes wrong by chance, also in systems that are started later; what is scripted still does.
    pub fn calm(&self) {
        self.0.stage.with(|state| state.is_calm = true);
    }

    /// Writes a line into the trace.
    pub fn note(&self, text: impl fmt::Display) {
        self.0.stage.note(|| text.to_string());
    }

    /// Returns all failures of actors so far, of all systems, in their order: so that a scenario can say that some were.
    #[must_use]
    pub fn crashes(&self) -> Vec<Crash> {
        self.0.stage.with(|state| state.crashes.clone())
    }

    /// Says that something does not hold: the run ends and has failed, at the place of this call.
    ///
    /// A panic of the scenario, as by `assert!`, does the same; one in a handler is
    /// a crash of that actor, and no failure of the run.
    #[track_caller]
    pub fn fail(&self, text: impl fmt::Display) {
        let place = Location::caller().to_string();
        let violation = Violation::new("scenario", place, text.to_string());
        self.0.stage.find(violation);
    }

    /// Looks at all systems from outside, and says whether something was found.
    fn look(&self) -> bool {
        let stage = &self.0.stage;
        for (n, system) in self.0.systems.lock().iter() {
            if let Some(violation) = self.0.checks.ledger(system, stage.seen(*n), false) {
                stage.find(violation);
            }
        }
        stage.with(|state| state.found.is_some())
    }

    /// The scenario is over: leaves the systems alone, looks at them, and stops them.
    async fn end(&self) {
        self.calm();
        let (stage, checks) = (&self.0.stage, &self.0.checks);
        let systems = self.0.systems.lock().clone();
        if let Some(time) = checks.rest_time() {
            stage.note(|| "the scenario is over".to_owned());
            pass(time).await;
            if self.look() {
                return;
            }
            let unrest = || systems.iter().map(|(_, system)| Checks::unrest(system));
            let before: Vec<_> = unrest().collect();
            if before.iter().any(|all| !all.is_empty()) {
                // Who has a timer is busy again and again, who crashes at each start between two lives; who is stuck
                // comes no further.
                pass(time).await;
                if self.look() {
                    return;
                }
            }
            for ((before, now), (_, system)) in before.iter().zip(unrest()).zip(&systems) {
                let is_stuck = |now: &&Unrest| before.iter().any(|before| now.is_still(before));
                let Some(stuck) = now.iter().find(is_stuck) else {
                    continue;
                };
                for info in system.snapshot() {
                    let (path, incarnation, state) = (info.path, info.incarnation, info.state);
                    stage.note(|| format!("{path}#{incarnation} is {}", state.as_str()));
                }
                stage.find(stuck.violation());
                return;
            }
        }
        for (n, system) in systems {
            if timeout(STOP_MAX, system.stop()).await.is_err() {
                let text = format!("{system:?} has not stopped within {STOP_MAX:?}");
                stage.find(Violation::new("stop", n.to_string(), text));
            } else if let Some(violation) = checks.ledger(&system, stage.seen(n), true) {
                stage.find(violation);
            }
        }
    }
}

/// How long a system may take to stop: a day, as only what hangs takes longer than its deadlines.
const STOP_MAX: Duration = Duration::from_secs(86_400);

/// A scenario, and how it is to be run; made by [`simulate`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use greenroom_testkit::{Checks, Faults, Sim, simulate};
/// # use greenroom::prelude::*;
/// # struct Lamp;
/// # impl Actor for Lamp {
/// #     type Args = ();
/// #     type Error = BoxError;
/// #     async fn start((): (), _: &mut Context<Self>) -> Result<Self, BoxError> { Ok(Lamp) }
/// # }
/// # #[derive(Clone, Debug)]
/// # struct Switch(bool);
/// # impl Message for Switch { type Reply = (); }
/// # impl Handler<Switch> for Lamp {
/// #     async fn handle(&mut self, _: Switch, _: &mut Context<Self>) -> Result<(), BoxError> { Ok(()) }
/// # }
///
/// async fn an_evening(sim: Sim) {
///     let home = Supervisor::one_for_one("home").child(Lamp::spec("lamp", ()));
///     let system = sim.start(home).await.unwrap();
///     // A random fault may come to it.
///     let _ = system.find::<Lamp>("home/lamp").unwrap().tell(Switch(true)).await;
/// }
///
/// let evening = simulate(an_evening)
///     .faults(Faults::new().random(50))
///     .checks(Checks::all())
///     .show::<Switch>()
///     .limit(Duration::from_secs(3600))
///     .decisions(10_000)
///     .tries(500)
///     .seeds(0..20);
/// evening.run();
/// // The same one by one: what happened in a run, and whether one fails.
/// assert!(evening.trace(7).to_string().contains("home/lamp#1  starts"));
/// assert!(evening.find_in(7).is_none());
/// ```
#[derive(Clone)]
#[must_use = "nothing is simulated before `run`"]
pub struct Simulation<F> {
    scenario: F,
    faults: Faults,
    checks: Checks,
    shows: Shows,
    seeds: Range<u64>,
    limit: Duration,
    decisions_max: u64,
    tries: usize,
}

/// Makes a simulation of a scenario: a function that starts a tree, does something with it, and says what has to hold.
///
/// See the [crate's documentation](crate) for an example, and for how to read a failure.
pub fn simulate<F, Fut>(scenario: F) -> Simulation<F>
where
    F: Fn(Sim) -> Fut,
    Fut: Future<Output = ()>,
{
    Simulation {
        scenario,
        faults: Faults::new(),
        checks: Checks::all(),
        shows: Shows::default(),
        seeds: 0..100,
        limit: Duration::from_secs(366 * 86_400),
        decisions_max: 1_000_000,
        tries: 2_000,
    }
}

/// The first failure of a simulation: what it is, its seed, and the shortest run that was found to have it.
///
/// Shown as text it is the report that [`Simulation::run`] panics with.
///
/// # Examples
///
/// ```
/// use greenroom_testkit::{Sim, simulate};
///
/// async fn a_bet(sim: Sim) {
///     let _ = sim.choose(10);
///     assert_ne!(sim.choose(3), 1, "the house wins");
/// }
///
/// let found = simulate(a_bet).find().expect("one of a hundred loses");
/// assert!(found.what.contains("the house wins"));
/// // What was chosen first does not matter, so it is left out.
/// assert_eq!((found.choices, found.schedule.as_str()), (1, "schedule -, faults -, world 1:1"));
/// assert!(found.to_string().starts_with(&format!("seed {} fails: panic at ", found.seed)));
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Found {
    /// The seed whose run failed.
    pub seed: u64,
    /// Which check it is, or where the scenario panicked, and what it said, in the run of the seed.
    pub what: String,
    /// The same in the shortest run.
    pub short: String,
    /// Whether the same choices fail again; if not, something else than the seed decides, and nothing was made short.
    pub is_repeated: bool,
    /// What happened in the shortest run.
    pub trace: Trace,
    /// How many choices of the seed's run were not the plainest.
    pub choices_before: usize,
    /// How many still were not in the shortest.
    pub choices: usize,
    /// Those choices, as text.
    pub schedule: String,
    /// How many runs it took to make it short.
    pub tries: usize,
}

/// What one run came to.
pub(crate) struct Run {
    pub(crate) made: Choices,
    pub(crate) found: Option<Violation>,
    pub(crate) trace: Trace,
    pub(crate) uses: Uses,
}

impl<F, Fut> Simulation<F>
where
    F: Fn(Sim) -> Fut,
    Fut: Future<Output = ()>,
{
    /// Sets what goes wrong; nothing by default.
    pub fn faults(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }

    /// Sets what has to hold in every run; [`Checks::all`] by default.
    pub fn checks(mut self, checks: Checks) -> Self {
        self.checks = checks;
        self
    }

    /// Sets which seeds are tried; 0 to 99 by default.
    ///
    /// The environment overrules it: `SEED=7` tries that one alone, `SEEDS=100000` so many from 0 on.
    pub fn seeds(mut self, seeds: Range<u64>) -> Self {
        self.seeds = seeds;
        self
    }

    /// Shows messages of type `M` in the trace as their `Debug` text does; else it shows their type.
    pub fn show<M: fmt::Debug + 'static>(mut self) -> Self {
        self.shows.add::<M>();
        self
    }

    /// Sets how long a scenario may take, in its own time; a year by default.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Sets how many decisions there may be in one run, each turn of the scenario counted as one; a million by default.
    ///
    /// Actors that keep each other busy, and scenarios that wait for something
    /// in a loop that only yields, let no virtual time pass: this ends them. It also ends what goes on after the
    /// scenario has returned: actors with timers do so until the [limit](Self::limit), unless the scenario ends with
    /// `system.stop().await`.
    pub fn decisions(mut self, most: u64) -> Self {
        self.decisions_max = most.max(1);
        self
    }

    /// Sets how many runs may be spent on making a failure short; 2,000 by default.
    pub fn tries(mut self, most: usize) -> Self {
        self.tries = most;
        self
    }

    /// Tries all seeds, and panics with a report of the first that fails.
    ///
    /// # Panics
    ///
    /// When a seed fails, and as [`find`](Self::find); also when it is called inside a runtime, as each run has its own.
    #[track_caller]
    pub fn run(&self) {
        if let Some(found) = self.find() {
            panic!("{found}");
        }
    }

    /// Tries all seeds, and returns the first failure.
    ///
    /// # Panics
    ///
    /// When `SEED` or `SEEDS` is not a number, and when there is no seed to try. When no seed fails, and one of the
    /// [faults](Faults) that are written down came in none of them; unless the environment asks for fewer seeds.
    #[must_use]
    #[track_caller]
    pub fn find(&self) -> Option<Box<Found>> {
        self.find_among(number("SEED"), number("SEEDS"))
    }

    /// As the environment says: one seed, or so many.
    #[track_caller]
    fn find_among(&self, seed: Option<u64>, n: Option<u64>) -> Option<Box<Found>> {
        let seeds = match (seed, n) {
            (Some(seed), _) => return self.find_in(seed),
            (None, Some(n)) => 0..n,
            (None, None) => self.seeds.clone(),
        };
        assert!(
            !seeds.is_empty(),
            "no seed is tried, which proves nothing: `SEEDS` is 0, or the range of `seeds` is empty"
        );
        let count = |seeds: &Range<u64>| seeds.end.saturating_sub(seeds.start);
        let is_full = count(&seeds) >= count(&self.seeds);
        let mut uses = Uses::default();
        for seed in seeds {
            if let Some(found) = self.find_and_note(seed, &mut uses) {
                return Some(found);
            }
        }
        // Fewer seeds than it was written for may well not come to all of it.
        if is_full && let Some(text) = self.faults.useless(&uses) {
            panic!("{text}");
        }
        None
    }

    /// Tries one seed, and returns how it failed.
    ///
    /// # Panics
    ///
    /// When it is called inside a runtime.
    #[must_use]
    pub fn find_in(&self, seed: u64) -> Option<Box<Found>> {
        self.find_and_note(seed, &mut Uses::default())
    }

    /// The same, and adds which of the faults came.
    fn find_and_note(&self, seed: u64, uses: &mut Uses) -> Option<Box<Found>> {
        let run = self.run_once(seed, Dice::of_seed(seed), false);
        uses.add(&run.uses);
        let first = run.found?;
        let mut tries = 0;
        let choices_before = run.made.len();
        // Another failure is another story.
        let is_first =
            |found: &Option<Violation>| found.as_ref().is_some_and(|found| found.is_same(&first));
        let again = self.run_once(seed, Dice::of(run.made.clone()), false);
        let (short, run) = if is_first(&again.found) {
            let short = shrink(run.made, self.tries, |choices| {
                tries += 1;
                let run = self.run_once(seed, Dice::of(choices), false);
                is_first(&run.found).then_some(run.made)
            });
            let run = self.run_once(seed, Dice::of(short.clone()), true);
            (short, run)
        } else {
            // What is left out would be nothing but what happens not to matter this time.
            let made = run.made.trimmed();
            let run = self.run_once(seed, Dice::of(made.clone()), true);
            (made, run)
        };
        let is_repeated = is_first(&again.found) && is_first(&run.found);
        Some(Box::new(Found {
            seed,
            what: first.to_string(),
            short: run
                .found
                .map_or_else(String::new, |found| found.to_string()),
            is_repeated,
            trace: run.trace,
            choices_before,
            choices: short.len(),
            schedule: short.to_string(),
            tries,
        }))
    }

    /// Runs one seed as it is, and returns what happened in it.
    ///
    /// # Panics
    ///
    /// When it is called inside a runtime.
    #[must_use]
    pub fn trace(&self, seed: u64) -> Trace {
        self.run_once(seed, Dice::of_seed(seed), true).trace
    }

    fn run_once(&self, seed: u64, dice: Dice, is_traced: bool) -> Run {
        let _silence = silence();
        in_virtual_time(async {
            let (faults, checks) = (self.faults.clone(), self.checks.clone());
            let stage = Stage::new(dice, faults, checks.clone(), self.decisions_max);
            if is_traced {
                let trace = Trace::new(self.shows.clone());
                stage.with(|state| state.trace = Some(trace));
            }
            let sim = Sim(Arc::new(Inner {
                stage: Arc::clone(&stage),
                seed,
                systems: Mutex::default(),
                checks,
            }));
            let play = async {
                let scenario = (self.scenario)(sim.clone());
                if timeout(self.limit, scenario).await.is_err() {
                    let text = format!("the scenario is not over after {:?}", self.limit);
                    stage.find(Violation::new("limit", "", text));
                }
                if !sim.look() {
                    sim.end().await;
                }
            };
            let mut play = pin!(play);
            let mut news = pin!(stage.news.notified());
            poll_fn(|cx| {
                // Registered before it is looked, so that nothing is found in between.
                while news.as_mut().poll(cx).is_ready() {
                    news.set(stage.news.notified());
                }
                // A scenario that only yields lets no time pass, and decides nothing: it counts as well.
                let now = stage.now();
                stage.with(|state| state.is_endless(now));
                if sim.look() {
                    return Poll::Ready(());
                }
                match caught(|| play.as_mut().poll(cx)) {
                    Ok(polled) => polled,
                    Err((place, text)) => {
                        stage.find(Violation::panic(&place, text));
                        Poll::Ready(())
                    }
                }
            })
            .await;
            stage.with(|state| Run {
                made: std::mem::take(&mut state.dice.made),
                found: state.found.take(),
                trace: state.trace.take().unwrap_or_default(),
                uses: std::mem::take(&mut state.script.uses),
            })
        })
    }
}

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    match text.parse() {
        Ok(number) => Some(number),
        Err(error) => panic!("{name}={text}: {error}"),
    }
}

fn text_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
    text.unwrap_or("it carries no text").to_owned()
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
    static BLAMED: Cell<Option<&'static Location<'static>>> = const { Cell::new(None) };
}

/// Fails what a test expected at this place. Failures are told apart by it, and not by the line of the kit from which they
/// come: so a shrunk run fails as the first one did.
#[cold]
pub(crate) fn fail_at(place: &'static Location<'static>, text: fmt::Arguments<'_>) -> ! {
    BLAMED.set(Some(place));
    panic!("{place}: {text}")
}

/// Sends what actors report of their crashes to nobody, unless somebody listens already: thousands of them are wanted.
fn silence() -> Option<tracing::subscriber::DefaultGuard> {
    let nobody = tracing::subscriber::NoSubscriber::default();
    (!tracing::dispatcher::has_been_set()).then(|| tracing::subscriber::set_default(nobody))
}

/// Calls `f`; a panic in it is not shown, and comes with its place.
pub(crate) fn caught<R>(f: impl FnOnce() -> R) -> Result<R, (String, String)> {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.try_with(Cell::get).unwrap_or(false) {
                return before(info);
            }
            let blamed = BLAMED.try_with(Cell::take).ok().flatten();
            let place = blamed
                .or(info.location())
                .map_or_else(String::new, ToString::to_string);
            let _ = PLACE.try_with(|slot| slot.replace(place));
        }));
    });
    BLAMED.set(None);
    // What is caught may be inside of what is caught: an actor that the scenario asks is handled on its stack.
    let was_quiet = QUIET.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(f));
    QUIET.set(was_quiet);
    result.map_err(|payload| {
        let (place, text) = (PLACE.with(RefCell::take), text_of(&*payload));
        // What failed a test's expectation says the place itself.
        let text = text.strip_prefix(&format!("{place}: ")).unwrap_or(&text);
        (place, text.to_owned())
    })
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Found {
            seed,
            what,
            short,
            is_repeated,
            trace,
            choices_before,
            choices,
            schedule,
            tries,
        } = self;
        writeln!(f, "seed {seed} fails: {what}")?;
        if *is_repeated {
            writeln!(
                f,
                "again with SEED={seed}; of {choices_before} choices that are not the plainest {choices} are left, after {tries} runs:"
            )?;
        } else {
            writeln!(
                f,
                "the same choices did not fail again: something else than the seed decides, such as a static, a clock or another thread; the last run of them:"
            )?;
        }
        writeln!(f, "{schedule}")?;
        writeln!(f)?;
        write!(f, "{trace}")?;
        if short != what {
            let short = if short.is_empty() { "nothing" } else { short };
            writeln!(f, "\nin this run: {short}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sim(seed {})", self.0.seed)
    }
}

impl<F> fmt::Debug for Simulation<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation")
            .field("faults", &self.faults)
            .field("checks", &self.checks)
            .field("seeds", &self.seeds)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_seeds_than_a_simulation_has_need_not_come_to_all_its_faults() {
        let simulation = simulate(async |_: Sim| ())
            .faults(Faults::new().deaf("nobody"))
            .seeds(0..3);
        assert!(simulation.find_among(Some(7), None).is_none());
        assert!(simulation.find_among(None, Some(2)).is_none());
        for n in [None, Some(3), Some(4)] {
            let found = caught(|| simulation.find_among(None, n));
            let text = found.unwrap_err().1;
            assert!(text.contains("deaf(\"nobody\")"), "{text}");
        }
    }
}
