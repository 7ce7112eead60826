//! What many children cost: times that grow with their number, and not with its square.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use greenroom::prelude::*;
use greenroom_it::{Driver, settle};

struct Idle;

impl Actor for Idle {
    type Args = ();
    type Error = Infallible;

    async fn start((): (), _: &mut Context<Self>) -> Result<Self, Infallible> {
        Ok(Idle)
    }
}

async fn start(tree: Supervisor) -> System {
    Driver::Tasks.builder().start(tree).await.unwrap()
}

/// The best of some runs: what else the machine does makes a run longer, never shorter.
async fn best<F: Future<Output = Duration>>(runs: u32, mut run: impl FnMut() -> F) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..runs {
        best = best.min(run().await);
    }
    best
}

/// An actor that has no use for what it is built from.
struct Light;

impl Actor for Light {
    type Args = Arc<Vec<u8>>;
    type Error = BoxError;

    async fn start(_: Self::Args, _: &mut Context<Self>) -> Result<Self, BoxError> {
        Ok(Light)
    }
}

struct Die;

impl Message for Die {
    type Reply = ();
}

impl Handler<Die> for Light {
    async fn handle(&mut self, _: Die, _: &mut Context<Self>) -> Result<(), BoxError> {
        Err("died".into())
    }
}

#[tokio::test(start_paused = true)]
async fn s39_nothing_is_kept_of_what_a_temporary_child_was_built_from() {
    for driver in [Driver::Tasks, Driver::Simulated] {
        let builder = driver.builder();
        let system = builder.start(Supervisor::dynamic("app")).await.unwrap();
        let app = system.supervisor("app").unwrap();
        let argument = || Arc::new(vec![0; 50_000]);
        let spec = |name, argument: &Arc<Vec<u8>>| Light::spec(name, Arc::clone(argument));
        let temporary = |name, argument| spec(name, argument).restart(Restart::Temporary);
        let (first, second, third) = (argument(), argument(), argument());
        let c1 = app.start_child(temporary("c1", &first)).await.unwrap();
        c1.tell(Die).await.unwrap();
        settle().await;
        let _c2 = app.start_child(temporary("c2", &second)).await.unwrap();
        // Who may be restarted needs it again.
        let c3 = app.start_child(spec("c3", &third)).await.unwrap();
        let kept = [&first, &second, &third].map(|argument| Arc::strong_count(argument) - 1);
        assert_eq!(kept, [0, 0, 1]);
        c3.tell(Die).await.unwrap();
        settle().await;
        assert!(c3.try_tell(Die).is_ok(), "it was built again");
    }
}

#[tokio::test(start_paused = true)]
async fn s39_a_temporary_child_of_the_tree_comes_back_with_its_supervisor() {
    let argument = Arc::new(vec![0; 50_000]);
    let it = Light::spec("it", Arc::clone(&argument)).restart(Restart::Temporary);
    let branch = Supervisor::one_for_one("in").restart_limit(0, Duration::from_secs(1));
    let other = Light::spec("other", argument);
    let tree = Supervisor::one_for_one("app").child(branch.child(it).child(other));
    let system = start(tree).await;
    system
        .find::<Light>("app/in/other")
        .unwrap()
        .tell(Die)
        .await
        .unwrap();
    settle().await;
    let it = system.find::<Light>("app/in/it").unwrap();
    assert!(it.try_tell(Die).is_ok());
}

fn ratio(long: Duration, short: Duration) -> f64 {
    long.as_secs_f64() / short.as_secs_f64()
}

async fn stop_of_dynamic(children: u32) -> Duration {
    let system = start(Supervisor::dynamic("app")).await;
    let app = system.supervisor("app").unwrap();
    for n in 0..children {
        let spec = Idle::spec(n.to_string(), ()).restart(Restart::Temporary);
        app.start_child(spec).await.unwrap();
    }
    let before = Instant::now();
    system.stop().await;
    before.elapsed()
}

#[tokio::test]
async fn s78_a_dynamic_supervisor_stops_many_children_in_a_time_that_grows_with_their_number() {
    let few = best(3, || stop_of_dynamic(1_000)).await;
    let many = best(3, || stop_of_dynamic(10_000)).await;
    // Ten were linear, a hundred the square; fifty is what OTP's suite allows.
    let ratio = ratio(many, few);
    assert!(ratio <= 50.0, "{many:?} / {few:?} = {ratio:.1}");
}

/// How long it takes to start so many children one by one, and to stop them again one by one.
async fn start_and_stop(children: u32) -> (Duration, Duration) {
    let system = start(Supervisor::one_for_one("app")).await;
    let app = system.supervisor("app").unwrap();
    let before = Instant::now();
    for n in 0..children {
        app.start_child(Idle::spec(n.to_string(), ()))
            .await
            .unwrap();
    }
    let started = before.elapsed();
    let before = Instant::now();
    for n in 0..children {
        app.stop_child(&n.to_string()).await.unwrap();
    }
    let stopped = before.elapsed();
    system.stop().await;
    (started, stopped)
}

#[tokio::test]
async fn s88_many_children_are_started_and_stopped_in_a_time_that_grows_with_their_number() {
    // As many as in OTP's suite where the code is as fast as it gets.
    const MORE: u32 = if cfg!(debug_assertions) { 20 } else { 100 };
    let mut few = (Duration::MAX, Duration::MAX);
    for _ in 0..3 {
        let (started, stopped) = start_and_stop(1_000).await;
        few = (few.0.min(started), few.1.min(stopped));
    }
    let many = start_and_stop(MORE * 1_000).await;
    for (what, many, few) in [("start", many.0, few.0), ("stop", many.1, few.1)] {
        // What OTP's suite allows: ten times what were linear.
        let ratio = ratio(many, few);
        let allowed = f64::from(10 * MORE);
        assert!(ratio <= allowed, "{what}: {many:?} / {few:?} = {ratio:.1}");
    }
}
