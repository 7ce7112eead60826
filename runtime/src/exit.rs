//! How a life ends, as others hear of it.

use std::fmt;
use std::sync::Arc;

use greenroom_supervision::Exit;

use crate::role::{Ended, RestartReason};
use crate::{Failure, LifeEnd};

/// How a life of an actor ended, as in OTP.
///
/// What its supervisor makes of it is the affair of the restart type, see the
/// table in [`greenroom_supervision`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ExitReason {
    /// It was done: it called [`Context::stop`](crate::Context::stop), or was [stopped](crate::ActorRef::stop) by
    /// another.
    Normal,
    /// It was shut down, by its supervisor or by [`Context::shutdown`](crate::Context::shutdown), and for this reason
    /// if one was given.
    Shutdown(Option<Arc<str>>),
    /// It returned an error or panicked.
    Failed(Failure),
    /// It was ended by force: by [`ActorRef::kill`](crate::ActorRef::kill), or as it did not stop in time.
    Killed,
    /// There was no life to end: OTP's `noproc`.
    NotRunning,
}

impl ExitReason {
    /// Returns whether the end is no failure: [`Normal`](Self::Normal) or [`Shutdown`](Self::Shutdown).
    #[must_use]
    pub fn is_clean(&self) -> bool {
        matches!(self, ExitReason::Normal | ExitReason::Shutdown(_))
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExitReason::Normal => f.write_str("ended normally"),
            ExitReason::Shutdown(None) => f.write_str("was shut down"),
            ExitReason::Shutdown(Some(why)) => write!(f, "was shut down: {why}"),
            ExitReason::Failed(failure) => {
                write!(f, "failed {}: {}", failure.during(), failure.text())
            }
            ExitReason::Killed => f.write_str("was killed"),
            ExitReason::NotRunning => f.write_str("was not running"),
        }
    }
}

impl Ended {
    pub(crate) fn failed(failure: Failure) -> Self {
        Ended {
            exit: Exit::Failed,
            reason: RestartReason::of(failure.kind()),
            failure: Some(failure),
            why: None,
            last: None,
            is_ignored: false,
        }
    }

    pub(crate) fn normal() -> Self {
        Ended {
            exit: Exit::Normal,
            reason: RestartReason::Normal,
            failure: None,
            why: None,
            last: None,
            is_ignored: false,
        }
    }

    pub(crate) fn shutdown() -> Self {
        Ended {
            exit: Exit::Shutdown,
            ..Ended::normal()
        }
    }

    pub(crate) fn shutdown_for(why: Option<Arc<str>>) -> Self {
        Ended {
            why,
            ..Ended::shutdown()
        }
    }

    /// There was nothing to run.
    pub(crate) fn ignored() -> Self {
        Ended {
            is_ignored: true,
            ..Ended::normal()
        }
    }

    pub(crate) fn killed() -> Self {
        Ended {
            exit: Exit::Killed,
            reason: RestartReason::Killed,
            ..Ended::normal()
        }
    }

    /// An end in order did not go well: that is how the life ends, as in OTP.
    pub(crate) fn fail(&mut self, failure: Failure) {
        *self = Ended::failed(failure);
    }

    /// The end as the role's history has it, which is kept for long.
    pub(crate) fn life_end(&self) -> LifeEnd {
        match (self.exit, &self.failure) {
            (Exit::Normal, _) => LifeEnd::Normal,
            (Exit::Shutdown, _) => LifeEnd::Shutdown(self.why.clone()),
            (Exit::Failed, Some(failure)) => failure.life_end(),
            (Exit::Failed, None) | (Exit::Killed, _) => LifeEnd::Killed,
        }
    }

    /// The end as others hear of it.
    pub(crate) fn exit_reason(&self) -> ExitReason {
        match (self.exit, &self.failure) {
            (Exit::Normal, _) => ExitReason::Normal,
            (Exit::Shutdown, _) => ExitReason::Shutdown(self.why.clone()),
            (Exit::Failed, Some(failure)) => ExitReason::Failed(failure.clone()),
            // A start that was cut short has failed, and left no report.
            (Exit::Failed, None) | (Exit::Killed, _) => ExitReason::Killed,
        }
    }
}
