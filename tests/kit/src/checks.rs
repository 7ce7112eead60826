//! What has to hold in every run, whatever the order and whatever goes wrong.

use std::any::{Any, TypeId};
use std::collections::{BTreeMap, VecDeque};
use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use greenroom::simulation::{Moment, Step};
use greenroom::{ActorInfo, ActorState, During, System};

/// What has to hold in every run; see [`Simulation::checks`](crate::Simulation::checks).
///
/// | check | what it finds |
/// |---|---|
/// | [`conservation`](Checks::conservation) | a message that is in no count, in two, or in another's: *sent = handled + failed + rejected + dropped + queued*, and as many are handled and failed as were seen to be |
/// | [`lives`](Checks::lives) | a message that is handled by a life that has ended, or not begun; a life that starts before the last one has ended |
/// | [`limits`](Checks::limits) | a restart beyond the limit of its supervisor, and a supervisor that gives up before |
/// | [`stays_up`](Checks::stays_up) | a tree whose root has given up, so that nothing runs any more |
/// | [`rest`](Checks::rest) | an actor that runs, has messages, and comes to none of them; one that is in a handler for good; a role that neither runs nor is down for good, and stays so |
/// | [`order`](Checks::order) | a message that overtakes another of its sender, or is handled twice |
///
/// [`all`](Checks::all) has all of them but `stays_up` and `order`.
///
/// # Examples
///
/// ```
/// use greenroom_testkit::{Checks, Faults, simulate};
/// # use greenroom_testkit::Sim;
/// # use greenroom::prelude::*;
/// # struct Lamp;
/// # impl Actor for Lamp {
/// #     type Args = ();
/// #     type Error = BoxError;
/// #     async fn start((): (), _: &mut Context<Self>) -> Result<Self, BoxError> { Ok(Lamp) }
/// # }
/// # struct Switch(u64);
/// # impl Message for Switch { type Reply = (); }
/// # impl Handler<Switch> for Lamp {
/// #     async fn handle(&mut self, _: Switch, _: &mut Context<Self>) -> Result<(), BoxError> { Ok(()) }
/// # }
/// # async fn an_evening(sim: Sim) {
/// #     let home = Supervisor::one_for_one("home").child(Lamp::spec("lamp", ()));
/// #     let lamp = sim.start(home).await.unwrap().find::<Lamp>("home/lamp").unwrap();
/// #     for n in 0..3 { lamp.tell(Switch(n)).await.unwrap(); }
/// # }
///
/// let checks = Checks::all()
///     .stays_up(true)
///     .order(|switch: &Switch| ("the test".to_owned(), switch.0));
/// simulate(an_evening).checks(checks).seeds(0..10).run();
/// ```
#[derive(Clone)]
pub struct Checks {
    conservation: bool,
    lives: bool,
    limits: bool,
    stays_up: bool,
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
    /// Returns all checks that hold in every tree: all but [`order`](Self::order) and [`stays_up`](Self::stays_up).
    #[must_use]
    pub fn all() -> Self {
        Checks {
            conservation: true,
            lives: true,
            limits: true,
            stays_up: false,
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
            stays_up: false,
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

    /// Checks that no tree comes down: that its root does not give up over a child that has failed too often.
    ///
    /// What is down breaks no promise any more, so a scenario that goes on without looking finds nothing behind that.
    /// It is off in [`all`](Self::all), as a tree may be meant to come down.
    #[must_use]
    pub fn stays_up(mut self, is_on: bool) -> Self {
        self.stays_up = is_on;
        self
    }

    /// Checks that nobody is stuck when the scenario is over and the system has been left alone for `time`, two minutes in [`all`](Self::all).
    ///
    /// Who is busy then, or between two lives, is looked at again after the same
    /// time: stuck is whoever has ended no message and no life meanwhile. So
    /// actors that are busy again and again, as with a timer, are not; one whose
    /// single message, start or back-off takes longer than `time` is, and needs a
    /// longer one.
    #[must_use]
    pub fn rest(mut self, time: Option<Duration>) -> Self {
        self.rest = time;
        self
    }

    /// Checks the order of messages of type `M`: `number` says of each who sent it, and which of that sender it is.
    ///
    /// To one actor the numbers of one sender have to rise; they may have gaps. A
    /// message with the number of the last that was handled counts as the same one, handled a
    /// second time; one whose handler failed may come again.
    ///
    /// Types whose senders are called alike share one row of numbers. One type
    /// may have several orders, each with its own names of senders.
    ///
    /// `number` is asked in the middle of a decision: it may use neither the
    /// system nor a [`Sim`](crate::Sim). If it panics, the run has failed.
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
        Some(Violation::new("conservation", "", text))
    }

    /// Returns who is not at rest: busy, with messages queued, or between two states.
    pub(crate) fn unrest(system: &System) -> Vec<Unrest> {
        let unrest = |info: ActorInfo| {
            let (what, more, ended) = match (info.state, info.mailbox) {
                (ActorState::Stopped, _) | (ActorState::Running, None) => return None,
                (ActorState::Running, Some(mailbox)) => {
                    let (queued, waiting) = (mailbox.depth, mailbox.waiting_senders);
                    let (what, more) = match mailbox.handling {
                        Some(message) => (
                            format!("has been handling {message} for good"),
                            String::new(),
                        ),
                        None if queued + waiting == 0 => return None,
                        None => (
                            "runs and comes to none of its messages".to_owned(),
                            format!(": {queued} queued, {waiting} waiting for room"),
                        ),
                    };
                    (what, more, mailbox.handled + mailbox.failed)
                }
                (state, _) => {
                    let what = format!("has been {} for good", state.as_str());
                    (what, String::new(), 0)
                }
            };
            Some(Unrest {
                path: info.path.to_string(),
                incarnation: info.incarnation,
                what,
                more,
                ended,
            })
        };
        system.snapshot().into_iter().filter_map(unrest).collect()
    }
}

/// An actor that is not at rest.
#[derive(Clone)]
pub(crate) struct Unrest {
    path: String,
    incarnation: u64,
    what: String,
    /// What else there is to say, which may change meanwhile.
    more: String,
    /// How many of its messages had ended.
    ended: u64,
}

impl Unrest {
    /// Whether it has come no further since it was looked at before.
    pub(crate) fn is_still(&self, before: &Unrest) -> bool {
        let known = |of: &Unrest| (of.incarnation, of.ended);
        (&self.path, known(self), &self.what) == (&before.path, known(before), &before.what)
    }

    pub(crate) fn violation(&self) -> Violation {
        let Unrest {
            path, what, more, ..
        } = self;
        Violation::new("rest", path, format!("{path} {what}{more}"))
    }
}

/// What did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// Which check it is.
    kind: String,
    /// Whom or which place it is about: two of one kind about the same are the same.
    about: String,
    text: String,
}

impl Violation {
    pub(crate) fn new(
        kind: impl Into<String>,
        about: impl Into<String>,
        text: impl Into<String>,
    ) -> Self {
        Violation {
            kind: kind.into(),
            about: about.into(),
            text: text.into(),
        }
    }

    pub(crate) fn panic(place: &str, text: String) -> Self {
        Violation::new(format!("panic at {place}"), "", text)
    }

    /// Whether it is the same failure, in other words perhaps.
    pub(crate) fn is_same(&self, other: &Violation) -> bool {
        (&self.kind, &self.about) == (&other.kind, &other.about)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.text)
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
    /// By actor: whose message is in hand, and which; as often as there are checks of its order.
    in_hand: BTreeMap<String, Vec<(String, u64)>>,
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
        let orders = checks.orders.iter();
        let numbers: Vec<_> = orders
            .filter(|order| order.of == message.type_id())
            .filter_map(|order| (order.number)(message))
            .collect();
        let mut found = None;
        for (sender, n) in &numbers {
            let key = (path.to_owned(), sender.clone());
            let (begun, handled) = self.numbers.entry(key).or_insert((0, None));
            let text = if *handled == Some(*n) {
                format!("{path} is to handle number {n} of {sender} a second time")
            } else if *n < *begun || handled.is_some_and(|handled| *n < handled) {
                format!("{path} has number {n} of {sender} in hand after number {begun}")
            } else {
                String::new()
            };
            *begun = *n;
            if !text.is_empty() && found.is_none() {
                let about = format!("{sender} to {path}");
                found = Some(Violation::new("order", about, text));
            }
        }
        if !numbers.is_empty() {
            self.in_hand.insert(path.to_owned(), numbers);
        }
        found
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
                    return Some(Violation::new("lives", path, text));
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
                for (sender, n) in self.in_hand.remove(path).unwrap_or_default() {
                    if let Some((_, handled)) = self.numbers.get_mut(&(path.to_owned(), sender)) {
                        *handled = Some(n);
                    }
                }
            }
            Step::Failed { path, during, .. } => {
                if matches!(during, During::Message(_)) {
                    self.seen.failed += 1;
                    self.in_hand.remove(path);
                }
            }
            // It failed, and is still to be handled.
            Step::Retries { .. } => self.seen.failed -= 1,
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
                    return Some(Violation::new("limits", path, text));
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
                    return Some(Violation::new("limits", path, text));
                }
                // What is below another supervisor is begun anew by that.
                let is_root = !path.contains('/');
                if checks.stays_up && is_root {
                    let text = format!(
                        "{path} gives up over {child}, and all is down: {limit} restarts are allowed within {within:?}"
                    );
                    return Some(Violation::new("stays_up", path, text));
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
        Violation::new("lives", path, text)
    }
}

impl fmt::Debug for Checks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checks")
            .field("conservation", &self.conservation)
            .field("lives", &self.lives)
            .field("limits", &self.limits)
            .field("stays_up", &self.stays_up)
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
            Some((n, known.step(&checks, now, step)?.kind))
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
