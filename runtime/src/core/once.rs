//! A place for something that few have: one word, and a box from the first use on.

use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicPtr, Ordering};

pub(crate) struct OnceBox<T> {
    /// Null, or from `Box::into_raw`; it changes once.
    place: AtomicPtr<T>,
    _owns: PhantomData<T>,
}

// SAFETY: it hands `&T` to all threads, and lets one drop what another has made.
unsafe impl<T: Send + Sync> Sync for OnceBox<T> {}
// SAFETY: it owns the value.
unsafe impl<T: Send> Send for OnceBox<T> {}

impl<T> OnceBox<T> {
    pub(crate) const fn new() -> Self {
        OnceBox {
            place: AtomicPtr::new(std::ptr::null_mut()),
            _owns: PhantomData,
        }
    }

    pub(crate) fn get(&self) -> Option<&T> {
        // SAFETY: what stands there was made by `get_or_init` and stays until `self` is dropped.
        unsafe { self.place.load(Ordering::Acquire).as_ref() }
    }

    /// Where two make it at once, one of them drops its own again.
    pub(crate) fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
        if let Some(there) = self.get() {
            return there;
        }
        let mine = NonNull::from(Box::leak(Box::new(make())));
        let null = std::ptr::null_mut();
        let won =
            self.place
                .compare_exchange(null, mine.as_ptr(), Ordering::AcqRel, Ordering::Acquire);
        match won {
            // SAFETY: it stays until `self` is dropped.
            Ok(_) => unsafe { mine.as_ref() },
            Err(theirs) => {
                // SAFETY: nobody else has seen this one.
                drop(unsafe { Box::from_raw(mine.as_ptr()) });
                // SAFETY: as in `get`: it is not null.
                unsafe { &*theirs }
            }
        }
    }
}

impl<T> Default for OnceBox<T> {
    fn default() -> Self {
        OnceBox::new()
    }
}

impl<T> Drop for OnceBox<T> {
    fn drop(&mut self) {
        let place = *self.place.get_mut();
        if !place.is_null() {
            // SAFETY: it is from a box, and nobody borrows it any more.
            drop(unsafe { Box::from_raw(place) });
        }
    }
}

#[cfg(all(test, not(any(greenroom_loom, greenroom_shuttle))))]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    struct Counted<'a>(&'a AtomicUsize, usize);

    impl Drop for Counted<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn all_who_make_it_at_once_get_the_same_and_each_is_dropped_once() {
        for _ in 0..200 {
            let (made, dropped) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let once = OnceBox::new();
            assert!(once.get().is_none());
            let make = || Counted(&dropped, made.fetch_add(1, Ordering::Relaxed));
            let seen: Vec<usize> = std::thread::scope(|threads| {
                let all = [(); 3].map(|()| threads.spawn(|| once.get_or_init(make).1));
                all.map(|thread| thread.join().unwrap_or(usize::MAX))
                    .to_vec()
            });
            let there = once.get().map(|counted| counted.1);
            assert!(
                seen.iter().all(|n| Some(*n) == there),
                "{seen:?}, {there:?}"
            );
            drop(once);
            assert_eq!(made.into_inner(), dropped.into_inner());
        }
    }
}
