//! What a mailbox is measured by: the names, the counters, the fixed-bucket histograms.
//!
//! Counts are kept where they happen, under the mailbox lock or in one atomic,
//! and are added up when somebody reads. Nothing here allocates per message.
//! This module knows nothing of an exporter: it yields [`Family`] values, and
//! `greenroom-telemetry` writes them as Prometheus text.

use std::any::type_name;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};

use crate::failure::ShortType;
use crate::flow::{Bound, Incoming};
use crate::postmark::{Postmark, Sender};
use crate::role::RestartReason;
use crate::tally::Tally;

/// The metric families of the runtime; their names are written here and nowhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Metric {
    /// Actors by group and state.
    Actors,
    /// Lives begun, the first one and restarts.
    ActorStarts,
    /// Restarts by reason.
    ActorRestarts,
    /// What supervisors decided, by decision.
    SupervisorDecisions,
    /// Supervisors that gave up.
    SupervisorEscalations,
    /// The largest part of a restart limit that a supervisor has used.
    SupervisorIntensity,
    /// Actors whose handler has run for too long.
    ActorsStuck,
    /// Cycles of actors that seemed to wait for each other.
    DeadlocksSuspected,
    /// Messages queued now.
    MailboxDepth,
    /// The deepest queue of one actor since the last scrape.
    MailboxDepthMax,
    /// The capacity of the mailbox that `MailboxDepthMax` speaks of.
    MailboxCapacity,
    /// The age of the oldest message not yet handled.
    MailboxOldestAge,
    /// Senders that wait for room now.
    MailboxWaitingSenders,
    /// Messages accepted.
    MailboxEnqueued,
    /// Messages taken out.
    MailboxDequeued,
    /// Messages given back to their sender.
    MailboxRejected,
    /// What lives that were cut off tried to send.
    Fenced,
    /// Messages lost.
    MailboxDropped,
    /// How long messages were queued.
    MailboxWait,
    /// How long handlers took.
    MessageHandle,
    /// How long handlers have run in all.
    Busy,
    /// Messages whose handler ended, by result.
    MessagesHandled,
    /// Messages that failed and went back to be tried again.
    MessagesRetried,
    /// Messages given up, by reason.
    DeadLetters,
    /// Events published, by type.
    EventsPublished,
    /// Deliveries of events to subscribers, by type and result.
    EventsDelivered,
    /// Subscribers by event type.
    EventSubscribers,
    /// Events that subscriptions with terms were meant to have.
    SubscriptionEvents,
    /// Of these, those that came into a mailbox.
    SubscriptionDelivered,
    /// Of these, those that were lost, by reason.
    SubscriptionDropped,
    /// Of these, those that wait for room now.
    SubscriptionLag,
    /// The version that runs; always 1.
    BuildInfo,
}

/// How a metric is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// It only rises, and starts at 0 with the process.
    Counter,
    /// It rises and falls.
    Gauge,
    /// Counts by fixed bucket, with sum and count.
    Histogram,
}

impl Metric {
    /// Every metric, in the order in which it is exposed.
    pub const ALL: &'static [Metric] = &[
        Metric::Actors,
        Metric::ActorStarts,
        Metric::ActorRestarts,
        Metric::SupervisorDecisions,
        Metric::SupervisorEscalations,
        Metric::SupervisorIntensity,
        Metric::ActorsStuck,
        Metric::DeadlocksSuspected,
        Metric::MailboxDepth,
        Metric::MailboxDepthMax,
        Metric::MailboxCapacity,
        Metric::MailboxOldestAge,
        Metric::MailboxWaitingSenders,
        Metric::MailboxEnqueued,
        Metric::MailboxDequeued,
        Metric::MailboxRejected,
        Metric::Fenced,
        Metric::MailboxDropped,
        Metric::MailboxWait,
        Metric::MessageHandle,
        Metric::Busy,
        Metric::MessagesHandled,
        Metric::MessagesRetried,
        Metric::DeadLetters,
        Metric::EventsPublished,
        Metric::EventsDelivered,
        Metric::EventSubscribers,
        Metric::SubscriptionEvents,
        Metric::SubscriptionDelivered,
        Metric::SubscriptionDropped,
        Metric::SubscriptionLag,
        Metric::BuildInfo,
    ];

    const fn about(self) -> (&'static str, MetricKind, &'static str) {
        use MetricKind::{Counter, Gauge, Histogram};
        match self {
            Metric::Actors => (
                "greenroom_actors",
                Gauge,
                "Actors and supervisors by group and state.",
            ),
            Metric::ActorStarts => (
                "greenroom_actor_starts_total",
                Counter,
                "Lives of actors begun, first starts and restarts.",
            ),
            Metric::ActorRestarts => (
                "greenroom_actor_restarts_total",
                Counter,
                "Restarts of actors by reason; sibling: taken along by its supervisor's strategy.",
            ),
            Metric::SupervisorDecisions => (
                "greenroom_supervisor_decisions_total",
                Counter,
                "Decisions of supervisors; a group that is restarted counts once, as does each sort of bad end of those that are stopped together.",
            ),
            Metric::SupervisorEscalations => (
                "greenroom_supervisor_escalations_total",
                Counter,
                "Supervisors that used up their restart limit and gave up.",
            ),
            Metric::SupervisorIntensity => (
                "greenroom_supervisor_intensity_ratio",
                Gauge,
                "Part of its restart limit that the supervisor nearest to giving up has used; from 1 on the next restart is one too many.",
            ),
            Metric::ActorsStuck => (
                "greenroom_actors_stuck",
                Gauge,
                "Actors whose handler has run for longer than stuck_after, 5 s by default, at the latest look.",
            ),
            Metric::DeadlocksSuspected => (
                "greenroom_deadlocks_suspected_total",
                Counter,
                "Cycles of actors that were seen waiting for each other in two looks half a second apart.",
            ),
            Metric::MailboxDepth => (
                "greenroom_mailbox_depth",
                Gauge,
                "Messages queued in the mailboxes of the group now.",
            ),
            Metric::MailboxDepthMax => (
                "greenroom_mailbox_depth_max",
                Gauge,
                "Deepest queue of the fullest mailbox of the group since the last scrape.",
            ),
            Metric::MailboxCapacity => (
                "greenroom_mailbox_capacity",
                Gauge,
                "Capacity of the mailbox that greenroom_mailbox_depth_max speaks of.",
            ),
            Metric::MailboxOldestAge => (
                "greenroom_mailbox_oldest_age_seconds",
                Gauge,
                "Age of the oldest message of the group that is not yet handled, the one in the handler included.",
            ),
            Metric::MailboxWaitingSenders => (
                "greenroom_mailbox_waiting_senders",
                Gauge,
                "Senders that wait for room in a mailbox of the group now.",
            ),
            Metric::MailboxEnqueued => (
                "greenroom_mailbox_enqueued_total",
                Counter,
                "Messages that mailboxes accepted.",
            ),
            Metric::MailboxDequeued => (
                "greenroom_mailbox_dequeued_total",
                Counter,
                "Messages taken out of mailboxes, at each try anew.",
            ),
            Metric::MailboxRejected => (
                "greenroom_mailbox_rejected_total",
                Counter,
                "Messages given back to their sender, by reason.",
            ),
            Metric::Fenced => (
                "greenroom_fenced_total",
                Counter,
                "Messages and events refused because the life that sent them had been cut off and replaced.",
            ),
            Metric::MailboxDropped => (
                "greenroom_mailbox_dropped_total",
                Counter,
                "Messages lost, by reason.",
            ),
            Metric::MailboxWait => (
                "greenroom_mailbox_wait_seconds",
                Histogram,
                "Time that messages were queued before their handler began, of a sample of them: greenroom_mailbox_dequeued_total counts all.",
            ),
            Metric::MessageHandle => (
                "greenroom_message_handle_seconds",
                Histogram,
                "Time that handlers took, waits inside the handler included, of a sample of messages: greenroom_messages_handled_total counts all.",
            ),
            Metric::Busy => (
                "greenroom_busy_seconds_total",
                Counter,
                "Time that handlers took in all, waits inside the handler included, as measured on a sample of them.",
            ),
            Metric::MessagesHandled => (
                "greenroom_messages_handled_total",
                Counter,
                "Messages whose handler ended, by result.",
            ),
            Metric::MessagesRetried => (
                "greenroom_messages_retried_total",
                Counter,
                "Messages whose handler failed and that went back to the front of their mailbox to be tried again.",
            ),
            Metric::DeadLetters => (
                "greenroom_dead_letters_total",
                Counter,
                "Messages given up and kept as dead letters, by reason.",
            ),
            Metric::EventsPublished => (
                "greenroom_events_published_total",
                Counter,
                "Events published, by event type.",
            ),
            Metric::EventsDelivered => (
                "greenroom_events_delivered_total",
                Counter,
                "Deliveries of events to one subscriber each, by event type and result.",
            ),
            Metric::EventSubscribers => (
                "greenroom_event_subscribers",
                Gauge,
                "Subscriptions there are now, by event type.",
            ),
            Metric::SubscriptionEvents => (
                "greenroom_subscription_events_total",
                Counter,
                "Events that a subscription with a name was meant to have, by event type and name: delivered, dropped or waiting for room.",
            ),
            Metric::SubscriptionDelivered => (
                "greenroom_subscription_delivered_total",
                Counter,
                "Events of a subscription with a name that came into the mailbox of its actor.",
            ),
            Metric::SubscriptionDropped => (
                "greenroom_subscription_dropped_total",
                Counter,
                "Events that a subscription with a name has lost, by reason; replaced: a later one of its key had come.",
            ),
            Metric::SubscriptionLag => (
                "greenroom_subscription_lag",
                Gauge,
                "Events that a subscription with a name keeps now, since the mailbox of its actor has no room.",
            ),
            Metric::BuildInfo => (
                "greenroom_build_info",
                Gauge,
                "The version of the runtime; always 1.",
            ),
        }
    }

    /// Returns the name as Prometheus knows it, with prefix, unit and suffix.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.about().0
    }

    /// Returns whether it is a counter, a gauge or a histogram.
    #[must_use]
    pub const fn kind(self) -> MetricKind {
        self.about().1
    }

    /// Returns one sentence on what it says.
    #[must_use]
    pub const fn help(self) -> &'static str {
        self.about().2
    }
}

/// All series of one metric at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Family {
    /// Which metric.
    pub metric: Metric,
    /// Its series; each has labels that no other has.
    pub samples: Vec<Sample>,
}

/// One series at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Sample {
    /// Label names and values.
    pub labels: Vec<(&'static str, String)>,
    /// What was measured, in the base unit that the metric's name ends with.
    pub value: Value,
}

/// What one series says.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Value {
    /// A counter or a gauge.
    Number(f64),
    /// A histogram.
    Histogram(HistogramReading),
}

/// A histogram at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HistogramReading {
    /// Upper bounds in seconds, ascending, each with the count of what lies at or below it.
    pub buckets: Vec<(f64, u64)>,
    /// The sum of all that was recorded, in seconds.
    pub sum: f64,
    /// How much was recorded.
    pub count: u64,
}

// ===== histogram =====

/// Steps of the scale in which durations are recorded: 250 ns.
const STEP_NANOS: u64 = 250;
/// Four buckets to each doubling, up to 2^26 us (67 s); and one for what is longer.
const OCTAVES: usize = 27;
const BUCKETS: usize = 4 + OCTAVES * 4 + 1;

/// Durations counted in fixed log-linear buckets: four to each doubling between 1 us and 67 s.
///
/// Recording is three relaxed additions and allocates nothing, which is why the
/// exporter's own histograms (they keep each sample until the next scrape) are
/// not used for messages. Bounds are exact: a duration of just 4 us counts as at
/// most 4 us.
pub(crate) struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum_nanos: AtomicU64,
}

impl Histogram {
    fn new() -> Self {
        Histogram {
            buckets: [const { AtomicU64::new(0) }; BUCKETS],
            sum_nanos: AtomicU64::new(0),
        }
    }

    pub(crate) fn record(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket_of(nanos)].fetch_add(1, Ordering::Relaxed);
        self.sum_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Returns the counts at the bounds 1 us, 4 us, 16 us ... 67 s.
    pub(crate) fn reading(&self) -> HistogramReading {
        let counts: Vec<u64> = self
            .buckets
            .iter()
            .map(|b| b.load(Ordering::Relaxed))
            .collect();
        let mut buckets = Vec::with_capacity(14);
        for power in (0..OCTAVES).step_by(2) {
            // Buckets 0..=3 end at 1 us; each octave above adds four.
            let last = 3 + power * 4;
            let bound = (1u64 << power) as f64 / 1e6;
            buckets.push((bound, counts[..=last].iter().sum()));
        }
        HistogramReading {
            buckets,
            sum: self.sum_nanos.load(Ordering::Relaxed) as f64 / 1e9,
            count: counts.iter().sum(),
        }
    }
}

/// The bucket whose upper bound is the first at or above `nanos`.
fn bucket_of(nanos: u64) -> usize {
    let steps = nanos.div_ceil(STEP_NANOS).max(1);
    if steps <= 4 {
        return steps as usize - 1;
    }
    // steps - 1, so that a value on a bound belongs below it.
    let below = steps - 1;
    let octave = below.ilog2() as usize - 2;
    let quarter = (below >> octave) as usize & 3;
    (4 + octave * 4 + quarter).min(BUCKETS - 1)
}

// ===== groups =====

/// How many groups have series of their own; actors of any further group are counted as `_other`.
///
/// It keeps the number of series bounded whatever names an application makes up.
pub(crate) const GROUPS_MAX: usize = 256;

/// What the actors of one kind are counted by together.
pub(crate) struct Group {
    pub(crate) name: String,
    /// What the mailboxes note to which its actors send.
    pub(crate) postmark: Postmark,
    /// What came to its actors, by who sent it.
    pub(crate) incoming: Incoming,
    pub(crate) wait: Histogram,
    pub(crate) handle: Histogram,
    busy_nanos: AtomicU64,
    starts: AtomicU64,
    restarts: [AtomicU64; RestartReason::ALL.len()],
    /// The counts of mailboxes whose role has ended.
    pub(crate) retired: Mutex<Tally>,
}

impl Group {
    fn new(name: &str, postmark: Postmark, bound: &Arc<Bound>) -> Self {
        Group {
            name: name.to_owned(),
            postmark,
            incoming: Incoming::new(bound),
            wait: Histogram::new(),
            handle: Histogram::new(),
            busy_nanos: AtomicU64::new(0),
            starts: AtomicU64::new(0),
            restarts: Default::default(),
            retired: Mutex::new(Tally::default()),
        }
    }

    /// Counts the time that a handler took, which stands for that of so many messages.
    pub(crate) fn busy(&self, took: Duration, messages: u32) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let nanos = nanos.saturating_mul(u64::from(messages));
        self.busy_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// How long handlers took in all.
    pub(crate) fn busy_time(&self) -> Duration {
        Duration::from_nanos(self.busy_nanos.load(Ordering::Relaxed))
    }

    pub(crate) fn count_start(&self) {
        self.starts.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn starts(&self) -> u64 {
        self.starts.load(Ordering::Relaxed)
    }

    pub(crate) fn restarts(&self, reason: RestartReason) -> u64 {
        self.restarts[reason as usize].load(Ordering::Relaxed)
    }

    pub(crate) fn count_restart(&self, reason: RestartReason) {
        self.restarts[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Moves the counts of a mailbox here; `take` empties it.
    ///
    /// A reader holds the same lock while it adds up the mailboxes, so no count
    /// is seen twice or missed in between.
    pub(crate) fn retire(&self, take: impl FnOnce() -> Tally) {
        let mut retired = self.retired.lock();
        retired.add(&take());
    }
}

/// What a supervisor decides, as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Restart,
    KeepDown,
    Forget,
    StartFailed,
    StopTimedOut,
    LeaveBehind,
    StopFailed,
    GiveUp,
    AutoShutdown,
    Order,
    Change,
}

impl Decision {
    pub(crate) const ALL: [Decision; 11] = [
        Decision::Restart,
        Decision::KeepDown,
        Decision::Forget,
        Decision::StartFailed,
        Decision::StopTimedOut,
        Decision::LeaveBehind,
        Decision::StopFailed,
        Decision::GiveUp,
        Decision::AutoShutdown,
        Decision::Order,
        Decision::Change,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Decision::Restart => "restart",
            Decision::KeepDown => "keep_down",
            Decision::Forget => "forget",
            Decision::StartFailed => "start_failed",
            Decision::StopTimedOut => "stop_timed_out",
            Decision::LeaveBehind => "leave_behind",
            Decision::StopFailed => "stop_failed",
            Decision::GiveUp => "give_up",
            Decision::AutoShutdown => "auto_shutdown",
            Decision::Order => "order",
            Decision::Change => "change",
        }
    }
}

/// The groups of a system, and what is counted for the system as a whole.
pub(crate) struct Meters {
    /// By name.
    groups: RwLock<BTreeMap<String, Arc<Group>>>,
    /// Those of actors that were given no other, by the names of their types.
    kinds: ArcSwap<Vec<(&'static str, Arc<Group>)>>,
    pub(crate) escalations: AtomicU64,
    decisions: [AtomicU64; Decision::ALL.len()],
    pub(crate) deadlocks: AtomicU64,
    /// What tells this system from most others in the process.
    pub(crate) system: u16,
    pub(crate) bound: Arc<Bound>,
}

impl Meters {
    pub(crate) fn new() -> Self {
        static SYSTEMS: AtomicU16 = AtomicU16::new(0);
        Meters {
            system: SYSTEMS.fetch_add(1, Ordering::Relaxed),
            bound: Arc::new(Bound::default()),
            groups: RwLock::default(),
            kinds: ArcSwap::default(),
            escalations: AtomicU64::new(0),
            decisions: Default::default(),
            deadlocks: AtomicU64::new(0),
        }
    }

    pub(crate) fn count_decision(&self, decision: Decision) {
        self.decisions[decision as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn decisions(&self, decision: Decision) -> u64 {
        self.decisions[decision as usize].load(Ordering::Relaxed)
    }

    /// Returns the group by whose number mailboxes note senders.
    pub(crate) fn group_noted(&self, number: u16) -> Option<Arc<Group>> {
        let groups = self.groups.read();
        let sender = Some(Sender::Group(number));
        let mut groups = groups.values();
        let group = groups.find(|group| group.postmark.sender(self.system) == sender);
        group.cloned()
    }

    /// Returns all groups, sorted by name: whoever locks several does so in this order.
    pub(crate) fn groups(&self) -> Vec<Arc<Group>> {
        self.groups.read().values().cloned().collect()
    }

    /// Returns the group of a type, which is called as the type without its modules.
    pub(crate) fn group_of<A>(&self) -> Arc<Group> {
        let name = type_name::<A>();
        // A type has its name in one place, mostly; where not, it stands here twice.
        let known = |(kind, _): &&(&'static str, Arc<Group>)| std::ptr::eq(*kind, name);
        if let Some((_, group)) = self.kinds.load().iter().find(known) {
            return Arc::clone(group);
        }
        let group = self.group(&ShortType(name).to_string());
        self.kinds.rcu(|kinds| {
            let mut kinds = Vec::clone(kinds);
            // There are as many as the program has types, but nobody should search for long.
            if kinds.len() < GROUPS_MAX {
                kinds.push((name, Arc::clone(&group)));
            }
            kinds
        });
        group
    }

    pub(crate) fn group(&self, name: &str) -> Arc<Group> {
        if let Some(group) = self.groups.read().get(name) {
            return Arc::clone(group);
        }
        let mut groups = self.groups.write();
        let is_new = !groups.contains_key(name);
        let name = if is_new && groups.len() >= GROUPS_MAX {
            "_other"
        } else {
            name
        };
        let postmark = Postmark::of_group(self.system, groups.len() as u16);
        let group = groups
            .entry(name.to_owned())
            .or_insert_with(|| Arc::new(Group::new(name, postmark, &self.bound)));
        Arc::clone(group)
    }
}

/// The group of all supervisors, which have no mailbox for user messages.
pub(crate) const SUPERVISORS: &str = "_supervisor";

/// Where all messages of a system went: the law of conservation.
///
/// `sent = handled + failed + rejected + dropped + queued`, at every moment at
/// rest. Shown, it is one line with the verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ledger {
    /// Messages that anybody tried to send, timers and published events included (one for each subscriber).
    pub sent: u64,
    /// Messages whose handler ended well.
    pub handled: u64,
    /// Messages whose handler failed.
    pub failed: u64,
    /// Messages given back to their sender.
    pub rejected: u64,
    /// Messages lost, each counted by reason.
    pub dropped: u64,
    /// Messages on their way: queued, in a handler, or waiting for room.
    pub queued: u64,
}

impl Ledger {
    /// Returns whether every message is accounted for.
    #[must_use]
    pub fn is_balanced(&self) -> bool {
        let Ledger {
            sent,
            handled,
            failed,
            rejected,
            dropped,
            queued,
        } = *self;
        sent == handled + failed + rejected + dropped + queued
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ledger {
            sent,
            handled,
            failed,
            rejected,
            dropped,
            queued,
        } = self;
        let (sign, verdict) = if self.is_balanced() {
            ("=", "balanced")
        } else {
            ("!=", "NOT balanced")
        };
        write!(
            f,
            "{sent} sent {sign} {handled} handled + {failed} failed + {rejected} rejected + {dropped} dropped + {queued} queued ({verdict})"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upper_bound_nanos(bucket: usize) -> u64 {
        let steps = if bucket < 4 {
            bucket as u64 + 1
        } else {
            let (octave, quarter) = ((bucket - 4) / 4, (bucket - 4) as u64 % 4);
            (5 + quarter) << octave
        };
        steps * STEP_NANOS
    }

    #[test]
    fn every_duration_falls_into_the_first_bucket_that_holds_it() {
        for bucket in 0..BUCKETS - 1 {
            let bound = upper_bound_nanos(bucket);
            assert_eq!(bucket_of(bound), bucket, "{bound} ns is in bucket {bucket}");
            assert_eq!(
                bucket_of(bound + 1),
                bucket + 1,
                "{bound} ns + 1 is in the next"
            );
        }
        assert_eq!(bucket_of(0), 0);
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn the_bounds_that_are_shown_are_exact() {
        let histogram = Histogram::new();
        let bounds: Vec<f64> = histogram.reading().buckets.iter().map(|b| b.0).collect();
        assert_eq!(bounds.len(), 14);
        assert_eq!((bounds[0], bounds[1], bounds[13]), (1e-6, 4e-6, 67.108_864));
        for (i, _) in bounds.iter().enumerate() {
            let bound = Duration::from_micros(1 << (2 * i));
            histogram.record(bound);
            histogram.record(bound + Duration::from_nanos(1));
        }
        let reading = histogram.reading();
        for (i, (_, at_most)) in reading.buckets.iter().enumerate() {
            assert_eq!(*at_most, 2 * i as u64 + 1, "bucket {i}");
        }
        assert_eq!(reading.count, 28);
    }

    #[test]
    fn metric_names_are_unique_listed_and_follow_the_rules() {
        let mut names: Vec<&str> = Metric::ALL.iter().map(|m| m.name()).collect();
        for metric in Metric::ALL {
            let counter = metric.kind() == MetricKind::Counter;
            assert_eq!(
                metric.name().ends_with("_total"),
                counter,
                "{}",
                metric.name()
            );
            assert!(metric.name().starts_with("greenroom_"));
            assert!(metric.help().ends_with('.'));
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Metric::ALL.len());
    }

    #[test]
    fn group_names_beyond_the_limit_share_one_series() {
        let meters = Meters::new();
        for n in 0..10_000 {
            let group = meters.group(&format!("g{n}"));
            assert_eq!(group.name == "_other", n >= GROUPS_MAX);
        }
        assert_eq!(meters.groups().len(), GROUPS_MAX + 1);
    }
}
