//! The command line: as typed, and as meant.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Parser;
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
    #[arg(long, value_parser = humantime::parse_duration)]
    pub(crate) duration: Option<Duration>,

    /// Where /metrics, /livez and /readyz are served; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value_t = DEFAULT_ADDR)]
    pub(crate) metrics: SocketAddr,

    /// Record the simulated traffic to this file, to be replayed with `--devices file:PATH`.
    #[arg(long, value_name = "PATH")]
    pub(crate) record: Option<PathBuf>,

    /// Print a plain line now and then also on a terminal.
    #[arg(long)]
    pub(crate) plain: bool,

    /// Print the supervision tree and exit.
    #[arg(long)]
    pub(crate) tree: bool,
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
