//! One worker as the queues see it: what its owner uses for every run, and what other threads use.

use std::collections::VecDeque;
use std::ops::Deref;

use super::super::fence::light;
use super::super::lock::Lock;
use super::super::sync::{
    AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering, UnsafeCell, fence,
};
use super::{Runnable, Unpark};

/// Work whose messages take so long on average, in nanoseconds, is worth a move to another core.
///
/// To fetch an actor and its messages there takes 100 to 200 ns each.
const DEAR: u64 = 100;
/// So is a backlog of so many nanoseconds.
const LONG: u64 = 100_000;

pub(super) const AWAKE: u8 = 0;
pub(super) const PARKED: u8 = 1;
/// Woken, and in possession of the token `searching`.
pub(super) const SENT: u8 = 2;

/// On cache lines of its own (two: processors fetch them in pairs).
#[repr(align(128))]
pub(super) struct Apart<T>(pub(super) T);

impl<T> Deref for Apart<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.0
    }
}

/// One worker.
pub(super) struct Line<U> {
    pub(super) own: Apart<Own>,
    pub(super) others: Apart<Others>,
    pub(super) unpark: U,
}

/// What the owner uses for every run.
pub(super) struct Own {
    pub(super) touching: AtomicBool,
    pub(super) seized: AtomicBool,
    pub(super) private: UnsafeCell<VecDeque<Runnable>>,
    pub(super) kept: UnsafeCell<Kept>,
    /// Odd inside a run; half of it is how many began.
    pub(super) progress: AtomicU64,
    /// What a message takes of late, in nanoseconds; 0 if not known.
    pub(super) cost: AtomicU64,
}

/// What no other thread ever looks at.
pub(super) struct Kept {
    pub(super) pinned: VecDeque<Runnable>,
    /// The pinned and the others take turns.
    pub(super) pinned_next: bool,
    /// This worker is counted in `wanting`.
    pub(super) wanting: bool,
    pub(super) carried: Vec<Runnable>,
    /// What the latest messages took in all, in nanoseconds; the older they are the less they count.
    pub(super) time: u64,
    /// How many those are.
    pub(super) messages: u64,
}

/// What other threads use.
pub(super) struct Others {
    pub(super) state: AtomicU8,
    /// Some thread is this worker.
    pub(super) taken: AtomicBool,
    pub(super) inbox: Lock<Inbox>,
    pub(super) inbox_len: AtomicUsize,
    pub(super) shared: Lock<VecDeque<Runnable>>,
    pub(super) shared_len: AtomicUsize,
}

#[derive(Default)]
pub(super) struct Inbox {
    pub(super) free: Vec<Runnable>,
    pub(super) pinned: Vec<Runnable>,
    /// The worker is gone.
    pub(super) closed: bool,
}

// SAFETY: `private` is reached only by the owner, or under the lock of the shared part while the
// owner is kept off by `touching` and `seized`; `kept` only by the owner.
unsafe impl Sync for Own {}

impl Own {
    /// May the owner touch its private queue? If so it has to call `finish`.
    #[inline(always)]
    pub(super) fn begin(&self) -> bool {
        self.touching.store(true, Ordering::Relaxed);
        light();
        if self.seized.load(Ordering::Acquire) {
            self.finish();
            return false;
        }
        true
    }

    #[inline(always)]
    pub(super) fn finish(&self) {
        self.touching.store(false, Ordering::Release);
    }

    /// Is moving part of `len` ready ones worth what it costs another core to fetch them?
    #[inline]
    pub(super) fn is_worth(&self, len: usize) -> bool {
        let cost = self.cost.load(Ordering::Relaxed);
        cost >= DEAR || cost.saturating_mul(len as u64) > LONG
    }
}

impl Others {
    pub(super) fn count(&self, inbox: &Inbox) {
        self.inbox_len
            .store(inbox.free.len() + inbox.pinned.len(), Ordering::Relaxed);
    }
}

impl<U: Unpark> Line<U> {
    /// Something was put where this worker has to see it: wakes it if it is parked.
    pub(super) fn wake(&self) {
        fence(Ordering::SeqCst);
        self.unpark_to(AWAKE);
    }

    /// Wakes it if it is parked, and nobody else did.
    pub(super) fn unpark_to(&self, state: u8) -> bool {
        let is = &self.others.state;
        let is_won = is.load(Ordering::Relaxed) == PARKED
            && is
                .compare_exchange(PARKED, state, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok();
        if is_won {
            self.unpark.unpark();
        }
        is_won
    }
}
