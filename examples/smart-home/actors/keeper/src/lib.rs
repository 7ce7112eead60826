//! Keeps count of what the actors of the home decide.
//!
//! - **Is:** one actor, [`HouseKeeper`], for the whole home; it also minds the
//!   batteries.
//! - **Handles:** [`Summarise`], answered with a [`Summary`]; [`Checkpoint`].
//! - **Subscribes to:** [`Decided`], [`Command`], [`BatteryRead`], [`RollCall`].
//! - **Publishes:** [`Decided`] when a battery is low, [`TakesPart`].
//! - **Crashes when:** never. If it is made to, the next life counts from zero,
//!   and says once more which batteries are low.
//!
//! # The digest
//!
//! Two runs over the same recording decide alike if their digests are equal. The
//! decisions of one actor come in its own order, but how those of different
//! actors mix is a matter of the machine. So there is one hash for each path, over
//! the time and the words of its decisions in order, and the digest is a hash over
//! the paths, sorted, and their hashes. It is 64-bit FNV-1a: good against chance,
//! not against malice, and the same on every machine.
//!
//! The keeper counts its own notices as those of any other actor, at the moment
//! at which it takes them, and not a second time when they come back to it as
//! events: a [`Summarise`] right behind a battery's report has them.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::convert::Infallible;
use std::fmt;

use greenroom::prelude::*;
use home_protocol::{
    BatteryRead, Checkpoint, Command, Decided, DeviceName, Path, RollCall, TakesPart,
};

#[cfg(test)]
mod tests;

/// When a battery is low, and how much is kept to look at.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Below what a battery is low, in percent; 15 by default, which leaves some weeks.
    pub low_percent: f64,
    /// Above what it was changed, in percent; 30 by default, more than one recovers on a warm day.
    pub changed_percent: f64,
    /// How many decisions are kept for [`Summary::latest`]; 50 by default, a page.
    pub latest: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            low_percent: 15.0,
            changed_percent: 30.0,
            latest: 50,
        }
    }
}

/// Asks for what was decided since the keeper started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summarise;

impl Message for Summarise {
    type Reply = Summary;
}

/// What was decided since the keeper started; shown as a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many decisions each actor took.
    pub decisions: BTreeMap<Path, u64>,
    /// How many decisions were taken in all.
    pub total: u64,
    /// How many commands devices were given.
    pub commands: u64,
    /// What tells two runs apart, whatever the order in which actors came to speak.
    pub digest: u64,
    /// The latest decisions, the newest first; in this order actors mix as they came.
    pub latest: Vec<Decided>,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.decisions.keys().map(|by| by.as_str().chars().count());
        let width = names.max().unwrap_or(0).max("commands".len());
        for (by, count) in &self.decisions {
            writeln!(f, "{by:width$}  {count:>16}")?;
        }
        writeln!(f, "{:width$}  {:>16}", "total", self.total)?;
        writeln!(f, "{:width$}  {:>16}", "commands", self.commands)?;
        writeln!(f, "{:width$}  {:016x}", "digest", self.digest)
    }
}

/// An actor that keeps count of what the actors of the home decide.
#[derive(Debug)]
pub struct HouseKeeper {
    books: Books,
    batteries: Batteries,
}

impl Actor for HouseKeeper {
    type Args = Settings;
    type Error = Infallible;

    async fn start(settings: Settings, cx: &mut Context<Self>) -> Result<Self, Infallible> {
        cx.subscribe::<Decided>();
        cx.subscribe::<Command>();
        cx.subscribe::<BatteryRead>();
        cx.subscribe::<RollCall>();
        cx.publish(TakesPart(cx.me().recipient()));
        Ok(HouseKeeper {
            books: Books::new(settings.latest),
            batteries: Batteries::new(settings),
        })
    }

    fn flow(flow: &mut Flow<Self>) {
        flow.subscribes::<Decided>();
        flow.subscribes::<Command>();
        flow.subscribes::<BatteryRead>();
        flow.subscribes::<RollCall>();
        flow.handles::<Summarise>();
        flow.handles::<Checkpoint>();
        flow.publishes::<Decided>();
        flow.publishes::<TakesPart>();
    }
}

impl Handler<Decided> for HouseKeeper {
    async fn handle(&mut self, decided: Decided, cx: &mut Context<Self>) -> Result<(), Infallible> {
        // Its own are in the books already.
        if decided.by != *cx.path() {
            self.books.enter(decided);
        }
        Ok(())
    }
}

impl Handler<Command> for HouseKeeper {
    async fn handle(&mut self, _: Command, _: &mut Context<Self>) -> Result<(), Infallible> {
        self.books.commands += 1;
        Ok(())
    }
}

impl Handler<BatteryRead> for HouseKeeper {
    async fn handle(
        &mut self,
        read: BatteryRead,
        cx: &mut Context<Self>,
    ) -> Result<(), Infallible> {
        if let Some(what) = self.batteries.read(&read) {
            let by = cx.path().clone();
            let decided = Decided {
                at: read.at,
                by,
                what,
            };
            self.books.enter(decided.clone());
            cx.publish(decided);
        }
        Ok(())
    }
}

impl Handler<Summarise> for HouseKeeper {
    async fn handle(&mut self, _: Summarise, _: &mut Context<Self>) -> Result<Summary, Infallible> {
        Ok(self.books.summary())
    }
}

impl Handler<RollCall> for HouseKeeper {
    async fn handle(&mut self, _: RollCall, cx: &mut Context<Self>) -> Result<(), Infallible> {
        cx.publish(TakesPart(cx.me().recipient()));
        Ok(())
    }
}

impl Handler<Checkpoint> for HouseKeeper {
    async fn handle(&mut self, _: Checkpoint, _: &mut Context<Self>) -> Result<(), Infallible> {
        Ok(())
    }
}

/// Which batteries are low; events in, words out.
#[derive(Debug)]
struct Batteries {
    settings: Settings,
    low: BTreeSet<DeviceName>,
}

impl Batteries {
    fn new(settings: Settings) -> Self {
        Batteries {
            settings,
            low: BTreeSet::new(),
        }
    }

    /// Returns what to say, the first time that a battery is low.
    fn read(&mut self, read: &BatteryRead) -> Option<String> {
        let BatteryRead {
            device, percent, ..
        } = read;
        // A range contains no NaN.
        if !(0.0..=100.0).contains(percent) {
            return None;
        }
        if *percent > self.settings.changed_percent {
            self.low.remove(device);
        }
        let is_low = *percent < self.settings.low_percent;
        (is_low && self.low.insert(device.clone()))
            .then(|| format!("{device}: battery low, {percent:.0} %"))
    }
}

/// What the decisions of one actor come to.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    count: u64,
    hash: Fnv,
}

/// The counts and the hashes.
#[derive(Debug)]
struct Books {
    accounts: BTreeMap<Path, Account>,
    commands: u64,
    /// The oldest first, at most `kept`.
    latest: VecDeque<Decided>,
    kept: usize,
}

impl Books {
    fn new(kept: usize) -> Self {
        Books {
            accounts: BTreeMap::new(),
            commands: 0,
            latest: VecDeque::new(),
            kept,
        }
    }

    fn enter(&mut self, decided: Decided) {
        let account = self.accounts.entry(decided.by.clone()).or_default();
        account.count += 1;
        account.hash.number(decided.at.0.cast_unsigned());
        account.hash.text(&decided.what);
        self.latest.push_back(decided);
        while self.latest.len() > self.kept {
            self.latest.pop_front();
        }
    }

    fn summary(&self) -> Summary {
        let mut digest = Fnv::default();
        for (by, account) in &self.accounts {
            digest.text(by.as_str());
            digest.number(account.hash.0);
        }
        let counts = self.accounts.iter();
        Summary {
            decisions: counts.map(|(by, a)| (by.clone(), a.count)).collect(),
            total: self.accounts.values().map(|account| account.count).sum(),
            commands: self.commands,
            digest: digest.0,
            latest: self.latest.iter().rev().cloned().collect(),
        }
    }
}

/// A 64-bit FNV-1a hash, which every build and machine computes alike; `std`'s does not promise that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn number(&mut self, number: u64) {
        self.bytes(&number.to_le_bytes());
    }

    /// Ends with a byte that no text has, so that "ab", "c" is not "a", "bc".
    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
        self.bytes(&[0xff]);
    }
}
