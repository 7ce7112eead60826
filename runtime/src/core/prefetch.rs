//! Asks for memory before it is needed.
//!
//! An actor that is not at work is seldom in the nearest cache. What is next in
//! a queue is known some hundred instructions ahead, and its lines can be on
//! their way meanwhile.

const LINE: usize = 64;

/// Has the first `lines` cache lines of `place` fetched; it need not be there.
#[inline(always)]
pub(crate) fn prefetch<T>(place: *const T, lines: usize) {
    for n in 0..lines {
        let line = place.cast::<i8>().wrapping_add(n * LINE);
        #[cfg(all(target_arch = "x86_64", not(any(miri, greenroom_loom))))]
        // SAFETY: a prefetch of any address is allowed and has no effect that a program sees.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(line);
        }
        #[cfg(not(all(target_arch = "x86_64", not(any(miri, greenroom_loom)))))]
        let _ = line;
    }
}
