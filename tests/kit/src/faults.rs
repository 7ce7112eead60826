//! What goes wrong, and when: written down as a script, or drawn from the seed.

use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use greenroom::simulation::Fault;

use crate::dice::{Dice, Lane};

/// What goes wrong in a system under test, and when.
///
/// An actor is named by its path, or by the end of it: `lights` is any actor of that name.
///
/// | fault | what the actor does |
/// |---|---|
/// | [`Fault::Panic`], [`Fault::Error`] | its handler, or its start, panics or returns an error with this text |
/// | [`Fault::Delay`] | it begins so much later: a slow handler, a start that takes time |
/// | [`Fault::Stop`] | it ends behind this message, as by `Context::stop` |
/// | [`Fault::Kill`] | it is cut off at its next await, in the middle of the message |
/// | [`Fault::Unsubscribe`] | it hears of no event any more |
///
/// A start is only disturbed by the first three.
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
///     .mailbox("keeper", 1);
/// ```
#[derive(Clone, Default)]
pub struct Faults {
    nth: Vec<(String, u64, Fault)>,
    nth_of: Vec<NthOf>,
    start: Vec<(String, u64, Fault)>,
    when: Vec<When>,
    mailboxes: Vec<(String, usize)>,
    deaf: Vec<String>,
    random: Option<Random>,
}

#[derive(Clone)]
struct NthOf {
    path: String,
    of: TypeId,
    n: u64,
    fault: Fault,
}

#[derive(Clone)]
struct When {
    of: TypeId,
    is: Predicate,
    fault: Fault,
}

type Predicate = Arc<dyn Fn(&dyn Any) -> bool + Send + Sync>;

#[derive(Clone)]
struct Random {
    permille: u32,
    kinds: Vec<Fault>,
}

impl Faults {
    /// Nothing goes wrong.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// At the `n`th message that the actor takes in hand, counted from 1 over all its lives.
    #[must_use]
    pub fn nth(mut self, path: impl Into<String>, n: u64, fault: Fault) -> Self {
        self.nth.push((path.into(), n, fault));
        self
    }

    /// At the `n`th message of type `M` that the actor takes in hand, counted from 1 over all its lives.
    #[must_use]
    pub fn nth_of<M: 'static>(mut self, path: impl Into<String>, n: u64, fault: Fault) -> Self {
        self.nth_of.push(NthOf {
            path: path.into(),
            of: TypeId::of::<M>(),
            n,
            fault,
        });
        self
    }

    /// At each message of type `M`, to whomever, for which `is` says so.
    #[must_use]
    pub fn when<M: 'static>(
        mut self,
        is: impl Fn(&M) -> bool + Send + Sync + 'static,
        fault: Fault,
    ) -> Self {
        self.when.push(When {
            of: TypeId::of::<M>(),
            is: Arc::new(move |message| message.downcast_ref().is_some_and(&is)),
            fault,
        });
        self
    }

    /// At the `n`th start of the actor, counted from 1.
    #[must_use]
    pub fn start(mut self, path: impl Into<String>, n: u64, fault: Fault) -> Self {
        self.start.push((path.into(), n, fault));
        self
    }

    /// The mailbox of the actor holds `capacity` messages, whatever its spec says; 0 is full for ever.
    #[must_use]
    pub fn mailbox(mut self, path: impl Into<String>, capacity: usize) -> Self {
        self.mailboxes.push((path.into(), capacity));
        self
    }

    /// The actor's subscriptions are lost before they begin.
    #[must_use]
    pub fn deaf(mut self, path: impl Into<String>) -> Self {
        self.deaf.push(path.into());
        self
    }

    /// At `permille` of a thousand messages and starts, one of all faults, as the seed decides.
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
                Fault::Stop,
                Fault::Kill,
                Fault::Unsubscribe,
            ],
        )
    }

    /// The same, but one of these.
    #[must_use]
    pub fn random_of(mut self, permille: u32, faults: impl IntoIterator<Item = Fault>) -> Self {
        let kinds = faults.into_iter().collect();
        self.random = Some(Random { permille, kinds });
        self
    }

    pub(crate) fn capacity(&self, path: &str, capacity: usize) -> usize {
        let mut mailboxes = self.mailboxes.iter().rev();
        let found = mailboxes.find(|(name, _)| is_named(path, name));
        found.map_or(capacity, |(_, capacity)| *capacity)
    }

    pub(crate) fn is_deaf(&self, path: &str) -> bool {
        self.deaf.iter().any(|name| is_named(path, name))
    }

    fn roll(&self, dice: &mut Dice) -> Option<Fault> {
        let Random { permille, kinds } = self.random.as_ref()?;
        if !dice.chance(Lane::Faults, *permille, 1000) {
            return None;
        }
        kinds.get(dice.choose(Lane::Faults, kinds.len())).cloned()
    }
}

/// Whether this is the path, or its end.
fn is_named(path: &str, name: &str) -> bool {
    let before = path.strip_suffix(name);
    before.is_some_and(|before| before.is_empty() || before.ends_with('/'))
}

/// How far the actors of one run have come in their scripts.
#[derive(Default)]
pub(crate) struct Progress {
    messages: BTreeMap<String, u64>,
    of_a_type: BTreeMap<(String, TypeId), u64>,
    starts: BTreeMap<String, u64>,
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

impl Progress {
    pub(crate) fn at_message(
        &mut self,
        faults: &Faults,
        dice: Option<&mut Dice>,
        path: &str,
        message: &dyn Any,
    ) -> Option<Fault> {
        let of = (*message).type_id();
        // Both are counted before either is looked up: what one script disturbs counts for the other.
        let n = match faults.nth.is_empty() {
            true => 0,
            false => count(&mut self.messages, path),
        };
        let mut nth_of = faults.nth_of.iter();
        let n_of = match nth_of.any(|nth| nth.of == of && is_named(path, &nth.path)) {
            true => {
                let n = self.of_a_type.entry((path.to_owned(), of)).or_default();
                *n += 1;
                *n
            }
            false => 0,
        };
        if let Some(fault) = scripted(&faults.nth, path, n) {
            return Some(fault);
        }
        let mut nth_of = faults.nth_of.iter();
        let found = nth_of
            .find(|nth| nth.of == of && n_of > 0 && nth.n == n_of && is_named(path, &nth.path));
        if let Some(found) = found {
            return Some(found.fault.clone());
        }
        let mut when = faults.when.iter();
        let found = when.find(|when| when.of == of && (when.is)(message));
        match found {
            Some(when) => Some(when.fault.clone()),
            None => faults.roll(dice?),
        }
    }

    pub(crate) fn at_start(
        &mut self,
        faults: &Faults,
        dice: Option<&mut Dice>,
        path: &str,
    ) -> Option<Fault> {
        let n = count(&mut self.starts, path);
        scripted(&faults.start, path, n).or_else(|| faults.roll(dice?))
    }
}

/// What a script says of the `n`th; 0 is none.
fn scripted(script: &[(String, u64, Fault)], path: &str, n: u64) -> Option<Fault> {
    if n == 0 {
        return None;
    }
    let mut script = script.iter();
    let found = script.find(|(name, nth, _)| *nth == n && is_named(path, name));
    found.map(|(_, _, fault)| fault.clone())
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults")
            .field("nth", &self.nth)
            .field("start", &self.start)
            .field("mailboxes", &self.mailboxes)
            .field("deaf", &self.deaf)
            .field("permille", &self.random.as_ref().map(|r| r.permille))
            .finish_non_exhaustive()
    }
}
