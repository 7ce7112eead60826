//! Keeps one room at its temperature.
//!
//! - **Is:** one actor, [`Thermostat`], for each room; it heats with all devices
//!   of the room that can heat and cools with those that can cool.
//! - **Handles:** [`Checkpoint`].
//! - **Subscribes to:** [`TemperatureRead`], [`OpeningReported`] and
//!   [`DeviceKnown`], of which it looks at its own room's; [`MinutePassed`],
//!   [`RollCall`].
//! - **Publishes:** [`Command`](home_protocol::Command) with [`Order::Heat`] and [`Order::Cool`],
//!   [`Decided`](home_protocol::Decided), [`TakesPart`].
//! - **Crashes when:** never. If it is made to, the next life knows nothing: it
//!   learns the devices from what the gateway answers to its [`TakesPart`], and
//!   temperatures and open windows from their next reports, which may take an
//!   hour. Until the first of them it orders nothing.
//!
//! # How it decides
//!
//! The room's temperature is the mean of the latest readings of its devices, those
//! from before [`Settings::silent_minutes`] left out. Numbers that no room has,
//! below -40 or above 60 degrees, count as not read.
//!
//! | the first line that holds                      | heating                            | cooling |
//! |------------------------------------------------|------------------------------------|---------|
//! | a door or window is open, or was 2 minutes ago | 7 °C, against frost                | off     |
//! | no temperature for so long                     | 17 °C                              | off     |
//! | below the target by more than 0.3 K            | the target                         | off     |
//! | above the target by more than 0.3 K            | 7 °C                               | may run |
//! | near the target                                | as before                          | as before |
//!
//! Cooling runs from above 26 °C until below 24.5 °C. A device hears only what is
//! not its order already; what a device was told before this life is not known,
//! so it is told once.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use greenroom::prelude::*;
use home_protocol::{
    At, Checkpoint, Decision, DeviceKnown, DeviceName, MinutePassed, OpeningReported, Order,
    RollCall, Skill, TakesPart, TemperatureRead, carry_out, decides,
};

#[cfg(test)]
mod tests;

/// What devices get while a window is open or the room is warm: enough against frost.
const FROST_CELSIUS: f64 = 7.0;

/// What a room is heated to that cannot be measured: nobody freezes, and little is wasted.
const SAFE_CELSIUS: f64 = 17.0;

/// A broken sensor says numbers that no room has; 655.35 is a common one.
const PLAUSIBLE_CELSIUS: std::ops::RangeInclusive<f64> = -40.0..=60.0;

/// How one room is to be kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The room, as devices are named before the slash.
    pub room: String,
    /// The target by day, in degrees Celsius; 21 by default.
    pub day_celsius: f64,
    /// The target by night, in degrees Celsius; 18 by default, which is what one sleeps well at.
    pub night_celsius: f64,
    /// The minute of the day at which the day begins; 360 by default, 06:00.
    pub day_begins_minute: u16,
    /// The minute of the day at which the night begins; 1,320 by default, 22:00.
    pub day_ends_minute: u16,
    /// How far from the target nothing changes, in kelvin; 0.3 by default, more than sensors wobble.
    pub hysteresis_kelvin: f64,
    /// Above what it cools, in degrees Celsius; 26 by default.
    pub cool_above_celsius: f64,
    /// What the air conditioning is set to, in degrees Celsius; 24 by default.
    pub cool_to_celsius: f64,
    /// Below what it stops to cool, in degrees Celsius; 24.5 by default.
    pub cool_until_celsius: f64,
    /// How long heating waits after the last window has closed, in minutes; 2 by default, for the
    /// air to mix.
    pub after_airing_minutes: u32,
    /// After how many minutes a reading no longer counts; 75 by default, because sensors that have
    /// nothing new say so once an hour, and not on the second.
    pub silent_minutes: u32,
}

impl Settings {
    /// Returns the defaults for a room.
    #[must_use]
    pub fn room(room: &str) -> Self {
        Settings {
            room: room.to_owned(),
            day_celsius: 21.0,
            night_celsius: 18.0,
            day_begins_minute: 6 * 60,
            day_ends_minute: 22 * 60,
            hysteresis_kelvin: 0.3,
            cool_above_celsius: 26.0,
            cool_to_celsius: 24.0,
            cool_until_celsius: 24.5,
            after_airing_minutes: 2,
            silent_minutes: 75,
        }
    }

    fn target(&self, at: At) -> f64 {
        let (minute, begins, ends) = (
            at.minute_of_day(),
            self.day_begins_minute,
            self.day_ends_minute,
        );
        let is_day = if begins <= ends {
            (begins..ends).contains(&minute)
        } else {
            minute >= begins || minute < ends
        };
        if is_day {
            self.day_celsius
        } else {
            self.night_celsius
        }
    }
}

/// An actor that keeps one room at its temperature.
#[derive(Debug)]
pub struct Thermostat {
    rules: Rules,
}

impl Actor for Thermostat {
    type Args = Settings;
    type Error = Infallible;

    async fn start(settings: Settings, cx: &mut Context<Self>) -> Result<Self, Infallible> {
        cx.subscribe::<TemperatureRead>();
        cx.subscribe::<OpeningReported>();
        cx.subscribe::<DeviceKnown>();
        cx.subscribe::<MinutePassed>();
        cx.subscribe::<RollCall>();
        // The gateway answers with the devices, which a new life does not know.
        cx.publish(TakesPart(cx.me().recipient()));
        let rules = Rules::new(settings);
        Ok(Thermostat { rules })
    }

    fn flow(flow: &mut Flow<Self>) {
        flow.subscribes::<TemperatureRead>();
        flow.subscribes::<OpeningReported>();
        flow.subscribes::<DeviceKnown>();
        flow.subscribes::<MinutePassed>();
        flow.subscribes::<RollCall>();
        flow.handles::<Checkpoint>();
        flow.publishes::<TakesPart>();
        decides(flow);
    }
}

impl Handler<TemperatureRead> for Thermostat {
    async fn handle(
        &mut self,
        read: TemperatureRead,
        cx: &mut Context<Self>,
    ) -> Result<(), Infallible> {
        carry_out(read.at, self.rules.temperature_read(&read), cx);
        Ok(())
    }
}

impl Handler<OpeningReported> for Thermostat {
    async fn handle(
        &mut self,
        changed: OpeningReported,
        cx: &mut Context<Self>,
    ) -> Result<(), Infallible> {
        carry_out(changed.at, self.rules.opening_changed(&changed), cx);
        Ok(())
    }
}

impl Handler<DeviceKnown> for Thermostat {
    async fn handle(
        &mut self,
        known: DeviceKnown,
        _: &mut Context<Self>,
    ) -> Result<(), Infallible> {
        self.rules.device_known(&known);
        Ok(())
    }
}

impl Handler<MinutePassed> for Thermostat {
    async fn handle(
        &mut self,
        MinutePassed { at }: MinutePassed,
        cx: &mut Context<Self>,
    ) -> Result<(), Infallible> {
        carry_out(at, self.rules.decide(at), cx);
        Ok(())
    }
}

impl Handler<RollCall> for Thermostat {
    async fn handle(&mut self, _: RollCall, cx: &mut Context<Self>) -> Result<(), Infallible> {
        cx.publish(TakesPart(cx.me().recipient()));
        Ok(())
    }
}

impl Handler<Checkpoint> for Thermostat {
    async fn handle(&mut self, _: Checkpoint, _: &mut Context<Self>) -> Result<(), Infallible> {
        Ok(())
    }
}

/// How the room is heated.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Heating {
    /// Up to so many degrees.
    To(f64),
    /// It is warm enough.
    Off,
    /// A window is open, or was a moment ago.
    Airing,
    /// The temperature is not known.
    Blind,
}

impl Heating {
    fn celsius(self) -> f64 {
        match self {
            Heating::To(target) => target,
            Heating::Off | Heating::Airing => FROST_CELSIUS,
            Heating::Blind => SAFE_CELSIUS,
        }
    }
}

/// The thermostat's mind: events in, decisions out.
#[derive(Debug)]
struct Rules {
    settings: Settings,
    /// The latest reading of each device.
    readings: BTreeMap<DeviceName, (f64, At)>,
    /// When a temperature was last read, or when this life began to listen.
    heard: Option<At>,
    open: BTreeSet<DeviceName>,
    /// When the last of the openings closed.
    closed: Option<At>,
    heating: Option<Heating>,
    is_cooling: bool,
    /// What people were told last, to tell them only what is new.
    said_heating: Option<Heating>,
    said_cooling: bool,
    /// What can heat, and what it was told; `None` before the first order.
    heaters: BTreeMap<DeviceName, Option<f64>>,
    /// What can cool, and what it was told.
    coolers: BTreeMap<DeviceName, Option<Option<f64>>>,
}

impl Rules {
    fn new(settings: Settings) -> Self {
        Rules {
            settings,
            readings: BTreeMap::new(),
            heard: None,
            open: BTreeSet::new(),
            closed: None,
            heating: None,
            is_cooling: false,
            said_heating: None,
            said_cooling: false,
            heaters: BTreeMap::new(),
            coolers: BTreeMap::new(),
        }
    }

    fn is_here(&self, device: &DeviceName) -> bool {
        device.room() == self.settings.room
    }

    fn temperature_read(&mut self, read: &TemperatureRead) -> Vec<Decision> {
        // A range contains no NaN.
        if !self.is_here(&read.device) || !PLAUSIBLE_CELSIUS.contains(&read.celsius) {
            return Vec::new();
        }
        self.readings
            .insert(read.device.clone(), (read.celsius, read.at));
        self.heard = Some(read.at);
        self.decide(read.at)
    }

    fn opening_changed(&mut self, changed: &OpeningReported) -> Vec<Decision> {
        if !self.is_here(&changed.device) {
            return Vec::new();
        }
        if changed.open {
            self.open.insert(changed.device.clone());
        } else if self.open.remove(&changed.device) && self.open.is_empty() {
            self.closed = Some(changed.at);
        }
        self.decide(changed.at)
    }

    /// Learns of a device, for the next event: its time is when the gateway learnt of it, maybe long ago.
    fn device_known(&mut self, known: &DeviceKnown) {
        if !self.is_here(&known.device) {
            return;
        }
        // The gateway tells again and again; what a device was told stays.
        if known.skills.contains(&Skill::Heat) {
            self.heaters.entry(known.device.clone()).or_default();
        } else {
            self.heaters.remove(&known.device);
        }
        if known.skills.contains(&Skill::Cool) {
            self.coolers.entry(known.device.clone()).or_default();
        } else {
            self.coolers.remove(&known.device);
        }
    }

    /// Looks at all that is known and returns what has to change.
    fn decide(&mut self, at: At) -> Vec<Decision> {
        self.heard.get_or_insert(at);
        let air = self.air(at);
        let Some(heating) = self.heating_now(at, air) else {
            return Vec::new();
        };
        self.heating = Some(heating);
        self.is_cooling = self.cooling_now(air, heating);

        let mut decisions = Vec::new();
        let celsius = heating.celsius();
        let is_told = order_all(&mut self.heaters, celsius, &mut decisions, |celsius| {
            Order::Heat { celsius }
        });
        if is_told && self.said_heating != Some(heating) {
            self.said_heating = Some(heating);
            decisions.push(Decision::Say(self.heating_words(heating, at, air)));
        }
        let celsius = self.is_cooling.then_some(self.settings.cool_to_celsius);
        let is_told = order_all(&mut self.coolers, celsius, &mut decisions, |celsius| {
            Order::Cool { celsius }
        });
        if is_told && self.said_cooling != self.is_cooling {
            self.said_cooling = self.is_cooling;
            decisions.push(Decision::Say(self.cooling_words(heating, air)));
        }
        decisions
    }

    /// Returns the room's temperature, if it is known.
    fn air(&self, at: At) -> Option<f64> {
        let (mut sum, mut n_readings) = (0.0, 0.0);
        for (celsius, read_at) in self.readings.values() {
            if minutes_apart(at, *read_at) <= u64::from(self.settings.silent_minutes) {
                sum += celsius;
                n_readings += 1.0;
            }
        }
        (n_readings > 0.0).then(|| sum / n_readings)
    }

    /// Returns `None` as long as too little is known to decide.
    fn heating_now(&self, at: At, air: Option<f64>) -> Option<Heating> {
        let waits = |closed| minutes_apart(at, closed) < self.settings.after_airing_minutes.into();
        if !self.open.is_empty() || self.closed.is_some_and(waits) {
            return Some(Heating::Airing);
        }
        let Some(air) = air else {
            let silent = self.heard.map_or(0, |heard| minutes_apart(at, heard));
            let is_blind = silent > self.settings.silent_minutes.into();
            return if is_blind {
                Some(Heating::Blind)
            } else {
                self.heating
            };
        };
        let (target, margin) = (self.settings.target(at), self.settings.hysteresis_kelvin);
        let is_cold = match self.heating {
            Some(Heating::To(_)) => air <= target + margin,
            Some(Heating::Off) => air < target - margin,
            Some(Heating::Airing | Heating::Blind) | None => air < target,
        };
        Some(if is_cold {
            Heating::To(target)
        } else {
            Heating::Off
        })
    }

    fn cooling_now(&self, air: Option<f64>, heating: Heating) -> bool {
        match (heating, air) {
            (Heating::Off, Some(air)) if self.is_cooling => air >= self.settings.cool_until_celsius,
            (Heating::Off, Some(air)) => air > self.settings.cool_above_celsius,
            _ => false,
        }
    }

    fn heating_words(&self, heating: Heating, at: At, air: Option<f64>) -> String {
        let room = &self.settings.room;
        let target = self.settings.target(at);
        match (heating, air) {
            (Heating::Airing, _) => format!("{room}: heating off, a window is open"),
            (Heating::Blind, _) | (_, None) => {
                let minutes = self.settings.silent_minutes;
                format!(
                    "{room}: no temperature for {minutes} minutes, heating to {SAFE_CELSIUS:.1} degrees"
                )
            }
            (Heating::To(_), Some(air)) => {
                format!("{room}: heating on, {air:.1} of {target:.1} degrees")
            }
            (Heating::Off, Some(air)) => {
                format!("{room}: heating off, {air:.1} of {target:.1} degrees")
            }
        }
    }

    fn cooling_words(&self, heating: Heating, air: Option<f64>) -> String {
        let room = &self.settings.room;
        match (heating, air) {
            (Heating::Airing, _) => format!("{room}: cooling off, a window is open"),
            (_, None) => format!("{room}: cooling off, no temperature"),
            (_, Some(air)) if self.is_cooling => {
                let target = self.settings.cool_to_celsius;
                format!("{room}: cooling on, {air:.1} of {target:.1} degrees")
            }
            (_, Some(air)) => format!("{room}: cooling off, {air:.1} degrees"),
        }
    }
}

/// Orders the devices that were told something else, and returns whether there were any.
fn order_all<T: Copy + PartialEq>(
    devices: &mut BTreeMap<DeviceName, Option<T>>,
    wanted: T,
    decisions: &mut Vec<Decision>,
    order: impl Fn(T) -> Order,
) -> bool {
    let before = decisions.len();
    for (device, told) in devices {
        if *told != Some(wanted) {
            *told = Some(wanted);
            decisions.push(Decision::Order(device.clone(), order(wanted)));
        }
    }
    decisions.len() > before
}

/// Returns the full minutes between two times, whichever is earlier: event time may step back.
fn minutes_apart(a: At, b: At) -> u64 {
    a.0.abs_diff(b.0) / 60_000
}
