//! The names: every role of a system by its path.
//!
//! A sharded table. An entry is a role and the hash of its path, whose text is
//! the role's own: so nothing is kept twice, and a table that grows looks at no
//! role. The hash is seeded by chance.

use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};
use parking_lot::RwLock;

use crate::role::Role;

pub(crate) struct Names {
    shards: [Shard; SHARDS],
    hasher: DefaultHashBuilder,
}

/// Several, so that who starts and who looks for actors seldom meet.
const SHARDS: usize = 16;

/// On cache lines of its own.
#[derive(Default)]
#[repr(align(64))]
struct Shard(RwLock<HashTable<Named>>);

struct Named {
    hash: u64,
    role: Arc<dyn Role>,
}

impl Named {
    fn is(&self, hash: u64, path: &str) -> bool {
        self.hash == hash && self.role.path().as_str() == path
    }
}

impl Default for Names {
    fn default() -> Self {
        Names {
            shards: std::array::from_fn(|_| Shard::default()),
            hasher: DefaultHashBuilder::default(),
        }
    }
}

impl Names {
    fn place(&self, path: &str) -> (u64, &RwLock<HashTable<Named>>) {
        let hash = self.hasher.hash_one(path);
        // Bits by which the tables themselves do not choose.
        let shard = (hash >> 48) as usize % SHARDS;
        (hash, &self.shards[shard].0)
    }

    /// Enters a role, in place of the one that has its path.
    pub(crate) fn insert(&self, role: Arc<dyn Role>) {
        let (hash, shard) = self.place(role.path().as_str());
        let mut shard = shard.write();
        let place = shard.entry(
            hash,
            |named| named.is(hash, role.path().as_str()),
            |named| named.hash,
        );
        let before = match place {
            Entry::Occupied(mut place) => Some(std::mem::replace(
                &mut place.get_mut().role,
                Arc::clone(&role),
            )),
            Entry::Vacant(place) => {
                place.insert(Named {
                    hash,
                    role: Arc::clone(&role),
                });
                None
            }
        };
        // With it may go an author's arguments: not under the lock.
        drop(shard);
        drop(before);
    }

    /// Enters a role, unless one has its path.
    pub(crate) fn claim(&self, role: &Arc<dyn Role>) -> bool {
        let path = role.path().as_str();
        let (hash, shard) = self.place(path);
        let mut shard = shard.write();
        match shard.entry(hash, |named| named.is(hash, path), |named| named.hash) {
            Entry::Occupied(_) => false,
            Entry::Vacant(place) => {
                let role = Arc::clone(role);
                place.insert(Named { hash, role });
                true
            }
        }
    }

    pub(crate) fn remove(&self, path: &str) {
        let (hash, shard) = self.place(path);
        let removed = match shard.write().find_entry(hash, |named| named.is(hash, path)) {
            Ok(place) => Some(place.remove().0),
            Err(_) => None,
        };
        // As above.
        drop(removed);
    }

    pub(crate) fn get(&self, path: &str) -> Option<Arc<dyn Role>> {
        let (hash, shard) = self.place(path);
        let shard = shard.read();
        let named = shard.find(hash, |named| named.is(hash, path))?;
        Some(Arc::clone(&named.role))
    }

    pub(crate) fn contains(&self, path: &str) -> bool {
        let (hash, shard) = self.place(path);
        shard
            .read()
            .find(hash, |named| named.is(hash, path))
            .is_some()
    }

    /// Calls `f` with every role; the table may change meanwhile.
    pub(crate) fn for_each(&self, mut f: impl FnMut(&dyn Role)) {
        for Shard(shard) in &self.shards {
            shard.read().iter().for_each(|named| f(&*named.role));
        }
    }
}
