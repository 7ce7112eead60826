//! One life of an actor, and how it is run: from `Actor::start` to its end, a step at a time.
//!
//! A life is a state machine that whoever has it in hand runs for a while
//! ([`run`]): a worker, a task, or an asker on its own stack. It goes through
//! the phases start, work, stop and tidy, and in each there is at most one
//! future, which borrows the actor and its context. The future lies in a
//! [pooled buffer](crate::core::pooled); where it does not pend, nothing is
//! allocated and nothing waits.

#![allow(unsafe_code)]

use std::any::TypeId;
use std::fmt;
use std::marker::PhantomPinned;
use std::pin::Pin;
use std::ptr::NonNull;
use std::sync::Arc;
use std::task::{Context as Task, Poll};

use greenroom_supervision::Exit;
use tokio::time::{Instant, Sleep};

use crate::book::Lead;
use crate::cell::ActorCell;
use crate::core::pooled::{Pooled, Then};
use crate::envelope::{Begun, Check, Letter, NoReply, event_id, refuse};
use crate::failure::{Cause, During, Failure, FailureKind, Panic, guarded, text_of};
use crate::mailbox::desk::Desk;
use crate::mailbox::recent::Timed;
use crate::mailbox::words::{Control, Failed, Left, Next};
use crate::role::{Boss, Ended, Role, publish_asks};
use crate::simulation::{Moment, Step};
use crate::snapshot::ActorState;
use crate::tally::Dropped;
use crate::{Actor, Context, Down, ExitReason};

mod directed;
mod paused;

use directed::{begin_directed, disturb};

/// What there is of an actor between its start and its end; what a message touches stands first.
#[repr(C)]
pub(crate) struct Life<A: Actor> {
    /// Reached by others too, see [`Desk`]; all else by the runner alone.
    pub(crate) desk: Desk<Letter<A>>,
    /// Borrows the stage, so it stands before it, to be dropped first.
    future: Option<Pooled<Outcome<A::Error>>>,
    phase: Phase,
    draining: bool,
    pub(crate) stage: Stage<A>,
    /// Whom it tells what becomes of it.
    lead: Arc<Lead>,
    /// How the life ends, once that is known.
    ended: Option<Box<Ended>>,
    /// The limit of a start that pends.
    timer: Option<Pin<Box<Sleep>>>,
    /// Others reach the desk, and the future the stage, while the runner has a `&mut Life`: only of
    /// what is not `Unpin` does the compiler not take such a reference for the only one.
    _stays: PhantomPinned,
}

/// What handlers get to see.
#[repr(C)]
pub(crate) struct Stage<A: Actor> {
    pub(crate) cx: Context<A>,
    pub(crate) actor: Option<A>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Start,
    Work,
    Stop,
    Tidy,
    Over,
}

/// How the future of a phase ended, if it did not panic.
pub(crate) enum Outcome<E> {
    Well,
    Failed(E),
    /// The mailbox was taken from this life meanwhile; it has no say any more.
    CutOff,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ran {
    /// There is nothing to do until somebody makes the actor ready.
    Rests,
    /// It is to be run again.
    Again,
    /// The life is over, or was none.
    Over,
}

/// Why the steps of a run came to an end.
enum Stopped {
    Left(Left),
    Over,
}

impl<A: Actor> Life<A> {
    pub(crate) fn new(cell: Arc<ActorCell<A>>, incarnation: u64, boss: Boss) -> Self {
        Life {
            desk: Desk::new(cell.system.now()),
            future: None,
            phase: Phase::Start,
            draining: false,
            ended: None,
            timer: None,
            lead: boss.into_lead(),
            stage: Stage {
                actor: None,
                cx: Context::new(cell, incarnation),
            },
            _stays: PhantomPinned,
        }
    }

    /// Drops a life that nobody runs any more; what panics in it is an author's code.
    pub(crate) fn dispose(mut life: Box<Self>) -> Result<(), Panic> {
        // On its own: were both to panic in one go, that would be the end of the process.
        let future = life.future.take();
        let ended = guarded(|| drop(future));
        guarded(|| drop(life)).and(ended)
    }

    /// Whether its next step is to take a message.
    #[inline(always)]
    pub(crate) fn takes_messages(&self) -> bool {
        self.phase == Phase::Work && self.future.is_none()
    }

    pub(crate) fn boss(&self) -> Boss {
        Boss::new(&**self.stage.cx.cell(), &self.lead)
    }

    /// Where the future of a handler is left that does not end at once.
    ///
    /// # Safety
    /// The life is alive.
    #[inline(always)]
    pub(crate) unsafe fn rest(life: NonNull<Self>) -> NonNull<Option<Pooled<Outcome<A::Error>>>> {
        // SAFETY: as the caller promises; only the address of the field is taken.
        unsafe { NonNull::new_unchecked(&raw mut (*life.as_ptr()).future) }
    }

    /// The handler of the message in hand has failed.
    ///
    /// # Safety
    /// This is the life's only runner, and it has no future.
    #[cold]
    pub(crate) unsafe fn failed_at_once(life: NonNull<Self>, error: A::Error) {
        // SAFETY: as the caller promises.
        unsafe {
            let life = &mut *life.as_ptr();
            let cell = Arc::as_ptr(life.stage.cx.cell());
            // The life keeps the cell, and is still there afterwards.
            life.failed(&*cell, error);
        }
    }
}

/// Who runs a life, and for how long.
pub(crate) struct Turn<'a, 'b> {
    pub(crate) task: &'a mut Task<'b>,
    /// How many messages at most.
    pub(crate) budget: usize,
    /// A waker of somebody else runs the life again when its future is woken.
    pub(crate) woken_by_task: bool,
    /// Somebody asked on this stack, and waits in a frame below.
    pub(crate) is_asked: bool,
}

/// Runs a life until it rests, has used up its budget, or is over.
///
/// # Safety
/// `life` and `hand`, a message that is in flight, are what the mailbox of the
/// cell gave when this run was entered, and so no other thread runs it.
///
/// With the life may go all that holds the cell, whose actor's code runs to the
/// end of this call, as its state is dropped: so that is kept in `last`.
#[inline(always)]
pub(crate) unsafe fn run<A: Actor>(
    cell: &ActorCell<A>,
    life: NonNull<Life<A>>,
    hand: &mut Option<Letter<A>>,
    is_stamped: bool,
    turn: &mut Turn<'_, '_>,
    last: &mut Option<Arc<ActorCell<A>>>,
) -> Ran {
    // SAFETY: as the caller promises.
    match guarded(|| unsafe { steps(cell, life, hand, is_stamped, turn) }) {
        Ok(Stopped::Left(Left::Gone)) => Ran::Rests,
        Ok(Stopped::Left(Left::Again)) => Ran::Again,
        // SAFETY: as the caller promises.
        stopped => unsafe { ends(cell, life, stopped, turn, last) },
    }
}

/// A run that the life, or its handler, will not survive.
///
/// # Safety
/// As [`run`].
#[cold]
#[inline(never)]
unsafe fn ends<A: Actor>(
    cell: &ActorCell<A>,
    life: NonNull<Life<A>>,
    mut stopped: Result<Stopped, Panic>,
    turn: &mut Turn<'_, '_>,
    last: &mut Option<Arc<ActorCell<A>>>,
) -> Ran {
    loop {
        match stopped {
            Ok(Stopped::Left(Left::Gone)) => return Ran::Rests,
            Ok(Stopped::Left(Left::Again)) => return Ran::Again,
            Ok(Stopped::Left(Left::Superseded)) => {
                // SAFETY: the mailbox has let go of it, so it is this run's alone.
                let life = unsafe { Box::from_raw(life.as_ptr()) };
                *last = Some(Arc::clone(life.stage.cx.cell()));
                drop(Life::dispose(life));
                return Ran::Over;
            }
            Ok(Stopped::Left(Left::Killed)) => {
                // SAFETY: as the caller promises.
                unsafe { (*life.as_ptr()).kill(cell) };
            }
            Ok(Stopped::Over) => {}
            Err(panic) => {
                // SAFETY: as the caller promises.
                let goes_on = unsafe { (*life.as_ptr()).panicked(cell, panic) };
                if goes_on {
                    // The next step ends it; or the next message is taken, if what panicked was behind the
                    // end of this one: its answer, dropped, or whoever was woken for it.
                    stopped = guarded(|| {
                        // SAFETY: as the caller promises.
                        unsafe { steps(cell, life, &mut None, false, turn) }
                    });
                    continue;
                }
                // SAFETY: the mailbox has let go of it, so it is this run's alone.
                let life = unsafe { Box::from_raw(life.as_ptr()) };
                *last = Some(Arc::clone(life.stage.cx.cell()));
                drop(Life::dispose(life));
                return Ran::Over;
            }
        }
        // SAFETY: as the caller promises.
        unsafe { end(cell, life, last) };
        return Ran::Over;
    }
}

/// Goes on step by step. A panic in an author's code leaves from anywhere here; what it leaves behind is a life
/// whose phase, future and message in hand say what was going on.
///
/// # Safety
/// As [`run`].
#[inline(always)]
unsafe fn steps<A: Actor>(
    cell: &ActorCell<A>,
    life: NonNull<Life<A>>,
    hand: &mut Option<Letter<A>>,
    is_stamped: bool,
    turn: &mut Turn<'_, '_>,
) -> Stopped {
    loop {
        // SAFETY: as the caller promises.
        let stopped = unsafe {
            if (*life.as_ptr()).takes_messages() {
                work(cell, life, hand, is_stamped, turn)
            } else {
                step(cell, life, turn)
            }
        };
        if let Some(stopped) = stopped {
            return stopped;
        }
    }
}

/// Takes one message after the other in hand, until that is not the next step, or the run ends.
///
/// # Safety
/// As [`run`]; the life takes messages.
#[inline(always)]
unsafe fn work<A: Actor>(
    cell: &ActorCell<A>,
    life: NonNull<Life<A>>,
    hand: &mut Option<Letter<A>>,
    mut is_stamped: bool,
    turn: &mut Turn<'_, '_>,
) -> Option<Stopped> {
    let place = life.as_ptr();
    // SAFETY, for all of this function: `life` is alive and this is its only runner, and while
    // a handler runs nothing but the desk is touched here.
    loop {
        if hand.is_none() {
            // SAFETY: see above.
            unsafe {
                // One that was cut off has no say about its end any more.
                if (*place).stage.cx.stop_requested() && !(*place).desk.is_killed() {
                    (*place).stop_itself(cell);
                    return None;
                }
                if turn.budget == 0 {
                    return Some(Stopped::Left(cell.mailbox.pause(&(*place).desk)));
                }
                is_stamped = cell.mailbox.next_at_once(&(*place).desk, hand);
                if hand.is_none() && !(*place).draining && cell.mailbox.rest(&(*place).desk) {
                    return Some(Stopped::Left(Left::Gone));
                }
            }
        }
        if hand.is_none() {
            // SAFETY: see above.
            let (keeps, incarnation) = unsafe {
                let incarnation = (*place).stage.cx.incarnation();
                ((*place).desk.keeps(), incarnation)
            };
            if keeps {
                cell.drop_copy(incarnation);
            }
            // SAFETY: see above.
            match unsafe { cell.mailbox.next(&(*place).desk, (*place).draining) } {
                Next::Message(letter, has_stamp) => {
                    *hand = Some(letter);
                    is_stamped = has_stamp;
                    if keeps && let Err(panic) = cell.keep_copy(incarnation, hand) {
                        let _ = guarded(|| *hand = None);
                        // SAFETY: see above.
                        unsafe { (*place).fail(cell, Cause::Panic(panic)) };
                        return None;
                    }
                }
                Next::Idle => return Some(Stopped::Left(Left::Gone)),
                Next::Control(control) => {
                    // SAFETY: see above.
                    unsafe { (*place).obey(cell, control) };
                    return None;
                }
                Next::Empty => {
                    // SAFETY: see above.
                    unsafe { (*place).stop(cell, Ended::shutdown()) };
                    return None;
                }
                Next::Killed => return Some(Stopped::Left(Left::Killed)),
                Next::Superseded => return Some(Stopped::Left(Left::Superseded)),
            }
        }
        // SAFETY: see above.
        match unsafe { begin(cell, life, hand, is_stamped, turn) } {
            Begun::Ended => {}
            // SAFETY: see above.
            Begun::Pends => return Some(unsafe { pended(cell, life, turn) }),
            Begun::Failed => return None,
            Begun::CutOff => return Some(Stopped::Left(Left::Superseded)),
        }
    }
}

/// Ends a run whose future pends.
///
/// # Safety
/// As [`run`].
#[inline(never)]
unsafe fn pended<A: Actor>(
    cell: &ActorCell<A>,
    life: NonNull<Life<A>>,
    turn: &mut Turn<'_, '_>,
) -> Stopped {
    if turn.is_asked {
        publish_asks();
    }
    // SAFETY: as the caller promises.
    let desk = unsafe { &(*life.as_ptr()).desk };
    Stopped::Left(cell.mailbox.pend(desk, turn.woken_by_task))
}

/// Does one step other than to take a message: goes on with what pends, or from one phase to the next.
///
/// # Safety
/// As [`run`].
#[inline(never)]
unsafe fn step<A: Actor>(
    cell: &ActorCell<A>,
    life: NonNull<Life<A>>,
    turn: &mut Turn<'_, '_>,
) -> Option<Stopped> {
    let place = life.as_ptr();
    // SAFETY, for all of this function: `life` is alive and this is its only runner. While a
    // future exists it is the only one at the stage; here the other fields are used meanwhile.
    unsafe {
        if let Some(future) = &mut (*place).future {
            let polled = future.poll(turn.task);
            let Poll::Ready(outcome) = polled else {
                if (*place).phase == Phase::Start && (*place).is_late(cell, turn.task) {
                    (*place).future = None;
                    (*place).start_timed_out(cell);
                    return None;
                }
                return Some(pended(cell, life, turn));
            };
            (*place).future = None;
            match outcome {
                Outcome::Well if (*place).phase == Phase::Work => (*place).looks_around(cell),
                Outcome::Well => (*place).completed(cell),
                Outcome::Failed(error) => (*place).failed(cell, error),
                Outcome::CutOff => return Some(Stopped::Left(Left::Superseded)),
            }
            return None;
        }
        match (*place).phase {
            Phase::Work => unreachable!("to take a message is not one of these steps"),
            Phase::Start => {
                if (*place).desk.is_killed() {
                    return Some(Stopped::Left(Left::Killed));
                }
                let Some(args) = cell.args() else {
                    let text = "it was started as a temporary child, which is built once";
                    (*place).fail(cell, Cause::Error(text.to_owned()));
                    return None;
                };
                let incarnation = (*place).incarnation();
                let stage = &mut (*place).stage;
                let actor = &raw mut stage.actor;
                let cx = &mut stage.cx;
                (*place).future = Some(Pooled::new(Started(actor), || A::start(args, cx)));
                if let Some(director) = cell.system.director() {
                    let moment = Moment::Start {
                        path: cell.path.as_str(),
                        incarnation,
                        actor: TypeId::of::<A>(),
                    };
                    let fault = director.lock().disturb(&moment);
                    disturb(cell, life, fault);
                }
            }
            Phase::Stop => {
                let stage = &mut (*place).stage;
                match &mut stage.actor {
                    Some(actor) => {
                        let cx = &mut stage.cx;
                        (*place).future = Some(Pooled::new(Closed, || actor.stop(cx)));
                    }
                    None => (*place).phase = Phase::Tidy,
                }
            }
            Phase::Tidy => {
                let stage = &mut (*place).stage;
                if stage.cx.has_tasks() {
                    let cx = &mut stage.cx;
                    (*place).future = Some(Pooled::new(Closed, || async {
                        cx.end_tasks().await;
                        Ok(())
                    }));
                } else {
                    (*place).phase = Phase::Over;
                }
            }
            Phase::Over => return Some(Stopped::Over),
        }
    }
    None
}

/// Takes a message in hand, and handles it as far as that goes at once.
///
/// # Safety
/// As [`run`]; the life has no future.
#[inline(always)]
unsafe fn begin<A: Actor>(
    cell: &ActorCell<A>,
    life: NonNull<Life<A>>,
    hand: &mut Option<Letter<A>>,
    is_stamped: bool,
    turn: &mut Turn<'_, '_>,
) -> Begun {
    let place = life.as_ptr();
    let Some(letter) = hand else {
        return Begun::Ended;
    };
    let table = letter.table();
    turn.budget -= 1;
    // SAFETY: as the caller promises.
    unsafe {
        cell.show_in_hand(table);
        (*place).stage.cx.begin();
        if is_stamped {
            return begin_timed(cell, life, hand, turn);
        }
        match table.check {
            None => (table.begin)(hand, life, turn.task),
            Some(check) => check_and_begin(cell, life, hand, check, turn),
        }
    }
}

/// The same for one that is timed; in a directed simulation all are, and the director sees them here.
///
/// # Safety
/// As [`begin`].
#[cold]
unsafe fn begin_timed<A: Actor>(
    cell: &ActorCell<A>,
    life: NonNull<Life<A>>,
    hand: &mut Option<Letter<A>>,
    turn: &mut Turn<'_, '_>,
) -> Begun {
    let place = life.as_ptr();
    let Some(table) = hand.as_ref().map(Letter::table) else {
        return Begun::Ended;
    };
    // SAFETY: as the caller promises.
    unsafe {
        let now = Instant::now();
        let note = |queued| {
            let system = &cell.system;
            Timed::new(
                table.message_type,
                system.micros(queued),
                system.micros(now),
            )
        };
        if let Some(stamp) = cell.mailbox.take_stamp(&(*place).desk, note) {
            (*place).stage.cx.begin_timed(stamp.since, now);
            cell.observe(stamp.postmark, hand);
        }
        if let Some(director) = cell.system.director() {
            return begin_directed(cell, life, hand, turn, director);
        }
        match table.check {
            None => (table.begin)(hand, life, turn.task),
            Some(check) => check_and_begin(cell, life, hand, check, turn),
        }
    }
}

/// The same for one that may not be handled any more.
///
/// # Safety
/// As [`begin`].
#[cold]
unsafe fn check_and_begin<A: Actor>(
    cell: &ActorCell<A>,
    life: NonNull<Life<A>>,
    hand: &mut Option<Letter<A>>,
    check: Check<A>,
    turn: &mut Turn<'_, '_>,
) -> Begun {
    let place = life.as_ptr();
    let Some(letter) = hand else {
        return Begun::Ended;
    };
    let table = letter.table();
    // SAFETY: as the caller promises.
    unsafe {
        if let Err(why) = check(letter, (*place).stage.cx.incarnation()) {
            discard(cell, life, hand, why);
            Begun::Ended
        } else {
            (table.begin)(hand, life, turn.task)
        }
    }
}

/// Lets go of a message in hand that may not be handled any more.
///
/// # Safety
/// As [`begin`].
unsafe fn discard<A: Actor>(
    cell: &ActorCell<A>,
    life: NonNull<Life<A>>,
    hand: &mut Option<Letter<A>>,
    why: Dropped,
) {
    let place = life.as_ptr();
    let Some(letter) = hand else {
        return;
    };
    let (table, event_id) = (letter.table(), event_id(letter));
    // SAFETY: as the caller promises.
    unsafe {
        cell.discard(&(*place).desk, table, why, event_id);
        (*place).stage.cx.unbegin();
    }
    // What a message does when it is dropped is its author's code, and no reason to end this life.
    let _ = guarded(|| *hand = None);
}

/// Ends a life: its state is dropped, and then its supervisor hears of it.
///
/// # Safety
/// As [`run`]; the life is gone afterwards.
unsafe fn end<A: Actor>(
    cell: &ActorCell<A>,
    life: NonNull<Life<A>>,
    last: &mut Option<Arc<ActorCell<A>>>,
) {
    // SAFETY: as the caller promises.
    let (incarnation, began, boss, ended, was_reading) = unsafe {
        let life = &mut *life.as_ptr();
        let ended = life
            .ended
            .take()
            .map_or_else(Ended::shutdown, |ended| *ended);
        let was_reading = cell.mailbox.leave(&life.desk);
        let incarnation = life.stage.cx.incarnation();
        (
            incarnation,
            life.desk.began,
            life.boss(),
            ended,
            was_reading,
        )
    };
    // SAFETY: the mailbox has let go of it, so it is this run's alone.
    let life = unsafe { Box::from_raw(life.as_ptr()) };
    *last = Some(Arc::clone(life.stage.cx.cell()));
    // The state of a life that failed is never used again, and may panic when it is dropped.
    if let Err(panic) = Life::dispose(life) {
        let life = (incarnation, Some(began));
        cell.fail(life, None, During::Stop, Cause::Panic(panic));
    }
    if was_reading {
        cell.system.saw(&Step::Ended {
            path: cell.path.as_str(),
            incarnation,
            is_cut_off: false,
        });
        let failed = matches!(ended.exit, Exit::Failed | Exit::Killed);
        cell.let_go(incarnation, failed);
        cell.remember(incarnation, began, failed, &ended);
        cell.fall(incarnation, || ended.exit_reason());
        cell.tell_ended(incarnation, || ended.exit_reason());
        boss.ended(&cell.system, incarnation, ended);
    }
}

impl<A: Actor> Life<A> {
    fn incarnation(&self) -> u64 {
        self.stage.cx.incarnation()
    }

    /// The future of a phase other than work has completed well.
    fn completed(&mut self, cell: &ActorCell<A>) {
        match self.phase {
            Phase::Start => {
                self.timer = None;
                if self.desk.is_killed() {
                    // It never came up, and if it was cut off, what is seen of the role is another life's affair
                    // by now; the next step ends this one.
                    return;
                }
                self.phase = Phase::Work;
                cell.set_state(ActorState::Running);
                cell.system.saw(&Step::Started {
                    path: cell.path.as_str(),
                    incarnation: self.incarnation(),
                });
                cell.tell_started(self.incarnation());
                self.lead.started(cell.id(), self.incarnation());
                self.obey(cell, Control::Pause);
            }
            Phase::Stop => {
                self.phase = Phase::Tidy;
                // Who is stopped has the last word about how it ended.
                if let Some(ended) = self.stage.cx.take_end() {
                    self.ended = Some(Box::new(ended));
                }
            }
            Phase::Tidy | Phase::Work | Phase::Over => self.phase = Phase::Over,
        }
    }

    fn obey(&mut self, cell: &ActorCell<A>, control: Control) {
        match control {
            Control::Stop { drain: false } => self.stop(cell, Ended::shutdown()),
            Control::Stop { drain: true } => self.draining = true,
            // One that is to stop for good does so in order, and has more to do before.
            Control::Pause => {
                if let Some(gate) = cell.gate() {
                    gate.told();
                }
                self.wait_at_gate(cell);
            }
            Control::End if self.draining => {}
            Control::End => self.stop(cell, Ended::normal()),
            Control::Failed(failure) => self.tidy(Ended::failed(failure)),
            Control::Linked(end) if end.is_meant() => self.end_with(cell, &end.down),
            Control::Linked(_) => {}
        }
    }

    /// A life that this one was linked to has ended: it goes the same way.
    fn end_with(&mut self, cell: &ActorCell<A>, down: &Down) {
        match &down.reason {
            ExitReason::Normal => {}
            // It is ending in order, and has more time for that than it would have now.
            ExitReason::Shutdown(_) if self.draining => {}
            ExitReason::Shutdown(why) => self.stop(cell, Ended::shutdown_for(why.clone())),
            ExitReason::Killed => {
                let cause = Cause::Killed(down.to_string());
                let failure = self.report(cell, During::Link, cause);
                self.tidy(Ended {
                    failure: Some(failure),
                    ..Ended::killed()
                });
            }
            ExitReason::Failed(_) | ExitReason::NotRunning => {
                let cause = Cause::Error(down.to_string());
                let failure = self.report(cell, During::Link, cause);
                self.tidy(Ended::failed(failure));
            }
        }
    }

    /// Ends in order, as its own code asked it to.
    #[cold]
    fn stop_itself(&mut self, cell: &ActorCell<A>) {
        if let Some(ended) = self.stage.cx.take_end() {
            self.stop(cell, ended);
        }
    }

    /// Ends in order: `Actor::stop` is called.
    fn stop(&mut self, cell: &ActorCell<A>, ended: Ended) {
        cell.set_state(ActorState::Stopping);
        self.ended = Some(Box::new(ended));
        self.phase = Phase::Stop;
    }

    /// Ends without `Actor::stop`.
    fn tidy(&mut self, ended: Ended) {
        self.ended = Some(Box::new(ended));
        self.phase = Phase::Tidy;
    }

    /// The future of a phase has ended with an error of the author's.
    fn failed(&mut self, cell: &ActorCell<A>, error: A::Error) {
        let cause = error_cause(error);
        self.fail(cell, cause);
    }

    /// Puts a failure on record that is not of a message.
    fn report(&self, cell: &ActorCell<A>, during: During, cause: Cause) -> Failure {
        let life = (self.incarnation(), None);
        cell.fail(life, Some(&self.desk), during, cause)
    }

    fn fail(&mut self, cell: &ActorCell<A>, cause: Cause) {
        let incarnation = self.incarnation();
        match self.phase {
            Phase::Start => {
                self.timer = None;
                let failure = self.report(cell, During::Start, cause);
                self.tidy(Ended::failed(failure));
            }
            Phase::Work => {
                // Before it is asked whether this life still reads: the next one may have its own in hand.
                let Some(table) = cell.in_hand() else {
                    unreachable!("a message that failed was in hand")
                };
                let message = (table.message_type)();
                let during = During::Message(message);
                let failure = Failure::new(cell.path.clone(), incarnation, during, cause);
                let failure = cell.with_report(failure, None, Some(&self.desk));
                let mut last = None;
                let again = |has_room| cell.fail_copy(incarnation, &failure, has_room, &mut last);
                let Some(failed) = cell.mailbox.fail(&self.desk, again) else {
                    // It was cut off, and the failure is on record already: the next step sees it.
                    return;
                };
                self.stage.cx.ended_badly();
                cell.record(&failure);
                let reply = self.stage.cx.take_reply();
                cell.tried(failed, message, failure.clone(), last);
                // Who asked for what is tried again goes on waiting.
                if failed == Failed::GivenUp
                    && let Some(reply) = reply
                {
                    let text = failure.text();
                    let text = match failure.kind() {
                        FailureKind::Panic => format!("it panicked: {text}"),
                        _ => text.to_owned(),
                    };
                    // Waking who asked is its executor's code.
                    let _ = guarded(|| refuse(reply, NoReply::Failed(text)));
                }
                self.tidy(Ended::failed(failure));
            }
            Phase::Stop => {
                let failure = self.report(cell, During::Stop, cause);
                if let Some(ended) = &mut self.ended {
                    ended.fail(failure);
                }
                self.phase = Phase::Tidy;
            }
            Phase::Tidy | Phase::Over => {
                self.report(cell, During::Stop, cause);
                self.phase = Phase::Over;
            }
        }
    }

    /// An author's code panicked in a step; `false` if this life was cut off meanwhile.
    fn panicked(&mut self, cell: &ActorCell<A>, panic: Panic) -> bool {
        // What it had begun is dropped on its own, as that may panic as well.
        if let Some(future) = self.future.take() {
            let _ = guarded(|| drop(future));
        }
        self.fail(cell, Cause::Panic(panic));
        cell.mailbox.is_read_by(self.incarnation())
    }

    /// Whether the start has used up its time.
    fn is_late(&mut self, cell: &ActorCell<A>, task: &mut Task<'_>) -> bool {
        let timer = self
            .timer
            .get_or_insert_with(|| cell.system.sleep(cell.terms().start_within));
        timer.as_mut().poll(task).is_ready()
    }

    fn start_timed_out(&mut self, cell: &ActorCell<A>) {
        let within = cell.terms().start_within;
        let text = format!("did not start within {within:?}; see `Spec::start_within`");
        self.fail(cell, Cause::Error(text));
    }

    /// Ends at once, in the middle of whatever it does.
    fn kill(&mut self, cell: &ActorCell<A>) {
        if let Some(future) = self.future.take() {
            let _ = guarded(|| drop(future));
        }
        let incarnation = self.incarnation();
        let is_starting = self.phase == Phase::Start;
        let ended = if is_starting && cell.is_ignored(incarnation) {
            // By its own hand: see `Context::ignore`.
            Ended::ignored()
        } else if is_starting {
            // Whoever wanted it is to know; it is no news for the log.
            let (path, cause) = (cell.path.clone(), Cause::Killed("was killed".to_owned()));
            let failure = Failure::new(path, incarnation, During::Start, cause);
            Ended {
                failure: Some(failure),
                ..Ended::killed()
            }
        } else {
            cell.stuck_in(incarnation, &self.desk);
            Ended::killed()
        };
        self.ended = Some(Box::new(ended));
        self.phase = Phase::Over;
    }
}

/// Takes the text of an author's error, and drops it where it can do no harm.
fn error_cause(error: impl fmt::Display) -> Cause {
    let text = text_of(&error);
    let _ = guarded(|| drop(error));
    Cause::Error(text)
}

/// What follows `Actor::start`: its result goes onto the stage.
struct Started<A>(*mut Option<A>);

// SAFETY: the pointer is to the stage of the life that this belongs to, whose actor is `Send`.
unsafe impl<A: Send> Send for Started<A> {}

impl<A: Actor> Then<Result<A, A::Error>> for Started<A> {
    type Result = Outcome<A::Error>;

    fn then(self, result: Result<A, A::Error>) -> Self::Result {
        match result {
            Ok(actor) => {
                // SAFETY: the stage outlives the future, which has ended.
                unsafe { *self.0 = Some(actor) };
                Outcome::Well
            }
            Err(error) => Outcome::Failed(error),
        }
    }
}

/// What follows `Actor::stop`, and the end of what went on beside the handlers.
struct Closed;

impl<E> Then<Result<(), E>> for Closed {
    type Result = Outcome<E>;

    fn then(self, result: Result<(), E>) -> Outcome<E> {
        match result {
            Ok(()) => Outcome::Well,
            Err(error) => Outcome::Failed(error),
        }
    }
}
