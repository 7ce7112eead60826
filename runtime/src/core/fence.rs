//! A fence that costs nothing on the side that is taken often.
//!
//! Two threads that each write one flag and then read the other's need a full
//! fence in between, or both may miss each other (the store buffer; Dekker's
//! algorithm). Here the side that runs for every message only tells the
//! compiler, and the side that runs when a life is cut off or a worker is
//! blocked makes every running thread of the process pass a full fence, by
//! Linux's `membarrier` (`MEMBARRIER_CMD_PRIVATE_EXPEDITED`, see its man page).
//! Where the kernel has none, both sides use the real fence, some 5 ns.

use super::sync::{Ordering, fence};

#[cfg(all(target_os = "linux", not(any(miri, greenroom_loom, greenroom_shuttle))))]
mod process {
    use std::sync::Once;
    use std::sync::atomic::{AtomicBool, Ordering};

    static IS_THERE: AtomicBool = AtomicBool::new(false);
    static ASK_ONCE: Once = Once::new();

    fn membarrier(command: libc::c_int) -> bool {
        // SAFETY: the call takes three integers and touches no memory of ours.
        unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
    }

    pub(super) fn prepare() {
        ASK_ONCE.call_once(|| {
            let is_there = membarrier(libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);
            IS_THERE.store(is_there, Ordering::SeqCst);
        });
    }

    #[inline(always)]
    pub(super) fn is_there() -> bool {
        IS_THERE.load(Ordering::Relaxed)
    }

    pub(super) fn pass() {
        // Registered, so it cannot fail; were it to, going on would break what this module promises.
        assert!(
            membarrier(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED),
            "membarrier was registered and is gone"
        );
    }
}

#[cfg(not(all(target_os = "linux", not(any(miri, greenroom_loom, greenroom_shuttle)))))]
mod process {
    pub(super) fn prepare() {}

    pub(super) fn is_there() -> bool {
        false
    }

    pub(super) fn pass() {}
}

/// Asks the kernel for the cheap way; to be called before anything that uses the fences is built.
pub(crate) fn prepare() {
    process::prepare();
}

/// The side of the fence that is passed often.
#[inline(always)]
pub(crate) fn light() {
    if process::is_there() {
        std::sync::atomic::compiler_fence(Ordering::SeqCst);
    } else {
        fence(Ordering::SeqCst);
    }
}

/// Whether the side that is passed often costs next to nothing, as it does in a model.
#[inline]
pub(crate) fn is_cheap() -> bool {
    process::is_there() || cfg!(any(greenroom_loom, greenroom_shuttle))
}

/// [`light`] for what is only there if it [is cheap](is_cheap).
#[inline(always)]
pub(crate) fn light_if_cheap() {
    if cfg!(any(greenroom_loom, greenroom_shuttle)) {
        fence(Ordering::SeqCst);
    } else {
        std::sync::atomic::compiler_fence(Ordering::SeqCst);
    }
}

/// The side of the fence that is passed rarely: afterwards every other thread is before or behind its own [`light`].
#[cold]
pub(crate) fn heavy() {
    fence(Ordering::SeqCst);
    if process::is_there() {
        process::pass();
    }
    fence(Ordering::SeqCst);
}
