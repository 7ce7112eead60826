//! The walls between the rooms, and the habits of the house.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use greenroom::{Metric, MetricKind};
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

/// The packages of the lock file and who uses whom, as cargo sees it.
struct Graph {
    /// Name and folder by id; the folder is empty for what comes from a registry.
    packages: BTreeMap<String, (String, String)>,
    licences: BTreeMap<String, String>,
    /// Normal dependencies, by id.
    uses: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    fn read() -> Self {
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version", "1", "--locked"])
            .current_dir(root())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (mut packages, mut licences) = (BTreeMap::new(), BTreeMap::new());
        for package in metadata["packages"].as_array().unwrap() {
            let manifest = text(&package["manifest_path"]);
            let folder = manifest
                .strip_prefix(&format!("{}/", root().display()))
                .unwrap_or_default();
            let folder = folder
                .strip_suffix("/Cargo.toml")
                .unwrap_or_default()
                .to_owned();
            packages.insert(text(&package["id"]), (text(&package["name"]), folder));
            licences.insert(text(&package["name"]), text(&package["license"]));
        }
        // What models are checked with is linked into nothing else.
        let is_model =
            |target: &Value| target == "cfg(greenroom_loom)" || target == "cfg(greenroom_shuttle)";
        let mut uses = BTreeMap::new();
        for node in metadata["resolve"]["nodes"].as_array().unwrap() {
            let normal = |dep: &&Value| {
                dep["dep_kinds"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .any(|k| k["kind"].is_null() && !is_model(&k["target"]))
            };
            let deps = node["deps"]
                .as_array()
                .unwrap()
                .iter()
                .filter(normal)
                .map(|d| text(&d["pkg"]));
            uses.insert(text(&node["id"]), deps.collect());
        }
        Graph {
            packages,
            licences,
            uses,
        }
    }

    /// Our packages by name and folder.
    fn ours(&self) -> Vec<(&str, &str, &str)> {
        let ours = self
            .packages
            .iter()
            .filter(|(_, (_, folder))| !folder.is_empty());
        ours.map(|(id, (name, folder))| (id.as_str(), name.as_str(), folder.as_str()))
            .collect()
    }

    fn id(&self, name: &str) -> &str {
        self.ours()
            .into_iter()
            .find(|(_, n, _)| *n == name)
            .unwrap_or_else(|| panic!("no {name}"))
            .0
    }

    /// The names of all that a package needs when it is used.
    fn closure(&self, id: &str) -> BTreeSet<&str> {
        let mut seen = BTreeSet::new();
        let mut next = vec![id];
        while let Some(id) = next.pop() {
            for dep in &self.uses[id] {
                if seen.insert(dep.as_str()) {
                    next.push(dep);
                }
            }
        }
        seen.into_iter()
            .map(|id| self.packages[id].0.as_str())
            .collect()
    }
}

#[test]
fn arrows_point_one_way() {
    let graph = Graph::read();
    assert!(
        graph.closure(graph.id("greenroom-supervision")).is_empty(),
        "the law depends on nothing"
    );
    let direct: Vec<&str> = graph.uses[graph.id("greenroom")]
        .iter()
        .map(|id| graph.packages[id].0.as_str())
        .collect();
    for name in &direct {
        let known = [
            "actix-rt",
            "arc-swap",
            "dashmap",
            "foldhash",
            "futures-core",
            "greenroom-supervision",
            "libc",
            "parking_lot",
            "serde",
            "tokio",
            "tracing",
        ];
        assert!(
            known.contains(name),
            "the runtime speaks to nobody outside: {name}"
        );
    }
    let runtime = graph.closure(graph.id("greenroom"));
    assert!(
        runtime.len() <= 60,
        "the core stays small: {} packages: {runtime:?}",
        runtime.len()
    );
    let devices = graph.closure(graph.id("home-devices"));
    assert!(
        !devices.contains("greenroom") && !devices.contains("tokio"),
        "the devices are pure"
    );
    let room = |folder: &str| -> String {
        let parts: Vec<&str> = folder.split('/').collect();
        match parts[..] {
            ["actors", ..] => "actors".to_owned(),
            ["examples", app, "actors", ..] => format!("{app} actors"),
            ["examples", app] => app.to_owned(),
            ["examples", app, ..] => format!("{app} words"),
            [room, ..] => room.to_owned(),
            [] => String::new(),
        }
    };
    for (id, name, folder) in graph.ours() {
        for dep in &graph.uses[id] {
            let (dep_name, dep_folder) = &graph.packages[dep];
            if dep_folder.is_empty() {
                continue;
            }
            let (from, to) = (room(folder), room(dep_folder));
            assert!(to != "tests", "{name} uses the tests' {dep_name}");
            let allowed = match from.as_str() {
                "supervision" => false,
                "runtime" => to == "supervision",
                "actors" => to == "runtime",
                "tests" => true,
                from if from.ends_with(" actors") => to == "runtime" || to.ends_with(" words"),
                from if from.ends_with(" words") => to == "runtime" || to == from,
                _ => to != "tests",
            };
            assert!(allowed, "{name} ({from}) may not use {dep_name} ({to})");
        }
    }
}

#[test]
fn no_dependency_is_under_the_gpl_alone() {
    let graph = Graph::read();
    for (name, licence) in &graph.licences {
        assert!(!licence.is_empty(), "{name} does not state its licence");
        let free = licence.split(" OR ").any(|one| !one.contains("GPL"));
        assert!(free, "{name} is under {licence}");
    }
}

/// Our files with one of these endings.
fn files(endings: &[&str]) -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, endings: &[&str], found: &mut Vec<(PathBuf, String)>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if !["target", ".git", "node_modules"].contains(&name.as_str()) {
                    walk(&path, endings, found);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(root()).unwrap().to_owned(), text));
            }
        }
    }
    let mut found = Vec::new();
    walk(&root(), endings, &mut found);
    found.sort();
    assert!(!found.is_empty());
    found
}

/// The words of a text that begin with the prefix of our metrics.
fn metric_words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("greenroom_") && *word != "greenroom_")
}

#[test]
fn every_metric_named_in_grafana_exists() {
    let parts = |metric: Metric| -> Vec<String> {
        let name = metric.name();
        match metric.kind() {
            MetricKind::Histogram => ["_bucket", "_sum", "_count"]
                .map(|part| format!("{name}{part}"))
                .to_vec(),
            _ => vec![name.to_owned()],
        }
    };
    // A text may speak of a histogram by its name; a query of no such series is found when it is run.
    let mut known: BTreeSet<String> = Metric::ALL.iter().copied().flat_map(parts).collect();
    known.extend(Metric::ALL.iter().map(|metric| metric.name().to_owned()));
    let mut seen = 0;
    for (path, text) in files(&[".json", ".yml", ".yaml", ".md"]) {
        if !path.starts_with("grafana") {
            continue;
        }
        for word in metric_words(&text) {
            assert!(
                known.contains(word),
                "{} names {word}, which no code defines",
                path.display()
            );
            seen += 1;
        }
    }
    assert!(seen > 20, "the dashboards look at the metrics");
}

#[test]
fn metric_names_are_written_in_one_file() {
    let crates = [
        "greenroom_supervision",
        "greenroom_telemetry",
        "greenroom_it",
        "greenroom_testkit",
        "greenroom_loom",
        "greenroom_planted",
        "greenroom_shuttle",
    ];
    for (path, text) in files(&[".rs"]) {
        let shown = path.display().to_string();
        if shown == "runtime/src/metrics.rs" || shown.contains("tests") {
            continue;
        }
        // The tests inside a file may make names up.
        let code = text
            .split("#[cfg(test)]\nmod tests {")
            .next()
            .unwrap_or_default();
        for line in code
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
        {
            for word in metric_words(line) {
                assert!(crates.contains(&word), "{shown} names {word}: use `Metric`");
            }
        }
    }
}

#[test]
fn nothing_is_left_to_be_done() {
    // Put together here, so that this file does not find itself.
    let words = [
        "TO".to_owned() + "DO",
        "FIX".to_owned() + "ME",
        "XX".to_owned() + "X",
        "todo".to_owned() + "!(",
    ];
    for (path, text) in files(&[".rs", ".md", ".toml", ".mjs", ".yml"]) {
        for (n, line) in text.lines().enumerate() {
            for word in &words {
                assert!(
                    !line.contains(word.as_str()),
                    "{}:{}: {line}",
                    path.display(),
                    n + 1
                );
            }
        }
    }
}

#[test]
fn every_crate_says_what_it_is_and_forbids_unsafe_code() {
    let graph = Graph::read();
    for (_, name, folder) in graph.ours() {
        let roots =
            ["src/lib.rs", "src/main.rs", "support.rs"].map(|file| root().join(folder).join(file));
        let text = roots
            .iter()
            .find_map(|path| std::fs::read_to_string(path).ok())
            .unwrap();
        let first = text.lines().next().unwrap_or_default();
        assert!(
            first.starts_with("//! ") && first.ends_with('.'),
            "{name} begins with: {first}"
        );
        let rule = match name {
            // Its core is allowed some, see below.
            "greenroom" => "#![deny(unsafe_code)]",
            _ => "#![forbid(unsafe_code)]",
        };
        assert!(text.contains(rule), "{name} does not say {rule}");
    }
}

#[test]
fn unsafe_code_is_in_the_mailbox_and_the_scheduler_only() {
    let may = ["mailbox", "envelope", "life", "cell", "pool/tests"];
    for (path, text) in files(&[".rs"]) {
        let shown = path.display().to_string();
        let is_core = shown.starts_with("runtime/src/core/")
            || shown.starts_with("runtime/src/mailbox/")
            || shown.starts_with("runtime/src/life/")
            || shown.starts_with("runtime/src/cell/")
            || shown.starts_with("runtime/src/envelope/")
            || may
                .iter()
                .any(|name| shown == format!("runtime/src/{name}.rs"));
        let code = |line: &&str| !line.trim_start().starts_with("//");
        let word = "unsafe".to_owned() + " {";
        let found = text.lines().filter(code).find(|line| line.contains(&word));
        assert!(is_core || found.is_none(), "{shown}: {found:?}");
    }
}

#[test]
fn the_law_knows_no_clock_no_thread_and_no_task() {
    for (path, text) in files(&[".rs"]) {
        if !path.starts_with("supervision/src") {
            continue;
        }
        for line in text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
        {
            for word in ["Instant", "SystemTime", "thread", "async ", "println!"] {
                assert!(!line.contains(word), "{}: {line}", path.display());
            }
        }
    }
}

#[test]
fn nothing_public_of_the_runtime_names_tokio_or_actix() {
    for (path, text) in files(&[".rs"]) {
        if !path.starts_with("runtime/src") {
            continue;
        }
        // What the file takes from tokio is as foreign under its short name.
        let mut foreign = vec!["tokio".to_owned(), "actix".to_owned()];
        for line in text.lines().filter(|line| line.starts_with("use tokio::")) {
            let names = line
                .trim_end_matches(';')
                .rsplit("::")
                .next()
                .unwrap_or_default();
            let names = names.trim_matches(['{', '}']).split(',').map(str::trim);
            foreign.extend(
                names
                    .filter(|n| n.starts_with(char::is_uppercase))
                    .map(str::to_owned),
            );
        }
        let mut rest = text.as_str();
        while let Some(at) = rest.find("pub ") {
            let item = &rest[at..];
            // A field, a function or a re-export, up to where its signature ends.
            let end = item.find(['{', ';', '\n']).unwrap_or(item.len());
            let end = if item.starts_with("pub fn") || item.starts_with("pub async fn") {
                item.find(['{', ';']).unwrap_or(item.len())
            } else {
                end
            };
            for word in item[..end].split(|c: char| !c.is_alphanumeric() && c != '_') {
                assert!(
                    !foreign.iter().any(|f| f == word),
                    "{}: {}",
                    path.display(),
                    &item[..end]
                );
            }
            rest = &rest[at + end.max(1)..];
        }
    }
}

#[test]
fn the_workspace_keeps_its_promises_to_a_stranger() {
    for file in [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "SECURITY.md",
        "LICENSE-MIT",
        "LICENSE-APACHE",
        "deny.toml",
        "Cargo.lock",
        ".ci/run",
    ] {
        assert!(root().join(file).exists(), "there is no {file}");
    }
    for (_, name, folder) in Graph::read().ours() {
        let manifest = std::fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "{name} does not take the workspace's lints"
        );
    }
}
