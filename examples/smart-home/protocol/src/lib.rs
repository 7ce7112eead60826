//! The words that the actors of the smart home share.
//!
//! Actors of the home depend on this crate and never on each other: the gateway
//! publishes what devices report, automations publish what they decided and what
//! devices should do, and the registry brings the two together.
//!
//! Time here is *event time*: the time that a device's report carries. No
//! automation looks at a clock, so a recorded day gives the same decisions at
//! any speed.

#![forbid(unsafe_code)]

use std::fmt;
use std::sync::Arc;

use greenroom::prelude::*;

/// When something happened: milliseconds since the Unix epoch, in home time (UTC).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct At(pub i64);

impl At {
    /// Returns the minute of the day, 0 to 1439.
    #[must_use]
    pub fn minute_of_day(self) -> u16 {
        // 1,440 fits, and rem_euclid is never negative.
        self.0.div_euclid(60_000).rem_euclid(1440) as u16
    }

    /// Returns the time that is so many minutes later.
    #[must_use]
    pub fn plus_minutes(self, minutes: i64) -> Self {
        At(self.0.saturating_add(minutes.saturating_mul(60_000)))
    }
}

impl fmt::Display for At {
    /// Writes the time of day, as in `07:05:30`; with `{:#}` the date before it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            let (year, month, day) = self.date();
            write!(f, "{year:04}-{month:02}-{day:02} ")?;
        }
        let seconds = self.0.div_euclid(1000).rem_euclid(86_400);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        write!(f, "{hour:02}:{minute:02}:{second:02}")
    }
}

impl At {
    /// Year, month and day, by Howard Hinnant's `civil_from_days`.
    fn date(self) -> (i64, i64, i64) {
        let days = self.0.div_euclid(86_400_000) + 719_468;
        let era = days.div_euclid(146_097);
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 {
            shifted_month + 3
        } else {
            shifted_month - 9
        };
        (year_of_era + era * 400 + i64::from(month <= 2), month, day)
    }
}

/// A device by its zigbee2mqtt friendly name, as in `kitchen/lamp`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceName(Arc<str>);

impl DeviceName {
    /// Names a device.
    #[must_use]
    pub fn new(friendly_name: &str) -> Self {
        DeviceName(Arc::from(friendly_name))
    }

    /// Returns the room: what stands before the slash, or the whole name if there is none.
    #[must_use]
    pub fn room(&self) -> &str {
        self.0.split('/').next().unwrap_or(&self.0)
    }

    /// Returns the friendly name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

// What a device said of the home; the gateway publishes one for each fact in a
// report. They are separate events, so that an actor subscribes to just what it
// needs and `Handler<MotionSeen>` can be searched for.
macro_rules! reports {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            /// When.
            pub at: At,
            /// Which device.
            pub device: DeviceName,
            $($(#[$field_doc])* pub $field: $type,)*
        }
        impl Event for $name {}
    )*};
}

reports! {
    /// A thermometer reported.
    TemperatureRead {
        /// In degrees Celsius.
        celsius: f64,
    }
    /// A hygrometer reported.
    HumidityRead {
        /// Relative humidity, 0 to 100.
        percent: f64,
    }
    /// A light sensor reported.
    IlluminanceRead {
        /// In lux.
        lux: f64,
    }
    /// A motion or presence sensor reported.
    MotionSeen {
        /// Whether somebody is there.
        occupied: bool,
    }
    /// A door, window or gate reported, also when nothing has changed.
    OpeningReported {
        /// Whether it is open.
        open: bool,
    }
    /// A lock reported, also when nothing has changed.
    LockReported {
        /// Whether it is locked.
        locked: bool,
    }
    /// A water sensor reported.
    LeakSeen {
        /// Whether it is wet.
        wet: bool,
    }
    /// A smoke detector reported.
    SmokeSeen {
        /// Whether there is smoke.
        smoke: bool,
    }
    /// A device reported its battery.
    BatteryRead {
        /// What is left, 0 to 100.
        percent: f64,
    }
    /// A meter reported.
    PowerRead {
        /// In watts.
        watts: f64,
    }
    /// A lamp reported whether it is on.
    LampReported {
        /// Whether it is on.
        on: bool,
    }
    /// A water valve reported.
    ValveReported {
        /// Whether water can flow.
        open: bool,
    }
    /// A camera recognised something.
    CameraSaw {
        /// What: `person`, `car`, `cat`.
        label: Arc<str>,
    }
}

/// What a device can be told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Skill {
    /// It takes [`Order::Light`].
    Light,
    /// It takes [`Order::Heat`].
    Heat,
    /// It takes [`Order::Cool`].
    Cool,
    /// It takes [`Order::Water`].
    Water,
    /// It takes [`Order::Siren`].
    Siren,
}

/// The gateway has learnt of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceKnown {
    /// When.
    pub at: At,
    /// Which device.
    pub device: DeviceName,
    /// What it can be told to do.
    pub skills: Vec<Skill>,
}
impl Event for DeviceKnown {}

/// A minute of event time has begun; published once for each minute in which anything is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MinutePassed {
    /// The time of the report that began it.
    pub at: At,
}
impl Event for MinutePassed {}

/// What an automation wants a device to do; the gateway puts it into the device's own words.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// When it was decided.
    pub at: At,
    /// Which device.
    pub device: DeviceName,
    /// What it should do.
    pub order: Order,
}
impl Event for Command {}

/// What a device should do, in the home's words.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Order {
    /// Switch a lamp.
    Light {
        /// On or off.
        on: bool,
    },
    /// Heat to so many degrees Celsius; a low number is off.
    Heat {
        /// The set point.
        celsius: f64,
    },
    /// Cool down to so many degrees Celsius, or switch off.
    Cool {
        /// The set point; `None` is off.
        celsius: Option<f64>,
    },
    /// Open or close the water.
    Water {
        /// Whether it should flow.
        open: bool,
    },
    /// Sound the siren, or end it.
    Siren {
        /// On or off.
        on: bool,
    },
}

/// An automation took a decision that a person would want to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// When, in event time.
    pub at: At,
    /// Who: the path of the actor.
    pub by: Path,
    /// What, in a few words with the room or device first: `kitchen: heating on`.
    pub what: String,
}
impl Event for Decided {}

pub use greenroom::Path;

/// What comes out of an automation's mind: decisions as values, to be tested without an actor.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// A device should do something.
    Order(DeviceName, Order),
    /// A person should read something.
    Say(String),
}

/// Publishes what an automation decided at `at`: orders as [`Command`], words as [`Decided`].
pub fn carry_out<A: Actor>(at: At, decisions: Vec<Decision>, cx: &Context<A>) {
    for decision in decisions {
        match decision {
            Decision::Order(device, order) => cx.publish(Command { at, device, order }),
            Decision::Say(what) => {
                let by = cx.path().clone();
                cx.publish(Decided { at, by, what })
            }
        };
    }
}

/// Declares what [`carry_out`] publishes, in the [`flow`](Actor::flow) of an actor that calls it.
pub fn decides<A: Actor>(flow: &mut Flow<A>) {
    flow.publishes::<Command>();
    flow.publishes::<Decided>();
}

/// One line of recorded MQTT traffic, as it was read: `{"ts", "topic", "payload"}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its number in the recording, counted from 1.
    pub number: u64,
    /// Its bytes without the line end; of a line longer than [`LINE_MAX`] one byte more than that is enough.
    pub bytes: Vec<u8>,
}

impl Message for Line {
    type Reply = ();
}

/// How long a line may be, in bytes: 1 MiB.
///
/// The longest that zigbee2mqtt publishes is its list of devices, some 100 kB for
/// a hundred of them.
pub const LINE_MAX: usize = 1 << 20;

/// Asks the gateway to answer once the home has come to rest: every report handled, every decision taken.
///
/// The reply says whether all that the gateway called have answered the
/// [`RollCall`]; until then somebody may still be busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settle;

impl Message for Settle {
    type Reply = bool;
}

/// What the gateway sends to a device, in the device's own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceCommand {
    /// Where to, as in `zigbee2mqtt/kitchen/lamp/set`.
    pub topic: String,
    /// A JSON object.
    pub payload: String,
}
impl Event for DeviceCommand {}

/// Asks an actor to answer once it has handled all that was sent to it before.
///
/// A replay uses it to let the home come to rest between two steps, which makes
/// the order of decisions a matter of the recording and not of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint;

impl Message for Checkpoint {
    type Reply = ();
}

/// Whoever takes part in checkpoints is to say so; published by the gateway when it starts.
#[derive(Clone, Copy, Debug)]
pub struct RollCall;
impl Event for RollCall {}

/// An actor takes part in checkpoints; the gateway asks all that do.
///
/// Published by an automation when it starts and at each [`RollCall`].
#[derive(Clone, Debug)]
pub struct TakesPart(pub Recipient<Checkpoint>);
impl Event for TakesPart {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_day_is_right_before_and_after_the_epoch() {
        let at = At(1_768_435_530_000);
        assert_eq!(
            (at.to_string().as_str(), at.minute_of_day()),
            ("00:05:30", 5)
        );
        assert_eq!(format!("{at:#}"), "2026-01-15 00:05:30");
        assert_eq!(format!("{:#}", At(951_782_400_000)), "2000-02-29 00:00:00");
        assert_eq!(format!("{:#}", At(-1)), "1969-12-31 23:59:59");
        assert_eq!(At(-1).to_string(), "23:59:59");
        assert_eq!(At(-1).minute_of_day(), 1439);
        assert_eq!(At(i64::MAX).plus_minutes(1), At(i64::MAX));
    }

    #[test]
    fn a_device_is_in_the_room_before_the_slash() {
        assert_eq!(DeviceName::new("living room/lamp").room(), "living room");
        assert_eq!(DeviceName::new("siren").room(), "siren");
    }
}
