//! Where events and messages come from: what each was caused by, and what it caused.
//!
//! ```text
//!   publish, tell, ask, timer ──> Origin ──> letter ──> role, while it is in hand
//!        ^                          │                          │
//!        └── the cause of the next ─┼──────────────────────────┘
//!                                   └──> the ring of records, if the system keeps causes
//! ```
//!
//! An [`Origin`] is only made where somebody wants to know: for a subscription with an envelope, for an event that came
//! with one, or for everything where [`Builder::keep_causes`](crate::Builder::keep_causes) says so. Else there is none,
//! and messages travel as if this file did not exist.

use std::any::type_name;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use crate::cloud_event::{Ids, source_of};
use crate::failure::{ShortType, guarded};
use crate::fencing::Tracing;
use crate::role::{current_actor, current_origin};
use crate::{Builder, CloudEvent, Delivery, Envelope, Event, EventId, Message, Path, System};

/// One event or message that a system remembers: see [`System::causes_of`] and [`System::effects_of`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CausalRecord {
    /// Its id, which is also that of its [envelope](crate::Context::envelope).
    pub id: EventId,
    /// The id of what was being handled when it was sent; `None` if it came from outside.
    pub cause: Option<EventId>,
    /// The id of the first in this line of causes, or what an event from elsewhere said it is.
    pub correlation: EventId,
    /// How it was sent.
    pub kind: CausalKind,
    /// Its type, without its modules.
    pub message: String,
    /// The actor that sent it; `None` if it came from outside.
    pub from: Option<Path>,
    /// The actor that it was sent to; `None` for an event.
    pub to: Option<Path>,
    /// When it was sent.
    pub at: SystemTime,
}

/// How an event or message was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CausalKind {
    /// It was published, to whoever had subscribed.
    Published,
    /// It was told.
    Told,
    /// It was asked.
    Asked,
    /// It came from a timer, a stream or background work of the actor itself; its cause is what was being handled when
    /// that was begun.
    Posted,
}

impl fmt::Display for CausalKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CausalKind::Published => "published",
            CausalKind::Told => "told",
            CausalKind::Asked => "asked",
            CausalKind::Posted => "posted",
        })
    }
}

impl fmt::Display for CausalRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = self.from.as_ref().map_or("outside", Path::as_str);
        write!(f, "{} {} by {from}", self.message, self.kind)?;
        match &self.to {
            Some(to) => write!(f, " to {to}"),
            None => Ok(()),
        }
    }
}

/// Where an event or a message comes from; it travels with it.
#[derive(Clone)]
pub(crate) struct Origin(Arc<Source>);

struct Source {
    id: EventId,
    at: SystemTime,
    /// Its type as the envelope has it.
    event_type: &'static str,
    /// Of an event.
    told: Option<Told>,
    /// Who sent it, or the root of the tree.
    source: Option<Path>,
    cause: Option<EventId>,
    correlation: EventId,
    trace: Option<Arc<Trace>>,
    /// The envelope, from when on somebody looked at it.
    envelope: OnceLock<Arc<Envelope>>,
}

/// What only the event itself can tell.
struct Told {
    subject: Option<String>,
    key: Option<String>,
}

/// The span that an event belongs to.
#[derive(PartialEq, Eq)]
struct Trace {
    parent: Option<String>,
    state: Option<String>,
}

impl Origin {
    pub(crate) fn id(&self) -> &EventId {
        &self.0.id
    }

    /// The envelope; all who get the event share it.
    pub(crate) fn envelope(&self) -> Arc<Envelope> {
        Arc::clone(self.0.envelope.get_or_init(|| Arc::new(self.0.envelope())))
    }
}

impl Source {
    fn envelope(&self) -> Envelope {
        let (subject, key, content_type) = match &self.told {
            Some(told) => {
                let json = "application/json".to_owned();
                (told.subject.clone(), told.key.clone(), Some(json))
            }
            None => (None, None, None),
        };
        let trace = self.trace.as_deref();
        let source = self.source.as_ref().map_or("", Path::as_str);
        Envelope {
            subject,
            key,
            time: Some(self.at),
            content_type,
            correlation_id: Some(self.correlation.clone()),
            causation_id: self.cause.clone(),
            traceparent: trace.and_then(|trace| trace.parent.clone()),
            tracestate: trace.and_then(|trace| trace.state.clone()),
            ..Envelope::new(self.id.clone(), source_of(source), self.event_type)
        }
    }
}

/// What a system knows of where its events come from.
pub(crate) struct Origins {
    ids: Ids,
    /// Whose events are those that no actor publishes.
    root: OnceLock<Path>,
    kept: Option<Kept>,
}

/// The records of a system that keeps causes.
struct Kept {
    records: Mutex<Records>,
    capacity: usize,
    /// Lets senders look whether this is wanted.
    _tracing: Tracing,
}

/// The latest records, in the order in which they were made.
#[derive(Default)]
struct Records {
    ring: VecDeque<Record>,
    /// The number of the first.
    first: u64,
    /// Numbers by id.
    numbers: HashMap<EventId, u64, RandomState>,
}

struct Record {
    id: EventId,
    cause: Option<EventId>,
    correlation: EventId,
    kind: CausalKind,
    message: &'static str,
    from: Option<Path>,
    to: Option<Path>,
    at: SystemTime,
}

/// A message that is about to be sent.
struct Sending<'a> {
    kind: CausalKind,
    /// The name of its Rust type.
    message: &'static str,
    event_type: &'static str,
    told: Option<Told>,
    from: Option<Path>,
    to: Option<&'a Path>,
    cause: Option<Origin>,
}

impl Origins {
    /// `kept` records are remembered; with 0 none, and nothing is done for it.
    pub(crate) fn new(ids: Ids, kept: usize) -> Self {
        Origins {
            ids,
            root: OnceLock::new(),
            kept: (kept > 0).then(|| Kept {
                records: Mutex::default(),
                capacity: kept,
                _tracing: Tracing::begin(),
            }),
        }
    }

    /// The tree is being raised, and this is the path of its root.
    pub(crate) fn raised(&self, root: &Path) {
        // A system is raised once.
        let _ = self.root.set(root.clone());
    }

    /// The origin of an event that is published by the code that calls this.
    #[cold]
    pub(crate) fn of_event<E: Event>(&self, event: &E) -> Origin {
        let subject = said::<E>("its `subject`", || event.subject());
        let key = said::<E>("its `key`", || event.key());
        self.of_told::<E>(subject.as_deref(), key.as_deref())
    }

    /// The same of one that has said its subject and its key.
    pub(crate) fn of_told<E: Event>(&self, subject: Option<&str>, key: Option<&str>) -> Origin {
        let told = Told {
            subject: text_of(subject),
            key: text_of(key),
        };
        self.begin(Sending {
            kind: CausalKind::Published,
            message: type_name::<E>(),
            event_type: type_of::<E>(),
            told: Some(told),
            from: current_actor(),
            to: None,
            cause: current_origin(),
        })
    }

    /// The same if this system keeps causes.
    #[cold]
    pub(crate) fn of_kept_event<E: Event>(&self, event: &E) -> Option<Origin> {
        self.kept.is_some().then(|| self.of_event(event))
    }

    /// The origin of a message that is sent by the code that calls this, if this system keeps causes.
    #[cold]
    pub(crate) fn of_message<M: Message>(&self, kind: CausalKind, to: &Path) -> Option<Origin> {
        self.kept.is_some().then(|| {
            self.begin(Sending {
                kind,
                message: type_name::<M>(),
                event_type: type_name::<M>(),
                told: None,
                from: current_actor(),
                to: Some(to),
                cause: current_origin(),
            })
        })
    }

    /// What work beside the handlers is caused by that is begun by the code that calls this.
    pub(crate) fn of_work(&self) -> Option<Origin> {
        self.kept.as_ref().and_then(|_| current_origin())
    }

    /// The origin of a message of such work, which goes to its own actor.
    pub(crate) fn of_post<M: Message>(
        &self,
        path: &Path,
        cause: Option<&Origin>,
    ) -> Option<Origin> {
        self.kept.as_ref()?;
        Some(self.begin(Sending {
            kind: CausalKind::Posted,
            message: type_name::<M>(),
            event_type: type_name::<M>(),
            told: None,
            from: Some(path.clone()),
            to: Some(path),
            cause: cause.cloned(),
        }))
    }

    fn begin(&self, sending: Sending<'_>) -> Origin {
        let (id, at) = self.ids.next();
        let cause = sending.cause.as_ref().map(|cause| &*cause.0);
        let origin = Origin(Arc::new(Source {
            at,
            event_type: sending.event_type,
            told: sending.told,
            source: sending.from.clone().or_else(|| self.root.get().cloned()),
            cause: cause.map(|cause| cause.id.clone()),
            correlation: cause.map_or(&id, |cause| &cause.correlation).clone(),
            trace: cause.and_then(|cause| cause.trace.clone()),
            envelope: OnceLock::new(),
            id,
        }));
        let (message, kind) = (sending.message, sending.kind);
        self.keep(&origin, message, kind, sending.from, sending.to.cloned());
        origin
    }

    /// The origin of an event that came with an envelope.
    fn of_envelope<E: Event>(&self, envelope: Envelope) -> Origin {
        let trace = Trace {
            parent: envelope.traceparent.clone(),
            state: envelope.tracestate.clone(),
        };
        let has_trace = trace.parent.is_some() || trace.state.is_some();
        let correlation = envelope.correlation_id.as_ref().unwrap_or(&envelope.id);
        let origin = Origin(Arc::new(Source {
            id: envelope.id.clone(),
            at: self.ids.now(),
            event_type: type_of::<E>(),
            told: None,
            source: None,
            cause: envelope.causation_id.clone(),
            correlation: correlation.clone(),
            trace: has_trace.then(|| Arc::new(trace)),
            envelope: OnceLock::from(Arc::new(envelope)),
        }));
        let from = current_actor();
        self.keep(&origin, type_name::<E>(), CausalKind::Published, from, None);
        origin
    }

    fn keep(
        &self,
        Origin(source): &Origin,
        message: &'static str,
        kind: CausalKind,
        from: Option<Path>,
        to: Option<Path>,
    ) {
        let Some(kept) = &self.kept else {
            return;
        };
        let record = Record {
            id: source.id.clone(),
            cause: source.cause.clone(),
            correlation: source.correlation.clone(),
            kind,
            message,
            from,
            to,
            at: source.at,
        };
        let oldest = kept.records.lock().push(record, kept.capacity);
        // Nobody else may wait for the texts of its paths and ids to be freed.
        drop(oldest);
    }

    fn causes_of(&self, id: &EventId) -> Vec<CausalRecord> {
        match &self.kept {
            Some(kept) => kept.records.lock().causes_of(id),
            None => Vec::new(),
        }
    }

    fn effects_of(&self, id: &EventId) -> Vec<CausalRecord> {
        match &self.kept {
            Some(kept) => kept.records.lock().effects_of(id),
            None => Vec::new(),
        }
    }

    /// The envelope of an event that leaves the system.
    fn envelope_of<E: Event>(&self, event: &E) -> Envelope {
        self.of_event(event).0.envelope()
    }
}

impl Records {
    /// Adds a record; returns the one that has no place any more.
    fn push(&mut self, record: Record, capacity: usize) -> Option<Record> {
        let oldest = match self.ring.len() < capacity {
            true => None,
            false => self.ring.pop_front(),
        };
        if let Some(oldest) = &oldest {
            // An id from elsewhere may have come again: then it is the later record's.
            if self.numbers.get(&oldest.id) == Some(&self.first) {
                self.numbers.remove(&oldest.id);
            }
            self.first += 1;
        }
        let number = self.first + self.ring.len() as u64;
        self.numbers.insert(record.id.clone(), number);
        self.ring.push_back(record);
        oldest
    }

    fn find(&self, id: &EventId) -> Option<(u64, &Record)> {
        let number = *self.numbers.get(id)?;
        let place = usize::try_from(number - self.first).ok()?;
        Some((number, self.ring.get(place)?))
    }

    fn causes_of(&self, id: &EventId) -> Vec<CausalRecord> {
        let (mut found, mut next) = (Vec::new(), Some(id));
        let mut before = u64::MAX;
        while let Some((number, record)) = next.and_then(|id| self.find(id)) {
            // What causes is older; who says otherwise of an event from elsewhere leads in a circle.
            if number >= before {
                break;
            }
            before = number;
            found.push(record.show());
            next = record.cause.as_ref();
        }
        found
    }

    fn effects_of(&self, id: &EventId) -> Vec<CausalRecord> {
        let Some((number, record)) = self.find(id) else {
            return Vec::new();
        };
        let mut found = vec![record.show()];
        let mut known = HashSet::from([id]);
        let later = usize::try_from(number - self.first).unwrap_or(usize::MAX);
        for record in self.ring.iter().skip(later.saturating_add(1)) {
            if record.cause.as_ref().is_some_and(|id| known.contains(id)) {
                known.insert(&record.id);
                found.push(record.show());
            }
        }
        found
    }
}

impl Record {
    fn show(&self) -> CausalRecord {
        CausalRecord {
            id: self.id.clone(),
            cause: self.cause.clone(),
            correlation: self.correlation.clone(),
            kind: self.kind,
            message: ShortType(self.message).to_string(),
            from: self.from.clone(),
            to: self.to.clone(),
            at: self.at,
        }
    }
}

/// An empty text is none, as an attribute may not be empty.
fn text_of(text: Option<&str>) -> Option<String> {
    text.filter(|text| !text.is_empty()).map(str::to_owned)
}

/// What an event's author says of it; nothing if that panics, which is logged.
fn said<'a, E>(what: &str, say: impl FnOnce() -> Option<Cow<'a, str>>) -> Option<Cow<'a, str>> {
    guarded(say).unwrap_or_else(|panic| {
        panic.log_event(type_name::<E>(), what);
        None
    })
}

/// The type as its author has it; that of Rust if that panics, which is logged.
fn type_of<E: Event>() -> &'static str {
    guarded(E::event_type).unwrap_or_else(|panic| {
        panic.log_event(type_name::<E>(), "its `event_type`");
        type_name::<E>()
    })
}

impl Builder {
    /// Remembers what caused what, of the latest `n` events and messages; 0 by default, which is none.
    ///
    /// [`System::causes_of`] and [`System::effects_of`] then answer, a dead letter tells its
    /// [id](crate::DeadLetter::event_id), and each message has an [envelope](crate::Context::envelope). It is off by
    /// default because it makes every message dearer, several times as dear as the shortest: each is written down,
    /// under one lock for the whole system, and none is answered on its asker's stack. A record takes some 250 bytes.
    pub fn keep_causes(mut self, n: usize) -> Self {
        self.kept_causes = n;
        self
    }
}

impl System {
    /// Returns the envelope of an event that is to leave this system, as it is now.
    ///
    /// It is for whoever carries events elsewhere: together with the event it makes a
    /// [`CloudEvent`]. Its source is the actor whose code calls this, or the root of the tree; its cause is what that
    /// actor has in hand, if that has an [envelope](crate::Context::envelope). Each call gives another id, which
    /// sorts behind those given before. In a [simulated](crate::Builder::simulated) system ids and times are the same
    /// in each run of the same seed; its time begins with the year 2000.
    ///
    /// It is also how a publisher learns the id of what it publishes here, to look for its
    /// [effects](Self::effects_of) or to log it: it publishes the event [with the envelope](Self::publish_received).
    ///
    /// # Examples
    ///
    /// ```
    /// # use greenroom::prelude::*;
    /// # use greenroom::CloudEvent;
    /// # #[derive(Clone, Debug, serde::Serialize)] struct DoorOpened { door: String }
    /// # impl Event for DoorOpened {}
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # greenroom::block_on(async {
    /// let system = System::start(Supervisor::one_for_one("home")).await?;
    /// let event = DoorOpened { door: "front".to_owned() };
    /// let event = CloudEvent::new(system.envelope_of(&event), event);
    /// assert_eq!(event.envelope.source, "/home");
    /// let json = serde_json::to_string(&event)?;
    /// assert!(json.starts_with(r#"{"specversion":"1.0","id":""#));
    /// let id = event.envelope.id.clone();
    /// system.publish_received(event);
    /// println!("published {id}");
    /// # system.stop().await;
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    #[must_use]
    pub fn envelope_of<E: Event>(&self, event: &E) -> Envelope {
        self.shared().registry.origins.envelope_of(event)
    }

    /// Publishes an event that came with an envelope, as from a broker or a web hook.
    ///
    /// All its subscribers find that envelope in [`Context::envelope`](crate::Context::envelope), whether or not they
    /// have asked for one, and what they publish meanwhile belongs to the same trace and correlation. Else it is
    /// published as by [`publish`](Self::publish).
    pub fn publish_received<E: Event>(&self, event: CloudEvent<E>) -> Delivery {
        let registry = &self.shared().registry;
        let origin = registry.origins.of_envelope::<E>(event.envelope);
        registry.publish_from(&event.data, &origin)
    }

    /// Returns what led to an event or message, beginning with itself: its cause, the cause of that, and so on.
    ///
    /// It goes back as far as the system [remembers](crate::Builder::keep_causes): the last one may have a
    /// [cause](CausalRecord::cause) that is forgotten. It is empty where the event itself is, or nothing is kept, as by
    /// default: that is decided when the system is built.
    ///
    /// # Examples
    ///
    /// ```
    /// # use greenroom::prelude::*;
    /// # fn example(system: &System) {
    /// for letter in system.dead_letters() {
    ///     println!("{letter}");
    ///     for cause in letter.event_id.iter().flat_map(|id| system.causes_of(id)) {
    ///         println!("    {cause}");
    ///     }
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn causes_of(&self, id: &EventId) -> Vec<CausalRecord> {
        self.shared().registry.origins.causes_of(id)
    }

    /// Returns all that an event or message led to, beginning with itself, in the order in which it was sent.
    ///
    /// It is empty where the event is not [remembered](crate::Builder::keep_causes) any more, or nothing is kept. All
    /// records are looked through, under a lock that every sender needs: it is for people, not for every message.
    #[must_use]
    pub fn effects_of(&self, id: &EventId) -> Vec<CausalRecord> {
        self.shared().registry.origins.effects_of(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(records: &mut Records, capacity: usize, id: &str, cause: Option<&str>) {
        let record = Record {
            id: id.into(),
            cause: cause.map(EventId::from),
            correlation: "0".into(),
            kind: CausalKind::Told,
            message: "m::Word",
            from: None,
            to: None,
            at: SystemTime::UNIX_EPOCH,
        };
        drop(records.push(record, capacity));
    }

    fn ids(found: Vec<CausalRecord>) -> Vec<String> {
        found.iter().map(|record| record.id.to_string()).collect()
    }

    #[test]
    fn causes_and_effects_are_found_along_the_line() {
        let mut records = Records::default();
        let all = [
            ("1", None),
            ("2", Some("1")),
            ("3", None),
            ("4", Some("2")),
            ("5", Some("1")),
        ];
        for (id, cause) in all {
            add(&mut records, 8, id, cause);
        }
        assert_eq!(ids(records.causes_of(&"4".into())), ["4", "2", "1"]);
        assert_eq!(ids(records.effects_of(&"1".into())), ["1", "2", "4", "5"]);
        assert_eq!(ids(records.effects_of(&"3".into())), ["3"]);
        assert!(records.causes_of(&"6".into()).is_empty());
    }

    #[test]
    fn what_has_no_place_any_more_is_forgotten_altogether() {
        let mut records = Records::default();
        for n in 0..1000_u32 {
            let cause = n.checked_sub(1).map(|n| n.to_string());
            add(&mut records, 10, &n.to_string(), cause.as_deref());
        }
        assert_eq!((records.ring.len(), records.numbers.len()), (10, 10));
        assert_eq!(records.causes_of(&"999".into()).len(), 10);
        assert_eq!(records.effects_of(&"990".into()).len(), 10);
        assert!(records.effects_of(&"989".into()).is_empty());
    }

    #[test]
    fn an_id_that_comes_again_or_leads_in_a_circle_is_followed_once() {
        let mut records = Records::default();
        for (id, cause) in [("1", Some("2")), ("2", Some("1")), ("1", Some("2"))] {
            add(&mut records, 3, id, cause);
        }
        assert_eq!(ids(records.causes_of(&"1".into())), ["1", "2"]);
        for id in ["3", "4", "5"] {
            add(&mut records, 3, id, None);
        }
        assert_eq!((records.ring.len(), records.numbers.len()), (3, 3));
        assert!(records.causes_of(&"1".into()).is_empty());
    }
}
