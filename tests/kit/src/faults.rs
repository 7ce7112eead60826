//! What goes wrong, and when: written down as a script, or drawn from the seed.

use std::any::{Any, TypeId, type_name};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use greenroom::simulation::Fault;

use crate::dice::{Dice, Lane};
use crate::probe::StandIn;
use crate::trace::short;

/// What goes wrong in a system under test, and when.
///
/// An actor is named by its path, or by the end of it: `lights` is any actor of that name.
///
/// | fault | what the actor does |
/// |---|---|
/// | [`Fault::Panic`], [`Fault::Error`] | its handler, or its start, panics or returns an error with this text |
/// | [`Fault::Delay`] | it begins so much later: a slow handler, a start that takes time |
/// | [`Fault::Stop`] | it ends behind this message, as by `Context::stop` |
/// | [`Fault::Kill`] | it is cut off at the next await at which it waits, in the middle of the message |
/// | [`Fault::Unsubscribe`] | it hears of no event any more |
///
/// A start is only disturbed by the first three.
///
/// What is written down comes in every run, what is [random](Self::random) as the seed decides. Where two rules are for
/// one message or start, the one that was written first comes. Messages and starts are counted in each system apart.
///
/// A rule that never comes tests nothing: its path may be misspelt. So [`Simulation::run`](crate::Simulation::run) panics
/// when one came in none of its seeds, and a [`Kit`](crate::Kit) when one has not come by its end.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use greenroom_testkit::{Fault, Faults};
/// # use greenroom::prelude::*;
/// # struct Reading(f32);
/// # impl Message for Reading { type Reply = (); }
///
/// let faults = Faults::new()
///     .nth("home/lights", 3, Fault::Panic("short circuit".into()))
///     .when(|reading: &Reading| reading.0 > 90.0, Fault::Error("it burns".into()))
///     .start("gateway", 2, Fault::Delay(Duration::from_secs(20)))
///     .mailbox("keeper", 1)
///     .random(20)
///     .sparing("home/keeper");
/// ```
#[derive(Clone, Default)]
pub struct Faults {
    rules: Vec<Rule>,
    random: Option<Random>,
}

/// What is written down of one fault.
#[derive(Clone)]
struct Rule {
    when: When,
    /// Where the test has it.
    place: &'static Location<'static>,
}

#[derive(Clone)]
enum When {
    Nth(String, u64, Fault),
    NthOf(String, Type, u64, Fault),
    Is(Type, Predicate, Fault),
    Start(String, u64, Fault),
    Mailbox(String, usize),
    Deaf(String),
    Sparing(String),
}

#[derive(Clone, Copy)]
struct Type {
    id: TypeId,
    name: &'static str,
}

type Predicate = Arc<dyn Fn(&dyn Any) -> bool + Send + Sync>;

#[derive(Clone)]
struct Random {
    permille: u32,
    at_messages: Vec<Fault>,
    /// Those that disturb a start.
    at_starts: Vec<Fault>,
}

impl Faults {
    /// Nothing goes wrong.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// At the `n`th message that the actor takes in hand, counted from 1 over all its lives.
    #[must_use]
    #[track_caller]
    pub fn nth(self, path: impl Into<String>, n: u64, fault: Fault) -> Self {
        self.rule(When::Nth(path.into(), n, fault))
    }

    /// At the `n`th message of type `M` that the actor takes in hand, counted from 1 over all its lives.
    #[must_use]
    #[track_caller]
    pub fn nth_of<M: 'static>(self, path: impl Into<String>, n: u64, fault: Fault) -> Self {
        self.rule(When::NthOf(path.into(), Type::of::<M>(), n, fault))
    }

    /// At each message of type `M`, to whomever, for which `is` says so.
    ///
    /// `is` is asked in the middle of a decision: it may use neither the system nor a [`Sim`](crate::Sim) or
    /// [`Kit`](crate::Kit). If it panics, the run has failed.
    #[must_use]
    #[track_caller]
    pub fn when<M: 'static>(
        self,
        is: impl Fn(&M) -> bool + Send + Sync + 'static,
        fault: Fault,
    ) -> Self {
        let is: Predicate = Arc::new(move |message| message.downcast_ref().is_some_and(&is));
        self.rule(When::Is(Type::of::<M>(), is, fault))
    }

    /// At the `n`th start of the actor, counted from 1.
    ///
    /// # Panics
    ///
    /// When it is a fault that does nothing at a start.
    #[must_use]
    #[track_caller]
    pub fn start(self, path: impl Into<String>, n: u64, fault: Fault) -> Self {
        assert!(
            disturbs_start(&fault),
            "a start can fail, panic or be late: {fault:?} does nothing to it"
        );
        self.rule(When::Start(path.into(), n, fault))
    }

    /// The mailbox of the actor holds `capacity` messages, whatever its spec says; 0 is full for ever.
    ///
    /// Of two such rules for one actor the last counts.
    #[must_use]
    #[track_caller]
    pub fn mailbox(self, path: impl Into<String>, capacity: usize) -> Self {
        self.rule(When::Mailbox(path.into(), capacity))
    }

    /// The actor's subscriptions are lost before they begin.
    #[must_use]
    #[track_caller]
    pub fn deaf(self, path: impl Into<String>) -> Self {
        self.rule(When::Deaf(path.into()))
    }

    /// At `permille` of a thousand messages and starts, one of all faults, as the seed decides.
    ///
    /// Its delays are a millisecond, a second, and twenty: longer than the five seconds
    /// that an ask waits unless it is told otherwise. Whose limits are longer says
    /// so with [`random_of`](Self::random_of).
    ///
    /// [Probes](crate::Probe) are spared, as is who is named by [`sparing`](Self::sparing).
    #[must_use]
    pub fn random(self, permille: u32) -> Self {
        let text = || "the dice said so".to_owned();
        self.random_of(
            permille,
            [
                Fault::Panic(text()),
                Fault::Error(text()),
                Fault::Delay(Duration::from_millis(1)),
                Fault::Delay(Duration::from_secs(1)),
                // Longer than an ask waits unless it is told otherwise.
                Fault::Delay(Duration::from_secs(20)),
                Fault::Stop,
                Fault::Kill,
                Fault::Unsubscribe,
            ],
        )
    }

    /// The same, but one of these; at a start, one of those of them that disturb it.
    #[must_use]
    pub fn random_of(mut self, permille: u32, faults: impl IntoIterator<Item = Fault>) -> Self {
        let at_messages: Vec<_> = faults.into_iter().collect();
        let at_starts = at_messages.iter().filter(|fault| disturbs_start(fault));
        self.random = Some(Random {
            permille,
            at_starts: at_starts.cloned().collect(),
            at_messages,
        });
        self
    }

    /// Random faults spare this actor; what is written down comes all the same.
    #[must_use]
    #[track_caller]
    pub fn sparing(self, path: impl Into<String>) -> Self {
        self.rule(When::Sparing(path.into()))
    }

    #[track_caller]
    fn rule(mut self, when: When) -> Self {
        let place = Location::caller();
        self.rules.push(Rule { when, place });
        self
    }

    /// Says which rules were of no use, if there are any.
    pub(crate) fn useless(&self, uses: &Uses) -> Option<String> {
        let mut text = String::new();
        for (n, rule) in self.rules.iter().enumerate() {
            let why = match uses.of.get(n).copied().unwrap_or_default() {
                Use::Came => continue,
                Use::Named => "there was such an actor, but never such a moment".to_owned(),
                Use::None if rule.when.path().is_some() => {
                    format!("there was no actor of that path, but {}", uses.list())
                }
                Use::None => "there was no such message".to_owned(),
            };
            text += &format!("\n  {}: {:?}: {why}", rule.place, rule.when);
        }
        (!text.is_empty()).then(|| {
            format!("faults that are written down and never came, which proves nothing:{text}")
        })
    }
}

/// Stop, Kill and Unsubscribe are for a message in hand.
fn disturbs_start(fault: &Fault) -> bool {
    matches!(fault, Fault::Panic(_) | Fault::Error(_) | Fault::Delay(_))
}

impl Type {
    fn of<M: 'static>() -> Self {
        Type {
            id: TypeId::of::<M>(),
            name: type_name::<M>(),
        }
    }
}

impl When {
    fn path(&self) -> Option<&str> {
        match self {
            When::Nth(path, ..)
            | When::NthOf(path, ..)
            | When::Start(path, ..)
            | When::Mailbox(path, _)
            | When::Deaf(path)
            | When::Sparing(path) => Some(path),
            When::Is(..) => None,
        }
    }

    /// Whether it is for the actor of this path, or its end.
    fn is_for(&self, path: &str) -> bool {
        let before = self.path().and_then(|name| path.strip_suffix(name));
        before.is_some_and(|before| before.is_empty() || before.ends_with('/'))
    }
}

/// Of what use a rule was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Use {
    #[default]
    None,
    /// Its actor was there.
    Named,
    Came,
}

/// Of what use each rule was, in some runs.
#[derive(Clone, Default)]
pub(crate) struct Uses {
    of: Vec<Use>,
    /// Some of the actors that there were, for whoever misspelt one.
    there: BTreeSet<String>,
}

/// So many are listed at most.
const LISTED: usize = 16;

impl Uses {
    fn set(&mut self, rule: usize, to: Use) {
        if self.of.len() <= rule {
            self.of.resize(rule + 1, Use::None);
        }
        self.of[rule] = self.of[rule].max(to);
    }

    fn saw(&mut self, path: &str) {
        if self.there.len() < LISTED && !self.there.contains(path) {
            self.there.insert(path.to_owned());
        }
    }

    pub(crate) fn add(&mut self, others: &Uses) {
        for (rule, other) in others.of.iter().enumerate() {
            self.set(rule, *other);
        }
        for path in &others.there {
            self.saw(path);
        }
    }

    fn list(&self) -> String {
        let mut list = Vec::from_iter(self.there.iter().map(String::as_str));
        if list.len() == LISTED {
            list.push("...");
        }
        list.join(", ")
    }
}

/// Whom a fault may come to.
#[derive(Clone, Copy)]
pub(crate) struct Whom<'a> {
    pub(crate) path: &'a str,
    pub(crate) actor: TypeId,
}

/// How far the actors of one system have come.
#[derive(Default)]
pub(crate) struct Progress {
    messages: BTreeMap<String, u64>,
    of_a_type: BTreeMap<(String, TypeId), u64>,
    starts: BTreeMap<String, u64>,
}

/// The faults of one run, and which of them came.
pub(crate) struct Script {
    pub(crate) faults: Faults,
    pub(crate) uses: Uses,
}

impl Script {
    pub(crate) fn new(faults: Faults) -> Self {
        let uses = Uses::default();
        Script { faults, uses }
    }

    pub(crate) fn at_message(
        &mut self,
        progress: &mut Progress,
        dice: Option<&mut Dice>,
        whom: Whom<'_>,
        message: &dyn Any,
    ) -> Option<Fault> {
        let (path, id) = (whom.path, (*message).type_id());
        let mut n = 0;
        let mut n_of = 0;
        // Both are counted before any rule is looked at: what one disturbs counts for the others.
        if !self.faults.rules.is_empty() {
            n = count(&mut progress.messages, path);
            let is_counted = |rule: &Rule| {
                matches!(&rule.when, When::NthOf(_, of, ..) if of.id == id)
                    && rule.when.is_for(path)
            };
            if self.faults.rules.iter().any(is_counted) {
                let key = (path.to_owned(), id);
                let count = progress.of_a_type.entry(key).or_default();
                *count += 1;
                n_of = *count;
            }
        }
        let script = self.first(|when| match when {
            When::Nth(_, nth, fault) => (*nth == n && when.is_for(path)).then_some(fault),
            When::NthOf(_, of, nth, fault) => {
                (of.id == id && *nth == n_of && when.is_for(path)).then_some(fault)
            }
            When::Is(of, is, fault) => (of.id == id && is(message)).then_some(fault),
            _ => None,
        });
        script.or_else(|| self.roll(dice?, |random| &random.at_messages, whom))
    }

    pub(crate) fn at_start(
        &mut self,
        progress: &mut Progress,
        dice: Option<&mut Dice>,
        whom: Whom<'_>,
    ) -> Option<Fault> {
        let path = whom.path;
        if !self.faults.rules.is_empty() {
            self.uses.saw(path);
        }
        for (n, rule) in self.faults.rules.iter().enumerate() {
            if rule.when.is_for(path) {
                let is_sparing = matches!(rule.when, When::Sparing(_));
                let of_use = if is_sparing { Use::Came } else { Use::Named };
                self.uses.set(n, of_use);
            }
        }
        let n = count(&mut progress.starts, path);
        let script = self.first(|when| match when {
            When::Start(_, nth, fault) => (*nth == n && when.is_for(path)).then_some(fault),
            _ => None,
        });
        script.or_else(|| self.roll(dice?, |random| &random.at_starts, whom))
    }

    pub(crate) fn is_deaf(&mut self, path: &str) -> bool {
        let is_deaf = |rule: &Rule| matches!(rule.when, When::Deaf(_)) && rule.when.is_for(path);
        let deaf = self.faults.rules.iter().position(is_deaf);
        if let Some(n) = deaf {
            self.uses.set(n, Use::Came);
        }
        deaf.is_some()
    }

    pub(crate) fn capacity(&mut self, path: &str, capacity: usize) -> usize {
        let mut rules = self.faults.rules.iter().enumerate().rev();
        let last = rules.find_map(|(n, rule)| match rule.when {
            When::Mailbox(_, capacity) if rule.when.is_for(path) => Some((n, capacity)),
            _ => None,
        });
        let Some((n, capacity)) = last else {
            return capacity;
        };
        self.uses.set(n, Use::Came);
        capacity
    }

    /// The fault of the first rule that has one here.
    fn first(&mut self, fault: impl Fn(&When) -> Option<&Fault>) -> Option<Fault> {
        let mut rules = self.faults.rules.iter().enumerate();
        let (n, fault) = rules.find_map(|(n, rule)| Some((n, fault(&rule.when)?)))?;
        self.uses.set(n, Use::Came);
        Some(fault.clone())
    }

    /// One of these faults, if the dice say so.
    fn roll(
        &self,
        dice: &mut Dice,
        of: impl Fn(&Random) -> &[Fault],
        whom: Whom<'_>,
    ) -> Option<Fault> {
        let random = self.faults.random.as_ref()?;
        let faults = of(random);
        let is_sparing =
            |rule: &Rule| matches!(rule.when, When::Sparing(_)) && rule.when.is_for(whom.path);
        // A probe is the test itself: what would it learn from a fault of its own?
        let is_spared =
            whom.actor == TypeId::of::<StandIn>() || self.faults.rules.iter().any(is_sparing);
        if faults.is_empty() || is_spared || !dice.chance(Lane::Faults, random.permille, 1000) {
            return None;
        }
        faults.get(dice.choose(Lane::Faults, faults.len())).cloned()
    }
}

fn count(counts: &mut BTreeMap<String, u64>, path: &str) -> u64 {
    match counts.get_mut(path) {
        Some(n) => {
            *n += 1;
            *n
        }
        None => {
            counts.insert(path.to_owned(), 1);
            1
        }
    }
}

impl fmt::Debug for When {
    /// As it was written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            When::Nth(path, n, fault) => write!(f, "nth({path:?}, {n}, {fault:?})"),
            When::NthOf(path, of, n, fault) => {
                let of = short(of.name);
                write!(f, "nth_of::<{of}>({path:?}, {n}, {fault:?})")
            }
            When::Is(of, _, fault) => write!(f, "when(|_: &{}| .., {fault:?})", short(of.name)),
            When::Start(path, n, fault) => write!(f, "start({path:?}, {n}, {fault:?})"),
            When::Mailbox(path, capacity) => write!(f, "mailbox({path:?}, {capacity})"),
            When::Deaf(path) => write!(f, "deaf({path:?})"),
            When::Sparing(path) => write!(f, "sparing({path:?})"),
        }
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules: Vec<_> = self.rules.iter().map(|rule| &rule.when).collect();
        let mut shown = f.debug_struct("Faults");
        shown.field("rules", &rules);
        if let Some(Random {
            permille,
            at_messages,
            ..
        }) = &self.random
        {
            shown.field("permille", permille);
            shown.field("random", at_messages);
        }
        shown.finish()
    }
}
