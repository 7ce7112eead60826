//! An index that many publish through while others subscribe.
//!
//! Publishers read a snapshot and hold no lock, so a handler of theirs may do what it
//! likes meanwhile. The snapshot is a clone of the index that is changed under a lock.
//! Where somebody publishes between two changes, a change makes the next snapshot, and
//! publishers wait for nothing. Where nobody does, it is taken away and made by the next
//! who publishes: so a hundred thousand who subscribe one after the other copy nothing.
//! Either way who has left is not held by a snapshot that nobody reads.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::{ArcSwapOption, Guard};
use parking_lot::Mutex;

use super::{Index, Pattern};

pub(crate) struct SharedIndex<T> {
    index: Mutex<Index<T>>,
    /// Equal to the index if there is one; changed under its lock.
    snapshot: ArcSwapOption<Index<T>>,
    /// Somebody has read it since the last change. Written only where it is not set, so that
    /// publishers do not take the line from each other.
    is_read: AtomicBool,
}

/// The index as it was at one moment.
pub(crate) struct Snapshot<T>(Guard<Option<Arc<Index<T>>>>);

impl<T> Default for SharedIndex<T> {
    fn default() -> Self {
        SharedIndex {
            index: Mutex::new(Index::new()),
            snapshot: ArcSwapOption::empty(),
            is_read: AtomicBool::new(false),
        }
    }
}

impl<T: Clone> SharedIndex<T> {
    /// Puts a subscription under a pattern; returns the one that had this id there.
    pub(crate) fn insert(&self, pattern: &Pattern, id: u64, value: T) -> Option<T> {
        let mut index = self.index.lock();
        self.change(&mut index, |index| index.insert(pattern, id, value))
    }

    /// Takes a subscription out of a pattern; no snapshot that is taken from here on has it.
    pub(crate) fn remove(&self, pattern: &Pattern, id: u64) -> Option<T> {
        let mut index = self.index.lock();
        index.get(pattern, id)?;
        self.change(&mut index, |index| index.remove(pattern, id))
    }

    /// Everything that was put in before, and nothing that was taken out.
    pub(crate) fn snapshot(&self) -> Snapshot<T> {
        let there = self.snapshot.load();
        if !self.is_read.load(Ordering::Relaxed) {
            self.is_read.store(true, Ordering::Relaxed);
        }
        if there.is_some() {
            return Snapshot(there);
        }
        let index = self.index.lock();
        let fresh = self.snapshot.load_full().unwrap_or_else(|| {
            let fresh = Arc::new(index.clone());
            self.snapshot.store(Some(Arc::clone(&fresh)));
            fresh
        });
        drop(index);
        Snapshot(Guard::from_inner(Some(fresh)))
    }

    /// Does what changes the index, under its lock. No value is dropped here with the old
    /// snapshot: all that it has is in the index too, or is what `change` returns.
    fn change<R>(&self, index: &mut Index<T>, change: impl FnOnce(&mut Index<T>) -> R) -> R {
        let is_read = self.is_read.swap(false, Ordering::Relaxed);
        if !is_read {
            self.snapshot.store(None);
        }
        let done = change(index);
        if is_read {
            self.snapshot.store(Some(Arc::new(index.clone())));
        }
        done
    }
}

impl<T> Deref for Snapshot<T> {
    type Target = Index<T>;

    fn deref(&self) -> &Index<T> {
        match &*self.0 {
            Some(index) => index,
            None => unreachable!("a snapshot is made of an index"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).unwrap()
    }

    #[test]
    fn a_snapshot_has_what_was_there_before_it_and_keeps_it() {
        let index = SharedIndex::default();
        index.insert(&pattern("home.>"), 1, "one");
        let first = index.snapshot();
        index.insert(&pattern("home.*"), 2, "two");
        index.remove(&pattern("home.>"), 1);
        let listed = |snapshot: &Snapshot<&'static str>| {
            let mut out = Vec::new();
            snapshot.matches("home.kitchen", &mut out);
            out
        };
        assert_eq!(listed(&first), ["one"]);
        assert_eq!(listed(&index.snapshot()), ["two"]);
        assert_eq!(index.remove(&pattern("home.*"), 7), None);
    }

    #[test]
    fn many_changes_copy_nothing_and_one_snapshot_serves_all_readers() {
        let index = SharedIndex::default();
        for id in 0..1_000 {
            index.insert(&pattern("a.*.>"), id, Arc::new(id));
        }
        assert!(index.snapshot.load().is_none());
        let (a, b) = (index.snapshot(), index.snapshot());
        assert!(std::ptr::eq(&*a, &*b));
        drop((a, b));
        // The first change beside a reader leaves a snapshot to the next, the second takes it away.
        index.insert(&pattern("b"), 0, Arc::new(0));
        assert!(index.snapshot.load().is_some());
        index.insert(&pattern("b"), 1, Arc::new(1));
        assert!(index.snapshot.load().is_none());
        let mut out = Vec::new();
        index.snapshot().matches("a.b.c", &mut out);
        // One in the index, one here: no clone was left behind by a copied node.
        assert!(out.iter().all(|value| Arc::strong_count(value) == 2));
    }

    #[test]
    fn publishers_do_not_wait_for_those_who_subscribe_between_two_events() {
        let index = SharedIndex::default();
        drop(index.snapshot());
        for id in 0..10 {
            index.insert(&pattern("a.>"), id, id);
            assert!(index.snapshot.load().is_some());
            let at_work = index.index.lock();
            let mut out = Vec::new();
            index.snapshot().matches("a.b", &mut out);
            assert_eq!(out.len() as u64, id + 1);
            drop(at_work);
        }
    }

    #[test]
    fn who_has_left_is_let_go_though_nobody_publishes() {
        let index = SharedIndex::default();
        let values: Vec<Arc<u64>> = (0..1_000).map(Arc::new).collect();
        for value in &values {
            index.insert(&pattern("a.>"), **value, Arc::clone(value));
        }
        for value in &values {
            drop(index.snapshot());
            drop(index.remove(&pattern("a.>"), **value));
            assert_eq!(Arc::strong_count(value), 1);
        }
    }

    #[test]
    fn a_reader_sees_each_change_that_was_made_before_it_and_those_who_stay_always() {
        const CHANGES: u64 = if cfg!(miri) { 20 } else { 20_000 };
        let index = SharedIndex::default();
        let at_work = AtomicBool::new(true);
        index.insert(&pattern("a.b"), 0, 0);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while at_work.load(Ordering::Relaxed) {
                        let mut out = Vec::new();
                        index.snapshot().matches("a.b", &mut out);
                        assert!(out.contains(&0) && out.len() <= 2, "{out:?}");
                    }
                });
            }
            for id in 1..=CHANGES {
                let mut out = Vec::new();
                index.insert(&pattern("a.*"), id, id);
                index.snapshot().matches("a.b", &mut out);
                assert_eq!(out, [id, 0]);
                index.remove(&pattern("a.*"), id);
                out.clear();
                index.snapshot().matches("a.b", &mut out);
                assert_eq!(out, [0]);
            }
            at_work.store(false, Ordering::Relaxed);
        });
    }
}
