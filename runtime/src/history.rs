//! The lives that are over, of the roles that failed: for the report of the next crash.
//!
//! There are so many roles at most, those that failed latest. So a hundred
//! thousand that crash at once cost no more memory than some thousands.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use crate::core::micros::Micros;
use crate::{LifeEnd, PastLife, Path, StartCause};

/// How many lives are kept of a role.
const LIVES_MAX: usize = 8;

/// How many roles: with the texts of what failed some megabytes.
const ROLES_MAX: usize = 4_096;

#[derive(Default)]
pub(crate) struct Histories(Mutex<Table>);

#[derive(Default)]
struct Table {
    of: HashMap<Path, History, RandomState>,
    /// All roles that are there; who is at the front goes first, unless it was added to since it was looked at.
    order: VecDeque<Path>,
}

#[derive(Default)]
struct History {
    /// The latest last.
    lives: VecDeque<Lived>,
    was_added_to: bool,
}

/// A life that is over; the times are since the beginning of the system.
pub(crate) struct Lived {
    pub(crate) incarnation: u64,
    pub(crate) end: LifeEnd,
    pub(crate) began: Micros,
    pub(crate) ended: Micros,
    pub(crate) cause: StartCause,
}

impl Histories {
    /// Adds a life to those of a role; the first of a role has to be one that failed.
    pub(crate) fn add(&self, path: &Path, has_failed: bool, life: Lived) {
        let mut table = self.0.lock();
        // What is in the way is dropped without the lock.
        let (mut oldest, mut forgotten) = (None, None);
        if let Some(history) = table.of.get_mut(path) {
            history.was_added_to = true;
            if history.lives.len() == LIVES_MAX {
                oldest = history.lives.pop_front();
            }
            history.lives.push_back(life);
        } else if has_failed {
            if table.order.len() == ROLES_MAX {
                forgotten = table.make_room();
            }
            let history = History {
                lives: VecDeque::from([life]),
                was_added_to: false,
            };
            table.of.insert(path.clone(), history);
            table.order.push_back(path.clone());
        }
        drop(table);
        drop((oldest, forgotten));
    }

    /// The lives of a role, the latest first.
    pub(crate) fn of(&self, path: &Path, now: Micros) -> Vec<PastLife> {
        let table = self.0.lock();
        let lives = table.of.get(path).into_iter();
        let lives = lives.flat_map(|history| history.lives.iter().rev());
        let lives = lives.map(|life| PastLife {
            incarnation: life.incarnation,
            cause: life.cause,
            ran_for: life.ended.since(life.began),
            ended: now.since(life.ended),
            end: life.end.clone(),
        });
        lives.collect()
    }
}

impl Table {
    /// Takes out the first in order that was not added to since it last was the first.
    fn make_room(&mut self) -> Option<(Path, History)> {
        loop {
            let path = self.order.pop_front()?;
            match self.of.get_mut(&path) {
                Some(history) if history.was_added_to => {
                    history.was_added_to = false;
                    self.order.push_back(path);
                }
                _ => return self.of.remove_entry(&path),
            }
        }
    }
}

#[cfg(all(test, not(any(greenroom_loom, greenroom_shuttle))))]
mod tests {
    use super::*;

    fn lived(incarnation: u64) -> Lived {
        Lived {
            incarnation,
            end: LifeEnd::Killed,
            began: Micros::default(),
            ended: Micros::default(),
            cause: StartCause::Boot,
        }
    }

    fn numbers(histories: &Histories, path: &Path) -> Vec<u64> {
        let lives = histories.of(path, Micros::default());
        lives.iter().map(|life| life.incarnation).collect()
    }

    #[test]
    fn the_latest_lives_of_a_role_are_kept_from_the_first_that_failed() {
        let (histories, path) = (Histories::default(), Path::root("it"));
        histories.add(&path, false, lived(1));
        assert!(numbers(&histories, &path).is_empty());
        for n in 2..=11 {
            histories.add(&path, n == 2, lived(n));
        }
        assert_eq!(numbers(&histories, &path), [11, 10, 9, 8, 7, 6, 5, 4]);
    }

    #[test]
    fn there_are_so_many_roles_at_most_and_who_failed_again_stays() {
        let (histories, again) = (Histories::default(), Path::root("again"));
        let other = |n: usize| Path::root(&n.to_string());
        histories.add(&again, true, lived(1));
        for n in 1..ROLES_MAX {
            histories.add(&other(n), true, lived(1));
        }
        histories.add(&again, true, lived(2));
        histories.add(&other(ROLES_MAX), true, lived(1));
        assert_eq!(numbers(&histories, &again), [2, 1]);
        assert!(numbers(&histories, &other(1)).is_empty());
        assert_eq!(numbers(&histories, &other(2)), [1]);
        let table = histories.0.lock();
        assert_eq!((table.of.len(), table.order.len()), (ROLES_MAX, ROLES_MAX));
    }
}
