//! Ends, monitors and links that meet each other on several threads, in real time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use greenroom::prelude::*;
use greenroom_it::*;

const SECOND: Duration = Duration::from_secs(1);
const TARGETS: usize = 4;
const WATCHERS: usize = 4;

/// Numbers from a seed (a linear congruential generator; Knuth's MMIX).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

struct Ends {
    system: System,
    targets: Vec<ActorRef<Scripted>>,
    watchers: Vec<ActorRef<Scripted>>,
    log: Log,
}

async fn ends() -> Ends {
    println!("SEED={}", seed());
    let watching = Script::default();
    let mut tree = Supervisor::one_for_one("app").child(
        Supervisor::dynamic("targets")
            .restart_limit(u32::MAX, SECOND)
            .backoff(Backoff::none()),
    );
    for n in 0..WATCHERS {
        tree = tree.child(Scripted::spec(format!("w{n}"), watching.clone()));
    }
    let system = Driver::Workers(4).builder().start(tree).await.unwrap();
    let pool = system.supervisor("app/targets").unwrap();
    let mut targets = Vec::new();
    for n in 0..TARGETS {
        let spec = Scripted::spec(format!("t{n}"), Script::default());
        targets.push(pool.start_child(spec).await.unwrap());
    }
    let find = |n| system.find::<Scripted>(&format!("app/w{n}")).unwrap();
    let watchers = (0..WATCHERS).map(find).collect();
    Ends {
        system,
        targets,
        watchers,
        log: watching.log,
    }
}

impl Ends {
    /// Ends lives of the targets in all ways, from several threads.
    fn end_them(&self, rounds: usize) -> Vec<tokio::task::JoinHandle<()>> {
        let end = |n: usize| {
            let targets = self.targets.clone();
            let mut numbers = Numbers(seed() ^ n as u64);
            async move {
                for _ in 0..rounds {
                    let target = &targets[numbers.below(TARGETS as u64) as usize];
                    match numbers.below(4) {
                        0 => target.kill(),
                        1 => drop(target.stop().within(SECOND).await),
                        2 => drop(target.try_tell(Fail("no luck"))),
                        _ => drop(target.try_tell(Quit)),
                    }
                    tokio::task::yield_now().await;
                }
            }
        };
        (0..3).map(|n| tokio::spawn(end(n))).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m12_each_of_many_monitors_set_while_lives_end_brings_one_news() {
    const MONITORS: usize = 2000;
    let it = ends().await;
    let ending = it.end_them(1000);
    let set: Vec<_> = it
        .watchers
        .iter()
        .enumerate()
        .map(|(n, watcher)| {
            let (watcher, targets) = (watcher.clone(), it.targets.clone());
            let mut numbers = Numbers(seed() ^ 100 ^ n as u64);
            tokio::spawn(async move {
                for _ in 0..MONITORS {
                    let target = targets[numbers.below(TARGETS as u64) as usize].clone();
                    let monitor = with(move |cx| drop(cx.monitor(&target)));
                    watcher.tell(monitor).await.unwrap();
                }
            })
        })
        .collect();
    for task in set.into_iter().chain(ending) {
        task.await.unwrap();
    }
    for watcher in &it.watchers {
        caught_up(watcher).await;
    }
    // Whoever is watched still ends now.
    let pool = it.system.supervisor("app/targets").unwrap();
    for n in 0..TARGETS {
        pool.stop_child(&format!("t{n}")).await.unwrap();
    }
    for watcher in &it.watchers {
        until(|| watcher.depth() == 0).await;
        caught_up(watcher).await;
    }
    let log = it.log.take();
    let news = log.iter().filter(|line| line.contains(": down ")).count();
    assert_eq!(news, WATCHERS * MONITORS);
    it.system.stop().await;
    assert!(it.system.ledger().is_balanced(), "{}", it.system.ledger());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m12_links_made_and_taken_back_while_lives_end_leave_the_last_word_to_the_last() {
    const ROUNDS: usize = 1000;
    let it = ends().await;
    let ending = it.end_them(ROUNDS);
    let linking: Vec<_> = (0..2)
        .map(|n| {
            let targets = it.targets.clone();
            let mut numbers = Numbers(seed() ^ 200 ^ n);
            tokio::spawn(async move {
                for _ in 0..ROUNDS {
                    let one = &targets[numbers.below(TARGETS as u64) as usize];
                    let other = targets[numbers.below(TARGETS as u64) as usize].clone();
                    let links = numbers.below(2) == 0;
                    let change = with(move |cx| match links {
                        true => cx.link(&other),
                        false => cx.unlink(&other),
                    });
                    drop(one.tell(change).await);
                }
            })
        })
        .collect();
    for task in ending.into_iter().chain(linking) {
        task.await.unwrap();
    }
    // Once all is quiet, and no target linked to another, each ends alone.
    for target in it.targets.iter().chain(&it.targets) {
        caught_up(target).await;
    }
    for (n, one) in it.targets.iter().enumerate() {
        for other in &it.targets[n + 1..] {
            let other = other.clone();
            until_handled(one, move |cx| cx.unlink(&other)).await;
        }
    }
    for target in &it.targets {
        caught_up(target).await;
    }
    let lives = |n: usize| {
        let path = it.targets[n].path().clone();
        let all = it.system.snapshot();
        all.into_iter()
            .find(|it| it.path == path)
            .unwrap()
            .incarnation
    };
    let before: Vec<u64> = (0..TARGETS).map(lives).collect();
    it.targets[0].kill();
    until(|| lives(0) == before[0] + 1).await;
    for target in &it.targets {
        caught_up(target).await;
    }
    let after: Vec<u64> = (1..TARGETS).map(lives).collect();
    assert_eq!(after, before[1..], "it was not alone");
    it.system.stop().await;
    assert!(it.system.ledger().is_balanced(), "{}", it.system.ledger());
}

/// Runs `f` in a handler of a life, though an end that is still on its way may take the message with it.
async fn until_handled(
    it: &ActorRef<Scripted>,
    f: impl Fn(&mut Context<Scripted>) + Clone + Send + 'static,
) {
    let done = Arc::new(AtomicUsize::new(0));
    while done.load(Ordering::SeqCst) == 0 {
        let (f, done) = (f.clone(), done.clone());
        let run = with(move |cx| {
            f(cx);
            done.fetch_add(1, Ordering::SeqCst);
        });
        drop(it.ask(run).await);
    }
}
