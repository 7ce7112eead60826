//! To stop an actor from outside, and to await its end.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Sleep;

use crate::role::wait_for_end;
use crate::waits::Edge;
use crate::watchers::{Linked, Seat, Watched, Watcher, watch_running};
use crate::{Down, ExitReason, StopError};

/// The future of [`ActorRef::stop`](crate::ActorRef::stop).
#[must_use = "nobody is told to stop until the future is awaited"]
pub struct Stop {
    role: Arc<dyn Linked>,
    within: Option<Duration>,
    told: Option<Told>,
}

/// What there is once the life has been told to stop.
struct Told {
    end: oneshot::Receiver<ExitReason>,
    watcher: Arc<Awaiting>,
    limit: Option<(Duration, Pin<Box<Sleep>>)>,
    /// While an actor awaits it.
    _edge: Option<Edge>,
}

impl Stop {
    pub(crate) fn new(role: Arc<dyn Linked>) -> Self {
        Stop {
            role,
            within: None,
            told: None,
        }
    }

    /// Waits for the end no longer than `limit`, counted from the first poll; the actor stops all the same.
    pub fn within(mut self, limit: Duration) -> Self {
        self.within = Some(limit);
        self
    }

    fn tell(&self) -> Result<Told, StopError> {
        let path = || self.role.path().clone();
        let edge = wait_for_end(self.role.node()).map_err(|cycle| StopError::WouldDeadlock {
            path: path(),
            cycle,
        })?;
        let (sender, end) = oneshot::channel();
        let watcher = Arc::new(Awaiting {
            end: Mutex::new(Some(sender)),
            seat: Seat::at(&(Arc::clone(&self.role) as Arc<dyn Watched>)),
        });
        let Some(life) = watch_running(&*self.role, Arc::clone(&watcher) as Arc<dyn Watcher>)
        else {
            return Err(StopError::NotRunning(path()));
        };
        self.role.end(life);
        Ok(Told {
            end,
            watcher,
            limit: self.within.map(|limit| (limit, self.role.sleep(limit))),
            _edge: edge,
        })
    }
}

impl Future for Stop {
    type Output = Result<(), StopError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.told.is_none() {
            this.told = Some(this.tell()?);
        }
        let Some(told) = &mut this.told else {
            return Poll::Pending;
        };
        if let Poll::Ready(reason) = Pin::new(&mut told.end).poll(cx) {
            // Nobody is told nothing but where the system is gone, and the actor with it.
            let reason = reason.unwrap_or(ExitReason::Killed);
            return Poll::Ready(match reason {
                ExitReason::Normal => Ok(()),
                reason => Err(StopError::Ended {
                    path: this.role.path().clone(),
                    reason,
                }),
            });
        }
        let Some((limit, sleep)) = &mut told.limit else {
            return Poll::Pending;
        };
        let (path, waited) = (this.role.path(), *limit);
        sleep.as_mut().poll(cx).map(|()| {
            let path = path.clone();
            Err(StopError::TimedOut { path, waited })
        })
    }
}

impl fmt::Debug for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stop({})", self.role.path())
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.watcher.seat.leave();
    }
}

/// Somebody who awaits an end.
struct Awaiting {
    end: Mutex<Option<oneshot::Sender<ExitReason>>>,
    seat: Seat,
}

impl Watcher for Awaiting {
    fn seat(&self) -> &Seat {
        &self.seat
    }

    fn tell(&self, down: &Down) {
        let end = self.end.lock().take();
        // Whoever awaited it may have gone.
        let _ = end.map(|end| end.send(down.reason.clone()));
    }
}
