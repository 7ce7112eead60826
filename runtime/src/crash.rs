//! What is known of a life at the moment when it fails, for whoever has to find out why.
//!
//! A report is made of what is at hand: nothing is noted for it while messages
//! are handled well, but of those that are timed anyway. It tells types and
//! times, and nothing of what a message says.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::chain::Shown;
use crate::failure::{During, FailureKind, ShortType};
use crate::line::Line;
use crate::{Failure, StartCause};

/// What is known of a life of an actor at the moment when it fails; see [`Failure::crash_report`].
///
/// Of the messages before the one in hand those are known that were timed: one in
/// 256, and each that was sent in another tenth of a second than the one timed
/// before it; see [`Builder::measure_every`](crate::Builder::measure_every). So of
/// an actor that has few messages all are known, and of a busy one a sample.
///
/// It is made where somebody may see it: the log has records of errors, or an actor
/// has ever subscribed to [`SupervisionEvent`](crate::SupervisionEvent).
///
/// Nothing of what a message says is in it. The text of an error or of a panic is
/// its author's.
///
/// # Examples
///
/// What its `Display` shows; the log's record of the failure has the same, but for the decisions, as fields:
///
/// ```
/// # use std::time::Duration;
/// # use greenroom::prelude::*;
/// # struct Lights;
/// # impl Actor for Lights {
/// #     type Args = ();
/// #     type Error = &'static str;
/// #     async fn start((): (), _: &mut Context<Self>) -> Result<Self, &'static str> { Ok(Lights) }
/// # }
/// # struct OnCall;
/// # impl Actor for OnCall {
/// #     type Args = ();
/// #     type Error = std::convert::Infallible;
/// #     async fn start((): (), cx: &mut Context<Self>) -> Result<Self, Self::Error> {
/// #         cx.subscribe::<greenroom::SupervisionEvent>();
/// #         Ok(OnCall)
/// #     }
/// # }
/// # impl Handler<greenroom::SupervisionEvent> for OnCall {
/// #     async fn handle(&mut self, _: greenroom::SupervisionEvent, _: &mut Context<Self>) -> Result<(), Self::Error> { Ok(()) }
/// # }
/// # #[derive(Clone, Debug)] struct MotionSeen;
/// # impl Event for MotionSeen {}
/// # struct Dim;
/// # impl Message for Dim { type Reply = (); }
/// # impl Handler<MotionSeen> for Lights {
/// #     async fn handle(&mut self, _: MotionSeen, _: &mut Context<Self>) -> Result<(), &'static str> { Ok(()) }
/// # }
/// # impl Handler<Dim> for Lights {
/// #     async fn handle(&mut self, _: Dim, _: &mut Context<Self>) -> Result<(), &'static str> {
/// #         tokio::time::sleep(Duration::from_millis(300)).await;
/// #         Err("no such lamp")
/// #     }
/// # }
/// # async fn pass(seconds: u64) { tokio::time::sleep(Duration::from_secs(seconds)).await; }
/// // #[tokio::test(start_paused = true)]
/// async fn a_lamp_that_is_not_there_is_too_much_the_second_time() {
///     let tree = Supervisor::one_for_one("home")
///         .child(OnCall::spec("on-call", ())) // subscribes to `SupervisionEvent`
///         .child(Lights::spec("lights", ()));
///     let system = System::builder().simulated(1).start(tree).await.unwrap();
///     let lights = system.find::<Lights>("home/lights").unwrap();
///     lights.tell(Dim).await.unwrap();
///     pass(2).await;
///     lights.tell(MotionSeen).await.unwrap();
///     pass(1).await;
///     lights.tell(Dim).await.unwrap();
///     lights.tell(MotionSeen).await.unwrap();
///     lights.tell(MotionSeen).await.unwrap();
///     let gave_up = system.stopped().await.unwrap_err();
///     let report = gave_up.failure().unwrap().crash_report().unwrap();
///     assert_eq!(report.to_string(), "\
/// home/lights (incarnation 2) failed handling Dim: no such lamp
///   Lights, begun by restart, ran for 3s
///   in hand: Dim, queued 300ms ago, begun 300ms ago
///   before it: MotionSeen 1.3s ago
///   queued: 2 (2 MotionSeen), and 0 senders wait
///   life 1, begun by boot, ran for 300ms, ended 3s ago: failed handling Dim: no such lamp
///   decided: home gives up over home/lights (more than 1 in 5s)");
/// }
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
/// #     .block_on(a_lamp_that_is_not_there_is_too_much_the_second_time());
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CrashReport {
    /// Who failed, in which life, doing what, and why; and what supervisors [decided](Failure::decisions) about it.
    pub failure: Failure,
    /// The actor's type, as `std::any::type_name` spells it.
    pub actor: &'static str,
    /// Why the life was begun.
    pub cause: StartCause,
    /// For how long it had run, its start included.
    pub ran_for: Duration,
    /// The message in hand, if there was one.
    pub in_hand: Option<LastMessage>,
    /// Those that the life had in hand before and that were timed, the latest first; at most eight.
    pub last_messages: Vec<LastMessage>,
    /// How many messages were queued.
    pub queued: usize,
    /// How many of each type, as `std::any::type_name` spells it; the most first.
    ///
    /// Only the first 1,024 of the queue are looked at, so that a long one holds
    /// nobody up; and not those that the life has taken over to handle them next, if it
    /// runs while a background future of it fails. The sum is less than `queued` then.
    pub queued_types: Vec<(&'static str, usize)>,
    /// How many senders waited for room.
    pub waiting_senders: usize,
    /// The lives before this one, the latest first; at most eight.
    ///
    /// They are noted from the actor's first failure on: the first report has none. So
    /// that many that crash at once do not keep a life each, it is the 4,096 actors
    /// that failed latest whose lives are kept; of one that was removed, and came back
    /// by the same name, they are those of both.
    pub history: Vec<PastLife>,
}

/// A message that an actor had in hand; see [`CrashReport`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LastMessage {
    /// Its type, as `std::any::type_name` spells it.
    pub message: &'static str,
    /// Its age: how long ago it was queued.
    ///
    /// Of a message in hand that was not timed it is up to a tenth of a second too much; `None`
    /// where [nothing is timed](crate::Builder::measure_every).
    pub age: Option<Duration>,
    /// How long ago its handler was called; `None` if it was not timed.
    pub begun: Option<Duration>,
}

/// A life that an actor had before; see [`CrashReport::history`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PastLife {
    /// Which life it was, counted from 1.
    pub incarnation: u64,
    /// Why it was begun.
    pub cause: StartCause,
    /// How long it ran, its start included.
    pub ran_for: Duration,
    /// How long ago it ended.
    pub ended: Duration,
    /// How.
    pub end: LifeEnd,
}

/// How a life ended: an [`ExitReason`](crate::ExitReason) with less to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LifeEnd {
    /// It was done, or was stopped by another.
    Normal,
    /// It was shut down, and for this reason if one was given.
    Shutdown(Option<Arc<str>>),
    /// It returned an error or panicked.
    #[non_exhaustive]
    Failed {
        /// Which of the two.
        kind: FailureKind,
        /// What it was doing.
        during: During,
        /// The text of the error or of the panic, at most 512 bytes of it.
        text: Arc<str>,
    },
    /// It was ended by force.
    Killed,
}

impl fmt::Display for CrashReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let actor = ShortType(self.actor);
        let (cause, ran_for) = (self.cause.as_str(), self.ran_for);
        writeln!(f, "{}", Line(&self.failure))?;
        writeln!(f, "  {actor}, begun by {cause}, ran for {ran_for:?}")?;
        if let Some(in_hand) = &self.in_hand {
            writeln!(f, "  in hand: {in_hand}")?;
        }
        if let Some(last) = self.last() {
            writeln!(f, "  before it: {last}")?;
        }
        write!(f, "  queued: {}", self.queued)?;
        if let Some(types) = self.types() {
            write!(f, " ({types})")?;
        }
        let s = if self.waiting_senders == 1 {
            " waits"
        } else {
            "s wait"
        };
        write!(f, ", and {} sender{s}", self.waiting_senders)?;
        for life in &self.history {
            write!(f, "\n  life {life}")?;
        }
        let decisions = self.failure.decisions();
        if !decisions.is_empty() {
            write!(f, "\n  decided: {}", Shown(&decisions))?;
        }
        Ok(())
    }
}

impl CrashReport {
    /// The messages before the one in hand, in one line, if there are any.
    pub(crate) fn last(&self) -> Option<impl fmt::Display> {
        listed(&self.last_messages, |message, f| {
            let name = ShortType(message.message);
            match message.age {
                Some(age) => write!(f, "{name} {age:?} ago"),
                None => write!(f, "{name}"),
            }
        })
    }

    /// How many messages of each type are queued, in the same way.
    pub(crate) fn types(&self) -> Option<impl fmt::Display> {
        listed(&self.queued_types, |(name, n), f| {
            write!(f, "{n} {}", ShortType(name))
        })
    }

    /// The lives before, in the same way.
    pub(crate) fn lives(&self) -> Option<impl fmt::Display> {
        listed(&self.history, |life, f| write!(f, "{life}"))
    }
}

/// Shows all items in one line, if there are any.
fn listed<T>(
    items: &[T],
    show: impl Fn(&T, &mut fmt::Formatter<'_>) -> fmt::Result,
) -> Option<impl fmt::Display> {
    let shown = fmt::from_fn(move |f| {
        for (n, item) in items.iter().enumerate() {
            if n > 0 {
                f.write_str(", ")?;
            }
            show(item, f)?;
        }
        Ok(())
    });
    (!items.is_empty()).then_some(shown)
}

impl fmt::Display for LastMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", ShortType(self.message))?;
        if let Some(age) = self.age {
            write!(f, ", queued {age:?} ago")?;
        }
        match self.begun {
            Some(begun) => write!(f, ", begun {begun:?} ago"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for PastLife {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PastLife {
            incarnation,
            cause,
            ran_for,
            ended,
            end,
        } = self;
        let cause = cause.as_str();
        write!(
            f,
            "{incarnation}, begun by {cause}, ran for {ran_for:?}, ended {ended:?} ago: {end}"
        )
    }
}

impl fmt::Display for LifeEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LifeEnd::Normal => f.write_str("ended normally"),
            LifeEnd::Shutdown(None) => f.write_str("was shut down"),
            LifeEnd::Shutdown(Some(why)) => write!(f, "was shut down: {}", Line(why)),
            LifeEnd::Failed { during, text, .. } => {
                write!(f, "failed {during}: {}", Line(text))
            }
            LifeEnd::Killed => f.write_str("was killed"),
        }
    }
}
