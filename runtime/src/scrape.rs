//! What all mailboxes and groups of a system add up to, for a scrape or a ledger.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::DropReason;
use crate::dead_letter::DeadLetterReason;
use crate::metrics::{Decision, Family, Group, Ledger, Metric, SUPERVISORS, Sample, Value};
use crate::registry::AnyTopic;
use crate::role::RestartReason;
use crate::shared::Shared;
use crate::snapshot::{ActorState, Seen};
use crate::subscription::meter::MeterReading;
use crate::tally::{Dropped, Rejected, Tally};

impl Shared {
    /// Adds up all messages of the system.
    pub(crate) fn ledger(&self) -> Ledger {
        self.registry.for_each_topic(|_, topic| topic.look());
        let groups = self.meters.groups();
        let guards: Vec<_> = groups.iter().map(|g| g.retired.lock()).collect();
        let mut tally = Tally::default();
        for retired in &guards {
            tally.add(retired);
        }
        let (mut queued, mut waiting, mut in_flight) = (0, 0, 0);
        self.registry.for_each(|role| {
            if let Some(reading) = role.seen(false).mailbox {
                tally.add(&reading.tally);
                queued += reading.depth as u64;
                waiting += reading.waiting as u64;
                in_flight += reading.in_flight;
            }
        });
        drop(guards);
        // What subscriptions keep, or have lost, of what no mailbox has seen.
        let (mut kept, mut unseen) = (0, 0);
        self.registry.for_each_topic(|_, topic| {
            for (_, meter) in topic.meters() {
                let reading = meter.reading();
                kept += reading.kept.saturating_sub(reading.in_line);
                unseen += reading.unseen;
            }
        });
        Ledger {
            sent: tally.sent + kept + unseen,
            handled: tally.handled,
            failed: tally.failed,
            rejected: tally.rejected.iter().sum(),
            dropped: tally.dropped.iter().sum::<u64>() + unseen,
            queued: queued + waiting + in_flight + kept,
        }
    }

    /// Reads everything; the deepest levels start anew for the next scrape.
    pub(crate) fn scrape(&self) -> Vec<Family> {
        self.registry.for_each_topic(|_, topic| topic.look());
        let mut families = Families::default();
        let groups = self.meters.groups();
        {
            let guards: Vec<_> = groups.iter().map(|g| g.retired.lock()).collect();
            let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
            for (group, retired) in groups.iter().zip(&guards) {
                sums.insert(
                    group.name.clone(),
                    Sum {
                        tally: **retired,
                        ..Sum::default()
                    },
                );
            }
            self.registry.for_each(|role| {
                let seen = role.seen(true);
                if let Some(sum) = sums.get_mut(&seen.group) {
                    sum.add(&seen);
                    sum.stuck += u64::from(role.stuck_for().is_some());
                }
            });
            drop(guards);
            for group in &groups {
                if let Some(sum) = sums.get(&group.name) {
                    families.group(group, sum);
                }
            }
        }
        for decision in Decision::ALL {
            let labels = vec![("decision", decision.as_str().to_owned())];
            let n = self.meters.decisions(decision);
            families.add(Metric::SupervisorDecisions, labels, n as f64);
        }
        let escalations = self.meters.escalations.load(Ordering::Relaxed);
        families.add(Metric::SupervisorEscalations, vec![], escalations as f64);
        let fenced = crate::fencing::refused() as f64;
        families.add(Metric::Fenced, vec![], fenced);
        // Not while the table is held: who has a supervisor's book may wait for it.
        let supervisors = self.registry.supervisors().into_iter();
        let used = supervisors.filter_map(|role| role.limit_used_ratio());
        let used = used.fold(0.0, f64::max);
        families.add(Metric::SupervisorIntensity, vec![], used);
        let deadlocks = self.meters.deadlocks.load(Ordering::Relaxed);
        families.add(Metric::DeadlocksSuspected, vec![], deadlocks as f64);
        for reason in DeadLetterReason::ALL {
            let labels = vec![("reason", reason.as_str().to_owned())];
            families.add(
                Metric::DeadLetters,
                labels,
                self.dead_letters.count(reason) as f64,
            );
        }
        self.registry
            .for_each_topic(|name, topic| families.topic(name, topic));
        let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
        families.add(Metric::BuildInfo, version, 1.0);
        families
            .0
            .into_iter()
            .map(|(metric, samples)| Family { metric, samples })
            .collect()
    }
}

/// The live mailboxes of a group, added up.
#[derive(Default)]
struct Sum {
    tally: Tally,
    states: [u64; ActorState::ALL.len()],
    stuck: u64,
    depth: usize,
    waiting: usize,
    oldest_age: Duration,
    /// Deepest level and capacity of the fullest mailbox.
    fullest: Option<(usize, usize)>,
}

impl Sum {
    fn add(&mut self, seen: &Seen) {
        self.states[seen.state as usize] += 1;
        let Some(mailbox) = &seen.mailbox else { return };
        self.tally.add(&mailbox.tally);
        self.depth += mailbox.depth;
        self.waiting += mailbox.waiting;
        self.oldest_age = self.oldest_age.max(mailbox.oldest_age);
        let level = (mailbox.depth_max, seen.capacity);
        let fuller = self
            .fullest
            .is_none_or(|(depth, capacity)| level.0 * capacity > depth * level.1);
        if fuller {
            self.fullest = Some(level);
        }
    }
}

/// Families under construction, in the order of [`Metric::ALL`].
#[derive(Default)]
struct Families(BTreeMap<Metric, Vec<Sample>>);

impl Families {
    fn add(&mut self, metric: Metric, labels: Vec<(&'static str, String)>, value: f64) {
        self.push(metric, labels, Value::Number(value));
    }

    fn push(&mut self, metric: Metric, labels: Vec<(&'static str, String)>, value: Value) {
        self.0
            .entry(metric)
            .or_default()
            .push(Sample { labels, value });
    }

    fn topic(&mut self, name: &str, topic: &dyn AnyTopic) {
        let event = || ("event", name.to_owned());
        let counts = topic.counts();
        let published = counts.published_so_far();
        self.add(Metric::EventsPublished, vec![event()], published as f64);
        let delivered = ("delivered", counts.delivered_so_far());
        let dropped = DropReason::ALL.map(|why| (why.as_str(), counts.dropped_so_far(why)));
        for (result, n) in [delivered].into_iter().chain(dropped) {
            let labels = vec![event(), ("result", result.to_owned())];
            self.add(Metric::EventsDelivered, labels, n as f64);
        }
        let subscribers = topic.subscribers();
        self.add(Metric::EventSubscribers, vec![event()], subscribers as f64);
        for (subscription, meter) in topic.meters() {
            let labels = || vec![event(), ("subscription", subscription.to_string())];
            let MeterReading {
                matched,
                delivered,
                dropped,
                kept,
                ..
            } = meter.reading();
            self.add(Metric::SubscriptionEvents, labels(), matched as f64);
            self.add(Metric::SubscriptionDelivered, labels(), delivered as f64);
            for why in DropReason::ALL {
                let mut labels = labels();
                labels.push(("reason", why.as_str().to_owned()));
                let n = dropped[why as usize];
                self.add(Metric::SubscriptionDropped, labels, n as f64);
            }
            self.add(Metric::SubscriptionLag, labels(), kept as f64);
        }
    }

    fn group(&mut self, group: &Group, sum: &Sum) {
        let label = || ("group", group.name.clone());
        let with = |name: &'static str, value: &str| vec![label(), (name, value.to_owned())];
        for state in ActorState::ALL {
            let n = sum.states[state as usize];
            self.add(Metric::Actors, with("state", state.as_str()), n as f64);
        }
        let starts = group.starts();
        self.add(Metric::ActorStarts, vec![label()], starts as f64);
        for reason in RestartReason::ALL {
            let n = group.restarts(reason);
            self.add(
                Metric::ActorRestarts,
                with("reason", reason.as_str()),
                n as f64,
            );
        }
        if group.name == SUPERVISORS {
            return;
        }
        self.add(Metric::ActorsStuck, vec![label()], sum.stuck as f64);
        let busy = group.busy_time().as_secs_f64();
        self.add(Metric::Busy, vec![label()], busy);
        let (depth_max, capacity) = sum.fullest.unwrap_or_default();
        self.add(Metric::MailboxDepth, vec![label()], sum.depth as f64);
        self.add(Metric::MailboxDepthMax, vec![label()], depth_max as f64);
        self.add(Metric::MailboxCapacity, vec![label()], capacity as f64);
        self.add(
            Metric::MailboxOldestAge,
            vec![label()],
            sum.oldest_age.as_secs_f64(),
        );
        self.add(
            Metric::MailboxWaitingSenders,
            vec![label()],
            sum.waiting as f64,
        );
        self.add(
            Metric::MailboxEnqueued,
            vec![label()],
            sum.tally.enqueued as f64,
        );
        self.add(
            Metric::MailboxDequeued,
            vec![label()],
            (sum.tally.dequeued + sum.tally.retried) as f64,
        );
        for reason in Rejected::ALL {
            let n = sum.tally.rejected[reason as usize];
            self.add(
                Metric::MailboxRejected,
                with("reason", reason.as_str()),
                n as f64,
            );
        }
        for reason in Dropped::ALL {
            let n = sum.tally.dropped[reason as usize];
            self.add(
                Metric::MailboxDropped,
                with("reason", reason.as_str()),
                n as f64,
            );
        }
        self.push(
            Metric::MailboxWait,
            vec![label()],
            Value::Histogram(group.wait.reading()),
        );
        self.push(
            Metric::MessageHandle,
            vec![label()],
            Value::Histogram(group.handle.reading()),
        );
        for (result, n) in [("ok", sum.tally.handled), ("failed", sum.tally.failed)] {
            self.add(Metric::MessagesHandled, with("result", result), n as f64);
        }
        let retried = sum.tally.retried;
        self.add(Metric::MessagesRetried, vec![label()], retried as f64);
    }
}
