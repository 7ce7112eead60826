//! What a mailbox counts, and how it looks from outside, on any thread at any time.

use std::time::Duration;

use tokio::time::Instant;

use super::words::Room;
use super::{Inner, Mailbox};
use crate::core::sync::Ordering;
use crate::postmark::Postmark;
use crate::tally::Tally;

/// A mailbox as seen from outside, at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) depth: usize,
    pub(crate) depth_max: usize,
    pub(crate) waiting: usize,
    /// Taken out and not counted as ended: 1 while a handler is at work. A reader that is at
    /// full speed can seem to have more, as the counts are not read at the same instant.
    pub(crate) in_flight: u64,
    pub(crate) oldest_age: Duration,
    pub(crate) incarnation: u64,
    pub(crate) tally: Tally,
}

impl<E, L: Copy> Mailbox<E, L> {
    /// Reads the mailbox as it is now; `scrape` lets the deepest level begin anew.
    pub(crate) fn reading(&self, scrape: bool) -> Reading {
        let now = Instant::now();
        self.inner.with(|inner| {
            let tally = self.tally(inner);
            // The reader goes on meanwhile, but what it ends was taken before.
            let in_flight = tally.dequeued - (tally.handled + tally.failed + inner.discarded());
            let depth = inner.enqueued - tally.dequeued;
            let depth_max = inner.depth_max as usize;
            if scrape {
                inner.depth_max = depth as u32;
            }
            let head = tally.dequeued - in_flight;
            let rare = inner.rare.as_deref();
            let since = rare.and_then(|rare| rare.queued(head));
            let is_empty = depth == 0 && in_flight == 0;
            Reading {
                depth: depth as usize,
                depth_max,
                waiting: rare.map_or(0, |rare| rare.waiting.len()),
                in_flight,
                oldest_age: since
                    .filter(|_| !is_empty)
                    .map_or(Duration::ZERO, |since| now.saturating_duration_since(since)),
                incarnation: inner.incarnation,
                tally,
            }
        })
    }

    /// Returns a number that stays the same for as long as one message is in hand; `None` if none is.
    ///
    /// It takes no lock if there is none.
    pub(crate) fn at_work(&self) -> Option<u64> {
        let done = self.done.load(Ordering::Acquire);
        if self.taken.load(Ordering::Acquire) == done {
            return None;
        }
        self.inner.with(|inner| {
            let done = self.done.load(Ordering::Acquire);
            let is_there = self.taken.load(Ordering::Acquire) != done;
            is_there.then(|| inner.work(done))
        })
    }

    /// Whether a message is in hand; for the one who runs the life.
    pub(crate) fn has_in_hand(&self) -> bool {
        self.done.load(Ordering::Acquire) != self.taken.load(Ordering::Acquire)
    }

    /// Returns the number of queued messages.
    pub(crate) fn depth(&self) -> usize {
        self.inner
            .with(|inner| (inner.enqueued - self.taken.load(Ordering::Acquire)) as usize)
    }

    /// Returns whether a message that came now would be queued.
    pub(crate) fn room_now(&self) -> Room {
        self.inner.with(|inner| {
            if !inner.open {
                return Room::Closed;
            }
            let level = inner.enqueued - self.made_room().load(Ordering::Acquire);
            match !inner.someone_waits && level < u64::from(self.capacity) {
                true => Room::Free,
                false => Room::Full,
            }
        })
    }

    /// Returns the number of messages that are queued or in hand.
    pub(crate) fn load(&self) -> usize {
        self.inner
            .with(|inner| (inner.enqueued - self.done.load(Ordering::Acquire)) as usize)
    }

    /// Hands over the counts of a role that has ended, and begins anew at 0.
    ///
    /// There are none to hand over where the role was launched again meanwhile.
    pub(crate) fn take_tally(&self) -> Tally {
        self.inner.with(|inner| {
            if inner.open || inner.reader.is_some() || !inner.queue.is_empty() {
                return Tally::default();
            }
            let tally = self.tally(inner);
            let ended = self.done.load(Ordering::Relaxed);
            debug_assert_eq!(
                inner.enqueued, ended,
                "a message of an ended role did not end"
            );
            inner.enqueued = 0;
            inner.taken_seen = 0;
            self.taken.store(0, Ordering::Relaxed);
            self.done.store(0, Ordering::Relaxed);
            if let Some(rare) = &mut inner.rare {
                inner.next_stamp = u64::MAX;
                rare.stamps.clear();
                rare.passed = None;
                rare.passed_from = Postmark::COUNTED;
                rare.recent.clear();
                rare.failed = 0;
                rare.rejected = Default::default();
                rare.dropped = Default::default();
                rare.discarded = 0;
                rare.turned_away = 0;
                rare.recalled = 0;
                rare.retried = 0;
            }
            tally
        })
    }

    fn tally(&self, inner: &Inner<E, L>) -> Tally {
        let done = self.done.load(Ordering::Acquire);
        let mut tally = Tally {
            sent: inner.enqueued,
            enqueued: inner.enqueued,
            dequeued: self.taken.load(Ordering::Acquire),
            handled: done,
            ..Tally::default()
        };
        if let Some(rare) = &inner.rare {
            tally.sent += rare.turned_away + rare.waiting.len() as u64;
            tally.sent += rare.rejected.iter().sum::<u64>() - rare.recalled;
            tally.handled -= rare.failed + rare.discarded;
            tally.failed = rare.failed;
            tally.retried = rare.retried;
            tally.rejected = rare.rejected;
            tally.dropped = rare.dropped;
        }
        tally
    }
}
