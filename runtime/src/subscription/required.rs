//! Publishers that wait until those subscriptions have an event that are required to have it.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Sleep;

use crate::error::RequiredError;
use crate::failure::guarded;
use crate::role::wait_for_room;
use crate::waits::{Edge, Node};

/// How many of them have no room yet; shared by a publisher and the places of its event.
#[derive(Default)]
struct Waiting(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    left: usize,
    lost: usize,
    /// One for each that was asked for.
    fates: Vec<Fate>,
    waker: Option<Waker>,
}

#[derive(Default)]
struct Fate {
    is_settled: bool,
    /// The publisher, if it is an actor, waits for that one's room.
    edge: Option<Edge>,
}

/// The publisher's interest in one place of its event.
pub(super) struct Held {
    waiting: Arc<Waiting>,
    n: usize,
}

impl Held {
    /// The event has come into a mailbox, or is lost.
    pub(super) fn settle(self, is_delivered: bool) {
        let mut inner = self.waiting.0.lock();
        inner.left -= 1;
        inner.lost += usize::from(!is_delivered);
        let fate = &mut inner.fates[self.n];
        fate.is_settled = true;
        let edge = fate.edge.take();
        let waker = match inner.left {
            0 => inner.waker.take(),
            _ => None,
        };
        drop(inner);
        drop(edge);
        if let Some(waker) = waker
            && guarded(|| waker.wake()).is_err()
        {
            tracing::error!("A waker of a publisher that waited for room panicked.");
        }
    }
}

/// Whose buffer an event is kept in, the event's type forgotten.
pub(crate) trait Holder: Send + Sync {
    /// The publisher does not wait any longer: the event is kept as the contract says; whether it still is.
    fn let_go(self: Arc<Self>, place: u64) -> bool;
    /// The name of the subscription.
    fn name(&self) -> &Arc<str>;
    /// Its actor's place in the graph of who waits for whom.
    fn node(&self) -> &Arc<Node>;
    fn sleep(&self, duration: Duration) -> Pin<Box<Sleep>>;
}

/// The required subscriptions that had no room for an event; dropping it gives them up.
#[derive(Default)]
pub(crate) struct Required {
    waiting: Arc<Waiting>,
    holding: Vec<Holding>,
}

struct Holding {
    holder: Arc<dyn Holder>,
    place: u64,
    /// Which of the fates is its.
    n: usize,
}

impl Required {
    /// One more is to be waited for.
    pub(super) fn waits(&self) -> Held {
        let mut inner = self.waiting.0.lock();
        inner.left += 1;
        inner.fates.push(Fate::default());
        Held {
            waiting: Arc::clone(&self.waiting),
            n: inner.fates.len() - 1,
        }
    }

    /// The latest that is to be waited for keeps the event in this place.
    pub(super) fn hold(&mut self, holder: Arc<dyn Holder>, place: u64) {
        let asked = self.waiting.0.lock().fates.len();
        if let Some(n) = asked.checked_sub(1) {
            self.holding.push(Holding { holder, place, n });
        }
    }

    /// Notes whom the calling code waits for, if it is an actor's.
    pub(crate) fn enter_waits(&self) {
        for Holding { holder, n, .. } in &self.holding {
            let Some(edge) = wait_for_room(holder.node()) else {
                return;
            };
            let mut edge = Some(edge);
            let mut inner = self.waiting.0.lock();
            let fate = &mut inner.fates[*n];
            if !fate.is_settled {
                std::mem::swap(&mut fate.edge, &mut edge);
            }
            drop(inner);
            // Of one that has it already.
            drop(edge);
        }
    }

    pub(crate) fn poll(&self, waker: &Waker) -> Poll<()> {
        // Cloning and dropping wakers is their executor's code: not under the lock.
        let waker = waker.clone();
        let mut inner = self.waiting.0.lock();
        if inner.left == 0 {
            return Poll::Ready(());
        }
        let before = inner.waker.replace(waker);
        drop(inner);
        drop(before);
        Poll::Pending
    }

    /// Says how it has ended, after so much time; how many that had no room at first have the event now.
    pub(crate) fn finish(mut self, waited: Duration) -> Result<usize, RequiredError> {
        let inner = self.waiting.0.lock();
        let (left, lost) = (inner.left, inner.lost);
        let has_room = |of: &Holding| inner.fates[of.n].is_settled;
        let late: Vec<usize> = (0..self.holding.len())
            .filter(|i| !has_room(&self.holding[*i]))
            .collect();
        drop(inner);
        let all = self.holding.len();
        if left > 0 {
            let names = late
                .iter()
                .map(|i| Arc::clone(self.holding[*i].holder.name()));
            let mut subscriptions: Vec<Arc<str>> = names.collect();
            subscriptions.sort();
            let is_late = |i: usize| late.contains(&i);
            let kept = self.give_up().into_iter().enumerate();
            let kept = kept.filter(|(i, is_kept)| *is_kept && is_late(*i)).count();
            return Err(RequiredError::TimedOut {
                left,
                waited,
                subscriptions,
                kept,
            });
        }
        if lost > 0 {
            return Err(RequiredError::Lost { lost });
        }
        Ok(all)
    }

    /// What has no room yet has to have some from now on, as all others; which of them keep it.
    fn give_up(&mut self) -> Vec<bool> {
        let mut inner = self.waiting.0.lock();
        let edges = inner.fates.iter_mut().map(|fate| fate.edge.take());
        let edges: Vec<Option<Edge>> = edges.collect();
        drop(inner);
        drop(edges);
        let holding = self.holding.drain(..);
        let kept = holding.map(|Holding { holder, place, .. }| holder.let_go(place));
        kept.collect()
    }

    /// A timer of their system; there is one at least that holds the event.
    pub(crate) fn sleep(&self, duration: Duration) -> Option<Pin<Box<Sleep>>> {
        let first = self.holding.first()?;
        Some(first.holder.sleep(duration))
    }
}

impl fmt::Debug for Required {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.waiting.0.lock();
        let (left, lost) = (inner.left, inner.lost);
        drop(inner);
        let mut f = f.debug_struct("Required");
        f.field("left", &left).field("lost", &lost).finish()
    }
}

impl Drop for Required {
    fn drop(&mut self) {
        if !self.holding.is_empty() {
            self.give_up();
        }
    }
}
