//! What is ready to run: a private queue for each worker, opened only when another has nothing to do.
//!
//! **The queues.** A worker owns a `private` queue, which it pushes to and pops
//! from without a read-modify-write, and a `pinned` one that nobody else ever
//! sees. Other threads reach it through its `inbox`. When a sibling has nothing
//! to do and moving pays (the messages here are dear, or their backlog is long),
//! the owner moves the newer half of its private queue to the `shared` part,
//! which whoever searches takes from; what nobody took it takes back itself.
//! The one that the owner is about to run is never moved.
//!
//! **What pays.** A message is judged, sent or handled, and not a run, which may
//! have many: a publisher's run is dear, its messages are not, and their readers
//! are best left where it is. What they take is learnt while all other workers
//! have nothing to do. Beside others the caches are elsewhere and every message
//! looks dear, so that work which was torn apart once would stay so: there an
//! eighth of the time counts, and it can only raise the cost.
//!
//! **Opening.** A worker that is stuck inside one run cannot share. So whoever
//! notices may [`open`](Ready::open) it, by the protocol of `touching` and
//! `seized`: the owner marks that it touches its private queue, passes the light
//! side of the fence and looks whether the queue is seized; the opener marks it
//! seized, passes the heavy side, and waits until it is not touched. One of the
//! two sees the other. The opener does all of this under the lock of the shared
//! part; so the owner, too, may reach its private queue under that lock, and
//! does so while it is seized. It stays seized until the owner asks for the next.
//!
//! **Sleeping.** `state` of a worker is `AWAKE`, `PARKED` or `SENT`, and leaves
//! `PARKED` by a swap or an exchange alone, so that exactly one thread wakes it.
//! A worker that parks stores `PARKED`, passes a full fence, and looks at every
//! inbox and shared part that concerns it once more; whoever adds to one of
//! those passes a full fence between that and its look at `state`. Of the two
//! fences one is first in the total order of them, so either the parker sees
//! what was added or the other sees it parked. The bit `ended` works the same way.
//!
//! **Searching.** At most one worker is sent for or spins for surplus. Whoever
//! shares first claims the token `searching`, and where somebody has it wakes
//! nobody. The token is handed over with `SENT`, so no count can leak. Whoever
//! gives it back passes a full fence and looks again for surplus and for
//! somebody parked: whoever relied on the token had added before its own fence.
//! The token only saves wake-ups. Opening a queue and [`remind`](Owner::remind)
//! do without it, so a worker that was sent for and is held up strands nothing.
//!
//! **Bounds.** A cell is in at most one queue at a time (it schedules itself only
//! when it was not scheduled), so no queue here is longer than there are live
//! cells.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;

use super::fence::heavy;
use super::lock::Lock;
use super::prefetch::prefetch;
use super::sync::{
    AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering, UnsafeCell, fence, relax,
};

mod line;
mod owner;
#[cfg(test)]
#[cfg(greenroom_shuttle)]
mod shuttle_tests;
#[cfg(test)]
mod tests;

use line::{AWAKE, Apart, Inbox, Kept, Line, Others, Own, PARKED, SENT};
pub(crate) use owner::{Owner, Parked};

/// Something that a worker can run.
pub(crate) trait Run: Send + Sync {
    /// Runs for at most `budget` messages; true if it wants to be run again.
    fn run(&self, budget: usize) -> bool;
    /// Asked of one that will be run soon, and whose own first lines are there: fetch what it will use.
    fn prefetch(&self) {}
    /// What it is called, and which of that name it is, for whoever watches.
    fn name(&self) -> (&str, u64) {
        ("", 0)
    }
    /// Asked of one that is still ready when the pool has ended: let go of it.
    ///
    /// Of a pinned one this is asked on its own worker while that lives.
    fn abandon(&self);
}

/// How a worker that sleeps is woken; called at most once for each time that it went to sleep.
pub(crate) trait Unpark: Send + Sync {
    fn unpark(&self);
}

/// A pointer to a [`Run`] that is ready: the right and the duty to run it or to abandon it, once.
#[must_use = "what is ready has to be scheduled"]
pub(crate) struct Runnable(NonNull<dyn Run>);

// SAFETY: it points to something that is `Send` and `Sync`, and whoever made it vouches for its life.
unsafe impl Send for Runnable {}

impl Runnable {
    /// # Safety
    /// `run` has to live until the call of `run` that answers false, or the call of `abandon`, has returned.
    #[inline]
    pub(crate) unsafe fn new(run: &dyn Run) -> Self {
        let run = NonNull::from(run);
        // SAFETY: only the lifetime of the trait object changes; the caller vouches for it.
        Runnable(unsafe {
            std::mem::transmute::<NonNull<dyn Run + '_>, NonNull<dyn Run + 'static>>(run)
        })
    }

    #[inline]
    pub(crate) fn run(&self, budget: usize) -> bool {
        // SAFETY: it lives by the promise of `new`: the call that answers false is the last.
        unsafe { self.0.as_ref() }.run(budget)
    }

    pub(crate) fn name(&self) -> (&str, u64) {
        // SAFETY: it lives by the promise of `new`.
        unsafe { self.0.as_ref() }.name()
    }

    /// Has what it points to fetched, when it is the next but one.
    #[inline(always)]
    fn prefetch_first(&self) {
        prefetch(self.0.as_ptr().cast_const().cast::<u8>(), 4);
    }

    /// Has what that uses fetched, when it is the next.
    #[inline(always)]
    fn prefetch_all(&self) {
        // SAFETY: it lives by the promise of `new`.
        unsafe { self.0.as_ref() }.prefetch();
    }

    pub(crate) fn abandon(self) {
        // SAFETY: it lives by the promise of `new`: this is the last call.
        unsafe { self.0.as_ref() }.abandon();
    }
}

/// How much a worker has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// How many runs it has begun.
    pub(crate) runs: u64,
    /// Is it inside one now?
    pub(crate) is_running: bool,
}

/// What is abandoned, one after the other: letting go of one may make others ready, without end.
#[derive(Default)]
struct Late {
    queue: VecDeque<Runnable>,
    is_busy: bool,
}

/// The queues of all workers of one pool.
pub(crate) struct Ready<U> {
    lines: Box<[Line<U>]>,
    /// How many workers have nothing to do; each counts itself.
    wanting: Apart<AtomicUsize>,
    searching: Apart<AtomicBool>,
    ended: AtomicBool,
    swept: AtomicBool,
    late: Lock<Late>,
}

/// Which worker of which pool the calling thread is.
struct Here {
    pool: std::cell::Cell<*const ()>,
    line: std::cell::Cell<*const ()>,
    /// Where a thread that is no worker prefers to put what it wakes, plus one.
    prefers: std::cell::Cell<usize>,
}

impl Here {
    const fn new() -> Self {
        Here {
            pool: std::cell::Cell::new(std::ptr::null()),
            line: std::cell::Cell::new(std::ptr::null()),
            prefers: std::cell::Cell::new(0),
        }
    }
}

#[cfg(not(any(greenroom_loom, greenroom_shuttle)))]
thread_local! {
    static HERE: Here = const { Here::new() };
}

#[cfg(greenroom_loom)]
loom::thread_local! {
    static HERE: Here = Here::new();
}

#[cfg(greenroom_shuttle)]
shuttle::thread_local! {
    static HERE: Here = Here::new();
}

#[cfg(not(any(greenroom_loom, greenroom_shuttle)))]
fn preference(here: &Here) -> usize {
    static THREADS: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    if here.prefers.get() == 0 {
        here.prefers
            .set(THREADS.fetch_add(1, Ordering::Relaxed) + 1);
    }
    here.prefers.get() - 1
}

#[cfg(any(greenroom_loom, greenroom_shuttle))]
fn preference(_: &Here) -> usize {
    0
}

impl<U: Unpark> Ready<U> {
    /// As many workers as there are ways to wake one.
    pub(crate) fn new(unparks: impl IntoIterator<Item = U>) -> Self {
        super::fence::prepare();
        let line = |unpark| Line {
            own: Apart(Own {
                touching: AtomicBool::new(false),
                seized: AtomicBool::new(false),
                private: UnsafeCell::new(VecDeque::new()),
                kept: UnsafeCell::new(Kept {
                    pinned: VecDeque::new(),
                    pinned_next: false,
                    wanting: false,
                    carried: Vec::new(),
                    time: 0,
                    messages: 0,
                }),
                progress: AtomicU64::new(0),
                cost: AtomicU64::new(0),
            }),
            others: Apart(Others {
                state: AtomicU8::new(AWAKE),
                taken: AtomicBool::new(false),
                inbox: Lock::new(Inbox::default()),
                inbox_len: AtomicUsize::new(0),
                shared: Lock::new(VecDeque::new()),
                shared_len: AtomicUsize::new(0),
            }),
            unpark,
        };
        Ready {
            lines: unparks.into_iter().map(line).collect(),
            wanting: Apart(AtomicUsize::new(0)),
            searching: Apart(AtomicBool::new(false)),
            ended: AtomicBool::new(false),
            swept: AtomicBool::new(false),
            late: Lock::new(Late::default()),
        }
    }

    pub(crate) fn workers(&self) -> usize {
        self.lines.len()
    }

    pub(crate) fn unpark_of(&self, worker: usize) -> &U {
        &self.lines[worker].unpark
    }

    pub(crate) fn progress(&self, worker: usize) -> Progress {
        let progress = self.lines[worker].own.progress.load(Ordering::Relaxed);
        Progress {
            runs: progress.div_ceil(2),
            is_running: progress % 2 == 1,
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// Calls `body` as worker `n`. When it returns the pool has ended, and what was ready here is abandoned.
    ///
    /// # Panics
    /// If a thread is that worker already, or this thread is a worker.
    pub(crate) fn be<R>(&self, n: usize, body: impl FnOnce() -> R) -> R {
        struct Leave<'a, U: Unpark>(&'a Ready<U>, usize);
        impl<U: Unpark> Drop for Leave<'_, U> {
            fn drop(&mut self) {
                self.0.leave(self.1);
            }
        }
        let line = &self.lines[n];
        let was_taken = line.others.taken.swap(true, Ordering::AcqRel);
        assert!(!was_taken, "a worker is one thread, once");
        HERE.with(|here| {
            assert!(here.pool.get().is_null(), "a thread is one worker");
            here.pool.set(std::ptr::from_ref(self).cast());
            here.line.set(std::ptr::from_ref(line).cast());
        });
        let _leave = Leave(self, n);
        body()
    }

    /// This thread as a worker of this pool.
    #[inline(always)]
    pub(crate) fn here(&self) -> Option<Owner<'_, U>> {
        HERE.with(|here| {
            if !std::ptr::eq(here.pool.get(), std::ptr::from_ref(self).cast()) {
                return None;
            }
            // SAFETY: `be` set both for as long as its borrow of this very pool lasts; so the
            // pointer is to one of its lines, of the type that it was made from.
            let line = unsafe { &*here.line.get().cast::<Line<U>>() };
            Some(Owner {
                ready: self,
                line,
                only_here: PhantomData,
            })
        })
    }

    /// Makes it run soon: here if this thread is a worker, else on one that is awake if there is one.
    #[inline]
    pub(crate) fn push(&self, ready: Runnable) {
        match self.here() {
            Some(owner) => owner.push(ready),
            None => self.send(ready),
        }
    }

    /// Makes it run soon on worker `n`, there alone.
    pub(crate) fn push_pinned(&self, n: usize, ready: Runnable) {
        let line = &self.lines[n % self.lines.len()];
        if let Some(owner) = self.here()
            && std::ptr::eq(owner.line, line)
        {
            return owner.push_pinned(ready);
        }
        let others = &line.others;
        let refused = others.inbox.with(|inbox| {
            if inbox.closed {
                return Some(ready);
            }
            inbox.pinned.push(ready);
            others.count(inbox);
            None
        });
        match refused {
            None => line.wake(),
            Some(ready) => self.abandon([ready]),
        }
    }

    #[inline(never)]
    fn send(&self, ready: Runnable) {
        let line = self.best();
        let others = &line.others;
        // Whoever takes the inbox away for good (to open this line, or at the end) marks that
        // before it takes the lock; so what is put in here is taken, or the mark is seen.
        let refused = others.inbox.with(|inbox| {
            if inbox.closed || self.has_ended() || line.own.seized.load(Ordering::Relaxed) {
                return Some(ready);
            }
            inbox.free.push(ready);
            others.count(inbox);
            None
        });
        match refused {
            None => line.wake(),
            Some(ready) => self.publish(line, ready),
        }
    }

    /// Where to put what a foreign thread wakes: not where it would have to wait for a blocked run,
    /// and where nobody has to be woken for it.
    fn best(&self) -> &Line<U> {
        let len = self.lines.len();
        let first = HERE.with(preference) % len;
        let is_awake = |line: &&Line<U>| {
            line.others.state.load(Ordering::Relaxed) == AWAKE
                && !line.own.seized.load(Ordering::Relaxed)
        };
        let mut lines = (0..len).map(|n| &self.lines[(first + n) % len]);
        lines.find(is_awake).unwrap_or(&self.lines[first])
    }

    /// Adds one to the shared part of a line whose owner cannot take it, and sees that another does.
    #[cold]
    fn publish(&self, line: &Line<U>, ready: Runnable) {
        let others = &line.others;
        let refused = others.shared.with(|shared| {
            if self.has_ended() {
                return Some(ready);
            }
            shared.push_back(ready);
            others.shared_len.store(shared.len(), Ordering::Relaxed);
            None
        });
        match refused {
            None => self.wake_one(),
            Some(ready) => self.abandon([ready]),
        }
    }

    /// Opens the private queue of a worker that is blocked inside one run: what is ready there goes to the others.
    ///
    /// What becomes ready there while it is still blocked goes to them as well.
    #[cold]
    pub(crate) fn open(&self, n: usize) {
        let line = &self.lines[n];
        if self.lines.len() == 1 {
            return;
        }
        self.seize(line);
        if self.has_ended() {
            // What was on its way through here was not there for those who left.
            return self.sweep(line);
        }
        self.wake_one();
    }

    /// Moves what is private to a line, and in its inbox, to its shared part; but for the pinned.
    fn seize(&self, line: &Line<U>) {
        let (own, others) = (&line.own, &line.others);
        others.shared.with(|shared| {
            own.seized.store(true, Ordering::Relaxed);
            heavy();
            let mut n = 0;
            while own.touching.load(Ordering::Acquire) {
                relax(n);
                n += 1;
            }
            own.private.with_mut(|private| {
                // SAFETY: the owner touches it only after having marked that and having seen it
                // not seized. It is seized since before the heavy fence, so it was not touched
                // after the loop, nor will be, but under the lock that this is under.
                shared.append(unsafe { &mut *private });
            });
            others.shared_len.store(shared.len(), Ordering::Relaxed);
        });
        let free = others.inbox.with(|inbox| {
            let free = std::mem::take(&mut inbox.free);
            others.count(inbox);
            free
        });
        others.shared.with(|shared| {
            shared.extend(free);
            others.shared_len.store(shared.len(), Ordering::Relaxed);
        });
    }

    /// Ends the pool: its workers leave when they come to it; what is ready is abandoned.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        for line in &self.lines {
            line.wake();
        }
    }

    /// This thread is worker `n` no more.
    fn leave(&self, n: usize) {
        self.end();
        HERE.with(|here| {
            here.pool.set(std::ptr::null());
            here.line.set(std::ptr::null());
        });
        let line = &self.lines[n];
        // The first to leave also takes what is ready where somebody is blocked, perhaps for ever.
        if !self.swept.swap(true, Ordering::AcqRel) {
            for line in &self.lines {
                self.sweep(line);
            }
        } else {
            self.sweep(line);
        }
        let pinned = line.others.inbox.with(|inbox| {
            inbox.closed = true;
            std::mem::take(&mut inbox.pinned)
        });
        let kept = line.own.kept.with_mut(|kept| {
            // SAFETY: this thread was the owner until a moment ago, and `taken` lets no other follow.
            std::mem::take(&mut unsafe { &mut *kept }.pinned)
        });
        self.abandon(kept.into_iter().chain(pinned));
    }

    fn sweep(&self, line: &Line<U>) {
        self.seize(line);
        let shared = line.others.shared.with(|shared| {
            line.others.shared_len.store(0, Ordering::Relaxed);
            std::mem::take(shared)
        });
        self.abandon(shared);
    }

    /// Lets go of these, and of what becomes ready by that, one after the other on whichever thread is at it.
    fn abandon(&self, these: impl IntoIterator<Item = Runnable>) {
        let these: Vec<_> = these.into_iter().collect();
        let is_ours = self.late.with(|late| {
            late.queue.extend(these);
            !std::mem::replace(&mut late.is_busy, true)
        });
        let next = || {
            self.late.with(|late| {
                late.is_busy = !late.queue.is_empty();
                late.queue.pop_front()
            })
        };
        while is_ours && let Some(ready) = next() {
            // One that panics, by a bug, does not keep the others.
            drop(catch_unwind(AssertUnwindSafe(|| ready.abandon())));
        }
    }

    fn any_shared(&self) -> bool {
        let has = |line: &Line<U>| line.others.shared_len.load(Ordering::Relaxed) > 0;
        self.lines.iter().any(has)
    }

    /// Wakes one worker that is parked, whether or not one is searching.
    #[cold]
    fn wake_one(&self) {
        fence(Ordering::SeqCst);
        for line in &self.lines {
            if line.unpark_to(AWAKE) {
                return;
            }
        }
    }

    /// Surplus was added: sends one worker for it, unless one is searching.
    #[cold]
    fn notify(&self) {
        fence(Ordering::SeqCst);
        loop {
            if self.searching.swap(true, Ordering::AcqRel) {
                return;
            }
            for line in &self.lines {
                if line.unpark_to(SENT) {
                    return;
                }
            }
            if !self.give_back() {
                return;
            }
        }
    }

    /// Gives the token back; true if somebody has to be sent after all.
    fn give_back(&self) -> bool {
        self.searching.store(false, Ordering::Release);
        fence(Ordering::SeqCst);
        let is_parked = |line: &Line<U>| line.others.state.load(Ordering::Relaxed) == PARKED;
        self.any_shared() && self.lines.iter().any(is_parked)
    }
}
