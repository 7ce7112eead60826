//! One supervisor's book, and what it decides from it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::backoff::{SplitMix64, Streak};
use crate::limit::Window;
use crate::{Backoff, ChildId, Exit, Limit, Restart, Roster, Strategy};

/// What a supervisor is to do about the end of a child.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a verdict does nothing until the supervisor carries it out"]
pub enum Verdict {
    /// Nothing is to be done: the child is not in the book, or it stays down in its place.
    ///
    /// A transient child that ended clean stays down. It keeps its entry, and the next restart of
    /// its group starts it again, as in OTP.
    Ignore,
    /// The child is gone for good; the law has struck it out.
    Forget,
    /// A group is to be stopped now, and started again later.
    ///
    /// How to carry it out:
    ///
    /// 1. Stop each child of `stop` and wait for its end before the next one. One that is down
    ///    already needs no stopping.
    /// 2. Give up what is kept for the children of `forget`; the law has struck them out.
    /// 3. Wait for `after`.
    /// 4. Start each child of `start`, one after the other. If a start fails, start no later one
    ///    and ask [`Law::start_failed`].
    ///
    /// A newer verdict overrules what is still to be done of an older one for the children that
    /// it lists.
    Restart {
        /// The rest of the group, without the child that ended, in reverse start order.
        stop: Vec<ChildId>,
        /// The temporary members of the group, in reverse start order; each is in `stop` too.
        forget: Vec<ChildId>,
        /// The group without those to forget, in start order, with the child that ended.
        start: Vec<ChildId>,
        /// The wait from now to the first start.
        after: Duration,
    },
    /// The limit is exceeded: the supervisor is to stop everybody and end itself.
    ///
    /// It ends with [`Exit::Shutdown`] as OTP's does, so its own supervisor restarts it if it is
    /// permanent there, and leaves it down if it is transient. The book is left as it is.
    Escalate {
        /// Every other child, in reverse start order.
        stop: Vec<ChildId>,
    },
}

/// The book of one supervisor, and the rules by which it is read.
///
/// `now` is always the time since one fixed moment, the same for all calls: of a monotonic clock,
/// or of a simulation. When it is earlier than in a call before, the law's time stands still until
/// `now` has caught up; so nothing counts as older than it is, and the limit holds.
///
/// Report only an end that the supervisor has not ordered. The end of a child while it is being
/// stopped is its stop, whatever the reason; reported here, it would cost a restart of its own.
///
/// A question costs O(log n) of n children, plus the length of the lists in the answer; to strike
/// one out costs the same on average. Kept are an entry of some nine bytes per child, for each that
/// was restarted its back-off, and at most one restart more than the limit allows.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use greenroom_supervision::{
///     Backoff, ChildId, Exit, Law, Limit, Restart, Strategy, Verdict,
/// };
///
/// let limit = Limit::new(3, Duration::from_secs(30));
/// let mut law = Law::new(Strategy::OneForAll, limit, Backoff::none(), 0);
/// let (store, cache, warm_up) = (ChildId(7), ChildId(3), ChildId(5));
/// law.add(store, Restart::Permanent);
/// law.add(cache, Restart::Permanent);
/// law.add(warm_up, Restart::Temporary);
///
/// let verdict = law.exited(Duration::from_secs(1), cache, Exit::Failed);
/// assert_eq!(
///     verdict,
///     Verdict::Restart {
///         stop: vec![warm_up, store],
///         forget: vec![warm_up],
///         start: vec![store, cache],
///         after: Duration::ZERO,
///     },
/// );
/// assert!(law.children().eq([store, cache]));
/// assert_eq!(law.restarts_in_window(Duration::from_secs(1)), 1);
/// ```
#[derive(Clone, Debug)]
pub struct Law {
    strategy: Strategy,
    backoff: Backoff,
    /// Seats are given out in rising order and never again, so their order is the start order.
    ///
    /// A child sits on the seat of its own number where that keeps the order, as it does for whoever
    /// numbers children in the order of their start: then this is all there is of it.
    seats: Roster<Restart>,
    /// Of the children that have been restarted, by seat.
    streaks: BTreeMap<u64, Streak>,
    /// The children that sit elsewhere, by number and by seat.
    moved: BTreeMap<ChildId, u64>,
    moved_seats: BTreeMap<u64, ChildId>,
    next_seat: u64,
    window: Window,
    /// The latest `now` so far.
    clock: Duration,
    dice: SplitMix64,
}

/// From here on numbers say nothing of seats, so that these never run out.
const SEATS_MAX: u64 = u64::MAX / 2;

impl Law {
    /// Creates the law of a supervisor that has no children yet.
    ///
    /// `seed` decides the jitter. Give each supervisor its own: with the same seed they draw the
    /// same delays, and restart in step.
    #[must_use]
    pub fn new(strategy: Strategy, limit: Limit, backoff: Backoff, seed: u64) -> Self {
        Self {
            strategy,
            backoff,
            seats: Roster::new(),
            streaks: BTreeMap::new(),
            moved: BTreeMap::new(),
            moved_seats: BTreeMap::new(),
            next_seat: 0,
            window: Window::new(limit),
            clock: Duration::ZERO,
            dice: SplitMix64(seed),
        }
    }

    /// Adds a child, which starts after all that are in the book.
    ///
    /// A child that is in the book stays as it is: its place, its restart type and its back-off.
    /// Whoever wants to change it removes it first, and thereby moves it to the end.
    pub fn add(&mut self, child: ChildId, restart: Restart) {
        let is_in_order = (self.next_seat..SEATS_MAX).contains(&child.0);
        if is_in_order {
            self.next_seat = child.0;
        } else if self.find(child).is_some() {
            return;
        } else {
            self.moved.insert(child, self.next_seat);
            self.moved_seats.insert(self.next_seat, child);
        }
        self.seats.insert(self.next_seat, restart);
        self.next_seat += 1;
    }

    /// Strikes a child out and returns whether it was in the book.
    ///
    /// The restarts that it caused go on counting against the limit.
    pub fn remove(&mut self, child: ChildId) -> bool {
        let Some((number, _)) = self.find(child) else {
            return false;
        };
        if self.moved.remove(&child).is_some() {
            self.moved_seats.remove(&number);
        }
        self.streaks.remove(&number);
        self.seats.remove(number).is_some()
    }

    /// Decides what the end of a child means.
    ///
    /// The table restart × exit is in the [crate's documentation](crate).
    pub fn exited(&mut self, now: Duration, child: ChildId, exit: Exit) -> Verdict {
        self.advance(now);
        let Some((number, restart)) = self.find(child) else {
            return Verdict::Ignore;
        };
        match restart {
            Restart::Permanent => self.restart(number),
            Restart::Transient if !exit.is_clean() => self.restart(number),
            Restart::Transient if self.strategy != Strategy::Dynamic => Verdict::Ignore,
            Restart::Transient | Restart::Temporary => self.forget(child),
        }
    }

    /// Decides what it means that a start which the law ordered has failed.
    ///
    /// It counts as one restart more, whether the child is permanent or transient, and is tried
    /// again after the child's back-off. Of a [`RestForOne`](Strategy::RestForOne) group only
    /// this child and the later ones are tried again: the earlier ones are up. A temporary child
    /// is forgotten, though the law never orders its start.
    ///
    /// A start that fails when the supervisor itself starts is no matter of the law: OTP then
    /// stops what has started and lets the supervisor's own start fail.
    pub fn start_failed(&mut self, now: Duration, child: ChildId) -> Verdict {
        self.advance(now);
        match self.find(child) {
            None => Verdict::Ignore,
            Some((_, Restart::Temporary)) => self.forget(child),
            Some((number, Restart::Permanent | Restart::Transient)) => self.restart(number),
        }
    }

    /// Returns the number of restarts that count against the limit at `now`.
    ///
    /// It is at most one more than the limit allows: the one that made the law escalate.
    #[must_use]
    pub fn restarts_in_window(&self, now: Duration) -> u32 {
        self.window.count(now.max(self.clock))
    }

    /// Returns the part of the limit that is used at `now`.
    ///
    /// 0 is quiet; from 1 on the next restart escalates; it is more than 1 once the law has
    /// escalated. A limit of 0 restarts, which has no parts, reads 0 before it has escalated and 1
    /// afterwards.
    #[must_use]
    pub fn limit_used_ratio(&self, now: Duration) -> f64 {
        let allowed = self.window.limit().restarts().max(1);
        f64::from(self.restarts_in_window(now)) / f64::from(allowed)
    }

    /// Returns the children in start order.
    #[must_use]
    pub fn children(&self) -> impl DoubleEndedIterator<Item = ChildId> + ExactSizeIterator {
        self.seats.iter().map(|(number, _)| self.child_on(number))
    }

    fn child_on(&self, number: u64) -> ChildId {
        let moved = self.moved_seats.get(&number).copied();
        moved.unwrap_or(ChildId(number))
    }

    fn advance(&mut self, now: Duration) {
        self.clock = self.clock.max(now);
    }

    fn find(&self, child: ChildId) -> Option<(u64, Restart)> {
        let number = match self.moved.get(&child) {
            Some(&number) => number,
            // Somebody else may sit there.
            None if self.moved_seats.contains_key(&child.0) => return None,
            None => child.0,
        };
        Some((number, *self.seats.get(number)?))
    }

    fn forget(&mut self, child: ChildId) -> Verdict {
        self.remove(child);
        Verdict::Forget
    }

    /// Restarts the group of the child on the seat `failed`, or escalates.
    fn restart(&mut self, failed: u64) -> Verdict {
        if !self.window.admit(self.clock) {
            let all = self.seats.iter().rev().map(|(number, _)| number);
            let others = all.filter(|&number| number != failed);
            return Verdict::Escalate {
                stop: others.map(|number| self.child_on(number)).collect(),
            };
        }
        let group = match self.strategy {
            Strategy::OneForOne | Strategy::Dynamic => failed..=failed,
            Strategy::RestForOne => failed..=u64::MAX,
            Strategy::OneForAll => 0..=u64::MAX,
        };
        let (mut stop, mut forget, mut start) = (Vec::new(), Vec::new(), Vec::new());
        let mut after = Duration::ZERO;
        for (number, restart) in self.seats.range(group) {
            let moved = self.moved_seats.get(&number).copied();
            let child = moved.unwrap_or(ChildId(number));
            if number == failed {
                let streak = self.streaks.entry(number).or_default();
                after = streak.wait(&self.backoff, self.clock, &mut self.dice);
            } else {
                stop.push(child);
            }
            match restart {
                Restart::Permanent | Restart::Transient => start.push(child),
                Restart::Temporary => forget.push(child),
            }
        }
        stop.reverse();
        forget.reverse();
        for &child in &forget {
            self.remove(child);
        }
        Verdict::Restart {
            stop,
            forget,
            start,
            after,
        }
    }
}
