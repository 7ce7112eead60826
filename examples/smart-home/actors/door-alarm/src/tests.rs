//! The rules as tables, then the actor on virtual time.

use std::sync::Arc;

use home_stage::{Crash, Stage};

use super::*;

const DOOR: &str = "hallway/front door";
const SIREN: &str = "hallway/siren";

/// A home with a siren, a door and a lock; the door is closed and the lock locked.
fn home() -> Rules {
    let mut rules = Rules::new(Settings::default());
    rules.device_known(&known(SIREN, &[Skill::Siren]));
    assert_eq!(rules.opening_changed(&opening(at(12, 0), DOOR, false)), []);
    assert_eq!(rules.lock_changed(&lock(at(12, 0), true)), []);
    rules
}

fn at(hour: i64, minute: i64) -> At {
    At(1_768_435_200_000).plus_minutes(hour * 60 + minute)
}

fn seconds_after(at: At, seconds: i64) -> At {
    At(at.0 + seconds * 1000)
}

fn known(device: &str, skills: &[Skill]) -> DeviceKnown {
    DeviceKnown {
        at: at(0, 0),
        device: DeviceName::new(device),
        skills: skills.to_vec(),
    }
}

fn opening(at: At, device: &str, open: bool) -> OpeningReported {
    OpeningReported {
        at,
        device: DeviceName::new(device),
        open,
    }
}

fn lock(at: At, locked: bool) -> LockReported {
    LockReported {
        at,
        device: DeviceName::new("hallway/lock"),
        locked,
    }
}

fn smoke(at: At, smoke: bool) -> SmokeSeen {
    SmokeSeen {
        at,
        device: DeviceName::new("kitchen/smoke"),
        smoke,
    }
}

fn camera(at: At, label: &str) -> CameraSaw {
    CameraSaw {
        at,
        device: DeviceName::new("front_door"),
        label: Arc::from(label),
    }
}

fn siren(on: bool) -> Decision {
    Decision::Order(DeviceName::new(SIREN), Order::Siren { on })
}

fn say(what: &str) -> Decision {
    Decision::Say(what.to_owned())
}

fn alarm() -> [Decision; 2] {
    [
        siren(true),
        say("hallway/front door opened at night: alarm"),
    ]
}

#[test]
fn a_door_that_opens_is_an_alarm_when_armed() {
    let table = [
        (23, 29, false),
        (23, 30, true),
        (24, 0, true),
        (29, 29, true),
        (29, 30, false),
    ];
    for (hour, minute, expect) in table {
        let got = home().opening_changed(&opening(at(hour, minute), DOOR, true));
        assert_eq!(got == alarm(), expect, "{hour}:{minute}: {got:?}");
        assert_eq!(got.is_empty(), !expect, "{hour}:{minute}: {got:?}");
    }
}

#[test]
fn a_door_is_no_alarm_just_after_the_lock_was_opened() {
    for (seconds, expect) in [(0, false), (30, false), (60, false), (61, true)] {
        let mut rules = home();
        let unlocked = at(25, 0);
        rules.lock_changed(&lock(unlocked, false));
        // The lock goes on to say so, which opens nothing.
        rules.lock_changed(&lock(seconds_after(unlocked, seconds), false));
        let opened = opening(seconds_after(unlocked, seconds), DOOR, true);
        let got = rules.opening_changed(&opened);
        assert_eq!(!got.is_empty(), expect, "after {seconds} s");
    }
}

#[test]
fn each_opening_is_one_alarm() {
    let mut rules = home();
    let door = |minute, open| opening(at(25, minute), DOOR, open);
    assert_eq!(rules.opening_changed(&door(0, true)), alarm());
    assert_eq!(rules.opening_changed(&door(1, true)), []);
    assert_eq!(
        rules.opening_changed(&door(10, true)),
        [siren(false), say("siren off after 3 minutes")]
    );
    assert_eq!(rules.opening_changed(&door(11, true)), []);
    assert_eq!(rules.opening_changed(&door(12, false)), []);
    assert_eq!(rules.opening_changed(&door(13, true)), alarm());
}

#[test]
fn a_door_left_open_in_the_evening_is_no_alarm_at_night() {
    let mut rules = home();
    assert_eq!(rules.opening_changed(&opening(at(22, 0), DOOR, true)), []);
    assert_eq!(rules.opening_changed(&opening(at(24, 0), DOOR, true)), []);
}

#[test]
fn the_siren_ends_after_three_minutes_and_a_second_alarm_begins_them_anew() {
    let mut rules = home();
    rules.opening_changed(&opening(at(12, 0), "kitchen/window", false));
    assert_eq!(
        rules.opening_changed(&opening(at(25, 0), DOOR, true)),
        alarm()
    );
    assert_eq!(
        rules.opening_changed(&opening(at(25, 2), "kitchen/window", true)),
        [say("kitchen/window opened at night: alarm")]
    );
    assert_eq!(rules.minute_passed(at(25, 4)), []);
    assert_eq!(
        rules.minute_passed(at(25, 5)),
        [siren(false), say("siren off after 3 minutes")]
    );
    assert_eq!(rules.minute_passed(at(25, 6)), []);
}

#[test]
fn the_gate_is_only_worth_a_notice_and_only_at_night() {
    let mut rules = home();
    let gate = |hour, open| opening(at(hour, 0), "garden/gate", open);
    assert_eq!(rules.opening_changed(&gate(20, true)), []);
    assert_eq!(rules.opening_changed(&gate(21, false)), []);
    assert_eq!(
        rules.opening_changed(&gate(25, true)),
        [say("garden/gate opened at night")]
    );
    assert_eq!(rules.opening_changed(&gate(26, true)), []);
}

#[test]
fn a_door_that_reports_for_the_first_time_may_have_been_open_all_evening() {
    let mut rules = home();
    assert_eq!(
        rules.opening_changed(&opening(at(25, 0), "bedroom/window", true)),
        [say(
            "bedroom/window is open at night, nobody knows since when"
        )]
    );
}

#[test]
fn a_person_on_the_camera_is_a_notice_once_in_ten_minutes() {
    let mut rules = home();
    let notice = [say("front_door sees a person at night")];
    assert_eq!(rules.camera_saw(&camera(at(12, 0), "person")), []);
    assert_eq!(rules.camera_saw(&camera(at(25, 0), "cat")), []);
    assert_eq!(rules.camera_saw(&camera(at(25, 1), "person")), notice);
    assert_eq!(rules.camera_saw(&camera(at(25, 10), "person")), []);
    assert_eq!(rules.camera_saw(&camera(at(25, 11), "person")), notice);
}

#[test]
fn smoke_is_an_alarm_at_any_hour_and_sounds_as_long_as_it_is_seen() {
    let mut rules = home();
    assert_eq!(
        rules.smoke_seen(&smoke(at(12, 0), true)),
        [siren(true), say("kitchen/smoke sees smoke: alarm")]
    );
    assert_eq!(rules.smoke_seen(&smoke(at(12, 1), true)), []);
    assert_eq!(rules.minute_passed(at(12, 3)).len(), 2);
    assert_eq!(rules.smoke_seen(&smoke(at(12, 4), true)), [siren(true)]);
    assert_eq!(rules.smoke_seen(&smoke(at(12, 5), false)), []);
    assert_eq!(rules.minute_passed(at(12, 7)).len(), 2);
    assert_eq!(rules.smoke_seen(&smoke(at(12, 8), false)), []);
}

#[test]
fn an_alarm_is_said_also_where_there_is_no_siren_and_one_that_comes_late_joins_in() {
    let mut rules = Rules::new(Settings::default());
    let said = [say("kitchen/smoke sees smoke: alarm")];
    assert_eq!(rules.smoke_seen(&smoke(at(0, 0), true)), said);
    rules.device_known(&known(SIREN, &[Skill::Siren]));
    assert_eq!(rules.minute_passed(at(0, 1)), [siren(true)]);
    rules.device_known(&known(SIREN, &[Skill::Siren]));
    assert_eq!(rules.minute_passed(at(0, 2)), []);
}

#[test]
fn time_may_step_anywhere() {
    let mut rules = home();
    for ms in [0, i64::MAX, i64::MIN, -1, i64::MIN, i64::MAX, 5] {
        for on in [true, false] {
            rules.opening_changed(&opening(At(ms), DOOR, on));
            rules.lock_changed(&lock(At(ms), on));
            rules.smoke_seen(&smoke(At(ms), on));
            rules.camera_saw(&camera(At(ms), "person"));
            rules.minute_passed(At(ms));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_actor_sounds_the_siren_and_ends_it() {
    let devices = vec![known(SIREN, &[Skill::Siren])];
    let stage = Stage::<DoorAlarm>::open(Settings::default(), devices).await;
    stage.publish(lock(at(12, 0), true)).await;
    stage.publish(opening(at(12, 0), DOOR, false)).await;
    let expect = [
        "hallway/siren: Siren { on: true }",
        "01:32:00 hallway/front door opened at night: alarm",
    ];
    let opened = opening(at(25, 32), DOOR, true);
    assert_eq!(stage.publish(opened.clone()).await, expect);
    assert_eq!(stage.publish(opened).await, [""; 0]);
    assert_eq!(stage.publish(camera(at(25, 33), "car")).await, [""; 0]);
    assert_eq!(stage.publish(RollCall).await, ["home/actor takes part"]);
    assert_eq!(
        stage.publish(MinutePassed { at: at(25, 35) }).await,
        [
            "hallway/siren: Siren { on: false }",
            "01:35:00 siren off after 3 minutes",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_new_life_learns_the_siren_again() {
    let devices = vec![known(SIREN, &[Skill::Siren])];
    let stage = Stage::<DoorAlarm>::open(Settings::default(), devices).await;
    stage.actor.tell(Crash).await.unwrap();
    assert_eq!(stage.rest().await, ["home/actor takes part"]);
    assert_eq!(
        stage.publish(smoke(at(12, 0), true)).await,
        [
            "hallway/siren: Siren { on: true }",
            "12:00:00 kitchen/smoke sees smoke: alarm",
        ]
    );
}

impl Handler<Crash> for DoorAlarm {
    async fn handle(&mut self, _: Crash, _: &mut Context<Self>) -> Result<(), Infallible> {
        panic!("a crash in a test");
    }
}
