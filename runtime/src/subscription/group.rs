//! A group of subscriptions that share events: each event is one member's.

use std::cmp::Reverse;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A group of one name and one event type.
#[derive(Default)]
pub(super) struct Group {
    turn: AtomicUsize,
}

impl Group {
    /// The first in turn that has room, of so many; or the first in turn.
    pub(super) fn in_turn(&self, members: usize, has_room: impl Fn(usize) -> bool) -> usize {
        let first = self.turn.fetch_add(1, Ordering::Relaxed) % members;
        let mut turns = (first..members).chain(0..first);
        turns.find(|member| has_room(*member)).unwrap_or(first)
    }

    /// The one with the least to do, of so many; of several the first in turn.
    pub(super) fn least(&self, members: usize, load: impl Fn(usize) -> usize) -> usize {
        let first = self.turn.fetch_add(1, Ordering::Relaxed) % members;
        let turns = (first..members).chain(0..first);
        turns.min_by_key(|member| load(*member)).unwrap_or(first)
    }
}

/// The member whose events of a key are, by the highest of what key and member make together: so each key has an order
/// of members of its own, and when one goes its keys go to the next in theirs.
pub(super) fn of_key(key: Option<&str>, members: impl Iterator<Item = u64>) -> usize {
    let key = hash(key);
    let weighed = members
        .enumerate()
        .map(|(i, member)| (mix(key ^ member), Reverse(i)));
    weighed.max().map_or(0, |(_, Reverse(i))| i)
}

/// A hash that is the same in each run.
pub(super) fn hash(of: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// Spreads a change of one bit over all (the finalizer of `SplitMix64`).
fn mix(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_keys_of_one_who_goes_move_and_all_have_a_fair_part() {
        let members: Vec<u64> = (0..10).map(|n| hash(format!("app/worker-{n}"))).collect();
        let keys: Vec<String> = (0..10_000).map(|n| format!("key {n}")).collect();
        let owner =
            |key: &str, members: &[u64]| members[of_key(Some(key), members.iter().copied())];
        let mut parts = [0_u32; 10];
        for key in &keys {
            let before = owner(key, &members);
            let gone = members[3];
            let rest: Vec<u64> = members.iter().copied().filter(|m| *m != gone).collect();
            let after = owner(key, &rest);
            assert!(before == after || before == gone, "{key} has moved");
            parts[members.iter().position(|m| *m == before).unwrap_or(0)] += 1;
        }
        assert!(parts.iter().all(|n| (850..1_150).contains(n)), "{parts:?}");
    }

    #[test]
    fn each_has_its_turn_and_who_has_no_room_is_passed_over() {
        let group = Group::default();
        let mut given = [0; 3];
        for _ in 0..9 {
            given[group.in_turn(3, |_| true)] += 1;
        }
        assert_eq!(given, [3, 3, 3]);
        for _ in 0..9 {
            assert_ne!(group.in_turn(3, |member| member != 1), 1);
        }
        assert!(group.in_turn(3, |_| false) < 3);
    }

    #[test]
    fn the_least_loaded_is_chosen_and_equals_take_turns() {
        let group = Group::default();
        assert_eq!(group.least(3, |member| [5, 1, 3][member]), 1);
        let mut given = [0; 3];
        for _ in 0..9 {
            given[group.least(3, |_| 7)] += 1;
        }
        assert_eq!(given, [3, 3, 3]);
    }
}
