//! Ten million starts and stops, and as many monitors: the tables are empty afterwards, and memory is what it was.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use greenroom::prelude::*;
use greenroom::{StopChildError, SupervisorRef};

use crate::figures::{Broken, Report, at_rest, resident, until};
use crate::{Plan, monitors};

pub(crate) const TIMES: u64 = 10_000_000;
/// So many live on beside them, as in a service; what the allocator does is small against these.
pub(crate) const IDLE: usize = 100_000;
/// How many children there are at a time.
pub(crate) const AT_A_TIME: u64 = 100;

/// Ends as soon as it is told to.
pub(crate) struct Fly;

pub(crate) struct Die;

impl Message for Die {
    type Reply = ();
}

impl Actor for Fly {
    type Args = ();
    type Error = Infallible;

    async fn start((): (), _: &mut Context<Self>) -> Result<Self, Infallible> {
        Ok(Fly)
    }
}

impl Handler<Die> for Fly {
    async fn handle(&mut self, _: Die, cx: &mut Context<Self>) -> Result<(), Infallible> {
        cx.stop();
        Ok(())
    }
}

/// Starts flies, and sees them end.
struct Swarm;

struct Round(u64);

impl Message for Round {
    type Reply = Result<(), String>;
}

impl Actor for Swarm {
    type Args = ();
    type Error = BoxError;

    async fn start((): (), _: &mut Context<Self>) -> Result<Self, BoxError> {
        Ok(Swarm)
    }
}

impl Handler<Round> for Swarm {
    async fn handle(
        &mut self,
        Round(n): Round,
        cx: &mut Context<Self>,
    ) -> Result<Result<(), String>, BoxError> {
        let flies = cx.system().supervisor("soak/flies")?;
        let all = match start_flies(&flies, &n.to_string()).await {
            Ok(all) => all,
            Err(error) => return Ok(Err(error)),
        };
        for fly in &all {
            fly.tell(Die).await?;
        }
        Ok(see_ends(&flies).await)
    }
}

/// Starts as many as there are at a time.
pub(crate) async fn start_flies(
    flies: &SupervisorRef,
    round: &str,
) -> Result<Vec<ActorRef<Fly>>, String> {
    let mut all = Vec::with_capacity(AT_A_TIME as usize);
    for fly in 0..AT_A_TIME {
        let spec = Fly::spec(format!("{round}-{fly}"), ()).restart(Restart::Temporary);
        let started = flies.start_child(spec).await;
        all.push(started.map_err(|error| error.to_string())?);
    }
    Ok(all)
}

/// Returns when the supervisor has seen all ends that there were before: so none are heaped up.
pub(crate) async fn see_ends(flies: &SupervisorRef) -> Result<(), String> {
    match flies.stop_child("nobody").await {
        Err(StopChildError::NotFound(_)) => Ok(()),
        other => Err(format!("nobody was stopped: {other:?}")),
    }
}

pub(crate) async fn check(plan: Plan) -> Result<Report, Broken> {
    let rounds = TIMES / plan.part / AT_A_TIME;
    let tree = Supervisor::one_for_one("soak")
        .child(Supervisor::dynamic("flies"))
        .child(Supervisor::dynamic("idle"))
        .child(Supervisor::dynamic("watchmen"))
        .child(Swarm::spec("swarm", ()));
    let system = System::builder().seed(plan.seed).start(tree).await?;
    let swarm = system.find::<Swarm>("soak/swarm")?;
    let idle = system.supervisor("soak/idle")?;
    let mut watched = Vec::with_capacity(IDLE);
    for n in 0..IDLE {
        watched.push(idle.start_child(Fly::spec(n.to_string(), ())).await?);
    }
    let mut before = 0;
    let begun = Instant::now();
    for n in 0..rounds {
        let round = swarm.ask(Round(n)).within(Duration::from_secs(60));
        round.await?.map_err(Broken)?;
        // What is allocated once is there by then.
        if n == rounds / 10 {
            at_rest(&system).await?;
            before = resident()?;
        }
    }
    let took = begun.elapsed();
    at_rest(&system).await?;
    let after = resident()?;
    // The root, the three supervisors and the swarm.
    let others = IDLE + 5;
    until("the end of the last flies", Duration::from_secs(10), || {
        system.snapshot().len() <= others
    })
    .await?;
    let left = (system.snapshot().len() - others) as u64;
    let per = took / (rounds * AT_A_TIME) as u32;

    let mut report = Report::new(format!(
        "churn: {} actors started and stopped, and as many monitors",
        rounds * AT_A_TIME
    ));
    report.tell("each", format!("{per:?}"));
    report.count("roles that are left", left, 0);
    let ratio = after as f64 / before as f64;
    report.tell("memory after a tenth, KiB", before / 1024);
    report.ratio("memory at the end over that after a tenth", ratio, 1.01);
    monitors::churn(&system, plan, watched, &mut report).await?;
    system.stop().await;
    Ok(report)
}
