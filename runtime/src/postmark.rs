//! Who sent a message, as its mailbox notes it beside the time at which it came.
//!
//! It is noted only where a mailbox makes a [stamp](crate::Builder::measure_every) anyway, and is one word: the group of
//! the actor whose code sends, and of which system that is.

use crate::role::{current_postmark, sending_for};

/// Who sent a message, and whether it was the first of its mailbox in a tick of the coarse clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Postmark {
    system: u16,
    /// The number of a group, or one of those below; with [`FIRST`] or without.
    source: u16,
}

/// The sender of a message that was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Sender {
    /// No actor's handler.
    Outside,
    /// A timer, a stream or a background future of the receiver itself.
    Own,
    /// Nothing was noted of it.
    Unknown,
    /// An actor of this group.
    Group(u16),
}

const FIRST: u16 = 1 << 15;
const OUTSIDE: u16 = 0;
const OWN: u16 = FIRST - 1;
/// It was counted before, and comes again.
const COUNTED: u16 = FIRST - 2;

impl Postmark {
    pub(crate) const OUTSIDE: Postmark = Postmark::own_word(OUTSIDE);
    pub(crate) const OWN: Postmark = Postmark::own_word(OWN);
    pub(crate) const COUNTED: Postmark = Postmark::own_word(COUNTED);

    const fn own_word(source: u16) -> Self {
        Postmark { system: 0, source }
    }

    /// Says that an actor of the `n`th group of this system sends.
    pub(crate) fn of_group(system: u16, n: u16) -> Self {
        // There are some hundred groups.
        let source = (n + 1).min(COUNTED - 1);
        Postmark { system, source }
    }

    /// Says whose code calls this.
    #[inline]
    pub(crate) fn here() -> Self {
        current_postmark()
    }

    /// Calls `send` in the name of this one: what that sends is theirs, whoever's code it is.
    pub(crate) fn sends<R>(self, send: impl FnOnce() -> R) -> R {
        sending_for(self, send)
    }

    /// The same of a message that is the first in its tick: then all such messages are looked at, and not a share.
    pub(crate) fn first(self, is_first: bool) -> Self {
        let first = if is_first { FIRST } else { 0 };
        Postmark {
            source: self.source & !FIRST | first,
            ..self
        }
    }

    pub(crate) fn is_first(self) -> bool {
        self.source & FIRST != 0
    }

    /// Whether it says who it was.
    pub(crate) fn is_known(self) -> bool {
        self.first(false) != Postmark::COUNTED
    }

    /// Who it is, for a receiver in this system; `None` if the message was counted before.
    pub(crate) fn sender(self, system: u16) -> Option<Sender> {
        match self.source & !FIRST {
            OUTSIDE => Some(Sender::Outside),
            OWN => Some(Sender::Own),
            COUNTED => None,
            // The groups of another system are not this one's.
            _ if self.system != system => Some(Sender::Outside),
            n => Some(Sender::Group(n - 1)),
        }
    }
}

#[cfg(all(test, not(any(greenroom_loom, greenroom_shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn a_postmark_tells_who_it_was_and_whether_it_was_the_first() {
        let group = Postmark::of_group(3, 0);
        assert_eq!(group.sender(3), Some(Sender::Group(0)));
        assert_eq!(group.sender(4), Some(Sender::Outside));
        for mark in [group, Postmark::OUTSIDE, Postmark::OWN, Postmark::COUNTED] {
            assert!(!mark.is_first() && mark.first(true).is_first());
            assert_eq!(mark.first(true).sender(3), mark.sender(3));
            assert_eq!(mark.first(true).first(false), mark);
            assert_eq!(mark.is_known(), mark != Postmark::COUNTED);
        }
        assert_eq!(Postmark::OWN.sender(3), Some(Sender::Own));
        assert_eq!(Postmark::OUTSIDE.sender(3), Some(Sender::Outside));
        assert_eq!(Postmark::COUNTED.sender(3), None);
        assert_eq!(Postmark::here(), Postmark::OUTSIDE);
    }
}
