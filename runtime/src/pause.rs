//! A gate at which a life waits between two messages, as long as its actor is paused.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// The gate of one role; a life waits at it as at a handler that pends.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    is_closed: AtomicBool,
    /// A word to the life says that the gate was closed, and was not read yet.
    is_told: AtomicBool,
    changed: Notify,
}

impl Gate {
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst)
    }

    /// Closes it; returns whether it was open.
    pub(crate) fn close(&self) -> bool {
        !self.is_closed.swap(true, Ordering::SeqCst)
    }

    /// Whether the life is to be told that it is closed, which the caller does then.
    pub(crate) fn is_to_be_told(&self) -> bool {
        !self.is_told.swap(true, Ordering::SeqCst)
    }

    /// The life was told; to be said before it looks whether the gate is closed.
    pub(crate) fn told(&self) {
        self.is_told.store(false, Ordering::SeqCst);
    }

    /// Opens it; returns whether it was closed.
    pub(crate) fn open(&self) -> bool {
        let was_closed = self.is_closed.swap(false, Ordering::SeqCst);
        self.call();
        was_closed
    }

    /// Lets whoever waits at it look around; where nobody does, the next one looks at once.
    pub(crate) fn call(&self) {
        self.changed.notify_one();
    }

    /// Waits until somebody opens it, or calls.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }
}
