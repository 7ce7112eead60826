//! What one run shares: its dice, what goes wrong in it, what is known of it and what was found.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use greenroom::FailureKind;
use greenroom::simulation::{Decision, Director, Fault, Moment, Step};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::checks::{Checks, Known, Seen, Violation};
use crate::dice::{Dice, Lane};
use crate::faults::{Faults, Progress, Script, Whom};
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
    pub(crate) script: Script,
    /// No fault comes by chance any more; scripts are followed in any case.
    pub(crate) is_calm: bool,
    checks: Checks,
    /// In the order in which they were begun.
    systems: Vec<OneSystem>,
    pub(crate) trace: Option<Trace>,
    pub(crate) found: Option<Violation>,
    pub(crate) decisions: u64,
    decisions_max: u64,
    pub(crate) crashes: Vec<Crash>,
    /// Somebody waits for crashes.
    crashes_are_news: bool,
}

/// What there is of one system of a run.
#[derive(Default)]
struct OneSystem {
    known: Known,
    progress: Progress,
    /// It has started, so that faults may come to it by chance.
    is_rough: bool,
}

thread_local! {
    /// A closure of the test's author is called under the lock.
    static IS_ASKING: Cell<bool> = const { Cell::new(false) };
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
                script: Script::new(faults),
                is_calm: false,
                checks,
                systems: Vec::new(),
                trace: None,
                found: None,
                decisions: 0,
                decisions_max,
                crashes: Vec::new(),
                crashes_are_news: false,
            }),
            news: Notify::new(),
            begun: Instant::now(),
        })
    }

    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        // It would wait for itself.
        assert!(
            !IS_ASKING.get(),
            "a `Sim` or `Kit` is used where the kit asks the test: in a closure of its `Faults` or `Checks`, or in the `Debug` of a message"
        );
        f(&mut self.state.lock())
    }

    /// Returns a director for another system of the run, and the number of that system.
    pub(crate) fn direct(self: &Arc<Self>) -> (Directing, usize) {
        let system = self.with(|state| {
            state.systems.push(OneSystem::default());
            state.systems.len() - 1
        });
        let stage = Arc::clone(self);
        (Directing { stage, system }, system)
    }

    /// Returns how many messages of a system were seen to end.
    pub(crate) fn seen(&self, system: usize) -> Seen {
        self.with(|state| state.systems[system].known.seen)
    }

    pub(crate) fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    /// From here on faults may come to a system by chance.
    pub(crate) fn roughen(&self, system: usize) {
        self.with(|state| state.systems[system].is_rough = true);
    }

    pub(crate) fn tell_crashes(&self) {
        self.with(|state| state.crashes_are_news = true);
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
                "{max} decisions, and it goes on: the actors or the scenario keep themselves busy; \
                 where actors have timers, end the scenario with `system.stop().await`"
            );
            self.find(now, Violation::new("decisions", "", text));
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
            systems,
            trace,
            ..
        } = &mut *state;
        if let Some(trace) = trace {
            trace.step(now, step);
        }
        let violation = systems[self.system].known.step(checks, now, step);
        let mut is_news = violation.is_some();
        if let Step::Failed {
            path,
            incarnation,
            kind,
            text,
            ..
        } = *step
        {
            is_news |= state.crashes_are_news;
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
            script,
            is_calm,
            checks,
            systems,
            trace,
            found,
            ..
        } = &mut *state;
        let OneSystem {
            known,
            progress,
            is_rough,
        } = &mut systems[self.system];
        let is_rough = *is_rough && !*is_calm && found.is_none();
        let dice = is_rough.then_some(dice);
        let mut fault = None;
        IS_ASKING.set(true);
        // In here closures of the test's author are called. A panic that got out of it would pass for a crash of the actor.
        let looked = caught(|| {
            fault = match *moment {
                Moment::Start { path, actor, .. } => {
                    script.at_start(progress, dice, Whom { path, actor })
                }
                Moment::Message {
                    path,
                    actor,
                    message,
                    ..
                } => script.at_message(progress, dice, Whom { path, actor }, message),
                Moment::Subscribe { path, .. } => {
                    script.is_deaf(path).then_some(Fault::Unsubscribe)
                }
                _ => None,
            };
            if let Some(trace) = trace {
                trace.moment(now, moment, fault.as_ref());
            }
            known.moment(checks, moment)
        });
        IS_ASKING.set(false);
        let violation = looked.unwrap_or_else(|(place, text)| {
            let text = format!("{text}, in a closure of the test, at {moment:?}");
            Some(Violation::panic(&place, text))
        });
        if let Some(violation) = violation {
            state.find(now, violation);
            drop(state);
            self.stage.news.notify_waiters();
        }
        fault
    }

    fn capacity(&mut self, path: &str, capacity: usize) -> usize {
        self.stage.state.lock().script.capacity(path, capacity)
    }
}
