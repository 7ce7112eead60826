//! The table behind names and groups: who stands under which key, and who is told when that changes.
//!
//! Keys are spread over shards, each under a lock of its own. Locks are taken in
//! one order: what a role holds, then shards from the first to the last, then the
//! mailboxes of those who are told. They are told under the shard's lock, so that
//! everyone hears of the changes of a key in the order in which they were made;
//! what an author's code may take part in (a dead letter of a change that found no
//! room, the end of a key or a value) is put off until all locks are free. Of an
//! author's there only run `Hash` and `Eq` of keys under them.

use std::any::Any;
use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::RwLock;

use super::key::Key;
use super::lock::Locks;
use crate::entry::Receive;
use crate::error::RegisterError;
use crate::failure::guarded;
use crate::holdings::{Holding, Holdings, held_in};
use crate::{Actor, ActorRef, Context, Handler, Message, Path};

/// Enough that the threads of a large machine seldom meet, few enough that all can be locked.
const SHARDS: usize = 16;

/// One actor under one key of [`Names`](crate::names::Names) or [`Groups`](crate::names::Groups), as it was when it was looked up.
///
/// Two entries are equal if they are one registration, also when its value was
/// updated in between.
#[non_exhaustive]
pub struct Entry<K, R, V = ()> {
    /// What it stands under.
    pub key: K,
    /// The reference to the actor.
    pub to: R,
    /// What the actor says of itself.
    pub value: V,
    /// The actor's place in the tree.
    pub owner: Path,
    /// Entries are numbered in the order in which they are made.
    number: u64,
    role: usize,
    incarnation: u64,
}

/// Told to an actor that [monitors](crate::names::Groups::monitor) names or groups.
///
/// Changes of one key come in the order in which they were made. Take them as
/// operations on a set of entries: one that the list of `monitor` already had may
/// be told of again after a restart.
#[non_exhaustive]
pub enum Change<K, R, V = ()> {
    /// This entry has come.
    Joined(Arc<Entry<K, R, V>>),
    /// This entry has gone; its actor left, or has stopped for good.
    Left(Arc<Entry<K, R, V>>),
}

impl<K: Key, R: Clone + Send + Sync + 'static, V: Send + Sync + 'static> Message
    for Change<K, R, V>
{
    type Reply = ();
}

type Listener<K, R, V> = Arc<dyn Receive<Change<K, R, V>>>;
type Listed<K, R, V> = Vec<Arc<Entry<K, R, V>>>;

pub(crate) struct Table<K, R, V> {
    shards: [RwLock<Shard<K, R, V>>; SHARDS],
    /// Not the fast hash of the paths: keys may be made by whoever connects.
    hasher: RandomState,
    /// The number of the next entry.
    next: AtomicU64,
    locks: Locks<K>,
}

struct Shard<K, R, V> {
    entries: HashMap<K, Slot<K, R, V>>,
    /// Who is told of the changes of one key, whether it has entries or not ...
    of_key: HashMap<K, Vec<Listener<K, R, V>>>,
    /// ... and who of all; the same in each shard.
    of_all: Vec<Listener<K, R, V>>,
}

/// The entries of one key, by their numbers; there is always one.
enum Slot<K, R, V> {
    One(Arc<Entry<K, R, V>>),
    Many(BTreeMap<u64, Arc<Entry<K, R, V>>>),
}

/// What is left to be done when no lock is held any more.
struct After<K, R, V> {
    /// To be dropped, with what authors put into it.
    gone: Listed<K, R, V>,
    keys: Vec<K>,
    /// Changes that somebody did not get.
    undelivered: Vec<Box<dyn FnOnce() + Send>>,
}

/// What one role holds in a table.
struct Held<K: Key, R: Clone + Send + Sync + 'static, V: Send + Sync + 'static> {
    table: Weak<Table<K, R, V>>,
    role: usize,
    /// The numbers of its entries of a key, all of one life.
    keys: HashMap<K, Vec<u64>>,
    monitored: HashSet<K>,
    monitors_all: bool,
}

/// Whether a key may have more than one entry.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keys {
    Unique,
    Duplicate,
}

impl<K: Key, R: Clone + Send + Sync + 'static, V: Send + Sync + 'static> Table<K, R, V> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Table {
            shards: std::array::from_fn(|_| {
                RwLock::new(Shard {
                    entries: HashMap::new(),
                    of_key: HashMap::new(),
                    of_all: Vec::new(),
                })
            }),
            hasher: RandomState::new(),
            next: AtomicU64::new(0),
            locks: Locks::new(),
        })
    }

    pub(crate) fn locks(&self) -> &Locks<K> {
        &self.locks
    }

    fn shard(&self, key: &K) -> &RwLock<Shard<K, R, V>> {
        &self.shards[self.hasher.hash_one(key) as usize % SHARDS]
    }

    // ===== to look =====

    pub(crate) fn first(&self, key: &K) -> Option<Arc<Entry<K, R, V>>> {
        let shard = self.shard(key).read();
        shard.entries.get(key)?.iter().next().map(Arc::clone)
    }

    /// The entries of a key, the earliest first.
    pub(crate) fn of(&self, key: &K) -> Listed<K, R, V> {
        let shard = self.shard(key).read();
        let slot = shard.entries.get(key);
        slot.map_or_else(Vec::new, |slot| slot.iter().map(Arc::clone).collect())
    }

    /// All entries, the earliest first; others may come and go meanwhile.
    pub(crate) fn all(&self) -> Listed<K, R, V> {
        let mut all = Vec::new();
        for shard in &self.shards {
            shard.read().list(&mut all);
        }
        all.sort_unstable_by_key(|entry| entry.number);
        all
    }

    /// How many keys have an entry.
    pub(crate) fn len(&self) -> usize {
        let keys = |shard: &RwLock<Shard<K, R, V>>| shard.read().entries.len();
        self.shards.iter().map(keys).sum()
    }

    /// What an actor has entered, the earliest first.
    pub(crate) fn own<A: Actor>(self: &Arc<Self>, cx: &Context<A>) -> Listed<K, R, V> {
        let own = cx.cell().with_holdings(cx.incarnation(), |holdings| {
            let mut own = Vec::new();
            let held = self.held(holdings);
            for (key, numbers) in held.iter().flat_map(|held| &held.keys) {
                let shard = self.shard(key).read();
                let slot = shard.entries.get(key);
                let entry = |number: &u64| slot.and_then(|slot| slot.get(*number)).cloned();
                own.extend(numbers.iter().filter_map(entry));
            }
            own
        });
        let mut own = own.unwrap_or_default();
        own.sort_unstable_by_key(|entry| entry.number);
        own
    }

    // ===== to enter, to update, to leave =====

    /// Enters an actor under a key. What an earlier life of it entered there is replaced, in its place.
    pub(crate) fn enter<A: Actor>(
        self: &Arc<Self>,
        cx: &mut Context<A>,
        keys: Keys,
        key: K,
        value: V,
    ) -> Result<(), RegisterError>
    where
        R: From<ActorRef<A>>,
    {
        let (cell, incarnation) = (cx.cell(), cx.incarnation());
        let (owner, role) = (cell.path.clone(), cell.identity());
        let mut to_enter = Some(Entry {
            to: R::from(cx.me()),
            value,
            owner: owner.clone(),
            number: 0,
            role,
            incarnation,
            key: key.clone(),
        });
        let mut spare = [Some(key.clone()), Some(key.clone())];
        let mut after = After::new();
        let entered = cell.with_holdings(incarnation, |holdings| {
            let mut shard = self.shard(&key).write();
            let there = shard.entries.get(&key).and_then(|slot| slot.iter().next());
            if keys == Keys::Unique
                && let Some(there) = there
                && (there.role != role || there.incarnation == incarnation)
            {
                let owner = there.owner.clone();
                return Err(RegisterError::AlreadyRegistered { owner });
            }
            let held = self.held_or_new(holdings, role);
            let (Some(numbers), Some(mut entry)) =
                (held.numbers(&key, &mut spare[0]), to_enter.take())
            else {
                return Ok(());
            };
            let slot = shard.entries.get(&key);
            let is_of_now = |number: &u64| {
                let entry = slot.and_then(|slot| slot.get(*number));
                entry.is_some_and(|entry| entry.incarnation == incarnation)
            };
            let earlier = match numbers.first() {
                Some(first) if !is_of_now(first) => std::mem::take(numbers),
                _ => Vec::new(),
            };
            let in_place_of = earlier.first().copied();
            entry.number = in_place_of.unwrap_or_else(|| self.next.fetch_add(1, Ordering::Relaxed));
            numbers.push(entry.number);
            let entry = Arc::new(entry);
            after.gone.extend(shard.put(&key, &mut spare[1], &entry));
            if in_place_of.is_none() {
                shard.tell(&key, &Change::Joined(entry), &mut after);
            }
            for number in earlier.iter().skip(1) {
                shard.remove(&key, *number, &mut after);
            }
            Ok(())
        });
        after.settle();
        entered.unwrap_or(Err(RegisterError::CutOff(owner)))
    }

    /// Gives the first entry that this actor has under the key another value; `false` if it has none.
    pub(crate) fn update<A: Actor>(
        self: &Arc<Self>,
        cx: &mut Context<A>,
        key: &K,
        update: impl FnOnce(&V) -> V,
    ) -> bool {
        let Some(old) = self.own_of(cx, key).into_iter().next() else {
            return false;
        };
        let mut entry = Arc::new(Entry {
            key: old.key.clone(),
            to: old.to.clone(),
            value: update(&old.value),
            owner: old.owner.clone(),
            ..*old
        });
        // Whichever of the two is not in the table afterwards is dropped outside of the locks.
        let updated = cx.cell().with_holdings(cx.incarnation(), |_| {
            let mut shard = self.shard(key).write();
            let place = shard.entries.get_mut(key)?.get_mut(entry.number)?;
            std::mem::swap(place, &mut entry);
            Some(())
        });
        updated.flatten().is_some()
    }

    /// Takes out those entries under the key that are this actor's and of which `is_meant` is true; returns how many.
    pub(crate) fn leave<A: Actor>(
        self: &Arc<Self>,
        cx: &mut Context<A>,
        key: &K,
        mut is_meant: impl FnMut(&V) -> bool,
    ) -> usize {
        let mut meant = self.own_of(cx, key);
        meant.retain(|entry| is_meant(&entry.value));
        let mut after = After::new();
        let left = cx.cell().with_holdings(cx.incarnation(), |holdings| {
            let held = self.held(holdings)?;
            let mut shard = self.shard(key).write();
            for entry in &meant {
                shard.remove(key, entry.number, &mut after);
            }
            let is_gone = held.keys.get_mut(key).is_none_or(|numbers| {
                numbers.retain(|number| meant.iter().all(|entry| entry.number != *number));
                numbers.is_empty()
            });
            if is_gone {
                after
                    .keys
                    .extend(held.keys.remove_entry(key).map(|(key, _)| key));
            }
            self.let_go_of_nothing(holdings);
            Some(meant.len())
        });
        after.settle();
        // A life that was cut off while its condition was asked has left nothing.
        left.flatten().unwrap_or(0)
    }

    /// The entries that this actor has under the key.
    fn own_of<A: Actor>(self: &Arc<Self>, cx: &Context<A>, key: &K) -> Listed<K, R, V> {
        let own = cx.cell().with_holdings(cx.incarnation(), |holdings| {
            let numbers = self.held(holdings)?.keys.get(key)?;
            let shard = self.shard(key).read();
            let slot = shard.entries.get(key)?;
            let entry = |number: &u64| slot.get(*number).map(Arc::clone);
            Some(numbers.iter().filter_map(entry).collect())
        });
        own.flatten().unwrap_or_default()
    }

    // ===== to be told =====

    /// Tells this actor of the changes of a key, or of all, from now on; returns what there is now.
    pub(crate) fn monitor<A>(
        self: &Arc<Self>,
        cx: &mut Context<A>,
        key: Option<&K>,
    ) -> Listed<K, R, V>
    where
        A: Handler<Change<K, R, V>>,
    {
        let (cell, incarnation) = (cx.cell(), cx.incarnation());
        let role = cell.identity();
        let listener = Arc::clone(cell) as Listener<K, R, V>;
        let add = |listeners: &mut Vec<Listener<K, R, V>>| {
            if !listeners.iter().any(|other| other.same_role(role)) {
                listeners.push(Arc::clone(&listener));
            }
        };
        let mut spare = [key.cloned(), key.cloned()];
        let there = cell.with_holdings(incarnation, |holdings| {
            let held = self.held_or_new(holdings, role);
            let mut there = Vec::new();
            let Some(key) = key else {
                held.monitors_all = true;
                // All at once: what is in the list is not told of again, and what is not will be.
                let mut shards: Vec<_> = self.shards.iter().map(RwLock::write).collect();
                for shard in &mut shards {
                    add(&mut shard.of_all);
                    shard.list(&mut there);
                }
                return there;
            };
            if !held.monitored.contains(key) {
                held.monitored.extend(spare[0].take());
            }
            let mut shard = self.shard(key).write();
            if let Some(listeners) = shard.of_key.get_mut(key) {
                add(listeners);
            } else if let Some(key) = spare[1].take() {
                shard.of_key.insert(key, vec![Arc::clone(&listener)]);
            }
            if let Some(slot) = shard.entries.get(key) {
                there.extend(slot.iter().map(Arc::clone));
            }
            there
        });
        let mut there = there.unwrap_or_default();
        there.sort_unstable_by_key(|entry| entry.number);
        there
    }

    /// Tells this actor no more of the changes of a key, or of all; what is queued is still handled.
    pub(crate) fn demonitor<A: Actor>(self: &Arc<Self>, cx: &mut Context<A>, key: Option<&K>) {
        let (cell, incarnation) = (cx.cell(), cx.incarnation());
        let mut after = After::new();
        cell.with_holdings(incarnation, |holdings| {
            let Some(held) = self.held(holdings) else {
                return;
            };
            match key {
                Some(key) => after.keys.extend(held.monitored.take(key)),
                None => held.monitors_all = false,
            }
            self.silence(key, cell.identity(), &mut after);
            self.let_go_of_nothing(holdings);
        });
        after.settle();
    }

    fn silence(&self, key: Option<&K>, role: usize, after: &mut After<K, R, V>) {
        let Some(key) = key else {
            for shard in &self.shards {
                shard.write().of_all.retain(|other| !other.same_role(role));
            }
            return;
        };
        let mut shard = self.shard(key).write();
        let is_empty = shard.of_key.get_mut(key).is_some_and(|listeners| {
            listeners.retain(|other| !other.same_role(role));
            listeners.is_empty()
        });
        if is_empty {
            let gone = shard.of_key.remove_entry(key);
            after.keys.extend(gone.map(|(key, _)| key));
        }
    }

    // ===== what roles hold =====

    fn address(self: &Arc<Self>) -> usize {
        Arc::as_ptr(self).addr()
    }

    fn held<'a>(self: &Arc<Self>, holdings: &'a mut Holdings) -> Option<&'a mut Held<K, R, V>> {
        held_in(holdings, self.address())
    }

    fn held_or_new<'a>(
        self: &Arc<Self>,
        holdings: &'a mut Holdings,
        role: usize,
    ) -> &'a mut Held<K, R, V> {
        if self.held(holdings).is_none() {
            holdings.push(Box::new(Held {
                table: Arc::downgrade(self),
                role,
                keys: HashMap::new(),
                monitored: HashSet::new(),
                monitors_all: false,
            }));
        }
        match self.held(holdings) {
            Some(held) => held,
            None => unreachable!("it was just added"),
        }
    }

    /// Forgets that a role holds anything here if it does not.
    fn let_go_of_nothing(self: &Arc<Self>, holdings: &mut Holdings) {
        if self.held(holdings).is_some_and(|held| held.is_nothing()) {
            holdings.retain(|held| held.table() != self.address());
        }
    }
}

impl<K: Key, R: Clone + Send + Sync + 'static, V: Send + Sync + 'static> Shard<K, R, V> {
    fn list(&self, into: &mut Listed<K, R, V>) {
        let slots = self.entries.values();
        into.extend(slots.flat_map(Slot::iter).map(Arc::clone));
    }

    /// Adds an entry, or replaces the one of its number, which it returns.
    fn put(
        &mut self,
        key: &K,
        spare: &mut Option<K>,
        entry: &Arc<Entry<K, R, V>>,
    ) -> Option<Arc<Entry<K, R, V>>> {
        if let Some(slot) = self.entries.get_mut(key) {
            return slot.put(Arc::clone(entry));
        }
        if let Some(key) = spare.take() {
            self.entries.insert(key, Slot::One(Arc::clone(entry)));
        }
        None
    }

    fn remove(&mut self, key: &K, number: u64, after: &mut After<K, R, V>) {
        let Some(slot) = self.entries.get_mut(key) else {
            return;
        };
        let gone = match slot {
            Slot::One(entry) if entry.number == number => {
                let gone = Arc::clone(entry);
                let removed = self.entries.remove_entry(key);
                after.keys.extend(removed.map(|(key, _)| key));
                gone
            }
            Slot::One(_) => return,
            Slot::Many(entries) => {
                let Some(gone) = entries.remove(&number) else {
                    return;
                };
                if entries.len() == 1
                    && let Some((_, last)) = entries.pop_first()
                {
                    *slot = Slot::One(last);
                }
                gone
            }
        };
        self.tell(key, &Change::Left(Arc::clone(&gone)), after);
        after.gone.push(gone);
    }

    /// Tells a change to those who monitor; nobody is waited for.
    fn tell(&self, key: &K, change: &Change<K, R, V>, after: &mut After<K, R, V>) {
        let of_key = self.of_key.get(key).into_iter().flatten();
        for listener in of_key.chain(&self.of_all) {
            let posted = Arc::clone(listener).post(change.clone());
            after.undelivered.extend(posted.afterwards);
        }
    }
}

impl<K, R, V> Slot<K, R, V> {
    fn iter(&self) -> impl Iterator<Item = &Arc<Entry<K, R, V>>> {
        let (one, many) = match self {
            Slot::One(entry) => (Some(entry), None),
            Slot::Many(entries) => (None, Some(entries.values())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    fn get(&self, number: u64) -> Option<&Arc<Entry<K, R, V>>> {
        match self {
            Slot::One(entry) => (entry.number == number).then_some(entry),
            Slot::Many(entries) => entries.get(&number),
        }
    }

    fn get_mut(&mut self, number: u64) -> Option<&mut Arc<Entry<K, R, V>>> {
        match self {
            Slot::One(entry) => (entry.number == number).then_some(entry),
            Slot::Many(entries) => entries.get_mut(&number),
        }
    }

    fn put(&mut self, entry: Arc<Entry<K, R, V>>) -> Option<Arc<Entry<K, R, V>>> {
        match self {
            Slot::One(there) if there.number == entry.number => {
                Some(std::mem::replace(there, entry))
            }
            Slot::One(there) => {
                let both = [Arc::clone(there), entry];
                *self = Slot::Many(both.map(|entry| (entry.number, entry)).into());
                None
            }
            Slot::Many(entries) => entries.insert(entry.number, entry),
        }
    }
}

impl<K, R, V> After<K, R, V> {
    fn new() -> Self {
        After {
            gone: Vec::new(),
            keys: Vec::new(),
            undelivered: Vec::new(),
        }
    }

    fn settle(self) {
        for undelivered in self.undelivered {
            let _ = guarded(undelivered);
        }
        let _ = guarded(|| drop((self.gone, self.keys)));
    }
}

impl<K: Key, R: Clone + Send + Sync + 'static, V: Send + Sync + 'static> Held<K, R, V> {
    /// The numbers of the entries of a key; where there is none yet, it takes the spare one.
    fn numbers(&mut self, key: &K, spare: &mut Option<K>) -> Option<&mut Vec<u64>> {
        if self.keys.contains_key(key) {
            return self.keys.get_mut(key);
        }
        Some(self.keys.entry(spare.take()?).or_default())
    }

    fn is_nothing(&self) -> bool {
        self.keys.is_empty() && self.monitored.is_empty() && !self.monitors_all
    }
}

impl<K: Key, R: Clone + Send + Sync + 'static, V: Send + Sync + 'static> Holding for Held<K, R, V> {
    fn table(&self) -> usize {
        Weak::as_ptr(&self.table).addr()
    }

    fn release(self: Box<Self>) {
        let Some(table) = self.table.upgrade() else {
            return;
        };
        let mut after = After::new();
        // First of all, so that nobody is told of the own end.
        if self.monitors_all {
            table.silence(None, self.role, &mut after);
        }
        for key in &self.monitored {
            table.silence(Some(key), self.role, &mut after);
        }
        // In the order in which they came: a simulation is to be the same each time.
        let mut keys: Vec<(K, Vec<u64>)> = self.keys.into_iter().collect();
        keys.sort_unstable_by_key(|(_, numbers)| numbers.first().copied());
        for (key, numbers) in &keys {
            let mut shard = table.shard(key).write();
            for number in numbers {
                shard.remove(key, *number, &mut after);
            }
        }
        after.settle();
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

impl<K, R, V> Clone for Change<K, R, V> {
    fn clone(&self) -> Self {
        match self {
            Change::Joined(entry) => Change::Joined(Arc::clone(entry)),
            Change::Left(entry) => Change::Left(Arc::clone(entry)),
        }
    }
}

impl<K, R, V> PartialEq for Entry<K, R, V> {
    fn eq(&self, other: &Self) -> bool {
        (self.number, self.role) == (other.number, other.role)
    }
}

impl<K, R, V> Eq for Entry<K, R, V> {}

impl<K, R, V> Hash for Entry<K, R, V> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (self.number, self.role).hash(state);
    }
}

impl<K: fmt::Debug, R, V> fmt::Debug for Entry<K, R, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({:?}: {})", self.key, self.owner)
    }
}

impl<K: fmt::Debug, R, V> fmt::Debug for Change<K, R, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, entry) = match self {
            Change::Joined(entry) => ("Joined", entry),
            Change::Left(entry) => ("Left", entry),
        };
        write!(f, "{what}({:?}: {})", entry.key, entry.owner)
    }
}
