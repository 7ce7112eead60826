//! What can go wrong for a caller: one error per operation, each with its message back and what to do.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use greenroom_supervision::BadCombination;

use crate::flow::Edge;
use crate::{ActorState, ExitReason, Failure, Path};

mod children;
mod names;
mod partitions;
mod subscriptions;

use children::not_found;
pub use children::{ChildInfoError, RemoveChildError, RestartChildError, UpdateError};
pub use names::RegisterError;
pub use partitions::{PartitionError, ResizeError};
pub use subscriptions::{RequiredError, SubscribeError};

/// Any error, for actors that need not tell theirs apart; `?` turns every error into it.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Why [`tell`](crate::ActorRef::tell) did not deliver.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TellError<M> {
    /// The actor has stopped for good.
    Stopped {
        /// The message, given back.
        message: M,
        /// The actor's path.
        path: Path,
    },
    /// The mailbox had no room within the limit.
    Timeout {
        /// The message, given back.
        message: M,
        /// The actor's path.
        path: Path,
        /// The limit that ran out.
        waited: Duration,
    },
    /// The mailbox is full and lets nobody wait: see [`Overflow::Reject`](crate::Overflow::Reject).
    Full {
        /// The message, given back.
        message: M,
        /// The actor's path.
        path: Path,
    },
    /// The life that sends was cut off, and another has taken its place: see [`Spec::stop_within`](crate::Spec::stop_within).
    Fenced {
        /// The message, given back.
        message: M,
        /// The path of the actor that it was for.
        path: Path,
    },
}

/// Why [`try_tell`](crate::ActorRef::try_tell) did not deliver.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TryTellError<M> {
    /// The mailbox is full, or others wait for room in it.
    Full {
        /// The message, given back.
        message: M,
        /// The actor's path.
        path: Path,
    },
    /// The actor has stopped for good.
    Stopped {
        /// The message, given back.
        message: M,
        /// The actor's path.
        path: Path,
    },
    /// The life that sends was cut off, and another has taken its place: see [`Spec::stop_within`](crate::Spec::stop_within).
    Fenced {
        /// The message, given back.
        message: M,
        /// The path of the actor that it was for.
        path: Path,
    },
}

/// Why [`ask`](crate::ActorRef::ask) brought no reply.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AskError<M> {
    /// The actor has stopped for good; the message was not handled.
    Stopped {
        /// The message, given back.
        message: M,
        /// The actor's path.
        path: Path,
    },
    /// The mailbox had no room within the limit; the message was not handled.
    NoRoom {
        /// The message, given back.
        message: M,
        /// The actor's path.
        path: Path,
        /// The limit that ran out.
        waited: Duration,
    },
    /// The mailbox is full and lets nobody wait; the message was not handled: see [`Overflow`](crate::Overflow).
    Full {
        /// The message, given back.
        message: M,
        /// The actor's path.
        path: Path,
    },
    /// No reply came within the limit; the message may still be handled.
    Timeout {
        /// The actor's path.
        path: Path,
        /// The limit that ran out.
        waited: Duration,
    },
    /// The handler failed on this message.
    Failed {
        /// The actor's path.
        path: Path,
        /// The text of its error.
        reason: String,
    },
    /// The actor did not come to the message: it stopped for good, or dropped it for a newer one ([`Overflow::DropOldest`](crate::Overflow::DropOldest)).
    Abandoned {
        /// The actor's path.
        path: Path,
    },
    /// The actor has failed and is being restarted; the message was not handled: ask again in a while.
    ///
    /// Only an actor whose spec [says so](crate::QueuedAsks::Refuse) refuses.
    Restarting {
        /// The message, given back.
        message: M,
        /// The actor's path.
        path: Path,
    },
    /// The actor waits, itself or through others, for the one that asks; the message was not handled.
    ///
    /// Only an ask that a handler (or `start`) awaits itself can bring it, not one
    /// in a task that it spawns: the handler would wait for its own end. Nobody
    /// waited for it, and nobody else in the cycle is told. But a `?` on it crashes
    /// the actor as any other error does, and whoever had asked that one gets
    /// [`Failed`](AskError::Failed): handle it, or [tell](crate::ActorRef::tell)
    /// instead of ask.
    Cycle {
        /// The message, given back.
        message: M,
        /// The actor's path.
        path: Path,
        /// The asker first, and behind each whom it waits for; the last waits for the first.
        cycle: Vec<Path>,
    },
    /// The life that sends was cut off, and another has taken its place: see [`Spec::stop_within`](crate::Spec::stop_within).
    Fenced {
        /// The message, given back.
        message: M,
        /// The path of the actor that it was for.
        path: Path,
    },
}

/// Why a tree did not start.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum StartError {
    /// The name of a child cannot be part of a path.
    InvalidName {
        /// The supervisor that lists the child; empty for the root.
        supervisor: String,
        /// The name as it was given.
        name: String,
    },
    /// Two children of one supervisor have one name.
    DuplicateName {
        /// The supervisor that lists both.
        supervisor: Path,
        /// The name that they share.
        name: String,
    },
    /// What this child or supervisor is to be cannot be together.
    BadCombination {
        /// The child or the supervisor.
        path: Path,
        /// What contradicts what.
        why: BadCombination,
    },
    /// A [partitioned](crate::Supervisor::partitioned) supervisor without a partition.
    NoPartitions(Path),
    /// A [partitioned](crate::Supervisor::partitioned) supervisor that would end [by itself](crate::Supervisor::auto_shutdown).
    PartitionedAutoShutdown(Path),
    /// A [partition](crate::Supervisor::partitioned) that is temporary.
    TemporaryPartition(Path),
    /// Actors [declare](crate::Actor::flow) that they may come to wait for each other in a circle.
    ///
    /// The edges of the shortest circle, each of which ends where the next one begins.
    WaitingCycle(Vec<Edge>),
    /// A child failed to start; those started before it have been stopped, the last one first.
    ChildFailed(Failure),
    /// The system was stopped before the tree was up.
    Stopped,
    /// The worker threads could not be made.
    NoWorkers(String),
}

/// Why a child was not started by a running supervisor.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum StartChildError {
    /// The name cannot be part of a path.
    InvalidName(String),
    /// A child of that name runs already.
    AlreadyStarted(Path),
    /// A child of that name has its place there, but does not run: it is down, or waits for its restart.
    AlreadyPresent(Path),
    /// The supervisor has as many children as it may.
    MaxChildren {
        /// The supervisor.
        supervisor: Path,
        /// How many it may have: see [`Supervisor::max_children`](crate::Supervisor::max_children).
        max: usize,
    },
    /// What the child is to be cannot be together, or not below this supervisor.
    BadCombination {
        /// The child.
        path: Path,
        /// What contradicts what.
        why: BadCombination,
    },
    /// The tree below the supervisor that was to be started is not one.
    InvalidTree(StartError),
    /// With the child, actors of the system [declare](crate::Actor::flow) that they may come to wait for each other in a circle.
    ///
    /// As in [`StartError::WaitingCycle`].
    WaitingCycle(Vec<Edge>),
    /// Its `start` said that there is nothing to run: see [`Context::ignore`](crate::Context::ignore).
    ///
    /// The supervisor keeps its place, unless it is a temporary child or one of a
    /// dynamic supervisor.
    Ignored(Path),
    /// Its `start` failed; the supervisor keeps nothing of it.
    Failed(Failure),
    /// The supervisor is stopping or has stopped.
    SupervisorStopped(Path),
    /// The supervisor waits for the actor that asks, to start or to stop: each would wait for the other.
    WouldDeadlock(Path),
}

/// Why a child was not stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopChildError {
    /// The supervisor has no child of that name.
    NotFound(Path),
    /// The supervisor is stopping or has stopped, and its children with it.
    SupervisorStopped(Path),
    /// The actor that asks would wait for its own end.
    WouldDeadlock(Path),
}

/// Why [`stop`](crate::ActorRef::stop) did not end a life, or not in that way.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum StopError {
    /// No life of the actor goes on: it has stopped, or waits for its restart.
    NotRunning(Path),
    /// The life did not end within the limit; it will after the message that it handles.
    TimedOut {
        /// The actor's path.
        path: Path,
        /// The limit that ran out.
        waited: Duration,
    },
    /// The life has ended in another way.
    Ended {
        /// The actor's path.
        path: Path,
        /// How it ended.
        reason: ExitReason,
    },
    /// The actor waits, itself or through others, for the one that stops it; it was not told to stop.
    ///
    /// One that wants its own end calls [`Context::stop`](crate::Context::stop).
    WouldDeadlock {
        /// The actor's path.
        path: Path,
        /// The one that stops it first, and behind each whom it waits for; the last waits for the first.
        cycle: Vec<Path>,
    },
}

/// Why a dead letter was not sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResendError {
    /// No dead letter that is kept has this number.
    NotFound(u64),
    /// The letter does not have its message: see [`DeadLetter::is_kept`](crate::DeadLetter::is_kept).
    NotKept(u64),
    /// Nobody takes it at that path: the actor has stopped for good, or is of another type now; the letter keeps it.
    Gone(Path),
    /// The mailbox has no room; the letter keeps the message.
    Full(Path),
}

/// Why a system is not ready.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NotReady {
    /// The first in the order of paths that is not running; `None` when the system has stopped.
    pub path: Option<Path>,
    /// What it is doing instead.
    pub state: ActorState,
}

/// Why an actor was not found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FindError {
    /// Nothing has that path.
    NotFound {
        /// The path that was asked for.
        path: String,
        /// What there is at the nearest place that exists, sorted, at most 16.
        nearby: Vec<String>,
    },
    /// Something else has that path.
    WrongType {
        /// The path that was asked for.
        path: Path,
        /// The type that was asked for.
        wanted: &'static str,
        /// What is there.
        found: String,
    },
}

/// The root supervisor gave up: the restarts it may carry out were used up.
#[derive(Clone, Debug)]
pub struct Escalated {
    pub(crate) root: Path,
    pub(crate) failure: Option<Failure>,
    /// Who ended last, if it was not by a failure.
    pub(crate) last: Option<Path>,
}

impl Escalated {
    /// Returns the failure that was one too many.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }
}

impl<M> TellError<M> {
    /// Returns the message that was not delivered.
    pub fn into_message(self) -> M {
        match self {
            TellError::Stopped { message, .. }
            | TellError::Timeout { message, .. }
            | TellError::Full { message, .. }
            | TellError::Fenced { message, .. } => message,
        }
    }
}

impl<M> TryTellError<M> {
    /// Returns the message that was not delivered.
    pub fn into_message(self) -> M {
        match self {
            TryTellError::Full { message, .. }
            | TryTellError::Stopped { message, .. }
            | TryTellError::Fenced { message, .. } => message,
        }
    }
}

impl<M> AskError<M> {
    /// Returns the message if it was given back: it has not been handled then, and will not be.
    pub fn into_message(self) -> Option<M> {
        match self {
            AskError::Stopped { message, .. }
            | AskError::NoRoom { message, .. }
            | AskError::Full { message, .. }
            | AskError::Restarting { message, .. }
            | AskError::Fenced { message, .. }
            | AskError::Cycle { message, .. } => Some(message),
            _ => None,
        }
    }
}

impl<M> fmt::Display for TellError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TellError::Stopped { path, .. } => stopped(f, path),
            TellError::Timeout { path, waited, .. } => no_room(f, path, *waited),
            TellError::Full { path, .. } => full(f, path),
            TellError::Fenced { path, .. } => fenced(f, path),
        }
    }
}

impl<M> fmt::Display for TryTellError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TryTellError::Full { path, .. } => write!(
                f,
                "the mailbox of {path} is full; wait for room with `tell` if its spec lets senders wait, or send less"
            ),
            TryTellError::Stopped { path, .. } => stopped(f, path),
            TryTellError::Fenced { path, .. } => fenced(f, path),
        }
    }
}

impl<M> fmt::Display for AskError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AskError::Stopped { path, .. } => stopped(f, path),
            AskError::NoRoom { path, waited, .. } => no_room(f, path, *waited),
            AskError::Full { path, .. } => full(f, path),
            AskError::Fenced { path, .. } => fenced(f, path),
            AskError::Timeout { path, waited } => write!(
                f,
                "{path} did not reply within {waited:?}; it may still handle the message, \
                 so ask again only what may be done twice"
            ),
            AskError::Failed { path, reason } => {
                write!(f, "{path} failed on the message: {reason}")
            }
            AskError::Abandoned { path } => {
                write!(
                    f,
                    "{path} did not come to the message: it stopped, or dropped it for a newer one"
                )
            }
            AskError::Restarting { path, .. } => {
                write!(
                    f,
                    "{path} has failed and is being restarted; ask again in a while"
                )
            }
            AskError::Cycle { path, cycle, .. } => {
                write!(f, "{path} would never reply: ")?;
                for path in cycle {
                    write!(f, "{path} -> ")?;
                }
                let first = cycle.first().unwrap_or(path);
                write!(
                    f,
                    "{first} wait for each other; tell instead of ask, or reply first and ask in a message of its own"
                )
            }
        }
    }
}

fn stopped(f: &mut fmt::Formatter<'_>, path: &Path) -> fmt::Result {
    write!(
        f,
        "{path} has stopped; find the actor that took its place, or give up"
    )
}

fn fenced(f: &mut fmt::Formatter<'_>, path: &Path) -> fmt::Result {
    write!(
        f,
        "nothing was sent to {path}: this life of the sender was cut off and has been replaced; end, and leave the work to the next one"
    )
}

fn full(f: &mut fmt::Formatter<'_>, path: &Path) -> fmt::Result {
    write!(
        f,
        "the mailbox of {path} is full and lets nobody wait; try again later, send less, or give it a larger mailbox"
    )
}

fn no_room(f: &mut fmt::Formatter<'_>, path: &Path, waited: Duration) -> fmt::Result {
    write!(
        f,
        "the mailbox of {path} had no room within {waited:?}; allow more time, send less, or give it a larger mailbox"
    )
}

// By hand, so that a message need not be `Debug` for its error to be one.
impl<M> fmt::Debug for TellError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TellError({self})")
    }
}

impl<M> fmt::Debug for TryTellError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TryTellError({self})")
    }
}

impl<M> fmt::Debug for AskError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AskError({self})")
    }
}

impl<M> Error for TellError<M> {}
impl<M> Error for TryTellError<M> {}
impl<M> Error for AskError<M> {}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::InvalidName { supervisor, name } if supervisor.is_empty() => {
                write!(f, "the root cannot be named {name:?}; {NAME_RULE}")
            }
            StartError::InvalidName { supervisor, name } => {
                write!(
                    f,
                    "a child of {supervisor} cannot be named {name:?}; {NAME_RULE}"
                )
            }
            StartError::DuplicateName { supervisor, name } => {
                write!(
                    f,
                    "{supervisor} has two children named {name:?}; rename one of them"
                )
            }
            StartError::BadCombination { path, why } => write!(f, "{path} cannot be: {why}"),
            StartError::NoPartitions(path) => {
                write!(f, "{path} has no partition; give it one at least")
            }
            StartError::PartitionedAutoShutdown(path) => write!(
                f,
                "{path} is partitioned and cannot end by itself; leave its auto-shutdown at never"
            ),
            StartError::TemporaryPartition(path) => write!(
                f,
                "the partition {path} is temporary, and its keys would belong to nobody once it has ended; make it permanent or transient"
            ),
            StartError::WaitingCycle(cycle) => waiting_cycle(f, cycle),
            StartError::ChildFailed(failure) => write!(f, "the tree did not start: {failure}"),
            StartError::Stopped => f.write_str("the system was stopped while its tree started"),
            StartError::NoWorkers(why) => {
                write!(f, "the worker threads could not be made: {why}")
            }
        }
    }
}

fn waiting_cycle(f: &mut fmt::Formatter<'_>, cycle: &[Edge]) -> fmt::Result {
    for (n, edge) in cycle.iter().enumerate() {
        write!(f, "{}{edge}", if n == 0 { "" } else { ", " })?;
    }
    f.write_str(
        ": each may wait for the next for good; let one of them go on without it, by `try_tell` or `publish`, and declare that `lossy`",
    )
}

const NAME_RULE: &str = "a name has 1 to 128 bytes, no `/` and no control characters";

impl fmt::Display for StartChildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartChildError::InvalidName(name) => {
                write!(f, "a child cannot be named {name:?}; {NAME_RULE}")
            }
            StartChildError::AlreadyStarted(path) => {
                write!(
                    f,
                    "{path} is there already; find it, or choose another name"
                )
            }
            StartChildError::AlreadyPresent(path) => write!(
                f,
                "{path} has its place there and does not run; restart or remove it, or choose another name"
            ),
            StartChildError::MaxChildren { supervisor, max } => write!(
                f,
                "{supervisor} has as many children as it may, {max}; stop one, or raise the bound"
            ),
            StartChildError::BadCombination { path, why } => write!(f, "{path} cannot be: {why}"),
            StartChildError::InvalidTree(error) => error.fmt(f),
            StartChildError::WaitingCycle(cycle) => waiting_cycle(f, cycle),
            StartChildError::Ignored(path) => {
                write!(f, "{path} said in its start that there is nothing to run")
            }
            StartChildError::Failed(failure) => write!(f, "the child did not start: {failure}"),
            StartChildError::SupervisorStopped(path) => {
                write!(
                    f,
                    "the supervisor {path} is stopping and starts no more children"
                )
            }
            StartChildError::WouldDeadlock(path) => write!(
                f,
                "{path} waits for the actor that asks it for a child; ask again in a message of its own"
            ),
        }
    }
}

impl fmt::Display for FindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FindError::NotFound { path, nearby } if nearby.is_empty() => {
                write!(f, "there is no {path:?}; nothing is running")
            }
            FindError::NotFound { path, nearby } => {
                write!(
                    f,
                    "there is no {path:?}; near it there are {}",
                    nearby.join(", ")
                )
            }
            FindError::WrongType {
                path,
                wanted,
                found,
            } => {
                write!(f, "{path} is not a {wanted}, it is a {found}")
            }
        }
    }
}

impl fmt::Display for Escalated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Escalated {
            root,
            failure,
            last,
        } = self;
        write!(
            f,
            "the system stopped: {root} gave up, its restart limit is used up"
        )?;
        match (failure, last) {
            (_, Some(last)) => write!(
                f,
                "; the last to end was {last}, normally: give it `Restart::Transient` if it may end"
            ),
            (Some(failure), None) => write!(f, "; the last failure: {failure}"),
            (None, None) => Ok(()),
        }
    }
}

impl fmt::Display for ResendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ResendError::NotFound(number) => write!(
                f,
                "there is no dead letter {number}; it was never there, or newer ones took its place: keep more with `Builder::dead_letters`"
            ),
            ResendError::NotKept(number) => write!(
                f,
                "dead letter {number} does not have its message: it was sent again before, or its type is not one that `Spec::retry` names"
            ),
            ResendError::Gone(path) => write!(
                f,
                "nobody takes the message at {path}; start the actor again and try once more"
            ),
            ResendError::Full(path) => write!(
                f,
                "the mailbox of {path} has no room; try once more when it has worked off what is queued"
            ),
        }
    }
}

impl fmt::Display for StopChildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StopChildError::NotFound(path) => not_found(f, path),
            StopChildError::SupervisorStopped(path) => {
                write!(
                    f,
                    "the supervisor {path} is stopping, and its children with it"
                )
            }
            StopChildError::WouldDeadlock(path) => write!(
                f,
                "{path} cannot wait for the end of the actor that asks; an actor ends itself with `Context::stop`"
            ),
        }
    }
}

impl fmt::Display for StopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StopError::NotRunning(path) => {
                write!(f, "{path} is not running, so there is nothing to wait for")
            }
            StopError::TimedOut { path, waited } => write!(
                f,
                "{path} did not end within {waited:?}; it will after the message that it handles, or `kill` it"
            ),
            StopError::Ended { path, reason } => {
                write!(f, "{path} {reason} before it could end normally")
            }
            StopError::WouldDeadlock { path, cycle } => {
                write!(f, "{path} would never end: ")?;
                for path in cycle {
                    write!(f, "{path} -> ")?;
                }
                let first = cycle.first().unwrap_or(path);
                write!(
                    f,
                    "{first} wait for each other; an actor ends itself with `Context::stop`"
                )
            }
        }
    }
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "{path} is {}", self.state.as_str()),
            None => f.write_str("the system has stopped"),
        }
    }
}

impl Error for ResendError {}
impl Error for StopChildError {}
impl Error for StopError {}
impl Error for NotReady {}
impl Error for StartError {}
impl Error for StartChildError {}
impl Error for FindError {}
impl Error for Escalated {}
