//! A worker on its own thread: what it does with its queues, and how it goes to sleep.

use std::collections::VecDeque;
use std::marker::PhantomData;

use super::super::sync::{Ordering, fence, relax};
use super::line::{AWAKE, Kept, Line, PARKED, SENT};
use super::{Ready, Runnable, Unpark};

/// More than so many ready, the one about to be run among them, are a surplus.
const ENOUGH: usize = 1;
/// So many change hands at once.
const BATCH: usize = 128;
/// Of what came through the inbox so many are run next; what is ready here does not starve behind them.
const NEXT: usize = 8;
/// Beside others a message may take so many times as long as alone, as what it touches is fetched from their cores.
const IN_COMPANY: u64 = 8;
/// What messages take is judged by the latest so many nanoseconds.
const WINDOW: u64 = 200_000;

/// What became of an attempt to sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parked {
    /// Nothing is ready: sleep until `unpark`.
    Asleep,
    /// There is work after all.
    Work,
    /// The pool has ended.
    Ended,
}

/// A worker, on its own thread.
pub(crate) struct Owner<'a, U> {
    pub(super) ready: &'a Ready<U>,
    pub(super) line: &'a Line<U>,
    /// Not to be sent to another thread.
    pub(super) only_here: PhantomData<*const ()>,
}

impl<U: Unpark> Owner<'_, U> {
    pub(crate) fn index(&self) -> usize {
        let is_this = |line: &Line<U>| std::ptr::eq(line, self.line);
        self.ready.lines.iter().position(is_this).unwrap_or(0)
    }

    #[inline(always)]
    fn kept<R>(&self, look: impl FnOnce(&mut Kept) -> R) -> R {
        // SAFETY: only the owner's thread gets here, and no `look` calls anything that comes back.
        self.line
            .own
            .0
            .kept
            .with_mut(|kept| look(unsafe { &mut *kept }))
    }

    /// Calls `change` with the private queue, unless that is seized.
    #[inline(always)]
    fn touch<R>(&self, change: impl FnOnce(&mut VecDeque<Runnable>) -> R) -> Option<R> {
        let own = &self.line.own;
        if !own.begin() {
            return None;
        }
        // SAFETY: the owner has marked that it touches the queue and has seen it not seized after
        // that, so an opener waits; no `change` calls anything that comes back.
        let changed = own
            .private
            .with_mut(|private| change(unsafe { &mut *private }));
        own.finish();
        Some(changed)
    }

    /// Calls `change` with the private queue and the shared part, under the lock, seized or not.
    fn touch_both<R>(
        &self,
        change: impl FnOnce(&mut VecDeque<Runnable>, &mut VecDeque<Runnable>) -> R,
    ) -> R {
        let others = &self.line.others;
        others.shared.with(|shared| {
            let changed = self.line.own.private.with_mut(|private| {
                // SAFETY: this is the owner, and an opener is at the queue only under this lock.
                change(unsafe { &mut *private }, shared)
            });
            others.shared_len.store(shared.len(), Ordering::Relaxed);
            changed
        })
    }

    /// Is part of `len` to be shared?
    #[inline(always)]
    fn is_surplus(&self, len: usize) -> bool {
        len > ENOUGH
            && self.ready.wanting.load(Ordering::Relaxed) > 0
            && self.line.others.shared_len.load(Ordering::Relaxed) == 0
            && self.line.own.is_worth(len)
    }

    /// Moves the newer half to the shared part; `held` have been taken out already to be run here.
    #[cold]
    #[inline(never)]
    pub(super) fn share(&self, held: usize) {
        self.touch_both(|private, shared| {
            let moved = private.len().min((private.len() + held) / 2).min(BATCH);
            shared.extend(private.drain(private.len() - moved..));
        });
        self.ready.notify();
    }

    #[inline(always)]
    pub(super) fn push(&self, ready: Runnable) {
        let own = &self.line.own;
        if !own.begin() {
            return self.ready.publish(self.line, ready);
        }
        let len = own.private.with_mut(|private| {
            // SAFETY: as in `touch`.
            let private = unsafe { &mut *private };
            private.push_back(ready);
            private.len()
        });
        own.finish();
        if self.line.others.state.load(Ordering::Relaxed) == PARKED {
            self.rouse();
        }
        if self.is_surplus(len) {
            self.share(0);
        }
    }

    pub(super) fn push_pinned(&self, ready: Runnable) {
        self.kept(|kept| kept.pinned.push_back(ready));
        if self.line.others.state.load(Ordering::Relaxed) == PARKED {
            self.rouse();
        }
    }

    /// Something else on this thread has work for the sleeping worker.
    #[cold]
    fn rouse(&self) {
        self.want_no_more();
        self.line.unpark_to(AWAKE);
    }

    fn want_no_more(&self) {
        if self.kept(|kept| std::mem::replace(&mut kept.wanting, false)) {
            self.ready.wanting.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Runs the next that is ready; false if nothing is, here or to be had elsewhere.
    #[inline(always)]
    pub(crate) fn step(&self, budget: usize) -> bool {
        let Some((ready, is_pinned)) = self.next() else {
            return false;
        };
        let progress = &self.line.own.progress;
        let began = progress.load(Ordering::Relaxed) | 1;
        progress.store(began, Ordering::Relaxed);
        let again = ready.run(budget);
        progress.store(began + 1, Ordering::Relaxed);
        if again {
            if is_pinned {
                self.push_pinned(ready);
            } else {
                self.push(ready);
            }
        }
        true
    }

    #[inline(always)]
    fn next(&self) -> Option<(Runnable, bool)> {
        if let Some(pinned) = self.kept(|kept| {
            kept.pinned_next = !kept.pinned_next && !kept.pinned.is_empty();
            if kept.pinned_next {
                kept.pinned.pop_front()
            } else {
                None
            }
        }) {
            return Some((pinned, true));
        }
        if let Some((Some(ready), left)) = self.touch(|private| {
            let ready = private.pop_front();
            if let Some(next) = private.front() {
                next.prefetch_all();
                if let Some(next_but_one) = private.get(1) {
                    next_but_one.prefetch_first();
                }
            }
            (ready, private.len())
        }) {
            if self.is_surplus(left + 1) {
                self.share(1);
            }
            return Some((ready, false));
        }
        self.next_elsewhere()
    }

    #[inline(never)]
    fn next_elsewhere(&self) -> Option<(Runnable, bool)> {
        self.look();
        let (own, others) = (&self.line.own, &self.line.others);
        if own.seized.load(Ordering::Relaxed) || others.shared_len.load(Ordering::Relaxed) > 0 {
            self.touch_both(|private, shared| {
                own.seized.store(false, Ordering::Relaxed);
                private.append(shared);
            });
        }
        if let Some(ready) = self.touch(VecDeque::pop_front).flatten() {
            return Some((ready, false));
        }
        if let Some(pinned) = self.kept(|kept| kept.pinned.pop_front()) {
            return Some((pinned, true));
        }
        self.search();
        let found = self.touch(VecDeque::pop_front)??;
        Some((found, false))
    }

    /// Takes in what came through the inbox: the first of them run next, so that who calls from outside waits for
    /// a stride and not for all that is ready here.
    #[inline]
    pub(crate) fn look(&self) {
        if self.line.others.inbox_len.load(Ordering::Relaxed) > 0 {
            self.take_in();
        }
    }

    #[cold]
    fn take_in(&self) {
        let others = &self.line.others;
        let mut carried = self.kept(|kept| std::mem::take(&mut kept.carried));
        others.inbox.with(|inbox| {
            std::mem::swap(&mut inbox.free, &mut carried);
            self.kept(|kept| kept.pinned.extend(inbox.pinned.drain(..)));
            others.count(inbox);
        });
        self.keep(carried, NEXT);
    }

    /// Takes surplus of another worker, if there is any.
    fn search(&self) {
        let lines = &self.ready.lines;
        let me = self.index();
        for n in 1..lines.len() {
            let others = &lines[(me + n) % lines.len()].others;
            if others.shared_len.load(Ordering::Relaxed) == 0 {
                continue;
            }
            // Carried over: to hold two locks at once would be to wait in a circle.
            let mut carried = self.kept(|kept| std::mem::take(&mut kept.carried));
            others.shared.with(|shared| {
                let taken = shared.len().min(BATCH);
                carried.extend(shared.drain(..taken));
                others.shared_len.store(shared.len(), Ordering::Relaxed);
            });
            let found = !carried.is_empty();
            self.keep(carried, 0);
            if found {
                return;
            }
        }
    }

    /// Adds these to the private queue, `next` of them in front, and keeps the empty vector for the next time.
    fn keep(&self, mut carried: Vec<Runnable>, next: usize) {
        let mut add = |private: &mut VecDeque<Runnable>| {
            let next = carried.len().min(next);
            for ready in carried.drain(..next).rev() {
                private.push_front(ready);
            }
            private.extend(carried.drain(..));
        };
        if self.touch(&mut add).is_none() {
            self.touch_both(|private, _| {
                // Nothing may stay in a private queue that is seized: nobody would look there.
                self.line.own.seized.store(false, Ordering::Relaxed);
                add(private);
            });
        }
        self.kept(|kept| kept.carried = carried);
    }

    /// The run that was under way has panicked.
    #[cold]
    pub(crate) fn recover(&self) {
        let progress = &self.line.own.progress;
        let runs = progress.load(Ordering::Relaxed);
        progress.store(runs + runs % 2, Ordering::Relaxed);
    }

    /// Are all other workers without work?
    #[inline]
    pub(crate) fn is_alone(&self) -> bool {
        self.ready.wanting.load(Ordering::Relaxed) + 1 >= self.ready.lines.len()
    }

    /// Says how long so many messages took just now, in nanoseconds, and whether this worker was alone.
    #[inline]
    pub(crate) fn learn(&self, took: u64, messages: u64, alone: bool) {
        let cost = &self.line.own.cost;
        let took = if alone { took } else { took / IN_COMPANY };
        if !alone && took / messages.max(1) <= cost.load(Ordering::Relaxed) {
            return;
        }
        let (time, messages) = self.kept(|kept| {
            let (time, messages) = (kept.time.saturating_add(took), kept.messages + messages);
            // Of what is older only so much counts as fits into the time.
            kept.time = time.min(WINDOW);
            kept.messages =
                (u128::from(messages) * u128::from(kept.time) / u128::from(time.max(1))) as u64;
            (time, messages)
        });
        if time >= WINDOW / 4 {
            cost.store((time / messages.max(1)).max(1), Ordering::Relaxed);
        }
    }

    /// Wakes another worker if surplus of this one has been lying about: the one that was sent for
    /// it may be held up.
    pub(crate) fn remind(&self) {
        if self.line.others.shared_len.load(Ordering::Relaxed) > 0 {
            self.ready.wake_one();
        }
    }

    /// The worker begins to work, whoever woke it.
    #[inline]
    pub(crate) fn wake(&self) {
        let state = &self.line.others.state;
        // The state cannot become `PARKED` but by this thread, nor leave `AWAKE`.
        if state.load(Ordering::Relaxed) == AWAKE && !self.kept(|kept| kept.wanting) {
            return;
        }
        self.awake();
    }

    #[inline(never)]
    fn awake(&self) {
        let was = self.line.others.state.swap(AWAKE, Ordering::AcqRel);
        self.want_no_more();
        if was == SENT {
            self.search();
            self.give_back();
        }
    }

    fn give_back(&self) {
        if self.ready.give_back() {
            self.ready.notify();
        }
    }

    /// Is there something that this worker has to see before it sleeps?
    fn has_news(&self) -> bool {
        self.ready.has_ended()
            || self.line.others.inbox_len.load(Ordering::Relaxed) > 0
            || self.ready.any_shared()
    }

    /// Nothing is ready: goes to sleep, unless something has come in meanwhile.
    pub(crate) fn park(&self) -> Parked {
        if self.ready.lines.len() > 1
            && !self.kept(|kept| std::mem::replace(&mut kept.wanting, true))
        {
            self.ready.wanting.fetch_add(1, Ordering::Relaxed);
        }
        self.line.others.state.store(PARKED, Ordering::Release);
        fence(Ordering::SeqCst);
        if !self.has_news() {
            return Parked::Asleep;
        }
        self.awake();
        if self.ready.has_ended() {
            Parked::Ended
        } else {
            Parked::Work
        }
    }

    /// The thread has nothing else to do either: a short search, while `go_on`, before it really sleeps.
    pub(crate) fn spin(&self, mut go_on: impl FnMut() -> bool) {
        let (ready, state) = (self.ready, &self.line.others.state);
        let is_awake = |line: &Line<U>| line.others.state.load(Ordering::Relaxed) == AWAKE;
        if state.load(Ordering::Relaxed) != PARKED
            || !ready.lines.iter().any(is_awake)
            || ready.searching.swap(true, Ordering::AcqRel)
        {
            return;
        }
        // As long as this worker is not parked, nobody has to wake it.
        if state
            .compare_exchange(PARKED, AWAKE, Ordering::AcqRel, Ordering::Relaxed)
            .is_err()
        {
            return self.give_back();
        }
        let is_other_awake = || {
            let awake = ready.lines.iter().filter(|line| is_awake(line)).count();
            awake > 1
        };
        while !self.has_news() && go_on() && is_other_awake() {
            relax(0);
        }
        state.store(PARKED, Ordering::Release);
        ready.searching.store(false, Ordering::Release);
        fence(Ordering::SeqCst);
        if self.has_news() {
            self.line.unpark_to(AWAKE);
        }
    }
}
