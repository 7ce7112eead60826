//! A mailbox as it is when its life fails: what is in hand, what was before, and who else is there.

use tokio::time::Instant;

use super::desk::Desk;
use super::recent::Timed;
use super::{Inner, Mailbox, State};
use crate::core::micros::Micros;
use crate::core::sync::Ordering;

/// What there is to be seen of it.
pub(crate) struct Census {
    /// When the life began that reads, if one does.
    pub(crate) began: Option<Micros>,
    pub(crate) in_hand: Option<InHand>,
    /// The messages that were timed before, the latest first.
    pub(crate) earlier: Vec<Timed>,
    pub(crate) queued: usize,
    /// Senders that wait for room.
    pub(crate) waiting: usize,
}

/// A message in hand.
pub(crate) struct InHand {
    /// When it was queued, or a tenth of a second before; `None` where nothing is timed.
    pub(crate) queued: Option<Instant>,
    /// What is known of it exactly, if it is timed.
    pub(crate) timed: Option<Timed>,
}

/// How many messages are looked at: all of a mailbox of the usual capacity. What that takes, two nanoseconds each, is spent
/// under the lock, and a queue may hold millions.
pub(crate) const COUNTED_MAX: usize = 1_024;

impl<E, L: Copy> Mailbox<E, L> {
    /// Looks at all that there is, and shows the messages at the front to `count`, which is called under the lock.
    ///
    /// `None` if this life has been cut off or followed by another. Who runs it gives its desk; others do not see
    /// the batch while somebody runs it, so it is not counted then.
    pub(crate) fn census(
        &self,
        incarnation: u64,
        runner: Option<&Desk<E>>,
        count: impl FnMut(&E),
    ) -> Option<Census> {
        self.inner.with(|inner| {
            let is_over = inner.incarnation != incarnation
                || runner.is_some_and(|desk| !inner.has_desk(desk));
            if is_over {
                return None;
            }
            inner.show(runner.is_some(), count);
            let done = self.done.load(Ordering::Acquire);
            let taken = self.taken.load(Ordering::Acquire);
            let is_at_work = inner.reader.is_some() && taken != done;
            let work = is_at_work.then(|| inner.work(done));
            let rare = inner.rare.as_deref();
            Some(Census {
                began: inner.reader.as_ref().map(|reader| {
                    // SAFETY: the desk lives while it stands here.
                    unsafe { reader.desk.as_ref() }.began
                }),
                in_hand: work.map(|work| InHand {
                    queued: rare.and_then(|rare| rare.queued(done)),
                    timed: rare.and_then(|rare| rare.recent.of(work)),
                }),
                earlier: rare.map_or_else(Vec::new, |rare| rare.recent.before(work).collect()),
                queued: (inner.enqueued - taken) as usize,
                waiting: rare.map_or(0, |rare| rare.waiting.len()),
            })
        })
    }

    /// Shows what is at the front of a mailbox that no life reads any more.
    pub(crate) fn show_left(&self, count: impl FnMut(&E)) {
        self.inner.with(|inner| inner.show(false, count));
    }

    /// When this life began, if it reads.
    pub(crate) fn began(&self, incarnation: u64) -> Option<Micros> {
        self.inner.with(|inner| {
            let reader = inner.reader.as_ref()?;
            // SAFETY: the desk lives while it stands here.
            let began = unsafe { reader.desk.as_ref() }.began;
            (inner.incarnation == incarnation).then_some(began)
        })
    }
}

impl<E, L> Inner<E, L> {
    /// Shows the messages at the front; the caller has the lock.
    fn show(&self, is_runner: bool, mut count: impl FnMut(&E)) {
        // Who makes a resting life run needs the lock first.
        let is_resting = matches!(self.state, State::Idle | State::Pending);
        let mut left = COUNTED_MAX;
        let mut show = |message: &E| {
            if left > 0 {
                left -= 1;
                count(message);
            }
        };
        if let Some(reader) = &self.reader
            && (is_runner || is_resting)
        {
            // SAFETY: the desk lives while it stands here.
            let desk = unsafe { reader.desk.as_ref() };
            desk.batch.with(|batch| {
                // SAFETY: the caller is the runner or there is none, and the lock keeps all others from the batch.
                let batch = unsafe { &*batch };
                batch.first.iter().for_each(&mut show);
                batch.messages.iter().take(COUNTED_MAX).for_each(&mut show);
            });
        }
        self.queue.iter().take(COUNTED_MAX).for_each(&mut show);
    }
}
