//! A day, and a month, in the virtual home.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use home_devices::{
    DEFAULT_SEED, DEFAULT_START_MS, HOME, Installed, Published, Role, SetError, World, check,
};
use serde_json::{Map, Value, json};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// The device that sends garbage, and the one whose firmware has a quirk.
const GARBAGE: &str = "garage/climate";
const QUIRK: &str = "hallway/motion";

/// The default day, which several tests look at.
static FIRST_DAY: LazyLock<Vec<Published>> = LazyLock::new(|| days(DEFAULT_SEED, 1));

fn days(seed: u64, days: i64) -> Vec<Published> {
    World::new(seed, DEFAULT_START_MS).advance(DEFAULT_START_MS + days * DAY)
}

fn default_world() -> World {
    World::new(DEFAULT_SEED, DEFAULT_START_MS)
}

/// The good messages of one device: when after the start, and what.
fn reports(published: &[Published], device: &str) -> Vec<(i64, Map<String, Value>)> {
    let topic = format!("zigbee2mqtt/{device}");
    published
        .iter()
        .filter(|message| message.topic == topic)
        .filter_map(|message| {
            let payload = serde_json::from_slice(&message.payload).ok()?;
            Some((message.ts_ms - DEFAULT_START_MS, payload))
        })
        .collect()
}

/// The numbers that one device reported.
fn numbers(published: &[Published], device: &str, property: &str) -> Vec<(i64, f64)> {
    reports(published, device)
        .into_iter()
        .filter_map(|(ms, payload)| Some((ms, payload.get(property)?.as_f64()?)))
        .collect()
}

/// When a property changed, and to what.
fn changes(published: &[Published], device: &str, property: &str) -> Vec<(i64, Value)> {
    let mut changes: Vec<(i64, Value)> = Vec::new();
    for (ms, payload) in reports(published, device) {
        if let Some(value) = payload.get(property)
            && changes.last().is_none_or(|(_, last)| last != value)
        {
            changes.push((ms, value.clone()));
        }
    }
    changes
}

#[track_caller]
fn command(world: &mut World, device: &str, wanted: &Value) {
    let topic = format!("zigbee2mqtt/{device}/set");
    if let Err(error) = world.set(&topic, wanted.to_string().as_bytes()) {
        panic!("{device} takes {wanted}: {error}");
    }
}

/// The last number that a device reported in a world after these commands and some hours.
#[track_caller]
fn last_after(
    start_ms: i64,
    hours: i64,
    commands: &[(&str, Value)],
    device: &str,
    property: &str,
) -> f64 {
    let mut world = World::new(DEFAULT_SEED, start_ms);
    for (device, wanted) in commands {
        command(&mut world, device, wanted);
    }
    let published = world.advance(start_ms + hours * HOUR);
    match numbers(&published, device, property).last() {
        Some((_, value)) => *value,
        None => panic!("{device} reports {property}"),
    }
}

fn is_garbage(device: &Installed) -> bool {
    device.friendly_name == GARBAGE
}

#[test]
fn the_same_seed_gives_the_same_day_byte_for_byte() {
    assert_eq!(*FIRST_DAY, days(DEFAULT_SEED, 1));
}

#[test]
fn another_seed_gives_another_day() {
    let other = days(DEFAULT_SEED + 1, 1);
    assert_ne!(*FIRST_DAY, other);
    let outdoors = |day| numbers(day, "garden/weather", "temperature");
    assert_ne!(outdoors(&FIRST_DAY), outdoors(&other));
}

#[test]
fn how_time_is_cut_into_calls_changes_nothing() {
    let mut world = default_world();
    let mut published = Vec::new();
    let mut to_ms = DEFAULT_START_MS;
    for length in [0, 1, 9_999, 10_000, 10_001, 3_333, 61_000, 777, 4_000_123]
        .iter()
        .cycle()
    {
        to_ms = (to_ms + length).min(DEFAULT_START_MS + DAY);
        published.extend(world.advance(to_ms));
        assert_eq!(world.now_ms(), to_ms);
        if to_ms == DEFAULT_START_MS + DAY {
            break;
        }
    }
    assert_eq!(*FIRST_DAY, published);
}

#[test]
fn a_time_that_has_passed_returns_nothing() {
    let mut world = default_world();
    assert!(world.advance(DEFAULT_START_MS - DAY).is_empty());
    assert_eq!(world.now_ms(), DEFAULT_START_MS);
    world.advance(DEFAULT_START_MS + HOUR);
    assert!(world.advance(DEFAULT_START_MS).is_empty());
    assert_eq!(world.now_ms(), DEFAULT_START_MS + HOUR);
}

#[test]
fn messages_come_in_time_order_and_within_the_time_asked_for() {
    assert!(FIRST_DAY.is_sorted_by_key(|message| message.ts_ms));
    assert_eq!(FIRST_DAY[0].ts_ms, DEFAULT_START_MS);
    assert!(FIRST_DAY.iter().all(|m| m.ts_ms <= DEFAULT_START_MS + DAY));
}

#[test]
fn a_day_has_a_believable_number_of_messages() {
    for seed in [DEFAULT_SEED, 1, 2, 3] {
        let count = days(seed, 1).len();
        assert!((8_000..25_000).contains(&count), "{count} with seed {seed}");
    }
}

#[test]
fn the_first_call_begins_with_what_the_bridge_retains_and_every_state() {
    let first = default_world().advance(DEFAULT_START_MS);
    assert_eq!(first[0].topic, "zigbee2mqtt/bridge/state");
    assert_eq!(first[0].payload, br#"{"state":"online"}"#);
    assert_eq!(first[1].topic, "zigbee2mqtt/bridge/devices");
    let topics: BTreeSet<_> = first.iter().map(|message| message.topic.as_str()).collect();
    for device in HOME {
        let topic = format!("zigbee2mqtt/{}", device.friendly_name);
        assert!(topics.contains(topic.as_str()), "{topic}");
    }
}

#[test]
fn every_payload_keeps_to_what_its_model_exposes() {
    for device in HOME.iter().filter(|device| !is_garbage(device)) {
        let definition = device.definition().unwrap();
        let topic = format!("zigbee2mqtt/{}", device.friendly_name);
        for message in FIRST_DAY.iter().filter(|message| message.topic == topic) {
            let payload: Map<String, Value> = serde_json::from_slice(&message.payload).unwrap();
            let faults = check(definition, &payload);
            assert!(faults.is_empty(), "{topic}: {faults:?}");
            for property in payload.keys() {
                let expose = definition.property(property);
                let published = expose.is_some_and(|expose| expose.access.is_published());
                assert!(published, "{topic} has no {property}");
            }
            assert!(payload.contains_key("linkquality"));
        }
    }
}

#[test]
fn at_least_thirty_models_in_eight_rooms_publish_within_a_day() {
    let topics: BTreeSet<_> = FIRST_DAY
        .iter()
        .map(|message| message.topic.as_str())
        .collect();
    let heard: Vec<_> = HOME
        .iter()
        .filter(|device| topics.contains(format!("zigbee2mqtt/{}", device.friendly_name).as_str()))
        .collect();
    assert_eq!(heard.len(), default_world().devices().len());
    let models: BTreeSet<_> = heard
        .iter()
        .map(|device| (device.vendor, device.model))
        .collect();
    // The figures of the README.
    assert_eq!((heard.len(), models.len()), (58, 52));
    let rooms: BTreeSet<_> = heard.iter().map(|device| device.room).collect();
    assert_eq!(rooms.len(), 8);
}

#[test]
fn rooms_stay_comfortable_and_change_smoothly() {
    let published = days(DEFAULT_SEED, 3);
    for device in HOME
        .iter()
        .filter(|d| d.role == Role::Climate && !is_garbage(d))
    {
        let name = device.friendly_name;
        let range = if name == "garden/weather" {
            -15.0..15.0
        } else {
            13.0..28.0
        };
        let readings = numbers(&published, name, "temperature");
        assert!(readings.len() > 50, "{name}");
        for pair in readings.windows(2) {
            let [(before_ms, before), (ms, now)] = [pair[0], pair[1]];
            assert!(range.contains(&now), "{name} is {now} °C");
            let minutes = ((ms - before_ms) as f64 / MINUTE as f64).max(1.0);
            assert!(
                (now - before).abs() / minutes < 0.4,
                "{name}: {before} to {now} °C"
            );
        }
        for (_, percent) in numbers(&published, name, "humidity") {
            assert!((15.0..=100.0).contains(&percent), "{name} is {percent} %");
        }
    }
}

#[test]
fn heating_warms_the_room_and_its_end_lets_it_cool() {
    let bedroom = |celsius: f64| {
        let wanted = json!({"occupied_heating_setpoint": celsius});
        let commands = [("bedroom/radiator", wanted)];
        last_after(
            DEFAULT_START_MS,
            4,
            &commands,
            "bedroom/climate",
            "temperature",
        )
    };
    let (cold, usual, warm) = (bedroom(10.0), bedroom(17.5), bedroom(22.0));
    assert!(cold < usual - 0.7, "{cold} {usual}");
    assert!(warm > usual + 2.0, "{warm} {usual}");
}

#[test]
fn every_radiator_valve_can_be_turned_down() {
    for (room, off) in [
        ("kitchen", json!({"system_mode": "off"})),
        ("living room", json!({"operating_mode": "pause"})),
        ("bedroom", json!({"occupied_heating_setpoint": 5})),
        ("kids room", json!({"system_mode": "off"})),
    ] {
        let (radiator, climate) = (format!("{room}/radiator"), format!("{room}/climate"));
        let after = |commands: &[(&str, Value)]| {
            last_after(DEFAULT_START_MS, 5, commands, &climate, "temperature")
        };
        let (heated, cold) = (after(&[]), after(&[(radiator.as_str(), off)]));
        assert!(cold < heated - 1.0, "{room}: {heated} {cold}");
    }
}

#[test]
fn an_open_window_cools_the_room_within_minutes() {
    let openings = changes(&FIRST_DAY, "kids room/window", "contact");
    let opened = openings
        .iter()
        .find(|(_, closed)| *closed == json!(false))
        .unwrap()
        .0;
    let closed = openings.iter().find(|(ms, _)| *ms > opened).unwrap().0;
    assert!(closed - opened > 5 * MINUTE);
    let readings = numbers(&FIRST_DAY, "kids room/climate", "temperature");
    let before = readings.iter().rfind(|(ms, _)| *ms <= opened).unwrap().1;
    let after = readings.iter().find(|(ms, _)| *ms >= closed).unwrap().1;
    assert!(after < before - 0.8, "{before} to {after} °C");
}

#[test]
fn the_air_conditioner_cools_on_a_summer_day_and_draws_power_for_it() {
    let noon = DEFAULT_START_MS + 170 * DAY + 12 * HOUR;
    let cool = json!({"state": "ON", "system_mode": "cool", "current_heating_setpoint": 20});
    let on = [("living room/air conditioner", cool)];
    let room = |commands| last_after(noon, 4, commands, "living room/climate", "temperature");
    assert!(room(&on) < room(&[]) - 2.0);
    let power = last_after(noon, 1, &on, "living room/air conditioner", "power");
    assert!(power > 100.0, "{power} W");
}

#[test]
fn energy_counters_rise_and_never_fall() {
    let published = days(DEFAULT_SEED, 3);
    let mut meters = 0;
    for device in HOME {
        let readings = numbers(&published, device.friendly_name, "energy");
        assert!(readings.is_sorted_by_key(|(_, kwh)| *kwh), "{device:?}");
        if let (Some((_, first)), Some((_, last))) = (readings.first(), readings.last()) {
            assert!(last - first < 30.0, "{device:?}");
            meters += 1;
        }
    }
    assert_eq!(meters, 7);
    let fridge = numbers(&published, "kitchen/fridge", "energy");
    let used = fridge[fridge.len() - 1].1 - fridge[0].1;
    assert!((1.0..3.0).contains(&used), "{used} kWh in three days");
}

#[test]
fn a_plug_that_is_off_draws_nothing() {
    let mut world = default_world();
    command(&mut world, "kitchen/fridge", &json!({"state": "OFF"}));
    let published = world.advance(DEFAULT_START_MS + 2 * HOUR);
    for (ms, watts) in numbers(&published, "kitchen/fridge", "power") {
        assert_eq!(watts, 0.0, "after {ms} ms");
    }
}

#[test]
fn the_quirk_shows_in_the_first_hour_and_every_few_hours_after() {
    let published = days(DEFAULT_SEED, 2);
    let quirks: Vec<i64> = numbers(&published, QUIRK, "voltage")
        .into_iter()
        .filter_map(|(ms, millivolt)| (millivolt == 0.0).then_some(ms))
        .collect();
    assert!(quirks[0] < HOUR);
    for pair in quirks.windows(2) {
        let hours = (pair[1] - pair[0]) as f64 / HOUR as f64;
        assert!((1.9..4.1).contains(&hours), "{hours}");
    }
    assert!(quirks.len() >= 12);
}

#[test]
fn no_other_device_ever_reports_no_voltage() {
    for device in HOME.iter().filter(|device| device.friendly_name != QUIRK) {
        for (_, voltage) in numbers(&FIRST_DAY, device.friendly_name, "voltage") {
            assert!(voltage > 200.0, "{device:?}");
        }
    }
}

#[test]
fn one_device_sends_all_kinds_of_garbage_among_good_messages() {
    let definition = HOME
        .iter()
        .find(|d| is_garbage(d))
        .unwrap()
        .definition()
        .unwrap();
    let (mut good, mut cut, mut no_text, mut no_object, mut wrong) = (0, 0, 0, 0, 0);
    for message in days(DEFAULT_SEED, 3) {
        if message.topic != format!("zigbee2mqtt/{GARBAGE}") {
            continue;
        }
        match serde_json::from_slice::<Value>(&message.payload) {
            Ok(Value::Object(payload)) if check(definition, &payload).is_empty() => good += 1,
            Ok(Value::Object(_)) => wrong += 1,
            Ok(_) => no_object += 1,
            Err(_) if std::str::from_utf8(&message.payload).is_err() => no_text += 1,
            Err(_) => cut += 1,
        }
    }
    assert!(good > 100, "{good}");
    for count in [cut, no_text, no_object, wrong] {
        assert!(count > 0, "{cut} {no_text} {no_object} {wrong}");
    }
}

#[test]
fn one_battery_falls_low_within_the_first_day() {
    let battery = numbers(&FIRST_DAY, "kids room/window", "battery");
    assert!(battery[0].1 >= 15.0);
    assert!(battery[battery.len() - 1].1 < 15.0);
    for device in HOME
        .iter()
        .filter(|device| device.friendly_name != "kids room/window")
    {
        for (_, percent) in numbers(&FIRST_DAY, device.friendly_name, "battery") {
            assert!(percent > 15.0, "{device:?}");
        }
    }
}

/// When water leaked first, at which sensor.
#[track_caller]
fn first_leak(published: &[Published]) -> (i64, &'static str) {
    let leaks = ["kitchen/sink", "bathroom/floor"]
        .into_iter()
        .filter_map(|sensor| {
            let changes = changes(published, sensor, "water_leak");
            let (ms, _) = changes.iter().find(|(_, wet)| *wet == json!(true))?;
            Some((*ms, sensor))
        });
    match leaks.min() {
        Some(leak) => leak,
        None => panic!("there is a leak"),
    }
}

#[test]
fn a_leak_happens_on_the_first_day_whatever_the_seed() {
    for seed in [DEFAULT_SEED, 1, 2, 3] {
        let (ms, _) = first_leak(&days(seed, 1));
        assert!((9 * HOUR..21 * HOUR).contains(&ms), "{ms} with seed {seed}");
    }
}

#[test]
fn a_leak_ends_when_the_valve_is_closed() {
    let (leak_ms, sensor) = first_leak(&FIRST_DAY);
    let by_hand = changes(&FIRST_DAY, "garage/water main", "state");
    let hand_ms = by_hand
        .iter()
        .find(|(_, state)| *state == json!("OFF"))
        .unwrap()
        .0;
    assert!(
        hand_ms > leak_ms + 40 * MINUTE,
        "without a command it takes a while"
    );

    let mut world = default_world();
    world.advance(DEFAULT_START_MS + leak_ms);
    command(&mut world, "garage/water main", &json!({"state": "OFF"}));
    let published = world.advance(DEFAULT_START_MS + leak_ms + HOUR);
    let dry = changes(&published, sensor, "water_leak");
    let dry_ms = dry.iter().find(|(_, wet)| *wet == json!(false)).unwrap().0;
    assert!(dry_ms < leak_ms + 20 * MINUTE);
    let flow = numbers(&published, "garage/water main", "flow");
    let states = changes(&published, "garage/water main", "state");
    let (closed_ms, _) = states[states.len() - 1];
    assert_eq!(states[states.len() - 1].1, json!("OFF"));
    assert!(
        flow.iter()
            .all(|(ms, flow)| *ms < closed_ms || *flow == 0.0)
    );
}

#[test]
fn after_the_repair_somebody_opens_the_valve_again() {
    let states = changes(&days(DEFAULT_SEED, 2), "garage/water main", "state");
    let words: Vec<_> = states
        .iter()
        .filter_map(|(_, state)| state.as_str())
        .collect();
    assert_eq!(words, ["ON", "OFF", "ON"]);
    assert!(states[2].0 - states[1].0 >= 2 * HOUR);
}

/// Doors and windows opened between half past one and half past four, by day.
fn burglaries(published: &[Published]) -> BTreeMap<i64, (i64, &'static str)> {
    let mut found = BTreeMap::new();
    for device in HOME.iter().filter(|device| device.role == Role::Contact) {
        for (ms, closed) in changes(published, device.friendly_name, "contact") {
            if (90 * MINUTE..5 * HOUR).contains(&(ms % DAY)) && closed == json!(false) {
                found.insert(ms / DAY, (ms, device.friendly_name));
            }
        }
    }
    found
}

#[test]
fn a_door_is_opened_in_the_first_night_while_everybody_sleeps() {
    let (ms, _) = burglaries(&FIRST_DAY)[&0];
    let asleep = |room: &str| {
        let seen = changes(&FIRST_DAY, &format!("{room}/motion"), "occupancy");
        seen.iter()
            .all(|(at, seen)| *seen == json!(false) || !(ms - HOUR..ms).contains(at))
    };
    assert!(asleep("kitchen") && asleep("hallway"));
    let seen = changes(&FIRST_DAY, "hallway/motion", "occupancy");
    assert!(
        seen.iter()
            .any(|(at, seen)| *seen == json!(true) && (ms..ms + 3 * MINUTE).contains(at))
    );
}

#[test]
fn the_siren_drives_the_burglar_away() {
    let (ms, door) = burglaries(&FIRST_DAY)[&0];
    let mut world = default_world();
    world.advance(DEFAULT_START_MS + ms);
    command(
        &mut world,
        "hallway/siren",
        &json!({"alarm": true, "duration": 60}),
    );
    let published = world.advance(DEFAULT_START_MS + ms + HOUR);
    let closed = changes(&published, door, "contact");
    assert_eq!(closed[0].1, json!(true));
    assert!(closed[0].0 - ms <= 30_000, "{}", closed[0].0 - ms);
    let alarm = changes(&published, "hallway/siren", "alarm");
    assert_eq!(alarm[0].1, json!(true));
    assert_eq!(alarm[1].1, json!(false));
    assert!((60_000..80_000).contains(&(alarm[1].0 - alarm[0].0)));
}

#[test]
fn a_month_passes_with_a_burglar_every_other_night() {
    let mut world = default_world();
    let mut published = Vec::new();
    for day in 1..=30 {
        published.extend(world.advance(DEFAULT_START_MS + day * DAY));
    }
    let nights = burglaries(&published).len();
    assert!((9..=21).contains(&nights), "{nights} of 30");
    let low = numbers(&published, "kids room/window", "battery");
    assert!(
        low.iter().any(|(_, percent)| *percent > 90.0),
        "somebody changes the battery"
    );
    assert!(low.iter().all(|(_, percent)| *percent >= 2.0));
}

#[test]
fn the_camera_sees_people_cats_and_cars_as_frigate_tells_it() {
    let mut labels = BTreeSet::new();
    let mut open: BTreeMap<String, usize> = BTreeMap::new();
    for message in FIRST_DAY.iter().filter(|m| m.topic == "frigate/events") {
        let event: Value = serde_json::from_slice(&message.payload).unwrap();
        let after = &event["after"];
        assert_eq!(after["camera"], "front_door");
        labels.insert(String::from(after["label"].as_str().unwrap()));
        let id = String::from(after["id"].as_str().unwrap());
        match event["type"].as_str().unwrap() {
            "new" => assert!(open.insert(id, 1).is_none()),
            "update" => assert!(open.contains_key(&id)),
            "end" => {
                assert!(after["end_time"].is_number());
                assert!(open.remove(&id).is_some());
            }
            other => panic!("{other} is no type of event"),
        }
    }
    assert_eq!(
        labels.into_iter().collect::<Vec<_>>(),
        ["car", "cat", "person"]
    );
    assert!(open.len() <= 1, "what began has ended: {open:?}");
}

#[test]
fn a_command_takes_effect_at_the_next_step_and_is_reported() {
    let mut world = default_world();
    world.advance(DEFAULT_START_MS + 25_000);
    command(
        &mut world,
        "living room/lamp",
        &json!({"brightness": 77, "transition": 2}),
    );
    command(&mut world, "bedroom/curtain", &json!({"position": 40}));
    command(&mut world, "living room/blind", &json!({"state": "OPEN"}));
    command(&mut world, "hallway/lock", &json!({"state": "UNLOCK"}));
    command(&mut world, "garage/door", &json!({"trigger": true}));
    command(
        &mut world,
        "kids room/lamp",
        &json!({"state": "TOGGLE", "color": {"x": 0.7, "y": 0.3}}),
    );
    let published = world.advance(DEFAULT_START_MS + 2 * MINUTE);
    let last = |device: &str| {
        reports(&published, device)
            .pop()
            .map(|(_, payload)| payload)
            .unwrap()
    };
    assert_eq!(last("living room/lamp")["state"], "ON");
    assert_eq!(last("living room/lamp")["brightness"], 77);
    assert_eq!(last("bedroom/curtain")["position"], 40);
    assert_eq!(last("bedroom/curtain")["motor_state"], "stopped");
    assert_eq!(last("living room/blind")["state"], "OPEN");
    assert_eq!(last("hallway/lock")["lock_state"], "unlocked");
    assert_eq!(last("garage/door")["garage_door_contact"], false);
    assert_eq!(last("kids room/lamp")["state"], "ON");
    assert_eq!(last("kids room/lamp")["color"], json!({"x": 0.7, "y": 0.3}));
    let first = reports(&published, "living room/lamp")[0].0;
    assert!((25_000..=40_000).contains(&first), "{first}");
}

#[test]
fn a_property_can_be_set_by_its_own_topic() {
    let mut world = default_world();
    world
        .set("zigbee2mqtt/kitchen/lamp/set/state", b"ON")
        .unwrap();
    world
        .set("zigbee2mqtt/kitchen/lamp/set/brightness", b"12")
        .unwrap();
    let published = world.advance(DEFAULT_START_MS + MINUTE);
    let (_, lamp) = &reports(&published, "kitchen/lamp")[0];
    assert_eq!(
        (&lamp["state"], &lamp["brightness"]),
        (&json!("ON"), &json!(12))
    );
}

#[test]
fn a_command_that_is_refused_changes_nothing_and_says_why() {
    let mut world = default_world();
    let mut refused = |topic: &str, payload: &[u8]| match world.set(topic, payload) {
        Ok(()) => panic!("{topic} is refused"),
        Err(error) => error,
    };
    let lamp = "zigbee2mqtt/kitchen/lamp/set";
    for (topic, payload, sentence) in [
        (
            "kitchen/lamp/set",
            "{}",
            "`kitchen/lamp/set` is not the topic of a command: zigbee2mqtt/<friendly name>/set",
        ),
        (
            "zigbee2mqtt/kitchen/lamp",
            "{}",
            "`zigbee2mqtt/kitchen/lamp` is not the topic of a command: zigbee2mqtt/<friendly name>/set",
        ),
        (
            "zigbee2mqtt/attic/lamp/set",
            "{}",
            "the home has no device `attic/lamp`",
        ),
        (lamp, "{", "the command is not JSON"),
        (lamp, "[]", "the command is JSON, but not an object"),
        (
            lamp,
            r#"{"colour": 1}"#,
            "`kitchen/lamp` has no property `colour`",
        ),
        (
            lamp,
            r#"{"linkquality": 1}"#,
            "`linkquality` of `kitchen/lamp` cannot be set",
        ),
        (
            lamp,
            r#"{"brightness": 999}"#,
            "`kitchen/lamp` refuses the value",
        ),
        (
            lamp,
            r#"{"state": "ON", "brightness": null}"#,
            "`kitchen/lamp` refuses the value",
        ),
    ] {
        assert_eq!(refused(topic, payload.as_bytes()).to_string(), sentence);
    }
    let error = refused(
        "zigbee2mqtt/kitchen/radiator/set",
        br#"{"occupied_heating_setpoint": 99}"#,
    );
    let SetError::Refused { source, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(
        source.to_string(),
        "`occupied_heating_setpoint` is 99 °C, which is not between 4 °C and 35 °C"
    );
    assert_eq!(*FIRST_DAY, world.advance(DEFAULT_START_MS + DAY));
}

#[test]
fn rubbish_never_panics() {
    let payloads: [&[u8]; 12] = [
        b"",
        b"\xff\xfe",
        b"null",
        b"{\"state\":null}",
        b"{\"state\":{\"state\":1}}",
        b"[[[[",
        b"1e999",
        b"{\"\":\"\"}",
        b"{\"position\":-1}",
        b"{\"brightness\":1e308}",
        b"{\"alarm\":\"yes\"}",
        b"\"ON",
    ];
    let topics = [
        "",
        "/",
        "zigbee2mqtt/",
        "zigbee2mqtt//set",
        "zigbee2mqtt/set",
        "zigbee2mqtt/a/set/",
        "\u{1F600}/set",
    ];
    let mut world = default_world();
    for payload in payloads {
        for topic in topics {
            assert!(world.set(topic, payload).is_err(), "{topic}");
        }
        for device in HOME {
            let name = device.friendly_name;
            let whole = world.set(&format!("zigbee2mqtt/{name}/set"), payload);
            assert!(whole.is_err(), "{name} takes {payload:?}");
            for property in ["state", "position", "", "temperature"] {
                let alone = world.set(&format!("zigbee2mqtt/{name}/set/{property}"), payload);
                assert!(alone.is_err(), "{name}/{property} takes {payload:?}");
            }
        }
    }
    world.advance(DEFAULT_START_MS + HOUR);
}

#[test]
fn every_settable_property_of_every_device_can_be_set_and_keeps_to_its_model() {
    use home_devices::catalogue::Kind;
    let mut world = default_world();
    let mut commands = 0;
    for device in HOME {
        for expose in device.definition().unwrap().properties() {
            let wanted = match &expose.kind {
                Kind::Binary { on, .. } => on.clone(),
                Kind::Numeric { min, max, .. } => json!(max.or(*min).unwrap_or(1.0)),
                Kind::Enum { values } => values[0].clone(),
                Kind::Text => json!("a \"text\""),
                _ => json!({}),
            };
            let Some(property) = expose
                .property
                .as_deref()
                .filter(|_| expose.access.is_settable())
            else {
                continue;
            };
            command(&mut world, device.friendly_name, &json!({property: wanted}));
            commands += 1;
        }
    }
    assert!(commands > 150, "{commands}");
    let published = world.advance(DEFAULT_START_MS + 30 * MINUTE);
    for device in HOME.iter().filter(|device| !is_garbage(device)) {
        for (_, payload) in reports(&published, device.friendly_name) {
            let faults = check(device.definition().unwrap(), &payload);
            assert!(faults.is_empty(), "{}: {faults:?}", device.friendly_name);
        }
    }
}

#[test]
fn a_recorded_line_is_one_json_object_whatever_was_sent() {
    let line = |payload: &[u8]| {
        let message = Published {
            ts_ms: 7,
            topic: String::from("a \"b\""),
            payload: payload.to_vec(),
        };
        let line = message.to_line();
        assert!(!line.contains('\n'));
        serde_json::from_str::<Value>(&line).unwrap()
    };
    assert_eq!(
        line(br#"{"state":"ON"}"#),
        json!({"ts": 7, "topic": "a \"b\"", "payload": {"state": "ON"}})
    );
    assert_eq!(line(b"online")["payload"], "online");
    assert_eq!(line(b"")["payload"], "");
    assert_eq!(line(b"{\"a\":\xff\n")["payload"], "{\"a\":\u{FFFD}\n");
    for message in FIRST_DAY.iter() {
        assert!(serde_json::from_str::<Value>(&message.to_line()).is_ok());
    }
}

#[test]
fn a_home_can_start_at_any_time() {
    for start_ms in [
        0,
        -DAY * 365 - 12_345,
        DEFAULT_START_MS + 19 * HOUR + 7,
        4_102_444_800_000,
    ] {
        let mut world = World::new(9, start_ms);
        let published = world.advance(start_ms + DAY);
        assert!(published.len() > 5_000, "{}", published.len());
    }
}
