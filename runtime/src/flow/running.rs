//! The flow graph of a running system.

use std::any::TypeId;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::declared::{Names, Says, insert};
use super::{
    Edge, EdgeKind, FlowGraph, Kinds, OUTSIDE, RUNTIME, Received, Traffic, Type, UNKNOWN,
    group_name,
};
use crate::metrics::Group;
use crate::postmark::Sender;
use crate::shared::Shared;
use crate::{Actor, Overflow, Supervisor, System};

/// What a system knows of what flows in it.
#[derive(Default)]
pub(crate) struct Running {
    /// All that its actors declare, those that have ended included. What is declared is read under no lock of this one.
    kinds: Mutex<Kinds>,
    /// Whether anybody declares anything: who starts children looks at it each time.
    is_used: AtomicBool,
}

impl Shared {
    /// The group of an actor, which its spec gives or not, and whose type has this name.
    fn group_called(&self, group: Option<&str>, actor: &str) -> String {
        let name = group_name(group, actor);
        self.meters.group(&name).name.clone()
    }

    /// Looks whether an actor can come to the system, as far as it is declared what flows.
    ///
    /// # Errors
    /// With a circle of edges that wait which it would make.
    #[inline]
    pub(crate) fn admit_actor<A: Actor>(
        &self,
        group: Option<&str>,
        overflow: Overflow,
    ) -> Result<(), Vec<Edge>> {
        // Of an actor that declares nothing this is known when it is compiled.
        let is_silent = Says::of::<A>().is_empty();
        if is_silent && !self.flow.is_used.load(Ordering::Relaxed) {
            return Ok(());
        }
        let name = self.group_called(group, std::any::type_name::<A>());
        let kinds = self.flow.kinds.lock();
        if kinds.knows(TypeId::of::<A>(), &name, overflow) {
            return Ok(());
        }
        drop(kinds);
        let mut kinds = Kinds::default();
        kinds.add::<A>(group, overflow, &|group, actor| {
            self.group_called(group, actor)
        });
        self.admit(kinds)
    }

    /// The same for all actors of a tree or a branch.
    ///
    /// # Errors
    /// As [`admit_actor`](Self::admit_actor); none of them is taken note of then.
    pub(crate) fn admit_tree(&self, tree: &Supervisor) -> Result<(), Vec<Edge>> {
        self.admit(tree.kinds(&|group, actor| self.group_called(group, actor)))
    }

    fn admit(&self, kinds: Kinds) -> Result<(), Vec<Edge>> {
        if !kinds.is_silent() {
            self.flow.is_used.store(true, Ordering::Relaxed);
        }
        self.flow.kinds.lock().admit(kinds)
    }
}

impl System {
    /// Returns what flows between the actors: what they [declare](Actor::flow), what was observed, and both.
    ///
    /// Nothing is counted for it on the way of a message, but who sends is noted where its mailbox is
    /// [timed](crate::Builder::measure_every): of one message in 256, and of each that is the first in a tenth of a
    /// second. How many came to a kind of actors in all is exact, in any while that is longer than that; how many of them
    /// flowed on each of several edges is an estimate from those that were noted, right on average. Where every message is
    /// timed, as in a [simulation](crate::Builder::simulated), all counts are exact. What was lost is counted always;
    /// by whom it was sent is known where the sender loses it, and not of a message that was queued.
    ///
    /// A kind of actors stays in the graph after its last one has ended. There are counts for at most 4,096 edges; what
    /// flows on others is in [`rest`](FlowGraph::rest).
    ///
    /// # Examples
    ///
    /// ```
    /// # use greenroom::prelude::*;
    /// # async fn example(system: &System) {
    /// let graph = system.flow_graph();
    /// print!("{}", graph.differences());
    /// tokio::time::sleep(std::time::Duration::from_secs(10)).await;
    /// // The rates of these ten seconds.
    /// println!("{}", system.flow_graph().since(&graph).to_mermaid());
    /// # }
    /// ```
    #[must_use]
    pub fn flow_graph(&self) -> FlowGraph {
        self.shared().flow_graph()
    }
}

/// An edge on which something was seen.
struct Seen {
    from: Sender,
    to: Arc<Group>,
    message: Type,
    is_asked: bool,
    traffic: Traffic,
}

impl Shared {
    fn flow_graph(&self) -> FlowGraph {
        let seconds = self.born.elapsed().as_secs_f64();
        let groups = self.meters.groups();
        let mut seen = Vec::new();
        for to in &groups {
            to.incoming.for_each(|key, message, traffic| {
                let (from, is_asked, to) = (key.from, key.is_asked, Arc::clone(to));
                seen.push(Seen {
                    from,
                    to,
                    message,
                    is_asked,
                    traffic,
                });
            });
        }
        let received = self.received(&groups);
        let mut topics: Vec<(Type, u64, usize)> = Vec::new();
        self.registry.for_each_topic(|_, topic| {
            let published = topic.counts().published_so_far();
            topics.push((topic.event(), published, topic.subscribers()));
        });
        let kinds = self.flow.kinds.lock();
        let types = seen.iter().map(|seen| seen.message);
        let types = types.chain(topics.iter().map(|(event, ..)| *event));
        let names = Names::of(kinds.types().chain(types));
        let mut drawn = kinds.drawn(&names);
        drop(kinds);
        for node in drawn.nodes.values_mut() {
            node.actors = 0;
        }
        self.registry.for_each(|role| {
            if let Some(group) = role.group() {
                drawn.node(&group.name).actors += 1;
            }
        });
        let mut events = HashSet::new();
        for (event, published, subscribed) in topics {
            events.insert(event.id);
            let flow = drawn.event(&names.of_type(event));
            flow.published += published;
            flow.subscribed += subscribed;
            if event.is_of_runtime() {
                insert(&mut flow.publishers, RUNTIME);
            }
        }
        let mut callers: Vec<&str> = vec![OUTSIDE; groups.len()];
        for group in &groups {
            if let Some(Sender::Group(n)) = group.postmark.sender(self.meters.system)
                && let Some(name) = callers.get_mut(usize::from(n))
            {
                *name = &group.name;
            }
        }
        for seen in &seen {
            let from: &str = match seen.from {
                _ if seen.message.is_of_runtime() => RUNTIME,
                Sender::Outside => OUTSIDE,
                Sender::Unknown => UNKNOWN,
                Sender::Own => &seen.to.name,
                Sender::Group(n) => callers.get(usize::from(n)).copied().unwrap_or(OUTSIDE),
            };
            let message = names.of_type(seen.message);
            let key = |kind| (from.to_owned(), seen.to.name.clone(), message.clone(), kind);
            let kind = if seen.from == Sender::Own && from != RUNTIME {
                EdgeKind::Own
            } else if seen.is_asked {
                EdgeKind::Ask
            } else if events.contains(&seen.message.id)
                && !drawn.edges.contains_key(&key(EdgeKind::Tell))
            {
                EdgeKind::Event
            } else {
                EdgeKind::Tell
            };
            drawn.observed(key(kind), seen.traffic);
        }
        let nodes = drawn.nodes.into_values().collect();
        let edges = drawn.edges.into_values().collect();
        let events = drawn.events.into_values().collect();
        FlowGraph::new(seconds, nodes, edges, events, received)
    }

    /// What came to each group in all; to be asked after what was noted of it, so that it is not less.
    fn received(&self, groups: &[Arc<Group>]) -> Vec<Received> {
        let mut all: HashMap<String, u64> = HashMap::new();
        // Where all are noted it is known already.
        if self.measure_every > 1 {
            let guards: Vec<_> = groups.iter().map(|group| group.retired.lock()).collect();
            for (group, retired) in groups.iter().zip(&guards) {
                all.insert(group.name.clone(), retired.taken_in_hand());
            }
            self.registry.for_each(|role| {
                let seen = role.seen(false);
                if let Some(reading) = seen.mailbox
                    && let Some(sum) = all.get_mut(&seen.group)
                {
                    *sum += reading.tally.taken_in_hand() + reading.in_flight;
                }
            });
        }
        let received = groups.iter().map(|group| Received {
            by: group.name.clone(),
            messages: all.get(&group.name).copied().unwrap_or_default(),
            rest: group.incoming.rest(),
        });
        received.collect()
    }
}
