//! What an actor can do: the door from inside a handler to the system.

use std::fmt;
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_core::Stream;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};

use crate::causes::Origin;
use crate::cell::ActorCell;
use crate::core::alone::Alone;
use crate::dead_letter::DeadLetterReason;
use crate::delivery::Delivery;
use crate::entry::{Entry, Receive, Refused, Way};
use crate::envelope::{AnyReply, Parcel, TaskState, Tie};
use crate::failure::{Cause, During, catch};
use crate::mailbox::words::Control;
use crate::monitor::Teller;
use crate::role::{CUT_OFF_AFTER, Ended, Role};
use crate::shared::after as in_future;
use crate::simulation::Step;
use crate::snapshot::ActorState;
use crate::watchers::{Linked, Watched, Watcher, link, unlink, watch};
use crate::{
    Actor, ActorRef, Down, Envelope, Event, Handler, Message, Monitor, Path, SubscribeError,
    Subscription, SupervisorRef, System,
};

/// What a life of an actor can do; every handler gets it.
///
/// Timers, streams and background futures begun here belong to this life
/// ([incarnation](Context::incarnation)): when it ends, by a stop or a failure,
/// they are ended too, and messages of theirs that are still queued are not
/// handled by the next life. Subscriptions belong to the role and stay.
#[repr(C)]
pub struct Context<A: Actor> {
    cell: Arc<ActorCell<A>>,
    /// How many messages the one that is timed stands for.
    untimed: u32,
    end: End,
    /// When the handler that runs was called, if it is timed.
    begun: Option<Instant>,
    incarnation: u64,
    /// What few lives have.
    rare: Option<Box<Rare>>,
    /// Who asked for the message in hand.
    reply: Alone<Option<AnyReply>>,
}

/// Whether a life has asked for its own end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    No,
    Normal,
    Shutdown,
}

#[derive(Default)]
struct Rare {
    /// Ends the tasks when it is dropped.
    tasks: Option<JoinSet<()>>,
    /// Why it shuts itself down.
    why: Option<Arc<str>>,
    /// What it monitors, and some that it does not any more.
    watching: Vec<Weak<dyn Watcher>>,
}

impl Rare {
    fn watch(&mut self, watcher: &Arc<dyn Watcher>) {
        // Those that are over are forgotten each time that the list would grow, so it is at most twice too long.
        if self.watching.len() == self.watching.capacity() {
            self.watching.retain(|watcher| watcher.strong_count() > 0);
            self.watching.reserve(self.watching.len().max(4));
        }
        self.watching.push(Arc::downgrade(watcher));
    }
}

impl Drop for Rare {
    fn drop(&mut self) {
        for watcher in self.watching.drain(..) {
            if let Some(watcher) = watcher.upgrade() {
                watcher.cancel();
                watcher.seat().leave();
            }
        }
    }
}

impl<A: Actor> Context<A> {
    pub(crate) fn new(cell: Arc<ActorCell<A>>, incarnation: u64) -> Self {
        Context {
            cell,
            incarnation,
            rare: None,
            end: End::No,
            begun: None,
            untimed: 0,
            reply: Alone::new(None),
        }
    }

    /// Returns a reference to this actor.
    #[must_use]
    pub fn me(&self) -> ActorRef<A> {
        ActorRef::new(Arc::clone(&self.cell))
    }

    /// Returns the actor's place in the tree.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.cell.path
    }

    /// Returns which life this is, counted from 1.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Returns whether this life still stands for its actor: not if it was cut off while it blocked its thread.
    ///
    /// What such a life sends is refused anyway. It asks this before it does
    /// something outside of the system that its successor does as well, such as to
    /// write into a file of theirs.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.cell.mailbox.is_read_by(self.incarnation)
    }

    /// Returns the system in which the actor lives.
    #[must_use]
    pub fn system(&self) -> System {
        System::from_shared(Arc::clone(&self.cell.system))
    }

    /// Ends this life after the current message, normally.
    ///
    /// What the supervisor makes of it is the child spec's affair: a
    /// [permanent](crate::Restart::Permanent) actor is started again, others stay
    /// down and what is left in their mailbox becomes dead letters.
    pub fn stop(&mut self) {
        self.end = End::Normal;
    }

    /// Ends this life after the current message with [`ExitReason::Shutdown`](crate::ExitReason::Shutdown): it could
    /// not go on, and that is no failure.
    ///
    /// As after [`stop`](Self::stop), a permanent actor is started again and others
    /// stay down. Those who watch are told why; an empty text is no reason. The
    /// latest of several calls counts.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::convert::Infallible;
    /// # use greenroom::prelude::*;
    /// # struct Reader;
    /// # impl Actor for Reader {
    /// #     type Args = ();
    /// #     type Error = Infallible;
    /// #     async fn start((): (), _: &mut Context<Self>) -> Result<Self, Infallible> { Ok(Reader) }
    /// # }
    /// # struct Unplugged;
    /// # impl Message for Unplugged { type Reply = (); }
    /// impl Handler<Unplugged> for Reader {
    ///     async fn handle(&mut self, _: Unplugged, cx: &mut Context<Self>) -> Result<(), Infallible> {
    ///         cx.shutdown("the device was unplugged");
    ///         Ok(())
    ///     }
    /// }
    /// ```
    pub fn shutdown(&mut self, why: impl Into<Arc<str>>) {
        let why = why.into();
        self.rare().why = (!why.is_empty()).then_some(why);
        self.end = End::Shutdown;
    }

    /// Ends a start for which there is nothing to run, which is no failure; to be awaited in [`Actor::start`].
    ///
    /// What follows it is not run. The supervisor keeps the child's place but no
    /// life in it, and goes on with the next child; the child can be started
    /// again by [`SupervisorRef::restart_child`](crate::SupervisorRef::restart_child),
    /// or comes along when its group is restarted. A
    /// [temporary](crate::Restart::Temporary) child, and one of a dynamic
    /// supervisor, is forgotten. Whoever wanted it started is told
    /// [`Ignored`](crate::StartChildError::Ignored).
    ///
    /// ```
    /// # use std::convert::Infallible;
    /// # use greenroom::prelude::*;
    /// struct Camera;
    /// impl Actor for Camera {
    ///     type Args = Option<u16>;
    ///     type Error = Infallible;
    ///     async fn start(port: Option<u16>, cx: &mut Context<Self>) -> Result<Self, Infallible> {
    ///         let Some(_port) = port else {
    ///             return cx.ignore().await;
    ///         };
    ///         Ok(Camera)
    ///     }
    /// }
    /// ```
    ///
    /// # Panics
    ///
    /// When the actor has started: it ends itself by [`stop`](Self::stop).
    ///
    /// # Cancel safety
    ///
    /// Once polled it has ended the life, whether it is dropped or not.
    pub async fn ignore<T>(&mut self) -> T {
        assert!(
            !matches!(self.cell.state(), ActorState::Running | ActorState::Paused),
            "only a start can be ignored; an actor that has started ends itself by `Context::stop`"
        );
        self.cell.ignore(self.incarnation);
        pending().await
    }

    #[inline(always)]
    pub(crate) fn stop_requested(&self) -> bool {
        self.end != End::No
    }

    /// How the life ends, if it has asked for its end since this was asked before.
    pub(crate) fn take_end(&mut self) -> Option<Ended> {
        match std::mem::replace(&mut self.end, End::No) {
            End::No => None,
            End::Normal => Some(Ended::normal()),
            End::Shutdown => Some(Ended::shutdown_for(self.rare().why.take())),
        }
    }

    /// How much room there is for what it monitors.
    #[cfg(all(test, not(greenroom_loom)))]
    pub(crate) fn watching(&self) -> usize {
        let rare = self.rare.as_ref();
        rare.map_or(0, |rare| rare.watching.capacity())
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    #[inline(always)]
    pub(crate) fn cell(&self) -> &Arc<ActorCell<A>> {
        &self.cell
    }

    #[inline(always)]
    pub(crate) fn hold_reply(&mut self, reply: AnyReply) {
        *self.reply.get_mut() = Some(reply);
    }

    #[inline(always)]
    pub(crate) fn take_reply(&mut self) -> Option<AnyReply> {
        self.reply.get_mut().take()
    }

    pub(crate) fn has_tasks(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.tasks.is_some())
    }

    /// Ends the work beside the handlers, and waits a little for it to be gone.
    ///
    /// So a port or a file that it held is free when the next life starts. Work
    /// that blocks its thread is not waited for.
    pub(crate) async fn end_tasks(&mut self) {
        let Some(rare) = &mut self.rare else { return };
        if let Some(tasks) = &mut rare.tasks {
            let _ = tokio::time::timeout(CUT_OFF_AFTER, tasks.shutdown()).await;
        }
        rare.tasks = None;
    }

    /// A message is taken in hand.
    #[inline(always)]
    pub(crate) fn begin(&mut self) {
        self.untimed += 1;
    }

    /// It has a stamp, and is timed.
    #[cold]
    pub(crate) fn begin_timed(&mut self, queued: Instant, now: Instant) {
        self.cell
            .group
            .wait
            .record(now.saturating_duration_since(queued));
        self.begun = Some(now);
    }

    /// The message in hand is not handled after all.
    #[cold]
    pub(crate) fn unbegin(&mut self) {
        self.begun = None;
        self.untimed = self.untimed.saturating_sub(1);
    }

    /// The message in hand has ended and counts: how long it took is recorded if it was timed.
    #[inline(always)]
    pub(crate) fn ended(&mut self) {
        if self.begun.is_some() {
            self.ended_timed();
        }
    }

    #[cold]
    fn ended_timed(&mut self) {
        self.ended_badly();
        if let Some(table) = self.cell.in_hand() {
            self.cell.system.saw(&Step::Handled {
                path: self.cell.path.as_str(),
                incarnation: self.incarnation,
                name: (table.message_type)(),
            });
        }
    }

    /// The same for one that failed.
    #[cold]
    pub(crate) fn ended_badly(&mut self) {
        if let Some(begun) = self.begun.take() {
            let took = begun.elapsed();
            self.cell.group.handle.record(took);
            self.cell.group.busy(took, self.untimed);
            self.untimed = 0;
        }
    }

    // ===== events =====

    /// Subscribes this actor to all events of type `E`.
    ///
    /// The subscription belongs to the role: it survives restarts, during which
    /// events wait in the mailbox. Doing it again, as `start` does in every
    /// life, changes nothing.
    pub fn subscribe<E: Event>(&mut self)
    where
        A: Handler<E>,
    {
        self.cell.subscribe::<E>(self.incarnation);
    }

    /// Ends the plain subscription to events of type `E`; those already queued are still handled.
    pub fn unsubscribe<E: Event>(&mut self)
    where
        A: Handler<E>,
    {
        self.cell.unsubscribe::<E>(self.incarnation);
    }

    /// Subscribes this actor to events of type `E` on terms of its own; see [`Subscription`] for what these can be.
    ///
    /// It belongs to the role, as a plain subscription does, and survives restarts
    /// with what it keeps. Doing it again under the same name, as `start` does
    /// in every life, replaces its terms. An actor may have several for one type; each
    /// that wants an event gets it, beside the plain one.
    ///
    /// # Errors
    ///
    /// [`Pattern`](SubscribeError::Pattern) where its subject is no pattern,
    /// [`Ended`](SubscribeError::Ended) where this life may not act for its actor any more.
    pub fn subscribe_with<E: Event>(
        &mut self,
        subscription: Subscription<E>,
    ) -> Result<(), SubscribeError>
    where
        A: Handler<E>,
    {
        let name = subscription.name();
        if let Some(error) = subscription.mistake() {
            return Err(SubscribeError::Pattern {
                subscription: name,
                error: error.clone(),
            });
        }
        match self.cell.subscribe_with(self.incarnation, subscription) {
            true => Ok(()),
            false => Err(SubscribeError::Ended {
                path: self.cell.path.clone(),
                subscription: name,
            }),
        }
    }

    /// Ends the subscription of this name to events of type `E`.
    ///
    /// Events in the mailbox are still handled. Those that the subscription keeps
    /// are lost, reason `unsubscribed`, and have no dead letter: nobody wants them.
    pub fn unsubscribe_from<E: Event>(&mut self, name: &str)
    where
        A: Handler<E>,
    {
        self.cell.unsubscribe_from::<E>(self.incarnation, name);
    }

    /// Publishes an event to all its subscribers without ever waiting; see [`System::publish`].
    pub fn publish<E: Event>(&self, event: E) -> Delivery {
        self.cell.system.registry.publish(&event)
    }

    /// Publishes an event, waiting up to `limit` for subscribers that have no room; see [`System::publish_within`].
    ///
    /// # Cancel safety
    ///
    /// As [`System::publish_within`].
    pub fn publish_within<E: Event>(
        &self,
        event: E,
        limit: Duration,
    ) -> impl Future<Output = Delivery> + Send + 'static {
        let system = Arc::clone(&self.cell.system);
        async move { system.registry.publish_within(event, limit).await }
    }

    /// Returns what the message in hand tells of itself: its id, type, source, time and cause.
    ///
    /// An event has an envelope if the subscription asked for one, if it was published
    /// [with one](System::publish_received), or if the system [keeps causes](crate::Builder::keep_causes); then told and
    /// asked messages have one, too. `None` otherwise, and where no message is in hand. It is written when it is first
    /// looked at, and shared by all who got the event.
    #[must_use]
    pub fn envelope(&self) -> Option<Arc<Envelope>> {
        let origin = self.cell.origin_in_hand()?;
        Some(origin.envelope())
    }

    /// Keeps something that this actor cannot use as a dead letter, counted with reason `reported`.
    ///
    /// `kind` names what it is, as a message type would ("line"), and `text` what
    /// is wrong with it; at most 512 bytes of it are kept.
    pub fn dead_letter(&self, kind: &'static str, text: impl fmt::Display) {
        let origin = self.cell.origin_in_hand();
        let event_id = origin.map(|origin| origin.id().clone());
        let reason = DeadLetterReason::Reported;
        self.cell
            .dead_letter(self.incarnation, kind, reason, text, event_id);
    }

    // ===== others =====

    /// Lets this actor know when a life of another one ends: it is told one [`Down`].
    ///
    /// Watched is the life that goes on, or the next one if the actor waits for its
    /// restart; whoever wants to know of each end monitors again on each `Down`. Where
    /// the actor has stopped for good, a `Down` says
    /// [`NotRunning`](crate::ExitReason::NotRunning) at once.
    ///
    /// The watch belongs to this life, as timers do. A `Down` takes its place in the
    /// mailbox as other messages do: where it is full, it waits for room, and a mailbox
    /// that loses what does not fit may lose it, with a dead letter. Who is to fail
    /// together with another [links](Self::link).
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::convert::Infallible;
    /// # use greenroom::prelude::*;
    /// use greenroom::Down;
    /// # struct Meter;
    /// # impl Actor for Meter {
    /// #     type Args = ();
    /// #     type Error = Infallible;
    /// #     async fn start((): (), _: &mut Context<Self>) -> Result<Self, Infallible> { Ok(Meter) }
    /// # }
    ///
    /// struct Panel {
    ///     meter: ActorRef<Meter>,
    /// }
    ///
    /// impl Actor for Panel {
    ///     type Args = ActorRef<Meter>;
    ///     type Error = Infallible;
    ///     async fn start(meter: ActorRef<Meter>, cx: &mut Context<Self>) -> Result<Self, Infallible> {
    ///         cx.monitor(&meter);
    ///         Ok(Panel { meter })
    ///     }
    /// }
    ///
    /// impl Handler<Down> for Panel {
    ///     async fn handle(&mut self, down: Down, cx: &mut Context<Self>) -> Result<(), Infallible> {
    ///         println!("no reading: {down}");
    ///         cx.monitor(&self.meter);
    ///         Ok(())
    ///     }
    /// }
    /// ```
    pub fn monitor<B: Actor>(&mut self, other: &ActorRef<B>) -> Monitor
    where
        A: Handler<Down>,
    {
        self.watch(&(other.watched() as Arc<dyn Watched>))
    }

    /// The same for a supervisor: it ends when it gives up, shuts itself down, or is stopped, with all that is below it.
    pub fn monitor_supervisor(&mut self, other: &SupervisorRef) -> Monitor
    where
        A: Handler<Down>,
    {
        self.watch(&other.watched())
    }

    fn watch(&mut self, role: &Arc<dyn Watched>) -> Monitor
    where
        A: Handler<Down>,
    {
        let teller = Teller::new(&self.cell, self.incarnation, role);
        let watcher: Arc<dyn Watcher> = Arc::new(teller);
        self.rare().watch(&watcher);
        watch(&**role, Arc::clone(&watcher));
        Monitor::new(watcher)
    }

    /// Binds this life to that of another actor: neither goes on without the other.
    ///
    /// Bound is its life that goes on, or the next one if it waits for its restart.
    /// However often it is done, from whichever side, there is one link of two
    /// actors, and it is gone when either life is over. What the end of one means
    /// for the other:
    ///
    /// | the end of one                          | the other                                            |
    /// |-----------------------------------------|------------------------------------------------------|
    /// | [`Normal`](crate::ExitReason::Normal)     | goes on                                              |
    /// | [`Shutdown`](crate::ExitReason::Shutdown) | shuts down in order, for the same reason             |
    /// | [`Failed`](crate::ExitReason::Failed)     | fails; its [`Failure`](crate::Failure) tells of the first |
    /// | [`Killed`](crate::ExitReason::Killed)     | ends as killed                                       |
    /// | it had stopped for good                 | fails                                                |
    ///
    /// It ends after the message that it handles, and its supervisor decides what
    /// follows. Nothing is trapped, as OTP would say: who wants to be told of an
    /// end, and to live, [monitors](Self::monitor).
    pub fn link<B: Actor>(&mut self, other: &ActorRef<B>) {
        let mine = Arc::clone(&self.cell) as Arc<dyn Linked>;
        link(&mine, self.incarnation, &other.watched());
    }

    /// Takes the [link](Self::link) to another actor back, whichever of the two had made it.
    ///
    /// From here on the end of one is not the other's, also if it has come already.
    pub fn unlink<B: Actor>(&mut self, other: &ActorRef<B>) {
        if self.cell.mailbox.is_read_by(self.incarnation) {
            unlink(&*self.cell, &*other.watched());
        }
    }

    // ===== what goes on beside the handler =====

    /// Tells this actor `message` once, after `delay`.
    pub fn after<M>(&mut self, delay: Duration, message: M) -> Task
    where
        A: Handler<M>,
        M: Message<Reply = ()>,
    {
        self.background(async move {
            tokio::time::sleep(delay).await;
            message
        })
    }

    /// Tells this actor `message` again and again, the first time after one `period`.
    ///
    /// At most one tick is in the mailbox: an actor that falls behind gets fewer
    /// ticks, not a queue of them. A `period` of zero counts as one millisecond.
    pub fn every<M>(&mut self, period: Duration, message: M) -> Task
    where
        A: Handler<M>,
        M: Message<Reply = ()> + Clone + Sync,
    {
        let period = period.max(Duration::from_millis(1));
        self.spawn(move |post| async move {
            let mut ticks = tokio::time::interval_at(in_future(period), period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                if !post.tie.task.queued.load(Ordering::Relaxed)
                    && !post.send(message.clone()).await
                {
                    return;
                }
            }
        })
    }

    /// Tells this actor each item of a stream, in order, waiting for room in the mailbox.
    ///
    /// To hear of the end, chain a last item to the stream. An actor that calls
    /// [`stop`](Self::stop) then is to be [`Transient`](crate::Restart::Transient):
    /// a permanent one is started again, and so is the stream.
    pub fn attach<S>(&mut self, stream: S) -> Task
    where
        S: Stream + Send + 'static,
        S::Item: Message<Reply = ()>,
        A: Handler<S::Item>,
    {
        self.spawn(move |post| async move {
            let mut stream: Pin<Box<S>> = Box::pin(stream);
            while let Some(item) = poll_fn(|cx| stream.as_mut().poll_next(cx)).await {
                if !post.send(item).await {
                    return;
                }
            }
        })
    }

    /// Runs a future beside the handlers and tells this actor its result.
    ///
    /// A panic in it is a failure of the actor. It ends with this life: what is
    /// under way when the actor fails has no result. Work that blocks its thread
    /// goes through [`blocking`](crate::blocking).
    pub fn background<F>(&mut self, future: F) -> Task
    where
        F: Future + Send + 'static,
        F::Output: Message<Reply = ()>,
        A: Handler<F::Output>,
    {
        self.spawn(move |post| async move {
            let message = future.await;
            post.send(message).await;
        })
    }

    fn spawn<F, Fut>(&mut self, work: F) -> Task
    where
        F: FnOnce(Post<A>) -> Fut,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let rare = self.rare.get_or_insert_default();
        let tasks = rare.tasks.get_or_insert_default();
        // Forget those that are done, or a life with many timers would grow.
        while tasks.try_join_next().is_some() {}
        let state = Arc::new(TaskState::default());
        let tie = Tie {
            incarnation: self.incarnation,
            task: Arc::clone(&state),
        };
        let cell = Arc::clone(&self.cell);
        let incarnation = self.incarnation;
        let future = work(Post {
            cell: Arc::clone(&cell),
            tie,
            cause: cell.system.registry.origins.of_work(),
        });
        let handle = self.cell.system.handle_here();
        let abort = tasks.spawn_on(
            async move {
                if let Err(panic) = catch(Box::pin(future)).await {
                    let failure = cell.fail(
                        (incarnation, None),
                        None,
                        During::Background,
                        Cause::Panic(panic),
                    );
                    cell.control(incarnation, Control::Failed(failure));
                }
            },
            &handle,
        );
        Task { state, abort }
    }
}

/// Where background work posts its messages: its own actor, tied to its life.
struct Post<A: Actor> {
    cell: Arc<ActorCell<A>>,
    tie: Tie,
    /// What was in hand when it was begun.
    cause: Option<Origin>,
}

impl<A: Actor> Post<A> {
    /// Waits for room; `false` if the actor has stopped and takes no more.
    async fn send<M>(&self, message: M) -> bool
    where
        A: Handler<M>,
        M: Message<Reply = ()>,
    {
        self.tie.task.queued.store(true, Ordering::Relaxed);
        let origins = &self.cell.system.registry.origins;
        let parcel = Parcel {
            message,
            reply: None,
            tie: Some(self.tie.clone()),
            expires: None,
            origin: origins.of_post::<M>(&self.cell.path, self.cause.as_ref()),
        };
        let to: &dyn Receive<M> = &*self.cell;
        let mut entry = Entry::new(to, parcel, Way::Post);
        match poll_fn(|cx| entry.poll_enter(cx)).await {
            Ok(()) => true,
            Err(Refused::Lost(parcel) | Refused::Full(parcel)) => {
                // The next tick may find room.
                self.tie.task.queued.store(false, Ordering::Relaxed);
                let Parcel {
                    message, origin, ..
                } = parcel;
                to.overflowed(Parcel::told_from(message, origin));
                true
            }
            Err(Refused::Stopped(_) | Refused::TimedOut(..) | Refused::Restarting(_)) => false,
        }
    }
}

/// A handle to a timer, a stream or a background future of an actor.
///
/// Dropping it changes nothing: the work ends with the life that began it, or
/// by [`cancel`](Task::cancel).
pub struct Task {
    state: Arc<TaskState>,
    abort: AbortHandle,
}

impl Task {
    /// Ends the work; no message of it is handled after this call returns to the actor that began it.
    ///
    /// A message that is already queued is discarded when its turn comes, and
    /// counted as dropped, reason `cancelled`.
    pub fn cancel(&self) {
        self.state.cancelled.store(true, Ordering::Relaxed);
        self.abort.abort();
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task")
            .field("cancelled", &self.state.cancelled.load(Ordering::Relaxed))
            .finish_non_exhaustive()
    }
}

impl<A: Actor> fmt::Debug for Context<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Context({}, incarnation {})",
            self.cell.path, self.incarnation
        )
    }
}
