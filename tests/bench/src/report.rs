//! The result as text: a table with verdicts, then every figure.

use crate::goals::{Figures, Row, Verdict, rows};
use crate::plan::Subject;
use crate::results::Results;
use crate::workloads::Workload;

/// Of which package versions these are figures.
const LOCK: &str = include_str!("../../../Cargo.lock");
const PACKAGES: [&str; 8] = [
    "greenroom",
    "actix",
    "actix-broker",
    "kameo",
    "kameo_actors",
    "ractor",
    "flume",
    "tokio",
];

/// Returns whether some goal is missed.
///
/// One that could not be judged is not: either it was not asked for, or
/// something failed, which is said in another way.
pub(crate) fn misses(results: &Results) -> bool {
    let is_missed = |row: &Row| matches!(row.verdict(), Verdict::Misses(_));
    rows(results).iter().any(is_missed)
}

/// Returns how many goals hold, in a sentence.
pub(crate) fn summary(results: &Results) -> String {
    let (mut hold, mut missed, mut open) = (0, 0, 0);
    for row in rows(results) {
        match row.verdict() {
            Verdict::Holds => hold += 1,
            Verdict::Misses(_) => missed += 1,
            Verdict::NotMeasured => open += 1,
            Verdict::None => {}
        }
    }
    format!("Goals: {hold} held, {missed} missed, {open} not measured.")
}

/// Returns the table of verdicts, as Markdown that can also be read in a terminal.
pub(crate) fn verdicts(results: &Results) -> String {
    let header = [
        "workload",
        "threads",
        "greenroom",
        "greenroom-tokio",
        "best other",
        "value",
        "goal",
        "verdict",
    ];
    let show = |figures: Figures, value: Option<f64>| match (figures, value) {
        (_, None) => String::new(),
        (Figures::Nanos, Some(ns)) if ns >= 10_000.0 => format!("{:.1} µs", ns / 1_000.0),
        (Figures::Nanos, Some(ns)) => format!("{ns:.1} ns"),
        (Figures::Bytes, Some(bytes)) => format!("{bytes:.0} B"),
    };
    let line = |row: Row| {
        vec![
            row.what.clone(),
            row.threads.to_string(),
            show(row.figures, row.ours),
            show(row.figures, row.on_tokio),
            row.other.clone(),
            row.value.map_or_else(String::new, |v| row.unit.show(v)),
            row.show_goal(),
            row.show_verdict(),
        ]
    };
    let lines: Vec<Vec<String>> = rows(results).into_iter().map(line).collect();
    table(&header.map(str::to_owned), &lines)
}

/// Returns everything: how it was measured, the verdicts, and all figures.
pub(crate) fn document(results: &Results, command: &str, runs: usize) -> String {
    let mut text = format!(
        "# Greenroom against its peers\n\n\
         `{command}`; {runs} runs, each figure a median. {}\n\n{}.\n\n{}\n{}\n\n",
        machine(),
        versions(LOCK),
        verdicts(results),
        summary(results)
    );
    for threads in [1, 2] {
        let table = figures(results, threads);
        if !table.is_empty() {
            let s = if threads == 1 { "" } else { "s" };
            text.push_str(&format!(
                "## Every figure on {threads} thread{s}\n\n\
                 Nanoseconds an operation: median (least). B/actor: memory of an idle actor beyond its state.\n\n\
                 {table}\n"
            ));
        }
    }
    if !results.failures.is_empty() {
        text.push_str("## What failed\n\n");
        for (task, why) in &results.failures {
            text.push_str(&format!("- {task}: {why}\n"));
        }
    }
    text
}

/// Returns medians and least values of all subjects; empty when there are none.
fn figures(results: &Results, threads: usize) -> String {
    let workloads: Vec<Workload> = Workload::all()
        .iter()
        .copied()
        .filter(|workload| results.has(*workload, threads))
        .collect();
    let mut header = vec![String::new()];
    header.extend(workloads.iter().map(ToString::to_string));
    if workloads.contains(&Workload::Spawn) {
        header.push("B/actor".to_owned());
    }
    let mut lines = Vec::new();
    for &subject in Subject::all() {
        let cell = |workload: &Workload| {
            let median = results.ns(subject, *workload, threads)?;
            let least = results.least_ns(subject, *workload, threads)?;
            let digits = usize::from(least < 100.0);
            Some(format!("{median:.digits$} ({least:.digits$})"))
        };
        let cells: Vec<Option<String>> = workloads.iter().map(cell).collect();
        if cells.iter().all(Option::is_none) {
            continue;
        }
        let mut line = vec![subject.name().to_owned()];
        line.extend(cells.into_iter().map(Option::unwrap_or_default));
        if workloads.contains(&Workload::Spawn) {
            let bytes = results.bytes(subject, threads);
            line.push(bytes.map_or_else(String::new, |bytes| format!("{bytes:.0}")));
        }
        lines.push(line);
    }
    if lines.is_empty() {
        return String::new();
    }
    table(&header, &lines)
}

/// Returns a Markdown table whose columns are as wide as what is in them.
fn table(header: &[String], lines: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = lines.iter().map(|line| &line[column]);
        let all = cells.chain([&header[column]]);
        all.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let row = |cells: &[String]| {
        let cells = cells.iter().zip(&widths);
        let padded = cells.map(|(cell, width)| format!(" {cell:<width$} |"));
        format!("|{}\n", padded.collect::<String>())
    };
    let rule = widths.iter().map(|width| "-".repeat(width + 2) + "|");
    let mut text = row(header);
    text.push_str(&format!("|{}\n", rule.collect::<String>()));
    lines.iter().for_each(|line| text.push_str(&row(line)));
    text
}

/// Returns a sentence about the processor.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == "model name").then(|| value.trim().to_owned())
    });
    let name = name.unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    format!("Machine: {name}, {cores} logical processors.")
}

/// Returns the measured packages with their versions, as the lock file has them.
fn versions(lock: &str) -> String {
    let version = |package: &&str| {
        let (_, after) = lock.split_once(&format!("name = \"{package}\"\nversion = \""))?;
        let (version, _) = after.split_once('"')?;
        Some(format!("{package} {version}"))
    };
    let versions: Vec<String> = PACKAGES.iter().filter_map(version).collect();
    versions.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::children::Task;
    use crate::results::tests::results;

    fn two() -> Results {
        results(&[
            (Subject::Greenroom, Workload::Tell, 1, 20.0),
            (Subject::GreenroomTokio, Workload::Tell, 1, 25.0),
            (Subject::FlumeBounded, Workload::Tell, 1, 40.0),
        ])
    }

    #[test]
    fn the_table_says_who_was_best_and_what_that_means() {
        assert_eq!(
            verdicts(&two()),
            "\
| workload | threads | greenroom | greenroom-tokio | best other            | value | goal   | verdict        |
|----------|---------|-----------|-----------------|-----------------------|-------|--------|----------------|
| tell     | 1       | 20.0 ns   | 25.0 ns         | flume/bounded 40.0 ns | 0.50  | ≤ 0.40 | misses by 0.10 |
"
        );
        assert!(misses(&two()));
        assert_eq!(summary(&two()), "Goals: 0 held, 1 missed, 0 not measured.");
    }

    #[test]
    fn the_document_has_every_figure_and_what_failed() {
        let mut results = two();
        let task = Task {
            workload: Workload::Tell,
            threads: 1,
            subject: Subject::RactorLoop,
        };
        results.add(task, Err("it did not end within 60s".to_owned()));
        let text = document(&results, "bench", 1);
        assert!(text.contains("| flume/bounded   | 40.0 (40.0) |"), "{text}");
        assert!(
            text.contains("- tell on 1 thread, ractor: it did not end within 60s"),
            "{text}"
        );
        assert!(!text.contains("2 threads"), "{text}");
    }

    #[test]
    fn versions_come_from_the_lock_file() {
        let lock = "[[package]]\nname = \"flume\"\nversion = \"0.12.0\"\n";
        assert_eq!(versions(lock), "flume 0.12.0");
        assert_eq!(versions(LOCK).split(", ").count(), PACKAGES.len());
    }
}
