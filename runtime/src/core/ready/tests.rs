//! The queues by themselves: one thread after the other, and every interleaving of a few under loom.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize as Count;
use std::sync::atomic::Ordering::SeqCst;

use super::{Parked, Ready, Run, Runnable, Unpark};

/// Counts what happens to it, and does something when it runs. Lives as long as the model that made it.
struct Job {
    ran: Count,
    abandoned: Count,
    does: Box<dyn Fn() -> bool + Send + Sync>,
}

impl Job {
    fn new(does: impl Fn() -> bool + Send + Sync + 'static) -> Arc<Job> {
        Arc::new(Job {
            ran: Count::new(0),
            abandoned: Count::new(0),
            does: Box::new(does),
        })
    }

    fn idle() -> Arc<Job> {
        Job::new(|| false)
    }

    fn ready(self: &Arc<Self>) -> Runnable {
        // SAFETY: each test keeps its jobs until its pool is gone.
        unsafe { Runnable::new(&**self) }
    }

    fn ran(&self) -> usize {
        self.ran.load(SeqCst)
    }

    #[cfg(any(greenroom_loom, greenroom_shuttle))]
    fn is_done_with(&self) -> bool {
        self.ran() + self.abandoned.load(SeqCst) == 1
    }
}

impl Run for Job {
    fn run(&self, _: usize) -> bool {
        let again = (self.does)();
        self.ran.fetch_add(1, SeqCst);
        again
    }

    fn abandon(&self) {
        self.abandoned.fetch_add(1, SeqCst);
    }
}

#[cfg(not(any(greenroom_loom, greenroom_shuttle)))]
mod alone {
    use super::*;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Bell(Count);

    impl Unpark for Bell {
        fn unpark(&self) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    fn pool(workers: usize) -> Ready<Bell> {
        Ready::new((0..workers).map(|_| Bell::default()))
    }

    fn rung(ready: &Ready<Bell>, n: usize) -> usize {
        ready.unpark_of(n).0.load(SeqCst)
    }

    #[test]
    fn it_runs_in_the_order_of_arrival() {
        let ready = pool(1);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let jobs: Vec<_> = (0..3)
            .map(|n| {
                let seen = seen.clone();
                Job::new(move || {
                    seen.lock().unwrap().push(n);
                    false
                })
            })
            .collect();
        ready.be(0, || {
            for job in &jobs {
                ready.push(job.ready());
            }
            let owner = ready.here().unwrap();
            while owner.step(1) {}
        });
        assert_eq!(*seen.lock().unwrap(), [0, 1, 2]);
    }

    #[test]
    fn the_pinned_and_the_others_take_turns() {
        let ready = pool(1);
        let seen = Arc::new(Mutex::new(String::new()));
        let busy = |name| {
            let seen = seen.clone();
            Job::new(move || {
                seen.lock().unwrap().push(name);
                true
            })
        };
        let (free, pinned) = (busy('f'), busy('p'));
        ready.be(0, || {
            ready.push(free.ready());
            ready.push_pinned(0, pinned.ready());
            let owner = ready.here().unwrap();
            for _ in 0..6 {
                assert!(owner.step(1));
            }
        });
        assert_eq!(*seen.lock().unwrap(), "pfpfpf");
        assert_eq!(
            free.abandoned.load(SeqCst) + pinned.abandoned.load(SeqCst),
            2
        );
    }

    #[test]
    fn a_sleeper_is_woken_once() {
        let ready = pool(1);
        let jobs = [Job::idle(), Job::idle()];
        std::thread::scope(|scope| {
            ready.be(0, || {
                let owner = ready.here().unwrap();
                assert_eq!(owner.park(), Parked::Asleep);
                let foreign = || jobs.iter().for_each(|job| ready.push(job.ready()));
                scope.spawn(foreign).join().unwrap();
                assert_eq!(rung(&ready, 0), 1);
                owner.wake();
                while owner.step(1) {}
                assert_eq!(owner.park(), Parked::Asleep);
                ready.push(jobs[0].ready());
                assert_eq!(rung(&ready, 0), 2, "by its own thread, too");
            });
        });
        assert_eq!(jobs[1].ran(), 1);
    }

    #[test]
    fn dear_messages_are_shared_and_cheap_ones_are_not() {
        // What a thousand took that were handled, alone or beside others, where much of it is due to those.
        let cases = [
            (0, true, false),
            (50_000, true, false),
            (150_000, true, true),
            (400_000, false, false),
            (1_600_000, false, true),
        ];
        for (took, alone, is_shared) in cases {
            let ready = pool(2);
            let jobs: Vec<_> = (0..8).map(|_| Job::idle()).collect();
            let (parks, has_parked) = std::sync::mpsc::channel();
            let (leave, may_leave) = std::sync::mpsc::channel::<()>();
            let of = &ready;
            let sleeper = move || {
                of.be(1, || {
                    assert_eq!(of.here().unwrap().park(), Parked::Asleep);
                    parks.send(()).unwrap();
                    may_leave.recv().unwrap();
                });
            };
            std::thread::scope(|scope| {
                let has_left = scope.spawn(sleeper);
                has_parked.recv().unwrap();
                ready.be(0, || {
                    let owner = ready.here().unwrap();
                    owner.learn(took, 1_000, alone);
                    jobs.iter().for_each(|job| ready.push(job.ready()));
                    assert_eq!(rung(&ready, 1), usize::from(is_shared));
                    assert_eq!(ready.any_shared(), is_shared);
                    while owner.step(1) {}
                    leave.send(()).unwrap();
                    has_left.join().unwrap();
                });
            });
            assert!(jobs.iter().all(|job| job.ran() == 1));
        }
    }

    #[test]
    fn progress_counts_runs_and_tells_whether_one_is_under_way() {
        let ready = Arc::new(pool(1));
        let (inner, seen) = (ready.clone(), Arc::new(Mutex::new(None)));
        let note = seen.clone();
        let job = Job::new(move || {
            *note.lock().unwrap() = Some(inner.progress(0));
            false
        });
        ready.be(0, || {
            ready.push(job.ready());
            ready.here().unwrap().step(1);
        });
        let seen = seen.lock().unwrap().unwrap();
        assert!(seen.is_running && seen.runs == 1);
        let after = ready.progress(0);
        assert!(!after.is_running && after.runs == 1);
    }
}

#[cfg(greenroom_loom)]
mod models {
    use super::*;
    use loom::sync::{Arc as Shared, Notify};
    use loom::thread;

    struct Bell(Notify);

    impl Unpark for Bell {
        fn unpark(&self) {
            self.0.notify();
        }
    }

    type Pool = Shared<Ready<Bell>>;

    fn pool(workers: usize) -> Pool {
        Shared::new(Ready::new((0..workers).map(|_| Bell(Notify::new()))))
    }

    /// Tries every interleaving; of larger models those with at most so many preemptions, and of
    /// the largest those of them that it gets to in half a minute.
    fn model(preemptions: Option<usize>, body: impl Fn() + Sync + Send + 'static) {
        let mut builder = loom::model::Builder::new();
        if builder.preemption_bound.is_none() {
            builder.preemption_bound = preemptions;
        }
        builder.max_branches = 100_000;
        builder.max_duration = Some(std::time::Duration::from_secs(30));
        builder.check(body);
    }

    /// What the pool's task does: runs what is ready, sleeps when nothing is, leaves at the end.
    fn work(ready: &Pool, n: usize, spins: bool) {
        ready.be(n, || {
            let Some(owner) = ready.here() else { return };
            loop {
                owner.wake();
                while owner.step(1) {}
                match owner.park() {
                    Parked::Work => {}
                    Parked::Ended => return,
                    Parked::Asleep => {
                        if spins {
                            let mut left = 1;
                            owner.spin(|| {
                                left -= 1;
                                left >= 0
                            });
                        }
                        ready.unpark_of(n).0.wait();
                    }
                }
            }
        });
    }

    /// A job that ends the pool when `all` like it have run.
    fn last_of(all: usize, ready: &Pool, count: &Arc<Count>) -> Arc<Job> {
        let (ready, count) = (ready.clone(), count.clone());
        Job::new(move || {
            if count.fetch_add(1, SeqCst) + 1 == all {
                ready.end();
                (0..ready.workers()).for_each(|n| ready.unpark_of(n).0.notify());
            }
            false
        })
    }

    #[test]
    fn a_push_and_a_worker_that_parks() {
        for pinned in [false, true] {
            model(None, move || {
                let ready = pool(1);
                let job = last_of(1, &ready, &Arc::default());
                let worker = {
                    let ready = ready.clone();
                    thread::spawn(move || work(&ready, 0, false))
                };
                if pinned {
                    ready.push_pinned(0, job.ready());
                } else {
                    ready.push(job.ready());
                }
                worker.join().unwrap();
                assert_eq!(job.ran(), 1);
            });
        }
    }

    #[test]
    fn two_pushers_and_a_worker_that_parks() {
        model(Some(1), || {
            let ready = pool(1);
            let count = Arc::default();
            let jobs = [last_of(2, &ready, &count), last_of(2, &ready, &count)];
            let worker = {
                let ready = ready.clone();
                thread::spawn(move || work(&ready, 0, false))
            };
            let pusher = {
                let (ready, job) = (ready.clone(), jobs[0].clone());
                thread::spawn(move || ready.push(job.ready()))
            };
            ready.push(jobs[1].ready());
            pusher.join().unwrap();
            worker.join().unwrap();
            assert!(jobs.iter().all(|job| job.ran() == 1));
        });
    }

    #[test]
    fn a_push_and_a_worker_that_spins_before_it_sleeps() {
        // The other worker has no thread: it is awake, which lets this one spin.
        model(Some(3), || {
            let ready = pool(2);
            let job = last_of(1, &ready, &Arc::default());
            let worker = {
                let ready = ready.clone();
                thread::spawn(move || work(&ready, 0, true))
            };
            ready.push_pinned(0, job.ready());
            worker.join().unwrap();
            assert_eq!(job.ran(), 1);
        });
    }

    /// Blocks worker `n` until the last job has run elsewhere.
    fn block(ready: &Pool, n: usize) {
        while !ready.has_ended() {
            ready.unpark_of(n).0.wait();
        }
    }

    /// Becomes worker `n`, shares one job, and is blocked then until the pool ends.
    fn share(ready: &Pool, n: usize, job: &Arc<Job>, rest: &Arc<Job>) {
        ready.be(n, || {
            let Some(owner) = ready.here() else { return };
            ready.push(rest.ready());
            ready.push(job.ready());
            owner.share(0);
            block(ready, n);
        });
    }

    #[test]
    fn one_that_shares_and_one_that_searches() {
        for spins in [false, true] {
            model(Some(2), move || {
                let ready = pool(2);
                let (job, rest) = (last_of(1, &ready, &Arc::default()), Job::idle());
                let worker = {
                    let ready = ready.clone();
                    thread::spawn(move || work(&ready, 1, spins))
                };
                share(&ready, 0, &job, &rest);
                worker.join().unwrap();
                assert_eq!(job.ran(), 1);
                assert!(rest.is_done_with());
            });
        }
    }

    #[test]
    fn one_that_shares_twice_and_one_that_searches() {
        model(Some(2), || {
            let ready = pool(2);
            let count = Arc::default();
            let jobs = [last_of(2, &ready, &count), last_of(2, &ready, &count)];
            let rest = Job::idle();
            let worker = {
                let ready = ready.clone();
                thread::spawn(move || work(&ready, 1, false))
            };
            ready.be(0, || {
                let Some(owner) = ready.here() else { return };
                ready.push(rest.ready());
                for job in &jobs {
                    ready.push(job.ready());
                    owner.share(0);
                }
                block(&ready, 0);
            });
            worker.join().unwrap();
            assert!(jobs.iter().all(|job| job.ran() == 1));
            assert!(rest.is_done_with());
        });
    }

    #[test]
    fn one_that_searches_and_is_opened() {
        // Whoever opens it finds it without work or with what it has just found.
        model(Some(2), || {
            let ready = pool(2);
            let (job, rest) = (last_of(1, &ready, &Arc::default()), Job::idle());
            let worker = {
                let ready = ready.clone();
                thread::spawn(move || work(&ready, 1, false))
            };
            ready.be(0, || {
                let Some(owner) = ready.here() else { return };
                ready.push(rest.ready());
                ready.push(job.ready());
                owner.share(0);
                ready.open(1);
                block(&ready, 0);
            });
            worker.join().unwrap();
            assert_eq!(job.ran(), 1);
            assert!(rest.is_done_with());
        });
    }

    #[test]
    fn two_that_share_and_one_that_searches() {
        for spins in [false, true] {
            model(Some(1), move || {
                let ready = pool(3);
                let count = Arc::default();
                let jobs = [last_of(2, &ready, &count), last_of(2, &ready, &count)];
                let rests = [Job::idle(), Job::idle()];
                let worker = {
                    let ready = ready.clone();
                    thread::spawn(move || work(&ready, 2, spins))
                };
                let other = {
                    let (ready, job, rest) = (ready.clone(), jobs[1].clone(), rests[1].clone());
                    thread::spawn(move || share(&ready, 1, &job, &rest))
                };
                share(&ready, 0, &jobs[0], &rests[0]);
                other.join().unwrap();
                worker.join().unwrap();
                assert!(jobs.iter().all(|job| job.ran() == 1));
                assert!(rests.iter().all(|job| job.is_done_with()));
            });
        }
    }

    #[test]
    fn an_owner_at_its_queue_and_one_that_opens_it() {
        // The other worker has no thread, so the owner finds again what was moved.
        model(Some(3), || {
            let ready = pool(2);
            let jobs = [Job::idle(), Job::idle()];
            let opener = {
                let ready = ready.clone();
                thread::spawn(move || ready.open(0))
            };
            ready.be(0, || {
                let Some(owner) = ready.here() else { return };
                ready.push(jobs[0].ready());
                ready.push(jobs[1].ready());
                while owner.step(1) {}
                opener.join().unwrap();
                while owner.step(1) {}
            });
            assert!(jobs.iter().all(|job| job.ran() == 1));
        });
    }

    #[test]
    fn what_is_behind_a_blocked_run_goes_to_a_worker_that_parks() {
        model(Some(1), || {
            let ready = pool(2);
            let job = last_of(1, &ready, &Arc::default());
            let worker = {
                let ready = ready.clone();
                thread::spawn(move || work(&ready, 1, true))
            };
            let opener = {
                let ready = ready.clone();
                thread::spawn(move || ready.open(0))
            };
            // Opened before, after or amidst the push: it gets out.
            ready.be(0, || {
                ready.push(job.ready());
                block(&ready, 0);
            });
            opener.join().unwrap();
            worker.join().unwrap();
            assert_eq!(job.ran(), 1);
        });
    }

    #[test]
    fn a_push_and_the_end() {
        for pinned in [false, true] {
            model(Some(3), move || {
                let ready = pool(1);
                let job = Job::idle();
                let worker = {
                    let ready = ready.clone();
                    thread::spawn(move || work(&ready, 0, false))
                };
                let pusher = {
                    let (ready, job) = (ready.clone(), job.clone());
                    thread::spawn(move || {
                        if pinned {
                            ready.push_pinned(0, job.ready());
                        } else {
                            ready.push(job.ready());
                        }
                    })
                };
                ready.end();
                pusher.join().unwrap();
                worker.join().unwrap();
                assert!(job.is_done_with());
            });
        }
    }

    #[test]
    fn a_worker_that_pushes_and_one_that_leaves() {
        model(Some(3), || {
            let ready = pool(2);
            let jobs = [Job::idle(), Job::idle()];
            let other = {
                let ready = ready.clone();
                thread::spawn(move || ready.be(1, || {}))
            };
            ready.be(0, || {
                ready.push(jobs[0].ready());
                ready.push_pinned(1, jobs[1].ready());
            });
            other.join().unwrap();
            assert!(jobs.iter().all(|job| job.is_done_with()));
        });
    }
}
