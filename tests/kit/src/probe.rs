//! A probe: stands in for any actor, recipient or subscriber, and shows the test what comes.

use std::any::{Any, TypeId, type_name};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use greenroom::prelude::*;
use greenroom::{StartError, WeakActorRef};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::simulate::fail_at;
use crate::trace::short;

/// How long a probe waits for a message unless the test says otherwise: a minute of virtual time.
const WITHIN: Duration = Duration::from_secs(60);

/// Stands in for any actor, recipient or subscriber, and shows the test what comes.
///
/// It takes messages of every type, in the order in which they come. One whose
/// reply is `()` it answers at once; a question waits for the test, which
/// [answers](Asked::reply), or is answered by what was [agreed](Probe::answers)
/// before. While a question waits, what comes behind it waits too, as before any
/// actor.
///
/// Clones are the same probe. [Random](crate::Faults::random) faults spare it.
///
/// # Examples
///
/// ```
/// use greenroom::prelude::*;
/// use greenroom_testkit::{Probe, in_virtual_time};
///
/// #[derive(Clone, Debug, PartialEq)]
/// struct SetPoint(f32);
/// impl Message for SetPoint {
///     type Reply = f32;
/// }
/// # struct Thermostat(Recipient<SetPoint>);
/// # impl Thermostat { async fn night(&self) -> f32 { self.0.ask(SetPoint(17.0)).await.unwrap() } }
///
/// in_virtual_time(async {
///     let valve = Probe::start().await.unwrap();
///     let thermostat = Thermostat(valve.recipient());
///     let night = async { assert_eq!(thermostat.night().await, 17.5) };
///     let answer = async {
///         let asked = valve.expect_asked::<SetPoint>().await;
///         assert_eq!(asked.message, SetPoint(17.0));
///         asked.reply(17.5);
///     };
///     tokio::join!(night, answer);
/// });
/// ```
#[derive(Clone)]
pub struct Probe {
    inner: Arc<Inner>,
    /// Its own, where it is in no tree of the test's.
    _system: Option<System>,
}

struct Inner {
    state: Mutex<State>,
    arrived: Notify,
}

#[derive(Default)]
struct State {
    came: VecDeque<Came>,
    answers: HashMap<TypeId, Answer>,
    hears: Vec<Hears>,
    me: Option<WeakActorRef<StandIn>>,
}

type Answer = Arc<dyn Fn(&dyn Any) -> Box<dyn Any + Send> + Send + Sync>;
type Hears = Arc<dyn Fn(&mut Context<StandIn>) + Send + Sync>;

/// A message that came.
struct Came {
    message: Box<dyn Any + Send>,
    name: &'static str,
    reply: Option<oneshot::Sender<Box<dyn Any + Send>>>,
}

/// The actor behind a [`Probe`].
pub struct StandIn(Arc<Inner>);

/// What a [`StandIn`] is built from.
#[derive(Clone)]
pub struct Script(Arc<Inner>);

/// A question that a probe was asked and has not answered.
///
/// Where it is dropped, the probe fails, as an actor does that has no answer:
/// whoever asked hears that ([`AskError::Failed`](greenroom::AskError::Failed)),
/// and its supervisor restarts the probe, which keeps its address, its
/// subscriptions and what it was sent. In a tree of the test's that is a failure like any
/// other: it counts against the limit of restarts, and a strategy may take siblings
/// along. What only has to be unreachable is asked with a time limit and left unanswered.
#[must_use = "whoever asked waits for the reply"]
pub struct Asked<M: Message> {
    /// The question.
    pub message: M,
    reply: Option<oneshot::Sender<Box<dyn Any + Send>>>,
}

impl<M: Message> Asked<M> {
    /// Answers it.
    pub fn reply(mut self, reply: M::Reply) {
        if let Some(to) = self.reply.take() {
            // Whoever asked may have given up.
            let _ = to.send(Box::new(reply));
        }
    }
}

impl Default for Probe {
    fn default() -> Self {
        Self::new()
    }
}

impl Probe {
    /// Returns a probe that is in no tree yet: see [`spec`](Self::spec).
    #[must_use]
    pub fn new() -> Self {
        Probe {
            inner: Arc::new(Inner {
                state: Mutex::default(),
                arrived: Notify::new(),
            }),
            _system: None,
        }
    }

    /// Starts a probe in a system of its own, in the runtime of the test: for whoever needs a recipient before there is a tree.
    ///
    /// # Errors
    ///
    /// As [`Builder::start`](greenroom::Builder::start).
    ///
    /// # Panics
    ///
    /// When it is awaited outside of a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops it.
    pub async fn start() -> Result<Self, StartError> {
        let probe = Probe::new();
        let tree = Supervisor::one_for_one("probe")
            .restart_limit(u32::MAX, Duration::from_secs(1))
            .backoff(Backoff::none())
            .child(probe.spec("it"));
        let system = System::builder().in_current_runtime().start(tree).await?;
        Ok(Probe {
            _system: Some(system),
            ..probe
        })
    }

    /// Returns the child spec of this probe, to be put into a tree in the place of an actor.
    ///
    /// Names are unique below one supervisor, as with any actors. A probe that is put
    /// into a tree twice shows what comes at both places, and has the address of the one that started last.
    #[must_use]
    pub fn spec(&self, name: impl Into<String>) -> Spec<StandIn> {
        StandIn::spec(name, Script(Arc::clone(&self.inner)))
    }

    /// Lets it subscribe to an event when it starts.
    #[must_use]
    pub fn hears<E: Event>(self) -> Self {
        let hears: Hears = Arc::new(|cx| cx.subscribe::<E>());
        self.inner.state.lock().hears.push(hears);
        self
    }

    /// Agrees on the answer to questions of type `M`; they are shown to the test all the same.
    #[must_use]
    pub fn answers<M: Message>(
        self,
        answer: impl Fn(&M) -> M::Reply + Send + Sync + 'static,
    ) -> Self {
        let answer: Answer = Arc::new(move |message| match message.downcast_ref() {
            Some(message) => Box::new(answer(message)),
            None => unreachable!("answers are kept by the type of the question"),
        });
        let mut state = self.inner.state.lock();
        state.answers.insert(TypeId::of::<M>(), answer);
        drop(state);
        self
    }

    /// Returns the address of this probe.
    ///
    /// # Panics
    ///
    /// When it is in no tree that has been started.
    #[must_use]
    #[track_caller]
    pub fn recipient<M: Message>(&self) -> Recipient<M> {
        let me = self.inner.state.lock().me.clone();
        match me.and_then(|me| me.upgrade()) {
            Some(me) => me.recipient(),
            None => panic!(
                "the probe is in no tree that runs: `Probe::start` it, or put its `spec` into one"
            ),
        }
    }

    // ===== what comes =====

    /// Returns the next message, which has to be an `M`, and to come within a minute.
    ///
    /// # Panics
    ///
    /// When another comes, or none.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped takes no message.
    #[track_caller]
    pub fn expect<M: Message>(&self) -> impl Future<Output = M> {
        self.expect_within(WITHIN)
    }

    /// The same, within a time of the test's choice.
    ///
    /// # Panics
    ///
    /// As [`expect`](Self::expect).
    ///
    /// # Cancel safety
    ///
    /// As [`expect`](Self::expect).
    #[track_caller]
    pub fn expect_within<M: Message>(&self, limit: Duration) -> impl Future<Output = M> {
        let asked = self.asked_within::<M>(limit, Location::caller());
        async move { asked.await.message }
    }

    /// Expects the next message to be equal to this one.
    ///
    /// # Panics
    ///
    /// When it is not, when one of another type comes, or none.
    ///
    /// # Cancel safety
    ///
    /// As [`expect`](Self::expect).
    #[track_caller]
    pub fn expect_eq<M>(&self, wanted: M) -> impl Future<Output = ()>
    where
        M: Message + PartialEq + fmt::Debug,
    {
        let at = Location::caller();
        let asked = self.asked_within::<M>(WITHIN, at);
        async move {
            let came = asked.await.message;
            if came != wanted {
                let text = format_args!("the probe expected {wanted:?}, and there came {came:?}");
                fail_at(at, text);
            }
        }
    }

    /// Returns the next message, which has to be a question of type `M`, for the test to answer.
    ///
    /// # Panics
    ///
    /// As [`expect`](Self::expect).
    ///
    /// # Cancel safety
    ///
    /// As [`expect`](Self::expect).
    #[track_caller]
    pub fn expect_asked<M: Message>(&self) -> impl Future<Output = Asked<M>> {
        self.asked_within(WITHIN, Location::caller())
    }

    /// Expects that nothing comes for so long.
    ///
    /// # Panics
    ///
    /// When something comes.
    ///
    /// # Cancel safety
    ///
    /// It can be dropped and called again.
    #[track_caller]
    pub fn expect_none(&self, time: Duration) -> impl Future<Output = ()> {
        let at = Location::caller();
        let inner = Arc::clone(&self.inner);
        async move {
            if let Some(came) = inner.next(time).await {
                fail_at(
                    at,
                    format_args!(
                        "the probe expected nothing within {time:?}, and there came {}",
                        short(came.name)
                    ),
                );
            }
        }
    }

    /// Returns all that has come of one type, in its order; what else has come stays.
    ///
    /// For what comes in an order that is nobody's affair, or as often as it likes.
    #[must_use]
    pub fn drain<M: Message<Reply = ()>>(&self) -> Vec<M> {
        let mut state = self.inner.state.lock();
        let (mut drained, mut others) = (Vec::new(), VecDeque::new());
        for came in state.came.drain(..) {
            let Came {
                message,
                name,
                reply,
            } = came;
            match message.downcast::<M>() {
                Ok(message) => drained.push(*message),
                Err(message) => others.push_back(Came {
                    message,
                    name,
                    reply,
                }),
            }
        }
        state.came = others;
        drained
    }

    /// Forgets what has come.
    pub fn clear(&self) {
        self.inner.state.lock().came.clear();
    }

    fn asked_within<M: Message>(
        &self,
        limit: Duration,
        at: &'static Location<'static>,
    ) -> impl Future<Output = Asked<M>> + use<M> {
        let inner = Arc::clone(&self.inner);
        async move {
            let wanted = short(type_name::<M>());
            let Some(came) = inner.next(limit).await else {
                let text =
                    format_args!("the probe expected {wanted} within {limit:?}, and nothing came");
                fail_at(at, text);
            };
            let Came {
                message,
                name,
                reply,
            } = came;
            match message.downcast::<M>() {
                Ok(message) => Asked {
                    message: *message,
                    reply,
                },
                Err(_) => fail_at(
                    at,
                    format_args!(
                        "the probe expected {wanted}, and there came {}",
                        short(name)
                    ),
                ),
            }
        }
    }
}

impl Inner {
    async fn next(&self, limit: Duration) -> Option<Came> {
        let end = Instant::now() + limit;
        loop {
            let arrived = self.arrived.notified();
            if let Some(came) = self.state.lock().came.pop_front() {
                return Some(came);
            }
            if timeout_at(end, arrived).await.is_err() {
                return self.state.lock().came.pop_front();
            }
        }
    }

    fn came(&self, came: Came) {
        self.state.lock().came.push_back(came);
        self.arrived.notify_waiters();
    }
}

impl Actor for StandIn {
    type Args = Script;
    type Error = &'static str;

    async fn start(Script(inner): Script, cx: &mut Context<Self>) -> Result<Self, Self::Error> {
        let hears = {
            let mut state = inner.state.lock();
            state.me = Some(cx.me().downgrade());
            state.hears.clone()
        };
        for hears in hears {
            hears(cx);
        }
        Ok(StandIn(inner))
    }
}

impl<M: Message> Handler<M> for StandIn {
    async fn handle(&mut self, message: M, _: &mut Context<Self>) -> Result<M::Reply, Self::Error> {
        let agreed = self.0.state.lock().answers.get(&TypeId::of::<M>()).cloned();
        let at_once: Option<Box<dyn Any + Send>> = match agreed {
            Some(answer) => Some(answer(&message)),
            None if TypeId::of::<M::Reply>() == TypeId::of::<()>() => Some(Box::new(())),
            None => None,
        };
        let (reply, answer) = match at_once {
            Some(_) => (None, None),
            None => {
                let (reply, answer) = oneshot::channel();
                (Some(reply), Some(answer))
            }
        };
        self.0.came(Came {
            message: Box::new(message),
            name: type_name::<M>(),
            reply,
        });
        let reply = match (at_once, answer) {
            (Some(reply), _) => reply,
            (None, Some(answer)) => answer.await.map_err(|_| UNANSWERED)?,
            (None, None) => return Err(UNANSWERED),
        };
        match reply.downcast::<M::Reply>() {
            Ok(reply) => Ok(*reply),
            Err(_) => Err(UNANSWERED),
        }
    }
}

const UNANSWERED: &str = "the probe was asked, and the test did not answer";

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.inner.state.lock();
        let came: Vec<String> = state.came.iter().map(|came| short(came.name)).collect();
        f.debug_struct("Probe")
            .field("came", &came)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for StandIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StandIn")
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Script")
    }
}

impl<M: Message + fmt::Debug> fmt::Debug for Asked<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Asked").field(&self.message).finish()
    }
}
