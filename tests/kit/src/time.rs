//! Virtual time: a clock that jumps to the next timer when all wait.

use std::future::Future;
use std::time::Duration;

/// Runs a test in virtual time, on a runtime of its own.
///
/// Timers, back-offs, time limits and intervals come when they are due, and
/// nobody waits for them: when all tasks are idle the clock jumps to the next
/// timer. A day passes in milliseconds.
///
/// It is what `#[tokio::test(start_paused = true)]` does, without tokio as a
/// dependency of the test. What else tells the time (`std::time::Instant`,
/// `SystemTime`) and what happens outside of the process is not virtual.
///
/// # Panics
///
/// When it is called inside a runtime.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use greenroom_testkit::{in_virtual_time, pass};
///
/// in_virtual_time(async {
///     pass(Duration::from_secs(86_400)).await;
/// });
/// ```
pub fn in_virtual_time<F: Future>(test: F) -> F::Output {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    match runtime.enable_time().start_paused(true).build() {
        Ok(runtime) => runtime.block_on(test),
        Err(error) => panic!("this thread gets no runtime: {error}"),
    }
}

/// Lets this much virtual time pass, with all that happens in it.
///
/// # Cancel safety
///
/// Dropping the future ends the wait and nothing else.
pub async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

/// Lets everything happen that can within one virtual millisecond.
///
/// # Cancel safety
///
/// As [`pass`].
pub async fn settle() {
    pass(Duration::from_millis(1)).await;
}
