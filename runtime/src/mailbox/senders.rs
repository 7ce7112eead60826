//! How a message comes in: at once, in line, or not at all.

use std::task::Waker;

use super::desk::WAITERS;
use super::words::{Admission, GivenUp, Overflow, Ticket, WhenFull};
use super::{Mailbox, State, Waiting, Woken, put};
use crate::clock;
use crate::postmark::Postmark;
use crate::tally::{Dropped, Rejected};

impl<E, L: Copy> Mailbox<E, L> {
    /// Queues a message if there is room for it; returns the life that is to be made ready, if it is.
    ///
    /// It is made of its parts in its place in the queue: moving it there costs more than all the
    /// rest. `make` runs under the lock, and so only puts together what is there.
    ///
    /// With `ONLY_IDLE` it is queued only where the actor has nothing else to do.
    ///
    /// # Errors
    /// Gives the parts back where it takes [`offer`](Self::offer) to say what becomes of the message.
    #[inline(always)]
    pub(crate) fn offer_at_once<const ONLY_IDLE: bool, T>(
        &self,
        parts: T,
        make: impl FnOnce(T) -> E,
    ) -> Result<Option<L>, T> {
        let tick = clock::tick();
        self.inner.with(|inner| {
            if ONLY_IDLE && inner.state != State::Idle {
                return Err(parts);
            }
            if !inner.open || inner.someone_waits || !self.has_room(inner) {
                return Err(parts);
            }
            let number = inner.enqueued;
            if self.is_timed(inner, number, tick) {
                inner.stamp_here(number, tick);
            }
            inner.enqueued = number + 1;
            if inner.state == State::Idle && self.overflow != Overflow::DropOldest {
                inner.state = State::Ready;
                return Ok(inner.reader.as_ref().map(|reader| {
                    // SAFETY: the desk lives while it stands there, nobody runs an idle life, and
                    // all others that reach its batch hold this lock.
                    let batch = unsafe { &mut *reader.desk.as_ref().batch.with_mut(|batch| batch) };
                    batch.stamped = inner.next_stamp as u32;
                    put(&mut batch.first, Some(make(parts)));
                    reader.life
                }));
            }
            inner.queue.push_back(make(parts));
            Ok(inner.make_ready())
        })
    }

    /// Offers a message, whatever the mailbox is at.
    #[cold]
    pub(crate) fn offer(&self, message: E, when_full: WhenFull<'_>) -> Admission<E, L> {
        // Cloning a waker is its executor's code: not under the lock.
        let waker = match when_full {
            WhenFull::Line(waker, _) => Some(waker.clone()),
            WhenFull::Wait(waker)
            | WhenFull::WaitOrLose(waker)
            | WhenFull::WaitOrRefuse(waker)
            | WhenFull::WaitOrDrop(waker)
                if self.overflow == Overflow::Wait =>
            {
                Some(waker.clone())
            }
            _ => None,
        };
        let postmark = || match when_full {
            WhenFull::WaitOrLose(_) => Postmark::OWN,
            _ => Postmark::here(),
        };
        let mut woken = Woken::default();
        let admission = self.inner.with(|inner| {
            if !inner.open {
                let is_loss = matches!(
                    when_full,
                    WhenFull::Drop | WhenFull::WaitOrDrop(_) | WhenFull::Line(..)
                );
                inner.turn_away(is_loss, Dropped::Stopped, Rejected::Stopped);
                return Admission::Closed(message);
            }
            self.admit(inner, &mut woken);
            if matches!(when_full, WhenFull::WaitOrRefuse(_)) && inner.refuses_questions() {
                inner.turn_away(false, Dropped::Stopped, Rejected::Restarting);
                return Admission::Restarting(message);
            }
            if self.has_room(inner) {
                self.push(inner, message, clock::tick(), postmark);
                let ready = inner.make_ready();
                return Admission::Accepted { ready };
            }
            if self.overflow == Overflow::DropOldest
                && !matches!(when_full, WhenFull::WaitOrRefuse(_) | WhenFull::Line(..))
                && let Some(oldest) = inner.queue.pop_front()
            {
                // Every step of the reader is under this lock, so the counts are ours.
                self.remove_front(inner, 1);
                inner.rare().dropped[Dropped::Full as usize] += 1;
                self.push(inner, message, clock::tick(), postmark);
                return Admission::Replaced(oldest);
            }
            if let Some(waker) = waker {
                let rare = inner.rare();
                let ticket = Ticket(rare.next_ticket);
                rare.next_ticket += 1;
                let postmark = postmark();
                let until = match when_full {
                    WhenFull::Line(_, until) => until,
                    _ => None,
                };
                let waiting = Waiting {
                    message,
                    waker,
                    postmark,
                    until,
                };
                rare.waiting.insert(ticket, waiting);
                inner.someone_waits = true;
                if let Some(reader) = &inner.reader {
                    // SAFETY: the desk lives while it stands here.
                    unsafe { reader.desk.as_ref() }.call(WAITERS);
                }
                return Admission::Waiting { ticket };
            }
            let is_loss = match when_full {
                WhenFull::Refuse | WhenFull::WaitOrRefuse(_) => false,
                WhenFull::Drop
                | WhenFull::WaitOrDrop(_)
                | WhenFull::Line(..)
                | WhenFull::WaitOrLose(_) => true,
                WhenFull::Wait(_) => self.overflow == Overflow::DropNewest,
            };
            inner.turn_away(is_loss, Dropped::Full, Rejected::Full);
            if is_loss {
                Admission::Lost(message)
            } else {
                Admission::Full(message)
            }
        });
        woken.wake();
        admission
    }

    /// Asks again for a sender that waits.
    pub(crate) fn poll_ticket(&self, ticket: Ticket, waker: &Waker) -> Admission<E, L> {
        let mut waker = waker.clone();
        self.inner.with(|inner| {
            let rare = inner.rare();
            if let Some(waiting) = rare.waiting.get_mut(&ticket) {
                // The earlier one is dropped behind the lock: it is its executor's code.
                std::mem::swap(&mut waiting.waker, &mut waker);
                return Admission::Waiting { ticket };
            }
            match rare.returned.remove(&ticket) {
                // A question, or what came back before the role began anew.
                Some(message) if inner.open => Admission::Restarting(message),
                Some(message) => Admission::Closed(message),
                None => Admission::Accepted { ready: None },
            }
        })
    }

    /// Leaves the line; `None` if the message had been accepted before.
    pub(crate) fn give_up(&self, ticket: Ticket, why: GivenUp) -> Option<E> {
        let (message, _waker) = self.inner.with(|inner| {
            let rare = inner.rare();
            let Some(Waiting { message, waker, .. }) = rare.waiting.remove(&ticket) else {
                // Already counted when it was returned.
                return (rare.returned.remove(&ticket), None);
            };
            match why {
                GivenUp::TimedOut => rare.rejected[Rejected::TimedOut as usize] += 1,
                GivenUp::Cancelled => rare.rejected[Rejected::Cancelled as usize] += 1,
                GivenUp::Lost => {
                    rare.dropped[Dropped::Full as usize] += 1;
                    rare.turned_away += 1;
                }
            }
            inner.look_at_line();
            (Some(message), Some(waker))
        });
        message
    }
}
