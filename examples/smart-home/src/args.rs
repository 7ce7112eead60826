//! The command line: as typed, and as meant.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, ValueEnum};
use greenroom_telemetry::DEFAULT_ADDR;
use home_devices::DEFAULT_SEED;
use home_source::Origin;

/// A smart home on Greenroom: devices report, rooms react, what fails is restarted, and every mailbox can be read.
#[derive(Debug, Parser)]
#[command(version, about)]
pub(crate) struct Args {
    /// Where the devices are: `simulate`, `file:PATH` with recorded MQTT traffic, or `-` for standard input.
    ///
    /// A recording has one JSON object a line: {"ts": <ms or RFC 3339>, "topic": "zigbee2mqtt/...", "payload": ...}.
    #[arg(long, value_name = "SOURCE", default_value = "simulate")]
    pub(crate) devices: Devices,

    /// The seed of all that happens in the simulated home.
    #[arg(long, default_value_t = DEFAULT_SEED)]
    pub(crate) seed: u64,

    /// How many seconds of the home pass in one second; `max` for as fast as possible. A day takes 20 s by default.
    #[arg(long, default_value = "4320")]
    pub(crate) speed: Speed,

    /// When to stop, as in `20s` or `5min`. The simulated home runs for just so much home time as fits at this speed.
    ///
    /// A machine that cannot keep up with the speed gets a quarter more, and then stops all the same.
    #[arg(long, value_parser = humantime::parse_duration)]
    pub(crate) duration: Option<Duration>,

    /// Where /metrics, /livez and /readyz are served; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value_t = DEFAULT_ADDR, value_parser = address)]
    pub(crate) metrics: SocketAddr,

    /// Record the simulated traffic to this new file, to be replayed with `--devices file:PATH`.
    #[arg(long, value_name = "PATH")]
    pub(crate) record: Option<PathBuf>,

    /// Run the actors as tasks of a tokio runtime of the program's own, instead of on workers of Greenroom.
    #[arg(long)]
    pub(crate) on_tokio: bool,

    /// Print a plain line now and then also on a terminal.
    #[arg(long)]
    pub(crate) plain: bool,

    /// Print the supervision tree and exit.
    #[arg(long)]
    pub(crate) tree: bool,

    /// Print what flows between the actors, and exit: for a Mermaid or a Graphviz drawing, or as JSON.
    #[arg(long, value_name = "FORMAT")]
    pub(crate) graph: Option<Graph>,
}

/// How the flow graph is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Graph {
    Mermaid,
    Dot,
    Json,
}

/// Reads `127.0.0.1:9464`, `:9464` for this machine, or `localhost:9464`.
fn address(text: &str) -> Result<SocketAddr, String> {
    let full = if text.starts_with(':') {
        format!("127.0.0.1{text}")
    } else {
        text.to_owned()
    };
    let found = full
        .to_socket_addrs()
        .ok()
        .and_then(|mut found| found.next());
    found.ok_or_else(|| "use an address and a port, such as 127.0.0.1:9464".to_owned())
}

/// Where the devices are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Devices {
    Simulate,
    Recorded(Origin),
}

impl FromStr for Devices {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "simulate" => Ok(Devices::Simulate),
            "-" => Ok(Devices::Recorded(Origin::Stdin)),
            _ => match text.strip_prefix("file:") {
                Some(path) if !path.is_empty() => Ok(Devices::Recorded(Origin::File(path.into()))),
                _ => Err("use `simulate`, `file:PATH` or `-`".to_owned()),
            },
        }
    }
}

/// Home seconds in a second: above 0, infinite for `max`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Speed(pub(crate) f64);

impl FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Speed(f64::INFINITY));
        }
        match text.parse::<f64>() {
            Ok(speed) if speed.is_finite() && speed > 0.0 => Ok(Speed(speed)),
            _ => Err("use a number above 0, or `max`".to_owned()),
        }
    }
}

impl Args {
    /// Reads the command line; what cannot be meant ends the program with code 2.
    pub(crate) fn from_command_line() -> Self {
        let args = Args::parse();
        if args.record.is_some() && args.devices != Devices::Simulate {
            let why = "--record goes with the simulated home: a recording is recorded already";
            Args::command()
                .error(ErrorKind::ArgumentConflict, why)
                .exit();
        }
        args
    }

    /// Returns when to stop by the clock, whatever the home's time is.
    pub(crate) fn at_most(&self) -> Option<Duration> {
        let duration = self.duration?;
        match (&self.devices, self.home_ms()) {
            // It ends by its own time, unless the machine is behind.
            (Devices::Simulate, Some(_)) => Some(duration.saturating_add(duration / 4)),
            _ => Some(duration),
        }
    }

    /// Returns how long the simulated home lives, in milliseconds of its time; `None` for ever.
    pub(crate) fn home_ms(&self) -> Option<i64> {
        let Some(duration) = self.duration else {
            // As fast as possible for ever would be of no use to anybody: one day.
            return self.speed.0.is_infinite().then_some(86_400_000);
        };
        let speed = if self.speed.0.is_finite() {
            self.speed.0
        } else {
            return None;
        };
        // `as` saturates, and a home that lives for ever does no harm.
        Some((duration.as_secs_f64() * speed * 1000.0) as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Args, clap::Error> {
        Args::try_parse_from(std::iter::once(&"smart-home").chain(args))
    }

    #[test]
    fn a_source_is_simulated_a_file_or_standard_input() {
        let devices = |text: &str| parse(&["--devices", text]).map(|args| args.devices);
        assert_eq!(devices("simulate").unwrap(), Devices::Simulate);
        assert_eq!(devices("-").unwrap(), Devices::Recorded(Origin::Stdin));
        assert_eq!(
            devices("file:a.jsonl").unwrap(),
            Devices::Recorded(Origin::File("a.jsonl".into()))
        );
        let error = devices("mqtt").unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(
            error
                .to_string()
                .contains("use `simulate`, `file:PATH` or `-`"),
            "{error}"
        );
        assert!(devices("file:").is_err());
    }

    #[test]
    fn an_address_may_be_short() {
        let metrics = |text: &str| parse(&["--metrics", text]).map(|args| args.metrics.to_string());
        assert_eq!(metrics("127.0.0.1:1").unwrap(), "127.0.0.1:1");
        assert_eq!(metrics(":9465").unwrap(), "127.0.0.1:9465");
        assert_eq!(metrics("[::1]:9465").unwrap(), "[::1]:9465");
        let error = metrics("here").unwrap_err();
        assert!(
            error.to_string().contains("such as 127.0.0.1:9464"),
            "{error}"
        );
    }

    #[test]
    fn the_home_lives_as_long_as_the_duration_holds_at_its_speed() {
        let home_ms = |args: &[&str]| parse(args).unwrap().home_ms();
        assert_eq!(home_ms(&["--duration", "20s"]), Some(86_400_000));
        assert_eq!(
            home_ms(&["--duration", "1s", "--speed", "60"]),
            Some(60_000)
        );
        assert_eq!(home_ms(&[]), None);
        assert_eq!(home_ms(&["--speed", "max"]), Some(86_400_000));
        assert_eq!(home_ms(&["--speed", "max", "--duration", "1s"]), None);
        for bad in ["0", "-1", "NaN", "inf", "fast"] {
            assert_eq!(
                parse(&["--speed", bad]).unwrap_err().exit_code(),
                2,
                "{bad}"
            );
        }
    }
}
