//! An actor that blocks its thread is cut off and replaced; what it does afterwards counts no more.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use greenroom::prelude::*;
use parking_lot::Mutex;

use crate::Plan;
use crate::figures::{Broken, Report, at_rest, until};

const TIMES: u64 = 20;
const PATIENCE: Duration = Duration::from_millis(50);

/// Blocks its thread when it is told to, until the check lets it go on; then it tells what it should not.
struct Hog {
    args: Args,
}

#[derive(Clone)]
struct Args {
    blocked: mpsc::Sender<()>,
    goes_on: Arc<Mutex<mpsc::Receiver<()>>>,
    went_on: mpsc::Sender<bool>,
    ear: ActorRef<Ear>,
    lives: Arc<AtomicU64>,
}

struct Block;

impl Message for Block {
    type Reply = ();
}

impl Actor for Hog {
    type Args = Args;
    type Error = BoxError;

    async fn start(args: Args, _: &mut Context<Self>) -> Result<Self, BoxError> {
        args.lives.fetch_add(1, Ordering::Relaxed);
        Ok(Hog { args })
    }
}

impl Handler<Block> for Hog {
    async fn handle(&mut self, _: Block, _: &mut Context<Self>) -> Result<(), BoxError> {
        self.args.blocked.send(())?;
        self.args.goes_on.lock().recv()?;
        let is_refused = self.args.ear.try_tell(Late).is_err();
        self.args.went_on.send(is_refused)?;
        Ok(())
    }
}

/// Counts what it hears.
struct Ear(Arc<AtomicU64>);

struct Late;

impl Message for Late {
    type Reply = ();
}

impl Actor for Ear {
    type Args = Arc<AtomicU64>;
    type Error = BoxError;

    async fn start(heard: Self::Args, _: &mut Context<Self>) -> Result<Self, BoxError> {
        Ok(Ear(heard))
    }
}

impl Handler<Late> for Ear {
    async fn handle(&mut self, _: Late, _: &mut Context<Self>) -> Result<(), BoxError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

pub(crate) async fn check(plan: Plan) -> Result<Report, Broken> {
    let times = (TIMES / plan.part).max(2);
    let heard = Arc::new(AtomicU64::new(0));
    let tree = Supervisor::one_for_one("soak")
        .child(Ear::spec("ear", Arc::clone(&heard)))
        .child(Supervisor::dynamic("hogs"));
    // A worker that is blocked runs nothing else: one is left for the replacement.
    let builder = System::builder().seed(plan.seed).workers(2);
    let system = builder.start(tree).await?;
    let hogs = system.supervisor("soak/hogs")?;
    let ear = system.find::<Ear>("soak/ear")?;
    let (mut longest, mut refused) = (Duration::ZERO, 0);
    for n in 0..times {
        let (blocked, is_blocked) = mpsc::channel();
        let (go_on, goes_on) = mpsc::channel();
        let (went_on, has_gone_on) = mpsc::channel();
        let lives = Arc::new(AtomicU64::new(0));
        let args = Args {
            blocked,
            goes_on: Arc::new(Mutex::new(goes_on)),
            went_on,
            ear: ear.clone(),
            lives: Arc::clone(&lives),
        };
        let spec = || Hog::spec("hog", args.clone()).stop_within(PATIENCE);
        let hog = hogs.start_child(spec()).await?;
        hog.tell(Block).await?;
        until("that it is blocked", Duration::from_secs(10), || {
            is_blocked.try_recv().is_ok()
        })
        .await?;
        let begun = Instant::now();
        hogs.stop_child("hog").await?;
        let next = hogs.start_child(spec()).await?;
        longest = longest.max(begun.elapsed());
        go_on.send(())?;
        let mut answer = None;
        until("that it goes on", Duration::from_secs(10), || {
            answer = has_gone_on.try_recv().ok();
            answer.is_some()
        })
        .await?;
        refused += u64::from(answer == Some(true));
        if lives.load(Ordering::Relaxed) != 2 {
            return Err(Broken(format!("round {n}: the replacement did not start")));
        }
        drop(next);
        hogs.stop_child("hog").await?;
    }
    at_rest(&system).await?;
    system.stop().await;

    let mut report = Report::new(format!("hog: {times} actors that block their thread"));
    // What cuts it off waits 100 ms for a life that blocks its thread.
    let bound = PATIENCE + Duration::from_millis(100);
    report.time("name free and replacement up, at most", longest, bound);
    report.count("late messages that were refused", refused, times);
    report.count(
        "late messages that were heard",
        heard.load(Ordering::Relaxed),
        0,
    );
    Ok(report)
}
