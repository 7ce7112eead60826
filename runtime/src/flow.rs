//! What flows between the kinds of actors: what they declare, what is observed, and where the two differ.
//!
//! A node is a *kind* of actors, all those of one [group](crate::Spec::group); an edge is one type of message or
//! event from one kind to another. [`Actor::flow`](crate::Actor::flow) declares edges, so that a tree has a graph
//! before anything runs ([`Supervisor::flow_graph`](crate::Supervisor::flow_graph)), and one in which actors may wait
//! for each other in a circle does not start. A running system adds what it has seen
//! ([`System::flow_graph`](crate::System::flow_graph)).
//!
//! Names that begin with `_` are the runtime's: `_outside` is whoever sends and is no actor's handler (`main`, a test,
//! a task that was spawned, a future in the background of an actor), `_runtime` publishes what the runtime itself has
//! to say, and `_unknown` stands for a sender of which nothing was noted.
//!
//! A graph is a value: sorted, so that two of the same tree are equal, shown as JSON by [`serde::Serialize`], as
//! [DOT](FlowGraph::to_dot) or as [Mermaid](FlowGraph::to_mermaid).

use std::fmt;

use serde::Serialize;

mod declared;
mod draw;
mod estimate;
mod observed;
mod paths;
mod running;
#[cfg(all(test, not(any(greenroom_loom, greenroom_shuttle))))]
mod tests;

pub use declared::{Declared, Flow};
pub(crate) use declared::{Kinds, NameOf, Type, group_name};
pub(crate) use estimate::Received;
pub(crate) use observed::{Bound, Incoming};
pub(crate) use running::Running;

/// Whoever sends and is no actor's handler.
pub(crate) const OUTSIDE: &str = "_outside";
/// Who publishes what the runtime itself has to say.
pub(crate) const RUNTIME: &str = "_runtime";
/// A sender of which nothing was noted.
pub(crate) const UNKNOWN: &str = "_unknown";

/// What flows between the kinds of actors of a tree or of a running system.
///
/// # Examples
///
/// ```
/// # use std::convert::Infallible;
/// use greenroom::prelude::*;
/// # #[derive(Clone, Debug)] struct DoorOpened;
/// # impl Event for DoorOpened {}
/// # struct Sound;
/// # impl Message for Sound { type Reply = (); }
/// # struct Door;
/// # impl Actor for Door {
/// #     type Args = ();
/// #     type Error = Infallible;
/// #     async fn start((): (), _: &mut Context<Self>) -> Result<Self, Infallible> { Ok(Door) }
/// #     fn flow(flow: &mut Flow<Self>) { flow.publishes::<DoorOpened>(); }
/// # }
/// # struct Siren;
/// # impl Actor for Siren {
/// #     type Args = ();
/// #     type Error = Infallible;
/// #     async fn start((): (), _: &mut Context<Self>) -> Result<Self, Infallible> { Ok(Siren) }
/// # }
/// # impl Handler<Sound> for Siren {
/// #     async fn handle(&mut self, _: Sound, _: &mut Context<Self>) -> Result<(), Infallible> { Ok(()) }
/// # }
/// # impl Handler<DoorOpened> for Alarm {
/// #     async fn handle(&mut self, _: DoorOpened, _: &mut Context<Self>) -> Result<(), Infallible> { Ok(()) }
/// # }
/// # struct Alarm;
///
/// impl Actor for Alarm {
/// #   type Args = ();
/// #   type Error = Infallible;
/// #   async fn start((): (), _: &mut Context<Self>) -> Result<Self, Infallible> { Ok(Alarm) }
///     fn flow(flow: &mut Flow<Self>) {
///         flow.subscribes::<DoorOpened>();
///         flow.tells::<Siren, Sound>();
///     }
///     // ...
/// }
///
/// let home = Supervisor::one_for_one("home")
///     .child(Siren::spec("siren", ()))
///     .child(Alarm::spec("alarm", ()))
///     .child(Door::spec("door", ()));
/// let graph = home.flow_graph();
/// let way = graph.path("Door", "Siren").expect("there is one");
/// let way: Vec<String> = way.iter().map(ToString::to_string).collect();
/// assert_eq!(way, ["Door publishes DoorOpened to Alarm", "Alarm tells Siren Sound"]);
/// assert!(graph.cycles().is_empty());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct FlowGraph {
    /// For how long traffic was observed; 0 where nothing runs.
    observed_seconds: f64,
    /// By name.
    nodes: Vec<Node>,
    /// By their ends, message and kind; each end is a node.
    edges: Vec<Edge>,
    /// By name.
    events: Vec<EventFlow>,
    rest: Traffic,
    /// What came to each kind in all, by name; of a kind that is not here each message was looked at.
    #[serde(skip)]
    received: Vec<Received>,
}

/// A kind of actors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Node {
    /// The [group](crate::Spec::group) of the actors: the name of their type, unless the spec says otherwise.
    pub name: String,
    /// How many there are, in the tree or now.
    pub actors: usize,
    /// Whether they say [what they send and subscribe to](crate::Actor::flow).
    pub is_declared: bool,
}

/// One type of message or event from one kind of actors to another.
///
/// Shown, it is a sentence: `Alarm tells Siren Sound`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Edge {
    /// The kind of the sender.
    pub from: String,
    /// The kind of the receiver.
    pub to: String,
    /// The type of the message, without its modules unless another has the same name.
    pub message: String,
    /// How it is sent.
    pub kind: EdgeKind,
    /// Whether it is declared: by its sender, and that of an event by its receiver too.
    pub is_declared: bool,
    /// Whether it may hold up its sender until the receiver has room, or has answered.
    pub waits: bool,
    /// Whether the sender goes on without it, whatever comes: see [`Declared::lossy`].
    pub is_lossy: bool,
    /// Whether its actors send to each other in an order: see [`Declared::acyclic`].
    pub is_acyclic: bool,
    /// What was seen of it; `None` where nothing was.
    pub observed: Option<Traffic>,
}

/// How a message is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[non_exhaustive]
#[serde(rename_all = "lowercase")]
pub enum EdgeKind {
    /// It is told.
    Tell,
    /// It is asked: the sender waits for the reply.
    Ask,
    /// It is an event that is published.
    Event,
    /// A timer, a stream or a background future of the actor itself sends it.
    Own,
}

/// What was seen of an edge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Traffic {
    /// How many messages came to be handled: exact where all of them were looked at, and else an estimate.
    ///
    /// What came to a kind in all is exact; whose it was is told by those that were looked at. So an edge that has its
    /// receivers for itself is right to a message, and of several each is about right from some ten samples on; over a
    /// time in which nothing was looked at, as less than a tenth of a second, it may be 0.
    pub messages: u64,
    /// How many of them were looked at: those that are [timed](crate::Builder::measure_every).
    pub samples: u64,
    /// Of these, how many were noted as the first in a tick.
    #[serde(skip)]
    firsts: u64,
    /// How many were lost for want of room, or since the receiver had stopped; exact.
    pub dropped: u64,
    /// Messages in a second, over the time that was observed; where it is an estimate it is drawn with a `~`.
    pub per_second: f64,
}

/// One type of event: who says that it publishes it, and who that it subscribes to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct EventFlow {
    /// The type of the event, without its modules unless another has the same name.
    pub event: String,
    /// The kinds that declare to publish it, sorted.
    pub publishers: Vec<String>,
    /// The kinds that declare to subscribe to it, sorted.
    pub subscribers: Vec<String>,
    /// How often it was published; 0 where nothing runs.
    pub published: u64,
    /// How many actors are subscribed to it now; 0 where nothing runs.
    pub subscribed: usize,
}

/// How a node is connected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Degree {
    /// Edges that end there.
    pub incoming: usize,
    /// Edges that begin there.
    pub outgoing: usize,
    /// Kinds from which edges come.
    pub sources: usize,
    /// Kinds to which edges lead.
    pub targets: usize,
}

/// Where what is declared, what is observed and what would make sense differ; shown, it is a line for each.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Differences {
    /// Events that are published, and that nobody hears.
    pub unheard: Vec<EventFlow>,
    /// Events that are subscribed to, and that nobody publishes.
    pub unfed: Vec<EventFlow>,
    /// Edges that were observed, and that a kind which declares its flow does not declare.
    pub undeclared: Vec<Edge>,
    /// Edges that are declared, and that were not observed; empty where nothing runs.
    pub unseen: Vec<Edge>,
}

impl FlowGraph {
    /// Puts a graph together: sorts it, adds nodes that only edges name, and works out the rates.
    pub(crate) fn new(
        observed_seconds: f64,
        mut nodes: Vec<Node>,
        mut edges: Vec<Edge>,
        mut events: Vec<EventFlow>,
        received: Vec<Received>,
    ) -> Self {
        edges.sort_by(|a, b| a.key().cmp(&b.key()));
        events.sort_by(|a, b| a.event.cmp(&b.event));
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        let mut missing: Vec<Node> = Vec::new();
        for name in edges.iter().flat_map(|edge| [&edge.from, &edge.to]) {
            if nodes.binary_search_by(|node| node.name.cmp(name)).is_err() {
                missing.push(Node {
                    name: name.clone(),
                    actors: 0,
                    is_declared: false,
                });
            }
        }
        nodes.extend(missing);
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        nodes.dedup_by(|a, b| a.name == b.name);
        let mut rest = estimate::share_out(&mut edges, &received);
        rest.rate(observed_seconds);
        for traffic in edges.iter_mut().filter_map(|edge| edge.observed.as_mut()) {
            traffic.rate(observed_seconds);
        }
        FlowGraph {
            observed_seconds,
            nodes,
            edges,
            events,
            rest,
            received,
        }
    }

    /// Returns the kinds of actors, sorted by name.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Returns the edges, sorted by sender, receiver, message and kind.
    #[must_use]
    pub fn edges(&self) -> &[Edge] {
        &self.edges
    }

    /// Returns the types of events that are declared or were published, sorted by name.
    #[must_use]
    pub fn events(&self) -> &[EventFlow] {
        &self.events
    }

    /// Returns a kind of actors.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.position(name).map(|at| &self.nodes[at])
    }

    /// Returns for how long traffic was observed, in seconds; 0 where nothing runs.
    #[must_use]
    pub fn observed_seconds(&self) -> f64 {
        self.observed_seconds
    }

    /// Returns what was seen on edges that have no place of their own: there are at most 4,096 of them.
    #[must_use]
    pub fn rest(&self) -> Traffic {
        self.rest
    }

    /// Returns the graph with what was observed since an earlier one of the same system: with the rates of that time.
    #[must_use]
    pub fn since(&self, earlier: &FlowGraph) -> FlowGraph {
        let before = |edge: &Edge| {
            let edges = &earlier.edges;
            let at = edges.binary_search_by(|other| other.key().cmp(&edge.key()));
            at.ok().and_then(|at| edges[at].observed)
        };
        let edges = self.edges.iter().map(|edge| {
            let then = before(edge).unwrap_or_default();
            let observed = edge.observed.map(|now| now.less(then));
            Edge {
                observed: observed.filter(|traffic| *traffic != Traffic::default()),
                ..edge.clone()
            }
        });
        let events = self.events.iter().map(|event| {
            let then = earlier.events.iter().find(|e| e.event == event.event);
            let then = then.map_or(0, |event| event.published);
            EventFlow {
                published: event.published.saturating_sub(then),
                ..event.clone()
            }
        });
        let received = self.received.iter().map(|now| {
            let then = earlier.received.iter().find(|then| then.by == now.by);
            then.map_or_else(|| now.clone(), |then| now.less(then))
        });
        let seconds = (self.observed_seconds - earlier.observed_seconds).max(0.0);
        FlowGraph::new(
            seconds,
            self.nodes.clone(),
            edges.collect(),
            events.collect(),
            received.collect(),
        )
    }

    /// Returns where what is declared and what is observed differ.
    ///
    /// Only who declares anything is held to it: an actor without
    /// [`Actor::flow`](crate::Actor::flow) has no undeclared edges. What comes from outside of
    /// actors, or from the runtime, can be declared by nobody.
    ///
    /// In a tree nothing is observed, so an event that only `main` publishes, or that an actor
    /// publishes or subscribes to without saying so, may be listed there, and is not in a system
    /// where it was published, or is subscribed to.
    #[must_use]
    pub fn differences(&self) -> Differences {
        let was_heard = |event: &EventFlow| {
            let mut edges = self.edges.iter();
            edges.any(|edge| edge.kind == EdgeKind::Event && edge.message == event.event)
        };
        let is_said = |event: &EventFlow| event.published > 0 || !event.publishers.is_empty();
        let is_wanted = |event: &EventFlow| event.subscribed > 0 || !event.subscribers.is_empty();
        let unheard = |event: &&EventFlow| is_said(event) && !is_wanted(event) && !was_heard(event);
        let unfed = |event: &&EventFlow| is_wanted(event) && !is_said(event);
        let unseen = |edge: &&Edge| {
            self.observed_seconds > 0.0 && edge.is_declared && edge.observed.is_none()
        };
        Differences {
            unheard: self.events.iter().filter(unheard).cloned().collect(),
            unfed: self.events.iter().filter(unfed).cloned().collect(),
            undeclared: self.undeclared().cloned().collect(),
            unseen: self.edges.iter().filter(unseen).cloned().collect(),
        }
    }

    fn undeclared(&self) -> impl Iterator<Item = &Edge> {
        self.edges.iter().filter(|edge| self.is_undeclared(edge))
    }

    /// Whether somebody who declares what flows does not declare this.
    pub(crate) fn is_undeclared(&self, edge: &Edge) -> bool {
        if edge.is_declared || edge.kind == EdgeKind::Own || edge.from.starts_with('_') {
            return false;
        }
        let declares = |name: &str| self.node(name).is_some_and(|node| node.is_declared);
        if edge.kind != EdgeKind::Event {
            return declares(&edge.from);
        }
        let event = self.events.iter().find(|e| e.event == edge.message);
        let says = |names: fn(&EventFlow) -> &Vec<String>, who: &String| {
            event.is_some_and(|event| names(event).contains(who))
        };
        (declares(&edge.from) && !says(|e| &e.publishers, &edge.from))
            || (declares(&edge.to) && !says(|e| &e.subscribers, &edge.to))
    }

    fn position(&self, name: &str) -> Option<usize> {
        let found = self
            .nodes
            .binary_search_by(|node| node.name.as_str().cmp(name));
        found.ok()
    }
}

impl Edge {
    /// What tells it from all other edges.
    pub(crate) fn key(&self) -> (&str, &str, &str, EdgeKind) {
        (&self.from, &self.to, &self.message, self.kind)
    }

    /// Returns whether a circle of such edges may stand still: it waits, and is neither lossy nor acyclic.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.waits && !self.is_lossy && !self.is_acyclic
    }
}

impl Traffic {
    fn rate(&mut self, seconds: f64) {
        self.per_second = match seconds > 0.0 {
            true => self.messages as f64 / seconds,
            false => 0.0,
        };
    }

    /// Whether it was told from some of the messages only.
    fn is_estimate(self) -> bool {
        self.messages != self.samples
    }

    fn add(&mut self, other: Traffic) {
        self.messages += other.messages;
        self.samples += other.samples;
        self.firsts += other.firsts;
        self.dropped += other.dropped;
    }

    fn less(self, earlier: Traffic) -> Traffic {
        let samples = self.samples.saturating_sub(earlier.samples);
        Traffic {
            // What is to be added to it is estimated anew.
            messages: samples,
            samples,
            firsts: self.firsts.saturating_sub(earlier.firsts),
            dropped: self.dropped.saturating_sub(earlier.dropped),
            per_second: 0.0,
        }
    }
}

impl Differences {
    /// Returns whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Differences {
            unheard,
            unfed,
            undeclared,
            unseen,
        } = self;
        unheard.is_empty() && unfed.is_empty() && undeclared.is_empty() && unseen.is_empty()
    }
}

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = |names: &[String]| match names {
            [] => "somebody who does not say so".to_owned(),
            names => names.join(", "),
        };
        for event in &self.unheard {
            let publishers = who(&event.publishers);
            writeln!(f, "nobody hears {}, published by {publishers}", event.event)?;
        }
        for event in &self.unfed {
            let subscribers = who(&event.subscribers);
            writeln!(
                f,
                "nobody publishes {}, to which {subscribers} subscribes",
                event.event
            )?;
        }
        for edge in &self.undeclared {
            writeln!(f, "not declared: {edge}")?;
        }
        for edge in &self.unseen {
            writeln!(f, "not seen: {edge}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Edge {
            from, to, message, ..
        } = self;
        match self.kind {
            EdgeKind::Tell => write!(f, "{from} tells {to} {message}"),
            EdgeKind::Ask => write!(f, "{from} asks {to} {message}"),
            EdgeKind::Event => write!(f, "{from} publishes {message} to {to}"),
            EdgeKind::Own => write!(f, "{from} sends itself {message}"),
        }
    }
}
