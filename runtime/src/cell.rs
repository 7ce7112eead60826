//! An actor's role, and the lives that are led in it.

use std::any::{Any, type_name};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Waker;
use std::time::Duration;

use greenroom_supervision::Exit;
use parking_lot::Mutex;
use tokio::task::AbortHandle;
use tokio::time::{Instant, Sleep};

use crate::dead_letter::DeadLetterReason;
use crate::entry::{Offered, Receive};
use crate::envelope::{Envelope, Handled, NoReply, Parcel};
use crate::failure::{Cause, During, Failure, FailureKind, ShortType, catch, guarded, text_of};
use crate::mailbox::{Admission, Control, GivenUp, Mailbox, Next, Ticket, WhenFull};
use crate::metrics::Group;
use crate::registry::AnyTopic;
use crate::role::{Boss, Ended, RestartReason, Role, StateCell, as_actor};
use crate::shared::Shared;
use crate::snapshot::{ActorState, Seen};
use crate::{Actor, Context, Event, Handler, Message, Path};

/// What stays of an actor when it is restarted.
pub(crate) struct ActorCell<A: Actor> {
    pub(crate) path: Path,
    pub(crate) mailbox: Mailbox<A>,
    pub(crate) system: Arc<Shared>,
    pub(crate) group: Arc<Group>,
    args: A::Args,
    start_within: Duration,
    stop_within: Duration,
    state: StateCell,
    restarts: AtomicU64,
    /// The running life, to be cut short.
    life: Mutex<Option<(u64, AbortHandle)>>,
    topics: Mutex<Vec<Arc<dyn AnyTopic>>>,
    retired: AtomicBool,
}

/// What a child spec settles about a role, whatever the actor.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) mailbox: usize,
    pub(crate) start_within: Duration,
    pub(crate) stop_within: Duration,
    /// The metrics group, if it is not to be the actor's type.
    pub(crate) group: Option<String>,
}

impl<A: Actor> ActorCell<A> {
    pub(crate) fn new(path: Path, args: A::Args, terms: Terms, system: Arc<Shared>) -> Arc<Self> {
        let group = match &terms.group {
            // A leading `_` is the runtime's.
            Some(group) if group.starts_with('_') => system.meters.group("_other"),
            Some(group) => system.meters.group(group),
            None => system
                .meters
                .group(&ShortType(type_name::<A>()).to_string()),
        };
        Arc::new(ActorCell {
            path,
            mailbox: Mailbox::new(terms.mailbox),
            group,
            system,
            args,
            start_within: terms.start_within,
            stop_within: terms.stop_within,
            state: StateCell::new(ActorState::Stopped),
            restarts: AtomicU64::new(0),
            life: Mutex::new(None),
            topics: Mutex::new(Vec::new()),
            retired: AtomicBool::new(false),
        })
    }

    /// What tells this role from all others while it exists.
    fn identity(&self) -> usize {
        std::ptr::from_ref(self) as usize
    }

    pub(crate) fn subscribe<E: Event>(self: &Arc<Self>, incarnation: u64)
    where
        A: Handler<E>,
    {
        // Held until the topic is noted, so that the end of the role finds it.
        let mut topics = self.topics.lock();
        if self.retired.load(Ordering::Acquire) || !self.mailbox.is_read_by(incarnation) {
            return;
        }
        let subscriber = Arc::clone(self) as Arc<dyn Receive<E>>;
        let topic = self
            .system
            .registry
            .subscribe::<E>(&subscriber, self.identity());
        if !topics.iter().any(|t| Arc::ptr_eq(t, &topic)) {
            topics.push(topic);
        }
    }

    pub(crate) fn unsubscribe<E: Event>(&self, incarnation: u64) {
        if self.mailbox.is_read_by(incarnation) {
            self.system.registry.unsubscribe::<E>(self.identity());
        }
    }

    pub(crate) fn fail(&self, incarnation: u64, during: During, cause: Cause) -> Failure {
        let failure = Failure::new(self.path.clone(), incarnation, during, cause);
        failure.report();
        failure
    }

    fn dead_letter(
        &self,
        incarnation: u64,
        message: &'static str,
        reason: DeadLetterReason,
        text: impl fmt::Display,
    ) {
        self.system
            .dead_letters
            .add(&self.path, incarnation, message, reason, text);
    }

    /// After the role has ended its mailbox is not read any more: move what it still counts to the group.
    fn fold_counts(&self) {
        if self.retired.load(Ordering::Acquire) {
            self.group.retire(|| self.mailbox.take_tally());
        }
    }
}

/// Leads one life, from `Actor::start` to its end, and tells the supervisor.
///
/// The news are an argument, so that they are told also when the task is cut
/// short before it was ever polled; and they are dropped after all else.
async fn live<A: Actor>(mut news: News<A>) {
    let cell = Arc::clone(&news.cell);
    let life = lead(&cell, news.incarnation, &news.boss);
    match as_actor(cell.path.clone(), life).await {
        Some(ended) => news.tell(ended),
        None => news.told = true,
    }
}

/// Returns how the life ended; `None` if it was cut off and has nothing more to say.
async fn lead<A: Actor>(cell: &Arc<ActorCell<A>>, incarnation: u64, boss: &Boss) -> Option<Ended> {
    let failed = |during, cause| Ended::failed(cell.fail(incarnation, during, cause));
    let mut cx = Context::new(Arc::clone(cell), incarnation);
    cell.group.count_start();
    let args = match guarded(|| cell.args.clone()) {
        Ok(args) => args,
        Err(panic) => return Some(failed(During::Start, Cause::Panic(panic))),
    };
    let starting = async { A::start(args, &mut cx).await };
    let cause = match catch(Box::pin(tokio::time::timeout(cell.start_within, starting))).await {
        Ok(Ok(Ok(actor))) => Ok(actor),
        Ok(Ok(Err(error))) => Err(error_cause(error)),
        Err(panic) => Err(Cause::Panic(panic)),
        Ok(Err(_)) => {
            let within = cell.start_within;
            let text = format!("did not start within {within:?}; see `Spec::start_within`");
            Err(Cause::Error(text))
        }
    };
    let mut actor = match cause {
        Ok(actor) => actor,
        Err(cause) => {
            cx.end_tasks().await;
            return Some(failed(During::Start, cause));
        }
    };
    if !cell.mailbox.is_read_by(incarnation) {
        return None;
    }
    cell.state.set(ActorState::Running);
    tracing::debug!(actor = %cell.path, incarnation, "Actor started.");
    boss.started(incarnation);

    let mut draining = false;
    let mut ended = loop {
        // A busy actor gives way now and then, so that it starves nobody.
        tokio::task::coop::consume_budget().await;
        if cx.stop_requested() {
            break Ended::normal();
        }
        let queued = match cell.mailbox.next(incarnation, draining).await {
            Next::Message(queued) => queued,
            Next::Control(Control::Stop { drain: false }) | Next::Empty => break Ended::shutdown(),
            Next::Control(Control::Stop { drain: true }) => {
                draining = true;
                continue;
            }
            Next::Control(Control::Failed(failure)) => break Ended::failed(failure),
            Next::Superseded => return None,
        };
        let message = queued.envelope.message_type();
        let begun = Instant::now();
        cell.group
            .wait
            .record(begun.saturating_duration_since(queued.since));
        cx.begin(begun);
        let cause = match catch(queued.envelope.deliver(&mut actor, &mut cx)).await {
            Ok(Handled::Well) => continue,
            Ok(Handled::CutOff) => return None,
            Ok(Handled::Failed(error)) => error_cause(error),
            Err(panic) => {
                cx.finish(false);
                if !cell.mailbox.is_read_by(incarnation) {
                    return None;
                }
                Cause::Panic(panic)
            }
        };
        let failure = cell.fail(incarnation, During::Message(message), cause);
        let text = failure.text();
        cell.dead_letter(incarnation, message, DeadLetterReason::Failed, text);
        if let Some(reply) = cx.take_reply() {
            reply.refuse(NoReply::Failed(match failure.kind() {
                FailureKind::Panic => format!("it panicked: {text}"),
                _ => text.to_owned(),
            }));
        }
        break Ended::failed(failure);
    };
    if ended.exit.is_clean() {
        cell.state.set(ActorState::Stopping);
        let cause = match catch(Box::pin(actor.stop(&mut cx))).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error_cause(error)),
            Err(panic) => Some(Cause::Panic(panic)),
        };
        if let Some(cause) = cause {
            ended.failure = Some(cell.fail(incarnation, During::Stop, cause));
        }
    }
    cx.end_tasks().await;
    // The state of a life that failed is dropped, never used again, and may panic at that.
    if let Err(panic) = guarded(|| drop((actor, cx))) {
        cell.fail(incarnation, During::Stop, Cause::Panic(panic));
    }
    tracing::debug!(actor = %cell.path, incarnation, exit = ?ended.exit, "Actor ended.");
    Some(ended)
}

/// Takes the text of an author's error, and drops it where it can do no harm.
fn error_cause(error: impl fmt::Display) -> Cause {
    let text = text_of(&error);
    let _ = guarded(|| drop(error));
    Cause::Error(text)
}

/// Tells the supervisor that a life ended, also when its task is cut short.
struct News<A: Actor> {
    cell: Arc<ActorCell<A>>,
    incarnation: u64,
    boss: Boss,
    told: bool,
}

impl<A: Actor> News<A> {
    fn tell(&mut self, ended: Ended) {
        self.told = true;
        self.boss.ended(self.incarnation, ended);
    }
}

impl<A: Actor> Drop for News<A> {
    fn drop(&mut self) {
        if !self.told {
            self.cell.cut_off(self.incarnation);
            self.tell(Ended {
                exit: Exit::Killed,
                reason: RestartReason::Killed,
                failure: None,
                last: None,
            });
        }
    }
}

impl Ended {
    pub(crate) fn failed(failure: Failure) -> Self {
        let reason = match failure.kind() {
            FailureKind::Error => RestartReason::Error,
            FailureKind::Panic => RestartReason::Panic,
            FailureKind::Killed => RestartReason::Killed,
        };
        Ended {
            exit: Exit::Failed,
            reason,
            failure: Some(failure),
            last: None,
        }
    }

    fn normal() -> Self {
        Ended {
            exit: Exit::Normal,
            reason: RestartReason::Normal,
            failure: None,
            last: None,
        }
    }

    pub(crate) fn shutdown() -> Self {
        Ended {
            exit: Exit::Shutdown,
            reason: RestartReason::Normal,
            failure: None,
            last: None,
        }
    }
}

impl<A: Actor> Role for ActorCell<A> {
    fn path(&self) -> &Path {
        &self.path
    }

    fn kind(&self) -> String {
        ShortType(type_name::<A>()).to_string()
    }

    fn launch(self: Arc<Self>, boss: Boss) -> u64 {
        self.retired.store(false, Ordering::Release);
        self.state.set(ActorState::Starting);
        let incarnation = self.mailbox.begin_life();
        self.system
            .registry
            .register(Arc::clone(&self) as Arc<dyn Role>);
        let news = News {
            cell: Arc::clone(&self),
            incarnation,
            boss,
            told: false,
        };
        let mut life = self.life.lock();
        let task = self.system.handle.spawn(live(news));
        *life = Some((incarnation, task.abort_handle()));
        incarnation
    }

    fn stop(&self, incarnation: u64, drain: bool) {
        self.state.set(ActorState::Stopping);
        if drain {
            self.mailbox.close();
        }
        self.mailbox.control(incarnation, Control::Stop { drain });
    }

    fn kill(&self, incarnation: u64) {
        if let Some((running, task)) = &*self.life.lock()
            && *running == incarnation
        {
            task.abort();
        }
    }

    fn cut_off(&self, incarnation: u64) {
        if let Some(stuck) = self.mailbox.cut_off(incarnation) {
            let failure = self.fail(incarnation, During::Message(stuck), Cause::Killed);
            self.dead_letter(incarnation, stuck, DeadLetterReason::Failed, failure.text());
        }
    }

    fn retire(&self) {
        self.mailbox.close();
        let incarnation = self.mailbox.reading(false).incarnation;
        for mut queued in self.mailbox.clear() {
            queued.envelope.abandon();
            let message = queued.envelope.message_type();
            // What a message does when it is dropped is its author's code.
            let _ = guarded(|| drop(queued));
            self.dead_letter(
                incarnation,
                message,
                DeadLetterReason::Stopped,
                "left in the mailbox",
            );
        }
        // From here on nobody subscribes it any more.
        self.retired.store(true, Ordering::Release);
        for topic in self.topics.lock().drain(..) {
            topic.unsubscribe(self.identity());
        }
        self.state.set(ActorState::Stopped);
        *self.life.lock() = None;
        self.fold_counts();
        self.system.registry.unregister(&self.path);
    }

    fn stop_within(&self) -> Option<Duration> {
        Some(self.stop_within)
    }

    fn mark_restarting(&self, reason: RestartReason) {
        self.state.set(ActorState::Restarting);
        self.restarts.fetch_add(1, Ordering::Relaxed);
        self.group.count_restart(reason);
    }

    fn seen(&self, scrape: bool) -> Seen {
        let reading = self.mailbox.reading(scrape);
        Seen {
            path: self.path.clone(),
            group: self.group.name.clone(),
            state: self.state.get(),
            incarnation: reading.incarnation,
            restarts: self.restarts.load(Ordering::Relaxed),
            capacity: self.mailbox.capacity(),
            mailbox: Some(reading),
            is_dynamic: false,
        }
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

impl<A: Handler<M>, M: Message> Receive<M> for ActorCell<A> {
    fn path(&self) -> &Path {
        &self.path
    }

    fn offer(&self, parcel: Parcel<M>, when_full: WhenFull<'_>) -> Offered<M> {
        let offered = known(self.mailbox.offer(Box::new(parcel), when_full));
        if matches!(offered, Offered::Closed(_)) {
            self.fold_counts();
        }
        offered
    }

    fn poll_ticket(&self, ticket: Ticket, waker: &Waker) -> Offered<M> {
        known(self.mailbox.poll_ticket(ticket, waker))
    }

    fn give_up(&self, ticket: Ticket, why: GivenUp) -> Option<Parcel<M>> {
        self.mailbox.give_up(ticket, why).map(parcel_of)
    }

    fn lost(&self, message: &M, stopped: bool)
    where
        M: fmt::Debug,
    {
        let reason = if stopped {
            DeadLetterReason::Stopped
        } else {
            DeadLetterReason::Full
        };
        let incarnation = self.mailbox.reading(false).incarnation;
        self.dead_letter(
            incarnation,
            type_name::<M>(),
            reason,
            format_args!("{message:?}"),
        );
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<Sleep>> {
        self.system.sleep(duration)
    }

    fn same_role(&self, role: usize) -> bool {
        self.identity() == role
    }
}

fn known<A: Handler<M>, M: Message>(admission: Admission<A>) -> Offered<M> {
    match admission {
        Admission::Accepted => Offered::Accepted,
        Admission::Waiting(ticket) => Offered::Waiting(ticket),
        Admission::Full(envelope) => Offered::Full(parcel_of(envelope)),
        Admission::Closed(envelope) => Offered::Closed(parcel_of(envelope)),
    }
}

/// What a sender gets back is what it had offered, so the type is known.
fn parcel_of<A: Actor, M: Message>(envelope: Box<dyn Envelope<A>>) -> Parcel<M> {
    match envelope.into_any().downcast::<Parcel<M>>() {
        Ok(parcel) => *parcel,
        Err(_) => unreachable!("a mailbox handed back a message of another sender"),
    }
}
