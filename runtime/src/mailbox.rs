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

use std::collections::{BTreeMap, VecDeque};
use std::ptr::NonNull;
use std::task::Waker;
use std::time::Duration;

use tokio::time::Instant;

use crate::clock;
use crate::core::biased::Biased;
use crate::core::fence;
use crate::core::queue::Queue;
use crate::core::sync::{AtomicBool, AtomicU8, AtomicU64, Ordering, UnsafeCell, relax};
use crate::failure::{Failure, guarded};
use crate::tally::{Dropped, Rejected, Tally};

/// `E` is what is queued; `L` a copyable pointer to the life that reads.
#[repr(C)]
pub(crate) struct Mailbox<E, L> {
    /// Messages taken out by the reader, or removed.
    taken: AtomicU64,
    /// Of those, how many ended: handled, failed, or discarded.
    done: AtomicU64,
    capacity: u32,
    overflow: Overflow,
    /// A message is timed whose number ends in so many zero bits, one in a power of two, and one that comes in
    /// another tick than the one timed before; or [`NEVER`].
    timed: u8,
    inner: Biased<Inner<E, L>>,
}

/// No message is timed: no number ends in so many zero bits.
const NEVER: u8 = 65;

/// What a mailbox does with a message that finds it full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Overflow {
    /// Senders wait in line for room: back-pressure. Nothing is lost.
    #[default]
    Wait,
    /// The sender gets its message back at once.
    Reject,
    /// The message that comes is lost: what is queued matters more.
    DropNewest,
    /// The message that is queued longest is lost: what is new matters more.
    DropOldest,
}

impl Overflow {
    /// Returns the word for it: `wait`, `reject`, `drop newest` or `drop oldest`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Overflow::Wait => "wait",
            Overflow::Reject => "reject",
            Overflow::DropNewest => "drop newest",
            Overflow::DropOldest => "drop oldest",
        }
    }
}

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
    /// A reading of `taken`, at most as large as it; its low half, as the depth is less than that.
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
    waiting: BTreeMap<Ticket, (E, Waker)>,
    /// Messages of waiting senders that the mailbox will not take; each is picked up by its sender.
    returned: BTreeMap<Ticket, E>,
    next_ticket: u64,
    /// When some of the queued messages came, by their number.
    stamps: VecDeque<(u64, Instant)>,
    /// The latest stamp that was taken out.
    passed: Option<Instant>,
    failed: u64,
    rejected: [u64; Rejected::ALL.len()],
    dropped: [u64; Dropped::ALL.len()],
    /// Of those dropped, how many had been taken out by the reader.
    discarded: u64,
    /// Of those dropped, how many had never been queued.
    turned_away: u64,
}

impl<E> Default for Rare<E> {
    fn default() -> Self {
        Rare {
            control: VecDeque::new(),
            waiting: BTreeMap::new(),
            returned: BTreeMap::new(),
            next_ticket: 0,
            stamps: VecDeque::new(),
            passed: None,
            failed: 0,
            rejected: Default::default(),
            dropped: Default::default(),
            discarded: 0,
            turned_away: 0,
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

/// Where one life has its batch.
///
/// One thread at a time runs the life; while the mailbox is idle, whoever has its lock may put
/// the first message there. The runner changes the batch inside sections:
/// it writes `touching`, and behind the light side of the fence looks at
/// `attention`; if that is not zero it leaves the section and asks under the
/// lock. Whoever cuts the life off holds the lock, has written `attention` and
/// passed the heavy side of the fence; then either the runner sees `attention`,
/// or the other sees `touching` and waits for the end of the section.
pub(crate) struct Desk<E> {
    attention: AtomicU8,
    touching: AtomicBool,
    batch: UnsafeCell<Batch<E>>,
}

struct Batch<E> {
    /// Somebody is inside a run.
    running: bool,
    /// The number of the next message that has a stamp: its low half. Who takes another for it finds no stamp.
    stamped: u32,
    /// A message that came when the actor was idle. Most actors have one at a time; it lies here,
    /// where the next run finds it without the lock, and they need no queue.
    first: Option<E>,
    messages: Queue<E>,
}

// SAFETY: `batch` is reached by the runner in its sections and by others under the lock after
// they have excluded them, so by one at a time; the rest is atomic.
unsafe impl<E: Send> Sync for Desk<E> {}
// SAFETY: it owns what is in the batch.
unsafe impl<E: Send> Send for Desk<E> {}

/// The control lane has a word.
const CONTROL: u8 = 1;
/// The life is to end at its next step.
const KILL: u8 = 2;
/// Senders wait for room.
const WAITERS: u8 = 4;
/// Every step is under the lock: senders may remove what is queued.
const STEPWISE: u8 = 8;

impl<E> Desk<E> {
    pub(crate) fn new() -> Self {
        Desk {
            attention: AtomicU8::new(0),
            touching: AtomicBool::new(false),
            batch: UnsafeCell::new(Batch {
                running: false,
                stamped: u32::MAX,
                first: None,
                messages: Queue::new(),
            }),
        }
    }

    /// Begins a section of the runner; `false` if it has to ask under the lock instead.
    #[inline(always)]
    fn begin(&self) -> bool {
        self.touching.store(true, Ordering::Relaxed);
        fence::light();
        let is_ours = self.attention.load(Ordering::Acquire) == 0;
        if !is_ours {
            self.end();
        }
        is_ours
    }

    #[inline(always)]
    fn end(&self) {
        self.touching.store(false, Ordering::Release);
    }

    /// Returns whether the life has been told to end at once.
    pub(crate) fn is_killed(&self) -> bool {
        self.attention.load(Ordering::Acquire) & KILL != 0
    }

    /// The runner ends its run, under the lock.
    #[inline(always)]
    fn stop_running(&self) {
        // SAFETY: the caller is the runner, and the lock keeps all others from the batch.
        self.batch
            .with_mut(|batch| unsafe { (*batch).running = false });
    }

    /// Asks the runner to look under the lock before its next step.
    fn call(&self, why: u8) {
        self.attention.fetch_or(why, Ordering::SeqCst);
    }
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
pub(crate) enum Admission<E, L> {
    /// It is queued; whoever offered it makes that life ready.
    Accepted {
        ready: Option<L>,
    },
    /// It is queued in place of this one, which is lost.
    Replaced(E),
    /// It stands in line.
    Waiting {
        ticket: Ticket,
    },
    /// There is no room: back to the sender.
    Full(E),
    /// There is no room and it is lost.
    Lost(E),
    Closed(E),
}

/// What to do with a message that finds no room.
pub(crate) enum WhenFull<'a> {
    /// Hand it back to the sender.
    Refuse,
    /// Count it as lost; the caller makes a dead letter of it.
    Drop,
    /// Stand in line, and be woken; or what the mailbox does instead.
    Wait(&'a Waker),
    /// The same for what a timer or a stream sends: no one is there to have it back.
    WaitOrLose(&'a Waker),
    /// The same for a question: it is never lost, but handed back.
    WaitOrRefuse(&'a Waker),
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
pub(crate) enum Next<E> {
    /// A message, and whether it has a stamp.
    Message(E, bool),
    Control(Control),
    /// Nothing is left: the run is over, the life is not.
    Idle,
    /// Only while draining: nothing is left.
    Empty,
    /// The life is to end.
    Killed,
    /// Another life reads this mailbox now.
    Superseded,
}

/// What follows when a handler pends, or the budget of a run is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// The run is over.
    Gone,
    /// The run is over and the actor is to be run again.
    Again,
    Killed,
    Superseded,
}

/// What was left of a life that was cut off.
pub(crate) enum CutOff<L> {
    /// It had been before.
    Nothing,
    /// Somebody runs it, or it is ready and somebody will: whoever does drops it.
    Running { in_flight: bool },
    /// Nobody runs it or will: whoever cut it off drops it.
    Resting { life: L, in_flight: bool },
}

/// A mailbox as seen from outside, at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) depth: usize,
    pub(crate) depth_max: usize,
    pub(crate) waiting: usize,
    /// Taken out and not counted as ended: 1 while a handler is at work. A reader that is at
    /// full speed can seem to have more, as the counts are not read at the same instant.
    pub(crate) in_flight: u64,
    pub(crate) oldest_age: Duration,
    pub(crate) incarnation: u64,
    pub(crate) tally: Tally,
}

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
                tracing::error!("A waker of a sender that waited for room panicked.");
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

impl<E, L: Copy> Mailbox<E, L> {
    /// A closed mailbox; [`begin_life`](Self::begin_life) opens it.
    pub(crate) fn new(capacity: usize, overflow: Overflow, every: u32) -> Self {
        Mailbox {
            capacity: u32::try_from(capacity).unwrap_or(u32::MAX),
            overflow,
            timed: match every {
                0 => NEVER,
                every => every.next_power_of_two().trailing_zeros() as u8,
            },
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

    pub(crate) fn capacity(&self) -> usize {
        self.capacity as usize
    }

    // ===== senders =====

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
                inner.stamp(number, tick);
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
        let mut woken = Woken::default();
        let admission = self.inner.with(|inner| {
            if !inner.open {
                let is_loss = matches!(when_full, WhenFull::Drop | WhenFull::WaitOrDrop(_));
                inner.turn_away(is_loss, Dropped::Stopped, Rejected::Stopped);
                return Admission::Closed(message);
            }
            self.admit(inner, &mut woken);
            if self.has_room(inner) {
                self.push(inner, message, clock::tick());
                let ready = inner.make_ready();
                return Admission::Accepted { ready };
            }
            if self.overflow == Overflow::DropOldest
                && !matches!(when_full, WhenFull::WaitOrRefuse(_))
                && let Some(oldest) = inner.queue.pop_front()
            {
                // Every step of the reader is under this lock, so the counts are ours.
                self.remove_front(inner, 1);
                inner.rare().dropped[Dropped::Full as usize] += 1;
                self.push(inner, message, clock::tick());
                return Admission::Replaced(oldest);
            }
            if let Some(waker) = waker {
                let rare = inner.rare();
                let ticket = Ticket(rare.next_ticket);
                rare.next_ticket += 1;
                rare.waiting.insert(ticket, (message, waker));
                inner.someone_waits = true;
                if let Some(reader) = &inner.reader {
                    // SAFETY: the desk lives while it stands here.
                    unsafe { reader.desk.as_ref() }.call(WAITERS);
                }
                return Admission::Waiting { ticket };
            }
            let is_loss = match when_full {
                WhenFull::Refuse | WhenFull::WaitOrRefuse(_) => false,
                WhenFull::Drop | WhenFull::WaitOrDrop(_) | WhenFull::WaitOrLose(_) => true,
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

    /// Whether the message of this number is timed.
    #[inline(always)]
    fn is_timed(&self, inner: &Inner<E, L>, number: u64, tick: u32) -> bool {
        number.trailing_zeros() >= u32::from(self.timed)
            || (tick != inner.tick && self.timed != NEVER)
    }

    /// Whether one more fits; keeps the deepest level.
    #[inline(always)]
    fn has_room(&self, inner: &mut Inner<E, L>) -> bool {
        // The low halves will do: there are less messages than these can count.
        let number = (inner.enqueued as u32).wrapping_add(1);
        if number.wrapping_sub(inner.taken_seen) > inner.depth_max {
            // Only now is the reader's own count looked at, which may cost a transfer between cores.
            inner.taken_seen = self.taken.load(Ordering::Acquire) as u32;
            let level = number.wrapping_sub(inner.taken_seen);
            if level > self.capacity {
                return false;
            }
            inner.depth_max = inner.depth_max.max(level);
        }
        true
    }

    #[inline(always)]
    fn push(&self, inner: &mut Inner<E, L>, message: E, tick: u32) {
        let number = inner.enqueued;
        if self.is_timed(inner, number, tick) {
            inner.stamp(number, tick);
        }
        inner.queue.push_back(message);
        inner.enqueued = number + 1;
    }

    /// Lets those in who wait, while there is room.
    fn admit(&self, inner: &mut Inner<E, L>, woken: &mut Woken) {
        while inner.someone_waits && self.has_room(inner) {
            let rare = inner.rare();
            let Some((_, (message, waker))) = rare.waiting.pop_first() else {
                return;
            };
            inner.someone_waits = !inner.rare().waiting.is_empty();
            self.push(inner, message, clock::tick());
            woken.0.push(waker);
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

    /// Asks again for a sender that waits.
    pub(crate) fn poll_ticket(&self, ticket: Ticket, waker: &Waker) -> Admission<E, L> {
        let mut waker = waker.clone();
        self.inner.with(|inner| {
            let rare = inner.rare();
            if let Some((_, registered)) = rare.waiting.get_mut(&ticket) {
                // The earlier one is dropped behind the lock: it is its executor's code.
                std::mem::swap(registered, &mut waker);
                return Admission::Waiting { ticket };
            }
            match rare.returned.remove(&ticket) {
                Some(message) => Admission::Closed(message),
                None => Admission::Accepted { ready: None },
            }
        })
    }

    /// Leaves the line; `None` if the message had been accepted before.
    pub(crate) fn give_up(&self, ticket: Ticket, why: GivenUp) -> Option<E> {
        let (message, _waker) = self.inner.with(|inner| {
            let rare = inner.rare();
            let Some((message, waker)) = rare.waiting.remove(&ticket) else {
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
            inner.someone_waits = !inner.rare().waiting.is_empty();
            (Some(message), Some(waker))
        });
        message
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

    // ===== the life that reads =====

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
            if let Some(rare) = &mut inner.rare {
                rare.control.clear();
                if inner.someone_waits {
                    inner.call_reader(WAITERS);
                }
            }
            inner.state = State::Ready;
        });
    }

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
                put(hand, batch.first.take());
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
            *hand = inner.queue.pop_front();
        } else if !inner.queue.is_empty() {
            std::mem::swap(&mut batch.messages, &mut inner.queue);
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

    /// Returns when the message in hand was queued.
    ///
    /// # Safety
    /// As [`next_at_once`](Self::next_at_once).
    #[cold]
    pub(crate) unsafe fn take_stamp(&self, desk: &Desk<E>) -> Option<Instant> {
        self.inner.with(|inner| {
            if !inner.has_desk(desk) {
                return None;
            }
            let taken = self.taken.load(Ordering::Relaxed);
            let since = inner.pass_stamps(taken);
            let stamped = inner.next_stamp as u32;
            // SAFETY: this is the runner, and the lock keeps all others from the batch.
            desk.batch
                .with_mut(|batch| unsafe { (*batch).stamped = stamped });
            since
        })
    }

    /// Takes the next message or word of the control lane, under the lock: the batch is used up, or somebody called for attention.
    ///
    /// # Safety
    /// As [`next_at_once`](Self::next_at_once).
    #[inline(never)]
    pub(crate) unsafe fn next(&self, desk: &Desk<E>, draining: bool) -> Next<E> {
        let mut woken = Woken::default();
        let next = self.inner.with(|inner| {
            if !inner.has_desk(desk) {
                return Next::Superseded;
            }
            let attention = desk.attention.load(Ordering::Acquire);
            if attention & KILL != 0 {
                return Next::Killed;
            }
            if attention & CONTROL != 0 {
                let rare = inner.rare();
                let word = rare.control.pop_front();
                if rare.control.is_empty() {
                    desk.attention.fetch_and(!CONTROL, Ordering::SeqCst);
                }
                if let Some(word) = word {
                    return Next::Control(word);
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
                self.admit(inner, &mut woken);
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
                if draining {
                    return Next::Empty;
                }
                desk.stop_running();
                inner.state = State::Idle;
                return Next::Idle;
            };
            Next::Message(message, is_stamped)
        });
        woken.wake();
        next
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

    #[inline(always)]
    fn count_done(&self) {
        let done = self.done.load(Ordering::Relaxed);
        self.done.store(done + 1, Ordering::Release);
    }

    /// Counts the message in flight as failed; `false` if there is none, as when this life was cut off meanwhile.
    pub(crate) fn fail(&self, desk: &Desk<E>) -> bool {
        self.inner
            .with(|inner| inner.has_desk(desk) && self.fail_in_flight(inner))
    }

    fn fail_in_flight(&self, inner: &mut Inner<E, L>) -> bool {
        let taken = self.taken.load(Ordering::Relaxed);
        let is_there = taken != self.done.load(Ordering::Relaxed);
        if is_there {
            self.count_done();
            // What is not counted here counts as handled.
            #[cfg(greenroom_planted)]
            if crate::planted::is_planted(crate::planted::Bug::FailedAsHandled) {
                return true;
            }
            inner.rare().failed += 1;
        }
        is_there
    }

    /// Counts the message in flight as lost before its handler began.
    pub(crate) fn discard(&self, desk: &Desk<E>, why: Dropped) {
        self.inner.with(|inner| {
            if inner.has_desk(desk) {
                self.count_done();
                let rare = inner.rare();
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
        self.inner.with(|inner| {
            if !inner.has_desk(desk) {
                return Left::Superseded;
            }
            desk.stop_running();
            Left::Again
        })
    }

    /// Ends a life: what is left of its batch goes back to the queue; `false` if it was cut off before.
    pub(crate) fn leave(&self, desk: &Desk<E>) -> bool {
        self.inner.with(|inner| {
            if !inner.has_desk(desk) {
                return false;
            }
            inner.take_back(desk);
            inner.reader = None;
            inner.state = State::Down;
            true
        })
    }

    /// Returns whether this life has not been cut off or followed by another.
    pub(crate) fn is_read_by(&self, incarnation: u64) -> bool {
        self.inner.with(|inner| inner.is_read_by(incarnation))
    }

    /// Takes the mailbox away from a life that does not end; what it had in hand counts as failed.
    ///
    /// `has_entries`: being ready is an entry in some queue, not a task of that life.
    pub(crate) fn cut_off(&self, incarnation: u64, has_entries: bool) -> CutOff<L> {
        self.inner.with(|inner| {
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
            let in_flight = self.fail_in_flight(inner);
            // SAFETY: the runner is not in a section, and will not begin another one.
            let is_running = desk.batch.with(|batch| unsafe { (*batch).running });
            let is_ready = inner.state == State::Ready;
            inner.state = State::Down;
            if is_running || (is_ready && has_entries) {
                CutOff::Running { in_flight }
            } else {
                CutOff::Resting { life, in_flight }
            }
        })
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
            for (ticket, (message, waker)) in std::mem::take(&mut rare.waiting) {
                rare.returned.insert(ticket, message);
                woken.0.push(waker);
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
            if !left.is_empty() {
                self.remove_front(inner, left.len() as u64);
                inner.rare().dropped[Dropped::Stopped as usize] += left.len() as u64;
            }
            left
        })
    }

    /// Hands over the counts of a role that has ended, and begins anew at 0.
    ///
    /// There are none to hand over where the role was launched again meanwhile.
    pub(crate) fn take_tally(&self) -> Tally {
        self.inner.with(|inner| {
            if inner.open || inner.reader.is_some() || !inner.queue.is_empty() {
                return Tally::default();
            }
            let tally = self.tally(inner);
            let ended = self.done.load(Ordering::Relaxed);
            debug_assert_eq!(
                inner.enqueued, ended,
                "a message of an ended role did not end"
            );
            inner.enqueued = 0;
            inner.taken_seen = 0;
            self.taken.store(0, Ordering::Relaxed);
            self.done.store(0, Ordering::Relaxed);
            if let Some(rare) = &mut inner.rare {
                inner.next_stamp = u64::MAX;
                rare.stamps.clear();
                rare.passed = None;
                rare.failed = 0;
                rare.rejected = Default::default();
                rare.dropped = Default::default();
                rare.discarded = 0;
                rare.turned_away = 0;
            }
            tally
        })
    }

    // ===== observers =====

    fn tally(&self, inner: &Inner<E, L>) -> Tally {
        let done = self.done.load(Ordering::Acquire);
        let mut tally = Tally {
            sent: inner.enqueued,
            enqueued: inner.enqueued,
            dequeued: self.taken.load(Ordering::Acquire),
            handled: done,
            ..Tally::default()
        };
        if let Some(rare) = &inner.rare {
            tally.sent += rare.turned_away + rare.waiting.len() as u64;
            tally.sent += rare.rejected.iter().sum::<u64>();
            tally.handled -= rare.failed + rare.discarded;
            tally.failed = rare.failed;
            tally.rejected = rare.rejected;
            tally.dropped = rare.dropped;
        }
        tally
    }

    /// Reads the mailbox as it is now; `scrape` lets the deepest level begin anew.
    pub(crate) fn reading(&self, scrape: bool) -> Reading {
        let now = Instant::now();
        self.inner.with(|inner| {
            let tally = self.tally(inner);
            // The reader goes on meanwhile, but what it ends was taken before.
            let in_flight = tally.dequeued - (tally.handled + tally.failed + inner.discarded());
            let depth = inner.enqueued - tally.dequeued;
            let depth_max = inner.depth_max as usize;
            if scrape {
                inner.depth_max = depth as u32;
            }
            let head = tally.dequeued - in_flight;
            let rare = inner.rare.as_deref();
            let since = rare.and_then(|rare| match rare.stamps.front() {
                Some((number, since)) if *number <= head => Some(*since),
                _ => rare.passed,
            });
            let is_empty = depth == 0 && in_flight == 0;
            Reading {
                depth: depth as usize,
                depth_max,
                waiting: rare.map_or(0, |rare| rare.waiting.len()),
                in_flight,
                oldest_age: since
                    .filter(|_| !is_empty)
                    .map_or(Duration::ZERO, |since| now.saturating_duration_since(since)),
                incarnation: inner.incarnation,
                tally,
            }
        })
    }

    /// Returns a number that stays the same for as long as one message is in hand; `None` if none is.
    ///
    /// It takes no lock if there is none.
    pub(crate) fn at_work(&self) -> Option<u64> {
        let done = self.done.load(Ordering::Acquire);
        if self.taken.load(Ordering::Acquire) == done {
            return None;
        }
        self.inner.with(|inner| {
            let done = self.done.load(Ordering::Acquire);
            let is_there = self.taken.load(Ordering::Acquire) != done;
            // What overflow takes out of the queue counts as done, too.
            is_there.then(|| done - inner.discarded())
        })
    }

    /// Returns the number of queued messages.
    pub(crate) fn depth(&self) -> usize {
        self.inner
            .with(|inner| (inner.enqueued - self.taken.load(Ordering::Acquire)) as usize)
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
    fn stamp(&mut self, number: u64, tick: u32) {
        self.tick = tick;
        let now = Instant::now();
        self.rare().stamps.push_back((number, now));
        self.next_stamp = self.next_stamp.min(number);
    }

    /// Takes the stamps of all messages below `taken` out; returns the latest.
    fn pass_stamps(&mut self, taken: u64) -> Option<Instant> {
        let rare = self.rare.as_mut()?;
        let mut latest = None;
        while let Some((number, since)) = rare.stamps.front()
            && *number < taken
        {
            latest = Some(*since);
            rare.stamps.pop_front();
        }
        if latest.is_some() {
            rare.passed = latest;
        }
        self.next_stamp = rare.stamps.front().map_or(u64::MAX, |(number, _)| *number);
        latest
    }
}

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
