//! The thread that watches from outside: it keeps the coarse clock going, frees what is stuck behind a blocked worker, and looks for actors that do not get on.
//!
//! Each [`TICK`](clock::TICK) it compares how far the workers of each pool have
//! come. A worker that is inside one run for [`BLOCKED_TICKS`] of them has its
//! queue opened for the others.
//!
//! Each [`LOOK`] it glances at every actor: three loads for one that has nothing
//! in hand and waits for nobody, and one short lock for one that has, or whose queue
//! was long and is empty: the memory of that is given back. Nothing of
//! an author's is called and no lock waited for that an author's code can hold;
//! events and log records are made by a task of the system. A message that is in
//! hand at a look and still the same one later is as old as the time between
//! them, and up to one look older. A cycle is only suspected when two looks in a
//! row have seen each edge of it.
//!
//! A simulated system has a clock of its own, so a task of its own looks at it,
//! as often in virtual time as long as somebody is at work and anything runs; a
//! clock that jumps over days must not stop at each look. Every other one is watched in real time, also where
//! the clock of the runtime that it is in is paused.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::clock;
use crate::core::ready::Progress;
use crate::driver::{Driver, Simulation};
use crate::failure::{ShortType, logged};
use crate::shared::Shared;
use crate::waits::{Node, Seen, WaitsFor};
use crate::{Event, Path};

/// How often actors are looked at: the error of how long a handler has run.
///
/// Two looks a second: a stuck handler is told of within a tenth of the limit
/// that is set by default, and a hundred thousand idle actors cost the machine
/// about a hundredth of one core.
pub(crate) const LOOK: Duration = Duration::from_millis(500);
/// After how many ticks inside one run a worker counts as blocked.
const BLOCKED_TICKS: u32 = 2;
/// How many ticks are between two looks.
const LOOK_TICKS: u32 = (LOOK.as_millis() / clock::TICK.as_millis()) as u32;

/// A handler runs longer than [`Builder::stuck_after`](crate::Builder::stuck_after) allows; published once for each message.
///
/// It says nothing about why: the handler may block its thread, wait for
/// something that does not come, or have much to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ActorStuck {
    /// The actor's path.
    pub path: Path,
    /// The type of the message in the handler, without its modules.
    pub message: String,
    /// For how long at least; half a second more at most.
    pub stuck_for: Duration,
}

/// Some actors wait for each other in their handlers, and did half a second before; published once for each such cycle.
///
/// A cycle of asks alone does not get that far, see
/// [`AskError::Cycle`](crate::AskError::Cycle); in this one at least one waits
/// for room in a full mailbox. It is a suspicion, as a handler may wait for
/// other things beside and go on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadlockSuspected {
    /// Each actor waits for the one behind it, and the last for the first.
    pub cycle: Vec<Path>,
    /// What each of them waits for, in the same order.
    pub waits: Vec<WaitsFor>,
}

impl Event for ActorStuck {}
impl Event for DeadlockSuspected {}

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
    if let Driver::Simulated(simulation) = &system.driver {
        let watched = Arc::downgrade(system);
        let simulation = Arc::clone(simulation);
        system.handle.spawn(watch_simulated(watched, simulation));
    }
    // A simulated one as well: for the clock of its ticks.
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

async fn watch_simulated(system: Weak<Shared>, simulation: Arc<Simulation>) {
    let mut watcher = Watcher::default();
    let begun = tokio::time::Instant::now();
    // Since when nothing has run.
    let mut quiet = Duration::ZERO;
    let mut wait = LOOK;
    loop {
        match tokio::time::timeout(wait, simulation.ran()).await {
            Ok(()) => {
                quiet = Duration::ZERO;
                tokio::time::sleep(LOOK).await;
            }
            Err(_) => quiet += wait,
        }
        let Some(system) = system.upgrade() else {
            return;
        };
        if system.end.borrow().is_some() {
            return;
        }
        let told_by = system.stuck_after.saturating_add(4 * LOOK);
        wait = match watcher.look(&[system], begun.elapsed()) {
            // Nobody is at work, and so it stays until somebody runs.
            false => FOR_EVER,
            // All has been told of; what is left is for how long it goes on.
            true if quiet > told_by => LOOK.max(quiet / 16),
            true => LOOK,
        };
    }
}

const FOR_EVER: Duration = Duration::from_secs(30 * 365 * 86_400);

fn run() {
    let begun = Instant::now();
    let mut watcher = Watcher::default();
    let mut workers = Workers::default();
    let mut ticks = 0;
    loop {
        thread::sleep(clock::TICK);
        clock::advance();
        ticks += 1;
        let systems: Vec<Arc<Shared>> = {
            let mut watched = WATCHED.lock();
            watched.systems.retain(|system| system.strong_count() > 0);
            if watched.systems.is_empty() {
                watched.is_running = false;
                return;
            }
            watched.systems.iter().filter_map(Weak::upgrade).collect()
        };
        let of_real_time = |system: &&Arc<Shared>| !matches!(system.driver, Driver::Simulated(_));
        let real: Vec<Arc<Shared>> = systems.iter().filter(of_real_time).cloned().collect();
        workers.look(&real);
        if ticks % LOOK_TICKS == 0 {
            watcher.look(&real, begun.elapsed());
        }
        drop(real);
        for system in systems {
            // What goes with a system is its authors' code, and this thread waits for nobody's.
            if let Some(last) = Arc::into_inner(system) {
                let _ = thread::Builder::new().spawn(move || drop(last));
            }
        }
    }
}

// ===== workers =====

/// How far the workers of each pool were when they were last looked at, and for how many ticks.
#[derive(Default)]
struct Workers(HashMap<usize, Vec<(Progress, u32)>>);

impl Workers {
    fn look(&mut self, systems: &[Arc<Shared>]) {
        let mut before = std::mem::take(&mut self.0);
        for system in systems {
            let Driver::Pool(pool) = &system.driver else {
                continue;
            };
            let key = Arc::as_ptr(system).addr();
            let mut seen = before.remove(&key).unwrap_or_default();
            for worker in 0..pool.workers() {
                let progress = pool.progress(worker);
                match seen.get_mut(worker) {
                    None => seen.push((progress, 0)),
                    Some((last, ticks)) if *last == progress && progress.is_running => {
                        *ticks += 1;
                        if *ticks == BLOCKED_TICKS {
                            pool.open(worker);
                        }
                    }
                    Some(last) => *last = (progress, 0),
                }
            }
            self.0.insert(key, seen);
        }
    }
}

// ===== actors =====

/// What was seen at the latest look.
#[derive(Default)]
pub(crate) struct Watcher {
    /// The cycles there were, and whether they have been told of.
    cycles: BTreeMap<Cycle, bool>,
}

/// A cycle by its edges: from which node, and which of its edges. It begins with the smallest.
type Cycle = Vec<(usize, u64)>;

/// A node that waits, as it was seen.
struct Waiting {
    system: usize,
    node: Arc<Node>,
    waits: Vec<Seen>,
}

impl Watcher {
    /// Looks at all actors of these systems; `now` is the time since the first look or before.
    ///
    /// Returns whether anybody is at work, or waits.
    pub(crate) fn look(&mut self, systems: &[Arc<Shared>], now: Duration) -> bool {
        let mut waiting = Vec::new();
        let mut is_busy = false;
        for (n, system) in systems.iter().enumerate() {
            let mut stuck = Vec::new();
            system.registry.for_each(|role| {
                let (work, node) = role.glance();
                is_busy |= work.is_some();
                if work.is_none() {
                    role.trim();
                }
                if let Some(work) = work
                    && let Some(node) = role.node()
                    && let Some(time) = node.see_work(work, now, system.stuck_after)
                {
                    let message = role.seen(false).handling.unwrap_or("nothing any more");
                    stuck.push(ActorStuck {
                        path: node.path().clone(),
                        message: ShortType(message).to_string(),
                        stuck_for: time,
                    });
                }
                if let Some(node) = node {
                    let waits = node.waits();
                    if !waits.is_empty() {
                        waiting.push(Waiting {
                            system: n,
                            node: Arc::clone(node),
                            waits,
                        });
                    }
                }
            });
            // The registry has no order, and what is simulated is to have one.
            stuck.sort_by(|a: &ActorStuck, b| a.path.cmp(&b.path));
            for event in stuck {
                tell(system, event, |event| {
                    tracing::warn!(
                        actor = %event.path,
                        message_type = event.message,
                        stuck_for = ?event.stuck_for,
                        "Actor is stuck in a handler."
                    );
                });
            }
        }
        is_busy |= !waiting.is_empty();
        let mut before = std::mem::take(&mut self.cycles);
        for (cycle, system, event) in cycles(waiting) {
            let Some(is_told) = before.remove(&cycle) else {
                self.cycles.insert(cycle, false);
                continue;
            };
            self.cycles.insert(cycle, true);
            if !is_told {
                let system = &systems[system];
                system.meters.deadlocks.fetch_add(1, Ordering::Relaxed);
                tell(system, event, |event| {
                    let cycle: Vec<&str> = event.cycle.iter().map(Path::as_str).collect();
                    tracing::warn!(
                        cycle = cycle.join(" -> "),
                        waits = ?event.waits,
                        "Actors wait for each other: a deadlock is suspected."
                    );
                });
            }
        }
        is_busy
    }
}

/// Has an event published, and logged, by a task of its system: both may call an author's code.
fn tell<E: Event>(system: &Arc<Shared>, event: E, log: fn(&E)) {
    let of = Arc::clone(system);
    system.handle.spawn(async move {
        logged(|| log(&event));
        of.registry.publish_if_heard(&event);
    });
}

/// Finds cycles: one at least where there are some, always the same in the same graph.
fn cycles(mut waiting: Vec<Waiting>) -> Vec<(Cycle, usize, DeadlockSuspected)> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        /// On the way that is being gone.
        OnWay,
        Done,
    }
    waiting.sort_by(|a, b| a.node.path().cmp(b.node.path()));
    let address = |node: &Arc<Node>| Arc::as_ptr(node).addr();
    let at: HashMap<usize, usize> = waiting
        .iter()
        .enumerate()
        .map(|(n, waiting)| (address(&waiting.node), n))
        .collect();
    let mut marks = vec![Mark::New; waiting.len()];
    let mut found = Vec::new();
    let mut known = BTreeSet::new();
    for start in 0..waiting.len() {
        if marks[start] != Mark::New {
            continue;
        }
        // The way so far: each node, and the edge of it that is gone next.
        let mut way = vec![(start, 0)];
        marks[start] = Mark::OnWay;
        while let Some((node, edge)) = way.last_mut() {
            let Some(wait) = waiting[*node].waits.get(*edge) else {
                marks[*node] = Mark::Done;
                way.pop();
                continue;
            };
            *edge += 1;
            let Some(next) = at.get(&address(&wait.to)).copied() else {
                continue;
            };
            match marks[next] {
                Mark::Done => {}
                Mark::New => {
                    marks[next] = Mark::OnWay;
                    way.push((next, 0));
                }
                Mark::OnWay => {
                    let from = way.iter().position(|(node, _)| *node == next).unwrap_or(0);
                    let mut round = way[from..].to_vec();
                    let first = round.iter().enumerate().min_by_key(|(_, (node, _))| *node);
                    let first = first.map_or(0, |(n, _)| n);
                    round.rotate_left(first);
                    // Each edge was stepped over when it was gone.
                    let edges = round
                        .iter()
                        .map(|(n, e)| (&waiting[*n], &waiting[*n].waits[e - 1]));
                    let cycle: Cycle = edges
                        .clone()
                        .map(|(from, wait)| (address(&from.node), wait.id))
                        .collect();
                    let event = DeadlockSuspected {
                        cycle: edges
                            .clone()
                            .map(|(from, _)| from.node.path().clone())
                            .collect(),
                        waits: edges.map(|(_, wait)| wait.why).collect(),
                    };
                    if known.insert(cycle.clone()) {
                        found.push((cycle, waiting[round[0].0].system, event));
                    }
                }
            }
        }
    }
    found
}
