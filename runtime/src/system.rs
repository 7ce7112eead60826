//! A running tree: started, found in, published to, observed and stopped.

use std::any::type_name;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use greenroom_supervision::{ChildId, Exit};
use tokio::sync::{mpsc, oneshot, watch};

use crate::book::Lead;
use crate::cell::ActorCell;
use crate::dead_letter::DeadLetter;
use crate::delivery::Delivery;
use crate::error::{Escalated, FindError, NotReady, ResendError, StartError};
use crate::failure::logged;
use crate::metrics::{Family, Ledger};
use crate::role::{Boss, Ended, Note, RestartReason, Role};
use crate::shared::Shared;
use crate::snapshot::{ActorInfo, ActorState, Seen};
use crate::supervisor::SupervisorCell;
use crate::supervisor_ref::SupervisorRef;
use crate::{Actor, ActorRef, Builder, Event, Path, StartCause, Supervisor};

/// A running tree of actors.
///
/// It is a handle: cheap to clone, and dropping it does not stop the tree.
/// [`stop`](System::stop) does, or a signal after
/// [`stop_on_signals`](System::stop_on_signals).
///
/// The futures of this crate can be awaited on any executor;
/// [`block_on`](crate::block_on) serves where there is none.
#[derive(Clone)]
pub struct System {
    shared: Arc<Shared>,
}

impl System {
    /// Starts the tree on workers of its own and returns when all its actors are up.
    ///
    /// # Errors
    ///
    /// As [`Builder::start`].
    ///
    /// # Cancel safety
    ///
    /// As [`Builder::start`].
    pub async fn start(tree: Supervisor) -> Result<System, StartError> {
        Self::builder().start(tree).await
    }

    /// Returns a builder, for a system that is not the default one.
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) fn from_shared(shared: Arc<Shared>) -> Self {
        System { shared }
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(crate) async fn raise(&self, tree: Supervisor) -> Result<(), StartError> {
        tree.check_below(None)?;
        let admitted = self.shared.admit_tree(&tree);
        admitted.map_err(StartError::WaitingCycle)?;
        let root = tree.build(None, ChildId(0), &self.shared);
        *self.shared.root_path.lock() = Some(root.path().clone());
        self.shared.registry.origins.raised(root.path());
        *self.shared.root.lock() = Some(Arc::clone(&root) as Arc<dyn Role>);
        let (notes, mut inbox) = mpsc::unbounded_channel();
        let above = Lead::above(root.id(), notes);
        let boss = Boss::new(&*root, &above);
        drop(above);
        let (up, mut is_up) = watch::channel(false);
        let shared = Arc::clone(&self.shared);
        // Here and not in the task: an order to stop that comes at once must find it launched.
        let role = Arc::clone(&root) as Arc<dyn Role>;
        self.shared.registry.register(role);
        let launched = Arc::clone(&root).launch(boss, StartCause::Boot);
        Arc::clone(&root).go(launched);
        let unfinished = StopUnlessUp {
            system: Some(self.clone()),
        };
        self.shared.handle.spawn(async move {
            let ended = loop {
                match inbox.recv().await {
                    Some(Note::Started { .. }) => up.send_replace(true),
                    Some(Note::Ended { ended, .. }) => break ended,
                    Some(_) => continue,
                    None => {
                        break Ended {
                            exit: Exit::Killed,
                            ..Ended::shutdown()
                        };
                    }
                };
            };
            root.retire();
            shared.dead_letters.end();
            shared.registry.end();
            *shared.root.lock() = None;
            shared.end.send_replace(Some(ended));
        });
        // The sender goes when the root has ended, so this returns in either case.
        let started = is_up.wait_for(|up| *up).await.is_ok();
        unfinished.disarm();
        if started {
            return Ok(());
        }
        let ended = self.ended().await;
        Err(ended
            .failure
            .map_or(StartError::Stopped, StartError::ChildFailed))
    }

    async fn ended(&self) -> Ended {
        let mut end = self.shared.end.subscribe();
        let ended = end
            .wait_for(Option::is_some)
            .await
            .map(|ended| ended.clone());
        // The sender lives as long as `self`.
        ended.ok().flatten().unwrap_or_else(Ended::shutdown)
    }

    // ===== to find and to publish =====

    /// Returns a reference to the actor at `path`, as in `home/kitchen/lights`.
    ///
    /// # Errors
    ///
    /// [`FindError`] when nothing is there, with what is nearby, or when it is an
    /// actor of another type.
    pub fn find<A: Actor>(&self, path: &str) -> Result<ActorRef<A>, FindError> {
        self.find_role::<ActorCell<A>>(path, type_name::<A>())
            .map(ActorRef::new)
    }

    /// Returns a reference to the supervisor at `path`.
    ///
    /// # Errors
    ///
    /// As [`find`](Self::find).
    pub fn supervisor(&self, path: &str) -> Result<SupervisorRef, FindError> {
        self.find_role::<SupervisorCell>(path, "supervisor")
            .map(SupervisorRef::new)
    }

    fn find_role<R: Role>(&self, path: &str, wanted: &'static str) -> Result<Arc<R>, FindError> {
        let Some(role) = self.shared.registry.get(path) else {
            let nearby = self.shared.registry.nearby(path);
            return Err(FindError::NotFound {
                path: path.to_owned(),
                nearby,
            });
        };
        let (path, found) = (role.path().clone(), role.kind());
        role.into_any()
            .downcast::<R>()
            .map_err(|_| FindError::WrongType {
                path,
                wanted,
                found,
            })
    }

    /// Publishes an event to all its subscribers, and never waits for any of them.
    ///
    /// A plain subscriber whose mailbox is full does not get the event: that is counted
    /// by actor and reason, and kept as a dead letter; a [`Subscription`](crate::Subscription)
    /// has terms of its own for that. An event that nobody has
    /// subscribed to yet is heard by nobody, so list subscribers before publishers
    /// in the tree. Events of one publisher
    /// reach each subscriber in the order in which they were published.
    ///
    /// # Examples
    ///
    /// ```
    /// # use greenroom::prelude::*;
    /// # #[derive(Clone, Debug)] struct MotionSeen;
    /// # impl Event for MotionSeen {}
    /// # fn example(system: &System) {
    /// let delivery = system.publish(MotionSeen);
    /// println!("{} heard it", delivery.delivered);
    /// # }
    /// ```
    pub fn publish<E: Event>(&self, event: E) -> Delivery {
        self.shared.registry.publish(&event)
    }

    /// Publishes an event, waiting up to `limit` for plain subscribers that have no room.
    ///
    /// It is for a source that can be slowed down: a file, a replay, a queue
    /// that is read as fast as it is worked off. Subscribers with room get the
    /// event at once; one that has none in the end is treated as by
    /// [`publish`](Self::publish), and one that stops meanwhile counts the event
    /// as rejected, reason `stopped`. Subscriptions with terms are not waited for, as
    /// they say themselves what becomes of the event; see
    /// [`Delivery::await_required`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the event with those who have it already; the
    /// others do not get it, which is counted as rejected, reason `cancelled`.
    pub async fn publish_within<E: Event>(&self, event: E, limit: Duration) -> Delivery {
        self.shared.registry.publish_within(event, limit).await
    }

    // ===== to observe =====

    /// Returns every actor and supervisor as it is now, sorted by path.
    ///
    /// It never waits for an actor, so it tells the truth also of one that is stuck.
    #[must_use]
    pub fn snapshot(&self) -> Vec<ActorInfo> {
        let mut infos: Vec<ActorInfo> = Vec::new();
        self.shared
            .registry
            .for_each(|role| infos.push(ActorInfo::of(role)));
        infos.sort_by(|a, b| a.path.cmp(&b.path));
        infos
    }

    /// Returns the dead letters that are kept, the oldest first.
    #[must_use]
    pub fn dead_letters(&self) -> Vec<DeadLetter> {
        self.shared.dead_letters.list()
    }

    /// Sends the message of a dead letter again, to the actor that now has the letter's path.
    ///
    /// It counts as a new message: it goes to the end of the mailbox, nobody waits
    /// for a reply of it, it expires no more, and it has [all its tries](crate::Spec::retry)
    /// before it. It never waits for room. A letter's message can be sent once; if
    /// it fails again, that is another letter.
    ///
    /// # Errors
    ///
    /// [`ResendError`] when there is no such letter, or none that
    /// [is kept](crate::DeadLetter::is_kept) with its message; and when the actor is gone
    /// or has no room: then the letter keeps its message.
    pub fn resend(&self, number: u64) -> Result<(), ResendError> {
        let registry = &self.shared.registry;
        self.shared
            .dead_letters
            .resend(number, |path| registry.get(path.as_str()))
    }

    /// Returns where all messages went since the start, actors that have ended included.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        self.shared.ledger()
    }

    /// Reads all metrics for a scrape; `greenroom_mailbox_depth_max` begins anew with it.
    ///
    /// Two readers that both scrape would share the deepest levels between them;
    /// a console uses [`snapshot`](Self::snapshot).
    #[must_use]
    pub fn scrape(&self) -> Vec<Family> {
        self.shared.scrape()
    }

    /// Returns whether the whole tree is up and not stopping.
    ///
    /// Children of [dynamic](Supervisor::dynamic) supervisors do not count: they
    /// come and go while the service is as ready as ever. An actor that is
    /// [paused](crate::ActorRef::pause) is ready: it waits because somebody wants it to.
    ///
    /// # Errors
    ///
    /// [`NotReady`] names the first that is not running.
    pub fn ready(&self) -> Result<(), NotReady> {
        let (mut roles, mut dynamic) = (Vec::new(), Vec::new());
        self.shared.registry.for_each(|role| {
            let seen = role.seen(false);
            if seen.is_dynamic {
                dynamic.push(format!("{}/", seen.path));
            }
            roles.push(seen);
        });
        if roles.is_empty() {
            return Err(NotReady {
                path: None,
                state: ActorState::Stopped,
            });
        }
        let counts = |seen: &&Seen| !dynamic.iter().any(|d| seen.path.as_str().starts_with(d));
        let down = roles
            .iter()
            .filter(counts)
            .filter(|seen| !matches!(seen.state, ActorState::Running | ActorState::Paused));
        match down.min_by(|a, b| a.path.cmp(&b.path)) {
            None => Ok(()),
            Some(seen) => Err(NotReady {
                path: Some(seen.path.clone()),
                state: seen.state,
            }),
        }
    }

    // ===== to stop =====

    /// Stops the tree and returns when it is down.
    ///
    /// Children stop in the reverse order of their start. Each takes no more
    /// messages, handles those in its mailbox and ends, within its
    /// [deadline](crate::Spec::stop_within). What is queued before a child that
    /// is down, waiting for its restart, becomes dead letters.
    ///
    /// Not to be awaited in a handler, which would wait for its own end: an actor
    /// that ends the system calls [`request_stop`](Self::request_stop).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future after its first poll does not take the order back.
    pub async fn stop(&self) {
        self.request_stop();
        self.ended().await;
    }

    /// Asks the tree to stop, as [`stop`](Self::stop) does, and returns at once.
    pub fn request_stop(&self) {
        let root = self.shared.root.lock().clone();
        if let Some(root) = root {
            root.stop(0, true);
        }
    }

    /// Returns when the tree is down, for whatever reason.
    ///
    /// # Errors
    ///
    /// [`Escalated`] when the root supervisor gave up.
    ///
    /// # Cancel safety
    ///
    /// It can be dropped and called again.
    pub async fn stopped(&self) -> Result<(), Escalated> {
        let ended = self.ended().await;
        let escalated = ended.reason == RestartReason::Escalation || ended.exit != Exit::Shutdown;
        let root = self.shared.root_path.lock().clone();
        match root {
            Some(root) if escalated => Err(Escalated {
                root,
                failure: ended.failure,
                last: ended.last,
            }),
            _ => Ok(()),
        }
    }

    /// Stops the tree when the process is asked to end, by Ctrl-C or SIGTERM.
    ///
    /// The second signal is immediate, as with [`stop_signal`](Self::stop_signal).
    /// Call it once, in `main`.
    ///
    /// # Panics
    ///
    /// As [`stop_signal`](Self::stop_signal).
    pub fn stop_on_signals(&self) {
        let system = self.clone();
        let asked = self.stop_signal();
        self.shared.handle.spawn(async move {
            asked.await;
            system.request_stop();
        });
    }

    /// Returns a future of the moment when the process is asked to end, by Ctrl-C or SIGTERM: it yields the signal's name.
    ///
    /// It is for a `main` that has something to do before it calls
    /// [`stop`](Self::stop). From this call on the first signal does not end the
    /// process any more; the second one is immediate, with code 130 or 143 and
    /// without waiting for anybody.
    ///
    /// # Panics
    ///
    /// When the system runs in a tokio runtime of the caller that has no I/O.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing about the signals.
    pub fn stop_signal(&self) -> impl Future<Output = &'static str> + Send + 'static {
        let (first, came) = oneshot::channel();
        let _inside = self.shared.handle.enter();
        match Signals::new() {
            // Then they end the process as they do without us.
            Err(error) => tracing::error!(%error, "Cannot listen for signals."),
            Ok(mut signals) => {
                self.shared.handle.spawn(async move {
                    let (signal, _) = signals.next().await;
                    logged(|| {
                        tracing::info!(
                            signal,
                            "Stopping; a second signal ends the process at once."
                        );
                    });
                    // Whoever waited may have gone.
                    let _ = first.send(signal);
                    let (_, code) = signals.next().await;
                    std::process::exit(code);
                });
            }
        }
        async move {
            match came.await {
                Ok(signal) => signal,
                Err(_) => std::future::pending().await,
            }
        }
    }
}

/// The signals that end a process.
struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Returns the next signal's name and the exit code that shells give it.
    async fn next(&mut self) -> (&'static str, i32) {
        std::future::poll_fn(|cx| {
            if self.interrupt.poll_recv(cx).is_ready() {
                return std::task::Poll::Ready(("SIGINT", 130));
            }
            self.terminate.poll_recv(cx).map(|_| ("SIGTERM", 143))
        })
        .await
    }
}

#[cfg(not(unix))]
impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Signals {})
    }

    async fn next(&mut self) -> (&'static str, i32) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        ("Ctrl-C", 130)
    }
}

/// Stops a tree whose start was given up by its caller.
struct StopUnlessUp {
    system: Option<System>,
}

impl StopUnlessUp {
    fn disarm(mut self) {
        self.system = None;
    }
}

impl Drop for StopUnlessUp {
    fn drop(&mut self) {
        if let Some(system) = &self.system {
            system.request_stop();
        }
    }
}

impl fmt::Debug for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let root = self.shared.root_path.lock().clone();
        write!(
            f,
            "System({})",
            root.as_ref().map_or("not started", Path::as_str)
        )
    }
}

/// Runs a future on this thread until it is done, with I/O and timers of tokio at hand.
///
/// It is for `main` functions without a runtime of their own.
///
/// # Panics
///
/// When it is called inside a tokio runtime, and when the operating system
/// gives this thread no event loop.
pub fn block_on<F: Future>(future: F) -> F::Output {
    match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime.block_on(future),
        Err(error) => panic!("this thread gets no event loop: {error}"),
    }
}

/// Runs work that blocks its thread on a thread where that holds up nobody.
///
/// Awaited in a handler, the actor takes no other message meanwhile; given to
/// [`Context::background`](crate::Context::background), it does:
///
/// ```
/// # use std::convert::Infallible;
/// # use greenroom::prelude::*;
/// # struct Index;
/// # impl Actor for Index {
/// #     type Args = ();
/// #     type Error = Infallible;
/// #     async fn start((): (), _: &mut Context<Self>) -> Result<Self, Infallible> { Ok(Index) }
/// # }
/// # struct Loaded(String);
/// # impl Message for Loaded { type Reply = (); }
/// # impl Handler<Loaded> for Index {
/// #     async fn handle(&mut self, _: Loaded, _: &mut Context<Self>) -> Result<(), Infallible> { Ok(()) }
/// # }
/// # fn example(cx: &mut Context<Index>) {
/// cx.background(async {
///     Loaded(greenroom::blocking(|| std::fs::read_to_string("big.txt").unwrap_or_default()).await)
/// });
/// # }
/// ```
///
/// # Panics
///
/// When the work panics, in the future that awaits it: there it is a failure of
/// the actor. Also when awaited outside of an actor and of any tokio runtime.
///
/// # Cancel safety
///
/// Dropping the future does not end work that has begun; its result is lost.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(payload) => std::panic::resume_unwind(payload),
            // The workers are going down and so is whoever awaits this.
            Err(_) => std::future::pending().await,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::book::AtOnce;
    use crate::{Context, StartChildError};

    struct Idle;

    impl Actor for Idle {
        type Args = ();
        type Error = Infallible;
        async fn start((): (), _: &mut Context<Self>) -> Result<Self, Infallible> {
            Ok(Idle)
        }
    }

    #[test]
    fn a_handler_may_hold_its_context_across_an_await() {
        fn can_be_held<T: Send + Sync>() {}
        can_be_held::<Context<Idle>>();
    }

    #[tokio::test(start_paused = true)]
    async fn a_life_that_is_cut_short_before_it_began_is_told_all_the_same() {
        let tree = Supervisor::one_for_one("app").child(Idle::spec("idle", ()));
        let builder = System::builder().in_current_runtime();
        let system = builder.start(tree).await.expect("it starts");
        let role = system.shared.registry.get("app/idle").expect("it is there");
        system.stop().await;
        let (notes, mut inbox) = mpsc::unbounded_channel();
        // On this one thread the life's task cannot have run when it is aborted.
        let boss = Boss::new(&*role, &Lead::above(role.id(), notes));
        let launched = Arc::clone(&role).launch(boss, StartCause::Boot);
        let incarnation = launched.incarnation;
        Arc::clone(&role).go(launched);
        role.kill(incarnation);
        let Some(Note::Ended { ended, .. }) = inbox.recv().await else {
            panic!("nobody is told");
        };
        assert_eq!(ended.exit, Exit::Killed);
    }

    struct Late;

    impl Actor for Late {
        type Args = ();
        type Error = &'static str;
        async fn start((): (), _: &mut Context<Self>) -> Result<Self, &'static str> {
            tokio::task::yield_now().await;
            Err("no luck")
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_first_start_that_failed_before_anybody_asked_is_not_waited_for() {
        let tree = Supervisor::one_for_one("app").child(Supervisor::dynamic("pool"));
        let builder = System::builder().in_current_runtime();
        let system = builder.start(tree).await.expect("it starts");
        let pool = system.find_role::<SupervisorCell>("app/pool", "supervisor");
        let pool = pool.expect("it is there");
        let spec = Late::spec("late", ());
        let (path, standing) = (pool.path.join("late"), spec.standing);
        let late = spec.cell(path, pool.next_id(), Arc::clone(&system.shared), true);
        let lead = pool.lead().expect("it runs");
        let role = Arc::clone(&late) as Arc<dyn Role>;
        let launched = lead.start(&system.shared, &role, standing);
        assert!(matches!(launched, AtOnce::Launched(..)));
        // Whoever launched it does not get on meanwhile, and another has it stopped.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let begun = tokio::time::Instant::now();
        let stopped = SupervisorRef::new(Arc::clone(&pool))
            .stop_child("late")
            .await;
        assert!(stopped.is_ok());
        assert_eq!(begun.elapsed(), Duration::ZERO, "nobody is waited for");
        let (reply, answer) = oneshot::channel();
        let AtOnce::Launched(id, incarnation) = launched else {
            return;
        };
        let note = Note::Launched {
            id,
            incarnation,
            reply,
        };
        assert!(lead.notes.send(note).is_ok());
        let started = answer.await.expect("it is answered");
        assert!(matches!(started, Err(StartChildError::Failed(_))));
        system.stop().await;
    }

    #[tokio::test(start_paused = true)]
    async fn x06_the_end_of_a_life_that_is_none_is_no_news() {
        let tree = Supervisor::one_for_one("app").child(Idle::spec("idle", ()));
        let builder = System::builder().in_current_runtime();
        let system = builder.start(tree).await.expect("it starts");
        let app = system.find_role::<SupervisorCell>("app", "supervisor");
        let lead = app.expect("it is there").lead().expect("it runs");
        // Of nobody's child, and of a life of the child's that is not this one.
        for (id, incarnation) in [(7, 1), (0, 0), (0, 9)] {
            for ended in [Ended::shutdown(), Ended::killed()] {
                lead.note_end(ChildId(id), incarnation, ended, None);
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let app = system.supervisor("app").expect("it is still there");
        let idle = app.child("idle").expect("and so is its child");
        assert_eq!((idle.state, idle.incarnation), (ActorState::Running, 1));
        system.stop().await;
    }
}
