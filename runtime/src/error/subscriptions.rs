//! What can go wrong for whoever subscribes with terms, or waits for those that are required to have an event.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::{Path, PatternError};

/// Why there is no subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubscribeError {
    /// Its [subject](crate::Subscription::subject) is no pattern.
    Pattern {
        /// The name of the subscription.
        subscription: Arc<str>,
        /// What is wrong with it, and where.
        error: PatternError,
    },
    /// This life has been cut off, or its actor has stopped for good.
    Ended {
        /// The actor.
        path: Path,
        /// The name of the subscription.
        subscription: Arc<str>,
    },
}

/// Why not all [required](crate::Subscription::required) subscriptions have an event.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequiredError {
    /// Some have no room after all that time; each keeps the event or loses it, as its contract says.
    TimedOut {
        /// How many.
        left: usize,
        /// How long it was waited for them.
        waited: Duration,
    },
    /// Some have lost it: they have stopped or ended their subscription meanwhile, or their contract says so (its
    /// time was up, or a later event of its key came).
    Lost {
        /// How many.
        lost: usize,
    },
}

impl fmt::Display for SubscribeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SubscribeError::Pattern {
                subscription,
                error,
            } => write!(f, "the subject of \"{subscription}\": {error}"),
            SubscribeError::Ended { path, subscription } => write!(
                f,
                "{path} does not subscribe as \"{subscription}\": this life of it is over; its next one subscribes for itself"
            ),
        }
    }
}

impl fmt::Display for RequiredError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequiredError::TimedOut { left, waited } => write!(
                f,
                "{left} required subscriptions had no room after {waited:?}; publish less, or wait for longer"
            ),
            RequiredError::Lost { lost } => write!(
                f,
                "{lost} required subscriptions have lost the event: they have ended meanwhile, or their contract gave it up"
            ),
        }
    }
}

impl Error for SubscribeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            SubscribeError::Pattern { error, .. } => Some(error),
            SubscribeError::Ended { .. } => None,
        }
    }
}

impl Error for RequiredError {}
