//! Publishers that wait until those subscriptions have an event that are required to have it.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Sleep;

use crate::failure::guarded;

/// How many of them have no room yet; shared by a publisher and the places of its event.
#[derive(Default)]
pub(crate) struct Waiting(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    left: usize,
    lost: usize,
    waker: Option<Waker>,
}

impl Waiting {
    /// The event has come into a mailbox, or is lost.
    pub(super) fn settle(&self, is_delivered: bool) {
        let mut inner = self.0.lock();
        inner.left -= 1;
        inner.lost += usize::from(!is_delivered);
        let waker = match inner.left {
            0 => inner.waker.take(),
            _ => None,
        };
        drop(inner);
        if let Some(waker) = waker
            && guarded(|| waker.wake()).is_err()
        {
            tracing::error!("A waker of a publisher that waited for room panicked.");
        }
    }
}

/// Whose buffer an event is kept in, the event's type forgotten.
pub(crate) trait Holder: Send + Sync {
    /// The publisher does not wait any longer: the event is kept as the contract says.
    fn let_go(self: Arc<Self>, place: u64);
    fn sleep(&self, duration: Duration) -> Pin<Box<Sleep>>;
}

/// The required subscriptions that had no room for an event; dropping it gives them up.
#[derive(Default)]
pub(crate) struct Required {
    waiting: Arc<Waiting>,
    holders: Vec<(Arc<dyn Holder>, u64)>,
}

impl Required {
    /// One more is to be waited for.
    pub(super) fn waits(&self) -> Arc<Waiting> {
        self.waiting.0.lock().left += 1;
        Arc::clone(&self.waiting)
    }

    pub(super) fn hold(&mut self, holder: Arc<dyn Holder>, place: u64) {
        self.holders.push((holder, place));
    }

    pub(crate) fn poll(&self, waker: &Waker) -> Poll<()> {
        // Cloning and dropping wakers is their executor's code: not under the lock.
        let waker = waker.clone();
        let mut inner = self.waiting.0.lock();
        if inner.left == 0 {
            return Poll::Ready(());
        }
        let before = inner.waker.replace(waker);
        drop(inner);
        drop(before);
        Poll::Pending
    }

    /// How many have no room yet, and how many have lost the event meanwhile.
    pub(crate) fn left_and_lost(&self) -> (usize, usize) {
        let inner = self.waiting.0.lock();
        (inner.left, inner.lost)
    }

    pub(crate) fn len(&self) -> usize {
        self.holders.len()
    }

    /// A timer of their system; there is one at least that holds the event.
    pub(crate) fn sleep(&self, duration: Duration) -> Option<Pin<Box<Sleep>>> {
        let (holder, _) = self.holders.first()?;
        Some(holder.sleep(duration))
    }
}

impl fmt::Debug for Required {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (left, lost) = self.left_and_lost();
        let mut f = f.debug_struct("Required");
        f.field("left", &left).field("lost", &lost).finish()
    }
}

impl Drop for Required {
    fn drop(&mut self) {
        for (holder, place) in self.holders.drain(..) {
            holder.let_go(place);
        }
    }
}
