//! A smart home on Greenroom, from the devices to the last decision.

#![forbid(unsafe_code)]

mod args;
#[cfg(test)]
mod automations;
mod home;
mod rooms;
mod view;

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use greenroom::{ActorRef, StartError, System};
use greenroom_telemetry::{Address, Telemetry};
use home_gateway::{Count, Counts, DeviceGateway};
use home_keeper::{HouseKeeper, Summarise, Summary};
use home_protocol::Settle;
use tracing_subscriber::EnvFilter;

use crate::args::{Args, Devices};
use crate::home::{FIELD, GATEWAY, KEEPER, ROOMS, SOURCE, TELEMETRY};
use crate::rooms::{Look, Picture, Rooms};
use crate::view::{Scene, Screen, plain_line};

/// How often the live view is drawn.
const FRAME: Duration = Duration::from_millis(200);

/// How long the summary waits for each of those whom it asks.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often a plain line is printed where there is no terminal.
const LINE: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    let args = Args::from_command_line();
    if args.tree {
        // A reader that has seen enough closes the pipe.
        let _ = write!(std::io::stdout(), "{}", home::tree(&args));
        return ExitCode::SUCCESS;
    }
    if let Some(format) = args.graph {
        // As above.
        let _ = write!(std::io::stdout(), "{}", home::graph(&args, format));
        return ExitCode::SUCCESS;
    }
    let screen = (!args.plain && std::io::stdout().is_terminal())
        .then(Screen::open)
        .and_then(Result::ok);
    log_to(screen.is_some());
    let lived = if args.on_tokio {
        // As in a program that has a runtime already.
        let runtime = tokio::runtime::Runtime::new().map_err(Into::into);
        runtime.and_then(|runtime| runtime.block_on(live(&args, screen)))
    } else {
        greenroom::block_on(live(&args, screen))
    };
    match lived {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("smart-home: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Sends logs to standard error, warnings and above unless `RUST_LOG` says otherwise; nowhere while a view has the screen.
fn log_to(view: bool) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    let logs = tracing_subscriber::fmt().with_env_filter(filter);
    if view {
        logs.with_writer(std::io::sink).init();
    } else {
        logs.with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal())
            .init();
    }
}

/// Runs the home until it ends; returns whether all went as it should.
async fn live(args: &Args, mut screen: Option<Screen>) -> Result<bool, Box<dyn std::error::Error>> {
    let begun = Instant::now();
    let mut builder = System::builder().seed(args.seed);
    if args.on_tokio {
        builder = builder.in_current_runtime();
    }
    let system = builder.start(home::tree(args)).await.map_err(plainly)?;
    let eyes = Eyes::open(&system).await?;
    // Whoever reads the lines may have seen enough after any of them: that is no failure of the home.
    let mut heard = screen.is_some()
        || say(&format!(
            "The home is open: http://{}/metrics, stop it with Ctrl-C.\n\
             The driver of hallway/motion crashes now and then, on a quirk of its firmware.",
            eyes.metrics
        ))
        .is_ok();
    let asked_to_stop = system.stop_signal();
    tokio::pin!(asked_to_stop);
    let deadline = args
        .at_most()
        .and_then(|at_most| begun.checked_add(at_most));
    let mut last_line = Instant::now();
    // The source stops itself at its end.
    while heard && !eyes.source_is_gone() {
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            break;
        }
        let scene = eyes.scene(args).await;
        match &mut screen {
            Some(screen) => screen.draw(&scene)?,
            None if last_line.elapsed() >= LINE => {
                last_line = Instant::now();
                heard = say(&plain_line(&scene)).is_ok();
            }
            None => {}
        }
        let wait = if screen.is_some() { FRAME } else { FRAME / 4 };
        tokio::select! {
            _ = &mut asked_to_stop => break,
            () = tokio::time::sleep(wait) => {}
        }
    }
    // First, because a second signal would end the process with the terminal taken.
    drop(screen);
    let last = eyes.last_look().await;
    system.stop().await;
    let escalated = system.stopped().await.err();
    let balanced = system.ledger().is_balanced();
    // As above.
    let _ = say(&summary(args, &system, &last, begun.elapsed()));
    if let Some(escalated) = &escalated {
        eprintln!("smart-home: {escalated}");
    }
    Ok(balanced && escalated.is_none())
}

/// Says why the home did not start without the words of the runtime around it.
fn plainly(error: StartError) -> Box<dyn std::error::Error> {
    match error {
        StartError::ChildFailed(failure) => failure.text().to_owned().into(),
        other => other.into(),
    }
}

/// What looks at the home while it runs.
struct Eyes {
    system: System,
    gateway: ActorRef<DeviceGateway>,
    keeper: ActorRef<HouseKeeper>,
    rooms: ActorRef<Rooms>,
    metrics: SocketAddr,
}

/// The home at its end.
struct Last {
    counts: Option<Counts>,
    summary: Option<Summary>,
    restarts: Vec<(String, u64)>,
    picture: Picture,
}

impl Eyes {
    async fn open(system: &System) -> Result<Self, Box<dyn std::error::Error>> {
        let metrics = system.find::<Telemetry>(TELEMETRY)?.ask(Address).await?;
        Ok(Eyes {
            gateway: system.find(GATEWAY)?,
            keeper: system.find(KEEPER)?,
            rooms: system.find(ROOMS)?,
            system: system.clone(),
            metrics,
        })
    }

    fn source_is_gone(&self) -> bool {
        let source = format!("{FIELD}/{SOURCE}");
        !self
            .system
            .snapshot()
            .iter()
            .any(|info| info.path.as_str() == source)
    }

    async fn scene(&self, args: &Args) -> Scene {
        // An actor that is busy or down is no reason to show nothing.
        let picture = self.rooms.ask(Look).within(FRAME).await.unwrap_or_default();
        let summary = self
            .keeper
            .ask(Summarise)
            .within(FRAME)
            .await
            .unwrap_or_default();
        let letters = self.system.dead_letters();
        Scene {
            clock: picture.at,
            speed: args.speed.0,
            picture,
            actors: self.system.snapshot().iter().map(Into::into).collect(),
            latest: summary
                .latest
                .iter()
                .map(|d| format!("{} {}", d.at, d.what))
                .collect(),
            decisions: summary.total,
            ledger: self.system.ledger().into(),
            dead_letter_count: letters.last().map_or(0, |last| last.number + 1),
            dead_letters: letters
                .iter()
                .rev()
                .map(|letter| format!("{}: {}", letter.path.name(), letter.text))
                .collect(),
            metrics: Some(self.metrics),
        }
    }

    /// Ends the traffic, lets the home come to rest, and asks what there is to say about it.
    async fn last_look(&self) -> Last {
        let restarts = self
            .system
            .snapshot()
            .iter()
            .filter(|i| i.restarts > 0)
            .map(|i| (i.path.to_string(), i.restarts))
            .collect();
        if let Ok(field) = self.system.supervisor(FIELD) {
            // It may have ended by itself.
            let _ = field.stop_child(SOURCE).await;
        }
        // Where one of them is stuck or gone, the summary says less and does not wait for it.
        for _ in 0..2 {
            let _ = self.gateway.ask(Settle).within(PATIENCE).await;
        }
        Last {
            counts: self.gateway.ask(Count).within(PATIENCE).await.ok(),
            summary: self.keeper.ask(Summarise).within(PATIENCE).await.ok(),
            restarts,
            picture: self
                .rooms
                .ask(Look)
                .within(PATIENCE)
                .await
                .unwrap_or_default(),
        }
    }
}

/// Writes a line to standard output.
fn say(line: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Tells in a few lines what became of the home.
fn summary(args: &Args, system: &System, last: &Last, took: Duration) -> String {
    let (seconds, until) = (took.as_secs_f64(), last.picture.at);
    let mut lines = vec![String::new()];
    lines.push(match &args.devices {
        Devices::Simulate => {
            let seed = args.seed;
            format!("The simulated home (seed {seed}) ran for {seconds:.1} s, until {until:#} of its time.")
        }
        Devices::Recorded(origin) => {
            format!("The home replayed {origin} in {seconds:.1} s, until {until:#} of its time.")
        }
    });
    let mut chapter = |title: &str, text: &mut dyn Iterator<Item = String>| {
        lines.push(format!("\n{title}"));
        lines.extend(text.map(|line| format!("  {line}")));
    };
    if let Some(summary) = &last.summary {
        let table = summary.to_string();
        chapter("decisions", &mut table.lines().map(str::to_owned));
    }
    if let Some(counts) = &last.counts {
        chapter("traffic", &mut std::iter::once(counts.to_string()));
    }
    if last.restarts.is_empty() {
        chapter("restarts", &mut std::iter::once("none".to_owned()));
    } else {
        let restarts = last.restarts.iter();
        chapter(
            "restarts",
            &mut restarts.map(|(path, n)| format!("{path}  {n}")),
        );
    }
    let letters = system.dead_letters();
    let all = letters.last().map_or(0, |letter| letter.number + 1);
    let latest = letters[letters.len().saturating_sub(3)..].iter();
    let latest = latest.map(|letter| letter.to_string().chars().take(140).collect());
    chapter(
        "dead letters",
        &mut std::iter::once(format!("{all}, the last of them")).chain(latest),
    );
    chapter(
        "messages",
        &mut std::iter::once(system.ledger().to_string()),
    );
    lines.join("\n")
}
