//! Monitors: an actor is told, by a message, that a life of another has ended.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context as Task, Poll, Waker};

use crate::cell::ActorCell;
use crate::entry::{Offered, Receive};
use crate::envelope::{Parcel, TaskState, Tie};
use crate::mailbox::words::{GivenUp, Ticket, WhenFull};
use crate::watchers::{Seat, Watched, Watcher};
use crate::{Actor, ExitReason, Handler, Message, Path};

/// The news that a life of a [monitored](crate::Context::monitor) actor has ended: OTP's `DOWN`.
///
/// It comes after all that the life had told the watcher, and once the supervisor
/// has decided: the next life goes on, or the name and the subscriptions are free.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Down {
    /// The actor's place in the tree.
    pub path: Path,
    /// Which life it was, counted from 1; the latest, if none was running.
    pub incarnation: u64,
    /// How it ended.
    pub reason: ExitReason,
}

impl Down {
    pub(crate) fn new(path: &Path, incarnation: u64, reason: ExitReason) -> Self {
        let path = path.clone();
        Down {
            path,
            incarnation,
            reason,
        }
    }
}

impl fmt::Display for Down {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Down {
            path,
            incarnation,
            reason,
        } = self;
        write!(f, "{path} (incarnation {incarnation}) {reason}")
    }
}

impl Message for Down {
    type Reply = ();
}

/// A handle to a watch over another actor, see [`Context::monitor`](crate::Context::monitor).
///
/// Dropping it changes nothing: the watch ends with the life that began it, with
/// its [`Down`], or by [`cancel`](Monitor::cancel).
pub struct Monitor(Arc<dyn Watcher>);

impl Monitor {
    pub(crate) fn new(watcher: Arc<dyn Watcher>) -> Self {
        Monitor(watcher)
    }

    /// Ends the watch; no [`Down`] of it is handled after this call returns to the actor that began it.
    ///
    /// One that is already queued is discarded when its turn comes, and counted
    /// as dropped, reason `cancelled`.
    pub fn cancel(&self) {
        self.0.cancel();
        self.0.seat().leave();
    }
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.seat().path() {
            Some(path) => write!(f, "Monitor({path})"),
            None => f.write_str("Monitor(gone)"),
        }
    }
}

/// An actor that watches: it is told by a message, which belongs to the life that began the watch.
pub(crate) struct Teller<A: Actor> {
    to: Arc<ActorCell<A>>,
    tie: Tie,
    seat: Seat,
}

impl<A: Handler<Down>> Teller<A> {
    pub(crate) fn new(to: &Arc<ActorCell<A>>, incarnation: u64, role: &Arc<dyn Watched>) -> Self {
        Teller {
            to: Arc::clone(to),
            tie: Tie {
                incarnation,
                task: Arc::new(TaskState::default()),
            },
            seat: Seat::at(role),
        }
    }
}

impl<A: Handler<Down>> Watcher for Teller<A> {
    fn seat(&self) -> &Seat {
        &self.seat
    }

    fn tell(&self, down: &Down) {
        let is_cancelled = self.tie.task.cancelled.load(Ordering::Relaxed);
        if is_cancelled || !self.to.mailbox.is_read_by(self.tie.incarnation) {
            return;
        }
        let parcel = Parcel {
            message: down.clone(),
            reply: None,
            tie: Some(self.tie.clone()),
            expires: None,
            origin: None,
        };
        let to: &dyn Receive<Down> = &*self.to;
        match to.offer(parcel, WhenFull::WaitOrLose(Waker::noop())) {
            Offered::Accepted => {}
            Offered::Full(parcel) | Offered::Lost(parcel) => to.overflowed(parcel),
            // Whoever watched is stopping for good; only a question can be refused for a restart.
            Offered::Closed(_) | Offered::Restarting(_) => {}
            Offered::Waiting(ticket) => {
                let to = Arc::clone(&self.to);
                self.to.system.handle.spawn(InLine { to, ticket });
            }
        }
    }

    fn cancel(&self) {
        self.tie.task.cancelled.store(true, Ordering::Relaxed);
    }
}

/// A [`Down`] that stands in line before a full mailbox.
struct InLine<A: Actor> {
    to: Arc<ActorCell<A>>,
    ticket: Ticket,
}

impl<A: Handler<Down>> Future for InLine<A> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<()> {
        let to: &dyn Receive<Down> = &*self.to;
        match to.poll_ticket(self.ticket, cx.waker()) {
            Offered::Waiting(_) => Poll::Pending,
            _ => Poll::Ready(()),
        }
    }
}

impl<A: Actor> Drop for InLine<A> {
    /// A task that is cut short, as its runtime ends, leaves the line.
    fn drop(&mut self) {
        drop(self.to.mailbox.give_up(self.ticket, GivenUp::Cancelled));
    }
}
