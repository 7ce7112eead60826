//! The last event of each key, for who subscribes later.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::buffer::Key;

/// At most so many keys; the one that has been without an event for longest goes first.
pub(super) struct Retained<T> {
    limit: usize,
    places: HashMap<Key, u64>,
    events: BTreeMap<u64, (Key, Arc<T>)>,
    next: u64,
    /// The system has ended: what is kept might keep it.
    is_over: bool,
}

impl<T> Retained<T> {
    pub(super) fn new(limit: usize) -> Self {
        Retained {
            limit,
            places: HashMap::new(),
            events: BTreeMap::new(),
            next: 0,
            is_over: false,
        }
    }

    /// Keeps the last event of a key; what has no place any more is to be dropped behind the lock.
    pub(super) fn put(&mut self, key: Key, event: Arc<T>) -> Option<Arc<T>> {
        if self.is_over || self.limit == 0 {
            return Some(event);
        }
        let place = self.next;
        self.next += 1;
        let mut gone = None;
        if let Some(earlier) = self.places.insert(key.clone(), place) {
            gone = self.events.remove(&earlier);
        } else if self.events.len() >= self.limit {
            gone = self.events.pop_first().map(|(_, event)| event);
            if let Some((key, _)) = &gone {
                self.places.remove(key);
            }
        }
        self.events.insert(place, (key, event));
        gone.map(|(_, event)| event)
    }

    /// The last ones in their order.
    pub(super) fn all(&self) -> Vec<Arc<T>> {
        let events = self.events.values();
        events.map(|(_, event)| Arc::clone(event)).collect()
    }

    /// Lets go of all, from now on too.
    pub(super) fn end(&mut self) -> BTreeMap<u64, (Key, Arc<T>)> {
        self.is_over = true;
        self.places.clear();
        std::mem::take(&mut self.events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(retained: &Retained<u32>) -> Vec<u32> {
        retained.all().iter().map(|n| **n).collect()
    }

    fn put(retained: &mut Retained<u32>, key: &str, n: u32) -> Option<u32> {
        let key = (!key.is_empty()).then(|| key.into());
        retained.put(key, Arc::new(n)).map(|n| *n)
    }

    #[test]
    fn the_last_of_each_key_is_kept_in_order_and_no_key_is_a_key() {
        let mut retained = Retained::new(3);
        for (n, key) in ["a", "b", "", "a", ""].into_iter().enumerate() {
            put(&mut retained, key, n as u32);
        }
        assert_eq!(numbers(&retained), [1, 3, 4]);
    }

    #[test]
    fn the_key_that_is_without_an_event_for_longest_is_forgotten() {
        let mut retained = Retained::new(2);
        assert_eq!(put(&mut retained, "a", 0), None);
        assert_eq!(put(&mut retained, "b", 1), None);
        assert_eq!(put(&mut retained, "a", 2), Some(0));
        assert_eq!(put(&mut retained, "c", 3), Some(1));
        assert_eq!(put(&mut retained, "b", 4), Some(2));
        assert_eq!(numbers(&retained), [3, 4]);
        assert_eq!(retained.places.len(), 2);
    }

    #[test]
    fn nothing_is_kept_of_none_or_after_the_end() {
        let mut none = Retained::new(0);
        assert_eq!((put(&mut none, "a", 1), numbers(&none)), (Some(1), vec![]));
        let mut retained = Retained::new(2);
        put(&mut retained, "a", 1);
        assert_eq!(retained.end().len(), 1);
        assert_eq!(put(&mut retained, "a", 2), Some(2));
        assert!(numbers(&retained).is_empty());
    }
}
