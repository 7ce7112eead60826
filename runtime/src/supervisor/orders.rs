//! What users want of a supervisor: children started, stopped, started again and removed, settings changed.

use std::sync::Arc;

use greenroom_supervision::{ChildId, Restart, Strategy};

use super::{Life, NotStarted, Settings};
use crate::book::Place;
use crate::role::{Change, Ended, Order, Role, Standing};
use crate::{
    Path, RemoveChildError, RestartChildError, StartCause, StartChildError, StartError,
    StopChildError, Supervisor, UpdateError,
};

impl Life {
    /// Carries out an order and answers it; the asker may be gone, and it is done all the same.
    pub(super) async fn carry_out(&mut self, order: Order, asker: Option<&Path>) {
        self.tell_order(&order, asker);
        match order {
            Order::Start {
                role,
                standing,
                reply,
            } => {
                let _ = reply.send(self.start_new(role, standing).await);
            }
            Order::Stop { path, reply } => {
                let _ = reply.send(self.stop_by_order(&path).await);
            }
            Order::Restart { path, reply } => {
                let _ = reply.send(self.start_again(&path).await);
            }
            Order::Remove { path, reply } => {
                let _ = reply.send(self.remove(&path));
            }
            Order::Change { change, reply } => {
                let _ = reply.send(self.change(change));
            }
        }
    }

    fn find(&self, path: &Path) -> Option<(ChildId, Place)> {
        self.lead.with(|book| {
            let id = book.find(path.as_str())?;
            Some((id, book.place(id)?))
        })
    }

    async fn start_new(
        &mut self,
        role: Arc<dyn Role>,
        standing: Standing,
    ) -> Result<(), StartChildError> {
        self.lead.with(|book| book.add_new(&role, standing))?;
        let id = role.id();
        match self.start(&[id], StartCause::Order).await {
            Ok(()) if self.is_up(id) => Ok(()),
            Ok(()) => Err(StartChildError::Ignored(role.path().clone())),
            Err(why) => Err(self.not_started(id, why)),
        }
    }

    /// Forgets a new child that did not come up.
    pub(super) fn not_started(&mut self, id: ChildId, why: NotStarted) -> StartChildError {
        if let NotStarted::Failed(_, ended) = &why {
            self.tell_start_failed(id, ended);
        }
        self.forget(id);
        match why {
            NotStarted::Failed(
                _,
                Ended {
                    failure: Some(failure),
                    ..
                },
            ) => StartChildError::Failed(failure),
            _ => StartChildError::SupervisorStopped(self.cell.path.clone()),
        }
    }

    async fn stop_by_order(&mut self, path: &Path) -> Result<(), StopChildError> {
        match self.find(path) {
            None => return Err(StopChildError::NotFound(path.clone())),
            Some((_, Place::Down)) => {}
            Some((id, Place::Running | Place::Restarting)) => {
                self.stop_child(id, true).await;
                self.leave_down(id);
            }
        }
        Ok(())
    }

    async fn start_again(&mut self, path: &Path) -> Result<(), RestartChildError> {
        let id = match self.find(path) {
            None => return Err(RestartChildError::NotFound(path.clone())),
            Some(_) if self.cell.is_dynamic => {
                return Err(RestartChildError::Dynamic(self.cell.path.clone()));
            }
            Some((_, Place::Running)) => return Err(RestartChildError::Running(path.clone())),
            Some((_, Place::Restarting)) => {
                return Err(RestartChildError::Restarting(path.clone()));
            }
            Some((id, Place::Down)) => id,
        };
        self.lead.with(|book| book.law.started(id));
        match self.start(&[id], StartCause::Order).await {
            Ok(()) if self.is_up(id) => Ok(()),
            Ok(()) => Err(RestartChildError::Ignored(path.clone())),
            Err(why) => {
                if let NotStarted::Failed(_, ended) = &why {
                    self.tell_start_failed(id, ended);
                }
                self.leave_down(id);
                Err(match why {
                    NotStarted::Failed(
                        _,
                        Ended {
                            failure: Some(failure),
                            ..
                        },
                    ) => RestartChildError::Failed(failure),
                    _ => RestartChildError::SupervisorStopped(self.cell.path.clone()),
                })
            }
        }
    }

    fn remove(&mut self, path: &Path) -> Result<(), RemoveChildError> {
        match self.find(path) {
            None => Err(RemoveChildError::NotFound(path.clone())),
            Some(_) if self.cell.is_dynamic => {
                Err(RemoveChildError::Dynamic(self.cell.path.clone()))
            }
            Some((_, Place::Running)) => Err(RemoveChildError::Running(path.clone())),
            Some((_, Place::Restarting)) => Err(RemoveChildError::Restarting(path.clone())),
            Some((id, Place::Down)) if self.is_partition(id) => {
                Err(RemoveChildError::Partition(path.clone()))
            }
            Some((id, Place::Down)) => {
                self.forget(id);
                Ok(())
            }
        }
    }

    fn is_partition(&self, id: ChildId) -> bool {
        let partitions = self.cell.partitions.as_ref();
        partitions.is_some_and(|all| all.roles().iter().any(|role| role.id() == id))
    }

    fn change(&mut self, change: Change) -> Result<(), UpdateError> {
        let mut settings = self.cell.settings();
        match change {
            Change::Limit(limit) => settings.limit = limit,
            Change::MaxChildren(max) => settings.max_children = Some(max),
            Change::Tree(tree) => return self.update(*tree),
        }
        self.set(settings);
        Ok(())
    }

    fn set(&mut self, settings: Settings) {
        *self.cell.settings.lock() = settings;
        self.lead.with(|book| book.set(settings));
    }

    /// Takes over the settings of a tree, and those of the children that it lists; all of it or nothing.
    fn update(&mut self, tree: Supervisor) -> Result<(), UpdateError> {
        let cell = Arc::clone(&self.cell);
        if tree.name != cell.path.name() {
            return Err(UpdateError::OtherName {
                supervisor: cell.path.clone(),
                name: tree.name,
            });
        }
        let is_dynamic = tree.settings.strategy == Strategy::Dynamic;
        if is_dynamic != cell.is_dynamic {
            return Err(UpdateError::Dynamic(cell.path.clone()));
        }
        let partitions = cell.partitions.as_ref().map(|all| all.roles().len());
        if tree.partitions != partitions {
            return Err(UpdateError::Partitions {
                supervisor: cell.path.clone(),
                partitions: partitions.unwrap_or(0),
            });
        }
        tree.check_below(cell.path.parent().as_ref())
            .map_err(UpdateError::InvalidTree)?;
        for child in &tree.children {
            let path = cell.path.join(child.name());
            let Some((id, _)) = self.find(&path) else {
                if is_dynamic {
                    return Err(UpdateError::Dynamic(cell.path.clone()));
                }
                continue;
            };
            let Some(role) = self.role(id) else { continue };
            let (found, wanted) = (role.kind(), child.kind());
            if found != wanted {
                return Err(UpdateError::OtherType {
                    path,
                    wanted,
                    found,
                });
            }
            if role.is_built_once() && child.standing().restart != Restart::Temporary {
                return Err(UpdateError::BuiltOnce(path));
            }
        }
        let admitted = cell.system.admit_tree(&tree);
        admitted.map_err(|cycle| UpdateError::InvalidTree(StartError::WaitingCycle(cycle)))?;
        self.set(tree.settings);
        for child in tree.children {
            let (path, standing) = (cell.path.join(child.name()), child.standing());
            let Some((id, _)) = self.find(&path) else {
                let role = child.build(&cell.path, cell.next_id(), &cell.system);
                self.lead.with(|book| book.add_down(&role, standing));
                let mut all = cell.children.lock();
                // One of that name that was removed does not come back with it.
                all.retain(|(other, _)| other.path() != role.path());
                all.push((role, standing));
                continue;
            };
            self.lead.with(|book| book.set_standing(id, standing));
            if let Some(role) = self.role(id)
                && let Some(limit) = child.stop_within()
            {
                role.set_stop_within(limit);
            }
            let mut all = cell.children.lock();
            if let Some((_, kept)) = all.iter_mut().find(|(role, _)| role.id() == id) {
                *kept = standing;
            }
        }
        Ok(())
    }
}
