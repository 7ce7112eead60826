//! Who listens: a table that changes at once, and the list that publishers read, made anew by the first that finds
//! it old.
//!
//! So a hundred thousand that subscribe one after the other cost a list once, and
//! publishing takes a lock only behind a change. What leaves the table may stay
//! in the list for a while, but only as long as that is a part of it.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::{ArcSwap, Guard};
use foldhash::fast::RandomState;
use parking_lot::Mutex;

/// A list that is no longer than this holds nobody who has left.
const SHORT: usize = 256;

pub(crate) struct Subscribers<S: ?Sized> {
    table: Mutex<Table<S>>,
    list: ArcSwap<Vec<Arc<S>>>,
    /// The list is not what the table says; changed under the table's lock.
    is_old: AtomicBool,
}

struct Table<S: ?Sized> {
    /// Each role's place in the order.
    places: HashMap<usize, u64, RandomState>,
    in_order: BTreeMap<u64, Arc<S>>,
    next: u64,
    /// How many have left since the list was made.
    left: usize,
}

/// Who has left, and the list that had it.
pub(crate) struct Left<S: ?Sized> {
    _gone: Option<Arc<S>>,
    _old: Option<Arc<Vec<Arc<S>>>>,
}

impl<S: ?Sized> Default for Subscribers<S> {
    fn default() -> Self {
        Subscribers {
            table: Mutex::new(Table {
                places: HashMap::default(),
                in_order: BTreeMap::new(),
                next: 0,
                left: 0,
            }),
            list: ArcSwap::default(),
            is_old: AtomicBool::new(false),
        }
    }
}

impl<S: ?Sized> Subscribers<S> {
    /// Adds one behind all others, unless its role is there.
    pub(crate) fn add(&self, role: usize, subscriber: &Arc<S>) {
        let mut table = self.table.lock();
        let place = table.next;
        if let Entry::Vacant(free) = table.places.entry(role) {
            free.insert(place);
            table.next += 1;
            table.in_order.insert(place, Arc::clone(subscriber));
            self.is_old.store(true, Ordering::Release);
        }
    }

    /// Takes one out; an event that is published from here on does not reach it.
    ///
    /// With it may go what an author made: what is returned is to be dropped when no lock is held.
    #[must_use = "it is to be dropped when no lock is held"]
    pub(crate) fn remove(&self, role: usize) -> Option<Left<S>> {
        let mut table = self.table.lock();
        let place = table.places.remove(&role)?;
        let gone = table.in_order.remove(&place);
        table.left += 1;
        self.is_old.store(true, Ordering::Release);
        let listed = self.list.load().len();
        let is_due = listed > 0 && (listed <= SHORT || table.left * 2 >= listed);
        let old = is_due.then(|| self.renew(&mut table));
        Some(Left {
            _gone: gone,
            _old: old,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.table.lock().places.len()
    }

    /// All that are there, in the order in which they came.
    pub(crate) fn all(&self) -> Guard<Arc<Vec<Arc<S>>>> {
        if self.is_old.load(Ordering::Acquire) {
            let mut table = self.table.lock();
            let old = self
                .is_old
                .load(Ordering::Relaxed)
                .then(|| self.renew(&mut table));
            drop(table);
            drop(old);
        }
        self.list.load()
    }

    /// Makes the list anew; what it was is the caller's to drop.
    fn renew(&self, table: &mut Table<S>) -> Arc<Vec<Arc<S>>> {
        table.left = 0;
        let list = table.in_order.values().cloned().collect();
        let old = self.list.swap(Arc::new(list));
        self.is_old.store(false, Ordering::Release);
        old
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(subscribers: &Subscribers<usize>) -> Vec<usize> {
        subscribers.all().iter().map(|n| **n).collect()
    }

    #[test]
    fn all_are_listed_once_in_the_order_in_which_they_came() {
        let subscribers = Subscribers::default();
        for n in [3, 1, 2, 1, 3] {
            subscribers.add(n, &Arc::new(n));
        }
        assert_eq!(numbers(&subscribers), [3, 1, 2]);
        drop(subscribers.remove(1));
        assert!(subscribers.remove(7).is_none());
        assert_eq!((numbers(&subscribers), subscribers.len()), (vec![3, 2], 2));
        subscribers.add(1, &Arc::new(1));
        assert_eq!(numbers(&subscribers), [3, 2, 1]);
    }

    #[test]
    fn who_has_left_is_let_go_though_nobody_publishes() {
        let subscribers = Subscribers::default();
        let all: Vec<Arc<usize>> = (0..4 * SHORT).map(Arc::new).collect();
        for n in &all {
            subscribers.add(**n, n);
        }
        drop(subscribers.all());
        let held = || all.iter().filter(|n| Arc::strong_count(n) > 1).count();
        for n in 0..all.len() {
            drop(subscribers.remove(n));
            let there = all.len() - n - 1;
            assert!(held() <= SHORT.max(2 * there + 2), "{} of {there}", held());
        }
        assert_eq!(held(), 0);
    }

    #[test]
    fn the_list_is_made_once_for_all_that_came_before_it() {
        let subscribers = Subscribers::default();
        for n in 0..1_000 {
            subscribers.add(n, &Arc::new(n));
        }
        assert!(subscribers.list.load().is_empty());
        assert!(Arc::ptr_eq(&subscribers.all(), &subscribers.all()));
    }
}
