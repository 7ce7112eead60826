//! A queue that is one word while nothing has ever been in it, as most are.
//!
//! ```text
//!   queue ──> | capacity | first | len | item | item | free | item |
//! ```
//!
//! It is a ring in one piece of memory, so that who looks into a queue that is
//! not in the cache waits for it once.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::collections::VecDeque;
use std::marker::PhantomData;
use std::ptr::NonNull;

pub(crate) struct Queue<T> {
    /// Of a ring that is this queue's alone, `None` before the first item.
    head: Option<NonNull<Head>>,
    _owns: PhantomData<T>,
}

// SAFETY: it owns its items and hands them out by `&mut self` only.
unsafe impl<T: Send> Send for Queue<T> {}

/// What precedes the items; `first` is below `capacity`, `len` at most as large.
struct Head {
    capacity: u32,
    /// The place of the item at the front.
    first: u32,
    len: u32,
}

/// How many items the first ring has room for.
const CAPACITY_MIN: u32 = 4;

impl<T> Queue<T> {
    pub(crate) const fn new() -> Self {
        Queue {
            head: None,
            _owns: PhantomData,
        }
    }

    /// The layout of a ring, and where its items begin.
    fn layout(capacity: u32) -> (Layout, usize) {
        let items = Layout::array::<T>(capacity as usize);
        match items.and_then(|items| Layout::new::<Head>().extend(items)) {
            Ok(layout) => layout,
            Err(_) => unreachable!("a queue of this length does not fit into memory"),
        }
    }

    /// # Safety
    /// `head` is of a ring of this type, and `n` below its capacity or a number that wraps around it once.
    #[inline(always)]
    unsafe fn item(head: NonNull<Head>, n: u32) -> NonNull<T> {
        const {
            assert!(
                align_of::<T>() <= align_of::<u128>(),
                "its place is found by a constant"
            );
        }
        let offset = size_of::<Head>().next_multiple_of(align_of::<T>());
        // SAFETY: as the caller says, the place is inside of the ring.
        unsafe {
            let capacity = head.as_ref().capacity;
            let place = if n < capacity { n } else { n - capacity };
            head.byte_add(offset).cast::<T>().add(place as usize)
        }
    }

    #[inline(always)]
    fn head(&self) -> Option<&Head> {
        // SAFETY: it is initialised, and changed through `&mut self` only.
        self.head.map(|head| unsafe { head.as_ref() })
    }

    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.head().map_or(0, |head| head.len as usize)
    }

    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.head().is_none_or(|head| head.len == 0)
    }

    /// For how many items there is memory.
    #[cfg(all(test, not(any(greenroom_loom, greenroom_shuttle))))]
    pub(crate) fn room(&self) -> usize {
        self.head().map_or(0, |head| head.capacity as usize)
    }

    /// Returns a ring that has room for one more.
    #[inline(always)]
    fn with_room(&mut self) -> NonNull<Head> {
        match self.head {
            // SAFETY: as in `head`.
            Some(head) if unsafe { head.as_ref().len < head.as_ref().capacity } => head,
            _ => self.grow(),
        }
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self) -> NonNull<Head> {
        let capacity = match self.head() {
            None => CAPACITY_MIN,
            Some(head) => match head.capacity.checked_mul(2) {
                Some(capacity) if capacity <= u32::MAX / 2 => capacity,
                _ => unreachable!("a queue of this length does not fit into memory"),
            },
        };
        let layout = Self::layout(capacity).0;
        // SAFETY: the layout holds a head at least, so it is not empty.
        let Some(new) = NonNull::new(unsafe { alloc(layout) }) else {
            handle_alloc_error(layout)
        };
        let new = new.cast::<Head>();
        let len = self.head().map_or(0, |head| head.len);
        let first = 0;
        // SAFETY: fresh memory, large and aligned enough for a head and so many items; these are
        // moved in at most two pieces, and the old ring, which holds none then, is given back.
        unsafe {
            new.write(Head {
                capacity,
                first,
                len,
            });
            if let Some(old) = self.head {
                let Head {
                    capacity, first, ..
                } = *old.as_ref();
                let piece = len.min(capacity - first);
                let (from, to) = (Self::item(old, first), Self::item(new, 0));
                from.copy_to_nonoverlapping(to, piece as usize);
                let (from, to) = (Self::item(old, 0), Self::item(new, piece));
                from.copy_to_nonoverlapping(to, (len - piece) as usize);
                dealloc(old.as_ptr().cast(), Self::layout(capacity).0);
            }
        }
        self.head = Some(new);
        new
    }

    #[inline(always)]
    pub(crate) fn push_back(&mut self, item: T) {
        let mut head = self.with_room();
        // SAFETY: there is room behind the last, and what is there is no item.
        unsafe {
            let Head { first, len, .. } = *head.as_ref();
            Self::item(head, first + len).write(item);
            head.as_mut().len = len + 1;
        }
    }

    pub(crate) fn push_front(&mut self, item: T) {
        let mut head = self.with_room();
        // SAFETY: there is room before the first, and what is there is no item.
        unsafe {
            let Head {
                capacity, first, ..
            } = *head.as_ref();
            let first = first.checked_sub(1).unwrap_or(capacity - 1);
            Self::item(head, first).write(item);
            head.as_mut().first = first;
            head.as_mut().len += 1;
        }
    }

    #[inline(always)]
    pub(crate) fn pop_front(&mut self) -> Option<T> {
        let mut head = self.head?;
        // SAFETY: where there is an item at the front it is initialised, and from here on the caller's.
        unsafe {
            let Head {
                capacity,
                first,
                len,
            } = *head.as_ref();
            if len == 0 {
                return None;
            }
            let item = Self::item(head, first).read();
            let next = first + 1;
            head.as_mut().first = if next < capacity { next } else { 0 };
            head.as_mut().len = len - 1;
            Some(item)
        }
    }

    pub(crate) fn pop_back(&mut self) -> Option<T> {
        let mut head = self.head?;
        // SAFETY: where there is an item at the back it is initialised, and from here on the caller's.
        unsafe {
            let Head { first, len, .. } = *head.as_ref();
            let last = len.checked_sub(1)?;
            head.as_mut().len = last;
            Some(Self::item(head, first + last).read())
        }
    }

    /// Looks at all items, from the front.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        let len = self.head().map_or(0, |head| head.len);
        (0..len).filter_map(|n| {
            let head = self.head?;
            // SAFETY: there are so many items behind the first, borrowed from `self` as this iterator is.
            Some(unsafe { Self::item(head, head.as_ref().first + n).as_ref() })
        })
    }

    /// Moves all items of another one to the end of this.
    pub(crate) fn append(&mut self, other: &mut Self) {
        while let Some(item) = other.pop_front() {
            self.push_back(item);
        }
    }

    /// Takes all items out.
    pub(crate) fn take(&mut self) -> VecDeque<T> {
        std::iter::from_fn(|| self.pop_front()).collect()
    }
}

impl<T> Drop for Queue<T> {
    fn drop(&mut self) {
        struct Ring<'a, T>(&'a mut Queue<T>);
        impl<T> Drop for Ring<'_, T> {
            fn drop(&mut self) {
                while let Some(item) = self.0.pop_front() {
                    drop(item);
                }
                if let Some(head) = self.0.head.take() {
                    // SAFETY: it was allocated with this layout, and there is no item in it.
                    unsafe {
                        let layout = Queue::<T>::layout(head.as_ref().capacity).0;
                        dealloc(head.as_ptr().cast(), layout);
                    }
                }
            }
        }
        // Also when an item panics as it is dropped.
        let ring = Ring(self);
        while let Some(item) = ring.0.pop_front() {
            drop(item);
        }
    }
}

#[cfg(all(test, not(any(greenroom_loom, greenroom_shuttle))))]
mod tests {
    use std::rc::Rc;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        PushBack,
        PushFront,
        PopFront,
        PopBack,
        Append(usize),
        Take,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => Just(Step::PushBack),
            2 => Just(Step::PushFront),
            4 => Just(Step::PopFront),
            1 => Just(Step::PopBack),
            1 => (0..9_usize).prop_map(Step::Append),
            1 => Just(Step::Take),
        ]
    }

    proptest! {
        #[test]
        fn it_holds_what_a_deque_would_hold_and_drops_each_item_once(
            steps in prop::collection::vec(step(), 0..120),
        ) {
            let (mut queue, mut deque) = (Queue::new(), VecDeque::new());
            let mut made = Vec::new();
            let mut make = || {
                made.push(Rc::new(made.len()));
                Rc::clone(&made[made.len() - 1])
            };
            for step in steps {
                match step {
                    Step::PushBack => {
                        let item = make();
                        queue.push_back(Rc::clone(&item));
                        deque.push_back(item);
                    }
                    Step::PushFront => {
                        let item = make();
                        queue.push_front(Rc::clone(&item));
                        deque.push_front(item);
                    }
                    Step::PopFront => prop_assert_eq!(queue.pop_front(), deque.pop_front()),
                    Step::PopBack => prop_assert_eq!(queue.pop_back(), deque.pop_back()),
                    Step::Append(n) => {
                        let mut other = Queue::new();
                        for item in (0..n).map(|_| make()) {
                            other.push_back(Rc::clone(&item));
                            deque.push_back(item);
                        }
                        queue.append(&mut other);
                        prop_assert!(other.is_empty());
                    }
                    Step::Take => {
                        prop_assert_eq!(queue.take(), std::mem::take(&mut deque));
                    }
                }
                prop_assert_eq!(queue.len(), deque.len());
                prop_assert!(queue.iter().eq(deque.iter()));
                prop_assert!(queue.iter().rev().eq(deque.iter().rev()));
                prop_assert_eq!(queue.is_empty(), deque.is_empty());
            }
            drop((queue, deque));
            prop_assert!(made.iter().all(|item| Rc::strong_count(item) == 1));
        }
    }

    #[test]
    fn it_is_a_word_and_holds_what_has_another_alignment() {
        assert_eq!(size_of::<Queue<u64>>(), 8);
        let mut queue = Queue::new();
        (0..100_u128).for_each(|n| queue.push_back(n));
        assert!(queue.take().into_iter().eq(0..100));
        let mut queue = Queue::new();
        (0..100).for_each(|_| queue.push_back(()));
        assert_eq!(queue.take().len(), 100);
    }

    #[test]
    fn an_item_that_panics_as_it_is_dropped_keeps_no_other_from_it() {
        struct Loud {
            _counted: Rc<()>,
            is_loud: bool,
        }
        impl Drop for Loud {
            fn drop(&mut self) {
                assert!(!self.is_loud, "it is loud");
            }
        }
        let count = Rc::new(());
        let mut queue = Queue::new();
        for n in 0..6 {
            queue.push_back(Loud {
                _counted: Rc::clone(&count),
                is_loud: n == 2,
            });
        }
        let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(queue)));
        assert!(dropped.is_err());
        assert_eq!(Rc::strong_count(&count), 1);
    }
}
