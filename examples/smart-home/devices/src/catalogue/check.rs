//! Does a payload keep to what its definition exposes?

use std::fmt;

use serde_json::{Map, Value};

use super::{Definition, Expose, Kind};

/// One property of a payload that its definition does not allow.
#[derive(Clone, Debug, PartialEq)]
pub struct Mismatch {
    /// The property, with a dot where it is inside another: `color.x`.
    pub property: String,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a property.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// The value is of another type.
    WrongType {
        /// The type that the definition asks for.
        expected: &'static str,
        /// The value that was found, as JSON.
        found: String,
    },
    /// The number is too small or too large.
    OutOfRange {
        /// The number that was found.
        found: f64,
        /// The smallest number allowed, if there is one.
        min: Option<f64>,
        /// The largest number allowed, if there is one.
        max: Option<f64>,
        /// The unit of the three.
        unit: Option<String>,
    },
    /// The value is of the right type, but not one of those allowed.
    NotAllowed {
        /// The value that was found, as JSON.
        found: String,
        /// The values that are allowed, as JSON.
        allowed: Vec<String>,
    },
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ", self.property)?;
        match &self.fault {
            Fault::WrongType { expected, found } => {
                write!(f, "is {found}, which is not {expected}")
            }
            Fault::OutOfRange {
                found,
                min,
                max,
                unit,
            } => {
                let unit = unit.as_ref().map(|u| format!(" {u}")).unwrap_or_default();
                match (min, max) {
                    (Some(min), Some(max)) => write!(
                        f,
                        "is {found}{unit}, which is not between {min}{unit} and {max}{unit}"
                    ),
                    (Some(min), None) => {
                        write!(f, "is {found}{unit}, which is less than {min}{unit}")
                    }
                    (None, Some(max)) => {
                        write!(f, "is {found}{unit}, which is more than {max}{unit}")
                    }
                    (None, None) => write!(f, "is {found}{unit}, which is no possible value"),
                }
            }
            Fault::NotAllowed { found, allowed } => {
                write!(f, "is {found}, which is not one of {}", allowed.join(", "))
            }
        }
    }
}

impl std::error::Error for Mismatch {}

/// Returns the properties of `payload` that have a wrong type, are out of range or not allowed.
///
/// Tolerated, because every zigbee2mqtt installation has them: properties that the definition
/// does not know (`last_seen`, `update`), and `null`, which stands for "not known yet".
///
/// ```
/// use home_devices::{catalogue, check};
///
/// let sensor = catalogue().get("SONOFF", "SNZB-02").expect("in the catalogue");
/// let payload = serde_json::json!({"temperature": "NaN", "battery": 120, "last_seen": 1});
/// let faults: Vec<String> = check(sensor, payload.as_object().expect("an object"))
///     .iter()
///     .map(ToString::to_string)
///     .collect();
/// assert_eq!(
///     faults,
///     [
///         "`battery` is 120 %, which is not between 0 % and 100 %",
///         "`temperature` is \"NaN\", which is not a number",
///     ]
/// );
/// ```
#[must_use]
pub fn check(definition: &Definition, payload: &Map<String, Value>) -> Vec<Mismatch> {
    let mut mismatches = Vec::new();
    for (property, value) in payload {
        let candidates: Vec<&Expose> = definition
            .properties()
            .filter(|expose| expose.property.as_ref() == Some(property))
            .collect();
        check_any(property, candidates.into_iter(), value, &mut mismatches);
    }
    mismatches.sort_by(|a, b| a.property.cmp(&b.property));
    mismatches
}

/// Checks a value against one expose alone, as a command to set it is.
pub(crate) fn check_one(property: &str, expose: &Expose, value: &Value) -> Option<Mismatch> {
    let mut mismatches = Vec::new();
    check_any(property, std::iter::once(expose), value, &mut mismatches);
    mismatches.into_iter().next()
}

/// One property may be exposed more than once: one fit is enough, and without one, what the first
/// says is reported. Composites (`color` as xy, and as hue and saturation) are taken together.
fn check_any<'a>(
    property: &str,
    candidates: impl Iterator<Item = &'a Expose> + Clone,
    value: &Value,
    out: &mut Vec<Mismatch>,
) {
    let composites = candidates
        .clone()
        .filter(|expose| expose.kind == Kind::Composite);
    if let Some(object) = value.as_object()
        && composites.clone().next().is_some()
    {
        for (key, value) in object {
            let features: Vec<&Expose> = composites
                .clone()
                .flat_map(|expose| &expose.features)
                .filter(|feature| feature.property.as_ref() == Some(key))
                .collect();
            check_any(
                &format!("{property}.{key}"),
                features.into_iter(),
                value,
                out,
            );
        }
        return;
    }
    let mut first = None;
    for expose in candidates {
        let mut mismatches = Vec::new();
        check_value(property, expose, value, &mut mismatches);
        if mismatches.is_empty() {
            return;
        }
        first.get_or_insert(mismatches);
    }
    out.extend(first.unwrap_or_default());
}

fn check_value(property: &str, expose: &Expose, value: &Value, out: &mut Vec<Mismatch>) {
    if value.is_null() {
        return;
    }
    let fault = match &expose.kind {
        Kind::Binary { on, off, .. } => (value != on && value != off).then(|| {
            if value.is_string() == on.is_string() && value.is_boolean() == on.is_boolean() {
                not_allowed(value, &[on.clone(), off.clone()])
            } else {
                wrong_type(
                    value,
                    if on.is_boolean() {
                        "a boolean"
                    } else {
                        "a word"
                    },
                )
            }
        }),
        Kind::Numeric { min, max, .. } => match value.as_f64() {
            None => Some(wrong_type(value, "a number")),
            Some(found) => {
                let outside = min.is_some_and(|min| found < min)
                    || max.is_some_and(|max| found > max)
                    || !found.is_finite();
                outside.then(|| Fault::OutOfRange {
                    found,
                    min: *min,
                    max: *max,
                    unit: expose.unit.clone(),
                })
            }
        },
        Kind::Enum { values } => {
            (!values.iter().any(|v| fits(v, value))).then(|| not_allowed(value, values))
        }
        Kind::Text => (!value.is_string()).then(|| wrong_type(value, "a text")),
        Kind::List { item } => match value.as_array() {
            None => Some(wrong_type(value, "a list")),
            Some(values) => {
                if let Some(item) = item {
                    for (index, value) in values.iter().enumerate() {
                        let property = format!("{property}.{index}");
                        check_any(&property, std::iter::once(&**item), value, out);
                    }
                }
                None
            }
        },
        // An object never gets here.
        Kind::Composite => Some(wrong_type(value, "an object")),
        // Groups have no value of their own, and of an unknown kind nothing is known.
        Kind::Light
        | Kind::Switch
        | Kind::Climate
        | Kind::Cover
        | Kind::Lock
        | Kind::Fan
        | Kind::Other(_) => None,
    };
    out.extend(fault.map(|fault| Mismatch {
        property: String::from(property),
        fault,
    }));
}

/// Whether `value` is the allowed one; `region_*_enter` allows `region_1_enter`.
fn fits(allowed: &Value, value: &Value) -> bool {
    match (allowed.as_str(), value.as_str()) {
        (Some(allowed), Some(value)) => match allowed.split_once('*') {
            Some((head, tail)) => {
                value.len() >= head.len() + tail.len()
                    && value.starts_with(head)
                    && value.ends_with(tail)
            }
            None => allowed == value,
        },
        _ => allowed == value,
    }
}

fn wrong_type(value: &Value, expected: &'static str) -> Fault {
    Fault::WrongType {
        expected,
        found: value.to_string(),
    }
}

fn not_allowed(value: &Value, allowed: &[Value]) -> Fault {
    Fault::NotAllowed {
        found: value.to_string(),
        allowed: allowed.iter().map(Value::to_string).collect(),
    }
}
