//! The books and the batteries as tables, then the actor on virtual time.

use super::*;
use home_protocol::{At, Order};

fn at(minute: i64) -> At {
    At(1_768_435_200_000).plus_minutes(minute)
}

fn decided(at: At, by: &Path, what: &str) -> Decided {
    Decided {
        at,
        by: by.clone(),
        what: what.to_owned(),
    }
}

fn battery(at: At, percent: f64) -> BatteryRead {
    BatteryRead {
        at,
        device: DeviceName::new("kids room/window"),
        percent,
    }
}

fn books(decisions: &[&Decided]) -> Summary {
    let mut books = Books::new(50);
    for decided in decisions {
        books.enter((*decided).clone());
    }
    books.summary()
}

#[test]
fn the_hash_is_the_published_one() {
    let mut hash = Fnv::default();
    assert_eq!(hash.0, 0xcbf2_9ce4_8422_2325);
    hash.bytes(b"foobar");
    assert_eq!(hash.0, 0x8594_4171_f739_67e8);
}

#[test]
fn a_low_battery_is_said_once_until_it_was_changed() {
    let mut batteries = Batteries::new(Settings::default());
    let said = "kids room/window: battery low, 14 %";
    let table = [
        (15.0, None),
        (14.0, Some(said)),
        (13.0, None),
        (f64::NAN, None),
        (f64::INFINITY, None),
        (-1.0, None),
        (255.0, None),
        (16.0, None),
        (14.0, None),
        (30.0, None),
        (14.0, None),
        (100.0, None),
        (14.0, Some(said)),
    ];
    for (n, (percent, expect)) in table.into_iter().enumerate() {
        let got = batteries.read(&battery(at(0), percent));
        assert_eq!(got.as_deref(), expect, "{n}: {percent}");
    }
}

// ===== on the stage =====

/// Lends its path, which only the runtime can make.
struct Extra;

impl Actor for Extra {
    type Args = ();
    type Error = Infallible;
    async fn start((): (), _: &mut Context<Self>) -> Result<Self, Infallible> {
        Ok(Extra)
    }
}

/// Ends a life of the keeper by a panic, which nothing that it really handles does.
struct Crash;
impl Message for Crash {
    type Reply = ();
}

impl Handler<Crash> for HouseKeeper {
    async fn handle(&mut self, _: Crash, _: &mut Context<Self>) -> Result<(), Infallible> {
        panic!("a crash in a test");
    }
}

struct Stage {
    system: System,
    keeper: ActorRef<HouseKeeper>,
    /// Two actors that decide.
    lights: Path,
    thermostat: Path,
}

impl Stage {
    async fn open() -> Self {
        let tree = Supervisor::one_for_one("home")
            .child(HouseKeeper::spec("keeper", Settings::default()))
            .child(Extra::spec("lights", ()))
            .child(Extra::spec("thermostat", ()));
        let builder = System::builder().seed(1).in_current_runtime();
        let system = builder.start(tree).await.unwrap();
        let path = |name: &str| system.find::<Extra>(name).unwrap().path().clone();
        Stage {
            keeper: system.find("home/keeper").unwrap(),
            lights: path("home/lights"),
            thermostat: path("home/thermostat"),
            system,
        }
    }

    async fn summary(&self) -> Summary {
        self.keeper.ask(Summarise).await.unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn the_digest_is_the_same_however_actors_mix() {
    let Stage {
        lights, thermostat, ..
    } = Stage::open().await;
    let [a, b] = ["light on", "light off"].map(|what| decided(at(0), &lights, what));
    let [x, y] = [1, 2].map(|minute| decided(at(minute), &thermostat, "heating on"));
    let apart = books(&[&a, &b, &x, &y]);
    let mixed = books(&[&x, &a, &y, &b]);
    assert_eq!(apart.digest, mixed.digest);
    assert_eq!(apart.decisions, mixed.decisions);
    assert_ne!(apart.latest, mixed.latest);
}

#[tokio::test(start_paused = true)]
async fn the_digest_differs_when_a_decision_differs() {
    let Stage {
        lights, thermostat, ..
    } = Stage::open().await;
    let a = decided(at(0), &lights, "light on");
    let b = decided(at(1), &lights, "light off");
    let digest = |decisions: &[&Decided]| books(decisions).digest;
    let all = [
        ("nothing", digest(&[])),
        ("one", digest(&[&a])),
        ("as it was", digest(&[&a, &b])),
        ("the other order", digest(&[&b, &a])),
        ("one twice", digest(&[&a, &a, &b])),
        (
            "later",
            digest(&[&a, &decided(at(2), &lights, "light off")]),
        ),
        (
            "other words",
            digest(&[&a, &decided(at(1), &lights, "light of")]),
        ),
        (
            "by another",
            digest(&[&a, &decided(at(1), &thermostat, "light off")]),
        ),
    ];
    for (n, (one, digest)) in all.iter().enumerate() {
        for (other, same) in &all[..n] {
            assert_ne!(digest, same, "{one} and {other}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_summary_counts_by_actor_and_keeps_the_latest() {
    let stage = Stage::open().await;
    for minute in 0..60 {
        stage
            .system
            .publish(decided(at(minute), &stage.lights, "light on"));
    }
    let last = decided(at(60), &stage.thermostat, "heating on");
    stage.system.publish(last.clone());
    stage.system.publish(Command {
        at: at(60),
        device: DeviceName::new("kitchen/radiator"),
        order: Order::Heat { celsius: 21.0 },
    });
    let summary = stage.summary().await;
    let counts: Vec<(&str, u64)> = summary
        .decisions
        .iter()
        .map(|(by, count)| (by.as_str(), *count))
        .collect();
    assert_eq!(counts, [("home/lights", 60), ("home/thermostat", 1)]);
    assert_eq!((summary.total, summary.commands), (61, 1));
    assert_eq!(summary.latest.len(), 50);
    assert_eq!(summary.latest.first(), Some(&last));
    assert_eq!(summary.latest.last().map(|d| d.at), Some(at(11)));
    let table = summary.to_string();
    let expect = "\
home/lights                    60
home/thermostat                 1
total                          61
commands                        1
digest           ";
    assert_eq!(table.get(..expect.len()), Some(expect), "{table}");
}

#[tokio::test(start_paused = true)]
async fn its_own_notices_count_once_and_at_once() {
    let stage = Stage::open().await;
    stage.system.publish(battery(at(0), 14.4));
    let at_once = stage.summary().await;
    let own = stage.keeper.path();
    let notice = decided(at(0), own, "kids room/window: battery low, 14 %");
    assert_eq!(at_once.latest, [notice]);
    // The event has come back meanwhile.
    stage.keeper.ask(Checkpoint).await.unwrap();
    assert_eq!(stage.summary().await, at_once);
    assert_eq!(at_once.total, 1);
}

#[tokio::test(start_paused = true)]
async fn a_new_life_counts_from_zero_and_says_once_more_what_is_low() {
    let stage = Stage::open().await;
    stage
        .system
        .publish(decided(at(0), &stage.lights, "light on"));
    stage.system.publish(battery(at(0), 14.0));
    assert_eq!(stage.summary().await.total, 2);
    stage.keeper.tell(Crash).await.unwrap();
    assert_eq!(stage.summary().await.total, 0);
    stage.system.publish(battery(at(50), 14.0));
    assert_eq!(stage.summary().await.total, 1);
}
