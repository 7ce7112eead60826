//! When some of the queued messages came, by their number.
//!
//! Of most mailboxes one message at a time is timed, and the first stamp lies in
//! place: a queue's first piece of memory is one for four.

use std::collections::VecDeque;

use tokio::time::Instant;

type Stamp = (u64, Instant);

#[derive(Default)]
pub(super) struct Stamps {
    /// None only where there are no others.
    first: Option<Stamp>,
    others: VecDeque<Stamp>,
}

impl Stamps {
    pub(super) fn front(&self) -> Option<Stamp> {
        self.first
    }

    pub(super) fn pop_front(&mut self) {
        self.first = self.others.pop_front();
    }

    pub(super) fn push_front(&mut self, stamp: Stamp) {
        if let Some(second) = self.first.replace(stamp) {
            self.others.push_front(second);
        }
    }

    pub(super) fn push_back(&mut self, stamp: Stamp) {
        if self.first.is_none() {
            self.first = Some(stamp);
        } else {
            self.others.push_back(stamp);
        }
    }

    pub(super) fn clear(&mut self) {
        self.first = None;
        self.others.clear();
    }

    /// Gives back memory that is not in use.
    pub(super) fn shrink(&mut self) {
        self.others.shrink_to_fit();
    }
}

#[cfg(all(test, not(any(greenroom_loom, greenroom_shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn stamps_leave_in_order_wherever_they_were_put() {
        let now = Instant::now();
        let mut stamps = Stamps::default();
        for number in [4, 5, 6] {
            stamps.push_back((number, now));
        }
        for number in [3, 2] {
            stamps.push_front((number, now));
        }
        let mut left = Vec::new();
        while let Some((number, _)) = stamps.front() {
            left.push(number);
            stamps.pop_front();
            stamps.shrink();
        }
        assert_eq!(left, [2, 3, 4, 5, 6]);
        stamps.push_front((1, now));
        stamps.push_back((2, now));
        stamps.clear();
        stamps.push_back((7, now));
        assert_eq!(stamps.front(), Some((7, now)));
    }
}
