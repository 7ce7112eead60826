//! What happened in a run, line by line: when, to whom, what, and who decided it.

use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use greenroom::During;
use greenroom::simulation::{Fault, Moment, Step};

use crate::simulate::caught;

/// How messages of a type are shown.
#[derive(Clone, Default)]
pub(crate) struct Shows(BTreeMap<TypeId, Show>);

type Show = Arc<dyn Fn(&dyn Any) -> Option<String> + Send + Sync>;

impl Shows {
    pub(crate) fn add<M: fmt::Debug + 'static>(&mut self) {
        let show = |message: &dyn Any| Some(format!("{:?}", message.downcast_ref::<M>()?));
        self.0.insert(TypeId::of::<M>(), Arc::new(show));
    }

    fn show(&self, message: &dyn Any, name: &str) -> String {
        let show = self.0.get(&(*message).type_id());
        // Only a run that is told comes here: what it panics about would be another failure than the one to be told.
        let shown = caught(|| show.and_then(|show| show(message)));
        match shown {
            Ok(shown) => shown.unwrap_or_else(|| short(name)),
            Err((place, text)) => {
                let name = short(name);
                format!("{name}, whose `Debug` panics at {place}: {text}")
            }
        }
    }
}

/// One line of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    at: Duration,
    /// The actor and its life, or nobody.
    who: String,
    what: String,
    /// What became of it.
    end: String,
    /// Who decided it, where there was something to decide.
    why: String,
}

/// What happened in a run; it is shown as a table.
///
/// [From a failing seed to the cause](crate::from_a_failing_seed) says how to read it.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use greenroom_testkit::{Sim, pass, simulate};
///
/// let trace = simulate(async |sim: Sim| {
///     pass(Duration::from_secs(5)).await;
///     sim.note("nothing has happened");
/// })
/// .trace(0);
/// assert!(!trace.is_empty() && trace.len() < 10);
/// assert_eq!(trace.to_string().lines().next(), Some("    5.000s    nothing has happened"));
/// ```
#[derive(Clone, Default)]
pub struct Trace {
    lines: Vec<Line>,
    shows: Shows,
    /// Of the run that is going on: who, and what was decided about it.
    running: String,
    decided: String,
    /// The line of the message that each actor has in hand.
    in_hand: BTreeMap<String, usize>,
    /// What happens from here on does not matter.
    is_over: bool,
}

impl Trace {
    pub(crate) fn new(shows: Shows) -> Self {
        Trace {
            shows,
            ..Trace::default()
        }
    }

    /// How many lines it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether nothing happened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// One of `n` that were ready is to run.
    pub(crate) fn chose(&mut self, chosen: usize, n: usize) {
        self.decided = match n {
            1 => String::new(),
            n => format!("{} of {n} ready", chosen + 1),
        };
    }

    /// Who is asked by the one that runs does not answer on its stack.
    pub(crate) fn asks_in_turn(&mut self) {
        let begun = self.in_hand.get(&self.running);
        if let Some(line) = begun.and_then(|&begun| self.lines.get_mut(begun)) {
            let sep = if line.why.is_empty() { "" } else { "; " };
            line.why = format!("{}{sep}whom it asks has to wait for a turn", line.why);
        }
    }

    /// Nobody runs.
    pub(crate) fn has_run(&mut self) {
        self.running.clear();
    }

    /// The last line: what was found.
    pub(crate) fn close(&mut self, at: Duration, text: String) {
        self.note(at, text);
        self.is_over = true;
    }

    pub(crate) fn note(&mut self, at: Duration, text: String) {
        self.push(at, String::new(), text, String::new());
    }

    fn push(&mut self, at: Duration, who: String, what: String, end: String) {
        if self.is_over {
            return;
        }
        self.lines.push(Line {
            at,
            who,
            // One line, whatever a panic or an author's `Debug` says.
            what: what.replace('\n', " "),
            end: end.replace('\n', " "),
            why: String::new(),
        });
    }

    pub(crate) fn moment(&mut self, at: Duration, moment: &Moment<'_>, fault: Option<&Fault>) {
        match *moment {
            Moment::Message {
                path,
                incarnation,
                name,
                message,
                ..
            } => {
                let who = format!("{path}#{incarnation}");
                let what = self.shows.show(message, name);
                let mut why = match self.running == who {
                    true => std::mem::take(&mut self.decided),
                    false if self.running.is_empty() => {
                        "asked by the test, on its stack".to_owned()
                    }
                    false => format!("asked by {}, on its stack", self.running),
                };
                if let Some(fault) = fault {
                    let sep = if why.is_empty() { "" } else { "; " };
                    why = format!("{why}{sep}fault: {fault:?}");
                }
                self.in_hand.insert(who.clone(), self.lines.len());
                self.push(at, who, what, String::new());
                if let Some(line) = self.lines.last_mut() {
                    line.why = why;
                }
            }
            Moment::Start {
                path, incarnation, ..
            } => {
                if let Some(fault) = fault {
                    let who = format!("{path}#{incarnation}");
                    self.push(at, who, "is to start".to_owned(), String::new());
                    if let Some(line) = self.lines.last_mut() {
                        line.why = format!("fault: {fault:?}");
                    }
                }
            }
            Moment::Subscribe { path, event } if fault.is_some() => {
                let what = format!("does not get to subscribe to {}", short(event));
                self.push(at, path.to_owned(), what, String::new());
            }
            _ => {}
        }
    }

    /// The message in hand has ended: in its line if nothing came between, else in one of its own.
    fn ended(&mut self, at: Duration, path: &str, incarnation: u64, end: String) -> bool {
        let who = format!("{path}#{incarnation}");
        let Some(begun) = self.in_hand.remove(&who) else {
            return false;
        };
        let is_last = begun + 1 == self.lines.len();
        if let Some(line) = self.lines.get_mut(begun)
            && is_last
            && line.at == at
        {
            line.end = end;
        } else if let Some(line) = self.lines.get(begun) {
            let what = line.what.clone();
            self.push(at, who, what, end);
        }
        true
    }

    pub(crate) fn step(&mut self, at: Duration, step: &Step<'_>) {
        match *step {
            Step::Runs { path, incarnation } => self.running = format!("{path}#{incarnation}"),
            Step::Handled {
                path, incarnation, ..
            } => {
                self.ended(at, path, incarnation, "handled".to_owned());
            }
            Step::Discarded {
                path,
                incarnation,
                name,
            } => {
                let who = format!("{path}#{incarnation}");
                self.push(at, who, short(name), "void".to_owned());
            }
            Step::Failed {
                path,
                incarnation,
                during,
                kind,
                text,
            } => {
                let end = format!("{}: {text}", kind.as_str());
                if !matches!(during, During::Message(_))
                    || !self.ended(at, path, incarnation, end.clone())
                {
                    let who = format!("{path}#{incarnation}");
                    self.push(at, who, format!("fails {during}"), end);
                }
            }
            Step::Started { path, incarnation } => {
                let who = format!("{path}#{incarnation}");
                self.push(at, who, "starts".to_owned(), String::new());
            }
            Step::Ended {
                path,
                incarnation,
                is_cut_off,
            } => {
                let who = format!("{path}#{incarnation}");
                let what = if is_cut_off { "is cut off" } else { "ends" };
                self.push(at, who, what.to_owned(), String::new());
            }
            Step::Restarts {
                path,
                incarnation,
                child,
                after,
                limit,
                within,
            } => {
                let who = format!("{path}#{incarnation}");
                let soon = match after.is_zero() {
                    true => String::new(),
                    false => format!(" in {after:?}"),
                };
                let what = format!("restarts {child}{soon}");
                self.push(at, who, what, String::new());
                if let Some(line) = self.lines.last_mut() {
                    line.why = format!("limit {limit} in {within:?}");
                }
            }
            Step::GivesUp {
                path,
                incarnation,
                child,
                limit,
                within,
            } => {
                let who = format!("{path}#{incarnation}");
                let what = format!("gives up over {child}");
                self.push(at, who, what, String::new());
                if let Some(line) = self.lines.last_mut() {
                    line.why = format!("limit {limit} in {within:?}");
                }
            }
            _ => {}
        }
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |of: fn(&Line) -> &str, max: usize| {
            let widths = self.lines.iter().map(|line| of(line).chars().count());
            widths.max().unwrap_or(0).min(max)
        };
        let who = width(|line| &line.who, 32);
        let what = width(|line| &line.what, 48);
        let end = width(|line| &line.end, 32);
        for line in &self.lines {
            let at = format!("{:.3}s", line.at.as_secs_f64());
            let row = format!(
                "{at:>10}  {:who$}  {:what$}  {:end$}  {}",
                line.who, line.what, line.end, line.why
            );
            writeln!(f, "{}", row.trim_end())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A type's name without its modules.
pub(crate) fn short(name: &str) -> String {
    let is_word = |c: char| c.is_alphanumeric() || "_:{}#".contains(c);
    let mut text = String::new();
    let mut rest = name;
    while !rest.is_empty() {
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let (word, tail) = rest.split_at(end);
        text.push_str(word.rsplit("::").next().unwrap_or(word));
        let next = tail.find(is_word).unwrap_or(tail.len());
        text.push_str(&tail[..next]);
        rest = &tail[next..];
    }
    text
}
