//! A lock that costs a thread which is alone with it no read-modify-write.
//!
//! Like [`lock`](super::lock) it is one byte, `taken`, for sections of a few
//! instructions. But a thread that has taken it many times in a row, with no
//! other in between, becomes its *owner*: it enters by two plain stores from
//! then on, and whoever else comes first takes that right away.
//!
//! **The protocol.** Each thread has a [`Slot`] of its own. The owner writes into it which lock it is inside, passes
//! the light side of the [fence](super::fence) and looks whether it still is the owner; if not, it clears the slot and
//! takes the lock like all others. Whoever has taken the lock and finds an owner writes `NOBODY`, passes the heavy
//! side, and waits until that thread's slot does not say this lock any more. One of the two sees the other. An owner is
//! made by itself alone, while it has the lock; so there is none while somebody else has it. A mark in the lock instead
//! of the slot would not do: one that was the owner long ago, and looks only now, would wipe out its successor's.
//!
//! **What it costs.** To take the right away costs microseconds, as much as a thousand locks: so it is only given after
//! as many in a row, after it was taken away once after 4,096, and from then on after 16,384. A scrape that reads every
//! mailbox takes it away from each, and those that are busy have it back within a millisecond. Where the kernel has no
//! cheap fence it is never given, nor to a thread beyond the two hundred and fiftieth of the process.

use super::fence;
use super::lock::{self, Taken};
use super::sync::{AtomicBool, AtomicU8, AtomicUsize, Ordering, UnsafeCell, relax};

/// What decides who may enter stands first, beside what the value has there.
#[repr(C)]
pub(crate) struct Biased<T> {
    state: State,
    value: UnsafeCell<T>,
}

/// All but the value; eight bytes.
struct State {
    taken: AtomicBool,
    /// The number of the thread that enters without taking the lock.
    owner: AtomicU8,
    /// Belongs to whoever has `taken`.
    habit: UnsafeCell<Habit>,
}

/// Who comes here.
struct Habit {
    latest: u8,
    /// How many owners it has had, at most [`WARY`]; or [`NEVER`].
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
/// After each owner it takes four times as many, until there were so many owners.
const WARY: u8 = 2;
/// There is no cheap fence, so no owner either.
const NEVER: u8 = u8::MAX;

/// Where one thread is inside as the owner; on a cache line of its own.
#[repr(align(64))]
struct Slot {
    is_inside: AtomicBool,
    /// The address of the lock.
    of: AtomicUsize,
}

#[cfg(not(any(greenroom_loom, greenroom_shuttle)))]
static SLOTS: [Slot; NOBODY as usize + 1] = [const {
    Slot {
        is_inside: AtomicBool::new(false),
        of: AtomicUsize::new(0),
    }
}; NOBODY as usize + 1];

/// Models have few threads with a number.
#[cfg(any(greenroom_loom, greenroom_shuttle))]
struct Slots([Slot; 4]);

#[cfg(any(greenroom_loom, greenroom_shuttle))]
impl Slots {
    fn new() -> Self {
        Slots(std::array::from_fn(|_| Slot {
            is_inside: AtomicBool::new(false),
            of: AtomicUsize::new(0),
        }))
    }
}

#[cfg(greenroom_loom)]
loom::lazy_static! {
    static ref SLOTS: Slots = Slots::new();
}

#[cfg(greenroom_shuttle)]
shuttle::lazy_static! {
    static ref SLOTS: Slots = Slots::new();
}

#[inline(always)]
fn slot_of(thread: u8) -> &'static Slot {
    #[cfg(not(any(greenroom_loom, greenroom_shuttle)))]
    let slot = &SLOTS[usize::from(thread)];
    #[cfg(any(greenroom_loom, greenroom_shuttle))]
    let slot = &SLOTS.0[usize::from(thread)];
    slot
}

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

impl<T> Biased<T> {
    pub(crate) fn new(value: T) -> Self {
        Biased {
            state: State {
                taken: AtomicBool::new(false),
                owner: AtomicU8::new(NOBODY),
                habit: UnsafeCell::new(Habit {
                    latest: NOBODY,
                    owners: if fence::is_cheap() { 0 } else { NEVER },
                    left: 0,
                }),
            },
            value: UnsafeCell::new(value),
        }
    }

    /// Calls `section` with the value while no other thread has it.
    #[inline(always)]
    pub(crate) fn with<R>(&self, section: impl FnOnce(&mut T) -> R) -> R {
        let _inside = Taken(self.state.enter());
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
            let slot = slot_of(me);
            // One section inside another would wipe out its mark; there is none, and were there one
            // it would be an ordinary lock.
            if !slot.is_inside.load(Ordering::Relaxed) {
                // Released: whoever reads this finds what the section before has written.
                slot.of.store(self.address(), Ordering::Release);
                slot.is_inside.store(true, Ordering::Relaxed);
                fence::light_if_cheap();
                if self.owner.load(Ordering::Relaxed) == me {
                    return &slot.is_inside;
                }
                slot.is_inside.store(false, Ordering::Release);
            }
        }
        self.take(me)
    }

    #[inline(always)]
    fn take(&self, me: u8) -> &AtomicBool {
        lock::take(&self.taken);
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

    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Another thread has come than the time before.
    #[cold]
    fn changes(&self, habit: &mut Habit, me: u8) {
        let owner = self.owner.load(Ordering::Relaxed);
        if owner != NOBODY {
            self.disown(owner);
            habit.owners = WARY.min(habit.owners + 1);
        }
        habit.latest = if me == UNKNOWN { introduce() } else { me };
        habit.left = if habit.latest == ANYBODY || habit.owners == NEVER {
            0
        } else {
            PATIENCE << (2 * habit.owners)
        };
    }

    /// Takes the right away from the owner, and waits until it is not inside.
    fn disown(&self, owner: u8) {
        self.owner.store(NOBODY, Ordering::Relaxed);
        fence::heavy();
        let slot = slot_of(owner);
        let mut n = 0;
        while slot.is_inside.load(Ordering::Acquire)
            && slot.of.load(Ordering::Acquire) == self.address()
        {
            relax(n);
            n += 1;
        }
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
        for owners in 0..5 {
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
            patience *= if owners < WARY { 4 } else { 1 };
        }
        assert_eq!(lock.with(|n| *n), sum);
    }

    #[test]
    fn a_section_inside_another_is_safe_as_well() {
        fence::prepare();
        let (outer, inner) = (Arc::new(Biased::new(0)), Biased::new(0));
        add(&outer, 2_000);
        add(&inner, 2_000);
        outer
            .with(|n| {
                add(&inner, 1);
                let other = Arc::clone(&outer);
                let other = thread::spawn(move || add(&other, 1));
                for _ in 0..100 {
                    thread::yield_now();
                    assert_eq!(*n, 2_000, "the other is kept out");
                }
                *n += 1;
                other
            })
            .join()
            .expect("it adds");
        assert_eq!((outer.with(|n| *n), inner.with(|n| *n)), (2_002, 2_001));
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
    fn one_who_was_the_owner_long_ago_and_looks_only_now() {
        model(2, || {
            let lock = Arc::new(Biased::new(0));
            be(1);
            add(&lock, 2);
            let other = Arc::clone(&lock);
            let other = thread::spawn(move || {
                be(2);
                // The first takes the right away, four more give it to this one, and it uses it.
                add(&other, 7);
            });
            add(&lock, 1);
            other.join().unwrap();
            assert_eq!(lock.with(|n| *n), 10);
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
                    for _ in 0..24 {
                        lock.with(|n| {
                            let before = *n;
                            // Were another inside, it would add meanwhile.
                            thread::yield_now();
                            *n = before + 1;
                        });
                    }
                })
            });
            threads.map(|thread| thread.join().unwrap());
            assert_eq!(lock.with(|n| *n), 72);
        };
        shuttle::check_random(body, 10_000);
        shuttle::check_pct(body, 10_000, 3);
    }
}
