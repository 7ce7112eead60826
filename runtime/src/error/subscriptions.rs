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
    ///
    /// An event that is kept still comes, so who publishes it again sends it twice to those.
    TimedOut {
        /// How many.
        left: usize,
        /// How long it was waited for them.
        waited: Duration,
        /// Their names, sorted; one stands here once for each actor that has a subscription of that name.
        subscriptions: Vec<Arc<str>>,
        /// How many of them keep the event, as there was place in their buffer; the others have lost it.
        kept: usize,
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
            RequiredError::TimedOut {
                left,
                waited,
                subscriptions,
                kept,
            } => {
                let names: Vec<String> = subscriptions.iter().map(|s| format!("{s:?}")).collect();
                let names = names.join(", ");
                let fate = match (*left, left.saturating_sub(*kept)) {
                    (1, 0) => "it keeps the event".to_owned(),
                    (1, _) => "it has lost the event".to_owned(),
                    (_, 0) => "they keep the event".to_owned(),
                    (_, lost) => format!("{kept} keep the event, {lost} lost it"),
                };
                let s = if *left == 1 { "" } else { "s" };
                write!(
                    f,
                    "required subscription{s} {names} had no room after {waited:?}, and {fate}; publish less, or wait for longer"
                )
            }
            RequiredError::Lost { lost } => {
                let (s, has, its) = match lost {
                    1 => ("", "has", "it has ended meanwhile, or its"),
                    _ => ("s", "have", "they have ended meanwhile, or their"),
                };
                write!(
                    f,
                    "{lost} required subscription{s} {has} lost the event: {its} contract gave it up"
                )
            }
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
