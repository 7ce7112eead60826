//! A subscription with terms of its own: which events it is given, and what becomes of those for which there is no room.
//!
//! Here is what a subscriber says. Beside it: the [`board`] of an event type, where
//! all such subscriptions are and events are matched with them; the [`consumer`]
//! behind each, with its [`buffer`]; what is [`retained`] for who comes later;
//! whose the events of a [`group`] are; publishers that [wait](required) for room; and
//! the [`meter`] of each name. An event type that has only plain subscriptions has none of it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::dead_letter::DeadLetterReason;
use crate::{Event, Message, Pattern, PatternError, Recipient};

pub(crate) mod board;
mod buffer;
mod consumer;
mod facts;
mod group;
pub(crate) mod meter;
pub(crate) mod required;
mod retained;

/// How many events a subscription keeps for which its mailbox has no room, unless it says otherwise.
///
/// 256 is a quarter of what a [mailbox](crate::MAILBOX_CAPACITY) holds: a subscriber that is
/// behind by both has been given more than a burst, and more would only be
/// handled later still.
pub const SUBSCRIPTION_BUFFER: usize = 256;

/// How many events a subscription keeps at most, whatever it says: 2^20.
const BUFFER_MAX: usize = 1 << 20;

/// What becomes of an event for which a subscription has no room: neither in the mailbox of its actor, nor in its own buffer.
///
/// It holds whatever the mailbox itself does when it is full ([`Overflow`](crate::Overflow)): events are kept until there
/// is room, also where other messages would be given back or lost. An event that is in the mailbox is a message as all
/// others: where that loses the oldest, what others send may push it out, which the mailbox counts and no
/// [gap](Subscription::gaps_to) tells. An actor that is to miss nothing unawares has a mailbox that lets senders
/// [wait](crate::Overflow::Wait), as by default, and says here what is to be lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventOverflow {
    /// The event that comes is lost: what is queued matters more. As a plain subscription does.
    #[default]
    DropNewest,
    /// The event that is kept longest is lost: what is new matters more.
    DropOldest,
    /// An event makes an earlier one of its [key](Event::key) obsolete; where there are more keys than room, the oldest event is lost.
    ///
    /// The last event of a key is always delivered, and all that are delivered are in
    /// their order. That nothing waits for ever, an event keeps its turn, though
    /// a later one of its key has come, once all that were kept with it have been let before it.
    LatestPerKey,
    /// As `DropNewest`, and what has been kept for as long as this is lost too: it would come too late.
    ///
    /// The publisher is not held up meanwhile. Times are looked at when something
    /// moves: when there is room, when a further event comes, or at a scrape; so none
    /// comes too late, though it may be counted as lost later than its time was up. What is
    /// [replayed](Subscription::replay) has no time limit: it is a state, and not late.
    Wait(Duration),
    /// The subscription ends: who cannot follow is to know that it has missed something, and begin anew.
    ///
    /// What had been kept is still delivered, and then the [gap](Subscription::gaps_to) is
    /// told; subscribing again, also in the next life's start, opens it again.
    Disconnect,
}

/// Whose an event is that comes to a [group](Subscription::group) of subscriptions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Share {
    /// One after the other has its turn; who has no room is passed over while another has, and who would lose it
    /// while another would keep it.
    #[default]
    RoundRobin,
    /// The one that has fewest events and messages to handle, which looks at each of them for each event; who would
    /// lose it is passed over while another would not.
    LeastLoaded,
    /// Events of one [key](Event::key) are always the same one's, whether it has room or not; when one stops, goes or
    /// comes, only its own keys move.
    ByKey,
}

/// Why an event did not reach a subscription that it was meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DropReason {
    /// There was no room for it, or for a later one.
    Full,
    /// Its actor had stopped for good.
    Stopped,
    /// It was kept for too long.
    Expired,
    /// A later one of its key had come.
    Replaced,
    /// The subscription was ended while it was kept.
    Unsubscribed,
    /// There was no room, and the subscription ends at that.
    Disconnected,
    /// An author's code panicked: the filter, or what clones the event or says its subject or key.
    Panicked,
}

impl DropReason {
    pub(crate) const ALL: [DropReason; 7] = [
        DropReason::Full,
        DropReason::Stopped,
        DropReason::Expired,
        DropReason::Replaced,
        DropReason::Unsubscribed,
        DropReason::Disconnected,
        DropReason::Panicked,
    ];

    /// Returns the word used in metrics: `full`, `stopped`, `expired`, `replaced`, `unsubscribed`, `disconnected` or `panicked`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            DropReason::Full => "full",
            DropReason::Stopped => "stopped",
            DropReason::Expired => "expired",
            DropReason::Replaced => "replaced",
            DropReason::Unsubscribed => "unsubscribed",
            DropReason::Disconnected => "disconnected",
            DropReason::Panicked => "panicked",
        }
    }

    /// What the dead letter says; none is made of what only time made void, or what nobody wants any more.
    pub(crate) fn dead_letter(self) -> Option<DeadLetterReason> {
        match self {
            DropReason::Full | DropReason::Disconnected => Some(DeadLetterReason::Full),
            DropReason::Stopped => Some(DeadLetterReason::Stopped),
            DropReason::Expired => Some(DeadLetterReason::Expired),
            DropReason::Panicked => Some(DeadLetterReason::Failed),
            DropReason::Replaced | DropReason::Unsubscribed => None,
        }
    }

    /// Whether the subscriber has missed something by it.
    fn is_gap(self) -> bool {
        match self {
            DropReason::Full
            | DropReason::Expired
            | DropReason::Disconnected
            | DropReason::Panicked => true,
            DropReason::Stopped | DropReason::Replaced | DropReason::Unsubscribed => false,
        }
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A notice that a subscription has missed events, told to [whom it says](Subscription::gaps_to).
///
/// It takes its place among the events: those that are handled before it came before the gap.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gap {
    /// The name of the subscription.
    pub subscription: Arc<str>,
    /// The type of the events, as [`std::any::type_name`] spells it.
    pub event: &'static str,
    /// How many are missing, since the notice before this one.
    pub missed: u64,
    /// Why the last of them is missing.
    pub reason: DropReason,
}

impl Message for Gap {
    type Reply = ();
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Gap {
            subscription,
            missed,
            reason,
            ..
        } = self;
        write!(f, "{subscription} missed {missed} ({reason})")
    }
}

/// Which events an actor wants, and on which terms; see [`Context::subscribe_with`](crate::Context::subscribe_with).
///
/// The name tells it from the actor's other subscriptions to the same type, and is
/// what it is counted by: those of one name are counted together, whichever actors have them. All conditions have to hold. An event that finds the
/// actor's mailbox full is kept by the subscription, up to its
/// [`buffer`](Self::buffer), and let in as soon as there is room; the publisher
/// does not wait.
///
/// # Examples
///
/// ```
/// # use std::{borrow::Cow, convert::Infallible};
/// use greenroom::prelude::*;
/// use greenroom::{EventOverflow, Gap, SubscribeError, Subscription};
///
/// #[derive(Clone, Debug)]
/// struct Temperature { room: String, celsius: f32 }
/// impl Event for Temperature {
///     fn key(&self) -> Option<Cow<'_, str>> {
///         Some(self.room.as_str().into())
///     }
///     fn retained() -> usize {
///         100
///     }
/// }
///
/// struct Display;
/// impl Actor for Display {
///     type Args = ();
///     type Error = SubscribeError;
///     async fn start((): (), cx: &mut Context<Self>) -> Result<Self, SubscribeError> {
///         let warm_rooms = Subscription::<Temperature>::new("warm rooms")
///             .filter(|event| event.celsius > 20.0)
///             .when_full(EventOverflow::LatestPerKey)
///             .gaps_to(cx.me())
///             .replay();
///         cx.subscribe_with(warm_rooms)?;
///         Ok(Display)
///     }
/// }
/// # impl Handler<Temperature> for Display {
/// #     async fn handle(&mut self, _: Temperature, _: &mut Context<Self>) -> Result<(), SubscribeError> { Ok(()) }
/// # }
/// # impl Handler<Gap> for Display {
/// #     async fn handle(&mut self, _: Gap, _: &mut Context<Self>) -> Result<(), SubscribeError> { Ok(()) }
/// # }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # greenroom::block_on(async {
/// # let system = System::start(Supervisor::one_for_one("app").child(Display::spec("display", ()))).await?;
/// # assert_eq!(system.publish(Temperature { room: "hall".into(), celsius: 21.5 }).delivered, 1);
/// # assert_eq!(system.publish(Temperature { room: "cellar".into(), celsius: 9.0 }).delivered, 0);
/// # system.stop().await;
/// # Ok(())
/// # })
/// # }
/// ```
pub struct Subscription<E: Event> {
    name: Arc<str>,
    /// An error is said where it is subscribed.
    pattern: Option<Result<Pattern, PatternError>>,
    key: Option<Box<str>>,
    filter: Option<Filter<E>>,
    overflow: EventOverflow,
    buffer: usize,
    replay: bool,
    group: Option<(Arc<str>, Share)>,
    priority: i32,
    is_required: bool,
    has_envelope: bool,
    gaps_to: Option<Recipient<Gap>>,
}

type Filter<E> = Arc<dyn Fn(&E) -> bool + Send + Sync>;

impl<E: Event> Subscription<E> {
    /// A subscription to all events of the type, whose terms follow.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Subscription {
            name: name.into(),
            pattern: None,
            key: None,
            filter: None,
            overflow: EventOverflow::default(),
            buffer: SUBSCRIPTION_BUFFER,
            replay: false,
            group: None,
            priority: 0,
            is_required: false,
            has_envelope: false,
            gaps_to: None,
        }
    }

    pub(crate) fn name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    /// Takes only events whose [subject](Event::subject) matches this [`Pattern`]: `home.*.temperature`, `home.>`.
    ///
    /// It is looked up by the tokens of the subject, so that any number of subscriptions to other
    /// subjects costs an event nothing. A text that is no pattern is an
    /// [error](crate::SubscribeError::Pattern) where it is subscribed.
    #[must_use]
    pub fn subject(mut self, pattern: &str) -> Self {
        self.pattern = Some(Pattern::parse(pattern));
        self
    }

    /// The pattern, if there is one and it is valid.
    fn pattern(&self) -> Option<&Pattern> {
        self.pattern.as_ref()?.as_ref().ok()
    }

    /// Why its pattern is none.
    pub(crate) fn mistake(&self) -> Option<&PatternError> {
        self.pattern.as_ref()?.as_ref().err()
    }

    /// Takes only events of this [key](Event::key).
    ///
    /// It is looked up, so that any number of subscriptions to other keys costs an event nothing.
    #[must_use]
    pub fn key(mut self, key: impl Into<Box<str>>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Takes only events for which `wants` says so, on the publisher's thread and before the mailbox.
    ///
    /// It has to be quick, as the publisher waits for it. For an event on which it
    /// panics this subscription counts a loss, reason `panicked`; others get it all the same.
    #[must_use]
    pub fn filter(mut self, wants: impl Fn(&E) -> bool + Send + Sync + 'static) -> Self {
        self.filter = Some(Arc::new(wants));
        self
    }

    /// Says what becomes of an event for which there is no room; [lost](EventOverflow::DropNewest) by default, as with a plain subscription.
    #[must_use]
    pub fn when_full(mut self, overflow: EventOverflow) -> Self {
        self.overflow = overflow;
        self
    }

    /// Sets how many events are kept for which the mailbox has no room: [256](SUBSCRIPTION_BUFFER) by default, at most 2^20.
    ///
    /// With 0 there is only the mailbox, and where that is full its own [`Overflow`](crate::Overflow) decides, as for a
    /// plain subscription.
    #[must_use]
    pub fn buffer(mut self, events: usize) -> Self {
        self.buffer = events.min(BUFFER_MAX);
        self
    }

    /// Is given the last event of each [retained](Event::retained) key before all that is published from here on, in the order in which these were published.
    ///
    /// None is missed in between, and none comes twice. They stand behind what is queued in the mailbox already. Each
    /// life of the actor has them once, or again where it begins anew after it was
    /// [disconnected](EventOverflow::Disconnect) or had unsubscribed. So what a life had not handled when it
    /// failed may come to the next one twice, once from the queue and once as the last of its key; and so may what
    /// came under terms without replay.
    #[must_use]
    pub fn replay(mut self) -> Self {
        self.replay = true;
        self
    }

    /// Shares the events with all subscriptions of the group: each event is given to one of those that want it.
    ///
    /// The group is that of one event type. How they share is said by each, and
    /// counts as said by the one with the highest priority. Who is being stopped is
    /// given nothing any more while another is there, though it still handles what it has.
    #[must_use]
    pub fn group(mut self, group: impl Into<Arc<str>>, share: Share) -> Self {
        self.group = Some((group.into(), share));
        self
    }

    /// Lets publishers that [ask for it](crate::Delivery::await_required) wait until this subscription has room.
    ///
    /// While they do, their event is kept though the buffer may be full; it still comes to
    /// [expire](EventOverflow::Wait) or be [replaced](EventOverflow::LatestPerKey). For all
    /// others nothing is different.
    ///
    /// **To lose nothing**, as long as the process lives:
    ///
    /// - The subscription is `required` and gives nothing up: it has the default contract,
    ///   [`DropNewest`](EventOverflow::DropNewest), by which only an event can be lost whose publisher does not wait.
    /// - Every publisher says `publish(event).await_required(limit).await`, with a limit that is longer than the actor may
    ///   take to get over whatever holds it up, a restart included.
    /// - After [`TimedOut`](crate::RequiredError::TimedOut) an event that is kept still comes, and is not published again.
    ///   Where `kept` is less than `left` there are others that have lost it.
    /// - The mailbox lets senders [wait](crate::Overflow::Wait), as by default, so that nothing pushes out what is in.
    /// - The actor is restarted whenever it fails, and [tries again](crate::Spec::retry) what it failed on.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.is_required = true;
        self
    }

    /// Is given each event with its [envelope](crate::Envelope): its id, type, source, time and cause, by
    /// [`Context::envelope`](crate::Context::envelope).
    ///
    /// One is made for all subscriptions that want it, and none where no one does. The handler then has the event in
    /// hand as a [cause](crate::Envelope::causation_id): what it publishes meanwhile names it. An event that is
    /// [replayed](Self::replay) has the envelope that it was published with; none if no subscription to its type had
    /// asked for envelopes by then.
    #[must_use]
    pub fn with_envelope(mut self) -> Self {
        self.has_envelope = true;
        self
    }

    /// Is given each event before subscriptions of a lower priority; 0 by default, which is also that of plain ones.
    ///
    /// It is the order in which an event comes into mailboxes, not that in which actors get to it.
    #[must_use]
    pub fn priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }

    /// Tells `recipient`, mostly the subscriber itself, of events that this subscription has missed; by default nobody.
    ///
    /// Where a notice has no room it waits for some, and those that follow are one more:
    /// so there are two at most.
    #[must_use]
    pub fn gaps_to(mut self, recipient: impl Into<Recipient<Gap>>) -> Self {
        self.gaps_to = Some(recipient.into());
        self
    }
}

impl<E: Event> Clone for Subscription<E> {
    fn clone(&self) -> Self {
        Subscription {
            name: Arc::clone(&self.name),
            pattern: self.pattern.clone(),
            key: self.key.clone(),
            filter: self.filter.clone(),
            overflow: self.overflow,
            buffer: self.buffer,
            replay: self.replay,
            group: self.group.clone(),
            priority: self.priority,
            is_required: self.is_required,
            has_envelope: self.has_envelope,
            gaps_to: self.gaps_to.clone(),
        }
    }
}

impl<E: Event> fmt::Debug for Subscription<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("name", &self.name)
            .field("subject", &self.pattern)
            .field("key", &self.key)
            .field("is_filtered", &self.filter.is_some())
            .field("when_full", &self.overflow)
            .field("buffer", &self.buffer)
            .field("replay", &self.replay)
            .field("group", &self.group)
            .field("priority", &self.priority)
            .field("is_required", &self.is_required)
            .field("has_envelope", &self.has_envelope)
            .finish_non_exhaustive()
    }
}
