//! What each room is like now, for whoever wants to look.
//!
//! - **What it is:** the memory behind the live view; it decides nothing.
//! - **Handles:** [`Look`], answered with a [`Picture`].
//! - **Subscribes to:** [`TemperatureRead`], [`HumidityRead`], [`MotionSeen`], [`OpeningReported`], [`LampReported`],
//!   [`LeakSeen`], [`MinutePassed`].
//! - **Publishes:** nothing.
//! - **Crashes when:** never. A new life knows nothing until the devices report again.

use std::collections::BTreeMap;
use std::convert::Infallible;

use greenroom::prelude::*;
use home_protocol::{
    At, DeviceName, HumidityRead, LampReported, LeakSeen, MinutePassed, MotionSeen,
    OpeningReported, TemperatureRead,
};

/// How many rooms are kept, and how many devices of each; further ones are not shown.
pub(crate) const KEPT: usize = 64;

/// Asks [`Rooms`] what the rooms are like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look;

impl Message for Look {
    type Reply = Picture;
}

/// The home at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Picture {
    /// The latest event time that was heard of.
    pub(crate) at: At,
    /// The rooms, sorted by name, at most [`KEPT`].
    pub(crate) rooms: Vec<RoomNow>,
}

/// One room at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct RoomNow {
    /// Its name.
    pub(crate) name: String,
    /// In degrees Celsius: the mean of what its thermometers said last.
    pub(crate) temperature: Option<f64>,
    /// Relative humidity, 0 to 100: the mean of what its hygrometers said last.
    pub(crate) humidity: Option<f64>,
    /// Whether a sensor sees somebody.
    pub(crate) occupied: bool,
    /// How many of its lamps are on.
    pub(crate) lamps_on: usize,
    /// The doors, windows and gates that are open, by name without the room, sorted.
    pub(crate) open: Vec<String>,
    /// Whether a sensor is wet.
    pub(crate) wet: bool,
}

/// Remembers what each device said last.
#[derive(Debug, Default)]
pub(crate) struct Rooms {
    at: At,
    rooms: BTreeMap<String, BTreeMap<DeviceName, Device>>,
}

/// What a device said last.
#[derive(Debug, Default)]
struct Device {
    celsius: Option<f64>,
    percent: Option<f64>,
    occupied: bool,
    lamp_on: bool,
    open: bool,
    wet: bool,
}

impl Rooms {
    fn note(&mut self, at: At, name: &DeviceName, change: impl FnOnce(&mut Device)) {
        self.at = self.at.max(at);
        let is_full = self.rooms.len() >= KEPT;
        let devices = match self.rooms.get_mut(name.room()) {
            Some(devices) => devices,
            None if is_full => return,
            None => self.rooms.entry(name.room().to_owned()).or_default(),
        };
        if devices.len() < KEPT || devices.contains_key(name) {
            change(devices.entry(name.clone()).or_default());
        }
    }
}

impl Actor for Rooms {
    type Args = ();
    type Error = Infallible;

    async fn start((): (), cx: &mut Context<Self>) -> Result<Self, Infallible> {
        cx.subscribe::<TemperatureRead>();
        cx.subscribe::<HumidityRead>();
        cx.subscribe::<MotionSeen>();
        cx.subscribe::<OpeningReported>();
        cx.subscribe::<LampReported>();
        cx.subscribe::<LeakSeen>();
        cx.subscribe::<MinutePassed>();
        Ok(Rooms::default())
    }

    fn flow(flow: &mut Flow<Self>) {
        flow.subscribes::<TemperatureRead>();
        flow.subscribes::<HumidityRead>();
        flow.subscribes::<MotionSeen>();
        flow.subscribes::<OpeningReported>();
        flow.subscribes::<LampReported>();
        flow.subscribes::<LeakSeen>();
        flow.subscribes::<MinutePassed>();
        flow.handles::<Look>();
    }
}

impl Handler<Look> for Rooms {
    async fn handle(&mut self, _: Look, _: &mut Context<Self>) -> Result<Picture, Infallible> {
        let rooms = self.rooms.iter().map(|(name, devices)| RoomNow {
            name: name.clone(),
            temperature: mean(devices.values().filter_map(|d| d.celsius)),
            humidity: mean(devices.values().filter_map(|d| d.percent)),
            occupied: devices.values().any(|d| d.occupied),
            lamps_on: devices.values().filter(|d| d.lamp_on).count(),
            open: devices
                .iter()
                .filter(|(_, d)| d.open)
                .map(|(name, _)| within_room(name).to_owned())
                .collect(),
            wet: devices.values().any(|d| d.wet),
        });
        Ok(Picture {
            at: self.at,
            rooms: rooms.collect(),
        })
    }
}

impl Handler<TemperatureRead> for Rooms {
    async fn handle(
        &mut self,
        read: TemperatureRead,
        _: &mut Context<Self>,
    ) -> Result<(), Infallible> {
        self.note(read.at, &read.device, |d| d.celsius = Some(read.celsius));
        Ok(())
    }
}

impl Handler<HumidityRead> for Rooms {
    async fn handle(
        &mut self,
        read: HumidityRead,
        _: &mut Context<Self>,
    ) -> Result<(), Infallible> {
        self.note(read.at, &read.device, |d| d.percent = Some(read.percent));
        Ok(())
    }
}

impl Handler<MotionSeen> for Rooms {
    async fn handle(&mut self, seen: MotionSeen, _: &mut Context<Self>) -> Result<(), Infallible> {
        self.note(seen.at, &seen.device, |d| d.occupied = seen.occupied);
        Ok(())
    }
}

impl Handler<OpeningReported> for Rooms {
    async fn handle(
        &mut self,
        changed: OpeningReported,
        _: &mut Context<Self>,
    ) -> Result<(), Infallible> {
        self.note(changed.at, &changed.device, |d| d.open = changed.open);
        Ok(())
    }
}

impl Handler<LampReported> for Rooms {
    async fn handle(
        &mut self,
        lamp: LampReported,
        _: &mut Context<Self>,
    ) -> Result<(), Infallible> {
        self.note(lamp.at, &lamp.device, |d| d.lamp_on = lamp.on);
        Ok(())
    }
}

impl Handler<LeakSeen> for Rooms {
    async fn handle(&mut self, seen: LeakSeen, _: &mut Context<Self>) -> Result<(), Infallible> {
        self.note(seen.at, &seen.device, |d| d.wet = seen.wet);
        Ok(())
    }
}

impl Handler<MinutePassed> for Rooms {
    async fn handle(
        &mut self,
        minute: MinutePassed,
        _: &mut Context<Self>,
    ) -> Result<(), Infallible> {
        self.at = self.at.max(minute.at);
        Ok(())
    }
}

/// The mean of all finite values, so that several thermometers in a room do not make it flicker between them.
fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (mut sum, mut count) = (0.0, 0.0);
    for value in values.filter(|value| value.is_finite()) {
        sum += value;
        count += 1.0;
    }
    (count > 0.0).then(|| sum / count)
}

/// The name of a device without its room; the whole name if it has none.
fn within_room(name: &DeviceName) -> &str {
    match name.as_str().split_once('/') {
        Some((_, rest)) => rest,
        None => name.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn start() -> (System, ActorRef<Rooms>) {
        let tree = Supervisor::one_for_one("home").child(Rooms::spec("rooms", ()));
        let builder = System::builder().seed(1).in_current_runtime();
        let system = builder.start(tree).await.unwrap();
        let rooms = system.find::<Rooms>("home/rooms").unwrap();
        (system, rooms)
    }

    fn temperature(minute: i64, device: &str, celsius: f64) -> TemperatureRead {
        TemperatureRead {
            at: At(0).plus_minutes(minute),
            device: DeviceName::new(device),
            celsius,
        }
    }

    fn opening(device: &str, open: bool) -> OpeningReported {
        OpeningReported {
            at: At(0),
            device: DeviceName::new(device),
            open,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_picture_shows_each_room_as_its_devices_reported_it() {
        let (system, rooms) = start().await;
        system.publish(temperature(1, "kitchen/climate", 20.0));
        system.publish(temperature(2, "kitchen/air", 21.0));
        system.publish(temperature(3, "kitchen/motion", f64::NAN));
        system.publish(HumidityRead {
            at: At(0),
            device: DeviceName::new("kitchen/climate"),
            percent: 45.0,
        });
        for (device, on) in [
            ("kitchen/lamp", true),
            ("kitchen/hood", true),
            ("kitchen/lamp", false),
        ] {
            system.publish(LampReported {
                at: At(0),
                device: DeviceName::new(device),
                on,
            });
        }
        system.publish(opening("hallway/front door", true));
        system.publish(opening("gate", true));
        system.publish(opening("hallway/back door", true));
        system.publish(opening("hallway/back door", false));
        system.publish(MotionSeen {
            at: At(0),
            device: DeviceName::new("hallway/motion"),
            occupied: true,
        });
        system.publish(LeakSeen {
            at: At(0),
            device: DeviceName::new("bathroom/floor"),
            wet: true,
        });
        system.publish(MinutePassed {
            at: At(0).plus_minutes(9),
        });

        let room = |name: &str| RoomNow {
            name: name.to_owned(),
            ..RoomNow::default()
        };
        let expected = Picture {
            at: At(9 * 60_000),
            rooms: vec![
                RoomNow {
                    wet: true,
                    ..room("bathroom")
                },
                RoomNow {
                    open: vec!["gate".to_owned()],
                    ..room("gate")
                },
                RoomNow {
                    occupied: true,
                    open: vec!["front door".to_owned()],
                    ..room("hallway")
                },
                RoomNow {
                    temperature: Some(20.5),
                    humidity: Some(45.0),
                    lamps_on: 1,
                    ..room("kitchen")
                },
            ],
        };
        assert_eq!(rooms.ask(Look).await.unwrap(), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn rooms_and_devices_beyond_the_limit_are_left_out() {
        let (_system, rooms) = start().await;
        for n in 0..=KEPT {
            rooms
                .tell(temperature(0, &format!("{n:03}/climate"), 20.0))
                .await
                .unwrap();
        }
        for n in 0..=KEPT {
            rooms
                .tell(temperature(0, &format!("000/{n}"), 20.0))
                .await
                .unwrap();
            rooms
                .tell(opening(&format!("000/{n}"), true))
                .await
                .unwrap();
        }
        let picture = rooms.ask(Look).await.unwrap();
        assert_eq!(picture.rooms.len(), KEPT);
        assert_eq!(picture.rooms[0].open.len(), KEPT - 1);
        assert_eq!(picture.rooms[KEPT - 1].name, "063");
    }
}
