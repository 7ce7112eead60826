//! Who directs a simulated system: decides what is next, sees what happens, and disturbs it.
//!
//! It is the seam that test kits stand on, such as `greenroom-testkit`, which
//! tests are to use. A system that is not [directed](crate::Builder::directed)
//! calls nothing here, and pays nothing for it: what is watched is watched where
//! a message is timed, which in a directed system each one is.

use std::any::{Any, TypeId};
use std::fmt;
use std::time::Duration;

use crate::{During, FailureKind};

/// Decides, watches and disturbs a simulated system.
///
/// It is called while the system runs, on its thread, under locks of the runtime:
/// it must neither call into the system nor panic.
/// Whatever it does has to follow from what it was made with and told so far,
/// or the same seed is not the same run.
pub trait Director: Send + 'static {
    /// Decides: returns a number below `n`, which is at least 1.
    ///
    /// A larger one counts as `n - 1`. 0 is the plainest choice in every decision.
    fn decide(&mut self, decision: Decision, n: usize) -> usize;

    /// Sees what has happened.
    fn saw(&mut self, event: &Step<'_>) {
        let _ = event;
    }

    /// Sees what is about to happen, and may disturb it.
    fn disturb(&mut self, moment: &Moment<'_>) -> Option<Fault> {
        let _ = moment;
        None
    }

    /// Returns how many messages the mailbox of an actor is to hold, for which its spec says `capacity`; 0 is full for ever.
    fn capacity(&mut self, path: &str, capacity: usize) -> usize {
        let _ = path;
        capacity
    }
}

/// What there is to decide in a simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Decision {
    /// Which of those that are ready runs next; 0 is the one that has been ready for the longest time.
    Next,
    /// How many messages fewer than it may it handles in that run.
    Budget,
    /// Whether an idle actor that is asked answers on the stack of the one that asks (0), or waits for its turn.
    Inside,
    /// Whether supervisors, timers and other tasks have to wait for longer (0), or have their turn.
    Yield,
}

/// What is about to happen.
#[non_exhaustive]
pub enum Moment<'a> {
    /// A life begins: `Actor::start` is to be called.
    Start {
        /// Of the actor.
        path: &'a str,
        /// Which life it is.
        incarnation: u64,
        /// The actor's type.
        actor: TypeId,
    },
    /// A message is taken in hand.
    Message {
        /// Of the actor.
        path: &'a str,
        /// Which life has it.
        incarnation: u64,
        /// The actor's type.
        actor: TypeId,
        /// The message's type.
        name: &'static str,
        /// The message.
        message: &'a dyn Any,
    },
    /// An actor subscribes to an event; any fault leaves it without.
    Subscribe {
        /// Of the actor.
        path: &'a str,
        /// The event's type.
        event: &'static str,
    },
}

/// What a director does to an actor.
///
/// The last three are for a message in hand: at the start of a life they do nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The handler, or the start, panics.
    Panic(String),
    /// It returns an error with this text.
    Error(String),
    /// It begins so much later.
    Delay(Duration),
    /// The life ends normally behind the message, as by `Context::stop`.
    Stop,
    /// The life is cut off at its next await, as one that did not stop in time.
    Kill,
    /// The actor loses its subscriptions.
    Unsubscribe,
}

/// What has happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Step<'a> {
    /// A life that was ready has its turn.
    Runs {
        /// Of the actor.
        path: &'a str,
        /// Which life it is.
        incarnation: u64,
    },
    /// A life has started and takes messages.
    Started {
        /// Of the actor.
        path: &'a str,
        /// Which life it is.
        incarnation: u64,
    },
    /// A message has been handled.
    Handled {
        /// Of the actor.
        path: &'a str,
        /// Which life had it.
        incarnation: u64,
        /// The message's type.
        name: &'static str,
    },
    /// A message was in hand and is void: a timer's that was cancelled or of an earlier life, or one too late.
    Discarded {
        /// Of the actor.
        path: &'a str,
        /// Which life had it.
        incarnation: u64,
        /// The message's type.
        name: &'static str,
    },
    /// An actor has failed.
    Failed {
        /// Of the actor.
        path: &'a str,
        /// Which life it was.
        incarnation: u64,
        /// What it was doing.
        during: During,
        /// How it failed.
        kind: FailureKind,
        /// The text of the error or the panic.
        text: &'a str,
    },
    /// A message whose handler has failed is first in the mailbox again, and does not count as failed.
    Retries {
        /// Of the actor.
        path: &'a str,
        /// Which life failed on it.
        incarnation: u64,
        /// The message's type.
        name: &'static str,
    },
    /// A life is over.
    Ended {
        /// Of the actor.
        path: &'a str,
        /// Which life it was.
        incarnation: u64,
        /// It was cut off by its supervisor, in the middle of whatever it did.
        is_cut_off: bool,
    },
    /// A supervisor starts a child again, and with it those that its strategy takes along.
    Restarts {
        /// Of the supervisor.
        path: &'a str,
        /// Which life of the supervisor it is.
        incarnation: u64,
        /// The child that ended.
        child: &'a str,
        /// How long it waits before that.
        after: Duration,
        /// How many restarts the supervisor is allowed
        limit: u32,
        /// within this time.
        within: Duration,
    },
    /// A supervisor gives up.
    GivesUp {
        /// Of the supervisor.
        path: &'a str,
        /// Which life of the supervisor it is.
        incarnation: u64,
        /// The child that ended once too often.
        child: &'a str,
        /// How many restarts the supervisor is allowed
        limit: u32,
        /// within this time.
        within: Duration,
    },
}

impl fmt::Debug for Moment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Moment::Start {
                path, incarnation, ..
            } => write!(f, "Start({path}, {incarnation})"),
            Moment::Message {
                path,
                incarnation,
                name,
                ..
            } => write!(f, "Message({path}, {incarnation}, {name})"),
            Moment::Subscribe { path, event } => write!(f, "Subscribe({path}, {event})"),
        }
    }
}
