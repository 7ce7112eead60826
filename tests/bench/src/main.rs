//! Measures Greenroom against other actor runtimes and raw channels, and says whether its goals hold.
//!
//! Every measurement is a process of its own: this program calls itself, so that
//! no allocator, thread pool or code path is warm from somebody else's workload.

#![forbid(unsafe_code)]

mod chart;
mod children;
mod erlang;
mod frameworks;
mod goals;
mod node;
mod plan;
mod report;
mod results;
mod workloads;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use children::Task;
use erlang::Erlang;
use plan::{Peer, Subject};
use results::Results;
use workloads::Workload;

/// How many runs make a median unless it is said otherwise.
const RUNS: usize = 3;

/// What part of the operations a quick run does.
const QUICK: f64 = 0.15;

/// Measures Greenroom against other actor runtimes and raw channels, and says whether its goals hold
///
/// Each measurement is a process of its own with a limit of 60 s. Frameworks take turns, run by run,
/// and medians are compared. A message that does not arrive is a failure.
#[derive(Parser)]
#[command(
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    override_usage = "greenroom-bench [OPTIONS]",
    after_help = "It ends with 0, with 1 when something failed to run, and with 130 after Ctrl-C."
)]
struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    hidden: Option<Hidden>,
}

#[derive(Args)]
struct Options {
    /// How many times everything is measured [default: 3, or 1 with --quick]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    runs: Option<u16>,
    /// Under two minutes in all: fewer operations, one variant of each peer
    #[arg(long)]
    quick: bool,
    /// Only these workloads; see --list
    #[arg(
        long,
        value_name = "WORKLOAD,...",
        value_delimiter = ',',
        hide_possible_values = true
    )]
    only: Vec<Workload>,
    /// Only these peers beside Greenroom
    #[arg(long, value_name = "PEER,...", value_delimiter = ',')]
    peers: Vec<Peer>,
    /// On how many threads
    #[arg(long, value_enum, default_value = "both")]
    threads: Threads,
    /// Where table.md and chart.svg go [default: results/ in this package, for a complete run]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// End with 1 also when a goal is missed
    #[arg(long)]
    check: bool,
    /// List workloads and frameworks, and measure nothing
    #[arg(long)]
    list: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Threads {
    #[value(name = "1")]
    One,
    #[value(name = "2")]
    Two,
    Both,
}

#[derive(Subcommand)]
enum Hidden {
    /// Measures once and prints the result: how this program calls itself
    #[command(hide = true)]
    One {
        subject: Subject,
        workload: Workload,
        threads: usize,
        scale: f64,
    },
}

fn main() -> ExitCode {
    let Cli { options, hidden } = Cli::parse();
    if let Some(Hidden::One {
        subject,
        workload,
        threads,
        scale,
    }) = hidden
    {
        children::end_with_parent();
        subject.run(workload, threads, scale);
    }
    if options.list {
        list();
        return ExitCode::SUCCESS;
    }
    greenroom::block_on(async {
        tokio::select! {
            code = options.run() => code,
            // The child that runs is killed when the future before is dropped.
            _ = tokio::signal::ctrl_c() => ExitCode::from(130),
        }
    })
}

fn list() {
    println!("Workloads:");
    for workload in Workload::all() {
        let help = workload.to_possible_value();
        let help = help.and_then(|value| value.get_help().map(ToString::to_string));
        println!("  {workload:<9} {}", help.unwrap_or_default());
    }
    println!("Frameworks:");
    for subject in Subject::all() {
        println!("  {}", subject.name());
    }
}

impl Options {
    fn tasks(&self, has_erlang: bool) -> Vec<Task> {
        let threads: &[usize] = match self.threads {
            Threads::One => &[1],
            Threads::Two => &[2],
            Threads::Both => &[1, 2],
        };
        let mut tasks = Vec::new();
        for &workload in Workload::all() {
            for &threads in threads {
                for &subject in Subject::all() {
                    let wanted = (self.only.is_empty() || self.only.contains(&workload))
                        && self.wants(subject)
                        && subject.takes(workload)
                        && (has_erlang || subject != Subject::Erlang);
                    if wanted {
                        tasks.push(Task {
                            workload,
                            threads,
                            subject,
                        });
                    }
                }
            }
        }
        tasks
    }

    fn wants(&self, subject: Subject) -> bool {
        let Some(peer) = subject.peer() else {
            return true;
        };
        (self.peers.is_empty() || self.peers.contains(&peer))
            && !(self.quick && subject.is_second_choice())
    }

    /// Returns whether the figures are those that are kept beside the code.
    fn is_complete(&self) -> bool {
        !self.quick
            && self.only.is_empty()
            && self.peers.is_empty()
            && self.threads == Threads::Both
    }

    async fn run(&self) -> ExitCode {
        let mut erlang = None;
        if self.wants(Subject::Erlang) {
            match Erlang::find().await {
                Ok(Some(found)) => erlang = Some(found),
                Ok(None) => eprintln!("erlang: skipped, erl is not installed"),
                Err(error) => {
                    eprintln!("erlang: {error}");
                    return ExitCode::FAILURE;
                }
            }
        }
        let tasks = self.tasks(erlang.is_some());
        let runs = self
            .runs
            .map_or(if self.quick { 1 } else { RUNS }, usize::from);
        let scale = if self.quick { QUICK } else { 1.0 };
        let mut results = Results::default();
        let total = runs * tasks.len();
        for run in 0..runs {
            for (i, task) in tasks.iter().enumerate() {
                let result = task.run(scale, erlang.as_ref()).await;
                let shown = match &result {
                    Ok(measured) => format!("{:.1} ns", measured.ns_per_op),
                    Err(why) => format!("FAILED, {why}"),
                };
                eprintln!("[{}/{total}] {task}: {shown}", run * tasks.len() + i + 1);
                results.add(*task, result);
            }
        }
        println!(
            "{}\n{}",
            report::verdicts(&results),
            report::summary(&results)
        );
        for (task, why) in &results.failures {
            println!("failed: {task}: {why}");
        }
        let written = match self.folder() {
            Some(folder) => self.write(&folder, &results, runs),
            None => Ok(()),
        };
        if let Err(error) = &written {
            eprintln!("the results could not be written: {error}");
        }
        let missed = self.check && report::misses(&results);
        if results.failures.is_empty() && written.is_ok() && !missed {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }

    /// Returns where the results go; a run that leaves something out does not replace a complete one.
    fn folder(&self) -> Option<PathBuf> {
        if self.out.is_some() {
            return self.out.clone();
        }
        // Set by `cargo run`; without it this is called from the root of the repository.
        let package = std::env::var_os("CARGO_MANIFEST_DIR");
        let package = package.map_or_else(|| PathBuf::from("tests/bench"), PathBuf::from);
        self.is_complete().then(|| package.join("results"))
    }

    fn write(&self, folder: &Path, results: &Results, runs: usize) -> std::io::Result<()> {
        let arguments = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
        let command = format!("cargo run --release -p greenroom-bench -- {arguments}");
        std::fs::create_dir_all(folder)?;
        let document = report::document(results, command.trim_end_matches([' ', '-']), runs);
        std::fs::write(folder.join("table.md"), document)?;
        if let Some(svg) = chart::svg(results) {
            std::fs::write(folder.join("chart.svg"), svg)?;
        }
        eprintln!("written: table.md and chart.svg in {}", folder.display());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(arguments: &[&str]) -> Options {
        Cli::parse_from([&["greenroom-bench"], arguments].concat()).options
    }

    #[test]
    fn a_quick_run_leaves_out_variants_but_no_workload() {
        let tasks = options(&["--quick"]).tasks(true);
        for workload in Workload::all() {
            assert!(tasks.iter().any(|task| task.workload == *workload));
        }
        assert!(tasks.iter().all(|task| !task.subject.is_second_choice()));
        assert!(tasks.len() < options(&[]).tasks(true).len());
    }

    #[test]
    fn peers_and_workloads_can_be_chosen() {
        let chosen = options(&["--only", "tell,ask", "--peers", "flume", "--threads", "2"]);
        let tasks = chosen.tasks(true);
        // Ours on two drivers and flume in two variants; a tell also untimed.
        assert_eq!(tasks.len(), 2 * 4 + 1);
        assert!(tasks.iter().all(|task| task.threads == 2));
        assert!(!chosen.is_complete() && options(&["--runs", "5"]).is_complete());
    }

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
