//! A place for a reference to something that lives for ever, written by one and read by many.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicPtr, Ordering};

/// An atomic `Option<&'static T>`.
pub(crate) struct AtomicStatic<T: 'static> {
    place: AtomicPtr<T>,
    _holds: PhantomData<&'static T>,
}

impl<T: Sync> AtomicStatic<T> {
    pub(crate) const fn empty() -> Self {
        AtomicStatic {
            place: AtomicPtr::new(std::ptr::null_mut()),
            _holds: PhantomData,
        }
    }

    #[inline(always)]
    pub(crate) fn set(&self, value: &'static T) {
        self.place
            .store(std::ptr::from_ref(value).cast_mut(), Ordering::Release);
    }

    pub(crate) fn get(&self) -> Option<&'static T> {
        // SAFETY: it is null, or was made from a reference that is good for ever.
        unsafe { self.place.load(Ordering::Acquire).as_ref() }
    }
}
