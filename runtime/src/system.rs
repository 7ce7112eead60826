//! A running tree: started, found in, published to, observed and stopped.

use std::any::type_name;
use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use greenroom_supervision::{ChildId, Exit};
use parking_lot::Mutex;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::book::Lead;
use crate::causes::Origins;
use crate::cell::ActorCell;
use crate::cloud_event::Ids;
use crate::core::fence;
use crate::dead_letter::{DeadLetter, DeadLetters};
use crate::delivery::Delivery;
use crate::driver::{Driver, Simulation};
use crate::error::{Escalated, FindError, NotReady, ResendError, StartError};
use crate::failure::logged;
use crate::flow::Running;
use crate::history::Histories;
use crate::metrics::{Family, Ledger, Meters};
use crate::pool::Pool;
use crate::registry::Registry;
use crate::role::{Boss, Ended, Note, RestartReason, Role};
use crate::shared::Shared;
use crate::simulation::Director;
use crate::snapshot::{ActorInfo, ActorState, Seen};
use crate::supervisor::SupervisorCell;
use crate::supervisor_ref::SupervisorRef;
use crate::watch::watch;
use crate::{Actor, ActorRef, Event, Path, StartCause, Supervisor};

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

/// A running tree of actors.
///
/// It is a handle: cheap to clone, and dropping it does not stop the tree.
/// [`stop`](System::stop) does, or a signal after
/// [`stop_on_signals`](System::stop_on_signals).
///
/// The futures of this crate can be awaited on any executor;
/// [`block_on`](crate::block_on) serves where there is none.
#[derive(Clone)]
pub struct System {
    shared: Arc<Shared>,
}

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
    /// [`StartError`] when a name is invalid or taken twice, actors [declare](Actor::flow)
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
        let system = System { shared };
        system.raise(tree).await?;
        Ok(system)
    }
}

impl System {
    /// Starts the tree on workers of its own and returns when all its actors are up.
    ///
    /// # Errors
    ///
    /// As [`Builder::start`].
    ///
    /// # Cancel safety
    ///
    /// As [`Builder::start`].
    pub async fn start(tree: Supervisor) -> Result<System, StartError> {
        Self::builder().start(tree).await
    }

    /// Returns a builder, for a system that is not the default one.
    pub fn builder() -> Builder {
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

    pub(crate) fn from_shared(shared: Arc<Shared>) -> Self {
        System { shared }
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    async fn raise(&self, tree: Supervisor) -> Result<(), StartError> {
        tree.check_below(None)?;
        let admitted = self.shared.admit_tree(&tree);
        admitted.map_err(StartError::WaitingCycle)?;
        let root = tree.build(None, ChildId(0), &self.shared);
        *self.shared.root_path.lock() = Some(root.path().clone());
        self.shared.registry.origins.raised(root.path());
        *self.shared.root.lock() = Some(Arc::clone(&root) as Arc<dyn Role>);
        let (notes, mut inbox) = mpsc::unbounded_channel();
        let above = Lead::above(root.id(), notes);
        let boss = Boss::new(&*root, &above);
        drop(above);
        let (up, mut is_up) = watch::channel(false);
        let shared = Arc::clone(&self.shared);
        // Here and not in the task: an order to stop that comes at once must find it launched.
        let role = Arc::clone(&root) as Arc<dyn Role>;
        self.shared.registry.register(role);
        let launched = Arc::clone(&root).launch(boss, StartCause::Boot);
        Arc::clone(&root).go(launched);
        let unfinished = StopUnlessUp {
            system: Some(self.clone()),
        };
        self.shared.handle.spawn(async move {
            let ended = loop {
                match inbox.recv().await {
                    Some(Note::Started { .. }) => up.send_replace(true),
                    Some(Note::Ended { ended, .. }) => break ended,
                    Some(_) => continue,
                    None => {
                        break Ended {
                            exit: Exit::Killed,
                            ..Ended::shutdown()
                        };
                    }
                };
            };
            root.retire();
            shared.dead_letters.end();
            shared.registry.end();
            *shared.root.lock() = None;
            shared.end.send_replace(Some(ended));
        });
        // The sender goes when the root has ended, so this returns in either case.
        let started = is_up.wait_for(|up| *up).await.is_ok();
        unfinished.disarm();
        if started {
            return Ok(());
        }
        let ended = self.ended().await;
        Err(ended
            .failure
            .map_or(StartError::Stopped, StartError::ChildFailed))
    }

    async fn ended(&self) -> Ended {
        let mut end = self.shared.end.subscribe();
        let ended = end
            .wait_for(Option::is_some)
            .await
            .map(|ended| ended.clone());
        // The sender lives as long as `self`.
        ended.ok().flatten().unwrap_or_else(Ended::shutdown)
    }

    // ===== to find and to publish =====

    /// Returns a reference to the actor at `path`, as in `home/kitchen/lights`.
    ///
    /// # Errors
    ///
    /// [`FindError`] when nothing is there, with what is nearby, or when it is an
    /// actor of another type.
    pub fn find<A: Actor>(&self, path: &str) -> Result<ActorRef<A>, FindError> {
        self.find_role::<ActorCell<A>>(path, type_name::<A>())
            .map(ActorRef::new)
    }

    /// Returns a reference to the supervisor at `path`.
    ///
    /// # Errors
    ///
    /// As [`find`](Self::find).
    pub fn supervisor(&self, path: &str) -> Result<SupervisorRef, FindError> {
        self.find_role::<SupervisorCell>(path, "supervisor")
            .map(SupervisorRef::new)
    }

    fn find_role<R: Role>(&self, path: &str, wanted: &'static str) -> Result<Arc<R>, FindError> {
        let Some(role) = self.shared.registry.get(path) else {
            let nearby = self.shared.registry.nearby(path);
            return Err(FindError::NotFound {
                path: path.to_owned(),
                nearby,
            });
        };
        let (path, found) = (role.path().clone(), role.kind());
        role.into_any()
            .downcast::<R>()
            .map_err(|_| FindError::WrongType {
                path,
                wanted,
                found,
            })
    }

    /// Publishes an event to all its subscribers, and never waits for any of them.
    ///
    /// A plain subscriber whose mailbox is full does not get the event: that is counted
    /// by actor and reason, and kept as a dead letter; a [`Subscription`](crate::Subscription)
    /// has terms of its own for that. An event that nobody has
    /// subscribed to yet is heard by nobody, so list subscribers before publishers
    /// in the tree. Events of one publisher
    /// reach each subscriber in the order in which they were published.
    ///
    /// # Examples
    ///
    /// ```
    /// # use greenroom::prelude::*;
    /// # #[derive(Clone, Debug)] struct MotionSeen;
    /// # impl Event for MotionSeen {}
    /// # fn example(system: &System) {
    /// let delivery = system.publish(MotionSeen);
    /// println!("{} heard it", delivery.delivered);
    /// # }
    /// ```
    pub fn publish<E: Event>(&self, event: E) -> Delivery {
        self.shared.registry.publish(&event)
    }

    /// Publishes an event, waiting up to `limit` for plain subscribers that have no room.
    ///
    /// It is for a source that can be slowed down: a file, a replay, a queue
    /// that is read as fast as it is worked off. Subscribers with room get the
    /// event at once; one that has none in the end is treated as by
    /// [`publish`](Self::publish), and one that stops meanwhile counts the event
    /// as rejected, reason `stopped`. Subscriptions with terms are not waited for, as
    /// they say themselves what becomes of the event; see
    /// [`Delivery::await_required`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the event with those who have it already; the
    /// others do not get it, which is counted as rejected, reason `cancelled`.
    pub async fn publish_within<E: Event>(&self, event: E, limit: Duration) -> Delivery {
        self.shared.registry.publish_within(event, limit).await
    }

    // ===== to observe =====

    /// Returns every actor and supervisor as it is now, sorted by path.
    ///
    /// It never waits for an actor, so it tells the truth also of one that is stuck.
    #[must_use]
    pub fn snapshot(&self) -> Vec<ActorInfo> {
        let mut infos: Vec<ActorInfo> = Vec::new();
        self.shared
            .registry
            .for_each(|role| infos.push(ActorInfo::of(role)));
        infos.sort_by(|a, b| a.path.cmp(&b.path));
        infos
    }

    /// Returns the dead letters that are kept, the oldest first.
    #[must_use]
    pub fn dead_letters(&self) -> Vec<DeadLetter> {
        self.shared.dead_letters.list()
    }

    /// Sends the message of a dead letter again, to the actor that now has the letter's path.
    ///
    /// It counts as a new message: it goes to the end of the mailbox, nobody waits
    /// for a reply of it, it expires no more, and it has [all its tries](crate::Spec::retry)
    /// before it. It never waits for room. A letter's message can be sent once; if
    /// it fails again, that is another letter.
    ///
    /// # Errors
    ///
    /// [`ResendError`] when there is no such letter, or none that
    /// [is kept](crate::DeadLetter::is_kept) with its message; and when the actor is gone
    /// or has no room: then the letter keeps its message.
    pub fn resend(&self, number: u64) -> Result<(), ResendError> {
        let registry = &self.shared.registry;
        self.shared
            .dead_letters
            .resend(number, |path| registry.get(path.as_str()))
    }

    /// Returns where all messages went since the start, actors that have ended included.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        self.shared.ledger()
    }

    /// Reads all metrics for a scrape; `greenroom_mailbox_depth_max` begins anew with it.
    ///
    /// Two readers that both scrape would share the deepest levels between them;
    /// a console uses [`snapshot`](Self::snapshot).
    #[must_use]
    pub fn scrape(&self) -> Vec<Family> {
        self.shared.scrape()
    }

    /// Returns whether the whole tree is up and not stopping.
    ///
    /// Children of [dynamic](Supervisor::dynamic) supervisors do not count: they
    /// come and go while the service is as ready as ever. An actor that is
    /// [paused](crate::ActorRef::pause) is ready: it waits because somebody wants it to.
    ///
    /// # Errors
    ///
    /// [`NotReady`] names the first that is not running.
    pub fn ready(&self) -> Result<(), NotReady> {
        let (mut roles, mut dynamic) = (Vec::new(), Vec::new());
        self.shared.registry.for_each(|role| {
            let seen = role.seen(false);
            if seen.is_dynamic {
                dynamic.push(format!("{}/", seen.path));
            }
            roles.push(seen);
        });
        if roles.is_empty() {
            return Err(NotReady {
                path: None,
                state: ActorState::Stopped,
            });
        }
        let counts = |seen: &&Seen| !dynamic.iter().any(|d| seen.path.as_str().starts_with(d));
        let down = roles
            .iter()
            .filter(counts)
            .filter(|seen| !matches!(seen.state, ActorState::Running | ActorState::Paused));
        match down.min_by(|a, b| a.path.cmp(&b.path)) {
            None => Ok(()),
            Some(seen) => Err(NotReady {
                path: Some(seen.path.clone()),
                state: seen.state,
            }),
        }
    }

    // ===== to stop =====

    /// Stops the tree and returns when it is down.
    ///
    /// Children stop in the reverse order of their start. Each takes no more
    /// messages, handles those in its mailbox and ends, within its
    /// [deadline](crate::Spec::stop_within). What is queued before a child that
    /// is down, waiting for its restart, becomes dead letters.
    ///
    /// Not to be awaited in a handler, which would wait for its own end: an actor
    /// that ends the system calls [`request_stop`](Self::request_stop).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future after its first poll does not take the order back.
    pub async fn stop(&self) {
        self.request_stop();
        self.ended().await;
    }

    /// Asks the tree to stop, as [`stop`](Self::stop) does, and returns at once.
    pub fn request_stop(&self) {
        let root = self.shared.root.lock().clone();
        if let Some(root) = root {
            root.stop(0, true);
        }
    }

    /// Returns when the tree is down, for whatever reason.
    ///
    /// # Errors
    ///
    /// [`Escalated`] when the root supervisor gave up.
    ///
    /// # Cancel safety
    ///
    /// It can be dropped and called again.
    pub async fn stopped(&self) -> Result<(), Escalated> {
        let ended = self.ended().await;
        let escalated = ended.reason == RestartReason::Escalation || ended.exit != Exit::Shutdown;
        let root = self.shared.root_path.lock().clone();
        match root {
            Some(root) if escalated => Err(Escalated {
                root,
                failure: ended.failure,
                last: ended.last,
            }),
            _ => Ok(()),
        }
    }

    /// Stops the tree when the process is asked to end, by Ctrl-C or SIGTERM.
    ///
    /// The second signal is immediate, as with [`stop_signal`](Self::stop_signal).
    /// Call it once, in `main`.
    ///
    /// # Panics
    ///
    /// As [`stop_signal`](Self::stop_signal).
    pub fn stop_on_signals(&self) {
        let system = self.clone();
        let asked = self.stop_signal();
        self.shared.handle.spawn(async move {
            asked.await;
            system.request_stop();
        });
    }

    /// Returns a future of the moment when the process is asked to end, by Ctrl-C or SIGTERM: it yields the signal's name.
    ///
    /// It is for a `main` that has something to do before it calls
    /// [`stop`](Self::stop). From this call on the first signal does not end the
    /// process any more; the second one is immediate, with code 130 or 143 and
    /// without waiting for anybody.
    ///
    /// # Panics
    ///
    /// When the system runs in a tokio runtime of the caller that has no I/O.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing about the signals.
    pub fn stop_signal(&self) -> impl Future<Output = &'static str> + Send + 'static {
        let (first, came) = oneshot::channel();
        let _inside = self.shared.handle.enter();
        match Signals::new() {
            // Then they end the process as they do without us.
            Err(error) => tracing::error!(%error, "Cannot listen for signals."),
            Ok(mut signals) => {
                self.shared.handle.spawn(async move {
                    let (signal, _) = signals.next().await;
                    logged(|| {
                        tracing::info!(
                            signal,
                            "Stopping; a second signal ends the process at once."
                        );
                    });
                    // Whoever waited may have gone.
                    let _ = first.send(signal);
                    let (_, code) = signals.next().await;
                    std::process::exit(code);
                });
            }
        }
        async move {
            match came.await {
                Ok(signal) => signal,
                Err(_) => std::future::pending().await,
            }
        }
    }
}

/// The signals that end a process.
struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Returns the next signal's name and the exit code that shells give it.
    async fn next(&mut self) -> (&'static str, i32) {
        std::future::poll_fn(|cx| {
            if self.interrupt.poll_recv(cx).is_ready() {
                return std::task::Poll::Ready(("SIGINT", 130));
            }
            self.terminate.poll_recv(cx).map(|_| ("SIGTERM", 143))
        })
        .await
    }
}

#[cfg(not(unix))]
impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Signals {})
    }

    async fn next(&mut self) -> (&'static str, i32) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        ("Ctrl-C", 130)
    }
}

/// Stops a tree whose start was given up by its caller.
struct StopUnlessUp {
    system: Option<System>,
}

impl StopUnlessUp {
    fn disarm(mut self) {
        self.system = None;
    }
}

impl Drop for StopUnlessUp {
    fn drop(&mut self) {
        if let Some(system) = &self.system {
            system.request_stop();
        }
    }
}

impl fmt::Debug for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let root = self.shared.root_path.lock().clone();
        write!(
            f,
            "System({})",
            root.as_ref().map_or("not started", Path::as_str)
        )
    }
}

/// Runs a future on this thread until it is done, with I/O and timers of tokio at hand.
///
/// It is for `main` functions without a runtime of their own.
///
/// # Panics
///
/// When it is called inside a tokio runtime, and when the operating system
/// gives this thread no event loop.
pub fn block_on<F: Future>(future: F) -> F::Output {
    match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime.block_on(future),
        Err(error) => panic!("this thread gets no event loop: {error}"),
    }
}

/// Runs work that blocks its thread on a thread where that holds up nobody.
///
/// Awaited in a handler, the actor takes no other message meanwhile; given to
/// [`Context::background`](crate::Context::background), it does:
///
/// ```
/// # use std::convert::Infallible;
/// # use greenroom::prelude::*;
/// # struct Index;
/// # impl Actor for Index {
/// #     type Args = ();
/// #     type Error = Infallible;
/// #     async fn start((): (), _: &mut Context<Self>) -> Result<Self, Infallible> { Ok(Index) }
/// # }
/// # struct Loaded(String);
/// # impl Message for Loaded { type Reply = (); }
/// # impl Handler<Loaded> for Index {
/// #     async fn handle(&mut self, _: Loaded, _: &mut Context<Self>) -> Result<(), Infallible> { Ok(()) }
/// # }
/// # fn example(cx: &mut Context<Index>) {
/// cx.background(async {
///     Loaded(greenroom::blocking(|| std::fs::read_to_string("big.txt").unwrap_or_default()).await)
/// });
/// # }
/// ```
///
/// # Panics
///
/// When the work panics, in the future that awaits it: there it is a failure of
/// the actor. Also when awaited outside of an actor and of any tokio runtime.
///
/// # Cancel safety
///
/// Dropping the future does not end work that has begun; its result is lost.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(payload) => std::panic::resume_unwind(payload),
            // The workers are going down and so is whoever awaits this.
            Err(_) => std::future::pending().await,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::book::AtOnce;
    use crate::{Context, StartChildError};

    struct Idle;

    impl Actor for Idle {
        type Args = ();
        type Error = Infallible;
        async fn start((): (), _: &mut Context<Self>) -> Result<Self, Infallible> {
            Ok(Idle)
        }
    }

    #[test]
    fn a_handler_may_hold_its_context_across_an_await() {
        fn can_be_held<T: Send + Sync>() {}
        can_be_held::<Context<Idle>>();
    }

    #[tokio::test(start_paused = true)]
    async fn a_life_that_is_cut_short_before_it_began_is_told_all_the_same() {
        let tree = Supervisor::one_for_one("app").child(Idle::spec("idle", ()));
        let builder = System::builder().in_current_runtime();
        let system = builder.start(tree).await.expect("it starts");
        let role = system.shared.registry.get("app/idle").expect("it is there");
        system.stop().await;
        let (notes, mut inbox) = mpsc::unbounded_channel();
        // On this one thread the life's task cannot have run when it is aborted.
        let boss = Boss::new(&*role, &Lead::above(role.id(), notes));
        let launched = Arc::clone(&role).launch(boss, StartCause::Boot);
        let incarnation = launched.incarnation;
        Arc::clone(&role).go(launched);
        role.kill(incarnation);
        let Some(Note::Ended { ended, .. }) = inbox.recv().await else {
            panic!("nobody is told");
        };
        assert_eq!(ended.exit, Exit::Killed);
    }

    struct Late;

    impl Actor for Late {
        type Args = ();
        type Error = &'static str;
        async fn start((): (), _: &mut Context<Self>) -> Result<Self, &'static str> {
            tokio::task::yield_now().await;
            Err("no luck")
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_first_start_that_failed_before_anybody_asked_is_not_waited_for() {
        let tree = Supervisor::one_for_one("app").child(Supervisor::dynamic("pool"));
        let builder = System::builder().in_current_runtime();
        let system = builder.start(tree).await.expect("it starts");
        let pool = system.find_role::<SupervisorCell>("app/pool", "supervisor");
        let pool = pool.expect("it is there");
        let spec = Late::spec("late", ());
        let (path, standing) = (pool.path.join("late"), spec.standing);
        let late = spec.cell(path, pool.next_id(), Arc::clone(&system.shared), true);
        let lead = pool.lead().expect("it runs");
        let role = Arc::clone(&late) as Arc<dyn Role>;
        let launched = lead.start(&role, standing);
        assert!(matches!(launched, AtOnce::Launched(..)));
        // Whoever launched it does not get on meanwhile, and another has it stopped.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let begun = tokio::time::Instant::now();
        let stopped = SupervisorRef::new(Arc::clone(&pool))
            .stop_child("late")
            .await;
        assert!(stopped.is_ok());
        assert_eq!(begun.elapsed(), Duration::ZERO, "nobody is waited for");
        let (reply, answer) = oneshot::channel();
        let AtOnce::Launched(id, incarnation) = launched else {
            return;
        };
        let note = Note::Launched {
            id,
            incarnation,
            reply,
        };
        assert!(lead.notes.send(note).is_ok());
        let started = answer.await.expect("it is answered");
        assert!(matches!(started, Err(StartChildError::Failed(_))));
        system.stop().await;
    }

    #[tokio::test(start_paused = true)]
    async fn x06_the_end_of_a_life_that_is_none_is_no_news() {
        let tree = Supervisor::one_for_one("app").child(Idle::spec("idle", ()));
        let builder = System::builder().in_current_runtime();
        let system = builder.start(tree).await.expect("it starts");
        let app = system.find_role::<SupervisorCell>("app", "supervisor");
        let lead = app.expect("it is there").lead().expect("it runs");
        // Of nobody's child, and of a life of the child's that is not this one.
        for (id, incarnation) in [(7, 1), (0, 0), (0, 9)] {
            for ended in [Ended::shutdown(), Ended::killed()] {
                lead.note_end(ChildId(id), incarnation, ended, None);
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let app = system.supervisor("app").expect("it is still there");
        let idle = app.child("idle").expect("and so is its child");
        assert_eq!((idle.state, idle.incarnation), (ActorState::Running, 1));
        system.stop().await;
    }
}
