//! The whole home under test: its own tree, gateway, drivers and automations, in orders that a seed decides.
//!
//! Only its edges are stood in for: probes are where the traffic comes from and
//! where people look. The clock of the home is the virtual one, so a night lasts
//! as long as a night.

use std::cell::Cell;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use greenroom::{ActorRef, ActorState, System};
use greenroom_testkit::{Checks, Fault, Faults, Probe, Sim, Simulation, pass, settle, simulate};
use home_devices::{DEFAULT_START_MS, World};
use home_gateway::{Count, Counts, DeviceGateway};
use home_keeper::{HouseKeeper, Summarise};
use home_protocol::{
    At, Command, Decided, DeviceCommand, LeakSeen, Line, MinutePassed, Order, TemperatureRead,
};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::home::{self, FIELD, GATEWAY, KEEPER, SOURCE};

/// How many seeds each test tries; `SEEDS` in the environment overrules it.
const SEEDS: u64 = 20;

/// How long a test waits for what a report brings about: more than slow actors take, less than a minute of the home.
const WHILE: Duration = Duration::from_secs(20);

/// The list of devices as zigbee2mqtt retains it: all 58 of the virtual home.
static DEVICES: LazyLock<Value> = LazyLock::new(|| {
    let first = World::new(1, DEFAULT_START_MS).advance(DEFAULT_START_MS);
    let mut first = first.iter();
    let list = first.find(|message| message.topic == "zigbee2mqtt/bridge/devices");
    serde_json::from_slice(&list.expect("the bridge lists its devices").payload).unwrap()
});

/// A home in which a test is the devices and the people.
struct House {
    system: System,
    gateway: ActorRef<DeviceGateway>,
    /// In the place of the source.
    devices: Probe,
    /// In the place of the telemetry.
    people: Probe,
    begun: (Instant, At),
    lines: Cell<u64>,
}

impl House {
    /// Opens the home at this time of the winter day, with all devices introduced.
    async fn open(sim: &Sim, hour: i64, minute: i64) -> House {
        let devices = Probe::new().hears::<DeviceCommand>();
        let people = Probe::new().hears::<Command>().hears::<Decided>();
        let tree = home::between(people.spec("telemetry"), devices.spec(SOURCE));
        let system = sim.start(tree).await.unwrap();
        let house = House {
            gateway: system.find(GATEWAY).unwrap(),
            system,
            devices,
            people,
            begun: (
                Instant::now(),
                At(DEFAULT_START_MS).plus_minutes(hour * 60 + minute),
            ),
            lines: Cell::new(0),
        };
        house.introduce().await;
        house
    }

    /// Lets the bridge list its devices.
    async fn introduce(&self) {
        self.publish("zigbee2mqtt/bridge/devices", &DEVICES).await;
        pass(WHILE).await;
    }

    fn now(&self) -> At {
        let (instant, at) = self.begun;
        let passed = i64::try_from(instant.elapsed().as_millis()).unwrap();
        At(at.0 + passed)
    }

    /// Lets time pass until this time of day; hours go on counting behind midnight.
    async fn until(&self, hour: i64, minute: i64) {
        let at = At(DEFAULT_START_MS).plus_minutes(hour * 60 + minute);
        let ms = u64::try_from(at.0 - self.now().0).expect("it is later than that");
        pass(Duration::from_millis(ms)).await;
    }

    async fn publish(&self, topic: &str, payload: &Value) {
        let number = self.lines.get() + 1;
        self.lines.set(number);
        let line = json!({ "ts": self.now().0, "topic": topic, "payload": payload });
        let bytes = line.to_string().into_bytes();
        self.gateway.tell(Line { number, bytes }).await.unwrap();
    }

    /// A device reports; nobody waits for what comes of it.
    async fn report(&self, device: &str, payload: Value) {
        self.publish(&format!("zigbee2mqtt/{device}"), &payload)
            .await;
    }

    /// A device reports; returns what devices are told because of it, and what people read.
    ///
    /// Heating and cooling are left out: they have a test of their own.
    async fn after(&self, device: &str, payload: Value) -> (Vec<String>, Vec<String>) {
        self.report(device, payload).await;
        self.news().await
    }

    /// The camera begins to see something; returns the same.
    async fn after_camera(&self, label: &str) -> (Vec<String>, Vec<String>) {
        let event = json!({ "type": "new", "after": { "camera": "front_door", "label": label } });
        self.publish("frigate/events", &event).await;
        self.news().await
    }

    async fn news(&self) -> (Vec<String>, Vec<String>) {
        pass(WHILE).await;
        let (mut orders, mut words) = (self.orders(), self.words());
        orders
            .retain(|order| !order.contains("/radiator ") && !order.contains("/air conditioner "));
        words.retain(|words| !words.contains("heating") && !words.contains("cooling"));
        (orders, words)
    }

    /// A minute of the home begins, with nothing in it that is anybody's affair; returns the same.
    async fn after_a_minute(&self) -> (Vec<String>, Vec<String>) {
        self.after("garden/soil", json!({ "temperature": 3 })).await
    }

    /// What devices were told since it was last asked, in their own words.
    fn orders(&self) -> Vec<String> {
        let told = self.devices.drain::<DeviceCommand>().into_iter();
        told.map(|told| {
            let device = told.topic.strip_prefix("zigbee2mqtt/");
            let device = device.and_then(|device| device.strip_suffix("/set"));
            format!("{} {}", device.unwrap_or(&told.topic), told.payload)
        })
        .collect()
    }

    /// What people could read since it was last asked.
    fn words(&self) -> Vec<String> {
        let decided = self.people.drain::<Decided>().into_iter();
        decided.map(|d| format!("{} {}", d.at, d.what)).collect()
    }

    /// What all decisions of all actors come to.
    async fn digest(&self) -> u64 {
        let keeper = self.system.find::<HouseKeeper>(KEEPER).unwrap();
        keeper.ask(Summarise).await.unwrap().digest
    }

    async fn counts(&self) -> Counts {
        self.gateway.ask(Count).await.unwrap()
    }

    /// Who was restarted, and how often.
    fn restarts(&self) -> Vec<(String, u64)> {
        let infos = self.system.snapshot().into_iter();
        infos
            .filter(|info| info.restarts > 0 || info.incarnation > 1)
            .map(|info| (info.path.to_string(), info.restarts))
            .collect()
    }
}

/// Nobody decides anything.
const NOTHING: (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());

fn just<const N: usize, const M: usize>(
    orders: [&str; N],
    words: [&str; M],
) -> (Vec<String>, Vec<String>) {
    let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
    (texts(&orders), texts(&words))
}

/// Handlers and starts are slow by chance, so that who is fast in one seed is slow in another.
fn slow() -> Faults {
    let delays = [1, 100, 1000].map(|ms| Fault::Delay(Duration::from_millis(ms)));
    Faults::new().random_of(20, delays)
}

/// Runs a scenario in many orders with all checks on; what one device says may not be overtaken on any of its ways.
fn house<F: Future<Output = ()>>(scenario: impl Fn(Sim) -> F) -> Simulation<impl Fn(Sim) -> F> {
    let rising = |at: At| at.0.cast_unsigned();
    let checks = Checks::all()
        .order(|line: &Line| ("line".to_owned(), line.number))
        .order(move |minute: &MinutePassed| ("minute".to_owned(), rising(minute.at)))
        .order(move |leak: &LeakSeen| (leak.device.to_string(), rising(leak.at)))
        .order(move |read: &TemperatureRead| (read.device.to_string(), rising(read.at)));
    simulate(scenario)
        .checks(checks)
        .show::<Command>()
        .show::<Decided>()
        .show::<DeviceCommand>()
        .seeds(0..SEEDS)
}

/// Runs a scenario once and undisturbed, in an order of its own: the reference also where `SEED` asks for one run alone.
#[track_caller]
fn once<F: Future<Output = ()>>(simulation: &Simulation<impl Fn(Sim) -> F>) {
    if let Some(found) = simulation.find_in(0) {
        panic!("{found}");
    }
}

/// What the first run decided; each later one has to decide the same.
type Alike = Arc<Mutex<Option<u64>>>;

#[track_caller]
fn check_alike(alike: &Alike, digest: u64) {
    let first = *alike.lock().unwrap().get_or_insert(digest);
    assert_eq!(digest, first, "another order has decided otherwise");
}

/// A room that loses heat to a night at 8 degrees below zero, and gets it from its radiator.
struct Air {
    room: &'static str,
    day_celsius: f64,
    celsius: f64,
    /// What its radiator was told.
    set: f64,
    window: &'static str,
    is_open: bool,
}

impl Air {
    /// Five minutes pass.
    fn pass(&mut self) {
        let loss = if self.is_open { 0.012 } else { 0.004 };
        self.celsius -= loss * (self.celsius + 8.0);
        if self.celsius < self.set {
            self.celsius += 0.35;
        }
    }
}

async fn a_winter_night(sim: Sim, alike: Alike) {
    let house = House::open(&sim, 17, 55).await;
    let air = |room, day_celsius, window| Air {
        room,
        day_celsius,
        celsius: 18.0,
        set: 0.0,
        window,
        is_open: false,
    };
    let mut rooms = [
        air("kitchen", 20.0, "kitchen/window"),
        air("living room", 21.0, "living room/terrace door"),
        air("bedroom", 18.0, "bedroom/window"),
        air("kids room", 20.5, "kids room/window"),
    ];
    let mut words = Vec::new();
    // From six in the evening to eight in the morning.
    for minute in (18 * 60..=32 * 60).step_by(5) {
        house.until(0, minute).await;
        for air in &mut rooms {
            let was_open = air.is_open;
            air.is_open = match air.room {
                // Aired before bedtime.
                "kids room" => (1140..1150).contains(&minute),
                // Left open all night, by somebody who is not at home.
                "bedroom" => (1330..1770).contains(&minute),
                _ => false,
            };
            if air.is_open != was_open {
                house
                    .report(air.window, json!({ "contact": !air.is_open }))
                    .await;
            }
            air.pass();
            // The sensor of the living room is silent from half past midnight to four.
            if air.room != "living room" || !(1470..1680).contains(&minute) {
                let celsius = (air.celsius * 100.0).round() / 100.0;
                let sensor = format!("{}/climate", air.room);
                house
                    .report(&sensor, json!({ "temperature": celsius }))
                    .await;
            }
        }
        // A broken sensor says what no room has; it heats and cools nobody.
        if minute == 1260 {
            let broken = json!({ "temperature": 655.35 });
            house.report("kitchen/air", broken).await;
        }
        pass(WHILE).await;
        words.extend(house.words());
        for told in house.devices.drain::<DeviceCommand>() {
            if told.topic.ends_with("/air conditioner/set") {
                assert_eq!(told.payload, r#"{"state":"OFF"}"#, "nobody cools in winter");
                continue;
            }
            let room = rooms
                .iter_mut()
                .find(|air| told.topic == format!("zigbee2mqtt/{}/radiator/set", air.room));
            let air = room.expect("only radiators are told anything");
            let payload: Value = serde_json::from_str(&told.payload).unwrap();
            let set = payload["occupied_heating_setpoint"].as_f64().unwrap();
            assert!(
                (set - air.set).abs() > 0.01,
                "{} is told {set} once more",
                air.room
            );
            air.set = set;
        }
        for air in &rooms {
            let Air {
                room, celsius, set, ..
            } = *air;
            let is_near = |target: f64| (celsius - target).abs() < 0.7;
            let at = house.now();
            assert!(celsius > 6.5, "{at}: frost in the {room}: {celsius}");
            match (room, minute) {
                (_, 1200..1320) | ("kitchen" | "living room" | "kids room", 1905..) => {
                    assert!(is_near(air.day_celsius), "{at}: {room} by day: {celsius}");
                }
                ("kitchen" | "kids room", 1470..1800) | ("living room", 1755..1800) => {
                    assert!(is_near(18.0), "{at}: {room} at night: {celsius}");
                }
                ("living room", 1560..1680) => {
                    assert!((set - 17.0).abs() < 0.01, "{at}: {room} is set to {set}");
                    assert!(celsius > 16.5, "{at}: {room}: {celsius}");
                }
                _ => {}
            }
            if air.is_open {
                assert!((set - 7.0).abs() < 0.01, "{at}: {room} is set to {set}");
            }
        }
    }
    for wanted in [
        "19:00:00 kids room: heating off, a window is open",
        "22:10:00 bedroom: heating off, a window is open",
        "01:45:00 living room: no temperature for 75 minutes, heating to 17.0 degrees",
    ] {
        assert!(
            words.iter().any(|word| word == wanted),
            "nobody said {wanted:?}: {words:#?}"
        );
    }
    assert_eq!(house.counts().await.unusable, 0);
    check_alike(&alike, house.digest().await);
}

#[test]
fn a_winter_night_is_warm_where_it_should_be_and_nowhere_freezes() {
    let alike = Alike::default();
    let night = house(move |sim| a_winter_night(sim, Arc::clone(&alike)));
    once(&night);
    night.faults(slow()).run();
}

const CLOSE: &str = r#"garage/water main {"state":"OFF"}"#;

#[test]
fn a_leak_closes_the_water_before_anybody_reads_of_it_and_nothing_opens_it_again() {
    let scenario = async |sim: Sim| {
        let house = House::open(&sim, 16, 0).await;
        let valve = |on| json!({ "state": if on { "ON" } else { "OFF" } });
        let wet = |is_wet: bool| json!({ "water_leak": is_wet });
        assert_eq!(house.after("garage/water main", valve(true)).await, NOTHING);
        assert_eq!(house.after("kitchen/sink", wet(false)).await, NOTHING);

        house.until(16, 54).await;
        house.report("kitchen/sink", wet(true)).await;
        let command = house.people.expect::<Command>().await;
        assert_eq!(command.order, Order::Water { open: false });
        let decided = house.people.expect::<Decided>().await;
        assert_eq!(decided.what, "kitchen/sink is wet: water closed");
        pass(WHILE).await;
        assert_eq!(house.orders(), [CLOSE]);

        // The valve is stuck: it is told again, once a minute at most.
        assert_eq!(house.after("garage/water main", valve(true)).await, NOTHING);
        house.until(16, 56).await;
        let again = ["16:56:00 garage/water main closed: kitchen/sink is wet"];
        let told = house.after("garage/water main", valve(true)).await;
        assert_eq!(told, just([CLOSE], again));
        assert_eq!(house.after("garage/water main", valve(true)).await, NOTHING);
        assert_eq!(
            house.after("garage/water main", valve(false)).await,
            NOTHING
        );

        house.until(17, 0).await;
        let closed = ["17:00:00 bathroom/floor is wet: water is closed already"];
        let told = house.after("bathroom/floor", wet(true)).await;
        assert_eq!(told, just([], closed));
        assert_eq!(house.after("kitchen/sink", wet(false)).await, NOTHING);
        house.until(17, 10).await;
        assert_eq!(house.after("bathroom/floor", wet(false)).await, NOTHING);
        house.until(17, 19).await;
        assert_eq!(house.after_a_minute().await, NOTHING);
        house.until(17, 20).await;
        let dry = ["17:20:00 bathroom/floor, kitchen/sink dry again; open the valve by hand"];
        assert_eq!(house.after_a_minute().await, just([], dry));
        assert_eq!(house.after("garage/water main", valve(true)).await, NOTHING);

        let commands = house.people.drain::<Command>().into_iter();
        let waters = commands.filter(|command| matches!(command.order, Order::Water { .. }));
        assert_eq!(waters.count(), 1, "what was told again");
        assert_eq!(house.restarts(), []);
    };
    house(scenario).faults(slow()).run();
}

#[test]
fn what_flows_in_the_home_is_what_its_actors_declare() {
    let scenario = async |sim: Sim| {
        let house = House::open(&sim, 21, 0).await;
        house
            .report("kitchen/sink", json!({ "water_leak": true }))
            .await;
        house
            .report("hallway/front door", json!({ "contact": false }))
            .await;
        house
            .report("kitchen/window", json!({ "contact": false }))
            .await;
        house
            .report("kitchen/motion", json!({ "occupancy": true }))
            .await;
        house
            .report(
                "kitchen/motion",
                json!({ "illuminance": 1, "temperature": 12.0 }),
            )
            .await;
        house.after_camera("person").await;
        pass(WHILE).await;
        let graph = house.system.flow_graph();
        let differences = graph.differences();
        // The probes around the home say nothing of themselves, and are not held to anything.
        assert_eq!(differences.undeclared, [], "{differences}");
        assert!(differences.unfed.is_empty(), "{differences}");
        let way = graph.path("DeviceGateway", "LeakGuard").unwrap();
        assert_eq!(way.len(), 1);
        let messages = |from: &str, to: &str, message: &str| {
            let mut edges = graph.edges().iter();
            let edge = edges.find(|e| e.from == from && e.to == to && e.message == message);
            edge.and_then(|edge| edge.observed)
                .map(|traffic| traffic.messages)
        };
        assert_eq!(messages("DeviceGateway", "LeakGuard", "LeakSeen"), Some(1));
        assert_eq!(messages("LeakGuard", "DeviceGateway", "Command"), Some(1));
        // To the lights of six rooms.
        assert_eq!(messages("DeviceGateway", "Lights", "MotionSeen"), Some(6));
        assert_eq!(house.system.flow_graph(), graph, "nothing has moved");
    };
    house(scenario).run();
}

#[test]
fn a_guard_that_crashes_on_the_leak_closes_the_water_at_the_next_report() {
    let scenario = async |sim: Sim| {
        let house = House::open(&sim, 3, 0).await;
        let wet = || json!({ "water_leak": true });
        assert_eq!(house.after("kitchen/sink", wet()).await, NOTHING);
        house.until(3, 5).await;
        let said = ["03:05:00 kitchen/sink is wet: water closed"];
        let told = house.after("kitchen/sink", wet()).await;
        assert_eq!(told, just([CLOSE], said));
        let restarts = [("home/safety/leak-guard".to_owned(), 1)];
        assert_eq!(house.restarts(), restarts, "nobody went with it");
    };
    let text = || "a leak".to_owned();
    for fault in [Fault::Panic(text()), Fault::Error(text())] {
        let faults = slow().nth_of::<LeakSeen>("leak-guard", 1, fault);
        house(scenario).faults(faults).run();
    }
}

#[test]
fn a_burglar_sounds_the_siren_and_whoever_lives_here_does_not() {
    let scenario = async |sim: Sim| {
        let house = House::open(&sim, 23, 0).await;
        let open = |is_open: bool| json!({ "contact": !is_open });
        let lock =
            |is_locked| json!({ "lock_state": if is_locked { "locked" } else { "unlocked" } });
        let motion = |there: bool| json!({ "occupancy": there });
        for entry in ["hallway/front door", "kitchen/window", "garden/gate"] {
            assert_eq!(house.after(entry, open(false)).await, NOTHING);
        }
        assert_eq!(house.after("hallway/lock", lock(true)).await, NOTHING);

        // It is not armed before half past eleven.
        assert_eq!(house.after("kitchen/window", open(true)).await, NOTHING);
        assert_eq!(house.after("kitchen/window", open(false)).await, NOTHING);

        // Somebody comes home late: by the gate, with the key, into the hallway.
        house.until(23, 40).await;
        let gate = house.after("garden/gate", open(true)).await;
        assert_eq!(gate, just([], ["23:40:00 garden/gate opened at night"]));
        assert_eq!(house.after("hallway/lock", lock(false)).await, NOTHING);
        assert_eq!(house.after("hallway/front door", open(true)).await, NOTHING);
        let lit = house.after("hallway/motion", motion(true)).await;
        assert_eq!(lit.0, [r#"hallway/light {"state":"ON"}"#]);
        assert_eq!(
            house.after("hallway/front door", open(false)).await,
            NOTHING
        );
        assert_eq!(house.after("hallway/lock", lock(true)).await, NOTHING);
        assert_eq!(house.after("hallway/motion", motion(false)).await, NOTHING);
        house.until(23, 50).await;
        let dark = house.after_a_minute().await;
        assert_eq!(dark.0, [r#"hallway/light {"state":"OFF"}"#]);

        // Somebody is up at night, and a cat in the garden.
        house.until(25, 10).await;
        let lit = house.after("bathroom/motion", motion(true)).await;
        assert_eq!(lit.0, [r#"bathroom/light {"state":"ON"}"#]);
        assert_eq!(house.after_camera("cat").await, NOTHING);
        assert_eq!(house.after("bathroom/motion", motion(false)).await, NOTHING);
        house.until(25, 20).await;
        let dark = house.after_a_minute().await;
        assert_eq!(dark.0, [r#"bathroom/light {"state":"OFF"}"#]);

        // The burglar.
        house.until(26, 12).await;
        let seen = ["02:12:00 front_door sees a person at night"];
        assert_eq!(house.after_camera("person").await, just([], seen));
        assert_eq!(house.after_camera("person").await, NOTHING);
        house.until(26, 13).await;
        let alarm = ["02:13:00 kitchen/window opened at night: alarm"];
        let siren = [r#"hallway/siren {"alarm":true}"#];
        let told = house.after("kitchen/window", open(true)).await;
        assert_eq!(told, just(siren, alarm));
        let lit = house.after("kitchen/motion", motion(true)).await;
        assert_eq!(lit.0, [r#"kitchen/lamp {"state":"ON"}"#]);
        assert_eq!(house.after("kitchen/window", open(true)).await, NOTHING);

        // Three minutes of noise are enough, also where the window stays open.
        house.until(26, 15).await;
        assert_eq!(house.after_a_minute().await, NOTHING);
        house.until(26, 16).await;
        let off = ["02:16:00 siren off after 3 minutes"];
        let told = house.after_a_minute().await;
        assert_eq!(told, just([r#"hallway/siren {"alarm":false}"#], off));
        house.until(26, 30).await;
        assert_eq!(house.after("kitchen/window", open(true)).await, NOTHING);
        assert_eq!(house.restarts(), []);
    };
    house(scenario).faults(slow()).run();
}

/// The hallway's motion sensor, and what its driver crashes on.
const DRIVER: &str = "home/field/devices/hallway.motion";

/// A day in which the hallway's sensor reports a cell of 0 mV each quarter of an hour, or says nothing of it.
async fn a_day(sim: Sim, is_crashing: bool, alike: Alike) {
    let house = House::open(&sim, 0, 0).await;
    let mut crashes = 0;
    for minute in (15..24 * 60).step_by(15) {
        house.until(0, minute).await;
        let quirk = if is_crashing {
            crashes += 1;
            json!({ "occupancy": true, "voltage": 0 })
        } else {
            json!({ "linkquality": 80 })
        };
        house.report("hallway/motion", quirk).await;
        // The next report is taken by the driver's next life, at once; every third one sees somebody.
        let motion = json!({ "occupancy": minute % 45 == 0, "voltage": 3000 });
        pass(Duration::from_millis(1)).await;
        house.report("hallway/motion", motion).await;
        for (room, day) in [("kitchen", 20.0), ("bedroom", 18.0)] {
            let celsius = if minute % 30 == 0 {
                day - 1.0
            } else {
                day + 1.0
            };
            let sensor = format!("{room}/climate");
            house
                .report(&sensor, json!({ "temperature": celsius }))
                .await;
        }
        pass(WHILE).await;
        assert_eq!(house.counts().await.crashed, crashes);
        let mut expect = vec![(DRIVER.to_owned(), crashes)];
        expect.retain(|(_, crashes)| *crashes > 0);
        assert_eq!(house.restarts(), expect, "nobody but the driver");
        let light = house
            .orders()
            .iter()
            .any(|o| o.starts_with("hallway/light"));
        // On when somebody is seen, and off again half an hour later, a quarter after nobody was.
        let is_due = minute >= 45 && minute % 45 != 15;
        assert_eq!(light, is_due, "the light of the hallway at {minute}");
    }
    let letters = house.system.dead_letters();
    let failed = letters
        .iter()
        .filter(|letter| letter.path.as_str() == DRIVER);
    assert_eq!(failed.count() as u64, crashes, "each crash can be read of");
    check_alike(&alike, house.digest().await);
}

#[test]
fn a_driver_that_crashes_all_day_is_restarted_each_time_and_disturbs_no_decision() {
    let alike = Alike::default();
    let day = |is_crashing| {
        let alike = Arc::clone(&alike);
        house(move |sim| a_day(sim, is_crashing, Arc::clone(&alike)))
    };
    // One day in which it does not crash, to compare with.
    once(&day(false));
    day(true).faults(slow()).run();
}

#[test]
fn a_thermostat_that_crashes_on_each_report_is_restarted_later_and_later_and_alone() {
    const CRASHES: u64 = 6;
    let path = "home/climate/kitchen";
    let scenario = async |sim: Sim| {
        let house = House::open(&sim, 12, 0).await;
        let is_running = || {
            let mut infos = house.system.snapshot().into_iter();
            infos.any(|info| info.path.as_str() == path && info.state == ActorState::Running)
        };
        let mut waits = Vec::new();
        for _ in 0..CRASHES {
            // One restart in five seconds is allowed.
            pass(Duration::from_secs(6)).await;
            house
                .report("kitchen/climate", json!({ "temperature": 18 }))
                .await;
            settle().await;
            let crashed = Instant::now();
            while !is_running() {
                settle().await;
            }
            waits.push(crashed.elapsed());
        }
        assert_eq!(waits[0], Duration::ZERO, "the first is restarted at once");
        assert!(waits.is_sorted_by(|a, b| a < b), "{waits:?}");
        assert_eq!(house.restarts(), [(path.to_owned(), CRASHES)]);
        house.orders();
        house
            .report("kitchen/climate", json!({ "temperature": 18 }))
            .await;
        pass(WHILE).await;
        let heat = r#"kitchen/radiator {"occupied_heating_setpoint":20.0,"system_mode":"heat"}"#;
        assert_eq!(house.orders(), [heat]);
    };
    let crash = |faults: Faults, n| {
        faults.nth_of::<TemperatureRead>(path, n, Fault::Panic("too cold".to_owned()))
    };
    house(scenario)
        .faults((1..=CRASHES).fold(Faults::new(), crash))
        .run();
}

#[test]
fn a_driver_beyond_its_limit_takes_the_field_down_once_and_the_home_goes_on() {
    let scenario = async |sim: Sim| {
        let house = House::open(&sim, 12, 0).await;
        let quirk = || json!({ "occupancy": true, "voltage": 0 });
        // A thousand within ten seconds are allowed.
        for _ in 0..1000 {
            house.report("hallway/motion", quirk()).await;
        }
        pass(Duration::from_secs(1)).await;
        assert_eq!(house.restarts(), [(DRIVER.to_owned(), 1000)]);
        house.report("hallway/motion", quirk()).await;
        pass(WHILE).await;
        let restarts = ["devices", "gateway", SOURCE].map(|name| (format!("{FIELD}/{name}"), 1));
        assert_eq!(house.restarts(), restarts, "and nobody above or beside");

        // The bridge lists its devices to whoever connects: all is as before.
        house.introduce().await;
        let lit = house
            .after("hallway/motion", json!({ "occupancy": true }))
            .await;
        assert_eq!(lit.0, [r#"hallway/light {"state":"ON"}"#]);
    };
    house(scenario).seeds(0..3).run();
}
