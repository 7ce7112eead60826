//! Lights one room while somebody is in it and it is dark.
//!
//! - **Is:** one actor, [`Lights`], for each room; it switches all lamps of the
//!   room.
//! - **Handles:** [`Checkpoint`].
//! - **Subscribes to:** [`MotionSeen`], [`LampReported`] and [`DeviceKnown`], of
//!   which it looks at its own room's; [`IlluminanceRead`] of its room and of the
//!   garden; [`MinutePassed`], [`RollCall`].
//! - **Publishes:** [`Command`](home_protocol::Command) with [`Order::Light`], [`Decided`](home_protocol::Decided), [`TakesPart`].
//! - **Crashes when:** never. If it is made to, the next life knows nothing: it
//!   learns the lamps from what the gateway answers to its [`TakesPart`]. A lamp
//!   that it had lit and that reports before the next motion is then taken for
//!   one that somebody else lit, and stays on; a hand that switched a lamp is
//!   forgotten.
//!
//! # How it decides
//!
//! - Somebody is in the room as long as one of its sensors says so, and the
//!   sensor has not been [silent](Settings::silent_minutes).
//! - It is dark below [`Settings::dark_lux`], by the latest reading of the room's
//!   own sensors, or else of the garden's. Where nobody says how bright it is, it
//!   is taken to be dark: light by day costs little, no light at night a shin.
//! - Somebody there and dark: all lamps that are off, or not known, go on; in a
//!   room in which one [sleeps](Settings::sleeping), not at night.
//! - Nobody there for [`Settings::off_after_minutes`]: the lamps that this actor
//!   lit go off.
//! - A lamp whose report contradicts what is known of it was switched by hand, or
//!   does not obey; it is left alone for [`Settings::hands_off_minutes`], and is
//!   no longer one that this actor lit. Only within a minute of an order may the
//!   report be older than the order, and means nothing.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::convert::Infallible;

use greenroom::prelude::*;
use home_protocol::{
    At, Checkpoint, Decision, DeviceKnown, DeviceName, IlluminanceRead, LampReported, MinutePassed,
    MotionSeen, Order, RollCall, Skill, TakesPart, carry_out, decides,
};

#[cfg(test)]
mod tests;

/// The room that tells the others how bright the day is.
const OUTSIDE: &str = "garden";

/// How long a report may be on its way while the lamp has already been told something else.
const OBEYS_WITHIN_MS: u64 = 60_000;

/// How one room is to be lit.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The room, as devices are named before the slash.
    pub room: String,
    /// Below how many lux it is dark; 40 by default, the least at which one reads a recipe.
    pub dark_lux: f64,
    /// How many minutes after the last motion the light goes off; 5 by default, because motion
    /// sensors do not see who sits still.
    pub off_after_minutes: u32,
    /// For how many minutes a lamp switched by hand is left alone; 30 by default.
    pub hands_off_minutes: u32,
    /// Whether one sleeps here, so that motion at night makes no light; not by default.
    pub sleeping: bool,
    /// The minute of the day at which the night begins; 1,380 by default, 23:00.
    pub night_begins_minute: u16,
    /// The minute of the day at which the night ends; 360 by default, 06:00.
    pub night_ends_minute: u16,
    /// After how many minutes a sensor's word no longer counts; 75 by default, because sensors that
    /// have nothing new say so once an hour, and not on the second.
    pub silent_minutes: u32,
}

impl Settings {
    /// Returns the defaults for a room.
    #[must_use]
    pub fn room(room: &str) -> Self {
        Settings {
            room: room.to_owned(),
            dark_lux: 40.0,
            off_after_minutes: 5,
            hands_off_minutes: 30,
            sleeping: false,
            night_begins_minute: 23 * 60,
            night_ends_minute: 6 * 60,
            silent_minutes: 75,
        }
    }

    /// Returns the defaults for a room in which one sleeps.
    #[must_use]
    pub fn bedroom(room: &str) -> Self {
        Settings {
            sleeping: true,
            ..Self::room(room)
        }
    }

    fn is_asleep(&self, at: At) -> bool {
        let (minute, begins, ends) = (
            at.minute_of_day(),
            self.night_begins_minute,
            self.night_ends_minute,
        );
        let is_night = if begins <= ends {
            (begins..ends).contains(&minute)
        } else {
            minute >= begins || minute < ends
        };
        self.sleeping && is_night
    }
}

/// An actor that lights one room while somebody is in it.
#[derive(Debug)]
pub struct Lights {
    rules: Rules,
}

impl Actor for Lights {
    type Args = Settings;
    type Error = Infallible;

    async fn start(settings: Settings, cx: &mut Context<Self>) -> Result<Self, Infallible> {
        cx.subscribe::<MotionSeen>();
        cx.subscribe::<IlluminanceRead>();
        cx.subscribe::<LampReported>();
        cx.subscribe::<DeviceKnown>();
        cx.subscribe::<MinutePassed>();
        cx.subscribe::<RollCall>();
        // The gateway answers with the devices, which a new life does not know.
        cx.publish(TakesPart(cx.me().recipient()));
        let rules = Rules::new(settings);
        Ok(Lights { rules })
    }

    fn flow(flow: &mut Flow<Self>) {
        flow.subscribes::<MotionSeen>();
        flow.subscribes::<IlluminanceRead>();
        flow.subscribes::<LampReported>();
        flow.subscribes::<DeviceKnown>();
        flow.subscribes::<MinutePassed>();
        flow.subscribes::<RollCall>();
        flow.handles::<Checkpoint>();
        flow.publishes::<TakesPart>();
        decides(flow);
    }
}

impl Handler<MotionSeen> for Lights {
    async fn handle(&mut self, seen: MotionSeen, cx: &mut Context<Self>) -> Result<(), Infallible> {
        carry_out(seen.at, self.rules.motion_seen(&seen), cx);
        Ok(())
    }
}

impl Handler<IlluminanceRead> for Lights {
    async fn handle(
        &mut self,
        read: IlluminanceRead,
        cx: &mut Context<Self>,
    ) -> Result<(), Infallible> {
        carry_out(read.at, self.rules.illuminance_read(&read), cx);
        Ok(())
    }
}

impl Handler<LampReported> for Lights {
    async fn handle(
        &mut self,
        reported: LampReported,
        cx: &mut Context<Self>,
    ) -> Result<(), Infallible> {
        carry_out(reported.at, self.rules.lamp_reported(&reported), cx);
        Ok(())
    }
}

impl Handler<DeviceKnown> for Lights {
    async fn handle(
        &mut self,
        known: DeviceKnown,
        _: &mut Context<Self>,
    ) -> Result<(), Infallible> {
        self.rules.device_known(&known);
        Ok(())
    }
}

impl Handler<MinutePassed> for Lights {
    async fn handle(
        &mut self,
        MinutePassed { at }: MinutePassed,
        cx: &mut Context<Self>,
    ) -> Result<(), Infallible> {
        carry_out(at, self.rules.decide(at), cx);
        Ok(())
    }
}

impl Handler<RollCall> for Lights {
    async fn handle(&mut self, _: RollCall, cx: &mut Context<Self>) -> Result<(), Infallible> {
        cx.publish(TakesPart(cx.me().recipient()));
        Ok(())
    }
}

impl Handler<Checkpoint> for Lights {
    async fn handle(&mut self, _: Checkpoint, _: &mut Context<Self>) -> Result<(), Infallible> {
        Ok(())
    }
}

/// What is known of one lamp.
#[derive(Clone, Copy, Debug, Default)]
struct Lamp {
    /// As it reported, or as it was told since.
    is_on: Option<bool>,
    /// Whether this actor lit it.
    is_ours: bool,
    /// When it was last told something that it has not confirmed.
    told: Option<At>,
    /// When somebody last switched it by hand.
    by_hand: Option<At>,
}

/// The mind of the lights: events in, decisions out.
#[derive(Debug)]
struct Rules {
    settings: Settings,
    lamps: BTreeMap<DeviceName, Lamp>,
    /// Which sensors see somebody, and when they said so.
    sees: BTreeMap<DeviceName, At>,
    last_motion: Option<At>,
    /// How bright it is here and outside, and since when that is known.
    lux_here: Option<(f64, At)>,
    lux_outside: Option<(f64, At)>,
}

impl Rules {
    fn new(settings: Settings) -> Self {
        Rules {
            settings,
            lamps: BTreeMap::new(),
            sees: BTreeMap::new(),
            last_motion: None,
            lux_here: None,
            lux_outside: None,
        }
    }

    fn is_here(&self, device: &DeviceName) -> bool {
        device.room() == self.settings.room
    }

    fn motion_seen(&mut self, seen: &MotionSeen) -> Vec<Decision> {
        if !self.is_here(&seen.device) {
            return Vec::new();
        }
        if seen.occupied {
            self.sees.insert(seen.device.clone(), seen.at);
            self.last_motion = Some(seen.at);
        } else if self.sees.remove(&seen.device).is_some() {
            // Somebody was there up to now.
            self.last_motion = Some(seen.at);
        }
        self.decide(seen.at)
    }

    fn illuminance_read(&mut self, read: &IlluminanceRead) -> Vec<Decision> {
        if !read.lux.is_finite() {
            return Vec::new();
        }
        let reading = Some((read.lux, read.at));
        if self.is_here(&read.device) {
            self.lux_here = reading;
        } else if read.device.room() == OUTSIDE {
            self.lux_outside = reading;
        } else {
            return Vec::new();
        }
        self.decide(read.at)
    }

    fn lamp_reported(&mut self, reported: &LampReported) -> Vec<Decision> {
        let Some(lamp) = self.lamps.get_mut(&reported.device) else {
            return Vec::new();
        };
        if lamp.is_on.is_none_or(|is_on| is_on == reported.on) {
            lamp.is_on = Some(reported.on);
            lamp.told = None;
        } else if lamp
            .told
            .is_none_or(|told| told.0.abs_diff(reported.at.0) > OBEYS_WITHIN_MS)
        {
            *lamp = Lamp {
                is_on: Some(reported.on),
                by_hand: Some(reported.at),
                ..Lamp::default()
            };
        }
        self.decide(reported.at)
    }

    /// Learns of a device, for the next event: its time is when the gateway learnt of it, maybe long ago.
    fn device_known(&mut self, known: &DeviceKnown) {
        if !self.is_here(&known.device) {
            return;
        }
        // The gateway tells again and again; what is known of a lamp stays.
        if known.skills.contains(&Skill::Light) {
            self.lamps.entry(known.device.clone()).or_default();
        } else {
            self.lamps.remove(&known.device);
        }
    }

    /// Looks at all that is known and returns what has to change.
    fn decide(&mut self, at: At) -> Vec<Decision> {
        let settings = &self.settings;
        let is_fresh = |said: At| minutes_apart(at, said) <= settings.silent_minutes.into();
        let lux = [self.lux_here, self.lux_outside]
            .into_iter()
            .flatten()
            .find_map(|(lux, said)| is_fresh(said).then_some(lux));
        let is_occupied = self.sees.values().any(|said| is_fresh(*said));
        let is_left = self
            .last_motion
            .is_some_and(|last| minutes_apart(at, last) >= settings.off_after_minutes.into());
        let on = if is_occupied {
            let is_dark = lux.is_none_or(|lux| lux < settings.dark_lux);
            if !is_dark || settings.is_asleep(at) {
                return Vec::new();
            }
            true
        } else if is_left {
            false
        } else {
            return Vec::new();
        };

        let mut decisions = Vec::new();
        for (device, lamp) in &mut self.lamps {
            let is_left_alone = lamp
                .by_hand
                .is_some_and(|hand| minutes_apart(at, hand) < settings.hands_off_minutes.into());
            let is_due = if on {
                lamp.is_on != Some(true)
            } else {
                lamp.is_ours && lamp.is_on == Some(true)
            };
            if is_due && !is_left_alone {
                *lamp = Lamp {
                    is_on: Some(on),
                    is_ours: on,
                    told: Some(at),
                    by_hand: None,
                };
                decisions.push(Decision::Order(device.clone(), Order::Light { on }));
            }
        }
        if !decisions.is_empty() {
            let (room, minutes) = (&settings.room, settings.off_after_minutes);
            decisions.push(Decision::Say(match (on, lux) {
                (true, Some(lux)) => format!("{room}: light on, somebody is there at {lux:.0} lux"),
                (true, None) => format!("{room}: light on, somebody is there"),
                (false, _) => format!("{room}: light off, nobody there for {minutes} minutes"),
            }));
        }
        decisions
    }
}

/// Returns the full minutes between two times, whichever is earlier: event time may step back.
fn minutes_apart(a: At, b: At) -> u64 {
    a.0.abs_diff(b.0) / 60_000
}
