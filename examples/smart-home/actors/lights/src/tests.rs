//! The rules as tables, then the actor on virtual time.

use home_stage::{Crash, Stage};

use super::*;

const LAMP: &str = "kitchen/lamp";

/// A kitchen with one lamp, which is off, in the dark of 20 lux.
fn kitchen() -> Rules {
    room(Settings::room("kitchen"))
}

fn room(settings: Settings) -> Rules {
    let mut rules = Rules::new(settings);
    rules.device_known(&known(LAMP, &[Skill::Light]));
    assert_eq!(rules.lamp_reported(&lamp(at(0, 0), LAMP, false)), []);
    assert_eq!(
        rules.illuminance_read(&lux(at(18, 0), "garden/sky", 20.0)),
        []
    );
    rules
}

fn at(hour: i64, minute: i64) -> At {
    At(1_768_435_200_000).plus_minutes(hour * 60 + minute)
}

fn known(device: &str, skills: &[Skill]) -> DeviceKnown {
    DeviceKnown {
        at: at(0, 0),
        device: DeviceName::new(device),
        skills: skills.to_vec(),
    }
}

fn motion(at: At, device: &str, occupied: bool) -> MotionSeen {
    MotionSeen {
        at,
        device: DeviceName::new(device),
        occupied,
    }
}

fn lux(at: At, device: &str, lux: f64) -> IlluminanceRead {
    IlluminanceRead {
        at,
        device: DeviceName::new(device),
        lux,
    }
}

fn lamp(at: At, device: &str, on: bool) -> LampReported {
    LampReported {
        at,
        device: DeviceName::new(device),
        on,
    }
}

fn light(device: &str, on: bool) -> Decision {
    Decision::Order(DeviceName::new(device), Order::Light { on })
}

fn say(what: &str) -> Decision {
    Decision::Say(what.to_owned())
}

fn on() -> [Decision; 2] {
    [
        light(LAMP, true),
        say("kitchen: light on, somebody is there at 20 lux"),
    ]
}

fn off() -> [Decision; 2] {
    [
        light(LAMP, false),
        say("kitchen: light off, nobody there for 5 minutes"),
    ]
}

#[test]
fn motion_in_the_dark_makes_light_until_five_minutes_after_the_last() {
    let mut rules = kitchen();
    let seen = |minute, occupied| motion(at(18, minute), "kitchen/motion", occupied);
    assert_eq!(rules.motion_seen(&seen(1, true)), on());
    assert_eq!(rules.lamp_reported(&lamp(at(18, 1), LAMP, true)), []);
    assert_eq!(rules.motion_seen(&seen(2, true)), []);
    // Somebody who sits still for an hour, as a presence sensor tells.
    assert_eq!(rules.decide(at(19, 0)), []);
    assert_eq!(rules.motion_seen(&seen(60, false)), []);
    assert_eq!(rules.motion_seen(&seen(63, false)), []);
    assert_eq!(rules.decide(at(19, 4)), []);
    assert_eq!(rules.decide(at(19, 5)), off());
    assert_eq!(rules.decide(at(19, 6)), []);
}

#[test]
fn it_is_dark_by_the_rooms_own_sensor_or_else_by_the_garden() {
    // Here, in the garden, and whether there is light.
    let table = [
        (Some(39.0), Some(5000.0), true),
        (Some(40.0), Some(0.0), false),
        (None, Some(39.0), true),
        (None, Some(40.0), false),
        (None, None, true),
        (Some(f64::NAN), Some(5000.0), false),
        (Some(f64::INFINITY), Some(5.0), true),
    ];
    for (here, garden, expect) in table {
        let mut rules = Rules::new(Settings::room("kitchen"));
        rules.device_known(&known(LAMP, &[Skill::Light]));
        if let Some(here) = here {
            rules.illuminance_read(&lux(at(18, 0), "kitchen/motion", here));
        }
        if let Some(garden) = garden {
            rules.illuminance_read(&lux(at(18, 0), "garden/sky", garden));
        }
        rules.illuminance_read(&lux(at(18, 0), "hallway/motion", 0.0));
        let got = rules.motion_seen(&motion(at(18, 1), "kitchen/motion", true));
        assert_eq!(got.is_empty(), !expect, "{here:?} {garden:?}");
    }
}

#[test]
fn a_sensor_that_fell_silent_by_day_does_not_leave_the_evening_dark() {
    let mut rules = kitchen();
    rules.illuminance_read(&lux(at(12, 0), "kitchen/motion", 900.0));
    let got = rules.motion_seen(&motion(at(18, 1), "kitchen/motion", true));
    assert_eq!(got, on());
}

#[test]
fn dusk_makes_light_for_who_is_there_already() {
    let mut rules = kitchen();
    rules.illuminance_read(&lux(at(18, 0), "kitchen/motion", 50.0));
    assert_eq!(
        rules.motion_seen(&motion(at(18, 1), "kitchen/motion", true)),
        []
    );
    assert_eq!(
        rules.illuminance_read(&lux(at(18, 20), "kitchen/motion", 20.0)),
        on()
    );
    // Its own light does not make it day.
    assert_eq!(
        rules.illuminance_read(&lux(at(18, 21), "kitchen/motion", 120.0)),
        []
    );
}

#[test]
fn motion_elsewhere_does_not_matter() {
    let mut rules = kitchen();
    assert_eq!(
        rules.motion_seen(&motion(at(18, 1), "hallway/motion", true)),
        []
    );
}

#[test]
fn only_lamps_that_it_lit_go_off() {
    let mut rules = kitchen();
    rules.device_known(&known("kitchen/hood", &[Skill::Light]));
    rules.lamp_reported(&lamp(at(17, 0), "kitchen/hood", true));
    assert_eq!(
        rules.motion_seen(&motion(at(18, 1), "kitchen/motion", true)),
        on()
    );
    rules.motion_seen(&motion(at(18, 2), "kitchen/motion", false));
    assert_eq!(rules.decide(at(18, 7)), off());
    assert_eq!(rules.decide(at(23, 0)), []);
}

#[test]
fn a_lamp_switched_off_by_hand_is_left_alone_for_half_an_hour() {
    let mut rules = kitchen();
    let seen = |minute| motion(at(18, minute), "kitchen/motion", true);
    assert_eq!(rules.motion_seen(&seen(1)), on());
    rules.lamp_reported(&lamp(at(18, 1), LAMP, true));
    assert_eq!(rules.lamp_reported(&lamp(at(18, 10), LAMP, false)), []);
    for minute in 11..40 {
        assert_eq!(rules.motion_seen(&seen(minute)), [], "18:{minute}");
    }
    assert_eq!(rules.motion_seen(&seen(40)), on());
}

#[test]
fn a_lamp_switched_on_by_hand_is_not_switched_off() {
    let mut rules = kitchen();
    assert_eq!(rules.lamp_reported(&lamp(at(18, 0), LAMP, true)), []);
    rules.motion_seen(&motion(at(18, 1), "kitchen/motion", true));
    rules.motion_seen(&motion(at(18, 2), "kitchen/motion", false));
    for minute in 3..90 {
        assert_eq!(rules.decide(at(18, minute)), [], "18:{minute}");
    }
}

#[test]
fn a_report_that_is_older_than_the_order_is_not_a_hand() {
    let mut rules = kitchen();
    rules.motion_seen(&motion(at(18, 1), "kitchen/motion", true));
    assert_eq!(rules.lamp_reported(&lamp(at(18, 1), LAMP, false)), []);
    assert_eq!(rules.lamp_reported(&lamp(at(18, 2), LAMP, true)), []);
    rules.motion_seen(&motion(at(18, 2), "kitchen/motion", false));
    assert_eq!(rules.decide(at(18, 7)), off());
}

#[test]
fn a_lamp_that_does_not_obey_is_not_nagged() {
    let mut rules = kitchen();
    let mut n_orders = 0;
    for minute in 0..120 {
        n_orders += rules
            .motion_seen(&motion(at(18, minute), "kitchen/motion", true))
            .iter()
            .filter(|decision| matches!(decision, Decision::Order(..)))
            .count();
        rules.lamp_reported(&lamp(at(18, minute), LAMP, false));
    }
    assert_eq!(n_orders, 4, "one in half an hour");
}

#[test]
fn where_one_sleeps_there_is_no_light_at_night() {
    let table = [
        (22, 59, true),
        (23, 0, false),
        (24, 0, false),
        (29, 59, false),
        (30, 0, true),
    ];
    for (hour, minute, expect) in table {
        let mut asleep = room(Settings::bedroom("kitchen"));
        let mut awake = kitchen();
        let seen = motion(at(hour, minute), "kitchen/motion", true);
        assert_eq!(
            !asleep.motion_seen(&seen).is_empty(),
            expect,
            "{hour}:{minute}"
        );
        assert_eq!(awake.motion_seen(&seen).len(), 2, "{hour}:{minute}");
    }
}

#[test]
fn a_sensor_that_fell_silent_does_not_hold_the_light() {
    let mut rules = kitchen();
    rules.motion_seen(&motion(at(18, 1), "kitchen/motion", true));
    assert_eq!(rules.decide(at(19, 16)), []);
    assert_eq!(rules.decide(at(19, 17)), off());
}

#[test]
fn a_lamp_that_is_told_of_again_stays_as_it_is_and_a_new_one_is_lit() {
    let mut rules = kitchen();
    rules.motion_seen(&motion(at(18, 1), "kitchen/motion", true));
    rules.device_known(&known(LAMP, &[Skill::Light]));
    assert_eq!(rules.decide(at(18, 2)), []);
    rules.device_known(&known("bedroom/lamp", &[Skill::Light]));
    assert_eq!(rules.decide(at(18, 3)), []);
    rules.device_known(&known("kitchen/hood", &[Skill::Light]));
    let got = rules.decide(at(18, 4));
    assert_eq!(got.first(), Some(&light("kitchen/hood", true)));
}

#[test]
fn time_may_step_anywhere() {
    let mut rules = kitchen();
    for ms in [0, i64::MAX, i64::MIN, -1, i64::MIN, i64::MAX, 5] {
        rules.motion_seen(&motion(At(ms), "kitchen/motion", true));
        rules.lamp_reported(&lamp(At(ms), LAMP, ms % 2 == 0));
        rules.illuminance_read(&lux(At(ms), "kitchen/motion", 3.0));
        rules.motion_seen(&motion(At(ms), "kitchen/motion", false));
        rules.decide(At(ms));
    }
}

#[tokio::test(start_paused = true)]
async fn the_actor_orders_and_tells_and_repeats_nothing() {
    let devices = vec![known(LAMP, &[Skill::Light])];
    let stage = Stage::<Lights>::open(Settings::room("kitchen"), devices).await;
    let seen = motion(at(18, 1), "kitchen/motion", true);
    let expect = [
        "kitchen/lamp: Light { on: true }",
        "18:01:00 kitchen: light on, somebody is there",
    ];
    assert_eq!(stage.publish(seen.clone()).await, expect);
    assert_eq!(stage.publish(seen).await, [""; 0]);
    assert_eq!(stage.publish(lamp(at(18, 1), LAMP, true)).await, [""; 0]);
    assert_eq!(
        stage.publish(lux(at(18, 1), "garden/sky", 3.0)).await,
        [""; 0]
    );
    assert_eq!(stage.publish(RollCall).await, ["home/actor takes part"]);
    stage
        .publish(motion(at(18, 2), "kitchen/motion", false))
        .await;
    assert_eq!(
        stage.publish(MinutePassed { at: at(18, 7) }).await,
        [
            "kitchen/lamp: Light { on: false }",
            "18:07:00 kitchen: light off, nobody there for 5 minutes",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_new_life_learns_the_lamps_again_and_leaves_those_that_are_on() {
    let devices = vec![
        known(LAMP, &[Skill::Light]),
        known("kitchen/hood", &[Skill::Light]),
    ];
    let stage = Stage::<Lights>::open(Settings::room("kitchen"), devices).await;
    assert_eq!(
        stage
            .publish(motion(at(18, 1), "kitchen/motion", true))
            .await
            .len(),
        3
    );
    stage.actor.tell(Crash).await.unwrap();
    assert_eq!(stage.rest().await, ["home/actor takes part"]);
    stage.publish(lamp(at(18, 2), "kitchen/hood", true)).await;
    assert_eq!(
        stage
            .publish(motion(at(18, 3), "kitchen/motion", true))
            .await,
        [
            "kitchen/lamp: Light { on: true }",
            "18:03:00 kitchen: light on, somebody is there",
        ]
    );
}

impl Handler<Crash> for Lights {
    async fn handle(&mut self, _: Crash, _: &mut Context<Self>) -> Result<(), Infallible> {
        panic!("a crash in a test");
    }
}
