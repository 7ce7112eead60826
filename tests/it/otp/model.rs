//! Orders and ends at random, compared step by step with a supervisor of a few lines.

use greenroom::prelude::*;
use greenroom::{ActorState, RemoveChildError, RestartChildError, StartChildError, StopChildError};
use greenroom_it::{seed, settle};

use super::start;
use crate::doubles::*;

/// What a supervisor knows of its children, in the order of their start.
#[derive(Default)]
struct Model(Vec<(String, Restart, bool)>);

/// Whom a restart takes along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    Nobody,
    Later,
    All,
}

impl Model {
    fn place(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|(known, ..)| known == name)
    }

    fn is_up(&self, name: &str) -> Option<bool> {
        self.place(name).map(|n| self.0[n].2)
    }

    fn set(&mut self, name: &str, is_up: bool) {
        if let Some(n) = self.place(name) {
            self.0[n].2 = is_up;
        }
    }

    /// It is down, or gone if it is temporary.
    fn leave_down(&mut self, name: &str) {
        self.set(name, false);
        self.0
            .retain(|(known, restart, _)| known != name || *restart != Restart::Temporary);
    }

    fn end(&mut self, name: &str, is_clean: bool, takes: Takes) {
        let Some(n) = self.place(name) else { return };
        let is_restarted = match self.0[n].1 {
            Restart::Permanent => true,
            Restart::Transient => !is_clean,
            Restart::Temporary => false,
        };
        if !is_restarted {
            return self.leave_down(name);
        }
        let group = match takes {
            Takes::Nobody => n..n + 1,
            Takes::Later => n..self.0.len(),
            Takes::All => 0..self.0.len(),
        };
        let mut place = 0;
        self.0.retain_mut(|(_, restart, is_up)| {
            let is_taken = group.contains(&place);
            place += 1;
            *is_up |= is_taken;
            !is_taken || *restart != Restart::Temporary
        });
    }

    fn states(&self) -> Vec<(String, ActorState)> {
        let states = self.0.iter().map(|(name, _, is_up)| {
            let state = match is_up {
                true => ActorState::Running,
                false => ActorState::Stopped,
            };
            (name.clone(), state)
        });
        states.collect()
    }
}

struct Dice(u64);

impl Dice {
    fn roll(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % n
    }
}

#[tokio::test(start_paused = true)]
async fn s23_orders_and_ends_at_random_leave_what_a_small_model_says() {
    let seed = seed();
    println!("SEED={seed}");
    let strategies = [
        (
            Supervisor::one_for_one as fn(&'static str) -> _,
            Takes::Nobody,
        ),
        (Supervisor::rest_for_one, Takes::Later),
        (Supervisor::one_for_all, Takes::All),
    ];
    for (strategy, takes) in strategies {
        let tree = strategy("app")
            .restart_limit(u32::MAX, HOUR)
            .backoff(Backoff::none());
        let system = start(tree).await.unwrap();
        let app = system.supervisor("app").unwrap();
        let mut model = Model::default();
        let mut dice = Dice(0x9E37_79B9_7F4A_7C15 ^ seed);
        for step in 0..400 {
            let name = format!("n{}", dice.roll(4));
            let place = model.is_up(&name);
            let what = dice.roll(9);
            let case = format!("{takes:?}, step {step}: {what} of {name}");
            match what {
                0..=2 => {
                    let restart = RESTARTS[dice.roll(3) as usize];
                    let ignores = what == 2;
                    let starts = match ignores {
                        true => Starts::Ignored,
                        false => Starts::Well,
                    };
                    let spec = Double::spec(name.clone(), Plan::starts([starts])).restart(restart);
                    let started = app.start_child(spec).await;
                    match place {
                        Some(true) => {
                            let is_told =
                                matches!(started, Err(StartChildError::AlreadyStarted(_)));
                            assert!(is_told, "{case}: {started:?}");
                        }
                        Some(false) => {
                            let is_told =
                                matches!(started, Err(StartChildError::AlreadyPresent(_)));
                            assert!(is_told, "{case}: {started:?}");
                        }
                        None if ignores => {
                            let is_told = matches!(started, Err(StartChildError::Ignored(_)));
                            assert!(is_told, "{case}: {started:?}");
                            model.0.push((name.clone(), restart, true));
                            model.leave_down(&name);
                        }
                        None => {
                            assert!(started.is_ok(), "{case}: {started:?}");
                            model.0.push((name, restart, true));
                        }
                    }
                }
                3 => {
                    let stopped = app.stop_child(&name).await;
                    let is_told = match place {
                        None => matches!(stopped, Err(StopChildError::NotFound(_))),
                        Some(_) => stopped.is_ok(),
                    };
                    assert!(is_told, "{case}: {stopped:?}");
                    model.leave_down(&name);
                }
                4 | 5 => {
                    let started = app.restart_child(&name).await;
                    let is_told = match place {
                        None => matches!(started, Err(RestartChildError::NotFound(_))),
                        Some(true) => matches!(started, Err(RestartChildError::Running(_))),
                        Some(false) => started.is_ok(),
                    };
                    assert!(is_told, "{case}: {started:?}");
                    model.set(&name, true);
                }
                6 => {
                    let removed = app.remove_child(&name).await;
                    let is_told = match place {
                        None => matches!(removed, Err(RemoveChildError::NotFound(_))),
                        Some(true) => matches!(removed, Err(RemoveChildError::Running(_))),
                        Some(false) => removed.is_ok(),
                    };
                    assert!(is_told, "{case}: {removed:?}");
                    if place == Some(false) {
                        model.0.retain(|(known, ..)| *known != name);
                    }
                }
                _ => {
                    let how = [Ends::Normally, Ends::Failing][(what - 7) as usize];
                    let found = system.find::<Double>(&format!("app/{name}"));
                    assert_eq!(found.is_ok(), place == Some(true), "{case}");
                    if let Ok(child) = found {
                        child.tell(how).await.unwrap();
                        settle().await;
                        model.end(&name, how == Ends::Normally, takes);
                    }
                }
            }
            assert_eq!(states(&app), model.states(), "{case}");
            let counts = counts(&app);
            let up = model.0.iter().filter(|(_, _, is_up)| *is_up).count();
            assert_eq!(counts, [model.0.len(), up, 0, model.0.len()], "{case}");
        }
        system.stop().await;
        assert!(system.stopped().await.is_ok());
        assert!(system.ledger().is_balanced(), "{}", system.ledger());
        assert!(system.snapshot().is_empty());
    }
}
