//! A lock that costs a thread which is alone with it no read-modify-write.
//!
//! Like [`lock`](super::lock) it is one byte, `taken`, for sections of a few
//! instructions. But a thread that has taken it many times in a row, with no
//! other in between, becomes its *owner*: it enters by two plain stores from
//! then on, and whoever else comes first takes that right away.
//!
//! **The protocol.** The owner writes `inside`, passes the light side of the
//! [fence](super::fence) and looks whether it still is the owner; if not, it
//! leaves and takes the lock like all others. Whoever has taken the lock and
//! finds an owner writes `NOBODY`, passes the heavy side, and waits until the
//! owner is not inside. One of the two sees the other. An owner is made by itself
//! alone, while it has the lock; so there is none while somebody else has it.
//!
//! **What it costs.** To take the right away costs microseconds, as much as a
//! thousand locks: so it is only given after as many, after four times as many
//! each time that it was taken away, and after the third time never again. Where
//! the kernel has no cheap fence it is never given.

use super::fence;
use super::sync::{AtomicBool, AtomicU8, Ordering, UnsafeCell, relax};

/// What decides who may enter stands first, beside what the value has there.
#[repr(C)]
pub(crate) struct Biased<T> {
    state: State,
    value: UnsafeCell<T>,
}

/// All but the value; eight bytes.
struct State {
    taken: AtomicBool,
    /// The owner is in a section.
    inside: AtomicBool,
    owner: AtomicU8,
    /// Belongs to whoever has `taken`.
    habit: UnsafeCell<Habit>,
}

/// Who comes here.
struct Habit {
    latest: u8,
    /// How many owners it has had; once they are too many it has no more.
    owners: u8,
    /// How often the latest has to come again, with nobody in between, to become the owner; 0 if it never will.
    left: u16,
}

/// Nobody is the owner.
const NOBODY: u8 = u8::MAX;
/// The number of all threads that have none of their own: too many have begun, or this one is at its end.
const ANYBODY: u8 = u8::MAX - 1;
/// The number of a thread that has not asked for one; it is never an owner's.
const UNKNOWN: u8 = 0;

/// So often in a row a thread takes the lock before it becomes the owner.
const PATIENCE: u16 = if cfg!(any(greenroom_loom, greenroom_shuttle)) {
    1
} else {
    1_024
};
/// Each time it takes four times as many, and after so many times it is over.
const OWNERS: u8 = 3;

#[cfg(not(any(greenroom_loom, greenroom_shuttle)))]
thread_local! {
    static ME: std::cell::Cell<u8> = const { std::cell::Cell::new(UNKNOWN) };
}

#[cfg(greenroom_loom)]
loom::thread_local! {
    static ME: std::cell::Cell<u8> = std::cell::Cell::new(UNKNOWN);
}

#[cfg(greenroom_shuttle)]
shuttle::thread_local! {
    static ME: std::cell::Cell<u8> = std::cell::Cell::new(UNKNOWN);
}

#[inline(always)]
fn me() -> u8 {
    ME.try_with(std::cell::Cell::get).unwrap_or(ANYBODY)
}

/// Gives the calling thread a number.
#[cold]
fn introduce() -> u8 {
    #[cfg(not(any(greenroom_loom, greenroom_shuttle)))]
    let me = {
        static LATEST: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(UNKNOWN);
        let next = |n: u8| (n + 1 < ANYBODY).then_some(n + 1);
        let given = LATEST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        given.map_or(ANYBODY, |n| n + 1)
    };
    // In a model threads say who they are, and those that do not are never owners.
    #[cfg(any(greenroom_loom, greenroom_shuttle))]
    let me = ANYBODY;
    let _ = ME.try_with(|number| number.set(me));
    me
}

// SAFETY: the value is only reached by whoever took the lock, or is its owner and inside, one at a time.
unsafe impl<T: Send> Sync for Biased<T> {}
// SAFETY: the lock owns its value.
unsafe impl<T: Send> Send for Biased<T> {}

/// Leaves the section, also when it panics.
struct Inside<'a>(&'a AtomicBool);

impl Drop for Inside<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl<T> Biased<T> {
    pub(crate) fn new(value: T) -> Self {
        Biased {
            state: State {
                taken: AtomicBool::new(false),
                inside: AtomicBool::new(false),
                owner: AtomicU8::new(NOBODY),
                habit: UnsafeCell::new(Habit {
                    latest: NOBODY,
                    owners: if fence::is_cheap() { 0 } else { OWNERS },
                    left: 0,
                }),
            },
            value: UnsafeCell::new(value),
        }
    }

    /// Calls `section` with the value while no other thread has it.
    #[inline(always)]
    pub(crate) fn with<R>(&self, section: impl FnOnce(&mut T) -> R) -> R {
        let _inside = Inside(self.state.enter());
        // SAFETY: this thread has taken the lock, or is inside as its owner, and `section` cannot
        // enter it again: it has no way to reach it but through this reference.
        self.value.with_mut(|value| section(unsafe { &mut *value }))
    }
}

impl State {
    /// Enters a section; it ends when the flag that is returned is cleared.
    #[inline(always)]
    fn enter(&self) -> &AtomicBool {
        let me = me();
        // The calling thread alone makes itself the owner, so it reads that as soon as it is.
        if self.owner.load(Ordering::Relaxed) == me {
            self.inside.store(true, Ordering::Relaxed);
            fence::light_if_cheap();
            if self.owner.load(Ordering::Relaxed) == me {
                return &self.inside;
            }
            self.inside.store(false, Ordering::Release);
        }
        self.take(me)
    }

    #[inline(always)]
    fn take(&self, me: u8) -> &AtomicBool {
        if self
            .taken
            .compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
        {
            self.wait();
        }
        // SAFETY: `taken` is this thread's.
        let habit = self.habit.with_mut(|habit| unsafe { &mut *habit });
        if habit.latest != me {
            // If there is an owner, it is the latest: so only another has to look.
            self.changes(habit, me);
        } else if habit.left != 0 {
            habit.left -= 1;
            if habit.left == 0 {
                // From the next time on.
                self.owner.store(me, Ordering::Relaxed);
            }
        }
        &self.taken
    }

    #[cold]
    fn wait(&self) {
        let mut n = 0;
        while self
            .taken
            .compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
        {
            while self.taken.load(Ordering::Relaxed) {
                relax(n);
                n += 1;
            }
        }
    }

    /// Another thread has come than the time before.
    #[cold]
    fn changes(&self, habit: &mut Habit, me: u8) {
        if self.owner.load(Ordering::Relaxed) != NOBODY {
            self.disown(habit);
        }
        habit.latest = if me == UNKNOWN { introduce() } else { me };
        habit.left = if habit.latest == ANYBODY || habit.owners >= OWNERS {
            0
        } else {
            PATIENCE << (2 * habit.owners)
        };
    }

    /// Takes the right away from the owner, and waits until it is not inside.
    fn disown(&self, habit: &mut Habit) {
        self.owner.store(NOBODY, Ordering::Relaxed);
        fence::heavy();
        let mut n = 0;
        while self.inside.load(Ordering::Acquire) {
            relax(n);
            n += 1;
        }
        habit.owners += 1;
    }
}

#[cfg(test)]
#[cfg(not(any(greenroom_loom, greenroom_shuttle)))]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;
    use std::thread;

    use super::*;

    fn owned(lock: &Biased<u64>) -> bool {
        lock.state.owner.load(Ordering::SeqCst) != NOBODY
    }

    fn add(lock: &Biased<u64>, times: u64) {
        for _ in 0..times {
            lock.with(|n| *n += 1);
        }
    }

    #[test]
    fn who_is_alone_with_it_becomes_the_owner_until_another_comes() {
        fence::prepare();
        let lock = Arc::new(Biased::new(0));
        let mut patience = u64::from(PATIENCE);
        let mut sum = 0;
        for _ in 0..3 {
            add(&lock, patience);
            assert!(!owned(&lock));
            add(&lock, 10);
            assert_eq!(owned(&lock), fence::is_cheap());
            let other = Arc::clone(&lock);
            thread::spawn(move || add(&other, 1))
                .join()
                .expect("it adds");
            assert!(!owned(&lock));
            sum += patience + 11;
            patience *= 4;
        }
        add(&lock, 4 * patience);
        assert!(!owned(&lock), "it has changed hands too often");
        assert_eq!(lock.with(|n| *n), sum + 4 * patience);
    }

    #[test]
    fn a_section_that_panics_leaves_it_whoever_was_inside() {
        fence::prepare();
        let lock = Biased::new(0);
        for times in [1, 2_000] {
            add(&lock, times);
            let panicked = catch_unwind(AssertUnwindSafe(|| lock.with(|_| panic!("boom"))));
            assert!(panicked.is_err());
            lock.with(|n| *n += 1);
        }
        thread::scope(|scope| scope.spawn(|| add(&lock, 1)).join()).expect("it adds");
        assert_eq!(lock.with(|n| *n), 2_004);
    }

    #[test]
    fn threads_that_take_turns_lose_nothing() {
        fence::prepare();
        let lock = Arc::new(Biased::new(0));
        let threads = [1_500, 40, 5_000, 1].map(|run: u64| {
            let lock = Arc::clone(&lock);
            thread::spawn(move || {
                for _ in 0..100_000 / run {
                    add(&lock, run);
                    thread::yield_now();
                }
            })
        });
        let runs = [1_500, 40, 5_000, 1].map(|run| 100_000 / run * run);
        for thread in threads {
            thread.join().expect("it adds");
        }
        assert_eq!(lock.with(|n| *n), runs.iter().sum::<u64>());
    }

    #[test]
    fn it_takes_eight_bytes_more_than_its_value() {
        assert_eq!(size_of::<Biased<u64>>(), 16);
    }
}

#[cfg(test)]
#[cfg(greenroom_loom)]
mod loom_tests {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    /// The calling thread takes this number.
    fn be(number: u8) {
        ME.with(|me| me.set(number));
    }

    fn add(lock: &Biased<u32>, times: u32) {
        for _ in 0..times {
            lock.with(|n| *n += 1);
        }
    }

    fn model(preemptions: usize, body: impl Fn() + Sync + Send + 'static) {
        let mut builder = loom::model::Builder::new();
        if builder.preemption_bound.is_none() {
            builder.preemption_bound = Some(preemptions);
        }
        builder.check(body);
    }

    #[test]
    fn an_owner_and_one_who_takes_that_away_are_never_inside_together() {
        model(4, || {
            let lock = Arc::new(Biased::new(0));
            be(1);
            add(&lock, 2);
            assert_eq!(lock.state.owner.load(Ordering::SeqCst), 1);
            let other = Arc::clone(&lock);
            let other = thread::spawn(move || {
                be(2);
                add(&other, 1);
            });
            add(&lock, 2);
            other.join().unwrap();
            assert_eq!(lock.with(|n| *n), 5);
        });
    }

    #[test]
    fn two_who_would_be_owners() {
        model(3, || {
            let lock = Arc::new(Biased::new(0));
            let other = Arc::clone(&lock);
            let other = thread::spawn(move || {
                be(2);
                add(&other, 3);
            });
            be(1);
            add(&lock, 3);
            other.join().unwrap();
            assert_eq!(lock.with(|n| *n), 6);
        });
    }

    #[test]
    fn two_come_to_an_owner_at_once() {
        model(2, || {
            let lock = Arc::new(Biased::new(0));
            be(1);
            add(&lock, 2);
            let others = [2, 3].map(|number| {
                let lock = Arc::clone(&lock);
                thread::spawn(move || {
                    be(number);
                    add(&lock, 1);
                })
            });
            add(&lock, 1);
            others.map(|other| other.join().unwrap());
            assert_eq!(lock.with(|n| *n), 5);
        });
    }
}

#[cfg(test)]
#[cfg(greenroom_shuttle)]
mod shuttle_tests {
    use std::sync::Arc;

    use shuttle::thread;

    use super::*;

    #[test]
    fn owners_come_and_go_and_nothing_is_lost() {
        let body = || {
            let lock = Arc::new(Biased::new(0));
            let threads = [1, 2, 3].map(|number| {
                let lock = Arc::clone(&lock);
                thread::spawn(move || {
                    ME.with(|me| me.set(number));
                    for _ in 0..8 {
                        lock.with(|n| *n += 1);
                    }
                })
            });
            threads.map(|thread| thread.join().unwrap());
            assert_eq!(lock.with(|n| *n), 24);
        };
        shuttle::check_random(body, 10_000);
        shuttle::check_pct(body, 10_000, 3);
    }
}
