//! What all actors of a system share.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};

use crate::Path;
use crate::dead_letter::DeadLetters;
use crate::metrics::Meters;
use crate::registry::Registry;
use crate::role::{Ended, Role};

/// One system, as its actors see it.
pub(crate) struct Shared {
    pub(crate) registry: Registry,
    pub(crate) meters: Meters,
    pub(crate) dead_letters: DeadLetters,
    pub(crate) seed: u64,
    pub(crate) handle: Handle,
    /// The workers, if they are this system's own.
    pub(crate) workers: Mutex<Option<Runtime>>,
    pub(crate) root: Mutex<Option<Arc<dyn Role>>>,
    pub(crate) root_path: Mutex<Option<Path>>,
    pub(crate) end: watch::Sender<Option<Ended>>,
}

impl Shared {
    /// Returns a timer of this system's clock, on whatever thread it is polled.
    pub(crate) fn sleep(&self, duration: Duration) -> Pin<Box<Sleep>> {
        let _inside = self.handle.enter();
        Box::pin(tokio::time::sleep(duration))
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // A runtime may not be dropped where it would have to wait for its threads.
        if let Some(workers) = self.workers.get_mut().take() {
            workers.shutdown_background();
        }
    }
}

/// Returns the moment so far from now; a duration beyond what a clock can say is thirty years.
pub(crate) fn after(duration: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(30 * 365 * 86_400);
    let now = Instant::now();
    now.checked_add(duration).unwrap_or_else(|| now + FAR)
}
