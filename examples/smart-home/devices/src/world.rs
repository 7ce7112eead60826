//! A virtual home: rooms, weather, a family, and devices that publish what they notice.
//!
//! Time stands still between calls of [`World::advance`]. Inside, the home moves in steps of ten
//! seconds, each in this order, so that a cause is always felt in the step it happens in:
//!
//! ```text
//! commands -> people -> troubles -> doors, motion -> appliances -> rooms -> sensors -> messages
//! (control)   (life)    (trouble)   (life)           (appliances)  (rooms)  (sensors)  (unit, camera)
//! ```
//!
//! What each part may look at is what its device could: a motion sensor knows that somebody moved,
//! not who.

mod appliances;
mod camera;
mod control;
mod home;
mod life;
mod people;
mod rooms;
mod sensors;
mod trouble;
mod unit;
mod weather;

use serde_json::{Value, json};

use crate::random::Random;

use self::appliances::Appliances;
use self::camera::Camera;
use self::control::{Command, Covers};
use self::home::Id;
use self::life::Life;
use self::rooms::{Inputs, Rooms};
use self::trouble::Troubles;
use self::unit::{Reading, Units};
use self::weather::Outdoors;

pub use self::control::SetError;
pub use self::home::{CAMERA, HOME, Installed, Role, Room};

/// The start of the default day, 2026-01-15T00:00:00Z: a winter day, so that heating has work to do.
pub const DEFAULT_START_MS: i64 = 1_768_435_200_000;

/// The seed of the default day; its first night has a burglar, and its first day a leak.
pub const DEFAULT_SEED: u64 = 42;

/// How far one step goes: fine enough for a door that opens for some seconds.
const STEP_MS: i64 = 10_000;
const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

/// A message that a device, the bridge or the camera published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// When it was published, in Unix milliseconds of the home's time.
    pub ts_ms: i64,
    /// Where: `zigbee2mqtt/kitchen/climate`.
    pub topic: String,
    /// What: mostly a JSON object, but a device can send anything.
    pub payload: Vec<u8>,
}

impl Published {
    /// Writes the message as one line of JSON, to record a day.
    ///
    /// The line is `{"ts":…,"topic":"…","payload":…}`. A payload that is no JSON is written as a
    /// string, in which bytes that are no UTF-8 are replaced.
    #[must_use]
    pub fn to_line(&self) -> String {
        let payload = serde_json::from_slice::<Value>(&self.payload)
            .unwrap_or_else(|_| String::from_utf8_lossy(&self.payload).into());
        let topic = Value::from(self.topic.as_str());
        format!(
            r#"{{"ts":{},"topic":{topic},"payload":{payload}}}"#,
            self.ts_ms
        )
    }
}

/// A home with a family in it, whose devices publish in zigbee2mqtt's topics and payloads.
///
/// The same seed, start and commands give the same messages, byte for byte. Besides the devices of
/// [`HOME`] there is one camera, which publishes as Frigate does: `frigate/available`, and on
/// `frigate/events` the start, progress and end of each person, cat or car that it sees.
///
/// Two devices make trouble, always:
///
/// | device | trouble | when |
/// |---|---|---|
/// | `hallway/motion` | a quirk of its firmware: `"voltage":0` | once in the first hour, then every 2 to 4 hours |
/// | `garage/climate` | garbage: cut off JSON, bytes that are no UTF-8, wrong types | every 20 to 90 minutes, among good messages |
///
/// And things happen: on every second night or so a door is opened while everybody sleeps; on the
/// first day, and every sixth or so after it, water leaks until the valve in the garage is closed;
/// the battery of `kids room/window` falls below 15 % on the first day.
///
/// # Examples
///
/// ```
/// use home_devices::{DEFAULT_SEED, DEFAULT_START_MS, World};
///
/// let mut world = World::new(DEFAULT_SEED, DEFAULT_START_MS);
/// let first = world.advance(DEFAULT_START_MS);
/// assert_eq!(first[0].topic, "zigbee2mqtt/bridge/state");
///
/// world.set("zigbee2mqtt/kitchen/lamp/set", br#"{"state":"ON","brightness":200}"#)?;
/// let next = world.advance(DEFAULT_START_MS + 20_000);
/// let lamp = next.iter().find(|m| m.topic == "zigbee2mqtt/kitchen/lamp").expect("it answers");
/// assert!(lamp.to_line().contains(r#""brightness":200"#));
/// # Ok::<(), home_devices::SetError>(())
/// ```
#[derive(Debug)]
pub struct World {
    seed: u64,
    start_ms: i64,
    now_ms: i64,
    /// When the next step begins.
    next_ms: i64,
    units: Units,
    outdoors: Outdoors,
    rooms: Rooms,
    /// What happens in each room during this step.
    inputs: [Inputs; Room::ALL.len()],
    /// How far each room's radiator valve is open, 0 to 1; thermostats decide once a minute.
    valves: [f64; Room::ALL.len()],
    life: Life,
    appliances: Appliances,
    covers: Covers,
    troubles: Troubles,
    camera: Camera,
    commands: Vec<Command>,
    /// Published already, but later than the time asked for.
    pending: Vec<Published>,
}

impl World {
    /// Builds the home as it is at `start_ms`, Unix milliseconds: everybody where the day's plan
    /// has them, lamps off, doors closed.
    #[must_use]
    pub fn new(seed: u64, start_ms: i64) -> World {
        let outdoors = Outdoors::at(seed, start_ms);
        let mut world = World {
            seed,
            start_ms,
            now_ms: start_ms,
            next_ms: start_ms,
            units: Units::new(seed),
            rooms: Rooms::new(&outdoors),
            outdoors,
            inputs: [Inputs::default(); Room::ALL.len()],
            valves: [0.0; Room::ALL.len()],
            life: Life::new(seed, start_ms),
            appliances: Appliances::new(seed),
            covers: Covers::default(),
            troubles: Troubles::new(seed, start_ms),
            camera: Camera::new(seed),
            commands: Vec::new(),
            pending: Vec::new(),
        };
        world.furnish();
        world
    }

    /// Returns the time up to which the world has been advanced, in Unix milliseconds.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// Returns the devices that are installed: the same as [`HOME`].
    #[must_use]
    pub fn devices(&self) -> &'static [Installed] {
        HOME
    }

    /// Lets time pass until `to_ms`, and returns what was published until then, in time order.
    ///
    /// The first call begins with what zigbee2mqtt keeps for late subscribers: `bridge/state`,
    /// `bridge/devices`, and the state of every device. How time is cut into calls changes
    /// nothing; a time that has passed already returns nothing.
    pub fn advance(&mut self, to_ms: i64) -> Vec<Published> {
        while self.next_ms <= to_ms {
            let ms = self.next_ms;
            self.step(ms);
            self.next_ms = ms.saturating_add(STEP_MS);
        }
        self.now_ms = self.now_ms.max(to_ms);
        // Stable, so that messages of one device keep their order.
        self.pending.sort_by_key(|message| message.ts_ms);
        let later = self
            .pending
            .partition_point(|message| message.ts_ms <= to_ms);
        let rest = self.pending.split_off(later);
        std::mem::replace(&mut self.pending, rest)
    }

    fn step(&mut self, ms: i64) {
        let minute = (ms - self.start_ms) % MINUTE_MS == 0;
        if ms == self.start_ms {
            self.announce();
        }
        if minute {
            self.outdoors = Outdoors::at(self.seed, ms);
        }
        self.inputs = [Inputs::default(); Room::ALL.len()];

        self.obey(ms);
        self.live(ms);
        self.trouble(ms);
        self.take_in(ms);
        self.work(ms);
        self.move_covers(ms);
        self.heat(minute);
        let seconds = STEP_MS as f64 / 1000.0;
        self.rooms.step(seconds, &self.outdoors, &self.inputs);
        self.sense(ms);
        self.publish(ms);
    }

    /// Brings the devices into the state in which the family left them.
    fn furnish(&mut self) {
        for unit in self.units.iter_mut() {
            let state = match unit.info.role {
                Role::Plug | Role::Valve => "ON",
                Role::Lamp | Role::AirConditioner => "OFF",
                Role::Lock => "LOCK",
                Role::Cover => "CLOSE",
                _ => continue,
            };
            unit.put("state", state);
        }
        self.units[Id::BathroomHeater].put("state", "OFF");
        for (id, celsius) in [
            (Id::KitchenRadiator, 20.0),
            (Id::LivingRadiator, 21.0),
            (Id::BedroomRadiator, 17.5),
            (Id::KidsRadiator, 20.0),
        ] {
            let unit = &mut self.units[id];
            unit.put("occupied_heating_setpoint", Reading::Number(celsius, 1));
            unit.put("current_heating_setpoint", Reading::Number(celsius, 1));
            unit.put("system_mode", "heat");
        }
        let aircon = &mut self.units[Id::LivingAircon];
        aircon.put("current_heating_setpoint", Reading::Number(24.0, 0));
        aircon.put("system_mode", "cool");
        for (id, x, y) in [
            (Id::LivingLamp, 0.4573, 0.41),
            (Id::LivingReading, 0.459, 0.41),
            (Id::KidsLamp, 0.4573, 0.41),
        ] {
            self.units[id].put("color", json!({"x": x, "y": y}));
        }
        // The one that falls low: it passes 15 % within the first day.
        let mut random = Random::new(self.seed, "battery", 0);
        if let Some(battery) = &mut self.units[Id::KidsWindow].battery {
            battery.percent = random.between(16.2, 18.0);
            battery.percent_per_day = 4.5;
        }
    }

    /// Says what zigbee2mqtt and Frigate keep for late subscribers.
    fn announce(&mut self) {
        let devices = self.bridge_devices();
        for (topic, payload) in [
            ("zigbee2mqtt/bridge/state", r#"{"state":"online"}"#),
            ("zigbee2mqtt/bridge/devices", devices.as_str()),
            ("frigate/available", "online"),
        ] {
            self.pending.push(Published {
                ts_ms: self.start_ms,
                topic: String::from(topic),
                payload: payload.as_bytes().to_vec(),
            });
        }
    }

    fn bridge_devices(&self) -> String {
        let mut random = Random::new(self.seed, "address", 0);
        let mut address = || format!("0x00158d{:010x}", random.next() >> 24);
        let coordinator = json!({
            "ieee_address": address(), "type": "Coordinator", "network_address": 0,
            "supported": true, "disabled": false, "friendly_name": "Coordinator",
            "definition": null, "interview_completed": true, "interviewing": false,
        });
        let devices = self.units.iter().enumerate().map(|(index, unit)| {
            let definition = unit.definition;
            let battery = unit.battery.is_some();
            json!({
                "ieee_address": address(),
                "type": if battery { "EndDevice" } else { "Router" },
                "network_address": 4096 + 257 * index,
                "supported": true,
                "disabled": false,
                "friendly_name": unit.info.friendly_name,
                "manufacturer": definition.vendor,
                "model_id": definition.zigbee_model.first(),
                "power_source": if battery { "Battery" } else { "Mains (single phase)" },
                "interview_completed": true,
                "interviewing": false,
                "definition": {
                    "vendor": definition.vendor,
                    "model": definition.model,
                    "description": definition.description,
                    "supports_ota": false,
                    "options": [],
                    "exposes": definition.exposes.iter()
                        .map(crate::catalogue::Expose::to_value)
                        .collect::<Value>(),
                },
            })
        });
        let all: Value = std::iter::once(coordinator).chain(devices).collect();
        all.to_string()
    }

    /// Lets every device say what it has to say.
    fn publish(&mut self, ms: i64) {
        for (index, unit) in self.units.iter_mut().enumerate() {
            if let Some(payload) = unit.publish(ms) {
                self.pending.push(Published {
                    ts_ms: lag(self.seed, self.start_ms, index, ms),
                    topic: unit.topic.clone(),
                    payload,
                });
            }
        }
        self.watch(ms);
    }

    /// Publishes something that is no state of the device: an action, a quirk, garbage.
    fn emit(&mut self, id: Id, ms: i64, payload: Vec<u8>) {
        self.pending.push(Published {
            ts_ms: lag(self.seed, self.start_ms, id as usize, ms),
            topic: self.units[id].topic.clone(),
            payload,
        });
    }

    /// Publishes an action once, as buttons and locks do, with all else that the device knows.
    fn act(&mut self, id: Id, ms: i64, action: &'static str) {
        let payload = self.units[id].payload(&[("action", Reading::Word(action))]);
        self.emit(id, ms, payload);
    }
}

/// When a message of a step at `ms` is published: somewhere in the step, as not everything happens
/// on the full ten seconds, but the same for all messages of a device, so that they keep their
/// order.
fn lag(seed: u64, start_ms: i64, index: usize, ms: i64) -> i64 {
    if ms == start_ms {
        return ms;
    }
    let mut random = Random::new(seed, "lag", ms as u64 ^ ((index as u64) << 48));
    ms + random.whole(0, STEP_MS)
}
