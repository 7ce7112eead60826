//! Partitioned supervisors: one child for each part of the keys, and the way from a key to its child.
//!
//! One actor that everybody waits for is made into `n` equal ones: who has a key
//! asks the supervisor for the partition of it, and always gets the same as long as
//! there are as many. How many there are can be changed while they run. A key is
//! then looked for among the new number by a hash that moves as few keys as can be.

use std::any::type_name;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use crate::cell::ActorCell;
use crate::error::{PartitionError, ResizeError, RestartChildError};
use crate::partitions::Partitions;
use crate::role::Role;
use crate::supervisor::SupervisorCell;
use crate::supervisor_ref::SupervisorRef;
use crate::{Actor, ActorRef, ChildSpec, Supervisor};

impl Supervisor {
    /// Returns a supervisor of `n` equal children, its partitions, each restarted alone.
    ///
    /// `child` makes each from its number, which is also its name, whatever the
    /// spec says: `0` to `n - 1`. The partition of a key is found by
    /// [`SupervisorRef::partition`], and their number can be changed by
    /// [`SupervisorRef::resize`]. There has to be at least one, none may be
    /// [temporary](crate::Restart::Temporary), as its keys would belong to nobody once
    /// it has ended, and a partitioned supervisor cannot end
    /// [by itself](Self::auto_shutdown): `start` says so. A partition keeps its place:
    /// it cannot be [removed](SupervisorRef::remove_child). One that is transient and
    /// has ended is found for its keys all the same, and is down until
    /// [somebody starts it](SupervisorRef::restart_child).
    ///
    /// The [restart limit](Self::restart_limit) is one for all of them.
    /// As many as the machine has cores take most of a load that one actor cannot.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::convert::Infallible;
    /// # use greenroom::prelude::*;
    /// struct Counter(u64);
    ///
    /// # impl Actor for Counter {
    /// #     type Args = ();
    /// #     type Error = Infallible;
    /// #     async fn start((): (), _: &mut Context<Self>) -> Result<Self, Infallible> { Ok(Counter(0)) }
    /// # }
    /// # struct Count;
    /// # impl Message for Count { type Reply = u64; }
    /// # impl Handler<Count> for Counter {
    /// #     async fn handle(&mut self, _: Count, _: &mut Context<Self>) -> Result<u64, Infallible> { self.0 += 1; Ok(self.0) }
    /// # }
    /// # async fn example() -> Result<(), BoxError> {
    /// let app = Supervisor::one_for_one("app")
    ///     .child(Supervisor::partitioned("counters", 8, |_| Counter::spec("counter", ())));
    /// let system = System::start(app).await?;
    /// let counters = system.supervisor("app/counters")?;
    /// // The same visitor is always counted by the same actor.
    /// for visit in 1..4 {
    ///     let counter = counters.partition::<Counter>(&"ann")?;
    ///     assert_eq!(counter.ask(Count).await?, visit);
    /// }
    /// # system.stop().await;
    /// # Ok(())
    /// # }
    /// # greenroom::block_on(example()).unwrap();
    /// ```
    #[must_use]
    pub fn partitioned<C: Into<ChildSpec>>(
        name: impl Into<String>,
        n: usize,
        mut child: impl FnMut(usize) -> C,
    ) -> Self {
        let mut supervisor = Supervisor::one_for_one(name);
        supervisor.partitions = Some(n);
        (0..n).fold(supervisor, |supervisor, n| {
            supervisor.child(child(n).into().named(n.to_string()))
        })
    }
}

impl SupervisorRef {
    /// Returns the actor that a key belongs to, of a supervisor that is [partitioned](Supervisor::partitioned).
    ///
    /// Equal keys belong to the same one as long as there are as many partitions.
    ///
    /// # Errors
    ///
    /// [`PartitionError`] when the supervisor has no partitions, or they are not
    /// actors of this type.
    pub fn partition<A: Actor>(&self, key: &impl Hash) -> Result<ActorRef<A>, PartitionError> {
        self.partition_role::<ActorCell<A>>(key, type_name::<A>())
            .map(ActorRef::new)
    }

    /// The same for partitions that are supervisors, such as [dynamic](Supervisor::dynamic) ones, each with a part of the children.
    ///
    /// # Errors
    ///
    /// As [`partition`](Self::partition).
    pub fn supervisor_partition(&self, key: &impl Hash) -> Result<SupervisorRef, PartitionError> {
        self.partition_role::<SupervisorCell>(key, "supervisor")
            .map(SupervisorRef::new)
    }

    /// Returns how many partitions are in use; none of a supervisor that is not [partitioned](Supervisor::partitioned).
    #[must_use]
    pub fn partitions(&self) -> usize {
        let cell = self.cell();
        let partitions = cell.partitions.as_ref();
        partitions.map_or(0, |partitions| partitions.in_use(cell.incarnation()))
    }

    /// Changes how many partitions are in use, from none to as many as there were at the start; returns how many there were.
    ///
    /// Those that are in use no longer are stopped, the last one first, once they have
    /// handled what is in their mailboxes; whoever still sends to them gets the message
    /// back. From the moment of the call keys are looked for among those that stay.
    /// Those that are taken in use are started in their order, and are found when they
    /// are up. Where one partition more or less is in use, of `n` only about one key
    /// in `n` moves. What belongs to a key does not move with it: that is for the
    /// actors to do.
    ///
    /// A supervisor that is restarted has all its partitions again.
    ///
    /// # Errors
    ///
    /// [`ResizeError`] when there were never as many, the supervisor is not
    /// partitioned, or a partition was not stopped or started; those before it were.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves it half done; to call it again does the rest.
    pub async fn resize(&self, n: usize) -> Result<usize, ResizeError> {
        let cell = self.cell();
        let Some(partitions) = &cell.partitions else {
            return Err(ResizeError::NotPartitioned(cell.path.clone()));
        };
        let max = partitions.roles().len();
        if n > max {
            let supervisor = cell.path.clone();
            return Err(ResizeError::TooMany { supervisor, max });
        }
        let _turn = partitions.resize().await;
        let mut life = cell.incarnation();
        let before = partitions.in_use(life);
        loop {
            self.resize_life(partitions, life, n).await?;
            let now = cell.incarnation();
            if now == life {
                return Ok(before);
            }
            // The supervisor was restarted meanwhile, and has all again.
            life = now;
        }
    }

    async fn resize_life(
        &self,
        partitions: &Partitions,
        life: u64,
        n: usize,
    ) -> Result<(), ResizeError> {
        let before = partitions.in_use(life);
        if n < before {
            partitions.set_in_use(life, n);
        }
        // All that are not to run, since a call that was dropped may have left some.
        for role in partitions.roles().iter().skip(n).rev() {
            let stopped = self.stop_child(role.path().name()).await;
            stopped.map_err(ResizeError::NotStopped)?;
        }
        for (i, role) in partitions.roles().iter().enumerate().take(n).skip(before) {
            match self.restart_child(role.path().name()).await {
                // One that failed meanwhile is about to be up without us.
                Ok(()) | Err(RestartChildError::Running(_) | RestartChildError::Restarting(_)) => {}
                Err(error) => return Err(ResizeError::NotStarted(error)),
            }
            partitions.set_in_use(life, i + 1);
        }
        Ok(())
    }

    fn partition_role<R: Role>(
        &self,
        key: &impl Hash,
        wanted: &'static str,
    ) -> Result<Arc<R>, PartitionError> {
        let cell = self.cell();
        let Some(partitions) = &cell.partitions else {
            return Err(PartitionError::NotPartitioned(cell.path.clone()));
        };
        // The seed of the system, so that nobody outside can choose keys that all belong to one.
        let mut hasher = DefaultHasher::new();
        cell.system.seed.hash(&mut hasher);
        key.hash(&mut hasher);
        let Some(role) = partitions.at(hasher.finish(), cell.incarnation()) else {
            return Err(PartitionError::NoneInUse(cell.path.clone()));
        };
        Arc::clone(role)
            .into_any()
            .downcast()
            .map_err(|_| PartitionError::WrongType {
                path: role.path().clone(),
                wanted,
                found: role.kind(),
            })
    }
}
