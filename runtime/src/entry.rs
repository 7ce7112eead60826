//! The way of one message into one mailbox: at once, or in line, or within a time.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll, Waker};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::causes::Origin;
use crate::dead_letter::DeadLetterReason;
use crate::envelope::{Parcel, ReplyTo};
use crate::mailbox::words::{GivenUp, Room, Ticket, WhenFull};
use crate::role::wait_for_room;
use crate::waits::{DynAsking, Edge, Node};
use crate::{CausalKind, EventId, Message, Path};

/// What a mailbox offers to a sender who knows the message but not the actor.
pub(crate) trait Receive<M: Message>: Send + Sync {
    fn path(&self) -> &Path;
    /// Puts a message into the mailbox if there is room and nobody waits.
    ///
    /// # Errors
    /// Gives the message back where it takes [`offer`](Self::offer) to say what becomes of it.
    fn tell_at_once(&self, message: M) -> Result<(), M>;
    /// The same for one that carries more than itself.
    ///
    /// # Errors
    /// As [`tell_at_once`](Self::tell_at_once).
    fn parcel_at_once(&self, parcel: Parcel<M>) -> Result<(), Parcel<M>>;
    /// The same for a question; an idle actor may answer it on the caller's stack.
    ///
    /// # Errors
    /// Also when whoever is asked waits for the asker.
    fn ask_at_once(
        &self,
        message: M,
        reply: ReplyTo<M>,
        asking: &DynAsking,
    ) -> Result<Asked, Back<M>>;
    /// Its place in the graph of who waits for whom.
    fn node(&self) -> &Arc<Node>;
    fn offer(&self, parcel: Parcel<M>, when_full: WhenFull<'_>) -> Offered<M>;
    fn poll_ticket(&self, ticket: Ticket, waker: &Waker) -> Offered<M>;
    fn give_up(&self, ticket: Ticket, why: GivenUp) -> Option<Parcel<M>>;
    /// Where a message comes from that the calling code is about to send, if its system keeps that.
    fn traced(&self, kind: CausalKind) -> Option<Origin>;
    /// Makes a dead letter of a message that a full mailbox lost.
    fn overflowed(&self, parcel: Parcel<M>);
    /// Makes a dead letter of an event that this subscriber did not get.
    fn lost(&self, message: &M, reason: DeadLetterReason, event_id: Option<EventId>)
    where
        M: fmt::Debug;
    /// How many messages its actor has to handle.
    fn load(&self) -> usize;
    fn room(&self) -> Room;
    /// Puts a message into the mailbox as an event is, and runs nothing of an author's: the caller may hold a lock.
    fn post(self: Arc<Self>, message: M) -> Posted
    where
        M: fmt::Debug;
    fn sleep(&self, duration: Duration) -> Pin<Box<Sleep>>;
    fn same_role(&self, role: usize) -> bool;
}

/// What became of a message that nobody waits with.
#[must_use = "what is left is to be done when no lock is held"]
pub(crate) struct Posted {
    pub(crate) is_delivered: bool,
    /// What is to be done with what was lost by it; it may run authors' code.
    pub(crate) afterwards: Option<Box<dyn FnOnce() + Send>>,
}

impl Posted {
    pub(crate) fn delivered() -> Self {
        Posted {
            is_delivered: true,
            afterwards: None,
        }
    }
}

/// What became of a question at once.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// It was answered on the caller's stack, or nobody knows when it will be.
    Here,
    /// The same; but the asker is to let others run before it takes an answer that is there.
    HereTired,
    /// A handler's, and whoever is asked will be run, by this thread as like as not.
    Queued,
}

/// A question that was not asked.
pub(crate) enum Back<M: Message> {
    /// It takes [`offer`](Receive::offer) to say what becomes of it.
    NoRoom(M, ReplyTo<M>),
    /// These wait for each other, beginning with the asker.
    Cycle(M, Vec<Path>),
}

/// [`Admission`](crate::mailbox::words::Admission) with the message's type known again.
pub(crate) enum Offered<M: Message> {
    Accepted,
    Waiting(Ticket),
    Full(Parcel<M>),
    /// The mailbox counts it as lost, which is its policy.
    Lost(Parcel<M>),
    Closed(Parcel<M>),
    /// A question to an actor that is being restarted.
    Restarting(Parcel<M>),
}

/// The way of one message into one mailbox, with an optional time limit.
pub(crate) struct Entry<'a, M: Message> {
    to: &'a dyn Receive<M>,
    step: Step<M>,
    limit: Option<Limit>,
    way: Way,
    /// While it waits for room.
    edge: Option<Edge>,
}

/// Whose message it is, and what becomes of one that does not get in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Tell,
    /// What an actor's own timers, streams and background work send.
    Post,
    Ask,
    Publish,
}

enum Step<M: Message> {
    New(Option<Parcel<M>>),
    Waiting(Ticket),
    Done,
}

/// A time limit, whose clock starts when it is first polled.
pub(crate) enum Limit {
    Within(Duration),
    /// Its clock runs already, which is that of whoever polls.
    Since(Duration, Instant),
    Running(Duration, Pin<Box<Sleep>>),
}

impl Limit {
    pub(crate) fn poll<M: Message>(
        &mut self,
        to: &dyn Receive<M>,
        cx: &mut Task<'_>,
    ) -> Poll<Duration> {
        let (limit, left) = match self {
            Limit::Within(limit) => (*limit, *limit),
            Limit::Since(limit, began) => (*limit, limit.saturating_sub(began.elapsed())),
            Limit::Running(limit, sleep) => {
                let limit = *limit;
                return sleep.as_mut().poll(cx).map(|()| limit);
            }
        };
        if left.is_zero() && !limit.is_zero() {
            return Poll::Ready(limit);
        }
        let mut sleep = to.sleep(left);
        let polled = sleep.as_mut().poll(cx);
        *self = Limit::Running(limit, sleep);
        polled.map(|()| limit)
    }
}

/// Why a message did not get in.
pub(crate) enum Refused<M: Message> {
    Stopped(Parcel<M>),
    TimedOut(Parcel<M>, Duration),
    /// The mailbox is full and lets nobody wait.
    Full(Parcel<M>),
    /// The mailbox is full and loses what does not fit.
    Lost(Parcel<M>),
    /// It is a question, and the actor is being restarted.
    Restarting(Parcel<M>),
}

// The only pinned part is behind a box.
impl<M: Message> Unpin for Entry<'_, M> {}

impl<'a, M: Message> Entry<'a, M> {
    pub(crate) fn new(to: &'a dyn Receive<M>, parcel: Parcel<M>, way: Way) -> Self {
        Entry {
            to,
            step: Step::New(Some(parcel)),
            limit: None,
            way,
            edge: None,
        }
    }

    pub(crate) fn limit(&mut self, limit: Duration) {
        self.limit = Some(Limit::Within(limit));
    }

    /// What is left of the limit, once the message is in.
    pub(crate) fn into_limit(mut self) -> Limit {
        self.limit.take().unwrap_or(Limit::Within(Duration::MAX))
    }

    fn poll_limit(&mut self, cx: &mut Task<'_>) -> Poll<Duration> {
        match &mut self.limit {
            Some(limit) => limit.poll(self.to, cx),
            None => Poll::Pending,
        }
    }

    pub(crate) fn poll_enter(&mut self, cx: &mut Task<'_>) -> Poll<Result<(), Refused<M>>> {
        let offered = match &mut self.step {
            Step::New(parcel) => match parcel.take() {
                Some(parcel) => {
                    let when_full = match self.way {
                        Way::Tell => WhenFull::Wait(cx.waker()),
                        Way::Post => WhenFull::WaitOrLose(cx.waker()),
                        Way::Ask => WhenFull::WaitOrRefuse(cx.waker()),
                        Way::Publish => WhenFull::WaitOrDrop(cx.waker()),
                    };
                    self.to.offer(parcel, when_full)
                }
                None => Offered::Accepted,
            },
            Step::Waiting(ticket) => self.to.poll_ticket(*ticket, cx.waker()),
            Step::Done => Offered::Accepted,
        };
        match offered {
            Offered::Accepted => {
                self.step = Step::Done;
                Poll::Ready(Ok(()))
            }
            Offered::Closed(parcel) => {
                self.step = Step::Done;
                Poll::Ready(Err(Refused::Stopped(parcel)))
            }
            Offered::Full(parcel) => {
                self.step = Step::Done;
                Poll::Ready(Err(Refused::Full(parcel)))
            }
            Offered::Lost(parcel) => {
                self.step = Step::Done;
                Poll::Ready(Err(Refused::Lost(parcel)))
            }
            Offered::Restarting(parcel) => {
                self.step = Step::Done;
                Poll::Ready(Err(match self.way {
                    Way::Ask => Refused::Restarting(parcel),
                    // The role had ended, which is why it is back, and has begun anew since.
                    Way::Tell | Way::Post | Way::Publish => Refused::Stopped(parcel),
                }))
            }
            Offered::Waiting(ticket) => {
                // A question waits for its reply all the while.
                if matches!(self.step, Step::New(_)) && self.way != Way::Ask {
                    self.edge = wait_for_room(self.to.node());
                }
                self.step = Step::Waiting(ticket);
                let Poll::Ready(limit) = self.poll_limit(cx) else {
                    return Poll::Pending;
                };
                self.step = Step::Done;
                let why = match self.way {
                    Way::Tell | Way::Post | Way::Ask => GivenUp::TimedOut,
                    Way::Publish => GivenUp::Lost,
                };
                Poll::Ready(match self.to.give_up(ticket, why) {
                    Some(parcel) => Err(Refused::TimedOut(parcel, limit)),
                    None => Ok(()),
                })
            }
        }
    }
}

impl<M: Message> Drop for Entry<'_, M> {
    fn drop(&mut self) {
        if let Step::Waiting(ticket) = self.step {
            self.to.give_up(ticket, GivenUp::Cancelled);
        }
    }
}
