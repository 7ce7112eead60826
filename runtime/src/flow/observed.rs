//! The messages that came to the actors of one group, counted by who sent them.
//!
//! A message is counted where it is handled, if its mailbox has noted when it came: that is one in some hundred of a
//! flood, and the first in each tenth of a second. How many there were in all is counted by the mailboxes, and the two
//! kinds of notes say [by estimate](super::estimate) whose they were.
//!
//! What is lost is counted where it is lost, all of it.

use std::any::TypeId;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use parking_lot::Mutex;

use super::Traffic;
use super::declared::Type;
use crate::postmark::Sender;

/// How many edges of a system have counts of their own; what flows on further ones is added up.
///
/// An edge takes some hundred bytes, so these are half a megabyte. A service has some tens of kinds of actors.
const EDGES_MAX: usize = 4096;

/// The edges that end at one group of actors.
pub(crate) struct Incoming {
    table: ArcSwap<HashMap<Key, Arc<Count>, RandomState>>,
    /// Held by whoever adds an edge.
    adding: Mutex<()>,
    bound: Arc<Bound>,
    /// What flows on edges for which there was no place left.
    rest: Count,
}

/// What the edges of all groups of a system share.
pub(crate) struct Bound {
    left: AtomicUsize,
}

/// What tells two edges of one group apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) from: Sender,
    message: TypeId,
    pub(super) is_asked: bool,
}

#[derive(Debug)]
struct Count {
    name: &'static str,
    samples: AtomicU64,
    /// Of those, how many were noted as the first in a tick.
    firsts: AtomicU64,
    dropped: AtomicU64,
}

impl Bound {
    fn new(edges: usize) -> Self {
        Bound {
            left: AtomicUsize::new(edges),
        }
    }
}

impl Default for Bound {
    fn default() -> Self {
        Bound::new(EDGES_MAX)
    }
}

impl Count {
    fn new(name: &'static str) -> Self {
        Count {
            name,
            samples: AtomicU64::new(0),
            firsts: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    fn traffic(&self) -> Traffic {
        // In this order, as those are among these.
        let firsts = self.firsts.load(Ordering::Acquire);
        let samples = self.samples.load(Ordering::Relaxed);
        Traffic {
            messages: samples,
            samples,
            firsts,
            dropped: self.dropped.load(Ordering::Relaxed),
            per_second: 0.0,
        }
    }
}

impl Incoming {
    pub(crate) fn new(bound: &Arc<Bound>) -> Self {
        Incoming {
            table: ArcSwap::default(),
            adding: Mutex::new(()),
            bound: Arc::clone(bound),
            rest: Count::new(""),
        }
    }

    /// A message that was noted came to be handled; `is_first` is whether it was noted as the first in a tick.
    pub(crate) fn came(&self, from: Sender, message: Type, is_asked: bool, is_first: bool) {
        self.count(from, message, is_asked, |count| {
            count.samples.fetch_add(1, Ordering::Relaxed);
            if is_first {
                count.firsts.fetch_add(1, Ordering::Release);
            }
        });
    }

    /// A message was lost.
    #[cold]
    pub(crate) fn lost(&self, from: Sender, message: Type, is_asked: bool) {
        self.count(from, message, is_asked, |count| {
            count.dropped.fetch_add(1, Ordering::Relaxed);
        });
    }

    fn count(&self, from: Sender, message: Type, is_asked: bool, add: impl FnOnce(&Count)) {
        let key = Key {
            from,
            message: message.id,
            is_asked,
        };
        if let Some(count) = self.table.load().get(&key) {
            return add(count);
        }
        self.add(key, message.name, add);
    }

    #[cold]
    fn add(&self, key: Key, name: &'static str, add: impl FnOnce(&Count)) {
        let _adding = self.adding.lock();
        let table = self.table.load();
        if let Some(count) = table.get(&key) {
            return add(count);
        }
        let left = &self.bound.left;
        let is_room = |left: usize| left.checked_sub(1);
        if left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, is_room)
            .is_err()
        {
            return add(&self.rest);
        }
        let count = Arc::new(Count::new(name));
        add(&count);
        let mut table = HashMap::clone(&table);
        table.insert(key, count);
        self.table.store(Arc::new(table));
    }

    pub(super) fn rest(&self) -> Traffic {
        self.rest.traffic()
    }

    /// Calls `look` with each edge, in no order.
    pub(super) fn for_each(&self, mut look: impl FnMut(Key, Type, Traffic)) {
        for (key, count) in self.table.load().iter() {
            let message = Type {
                name: count.name,
                id: key.message,
            };
            look(*key, message, count.traffic());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Word;
    struct Other;

    fn all(incoming: &Incoming) -> Vec<(Sender, &'static str, bool, u64, u64)> {
        let mut all = Vec::new();
        incoming.for_each(|key, message, traffic| {
            let name = message.name.rsplit("::").next().unwrap_or_default();
            all.push((
                key.from,
                name,
                key.is_asked,
                traffic.samples,
                traffic.dropped,
            ));
        });
        all.sort_by_key(|(from, name, is_asked, ..)| (format!("{from:?}"), *name, *is_asked));
        all
    }

    #[test]
    fn each_edge_has_its_counts() {
        let incoming = Incoming::new(&Arc::new(Bound::default()));
        let (word, other) = (Type::of::<Word>(), Type::of::<Other>());
        incoming.came(Sender::Group(1), word, false, false);
        incoming.came(Sender::Group(1), word, false, true);
        incoming.came(Sender::Group(1), word, true, true);
        incoming.came(Sender::Group(2), other, false, true);
        incoming.lost(Sender::Group(2), other, false);
        incoming.lost(Sender::Unknown, other, false);
        assert_eq!(
            all(&incoming),
            [
                (Sender::Group(1), "Word", false, 2, 0),
                (Sender::Group(1), "Word", true, 1, 0),
                (Sender::Group(2), "Other", false, 1, 1),
                (Sender::Unknown, "Other", false, 0, 1),
            ]
        );
    }

    #[test]
    fn edges_beyond_the_bound_are_added_up() {
        let bound = Arc::new(Bound::new(3));
        let groups = [Incoming::new(&bound), Incoming::new(&bound)];
        let word = Type::of::<Word>();
        for n in 0..100 {
            for group in &groups {
                group.came(Sender::Group(n), word, false, n % 2 == 0);
                group.lost(Sender::Group(n), word, false);
            }
        }
        assert_eq!(
            groups.iter().map(|group| all(group).len()).sum::<usize>(),
            3
        );
        let [one, other] = groups.map(|group| group.rest());
        assert_eq!(
            (one.samples + other.samples, one.dropped + other.dropped),
            (197, 197)
        );
        assert_eq!(one.firsts + other.firsts, 98);
    }

    #[test]
    fn nothing_is_lost_when_many_threads_see_new_edges() {
        let bound = Arc::new(Bound::new(64));
        let incoming = Incoming::new(&bound);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for n in 0..200 {
                        incoming.came(Sender::Group(n % 100), Type::of::<Word>(), false, true);
                    }
                });
            }
        });
        let counted: u64 = all(&incoming)
            .iter()
            .map(|(.., messages, _)| messages)
            .sum();
        assert_eq!(all(&incoming).len(), 64);
        assert_eq!(counted + incoming.rest().samples, 800);
    }
}
