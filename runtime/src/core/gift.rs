//! A value of which everybody gets a copy, or one the thing itself.
//!
//! What says which lies apart from the value, where its owner has room for a byte.

use std::cell::UnsafeCell;
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicU8, Ordering};

pub(crate) struct Gift<T>(UnsafeCell<ManuallyDrop<T>>);

/// Who gets the value.
pub(crate) struct Whose(AtomicU8);

/// Everybody gets a copy.
const EVERYBODY: u8 = 0;
/// The first who asks gets it.
const ONE: u8 = 1;
/// It has been given away.
const NOBODY: u8 = 2;

// SAFETY: a shared one is read, or moved out of by the one thread that may.
unsafe impl<T: Send + Sync> Sync for Gift<T> {}

impl Whose {
    pub(crate) const fn everybody() -> Self {
        Whose(AtomicU8::new(EVERYBODY))
    }

    pub(crate) const fn one() -> Self {
        Whose(AtomicU8::new(ONE))
    }

    /// Whether it is for one, who may have it already.
    pub(crate) fn is_one(&self) -> bool {
        self.0.load(Ordering::Relaxed) != EVERYBODY
    }
}

impl<T> Gift<T> {
    pub(crate) const fn new(value: T) -> Self {
        Gift(UnsafeCell::new(ManuallyDrop::new(value)))
    }

    /// Returns a copy or the value; `None` if it has been given away.
    ///
    /// # Safety
    /// It is always asked, and ended, with the same `whose`; and it has not been [ended](Self::end).
    pub(crate) unsafe fn get(&self, whose: &Whose) -> Option<T>
    where
        T: Clone,
    {
        let (one, nobody) = (Ordering::AcqRel, Ordering::Acquire);
        match whose.0.compare_exchange(ONE, NOBODY, one, nobody) {
            // SAFETY: this happens once, and nobody refers to it: who gets copies is never told apart from who
            // gets the value itself, so there are none.
            Ok(_) => Some(unsafe { ManuallyDrop::take(&mut *self.0.get()) }),
            // SAFETY: it is there for ever, and nobody changes it.
            Err(EVERYBODY) => Some(unsafe { T::clone(&*self.0.get()) }),
            Err(_) => None,
        }
    }

    /// Drops the value, if it is still there.
    ///
    /// # Safety
    /// As [`get`](Self::get).
    pub(crate) unsafe fn end(&mut self, whose: &mut Whose) {
        if *whose.0.get_mut() != NOBODY {
            // SAFETY: as the caller promises, it has not been dropped, nor moved out.
            unsafe { ManuallyDrop::drop(self.0.get_mut()) };
        }
    }
}

#[cfg(all(test, not(any(greenroom_loom, greenroom_shuttle))))]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn given(mut whose: Whose, times: usize) -> (usize, usize) {
        let counted = Arc::new(());
        let mut gift = Gift::new(Arc::clone(&counted));
        // SAFETY: it is ended below, and `whose` is its own.
        let got: Vec<_> = (0..times)
            .filter_map(|_| unsafe { gift.get(&whose) })
            .collect();
        let kept = Arc::strong_count(&counted) - 1 - got.len();
        // SAFETY: as above.
        unsafe { gift.end(&mut whose) };
        let count = got.len();
        drop(got);
        assert_eq!(Arc::strong_count(&counted), 1, "each was dropped once");
        (count, kept)
    }

    #[test]
    fn everybody_gets_a_copy() {
        assert_eq!(given(Whose::everybody(), 0), (0, 1));
        assert_eq!(given(Whose::everybody(), 3), (3, 1));
    }

    #[test]
    fn one_gets_the_value_itself() {
        assert_eq!(given(Whose::one(), 0), (0, 1));
        assert_eq!(given(Whose::one(), 1), (1, 0));
        assert_eq!(given(Whose::one(), 3), (1, 0));
    }

    #[test]
    fn of_many_threads_one_gets_the_value() {
        for _ in 0..100 {
            let (gift, mut whose) = (Gift::new(Box::new(7)), Whose::one());
            let got = std::thread::scope(|scope| {
                // SAFETY: it is ended below, and `whose` is its own.
                let ask = || unsafe { gift.get(&whose) };
                let threads = [scope.spawn(ask), scope.spawn(ask)];
                threads.map(|thread| thread.join().expect("it does not panic"))
            });
            assert_eq!(got.into_iter().flatten().count(), 1);
            let mut gift = gift;
            // SAFETY: as above.
            unsafe { gift.end(&mut whose) };
        }
    }
}
