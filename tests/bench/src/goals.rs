//! What Greenroom is to reach, and whether it does.

use crate::plan::Subject;
use crate::results::Results;
use crate::workloads::Workload;

/// A bound on the judged value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

/// What the judged value is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Unit {
    /// Times the time of another
    Ratio,
    Micros,
    Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Verdict {
    Holds,
    /// By how much, in the row's unit
    Misses(f64),
    /// There is a goal, but not both sides of it
    NotMeasured,
    /// There is no goal
    None,
}

/// One line of the table: a figure of Greenroom against a figure of somebody.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) threads: usize,
    /// Greenroom on workers of its own
    pub(crate) ours: Option<f64>,
    /// Greenroom in a tokio runtime
    pub(crate) on_tokio: Option<f64>,
    /// The unit of the two before
    pub(crate) figures: Figures,
    /// Who it is compared with, and that one's figure
    pub(crate) other: String,
    /// What is judged
    pub(crate) value: Option<f64>,
    pub(crate) unit: Unit,
    pub(crate) goal: Option<Goal>,
}

/// What the figures of a row are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Figures {
    Nanos,
    Bytes,
}

impl Unit {
    /// Rounds to what is printed, so that a reader judges by the same figure.
    fn rounded(self, value: f64) -> f64 {
        match self {
            Unit::Ratio | Unit::Micros => (value * 100.0).round() / 100.0,
            Unit::Bytes => value.round(),
        }
    }

    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Unit::Ratio => format!("{value:.2}"),
            Unit::Micros => format!("{value:.2} µs"),
            Unit::Bytes => format!("{value:.0} B"),
        }
    }
}

impl Row {
    pub(crate) fn verdict(&self) -> Verdict {
        let Some(goal) = self.goal else {
            return Verdict::None;
        };
        let Some(value) = self.value else {
            return Verdict::NotMeasured;
        };
        let value = self.unit.rounded(value);
        let over = match goal {
            Goal::AtMost(limit) => value - limit,
            Goal::AtLeast(limit) => limit - value,
        };
        // A hundredth is the least there is between two rounded figures.
        if over < 0.005 {
            Verdict::Holds
        } else {
            Verdict::Misses(over)
        }
    }

    pub(crate) fn show_goal(&self) -> String {
        match self.goal {
            Some(Goal::AtMost(limit)) => format!("≤ {}", self.unit.show(limit)),
            Some(Goal::AtLeast(limit)) => format!("≥ {}", self.unit.show(limit)),
            None => String::new(),
        }
    }

    pub(crate) fn show_verdict(&self) -> String {
        match self.verdict() {
            Verdict::Holds => "holds".to_owned(),
            Verdict::Misses(by) => format!("misses by {}", self.unit.show(by)),
            Verdict::NotMeasured => "not measured".to_owned(),
            Verdict::None => String::new(),
        }
    }
}

/// How often the best other's time Greenroom may take, on one thread and on more.
fn against_the_best(workload: Workload) -> Option<(f64, f64)> {
    match workload {
        Workload::Tell | Workload::Fanin => Some((0.40, 0.40)),
        Workload::Ask => Some((0.70, 0.55)),
        Workload::Ask64 => Some((0.55, 0.50)),
        Workload::Pingpong | Workload::Ring => Some((0.33, 0.25)),
        Workload::Busy => Some((0.30, 0.35)),
        Workload::Pub100 | Workload::Pub1k | Workload::Pub10k => Some((0.45, 0.80)),
        Workload::Spawn => Some((0.30, 0.30)),
        // Handlers that work take as long everywhere; two threads are what counts.
        Workload::Busyw | Workload::Skew => None,
        Workload::Restart | Workload::Sleep | Workload::Echo => None,
    }
}

/// What an ask may take of the best other's time when the callee is idle and runs at once.
const INLINE_ASK: f64 = 0.20;
/// How much faster two threads are to be than one, with handlers that work.
const BUSYW_SPEEDUP: f64 = 1.75;
const SKEW_SPEEDUP: f64 = 1.70;
const AGAINST_MPSC: f64 = 1.05;
const AGAINST_TASKS: f64 = 1.15;
const RESTART_MICROS: f64 = 3.0;
/// What the timing of messages may add.
const TIMING: f64 = 1.05;
/// Memory of an idle actor beyond its state.
const IDLE_BYTES: f64 = 256.0;
const IDLE_BYTES_ON_TOKIO: f64 = 512.0;

/// Returns all that is to be judged or shown, as far as it was measured.
pub(crate) fn rows(results: &Results) -> Vec<Row> {
    let mut rows = Vec::new();
    for &workload in Workload::all() {
        for threads in [1, 2] {
            if results.has(workload, threads) {
                rows.extend(rows_of(results, workload, threads));
            }
        }
    }
    rows
}

/// Returns the rows of a workload: one, unless it has goals of its own kind.
fn rows_of(results: &Results, workload: Workload, threads: usize) -> Vec<Row> {
    let row = against_all(results, workload, threads);
    match workload {
        Workload::Ask => {
            let inline = Row {
                what: "ask, run inline".to_owned(),
                goal: Some(Goal::AtMost(INLINE_ASK)),
                ..row.clone()
            };
            vec![row, inline]
        }
        Workload::Tell | Workload::Pingpong => {
            let Some(untimed) = results.ns(Subject::GreenroomUntimed, workload, threads) else {
                return vec![row];
            };
            let timing = Row {
                what: format!("{workload}, timed against untimed"),
                on_tokio: None,
                other: timed(Subject::GreenroomUntimed.name(), untimed),
                value: ratio(row.ours, Some(untimed)),
                // A hop does little but be measured; its goal is that of a tell.
                goal: (workload == Workload::Tell).then_some(Goal::AtMost(TIMING)),
                ..row.clone()
            };
            vec![row, timing]
        }
        Workload::Busyw if threads > 1 => spread(results, workload, &row, BUSYW_SPEEDUP),
        Workload::Skew if threads > 1 => spread(results, workload, &row, SKEW_SPEEDUP),
        Workload::Spawn => {
            let memory = memory(results, &row);
            [vec![row], memory].concat()
        }
        Workload::Restart => each_way(&row, |row, ns| Row {
            value: ns.map(|ns| ns / 1_000.0),
            unit: Unit::Micros,
            goal: Some(Goal::AtMost(RESTART_MICROS)),
            ..row
        }),
        Workload::Sleep | Workload::Echo => {
            let tasks = results.ns(Subject::Bare, workload, threads);
            each_way(&row, |row, ns| Row {
                value: ratio(ns, tasks),
                goal: Some(Goal::AtMost(AGAINST_TASKS)),
                ..row
            })
        }
        _ => vec![row],
    }
}

/// Returns Greenroom's time against that of the best other, with the goal for that if there is one.
fn against_all(results: &Results, workload: Workload, threads: usize) -> Row {
    let ours = results.ns(Subject::Greenroom, workload, threads);
    let best = results.best(peers(), workload, threads);
    Row {
        what: workload.to_string(),
        threads,
        ours,
        on_tokio: results.ns(Subject::GreenroomTokio, workload, threads),
        figures: Figures::Nanos,
        other: best.map_or_else(String::new, |(who, ns)| timed(who.name(), ns)),
        value: ratio(ours, best.map(|(_, ns)| ns)),
        unit: Unit::Ratio,
        goal: against_the_best(workload)
            .map(|(one, more)| Goal::AtMost(if threads == 1 { one } else { more })),
    }
}

/// Returns how handlers that work spread over threads: against tokio's mpsc, and against one thread.
fn spread(results: &Results, workload: Workload, row: &Row, least: f64) -> Vec<Row> {
    let mpsc = [Subject::MpscBounded, Subject::MpscUnbounded].into_iter();
    let mpsc = results.best(mpsc, workload, row.threads);
    let alone = results.ns(Subject::Greenroom, workload, 1);
    let against_mpsc = Row {
        what: format!("{workload}, against mpsc"),
        other: mpsc.map_or_else(String::new, |(who, ns)| timed(who.name(), ns)),
        value: ratio(row.ours, mpsc.map(|(_, ns)| ns)),
        goal: Some(Goal::AtMost(AGAINST_MPSC)),
        ..row.clone()
    };
    let speedup = Row {
        what: format!("{workload}, speed-up"),
        other: alone.map_or_else(String::new, |ns| timed("itself on 1 thread", ns)),
        value: ratio(alone, row.ours),
        goal: Some(Goal::AtLeast(least)),
        ..row.clone()
    };
    vec![against_mpsc, speedup]
}

fn memory(results: &Results, row: &Row) -> Vec<Row> {
    let leanest = peers()
        .filter_map(|subject| Some((subject, results.bytes(subject, row.threads)?)))
        .min_by(|a, b| a.1.total_cmp(&b.1));
    let row = Row {
        what: "idle actor".to_owned(),
        ours: results.bytes(Subject::Greenroom, row.threads),
        on_tokio: results.bytes(Subject::GreenroomTokio, row.threads),
        figures: Figures::Bytes,
        other: leanest.map_or_else(String::new, |(who, bytes)| {
            format!("{} {bytes:.0} B", who.name())
        }),
        unit: Unit::Bytes,
        ..row.clone()
    };
    let mut rows = each_way(&row, |row, value| Row { value, ..row });
    for (row, most) in rows.iter_mut().zip([IDLE_BYTES, IDLE_BYTES_ON_TOKIO]) {
        row.goal = Some(Goal::AtMost(most));
    }
    rows
}

/// Returns two rows: one about Greenroom's own workers, one about it in a tokio runtime.
fn each_way(row: &Row, judged: impl Fn(Row, Option<f64>) -> Row) -> Vec<Row> {
    let own = Row {
        on_tokio: None,
        ..row.clone()
    };
    let on_tokio = Row {
        what: format!("{}, on tokio", row.what),
        ours: None,
        ..row.clone()
    };
    vec![judged(own, row.ours), judged(on_tokio, row.on_tokio)]
}

fn peers() -> impl Iterator<Item = Subject> {
    let all = Subject::all().iter().copied();
    all.filter(|subject| subject.peer().is_some())
}

fn timed(who: &str, ns: f64) -> String {
    format!("{who} {ns:.1} ns")
}

/// Returns how often `other` goes into `ours`.
fn ratio(ours: Option<f64>, other: Option<f64>) -> Option<f64> {
    Some(ours? / other?).filter(|ratio| ratio.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::tests::results;

    fn row(value: f64, unit: Unit, goal: Goal) -> Row {
        Row {
            what: "x".to_owned(),
            threads: 1,
            ours: None,
            on_tokio: None,
            figures: Figures::Nanos,
            other: String::new(),
            value: Some(value),
            unit,
            goal: Some(goal),
        }
    }

    #[test]
    fn a_ratio_takes_two_figures() {
        assert_eq!(ratio(Some(20.0), Some(50.0)), Some(0.4));
        assert_eq!(ratio(None, Some(50.0)), None);
        assert_eq!(ratio(Some(20.0), None), None);
        assert_eq!(ratio(Some(20.0), Some(0.0)), None);
    }

    #[test]
    fn a_verdict_goes_by_the_figure_as_printed() {
        let goal = Goal::AtMost(0.40);
        assert_eq!(row(0.404, Unit::Ratio, goal).show_verdict(), "holds");
        assert_eq!(
            row(0.406, Unit::Ratio, goal).show_verdict(),
            "misses by 0.01"
        );
        let goal = Goal::AtLeast(1.75);
        assert_eq!(row(1.75, Unit::Ratio, goal).show_verdict(), "holds");
        assert_eq!(row(1.5, Unit::Ratio, goal).show_verdict(), "misses by 0.25");
        assert_eq!(
            row(4.2, Unit::Micros, Goal::AtMost(3.0)).show_verdict(),
            "misses by 1.20 µs"
        );
        assert_eq!(
            row(300.0, Unit::Bytes, Goal::AtMost(256.0)).show_verdict(),
            "misses by 44 B"
        );
    }

    #[test]
    fn an_ask_is_judged_twice_and_against_the_best_variant() {
        let results = results(&[
            (Subject::Greenroom, Workload::Ask, 1, 50.0),
            (Subject::ActixBounded, Workload::Ask, 1, 200.0),
            (Subject::MpscUnbounded, Workload::Ask, 1, 100.0),
        ]);
        let verdicts: Vec<Verdict> = rows(&results).iter().map(Row::verdict).collect();
        assert!(matches!(
            verdicts[..],
            [Verdict::Holds, Verdict::Misses(by)] if (by - 0.30).abs() < 1e-9
        ));
    }

    #[test]
    fn two_threads_are_to_be_faster_than_one_where_handlers_work() {
        let (greenroom, mpsc) = (Subject::Greenroom, Subject::MpscBounded);
        let results = results(&[
            (greenroom, Workload::Skew, 1, 540.0),
            (greenroom, Workload::Skew, 2, 300.0),
            (mpsc, Workload::Skew, 2, 290.0),
            (Subject::FlumeBounded, Workload::Skew, 2, 100.0),
        ]);
        let rows = rows(&results);
        let [alone, mpsc, speedup] = &rows[..] else {
            panic!("{rows:?}");
        };
        assert_eq!(alone.verdict(), Verdict::None);
        assert_eq!(mpsc.show_verdict(), "holds");
        assert_eq!(speedup.value, Some(1.8));
        assert_eq!(speedup.show_verdict(), "holds");
    }

    #[test]
    fn what_failed_is_not_measured_instead_of_holding() {
        let results = results(&[(Subject::MpscUnbounded, Workload::Tell, 1, 50.0)]);
        assert_eq!(rows(&results)[0].verdict(), Verdict::NotMeasured);
    }

    #[test]
    fn memory_is_judged_for_each_way_to_run() {
        let results = results(&[
            (Subject::Greenroom, Workload::Spawn, 1, 150.0),
            (Subject::GreenroomTokio, Workload::Spawn, 1, 300.0),
            (Subject::FlumeUnbounded, Workload::Spawn, 1, 500.0),
        ]);
        let shown: Vec<String> = rows(&results).iter().map(Row::show_verdict).collect();
        assert_eq!(shown, ["holds", "misses by 44 B", "holds"]);
    }
}
