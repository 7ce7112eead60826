//! The queues under many random schedules: workers that share, search, are opened and end.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize as Count;
use std::sync::atomic::Ordering::SeqCst;

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::sync::{Condvar, Mutex};
use shuttle::{Config, Runner, thread};

use super::{Parked, Ready, Run, Runnable, Unpark};

const SCHEDULES: usize = 10_000;

fn check(body: impl Fn() + Send + Sync + Clone + 'static) {
    fn run(scheduler: impl Scheduler + 'static, body: impl Fn() + Send + Sync + 'static) {
        Runner::new(scheduler, Config::new()).run(body);
    }
    let seed = std::env::var("SEED").map_or(1, |seed| seed.parse().unwrap_or(1));
    println!("SEED={seed}");
    run(
        RandomScheduler::new_from_seed(seed, SCHEDULES),
        body.clone(),
    );
    run(PctScheduler::new_from_seed(seed, 3, SCHEDULES), body);
}

#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    rings: Condvar,
}

impl Bell {
    fn wait(&self) {
        let mut rung = self.rung.lock().unwrap();
        while !*rung {
            rung = self.rings.wait(rung).unwrap();
        }
        *rung = false;
    }
}

impl Unpark for Bell {
    fn unpark(&self) {
        *self.rung.lock().unwrap() = true;
        self.rings.notify_one();
    }
}

type Pool = Arc<Ready<Bell>>;

/// Wants to be run so often; the last of all ends the pool.
struct Job {
    left: Count,
    ran: Count,
    abandoned: Count,
    pool: Pool,
    open: Arc<Count>,
}

impl Run for Job {
    fn run(&self, _: usize) -> bool {
        self.ran.fetch_add(1, SeqCst);
        thread::yield_now();
        let again = self.left.fetch_sub(1, SeqCst) > 1;
        if !again && self.open.fetch_sub(1, SeqCst) == 1 {
            self.pool.end();
        }
        again
    }

    fn abandon(&self) {
        self.abandoned.fetch_add(1, SeqCst);
    }
}

fn jobs(pool: &Pool, n: usize, each: usize) -> Vec<Arc<Job>> {
    let open = Arc::new(Count::new(n));
    let job = |_| {
        Arc::new(Job {
            left: Count::new(each),
            ran: Count::new(0),
            abandoned: Count::new(0),
            pool: pool.clone(),
            open: open.clone(),
        })
    };
    (0..n).map(job).collect()
}

fn ready(job: &Arc<Job>) -> Runnable {
    // SAFETY: each test keeps its jobs until its pool is gone.
    unsafe { Runnable::new(&**job) }
}

/// What the pool's task does; shares whatever it can, as where runs are dear.
fn work(pool: &Pool, n: usize, first: Vec<Arc<Job>>) {
    pool.be(n, || {
        let Some(owner) = pool.here() else { return };
        owner.learn(1_000_000, 1, true);
        for job in &first {
            pool.push(ready(job));
        }
        loop {
            owner.wake();
            while !pool.has_ended() && owner.step(1) {}
            match owner.park() {
                Parked::Work => {}
                Parked::Ended => return,
                Parked::Asleep => {
                    let mut left = 2;
                    owner.spin(|| {
                        left -= 1;
                        left >= 0
                    });
                    pool.unpark_of(n).wait();
                }
            }
        }
    });
}

/// Workers of whom the first has everything, a foreign thread that pushes more, and one who opens queues.
fn steal(workers: usize, opens: bool) {
    check(move || {
        let pool: Pool = Arc::new(Ready::new((0..workers).map(|_| Bell::default())));
        let jobs = jobs(&pool, 5, 2);
        let mut threads: Vec<_> = (0..workers)
            .map(|n| {
                let pool = pool.clone();
                let first = if n == 0 {
                    jobs[..3].to_vec()
                } else {
                    Vec::new()
                };
                thread::spawn(move || work(&pool, n, first))
            })
            .collect();
        if opens {
            let pool = pool.clone();
            threads.push(thread::spawn(move || {
                (0..workers).for_each(|n| pool.open(n))
            }));
        }
        pool.push(ready(&jobs[3]));
        pool.push_pinned(workers - 1, ready(&jobs[4]));
        for thread in threads {
            thread.join().unwrap();
        }
        for job in &jobs {
            assert_eq!(job.ran.load(SeqCst), 2, "lost, or run by two");
            assert_eq!(job.abandoned.load(SeqCst), 0);
        }
    });
}

#[test]
fn two_workers_share_and_search() {
    steal(2, false);
}

#[test]
fn three_workers_share_search_and_are_opened() {
    steal(3, true);
}
