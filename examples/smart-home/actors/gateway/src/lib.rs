//! The door between zigbee2mqtt traffic and the words of the home.
//!
//! What it is: an actor that reads recorded or live MQTT lines, keeps a
//! [`DeviceDriver`] for each device under a dynamic supervisor, and turns
//! reports into events and commands into device payloads.
//! Handles: [`Line`], [`Settle`], [`Count`].
//! Subscribes to: [`Command`], [`TakesPart`].
//! Publishes: what devices report ([`home_protocol`]), [`DeviceKnown`],
//! [`MinutePassed`], [`RollCall`], [`DeviceCommand`].
//! Crashes when: never by what is in a line. What it cannot use is counted, and
//! kept as a dead letter with its line number.
//!
//! It is not an MQTT client: the bytes come as messages.

#![forbid(unsafe_code)]

mod driver;
mod line;

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use greenroom::prelude::*;
use greenroom::{AskError, StartChildError};
use home_devices::Device;
use home_protocol::{
    At, BatteryRead, CameraSaw, Checkpoint, Command, DeviceCommand, DeviceKnown, DeviceName,
    HumidityRead, IlluminanceRead, LampReported, LeakSeen, Line, LockReported, MinutePassed,
    MotionSeen, OpeningReported, Path, PowerRead, RollCall, Settle, Skill, SmokeSeen, TakesPart,
    TemperatureRead, ValveReported,
};
use serde_json::Value;

pub use crate::driver::DeviceDriver;
use crate::driver::{Decode, Describe, Encode, Fact};
use crate::line::{Report, parse};

/// How long an event waits for a subscriber that has no room.
///
/// A source can be slowed down, so nothing is lost to a short jam; a subscriber
/// that is stuck for longer loses events, one dead letter each.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many devices it takes on; lists that name more are cut and reported.
const DEVICES_MAX: usize = 10_000;

/// The actor that speaks zigbee2mqtt.
#[derive(Debug)]
pub struct DeviceGateway {
    /// The path of the dynamic supervisor of the drivers.
    pool: String,
    drivers: HashMap<String, ActorRef<DeviceDriver>>,
    skills: BTreeMap<DeviceName, Vec<Skill>>,
    participants: BTreeMap<Path, Recipient<Checkpoint>>,
    /// How many heard the roll call.
    called: usize,
    minute: Option<i64>,
    counts: Counts,
}

/// Asks the gateway what became of the lines.
#[derive(Clone, Copy, Debug)]
pub struct Count;

impl Message for Count {
    type Reply = Counts;
}

/// What became of the lines: each is counted in just one of the other numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Lines handled.
    pub lines: u64,
    /// Reports of devices, understood.
    pub reports: u64,
    /// Traffic that is known and says nothing about the home: bridge state, availability, commands of others.
    pub other: u64,
    /// Lines that are no report: too long, not UTF-8, not JSON, without time or topic.
    pub malformed: u64,
    /// Reports of devices or on topics that nobody introduced.
    pub unknown: u64,
    /// Reports that the device's model cannot have sent.
    pub unusable: u64,
    /// Reports on which the driver crashed, or that it did not answer in time.
    pub crashed: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts {
            lines,
            reports,
            other,
            malformed,
            unknown,
            unusable,
            crashed,
        } = self;
        write!(
            f,
            "{lines} lines = {reports} reports + {other} other + {malformed} malformed + {unknown} unknown + {unusable} unusable + {crashed} crashed"
        )
    }
}

/// What became of one line.
enum Outcome {
    Report,
    Other,
    Malformed(String),
    Unknown(String),
    Unusable(String),
    Crashed(String),
}

impl Actor for DeviceGateway {
    /// The path of the dynamic supervisor under which it starts its drivers.
    type Args = String;
    type Error = Infallible;

    async fn start(pool: String, cx: &mut Context<Self>) -> Result<Self, Infallible> {
        cx.subscribe::<Command>();
        cx.subscribe::<TakesPart>();
        let mut gateway = DeviceGateway {
            pool,
            drivers: HashMap::new(),
            skills: BTreeMap::new(),
            participants: BTreeMap::new(),
            called: 0,
            minute: None,
            counts: Counts::default(),
        };
        gateway.meet_running_drivers(cx).await;
        // Whoever answers is told of all devices.
        gateway.called = cx.publish(RollCall).delivered;
        Ok(gateway)
    }

    fn flow(flow: &mut Flow<Self>) {
        flow.subscribes::<Command>();
        flow.subscribes::<TakesPart>();
        flow.handles::<Line>();
        flow.handles::<Settle>();
        flow.handles::<Count>();
        flow.asks::<DeviceDriver, Describe>();
        flow.asks::<DeviceDriver, Decode>();
        flow.asks::<DeviceDriver, Encode>();
        flow.asks_recipient::<Checkpoint>();
        flow.publishes::<RollCall>();
        // It waits for those without room, a while.
        flow.publishes::<TemperatureRead>().waits();
        flow.publishes::<HumidityRead>().waits();
        flow.publishes::<IlluminanceRead>().waits();
        flow.publishes::<MotionSeen>().waits();
        flow.publishes::<OpeningReported>().waits();
        flow.publishes::<LockReported>().waits();
        flow.publishes::<LeakSeen>().waits();
        flow.publishes::<SmokeSeen>().waits();
        flow.publishes::<BatteryRead>().waits();
        flow.publishes::<PowerRead>().waits();
        flow.publishes::<LampReported>().waits();
        flow.publishes::<ValveReported>().waits();
        flow.publishes::<CameraSaw>().waits();
        flow.publishes::<DeviceKnown>().waits();
        flow.publishes::<MinutePassed>().waits();
        // To a source that waits for the gateway: one of the two has to go on.
        flow.publishes::<DeviceCommand>().waits().lossy();
    }
}

impl DeviceGateway {
    /// After a restart the drivers are still there: the tree is the memory.
    async fn meet_running_drivers(&mut self, cx: &Context<Self>) {
        let system = cx.system();
        let prefix = format!("{}/", self.pool);
        for info in system.snapshot() {
            if !info.path.as_str().starts_with(&prefix) {
                continue;
            }
            let Ok(driver) = system.find::<DeviceDriver>(info.path.as_str()) else {
                continue;
            };
            if let Ok((name, skills)) = driver.ask(Describe).await {
                self.drivers.insert(name.as_str().to_owned(), driver);
                self.skills.insert(name, skills);
            }
        }
    }

    async fn take(&mut self, bytes: &[u8], cx: &Context<Self>) -> Outcome {
        let report = match parse(bytes) {
            Ok(report) => report,
            Err(bad) => return Outcome::Malformed(bad.to_string()),
        };
        let minute = report.at.0.div_euclid(60_000);
        if self.minute != Some(minute) {
            self.minute = Some(minute);
            self.publish(MinutePassed { at: report.at }, cx).await;
        }
        let Report { at, topic, payload } = report;
        match topic.split_once('/') {
            Some(("zigbee2mqtt", "bridge/devices")) => self.meet(at, &payload, cx).await,
            Some(("zigbee2mqtt", name)) if name.starts_with("bridge/") => Outcome::Other,
            Some(("zigbee2mqtt", name)) => self.report(at, name, payload, cx).await,
            Some(("frigate", "events")) => self.camera(at, &payload, cx).await,
            Some(("frigate", _)) => Outcome::Other,
            _ => Outcome::Unknown(format!("nothing here speaks on {topic:?}")),
        }
    }

    /// Learns the devices of an installation from its retained list.
    async fn meet(&mut self, at: At, payload: &Value, cx: &Context<Self>) -> Outcome {
        let devices = match Device::list(payload.to_string().as_bytes()) {
            Ok(devices) => devices,
            Err(error) => return Outcome::Unusable(error.to_string()),
        };
        let pool = match cx.system().supervisor(&self.pool) {
            Ok(pool) => pool,
            Err(error) => return Outcome::Crashed(error.to_string()),
        };
        for device in devices {
            let name = DeviceName::new(&device.friendly_name);
            if !self.drivers.contains_key(name.as_str()) {
                if self.drivers.len() == DEVICES_MAX {
                    return Outcome::Unusable(format!(
                        "the list has more than {DEVICES_MAX} devices"
                    ));
                }
                // A slash would make it two parts of a path.
                let child = device.friendly_name.replace('/', ".");
                let spec = DeviceDriver::spec(child, Arc::new(device));
                let driver = match pool.start_child(spec).await {
                    Ok(driver) => driver,
                    Err(
                        StartChildError::AlreadyStarted(path)
                        | StartChildError::AlreadyPresent(path),
                    ) => match cx.system().find(path.as_str()) {
                        Ok(driver) => driver,
                        Err(error) => return Outcome::Crashed(error.to_string()),
                    },
                    Err(error) => return Outcome::Unusable(error.to_string()),
                };
                let Ok((_, skills)) = driver.ask(Describe).await else {
                    continue;
                };
                self.drivers.insert(name.as_str().to_owned(), driver);
                self.skills.insert(name.clone(), skills);
            }
            let skills = self.skills.get(&name).cloned().unwrap_or_default();
            self.publish(
                DeviceKnown {
                    at,
                    device: name,
                    skills,
                },
                cx,
            )
            .await;
        }
        Outcome::Other
    }

    async fn report(&mut self, at: At, name: &str, payload: Value, cx: &Context<Self>) -> Outcome {
        let Some(driver) = self.drivers.get(name) else {
            // Beside the states there are commands and availability: `<name>/set`, `<name>/set/<property>`.
            let owner = ["/availability", "/set", "/get"].iter().find_map(|part| {
                let (owner, rest) = name.rsplit_once(part)?;
                (rest.is_empty() || rest.starts_with('/')).then_some(owner)
            });
            return match owner {
                Some(owner) if self.drivers.contains_key(owner) => Outcome::Other,
                _ => Outcome::Unknown(format!("no device is called {name:?}")),
            };
        };
        let device = DeviceName::new(name);
        match driver.ask(Decode(payload)).await {
            Ok(Ok(facts)) => {
                for fact in facts {
                    self.tell_the_home(at, &device, fact, cx).await;
                }
                Outcome::Report
            }
            Ok(Err(unusable)) => Outcome::Unusable(format!("{name}: {unusable}")),
            Err(error) => {
                if matches!(error, AskError::Stopped { .. } | AskError::Abandoned { .. }) {
                    self.drivers.remove(name);
                }
                Outcome::Crashed(error.to_string())
            }
        }
    }

    async fn camera(&mut self, at: At, payload: &Value, cx: &Context<Self>) -> Outcome {
        let after = &payload["after"];
        let (Some(camera), Some(label)) = (after["camera"].as_str(), after["label"].as_str())
        else {
            return Outcome::Unusable(
                "the camera event has no \"after\" with camera and label".to_owned(),
            );
        };
        // An event has a beginning, updates and an end: one sighting.
        if payload["type"] == "new" {
            let device = DeviceName::new(camera);
            self.publish(
                CameraSaw {
                    at,
                    device,
                    label: Arc::from(label),
                },
                cx,
            )
            .await;
        }
        Outcome::Report
    }

    async fn tell_the_home(&self, at: At, device: &DeviceName, fact: Fact, cx: &Context<Self>) {
        let device = device.clone();
        match fact {
            Fact::Temperature(celsius) => {
                self.publish(
                    TemperatureRead {
                        at,
                        device,
                        celsius,
                    },
                    cx,
                )
                .await
            }
            Fact::Humidity(percent) => {
                self.publish(
                    HumidityRead {
                        at,
                        device,
                        percent,
                    },
                    cx,
                )
                .await
            }
            Fact::Illuminance(lux) => self.publish(IlluminanceRead { at, device, lux }, cx).await,
            Fact::Occupied(occupied) => {
                self.publish(
                    MotionSeen {
                        at,
                        device,
                        occupied,
                    },
                    cx,
                )
                .await
            }
            Fact::Open(open) => self.publish(OpeningReported { at, device, open }, cx).await,
            Fact::Locked(locked) => self.publish(LockReported { at, device, locked }, cx).await,
            Fact::Wet(wet) => self.publish(LeakSeen { at, device, wet }, cx).await,
            Fact::Smoke(smoke) => self.publish(SmokeSeen { at, device, smoke }, cx).await,
            Fact::Battery(percent) => {
                self.publish(
                    BatteryRead {
                        at,
                        device,
                        percent,
                    },
                    cx,
                )
                .await
            }
            Fact::Power(watts) => self.publish(PowerRead { at, device, watts }, cx).await,
            Fact::Lamp(on) => self.publish(LampReported { at, device, on }, cx).await,
            Fact::Valve(open) => self.publish(ValveReported { at, device, open }, cx).await,
        }
    }

    async fn publish<E: Event>(&self, event: E, cx: &Context<Self>) {
        // What is lost is counted and kept by the registry.
        cx.publish_within(event, PATIENCE).await;
    }
}

impl Handler<Line> for DeviceGateway {
    async fn handle(&mut self, line: Line, cx: &mut Context<Self>) -> Result<(), Infallible> {
        let outcome = self.take(&line.bytes, cx).await;
        let counts = &mut self.counts;
        counts.lines += 1;
        let (count, why) = match outcome {
            Outcome::Report => (&mut counts.reports, None),
            Outcome::Other => (&mut counts.other, None),
            Outcome::Malformed(why) => (&mut counts.malformed, Some(why)),
            Outcome::Unknown(why) => (&mut counts.unknown, Some(why)),
            Outcome::Unusable(why) => (&mut counts.unusable, Some(why)),
            Outcome::Crashed(why) => (&mut counts.crashed, Some(why)),
        };
        *count += 1;
        if let Some(why) = why {
            let head = String::from_utf8_lossy(&line.bytes[..line.bytes.len().min(120)]);
            cx.dead_letter("Line", format_args!("line {}: {why}: {head}", line.number));
        }
        Ok(())
    }
}

impl Handler<Command> for DeviceGateway {
    async fn handle(&mut self, command: Command, cx: &mut Context<Self>) -> Result<(), Infallible> {
        let Command { device, order, .. } = command;
        let answer = match self.drivers.get(device.as_str()) {
            Some(driver) => driver
                .ask(Encode(order))
                .await
                .map_err(|error| error.to_string()),
            None => Err(format!("no device is called {:?}", device.as_str())),
        };
        match answer.and_then(|encoded| encoded.map_err(|unusable| unusable.to_string())) {
            Ok(payload) => {
                let topic = format!("zigbee2mqtt/{device}/set");
                self.publish(DeviceCommand { topic, payload }, cx).await;
            }
            Err(why) => cx.dead_letter("Command", format_args!("{device}: {why}")),
        }
        Ok(())
    }
}

impl Handler<TakesPart> for DeviceGateway {
    async fn handle(
        &mut self,
        TakesPart(who): TakesPart,
        cx: &mut Context<Self>,
    ) -> Result<(), Infallible> {
        self.participants.insert(who.path().clone(), who);
        for (device, skills) in &self.skills {
            let (device, skills) = (device.clone(), skills.clone());
            let at = At(self.minute.unwrap_or_default().saturating_mul(60_000));
            self.publish(DeviceKnown { at, device, skills }, cx).await;
        }
        Ok(())
    }
}

impl Handler<Settle> for DeviceGateway {
    async fn handle(&mut self, _: Settle, _: &mut Context<Self>) -> Result<bool, Infallible> {
        // Twice: in the first round automations decide, in the second whoever hears of the decisions has heard.
        for _ in 0..2 {
            let mut gone = Vec::new();
            for (path, participant) in &self.participants {
                if let Err(AskError::Stopped { .. }) = participant.ask(Checkpoint).await {
                    gone.push(path.clone());
                }
            }
            for path in gone {
                self.participants.remove(&path);
                self.called = self.called.saturating_sub(1);
            }
        }
        Ok(self.participants.len() >= self.called)
    }
}

impl Handler<Count> for DeviceGateway {
    async fn handle(&mut self, _: Count, _: &mut Context<Self>) -> Result<Counts, Infallible> {
        Ok(self.counts)
    }
}

#[cfg(test)]
mod tests;
