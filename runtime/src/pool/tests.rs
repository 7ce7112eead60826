//! The pool on real threads: what has to run runs, where it may, and nothing waits for what is blocked.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Pool, Progress};
use crate::core::ready::{Run, Runnable};

type Action = Box<dyn FnMut(&Arc<Cell>) -> bool + Send>;

/// Like an actor's cell: runs as often as it was told, and is in one queue at most.
///
/// Each test holds its cells until its pool has let go of them.
struct Cell {
    told: AtomicUsize,
    ran: AtomicUsize,
    abandoned: AtomicUsize,
    action: Mutex<Action>,
    /// Keeps itself alive while it is in a queue.
    itself: Mutex<Option<Arc<Cell>>>,
}

impl Cell {
    fn new(action: impl FnMut(&Arc<Cell>) -> bool + Send + 'static) -> Arc<Cell> {
        Arc::new(Cell {
            told: AtomicUsize::new(0),
            ran: AtomicUsize::new(0),
            abandoned: AtomicUsize::new(0),
            action: Mutex::new(Box::new(action)),
            itself: Mutex::new(None),
        })
    }

    /// Tells it once more; what has to be scheduled if it was idle.
    fn told(self: &Arc<Self>) -> Option<Runnable> {
        if self.told.fetch_add(1, SeqCst) > 0 {
            return None;
        }
        *self.itself.lock().unwrap() = Some(self.clone());
        // SAFETY: `itself` keeps it alive until it has run or is abandoned.
        Some(unsafe { Runnable::new(&**self) })
    }

    fn tell(self: &Arc<Self>, pool: &Pool) {
        if let Some(ready) = self.told() {
            pool.schedule(ready);
        }
    }

    fn tell_on(self: &Arc<Self>, pool: &Pool, worker: usize) {
        if let Some(ready) = self.told() {
            pool.schedule_on(worker, ready);
        }
    }
}

impl Run for Cell {
    fn run(&self, _: usize) -> bool {
        let itself = self
            .itself
            .lock()
            .unwrap()
            .take()
            .expect("it is in one queue");
        let again = self.action.lock().unwrap()(&itself);
        self.ran.fetch_add(1, SeqCst);
        if self.told.fetch_sub(1, SeqCst) > 1 {
            *self.itself.lock().unwrap() = Some(itself);
            return true;
        }
        assert!(!again, "what wants to run again tells itself");
        false
    }

    fn abandon(&self) {
        let itself = self.itself.lock().unwrap().take();
        self.abandoned.fetch_add(1, SeqCst);
        drop(itself);
    }
}

fn pool(workers: usize) -> Pool {
    Pool::start(workers).expect("threads can be had")
}

const PATIENCE: Duration = Duration::from_secs(20);

fn hear<T>(from: &Receiver<T>) -> T {
    from.recv_timeout(PATIENCE).expect("it runs soon")
}

/// Waits for what has no event of its own to wait for.
fn until(what: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !what() {
        assert!(Instant::now() < end, "it happens soon");
        thread::yield_now();
    }
}

/// A cell that blocks its worker until the sender is dropped, and says which one it is.
fn blocker(pool: &Pool) -> (Arc<Cell>, Receiver<usize>, Sender<()>) {
    let (says, said) = channel();
    let (release, released) = channel::<()>();
    let pool = pool.clone();
    let cell = Cell::new(move |_| {
        says.send(pool.here().expect("on a worker")).unwrap();
        let _ = released.recv();
        false
    });
    (cell, said, release)
}

#[test]
fn all_that_foreign_threads_schedule_runs() {
    let pool = pool(2);
    let cells: Vec<_> = (0..100).map(|_| Cell::new(|_| false)).collect();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..200 {
                    for cell in &cells {
                        cell.tell(&pool);
                    }
                }
            });
        }
    });
    until(|| cells.iter().all(|cell| cell.ran.load(SeqCst) == 800));
    pool.end();
}

#[test]
fn what_a_run_wakes_runs_on_the_same_worker() {
    let pool = pool(2);
    let (says, said) = channel();
    let inner = pool.clone();
    let second = Cell::new(move |_| {
        says.send((inner.here(), thread::current().name().map(str::to_owned)))
            .unwrap();
        false
    });
    let (says, first_said) = channel();
    let inner = pool.clone();
    let first = Cell::new(move |_| {
        second.tell(&inner);
        says.send(inner.here()).unwrap();
        false
    });
    first.tell(&pool);
    let on = hear(&first_said);
    let (then, name) = hear(&said);
    assert_eq!(then, on);
    assert_eq!(name, Some(format!("greenroom-{}", on.unwrap())));
    assert_eq!(pool.here(), None);
    pool.end();
}

#[test]
fn surplus_spreads_when_runs_are_long() {
    let pool = pool(2);
    let seen = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let cells: Vec<_> = (0..64)
        .map(|_| {
            let (pool, seen) = (pool.clone(), seen.clone());
            Cell::new(move |_| {
                seen[pool.here().unwrap()].fetch_add(1, SeqCst);
                let end = Instant::now() + Duration::from_millis(1);
                while Instant::now() < end {
                    std::hint::spin_loop();
                }
                false
            })
        })
        .collect();
    let (inner, all) = (pool.clone(), cells.clone());
    let first = Cell::new(move |_| {
        for cell in &all {
            cell.tell(&inner);
        }
        false
    });
    first.tell(&pool);
    until(|| cells.iter().all(|cell| cell.ran.load(SeqCst) == 1));
    for n in 0..2 {
        assert!(seen[n].load(SeqCst) > 0, "{seen:?}");
    }
    pool.end();
}

#[test]
fn a_blocked_worker_strands_nobody_once_opened() {
    let pool = pool(2);
    let (says, said) = channel();
    let other = |name: &'static str| {
        let (says, pool) = (says.clone(), pool.clone());
        Cell::new(move |_| {
            says.send((name, pool.here())).unwrap();
            false
        })
    };
    let (before, after) = (other("before"), other("after"));
    let (blocks, blocked) = channel();
    let (go_on, goes_on) = channel::<()>();
    let (inner, first, second) = (pool.clone(), before.clone(), after.clone());
    let cell = Cell::new(move |_| {
        first.tell(&inner);
        blocks.send(inner.here().unwrap()).unwrap();
        goes_on.recv().unwrap();
        second.tell(&inner);
        blocks.send(0).unwrap();
        let _ = goes_on.recv();
        false
    });
    cell.tell(&pool);
    let worker = hear(&blocked);
    assert!(pool.progress(worker).is_running);
    assert!(
        said.try_recv().is_err(),
        "nobody takes the last one that is ready"
    );
    pool.open(worker);
    assert_eq!(hear(&said), ("before", Some(1 - worker)));
    // What becomes ready there while it is still blocked finds its way, too.
    go_on.send(()).unwrap();
    hear(&blocked);
    assert_eq!(hear(&said), ("after", Some(1 - worker)));
    drop(go_on);
    until(|| {
        pool.progress(worker)
            == Progress {
                runs: 1,
                is_running: false,
            }
    });
    pool.end();
}

#[test]
fn pinned_stays_on_its_worker() {
    let pool = pool(2);
    for worker in 0..2 {
        let (says, said) = channel();
        let inner = pool.clone();
        let cell = Cell::new(move |_| {
            says.send(inner.here()).unwrap();
            false
        });
        for _ in 0..100 {
            cell.tell_on(&pool, worker);
            assert_eq!(hear(&said), Some(worker));
        }
        // Nor does it leave when its worker is blocked and opened.
        let (block, blocked, release) = blocker(&pool);
        block.tell_on(&pool, worker);
        assert_eq!(hear(&blocked), worker);
        cell.tell_on(&pool, worker);
        pool.open(worker);
        let (free, freed, go) = blocker(&pool);
        free.tell(&pool);
        assert_eq!(
            hear(&freed),
            1 - worker,
            "the other has taken what was open"
        );
        drop(go);
        assert!(said.try_recv().is_err());
        drop(release);
        assert_eq!(hear(&said), Some(worker));
    }
    pool.end();
}

#[test]
fn the_end_abandons_what_is_left_and_waits_for_nobody() {
    let pool = pool(2);
    let (cell, blocked, release) = blocker(&pool);
    cell.tell_on(&pool, 0);
    hear(&blocked);
    let pinned = Cell::new(|_| false);
    pinned.tell_on(&pool, 0);
    pool.end();
    pool.end();
    let late = Cell::new(|_| false);
    late.tell(&pool);
    until(|| late.abandoned.load(SeqCst) + late.ran.load(SeqCst) == 1);
    assert_eq!(pinned.abandoned.load(SeqCst), 0, "its worker does that");
    drop(release);
    until(|| pinned.abandoned.load(SeqCst) + pinned.ran.load(SeqCst) == 1);
}

#[test]
fn the_end_lets_go_of_what_waits_behind_a_blocked_run() {
    let pool = pool(2);
    let waits = Cell::new(|_| false);
    let (says, said) = channel();
    let (release, released) = channel::<()>();
    let (inner, behind) = (pool.clone(), waits.clone());
    let cell = Cell::new(move |_| {
        behind.tell(&inner);
        says.send(()).unwrap();
        let _ = released.recv();
        false
    });
    cell.tell(&pool);
    hear(&said);
    pool.end();
    until(|| waits.abandoned.load(SeqCst) == 1);
    drop(release);
}

#[test]
fn the_end_may_come_from_a_worker_and_from_the_last_clone() {
    let pool = pool(2);
    let (says, said) = channel();
    let mut inner = Some(pool.clone());
    let cell = Cell::new(move |_| {
        let pool = inner.take().unwrap();
        pool.end();
        drop(pool);
        says.send(()).unwrap();
        false
    });
    cell.tell(&pool);
    drop(pool);
    hear(&said);
}

#[test]
fn abandoning_may_make_others_ready_without_end() {
    struct Chain {
        next: Mutex<Option<Box<Chain>>>,
        pool: Pool,
        done: SyncSender<()>,
    }
    impl Run for Chain {
        fn run(&self, _: usize) -> bool {
            self.abandon();
            false
        }
        fn abandon(&self) {
            match self.next.lock().unwrap().take() {
                // SAFETY: leaked.
                Some(next) => self
                    .pool
                    .schedule(unsafe { Runnable::new(&*Box::leak(next)) }),
                None => self.done.send(()).unwrap(),
            }
        }
    }
    let pool = pool(2);
    pool.end();
    let (done, is_done) = sync_channel(1);
    let mut next = None;
    for _ in 0..100_000 {
        let (pool, done) = (pool.clone(), done.clone());
        let chain = Chain {
            next: Mutex::new(next),
            pool,
            done,
        };
        next = Some(Box::new(chain));
    }
    // SAFETY: leaked.
    pool.schedule(unsafe { Runnable::new(&*Box::leak(next.unwrap())) });
    hear(&is_done);
}

#[test]
fn timers_and_sockets_are_served_while_it_is_saturated() {
    let pool = pool(1);
    let stop = Arc::new(AtomicBool::new(false));
    let cells: Vec<_> = (0..8)
        .map(|_| {
            let (pool, stop) = (pool.clone(), stop.clone());
            Cell::new(move |cell| {
                if !stop.load(SeqCst) {
                    cell.tell(&pool);
                }
                false
            })
        })
        .collect();
    for cell in &cells {
        cell.tell(&pool);
    }
    let (says, said) = channel();
    let served = says.clone();
    pool.handle().spawn(async move {
        tokio::time::sleep(Duration::from_millis(5)).await;
        says.send("timer").unwrap();
    });
    assert_eq!(hear(&said), "timer");
    pool.handle().spawn(async move {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let there = listener.local_addr().unwrap();
        let client = tokio::spawn(async move {
            let mut client = tokio::net::TcpStream::connect(there).await.unwrap();
            client.write_all(b"hello").await.unwrap();
        });
        let (mut server, _) = listener.accept().await.unwrap();
        let mut bytes = [0; 5];
        server.read_exact(&mut bytes).await.unwrap();
        client.await.unwrap();
        served.send("socket").unwrap();
    });
    assert_eq!(hear(&said), "socket");
    stop.store(true, SeqCst);
    until(|| cells.iter().all(|cell| cell.told.load(SeqCst) == 0));
    pool.end();
}

#[test]
fn a_task_of_a_worker_wakes_the_worker() {
    let pool = pool(2);
    let (says, said) = channel();
    let inner = pool.clone();
    let cell = Cell::new(move |_| {
        let says = says.clone();
        // Works, since a worker is an arbiter.
        actix_rt::spawn(async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            says.send(()).unwrap();
        });
        assert!(inner.here().is_some());
        false
    });
    let (inner, told) = (pool.clone(), cell.clone());
    pool.handle().spawn(async move {
        assert!(inner.here().is_some());
        tokio::time::sleep(Duration::from_millis(1)).await;
        told.tell(&inner);
    });
    hear(&said);
    pool.end();
}

#[test]
fn two_hundred_pools_come_and_go() {
    for _ in 0..200 {
        let pool = pool(2);
        let (says, said) = channel();
        let cell = Cell::new(move |_| {
            says.send(()).unwrap();
            false
        });
        cell.tell(&pool);
        hear(&said);
        drop(pool);
    }
}

#[test]
fn two_pools_do_not_mix() {
    let (one, two) = (pool(1), pool(2));
    let (says, said) = channel();
    let (inner_one, inner_two) = (one.clone(), two.clone());
    let second = Cell::new(move |_| {
        says.send((inner_one.here().is_some(), inner_two.here().is_some()))
            .unwrap();
        false
    });
    let (of_two, told) = (two.clone(), second.clone());
    let first = Cell::new(move |_| {
        told.tell(&of_two);
        false
    });
    first.tell(&one);
    assert_eq!(hear(&said), (false, true));
    one.end();
    two.end();
}

#[tokio::test(flavor = "current_thread")]
async fn it_starts_inside_a_runtime_of_somebody_else() {
    let pool = pool(2);
    let (says, said) = channel();
    let cell = Cell::new(move |_| {
        says.send(()).unwrap();
        false
    });
    cell.tell(&pool);
    hear(&said);
}

#[test]
fn a_run_that_panics_does_not_take_its_worker_along() {
    let pool = pool(1);
    let (says, said) = channel();
    let cell = Cell::new(move |_| panic!("as it should"));
    cell.tell(&pool);
    let next = Cell::new(move |_| {
        says.send(()).unwrap();
        false
    });
    next.tell(&pool);
    hear(&said);
    until(|| !pool.progress(0).is_running);
    pool.end();
}

#[test]
fn many_threads_lose_nothing() {
    let rounds = if cfg!(debug_assertions) {
        5_000
    } else {
        20_000
    };
    let pool = pool(3);
    let cells: Arc<Vec<Arc<Cell>>> = Arc::new((0..32).map(|_| Cell::new(|_| false)).collect());
    // Half of the cells are also told by runs of others.
    let chained: Vec<_> = (0..32)
        .map(|n| {
            let (pool, cells) = (pool.clone(), cells.clone());
            Cell::new(move |_| {
                cells[n].tell(&pool);
                false
            })
        })
        .collect();
    let begin = Barrier::new(5);
    thread::scope(|scope| {
        for t in 0..4 {
            let (pool, chained, begin) = (&pool, &chained, &begin);
            scope.spawn(move || {
                begin.wait();
                for n in 0..rounds {
                    chained[(n * 7 + t) % 32].tell(pool);
                }
            });
        }
        begin.wait();
        for n in 0..rounds / 10 {
            pool.open(n % 3);
        }
    });
    let all = |cells: &[Arc<Cell>]| {
        cells
            .iter()
            .map(|cell| cell.ran.load(SeqCst))
            .sum::<usize>()
    };
    until(|| all(&cells) == 4 * rounds);
    assert_eq!(all(&chained), 4 * rounds);
    pool.end();
}
