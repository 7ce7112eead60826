//! Lives that were cut off while they ran, and still run: what they send is refused.
//!
//! Nothing can end code that blocks its thread. Its actor's next life is up by
//! then, and what the old one does when its thread goes on must not be taken for
//! the work of the new: it reads and replies no more (the mailbox knows which life
//! may), and here it is known by the frame that it runs in.
//!
//! There are as many entries as there are threads that such code blocks, so
//! hardly ever any: whoever sends looks at a count that nobody writes. Beside it, in the
//! same word, stands how many systems trace what is sent, so that both cost one look.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::role::with_current_life;

/// How much was refused, in the whole process.
static REFUSED: AtomicU64 = AtomicU64::new(0);
/// How many lives are listed; and times [`TRACING`], how many systems trace.
static SPECIAL: AtomicUsize = AtomicUsize::new(0);
const TRACING: usize = 1 << (usize::BITS / 2);
/// The address of the role, which it has as long as the run goes on, and the number of its life.
static LIVES: Mutex<Vec<(usize, u64)>> = Mutex::new(Vec::new());

/// Whether whoever sends has to look closer: it may be fenced, or traced.
#[inline(always)]
pub(crate) fn is_special() -> bool {
    // Whoever is cut off at this very moment may come to it late; not after something made it wait for that.
    SPECIAL.load(Ordering::Relaxed) != 0
}

#[inline(always)]
fn has_lives() -> bool {
    SPECIAL.load(Ordering::Relaxed) & (TRACING - 1) != 0
}

/// Whether the life whose code calls this was cut off; then what it sends is to be refused, and is counted.
#[inline(always)]
pub(crate) fn is_fenced() -> bool {
    has_lives() && is_fenced_here()
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
        SPECIAL.fetch_add(1, Ordering::SeqCst);
    }
}

/// A run of this life is over.
#[inline(always)]
pub(crate) fn ran(role: usize, life: u64) {
    if has_lives() {
        remove(role, life);
    }
}

#[cold]
fn remove(role: usize, life: u64) {
    let mut lives = LIVES.lock();
    let before = lives.len();
    lives.retain(|listed| *listed != (role, life));
    SPECIAL.fetch_sub(before - lives.len(), Ordering::SeqCst);
}

/// A system that traces what is sent in it, for as long as this is there.
pub(crate) struct Tracing(());

impl Tracing {
    pub(crate) fn begin() -> Self {
        SPECIAL.fetch_add(TRACING, Ordering::SeqCst);
        Tracing(())
    }
}

impl Drop for Tracing {
    fn drop(&mut self) {
        SPECIAL.fetch_sub(TRACING, Ordering::SeqCst);
    }
}
