//! What the family does to the devices: moving, opening doors, switching lamps by hand.

use super::home::{Id, Role, Room, lamps, opening};
use super::people::{Doing, Person, Plan};
use super::{DAY_MS, MINUTE_MS, STEP_MS, World};
use crate::random::Random;

/// Where everybody is, and what they hold open.
#[derive(Debug)]
pub(super) struct Life {
    random: Random,
    plan: Plan,
    day: i64,
    place: [Option<Room>; 4],
    doing: [Doing; 4],
    /// Doors and windows that are open, and until when.
    held: Vec<(Id, i64)>,
    /// When each device last saw somebody move, and when it last said so.
    moved_ms: Vec<(Id, i64, i64)>,
    /// When the front door is locked again.
    lock_ms: Option<i64>,
    /// When the garage door is closed again.
    garage_ms: Option<i64>,
}

impl Life {
    pub(super) fn new(seed: u64, start_ms: i64) -> Life {
        let day = start_ms.div_euclid(DAY_MS);
        let plan = Plan::new(seed, day);
        let second = start_ms.rem_euclid(DAY_MS) / 1000;
        let stays = Person::ALL.map(|person| plan.stay(person, second));
        Life {
            random: Random::new(seed, "life", 0),
            place: stays.map(|stay| stay.place),
            doing: stays.map(|stay| stay.doing),
            plan,
            day,
            held: Vec::new(),
            moved_ms: MOTION.map(|id| (id, i64::MIN / 2, i64::MIN / 2)).to_vec(),
            lock_ms: None,
            garage_ms: None,
        }
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// How many people are in a room.
    pub(super) fn people_in(&self, room: Room) -> usize {
        self.place.iter().filter(|at| **at == Some(room)).count()
    }

    /// How many people in a room do this.
    pub(super) fn doing_in(&self, room: Room, doing: Doing) -> usize {
        let people = self.place.iter().zip(&self.doing);
        people
            .filter(|(at, what)| **at == Some(room) && **what == doing)
            .count()
    }

    /// Whether somebody is at home and could see to a puddle: an adult, and awake.
    pub(super) fn is_adult_up(&self) -> bool {
        Person::ALL.into_iter().any(|person| {
            let index = person as usize;
            person.is_adult() && self.place[index].is_some() && self.doing[index] != Doing::Sleeping
        })
    }

    /// Holds a door or window open until then.
    pub(super) fn hold_open(&mut self, id: Id, until_ms: i64) {
        match self.held.iter_mut().find(|(held, _)| *held == id) {
            Some((_, until)) => *until = (*until).max(until_ms),
            None => self.held.push((id, until_ms)),
        }
    }

    /// Closes a door or window now.
    pub(super) fn let_go(&mut self, id: Id) {
        self.held.retain(|(held, _)| *held != id);
    }

    /// Lets the motion sensor of a room, if it has one, see somebody.
    pub(super) fn moved(&mut self, room: Room, ms: i64) {
        for (id, moved_ms, _) in &mut self.moved_ms {
            if super::HOME[*id as usize].room == room {
                *moved_ms = ms;
            }
        }
    }
}

impl World {
    /// Lets the family do what their plan has for this step.
    pub(super) fn live(&mut self, ms: i64) {
        let day = ms.div_euclid(DAY_MS);
        if day != self.life.day {
            self.life.day = day;
            self.life.plan = Plan::new(self.seed, day);
        }
        let second = ms.rem_euclid(DAY_MS) / 1000;
        for person in Person::ALL {
            let stay = self.life.plan.stay(person, second);
            let index = person as usize;
            let (from, was) = (self.life.place[index], self.life.doing[index]);
            self.life.place[index] = stay.place;
            self.life.doing[index] = stay.doing;
            if from != stay.place {
                self.walk(person, from, stay.place, ms);
            }
            if stay.doing == Doing::Sleeping && was != Doing::Sleeping {
                self.go_to_sleep(ms);
            }
            // Who sits still is not seen all the time, and sleepers turn over.
            let seen = match stay.doing {
                Doing::Sleeping => 0.0008,
                Doing::Watching => 0.05,
                Doing::Pottering => 0.14,
                Doing::Cooking | Doing::Showering => 0.3,
            };
            if let Some(room) = stay.place
                && self.life.random.chance(seen)
            {
                self.life.moved(room, ms);
            }
        }
    }

    /// Lets doors, windows, blinds and motion sensors take in what people did, invited or not.
    pub(super) fn take_in(&mut self, ms: i64) {
        let second = ms.rem_euclid(DAY_MS) / 1000;
        self.open_and_close(second, ms);
        self.see_motion(ms);
    }

    /// Somebody goes from one place to another, through the hallway and maybe a door.
    fn walk(&mut self, person: Person, from: Option<Room>, to: Option<Room>, ms: i64) {
        let life = &mut self.life;
        for room in [from, to].into_iter().flatten() {
            life.moved(room, ms);
        }
        match (from, to) {
            (Some(Room::Garden), Some(_)) | (Some(_), Some(Room::Garden)) => {
                let open_ms = life.random.whole(1, 4) * STEP_MS;
                life.hold_open(Id::LivingTerrace, ms + open_ms);
            }
            (Some(_), Some(_)) => life.moved(Room::Hallway, ms),
            (None, _) | (_, None) => {
                life.moved(Room::Hallway, ms);
                let leaves = to.is_none();
                if person == Person::Anna {
                    life.moved(Room::Garage, ms);
                    life.garage_ms = Some(ms + life.random.whole(5, 9) * STEP_MS);
                    self.drive_garage_door(true);
                    self.camera.notice("car", "driveway", ms, 40);
                } else {
                    let open_ms = life.random.whole(1, 3) * STEP_MS;
                    life.hold_open(Id::HallwayDoor, ms + open_ms);
                    life.hold_open(Id::GardenGate, ms + STEP_MS);
                    life.lock_ms = Some(ms + open_ms + 2 * STEP_MS);
                    self.camera.notice("person", "porch", ms, 30);
                    self.unlock(leaves, ms);
                }
            }
        }
        if let Some(room) = to {
            self.enter_dark(room, ms);
        }
        if let Some(room) = from
            && self.life.people_in(room) == 0
            && self.life.random.chance(0.75)
        {
            self.switch(room, false, ms);
        }
    }

    fn unlock(&mut self, leaves: bool, ms: i64) {
        let lock = &mut self.units[Id::HallwayLock];
        if lock.is("state", "UNLOCK") {
            return;
        }
        lock.put("state", "UNLOCK");
        lock.put("lock_state", "unlocked");
        lock.put("action_source_name", "manual");
        let action = if leaves {
            "manual_unlock"
        } else {
            "key_unlock"
        };
        self.act(Id::HallwayLock, ms, action);
    }

    /// Most times somebody who comes into a dark room makes light.
    fn enter_dark(&mut self, room: Room, ms: i64) {
        let asleep = self.life.doing_in(room, Doing::Sleeping) > 0;
        let dark = self.daylight(room) < 40.0;
        if dark && !asleep && self.life.random.chance(0.65) {
            self.switch(room, true, ms);
        }
    }

    /// Switches the lamps of a room by hand. Buttons are bound to their lamps: the lamp does it by
    /// itself, and the button says that it was pressed.
    fn switch(&mut self, room: Room, on: bool, ms: i64) {
        let state = if on { "ON" } else { "OFF" };
        let mut switched = false;
        for id in lamps(room) {
            // For reading there is a second lamp; nobody needs it in passing.
            let wanted = *id != Id::LivingReading || !on || self.life.random.chance(0.3);
            if wanted && !self.units[*id].is("state", state) {
                self.units[*id].put("state", state);
                switched = true;
            }
        }
        if !switched {
            return;
        }
        match room {
            Room::LivingRoom => self.act(Id::LivingRemote, ms, "toggle"),
            Room::Bedroom => self.act(Id::BedroomButton, ms, "single"),
            Room::KidsRoom => self.act(Id::KidsButton, ms, "single"),
            Room::Hallway => self.act(Id::HallwayLight, ms, "single"),
            _ => {}
        }
    }

    /// Whoever goes to sleep switches off the lamp; the last one all that is left on.
    fn go_to_sleep(&mut self, ms: i64) {
        for room in [Room::KidsRoom, Room::Bedroom] {
            let people = self.life.people_in(room);
            if people > 0 && people == self.life.doing_in(room, Doing::Sleeping) {
                self.switch(room, false, ms);
            }
        }
        let awake = self.life.place.iter().zip(&self.life.doing);
        let anybody = awake
            .into_iter()
            .any(|(at, doing)| at.is_some() && *doing != Doing::Sleeping);
        if !anybody {
            self.act(Id::HallwayDimmer, ms, "off_press");
            self.act(Id::HallwayDimmer, ms, "off_press_release");
            self.act(Id::BedroomButton, ms, "hold");
            for room in Room::ALL {
                self.switch(room, false, ms);
            }
        }
    }

    /// Opens and closes doors, windows and blinds as planned, and tells their sensors.
    fn open_and_close(&mut self, second: i64, ms: i64) {
        let now = |at: i64| (second..second + STEP_MS / 1000).contains(&at);
        let life = &mut self.life;
        for index in 0..life.plan.airing.len() {
            let (id, from, to) = life.plan.airing[index];
            if now(from) {
                life.hold_open(id, ms + (to - from) * 1000);
            }
        }
        let (open, close) = life.plan.blinds;
        let post = life.plan.post.is_some_and(now);
        if post {
            life.hold_open(Id::GardenGate, ms + 2 * STEP_MS);
            life.moved(Room::Garden, ms);
            self.camera.notice("person", "porch", ms, 35);
        }
        if now(open) || now(close) {
            self.draw_blinds(now(open));
        }
        let life = &mut self.life;
        life.held.retain(|(_, until_ms)| *until_ms > ms);
        for id in CONTACTS {
            let closed = !life.held.iter().any(|(held, _)| *held == id);
            let unit = &mut self.units[id];
            if unit.flag("contact") != closed {
                unit.put("contact", closed);
                unit.count("trigger_count");
            }
        }
        for room in Room::ALL {
            if let Some(id) = opening(room) {
                self.inputs[room as usize].open = !self.units[id].flag("contact");
            }
        }
        if self.life.lock_ms.is_some_and(|at| at <= ms) {
            self.life.lock_ms = None;
            let lock = &mut self.units[Id::HallwayLock];
            if lock.is("state", "UNLOCK") {
                lock.put("state", "LOCK");
                lock.put("lock_state", "locked");
                lock.put("action_source_name", "manual");
                self.act(Id::HallwayLock, ms, "auto_lock");
            }
        }
        if self.life.garage_ms.is_some_and(|at| at <= ms) {
            self.life.garage_ms = None;
            self.drive_garage_door(false);
        }
    }

    /// Tells the motion sensors what they saw, and that they saw nothing for a while.
    fn see_motion(&mut self, ms: i64) {
        let mut moved = std::mem::take(&mut self.life.moved_ms);
        for (id, moved_ms, said_ms) in &mut moved {
            let unit = &mut self.units[*id];
            let clear_ms = match unit.info.vendor {
                "Philips" => 30_000,
                "Aqara" => 90_000,
                _ => MINUTE_MS,
            };
            if *moved_ms == ms {
                unit.put("occupancy", true);
                // Aqara's sensor has no "still there": it says the same again after a minute.
                if unit.info.vendor == "Aqara" && ms - *said_ms >= MINUTE_MS {
                    unit.report();
                    *said_ms = ms;
                }
            } else if ms - *moved_ms >= clear_ms {
                unit.put("occupancy", false);
            }
        }
        self.life.moved_ms = moved;

        let people = self.life.people_in(Room::LivingRoom) > 0;
        let presence = &mut self.units[Id::LivingPresence];
        if presence.flag("presence") != people {
            presence.put("presence", people);
            presence.put("presence_event", if people { "enter" } else { "leave" });
        }
    }

    /// How bright a room is by day, in lx, without its lamps.
    pub(super) fn daylight(&self, room: Room) -> f64 {
        let factor = match room {
            Room::Garden => 1.0,
            Room::LivingRoom => 0.012,
            Room::Kitchen | Room::KidsRoom | Room::Bedroom => 0.009,
            Room::Bathroom | Room::Garage => 0.002,
            Room::Hallway => 0.0015,
        };
        self.outdoors.illuminance * factor * self.inputs[room as usize].sunlight.max(0.05)
    }

    /// How bright a room is, in lx.
    pub(super) fn brightness(&self, room: Room) -> f64 {
        let lamps = lamps(room).iter().map(|id| {
            let unit = &self.units[*id];
            if unit.info.role == Role::Lamp && unit.is("state", "ON") {
                90.0 * unit.number("brightness").unwrap_or(254.0) / 254.0
            } else {
                0.0
            }
        });
        self.daylight(room) + lamps.sum::<f64>()
    }
}

/// The sensors at doors and windows.
const CONTACTS: [Id; 6] = [
    Id::KitchenWindow,
    Id::LivingTerrace,
    Id::BedroomWindow,
    Id::KidsWindow,
    Id::HallwayDoor,
    Id::GardenGate,
];

/// The motion sensors, one at most in a room.
const MOTION: [Id; 6] = [
    Id::KitchenMotion,
    Id::KidsMotion,
    Id::BathroomMotion,
    Id::HallwayMotion,
    Id::GarageMotion,
    Id::GardenMotion,
];
