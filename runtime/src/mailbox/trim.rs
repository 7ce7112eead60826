//! The memory of a long queue, given back when the actor is idle.
//!
//! Not by the runner when it rests: an actor whose queue is long again and again
//! would have the same memory allocated for each of these times. Whoever looks at
//! actors from outside now and then does it, for those that rest at that moment.

use super::{Mailbox, State};
use crate::core::queue::Queue;
use crate::core::sync::Ordering;

/// A queue of at most so many messages keeps its memory: 64 take some two kilobytes.
pub(super) const LONG: usize = 64;

impl<E, L: Copy> Mailbox<E, L> {
    /// Gives back the memory of a queue that was long and is empty; it takes no lock if there is none.
    pub(crate) fn trim(&self) {
        if !self.was_long.load(Ordering::Relaxed) {
            return;
        }
        let emptied = self.inner.with(|inner| {
            // A life that runs, or pends, has the batch for itself: until the next look.
            if inner.state != State::Idle || !inner.queue.is_empty() {
                return None;
            }
            let queue = std::mem::replace(&mut inner.queue, Queue::new());
            let batch = inner.reader.as_ref().map(|reader| {
                // SAFETY: the desk lives while it stands here.
                let desk = unsafe { reader.desk.as_ref() };
                // SAFETY: nobody runs an idle life, and who makes it ready needs this lock first.
                let batch = desk.batch.with_mut(|batch| unsafe { &mut *batch });
                debug_assert!(batch.messages.is_empty(), "an idle life has a batch");
                std::mem::replace(&mut batch.messages, Queue::new())
            });
            if let Some(rare) = &mut inner.rare {
                rare.stamps.shrink();
            }
            self.was_long.store(false, Ordering::Relaxed);
            Some((queue, batch))
        });
        // Not under the lock.
        drop(emptied);
    }

    /// For how many messages there is memory.
    #[cfg(all(test, not(any(greenroom_loom, greenroom_shuttle))))]
    pub(crate) fn room(&self) -> usize {
        self.inner.with(|inner| {
            let batch = inner.reader.as_ref().map_or(0, |reader| {
                // SAFETY: as above; tests ask when nobody runs.
                unsafe {
                    reader
                        .desk
                        .as_ref()
                        .batch
                        .with(|batch| (*batch).messages.room())
                }
            });
            inner.queue.room() + batch
        })
    }
}
