//! What can be a key.

use std::fmt;
use std::hash::Hash;

/// What a key of [`Names`](crate::names::Names) or [`Groups`](crate::names::Groups) has to be; every such type is one.
///
/// `Hash` and `Eq` run while a part of the table is locked: they are to compare
/// and no more. `Debug` shows it in dead letters.
pub trait Key: Clone + Eq + Hash + fmt::Debug + Send + Sync + 'static {}

impl<K: Clone + Eq + Hash + fmt::Debug + Send + Sync + 'static> Key for K {}
