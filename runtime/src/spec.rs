//! The tree as a value: child specs and supervisors, before anything runs.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use greenroom_supervision::{
    AutoShutdown, Backoff, BadCombination, ChildId, Limit, Restart, Strategy,
};

use crate::cell::{ActorCell, Intake, Retry, Terms};
use crate::core::gift::Whose;
use crate::error::StartError;
use crate::failure::ShortType;
use crate::flow::{Edge, Kinds, NameOf, group_name};
use crate::mailbox::words::Overflow;
use crate::partitions::Partitions;
use crate::path::is_valid_name;
use crate::role::{Role, SUPERVISOR, Standing};
use crate::shared::Shared;
use crate::supervisor::{Settings, SupervisorCell};
use crate::{Actor, Handler, Message, Path};

/// How many messages a mailbox holds unless its spec says otherwise.
///
/// 1,024 takes a burst of a second at a thousand messages a second, and costs
/// memory only while messages are in it.
pub const MAILBOX_CAPACITY: usize = 1024;

/// How many messages a mailbox holds at most, whatever its spec says: 2^24.
pub const MAILBOX_CAPACITY_MAX: usize = 1 << 24;

/// How long an actor may take to start unless its spec says otherwise.
///
/// Thirty seconds: longer than a connection takes that comes at all.
pub const START_WITHIN: Duration = Duration::from_secs(30);

/// How long an actor may take to stop unless its spec says otherwise.
///
/// Five seconds, as OTP gives its workers.
pub const STOP_WITHIN: Duration = Duration::from_secs(5);

/// How a supervisor starts, restarts and stops one actor; made by [`Actor::spec`].
pub struct Spec<A: Actor> {
    pub(crate) name: String,
    args: A::Args,
    pub(crate) standing: Standing,
    terms: Terms,
    intake: Intake<A>,
    group: Option<String>,
}

/// What happens to questions that are queued when their actor fails; see [`Spec::queued_asks`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum QueuedAsks {
    /// They stay queued, in order, and the next life answers them.
    #[default]
    Keep,
    /// They are given back as [`AskError::Restarting`](crate::AskError::Restarting), and so are those that come before the next life begins.
    Refuse,
}

impl<A: Actor> Spec<A> {
    pub(crate) fn new(name: String, args: A::Args) -> Self {
        Spec {
            name,
            args,
            standing: Standing::USUAL,
            terms: Terms::USUAL,
            intake: Intake {
                capacity: MAILBOX_CAPACITY,
                overflow: Overflow::default(),
                queued_asks: QueuedAsks::default(),
                retries: Vec::new(),
            },
            group: None,
        }
    }

    /// Makes the role that this spec describes; nothing runs yet.
    ///
    /// A role that `is_new` in a running tree leaves it with a temporary child's only life.
    pub(crate) fn cell(
        self,
        path: Path,
        id: ChildId,
        system: Arc<Shared>,
        is_new: bool,
    ) -> Arc<ActorCell<A>> {
        let args = match self.standing.restart {
            Restart::Temporary if is_new => (self.args, Whose::one()),
            _ => (self.args, Whose::everybody()),
        };
        let (mut intake, group) = (self.intake, self.group.as_deref());
        if self.standing.restart == Restart::Temporary {
            // There is no life for which they would be asked again.
            intake.queued_asks = QueuedAsks::Keep;
        }
        ActorCell::new((path, id), args, self.terms, intake, group, system)
    }

    /// Looks whether such an actor can come to a system, as far as it is declared what flows.
    ///
    /// # Errors
    /// With a circle of edges that wait which it would make.
    pub(crate) fn admit(&self, system: &Shared) -> Result<(), Vec<Edge>> {
        system.admit_actor::<A>(self.group.as_deref(), self.intake.overflow)
    }

    /// Returns the name that the actor has below its supervisor.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sets when the actor is started again; [`Restart::Permanent`] by default.
    #[must_use]
    pub fn restart(mut self, restart: Restart) -> Self {
        self.standing.restart = restart;
        self
    }

    /// Makes the actor one that its supervisor is there for: by its end the supervisor may end too.
    ///
    /// When it does is the supervisor's [`auto_shutdown`](Supervisor::auto_shutdown).
    /// The actor has to be [`Transient`](Restart::Transient) or
    /// [`Temporary`](Restart::Temporary), as a permanent one has no end. By default no
    /// child is significant, as in OTP.
    #[must_use]
    pub fn significant(mut self) -> Self {
        self.standing.is_significant = true;
        self
    }

    /// Sets how many messages the mailbox holds; [1,024](MAILBOX_CAPACITY) by default, at least 1, at most [2^24](MAILBOX_CAPACITY_MAX).
    #[must_use]
    pub fn mailbox(mut self, capacity: usize) -> Self {
        self.intake.capacity = capacity.clamp(1, MAILBOX_CAPACITY_MAX);
        self
    }

    /// Sets what happens to a message that finds the mailbox full; [`Overflow::Wait`] by default, so that nothing is lost.
    ///
    /// A published event never waits: unless the oldest is to be dropped for it, it is
    /// the event that is lost. Whatever is lost is counted and kept as a dead letter.
    /// A question ([`ask`](crate::ActorRef::ask)) is never lost for want of room: it
    /// waits within its limit where senders do, and is given back at once where they
    /// do not. So is what is sent by [`try_tell`](crate::ActorRef::try_tell), but for a
    /// mailbox that drops the oldest. What the actor's own timers, streams
    /// and background futures send is lost where it would be given back.
    #[must_use]
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.intake.overflow = overflow;
        self
    }

    /// Tries each message of type `M` up to `tries` times, each time in a new life; by default a message whose handler fails is skipped.
    ///
    /// The message whose handler returned `Err`, panicked or was killed in the
    /// middle goes back to the front of the mailbox, so that the next life begins
    /// with it and order is kept; whoever asked it goes on waiting, within its own
    /// limit. After the last try it is a [dead letter](crate::DeadLetter) with the
    /// number of tries, the failure and the message itself, which
    /// [`System::resend`](crate::System::resend) sends again. So `retry::<M>(1)`
    /// tries nothing again: it puts what fails into quarantine. At least 1.
    ///
    /// | the message | without it | with it |
    /// |---|---|---|
    /// | fails, and has tries left | | is first in the mailbox again; not yet counted as failed |
    /// | fails | is skipped, a dead letter | is a dead letter that can be sent again |
    /// | is queued while another fails | stays queued, in order | stays queued, in order |
    /// | is in no life's hand as its actor is taken along by a sibling | stays queued | stays queued: that is no try |
    ///
    /// A handler takes its message by value, so each message of this type is cloned
    /// before it is handled, and an actor with any such type takes its messages
    /// under the lock of its mailbox; other actors pay nothing. If `clone` itself
    /// panics or does not return, the message has had its only try.
    ///
    /// Each try but the first takes a restart, which counts against the
    /// [restart limit](Supervisor::restart_limit) of the supervisor and waits as its
    /// [back-off](Supervisor::backoff) says: allow for both. That it may be tried
    /// again also holds for what a timer, a stream or a background future sent,
    /// though the life that began it is over; and the message in hand keeps its
    /// place in the mailbox until it has ended, so that it can come back. Where
    /// [the oldest is dropped](Overflow::DropOldest) for a newer one it does not, and
    /// is given up if it finds no room.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::{convert::Infallible, time::Duration};
    /// use greenroom::prelude::*;
    /// # struct Ledger;
    /// # impl Actor for Ledger {
    /// #     type Args = ();
    /// #     type Error = BoxError;
    /// #     async fn start((): (), _: &mut Context<Self>) -> Result<Self, BoxError> { Ok(Ledger) }
    /// # }
    ///
    /// #[derive(Clone)]
    /// struct Booking(i64);
    /// impl Message for Booking { type Reply = (); }
    ///
    /// impl Handler<Booking> for Ledger {
    ///     async fn handle(&mut self, Booking(sum): Booking, _: &mut Context<Self>) -> Result<(), BoxError> {
    ///         if sum == 0 { Err("nothing to book".into()) } else { Ok(()) }
    ///     }
    /// }
    ///
    /// # async fn example() {
    /// let tree = Supervisor::one_for_one("bank")
    ///     .restart_limit(100, Duration::from_secs(60))
    ///     .child(Ledger::spec("ledger", ()).retry::<Booking>(3));
    /// let system = System::builder().in_current_runtime().start(tree).await.unwrap();
    /// let ledger = system.find::<Ledger>("bank/ledger").unwrap();
    /// ledger.tell(Booking(0)).await.unwrap();
    /// tokio::time::sleep(Duration::from_secs(60)).await;
    ///
    /// let letter = &system.dead_letters()[0];
    /// assert_eq!((letter.attempt, letter.is_kept), (3, true));
    /// assert_eq!(letter.text, "nothing to book");
    /// system.resend(letter.number).unwrap();
    /// # }
    /// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(example());
    /// ```
    #[must_use]
    pub fn retry<M>(mut self, tries: u32) -> Self
    where
        A: Handler<M>,
        M: Message + Clone,
    {
        let retry = Retry::of::<M>(tries);
        let retries = &mut self.intake.retries;
        retries.retain(|other| !other.is_of_same_type(&retry));
        retries.push(retry);
        self
    }

    /// Sets what happens to questions that are queued when the actor fails; [`QueuedAsks::Keep`] by default, so that a restart is not seen.
    ///
    /// [Refuse](QueuedAsks::Refuse) them where an answer that has to wait for a
    /// restart and its back-off is worth less than to be asked for elsewhere:
    /// whoever asked gets [`AskError::Restarting`](crate::AskError::Restarting) at
    /// once, with the message. It concerns [`ask`](crate::ActorRef::ask) alone: what
    /// is told stays queued. The question in hand has failed, or is
    /// [tried again](Self::retry). A [temporary](Restart::Temporary) actor, which is
    /// not started again, abandons its questions in any case; one that a sibling
    /// takes along keeps them.
    #[must_use]
    pub fn queued_asks(mut self, queued_asks: QueuedAsks) -> Self {
        self.intake.queued_asks = queued_asks;
        self
    }

    /// Runs the actor on worker `n`, counted from 0, and on no other; by default it runs where it is woken.
    ///
    /// For code that is bound to a thread, or to keep a core to itself. It is
    /// dear: a message from another thread to a worker that sleeps wakes a thread,
    /// which takes microseconds; a hop to an actor that runs where it is woken takes
    /// some 45 ns (`greenroom-bench --only pingpong`). `n` beyond
    /// the number of workers begins anew at 0. Systems that run as tasks of
    /// another runtime, or are simulated, have no workers and ignore it.
    #[must_use]
    pub fn on_worker(mut self, n: usize) -> Self {
        self.terms.worker = u16::try_from(n % usize::from(u16::MAX)).ok();
        self
    }

    /// Sets how long `Actor::start` may take; [thirty seconds](START_WITHIN) by default.
    ///
    /// A start that takes longer has failed, and its future is dropped. One that
    /// blocks its thread cannot be given up.
    #[must_use]
    pub fn start_within(mut self, limit: Duration) -> Self {
        self.terms.start_within = limit;
        self
    }

    /// Sets how long the actor may take to stop, draining its mailbox included; [five seconds](STOP_WITHIN) by default.
    ///
    /// An actor that takes longer is cut off at its next await, and what it left
    /// becomes dead letters. One that blocks its thread cannot be cut off; it
    /// loses its mailbox and is left behind 50 ms later. The next life may begin then; what the old
    /// one still sends is refused ([`TellError::Fenced`](crate::TellError::Fenced)), its events reach nobody,
    /// and its replies go nowhere. Work that it has given away, to [`blocking`](crate::blocking) or to
    /// tasks of its own, is not fenced: [`Context::is_current`](crate::Context::is_current) tells.
    ///
    /// With [`Duration::ZERO`] it is cut off at once, without a call of
    /// [`Actor::stop`] (`brutal_kill` in OTP); with [`Duration::MAX`] it is waited for
    /// however long it takes (`infinity`). Supervisors have no deadline, as their
    /// children would be left without one: those of their children bound their stop.
    #[must_use]
    pub fn stop_within(mut self, limit: Duration) -> Self {
        self.terms.stop_within = limit;
        self
    }

    /// Sets the label under which the actor's metrics are added up; its type's name by default.
    ///
    /// All actors of one group make one set of series, however many they are. A
    /// system has at most 256 groups; what is beyond counts as `_other`, and so
    /// does a group whose name begins with `_`.
    #[must_use]
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = Some(group.into());
        self
    }
}

impl<A: Actor> fmt::Debug for Spec<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.outline())
    }
}

/// One child of a supervisor: an actor or another supervisor.
pub struct ChildSpec(Child);

enum Child {
    Actor(Box<dyn AnySpec>),
    Supervisor(Box<Supervisor>),
}

/// A [`Spec`] whose actor type is forgotten.
trait AnySpec: Send {
    fn name(&self) -> &str;
    fn set_name(&mut self, name: String);
    fn standing(&self) -> Standing;
    /// The type of the actor, as its role names it.
    fn kind(&self) -> String;
    fn stop_within(&self) -> Duration;
    fn outline(&self) -> String;
    fn declare(&self, kinds: &mut Kinds, name: NameOf<'_>);
    fn build(self: Box<Self>, path: Path, id: ChildId, system: Arc<Shared>) -> Arc<dyn Role>;
}

impl<A: Actor> Spec<A> {
    fn outline(&self) -> String {
        let kind = ShortType(std::any::type_name::<A>());
        let Spec {
            name,
            standing,
            intake,
            group,
            ..
        } = self;
        let Intake {
            capacity,
            overflow,
            queued_asks,
            retries,
        } = intake;
        let Terms {
            stop_within,
            worker,
            ..
        } = &self.terms;
        let overflow = match overflow {
            Overflow::Wait => String::new(),
            other => format!(" ({})", other.as_str()),
        };
        let group = group
            .as_ref()
            .map_or_else(String::new, |g| format!(", group {g}"));
        let worker = worker.map_or_else(String::new, |n| format!(", on worker {n}"));
        let asks = match queued_asks {
            QueuedAsks::Keep => "",
            QueuedAsks::Refuse => ", refuses asks while it is down",
        };
        let retries: String = retries.iter().map(|retry| format!(", {retry}")).collect();
        format!(
            "{name}: {kind}, {standing}, mailbox {capacity}{overflow}, stops within {stop_within:?}{group}{worker}{retries}{asks}"
        )
    }
}

impl<A: Actor> AnySpec for Spec<A> {
    fn name(&self) -> &str {
        &self.name
    }

    fn set_name(&mut self, name: String) {
        self.name = name;
    }

    fn standing(&self) -> Standing {
        self.standing
    }

    fn kind(&self) -> String {
        ShortType(std::any::type_name::<A>()).to_string()
    }

    fn stop_within(&self) -> Duration {
        self.terms.stop_within
    }

    fn outline(&self) -> String {
        Spec::outline(self)
    }

    fn declare(&self, kinds: &mut Kinds, name: NameOf<'_>) {
        kinds.add::<A>(self.group.as_deref(), self.intake.overflow, name);
    }

    fn build(self: Box<Self>, path: Path, id: ChildId, system: Arc<Shared>) -> Arc<dyn Role> {
        self.cell(path, id, system, false)
    }
}

impl<A: Actor> From<Spec<A>> for ChildSpec {
    fn from(spec: Spec<A>) -> Self {
        ChildSpec(Child::Actor(Box::new(spec)))
    }
}

impl From<Supervisor> for ChildSpec {
    fn from(supervisor: Supervisor) -> Self {
        ChildSpec(Child::Supervisor(Box::new(supervisor)))
    }
}

impl ChildSpec {
    pub(crate) fn name(&self) -> &str {
        match &self.0 {
            Child::Actor(spec) => spec.name(),
            Child::Supervisor(supervisor) => &supervisor.name,
        }
    }

    /// The same child under another name.
    pub(crate) fn named(mut self, name: String) -> Self {
        match &mut self.0 {
            Child::Actor(spec) => spec.set_name(name),
            Child::Supervisor(supervisor) => supervisor.name = name,
        }
        self
    }

    pub(crate) fn standing(&self) -> Standing {
        match &self.0 {
            Child::Actor(spec) => spec.standing(),
            Child::Supervisor(supervisor) => supervisor.standing,
        }
    }

    /// What it is, as its role would say.
    pub(crate) fn kind(&self) -> String {
        match &self.0 {
            Child::Actor(spec) => spec.kind(),
            Child::Supervisor(_) => SUPERVISOR.to_owned(),
        }
    }

    /// How long an actor may take to stop.
    pub(crate) fn stop_within(&self) -> Option<Duration> {
        match &self.0 {
            Child::Actor(spec) => Some(spec.stop_within()),
            Child::Supervisor(_) => None,
        }
    }

    /// Makes the role, and those below it; what it describes has been checked.
    pub(crate) fn build(self, parent: &Path, id: ChildId, system: &Arc<Shared>) -> Arc<dyn Role> {
        match self.0 {
            Child::Actor(spec) => {
                let path = parent.join(spec.name());
                spec.build(path, id, Arc::clone(system))
            }
            Child::Supervisor(supervisor) => supervisor.build(Some(parent), id, system),
        }
    }
}

impl fmt::Debug for ChildSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Child::Actor(spec) => f.write_str(&spec.outline()),
            Child::Supervisor(supervisor) => fmt::Display::fmt(supervisor, f),
        }
    }
}

/// A supervisor and the children that it starts: a tree, or a branch of one.
///
/// It is a value. It can be printed, compared and tested before anything runs;
/// [`System::start`](crate::System::start) brings it to life. Children start in
/// the order in which they are listed and stop in the reverse order.
///
/// Two trees are equal when they print alike; the arguments of actors are not
/// part of that.
///
/// # Setting restart limits
///
/// The [limit](Supervisor::restart_limit) says two things. `restarts` is the burst that is borne: as
/// many tries as may be needed until a start succeeds, five or ten of them.
/// `restarts / within` is the rate that is borne for ever, as it never exceeds the
/// limit: 10 in 1 s is ten failures a second for months, 5 in 30 s one in six seconds.
/// So choose `restarts` first, and then `within` so long that you can live with the rate.
///
/// - *The levels multiply.* A supervisor that gives up is a restart of the one above
///   it, and comes back with a fresh limit: below levels that allow *a*, *b* and *c* a
///   child that is broken for good has *(a + 1) (b + 1) (c + 1)* lives before the
///   system stops. With 10 on each of three levels these are 1,331. Do not repeat
///   the same limit: be generous right above what fails, and allow at most 3 at the top.
/// - *A [back-off](Supervisor::backoff) stretches the burst.* If the waits between `restarts` tries add
///   up to more than `within`, the limit is never used up. The default one waits for 0, 50,
///   100, 200 ms and so on, doubling: six tries in a row take 1.6 s, ten take 26 s.
/// - *A group is one restart*, however many children its strategy takes along.
/// - *One limit is for all children*, so it has to grow with their number where they
///   fail independently of each other, as below a [dynamic](Supervisor::dynamic) supervisor.
///
/// The default, 1 in 5 s, is OTP's: safe below any number of levels, and too strict
/// for whatever depends on something that may be away for a while.
///
/// # Examples
///
/// ```
/// # use std::{convert::Infallible, time::Duration};
/// use greenroom::prelude::*;
/// # struct Lights;
/// # impl Actor for Lights {
/// #     type Args = ();
/// #     type Error = Infallible;
/// #     async fn start((): (), _: &mut Context<Self>) -> Result<Self, Infallible> { Ok(Lights) }
/// # }
///
/// let home = Supervisor::one_for_one("home")
///     .restart_limit(5, Duration::from_secs(30))
///     .child(Supervisor::rest_for_one("kitchen").child(Lights::spec("lights", ()).mailbox(64)));
///
/// assert_eq!(home.to_string(), "\
/// home: one_for_one, permanent, at most 5 restarts in 30s
/// └─ kitchen: rest_for_one, permanent, at most 1 restart in 5s
///    └─ lights: Lights, permanent, mailbox 64, stops within 5s
/// ");
/// ```
pub struct Supervisor {
    pub(crate) name: String,
    pub(crate) settings: Settings,
    pub(crate) standing: Standing,
    pub(crate) children: Vec<ChildSpec>,
    /// How many of the children, from the first on, are partitions, if it is to have some.
    pub(crate) partitions: Option<usize>,
}

impl Supervisor {
    fn new(name: impl Into<String>, strategy: Strategy) -> Self {
        Supervisor {
            name: name.into(),
            settings: Settings {
                strategy,
                limit: Limit::default(),
                backoff: Backoff::default(),
                auto_shutdown: AutoShutdown::default(),
                max_children: None,
            },
            standing: Standing::USUAL,
            children: Vec::new(),
            partitions: None,
        }
    }

    /// Returns a supervisor that restarts just the child that failed.
    #[must_use]
    pub fn one_for_one(name: impl Into<String>) -> Self {
        Self::new(name, Strategy::OneForOne)
    }

    /// Returns a supervisor that restarts all its children when one fails.
    #[must_use]
    pub fn one_for_all(name: impl Into<String>) -> Self {
        Self::new(name, Strategy::OneForAll)
    }

    /// Returns a supervisor that restarts the child that failed and all that were started after it.
    #[must_use]
    pub fn rest_for_one(name: impl Into<String>) -> Self {
        Self::new(name, Strategy::RestForOne)
    }

    /// Returns a supervisor of children that come and go, each restarted alone.
    ///
    /// Children are started through [`SupervisorRef::start_child`](crate::SupervisorRef::start_child)
    /// and stop all at once. A child that ends for good is forgotten.
    ///
    /// The restart limit is one for all of them: with the default, a second
    /// failure within 5 s ends them all, and the supervisor comes back *empty*.
    /// So give it the limit that its number of children calls for, and put who
    /// fills it behind it in a `rest_for_one`, to be started again with it:
    ///
    /// ```
    /// # use std::{convert::Infallible, time::Duration};
    /// # use greenroom::prelude::*;
    /// # struct Foreman;
    /// # impl Actor for Foreman {
    /// #     type Args = ();
    /// #     type Error = Infallible;
    /// #     async fn start((): (), _: &mut Context<Self>) -> Result<Self, Infallible> { Ok(Foreman) }
    /// # }
    /// let floor = Supervisor::rest_for_one("floor")
    ///     .child(Supervisor::dynamic("workers").restart_limit(20, Duration::from_secs(10)))
    ///     .child(Foreman::spec("foreman", ()));
    /// ```
    #[must_use]
    pub fn dynamic(name: impl Into<String>) -> Self {
        Self::new(name, Strategy::Dynamic)
    }

    /// Allows `restarts` within the sliding window `within`; one more and the supervisor gives up.
    ///
    /// By default 1 in 5 s, as in OTP. A supervisor that gives up stops its
    /// children and ends; the one above it decides what then.
    #[must_use]
    pub fn restart_limit(mut self, restarts: u32, within: Duration) -> Self {
        self.settings.limit = Limit::new(restarts, within);
        self
    }

    /// Sets how long a child that fails again and again waits before its next start.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.settings.backoff = backoff;
        self
    }

    /// Sets whether this supervisor ends when its [significant](Spec::significant) children are done; [`AutoShutdown::Never`] by default.
    ///
    /// It then stops its other children, the latest first, and ends as one that was
    /// asked to stop, which is no failure: of the root the system has stopped in
    /// order, and a supervisor that is itself [significant](Self::significant) may
    /// end the one above it. Give it [`Transient`](Restart::Transient) or
    /// [`Temporary`](Restart::Temporary), or it is started again. A
    /// [dynamic](Self::dynamic) one cannot do that.
    ///
    /// ```
    /// # use std::convert::Infallible;
    /// # use greenroom::prelude::*;
    /// # use greenroom::AutoShutdown;
    /// # struct Job;
    /// # impl Actor for Job {
    /// #     type Args = ();
    /// #     type Error = Infallible;
    /// #     async fn start((): (), cx: &mut Context<Self>) -> Result<Self, Infallible> { cx.stop(); Ok(Job) }
    /// # }
    /// # struct Progress;
    /// # impl Actor for Progress {
    /// #     type Args = ();
    /// #     type Error = Infallible;
    /// #     async fn start((): (), _: &mut Context<Self>) -> Result<Self, Infallible> { Ok(Progress) }
    /// # }
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # greenroom::block_on(async {
    /// let tree = Supervisor::one_for_one("import")
    ///     .auto_shutdown(AutoShutdown::AnySignificant)
    ///     .child(Progress::spec("progress", ()))
    ///     .child(Job::spec("job", ()).restart(Restart::Transient).significant());
    /// let system = System::start(tree).await?;
    /// // When the job is done, so is all of it.
    /// system.stopped().await?;
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    #[must_use]
    pub fn auto_shutdown(mut self, auto_shutdown: AutoShutdown) -> Self {
        self.settings.auto_shutdown = auto_shutdown;
        self
    }

    /// Bounds how many children there may be when one more is to be started through a [`SupervisorRef`](crate::SupervisorRef); no bound by default.
    ///
    /// Each child counts that the supervisor knows, whether it runs, waits for its
    /// restart or is down; those in the tree count, and are started whatever the
    /// bound.
    #[must_use]
    pub fn max_children(mut self, max: usize) -> Self {
        self.settings.max_children = Some(max);
        self
    }

    /// Sets when this supervisor itself is started again by the one above it; [`Restart::Permanent`] by default.
    #[must_use]
    pub fn restart(mut self, restart: Restart) -> Self {
        self.standing.restart = restart;
        self
    }

    /// Makes this supervisor one that the one above it is there for; see [`Spec::significant`].
    #[must_use]
    pub fn significant(mut self) -> Self {
        self.standing.is_significant = true;
        self
    }

    /// Adds a child: an actor's [`Spec`], or another supervisor.
    #[must_use]
    pub fn child(mut self, child: impl Into<ChildSpec>) -> Self {
        self.children.push(child.into());
        self
    }

    /// Checks the tree as [`System::start`](crate::System::start) does; nothing is run.
    ///
    /// # Errors
    ///
    /// [`StartError`] when a name cannot be one or is taken twice, what a supervisor
    /// or child is to be cannot be together, or actors [declare](Actor::flow) that they
    /// may wait for each other in a circle.
    pub fn check(&self) -> Result<(), StartError> {
        self.check_below(None)?;
        let kinds = self.kinds(&group_name);
        kinds.check().map_err(StartError::WaitingCycle)
    }

    /// Takes note of all actors in the tree.
    pub(crate) fn declare(&self, kinds: &mut Kinds, name: NameOf<'_>) {
        for ChildSpec(child) in &self.children {
            match child {
                Child::Actor(spec) => spec.declare(kinds, name),
                Child::Supervisor(supervisor) => supervisor.declare(kinds, name),
            }
        }
    }

    /// The same for a branch of a tree that is there.
    pub(crate) fn check_below(&self, parent: Option<&Path>) -> Result<(), StartError> {
        if !is_valid_name(&self.name) {
            return Err(StartError::InvalidName {
                supervisor: parent.map_or_else(String::new, Path::to_string),
                name: self.name.clone(),
            });
        }
        let path = self.path_below(parent);
        let Settings {
            strategy,
            auto_shutdown,
            ..
        } = self.settings;
        let contradicts = |path: &Path, why| StartError::BadCombination {
            path: path.clone(),
            why,
        };
        if parent.is_none() && self.standing.is_significant {
            // Nobody is above it.
            return Err(contradicts(&path, BadCombination::Never));
        }
        auto_shutdown
            .check_strategy(strategy)
            .map_err(|why| contradicts(&path, why))?;
        if self.partitions == Some(0) {
            return Err(StartError::NoPartitions(path));
        }
        if self.partitions.is_some() && auto_shutdown != AutoShutdown::Never {
            return Err(StartError::PartitionedAutoShutdown(path));
        }
        let partitions = self.children.iter().take(self.partitions.unwrap_or(0));
        let is_temporary = |child: &&ChildSpec| child.standing().restart == Restart::Temporary;
        if let Some(child) = partitions.into_iter().find(is_temporary) {
            return Err(StartError::TemporaryPartition(path.join(child.name())));
        }
        let mut names = HashSet::new();
        for child in &self.children {
            let (name, standing) = (child.name(), child.standing());
            if !is_valid_name(name) {
                let (supervisor, name) = (path.to_string(), name.to_owned());
                return Err(StartError::InvalidName { supervisor, name });
            }
            if !names.insert(name) {
                return Err(StartError::DuplicateName {
                    supervisor: path,
                    name: name.to_owned(),
                });
            }
            standing
                .check(auto_shutdown)
                .map_err(|why| contradicts(&path.join(name), why))?;
            if let Child::Supervisor(supervisor) = &child.0 {
                supervisor.check_below(Some(&path))?;
            }
        }
        Ok(())
    }

    fn path_below(&self, parent: Option<&Path>) -> Path {
        match parent {
            Some(parent) => parent.join(&self.name),
            None => Path::root(&self.name),
        }
    }

    /// Makes the roles of a tree that has been checked; nothing runs yet.
    pub(crate) fn build(
        self,
        parent: Option<&Path>,
        id: ChildId,
        system: &Arc<Shared>,
    ) -> Arc<SupervisorCell> {
        let path = self.path_below(parent);
        let children = self.children.into_iter().enumerate();
        let children = children.map(|(n, child)| {
            let standing = child.standing();
            (child.build(&path, ChildId(n as u64), system), standing)
        });
        let children: Vec<_> = children.collect();
        let partitions = self.partitions.map(|n| {
            let roles = children.iter().take(n);
            Partitions::new(roles.map(|(role, _)| Arc::clone(role)).collect())
        });
        SupervisorCell::new(
            (path, id),
            Arc::clone(system),
            self.settings,
            children,
            partitions,
        )
    }

    fn draw(&self, f: &mut fmt::Formatter<'_>, indent: &str) -> fmt::Result {
        let Supervisor {
            name,
            settings,
            standing,
            partitions,
            ..
        } = self;
        let Settings {
            strategy,
            limit,
            backoff,
            auto_shutdown,
            max_children,
        } = settings;
        let (n, within) = (limit.restarts(), limit.within());
        let s = if n == 1 { "" } else { "s" };
        write!(
            f,
            "{name}: {strategy}, {standing}, at most {n} restart{s} in {within:?}"
        )?;
        if *auto_shutdown != AutoShutdown::Never {
            write!(f, ", ends with {auto_shutdown}")?;
        }
        if let Some(max) = max_children {
            write!(f, ", at most {max} children")?;
        }
        if let Some(n) = partitions {
            write!(f, ", partitions: {n}")?;
        }
        if *backoff != Backoff::default() {
            write!(f, ", {backoff:?}")?;
        }
        writeln!(f)?;
        let last = self.children.len().saturating_sub(1);
        for (i, ChildSpec(child)) in self.children.iter().enumerate() {
            let (branch, below) = if i == last {
                ("└─ ", "   ")
            } else {
                ("├─ ", "│  ")
            };
            write!(f, "{indent}{branch}")?;
            match child {
                Child::Actor(spec) => writeln!(f, "{}", spec.outline())?,
                Child::Supervisor(supervisor) => supervisor.draw(f, &format!("{indent}{below}"))?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.draw(f, "")
    }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq for Supervisor {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}
