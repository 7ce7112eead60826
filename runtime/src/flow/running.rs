//! The flow graph of a running system.

use std::any::TypeId;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::{Edge, FlowGraph, Kinds, group_name};
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
        let is_silent = super::declared::Says::of::<A>().is_empty();
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
    #[must_use]
    pub fn flow_graph(&self) -> FlowGraph {
        self.shared().flow.kinds.lock().graph()
    }
}
