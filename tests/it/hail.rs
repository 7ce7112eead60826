//! Eight producers at once on real workers, and asks without number whose time is up.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use greenroom::prelude::*;

const SECOND: Duration = Duration::from_secs(1);

fn rng(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

/// What a role has handled: of each producer the latest number, and in which life.
type Handled = Arc<parking_lot::Mutex<[(u64, u64); PRODUCERS]>>;

const PRODUCERS: usize = 8;

/// Handles numbered messages, and some of them badly.
struct Ordered {
    handled: Handled,
    faults: Arc<parking_lot::Mutex<Vec<String>>>,
}

/// The `n`th of a producer; `how` says how its handler ends.
#[derive(Clone, Debug)]
struct Numbered {
    producer: usize,
    n: u64,
    how: u64,
}

impl Event for Numbered {}

impl Actor for Ordered {
    type Args = (Handled, Arc<parking_lot::Mutex<Vec<String>>>);
    type Error = &'static str;

    async fn start(
        (handled, faults): Self::Args,
        cx: &mut Context<Self>,
    ) -> Result<Self, Self::Error> {
        cx.subscribe::<Numbered>();
        Ok(Ordered { handled, faults })
    }
}

impl Handler<Numbered> for Ordered {
    async fn handle(
        &mut self,
        Numbered { producer, n, how }: Numbered,
        cx: &mut Context<Self>,
    ) -> Result<(), Self::Error> {
        {
            let last = &mut self.handled.lock()[producer];
            // A life that was cut off may come to this late; what it has in hand is lost anyhow.
            if cx.incarnation() >= last.0 {
                if n <= last.1 {
                    let fault = format!("{n} of {producer} after {} at {}", last.1, cx.path());
                    self.faults.lock().push(fault);
                }
                *last = (cx.incarnation(), n);
            }
        }
        match how {
            0 => Err("it fails"),
            1 => panic!("it panics"),
            2 => {
                cx.stop();
                Ok(())
            }
            3 => {
                std::thread::sleep(Duration::from_millis(3));
                Ok(())
            }
            4..20 => {
                tokio::task::yield_now().await;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// Eight threads tell, ask and publish as fast as they can while children fail, are cut off, stopped and started again.
fn hail(seed: u64, workers: usize) {
    let (done, is_done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let faults: Arc<parking_lot::Mutex<Vec<String>>> = Arc::default();
        let system = runtime.block_on(async {
            let pool = Supervisor::dynamic("pool")
                .restart_limit(u32::MAX, SECOND)
                .backoff(Backoff::none());
            let tree = Supervisor::one_for_one("app").child(pool);
            System::builder()
                .workers(workers)
                .start(tree)
                .await
                .unwrap()
        });
        let over = Arc::new(AtomicBool::new(false));
        let spec = {
            let faults = faults.clone();
            move |n: usize| {
                Ordered::spec(format!("k{n}"), (Handled::default(), faults.clone()))
                    .mailbox([1, 2, 16, 256][n])
                    .restart([Restart::Permanent, Restart::Transient][n % 2])
                    .stop_within(Duration::from_millis(1))
            }
        };
        let pool = system.supervisor("app/pool").unwrap();
        runtime.block_on(async {
            for n in 0..4 {
                pool.start_child(spec(n)).await.unwrap();
            }
        });
        let stopper = {
            let (over, pool) = (over.clone(), pool.clone());
            runtime.spawn(async move {
                let mut s = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
                while !over.load(Ordering::Relaxed) {
                    let r = rng(&mut s);
                    let n = (r >> 8) as usize % 4;
                    let _ = pool.stop_child(&format!("k{n}")).await;
                    tokio::time::sleep(Duration::from_micros(r >> 20 & 0x3ff)).await;
                    let _ = pool.start_child(spec(n)).await;
                }
                for n in 0..4 {
                    let _ = pool.start_child(spec(n)).await;
                }
            })
        };
        let producers: Vec<_> = (0..PRODUCERS)
            .map(|producer| {
                let (system, handle) = (system.clone(), runtime.handle().clone());
                std::thread::spawn(move || {
                    let mut s =
                        seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ ((producer as u64 + 1) * 7919);
                    let mut refs: [Option<ActorRef<Ordered>>; 4] = Default::default();
                    for n in 1..=1500 {
                        let r = rng(&mut s);
                        let to = (r >> 8) as usize % 4;
                        if refs[to].is_none() {
                            refs[to] = system.find(&format!("app/pool/k{to}")).ok();
                        }
                        let how = (r >> 16) % 500;
                        let message = Numbered { producer, n, how };
                        let brief = Duration::from_micros(r >> 30 & 0xfff);
                        if r & 7 == 0 {
                            system.publish(message);
                            continue;
                        }
                        let Some(it) = &refs[to] else { continue };
                        let is_gone = handle.block_on(async {
                            match r & 7 {
                                1 => it.ask(message).within(brief).await.is_err(),
                                2 => it.try_tell(message).is_err(),
                                3 => tokio::time::timeout(brief, it.tell(message)).await.is_err(),
                                _ => it.tell(message).within(brief).await.is_err(),
                            }
                        });
                        if is_gone {
                            refs[to] = None;
                        }
                        let ledger = system.ledger();
                        assert!(ledger.is_balanced(), "{ledger}");
                    }
                })
            })
            .collect();
        for producer in producers {
            producer.join().unwrap();
        }
        over.store(true, Ordering::Relaxed);
        runtime.block_on(async {
            stopper.await.unwrap();
            while system.ledger().queued > 0 {
                tokio::task::yield_now().await;
            }
            let at_rest = system.ledger();
            system.stop().await;
            let mut faults = faults.lock().clone();
            if !at_rest.is_balanced() || !system.ledger().is_balanced() {
                faults.push(format!("{at_rest} {}", system.ledger()));
            }
            done.send(faults).unwrap();
        });
    });
    let faults = is_done
        .recv_timeout(Duration::from_secs(60))
        .unwrap_or_else(|_| panic!("seed {seed}: it hangs, or a producer panicked"));
    assert!(
        faults.is_empty(),
        "seed {seed}, {workers} workers: {faults:?}"
    );
}

#[test]
fn in_a_storm_of_eight_producers_each_ones_messages_are_handled_in_order_and_once() {
    let storms = std::env::var("STORMS").map_or(1, |n| n.parse().unwrap());
    let first = std::env::var("SEED").map_or(1, |seed| seed.parse().unwrap());
    for seed in first..first + storms {
        for workers in [2, 4] {
            println!("SEED={seed} workers={workers}");
            hail(seed, workers);
        }
    }
}

/// What this process has in memory, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|n| n.parse().ok());
    pages.unwrap_or(0) * 4096
}

/// `ASKS=10000000` asks more, and then also weighs the process.
#[tokio::test(start_paused = true)]
async fn asks_whose_time_was_up_leave_nothing_and_their_late_replies_go_nowhere() {
    struct Late;
    #[derive(Debug)]
    struct Wanted(Arc<()>, Duration);
    impl Message for Wanted {
        type Reply = Arc<()>;
    }
    impl Actor for Late {
        type Args = ();
        type Error = Infallible;
        async fn start((): (), _: &mut Context<Self>) -> Result<Self, Infallible> {
            Ok(Late)
        }
    }
    impl Handler<Wanted> for Late {
        async fn handle(
            &mut self,
            Wanted(token, takes): Wanted,
            _: &mut Context<Self>,
        ) -> Result<Arc<()>, Infallible> {
            if !takes.is_zero() {
                tokio::time::sleep(takes).await;
            }
            Ok(token)
        }
    }
    let asks = std::env::var("ASKS")
        .ok()
        .map(|n| n.parse::<u64>().unwrap());
    let tree = Supervisor::one_for_one("app").child(Late::spec("it", ()).mailbox(4));
    let system = System::builder()
        .in_current_runtime()
        .start(tree)
        .await
        .unwrap();
    let it = system.find::<Late>("app/it").unwrap();
    let token = Arc::new(());
    let rounds = asks.unwrap_or(100_000) / 8;
    let mut after_a_tenth = 0;
    let millis = Duration::from_millis;
    for round in 0..rounds {
        // One is answered too late, four lie in the mailbox, three stand in line.
        let ask = || it.ask(Wanted(token.clone(), millis(2))).within(millis(1));
        let answers = tokio::join!(ask(), ask(), ask(), ask(), ask(), ask(), ask(), ask());
        let (a, b, c, d, e, f, g, h) = answers;
        assert!([a, b, c, d, e, f, g, h].iter().all(Result::is_err));
        if round == rounds / 10 {
            after_a_tenth = resident();
        }
    }
    tokio::time::sleep(SECOND).await;
    assert_eq!(
        Arc::strong_count(&token),
        1,
        "a question or a reply is still held"
    );
    it.ask(Wanted(token.clone(), Duration::ZERO)).await.unwrap();
    let ledger = system.ledger();
    assert!(ledger.is_balanced() && ledger.queued == 0, "{ledger}");
    assert_eq!(ledger.sent, rounds * 8 + 1);
    if asks.is_some() {
        let grown = resident().saturating_sub(after_a_tenth);
        println!(
            "{} asks, grown by {grown} bytes since a tenth of them",
            rounds * 8
        );
        assert!(grown < 4 << 20, "grown by {grown} bytes");
    }
}
