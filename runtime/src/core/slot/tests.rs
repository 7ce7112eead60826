//! The slot by itself: one step after the other, and two threads in every order that chance makes of.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use super::{Answer, Replier, pool, slot, tally};

const _: () = assert!(size_of::<Option<Replier<u64>>>() == size_of::<usize>());
const _: () = assert!(size_of::<Answer<u64>>() == size_of::<usize>());
const fn check<R: Send + Sync, A: Send + Unpin>() {}
const _: () = check::<Replier<Cell<u8>>, Answer<Cell<u8>>>();

/// Counts how often it was woken; who still holds it is told by the count of its `Arc`.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

fn bell() -> (Arc<Bell>, Waker) {
    let bell = Arc::new(Bell::default());
    (bell.clone(), bell.into())
}

/// Runs `test` on a thread whose lists are empty.
fn alone(test: impl FnOnce() + Send + 'static) {
    thread::spawn(test).join().unwrap();
}

fn poll<T>(answer: &mut Answer<T>, waker: &Waker) -> Poll<Option<T>> {
    answer.poll(&mut Context::from_waker(waker))
}

#[test]
fn an_answer_sent_before_the_poll_is_there_at_once() {
    let (replier, mut answer) = slot();
    assert_eq!(answer.try_take(), None);
    assert!(replier.is_wanted());
    assert_eq!(replier.send(7), Ok(()));
    assert_eq!(poll(&mut answer, Waker::noop()), Poll::Ready(Some(7)));
    assert_eq!(poll(&mut answer, Waker::noop()), Poll::Ready(None));
    assert_eq!(answer.try_take(), Some(None));
    assert_eq!(tally::SLOTS.get(), 0);
}

#[test]
fn only_the_last_waker_is_woken_and_the_others_are_let_go() {
    let ((first, first_waker), (last, last_waker)) = (bell(), bell());
    let (replier, mut answer) = slot();
    assert!(poll(&mut answer, &first_waker).is_pending());
    assert!(poll(&mut answer, &first_waker).is_pending());
    assert_eq!(Arc::strong_count(&first), 3);
    assert!(poll(&mut answer, &last_waker).is_pending());
    assert_eq!(Arc::strong_count(&first), 2);
    assert_eq!(answer.try_take(), None);
    assert_eq!(replier.send(7), Ok(()));
    assert_eq!((first.0.load(SeqCst), last.0.load(SeqCst)), (0, 1));
    assert_eq!(Arc::strong_count(&last), 2);
    assert_eq!(answer.try_take(), Some(Some(7)));
}

#[test]
fn a_replier_dropped_without_an_answer_wakes_with_none() {
    let (bell, waker) = bell();
    let (replier, mut answer) = slot::<u64>();
    assert!(poll(&mut answer, &waker).is_pending());
    drop(replier);
    assert_eq!(bell.0.load(SeqCst), 1);
    assert_eq!(poll(&mut answer, &waker), Poll::Ready(None));
    assert_eq!(tally::SLOTS.get(), 0);
}

#[test]
fn a_late_answer_comes_back_and_the_waker_was_let_go_before() {
    let (bell, waker) = bell();
    let (replier, mut answer) = slot();
    assert!(poll(&mut answer, &waker).is_pending());
    drop(answer);
    assert_eq!(Arc::strong_count(&bell), 2);
    assert!(!replier.is_wanted());
    assert_eq!(replier.send("late".to_owned()), Err("late".to_owned()));
    assert_eq!(bell.0.load(SeqCst), 0);
    assert_eq!(tally::SLOTS.get(), 0);
}

/// A waker with one bad habit; sends from inside `clone` if it was given a replier.
struct Foreign {
    bad: &'static str,
    held: AtomicIsize,
    replier: Mutex<Option<Replier<Counted>>>,
}

impl Foreign {
    const TABLE: std::task::RawWakerVTable = std::task::RawWakerVTable::new(
        |data| {
            let waker = Self::at(data);
            if let Some(replier) = waker.replier.lock().unwrap().take() {
                _ = replier.send(Counted::new());
            }
            assert_ne!(waker.bad, "clone");
            waker.held.fetch_add(1, SeqCst);
            std::task::RawWaker::new(data, &Self::TABLE)
        },
        |data| {
            Self::at(data).held.fetch_sub(1, SeqCst);
            assert_ne!(Self::at(data).bad, "wake");
        },
        |_| {},
        |data| {
            Self::at(data).held.fetch_sub(1, SeqCst);
            assert_ne!(Self::at(data).bad, "drop");
        },
    );

    fn at<'a>(data: *const ()) -> &'a Foreign {
        // SAFETY: the test keeps each until every waker of it is gone.
        unsafe { &*data.cast::<Foreign>() }
    }
}

/// Counts the values alive in this thread.
struct Counted(());

thread_local! { static ALIVE: Cell<isize> = const { Cell::new(0) }; }

impl Counted {
    fn new() -> Self {
        ALIVE.set(ALIVE.get() + 1);
        Counted(())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        ALIVE.set(ALIVE.get() - 1);
    }
}

/// Runs `step`, which may panic; whether it did.
fn panics(step: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(step)).is_err()
}

#[test]
fn a_waker_that_panics_or_sends_in_between_leaves_nothing_torn() {
    for n in 0..64 {
        let foreign = Foreign {
            bad: ["none", "clone", "wake", "drop"][n % 4],
            held: AtomicIsize::new(0),
            replier: Mutex::new(None),
        };
        let ends_by = ["send", "drop replier", "drop answer", "other waker"][n / 4 % 4];
        let (sends_in_clone, is_second) = (n & 16 != 0, n & 32 != 0);
        let (bell, plain) = bell();
        let (replier, mut answer) = slot();
        if is_second {
            assert!(poll(&mut answer, &plain).is_pending());
        }
        let mut replier = Some(replier);
        if sends_in_clone {
            *foreign.replier.lock().unwrap() = replier.take();
        }
        // SAFETY: the functions fit the pointer, and `foreign` outlives this waker and the
        // slot that has clones of it.
        let waker = unsafe { Waker::new((&raw const foreign).cast(), &Foreign::TABLE) };
        // Not dropped, as that would be one more panic; it is not counted as held.
        let waker = ManuallyDrop::new(waker);
        let mut answer = Some(answer);
        panics(|| drop(answer.as_mut().map(|a| poll(a, &waker))));
        panics(|| match ends_by {
            "send" => drop(replier.take().map(|r| r.send(Counted::new()))),
            "drop replier" => drop(replier.take()),
            "drop answer" => drop(answer.take()),
            _ => drop(answer.as_mut().map(|a| poll(a, &plain))),
        });
        panics(|| drop((replier, answer)));
        assert_eq!(foreign.held.load(SeqCst), 0, "case {n}");
        assert_eq!(Arc::strong_count(&bell), 2, "case {n}");
        assert_eq!((tally::SLOTS.get(), ALIVE.get()), (0, 0), "case {n}");
    }
}

/// Asks again when dropped, as often as it says, and panics at the last.
struct Stubborn(u32);

impl Drop for Stubborn {
    fn drop(&mut self) {
        assert_ne!(self.0, 0, "the last one panics");
        let (replier, answer) = slot();
        assert!(replier.send(Stubborn(self.0 - 1)).is_ok());
        drop(answer);
    }
}

#[test]
fn an_answer_that_asks_or_panics_when_dropped_leaks_no_slot() {
    for depth in 0..200 {
        let (replier, answer) = slot();
        assert!(replier.send(Stubborn(depth)).is_ok());
        assert!(panics(|| drop(answer)));
        assert_eq!(tally::SLOTS.get(), 0);
    }
}

#[test]
fn ten_million_abandoned_waits_leave_no_slot() {
    alone(|| {
        for n in 0..10_000_000_u64 {
            let (replier, mut answer) = slot();
            if n % 2 == 0 {
                assert!(poll(&mut answer, Waker::noop()).is_pending());
            }
            drop(answer);
            if n % 3 == 0 {
                assert_eq!(replier.send(n), Err(n));
            }
        }
        assert_eq!((tally::SLOTS.get(), tally::BLOCKS.get()), (0, 1));
    });
}

#[test]
fn a_thread_keeps_so_many_slots_and_steady_asks_allocate_nothing() {
    alone(|| {
        let kept = isize::try_from(pool::KEPT).unwrap();
        for _ in 0..3 {
            let burst: Vec<_> = (0..4 * kept).map(|_| slot::<u64>()).collect();
            assert_eq!(tally::BLOCKS.get(), 4 * kept);
            drop(burst);
            assert_eq!(tally::BLOCKS.get(), kept);
        }
    });
}

#[test]
fn answers_of_every_size_and_alignment_come_through() {
    #[derive(Debug, PartialEq, Clone, Copy)]
    #[repr(align(128))]
    struct Aligned(u8);
    fn check<T: Send + Copy + PartialEq + fmt::Debug + 'static>(value: T, is_kept: bool) {
        alone(move || {
            for (replier, mut answer) in [slot(), slot(), slot()] {
                assert!(replier.slot.as_ptr().is_aligned());
                assert_eq!(replier.send(value), Ok(()));
                assert_eq!(answer.try_take(), Some(Some(value)));
            }
            assert_eq!(tally::BLOCKS.get(), if is_kept { 3 } else { 0 });
        });
    }
    check((), true);
    check([3_u64; 5], true);
    check([3_u8; 100], true);
    check([3_u8; 220], true);
    check([3_u8; 250], false);
    check([3_u64; 1000], false);
    check(Aligned(3), false);
}

/// Asks at the end of its thread and notes how many blocks the thread holds after that.
struct Last(mpsc::Sender<isize>);

impl Drop for Last {
    fn drop(&mut self) {
        let (replier, mut answer) = slot();
        assert_eq!(replier.send(7), Ok(()));
        assert_eq!(answer.try_take(), Some(Some(7)));
        self.0.send(tally::BLOCKS.get()).unwrap();
    }
}

#[test]
fn asks_at_the_end_of_a_thread_work_and_its_slots_are_freed() {
    thread_local! {
        static BEFORE: RefCell<Option<Last>> = const { RefCell::new(None) };
        static AFTER: RefCell<Option<Last>> = const { RefCell::new(None) };
    }
    let (held, at_end) = mpsc::channel();
    let first_ask = Last(held.clone());
    alone(move || BEFORE.set(Some(first_ask)));
    alone(move || {
        BEFORE.set(Some(Last(held.clone())));
        drop((0..10).map(|_| slot::<u64>()).collect::<Vec<_>>());
        assert_eq!(tally::BLOCKS.get(), 10);
        AFTER.set(Some(Last(held)));
    });
    let mut held: Vec<isize> = at_end.iter().collect();
    held.sort_unstable();
    // Freed already, kept for the end that is still to come (alone, and with others).
    assert_eq!(held, [0, 1, 10]);
}

/// Two threads, every order that chance makes of: poll twice, give up, send, drop.
fn stress<T: Send + 'static>(rounds: usize, value: fn(usize) -> T, check: fn(T, usize)) {
    let (post, asked) = mpsc::sync_channel::<(usize, Replier<T>)>(4);
    let callee = thread::spawn(move || {
        for (n, replier) in asked {
            (0..n % 61).for_each(|_| std::hint::spin_loop());
            match n % 5 {
                0 => drop(replier),
                _ => replier
                    .send(value(n))
                    .map_or_else(|late| check(late, n), |()| ()),
            }
        }
        tally::SLOTS.get()
    });
    let main = thread::current();
    struct Unpark(thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    for n in 0..rounds {
        let (replier, mut answer) = slot();
        post.send((n, replier)).unwrap();
        (0..n % 67).for_each(|_| std::hint::spin_loop());
        let mut polls = 0;
        let end = loop {
            let waker = Arc::new(Unpark(main.clone())).into();
            match poll(&mut answer, &waker) {
                Poll::Ready(end) => break Some(end),
                Poll::Pending if n % 7 == polls => break None,
                // Once with another waker, then for as long as it takes.
                Poll::Pending if polls > 0 => thread::park(),
                Poll::Pending => {}
            }
            polls += 1;
        };
        match end {
            Some(Some(value)) => check(value, n),
            Some(None) => assert_eq!(n % 5, 0),
            None => {}
        }
    }
    drop(post);
    tally::SLOTS.set(tally::SLOTS.get() + callee.join().unwrap());
    assert_eq!(tally::SLOTS.get(), 0);
}

#[test]
fn two_threads_agree_in_every_order() {
    #[repr(align(32))]
    struct Unkept(Box<usize>);
    stress(100_000, Box::new, |value, n| assert_eq!(*value, n));
    // Not kept in a list, so that a checker of memory sees each slot freed.
    stress(
        100_000,
        |n| Unkept(Box::new(n)),
        |value, n| assert_eq!(*value.0, n),
    );
}
