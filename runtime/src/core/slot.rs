//! The place where one answer passes from whoever was asked to whoever waits.
//!
//! A slot has two owners, the [`Replier`] and the [`Answer`], and no count of
//! them: one byte says how far both have come, and whoever comes last frees it.
//!
//! ```text
//!            poll                          replier: send / drop
//!   EMPTY ---------> WAITING ------------------------------> WAKING
//!     |  <---------     |     (takes the waker out, nothing else)  |
//!     |  other waker    |                                          v
//!     |                 |     send / drop                     SENT / GONE
//!     |-----------------|------------------------------------->    :
//!     |  answer: drop   |  answer: drop                            : answer: take or drop,
//!     v                 v                                          v frees the slot
//!   CLOSED  . . . . . . . . . . . . . . . . . . . . > replier: send / drop, frees the slot
//! ```
//!
//! The replier makes its step by one addition, which tells it what it found and
//! leaves behind the state that follows: `EMPTY` becomes `SENT`, `WAITING`
//! becomes `WAKING` at once. So an answer costs one atomic read-modify-write of
//! the replier, and one of the waiter if it came first; who comes second to a
//! `SENT` only reads. The waiter stands still in `WAKING` alone, for the two
//! instructions in which the replier lifts the waker out. No foreign code (a
//! waker's, a destructor's) runs in a state that it could leave torn: it runs
//! before the step or after the slot is out of hand.
//!
//! Slots are lent from a short list that each thread keeps for itself, so asks
//! that come and go allocate nothing. Two threads never share a list.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::fmt;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::ptr::NonNull;
use std::task::{Context, Poll, Waker};

use super::sync::{AtomicU8, Ordering, UnsafeCell, relax};

/// Neither has come; also while the waiter puts its waker in, which is then its own.
const EMPTY: u8 = 0;
/// The waker is in and belongs to whoever changes this state.
const WAITING: u8 = 1;
/// The answer is in and the replier is gone; added to `WAITING` it makes `WAKING`.
const SENT: u8 = 2;
/// The replier is gone without an answer; added like `SENT`.
const GONE: u8 = 4;
/// Nobody waits any more.
const CLOSED: u8 = 8;

struct Slot<T> {
    state: AtomicU8,
    waker: UnsafeCell<MaybeUninit<Waker>>,
    answer: UnsafeCell<MaybeUninit<T>>,
}

/// A new slot, held from both sides.
#[inline]
pub(crate) fn slot<T: Send>() -> (Replier<T>, Answer<T>) {
    let slot = Slot::lend();
    (Replier { slot }, Answer { slot: Some(slot) })
}

/// The side that owes the answer; dropped without one, it wakes the waiter with `None`.
pub(crate) struct Replier<T> {
    slot: NonNull<Slot<T>>,
}

/// The side that waits; dropped, it makes a later `send` hand the answer back.
pub(crate) struct Answer<T> {
    /// `None` once the end was reported.
    slot: Option<NonNull<Slot<T>>>,
}

// SAFETY: the sides pass a `T` and a `Waker` between threads, both `Send`, each reached by one
// side at a time as the state says; no `&T` is ever given out, so `T: Sync` is not needed.
unsafe impl<T: Send> Send for Replier<T> {}
// SAFETY: through a shared replier only the state can be read.
unsafe impl<T: Send> Sync for Replier<T> {}
// SAFETY: as for the replier.
unsafe impl<T: Send> Send for Answer<T> {}

impl<T> Replier<T> {
    /// Gives the answer to whoever waits; `Err` hands it back when nobody does any more.
    ///
    /// A waker that panics does so here, after the answer is in place.
    #[inline]
    pub(crate) fn send(self, answer: T) -> Result<(), T> {
        let slot = ManuallyDrop::new(self).slot;
        // SAFETY: `self` is taken and not dropped, so this is the replier's one and last step.
        // Until it is made the slot lives and its place for the answer is the replier's; if it
        // returns false the slot is the replier's alone, and the answer that was just written
        // is moved out once.
        unsafe {
            (*slot.as_ptr())
                .answer
                .with_mut(|place| (*place).write(answer));
            if Slot::leave(slot, SENT) {
                return Ok(());
            }
            let answer = Slot::answer(slot);
            Slot::free(slot);
            Err(answer)
        }
    }

    /// Whether somebody still waits.
    #[inline]
    pub(crate) fn is_wanted(&self) -> bool {
        // SAFETY: the replier has not made its step, so the slot lives.
        unsafe { Slot::state(self.slot) }.load(Ordering::Relaxed) != CLOSED
    }
}

impl<T> Drop for Replier<T> {
    fn drop(&mut self) {
        // SAFETY: the replier did not send, so this is its one and last step; if it returns
        // false the slot is the replier's alone, with neither waker nor answer in it.
        unsafe {
            if !Slot::leave(self.slot, GONE) {
                Slot::free(self.slot);
            }
        }
    }
}

impl<T> Answer<T> {
    /// One whose end was reported.
    #[inline]
    pub(crate) const fn over() -> Self {
        Answer { slot: None }
    }

    /// `Some` is the answer, `None` says that there never will be one; afterwards always `None`.
    #[inline]
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        match self.try_take() {
            Some(end) => Poll::Ready(end),
            None => self.wait(cx.waker()),
        }
    }

    /// Whether there is nothing to wait for any more.
    pub(crate) fn is_settled(&self) -> bool {
        let Some(slot) = self.slot else {
            return true;
        };
        // SAFETY: the end was not reported, so this side still holds the slot.
        let state = unsafe { Slot::state(slot) }.load(Ordering::Acquire);
        state != EMPTY && state != WAITING
    }

    /// Takes the answer if it is there, without a waker; what is inside is as `poll` has it.
    #[inline]
    pub(crate) fn try_take(&mut self) -> Option<Option<T>> {
        let Some(slot) = self.slot else {
            return Some(None);
        };
        // SAFETY: the end was not reported, so this side still holds the slot.
        let state = unsafe { Slot::state(slot) }.load(Ordering::Acquire);
        if state != SENT && state != GONE {
            return None;
        }
        self.slot = None;
        // SAFETY: in these states the replier is gone and touches the slot no more, which the
        // load above acquired, and this side has just forgotten it: it is ours to free. An
        // answer is in it if the state says so, and is moved out once.
        unsafe {
            let answer = (state == SENT).then(|| Slot::answer(slot));
            Slot::free(slot);
            Some(answer)
        }
    }

    /// Leaves `waker` for the replier, or takes what came in the meantime.
    fn wait(&mut self, waker: &Waker) -> Poll<Option<T>> {
        let Some(slot) = self.slot else {
            return Poll::Ready(None);
        };
        // SAFETY: this side holds the slot until `settle`, and the state is not looked at after.
        let state = unsafe { Slot::state(slot) };
        let mut former = None;
        let own = match state.load(Ordering::Relaxed) {
            // A waker's `clone` is foreign code: it may panic, or even send the answer.
            // Nothing has changed yet, and the next step finds out.
            EMPTY => waker.clone(),
            WAITING => {
                // SAFETY: this side wrote the waker and nobody writes it but this side. The
                // replier may move it out meanwhile, but only reads for that, so the bytes stay
                // as they are; they are compared as addresses and nothing is called by them.
                // Were the task freed and another put at its address, its poll would come
                // after the replier's step and not see `WAITING` any more.
                let is_same = unsafe { Slot::peek_waker(slot).assume_init_ref().will_wake(waker) };
                if is_same {
                    return Poll::Pending;
                }
                let own = waker.clone();
                if state
                    .compare_exchange(WAITING, EMPTY, Ordering::Relaxed, Ordering::Relaxed)
                    .is_err()
                {
                    let end = self.settle();
                    // Now, as a panic of it when this returns would leak the answer.
                    drop(own);
                    return Poll::Ready(end);
                }
                // SAFETY: this side has just taken `WAITING` back, so the waker is its own again.
                former = Some(unsafe { Slot::peek_waker(slot).assume_init() });
                own
            }
            _ => return Poll::Ready(self.settle()),
        };
        // SAFETY: the state was `EMPTY` by this side's own doing and the replier never makes it
        // `WAITING`, so it does not look at the waker. A former one was moved out.
        unsafe { (*slot.as_ptr()).waker.with_mut(|place| (*place).write(own)) };
        let is_left = state
            .compare_exchange(EMPTY, WAITING, Ordering::Release, Ordering::Relaxed)
            .is_ok();
        if is_left {
            // The former waker is dropped here, where a panic of it does no harm.
            return Poll::Pending;
        }
        // SAFETY: the replier came while the state was `EMPTY`, so it left the waker alone.
        let own = unsafe { Slot::peek_waker(slot).assume_init() };
        let end = self.settle();
        // As above.
        drop(own);
        drop(former);
        Poll::Ready(end)
    }

    /// Takes the end that the replier has begun.
    fn settle(&mut self) -> Option<T> {
        let mut n = 0;
        loop {
            if let Some(end) = self.try_take() {
                return end;
            }
            relax(n);
            n += 1;
        }
    }

    #[cold]
    fn abandon(&mut self, slot: NonNull<Slot<T>>) {
        // SAFETY: this side holds the slot until the exchange to `CLOSED` or the end of `settle`,
        // and the state is not looked at after.
        let state = unsafe { Slot::state(slot) };
        loop {
            let found = state.load(Ordering::Relaxed);
            if found != EMPTY && found != WAITING {
                // Dropped with the slot out of hand, so it may panic or ask again.
                drop(self.settle());
                return;
            }
            // The slot may be freed as soon as it is closed, so the waker's bytes are copied
            // before, and become a waker only if the exchange says that they are this side's.
            // SAFETY: nobody writes the waker but this side; the replier at most reads it too.
            let waker = (found == WAITING).then(|| unsafe { Slot::peek_waker(slot) });
            if state
                .compare_exchange(found, CLOSED, Ordering::Release, Ordering::Relaxed)
                .is_ok()
            {
                self.slot = None;
                // SAFETY: it was `WAITING`, so the waker was in, and the replier will find
                // `CLOSED` and leave it alone: this copy is the only one.
                drop(waker.map(|waker| unsafe { waker.assume_init() }));
                return;
            }
        }
    }
}

impl<T> Drop for Answer<T> {
    #[inline]
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            self.abandon(slot);
        }
    }
}

impl<T> Slot<T> {
    const LAYOUT: Layout = Layout::new::<Self>();
    const CLASS: Option<usize> = pool::class_of(Self::LAYOUT);

    #[inline]
    fn lend() -> NonNull<Self> {
        #[cfg(test)]
        tally::SLOTS.set(tally::SLOTS.get() + 1);
        let slot = match Self::CLASS {
            Some(class) => pool::take(class),
            None => pool::allocate(Self::LAYOUT),
        }
        .cast::<Self>();
        // SAFETY: the block is as large and as aligned as a slot and nobody else has it.
        unsafe {
            slot.write(Slot {
                state: AtomicU8::new(EMPTY),
                waker: UnsafeCell::new(MaybeUninit::uninit()),
                answer: UnsafeCell::new(MaybeUninit::uninit()),
            });
        }
        slot
    }

    /// # Safety
    /// The slot came from `lend`, the caller is its only holder and never looks at it again.
    #[inline]
    unsafe fn free(slot: NonNull<Self>) {
        #[cfg(test)]
        tally::SLOTS.set(tally::SLOTS.get() - 1);
        // SAFETY: by the caller's promise; `lend` chose the block by the same two constants.
        // Waker and answer are not dropped with the slot: whoever owned them has moved them out.
        unsafe {
            // The model does not know of freed memory: to it, this is what ends the slot, and
            // whatever the other side did that is not ordered before it is found.
            #[cfg(greenroom_loom)]
            {
                (*slot.as_ptr()).state.with_mut(|_| ());
                (*slot.as_ptr()).waker.with_mut(|_| ());
                (*slot.as_ptr()).answer.with_mut(|_| ());
            }
            slot.drop_in_place();
            match Self::CLASS {
                Some(class) => pool::give(slot.cast(), class),
                None => pool::deallocate(slot.cast(), Self::LAYOUT),
            }
        }
    }

    /// The state, by itself: a reference to the whole slot would claim more than is ours.
    ///
    /// # Safety
    /// The caller holds the slot for as long as it uses the state.
    #[inline(always)]
    unsafe fn state<'a>(slot: NonNull<Self>) -> &'a AtomicU8 {
        // SAFETY: by the caller's promise.
        unsafe { &(*slot.as_ptr()).state }
    }

    /// # Safety
    /// The caller holds the slot, an answer was written, and is moved out by this call alone.
    #[inline(always)]
    unsafe fn answer(slot: NonNull<Self>) -> T {
        // SAFETY: by the caller's promise.
        unsafe {
            (*slot.as_ptr())
                .answer
                .with(|place| (*place).assume_init_read())
        }
    }

    /// The waker's bytes; who may make a waker of them is said by the state.
    ///
    /// # Safety
    /// The caller holds the slot, and the waker is not written at the same time.
    #[inline(always)]
    unsafe fn peek_waker(slot: NonNull<Self>) -> MaybeUninit<Waker> {
        // SAFETY: by the caller's promise.
        unsafe { (*slot.as_ptr()).waker.with(|place| place.read()) }
    }

    /// The replier's only step; false if nobody waits and the slot is the caller's to free.
    ///
    /// # Safety
    /// Called once for a slot, by the replier; after true it never looks at the slot again.
    #[inline]
    unsafe fn leave(slot: NonNull<Self>, how: u8) -> bool {
        // SAFETY: without this step the other side cannot free the slot.
        let state = unsafe { Self::state(slot) };
        // Release: the answer is seen by who sees the step. Acquire: so is the waker here, and
        // everything that the other side did to the slot before it closed.
        match state.fetch_add(how, Ordering::AcqRel) {
            EMPTY => true,
            WAITING => {
                // SAFETY: the state is `WAKING` now, in which the other side waits and writes
                // nothing; `WAITING` gave the waker to whoever changed it, which is us.
                let waker = unsafe { Self::peek_waker(slot).assume_init() };
                state.store(how, Ordering::Release);
                // From here on the slot may be gone. Only the waker is left, and it is ours.
                waker.wake();
                true
            }
            _ => false,
        }
    }
}

impl<T> fmt::Debug for Replier<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replier")
            .field("is_wanted", &self.is_wanted())
            .finish()
    }
}

impl<T> fmt::Debug for Answer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("is_over", &self.slot.is_none())
            .finish()
    }
}

/// The blocks that a thread keeps for its next slots, by size.
mod pool {
    use super::{Layout, NonNull, alloc, dealloc, handle_alloc_error};
    use std::cell::Cell;

    /// A block of class `n` has `SMALLEST << n` bytes; a slot of a `u64` fits the smallest.
    const SMALLEST: usize = 32;
    const CLASSES: usize = 4;
    const ALIGN: usize = 16;
    /// How many blocks of a class a thread keeps: some 30 KB of all classes together.
    pub(super) const KEPT: usize = 64;

    /// A stack of blocks, which are not touched while they lie in it.
    struct List {
        count: Cell<usize>,
        blocks: [Cell<Option<NonNull<u8>>>; KEPT],
    }

    struct Lists {
        of: [List; CLASSES],
        /// How many a list may hold: none until the thread has promised to clear them.
        limit: Cell<usize>,
    }

    /// Clears the lists at the end of the thread. Apart from them, because a thread local with
    /// a destructor is checked at each use and is out of reach once destroyed.
    struct AtExit;

    thread_local! {
        static LISTS: Lists = const {
            Lists {
                of: [const {
                    List { count: Cell::new(0), blocks: [const { Cell::new(None) }; KEPT] }
                }; CLASSES],
                limit: Cell::new(0),
            }
        };
        static AT_EXIT: AtExit = const { AtExit };
    }

    /// The smallest class that holds `layout`, if one does. Checkers of memory see each slot
    /// by itself, so for them there are no classes.
    pub(super) const fn class_of(layout: Layout) -> Option<usize> {
        let largest = SMALLEST << (CLASSES - 1);
        if cfg!(any(miri, greenroom_loom)) || layout.align() > ALIGN || layout.size() > largest {
            return None;
        }
        let mut class = 0;
        while SMALLEST << class < layout.size() {
            class += 1;
        }
        Some(class)
    }

    #[inline(always)]
    const fn layout_of(class: usize) -> Layout {
        const { assert!(ALIGN.is_power_of_two()) };
        // SAFETY: the alignment is a power of two and the size is a few hundred bytes.
        unsafe { Layout::from_size_align_unchecked(SMALLEST << class, ALIGN) }
    }

    #[inline]
    pub(super) fn take(class: usize) -> NonNull<u8> {
        let kept = LISTS.try_with(|lists| lists.of[class].pop());
        match kept {
            Ok(Some(block)) => block,
            _ => allocate(layout_of(class)),
        }
    }

    /// # Safety
    /// The block came from `take` with this `class`, and nobody uses it any more.
    #[inline]
    pub(super) unsafe fn give(block: NonNull<u8>, class: usize) {
        let is_kept = LISTS.try_with(|lists| {
            let list = &lists.of[class];
            (list.count.get() < lists.limit.get() || lists.open()) && list.push(block)
        });
        if is_kept != Ok(true) {
            // SAFETY: the caller's promise, and `take` allocates with this layout.
            unsafe { deallocate(block, layout_of(class)) };
        }
    }

    impl List {
        #[inline(always)]
        fn pop(&self) -> Option<NonNull<u8>> {
            let count = self.count.get().checked_sub(1)?;
            self.count.set(count);
            self.blocks.get(count)?.get()
        }

        #[inline(always)]
        fn push(&self, block: NonNull<u8>) -> bool {
            let count = self.count.get();
            let Some(place) = self.blocks.get(count) else {
                return false;
            };
            place.set(Some(block));
            self.count.set(count + 1);
            true
        }
    }

    impl Lists {
        /// Lets the lists fill from now on; false if they do already, or the thread is at its end.
        #[cold]
        fn open(&self) -> bool {
            // The first use of `AT_EXIT` is what makes it run; after it ran, this fails.
            if self.limit.get() > 0 || AT_EXIT.try_with(|_| ()).is_err() {
                return false;
            }
            self.limit.set(KEPT);
            true
        }
    }

    impl Drop for AtExit {
        fn drop(&mut self) {
            let _ = LISTS.try_with(|lists| {
                // Closed first, so that nothing comes in any more.
                lists.limit.set(0);
                for (class, list) in lists.of.iter().enumerate() {
                    while let Some(block) = list.pop() {
                        // SAFETY: the block was in the list of its class, so it came from
                        // `allocate` with this layout and is nobody's but this thread's.
                        unsafe { deallocate(block, layout_of(class)) };
                    }
                }
            });
        }
    }

    #[cold]
    pub(super) fn allocate(layout: Layout) -> NonNull<u8> {
        #[cfg(test)]
        super::tally::BLOCKS.set(super::tally::BLOCKS.get() + 1);
        // SAFETY: no layout of a slot or a class is empty.
        NonNull::new(unsafe { alloc(layout) }).unwrap_or_else(|| handle_alloc_error(layout))
    }

    /// # Safety
    /// The block came from `allocate` with this `layout`, and nobody uses it any more.
    #[cold]
    pub(super) unsafe fn deallocate(block: NonNull<u8>, layout: Layout) {
        #[cfg(test)]
        super::tally::BLOCKS.set(super::tally::BLOCKS.get() - 1);
        // SAFETY: by the caller's promise.
        unsafe { dealloc(block.as_ptr(), layout) };
    }
}

/// What this thread took minus what it gave back; over all threads of a test, what leaked.
#[cfg(test)]
mod tally {
    use std::cell::Cell;

    thread_local! {
        pub(super) static SLOTS: Cell<isize> = const { Cell::new(0) };
        pub(super) static BLOCKS: Cell<isize> = const { Cell::new(0) };
    }
}

#[cfg(test)]
#[cfg(not(any(greenroom_loom, greenroom_shuttle)))]
mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering::SeqCst};
    use std::sync::{Arc, Mutex, mpsc};
    use std::task::Wake;
    use std::thread;

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
}

#[cfg(test)]
#[cfg(greenroom_loom)]
mod loom_tests {
    use super::*;
    use loom::thread;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::task::Wake;

    /// An answer that counts its end; the counters are std's, no part of what is modelled.
    struct Value(Arc<AtomicUsize>);

    impl Drop for Value {
        fn drop(&mut self) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    #[derive(Default)]
    struct Bell(AtomicUsize);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    /// An answer that is still waited for, and by which waker.
    type Waiting = Option<(Answer<Value>, usize)>;

    /// Lets the two sides loose on a slot and counts afterwards: values, slots, wakers and, if
    /// the waiter still waits, that the last waker it left was woken and the end is there.
    fn check(
        replies: fn(Replier<Value>, Value) -> bool,
        waits: fn(Answer<Value>, &[Waker; 2]) -> Waiting,
    ) {
        loom::model(move || {
            let ends = Arc::new(AtomicUsize::new(0));
            let bells = [Arc::new(Bell::default()), Arc::new(Bell::default())];
            let wakers = bells.clone().map(Waker::from);
            let (replier, answer) = slot();
            let value = Value(ends.clone());
            let callee = thread::spawn(move || replies(replier, value));
            let waiting = waits(answer, &wakers);
            let is_sent = callee.join().unwrap();
            if let Some((mut answer, last)) = waiting {
                assert_eq!(bells[last].0.load(SeqCst), 1, "the wake was lost");
                let end = answer.try_take().expect("woken for nothing");
                assert_eq!(end.is_some(), is_sent);
            }
            drop(wakers);
            assert!(bells.iter().all(|bell| Arc::strong_count(bell) == 1));
            assert_eq!(ends.load(SeqCst), 1);
            assert_eq!((tally::SLOTS.get(), tally::BLOCKS.get()), (0, 0));
        });
    }

    fn sends(replier: Replier<Value>, value: Value) -> bool {
        let was_wanted = replier.is_wanted();
        let is_sent = replier.send(value).is_ok();
        assert!(was_wanted || !is_sent);
        is_sent
    }

    fn drops(replier: Replier<Value>, _: Value) -> bool {
        drop(replier);
        false
    }

    /// Polls with the wakers of `order` one after the other for as long as there is no end.
    fn polls(mut answer: Answer<Value>, wakers: &[Waker; 2], order: &[usize]) -> Waiting {
        for &of in order {
            if answer
                .poll(&mut Context::from_waker(&wakers[of]))
                .is_ready()
            {
                assert!(matches!(answer.try_take(), Some(None)));
                return None;
            }
        }
        Some((answer, order.last().copied().unwrap_or(0)))
    }

    fn gives_up(answer: Answer<Value>, wakers: &[Waker; 2], order: &[usize]) -> Waiting {
        drop(polls(answer, wakers, order));
        None
    }

    #[test]
    fn a_send_meets_a_poll() {
        check(sends, |answer, wakers| polls(answer, wakers, &[0]));
        check(sends, |answer, wakers| polls(answer, wakers, &[0, 0]));
    }

    #[test]
    fn a_send_meets_a_second_poll_with_another_waker() {
        check(sends, |answer, wakers| polls(answer, wakers, &[0, 1]));
        check(sends, |answer, wakers| polls(answer, wakers, &[1, 1, 0]));
    }

    #[test]
    fn a_dropped_replier_meets_polls() {
        check(drops, |answer, wakers| polls(answer, wakers, &[0]));
        check(drops, |answer, wakers| polls(answer, wakers, &[0, 1]));
    }

    #[test]
    fn the_end_meets_a_dropped_answer() {
        for replies in [sends, drops] {
            check(replies, |answer, wakers| gives_up(answer, wakers, &[]));
            check(replies, |answer, wakers| gives_up(answer, wakers, &[0]));
            check(replies, |answer, wakers| gives_up(answer, wakers, &[0, 1]));
        }
    }
}
