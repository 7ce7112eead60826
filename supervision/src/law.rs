//! One supervisor's book, and what it decides from it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::backoff::{SplitMix64, Streak};
use crate::limit::Window;
use crate::{AutoShutdown, Backoff, ChildId, Exit, Limit, Restart, Roster, Strategy};

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
    /// The significant children are done: the supervisor is to stop everybody and end itself.
    ///
    /// It ends with [`Exit::Shutdown`], as one that was asked to, and that is no failure. The book is left
    /// as it is, also where it names a temporary child that is gone.
    AutoShutdown {
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
/// Report as [`exited`](Self::exited) only an end that the supervisor has not ordered. The end of a
/// child while it is being stopped is its stop, whatever the reason; reported there, it would cost a
/// restart of its own. One that is stopped by order, and not along with its group, is
/// [`stopped`](Self::stopped).
///
/// All settings can be changed while it is in use. A change decides nothing by itself: it holds from
/// the next question on, and what has been counted goes on counting.
///
/// A question costs O(log n) of n children, plus the length of the lists in the answer; to strike
/// one out costs the same on average. Kept are an entry of some eleven bytes per child, for each that
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
    auto_shutdown: AutoShutdown,
    backoff: Backoff,
    /// Seats are given out in rising order and never again, so their order is the start order.
    ///
    /// A child sits on the seat of its own number where that keeps the order, as it does for whoever
    /// numbers children in the order of their start: then this is all there is of it.
    seats: Roster<Seat>,
    /// How many of them are significant and not down.
    active: usize,
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

/// What is known of a child.
#[derive(Clone, Copy, Debug)]
struct Seat {
    restart: Restart,
    is_significant: bool,
    /// It stays down until it is ordered otherwise. One that waits for its restart is not down.
    is_down: bool,
}

impl Seat {
    fn is_active(self) -> bool {
        self.is_significant && !self.is_down
    }
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
            auto_shutdown: AutoShutdown::Never,
            backoff,
            seats: Roster::new(),
            active: 0,
            streaks: BTreeMap::new(),
            moved: BTreeMap::new(),
            moved_seats: BTreeMap::new(),
            next_seat: 0,
            window: Window::new(limit),
            clock: Duration::ZERO,
            dice: SplitMix64(seed),
        }
    }

    /// Sets whether the supervisor shuts itself down; it never does by default.
    #[must_use]
    pub fn auto_shutdown(mut self, auto_shutdown: AutoShutdown) -> Self {
        self.auto_shutdown = auto_shutdown;
        self
    }

    /// Adds a child, which starts after all that are in the book.
    ///
    /// A child that is in the book stays as it is: its place, its terms and its back-off. To change
    /// its terms there is [`set_terms`](Self::set_terms).
    pub fn add(&mut self, child: ChildId, restart: Restart) {
        self.enter(child, restart, false);
    }

    /// Adds a child whose end may be the end of the supervisor: see [`AutoShutdown`].
    ///
    /// It may be of any restart type; one that is permanent is never done, though, so
    /// [`AutoShutdown::check_child`] says which make sense.
    pub fn add_significant(&mut self, child: ChildId, restart: Restart) {
        self.enter(child, restart, true);
    }

    fn enter(&mut self, child: ChildId, restart: Restart, is_significant: bool) {
        let is_in_order = (self.next_seat..SEATS_MAX).contains(&child.0);
        if is_in_order {
            self.next_seat = child.0;
        } else if self.find(child).is_some() {
            return;
        } else {
            self.moved.insert(child, self.next_seat);
            self.moved_seats.insert(self.next_seat, child);
        }
        let seat = Seat {
            restart,
            is_significant,
            is_down: false,
        };
        self.seats.insert(self.next_seat, seat);
        self.active += usize::from(is_significant);
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
        let seat = self.seats.remove(number);
        self.active -= usize::from(seat.is_some_and(Seat::is_active));
        seat.is_some()
    }

    /// Decides what the end of a child means.
    ///
    /// The table restart × exit is in the [crate's documentation](crate).
    pub fn exited(&mut self, now: Duration, child: ChildId, exit: Exit) -> Verdict {
        self.advance(now);
        let Some((number, seat)) = self.find(child) else {
            return Verdict::Ignore;
        };
        match seat.restart {
            Restart::Permanent => self.restart(number),
            Restart::Transient if !exit.is_clean() => self.restart(number),
            Restart::Transient | Restart::Temporary => {
                self.change(number, |seat| seat.is_down = true);
                let is_over = match self.auto_shutdown {
                    AutoShutdown::Never => false,
                    AutoShutdown::AnySignificant => seat.is_significant,
                    AutoShutdown::AllSignificant => seat.is_significant && self.active == 0,
                };
                if is_over {
                    let stop = self.others(number);
                    return Verdict::AutoShutdown { stop };
                }
                self.let_go(child, seat.restart)
            }
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
            Some((number, seat)) => match seat.restart {
                Restart::Temporary => self.forget(child),
                Restart::Permanent | Restart::Transient => self.restart(number),
            },
        }
    }

    /// Decides what becomes of a child that is down by order, OTP's `terminate_child`, or whose start
    /// said that there is nothing to start, OTP's `ignore`.
    ///
    /// It stays down in its place until [`started`](Self::started), or until its group is restarted; a
    /// temporary one is forgotten, and so is each of a [dynamic](Strategy::Dynamic) supervisor. It
    /// costs no restart, and it is no reason for an [auto-shutdown](AutoShutdown), whoever is left.
    ///
    /// What an earlier verdict has still to start is started without this child.
    pub fn stopped(&mut self, child: ChildId) -> Verdict {
        let Some((number, seat)) = self.find(child) else {
            return Verdict::Ignore;
        };
        self.change(number, |seat| seat.is_down = true);
        self.let_go(child, seat.restart)
    }

    /// Notes that a child which was down is up again by order, OTP's `restart_child`.
    ///
    /// What a verdict orders to start need not be reported.
    pub fn started(&mut self, child: ChildId) {
        if let Some((number, _)) = self.find(child) {
            self.change(number, |seat| seat.is_down = false);
        }
    }

    /// Changes the limit; the restarts of its window that have been ordered count under the new one.
    ///
    /// As in OTP those are lost that were too old for the limit before when last counted.
    pub fn set_limit(&mut self, limit: Limit) {
        self.window.set_limit(limit);
    }

    /// Changes which siblings a restart takes along.
    ///
    /// Who stays down in its place stays there, also under a supervisor that becomes
    /// [dynamic](Strategy::Dynamic).
    pub fn set_strategy(&mut self, strategy: Strategy) {
        self.strategy = strategy;
    }

    /// Changes how long restarts wait; who failed in a row goes on in that row.
    pub fn set_backoff(&mut self, backoff: Backoff) {
        self.backoff = backoff;
    }

    /// Changes whether the supervisor shuts itself down.
    ///
    /// It shuts down by no end that was before: where all significant children are done already, the
    /// next end of one counts.
    pub fn set_auto_shutdown(&mut self, auto_shutdown: AutoShutdown) {
        self.auto_shutdown = auto_shutdown;
    }

    /// Changes the terms of a child, which keeps its place and its back-off, and returns whether it is
    /// in the book.
    ///
    /// Which terms of a significant child make sense is said by [`AutoShutdown::check_child`].
    pub fn set_terms(&mut self, child: ChildId, restart: Restart, is_significant: bool) -> bool {
        let found = self.find(child);
        if let Some((number, _)) = found {
            self.change(number, |seat| {
                seat.restart = restart;
                seat.is_significant = is_significant;
            });
        }
        found.is_some()
    }

    /// Returns when a child is started again and whether it is significant; `None` if it is not in
    /// the book.
    #[must_use]
    pub fn terms(&self, child: ChildId) -> Option<(Restart, bool)> {
        let (_, seat) = self.find(child)?;
        Some((seat.restart, seat.is_significant))
    }

    /// Returns the number of restarts that count against the limit at `now`.
    ///
    /// It is at most one more than the limit allows: the one that made the law escalate. After the
    /// limit was lowered it may be more, until the window has slid.
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

    fn find(&self, child: ChildId) -> Option<(u64, Seat)> {
        let number = match self.moved.get(&child) {
            Some(&number) => number,
            // Somebody else may sit there.
            None if self.moved_seats.contains_key(&child.0) => return None,
            None => child.0,
        };
        Some((number, *self.seats.get(number)?))
    }

    fn change(&mut self, number: u64, by: impl FnOnce(&mut Seat)) {
        if let Some(seat) = self.seats.get_mut(number) {
            self.active -= usize::from(seat.is_active());
            by(seat);
            self.active += usize::from(seat.is_active());
        }
    }

    /// All but the child on this seat, in reverse start order.
    fn others(&self, number: u64) -> Vec<ChildId> {
        let all = self.seats.iter().rev().map(|(number, _)| number);
        let others = all.filter(|&other| other != number);
        others.map(|number| self.child_on(number)).collect()
    }

    /// A child is down for good: it keeps its place if a restart of its group may bring it back.
    fn let_go(&mut self, child: ChildId, restart: Restart) -> Verdict {
        if restart == Restart::Temporary || self.strategy == Strategy::Dynamic {
            self.forget(child)
        } else {
            Verdict::Ignore
        }
    }

    fn forget(&mut self, child: ChildId) -> Verdict {
        self.remove(child);
        Verdict::Forget
    }

    /// Restarts the group of the child on the seat `failed`, or escalates.
    fn restart(&mut self, failed: u64) -> Verdict {
        if !self.window.admit(self.clock) {
            let stop = self.others(failed);
            return Verdict::Escalate { stop };
        }
        let group = match self.strategy {
            Strategy::OneForOne | Strategy::Dynamic => failed..=failed,
            Strategy::RestForOne => failed..=u64::MAX,
            Strategy::OneForAll => 0..=u64::MAX,
        };
        let (mut stop, mut forget, mut start) = (Vec::new(), Vec::new(), Vec::new());
        let mut risen = Vec::new();
        let mut after = Duration::ZERO;
        for (number, seat) in self.seats.range(group) {
            let moved = self.moved_seats.get(&number).copied();
            let child = moved.unwrap_or(ChildId(number));
            if number == failed {
                let streak = self.streaks.entry(number).or_default();
                after = streak.wait(&self.backoff, self.clock, &mut self.dice);
            } else {
                stop.push(child);
            }
            if seat.is_down {
                risen.push(number);
            }
            match seat.restart {
                Restart::Permanent | Restart::Transient => start.push(child),
                Restart::Temporary => forget.push(child),
            }
        }
        stop.reverse();
        forget.reverse();
        for number in risen {
            self.change(number, |seat| seat.is_down = false);
        }
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
