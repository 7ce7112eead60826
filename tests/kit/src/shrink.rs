//! Makes a failing run short: leaves choices out, as long as it still fails.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::dice::{Choices, Lane};

/// Returns the plainest choices that were found to fail, in at most `tries` runs.
///
/// `fails` runs with some choices, and returns those that it made if the run fails.
pub(crate) fn shrink(
    first: Choices,
    tries: usize,
    fails: impl FnMut(Choices) -> Option<Choices>,
) -> Choices {
    let mut search = Search {
        best: first.trimmed(),
        left: tries,
        tried: HashSet::new(),
        fails,
    };
    loop {
        let before = search.best.weight();
        for lane in Lane::ALL {
            search.cut(lane);
        }
        for lane in [Lane::World, Lane::Faults, Lane::Schedule] {
            search.thin(lane);
        }
        for lane in [Lane::World, Lane::Faults, Lane::Schedule] {
            search.delete(lane);
        }
        for lane in [Lane::World, Lane::Faults, Lane::Schedule] {
            search.lower(lane);
        }
        if search.best.weight() >= before || search.left == 0 {
            return search.best;
        }
    }
}

struct Search<R> {
    best: Choices,
    left: usize,
    /// Hashes of what was tried: a longer row of changes comes to the same choices again and again.
    tried: HashSet<u64>,
    fails: R,
}

impl<R: FnMut(Choices) -> Option<Choices>> Search<R> {
    fn lane(&self, lane: Lane) -> &[u64] {
        &self.best.0[lane as usize]
    }

    /// Takes a change if what comes of it still fails and is plainer.
    fn attempt(&mut self, lane: Lane, change: impl FnOnce(&mut Vec<u64>)) -> bool {
        if self.left == 0 {
            return false;
        }
        let mut choices = self.best.clone();
        change(&mut choices.0[lane as usize]);
        let choices = choices.trimmed();
        let mut hasher = DefaultHasher::new();
        choices.hash(&mut hasher);
        if choices == self.best || !self.tried.insert(hasher.finish()) {
            return false;
        }
        self.left -= 1;
        // What it made of them may be less than what it was given: what was not asked for, or beyond its bound.
        let Some(made) = (self.fails)(choices) else {
            return false;
        };
        let made = made.trimmed();
        let is_plainer = made.weight() < self.best.weight();
        if is_plainer {
            self.best = made;
        }
        is_plainer
    }

    /// Leaves out the end of a lane: all of it, the half, a quarter.
    fn cut(&mut self, lane: Lane) {
        let mut part = self.lane(lane).len();
        while part > 0 {
            let len = self.lane(lane).len();
            if part > len || !self.attempt(lane, |choices| choices.truncate(len - part)) {
                part /= 2;
            }
        }
    }

    /// Makes choices plain, in groups that become smaller (Zeller's delta debugging).
    fn thin(&mut self, lane: Lane) {
        let mut size = self.lane(lane).len();
        while size > 0 {
            let mut end = self.lane(lane).len();
            while end > 0 {
                let start = end.saturating_sub(size);
                let is_plain = self.lane(lane)[start..end]
                    .iter()
                    .all(|&choice| choice == 0);
                if !is_plain {
                    self.attempt(lane, |choices| choices[start..end].fill(0));
                }
                end = start.min(self.lane(lane).len());
            }
            size /= 2;
        }
    }

    /// Takes choices out, so that later ones move up.
    fn delete(&mut self, lane: Lane) {
        for size in [8, 4, 2, 1] {
            let mut end = self.lane(lane).len();
            while end >= size {
                let start = end - size;
                self.attempt(lane, |choices| drop(choices.drain(start..end)));
                end = (end - 1).min(self.lane(lane).len());
            }
        }
    }

    /// Makes choices smaller.
    fn lower(&mut self, lane: Lane) {
        let mut at = 0;
        while let Some(&choice) = self.lane(lane).get(at) {
            for smaller in [1, choice / 2, choice.saturating_sub(1)] {
                if smaller < choice && self.attempt(lane, |choices| choices[at] = smaller) {
                    break;
                }
            }
            at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_matter_is_left_out() {
        let noise: Vec<u64> = (0..200).map(|n| n * 7 % 5).collect();
        let mut first = Choices([noise.clone(), noise.clone(), noise]);
        first.0[Lane::World as usize][120] = 1000;
        let short = shrink(first, 2_000, |choices| {
            let big = choices.0[Lane::World as usize]
                .iter()
                .any(|&choice| choice >= 17);
            let two = choices.0[Lane::Schedule as usize]
                .iter()
                .filter(|&&c| c > 0)
                .count()
                >= 2;
            (big && two).then_some(choices)
        });
        assert_eq!(short.0[Lane::Faults as usize], []);
        assert_eq!(short.0[Lane::World as usize], [17]);
        assert_eq!(short.0[Lane::Schedule as usize], [1, 1]);
    }

    #[test]
    fn no_choices_are_tried_twice() {
        let mut tried = Vec::new();
        let first = Choices([vec![2, 0, 2, 0, 1, 1], vec![1, 0, 1], vec![1, 1]]);
        shrink(first, 2_000, |choices| {
            tried.push(choices.clone());
            let ones = choices.0.iter().flatten().filter(|&&choice| choice == 1);
            (ones.count() >= 3).then_some(choices)
        });
        let all = tried.len();
        tried.sort_by_key(|choices| format!("{choices:?}"));
        tried.dedup();
        assert_eq!(tried.len(), all);
    }

    #[test]
    fn no_more_runs_are_spent_than_allowed() {
        let mut runs = 0;
        let first = Choices([vec![3; 100], vec![], vec![]]);
        shrink(first, 10, |_| {
            runs += 1;
            None
        });
        assert_eq!(runs, 10);
    }
}
