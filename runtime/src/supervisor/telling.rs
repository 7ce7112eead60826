//! What a supervisor tells of its decisions, where it takes more than a name.

use std::time::Duration;

use greenroom_supervision::{ChildId, Exit, Restart};

use super::{Life, SupervisorCell};
use crate::metrics::Decision;
use crate::role::{Change, Ended, Order};
use crate::{Decided, ExitReason, Path, SupervisionEvent, SupervisionOrder, SupervisorDecision};

impl Life {
    /// Children are to be started after a while, as this one has ended.
    pub(super) fn tell_restart(
        &self,
        cause: ChildId,
        ended: &Ended,
        after: Duration,
        start: &[ChildId],
    ) {
        let system = &self.cell.system;
        system.meters.count_decision(Decision::Restart);
        if !system.is_seen(Decision::Restart.level()) {
            return;
        }
        let event = self.lead.with(|book| {
            let siblings = start.iter().filter(|id| **id != cause);
            let siblings = siblings.filter_map(|id| book.table.get(id.0));
            let siblings = siblings.map(|child| child.role.path().clone()).collect();
            let role = &*book.table.get(cause.0)?.role;
            Some(book.restarting(role, ended, after, siblings))
        });
        if let Some(event) = event {
            system.show_all(&event);
        }
    }

    /// This supervisor gives up; on standard error where nobody listens to the log.
    pub(super) fn tell_escalation(&self, cause: ChildId, ended: &Ended) {
        let limit = self.cell.settings().limit;
        let event = || SupervisionEvent::GaveUp {
            supervisor: self.cell.path.clone(),
            child: self.path_of(cause),
            reason: ended.exit_reason(),
            failure: ended.failure.clone(),
            limit: limit.restarts(),
            within: limit.within(),
        };
        self.cell.system.decided(Decision::GiveUp, event);
    }

    /// A child did not come up, and that was not a restart.
    pub(super) fn tell_start_failed(&self, id: ChildId, ended: &Ended) {
        if let Some(failure) = &ended.failure {
            failure.decided(SupervisorDecision {
                supervisor: self.cell.path.clone(),
                child: self.path_of(id),
                decided: Decided::StartFailed,
            });
        }
        let event = || SupervisionEvent::StartFailed {
            supervisor: self.cell.path.clone(),
            child: self.path_of(id),
            reason: ended.exit_reason(),
        };
        self.cell.system.decided(Decision::StartFailed, event);
    }

    /// Somebody wants something of this supervisor.
    pub(super) fn tell_order(&self, order: &Order, by: Option<&Path>) {
        let decision = match order {
            Order::Change { .. } => Decision::Change,
            _ => Decision::Order,
        };
        let event = || SupervisionEvent::Ordered {
            supervisor: self.cell.path.clone(),
            order: order.shown(),
            by: by.cloned(),
        };
        self.cell.system.decided(decision, event);
    }
}

impl Order {
    fn shown(&self) -> SupervisionOrder {
        match self {
            Order::Start { role, .. } => SupervisionOrder::Start(role.path().clone()),
            Order::Stop { path, .. } => SupervisionOrder::Stop(path.clone()),
            Order::Restart { path, .. } => SupervisionOrder::Restart(path.clone()),
            Order::Remove { path, .. } => SupervisionOrder::Remove(path.clone()),
            Order::Change { change, .. } => match change {
                Change::Limit(limit) => SupervisionOrder::SetLimit {
                    restarts: limit.restarts(),
                    within: limit.within(),
                },
                Change::MaxChildren(max) => SupervisionOrder::SetMaxChildren(*max),
                Change::Tree(_) => SupervisionOrder::Update,
            },
        }
    }
}

/// Those that were stopped together and did not end as who is told to, by how they ended.
///
/// There are as many groups as ways to end in the program's code, whatever the
/// texts of the errors.
#[derive(Default)]
pub(super) struct Offenders(Vec<(ExitReason, Path, u64)>);

impl Offenders {
    /// Adds a child that ended, unless that was in order.
    pub(super) fn add(&mut self, child: &Path, restart: Restart, ended: &Ended) {
        let is_in_order = match ended.exit {
            Exit::Shutdown if ended.why.is_none() => true,
            Exit::Shutdown | Exit::Normal => restart != Restart::Permanent,
            Exit::Failed | Exit::Killed => false,
        };
        if is_in_order {
            return;
        }
        let reason = ended.exit_reason();
        match self.0.iter_mut().find(|(one, ..)| are_alike(one, &reason)) {
            Some((_, _, children)) => *children += 1,
            None => self.0.push((reason, child.clone(), 1)),
        }
    }

    pub(super) fn tell(self, supervisor: &SupervisorCell) {
        for (reason, child, children) in self.0 {
            let event = || SupervisionEvent::StopFailed {
                supervisor: supervisor.path.clone(),
                child,
                reason,
                children,
            };
            supervisor.system.decided(Decision::StopFailed, event);
        }
    }
}

/// Whether two ends are of the same sort, but for the text.
fn are_alike(a: &ExitReason, b: &ExitReason) -> bool {
    match (a, b) {
        (ExitReason::Failed(a), ExitReason::Failed(b)) => {
            a.kind() == b.kind() && a.during() == b.during()
        }
        _ => std::mem::discriminant(a) == std::mem::discriminant(b),
    }
}
