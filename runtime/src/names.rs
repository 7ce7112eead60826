//! Named registration: [`Names`], of which each stands for one actor, and [`Groups`] of actors.
//!
//! Every actor has a [path](crate::Path), and [`System::find`](crate::System::find)
//! finds it by that. This is for keys of the application's own: the device with
//! this address, the session of this user, whoever is in this room. A table is a
//! value. `main` makes it, and those who register and those who look up get a
//! clone with their arguments, so what depends on it says so in its types, and
//! two tables never meet.
//!
//! - An entry belongs to the actor's role: it stays when the actor is restarted,
//!   and messages wait in the mailbox meanwhile. It goes when the actor has
//!   stopped for good, with all others of that actor, before anybody is told of
//!   the end.
//! - Only an actor itself registers, updates and unregisters: its
//!   [`Context`] is the key to its entries. One that was cut
//!   off can do neither any more.
//! - To register again in `start`, as every life does, changes nothing but the
//!   value.
//! - What is looked up is typed: an [`ActorRef`], a
//!   [`Recipient`](crate::Recipient), or any type that is made
//!   [from](From) a reference to the actor, such as a struct of two recipients.
//! - Looking up takes a lock that is shared with other readers, and none that is
//!   held for longer than an entry takes. How many keys there may be is not limited:
//!   a table holds what actors put there, and lets go of it with them.
//!
//! ```
//! # use std::convert::Infallible;
//! # use greenroom::prelude::*;
//! use greenroom::names::Names;
//!
//! # struct Set(bool);
//! # impl Message for Set { type Reply = (); }
//! type Lamps = Names<u64, Recipient<Set>>;
//!
//! struct Lamp;
//!
//! impl Actor for Lamp {
//!     type Args = (u64, Lamps);
//!     type Error = BoxError;
//!     async fn start((address, lamps): (u64, Lamps), cx: &mut Context<Self>) -> Result<Self, BoxError> {
//!         // A second lamp of this address does not start.
//!         lamps.register(cx, address, ())?;
//!         Ok(Lamp)
//!     }
//! }
//! # impl Handler<Set> for Lamp {
//! #     async fn handle(&mut self, _: Set, _: &mut Context<Self>) -> Result<(), BoxError> { Ok(()) }
//! # }
//! # async fn example() -> Result<(), BoxError> {
//!
//! let lamps = Lamps::new();
//! let home = Supervisor::one_for_one("home")
//!     .child(Lamp::spec("hall", (0x17, lamps.clone())))
//!     .child(Lamp::spec("stairs", (0x18, lamps.clone())));
//! let system = System::start(home).await?;
//! let stairs = lamps.lookup(&0x18).expect("it is registered");
//! stairs.tell(Set(true)).await?;
//! system.stop().await;
//! assert!(lamps.lookup(&0x18).is_none());
//! # Ok(())
//! # }
//! # greenroom::block_on(example()).unwrap();
//! ```

mod groups;
mod key;
mod lock;
mod table;
#[cfg(all(test, not(greenroom_loom)))]
mod tests;

use std::fmt;
use std::sync::Arc;

pub use groups::Groups;
pub use key::Key;
pub use lock::KeyLock;
pub use table::{Change, Entry};

pub use crate::error::RegisterError;

use self::table::{Keys, Table};
use crate::{Actor, ActorRef, Context, Handler};

/// Names of which each stands for one actor: `K` is the name, `R` what is looked up, `V` what an actor says of itself.
///
/// It is a handle: a clone is the same table. See [the module](self) for what
/// holds, and [`Groups`] for keys that stand for many.
pub struct Names<K, R, V = ()> {
    table: Arc<Table<K, R, V>>,
}

impl<K: Key, R: Clone + Send + Sync + 'static, V: Send + Sync + 'static> Names<K, R, V> {
    /// Returns a table without any name.
    #[must_use]
    pub fn new() -> Self {
        Names {
            table: Table::new(),
        }
    }

    /// Registers this actor under a name, until it unregisters or has stopped for good.
    ///
    /// Who comes first has the name. What an earlier life of the same actor
    /// registered is its own: the new value takes the place of the old one.
    ///
    /// # Errors
    ///
    /// [`RegisterError`] when another actor has the name, or this life has
    /// registered it before, or was cut off.
    pub fn register<A: Actor>(
        &self,
        cx: &mut Context<A>,
        key: K,
        value: V,
    ) -> Result<(), RegisterError>
    where
        R: From<ActorRef<A>>,
    {
        self.table.enter(cx, Keys::Unique, key, value)
    }

    /// Gives up a name; returns whether this actor had it.
    pub fn unregister<A: Actor>(&self, cx: &mut Context<A>, key: &K) -> bool {
        self.unregister_if(cx, key, |_| true)
    }

    /// The same, if what this actor said of itself there meets a condition.
    pub fn unregister_if<A: Actor>(
        &self,
        cx: &mut Context<A>,
        key: &K,
        is_meant: impl FnMut(&V) -> bool,
    ) -> bool {
        self.table.leave(cx, key, is_meant) > 0
    }

    /// Replaces what this actor says of itself under a name; returns whether it has that name.
    ///
    /// `update` gets the value as it is, and is not called for the name of another
    /// actor. Who looked the entry up before keeps what he has seen.
    pub fn update<A: Actor>(
        &self,
        cx: &mut Context<A>,
        key: &K,
        update: impl FnOnce(&V) -> V,
    ) -> bool {
        self.table.update(cx, key, update)
    }

    /// Returns the reference to the actor that has a name.
    #[must_use]
    pub fn lookup(&self, key: &K) -> Option<R> {
        self.entry(key).map(|entry| entry.to.clone())
    }

    /// Returns who has a name, with what the actor says of itself.
    #[must_use]
    pub fn entry(&self, key: &K) -> Option<Arc<Entry<K, R, V>>> {
        self.table.first(key)
    }

    /// Returns all entries that meet a condition, in the order in which they were made.
    ///
    /// It looks at one part of the table after the other, and others may register
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

    /// Returns what this actor is registered under, in the order in which it did it; earlier lives count.
    #[must_use]
    pub fn own<A: Actor>(&self, cx: &Context<A>) -> Vec<Arc<Entry<K, R, V>>> {
        self.table.own(cx)
    }

    /// Returns how many names there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there is no name.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tells this actor from now on who gets a name and who gives it up; returns who has it now.
    ///
    /// See [`Groups::monitor`], which does the same.
    pub fn monitor<A>(&self, cx: &mut Context<A>, key: &K) -> Option<Arc<Entry<K, R, V>>>
    where
        A: Handler<Change<K, R, V>>,
    {
        self.table.monitor(cx, Some(key)).pop()
    }

    /// Tells this actor from now on of all names that are registered and given up; returns those that there are now.
    ///
    /// See [`Groups::monitor`].
    pub fn monitor_all<A>(&self, cx: &mut Context<A>) -> Vec<Arc<Entry<K, R, V>>>
    where
        A: Handler<Change<K, R, V>>,
    {
        self.table.monitor(cx, None)
    }

    /// Ends [`monitor`](Self::monitor) for a name; changes that are queued are still handled.
    pub fn demonitor<A: Actor>(&self, cx: &mut Context<A>, key: &K) {
        self.table.demonitor(cx, Some(key));
    }

    /// Ends [`monitor_all`](Self::monitor_all); changes that are queued are still handled.
    pub fn demonitor_all<A: Actor>(&self, cx: &mut Context<A>) {
        self.table.demonitor(cx, None);
    }

    /// Waits until nobody else holds the lock of a name, and holds it until what it returns is dropped.
    ///
    /// It keeps two from doing the same at once, such as looking for the owner of a
    /// name and starting one. It has no bearing on registration, and a name need
    /// not be registered to be locked. Those who wait get it in their order.
    ///
    /// Whoever waits for it waits unseen: an actor that holds it and asks one that
    /// waits for it is a deadlock that nobody reports. Hold it for what is short.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up the place in line.
    pub async fn lock(&self, key: &K) -> KeyLock<K> {
        self.table.locks().lock(key).await
    }
}

impl<K: Key, R: Clone + Send + Sync + 'static, V: Send + Sync + 'static> Default
    for Names<K, R, V>
{
    fn default() -> Self {
        Self::new()
    }
}

impl<K, R, V> Clone for Names<K, R, V> {
    fn clone(&self) -> Self {
        Names {
            table: Arc::clone(&self.table),
        }
    }
}

impl<K, R, V> fmt::Debug for Names<K, R, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").finish_non_exhaustive()
    }
}
