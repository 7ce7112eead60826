//! An actor's role: what stays of it when it is restarted.
//!
//! Beside it: the role as senders have it ([`receive`]), as its supervisor has it ([`role`]), as those have it who
//! [watch](watched) it, and how its lives are [`run`].

#![allow(unsafe_code)]

use std::any::type_name;
use std::fmt;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::task::{RawWaker, RawWakerVTable, Waker};
use std::time::Duration;

use greenroom_supervision::ChildId;
use parking_lot::Mutex;
use tracing::level_filters::LevelFilter;

use crate::causes::Origin;
use crate::core::gift::{Gift, Whose};
use crate::core::once::OnceBox;
use crate::core::ready::Runnable;
use crate::core::statics::AtomicStatic;
use crate::dead_letter::{Dead, DeadLetterReason};
use crate::driver::Driver;
use crate::entry::Receive;
use crate::envelope::{Letter, LetterTable};
use crate::failure::{Cause, During, Failure, guarded};
use crate::fencing;
use crate::holdings::Holdings;
use crate::life::Life;
use crate::mailbox::Mailbox;
use crate::mailbox::desk::Desk;
use crate::mailbox::words::{Control, CutOff, Failed};
use crate::metrics::Group;
use crate::pause::Gate;
use crate::postmark::{Postmark, Sender};
use crate::registry::AnyTopic;
use crate::role::{Asker, Boss, CauseCell, Ended, StateCell, asker, current_actor};
use crate::shared::Shared;
use crate::simulation::{Moment, Step};
use crate::snapshot::ActorState;
use crate::tally::Dropped;
use crate::waits::Node;
use crate::watchers::Watchers;
use crate::{
    Actor, DropReason, Event, EventId, ExitReason, Handler, Path, START_WITHIN, STOP_WITHIN,
    Subscription, SupervisionEvent,
};

mod crash;
mod receive;
mod retry;
mod role;
mod run;
#[cfg(all(test, not(any(greenroom_loom, greenroom_shuttle))))]
mod tests;
mod watched;

use retry::Care;
pub(crate) use retry::{Intake, Retry};

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
    /// Whose `args` are.
    whose: Whose,
    /// Why the latest life was begun.
    cause: CauseCell,
    restarts: AtomicU32,
    pub(crate) path: Path,
    id: ChildId,
    pub(crate) group: Arc<Group>,
    /// What lives are built from; who has one life only keeps none of it.
    args: Gift<A::Args>,
    apart: OnceBox<Apart<A>>,
}

/// What is not in the cell itself, since it is empty where being ready is no task and nothing is extra.
struct Apart<A: Actor> {
    /// Where being ready is a task: the waker of the running life's.
    task: Mutex<Option<Waker>>,
    extras: OnceBox<Extras<A>>,
}

impl<A: Actor> Default for Apart<A> {
    fn default() -> Self {
        Apart {
            task: Mutex::default(),
            extras: OnceBox::new(),
        }
    }
}

/// Adds a topic unless it is there.
fn note(topics: &mut Vec<Arc<dyn AnyTopic>>, topic: Arc<dyn AnyTopic>) {
    if !topics.iter().any(|t| Arc::ptr_eq(t, &topic)) {
        topics.push(topic);
    }
}

/// What few roles have.
struct Extras<A: Actor> {
    topics: Mutex<Vec<Arc<dyn AnyTopic>>>,
    watchers: OnceBox<Watchers>,
    holdings: Mutex<Holdings>,
    /// From when it first waits, is waited for, or is seen at work.
    node: OnceLock<Arc<Node>>,
    /// The latest life whose start said that there is nothing to run.
    ignored: AtomicU64,
    /// Where it waits while it is paused; most never are.
    gate: OnceLock<Arc<Gate>>,
    /// Another time to stop in than that of its spec.
    stop_within: Mutex<Option<Duration>>,
    /// Of its messages when it fails.
    care: Option<Care<A>>,
    /// Where the message comes from that is, or was last, in hand, if its letter can tell.
    origin: Mutex<Option<Origin>>,
}

impl<A: Actor> Default for Extras<A> {
    fn default() -> Self {
        Extras {
            topics: Mutex::default(),
            watchers: OnceBox::new(),
            holdings: Mutex::default(),
            gate: OnceLock::new(),
            node: OnceLock::new(),
            ignored: AtomicU64::new(0),
            stop_within: Mutex::default(),
            care: None,
            origin: Mutex::default(),
        }
    }
}

/// How many messages a callee handles at most on the stack of whoever asked it.
const INSIDE_BUDGET: usize = 16;

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
        (args, whose): (A::Args, Whose),
        terms: Terms,
        intake: Intake<A>,
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
            Some(director) => director.lock().capacity(path.as_str(), intake.capacity),
            None => intake.capacity,
        };
        let mut mailbox = Mailbox::new(capacity, intake.overflow, system.measure_every);
        if !intake.retries.is_empty() {
            mailbox = mailbox.keeping();
        }
        let apart: OnceBox<Apart<A>> = OnceBox::new();
        let care = Care::new(intake.retries, intake.queued_asks);
        if care.is_some() {
            let extras = || Extras {
                care,
                ..Extras::default()
            };
            apart.get_or_init(Apart::default).extras.get_or_init(extras);
        }
        Arc::new(ActorCell {
            mailbox,
            path,
            id,
            group,
            system,
            args: Gift::new(args),
            whose,
            terms: (terms != Terms::USUAL).then(|| Box::new(terms)),
            cause: CauseCell::new(),
            state: StateCell::new(ActorState::Stopped),
            retired: AtomicBool::new(false),
            restarts: AtomicU32::new(0),
            in_hand: AtomicStatic::empty(),
            apart,
        })
    }

    fn node(&self) -> &Arc<Node> {
        let extras = self.extras();
        extras.node.get_or_init(|| Node::new(self.path.clone()))
    }

    /// The node, if there is one.
    fn known_node(&self) -> Option<&Arc<Node>> {
        self.known_extras()?.node.get()
    }

    /// What the next life is built from; `None` if there was to be one life only, and it has it.
    pub(crate) fn args(&self) -> Option<A::Args> {
        // SAFETY: they are ended where the cell is dropped, and `whose` is theirs.
        unsafe { self.args.get(&self.whose) }
    }

    fn extras(&self) -> &Extras<A> {
        let apart = self.apart.get_or_init(Apart::default);
        apart.extras.get_or_init(Extras::default)
    }

    /// The extras, if there are any.
    fn known_extras(&self) -> Option<&Extras<A>> {
        self.apart.get()?.extras.get()
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
    pub(crate) fn identity(&self) -> usize {
        std::ptr::from_ref(self).cast::<()>() as usize
    }

    pub(crate) fn set_state(&self, state: ActorState) {
        self.state.set(state);
    }

    #[inline(always)]
    pub(crate) fn show_in_hand(&self, table: &'static LetterTable<A>) {
        self.in_hand.set(table);
    }

    /// A message is taken in hand whose letter can tell where it comes from.
    pub(crate) fn receive(&self, origin: Option<Origin>) {
        if origin.is_some() {
            *self.extras().origin.lock() = origin;
        } else if let Some(extras) = self.known_extras() {
            extras.origin.lock().take();
        }
    }

    /// Where the message comes from that is, or was last, in hand.
    pub(crate) fn origin_of_last(&self) -> Option<Origin> {
        // Most letters cannot tell, and change nothing here.
        self.in_hand()?.origin?;
        self.known_extras()?.origin.lock().clone()
    }

    /// The same of one that is.
    pub(crate) fn origin_in_hand(&self) -> Option<Origin> {
        match self.mailbox.has_in_hand() {
            true => self.origin_of_last(),
            false => None,
        }
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
        if self.is_kept_from::<E>() {
            return;
        }
        let subscriber = Arc::clone(self) as Arc<dyn Receive<E>>;
        let topic = self
            .system
            .registry
            .subscribe::<E>(&subscriber, self.identity());
        note(&mut topics, topic);
    }

    /// Subscribes with terms; `false` where this life may not.
    pub(crate) fn subscribe_with<E: Event>(
        self: &Arc<Self>,
        incarnation: u64,
        terms: Subscription<E>,
    ) -> bool
    where
        A: Handler<E>,
    {
        let mut topics = self.extras().topics.lock();
        // As in `subscribe`.
        fence(Ordering::SeqCst);
        if self.retired.load(Ordering::Acquire) || !self.mailbox.is_read_by(incarnation) {
            return false;
        }
        if self.is_kept_from::<E>() {
            return true;
        }
        let subscriber = Arc::clone(self) as Arc<dyn Receive<E>>;
        let registry = &self.system.registry;
        let whose = (self.identity(), incarnation);
        let (topic, subscribed) = registry.subscribe_with(terms, &subscriber, whose);
        note(&mut topics, topic);
        drop(topics);
        subscribed.finish();
        true
    }

    /// Whether whoever directs the simulation lets nobody subscribe to this.
    fn is_kept_from<E: Event>(&self) -> bool {
        let Some(director) = self.system.director() else {
            return false;
        };
        let (path, event) = (self.path.as_str(), type_name::<E>());
        let moment = Moment::Subscribe { path, event };
        director.lock().disturb(&moment).is_some()
    }

    pub(crate) fn unsubscribe_all(&self) {
        let extras = self.known_extras();
        let topics = extras.map(|extras| std::mem::take(&mut *extras.topics.lock()));
        let why = match self.retired.load(Ordering::Acquire) {
            true => DropReason::Stopped,
            false => DropReason::Unsubscribed,
        };
        for topic in topics.into_iter().flatten() {
            topic.unsubscribe_all(self.identity(), why);
        }
    }

    /// Ends the subscription of this name, if this life may.
    pub(crate) fn unsubscribe_from<E: Event>(&self, incarnation: u64, name: &str) {
        let Some(extras) = self.known_extras() else {
            return;
        };
        // Held so that a life that is cut off meanwhile takes nothing from the next one: that subscribes behind it.
        let topics = extras.topics.lock();
        if !self.mailbox.is_read_by(incarnation) {
            return;
        }
        let registry = &self.system.registry;
        let ended = registry.unsubscribe_from::<E>(self.identity(), name);
        drop(topics);
        if let Some(ended) = ended {
            ended.finish();
        }
    }

    pub(crate) fn unsubscribe<E: Event>(&self, incarnation: u64) {
        let Some(extras) = self.known_extras() else {
            return;
        };
        // As in `unsubscribe_from`.
        let topics = extras.topics.lock();
        if !self.mailbox.is_read_by(incarnation) {
            return;
        }
        let left = self.system.registry.unsubscribe::<E>(self.identity());
        drop(topics);
        drop(left);
    }

    /// Calls `f` with what the role holds in tables of names, if this life may act for it; under a lock of the role's.
    pub(crate) fn with_holdings<T>(
        &self,
        incarnation: u64,
        f: impl FnOnce(&mut Holdings) -> T,
    ) -> Option<T> {
        let mut holdings = self.extras().holdings.lock();
        // As in `subscribe`.
        fence(Ordering::SeqCst);
        let may_act = !self.retired.load(Ordering::Acquire) && self.mailbox.is_read_by(incarnation);
        may_act.then(|| f(&mut holdings))
    }

    /// Gives up all names, places in groups and monitors of these.
    pub(crate) fn release_holdings(&self) {
        let extras = self.known_extras();
        let holdings = extras.map(|extras| std::mem::take(&mut *extras.holdings.lock()));
        for holding in holdings.into_iter().flatten() {
            // It may drop what authors have made.
            let _ = guarded(|| holding.release());
        }
    }

    pub(crate) fn control(&self, incarnation: u64, control: Control) {
        if let Some(life) = self.mailbox.control(incarnation, control) {
            self.make_ready(life);
        }
        if let Some(gate) = self.gate() {
            gate.call();
        }
    }

    /// Where it waits while it is paused, if it ever was.
    pub(crate) fn gate(&self) -> Option<&Arc<Gate>> {
        self.known_extras()?.gate.get()
    }

    pub(crate) fn pause(&self) {
        let gate = self.extras().gate.get_or_init(Arc::default);
        let was_open = gate.close();
        if gate.is_to_be_told() {
            self.control(self.mailbox.reading(false).incarnation, Control::Pause);
        }
        if was_open {
            self.system
                .tell(LevelFilter::INFO, || SupervisionEvent::Paused {
                    supervisor: self.path.parent(),
                    child: self.path.clone(),
                    by: current_actor(),
                });
        }
    }

    pub(crate) fn resume(&self) {
        if self.gate().is_some_and(|gate| gate.open()) {
            self.system
                .tell(LevelFilter::INFO, || SupervisionEvent::Resumed {
                    supervisor: self.path.parent(),
                    child: self.path.clone(),
                    by: current_actor(),
                });
        }
    }

    /// The start of this life says that there is nothing to run: it ends where it next pends.
    pub(crate) fn ignore(&self, incarnation: u64) {
        let extras = self.extras();
        extras.ignored.store(incarnation, Ordering::Relaxed);
        // It is running, so there is nobody to be made ready.
        if let Some(life) = self.mailbox.kill(incarnation) {
            self.make_ready(life);
        }
    }

    pub(crate) fn is_ignored(&self, incarnation: u64) -> bool {
        let extras = self.known_extras();
        extras.is_some_and(|extras| extras.ignored.load(Ordering::Relaxed) == incarnation)
    }

    // ===== what goes wrong =====

    /// Lets a failure be seen.
    pub(crate) fn record(&self, failure: &Failure) {
        self.system.saw(&Step::Failed {
            path: self.path.as_str(),
            incarnation: failure.incarnation(),
            during: failure.during(),
            kind: failure.kind(),
            text: failure.text(),
        });
        failure.log();
    }

    /// A life is up: for whoever subscribed, and for the log.
    pub(crate) fn tell_started(&self, incarnation: u64) {
        let cause = self.cause.get();
        let event = || SupervisionEvent::Started {
            supervisor: self.path.parent(),
            child: self.path.clone(),
            incarnation,
            cause,
        };
        self.system.tell(cause.level(), event);
    }

    /// The same of a life that is over.
    pub(crate) fn tell_ended(&self, incarnation: u64, reason: impl FnOnce() -> ExitReason) {
        let event = || SupervisionEvent::Ended {
            supervisor: self.path.parent(),
            child: self.path.clone(),
            incarnation,
            reason: reason(),
        };
        self.system.tell(LevelFilter::DEBUG, event);
    }

    pub(crate) fn dead_letter(
        &self,
        incarnation: u64,
        message: &'static str,
        reason: DeadLetterReason,
        text: impl fmt::Display,
        event_id: Option<EventId>,
    ) {
        let dead = Dead {
            event_id,
            ..Dead::default()
        };
        self.system
            .dead_letters
            .add((&self.path, incarnation), message, reason, text, dead);
    }

    /// Counts a message in hand as lost before its handler began.
    pub(crate) fn discard(
        &self,
        desk: &Desk<Letter<A>>,
        table: &'static LetterTable<A>,
        why: Dropped,
        event_id: Option<EventId>,
    ) {
        self.mailbox.discard(desk, why);
        // What only time made void is no loss that anybody would look for; what was sent with a limit is.
        if why == Dropped::Expired {
            let incoming = &self.group.incoming;
            incoming.lost(Sender::Unknown, table.of(), false);
            let incarnation = self.mailbox.reading(false).incarnation;
            let message = (table.message_type)();
            self.dead_letter(
                incarnation,
                message,
                DeadLetterReason::Expired,
                "its time was up before its turn came",
                event_id,
            );
        }
    }

    /// Puts on record that a life was ended in the middle of a message, if it was.
    pub(crate) fn stuck_in(&self, incarnation: u64, desk: &Desk<Letter<A>>) {
        // Asked first: from when on it does not read any more the next one may have its own in hand.
        let Some(table) = self.in_hand.get() else {
            return;
        };
        let stuck = self.with_report(self.killed(incarnation, table), None, Some(desk));
        let mut last = None;
        let again = |has_room| self.fail_copy(incarnation, &stuck, has_room, &mut last);
        if let Some(failed) = self.mailbox.fail(desk, again) {
            self.report_stuck(failed, stuck, last);
        }
    }

    /// The failure of a life that is ended in the middle of a message.
    fn killed(&self, incarnation: u64, table: &'static LetterTable<A>) -> Failure {
        let why = match self.state.get() {
            ActorState::Stopping => "did not stop within its deadline",
            _ => "was killed",
        };
        let cause = Cause::Killed(why.to_owned());
        let during = During::Message((table.message_type)());
        Failure::new(self.path.clone(), incarnation, during, cause)
    }

    fn report_stuck(&self, failed: Failed, stuck: Failure, last: Option<Letter<A>>) {
        self.record(&stuck);
        if let During::Message(message) = stuck.during() {
            self.tried(failed, message, stuck, last);
        }
    }

    /// Counts a message that was timed for the flow graph.
    pub(crate) fn observe(&self, postmark: Postmark, hand: &mut Option<Letter<A>>) {
        let system = &self.system;
        let sender = postmark.sender(system.meters.system);
        let (Some(from), Some(letter)) = (sender, hand) else {
            return;
        };
        let table = letter.table();
        let is_asked = (table.is_asked)(letter);
        let incoming = &self.group.incoming;
        incoming.came(from, table.of(), is_asked, postmark.is_first());
    }

    /// The same for one that is lost; of one that was queued it is not known any more who sent it.
    fn observe_loss(&self, from: Sender, letter: &mut Letter<A>) {
        let table = letter.table();
        let is_asked = (table.is_asked)(letter);
        self.group.incoming.lost(from, table.of(), is_asked);
    }

    /// A message that was queued in a mailbox which loses the oldest.
    fn replaced(&self, mut oldest: Letter<A>) {
        self.observe_loss(Sender::Unknown, &mut oldest);
        self.overflowed(oldest);
    }

    /// A message that found no room in a mailbox which loses what does not fit.
    fn overflowed(&self, letter: Letter<A>) {
        let incarnation = self.mailbox.reading(false).incarnation;
        let text = "the mailbox was full";
        self.bury(incarnation, letter, DeadLetterReason::Full, text);
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
        if let Some(apart) = self.apart.get()
            && let Some(task) = &*apart.task.lock()
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
        let began = self.mailbox.began(incarnation)?;
        let in_hand = self.in_hand.get();
        let stuck = in_hand.map(|table| self.killed(incarnation, table));
        // What it has in hand is forgotten with it.
        let seen = stuck.as_ref().and_then(|_| self.look(incarnation, None));
        let mut last = None;
        let again = |has_room| self.fail_copy(incarnation, stuck.as_ref()?, has_room, &mut last);
        // Before it is known whether somebody runs it: afterwards that run may be over.
        fencing::add(self.identity(), incarnation);
        let cut_off = self.mailbox.cut_off(incarnation, self.has_entries(), again);
        match cut_off {
            CutOff::Running { .. } => self.system.free_blocked(),
            _ => fencing::ran(self.identity(), incarnation),
        }
        let (resting, in_flight) = match cut_off {
            CutOff::Nothing => return None,
            CutOff::Running { in_flight } => (None, in_flight),
            CutOff::Resting { life, in_flight } => (Some(life), in_flight),
        };
        self.system.saw(&Step::Ended {
            path: self.path.as_str(),
            incarnation,
            is_cut_off: true,
        });
        self.remember(incarnation, began, true, &Ended::killed());
        self.tell_ended(incarnation, || ExitReason::Killed);
        if let (Some(failed), Some(stuck)) = (in_flight, stuck) {
            let stuck = match seen {
                Some(mut seen) => {
                    self.look_again(&mut seen);
                    self.reported(stuck, Some(began), seen)
                }
                None => stuck,
            };
            self.report_stuck(failed, stuck, last);
        }
        self.let_go(incarnation, true);
        self.fall(incarnation, || ExitReason::Killed);
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

impl<A: Actor> Drop for ActorCell<A> {
    fn drop(&mut self) {
        // SAFETY: `whose` is theirs, and nobody asks for them any more.
        unsafe { self.args.end(&mut self.whose) };
    }
}
