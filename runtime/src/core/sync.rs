//! The primitives that the core is built on: the standard library's, or loom's or shuttle's when a model is checked.

#[cfg(not(greenroom_loom))]
mod chosen {
    #[cfg(greenroom_shuttle)]
    pub(crate) use shuttle::sync::atomic::{
        AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering, fence,
    };
    #[cfg(not(greenroom_shuttle))]
    pub(crate) use std::sync::atomic::{
        AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering, fence,
    };

    /// `std::cell::UnsafeCell` with the interface of loom's, which counts who looks inside.
    #[derive(Debug)]
    pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        pub(crate) const fn new(value: T) -> Self {
            UnsafeCell(std::cell::UnsafeCell::new(value))
        }

        #[inline(always)]
        pub(crate) fn with<R>(&self, look: impl FnOnce(*const T) -> R) -> R {
            look(self.0.get())
        }

        #[inline(always)]
        pub(crate) fn with_mut<R>(&self, change: impl FnOnce(*mut T) -> R) -> R {
            change(self.0.get())
        }
    }

    /// Waits a moment for another thread, the `n`th time in a row.
    #[cfg(greenroom_shuttle)]
    pub(crate) fn relax(_: u32) {
        shuttle::thread::yield_now();
    }

    #[cfg(not(greenroom_shuttle))]
    #[inline]
    pub(crate) fn relax(n: u32) {
        if n % 64 == 63 {
            std::thread::yield_now();
        } else {
            std::hint::spin_loop();
        }
    }
}

#[cfg(greenroom_loom)]
mod chosen {
    pub(crate) use loom::cell::UnsafeCell;
    pub(crate) use loom::sync::atomic::{
        AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering, fence,
    };

    pub(crate) fn relax(_: u32) {
        loom::thread::yield_now();
    }
}

pub(crate) use chosen::*;
