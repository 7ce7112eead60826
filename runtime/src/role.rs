//! What a supervisor needs to know of a child, be it an actor or another supervisor.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use greenroom_supervision::{ChildId, Exit, Restart};
use tokio::sync::{mpsc, oneshot};

use crate::core::frames::Frames;
use crate::shared::Shared;
use crate::snapshot::{ActorState, Seen};
use crate::{Failure, Path, StartChildError, StopChildError};

/// A place in the tree that lives are started in, one after the other.
pub(crate) trait Role: Send + Sync + 'static {
    fn path(&self) -> &Path;
    /// What it is, for an error message.
    fn kind(&self) -> String;
    /// Begins a life and returns its number; what becomes of it is told to `boss`.
    fn launch(self: Arc<Self>, boss: Boss) -> u64;
    /// Asks this life to stop: after the current message, or with `drain` after all queued ones.
    fn stop(&self, incarnation: u64, drain: bool);
    /// Ends this life at its next await.
    fn kill(&self, incarnation: u64);
    /// Takes the mailbox from a life that did not end: from here on it can do nothing more.
    fn cut_off(self: Arc<Self>, incarnation: u64);
    /// Ends the role: what is queued becomes dead letters, names and subscriptions are released.
    ///
    /// A role that has ended can be launched again.
    fn retire(&self);
    /// How long a life may take to stop; `None` for a supervisor, whose children have deadlines of their own.
    fn stop_within(&self) -> Option<Duration>;
    fn mark_restarting(&self, reason: RestartReason);
    /// Shows the role as it is now; a scrape lets the deepest level of its mailbox begin anew.
    fn seen(&self, scrape: bool) -> Seen;
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

/// What a supervisor hears from its children, its users and the one above it.
pub(crate) enum Note {
    Started {
        id: ChildId,
        incarnation: u64,
    },
    Ended {
        id: ChildId,
        incarnation: u64,
        ended: Ended,
    },
    Start {
        role: Arc<dyn Role>,
        restart: Restart,
        reply: oneshot::Sender<Result<(), StartChildError>>,
        permit: Option<Permit>,
        /// The actor that commands, which must not be waited for meanwhile.
        asker: Option<Path>,
    },
    StopChild {
        path: Path,
        reply: oneshot::Sender<Result<(), StopChildError>>,
        permit: Option<Permit>,
        /// The actor that commands, which must not be waited for meanwhile.
        asker: Option<Path>,
    },
    /// The supervisor is to stop; how is in its cell.
    Stop,
}

/// How long a life that was cut short may take to reach its next await before it is left behind.
///
/// It only matters for code that blocks its thread, which nothing can end.
pub(crate) const CUT_OFF_AFTER: Duration = Duration::from_millis(100);

thread_local! {
    /// The actors whose code this thread runs, one on top of the other where one asked and the
    /// other answers on the same stack.
    static RUNNING: Frames<dyn Role> = const { Frames::new() };
}

/// Calls `run` as code of this actor.
#[inline]
pub(crate) fn as_actor<R>(role: &dyn Role, run: impl FnOnce() -> R) -> R {
    RUNNING.with(|frames| frames.enter(role, run))
}

/// Returns the actor whose code calls this, if it is one's.
pub(crate) fn current_actor() -> Option<Path> {
    RUNNING.with(|frames| frames.innermost(|role| role.path().clone()))
}

/// How many runs may be inside one another on one stack.
const INSIDE_DEPTH: usize = 8;

/// Whether an idle actor of this system may be run on the stack of the calling code.
pub(crate) fn may_run_inside(system: &Shared) -> bool {
    if !system.is_worker_here() {
        return false;
    }
    let mut depth = 0;
    let is_deep = RUNNING.with(|frames| {
        frames.find(|_| {
            depth += 1;
            (depth >= INSIDE_DEPTH).then_some(())
        })
    });
    is_deep.is_none()
}

/// The place of one command before a supervisor; its commands are bounded by how many there are.
pub(crate) type Permit = tokio::sync::OwnedSemaphorePermit;

/// Who is told what becomes of a life.
#[derive(Clone)]
pub(crate) struct Boss {
    pub(crate) id: ChildId,
    /// Not bounded by a number, but by what is written to it: two notes for each
    /// life that the receiver began, and commands, each of which holds a [`Permit`].
    pub(crate) notes: mpsc::UnboundedSender<Note>,
}

/// How a life ended.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) exit: Exit,
    pub(crate) reason: RestartReason,
    pub(crate) failure: Option<Failure>,
    /// Of a supervisor that gave up: the child that ended normally and was one too many.
    pub(crate) last: Option<Path>,
}

impl Note {
    /// Whether it is a command of this actor or of one below it.
    pub(crate) fn is_asked_by(&self, path: &Path) -> bool {
        match self {
            Note::Start { asker, .. } | Note::StopChild { asker, .. } => {
                asker.as_ref().is_some_and(|asker| asker.is_within(path))
            }
            _ => false,
        }
    }

    /// Answers a command that cannot be carried out now.
    pub(crate) fn refuse(self, start: StartChildError, stop: StopChildError) {
        // Whoever asked may have gone.
        match self {
            Note::Start { reply, .. } => drop(reply.send(Err(start))),
            Note::StopChild { reply, .. } => drop(reply.send(Err(stop))),
            _ => {}
        }
    }
}

impl Boss {
    pub(crate) fn started(&self, incarnation: u64) {
        // A supervisor that is gone needs no news.
        let _ = self.notes.send(Note::Started {
            id: self.id,
            incarnation,
        });
    }

    pub(crate) fn ended(&self, incarnation: u64, ended: Ended) {
        let _ = self.notes.send(Note::Ended {
            id: self.id,
            incarnation,
            ended,
        });
    }
}

/// An [`ActorState`] that is written by one and read by many.
pub(crate) struct StateCell(AtomicU8);

impl StateCell {
    pub(crate) fn new(state: ActorState) -> Self {
        StateCell(AtomicU8::new(state as u8))
    }

    pub(crate) fn set(&self, state: ActorState) {
        self.0.store(state as u8, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> ActorState {
        ActorState::ALL[self.0.load(Ordering::Relaxed) as usize]
    }
}

/// Why a supervisor started a child again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RestartReason {
    Error,
    Panic,
    Killed,
    /// It ended by itself and is permanent.
    Normal,
    /// A supervisor that gave up, restarted by the one above it.
    Escalation,
    /// Its supervisor's strategy took it along.
    Sibling,
}

impl RestartReason {
    pub(crate) const ALL: [RestartReason; 6] = [
        RestartReason::Error,
        RestartReason::Panic,
        RestartReason::Killed,
        RestartReason::Normal,
        RestartReason::Escalation,
        RestartReason::Sibling,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            RestartReason::Error => "error",
            RestartReason::Panic => "panic",
            RestartReason::Killed => "killed",
            RestartReason::Normal => "normal",
            RestartReason::Escalation => "escalation",
            RestartReason::Sibling => "sibling",
        }
    }
}
