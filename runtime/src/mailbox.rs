//! The mailbox: a bounded queue of messages, the flag that says whether its actor is ready to run, and beside them a control lane that is never full.
//!
//! ```text
//!   tell, ask, timers, streams            supervisor, background failures
//!          |                                        |
//!          v                                        v
//!   +-------------+  no room   +----------+   +-----------+
//!   |    queue    | <--------- |  waiting |   |  control  |
//!   |             |  oldest    |  senders |   |   lane    |
//!   +-------------+  first     +----------+   +-----------+
//!          | all at once                            |
//!          v                                        |
//!   +-------------+                                 |
//!   |    batch    | one by one, without a lock      |
//!   +-------------+                                 |
//!          |                                        |
//!          +---------------> next() <---------------+   control first
//! ```
//!
//! Senders append under a small lock, and the same section says whether
//! the actor has to be made ready: there is no second flag that could disagree
//! with the queue. Whoever runs the actor takes the whole queue at once, as its
//! *batch*, and then one message after the other without a lock. The bound and
//! the depth count the batch.
//!
//! What is in the batch stays reachable: a life that blocks its thread can be
//! cut off, and its batch goes back to the queue. For that, each step of the
//! runner is a section that the one who cuts off can wait for ([`Desk`]); it
//! costs the runner two plain stores (see [`fence`](crate::core::fence)).
//!
//! Depth, age and counts can be read from any thread at any time, also while a
//! handler is stuck. The mailbox belongs to the role: it outlives the lives
//! ([incarnations](Mailbox::begin_life)) that read from it. It never closes
//! because references are dropped, and can be opened again.
//!
//! Here is what lies under the lock, and the lives of the role. Beside it: how
//! [`senders`] come in, what the [`runner`] does, what it [`counts`], which messages were
//! the most [`recent`], a [`census`] of it all when a life fails, and the [`sources`] of what is queued.

use std::collections::{BTreeMap, VecDeque};
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::task::Waker;

use tokio::time::Instant;

use crate::clock;
use crate::core::biased::Biased;
use crate::core::fence;
use crate::core::queue::Queue;
use crate::core::sync::{AtomicBool, AtomicU64, Ordering, relax};
use crate::failure::{guarded, logged};
use crate::postmark::Postmark;
use crate::tally::{Dropped, Rejected};

pub(crate) mod census;
pub(crate) mod counts;
pub(crate) mod desk;
pub(crate) mod recent;
mod runner;
mod senders;
pub(crate) mod sources;
mod stamps;
mod trim;
pub(crate) mod words;

#[cfg(test)]
#[cfg(greenroom_loom)]
mod loom_tests;
#[cfg(test)]
#[cfg(greenroom_shuttle)]
mod shuttle_tests;
#[cfg(test)]
#[cfg(any(greenroom_loom, greenroom_shuttle))]
mod stage;
#[cfg(test)]
#[cfg(not(any(greenroom_loom, greenroom_shuttle)))]
mod tests;

use desk::{CONTROL, Desk, KEEPS, KILL, STEPWISE, WAITERS};
use recent::Recent;
use stamps::{Stamp, Stamps};
use words::{Control, CutOff, Failed, Overflow, Ticket};

/// `E` is what is queued; `L` a copyable pointer to the life that reads.
#[repr(C)]
pub(crate) struct Mailbox<E, L> {
    /// Messages taken out by the reader, or removed.
    taken: AtomicU64,
    /// Of those, how many ended: handled, failed, or discarded.
    done: AtomicU64,
    capacity: u32,
    overflow: Overflow,
    /// A message is timed if its place among the multiples of the golden ratio has no bits above these, which is one
    /// in a power of two, and one that comes in another tick than the one timed before; or [`NEVER`].
    timed: u8,
    /// A queue was long since its memory was last given back.
    was_long: AtomicBool,
    /// Who reads keeps a copy of what it has in hand: see [`keeping`](Mailbox::keeping).
    keeps: bool,
    inner: Biased<Inner<E, L>>,
}

/// No message is timed: only the one of 2^64 that has no bit at all would be.
const NEVER: u8 = 0;

/// The golden ratio of 2^64. Its multiples lie evenly in any stretch, so the messages that are timed are a fair share of
/// those of each sender, also where senders take turns: one in each 256 would always be the same one's.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// What is used for every message stands first, and together.
#[repr(C)]
struct Inner<E, L> {
    state: State,
    /// A handler was woken since it last pended, other than to be made ready.
    woken: bool,
    open: bool,
    /// Somebody stands in line.
    someone_waits: bool,
    /// The clock's tick at the latest stamp.
    tick: u32,
    depth_max: u32,
    /// A reading of [what makes room](Mailbox::made_room), at most as large as it; its low half, as the depth is less
    /// than that.
    taken_seen: u32,
    enqueued: u64,
    reader: Option<Reader<E, L>>,
    queue: Queue<E>,
    /// The number of the next message that has a stamp.
    next_stamp: u64,
    rare: Option<Box<Rare<E>>>,
    /// Which life may read; 0 before the first.
    incarnation: u64,
}

/// What few mailboxes need at a given time.
struct Rare<E> {
    control: VecDeque<Control>,
    /// Senders that wait for room, oldest first. Each holds a future of its own, so their number is theirs.
    waiting: BTreeMap<Ticket, Waiting<E>>,
    /// Messages of waiting senders that the mailbox will not take; each is picked up by its sender.
    returned: BTreeMap<Ticket, E>,
    next_ticket: u64,
    /// When some of the queued messages came, and from whom, in their order.
    stamps: Stamps,
    /// The latest stamp that was taken out.
    passed: Option<Instant>,
    /// Who sent the latest message that was taken out with a stamp.
    passed_from: Postmark,
    /// Those of the running life that were timed last.
    recent: Recent,
    failed: u64,
    rejected: [u64; Rejected::ALL.len()],
    dropped: [u64; Dropped::ALL.len()],
    /// Of those dropped, how many had been taken out by the reader.
    discarded: u64,
    /// Of those dropped, how many had never been queued.
    turned_away: u64,
    /// Of those rejected, how many had been queued.
    recalled: u64,
    /// How often a message that failed went back to the front.
    retried: u64,
    /// Questions are given back until the next life begins.
    refuses_questions: bool,
}

/// A sender that waits for room.
struct Waiting<E> {
    message: E,
    waker: Waker,
    /// Who it is: the message is queued on another thread.
    postmark: Postmark,
    /// From when on the message comes too late.
    until: Option<Instant>,
}

impl<E> Default for Rare<E> {
    fn default() -> Self {
        Rare {
            control: VecDeque::new(),
            waiting: BTreeMap::new(),
            returned: BTreeMap::new(),
            next_ticket: 0,
            stamps: Stamps::default(),
            passed: None,
            passed_from: Postmark::COUNTED,
            recent: Recent::new(),
            failed: 0,
            rejected: Default::default(),
            dropped: Default::default(),
            discarded: 0,
            turned_away: 0,
            recalled: 0,
            retried: 0,
            refuses_questions: false,
        }
    }
}

impl<E> Rare<E> {
    /// When the oldest message was queued that has not ended, of this number; or one that was timed shortly before it.
    fn queued(&self, number: u64) -> Option<Instant> {
        match self.stamps.front() {
            Some(stamp) if stamp.ahead_of(number) <= 0 => Some(stamp.since),
            _ => self.passed,
        }
    }
}

/// Whether the actor has to be made ready, and who will run it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No life reads.
    Down,
    /// The queue is empty and nobody runs the life: the next message makes it ready.
    Idle,
    /// The life is ready, or running: whoever has the entry, or runs, looks again before it leaves.
    Ready,
    /// A handler pends: it is woken, or a word of the control lane makes it ready, but no message.
    Pending,
}

struct Reader<E, L> {
    /// Of the life; alive for as long as it stands here.
    desk: NonNull<Desk<E>>,
    life: L,
}

// SAFETY: the desk is only used as `Desk` says, and `E: Send` moves with the lock.
unsafe impl<E: Send, L: Send> Send for Reader<E, L> {}

/// Wakers to be called behind the lock: waking is other people's code.
///
/// A panic of theirs ends here: whoever wakes has let go of its life by then, or has a message in hand.
#[derive(Default)]
struct Woken(Vec<Waker>);

impl Woken {
    /// A waker that panics is its executor's fault, and no reason to lose what the caller has in hand.
    #[cold]
    fn wake_all(self) {
        for waker in self.0 {
            if guarded(|| waker.wake()).is_err() {
                logged(|| tracing::error!("A waker of a sender that waited for room panicked."));
            }
        }
    }

    #[inline(always)]
    fn wake(self) {
        if !self.0.is_empty() {
            self.wake_all();
        }
    }
}

/// Puts a message where none is; so nothing has to be dropped there.
#[inline(always)]
fn put<E>(place: &mut Option<E>, message: Option<E>) {
    debug_assert!(place.is_none(), "a message lies where another is put");
    std::mem::forget(std::mem::replace(place, message));
}

/// Takes a message that was put together a moment ago, word by word.
///
/// A processor that reads two words at once has to wait until both have left it, if it wrote them one by one.
#[inline(always)]
fn take_by_words<E>(place: &mut Option<E>) -> Option<E> {
    const WORD: usize = size_of::<u64>();
    if !size_of::<Option<E>>().is_multiple_of(WORD) || align_of::<Option<E>>() < WORD {
        return place.take();
    }
    let mut taken = MaybeUninit::<Option<E>>::uninit();
    let from = std::ptr::from_mut(place).cast::<MaybeUninit<u64>>();
    let to = taken.as_mut_ptr().cast::<MaybeUninit<u64>>();
    // SAFETY: these are all words of the two, which are of the same type; what is taken is not
    // dropped where it was. Not to be made one read of many words is what `volatile` is for.
    unsafe {
        for word in 0..size_of::<Option<E>>() / WORD {
            to.add(word).write(from.add(word).read_volatile());
        }
        std::ptr::write(place, None);
        taken.assume_init()
    }
}

impl<E, L: Copy> Mailbox<E, L> {
    /// A closed mailbox; [`begin_life`](Self::begin_life) opens it.
    pub(crate) fn new(capacity: usize, overflow: Overflow, every: u32) -> Self {
        Mailbox {
            capacity: u32::try_from(capacity).unwrap_or(u32::MAX),
            overflow,
            timed: match every {
                0 => NEVER,
                every => 63 - every.next_power_of_two().trailing_zeros() as u8,
            },
            was_long: AtomicBool::new(false),
            keeps: false,
            inner: Biased::new(Inner {
                state: State::Down,
                woken: false,
                open: false,
                someone_waits: false,
                tick: 0,
                depth_max: 0,
                enqueued: 0,
                taken_seen: 0,
                next_stamp: u64::MAX,
                reader: None,
                queue: Queue::new(),
                rare: None,
                incarnation: 0,
            }),
            taken: AtomicU64::new(0),
            done: AtomicU64::new(0),
        }
    }

    /// Makes it one whose reader keeps a copy of what it has in hand, to put it back if its handler fails.
    ///
    /// So that there is room for it then, the message in hand keeps its place until it has ended;
    /// but not where the oldest is lost for a newer one, which is what it would be.
    pub(crate) fn keeping(mut self) -> Self {
        self.keeps = true;
        self
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity as usize
    }

    /// The count that tells senders how many have left.
    #[inline(always)]
    fn made_room(&self) -> &AtomicU64 {
        if self.keeps && self.overflow != Overflow::DropOldest {
            &self.done
        } else {
            &self.taken
        }
    }

    // ===== the lives that read, one after the other =====

    /// Returns the number of the next life.
    pub(crate) fn next_incarnation(&self) -> u64 {
        self.inner.with(|inner| inner.incarnation + 1)
    }

    /// Opens the mailbox for a new life, which is to be made ready.
    ///
    /// Control words for the life before it are forgotten.
    ///
    /// # Safety
    /// The desk lives until [`leave`](Self::leave) or [`cut_off`](Self::cut_off) has taken it back.
    pub(crate) unsafe fn begin_life(&self, desk: NonNull<Desk<E>>, life: L) {
        self.inner.with(|inner| {
            debug_assert!(inner.reader.is_none(), "two lives at a time");
            inner.incarnation += 1;
            inner.open = true;
            inner.woken = false;
            inner.reader = Some(Reader { desk, life });
            if self.overflow == Overflow::DropOldest {
                inner.call_reader(STEPWISE);
            }
            if self.keeps {
                inner.call_reader(KEEPS);
            }
            if let Some(rare) = &mut inner.rare {
                rare.control.clear();
                rare.recent.clear();
                rare.refuses_questions = false;
                inner.someone_waits = !rare.waiting.is_empty();
                if inner.someone_waits {
                    inner.call_reader(WAITERS);
                }
            }
            inner.state = State::Ready;
        });
    }

    /// Returns whether this life has not been cut off or followed by another.
    pub(crate) fn is_read_by(&self, incarnation: u64) -> bool {
        self.inner.with(|inner| inner.is_read_by(incarnation))
    }

    /// Puts a word into the control lane; returns the life that is to be made ready, if it is.
    #[must_use]
    pub(crate) fn control(&self, incarnation: u64, control: Control) -> Option<L> {
        self.inner.with(|inner| {
            if !inner.is_read_by(incarnation) {
                return None;
            }
            inner.rare().control.push_back(control);
            inner.call_reader(CONTROL);
            // A handler that pends is let finish first.
            inner.make_ready()
        })
    }

    /// Orders a life to end at its next step; returns it if it is to be made ready for that.
    #[must_use]
    pub(crate) fn kill(&self, incarnation: u64) -> Option<L> {
        let ready = self.inner.with(|inner| {
            if !inner.is_read_by(incarnation) {
                return None;
            }
            inner.call_reader(KILL);
            if inner.state == State::Pending {
                inner.state = State::Idle;
            }
            inner.make_ready()
        });
        // From here on no step of the runner begins without seeing it.
        fence::heavy();
        ready
    }

    /// Wakes a handler that pends; returns the life that is to be made ready, if it is.
    ///
    /// A wake that was meant for an earlier life or handler makes this one look in vain.
    #[must_use]
    pub(crate) fn wake(&self) -> Option<L> {
        self.inner.with(|inner| {
            if inner.state != State::Pending {
                #[cfg(greenroom_planted)]
                if crate::planted::is_planted(crate::planted::Bug::LostWakeUp) {
                    return None;
                }
                inner.woken = true;
                return None;
            }
            inner.state = State::Idle;
            inner.make_ready()
        })
    }

    /// Ends a life: what is left of its batch goes back to the queue; `false` if it was cut off before.
    pub(crate) fn leave(&self, desk: &Desk<E>) -> bool {
        let mut woken = Woken::default();
        let was_reading = self.inner.with(|inner| {
            if !inner.has_desk(desk) {
                return false;
            }
            inner.take_back(desk);
            // It may be long before the next life.
            self.admit(inner, &mut woken);
            inner.reader = None;
            inner.state = State::Down;
            true
        });
        woken.wake();
        was_reading
    }

    /// Takes the mailbox away from a life that does not end; what it had in hand counts as failed.
    ///
    /// `has_entries`: being ready is an entry in some queue, not a task of that life. `again` as for [`fail`](Self::fail).
    pub(crate) fn cut_off(
        &self,
        incarnation: u64,
        has_entries: bool,
        again: impl FnOnce(bool) -> Option<E>,
    ) -> CutOff<L> {
        let mut woken = Woken::default();
        let cut_off = self.inner.with(|inner| {
            if !inner.is_read_by(incarnation) {
                return CutOff::Nothing;
            }
            let Some(Reader { desk, life }) = inner.reader.take() else {
                return CutOff::Nothing;
            };
            // SAFETY: it stood in `reader` until this moment, and who frees it needs this lock first.
            let desk = unsafe { desk.as_ref() };
            desk.call(KILL);
            fence::heavy();
            let mut n = 0;
            while desk.touching.load(Ordering::Acquire) {
                relax(n);
                n += 1;
            }
            inner.take_back(desk);
            // Nobody will ask any more when the message in hand was queued; left in, its stamp would
            // hide all that follow.
            inner.pass_stamps(self.taken.load(Ordering::Relaxed));
            let in_flight = self.fail_in_flight(inner, again);
            self.admit(inner, &mut woken);
            // SAFETY: the runner is not in a section, and will not begin another one.
            let is_running = desk.batch.with(|batch| unsafe { (*batch).running });
            let is_ready = inner.state == State::Ready;
            inner.state = State::Down;
            if is_running || (is_ready && has_entries) {
                CutOff::Running { in_flight }
            } else {
                CutOff::Resting { life, in_flight }
            }
        });
        woken.wake();
        cut_off
    }

    /// Gives the questions back that are queued or wait in line, and those that come until the next life begins;
    /// to be called when no life reads.
    ///
    /// Of those that are queued the caller gets them out; `is_question` is asked under the lock.
    pub(crate) fn recall(&self, is_question: impl Fn(&mut E) -> bool) -> Vec<E> {
        let mut woken = Woken::default();
        let recalled = self.inner.with(|inner| {
            if !inner.open || inner.reader.is_some() {
                return Vec::new();
            }
            let mut recalled = Vec::new();
            for mut message in inner.queue.take() {
                if is_question(&mut message) {
                    recalled.push(message);
                } else {
                    inner.queue.push_back(message);
                }
            }
            let n = recalled.len() as u64;
            if n > 0 {
                self.remove_front(inner, n);
            }
            let rare = inner.rare();
            rare.recalled += n;
            rare.rejected[Rejected::Restarting as usize] += n;
            rare.refuses_questions = true;
            for (ticket, mut waiting) in std::mem::take(&mut rare.waiting) {
                if is_question(&mut waiting.message) {
                    rare.rejected[Rejected::Restarting as usize] += 1;
                    rare.returned.insert(ticket, waiting.message);
                    woken.0.push(waiting.waker);
                } else {
                    rare.waiting.insert(ticket, waiting);
                }
            }
            inner.look_at_line();
            recalled
        });
        woken.wake();
        recalled
    }

    // ===== the end of the role =====

    /// Refuses messages from now on; senders in line get theirs back.
    pub(crate) fn close(&self) {
        let mut woken = Woken::default();
        self.inner.with(|inner| {
            inner.open = false;
            let Some(rare) = &mut inner.rare else { return };
            rare.rejected[Rejected::Stopped as usize] += rare.waiting.len() as u64;
            inner.someone_waits = false;
            for (ticket, waiting) in std::mem::take(&mut rare.waiting) {
                rare.returned.insert(ticket, waiting.message);
                woken.0.push(waiting.waker);
            }
            if let Some(reader) = &inner.reader {
                // SAFETY: the desk lives while it stands here.
                let desk = unsafe { reader.desk.as_ref() };
                desk.attention.fetch_and(!WAITERS, Ordering::SeqCst);
            }
        });
        woken.wake();
    }

    /// Takes out all that is still queued, counted as lost; to be called when no life reads.
    pub(crate) fn clear(&self) -> VecDeque<E> {
        self.inner.with(|inner| {
            debug_assert!(inner.reader.is_none(), "a life reads what is cleared");
            let left = inner.queue.take();
            // References may keep the role, and its next life may never come.
            inner.queue = Queue::new();
            if !left.is_empty() {
                self.remove_front(inner, left.len() as u64);
                inner.rare().dropped[Dropped::Stopped as usize] += left.len() as u64;
            }
            left
        })
    }

    // ===== what senders and the runner share =====

    /// Whether the message of this number is timed.
    #[inline(always)]
    fn is_timed(&self, inner: &Inner<E, L>, number: u64, tick: u32) -> bool {
        let place = (number + 1).wrapping_mul(GOLDEN);
        (place >> 1) >> self.timed == 0 || (tick != inner.tick && self.timed != NEVER)
    }

    /// Whether one more fits; keeps the deepest level.
    #[inline(always)]
    fn has_room(&self, inner: &mut Inner<E, L>) -> bool {
        // The low halves will do: there are less messages than these can count.
        let number = (inner.enqueued as u32).wrapping_add(1);
        if number.wrapping_sub(inner.taken_seen) > inner.depth_max {
            // Only now is the reader's own count looked at, which may cost a transfer between cores.
            inner.taken_seen = self.made_room().load(Ordering::Acquire) as u32;
            let level = number.wrapping_sub(inner.taken_seen);
            if level > self.capacity {
                return false;
            }
            inner.depth_max = inner.depth_max.max(level);
        }
        true
    }

    #[inline(always)]
    fn push(
        &self,
        inner: &mut Inner<E, L>,
        message: E,
        tick: u32,
        postmark: impl FnOnce() -> Postmark,
    ) {
        let number = inner.enqueued;
        if self.is_timed(inner, number, tick) {
            inner.stamp(number, tick, postmark());
        }
        inner.queue.push_back(message);
        inner.enqueued = number + 1;
    }

    /// Lets those in who wait, while there is room; who has waited for too long gets its message back.
    fn admit(&self, inner: &mut Inner<E, L>, woken: &mut Woken) {
        while inner.someone_waits && self.has_room(inner) {
            let rare = inner.rare();
            let Some((ticket, waiting)) = rare.waiting.pop_first() else {
                return;
            };
            let is_late = waiting.until.is_some_and(|until| until <= Instant::now());
            if is_late {
                rare.dropped[Dropped::Expired as usize] += 1;
                rare.turned_away += 1;
                rare.returned.insert(ticket, waiting.message);
                woken.0.push(waiting.waker);
                inner.look_at_line();
                continue;
            }
            inner.look_at_line();
            self.push(inner, waiting.message, clock::tick(), || waiting.postmark);
            woken.0.push(waiting.waker);
        }
        if !inner.someone_waits
            && let Some(reader) = &inner.reader
        {
            // SAFETY: the desk lives while it stands here.
            let desk = unsafe { reader.desk.as_ref() };
            if desk.attention.load(Ordering::Relaxed) & WAITERS != 0 {
                desk.attention.fetch_and(!WAITERS, Ordering::SeqCst);
            }
        }
    }

    /// Takes note that the `n` messages at the front are gone.
    fn remove_front(&self, inner: &mut Inner<E, L>, n: u64) {
        let taken = self.taken.load(Ordering::Relaxed) + n;
        self.taken.store(taken, Ordering::Release);
        self.done.fetch_add(n, Ordering::Release);
        inner.rare().discarded += n;
        inner.pass_stamps(taken);
    }

    #[inline(always)]
    fn count_done(&self) {
        let done = self.done.load(Ordering::Relaxed);
        self.done.store(done + 1, Ordering::Release);
    }

    /// Counts the message in flight as failed, if there is one, or puts it back; for that no batch may be left.
    fn fail_in_flight(
        &self,
        inner: &mut Inner<E, L>,
        again: impl FnOnce(bool) -> Option<E>,
    ) -> Option<Failed> {
        let taken = self.taken.load(Ordering::Relaxed);
        let done = self.done.load(Ordering::Relaxed);
        if taken == done {
            return None;
        }
        let has_room = inner.enqueued - done <= u64::from(self.capacity);
        if self.keeps
            && let Some(message) = again(has_room)
        {
            self.put_back(inner, message, taken);
            return Some(Failed::Again);
        }
        self.count_done();
        // What is not counted here counts as handled.
        #[cfg(greenroom_planted)]
        if crate::planted::is_planted(crate::planted::Bug::FailedAsHandled) {
            return Some(Failed::GivenUp);
        }
        inner.rare().failed += 1;
        Some(Failed::GivenUp)
    }

    /// Puts the message in flight back to the front of the queue, so that none is in flight.
    fn put_back(&self, inner: &mut Inner<E, L>, message: E, taken: u64) {
        // Its own stamp, if nobody has asked for it.
        inner.pass_stamps(taken);
        self.taken.store(taken - 1, Ordering::Release);
        inner.queue.push_front(message);
        let is_timed = self.timed != NEVER;
        let rare = inner.rare();
        rare.retried += 1;
        if is_timed {
            // What comes rarely is timed each time; its age is that of the latest that was timed
            // before it, if not its own.
            let since = rare.passed.unwrap_or_else(Instant::now);
            let stamp = Stamp::new(taken - 1, since, Postmark::COUNTED);
            rare.stamps.push_front(stamp);
            inner.next_stamp = taken - 1;
        }
    }
}

impl<E, L> Inner<E, L> {
    fn rare(&mut self) -> &mut Rare<E> {
        self.rare.get_or_insert_default()
    }

    /// An idle life becomes ready: whoever is told so schedules it.
    #[inline(always)]
    fn make_ready(&mut self) -> Option<L>
    where
        L: Copy,
    {
        if self.state != State::Idle {
            return None;
        }
        self.state = State::Ready;
        self.reader.as_ref().map(|reader| reader.life)
    }

    fn discarded(&self) -> u64 {
        self.rare.as_ref().map_or(0, |rare| rare.discarded)
    }

    fn retried(&self) -> u64 {
        self.rare.as_ref().map_or(0, |rare| rare.retried)
    }

    /// Tells the message in hand from those before it and behind it.
    fn work(&self, done: u64) -> u64 {
        // What overflow takes out of the queue counts as done, too; and what is tried again is new in hand.
        done - self.discarded() + self.retried()
    }

    fn refuses_questions(&self) -> bool {
        self.rare
            .as_ref()
            .is_some_and(|rare| rare.refuses_questions)
    }

    /// Whether whoever comes has to look who waits, or why.
    fn look_at_line(&mut self) {
        let rare = self.rare.as_ref();
        self.someone_waits =
            rare.is_some_and(|rare| rare.refuses_questions || !rare.waiting.is_empty());
    }

    fn is_read_by(&self, incarnation: u64) -> bool {
        self.incarnation == incarnation && self.reader.is_some()
    }

    /// Whether it is this desk's life that reads. A desk lives as long as its life, so no other has its address.
    #[inline]
    fn has_desk(&self, desk: &Desk<E>) -> bool {
        self.reader
            .as_ref()
            .is_some_and(|reader| std::ptr::eq(reader.desk.as_ptr(), desk))
    }

    fn call_reader(&self, why: u8) {
        if let Some(reader) = &self.reader {
            // SAFETY: the desk lives while it stands here.
            unsafe { reader.desk.as_ref() }.call(why);
        }
    }

    /// Puts what is left of a batch back to the front of the queue.
    ///
    /// The caller holds the lock and is the runner, or has excluded it.
    fn take_back(&mut self, desk: &Desk<E>) {
        // SAFETY: as said, nobody else is at the batch.
        let batch = desk.batch.with_mut(|batch| unsafe { &mut *batch });
        let messages = &mut batch.messages;
        // The fewer are moved: an actor that fails again and again may have a long queue each time.
        if messages.len() > self.queue.len() {
            messages.append(&mut self.queue);
            std::mem::swap(messages, &mut self.queue);
        } else {
            while let Some(message) = messages.pop_back() {
                self.queue.push_front(message);
            }
        }
        if let Some(message) = batch.first.take() {
            self.queue.push_front(message);
        }
    }

    fn turn_away(&mut self, is_loss: bool, lost: Dropped, back: Rejected) {
        let rare = self.rare();
        if is_loss {
            rare.dropped[lost as usize] += 1;
            rare.turned_away += 1;
        } else {
            rare.rejected[back as usize] += 1;
        }
    }

    #[cold]
    fn stamp(&mut self, number: u64, tick: u32, postmark: Postmark) {
        let is_first = tick != self.tick;
        self.tick = tick;
        let stamp = Stamp::new(number, Instant::now(), postmark.first(is_first));
        self.rare().stamps.push_back(stamp);
        self.next_stamp = self.next_stamp.min(number);
    }

    /// The same for one that is sent by the code that calls this.
    #[cold]
    fn stamp_here(&mut self, number: u64, tick: u32) {
        self.stamp(number, tick, Postmark::here());
    }

    /// Takes the stamps of all messages below `taken` out; returns the latest.
    fn pass_stamps(&mut self, taken: u64) -> Option<Stamp> {
        let rare = self.rare.as_mut()?;
        let mut latest = None;
        while let Some(stamp) = rare.stamps.front()
            && stamp.ahead_of(taken) < 0
        {
            latest = Some(stamp);
            rare.stamps.pop_front();
        }
        if let Some(stamp) = latest {
            rare.passed = Some(stamp.since);
            if stamp.postmark.is_known() {
                rare.passed_from = stamp.postmark;
            }
        }
        let next = rare.stamps.front();
        self.next_stamp = next.map_or(u64::MAX, |next| taken + next.ahead_of(taken) as u64);
        latest
    }
}
