//! What one run shares: its dice, what goes wrong in it, what is known of it and what was found.

use std::sync::Arc;
use std::time::Duration;

use greenroom::FailureKind;
use greenroom::simulation::{Decision, Director, Fault, Moment, Step};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::checks::{Checks, Known, Seen, Violation};
use crate::dice::{Dice, Lane};
use crate::faults::{Faults, Progress};
use crate::simulate::caught;
use crate::trace::Trace;

/// What there is of one run; the director and whoever tests hold it together.
pub(crate) struct Stage {
    state: Mutex<State>,
    /// Something was found, or an actor crashed.
    pub(crate) news: Notify,
    begun: Instant,
}

pub(crate) struct State {
    pub(crate) dice: Dice,
    faults: Faults,
    /// Faults come by chance; scripts are followed in any case.
    pub(crate) is_rough: bool,
    progress: Progress,
    checks: Checks,
    /// Of each system, in the order in which they were begun.
    known: Vec<Known>,
    pub(crate) trace: Option<Trace>,
    pub(crate) found: Option<Violation>,
    pub(crate) decisions: u64,
    decisions_max: u64,
    pub(crate) crashes: Vec<Crash>,
    keeps_crashes: bool,
}

/// A failure of an actor, as a test sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Crash {
    /// Of the actor.
    pub path: String,
    /// Which life it was, counted from 1.
    pub incarnation: u64,
    /// The text of the error or the panic.
    pub text: String,
    /// How it failed.
    pub kind: FailureKind,
    /// When, since the test began.
    pub at: Duration,
}

/// In how many decisions the other tasks have their turn once.
const YIELDS: u32 = 8;

impl Stage {
    /// To be called inside the runtime whose clock is the run's.
    pub(crate) fn new(dice: Dice, faults: Faults, checks: Checks, decisions_max: u64) -> Arc<Self> {
        Arc::new(Stage {
            state: Mutex::new(State {
                dice,
                faults,
                is_rough: false,
                progress: Progress::default(),
                checks,
                known: Vec::new(),
                trace: None,
                found: None,
                decisions: 0,
                decisions_max,
                crashes: Vec::new(),
                keeps_crashes: false,
            }),
            news: Notify::new(),
            begun: Instant::now(),
        })
    }

    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        f(&mut self.state.lock())
    }

    /// Returns a director for another system of the run, and the number of that system.
    pub(crate) fn direct(self: &Arc<Self>) -> (Directing, usize) {
        let system = self.with(|state| {
            state.known.push(Known::default());
            state.known.len() - 1
        });
        let stage = Arc::clone(self);
        (Directing { stage, system }, system)
    }

    /// Returns how many messages of a system were seen to end.
    pub(crate) fn seen(&self, system: usize) -> Seen {
        self.with(|state| state.known[system].seen)
    }

    pub(crate) fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    pub(crate) fn keep_crashes(&self) {
        self.with(|state| state.keeps_crashes = true);
    }

    /// What was found is the first that was.
    pub(crate) fn find(&self, violation: Violation) {
        let now = self.now();
        self.with(|state| state.find(now, violation));
        self.news.notify_waiters();
    }

    pub(crate) fn note(&self, text: impl FnOnce() -> String) {
        let now = self.now();
        self.with(|state| {
            if let Some(trace) = &mut state.trace {
                trace.note(now, text());
            }
        });
    }
}

impl State {
    /// Counts a decision, or a turn of the scenario; true when it is the last one that there may be.
    pub(crate) fn is_endless(&mut self, now: Duration) -> bool {
        self.decisions += 1;
        let is_last = self.decisions == self.decisions_max;
        if is_last {
            let max = self.decisions;
            let text = format!(
                "{max} decisions, and it goes on: the actors or the scenario keep themselves busy"
            );
            self.find(now, Violation::new("decisions", text));
        }
        is_last
    }

    fn find(&mut self, now: Duration, violation: Violation) {
        if self.found.is_some() {
            return;
        }
        if let Some(trace) = &mut self.trace {
            trace.close(now, format!("FOUND {violation}"));
        }
        self.found = Some(violation);
    }
}

/// The director of one system of a run.
pub(crate) struct Directing {
    stage: Arc<Stage>,
    system: usize,
}

impl Director for Directing {
    fn decide(&mut self, decision: Decision, n: usize) -> usize {
        let now = self.stage.now();
        let mut state = self.stage.state.lock();
        if state.is_endless(now) {
            drop(state);
            self.stage.news.notify_waiters();
            return 0;
        }
        // Where all is found, whatever runs is to let the scenario end.
        if state.found.is_some() {
            return if decision == Decision::Yield {
                n - 1
            } else {
                0
            };
        }
        if decision == Decision::Yield
            && let Some(trace) = &mut state.trace
        {
            trace.has_run();
        }
        match decision {
            Decision::Yield => match state.dice.chance(Lane::Schedule, 1, YIELDS) {
                true => n - 1,
                false => 0,
            },
            Decision::Next => {
                let chosen = state.dice.choose(Lane::Schedule, n);
                if let Some(trace) = &mut state.trace {
                    trace.chose(chosen, n);
                }
                chosen
            }
            Decision::Inside => {
                let inside = state.dice.choose(Lane::Schedule, n);
                if inside != 0
                    && let Some(trace) = &mut state.trace
                {
                    trace.asks_in_turn();
                }
                inside
            }
            _ => state.dice.choose(Lane::Schedule, n),
        }
    }

    fn saw(&mut self, step: &Step<'_>) {
        let now = self.stage.now();
        let mut state = self.stage.state.lock();
        let State {
            checks,
            known,
            trace,
            ..
        } = &mut *state;
        if let Some(trace) = trace {
            trace.step(now, step);
        }
        let violation = known[self.system].step(checks, now, step);
        let mut is_news = violation.is_some();
        if state.keeps_crashes
            && let Step::Failed {
                path,
                incarnation,
                kind,
                text,
                ..
            } = *step
        {
            is_news = true;
            state.crashes.push(Crash {
                path: path.to_owned(),
                incarnation,
                text: text.to_owned(),
                kind,
                at: now,
            });
        }
        if let Some(violation) = violation {
            state.find(now, violation);
        }
        drop(state);
        if is_news {
            self.stage.news.notify_waiters();
        }
    }

    fn disturb(&mut self, moment: &Moment<'_>) -> Option<Fault> {
        let now = self.stage.now();
        let mut state = self.stage.state.lock();
        let State {
            dice,
            faults,
            is_rough,
            progress,
            checks,
            known,
            trace,
            found,
            ..
        } = &mut *state;
        let dice = (*is_rough && found.is_none()).then_some(dice);
        let mut fault = None;
        // In here closures of the test's author are called. A panic that got out of it would pass for a crash of the actor.
        let looked = caught(|| {
            fault = match moment {
                Moment::Start { path, .. } => progress.at_start(faults, dice, path),
                Moment::Message { path, message, .. } => {
                    progress.at_message(faults, dice, path, *message)
                }
                Moment::Subscribe { path, .. } => {
                    faults.is_deaf(path).then_some(Fault::Unsubscribe)
                }
                _ => None,
            };
            if let Some(trace) = trace {
                trace.moment(now, moment, fault.as_ref());
            }
            known[self.system].moment(checks, moment)
        });
        let violation = looked.unwrap_or_else(|(place, text)| {
            let text = format!("{text}, in a closure of the test, at {moment:?}");
            Some(Violation::new(format!("panic at {place}"), text))
        });
        if let Some(violation) = violation {
            state.find(now, violation);
            drop(state);
            self.stage.news.notify_waiters();
        }
        fault
    }

    fn capacity(&mut self, path: &str, capacity: usize) -> usize {
        self.stage.state.lock().faults.capacity(path, capacity)
    }
}
