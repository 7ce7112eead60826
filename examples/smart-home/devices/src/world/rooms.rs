//! How warm, damp and stuffy each room is.
//!
//! Each room is one heat store behind one resistance to the outside (a first-order RC), coupled
//! to the rest of the house, and one volume of air that is slowly exchanged. That is simple, and
//! right where it matters for automations: rooms have inertia, heating takes an hour, an open
//! window is felt within minutes.

use super::home::Room;
use super::weather::Outdoors;

/// What a room is made of.
#[derive(Debug)]
struct Build {
    /// m³ of air.
    volume: f64,
    /// W/K to the outside, windows closed.
    loss: f64,
    /// W/K to the rest of the house.
    coupling: f64,
    /// J/K that take part within hours: air, furniture, the skin of the walls.
    capacity: f64,
    /// m² of window that the sun shines through.
    glass: f64,
    /// W that the radiator gives when its valve is fully open.
    radiator: f64,
}

fn build(room: Room) -> Build {
    let (volume, loss, coupling, capacity, glass, radiator) = match room {
        Room::Kitchen => (40.0, 22.0, 15.0, 0.9e6, 1.2, 1400.0),
        Room::LivingRoom => (75.0, 34.0, 20.0, 1.7e6, 2.6, 2200.0),
        Room::Bedroom => (42.0, 20.0, 14.0, 1.0e6, 1.0, 1200.0),
        Room::KidsRoom => (40.0, 21.0, 14.0, 0.9e6, 1.0, 1300.0),
        Room::Bathroom => (20.0, 10.0, 12.0, 0.6e6, 0.2, 800.0),
        Room::Hallway => (30.0, 12.0, 40.0, 0.7e6, 0.1, 700.0),
        Room::Garage => (55.0, 60.0, 12.0, 2.4e6, 0.3, 0.0),
        // No walls: the garden is as the weather is.
        Room::Garden => (1.0, 1.0, 0.0, 1.0, 0.0, 0.0),
    };
    Build {
        volume,
        loss,
        coupling,
        capacity,
        glass,
        radiator,
    }
}

/// What happens in a room during a step.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Inputs {
    /// How many people are in it.
    pub(super) people: f64,
    /// How far the radiator's valve is open, 0 to 1.
    pub(super) valve: f64,
    /// W from appliances, cooking, an electric heater; negative from an air conditioner.
    pub(super) heat: f64,
    /// g/h of water vapour from showers, cooking; negative from an air conditioner.
    pub(super) vapour: f64,
    /// What cooking and cleaning add to particles and vapours, 0 to 1.
    pub(super) fumes: f64,
    /// Whether the window, or the outer door, is open.
    pub(super) open: bool,
    /// How much of the sunlight the blinds let in, 0 to 1.
    pub(super) sunlight: f64,
}

/// The state of one room.
#[derive(Clone, Copy, Debug)]
pub(super) struct Air {
    /// °C.
    pub(super) temperature: f64,
    /// g of water vapour per m³.
    vapour: f64,
    /// ppm.
    pub(super) co2: f64,
    /// µg/m³.
    pub(super) particles: f64,
    /// ppb.
    pub(super) voc: f64,
    /// W that the radiator gives now; it lags behind its valve.
    pub(super) radiator: f64,
}

impl Air {
    /// Relative humidity in percent.
    pub(super) fn humidity(&self) -> f64 {
        (100.0 * self.vapour / saturation(self.temperature)).clamp(5.0, 99.0)
    }
}

/// All rooms.
#[derive(Debug)]
pub(super) struct Rooms {
    air: [Air; Room::ALL.len()],
}

impl Rooms {
    /// The rooms as a family leaves them in the evening.
    pub(super) fn new(outdoors: &Outdoors) -> Rooms {
        let air = Room::ALL.map(|room| {
            let temperature = match room {
                Room::Garden => outdoors.temperature,
                Room::Garage => 0.6 * outdoors.temperature + 5.0,
                Room::Bedroom => f64::max(18.2, outdoors.temperature + 1.0),
                Room::LivingRoom => f64::max(20.6, outdoors.temperature + 1.0),
                _ => f64::max(19.6, outdoors.temperature + 1.0),
            };
            let humidity = match room {
                Room::Garden => outdoors.humidity,
                Room::Garage => 65.0,
                Room::Bathroom => 52.0,
                _ => 41.0,
            };
            Air {
                temperature,
                vapour: saturation(temperature) * humidity / 100.0,
                co2: 600.0,
                particles: 4.0,
                voc: 110.0,
                radiator: 0.25 * build(room).radiator,
            }
        });
        Rooms { air }
    }

    pub(super) fn get(&self, room: Room) -> &Air {
        &self.air[room as usize]
    }

    /// Lets `seconds` pass in all rooms.
    pub(super) fn step(&mut self, seconds: f64, outdoors: &Outdoors, inputs: &[Inputs; 8]) {
        let hall = self.air[Room::Hallway as usize].temperature;
        let outside_vapour = saturation(outdoors.temperature) * outdoors.humidity / 100.0;
        let mut into_hall = 0.0;
        for room in Room::ALL {
            let (build, input) = (build(room), &inputs[room as usize]);
            let air = &mut self.air[room as usize];
            if room == Room::Garden {
                air.temperature = outdoors.temperature;
                air.vapour = outside_vapour;
                continue;
            }

            // Water and iron: a radiator needs a quarter of an hour to follow its valve.
            air.radiator += (input.valve * build.radiator - air.radiator) * seconds / 900.0;

            let loss = build.loss + if input.open { 110.0 } else { 0.0 };
            let through_doors = if room == Room::Hallway {
                0.0
            } else {
                build.coupling * (hall - air.temperature)
            };
            into_hall -= through_doors;
            // Of 100,000 lx about 900 W/m² are sunlight; half of it comes through the glass.
            let sun = outdoors.illuminance * 0.0045 * build.glass * input.sunlight;
            let watts = loss * (outdoors.temperature - air.temperature)
                + through_doors
                + sun
                + air.radiator
                + input.heat
                + 85.0 * input.people;
            air.temperature += watts * seconds / build.capacity;

            // The share of the air that is new after this step.
            let per_hour = if input.open { 7.0 } else { 0.3 };
            let fresh = (per_hour * seconds / 3600.0).min(1.0);
            let into_air = |per_hour: f64| per_hour * seconds / 3600.0 / build.volume;
            air.vapour += into_air(45.0 * input.people + input.vapour);
            air.vapour += (outside_vapour - air.vapour) * fresh;
            // What the air cannot hold settles on tiles and panes.
            air.vapour = air.vapour.clamp(0.3, 0.97 * saturation(air.temperature));
            air.co2 += into_air(16_000.0 * input.people) + (425.0 - air.co2) * fresh;
            air.particles += into_air(9_000.0 * input.fumes) + (3.0 - air.particles) * fresh;
            air.voc +=
                into_air(60_000.0 * input.fumes + 700.0 * input.people) + (70.0 - air.voc) * fresh;
        }
        self.air[Room::Hallway as usize].temperature +=
            into_hall * seconds / build(Room::Hallway).capacity;
    }
}

/// The most water vapour that air can hold, in g/m³ (Magnus formula).
fn saturation(celsius: f64) -> f64 {
    let pressure = 611.2 * (17.62 * celsius / (243.12 + celsius)).exp();
    pressure / (461.5 * (celsius + 273.15)) * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::DEFAULT_START_MS;

    /// The bedroom after some hours with these inputs, and frost outside.
    fn after(hours: usize, input: Inputs) -> Air {
        let outdoors = Outdoors {
            temperature: -2.0,
            humidity: 85.0,
            illuminance: 0.0,
            ..Outdoors::at(42, DEFAULT_START_MS)
        };
        let mut rooms = Rooms::new(&outdoors);
        let mut inputs = [Inputs::default(); 8];
        inputs[Room::Bedroom as usize] = input;
        for _ in 0..hours * 360 {
            rooms.step(10.0, &outdoors, &inputs);
        }
        *rooms.get(Room::Bedroom)
    }

    #[test]
    fn an_open_valve_warms_the_room() {
        let cold = after(2, Inputs::default());
        let warm = after(
            2,
            Inputs {
                valve: 1.0,
                ..Inputs::default()
            },
        );
        assert!(
            warm.temperature > cold.temperature + 2.0,
            "{warm:?} {cold:?}"
        );
    }

    #[test]
    fn an_open_window_cools_and_dries_the_room() {
        let closed = after(1, Inputs::default());
        let open = after(
            1,
            Inputs {
                open: true,
                ..Inputs::default()
            },
        );
        assert!(
            open.temperature < closed.temperature - 3.0,
            "{open:?} {closed:?}"
        );
        assert!(open.co2 < closed.co2);
    }

    #[test]
    fn two_sleepers_make_the_air_damp_and_stuffy() {
        let empty = after(8, Inputs::default());
        let full = after(
            8,
            Inputs {
                people: 2.0,
                ..Inputs::default()
            },
        );
        assert!(full.humidity() > empty.humidity() + 5.0);
        assert!((1_200.0..3_000.0).contains(&full.co2), "{full:?}");
    }

    #[test]
    fn a_shower_never_makes_more_than_saturated_air() {
        let wet = after(
            3,
            Inputs {
                vapour: 5_000.0,
                ..Inputs::default()
            },
        );
        assert!((80.0..=99.0).contains(&wet.humidity()), "{wet:?}");
    }
}
