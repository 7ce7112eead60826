//! Lives that were cut off while they ran, and still run: what they send is refused.
//!
//! Nothing can end code that blocks its thread. Its actor's next life is up by
//! then, and what the old one does when its thread goes on must not be taken for
//! the work of the new: it reads and replies no more (the mailbox knows which life
//! may), and here it is known by the frame that it runs in.
//!
//! There are as many entries as there are threads that such code blocks, so
//! hardly ever any: whoever sends looks at a count that nobody writes.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::role::with_current_life;

/// How much was refused, in the whole process.
static REFUSED: AtomicU64 = AtomicU64::new(0);
static COUNT: AtomicUsize = AtomicUsize::new(0);
/// The address of the role, which it has as long as the run goes on, and the number of its life.
static LIVES: Mutex<Vec<(usize, u64)>> = Mutex::new(Vec::new());

/// Whether the life whose code calls this was cut off; then what it sends is to be refused, and is counted.
#[inline(always)]
pub(crate) fn is_fenced() -> bool {
    // Whoever is cut off at this very moment may come to it late; not after something made it wait for that.
    COUNT.load(Ordering::Relaxed) != 0 && is_fenced_here()
}

#[cold]
fn is_fenced_here() -> bool {
    let is_listed = |role, life| LIVES.lock().contains(&(role, life));
    let is_fenced = with_current_life(is_listed).unwrap_or(false);
    if is_fenced {
        REFUSED.fetch_add(1, Ordering::Relaxed);
    }
    is_fenced
}

/// How many messages and events were refused so far, in this process.
pub(crate) fn refused() -> u64 {
    REFUSED.load(Ordering::Relaxed)
}

/// A life is about to be cut off.
pub(crate) fn add(role: usize, life: u64) {
    let mut lives = LIVES.lock();
    if !lives.contains(&(role, life)) {
        lives.push((role, life));
    }
    COUNT.store(lives.len(), Ordering::SeqCst);
}

/// A run of this life is over.
#[inline(always)]
pub(crate) fn ran(role: usize, life: u64) {
    if COUNT.load(Ordering::Relaxed) != 0 {
        remove(role, life);
    }
}

#[cold]
fn remove(role: usize, life: u64) {
    let mut lives = LIVES.lock();
    lives.retain(|listed| *listed != (role, life));
    COUNT.store(lives.len(), Ordering::SeqCst);
}
