//! The registry: who is where, and who subscribed to what.
//!
//! Names are in a sharded table. Publishing goes through an immutable list for
//! each event type (see [`subscribers`](crate::subscribers)) and never waits for a subscriber. A subscription belongs
//! to the role; it ends when the role does.

use std::any::{Any, TypeId, type_name};
use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use dashmap::DashMap;
use foldhash::fast::RandomState;

use crate::causes::{Origin, Origins};
use crate::entry::{Entry, Offered, Receive, Refused, Way};
use crate::envelope::Parcel;
use crate::failure::ShortType;
use crate::fencing::{is_fenced, is_special};
use crate::flow::Type;
use crate::mailbox::words::WhenFull;
use crate::role::Role;
use crate::subscribers::Subscribers;
use crate::{Event, Path, SupervisionEvent};

pub(crate) struct Registry {
    /// A fast hash, seeded by chance: names come from code, not from those who would make them collide.
    names: DashMap<Path, Arc<dyn Role>, RandomState>,
    topics: ArcSwap<HashMap<TypeId, Arc<dyn AnyTopic>>>,
    /// Whether anybody ever subscribed to what supervisors decide: they look at each decision.
    hears_supervision: AtomicBool,
    pub(crate) origins: Origins,
}

/// What became of a published event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivery {
    /// Subscribers whose mailbox took the event.
    pub delivered: usize,
    /// Subscribers that had no room or had stopped; each is counted and has a dead letter.
    pub dropped: usize,
}

/// One event type: its subscribers and counts.
struct Topic<E: Event> {
    subscribers: Subscribers<dyn Receive<E>>,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    published: AtomicU64,
    delivered: AtomicU64,
    full: AtomicU64,
    stopped: AtomicU64,
}

/// A [`Topic`] whose event type is forgotten.
pub(crate) trait AnyTopic: Send + Sync {
    fn name(&self) -> String;
    /// The type of the event.
    fn event(&self) -> Type;
    /// Published; then deliveries: made, without room, to a stopped subscriber.
    fn counts(&self) -> [u64; 4];
    fn subscribers(&self) -> usize;
    fn unsubscribe(&self, role: usize);
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
        let fresh: Arc<dyn AnyTopic> = Arc::new(Topic::<E> {
            subscribers: Subscribers::default(),
            counts: Counts::default(),
        });
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

    pub(crate) fn unsubscribe<E: Event>(&self, role: usize) {
        self.topic::<E>().unsubscribe(role);
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
        let topic = self.topic::<E>();
        topic.counts.published.fetch_add(1, Ordering::Relaxed);
        let mut delivery = Delivery::default();
        for subscriber in topic.subscribers.all().iter() {
            let Err(event) = subscriber.tell_at_once(event.clone()) else {
                delivery.delivered += 1;
                continue;
            };
            match subscriber.offer(Parcel::told(event), WhenFull::Drop) {
                Offered::Accepted | Offered::Waiting(_) => {
                    delivery.delivered += 1;
                }
                Offered::Full(parcel) | Offered::Lost(parcel) => {
                    topic.lost(&**subscriber, &parcel, false, &mut delivery)
                }
                Offered::Closed(parcel) | Offered::Restarting(parcel) => {
                    topic.lost(&**subscriber, &parcel, true, &mut delivery)
                }
            }
        }
        let delivered = delivery.delivered as u64;
        topic
            .counts
            .delivered
            .fetch_add(delivered, Ordering::Relaxed);
        delivery
    }

    /// Publishes an event whose origin is to be known to whoever gets it.
    #[cold]
    pub(crate) fn publish_from<E: Event>(&self, event: &E, origin: &Origin) -> Delivery {
        if is_fenced() {
            return Delivery::default();
        }
        let topic = self.topic::<E>();
        topic.counts.published.fetch_add(1, Ordering::Relaxed);
        let mut delivery = Delivery::default();
        for subscriber in topic.subscribers.all().iter() {
            let parcel = Parcel::told_from(event.clone(), Some(origin.clone()));
            match subscriber.offer(parcel, WhenFull::Drop) {
                Offered::Accepted | Offered::Waiting(_) => {
                    delivery.delivered += 1;
                }
                Offered::Full(parcel) | Offered::Lost(parcel) => {
                    topic.lost(&**subscriber, &parcel, false, &mut delivery)
                }
                Offered::Closed(parcel) | Offered::Restarting(parcel) => {
                    topic.lost(&**subscriber, &parcel, true, &mut delivery)
                }
            }
        }
        let delivered = delivery.delivered as u64;
        topic
            .counts
            .delivered
            .fetch_add(delivered, Ordering::Relaxed);
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
        let mut entries: Vec<(Option<Entry<'_, E>>, _)> = Vec::new();
        let mut delivery = Delivery::default();
        for subscriber in subscribers.iter() {
            let mut event = event.clone();
            if origin.is_none() {
                let Err(back) = subscriber.tell_at_once(event) else {
                    delivery.delivered += 1;
                    continue;
                };
                event = back;
            }
            let parcel = Parcel::told_from(event, origin.clone());
            let mut entry = Entry::new(&**subscriber, parcel, Way::Publish);
            entry.limit(limit);
            entries.push((Some(entry), subscriber));
        }
        let delivered = delivery.delivered as u64;
        topic
            .counts
            .delivered
            .fetch_add(delivered, Ordering::Relaxed);
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
                        topic.counts.delivered.fetch_add(1, Ordering::Relaxed);
                        delivery.delivered += 1;
                    }
                    Poll::Ready(Err(
                        Refused::TimedOut(parcel, _)
                        | Refused::Full(parcel)
                        | Refused::Lost(parcel),
                    )) => {
                        topic.lost(&***subscriber, &parcel, false, &mut delivery);
                    }
                    Poll::Ready(Err(Refused::Stopped(parcel) | Refused::Restarting(parcel))) => {
                        topic.lost(&***subscriber, &parcel, true, &mut delivery);
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

impl<E: Event> Topic<E> {
    fn lost(
        &self,
        subscriber: &dyn Receive<E>,
        parcel: &Parcel<E>,
        stopped: bool,
        delivery: &mut Delivery,
    ) {
        let count = if stopped {
            &self.counts.stopped
        } else {
            &self.counts.full
        };
        count.fetch_add(1, Ordering::Relaxed);
        delivery.dropped += 1;
        let event_id = parcel.origin.as_ref().map(|origin| origin.id().clone());
        subscriber.lost(&parcel.message, stopped, event_id);
    }
}

impl<E: Event> AnyTopic for Topic<E> {
    fn name(&self) -> String {
        type_name::<E>().to_owned()
    }

    fn event(&self) -> Type {
        Type::of::<E>()
    }

    fn counts(&self) -> [u64; 4] {
        let Counts {
            published,
            delivered,
            full,
            stopped,
        } = &self.counts;
        [published, delivered, full, stopped].map(|n| n.load(Ordering::Relaxed))
    }

    fn subscribers(&self) -> usize {
        self.subscribers.len()
    }

    fn unsubscribe(&self, role: usize) {
        self.subscribers.remove(role);
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}
