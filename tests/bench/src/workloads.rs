//! What is measured: every workload written once, over a trait that each framework implements.
//!
//! All of them end by reading what the actors saw, so that a framework which
//! drops messages fails instead of being fast.

use std::future::Future;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::ValueEnum;

use crate::node::{HALF_A_MICROSECOND, Latch, Node, Payload, Reading, Seed, Wiring, lost};

/// What part of a measurement is run before it, to warm caches and allocator.
const WARM_UP: f64 = 0.07;

/// How many messages a bounded mailbox holds: Greenroom's default, for all.
pub(crate) const CAPACITY: usize = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum)]
pub(crate) enum Workload {
    /// One sender tells one actor 5,000,000 numbers
    Tell,
    /// Eight senders tell one actor 500,000 numbers each
    Fanin,
    /// One asker, one reply at a time, 500,000 times
    Ask,
    /// 64 askers of one actor, 500,000 replies
    Ask64,
    /// A token between two actors, 2,000,000 hops
    Pingpong,
    /// A token round 1,000 actors, 2,000,000 hops
    Ring,
    /// 10,000 actors, a token for each, 200 hops to random others
    Busy,
    /// The same with 1,000 actors and handlers of half a microsecond
    Busyw,
    /// 64 tokens of 2,000 hops among every second of 64 actors, same handlers
    Skew,
    /// Events to 100 subscribers, 2,000,000 deliveries
    Pub100,
    /// Events to 1,000 subscribers, 2,000,000 deliveries
    Pub1k,
    /// Events to 10,000 subscribers, 2,000,000 deliveries
    Pub10k,
    /// Start 200,000 actors that stay idle; also their memory
    Spawn,
    /// Panic, rebuild, next message, 20,000 times (Greenroom only)
    Restart,
    /// 10,000 actors await a 1 ms timer 100 times (Greenroom and bare tokio)
    Sleep,
    /// 64 TCP pairs, 3,000 round trips of 64 bytes each (Greenroom and bare tokio)
    Echo,
}

impl Workload {
    pub(crate) fn all() -> &'static [Workload] {
        Self::value_variants()
    }

    /// Returns how many subscribers a publishing workload has.
    pub(crate) fn subscribers(self) -> Option<usize> {
        match self {
            Workload::Pub100 => Some(100),
            Workload::Pub1k => Some(1_000),
            Workload::Pub10k => Some(10_000),
            _ => None,
        }
    }

    /// Returns whether only Greenroom does it, and bare tokio where there is something to compare.
    pub(crate) fn is_our_own(self) -> bool {
        matches!(self, Workload::Restart | Workload::Sleep | Workload::Echo)
    }
}

impl std::fmt::Display for Workload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value = self.to_possible_value();
        f.pad(value.as_ref().map_or("", |value| value.get_name()))
    }
}

/// The outcome of one workload in one process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Measured {
    pub(crate) ns_per_op: f64,
    /// Memory for each actor beyond its state, where it was measured.
    pub(crate) bytes: Option<f64>,
}

impl Measured {
    pub(crate) fn new(ops: u64, elapsed: Duration) -> Self {
        Measured {
            ns_per_op: elapsed.as_nanos() as f64 / ops as f64,
            bytes: None,
        }
    }
}

/// As a child prints it for its parent.
impl std::fmt::Display for Measured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.ns_per_op)?;
        match self.bytes {
            Some(bytes) => write!(f, " {bytes}"),
            None => Ok(()),
        }
    }
}

impl std::str::FromStr for Measured {
    type Err = std::num::ParseFloatError;

    fn from_str(line: &str) -> Result<Self, Self::Err> {
        let mut words = line.split_whitespace();
        Ok(Measured {
            ns_per_op: words.next().unwrap_or_default().parse()?,
            bytes: words.next().map(str::parse).transpose()?,
        })
    }
}

/// What a sender does beside others.
#[derive(Clone, Copy)]
pub(crate) enum Job {
    Tell(u64),
    Ask(u64),
}

impl Job {
    pub(crate) async fn run<F: Framework>(self, framework: &F, to: &F::Addr) {
        match self {
            Job::Tell(messages) => {
                for i in 0..messages {
                    framework.tell(to, i).await;
                    // Without a bound nothing else slows the sender down.
                    if !framework.waits_for_room() && i % 256 == 255 {
                        tokio::task::yield_now().await;
                    }
                }
            }
            Job::Ask(questions) => {
                let mut replies = 0_u64;
                for i in 0..questions {
                    replies = replies.wrapping_add(framework.ask(to, i).await);
                }
                black_box(replies);
            }
        }
    }
}

/// How one framework does what the workloads are made of, in its own idiom.
pub(crate) trait Framework: Clone + Send + Sync + 'static {
    /// The address of a running [`Node`].
    type Addr: Clone + Send + Sync + 'static;
    /// Whatever the framework publishes through.
    type Publisher: Send;

    /// Returns whether [`tell`](Self::tell) waits while the mailbox is full.
    fn waits_for_room(&self) -> bool;
    fn spawn(&self, seed: &Arc<Seed>) -> impl Future<Output = Self::Addr> + Send;
    fn tell(&self, to: &Self::Addr, value: u64) -> impl Future<Output = ()> + Send;
    fn ask(&self, to: &Self::Addr, value: u64) -> impl Future<Output = u64> + Send;
    fn hop(&self, to: &Self::Addr, hops: u32) -> impl Future<Output = ()> + Send;
    fn wire(&self, to: &Self::Addr, wiring: Wiring<Self::Addr>) -> impl Future<Output = ()> + Send;
    /// Returns what the actor saw; it also shows that everything sent before has been handled.
    fn read(&self, to: &Self::Addr) -> impl Future<Output = Reading> + Send;
    fn publisher(&self, subscribers: &[Self::Addr])
    -> impl Future<Output = Self::Publisher> + Send;
    fn publish(
        &self,
        publisher: &mut Self::Publisher,
        event: Arc<Payload>,
    ) -> impl Future<Output = ()> + Send;

    /// Runs a job in so many senders at once: tasks, unless the framework has its own way.
    fn side_by_side(
        &self,
        senders: usize,
        to: &Self::Addr,
        job: Job,
    ) -> impl Future<Output = ()> + Send {
        async move {
            let tasks: Vec<_> = (0..senders)
                .map(|_| {
                    let (framework, to) = (self.clone(), to.clone());
                    tokio::spawn(async move { job.run(&framework, &to).await })
                })
                .collect();
            for task in tasks {
                task.await.unwrap_or_else(|error| lost(error));
            }
        }
    }

    /// Forgets the actors of the warm-up, where they do not end by themselves.
    fn reset(&self) -> impl Future<Output = ()> + Send {
        async {}
    }
}

/// Warms up, then measures.
pub(crate) async fn measure<F: Framework>(f: &F, workload: Workload, scale: f64) -> Measured {
    // Actors of a warm-up would be in the memory that spawn measures.
    if workload != Workload::Spawn {
        run(f, workload, WARM_UP * scale).await;
        f.reset().await;
    }
    run(f, workload, scale).await
}

/// Does the same for what is not written over [`Framework`].
pub(crate) async fn warmed_up<Fut: Future<Output = Measured>>(
    scale: f64,
    run: impl Fn(f64) -> Fut,
) -> Measured {
    run(WARM_UP * scale).await;
    run(scale).await
}

/// Returns `full` in proportion, but enough to mean something.
pub(crate) fn scaled(full: u64, scale: f64, least: u64) -> u64 {
    ((full as f64 * scale) as u64).max(least)
}

async fn run<F: Framework>(f: &F, workload: Workload, scale: f64) -> Measured {
    match workload {
        Workload::Tell => tell(f, scaled(5_000_000, scale, 1_000)).await,
        Workload::Fanin => fanin(f, scaled(500_000, scale, 1_000)).await,
        Workload::Ask => ask(f, scaled(500_000, scale, 1_000)).await,
        Workload::Ask64 => ask64(f, scaled(500_000, scale, 6_400) / 64).await,
        Workload::Pingpong => ring(f, 2, scaled(2_000_000, scale, 1_000)).await,
        Workload::Ring => ring(f, 1_000, scaled(2_000_000, scale, 10_000)).await,
        Workload::Busy => all_to_all(f, 10_000, 1, scaled(200, scale, 10), 0).await,
        Workload::Busyw => {
            let hops = scaled(200, scale, 50);
            all_to_all(f, 1_000, 1, hops, HALF_A_MICROSECOND).await
        }
        Workload::Skew => {
            let hops = scaled(2_000, scale, 500);
            all_to_all(f, 64, 2, hops, HALF_A_MICROSECOND).await
        }
        Workload::Pub100 | Workload::Pub1k | Workload::Pub10k => {
            let subscribers = workload.subscribers().unwrap_or_default();
            let rounds = scaled(2_000_000, scale, 0) / subscribers as u64;
            publish(f, subscribers, rounds.max(2)).await
        }
        Workload::Spawn => spawn(f, scaled(200_000, scale, 1_000) as usize).await,
        Workload::Restart | Workload::Sleep | Workload::Echo => {
            lost("this framework has no such workload")
        }
    }
}

fn check(what: &str, wanted: u64, found: u64) {
    if wanted != found {
        lost(format_args!("{what}: {wanted} were sent, {found} arrived"));
    }
}

/// Returns 0 + 1 + ... up to but without `n`.
fn sum_below(n: u64) -> u64 {
    n * (n - 1) / 2
}

fn counting(target: u64, latch: &Arc<Latch>) -> Arc<Seed> {
    Arc::new(Seed {
        target,
        latch: Some(Arc::clone(latch)),
        ..Seed::default()
    })
}

async fn spawn_all<F: Framework>(f: &F, actors: usize, seed: &Arc<Seed>) -> Vec<F::Addr> {
    let mut addrs = Vec::with_capacity(actors);
    for _ in 0..actors {
        addrs.push(f.spawn(seed).await);
    }
    addrs
}

async fn count_all<F: Framework>(f: &F, addrs: &[F::Addr]) -> u64 {
    let mut count = 0;
    for addr in addrs {
        count += f.read(addr).await.count;
    }
    count
}

async fn tell<F: Framework>(f: &F, messages: u64) -> Measured {
    let latch = Latch::new(1);
    let to = f.spawn(&counting(messages, &latch)).await;
    let began = Instant::now();
    Job::Tell(messages).run(f, &to).await;
    latch.wait().await;
    let elapsed = began.elapsed();
    let Reading { count, sum } = f.read(&to).await;
    check("messages", messages, count);
    check("their sum", sum_below(messages), sum);
    Measured::new(messages, elapsed)
}

async fn fanin<F: Framework>(f: &F, each: u64) -> Measured {
    let latch = Latch::new(1);
    let to = f.spawn(&counting(8 * each, &latch)).await;
    let began = Instant::now();
    f.side_by_side(8, &to, Job::Tell(each)).await;
    latch.wait().await;
    let elapsed = began.elapsed();
    let Reading { count, sum } = f.read(&to).await;
    check("messages", 8 * each, count);
    check("their sum", 8 * sum_below(each), sum);
    Measured::new(8 * each, elapsed)
}

async fn ask<F: Framework>(f: &F, questions: u64) -> Measured {
    let to = f.spawn(&Arc::default()).await;
    let began = Instant::now();
    Job::Ask(questions).run(f, &to).await;
    let elapsed = began.elapsed();
    let Reading { count, sum } = f.read(&to).await;
    check("questions", questions, count);
    check("their sum", sum_below(questions), sum);
    Measured::new(questions, elapsed)
}

async fn ask64<F: Framework>(f: &F, each: u64) -> Measured {
    let to = f.spawn(&Arc::default()).await;
    let began = Instant::now();
    f.side_by_side(64, &to, Job::Ask(each)).await;
    let elapsed = began.elapsed();
    let Reading { count, sum } = f.read(&to).await;
    check("questions", 64 * each, count);
    check("their sum", 64 * sum_below(each), sum);
    Measured::new(64 * each, elapsed)
}

async fn ring<F: Framework>(f: &F, actors: usize, hops: u64) -> Measured {
    let latch = Latch::new(1);
    let addrs = spawn_all(f, actors, &counting(0, &latch)).await;
    for (i, addr) in addrs.iter().enumerate() {
        let next = addrs[(i + 1) % actors].clone();
        f.wire(addr, Wiring::Next(next)).await;
    }
    count_all(f, &addrs).await; // all are wired
    let began = Instant::now();
    f.hop(&addrs[0], hops as u32).await;
    latch.wait().await;
    let elapsed = began.elapsed();
    check("hops", hops + 1, count_all(f, &addrs).await);
    Measured::new(hops, elapsed)
}

/// Sends a token for each actor on its way, only among every `step`th of them.
async fn all_to_all<F: Framework>(
    f: &F,
    actors: usize,
    step: usize,
    visits: u64,
    work: u32,
) -> Measured {
    let latch = Latch::new(actors);
    let seed = Seed {
        work,
        latch: Some(Arc::clone(&latch)),
        ..Seed::default()
    };
    let addrs = spawn_all(f, actors, &Arc::new(seed)).await;
    let peers: Arc<Vec<F::Addr>> = Arc::new(addrs.iter().step_by(step).cloned().collect());
    for (i, addr) in addrs.iter().enumerate() {
        let random = (i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        f.wire(addr, Wiring::Peers(Arc::clone(&peers), random))
            .await;
    }
    count_all(f, &addrs).await; // all are wired
    let began = Instant::now();
    for i in 0..actors {
        f.hop(&peers[i % peers.len()], visits as u32 - 1).await;
    }
    latch.wait().await;
    let elapsed = began.elapsed();
    let ops = actors as u64 * visits;
    check("hops", ops, count_all(f, &addrs).await);
    Measured::new(ops, elapsed)
}

async fn publish<F: Framework>(f: &F, subscribers: usize, rounds: u64) -> Measured {
    let latch = Latch::new(subscribers);
    let seed = Seed {
        target: rounds,
        latch: Some(Arc::clone(&latch)),
        subscribes: true,
        ..Seed::default()
    };
    let addrs = spawn_all(f, subscribers, &Arc::new(seed)).await;
    let mut publisher = f.publisher(&addrs).await;
    count_all(f, &addrs).await; // all are subscribed
    let began = Instant::now();
    for i in 0..rounds {
        let event = Payload([i, 1, 2, 3, 4, 5, 6, 7]);
        f.publish(&mut publisher, Arc::new(event)).await;
        // Let them have it while it is warm; it is the best case of every framework.
        tokio::task::yield_now().await;
    }
    latch.wait().await;
    let elapsed = began.elapsed();
    let wanted: u64 = (0..rounds).map(|i| i ^ 7).sum();
    for addr in &addrs {
        let Reading { count, sum } = f.read(addr).await;
        check("events", rounds, count);
        check("their sum", wanted, sum);
    }
    Measured::new(rounds * subscribers as u64, elapsed)
}

async fn spawn<F: Framework>(f: &F, actors: usize) -> Measured {
    let latch = Latch::new(actors);
    let seed = Arc::new(Seed {
        latch: Some(Arc::clone(&latch)),
        hits_at_start: true,
        ..Seed::default()
    });
    let mut addrs: Vec<F::Addr> = Vec::with_capacity(actors);
    let before = resident_bytes();
    let began = Instant::now();
    for i in 1..=actors {
        addrs.push(f.spawn(&seed).await);
        if i % 1_024 == 0 {
            tokio::task::yield_now().await;
        }
    }
    latch.wait().await;
    let elapsed = began.elapsed();
    // What the last ones allocated may be freed a little later.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let grown = resident_bytes()
        .zip(before)
        .map(|(after, before)| after.saturating_sub(before) as f64 / actors as f64);
    for addr in addrs.iter().step_by(1_000) {
        check("the sum of an idle actor", 1, f.ask(addr, 1).await);
    }
    // The vector of addresses is ours, the state the user's: neither is the framework's doing.
    let not_theirs = (size_of::<F::Addr>() + size_of::<Node<F::Addr>>()) as f64;
    Measured {
        bytes: grown.map(|bytes| bytes - not_theirs),
        ..Measured::new(actors as u64, elapsed)
    }
}

/// Returns the memory of this process that is in RAM; `None` where the system does not say.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_keeps_enough_to_mean_something() {
        assert_eq!(scaled(5_000_000, 0.1, 1_000), 500_000);
        assert_eq!(scaled(200, 0.01, 10), 10);
    }

    #[test]
    fn names_are_those_of_the_command_line() {
        let names: Vec<String> = Workload::all().iter().map(ToString::to_string).collect();
        assert_eq!(
            names.join(" "),
            "tell fanin ask ask64 pingpong ring busy busyw skew pub100 pub1k pub10k spawn restart sleep echo"
        );
    }

    #[test]
    fn a_result_is_read_as_it_was_printed() {
        for bytes in [None, Some(208.5)] {
            let measured = Measured {
                ns_per_op: 19.25,
                bytes,
            };
            assert_eq!(measured.to_string().parse(), Ok(measured));
        }
        assert!("".parse::<Measured>().is_err());
    }

    #[test]
    fn linux_says_how_much_memory_is_in_use() {
        if cfg!(target_os = "linux") {
            assert!(resident_bytes().is_some_and(|bytes| bytes > 100_000));
        }
    }
}
