//! A stop with a million messages queued is honoured at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use greenroom::prelude::*;
use tokio::sync::Semaphore;

use crate::Plan;
use crate::figures::{Broken, Report, until};

const QUEUED: u64 = 1_000_000;

/// Handles messages, once the gate is open.
struct Busy {
    args: Args,
}

#[derive(Clone)]
struct Args {
    gate: Arc<Semaphore>,
    lives: Arc<AtomicU64>,
}

struct Work;

impl Message for Work {
    type Reply = ();
}

impl Actor for Busy {
    type Args = Args;
    type Error = BoxError;

    async fn start(args: Args, _: &mut Context<Self>) -> Result<Self, BoxError> {
        args.lives.fetch_add(1, Ordering::Relaxed);
        Ok(Busy { args })
    }
}

impl Handler<Work> for Busy {
    async fn handle(&mut self, _: Work, _: &mut Context<Self>) -> Result<(), BoxError> {
        let _open = self.args.gate.acquire().await?;
        Ok(())
    }
}

/// Fails, and takes its sibling along.
struct Fuse;

struct Blow;

impl Message for Blow {
    type Reply = ();
}

impl Actor for Fuse {
    type Args = ();
    type Error = BoxError;

    async fn start((): (), _: &mut Context<Self>) -> Result<Self, BoxError> {
        Ok(Fuse)
    }
}

impl Handler<Blow> for Fuse {
    async fn handle(&mut self, _: Blow, _: &mut Context<Self>) -> Result<(), BoxError> {
        Err("blown".into())
    }
}

/// Queues a million messages before an actor that has the first of them in hand.
async fn queue(busy: &ActorRef<Busy>, n: u64) -> Result<(), Broken> {
    for _ in 0..n {
        if let Err(error) = busy.try_tell(Work) {
            return Err(Broken(format!("it was not queued: {error}")));
        }
    }
    Ok(())
}

pub(crate) async fn check(plan: Plan) -> Result<Report, Broken> {
    let queued = QUEUED / plan.part;
    let patience = Duration::from_millis(200);
    let args = || Args {
        gate: Arc::new(Semaphore::new(0)),
        lives: Arc::default(),
    };
    let (taken, cut) = (args(), args());
    let spec = |name: &str, args: &Args| {
        let spec = Busy::spec(name, args.clone()).mailbox(QUEUED as usize + 1);
        spec.stop_within(patience)
    };
    let pair = Supervisor::one_for_all("pair")
        .child(spec("busy", &taken))
        .child(Fuse::spec("fuse", ()));
    let tree = Supervisor::one_for_one("soak")
        .child(pair)
        .child(Supervisor::dynamic("alone"));
    let system = System::builder().seed(plan.seed).start(tree).await?;

    // Taken along by a sibling: after the message in hand, and the queue is there for the next life.
    let busy = system.find::<Busy>("soak/pair/busy")?;
    queue(&busy, queued).await?;
    taken.gate.add_permits(1);
    let begun = Instant::now();
    system.find::<Fuse>("soak/pair/fuse")?.tell(Blow).await?;
    let is_back = || taken.lives.load(Ordering::Relaxed) == 2;
    until("that the sibling is back", Duration::from_secs(60), is_back).await?;
    let restarted = begun.elapsed();
    let kept = busy.depth() as u64;

    // Stopped for good: what is queued may be handled until the deadline, and then it is cut off.
    let alone = system.supervisor("soak/alone")?;
    let busy = alone.start_child(spec("busy", &cut)).await?;
    queue(&busy, queued).await?;
    let begun = Instant::now();
    alone.stop_child("busy").await?;
    let stopped = begun.elapsed();
    let is_gone = busy.try_tell(Work).is_err();
    drop(busy);
    let begun = Instant::now();
    taken.gate.close();
    system.stop().await;
    let over = begun.elapsed();
    let ledger = system.ledger();

    let ms = Duration::from_millis;
    let mut report = Report::new(format!("stop: with {queued} messages queued"));
    report.time("restart with a sibling, queue kept", restarted, ms(100));
    report.tell("of the queue there still", kept);
    report.time(
        "stop of one that does not go on, past its deadline",
        stopped.saturating_sub(patience),
        ms(100),
    );
    report.count("takes a message after that", u64::from(!is_gone), 0);
    report.time("stop of the system, drained", over, patience + ms(1_000));
    report.count(
        "messages not accounted for",
        u64::from(!ledger.is_balanced()),
        0,
    );
    Ok(report)
}
