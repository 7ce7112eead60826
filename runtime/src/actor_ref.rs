//! How others reach an actor: references, and the futures of `tell` and `ask`.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context as Task, Poll};
use std::time::Duration;

use tokio::time::Instant;

use crate::causes::Origin;
use crate::cell::ActorCell;
use crate::core::slot::slot;
use crate::entry::{Asked, Back, Entry, Limit, Offered, Receive, Refused, Way};
use crate::envelope::{Answer, NoReply, Parcel};
use crate::error::{AskError, TellError, TryTellError};
use crate::fencing::{is_fenced, is_special};
use crate::mailbox::words::WhenFull;
use crate::role::{Role, is_in_actor, wait_after_all, wait_for_reply};
use crate::shared::after;
use crate::stop::Stop;
use crate::waits::{Asking, Awaited};
use crate::watchers::{Linked, Watched};
use crate::{Actor, CausalKind, Handler, Message, Path};

/// How long an [`ask`](ActorRef::ask) waits for its reply unless it says otherwise.
///
/// Five seconds, as OTP's `gen_server:call`: long enough for a busy service,
/// short enough that a caller does not hang for good on a stuck one.
pub const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// A reference to an actor's role: it stays good when the actor is restarted.
///
/// It is `Send`, cheap to clone (one reference count), and does not keep the
/// actor running: the tree decides about that.
pub struct ActorRef<A: Actor> {
    cell: Arc<ActorCell<A>>,
}

/// A reference to an actor that does not keep its mailbox in memory.
///
/// For caches and tables of actors that come and go.
pub struct WeakActorRef<A: Actor> {
    cell: Weak<ActorCell<A>>,
}

/// A reference to some actor that takes messages of type `M`.
///
/// It hides which actor it is, so that whoever holds it depends on the message
/// alone.
pub struct Recipient<M: Message> {
    to: Arc<dyn Receive<M>>,
}

impl<A: Actor> ActorRef<A> {
    pub(crate) fn new(cell: Arc<ActorCell<A>>) -> Self {
        ActorRef { cell }
    }

    #[cfg(test)]
    pub(crate) fn cell(&self) -> Arc<ActorCell<A>> {
        Arc::clone(&self.cell)
    }

    /// Puts a message into the mailbox, waiting until there is room.
    ///
    /// Messages of one sender to one actor are handled in the order in which
    /// they were told. `Ok` means that the mailbox has the message, not that it
    /// was or will be handled. Nothing happens until the future is awaited.
    ///
    /// There is no time limit unless [`Tell::within`] sets one.
    ///
    /// A message that may be refused says so in its reply, and is not told but
    /// [asked](Self::ask); the compiler sees to it:
    ///
    /// ```compile_fail,E0271
    /// # use greenroom::prelude::*;
    /// struct SetPoint(f32);
    /// impl Message for SetPoint {
    ///     type Reply = Result<f32, String>;
    /// }
    /// # async fn example<A: Handler<SetPoint>>(thermostat: ActorRef<A>) {
    /// let _ = thermostat.tell(SetPoint(21.0)).await;
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`TellError`] gives the message back when the actor has stopped for good,
    /// or the time is up. An actor that is being restarted has not stopped.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future while it waits for room takes the message back: it is
    /// dropped, and counted as rejected, reason `cancelled`. Once there was room,
    /// which may be before the future is polled again, the mailbox has it.
    pub fn tell<M>(&self, message: M) -> Tell<'_, M>
    where
        A: Handler<M>,
        M: Message<Reply = ()>,
    {
        Tell::new(&*self.cell, message)
    }

    /// Puts a message into the mailbox if there is room now.
    ///
    /// # Errors
    ///
    /// [`TryTellError`] gives the message back when the mailbox is full, senders
    /// are waiting for room, or the actor has stopped for good.
    pub fn try_tell<M>(&self, message: M) -> Result<(), TryTellError<M>>
    where
        A: Handler<M>,
        M: Message<Reply = ()>,
    {
        try_tell(&*self.cell, message)
    }

    /// Sends a message and waits for its reply, for [five seconds](ASK_TIMEOUT) unless [`Ask::within`] says otherwise.
    ///
    /// The time covers both the wait for room in the mailbox and the wait for the
    /// reply. Nothing happens until the future is awaited.
    ///
    /// On a worker of the system, an actor that has nothing to do answers on the
    /// stack of the actor that asks, which is several times faster. So a handler
    /// that computes or blocks without an await is waited for whatever the limit;
    /// several asks that are joined are then answered one after the other; and what
    /// the asker has entered, such as a span of `tracing`, is there for the answer too.
    ///
    /// # Errors
    ///
    /// [`AskError`] says whether the message was handled, and gives it back if
    /// it never reached the mailbox. A handler that asks an actor which waits for
    /// the handler's own is told so at once, by [`AskError::Cycle`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future takes the message back if it has not reached the
    /// mailbox; afterwards the message is handled all the same, and its reply
    /// goes nowhere.
    pub fn ask<M>(&self, message: M) -> Ask<'_, M>
    where
        A: Handler<M>,
        M: Message,
    {
        Ask::new(&*self.cell, message)
    }

    /// Ends the life that goes on, after the message that it handles, and waits for the end.
    ///
    /// It ends [normally](crate::ExitReason::Normal), as by
    /// [`Context::stop`](crate::Context::stop): what is queued waits, and a
    /// [permanent](crate::Restart::Permanent) actor is started again. Once this has
    /// returned, it has been decided what follows: the next life goes on, or the
    /// name is free. To take an actor out of the tree, ask its
    /// [supervisor](crate::SupervisorRef::stop_child).
    ///
    /// There is no time limit unless [`Stop::within`] sets one.
    ///
    /// # Errors
    ///
    /// [`StopError`](crate::StopError) when no life goes on, the time is up, the life
    /// ends in another way, or the actor waits for the one that calls this.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future once it was polled does not take the order back.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::{convert::Infallible, time::Duration};
    /// # use greenroom::prelude::*;
    /// use greenroom::StopError;
    /// # struct Clerk;
    /// # impl Actor for Clerk {
    /// #     type Args = ();
    /// #     type Error = Infallible;
    /// #     async fn start((): (), _: &mut Context<Self>) -> Result<Self, Infallible> { Ok(Clerk) }
    /// # }
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # greenroom::block_on(async {
    /// let tree = Supervisor::one_for_one("office")
    ///     .child(Clerk::spec("clerk", ()).restart(Restart::Temporary));
    /// let system = System::start(tree).await?;
    /// let clerk = system.find::<Clerk>("office/clerk")?;
    /// clerk.stop().within(Duration::from_secs(1)).await?;
    /// assert!(system.find::<Clerk>("office/clerk").is_err());
    /// assert!(matches!(clerk.stop().await, Err(StopError::NotRunning(_))));
    /// # system.stop().await;
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    pub fn stop(&self) -> Stop {
        Stop::new(self.watched())
    }

    /// Ends the life that goes on at its next await, in the middle of whatever it does.
    ///
    /// [`Actor::stop`](Actor::stop) is not called; the message in hand is a dead
    /// letter, and what is queued waits for the next life. To its supervisor the
    /// actor was [killed](crate::ExitReason::Killed), which is a failure. Where no life
    /// goes on nothing happens. A handler that blocks its thread is not ended before it
    /// lets go of it.
    pub fn kill(&self) {
        let (life, goes_on) = self.cell.life();
        if goes_on {
            Role::kill(&*self.cell, life);
        }
    }

    /// Lets the actor handle no further message until it is [resumed](Self::resume).
    ///
    /// The message in hand is handled to its end; what comes waits in the mailbox, up to
    /// its capacity, and timers of its own wait there too. A pause belongs to the role:
    /// a life that begins meanwhile waits as well, after its start. A stop ends it for
    /// the life that is stopped, which then handles what it has accepted. The actor's
    /// state is [`Paused`](crate::ActorState::Paused) meanwhile, and who did it is told by
    /// [`SupervisionEvent::Paused`](crate::SupervisionEvent::Paused). Doing it again changes nothing.
    ///
    /// For whoever is on call: to hold an actor still while what it needs is repaired.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::{convert::Infallible, time::Duration};
    /// # use greenroom::prelude::*;
    /// # struct Printer;
    /// # impl Actor for Printer {
    /// #     type Args = ();
    /// #     type Error = Infallible;
    /// #     async fn start((): (), _: &mut Context<Self>) -> Result<Self, Infallible> { Ok(Printer) }
    /// # }
    /// # struct Page(u32);
    /// # impl Message for Page { type Reply = u32; }
    /// # impl Handler<Page> for Printer {
    /// #     async fn handle(&mut self, page: Page, _: &mut Context<Self>) -> Result<u32, Infallible> { Ok(page.0) }
    /// # }
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # greenroom::block_on(async {
    /// # let tree = Supervisor::one_for_one("office").child(Printer::spec("printer", ()));
    /// # let system = System::start(tree).await?;
    /// let printer = system.find::<Printer>("office/printer")?;
    /// printer.pause();
    /// let page = printer.ask(Page(1)).within(Duration::from_millis(20)).await;
    /// assert!(page.is_err(), "nobody prints");
    /// printer.resume();
    /// assert_eq!(printer.ask(Page(2)).await?, 2);
    /// # system.stop().await;
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    pub fn pause(&self) {
        self.cell.pause();
    }

    /// Lets an actor that was [paused](Self::pause) go on; of one that was not nothing changes.
    pub fn resume(&self) {
        self.cell.resume();
    }

    pub(crate) fn watched(&self) -> Arc<dyn Linked> {
        Arc::clone(&self.cell) as Arc<dyn Linked>
    }

    /// Returns this reference as one that only knows the message.
    #[must_use]
    pub fn recipient<M>(&self) -> Recipient<M>
    where
        A: Handler<M>,
        M: Message,
    {
        Recipient {
            to: Arc::clone(&self.cell) as Arc<dyn Receive<M>>,
        }
    }

    /// Returns a reference that does not keep the mailbox in memory.
    #[must_use]
    pub fn downgrade(&self) -> WeakActorRef<A> {
        WeakActorRef {
            cell: Arc::downgrade(&self.cell),
        }
    }

    /// Returns the actor's place in the tree.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.cell.path
    }

    /// Returns how many messages are queued at this moment, the one being handled not included.
    ///
    /// It is exact, also while the handler is stuck.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.cell.mailbox.depth()
    }

    /// Returns how many messages the mailbox holds at most.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.cell.mailbox.capacity()
    }
}

impl<A: Actor> WeakActorRef<A> {
    /// Returns the full reference, unless the role is gone and forgotten by all.
    #[must_use]
    pub fn upgrade(&self) -> Option<ActorRef<A>> {
        self.cell.upgrade().map(|cell| ActorRef { cell })
    }
}

impl<M: Message> Recipient<M> {
    /// Puts a message into the mailbox, waiting until there is room; see [`ActorRef::tell`].
    ///
    /// # Errors
    ///
    /// [`TellError`] gives the message back.
    ///
    /// # Cancel safety
    ///
    /// As [`ActorRef::tell`].
    pub fn tell(&self, message: M) -> Tell<'_, M>
    where
        M: Message<Reply = ()>,
    {
        Tell::new(&*self.to, message)
    }

    /// Puts a message into the mailbox if there is room now; see [`ActorRef::try_tell`].
    ///
    /// # Errors
    ///
    /// [`TryTellError`] gives the message back.
    pub fn try_tell(&self, message: M) -> Result<(), TryTellError<M>>
    where
        M: Message<Reply = ()>,
    {
        try_tell(&*self.to, message)
    }

    /// Sends a message and waits for its reply; see [`ActorRef::ask`].
    ///
    /// # Errors
    ///
    /// As [`ActorRef::ask`].
    ///
    /// # Cancel safety
    ///
    /// As [`ActorRef::ask`].
    pub fn ask(&self, message: M) -> Ask<'_, M> {
        Ask::new(&*self.to, message)
    }

    /// Returns the actor's place in the tree.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.to.path()
    }

    pub(crate) fn receiver(&self) -> &Arc<dyn Receive<M>> {
        &self.to
    }
}

fn try_tell<M: Message<Reply = ()>>(
    to: &dyn Receive<M>,
    message: M,
) -> Result<(), TryTellError<M>> {
    let mut message = message;
    if is_special() {
        match look_closer(to, message, CausalKind::Told) {
            Closer::Plain(back) => message = back,
            Closer::Fenced(message) => {
                let path = to.path().clone();
                return Err(TryTellError::Fenced { message, path });
            }
            Closer::Traced(message, origin) => {
                return try_offer(to, Parcel::told_from(message, Some(origin)));
            }
        }
    }
    match to.tell_at_once(message) {
        Ok(()) => Ok(()),
        Err(message) => try_offer(to, Parcel::told(message)),
    }
}

/// What there is to a message that is about to be sent, where there may be more to it.
enum Closer<M> {
    Plain(M),
    /// Whoever sends it was cut off.
    Fenced(M),
    /// Its system keeps where it comes from.
    Traced(M, Origin),
}

#[cold]
fn look_closer<M: Message>(to: &dyn Receive<M>, message: M, kind: CausalKind) -> Closer<M> {
    if is_fenced() {
        return Closer::Fenced(message);
    }
    match to.traced(kind) {
        Some(origin) => Closer::Traced(message, origin),
        None => Closer::Plain(message),
    }
}

#[cold]
fn try_offer<M: Message<Reply = ()>>(
    to: &dyn Receive<M>,
    parcel: Parcel<M>,
) -> Result<(), TryTellError<M>> {
    match to.offer(parcel, WhenFull::Refuse) {
        Offered::Accepted | Offered::Waiting(_) => Ok(()),
        Offered::Full(parcel) | Offered::Lost(parcel) => Err(TryTellError::Full {
            message: parcel.message,
            path: to.path().clone(),
        }),
        Offered::Closed(parcel) | Offered::Restarting(parcel) => Err(TryTellError::Stopped {
            message: parcel.message,
            path: to.path().clone(),
        }),
    }
}

/// The future of [`ActorRef::tell`].
#[must_use = "nothing is sent until the future is awaited"]
pub struct Tell<'a, M: Message> {
    to: &'a dyn Receive<M>,
    /// Until the first poll.
    message: Option<M>,
    within: Option<Duration>,
    expires: Option<Instant>,
    /// For one that does not get in at once.
    entry: Option<Box<Entry<'a, M>>>,
}

// No part of it is pinned; the message is moved out at the first poll.
impl<M: Message> Unpin for Tell<'_, M> {}

impl<'a, M: Message> Tell<'a, M> {
    #[inline]
    fn new(to: &'a dyn Receive<M>, message: M) -> Self {
        Tell {
            to,
            message: Some(message),
            within: None,
            expires: None,
            entry: None,
        }
    }

    /// Waits for room no longer than `limit`, counted from the first poll.
    pub fn within(mut self, limit: Duration) -> Self {
        self.within = Some(limit);
        self
    }

    /// Lets the message expire: if its turn comes more than `time` from now, it is not handled.
    ///
    /// It is then counted as dropped, reason `expired`, and kept as a dead letter.
    /// For what is worthless when it is late, such as a reading that the next one replaces.
    pub fn expires(mut self, time: Duration) -> Self {
        self.expires = Some(after(time));
        self
    }

    #[cold]
    fn begin_entry(&mut self, message: M, origin: Option<Origin>) {
        let parcel = Parcel {
            expires: self.expires,
            ..Parcel::told_from(message, origin)
        };
        let mut entry = Entry::new(self.to, parcel, Way::Tell);
        if let Some(limit) = self.within {
            entry.limit(limit);
        }
        self.entry = Some(Box::new(entry));
    }

    #[cold]
    fn poll_entry(&mut self, cx: &mut Task<'_>) -> Poll<Result<(), TellError<M>>> {
        let Some(entry) = &mut self.entry else {
            return Poll::Ready(Ok(()));
        };
        let Poll::Ready(entered) = entry.poll_enter(cx) else {
            return Poll::Pending;
        };
        self.entry = None;
        let Err(refused) = entered else {
            return Poll::Ready(Ok(()));
        };
        let path = self.to.path().clone();
        Poll::Ready(match refused {
            Refused::Stopped(Parcel { message, .. })
            | Refused::Restarting(Parcel { message, .. }) => {
                Err(TellError::Stopped { message, path })
            }
            Refused::TimedOut(Parcel { message, .. }, waited) => Err(TellError::Timeout {
                message,
                path,
                waited,
            }),
            Refused::Full(Parcel { message, .. }) => Err(TellError::Full { message, path }),
            // As the mailbox was made to do: it is counted, and has a dead letter.
            Refused::Lost(parcel) => {
                self.to.overflowed(parcel);
                Ok(())
            }
        })
    }
}

impl<M: Message> Future for Tell<'_, M> {
    type Output = Result<(), TellError<M>>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Some(mut message) = this.message.take() {
            if is_special() {
                match look_closer(this.to, message, CausalKind::Told) {
                    Closer::Plain(back) => message = back,
                    Closer::Fenced(message) => {
                        let path = this.to.path().clone();
                        return Poll::Ready(Err(TellError::Fenced { message, path }));
                    }
                    Closer::Traced(message, origin) => {
                        this.begin_entry(message, Some(origin));
                        return this.poll_entry(cx);
                    }
                }
            }
            if this.expires.is_none() {
                match this.to.tell_at_once(message) {
                    Ok(()) => return Poll::Ready(Ok(())),
                    Err(back) => message = back,
                }
            }
            this.begin_entry(message, None);
        }
        this.poll_entry(cx)
    }
}

/// The future of [`ActorRef::ask`].
#[must_use = "nothing is sent until the future is awaited"]
pub struct Ask<'a, M: Message> {
    to: &'a dyn Receive<M>,
    within: Duration,
    step: AskStep<'a, M>,
}

enum AskStep<'a, M: Message> {
    New(Option<M>),
    /// On its way into the mailbox.
    Entering(Box<Entry<'a, M>>, Awaited<Answer<M::Reply>>),
    /// In the mailbox, or in the handler.
    Asked(Limit, Awaited<Answer<M::Reply>>),
    Done,
}

// No part of it is pinned; the message is moved out at the first poll.
impl<M: Message> Unpin for Ask<'_, M> {}

impl<'a, M: Message> Ask<'a, M> {
    #[inline]
    fn new(to: &'a dyn Receive<M>, message: M) -> Self {
        Ask {
            to,
            within: ASK_TIMEOUT,
            step: AskStep::New(Some(message)),
        }
    }

    /// Waits for the reply no longer than `limit`, counted from the first poll.
    pub fn within(mut self, limit: Duration) -> Self {
        self.within = limit;
        self
    }

    #[cold]
    fn poll_step(&mut self, cx: &mut Task<'_>) -> Poll<Result<M::Reply, AskError<M>>> {
        if let AskStep::Entering(entry, _) = &mut self.step {
            let Poll::Ready(entered) = entry.poll_enter(cx) else {
                return Poll::Pending;
            };
            let step = std::mem::replace(&mut self.step, AskStep::Done);
            let path = || self.to.path().clone();
            match (entered, step) {
                (Ok(()), AskStep::Entering(entry, answer)) => {
                    self.step = AskStep::Asked(entry.into_limit(), answer);
                }
                (Ok(()), _) => {}
                (Err(Refused::Stopped(Parcel { message, .. })), _) => {
                    let path = path();
                    return Poll::Ready(Err(AskError::Stopped { message, path }));
                }
                (Err(Refused::Restarting(Parcel { message, .. })), _) => {
                    let path = path();
                    return Poll::Ready(Err(AskError::Restarting { message, path }));
                }
                (Err(Refused::TimedOut(Parcel { message, .. }, waited)), _) => {
                    return Poll::Ready(Err(AskError::NoRoom {
                        message,
                        path: path(),
                        waited,
                    }));
                }
                (
                    Err(
                        Refused::Full(Parcel { message, .. })
                        | Refused::Lost(Parcel { message, .. }),
                    ),
                    _,
                ) => {
                    let path = path();
                    return Poll::Ready(Err(AskError::Full { message, path }));
                }
            }
        }
        let AskStep::Asked(limit, answer) = &mut self.step else {
            return Poll::Pending;
        };
        // The reply first: an answer that is there counts, however late it is looked at.
        if let Poll::Ready(answer) = answer.poll(cx) {
            self.step = AskStep::Done;
            return Poll::Ready(self.answered(answer));
        }
        let Poll::Ready(waited) = limit.poll(self.to, cx) else {
            return Poll::Pending;
        };
        self.step = AskStep::Done;
        Poll::Ready(Err(AskError::Timeout {
            path: self.to.path().clone(),
            waited,
        }))
    }

    /// Asks where it is to be known later who asked: through the queue, and never answered on this stack.
    #[cold]
    fn begin_traced(
        &mut self,
        message: M,
        origin: Origin,
        cx: &mut Task<'_>,
    ) -> Poll<Result<M::Reply, AskError<M>>> {
        let (replier, answer) = slot();
        let asking = Asking::new(answer);
        if let Err(cycle) = wait_for_reply(self.to.node(), &asking) {
            self.step = AskStep::Done;
            return Poll::Ready(Err(AskError::Cycle {
                message,
                path: self.to.path().clone(),
                cycle,
            }));
        }
        let parcel = Parcel {
            reply: Some(replier),
            ..Parcel::told_from(message, Some(origin))
        };
        let mut entry = Entry::new(self.to, parcel, Way::Ask);
        entry.limit(self.within);
        self.step = AskStep::Entering(Box::new(entry), asking.into_inner());
        self.poll_step(cx)
    }

    /// Lets an ask that waits be seen, if it is a handler's and was not before.
    #[cold]
    fn known(&self, answer: Awaited<Answer<M::Reply>>) -> Awaited<Answer<M::Reply>> {
        match answer {
            // It was to be answered on this stack, and whoever was asked is being stopped instead.
            Awaited::Own(answer) if is_in_actor() => {
                let asking = Asking::new(answer);
                wait_after_all(self.to.node(), &asking);
                asking.into_inner()
            }
            answer => answer,
        }
    }

    #[inline(always)]
    fn answered(&self, answer: Option<Answer<M::Reply>>) -> Result<M::Reply, AskError<M>> {
        match answer {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(no_reply)) => Err(self.not_answered(Some(no_reply))),
            None => Err(self.not_answered(None)),
        }
    }

    #[cold]
    fn not_answered(&self, why: Option<Box<NoReply>>) -> AskError<M> {
        let path = self.to.path().clone();
        match why.map(|why| *why) {
            Some(NoReply::Failed(reason)) => AskError::Failed { path, reason },
            Some(NoReply::Abandoned) => AskError::Abandoned { path },
            Some(NoReply::Restarting(message)) => match message.downcast::<M>() {
                Ok(message) => AskError::Restarting {
                    message: *message,
                    path,
                },
                Err(_) => AskError::Abandoned { path },
            },
            None => AskError::Failed {
                path,
                reason: "it was cut off before it replied".to_owned(),
            },
        }
    }
}

impl<M: Message> Future for Ask<'_, M> {
    type Output = Result<M::Reply, AskError<M>>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let AskStep::New(message) = &mut this.step
            && let Some(mut message) = message.take()
        {
            if is_special() {
                match look_closer(this.to, message, CausalKind::Asked) {
                    Closer::Plain(back) => message = back,
                    Closer::Fenced(message) => {
                        this.step = AskStep::Done;
                        let path = this.to.path().clone();
                        return Poll::Ready(Err(AskError::Fenced { message, path }));
                    }
                    Closer::Traced(message, origin) => {
                        return this.begin_traced(message, origin, cx);
                    }
                }
            }
            let (replier, answer) = slot();
            let asking = Asking::new(answer);
            match this.to.ask_at_once(message, replier, &asking) {
                Ok(Asked::Queued) => {
                    // The answer is likely there before this is polled again, with no waker of its
                    // own and no timer: those are for an ask that waits longer.
                    let limit = Limit::Since(this.within, Instant::now());
                    this.step = AskStep::Asked(limit, asking.into_inner());
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Ok(asked) => {
                    let mut awaited = asking.into_inner();
                    // It may have been answered on this stack.
                    if let Awaited::Own(answer) = &mut awaited {
                        if asked == Asked::HereTired && answer.is_settled() {
                            this.step = AskStep::Asked(Limit::Within(this.within), awaited);
                            cx.waker().wake_by_ref();
                            return Poll::Pending;
                        }
                        if let Some(answer) = answer.try_take() {
                            this.step = AskStep::Done;
                            return Poll::Ready(this.answered(answer));
                        }
                    }
                    this.step = AskStep::Asked(Limit::Within(this.within), this.known(awaited));
                }
                Err(Back::Cycle(message, cycle)) => {
                    this.step = AskStep::Done;
                    return Poll::Ready(Err(AskError::Cycle {
                        message,
                        path: this.to.path().clone(),
                        cycle,
                    }));
                }
                Err(Back::NoRoom(message, replier)) => {
                    let answer = asking.into_inner();
                    let parcel = Parcel {
                        reply: Some(replier),
                        ..Parcel::told(message)
                    };
                    let mut entry = Entry::new(this.to, parcel, Way::Ask);
                    entry.limit(this.within);
                    this.step = AskStep::Entering(Box::new(entry), answer);
                }
            }
        }
        this.poll_step(cx)
    }
}

impl<A: Actor> Clone for ActorRef<A> {
    fn clone(&self) -> Self {
        ActorRef {
            cell: Arc::clone(&self.cell),
        }
    }
}

impl<A: Actor> Clone for WeakActorRef<A> {
    fn clone(&self) -> Self {
        WeakActorRef {
            cell: Weak::clone(&self.cell),
        }
    }
}

impl<M: Message> Clone for Recipient<M> {
    fn clone(&self) -> Self {
        Recipient {
            to: Arc::clone(&self.to),
        }
    }
}

impl<A: Handler<M>, M: Message> From<ActorRef<A>> for Recipient<M> {
    fn from(actor: ActorRef<A>) -> Self {
        Recipient { to: actor.cell }
    }
}

impl<A: Actor> PartialEq for ActorRef<A> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.cell, &other.cell)
    }
}

impl<A: Actor> Eq for ActorRef<A> {}

impl<A: Actor> fmt::Debug for ActorRef<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ActorRef({})", self.path())
    }
}

impl<A: Actor> fmt::Debug for WeakActorRef<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.upgrade() {
            Some(strong) => write!(f, "WeakActorRef({})", strong.path()),
            None => f.write_str("WeakActorRef(gone)"),
        }
    }
}

impl<M: Message> fmt::Debug for Recipient<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recipient({})", self.path())
    }
}

impl<M: Message> fmt::Debug for Tell<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tell({})", self.to.path())
    }
}

impl<M: Message> fmt::Debug for Ask<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ask({})", self.to.path())
    }
}
