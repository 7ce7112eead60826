//! When some of the queued messages came, and from whom, by their number.
//!
//! Of most mailboxes one message at a time is timed, and the first stamp lies in
//! place: a queue's first piece of memory is one for four.

use std::collections::VecDeque;

use tokio::time::Instant;

use crate::postmark::Postmark;

/// When a message came, and from whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) since: Instant,
    /// The low half of its number, as there are less messages than that can count.
    number: u32,
    pub(crate) postmark: Postmark,
}

impl Stamp {
    pub(super) fn new(number: u64, since: Instant, postmark: Postmark) -> Self {
        let number = number as u32;
        Stamp {
            since,
            number,
            postmark,
        }
    }

    /// How far its message is ahead of the one of this number.
    pub(super) fn ahead_of(self, number: u64) -> i32 {
        self.number.wrapping_sub(number as u32) as i32
    }
}

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

    /// All of them, or `n` if there are more: one out of each stretch of equal length, which is not always at the same
    /// place in it, as senders may take turns.
    pub(super) fn sample(&self, n: usize) -> impl Iterator<Item = Stamp> {
        let len = self.len();
        let n = n.min(len);
        (0..n).filter_map(move |i| {
            let begin = i * len / n;
            let length = (i + 1) * len / n - begin;
            let place = (i as u64 + 1).wrapping_mul(super::GOLDEN) >> 32;
            self.get(begin + ((place * length as u64) >> 32) as usize)
        })
    }

    fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.others.len()
    }

    fn get(&self, n: usize) -> Option<Stamp> {
        match n.checked_sub(1) {
            None => self.first,
            Some(n) => self.others.get(n).copied(),
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
        let stamp = |number| Stamp::new(number, now, Postmark::OUTSIDE);
        let mut stamps = Stamps::default();
        for number in [4, 5, 6] {
            stamps.push_back(stamp(number));
        }
        for number in [3, 2] {
            stamps.push_front(stamp(number));
        }
        let mut left = Vec::new();
        while let Some(stamp) = stamps.front() {
            left.push(stamp.ahead_of(0));
            stamps.pop_front();
            stamps.shrink();
        }
        assert_eq!(left, [2, 3, 4, 5, 6]);
        stamps.push_front(stamp(1));
        stamps.push_back(stamp(2));
        stamps.clear();
        stamps.push_back(stamp(7));
        assert_eq!(stamps.front(), Some(stamp(7)));
    }

    #[test]
    fn a_sample_is_in_order_spread_out_and_fair_to_those_who_take_turns() {
        let now = Instant::now();
        let mut stamps = Stamps::default();
        assert_eq!(stamps.sample(4).count(), 0);
        for number in 0..4096 {
            stamps.push_back(Stamp::new(number, now, Postmark::OUTSIDE));
        }
        let numbers = |n| {
            let sample = stamps.sample(n);
            sample.map(|stamp| stamp.ahead_of(0)).collect::<Vec<_>>()
        };
        assert_eq!(numbers(5000), (0..4096).collect::<Vec<_>>());
        let sample = numbers(256);
        for (i, n) in sample.iter().enumerate() {
            assert_eq!(n / 16, i as i32, "{sample:?}");
        }
        let even = sample.iter().filter(|n| **n % 2 == 0).count();
        assert!((118..=138).contains(&even), "{even} of 256");
    }

    #[test]
    fn a_stamp_takes_no_more_than_a_number_and_a_time() {
        assert_eq!(
            size_of::<Option<Stamp>>(),
            size_of::<Option<(u64, Instant)>>()
        );
        // The numbers go round without anybody seeing it.
        let stamp = Stamp::new((1 << 32) + 1, Instant::now(), Postmark::OUTSIDE);
        assert_eq!(stamp.ahead_of((1 << 32) - 1), 2);
        assert_eq!(stamp.ahead_of((1 << 32) + 5), -4);
    }
}
