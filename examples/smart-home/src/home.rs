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

use crate::args::{Args, Devices, Graph};
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

/// Returns what flows between the actors of the home, as they declare it.
pub(crate) fn graph(args: &Args, format: Graph) -> String {
    let graph = tree(args).flow_graph();
    match format {
        Graph::Mermaid => graph.to_mermaid(),
        Graph::Dot => graph.to_dot(),
        // A graph is of names and numbers, so it has no key that JSON could not.
        Graph::Json => match serde_json::to_string_pretty(&graph) {
            Ok(json) => json + "\n",
            Err(error) => unreachable!("a graph is JSON: {error}"),
        },
    }
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

    #[test]
    fn the_diagram_in_the_readme_is_what_the_command_prints() {
        let args = Args::parse_from(["smart-home", "--graph", "mermaid"]);
        let graph = graph(&args, args.graph.unwrap());
        let readme = include_str!("../README.md");
        let shown = readme.split("```mermaid\n").nth(1).unwrap_or_default();
        let shown = shown.split("```").next().unwrap_or_default();
        assert_eq!(shown, graph, "run: smart-home --graph mermaid");
    }

    #[test]
    fn the_graph_is_printed_in_three_formats() {
        let print = |format: &str| {
            let args = Args::parse_from(["smart-home", "--graph", format]);
            graph(&args, args.graph.unwrap())
        };
        assert!(print("dot").starts_with("digraph flow {\n"));
        let json: serde_json::Value = serde_json::from_str(&print("json")).unwrap();
        let edges = json["edges"].as_array().unwrap();
        assert!(edges.iter().any(|edge| edge["message"] == "LeakSeen"));
    }

    #[test]
    fn all_that_flows_is_heard_but_for_the_power_and_nothing_waits_in_a_circle() {
        for source in ["simulate", "-"] {
            let args = Args::parse_from(["smart-home", "--devices", source]);
            let graph = tree(&args).flow_graph();
            let heard = "nobody hears PowerRead, published by DeviceGateway\n";
            let differences = graph.differences().to_string();
            let commands = "nobody hears DeviceCommand, published by DeviceGateway\n";
            let expected = match source {
                "simulate" => heard.to_owned(),
                // What was recorded does not obey.
                _ => format!("{commands}{heard}"),
            };
            assert_eq!(differences, expected);
            assert!(graph.waiting_cycles().is_empty());
        }
        // From a device to the guard, and from there to the valve.
        let args = Args::parse_from(["smart-home"]);
        let graph = tree(&args).flow_graph();
        let way = graph.path("VirtualHome", "LeakGuard").unwrap();
        let way: Vec<&str> = way.iter().map(|edge| edge.message.as_str()).collect();
        assert_eq!(way, ["Line", "Checkpoint"]);
        let back = graph.path("LeakGuard", "VirtualHome").unwrap();
        let back: Vec<&str> = back.iter().map(|edge| edge.message.as_str()).collect();
        assert_eq!(back, ["Command", "DeviceCommand"]);
    }
}
