//! Futures of any type in buffers that are used again and again.
//!
//! A handler's future lives for one message. A box for each costs more than the
//! handler; so a future is built in a buffer that its thread keeps ready, and
//! when it pends, which few do, the buffer simply goes with it and the thread
//! takes another. A polled future cannot move, and it never does.
//!
//! Buffers come in classes of 128 to 1,024 bytes; a larger future gets memory
//! of its own. Each thread keeps a few of each class, so a steady flow of
//! messages allocates nothing.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll};

/// The sizes of buffers, header not included.
const CLASSES: [usize; 4] = [128, 256, 512, 1024];
/// The class of a future that gets memory of its own.
const LARGE: usize = CLASSES.len();
/// How many buffers of a class a thread keeps.
const KEPT: u32 = 64;
const ALIGN: usize = 16;

/// What precedes the future in its buffer.
#[repr(C, align(16))]
struct Head {
    table: Option<&'static Table>,
    /// The next free buffer, while this one is free.
    next: Option<NonNull<Head>>,
}

/// What becomes of the output of a future; it lies beside it.
pub(crate) trait Then<O> {
    type Result;
    fn then(self, output: O) -> Self::Result;
}

/// A future, until it has completed, and what follows.
struct Chain<N, F> {
    then: Option<N>,
    future: MaybeUninit<F>,
}

/// What can be done with a future whose type is forgotten.
struct Table {
    class: usize,
    /// Of the whole buffer.
    layout: Layout,
    /// From the head to the future.
    offset: usize,
    drop: unsafe fn(NonNull<u8>),
}

const fn class_of(layout: Layout) -> usize {
    if layout.align() > ALIGN {
        return LARGE;
    }
    let mut class = 0;
    while class < LARGE {
        if layout.size() <= CLASSES[class] {
            return class;
        }
        class += 1;
    }
    LARGE
}

const fn pooled_layout(class: usize) -> Layout {
    match Layout::from_size_align(size_of::<Head>() + CLASSES[class], ALIGN) {
        Ok(layout) => layout,
        Err(_) => panic!("a class has a valid layout"),
    }
}

/// The buffers that one thread keeps.
struct Kept {
    free: [Cell<Option<NonNull<Head>>>; LARGE],
    count: [Cell<u32>; LARGE],
}

impl Drop for Kept {
    fn drop(&mut self) {
        HOT.with(|hot| hot.is_open.set(false));
        for class in 0..LARGE {
            if let Some(mut head) = HOT.with(|hot| hot.latest[class].take()) {
                // SAFETY: the buffer is initialised, of this class, and nobody else's.
                unsafe { head.as_mut().next = self.free[class].replace(Some(head)) };
            }
            let mut next = self.free[class].take();
            while let Some(head) = next {
                // SAFETY: a buffer in the list is initialised, of this class, and nobody else's.
                unsafe {
                    next = head.as_ref().next;
                    dealloc(head.as_ptr().cast(), pooled_layout(class));
                }
            }
        }
    }
}

/// The buffer of each class that was given back last: the one that the next message takes.
///
/// It has no destructor, so to reach it costs no look whether it is still there.
struct Hot {
    latest: [Cell<Option<NonNull<Head>>>; LARGE],
    /// [`Kept`] is there, and will free what lies here.
    is_open: Cell<bool>,
}

thread_local! {
    static HOT: Hot = const {
        Hot {
            latest: [const { Cell::new(None) }; LARGE],
            is_open: Cell::new(false),
        }
    };
    static KEPT_HERE: Kept = const {
        Kept {
            free: [const { Cell::new(None) }; LARGE],
            count: [const { Cell::new(0) }; LARGE],
        }
    };
}

#[inline(always)]
fn take(class: usize) -> NonNull<Head> {
    match HOT.with(|hot| hot.latest[class].take()) {
        Some(head) => head,
        None => take_kept(class),
    }
}

#[inline(never)]
fn take_kept(class: usize) -> NonNull<Head> {
    let kept = KEPT_HERE.try_with(|kept| {
        let head = kept.free[class].get()?;
        // SAFETY: a buffer in the list is initialised and nobody else's.
        kept.free[class].set(unsafe { head.as_ref().next });
        kept.count[class].set(kept.count[class].get() - 1);
        Some(head)
    });
    if kept.is_ok() {
        HOT.with(|hot| hot.is_open.set(true));
    }
    match kept {
        Ok(Some(head)) => head,
        _ => allocate(pooled_layout(class)),
    }
}

#[cold]
fn allocate(layout: Layout) -> NonNull<Head> {
    // SAFETY: the layout holds a head at least, so it is not empty.
    let Some(head) = NonNull::new(unsafe { alloc(layout) }) else {
        handle_alloc_error(layout)
    };
    let head = head.cast::<Head>();
    let fresh = Head {
        table: None,
        next: None,
    };
    // SAFETY: fresh memory, large and aligned enough for a head.
    unsafe { head.write(fresh) };
    head
}

/// Gives a buffer back.
///
/// # Safety
/// The buffer was made for this table, holds no future, and is not used again.
#[inline]
unsafe fn give_back(head: NonNull<Head>, class: usize, layout: Layout) {
    if class != LARGE {
        let is_hot = HOT.with(|hot| {
            let is_free = hot.is_open.get() && hot.latest[class].get().is_none();
            if is_free {
                hot.latest[class].set(Some(head));
            }
            is_free
        });
        if is_hot {
            return;
        }
    }
    // SAFETY: as the caller promises.
    unsafe { give_back_slowly(head, class, layout) };
}

/// # Safety
/// As [`give_back`].
#[inline(never)]
unsafe fn give_back_slowly(mut head: NonNull<Head>, class: usize, layout: Layout) {
    if class != LARGE {
        let kept = KEPT_HERE.try_with(|kept| {
            let count = kept.count[class].get();
            if count >= KEPT {
                return false;
            }
            // SAFETY: the buffer is ours, and initialised since it was allocated.
            unsafe { head.as_mut().next = kept.free[class].get() };
            kept.free[class].set(Some(head));
            kept.count[class].set(count + 1);
            true
        });
        if kept == Ok(true) {
            return;
        }
    }
    // SAFETY: it was allocated with this layout, as the caller says.
    unsafe { dealloc(head.as_ptr().cast(), layout) };
}

struct TableOf<N, F>(PhantomData<(N, F)>);

impl<N, F> TableOf<N, F> {
    const LAYOUT: (Layout, usize) = {
        match Layout::new::<Head>().extend(Layout::new::<Chain<N, F>>()) {
            Ok((layout, offset)) => (layout.pad_to_align(), offset),
            Err(_) => panic!("a future of this size does not fit into memory"),
        }
    };
    const CLASS: usize = class_of(Layout::new::<Chain<N, F>>());
    const TABLE: Table = Table {
        class: Self::CLASS,
        layout: if Self::CLASS == LARGE {
            Self::LAYOUT.0
        } else {
            pooled_layout(Self::CLASS)
        },
        offset: Self::LAYOUT.1,
        // SAFETY: called with a pointer to a live chain of this type only, see `Pooled`.
        drop: |chain| unsafe {
            let chain = chain.cast::<Chain<N, F>>().as_mut();
            // A future that has completed was dropped then.
            if chain.then.take().is_some() {
                chain.future.assume_init_drop();
            }
        },
    };

    /// A buffer for it.
    #[inline(always)]
    fn take() -> NonNull<Head> {
        if Self::CLASS == LARGE {
            allocate(Self::LAYOUT.0)
        } else {
            take(Self::CLASS)
        }
    }

    /// # Safety
    /// The buffer was taken for these types.
    #[inline(always)]
    unsafe fn chain(head: NonNull<Head>) -> *mut Chain<N, F> {
        // SAFETY: the offset lies inside the buffer.
        unsafe { head.byte_add(Self::LAYOUT.1) }.cast().as_ptr()
    }

    /// # Safety
    /// As [`chain`](Self::chain).
    #[inline(always)]
    unsafe fn future(head: NonNull<Head>) -> *mut F {
        // SAFETY: as the caller promises; only the address of the field is taken.
        unsafe { (&raw mut (*Self::chain(head)).future).cast() }
    }
}

/// A future with the result `T` in a buffer, its type forgotten.
pub(crate) struct Pooled<T> {
    /// The head of a buffer that holds a live future.
    head: NonNull<Head>,
    poll: unsafe fn(NonNull<u8>, &mut Context<'_>) -> Poll<T>,
    _result: PhantomData<fn() -> T>,
}

// SAFETY: it owns a future that is `Send`, see `new`; buffers belong to no thread.
unsafe impl<T> Send for Pooled<T> {}

impl<T> Pooled<T> {
    /// Makes a future in a buffer, and `then` beside it.
    #[inline(always)]
    pub(crate) fn new<N, F>(then: N, make: impl FnOnce() -> F) -> Self
    where
        N: Then<F::Output, Result = T> + Send + 'static,
        F: Future + Send + 'static,
    {
        let head = TableOf::<N, F>::take();
        // The buffer is lost if making the future panics, which the allocator never hears of: a
        // guard would cost every message.
        // SAFETY: the buffer is ours alone and holds the head, and behind it a chain, as its layout
        // says; the future is written into its place, so that it is not moved.
        unsafe {
            TableOf::<N, F>::future(head).write(make());
            Self::complete(head, Some(then), PhantomData::<F>)
        }
    }

    /// Adds what follows to a future that is in its buffer.
    ///
    /// # Safety
    /// The buffer was taken for these types; a live future is in it, unless `then` is missing.
    #[inline(always)]
    unsafe fn complete<N, F>(head: NonNull<Head>, then: Option<N>, _: PhantomData<F>) -> Self
    where
        N: Then<F::Output, Result = T> + Send + 'static,
        F: Future + Send + 'static,
    {
        // SAFETY: as the caller promises.
        unsafe {
            (&raw mut (*TableOf::<N, F>::chain(head)).then).write(then);
            (*head.as_ptr()).table = Some(&TableOf::<N, F>::TABLE);
        }
        Pooled {
            head,
            // SAFETY: called with a pointer to a live chain that does not move until it is dropped.
            poll: |chain, cx| unsafe {
                let chain = chain.cast::<Chain<N, F>>().as_ptr();
                if (*chain).then.is_none() {
                    return Poll::Pending;
                }
                let future = &mut *(&raw mut (*chain).future).cast::<F>();
                let Poll::Ready(output) = Pin::new_unchecked(future).poll(cx) else {
                    return Poll::Pending;
                };
                let Some(then) = (*chain).then.take() else {
                    return Poll::Pending;
                };
                (*chain).future.assume_init_drop();
                Poll::Ready(then.then(output))
            },
            _result: PhantomData,
        }
    }

    /// Makes a future in a buffer and polls it at once: where it ends at once, which most do, the compiler sees
    /// through both. Where it pends, or panics, it is in `rest` afterwards.
    ///
    /// # Safety
    /// There is no future in `rest`, and nobody else touches that during the call.
    #[inline(always)]
    pub(crate) unsafe fn run_new<N, F>(
        then: N,
        make: impl FnOnce() -> F,
        cx: &mut Context<'_>,
        rest: NonNull<Option<Self>>,
    ) -> Poll<T>
    where
        N: Then<F::Output, Result = T> + Send + 'static,
        F: Future + Send + 'static,
    {
        /// Leaves the future in `rest`, also when it panics.
        struct Begun<N, F, T>
        where
            N: Then<F::Output, Result = T> + Send + 'static,
            F: Future + Send + 'static,
        {
            head: NonNull<Head>,
            then: Option<N>,
            rest: NonNull<Option<Pooled<T>>>,
            _future: PhantomData<F>,
        }
        impl<N, F, T> Drop for Begun<N, F, T>
        where
            N: Then<F::Output, Result = T> + Send + 'static,
            F: Future + Send + 'static,
        {
            #[inline]
            fn drop(&mut self) {
                // SAFETY: the future is in the buffer, or has been dropped there if `then` is gone;
                // and the caller leaves `rest` to this call.
                unsafe {
                    let future = Pooled::complete(self.head, self.then.take(), PhantomData::<F>);
                    self.rest.write(Some(future));
                }
            }
        }
        let head = TableOf::<N, F>::take();
        // The buffer is lost if making the future panics, see `new`.
        // SAFETY: the buffer is ours alone and holds the head, and behind it a chain. What is
        // written there is a live future, which does not move until it is dropped.
        unsafe {
            let future = TableOf::<N, F>::future(head);
            future.write(make());
            let mut begun = Begun::<N, F, T> {
                head,
                then: Some(then),
                rest,
                _future: PhantomData,
            };
            let Poll::Ready(output) = Pin::new_unchecked(&mut *future).poll(cx) else {
                return Poll::Pending;
            };
            let then = begun.then.take();
            future.drop_in_place();
            std::mem::forget(begun);
            let table = &TableOf::<N, F>::TABLE;
            give_back(head, table.class, table.layout);
            match then {
                Some(then) => Poll::Ready(then.then(output)),
                None => Poll::Pending,
            }
        }
    }

    /// Polls the future; not to be called again once it has completed, which the future itself guards against.
    #[inline]
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<T> {
        // SAFETY: the future is live until `self` is dropped and stays where it is, and `&mut self`
        // makes this the only access.
        unsafe { (self.poll)(self.future(), cx) }
    }

    #[inline]
    fn table(&self) -> &'static Table {
        // SAFETY: the head is initialised and only read here.
        match unsafe { self.head.as_ref().table } {
            Some(table) => table,
            None => unreachable!("a buffer with a future has a table"),
        }
    }

    #[inline]
    fn future(&self) -> NonNull<u8> {
        // SAFETY: the offset lies inside the buffer.
        unsafe { self.head.byte_add(self.table().offset).cast() }
    }
}

impl<T> Drop for Pooled<T> {
    #[inline]
    fn drop(&mut self) {
        /// Gives the buffer back also when dropping the future panics.
        struct Buffer(NonNull<Head>, &'static Table);
        impl Drop for Buffer {
            #[inline]
            fn drop(&mut self) {
                // SAFETY: the future was dropped, or panicked while it was, which ends it as well.
                unsafe { give_back(self.0, self.1.class, self.1.layout) };
            }
        }
        let table = self.table();
        let future = self.future();
        let _buffer = Buffer(self.head, table);
        // SAFETY: the future is live and this is the last access to it.
        unsafe { (table.drop)(future) };
    }
}

impl<T> fmt::Debug for Pooled<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pooled").finish_non_exhaustive()
    }
}

#[cfg(all(test, not(any(greenroom_loom, greenroom_shuttle))))]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;
    use std::task::Waker;

    use super::*;

    fn poll<T>(future: &mut Pooled<T>) -> Poll<T> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    struct Same;
    impl<O> Then<O> for Same {
        type Result = O;
        fn then(self, output: O) -> O {
            output
        }
    }

    fn pooled<F: Future + Send + 'static>(future: F) -> Pooled<F::Output> {
        Pooled::new(Same, || future)
    }

    /// Pends once and then yields what it holds.
    struct Once<T>(Option<T>, bool);

    impl<T: Unpin> Future for Once<T> {
        type Output = T;
        fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<T> {
            if !std::mem::replace(&mut self.1, true) {
                return Poll::Pending;
            }
            match self.0.take() {
                Some(value) => Poll::Ready(value),
                None => Poll::Pending,
            }
        }
    }

    #[test]
    fn futures_of_every_size_and_alignment_run_and_are_dropped_once() {
        #[repr(align(64))]
        #[derive(Clone)]
        struct Wide(#[expect(dead_code, reason = "it only takes room")] [u8; 64]);
        fn check<P: Send + Unpin + Clone + 'static>(payload: P) {
            let count = Arc::new(());
            let mut future = pooled(Once(Some((Arc::clone(&count), payload.clone())), false));
            assert!(poll(&mut future).is_pending());
            assert_eq!(Arc::strong_count(&count), 2);
            let Poll::Ready((held, _)) = poll(&mut future) else {
                panic!("it is ready")
            };
            drop(held);
            drop(future);
            assert_eq!(Arc::strong_count(&count), 1);
            drop(pooled(Once(Some((Arc::clone(&count), payload)), false)));
            assert_eq!(Arc::strong_count(&count), 1, "also one that never ran");
        }
        check(());
        check([0u8; 90]);
        check([0u64; 30]);
        check([0u64; 60]);
        check([0u64; 120]);
        check([0u64; 5_000]);
        check(Wide([0; 64]));
    }

    #[test]
    fn a_buffer_is_used_again_by_the_next_future() {
        let first = pooled(std::future::ready(1));
        let place = first.head;
        drop(first);
        let second = pooled(std::future::ready(2));
        assert_eq!(second.head, place);
    }

    #[test]
    fn a_future_may_end_on_another_thread() {
        let mut future = pooled(Once(Some(7), false));
        assert!(poll(&mut future).is_pending());
        let ended = std::thread::spawn(move || poll(&mut future));
        assert_eq!(ended.join().ok(), Some(Poll::Ready(7)));
    }

    #[test]
    fn a_future_that_panics_when_dropped_gives_its_buffer_back() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("boom");
            }
        }
        let bomb = Bomb;
        let future = pooled(async move {
            let _bomb = bomb;
        });
        let place = future.head;
        assert!(catch_unwind(AssertUnwindSafe(|| drop(future))).is_err());
        assert_eq!(pooled(std::future::ready(())).head, place);
    }
}
