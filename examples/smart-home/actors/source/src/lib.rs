//! Where the traffic of the home comes from.
//!
//! What it is: two actors that feed the gateway, [`VirtualHome`] from a seed and
//! [`Recording`] from a file or standard input. One of them is in the tree.
//! Handles: nothing from others.
//! Subscribes to: [`DeviceCommand`](home_protocol::DeviceCommand) (the virtual
//! home, whose devices obey).
//! Publishes: nothing; it tells the gateway [`Line`]s.
//! Crashes when: the gateway is gone.
//!
//! A source stops itself, normally, when it has nothing more to tell. It lets the
//! home come to rest ([`Settle`]) between steps, so that
//! what is decided depends on the traffic and not on the machine.

#![forbid(unsafe_code)]

mod recording;
mod virtual_home;

use std::fmt;
use std::time::Duration;

use greenroom::FindError;
use greenroom::prelude::*;
use home_protocol::{Line, Settle};

pub use crate::recording::{Origin, Recording, RecordingArgs};
pub use crate::virtual_home::{VirtualHome, VirtualHomeArgs};

/// How long the home may take to come to rest.
const SETTLE_WITHIN: Duration = Duration::from_secs(60);

/// Where lines go to: a gateway, whatever actor that is.
#[derive(Clone, Debug)]
pub struct Sink {
    lines: Recipient<Line>,
    settle: Recipient<Settle>,
}

/// How a source finds its gateway when it starts.
///
/// The program that composes the tree knows which actor that is; this crate
/// does not.
pub type FindSink = fn(&System) -> Result<Sink, FindError>;

impl Sink {
    /// Makes a sink of an actor that takes lines.
    #[must_use]
    pub fn new<A>(gateway: &ActorRef<A>) -> Self
    where
        A: Handler<Line> + Handler<Settle>,
    {
        Sink {
            lines: gateway.recipient(),
            settle: gateway.recipient(),
        }
    }

    /// Declares what a source sends to its gateway.
    fn declare<A: Actor>(flow: &mut Flow<A>) {
        flow.tells_recipient::<Line>();
        flow.asks_recipient::<Settle>();
    }

    fn find<A: Actor>(find: FindSink, cx: &Context<A>) -> Result<Self, SourceError> {
        find(&cx.system()).map_err(|error| SourceError::NoGateway(error.to_string()))
    }

    async fn tell(&self, number: u64, bytes: Vec<u8>) -> Result<(), SourceError> {
        let told = self.lines.tell(Line { number, bytes }).await;
        told.map_err(|error| SourceError::NoGateway(error.to_string()))
    }

    /// Returns when the home is at rest.
    async fn settle(&self) -> Result<(), SourceError> {
        let deadline = tokio::time::Instant::now() + SETTLE_WITHIN;
        // Twice, because what is decided in the first round is carried out in the second;
        // and again while somebody has not answered the roll call of a gateway that just started.
        let mut rounds = 2;
        while rounds > 0 {
            let settled = self.settle.ask(Settle).within(SETTLE_WITHIN).await;
            if settled.map_err(|error| SourceError::NoGateway(error.to_string()))? {
                rounds -= 1;
            } else if tokio::time::Instant::now() < deadline {
                tokio::time::sleep(Duration::from_millis(1)).await;
            } else {
                return Err(SourceError::NoGateway(
                    "somebody does not answer its roll call".to_owned(),
                ));
            }
        }
        Ok(())
    }
}

/// Why a source failed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SourceError {
    /// The gateway did not take the traffic.
    NoGateway(String),
    /// The recording cannot be read.
    Unreadable(String),
    /// The recording cannot be written.
    Record(String),
}

impl SourceError {
    fn record(error: std::io::Error) -> Self {
        SourceError::Record(format!("cannot go on recording: {error}"))
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SourceError::NoGateway(why) => write!(f, "the gateway takes no lines: {why}"),
            SourceError::Unreadable(why) | SourceError::Record(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for SourceError {}

/// Waits until event time that lies `ahead_ms` behind the first event is due at this speed.
///
/// Returns at once when it is due already: a source that is behind catches up.
async fn pace(begun: tokio::time::Instant, ahead_ms: i64, speed: f64) {
    let seconds = (ahead_ms.max(0) as f64) / 1000.0 / speed;
    // A time out of range is a broken recording's: not waited for.
    let Ok(ahead) = Duration::try_from_secs_f64(seconds) else {
        return;
    };
    let Some(due) = begun.checked_add(ahead) else {
        return;
    };
    if due > tokio::time::Instant::now() {
        tokio::time::sleep_until(due).await;
    }
}
