//! Who is where, doing what: the plan of a day for two adults and two children.
//!
//! A day is planned as a whole from the seed and its number, so that it does not depend on how
//! the time was cut into steps. Plans begin and end asleep, so one day joins the next.

use crate::random::Random;

use super::home::{Id, Room};

/// The four people who live here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Person {
    /// Works in town and goes by car.
    Anna,
    /// Works at home on some days, and else goes by foot.
    Ben,
    /// Goes to school.
    Mia,
    /// Goes to school, and to bed a little earlier.
    Tom,
}

impl Person {
    pub(super) const ALL: [Person; 4] = [Person::Anna, Person::Ben, Person::Mia, Person::Tom];

    pub(super) fn is_adult(self) -> bool {
        matches!(self, Person::Anna | Person::Ben)
    }

    fn bed(self) -> Room {
        if self.is_adult() {
            Room::Bedroom
        } else {
            Room::KidsRoom
        }
    }
}

/// What somebody is doing, as far as devices can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    Sleeping,
    Pottering,
    Cooking,
    Showering,
    Watching,
}

/// From when on somebody is at a place: in a room, or away (`None`).
#[derive(Clone, Copy, Debug)]
pub(super) struct Stay {
    from_s: i64,
    pub(super) place: Option<Room>,
    pub(super) doing: Doing,
}

/// What happens in the house on one day. Times are seconds of the day.
#[derive(Debug)]
pub(super) struct Plan {
    stays: [Vec<Stay>; 4],
    /// Doors and windows that somebody opens: which, from, to.
    pub(super) airing: Vec<(Id, i64, i64)>,
    /// When the kettle is put on.
    pub(super) kettle: Vec<i64>,
    /// When the washing machine is started.
    pub(super) wash: Option<i64>,
    /// When toast burns.
    pub(super) smoke: Option<i64>,
    /// When somebody wants the bathroom warm.
    pub(super) bath: (i64, i64),
    /// When the bedroom curtain and the living room blind are opened and closed by hand.
    pub(super) blinds: (i64, i64),
    /// When the post comes.
    pub(super) post: Option<i64>,
}

impl Plan {
    /// Plans day number `day` since 1970, which was a Thursday.
    pub(super) fn new(seed: u64, day: i64) -> Plan {
        let mut random = Random::new(seed, "plan", day as u64);
        let weekend = matches!((day + 4).rem_euclid(7), 0 | 6);
        let mut plan = Plan {
            stays: Person::ALL.map(|person| {
                vec![Stay {
                    from_s: 0,
                    place: Some(person.bed()),
                    doing: Doing::Sleeping,
                }]
            }),
            airing: Vec::new(),
            kettle: Vec::new(),
            wash: None,
            smoke: None,
            bath: (0, 0),
            blinds: (0, 0),
            post: None,
        };
        if random.chance(0.35) {
            plan.night_walk(&mut random);
        }
        if weekend {
            plan.weekend(&mut random);
        } else {
            plan.weekday(&mut random);
        }
        plan.evening(&mut random);
        plan.house(weekend, &mut random);
        plan
    }

    /// Returns where somebody is at this second of the day.
    pub(super) fn stay(&self, person: Person, second: i64) -> Stay {
        let stays = &self.stays[person as usize];
        let next = stays.partition_point(|stay| stay.from_s <= second);
        // The first stay begins at midnight, so there is one before any second.
        stays[next.max(1) - 1]
    }

    fn go(&mut self, person: Person, from_s: i64, place: Option<Room>, doing: Doing) {
        let stays = &mut self.stays[person as usize];
        // Nobody goes back in time: who is late starts when the last thing is begun.
        let from_s = stays.last().map_or(0, |last| last.from_s.max(from_s));
        stays.push(Stay {
            from_s,
            place,
            doing,
        });
    }

    /// Lets somebody move about the house, a quarter of an hour here and there.
    fn potter(
        &mut self,
        person: Person,
        from_s: i64,
        to_s: i64,
        favourite: Room,
        random: &mut Random,
    ) {
        let mut now = from_s;
        while now < to_s {
            let room = if random.chance(0.55) {
                favourite
            } else {
                let rooms: &[Room] = if person.is_adult() {
                    &[
                        Room::Kitchen,
                        Room::LivingRoom,
                        Room::Bathroom,
                        Room::Bedroom,
                        Room::KidsRoom,
                        Room::Garage,
                    ]
                } else {
                    &[
                        Room::Kitchen,
                        Room::LivingRoom,
                        Room::Bathroom,
                        Room::KidsRoom,
                    ]
                };
                rooms[random.whole(0, rooms.len() as i64) as usize]
            };
            self.go(person, now, Some(room), Doing::Pottering);
            let minutes = match room {
                Room::Bathroom | Room::Garage => random.between(3.0, 9.0),
                _ if room == favourite => random.between(12.0, 45.0),
                _ => random.between(4.0, 18.0),
            };
            now += (minutes * 60.0) as i64;
        }
    }

    /// Somebody gets up at night; between midnight and one, when no burglar comes yet.
    fn night_walk(&mut self, random: &mut Random) {
        let person = Person::ALL[random.whole(0, 4) as usize];
        let start = random.whole(HOUR / 6, HOUR);
        self.go(person, start, Some(Room::Bathroom), Doing::Pottering);
        self.go(
            person,
            start + random.whole(150, 420),
            Some(person.bed()),
            Doing::Sleeping,
        );
    }

    fn weekday(&mut self, random: &mut Random) {
        let wake = random.whole(6 * HOUR + 900, 6 * HOUR + 2400);
        let shower = |plan: &mut Plan, person, from: i64, minutes: i64| {
            plan.go(person, from, Some(Room::Bathroom), Doing::Showering);
            plan.go(
                person,
                from + minutes * 60,
                Some(person.bed()),
                Doing::Pottering,
            );
        };
        self.bath = (wake, wake + 3000);
        shower(self, Person::Anna, wake + 240, random.whole(8, 13));
        shower(self, Person::Ben, wake + 1500, random.whole(7, 11));
        self.kettle.push(wake + 1560);

        let school = 7 * HOUR + random.whole(2100, 2700);
        for (person, bath) in [(Person::Mia, 2100), (Person::Tom, 2640)] {
            self.go(
                person,
                wake + bath - 300,
                Some(Room::KidsRoom),
                Doing::Pottering,
            );
            self.go(person, wake + bath, Some(Room::Bathroom), Doing::Pottering);
            self.go(
                person,
                wake + bath + 420,
                Some(Room::Kitchen),
                Doing::Pottering,
            );
            self.go(person, school + random.whole(0, 60), None, Doing::Pottering);
        }
        self.go(
            Person::Anna,
            wake + 1260,
            Some(Room::Kitchen),
            Doing::Pottering,
        );
        self.go(
            Person::Anna,
            7 * HOUR + random.whole(3000, 4200),
            None,
            Doing::Pottering,
        );
        self.go(
            Person::Ben,
            wake + 2400,
            Some(Room::Kitchen),
            Doing::Pottering,
        );
        if random.chance(0.4) {
            let lunch = random.whole(12 * HOUR, 13 * HOUR);
            self.potter(Person::Ben, 8 * HOUR + 900, lunch, Room::LivingRoom, random);
            self.kettle.push(random.whole(10 * HOUR, 11 * HOUR));
            self.go(Person::Ben, lunch, Some(Room::Kitchen), Doing::Cooking);
            self.go(
                Person::Ben,
                lunch + 1200,
                Some(Room::Kitchen),
                Doing::Pottering,
            );
            self.potter(
                Person::Ben,
                lunch + 2400,
                17 * HOUR,
                Room::LivingRoom,
                random,
            );
        } else {
            self.go(
                Person::Ben,
                8 * HOUR + random.whole(0, 1200),
                None,
                Doing::Pottering,
            );
            let back = random.whole(16 * HOUR + 1800, 17 * HOUR + 1500);
            self.potter(
                Person::Ben,
                back,
                17 * HOUR + 1800,
                Room::LivingRoom,
                random,
            );
        }
        for person in [Person::Mia, Person::Tom] {
            let back = random.whole(14 * HOUR + 1200, 15 * HOUR + 2400);
            self.go(person, back, Some(Room::Kitchen), Doing::Pottering);
            self.potter(person, back + 900, 18 * HOUR, Room::KidsRoom, random);
        }
        let back = random.whole(16 * HOUR + 600, 17 * HOUR + 1800);
        self.potter(
            Person::Anna,
            back,
            17 * HOUR + 2400,
            Room::LivingRoom,
            random,
        );
        self.airing_after(wake + 3000, random);
        self.blinds.0 = wake + random.whole(900, 3600);
    }

    fn weekend(&mut self, random: &mut Random) {
        let wake = random.whole(7 * HOUR + 2400, 9 * HOUR);
        self.bath = (wake, wake + 4200);
        let outing = random.chance(0.7).then(|| {
            let from = random.whole(10 * HOUR + 1800, 12 * HOUR);
            (from, from + random.whole(2 * HOUR, 4 * HOUR))
        });
        for (index, person) in Person::ALL.into_iter().enumerate() {
            let up = wake + random.whole(0, 1800);
            self.go(person, up, Some(person.bed()), Doing::Pottering);
            let bath = wake + 1500 * index as i64 + 900;
            self.go(
                person,
                bath,
                Some(Room::Bathroom),
                if person.is_adult() {
                    Doing::Showering
                } else {
                    Doing::Pottering
                },
            );
            self.go(
                person,
                bath + random.whole(480, 780),
                Some(Room::Kitchen),
                Doing::Pottering,
            );
            let favourite = if person.is_adult() {
                Room::LivingRoom
            } else {
                Room::KidsRoom
            };
            let mut now = bath + 2700;
            if let Some((from, to)) = outing {
                self.potter(person, now, from, favourite, random);
                self.go(person, from + 20 * index as i64, None, Doing::Pottering);
                now = to + 20 * index as i64;
            }
            let play = 15 * HOUR + random.whole(0, HOUR);
            if person != Person::Anna && play > now {
                self.potter(person, now, play, favourite, random);
                self.go(person, play, Some(Room::Garden), Doing::Pottering);
                now = play + random.whole(1200, 2700);
            }
            self.potter(person, now, 17 * HOUR + 2400, favourite, random);
        }
        self.kettle
            .extend([wake + 2400, random.whole(15 * HOUR, 17 * HOUR)]);
        self.airing_after(wake + 3600, random);
        self.blinds.0 = wake + random.whole(600, 2400);
    }

    /// Dinner, television, bed: every evening is much the same.
    fn evening(&mut self, random: &mut Random) {
        let cook = 17 * HOUR + random.whole(2400, 3600);
        let dinner = cook + random.whole(2100, 3000);
        let chef = if random.chance(0.5) {
            Person::Anna
        } else {
            Person::Ben
        };
        self.go(chef, cook, Some(Room::Kitchen), Doing::Cooking);
        let after = dinner + random.whole(1500, 2100);
        for person in Person::ALL {
            self.go(
                person,
                dinner + random.whole(0, 120),
                Some(Room::Kitchen),
                Doing::Pottering,
            );
            if person.is_adult() {
                self.potter(person, after, 20 * HOUR, Room::Kitchen, random);
                self.go(
                    person,
                    20 * HOUR + random.whole(0, 1200),
                    Some(Room::LivingRoom),
                    Doing::Watching,
                );
                let break_s = random.whole(20 * HOUR + 1800, 22 * HOUR);
                self.go(person, break_s, Some(Room::Kitchen), Doing::Pottering);
                self.go(
                    person,
                    break_s + random.whole(180, 420),
                    Some(Room::LivingRoom),
                    Doing::Watching,
                );
                let tired = 22 * HOUR + random.whole(900, 3000);
                self.go(person, tired, Some(Room::Bathroom), Doing::Pottering);
                self.go(
                    person,
                    tired + random.whole(360, 720),
                    Some(Room::Bedroom),
                    Doing::Pottering,
                );
                self.go(
                    person,
                    tired + random.whole(1200, 2400),
                    Some(Room::Bedroom),
                    Doing::Sleeping,
                );
            } else {
                let bed = if person == Person::Tom {
                    20 * HOUR
                } else {
                    20 * HOUR + 2400
                };
                self.potter(person, after, bed, Room::KidsRoom, random);
                let shower = if random.chance(0.5) {
                    Doing::Showering
                } else {
                    Doing::Pottering
                };
                self.go(person, bed, Some(Room::Bathroom), shower);
                self.go(
                    person,
                    bed + random.whole(480, 720),
                    Some(Room::KidsRoom),
                    Doing::Pottering,
                );
                self.go(
                    person,
                    bed + random.whole(1500, 2700),
                    Some(Room::KidsRoom),
                    Doing::Sleeping,
                );
            }
        }
        self.kettle.push(19 * HOUR + random.whole(1800, 3000));
        self.airing.push((
            Id::KitchenWindow,
            dinner - 300,
            dinner + random.whole(120, 480),
        ));
    }

    fn house(&mut self, weekend: bool, random: &mut Random) {
        if random.chance(if weekend { 0.8 } else { 0.6 }) {
            self.wash =
                Some(random.whole(8 * HOUR, 9 * HOUR) + if weekend { 2 * HOUR } else { -1800 });
        }
        if random.chance(0.1) {
            self.smoke = Some(self.bath.0 + random.whole(2700, 3600));
        }
        self.blinds.1 = random.whole(16 * HOUR + 1800, 18 * HOUR);
        if !weekend || random.chance(0.4) {
            self.post = Some(random.whole(10 * HOUR + 1800, 13 * HOUR));
        }
    }

    /// Fresh air after getting up.
    fn airing_after(&mut self, from_s: i64, random: &mut Random) {
        for window in [Id::BedroomWindow, Id::KidsWindow] {
            if random.chance(0.75) {
                let start = from_s - random.whole(0, 900);
                self.airing
                    .push((window, start, start + random.whole(420, 900)));
            }
        }
    }
}

const HOUR: i64 = 3600;

#[cfg(test)]
mod tests {
    use super::*;

    const DAYS: std::ops::Range<i64> = 20_468..20_568;

    #[test]
    fn everybody_sleeps_at_home_at_midnight() {
        for day in DAYS {
            let plan = Plan::new(42, day);
            for person in Person::ALL {
                for second in [0, 24 * HOUR - 1] {
                    let stay = plan.stay(person, second);
                    assert_eq!(stay.place, Some(person.bed()), "{person:?} on {day}");
                    assert_eq!(stay.doing, Doing::Sleeping, "{person:?} on {day}");
                }
            }
        }
    }

    #[test]
    fn stays_are_in_time_order() {
        for day in DAYS {
            for stays in Plan::new(7, day).stays {
                assert!(stays.is_sorted_by_key(|stay| stay.from_s), "{stays:?}");
            }
        }
    }

    #[test]
    fn children_are_at_school_on_weekday_mornings_only() {
        for day in DAYS {
            let weekend = matches!((day + 4).rem_euclid(7), 0 | 6);
            let plan = Plan::new(42, day);
            let away = plan.stay(Person::Mia, 9 * HOUR).place.is_none();
            assert_eq!(away, !weekend, "{day}");
        }
    }

    #[test]
    fn everybody_sleeps_when_burglars_come() {
        for day in DAYS {
            let plan = Plan::new(42, day);
            for second in (5_000..5 * HOUR).step_by(60) {
                for person in Person::ALL {
                    assert_eq!(plan.stay(person, second).doing, Doing::Sleeping);
                }
            }
        }
    }
}
