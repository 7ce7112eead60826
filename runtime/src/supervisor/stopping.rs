//! How a supervisor stops children, waits for their ends, and what becomes of those that take too long.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use greenroom_supervision::ChildId;
use tokio::time::Instant;

use super::telling::Offenders;
use super::{DRAIN, Life, RUN};
use crate::SupervisionEvent;
use crate::metrics::Decision;
use crate::role::{CUT_OFF_AFTER, Note, Role};
use crate::shared::{Shared, after as in_future};
use crate::snapshot::ActorState;

/// A life that was told to stop and is waited for.
pub(super) struct Dying {
    incarnation: u64,
    pub(super) role: Arc<dyn Role>,
    /// When patience ends; `None` for a supervisor, whose children have deadlines of their own, and for an actor that
    /// may take for ever.
    deadline: Option<Instant>,
    killed: bool,
    /// It was not asked to stop, so it cannot be blamed for how it ends.
    is_unasked: bool,
}

impl Life {
    /// Stops a child that runs and waits until it is down; one that waits for its restart stays down.
    pub(super) async fn stop_child(&mut self, id: ChildId, drain: bool) {
        for pending in &mut self.pending {
            pending.start.retain(|other| *other != id);
        }
        let dying = self.tell_to_stop(id, drain);
        self.await_ends(dying.into_iter().collect()).await;
    }

    /// Tells a child that runs to stop.
    fn tell_to_stop(&self, id: ChildId, drain: bool) -> Option<(ChildId, Dying)> {
        let (role, incarnation) = self.lead.with(|book| {
            let child = book.table.get(id.0)?;
            Some((Arc::clone(&child.role), child.running?.get()))
        })?;
        if role.stop_within() == Some(Duration::ZERO) {
            // It is not asked, even if it could answer at once.
            role.kill(incarnation);
            return Some((id, Dying::killed(incarnation, &role)));
        }
        if self.order() != RUN && role.state() == ActorState::Starting {
            // A start that hangs must not hold up the stop.
            role.kill(incarnation);
            return Some((id, Dying::cut_short(incarnation, &role)));
        }
        role.stop(incarnation, drain);
        Some((id, Dying::new(incarnation, &role)))
    }

    /// Waits until these lives are over; each that misses its deadline is cut off.
    pub(super) async fn await_ends(&mut self, mut dying: BTreeMap<ChildId, Dying>) {
        self.lead.with(|book| {
            for id in dying.keys() {
                if let Some(child) = book.table.get_mut(id.0) {
                    child.running = None;
                }
            }
        });
        let (mut offenders, lead) = (Offenders::default(), Arc::clone(&self.lead));
        let mut is_over = |dying: &mut BTreeMap<ChildId, Dying>, note: &Note| {
            let Note::Ended {
                id,
                incarnation,
                ended,
                ..
            } = note
            else {
                return false;
            };
            let is_its = |dying: &Dying| dying.incarnation == *incarnation;
            if !dying.get(id).is_some_and(is_its) {
                return false;
            }
            if let Some(dead) = dying.remove(id)
                && !dead.is_unasked
                && let Some((restart, _)) = lead.with(|book| book.law.terms(*id))
            {
                offenders.add(dead.role.path(), restart, ended);
            }
            true
        };
        // Some may have ended while something else was waited for.
        let backlog = std::mem::take(&mut self.backlog);
        for note in backlog {
            if self.cannot_wait(&dying, &note) {
                self.refuse(note);
            } else if !is_over(&mut dying, &note) {
                self.backlog.push_back(note);
            }
        }
        let earliest =
            |dying: &BTreeMap<ChildId, Dying>| dying.values().filter_map(|d| d.deadline).min();
        let mut due = earliest(&dying);
        while !dying.is_empty() {
            match self.receive(due).await {
                Some(note) if is_over(&mut dying, &note) => {}
                Some(note) if self.cannot_wait(&dying, &note) => self.refuse(note),
                Some(note) => self.backlog.push_back(note),
                None => {
                    let now = Instant::now();
                    let system = &self.cell.system;
                    dying.retain(|_, d| {
                        d.deadline.is_none_or(|deadline| deadline > now)
                            || d.lose_patience(now, system)
                    });
                    due = earliest(&dying);
                }
            }
        }
        offenders.tell(&self.cell);
    }

    /// Stops all children for good.
    pub(super) async fn stop_all(&mut self) {
        let drain = self.order() == DRAIN;
        self.stop_each(drain).await;
        self.let_go();
    }

    /// Stops all children, the latest first; those of a dynamic supervisor together.
    pub(super) async fn stop_each(&mut self, drain: bool) {
        self.pending.clear();
        let ids: Vec<ChildId> = self.lead.with(|book| book.law.children().rev().collect());
        if self.cell.is_dynamic {
            let dying = ids
                .iter()
                .filter_map(|id| self.tell_to_stop(*id, drain))
                .collect();
            self.await_ends(dying).await;
        }
        for id in ids {
            self.stop_child(id, drain).await;
            if drain && let Some(role) = self.role(id) {
                role.retire();
            }
        }
    }

    /// Ends the roles that do not come back with a restart of this supervisor: those it was not built with.
    pub(super) fn let_go(&self) {
        for role in self.lead.with(|book| book.newcomers()) {
            role.retire();
        }
    }
}

impl Dying {
    pub(super) fn new(incarnation: u64, role: &Arc<dyn Role>) -> Self {
        let limit = role.stop_within().filter(|limit| *limit < Duration::MAX);
        let deadline = limit.map(in_future);
        Dying {
            incarnation,
            role: Arc::clone(role),
            deadline,
            killed: false,
            is_unasked: false,
        }
    }

    /// One whose start has been cut short.
    pub(super) fn cut_short(incarnation: u64, role: &Arc<dyn Role>) -> Self {
        Dying {
            is_unasked: true,
            ..Dying::new(incarnation, role)
        }
    }

    /// One that has been cut short already.
    fn killed(incarnation: u64, role: &Arc<dyn Role>) -> Self {
        Dying {
            deadline: Some(in_future(CUT_OFF_AFTER)),
            killed: true,
            is_unasked: true,
            ..Dying::new(incarnation, role)
        }
    }

    /// Cuts the life short; `false` if that has been done before and it is left behind.
    fn lose_patience(&mut self, now: Instant, system: &Shared) -> bool {
        let is_left_behind = self.killed;
        let event = || SupervisionEvent::StopTimedOut {
            supervisor: self.role.path().parent(),
            child: self.role.path().clone(),
            incarnation: self.incarnation,
            is_left_behind,
        };
        if is_left_behind {
            system.decided(Decision::LeaveBehind, event);
            Arc::clone(&self.role).cut_off(self.incarnation);
            return false;
        }
        system.decided(Decision::StopTimedOut, event);
        self.role.kill(self.incarnation);
        self.killed = true;
        self.deadline = Some(now + CUT_OFF_AFTER);
        true
    }
}
