//! One device at work: what it knows, and when it says so.
//!
//! As a real one it reports when something changed enough, not more often than its shortest
//! interval, and at the latest after its longest; and as zigbee2mqtt does it publishes everything
//! it knows each time. A property that its model does not expose is silently not reported, so that
//! the rest of the world can offer the same facts to every model.

use std::io::Write as _;
use std::ops::{Index, IndexMut};

use serde_json::Value;

use crate::catalogue::{Definition, check_one};
use crate::random::Random;

use super::home::{HOME, Id, Installed, Role};
use super::{MINUTE_MS, STEP_MS};

/// A value that a device reports.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Reading {
    /// A measured number and how many decimals the device gives.
    Number(f64, u8),
    /// A word that the world itself says.
    Word(&'static str),
    /// A switch or a state.
    Flag(bool),
    /// Whatever was set from outside.
    Given(Value),
}

impl From<bool> for Reading {
    fn from(flag: bool) -> Reading {
        Reading::Flag(flag)
    }
}

impl From<&'static str> for Reading {
    fn from(word: &'static str) -> Reading {
        Reading::Word(word)
    }
}

impl From<Value> for Reading {
    fn from(value: Value) -> Reading {
        match value {
            Value::Bool(flag) => Reading::Flag(flag),
            // The same word must be equal, whether the world or a command said it.
            Value::String(word) if word == "ON" => Reading::Word("ON"),
            Value::String(word) if word == "OFF" => Reading::Word("OFF"),
            other => Reading::Given(other),
        }
    }
}

impl Reading {
    fn write(&self, out: &mut Vec<u8>) {
        // Writing to a vector cannot fail, so there is no error to hand on.
        let _ = match self {
            Reading::Number(value, 0) => write!(out, "{}", value.round() as i64),
            Reading::Number(value, decimals) => {
                let scale = 10_f64.powi(i32::from(*decimals));
                let rounded = (value * scale).round() / scale;
                // Adding zero turns a negative zero into a plain one.
                write!(out, "{}", rounded + 0.0)
            }
            Reading::Word(word) => write!(out, "\"{word}\""),
            Reading::Flag(flag) => write!(out, "{flag}"),
            Reading::Given(value) => write!(out, "{value}"),
        };
    }

    fn as_number(&self) -> Option<f64> {
        match self {
            Reading::Number(value, _) => Some(*value),
            Reading::Given(value) => value.as_f64(),
            Reading::Word(_) | Reading::Flag(_) => None,
        }
    }

    fn is_word(&self, word: &str) -> bool {
        match self {
            Reading::Word(own) => *own == word,
            Reading::Given(value) => value.as_str() == Some(word),
            Reading::Number(..) | Reading::Flag(_) => false,
        }
    }
}

#[derive(Debug)]
struct Known {
    property: &'static str,
    reading: Reading,
    reported: f64,
}

/// How full the cell is, and how fast it empties.
#[derive(Debug)]
pub(super) struct Battery {
    pub(super) percent: f64,
    pub(super) percent_per_day: f64,
    property: &'static str,
    /// Whether `voltage` is that of the cell, in mV.
    has_voltage: bool,
}

/// A device at work.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) info: &'static Installed,
    pub(super) definition: &'static Definition,
    pub(super) topic: String,
    pub(super) battery: Option<Battery>,
    pub(super) random: Random,
    /// The properties that the model publishes.
    published: Vec<&'static str>,
    /// Sorted by property.
    known: Vec<Known>,
    link: f64,
    due_now: bool,
    due_soon: bool,
    last_ms: i64,
    shortest_ms: i64,
    longest_ms: i64,
}

impl Unit {
    pub(super) fn new(id: usize, info: &'static Installed, seed: u64) -> Unit {
        let Some(definition) = info.definition() else {
            panic!("{} {} is in the catalogue", info.vendor, info.model);
        };
        let published: Vec<&'static str> = definition
            .properties()
            .filter(|expose| expose.access.is_published())
            .filter_map(|expose| expose.property.as_deref())
            .collect();
        let mut random = Random::new(seed, "unit", id as u64);
        let battery = ["battery", "battpercentage"]
            .into_iter()
            .find(|property| published.contains(property))
            .map(|property| Battery {
                percent: random.between(38.0, 100.0),
                percent_per_day: random.between(0.03, 0.15),
                property,
                has_voltage: definition
                    .property("voltage")
                    .is_some_and(|voltage| voltage.unit.as_deref() == Some("mV")),
            });
        let is_metered = definition.property("power").is_some();
        let (shortest_ms, longest_ms) = intervals(info, is_metered);
        let mut unit = Unit {
            info,
            definition,
            topic: format!("zigbee2mqtt/{}", info.friendly_name),
            battery,
            link: random.between(70.0, 220.0),
            random,
            published,
            known: Vec::new(),
            due_now: true,
            due_soon: false,
            last_ms: i64::MIN,
            shortest_ms,
            longest_ms,
        };
        for (property, value) in SETTINGS {
            let expose = definition.property(property);
            // Settings differ in type between models: `alarm` words here, a boolean there.
            if expose.is_some_and(|e| check_one(property, e, &value.to_json()).is_none()) {
                unit.put(property, value.to_reading());
            }
        }
        unit.settle();
        unit
    }

    /// Learns a fact; a change is reported at once.
    pub(super) fn put(&mut self, property: &'static str, reading: impl Into<Reading>) {
        let reading = reading.into();
        match self.known.binary_search_by(|k| k.property.cmp(property)) {
            Ok(at) => {
                if self.known[at].reading != reading {
                    self.known[at].reading = reading;
                    self.due_now = true;
                }
            }
            Err(at) => {
                if self.published.contains(&property) {
                    self.known.insert(
                        at,
                        Known {
                            property,
                            reading,
                            reported: f64::NAN,
                        },
                    );
                    self.due_now = true;
                }
            }
        }
    }

    /// Learns a measurement; it is reported once it differs by `threshold` from the reported one.
    pub(super) fn measure(
        &mut self,
        property: &'static str,
        value: f64,
        decimals: u8,
        threshold: f64,
    ) {
        let reading = Reading::Number(value, decimals);
        match self.known.binary_search_by(|k| k.property.cmp(property)) {
            Ok(at) => {
                let known = &mut self.known[at];
                known.reading = reading;
                if (value - known.reported).abs() >= threshold {
                    self.due_soon = true;
                }
            }
            Err(at) => {
                if self.published.contains(&property) {
                    self.known.insert(
                        at,
                        Known {
                            property,
                            reading,
                            reported: value,
                        },
                    );
                    self.due_soon = true;
                }
            }
        }
    }

    /// Whether a property has this word now: `is("state", "ON")`.
    pub(super) fn is(&self, property: &str, word: &str) -> bool {
        self.reading(property).is_some_and(|r| r.is_word(word))
    }

    /// Whether a property is `true` now.
    pub(super) fn flag(&self, property: &str) -> bool {
        self.reading(property) == Some(&Reading::Flag(true))
    }

    /// The number that a property is now.
    pub(super) fn number(&self, property: &str) -> Option<f64> {
        self.reading(property).and_then(Reading::as_number)
    }

    fn reading(&self, property: &str) -> Option<&Reading> {
        let at = self
            .known
            .binary_search_by(|known| known.property.cmp(property))
            .ok()?;
        Some(&self.known[at].reading)
    }

    /// Adds one to a counter.
    pub(super) fn count(&mut self, property: &'static str) {
        if let Some(value) = self.number(property) {
            self.put(property, Reading::Number(value + 1.0, 0));
        }
    }

    /// Makes the device report at this step, changed or not.
    pub(super) fn report(&mut self) {
        self.due_now = true;
    }

    /// Returns what the device publishes at this step, if anything.
    pub(super) fn publish(&mut self, ms: i64) -> Option<Vec<u8>> {
        let silent_ms = ms.saturating_sub(self.last_ms);
        let due = self.due_now
            || (self.due_soon && silent_ms >= self.shortest_ms)
            || silent_ms >= self.longest_ms;
        if !due {
            return None;
        }
        self.due_now = false;
        self.due_soon = false;
        self.last_ms = ms;
        for known in &mut self.known {
            if let Reading::Number(value, _) = known.reading {
                known.reported = value;
            }
        }
        self.settle();
        Some(self.payload(&[]))
    }

    /// Writes everything that the device knows, with `extra` first: an `action`, or a quirk, which
    /// hides what the device knows under the same name.
    pub(super) fn payload(&mut self, extra: &[(&'static str, Reading)]) -> Vec<u8> {
        self.link = (self.link + self.random.between(-6.0, 6.0)).clamp(12.0, 255.0);
        let mut out = Vec::with_capacity(192);
        let mut put = |property: &str, reading: &Reading| {
            out.push(if out.is_empty() { b'{' } else { b',' });
            out.push(b'"');
            out.extend_from_slice(property.as_bytes());
            out.extend_from_slice(b"\":");
            reading.write(&mut out);
        };
        for (property, reading) in extra {
            put(property, reading);
        }
        for known in &self.known {
            if !extra.iter().any(|(name, _)| *name == known.property) {
                put(known.property, &known.reading);
            }
        }
        put("linkquality", &Reading::Number(self.link, 0));
        out.push(b'}');
        out
    }

    /// Lets the battery drain.
    pub(super) fn drain(&mut self, days: f64) {
        if let Some(battery) = &mut self.battery {
            battery.percent -= battery.percent_per_day * days;
            if battery.percent < EMPTY_PERCENT {
                battery.percent = 100.0;
            }
            let before = self.number("battery");
            self.settle();
            if before.is_some_and(|before| {
                before.round() != self.number("battery").unwrap_or(before).round()
            }) {
                self.due_soon = true;
            }
        }
    }

    /// Reads the own battery, which every report has with it.
    fn settle(&mut self) {
        let Some(battery) = &self.battery else { return };
        let (percent, property, has_voltage) =
            (battery.percent, battery.property, battery.has_voltage);
        self.learn(property, percent, 0);
        if has_voltage {
            // A lithium cell between empty and full, as Aqara's converter maps it to percent.
            self.learn("voltage", 2850.0 + 1.5 * percent.floor(), 0);
        }
    }

    /// Learns a number that alone is no reason to report.
    fn learn(&mut self, property: &'static str, value: f64, decimals: u8) {
        self.measure(property, value, decimals, f64::INFINITY);
    }
}

/// At this charge somebody changes the battery.
const EMPTY_PERCENT: f64 = 3.0;

/// The shortest and longest time between two reports, in milliseconds.
fn intervals(info: &Installed, is_metered: bool) -> (i64, i64) {
    let (shortest, longest) = match info.role {
        // Aqara's battery devices say hello every 50 minutes, most others every hour.
        _ if info.vendor == "Aqara" && info.role != Role::Plug && info.role != Role::Lamp => {
            (MINUTE_MS, 50 * MINUTE_MS)
        }
        // What meters power is chatty: the mains are never still.
        Role::Plug | Role::AirConditioner if is_metered => (STEP_MS, 2 * MINUTE_MS),
        Role::Radiator => (MINUTE_MS, 15 * MINUTE_MS),
        Role::Valve => (STEP_MS, 60 * MINUTE_MS),
        Role::Lamp | Role::Plug | Role::Cover => (STEP_MS, 60 * MINUTE_MS),
        _ => (MINUTE_MS, 60 * MINUTE_MS),
    };
    (shortest, longest)
}

/// A setting as it was left when the device was installed.
enum Setting {
    Word(&'static str),
    Flag(bool),
    Whole(i64),
}

impl Setting {
    fn to_json(&self) -> Value {
        match *self {
            Setting::Word(word) => word.into(),
            Setting::Flag(flag) => flag.into(),
            Setting::Whole(number) => number.into(),
        }
    }

    fn to_reading(&self) -> Reading {
        match *self {
            Setting::Word(word) => Reading::Word(word),
            Setting::Flag(flag) => Reading::Flag(flag),
            Setting::Whole(number) => Reading::Number(number as f64, 0),
        }
    }
}

/// What every device that has such a property starts with.
const SETTINGS: &[(&str, Setting)] = &[
    ("air_quality", Setting::Word("excellent")),
    ("alarm", Setting::Flag(false)),
    ("angle_x", Setting::Whole(1)),
    ("angle_y", Setting::Whole(-2)),
    ("angle_z", Setting::Whole(88)),
    ("battery_low", Setting::Flag(false)),
    ("battery_state", Setting::Word("high")),
    ("boost_heating", Setting::Word("OFF")),
    ("brightness", Setting::Whole(180)),
    ("child_lock", Setting::Word("UNLOCK")),
    ("color_temp", Setting::Whole(370)),
    ("consumer_connected", Setting::Flag(true)),
    ("contact", Setting::Flag(true)),
    ("current_device_status", Setting::Word("normal_state")),
    ("duration", Setting::Whole(180)),
    ("fan_mode", Setting::Word("auto")),
    ("garage_door_contact", Setting::Flag(true)),
    ("led_indication", Setting::Flag(false)),
    ("local_temperature_calibration", Setting::Whole(0)),
    ("lock_state", Setting::Word("locked")),
    ("lux_value", Setting::Word("always")),
    ("max_duration", Setting::Whole(240)),
    ("melody", Setting::Word("5")),
    ("motion_sensitivity", Setting::Word("medium")),
    ("motor_state", Setting::Word("stopped")),
    ("occupancy", Setting::Flag(false)),
    ("open_window", Setting::Word("OFF")),
    ("operating_mode", Setting::Word("manual")),
    ("power_on_behavior", Setting::Word("previous")),
    ("power_outage_count", Setting::Whole(3)),
    ("power_outage_memory", Setting::Flag(true)),
    ("power_outage_memory", Setting::Word("restore")),
    ("presence", Setting::Flag(false)),
    ("running", Setting::Flag(false)),
    ("running_state", Setting::Word("idle")),
    ("sensitivity", Setting::Whole(11)),
    ("setpoint_change_source", Setting::Word("manual")),
    ("smoke", Setting::Flag(false)),
    ("smoke_density", Setting::Whole(0)),
    ("status", Setting::Word("Normal")),
    ("strength", Setting::Whole(12)),
    ("swing_mode", Setting::Word("off")),
    ("tamper", Setting::Flag(false)),
    ("temperature_unit", Setting::Word("celsius")),
    ("test", Setting::Flag(false)),
    ("trigger_count", Setting::Whole(40)),
    ("valve_work_state", Setting::Word("idle")),
    ("vibration", Setting::Flag(false)),
    ("volume", Setting::Word("high")),
    ("water_leak", Setting::Flag(false)),
    ("window_detection", Setting::Word("OFF")),
    ("window_open_internal", Setting::Word("closed")),
];

/// All devices, in the order of [`HOME`].
#[derive(Debug)]
pub(super) struct Units(Vec<Unit>);

impl Units {
    pub(super) fn new(seed: u64) -> Units {
        let units = HOME.iter().enumerate();
        Units(units.map(|(id, info)| Unit::new(id, info, seed)).collect())
    }

    pub(super) fn get(&self, index: usize) -> &Unit {
        &self.0[index]
    }

    pub(super) fn get_mut(&mut self, index: usize) -> &mut Unit {
        &mut self.0[index]
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, Unit> {
        self.0.iter()
    }

    pub(super) fn iter_mut(&mut self) -> std::slice::IterMut<'_, Unit> {
        self.0.iter_mut()
    }
}

impl Index<Id> for Units {
    type Output = Unit;

    fn index(&self, id: Id) -> &Unit {
        &self.0[id as usize]
    }
}

impl IndexMut<Id> for Units {
    fn index_mut(&mut self, id: Id) -> &mut Unit {
        &mut self.0[id as usize]
    }
}
