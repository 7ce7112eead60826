//! How others reach a supervisor: children that come and go.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use greenroom_supervision::Limit;
use tokio::sync::oneshot;

use crate::book::{AtOnce, Book};
use crate::path::is_valid_name;
use crate::role::{
    Asker, Change, Note, Order, Refusal, Reply, Role, Standing, asker, current_actor,
};
use crate::supervisor::SupervisorCell;
use crate::watchers::Watched;
use crate::{
    Actor, ActorRef, ChildCounts, ChildInfo, ChildInfoError, Path, RemoveChildError,
    RestartChildError, Spec, StartChildError, StopChildError, Supervisor, UpdateError,
};

/// A reference to a running supervisor, through which children come and go, are looked at and handled.
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

    pub(crate) fn cell(&self) -> &SupervisorCell {
        &self.cell
    }

    pub(crate) fn watched(&self) -> Arc<dyn Watched> {
        Arc::clone(&self.cell) as Arc<dyn Watched>
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
    /// `start` failed, it [declares](Actor::flow) that it may wait for others in a circle,
    /// the supervisor is stopping, or a child asks in its own
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
        let path = self.cell.path.join(&spec.name);
        let standing = self.check(spec.standing, &path)?;
        let admitted = spec.admit(&self.cell.system);
        admitted.map_err(StartChildError::WaitingCycle)?;
        let_the_tired_rest().await;
        let (id, system) = (self.cell.next_id(), Arc::clone(&self.cell.system));
        let child = spec.cell(path, id, system, true);
        let role = Arc::clone(&child) as Arc<dyn Role>;
        self.start(role, standing).await?;
        Ok(ActorRef::new(child))
    }

    /// Starts a supervisor with all that is below it, and returns its reference once all of that is up.
    ///
    /// # Errors
    ///
    /// As [`start_child`](Self::start_child); [`StartChildError::InvalidTree`] when what
    /// is below it cannot be.
    ///
    /// # Cancel safety
    ///
    /// As [`start_child`](Self::start_child).
    pub async fn start_supervisor(
        &self,
        tree: Supervisor,
    ) -> Result<SupervisorRef, StartChildError> {
        if !is_valid_name(&tree.name) {
            return Err(StartChildError::InvalidName(tree.name));
        }
        let standing = self.check(tree.standing, &self.cell.path.join(&tree.name))?;
        tree.check_below(Some(&self.cell.path))
            .map_err(StartChildError::InvalidTree)?;
        let admitted = self.cell.system.admit_tree(&tree);
        admitted.map_err(StartChildError::WaitingCycle)?;
        let_the_tired_rest().await;
        let (parent, id) = (Some(&self.cell.path), self.cell.next_id());
        let child = tree.build(parent, id, &self.cell.system);
        let role = Arc::clone(&child) as Arc<dyn Role>;
        self.start(role, standing).await?;
        Ok(SupervisorRef::new(child))
    }

    /// Whether a child can be had on these terms.
    fn check(&self, standing: Standing, path: &Path) -> Result<Standing, StartChildError> {
        let checked = standing.check(self.cell.settings().auto_shutdown);
        checked.map_err(|why| StartChildError::BadCombination {
            path: path.clone(),
            why,
        })?;
        Ok(standing)
    }

    /// Starts a new child on the spot, or has it started.
    async fn start(&self, role: Arc<dyn Role>, standing: Standing) -> Result<(), StartChildError> {
        let stopped = || StartChildError::SupervisorStopped(self.cell.path.clone());
        let lead = self.cell.lead().ok_or_else(stopped)?;
        match lead.start(&self.cell.system, &role, standing) {
            AtOnce::Started => Ok(()),
            AtOnce::Refused(error) => Err(error),
            AtOnce::Launched(id, incarnation) => {
                let (reply, answer) = oneshot::channel();
                let note = Note::Launched {
                    id,
                    incarnation,
                    reply,
                };
                lead.notes.send(note).map_err(|_| stopped())?;
                drop(lead);
                answer.await.unwrap_or_else(|_| Err(stopped()))
            }
            AtOnce::NotNow => {
                drop(lead);
                self.order(|reply| Order::Start {
                    role,
                    standing,
                    reply,
                })
                .await
            }
        }
    }

    /// Gives an order to the supervisor's task, and waits for the answer.
    async fn order<E: From<(Refusal, Path)>>(
        &self,
        order: impl FnOnce(Reply<E>) -> Order,
    ) -> Result<(), E> {
        let stopped = || E::from((Refusal::SupervisorStopped, self.cell.path.clone()));
        let asker = current_actor();
        let permit = self.cell.permit(asker.as_ref()).await;
        let (reply, answer) = oneshot::channel();
        let note = Note::Order {
            order: order(reply),
            permit,
            asker,
        };
        if !self.cell.send(note) {
            return Err(stopped());
        }
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// Stops a child, once it has handled what is in its mailbox; it keeps its place.
    ///
    /// It stays down, and whoever sends to it gets the message back, until it is
    /// started again by [`restart_child`](Self::restart_child) or along with its
    /// group, or [removed](Self::remove_child). One that waits for its restart is not
    /// started any more. One that is down already is left as it is. A
    /// [temporary](crate::Restart::Temporary) child, and one of a dynamic supervisor, is
    /// forgotten.
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
        let path = self.cell.path.join(name);
        if current_actor().is_some_and(|asker| asker.is_within(&path)) {
            return Err(StopChildError::WouldDeadlock(self.cell.path.clone()));
        }
        self.order(|reply| Order::Stop { path, reply }).await
    }

    /// Starts a child that is down: it was stopped, has ended for good, or had nothing to run.
    ///
    /// References to it are good again.
    ///
    /// # Errors
    ///
    /// [`RestartChildError`] when there is no child of that name, it runs or is about
    /// to, its start came to nothing, or the supervisor is stopping.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future once the order is given does not take it back.
    pub async fn restart_child(&self, name: &str) -> Result<(), RestartChildError> {
        let path = self.cell.path.join(name);
        self.order(|reply| Order::Restart { path, reply }).await
    }

    /// Forgets a child that is down, so that its name is free.
    ///
    /// One that is in the tree comes back when the supervisor itself is restarted.
    ///
    /// # Errors
    ///
    /// [`RemoveChildError`] when there is no child of that name, it runs or is about
    /// to, it is a [partition](Supervisor::partitioned), or the supervisor is stopping.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future once the order is given does not take it back.
    pub async fn remove_child(&self, name: &str) -> Result<(), RemoveChildError> {
        let path = self.cell.path.join(name);
        self.order(|reply| Order::Remove { path, reply }).await
    }

    // ===== to look =====

    /// Returns the children as they are now, in the order of their start.
    ///
    /// It does not wait for the supervisor, so it tells the truth also while that is
    /// busy with a child.
    ///
    /// # Errors
    ///
    /// [`ChildInfoError::SupervisorStopped`].
    pub fn children(&self) -> Result<Vec<ChildInfo>, ChildInfoError> {
        let children = self.look(Book::children)?;
        let infos = children
            .iter()
            .map(|(role, standing)| ChildInfo::of(&**role, *standing));
        Ok(infos.collect())
    }

    /// Returns one child as it is now.
    ///
    /// # Errors
    ///
    /// [`ChildInfoError`] when there is no child of that name, or the supervisor has
    /// stopped.
    pub fn child(&self, name: &str) -> Result<ChildInfo, ChildInfoError> {
        let path = self.cell.path.join(name);
        let known = self.look(|book| book.known_as(path.as_str()))?;
        let (role, standing) = known.ok_or(ChildInfoError::NotFound(path))?;
        Ok(ChildInfo::of(&*role, standing))
    }

    /// Returns how many children there are; as [`children`](Self::children), and cheaper.
    ///
    /// # Errors
    ///
    /// [`ChildInfoError::SupervisorStopped`].
    pub fn count_children(&self) -> Result<ChildCounts, ChildInfoError> {
        self.look(Book::count)
    }

    fn look<R>(&self, f: impl FnOnce(&Book) -> R) -> Result<R, ChildInfoError> {
        let seen = self.cell.lead().and_then(|lead| lead.look(f));
        seen.ok_or_else(|| ChildInfoError::SupervisorStopped(self.cell.path.clone()))
    }

    // ===== to hold still =====

    /// Lets a child handle no further message until it is resumed: see [`ActorRef::pause`](crate::ActorRef::pause).
    ///
    /// One that is down waits when it is started again. Of a child that is a supervisor
    /// all actors are paused that are below it now; who is started there later is not.
    ///
    /// # Errors
    ///
    /// [`ChildInfoError`] when there is no child of that name, or the supervisor has
    /// stopped.
    pub fn pause_child(&self, name: &str) -> Result<(), ChildInfoError> {
        self.set_paused(name, true)
    }

    /// Lets a child go on that was paused, or all actors below it.
    ///
    /// # Errors
    ///
    /// As [`pause_child`](Self::pause_child).
    pub fn resume_child(&self, name: &str) -> Result<(), ChildInfoError> {
        self.set_paused(name, false)
    }

    fn set_paused(&self, name: &str, is_paused: bool) -> Result<(), ChildInfoError> {
        let path = self.cell.path.join(name);
        let known = self.look(|book| book.known_as(path.as_str()))?;
        let (role, _) = known.ok_or_else(|| ChildInfoError::NotFound(path.clone()))?;
        // One that is down is in no table, and is held still when it is up again.
        let mut roles = vec![role];
        let registry = &self.cell.system.registry;
        if roles.iter().any(|role| role.is_supervisor()) {
            registry.for_each_shared(|role| {
                if role.path().is_within(&path) && *role.path() != path {
                    roles.push(Arc::clone(role));
                }
            });
        }
        // Not under the lock of the table: whoever is waked for it is run by its executor's code.
        for role in roles {
            role.set_paused(is_paused);
        }
        Ok(())
    }

    // ===== to change =====

    /// Allows `restarts` within the sliding window `within` from here on; see [`Supervisor::restart_limit`].
    ///
    /// What was restarted before goes on counting. As all settings it belongs to the
    /// role: a supervisor that is restarted keeps it.
    ///
    /// # Errors
    ///
    /// [`UpdateError`] when the supervisor is stopping, or could not answer the actor
    /// that asks.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future once the order is given does not take it back.
    pub async fn set_limit(&self, restarts: u32, within: Duration) -> Result<(), UpdateError> {
        let change = Change::Limit(Limit::new(restarts, within));
        self.order(|reply| Order::Change { change, reply }).await
    }

    /// Bounds how many children there may be when one more is to be started; see [`Supervisor::max_children`].
    ///
    /// Nobody is stopped by it.
    ///
    /// # Errors
    ///
    /// As [`set_limit`](Self::set_limit).
    ///
    /// # Cancel safety
    ///
    /// As [`set_limit`](Self::set_limit).
    pub async fn set_max_children(&self, max: usize) -> Result<(), UpdateError> {
        let change = Change::MaxChildren(max);
        self.order(|reply| Order::Change { change, reply }).await
    }

    /// Takes over all settings of another tree of the same name, while it runs: OTP's code change of a supervisor.
    ///
    /// | the tree's | what is done |
    /// |---|---|
    /// | settings: strategy, limit, back-off, auto-shutdown, bound | are those of the supervisor from here on; what the tree does not say is the default |
    /// | child that is there | its restart type, whether it is significant, and its time to stop are changed; arguments, mailbox and whatever is below a supervisor stay |
    /// | child that is not there | is added and *not started*: [`restart_child`](Self::restart_child) does that, or the restart of its group |
    /// | lack of a child that is there | nothing: the child stays |
    ///
    /// When the supervisor starts it again, and whether it is significant itself, is
    /// the affair of the one above it. How many [partitions](Supervisor::partitioned)
    /// there are is settled at the start, so the tree has as many. Nobody is stopped or
    /// started by an update. It is taken over as a whole, or not at all.
    ///
    /// # Errors
    ///
    /// [`UpdateError`] when the tree cannot be, or not in place of this one.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future once the order is given does not take it back.
    pub async fn update(&self, tree: Supervisor) -> Result<(), UpdateError> {
        let change = Change::Tree(Box::new(tree));
        self.order(|reply| Order::Change { change, reply }).await
    }
}

/// Lets others run where so many children were started in one go that the next could not be started on the spot.
///
/// To be called before a child has its number: numbers rise in the order of starts.
async fn let_the_tired_rest() {
    if matches!(asker(), Asker::Tired | Asker::Deep) {
        let_others_run().await;
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
