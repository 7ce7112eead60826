//! A running supervisor: it carries out what the law decides.
//!
//! The law (`greenroom-supervision`) says who is stopped and started, in which
//! order and when; this module does it, waits for it, and enforces deadlines.
//! It makes no decision of its own.
//!
//! What concerns one child alone and can be done at once is done without this
//! task, by whoever has the news or the wish: see [`book`](crate::book). The task
//! does what has to be waited for, and while it does it is the only one to act.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering, fence};
use std::time::Duration;

use greenroom_supervision::{AutoShutdown, Backoff, ChildId, Exit, Law, Limit, Strategy, Verdict};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use tracing::level_filters::LevelFilter;

use crate::book::{Book, Lead, is_first_start};
use crate::core::once::OnceBox;
use crate::error::StartChildError;
use crate::failure::{Cause, During, catch};
use crate::metrics::{Decision, Group, SUPERVISORS};
use crate::partitions::Partitions;
use crate::role::{
    Boss, CauseCell, Ended, Launched, Note, Permit, Refusal, RestartReason, Role, SUPERVISOR,
    Standing, StateCell,
};
use crate::shared::{Shared, after as in_future};
use crate::snapshot::{ActorState, Seen};
use crate::watchers::Watchers;
use crate::{Failure, Path, StartCause, SupervisionEvent};

mod orders;
mod stopping;
mod telling;
mod watched;

use stopping::Dying;

/// How many commands may wait for a supervisor; further callers wait for a place.
const COMMANDS_MAX: usize = 256;

/// A supervisor's role: what stays of it when it is restarted.
pub(crate) struct SupervisorCell {
    pub(crate) path: Path,
    id: ChildId,
    pub(crate) system: Arc<Shared>,
    is_dynamic: bool,
    settings: Mutex<Settings>,
    /// Those that each life of it begins with, in the order of their numbers.
    pub(crate) children: Mutex<Vec<(Arc<dyn Role>, Standing)>>,
    pub(crate) partitions: Option<Partitions>,
    next_id: AtomicU64,
    group: Arc<Group>,
    state: StateCell,
    /// Why the latest life was begun.
    cause: CauseCell,
    restarts: AtomicU64,
    pub(crate) incarnation: AtomicU64,
    /// [`RUN`], [`STOP`] or [`DRAIN`].
    order: AtomicU8,
    /// How many commands may be on their way to it.
    commands: Arc<Semaphore>,
    /// Where the running life is reached.
    lead: Mutex<Option<Arc<Lead>>>,
    /// There is no next life, unless somebody starts the role anew.
    retired: AtomicBool,
    /// Few supervisors are watched.
    watchers: OnceBox<Watchers>,
}

const RUN: u8 = 0;
const STOP: u8 = 1;
const DRAIN: u8 = 2;

/// How a supervisor goes about its work; each can be changed while it runs, but for whether it is dynamic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) strategy: Strategy,
    pub(crate) limit: Limit,
    pub(crate) backoff: Backoff,
    pub(crate) auto_shutdown: AutoShutdown,
    /// How many children there may be when one more is to be started.
    pub(crate) max_children: Option<usize>,
}

impl Settings {
    /// The limit that the law goes by.
    pub(crate) fn limit_in_force(&self) -> Limit {
        #[cfg(greenroom_planted)]
        if crate::planted::is_planted(crate::planted::Bug::LimitOffByOne) {
            return Limit::new(self.limit.restarts() + 1, self.limit.within());
        }
        self.limit
    }
}

impl SupervisorCell {
    pub(crate) fn new(
        (path, id): (Path, ChildId),
        system: Arc<Shared>,
        settings: Settings,
        children: Vec<(Arc<dyn Role>, Standing)>,
        partitions: Option<Partitions>,
    ) -> Arc<Self> {
        Arc::new(SupervisorCell {
            path,
            id,
            next_id: AtomicU64::new(children.len() as u64),
            group: system.meters.group(SUPERVISORS),
            system,
            is_dynamic: settings.strategy == Strategy::Dynamic,
            settings: Mutex::new(settings),
            children: Mutex::new(children),
            partitions,
            state: StateCell::new(ActorState::Stopped),
            cause: CauseCell::new(),
            restarts: AtomicU64::new(0),
            incarnation: AtomicU64::new(0),
            order: AtomicU8::new(RUN),
            commands: Arc::new(Semaphore::new(COMMANDS_MAX)),
            lead: Mutex::new(None),
            retired: AtomicBool::new(false),
            watchers: OnceBox::new(),
        })
    }

    /// Which life it has, or had last.
    pub(crate) fn incarnation(&self) -> u64 {
        self.incarnation.load(Ordering::Acquire)
    }

    /// Waits for a place before this supervisor; an actor below it, which it may wait for in turn, needs none.
    pub(crate) async fn permit(&self, asker: Option<&Path>) -> Option<Permit> {
        if asker.is_some_and(|asker| asker.is_within(&self.path)) {
            return None;
        }
        // Nobody closes it, so there is always a permit in the end.
        Arc::clone(&self.commands).acquire_owned().await.ok()
    }

    /// Sends a note to the running life; `false` when there is none, and whoever waits for an answer hears of that.
    pub(crate) fn send(&self, note: Note) -> bool {
        match &*self.lead.lock() {
            Some(lead) => lead.notes.send(note).is_ok(),
            None => false,
        }
    }

    /// Returns the number for a new child.
    pub(crate) fn next_id(&self) -> ChildId {
        ChildId(self.next_id.fetch_add(1, Ordering::Relaxed))
    }

    /// Where the running life is reached, if there is one.
    pub(crate) fn lead(&self) -> Option<Arc<Lead>> {
        self.lead.lock().clone()
    }

    pub(crate) fn settings(&self) -> Settings {
        *self.settings.lock()
    }

    /// A law for one life.
    pub(crate) fn law(&self, seed: u64) -> Law {
        let settings = self.settings();
        let limit = settings.limit_in_force();
        Law::new(settings.strategy, limit, settings.backoff, seed)
            .auto_shutdown(settings.auto_shutdown)
    }

    /// Whether it has not been told to stop.
    pub(crate) fn is_to_run(&self) -> bool {
        self.order.load(Ordering::Acquire) == RUN
    }
}

impl Role for SupervisorCell {
    fn path(&self) -> &Path {
        &self.path
    }

    fn id(&self) -> ChildId {
        self.id
    }

    fn kind(&self) -> String {
        SUPERVISOR.to_owned()
    }

    fn is_supervisor(&self) -> bool {
        true
    }

    fn limit_used_ratio(&self) -> Option<f64> {
        self.lead()?
            .look(|book| book.law.limit_used_ratio(book.now()))
    }

    fn launch(self: Arc<Self>, boss: Boss, cause: StartCause) -> Launched {
        self.cause.set(cause);
        self.retired.store(false, Ordering::Release);
        let (notes, inbox) = mpsc::unbounded_channel();
        self.order.store(RUN, Ordering::Release);
        let (incarnation, lead) = {
            let mut place = self.lead.lock();
            let incarnation = self.incarnation.fetch_add(1, Ordering::Relaxed) + 1;
            let lead = Lead::new(notes, Book::new(Arc::clone(&self), incarnation));
            *place = Some(Arc::clone(&lead));
            (incarnation, lead)
        };
        self.state.set(ActorState::Starting);
        self.group.count_start();
        let life = Life::new(Arc::clone(&self), incarnation, inbox, lead);
        self.system.handle.spawn(async move {
            let cell = Arc::clone(&life.cell);
            let ended = match catch(Box::pin(life.lead(&boss))).await {
                Ok(ended) => ended,
                // Nothing of an author runs here unguarded, so this is a fault of the runtime:
                // the children have been ended, and the supervisor above decides.
                Err(panic) => {
                    let (path, cause) = (cell.path.clone(), Cause::Panic(panic));
                    let failure = Failure::new(path, incarnation, During::Background, cause);
                    failure.log();
                    Ended::failed(failure)
                }
            };
            *cell.lead.lock() = None;
            cell.fall(incarnation, || ended.exit_reason());
            let event = || SupervisionEvent::Ended {
                supervisor: cell.path.parent(),
                child: cell.path.clone(),
                incarnation,
                reason: ended.exit_reason(),
            };
            cell.system.tell(LevelFilter::DEBUG, event);
            boss.ended(&cell.system, incarnation, ended);
        });
        Launched {
            incarnation,
            ready: None,
        }
    }

    /// Its task is on its way already.
    fn go(self: Arc<Self>, _: Launched) {}

    fn go_here(self: Arc<Self>, _: Launched) {}

    fn stop(&self, _: u64, drain: bool) {
        self.state.set(ActorState::Stopping);
        self.order
            .fetch_max(if drain { DRAIN } else { STOP }, Ordering::AcqRel);
        // A life that is over needs no word.
        self.send(Note::Stop);
    }

    /// A supervisor is never cut short, its children would be orphans; their own deadlines bound its stop.
    fn kill(&self, incarnation: u64) {
        self.stop(incarnation, false);
    }

    fn cut_off(self: Arc<Self>, _: u64) {}

    fn retire(&self) {
        let children = self.children.lock().clone();
        for (role, _) in children.iter().rev() {
            role.retire();
        }
        self.retired.store(true, Ordering::Release);
        self.state.set(ActorState::Stopped);
        self.system.registry.unregister(&self.path);
        // See `watchers::watch`.
        fence(Ordering::SeqCst);
        self.tell_watchers(true);
    }

    fn stop_within(&self) -> Option<Duration> {
        None
    }

    fn mark_restarting(&self, reason: RestartReason) {
        self.state.set(ActorState::Restarting);
        self.restarts.fetch_add(1, Ordering::Relaxed);
        self.group.count_restart(reason);
    }

    /// Its children ended with it, and come back with it.
    fn announce(&self) {
        let children = self.children.lock().clone();
        for (role, _) in &children {
            role.announce();
        }
        self.tell_watchers(false);
    }

    fn state(&self) -> ActorState {
        self.state.get()
    }

    fn seen(&self, _: bool) -> Seen {
        Seen {
            path: self.path.clone(),
            group: self.group.name.clone(),
            state: self.state.get(),
            incarnation: self.incarnation.load(Ordering::Relaxed),
            restarts: self.restarts.load(Ordering::Relaxed),
            capacity: 0,
            handling: None,
            mailbox: None,
            is_dynamic: self.is_dynamic,
        }
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

impl Drop for Life {
    /// A life that ended as it should has no child running; of one that panicked none may stay behind.
    fn drop(&mut self) {
        let Some(book) = self.lead.close() else {
            return;
        };
        let mut is_cut_short = false;
        for (_, child) in &book.table {
            if let Some(incarnation) = child.running.map(NonZeroU64::get) {
                is_cut_short = true;
                child.role.kill(incarnation);
                Arc::clone(&child.role).cut_off(incarnation);
            }
        }
        if is_cut_short {
            book.newcomers().iter().for_each(|role| role.retire());
        }
    }
}

/// One life of a supervisor.
struct Life {
    cell: Arc<SupervisorCell>,
    incarnation: u64,
    lead: Arc<Lead>,
    inbox: mpsc::UnboundedReceiver<Note>,
    /// Notes that came while something else was waited for.
    backlog: VecDeque<Note>,
    /// Children that wait for their restart.
    pending: Vec<Pending>,
    /// First starts that came to nothing before whoever wanted them asked.
    failed: Vec<(ChildId, Ended)>,
}

struct Pending {
    due: Instant,
    start: Vec<ChildId>,
}

/// Why children could not be started.
enum NotStarted {
    /// This one failed.
    Failed(ChildId, Ended),
    /// The supervisor was told to stop meanwhile.
    Stopping,
}

impl Life {
    fn new(
        cell: Arc<SupervisorCell>,
        incarnation: u64,
        inbox: mpsc::UnboundedReceiver<Note>,
        lead: Arc<Lead>,
    ) -> Self {
        Life {
            cell,
            incarnation,
            lead,
            inbox,
            backlog: VecDeque::new(),
            pending: Vec::new(),
            failed: Vec::new(),
        }
    }

    async fn lead(mut self, boss: &Boss) -> Ended {
        let all: Vec<ChildId> = self.lead.with(|book| book.law.children().collect());
        if let Err(why) = self.start(&all, StartCause::Boot).await {
            if let NotStarted::Failed(id, ended) = &why {
                self.tell_start_failed(*id, ended);
            }
            self.stop_all().await;
            return match why {
                NotStarted::Stopping => Ended::shutdown(),
                NotStarted::Failed(_, ended) => Ended {
                    exit: Exit::Failed,
                    ..ended
                },
            };
        }
        // A stop that came meanwhile is seen by the loop; its state must not be overwritten.
        if self.order() == RUN {
            self.cell.state.set(ActorState::Running);
        }
        let cause = self.cell.cause.get();
        let event = || SupervisionEvent::Started {
            supervisor: self.cell.path.parent(),
            child: self.cell.path.clone(),
            incarnation: self.incarnation,
            cause,
        };
        self.cell.system.tell(cause.level(), event);
        boss.started(self.incarnation);
        // Restarts that are due and notes take turns, so that neither starves the other.
        let mut heard = true;
        loop {
            if self.order() != RUN {
                self.stop_all().await;
                return Ended::shutdown();
            }
            let due = self.pending.iter().map(|p| p.due).min();
            let is_due = heard && due.is_some_and(|due| due <= Instant::now());
            let note = if is_due {
                None
            } else {
                self.next_note(due).await
            };
            heard = note.is_some();
            let Some(note) = note else {
                if let Some(ending) = self.start_pending().await {
                    return ending;
                }
                continue;
            };
            match note {
                Note::Ended {
                    id,
                    incarnation,
                    ended,
                    verdict,
                } => {
                    if verdict.is_none() && is_first_start(incarnation, &ended) {
                        // Its end is read with this note: nobody may wait for it, or start it again.
                        self.lead.with(|book| book.failed_at_first(id, &ended));
                        self.failed.push((id, ended));
                        continue;
                    }
                    if ended.is_ignored {
                        if self.lead.with(|book| book.is_over(id, incarnation)) {
                            self.leave_down(id);
                        }
                        continue;
                    }
                    let ask = || self.lead.with(|book| book.exited(id, incarnation, &ended));
                    if let Some(verdict) = verdict.or_else(ask)
                        && let Some(ending) = self.apply(verdict, id, &ended).await
                    {
                        return ending;
                    }
                }
                note @ Note::Order { .. } if self.is_asked_in_a_start(&note) => {
                    self.refuse(note);
                }
                Note::Launched {
                    id,
                    incarnation,
                    reply,
                } => {
                    let _ = reply.send(self.see_up(id, incarnation).await);
                }
                Note::Order {
                    order,
                    permit,
                    asker,
                } => {
                    let _held = permit;
                    self.carry_out(order, asker.as_ref()).await;
                }
                Note::Started { .. } | Note::Stop => {}
            }
        }
    }

    fn order(&self) -> u8 {
        self.cell.order.load(Ordering::Acquire)
    }

    /// Returns the next note, or `None` when `due` comes first.
    async fn next_note(&mut self, due: Option<Instant>) -> Option<Note> {
        if let Some(note) = self.backlog.pop_front() {
            return Some(note);
        }
        let (inbox, lead) = (&mut self.inbox, &self.lead);
        let at_hand = lead.with(|book| {
            let note = inbox.try_recv().ok();
            if note.is_none() {
                lead.await_nobody();
                book.open();
            }
            note
        });
        if at_hand.is_some() {
            return at_hand;
        }
        let note = self.receive(due).await;
        self.lead.with(Book::shut);
        match note {
            Some(order @ Note::Order { .. }) => self.what_is_before(order),
            note => note,
        }
    }

    /// Returns an order that came while the book was open, or what was decided on the spot before it was read.
    ///
    /// The law knows of that already, so it is carried out first: behind the order it would meet a child that is not
    /// as the law saw it. The book is shut, so no more of it comes.
    fn what_is_before(&mut self, order: Note) -> Option<Note> {
        let mut others = VecDeque::from([order]);
        while let Ok(note) = self.inbox.try_recv() {
            match note {
                Note::Ended {
                    verdict: Some(_), ..
                } => self.backlog.push_back(note),
                note => others.push_back(note),
            }
        }
        self.backlog.append(&mut others);
        self.backlog.pop_front()
    }

    /// Returns the next note that is not in the backlog, or `None` when `due` comes first.
    async fn receive(&mut self, due: Option<Instant>) -> Option<Note> {
        match due {
            // The inbox cannot close: this life holds a sender.
            None => self.inbox.recv().await,
            Some(due) => tokio::time::timeout_at(due, self.inbox.recv())
                .await
                .ok()
                .flatten(),
        }
    }

    /// Carries out a verdict on the child `cause`; returns the end of this supervisor if it has to give up.
    async fn apply(&mut self, verdict: Verdict, cause: ChildId, ended: &Ended) -> Option<Ended> {
        let reason = ended.reason;
        match verdict {
            Verdict::Ignore | Verdict::Forget => {
                if verdict == Verdict::Forget {
                    self.forget(cause);
                } else {
                    self.keep(cause);
                }
                None
            }
            Verdict::Restart {
                stop,
                forget,
                start,
                after,
            } => {
                self.tell_restart(cause, ended, after, &start);
                // A newer order overrules an older one for the same children.
                for pending in &mut self.pending {
                    pending
                        .start
                        .retain(|id| !start.contains(id) && !stop.contains(id));
                }
                // As on the spot: were its start waited for, thousands that end at once would pile up here as notes.
                let is_alone = stop.is_empty() && forget.is_empty() && start == [cause];
                if is_alone
                    && after.is_zero()
                    && self.order() == RUN
                    && self.lead.restart_now(cause, reason)
                {
                    return None;
                }
                for id in stop {
                    self.stop_child(id, false).await;
                }
                for id in forget {
                    self.forget(id);
                }
                for id in &start {
                    let reason = if *id == cause {
                        reason
                    } else {
                        RestartReason::Sibling
                    };
                    if let Some(role) = self.role(*id) {
                        role.mark_restarting(reason);
                        role.announce();
                    }
                }
                // Started by the main loop also when it is due at once, so that others are
                // served between the tries of a child that does not come up.
                self.pending.push(Pending {
                    due: in_future(after),
                    start,
                });
                None
            }
            Verdict::AutoShutdown { .. } => {
                let event = || SupervisionEvent::AutoShutdown {
                    supervisor: self.cell.path.clone(),
                    child: self.path_of(cause),
                };
                self.cell.system.decided(Decision::AutoShutdown, event);
                self.stop_all().await;
                Some(Ended::shutdown())
            }
            Verdict::Escalate { .. } => {
                let last = self.role(cause).map(|role| role.path().clone());
                self.tell_escalation(cause, ended);
                self.cell
                    .system
                    .meters
                    .escalations
                    .fetch_add(1, Ordering::Relaxed);
                // All that are there by now: some may have come since the law was asked.
                self.stop_each(false).await;
                self.let_go();
                let (failure, last_below) = self
                    .lead
                    .with(|book| (book.last_failure.take(), book.last_below.take()));
                Some(Ended {
                    reason: RestartReason::Escalation,
                    failure,
                    last: match reason {
                        RestartReason::Normal => last,
                        RestartReason::Escalation => last_below,
                        _ => None,
                    },
                    ..Ended::shutdown()
                })
            }
        }
    }

    /// Starts the children whose time has come.
    async fn start_pending(&mut self) -> Option<Ended> {
        let now = Instant::now();
        let mut due: Vec<Pending> = Vec::new();
        self.pending.retain_mut(|pending| {
            let is_due = pending.due <= now;
            if is_due {
                due.push(Pending {
                    due: pending.due,
                    start: std::mem::take(&mut pending.start),
                });
            }
            !is_due
        });
        for (n, pending) in due.iter().enumerate() {
            match self.start(&pending.start, StartCause::Restart).await {
                Ok(()) => {}
                Err(NotStarted::Stopping) => return None,
                Err(NotStarted::Failed(id, ended)) => {
                    let verdict = self.lead.with(|book| book.start_failed(id, &ended));
                    // The others that are due wait for the main loop; this order may overrule them.
                    self.pending.extend(due.into_iter().skip(n + 1));
                    return self.apply(verdict, id, &ended).await;
                }
            }
        }
        None
    }

    /// Starts these children in order, each when the one before it is up.
    ///
    /// One that says that there is nothing to run is left down, and the next one is started.
    async fn start(&mut self, ids: &[ChildId], cause: StartCause) -> Result<(), NotStarted> {
        for &id in ids {
            if self.order() != RUN {
                return Err(NotStarted::Stopping);
            }
            let launched = self.lead.with(|book| {
                let child = book.table.get_mut(id.0)?;
                self.lead.await_child(id);
                let role = Arc::clone(&child.role);
                // It may have been retired when it last ended, or is new.
                book.down.remove(role.path());
                self.cell.system.registry.register(Arc::clone(&role));
                let boss = Boss::new(&*role, &self.lead);
                let launched = Arc::clone(&role).launch(boss, cause);
                child.running = NonZeroU64::new(launched.incarnation);
                Some((role, launched))
            });
            let Some((role, launched)) = launched else {
                continue;
            };
            let incarnation = launched.incarnation;
            role.go(launched);
            // What is in the backlog came before it was launched.
            self.await_start(id, incarnation, None).await?;
        }
        Ok(())
    }

    /// Waits for the start of a child that was launched on the spot.
    async fn see_up(&mut self, id: ChildId, incarnation: u64) -> Result<(), StartChildError> {
        self.lead.await_child(id);
        let has_failed = self.failed.iter().position(|(failed, _)| *failed == id);
        let why = if let Some(n) = has_failed {
            let (_, ended) = self.failed.swap_remove(n);
            if ended.is_ignored {
                let ignored = StartChildError::Ignored(self.path_of(id));
                self.leave_down(id);
                return Err(ignored);
            }
            NotStarted::Failed(id, ended)
        } else if !self.is_starting_still(id, incarnation) {
            // It came up meanwhile, or has been stopped since.
            return Ok(());
        } else {
            let path = self.path_of(id);
            // What its start asked for while something else was waited for would wait for that start.
            for note in std::mem::take(&mut self.backlog) {
                if self.is_asked_by_child(id, &note) {
                    self.refuse(note);
                } else {
                    self.backlog.push_back(note);
                }
            }
            // The news may be there already.
            let is_news = |note: &Note| matches!(note, Note::Ended { id: of, incarnation: n, .. } if (*of, *n) == (id, incarnation));
            let there = self.backlog.iter().position(is_news);
            let there = there.and_then(|n| self.backlog.remove(n));
            match self.await_start(id, incarnation, there).await {
                Ok(()) if self.is_up(id) => return Ok(()),
                Ok(()) => return Err(StartChildError::Ignored(path)),
                Err(why) => why,
            }
        };
        Err(self.not_started(id, why))
    }

    /// Whether it is this life of the child that is starting, and not a later one: who came up and failed at once
    /// has been started again on the spot.
    fn is_starting_still(&self, id: ChildId, incarnation: u64) -> bool {
        self.lead.with(|book| {
            book.table.get(id.0).is_some_and(|child| {
                child.running.map(NonZeroU64::get) == Some(incarnation)
                    && child.role.state() == ActorState::Starting
            })
        })
    }

    /// Waits until this life of a child is up, or has said that there is nothing to run; the news may be `there`.
    async fn await_start(
        &mut self,
        id: ChildId,
        incarnation: u64,
        mut there: Option<Note>,
    ) -> Result<(), NotStarted> {
        let this = (id, incarnation);
        loop {
            let note = match there.take() {
                Some(note) => Some(note),
                // The note that says so may have been read before.
                None if self.order() != RUN => Some(Note::Stop),
                None => self.inbox.recv().await,
            };
            match note {
                Some(Note::Started { id, incarnation }) if (id, incarnation) == this => {
                    return Ok(());
                }
                Some(Note::Ended {
                    id,
                    incarnation,
                    ended,
                    ..
                }) if (id, incarnation) == this => {
                    self.lead.with(|book| {
                        if let Some(child) = book.table.get_mut(id.0) {
                            child.running = None;
                        }
                        book.last_failure.clone_from(&ended.failure);
                    });
                    if ended.is_ignored {
                        self.leave_down(id);
                        return Ok(());
                    }
                    return Err(NotStarted::Failed(id, ended));
                }
                Some(Note::Stop) | None => {
                    // A start that hangs must not hold up the stop; one that is over by now has a life to stop.
                    self.stop_child(id, self.order() == DRAIN).await;
                    return Err(NotStarted::Stopping);
                }
                // It must not wait for the end of its own start.
                Some(note) if self.is_asked_by_child(id, &note) => self.refuse(note),
                Some(other) => self.backlog.push_back(other),
            }
        }
    }

    fn is_asked_by_child(&self, id: ChildId, note: &Note) -> bool {
        self.role(id)
            .is_some_and(|role| note.is_asked_by(role.path()))
    }

    /// Whether it is a command from a start that goes on, which would wait for itself.
    fn is_asked_in_a_start(&self, note: &Note) -> bool {
        let asker = note.asker();
        asker.is_some_and(|asker| self.lead.with(|book| book.is_starting(asker)))
    }

    /// Whether it has a life.
    fn is_up(&self, id: ChildId) -> bool {
        self.lead.with(|book| {
            let child = book.table.get(id.0);
            child.is_some_and(|child| child.running.is_some())
        })
    }

    fn path_of(&self, id: ChildId) -> Path {
        self.role(id)
            .map_or_else(|| self.cell.path.clone(), |role| role.path().clone())
    }

    fn role(&self, id: ChildId) -> Option<Arc<dyn Role>> {
        self.lead
            .with(|book| book.table.get(id.0).map(|child| Arc::clone(&child.role)))
    }

    /// Whether a command is to be answered now: those who are stopped must not wait for their own
    /// end, and of a supervisor that stops nobody need wait.
    fn cannot_wait(&self, dying: &BTreeMap<ChildId, Dying>, note: &Note) -> bool {
        let is_command = matches!(note, Note::Order { .. } | Note::Launched { .. });
        let is_dying = || dying.values().any(|d| note.is_asked_by(d.role.path()));
        is_command && (self.order() != RUN || is_dying())
    }

    /// Answers a command that cannot be carried out.
    fn refuse(&self, note: Note) {
        let why = match self.order() {
            RUN => Refusal::WouldDeadlock,
            _ => Refusal::SupervisorStopped,
        };
        note.refuse(why, &self.cell.path);
    }

    /// Ends the role of a child that leaves the tree.
    fn forget(&mut self, id: ChildId) {
        if let Some(role) = self.lead.with(|book| book.remove(id)) {
            let event = || SupervisionEvent::Forgotten {
                supervisor: self.cell.path.clone(),
                child: role.path().clone(),
            };
            self.cell.system.decided(Decision::Forget, event);
            role.retire();
        }
    }

    /// Leaves a child down: it keeps its place, unless it is not to come back.
    fn leave_down(&mut self, id: ChildId) {
        if self.lead.with(|book| book.law.stopped(id)) == Verdict::Forget {
            self.forget(id);
        } else {
            self.keep(id);
        }
    }

    /// Ends the role of a child that stays in its place.
    fn keep(&mut self, id: ChildId) {
        if let Some(role) = self.lead.with(|book| book.keep(id)) {
            let event = || SupervisionEvent::KeptDown {
                supervisor: self.cell.path.clone(),
                child: role.path().clone(),
            };
            self.cell.system.decided(Decision::KeepDown, event);
            role.retire();
        }
    }
}
