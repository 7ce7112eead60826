//! What all actors of a system share.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};

use crate::Path;
use crate::core::micros::Micros;
use crate::core::ready::Progress;
use crate::dead_letter::DeadLetters;
use crate::driver::Driver;
use crate::flow::Running;
use crate::history::Histories;
use crate::metrics::Meters;
use crate::registry::Registry;
use crate::role::{Ended, Role};
use crate::simulation::{Director, Step};

/// One system, as its actors see it.
pub(crate) struct Shared {
    pub(crate) driver: Driver,
    pub(crate) registry: Registry,
    pub(crate) meters: Meters,
    pub(crate) dead_letters: DeadLetters,
    pub(crate) histories: Histories,
    pub(crate) flow: Running,
    pub(crate) seed: u64,
    /// When it began, by its own clock.
    pub(crate) born: Instant,
    /// From when on a handler counts as stuck.
    pub(crate) stuck_after: Duration,
    /// One in so many messages is timed.
    pub(crate) measure_every: u32,
    /// Where supervisors run, and the timers of whoever is on no worker.
    pub(crate) handle: Handle,
    /// That runtime, if it is this system's own.
    pub(crate) office: Mutex<Option<Runtime>>,
    pub(crate) root: Mutex<Option<Arc<dyn Role>>>,
    pub(crate) root_path: Mutex<Option<Path>>,
    pub(crate) end: watch::Sender<Option<Ended>>,
}

impl Shared {
    /// Returns a timer of this system's clock, on whatever thread it is polled.
    pub(crate) fn sleep(&self, duration: Duration) -> Pin<Box<Sleep>> {
        let handle = match &self.driver {
            // On a worker its own runtime is entered already.
            Driver::Pool(pool) if pool.here().is_some() => {
                return Box::pin(tokio::time::sleep(duration));
            }
            _ => &self.handle,
        };
        let _inside = handle.enter();
        Box::pin(tokio::time::sleep(duration))
    }

    /// How long the system had been there at this moment.
    pub(crate) fn micros(&self, at: Instant) -> Micros {
        Micros::new(at.saturating_duration_since(self.born))
    }

    pub(crate) fn now(&self) -> Micros {
        self.micros(Instant::now())
    }

    /// Returns where tasks of the calling code belong: on a worker to its own runtime.
    pub(crate) fn handle_here(&self) -> Handle {
        match &self.driver {
            Driver::Pool(pool) => pool.handle(),
            Driver::Tasks | Driver::Simulated(_) => self.handle.clone(),
        }
    }

    /// Who is told what happens; there is somebody in a simulation only, and not in each.
    pub(crate) fn director(&self) -> Option<&Mutex<Box<dyn Director>>> {
        match &self.driver {
            Driver::Simulated(simulation) => simulation.director(),
            Driver::Pool(_) | Driver::Tasks => None,
        }
    }

    /// Tells the director, if there is one.
    pub(crate) fn saw(&self, event: &Step<'_>) {
        if let Some(director) = self.director() {
            director.lock().saw(event);
        }
    }

    /// Some worker runs code that blocks its thread and was cut off: what is ready there is opened for the others now,
    /// and not when whoever watches comes to it.
    #[cold]
    pub(crate) fn free_blocked(&self) {
        let Driver::Pool(pool) = &self.driver else {
            return;
        };
        let pool = pool.clone();
        self.handle.spawn(async move {
            let progress = |worker| pool.progress(worker);
            let before: Vec<Progress> = (0..pool.workers()).map(progress).collect();
            // Whoever is in one run for so long loses nothing by it.
            tokio::time::sleep(Duration::from_millis(1)).await;
            for (worker, before) in before.into_iter().enumerate() {
                if before.is_running && pool.progress(worker) == before {
                    pool.open(worker);
                }
            }
        });
    }

    /// Whether an idle actor may be run by the thread that calls.
    #[inline(always)]
    pub(crate) fn is_worker_here(&self) -> bool {
        match &self.driver {
            Driver::Pool(pool) => pool.here().is_some(),
            driver => driver.runs_inside(),
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        match &self.driver {
            Driver::Pool(pool) => pool.end(),
            Driver::Simulated(simulation) => simulation.end(),
            Driver::Tasks => {}
        }
        // A runtime may not be dropped where it would have to wait for its threads.
        if let Some(office) = self.office.get_mut().take() {
            office.shutdown_background();
        }
    }
}

/// Returns the moment so far from now; a duration beyond what a clock can say is thirty years.
pub(crate) fn after(duration: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(30 * 365 * 86_400);
    let now = Instant::now();
    now.checked_add(duration).unwrap_or_else(|| now + FAR)
}
