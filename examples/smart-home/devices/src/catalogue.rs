//! What real devices expose: models, properties, units, ranges and allowed values.
//!
//! Three doors, none of which does I/O:
//!
//! | door | answers |
//! |---|---|
//! | [`catalogue()`] | which models do we know, and what does each expose? (embedded, derived from zigbee-herdsman-converters) |
//! | [`Device::list`] | which devices does *this* zigbee2mqtt installation have? (its retained `bridge/devices`) |
//! | [`check`] | does a payload keep to what its definition exposes? |
//!
//! It is not a driver: it says what `brightness` may be, not what to do with it.

mod check;
mod device;

use std::sync::LazyLock;

use serde_json::{Map, Value};

pub(crate) use self::check::check_one;
pub use self::check::{Fault, Mismatch, check};
pub use self::device::{Device, NotDevices};

/// The embedded catalogue as text, parsed once on first use.
const CATALOGUE_JSON: &str = include_str!("../catalogue/catalogue.json");

/// Exposes nest a few levels deep at most; a message that nests deeper is cut off here.
const DEPTH_MAX: usize = 16;

/// The models that the crate ships with.
#[derive(Clone, Debug, PartialEq)]
pub struct Catalogue {
    version: String,
    definitions: Vec<Definition>,
}

impl Catalogue {
    /// Returns the version of zigbee-herdsman-converters that the catalogue was derived from.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Returns the definition of one model, or `None` if the catalogue does not have it.
    #[must_use]
    pub fn get(&self, vendor: &str, model: &str) -> Option<&Definition> {
        self.iter().find(|d| d.vendor == vendor && d.model == model)
    }

    /// Iterates over all definitions, sorted by vendor and model.
    pub fn iter(&self) -> std::slice::Iter<'_, Definition> {
        self.definitions.iter()
    }

    /// Returns how many models the catalogue has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.definitions.len()
    }

    /// Returns whether the catalogue has no models; it always has some.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.definitions.is_empty()
    }
}

impl<'a> IntoIterator for &'a Catalogue {
    type Item = &'a Definition;
    type IntoIter = std::slice::Iter<'a, Definition>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Returns the catalogue of models that the crate ships with.
///
/// ```
/// use home_devices::catalogue;
///
/// let sensor = catalogue().get("Aqara", "WSDCGQ11LM").expect("in the catalogue");
/// let temperature = sensor.property("temperature").expect("it measures temperature");
/// assert_eq!(temperature.unit.as_deref(), Some("°C"));
/// ```
#[must_use]
pub fn catalogue() -> &'static Catalogue {
    static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
        let json: Value = match serde_json::from_str(CATALOGUE_JSON) {
            Ok(json) => json,
            // The file is compiled in and parsed by the tests: this cannot be another file's fault.
            Err(error) => panic!("the embedded catalogue is JSON: {error}"),
        };
        Catalogue {
            version: text(&json, "version"),
            definitions: list(&json, "definitions")
                .iter()
                .filter_map(Definition::from_value)
                .collect(),
        }
    });
    &CATALOGUE
}

/// One device model and what it exposes.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// Who makes it: `Aqara`.
    pub vendor: String,
    /// The maker's model number: `WSDCGQ11LM`.
    pub model: String,
    /// What it is, in a few words.
    pub description: String,
    /// The ids by which devices of this model name themselves on the air: `lumi.weather`.
    pub zigbee_model: Vec<String>,
    /// What it exposes, in the order of the definition.
    pub exposes: Vec<Expose>,
}

impl Definition {
    /// Reads a definition, as in the catalogue or in a `bridge/devices` entry.
    ///
    /// Lenient: what is missing is empty, what is unknown is skipped. `None` only if `value` is
    /// not an object.
    #[must_use]
    pub fn from_value(value: &Value) -> Option<Definition> {
        value.is_object().then(|| Definition {
            vendor: text(value, "vendor"),
            model: text(value, "model"),
            description: text(value, "description"),
            zigbee_model: list(value, "zigbeeModel")
                .iter()
                .filter_map(|id| id.as_str().map(String::from))
                .collect(),
            exposes: exposes(value, "exposes", DEPTH_MAX),
        })
    }

    /// Finds the first expose that publishes `name`, also inside a light, switch, climate, cover or lock.
    ///
    /// Those are only groups: their features are top-level properties of the payload. A composite
    /// (`color`) is a property itself, whose features are inside its value: see [`Expose::feature`].
    #[must_use]
    pub fn property(&self, name: &str) -> Option<&Expose> {
        self.properties()
            .find(|expose| expose.property.as_deref() == Some(name))
    }

    /// Iterates over everything that may be a top-level property of a payload.
    pub fn properties(&self) -> impl Iterator<Item = &Expose> {
        let mut stack: Vec<&Expose> = self.exposes.iter().rev().collect();
        std::iter::from_fn(move || {
            loop {
                let next = stack.pop()?;
                if next.property.is_some() {
                    return Some(next);
                }
                stack.extend(next.features.iter().rev());
            }
        })
    }

    /// Returns whether the device has a group of this kind: `has(&Kind::Climate)` for a thermostat.
    #[must_use]
    pub fn has(&self, kind: &Kind) -> bool {
        self.exposes.iter().any(|expose| expose.kind == *kind)
    }
}

/// Something a device exposes: a property, or a group of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Expose {
    /// What sort of value it is, with its bounds.
    pub kind: Kind,
    /// The name of the thing measured or controlled; groups may have none.
    pub name: Option<String>,
    /// The key in the payload; `None` for groups, whose features are keys of the payload themselves.
    pub property: Option<String>,
    /// Which part of the device, where it has several: `l1`, `left`.
    pub endpoint: Option<String>,
    /// The unit of the value: `°C`.
    pub unit: Option<String>,
    /// What one may do with it.
    pub access: Access,
    /// What a group or a composite consists of.
    pub features: Vec<Expose>,
}

impl Expose {
    /// Finds a feature of a group or a composite by its property: `x` in `color`.
    #[must_use]
    pub fn feature(&self, name: &str) -> Option<&Expose> {
        self.features
            .iter()
            .find(|feature| feature.property.as_deref() == Some(name))
    }

    /// Writes the expose as zigbee2mqtt does.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut out = Map::new();
        let mut put = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                out.insert(String::from(key), value);
            }
        };
        put("type", Some(self.kind.name().into()));
        put("name", self.name.clone().map(Value::from));
        put("property", self.property.clone().map(Value::from));
        put("endpoint", self.endpoint.clone().map(Value::from));
        put("unit", self.unit.clone().map(Value::from));
        put("access", (self.access.0 != 0).then(|| self.access.0.into()));
        match &self.kind {
            Kind::Binary { on, off, toggle } => {
                put("value_on", Some(on.clone()));
                put("value_off", Some(off.clone()));
                put("value_toggle", toggle.clone());
            }
            Kind::Numeric { min, max, step } => {
                put("value_min", min.map(number));
                put("value_max", max.map(number));
                put("value_step", step.map(number));
            }
            Kind::Enum { values } => put("values", Some(Value::Array(values.clone()))),
            Kind::List { item } => put("item_type", item.as_deref().map(Expose::to_value)),
            _ => {}
        }
        if !self.features.is_empty() {
            put(
                "features",
                Some(self.features.iter().map(Expose::to_value).collect()),
            );
        }
        Value::Object(out)
    }

    fn from_value(value: &Value, depth: usize) -> Option<Expose> {
        if depth == 0 || !value.is_object() {
            return None;
        }
        let optional = |key: &str| value.get(key).and_then(Value::as_str).map(String::from);
        let float = |key: &str| value.get(key).and_then(Value::as_f64);
        let any = |key: &str| value.get(key).cloned();
        let kind = match optional("type")?.as_str() {
            "binary" => Kind::Binary {
                on: any("value_on").unwrap_or(Value::Bool(true)),
                off: any("value_off").unwrap_or(Value::Bool(false)),
                toggle: any("value_toggle"),
            },
            "numeric" => Kind::Numeric {
                min: float("value_min"),
                max: float("value_max"),
                step: float("value_step"),
            },
            "enum" => Kind::Enum {
                values: list(value, "values").to_vec(),
            },
            "text" => Kind::Text,
            "list" => Kind::List {
                item: value
                    .get("item_type")
                    .and_then(|item| Expose::from_value(item, depth - 1))
                    .map(Box::new),
            },
            "composite" => Kind::Composite,
            "light" => Kind::Light,
            "switch" => Kind::Switch,
            "climate" => Kind::Climate,
            "cover" => Kind::Cover,
            "lock" => Kind::Lock,
            "fan" => Kind::Fan,
            other => Kind::Other(String::from(other)),
        };
        Some(Expose {
            kind,
            name: optional("name"),
            property: optional("property"),
            endpoint: optional("endpoint"),
            unit: optional("unit"),
            // Three bits are in use; what a future version adds in higher ones is cut off.
            access: Access(
                value
                    .get("access")
                    .and_then(Value::as_u64)
                    .map_or(0, |bits| (bits & 7) as u8),
            ),
            features: exposes(value, "features", depth - 1),
        })
    }
}

/// What sort of value an expose has.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Kind {
    /// One of two values, not always booleans: `ON` and `OFF`, `LOCK` and `UNLOCK`.
    Binary {
        /// The value that means on; for a contact sensor `false`.
        on: Value,
        /// The value that means off.
        off: Value,
        /// The value that, when set, changes to the other one.
        toggle: Option<Value>,
    },
    /// A number.
    Numeric {
        /// The smallest value, if there is one.
        min: Option<f64>,
        /// The largest value, if there is one.
        max: Option<f64>,
        /// The distance between two values, if it is fixed.
        step: Option<f64>,
    },
    /// One of a few values: words, sometimes numbers.
    Enum {
        /// The allowed values; a `*` in a word stands for any characters.
        values: Vec<Value>,
    },
    /// Any text.
    Text,
    /// A list of values.
    List {
        /// What the items are.
        item: Option<Box<Expose>>,
    },
    /// An object; the features are its keys.
    Composite,
    /// A lamp.
    Light,
    /// Something that can be switched: a plug, a relay, a valve.
    Switch,
    /// A thermostat, radiator valve or air conditioner.
    Climate,
    /// A blind, curtain or shutter.
    Cover,
    /// A door lock.
    Lock,
    /// A fan.
    Fan,
    /// A kind that this crate does not know, by its name.
    Other(String),
}

impl Kind {
    /// Returns the name that zigbee2mqtt has for the kind.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Kind::Binary { .. } => "binary",
            Kind::Numeric { .. } => "numeric",
            Kind::Enum { .. } => "enum",
            Kind::Text => "text",
            Kind::List { .. } => "list",
            Kind::Composite => "composite",
            Kind::Light => "light",
            Kind::Switch => "switch",
            Kind::Climate => "climate",
            Kind::Cover => "cover",
            Kind::Lock => "lock",
            Kind::Fan => "fan",
            Kind::Other(name) => name,
        }
    }
}

/// What one may do with a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access(u8);

impl Access {
    /// Returns whether the device publishes the property.
    #[must_use]
    pub fn is_published(self) -> bool {
        self.0 & 1 != 0
    }

    /// Returns whether the property can be set with a message to `…/set`.
    #[must_use]
    pub fn is_settable(self) -> bool {
        self.0 & 2 != 0
    }

    /// Returns whether the device can be asked for the property with a message to `…/get`.
    #[must_use]
    pub fn is_gettable(self) -> bool {
        self.0 & 4 != 0
    }
}

/// Writes whole numbers without a fraction, as the source does.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 1e15 {
        Value::from(value as i64)
    } else {
        Value::from(value)
    }
}

fn text(value: &Value, key: &str) -> String {
    value
        .get(key)
        .and_then(Value::as_str)
        .map(String::from)
        .unwrap_or_default()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value
        .get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn exposes(value: &Value, key: &str, depth: usize) -> Vec<Expose> {
    list(value, key)
        .iter()
        .filter_map(|expose| Expose::from_value(expose, depth))
        .collect()
}
