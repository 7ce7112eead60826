//! What the subscriptions of one name are counted by, whosever they are.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::DropReason;

/// How many names of one event type have series of their own; all further ones are counted as `_other`.
///
/// It keeps the number of series bounded whatever names an application makes up.
const NAMES_MAX: usize = 64;

/// At any moment at rest `matched = delivered + dropped + kept`.
#[derive(Default)]
pub(crate) struct Meter {
    matched: AtomicU64,
    delivered: AtomicU64,
    dropped: [AtomicU64; DropReason::ALL.len()],
    /// In a buffer, or on the way from there into a mailbox.
    kept: AtomicU64,
    /// Of these, how many stand in the line of a mailbox, which counts them itself.
    in_line: AtomicU64,
    /// Of those dropped, how many no mailbox has ever seen.
    unseen: AtomicU64,
}

/// What a [`Meter`] says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MeterReading {
    pub(crate) matched: u64,
    pub(crate) delivered: u64,
    pub(crate) dropped: [u64; DropReason::ALL.len()],
    pub(crate) kept: u64,
    pub(crate) in_line: u64,
    pub(crate) unseen: u64,
}

impl Meter {
    pub(super) fn matched(&self) {
        self.matched.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn delivered(&self) {
        self.delivered.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a loss; `seen` is whether a mailbox has counted it, too.
    pub(super) fn dropped(&self, why: DropReason, seen: bool) {
        self.dropped[why as usize].fetch_add(1, Ordering::Relaxed);
        if !seen {
            self.unseen.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn keep(&self, n: u64) {
        self.kept.fetch_add(n, Ordering::Relaxed);
    }

    pub(super) fn unkeep(&self) {
        self.kept.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn enter_line(&self) {
        self.in_line.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn leave_line(&self) {
        self.in_line.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn reading(&self) -> MeterReading {
        let n = |count: &AtomicU64| count.load(Ordering::Relaxed);
        MeterReading {
            matched: n(&self.matched),
            delivered: n(&self.delivered),
            dropped: std::array::from_fn(|i| n(&self.dropped[i])),
            kept: n(&self.kept),
            in_line: n(&self.in_line),
            unseen: n(&self.unseen),
        }
    }
}

/// The meters of one event type.
#[derive(Default)]
pub(super) struct Meters(Vec<(Arc<str>, Arc<Meter>)>);

impl Meters {
    pub(super) fn of(&mut self, name: &Arc<str>) -> Arc<Meter> {
        let known = |wanted: &str| self.0.iter().find(|(name, _)| **name == *wanted);
        if let Some((_, meter)) = known(name) {
            return Arc::clone(meter);
        }
        let name = if self.0.len() < NAMES_MAX {
            Arc::clone(name)
        } else if let Some((_, other)) = known(OTHER) {
            return Arc::clone(other);
        } else {
            Arc::from(OTHER)
        };
        let meter = Arc::default();
        self.0.push((name, Arc::clone(&meter)));
        meter
    }

    pub(super) fn all(&self) -> Vec<(Arc<str>, Arc<Meter>)> {
        self.0.clone()
    }
}

const OTHER: &str = "_other";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_beyond_the_limit_share_one_meter() {
        let mut meters = Meters::default();
        for n in 0..1_000 {
            let name = Arc::from(format!("n{n}"));
            let meter = meters.of(&name);
            assert!(Arc::ptr_eq(&meter, &meters.of(&name)));
        }
        let all = meters.all();
        assert_eq!(all.len(), NAMES_MAX + 1);
        assert_eq!(&*all[NAMES_MAX].0, OTHER);
    }
}
