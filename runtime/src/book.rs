//! A supervisor's book: its law and its children, shared with these so that most news needs no messenger.
//!
//! Whoever ran a life that ended, or wants a child started, acts *on the spot*
//! if the supervisor is undisturbed: it asks the law and launches the next life
//! itself. All else is written to the supervisor's task as a [`Note`], and so
//! is everything while that task carries out an order: then the book is shut.
//!
//! Who waits and who acts:
//!
//! - On the spot nobody waits: the lock of the book is only tried, and held for
//!   bookkeeping alone; the code of no author runs under it.
//! - The task opens the book when it has read all notes, in the same section as
//!   it looks for the last one. What shuts the book is noted in the section that
//!   shuts it. So nobody acts between a decision that shuts the book and the
//!   task that carries it out.
//! - The law is asked in the order of the exits: of one child because the next
//!   life begins in the section that asks about the one before, or after the
//!   note of its end has been read.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::time::Duration;

use greenroom_supervision::{ChildId, Law, Roster, Strategy, Verdict};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::failure::During;
use crate::metrics::Decision;
use crate::role::{
    Boss, Ended, Launched, Note, RestartReason, Role, Standing, current_actor, with_current_actor,
};
use crate::shared::Shared;
use crate::simulation::Step;
use crate::snapshot::{ActorState, ChildCounts};
use crate::supervisor::{Settings, SupervisorCell};
use crate::{
    Decided, Failure, Path, Restart, StartCause, StartChildError, SupervisionEvent,
    SupervisionOrder, SupervisorDecision,
};

/// Where children and users reach one life of a supervisor.
pub(crate) struct Lead {
    pub(crate) notes: mpsc::UnboundedSender<Note>,
    /// The child whose start the task waits for; nobody else's is news.
    awaited: AtomicU64,
    /// There is none above the root, and none after the end of the life.
    book: Mutex<Option<Book>>,
}

/// For how long who has news waits for the book before a note is written: another may be at it who is done in no time.
/// Once there is a note all others become notes too, until the task has read them.
const MOMENT: Duration = Duration::from_millis(1);

/// No child's number.
const NOBODY: u64 = u64::MAX;

/// What a supervisor knows of its children.
pub(crate) struct Book {
    cell: Arc<SupervisorCell>,
    /// The task has read all notes and carries out no order.
    is_open: bool,
    /// As they are in the law.
    settings: Settings,
    pub(crate) law: Law,
    pub(crate) table: Roster<Child>,
    /// Those that have been retired and keep their places; all others are in the registry.
    pub(crate) down: HashMap<Path, ChildId>,
    epoch: Instant,
    pub(crate) last_failure: Option<Failure>,
    /// The child that ended normally and made a supervisor below give up.
    pub(crate) last_below: Option<Path>,
}

pub(crate) struct Child {
    pub(crate) role: Arc<dyn Role>,
    /// The number of its life, if it has one.
    pub(crate) running: Option<NonZeroU64>,
}

/// Where a child is in its supervisor's book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// It has a life, or gets its first one.
    Running,
    /// It is to have another one without anybody's order, or has it and that one is starting.
    Restarting,
    /// It is down until somebody orders otherwise, or its group is restarted.
    Down,
}

/// A child whose next life has been launched.
type Again = (Arc<dyn Role>, Launched);

/// What was decided on the spot, and by whom.
type Told = (Arc<SupervisorCell>, SupervisionEvent);

/// What became of a child that was to be started on the spot.
pub(crate) enum AtOnce {
    Started,
    /// It has been launched, and the task is to say what becomes of it.
    Launched(ChildId, u64),
    Refused(StartChildError),
    /// The task is to do it.
    NotNow,
}

impl Lead {
    /// For a supervisor.
    pub(crate) fn new(notes: mpsc::UnboundedSender<Note>, book: Book) -> Arc<Self> {
        Arc::new(Lead {
            notes,
            awaited: AtomicU64::new(NOBODY),
            book: Mutex::new(Some(book)),
        })
    }

    /// For whoever is above the root: all is noted, and the start of this child is news.
    pub(crate) fn above(child: ChildId, notes: mpsc::UnboundedSender<Note>) -> Arc<Self> {
        Arc::new(Lead {
            notes,
            awaited: AtomicU64::new(child.0),
            book: Mutex::new(None),
        })
    }

    /// Calls `f` with the book of a life that is not over.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut Book) -> R) -> R {
        match &mut *self.book.lock() {
            Some(book) => f(book),
            None => unreachable!("the book is closed by the end of the life that uses it"),
        }
    }

    /// The same for whoever looks from outside; `None` if the life is over.
    pub(crate) fn look<R>(&self, f: impl FnOnce(&Book) -> R) -> Option<R> {
        self.book.lock().as_ref().map(f)
    }

    /// Ends the book with the life; what is left of it is the caller's.
    pub(crate) fn close(&self) -> Option<Book> {
        self.book.lock().take()
    }

    /// From here on the start of this child is news, as long as it has not happened.
    pub(crate) fn await_child(&self, id: ChildId) {
        self.awaited.store(id.0, Ordering::Relaxed);
        // Either this side sees afterwards that the child is up, or the child sees that it is awaited.
        fence(Ordering::SeqCst);
    }

    pub(crate) fn await_nobody(&self) {
        self.awaited.store(NOBODY, Ordering::Relaxed);
    }

    /// A child is up; whoever says so has made that visible before.
    pub(crate) fn started(&self, id: ChildId, incarnation: u64) {
        fence(Ordering::SeqCst);
        if self.awaited.load(Ordering::Relaxed) == id.0 {
            // A supervisor that is gone needs no news.
            let _ = self.notes.send(Note::Started { id, incarnation });
        }
    }

    /// A child has ended, and nothing of that life is left: the law decides here and now, or the task sees to it.
    pub(crate) fn ended(
        self: &Arc<Self>,
        system: &Shared,
        (id, incarnation): (ChildId, u64),
        ended: Ended,
    ) {
        // Before the lock: it may be asked of an author's code.
        let is_seen = system.is_seen(Decision::Restart.level());
        if let Some((again, decision)) = self.relaunch((id, incarnation), ended, is_seen) {
            Self::go_on(again, decision.as_ref());
        }
    }

    /// Begins the next life of a child that is to be restarted alone and at once, for the task, which has told of it;
    /// `false` if it is gone.
    pub(crate) fn restart_now(self: &Arc<Self>, id: ChildId, reason: RestartReason) -> bool {
        let again = self.with(|book| self.launch_again(book, id, reason));
        again.map(|again| Self::go_on(again, None)).is_some()
    }

    fn launch_again(
        self: &Arc<Self>,
        book: &mut Book,
        id: ChildId,
        reason: RestartReason,
    ) -> Option<Again> {
        let child = book.table.get_mut(id.0)?;
        child.role.mark_restarting(reason);
        let role = Arc::clone(&child.role);
        let boss = Boss::new(&*role, self);
        let launched = Arc::clone(&role).launch(boss, StartCause::Restart);
        child.running = NonZeroU64::new(launched.incarnation);
        Some((role, launched))
    }

    /// What follows may run code of authors: not under the lock.
    fn go_on((role, launched): Again, decision: Option<&Told>) {
        // Nothing is told of the next life before; the log is not worth the wait.
        if let Some((supervisor, event)) = decision {
            supervisor.system.registry.publish_if_heard(event);
        }
        Arc::clone(&role).go(launched);
        if let Some((_, event)) = decision {
            event.log();
        }
        role.announce();
    }

    /// Begins the next life if the law says so and nothing stands against it, or else writes a note.
    fn relaunch(
        self: &Arc<Self>,
        (id, incarnation): (ChildId, u64),
        ended: Ended,
        is_seen: bool,
    ) -> Option<(Again, Option<Told>)> {
        let mut lock = self.book.try_lock_for(MOMENT);
        let mut verdict = None;
        if let Some(Some(book)) = lock.as_deref_mut() {
            verdict = book.decide(id, incarnation, &ended);
            if let Some(Verdict::Restart { after, .. }) = &verdict
                && after.is_zero()
                && let Some(again) = self.launch_again(book, id, ended.reason)
            {
                book.cell.system.meters.count_decision(Decision::Restart);
                let decision = is_seen.then(|| {
                    let event = book.restarting(&*again.0, &ended, Duration::ZERO, Vec::new());
                    (Arc::clone(&book.cell), event)
                });
                return Some((again, decision));
            }
        }
        // Under the lock, if it was had: see above.
        self.note_end(id, incarnation, ended, verdict);
        None
    }

    pub(crate) fn note_end(
        &self,
        id: ChildId,
        incarnation: u64,
        ended: Ended,
        verdict: Option<Verdict>,
    ) {
        // A supervisor that is gone needs no news.
        let _ = self.notes.send(Note::Ended {
            id,
            incarnation,
            ended,
            verdict,
        });
    }

    /// Starts a new child if the supervisor is undisturbed; what its start does is done when this returns, unless it
    /// pends or the thread is no worker.
    pub(crate) fn start(
        self: &Arc<Self>,
        system: &Shared,
        role: &Arc<dyn Role>,
        standing: Standing,
    ) -> AtOnce {
        let launched = {
            let mut lock = self.book.try_lock_for(MOMENT);
            let Some(Some(book)) = lock.as_deref_mut() else {
                return AtOnce::NotNow;
            };
            if !book.is_undisturbed() {
                return AtOnce::NotNow;
            }
            if with_current_actor(|asker| book.is_starting(asker)) == Some(true) {
                let path = book.cell.path.clone();
                return AtOnce::Refused(StartChildError::WouldDeadlock(path));
            }
            // Whoever has the name or the last place may have ended, of which a note tells: the task
            // reads it first.
            if book.is_full() || !book.claim(role) {
                return AtOnce::NotNow;
            }
            let boss = Boss::new(&**role, self);
            let launched = Arc::clone(role).launch(boss, StartCause::Order);
            book.add(role, standing, Some(launched.incarnation));
            launched
        };
        system.meters.count_decision(Decision::Order);
        if system.is_seen(Decision::Order.level())
            && let Some(supervisor) = role.path().parent()
        {
            system.show_all(&SupervisionEvent::Ordered {
                supervisor,
                order: SupervisionOrder::Start(role.path().clone()),
                by: current_actor(),
            });
        }
        let incarnation = launched.incarnation;
        Arc::clone(role).go_here(launched);
        if role.state() == ActorState::Starting {
            AtOnce::Launched(role.id(), incarnation)
        } else {
            AtOnce::Started
        }
    }
}

impl Book {
    pub(crate) fn new(cell: Arc<SupervisorCell>, incarnation: u64) -> Self {
        let mut hasher = DefaultHasher::new();
        (cell.system.seed, cell.path.as_str(), incarnation).hash(&mut hasher);
        let mut book = Book {
            is_open: false,
            settings: cell.settings(),
            law: cell.law(hasher.finish()),
            table: Roster::new(),
            down: HashMap::new(),
            epoch: Instant::now(),
            last_failure: None,
            last_below: None,
            cell: Arc::clone(&cell),
        };
        for (role, standing) in cell.children.lock().iter() {
            book.add(role, *standing, None);
        }
        book
    }

    /// Registers a new child, if nobody has its name.
    fn claim(&self, role: &Arc<dyn Role>) -> bool {
        let is_down = !self.down.is_empty() && self.down.contains_key(role.path());
        !is_down && self.cell.system.registry.claim(role)
    }

    /// Adds a new child that does not run yet.
    ///
    /// # Errors
    /// Why there is no place for it.
    pub(crate) fn add_new(
        &mut self,
        role: &Arc<dyn Role>,
        standing: Standing,
    ) -> Result<(), StartChildError> {
        let path = role.path();
        if let Some(place) = self.find(path.as_str()).map(|id| self.place(id)) {
            return Err(match place {
                Some(Place::Restarting | Place::Down) => {
                    StartChildError::AlreadyPresent(path.clone())
                }
                Some(Place::Running) | None => StartChildError::AlreadyStarted(path.clone()),
            });
        }
        if let Some(max) = self.settings.max_children
            && self.is_full()
        {
            let supervisor = self.cell.path.clone();
            return Err(StartChildError::MaxChildren { supervisor, max });
        }
        if !self.claim(role) {
            return Err(StartChildError::AlreadyStarted(path.clone()));
        }
        self.add(role, standing, None);
        Ok(())
    }

    /// Adds a new child that stays down until somebody has it started, or its group is restarted.
    pub(crate) fn add_down(&mut self, role: &Arc<dyn Role>, standing: Standing) {
        // A temporary one that is down would be forgotten, were it not for what is ordered next.
        let restart = Restart::Transient;
        self.add(
            role,
            Standing {
                restart,
                ..standing
            },
            None,
        );
        let id = role.id();
        let verdict = self.law.stopped(id);
        debug_assert_eq!(verdict, Verdict::Ignore, "it keeps its place");
        self.set_standing(id, standing);
        self.down.insert(role.path().clone(), id);
    }

    pub(crate) fn set_standing(&mut self, id: ChildId, standing: Standing) {
        self.law
            .set_terms(id, standing.restart, standing.is_significant);
    }

    /// Goes by other settings from here on.
    pub(crate) fn set(&mut self, settings: Settings) {
        self.settings = settings;
        self.law.set_strategy(settings.strategy);
        self.law.set_limit(settings.limit_in_force());
        self.law.set_backoff(settings.backoff);
        self.law.set_auto_shutdown(settings.auto_shutdown);
    }

    /// Whether it has as many children as it may.
    fn is_full(&self) -> bool {
        let max = self.settings.max_children;
        max.is_some_and(|max| self.table.len() >= max)
    }

    pub(crate) fn place(&self, id: ChildId) -> Option<Place> {
        let child = self.table.get(id.0)?;
        let is_down = || self.down.get(child.role.path()) == Some(&id);
        Some(match child.running.map(NonZeroU64::get) {
            // Started again on the spot, and not up yet.
            Some(2..) if child.role.state() == ActorState::Starting => Place::Restarting,
            Some(_) => Place::Running,
            None if is_down() => Place::Down,
            None => Place::Restarting,
        })
    }

    pub(crate) fn count(&self) -> ChildCounts {
        let mut counts = ChildCounts::default();
        self.table
            .iter()
            .for_each(|(_, child)| counts.add(&*child.role));
        counts
    }

    /// The children in the order of their start; what there is to be seen of them is seen without the lock.
    pub(crate) fn children(&self) -> Vec<(Arc<dyn Role>, Standing)> {
        let all = self.law.children();
        all.filter_map(|id| self.known(id)).collect()
    }

    fn known(&self, id: ChildId) -> Option<(Arc<dyn Role>, Standing)> {
        let (restart, is_significant) = self.law.terms(id)?;
        let role = Arc::clone(&self.table.get(id.0)?.role);
        Some((
            role,
            Standing {
                restart,
                is_significant,
            },
        ))
    }

    /// The child that has this path.
    pub(crate) fn known_as(&self, path: &str) -> Option<(Arc<dyn Role>, Standing)> {
        self.known(self.find(path)?)
    }

    /// The child that has this path.
    pub(crate) fn find(&self, path: &str) -> Option<ChildId> {
        let up = || {
            let role = self.cell.system.registry.get(path)?;
            let child = self.table.get(role.id().0)?;
            Arc::ptr_eq(&child.role, &role).then(|| role.id())
        };
        self.down.get(path).copied().or_else(up)
    }

    /// Lets a child that has ended keep its name, though its role is to be retired by the caller.
    pub(crate) fn keep(&mut self, id: ChildId) -> Option<Arc<dyn Role>> {
        let role = &self.table.get(id.0)?.role;
        self.down.insert(role.path().clone(), id);
        Some(Arc::clone(role))
    }

    fn add(&mut self, role: &Arc<dyn Role>, standing: Standing, running: Option<u64>) {
        match standing.is_significant {
            true => self.law.add_significant(role.id(), standing.restart),
            false => self.law.add(role.id(), standing.restart),
        }
        let child = Child {
            role: Arc::clone(role),
            running: running.and_then(NonZeroU64::new),
        };
        self.table.insert(role.id().0, child);
    }

    /// Takes a child out; its role is the caller's to retire.
    pub(crate) fn remove(&mut self, id: ChildId) -> Option<Arc<dyn Role>> {
        self.law.remove(id);
        let child = self.table.remove(id.0)?;
        self.down.remove(child.role.path());
        Some(child.role)
    }

    /// A new child did not come up; it keeps its name until whoever wanted it has been told.
    pub(crate) fn failed_at_first(&mut self, id: ChildId, ended: &Ended) {
        // One that said so itself may keep its place.
        if !ended.is_ignored {
            self.law.remove(id);
        }
        if let Some(child) = self.table.get_mut(id.0) {
            child.running = None;
        }
    }

    /// Takes note that this life of a child is over, if it is the one that it has.
    pub(crate) fn is_over(&mut self, id: ChildId, incarnation: u64) -> bool {
        let child = self.table.get_mut(id.0);
        let ran = child.and_then(|child| {
            child
                .running
                .take_if(|running| running.get() == incarnation)
        });
        ran.is_some()
    }

    /// The roles that do not come back with a restart of the supervisor: those it was not built with.
    pub(crate) fn newcomers(&self) -> Vec<Arc<dyn Role>> {
        let statics = self.cell.children.lock();
        let statics: HashSet<u64> = statics.iter().map(|(role, _)| role.id().0).collect();
        let newcomers = self.table.iter().filter(|(id, _)| !statics.contains(id));
        newcomers
            .map(|(_, child)| Arc::clone(&child.role))
            .collect()
    }

    pub(crate) fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    /// Opens the book; to be called by the task when it has nothing to do and no note is left.
    pub(crate) fn open(&mut self) {
        self.is_open = true;
    }

    pub(crate) fn shut(&mut self) {
        self.is_open = false;
    }

    fn is_undisturbed(&self) -> bool {
        self.is_open && self.cell.is_to_run()
    }

    /// Takes note that a child ended by itself, and asks the law; `None` if it is no news.
    pub(crate) fn exited(
        &mut self,
        id: ChildId,
        incarnation: u64,
        ended: &Ended,
    ) -> Option<Verdict> {
        let now = self.now();
        // The end of an earlier life, or one that this supervisor ordered, is no news.
        if !self.is_over(id, incarnation) {
            return None;
        }
        self.last_failure.clone_from(&ended.failure);
        self.last_below.clone_from(&ended.last);
        let verdict = self.law.exited(now, id, ended.exit);
        self.note(id, ended, &verdict);
        self.show(id, &verdict);
        Some(verdict)
    }

    /// A start that the law ordered has failed: asks it again.
    pub(crate) fn start_failed(&mut self, id: ChildId, ended: &Ended) -> Verdict {
        let verdict = self.law.start_failed(self.now(), id);
        self.note(id, ended, &verdict);
        self.show(id, &verdict);
        verdict
    }

    /// Adds to the failure that a child ended by, or that it gave up over, what the law says about that.
    fn note(&self, id: ChildId, ended: &Ended, verdict: &Verdict) {
        let (Some(failure), Some(child)) = (&ended.failure, self.table.get(id.0)) else {
            return;
        };
        let limit = self.settings.limit;
        let decided = match verdict {
            Verdict::Restart { start, after, .. } => Decided::Restart {
                after: *after,
                siblings: start.iter().filter(|other| **other != id).count(),
                restarts: self.law.restarts_in_window(self.now()),
                limit: limit.restarts(),
                within: limit.within(),
            },
            Verdict::Ignore => Decided::KeepDown,
            Verdict::Forget => Decided::Forget,
            Verdict::AutoShutdown { .. } => Decided::AutoShutdown,
            Verdict::Escalate { .. } => Decided::GiveUp {
                limit: limit.restarts(),
                within: limit.within(),
            },
        };
        failure.decided(SupervisorDecision {
            supervisor: self.cell.path.clone(),
            child: child.role.path().clone(),
            decided,
        });
    }

    /// Tells the director of a simulation what the law says.
    fn show(&self, id: ChildId, verdict: &Verdict) {
        let Some(director) = self.cell.system.director() else {
            return;
        };
        let child = self.table.get(id.0);
        let child = child.map_or("", |child| child.role.path().as_str());
        let path = self.cell.path.as_str();
        let limit = self.settings.limit;
        let incarnation = self.cell.incarnation.load(Ordering::Relaxed);
        let (limit, within) = (limit.restarts(), limit.within());
        let event = match *verdict {
            Verdict::Restart { after, .. } => Step::Restarts {
                path,
                incarnation,
                child,
                after,
                limit,
                within,
            },
            Verdict::Escalate { .. } => Step::GivesUp {
                path,
                incarnation,
                child,
                limit,
                within,
            },
            Verdict::Ignore | Verdict::Forget | Verdict::AutoShutdown { .. } => return,
        };
        director.lock().saw(&event);
    }

    /// The event of a restart that the law has just ordered.
    pub(crate) fn restarting(
        &self,
        child: &dyn Role,
        ended: &Ended,
        after: Duration,
        siblings: Vec<Path>,
    ) -> SupervisionEvent {
        let limit = self.settings.limit;
        SupervisionEvent::Restarting {
            supervisor: self.cell.path.clone(),
            child: child.path().clone(),
            reason: ended.exit_reason(),
            failure: ended.failure.clone(),
            after,
            restarts: self.law.restarts_in_window(self.now()),
            limit: limit.restarts(),
            within: limit.within(),
            siblings: siblings.into(),
        }
    }

    /// The same on the spot; `None` if it is for the task to ask.
    fn decide(&mut self, id: ChildId, incarnation: u64, ended: &Ended) -> Option<Verdict> {
        // Where a verdict is about others too, none of them may come or go before it is carried out.
        let restarts_one = matches!(
            self.settings.strategy,
            Strategy::OneForOne | Strategy::Dynamic
        );
        if !self.is_undisturbed()
            || !restarts_one
            || ended.is_ignored
            || is_first_start(incarnation, ended)
        {
            return None;
        }
        let verdict = self.exited(id, incarnation, ended)?;
        if matches!(
            verdict,
            Verdict::Escalate { .. } | Verdict::AutoShutdown { .. }
        ) {
            self.shut();
        }
        Some(verdict)
    }

    /// Whether this is an actor below a child whose start is going on: that start would wait for itself.
    pub(crate) fn is_starting(&self, asker: &Path) -> bool {
        let supervisor = &self.cell.path;
        if !asker.is_within(supervisor) {
            return false;
        }
        let below = asker.as_str().get(supervisor.as_str().len() + 1..);
        let Some(name) = below.and_then(|below| below.split('/').next()) else {
            return false;
        };
        let path = &asker.as_str()[..supervisor.as_str().len() + 1 + name.len()];
        let child = self.find(path).and_then(|id| self.table.get(id.0));
        child.is_some_and(|child| child.role.state() == ActorState::Starting)
    }
}

/// Whether it is the first start of a child that came to nothing: that is for whoever wanted it, not for the law.
///
/// A supervisor that gave up had started; the failure that it tells of may be a start, but of a child that it had
/// started again.
pub(crate) fn is_first_start(incarnation: u64, ended: &Ended) -> bool {
    let failure = ended.failure.as_ref();
    let has_failed = || failure.is_some_and(|failure| failure.during() == During::Start);
    incarnation == 1
        && ended.reason != RestartReason::Escalation
        && (ended.is_ignored || has_failed())
}
