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

//! # Events
//!
//! An event is published to whoever has subscribed to its type, and who publishes knows none of them:
//! [`Context::publish`], [`Context::subscribe`]. Beyond that:
//!
//! | I want ... | use ... |
//! |---|---|
//! | only events of some subjects or keys, or that a condition holds for | [`Subscription::subject`], [`key`](Subscription::key), [`filter`](Subscription::filter) |
//! | to say what becomes of events for which I have no room | [`Subscription::when_full`], [`EventOverflow`] |
//! | to be told what I have missed | [`Subscription::gaps_to`] |
//! | the last event of each key when I come | [`Event::retained`], [`Subscription::replay`] |
//! | several actors to share the events | [`Subscription::group`] |
//! | publishers to be no faster than I am, and to lose nothing | [`Subscription::required`], [`Delivery::await_required`] |
//! | the id, time, source and cause of an event | [`Subscription::with_envelope`], [`Context::envelope`] |
//! | events to come from or go to a broker or a web hook | [`CloudEvent`], [`System::publish_received`], [`System::envelope_of`] |
//! | to know what led to an event, or to a dead letter | [`Builder::keep_causes`], [`System::causes_of`] |
//! | to know who fills a mailbox | [`MailboxInfo::sources`] |
//! | to see what flows between the actors, and what is not as I declared it | [`System::flow_graph`], [`Actor::flow`] |
//!
//! # In a handler
//!
//! Handlers run on tokio, so what is written for tokio works in them: its timers,
//! sockets, and clients built on it. For streams to [attach](Context::attach),
//! `tokio-stream` or `futures` serve.
//!
//! A handler that blocks its thread, by a long computation or a call that waits,
//! holds up that worker's event loop: the timers and sockets of every actor that
//! awaits there, also of those that others could run. Use [`blocking`], or split
//! the work. It is reported after a while ([`Builder::stuck_after`]), and so may be
//! those that it holds up.
//!
//! # Logs
//!
//! Failures and all that supervisors decide are `tracing` events; set a subscriber
//! up in `main`, for example `tracing_subscriber::fmt().init()`. Where there is
//! none, failures and give-ups go to standard error. An actor that is to act on
//! such a decision subscribes to [`SupervisionEvent`].
//!
//! # When an actor fails
//!
//! A [`Failure`] says who failed, in which life, doing what, and why. Wherever it
//! comes to (the log, a [`SupervisionEvent`], a [`Down`], a [`DeadLetter`], an error) it
//! brings a [`CrashReport`]: the last messages with their ages, the mailbox by type, the lives before this one; and
//! what each supervisor [decided](Failure::decisions) about it, up to the one that ended the escalation:
//!
//! ```text
//! home/lights (incarnation 2) failed handling Dim: no such lamp
//!   Lights, begun by restart, ran for 3s
//!   in hand: Dim, queued 300ms ago, begun 300ms ago
//!   before it: MotionSeen 1.3s ago
//!   queued: 2 (2 MotionSeen), and 0 senders wait
//!   life 1, begun by boot, ran for 300ms, ended 3s ago: failed handling Dim: no such lamp
//!   decided: home gives up over home/lights (more than 1 in 5s); house restarts home at once (1 of 1 in 5s)
//! ```
//!
//! It names types and times, and nothing of what a message says. It is made where the log has records of errors, or
//! an actor has subscribed to [`SupervisionEvent`].
//!
//! # Building
//!
//! A panic has to be caught to become a supervisor's affair, so a program is built
//! with `panic = "unwind"`, the default of every profile; with `panic = "abort"` this
//! crate does not compile. What cannot be caught ends the process all the same: a
//! panic in a drop while another one unwinds, a stack that overflows, memory that
//! runs out.
//!
//! # Testing
//!
//! The kit for it is the crate `greenroom-testkit` (`tests/kit` in the repository): probes, virtual time, faults, checks,
//! and whole systems simulated from many seeds, with a failure made short. Without it:
//!
//! In a test, let the system live in the test's own runtime with its clock
//! paused: a day passes in milliseconds, and everything has happened that can
//! when a `sleep` of the test returns. It takes `tokio` with the features `macros`
//! and `test-util` as a dev-dependency.
//!
//! ```
//! # use std::{convert::Infallible, time::Duration};
//! # use greenroom::prelude::*;
//! # struct Bell(u32);
//! # impl Actor for Bell {
//! #     type Args = ();
//! #     type Error = Infallible;
//! #     async fn start((): (), cx: &mut Context<Self>) -> Result<Self, Infallible> {
//! #         cx.every(Duration::from_secs(3600), Ring);
//! #         Ok(Bell(0))
//! #     }
//! # }
//! # #[derive(Clone)] struct Ring;
//! # impl Message for Ring { type Reply = (); }
//! # struct Rung;
//! # impl Message for Rung { type Reply = u32; }
//! # impl Handler<Ring> for Bell {
//! #     async fn handle(&mut self, _: Ring, _: &mut Context<Self>) -> Result<(), Infallible> { self.0 += 1; Ok(()) }
//! # }
//! # impl Handler<Rung> for Bell {
//! #     async fn handle(&mut self, _: Rung, _: &mut Context<Self>) -> Result<u32, Infallible> { Ok(self.0) }
//! # }
//! // #[tokio::test(start_paused = true)]
//! async fn a_bell_rings_every_hour() {
//!     let tree = Supervisor::one_for_one("app").child(Bell::spec("bell", ()));
//!     let system = System::builder().in_current_runtime().start(tree).await.unwrap();
//!     tokio::time::sleep(Duration::from_secs(86_401)).await;
//!     let bell = system.find::<Bell>("app/bell").unwrap();
//!     assert_eq!(bell.ask(Rung).await.unwrap(), 24);
//! }
//! # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
//! #     .block_on(a_bell_rings_every_hour());
//! ```
//!
//! Where the order of events matters, [simulate](Builder::simulated) it: the actors
//! run one at a time, in an order that a seed decides. A test that tries many seeds
//! finds what one order hides, and with the seed that failed it fails again.
//!
//! ```
//! # use std::{convert::Infallible, time::Duration};
//! # use greenroom::prelude::*;
//! # struct Last(&'static str);
//! # impl Actor for Last {
//! #     type Args = ();
//! #     type Error = Infallible;
//! #     async fn start((): (), _: &mut Context<Self>) -> Result<Self, Infallible> { Ok(Last("nobody")) }
//! # }
//! # struct Is(&'static str);
//! # impl Message for Is { type Reply = (); }
//! # struct Who;
//! # impl Message for Who { type Reply = &'static str; }
//! # impl Handler<Is> for Last {
//! #     async fn handle(&mut self, is: Is, _: &mut Context<Self>) -> Result<(), Infallible> { self.0 = is.0; Ok(()) }
//! # }
//! # impl Handler<Who> for Last {
//! #     async fn handle(&mut self, _: Who, _: &mut Context<Self>) -> Result<&'static str, Infallible> { Ok(self.0) }
//! # }
//! # struct Go(Recipient<Is>);
//! # impl Message for Go { type Reply = (); }
//! # struct Runner(&'static str);
//! # impl Actor for Runner {
//! #     type Args = &'static str;
//! #     type Error = Infallible;
//! #     async fn start(name: &'static str, _: &mut Context<Self>) -> Result<Self, Infallible> { Ok(Runner(name)) }
//! # }
//! # impl Handler<Go> for Runner {
//! #     async fn handle(&mut self, Go(to): Go, _: &mut Context<Self>) -> Result<(), Infallible> {
//! #         let _ = to.try_tell(Is(self.0));
//! #         Ok(())
//! #     }
//! # }
//! // #[tokio::test(start_paused = true)]
//! async fn who_is_last(seed: u64) -> &'static str {
//!     let tree = Supervisor::one_for_one("race")
//!         .child(Last::spec("last", ()))
//!         .child(Runner::spec("hare", "hare"))
//!         .child(Runner::spec("hedgehog", "hedgehog"));
//!     let system = System::builder().simulated(seed).start(tree).await.unwrap();
//!     let last = system.find::<Last>("race/last").unwrap();
//!     for runner in ["race/hare", "race/hedgehog"] {
//!         let runner = system.find::<Runner>(runner).unwrap();
//!         runner.tell(Go(last.recipient())).await.unwrap();
//!     }
//!     tokio::time::sleep(Duration::from_secs(1)).await;
//!     last.ask(Who).await.unwrap()
//! }
//! # let run = |seed| tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
//! #     .block_on(who_is_last(seed));
//! // The same seed, the same one; and over twenty seeds it is now this one, now that one.
//! # assert!((0..20).all(|seed| run(seed) == run(seed)));
//! # let winners: std::collections::HashSet<_> = (0..20).map(run).collect();
//! # assert_eq!(winners.len(), 2);
//! ```

#![deny(unsafe_code)]

mod actor;
mod actor_ref;
mod book;
mod builder;
mod causes;
mod cell;
mod chain;
mod clock;
mod cloud_event;
mod context;
#[allow(unsafe_code)]
mod core;
mod crash;
mod dead_letter;
mod decision;
mod delivery;
mod driver;
mod entry;
mod envelope;
mod error;
mod exit;
mod failure;
mod fencing;
pub mod flow;
mod history;
mod holdings;
mod life;
mod line;
#[allow(unsafe_code)]
mod mailbox;
mod metrics;
mod monitor;
pub mod names;
mod partitioned;
mod partitions;
mod path;
mod pause;
#[cfg(greenroom_planted)]
pub mod planted;
#[cfg_attr(test, allow(unsafe_code))]
mod pool;
mod postmark;
mod registry;
mod role;
mod scrape;
mod shared;
pub mod simulation;
mod snapshot;
mod sources;
mod spec;
mod stop;
mod subject;
mod subscribers;
mod subscription;
mod supervisor;
mod supervisor_ref;
mod system;
mod tally;
mod unwinding;
mod waits;
mod watch;
mod watchers;

pub use actor::{Actor, Event, Handler, Message};
pub use actor_ref::{ASK_TIMEOUT, ActorRef, Ask, Recipient, Tell, WeakActorRef};
pub use builder::{Builder, DEAD_LETTERS, STUCK_AFTER};
pub use causes::{CausalKind, CausalRecord};
pub use chain::{Decided, SupervisorDecision};
pub use cloud_event::{Attribute, CloudEvent, CloudEventError, Envelope, EventId};
pub use context::{Context, Task};
pub use crash::{CrashReport, LastMessage, LifeEnd, PastLife};
pub use dead_letter::{DeadLetter, DeadLetterReason};
pub use decision::{StartCause, SupervisionEvent, SupervisionOrder};
pub use delivery::Delivery;
pub use error::{
    AskError, BoxError, ChildInfoError, Escalated, FindError, NotReady, PartitionError,
    RemoveChildError, RequiredError, ResendError, ResizeError, RestartChildError, StartChildError,
    StartError, StopChildError, StopError, SubscribeError, TellError, TryTellError, UpdateError,
};
pub use exit::ExitReason;
pub use failure::{During, Failure, FailureKind};
pub use flow::{Flow, FlowGraph};
pub use greenroom_supervision::{AutoShutdown, Backoff, BadCombination, Restart};
pub use mailbox::words::Overflow;
pub use metrics::{Family, HistogramReading, Ledger, Metric, MetricKind, Sample, Value};
pub use monitor::{Down, Monitor};
pub use path::Path;
pub use snapshot::{ActorInfo, ActorState, ChildCounts, ChildInfo, MailboxInfo, MailboxSource};
pub use spec::{
    ChildSpec, MAILBOX_CAPACITY, MAILBOX_CAPACITY_MAX, QueuedAsks, START_WITHIN, STOP_WITHIN, Spec,
    Supervisor,
};
pub use stop::Stop;
pub use subject::{Pattern, PatternError};
pub use subscription::{DropReason, EventOverflow, Gap, SUBSCRIPTION_BUFFER, Share, Subscription};
pub use supervisor_ref::SupervisorRef;
pub use system::{System, block_on, blocking};
pub use waits::WaitsFor;
pub use watch::{ActorStuck, DeadlockSuspected};

/// What an actor's author needs, in one line.
pub mod prelude {
    pub use crate::{
        Actor, ActorRef, Backoff, BoxError, Context, Event, Flow, Handler, Message, Recipient,
        Restart, Spec, Supervisor, System,
    };
}
