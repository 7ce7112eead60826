//! What has to hold in every run, whatever the order and whatever goes wrong.

use std::any::{Any, TypeId};
use std::collections::{BTreeMap, VecDeque};
use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use greenroom::simulation::{Moment, Step};
use greenroom::{ActorState, During, System};

/// What has to hold in every run; see [`Simulation::checks`](crate::Simulation::checks).
///
/// | check | what it finds |
/// |---|---|
/// | [`conservation`](Checks::conservation) | a message that is in no count, in two, or in another's: *sent = handled + failed + rejected + dropped + queued*, and as many are handled and failed as were seen to be |
/// | [`lives`](Checks::lives) | a message that is handled by a life that has ended, or not begun; a life that starts before the last one has ended |
/// | [`limits`](Checks::limits) | a restart beyond the limit of its supervisor, and a supervisor that gives up before |
/// | [`rest`](Checks::rest) | an actor that runs, has messages, and comes to none of them; one that is in a handler for good; a role that neither runs nor is down for good, and stays so |
/// | [`order`](Checks::order) | a message that overtakes another of its sender, or is handled twice |
#[derive(Clone)]
pub struct Checks {
    conservation: bool,
    lives: bool,
    limits: bool,
    rest: Option<Duration>,
    orders: Vec<Order>,
}

#[derive(Clone)]
struct Order {
    of: TypeId,
    number: Number,
}

/// Whose message it is, and which of that sender.
type Number = Arc<dyn Fn(&dyn Any) -> Option<(String, u64)> + Send + Sync>;

/// How long a system is left alone before it has to be at rest.
const REST: Duration = Duration::from_secs(120);

impl Checks {
    /// Returns all checks that need to know nothing of the messages: all but [`order`](Self::order).
    #[must_use]
    pub fn all() -> Self {
        Checks {
            conservation: true,
            lives: true,
            limits: true,
            rest: Some(REST),
            orders: Vec::new(),
        }
    }

    /// Returns no check, for those that are wanted to be switched on.
    #[must_use]
    pub fn none() -> Self {
        Checks {
            conservation: false,
            lives: false,
            limits: false,
            rest: None,
            orders: Vec::new(),
        }
    }

    /// Checks the ledger of each system whenever the scenario goes on, and when it has stopped, with nothing queued then.
    #[must_use]
    pub fn conservation(mut self, is_on: bool) -> Self {
        self.conservation = is_on;
        self
    }

    /// Checks that no life handles a message before its start or behind its end, and that no two of one actor overlap.
    #[must_use]
    pub fn lives(mut self, is_on: bool) -> Self {
        self.lives = is_on;
        self
    }

    /// Checks that supervisors restart as often as they may, and give up at once more.
    #[must_use]
    pub fn limits(mut self, is_on: bool) -> Self {
        self.limits = is_on;
        self
    }

    /// Checks that all are idle when the scenario is over and the system has been left alone for `time`, two minutes in [`all`](Self::all).
    ///
    /// Longer than any back-off, time limit or slow handler takes.
    #[must_use]
    pub fn rest(mut self, time: Option<Duration>) -> Self {
        self.rest = time;
        self
    }

    /// Checks the order of messages of type `M`: `number` says of each who sent it, and which of that sender it is.
    ///
    /// To one actor the numbers of one sender have to rise; they may have gaps.
    /// Types whose senders are called alike share one row of numbers. A message
    /// whose handler failed may come again.
    #[must_use]
    pub fn order<M: 'static>(
        mut self,
        number: impl Fn(&M) -> (String, u64) + Send + Sync + 'static,
    ) -> Self {
        self.orders.push(Order {
            of: TypeId::of::<M>(),
            number: Arc::new(move |message| message.downcast_ref().map(&number)),
        });
        self
    }

    pub(crate) fn rest_time(&self) -> Option<Duration> {
        self.rest
    }

    /// Looks at a system from outside, while no actor of it runs.
    ///
    /// A ledger that derives one count from the others balances in any case; what was `seen` of each message is counted apart.
    pub(crate) fn ledger(
        &self,
        system: &System,
        seen: Seen,
        has_stopped: bool,
    ) -> Option<Violation> {
        if !self.conservation {
            return None;
        }
        let ledger = system.ledger();
        let Seen { handled, failed } = seen;
        let is_well = ledger.is_balanced() && (!has_stopped || ledger.queued == 0);
        let is_true = (ledger.handled, ledger.failed) == (handled, failed);
        if is_well && is_true {
            return None;
        }
        let when = if has_stopped { " after the stop" } else { "" };
        let mut text = format!("the ledger{when} says: {ledger}");
        if !is_true {
            let _ = write!(text, "; seen were {handled} handled, {failed} failed");
        }
        Some(Violation::new("conservation", text))
    }

    /// Returns who is neither running nor down for good: each with its path, its life and its state.
    pub(crate) fn between(system: &System) -> Vec<(String, u64, ActorState)> {
        let between = system
            .snapshot()
            .into_iter()
            .filter(|info| !matches!(info.state, ActorState::Running | ActorState::Stopped));
        between
            .map(|info| (info.path.to_string(), info.incarnation, info.state))
            .collect()
    }

    /// Looks at a system that has been left alone twice, for those that were and still are between two states.
    pub(crate) fn stuck(
        system: &System,
        before: &[(String, u64, ActorState)],
    ) -> Option<Violation> {
        let mut now = Self::between(system).into_iter();
        let (path, _, state) = now.find(|one| before.contains(one))?;
        let text = format!("{path} has been {} for good", state.as_str());
        Some(Violation::new("rest", text))
    }

    /// Looks at a system that has been left alone.
    pub(crate) fn at_rest(&self, system: &System) -> Option<Violation> {
        self.rest?;
        for info in system.snapshot() {
            let Some(mailbox) = info.mailbox else {
                continue;
            };
            if info.state != ActorState::Running {
                continue;
            }
            let path = info.path;
            if let Some(message) = mailbox.handling {
                let text = format!("{path} has been handling {message} for good");
                return Some(Violation::new("rest", text));
            }
            if mailbox.depth > 0 || mailbox.waiting_senders > 0 {
                let (queued, waiting) = (mailbox.depth, mailbox.waiting_senders);
                let text = format!(
                    "{path} runs and comes to none of its messages: {queued} queued, {waiting} waiting for room"
                );
                return Some(Violation::new("rest", text));
            }
        }
        None
    }
}

/// What did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// By which two of them are the same.
    pub(crate) key: String,
    pub(crate) text: String,
}

impl Violation {
    pub(crate) fn new(key: impl Into<String>, text: impl Into<String>) -> Self {
        Violation {
            key: key.into(),
            text: text.into(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.text)
    }
}

/// How many messages were seen to end, and how.
#[derive(Clone, Copy, Default)]
pub(crate) struct Seen {
    handled: u64,
    failed: u64,
}

/// What is known of one system of a run so far.
#[derive(Default)]
pub(crate) struct Known {
    pub(crate) seen: Seen,
    /// The life of each actor that takes messages.
    lives: BTreeMap<String, u64>,
    /// When each supervisor restarted, in its present life.
    restarts: BTreeMap<String, (u64, VecDeque<Duration>)>,
    /// By actor and sender: the latest number that was begun, and the latest that was handled.
    numbers: BTreeMap<(String, String), (u64, Option<u64>)>,
    /// By actor: whose message is in hand, and which.
    in_hand: BTreeMap<String, (String, u64)>,
}

impl Known {
    pub(crate) fn moment(&mut self, checks: &Checks, moment: &Moment<'_>) -> Option<Violation> {
        let Moment::Message {
            path,
            incarnation,
            name,
            message,
            ..
        } = *moment
        else {
            return None;
        };
        if checks.lives && self.lives.get(path) != Some(&incarnation) {
            return Some(self.dead(path, incarnation, name, "takes"));
        }
        let order = checks
            .orders
            .iter()
            .find(|order| order.of == message.type_id());
        let (sender, n) = order.and_then(|order| (order.number)(message))?;
        let key = (path.to_owned(), sender.clone());
        let (begun, handled) = self.numbers.entry(key).or_insert((0, None));
        let violation = if *handled == Some(n) {
            Some(format!(
                "{path} is to handle number {n} of {sender} a second time"
            ))
        } else if n < *begun || handled.is_some_and(|handled| n < handled) {
            Some(format!(
                "{path} has number {n} of {sender} in hand after number {begun}"
            ))
        } else {
            None
        };
        *begun = n;
        self.in_hand.insert(path.to_owned(), (sender, n));
        violation.map(|text| Violation::new("order", text))
    }

    pub(crate) fn step(
        &mut self,
        checks: &Checks,
        now: Duration,
        step: &Step<'_>,
    ) -> Option<Violation> {
        match *step {
            Step::Started { path, incarnation } => {
                let before = self.lives.insert(path.to_owned(), incarnation);
                if checks.lives
                    && let Some(before) = before
                {
                    let text = format!(
                        "life {incarnation} of {path} has started, while its life {before} runs"
                    );
                    return Some(Violation::new("lives", text));
                }
            }
            Step::Ended {
                path, incarnation, ..
            } if self.lives.get(path) == Some(&incarnation) => {
                self.lives.remove(path);
                self.in_hand.remove(path);
            }
            Step::Handled {
                path,
                incarnation,
                name,
            } => {
                self.seen.handled += 1;
                if checks.lives && self.lives.get(path) != Some(&incarnation) {
                    return Some(self.dead(path, incarnation, name, "has handled"));
                }
                if let Some((sender, n)) = self.in_hand.remove(path)
                    && let Some((_, handled)) = self.numbers.get_mut(&(path.to_owned(), sender))
                {
                    *handled = Some(n);
                }
            }
            Step::Failed { path, during, .. } => {
                if matches!(during, During::Message(_)) {
                    self.seen.failed += 1;
                    self.in_hand.remove(path);
                }
            }
            Step::Restarts {
                path,
                incarnation,
                child,
                limit,
                within,
                ..
            } => {
                let window = self.window(path, incarnation, now, within);
                window.push_back(now);
                let n = window.len();
                if checks.limits && n > limit as usize {
                    let text = format!(
                        "{path} restarts {child}, the {n}. restart within {within:?}, of which it may do {limit}"
                    );
                    return Some(Violation::new("limits", text));
                }
            }
            Step::GivesUp {
                path,
                incarnation,
                child,
                limit,
                within,
                ..
            } => {
                let n = self.window(path, incarnation, now, within).len();
                if checks.limits && n < limit as usize {
                    let text = format!(
                        "{path} gives up over {child} after {n} restarts within {within:?}, of which it may do {limit}"
                    );
                    return Some(Violation::new("limits", text));
                }
            }
            _ => {}
        }
        None
    }

    /// The restarts of this life of a supervisor that still count.
    fn window(
        &mut self,
        path: &str,
        incarnation: u64,
        now: Duration,
        within: Duration,
    ) -> &mut VecDeque<Duration> {
        let entry = self.restarts.entry(path.to_owned()).or_default();
        if entry.0 != incarnation {
            *entry = (incarnation, VecDeque::new());
        }
        let window = &mut entry.1;
        window.retain(|at| now - *at <= within);
        window
    }

    fn dead(&self, path: &str, incarnation: u64, name: &str, does: &str) -> Violation {
        let alive = match self.lives.get(path) {
            Some(alive) => format!("its life {alive} runs"),
            None => "no life of it runs".to_owned(),
        };
        let text = format!("life {incarnation} of {path} {does} {name}, while {alive}");
        Violation::new("lives", text)
    }
}

impl fmt::Debug for Checks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checks")
            .field("conservation", &self.conservation)
            .field("lives", &self.lives)
            .field("limits", &self.limits)
            .field("rest", &self.rest)
            .field("orders", &self.orders.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITHIN: Duration = Duration::from_secs(5);

    fn started(incarnation: u64) -> Step<'static> {
        let path = "a";
        Step::Started { path, incarnation }
    }

    fn handled(incarnation: u64) -> Step<'static> {
        Step::Handled {
            path: "a",
            incarnation,
            name: "Job",
        }
    }

    fn restarts(incarnation: u64, limit: u32) -> Step<'static> {
        Step::Restarts {
            path: "s",
            incarnation,
            child: "s/a",
            after: Duration::ZERO,
            limit,
            within: WITHIN,
        }
    }

    /// Takes these steps, a second each, and returns the check that was the first to fail.
    fn check<const N: usize>(steps: [Step<'_>; N]) -> Option<(usize, String)> {
        let (mut known, checks) = (Known::default(), Checks::all());
        steps.iter().enumerate().find_map(|(n, step)| {
            let now = Duration::from_secs(n as u64);
            Some((n, known.step(&checks, now, step)?.key))
        })
    }

    #[test]
    fn a_life_handles_nothing_before_its_start_nor_behind_its_end() {
        let ended = Step::Ended {
            path: "a",
            incarnation: 1,
            is_cut_off: true,
        };
        let lives = |n| Some((n, "lives".to_owned()));
        assert_eq!(check([started(1), handled(1)]), None);
        assert_eq!(check([handled(1)]), lives(0));
        assert_eq!(check([started(1), ended.clone(), handled(1)]), lives(2));
        assert_eq!(check([started(1), ended, started(2), handled(1)]), lives(3));
    }

    #[test]
    fn a_life_starts_when_the_last_one_has_ended() {
        let ended = Step::Ended {
            path: "a",
            incarnation: 1,
            is_cut_off: false,
        };
        assert_eq!(check([started(1), ended, started(2)]), None);
        let lives = Some((1, "lives".to_owned()));
        assert_eq!(check([started(1), started(2)]), lives);
    }

    #[test]
    fn restarts_are_counted_in_a_window_that_slides_and_ends_with_the_supervisors_life() {
        let limits = |n| Some((n, "limits".to_owned()));
        assert_eq!(check([restarts(1, 2), restarts(1, 2)]), None);
        assert_eq!(check([(); 3].map(|()| restarts(1, 2))), limits(2));
        // The first is as old as the window when the sixth comes, and counts; when the seventh comes it does not.
        assert_eq!(check([(); 7].map(|()| restarts(1, 6))), None);
        assert_eq!(check([(); 6].map(|()| restarts(1, 5))), limits(5));
        assert_eq!(check([restarts(1, 1), restarts(2, 1)]), None);
    }

    #[test]
    fn who_gives_up_before_the_limit_is_found() {
        let gives_up = |limit| Step::GivesUp {
            path: "s",
            incarnation: 1,
            child: "s/a",
            limit,
            within: WITHIN,
        };
        assert_eq!(check([restarts(1, 1), gives_up(1)]), None);
        let early = check([restarts(1, 2), gives_up(2)]);
        assert_eq!(early, Some((1, "limits".to_owned())));
    }
}
