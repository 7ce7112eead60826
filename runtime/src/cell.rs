//! An actor's role: what stays of it when it is restarted.

#![allow(unsafe_code)]

use std::any::{Any, type_name};
use std::cell::UnsafeCell;
use std::fmt;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::task::{Context as Task, Poll, RawWaker, RawWakerVTable, Waker};
use std::time::Duration;

use greenroom_supervision::ChildId;
use parking_lot::Mutex;
use tokio::time::Sleep;

use crate::core::once::OnceBox;
use crate::core::prefetch::prefetch;
use crate::core::ready::{Run, Runnable};
use crate::core::statics::AtomicStatic;
use crate::dead_letter::DeadLetterReason;
use crate::driver::Driver;
use crate::entry::{Asked, Back, Offered, Receive};
use crate::envelope::{self, Letter, LetterTable, Parcel, ReplyTo};
use crate::failure::{Cause, During, Failure, ShortType, guarded};
use crate::life::{self, Life, Ran, Turn};
use crate::mailbox::Mailbox;
use crate::mailbox::desk::Desk;
use crate::mailbox::words::{Admission, Control, CutOff, GivenUp, Overflow, Ticket, WhenFull};
use crate::metrics::Group;
use crate::pool::count_messages;
use crate::registry::AnyTopic;
use crate::role::{
    Asker, Boss, Ended, Launched, RestartReason, Role, StateCell, as_actor, asker, wait_for_reply,
};
use crate::shared::Shared;
use crate::simulation::{Moment, Step};
use crate::snapshot::{ActorState, Seen};
use crate::tally::Dropped;
use crate::waits::{DynAsking, Node};
use crate::{Actor, Event, Handler, Message, Path, START_WITHIN, STOP_WITHIN};

/// What stays of an actor when it is restarted; what a message touches stands first.
#[repr(C)]
pub(crate) struct ActorCell<A: Actor> {
    pub(crate) mailbox: Mailbox<Letter<A>, LifePtr<A>>,
    /// What kind of message is, or was last, in hand.
    in_hand: AtomicStatic<LetterTable<A>>,
    pub(crate) system: Arc<Shared>,
    /// If they are not the usual ones.
    terms: Option<Box<Terms>>,
    state: StateCell,
    retired: AtomicBool,
    restarts: AtomicU32,
    pub(crate) path: Path,
    id: ChildId,
    pub(crate) group: Arc<Group>,
    pub(crate) args: A::Args,
    extras: OnceBox<Extras>,
}

/// What few roles have.
#[derive(Default)]
struct Extras {
    /// Where being ready is a task: the waker of the running life's.
    task: Mutex<Option<Waker>>,
    topics: Mutex<Vec<Arc<dyn AnyTopic>>>,
    /// From when it first waits, is waited for, or is seen at work.
    node: OnceLock<Arc<Node>>,
}

/// A life that somebody runs or will run; see the mailbox for who may touch it.
pub(crate) struct LifePtr<A: Actor>(NonNull<Life<A>>);

impl<A: Actor> Clone for LifePtr<A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A: Actor> Copy for LifePtr<A> {}

// SAFETY: a life is `Send`: its actor, context, messages and futures are.
unsafe impl<A: Actor> Send for LifePtr<A> {}

/// What a child spec settles about a role, whatever the actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// The worker that it has to run on.
    pub(crate) worker: Option<u16>,
    pub(crate) start_within: Duration,
    pub(crate) stop_within: Duration,
}

impl Terms {
    pub(crate) const USUAL: Terms = Terms {
        worker: None,
        start_within: START_WITHIN,
        stop_within: STOP_WITHIN,
    };
}

impl<A: Actor> ActorCell<A> {
    pub(crate) fn new(
        (path, id): (Path, ChildId),
        args: A::Args,
        terms: Terms,
        mailbox: (usize, Overflow),
        group: Option<&str>,
        system: Arc<Shared>,
    ) -> Arc<Self> {
        let group = match group {
            // A leading `_` is the runtime's.
            Some(group) if group.starts_with('_') => system.meters.group("_other"),
            Some(group) => system.meters.group(group),
            None => system.meters.group_of::<A>(),
        };
        let capacity = match system.director() {
            Some(director) => director.lock().capacity(path.as_str(), mailbox.0),
            None => mailbox.0,
        };
        Arc::new(ActorCell {
            mailbox: Mailbox::new(capacity, mailbox.1, system.measure_every),
            path,
            id,
            group,
            system,
            args,
            terms: (terms != Terms::USUAL).then(|| Box::new(terms)),
            state: StateCell::new(ActorState::Stopped),
            retired: AtomicBool::new(false),
            restarts: AtomicU32::new(0),
            in_hand: AtomicStatic::empty(),
            extras: OnceBox::new(),
        })
    }

    fn node(&self) -> &Arc<Node> {
        let extras = self.extras();
        extras.node.get_or_init(|| Node::new(self.path.clone()))
    }

    /// The node, if there is one.
    fn known_node(&self) -> Option<&Arc<Node>> {
        self.extras.get()?.node.get()
    }

    fn extras(&self) -> &Extras {
        self.extras.get_or_init(Extras::default)
    }

    pub(crate) fn terms(&self) -> &Terms {
        self.terms.as_deref().unwrap_or(&Terms::USUAL)
    }

    /// The worker that it has to run on.
    #[inline(always)]
    fn worker(&self) -> Option<u16> {
        self.terms.as_ref()?.worker
    }

    pub(crate) fn in_hand(&self) -> Option<&'static LetterTable<A>> {
        self.in_hand.get()
    }

    /// What tells this role from all others while it exists.
    fn identity(&self) -> usize {
        std::ptr::from_ref(self).cast::<()>() as usize
    }

    pub(crate) fn set_state(&self, state: ActorState) {
        self.state.set(state);
    }

    #[inline(always)]
    pub(crate) fn show_in_hand(&self, table: &'static LetterTable<A>) {
        self.in_hand.set(table);
    }

    pub(crate) fn subscribe<E: Event>(self: &Arc<Self>, incarnation: u64)
    where
        A: Handler<E>,
    {
        // Held until the topic is noted, so that the end of the role finds it.
        let mut topics = self.extras().topics.lock();
        // Either this sees that the role has ended, or whoever ends it sees that there are topics to look at.
        fence(Ordering::SeqCst);
        if self.retired.load(Ordering::Acquire) || !self.mailbox.is_read_by(incarnation) {
            return;
        }
        if let Some(director) = self.system.director() {
            let (path, event) = (self.path.as_str(), type_name::<E>());
            if director
                .lock()
                .disturb(&Moment::Subscribe { path, event })
                .is_some()
            {
                return;
            }
        }
        let subscriber = Arc::clone(self) as Arc<dyn Receive<E>>;
        let topic = self
            .system
            .registry
            .subscribe::<E>(&subscriber, self.identity());
        if !topics.iter().any(|t| Arc::ptr_eq(t, &topic)) {
            topics.push(topic);
        }
    }

    pub(crate) fn unsubscribe_all(&self) {
        let extras = self.extras.get();
        let topics = extras.map(|extras| std::mem::take(&mut *extras.topics.lock()));
        for topic in topics.into_iter().flatten() {
            topic.unsubscribe(self.identity());
        }
    }

    pub(crate) fn unsubscribe<E: Event>(&self, incarnation: u64) {
        if self.mailbox.is_read_by(incarnation) {
            self.system.registry.unsubscribe::<E>(self.identity());
        }
    }

    pub(crate) fn control(&self, incarnation: u64, control: Control) {
        if let Some(life) = self.mailbox.control(incarnation, control) {
            self.make_ready(life);
        }
    }

    // ===== what goes wrong =====

    pub(crate) fn fail(&self, incarnation: u64, during: During, cause: Cause) -> Failure {
        let failure = Failure::new(self.path.clone(), incarnation, during, cause);
        self.system.saw(&Step::Failed {
            path: self.path.as_str(),
            incarnation,
            during,
            kind: failure.kind(),
            text: failure.text(),
        });
        failure.report();
        failure
    }

    pub(crate) fn dead_letter(
        &self,
        incarnation: u64,
        message: &'static str,
        reason: DeadLetterReason,
        text: impl fmt::Display,
    ) {
        self.system
            .dead_letters
            .add(&self.path, incarnation, message, reason, text);
    }

    /// Counts a message in hand as lost before its handler began.
    pub(crate) fn discard(
        &self,
        desk: &Desk<Letter<A>>,
        table: &'static LetterTable<A>,
        why: Dropped,
    ) {
        self.mailbox.discard(desk, why);
        // What only time made void is no loss that anybody would look for; what was sent with a limit is.
        if why == Dropped::Expired {
            let incarnation = self.mailbox.reading(false).incarnation;
            let message = (table.message_type)();
            self.dead_letter(
                incarnation,
                message,
                DeadLetterReason::Expired,
                "its time was up before its turn came",
            );
        }
    }

    /// Puts on record that a life was ended in the middle of a message, if it was.
    pub(crate) fn stuck_in(&self, incarnation: u64, desk: &Desk<Letter<A>>) {
        // Asked first: from when on it does not read any more the next one may have its own in hand.
        let in_hand = self.in_hand.get();
        if self.mailbox.fail(desk)
            && let Some(table) = in_hand
        {
            self.report_stuck(incarnation, (table.message_type)());
        }
    }

    fn report_stuck(&self, incarnation: u64, message: &'static str) {
        let failure = self.fail(incarnation, During::Message(message), Cause::Killed);
        let text = failure.text();
        self.dead_letter(incarnation, message, DeadLetterReason::Failed, text);
    }

    /// A message that found no room in a mailbox which loses what does not fit.
    fn overflowed(&self, mut letter: Letter<A>) {
        let table = letter.table();
        let _ = guarded(|| (table.abandon)(&mut letter));
        let _ = guarded(|| drop(letter));
        let incarnation = self.mailbox.reading(false).incarnation;
        let text = "the mailbox was full";
        let message = (table.message_type)();
        self.dead_letter(incarnation, message, DeadLetterReason::Full, text);
    }

    /// After the role has ended its mailbox is not read any more: move what it still counts to the group.
    fn fold_counts(&self) {
        if self.retired.load(Ordering::Acquire) {
            self.group.retire(|| self.mailbox.take_tally());
        }
    }

    // ===== to be run =====

    /// Makes a life run soon; to be called by whoever the mailbox gave it to.
    #[inline]
    fn make_ready(&self, life: LifePtr<A>) {
        if self.has_entries() {
            // SAFETY: a life that is ready is freed by whoever runs it next, and by nobody else.
            self.schedule(unsafe { Runnable::new(life.body()) });
        } else {
            self.wake_task();
        }
    }

    #[cold]
    fn wake_task(&self) {
        if let Some(extras) = self.extras.get()
            && let Some(task) = &*extras.task.lock()
        {
            task.wake_by_ref();
        }
    }

    #[inline]
    fn schedule(&self, ready: Runnable) {
        match &self.system.driver {
            Driver::Pool(pool) if self.worker().is_none() => pool.schedule(ready),
            driver => driver.schedule(ready, self.worker()),
        }
    }

    /// Whether the calling thread may run it while it is inside another run.
    #[inline]
    fn may_run_here(&self) -> bool {
        self.may_run_for(asker())
    }

    #[inline(always)]
    fn may_run_for(&self, asker: Asker) -> bool {
        asker != Asker::Deep && self.worker().is_none() && self.system.is_worker_here()
    }

    /// Whether being ready is an entry in a queue of the driver, not a task of the life.
    fn has_entries(&self) -> bool {
        !matches!(self.system.driver, Driver::Tasks)
    }

    fn dispose(&self, life: LifePtr<A>) -> Boss {
        // SAFETY: the mailbox has let go of it and nobody runs it, so it is the caller's alone.
        let life = unsafe { Box::from_raw(life.0.as_ptr()) };
        let boss = life.boss();
        drop(Life::dispose(life));
        boss
    }

    /// Takes the mailbox from a life; returns whom to tell if nobody runs it.
    fn cut(self: &Arc<Self>, incarnation: u64) -> Option<Boss> {
        let (resting, in_flight) = match self.mailbox.cut_off(incarnation, self.has_entries()) {
            CutOff::Nothing => return None,
            CutOff::Running { in_flight } => (None, in_flight),
            CutOff::Resting { life, in_flight } => (Some(life), in_flight),
        };
        self.system.saw(&Step::Ended {
            path: self.path.as_str(),
            incarnation,
            is_cut_off: true,
        });
        if in_flight && let Some(table) = self.in_hand.get() {
            self.report_stuck(incarnation, (table.message_type)());
        }
        resting.map(|life| self.dispose(life))
    }

    // ===== as a waker =====

    const WAKER: RawWakerVTable = RawWakerVTable::new(
        |cell| {
            // SAFETY: the pointer is to a cell in an `Arc`, and whoever clones a waker has one that is alive.
            unsafe { Arc::increment_strong_count(cell.cast::<Self>()) };
            RawWaker::new(cell, &Self::WAKER)
        },
        |cell| {
            // SAFETY: as above; this one's count goes.
            let cell = unsafe { Arc::from_raw(cell.cast::<Self>()) };
            cell.wake();
        },
        // SAFETY: as above; the count stays.
        |cell| unsafe { (*cell.cast::<Self>()).wake() },
        // SAFETY: as above; this one's count goes.
        |cell| drop(unsafe { Arc::from_raw(cell.cast::<Self>()) }),
    );

    fn wake(&self) {
        if let Some(life) = self.mailbox.wake() {
            self.make_ready(life);
        }
    }
}

/// A life as the queues of a driver hold it: shared, though only its runner looks inside.
#[repr(transparent)]
struct Body<A: Actor>(UnsafeCell<Life<A>>);

// SAFETY: all but the desk, which is made to be shared, is only reached by the one who runs the life.
unsafe impl<A: Actor> Sync for Body<A> {}

impl<A: Actor> LifePtr<A> {
    /// # Safety
    /// The life is alive for as long as the reference is used.
    unsafe fn body<'a>(self) -> &'a Body<A> {
        // SAFETY: as the caller promises; the layouts are the same.
        unsafe { self.0.cast::<Body<A>>().as_ref() }
    }
}

impl<A: Actor> Body<A> {
    /// Runs the life, for the sake of this question if somebody asks on this stack.
    #[inline]
    fn run_for(&self, budget: usize, asked: Option<&DynAsking>) -> bool {
        let Some(life) = NonNull::new(self.0.get()) else {
            return false;
        };
        // SAFETY: this life was made ready, and this is who runs it. It holds a reference to its
        // cell, which outlives it: see `life::end`.
        let (desk, place, takes) = unsafe {
            let place = Arc::as_ptr((*life.as_ptr()).stage.cx.cell());
            let takes = (*life.as_ptr()).takes_messages();
            (&(*life.as_ptr()).desk, place, takes)
        };
        // SAFETY: as above.
        let cell = unsafe { &*place };
        let mut hand = None;
        // SAFETY: as above.
        let Some(is_stamped) = (unsafe { cell.mailbox.enter(desk, takes, &mut hand) }) else {
            // It was cut off meanwhile, and left to this run.
            cell.dispose(LifePtr(life));
            return false;
        };
        // Not of the reference: who clones the waker counts, which is done beside what it refers to.
        let raw = RawWaker::new(place.cast(), &ActorCell::<A>::WAKER);
        // SAFETY: the table is of this type. It is never dropped, so it takes part in no count,
        // and the cell outlives the run.
        let waker = ManuallyDrop::new(unsafe { Waker::from_raw(raw) });
        let mut turn = Turn {
            task: &mut Task::from_waker(&waker),
            budget,
            woken_by_task: false,
            is_asked: asked.is_some(),
        };
        let mut last = None;
        // SAFETY: the mailbox let this run begin.
        let ran = as_actor(cell, asked, || unsafe {
            life::run(cell, life, &mut hand, is_stamped, &mut turn, &mut last)
        });
        count_messages(budget - turn.budget);
        if let Some(last) = last {
            // With it may go what the actor is built from, which is an author's.
            let _ = guarded(|| drop(last));
        }
        ran == Ran::Again
    }
}

impl<A: Actor> Run for Body<A> {
    #[inline]
    fn run(&self, budget: usize) -> bool {
        self.run_for(budget, None)
    }

    #[inline]
    fn prefetch(&self) {
        // SAFETY: the life is alive, and its reference to the cell is only read until it is freed.
        let cell = unsafe { Arc::as_ptr((*self.0.get()).stage.cx.cell()) };
        prefetch(cell, 3);
    }

    fn name(&self) -> (&str, u64) {
        // SAFETY: the life is alive, and its reference to the cell and its number are only read until it is freed.
        unsafe {
            let context = &(*self.0.get()).stage.cx;
            (context.path().as_str(), context.incarnation())
        }
    }

    fn abandon(&self) {
        let Some(life) = NonNull::new(self.0.get()) else {
            return;
        };
        // SAFETY: this life was ready, and is left to this call.
        let context = unsafe { &(*life.as_ptr()).stage.cx };
        let (cell, incarnation) = (Arc::clone(context.cell()), context.incarnation());
        // It may have been cut off before.
        cell.cut(incarnation);
        cell.dispose(LifePtr(life))
            .lost(incarnation, Ended::killed());
    }
}

/// A life as a task of somebody else's runtime.
struct LifeTask<A: Actor> {
    cell: Arc<ActorCell<A>>,
    incarnation: u64,
    is_known: bool,
}

/// How many messages a life handles before it lets other tasks run.
const TASK_BUDGET: usize = 128;

impl<A: Actor> Future for LifeTask<A> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<()> {
        if !self.is_known {
            // A task has one waker, whichever clone of it one has.
            let waker = cx.waker().clone();
            let mut task = self.cell.extras().task.lock();
            // Asked under this lock: the task of a life that was cut off before it ran may come late.
            if self.cell.mailbox.is_read_by(self.incarnation) {
                *task = Some(waker);
            }
            drop(task);
            self.is_known = true;
        }
        let Some(life) = self.cell.mailbox.enter_task(self.incarnation) else {
            return Poll::Ready(());
        };
        let mut turn = Turn {
            task: cx,
            budget: TASK_BUDGET,
            woken_by_task: true,
            is_asked: false,
        };
        // SAFETY: the mailbox let this run begin.
        let ran = as_actor(&*self.cell, None, || unsafe {
            life::run(&self.cell, life.0, &mut None, false, &mut turn, &mut None)
        });
        match ran {
            Ran::Rests => Poll::Pending,
            Ran::Again => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Ran::Over => Poll::Ready(()),
        }
    }
}

impl<A: Actor> Drop for LifeTask<A> {
    /// A task that is cut short, or whose runtime ends, is the end of its life.
    fn drop(&mut self) {
        if let Some(boss) = self.cell.cut(self.incarnation) {
            boss.lost(self.incarnation, Ended::killed());
        }
    }
}

impl<A: Actor> Role for ActorCell<A> {
    fn path(&self) -> &Path {
        &self.path
    }

    fn id(&self) -> ChildId {
        self.id
    }

    fn kind(&self) -> String {
        ShortType(type_name::<A>()).to_string()
    }

    fn launch(self: Arc<Self>, boss: Boss) -> Launched {
        self.retired.store(false, Ordering::Release);
        self.state.set(ActorState::Starting);
        self.group.count_start();
        if let Some(node) = self.known_node() {
            node.clear();
        }
        let incarnation = self.mailbox.next_incarnation();
        let life = Box::new(Life::new(Arc::clone(&self), incarnation, boss));
        let life = NonNull::from(Box::leak(life));
        // SAFETY: the life is freed only after the mailbox has let go of its desk.
        let desk = unsafe { NonNull::from(&(*life.as_ptr()).desk) };
        // SAFETY: as above.
        unsafe { self.mailbox.begin_life(desk, LifePtr(life)) };
        // SAFETY: it is ready, and so freed by whoever runs it next: who has this.
        let ready = unsafe { Runnable::new(LifePtr(life).body()) };
        Launched {
            incarnation,
            ready: self.has_entries().then_some(ready),
        }
    }

    fn go(self: Arc<Self>, launched: Launched) {
        let Some(ready) = launched.ready else {
            self.system.handle.spawn(LifeTask {
                cell: Arc::clone(&self),
                incarnation: launched.incarnation,
                is_known: false,
            });
            return;
        };
        self.schedule(ready);
    }

    fn go_here(self: Arc<Self>, launched: Launched) {
        if let Some(ready) = &launched.ready
            && self.may_run_here()
            && !ready.run(INSIDE_BUDGET)
        {
            return;
        }
        self.go(launched);
    }

    fn stop(&self, incarnation: u64, drain: bool) {
        self.state.set(ActorState::Stopping);
        if drain {
            self.mailbox.close();
        }
        self.control(incarnation, Control::Stop { drain });
    }

    fn kill(&self, incarnation: u64) {
        if let Some(life) = self.mailbox.kill(incarnation) {
            self.make_ready(life);
        }
    }

    fn cut_off(self: Arc<Self>, incarnation: u64) {
        self.cut(incarnation);
    }

    fn retire(&self) {
        self.mailbox.close();
        let incarnation = self.mailbox.reading(false).incarnation;
        for mut letter in self.mailbox.clear() {
            let table = letter.table();
            // Waking who asked is its executor's code, what a message does when it is dropped its author's.
            let _ = guarded(|| (table.abandon)(&mut letter));
            let _ = guarded(|| drop(letter));
            self.dead_letter(
                incarnation,
                (table.message_type)(),
                DeadLetterReason::Stopped,
                "left in the mailbox",
            );
        }
        // From here on nobody subscribes it any more.
        self.retired.store(true, Ordering::Release);
        // See `subscribe`.
        fence(Ordering::SeqCst);
        let extras = self.extras.get();
        self.unsubscribe_all();
        self.state.set(ActorState::Stopped);
        let task = extras.and_then(|extras| extras.task.lock().take());
        drop(task);
        self.fold_counts();
        self.system.registry.unregister(&self.path);
    }

    fn stop_within(&self) -> Option<Duration> {
        Some(self.terms().stop_within)
    }

    fn mark_restarting(&self, reason: RestartReason) {
        self.state.set(ActorState::Restarting);
        self.restarts.fetch_add(1, Ordering::Relaxed);
        self.group.count_restart(reason);
    }

    fn state(&self) -> ActorState {
        self.state.get()
    }

    fn seen(&self, scrape: bool) -> Seen {
        let reading = self.mailbox.reading(scrape);
        let handling = self.in_hand.get().filter(|_| reading.in_flight > 0);
        Seen {
            path: self.path.clone(),
            group: self.group.name.clone(),
            state: self.state.get(),
            incarnation: reading.incarnation,
            restarts: u64::from(self.restarts.load(Ordering::Relaxed)),
            capacity: self.mailbox.capacity(),
            handling: handling.map(|table| (table.message_type)()),
            mailbox: Some(reading),
            is_dynamic: false,
        }
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }

    fn node(&self) -> Option<&Arc<Node>> {
        Some(ActorCell::node(self))
    }

    fn glance(&self) -> (Option<u64>, Option<&Arc<Node>>) {
        (self.mailbox.at_work(), self.known_node())
    }
}

impl<A: Handler<M>, M: Message> Receive<M> for ActorCell<A> {
    fn path(&self) -> &Path {
        &self.path
    }

    #[inline]
    fn tell_at_once(&self, message: M) -> Result<(), M> {
        // Behind the lock of an actor that is not in the cache nothing else would be looked up before it is had.
        prefetch(&raw const self.mailbox, MAILBOX_LINES);
        let ready = envelope::offer_told(&self.mailbox, message)?;
        count_messages(1);
        if let Some(life) = ready {
            self.make_ready(life);
        }
        Ok(())
    }

    #[inline]
    fn ask_at_once(
        &self,
        message: M,
        reply: ReplyTo<M>,
        asking: &DynAsking,
    ) -> Result<Asked, Back<M>> {
        let asker = asker();
        let is_inside = asker != Asker::Outside;
        let runs_here = self.may_run_for(asker);
        // An idle actor waits for nobody, so asking it closes no cycle. Where it cannot be run here
        // it might be met by others before it is known who waits for it.
        let at_once = match (is_inside, runs_here) {
            (true, true) => envelope::offer_asked::<true, A, M, _>(&self.mailbox, message, reply),
            (true, false) => Err((message, reply)),
            (false, _) => envelope::offer_asked::<false, A, M, _>(&self.mailbox, message, reply),
        };
        let (ready, how) = match at_once {
            Ok(ready) => (ready, Asked::Here),
            Err((message, reply)) if is_inside => {
                let ready = self.ask_and_wait(message, reply, asking)?;
                (ready, Asked::Queued)
            }
            Err((message, reply)) => return Err(Back::NoRoom(message, reply)),
        };
        count_messages(1);
        if let Some(life) = ready {
            // SAFETY: a life that is ready is freed by whoever runs it next, which is this call.
            if !runs_here || unsafe { life.body() }.run_for(INSIDE_BUDGET, Some(asking)) {
                self.make_ready(life);
            }
        }
        Ok(match (how, asker) {
            (Asked::Here, Asker::Tired) => Asked::HereTired,
            _ => how,
        })
    }

    fn node(&self) -> &Arc<Node> {
        ActorCell::node(self)
    }

    fn offer(&self, parcel: Parcel<M>, when_full: WhenFull<'_>) -> Offered<M> {
        self.offered(self.mailbox.offer(parcel.into_letter(), when_full))
    }

    fn poll_ticket(&self, ticket: Ticket, waker: &Waker) -> Offered<M> {
        self.offered(self.mailbox.poll_ticket(ticket, waker))
    }

    fn give_up(&self, ticket: Ticket, why: GivenUp) -> Option<Parcel<M>> {
        self.mailbox.give_up(ticket, why).map(Parcel::from_letter)
    }

    fn overflowed(&self, message: M) {
        ActorCell::overflowed(self, Parcel::told(message).into_letter());
    }

    fn lost(&self, message: &M, stopped: bool)
    where
        M: fmt::Debug,
    {
        let reason = if stopped {
            DeadLetterReason::Stopped
        } else {
            DeadLetterReason::Full
        };
        let incarnation = self.mailbox.reading(false).incarnation;
        self.dead_letter(
            incarnation,
            type_name::<M>(),
            reason,
            format_args!("{message:?}"),
        );
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<Sleep>> {
        self.system.sleep(duration)
    }

    fn same_role(&self, role: usize) -> bool {
        self.identity() == role
    }
}

/// How many cache lines of a mailbox are used for a message.
const MAILBOX_LINES: usize = 2;
/// How many messages a callee handles at most on the stack of whoever asked it.
const INSIDE_BUDGET: usize = 16;

impl<A: Actor> ActorCell<A> {
    /// Asks from inside a handler where the answer may take time: nobody may wait for whoever waits for it.
    ///
    /// Returns the life that is to be made ready, if it is.
    #[cold]
    fn ask_and_wait<M: Message>(
        &self,
        message: M,
        reply: ReplyTo<M>,
        asking: &DynAsking,
    ) -> Result<Option<LifePtr<A>>, Back<M>>
    where
        A: Handler<M>,
    {
        if let Err(cycle) = wait_for_reply(ActorCell::node(self), asking) {
            return Err(Back::Cycle(message, cycle));
        }
        envelope::offer_asked::<false, A, M, _>(&self.mailbox, message, reply)
            .map_err(|(message, reply)| Back::NoRoom(message, reply))
    }

    #[cold]
    fn offered<M: Message>(&self, admission: Admission<Letter<A>, LifePtr<A>>) -> Offered<M>
    where
        A: Handler<M>,
    {
        match admission {
            Admission::Accepted { ready } => {
                if let Some(life) = ready {
                    self.make_ready(life);
                }
                Offered::Accepted
            }
            Admission::Replaced(oldest) => {
                self.overflowed(oldest);
                Offered::Accepted
            }
            Admission::Waiting { ticket } => Offered::Waiting(ticket),
            Admission::Full(letter) => Offered::Full(Parcel::from_letter(letter)),
            Admission::Lost(letter) => Offered::Lost(Parcel::from_letter(letter)),
            Admission::Closed(letter) => {
                self.fold_counts();
                Offered::Closed(Parcel::from_letter(letter))
            }
        }
    }
}

#[cfg(all(test, not(greenroom_loom)))]
mod tests {
    use std::convert::Infallible;

    use tokio::sync::mpsc;

    use super::*;
    use crate::book::Lead;
    use crate::{Context, Supervisor, System};

    struct Small;

    impl Actor for Small {
        type Args = ();
        type Error = Infallible;

        async fn start((): (), _: &mut Context<Self>) -> Result<Self, Infallible> {
            Ok(Small)
        }
    }

    /// Whoever adds a field sees here what it costs each actor, and may lower the bounds.
    #[test]
    fn an_idle_actor_is_no_larger_than_it_was() {
        let sizes = [
            ("cell", size_of::<ActorCell<Small>>(), 176),
            ("life", size_of::<Life<Small>>(), 176),
            ("context", size_of::<Context<Small>>(), 64),
        ];
        for (what, size, bound) in sizes {
            assert!(
                size <= bound,
                "a {what} takes {size} bytes, more than {bound}"
            );
        }
    }

    #[tokio::test]
    async fn a_task_that_comes_late_does_not_take_the_wakes_of_the_next_life() {
        let tree = Supervisor::one_for_one("app").child(Small::spec("small", ()));
        let builder = System::builder().in_current_runtime();
        let system = builder.start(tree).await.expect("it starts");
        let role = system.find::<Small>("app/small").expect("it is there");
        let cell = role.cell();
        system.stop().await;
        let (notes, _inbox) = mpsc::unbounded_channel();
        let boss = Boss::new(&*cell, &Lead::above(cell.id, notes));
        let launch = || {
            let launched = Arc::clone(&cell).launch(boss.clone());
            let incarnation = launched.incarnation;
            LifeTask {
                cell: Arc::clone(&cell),
                incarnation,
                is_known: false,
            }
        };
        let wakers = [(), ()].map(|()| Waker::from(Arc::new(Bell)));
        let mut late = launch();
        Arc::clone(&cell).cut_off(late.incarnation);
        let mut next = launch();
        let polls = [(&mut next, &wakers[1]), (&mut late, &wakers[0])];
        let ended = polls.map(|(task, waker)| {
            let polled = Pin::new(task).poll(&mut Task::from_waker(waker));
            polled.is_ready()
        });
        assert_eq!(ended, [false, true]);
        let is_next = |waker: &Waker| waker.will_wake(&wakers[1]);
        assert!(cell.extras().task.lock().as_ref().is_some_and(is_next));
    }

    struct Bell;

    impl std::task::Wake for Bell {
        fn wake(self: Arc<Self>) {}
    }
}
