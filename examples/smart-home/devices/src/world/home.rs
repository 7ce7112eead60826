//! What is installed where: the rooms, and the devices in them.

use std::fmt;

use crate::catalogue::{Definition, catalogue};

/// A room of the home.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Room {
    /// Cooking, eating, and the fridge.
    Kitchen,
    /// Evenings, home office, and the door to the garden.
    LivingRoom,
    /// The parents'.
    Bedroom,
    /// The children's.
    KidsRoom,
    /// Shower and washing machine.
    Bathroom,
    /// Between all the others, and the front door.
    Hallway,
    /// Not heated; the water main comes in here.
    Garage,
    /// Outdoors.
    Garden,
}

impl Room {
    /// All rooms, in the order in which they are declared.
    pub const ALL: [Room; 8] = [
        Room::Kitchen,
        Room::LivingRoom,
        Room::Bedroom,
        Room::KidsRoom,
        Room::Bathroom,
        Room::Hallway,
        Room::Garage,
        Room::Garden,
    ];

    /// Returns the name of the room, as in the friendly names of its devices: `living room`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Room::Kitchen => "kitchen",
            Room::LivingRoom => "living room",
            Room::Bedroom => "bedroom",
            Room::KidsRoom => "kids room",
            Room::Bathroom => "bathroom",
            Room::Hallway => "hallway",
            Room::Garage => "garage",
            Room::Garden => "garden",
        }
    }
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a device is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Role {
    /// Measures temperature, mostly humidity too.
    Climate,
    /// Measures what else is in the air: particles, carbon dioxide, vapours.
    Air,
    /// Sees movement: `occupancy`.
    Motion,
    /// Sees people who sit still, too: `presence`.
    Presence,
    /// Measures light: `illuminance`.
    Light,
    /// Knows whether a door or window is open: `contact` is `true` when closed.
    Contact,
    /// Knows whether the floor is wet: `water_leak`.
    Leak,
    /// Smells smoke: `smoke`.
    Smoke,
    /// Feels shaking: `vibration`.
    Vibration,
    /// Measures the soil: `soil_moisture`.
    Soil,
    /// A lamp or a wall switch in front of one: `state`, some with `brightness` and `color_temp`.
    Lamp,
    /// A plug with an appliance on it: `state`, most with `power` and `energy`.
    Plug,
    /// A radiator valve: `occupied_heating_setpoint`, `local_temperature`, `running_state`.
    Radiator,
    /// An air conditioner: `state`, `system_mode`, `current_heating_setpoint`.
    AirConditioner,
    /// A blind or curtain: `state`, `position` in percent open.
    Cover,
    /// A door lock: `state`, `lock_state`.
    Lock,
    /// The valve in the water main: `state` `ON` is open; `flow` in m³/h.
    Valve,
    /// A siren: `alarm`.
    Siren,
    /// The garage door: `trigger` `true` opens, `garage_door_contact` is `true` when closed.
    GarageDoor,
    /// A button or remote: `action`.
    Button,
}

/// A device that is installed in the virtual home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Installed {
    /// The name that the family gave it, which is its topic below `zigbee2mqtt/`: `kitchen/climate`.
    pub friendly_name: &'static str,
    /// Where it is.
    pub room: Room,
    /// Who made it, as in the catalogue.
    pub vendor: &'static str,
    /// The maker's model number, as in the catalogue.
    pub model: &'static str,
    /// What it is for.
    pub role: Role,
}

impl Installed {
    /// Returns what the model exposes.
    #[must_use]
    pub fn definition(&self) -> Option<&'static Definition> {
        catalogue().get(self.vendor, self.model)
    }
}

/// The camera at the front door, as Frigate names it; see [`World`](crate::World) for what it publishes.
pub const CAMERA: &str = "front_door";

/// Declares the devices once: the public table, and the private name of each in the same order.
macro_rules! home {
    ($($id:ident: $name:literal, $room:ident, $vendor:literal, $model:literal, $role:ident;)+) => {
        /// The place of each device in [`HOME`].
        #[expect(dead_code, reason = "most sensors are found by their role, not by their name")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Id { $($id),+ }

        /// The devices of the virtual home, room by room.
        pub const HOME: &[Installed] = &[$(Installed {
            friendly_name: $name,
            room: Room::$room,
            vendor: $vendor,
            model: $model,
            role: Role::$role,
        }),+];
    };
}

home! {
    KitchenClimate: "kitchen/climate", Kitchen, "Aqara", "WSDCGQ11LM", Climate;
    KitchenAir: "kitchen/air", Kitchen, "IKEA", "E2112", Air;
    KitchenMotion: "kitchen/motion", Kitchen, "Philips", "9290012607", Motion;
    KitchenLamp: "kitchen/lamp", Kitchen, "IKEA", "LED2201G8", Lamp;
    KitchenFridge: "kitchen/fridge", Kitchen, "Aqara", "SP-EUC01", Plug;
    KitchenKettle: "kitchen/kettle", Kitchen, "SONOFF", "S60ZBTPF", Plug;
    KitchenSink: "kitchen/sink", Kitchen, "Aqara", "SJCGQ11LM", Leak;
    KitchenSmoke: "kitchen/smoke", Kitchen, "Heiman", "HS1SA-E", Smoke;
    KitchenWindow: "kitchen/window", Kitchen, "SONOFF", "SNZB-04", Contact;
    KitchenRadiator: "kitchen/radiator", Kitchen, "SONOFF", "TRVZB", Radiator;

    LivingClimate: "living room/climate", LivingRoom, "SONOFF", "SNZB-02D", Climate;
    LivingCo2: "living room/co2", LivingRoom, "Tuya", "TS0601_co2_sensor", Air;
    LivingPresence: "living room/presence", LivingRoom, "Aqara", "RTCZCGQ11LM", Presence;
    LivingLamp: "living room/lamp", LivingRoom, "Philips", "9290022166", Lamp;
    LivingReading: "living room/reading lamp", LivingRoom, "IKEA", "LED1624G9", Lamp;
    LivingTv: "living room/tv", LivingRoom, "Tuya", "TS011F_plug_1", Plug;
    LivingBlind: "living room/blind", LivingRoom, "IKEA", "E1757", Cover;
    LivingTerrace: "living room/terrace door", LivingRoom, "IKEA", "E2013", Contact;
    LivingRadiator: "living room/radiator", LivingRoom, "Bosch", "BTH-RA", Radiator;
    LivingAircon: "living room/air conditioner", LivingRoom, "Tuya", "AETZ01_AC", AirConditioner;
    LivingRemote: "living room/remote", LivingRoom, "IKEA", "E1524/E1810", Button;

    BedroomClimate: "bedroom/climate", Bedroom, "Tuya", "TS0201", Climate;
    BedroomLamp: "bedroom/lamp", Bedroom, "IKEA", "LED1836G9", Lamp;
    BedroomCurtain: "bedroom/curtain", Bedroom, "Aqara", "ZNCLDJ12LM", Cover;
    BedroomWindow: "bedroom/window", Bedroom, "Aqara", "MCCGQ11LM", Contact;
    BedroomRadiator: "bedroom/radiator", Bedroom, "Danfoss", "014G2461", Radiator;
    BedroomButton: "bedroom/button", Bedroom, "Aqara", "WXKG11LM", Button;

    KidsClimate: "kids room/climate", KidsRoom, "Third Reality", "3RTHS24BZ", Climate;
    KidsMotion: "kids room/motion", KidsRoom, "IKEA", "E2134", Motion;
    KidsLamp: "kids room/lamp", KidsRoom, "Philips", "9290024896", Lamp;
    KidsWindow: "kids room/window", KidsRoom, "Aqara", "MCCGQ11LM", Contact;
    KidsRadiator: "kids room/radiator", KidsRoom, "Eurotronic", "SPZB0001", Radiator;
    KidsButton: "kids room/button", KidsRoom, "SONOFF", "SNZB-01", Button;

    BathroomClimate: "bathroom/climate", Bathroom, "Aqara", "VOCKQJK11LM", Climate;
    BathroomMotion: "bathroom/motion", Bathroom, "SONOFF", "SNZB-03", Motion;
    BathroomLight: "bathroom/light", Bathroom, "SONOFF", "ZBMINI", Lamp;
    BathroomHeater: "bathroom/heater", Bathroom, "Philips", "929003050601", Plug;
    BathroomWasher: "bathroom/washing machine", Bathroom, "Tuya", "TS011F_plug_1", Plug;
    BathroomVibration: "bathroom/vibration", Bathroom, "Aqara", "DJT11LM", Vibration;
    BathroomFloor: "bathroom/floor", Bathroom, "IKEA", "E2202", Leak;

    HallwayMotion: "hallway/motion", Hallway, "Aqara", "RTCGQ11LM", Motion;
    HallwayLight: "hallway/light", Hallway, "Aqara", "QBKG11LM", Lamp;
    HallwayDoor: "hallway/front door", Hallway, "Aqara", "MCCGQ11LM", Contact;
    HallwayLock: "hallway/lock", Hallway, "Danalock", "V3-BTZB/V3-BTZBE", Lock;
    HallwaySiren: "hallway/siren", Hallway, "NEO", "NAS-AB02B2", Siren;
    HallwaySmoke: "hallway/smoke", Hallway, "Xiaomi", "JTYJ-GD-01LM/BW", Smoke;
    HallwayDimmer: "hallway/dimmer", Hallway, "Philips", "929002398602", Button;

    GarageClimate: "garage/climate", Garage, "SONOFF", "SNZB-02", Climate;
    GarageMotion: "garage/motion", Garage, "Tuya", "TS0202", Motion;
    GarageLight: "garage/light", Garage, "SONOFF", "ZBMINI", Lamp;
    GarageFreezer: "garage/freezer", Garage, "Salus Controls", "SP600", Plug;
    GarageDoor: "garage/door", Garage, "Tuya", "TS0601_garage_door_opener", GarageDoor;
    GarageValve: "garage/water main", Garage, "SONOFF", "SWV", Valve;

    GardenWeather: "garden/weather", Garden, "Aqara", "WSDCGQ11LM", Climate;
    GardenMotion: "garden/motion", Garden, "Philips", "9290019758", Motion;
    GardenSky: "garden/sky", Garden, "Xiaomi", "GZCGQ01LM", Light;
    GardenGate: "garden/gate", Garden, "IKEA", "E2013", Contact;
    GardenSoil: "garden/soil", Garden, "Tuya", "TS0601_soil", Soil;
}

/// Returns the lamps of a room.
pub(super) fn lamps(room: Room) -> &'static [Id] {
    match room {
        Room::Kitchen => &[Id::KitchenLamp],
        Room::LivingRoom => &[Id::LivingLamp, Id::LivingReading],
        Room::Bedroom => &[Id::BedroomLamp],
        Room::KidsRoom => &[Id::KidsLamp],
        Room::Bathroom => &[Id::BathroomLight],
        Room::Hallway => &[Id::HallwayLight],
        Room::Garage => &[Id::GarageLight],
        Room::Garden => &[],
    }
}

/// Returns the window or outer door of a room that lets the weather in.
pub(super) fn opening(room: Room) -> Option<Id> {
    match room {
        Room::Kitchen => Some(Id::KitchenWindow),
        Room::LivingRoom => Some(Id::LivingTerrace),
        Room::Bedroom => Some(Id::BedroomWindow),
        Room::KidsRoom => Some(Id::KidsWindow),
        Room::Hallway => Some(Id::HallwayDoor),
        Room::Bathroom | Room::Garage | Room::Garden => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_device_is_in_the_catalogue_and_in_the_room_of_its_name() {
        for device in HOME {
            assert!(device.definition().is_some(), "{device:?}");
            let room = device.friendly_name.split('/').next();
            assert_eq!(room, Some(device.room.name()));
        }
    }

    #[test]
    fn friendly_names_are_unique_and_every_room_has_devices() {
        let names: BTreeSet<_> = HOME.iter().map(|device| device.friendly_name).collect();
        assert_eq!(names.len(), HOME.len());
        let rooms: BTreeSet<_> = HOME.iter().map(|device| device.room).collect();
        assert_eq!(rooms.into_iter().collect::<Vec<_>>(), Room::ALL);
    }

    #[test]
    fn at_least_thirty_models_are_installed() {
        let models: BTreeSet<_> = HOME.iter().map(|d| (d.vendor, d.model)).collect();
        assert!(models.len() >= 30, "{}", models.len());
    }
}
