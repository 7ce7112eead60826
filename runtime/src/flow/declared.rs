//! What actors declare, and the graph that it comes to in a tree.

use std::any::{TypeId, type_name};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use super::{Edge, EdgeKind, EventFlow, FlowGraph, Node, RUNTIME, Traffic};
use crate::failure::ShortType;
use crate::metrics::GROUPS_MAX;
use crate::{
    Actor, ActorStuck, DeadlockSuspected, Down, Event, Gap, Handler, Message, Overflow,
    SupervisionEvent, Supervisor,
};

/// What an actor declares to flow to and from it; see [`Actor::flow`].
///
/// To declare the same twice changes nothing, but that an edge is [lossy](Declared::lossy) only if each says so.
pub struct Flow<A: Actor> {
    says: Says,
    _actor: PhantomData<fn(A)>,
}

/// An edge that has just been declared, for what is to be said of it.
#[derive(Debug)]
pub struct Declared<'a>(&'a mut Sends);

/// A type, for those who compare it and those who read of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Type {
    pub(crate) name: &'static str,
    pub(crate) id: TypeId,
}

/// What a kind of actors declares.
#[derive(Clone, Debug, Default)]
pub(crate) struct Says {
    handles: Vec<Type>,
    subscribes: Vec<Type>,
    sends: Vec<Sends>,
}

/// A kind of message that is sent.
#[derive(Clone, Debug)]
struct Sends {
    kind: EdgeKind,
    message: Type,
    to: To,
    waits: bool,
    is_lossy: bool,
    is_acyclic: bool,
}

/// Whom it is sent to.
#[derive(Clone, Copy, Debug)]
enum To {
    /// All who subscribe to it.
    Subscribers,
    /// All who declare to handle it.
    Handlers,
    /// Actors of a type; it says itself what it declares, as the tree may list none.
    Actors(Type, fn() -> Says),
}

impl Type {
    pub(crate) fn of<T: 'static>() -> Self {
        Type {
            name: type_name::<T>(),
            id: TypeId::of::<T>(),
        }
    }

    pub(crate) fn short(self) -> String {
        ShortType(self.name).to_string()
    }

    /// Whether the runtime itself sends it, whoever's code it does that in.
    pub(crate) fn is_of_runtime(self) -> bool {
        let own = [
            TypeId::of::<SupervisionEvent>(),
            TypeId::of::<ActorStuck>(),
            TypeId::of::<DeadlockSuspected>(),
            TypeId::of::<Down>(),
            TypeId::of::<Gap>(),
        ];
        own.contains(&self.id)
    }
}

impl Says {
    pub(crate) fn of<A: Actor>() -> Self {
        let mut flow = Flow {
            says: Says::default(),
            _actor: PhantomData,
        };
        A::flow(&mut flow);
        flow.says
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.handles.is_empty() && self.subscribes.is_empty() && self.sends.is_empty()
    }
}

impl<A: Actor> Flow<A> {
    /// Declares that the actor takes messages of this type from those who hold a [`Recipient`](crate::Recipient).
    ///
    /// Who names the actor's type where it [tells](Self::tells) or [asks](Self::asks) needs no such declaration.
    pub fn handles<M: Message>(&mut self)
    where
        A: Handler<M>,
    {
        self.says.handles.push(Type::of::<M>());
    }

    /// Declares that the actor [subscribes](crate::Context::subscribe) to an event.
    pub fn subscribes<E: Event>(&mut self)
    where
        A: Handler<E>,
    {
        self.says.subscribes.push(Type::of::<E>());
    }

    /// Declares that the actor [publishes](crate::Context::publish) an event; it does not wait for that, unless it [says so](Declared::waits).
    pub fn publishes<E: Event>(&mut self) -> Declared<'_> {
        self.sends::<E>(EdgeKind::Event, To::Subscribers)
    }

    /// Declares that the actor [tells](crate::ActorRef::tell) actors of type `B` a message, and waits for room unless it is [lossy](Declared::lossy).
    ///
    /// Where all of them have a mailbox that lets nobody wait ([`Overflow`]), it does not.
    pub fn tells<B, M>(&mut self) -> Declared<'_>
    where
        B: Handler<M>,
        M: Message<Reply = ()>,
    {
        self.sends::<M>(EdgeKind::Tell, To::Actors(Type::of::<B>(), Says::of::<B>))
    }

    /// Declares that the actor [asks](crate::ActorRef::ask) actors of type `B`, and waits for the reply.
    pub fn asks<B, M>(&mut self) -> Declared<'_>
    where
        B: Handler<M>,
        M: Message,
    {
        self.sends::<M>(EdgeKind::Ask, To::Actors(Type::of::<B>(), Says::of::<B>))
    }

    /// Declares the same as [`tells`](Self::tells) for a [`Recipient`](crate::Recipient), behind which may be any actor that [handles](Self::handles) it.
    pub fn tells_recipient<M: Message<Reply = ()>>(&mut self) -> Declared<'_> {
        self.sends::<M>(EdgeKind::Tell, To::Handlers)
    }

    /// Declares the same as [`asks`](Self::asks) for a [`Recipient`](crate::Recipient), behind which may be any actor that [handles](Self::handles) it.
    pub fn asks_recipient<M: Message>(&mut self) -> Declared<'_> {
        self.sends::<M>(EdgeKind::Ask, To::Handlers)
    }

    fn sends<M: Message>(&mut self, kind: EdgeKind, to: To) -> Declared<'_> {
        let sends = &mut self.says.sends;
        sends.push(Sends {
            kind,
            message: Type::of::<M>(),
            to,
            waits: kind != EdgeKind::Event,
            is_lossy: false,
            is_acyclic: false,
        });
        let last = sends.len() - 1;
        Declared(&mut sends[last])
    }
}

#[allow(
    clippy::must_use_candidate,
    reason = "what is said is said, whether or not more follows"
)]
impl Declared<'_> {
    /// Says that the sender goes on without it, whatever comes: what has no room is lost or left, what is asked may fail.
    ///
    /// So it is with [`try_tell`](crate::ActorRef::try_tell), with a told message or a question whose failure is handled
    /// within a short limit. Such an edge lets a circle of others come loose.
    pub fn lossy(self) -> Self {
        self.0.is_lossy = true;
        self
    }

    /// Says that actors of one kind, or of kinds that seem to make a circle, send this in an order in which none comes back to where it began.
    ///
    /// A graph is of kinds, and cannot see that: of a node of a tree that asks its children, or of the stages of a
    /// pipeline.
    pub fn acyclic(self) -> Self {
        self.0.is_acyclic = true;
        self
    }

    /// Says that the sender waits for room: of an event that is [published so](crate::Context::publish_within), or whose
    /// [required](crate::Subscription::required) subscriptions it [waits for](crate::Delivery::await_required).
    pub fn waits(self) -> Self {
        self.0.waits = true;
        self
    }
}

impl<A: Actor> fmt::Debug for Flow<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Flow").field(&self.says).finish()
    }
}

/// The kinds of actors of a tree, with what they declare.
#[derive(Debug, Default)]
pub(crate) struct Kinds {
    list: Vec<Kind>,
    of_type: HashMap<TypeId, Vec<usize>>,
    /// The names of their groups: as many as there are of metrics, whatever an application makes up.
    groups: HashSet<String>,
}

#[derive(Clone, Debug)]
struct Kind {
    group: String,
    /// Its specs give it no other group than that of its type.
    is_plain: bool,
    actor: Type,
    /// How many the tree lists; of one that is only sent to, none.
    actors: usize,
    /// Whether the mailbox of any of them lets senders wait.
    waits: bool,
    says: Arc<Says>,
}

/// How the group of an actor is called, which its spec gives or not, and whose type has this name.
pub(crate) type NameOf<'a> = &'a dyn Fn(Option<&str>, &str) -> String;

/// The name of the group of an actor, as its metrics will have it where there are not too many.
pub(crate) fn group_name(group: Option<&str>, actor: &str) -> String {
    match group {
        // A leading `_` is the runtime's.
        Some(group) if group.starts_with('_') => "_other".to_owned(),
        Some(group) => group.to_owned(),
        None => ShortType(actor).to_string(),
    }
}

impl Kinds {
    /// Takes note of an actor in a group; to be called under no lock, as what it declares is its author's code.
    pub(crate) fn add<A: Actor>(
        &mut self,
        group: Option<&str>,
        overflow: Overflow,
        name: NameOf<'_>,
    ) {
        let actor = Type::of::<A>();
        let waits = overflow == Overflow::Wait;
        // Most have no group of their own, and need no name to be found by.
        let named = group.map(|_| self.bounded(name(group, actor.name)));
        let is_it = |kind: &Kind| {
            let is_same = match &named {
                Some(name) => *name == kind.group,
                None => kind.is_plain,
            };
            is_same && kind.actors > 0
        };
        if let Some(at) = self.find(actor.id, is_it) {
            let kind = &mut self.list[at];
            kind.actors += 1;
            kind.waits |= waits;
            return;
        }
        let says = Arc::new(Says::of::<A>());
        let is_plain = named.is_none();
        let group = named.unwrap_or_else(|| self.bounded(name(group, actor.name)));
        self.push(Kind {
            group,
            is_plain,
            actor,
            actors: 1,
            waits,
            says: Arc::clone(&says),
        });
        self.reach(says);
    }

    /// Takes note of those who are sent to, and of those to whom they send in turn.
    fn reach(&mut self, says: Arc<Says>) {
        let mut next = vec![says];
        while let Some(says) = next.pop() {
            for sends in &says.sends {
                let To::Actors(actor, says) = sends.to else {
                    continue;
                };
                if self.of_type.contains_key(&actor.id) {
                    continue;
                }
                let says = Arc::new(says());
                self.push(Kind {
                    group: actor.short(),
                    is_plain: true,
                    actor,
                    actors: 0,
                    // As mailboxes are, unless a spec says otherwise.
                    waits: true,
                    says: Arc::clone(&says),
                });
                next.push(says);
            }
        }
    }

    /// The same name, or that of all groups beyond the bound.
    fn bounded(&mut self, group: String) -> String {
        if self.groups.contains(&group) {
            return group;
        }
        if self.groups.len() >= GROUPS_MAX {
            return "_other".to_owned();
        }
        self.groups.insert(group.clone());
        group
    }

    fn find(&self, actor: TypeId, is_it: impl Fn(&Kind) -> bool) -> Option<usize> {
        let mut of_type = self.of_type.get(&actor)?.iter().copied();
        of_type.find(|at| is_it(&self.list[*at]))
    }

    fn push(&mut self, kind: Kind) {
        let place = self.list.len();
        self.of_type.entry(kind.actor.id).or_default().push(place);
        self.list.push(kind);
    }

    /// Whether nobody declares anything.
    pub(crate) fn is_silent(&self) -> bool {
        self.list.iter().all(|kind| kind.says.is_empty())
    }

    /// Whether such an actor changes nothing.
    pub(crate) fn knows(&self, actor: TypeId, group: &str, overflow: Overflow) -> bool {
        let waits = overflow == Overflow::Wait;
        let is_it = |kind: &Kind| kind.actors > 0 && kind.group == group && (kind.waits || !waits);
        self.find(actor, is_it).is_some()
    }

    /// Takes note of actors that come later, or of none.
    ///
    /// # Errors
    /// With a circle of edges that wait which they would make.
    pub(crate) fn admit(&mut self, others: Kinds) -> Result<(), Vec<Edge>> {
        let mut all = Kinds::default();
        for kind in self.list.iter().cloned().chain(others.list) {
            let is_same =
                |other: &Kind| other.group == kind.group && (other.actors > 0) == (kind.actors > 0);
            match all.find(kind.actor.id, is_same) {
                Some(at) => all.list[at].waits |= kind.waits,
                None => all.push(kind),
            }
        }
        all.check()?;
        *self = all;
        Ok(())
    }

    /// Whether no actors may come to wait for each other in a circle, as far as they declare.
    ///
    /// # Errors
    /// With the shortest such circle.
    pub(crate) fn check(&self) -> Result<(), Vec<Edge>> {
        let sends = |kind: &Kind| kind.says.sends.iter().any(|sends| sends.waits);
        if !self.list.iter().any(sends) {
            return Ok(());
        }
        let graph = self.graph();
        let cycle = graph.waiting_cycles().into_iter().next();
        match cycle {
            None => Ok(()),
            Some(cycle) => Err(cycle.into_iter().cloned().collect()),
        }
    }

    /// The graph of what is declared.
    pub(crate) fn graph(&self) -> FlowGraph {
        let drawn = self.drawn(&Names::of(self.types()));
        let nodes = drawn.nodes.into_values().collect();
        let edges = drawn.edges.into_values().collect();
        let events = drawn.events.into_values().collect();
        FlowGraph::new(0.0, nodes, edges, events, Vec::new())
    }

    /// The types of all messages that are declared.
    pub(crate) fn types(&self) -> impl Iterator<Item = Type> {
        self.list.iter().flat_map(|kind| {
            let sent = kind.says.sends.iter().map(|sends| sends.message);
            let taken = kind.says.handles.iter().chain(&kind.says.subscribes);
            sent.chain(taken.copied())
        })
    }

    /// Nodes, edges and events by what tells them apart.
    pub(crate) fn drawn(&self, names: &Names) -> Drawn {
        // One that is only sent to gives way to those that are there.
        let is_there = |kind: &&Kind| {
            kind.actors > 0 || self.find(kind.actor.id, |kind| kind.actors > 0).is_none()
        };
        let all: Vec<&Kind> = self.list.iter().filter(is_there).collect();
        let mut drawn = Drawn::default();
        for kind in &all {
            let node = drawn.node(&kind.group);
            node.actors += kind.actors;
            node.is_declared |= !kind.says.is_empty();
        }
        for kind in &all {
            for event in &kind.says.subscribes {
                let is_of_runtime = event.is_of_runtime();
                let name = names.of_type(*event);
                let flow = drawn.event(&name);
                insert(&mut flow.subscribers, &kind.group);
                if is_of_runtime {
                    insert(&mut flow.publishers, RUNTIME);
                    drawn.node(RUNTIME);
                    let edge = drawn.edge((RUNTIME, &kind.group, &name, EdgeKind::Event));
                    (edge.is_lossy, edge.is_acyclic) = (false, false);
                }
            }
            for sends in &kind.says.sends {
                let name = names.of_type(sends.message);
                if sends.kind == EdgeKind::Event {
                    insert(&mut drawn.event(&name).publishers, &kind.group);
                }
                for to in all.iter().filter(|to| sends.reaches(to)) {
                    let edge = drawn.edge((&kind.group, &to.group, &name, sends.kind));
                    sends.mark(edge, to.waits);
                }
            }
        }
        drawn
    }
}

impl Sends {
    fn reaches(&self, kind: &Kind) -> bool {
        match self.to {
            To::Subscribers => kind.says.subscribes.contains(&self.message),
            To::Handlers => kind.says.handles.contains(&self.message),
            To::Actors(actor, _) => kind.actor == actor,
        }
    }

    /// Says of an edge what this says of it; where it was declared before, what waits counts before what does not.
    fn mark(&self, edge: &mut Edge, has_room_to_wait_for: bool) {
        let waits = self.waits && (self.kind == EdgeKind::Ask || has_room_to_wait_for);
        if waits && !edge.waits {
            edge.waits = true;
            (edge.is_lossy, edge.is_acyclic) = (self.is_lossy, self.is_acyclic);
        } else if waits == edge.waits {
            edge.is_lossy &= self.is_lossy;
            edge.is_acyclic &= self.is_acyclic;
        }
    }
}

/// Adds a name to others that are sorted.
pub(super) fn insert(names: &mut Vec<String>, name: &str) {
    if let Err(at) = names.binary_search_by(|n| n.as_str().cmp(name)) {
        names.insert(at, name.to_owned());
    }
}

/// The names of types: short ones, and whole ones where two would be the same.
#[derive(Debug)]
pub(crate) struct Names {
    ambiguous: BTreeSet<String>,
}

impl Names {
    pub(crate) fn of(types: impl Iterator<Item = Type>) -> Self {
        let types: BTreeSet<Type> = types.collect();
        let mut seen = BTreeSet::new();
        let mut ambiguous = BTreeSet::new();
        for short in types.into_iter().map(Type::short) {
            if !seen.insert(short.clone()) {
                ambiguous.insert(short);
            }
        }
        Names { ambiguous }
    }

    pub(crate) fn of_type(&self, of: Type) -> String {
        let short = of.short();
        match self.ambiguous.contains(&short) {
            true => of.name.to_owned(),
            false => short,
        }
    }
}

/// A graph under construction.
#[derive(Debug, Default)]
pub(crate) struct Drawn {
    pub(crate) nodes: BTreeMap<String, Node>,
    pub(crate) edges: BTreeMap<(String, String, String, EdgeKind), Edge>,
    pub(crate) events: BTreeMap<String, EventFlow>,
}

impl Drawn {
    pub(crate) fn node(&mut self, name: &str) -> &mut Node {
        let node = || Node {
            name: name.to_owned(),
            actors: 0,
            is_declared: false,
        };
        self.nodes.entry(name.to_owned()).or_insert_with(node)
    }

    pub(crate) fn event(&mut self, name: &str) -> &mut EventFlow {
        let event = || EventFlow {
            event: name.to_owned(),
            publishers: Vec::new(),
            subscribers: Vec::new(),
            published: 0,
            subscribed: 0,
        };
        self.events.entry(name.to_owned()).or_insert_with(event)
    }

    /// Adds what was seen of an edge.
    pub(super) fn observed(&mut self, key: (String, String, String, EdgeKind), traffic: Traffic) {
        let (from, to, message, kind) = key.clone();
        self.node(&from);
        self.node(&to);
        let edge = self.edges.entry(key).or_insert_with(|| Edge {
            from,
            to,
            message,
            kind,
            is_declared: false,
            waits: kind == EdgeKind::Ask,
            is_lossy: false,
            is_acyclic: false,
            observed: None,
        });
        edge.observed.get_or_insert_default().add(traffic);
    }

    /// A declared edge: lossy and acyclic until it is said what it is.
    fn edge(&mut self, (from, to, message, kind): (&str, &str, &str, EdgeKind)) -> &mut Edge {
        let (from, to, message) = (from.to_owned(), to.to_owned(), message.to_owned());
        let key = (from.clone(), to.clone(), message.clone(), kind);
        self.edges.entry(key).or_insert_with(|| Edge {
            from,
            to,
            message,
            kind,
            is_declared: true,
            waits: false,
            is_lossy: true,
            is_acyclic: true,
            observed: None,
        })
    }
}

impl Supervisor {
    /// Returns what flows between the actors of the tree, as they [declare](Actor::flow) it; nothing is run.
    ///
    /// Actors that come later, below a [dynamic](Self::dynamic) supervisor, are there as far as others
    /// declare to send to them.
    #[must_use]
    pub fn flow_graph(&self) -> FlowGraph {
        self.kinds(&group_name).graph()
    }

    /// The kinds of actors in the tree.
    pub(crate) fn kinds(&self, name: NameOf<'_>) -> Kinds {
        let mut kinds = Kinds::default();
        self.declare(&mut kinds, name);
        kinds
    }
}
