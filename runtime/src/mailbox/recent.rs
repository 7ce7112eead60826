//! Which messages came last: those that were timed when they were taken in hand.
//!
//! A message that is timed costs a lock and two looks at the clock anyway, so
//! what is noted here is noted on the way. One note lies in the mailbox itself:
//! who has had one message has no list.

use crate::core::micros::Micros;
use crate::core::queue::Queue;

/// A message that was timed when it was taken in hand; the times are since the beginning of its system.
#[derive(Clone, Copy)]
pub(crate) struct Timed {
    pub(crate) message_type: fn() -> &'static str,
    /// Which it was; the low half.
    work: u32,
    pub(crate) queued: Micros,
    /// When its handler was called.
    pub(crate) begun: Micros,
}

impl Timed {
    pub(crate) fn new(message_type: fn() -> &'static str, queued: Micros, begun: Micros) -> Self {
        Timed {
            message_type,
            work: 0,
            queued,
            begun,
        }
    }
}

/// The latest of one life.
pub(super) struct Recent {
    latest: Option<Timed>,
    /// Those before it, the oldest first.
    earlier: Queue<Timed>,
}

/// How many are kept beside the latest.
const EARLIER_MAX: usize = 7;

impl Recent {
    pub(super) fn new() -> Self {
        Recent {
            latest: None,
            earlier: Queue::new(),
        }
    }

    pub(super) fn note(&mut self, work: u64, timed: Timed) {
        let work = work as u32;
        let before = self.latest.replace(Timed { work, ..timed });
        if let Some(before) = before {
            if self.earlier.len() == EARLIER_MAX {
                self.earlier.pop_front();
            }
            self.earlier.push_back(before);
        }
    }

    /// What is known of the message with this number, if that is the latest.
    pub(super) fn of(&self, work: u64) -> Option<Timed> {
        self.latest.filter(|timed| timed.work == work as u32)
    }

    /// It was not handled after all.
    pub(super) fn forget(&mut self, work: u64) {
        self.latest = self.latest.filter(|timed| timed.work != work as u32);
    }

    /// All but the message with this number, the latest first.
    pub(super) fn before(&self, work: Option<u64>) -> impl Iterator<Item = Timed> {
        let work = work.map(|work| work as u32);
        let latest = self.latest.filter(|timed| Some(timed.work) != work);
        latest.into_iter().chain(self.earlier.iter().rev().copied())
    }

    /// Another life begins; the memory stays for what it will have.
    pub(super) fn clear(&mut self) {
        self.latest = None;
        while self.earlier.pop_front().is_some() {}
    }
}

#[cfg(all(test, not(any(greenroom_loom, greenroom_shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn the_latest_eight_are_kept_and_the_latest_comes_first() {
        let timed = Timed::new(|| "it", Micros::default(), Micros::default());
        let mut recent = Recent::new();
        let numbers = |recent: &Recent, but| -> Vec<u32> {
            recent.before(but).map(|timed| timed.work).collect()
        };
        recent.note(1, timed);
        assert_eq!(recent.earlier.room(), 0, "one takes no memory");
        for number in 2..=20 {
            recent.note(number, timed);
        }
        assert_eq!(numbers(&recent, None), [20, 19, 18, 17, 16, 15, 14, 13]);
        assert_eq!(numbers(&recent, Some(20)), [19, 18, 17, 16, 15, 14, 13]);
        assert!(recent.of(20).is_some() && recent.of(19).is_none());
        recent.forget(19);
        recent.forget(20);
        assert_eq!(numbers(&recent, None), [19, 18, 17, 16, 15, 14, 13]);
        recent.note(21, timed);
        assert_eq!(numbers(&recent, Some(21))[..2], [19, 18]);
        recent.clear();
        assert!(numbers(&recent, None).is_empty());
    }
}
