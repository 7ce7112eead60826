//! What goes wrong: a leak, a burglar, a firmware's quirk, garbage.

use super::home::{Id, Room};
use super::unit::Reading;
use super::{DAY_MS, HOUR_MS, MINUTE_MS, STEP_MS, World};
use crate::random::Random;

/// What is going wrong, and what will.
#[derive(Debug)]
pub(super) struct Troubles {
    random: Random,
    day: i64,
    /// The first day that the home sees from its midnight on.
    first_day: i64,
    leak: Option<Leak>,
    /// Litres on the floor at each of the two sensors.
    puddles: [(Id, f64); 2],
    burglar: Option<Burglar>,
    quirk_ms: i64,
    garbage_ms: i64,
}

#[derive(Debug)]
struct Leak {
    sensor: Id,
    from_ms: i64,
    /// From when on an adult who is at home and awake notices it.
    notice_ms: i64,
    /// Since when the valve is closed.
    closed_ms: Option<i64>,
    drips: bool,
}

#[derive(Debug)]
struct Burglar {
    entry: Id,
    at_ms: i64,
    stay_ms: i64,
}

impl Troubles {
    pub(super) fn new(seed: u64, start_ms: i64) -> Troubles {
        let mut random = Random::new(seed, "trouble", 0);
        let quirk_ms = start_ms + random.whole(5 * MINUTE_MS, 50 * MINUTE_MS);
        let garbage_ms = start_ms + random.whole(10 * MINUTE_MS, 55 * MINUTE_MS);
        Troubles {
            random,
            day: i64::MIN,
            first_day: start_ms.div_euclid(DAY_MS) + i64::from(start_ms.rem_euclid(DAY_MS) > 0),
            leak: None,
            puddles: [(Id::KitchenSink, 0.0), (Id::BathroomFloor, 0.0)],
            burglar: None,
            quirk_ms,
            garbage_ms,
        }
    }

    /// Decides what goes wrong today, from the seed and the day alone.
    fn plan(&mut self, seed: u64, day: i64) {
        self.day = day;
        let midnight_ms = day * DAY_MS;
        let mut random = Random::new(seed, "day", day as u64);
        let leaks = random.chance(1.0 / 6.0) || day == self.first_day;
        let from_ms = midnight_ms + random.whole(19 * HOUR_MS / 2, 20 * HOUR_MS);
        let leak = Leak {
            sensor: if random.chance(0.5) {
                Id::KitchenSink
            } else {
                Id::BathroomFloor
            },
            from_ms,
            notice_ms: from_ms + random.whole(45 * MINUTE_MS, 100 * MINUTE_MS),
            closed_ms: None,
            drips: false,
        };
        if leaks && self.leak.is_none() {
            self.leak = Some(leak);
        }
        let entries = [Id::HallwayDoor, Id::KitchenWindow, Id::LivingTerrace];
        let entry = entries[random.whole(0, entries.len() as i64) as usize];
        let at_ms = midnight_ms + random.whole(3 * HOUR_MS / 2, 9 * HOUR_MS / 2);
        let stay_ms = random.whole(40_000, 180_000);
        self.burglar = random.chance(0.5).then_some(Burglar {
            entry,
            at_ms,
            stay_ms,
        });
    }
}

impl World {
    /// Lets today's troubles happen.
    pub(super) fn trouble(&mut self, ms: i64) {
        let day = ms.div_euclid(DAY_MS);
        if day != self.troubles.day {
            self.troubles.plan(self.seed, day);
        }
        self.leak(ms);
        self.burgle(ms);
        self.quirk(ms);
        self.garbage(ms);
    }

    /// What the leak adds to the flow in m³/h, as long as the valve is open.
    pub(super) fn leak_flow(&self) -> f64 {
        let drips = self.troubles.leak.as_ref().is_some_and(|leak| leak.drips);
        if drips { 0.09 } else { 0.0 }
    }

    fn leak(&mut self, ms: i64) {
        let adult_up = self.life.is_adult_up();
        let valve = &mut self.units[Id::GarageValve];
        let troubles = &mut self.troubles;
        for (_, litres) in &mut troubles.puddles {
            // It dries, or somebody mops it up, within a quarter of an hour.
            *litres = (*litres - 0.022).max(0.0);
        }
        if let Some(leak) = troubles.leak.as_mut().filter(|leak| leak.from_ms <= ms) {
            let open = valve.is("state", "ON");
            leak.drips = open;
            if open {
                leak.closed_ms = None;
                for (sensor, litres) in &mut troubles.puddles {
                    if *sensor == leak.sensor {
                        // Two litres stand at the sensor; the rest runs away between the boards.
                        *litres = (*litres + 0.25).min(2.0);
                    }
                }
                if ms >= leak.notice_ms && adult_up {
                    valve.put("state", "OFF");
                }
            } else {
                let closed_ms = *leak.closed_ms.get_or_insert(ms);
                // Two hours for the repair; then whoever is there opens the valve again.
                if ms - closed_ms >= 2 * HOUR_MS && adult_up {
                    valve.put("state", "ON");
                    troubles.leak = None;
                }
            }
        }
        for (sensor, litres) in troubles.puddles {
            let unit = &mut self.units[sensor];
            let wet = litres > 0.1;
            if unit.flag("water_leak") != wet {
                unit.put("water_leak", wet);
                if wet {
                    unit.count("trigger_count");
                }
            }
        }
    }

    fn burgle(&mut self, ms: i64) {
        let Some(burglar) = &self.troubles.burglar else {
            return;
        };
        let (entry, at_ms, stay_ms) = (burglar.entry, burglar.at_ms, burglar.stay_ms);
        let since_ms = ms - at_ms;
        let random = &mut self.troubles.random;
        if (-40_000..0).contains(&since_ms) {
            // On the way to the house.
            if entry == Id::HallwayDoor {
                self.camera.notice("person", "porch", ms, 60);
            } else if random.chance(0.5) {
                self.life.moved(Room::Garden, ms);
            }
        } else if (0..stay_ms).contains(&since_ms) {
            if self.units[Id::HallwaySiren].flag("alarm") && since_ms > 0 {
                // Noise is what burglars fear.
                self.life.let_go(entry);
                self.troubles.burglar = None;
                return;
            }
            if since_ms < STEP_MS {
                self.life.hold_open(entry, at_ms + stay_ms);
            }
            let room = super::HOME[entry as usize].room;
            if random.chance(0.5) {
                self.life.moved(room, ms);
            }
            if since_ms > 20_000 && random.chance(0.6) {
                self.life.moved(Room::Hallway, ms);
            }
        } else if since_ms >= stay_ms {
            self.troubles.burglar = None;
        }
    }

    /// The motion sensor's firmware now and then reads its battery as 0 mV.
    fn quirk(&mut self, ms: i64) {
        let troubles = &mut self.troubles;
        if ms < troubles.quirk_ms {
            return;
        }
        troubles.quirk_ms = ms + troubles.random.whole(2 * HOUR_MS, 4 * HOUR_MS);
        let payload =
            self.units[Id::HallwayMotion].payload(&[("voltage", Reading::Number(0.0, 0))]);
        self.emit(Id::HallwayMotion, ms, payload);
    }

    /// The climate sensor in the garage has a bad contact, and sends what is left of a message.
    fn garbage(&mut self, ms: i64) {
        let troubles = &mut self.troubles;
        if ms < troubles.garbage_ms {
            return;
        }
        troubles.garbage_ms = ms + troubles.random.whole(20 * MINUTE_MS, 90 * MINUTE_MS);
        let kind = troubles.random.whole(0, 6);
        let cut = troubles.random.unit();
        let whole = self.units[Id::GarageClimate].payload(&[]);
        let payload = match kind {
            0 => whole[..1 + (cut * (whole.len() - 2) as f64) as usize].to_vec(),
            1 => [&whole[..whole.len() / 2], &[0xFF, 0xFE, 0x80, 0x00, 0xC3]].concat(),
            2 => br#"{"temperature":"NaN","humidity":"NaN","linkquality":31}"#.to_vec(),
            3 => br#"{"temperature":{"value":4.2},"humidity":[61],"battery":true}"#.to_vec(),
            4 => br#"["temperature",4.2]"#.to_vec(),
            _ => Vec::new(),
        };
        self.emit(Id::GarageClimate, ms, payload);
    }
}
