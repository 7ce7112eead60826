//! A value that may be shared because nobody can reach it who shares it.

/// Makes any value `Sync`: it is only reached by whoever has it alone.
pub(crate) struct Alone<T>(T);

// SAFETY: a shared reference to it is good for nothing.
unsafe impl<T> Sync for Alone<T> {}

impl<T> Alone<T> {
    pub(crate) const fn new(value: T) -> Self {
        Alone(value)
    }

    #[inline(always)]
    pub(crate) fn get_mut(&mut self) -> &mut T {
        &mut self.0
    }
}
