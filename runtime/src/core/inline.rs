//! A value whose type is forgotten, held in place if it is small.
//!
//! Up to so many words as the family says lie inside; what is larger is boxed. Beside the
//! value is a table, chosen by its type, of what can be done with it, so that a
//! call is one jump through the table and a small message costs no allocation.

use std::any::TypeId;
use std::fmt;
use std::mem::{ManuallyDrop, MaybeUninit};

/// Says which table values of type `V` have among values of this kind.
///
/// # Safety
/// The form in the table is [`Form::of`] this family and `V`.
pub(crate) unsafe trait Kind<V>: Family {
    const TABLE: &'static Self::Table;
}

/// A family of values, and the table that its members have.
pub(crate) trait Family: Sized + 'static {
    /// The room for a value that lies inside: an array of at least one `u64`.
    type Room: Copy;
    type Table: AsRef<Form> + 'static;
}

/// A value of some type that is `Send`, with the table that `K` has for the type.
///
/// The data stands first: it is copied by 16 bytes, and read by 16 bytes again soon afterwards,
/// which processors do without waiting only if the two begin at the same place.
#[repr(C)]
pub(crate) struct Inline<K: Family> {
    data: MaybeUninit<K::Room>,
    table: &'static K::Table,
}

/// How a value of some type lies inside and is dropped.
pub(crate) struct Form {
    type_id: fn() -> TypeId,
    drop: Option<unsafe fn(*mut u8)>,
}

/// Whether a value of this type lies inside, or is boxed.
pub(crate) const fn is_inline<K: Family, V>() -> bool {
    size_of::<V>() <= size_of::<K::Room>() && align_of::<V>() <= align_of::<K::Room>()
}

impl Form {
    pub(crate) const fn of<K: Family, V: Send + 'static>() -> Self {
        const {
            assert!(is_inline::<K, Box<V>>(), "there is room for a box");
        }
        Form {
            type_id: TypeId::of::<V>,
            drop: if !is_inline::<K, V>() {
                // SAFETY: called once, with the data of a live value of this form.
                Some(|data| drop(unsafe { data.cast::<Box<V>>().read() }))
            } else if std::mem::needs_drop::<V>() {
                // SAFETY: as above.
                Some(|data| unsafe { data.cast::<V>().drop_in_place() })
            } else {
                None
            },
        }
    }
}

// SAFETY: the value is `Send`, as `new` demands; all else is shared and immutable.
unsafe impl<K: Family> Send for Inline<K> {}

impl<K: Family> Inline<K> {
    #[inline]
    pub(crate) fn new<V: Send + 'static>(value: V) -> Self
    where
        K: Kind<V>,
    {
        let mut data = MaybeUninit::<K::Room>::uninit();
        let place = data.as_mut_ptr().cast::<u8>();
        if is_inline::<K, V>() {
            // SAFETY: the value fits, by size and alignment.
            unsafe { place.cast::<V>().write(value) };
        } else {
            // SAFETY: a box is one word.
            unsafe { place.cast::<Box<V>>().write(Box::new(value)) };
        }
        Inline {
            table: K::TABLE,
            data,
        }
    }

    #[inline]
    pub(crate) fn table(&self) -> &'static K::Table {
        self.table
    }

    #[inline]
    fn is<V: Send + 'static>(&self) -> bool
    where
        K: Kind<V>,
    {
        // The same table may exist twice in a program, so another address says nothing yet.
        std::ptr::eq(self.table, K::TABLE) || (self.table.as_ref().type_id)() == TypeId::of::<V>()
    }

    /// Takes the value out if it is a `V`.
    #[inline]
    pub(crate) fn downcast<V: Send + 'static>(self) -> Result<V, Self>
    where
        K: Kind<V>,
    {
        if !self.is::<V>() {
            return Err(self);
        }
        let this = ManuallyDrop::new(self);
        let data = this.data.as_ptr().cast::<u8>();
        // SAFETY: the value is a live `V`, in place or boxed as its type decides, and `this` is
        // never dropped.
        Ok(unsafe {
            if is_inline::<K, V>() {
                data.cast::<V>().read()
            } else {
                *data.cast::<Box<V>>().read()
            }
        })
    }

    /// Takes the value out, leaving none behind.
    ///
    /// # Safety
    /// There is one, and it is a `V`.
    #[inline(always)]
    pub(crate) unsafe fn take<V: Send + 'static>(held: &mut Option<Self>) -> V
    where
        K: Kind<V>,
    {
        debug_assert!(held.as_ref().is_some_and(Self::is::<V>));
        // SAFETY: as the caller promises; what was taken is never dropped.
        unsafe {
            let held = ManuallyDrop::new(held.take().unwrap_unchecked());
            let data = held.data.as_ptr().cast::<u8>();
            if is_inline::<K, V>() {
                data.cast::<V>().read()
            } else {
                *data.cast::<Box<V>>().read()
            }
        }
    }

    /// Looks at the value if it is a `V`.
    pub(crate) fn get_mut<V: Send + 'static>(&mut self) -> Option<&mut V>
    where
        K: Kind<V>,
    {
        if !self.is::<V>() {
            return None;
        }
        let data = self.data.as_mut_ptr().cast::<u8>();
        // SAFETY: the value is a live `V`, borrowed from `self` for as long as the result lives.
        Some(unsafe {
            if is_inline::<K, V>() {
                &mut *data.cast::<V>()
            } else {
                &mut *data.cast::<Box<V>>()
            }
        })
    }
}

impl<K: Family> Drop for Inline<K> {
    #[inline]
    fn drop(&mut self) {
        if let Some(drop) = self.table.as_ref().drop {
            // SAFETY: the value is live and not used again.
            unsafe { drop(self.data.as_mut_ptr().cast()) };
        }
    }
}

impl<K: Family> fmt::Debug for Inline<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inline").finish_non_exhaustive()
    }
}

#[cfg(all(test, not(any(greenroom_loom, greenroom_shuttle))))]
mod tests {
    use std::sync::Arc;

    use super::*;

    struct Sizes;
    struct Size(usize, Form);
    impl AsRef<Form> for Size {
        fn as_ref(&self) -> &Form {
            &self.1
        }
    }
    impl Family for Sizes {
        type Room = [u64; 3];
        type Table = Size;
    }
    // SAFETY: the form is that of `V`.
    unsafe impl<V: Send + 'static> Kind<V> for Sizes {
        const TABLE: &'static Size = &Size(size_of::<V>(), Form::of::<Self, V>());
    }

    #[test]
    fn a_value_is_taken_out_as_what_it_was_put_in() {
        fn check<V: Send + Clone + PartialEq + fmt::Debug + 'static>(value: V) {
            let mut held = Inline::<Sizes>::new(value.clone());
            assert_eq!(held.table().0, size_of::<V>());
            assert_eq!(held.get_mut::<V>(), Some(&mut value.clone()));
            let held = held
                .downcast::<Option<Option<V>>>()
                .expect_err("another type");
            assert_eq!(held.downcast::<V>().ok(), Some(value));
        }
        check(());
        check(7u8);
        check([1u64, 2, 3]);
        check([1u64, 2, 3, 4]);
        check(u128::MAX);
        check("text".to_owned());
    }

    #[test]
    fn a_value_is_dropped_once_whatever_its_size() {
        fn check<P: Send + 'static>(payload: P) {
            let count = Arc::new(());
            let held = Inline::<Sizes>::new((Arc::clone(&count), payload));
            assert_eq!(Arc::strong_count(&count), 2);
            drop(held);
            assert_eq!(Arc::strong_count(&count), 1);
        }
        check(());
        check([0u64; 2]);
        check([0u64; 9]);
        check(0u128);
    }

    #[test]
    fn an_inline_value_is_four_words() {
        assert_eq!(size_of::<Inline<Sizes>>(), 32);
        assert_eq!(size_of::<Option<Inline<Sizes>>>(), 32);
    }
}
