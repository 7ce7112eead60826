//! What became of an event that was published.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use crate::error::RequiredError;
use crate::subscription::required::Required;

/// What became of a published event, as far as it is known at once.
///
/// Where [required](crate::Subscription::required) subscriptions had no room, it
/// stands for the event with them: who drops it gives them up, and they keep the
/// event or lose it as their contract says.
///
/// It does not tell the id of the event, as most events have none: who wants to know it has one made by
/// [`System::envelope_of`](crate::System::envelope_of) first, and publishes the event with it.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Delivery {
    /// Subscribers whose mailbox took the event.
    pub delivered: usize,
    /// Subscriptions that keep the event until their mailbox has room: only such with [terms of their own](crate::Subscription).
    pub buffered: usize,
    /// Subscribers that had no room or had stopped; each is counted and has a dead letter.
    pub dropped: usize,
    pub(crate) required: Option<Box<Required>>,
}

impl Delivery {
    /// Waits until the event is in the mailboxes of all [required](crate::Subscription::required) subscriptions.
    ///
    /// It is how a publisher is slowed down to what they can handle; no other
    /// subscriber makes it wait. Returns at once where there was room. An actor that waits so is seen
    /// [waiting](crate::ActorInfo::waiting_for), and if it is for one that waits for it, a
    /// [deadlock](crate::DeadlockSuspected) is told of.
    ///
    /// # Errors
    ///
    /// [`TimedOut`](RequiredError::TimedOut) if some have no room `within` this time,
    /// [`Lost`](RequiredError::Lost) if some will never have it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future is dropping the `Delivery`: those without room keep the
    /// event or lose it, as their contract says.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use greenroom::prelude::*;
    /// # #[derive(Clone, Debug)] struct Paid;
    /// # impl Event for Paid {}
    /// # async fn example(system: &System) -> Result<(), greenroom::RequiredError> {
    /// system.publish(Paid).await_required(Duration::from_secs(1)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn await_required(mut self, within: Duration) -> Result<Delivery, RequiredError> {
        let Some(required) = self.required.take() else {
            return Ok(self);
        };
        let mut limit = None;
        poll_fn(|cx| {
            if required.poll(cx.waker()).is_ready() {
                return Poll::Ready(());
            }
            if limit.is_none() {
                required.enter_waits();
                limit = required.sleep(within);
            }
            match &mut limit {
                Some(limit) => limit.as_mut().poll(cx),
                None => Poll::Ready(()),
            }
        })
        .await;
        let all = required.finish(within)?;
        self.buffered -= all;
        self.delivered += all;
        Ok(self)
    }
}
