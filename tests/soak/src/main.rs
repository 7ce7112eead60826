//! Breaks systems under load, and says whether the figures of reliability hold.
//!
//! Every check is a process of its own: this program calls itself, so that no
//! memory of one is counted against the next.

#![forbid(unsafe_code)]

mod churn;
mod crash;
mod figures;
mod hog;
mod monitors;
mod panics;
mod slow;
mod stop;

use std::process::{ExitCode, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, Parser, Subcommand, ValueEnum};
use figures::{Broken, Report};

/// Breaks systems under load, and says whether the figures of reliability hold
#[derive(Parser)]
#[command(
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    override_usage = "greenroom-soak [OPTIONS]",
    after_help = "It ends with 0, with 1 when a figure is missed or anything is lost, and with 130 after Ctrl-C."
)]
struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    hidden: Option<Hidden>,
}

#[derive(Args)]
struct Options {
    /// Only these checks
    #[arg(long, value_name = "CHECK,...", value_delimiter = ',')]
    only: Vec<Check>,
    /// What decides who fails, and when [default: from the clock]
    #[arg(long)]
    seed: Option<u64>,
    /// How long the panics go on, and all runs with a slow subscriber together
    #[arg(long, value_name = "N", default_value = "60", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// A tenth of it all: to see where one stands
    #[arg(long)]
    quick: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Check {
    /// A thousand panics a second among 10,000 actors at half load
    Panics,
    /// 100,000 actors that crash at once
    Crash,
    /// Ten million starts and stops, monitors and their ends
    Churn,
    /// Stops with a million messages queued
    Stop,
    /// An actor that blocks its thread, is cut off and replaced
    Hog,
    /// One slow subscriber among a thousand fast ones, for each contract
    Slow,
}

#[derive(Subcommand)]
enum Hidden {
    /// One check, in this process
    #[command(hide = true)]
    One(One),
}

#[derive(Args)]
struct One {
    check: Check,
    seed: u64,
    seconds: u64,
    /// By how much all counts are divided.
    part: u64,
}

/// What a check needs to know.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// How long what lasts is to last.
    pub(crate) time: Duration,
    /// By how much counts are divided.
    pub(crate) part: u64,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.hidden {
        Some(Hidden::One(one)) => run_here(&one),
        None => greenroom::block_on(run_all(cli.options)),
    }
}

async fn run_all(options: Options) -> ExitCode {
    let seed = options.seed.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.map_or(1, |now| now.as_micros() as u64)
    });
    let checks = match options.only.is_empty() {
        true => Check::value_variants().to_vec(),
        false => options.only,
    };
    let (seconds, part) = match options.quick {
        true => (options.seconds.div_ceil(10), 10),
        false => (options.seconds, 1),
    };
    println!("seed {seed}");
    let mut code = ExitCode::SUCCESS;
    for check in checks {
        let value = check.to_possible_value();
        let name = value.as_ref().map_or("", |value| value.get_name());
        match run_apart(name, seed, seconds, part).await {
            Ok(true) => {}
            Ok(false) => code = ExitCode::FAILURE,
            Err(Interrupted) => return ExitCode::from(130),
        }
    }
    code
}

struct Interrupted;

/// Runs one check in a process of its own; whether all its figures held.
async fn run_apart(name: &str, seed: u64, seconds: u64, part: u64) -> Result<bool, Interrupted> {
    let me = match std::env::current_exe() {
        Ok(me) => me,
        Err(error) => {
            eprintln!("{name}: this program does not know where it is: {error}");
            return Ok(false);
        }
    };
    let mut command = tokio::process::Command::new(me);
    command.args(["one", name]);
    command.args([seed, seconds, part].map(|n| n.to_string()));
    command.stdin(Stdio::null()).kill_on_drop(true);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            eprintln!("{name}: cannot be started: {error}");
            return Ok(false);
        }
    };
    tokio::select! {
        ended = child.wait() => match ended {
            Ok(status) if status.code().is_some() => Ok(status.success()),
            Ok(status) => {
                println!("{name}: BROKEN, it ended with {status}");
                Ok(false)
            }
            Err(error) => {
                eprintln!("{name}: {error}");
                Ok(false)
            }
        },
        _ = tokio::signal::ctrl_c() => {
            // It gets the signal of the terminal too; one that came by `kill` it does not.
            let _ = child.kill().await;
            Err(Interrupted)
        }
    }
}

fn run_here(one: &One) -> ExitCode {
    // What is reported of each of so many failures would be what is measured.
    let silent = tracing::subscriber::NoSubscriber::default();
    if let Err(error) = tracing::subscriber::set_global_default(silent) {
        eprintln!("{error}");
    }
    let plan = Plan {
        seed: one.seed,
        time: Duration::from_secs(one.seconds),
        part: one.part.max(1),
    };
    let ended: Result<Report, Broken> = greenroom::block_on(async {
        match one.check {
            Check::Panics => panics::check(plan).await,
            Check::Crash => crash::check(plan).await,
            Check::Churn => churn::check(plan).await,
            Check::Stop => stop::check(plan).await,
            Check::Hog => hog::check(plan).await,
            Check::Slow => slow::check(plan).await,
        }
    });
    match ended {
        Ok(report) => {
            print!("{report}");
            match report.holds() {
                true => ExitCode::SUCCESS,
                false => ExitCode::FAILURE,
            }
        }
        Err(Broken(what)) => {
            println!("{:?}: BROKEN, {what}", one.check);
            ExitCode::FAILURE
        }
    }
}
