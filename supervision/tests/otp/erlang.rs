//! OTP itself: traces written as Erlang terms, and run by `traces.escript` beside this file.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use greenroom_supervision::{Exit, Strategy};

use crate::trace::{Flags, Id, Kind, Op, Spec};

/// An installed OTP.
pub(crate) struct Otp {
    escript: PathBuf,
    /// Such as `25`.
    pub(crate) release: String,
}

impl Otp {
    /// Looks for it where `.ci/install-erlang` puts it, and on the `PATH`.
    ///
    /// # Errors
    ///
    /// Why there is none, or none that will do.
    pub(crate) fn find() -> Result<Self, String> {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
        let mut folders = vec![workspace.join(target).join("tools/erlang/bin")];
        let path = std::env::var_os("PATH").unwrap_or_default();
        folders.extend(std::env::split_paths(&path));
        let has_both = |folder: &&PathBuf| {
            ["erl", "escript"]
                .iter()
                .all(|name| folder.join(name).is_file())
        };
        let Some(folder) = folders.iter().find(has_both) else {
            return Err("erl is not installed; .ci/install-erlang gets it".to_owned());
        };
        let says = "io:put_chars(erlang:system_info(otp_release)), halt().";
        let mut erl = Command::new(folder.join("erl"));
        let ran = erl.args(["-noshell", "-eval", says]).output();
        let release = ran.map_err(|error| format!("erl does not run: {error}"))?;
        let release = text(&release.stdout);
        match release.parse::<u32>() {
            Ok(24..) => Ok(Otp {
                escript: folder.join("escript"),
                release,
            }),
            _ => Err(format!(
                "significant children came with OTP 24, and erl is of {release:?}"
            )),
        }
    }

    /// Runs traces and returns what was seen, a line for each step.
    ///
    /// # Errors
    ///
    /// If they do not run to the end.
    pub(crate) fn run(&self, traces: &[(u64, Spec, Vec<Op>)]) -> io::Result<Vec<String>> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/otp/traces.escript");
        let name = format!("traces-{}.terms", std::process::id());
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let terms: String = traces.iter().map(term).collect();
        std::fs::write(&file, terms)?;
        let ran = Command::new(&self.escript)
            .arg(script)
            .arg(&file)
            .output()?;
        let (out, errors) = (text(&ran.stdout), text(&ran.stderr));
        if !ran.status.success() {
            let traces = file.display();
            return Err(io::Error::other(format!(
                "escript on {traces}: {out}{errors}"
            )));
        }
        std::fs::remove_file(&file)?;
        Ok(out.lines().map(str::to_owned).collect())
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn term((seed, root, ops): &(u64, Spec, Vec<Op>)) -> String {
    let ops: Vec<String> = ops.iter().map(op).collect();
    format!("{{{seed}, {}, [{}]}}.\n", spec(root), ops.join(", "))
}

fn op(op: &Op) -> String {
    match op {
        Op::Ends(id, exit) => {
            let exit = match exit {
                Exit::Normal => "normal",
                Exit::Shutdown => "shutdown",
                Exit::Failed => "failed",
                Exit::Killed => "kill",
            };
            format!("{{ends, {id}, {exit}}}")
        }
        Op::FailNext(id, times) => format!("{{fates, {id}, {times}, fails}}"),
        Op::IgnoreNext(id) => format!("{{fates, {id}, 1, ignored}}"),
        Op::Start(to, child) => format!("{{start, {to}, {}}}", spec(child)),
        Op::Stop(to, id) => format!("{{stop, {to}, {id}}}"),
        Op::StartAgain(to, id) => format!("{{start_again, {to}, {id}}}"),
        Op::Remove(to, id) => format!("{{remove, {to}, {id}}}"),
        Op::SetFlags(to, new) => format!("{{set_flags, {to}, {}}}", flags(new)),
        Op::SetTerms(to, id, restart, is_significant) => {
            format!("{{set_terms, {to}, {id}, {restart}, {is_significant}}}")
        }
        Op::Wait(_) => unreachable!("no time goes by in a trace for OTP"),
    }
}

fn spec(spec: &Spec) -> String {
    let Spec {
        id,
        restart,
        is_significant,
        kind,
    } = spec;
    let kind = match kind {
        Kind::Worker => "worker".to_owned(),
        Kind::Supervisor(new, children) => {
            let children: Vec<String> = children.iter().map(self::spec).collect();
            format!("{{{}, [{}]}}", flags(new), children.join(", "))
        }
    };
    format!("{{{id}, {restart}, {is_significant}, {kind}}}")
}

fn flags(flags: &Flags) -> String {
    let strategy = match flags.strategy {
        Strategy::Dynamic => "simple_one_for_one".to_owned(),
        strategy => strategy.to_string(),
    };
    // No time goes by, but on a slow machine it does.
    let (restarts, rule) = (flags.restarts, flags.rule);
    format!("{{{strategy}, {restarts}, 3600, {rule}}}")
}

#[test]
fn a_trace_is_written_as_erlang_reads_it() {
    use greenroom_supervision::{AutoShutdown, Restart};

    let flags = Flags {
        strategy: Strategy::RestForOne,
        restarts: 2,
        within_s: 5,
        rule: AutoShutdown::AllSignificant,
    };
    let worker = |id: Id, restart, is_significant| Spec {
        id,
        restart,
        is_significant,
        kind: Kind::Worker,
    };
    let below = Flags {
        strategy: Strategy::Dynamic,
        rule: AutoShutdown::Never,
        ..flags
    };
    let children = vec![
        worker(3, Restart::Transient, true),
        Spec {
            kind: Kind::Supervisor(below, vec![worker(1, Restart::Temporary, false)]),
            ..worker(2, Restart::Permanent, false)
        },
    ];
    let root = Spec {
        kind: Kind::Supervisor(flags, children),
        ..worker(0, Restart::Permanent, false)
    };
    let ops = vec![
        Op::FailNext(3, 2),
        Op::Ends(3, Exit::Killed),
        Op::Start(2, worker(8, Restart::Temporary, false)),
        Op::SetTerms(0, 3, Restart::Temporary, false),
        Op::Stop(2, 8),
    ];
    assert_eq!(
        term(&(7, root, ops)),
        "{7, {0, permanent, false, {{rest_for_one, 2, 3600, all_significant}, \
         [{3, transient, true, worker}, \
         {2, permanent, false, {{simple_one_for_one, 2, 3600, never}, \
         [{1, temporary, false, worker}]}}]}}, \
         [{fates, 3, 2, fails}, {ends, 3, kill}, {start, 2, {8, temporary, false, worker}}, \
         {set_terms, 0, 3, temporary, false}, {stop, 2, 8}]}.\n"
    );
}
