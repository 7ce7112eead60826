//! A life whose actor is paused: it waits between two messages.

use std::sync::Arc;

use super::{Closed, Life};
use crate::Actor;
use crate::cell::ActorCell;
use crate::core::pooled::Pooled;
use crate::role::Role;
use crate::snapshot::ActorState;

impl<A: Actor> Life<A> {
    /// What pended between two messages has ended: the handler of one, or the wait at the gate.
    pub(super) fn looks_around(&mut self, cell: &ActorCell<A>) {
        if cell.state() != ActorState::Paused && !cell.gate().is_some_and(|gate| gate.is_closed()) {
            return;
        }
        if !self.desk.is_killed() && cell.state() == ActorState::Paused {
            cell.set_state(ActorState::Running);
        }
        // Words are heeded while it is paused; a stop ends the pause, so that what was accepted is handled.
        while self.is_to_wait(cell)
            && let Some(word) = cell.mailbox.next_word(&self.desk)
        {
            self.obey(cell, word);
        }
        self.wait_at_gate(cell);
    }

    fn is_to_wait(&self, cell: &ActorCell<A>) -> bool {
        let is_free = self.takes_messages() && !self.draining && !self.desk.is_killed();
        is_free && cell.gate().is_some_and(|gate| gate.is_closed())
    }

    /// Waits between two messages, if the actor is paused: as at a handler that pends.
    pub(super) fn wait_at_gate(&mut self, cell: &ActorCell<A>) {
        if let Some(gate) = cell.gate()
            && self.is_to_wait(cell)
        {
            let gate = Arc::clone(gate);
            cell.set_state(ActorState::Paused);
            self.future = Some(Pooled::new(Closed, || async move {
                gate.changed().await;
                Ok(())
            }));
        }
    }
}
