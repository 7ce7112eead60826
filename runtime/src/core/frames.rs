//! Whose code runs on this thread: a stack of frames, one for each run that is inside another.
//!
//! The frames lie on the thread's own stack and are linked, so entering one is
//! two writes to thread-local memory.

use std::cell::Cell;
use std::ptr::NonNull;

struct Frame<T: ?Sized + 'static, W: ?Sized + 'static> {
    who: NonNull<T>,
    life: u64,
    why: Option<NonNull<W>>,
    below: Option<NonNull<Frame<T, W>>>,
}

/// The frames of one thread: who it is that runs in each, and why the code below made it run.
pub(crate) struct Frames<T: ?Sized + 'static, W: ?Sized + 'static> {
    top: Cell<Option<NonNull<Frame<T, W>>>>,
    /// How many have been entered inside of the outermost that is there now.
    inside: Cell<u32>,
}

impl<T: ?Sized + 'static, W: ?Sized + 'static> Frames<T, W> {
    pub(crate) const fn new() -> Self {
        Frames {
            top: Cell::new(None),
            inside: Cell::new(0),
        }
    }

    /// Calls `inside` as code of this life of `who`.
    #[inline]
    pub(crate) fn enter<R>(
        &self,
        (who, life): (&T, u64),
        why: Option<&W>,
        inside: impl FnOnce() -> R,
    ) -> R {
        type Below<T, W> = Option<NonNull<Frame<T, W>>>;
        struct Leave<'a, T: ?Sized + 'static, W: ?Sized + 'static>(&'a Frames<T, W>, Below<T, W>);
        impl<T: ?Sized + 'static, W: ?Sized + 'static> Drop for Leave<'_, T, W> {
            #[inline]
            fn drop(&mut self) {
                self.0.top.set(self.1);
            }
        }
        let below = self.top.get();
        let entered = match below {
            Some(_) => self.inside.get() + 1,
            None => 0,
        };
        self.inside.set(entered);
        let frame = Frame {
            who: NonNull::from_ref(who),
            life,
            why: why.map(NonNull::from_ref),
            below,
        };
        // Back to what was below, also when `inside` panics.
        let _leave = Leave(self, below);
        self.top.set(Some(NonNull::from_ref(&frame)));
        inside()
    }

    /// Calls `look` with whoever is at each frame, the innermost first, until it returns something.
    #[inline]
    pub(crate) fn find<R>(&self, mut look: impl FnMut(&T) -> Option<R>) -> Option<R> {
        let mut at = self.top.get();
        while let Some(frame) = at {
            // SAFETY: frames that are linked lie on this thread's stack below this call, each as
            // long as the `enter` that made it runs, and so does what `who` borrows from its caller.
            let (who, below) = unsafe { (frame.as_ref().who.as_ref(), frame.as_ref().below) };
            if let Some(found) = look(who) {
                return Some(found);
            }
            at = below;
        }
        None
    }

    /// Calls `look` with each frame that stands on another, why it does, and that other one, the innermost first,
    /// as long as it returns true.
    pub(crate) fn pairs(&self, mut look: impl FnMut(&T, &W, &T) -> bool) {
        let mut at = self.top.get();
        while let Some(frame) = at {
            // SAFETY: as in `find`; `why` is borrowed like `who`.
            let frame = unsafe { frame.as_ref() };
            let (Some(why), Some(below)) = (frame.why, frame.below) else {
                return;
            };
            // SAFETY: as above.
            if !unsafe {
                look(
                    frame.who.as_ref(),
                    why.as_ref(),
                    below.as_ref().who.as_ref(),
                )
            } {
                return;
            }
            at = Some(below);
        }
    }

    /// Returns whether no run is on this thread's stack.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.top.get().is_none()
    }

    /// Returns how many have been entered inside of the outermost that is there now, whether or not they have been left.
    #[inline]
    pub(crate) fn inside(&self) -> u32 {
        self.inside.get()
    }

    /// Calls `look` with whoever is at the innermost frame, and which life of it.
    #[inline]
    pub(crate) fn innermost<R>(&self, look: impl FnOnce(&T, u64) -> R) -> Option<R> {
        let frame = self.top.get()?;
        // SAFETY: as in `find`.
        let frame = unsafe { frame.as_ref() };
        // SAFETY: as in `find`.
        Some(look(unsafe { frame.who.as_ref() }, frame.life))
    }
}

#[cfg(all(test, not(any(greenroom_loom, greenroom_shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_frame_is_found_first_and_none_is_left_behind() {
        let frames: Frames<str, str> = Frames::new();
        let all = |frames: &Frames<str, str>| {
            let mut names = Vec::new();
            let _: Option<()> = frames.find(|who| {
                names.push(who.to_owned());
                None
            });
            names
        };
        frames.enter(("a", 1), None, || {
            frames.enter(("b", 1), None, || assert_eq!(all(&frames), ["b", "a"]));
            let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                frames.enter(("c", 1), None, || panic!("boom"))
            }));
            assert!(panicked.is_err());
            assert_eq!(all(&frames), ["a"]);
            assert_eq!(
                frames
                    .innermost(|who, life| format!("{who}{life}"))
                    .as_deref(),
                Some("a1")
            );
            assert_eq!(frames.inside(), 2);
        });
        assert!(frames.is_empty());
        frames.enter(("d", 1), None, || assert_eq!(frames.inside(), 0));
    }

    #[test]
    fn a_frame_knows_why_it_stands_on_the_one_below() {
        let frames: Frames<str, str> = Frames::new();
        let pairs = || {
            let mut found = Vec::new();
            frames.pairs(|above, why, below| {
                found.push(format!("{above} {why} {below}"));
                true
            });
            found
        };
        frames.enter(("a", 1), Some("from outside"), || {
            assert!(pairs().is_empty(), "nobody is below");
            frames.enter(("b", 1), Some("answers"), || {
                frames.enter(("c", 1), Some("serves"), || {
                    assert_eq!(pairs(), ["c serves b", "b answers a"]);
                });
                frames.enter(("d", 1), None, || assert!(pairs().is_empty()));
            });
        });
    }
}
