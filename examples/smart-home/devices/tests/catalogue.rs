//! The catalogue, and how it copes with what real installations send.

use std::collections::BTreeSet;

use home_devices::catalogue::{Fault, Kind};
use home_devices::{DEFAULT_START_MS, Definition, Device, HOME, World, catalogue, check};
use serde_json::{Value, json};

const SOURCE: &str = include_str!("../catalogue/catalogue.json");
const SCRIPT: &str = include_str!("../catalogue/derive.mjs");
const README: &str = include_str!("../catalogue/README.md");

#[track_caller]
fn model(vendor: &str, model: &str) -> &'static Definition {
    match catalogue().get(vendor, model) {
        Some(definition) => definition,
        None => panic!("{vendor} {model} is in the catalogue"),
    }
}

#[track_caller]
fn faults(definition: &Definition, payload: &Value) -> Vec<String> {
    let Some(payload) = payload.as_object() else {
        panic!("{payload} is an object");
    };
    let mismatches = check(definition, payload);
    mismatches.iter().map(ToString::to_string).collect()
}

/// What zigbee2mqtt of the virtual home keeps on `bridge/devices`.
fn bridge_devices() -> Vec<u8> {
    let published = World::new(1, DEFAULT_START_MS).advance(DEFAULT_START_MS);
    published
        .into_iter()
        .find(|message| message.topic == "zigbee2mqtt/bridge/devices")
        .map(|message| message.payload)
        .unwrap_or_default()
}

#[test]
fn nothing_is_lost_when_the_catalogue_is_read_and_written() {
    let source: Value = serde_json::from_str(SOURCE).unwrap();
    let definitions = source["definitions"].as_array().unwrap();
    assert_eq!(definitions.len(), catalogue().len());
    for (definition, source) in catalogue().iter().zip(definitions) {
        let written: Value = definition.exposes.iter().map(|e| e.to_value()).collect();
        assert_eq!(written, source["exposes"], "{}", definition.model);
    }
}

#[test]
fn the_catalogue_has_enough_models_each_once_and_each_with_properties() {
    assert_eq!(catalogue().len(), 59);
    assert!(!catalogue().is_empty());
    let names: BTreeSet<_> = catalogue().iter().map(|d| (&d.vendor, &d.model)).collect();
    assert_eq!(names.len(), catalogue().len());
    for definition in catalogue() {
        assert!(!definition.description.is_empty(), "{definition:?}");
        assert!(!definition.zigbee_model.is_empty(), "{definition:?}");
        assert!(definition.properties().count() > 1, "{definition:?}");
        assert!(definition.property("linkquality").is_some());
    }
}

#[test]
fn no_model_of_the_catalogue_has_a_kind_that_we_do_not_know() {
    for definition in catalogue() {
        for expose in definition.exposes.iter().chain(definition.properties()) {
            assert!(!matches!(expose.kind, Kind::Other(_)), "{expose:?}");
        }
    }
}

#[test]
fn the_script_and_its_readme_name_the_version_of_the_catalogue() {
    let version = catalogue().version();
    assert!(SCRIPT.contains(&format!("const VERSION = '{version}'")));
    assert!(README.contains(&format!("version {version}")));
}

#[test]
fn properties_are_found_inside_lights_thermostats_and_locks() {
    let bulb = model("IKEA", "LED2201G8");
    assert!(bulb.has(&Kind::Light));
    let brightness = bulb.property("brightness").unwrap();
    assert!(brightness.access.is_settable() && brightness.access.is_gettable());
    let valve = model("SONOFF", "TRVZB");
    let local = valve.property("local_temperature").unwrap();
    assert!(local.access.is_published() && !local.access.is_settable());
    assert!(
        model("Danalock", "V3-BTZB/V3-BTZBE")
            .property("lock_state")
            .is_some()
    );
    let color = model("Philips", "9290022166").property("color").unwrap();
    assert!(color.feature("x").is_some());
}

#[test]
fn a_payload_as_real_devices_send_it_has_no_faults() {
    let sensor = model("Aqara", "WSDCGQ11LM");
    let payload = json!({
        "temperature": 21.48, "humidity": 43.1, "pressure": 1013.2, "battery": 97, "voltage": 2995,
        "linkquality": 120, "last_seen": "2026-01-15T00:00:00Z", "update": {"state": "idle"},
        "power_outage_count": null,
    });
    assert_eq!(faults(sensor, &payload), [] as [&str; 0]);
}

#[test]
fn each_fault_is_one_clear_sentence() {
    let bulb = model("IKEA", "LED1836G9");
    let payload = json!({
        "state": "ONN", "brightness": 300, "effect": "dance", "linkquality": "good",
        "level_config": {"execute_if_off": 1},
    });
    assert_eq!(
        faults(bulb, &payload),
        [
            "`brightness` is 300, which is not between 0 and 254",
            "`effect` is \"dance\", which is not one of \"blink\", \"breathe\", \"okay\", \
             \"channel_change\", \"finish_effect\", \"stop_effect\"",
            "`level_config.execute_if_off` is 1, which is not a boolean",
            "`linkquality` is \"good\", which is not a number",
            "`state` is \"ONN\", which is not one of \"ON\", \"OFF\"",
        ]
    );
    let plug = model("Aqara", "SP-EUC01");
    assert_eq!(
        faults(plug, &json!({"overload_protection": 99, "state": true})),
        [
            "`overload_protection` is 99 W, which is not between 100 W and 2300 W",
            "`state` is true, which is not a word",
        ]
    );
}

#[test]
fn a_color_may_be_xy_or_hue_and_saturation() {
    let bulb = model("Philips", "9290022166");
    assert_eq!(
        faults(bulb, &json!({"color": {"x": 0.4, "y": 0.4}})).len(),
        0
    );
    assert_eq!(
        faults(bulb, &json!({"color": {"hue": 9, "saturation": 50}})).len(),
        0
    );
    assert_eq!(
        faults(bulb, &json!({"color": {"x": "red"}})),
        ["`color.x` is \"red\", which is not a number"]
    );
    assert_eq!(
        faults(bulb, &json!({"color": "red"})),
        ["`color` is \"red\", which is not an object"]
    );
}

#[test]
fn a_star_in_an_allowed_value_stands_for_any_characters() {
    let radar = model("Aqara", "RTCZCGQ11LM");
    assert_eq!(faults(radar, &json!({"action": "region_3_enter"})).len(), 0);
    assert_eq!(faults(radar, &json!({"action": "region_enter"})).len(), 1);
}

#[test]
fn the_kinds_of_fault_can_be_told_apart() {
    let sensor = model("SONOFF", "SNZB-02");
    let payload = json!({"battery": 101, "temperature": []});
    let found = check(sensor, payload.as_object().unwrap());
    assert!(
        matches!(found[0].fault, Fault::OutOfRange { found, max: Some(max), .. } if found > max)
    );
    assert!(matches!(&found[1].fault, Fault::WrongType { found, .. } if found == "[]"));
}

#[test]
fn the_devices_of_an_installation_are_learned_from_its_retained_message() {
    let devices = Device::list(&bridge_devices()).unwrap();
    assert_eq!(devices[0].friendly_name, "Coordinator");
    assert_eq!(devices[0].definition, None);
    assert_eq!(devices.len(), HOME.len() + 1);
    let addresses: BTreeSet<_> = devices.iter().map(|device| &device.ieee_address).collect();
    assert_eq!(addresses.len(), devices.len());
    for (device, installed) in devices[1..].iter().zip(HOME) {
        assert_eq!(device.friendly_name, installed.friendly_name);
        let learned = device.definition.as_ref().unwrap();
        assert_eq!(learned.exposes, installed.definition().unwrap().exposes);
    }
}

#[test]
fn every_model_of_the_catalogue_can_be_learned() {
    let entries: Value = catalogue()
        .iter()
        .enumerate()
        .map(|(index, definition)| {
            json!({
                "ieee_address": format!("0x{index:016x}"),
                "friendly_name": format!("attic/{}", definition.model),
                "model_id": definition.zigbee_model[0],
                "definition": {
                    "vendor": definition.vendor,
                    "model": definition.model,
                    "description": definition.description,
                    "icon": "a field of a later version",
                    "exposes": definition.exposes.iter().map(|e| e.to_value()).collect::<Value>(),
                },
            })
        })
        .collect();
    let devices = Device::list(entries.to_string().as_bytes()).unwrap();
    for (device, definition) in devices.iter().zip(catalogue()) {
        let learned = device.definition.as_ref().unwrap();
        assert_eq!(learned.exposes, definition.exposes);
        assert_eq!(learned.zigbee_model, definition.zigbee_model[..1]);
    }
    assert_eq!(devices.len(), catalogue().len());
}

#[test]
fn odd_entries_are_left_out_and_odd_fields_ignored() {
    let message = json!([
        7, null, "device", {"friendly_name": 3}, {"friendly_name": ""},
        {"friendly_name": "a/b", "ieee_address": 12, "definition": "none"},
        {"friendly_name": "c", "definition": {"exposes": [
            {"type": 3}, [], {"type": "hologram", "property": "h", "access": "all"},
            {"type": "numeric", "property": "n", "value_min": "low", "access": 4096},
            {"type": "enum", "property": "e", "values": {"a": 1}},
        ]}},
    ]);
    let devices = Device::list(message.to_string().as_bytes()).unwrap();
    assert_eq!(devices.len(), 2);
    assert_eq!(devices[0].definition, None);
    let definition = devices[1].definition.as_ref().unwrap();
    assert_eq!(definition.exposes.len(), 3);
    let hologram = definition.property("h").unwrap();
    assert_eq!(hologram.kind, Kind::Other(String::from("hologram")));
    assert!(!hologram.access.is_settable());
    assert_eq!(faults(definition, &json!({"h": [], "n": -1e300})).len(), 0);
}

#[test]
fn what_is_no_list_of_devices_is_refused() {
    let text = |message: &[u8]| Device::list(message).unwrap_err().to_string();
    assert_eq!(text(b"{}"), "the list of devices is JSON, but not an array");
    assert_eq!(text(b"\xff\xfe"), "the list of devices is not JSON");
    assert_eq!(text(b""), "the list of devices is not JSON");
}

#[test]
fn a_damaged_message_never_panics() {
    let whole = bridge_devices();
    for length in (0..whole.len()).step_by(997) {
        assert!(Device::list(&whole[..length]).is_err());
    }
    let mut damaged = whole.clone();
    for at in (0..whole.len()).step_by(997) {
        for byte in [b'"', b'}', b'0', b',', 0xFF] {
            damaged[at] = byte;
            let _ = Device::list(&damaged);
            damaged[at] = whole[at];
        }
    }
}

#[test]
fn a_message_that_nests_without_end_is_cut_off() {
    let mut expose = json!({"type": "composite", "property": "p"});
    for _ in 0..40 {
        expose = json!({"type": "composite", "features": [expose]});
    }
    let message = json!([{"friendly_name": "deep", "definition": {"exposes": [expose]}}]);
    let devices = Device::list(message.to_string().as_bytes()).unwrap();
    let definition = devices[0].definition.as_ref().unwrap();
    assert!(definition.property("p").is_none());
    // Even deeper is more than the JSON parser itself takes.
    let message = "[".repeat(100_000);
    assert!(Device::list(message.as_bytes()).is_err());
}
