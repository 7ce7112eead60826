//! Bugs put in on purpose, to prove that a simulation finds such: only with `--cfg greenroom_planted`.

use std::cell::Cell;

/// A bug of the runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A handler that is woken while it runs is not run again.
    LostWakeUp,
    /// A timer's message of an earlier life is handled by the next, which has begun the same timer anew.
    HandledTwice,
    /// A supervisor restarts once more than it is allowed.
    LimitOffByOne,
    /// A message that failed is counted as handled: the sums stay right.
    FailedAsHandled,
}

thread_local! {
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// Makes the runtime wrong in this way, for all that this thread does from here on; `None` makes it right again.
pub fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

pub(crate) fn is_planted(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}
