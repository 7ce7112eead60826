//! What can go wrong for whoever looks for the partition of a key, or changes how many there are.

use std::error::Error;
use std::fmt;

use crate::{Path, RestartChildError, StopChildError};

/// Why there is no partition for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PartitionError {
    /// The supervisor is not [partitioned](crate::Supervisor::partitioned).
    NotPartitioned(Path),
    /// No partition is in use: they were [resized](crate::SupervisorRef::resize) to none.
    NoneInUse(Path),
    /// The partitions are of another type.
    WrongType {
        /// The partition of the key.
        path: Path,
        /// The type that was asked for.
        wanted: &'static str,
        /// What it is.
        found: String,
    },
}

/// Why there are not as many partitions in use as there should be.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ResizeError {
    /// The supervisor is not [partitioned](crate::Supervisor::partitioned).
    NotPartitioned(Path),
    /// There never were as many.
    TooMany {
        /// The supervisor.
        supervisor: Path,
        /// How many it was started with.
        max: usize,
    },
    /// A partition was not started; those before it are in use.
    NotStarted(RestartChildError),
    /// A partition was not stopped, though it is in use no longer.
    NotStopped(StopChildError),
}

fn not_partitioned(f: &mut fmt::Formatter<'_>, path: &Path) -> fmt::Result {
    write!(
        f,
        "{path} is not partitioned; make it with `Supervisor::partitioned`"
    )
}

impl fmt::Display for PartitionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PartitionError::NotPartitioned(path) => not_partitioned(f, path),
            PartitionError::NoneInUse(path) => {
                write!(
                    f,
                    "{path} has no partition in use; resize it to one at least"
                )
            }
            PartitionError::WrongType {
                path,
                wanted,
                found,
            } => write!(f, "{path} is not a {wanted}, it is a {found}"),
        }
    }
}

impl fmt::Display for ResizeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ResizeError::NotPartitioned(path) => not_partitioned(f, path),
            ResizeError::TooMany { supervisor, max } => write!(
                f,
                "{supervisor} was started with {max} partitions and cannot have more; start it with as many as it may ever need"
            ),
            ResizeError::NotStarted(error) => write!(f, "a partition was not started: {error}"),
            ResizeError::NotStopped(error) => write!(f, "a partition was not stopped: {error}"),
        }
    }
}

impl Error for PartitionError {}

impl Error for ResizeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            ResizeError::NotStarted(error) => Some(error),
            ResizeError::NotStopped(error) => Some(error),
            ResizeError::NotPartitioned(_) | ResizeError::TooMany { .. } => None,
        }
    }
}
