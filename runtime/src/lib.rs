//! Supervised actors you can see.
//!
//! Every component is an [`Actor`] with a measured, bounded mailbox. Every
//! failure, a panic or an `Err`, is a decision of a supervision tree
//! ([`Supervisor`]). Every [`Event`] finds its subscribers through one registry.
//! And all of it can be read from outside at any time: depth, age, counts,
//! restarts and dead letters ([`System::scrape`], [`System::snapshot`]).
//!
//! It is not a web framework, a broker or a store: those are actor crates on
//! top of this one, such as `greenroom-telemetry`.
//!
//! Begin with [`Actor`], then [`Supervisor`] and [`System`].
//!
//! # What holds
//!
//! - One message at a time per actor; messages of one sender to one actor
//!   arrive in order.
//! - A reference names the role, not the life: mailbox, subscriptions, name and
//!   metrics survive a restart.
//! - A reply is data, `?` is the crash: see [`Handler`].
//! - Every queue is bounded; nothing is dropped without being counted and kept
//!   as a [`DeadLetter`]. For every actor, at any moment at rest,
//!   *sent = handled + failed + rejected + dropped + queued* ([`Ledger`]).

#![forbid(unsafe_code)]

mod actor;
mod actor_ref;
mod cell;
mod context;
mod dead_letter;
mod entry;
mod envelope;
mod error;
mod failure;
mod mailbox;
mod metrics;
mod path;
mod registry;
mod role;
mod scrape;
mod shared;
mod snapshot;
mod spec;
mod supervisor;
mod supervisor_ref;
mod system;
mod tally;

pub use actor::{Actor, Event, Handler, Message};
pub use actor_ref::{ASK_TIMEOUT, ActorRef, Ask, Recipient, Tell, WeakActorRef};
pub use context::{Context, Task};
pub use dead_letter::{DeadLetter, DeadLetterReason};
pub use error::{
    AskError, Escalated, FindError, StartChildError, StartError, TellError, TryTellError,
};
pub use failure::{During, Failure, FailureKind};
pub use greenroom_supervision::{Backoff, Restart};
pub use metrics::{Family, HistogramReading, Ledger, Metric, MetricKind, Sample, Value};
pub use path::Path;
pub use registry::Delivery;
pub use snapshot::{ActorInfo, ActorState, MailboxInfo};
pub use spec::{ChildSpec, MAILBOX_CAPACITY, STOP_WITHIN, Spec, Supervisor};
pub use supervisor_ref::SupervisorRef;
pub use system::{Builder, DEAD_LETTERS, System, block_on, blocking};

/// What an actor's author needs, in one line.
pub mod prelude {
    pub use crate::{
        Actor, ActorRef, Backoff, Context, Event, Handler, Message, Recipient, Restart, Spec,
        Supervisor, System,
    };
}
