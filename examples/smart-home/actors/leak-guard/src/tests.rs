//! The rules as tables, then the actor on virtual time.

use home_stage::{Crash, Stage};

use super::*;

const SINK: &str = "kitchen/sink";
const VALVE: &str = "garage/water main";

fn home() -> Rules {
    let mut rules = Rules::new(Settings::default());
    rules.device_known(&known(VALVE, &[Skill::Water]));
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

fn leak(at: At, device: &str, wet: bool) -> LeakSeen {
    LeakSeen {
        at,
        device: DeviceName::new(device),
        wet,
    }
}

fn valve(at: At, open: bool) -> ValveReported {
    ValveReported {
        at,
        device: DeviceName::new(VALVE),
        open,
    }
}

fn closes() -> Decision {
    Decision::Order(DeviceName::new(VALVE), Order::Water { open: false })
}

fn say(what: &str) -> Decision {
    Decision::Say(what.to_owned())
}

#[test]
fn a_leak_closes_the_water_once() {
    let mut rules = home();
    assert_eq!(rules.valve_reported(&valve(at(16, 0), true)), []);
    assert_eq!(
        rules.leak_seen(&leak(at(16, 54), SINK, true)),
        [closes(), say("kitchen/sink is wet: water closed")]
    );
    for minute in 54..70 {
        assert_eq!(rules.leak_seen(&leak(at(16, minute), SINK, true)), []);
        assert_eq!(rules.minute_passed(at(16, minute)), []);
        assert_eq!(rules.valve_reported(&valve(at(16, minute), false)), []);
    }
    assert_eq!(
        rules.leak_seen(&leak(at(17, 20), "bathroom/floor", true)),
        [say("bathroom/floor is wet: water is closed already")]
    );
}

#[test]
fn dry_sensors_close_nothing() {
    let mut rules = home();
    assert_eq!(rules.valve_reported(&valve(at(16, 0), true)), []);
    assert_eq!(rules.leak_seen(&leak(at(16, 0), SINK, false)), []);
    assert_eq!(rules.minute_passed(at(17, 0)), []);
}

#[test]
fn ten_dry_minutes_end_the_leak_and_the_water_stays_closed() {
    let mut rules = home();
    rules.leak_seen(&leak(at(16, 0), SINK, true));
    rules.leak_seen(&leak(at(16, 0), "bathroom/floor", true));
    rules.valve_reported(&valve(at(16, 1), false));
    rules.leak_seen(&leak(at(16, 5), SINK, false));
    assert_eq!(
        rules.minute_passed(at(16, 20)),
        [],
        "the floor is still wet"
    );
    rules.leak_seen(&leak(at(16, 21), "bathroom/floor", false));
    // A flicker begins the ten minutes anew and is not worth a word.
    assert_eq!(rules.leak_seen(&leak(at(16, 25), SINK, true)), []);
    assert_eq!(rules.leak_seen(&leak(at(16, 26), SINK, false)), []);
    assert_eq!(rules.leak_seen(&leak(at(16, 30), SINK, false)), []);
    assert_eq!(rules.minute_passed(at(16, 35)), []);
    assert_eq!(
        rules.minute_passed(at(16, 36)),
        [say(
            "bathroom/floor, kitchen/sink dry again; open the valve by hand"
        )]
    );
    assert_eq!(rules.minute_passed(at(16, 37)), []);
    // By hand, and dry: nothing to do.
    assert_eq!(rules.valve_reported(&valve(at(16, 40), true)), []);
    // The next leak is a new one.
    assert_eq!(
        rules.leak_seen(&leak(at(18, 0), SINK, true)),
        [closes(), say("kitchen/sink is wet: water closed")]
    );
}

#[test]
fn a_valve_that_opens_on_a_wet_floor_is_closed_again_at_most_once_a_minute() {
    let mut rules = home();
    rules.leak_seen(&leak(at(16, 0), SINK, true));
    let again = [
        closes(),
        say("garage/water main closed: kitchen/sink is wet"),
    ];
    // It may be on its way, or the report is older than the order.
    assert_eq!(rules.valve_reported(&valve(at(16, 0), true)), []);
    assert_eq!(rules.minute_passed(at(16, 1)), again);
    assert_eq!(rules.minute_passed(at(16, 5)), [], "told, and not heard of");
    assert_eq!(rules.valve_reported(&valve(at(16, 6), false)), []);
    assert_eq!(rules.valve_reported(&valve(at(16, 7), true)), again);
    assert_eq!(
        rules.valve_reported(&valve(At(at(16, 7).0 + 59_999), true)),
        []
    );
    assert_eq!(rules.valve_reported(&valve(at(16, 8), true)), again);
    // However it toggles.
    let mut n_orders = 0;
    for second in 1..=600 {
        let now = At(at(16, 8).0 + second * 1000);
        let got = rules.valve_reported(&valve(now, second % 2 == 0));
        n_orders += got.iter().filter(|d| **d == closes()).count();
    }
    assert_eq!(n_orders, 10);
}

#[test]
fn a_valve_that_is_learnt_of_while_it_is_wet_is_closed() {
    let mut rules = Rules::new(Settings::default());
    assert_eq!(
        rules.leak_seen(&leak(at(0, 0), SINK, true)),
        [say("kitchen/sink is wet: no valve to close")]
    );
    rules.device_known(&known(VALVE, &[Skill::Water]));
    rules.device_known(&known("kitchen/lamp", &[Skill::Light]));
    assert_eq!(
        rules.minute_passed(at(0, 1)),
        [
            closes(),
            say("garage/water main closed: kitchen/sink is wet")
        ]
    );
    rules.device_known(&known(VALVE, &[Skill::Water]));
    assert_eq!(rules.minute_passed(at(0, 9)), []);
}

#[test]
fn no_sequence_of_reports_opens_the_water() {
    let mut rules = home();
    for i in 0..5000_i64 {
        let now = at(0, i * 7 % 2000);
        let mut got = rules.leak_seen(&leak(now, SINK, i % 3 == 0));
        got.extend(rules.leak_seen(&leak(now, "bathroom/floor", i % 11 == 0)));
        got.extend(rules.valve_reported(&valve(now, i % 5 == 0)));
        got.extend(rules.minute_passed(now));
        let opens = |d: &Decision| matches!(d, Decision::Order(_, Order::Water { open: true }));
        assert!(!got.iter().any(opens));
    }
}

#[test]
fn time_may_step_anywhere() {
    let mut rules = home();
    for ms in [0, i64::MAX, i64::MIN, -1, i64::MIN, i64::MAX, 5] {
        for on in [true, false] {
            rules.leak_seen(&leak(At(ms), SINK, on));
            rules.valve_reported(&valve(At(ms), on));
            rules.minute_passed(At(ms));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_actor_closes_the_water_and_says_when_it_is_over() {
    let devices = vec![known(VALVE, &[Skill::Water])];
    let stage = Stage::<LeakGuard>::open(Settings::default(), devices).await;
    let expect = [
        "garage/water main: Water { open: false }",
        "16:54:00 kitchen/sink is wet: water closed",
    ];
    let wet = leak(at(16, 54), SINK, true);
    assert_eq!(stage.publish(wet.clone()).await, expect);
    assert_eq!(stage.publish(wet).await, [""; 0]);
    assert_eq!(stage.publish(valve(at(16, 55), false)).await, [""; 0]);
    assert_eq!(stage.publish(RollCall).await, ["home/actor takes part"]);
    assert_eq!(stage.publish(leak(at(17, 0), SINK, false)).await, [""; 0]);
    assert_eq!(
        stage.publish(MinutePassed { at: at(17, 10) }).await,
        ["17:10:00 kitchen/sink dry again; open the valve by hand"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_new_life_learns_the_valve_again_and_closes_it_at_the_next_report() {
    let devices = vec![known(VALVE, &[Skill::Water])];
    let stage = Stage::<LeakGuard>::open(Settings::default(), devices).await;
    let wet = leak(at(16, 54), SINK, true);
    let orders = stage.publish(wet.clone()).await;
    stage.actor.tell(Crash).await.unwrap();
    assert_eq!(stage.rest().await, ["home/actor takes part"]);
    assert_eq!(stage.publish(wet).await, orders);
}

impl Handler<Crash> for LeakGuard {
    async fn handle(&mut self, _: Crash, _: &mut Context<Self>) -> Result<(), Infallible> {
        panic!("a crash in a test");
    }
}
