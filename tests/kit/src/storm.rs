//! A random tree under random faults: what the runtime is proved with, and an example of a scenario.
//!
//! Nobody in it knows what comes: the seed decides how large the tree is, with
//! which strategies, limits and mailboxes, who tells, asks and publishes what,
//! what fails, and in which order all of it happens.

use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use greenroom::prelude::*;
use greenroom::{Overflow, Restart};
use parking_lot::Mutex;

use crate::{Checks, Faults, Sim, Simulation, simulate};

/// Returns the simulation of a random tree under random faults, with all checks on.
pub fn storm() -> Simulation<impl Fn(Sim) -> std::pin::Pin<Box<dyn Future<Output = ()>>>> {
    let checks = Checks::all()
        .order(|job: &Job| (job.from.clone(), job.n))
        .order(|question: &Question| (question.0.from.clone(), question.0.n))
        .order(|news: &News| (format!("{}'s news", news.0.from), news.0.n))
        .order(|tick: &Tick| ("its timer".to_owned(), tick.0));
    simulate(|sim| Box::pin(scenario(sim)) as std::pin::Pin<Box<dyn Future<Output = ()>>>)
        .faults(Faults::new().random(20))
        .checks(checks)
        .show::<Job>()
        .show::<Question>()
        .show::<News>()
        .show::<Tick>()
}

/// What is done, and passed on so many times.
#[derive(Clone, PartialEq, Eq)]
struct Work {
    from: String,
    n: u64,
    hops: usize,
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "number {} of {}, {} hops", self.n, self.from, self.hops)
    }
}

/// Told: numbered by sender and receiver.
#[derive(Clone, Debug)]
struct Job(Work);

/// Asked: numbered in one row with the jobs.
#[derive(Debug)]
struct Question(Work);

/// Published: numbered by sender.
#[derive(Clone, Debug)]
struct News(Work);

/// The work of an actor's own timer: each number is to be done once.
#[derive(Clone, Debug)]
struct Tick(u64);

impl std::ops::Deref for Job {
    type Target = Work;

    fn deref(&self) -> &Work {
        &self.0
    }
}

impl Message for Job {
    type Reply = ();
}
impl Message for Question {
    type Reply = u64;
}
impl Event for News {}
impl Message for Tick {
    type Reply = ();
}

/// What stays when actors come and go.
#[derive(Clone)]
struct World {
    sim: Sim,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    paths: Vec<String>,
    numbers: BTreeMap<(String, String), u64>,
    ticks: BTreeMap<String, u64>,
}

impl World {
    /// The next number from one to another.
    fn number(&self, from: &str, to: &str) -> u64 {
        let mut shared = self.shared.lock();
        let key = (from.to_owned(), to.to_owned());
        let n = shared.numbers.entry(key).or_default();
        *n += 1;
        *n
    }

    fn work(&self, from: &str, to: &str, hops: usize) -> Work {
        Work {
            from: from.to_owned(),
            n: self.number(from, to),
            hops,
        }
    }

    /// Somebody to speak to.
    fn somebody(&self, system: &System) -> Option<ActorRef<Worker>> {
        let path = {
            let shared = self.shared.lock();
            let n = self.sim.choose(shared.paths.len());
            shared.paths.get(n)?.clone()
        };
        system.find(&path).ok()
    }
}

/// Does what the dice say.
struct Worker {
    world: World,
    name: String,
}

/// How long an actor waits for another, at most.
const PATIENCE: Duration = Duration::from_millis(40);
/// How many ticks an actor has.
const TICKS: u64 = 4;

impl Actor for Worker {
    type Args = World;
    type Error = String;

    async fn start(world: World, cx: &mut Context<Self>) -> Result<Self, String> {
        let name = cx.path().to_string();
        cx.subscribe::<News>();
        let tick = world.shared.lock().ticks.get(&name).copied().unwrap_or(0);
        if tick < TICKS {
            cx.after(Duration::from_millis(20), Tick(tick));
        }
        Ok(Worker { world, name })
    }

    async fn stop(&mut self, _: &mut Context<Self>) -> Result<(), String> {
        if self.world.sim.chance(1, 8) {
            pass_some(&self.world.sim).await;
        }
        Ok(())
    }
}

async fn pass_some(sim: &Sim) {
    let times = [1, 5, 30, 100];
    tokio::time::sleep(Duration::from_millis(times[sim.choose(times.len())])).await;
}

/// Wakes itself and lets others run.
async fn give_way() {
    let mut has_been = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut has_been, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl Worker {
    async fn act(&mut self, hops: usize, cx: &mut Context<Self>) -> Result<(), String> {
        let (world, system) = (self.world.clone(), cx.system());
        let sim = &world.sim;
        for _ in 0..=sim.choose(2) {
            match sim.choose(16) {
                0 => {}
                1..=4 if hops > 0 => {
                    let Some(to) = world.somebody(&system) else {
                        continue;
                    };
                    let job = Job(world.work(&self.name, to.path().as_str(), hops - 1));
                    let _ = match sim.choose(2) {
                        0 => to.try_tell(job).is_ok(),
                        _ => to.tell(job).within(PATIENCE).await.is_ok(),
                    };
                }
                5..=6 if hops > 0 => {
                    let Some(to) = world.somebody(&system) else {
                        continue;
                    };
                    let question = Question(world.work(&self.name, to.path().as_str(), hops - 1));
                    let _ = to.ask(question).within(PATIENCE).await;
                }
                7 if hops > 0 => {
                    let work = world.work(&self.name, "all", 0);
                    cx.publish(News(work));
                }
                8..=9 => pass_some(sim).await,
                10..=11 => give_way().await,
                12 => return Err("no luck".to_owned()),
                13 => panic!("no luck at all"),
                14 => cx.stop(),
                15 => {
                    cx.background(async {
                        tokio::time::sleep(Duration::from_millis(3)).await;
                        Done
                    });
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// The end of work beside the handlers.
#[derive(Debug)]
struct Done;

impl Message for Done {
    type Reply = ();
}

impl Handler<Done> for Worker {
    async fn handle(&mut self, _: Done, _: &mut Context<Self>) -> Result<(), String> {
        Ok(())
    }
}

impl Handler<Job> for Worker {
    async fn handle(&mut self, job: Job, cx: &mut Context<Self>) -> Result<(), String> {
        self.act(job.hops, cx).await
    }
}

impl Handler<Question> for Worker {
    async fn handle(&mut self, question: Question, cx: &mut Context<Self>) -> Result<u64, String> {
        self.act(question.0.hops, cx).await?;
        Ok(question.0.n)
    }
}

impl Handler<News> for Worker {
    async fn handle(&mut self, news: News, cx: &mut Context<Self>) -> Result<(), String> {
        self.act(news.0.hops, cx).await
    }
}

impl Handler<Tick> for Worker {
    async fn handle(&mut self, Tick(n): Tick, cx: &mut Context<Self>) -> Result<(), String> {
        let next = n + 1;
        self.world
            .shared
            .lock()
            .ticks
            .insert(self.name.clone(), next);
        if next < TICKS {
            cx.after(Duration::from_millis(20), Tick(next));
        }
        Ok(())
    }
}

fn worker(world: &World, name: String) -> Spec<Worker> {
    let sim = &world.sim;
    let overflow = [
        Overflow::Wait,
        Overflow::Reject,
        Overflow::DropNewest,
        Overflow::DropOldest,
    ];
    let restart = [Restart::Permanent, Restart::Permanent, Restart::Transient];
    Worker::spec(name, world.clone())
        .mailbox([64, 1, 2, 4][sim.choose(4)])
        .overflow(overflow[sim.choose(4)])
        .restart(restart[sim.choose(3)])
        .stop_within(Duration::from_millis([5000, 20][sim.choose(2)]))
}

/// A supervisor with some workers below it, and perhaps another supervisor.
fn branch(world: &World, path: &str, depth: usize) -> Supervisor {
    let sim = &world.sim;
    let name = path.rsplit('/').next().unwrap_or(path);
    let make = [
        Supervisor::one_for_one,
        Supervisor::rest_for_one,
        Supervisor::one_for_all,
    ];
    let mut branch = make[sim.choose(3)](name);
    let limit = match depth {
        // So that most trees live for a while.
        0 => 8 + sim.choose(8),
        _ => sim.choose(4),
    };
    let within = Duration::from_millis([100, 1_000, 20_000][sim.choose(3)]);
    branch = branch.restart_limit(u32::try_from(limit).unwrap_or(0), within);
    if sim.choose(2) == 1 {
        branch = branch.backoff(Backoff::none());
    }
    for n in 0..=sim.choose(3) {
        let name = format!("w{n}");
        world.shared.lock().paths.push(format!("{path}/{name}"));
        branch = branch.child(worker(world, name));
    }
    if depth < 2 {
        for n in 0..sim.choose(3) {
            let below = format!("{path}/s{n}");
            branch = branch.child(self::branch(world, &below, depth + 1));
        }
    }
    branch
}

async fn scenario(sim: Sim) {
    let world = World {
        sim: sim.clone(),
        shared: Arc::default(),
    };
    let tree = branch(&world, "storm", 0)
        .child(Supervisor::dynamic("guests").restart_limit(2, Duration::from_secs(1)));
    let Ok(system) = sim.start(tree).await else {
        sim.fail("a tree in which nothing fails has to start");
        return;
    };
    for step in 0..sim.choose(40) {
        match sim.choose(10) {
            0..=5 => {
                let Some(to) = world.somebody(&system) else {
                    continue;
                };
                let job = Job(world.work("the test", to.path().as_str(), sim.choose(5)));
                let _ = match sim.choose(2) {
                    0 => to.try_tell(job).is_ok(),
                    _ => to.tell(job).within(PATIENCE).await.is_ok(),
                };
            }
            6 => {
                let Some(to) = world.somebody(&system) else {
                    continue;
                };
                let question = Question(world.work("the test", to.path().as_str(), sim.choose(5)));
                let _ = to.ask(question).within(PATIENCE).await;
            }
            7 => {
                system.publish(News(world.work("the test", "all", sim.choose(2))));
            }
            8 => {
                let Ok(guests) = system.supervisor("storm/guests") else {
                    continue;
                };
                let name = format!("g{}", sim.choose(3));
                if sim.choose(2) == 0 {
                    let spec = worker(&world, name.clone());
                    if guests.start_child(spec).await.is_ok() {
                        let path = format!("storm/guests/{name}");
                        let mut shared = world.shared.lock();
                        if !shared.paths.contains(&path) {
                            shared.paths.push(path);
                        }
                    }
                } else {
                    let _ = guests.stop_child(&name).await;
                }
            }
            _ => {
                sim.note(format_args!("step {step}: time passes"));
                pass_some(&sim).await;
            }
        }
    }
}
