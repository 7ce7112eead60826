//! All subscriptions with terms to one event type: who has which, and whose an event is.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use foldhash::fast::RandomState;
use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::buffer::Key;
use super::consumer::{Consumer, Fate, drop_guarded};
use super::facts::{Facts, Panicked, Published, author};
use super::group::{Group, Groups, hash, of_key};
use super::meter::{Meter, Meters};
use super::required::Required;
use super::retained::Retained;
use super::{DropReason, EventOverflow, Share, Subscription};
use crate::Event;
use crate::causes::{Origin, Origins};
use crate::delivery::Delivery;
use crate::entry::Receive;
use crate::envelope::Parcel;
use crate::registry::Counts;
use crate::subject::{SharedIndex, Snapshot};

pub(crate) struct Board<E: Event> {
    counts: Arc<Counts>,
    /// Where events of the type are retained. Held while one is stored and its listeners are looked up, and while
    /// somebody who wants them replayed comes: so each event is replayed to them or given to them, and not both.
    retained: Option<Mutex<Retained<Published<E>>>>,
    /// Somebody has asked for envelopes: from then on what is retained has its own.
    has_envelopes: AtomicBool,
    table: RwLock<Table<E>>,
}

struct Table<E: Event> {
    roles: HashMap<usize, Vec<Entry<E>>, RandomState>,
    meters: Meters,
    groups: Groups,
    next: u64,
    /// Those that take events of any key and subject, in the order in which they are given them.
    any: BTreeMap<Rank, Arc<Listener<E>>>,
    /// The same, for publishers.
    list: Arc<Listeners<E>>,
    is_old: bool,
    by_key: HashMap<Box<str>, BTreeMap<Rank, Arc<Listener<E>>>, RandomState>,
    /// Those that take events of any key whose subject matches; publishers look them up behind the lock.
    by_subject: SharedIndex<Arc<Listener<E>>>,
    /// How many these are.
    patterns: usize,
}

type Listeners<E> = Vec<Arc<Listener<E>>>;

/// The higher priority first, then who came first.
type Rank = (Reverse<i32>, u64);

/// A subscription as its role has it; it stays when its terms are changed, and when it is disconnected.
struct Entry<E: Event> {
    consumer: Arc<Consumer<E>>,
    listener: Arc<Listener<E>>,
    is_listed: bool,
    /// The life that was replayed to; 0 is none.
    replayed: u64,
}

/// A subscription as publishers have it, under the terms of one moment.
struct Listener<E: Event> {
    consumer: Arc<Consumer<E>>,
    terms: Subscription<E>,
    role: usize,
    rank: Rank,
    /// A number that rises with each change of terms.
    edition: u64,
    group: Option<(Arc<Group>, Share)>,
    /// Of its actor and its name, the same in each life and each run.
    hash: u64,
}

/// What is left to be done for a subscription that was made, when no lock is held.
#[must_use = "it is to be finished when no lock is held"]
pub(crate) struct Subscribed<E: Event> {
    listener: Arc<Listener<E>>,
    /// The place of the first in the buffer.
    replay: Option<(u64, Vec<Arc<Published<E>>>)>,
    /// Those have filters, which are authors' code.
    _before: Option<Arc<Listener<E>>>,
    _lists: [Arc<Listeners<E>>; 2],
}

impl<E: Event> Board<E> {
    pub(crate) fn new(counts: Arc<Counts>, retained: usize) -> Self {
        Board {
            counts,
            retained: (retained > 0).then(|| Mutex::new(Retained::new(retained))),
            has_envelopes: AtomicBool::new(false),
            table: RwLock::new(Table {
                roles: HashMap::default(),
                meters: Meters::default(),
                groups: Groups::new(),
                next: 0,
                any: BTreeMap::new(),
                list: Arc::default(),
                is_old: false,
                by_key: HashMap::default(),
                by_subject: SharedIndex::default(),
                patterns: 0,
            }),
        }
    }

    /// Makes a subscription, or changes the terms of the one that has the name.
    pub(crate) fn subscribe(
        &self,
        terms: Subscription<E>,
        to: &Arc<dyn Receive<E>>,
        (role, incarnation): (usize, u64),
    ) -> Subscribed<E> {
        if terms.has_envelope {
            self.has_envelopes.store(true, Ordering::Relaxed);
        }
        let retained = self.retained.as_ref().filter(|_| terms.replay);
        let retained = retained.map(|retained| retained.lock());
        let mut table = self.table.write();
        let table = &mut *table;
        let name = Arc::clone(&terms.name);
        let entries = table.roles.entry(role).or_default();
        let known = entries.iter().position(|e| e.listener.terms.name == name);
        let (consumer, place) = match known.map(|i| &entries[i]) {
            Some(entry) => (Arc::clone(&entry.consumer), entry.listener.rank.1),
            None => {
                let meter = table.meters.of(&name);
                let counts = Arc::clone(&self.counts);
                let room = (terms.overflow, terms.buffer);
                let consumer = Consumer::new((Arc::clone(to), role), name, meter, counts, room);
                (consumer, table.next + 1)
            }
        };
        table.next += 1;
        let edition = table.next;
        let group = terms.group.as_ref();
        let group = group.map(|(name, share)| (table.groups.of(name), *share));
        let is_replay = terms.replay;
        let listener = Arc::new(Listener {
            consumer: Arc::clone(&consumer),
            role,
            rank: (Reverse(terms.priority), place),
            edition,
            group,
            hash: hash((to.path().as_str(), &*terms.name)),
            terms,
        });
        let now = if is_replay { incarnation } else { 0 };
        let (before, replayed) = match known {
            Some(i) => {
                let entry = &mut entries[i];
                let before = std::mem::replace(&mut entry.listener, Arc::clone(&listener));
                entry.is_listed = true;
                let replayed = entry.replayed;
                entry.replayed = replayed.max(now);
                (Some(before), replayed)
            }
            None => {
                entries.push(Entry {
                    consumer: Arc::clone(&consumer),
                    listener: Arc::clone(&listener),
                    is_listed: true,
                    replayed: now,
                });
                (None, 0)
            }
        };
        let unlisted = before.as_ref().map(|before| table.unlist(before));
        let lists = [unlisted.unwrap_or_default(), table.list(&listener)];
        let replay = retained
            .filter(|_| replayed != incarnation)
            .map(|retained| {
                let events = retained.all();
                (consumer.fill(edition, events.len()), events)
            });
        Subscribed {
            listener,
            replay,
            _before: before,
            _lists: lists,
        }
    }

    /// Ends the subscription of this name.
    pub(crate) fn unsubscribe(&self, role: usize, name: &str) -> Option<Unsubscribed<E>> {
        let mut table = self.table.write();
        let entries = table.roles.get_mut(&role)?;
        let mut known = entries.iter();
        let known = known.position(|e| *e.listener.terms.name == *name)?;
        let entry = entries.swap_remove(known);
        if entries.is_empty() {
            table.roles.remove(&role);
        }
        let _list = table.unlist(&entry.listener);
        Some(Unsubscribed { entry, _list })
    }

    /// Ends all subscriptions of a role.
    pub(crate) fn unsubscribe_all(&self, role: usize, why: DropReason) {
        let mut table = self.table.write();
        let entries = table.roles.remove(&role).unwrap_or_default();
        let lists: Vec<_> = entries.iter().map(|e| table.unlist(&e.listener)).collect();
        drop(table);
        drop(lists);
        for entry in entries {
            entry.consumer.end(why);
        }
    }

    /// A subscription has ended itself: it is given nothing more, unless it was made anew meanwhile.
    fn disconnect(&self, listener: &Arc<Listener<E>>) {
        let mut table = self.table.write();
        let entries = table.roles.get_mut(&listener.role);
        let mut entries = entries.into_iter().flatten();
        let Some(entry) = entries.find(|e| Arc::ptr_eq(&e.listener, listener)) else {
            return;
        };
        if !std::mem::take(&mut entry.is_listed) {
            return;
        }
        // Who begins anew has the last ones first.
        entry.replayed = 0;
        let list = table.unlist(listener);
        drop(table);
        drop(list);
        let path = listener.consumer.to().path();
        let subscription = &*listener.terms.name;
        tracing::warn!(actor = %path, subscription, "A subscription had no room and is disconnected.");
    }

    pub(crate) fn len(&self) -> usize {
        let table = self.table.read();
        let entries = table.roles.values().flatten();
        entries.filter(|entry| entry.is_listed).count()
    }

    pub(crate) fn meters(&self) -> Vec<(Arc<str>, Arc<Meter>)> {
        self.table.read().meters.all()
    }

    /// Lets time have its effect on what is kept.
    pub(crate) fn look(&self) {
        let table = self.table.read();
        let consumers = table.roles.values().flatten();
        let behind = consumers.filter(|entry| entry.consumer.is_behind());
        let behind: Vec<_> = behind.map(|e| Arc::clone(&e.consumer)).collect();
        drop(table);
        for consumer in behind {
            consumer.pump();
        }
    }

    /// The system has ended: what is retained may hold references to it.
    pub(crate) fn end(&self) {
        let retained = self.retained.as_ref();
        for (_, event) in retained.map(|r| r.lock().end()).into_iter().flatten() {
            drop_guarded(event);
        }
    }

    // ===== publishing =====

    /// Begins to give an event to those whose it is; its origin is made by `origins` where it is not known and wanted.
    pub(crate) fn round<'a>(
        &'a self,
        event: &'a E,
        origin: Option<&'a Origin>,
        origins: &'a Origins,
    ) -> Round<'a, E> {
        let facts = Facts::new(event, origin);
        let mut gone = None;
        let found = match &self.retained {
            None => self.look_up(&facts),
            Some(retained) => {
                // All that authors say is asked before the lock.
                let _ = facts.subject();
                let key = facts.key().map(|key| key.map(Box::from));
                let has_envelopes = self.has_envelopes.load(Ordering::Relaxed);
                let origin = facts.origin(has_envelopes.then_some(origins));
                let copy = facts.copy();
                let copy = copy.map(|event| Arc::new(Published { event, origin }));
                let kept = match (key, copy) {
                    (Ok(key), Ok(copy)) => Some((key, copy)),
                    (_, copy) => {
                        drop_guarded(copy);
                        None
                    }
                };
                let mut retained = retained.lock();
                if let Some((key, copy)) = kept {
                    gone = retained.put(key, copy);
                }
                self.look_up(&facts)
            }
        };
        drop_guarded(gone);
        let list = found.listeners(&facts);
        Round {
            is_found: !facts.was_in_vain(),
            board: self,
            origins,
            facts,
            list,
            next: 0,
            shared: Vec::new(),
        }
    }

    /// All that may want the event, as they are at this moment.
    fn look_up(&self, facts: &Facts<'_, E>) -> Found<E> {
        loop {
            let table = self.table_for_publishers();
            let (any_key, any_subject) = (!table.by_key.is_empty(), table.patterns > 0);
            if any_key && !facts.knows_key() || any_subject && !facts.knows_subject() {
                drop(table);
                // It is an author's code.
                let _ = any_key.then(|| facts.key());
                let _ = any_subject.then(|| facts.subject());
                continue;
            }
            let mut of_key: Listeners<E> = Vec::new();
            if any_key && let Ok(Some(key)) = facts.key() {
                let keyed = table.by_key.get(key).into_iter();
                of_key.extend(keyed.flat_map(BTreeMap::values).cloned());
            }
            return Found {
                of_key,
                by_subject: any_subject.then(|| table.by_subject.snapshot()),
                list: Arc::clone(&table.list),
            };
        }
    }

    fn table_for_publishers(&self) -> RwLockReadGuard<'_, Table<E>> {
        let table = self.table.read();
        if !table.is_old {
            return table;
        }
        drop(table);
        let mut table = self.table.write();
        if table.is_old {
            // What it replaces is empty: see `forget_list`.
            table.list = Arc::new(table.any.values().cloned().collect());
            table.is_old = false;
        }
        RwLockWriteGuard::downgrade(table)
    }
}

impl<E: Event> Table<E> {
    /// Lets publishers find a listener; what they had for a list is to be dropped behind the lock.
    fn list(&mut self, listener: &Arc<Listener<E>>) -> Arc<Listeners<E>> {
        let rank = listener.rank;
        match (&listener.terms.key, listener.terms.pattern()) {
            (Some(key), _) => {
                let keyed = self.by_key.entry(key.clone()).or_default();
                keyed.insert(rank, Arc::clone(listener));
                Arc::default()
            }
            (None, Some(pattern)) => {
                let id = rank.1;
                let before = self.by_subject.insert(pattern, id, Arc::clone(listener));
                self.patterns += usize::from(before.is_none());
                Arc::default()
            }
            (None, None) => {
                self.any.insert(rank, Arc::clone(listener));
                self.forget_list()
            }
        }
    }

    fn unlist(&mut self, listener: &Arc<Listener<E>>) -> Arc<Listeners<E>> {
        let rank = &listener.rank;
        match (&listener.terms.key, listener.terms.pattern()) {
            (Some(key), _) => {
                if let Some(keyed) = self.by_key.get_mut(key) {
                    keyed.remove(rank);
                    if keyed.is_empty() {
                        self.by_key.remove(key);
                    }
                }
                Arc::default()
            }
            (None, Some(pattern)) => {
                let gone = self.by_subject.remove(pattern, rank.1);
                self.patterns -= usize::from(gone.is_some());
                Arc::default()
            }
            (None, None) => {
                self.any.remove(rank);
                self.forget_list()
            }
        }
    }

    /// The list is made anew by the next who publishes; until then nobody is kept by it who has left.
    fn forget_list(&mut self) -> Arc<Listeners<E>> {
        self.is_old = true;
        std::mem::take(&mut self.list)
    }
}

/// Who may want an event, at the moment when it was looked up.
struct Found<E: Event> {
    /// Those of its key.
    of_key: Listeners<E>,
    /// Where those of its subject are.
    by_subject: Option<Snapshot<Arc<Listener<E>>>>,
    /// Those of any key and subject, in their order.
    list: Arc<Listeners<E>>,
}

impl<E: Event> Found<E> {
    /// All of them, in their order; to be called when no lock is held.
    fn listeners(self, facts: &Facts<'_, E>) -> Arc<Listeners<E>> {
        let mut found = self.of_key;
        if let Some(index) = self.by_subject
            && let Ok(Some(subject)) = facts.subject()
        {
            index.matches(subject, &mut found);
        }
        if found.is_empty() {
            return self.list;
        }
        found.extend_from_slice(&self.list);
        found.sort_by_key(|listener| listener.rank);
        Arc::new(found)
    }
}

impl<E: Event> Drop for Listener<E> {
    fn drop(&mut self) {
        // Its drop is its author's code, and whoever has the listener last may be anybody: a publisher, a supervisor.
        drop_guarded(self.terms.filter.take());
    }
}

impl<E: Event> Listener<E> {
    /// Whether the subject matches, of one that is not found by it.
    fn matches(&self, facts: &Facts<'_, E>) -> Result<bool, Panicked> {
        match self.terms.pattern() {
            Some(pattern) => {
                let subject = facts.subject()?;
                Ok(subject.is_some_and(|subject| pattern.matches(subject)))
            }
            None => Ok(true),
        }
    }

    /// Whether an event is wanted for which it was found.
    fn wants(&self, facts: &Facts<'_, E>) -> Result<bool, Panicked> {
        if self.terms.key.is_some() && !self.matches(facts)? {
            return Ok(false);
        }
        match &self.terms.filter {
            Some(filter) => author::<E, _>("a filter", || filter(facts.event)),
            None => Ok(true),
        }
    }

    /// What a buffer knows the event by, if it asks for that.
    fn key(&self, facts: &Facts<'_, E>) -> Result<Key, Panicked> {
        match self.terms.overflow {
            EventOverflow::LatestPerKey => Ok(facts.key()?.map(Box::from)),
            _ => Ok(None),
        }
    }

    /// A copy of what was retained and what a buffer knows it by, if it is for this subscription.
    fn replayed(&self, facts: &Facts<'_, E>) -> Result<Option<(Parcel<E>, Key)>, Panicked> {
        if let Some(key) = &self.terms.key
            && facts.key()? != Some(&**key)
        {
            return Ok(None);
        }
        if !self.matches(facts)? || !self.wants(facts)? {
            return Ok(None);
        }
        Ok(Some((facts.parcel(None)?, self.key(facts)?)))
    }
}

/// What is left to be done for a subscription that was ended, when no lock is held.
#[must_use = "it is to be finished when no lock is held"]
pub(crate) struct Unsubscribed<E: Event> {
    entry: Entry<E>,
    _list: Arc<Listeners<E>>,
}

impl<E: Event> Unsubscribed<E> {
    pub(crate) fn finish(self) {
        self.entry.consumer.end(DropReason::Unsubscribed);
    }
}

impl<E: Event> Subscribed<E> {
    /// Puts the terms in force and replays what is retained.
    pub(crate) fn finish(self) {
        let Listener {
            consumer,
            terms,
            edition,
            ..
        } = &*self.listener;
        let room = (terms.overflow, terms.buffer);
        consumer.change(*edition, room, terms.gaps_to.clone());
        let Some((first, events)) = self.replay else {
            return;
        };
        for (place, published) in (first..).zip(&events) {
            let facts = Facts::new(&published.event, published.origin.as_ref());
            match self.listener.replayed(&facts) {
                Ok(Some((copy, key))) => consumer.replay(*edition, place, copy, key),
                Ok(None) => {}
                Err(Panicked) => consumer.panicked(&published.event, facts.id()),
            }
        }
        consumer.filled(*edition);
        for event in events {
            drop_guarded(event);
        }
    }
}

/// One event on its way to those whose it is.
pub(crate) struct Round<'a, E: Event> {
    board: &'a Board<E>,
    origins: &'a Origins,
    facts: Facts<'a, E>,
    list: Arc<Listeners<E>>,
    next: usize,
    /// What it says of itself did not panic; or it is not known who all wanted it.
    is_found: bool,
    /// The groups that had it.
    shared: Vec<Arc<Group>>,
}

impl<E: Event> Round<'_, E> {
    /// Gives it to those that come before plain subscriptions.
    pub(crate) fn before_plain(&mut self, delivery: &mut Delivery) {
        if !self.is_found {
            self.board.counts.dropped(DropReason::Panicked);
            delivery.dropped += 1;
        }
        self.go_on(delivery, |priority| priority > 0);
    }

    /// Gives it to all others.
    pub(crate) fn after_plain(mut self, delivery: &mut Delivery) {
        self.go_on(delivery, |_| true);
    }

    fn go_on(&mut self, delivery: &mut Delivery, is_due: impl Fn(i32) -> bool) {
        let list = Arc::clone(&self.list);
        while let Some(listener) = list.get(self.next) {
            if !is_due(listener.terms.priority) {
                return;
            }
            self.next += 1;
            match &listener.group {
                None if self.is_for(listener, delivery) => self.give(listener, delivery),
                None => {}
                Some((group, share)) => {
                    if self.shared.iter().any(|shared| Arc::ptr_eq(shared, group)) {
                        continue;
                    }
                    self.shared.push(Arc::clone(group));
                    // The first has the group's highest priority; the others stand behind it.
                    let others = list[self.next - 1..].iter();
                    let is_member = |other: &&Arc<Listener<E>>| {
                        let theirs = other.group.as_ref();
                        theirs.is_some_and(|(theirs, _)| Arc::ptr_eq(theirs, group))
                    };
                    let members = others.filter(is_member);
                    let members = members.filter(|other| self.is_for(other, delivery));
                    let members: Vec<&Arc<Listener<E>>> = members.collect();
                    if let Some(member) = self.choose(group, *share, &members) {
                        self.give(member, delivery);
                    }
                }
            }
        }
    }

    /// Whether a listener wants the event; not if it cannot tell.
    fn is_for(&self, listener: &Listener<E>, delivery: &mut Delivery) -> bool {
        listener.wants(&self.facts).unwrap_or_else(|Panicked| {
            listener
                .consumer
                .panicked(self.facts.event, self.facts.id());
            delivery.dropped += 1;
            false
        })
    }

    fn choose<'l>(
        &self,
        group: &Group,
        share: Share,
        members: &[&'l Arc<Listener<E>>],
    ) -> Option<&'l Arc<Listener<E>>> {
        let n = members.len();
        let chosen = match share {
            _ if n < 2 => 0,
            Share::RoundRobin => group.in_turn(n, |i| members[i].consumer.fit()),
            Share::LeastLoaded => group.least(n, |i| {
                let consumer = &members[i].consumer;
                (consumer.fit(), consumer.load())
            }),
            // What cannot tell its key has none.
            Share::ByKey => {
                let key = self.facts.key().unwrap_or_default();
                let hashes = members.iter().map(|member| member.hash);
                of_key(key, hashes, |i| members[i].consumer.is_open())
            }
        };
        members.get(chosen).copied()
    }

    fn give(&self, listener: &Arc<Listener<E>>, delivery: &mut Delivery) {
        let Listener {
            consumer, terms, ..
        } = &**listener;
        let origins = terms.has_envelope.then_some(self.origins);
        let Ok(copy) = self.facts.parcel(origins) else {
            consumer.panicked(self.facts.event, self.facts.id());
            delivery.dropped += 1;
            return;
        };
        let key = || listener.key(&self.facts).ok();
        let required = &mut delivery.required;
        let waits = || {
            let is_required = terms.is_required;
            is_required.then(|| required.get_or_insert_default().waits())
        };
        match consumer.deliver(copy, key, waits) {
            Fate::Delivered => delivery.delivered += 1,
            Fate::Kept(place) => {
                delivery.buffered += 1;
                if terms.is_required {
                    let required: &mut Required = delivery.required.get_or_insert_default();
                    required.hold(Arc::clone(consumer) as _, place);
                }
            }
            Fate::Dropped => delivery.dropped += 1,
            Fate::Over => {
                delivery.dropped += 1;
                self.board.disconnect(listener);
            }
        }
    }
}
