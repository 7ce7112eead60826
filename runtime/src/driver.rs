//! Who runs the actors that are ready: workers of our own, tasks of somebody else's runtime, or a simulation.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::thread::{self, ThreadId};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::core::ready::Runnable;
use crate::pool::Pool;
use crate::simulation::{Decision, Director, Step};

/// How the actors of a system are run.
pub(crate) enum Driver {
    /// By workers that are this system's own.
    Pool(Pool),
    /// Each life is a task of the runtime that the system was started in.
    Tasks,
    /// One at a time, in an order that a seed decides.
    Simulated(Arc<Simulation>),
}

impl Driver {
    /// Makes it run soon, on this worker if there is one that it has to run on.
    #[cold]
    pub(crate) fn schedule(&self, ready: Runnable, worker: Option<u16>) {
        match (self, worker) {
            (Driver::Pool(pool), None) => pool.schedule(ready),
            (Driver::Pool(pool), Some(worker)) => pool.schedule_on(usize::from(worker), ready),
            (Driver::Simulated(simulation), _) => simulation.schedule(ready),
            (Driver::Tasks, _) => unreachable!("tasks are not scheduled but woken"),
        }
    }

    /// Whether an asker runs an idle actor on its own stack, where that is not a worker's.
    #[cold]
    pub(crate) fn runs_inside(&self) -> bool {
        match self {
            Driver::Simulated(simulation) => simulation.runs_inside(),
            Driver::Pool(_) | Driver::Tasks => false,
        }
    }
}

/// What is ready in a simulated system, and who chooses what is next.
pub(crate) struct Simulation {
    /// Where all actors run.
    thread: ThreadId,
    state: Mutex<State>,
    /// Decides, and is told all that happens; else the dice decide, and nobody looks.
    director: Option<Mutex<Box<dyn Director>>>,
    /// Something has run, or it is over.
    ran: Notify,
}

struct State {
    ready: Vec<Runnable>,
    dice: u64,
    task: Option<Waker>,
    ended: bool,
}

/// How many runs there are before the runtime's other tasks have their turn, at most.
const RUNS: usize = 64;
/// They have it sooner at one roll of the dice in so many.
const YIELDS: usize = 8;
/// A run handles so many messages at most, or fewer: the dice decide.
const BUDGET_MAX: usize = 4;

impl Simulation {
    pub(crate) fn new(seed: u64, director: Option<Box<dyn Director>>) -> Arc<Self> {
        Arc::new(Simulation {
            thread: thread::current().id(),
            director: director.map(Mutex::new),
            ran: Notify::new(),
            state: Mutex::new(State {
                ready: Vec::new(),
                dice: seed,
                task: None,
                ended: false,
            }),
        })
    }

    /// Who is to be told what happens.
    pub(crate) fn director(&self) -> Option<&Mutex<Box<dyn Director>>> {
        self.director.as_ref()
    }

    /// Returns when something has run since the last time, or when all is over.
    pub(crate) async fn ran(&self) {
        self.ran.notified().await;
    }

    pub(crate) fn schedule(&self, ready: Runnable) {
        let task = {
            let mut state = self.state.lock();
            if state.ended {
                drop(state);
                ready.abandon();
                return;
            }
            state.ready.push(ready);
            state.task.take()
        };
        if let Some(task) = task {
            task.wake();
        }
    }

    /// Returns a number below `n`.
    fn decide(&self, decision: Decision, n: usize) -> usize {
        match &self.director {
            Some(director) => director.lock().decide(decision, n).min(n - 1),
            None => self.state.lock().roll(n as u64) as usize,
        }
    }

    /// Whether an asker runs an idle actor on its own stack, this time.
    pub(crate) fn runs_inside(&self) -> bool {
        thread::current().id() == self.thread && self.decide(Decision::Inside, 2) == 0
    }

    /// Runs what is ready, until the end of the system.
    pub(crate) async fn drive(self: Arc<Self>) {
        poll_fn(|cx| {
            for _ in 0..RUNS {
                let n = {
                    let mut state = self.state.lock();
                    if state.ended {
                        return Poll::Ready(());
                    }
                    if state.ready.is_empty() {
                        state.task = Some(cx.waker().clone());
                        return Poll::Pending;
                    }
                    state.ready.len()
                };
                let chosen = self.decide(Decision::Next, n);
                let budget = BUDGET_MAX - self.decide(Decision::Budget, BUDGET_MAX);
                // Others may have come meanwhile, but all stand behind these; only the end takes any.
                let chosen = {
                    let mut state = self.state.lock();
                    if state.ended {
                        return Poll::Ready(());
                    }
                    state.ready.remove(chosen)
                };
                if let Some(director) = &self.director {
                    let (path, incarnation) = chosen.name();
                    director.lock().saw(&Step::Runs { path, incarnation });
                }
                self.ran.notify_one();
                if chosen.run(budget) {
                    self.schedule(chosen);
                }
                if self.decide(Decision::Yield, YIELDS) == YIELDS - 1 {
                    break;
                }
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    pub(crate) fn end(&self) {
        let (left, task) = {
            let mut state = self.state.lock();
            state.ended = true;
            (std::mem::take(&mut state.ready), state.task.take())
        };
        self.ran.notify_one();
        left.into_iter().for_each(Runnable::abandon);
        if let Some(task) = task {
            task.wake();
        }
    }
}

impl State {
    /// SplitMix64 (Steele, Lea, Flood 2014).
    fn roll(&mut self, n: u64) -> u64 {
        self.dice = self.dice.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.dice;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n.max(1)
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Driver::Pool(_) => "Pool",
            Driver::Tasks => "Tasks",
            Driver::Simulated(_) => "Simulated",
        })
    }
}
