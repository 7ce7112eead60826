//! One process for each measurement: started, limited in time, read, and never left behind.

use std::io::Read;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::erlang::Erlang;
use crate::plan::Subject;
use crate::workloads::{Measured, Workload};

/// How long one measurement may take before it counts as hanging.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// One measurement to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Task {
    pub(crate) workload: Workload,
    pub(crate) threads: usize,
    pub(crate) subject: Subject,
}

impl Task {
    /// Measures in a process of its own; dropping the future kills it.
    ///
    /// # Errors
    ///
    /// A sentence for the reader: it did not start, hung, failed or lost messages.
    pub(crate) async fn run(self, scale: f64, erlang: Option<&Erlang>) -> Result<Measured, String> {
        let mut command = match (self.subject, erlang) {
            (Subject::Erlang, Some(erlang)) => erlang.command(self, scale),
            (Subject::Erlang, None) => return Err("erl is not installed".to_owned()),
            _ => self.command(scale)?,
        };
        // The pipe to its input stays open for as long as this process lives; see `end_with_parent`.
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let mut child = child.map_err(|error| format!("it did not start: {error}"))?;
        let _input = child.stdin.take();
        let output = tokio::time::timeout(LIMIT, child.wait_with_output()).await;
        let output = output
            .map_err(|_| format!("it did not end within {LIMIT:?}"))?
            .map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(&output.stdout);
        match said.trim().parse() {
            Ok(measured) if output.status.success() => Ok(measured),
            _ => {
                let errors = String::from_utf8_lossy(&output.stderr);
                let last = errors.lines().rfind(|line| !line.trim().is_empty());
                Err(format!("{}: {}", output.status, last.unwrap_or("no word")))
            }
        }
    }

    fn command(self, scale: f64) -> Result<Command, String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut command = Command::new(program);
        command
            .arg("one")
            .arg(self.subject.argument())
            .arg(self.workload.to_string())
            .arg(self.threads.to_string())
            .arg(scale.to_string())
            // Printing backtraces would be most of a restart.
            .env("RUST_BACKTRACE", "0");
        Ok(command)
    }
}

impl std::fmt::Display for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let threads = match self.threads {
            1 => "1 thread".to_owned(),
            n => format!("{n} threads"),
        };
        write!(f, "{} on {threads}, {}", self.workload, self.subject.name())
    }
}

/// Ends this process when its parent has gone, however that came about.
pub(crate) fn end_with_parent() {
    std::thread::spawn(|| {
        // Nothing is ever written to it, so this returns when the other end is closed.
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(1);
    });
}
