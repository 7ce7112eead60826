//! Ten million monitors that are cancelled, or told of an end: nothing of them is left, and each end is told once.

use std::time::{Duration, Instant};

use greenroom::Down;
use greenroom::prelude::*;

use crate::Plan;
use crate::churn::{AT_A_TIME, Die, Fly, IDLE, TIMES, see_ends, start_flies};
use crate::figures::{Broken, Dice, Report, at_rest, resident, until};

/// One round in so many is of those that end, the others are of those that go on and are not watched any more.
const ENDS: usize = 10;

/// Watches flies.
pub(crate) struct Watchman {
    dice: Dice,
    idle: Vec<ActorRef<Fly>>,
    counts: Counts,
}

/// What has come of all that it watched.
#[derive(Clone, Copy, Default)]
struct Counts {
    /// How often it watched one that goes on, and cancelled that.
    cancelled: u64,
    /// How often it watched one that was then told to end.
    watched: u64,
    told: u64,
}

struct Round(u64);

impl Message for Round {
    type Reply = Result<(), String>;
}

struct Tell;

impl Message for Tell {
    type Reply = Counts;
}

impl Actor for Watchman {
    type Args = (u64, Vec<ActorRef<Fly>>);
    type Error = BoxError;

    async fn start((seed, idle): Self::Args, _: &mut Context<Self>) -> Result<Self, BoxError> {
        Ok(Watchman {
            dice: Dice(seed),
            idle,
            counts: Counts::default(),
        })
    }
}

impl Handler<Round> for Watchman {
    async fn handle(
        &mut self,
        Round(n): Round,
        cx: &mut Context<Self>,
    ) -> Result<Result<(), String>, BoxError> {
        // First each that goes on is watched once, so that all it ever has for this is there.
        if n >= IDLE as u64 / AT_A_TIME && self.dice.below(ENDS) == 0 {
            return self.watch_ends(n, cx).await;
        }
        self.watch_and_cancel(n, cx);
        Ok(Ok(()))
    }
}

impl Handler<Down> for Watchman {
    async fn handle(&mut self, _: Down, _: &mut Context<Self>) -> Result<(), BoxError> {
        self.counts.told += 1;
        Ok(())
    }
}

impl Handler<Tell> for Watchman {
    async fn handle(&mut self, _: Tell, _: &mut Context<Self>) -> Result<Counts, BoxError> {
        Ok(self.counts)
    }
}

impl Watchman {
    /// Watches flies that go on, and cancels that: at once, or when all are watched, as the dice fall.
    fn watch_and_cancel(&mut self, n: u64, cx: &mut Context<Self>) {
        let mut kept = Vec::new();
        for fly in n * AT_A_TIME..(n + 1) * AT_A_TIME {
            let monitor = cx.monitor(&self.idle[fly as usize % self.idle.len()]);
            match self.dice.below(2) {
                0 => monitor.cancel(),
                _ => kept.push(monitor),
            }
        }
        // The newest first, where those who were cancelled at once were the oldest at that moment.
        while let Some(monitor) = kept.pop() {
            monitor.cancel();
        }
        self.counts.cancelled += AT_A_TIME;
    }

    /// Watches flies that end: their end ends the watch.
    async fn watch_ends(
        &mut self,
        n: u64,
        cx: &mut Context<Self>,
    ) -> Result<Result<(), String>, BoxError> {
        let flies = cx.system().supervisor("soak/flies")?;
        let all = match start_flies(&flies, &format!("watched-{n}")).await {
            Ok(all) => all,
            Err(error) => return Ok(Err(error)),
        };
        for fly in &all {
            cx.monitor(fly);
        }
        self.counts.watched += AT_A_TIME;
        for fly in &all {
            fly.tell(Die).await?;
        }
        Ok(see_ends(&flies).await)
    }
}

/// Watches ten million times; the flies are those of the starts and stops before.
pub(crate) async fn churn(
    system: &System,
    plan: Plan,
    idle: Vec<ActorRef<Fly>>,
    report: &mut Report,
) -> Result<(), Broken> {
    let rounds = TIMES / plan.part / AT_A_TIME;
    let watchman = Watchman::spec("watchman", (plan.seed, idle));
    let watchmen = system.supervisor("soak/watchmen")?;
    let watchman = watchmen.start_child(watchman).await?;
    let limit = Duration::from_secs(60);
    let mut before = 0;
    let begun = Instant::now();
    for n in 0..rounds {
        watchman
            .ask(Round(n))
            .within(limit)
            .await?
            .map_err(Broken)?;
        // What is allocated once is there by then.
        if n == rounds / 10 {
            at_rest(system).await?;
            before = resident()?;
        }
    }
    let took = begun.elapsed();
    at_rest(system).await?;
    let after = resident()?;
    // The root, the three supervisors, the swarm and the watchman.
    let others = IDLE + 6;
    until("the end of the last watched flies", limit, || {
        system.snapshot().len() <= others
    })
    .await?;
    let left = (system.snapshot().len() - others) as u64;

    // Whoever is not watched any more is not told of: the flies end, all of them.
    let told_before = watchman.ask(Tell).within(limit).await?;
    system.supervisor("soak")?.stop_child("idle").await?;
    at_rest(system).await?;
    let counts = watchman.ask(Tell).within(limit).await?;

    let per = took / (rounds * AT_A_TIME) as u32;
    report.tell("monitors", rounds * AT_A_TIME);
    report.tell("each", format!("{per:?}"));
    report.tell("of these cancelled", counts.cancelled);
    report.count("ends that were told", told_before.told, counts.watched);
    let late = counts.told - told_before.told;
    report.count("ends told of those not watched any more", late, 0);
    report.count("roles that are left", left, 0);
    let ratio = after as f64 / before as f64;
    report.tell("memory after a tenth, KiB", before / 1024);
    report.ratio("memory at the end over that after a tenth", ratio, 1.01);
    Ok(())
}
