//! Choices: made by dice, written down, and made again from what was written.
//!
//! There are three lanes, so that what is left out of one does not shift what
//! the others mean. 0 is the plainest choice everywhere, and what a replay finds
//! no choice for is 0: so a schedule becomes shorter and plainer by the same step.

use std::fmt;

/// What a choice is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Who runs next, and for how long.
    Schedule,
    /// What goes wrong.
    Faults,
    /// What the scenario does.
    World,
}

impl Lane {
    pub(crate) const ALL: [Lane; 3] = [Lane::Schedule, Lane::Faults, Lane::World];
}

/// All choices of one run, by lane.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Choices(pub(crate) [Vec<u64>; 3]);

impl Choices {
    /// How many choices are not the plainest.
    pub(crate) fn len(&self) -> usize {
        self.0
            .iter()
            .flatten()
            .filter(|&&choice| choice != 0)
            .count()
    }

    /// What of two is the plainer: fewer, then smaller, then shorter.
    pub(crate) fn weight(&self) -> (usize, u128, usize) {
        let sum = self.0.iter().flatten().map(|&choice| u128::from(choice));
        (self.len(), sum.sum(), self.0.iter().map(Vec::len).sum())
    }

    /// Without zeros at the ends: a replay has them anyway.
    pub(crate) fn trimmed(mut self) -> Self {
        for lane in &mut self.0 {
            let len = lane
                .iter()
                .rposition(|&choice| choice != 0)
                .map_or(0, |at| at + 1);
            lane.truncate(len);
        }
        self
    }
}

impl fmt::Display for Choices {
    /// As in `schedule 3:1 7:2, faults 0:1`: the place in the lane, and the choice where it is not 0.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (lane, name)) in self
            .0
            .iter()
            .zip(["schedule", "faults", "world"])
            .enumerate()
        {
            write!(f, "{}{name}", if n == 0 { "" } else { ", " })?;
            let mut is_plain = true;
            for (at, choice) in lane.iter().enumerate().filter(|(_, choice)| **choice != 0) {
                is_plain = false;
                write!(f, " {at}:{choice}")?;
            }
            if is_plain {
                f.write_str(" -")?;
            }
        }
        Ok(())
    }
}

/// Where choices come from, and where they are written down.
pub(crate) struct Dice {
    source: Source,
    pub(crate) made: Choices,
    /// How often, of 16 times, the schedule departs from the plainest.
    unrest: u64,
}

enum Source {
    Seed([SplitMix64; 3]),
    Replay(Choices),
}

/// Steele, Lea, Flood 2014.
#[derive(Clone)]
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

impl Dice {
    pub(crate) fn of_seed(seed: u64) -> Self {
        let mut first = SplitMix64(seed);
        let lanes = [(); 3].map(|()| SplitMix64(first.next()));
        // Some bugs want an order in which everybody is overtaken all the time, others one in which it happens once.
        let unrest = [1, 4, 16][(first.next() % 3) as usize];
        Dice {
            source: Source::Seed(lanes),
            made: Choices::default(),
            unrest,
        }
    }

    pub(crate) fn of(choices: Choices) -> Self {
        Dice {
            source: Source::Replay(choices),
            made: Choices::default(),
            unrest: 16,
        }
    }

    /// Returns a number below `n`.
    pub(crate) fn choose(&mut self, lane: Lane, n: usize) -> usize {
        let unrest = self.unrest;
        self.draw(lane, n, |dice| {
            if lane == Lane::Schedule && unrest < 16 && dice.next() % 16 >= unrest {
                return 0;
            }
            dice.next() % n.max(1) as u64
        })
    }

    /// Whether what comes about `part` times of `whole` does this time.
    pub(crate) fn chance(&mut self, lane: Lane, part: u32, whole: u32) -> bool {
        self.draw(lane, 2, |dice| {
            u64::from(dice.next() % u64::from(whole.max(1)) < u64::from(part))
        }) != 0
    }

    /// Makes a choice below `n`, and writes down what was made: not what a replay was given, which may be beyond.
    fn draw(&mut self, lane: Lane, n: usize, draw: impl FnOnce(&mut SplitMix64) -> u64) -> usize {
        let made = &mut self.made.0[lane as usize];
        let choice = match &mut self.source {
            Source::Seed(lanes) => draw(&mut lanes[lane as usize]),
            Source::Replay(choices) => choices.0[lane as usize]
                .get(made.len())
                .copied()
                .unwrap_or(0),
        };
        let choice = choice.min(n.saturating_sub(1) as u64);
        made.push(choice);
        choice as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_may_be_as_large_as_a_number_can_be() {
        let mut dice = Dice::of_seed(1);
        let chosen: Vec<usize> = (0..8)
            .map(|_| dice.choose(Lane::World, usize::MAX))
            .collect();
        let mut sorted = chosen.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), 8, "{chosen:?}");
        let mut again = Dice::of(dice.made);
        assert!(
            chosen
                .iter()
                .all(|&n| again.choose(Lane::World, usize::MAX) == n)
        );
    }

    #[test]
    fn what_is_written_down_is_what_was_chosen() {
        let mut dice = Dice::of(Choices([vec![9, 1], vec![7], vec![]]));
        assert_eq!(dice.choose(Lane::Schedule, 3), 2);
        assert_eq!(dice.choose(Lane::Schedule, 3), 1);
        assert!(dice.chance(Lane::Faults, 1, 2));
        assert_eq!(dice.choose(Lane::World, 0), 0);
        assert_eq!(dice.made, Choices([vec![2, 1], vec![1], vec![0]]));
    }
}
