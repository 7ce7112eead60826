//! A driver: it knows the words of one device.
//!
//! What it is: an actor for each device, started by the gateway.
//! Handles: [`Decode`] a report, [`Encode`] an order, [`Describe`] itself.
//! Subscribes to: nothing. Publishes: nothing.
//! Crashes when: the firmware reports a cell of 0 mV, which is not possible and
//! from which no battery level can be computed. It is started anew at once; the
//! report is lost and kept as a dead letter.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use greenroom::prelude::*;
use home_devices::catalogue::{Expose, Kind};
use home_devices::{Device, check};
use home_protocol::{DeviceName, Order, Skill};
use serde_json::{Map, Value, json};

/// The actor that puts one device's words into the home's, and back.
#[derive(Debug)]
pub struct DeviceDriver {
    device: Arc<Device>,
    name: DeviceName,
    skills: Vec<Skill>,
}

/// Asks what a report of the device says.
#[derive(Clone, Debug)]
pub(crate) struct Decode(pub(crate) Value);

impl Message for Decode {
    type Reply = Result<Vec<Fact>, Unusable>;
}

/// Asks how an order is put to the device: a JSON object for its `set` topic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Encode(pub(crate) Order);

impl Message for Encode {
    type Reply = Result<String, Unusable>;
}

/// Asks for the device's name and skills.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Describe;

impl Message for Describe {
    type Reply = (DeviceName, Vec<Skill>);
}

/// One thing that a report says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fact {
    Temperature(f64),
    Humidity(f64),
    Illuminance(f64),
    Occupied(bool),
    Open(bool),
    Locked(bool),
    Wet(bool),
    Smoke(bool),
    Battery(f64),
    Power(f64),
    Lamp(bool),
    Valve(bool),
}

/// Why a report or an order is of no use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unusable {
    NotAnObject,
    Mismatch(String),
    NoSkill(String),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unusable::NotAnObject => f.write_str("the payload is not a JSON object"),
            Unusable::Mismatch(why) => f.write_str(why),
            Unusable::NoSkill(order) => write!(f, "the device cannot do this: {order}"),
        }
    }
}

impl Actor for DeviceDriver {
    type Args = Arc<Device>;
    type Error = Infallible;

    async fn start(device: Arc<Device>, _: &mut Context<Self>) -> Result<Self, Infallible> {
        let name = DeviceName::new(&device.friendly_name);
        let skills = skills(&device);
        Ok(DeviceDriver {
            device,
            name,
            skills,
        })
    }
}

impl Handler<Decode> for DeviceDriver {
    async fn handle(
        &mut self,
        Decode(payload): Decode,
        _: &mut Context<Self>,
    ) -> Result<Result<Vec<Fact>, Unusable>, Infallible> {
        Ok(self.decode(&payload))
    }
}

impl Handler<Encode> for DeviceDriver {
    async fn handle(
        &mut self,
        Encode(order): Encode,
        _: &mut Context<Self>,
    ) -> Result<Result<String, Unusable>, Infallible> {
        Ok(self.encode(order))
    }
}

impl Handler<Describe> for DeviceDriver {
    async fn handle(
        &mut self,
        _: Describe,
        _: &mut Context<Self>,
    ) -> Result<(DeviceName, Vec<Skill>), Infallible> {
        Ok((self.name.clone(), self.skills.clone()))
    }
}

impl DeviceDriver {
    fn decode(&self, payload: &Value) -> Result<Vec<Fact>, Unusable> {
        let payload = payload.as_object().ok_or(Unusable::NotAnObject)?;
        let Some(definition) = &self.device.definition else {
            return Ok(Vec::new());
        };
        if let Some(mismatch) = check(definition, payload).first() {
            return Err(Unusable::Mismatch(mismatch.to_string()));
        }
        if definition
            .property("voltage")
            .is_some_and(|v| v.unit.as_deref() == Some("mV"))
        {
            // The level of a cell is computed from its voltage, and a cell that can report has one.
            let millivolts = payload.get("voltage").and_then(Value::as_f64);
            assert!(
                millivolts != Some(0.0),
                "the firmware reports a cell of 0 mV"
            );
        }
        Ok(payload
            .iter()
            .filter_map(|(property, value)| self.fact(property, value))
            .collect())
    }

    fn fact(&self, property: &str, value: &Value) -> Option<Fact> {
        Some(match property {
            "temperature" => Fact::Temperature(value.as_f64()?),
            "humidity" => Fact::Humidity(value.as_f64()?),
            "illuminance" => Fact::Illuminance(value.as_f64()?),
            "occupancy" | "presence" => Fact::Occupied(value.as_bool()?),
            // A contact sensor says whether the contact is made.
            "contact" => Fact::Open(!value.as_bool()?),
            "lock_state" => Fact::Locked(value.as_str()? == "locked"),
            "water_leak" => Fact::Wet(value.as_bool()?),
            "smoke" => Fact::Smoke(value.as_bool()?),
            "battery" | "battpercentage" => Fact::Battery(value.as_f64()?),
            "power" => Fact::Power(value.as_f64()?),
            "state" if self.skills.contains(&Skill::Light) => Fact::Lamp(value.as_str()? == "ON"),
            "state" if self.skills.contains(&Skill::Water) => Fact::Valve(value.as_str()? == "ON"),
            _ => return None,
        })
    }

    fn encode(&self, order: Order) -> Result<String, Unusable> {
        let cannot = || Unusable::NoSkill(format!("{order:?}"));
        let definition = self.device.definition.as_ref().ok_or_else(cannot)?;
        let skill = match order {
            Order::Light { .. } => Skill::Light,
            Order::Heat { .. } => Skill::Heat,
            Order::Cool { .. } => Skill::Cool,
            Order::Water { .. } => Skill::Water,
            Order::Siren { .. } => Skill::Siren,
        };
        if !self.skills.contains(&skill) {
            return Err(cannot());
        }
        let state = |on: bool| json!(if on { "ON" } else { "OFF" });
        let mut set = Map::new();
        match order {
            Order::Light { on } | Order::Water { open: on } => {
                set.insert("state".to_owned(), state(on));
            }
            Order::Heat { celsius } => {
                let setpoint = ["occupied_heating_setpoint", "current_heating_setpoint"]
                    .into_iter()
                    .find_map(|name| definition.property(name).filter(|e| e.access.is_settable()))
                    .ok_or_else(cannot)?;
                let name = setpoint.property.clone().ok_or_else(cannot)?;
                set.insert(name, json!(in_range(setpoint, celsius)));
                let mode = definition
                    .property("system_mode")
                    .filter(|e| e.access.is_settable());
                if mode.is_some_and(|mode| allows(mode, "heat")) {
                    set.insert("system_mode".to_owned(), json!("heat"));
                }
            }
            Order::Cool {
                celsius: Some(celsius),
            } => {
                set.insert("state".to_owned(), state(true));
                set.insert("system_mode".to_owned(), json!("cool"));
                let setpoint = definition
                    .property("current_heating_setpoint")
                    .ok_or_else(cannot)?;
                set.insert(
                    "current_heating_setpoint".to_owned(),
                    json!(in_range(setpoint, celsius)),
                );
            }
            Order::Cool { celsius: None } => {
                set.insert("state".to_owned(), state(false));
            }
            Order::Siren { on } => {
                set.insert("alarm".to_owned(), json!(on));
            }
        }
        Ok(Value::Object(set).to_string())
    }
}

/// What a device can be told to do, as far as its definition tells.
///
/// zigbee2mqtt does not say whether a switch feeds a lamp or a freezer; people
/// say it in the name.
fn skills(device: &Device) -> Vec<Skill> {
    let Some(definition) = &device.definition else {
        return Vec::new();
    };
    let settable = |name: &str| {
        definition
            .property(name)
            .is_some_and(|e| e.access.is_settable())
    };
    let cools = definition
        .property("system_mode")
        .is_some_and(|mode| allows(mode, "cool"));
    let name = device.friendly_name.to_lowercase();
    let named = |words: [&str; 2]| words.iter().any(|word| name.contains(word));
    let switch = definition.has(&Kind::Switch) && settable("state");
    let mut skills = Vec::new();
    if definition.has(&Kind::Light) || switch && named(["lamp", "light"]) {
        skills.push(Skill::Light);
    }
    if definition.has(&Kind::Climate) && !cools {
        skills.push(Skill::Heat);
    }
    if cools && settable("state") && settable("current_heating_setpoint") {
        skills.push(Skill::Cool);
    }
    if switch && (definition.property("flow").is_some() || named(["water main", "valve"])) {
        skills.push(Skill::Water);
    }
    if settable("alarm") {
        skills.push(Skill::Siren);
    }
    skills
}

fn allows(mode: &Expose, wanted: &str) -> bool {
    matches!(&mode.kind, Kind::Enum { values } if values.iter().any(|value| value == wanted))
}

fn in_range(setpoint: &Expose, value: f64) -> f64 {
    let Kind::Numeric { min, max, .. } = setpoint.kind else {
        return value;
    };
    value
        .max(min.unwrap_or(f64::MIN))
        .min(max.unwrap_or(f64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use home_devices::{HOME, World};

    fn driver(name: &str) -> DeviceDriver {
        let installed = HOME.iter().find(|d| d.friendly_name == name).unwrap();
        let device = Arc::new(Device {
            ieee_address: "0x0".to_owned(),
            friendly_name: name.to_owned(),
            definition: installed.definition().cloned(),
        });
        let skills = skills(&device);
        DeviceDriver {
            name: DeviceName::new(name),
            device,
            skills,
        }
    }

    #[test]
    fn every_order_that_a_driver_gives_is_taken_by_its_device() {
        let mut world = World::new(1, home_devices::DEFAULT_START_MS);
        let orders = [
            Order::Light { on: true },
            Order::Heat { celsius: 21.0 },
            Order::Heat { celsius: 1.0 },
            Order::Cool {
                celsius: Some(24.0),
            },
            Order::Cool { celsius: None },
            Order::Water { open: false },
            Order::Siren { on: true },
        ];
        let mut taken = 0;
        for device in HOME {
            let driver = driver(device.friendly_name);
            for order in orders {
                if let Ok(payload) = driver.encode(order) {
                    let topic = format!("zigbee2mqtt/{}/set", device.friendly_name);
                    world
                        .set(&topic, payload.as_bytes())
                        .unwrap_or_else(|e| panic!("{payload}: {e}"));
                    taken += 1;
                }
            }
        }
        // 8 lamps, 4 radiators with two orders, 1 air conditioner with two, 1 valve, 1 siren.
        assert_eq!(taken, 8 + 8 + 2 + 1 + 1);
    }

    #[test]
    fn a_report_becomes_facts() {
        let report = json!({"contact": false, "battery": 80, "linkquality": 90});
        let facts = driver("hallway/front door").decode(&report).unwrap();
        assert_eq!(facts, [Fact::Battery(80.0), Fact::Open(true)]);
        assert_eq!(
            driver("kitchen/lamp")
                .decode(&json!({"state": "ON"}))
                .unwrap(),
            [Fact::Lamp(true)]
        );
        assert_eq!(
            driver("garage/water main")
                .decode(&json!({"state": "OFF"}))
                .unwrap(),
            [Fact::Valve(false)]
        );
        assert_eq!(
            driver("kitchen/fridge")
                .decode(&json!({"state": "ON", "power": 3}))
                .unwrap(),
            [Fact::Power(3.0)]
        );
    }

    #[test]
    fn what_a_model_cannot_have_said_is_refused_with_a_reason() {
        let climate = driver("garage/climate");
        let error = climate.decode(&json!({"temperature": "NaN"})).unwrap_err();
        assert!(error.to_string().contains("temperature"), "{error}");
        assert_eq!(climate.decode(&json!([1])), Err(Unusable::NotAnObject));
        let error = climate.encode(Order::Light { on: true }).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the device cannot do this: Light { on: true }"
        );
    }

    #[test]
    #[should_panic(expected = "a cell of 0 mV")]
    fn a_cell_of_0_mv_is_a_crash() {
        let _ = driver("hallway/motion").decode(&json!({"occupancy": true, "voltage": 0}));
    }
}
