//! What stands behind the plugs and pipes: power, heat, water.

use super::home::{Id, Room};
use super::people::Doing;
use super::{DAY_MS, MINUTE_MS, STEP_MS, World};
use crate::random::{Random, noise};

/// The appliances and what they are in the middle of.
#[derive(Debug)]
pub(super) struct Appliances {
    random: Random,
    fridge: Compressor,
    freezer: Compressor,
    kettle_until_ms: i64,
    wash_start_ms: Option<i64>,
    /// kWh of each metered device, ever.
    meters: [(Id, f64); 7],
}

#[derive(Debug, Default)]
struct Compressor {
    runs: bool,
    until_ms: i64,
}

impl Compressor {
    /// Runs and rests in turn, for about as many minutes as given.
    fn watts(
        &mut self,
        ms: i64,
        plugged: bool,
        watts: f64,
        minutes: (f64, f64),
        random: &mut Random,
    ) -> f64 {
        if !plugged {
            *self = Compressor::default();
            return 0.0;
        }
        if ms >= self.until_ms {
            self.runs = !self.runs;
            let minutes = if self.runs { minutes.0 } else { minutes.1 };
            self.until_ms = ms + (minutes * random.between(0.85, 1.2) * 60_000.0) as i64;
        }
        if self.runs { watts } else { 1.4 }
    }
}

impl Appliances {
    pub(super) fn new(seed: u64) -> Appliances {
        let mut random = Random::new(seed, "appliance", 0);
        let meters = [
            Id::KitchenFridge,
            Id::KitchenKettle,
            Id::LivingTv,
            Id::LivingAircon,
            Id::BathroomWasher,
            Id::HallwayLight,
            Id::GarageFreezer,
        ]
        .map(|id| (id, random.between(20.0, 400.0)));
        Appliances {
            random,
            fridge: Compressor::default(),
            freezer: Compressor::default(),
            kettle_until_ms: i64::MIN,
            wash_start_ms: None,
            meters,
        }
    }

    /// Whether the drum of the washing machine is turning.
    pub(super) fn drum_turns(&self, ms: i64) -> bool {
        self.wash_start_ms
            .is_some_and(|start| (5..107).contains(&((ms - start) / MINUTE_MS)))
    }
}

impl World {
    /// Runs the appliances: what they draw, what they give off, and what water flows.
    pub(super) fn work(&mut self, ms: i64) {
        let second = ms.rem_euclid(DAY_MS) / 1000;
        let now = |at: i64| (second..second + STEP_MS / 1000).contains(&at);
        let plan = self.life.plan();
        if plan.kettle.iter().any(|at| now(*at)) {
            self.appliances.kettle_until_ms = ms + self.appliances.random.whole(13, 19) * STEP_MS;
        }
        if plan.wash.is_some_and(now) {
            self.appliances.wash_start_ms = Some(ms);
        }
        let (bath_from, bath_to) = plan.bath;
        if now(bath_from) || now(bath_to) {
            let state = if now(bath_from) { "ON" } else { "OFF" };
            self.units[Id::BathroomHeater].put("state", state);
        }
        let smoke = plan.smoke.is_some_and(|at| (at..at + 90).contains(&second));
        self.units[Id::KitchenSmoke].put("smoke", smoke);
        self.draw_power(ms);
        self.give_off(smoke);
        self.let_water_flow(ms);
    }

    fn draw_power(&mut self, ms: i64) {
        let plugged = |id: Id| self.units[id].is("state", "ON");
        let appliances = &mut self.appliances;
        let random = &mut appliances.random;
        let fridge =
            appliances
                .fridge
                .watts(ms, plugged(Id::KitchenFridge), 82.0, (14.0, 29.0), random);
        let freezer =
            appliances
                .freezer
                .watts(ms, plugged(Id::GarageFreezer), 108.0, (17.0, 34.0), random);
        let kettle = match plugged(Id::KitchenKettle) {
            true if ms < appliances.kettle_until_ms => 2050.0,
            true => 0.4,
            false => 0.0,
        };
        let tv = match plugged(Id::LivingTv) {
            // Bright pictures draw more than dark ones.
            true if self.life.doing_in(Room::LivingRoom, Doing::Watching) > 0 => {
                105.0 + 30.0 * noise(self.seed, 21, ms as f64 / 45_000.0)
            }
            true => 0.7,
            false => 0.0,
        };
        if !plugged(Id::BathroomWasher) {
            // Without power the programme is lost.
            appliances.wash_start_ms = None;
        }
        let washer = match appliances.wash_start_ms {
            Some(start) => washer_watts((ms - start) as f64 / MINUTE_MS as f64, random),
            None if plugged(Id::BathroomWasher) => 0.9,
            None => 0.0,
        };
        let light = if plugged(Id::HallwayLight) { 11.0 } else { 0.0 };
        let aircon = self.cool();
        let watts = [fridge, kettle, tv, aircon, washer, light, freezer];

        let mains = 230.0 + 3.5 * noise(self.seed, 22, ms as f64 / (20.0 * MINUTE_MS as f64));
        for ((id, kwh), watts) in self.appliances.meters.iter_mut().zip(watts) {
            *kwh += watts * STEP_MS as f64 / 3_600_000_000.0;
            let unit = &mut self.units[*id];
            let volts = mains - 0.0009 * watts;
            unit.measure(
                "power",
                watts,
                if watts < 100.0 { 1 } else { 0 },
                f64::max(1.0, 0.03 * watts),
            );
            unit.measure("current", watts / volts, 2, 0.1);
            unit.measure("voltage", volts, 0, 1.5);
            unit.measure("energy", *kwh, 2, 0.02);
            unit.measure("device_temperature", 24.0 + watts / 150.0, 0, 3.0);
        }
    }

    /// Runs the air conditioner, and returns what it draws in watts.
    fn cool(&mut self) -> f64 {
        let unit = &self.units[Id::LivingAircon];
        let room = self.rooms.get(Room::LivingRoom).temperature;
        let input = &mut self.inputs[Room::LivingRoom as usize];
        if !unit.is("state", "ON") {
            return 0.0;
        }
        let setpoint = unit.number("current_heating_setpoint").unwrap_or(24.0);
        if unit.is("system_mode", "cool") && room > setpoint {
            // An inverter: the further away, the harder it works.
            let load = ((room - setpoint) * 0.6 + 0.25).min(1.0);
            input.heat -= 2600.0 * load;
            input.vapour -= 300.0 * load;
            return 60.0 + 780.0 * load;
        }
        if unit.is("system_mode", "dry") {
            input.heat -= 500.0;
            input.vapour -= 600.0;
            return 320.0;
        }
        45.0
    }

    /// What people and appliances add to the air of the rooms.
    fn give_off(&mut self, smoke: bool) {
        for room in Room::ALL {
            let input = &mut self.inputs[room as usize];
            let cooking = self.life.doing_in(room, Doing::Cooking) as f64;
            let showering = self.life.doing_in(room, Doing::Showering) as f64;
            input.people = self.life.people_in(room) as f64;
            input.heat += 1100.0 * cooking + 350.0 * showering;
            input.vapour += 700.0 * cooking + 1300.0 * showering;
            input.fumes += 0.35 * cooking + 0.03 * showering;
        }
        let kettle = self.units[Id::KitchenKettle].number("power");
        let kitchen = &mut self.inputs[Room::Kitchen as usize];
        if kettle.is_some_and(|watts| watts > 100.0) {
            kitchen.heat += 600.0;
            kitchen.vapour += 250.0;
        }
        if smoke {
            kitchen.fumes += 1.0;
        }
        let tv = self.units[Id::LivingTv].number("power").unwrap_or(0.0);
        self.inputs[Room::LivingRoom as usize].heat += tv;
        if self.units[Id::BathroomHeater].is("state", "ON") {
            self.inputs[Room::Bathroom as usize].heat += 900.0;
        }
    }

    /// Measures the water that flows through the main, if its valve is open.
    fn let_water_flow(&mut self, ms: i64) {
        let showers = self.life.doing_in(Room::Bathroom, Doing::Showering) as f64;
        let taps = self.life.doing_in(Room::Kitchen, Doing::Cooking);
        let tap = taps > 0 && noise(self.seed, 23, ms as f64 / 40_000.0) > 0.45;
        let fills = self.appliances.wash_start_ms.is_some_and(|start| {
            let minute = (ms - start) / MINUTE_MS;
            matches!(minute, 0..4 | 40..43 | 60..63 | 75..78)
        });
        let open = self.units[Id::GarageValve].is("state", "ON");
        let mut flow = 0.48 * showers;
        flow += if tap { 0.3 } else { 0.0 };
        flow += if fills { 0.36 } else { 0.0 };
        flow += self.leak_flow();
        if !open {
            flow = 0.0;
        }
        let valve = &mut self.units[Id::GarageValve];
        valve.measure("flow", flow, 2, 0.05);
        valve.put(
            "valve_work_state",
            if flow > 0.0 { "working" } else { "idle" },
        );
    }

    /// Sets the radiators' valves by their own thermostats, and heats the rooms that have none.
    pub(super) fn heat(&mut self, minute: bool) {
        for (id, room) in RADIATORS {
            let air = *self.rooms.get(room);
            let window = self.inputs[room as usize].open;
            let unit = &mut self.units[id];
            if minute {
                let setpoint = unit.number("occupied_heating_setpoint").unwrap_or(20.0);
                let off = unit.is("system_mode", "off") || unit.is("operating_mode", "pause");
                // The valve sits at the radiator, where it is a little warmer.
                let local = air.temperature + air.radiator / 3000.0;
                let wanted = if off { FROST_CELSIUS } else { setpoint };
                let mut demand = ((wanted + 0.3 - local) * 0.8).clamp(0.0, 1.0);
                if unit.info.vendor == "Danfoss" {
                    // This model notices the window by itself, and waits until it is closed.
                    demand = if window { 0.0 } else { demand };
                    unit.put(
                        "window_open_internal",
                        if window { "open" } else { "closed" },
                    );
                }
                unit.measure("local_temperature", local, 1, 0.1);
                unit.measure("pi_heating_demand", demand * 100.0, 0, 3.0);
                let heats = unit.is("running_state", "heat");
                // Two limits, so that it does not flutter.
                let heats = demand > if heats { 0.02 } else { 0.1 };
                unit.put("running_state", if heats { "heat" } else { "idle" });
                self.valves[room as usize] = demand;
            }
        }
        if minute {
            // Here old valves without a radio keep the temperature by themselves.
            for (room, wanted) in [(Room::Bathroom, 20.5), (Room::Hallway, 18.5)] {
                let air = self.rooms.get(room);
                self.valves[room as usize] = ((wanted - air.temperature) * 0.7).clamp(0.0, 1.0);
            }
            let room = self.rooms.get(Room::LivingRoom).temperature;
            self.units[Id::LivingAircon].measure("local_temperature", room, 0, 0.8);
        }
        for (input, valve) in self.inputs.iter_mut().zip(self.valves) {
            input.valve = valve;
        }
    }
}

/// What a washing machine draws in a programme of 108 minutes: fill, heat, turn, spin.
fn washer_watts(minutes: f64, random: &mut Random) -> f64 {
    match minutes {
        m if m < 5.0 => 9.0,
        m if m < 24.0 => 2060.0 + random.between(-25.0, 25.0),
        m if m < 84.0 => random.between(70.0, 240.0),
        m if m < 91.0 => 38.0,
        m if m < 107.0 => 180.0 + 18.0 * (m - 91.0) + random.between(-20.0, 20.0),
        _ => 0.9,
    }
}

/// The radiators that have a valve with a radio.
const RADIATORS: [(Id, Room); 4] = [
    (Id::KitchenRadiator, Room::Kitchen),
    (Id::LivingRadiator, Room::LivingRoom),
    (Id::BedroomRadiator, Room::Bedroom),
    (Id::KidsRadiator, Room::KidsRoom),
];

/// What a thermostat that is off still keeps, so that pipes do not burst.
const FROST_CELSIUS: f64 = 6.0;
