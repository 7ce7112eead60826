//! The smart home as a stranger runs it: the program, its summary, its exit codes.

#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on shall fail where it stands"
)]

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use greenroom_it::web::get;
use home_devices::{DEFAULT_START_MS, World};

/// Longer than anything here takes on a slow and busy machine; what hangs is killed then.
const PATIENCE: Duration = Duration::from_secs(120);

/// A run of the program that is killed, by its own id, when the test is over.
struct Run(Child);

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn smart_home(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_smart-home"));
    command
        .args(["--metrics", "127.0.0.1:0"])
        .args(args)
        .env("RUST_LOG", "off")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs the program to its end.
fn run(command: &mut Command, input: &[u8]) -> Output {
    let mut run = Run(command.stdin(Stdio::piped()).spawn().unwrap());
    let mut stdin = run.0.stdin.take().unwrap();
    let (out, err) = (run.0.stdout.take().unwrap(), run.0.stderr.take().unwrap());
    let input = input.to_vec();
    // Each pipe has a thread of its own, so that none fills up and stops the program.
    let writer = std::thread::spawn(move || {
        // A program that refuses its input closes the pipe.
        let _ = stdin.write_all(&input);
    });
    let (stdout, stderr) = (read_on(out), read_on(err));
    let stdout = finished(&stdout);
    let stderr = finished(&stderr);
    let status = run.0.wait().unwrap();
    writer.join().unwrap();
    Output {
        status,
        stdout,
        stderr,
    }
}

/// Reads a pipe to its end on a thread of its own.
fn read_on(mut pipe: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut text = Vec::new();
        pipe.read_to_end(&mut text).unwrap();
        let _ = sender.send(text);
    });
    receiver
}

/// Waits until the program has closed a pipe, which it does when it ends, and returns what it wrote.
fn finished(pipe: &Receiver<Vec<u8>>) -> Vec<u8> {
    pipe.recv_timeout(PATIENCE)
        .expect("the program does not end")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The part of a summary that depends on nothing but the traffic.
fn decisions(summary: &str) -> String {
    let from = summary
        .find("\ndecisions\n")
        .unwrap_or_else(|| panic!("no decisions in:\n{summary}"));
    let to = summary.find("\nrestarts\n").unwrap();
    summary[from..to].to_owned()
}

/// The number before a word in the summary's line of traffic.
fn count(summary: &str, word: &str) -> u64 {
    let line = summary
        .lines()
        .find(|line| line.contains(" lines = "))
        .unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    let at = words
        .iter()
        .position(|w| *w == word)
        .unwrap_or_else(|| panic!("no {word} in {line}"));
    words[at - 1].parse().unwrap()
}

fn scratch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

#[test]
fn a_day_passes_with_restarts_decisions_and_a_balanced_ledger() {
    let output = run(&mut smart_home(&["--speed", "max"]), b"");
    let summary = text(&output.stdout);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{summary}\n{}",
        text(&output.stderr)
    );
    assert!(summary.contains("queued (balanced)"), "{summary}");
    assert!(
        summary.contains("\n  home/field/devices/hallway.motion  8\n"),
        "{summary}"
    );
    assert!(
        count(&summary, "unusable") > 0 && count(&summary, "crashed") > 0,
        "{summary}"
    );
    for decider in [
        "home/climate/kitchen",
        "home/lighting/hallway",
        "home/safety/door-alarm",
        "home/safety/leak-guard",
        "home/house-keeper",
    ] {
        assert!(
            summary.contains(decider),
            "{decider} decided nothing:\n{summary}"
        );
    }
}

#[test]
fn a_duration_is_kept_also_when_the_machine_cannot_keep_up_with_the_speed() {
    let output = run(
        &mut smart_home(&["--duration", "1s", "--speed", "1e9"]),
        b"",
    );
    let summary = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{summary}");
    assert!(summary.contains("queued (balanced)"), "{summary}");
}

#[test]
fn a_reader_that_has_seen_enough_ends_it_without_a_complaint() {
    let mut run = Run(smart_home(&["--plain", "--speed", "100000"])
        .spawn()
        .unwrap());
    let mut first = String::new();
    let mut out = BufReader::new(run.0.stdout.take().unwrap());
    out.read_line(&mut first).unwrap();
    assert!(first.starts_with("The home is open: "), "{first}");
    drop(out);
    let error = text(&finished(&read_on(run.0.stderr.take().unwrap())));
    let status = run.0.wait().unwrap();
    assert_eq!((status.code(), error.as_str()), (Some(0), ""));
}

#[test]
fn a_reader_that_was_never_there_ends_it_without_a_complaint() {
    let mut run = Run(smart_home(&["--plain", "--speed", "100000"])
        .spawn()
        .unwrap());
    drop(run.0.stdout.take());
    let error = text(&finished(&read_on(run.0.stderr.take().unwrap())));
    let status = run.0.wait().unwrap();
    assert_eq!((status.code(), error.as_str()), (Some(0), ""));
}

#[test]
fn the_same_seed_decides_alike_and_so_does_its_recording() {
    let file = scratch("day.jsonl");
    // A recording is never written over what is there.
    let _ = std::fs::remove_file(&file);
    let args = [
        "--speed",
        "max",
        "--seed",
        "7",
        "--record",
        file.to_str().unwrap(),
    ];
    let first = text(&run(&mut smart_home(&args), b"").stdout);
    let second = text(&run(&mut smart_home(&["--speed", "max", "--seed", "7"]), b"").stdout);
    let other = text(&run(&mut smart_home(&["--speed", "max", "--seed", "8"]), b"").stdout);
    assert_eq!(decisions(&first), decisions(&second));
    assert_ne!(decisions(&first), decisions(&other));
    let source = format!("file:{}", file.display());
    for _ in 0..2 {
        let replayed = text(
            &run(
                &mut smart_home(&["--speed", "max", "--devices", &source]),
                b"",
            )
            .stdout,
        );
        assert_eq!(decisions(&first), decisions(&replayed));
    }
    let piped = run(
        &mut smart_home(&["--speed", "max", "--devices", "-"]),
        &std::fs::read(&file).unwrap(),
    );
    assert_eq!(decisions(&first), decisions(&text(&piped.stdout)));
}

#[test]
fn a_seed_decides_alike_whoever_runs_the_actors_and_as_it_always_did() {
    for driver in [&[][..], &["--on-tokio"]] {
        let args = [&["--speed", "max", "--seed", "42"], driver].concat();
        let output = run(&mut smart_home(&args), b"");
        let summary = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{driver:?}: {summary}");
        let digest = decisions(&summary);
        let digest = digest
            .lines()
            .find_map(|line| line.trim().strip_prefix("digest"));
        assert_eq!(
            digest.map(str::trim),
            Some("f613f58497a6823a"),
            "{driver:?}: {summary}"
        );
        assert!(
            summary.contains("0 queued (balanced)"),
            "{driver:?}: {summary}"
        );
    }
}

#[cfg(unix)]
#[test]
fn sigterm_during_load_ends_it_cleanly_and_soon() {
    // A source that never dries up, as fast as the home takes it.
    let mut run = Run(smart_home(&["--speed", "1000000000"]).spawn().unwrap());
    let mut out = BufReader::new(run.0.stdout.take().unwrap());
    let mut address = String::new();
    out.read_line(&mut address).unwrap();
    let rest = read_on(out);
    let address = address
        .split("http://")
        .nth(1)
        .unwrap()
        .split('/')
        .next()
        .unwrap()
        .to_owned();
    // Under load: a few thousand messages have been handled.
    let begun = Instant::now();
    while handled(&address) < 5_000 {
        assert!(begun.elapsed() < PATIENCE, "nothing is handled");
        std::thread::yield_now();
    }
    let asked = Instant::now();
    assert!(
        Command::new("kill")
            .args(["-TERM", &run.0.id().to_string()])
            .status()
            .unwrap()
            .success()
    );
    let summary = text(&finished(&rest));
    let status = run.0.wait().unwrap();
    let took = asked.elapsed();
    assert_eq!(status.code(), Some(0), "{summary}");
    assert!(summary.contains("0 queued (balanced)"), "{summary}");
    println!("stopped within {took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
}

/// Reads one number from the metrics.
fn handled(address: &str) -> u64 {
    let body = get(address.parse().unwrap(), "/metrics").unwrap().body;
    let series = r#"greenroom_messages_handled_total{group="DeviceGateway",result="ok"} "#;
    let value = body.lines().find_map(|line| line.strip_prefix(series));
    value.map_or(0, |value| value.parse().unwrap())
}

#[test]
fn a_bad_flag_is_code_2_and_what_cannot_be_opened_is_code_1_with_one_sentence() {
    let fails = |args: &[&str]| {
        let output = run(&mut smart_home(args), b"");
        (output.status.code(), text(&output.stderr))
    };
    for args in [
        &["--speed", "0"][..],
        &["--devices", "mqtt"],
        &["--seed", "x"],
        &["--duration", "soon"],
        &["--metrics", "here"],
        &["--what"],
    ] {
        let (code, error) = fails(args);
        assert_eq!(code, Some(2), "{args:?}: {error}");
        assert!(error.starts_with("error: "), "{error}");
    }
    let (code, error) = fails(&["--devices", "-", "--record", "x"]);
    assert_eq!(code, Some(2), "{error}");
    let there = scratch("there.jsonl");
    std::fs::write(&there, "precious").unwrap();
    let (code, error) = fails(&["--record", there.to_str().unwrap()]);
    assert_eq!(code, Some(1));
    assert!(
        error.ends_with("there.jsonl: File exists (os error 17)\n"),
        "{error}"
    );
    assert_eq!(std::fs::read_to_string(&there).unwrap(), "precious");
    let (code, error) = fails(&["--devices", "file:/does/not/exist"]);
    assert_eq!(code, Some(1));
    assert_eq!(
        error,
        "smart-home: cannot read devices from /does/not/exist: No such file or directory (os error 2)\n"
    );
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run(
        Command::new(env!("CARGO_BIN_EXE_smart-home"))
            .args(["--metrics", &address])
            .env("RUST_LOG", "off")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped()),
        b"",
    );
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        text(&output.stderr),
        format!(
            "smart-home: cannot serve metrics on {address}: address in use; choose another address or stop what listens there\n"
        )
    );
}

/// SplitMix64; good enough to break lines with.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % n as u64) as usize
    }
}

/// Breaks a line in one of the ways in which lines break.
fn mutate(line: &[u8], random: &mut Random) -> Vec<u8> {
    const SCRAPS: [&[u8]; 12] = [
        b"\"",
        b"{",
        b"}",
        b"[[[[[[",
        b"null",
        b"-1e999",
        b"\xff\xfe",
        b"\\u0000",
        b"9223372036854775808",
        b"\"NaN\"",
        b"true",
        b",",
    ];
    let mut line = line.to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(line.len().max(1));
        match random.below(5) {
            0 => line.truncate(at),
            1 if !line.is_empty() => line[at] = random.below(256) as u8,
            2 => drop(line.splice(at..at, SCRAPS[random.below(SCRAPS.len())].iter().copied())),
            3 => drop(line.drain(at..(at + random.below(20)).min(line.len()))),
            _ => {
                let part: Vec<u8> = line[at..].to_vec();
                line.extend(part);
            }
        }
    }
    // A line end would make two lines of it, which the test could not count.
    line.retain(|byte| *byte != b'\n');
    line
}

#[test]
fn a_hundred_thousand_broken_lines_are_each_counted_and_the_home_goes_on() {
    const BROKEN: usize = 100_000;
    let seed = std::env::var("SEED").map_or(1, |seed| seed.parse().unwrap());
    println!("SEED={seed}");
    let mut random = Random(seed);
    let mut world = World::new(seed, DEFAULT_START_MS);
    let mut day: Vec<Vec<u8>> = world
        .advance(DEFAULT_START_MS)
        .iter()
        .map(|p| p.to_line().into_bytes())
        .collect();
    let good = day.len();
    let reports: Vec<Vec<u8>> = world
        .advance(DEFAULT_START_MS + 86_400_000)
        .iter()
        .map(|p| p.to_line().into_bytes())
        .collect();
    for _ in 0..BROKEN {
        let line = mutate(&reports[random.below(reports.len())], &mut random);
        day.push(line);
    }
    // What comes after them must be understood as if nothing had been.
    day.push(
        format!(
            r#"{{"ts":{},"topic":"zigbee2mqtt/hallway/front door","payload":{{"contact":true}}}}"#,
            DEFAULT_START_MS + 90_000_000
        )
        .into_bytes(),
    );
    let mut input = day.join(&b'\n');
    input.push(b'\n');
    let output = run(
        &mut smart_home(&["--speed", "max", "--devices", "-"]),
        &input,
    );
    let summary = text(&output.stdout);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{summary}\n{}",
        text(&output.stderr)
    );
    assert!(summary.contains("queued (balanced)"), "{summary}");
    assert_eq!(
        count(&summary, "lines") as usize,
        good + BROKEN + 1,
        "{summary}"
    );
    let parts = [
        "reports",
        "other",
        "malformed",
        "unknown",
        "unusable",
        "crashed",
    ]
    .map(|word| count(&summary, word));
    assert_eq!(
        parts.iter().sum::<u64>() as usize,
        good + BROKEN + 1,
        "{summary}"
    );
    assert!(
        parts.iter().all(|n| *n > 0),
        "each way to break was tried: {summary}"
    );
}

#[test]
fn a_payload_of_10_mb_and_lines_of_all_kinds_are_counted_with_their_numbers() {
    let mut input = String::new();
    let first = World::new(1, DEFAULT_START_MS).advance(DEFAULT_START_MS);
    let devices = first
        .iter()
        .find(|p| p.topic.ends_with("bridge/devices"))
        .unwrap();
    writeln!(input, "{}", devices.to_line()).unwrap();
    writeln!(
        input,
        r#"{{"ts":1,"topic":"zigbee2mqtt/kitchen/lamp","payload":{{"state":"{}"}}}}"#,
        "x".repeat(10_000_000)
    )
    .unwrap();
    writeln!(
        input,
        r#"{{"ts":1,"topic":"zigbee2mqtt/attic/lamp","payload":{{"state":"ON"}}}}"#
    )
    .unwrap();
    writeln!(
        input,
        r#"{{"ts":1,"topic":"zigbee2mqtt/kitchen/climate","payload":{{"temperature":"warm"}}}}"#
    )
    .unwrap();
    let mut input = input.into_bytes();
    input.extend_from_slice(b"\xff\xff\xff");
    let output = run(
        &mut smart_home(&["--speed", "max", "--devices", "-"]),
        &input,
    );
    let summary = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{summary}");
    let traffic =
        "5 lines = 0 reports + 1 other + 2 malformed + 1 unknown + 1 unusable + 0 crashed";
    assert!(summary.contains(traffic), "{summary}");
    assert!(summary.contains("line 5: byte 0 is not UTF-8"), "{summary}");
    assert!(
        summary.contains("line 4: kitchen/climate: `temperature`"),
        "{summary}"
    );
}
