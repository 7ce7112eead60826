//! The thread that watches from outside: it keeps the coarse clock going, whatever the workers are stuck in.

use std::sync::{Arc, Weak};
use std::thread;

use parking_lot::Mutex;

use crate::clock;
use crate::shared::Shared;

/// The systems that are alive, and whether the thread runs.
static WATCHED: Mutex<Watched> = Mutex::new(Watched {
    systems: Vec::new(),
    is_running: false,
});

struct Watched {
    systems: Vec<Weak<Shared>>,
    is_running: bool,
}

/// Watches a system until it is dropped.
///
/// # Errors
/// When the operating system gives no thread.
pub(crate) fn watch(system: &Arc<Shared>) -> std::io::Result<()> {
    let mut watched = WATCHED.lock();
    watched.systems.push(Arc::downgrade(system));
    if !watched.is_running {
        thread::Builder::new()
            .name("greenroom-watch".to_owned())
            .spawn(run)?;
        watched.is_running = true;
    }
    Ok(())
}

fn run() {
    loop {
        thread::sleep(clock::TICK);
        clock::advance();
        let mut watched = WATCHED.lock();
        watched.systems.retain(|system| system.strong_count() > 0);
        if watched.systems.is_empty() {
            watched.is_running = false;
            return;
        }
    }
}
