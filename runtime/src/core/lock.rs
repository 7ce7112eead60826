//! A lock of one byte, for sections of a few instructions.
//!
//! One atomic read-modify-write to take it and a plain store to give it back.
//! Whoever waits spins a little and then lets others run. No code of an author
//! is called inside, and nothing waits; what allocates does so rarely (a queue
//! that grows, the line of waiting senders), so sections end soon.

use super::sync::{AtomicBool, Ordering, UnsafeCell, relax};

/// The byte stands before the value: they are used together.
#[repr(C)]
pub(crate) struct Lock<T> {
    taken: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the value is only reached by whoever took the lock, one at a time.
unsafe impl<T: Send> Sync for Lock<T> {}
// SAFETY: the lock owns its value.
unsafe impl<T: Send> Send for Lock<T> {}

/// Clears the flag of a section at its end, also when it panics.
pub(super) struct Taken<'a>(pub(super) &'a AtomicBool);

impl Drop for Taken<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl<T> Lock<T> {
    pub(crate) fn new(value: T) -> Self {
        Lock {
            taken: AtomicBool::new(false),
            value: UnsafeCell::new(value),
        }
    }

    /// Calls `section` with the value while no other thread has it.
    #[inline(always)]
    pub(crate) fn with<R>(&self, section: impl FnOnce(&mut T) -> R) -> R {
        take(&self.taken);
        let _taken = Taken(&self.taken);
        // SAFETY: this thread has taken the lock and `section` cannot take it again: it has no
        // way to reach it but through this reference.
        self.value.with_mut(|value| section(unsafe { &mut *value }))
    }
}

/// Takes the byte of a lock; it is given back by [`Taken`].
#[inline(always)]
pub(super) fn take(taken: &AtomicBool) {
    if taken
        .compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed)
        .is_err()
    {
        wait(taken);
    }
}

#[cold]
fn wait(taken: &AtomicBool) {
    let mut n = 0;
    while taken
        .compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed)
        .is_err()
    {
        while taken.load(Ordering::Relaxed) {
            relax(n);
            n += 1;
        }
    }
}
