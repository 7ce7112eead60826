//! What `grafana/` asks for, proved with a real Prometheus that scrapes the smart home.
//!
//! `.ci/install-prometheus` gets the two programs. Without them these tests say
//! that they are skipped; under `CI` they fail.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use greenroom_it::web::*;
use serde_json::Value;

/// For Prometheus to be up, to have scraped, or to have two samples of everything.
const LIMIT: Duration = Duration::from_secs(30);

/// How the description of a panel ends that may be empty.
const QUIET: &str = "Quiet when all is well.";

// ===== the files =====

#[test]
fn every_dashboard_keeps_the_conventions() -> Outcome {
    let mut uids = BTreeSet::new();
    for board in boards()? {
        let name = &board.name;
        assert_eq!(board.json["editable"], false, "{name}");
        assert!(
            board.json["schemaVersion"]
                .as_u64()
                .is_some_and(|v| v <= 41),
            "{name}"
        );
        assert!(
            uids.insert(text(&board.json["uid"]).to_owned()),
            "{name}: its uid is taken"
        );
        let variables: Vec<&str> = array(&board.json["templating"]["list"])
            .iter()
            .map(|v| text(&v["name"]))
            .collect();
        for variable in ["datasource", "job", "instance"] {
            assert!(
                variables.contains(&variable),
                "{name} has no variable {variable}"
            );
        }
        let mut ids = BTreeSet::new();
        for panel in board.panels() {
            let title = text(&panel["title"]);
            assert!(!title.is_empty(), "{name}: a panel without a title");
            assert!(
                ids.insert(panel["id"].as_u64()),
                "{name}, {title}: its id is taken"
            );
            assert!(
                !text(&panel["description"]).is_empty(),
                "{name}, {title}: no description"
            );
            assert!(
                !text(&panel["fieldConfig"]["defaults"]["unit"]).is_empty(),
                "{name}, {title}: no unit"
            );
            assert_eq!(
                panel["datasource"]["uid"], "${datasource}",
                "{name}, {title}"
            );
            for expr in queries(panel) {
                check_query(expr)
                    .map_err(|problem| format!("{name}, {title}: {problem} in {expr}"))?;
            }
        }
    }
    Ok(())
}

fn check_query(expr: &str) -> Outcome {
    let selectors: Vec<&str> = expr
        .split('{')
        .skip(1)
        .filter_map(|rest| rest.split('}').next())
        .collect();
    if selectors.is_empty() {
        return Err("no selector".into());
    }
    for matcher in [r#"job=~"$job""#, r#"instance=~"$instance""#] {
        if selectors.iter().any(|selector| !selector.contains(matcher)) {
            return Err(format!("a selector without {matcher}").into());
        }
    }
    let before_counters = expr.match_indices("_total{").map(|(at, _)| &expr[..at]);
    for before in before_counters {
        let start = before
            .rfind(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(0);
        if !before[..start].ends_with("rate") && !before[..start].ends_with("increase") {
            return Err("a counter that is neither a rate nor an increase".into());
        }
    }
    Ok(())
}

// ===== the programs =====

#[test]
fn promtool_finds_nothing_wrong_with_the_files() -> Outcome {
    let Some(tools) = tools()? else { return Ok(()) };
    let folder = grafana().join("prometheus");
    tools.promtool(&["check", "config", "prometheus.yml"], &folder, "")?;
    for file in files(&folder.join("rules"), &["yml"])? {
        tools.promtool(
            &["check", "rules", &file.display().to_string()],
            &folder,
            "",
        )?;
    }
    for file in files(&folder.join("tests"), &["yml"])? {
        tools.promtool(&["test", "rules", &file.display().to_string()], &folder, "")?;
    }
    Ok(())
}

#[test]
fn a_real_prometheus_sees_the_smart_home_and_every_panel_has_data() -> Outcome {
    let Some(tools) = tools()? else { return Ok(()) };
    let home = Home::open()?;
    let prometheus = Prometheus::start(&tools, home.address)?;
    prometheus.wait_for(r#"up{job="greenroom"} == 1"#)?;
    // By now there has been life in it, and the driver has crashed once at least.
    prometheus
        .wait_for(r#"greenroom_actor_restarts_total{group="DeviceDriver",reason="panic"} > 0"#)?;
    let seen = prometheus
        .wait_for(r#"greenroom_messages_handled_total{group="DeviceGateway",result="ok"} > 0"#)?;
    let body = get(home.address, "/metrics")?.body;
    tools.promtool(&["check", "metrics"], Path::new("."), &body)?;
    let series = r#"greenroom_messages_handled_total{group="DeviceGateway",result="ok"} "#;
    let later = body
        .lines()
        .find_map(|line| line.strip_prefix(series))
        .ok_or("no gateway")?;
    assert!(
        later.parse::<f64>()? >= seen[0],
        "what Prometheus has seen is not in the metrics"
    );
    let found = every_panel_has_data(&prometheus)?;
    println!("{found} queries and variables have data");
    prometheus.rules_are_healthy()?;
    Ok(())
}

/// The program, running; it ends with the value, also by a panic.
struct Home {
    process: Child,
    address: SocketAddr,
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Home {
    fn open() -> Outcome<Self> {
        let mut process = Command::new(env!("CARGO_BIN_EXE_smart-home"))
            .args(["--plain", "--metrics", "127.0.0.1:0"])
            .env("RUST_LOG", "off")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut said = BufReader::new(process.stdout.take().ok_or("no output")?);
        let mut home = Home {
            process,
            address: ANY_PORT,
        };
        let mut line = String::new();
        said.read_line(&mut line)?;
        let address = line
            .split("http://")
            .nth(1)
            .and_then(|rest| rest.split('/').next());
        home.address = address.ok_or(line.clone())?.parse()?;
        // What it says later is of no interest, but must not fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        Ok(home)
    }
}

fn every_panel_has_data(prometheus: &Prometheus) -> Outcome<usize> {
    let mut found = 0;
    for board in boards()? {
        for variable in array(&board.json["templating"]["list"]) {
            let definition = text(&variable["definition"]);
            if let Some(arguments) = definition.strip_prefix("label_values(") {
                let (series, label) = arguments
                    .trim_end_matches(')')
                    .rsplit_once(", ")
                    .ok_or(definition)?;
                prometheus.wait_for(&format!("group by ({label}) ({})", substituted(series)))?;
                found += 1;
            }
        }
        for annotation in array(&board.json["annotations"]["list"]) {
            if let Some(expr) = annotation["expr"].as_str() {
                prometheus.query(&substituted(expr))?;
            }
        }
        for panel in board.panels() {
            let quiet = text(&panel["description"]).ends_with(QUIET);
            for expr in queries(panel) {
                let context =
                    |error| format!("{}, {}: {expr}: {error}", board.name, text(&panel["title"]));
                let query = substituted(expr);
                let outcome = if quiet {
                    prometheus.query(&query)
                } else {
                    prometheus.wait_for(&query)
                };
                outcome.map_err(context)?;
                found += 1;
            }
        }
    }
    Ok(found)
}

/// Fills in what Grafana would.
fn substituted(expr: &str) -> String {
    let mut text = expr.to_owned();
    for (variable, value) in [
        ("$job", ".+"),
        ("$instance", ".+"),
        ("$group", ".+"),
        ("$__rate_interval", "5s"),
        ("$__range", "1m"),
    ] {
        text = text.replace(variable, value);
    }
    text
}

// ===== dashboards =====

struct Board {
    name: String,
    json: Value,
}

fn boards() -> Outcome<Vec<Board>> {
    let files = files(&grafana().join("dashboards"), &["json"])?;
    let boards = files.iter().map(|file| {
        let json = serde_json::from_str(&fs::read_to_string(file)?)?;
        Ok(Board {
            name: file.display().to_string(),
            json,
        })
    });
    boards.collect()
}

impl Board {
    /// The panels that show something, those inside folded rows included.
    fn panels(&self) -> Vec<&Value> {
        let outer = array(&self.json["panels"]);
        let inner = outer.iter().flat_map(|panel| array(&panel["panels"]));
        outer
            .iter()
            .chain(inner)
            .filter(|panel| panel["type"] != "row")
            .collect()
    }
}

fn queries(panel: &Value) -> impl Iterator<Item = &str> {
    array(&panel["targets"])
        .iter()
        .map(|target| text(&target["expr"]))
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn workspace() -> PathBuf {
    // examples/smart-home is two below the root.
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    root.map_or_else(PathBuf::new, Path::to_owned)
}

fn grafana() -> PathBuf {
    workspace().join("grafana")
}

/// Returns the files under a folder that end so.
fn files(folder: &Path, endings: &[&str]) -> Outcome<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path, endings)?);
        } else if path
            .extension()
            .is_some_and(|e| endings.iter().any(|ending| e == *ending))
        {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

// ===== prometheus and promtool =====

struct Tools {
    prometheus: PathBuf,
    promtool: PathBuf,
}

/// Finds the programs; `None` if these tests are to be skipped.
fn tools() -> Outcome<Option<Tools>> {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let mut folders = vec![workspace().join(target).join("tools")];
    let path = std::env::var_os("PATH").unwrap_or_default();
    folders.extend(std::env::split_paths(&path));
    let find = |name: &str| {
        folders
            .iter()
            .map(|folder| folder.join(name))
            .find(|file| file.is_file())
    };
    match (find("prometheus"), find("promtool")) {
        (Some(prometheus), Some(promtool)) => Ok(Some(Tools {
            prometheus,
            promtool,
        })),
        _ if std::env::var_os("CI").is_some() => {
            Err("no prometheus or promtool here; run .ci/install-prometheus".into())
        }
        _ => {
            println!("skipped: no prometheus or promtool here; run .ci/install-prometheus");
            Ok(None)
        }
    }
}

impl Tools {
    fn promtool(&self, arguments: &[&str], folder: &Path, input: &str) -> Outcome {
        let mut child = Command::new(&self.promtool)
            .args(arguments)
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes())?;
        }
        let output = child.wait_with_output()?;
        if output.status.success() {
            return Ok(());
        }
        let said = [output.stdout, output.stderr].concat();
        Err(format!(
            "promtool {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&said)
        )
        .into())
    }
}

/// A running Prometheus with the configuration of `grafana/`; it ends with the value, also by a panic.
struct Prometheus {
    process: Child,
    folder: PathBuf,
    address: SocketAddr,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It has ended already, or it ends now; what is left behind is in the target directory.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Prometheus {
    /// Starts it in a folder of its own, scraping `target` often, and returns when it is ready.
    fn start(tools: &Tools, target: SocketAddr) -> Outcome<Self> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("prometheus-{}", std::process::id()));
        let ours = grafana().join("prometheus");
        fs::create_dir_all(folder.join("rules"))?;
        for file in files(&ours.join("rules"), &["yml"])? {
            fs::copy(
                &file,
                folder
                    .join("rules")
                    .join(file.file_name().ok_or("a file has a name")?),
            )?;
        }
        let config = fs::read_to_string(ours.join("prometheus.yml"))?
            .replace("127.0.0.1:9464", &target.to_string())
            .replace("_interval: 5s", "_interval: 250ms");
        assert!(
            config.contains(&target.to_string()) && config.contains("250ms"),
            "{config}"
        );
        fs::write(folder.join("prometheus.yml"), config)?;
        let address = free_port()?;
        let process = Command::new(&tools.prometheus)
            .arg("--config.file=prometheus.yml")
            .arg("--storage.tsdb.path=data")
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=warn")
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.join("log"))?)
            .spawn()?;
        let mut prometheus = Prometheus {
            process,
            folder,
            address,
        };
        eventually(LIMIT, || {
            let answer = get(address, "/-/ready");
            match prometheus.process.try_wait()? {
                // Not to be waited for any longer.
                Some(status) => Ok(Err(status)),
                None if answer?.status == 200 => Ok(Ok(())),
                None => Err("prometheus is not ready".into()),
            }
        })?
        .map_err(|status| {
            let log = fs::read_to_string(prometheus.folder.join("log")).unwrap_or_default();
            format!("prometheus ended with {status}: {log}")
        })?;
        Ok(prometheus)
    }

    /// Returns the values of an instant query that are numbers.
    fn query(&self, expr: &str) -> Outcome<Vec<f64>> {
        let answer = get(
            self.address,
            &format!("/api/v1/query?query={}", encoded(expr)),
        )?;
        if answer.status != 200 {
            return Err(format!("{expr}: {}", answer.body).into());
        }
        let json: Value = serde_json::from_str(&answer.body)?;
        let values = array(&json["data"]["result"])
            .iter()
            .map(|series| Ok(text(&series["value"][1]).parse()?));
        let values: Outcome<Vec<f64>> = values.collect();
        Ok(values?
            .into_iter()
            .filter(|value| !value.is_nan())
            .collect())
    }

    /// Waits until an instant query has a number to show.
    fn wait_for(&self, expr: &str) -> Outcome<Vec<f64>> {
        eventually(LIMIT, || match self.query(expr)? {
            values if values.is_empty() => Err(format!("{expr} has no data").into()),
            values => Ok(values),
        })
    }

    fn rules_are_healthy(&self) -> Outcome {
        eventually(LIMIT, || {
            let json: Value = serde_json::from_str(&get(self.address, "/api/v1/rules")?.body)?;
            let rules: Vec<&Value> = array(&json["data"]["groups"])
                .iter()
                .flat_map(|group| array(&group["rules"]))
                .collect();
            match rules.iter().find(|rule| rule["health"] != "ok") {
                Some(rule) => Err(format!("a rule is not healthy: {rule}").into()),
                None if rules.is_empty() => Err("no rule is loaded".into()),
                None => Ok(()),
            }
        })
    }
}

fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        // Writing to a `String` cannot fail.
        let _ = write!(encoded, "%{byte:02X}");
    }
    encoded
}
