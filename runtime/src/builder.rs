//! How a system is set up before it starts, and its start.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::causes::Origins;
use crate::cloud_event::Ids;
use crate::core::fence;
use crate::dead_letter::DeadLetters;
use crate::driver::{Driver, Simulation};
use crate::error::StartError;
use crate::flow::Running;
use crate::history::Histories;
use crate::metrics::Meters;
use crate::pool::Pool;
use crate::registry::Registry;
use crate::shared::Shared;
use crate::simulation::Director;
use crate::watch::watch;
use crate::{Supervisor, System};

/// How many dead letters a system keeps unless its builder says otherwise; older ones are still counted.
pub const DEAD_LETTERS: usize = 1024;

/// One in how many messages is timed, unless the builder says otherwise.
///
/// Of 64 a `tell` of 15 ns costs 1.7 ns more, of 256 half a nanosecond; a busy actor still has thousands of samples a second.
const MEASURE_EVERY: u32 = 256;

/// From when on a handler counts as stuck unless the builder says otherwise.
///
/// Five seconds, the [limit of an ask](crate::ASK_TIMEOUT): whoever asked has
/// given up by then.
pub const STUCK_AFTER: Duration = Duration::from_secs(5);

/// How a system is set up before it starts; see [`System::builder`].
#[derive(Debug)]
#[must_use = "nothing runs before `start`"]
pub struct Builder {
    seed: Option<u64>,
    dead_letters: usize,
    pub(crate) kept_causes: usize,
    measure_every: Option<u32>,
    stuck_after: Duration,
    workers: Option<usize>,
    runs: Runs,
    director: Directed,
}

/// Who directs a simulation, if anybody does.
#[derive(Default)]
struct Directed(Option<Box<dyn Director>>);

impl fmt::Debug for Directed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.is_some())
    }
}

/// What runs the actors.
#[derive(Clone, Copy, Debug)]
enum Runs {
    OnWorkers,
    InCurrentRuntime,
    Simulated(u64),
}

impl Builder {
    pub(crate) fn new() -> Self {
        Builder {
            seed: None,
            dead_letters: DEAD_LETTERS,
            kept_causes: 0,
            measure_every: None,
            stuck_after: STUCK_AFTER,
            workers: None,
            runs: Runs::OnWorkers,
            director: Directed::default(),
        }
    }

    /// Sets the seed of all randomness in the runtime, which is the jitter of back-offs; random by default.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Sets how many dead letters are kept; [1,024](DEAD_LETTERS) by default.
    ///
    /// Beside them as many are kept that [have their message](crate::DeadLetter::is_kept),
    /// so that a flood of others does not push these out. Their number bounds the
    /// messages, not how large one is: where messages of megabytes fail, keep few.
    pub fn dead_letters(mut self, kept: usize) -> Self {
        self.dead_letters = kept;
        self
    }

    /// Times one message in `n`, rounded up to a power of two; 256 by default.
    ///
    /// Counts are exact whatever it is. 0 times nothing: the histograms of wait and
    /// handling, the busy share and the ages then stay empty. Beside the sample, each message is timed
    /// that comes to a mailbox a tenth of a second or more after the one that was
    /// timed before, so rare messages are all timed, and ages are true to a tenth
    /// of a second. With 1 every message is timed and ages are exact, which costs
    /// three readings of the clock a message: tests in virtual time want it, as only real time
    /// ticks the tenths, and a [simulated](Self::simulated) system does it by itself.
    pub fn measure_every(mut self, n: u32) -> Self {
        self.measure_every = Some(n.min(1 << 31));
        self
    }

    /// Sets from when on a handler counts as stuck; [five seconds](STUCK_AFTER) by default.
    ///
    /// It is then reported once, whether it waits or blocks its thread: by the
    /// event [`ActorStuck`](crate::ActorStuck) and in the log; and counted for as
    /// long as it goes on, in the metrics and in
    /// [`MailboxInfo::stuck_for`](crate::MailboxInfo::stuck_for). Nothing is done
    /// about it. Handlers are looked at from outside every half second, so it is
    /// reported up to so much later. That is real time, also where the runtime's
    /// clock is paused; a [simulated](Self::simulated) system is looked at in its
    /// own time.
    pub fn stuck_after(mut self, limit: Duration) -> Self {
        self.stuck_after = limit;
        self
    }

    /// Sets the number of workers; by default as many as the machine has cores, at least 1.
    ///
    /// A worker is a thread with an event loop of its own. An actor runs on the
    /// worker where it is woken, so that a conversation stays on one core; what is
    /// more than one worker can do is taken over by others that have nothing to do.
    /// Timers and sockets stay with the worker that they were made on: a handler that
    /// blocks holds them up; see [`blocking`](crate::blocking).
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers.max(1));
        self
    }

    /// Runs the actors as tasks of the tokio runtime that this call to [`start`](Self::start) is made in, instead of on workers of their own.
    ///
    /// For programs that have a runtime already, and for tests in virtual time.
    pub fn in_current_runtime(mut self) -> Self {
        self.runs = Runs::InCurrentRuntime;
        self
    }

    /// Runs the actors one at a time on the thread of this call to [`start`](Self::start), in an order that `seed` decides.
    ///
    /// For tests: under a runtime whose clock is paused
    /// (`#[tokio::test(start_paused = true)]`) the same seed makes the same run,
    /// as long as nobody reads another clock, the network or other randomness, or
    /// has work done on other threads ([`blocking`](crate::blocking)).
    /// It is to be called in a current-thread tokio runtime.
    pub fn simulated(mut self, seed: u64) -> Self {
        self.runs = Runs::Simulated(seed);
        self.seed.get_or_insert(seed);
        self
    }

    /// The same, but `director` decides what is next, sees all that happens and may disturb it; `seed` decides the rest.
    ///
    /// It is for test kits; a test uses one, such as `greenroom-testkit`. Every
    /// message is timed, whatever [`measure_every`](Self::measure_every) says.
    pub fn directed(mut self, seed: u64, director: impl Director) -> Self {
        self.director = Directed(Some(Box::new(director)));
        self.simulated(seed)
    }

    /// Starts the tree and returns when all its actors are up.
    ///
    /// # Errors
    ///
    /// [`StartError`] when a name is invalid or taken twice, actors [declare](crate::Actor::flow)
    /// that they may wait for each other in a circle, or an actor did not
    /// start; those that were up have then been stopped again, the latest first.
    ///
    /// # Panics
    ///
    /// After [`in_current_runtime`](Self::in_current_runtime) or
    /// [`simulated`](Self::simulated), when it is not called inside a tokio runtime;
    /// after the latter also when that has several threads.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the tree.
    pub async fn start(self, tree: Supervisor) -> Result<System, StartError> {
        fence::prepare();
        let is_directed = self.director.0.is_some();
        let no_workers = |error: std::io::Error| StartError::NoWorkers(error.to_string());
        let (driver, office, handle) = match self.runs {
            Runs::OnWorkers => {
                let cores = || std::thread::available_parallelism().map_or(1, usize::from);
                let pool = Pool::start(self.workers.unwrap_or_else(cores)).map_err(no_workers)?;
                // Supervisors have a thread of their own: a worker that is blocked stops nobody
                // from being restarted.
                let mut office = tokio::runtime::Builder::new_multi_thread();
                let office = office.enable_all().worker_threads(1);
                let office = office.thread_name("greenroom-office").build();
                let office = office.map_err(no_workers)?;
                let handle = office.handle().clone();
                (Driver::Pool(pool), Some(office), handle)
            }
            Runs::InCurrentRuntime => (Driver::Tasks, None, Handle::current()),
            Runs::Simulated(seed) => {
                let handle = Handle::current();
                assert_eq!(
                    handle.runtime_flavor(),
                    RuntimeFlavor::CurrentThread,
                    "a simulated system runs on one thread: start it in a current-thread runtime"
                );
                let simulation = Simulation::new(seed, self.director.0);
                handle.spawn(Arc::clone(&simulation).drive());
                (Driver::Simulated(simulation), None, handle)
            }
        };
        let born = {
            let _inside = handle.enter();
            Instant::now()
        };
        let every_one = matches!(self.runs, Runs::Simulated(_)).then_some(1);
        let ids = match self.runs {
            Runs::Simulated(seed) => Ids::simulated(seed),
            // Not the seed of the builder: two processes may have the same.
            _ => Ids::random(RandomState::new().hash_one(())),
        };
        let shared = Arc::new(Shared {
            driver,
            measure_every: match every_one {
                // Who directs sees those that are timed.
                Some(one) if is_directed => one,
                every_one => self.measure_every.or(every_one).unwrap_or(MEASURE_EVERY),
            },
            registry: Registry::new(Origins::new(ids, self.kept_causes)),
            meters: Meters::new(),
            dead_letters: DeadLetters::new(self.dead_letters),
            histories: Histories::default(),
            flow: Running::default(),
            stuck_after: self.stuck_after,
            born,
            seed: self.seed.unwrap_or_else(|| RandomState::new().hash_one(())),
            handle,
            office: Mutex::new(office),
            root: Mutex::new(None),
            root_path: Mutex::new(None),
            end: watch::Sender::new(None),
        });
        watch(&shared).map_err(no_workers)?;
        let system = System::from_shared(shared);
        system.raise(tree).await?;
        Ok(system)
    }
}
