//! The parts that the rest of the runtime is fast by.
//!
//! Each is small, knows nothing of actors, and is proven by itself: under loom
//! (every interleaving of a few threads), under the sanitizers and valgrind
//! (every access to memory). CONTRIBUTING.md names the commands.

pub(crate) mod alone;
pub(crate) mod biased;
pub(crate) mod fence;
pub(crate) mod frames;
pub(crate) mod gift;
pub(crate) mod inline;
pub(crate) mod lock;
pub(crate) mod micros;
pub(crate) mod once;
pub(crate) mod pooled;
pub(crate) mod prefetch;
pub(crate) mod queue;
pub(crate) mod ready;
pub(crate) mod slot;
pub(crate) mod statics;
pub(crate) mod sync;
