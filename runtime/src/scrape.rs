//! What all mailboxes and groups of a system add up to, for a scrape or a ledger.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::dead_letter::DeadLetterReason;
use crate::metrics::{Decision, Family, Group, Ledger, Metric, SUPERVISORS, Sample, Value};
use crate::role::RestartReason;
use crate::shared::Shared;
use crate::snapshot::{ActorState, Seen};
use crate::tally::{Dropped, Rejected, Tally};

impl Shared {
    /// Adds up all messages of the system.
    pub(crate) fn ledger(&self) -> Ledger {
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
        Ledger {
            sent: tally.sent,
            handled: tally.handled,
            failed: tally.failed,
            rejected: tally.rejected.iter().sum(),
            dropped: tally.dropped.iter().sum(),
            queued: queued + waiting + in_flight,
        }
    }

    /// Reads everything; the deepest levels start anew for the next scrape.
    pub(crate) fn scrape(&self) -> Vec<Family> {
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
        self.registry.for_each_topic(|name, topic| {
            let event = || ("event", name.to_owned());
            let [published, delivered, full, stopped] = topic.counts();
            families.add(Metric::EventsPublished, vec![event()], published as f64);
            for (result, n) in [
                ("delivered", delivered),
                ("full", full),
                ("stopped", stopped),
            ] {
                let labels = vec![event(), ("result", result.to_owned())];
                families.add(Metric::EventsDelivered, labels, n as f64);
            }
            families.add(
                Metric::EventSubscribers,
                vec![event()],
                topic.subscribers() as f64,
            );
        });
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
