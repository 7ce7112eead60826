//! The threads that actors run on: each an actix arbiter, with one task that runs what is ready there.
//!
//! A worker is an OS thread with a current-thread tokio runtime, a `LocalSet`
//! and an actix arbiter of its own; all workers of a pool are in one actix
//! `System`. So what an author's code may do on an arbiter (`spawn_local`,
//! `actix_rt::spawn`, timers, sockets) it may do in a handler, too.
//!
//! On each, one task drains the queues of [`core::ready`](crate::core::ready).
//! Its turns are short: after 256 runs or a millisecond it lets the other tasks
//! of its thread go on, and after a millisecond it also lets the runtime see to
//! timers and sockets; so these are served while the pool is saturated. The
//! clock is read after the first run of a turn, then after 1, 2, 4 ... 32 more
//! as long as these are short. The same readings say what a run takes, which
//! decides whether surplus is worth sharing.
//!
//! Before a thread sleeps in the kernel it looks for 5 microseconds whether
//! another worker has surplus: waking it would take longer than that.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use actix_rt::System;
use tokio::runtime::{Builder, Handle};
use tokio::task::coop;

use crate::core::ready::{Owner, Parked, Progress, Ready, Runnable, Unpark};

#[cfg(test)]
#[cfg(not(any(greenroom_loom, greenroom_shuttle)))]
mod tests;

/// A run handles so many messages before it is another's turn.
const BUDGET: usize = 128;
/// A turn of the worker's task is so many runs at most ...
const TURN: u32 = 256;
/// ... and about so long, if that is shorter.
const TURN_TIME: Duration = Duration::from_millis(1);
/// The inbox is looked at, and the clock read, at least once in so many runs.
const STRIDE: u32 = 32;
/// Strides that take longer than this become shorter.
const STRIDE_TIME: Duration = Duration::from_micros(50);
/// A search before sleep is so long.
const SPIN: Duration = Duration::from_micros(5);

thread_local! {
    /// Messages that were sent or handled on this thread since the clock was last read.
    static MESSAGES: Cell<u64> = const { Cell::new(0) };
}

/// Takes note that so many messages were sent or handled here.
#[inline(always)]
pub(crate) fn count_messages(messages: usize) {
    MESSAGES.set(MESSAGES.get().wrapping_add(messages as u64));
}

/// Wakes the task of a worker.
#[derive(Default)]
struct Task(OnceLock<Waker>);

impl Unpark for Task {
    fn unpark(&self) {
        // Set before the task first sleeps.
        if let Some(waker) = self.0.get() {
            waker.wake_by_ref();
        }
    }
}

/// A pool of workers; ended when the last clone is dropped.
#[derive(Clone)]
pub(crate) struct Pool(Arc<Inner>);

struct Inner {
    ready: Arc<Ready<Task>>,
    handles: Box<[Handle]>,
    next: AtomicUsize,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool")
            .field("workers", &self.workers())
            .finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.ready.end();
    }
}

impl Pool {
    /// Starts so many workers, at least one.
    ///
    /// # Errors
    /// If a thread or its runtime cannot be made; then none is left running.
    pub(crate) fn start(workers: usize) -> io::Result<Pool> {
        let workers = workers.max(1);
        let ready = Arc::new(Ready::new((0..workers).map(|_| Task::default())));
        let mut inner = Inner {
            ready,
            handles: Box::default(),
            next: AtomicUsize::new(0),
        };
        // From here on an early return drops `inner`, which ends the threads that were started.
        let mut handles = Vec::with_capacity(workers);
        let mut system = None;
        for n in 0..workers {
            let (ready, of) = (inner.ready.clone(), system.take());
            let (tell, hear) = mpsc::sync_channel(1);
            thread::Builder::new()
                .name(format!("greenroom-{n}"))
                .spawn(move || work(&ready, n, of, &tell))?;
            let gone = |_| io::Error::other("a worker's thread ended before it began");
            let (handle, its_system) = hear.recv().map_err(gone)??;
            handles.push(handle);
            system = Some(its_system);
        }
        inner.handles = handles.into();
        Ok(Pool(Arc::new(inner)))
    }

    /// Makes it run soon: on this worker if the calling thread is one of the pool's (run where woken), else through
    /// the inbox of a worker, which is woken only if parked.
    #[inline]
    pub(crate) fn schedule(&self, ready: Runnable) {
        self.0.ready.push(ready);
    }

    /// The same for one that has to run on worker `n` (pinned actors).
    pub(crate) fn schedule_on(&self, worker: usize, ready: Runnable) {
        self.0.ready.push_pinned(worker, ready);
    }

    /// Which worker of this pool the calling thread is.
    #[inline]
    pub(crate) fn here(&self) -> Option<usize> {
        self.0.ready.here().map(|owner| owner.index())
    }

    /// A tokio handle for timers, I/O and tasks: this worker's if called on one, else of each in turn.
    pub(crate) fn handle(&self) -> Handle {
        let next = || self.0.next.fetch_add(1, Ordering::Relaxed) % self.workers();
        self.0.handles[self.here().unwrap_or_else(next)].clone()
    }

    pub(crate) fn workers(&self) -> usize {
        self.0.ready.workers()
    }

    /// How much a worker has done, and whether it is at it now.
    pub(crate) fn progress(&self, worker: usize) -> Progress {
        self.0.ready.progress(worker)
    }

    /// Opens the private queue of a worker that is blocked inside one run: what is ready there goes to the others.
    pub(crate) fn open(&self, worker: usize) {
        self.0.ready.open(worker);
    }

    /// Ends the threads; what is still ready is abandoned. Waits for nothing.
    pub(crate) fn end(&self) {
        self.0.ready.end();
    }
}

/// The life of a worker's thread.
fn work(
    ready: &Arc<Ready<Task>>,
    n: usize,
    of: Option<System>,
    tell: &mpsc::SyncSender<io::Result<(Handle, System)>>,
) {
    // The queues hold the waker of the worker's task, which holds the runtime, which holds this: a
    // circle, were it not weak.
    let hook = Arc::downgrade(ready);
    let runtime = Builder::new_current_thread()
        .enable_all()
        .on_thread_park(move || {
            if let Some(ready) = hook.upgrade() {
                before_sleep(&ready);
            }
        })
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            // Nobody hears it only if the starting thread is gone.
            let _ = tell.send(Err(error));
            return;
        }
    };
    let handle = runtime.handle().clone();
    // What makes this thread an arbiter. A `System` is made with each; all but the first's are
    // set aside for the first. None of them is run, so stopping it does not stop a worker.
    let arbiter = System::with_tokio_rt(|| runtime);
    let system = of.unwrap_or_else(System::current);
    System::set_current(system.clone());
    ready.be(n, || {
        if tell.send(Ok((handle, system))).is_err() {
            return;
        }
        arbiter.block_on(async {
            let mut turn = Turn::default();
            let ready = ready.clone();
            let task = coop::unconstrained(poll_fn(move |cx| turn.take(&ready, n, cx)));
            // An error is a task that was cancelled: the runtime is going away.
            let _ = tokio::task::spawn_local(task).await;
        });
    });
}

/// Called when the runtime has nothing to do and is about to wait for events.
fn before_sleep(ready: &Ready<Task>) {
    if let Some(owner) = ready.here() {
        let mut end = None;
        owner.spin(|| {
            let now = Instant::now();
            now < *end.get_or_insert(now + SPIN)
        });
    }
}

/// What the task of a worker remembers from one turn to the next.
#[derive(Default)]
struct Turn {
    /// When timers and sockets were last seen to, if this has not slept since.
    served: Option<Instant>,
}

impl Turn {
    fn take(&mut self, ready: &Ready<Task>, n: usize, cx: &mut Context<'_>) -> Poll<()> {
        let Some(owner) = ready.here() else {
            return Poll::Ready(());
        };
        ready.unpark_of(n).0.get_or_init(|| cx.waker().clone());
        owner.wake();
        // No run panics but by a bug of the runtime; even so the others go on.
        let drained = catch_unwind(AssertUnwindSafe(|| self.drain(ready, &owner, cx)));
        drained.unwrap_or_else(|_| {
            owner.recover();
            cx.waker().wake_by_ref();
            Poll::Pending
        })
    }

    fn drain(
        &mut self,
        ready: &Ready<Task>,
        owner: &Owner<'_, Task>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let mut ran = 0;
        let mut stride = 1;
        let mut last: Option<Instant> = None;
        let mut was_alone = false;
        loop {
            for _ in 0..stride {
                if owner.step(BUDGET) {
                    continue;
                }
                match owner.park() {
                    Parked::Work => {}
                    Parked::Asleep => {
                        self.served = None;
                        return Poll::Pending;
                    }
                    Parked::Ended => return Poll::Ready(()),
                }
            }
            ran += stride;
            let now = Instant::now();
            let messages = MESSAGES.replace(0);
            if let Some(last) = last {
                let took = now - last;
                // What a message takes, and not a run, which may handle many: a batch of cheap ones
                // is best left where its sender is.
                let messages = messages.max(u64::from(stride));
                let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
                owner.learn(nanos, messages, was_alone && owner.is_alone());
                stride = if took < STRIDE_TIME {
                    (stride * 2).min(STRIDE)
                } else {
                    (stride / 4).max(1)
                };
            }
            last = Some(now);
            was_alone = owner.is_alone();
            if ready.has_ended() {
                return Poll::Ready(());
            }
            owner.look();
            if now - *self.served.get_or_insert(now) >= TURN_TIME {
                self.served = Some(now);
                owner.remind();
                // Woken again when the runtime has looked for events.
                return pin!(coop::unconstrained(tokio::task::yield_now())).poll(cx);
            }
            if ran >= TURN {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }
}
