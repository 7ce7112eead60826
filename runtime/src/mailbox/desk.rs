//! Where one life has its batch, and how its runner and whoever cuts it off keep apart without a lock.

use crate::core::fence;
use crate::core::micros::Micros;
use crate::core::queue::Queue;
use crate::core::sync::{AtomicBool, AtomicU8, Ordering, UnsafeCell};

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
    pub(super) attention: AtomicU8,
    pub(super) touching: AtomicBool,
    /// When the life began, since the beginning of its system; in bytes that were empty.
    pub(crate) began: Micros,
    pub(super) batch: UnsafeCell<Batch<E>>,
}

pub(super) struct Batch<E> {
    /// Somebody is inside a run.
    pub(super) running: bool,
    /// The number of the next message that has a stamp: its low half. Who takes another for it finds no stamp.
    pub(super) stamped: u32,
    /// A message that came when the actor was idle. Most actors have one at a time; it lies here,
    /// where the next run finds it without the lock, and they need no queue.
    pub(super) first: Option<E>,
    pub(super) messages: Queue<E>,
}

// SAFETY: `batch` is reached by the runner in its sections and by others under the lock after
// they have excluded them, so by one at a time; the rest is atomic.
unsafe impl<E: Send> Sync for Desk<E> {}
// SAFETY: it owns what is in the batch.
unsafe impl<E: Send> Send for Desk<E> {}

/// The control lane has a word.
pub(super) const CONTROL: u8 = 1;
/// The life is to end at its next step.
pub(super) const KILL: u8 = 2;
/// Senders wait for room.
pub(super) const WAITERS: u8 = 4;
/// Every step is under the lock: senders may remove what is queued.
pub(super) const STEPWISE: u8 = 8;
/// Every message is taken by [`Mailbox::next`], whose caller makes a copy of it.
pub(super) const KEEPS: u8 = 16;

impl<E> Desk<E> {
    pub(crate) fn new(began: Micros) -> Self {
        Desk {
            began,
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
    pub(super) fn begin(&self) -> bool {
        self.touching.store(true, Ordering::Relaxed);
        fence::light();
        let is_ours = self.attention.load(Ordering::Acquire) == 0;
        if !is_ours {
            self.end();
        }
        is_ours
    }

    #[inline(always)]
    pub(super) fn end(&self) {
        self.touching.store(false, Ordering::Release);
    }

    /// Returns whether the life has been told to end at once.
    pub(crate) fn is_killed(&self) -> bool {
        self.attention.load(Ordering::Acquire) & KILL != 0
    }

    /// Whether the life makes a copy of each message that it takes.
    #[inline(always)]
    pub(crate) fn keeps(&self) -> bool {
        self.attention.load(Ordering::Relaxed) & KEEPS != 0
    }

    /// The runner ends its run, under the lock.
    #[inline(always)]
    pub(super) fn stop_running(&self) {
        // SAFETY: the caller is the runner, and the lock keeps all others from the batch.
        self.batch
            .with_mut(|batch| unsafe { (*batch).running = false });
    }

    /// Asks the runner to look under the lock before its next step.
    pub(super) fn call(&self, why: u8) {
        self.attention.fetch_or(why, Ordering::SeqCst);
    }
}
