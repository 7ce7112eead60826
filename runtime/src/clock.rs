//! A coarse clock that costs one load, to decide what is worth a real one.
//!
//! It ticks every [`TICK`] while a system of the process runs. Nothing is
//! measured by it; but a message that comes in another tick than the one before
//! is timed, whatever share of the messages else is.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How long a tick is: the error of an age, where not every message is timed.
pub(crate) const TICK: Duration = Duration::from_millis(100);

static TICKS: AtomicU32 = AtomicU32::new(1);

#[inline(always)]
pub(crate) fn tick() -> u32 {
    TICKS.load(Ordering::Relaxed)
}

pub(crate) fn advance() {
    TICKS.fetch_add(1, Ordering::Relaxed);
}
