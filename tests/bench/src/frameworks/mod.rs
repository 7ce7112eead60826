//! One file for each family of frameworks, and the tokio runtime that most of them run on.

pub(crate) mod actix;
pub(crate) mod bare;
pub(crate) mod channels;
pub(crate) mod greenroom;
mod greenroom_only;
pub(crate) mod kameo;
pub(crate) mod ractor;
pub(crate) mod xtra;

use std::future::Future;

use crate::node::lost;
use crate::workloads::{Framework, Measured, Workload, measure};

/// Measures in a current-thread runtime, or in one with so many workers, and ends the process.
pub(crate) fn on_tokio_runtime(
    threads: usize,
    work: impl Future<Output = Measured> + Send + 'static,
) -> ! {
    let mut builder = match threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    if threads > 1 {
        builder.worker_threads(threads);
    }
    let runtime = builder.enable_all().build().unwrap_or_else(|e| lost(e));
    // As a task: the thread that blocks on a runtime of many workers is none of them.
    let task = async { tokio::spawn(async { finish(work.await) }).await };
    match runtime.block_on(task) {
        Ok(never) => never,
        Err(error) => lost(error),
    }
}

/// Measures a framework whose actors are tokio tasks, and ends the process.
pub(crate) fn on_tokio<F: Framework>(
    framework: F,
    workload: Workload,
    threads: usize,
    scale: f64,
) -> ! {
    on_tokio_runtime(threads, async move {
        measure(&framework, workload, scale).await
    })
}

/// Prints the result and ends the process.
///
/// Taking down 200,000 actors is not measured, so nobody waits for it.
pub(crate) fn finish(measured: Measured) -> ! {
    println!("{measured}");
    std::process::exit(0)
}
