//! A group of subscriptions that share events: each event is one member's.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

/// A group of one name and one event type.
#[derive(Default)]
pub(super) struct Group {
    turn: AtomicUsize,
}

/// How an event would fare with a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// It would have it at once.
    Now,
    /// It would be kept.
    Later,
    /// It, or another, would be lost.
    Never,
}

impl Group {
    /// The first in turn that has it at once, of so many; or the first that would keep it, or the first in turn.
    pub(super) fn in_turn(&self, members: usize, fit: impl Fn(usize) -> Fit) -> usize {
        let first = self.turn.fetch_add(1, Ordering::Relaxed) % members;
        let mut later = None;
        for member in (first..members).chain(0..first) {
            match fit(member) {
                Fit::Now => return member,
                Fit::Later => later = later.or(Some(member)),
                Fit::Never => {}
            }
        }
        later.unwrap_or(first)
    }

    /// The one with the least to do, of so many; of several the first in turn. Who would lose it comes last.
    pub(super) fn least(&self, members: usize, load: impl Fn(usize) -> (Fit, usize)) -> usize {
        let first = self.turn.fetch_add(1, Ordering::Relaxed) % members;
        let turns = (first..members).chain(0..first);
        let least = turns.min_by_key(|member| {
            let (fit, load) = load(*member);
            (fit == Fit::Never, load)
        });
        least.unwrap_or(first)
    }
}

/// The groups of one event type, as long as somebody is in them.
pub(super) struct Groups {
    named: HashMap<Arc<str>, Weak<Group>>,
    /// At so many names it is looked which of them nobody uses any more.
    look_at: usize,
}

impl Groups {
    pub(super) fn new() -> Self {
        Groups {
            named: HashMap::new(),
            look_at: 16,
        }
    }

    pub(super) fn of(&mut self, name: &Arc<str>) -> Arc<Group> {
        if let Some(group) = self.named.get(name).and_then(Weak::upgrade) {
            return group;
        }
        if self.named.len() >= self.look_at {
            self.named.retain(|_, group| group.strong_count() > 0);
            self.look_at = self.named.len() * 2 + 16;
        }
        let group = Arc::default();
        self.named.insert(Arc::clone(name), Arc::downgrade(&group));
        group
    }
}

/// The member whose events of a key are, by the highest of what key and member make together: so each key has an order
/// of members of its own, and when one goes its keys go to the next in theirs. Who does not take any is as one who has
/// gone, unless all are.
pub(super) fn of_key(
    key: Option<&str>,
    members: impl Iterator<Item = u64> + Clone,
    is_there: impl Fn(usize) -> bool,
) -> usize {
    let key = hash(key);
    let mut gone = Vec::new();
    loop {
        let left = members.clone().enumerate();
        let left = left.filter(|(i, _)| !gone.contains(i));
        let weighed = left.map(|(i, member)| (mix(key ^ member), Reverse(i)));
        match weighed.max() {
            Some((_, Reverse(i))) if is_there(i) => return i,
            Some((_, Reverse(i))) => gone.push(i),
            None => return gone.first().copied().unwrap_or_default(),
        }
    }
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
        let owner = |key: &str, members: &[u64]| {
            members[of_key(Some(key), members.iter().copied(), |_| true)]
        };
        let mut parts = [0_u32; 10];
        for key in &keys {
            let before = owner(key, &members);
            let gone = members[3];
            let rest: Vec<u64> = members.iter().copied().filter(|m| *m != gone).collect();
            let after = owner(key, &rest);
            assert!(before == after || before == gone, "{key} has moved");
            let stops = of_key(Some(key), members.iter().copied(), |i| i != 3);
            assert_eq!(
                members[stops], after,
                "{key}: who stops is as one who has gone"
            );
            parts[members.iter().position(|m| *m == before).unwrap_or(0)] += 1;
        }
        assert!(parts.iter().all(|n| (850..1_150).contains(n)), "{parts:?}");
    }

    #[test]
    fn each_has_its_turn_and_who_has_no_room_is_passed_over() {
        let group = Group::default();
        let mut given = [0; 3];
        for _ in 0..9 {
            given[group.in_turn(3, |_| Fit::Now)] += 1;
        }
        assert_eq!(given, [3, 3, 3]);
        let fits = |fits: [Fit; 3]| {
            let chosen = (0..9).map(|_| group.in_turn(3, |member| fits[member]));
            chosen.collect::<Vec<_>>()
        };
        let (now, later, never) = (Fit::Now, Fit::Later, Fit::Never);
        assert!(!fits([now, later, now]).contains(&1));
        assert_eq!(fits([never, later, never]), [1; 9]);
        assert_eq!(fits([later, never, now]), [2; 9]);
        assert!(fits([never; 3]).iter().all(|chosen| *chosen < 3));
    }

    #[test]
    fn the_least_loaded_is_chosen_and_equals_take_turns() {
        let group = Group::default();
        assert_eq!(group.least(3, |member| (Fit::Now, [5, 1, 3][member])), 1);
        let full = |member| match member {
            1 => (Fit::Never, 1),
            _ => (Fit::Later, [5, 1, 3][member]),
        };
        assert_eq!(group.least(3, full), 2);
        let mut given = [0; 3];
        for _ in 0..9 {
            given[group.least(3, |_| (Fit::Now, 7))] += 1;
        }
        assert_eq!(given, [3, 3, 3]);
    }

    #[test]
    fn a_group_is_one_while_somebody_is_in_it_and_then_forgotten() {
        let mut groups = Groups::new();
        let name = |n: u32| Arc::from(format!("group {n}"));
        let kept = groups.of(&name(0));
        for n in 1..10_000 {
            drop(groups.of(&name(n)));
            assert!(groups.named.len() <= 40, "{}", groups.named.len());
        }
        assert!(Arc::ptr_eq(&kept, &groups.of(&name(0))));
    }
}
