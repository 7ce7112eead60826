//! What can go wrong for whoever orders something of a supervisor about children that are there, or looks at them.

use std::error::Error;
use std::fmt;

use crate::role::Refusal;
use crate::{Failure, Path, StartChildError, StartError, StopChildError};

/// Why a child was not started again.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RestartChildError {
    /// The supervisor has no child of that name.
    NotFound(Path),
    /// It runs.
    Running(Path),
    /// It is being started again already.
    Restarting(Path),
    /// Children of this supervisor come and go: one that is down is forgotten.
    Dynamic(Path),
    /// Its `start` said that there is nothing to run, so it stays down: see [`Context::ignore`](crate::Context::ignore).
    Ignored(Path),
    /// Its `start` failed; it stays down and keeps its place.
    Failed(Failure),
    /// The supervisor is stopping or has stopped.
    SupervisorStopped(Path),
    /// The supervisor waits for the actor that asks, to start or to stop: each would wait for the other.
    WouldDeadlock(Path),
}

/// Why a child was not removed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RemoveChildError {
    /// The supervisor has no child of that name.
    NotFound(Path),
    /// It runs.
    Running(Path),
    /// It is being started again.
    Restarting(Path),
    /// Children of this supervisor come and go: one that is down is forgotten by itself.
    Dynamic(Path),
    /// It is a [partition](crate::Supervisor::partitioned), to which keys belong.
    Partition(Path),
    /// The supervisor is stopping or has stopped.
    SupervisorStopped(Path),
    /// The supervisor waits for the actor that asks, to start or to stop: each would wait for the other.
    WouldDeadlock(Path),
}

/// Why a supervisor is as it was before.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum UpdateError {
    /// The tree is not one, or none for this supervisor.
    InvalidTree(StartError),
    /// The tree is that of another supervisor.
    OtherName {
        /// The supervisor.
        supervisor: Path,
        /// The name of the tree's.
        name: String,
    },
    /// A child of that name is there, and is something else.
    OtherType {
        /// The child.
        path: Path,
        /// What the tree has in its place.
        wanted: String,
        /// What it is.
        found: String,
    },
    /// The child was started as a temporary one, so nothing is kept that it could be started again from.
    BuiltOnce(Path),
    /// A dynamic supervisor stays one, and no other becomes one; nor does it have children that are down.
    Dynamic(Path),
    /// The tree has other [partitions](crate::Supervisor::partitioned) than the supervisor, or one of the two has none.
    Partitions {
        /// The supervisor.
        supervisor: Path,
        /// How many it was started with; 0 if it is not partitioned.
        partitions: usize,
    },
    /// The supervisor is stopping or has stopped.
    SupervisorStopped(Path),
    /// The supervisor waits for the actor that asks, to start or to stop: each would wait for the other.
    WouldDeadlock(Path),
}

/// Why there is nothing to be seen of a child.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChildInfoError {
    /// The supervisor has no child of that name.
    NotFound(Path),
    /// The supervisor has stopped, and its children with it.
    SupervisorStopped(Path),
}

/// Every order to a supervisor can be refused for these reasons.
macro_rules! refused {
    ($($error:ident)*) => {$(
        impl From<(Refusal, Path)> for $error {
            fn from((why, path): (Refusal, Path)) -> Self {
                match why {
                    Refusal::SupervisorStopped => $error::SupervisorStopped(path),
                    Refusal::WouldDeadlock => $error::WouldDeadlock(path),
                }
            }
        }
    )*};
}

refused!(StartChildError StopChildError RestartChildError RemoveChildError UpdateError);

pub(super) fn not_found(f: &mut fmt::Formatter<'_>, path: &Path) -> fmt::Result {
    write!(f, "there is no {path}; it may have ended by itself")
}

fn supervisor_stopped(f: &mut fmt::Formatter<'_>, path: &Path) -> fmt::Result {
    write!(
        f,
        "the supervisor {path} is stopping or has stopped; wait until it runs again, or give up"
    )
}

fn would_deadlock(f: &mut fmt::Formatter<'_>, path: &Path) -> fmt::Result {
    write!(
        f,
        "{path} waits for the actor that asks; ask again in a message of its own"
    )
}

impl fmt::Display for RestartChildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RestartChildError::NotFound(path) => not_found(f, path),
            RestartChildError::Running(path) => write!(f, "{path} runs; stop it first"),
            RestartChildError::Restarting(path) => write!(
                f,
                "{path} is being started again; wait for it, or stop it first"
            ),
            RestartChildError::Dynamic(path) => write!(
                f,
                "{path} is dynamic and keeps nobody who is down; start the child anew"
            ),
            RestartChildError::Ignored(path) => {
                write!(f, "{path} said in its start that there is nothing to run")
            }
            RestartChildError::Failed(failure) => write!(f, "the child did not start: {failure}"),
            RestartChildError::SupervisorStopped(path) => supervisor_stopped(f, path),
            RestartChildError::WouldDeadlock(path) => would_deadlock(f, path),
        }
    }
}

impl fmt::Display for RemoveChildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RemoveChildError::NotFound(path) => not_found(f, path),
            RemoveChildError::Running(path) => write!(f, "{path} runs; stop it first"),
            RemoveChildError::Restarting(path) => {
                write!(f, "{path} is being started again; stop it first")
            }
            RemoveChildError::Dynamic(path) => write!(
                f,
                "{path} is dynamic and forgets who is down; stopping the child is enough"
            ),
            RemoveChildError::Partition(path) => write!(
                f,
                "{path} is a partition and keeps its place; resize its supervisor to have it run or not"
            ),
            RemoveChildError::SupervisorStopped(path) => supervisor_stopped(f, path),
            RemoveChildError::WouldDeadlock(path) => would_deadlock(f, path),
        }
    }
}

impl fmt::Display for UpdateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UpdateError::InvalidTree(error) => error.fmt(f),
            UpdateError::OtherName { supervisor, name } => {
                write!(
                    f,
                    "the tree is {name:?}'s; give {supervisor} one of its own"
                )
            }
            UpdateError::OtherType {
                path,
                wanted,
                found,
            } => write!(
                f,
                "{path} is a {found} and cannot become a {wanted}; stop and remove it, and start the other"
            ),
            UpdateError::BuiltOnce(path) => write!(
                f,
                "{path} was started as a temporary child and cannot be started again; leave it temporary, or stop it and start another"
            ),
            UpdateError::Dynamic(path) => write!(
                f,
                "{path} cannot become dynamic or cease to be, and a dynamic supervisor has no child that does not run; start it through its reference"
            ),
            UpdateError::Partitions {
                supervisor,
                partitions: 0,
            } => write!(
                f,
                "{supervisor} is not partitioned and cannot become so; start a partitioned supervisor beside it"
            ),
            UpdateError::Partitions {
                supervisor,
                partitions,
            } => write!(
                f,
                "{supervisor} was started with {partitions} partitions; give it a tree of as many, and resize it to use fewer"
            ),
            UpdateError::SupervisorStopped(path) => supervisor_stopped(f, path),
            UpdateError::WouldDeadlock(path) => would_deadlock(f, path),
        }
    }
}

impl fmt::Display for ChildInfoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChildInfoError::NotFound(path) => not_found(f, path),
            ChildInfoError::SupervisorStopped(path) => supervisor_stopped(f, path),
        }
    }
}

impl Error for RestartChildError {}
impl Error for RemoveChildError {}
impl Error for UpdateError {}
impl Error for ChildInfoError {}
