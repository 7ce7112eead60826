//! The gateway as an actor: lines in, events and commands out, everything counted.

use std::sync::Mutex;

use home_devices::{DEFAULT_START_MS, World};
use home_protocol::Order;

use super::*;

/// Writes down what it hears, and takes part in checkpoints.
struct Listener(Heard);
type Heard = Arc<Mutex<Vec<String>>>;

impl Actor for Listener {
    type Args = Heard;
    type Error = Infallible;
    async fn start(heard: Heard, cx: &mut Context<Self>) -> Result<Self, Infallible> {
        cx.subscribe::<OpeningReported>();
        cx.subscribe::<DeviceKnown>();
        cx.subscribe::<DeviceCommand>();
        cx.subscribe::<MinutePassed>();
        cx.subscribe::<CameraSaw>();
        cx.subscribe::<RollCall>();
        Ok(Listener(heard))
    }
}

macro_rules! hears {
    ($($event:ty => $text:expr;)*) => {$(
        impl Handler<$event> for Listener {
            async fn handle(&mut self, event: $event, _: &mut Context<Self>) -> Result<(), Infallible> {
                let text: fn($event) -> String = $text;
                self.0.lock().unwrap().push(text(event));
                Ok(())
            }
        }
    )*};
}

hears! {
    OpeningReported => |e| format!("{} open: {}", e.device, e.open);
    DeviceKnown => |e| format!("known {} {:?}", e.device, e.skills);
    DeviceCommand => |e| format!("{} {}", e.topic, e.payload);
    MinutePassed => |e| format!("minute {}", e.at);
    CameraSaw => |e| format!("{} saw a {}", e.device, e.label);
}

impl Handler<RollCall> for Listener {
    async fn handle(&mut self, _: RollCall, cx: &mut Context<Self>) -> Result<(), Infallible> {
        cx.publish(TakesPart(cx.me().recipient()));
        Ok(())
    }
}

impl Handler<Checkpoint> for Listener {
    async fn handle(&mut self, _: Checkpoint, _: &mut Context<Self>) -> Result<(), Infallible> {
        Ok(())
    }
}

async fn home() -> (System, ActorRef<DeviceGateway>, Heard) {
    let heard = Heard::default();
    let tree = Supervisor::one_for_one("home")
        .restart_limit(1000, Duration::from_secs(1))
        .backoff(Backoff::none())
        .child(Listener::spec("listener", Arc::clone(&heard)))
        .child(
            Supervisor::dynamic("devices")
                .restart_limit(1000, Duration::from_secs(1))
                .backoff(Backoff::none()),
        )
        .child(DeviceGateway::spec("gateway", "home/devices".to_owned()));
    let system = System::builder()
        .in_current_runtime()
        .start(tree)
        .await
        .unwrap();
    let gateway = system.find::<DeviceGateway>("home/gateway").unwrap();
    let first = World::new(1, DEFAULT_START_MS).advance(DEFAULT_START_MS);
    let devices = first
        .iter()
        .find(|p| p.topic == "zigbee2mqtt/bridge/devices")
        .unwrap();
    gateway
        .tell(Line {
            number: 1,
            bytes: devices.to_line().into_bytes(),
        })
        .await
        .unwrap();
    while !gateway.ask(Settle).await.unwrap() {
        tokio::task::yield_now().await;
    }
    // What was published again for the participant.
    gateway.ask(Settle).await.unwrap();
    assert!(std::mem::take(&mut *heard.lock().unwrap()).len() > 50);
    (system, gateway, heard)
}

async fn tell(gateway: &ActorRef<DeviceGateway>, topic: &str, payload: &str) {
    let line = format!(r#"{{"ts":1768435230000,"topic":"{topic}","payload":{payload}}}"#);
    gateway
        .tell(Line {
            number: 7,
            bytes: line.into_bytes(),
        })
        .await
        .unwrap();
    gateway.ask(Settle).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_report_becomes_an_event_and_a_command_the_words_of_the_device() {
    let (system, gateway, heard) = home().await;
    tell(
        &gateway,
        "zigbee2mqtt/hallway/front door",
        r#"{"contact":false,"linkquality":80}"#,
    )
    .await;
    tell(
        &gateway,
        "frigate/events",
        r#"{"type":"new","after":{"camera":"front_door","label":"cat"}}"#,
    )
    .await;
    for (device, order) in [
        ("garage/water main", Order::Water { open: false }),
        ("kitchen/radiator", Order::Heat { celsius: 2.0 }),
    ] {
        system.publish(Command {
            at: At(0),
            device: DeviceName::new(device),
            order,
        });
    }
    gateway.ask(Settle).await.unwrap();
    assert_eq!(
        *heard.lock().unwrap(),
        [
            "hallway/front door open: true",
            "front_door saw a cat",
            r#"zigbee2mqtt/garage/water main/set {"state":"OFF"}"#,
            r#"zigbee2mqtt/kitchen/radiator/set {"occupied_heating_setpoint":4.0,"system_mode":"heat"}"#,
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn every_bad_line_is_counted_and_kept_with_its_number_and_disturbs_nothing() {
    let (system, gateway, heard) = home().await;
    tell(&gateway, "zigbee2mqtt/attic/fan", "{}").await;
    tell(&gateway, "weather/today", "{}").await;
    tell(
        &gateway,
        "zigbee2mqtt/garage/climate",
        r#"{"temperature":"warm"}"#,
    )
    .await;
    tell(&gateway, "zigbee2mqtt/garage/climate", r#""{\"temp""#).await;
    tell(
        &gateway,
        "zigbee2mqtt/hallway/motion",
        r#"{"occupancy":true,"voltage":0}"#,
    )
    .await;
    tell(
        &gateway,
        "zigbee2mqtt/kitchen/lamp/set",
        r#"{"state":"ON"}"#,
    )
    .await;
    tell(
        &gateway,
        "zigbee2mqtt/bridge/state",
        r#"{"state":"online"}"#,
    )
    .await;
    for bytes in [
        &b"{"[..],
        b"",
        b"\xff\xfe",
        b"null",
        &vec![b'['; 10_000_000],
    ] {
        gateway
            .tell(Line {
                number: 8,
                bytes: bytes.to_vec(),
            })
            .await
            .unwrap();
    }
    tell(
        &gateway,
        "zigbee2mqtt/hallway/motion",
        r#"{"occupancy":true,"voltage":3000}"#,
    )
    .await;
    tell(
        &gateway,
        "zigbee2mqtt/hallway/front door",
        r#"{"contact":true}"#,
    )
    .await;
    let counts = gateway.ask(Count).await.unwrap();
    assert_eq!(
        counts,
        Counts {
            lines: 15,
            reports: 2,
            other: 3,
            malformed: 5,
            unknown: 2,
            unusable: 2,
            crashed: 1
        }
    );
    assert_eq!(*heard.lock().unwrap(), ["hallway/front door open: false"]);
    let letters: Vec<String> = system
        .dead_letters()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(letters.len(), 11, "{letters:#?}");
    assert!(letters[0].starts_with(
        r#"Line to home/gateway (reported): line 7: no device is called "attic/fan": {"ts""#
    ));
    assert_eq!(
        letters[4],
        "Decode to home/devices/hallway.motion (failed): the firmware reports a cell of 0 mV"
    );
    assert!(system.ledger().is_balanced(), "{}", system.ledger());
    let driver = system
        .snapshot()
        .into_iter()
        .find(|i| i.path.name() == "hallway.motion")
        .unwrap();
    assert_eq!(driver.restarts, 1);
}
