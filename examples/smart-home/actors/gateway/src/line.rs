//! One recorded line taken apart: time, topic, payload.

use std::fmt;

use home_protocol::{At, LINE_MAX};
use serde_json::Value;

/// A report as it was on the wire.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Report {
    pub(crate) at: At,
    pub(crate) topic: String,
    /// The payload: what a JSON payload says, or a string for one that is not JSON.
    pub(crate) payload: Value,
}

/// Why a line is not a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BadLine {
    TooLong,
    NotUtf8 { at: usize },
    NotJson(String),
    NoField(&'static str),
    BadTime(String),
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadLine::TooLong => write!(f, "longer than {LINE_MAX} bytes"),
            BadLine::NotUtf8 { at } => write!(f, "byte {at} is not UTF-8"),
            BadLine::NotJson(why) => write!(f, "not a JSON object: {why}"),
            BadLine::NoField(name) => write!(f, "has no {name:?}"),
            BadLine::BadTime(ts) => {
                write!(
                    f,
                    "the \"ts\" {ts} is neither milliseconds since 1970 nor RFC 3339"
                )
            }
        }
    }
}

/// Reads `{"ts": <ms or RFC 3339>, "topic": "...", "payload": <JSON, or text>}`.
///
/// A payload given as text is what an MQTT recorder writes; where the text is
/// JSON, it counts as that.
pub(crate) fn parse(bytes: &[u8]) -> Result<Report, BadLine> {
    if bytes.len() > LINE_MAX {
        return Err(BadLine::TooLong);
    }
    let text = std::str::from_utf8(bytes).map_err(|e| BadLine::NotUtf8 {
        at: e.valid_up_to(),
    })?;
    let value: Value = serde_json::from_str(text).map_err(|e| BadLine::NotJson(e.to_string()))?;
    let Value::Object(mut fields) = value else {
        return Err(BadLine::NotJson("another kind of value".to_owned()));
    };
    let at = time(&fields.remove("ts").ok_or(BadLine::NoField("ts"))?)?;
    let Some(Value::String(topic)) = fields.remove("topic") else {
        return Err(BadLine::NoField("topic"));
    };
    let payload = match fields
        .remove("payload")
        .ok_or(BadLine::NoField("payload"))?
    {
        Value::String(text) => serde_json::from_str(&text).unwrap_or(Value::String(text)),
        value => value,
    };
    Ok(Report { at, topic, payload })
}

fn time(ts: &Value) -> Result<At, BadLine> {
    let bad = || BadLine::BadTime(ts.to_string().chars().take(64).collect());
    match ts {
        Value::Number(number) => number
            .as_i64()
            // A recorder may write fractions of a millisecond; what is out of range is no time.
            .or_else(|| {
                number
                    .as_f64()
                    .filter(|ms| ms.abs() < 1e18)
                    .map(|ms| ms as i64)
            })
            .map(At)
            .ok_or_else(bad),
        Value::String(text) => humantime::parse_rfc3339_weak(text)
            .ok()
            .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok())
            .and_then(|since| i64::try_from(since.as_millis()).ok())
            .map(At)
            .ok_or_else(bad),
        _ => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_milliseconds_or_rfc_3339() {
        let at = |ts: &str| {
            parse(format!(r#"{{"ts":{ts},"topic":"t","payload":{{}}}}"#).as_bytes()).map(|r| r.at)
        };
        assert_eq!(at("1768435200000"), Ok(At(1_768_435_200_000)));
        assert_eq!(at("1768435200000.75"), Ok(At(1_768_435_200_000)));
        assert_eq!(at(r#""2026-01-15T00:00:00Z""#), Ok(At(1_768_435_200_000)));
        assert!(matches!(at("1e300"), Err(BadLine::BadTime(_))));
        assert!(matches!(at(r#""yesterday""#), Err(BadLine::BadTime(_))));
        assert!(matches!(at("null"), Err(BadLine::BadTime(_))));
    }

    #[test]
    fn a_payload_that_is_text_with_json_in_it_counts_as_json() {
        let payload = |p: &str| {
            parse(format!(r#"{{"ts":1,"topic":"t","payload":{p}}}"#).as_bytes())
                .unwrap()
                .payload
        };
        assert_eq!(payload(r#""{\"a\":1}""#), serde_json::json!({"a": 1}));
        assert_eq!(payload(r#""online""#), Value::String("online".to_owned()));
    }

    #[test]
    fn each_bad_line_says_what_is_wrong() {
        let why = |bytes: &[u8]| parse(bytes).unwrap_err().to_string();
        assert_eq!(why(&vec![b'x'; LINE_MAX + 1]), "longer than 1048576 bytes");
        assert_eq!(why(b"{\"ts\":1,\xff"), "byte 8 is not UTF-8");
        assert!(why(b"{").starts_with("not a JSON object: EOF"));
        assert_eq!(why(b"[]"), "not a JSON object: another kind of value");
        assert_eq!(why(br#"{"ts":1,"payload":{}}"#), "has no \"topic\"");
        assert_eq!(why(br#"{"ts":1,"topic":"t"}"#), "has no \"payload\"");
    }
}
