//! What the sensors feel. They sample once a minute, each at its own second, as real ones do to
//! spare their batteries.

use super::home::{HOME, Id, Role};
use super::unit::Unit;
use super::{DAY_MS, MINUTE_MS, STEP_MS, World};
use crate::random::noise;

impl World {
    /// Lets the sensors whose turn it is look around.
    pub(super) fn sense(&mut self, ms: i64) {
        let step = (ms - self.start_ms) / STEP_MS;
        let per_minute = MINUTE_MS / STEP_MS;
        let seed = self.seed;
        for (index, info) in HOME.iter().enumerate() {
            if ms != self.start_ms && (step + index as i64) % per_minute != 0 {
                continue;
            }
            let air = *self.rooms.get(info.room);
            let lux = self.brightness(info.room);
            let unit = self.units.get_mut(index);
            unit.drain(MINUTE_MS as f64 / DAY_MS as f64);
            // No two sensors agree, and none is quite still.
            let error = Error {
                seed,
                index: index as u64,
                minutes: ms as f64 / MINUTE_MS as f64,
            };
            match info.role {
                Role::Climate | Role::Air => {
                    let humidity = (air.humidity() + error.of(1.5, 0.4)).clamp(1.0, 99.9);
                    let pressure = self.outdoors.pressure + error.of(0.6, 0.1);
                    let particles = (air.particles + error.of(0.5, 0.8)).max(0.0);
                    let voc_index = (air.voc / 2.2 + error.of(3.0, 3.0)).clamp(1.0, 500.0);
                    let voc = (air.voc + error.of(8.0, 8.0)).max(0.0);
                    unit.measure(
                        "temperature",
                        air.temperature + error.of(0.25, 0.05),
                        2,
                        0.1,
                    );
                    unit.measure("humidity", humidity, 2, 0.6);
                    unit.measure("pressure", pressure, 1, 0.5);
                    unit.measure("co2", air.co2 + error.of(15.0, 6.0), 0, 12.0);
                    unit.measure("pm25", particles, 0, 1.0);
                    unit.measure("voc_index", voc_index, 0, 6.0);
                    unit.measure("voc", voc, 0, 15.0);
                    unit.put("air_quality", quality(air.voc));
                }
                Role::Motion => {
                    unit.measure("temperature", air.temperature + error.of(0.4, 0.05), 2, 0.2);
                    illuminance(unit, lux);
                }
                Role::Light => illuminance(unit, lux),
                Role::Soil => {
                    unit.measure("temperature", self.outdoors.soil_temperature, 1, 0.2);
                    unit.measure("soil_moisture", self.outdoors.soil_moisture, 0, 1.0);
                }
                _ => {}
            }
            if unit.battery.is_some() {
                unit.measure("device_temperature", air.temperature + 2.5, 0, 2.0);
            }
        }
        let shakes = self.appliances.drum_turns(ms);
        let vibration = &mut self.units[Id::BathroomVibration];
        if shakes && vibration.random.chance(0.12) {
            let strength = vibration.random.between(10.0, 60.0);
            vibration.measure("strength", strength, 0, f64::INFINITY);
            vibration.put("vibration", true);
        } else if !shakes || vibration.random.chance(0.12) {
            vibration.put("vibration", false);
        }
    }
}

/// How wrong a sensor is: a bit always, and a bit by turns.
struct Error {
    seed: u64,
    index: u64,
    minutes: f64,
}

impl Error {
    fn of(&self, offset: f64, wobble: f64) -> f64 {
        offset * noise(self.seed, 1_000 + self.index, 0.5)
            + wobble * noise(self.seed, 2_000 + self.index, self.minutes / 7.0)
    }
}

/// Light is felt in proportion: ten lux more matter at night, not at noon.
fn illuminance(unit: &mut Unit, lux: f64) {
    let before = unit.number("illuminance").unwrap_or(lux);
    unit.measure("illuminance", lux, 0, f64::max(6.0, 0.12 * before));
}

fn quality(voc: f64) -> &'static str {
    match voc {
        v if v < 220.0 => "excellent",
        v if v < 660.0 => "good",
        v if v < 1430.0 => "moderate",
        v if v < 2200.0 => "poor",
        _ => "unhealthy",
    }
}
