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

#[cfg(test)]
#[cfg(greenroom_loom)]
mod loom_tests;
#[cfg(test)]
#[cfg(not(any(greenroom_loom, greenroom_shuttle)))]
mod tests;

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
