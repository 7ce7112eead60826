//! 100,000 actors crash at once: all come back, and who has nothing to do with it hardly notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use greenroom::AskError;
use greenroom::prelude::*;
use parking_lot::Mutex;

use crate::Plan;
use crate::figures::{Broken, Dice, Report, Times, at_rest, resident, until};

const ACTORS: u64 = 100_000;
const SIBLINGS: usize = 100;

/// Subscribes to the crash, and counts its starts.
struct Fragile;

#[derive(Clone, Debug)]
struct Crash;

impl Event for Crash {}

impl Actor for Fragile {
    type Args = Arc<AtomicU64>;
    type Error = BoxError;

    async fn start(starts: Self::Args, cx: &mut Context<Self>) -> Result<Self, BoxError> {
        cx.subscribe::<Crash>();
        starts.fetch_add(1, Ordering::Relaxed);
        Ok(Fragile)
    }
}

impl Handler<Crash> for Fragile {
    async fn handle(&mut self, _: Crash, _: &mut Context<Self>) -> Result<(), BoxError> {
        panic!("all at once");
    }
}

/// Answers.
struct Sibling;

struct Ping;

impl Message for Ping {
    type Reply = ();
}

impl Actor for Sibling {
    type Args = ();
    type Error = BoxError;

    async fn start((): (), _: &mut Context<Self>) -> Result<Self, BoxError> {
        Ok(Sibling)
    }
}

impl Handler<Ping> for Sibling {
    async fn handle(&mut self, _: Ping, _: &mut Context<Self>) -> Result<(), BoxError> {
        Ok(())
    }
}

pub(crate) async fn check(plan: Plan) -> Result<Report, Broken> {
    let actors = ACTORS / plan.part;
    let starts = Arc::new(AtomicU64::new(0));
    let many = |name| {
        Supervisor::dynamic(name)
            .restart_limit(u32::MAX, Duration::from_secs(1))
            .backoff(Backoff::none())
    };
    let tree = Supervisor::one_for_one("soak")
        .child(many("fragile"))
        .child(many("siblings"));
    let system = System::builder().seed(plan.seed).start(tree).await?;
    let fragile = system.supervisor("soak/fragile")?;
    for n in 0..actors {
        let spec = Fragile::spec(n.to_string(), Arc::clone(&starts));
        fragile.start_child(spec).await?;
    }
    let place = system.supervisor("soak/siblings")?;
    let mut siblings = Vec::new();
    for n in 0..SIBLINGS {
        siblings.push(place.start_child(Sibling::spec(n.to_string(), ())).await?);
    }

    // Who asks from outside, a question each millisecond, from before the crash until all are back.
    let is_over = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(Mutex::new(Vec::new()));
    let asking = {
        let (is_over, answered) = (Arc::clone(&is_over), Arc::clone(&answered));
        let mut dice = Dice(plan.seed);
        tokio::spawn(async move {
            while !is_over.load(Ordering::Relaxed) {
                let sibling = &siblings[dice.below(SIBLINGS)];
                let begun = Instant::now();
                sibling.ask(Ping).within(Duration::from_secs(60)).await?;
                answered.lock().push(begun.elapsed().as_nanos() as u64);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Ok::<(), AskError<Ping>>(())
        })
    };
    let watching = {
        let is_over = Arc::clone(&is_over);
        std::thread::spawn(move || {
            let mut most = resident()?;
            while !is_over.load(Ordering::Relaxed) {
                most = most.max(resident()?);
                std::thread::sleep(Duration::from_millis(5));
            }
            Ok::<u64, Broken>(most)
        })
    };
    let quiet = Duration::from_secs(1);
    tokio::time::sleep(quiet).await;
    let undisturbed = Times::new(std::mem::take(&mut answered.lock()));
    let before = resident()?;
    let begun = Instant::now();
    let heard = system.publish(Crash);
    let all_back = || starts.load(Ordering::Relaxed) == 2 * actors;
    until("that all are back", Duration::from_secs(60), all_back).await?;
    let took = begun.elapsed();
    let disturbed = Times::new(std::mem::take(&mut answered.lock()));
    is_over.store(true, Ordering::Relaxed);
    asking.await??;
    let most = match watching.join() {
        Ok(most) => most?,
        Err(_) => return Err(Broken("nobody watched the memory".to_owned())),
    };
    at_rest(&system).await?;
    let ledger = system.ledger();
    system.stop().await;

    let mut report = Report::new(format!("crash: {actors} actors at once, {heard:?}"));
    report.count("messages that failed", ledger.failed, actors);
    report.time("until all are back", took, Duration::from_secs(5));
    report.ratio(
        "most memory, over that before",
        most as f64 / before as f64,
        1.5,
    );
    report.tell("answers of siblings meanwhile", disturbed.len());
    report.tell(
        "p99 of a sibling's answer before",
        format!("{:.1?}", undisturbed.at(0.99)),
    );
    report.time(
        "p99 meanwhile",
        disturbed.at(0.99),
        Duration::from_millis(10),
    );
    Ok(report)
}
