//! Subjects of events, patterns over them, and the index that finds whose pattern matches.
//!
//! A [`Pattern`] is checked when it is made. An [`Index`] holds subscriptions, each a
//! pattern, a number and a value, and visits those that match a subject. A [`SharedIndex`]
//! is one that many threads publish through while others subscribe, by its snapshots:
//!
//! ```text
//! let pattern = Pattern::parse("home.*.temperature")?;
//! index.insert(&pattern, id, value)      -> what was there under this pattern and id
//! index.remove(&pattern, id)             -> the value, for the caller to drop under no lock
//! index.snapshot()                       -> the index as it is now; no lock is held
//! snapshot.matches(subject, &mut out)       clones of the values that match
//! snapshot.visit(subject, |id, value| ..)   the same in place: no value is cloned
//! ```
//!
//! What matches is visited in an order that is the same in each run: at each token first
//! those that end there with `>`, then those that have `*`, then those that name it, and
//! under one pattern by rising id. An id that is under several patterns is visited once for
//! each of them that matches.
//!
//! Nothing here knows of actors, and no author's code runs here: values are cloned and
//! dropped, so they should be an `Arc`.

use std::error::Error;
use std::fmt;
use std::str::FromStr;

mod index;
mod radix;
mod shared;
mod token;

pub(crate) use index::Index;
pub(crate) use shared::{SharedIndex, Snapshot};

/// Stands for one token.
const ANY: &str = "*";

/// Stands for one token or more, at the end.
const REST: &str = ">";

/// A pattern that subjects of events match or do not, such as `home.*.temperature`.
///
/// A subject is a text of tokens with dots between them, from the general to the
/// particular: `home.kitchen.temperature`. The rules are those of NATS:
///
/// | in a pattern | stands for |
/// |---|---|
/// | `*` | exactly one token, whatever it is |
/// | `>` | one token or more, up to the end; it is the last token |
/// | anything else | itself, upper and lower case told apart |
///
/// So `home.>` matches `home.kitchen` and `home.kitchen.temperature`, but not `home`. A
/// subject with an empty token (`home..temperature`, `.home`, `home.`, or nothing at all)
/// is not valid and matches no pattern, not even `>`. A `*` in a subject is a token as any
/// other: it is matched by wildcards only.
///
/// A wildcard is a whole token. `kit*` is refused, where NATS takes it for itself: whoever
/// writes it means what it does not do.
///
/// ```
/// # use greenroom::Pattern;
/// let pattern: Pattern = "home.*.temperature".parse()?;
/// assert!(pattern.matches("home.kitchen.temperature"));
/// assert!(!pattern.matches("home.kitchen.oven.temperature"));
///
/// let error = "home.>.temperature".parse::<Pattern>().unwrap_err();
/// assert!(error.to_string().contains("`>` at byte 5"));
/// # Ok::<(), greenroom::PatternError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern(Box<str>);

/// Why a text is no [`Pattern`].
///
/// `at` is the byte of the text at which it goes wrong, counted from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PatternError {
    /// It is empty.
    Empty,
    /// There is nothing before a dot, behind one, or between two.
    EmptyToken {
        /// The text.
        pattern: String,
        /// Where the token should be.
        at: usize,
    },
    /// It has white space or a control character.
    WhiteSpace {
        /// The text.
        pattern: String,
        /// Where the first one is.
        at: usize,
    },
    /// It has `*` or `>` beside something else in one token.
    PartOfToken {
        /// The text.
        pattern: String,
        /// Where the wildcard is.
        at: usize,
    },
    /// It goes on behind `>`.
    RestNotLast {
        /// The text.
        pattern: String,
        /// Where the `>` is.
        at: usize,
    },
    /// It has more than [`Pattern::TOKENS_MAX`] tokens.
    TooManyTokens {
        /// The text.
        pattern: String,
        /// How many it has.
        tokens: usize,
    },
    /// It has more than [`Pattern::BYTES_MAX`] bytes; it is not kept.
    TooLong {
        /// How many bytes it has.
        bytes: usize,
    },
}

impl Pattern {
    /// How many tokens a pattern may have: 32, twice of what NATS recommends to stay within.
    ///
    /// A subject may have more; then only patterns that end with `>` match it.
    pub const TOKENS_MAX: usize = 32;

    /// How many bytes a pattern may have: 1,024, four times of what NATS recommends.
    pub const BYTES_MAX: usize = 1_024;

    /// Makes a pattern of a text.
    ///
    /// # Errors
    /// [`PatternError`] if the text breaks a rule; it says which one, and where.
    pub fn parse(text: &str) -> Result<Pattern, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.len() > Self::BYTES_MAX {
            return Err(PatternError::TooLong { bytes: text.len() });
        }
        let pattern = || text.to_owned();
        let is_white = |c: char| c.is_whitespace() || c.is_control();
        if let Some(at) = text.find(is_white) {
            let pattern = pattern();
            return Err(PatternError::WhiteSpace { pattern, at });
        }
        let (mut at, mut tokens) = (0, 0);
        for token in text.split('.') {
            if token.is_empty() {
                let pattern = pattern();
                return Err(PatternError::EmptyToken { pattern, at });
            }
            if token.len() > 1
                && let Some(inside) = token.find(['*', '>'])
            {
                let (pattern, at) = (pattern(), at + inside);
                return Err(PatternError::PartOfToken { pattern, at });
            }
            if token == REST && at + 1 < text.len() {
                let pattern = pattern();
                return Err(PatternError::RestNotLast { pattern, at });
            }
            at += token.len() + 1;
            tokens += 1;
        }
        if tokens > Self::TOKENS_MAX {
            let pattern = pattern();
            return Err(PatternError::TooManyTokens { pattern, tokens });
        }
        Ok(Pattern(text.into()))
    }

    /// Returns whether a subject matches.
    #[must_use]
    pub fn matches(&self, subject: &str) -> bool {
        let Some(subject) = Subject::parse(subject) else {
            return false;
        };
        let mut pattern = self.tokens();
        for &token in subject.tokens() {
            match pattern.next() {
                Some(REST) => return true,
                Some(ANY) => {}
                Some(name) if name.as_bytes() == token => {}
                _ => return false,
            }
        }
        pattern.next().is_none() && !subject.goes_on
    }

    /// Returns it as the text it was made of.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn tokens(&self) -> impl Iterator<Item = &str> {
        self.0.split('.')
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        Pattern::parse(text)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PatternError::Empty => {
                f.write_str("an empty text is no pattern: `>` matches every subject")
            }
            PatternError::EmptyToken { pattern, at } => write!(
                f,
                "the pattern {pattern:?} has no token at byte {at}: write one there, or take a dot away"
            ),
            PatternError::WhiteSpace { pattern, at } => write!(
                f,
                "the pattern {pattern:?} has white space or a control character at byte {at}: take it out"
            ),
            PatternError::PartOfToken { pattern, at } => write!(
                f,
                "the pattern {pattern:?} has a wildcard inside of a token at byte {at}: `*` stands for \
                 one whole token and `>` for all that follow, so make a token of what varies"
            ),
            PatternError::RestNotLast { pattern, at } => write!(
                f,
                "the pattern {pattern:?} goes on behind the `>` at byte {at}: end it there, or write \
                 one `*` for each token that varies"
            ),
            PatternError::TooManyTokens { pattern, tokens } => write!(
                f,
                "the pattern {pattern:?} has {tokens} tokens and {} is the most: end it earlier with `>`",
                Pattern::TOKENS_MAX
            ),
            PatternError::TooLong { bytes } => write!(
                f,
                "a pattern of {bytes} bytes is too long and {} are the most: end it earlier with `>`",
                Pattern::BYTES_MAX
            ),
        }
    }
}

impl Error for PatternError {}

/// A subject that is valid, cut into its tokens: as many of them as a pattern can name.
struct Subject<'a> {
    tokens: [&'a [u8]; Pattern::TOKENS_MAX],
    len: usize,
    /// There are more.
    goes_on: bool,
}

impl<'a> Subject<'a> {
    /// Goes over the text once; takes no memory, however long it is.
    fn parse(text: &'a str) -> Option<Self> {
        let mut rest = text.as_bytes();
        // No way out of this loop, so that it is compiled to one that takes many bytes at a time.
        let is_gap = |two: &[u8]| two == b"..";
        let has_gap = rest.windows(2).fold(false, |gap, two| gap | is_gap(two));
        if has_gap || matches!(rest, [] | [b'.', ..] | [.., b'.']) {
            return None;
        }
        let mut subject = Subject {
            tokens: [b""; Pattern::TOKENS_MAX],
            len: 0,
            goes_on: false,
        };
        for place in &mut subject.tokens {
            let end = rest.iter().position(|byte| *byte == b'.');
            *place = &rest[..end.unwrap_or(rest.len())];
            subject.len += 1;
            let Some(end) = end else {
                return Some(subject);
            };
            rest = &rest[end + 1..];
        }
        subject.goes_on = true;
        Some(subject)
    }

    fn tokens(&self) -> &[&'a [u8]] {
        &self.tokens[..self.len]
    }
}

#[cfg(test)]
mod tests;
