//! What one thread shows by luck, shown where actors run on threads of their own.

use std::time::Duration;

use greenroom::prelude::*;
use greenroom_it::*;

#[tokio::test]
async fn s20_of_many_children_without_time_to_stop_none_is_asked_on_any_worker() {
    let script = Script::default();
    let system = Driver::Workers(2)
        .builder()
        .start(Supervisor::dynamic("app"));
    let system = system.await.unwrap();
    let app = system.supervisor("app").unwrap();
    for n in 0..200 {
        let spec = Scripted::spec(format!("c{n}"), script.clone()).stop_within(Duration::ZERO);
        app.start_child(spec).await.unwrap();
    }
    script.log.clear();
    system.stop().await;
    assert_eq!(script.log.take(), [""; 0]);
}
