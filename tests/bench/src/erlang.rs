//! Erlang/OTP where it is installed: the same workloads, written in Erlang and compiled when they are needed.

use std::io;
use std::path::PathBuf;
use std::process::Stdio;

use tokio::process::Command;

use crate::children::Task;

const SOURCE: &str = include_str!("bench.erl");

/// A compiled benchmark, in a folder that goes with it.
pub(crate) struct Erlang {
    folder: PathBuf,
}

impl Erlang {
    /// Compiles the benchmark; `Ok(None)` where Erlang is not installed.
    pub(crate) async fn find() -> io::Result<Option<Self>> {
        let folder = std::env::temp_dir().join(format!("greenroom-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let erlang = Erlang { folder };
        std::fs::write(erlang.folder.join("bench.erl"), SOURCE)?;
        let compiled = Command::new("erlc")
            .arg("bench.erl")
            .current_dir(&erlang.folder)
            .stdin(Stdio::null())
            .output()
            .await;
        match compiled {
            Ok(output) if output.status.success() => Ok(Some(erlang)),
            Ok(output) => Err(io::Error::other(
                String::from_utf8_lossy(&output.stdout).into_owned(),
            )),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn command(&self, task: Task, scale: f64) -> Command {
        let threads = task.threads;
        let mut command = Command::new("erl");
        command
            .arg("+S")
            .arg(format!("{threads}:{threads}"))
            .args(["-noshell", "-s", "bench", "main"])
            .args([task.workload.to_string(), scale.to_string()])
            .current_dir(&self.folder);
        command
    }
}

impl Drop for Erlang {
    fn drop(&mut self) {
        // What is left in the folder for temporary files is cleared by the system.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
