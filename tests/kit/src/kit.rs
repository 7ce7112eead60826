//! A kit for one actor: started, spoken to, made to fail, and looked at.

use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use greenroom::prelude::*;
use greenroom::{ActorInfo, Delivery, MailboxInfo, StartError};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};

use crate::checks::Checks;
use crate::dice::Dice;
use crate::faults::Faults;
use crate::probe::Probe;
use crate::stage::{Crash, Stage, State};
use crate::time::settle;

/// One actor under test, in a supervised system of its own.
///
/// It is a reference to the actor, so what an [`ActorRef`] can do it can do:
/// `kit.tell(..)`, `kit.ask(..)`, `kit.recipient()`. The actor is restarted at
/// once and as often as it fails. It runs in virtual time: see [`in_virtual_time`](crate::in_virtual_time).
///
/// # Panics
///
/// Where it is dropped and one of its [faults](Faults) that are written down never came, unless the test has failed
/// anyway.
///
/// # Examples
///
/// ```
/// use greenroom::prelude::*;
/// use greenroom_testkit::{Kit, in_virtual_time};
///
/// struct Counter(u64);
/// # impl Actor for Counter {
/// #     type Args = u64;
/// #     type Error = &'static str;
/// #     async fn start(n: u64, _: &mut Context<Self>) -> Result<Self, Self::Error> { Ok(Counter(n)) }
/// # }
/// # struct Add(u64);
/// # impl Message for Add { type Reply = u64; }
/// # impl Handler<Add> for Counter {
/// #     async fn handle(&mut self, Add(n): Add, _: &mut Context<Self>) -> Result<u64, Self::Error> {
/// #         self.0 = self.0.checked_add(n).ok_or("it overflows")?;
/// #         Ok(self.0)
/// #     }
/// # }
///
/// in_virtual_time(async {
///     let counter = Kit::<Counter>::start(40).await.unwrap();
///     assert_eq!(counter.ask(Add(2)).await.unwrap(), 42);
///     assert!(counter.ask(Add(u64::MAX)).await.is_err());
///     counter.crash("it overflows").await;
///     assert_eq!(counter.ask(Add(0)).await.unwrap(), 40, "it begins anew");
///     assert_eq!((counter.restarts(), counter.mailbox().handled), (1, 2));
/// });
/// ```
pub struct Kit<A: Actor> {
    actor: ActorRef<A>,
    system: System,
    stage: Arc<Stage>,
    /// How many crashes have been expected so far.
    seen: Mutex<usize>,
    /// How many probes there are beside it.
    probes: AtomicU64,
}

/// How a [`Kit`] is set up before it starts; see [`Kit::of`].
#[must_use = "nothing runs before `start`"]
pub struct KitSetup<A: Actor> {
    spec: Spec<A>,
    faults: Faults,
    seed: u64,
    supervisor: Supervisor,
}

/// How long a crash is waited for: an hour of virtual time.
const CRASH_WITHIN: Duration = Duration::from_secs(3600);

impl<A: Actor> Kit<A> {
    /// Starts an actor from these arguments.
    ///
    /// # Errors
    ///
    /// When the actor does not start.
    ///
    /// # Panics
    ///
    /// When it is awaited outside of a current-thread tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the actor.
    pub async fn start(args: A::Args) -> Result<Self, StartError> {
        Kit::of(A::spec("it", args)).start().await
    }

    /// Returns a kit that is yet to be started, of an actor with a spec of its own.
    ///
    /// ```
    /// # use std::convert::Infallible;
    /// # use greenroom::prelude::*;
    /// # use greenroom_testkit::{Fault, Faults, Kit, in_virtual_time};
    /// # struct Lights;
    /// # impl Actor for Lights {
    /// #     type Args = ();
    /// #     type Error = Infallible;
    /// #     async fn start((): (), _: &mut Context<Self>) -> Result<Self, Infallible> { Ok(Lights) }
    /// # }
    /// # #[derive(Clone, Debug)] struct Off;
    /// # impl Event for Off {}
    /// # impl Handler<Off> for Lights {
    /// #     async fn handle(&mut self, _: Off, _: &mut Context<Self>) -> Result<(), Infallible> { Ok(()) }
    /// # }
    /// in_virtual_time(async {
    ///     let faults = Faults::new().nth("lights", 2, Fault::Panic("short circuit".into()));
    ///     let lights = Kit::of(Lights::spec("lights", ()).mailbox(2)).faults(faults);
    ///     let lights = lights.start().await.unwrap();
    ///     lights.tell(Off).await.unwrap();
    ///     lights.tell(Off).await.unwrap();
    ///     let crash = lights.crash("short circuit").await;
    ///     assert_eq!(crash.incarnation, 1);
    /// });
    /// ```
    pub fn of(spec: Spec<A>) -> KitSetup<A> {
        KitSetup {
            spec,
            faults: Faults::new(),
            seed: 0,
            supervisor: Supervisor::one_for_one("kit")
                .restart_limit(u32::MAX, Duration::from_secs(1))
                .backoff(Backoff::none()),
        }
    }

    /// Returns the system that the actor lives in.
    #[must_use]
    pub fn system(&self) -> &System {
        &self.system
    }

    /// Publishes an event to whoever has subscribed, as [`System::publish`].
    pub fn publish<E: Event>(&self, event: E) -> Delivery {
        self.system.publish(event)
    }

    /// Returns a probe that has subscribed to an event of this system, as `kit/beside/probe-1` and so on.
    ///
    /// # Panics
    ///
    /// When the system has stopped.
    ///
    /// # Cancel safety
    ///
    /// As [`start_beside`](Self::start_beside).
    pub async fn hears<E: Event>(&self) -> Probe {
        let probe = Probe::new().hears::<E>();
        let n = self.probes.fetch_add(1, Ordering::Relaxed) + 1;
        self.start_beside(probe.spec(format!("probe-{n}"))).await;
        probe
    }

    /// Starts another actor in the same system, as `kit/beside/name`.
    ///
    /// # Panics
    ///
    /// When it does not start.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future once the order is given does not take it back.
    pub async fn start_beside<B: Actor>(&self, spec: Spec<B>) -> ActorRef<B> {
        let beside = match self.system.supervisor("kit/beside") {
            Ok(beside) => beside,
            Err(error) => panic!("the kit's system has stopped: {error}"),
        };
        match beside.start_child(spec).await {
            Ok(started) => started,
            Err(error) => panic!("{error}"),
        }
    }

    /// Returns the next crash of the actor, whose text has to contain `text`, and to come within an hour.
    ///
    /// Each is returned once, in order, also those that were before this call.
    /// When it returns, a supervisor that restarts at once has done so.
    ///
    /// # Panics
    ///
    /// When the next crash is another, or none comes.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped takes no crash: the next call returns it.
    #[track_caller]
    pub fn crash(&self, text: &str) -> impl Future<Output = Crash> {
        let at = Location::caller();
        async move {
            let end = Instant::now() + CRASH_WITHIN;
            loop {
                let news = self.stage.news.notified();
                if self.crashes().len() > *self.seen.lock() {
                    settle().await;
                    // It is taken behind the last await; another that waits may have had it meanwhile.
                    if let Some(crash) = self.next_crash() {
                        let found = &crash.text;
                        assert!(
                            found.contains(text),
                            "{at}: expected a crash with {text:?}, and it was {found:?}"
                        );
                        return crash;
                    }
                    continue;
                }
                assert!(
                    timeout_at(end, news).await.is_ok(),
                    "{at}: expected a crash with {text:?} within {CRASH_WITHIN:?}, and there was none"
                );
            }
        }
    }

    fn next_crash(&self) -> Option<Crash> {
        let mut seen = self.seen.lock();
        let crash = self.crashes().into_iter().nth(*seen)?;
        *seen += 1;
        Some(crash)
    }

    /// Returns all crashes of the actor so far.
    #[must_use]
    pub fn crashes(&self) -> Vec<Crash> {
        let path = self.actor.path().as_str();
        self.stage.with(|state| {
            let crashes = state.crashes.iter().filter(|crash| crash.path == path);
            crashes.cloned().collect()
        })
    }

    /// Returns how often the actor has been restarted.
    ///
    /// # Panics
    ///
    /// When it has stopped for good.
    #[must_use]
    #[track_caller]
    pub fn restarts(&self) -> u64 {
        self.info().restarts
    }

    /// Returns the figures of its mailbox: depth, counts, what is in hand.
    ///
    /// # Panics
    ///
    /// When it has stopped for good.
    #[must_use]
    #[track_caller]
    pub fn mailbox(&self) -> MailboxInfo {
        match self.info().mailbox {
            Some(mailbox) => mailbox,
            None => unreachable!("an actor has a mailbox"),
        }
    }

    /// Returns the actor as the system shows it.
    ///
    /// # Panics
    ///
    /// When it has stopped for good.
    #[must_use]
    #[track_caller]
    pub fn info(&self) -> ActorInfo {
        let mut all = self.system.snapshot().into_iter();
        match all.find(|info| info.path == *self.actor.path()) {
            Some(info) => info,
            None => panic!("{} has stopped for good", self.actor.path()),
        }
    }

    /// Stops the actor, after all that is queued, and checks that no message is lost from the counts.
    ///
    /// # Panics
    ///
    /// When the ledger does not balance, and when a closure of its [`Faults`] has panicked.
    /// As where it is dropped: when one of its faults that are written down never came.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future after its first poll does not take the stop back; nothing of the rest is checked.
    pub async fn stop(self) {
        self.system.stop().await;
        if let Some(violation) = self.stage.with(|state| state.found.take()) {
            panic!("{violation}");
        }
        // The kit's stage has one system.
        let seen = self.stage.seen(0);
        if let Some(violation) = Checks::all().ledger(&self.system, seen, true) {
            panic!("{violation}");
        }
    }
}

impl<A: Actor> KitSetup<A> {
    /// Sets what goes wrong; nothing by default. The actor's path ends with the name of its spec.
    pub fn faults(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }

    /// Sets the seed that decides the order of events, and faults that come by chance; 0 by default.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Sets how often the actor may be restarted; without end by default.
    pub fn restart_limit(mut self, restarts: u32, within: Duration) -> Self {
        self.supervisor = self.supervisor.restart_limit(restarts, within);
        self
    }

    /// Sets how long it waits before a restart; not at all by default.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.supervisor = self.supervisor.backoff(backoff);
        self
    }

    /// Starts it.
    ///
    /// # Errors
    ///
    /// When the actor does not start.
    ///
    /// # Panics
    ///
    /// When it is awaited outside of a current-thread tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the actor.
    pub async fn start(self) -> Result<Kit<A>, StartError> {
        let dice = Dice::of_seed(self.seed);
        let stage = Stage::new(dice, self.faults, Checks::none(), u64::MAX);
        stage.tell_crashes();
        let place = format!("kit/{}", self.spec.name());
        let tree = self
            .supervisor
            .child(Supervisor::dynamic("beside").restart_limit(u32::MAX, Duration::from_secs(1)))
            .child(self.spec);
        let (director, n) = stage.direct();
        let builder = System::builder().directed(self.seed, director);
        let system = builder.start(tree).await?;
        stage.roughen(n);
        let actor = match system.find(&place) {
            Ok(actor) => actor,
            Err(error) => unreachable!("it has started: {error}"),
        };
        Ok(Kit {
            actor,
            system,
            stage,
            seen: Mutex::new(0),
            probes: AtomicU64::new(0),
        })
    }
}

/// Says which of its faults never came, where the test has not failed anyway.
impl<A: Actor> Drop for Kit<A> {
    fn drop(&mut self) {
        if thread::panicking() {
            return;
        }
        let useless = |state: &mut State| state.script.faults.useless(&state.script.uses);
        if let Some(text) = self.stage.with(useless) {
            panic!("{text}");
        }
    }
}

impl<A: Actor> Deref for Kit<A> {
    type Target = ActorRef<A>;

    fn deref(&self) -> &ActorRef<A> {
        &self.actor
    }
}

impl<A: Actor> fmt::Debug for Kit<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kit({})", self.actor.path())
    }
}

impl<A: Actor> fmt::Debug for KitSetup<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KitSetup({:?})", self.spec)
    }
}
