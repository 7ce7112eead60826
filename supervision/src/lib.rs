//! The law of a supervision tree: who restarts, when, how often, in which order.
//!
//! A supervisor asks its [`Law`] what the end of a child means, and carries out the [`Verdict`].
//! The law only decides: the time is an argument, the outcome is a value, so the same questions
//! with the same seed always get the same answers.
//!
//! ```text
//!   exited(now, child, exit) ──►┌───────────── Law ─────────────┐
//!   start_failed(now, child) ──►│ book     children, start order│──► Verdict
//!   stopped(child) ────────────►│ window   the latest restarts  │    Ignore · Forget · Restart ·
//!                               │ streaks  back-off, per child  │    Escalate · AutoShutdown
//!                               └───────────────────────────────┘
//! ```
//!
//! It is not:
//!
//! - a supervisor: it starts, stops and watches nothing;
//! - a clock: it compares the times that it is given;
//! - concurrent: one supervisor owns one law and asks it one question at a time.
//!
//! # Which end of a child restarts it
//!
//! | ended \ restart        | [`Permanent`](Restart::Permanent) | [`Transient`](Restart::Transient) | [`Temporary`](Restart::Temporary) |
//! |------------------------|-----------|--------------------------------------------------|-----------|
//! | [`Normal`](Exit::Normal)     | restart | stays down; [dynamic](Strategy::Dynamic): forgotten | forgotten |
//! | [`Shutdown`](Exit::Shutdown) | restart | stays down; [dynamic](Strategy::Dynamic): forgotten | forgotten |
//! | [`Failed`](Exit::Failed)     | restart | restart                                             | forgotten |
//! | [`Killed`](Exit::Killed)     | restart | restart                                             | forgotten |
//!
//! Every *restart* counts against the [`Limit`]; the one that exceeds it becomes
//! [`Escalate`](Verdict::Escalate). The [`Strategy`] says which siblings a restart takes along. Where
//! a *significant* child stays down or is forgotten, [`AutoShutdown`] says whether that is the end of
//! its supervisor, too.
//!
//! # Where the rules come from
//!
//! From Erlang/OTP's `supervisor.erl` and the design principles chapter `sup_princ.md`. The tests
//! carry random trees out by this law, by a model of `supervisor.erl`, and on OTP itself, and compare
//! who is started and stopped, in which order, who is listed, and when a supervisor ends.
//!
//! What differs, and why:
//!
//! | matter | OTP | here |
//! |---|---|---|
//! | a restart | at once, and again at once if it fails | may wait, by a [`Backoff`]: a child that fails whenever it starts would use up the limit within a millisecond, and the machine meanwhile |
//! | the window of the [`Limit`] | in whole seconds: a restart counts for up to a second longer than it says | exact, so that limits below a second mean what they say |
//! | `all_significant`, when a start in a group has failed | those after it do not count until it is tried again, so the end of another may be the last | who waits for a start is not done: with a back-off that wait is no moment |
//! | those after a start that failed, in a group | down: they may be started or deleted by order, and are stopped when the group is tried again | they wait for their restart like the one that failed, and such orders are refused |
//! | `terminate_child` of a child whose restart waits, in a group | the rest of its group stays down, too | the others are started in their time: nobody ordered them down |
//! | a dynamic supervisor's children | all of one template | of any restart type each, like those of Elixir's `DynamicSupervisor` |
//! | a dynamic supervisor with auto-shutdown | refused by new releases, taken by OTP 24 | [`AutoShutdown::check_strategy`] refuses it; the law would go by the significant ones |
//! | changes while it runs | flags and all specifications at once, the new ones first in the start order | one by one, and each child keeps its place |
//! | a period of zero | refused | taken: it limits restarts of one instant |
//! | the end of a child that is down | of an unknown process, so ignored | taken for news: whoever reports it knows that the child was up |
//!
//! # Examples
//!
//! ```
//! use std::time::Duration;
//! use greenroom_supervision::{
//!     Backoff, ChildId, Exit, Law, Limit, Restart, Strategy, Verdict,
//! };
//!
//! let (sensor, filter, display) = (ChildId(1), ChildId(2), ChildId(3));
//! let limit = Limit::new(1, Duration::from_secs(5));
//! let mut law = Law::new(Strategy::RestForOne, limit, Backoff::default(), 42);
//! law.add(sensor, Restart::Permanent);
//! law.add(filter, Restart::Permanent);
//! law.add(display, Restart::Permanent);
//!
//! // The display was started after the filter, so it goes and comes with it.
//! let verdict = law.exited(Duration::from_secs(60), filter, Exit::Failed);
//! assert_eq!(
//!     verdict,
//!     Verdict::Restart {
//!         stop: vec![display],
//!         forget: vec![],
//!         start: vec![filter, display],
//!         after: Duration::ZERO,
//!     },
//! );
//!
//! // A second failure within five seconds is more than this supervisor may repair.
//! let verdict = law.exited(Duration::from_secs(61), filter, Exit::Failed);
//! assert_eq!(verdict, Verdict::Escalate { stop: vec![display, sensor] });
//! ```

#![forbid(unsafe_code)]

mod auto_shutdown;
mod backoff;
mod law;
mod limit;
mod roster;
#[cfg(test)]
mod tests;

use std::fmt;

pub use auto_shutdown::{AutoShutdown, BadCombination};
pub use backoff::Backoff;
pub use law::{Law, Verdict};
pub use limit::Limit;
pub use roster::{Entries, Roster};

/// The group of children that a restart takes along.
///
/// A group is stopped in reverse start order and started in start order; its temporary members
/// are stopped and forgotten. However large it is, a group costs one restart of the [`Limit`].
///
/// | strategy       | stopped besides the child that ended | started                    |
/// |----------------|--------------------------------------|----------------------------|
/// | `one_for_one`  | none                                 | that child                 |
/// | `one_for_all`  | all                                  | all                        |
/// | `rest_for_one` | those that start after it            | that child and those after |
/// | `dynamic`      | none                                 | that child                 |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// Children that do not need each other: only the one that ended is started again.
    OneForOne,
    /// Children that cannot work without each other: all are started again.
    OneForAll,
    /// A chain, in which each child needs those before it: the later ones are started again too.
    RestForOne,
    /// Children that come and go, OTP's `simple_one_for_one`: as [`OneForOne`](Self::OneForOne),
    /// but nobody stays in the book who is not to be started again.
    Dynamic,
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::OneForOne => "one_for_one",
            Self::OneForAll => "one_for_all",
            Self::RestForOne => "rest_for_one",
            Self::Dynamic => "dynamic",
        })
    }
}

/// When a child that ended is started again.
///
/// [`Permanent`](Self::Permanent) by default, as in OTP: a child that is listed is meant to run.
/// The table restart × exit is in the [crate's documentation](crate).
///
/// This is about the child's own end. A sibling's restart starts every other member of its group
/// again that is not temporary, also a transient one that had ended clean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Restart {
    /// Always, however it ended: a service.
    #[default]
    Permanent,
    /// Only after a failure: a job that is to be done once.
    Transient,
    /// Never: an attempt that somebody else repeats if it matters.
    Temporary,
}

impl fmt::Display for Restart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Permanent => "permanent",
            Self::Transient => "transient",
            Self::Temporary => "temporary",
        })
    }
}

/// How a child ended, as far as the law must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exit {
    /// It was done.
    Normal,
    /// It was asked to stop, with or without a reason given; also a supervisor that escalated.
    Shutdown,
    /// It returned an error or panicked.
    Failed,
    /// It was ended by force.
    Killed,
}

impl Exit {
    /// Returns whether the end is no failure: [`Normal`](Self::Normal) or
    /// [`Shutdown`](Self::Shutdown).
    #[must_use]
    pub fn is_clean(self) -> bool {
        matches!(self, Self::Normal | Self::Shutdown)
    }
}

/// The number by which one supervisor knows a child.
///
/// It names the role and not the incarnation: it stays the same over restarts. The law reads no
/// order out of it; the start order is the order of [`Law::add`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChildId(pub u64);
