//! Sounds the siren when a door opens at night, or when there is smoke.
//!
//! - **Is:** one actor, [`DoorAlarm`], for the whole home; it sounds all sirens.
//! - **Handles:** [`Checkpoint`].
//! - **Subscribes to:** [`OpeningReported`], [`LockReported`], [`SmokeSeen`],
//!   [`CameraSaw`], [`DeviceKnown`], [`MinutePassed`], [`RollCall`].
//! - **Publishes:** [`Command`](home_protocol::Command) with [`Order::Siren`], [`Decided`](home_protocol::Decided), [`TakesPart`].
//! - **Crashes when:** never. If it is made to, the next life knows nothing: it
//!   learns the sirens from what the gateway answers to its [`TakesPart`]; a siren
//!   that sounds goes on until its own time is up; and whether a door was closed
//!   it knows from the door's next report, which may take an hour. A door that
//!   reports for the first time, and is open at night, makes a notice, no alarm:
//!   it may have been open all evening.
//!
//! # How it decides
//!
//! | what                                        | when it is armed             | at other times |
//! |---------------------------------------------|------------------------------|----------------|
//! | a door or window opens                      | alarm                        | -              |
//! | the same within 60 s after the lock opened  | -                            | -              |
//! | the garden's gate opens                     | a notice                     | -              |
//! | the camera sees a person                    | a notice, one in ten minutes | -              |
//! | a detector sees smoke                       | alarm                        | alarm          |
//!
//! An alarm sounds for three minutes; another one meanwhile begins them anew.
//! Each opening makes one alarm, however often the door reports that it is open.
//! Smoke is announced once, and a detector that still reports it after the siren
//! has ended sounds it again.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use greenroom::prelude::*;
use home_protocol::{
    At, CameraSaw, Checkpoint, Decision, DeviceKnown, DeviceName, LockReported, MinutePassed,
    OpeningReported, Order, RollCall, Skill, SmokeSeen, TakesPart, carry_out, decides,
};

#[cfg(test)]
mod tests;

/// The room whose gate anybody can reach: it makes notices, not alarms.
const OUTSIDE: &str = "garden";

/// When the home is watched, and for how long it makes noise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The minute of the day from which it is armed; 1,410 by default, 23:30.
    pub armed_from_minute: u16,
    /// The minute of the day at which it is no longer armed; 330 by default, 05:30.
    pub armed_until_minute: u16,
    /// For how many seconds after the lock was opened a door may open; 60 by default, enough for
    /// two bags and a child.
    pub unlocked_for_seconds: u32,
    /// How many minutes an alarm sounds; 3 by default, which is what most towns allow.
    pub siren_minutes: u32,
    /// At most how often a person on the camera is worth a notice, in minutes; 10 by default.
    pub person_every_minutes: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            armed_from_minute: 23 * 60 + 30,
            armed_until_minute: 5 * 60 + 30,
            unlocked_for_seconds: 60,
            siren_minutes: 3,
            person_every_minutes: 10,
        }
    }
}

impl Settings {
    fn is_armed(&self, at: At) -> bool {
        let (minute, from, until) = (
            at.minute_of_day(),
            self.armed_from_minute,
            self.armed_until_minute,
        );
        if from <= until {
            (from..until).contains(&minute)
        } else {
            minute >= from || minute < until
        }
    }
}

/// An actor that sounds the siren when a door opens at night, or when there is smoke.
#[derive(Debug)]
pub struct DoorAlarm {
    rules: Rules,
}

impl Actor for DoorAlarm {
    type Args = Settings;
    type Error = Infallible;

    async fn start(settings: Settings, cx: &mut Context<Self>) -> Result<Self, Infallible> {
        cx.subscribe::<OpeningReported>();
        cx.subscribe::<LockReported>();
        cx.subscribe::<SmokeSeen>();
        cx.subscribe::<CameraSaw>();
        cx.subscribe::<DeviceKnown>();
        cx.subscribe::<MinutePassed>();
        cx.subscribe::<RollCall>();
        // The gateway answers with the devices, which a new life does not know.
        cx.publish(TakesPart(cx.me().recipient()));
        let rules = Rules::new(settings);
        Ok(DoorAlarm { rules })
    }

    fn flow(flow: &mut Flow<Self>) {
        flow.subscribes::<OpeningReported>();
        flow.subscribes::<LockReported>();
        flow.subscribes::<SmokeSeen>();
        flow.subscribes::<CameraSaw>();
        flow.subscribes::<DeviceKnown>();
        flow.subscribes::<MinutePassed>();
        flow.subscribes::<RollCall>();
        flow.handles::<Checkpoint>();
        flow.publishes::<TakesPart>();
        decides(flow);
    }
}

impl Handler<OpeningReported> for DoorAlarm {
    async fn handle(
        &mut self,
        changed: OpeningReported,
        cx: &mut Context<Self>,
    ) -> Result<(), Infallible> {
        carry_out(changed.at, self.rules.opening_changed(&changed), cx);
        Ok(())
    }
}

impl Handler<LockReported> for DoorAlarm {
    async fn handle(
        &mut self,
        changed: LockReported,
        cx: &mut Context<Self>,
    ) -> Result<(), Infallible> {
        carry_out(changed.at, self.rules.lock_changed(&changed), cx);
        Ok(())
    }
}

impl Handler<SmokeSeen> for DoorAlarm {
    async fn handle(&mut self, seen: SmokeSeen, cx: &mut Context<Self>) -> Result<(), Infallible> {
        carry_out(seen.at, self.rules.smoke_seen(&seen), cx);
        Ok(())
    }
}

impl Handler<CameraSaw> for DoorAlarm {
    async fn handle(&mut self, saw: CameraSaw, cx: &mut Context<Self>) -> Result<(), Infallible> {
        carry_out(saw.at, self.rules.camera_saw(&saw), cx);
        Ok(())
    }
}

impl Handler<DeviceKnown> for DoorAlarm {
    async fn handle(
        &mut self,
        known: DeviceKnown,
        _: &mut Context<Self>,
    ) -> Result<(), Infallible> {
        self.rules.device_known(&known);
        Ok(())
    }
}

impl Handler<MinutePassed> for DoorAlarm {
    async fn handle(
        &mut self,
        MinutePassed { at }: MinutePassed,
        cx: &mut Context<Self>,
    ) -> Result<(), Infallible> {
        carry_out(at, self.rules.minute_passed(at), cx);
        Ok(())
    }
}

impl Handler<RollCall> for DoorAlarm {
    async fn handle(&mut self, _: RollCall, cx: &mut Context<Self>) -> Result<(), Infallible> {
        cx.publish(TakesPart(cx.me().recipient()));
        Ok(())
    }
}

impl Handler<Checkpoint> for DoorAlarm {
    async fn handle(&mut self, _: Checkpoint, _: &mut Context<Self>) -> Result<(), Infallible> {
        Ok(())
    }
}

/// The alarm's mind: events in, decisions out.
#[derive(Debug)]
struct Rules {
    settings: Settings,
    /// Whether each opening was open when it last reported.
    openings: BTreeMap<DeviceName, bool>,
    /// Whether each lock was locked when it last reported.
    locks: BTreeMap<DeviceName, bool>,
    unlocked: Option<At>,
    /// The detectors that see smoke.
    smoke: BTreeSet<DeviceName>,
    person_said: Option<At>,
    /// Whether each siren was told to sound.
    sirens: BTreeMap<DeviceName, bool>,
    /// Since when there is an alarm.
    alarm: Option<At>,
}

impl Rules {
    fn new(settings: Settings) -> Self {
        Rules {
            settings,
            openings: BTreeMap::new(),
            locks: BTreeMap::new(),
            unlocked: None,
            smoke: BTreeSet::new(),
            person_said: None,
            sirens: BTreeMap::new(),
            alarm: None,
        }
    }

    fn opening_changed(&mut self, changed: &OpeningReported) -> Vec<Decision> {
        let OpeningReported { at, device, open } = changed;
        let mut decisions = self.minute_passed(*at);
        let was_open = self.openings.insert(device.clone(), *open);
        if !open || was_open == Some(true) || !self.settings.is_armed(*at) {
            return decisions;
        }
        let grace_ms = u64::from(self.settings.unlocked_for_seconds) * 1000;
        let is_expected = |unlocked: At| ms_apart(*at, unlocked) <= grace_ms;
        if device.room() == OUTSIDE {
            decisions.push(Decision::Say(format!("{device} opened at night")));
        } else if self.unlocked.is_some_and(is_expected) {
            // Somebody came home.
        } else if was_open.is_none() {
            let what = format!("{device} is open at night, nobody knows since when");
            decisions.push(Decision::Say(what));
        } else {
            decisions.extend(self.sound(*at));
            let what = format!("{device} opened at night: alarm");
            decisions.push(Decision::Say(what));
        }
        decisions
    }

    fn lock_changed(&mut self, changed: &LockReported) -> Vec<Decision> {
        let LockReported { at, device, locked } = changed;
        // A lock says over and over that it is unlocked; only the turn of the key counts.
        let was_locked = self.locks.insert(device.clone(), *locked);
        if !locked && was_locked != Some(false) {
            self.unlocked = Some(*at);
        }
        self.minute_passed(*at)
    }

    fn smoke_seen(&mut self, seen: &SmokeSeen) -> Vec<Decision> {
        let SmokeSeen { at, device, smoke } = seen;
        let mut decisions = self.minute_passed(*at);
        if !smoke {
            self.smoke.remove(device);
            return decisions;
        }
        let is_new = self.smoke.insert(device.clone());
        if is_new || self.alarm.is_none() {
            decisions.extend(self.sound(*at));
        }
        if is_new {
            decisions.push(Decision::Say(format!("{device} sees smoke: alarm")));
        }
        decisions
    }

    fn camera_saw(&mut self, saw: &CameraSaw) -> Vec<Decision> {
        let mut decisions = self.minute_passed(saw.at);
        let pause_ms = u64::from(self.settings.person_every_minutes) * 60_000;
        let is_said = self
            .person_said
            .is_some_and(|said| ms_apart(saw.at, said) < pause_ms);
        if &*saw.label == "person" && self.settings.is_armed(saw.at) && !is_said {
            self.person_said = Some(saw.at);
            let what = format!("{} sees a person at night", saw.device);
            decisions.push(Decision::Say(what));
        }
        decisions
    }

    /// Learns of a device, for the next event: its time is when the gateway learnt of it, maybe long ago.
    fn device_known(&mut self, known: &DeviceKnown) {
        // The gateway tells again and again; what a siren was told stays.
        if known.skills.contains(&Skill::Siren) {
            self.sirens.entry(known.device.clone()).or_default();
        } else {
            self.sirens.remove(&known.device);
        }
    }

    /// Begins an alarm, or begins its minutes anew.
    fn sound(&mut self, at: At) -> Vec<Decision> {
        self.alarm = Some(at);
        self.order(true)
    }

    /// Ends the alarm when its minutes are over; until then a siren that is new joins in.
    fn minute_passed(&mut self, at: At) -> Vec<Decision> {
        let limit_ms = u64::from(self.settings.siren_minutes) * 60_000;
        match self.alarm {
            None => return Vec::new(),
            Some(since) if ms_apart(at, since) < limit_ms => return self.order(true),
            Some(_) => {}
        }
        self.alarm = None;
        let mut decisions = self.order(false);
        if !decisions.is_empty() {
            let minutes = self.settings.siren_minutes;
            let what = format!("siren off after {minutes} minutes");
            decisions.push(Decision::Say(what));
        }
        decisions
    }

    fn order(&mut self, on: bool) -> Vec<Decision> {
        let mut decisions = Vec::new();
        for (device, told) in &mut self.sirens {
            if *told != on {
                *told = on;
                decisions.push(Decision::Order(device.clone(), Order::Siren { on }));
            }
        }
        decisions
    }
}

/// Returns the milliseconds between two times, whichever is earlier: event time may step back.
fn ms_apart(a: At, b: At) -> u64 {
    a.0.abs_diff(b.0)
}
