//! The running tree as it is seen from outside at one moment.

use std::time::Duration;

use crate::failure::ShortType;
use crate::mailbox::counts::Reading;
use crate::role::{Role, Standing};
use crate::waits::Node;
use crate::{Path, Restart};

/// One actor or supervisor at one moment; see [`System::snapshot`](crate::System::snapshot).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ActorInfo {
    /// Its place in the tree.
    pub path: Path,
    /// The group under which its metrics are counted.
    pub group: String,
    /// What it is doing.
    pub state: ActorState,
    /// Which life this is, counted from 1.
    pub incarnation: u64,
    /// How often it was restarted.
    pub restarts: u64,
    /// Its mailbox; `None` for a supervisor.
    pub mailbox: Option<MailboxInfo>,
    /// Whom its handler waits for: those it has asked, and those in whose mailbox it wants room, also for an event that
    /// they are [required](crate::Subscription::required) to have. Sorted.
    pub waiting_for: Vec<Path>,
}

/// One mailbox at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MailboxInfo {
    /// Messages queued.
    pub depth: usize,
    /// How many it holds at most.
    pub capacity: usize,
    /// Senders that wait for room.
    pub waiting_senders: usize,
    /// The age of the oldest message not yet handled, the one in the handler included; zero if there is none.
    pub oldest_age: Duration,
    /// The type of the message in the handler, without its modules.
    pub handling: Option<String>,
    /// For how long the handler has run, if that is [too long](crate::Builder::stuck_after); as it was at the latest
    /// look, of which there are two a second.
    pub stuck_for: Option<Duration>,
    /// Messages handled over all lives.
    pub handled: u64,
    /// Messages that failed over all lives.
    pub failed: u64,
    /// How often one that failed was put back to be [tried again](crate::Spec::retry), over all lives.
    pub retried: u64,
    /// Messages given back to their senders.
    pub rejected: u64,
    /// Messages lost: for which there was no room where the mailbox or a plain subscription loses them, queued ones that
    /// made room or were left when the actor stopped, those of cancelled timers and earlier lives, those that came too late.
    ///
    /// What a [`Subscription`](crate::Subscription) gives up of the events that it keeps is not among them, unless the
    /// event stood in line already: it is counted by the subscription, with its reason, in
    /// [`SubscriptionDropped`](crate::Metric::SubscriptionDropped), and in [`Ledger::dropped`](crate::Ledger::dropped).
    pub dropped: u64,
    /// Who sends what is queued or waits for room, the largest share first; empty if nothing is.
    pub sources: Vec<MailboxSource>,
}

/// A kind of actors that sends to a mailbox, and how much of what is queued is theirs.
///
/// Those that wait for room are counted. Of what is queued it is an estimate, from the messages that were
/// [timed](crate::Builder::measure_every) as they came, up to 1,024 of them: each of the others counts as sent by who sent the
/// timed one before it. By default that tells the shares of ten thousand messages to about a tenth, and those of a queue
/// that took seconds to fill; of a short one that several fill at the same moment it may name one of them only.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct MailboxSource {
    /// The [group](crate::Spec::group) of the senders, which may be the actor's own; `_outside` for what no actor's handler
    /// sends, and `_unknown` where nothing was timed.
    pub kind: String,
    /// Their part of all that is queued or waits, between 0 and 1.
    pub share: f64,
    /// How many of their messages wait for room.
    pub waiting: usize,
}

/// A child as its supervisor knows it; see [`SupervisorRef::children`](crate::SupervisorRef::children).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChildInfo {
    /// Its place in the tree.
    pub path: Path,
    /// The actor's type, without its modules; `supervisor` for a supervisor.
    pub kind: String,
    /// Whether it is a supervisor.
    pub is_supervisor: bool,
    /// What it is doing; [`Stopped`](ActorState::Stopped) when it is down and keeps its place.
    pub state: ActorState,
    /// Which life it has or had last, counted from 1; 0 before the first.
    pub incarnation: u64,
    /// When it is started again.
    pub restart: Restart,
    /// Whether its end may be the end of its supervisor.
    pub significant: bool,
    /// How long it may take to stop; `None` for a supervisor, which takes as long as its children.
    pub stop_within: Option<Duration>,
}

/// How many children a supervisor has; see [`SupervisorRef::count_children`](crate::SupervisorRef::count_children).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChildCounts {
    /// All that it knows, whatever they are doing.
    pub specs: usize,
    /// Those that are up.
    pub active: usize,
    /// Those that are supervisors.
    pub supervisors: usize,
    /// Those that are actors.
    pub workers: usize,
}

/// What an actor is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ActorState {
    /// `Actor::start` runs.
    Starting,
    /// It handles messages, or waits for one.
    Running,
    /// It is down, and its supervisor will start it again.
    Restarting,
    /// It has been told to stop.
    Stopping,
    /// It is down for good, or until its supervisor is restarted.
    Stopped,
    /// It handles no message until it is told to: see [`ActorRef::pause`](crate::ActorRef::pause).
    Paused,
}

impl ActorState {
    pub(crate) const ALL: [ActorState; 6] = [
        ActorState::Starting,
        ActorState::Running,
        ActorState::Restarting,
        ActorState::Stopping,
        ActorState::Stopped,
        ActorState::Paused,
    ];

    /// Returns the word used in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            ActorState::Starting => "starting",
            ActorState::Running => "running",
            ActorState::Restarting => "restarting",
            ActorState::Stopping => "stopping",
            ActorState::Stopped => "stopped",
            ActorState::Paused => "paused",
        }
    }
}

/// What a role shows of itself.
pub(crate) struct Seen {
    pub(crate) path: Path,
    pub(crate) group: String,
    pub(crate) state: ActorState,
    pub(crate) incarnation: u64,
    pub(crate) restarts: u64,
    pub(crate) capacity: usize,
    /// The type of the message in the handler.
    pub(crate) handling: Option<&'static str>,
    pub(crate) mailbox: Option<Reading>,
    /// A supervisor whose children come and go.
    pub(crate) is_dynamic: bool,
}

impl ActorInfo {
    pub(crate) fn of(role: &dyn Role) -> Self {
        let seen = role.seen(false);
        let (_, node) = role.glance();
        let mut waiting_for: Vec<Path> = node
            .map(|node| node.waits())
            .into_iter()
            .flatten()
            .map(|wait| Node::path(&wait.to).clone())
            .collect();
        waiting_for.sort();
        waiting_for.dedup();
        let mailbox = seen.mailbox.map(|m| MailboxInfo {
            depth: m.depth,
            capacity: seen.capacity,
            waiting_senders: m.waiting,
            oldest_age: m.oldest_age,
            handling: seen.handling.map(|name| ShortType(name).to_string()),
            stuck_for: role.stuck_for(),
            handled: m.tally.handled,
            failed: m.tally.failed,
            retried: m.tally.retried,
            rejected: m.tally.rejected.iter().sum(),
            dropped: m.tally.dropped.iter().sum(),
            sources: role.sources(),
        });
        ActorInfo {
            path: seen.path,
            group: seen.group,
            state: seen.state,
            incarnation: seen.incarnation,
            restarts: seen.restarts,
            mailbox,
            waiting_for,
        }
    }
}

impl ChildInfo {
    pub(crate) fn of(role: &dyn Role, standing: Standing) -> Self {
        let seen = role.seen(false);
        ChildInfo {
            kind: role.kind(),
            is_supervisor: role.is_supervisor(),
            path: seen.path,
            state: seen.state,
            incarnation: seen.incarnation,
            restart: standing.restart,
            significant: standing.is_significant,
            stop_within: role.stop_within(),
        }
    }
}

impl ChildCounts {
    pub(crate) fn add(&mut self, role: &dyn Role) {
        self.specs += 1;
        self.active += usize::from(matches!(
            role.state(),
            ActorState::Running | ActorState::Paused | ActorState::Stopping
        ));
        if role.is_supervisor() {
            self.supervisors += 1;
        } else {
            self.workers += 1;
        }
    }
}
