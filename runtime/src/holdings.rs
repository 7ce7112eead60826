//! What a role holds in tables that are not the system's: its names, its places in groups, its monitors of these.

use std::any::Any;

/// What a role holds in one table; it goes when the role ends, and with nothing else.
pub(crate) trait Holding: Any + Send {
    /// The address of the table.
    fn table(&self) -> usize;
    /// Gives all of it up. No lock is held: authors' code may run in it.
    fn release(self: Box<Self>);
    fn as_any(&mut self) -> &mut dyn Any;
}

/// One for each table in which a role holds anything.
pub(crate) type Holdings = Vec<Box<dyn Holding>>;

/// Returns what is held in the table at this address, if anything is.
pub(crate) fn held_in<H: Holding>(holdings: &mut Holdings, table: usize) -> Option<&mut H> {
    let holding = holdings.iter_mut().find(|held| held.table() == table)?;
    holding.as_any().downcast_mut()
}
