//! What supervisors decide, for all to see: one vocabulary for whoever subscribes and for the log.
//!
//! An event is made only where somebody has ever subscribed, or the log wants a
//! record of it: else a decision costs three relaxed loads more. Neither is told,
//! or asked what it wants, under a lock of the runtime, as both run code of authors.
//!
//! A [`Step`](crate::simulation::Step) tells the director of a simulation of the
//! same things; it borrows, and is told under the lock that orders it, so it
//! cannot be sent to anybody.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tracing::Level;
use tracing::level_filters::LevelFilter;

use crate::chain::Shown;
use crate::failure::{guarded, logged, say};
use crate::line::Line;
use crate::metrics::Decision;
use crate::shared::Shared;
use crate::{Event, ExitReason, Failure, Path, SupervisorDecision};

/// What a supervisor has decided, or what it decides upon, and who holds its children still; any actor may subscribe to it.
///
/// Nothing is made for it before somebody does, and no supervisor ever waits for
/// a subscriber: one whose mailbox is full misses the event, which is counted and
/// leaves a dead letter. What is told of one child comes in the order in which it
/// happened.
///
/// A subscriber is best the first child of its tree: it is up before the others
/// and stopped after them. One that fails on such an event hears of that in its
/// next life.
///
/// The same things are in the log, with the fields named as here, each of at most
/// 512 bytes in one line; for the levels see the variants.
///
/// # Examples
///
/// ```
/// use greenroom::prelude::*;
/// use greenroom::SupervisionEvent;
///
/// struct OnCall;
///
/// impl Actor for OnCall {
///     type Args = ();
///     type Error = std::convert::Infallible;
///
///     async fn start((): (), cx: &mut Context<Self>) -> Result<Self, Self::Error> {
///         cx.subscribe::<SupervisionEvent>();
///         Ok(OnCall)
///     }
/// }
///
/// impl Handler<SupervisionEvent> for OnCall {
///     async fn handle(
///         &mut self,
///         event: SupervisionEvent,
///         _: &mut Context<Self>,
///     ) -> Result<(), Self::Error> {
///         if let SupervisionEvent::GaveUp { supervisor, child, .. } = event {
///             println!("{supervisor} gave up over {child}");
///         }
///         Ok(())
///     }
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SupervisionEvent {
    /// A life of a child is up. Logged as info; as debug if it was ordered, of which whoever ordered it knows.
    #[non_exhaustive]
    Started {
        /// Whose child it is; `None` for the root of the tree.
        supervisor: Option<Path>,
        /// Who it is.
        child: Path,
        /// Which life it is, counted from 1.
        incarnation: u64,
        /// Why it was begun.
        cause: StartCause,
    },
    /// A life of a child is over, by itself or as it was told to. Logged as debug.
    #[non_exhaustive]
    Ended {
        /// Whose child it is; `None` for the root of the tree.
        supervisor: Option<Path>,
        /// Who it is.
        child: Path,
        /// Which life it was.
        incarnation: u64,
        /// How it ended.
        reason: ExitReason,
    },
    /// A child that ended is to be started again, and others with it. Logged as a warning.
    #[non_exhaustive]
    Restarting {
        /// Who decides.
        supervisor: Path,
        /// Who ended.
        child: Path,
        /// How.
        reason: ExitReason,
        /// What it failed by, or, of a supervisor that gave up, what that gave up over.
        failure: Option<Failure>,
        /// How long it stays down first: the back-off.
        after: Duration,
        /// How many restarts count by now, this one with them,
        restarts: u32,
        /// of how many that are allowed
        limit: u32,
        /// within this time.
        within: Duration,
        /// Who is stopped and started again with it, as the strategy says.
        siblings: Arc<[Path]>,
    },
    /// A child that is down stays so, in its place, until somebody has it started again. Logged as debug.
    #[non_exhaustive]
    KeptDown {
        /// Who decides.
        supervisor: Path,
        /// Who is down.
        child: Path,
    },
    /// A child is no child any more, and its name is free. Logged as debug.
    #[non_exhaustive]
    Forgotten {
        /// Who decides.
        supervisor: Path,
        /// Who it was.
        child: Path,
    },
    /// A child that was to be started for the first time, or with its supervisor, did not come up. Logged as a warning.
    #[non_exhaustive]
    StartFailed {
        /// Who wanted it.
        supervisor: Path,
        /// Who did not start.
        child: Path,
        /// Why.
        reason: ExitReason,
    },
    /// A child was told to stop and is not down in time. Logged as a warning, as an error if it is left behind.
    #[non_exhaustive]
    StopTimedOut {
        /// Whose child it is; `None` for the root of the tree.
        supervisor: Option<Path>,
        /// Who it is.
        child: Path,
        /// Which life it is.
        incarnation: u64,
        /// Whether it was cut off before and has not even ended by that, as it blocks its thread: it is left behind.
        is_left_behind: bool,
    },
    /// Children were told to stop, and did not end as who is told to. Logged as a warning.
    ///
    /// A permanent child is to be shut down; others may also end normally, or shut
    /// down for a reason of their own. Children that are stopped together, as those of
    /// a dynamic supervisor are, and end alike are told of once.
    #[non_exhaustive]
    StopFailed {
        /// Who stopped them.
        supervisor: Path,
        /// One of them.
        child: Path,
        /// How that one ended.
        reason: ExitReason,
        /// How many they are.
        children: u64,
    },
    /// A supervisor has used up its restart limit: it stops its children and ends. Logged as an error.
    #[non_exhaustive]
    GaveUp {
        /// Who gives up.
        supervisor: Path,
        /// Who ended once too often.
        child: Path,
        /// How.
        reason: ExitReason,
        /// What it failed by, or, of a supervisor that gave up, what that gave up over.
        failure: Option<Failure>,
        /// How many restarts are allowed
        limit: u32,
        /// within this time.
        within: Duration,
    },
    /// The significant children are done, so the supervisor stops the others and ends. Logged as info.
    #[non_exhaustive]
    AutoShutdown {
        /// Who is done.
        supervisor: Path,
        /// The last that it waited for.
        child: Path,
    },
    /// Somebody wants something of a supervisor, which has taken it in hand. Logged as debug, a change as info.
    #[non_exhaustive]
    Ordered {
        /// Of whom.
        supervisor: Path,
        /// What.
        order: SupervisionOrder,
        /// The actor that wants it, if it is one.
        by: Option<Path>,
    },
    /// An actor is [held still](crate::ActorRef::pause): once it has handled the message in hand. Logged as info.
    #[non_exhaustive]
    Paused {
        /// Whose child it is; `None` for the root of the tree.
        supervisor: Option<Path>,
        /// Who it is.
        child: Path,
        /// The actor that wants it, if it is one.
        by: Option<Path>,
    },
    /// An actor that was held still [may go on](crate::ActorRef::resume). Logged as info.
    #[non_exhaustive]
    Resumed {
        /// Whose child it is; `None` for the root of the tree.
        supervisor: Option<Path>,
        /// Who it is.
        child: Path,
        /// The actor that wants it, if it is one.
        by: Option<Path>,
    },
}

impl Event for SupervisionEvent {}

/// Why a life was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StartCause {
    /// Its supervisor starts, and it is in the tree.
    Boot,
    /// Somebody wanted it: see [`SupervisorRef`](crate::SupervisorRef).
    Order,
    /// Its life before ended, or its group is started again.
    Restart,
}

impl StartCause {
    pub(crate) const ALL: [StartCause; 3] =
        [StartCause::Boot, StartCause::Order, StartCause::Restart];

    /// Returns the word used in the log: `boot`, `order` or `restart`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            StartCause::Boot => "boot",
            StartCause::Order => "order",
            StartCause::Restart => "restart",
        }
    }

    /// How loud the log is about a start.
    pub(crate) fn level(self) -> LevelFilter {
        match self {
            StartCause::Order => LevelFilter::DEBUG,
            StartCause::Boot | StartCause::Restart => LevelFilter::INFO,
        }
    }
}

/// What somebody wants of a supervisor; see the methods of [`SupervisorRef`](crate::SupervisorRef).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SupervisionOrder {
    /// This child started, which is new.
    Start(Path),
    /// This child stopped.
    Stop(Path),
    /// This child started, which is down.
    Restart(Path),
    /// This child forgotten.
    Remove(Path),
    /// Another restart limit.
    #[non_exhaustive]
    SetLimit {
        /// How many restarts
        restarts: u32,
        /// within this time.
        within: Duration,
    },
    /// Another bound on how many children there may be.
    SetMaxChildren(usize),
    /// All settings taken over from another tree.
    Update,
}

impl fmt::Display for SupervisionOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SupervisionOrder::Start(child) => write!(f, "start {child}"),
            SupervisionOrder::Stop(child) => write!(f, "stop {child}"),
            SupervisionOrder::Restart(child) => write!(f, "restart {child}"),
            SupervisionOrder::Remove(child) => write!(f, "remove {child}"),
            SupervisionOrder::SetLimit { restarts, within } => {
                write!(f, "allow {restarts} restarts within {within:?}")
            }
            SupervisionOrder::SetMaxChildren(max) => write!(f, "allow {max} children"),
            SupervisionOrder::Update => f.write_str("update"),
        }
    }
}

impl SupervisionOrder {
    fn is_change(&self) -> bool {
        use SupervisionOrder::{SetLimit, SetMaxChildren, Update};
        matches!(self, SetLimit { .. } | SetMaxChildren(_) | Update)
    }
}

impl Shared {
    /// Counts a decision and tells of it; not to be called under a lock.
    pub(crate) fn decided(&self, decision: Decision, event: impl FnOnce() -> SupervisionEvent) {
        self.meters.count_decision(decision);
        self.tell(decision.level(), event);
    }

    /// Tells of what is logged at this level; not to be called under a lock.
    pub(crate) fn tell(&self, level: LevelFilter, event: impl FnOnce() -> SupervisionEvent) {
        if self.is_seen(level) {
            self.show_all(&event());
        }
    }

    /// Whether anybody may see a decision that is logged at this level; not to be called under a lock.
    pub(crate) fn is_seen(&self, level: LevelFilter) -> bool {
        self.registry.hears_supervision() || is_logged(level)
    }

    /// Tells of a decision that is seen.
    #[cold]
    pub(crate) fn show_all(&self, event: &SupervisionEvent) {
        self.registry.publish_if_heard(event);
        event.log();
    }
}

/// Whether the log has a record of this level from here; its subscriber, an author's, may be asked.
///
/// The highest level that is wanted anywhere does not tell: that is all where a subscriber names none, and where
/// another part of the program is looked into. tracing knows for each of these places what its subscriber said.
fn is_logged(level: LevelFilter) -> bool {
    let ask = || match level.into_level() {
        // It is said on standard error where there is no log.
        None => true,
        Some(Level::ERROR) => tracing::enabled!(Level::ERROR),
        Some(Level::WARN) => tracing::enabled!(Level::WARN),
        Some(Level::INFO) => tracing::enabled!(Level::INFO),
        Some(_) => tracing::enabled!(Level::DEBUG),
    };
    guarded(ask).unwrap_or(false)
}

impl Decision {
    /// How loud the log is about it.
    pub(crate) fn level(self) -> LevelFilter {
        match self {
            // Where nobody listens to the log it is said on standard error.
            Decision::GiveUp => LevelFilter::OFF,
            Decision::LeaveBehind => LevelFilter::ERROR,
            Decision::Restart
            | Decision::StartFailed
            | Decision::StopTimedOut
            | Decision::StopFailed => LevelFilter::WARN,
            Decision::AutoShutdown | Decision::Change => LevelFilter::INFO,
            Decision::KeepDown | Decision::Forget | Decision::Order => LevelFilter::DEBUG,
        }
    }
}

/// What supervisors decided about a failure, where it was not the affair of one of them.
struct Escalation(Vec<SupervisorDecision>);

impl Escalation {
    fn of(failure: Option<&Failure>) -> Option<Self> {
        let decisions = failure?.decisions();
        (decisions.len() > 1).then_some(Escalation(decisions))
    }
}

impl fmt::Display for Escalation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Line(Shown(&self.0)).fmt(f)
    }
}

impl SupervisionEvent {
    /// Writes it to the log.
    #[cold]
    pub(crate) fn log(&self) {
        logged(|| self.write());
    }

    /// The fields are those of OTP's supervisor reports: `supervisor`, `context`,
    /// `reason`, and the offender as `child`.
    fn write(&self) {
        use tracing::field::display;
        match self {
            SupervisionEvent::Started {
                supervisor,
                child,
                incarnation,
                cause,
            } => {
                let (supervisor, cause) = (supervisor.as_ref().map(display), cause.as_str());
                if cause == StartCause::Order.as_str() {
                    tracing::debug!(supervisor, %child, incarnation, cause, "Started.");
                } else {
                    tracing::info!(supervisor, %child, incarnation, cause, "Started.");
                }
            }
            SupervisionEvent::Ended {
                supervisor,
                child,
                incarnation,
                reason,
            } => {
                let (supervisor, reason) = (supervisor.as_ref().map(display), Line(reason));
                tracing::debug!(supervisor, %child, incarnation, %reason, "Ended.");
            }
            SupervisionEvent::Restarting {
                supervisor,
                child,
                reason,
                failure,
                after,
                restarts,
                limit,
                within,
                siblings,
            } => {
                let (reason, siblings) = (Line(reason), siblings.len());
                let decisions = Escalation::of(failure.as_ref());
                let decisions = decisions.as_ref().map(display);
                tracing::warn!(
                    %supervisor, context = "child_terminated", %child, %reason, ?after, restarts, limit, ?within, siblings, decisions,
                    "Restarting."
                );
            }
            SupervisionEvent::KeptDown { supervisor, child } => {
                tracing::debug!(%supervisor, %child, "Stays down.");
            }
            SupervisionEvent::Forgotten { supervisor, child } => {
                tracing::debug!(%supervisor, %child, "Forgotten.");
            }
            SupervisionEvent::StartFailed {
                supervisor,
                child,
                reason,
            } => {
                let reason = Line(reason);
                tracing::warn!(%supervisor, context = "start_error", %child, %reason, "Did not start.");
            }
            SupervisionEvent::StopTimedOut {
                supervisor,
                child,
                incarnation,
                is_left_behind,
            } => {
                let (supervisor, context) = (supervisor.as_ref().map(display), "shutdown_error");
                if *is_left_behind {
                    tracing::error!(supervisor, context, %child, incarnation, "Blocks its thread and is left behind.");
                } else {
                    tracing::warn!(supervisor, context, %child, incarnation, "Did not stop within its deadline, cutting it off.");
                }
            }
            SupervisionEvent::StopFailed {
                supervisor,
                child,
                reason,
                children,
            } => {
                let (reason, context) = (Line(reason), "shutdown_error");
                tracing::warn!(%supervisor, context, %child, %reason, children, "Did not stop in order.");
            }
            SupervisionEvent::GaveUp {
                supervisor,
                child,
                reason,
                failure,
                limit,
                within,
            } => {
                let (reason, context) = (Line(reason), "shutdown");
                let decisions = Escalation::of(failure.as_ref());
                let decisions = decisions.as_ref().map(display);
                if tracing::dispatcher::has_been_set() {
                    tracing::error!(%supervisor, context, %child, %reason, limit, ?within, decisions, "Restart limit used up, giving up.");
                } else {
                    say(&format_args!(
                        "{supervisor} gives up and stops its children: {child} ended once more than the {limit} in {within:?} that may be restarted"
                    ));
                }
            }
            SupervisionEvent::AutoShutdown { supervisor, child } => {
                tracing::info!(%supervisor, %child, "The significant children are done, shutting down.");
            }
            SupervisionEvent::Ordered {
                supervisor,
                order,
                by,
            } => {
                let by = by.as_ref().map(display);
                if order.is_change() {
                    tracing::info!(%supervisor, %order, by, "Ordered.");
                } else {
                    tracing::debug!(%supervisor, %order, by, "Ordered.");
                }
            }
            SupervisionEvent::Paused {
                supervisor,
                child,
                by,
            } => {
                let (supervisor, by) = (supervisor.as_ref().map(display), by.as_ref().map(display));
                tracing::info!(supervisor, %child, by, "Paused.");
            }
            SupervisionEvent::Resumed {
                supervisor,
                child,
                by,
            } => {
                let (supervisor, by) = (supervisor.as_ref().map(display), by.as_ref().map(display));
                tracing::info!(supervisor, %child, by, "Resumed.");
            }
        }
    }
}

#[cfg(all(test, not(any(greenroom_loom, greenroom_shuttle))))]
mod tests {
    use tracing::span::{Attributes, Id, Record};
    use tracing::subscriber::with_default;
    use tracing::{Event, Metadata, Subscriber};

    use super::*;

    /// Says of no level that it is the highest, and wants what is up to this one, of one part of a program.
    struct Wants(LevelFilter, &'static str);

    impl Subscriber for Wants {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            *metadata.level() <= self.0 && metadata.target().starts_with(self.1)
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, _: &Event<'_>) {}
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    /// Its opinion is asked for each time.
    struct Panics;

    impl Subscriber for Panics {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            panic!("on purpose")
        }

        fn register_callsite(
            &self,
            _: &'static Metadata<'static>,
        ) -> tracing::subscriber::Interest {
            tracing::subscriber::Interest::sometimes()
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, _: &Event<'_>) {}
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    #[test]
    fn what_the_log_does_not_want_of_this_part_of_the_program_is_not_made() {
        let all = [
            LevelFilter::ERROR,
            LevelFilter::WARN,
            LevelFilter::INFO,
            LevelFilter::DEBUG,
        ];
        // Two at all times, or one that is alone is asked on whatever thread comes by first.
        let _kept = [(); 2].map(|()| tracing::Dispatch::new(Wants(LevelFilter::TRACE, "")));
        let logged = |wants: Wants| with_default(wants, || all.map(is_logged));
        assert_eq!(logged(Wants(LevelFilter::TRACE, "greenroom")), [true; 4]);
        assert_eq!(logged(Wants(LevelFilter::TRACE, "hyper")), [false; 4]);
        assert_eq!(
            logged(Wants(LevelFilter::WARN, "")),
            [true, true, false, false]
        );
        assert_eq!(with_default(Panics, || all.map(is_logged)), [false; 4]);
        // Whoever gives up says so, if there is no log then elsewhere.
        assert!(with_default(Wants(LevelFilter::OFF, ""), || is_logged(
            LevelFilter::OFF
        )));
    }
}
