//! What every published event can tell of itself, in the words of CloudEvents 1.0.
//!
//! An [`Envelope`] holds the attributes, a [`CloudEvent`] them and the event. Both are written and read with serde in
//! the form that the specification calls structured mode: one object, whose members are the attributes and `data`.
//! They know no format: whoever writes JSON brings `serde_json`. Beside it: [`id`], [`time`] and [`base64`], the texts
//! that attributes have, how an event is [`read`] and how it is [`write`](mod@write)n.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::time::SystemTime;

use serde::de::{Deserialize, Deserializer, IgnoredAny};

use crate::Event;

mod base64;
mod id;
mod read;
#[cfg(test)]
mod tests;
mod time;
mod write;

pub use id::EventId;
pub(crate) use id::Ids;

/// The version of the specification, which is the value of `specversion`.
const SPEC_VERSION: &str = "1.0";

/// The attributes that have a field of their own, and the members that are none; no extension has such a name.
const RESERVED: [&str; 15] = [
    "specversion",
    "id",
    "source",
    "type",
    "subject",
    "time",
    "datacontenttype",
    "dataschema",
    "partitionkey",
    "correlationid",
    "causationid",
    "traceparent",
    "tracestate",
    "data",
    "data_base64",
];

/// What an event tells of itself: the attributes of [CloudEvents 1.0](https://cloudevents.io).
///
/// | field | attribute | of an event of this system |
/// |---|---|---|
/// | [`id`](Self::id) | `id` | a UUID of version 7, which sorts by time |
/// | [`source`](Self::source) | `source` | the path of the actor that published it, after a slash |
/// | [`event_type`](Self::event_type) | `type` | [`Event::event_type`] |
/// | [`subject`](Self::subject) | `subject` | [`Event::subject`] |
/// | [`key`](Self::key) | `partitionkey` | [`Event::key`] |
/// | [`time`](Self::time) | `time` | when it was published |
/// | [`causation_id`](Self::causation_id) | `causationid` | the id of what was handled when it was published |
/// | [`correlation_id`](Self::correlation_id) | `correlationid` | the id of the first in this line of causes |
/// | [`traceparent`](Self::traceparent), [`tracestate`](Self::tracestate) | the same | those of its cause |
///
/// Serde reads and writes it as one object without `data`; unknown attributes are kept as [extensions](Self::extensions).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Envelope {
    /// Names the event; no two of one source have the same.
    pub id: EventId,
    /// Where it happened: a URI reference.
    pub source: String,
    /// What kind of thing happened (`type`).
    pub event_type: String,
    /// What it happened to, as its source knows it.
    pub subject: Option<String>,
    /// What it is the latest state of, and by what it is shared out (`partitionkey`).
    pub key: Option<String>,
    /// When it happened.
    pub time: Option<SystemTime>,
    /// The media type of the data (`datacontenttype`); none means `application/json`.
    pub content_type: Option<String>,
    /// Where the schema of the data is found (`dataschema`): a URI.
    pub schema: Option<String>,
    /// The flow that it belongs to (`correlationid`).
    pub correlation_id: Option<EventId>,
    /// The event or message that directly caused it (`causationid`).
    pub causation_id: Option<EventId>,
    /// The span that it belongs to, as W3C Trace Context has it.
    pub traceparent: Option<String>,
    /// What tracing systems add to that.
    pub tracestate: Option<String>,
    /// All other attributes, by names of lower-case letters and digits.
    pub extensions: BTreeMap<String, Attribute>,
}

/// The value of an [extension attribute](Envelope::extensions).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Attribute {
    /// A truth value.
    Boolean(bool),
    /// A whole number; the specification allows 32 bits.
    Integer(i32),
    /// A text, also of a time, a URI or base64.
    String(String),
}

/// An event with its envelope.
///
/// Serde writes and reads it as one object, in the structured mode of CloudEvents: the attributes, and `data`. JSON
/// data is written as it is; other data only where it is a `String` (as text) or a `Vec<u8>` (as `data_base64`).
///
/// # Examples
///
/// ```
/// # use greenroom::{CloudEvent, CloudEventError, Envelope, Event};
/// #[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
/// struct DoorOpened { door: String }
/// impl Event for DoorOpened {
///     fn event_type() -> &'static str { "com.example.door.opened" }
/// }
///
/// let text = r#"{
///     "specversion": "1.0", "id": "7", "source": "/home/hall", "type": "com.example.door.opened",
///     "time": "2026-11-21T18:30:00Z", "data": { "door": "front" }
/// }"#;
/// let mut json = serde_json::Deserializer::from_str(text);
/// let event = CloudEvent::<DoorOpened>::read(&mut json)?;
/// assert_eq!(event.data, DoorOpened { door: "front".to_owned() });
/// assert_eq!(event.envelope.source, "/home/hall");
///
/// // What is no CloudEvent is told apart by kind.
/// let mut json = serde_json::Deserializer::from_str(r#"{ "specversion": "1.0", "id": "8" }"#);
/// let error = CloudEvent::<DoorOpened>::read(&mut json).unwrap_err();
/// assert!(matches!(error, CloudEventError::Missing { attribute: "source" }));
/// # Ok::<(), CloudEventError<serde_json::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CloudEvent<E> {
    /// Its attributes.
    pub envelope: Envelope,
    /// The event itself.
    pub data: E,
}

/// Why an input is no CloudEvent, or not the one that was wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloudEventError<F> {
    /// A required attribute is not there, or the data.
    Missing {
        /// Its name.
        attribute: &'static str,
    },
    /// A member is there twice.
    Duplicate {
        /// Its name.
        attribute: String,
    },
    /// It is of another version of the specification than 1.0.
    SpecVersion {
        /// The version that it says.
        found: String,
    },
    /// It is an event of another type.
    WrongType {
        /// The type that was wanted.
        expected: &'static str,
        /// Its own.
        found: String,
    },
    /// An attribute has a value that the specification does not allow.
    Invalid {
        /// Its name.
        attribute: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A member has a name that no attribute can have: lower-case letters and digits only.
    Name {
        /// The name.
        attribute: String,
    },
    /// It is not well formed, no object, or its data is not that of the event's type: as the format says.
    Format(F),
}

/// What is wrong with an envelope, whatever it is written in.
type Fault = CloudEventError<Infallible>;

impl Envelope {
    /// Returns an envelope with the required attributes alone; its fields take the others.
    pub fn new(
        id: impl Into<EventId>,
        source: impl Into<String>,
        event_type: impl Into<String>,
    ) -> Self {
        Envelope {
            id: id.into(),
            source: source.into(),
            event_type: event_type.into(),
            subject: None,
            key: None,
            time: None,
            content_type: None,
            schema: None,
            correlation_id: None,
            causation_id: None,
            traceparent: None,
            tracestate: None,
            extensions: BTreeMap::new(),
        }
    }

    /// Reads the attributes of an event of any type and passes its data over: to know what to read it as.
    ///
    /// # Errors
    ///
    /// [`CloudEventError`], which tells what is no CloudEvent from what is not well formed.
    pub fn read<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Self, CloudEventError<D::Error>> {
        let (envelope, IgnoredAny) = read::read(deserializer, None)?;
        Ok(envelope)
    }

    /// Whether the data is JSON, or would be.
    fn is_json(&self) -> bool {
        let Some(content_type) = &self.content_type else {
            return true;
        };
        let media = content_type.split(';').next().unwrap_or_default().trim();
        let (_, subtype) = media.split_once('/').unwrap_or_default();
        let subtype = subtype.to_ascii_lowercase();
        subtype == "json" || subtype.ends_with("+json")
    }

    /// Looks whether all attributes are as the specification wants them; what passes can be written and read again.
    fn check(&self) -> Result<(), Fault> {
        check_uri("source", &self.source)?;
        check_text("type", &self.event_type)?;
        let ids = [
            ("id", Some(&self.id)),
            ("correlationid", self.correlation_id.as_ref()),
            ("causationid", self.causation_id.as_ref()),
        ];
        for (name, id) in ids {
            if let Some(text) = id.and_then(EventId::as_foreign) {
                check_text(name, text)?;
            }
        }
        let texts = [
            ("subject", &self.subject),
            ("partitionkey", &self.key),
            ("datacontenttype", &self.content_type),
            ("traceparent", &self.traceparent),
            ("tracestate", &self.tracestate),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                check_text(name, text)?;
            }
        }
        if let Some(schema) = &self.schema {
            check_uri("dataschema", schema)?;
        }
        if self.time.is_some_and(|time| time::write(time).is_none()) {
            return Err(invalid("time", "it is not within the years 0 to 9999"));
        }
        for (name, value) in &self.extensions {
            let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
            if name.is_empty() || !name.chars().all(is_name) || RESERVED.contains(&&**name) {
                return Err(CloudEventError::Name {
                    attribute: name.clone(),
                });
            }
            if let Attribute::String(text) = value
                && text.chars().any(char::is_control)
            {
                return Err(invalid(name, "it has a control character"));
            }
        }
        Ok(())
    }
}

impl<E> CloudEvent<E> {
    /// Puts an event into an envelope.
    pub fn new(envelope: Envelope, data: E) -> Self {
        CloudEvent { envelope, data }
    }
}

impl<E: Event> CloudEvent<E> {
    /// Reads an event of this type.
    ///
    /// What serde's own `Deserialize` reads may be of any type, and its errors are those of the format.
    ///
    /// # Errors
    ///
    /// [`CloudEventError`], also where its type is not [`Event::event_type`] of `E`.
    pub fn read<'de, D>(deserializer: D) -> Result<Self, CloudEventError<D::Error>>
    where
        D: Deserializer<'de>,
        E: Deserialize<'de>,
    {
        let (envelope, data) = read::read(deserializer, Some(E::event_type()))?;
        Ok(CloudEvent { envelope, data })
    }
}

impl Fault {
    fn widen<F>(self) -> CloudEventError<F> {
        match self {
            CloudEventError::Missing { attribute } => CloudEventError::Missing { attribute },
            CloudEventError::Duplicate { attribute } => CloudEventError::Duplicate { attribute },
            CloudEventError::SpecVersion { found } => CloudEventError::SpecVersion { found },
            CloudEventError::WrongType { expected, found } => {
                CloudEventError::WrongType { expected, found }
            }
            CloudEventError::Invalid { attribute, reason } => {
                CloudEventError::Invalid { attribute, reason }
            }
            CloudEventError::Name { attribute } => CloudEventError::Name { attribute },
            CloudEventError::Format(never) => match never {},
        }
    }
}

fn invalid(attribute: &str, reason: &'static str) -> Fault {
    CloudEventError::Invalid {
        attribute: attribute.to_owned(),
        reason,
    }
}

fn check_text(name: &str, text: &str) -> Result<(), Fault> {
    if text.is_empty() {
        return Err(invalid(name, "it is empty"));
    }
    match text.chars().any(char::is_control) {
        true => Err(invalid(name, "it has a control character")),
        false => Ok(()),
    }
}

/// The characters of a URI reference are looked at, not its grammar.
fn check_uri(name: &str, text: &str) -> Result<(), Fault> {
    check_text(name, text)?;
    let is_stray = |c: char| c.is_whitespace() || matches!(c, '<' | '>' | '"' | '\\' | '^' | '`');
    match text.chars().any(is_stray) {
        true => Err(invalid(name, "it is no URI reference")),
        false => Ok(()),
    }
}

impl<F: fmt::Display> fmt::Display for CloudEventError<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CloudEventError::Missing { attribute } => {
                write!(f, "this is no CloudEvent: `{attribute}` is missing")
            }
            CloudEventError::Duplicate { attribute } => {
                write!(
                    f,
                    "`{attribute}` is there twice; a CloudEvent has each attribute once"
                )
            }
            CloudEventError::SpecVersion { found } => {
                write!(
                    f,
                    "this is a CloudEvent of version `{found}`; only 1.0 is understood"
                )
            }
            CloudEventError::WrongType { expected, found } => {
                write!(f, "this is a `{found}` and no `{expected}`")
            }
            CloudEventError::Invalid { attribute, reason } => {
                write!(
                    f,
                    "`{attribute}` of a CloudEvent is not as it has to be: {reason}"
                )
            }
            CloudEventError::Name { attribute } => {
                write!(
                    f,
                    "`{attribute}` cannot be the name of an attribute: use lower-case letters and digits"
                )
            }
            CloudEventError::Format(error) => write!(f, "this cannot be read: {error}"),
        }
    }
}

impl<F: Error + 'static> Error for CloudEventError<F> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            CloudEventError::Format(error) => Some(error),
            _ => None,
        }
    }
}

/// Writes a path of the tree as a URI reference.
pub(crate) fn source_of(path: &str) -> String {
    let mut source = String::with_capacity(path.len() + 1);
    source.push('/');
    for byte in path.bytes() {
        match byte {
            // What may stand in a path of a URI, and the slash.
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => source.push(char::from(byte)),
            b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+'
            | b',' | b';' | b'=' | b':' | b'@' | b'/' => source.push(char::from(byte)),
            byte => {
                const HEX: &[u8; 16] = b"0123456789ABCDEF";
                source.push('%');
                source.push(char::from(HEX[usize::from(byte >> 4)]));
                source.push(char::from(HEX[usize::from(byte & 15)]));
            }
        }
    }
    source
}
