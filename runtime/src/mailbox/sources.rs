//! Who sends what is queued: "why is this mailbox full?"
//!
//! It is not noted of each message, but where one is timed anyway, and of whoever waits for room. So of those in line it is
//! exact, and of a queue it is a sample: a message counts as sent by whoever sent the one that was timed before it. That
//! is so where somebody sends many at once, and is fair where many send at the same time.

use super::Mailbox;
use crate::core::sync::Ordering;
use crate::postmark::Postmark;

/// At most so many stamps are looked at, which takes some microseconds: senders need the lock.
const STAMPS_MAX: usize = 1024;

/// What one kind of senders has in a mailbox, at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) from: Postmark,
    /// How many messages are queued, about.
    pub(crate) queued: u64,
    /// How many wait for room.
    pub(crate) waiting: u64,
}

/// One for each who sends.
#[derive(Debug, Default)]
struct Parts(Vec<Part>);

impl Parts {
    fn of(&mut self, from: Postmark) -> &mut Part {
        let from = from.first(false);
        // There are few, mostly one.
        let known = self.0.iter().position(|part| part.from == from);
        let i = known.unwrap_or_else(|| {
            self.0.push(Part {
                from,
                queued: 0,
                waiting: 0,
            });
            self.0.len() - 1
        });
        &mut self.0[i]
    }

    /// The next `n` messages of the queue are from there.
    fn queued(&mut self, from: Postmark, n: u64) {
        if n > 0 {
            self.of(from).queued += n;
        }
    }
}

impl<E, L: Copy> Mailbox<E, L> {
    /// Who sends what is queued or waits.
    pub(crate) fn senders(&self) -> Vec<Part> {
        self.inner.with(|inner| {
            let taken = self.taken.load(Ordering::Acquire);
            let depth = inner.enqueued - taken;
            let mut parts = Parts::default();
            let mut from = Postmark::COUNTED;
            let mut place = 0;
            if let Some(rare) = inner.rare.as_deref() {
                from = rare.passed_from;
                for stamp in rare.stamps.sample(STAMPS_MAX) {
                    // Those of messages that were taken out a moment ago may still be there.
                    let next = stamp.ahead_of(taken).max(0) as u64;
                    let next = next.clamp(place, depth);
                    parts.queued(from, next - place);
                    place = next;
                    // One that is tried again does not say whose it is.
                    if stamp.postmark.is_known() {
                        from = stamp.postmark;
                    }
                }
                for waiting in rare.waiting.values() {
                    parts.of(waiting.postmark).waiting += 1;
                }
            }
            parts.queued(from, depth - place);
            parts.0
        })
    }
}
