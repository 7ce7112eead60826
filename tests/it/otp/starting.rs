//! How supervisors and children start, and what is left of those that do not.

use greenroom::prelude::*;

use super::start;

#[tokio::test(start_paused = true)]
async fn s01_a_supervisor_without_children_starts_and_stops_in_order() {
    let system = start(Supervisor::one_for_one("app")).await.unwrap();
    system.stop().await;
    assert!(system.stopped().await.is_ok(), "it did not give up");
}
