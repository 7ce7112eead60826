//! How a message travels: with its reply address, and tied to a life where it belongs to one.

use std::any::{Any, type_name};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::oneshot;

use crate::tally::Dropped;
use crate::{Actor, Context, Handler, Message};

/// A message on its way to an `A`, its type forgotten.
pub(crate) trait Envelope<A: Actor>: Send {
    fn message_type(&self) -> &'static str;

    /// Whether the message may still be handled by this life, or why not.
    fn check_tie(&self, incarnation: u64) -> Result<(), Dropped>;

    /// Hands the message to its handler, counts how that ended, and only then replies to whoever asked.
    ///
    /// So an asker that has its reply finds the message in the counts, and a life
    /// that was cut off meanwhile does not reply at all.
    fn deliver<'a>(
        self: Box<Self>,
        actor: &'a mut A,
        cx: &'a mut Context<A>,
    ) -> Pin<Box<dyn Future<Output = Handled<A::Error>> + Send + 'a>>;

    /// Tells whoever asked that the message will not be handled.
    fn abandon(&mut self);

    fn into_any(self: Box<Self>) -> Box<dyn Any + Send>;
}

/// How the handler of a message ended, if it did not panic.
pub(crate) enum Handled<E> {
    Well,
    Failed(E),
    /// The mailbox was taken from this life meanwhile; it has no say any more.
    CutOff,
}

/// A message of a known type on its way.
pub(crate) struct Parcel<M: Message> {
    pub(crate) message: M,
    pub(crate) reply: Option<ReplyTo<M>>,
    pub(crate) tie: Option<Tie>,
}

pub(crate) type ReplyTo<M> = oneshot::Sender<Result<<M as Message>::Reply, NoReply>>;

/// The address of an asker whose answer's type is forgotten.
pub(crate) trait Reply: Send {
    fn refuse(self: Box<Self>, why: NoReply);
    fn into_any(self: Box<Self>) -> Box<dyn Any + Send>;
}

impl<T: Send + 'static> Reply for oneshot::Sender<Result<T, NoReply>> {
    fn refuse(self: Box<Self>, why: NoReply) {
        // Whoever asked may have gone.
        let _ = self.send(Err(why));
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any + Send> {
        self
    }
}

/// Why an accepted question got no answer.
#[derive(Debug)]
pub(crate) enum NoReply {
    Failed(String),
    Abandoned,
}

/// Binds a message to the life whose timer, stream or background future sent it.
#[derive(Clone)]
pub(crate) struct Tie {
    pub(crate) incarnation: u64,
    pub(crate) task: Arc<TaskState>,
}

/// What a background task of an actor and the handle to it share.
#[derive(Default)]
pub(crate) struct TaskState {
    pub(crate) cancelled: AtomicBool,
    /// A message of the task is in the mailbox: an interval does not add a second one.
    pub(crate) queued: AtomicBool,
}

impl<M: Message> Parcel<M> {
    pub(crate) fn told(message: M) -> Self {
        Parcel {
            message,
            reply: None,
            tie: None,
        }
    }
}

impl<A: Handler<M>, M: Message> Envelope<A> for Parcel<M> {
    fn message_type(&self) -> &'static str {
        type_name::<M>()
    }

    fn check_tie(&self, incarnation: u64) -> Result<(), Dropped> {
        let Some(tie) = &self.tie else { return Ok(()) };
        tie.task.queued.store(false, Ordering::Relaxed);
        if tie.incarnation != incarnation {
            Err(Dropped::Stale)
        } else if tie.task.cancelled.load(Ordering::Relaxed) {
            Err(Dropped::Cancelled)
        } else {
            Ok(())
        }
    }

    fn deliver<'a>(
        self: Box<Self>,
        actor: &'a mut A,
        cx: &'a mut Context<A>,
    ) -> Pin<Box<dyn Future<Output = Handled<A::Error>> + Send + 'a>> {
        Box::pin(async move {
            let Parcel { message, reply, .. } = *self;
            // With the context, so that it outlives a panic and can be told of it.
            cx.hold_reply(reply.map(|reply| Box::new(reply) as Box<dyn Reply>));
            let result = actor.handle(message, cx).await;
            if !cx.finish(result.is_ok()) {
                return Handled::CutOff;
            }
            match result {
                Ok(answer) => {
                    let reply = cx
                        .take_reply()
                        .map(|r| r.into_any().downcast::<ReplyTo<M>>());
                    if let Some(Ok(reply)) = reply {
                        // Where nobody listens any more, a late reply goes nowhere.
                        let _ = reply.send(Ok(answer));
                    }
                    Handled::Well
                }
                // The asker is told once the failure is on record.
                Err(error) => Handled::Failed(error),
            }
        })
    }

    fn abandon(&mut self) {
        if let Some(reply) = self.reply.take() {
            let _ = reply.send(Err(NoReply::Abandoned));
        }
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any + Send> {
        self
    }
}
