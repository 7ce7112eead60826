//! A map from numbers to values whose copies share what is equal, in order of the numbers.
//!
//! It is a tree over the digits of the numbers, five bits each, the highest first. A
//! branch stands only where numbers part, so there are never more branches than values,
//! and no more than thirteen below each other:
//!
//! ```text
//!   Branch { shift: 5, prefix: 0 }           of 7, 8 and 70
//!      |              |
//!   Branch { 0, 0 }  Leaf(70)
//!    |      |
//!   Leaf(7) Leaf(8)
//! ```
//!
//! A copy costs a count. A change copies the branches on its way if somebody else has
//! them too, at most 32 places each, and changes them in place if not. Keys may be hashes:
//! then it is a hash table that never grows all at once.

use std::sync::Arc;

/// How many bits a digit has: a branch has up to 32 places, and which are taken fits a word.
const BITS: u8 = 5;

#[derive(Clone)]
pub(super) struct Radix<V> {
    root: Option<Slot<V>>,
}

#[derive(Clone)]
enum Slot<V> {
    Leaf(u64, V),
    Branch(Arc<Branch<V>>),
}

/// At least two slots whose keys are equal above the digit at `shift` and differ in it.
#[derive(Clone)]
struct Branch<V> {
    /// The keys' bits above that digit; the others are zero.
    prefix: u64,
    shift: u8,
    /// Which digits there are: as many as slots, in their order.
    taken: u32,
    slots: Vec<Slot<V>>,
}

impl<V> Default for Radix<V> {
    fn default() -> Self {
        Radix { root: None }
    }
}

impl<V> Radix<V> {
    pub(super) fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    #[inline]
    pub(super) fn get(&self, key: u64) -> Option<&V> {
        let mut slot = self.root.as_ref()?;
        loop {
            match slot {
                Slot::Leaf(k, value) => return (*k == key).then_some(value),
                Slot::Branch(branch) => slot = branch.slots.get(branch.find(key).ok()?)?,
            }
        }
    }

    /// Calls `f` with each value, by rising keys.
    #[inline]
    pub(super) fn for_each<'a>(&'a self, f: &mut impl FnMut(u64, &'a V)) {
        match &self.root {
            None => {}
            Some(Slot::Leaf(key, value)) => f(*key, value),
            Some(Slot::Branch(branch)) => branch.for_each(f),
        }
    }
}

impl<V: Clone> Radix<V> {
    pub(super) fn get_mut(&mut self, key: u64) -> Option<&mut V> {
        // Looked for first, so that nothing is copied for a key that is not there.
        self.get(key)?;
        let mut slot = self.root.as_mut()?;
        loop {
            match slot {
                Slot::Leaf(_, value) => return Some(value),
                Slot::Branch(branch) => {
                    let place = branch.find(key).ok()?;
                    slot = Arc::make_mut(branch).slots.get_mut(place)?;
                }
            }
        }
    }

    pub(super) fn get_or_insert_with(&mut self, key: u64, value: impl FnOnce() -> V) -> &mut V {
        if self.get(key).is_none() {
            self.insert(key, value());
        }
        let value = self.get_mut(key);
        value.unwrap_or_else(|| unreachable!("the value was just put there"))
    }

    /// Returns what was there.
    pub(super) fn insert(&mut self, key: u64, value: V) -> Option<V> {
        match &mut self.root {
            Some(slot) => slot.insert(key, value),
            None => {
                self.root = Some(Slot::Leaf(key, value));
                None
            }
        }
    }

    pub(super) fn remove(&mut self, key: u64) -> Option<V> {
        self.get(key)?;
        if let Some(slot @ Slot::Branch(_)) = &mut self.root {
            return slot.remove(key);
        }
        match self.root.take()? {
            Slot::Leaf(_, value) => Some(value),
            Slot::Branch(_) => None,
        }
    }
}

impl<V: Clone> Slot<V> {
    fn insert(&mut self, key: u64, value: V) -> Option<V> {
        let neighbour = match self {
            Slot::Leaf(k, there) if *k == key => return Some(std::mem::replace(there, value)),
            Slot::Branch(branch) if branch.covers(key) => {
                let branch = Arc::make_mut(branch);
                return match branch.find(key) {
                    Ok(place) => branch.slots[place].insert(key, value),
                    Err(place) => {
                        branch.slots.insert(place, Slot::Leaf(key, value));
                        branch.taken |= branch.bit(key);
                        None
                    }
                };
            }
            Slot::Leaf(k, _) => *k,
            Slot::Branch(branch) => branch.prefix,
        };
        // They part at the digit of the highest bit in which they differ.
        let highest = 63 - (neighbour ^ key).leading_zeros() as u8;
        let shift = highest / BITS * BITS;
        let mut branch = Branch {
            prefix: above(key, shift),
            shift,
            taken: 0,
            slots: vec![Slot::Leaf(key, value)],
        };
        branch.taken = branch.bit(key) | branch.bit(neighbour);
        let there = std::mem::replace(self, Slot::Branch(Arc::new(branch)));
        if let Slot::Branch(branch) = self {
            let place = usize::from(neighbour > key);
            Arc::make_mut(branch).slots.insert(place, there);
        }
        None
    }

    /// Takes out what is there, from a branch.
    fn remove(&mut self, key: u64) -> Option<V> {
        let Slot::Branch(branch) = self else {
            return None;
        };
        let branch = Arc::make_mut(branch);
        let place = branch.find(key).ok()?;
        if let below @ Slot::Branch(_) = &mut branch.slots[place] {
            return below.remove(key);
        }
        let gone = branch.slots.remove(place);
        branch.taken &= !branch.bit(key);
        if branch.slots.len() == 1
            && let Some(last) = branch.slots.pop()
        {
            *self = last;
        } else if branch.slots.len() <= branch.slots.capacity() / 2 {
            branch.slots.shrink_to_fit();
        }
        match gone {
            Slot::Leaf(_, value) => Some(value),
            Slot::Branch(_) => None,
        }
    }
}

impl<V> Branch<V> {
    /// Whether a key belongs below this branch.
    fn covers(&self, key: u64) -> bool {
        above(key, self.shift) == self.prefix
    }

    fn bit(&self, key: u64) -> u32 {
        1 << (key >> self.shift & 31)
    }

    /// The place of the key's digit among the slots, or where it would be.
    #[inline]
    fn find(&self, key: u64) -> Result<usize, usize> {
        let bit = self.bit(key);
        let place = (self.taken & (bit - 1)).count_ones() as usize;
        if self.taken & bit == 0 {
            Err(place)
        } else {
            Ok(place)
        }
    }

    fn for_each<'a>(&'a self, f: &mut impl FnMut(u64, &'a V)) {
        for slot in &self.slots {
            match slot {
                Slot::Leaf(key, value) => f(*key, value),
                Slot::Branch(branch) => branch.for_each(f),
            }
        }
    }
}

/// The bits of a key above the digit at `shift`.
fn above(key: u64, shift: u8) -> u64 {
    let below = u32::from(shift + BITS);
    key & u64::MAX.checked_shl(below).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn listed(radix: &Radix<u64>) -> Vec<(u64, u64)> {
        let mut all = Vec::new();
        radix.for_each(&mut |key, value| all.push((key, *value)));
        all
    }

    /// Keys that are close together, far apart, and at both ends.
    fn key(n: u64) -> u64 {
        let far = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        match n % 4 {
            0 => n,
            1 => far,
            2 => u64::MAX - n,
            _ => 1 << (n % 64),
        }
    }

    #[test]
    fn it_does_what_a_map_does_and_copies_stay_as_they_were() {
        let mut radix = Radix::default();
        let mut map = BTreeMap::new();
        let mut copies = Vec::new();
        let mut dice = 1u64;
        for step in 0..20_000u64 {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let key = key(dice >> 40 & 0x3ff);
            if dice >> 60 < 9 {
                assert_eq!(radix.insert(key, step), map.insert(key, step));
            } else {
                assert_eq!(radix.remove(key), map.remove(&key));
            }
            assert_eq!(radix.get(key), map.get(&key));
            if let Some(value) = radix.get_mut(key) {
                *value += 1;
                *map.get_mut(&key).unwrap() += 1;
            }
            if step % 1_000 == 0 {
                copies.push((radix.clone(), map.clone()));
            }
        }
        copies.push((radix, map));
        for (radix, map) in copies {
            assert_eq!(listed(&radix), Vec::from_iter(map));
        }
    }

    #[test]
    fn what_is_taken_out_leaves_nothing_behind() {
        let mut radix = Radix::default();
        let keys = BTreeSet::from_iter((0..4_096).map(key));
        let values: Vec<Arc<u64>> = keys.into_iter().map(Arc::new).collect();
        for value in &values {
            assert!(radix.insert(**value, Arc::clone(value)).is_none());
        }
        for value in &values {
            radix.remove(**value);
            assert_eq!(Arc::strong_count(value), 1);
        }
        assert!(radix.is_empty());
    }

    #[test]
    fn a_change_copies_no_more_than_the_branches_on_its_way() {
        let mut radix = Radix::default();
        for n in 0..100_000 {
            radix.insert(n, Arc::new(n));
        }
        let copy = radix.clone();
        radix.remove(50_000);
        let mut copied = 0;
        copy.for_each(&mut |_, value| copied += usize::from(Arc::strong_count(value) > 1));
        // Those in the same branch, which is a lowest one.
        assert!(copied <= 32, "{copied}");
    }
}
