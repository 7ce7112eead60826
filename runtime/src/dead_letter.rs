//! Messages that found no handler, counted and kept to be looked at.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use parking_lot::Mutex;

use crate::Path;
use crate::failure::{ShortType, guarded};

/// The longest text that a dead letter keeps of a message, in bytes.
const TEXT_MAX: usize = 512;

/// A message that was accepted or published and did not get handled.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DeadLetter {
    /// Its number, counted from 0 over the life of the system; gaps never occur.
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
            ..
        } = self;
        write!(f, "{message} to {path} ({reason})")?;
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
    kept: Mutex<Kept>,
    counts: [AtomicU64; DeadLetterReason::ALL.len()],
}

struct Kept {
    letters: VecDeque<DeadLetter>,
    capacity: usize,
    next: u64,
}

impl DeadLetters {
    pub(crate) fn new(capacity: usize) -> Self {
        DeadLetters {
            kept: Mutex::new(Kept {
                letters: VecDeque::new(),
                capacity,
                next: 0,
            }),
            counts: Default::default(),
        }
    }

    pub(crate) fn add(
        &self,
        path: &Path,
        incarnation: u64,
        message: &'static str,
        reason: DeadLetterReason,
        text: impl fmt::Display,
    ) {
        self.counts[reason as usize].fetch_add(1, Ordering::Relaxed);
        // The text runs code of the message's author: outside the lock, and guarded.
        let text = guarded(|| bounded(text)).unwrap_or_else(|_| "its Debug panicked".to_owned());
        let message = ShortType(message).to_string();
        // Logging runs the author's subscriber: not under the lock either.
        tracing::debug!(actor = %path, message, %reason, text, "Dead letter.");
        let at = SystemTime::now();
        let mut kept = self.kept.lock();
        let number = kept.next;
        kept.next += 1;
        if kept.letters.len() >= kept.capacity {
            kept.letters.pop_front();
        }
        if kept.capacity > 0 {
            let path = path.clone();
            kept.letters.push_back(DeadLetter {
                number,
                at,
                path,
                incarnation,
                message,
                reason,
                text,
            });
        }
    }

    pub(crate) fn list(&self) -> Vec<DeadLetter> {
        self.kept.lock().letters.iter().cloned().collect()
    }

    pub(crate) fn count(&self, reason: DeadLetterReason) -> u64 {
        self.counts[reason as usize].load(Ordering::Relaxed)
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
            letters.add(&Path::root("a"), 1, "m::Line", DeadLetterReason::Full, n);
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
