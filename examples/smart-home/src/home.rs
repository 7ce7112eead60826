//! The tree of the home. It reads as a table of contents.

use std::time::Duration;

use greenroom::ChildSpec;
use greenroom::prelude::*;
use greenroom_telemetry::Telemetry;
use home_devices::DEFAULT_START_MS;
use home_door_alarm::DoorAlarm;
use home_gateway::DeviceGateway;
use home_keeper::HouseKeeper;
use home_leak_guard::LeakGuard;
use home_lights::Lights;
use home_source::{FindSink, Recording, RecordingArgs, Sink, VirtualHome, VirtualHomeArgs};
use home_thermostat::Thermostat;

use crate::args::{Args, Devices};
use crate::rooms::Rooms;

pub(crate) const TELEMETRY: &str = "home/telemetry";
pub(crate) const KEEPER: &str = "home/house-keeper";
pub(crate) const ROOMS: &str = "home/rooms";
pub(crate) const FIELD: &str = "home/field";
pub(crate) const GATEWAY: &str = "home/field/gateway";
pub(crate) const SOURCE: &str = "source";

/// Returns the home as it is asked for.
pub(crate) fn tree(args: &Args) -> Supervisor {
    let telemetry = Telemetry::spec("telemetry", args.metrics).mailbox(16);
    between(telemetry, source(args))
}

/// Returns the home between its two edges: who shows it to the world, and where its traffic comes from.
///
/// What is listed first starts first and stops last: metrics are there as long
/// as anything is, and the devices fall silent before those who listen.
pub(crate) fn between(telemetry: impl Into<ChildSpec>, source: impl Into<ChildSpec>) -> Supervisor {
    Supervisor::one_for_one("home")
        .restart_limit(3, Duration::from_secs(60))
        .child(telemetry)
        .child(HouseKeeper::spec(
            "house-keeper",
            home_keeper::Settings::default(),
        ))
        .child(Rooms::spec("rooms", ()))
        .child(safety())
        .child(climate())
        .child(lighting())
        .child(field(source))
}

fn safety() -> Supervisor {
    Supervisor::one_for_one("safety")
        .child(LeakGuard::spec(
            "leak-guard",
            home_leak_guard::Settings::default(),
        ))
        .child(DoorAlarm::spec(
            "door-alarm",
            home_door_alarm::Settings::default(),
        ))
}

fn climate() -> Supervisor {
    let room = |room: &str, day_celsius: f64| {
        let settings = home_thermostat::Settings::room(room);
        Thermostat::spec(
            room,
            home_thermostat::Settings {
                day_celsius,
                ..settings
            },
        )
    };
    Supervisor::one_for_one("climate")
        .child(room("kitchen", 20.0))
        .child(room("living room", 21.0))
        .child(room("bedroom", 18.0))
        .child(room("kids room", 20.5))
}

fn lighting() -> Supervisor {
    use home_lights::Settings;
    Supervisor::one_for_one("lighting")
        .child(Lights::spec("kitchen", Settings::room("kitchen")))
        .child(Lights::spec("living room", Settings::room("living room")))
        .child(Lights::spec("kids room", Settings::bedroom("kids room")))
        .child(Lights::spec("bathroom", Settings::room("bathroom")))
        .child(Lights::spec("hallway", Settings::room("hallway")))
        .child(Lights::spec("garage", Settings::room("garage")))
}

/// The outside: drivers, the gateway that uses them, and where the traffic comes from.
///
/// `rest_for_one`, because a gateway knows its drivers and a source its gateway.
fn field(source: impl Into<ChildSpec>) -> Supervisor {
    // A driver crashes on what its device sent, and that message is gone: there is
    // nothing to wait for before the next. The limit is there for a device gone mad.
    let devices = Supervisor::dynamic("devices")
        .restart_limit(1000, Duration::from_secs(10))
        .backoff(Backoff::none());
    Supervisor::rest_for_one("field")
        .child(devices)
        .child(DeviceGateway::spec("gateway", format!("{FIELD}/devices")))
        .child(source)
}

fn source(args: &Args) -> ChildSpec {
    let gateway: FindSink = |system| Ok(Sink::new(&system.find::<DeviceGateway>(GATEWAY)?));
    let speed = args.speed.0;
    match &args.devices {
        Devices::Simulate => {
            let home = VirtualHomeArgs {
                gateway,
                seed: args.seed,
                start_ms: DEFAULT_START_MS,
                speed,
                end_ms: args
                    .home_ms()
                    .map(|lives| DEFAULT_START_MS.saturating_add(lives)),
                record: args.record.clone(),
            };
            VirtualHome::spec(SOURCE, home)
                .restart(Restart::Transient)
                .into()
        }
        Devices::Recorded(origin) => {
            let recording = RecordingArgs {
                gateway,
                origin: origin.clone(),
                speed,
            };
            // What was read from standard input cannot be read again.
            Recording::spec(SOURCE, recording)
                .restart(Restart::Temporary)
                .into()
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn the_tree_reads_as_a_table_of_contents() {
        let args = Args::parse_from(["smart-home"]);
        assert_eq!(tree(&args).to_string(), include_str!("tree.txt"));
    }
}
