//! How an event is read: its members in any order, what is wrong with it told by kind.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{SeqDeserializer, UnitDeserializer};
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use super::{
    Attribute, CloudEvent, CloudEventError, Envelope, EventId, Fault, SPEC_VERSION, base64,
    invalid, time,
};

/// Reads an event, which has to be of this type if one is expected.
pub(super) fn read<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
    expected: Option<&'static str>,
) -> Result<(Envelope, T), CloudEventError<D::Error>> {
    let mut fault = None;
    let members = Members {
        fault: &mut fault,
        expected,
        data: PhantomData,
    };
    // An error on its way through the format becomes one of the format: what it was is left beside.
    let read = deserializer.deserialize_map(members);
    read.map_err(|error| match fault {
        Some(fault) => fault.widen(),
        None => CloudEventError::Format(error),
    })
}

impl<'de> Deserialize<'de> for Envelope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Envelope::read(deserializer).map_err(flatten)
    }
}

impl<'de, E: Deserialize<'de>> Deserialize<'de> for CloudEvent<E> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (envelope, data) = read(deserializer, None).map_err(flatten)?;
        Ok(CloudEvent { envelope, data })
    }
}

impl<'de> Deserialize<'de> for EventId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(EventId::from)
    }
}

fn flatten<E: Error>(error: CloudEventError<E>) -> E {
    match error {
        CloudEventError::Format(error) => error,
        fault => E::custom(fault),
    }
}

struct Members<'f, T> {
    fault: &'f mut Option<Fault>,
    expected: Option<&'static str>,
    data: PhantomData<T>,
}

impl<T> Members<'_, T> {
    /// Leaves what is wrong to whoever reads.
    fn fail<E: Error>(&mut self, fault: Fault) -> E {
        let error = E::custom(&fault);
        *self.fault = Some(fault);
        error
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<'_, T> {
    type Value = (Envelope, T);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a CloudEvent, which is an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut attributes = BTreeMap::new();
        let (mut data, mut is_base64) = (None, false);
        while let Some(name) = map.next_key::<String>()? {
            let is_data = name == "data";
            let is_twice = match is_data {
                true => data.is_some() && !is_base64,
                false => attributes.contains_key(&name) || (name == "data_base64" && is_base64),
            };
            if is_twice {
                return Err(self.fail(CloudEventError::Duplicate { attribute: name }));
            }
            if is_data {
                if is_base64 {
                    return Err(self.fail(both()));
                }
                // Data of another type would only be found not to fit.
                if let (Some(expected), Some(Member::String(found))) =
                    (self.expected, attributes.get("type"))
                    && found != expected
                {
                    let found = found.clone();
                    return Err(self.fail(CloudEventError::WrongType { expected, found }));
                }
                data = Some(map.next_value::<T>()?);
                continue;
            }
            let member = map.next_value_seed(AnyMember)?;
            if name == "data_base64" {
                let text = match member {
                    Member::Null => continue,
                    Member::String(text) => text,
                    _ => return Err(self.fail(invalid(&name, "it is no text"))),
                };
                if data.is_some() {
                    return Err(self.fail(both()));
                }
                let Some(bytes) = base64::read(&text) else {
                    return Err(self.fail(invalid(&name, "it is no base64")));
                };
                data = Some(T::deserialize(SeqDeserializer::new(bytes.into_iter()))?);
                is_base64 = true;
                continue;
            }
            attributes.insert(name, member);
        }
        let envelope = match open(attributes, self.expected) {
            Ok(envelope) => envelope,
            Err(fault) => return Err(self.fail(fault)),
        };
        let data = match data {
            Some(data) => data,
            // An event may have none, where its type can do without.
            None => match T::deserialize(UnitDeserializer::<A::Error>::new()) {
                Ok(data) => data,
                Err(_) => return Err(self.fail(CloudEventError::Missing { attribute: "data" })),
            },
        };
        Ok((envelope, data))
    }
}

fn both() -> Fault {
    invalid("data_base64", "there is `data` as well")
}

/// Makes an envelope of all members but the data.
fn open(
    mut attributes: BTreeMap<String, Member>,
    expected: Option<&'static str>,
) -> Result<Envelope, Fault> {
    let mut text = |name: &'static str| match attributes.remove(name) {
        None | Some(Member::Null) => Ok(None),
        Some(Member::String(text)) => Ok(Some(text)),
        Some(_) => Err(invalid(name, "it is no text")),
    };
    let missing = |attribute| CloudEventError::Missing { attribute };
    // The version first: what another one requires is not known.
    let version = text("specversion")?.ok_or(missing("specversion"))?;
    if version != SPEC_VERSION {
        return Err(CloudEventError::SpecVersion { found: version });
    }
    let id = text("id")?.ok_or(missing("id"))?;
    let source = text("source")?.ok_or(missing("source"))?;
    let event_type = text("type")?.ok_or(missing("type"))?;
    if let Some(expected) = expected
        && event_type != expected
    {
        return Err(CloudEventError::WrongType {
            expected,
            found: event_type,
        });
    }
    let time = match text("time")? {
        Some(time) => match time::read(&time) {
            Some(time) => Some(time),
            None => return Err(invalid("time", "it is no time as RFC 3339 writes them")),
        },
        None => None,
    };
    let mut envelope = Envelope {
        subject: text("subject")?,
        key: text("partitionkey")?,
        time,
        content_type: text("datacontenttype")?,
        schema: text("dataschema")?,
        correlation_id: text("correlationid")?.map(EventId::from),
        causation_id: text("causationid")?.map(EventId::from),
        traceparent: text("traceparent")?,
        tracestate: text("tracestate")?,
        ..Envelope::new(id, source, event_type)
    };
    for (name, member) in attributes {
        let value = match member {
            Member::Null => continue,
            Member::Boolean(value) => Attribute::Boolean(value),
            Member::Integer(value) => Attribute::Integer(value),
            Member::String(value) => Attribute::String(value),
            Member::Other(reason) => return Err(invalid(&name, reason)),
        };
        envelope.extensions.insert(name, value);
    }
    envelope.check()?;
    Ok(envelope)
}

/// The value of any member but the data.
enum Member {
    Null,
    Boolean(bool),
    Integer(i32),
    String(String),
    /// What no attribute can be, and why.
    Other(&'static str),
}

struct AnyMember;

const TOO_LARGE: &str = "it is a number of more than 32 bits";

impl<'de> DeserializeSeed<'de> for AnyMember {
    type Value = Member;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Member, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for AnyMember {
    type Value = Member;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the value of an attribute")
    }

    fn visit_unit<E: Error>(self) -> Result<Member, E> {
        Ok(Member::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Member, E> {
        Ok(Member::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Member, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Member, E> {
        Ok(Member::Boolean(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Member, E> {
        let value = i32::try_from(value);
        Ok(value.map_or(Member::Other(TOO_LARGE), Member::Integer))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Member, E> {
        let value = i32::try_from(value);
        Ok(value.map_or(Member::Other(TOO_LARGE), Member::Integer))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Member, E> {
        Ok(Member::Other("it is no whole number"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Member, E> {
        Ok(Member::String(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Member, E> {
        Ok(Member::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Member, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Member::Other("it is a list"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Member, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Member::Other("it is an object"))
    }
}
