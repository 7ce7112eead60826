//! Keys that stand for many actors: process groups.

use std::fmt;
use std::sync::Arc;

use super::key::Key;
use super::lock::KeyLock;
use super::table::{Change, Entry, Keys, Table};
use crate::entry::Receive;
use crate::error::RegisterError;
use crate::{Actor, ActorRef, Context, Delivery, Handler, Message, Recipient};

/// Groups of actors by a key: `K` is the key, `R` what is looked up, `V` what a member says of itself.
///
/// It is a handle: a clone is the same table. A group is there as long as it has
/// members. [`Names`](crate::names::Names) is the same for keys that stand for
/// one; see [the module](crate::names) for what holds.
///
/// # Examples
///
/// ```
/// # use std::convert::Infallible;
/// # use greenroom::prelude::*;
/// use greenroom::names::Groups;
///
/// # #[derive(Clone, Debug)]
/// # struct Said(&'static str);
/// # impl Message for Said { type Reply = (); }
/// type Rooms = Groups<&'static str, Recipient<Said>>;
///
/// struct Guest;
///
/// impl Actor for Guest {
///     type Args = Rooms;
///     type Error = BoxError;
///     async fn start(rooms: Rooms, cx: &mut Context<Self>) -> Result<Self, BoxError> {
///         rooms.join(cx, "lobby", ())?;
///         Ok(Guest)
///     }
/// }
/// # impl Handler<Said> for Guest {
/// #     async fn handle(&mut self, _: Said, _: &mut Context<Self>) -> Result<(), BoxError> { Ok(()) }
/// # }
/// # async fn example() -> Result<(), BoxError> {
///
/// let rooms = Rooms::new();
/// let house = Supervisor::one_for_one("house")
///     .child(Guest::spec("ann", rooms.clone()))
///     .child(Guest::spec("bob", rooms.clone()));
/// let system = System::start(house).await?;
/// assert_eq!(rooms.dispatch(&"lobby", Said("hello")).delivered, 2);
/// # system.stop().await;
/// # Ok(())
/// # }
/// # greenroom::block_on(example()).unwrap();
/// ```
pub struct Groups<K, R, V = ()> {
    table: Arc<Table<K, R, V>>,
}

impl<K: Key, R: Clone + Send + Sync + 'static, V: Send + Sync + 'static> Groups<K, R, V> {
    /// Returns a table without any group.
    #[must_use]
    pub fn new() -> Self {
        Groups {
            table: Table::new(),
        }
    }

    /// Makes this actor a member of a group, until it leaves or has stopped for good.
    ///
    /// An actor that joins twice is a member twice, with a value for each. What an
    /// earlier life of it joined does not add to that: the first time that a life
    /// joins a group, it takes the places of those before it.
    ///
    /// # Errors
    ///
    /// [`RegisterError::CutOff`] when this life was cut off.
    pub fn join<A: Actor>(&self, cx: &mut Context<A>, key: K, value: V) -> Result<(), RegisterError>
    where
        R: From<ActorRef<A>>,
    {
        self.table.enter(cx, Keys::Duplicate, key, value)
    }

    /// Ends this actor's memberships in a group; returns how many there were.
    pub fn leave<A: Actor>(&self, cx: &mut Context<A>, key: &K) -> usize {
        self.leave_if(cx, key, |_| true)
    }

    /// Ends those of this actor's memberships in a group whose value meets a condition; returns how many.
    pub fn leave_if<A: Actor>(
        &self,
        cx: &mut Context<A>,
        key: &K,
        is_meant: impl FnMut(&V) -> bool,
    ) -> usize {
        self.table.leave(cx, key, is_meant)
    }

    /// Returns references to the members of a group, in the order in which they joined.
    #[must_use]
    pub fn members(&self, key: &K) -> Vec<R> {
        let entries = self.table.of(key);
        entries.iter().map(|entry| entry.to.clone()).collect()
    }

    /// Returns the memberships in a group, with what the members say of themselves, in the order in which they joined.
    #[must_use]
    pub fn entries_of(&self, key: &K) -> Vec<Arc<Entry<K, R, V>>> {
        self.table.of(key)
    }

    /// Returns the memberships in all groups that meet a condition, in the order in which they were made.
    ///
    /// It looks at one part of the table after the other, and others may join
    /// meanwhile. The condition is called when no lock is held.
    #[must_use]
    pub fn entries(
        &self,
        mut is_meant: impl FnMut(&Entry<K, R, V>) -> bool,
    ) -> Vec<Arc<Entry<K, R, V>>> {
        let mut entries = self.table.all();
        entries.retain(|entry| is_meant(entry));
        entries
    }

    /// Returns this actor's memberships, in the order in which it joined; those of earlier lives count.
    #[must_use]
    pub fn own<A: Actor>(&self, cx: &Context<A>) -> Vec<Arc<Entry<K, R, V>>> {
        self.table.own(cx)
    }

    /// Returns how many groups have members.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether no group has members.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tells this actor from now on who joins and leaves a group; returns who is in it now.
    ///
    /// It is told by the message [`Change`], in the order of the changes, and of
    /// each that is not in the list. Nobody waits for it: a change that finds its
    /// mailbox full is lost to it, counted, and kept as a dead letter. One that a
    /// restart makes, when the new life joins in place of the earlier one, is none.
    ///
    /// Like a subscription it belongs to the role, and to call it again changes
    /// nothing. An actor that also [monitors all](Self::monitor_all) is told twice.
    pub fn monitor<A>(&self, cx: &mut Context<A>, key: &K) -> Vec<Arc<Entry<K, R, V>>>
    where
        A: Handler<Change<K, R, V>>,
    {
        self.table.monitor(cx, Some(key))
    }

    /// Tells this actor from now on who joins and leaves any group; returns who is in one now.
    ///
    /// See [`monitor`](Self::monitor).
    pub fn monitor_all<A>(&self, cx: &mut Context<A>) -> Vec<Arc<Entry<K, R, V>>>
    where
        A: Handler<Change<K, R, V>>,
    {
        self.table.monitor(cx, None)
    }

    /// Ends [`monitor`](Self::monitor) for a group; changes that are queued are still handled.
    pub fn demonitor<A: Actor>(&self, cx: &mut Context<A>, key: &K) {
        self.table.demonitor(cx, Some(key));
    }

    /// Ends [`monitor_all`](Self::monitor_all); changes that are queued are still handled.
    pub fn demonitor_all<A: Actor>(&self, cx: &mut Context<A>) {
        self.table.demonitor(cx, None);
    }

    /// Waits until nobody else holds the lock of a group, and holds it until what it returns is dropped.
    ///
    /// See [`Names::lock`](crate::names::Names::lock).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up the place in line.
    pub async fn lock(&self, key: &K) -> KeyLock<K> {
        self.table.locks().lock(key).await
    }
}

impl<K: Key, M: Message<Reply = ()> + Clone + fmt::Debug, V: Send + Sync + 'static>
    Groups<K, Recipient<M>, V>
{
    /// Tells all members of a group a message, and never waits for any of them.
    ///
    /// As with a [published event](crate::System::publish), a member that has no
    /// room does not get it, which is counted and kept as a dead letter.
    pub fn dispatch(&self, key: &K, message: M) -> Delivery {
        let entries = self.table.of(key);
        deliver(entries.iter().map(|entry| entry.to.receiver()), &message)
    }
}

impl<K: Key, A: Actor, V: Send + Sync + 'static> Groups<K, ActorRef<A>, V> {
    /// Tells all members of a group a message, and never waits for any of them.
    ///
    /// As with a [published event](crate::System::publish), a member that has no
    /// room does not get it, which is counted and kept as a dead letter.
    pub fn dispatch<M>(&self, key: &K, message: M) -> Delivery
    where
        A: Handler<M>,
        M: Message<Reply = ()> + Clone + fmt::Debug,
    {
        let members = self.members(key);
        let members: Vec<Recipient<M>> = members.iter().map(ActorRef::recipient).collect();
        deliver(members.iter().map(Recipient::receiver), &message)
    }
}

fn deliver<'a, M: Message<Reply = ()> + Clone + fmt::Debug>(
    to: impl Iterator<Item = &'a Arc<dyn Receive<M>>>,
    message: &M,
) -> Delivery {
    let mut delivery = Delivery::default();
    for receiver in to {
        let posted = Arc::clone(receiver).post(message.clone());
        if posted.is_delivered {
            delivery.delivered += 1;
        } else {
            delivery.dropped += 1;
        }
        if let Some(afterwards) = posted.afterwards {
            afterwards();
        }
    }
    delivery
}

impl<K: Key, R: Clone + Send + Sync + 'static, V: Send + Sync + 'static> Default
    for Groups<K, R, V>
{
    fn default() -> Self {
        Self::new()
    }
}

impl<K, R, V> Clone for Groups<K, R, V> {
    fn clone(&self) -> Self {
        Groups {
            table: Arc::clone(&self.table),
        }
    }
}

impl<K, R, V> fmt::Debug for Groups<K, R, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Groups").finish_non_exhaustive()
    }
}
