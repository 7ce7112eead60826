//! Why a name was not given.

use std::error::Error;
use std::fmt;

use crate::Path;

/// Why an actor was not [registered](crate::names::Names::register), or did not [join](crate::names::Groups::join).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegisterError {
    /// The name is taken.
    AlreadyRegistered {
        /// The actor that has it, which may be the one that asks.
        owner: Path,
    },
    /// The life that asks was cut off, and its role may have another by now.
    CutOff(Path),
}

impl fmt::Display for RegisterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RegisterError::AlreadyRegistered { owner } => write!(
                f,
                "{owner} has that name already; look it up, or choose another"
            ),
            RegisterError::CutOff(path) => write!(
                f,
                "this life of {path} was cut off and registers nothing any more; return from the handler"
            ),
        }
    }
}

impl Error for RegisterError {}
