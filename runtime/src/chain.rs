//! What supervisors decided about one failure, one above the other.

use std::fmt;
use std::time::Duration;

use parking_lot::Mutex;

use crate::Path;

/// What a supervisor decided about a failure: one link of the chain that [`Failure::decisions`](crate::Failure::decisions) returns.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SupervisorDecision {
    /// Who decided.
    pub supervisor: Path,
    /// About whom: the actor that failed, or a supervisor over it that gave up.
    pub child: Path,
    /// What.
    pub decided: Decided,
}

/// What a supervisor does about a child that ended; see [`SupervisorDecision`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decided {
    /// It is started again.
    #[non_exhaustive]
    Restart {
        /// How long it stays down first: the back-off.
        after: Duration,
        /// How many are stopped and started again with it, as the strategy says.
        siblings: usize,
        /// How many restarts count by now, this one with them,
        restarts: u32,
        /// of how many that are allowed
        limit: u32,
        /// within this time.
        within: Duration,
    },
    /// It stays down, in its place, as a transient child does.
    KeepDown,
    /// It is no child any more, as temporary ones are when they end.
    Forget,
    /// It did not come up when it was to be started for the first time, by order, or with its supervisor.
    StartFailed,
    /// It was the last that its supervisor waited for: that shuts down.
    AutoShutdown,
    /// The restart limit is used up: the supervisor stops its children and ends, and the one above it decides.
    #[non_exhaustive]
    GiveUp {
        /// How many restarts are allowed
        limit: u32,
        /// within this time.
        within: Duration,
    },
}

impl fmt::Display for SupervisorDecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SupervisorDecision {
            supervisor,
            child,
            decided,
        } = self;
        match decided {
            Decided::Restart {
                after,
                siblings,
                restarts,
                limit,
                within,
            } => {
                write!(f, "{supervisor} restarts {child}")?;
                match siblings {
                    0 => {}
                    1 => f.write_str(" and a sibling")?,
                    n => write!(f, " and {n} siblings")?,
                }
                match after.is_zero() {
                    true => f.write_str(" at once")?,
                    false => write!(f, " after {after:?}")?,
                }
                write!(f, " ({restarts} of {limit} in {within:?})")
            }
            Decided::KeepDown => write!(f, "{supervisor} keeps {child} down"),
            Decided::Forget => write!(f, "{supervisor} forgets {child}"),
            Decided::StartFailed => write!(f, "{supervisor} does without {child}"),
            Decided::AutoShutdown => write!(f, "{supervisor} is done with {child}"),
            Decided::GiveUp { limit, within } => write!(
                f,
                "{supervisor} gives up over {child} (more than {limit} in {within:?})"
            ),
        }
    }
}

/// The decisions about one failure, the first one first.
#[derive(Default)]
pub(crate) struct Chain(Mutex<Vec<SupervisorDecision>>);

/// How many are kept: each is of one level of the tree.
const DECISIONS_MAX: usize = 32;

impl Chain {
    pub(crate) fn add(&self, decision: SupervisorDecision) {
        let mut chain = self.0.lock();
        if chain.len() < DECISIONS_MAX {
            // Most failures are the affair of one supervisor.
            chain.reserve_exact(1);
            chain.push(decision);
        }
    }

    pub(crate) fn all(&self) -> Vec<SupervisorDecision> {
        self.0.lock().clone()
    }
}

/// Decisions in one line.
pub(crate) struct Shown<'a>(pub(crate) &'a [SupervisorDecision]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, decision) in self.0.iter().enumerate() {
            let then = if n == 0 { "" } else { "; " };
            write!(f, "{then}{decision}")?;
        }
        Ok(())
    }
}
