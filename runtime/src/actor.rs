//! What an author writes: actors, the messages they take, and their handlers.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;

use crate::{Context, Flow, Spec};

/// A component with a mailbox of its own, which handles one message at a time.
///
/// An actor is never used as a value by others. They hold an
/// [`ActorRef`](crate::ActorRef), which names the *role*: when the actor fails
/// and its supervisor starts it again, the reference, the mailbox with the
/// messages in it, the subscriptions and the metrics stay, and a new value of
/// this type is built by [`start`](Actor::start).
///
/// # Examples
///
/// ```
/// use std::convert::Infallible;
/// use greenroom::prelude::*;
///
/// struct Counter(u64);
///
/// impl Actor for Counter {
///     type Args = u64;
///     type Error = Infallible;
///     async fn start(from: u64, _: &mut Context<Self>) -> Result<Self, Infallible> {
///         Ok(Counter(from))
///     }
/// }
///
/// struct Add(u64);
/// impl Message for Add {
///     type Reply = u64;
/// }
///
/// impl Handler<Add> for Counter {
///     async fn handle(&mut self, add: Add, _: &mut Context<Self>) -> Result<u64, Infallible> {
///         self.0 += add.0;
///         Ok(self.0)
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// greenroom::block_on(async {
///     let tree = Supervisor::one_for_one("app").child(Counter::spec("counter", 40));
///     let system = System::start(tree).await?;
///     let counter = system.find::<Counter>("app/counter")?;
///     assert_eq!(counter.ask(Add(2)).await?, 42);
///     system.stop().await;
///     Ok(())
/// })
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an actor",
    label = "this type has no `impl Actor`",
    note = "write `impl Actor for {Self}` with its `Args`, its `Error` and `async fn start`"
)]
pub trait Actor: Sized + Send + 'static {
    /// What a life of the actor is built from.
    ///
    /// It is cloned for every start, so that a restart begins from the same
    /// place; whatever is expensive or shared belongs behind an `Arc`. A
    /// [temporary](crate::Restart::Temporary) child of
    /// [`start_child`](crate::SupervisorRef::start_child) is never started again, so it
    /// gets the value itself, and its supervisor keeps nothing of it.
    type Args: Clone + Send + Sync + 'static;

    /// Why the actor crashes: what `?` in a handler returns.
    ///
    /// Any type that can be shown serves: an enum of your own, `std::io::Error`,
    /// `anyhow::Error`, or [`BoxError`](crate::BoxError), into which `?` turns any
    /// error. An actor that never fails says [`std::convert::Infallible`].
    type Error: fmt::Display + fmt::Debug + Send + 'static;

    /// Builds a life of the actor; called at the first start and at every restart.
    ///
    /// Messages that arrive meanwhile wait in the mailbox. Open here what the
    /// actor needs, subscribe to events, set timers.
    ///
    /// # Errors
    ///
    /// An `Err` (or a panic) is a failed start: at boot it takes the tree down in
    /// an orderly way, later it counts as one more restart.
    fn start(
        args: Self::Args,
        cx: &mut Context<Self>,
    ) -> impl Future<Output = Result<Self, Self::Error>> + Send;

    /// Ends a life in an orderly way: called once after the last message when the actor stops, not after a failure.
    ///
    /// It runs within the [stop deadline](Spec::stop_within) of the actor. The
    /// default does nothing. A call of [`Context::stop`] or [`Context::shutdown`]
    /// here changes the reason that those hear who watch, and nothing else.
    ///
    /// # Errors
    ///
    /// An `Err` is reported, and is then how the life ended, as in OTP: an actor that stopped by itself has failed
    /// after all, and is started again unless it is [temporary](crate::Restart::Temporary).
    fn stop(
        &mut self,
        cx: &mut Context<Self>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send {
        let _ = cx;
        async { Ok(()) }
    }

    /// Declares what flows to and from actors of this type: what they subscribe to, publish, tell and ask; by default nothing.
    ///
    /// The graph of a tree is made of it before anything runs
    /// ([`Supervisor::flow_graph`](crate::Supervisor::flow_graph)), and of a running system together
    /// with what it has observed ([`System::flow_graph`](crate::System::flow_graph)): so what nobody hears,
    /// nobody publishes or nobody declared can be seen.
    ///
    /// Where edges that wait make a circle, actors may come to wait for each other for good: each of
    /// them for room in the full mailbox of the next, or for its reply. Such a tree is refused
    /// at its start with [`StartError::WaitingCycle`](crate::StartError::WaitingCycle), and so is such a
    /// child later, unless one edge of the circle is [lossy](crate::flow::Declared::lossy).
    ///
    /// ```
    /// # use std::convert::Infallible;
    /// use greenroom::prelude::*;
    /// use greenroom::StartError;
    /// # struct Kitchen;
    /// # struct Order;
    /// # impl Message for Order { type Reply = (); }
    /// # impl Handler<Order> for Kitchen {
    /// #     async fn handle(&mut self, _: Order, _: &mut Context<Self>) -> Result<(), Infallible> { Ok(()) }
    /// # }
    /// # struct Waiter;
    /// # struct Served;
    /// # impl Message for Served { type Reply = (); }
    /// # impl Handler<Served> for Waiter {
    /// #     async fn handle(&mut self, _: Served, _: &mut Context<Self>) -> Result<(), Infallible> { Ok(()) }
    /// # }
    ///
    /// impl Actor for Waiter {
    /// #   type Args = ();
    /// #   type Error = Infallible;
    /// #   async fn start((): (), _: &mut Context<Self>) -> Result<Self, Infallible> { Ok(Waiter) }
    ///     fn flow(flow: &mut Flow<Self>) {
    ///         flow.tells::<Kitchen, Order>();
    ///     }
    ///     // ...
    /// }
    ///
    /// impl Actor for Kitchen {
    /// #   type Args = ();
    /// #   type Error = Infallible;
    /// #   async fn start((): (), _: &mut Context<Self>) -> Result<Self, Infallible> { Ok(Kitchen) }
    ///     fn flow(flow: &mut Flow<Self>) {
    ///         // Once both mailboxes are full, neither would ever go on.
    ///         flow.tells::<Waiter, Served>();
    ///     }
    ///     // ...
    /// }
    ///
    /// let tree = Supervisor::one_for_one("restaurant")
    ///     .child(Kitchen::spec("kitchen", ()))
    ///     .child(Waiter::spec("waiter", ()));
    /// assert!(matches!(tree.check(), Err(StartError::WaitingCycle(cycle)) if cycle.len() == 2));
    /// ```
    fn flow(flow: &mut Flow<Self>) {
        let _ = flow;
    }

    /// Returns the child spec under which a supervisor starts this actor as `name`.
    ///
    /// Actors are usually written in the tree this way:
    /// `Supervisor::one_for_one("home").child(Lights::spec("lights", room))`.
    #[must_use]
    fn spec(name: impl Into<String>, args: Self::Args) -> Spec<Self> {
        Spec::new(name.into(), args)
    }
}

/// Something that can be put into a mailbox, and the type of its answer.
///
/// The reply belongs to the message, not to the actor, so a message is a
/// contract that anyone can hold (see [`Recipient`](crate::Recipient)). A
/// message whose reply is `()` can be told; one that may be refused says so in
/// its reply and can only be asked.
///
/// ```
/// # use greenroom::prelude::*;
/// # #[derive(Debug)] struct OutOfRange;
/// struct SetPoint(f32);
/// impl Message for SetPoint {
///     type Reply = Result<f32, OutOfRange>;
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a message",
    label = "cannot be sent to an actor",
    note = "write `impl Message for {Self} {{ type Reply = ...; }}`, or `impl Event for {Self} {{}}` if it says that something happened",
    note = "a type of another crate is wrapped first: `struct Line(String);`"
)]
pub trait Message: Send + 'static {
    /// What the handler answers; `()` for a message that is only told.
    type Reply: Send + 'static;
}

/// Something that happened, published to whoever subscribed.
///
/// Every event is a [`Message`] with the reply `()`, so `impl Event for X {}` is
/// all that a type needs. It is cloned for each subscriber: put large data
/// behind an `Arc`. Its `Debug` text is what a dead letter shows when a
/// subscriber had no room, so keep secrets out of it.
///
/// ```
/// # use greenroom::prelude::*;
/// #[derive(Clone, Debug)]
/// struct DoorOpened { door: String }
/// impl Event for DoorOpened {}
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event",
    label = "cannot be published or subscribed to",
    note = "write `impl Event for {Self} {{}}`; the type must be `Clone` and `Debug`",
    note = "a type of another crate is wrapped first: `struct Line(String);`"
)]
pub trait Event: Clone + fmt::Debug + Send + Sync + 'static {
    /// Returns what the event is about, as tokens between dots: `home.kitchen.temperature`.
    ///
    /// Subscriptions choose by it, with `*` for one token and `>` for all that
    /// follow. It is asked only where some subscription or envelope wants to
    /// know, and then once for each event. `None`, which is the default, is
    /// no subject: only subscriptions that name none get the event.
    ///
    /// ```
    /// # use std::borrow::Cow;
    /// # use greenroom::prelude::*;
    /// #[derive(Clone, Debug)]
    /// struct Temperature { room: String, celsius: f32 }
    ///
    /// impl Event for Temperature {
    ///     fn subject(&self) -> Option<Cow<'_, str>> {
    ///         Some(format!("home.{}.temperature", self.room).into())
    ///     }
    /// }
    ///
    /// let event = Temperature { room: "kitchen".into(), celsius: 21.5 };
    /// assert_eq!(event.subject().as_deref(), Some("home.kitchen.temperature"));
    /// assert_eq!(event.key(), event.subject());
    /// ```
    fn subject(&self) -> Option<Cow<'_, str>> {
        None
    }

    /// Returns what the event is the latest state of; by default its [`subject`](Self::subject).
    ///
    /// Of two events with one key the later makes the earlier one obsolete, so
    /// a [subscription](crate::Subscription) that falls behind may keep the latest of each only; it is
    /// also what one may choose by, what a group shares events by, what is
    /// [retained](Self::retained), and the `partitionkey` of its [envelope](crate::Envelope).
    /// It is asked only where one of these wants to know. No key is a key of its own: that of the whole type.
    fn key(&self) -> Option<Cow<'_, str>> {
        self.subject()
    }

    /// Returns of how many keys the last event is kept, for who subscribes later; by default 0, which is none.
    ///
    /// The number bounds what is kept: with one key more, the key that has been
    /// without an event for longest is forgotten. Who subscribes with
    /// [`replay`](crate::Subscription::replay) is given them. The default keeps nothing
    /// because most events say what happened and not what is: to hear of these
    /// again means nothing.
    #[must_use]
    fn retained() -> usize {
        0
    }

    /// Returns what kind of thing happened, in the words of whoever else hears of it: the `type` of its
    /// [envelope](crate::Envelope).
    ///
    /// By default it is the name of the Rust type with its modules, which serves within one program. An event that
    /// leaves it has a name that no refactoring changes, beginning with a domain turned around, as
    /// `com.example.door.opened`.
    #[must_use]
    fn event_type() -> &'static str {
        std::any::type_name::<Self>()
    }
}

impl<E: Event> Message for E {
    type Reply = ();
}

/// How an actor takes one kind of message.
///
/// *A reply is data, `?` is the crash.* What the sender should know, a refusal
/// included, goes into the reply. What the actor cannot go on from is returned
/// as `Err`: the supervisor then starts the actor anew, the message that failed
/// is kept as a dead letter, and the messages behind it stay in order.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not handle `{M}`",
    label = "this actor has no handler for the message",
    note = "write `impl Handler<{M}> for {Self}`"
)]
pub trait Handler<M: Message>: Actor {
    /// Handles one message; no other message of this actor is handled meanwhile.
    ///
    /// The future may await for as long as it needs; the mailbox goes on
    /// accepting messages up to its capacity.
    ///
    /// # Errors
    ///
    /// An `Err` ends this life of the actor; so does a panic, which is caught.
    fn handle(
        &mut self,
        message: M,
        cx: &mut Context<Self>,
    ) -> impl Future<Output = Result<M::Reply, Self::Error>> + Send;
}
