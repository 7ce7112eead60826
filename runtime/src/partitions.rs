//! The partitions of a supervisor: which are in use, and to which of them a key belongs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Mutex, MutexGuard};

use crate::role::Role;

/// The partitions of a supervisor that has some.
pub(crate) struct Partitions {
    roles: Box<[Arc<dyn Role>]>,
    /// How many are in use, in the lower half, and in which life of the supervisor that was settled: a new life has all.
    in_use: AtomicU64,
    /// Held by whoever changes how many there are.
    resizing: Mutex<()>,
}

impl Partitions {
    pub(crate) fn new(roles: Box<[Arc<dyn Role>]>) -> Self {
        Partitions {
            roles,
            in_use: AtomicU64::new(0),
            resizing: Mutex::new(()),
        }
    }

    /// All that there are, in the order of their numbers.
    pub(crate) fn roles(&self) -> &[Arc<dyn Role>] {
        &self.roles
    }

    /// How many are in use in this life of the supervisor.
    pub(crate) fn in_use(&self, incarnation: u64) -> usize {
        let word = self.in_use.load(Ordering::Acquire);
        if word & !LOWER == incarnation << 32 {
            (word & LOWER) as usize
        } else {
            self.roles.len()
        }
    }

    pub(crate) fn set_in_use(&self, incarnation: u64, n: usize) {
        let word = incarnation << 32 | n as u64 & LOWER;
        self.in_use.store(word, Ordering::Release);
    }

    /// Waits until nobody else changes how many are in use.
    pub(crate) async fn resize(&self) -> MutexGuard<'_, ()> {
        self.resizing.lock().await
    }

    /// The one that a hash belongs to, if any is in use.
    pub(crate) fn at(&self, hash: u64, incarnation: u64) -> Option<&Arc<dyn Role>> {
        self.roles.get(place(hash, self.in_use(incarnation))?)
    }
}

const LOWER: u64 = 0xffff_ffff;

/// Returns to which of `n` places a hash belongs: of one place more, only those move that belong to it.
///
/// It is the jump consistent hash of Lamping and Veach: of the jumps of a sequence
/// that the hash alone decides, the last one below `n`.
fn place(mut hash: u64, n: usize) -> Option<usize> {
    let mut last = None;
    let mut next = 0;
    while next < n {
        last = Some(next);
        hash = hash.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        let jump = (1u64 << 31) as f64 / ((hash >> 33) + 1) as f64;
        next = ((next + 1) as f64 * jump) as usize;
    }
    last
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn a_place_more_takes_only_what_it_gets_and_all_get_their_share() {
        const KEYS: u64 = 10_000;
        // Far apart, as hashes are.
        let hash = |key: u64| key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        assert_eq!(place(hash(1), 0), None);
        for n in 1..16_usize {
            let mut moved = 0;
            let mut shares = vec![0; n + 1];
            for key in 0..KEYS {
                let (before, after) = (place(hash(key), n), place(hash(key), n + 1));
                if before != after {
                    assert_eq!(after, Some(n));
                    moved += 1;
                }
                if let Some(at) = after {
                    shares[at] += 1;
                }
            }
            let share = KEYS / (n as u64 + 1);
            assert!(
                (share * 8 / 10..share * 12 / 10).contains(&moved),
                "{moved} of {share}"
            );
            let even = |n: &u64| (share * 8 / 10..share * 12 / 10).contains(n);
            assert!(shares.iter().all(even), "{shares:?}");
        }
    }
}
