//! What a supervisor needs to know of a child, be it an actor or another supervisor.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use greenroom_supervision::{AutoShutdown, BadCombination, ChildId, Exit, Limit, Restart, Verdict};
use tokio::sync::oneshot;

use crate::book::Lead;
use crate::causes::Origin;
use crate::core::frames::Frames;
use crate::core::ready::Runnable;
use crate::metrics::Group;
use crate::postmark::Postmark;
use crate::shared::Shared;
use crate::snapshot::{ActorState, MailboxSource, Seen};
use crate::waits::{DynAsking, Edge, Node};
use crate::{
    Failure, FailureKind, Path, RemoveChildError, RestartChildError, StartCause, StartChildError,
    StopChildError, Supervisor, UpdateError,
};

/// A place in the tree that lives are started in, one after the other.
pub(crate) trait Role: Send + Sync + 'static {
    fn path(&self) -> &Path;
    /// The number by which its supervisor knows it.
    fn id(&self) -> ChildId;
    /// What it is, for an error message.
    fn kind(&self) -> String;
    fn is_supervisor(&self) -> bool {
        false
    }
    /// Of a supervisor that runs: the part of its restart limit that is used.
    fn limit_used_ratio(&self) -> Option<f64> {
        None
    }
    /// Makes a life of a role that is registered, which begins with [`go`](Self::go); what becomes of it is told to `boss`.
    fn launch(self: Arc<Self>, boss: Boss, cause: StartCause) -> Launched;
    /// Lets a life begin.
    fn go(self: Arc<Self>, launched: Launched);
    /// The same; where the calling thread may run it, its first run is over when this returns.
    fn go_here(self: Arc<Self>, launched: Launched);
    /// Asks this life to stop: after the current message, or with `drain` after all queued ones.
    fn stop(&self, incarnation: u64, drain: bool);
    /// Ends this life at its next await.
    fn kill(&self, incarnation: u64);
    /// Takes the mailbox from a life that did not end: from here on it can do nothing more.
    fn cut_off(self: Arc<Self>, incarnation: u64);
    /// Ends the role: what is queued becomes dead letters, names and subscriptions are released.
    ///
    /// A role that has ended can be registered and launched again.
    fn retire(&self);
    /// How long a life may take to stop; `None` for a supervisor, whose children have deadlines of their own.
    fn stop_within(&self) -> Option<Duration>;
    /// Changes that, but of a supervisor.
    fn set_stop_within(&self, limit: Duration) {
        let _ = limit;
    }
    /// Whether it has one life only, as nothing is kept that another could be built from.
    fn is_built_once(&self) -> bool {
        false
    }
    fn mark_restarting(&self, reason: RestartReason);
    /// The supervisor has decided what follows: whoever watched a life that is over is told.
    fn announce(&self);
    fn state(&self) -> ActorState;
    /// Shows the role as it is now; a scrape lets the deepest level of its mailbox begin anew.
    fn seen(&self, scrape: bool) -> Seen;
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
    /// Its place in the graph of who waits for whom; `None` for one that has no handlers.
    fn node(&self) -> Option<&Arc<Node>> {
        None
    }
    /// The number of the message in hand, and its place in the graph if it has one: what can be seen of an actor at
    /// little cost.
    fn glance(&self) -> (Option<u64>, Option<&Arc<Node>>) {
        (None, None)
    }
    /// Gives back memory that it does not need while it is idle, at little cost if there is none.
    fn trim(&self) {}
    /// Holds it still between two messages, or lets it go on; a supervisor has none.
    fn set_paused(&self, _: bool) {}
    /// Who sends what is queued.
    fn sources(&self) -> Vec<MailboxSource> {
        Vec::new()
    }
    /// By what it is counted together with others; a supervisor handles no messages.
    fn group(&self) -> Option<&Group> {
        None
    }
    /// Where the message in hand comes from, if that is known.
    fn origin(&self) -> Option<Origin> {
        None
    }
    /// For how long the message in hand was there at the latest look, if that is too long.
    fn stuck_for(&self) -> Option<Duration> {
        let (work, node) = self.glance();
        node?.stuck_for(work?)
    }
}

/// A life that has been made and is to begin.
#[must_use = "a life that was launched has to go"]
pub(crate) struct Launched {
    pub(crate) incarnation: u64,
    /// What is to be run first; `None` where a task does that.
    pub(crate) ready: Option<Runnable>,
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
        /// What the law says, if it has been asked.
        verdict: Option<Verdict>,
    },
    /// A child has been launched on the spot, and whoever wanted it waits for its start.
    Launched {
        id: ChildId,
        incarnation: u64,
        reply: Reply<StartChildError>,
    },
    /// What somebody wants of it.
    Order {
        order: Order,
        permit: Option<Permit>,
        /// The actor that commands, which must not be waited for meanwhile.
        asker: Option<Path>,
    },
    /// The supervisor is to stop; how is in its cell.
    Stop,
}

/// What a user wants of a supervisor, and where the answer goes.
pub(crate) enum Order {
    Start {
        role: Arc<dyn Role>,
        standing: Standing,
        reply: Reply<StartChildError>,
    },
    Stop {
        path: Path,
        reply: Reply<StopChildError>,
    },
    Restart {
        path: Path,
        reply: Reply<RestartChildError>,
    },
    Remove {
        path: Path,
        reply: Reply<RemoveChildError>,
    },
    Change {
        change: Change,
        reply: Reply<UpdateError>,
    },
}

pub(crate) type Reply<E> = oneshot::Sender<Result<(), E>>;

/// What is to be different of a supervisor that runs.
pub(crate) enum Change {
    Limit(Limit),
    MaxChildren(usize),
    /// All its settings, and those of the children that are listed.
    Tree(Box<Supervisor>),
}

/// On which terms a supervisor keeps a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) restart: Restart,
    /// Its end may be the end of the supervisor.
    pub(crate) is_significant: bool,
}

impl Standing {
    pub(crate) const USUAL: Standing = Standing {
        restart: Restart::Permanent,
        is_significant: false,
    };

    /// Whether it can be had below a supervisor that ends by this rule.
    pub(crate) fn check(self, auto_shutdown: AutoShutdown) -> Result<(), BadCombination> {
        match self.is_significant {
            true => auto_shutdown.check_child(self.restart),
            false => Ok(()),
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.restart.fmt(f)?;
        f.write_str(if self.is_significant {
            ", significant"
        } else {
            ""
        })
    }
}

/// What a supervisor is, for an error message.
pub(crate) const SUPERVISOR: &str = "supervisor";

/// Why an order is not carried out, whatever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The supervisor is stopping or has stopped.
    SupervisorStopped,
    /// It waits for the actor that asks, or would.
    WouldDeadlock,
}

/// How long a life that was cut short may take to reach its next await before it is left behind.
///
/// It only matters for code that blocks its thread, which nothing can end: fifty milliseconds, so that the next
/// life is up a hundred after the deadline at the latest.
pub(crate) const CUT_OFF_AFTER: Duration = Duration::from_millis(50);

thread_local! {
    /// The actors whose code this thread runs, one on top of the other where one asked and the
    /// other answers on the same stack.
    static RUNNING: Frames<dyn Role, DynAsking> = const { Frames::new() };
}

/// Calls `run` as code of this life of an actor, for the sake of this question if somebody asks on this stack.
#[inline]
pub(crate) fn as_actor<R>(
    (role, incarnation): (&dyn Role, u64),
    asked: Option<&DynAsking>,
    run: impl FnOnce() -> R,
) -> R {
    RUNNING.with(|frames| frames.enter((role, incarnation), asked, run))
}

/// Calls `look` with the life whose code calls this: what tells its role from others, and its number.
pub(crate) fn with_current_life<R>(look: impl FnOnce(usize, u64) -> R) -> Option<R> {
    let address = |role: &dyn Role| std::ptr::from_ref(role).cast::<()>().addr();
    RUNNING.with(|frames| frames.innermost(|role, life| look(address(role), life)))
}

/// Whether an actor's code calls this.
#[inline]
pub(crate) fn is_in_actor() -> bool {
    RUNNING.with(|frames| !frames.is_empty())
}

/// Puts edges into the graph for the asks that are being answered on this stack.
///
/// To be called before another thread may meet the innermost of them.
#[cold]
pub(crate) fn publish_asks() {
    RUNNING.with(|frames| {
        frames.pairs(|callee, asking, asker| {
            // A callee that has answered goes on with other messages for a while.
            let (true, Some(from), Some(to)) = (asking.is_open(), asker.node(), callee.node())
            else {
                return false;
            };
            asking.publish(from, to);
            true
        });
    });
}

/// Puts an edge into the graph for an ask that waits, if an actor's code makes it.
///
/// # Errors
/// When that closes a cycle: whoever is in it, beginning with the asker.
#[cold]
pub(crate) fn wait_for_reply(of: &Arc<Node>, asking: &DynAsking) -> Result<(), Vec<Path>> {
    let Some(asker) = current_node() else {
        return Ok(());
    };
    publish_asks();
    asking.publish(&asker, of);
    match of.way_to(&asker) {
        None => Ok(()),
        Some(mut way) => {
            // The asker stands at its end.
            way.rotate_right(1);
            Err(way)
        }
    }
}

/// Puts an edge into the graph for a sender that waits for room, if an actor's code does.
#[cold]
pub(crate) fn wait_for_room(of: &Arc<Node>) -> Option<Edge> {
    Some(current_node()?.wait_for_room(of))
}

/// Puts an edge into the graph for one who waits for an end, if an actor's code does.
///
/// # Errors
/// When that closes a cycle: whoever is in it, beginning with the one who waits.
#[cold]
pub(crate) fn wait_for_end(of: &Arc<Node>) -> Result<Option<Edge>, Vec<Path>> {
    let Some(waiter) = current_node() else {
        return Ok(None);
    };
    publish_asks();
    let edge = waiter.wait_for_end(of);
    match of.way_to(&waiter) {
        None => Ok(Some(edge)),
        Some(mut way) => {
            // The one who waits stands at its end.
            way.rotate_right(1);
            Err(way)
        }
    }
}

/// The same for an ask that was not answered where it might have been.
#[cold]
pub(crate) fn wait_after_all(of: &Arc<Node>, asking: &DynAsking) {
    if let Some(asker) = current_node() {
        asking.publish(&asker, of);
    }
}

/// Returns the postmark of whose code calls this.
#[inline]
pub(crate) fn current_postmark() -> Postmark {
    if let Some(other) = SENDING_FOR.get() {
        return other;
    }
    let postmark = |role: &dyn Role| role.group().map(|group| group.postmark);
    let here = RUNNING.with(|frames| frames.innermost(|role, _| postmark(role)));
    here.flatten().unwrap_or(Postmark::OUTSIDE)
}

thread_local! {
    /// In whose name something is sent that was kept for want of room.
    static SENDING_FOR: Cell<Option<Postmark>> = const { Cell::new(None) };
}

/// Calls `send` with this as the postmark of whose code calls.
pub(crate) fn sending_for<R>(postmark: Postmark, send: impl FnOnce() -> R) -> R {
    struct Back(Option<Postmark>);
    impl Drop for Back {
        fn drop(&mut self) {
            SENDING_FOR.set(self.0);
        }
    }
    let _back = Back(SENDING_FOR.replace(Some(postmark)));
    send()
}

fn current_node() -> Option<Arc<Node>> {
    RUNNING
        .with(|frames| frames.innermost(|role, _| role.node().cloned()))
        .flatten()
}

/// Calls `look` with the actor whose code calls this, if it is one's.
pub(crate) fn with_current_actor<R>(look: impl FnOnce(&Path) -> R) -> Option<R> {
    RUNNING.with(|frames| frames.innermost(|role, _| look(role.path())))
}

/// Returns the actor whose code calls this, if it is one's.
pub(crate) fn current_actor() -> Option<Path> {
    with_current_actor(Path::clone)
}

/// Returns where the message comes from that the actor has in hand whose code calls this, if that is known.
#[cold]
pub(crate) fn current_origin() -> Option<Origin> {
    RUNNING
        .with(|frames| frames.innermost(|role, _| role.origin()))
        .flatten()
}

/// How many runs may be inside one another on one stack.
const INSIDE_DEPTH: usize = 8;
/// After how many runs inside of one, over all, whoever asks lets the others of its worker run ...
const INSIDE_RUNS: u32 = 128;
/// ... and how many there may be if it does not: where one poll makes many asks.
const INSIDE_RUNS_MAX: u32 = 160;

/// Where an ask is made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asker {
    /// By no actor's code.
    Outside,
    /// In a handler.
    Inside,
    /// The same, and it was so often that it has to pend when it has its answer.
    Tired,
    /// In a handler, and so many are inside one another here, or were, that there may be no more.
    Deep,
}

/// Where the calling code asks.
#[inline(always)]
pub(crate) fn asker() -> Asker {
    RUNNING.with(|frames| {
        if frames.is_empty() {
            return Asker::Outside;
        }
        let inside = frames.inside();
        if inside >= INSIDE_RUNS_MAX {
            return Asker::Deep;
        }
        let mut depth = 0;
        let is_deep = frames.find(|_| {
            depth += 1;
            (depth >= INSIDE_DEPTH).then_some(())
        });
        match is_deep {
            Some(()) => Asker::Deep,
            None if inside >= INSIDE_RUNS => Asker::Tired,
            None => Asker::Inside,
        }
    })
}

/// The place of one command before a supervisor; its commands are bounded by how many there are.
pub(crate) type Permit = tokio::sync::OwnedSemaphorePermit;

/// Who is told what becomes of a life.
#[derive(Clone)]
pub(crate) struct Boss {
    id: ChildId,
    /// Its notes are not bounded by a number, but by what they tell of: at most three for each life
    /// that was begun, and commands, each of which holds a [`Permit`].
    lead: Arc<Lead>,
}

/// How a life ended.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) exit: Exit,
    pub(crate) reason: RestartReason,
    pub(crate) failure: Option<Failure>,
    /// Of a shutdown: the reason that was given for it.
    pub(crate) why: Option<Arc<str>>,
    /// Of a supervisor that gave up: the child that ended normally and was one too many.
    pub(crate) last: Option<Path>,
    /// Its start said that there is nothing to run: see `Context::ignore`.
    pub(crate) is_ignored: bool,
}

impl Note {
    /// Returns the actor that commands.
    pub(crate) fn asker(&self) -> Option<&Path> {
        match self {
            Note::Order { asker, .. } => asker.as_ref(),
            _ => None,
        }
    }

    /// Whether it is a command of this actor or of one below it.
    pub(crate) fn is_asked_by(&self, path: &Path) -> bool {
        self.asker().is_some_and(|asker| asker.is_within(path))
    }

    /// Answers a command that this supervisor cannot carry out now.
    pub(crate) fn refuse(self, why: Refusal, supervisor: &Path) {
        let path = supervisor.clone();
        // Whoever asked may have gone.
        match self {
            Note::Launched { reply, .. } => drop(reply.send(Err((why, path).into()))),
            Note::Order { order, .. } => match order {
                Order::Start { reply, .. } => drop(reply.send(Err((why, path).into()))),
                Order::Stop { reply, .. } => drop(reply.send(Err((why, path).into()))),
                Order::Restart { reply, .. } => drop(reply.send(Err((why, path).into()))),
                Order::Remove { reply, .. } => drop(reply.send(Err((why, path).into()))),
                Order::Change { reply, .. } => drop(reply.send(Err((why, path).into()))),
            },
            _ => {}
        }
    }
}

impl Boss {
    pub(crate) fn new(role: &dyn Role, lead: &Arc<Lead>) -> Self {
        let (id, lead) = (role.id(), Arc::clone(lead));
        Boss { id, lead }
    }

    /// What is left of it for a role, which knows its own number.
    pub(crate) fn into_lead(self) -> Arc<Lead> {
        self.lead
    }

    pub(crate) fn started(&self, incarnation: u64) {
        self.lead.started(self.id, incarnation);
    }

    /// Nothing is left of this life; the next one may begin before this returns.
    pub(crate) fn ended(&self, system: &Shared, incarnation: u64, ended: Ended) {
        self.lead.ended(system, (self.id, incarnation), ended);
    }

    /// The same for a life that did not end in order: the next one is the task's affair.
    pub(crate) fn lost(&self, incarnation: u64, ended: Ended) {
        self.lead.note_end(self.id, incarnation, ended, None);
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

/// A [`StartCause`] that is written by one and read by others later.
pub(crate) struct CauseCell(AtomicU8);

impl CauseCell {
    pub(crate) fn new() -> Self {
        CauseCell(AtomicU8::new(StartCause::Boot as u8))
    }

    pub(crate) fn set(&self, cause: StartCause) {
        self.0.store(cause as u8, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> StartCause {
        StartCause::ALL[self.0.load(Ordering::Relaxed) as usize]
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

    /// The reason to restart who failed in this way.
    pub(crate) fn of(kind: FailureKind) -> Self {
        match kind {
            FailureKind::Error => RestartReason::Error,
            FailureKind::Panic => RestartReason::Panic,
            FailureKind::Killed => RestartReason::Killed,
        }
    }

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
