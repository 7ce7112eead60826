//! How others reach a supervisor: children that come and go.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use tokio::sync::oneshot;

use crate::book::AtOnce;
use crate::error::{StartChildError, StopChildError};
use crate::path::is_valid_name;
use crate::role::{Asker, Note, Role, asker, current_actor};
use crate::supervisor::SupervisorCell;
use crate::{Actor, ActorRef, Path, Spec};

/// A reference to a running supervisor, through which children come and go.
///
/// As an actor's, it names the role: it stays good when the supervisor is
/// restarted. Children added through it do not come back with such a restart;
/// those in the tree do (as in OTP).
#[derive(Clone)]
pub struct SupervisorRef {
    cell: Arc<SupervisorCell>,
}

impl SupervisorRef {
    pub(crate) fn new(cell: Arc<SupervisorCell>) -> Self {
        SupervisorRef { cell }
    }

    /// Returns the supervisor's place in the tree.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.cell.path
    }

    /// Starts a child and returns its reference once its `start` has finished.
    ///
    /// Called from an actor, it runs `start` then and there, on the caller's stack,
    /// until it first pends, unless the supervisor is busy; after 128 of these in one
    /// go it lets other actors run first. A supervisor whose child
    /// is long in starting attends to nothing else meanwhile.
    ///
    /// # Errors
    ///
    /// [`StartChildError`] when the name is taken or cannot be one, the child's
    /// `start` failed, the supervisor is stopping, or a child asks in its own
    /// `start` or while it is being stopped: each would wait for the other.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future once the order is given does not take it back.
    pub async fn start_child<A: Actor>(
        &self,
        spec: Spec<A>,
    ) -> Result<ActorRef<A>, StartChildError> {
        if !is_valid_name(&spec.name) {
            return Err(StartChildError::InvalidName(spec.name));
        }
        let stopped = || StartChildError::SupervisorStopped(self.cell.path.clone());
        // Who has started so many in one go lets others run first; then it can go on here, and need not ask the
        // supervisor's task. Before the child has its number: numbers rise in the order of starts.
        if matches!(asker(), Asker::Tired | Asker::Deep) {
            let_others_run().await;
        }
        let restart = spec.restart;
        let path = self.cell.path.join(&spec.name);
        let (id, system) = (self.cell.next_id(), Arc::clone(&self.cell.system));
        let child = spec.cell(path, id, system, true);
        let role = Arc::clone(&child) as Arc<dyn Role>;
        let lead = self.cell.lead().ok_or_else(stopped)?;
        let answer = match lead.start(&role, restart) {
            AtOnce::Started => return Ok(ActorRef::new(child)),
            AtOnce::Refused(error) => return Err(error),
            AtOnce::Launched(id, incarnation) => {
                let (reply, answer) = oneshot::channel();
                let note = Note::Launched {
                    id,
                    incarnation,
                    reply,
                };
                lead.notes.send(note).map_err(|_| stopped())?;
                answer
            }
            AtOnce::NotNow => {
                drop(lead);
                let asker = current_actor();
                let permit = self.cell.permit(asker.as_ref()).await;
                let (reply, answer) = oneshot::channel();
                let note = Note::Start {
                    role,
                    restart,
                    reply,
                    permit,
                    asker,
                };
                if !self.cell.send(note) {
                    return Err(stopped());
                }
                answer
            }
        };
        answer.await.unwrap_or_else(|_| Err(stopped()))?;
        Ok(ActorRef::new(child))
    }

    /// Stops a child for good, once it has handled what is in its mailbox.
    ///
    /// # Errors
    ///
    /// [`StopChildError`] when there is no child of that name, the supervisor is
    /// stopping, or the child itself asks, which would wait for its own end: it
    /// calls [`Context::stop`](crate::Context::stop).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future once the order is given does not take it back.
    pub async fn stop_child(&self, name: &str) -> Result<(), StopChildError> {
        let stopped = || StopChildError::SupervisorStopped(self.cell.path.clone());
        let path = self.cell.path.join(name);
        let asker = current_actor();
        if asker.as_ref().is_some_and(|asker| asker.is_within(&path)) {
            return Err(StopChildError::WouldDeadlock(self.cell.path.clone()));
        }
        let permit = self.cell.permit(asker.as_ref()).await;
        let (reply, answer) = oneshot::channel();
        let note = Note::StopChild {
            path,
            reply,
            permit,
            asker,
        };
        if !self.cell.send(note) {
            return Err(stopped());
        }
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }
}

/// Ends the run that calls this; it goes on when those that are ready have had their turn.
async fn let_others_run() {
    let mut has_ended = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut has_ended, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl fmt::Debug for SupervisorRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SupervisorRef({})", self.cell.path)
    }
}
