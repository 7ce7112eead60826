//! What events are named by.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::ser::{Serialize, Serializer};
use tokio::time::Instant;

/// The id of an event or message.
///
/// Those of a system are UUIDs of version 7 (RFC 9562): as text as well as by `Ord` they sort by the time when they were
/// given, and those of one system are all different and in the order in which they were given. What comes from
/// elsewhere may be any text.
///
/// ```
/// use greenroom::EventId;
///
/// let id = EventId::from("order-123");
/// assert_eq!(id.to_string(), "order-123");
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(Text);

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Text {
    /// A UUID whose text is the usual one: lower-case.
    Uuid([u8; 16]),
    Foreign(Arc<str>),
}

/// Where the hyphens of a UUID stand.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];

impl EventId {
    /// The text, unless it is a UUID, whose text is written when it is wanted.
    pub(super) fn as_foreign(&self) -> Option<&str> {
        match &self.0 {
            Text::Uuid(_) => None,
            Text::Foreign(text) => Some(text),
        }
    }

    /// Reads the usual text of a UUID.
    fn uuid(text: &str) -> Option<Self> {
        if text.len() != 36 {
            return None;
        }
        let (mut bytes, mut digits) = ([0; 16], 0);
        for (at, c) in text.bytes().enumerate() {
            if HYPHENS.contains(&at) {
                if c != b'-' {
                    return None;
                }
                continue;
            }
            let digit = match c {
                b'0'..=b'9' => c - b'0',
                b'a'..=b'f' => c - b'a' + 10,
                _ => return None,
            };
            bytes[digits / 2] = bytes[digits / 2] << 4 | digit;
            digits += 1;
        }
        Some(EventId(Text::Uuid(bytes)))
    }
}

impl From<&str> for EventId {
    fn from(text: &str) -> Self {
        EventId::uuid(text).unwrap_or_else(|| EventId(Text::Foreign(Arc::from(text))))
    }
}

impl From<String> for EventId {
    fn from(text: String) -> Self {
        EventId::from(&*text)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = match &self.0 {
            Text::Uuid(bytes) => bytes,
            Text::Foreign(text) => return f.pad(text),
        };
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut text = [b'-'; 36];
        let places = (0..36).filter(|at| !HYPHENS.contains(at));
        let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        for (at, digit) in places.zip(digits) {
            text[at] = HEX[usize::from(digit)];
        }
        f.pad(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventId({self})")
    }
}

impl Serialize for EventId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Gives the ids of one system, and the times.
pub(crate) struct Ids {
    /// The latest: milliseconds since 1970, and behind them twelve bits that count.
    latest: AtomicU64,
    /// What the rest of each id is made from.
    seed: u64,
    clock: Clock,
}

/// What time events say.
enum Clock {
    /// That of the machine.
    Real,
    /// That of a simulation: the same in each run of the same seed.
    Virtual { began: Instant },
}

/// When simulations begin: the year 2000.
const VIRTUAL_EPOCH: Duration = Duration::from_secs(946_684_800);

impl Ids {
    /// Ids that no other system gives, if `seed` is random.
    pub(crate) fn random(seed: u64) -> Self {
        Ids {
            latest: AtomicU64::new(0),
            seed,
            clock: Clock::Real,
        }
    }

    /// The same ids and times whenever a simulation of this seed is run.
    pub(crate) fn simulated(seed: u64) -> Self {
        Ids {
            latest: AtomicU64::new(0),
            seed,
            clock: Clock::Virtual {
                began: Instant::now(),
            },
        }
    }

    pub(crate) fn now(&self) -> SystemTime {
        match &self.clock {
            Clock::Real => SystemTime::now(),
            Clock::Virtual { began } => UNIX_EPOCH + VIRTUAL_EPOCH + began.elapsed(),
        }
    }

    /// Gives the next id, and says when that is.
    pub(crate) fn next(&self) -> (EventId, SystemTime) {
        let now = self.now();
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let least = (since.as_millis() as u64) << 12;
        // More than 4,096 in a millisecond, or a clock that is set back, run ahead of it.
        let following = |latest: u64| (latest + 1).max(least);
        let latest = self
            .latest
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |latest| {
                Some(following(latest))
            });
        let number = following(latest.unwrap_or_default());
        let (millis, count) = (number >> 12, number & 0xfff);
        let head = millis << 16 | 0x7000 | count;
        let tail = 1 << 63 | scatter(self.seed ^ scatter(number)) >> 2;
        let bytes = u128::from(head) << 64 | u128::from(tail);
        (EventId(Text::Uuid(bytes.to_be_bytes())), now)
    }
}

/// A step of the generator SplitMix64 (Steele, Lea, Flood, 2014): a bijection that looks like chance.
fn scatter(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ n >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ n >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ n >> 31
}
