//! A lock for each key that somebody holds or waits for, and for no other.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

use super::key::Key;

/// The lock of a key, held until it is dropped; see [`Names::lock`](crate::names::Names::lock).
///
/// It is freed also when whoever holds it panics or is cut off.
#[must_use = "the lock is free again as soon as this is dropped"]
pub struct KeyLock<K: Key> {
    // Dropped first, so that the next in line has it before the place is looked at.
    _turn: OwnedMutexGuard<()>,
    place: Place<K>,
}

pub(crate) struct Locks<K> {
    places: Arc<Places<K>>,
}

type Places<K> = Mutex<HashMap<K, Arc<Turn<()>>>>;

/// A part in the lock of a key, by holding it or waiting for it.
struct Place<K: Key> {
    places: Arc<Places<K>>,
    key: Option<K>,
    turn: Option<Arc<Turn<()>>>,
}

impl<K: Key> Locks<K> {
    pub(crate) fn new() -> Self {
        Locks {
            places: Arc::default(),
        }
    }

    pub(crate) async fn lock(&self, key: &K) -> KeyLock<K> {
        let (place, turn) = self.place(key.clone());
        let turn = turn.lock_owned().await;
        KeyLock { _turn: turn, place }
    }

    fn place(&self, key: K) -> (Place<K>, Arc<Turn<()>>) {
        let spare = key.clone();
        let mut places = self.places.lock();
        let turn = match places.get(&key) {
            Some(turn) => Arc::clone(turn),
            None => {
                let turn = Arc::new(Turn::new(()));
                places.insert(spare, Arc::clone(&turn));
                turn
            }
        };
        let place = Place {
            places: Arc::clone(&self.places),
            key: Some(key),
            turn: Some(Arc::clone(&turn)),
        };
        (place, turn)
    }

    /// How many keys are held or waited for.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.places.lock().len()
    }
}

impl<K: Key> Drop for Place<K> {
    fn drop(&mut self) {
        let (Some(key), Some(turn)) = (self.key.take(), self.turn.take()) else {
            return;
        };
        let mut places = self.places.lock();
        // Parts in it are taken and given up under this lock. If none is left but the table's and this one, it goes.
        let is_last = Arc::strong_count(&turn) == 2;
        let gone = is_last.then(|| places.remove_entry(&key));
        drop(turn);
        drop(places);
        drop((gone, key));
    }
}

impl<K: Key> fmt::Debug for KeyLock<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyLock").field(&self.place.key).finish()
    }
}
