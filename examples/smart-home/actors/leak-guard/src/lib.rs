//! Closes the water when a sensor is wet.
//!
//! - **Is:** one actor, [`LeakGuard`], for the whole home; it closes all water
//!   valves and never opens one.
//! - **Handles:** [`Checkpoint`].
//! - **Subscribes to:** [`LeakSeen`], [`ValveReported`], [`DeviceKnown`],
//!   [`MinutePassed`], [`RollCall`].
//! - **Publishes:** [`Command`](home_protocol::Command) with [`Order::Water`], [`Decided`](home_protocol::Decided), [`TakesPart`].
//! - **Crashes when:** never. If it is made to, the next life knows nothing: it
//!   learns the valves from what the gateway answers to its [`TakesPart`], and of
//!   a leak from the next report of the sensor, at which it closes the water once
//!   more. A leak that dried up meanwhile is not announced.
//!
//! # How it decides
//!
//! - A sensor gets wet: every valve that has not reported to be closed is closed.
//!   What that sensor says after that changes nothing as long as the leak lasts.
//! - A valve reports to be open while a sensor is wet: it is closed again, at
//!   most once in [`Settings::again_after_seconds`]. A valve that does not obey
//!   is told once for each time that it says so.
//! - All sensors dry for [`Settings::dry_minutes`]: the leak is over, and it says
//!   that the valve may be opened by hand. Sensors flicker while water runs off.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use greenroom::prelude::*;
use home_protocol::{
    At, Checkpoint, Decision, DeviceKnown, DeviceName, LeakSeen, MinutePassed, Order, RollCall,
    Skill, TakesPart, ValveReported, carry_out, decides,
};

#[cfg(test)]
mod tests;

/// How patient the guard is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How many minutes all must be dry before a leak is over; 10 by default.
    pub dry_minutes: u32,
    /// How many seconds a valve has to close before it is told again; 60 by default, four times
    /// what a motor valve needs.
    pub again_after_seconds: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            dry_minutes: 10,
            again_after_seconds: 60,
        }
    }
}

/// An actor that closes the water when a sensor is wet.
#[derive(Debug)]
pub struct LeakGuard {
    rules: Rules,
}

impl Actor for LeakGuard {
    type Args = Settings;
    type Error = Infallible;

    async fn start(settings: Settings, cx: &mut Context<Self>) -> Result<Self, Infallible> {
        cx.subscribe::<LeakSeen>();
        cx.subscribe::<ValveReported>();
        cx.subscribe::<DeviceKnown>();
        cx.subscribe::<MinutePassed>();
        cx.subscribe::<RollCall>();
        // The gateway answers with the devices, which a new life does not know.
        cx.publish(TakesPart(cx.me().recipient()));
        let rules = Rules::new(settings);
        Ok(LeakGuard { rules })
    }

    fn flow(flow: &mut Flow<Self>) {
        flow.subscribes::<LeakSeen>();
        flow.subscribes::<ValveReported>();
        flow.subscribes::<DeviceKnown>();
        flow.subscribes::<MinutePassed>();
        flow.subscribes::<RollCall>();
        flow.handles::<Checkpoint>();
        flow.publishes::<TakesPart>();
        decides(flow);
    }
}

impl Handler<LeakSeen> for LeakGuard {
    async fn handle(&mut self, seen: LeakSeen, cx: &mut Context<Self>) -> Result<(), Infallible> {
        carry_out(seen.at, self.rules.leak_seen(&seen), cx);
        Ok(())
    }
}

impl Handler<ValveReported> for LeakGuard {
    async fn handle(
        &mut self,
        reported: ValveReported,
        cx: &mut Context<Self>,
    ) -> Result<(), Infallible> {
        carry_out(reported.at, self.rules.valve_reported(&reported), cx);
        Ok(())
    }
}

impl Handler<DeviceKnown> for LeakGuard {
    async fn handle(
        &mut self,
        known: DeviceKnown,
        _: &mut Context<Self>,
    ) -> Result<(), Infallible> {
        self.rules.device_known(&known);
        Ok(())
    }
}

impl Handler<MinutePassed> for LeakGuard {
    async fn handle(
        &mut self,
        MinutePassed { at }: MinutePassed,
        cx: &mut Context<Self>,
    ) -> Result<(), Infallible> {
        carry_out(at, self.rules.minute_passed(at), cx);
        Ok(())
    }
}

impl Handler<RollCall> for LeakGuard {
    async fn handle(&mut self, _: RollCall, cx: &mut Context<Self>) -> Result<(), Infallible> {
        cx.publish(TakesPart(cx.me().recipient()));
        Ok(())
    }
}

impl Handler<Checkpoint> for LeakGuard {
    async fn handle(&mut self, _: Checkpoint, _: &mut Context<Self>) -> Result<(), Infallible> {
        Ok(())
    }
}

/// What is known of one valve.
#[derive(Clone, Copy, Debug, Default)]
struct Valve {
    /// As it reported, or as it was told since.
    is_open: Option<bool>,
    /// When it was last told to close.
    told: Option<At>,
}

/// The guard's mind: events in, decisions out.
#[derive(Debug)]
struct Rules {
    settings: Settings,
    /// The sensors that are wet.
    wet: BTreeSet<DeviceName>,
    /// All sensors that were wet in this leak.
    leak: BTreeSet<DeviceName>,
    /// Since when all are dry.
    dry: Option<At>,
    valves: BTreeMap<DeviceName, Valve>,
}

impl Rules {
    fn new(settings: Settings) -> Self {
        Rules {
            settings,
            wet: BTreeSet::new(),
            leak: BTreeSet::new(),
            dry: None,
            valves: BTreeMap::new(),
        }
    }

    fn leak_seen(&mut self, seen: &LeakSeen) -> Vec<Decision> {
        let LeakSeen { at, device, wet } = seen;
        let mut decisions = self.minute_passed(*at);
        if !wet {
            if self.wet.remove(device) && self.wet.is_empty() {
                self.dry = Some(*at);
            }
            return decisions;
        }
        if !self.wet.insert(device.clone()) {
            return decisions;
        }
        self.dry = None;
        let is_new = self.leak.insert(device.clone());
        let valves = self.close(*at);
        if is_new || !valves.is_empty() {
            let what = if !valves.is_empty() {
                format!("{device} is wet: water closed")
            } else if self.valves.is_empty() {
                format!("{device} is wet: no valve to close")
            } else {
                format!("{device} is wet: water is closed already")
            };
            decisions.extend(valves.into_iter().map(close));
            decisions.push(Decision::Say(what));
        }
        decisions
    }

    fn valve_reported(&mut self, reported: &ValveReported) -> Vec<Decision> {
        if let Some(valve) = self.valves.get_mut(&reported.device) {
            valve.is_open = Some(reported.open);
        }
        self.minute_passed(reported.at)
    }

    /// Learns of a device, for the next event: its time is when the gateway learnt of it, maybe long ago.
    fn device_known(&mut self, known: &DeviceKnown) {
        // The gateway tells again and again; what is known of a valve stays.
        if known.skills.contains(&Skill::Water) {
            self.valves.entry(known.device.clone()).or_default();
        } else {
            self.valves.remove(&known.device);
        }
    }

    fn minute_passed(&mut self, at: At) -> Vec<Decision> {
        let dry_ms = u64::from(self.settings.dry_minutes) * 60_000;
        if let Some(wet) = self.wet.first().cloned() {
            let mut decisions = Vec::new();
            for valve in self.close(at) {
                let what = format!("{valve} closed: {wet} is wet");
                decisions.push(close(valve));
                decisions.push(Decision::Say(what));
            }
            decisions
        } else if self.dry.is_some_and(|dry| ms_apart(at, dry) >= dry_ms) {
            self.dry = None;
            let names: Vec<String> = std::mem::take(&mut self.leak)
                .iter()
                .map(ToString::to_string)
                .collect();
            let what = format!("{} dry again; open the valve by hand", names.join(", "));
            vec![Decision::Say(what)]
        } else {
            Vec::new()
        }
    }

    /// Returns the valves through which water may flow, to be closed now.
    fn close(&mut self, at: At) -> Vec<DeviceName> {
        let patience_ms = u64::from(self.settings.again_after_seconds) * 1000;
        let mut due = Vec::new();
        for (device, valve) in &mut self.valves {
            let was_told = |told: At| ms_apart(at, told) < patience_ms;
            if valve.is_open != Some(false) && !valve.told.is_some_and(was_told) {
                *valve = Valve {
                    is_open: Some(false),
                    told: Some(at),
                };
                due.push(device.clone());
            }
        }
        due
    }
}

fn close(valve: DeviceName) -> Decision {
    Decision::Order(valve, Order::Water { open: false })
}

/// Returns the milliseconds between two times, whichever is earlier: event time may step back.
fn ms_apart(a: At, b: At) -> u64 {
    a.0.abs_diff(b.0)
}
