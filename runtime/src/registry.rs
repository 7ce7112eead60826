//! The registry: who is where, and who subscribed to what.
//!
//! Names are in a sharded table. Publishing goes through an immutable list for
//! each event type (see [`subscribers`](crate::subscribers)) and never waits for a subscriber. A subscription belongs
//! to the role; it ends when the role does.

use std::any::{Any, TypeId, type_name};
use std::collections::HashMap;
use std::future::poll_fn;
use std::slice;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use dashmap::DashMap;
use foldhash::fast::RandomState;

use crate::causes::{Origin, Origins};
use crate::delivery::Delivery;
use crate::entry::{Entry, Offered, Receive, Refused, Way};
use crate::envelope::Parcel;
use crate::failure::{Panic, ShortType, guarded};
use crate::fencing::{is_fenced, is_special};
use crate::flow::Type;
use crate::mailbox::words::WhenFull;
use crate::role::Role;
use crate::subscribers::Subscribers;
use crate::subscription::board::{Board, Subscribed, Unsubscribed};
use crate::subscription::meter::Meter;
use crate::{DropReason, Event, EventId, Path, Subscription, SupervisionEvent};

pub(crate) struct Registry {
    /// A fast hash, seeded by chance: names come from code, not from those who would make them collide.
    names: DashMap<Path, Arc<dyn Role>, RandomState>,
    topics: ArcSwap<HashMap<TypeId, Arc<dyn AnyTopic>>>,
    /// Whether anybody ever subscribed to what supervisors decide: they look at each decision.
    hears_supervision: AtomicBool,
    pub(crate) origins: Origins,
}

/// One event type: its subscribers and counts.
struct Topic<E: Event> {
    /// The plain ones.
    subscribers: Subscribers<dyn Receive<E>>,
    /// Those with terms, and what is retained; most event types have none of it.
    board: OnceLock<Box<Board<E>>>,
    counts: Arc<Counts>,
}

/// What became of all events of a type.
#[derive(Default)]
pub(crate) struct Counts {
    published: AtomicU64,
    delivered: AtomicU64,
    dropped: [AtomicU64; DropReason::ALL.len()],
}

impl Counts {
    pub(crate) fn delivered(&self, n: u64) {
        self.delivered.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn dropped(&self, why: DropReason) {
        self.dropped[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn published_so_far(&self) -> u64 {
        self.published.load(Ordering::Relaxed)
    }

    pub(crate) fn delivered_so_far(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    pub(crate) fn dropped_so_far(&self, why: DropReason) -> u64 {
        self.dropped[why as usize].load(Ordering::Relaxed)
    }
}

/// A [`Topic`] whose event type is forgotten.
pub(crate) trait AnyTopic: Send + Sync {
    fn name(&self) -> String;
    /// The type of the event.
    fn event(&self) -> Type;
    fn counts(&self) -> &Counts;
    fn subscribers(&self) -> usize;
    /// What subscriptions with terms are counted by, by their names.
    fn meters(&self) -> Vec<(Arc<str>, Arc<Meter>)>;
    /// Lets time have its effect on what subscriptions keep; it runs authors' code.
    fn look(&self);
    /// The system has ended.
    fn end(&self);
    /// Ends all subscriptions of a role; it runs authors' code.
    fn unsubscribe_all(&self, role: usize, why: DropReason);
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

impl Registry {
    pub(crate) fn new(origins: Origins) -> Self {
        Registry {
            names: DashMap::default(),
            topics: ArcSwap::default(),
            hears_supervision: AtomicBool::new(false),
            origins,
        }
    }

    pub(crate) fn register(&self, role: Arc<dyn Role>) {
        self.names.insert(role.path().clone(), role);
    }

    /// The same, unless somebody has the place.
    pub(crate) fn claim(&self, role: &Arc<dyn Role>) -> bool {
        match self.names.entry(role.path().clone()) {
            dashmap::Entry::Vacant(place) => {
                place.insert(Arc::clone(role));
                true
            }
            dashmap::Entry::Occupied(_) => false,
        }
    }

    pub(crate) fn unregister(&self, path: &Path) {
        self.names.remove(path);
    }

    pub(crate) fn get(&self, path: &str) -> Option<Arc<dyn Role>> {
        self.names.get(path).map(|role| Arc::clone(&role))
    }

    /// Calls `f` with every role; the table may change meanwhile.
    pub(crate) fn for_each(&self, mut f: impl FnMut(&dyn Role)) {
        self.for_each_shared(|role| f(&**role));
    }

    /// The same, with roles that `f` may keep.
    pub(crate) fn for_each_shared(&self, mut f: impl FnMut(&Arc<dyn Role>)) {
        for entry in &self.names {
            f(entry.value());
        }
    }

    pub(crate) fn supervisors(&self) -> Vec<Arc<dyn Role>> {
        let roles = self.names.iter();
        let supervisors = roles.filter(|entry| entry.value().is_supervisor());
        supervisors.map(|entry| Arc::clone(entry.value())).collect()
    }

    /// The paths under the nearest ancestor of `path` that exists, for an error that helps.
    pub(crate) fn nearby(&self, path: &str) -> Vec<String> {
        let mut ancestor = path;
        while let Some((parent, _)) = ancestor.rsplit_once('/') {
            ancestor = parent;
            if self.names.contains_key(ancestor) {
                break;
            }
        }
        let prefix = if self.names.contains_key(ancestor) {
            format!("{ancestor}/")
        } else {
            String::new()
        };
        let paths: Vec<Path> = self.names.iter().map(|entry| entry.key().clone()).collect();
        // First of all those of the same name in another place.
        let name = path.rsplit('/').next();
        let is_namesake = |p: &&Path| Some(p.name()) == name;
        let mut found: Vec<String> = paths
            .iter()
            .filter(is_namesake)
            .map(Path::to_string)
            .collect();
        if found.is_empty() {
            let near = |p: &&Path| {
                p.as_str()
                    .strip_prefix(&prefix)
                    .is_some_and(|rest| !rest.contains('/'))
            };
            found = paths.iter().filter(near).map(Path::to_string).collect();
        }
        found.sort_unstable();
        found.truncate(16);
        found
    }

    // ===== events =====

    fn topic<E: Event>(&self) -> Arc<Topic<E>> {
        let id = TypeId::of::<E>();
        let known = |topics: &HashMap<TypeId, Arc<dyn AnyTopic>>| {
            let topic = Arc::clone(topics.get(&id)?).into_any();
            topic.downcast::<Topic<E>>().ok()
        };
        if let Some(topic) = known(&self.topics.load()) {
            return topic;
        }
        let fresh: Arc<dyn AnyTopic> = Arc::new(Topic::<E>::new());
        self.topics.rcu(|topics| {
            let mut topics = HashMap::clone(topics);
            topics.entry(id).or_insert_with(|| Arc::clone(&fresh));
            topics
        });
        // The table only grows and each key has the topic of its type.
        known(&self.topics.load()).unwrap_or_else(|| unreachable!("the topic was just added"))
    }

    /// Adds a subscriber unless its role is one already; returns the topic for the end of the role.
    pub(crate) fn subscribe<E: Event>(
        &self,
        subscriber: &Arc<dyn Receive<E>>,
        role: usize,
    ) -> Arc<dyn AnyTopic> {
        let topic = self.topic::<E>();
        if TypeId::of::<E>() == TypeId::of::<SupervisionEvent>() {
            self.hears_supervision.store(true, Ordering::Relaxed);
        }
        topic.subscribers.add(role, subscriber);
        topic
    }

    /// Ends a plain subscription; what is left of it is to be dropped when no lock is held.
    pub(crate) fn unsubscribe<E: Event>(&self, role: usize) -> impl Sized + use<E> {
        self.topic::<E>().subscribers.remove(role)
    }

    /// Adds a subscription with terms, or changes its terms; returns the topic for the end of the role.
    pub(crate) fn subscribe_with<E: Event>(
        &self,
        terms: Subscription<E>,
        subscriber: &Arc<dyn Receive<E>>,
        (role, incarnation): (usize, u64),
    ) -> (Arc<dyn AnyTopic>, Subscribed<E>) {
        let topic = self.topic::<E>();
        if TypeId::of::<E>() == TypeId::of::<SupervisionEvent>() {
            self.hears_supervision.store(true, Ordering::Relaxed);
        }
        let board = topic.board();
        let subscribed = board.subscribe(terms, subscriber, (role, incarnation));
        (topic, subscribed)
    }

    /// Ends the subscription of this name.
    pub(crate) fn unsubscribe_from<E: Event>(
        &self,
        role: usize,
        name: &str,
    ) -> Option<Unsubscribed<E>> {
        let topic = self.topic::<E>();
        topic.board.get()?.unsubscribe(role, name)
    }

    /// The system has ended: lets go of what might keep it.
    pub(crate) fn end(&self) {
        for topic in self.topics.load_full().values() {
            topic.end();
        }
    }

    /// Whether anybody may hear of what supervisors decide.
    pub(crate) fn hears_supervision(&self) -> bool {
        self.hears_supervision.load(Ordering::Relaxed)
    }

    /// Publishes an event of the runtime's own if anybody has ever subscribed to its type; else there is no series of it.
    ///
    /// It is never refused: whoever's code calls this, the event is not that life's.
    pub(crate) fn publish_if_heard<E: Event>(&self, event: &E) {
        if self.topics.load().contains_key(&TypeId::of::<E>()) {
            self.deliver(event);
        }
    }

    pub(crate) fn publish<E: Event>(&self, event: &E) -> Delivery {
        if is_special() {
            if is_fenced() {
                return Delivery::default();
            }
            if let Some(origin) = self.origins.of_kept_event(event) {
                return self.publish_from(event, &origin);
            }
        }
        self.deliver(event)
    }

    fn deliver<E: Event>(&self, event: &E) -> Delivery {
        let mut delivery = Delivery::default();
        let topic = self.topic::<E>();
        topic.counts.published.fetch_add(1, Ordering::Relaxed);
        match topic.board.get() {
            None => topic.publish(event, &mut delivery),
            Some(board) => {
                let mut round = board.round(event, None, &self.origins);
                round.before_plain(&mut delivery);
                topic.publish(event, &mut delivery);
                round.after_plain(&mut delivery);
            }
        }
        delivery
    }

    /// Publishes an event whose origin is to be known to whoever gets it.
    #[cold]
    pub(crate) fn publish_from<E: Event>(&self, event: &E, origin: &Origin) -> Delivery {
        let mut delivery = Delivery::default();
        if is_fenced() {
            return delivery;
        }
        let topic = self.topic::<E>();
        topic.counts.published.fetch_add(1, Ordering::Relaxed);
        match topic.board.get() {
            None => topic.publish_from(event, origin, &mut delivery),
            Some(board) => {
                let mut round = board.round(event, Some(origin), &self.origins);
                round.before_plain(&mut delivery);
                topic.publish_from(event, origin, &mut delivery);
                round.after_plain(&mut delivery);
            }
        }
        delivery
    }

    pub(crate) async fn publish_within<E: Event>(&self, event: E, limit: Duration) -> Delivery {
        let mut origin = None;
        if is_special() {
            if is_fenced() {
                return Delivery::default();
            }
            origin = self.origins.of_kept_event(&event);
        }
        let topic = self.topic::<E>();
        topic.counts.published.fetch_add(1, Ordering::Relaxed);
        let subscribers = Guard::into_inner(topic.subscribers.all());
        // All at once, so that a slow subscriber delays no other, and when this future is
        // dropped each mailbox has counted what it did not take.
        let mut delivery = Delivery::default();
        let mut entries = match topic.board.get() {
            None => topic.enter(&event, origin.as_ref(), &subscribers, limit, &mut delivery),
            Some(board) => {
                let from = origin.as_ref();
                let mut round = board.round(&event, from, &self.origins);
                round.before_plain(&mut delivery);
                let entries = topic.enter(&event, from, &subscribers, limit, &mut delivery);
                round.after_plain(&mut delivery);
                entries
            }
        };
        poll_fn(|cx| {
            let mut all_done = Poll::Ready(());
            for (slot, subscriber) in &mut entries {
                let Some(entry) = slot else { continue };
                match entry.poll_enter(cx) {
                    Poll::Pending => {
                        all_done = Poll::Pending;
                        continue;
                    }
                    Poll::Ready(Ok(())) => {
                        topic.counts.delivered(1);
                        delivery.delivered += 1;
                    }
                    Poll::Ready(Err(
                        Refused::TimedOut(parcel, _)
                        | Refused::Full(parcel)
                        | Refused::Lost(parcel),
                    )) => {
                        topic.lost_parcel(subscriber, &parcel, DropReason::Full, &mut delivery);
                    }
                    Poll::Ready(Err(Refused::Stopped(parcel) | Refused::Restarting(parcel))) => {
                        let why = DropReason::Stopped;
                        topic.lost_parcel(subscriber, &parcel, why, &mut delivery);
                    }
                }
                *slot = None;
            }
            all_done
        })
        .await;
        delivery
    }

    pub(crate) fn for_each_topic(&self, mut f: impl FnMut(&str, &dyn AnyTopic)) {
        let topics = self.topics.load();
        // Types whose short names collide are shown with their modules.
        let mut named: Vec<(String, &Arc<dyn AnyTopic>)> =
            topics.values().map(|topic| (topic.name(), topic)).collect();
        named.sort_by(|a, b| a.0.cmp(&b.0));
        let short: Vec<String> = named
            .iter()
            .map(|(name, _)| ShortType(name).to_string())
            .collect();
        for (i, (full, topic)) in named.iter().enumerate() {
            let unique = short.iter().filter(|s| **s == short[i]).count() == 1;
            f(if unique { &short[i] } else { full }, &***topic);
        }
    }
}

/// A plain subscriber that had no room, and the event on its way to it.
type Late<'a, E> = (Option<Entry<'a, E>>, &'a Plain<E>);

/// A plain subscriber.
type Plain<E> = Arc<dyn Receive<E>>;

impl<E: Event> Topic<E> {
    fn new() -> Self {
        let topic = Topic {
            subscribers: Subscribers::default(),
            board: OnceLock::new(),
            counts: Arc::default(),
        };
        if retained::<E>() > 0 {
            topic.board();
        }
        topic
    }

    fn board(&self) -> &Board<E> {
        let new = || Box::new(Board::new(Arc::clone(&self.counts), retained::<E>()));
        self.board.get_or_init(new)
    }

    /// Gives an event to all plain subscribers.
    fn publish(&self, event: &E, delivery: &mut Delivery) {
        let before = delivery.delivered;
        let subscribers = self.subscribers.all();
        let mut rest = subscribers.iter();
        // Cloning is an author's code; who does not get the event for that is one, and the others follow.
        while let Err(panic) = guarded(|| {
            for subscriber in rest.by_ref() {
                let Err(event) = subscriber.tell_at_once(event.clone()) else {
                    delivery.delivered += 1;
                    continue;
                };
                self.offer(subscriber, Parcel::told(event), delivery);
            }
        }) {
            self.not_cloned((&subscribers, &rest), event, &panic, delivery);
        }
        self.counts.delivered((delivery.delivered - before) as u64);
    }

    /// The same for one whose origin is to be known to whoever gets it.
    fn publish_from(&self, event: &E, origin: &Origin, delivery: &mut Delivery) {
        let before = delivery.delivered;
        let subscribers = self.subscribers.all();
        let mut rest = subscribers.iter();
        while let Err(panic) = guarded(|| {
            for subscriber in rest.by_ref() {
                let parcel = Parcel::told_from(event.clone(), Some(origin.clone()));
                self.offer(subscriber, parcel, delivery);
            }
        }) {
            self.not_cloned((&subscribers, &rest), event, &panic, delivery);
        }
        self.counts.delivered((delivery.delivered - before) as u64);
    }

    #[cold]
    fn offer(&self, subscriber: &Arc<dyn Receive<E>>, parcel: Parcel<E>, delivery: &mut Delivery) {
        let (parcel, why) = match subscriber.offer(parcel, WhenFull::Drop) {
            Offered::Accepted | Offered::Waiting(_) => {
                delivery.delivered += 1;
                return;
            }
            Offered::Full(parcel) | Offered::Lost(parcel) => (parcel, DropReason::Full),
            Offered::Closed(parcel) | Offered::Restarting(parcel) => (parcel, DropReason::Stopped),
        };
        self.lost_parcel(subscriber, &parcel, why, delivery);
    }

    /// Gives an event to all plain subscribers; returns those that are to be waited for.
    fn enter<'a>(
        &self,
        event: &E,
        origin: Option<&Origin>,
        subscribers: &'a [Arc<dyn Receive<E>>],
        limit: Duration,
        delivery: &mut Delivery,
    ) -> Vec<Late<'a, E>> {
        let before = delivery.delivered;
        let mut late = Vec::new();
        let mut rest = subscribers.iter();
        while let Err(panic) = guarded(|| {
            for subscriber in rest.by_ref() {
                let mut event = event.clone();
                if origin.is_none() {
                    let Err(back) = subscriber.tell_at_once(event) else {
                        delivery.delivered += 1;
                        continue;
                    };
                    event = back;
                }
                let parcel = Parcel::told_from(event, origin.cloned());
                let mut entry = Entry::new(&**subscriber, parcel, Way::Publish);
                entry.limit(limit);
                late.push((Some(entry), subscriber));
            }
        }) {
            self.not_cloned((subscribers, &rest), event, &panic, delivery);
        }
        self.counts.delivered((delivery.delivered - before) as u64);
        late
    }

    /// The clone for the subscriber before the `rest` has panicked.
    #[cold]
    fn not_cloned(
        &self,
        (subscribers, rest): (&[Plain<E>], &slice::Iter<'_, Plain<E>>),
        event: &E,
        panic: &Panic,
        delivery: &mut Delivery,
    ) {
        let given = subscribers.len() - rest.len();
        let Some(subscriber) = given.checked_sub(1).and_then(|i| subscribers.get(i)) else {
            return;
        };
        panic.log_event(type_name::<E>(), "its `clone`");
        self.lost(subscriber, event, None, DropReason::Panicked, delivery);
    }

    fn lost_parcel(
        &self,
        subscriber: &Plain<E>,
        parcel: &Parcel<E>,
        why: DropReason,
        delivery: &mut Delivery,
    ) {
        let id = parcel.origin.as_ref().map(|origin| origin.id().clone());
        self.lost(subscriber, &parcel.message, id, why, delivery);
    }

    fn lost(
        &self,
        subscriber: &Plain<E>,
        event: &E,
        id: Option<EventId>,
        why: DropReason,
        delivery: &mut Delivery,
    ) {
        self.counts.dropped(why);
        delivery.dropped += 1;
        if let Some(reason) = why.dead_letter() {
            subscriber.lost(event, reason, id);
        }
    }
}

/// Of how many keys the last event is kept.
fn retained<E: Event>() -> usize {
    guarded(E::retained).unwrap_or_else(|panic| {
        panic.log_event(type_name::<E>(), "its `retained`");
        0
    })
}

impl<E: Event> AnyTopic for Topic<E> {
    fn name(&self) -> String {
        type_name::<E>().to_owned()
    }

    fn event(&self) -> Type {
        Type::of::<E>()
    }

    fn counts(&self) -> &Counts {
        &self.counts
    }

    fn subscribers(&self) -> usize {
        self.subscribers.len() + self.board.get().map_or(0, |board| board.len())
    }

    fn meters(&self) -> Vec<(Arc<str>, Arc<Meter>)> {
        let board = self.board.get();
        board.map_or_else(Vec::new, |board| board.meters())
    }

    fn look(&self) {
        if let Some(board) = self.board.get() {
            board.look();
        }
    }

    fn end(&self) {
        if let Some(board) = self.board.get() {
            board.end();
        }
    }

    fn unsubscribe_all(&self, role: usize, why: DropReason) {
        drop(self.subscribers.remove(role));
        if let Some(board) = self.board.get() {
            board.unsubscribe_all(role, why);
        }
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}
