//! The rules as tables, then the actor on virtual time.

use home_stage::{Crash, Stage};

use super::*;

const RADIATOR: &str = "kitchen/radiator";

fn kitchen() -> Rules {
    let mut rules = Rules::new(Settings::room("kitchen"));
    rules.device_known(&known(RADIATOR, &[Skill::Heat]));
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

fn read(at: At, device: &str, celsius: f64) -> TemperatureRead {
    TemperatureRead {
        at,
        device: DeviceName::new(device),
        celsius,
    }
}

fn opening(at: At, device: &str, open: bool) -> OpeningReported {
    OpeningReported {
        at,
        device: DeviceName::new(device),
        open,
    }
}

fn heat(device: &str, celsius: f64) -> Decision {
    Decision::Order(DeviceName::new(device), Order::Heat { celsius })
}

fn cool(device: &str, celsius: Option<f64>) -> Decision {
    Decision::Order(DeviceName::new(device), Order::Cool { celsius })
}

fn say(what: &str) -> Decision {
    Decision::Say(what.to_owned())
}

#[test]
fn it_heats_below_the_target_and_rests_above() {
    let mut rules = kitchen();
    let steps: [(f64, &[Decision]); 6] = [
        (
            18.6,
            &[
                heat(RADIATOR, 21.0),
                say("kitchen: heating on, 18.6 of 21.0 degrees"),
            ],
        ),
        (20.9, &[]),
        (21.2, &[]),
        (
            21.4,
            &[
                heat(RADIATOR, 7.0),
                say("kitchen: heating off, 21.4 of 21.0 degrees"),
            ],
        ),
        (20.8, &[]),
        (
            20.6,
            &[
                heat(RADIATOR, 21.0),
                say("kitchen: heating on, 20.6 of 21.0 degrees"),
            ],
        ),
    ];
    for (minute, (celsius, expect)) in (0..).zip(steps) {
        let got = rules.temperature_read(&read(at(12, minute), "kitchen/climate", celsius));
        assert_eq!(got, expect, "{celsius}");
    }
}

#[test]
fn a_wobble_within_the_hysteresis_never_flaps() {
    for start in [20.0, 21.0, 22.0] {
        let mut rules = kitchen();
        rules.temperature_read(&read(at(12, 0), "kitchen/climate", start));
        rules.temperature_read(&read(at(12, 0), "kitchen/climate", 21.0));
        for minute in 1..600 {
            let celsius = 21.0 + 0.29 * f64::from(minute).sin();
            let now = at(12, 0).plus_minutes(i64::from(minute) / 2);
            let got = rules.temperature_read(&read(now, "kitchen/climate", celsius));
            assert_eq!(got, [], "{celsius} from {start}");
        }
    }
}

#[test]
fn a_wobbling_rise_switches_just_once() {
    let mut rules = kitchen();
    let n_orders = (0..2000).fold(0, |n, i| {
        let celsius = 19.0 + 0.002 * f64::from(i) + 0.25 * f64::from(i).sin();
        n + rules
            .temperature_read(&read(at(12, 0), "kitchen/climate", celsius))
            .len()
    });
    assert_eq!(n_orders, 4, "on and off, each with a sentence");
}

#[test]
fn an_open_window_ends_heating_until_two_minutes_after_it_closed() {
    let mut rules = kitchen();
    rules.temperature_read(&read(at(12, 0), "kitchen/climate", 19.0));
    let airing = [
        heat(RADIATOR, 7.0),
        say("kitchen: heating off, a window is open"),
    ];
    let window = |minute, open| opening(at(12, minute), "kitchen/window", open);
    assert_eq!(rules.opening_changed(&window(1, true)), airing);
    assert_eq!(rules.opening_changed(&window(2, true)), []);
    assert_eq!(
        rules.temperature_read(&read(at(12, 5), "kitchen/climate", 17.0)),
        []
    );
    assert_eq!(rules.opening_changed(&window(9, false)), []);
    assert_eq!(rules.decide(at(12, 10)), []);
    // That it is closed is said again and again, and begins nothing anew.
    assert_eq!(rules.opening_changed(&window(10, false)), []);
    assert_eq!(
        rules.decide(at(12, 11)),
        [
            heat(RADIATOR, 21.0),
            say("kitchen: heating on, 17.0 of 21.0 degrees")
        ]
    );
}

#[test]
fn all_windows_of_the_room_have_to_close_and_others_do_not_matter() {
    let mut rules = kitchen();
    rules.temperature_read(&read(at(12, 0), "kitchen/climate", 19.0));
    for device in ["garden/gate", "bedroom/window"] {
        assert_eq!(rules.opening_changed(&opening(at(12, 1), device, true)), []);
    }
    rules.opening_changed(&opening(at(12, 1), "kitchen/window", true));
    rules.opening_changed(&opening(at(12, 2), "kitchen/door", true));
    rules.opening_changed(&opening(at(12, 3), "kitchen/window", false));
    assert_eq!(rules.decide(at(12, 30)), []);
    rules.opening_changed(&opening(at(12, 31), "kitchen/door", false));
    assert_eq!(rules.decide(at(12, 33)).len(), 2);
}

#[test]
fn the_night_has_a_target_of_its_own() {
    let mut rules = kitchen();
    rules.temperature_read(&read(at(21, 58), "kitchen/climate", 20.0));
    assert_eq!(rules.decide(at(21, 59)), []);
    assert_eq!(
        rules.decide(at(22, 0)),
        [
            heat(RADIATOR, 7.0),
            say("kitchen: heating off, 20.0 of 18.0 degrees")
        ]
    );
    assert_eq!(
        rules.temperature_read(&read(at(26, 0), "kitchen/climate", 17.5)),
        [
            heat(RADIATOR, 18.0),
            say("kitchen: heating on, 17.5 of 18.0 degrees")
        ]
    );
    rules.temperature_read(&read(at(29, 59), "kitchen/climate", 17.9));
    assert_eq!(
        rules.decide(at(30, 0)),
        [
            heat(RADIATOR, 21.0),
            say("kitchen: heating on, 17.9 of 21.0 degrees")
        ]
    );
}

#[test]
fn a_day_may_pass_midnight() {
    let settings = Settings {
        day_begins_minute: 18 * 60,
        day_ends_minute: 2 * 60,
        ..Settings::room("bar")
    };
    let targets = [(17, 18.0), (18, 21.0), (23, 21.0), (1, 21.0), (2, 18.0)];
    for (hour, target) in targets {
        assert_eq!(settings.target(at(hour, 0)), target, "{hour}:00");
    }
}

#[test]
fn a_room_that_is_silent_is_heated_to_a_safe_temperature_and_said_once() {
    let mut rules = kitchen();
    rules.temperature_read(&read(at(12, 0), "kitchen/climate", 19.0));
    assert_eq!(rules.decide(at(13, 15)), []);
    assert_eq!(
        rules.decide(at(13, 16)),
        [
            heat(RADIATOR, 17.0),
            say("kitchen: no temperature for 75 minutes, heating to 17.0 degrees")
        ]
    );
    assert_eq!(rules.decide(at(13, 17)), []);
    assert_eq!(rules.decide(at(18, 0)), []);
    let got = rules.temperature_read(&read(at(18, 1), "kitchen/climate", 19.0));
    assert_eq!(got.first(), Some(&heat(RADIATOR, 21.0)));
}

#[test]
fn a_room_that_never_said_anything_is_silent_from_the_first_minute() {
    let mut rules = kitchen();
    assert_eq!(rules.decide(at(0, 0)), []);
    assert_eq!(rules.decide(at(1, 15)), []);
    assert_eq!(rules.decide(at(1, 16)).first(), Some(&heat(RADIATOR, 17.0)));
}

#[test]
fn the_temperature_is_the_mean_of_the_devices_that_still_speak() {
    let mut rules = kitchen();
    rules.temperature_read(&read(at(12, 0), "kitchen/air", 20.0));
    rules.temperature_read(&read(at(12, 0), "kitchen/climate", 23.0));
    rules.temperature_read(&read(at(12, 0), "bedroom/climate", 5.0));
    assert_eq!(rules.air(at(12, 1)), Some(21.5));
    rules.temperature_read(&read(at(13, 0), "kitchen/climate", 24.0));
    assert_eq!(rules.air(at(13, 16)), Some(24.0));
    assert_eq!(rules.air(at(23, 0)), None);
}

#[test]
fn numbers_that_no_room_has_are_ignored() {
    let mut rules = kitchen();
    let odd = [
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        655.35,
        -100.0,
        f64::MAX,
    ];
    for celsius in odd {
        let got = rules.temperature_read(&read(at(12, 0), "kitchen/climate", celsius));
        assert_eq!((got, rules.air(at(12, 0))), (Vec::new(), None), "{celsius}");
    }
}

#[test]
fn cooling_has_a_hysteresis_and_stops_for_an_open_window() {
    let ac = "living room/air conditioner";
    let mut rules = Rules::new(Settings::room("living room"));
    rules.device_known(&known(ac, &[Skill::Cool]));
    rules.device_known(&known("living room/radiator", &[Skill::Heat]));
    let mut feel = |minute, celsius| {
        let decisions =
            rules.temperature_read(&read(at(14, minute), "living room/climate", celsius));
        let is_new = |d: &Decision| matches!(d, Decision::Order(_, Order::Cool { .. }));
        decisions.into_iter().filter(is_new).collect::<Vec<_>>()
    };
    // Nobody knows whether it was on before.
    assert_eq!(feel(0, 25.9), [cool(ac, None)]);
    assert_eq!(feel(1, 26.1), [cool(ac, Some(24.0))]);
    assert_eq!(feel(2, 24.6), []);
    assert_eq!(feel(3, 24.4), [cool(ac, None)]);
    assert_eq!(feel(4, 25.9), []);
    assert_eq!(feel(5, 27.0), [cool(ac, Some(24.0))]);
    let door = |minute, open| opening(at(14, minute), "living room/terrace door", open);
    assert_eq!(
        rules.opening_changed(&door(6, true)),
        [
            cool(ac, None),
            say("living room: cooling off, a window is open")
        ]
    );
    rules.opening_changed(&door(7, false));
    assert_eq!(
        rules.decide(at(14, 9)),
        [
            cool(ac, Some(24.0)),
            say("living room: cooling on, 27.0 of 24.0 degrees")
        ]
    );
}

#[test]
fn it_never_heats_and_cools_together() {
    let mut rules = Rules::new(Settings {
        day_celsius: 27.0,
        ..Settings::room("sauna")
    });
    rules.device_known(&known("sauna/oven", &[Skill::Heat]));
    rules.device_known(&known("sauna/ac", &[Skill::Cool]));
    let (mut heats, mut cools) = (false, false);
    for i in 0..600 {
        let celsius = 26.5 + 3.0 * (f64::from(i) / 20.0).sin();
        let now = at(7, i64::from(i));
        for decision in rules.temperature_read(&read(now, "sauna/climate", celsius)) {
            match decision {
                Decision::Order(_, Order::Heat { celsius }) => heats = celsius > FROST_CELSIUS,
                Decision::Order(_, Order::Cool { celsius }) => cools = celsius.is_some(),
                _ => {}
            }
        }
        assert!(!(heats && cools), "at {now}, {celsius} degrees");
    }
}

#[test]
fn a_device_that_is_told_of_again_is_not_ordered_again_and_a_new_one_is() {
    let mut rules = kitchen();
    rules.temperature_read(&read(at(12, 0), "kitchen/climate", 19.0));
    rules.device_known(&known(RADIATOR, &[Skill::Heat]));
    assert_eq!(rules.decide(at(12, 1)), []);
    rules.device_known(&known("kitchen/heater", &[Skill::Heat]));
    rules.device_known(&known("bedroom/heater", &[Skill::Heat]));
    assert_eq!(rules.decide(at(12, 2)), [heat("kitchen/heater", 21.0)]);
}

#[test]
fn a_room_without_heating_has_nothing_to_say() {
    let mut rules = Rules::new(Settings::room("garage"));
    let got = rules.temperature_read(&read(at(12, 0), "garage/climate", 5.0));
    assert_eq!(got, []);
}

#[test]
fn time_may_step_anywhere() {
    let mut rules = kitchen();
    for ms in [0, i64::MAX, i64::MIN, -1, i64::MIN, i64::MAX, 5] {
        rules.temperature_read(&read(At(ms), "kitchen/climate", 19.0));
        rules.opening_changed(&opening(At(ms), "kitchen/window", true));
        rules.opening_changed(&opening(At(ms), "kitchen/window", false));
        rules.decide(At(ms));
    }
    // A closing that lies far ahead does not keep the heating off until then.
    rules.opening_changed(&opening(at(1000, 0), "kitchen/window", true));
    rules.opening_changed(&opening(at(1000, 0), "kitchen/window", false));
    let got = rules.temperature_read(&read(at(12, 0), "kitchen/climate", 19.0));
    assert_eq!(got.first(), Some(&heat(RADIATOR, 21.0)));
}

#[tokio::test(start_paused = true)]
async fn the_actor_orders_and_tells_and_repeats_nothing() {
    let devices = vec![known(RADIATOR, &[Skill::Heat])];
    let stage = Stage::<Thermostat>::open(Settings::room("kitchen"), devices).await;
    let now = at(7, 30);
    let expect = [
        "kitchen/radiator: Heat { celsius: 21.0 }",
        "07:30:00 kitchen: heating on, 18.6 of 21.0 degrees",
    ];
    let cold = read(now, "kitchen/climate", 18.6);
    assert_eq!(stage.publish(cold.clone()).await, expect);
    assert_eq!(stage.publish(cold).await, [""; 0]);
    assert_eq!(stage.publish(MinutePassed { at: now }).await, [""; 0]);
    assert_eq!(stage.publish(RollCall).await, ["home/actor takes part"]);
    let window = opening(now, "kitchen/window", true);
    assert_eq!(
        stage.publish(window).await,
        [
            "kitchen/radiator: Heat { celsius: 7.0 }",
            "07:30:00 kitchen: heating off, a window is open",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_new_life_learns_the_devices_again() {
    let devices = vec![known(RADIATOR, &[Skill::Heat])];
    let stage = Stage::<Thermostat>::open(Settings::room("kitchen"), devices).await;
    let cold = read(at(12, 0), "kitchen/climate", 18.6);
    let orders = stage.publish(cold.clone()).await;
    stage.actor.tell(Crash).await.unwrap();
    assert_eq!(stage.rest().await, ["home/actor takes part"]);
    assert_eq!(stage.publish(cold).await, orders);
}

impl Handler<Crash> for Thermostat {
    async fn handle(&mut self, _: Crash, _: &mut Context<Self>) -> Result<(), Infallible> {
        panic!("a crash in a test");
    }
}
