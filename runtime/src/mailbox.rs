//! The mailbox: a bounded queue of messages, and beside it a control lane that is never full.
//!
//! ```text
//!   tell, ask, timers, streams            supervisor, background failures
//!          |                                        |
//!          v                                        v
//!   +-------------+  no room   +----------+   +-----------+
//!   |    queue    | <--------- |  waiting |   |  control  |
//!   | <= capacity |  oldest    |  senders |   |   lane    |
//!   +-------------+  first     +----------+   +-----------+
//!          |                                        |
//!          +---------------> next() <---------------+   control first
//! ```
//!
//! Everything is under one short lock that is never held while user code runs,
//! so depth, age and counts can be read from any thread at any time, and are
//! exact, while a handler is stuck. The mailbox belongs to the role: it outlives
//! the lives ([incarnations](Mailbox::begin_life)) that read from it.
//!
//! It is not a channel: it never closes because references are dropped, and it
//! can be opened again when a supervisor starts the role anew.

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::task::{Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::Actor;
use crate::envelope::Envelope;
use crate::failure::{Failure, guarded};
use crate::tally::{Dropped, Rejected, Tally};

pub(crate) struct Mailbox<A: Actor> {
    capacity: usize,
    state: Mutex<State<A>>,
}

struct State<A: Actor> {
    queue: VecDeque<Queued<A>>,
    control: VecDeque<Control>,
    /// Senders that wait for room, oldest first. Each holds a future of its own, so their number is theirs.
    waiting: BTreeMap<Ticket, (Box<dyn Envelope<A>>, Waker)>,
    /// Messages of waiting senders that the mailbox will not take; each is picked up by its sender.
    returned: BTreeMap<Ticket, Box<dyn Envelope<A>>>,
    next_ticket: u64,
    receiver: Option<Waker>,
    open: bool,
    /// Which life may read; 0 before the first.
    incarnation: u64,
    /// The latest life was cut off: it may not read, although no other has begun.
    cut_off: bool,
    in_flight: Option<InFlight>,
    tally: Tally,
    depth_max: usize,
}

pub(crate) struct Queued<A: Actor> {
    pub(crate) envelope: Box<dyn Envelope<A>>,
    pub(crate) since: Instant,
}

#[derive(Clone, Copy)]
pub(crate) struct InFlight {
    pub(crate) message: &'static str,
    pub(crate) queued: Instant,
}

/// What a supervisor, or the actor's own background work, says to a running life.
pub(crate) enum Control {
    /// Stop after the current message; with `drain`, after all that is queued.
    Stop { drain: bool },
    /// Background work of this life failed.
    Failed(Failure),
}

/// The place of a sender in the line of those who wait for room.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Ticket(u64);

/// What became of a message that was offered.
pub(crate) enum Admission<A: Actor> {
    Accepted,
    Waiting(Ticket),
    Full(Box<dyn Envelope<A>>),
    Closed(Box<dyn Envelope<A>>),
}

/// What to do with a message that finds no room.
pub(crate) enum WhenFull<'a> {
    /// Hand it back to the sender.
    Refuse,
    /// Count it as lost; the caller makes a dead letter of it.
    Drop,
    /// Stand in line, and be woken.
    Wait(&'a Waker),
    /// The same for a publisher, to whom a closed mailbox is a loss.
    WaitOrDrop(&'a Waker),
}

/// Why a sender that waited for room gave up.
#[derive(Clone, Copy)]
pub(crate) enum GivenUp {
    /// Its time was up; the message goes back to it.
    TimedOut,
    /// Its future was dropped, and the message with it.
    Cancelled,
    /// It was a publisher, whose time was up: the event is lost to this subscriber.
    Lost,
}

/// What a life finds when it looks into its mailbox.
pub(crate) enum Next<A: Actor> {
    Message(Queued<A>),
    Control(Control),
    /// Only while draining: nothing is left.
    Empty,
    /// Another life reads this mailbox now.
    Superseded,
}

/// A mailbox as seen from outside, at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) depth: usize,
    pub(crate) depth_max: usize,
    pub(crate) waiting: usize,
    pub(crate) in_flight: Option<&'static str>,
    pub(crate) oldest_age: Duration,
    pub(crate) incarnation: u64,
    pub(crate) tally: Tally,
}

impl<A: Actor> Mailbox<A> {
    /// A closed mailbox; [`begin_life`](Self::begin_life) opens it.
    pub(crate) fn new(capacity: usize) -> Self {
        Mailbox {
            capacity,
            state: Mutex::new(State {
                queue: VecDeque::new(),
                control: VecDeque::new(),
                waiting: BTreeMap::new(),
                returned: BTreeMap::new(),
                next_ticket: 0,
                receiver: None,
                open: false,
                incarnation: 0,
                cut_off: false,
                in_flight: None,
                tally: Tally::default(),
                depth_max: 0,
            }),
        }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    // ===== senders =====

    pub(crate) fn offer(
        &self,
        envelope: Box<dyn Envelope<A>>,
        when_full: WhenFull<'_>,
    ) -> Admission<A> {
        let now = Instant::now();
        // Cloning a waker is its executor's code: not under the lock.
        let waker = match when_full {
            WhenFull::Wait(waker) | WhenFull::WaitOrDrop(waker) => Some(waker.clone()),
            WhenFull::Refuse | WhenFull::Drop => None,
        };
        let is_loss = matches!(when_full, WhenFull::Drop | WhenFull::WaitOrDrop(_));
        let mut state = self.state.lock();
        state.tally.sent += 1;
        if !state.open {
            if is_loss {
                state.tally.dropped[Dropped::Stopped as usize] += 1;
            } else {
                state.tally.rejected[Rejected::Stopped as usize] += 1;
            }
            return Admission::Closed(envelope);
        }
        // A place that becomes free goes to whoever waits longest at once, so where there is room
        // nobody waits, and nobody is overtaken.
        if state.queue.len() < self.capacity {
            debug_assert!(state.waiting.is_empty(), "there is room and a sender waits");
            state.push(envelope, now);
            let receiver = state.receiver.take();
            drop(state);
            if let Some(waker) = receiver {
                waker.wake();
            }
            return Admission::Accepted;
        }
        if let Some(waker) = waker {
            let ticket = Ticket(state.next_ticket);
            state.next_ticket += 1;
            state.waiting.insert(ticket, (envelope, waker));
            return Admission::Waiting(ticket);
        }
        if is_loss {
            state.tally.dropped[Dropped::Full as usize] += 1;
        } else {
            state.tally.rejected[Rejected::Full as usize] += 1;
        }
        Admission::Full(envelope)
    }

    /// Asks again for a sender that waits.
    pub(crate) fn poll_ticket(&self, ticket: Ticket, waker: &Waker) -> Admission<A> {
        let mut waker = waker.clone();
        let mut state = self.state.lock();
        if let Some((_, registered)) = state.waiting.get_mut(&ticket) {
            std::mem::swap(registered, &mut waker);
            // The earlier one is dropped behind the lock: it is its executor's code.
            drop(state);
            return Admission::Waiting(ticket);
        }
        match state.returned.remove(&ticket) {
            Some(envelope) => Admission::Closed(envelope),
            None => Admission::Accepted,
        }
    }

    /// Leaves the line; `None` if the message had been accepted before.
    pub(crate) fn give_up(&self, ticket: Ticket, why: GivenUp) -> Option<Box<dyn Envelope<A>>> {
        let mut state = self.state.lock();
        if let Some((envelope, _waker)) = state.waiting.remove(&ticket) {
            match why {
                GivenUp::TimedOut => state.tally.rejected[Rejected::TimedOut as usize] += 1,
                GivenUp::Cancelled => state.tally.rejected[Rejected::Cancelled as usize] += 1,
                GivenUp::Lost => state.tally.dropped[Dropped::Full as usize] += 1,
            }
            drop(state);
            return Some(envelope);
        }
        // Already counted when it was returned.
        state.returned.remove(&ticket)
    }

    pub(crate) fn control(&self, incarnation: u64, control: Control) {
        let mut state = self.state.lock();
        if !state.reads(incarnation) {
            return;
        }
        state.control.push_back(control);
        let receiver = state.receiver.take();
        drop(state);
        if let Some(waker) = receiver {
            waker.wake();
        }
    }

    // ===== the life that reads =====

    /// Opens the mailbox for a new life and returns its number.
    ///
    /// Control words for the life before it are forgotten. What an earlier life
    /// still had in its hands (it was cut off) counts as failed.
    pub(crate) fn begin_life(&self) -> u64 {
        let mut state = self.state.lock();
        state.incarnation += 1;
        state.cut_off = false;
        state.open = true;
        state.control.clear();
        if state.in_flight.take().is_some() {
            state.tally.failed += 1;
        }
        state.incarnation
    }

    /// Waits for the next control word or message; `draining` returns [`Next::Empty`] rather than wait.
    ///
    /// A message that is returned is in flight until [`finish`](Self::finish).
    ///
    /// # Cancel safety
    ///
    /// A message is taken only when the future completes.
    pub(crate) async fn next(&self, incarnation: u64, draining: bool) -> Next<A> {
        poll_fn(|cx| {
            let mut state = self.state.lock();
            if !state.reads(incarnation) {
                return Poll::Ready(Next::Superseded);
            }
            if let Some(control) = state.control.pop_front() {
                return Poll::Ready(Next::Control(control));
            }
            let mut discarded = Vec::new();
            let mut woken = Vec::new();
            let next = loop {
                let Some(queued) = state.queue.pop_front() else {
                    break None;
                };
                state.tally.dequeued += 1;
                if let Some(waker) = state.admit_oldest_waiting() {
                    woken.push(waker);
                }
                match queued.envelope.check_tie(incarnation) {
                    Ok(()) => {
                        state.in_flight = Some(InFlight {
                            message: queued.envelope.message_type(),
                            queued: queued.since,
                        });
                        break Some(queued);
                    }
                    Err(why) => {
                        state.tally.dropped[why as usize] += 1;
                        discarded.push(queued);
                    }
                }
            };
            if next.is_none() && !draining {
                state.receiver = Some(cx.waker().clone());
            }
            drop(state);
            // Dropping a message and waking a task may run other people's code: not under the lock.
            // Nor may a message that panics when it is dropped end this life without a word.
            for queued in discarded {
                let _ = guarded(|| drop(queued));
            }
            woken.into_iter().for_each(Waker::wake);
            match next {
                Some(queued) => Poll::Ready(Next::Message(queued)),
                None if draining => Poll::Ready(Next::Empty),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Counts the message in flight as handled or failed; `false` if this life was cut off meanwhile.
    pub(crate) fn finish(&self, incarnation: u64, handled: bool) -> bool {
        let mut state = self.state.lock();
        if !state.reads(incarnation) || state.in_flight.take().is_none() {
            return false;
        }
        if handled {
            state.tally.handled += 1;
        } else {
            state.tally.failed += 1;
        }
        true
    }

    /// Returns whether this life has not been cut off or followed by another.
    pub(crate) fn is_read_by(&self, incarnation: u64) -> bool {
        self.state.lock().reads(incarnation)
    }

    /// Takes the mailbox away from a life that does not end; returns the message it was stuck in.
    pub(crate) fn cut_off(&self, incarnation: u64) -> Option<&'static str> {
        let mut state = self.state.lock();
        if !state.reads(incarnation) {
            return None;
        }
        state.cut_off = true;
        let stuck = state.in_flight.take();
        if stuck.is_some() {
            state.tally.failed += 1;
        }
        stuck.map(|message| message.message)
    }

    // ===== the end of the role =====

    /// Refuses messages from now on; senders in line get theirs back.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.open = false;
        let waiting = std::mem::take(&mut state.waiting);
        state.tally.rejected[Rejected::Stopped as usize] += waiting.len() as u64;
        let mut wakers = Vec::with_capacity(waiting.len());
        for (ticket, (envelope, waker)) in waiting {
            state.returned.insert(ticket, envelope);
            wakers.push(waker);
        }
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Takes out all that is still queued, counted as lost.
    pub(crate) fn clear(&self) -> VecDeque<Queued<A>> {
        let mut state = self.state.lock();
        let left = std::mem::take(&mut state.queue);
        state.tally.dequeued += left.len() as u64;
        state.tally.dropped[Dropped::Stopped as usize] += left.len() as u64;
        left
    }

    /// Hands over the counts and begins anew at 0.
    pub(crate) fn take_tally(&self) -> Tally {
        std::mem::take(&mut self.state.lock().tally)
    }

    // ===== observers =====

    /// Reads the mailbox as it is now; `scrape` lets the deepest level begin anew.
    pub(crate) fn reading(&self, scrape: bool) -> Reading {
        let now = Instant::now();
        let mut state = self.state.lock();
        let depth_max = state.depth_max;
        if scrape {
            state.depth_max = state.queue.len();
        }
        let oldest = match (state.in_flight, state.queue.front()) {
            (Some(message), _) => Some(message.queued),
            (None, Some(queued)) => Some(queued.since),
            (None, None) => None,
        };
        Reading {
            depth: state.queue.len(),
            depth_max,
            waiting: state.waiting.len(),
            in_flight: state.in_flight.map(|m| m.message),
            oldest_age: oldest.map_or(Duration::ZERO, |since| now.saturating_duration_since(since)),
            incarnation: state.incarnation,
            tally: state.tally,
        }
    }

    /// Returns the number of queued messages.
    pub(crate) fn depth(&self) -> usize {
        self.state.lock().queue.len()
    }
}

impl<A: Actor> State<A> {
    fn reads(&self, incarnation: u64) -> bool {
        self.incarnation == incarnation && !self.cut_off
    }

    fn push(&mut self, envelope: Box<dyn Envelope<A>>, since: Instant) {
        self.queue.push_back(Queued { envelope, since });
        self.tally.enqueued += 1;
        self.depth_max = self.depth_max.max(self.queue.len());
    }

    /// Fills the place that became free with the message of whoever waits longest.
    fn admit_oldest_waiting(&mut self) -> Option<Waker> {
        let (_, (envelope, waker)) = self.waiting.pop_first()?;
        self.push(envelope, Instant::now());
        Some(waker)
    }
}
