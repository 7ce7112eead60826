//! Messages that found no handler, counted and kept to be looked at.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use parking_lot::Mutex;

use crate::error::ResendError;
use crate::failure::{ShortType, guarded, logged};
use crate::line::TEXT_MAX;
use crate::role::Role;
use crate::{EventId, Failure, Path};

/// A message that was accepted or published and did not get handled.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DeadLetter {
    /// Its number, counted from 0 over the life of the system; every number is given.
    pub number: u64,
    /// When it was given up.
    pub at: SystemTime,
    /// The actor that it was meant for, or that reported it.
    pub path: Path,
    /// The life of that actor, counted from 1; 0 if it had not begun.
    pub incarnation: u64,
    /// The type of the message, without its modules.
    pub message: String,
    /// Why it was given up.
    pub reason: DeadLetterReason,
    /// What is known of its content, at most 512 bytes: the `Debug` text of an event, the error of a failed message, the words of the actor that reported it.
    pub text: String,
    /// How many times its handler was called; more than once only where [`Spec::retry`](crate::Spec::retry) says so.
    pub attempt: u32,
    /// How its handler failed the last time it was called, with the backtrace of a panic.
    pub failure: Option<Failure>,
    /// Whether the message itself is kept, so that [`System::resend`](crate::System::resend) can send it again.
    ///
    /// It is where the handler failed on a message of a type that
    /// [`Spec::retry`](crate::Spec::retry) names, until it is sent again, or the system stops.
    pub is_kept: bool,
    /// The id of the event or message, if it had an [envelope](crate::Context::envelope): with it
    /// [`System::causes_of`](crate::System::causes_of) says what led to it.
    pub event_id: Option<EventId>,
}

/// Why a message became a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeadLetterReason {
    /// It met a full mailbox that loses what does not fit, or was removed for a newer one.
    Full,
    /// The actor stopped for good with the message still queued, or was already stopping when the event came.
    Stopped,
    /// The handler failed on it.
    Failed,
    /// An actor refused it as unusable: see [`Context::dead_letter`](crate::Context::dead_letter).
    Reported,
    /// The time that it was sent with was up before its turn came: see [`Tell::expires`](crate::Tell::expires).
    Expired,
}

impl DeadLetterReason {
    pub(crate) const ALL: [DeadLetterReason; 5] = [
        DeadLetterReason::Full,
        DeadLetterReason::Stopped,
        DeadLetterReason::Failed,
        DeadLetterReason::Reported,
        DeadLetterReason::Expired,
    ];

    /// Returns the word used in metrics: `full`, `stopped`, `failed`, `reported` or `expired`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            DeadLetterReason::Full => "full",
            DeadLetterReason::Stopped => "stopped",
            DeadLetterReason::Failed => "failed",
            DeadLetterReason::Reported => "reported",
            DeadLetterReason::Expired => "expired",
        }
    }
}

impl fmt::Display for DeadLetterReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for DeadLetter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DeadLetter {
            path,
            message,
            reason,
            text,
            attempt,
            ..
        } = self;
        write!(f, "{message} to {path} ({reason}")?;
        if *attempt > 1 {
            write!(f, " after {attempt} tries")?;
        }
        f.write_str(")")?;
        if text.is_empty() {
            Ok(())
        } else {
            // One line, whatever a panic or an author's `Debug` says.
            write!(f, ": {}", text.replace('\n', " "))
        }
    }
}

/// The latest dead letters of a system, and how many there ever were.
pub(crate) struct DeadLetters {
    shelves: Mutex<Shelves>,
    counts: [AtomicU64; DeadLetterReason::ALL.len()],
}

/// Letters that have their message stand apart: a flood of others does not push them out.
struct Shelves {
    plain: VecDeque<DeadLetter>,
    kept: VecDeque<(DeadLetter, Option<Box<dyn Kept>>)>,
    /// How many stand on each at most.
    capacity: usize,
    next: u64,
    /// Nobody is left to whom a message could be sent.
    is_over: bool,
}

/// A message that can be sent to its role once more; dropping it runs the author's code and does not panic.
pub(crate) trait Kept: Send {
    /// Sends it if there is room.
    fn send(self: Box<Self>, to: Arc<dyn Role>) -> Result<(), (Box<dyn Kept>, NotSent)>;
}

/// Why a kept message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotSent {
    Gone,
    Full,
}

/// What is known of some dead letters only.
#[derive(Default)]
pub(crate) struct Dead {
    pub(crate) attempt: u32,
    pub(crate) failure: Option<Failure>,
    pub(crate) kept: Option<Box<dyn Kept>>,
    pub(crate) event_id: Option<EventId>,
}

impl DeadLetters {
    pub(crate) fn new(capacity: usize) -> Self {
        DeadLetters {
            shelves: Mutex::new(Shelves {
                plain: VecDeque::new(),
                kept: VecDeque::new(),
                capacity,
                next: 0,
                is_over: false,
            }),
            counts: Default::default(),
        }
    }

    pub(crate) fn add(
        &self,
        (path, incarnation): (&Path, u64),
        message: &'static str,
        reason: DeadLetterReason,
        text: impl fmt::Display,
        dead: Dead,
    ) {
        self.counts[reason as usize].fetch_add(1, Ordering::Relaxed);
        // The text runs code of the message's author: outside the lock, and guarded.
        let text = guarded(|| bounded(text)).unwrap_or_else(|_| "its Debug panicked".to_owned());
        let message = ShortType(message).to_string();
        let attempt = dead.attempt;
        // Logging runs the author's subscriber: not under the lock either.
        logged(|| tracing::debug!(actor = %path, message, %reason, attempt, text, "Dead letter."));
        let mut letter = DeadLetter {
            number: 0,
            at: SystemTime::now(),
            path: path.clone(),
            incarnation,
            message,
            reason,
            text,
            attempt,
            failure: dead.failure,
            is_kept: dead.kept.is_some(),
            event_id: dead.event_id,
        };
        let mut shelves = self.shelves.lock();
        letter.number = shelves.next;
        shelves.next += 1;
        let left = shelves.put(letter, dead.kept);
        drop(shelves);
        // A message that is pushed out, or finds nobody to be kept for: its drop is its author's code.
        drop(left);
    }

    /// How many are kept that have no message.
    pub(crate) fn capacity(&self) -> usize {
        self.shelves.lock().capacity
    }

    /// Counts so many that are not kept.
    pub(crate) fn pass(&self, reason: DeadLetterReason, n: u64) {
        if n > 0 {
            self.counts[reason as usize].fetch_add(n, Ordering::Relaxed);
            self.shelves.lock().next += n;
        }
    }

    /// Returns those that are kept, the oldest first.
    pub(crate) fn list(&self) -> Vec<DeadLetter> {
        let shelves = self.shelves.lock();
        let kept = shelves.kept.iter().map(|(letter, message)| DeadLetter {
            is_kept: message.is_some(),
            ..letter.clone()
        });
        let mut letters: Vec<DeadLetter> = kept.chain(shelves.plain.iter().cloned()).collect();
        drop(shelves);
        letters.sort_unstable_by_key(|letter| letter.number);
        letters
    }

    /// Sends the message of a letter to the role that `find` knows by its path.
    pub(crate) fn resend(
        &self,
        number: u64,
        find: impl FnOnce(&Path) -> Option<Arc<dyn Role>>,
    ) -> Result<(), ResendError> {
        let (path, message) = {
            let mut shelves = self.shelves.lock();
            let plain = shelves.plain.iter();
            let is_plain = plain.map(|letter| letter.number).any(|n| n == number);
            match shelves.place(number) {
                Some((letter, message)) => {
                    let message = message.take().ok_or(ResendError::NotKept(number))?;
                    (letter.path.clone(), message)
                }
                None if is_plain => return Err(ResendError::NotKept(number)),
                None => return Err(ResendError::NotFound(number)),
            }
        };
        // Not under the lock: whoever is sent to may be run at once.
        let sent = match find(&path) {
            Some(role) => message.send(role),
            None => Err((message, NotSent::Gone)),
        };
        let Err((message, why)) = sent else {
            return Ok(());
        };
        let mut left = Some(message);
        {
            let mut shelves = self.shelves.lock();
            if !shelves.is_over
                && let Some((_, place)) = shelves.place(number)
            {
                *place = left.take();
            }
        }
        drop(left);
        Err(match why {
            NotSent::Gone => ResendError::Gone(path),
            NotSent::Full => ResendError::Full(path),
        })
    }

    /// Lets go of all messages, from now on too: they may hold references to the system, which would keep itself.
    pub(crate) fn end(&self) {
        let mut shelves = self.shelves.lock();
        shelves.is_over = true;
        let kept = shelves.kept.iter_mut();
        let left: Vec<_> = kept.filter_map(|(_, message)| message.take()).collect();
        drop(shelves);
        drop(left);
    }

    pub(crate) fn count(&self, reason: DeadLetterReason) -> u64 {
        self.counts[reason as usize].load(Ordering::Relaxed)
    }
}

impl Shelves {
    /// Puts a letter to the others; returns what has no place any more, to be dropped behind the lock.
    fn put(&mut self, letter: DeadLetter, message: Option<Box<dyn Kept>>) -> Option<Box<dyn Kept>> {
        if self.capacity == 0 {
            return message;
        }
        match message {
            None => {
                if self.plain.len() >= self.capacity {
                    self.plain.pop_front();
                }
                self.plain.push_back(letter);
                None
            }
            Some(message) => {
                let oldest = if self.kept.len() >= self.capacity {
                    self.kept.pop_front().and_then(|(_, message)| message)
                } else {
                    None
                };
                if self.is_over {
                    self.kept.push_back((letter, None));
                    return Some(message);
                }
                self.kept.push_back((letter, Some(message)));
                oldest
            }
        }
    }

    fn place(&mut self, number: u64) -> Option<&mut (DeadLetter, Option<Box<dyn Kept>>)> {
        let mut kept = self.kept.iter_mut();
        kept.find(|(letter, _)| letter.number == number)
    }
}

/// Writes `text` until [`TEXT_MAX`], so that a message of 10 MB costs 512 bytes and not ten more.
fn bounded(text: impl fmt::Display) -> String {
    struct Head(String);
    impl fmt::Write for Head {
        fn write_str(&mut self, s: &str) -> fmt::Result {
            let room = TEXT_MAX - self.0.len();
            if s.len() <= room {
                self.0.push_str(s);
                return Ok(());
            }
            let cut = (0..=room)
                .rev()
                .find(|&i| s.is_char_boundary(i))
                .unwrap_or(0);
            self.0.push_str(&s[..cut]);
            Err(fmt::Error)
        }
    }
    let mut head = Head(String::new());
    // An error only says that the text was cut.
    let _ = fmt::write(&mut head, format_args!("{text}"));
    head.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_latest_are_kept_and_all_are_counted() {
        let letters = DeadLetters::new(2);
        for n in 0..5 {
            let to = (&Path::root("a"), 1);
            letters.add(to, "m::Line", DeadLetterReason::Full, n, Dead::default());
        }
        let numbers: Vec<u64> = letters.list().iter().map(|l| l.number).collect();
        assert_eq!(numbers, [3, 4]);
        assert_eq!(letters.count(DeadLetterReason::Full), 5);
    }

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        let text = bounded("é".repeat(10_000));
        assert_eq!(text.len(), TEXT_MAX);
        assert!(text.chars().all(|c| c == 'é'));
    }
}
