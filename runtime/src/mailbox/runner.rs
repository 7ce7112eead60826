//! The steps of whoever runs the life that reads: without a lock while it can, under it where somebody called.

use tokio::time::Instant;

use super::desk::{CONTROL, Desk, KILL, WAITERS};
use super::recent::Timed;
use super::stamps::Stamp;
use super::trim::LONG;
use super::words::{Control, Failed, Left, Next, Overflow};
use super::{Inner, Mailbox, Reader, State, Woken, put, take_by_words};
use crate::core::sync::Ordering;
use crate::tally::Dropped;

impl<E, L: Copy> Mailbox<E, L> {
    /// Begins a run of a life that was made ready; `None` if it was cut off meanwhile.
    ///
    /// If the life `takes` messages, one that came when it was idle is then in `hand`, and in
    /// flight; also says whether it has a stamp.
    ///
    /// # Safety
    /// The caller has been made the runner of the life that owns the desk.
    #[inline(always)]
    pub(crate) unsafe fn enter(
        &self,
        desk: &Desk<E>,
        takes: bool,
        hand: &mut Option<E>,
    ) -> Option<bool> {
        if desk.begin() {
            // SAFETY: the caller is the only runner, and whoever else wants the batch waits for the
            // end of this section.
            let batch = desk.batch.with_mut(|batch| unsafe { &mut *batch });
            debug_assert!(!batch.running, "a life is run by two");
            batch.running = true;
            if takes {
                put(hand, take_by_words(&mut batch.first));
            }
            let is_stamped = hand.is_some() && self.count_taken() as u32 == batch.stamped;
            desk.end();
            return Some(is_stamped);
        }
        self.inner.with(|inner| {
            if !inner.has_desk(desk) {
                return None;
            }
            // SAFETY: this is the runner, and the lock keeps all others from the batch.
            desk.batch
                .with_mut(|batch| unsafe { (*batch).running = true });
            Some(false)
        })
    }

    /// Begins a run of life `incarnation` where being ready is a task of its own, which may be run
    /// without having been made ready; `None` if it is over.
    pub(crate) fn enter_task(&self, incarnation: u64) -> Option<L> {
        self.inner.with(|inner| {
            let Some(Reader { desk, life }) = &inner.reader else {
                return None;
            };
            if inner.incarnation != incarnation {
                return None;
            }
            // SAFETY: the desk lives while it stands there; its task is the only runner, and the
            // lock keeps all others from the batch.
            unsafe { desk.as_ref() }
                .batch
                .with_mut(|batch| unsafe { (*batch).running = true });
            let life = *life;
            inner.state = State::Ready;
            Some(life)
        })
    }

    /// Counts one more message as taken out; returns its number.
    #[inline(always)]
    fn count_taken(&self) -> u64 {
        let number = self.taken.load(Ordering::Relaxed);
        self.taken.store(number + 1, Ordering::Release);
        number
    }

    /// Takes the next message in hand, if there is one, having filled the batch if it was used up; returns whether it
    /// has a stamp.
    ///
    /// # Safety
    /// The caller is the runner and holds the lock.
    #[inline(always)]
    unsafe fn take(&self, inner: &mut Inner<E, L>, desk: &Desk<E>, hand: &mut Option<E>) -> bool {
        // SAFETY: as the caller promises.
        let batch = desk.batch.with_mut(|batch| unsafe { &mut *batch });
        batch.stamped = inner.next_stamp as u32;
        if batch.first.is_some() {
            *hand = batch.first.take();
        } else if !batch.messages.is_empty() {
            *hand = batch.messages.pop_front();
        } else if self.overflow == Overflow::DropOldest {
            // What is queued stays where senders can reach it.
            if inner.queue.len() > LONG {
                self.was_long.store(true, Ordering::Relaxed);
            }
            *hand = inner.queue.pop_front();
        } else if !inner.queue.is_empty() {
            std::mem::swap(&mut batch.messages, &mut inner.queue);
            if batch.messages.len() > LONG {
                self.was_long.store(true, Ordering::Relaxed);
            }
            *hand = batch.messages.pop_front();
        }
        hand.is_some() && self.count_taken() == inner.next_stamp
    }

    /// Ends the run if nothing is left; `false` where it takes [`next`](Self::next).
    ///
    /// # Safety
    /// As [`next_at_once`](Self::next_at_once).
    #[inline(always)]
    pub(crate) unsafe fn rest(&self, desk: &Desk<E>) -> bool {
        self.inner.with(|inner| {
            if !inner.queue.is_empty()
                || desk.attention.load(Ordering::Acquire) != 0
                || !inner.has_desk(desk)
            {
                return false;
            }
            // SAFETY: this is the runner, and the lock keeps all others from the batch.
            let batch = desk.batch.with_mut(|batch| unsafe { &mut *batch });
            if !batch.messages.is_empty() || batch.first.is_some() {
                return false;
            }
            batch.running = false;
            inner.state = State::Idle;
            true
        })
    }

    /// Takes the next message of the batch in hand; returns whether it has a stamp. None is in hand where it takes
    /// [`rest`](Self::rest) or [`next`](Self::next).
    ///
    /// A message that is returned is in flight until [`finish`](Self::finish),
    /// [`fail`](Self::fail) or [`discard`](Self::discard).
    ///
    /// # Safety
    /// Only the one who runs the life that owns the desk calls this.
    #[inline(always)]
    pub(crate) unsafe fn next_at_once(&self, desk: &Desk<E>, hand: &mut Option<E>) -> bool {
        if !desk.begin() {
            return false;
        }
        // SAFETY: the caller is the only runner, and whoever else wants the batch waits for the
        // end of this section.
        let batch = desk.batch.with_mut(|batch| unsafe { &mut *batch });
        put(hand, batch.messages.pop_front());
        let mut is_stamped = false;
        if hand.is_some() {
            is_stamped = self.count_taken() as u32 == batch.stamped;
        }
        desk.end();
        is_stamped
    }

    /// Returns when the message in hand was queued and by whom, and keeps the note that is made of it.
    ///
    /// # Safety
    /// As [`next_at_once`](Self::next_at_once).
    #[cold]
    pub(crate) unsafe fn take_stamp(
        &self,
        desk: &Desk<E>,
        note: impl FnOnce(Instant) -> Timed,
    ) -> Option<Stamp> {
        self.inner.with(|inner| {
            if !inner.has_desk(desk) {
                return None;
            }
            let taken = self.taken.load(Ordering::Relaxed);
            let stamp = inner.pass_stamps(taken);
            if let Some(stamp) = stamp {
                let work = inner.work(self.done.load(Ordering::Relaxed));
                inner.rare().recent.note(work, note(stamp.since));
            }
            let stamped = inner.next_stamp as u32;
            // SAFETY: this is the runner, and the lock keeps all others from the batch.
            desk.batch
                .with_mut(|batch| unsafe { (*batch).stamped = stamped });
            stamp
        })
    }

    /// Takes the next message or word of the control lane, under the lock: the batch is used up, or somebody called for attention.
    ///
    /// # Safety
    /// As [`next_at_once`](Self::next_at_once).
    #[inline(never)]
    pub(crate) unsafe fn next(&self, desk: &Desk<E>, draining: bool) -> Next<E> {
        loop {
            let mut woken = Woken::default();
            // SAFETY: as the caller promises.
            let next = unsafe { self.next_if_any(desk, draining, &mut woken) };
            woken.wake();
            if let Some(next) = next {
                return next;
            }
        }
    }

    /// The same; `None` where nothing is left but those who are to be woken, as they may have more.
    ///
    /// # Safety
    /// As [`next_at_once`](Self::next_at_once).
    unsafe fn next_if_any(
        &self,
        desk: &Desk<E>,
        draining: bool,
        woken: &mut Woken,
    ) -> Option<Next<E>> {
        self.inner.with(|inner| {
            if !inner.has_desk(desk) {
                return Some(Next::Superseded);
            }
            let attention = desk.attention.load(Ordering::Acquire);
            if attention & KILL != 0 {
                return Some(Next::Killed);
            }
            if attention & CONTROL != 0 {
                let rare = inner.rare();
                let word = rare.control.pop_front();
                if rare.control.is_empty() {
                    desk.attention.fetch_and(!CONTROL, Ordering::SeqCst);
                }
                if let Some(word) = word {
                    return Some(Next::Control(word));
                }
            }
            let mut hand = None;
            let mut is_stamped;
            loop {
                // SAFETY: this is the runner, and it holds the lock.
                is_stamped = unsafe { self.take(inner, desk, &mut hand) };
                if attention & WAITERS == 0 {
                    break;
                }
                self.admit(inner, woken);
                // A step without the lock may have taken the last message while a sender, who still
                // saw it, went to stand in line: then the one let in is the next.
                if hand.is_some() || inner.queue.is_empty() {
                    break;
                }
            }
            let Some(message) = hand else {
                debug_assert!(
                    !inner.someone_waits || self.capacity == 0,
                    "the queue is empty and a sender waits"
                );
                if !woken.0.is_empty() {
                    // Those had waited for too long.
                    return None;
                }
                if draining {
                    return Some(Next::Empty);
                }
                desk.stop_running();
                inner.state = State::Idle;
                return Some(Next::Idle);
            };
            Some(Next::Message(message, is_stamped))
        })
    }

    /// Takes the next word of the control lane, and no message.
    pub(crate) fn next_word(&self, desk: &Desk<E>) -> Option<Control> {
        self.inner.with(|inner| {
            if !inner.has_desk(desk) {
                return None;
            }
            let rare = inner.rare();
            let word = rare.control.pop_front();
            if rare.control.is_empty() {
                desk.attention.fetch_and(!CONTROL, Ordering::SeqCst);
            }
            word
        })
    }

    /// Counts the message in flight as handled; `false` if this life was cut off meanwhile.
    ///
    /// # Safety
    /// As [`next_at_once`](Self::next_at_once).
    #[inline(always)]
    pub(crate) unsafe fn finish(&self, desk: &Desk<E>) -> bool {
        if desk.begin() {
            self.count_done();
            desk.end();
            return true;
        }
        self.inner.with(|inner| {
            let is_read = inner.has_desk(desk);
            if is_read {
                self.count_done();
            }
            is_read
        })
    }

    /// Counts the message in flight as failed; `None` if there is none, as when this life was cut off meanwhile.
    ///
    /// It goes back to the front of the queue instead if `again` has a copy of it; that is asked
    /// under the lock, and told whether there is room.
    pub(crate) fn fail(
        &self,
        desk: &Desk<E>,
        again: impl FnOnce(bool) -> Option<E>,
    ) -> Option<Failed> {
        self.inner.with(|inner| {
            if !inner.has_desk(desk) {
                return None;
            }
            if self.keeps {
                // The life takes no other, and what fails has its place before them.
                inner.take_back(desk);
            }
            self.fail_in_flight(inner, again)
        })
    }

    /// Counts the message in flight as lost before its handler began.
    pub(crate) fn discard(&self, desk: &Desk<E>, why: Dropped) {
        self.inner.with(|inner| {
            if inner.has_desk(desk) {
                let work = inner.work(self.done.load(Ordering::Relaxed));
                self.count_done();
                let rare = inner.rare();
                rare.recent.forget(work);
                rare.discarded += 1;
                rare.dropped[why as usize] += 1;
            }
        });
    }

    /// Ends a run whose handler pends.
    ///
    /// With `woken_by_task` a waker of somebody else runs the life again, and a wake that came
    /// meanwhile is its affair.
    pub(crate) fn pend(&self, desk: &Desk<E>, woken_by_task: bool) -> Left {
        let mut woken = Woken::default();
        let left = self.inner.with(|inner| {
            if !inner.has_desk(desk) {
                return Left::Superseded;
            }
            if desk.is_killed() {
                return Left::Killed;
            }
            // It may be long before the next step.
            self.admit(inner, &mut woken);
            desk.stop_running();
            if std::mem::take(&mut inner.woken) && !woken_by_task {
                return Left::Again;
            }
            inner.state = State::Pending;
            Left::Gone
        });
        woken.wake();
        left
    }

    /// Ends a run whose budget is used up: the actor stays ready.
    pub(crate) fn pause(&self, desk: &Desk<E>) -> Left {
        let mut woken = Woken::default();
        let left = self.inner.with(|inner| {
            if !inner.has_desk(desk) {
                return Left::Superseded;
            }
            self.admit(inner, &mut woken);
            desk.stop_running();
            Left::Again
        });
        woken.wake();
        left
    }
}
