//! What the view looks like: one scene, drawn at many sizes.

use std::net::{Ipv4Addr, SocketAddr};

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;

use super::*;

fn room(name: &str, celsius: f64, percent: f64) -> RoomNow {
    RoomNow {
        name: name.to_owned(),
        temperature: Some(celsius),
        humidity: Some(percent),
        ..RoomNow::default()
    }
}

fn actor(path: &str, depth: usize, capacity: usize, handled: u64) -> ActorRow {
    ActorRow {
        path: path.to_owned(),
        group: "Any".to_owned(),
        is_supervisor: false,
        state: ActorState::Running,
        depth,
        capacity,
        oldest_age: Duration::from_micros(400) * (depth as u32),
        handled,
        failed: 0,
        restarts: 0,
    }
}

fn supervisor(path: &str) -> ActorRow {
    ActorRow {
        is_supervisor: true,
        ..actor(path, 0, 0, 0)
    }
}

fn driver(name: &str, depth: usize) -> ActorRow {
    ActorRow {
        group: FOLDED_GROUP.to_owned(),
        ..actor(&format!("home/field/devices/{name}"), depth, 64, 160)
    }
}

/// An evening in the home on which much has gone wrong.
fn scene() -> Scene {
    let open = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let mut actors = vec![
        supervisor("home"),
        supervisor("home/automations"),
        actor("home/automations/door-alarm", 0, 64, 211),
        ActorRow {
            failed: 2,
            restarts: 2,
            state: ActorState::Restarting,
            oldest_age: Duration::from_millis(2_340),
            ..actor("home/automations/leak-guard", 9, 64, 41)
        },
        actor("home/automations/lights", 0, 64, 3_207),
        actor("home/automations/thermostat", 61, 64, 2_960),
        ActorRow {
            restarts: 1,
            ..supervisor("home/field")
        },
        supervisor("home/field/devices"),
        actor("home/field/gateway", 317, 1024, 123_456),
        actor("home/keeper", 0, 256, 14_002),
        actor("home/rooms", 3, 64, 9_107),
        actor("home/telemetry", 0, 64, 12),
    ];
    actors.extend((0..57).map(|n| driver(&format!("lamp {n}"), n % 2)));
    actors.push(ActorRow {
        failed: 1,
        restarts: 1,
        ..driver("garage-climate", 0)
    });
    Scene {
        clock: At(1_768_435_530_000).plus_minutes(17 * 60),
        speed: 60.0,
        picture: Picture {
            at: At(1_768_435_530_000),
            rooms: vec![
                RoomNow {
                    occupied: true,
                    lamps_on: 1,
                    ..room("bathroom", 22.04, 61.0)
                },
                RoomNow {
                    open: open(&["window"]),
                    ..room("bedroom", 17.6, 44.5)
                },
                RoomNow {
                    temperature: Some(-12.34),
                    humidity: None,
                    ..room("garage", 0.0, 0.0)
                },
                RoomNow {
                    open: open(&["gate"]),
                    ..room("garden", -3.0, 88.0)
                },
                RoomNow {
                    temperature: None,
                    humidity: None,
                    open: open(&["front door"]),
                    ..room("hallway", 0.0, 0.0)
                },
                room("kids room", 20.4, 47.0),
                RoomNow {
                    occupied: true,
                    lamps_on: 1,
                    open: open(&["window"]),
                    wet: true,
                    ..room("kitchen", 21.3, 100.0)
                },
                RoomNow {
                    occupied: true,
                    lamps_on: 2,
                    ..room("living room", 21.0, 42.0)
                },
            ],
        },
        actors,
        latest: [
            "17:05 kitchen: water off, the sink leaks",
            "17:05 siren: on, a leak in the kitchen",
            "17:01 living room: heating off, 21.0 is enough",
            "16:58 kitchen: lamp on, somebody came into a dark room",
            "16:40 bedroom: heating off, the window is open",
            "16:31 hallway: light off",
            "16:12 garage: light off",
        ]
        .map(str::to_owned)
        .to_vec(),
        decisions: 128,
        ledger: Totals {
            sent: 154_321,
            handled: 153_925,
            failed: 3,
            rejected: 0,
            dropped: 2,
            queued: 391,
        },
        dead_letters: [
            "leak-guard LeakSeen failed: valve does not answer",
            "garage-climate Report reported: not JSON\u{1b}[31m at 1:7",
            "leak-guard LeakSeen failed: valve does not answer",
        ]
        .map(str::to_owned)
        .to_vec(),
        dead_letter_count: 3,
        metrics: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 9464))),
    }
}

/// A home in which nothing has been heard of.
fn nothing() -> Scene {
    Scene {
        clock: At(0),
        speed: f64::NAN,
        picture: Picture::default(),
        actors: Vec::new(),
        latest: Vec::new(),
        decisions: 0,
        ledger: Totals::default(),
        dead_letters: Vec::new(),
        dead_letter_count: 0,
        metrics: None,
    }
}

fn drawn(scene: &Scene, width: u16, height: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, scene)).unwrap();
    terminal.backend().buffer().clone()
}

fn text_of(buffer: &Buffer) -> String {
    let mut text = String::new();
    for row in buffer.area.rows() {
        let line: String = row.positions().map(|at| buffer[at].symbol()).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[track_caller]
fn check(shown: &str, expected: &str) {
    if shown == expected {
        return;
    }
    let mut diff = String::new();
    let (mut shown_lines, mut expected_lines) = (shown.lines(), expected.lines());
    loop {
        match (expected_lines.next(), shown_lines.next()) {
            (None, None) => break,
            (a, b) if a == b => diff += &format!("  {}\n", a.unwrap_or_default()),
            (a, b) => {
                a.iter().for_each(|a| diff += &format!("- {a}\n"));
                b.iter().for_each(|b| diff += &format!("+ {b}\n"));
            }
        }
    }
    panic!("the picture is not that of scene.txt (-); it is now (+):\n{diff}\nall of it:\n{shown}");
}

#[test]
fn a_scene_looks_as_it_did() {
    let buffer = drawn(&scene(), 100, 30);
    check(&text_of(&buffer), include_str!("scene.txt"));
}

#[test]
fn every_size_can_be_drawn() {
    let mut crowded = scene();
    crowded.picture.rooms = vec![room("a room with a long name, 客厅", f64::NAN, 1e300); 64];
    crowded.ledger.sent = u64::MAX;
    crowded.ledger.handled = u64::MAX - 1;
    for scene in [scene(), nothing(), crowded] {
        for width in 0..=41 {
            for height in 0..=12 {
                drawn(&scene, width, height);
            }
        }
        for width in [59, 60, 61, 79, 80, 99, 100, 108, 119, 139, 200] {
            for height in [10, 11, 12, 15, 19, 20, 21, 24, 60] {
                drawn(&scene, width, height);
            }
        }
    }
}

#[test]
fn a_small_terminal_gets_the_plain_line() {
    let text = text_of(&drawn(&scene(), 80, 3));
    assert_eq!(
        text.replace('\n', " ")
            .split_whitespace()
            .collect::<Vec<_>>(),
        plain_line(&scene()).split_whitespace().collect::<Vec<_>>()
    );
}

#[test]
fn a_plain_line_says_it_all() {
    assert_eq!(
        plain_line(&scene()),
        "2026-01-15 17:05:30  153925 handled, 391 queued, 4 restarts, 128 decisions, 3 dead letters; \
         last: 17:05 kitchen: water off, the sink leaks"
    );
    let mut quiet = nothing();
    quiet.decisions = 1;
    quiet.latest = vec!["line\nend".to_owned()];
    assert_eq!(
        plain_line(&quiet),
        "1970-01-01 00:00:00  0 handled, 0 queued, 0 restarts, 1 decision, 0 dead letters; last: line end"
    );
}

#[test]
fn what_needs_attention_is_seen_in_the_smallest_table() {
    for (width, height) in [(40, 10), (60, 10), (80, 10), (80, 24)] {
        let text = text_of(&drawn(&scene(), width, height));
        assert!(text.contains("↻ leak-guard"), "{text}");
    }
}

#[test]
fn a_leak_is_seen_at_every_width() {
    for width in TABLES.0..=140 {
        let text = text_of(&drawn(&scene(), width, 30));
        assert!(text.contains("LEAK"), "{width} columns:\n{text}");
    }
}

#[test]
fn trouble_has_its_colours() {
    let buffer = drawn(&scene(), 100, 30);
    let color_of = |needle: &str| {
        let found = buffer.area.rows().find_map(|row| {
            let cells: Vec<_> = row.positions().collect();
            let at = |start: usize| {
                let text: String = cells[start..]
                    .iter()
                    .map(|&at| buffer[at].symbol())
                    .collect();
                text.starts_with(needle)
            };
            (0..cells.len())
                .find(|&start| at(start))
                .map(|start| buffer[cells[start]].fg)
        });
        found.unwrap_or_else(|| panic!("{needle} is not there:\n{}", text_of(&buffer)))
    };
    assert_eq!(
        ["LEAK", "↻ leak-guard", "● gateway", "balanced"].map(color_of),
        [Color::Red, Color::Yellow, Color::Green, Color::Green]
    );
}

#[test]
fn a_loss_of_messages_is_called_one() {
    let mut scene = scene();
    scene.ledger.handled -= 1;
    for width in [30, 80, 120] {
        let text = text_of(&drawn(&scene, width, 24));
        assert!(text.contains("NOT balanced"), "{text}");
    }
}
