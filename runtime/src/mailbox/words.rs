//! What is said to a mailbox and what it answers, to senders, lives and supervisors.

use std::task::Waker;

use tokio::time::Instant;

use crate::failure::Failure;
use crate::watchers::LinkedEnd;

/// What a mailbox does with a message that finds it full.
///
/// Events of a [subscription](crate::Subscription) are none of its affair until they are in: the subscription keeps them
/// on [its own terms](crate::EventOverflow) until there is room, except one without a [buffer](crate::Subscription::buffer).
/// What is in is a message as all others, and may be the oldest that `DropOldest` loses for what others send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Overflow {
    /// Senders wait in line for room: back-pressure. Nothing is lost.
    #[default]
    Wait,
    /// The sender gets its message back at once.
    Reject,
    /// The message that comes is lost: what is queued matters more.
    DropNewest,
    /// The message that is queued longest is lost: what is new matters more.
    DropOldest,
}

impl Overflow {
    /// Returns the word for it: `wait`, `reject`, `drop newest` or `drop oldest`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Overflow::Wait => "wait",
            Overflow::Reject => "reject",
            Overflow::DropNewest => "drop newest",
            Overflow::DropOldest => "drop oldest",
        }
    }
}

/// What a supervisor, or the actor's own background work, says to a running life.
pub(crate) enum Control {
    /// Stop after the current message; with `drain`, after all that is queued.
    Stop { drain: bool },
    /// End normally after the current message.
    End,
    /// Wait at the gate after the current message, if that is closed.
    Pause,
    /// Background work of this life failed.
    Failed(Failure),
    /// A life that this one was linked to has ended.
    Linked(Box<LinkedEnd>),
}

/// The place of a sender in the line of those who wait for room.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Ticket(pub(super) u64);

/// Whether a message that came now would be queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    Free,
    /// Or somebody waits.
    Full,
    Closed,
}

/// What became of a message that was offered.
pub(crate) enum Admission<E, L> {
    /// It is queued; whoever offered it makes that life ready.
    Accepted {
        ready: Option<L>,
    },
    /// It is queued in place of this one, which is lost.
    Replaced(E),
    /// It stands in line.
    Waiting {
        ticket: Ticket,
    },
    /// There is no room: back to the sender.
    Full(E),
    /// There is no room and it is lost.
    Lost(E),
    Closed(E),
    /// It is a question, and whoever is asked is being restarted: back to the sender.
    Restarting(E),
}

/// What to do with a message that finds no room.
pub(crate) enum WhenFull<'a> {
    /// Hand it back to the sender.
    Refuse,
    /// Count it as lost; the caller makes a dead letter of it.
    Drop,
    /// Stand in line, and be woken; or what the mailbox does instead.
    Wait(&'a Waker),
    /// The same for what a timer or a stream sends: no one is there to have it back.
    WaitOrLose(&'a Waker),
    /// The same for a question: it is never lost, but handed back.
    WaitOrRefuse(&'a Waker),
    /// The same for a publisher, to whom a closed mailbox is a loss.
    WaitOrDrop(&'a Waker),
    /// The same for a subscription on terms of its own, which stands in line whatever the mailbox does with others; what
    /// comes too late from then on is not let in.
    Line(&'a Waker, Option<Instant>),
}

/// Why a sender that waited for room gave up.
#[derive(Clone, Copy)]
pub(crate) enum GivenUp {
    /// Its time was up; the message goes back to it.
    TimedOut,
    /// Its future was dropped, and the message with it.
    Cancelled,
    /// It was a publisher, whose time was up: the event is lost to this subscriber.
    Lost,
}

/// What a life finds when it looks into its mailbox.
pub(crate) enum Next<E> {
    /// A message, and whether it has a stamp.
    Message(E, bool),
    Control(Control),
    /// Nothing is left: the run is over, the life is not.
    Idle,
    /// Only while draining: nothing is left.
    Empty,
    /// The life is to end.
    Killed,
    /// Another life reads this mailbox now.
    Superseded,
}

/// What follows when a handler pends, or the budget of a run is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// The run is over.
    Gone,
    /// The run is over and the actor is to be run again.
    Again,
    Killed,
    Superseded,
}

/// What was left of a life that was cut off.
pub(crate) enum CutOff<L> {
    /// It had been before.
    Nothing,
    /// Somebody runs it, or it is ready and somebody will: whoever does drops it.
    Running { in_flight: Option<Failed> },
    /// Nobody runs it or will: whoever cut it off drops it.
    Resting { life: L, in_flight: Option<Failed> },
}

/// What became of a message in hand whose handler failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failed {
    /// It is at the front of the queue again.
    Again,
    /// It counts as failed.
    GivenUp,
}
