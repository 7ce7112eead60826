//! What comes in: commands on `…/set`, and the devices that obey them over time.

use std::fmt;

use serde_json::{Map, Value};

use crate::catalogue::{Expose, Kind, Mismatch, check_one};

use super::home::{Id, Role, Room};
use super::unit::{Reading, Unit};
use super::{HOME, STEP_MS, World};

/// A command that takes effect at the next step.
#[derive(Debug)]
pub(super) struct Command {
    index: usize,
    settings: Vec<(&'static str, Value)>,
}

/// Why a command was refused. Nothing of a refused command takes effect.
#[derive(Debug)]
#[non_exhaustive]
pub enum SetError {
    /// The topic is not `zigbee2mqtt/<friendly name>/set` or `…/set/<property>`.
    NotACommand {
        /// The topic.
        topic: String,
    },
    /// There is no device of this name in the home.
    NoSuchDevice {
        /// The friendly name.
        device: String,
    },
    /// The payload is not JSON.
    NotJson {
        /// What the parser says.
        source: serde_json::Error,
    },
    /// The payload is JSON, but not an object.
    NotAnObject,
    /// The device does not have the property.
    NoSuchProperty {
        /// The friendly name.
        device: String,
        /// The property.
        property: String,
    },
    /// The device has the property, but it cannot be set.
    ReadOnly {
        /// The friendly name.
        device: String,
        /// The property.
        property: String,
    },
    /// The property can be set, but not to this value.
    Refused {
        /// The friendly name.
        device: String,
        /// What is wrong with the value.
        source: Mismatch,
    },
}

impl fmt::Display for SetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SetError::NotACommand { topic } => write!(
                f,
                "`{topic}` is not the topic of a command: zigbee2mqtt/<friendly name>/set"
            ),
            SetError::NoSuchDevice { device } => write!(f, "the home has no device `{device}`"),
            SetError::NotJson { .. } => f.write_str("the command is not JSON"),
            SetError::NotAnObject => f.write_str("the command is JSON, but not an object"),
            SetError::NoSuchProperty { device, property } => {
                write!(f, "`{device}` has no property `{property}`")
            }
            SetError::ReadOnly { device, property } => {
                write!(f, "`{property}` of `{device}` cannot be set")
            }
            SetError::Refused { device, .. } => write!(f, "`{device}` refuses the value"),
        }
    }
}

impl std::error::Error for SetError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            SetError::NotJson { source } => Some(source),
            SetError::Refused { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Blinds, and the garage door: things that are on their way somewhere.
#[derive(Debug, Default)]
pub(super) struct Covers {
    blind: Cover,
    curtain: Cover,
    garage: Cover,
    /// Until when the siren sounds.
    siren_until_ms: i64,
}

#[derive(Debug, Default)]
struct Cover {
    /// Percent open.
    position: f64,
    target: f64,
}

impl Cover {
    /// Moves on by at most `percent`, and returns whether it moved.
    fn step(&mut self, percent: f64) -> bool {
        let way = (self.target - self.position).clamp(-percent, percent);
        self.position += way;
        way != 0.0
    }
}

impl World {
    /// Takes a command, as zigbee2mqtt does: `zigbee2mqtt/<friendly name>/set` with a JSON object,
    /// or `…/set/<property>` with the value alone.
    ///
    /// It takes effect at the next step, at most ten seconds later, and then the device publishes
    /// its new state. `Ok` means that the device will do it, not that it has.
    ///
    /// What can be set is what the definition of the model says; `TOGGLE` works where it has one,
    /// and a lamp also takes `transition`, which changes nothing here.
    ///
    /// # Errors
    ///
    /// If the topic is not that of a command for a device of this home, or if the device does not
    /// have the property, or not that value. Nothing of the command takes effect then.
    pub fn set(&mut self, topic: &str, payload: &[u8]) -> Result<(), SetError> {
        let not_a_command = || SetError::NotACommand {
            topic: String::from(topic),
        };
        let path = topic
            .strip_prefix("zigbee2mqtt/")
            .ok_or_else(not_a_command)?;
        let (device, property) = match path.strip_suffix("/set") {
            Some(device) => (device, None),
            None => {
                let (device, property) = path.rsplit_once("/set/").ok_or_else(not_a_command)?;
                (device, Some(property))
            }
        };
        let index = HOME
            .iter()
            .position(|installed| installed.friendly_name == device)
            .ok_or_else(|| SetError::NoSuchDevice {
                device: String::from(device),
            })?;
        let value = serde_json::from_slice::<Value>(payload);
        let wanted = match (property, value) {
            (None, Ok(Value::Object(wanted))) => wanted,
            (None, Ok(_)) => return Err(SetError::NotAnObject),
            (None, Err(source)) => return Err(SetError::NotJson { source }),
            (Some(property), value) => {
                // Alone, a word needs no quotes: `…/set/state` takes ON.
                let value =
                    value.unwrap_or_else(|_| String::from_utf8_lossy(payload).trim().into());
                Map::from_iter([(String::from(property), value)])
            }
        };
        let definition = self.units.get(index).definition;
        let mut settings = Vec::with_capacity(wanted.len());
        for (property, value) in wanted {
            let candidates = || {
                definition
                    .properties()
                    .filter(|expose| expose.property.as_deref() == Some(property.as_str()))
            };
            if definition.has(&Kind::Light) && property == "transition" && value.is_number() {
                continue;
            }
            let device = || String::from(device);
            let Some(first) = candidates().find(|expose| expose.access.is_settable()) else {
                return Err(match candidates().next() {
                    Some(_) => SetError::ReadOnly {
                        device: device(),
                        property,
                    },
                    None => SetError::NoSuchProperty {
                        device: device(),
                        property,
                    },
                });
            };
            let mut settable = candidates().filter(|expose| expose.access.is_settable());
            let fits = settable.any(|expose| accepts(expose, &value));
            if !fits {
                let source = check_one(&property, first, &value).unwrap_or_else(|| Mismatch {
                    property: property.clone(),
                    fault: crate::catalogue::Fault::WrongType {
                        expected: "a value to set",
                        found: value.to_string(),
                    },
                });
                return Err(SetError::Refused {
                    device: device(),
                    source,
                });
            }
            if let Some(name) = first.property.as_deref() {
                settings.push((name, value));
            }
        }
        // An order that does not depend on how the object was written; the alarm is last because it
        // looks at the duration.
        settings.sort_by_key(|(name, _)| (*name == "alarm", *name));
        self.commands.push(Command { index, settings });
        Ok(())
    }

    /// Carries out the commands that came in since the last step.
    pub(super) fn obey(&mut self, ms: i64) {
        for command in std::mem::take(&mut self.commands) {
            for (property, value) in command.settings {
                let unit = self.units.get_mut(command.index);
                let role = unit.info.role;
                let value = resolve_toggle(unit, property, value);
                match (role, property) {
                    (Role::Cover, _) => self.covers.aim(command.index, property, &value),
                    (Role::GarageDoor, "trigger") => {
                        let open = value == Value::Bool(true);
                        self.covers.garage.target = if open { 100.0 } else { 0.0 };
                    }
                    (Role::Lock, "state") => {
                        let (state, lock_state, action) = if value == "LOCK" {
                            ("LOCK", "locked", "lock")
                        } else {
                            ("UNLOCK", "unlocked", "unlock")
                        };
                        unit.put("state", state);
                        unit.put("lock_state", lock_state);
                        unit.put("action_source_name", "rf");
                        self.act(Id::HallwayLock, ms, action);
                    }
                    (Role::Siren, "alarm") => {
                        let seconds = unit.number("duration").unwrap_or(180.0);
                        let sounds = value == Value::Bool(true);
                        unit.put("alarm", sounds);
                        if sounds {
                            self.covers.siren_until_ms = ms + (seconds * 1000.0) as i64;
                        }
                    }
                    (Role::Lamp, "brightness") => {
                        let on = value.as_f64().unwrap_or(0.0) > 0.0;
                        unit.put("state", if on { "ON" } else { "OFF" });
                        if on {
                            unit.put("brightness", value);
                        }
                    }
                    (Role::Radiator, "occupied_heating_setpoint" | "current_heating_setpoint") => {
                        // One thermostat has both names for the same thing.
                        unit.put("occupied_heating_setpoint", value.clone());
                        unit.put("current_heating_setpoint", value);
                        unit.put("setpoint_change_source", "externally");
                    }
                    _ => unit.put(property, value),
                }
            }
            self.units.get_mut(command.index).report();
        }
    }

    /// Moves blinds and the garage door on their way, and lets the siren end.
    pub(super) fn move_covers(&mut self, ms: i64) {
        let first = ms == self.start_ms;
        let covers = &mut self.covers;
        let seconds = STEP_MS as f64 / 1000.0;
        // A roller blind needs about half a minute, a curtain a quarter.
        for (id, cover, percent) in [
            (Id::LivingBlind, &mut covers.blind, 3.5 * seconds),
            (Id::BedroomCurtain, &mut covers.curtain, 7.0 * seconds),
        ] {
            let before = cover.position;
            let moved = cover.step(percent);
            if !moved && !first && !self.units[id].flag("running") {
                continue;
            }
            let unit = &mut self.units[id];
            unit.put("position", Reading::Number(cover.position, 0));
            unit.put(
                "state",
                if cover.position > 0.0 {
                    "OPEN"
                } else {
                    "CLOSE"
                },
            );
            unit.put("running", moved);
            unit.put(
                "motor_state",
                match cover.position.total_cmp(&before) {
                    std::cmp::Ordering::Less => "closing",
                    std::cmp::Ordering::Equal => "stopped",
                    std::cmp::Ordering::Greater => "opening",
                },
            );
        }
        covers.garage.step(6.0 * seconds);
        let closed = covers.garage.position == 0.0;
        self.units[Id::GarageDoor].put("garage_door_contact", closed);
        self.inputs[Room::Garage as usize].open = !closed;
        let sunlight = |cover: &Cover| 0.1 + 0.9 * cover.position / 100.0;
        for room in Room::ALL {
            self.inputs[room as usize].sunlight = match room {
                Room::LivingRoom => sunlight(&covers.blind),
                Room::Bedroom => sunlight(&covers.curtain),
                _ => 1.0,
            };
        }
        if ms >= covers.siren_until_ms && self.units[Id::HallwaySiren].flag("alarm") {
            self.units[Id::HallwaySiren].put("alarm", false);
        }
    }

    /// Opens or closes both blinds, by hand.
    pub(super) fn draw_blinds(&mut self, open: bool) {
        let target = if open { 100.0 } else { 0.0 };
        self.covers.blind.target = target;
        self.covers.curtain.target = target;
    }

    /// Opens or closes the garage door, with the button in the car.
    pub(super) fn drive_garage_door(&mut self, open: bool) {
        self.covers.garage.target = if open { 100.0 } else { 0.0 };
    }
}

impl Covers {
    fn aim(&mut self, index: usize, property: &str, value: &Value) {
        let cover = if index == Id::LivingBlind as usize {
            &mut self.blind
        } else {
            &mut self.curtain
        };
        cover.target = match (property, value.as_str(), value.as_f64()) {
            ("state", Some("OPEN"), _) => 100.0,
            ("state", Some("CLOSE"), _) => 0.0,
            ("state", _, _) => cover.position,
            ("position", _, Some(position)) => position.round(),
            _ => cover.target,
        };
    }
}

/// Whether a command may set an expose to this value.
fn accepts(expose: &Expose, value: &Value) -> bool {
    let toggles =
        matches!(&expose.kind, Kind::Binary { toggle: Some(toggle), .. } if toggle == value);
    // In a report null means "not known", but nobody can command that.
    toggles || (!value.is_null() && check_one("", expose, value).is_none())
}

/// Turns `TOGGLE` into the other value.
fn resolve_toggle(unit: &Unit, property: &str, value: Value) -> Value {
    match unit.definition.property(property).map(|e| &e.kind) {
        Some(Kind::Binary {
            on,
            off,
            toggle: Some(toggle),
        }) if *toggle == value => {
            let is_on = on.as_str().is_some_and(|on| unit.is(property, on));
            if is_on { off.clone() } else { on.clone() }
        }
        _ => value,
    }
}
