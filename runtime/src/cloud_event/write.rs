//! How an event is written: the attributes first, in one order, and then the data.

use std::any::Any;

use serde::ser::{Error, Serialize, SerializeMap, Serializer};

use super::{Attribute, CloudEvent, Envelope, SPEC_VERSION, base64, time};

impl Serialize for Envelope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        attributes(self, serializer)?.end()
    }
}

impl<E: Serialize + 'static> Serialize for CloudEvent<E> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = attributes(&self.envelope, serializer)?;
        let data: &dyn Any = &self.data;
        if self.envelope.is_json() {
            map.serialize_entry("data", &self.data)?;
        } else if let Some(text) = data.downcast_ref::<String>() {
            map.serialize_entry("data", text)?;
        } else if let Some(bytes) = data.downcast_ref::<Vec<u8>>() {
            map.serialize_entry("data_base64", &base64::write(bytes))?;
        } else {
            return Err(S::Error::custom(
                "data that is not JSON has to be a `String` or a `Vec<u8>`: convert it, or say that it is JSON",
            ));
        }
        map.end()
    }
}

fn attributes<S: Serializer>(
    envelope: &Envelope,
    serializer: S,
) -> Result<S::SerializeMap, S::Error> {
    envelope.check().map_err(S::Error::custom)?;
    let mut map = serializer.serialize_map(None)?;
    map.serialize_entry("specversion", SPEC_VERSION)?;
    map.serialize_entry("id", &envelope.id)?;
    map.serialize_entry("source", &envelope.source)?;
    map.serialize_entry("type", &envelope.event_type)?;
    let time = envelope.time.and_then(time::write);
    let texts = [
        ("time", &time),
        ("subject", &envelope.subject),
        ("partitionkey", &envelope.key),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            map.serialize_entry(name, text)?;
        }
    }
    let ids = [
        ("correlationid", &envelope.correlation_id),
        ("causationid", &envelope.causation_id),
    ];
    for (name, id) in ids {
        if let Some(id) = id {
            map.serialize_entry(name, id)?;
        }
    }
    let texts = [
        ("traceparent", &envelope.traceparent),
        ("tracestate", &envelope.tracestate),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            map.serialize_entry(name, text)?;
        }
    }
    for (name, value) in &envelope.extensions {
        match value {
            Attribute::Boolean(value) => map.serialize_entry(name, value)?,
            Attribute::Integer(value) => map.serialize_entry(name, value)?,
            Attribute::String(value) => map.serialize_entry(name, value)?,
        }
    }
    let texts = [
        ("datacontenttype", &envelope.content_type),
        ("dataschema", &envelope.schema),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            map.serialize_entry(name, text)?;
        }
    }
    Ok(map)
}
