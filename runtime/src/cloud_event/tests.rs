use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Attribute, CloudEvent, CloudEventError, Envelope, EventId, Ids, base64, source_of, time,
};
use crate::Event;

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
struct Temperature {
    celsius: f64,
}

impl Event for Temperature {
    fn event_type() -> &'static str {
        "com.example.temperature.read"
    }
}

type Failure = CloudEventError<serde_json::Error>;

fn read(text: &str) -> Result<CloudEvent<Temperature>, Failure> {
    CloudEvent::read(&mut serde_json::Deserializer::from_str(text))
}

/// Writes it as the golden files are.
fn written<E: Serialize + 'static>(event: &CloudEvent<E>) -> String {
    serde_json::to_string_pretty(event).unwrap() + "\n"
}

fn full() -> CloudEvent<Temperature> {
    let source = source_of("home/kitchen/thermometer 1");
    let id = "0199a1b2-c3d4-7001-8a0b-0c0d0e0f1011";
    let envelope = Envelope {
        subject: Some("home.kitchen.temperature".to_owned()),
        key: Some("kitchen".to_owned()),
        time: Some(UNIX_EPOCH + Duration::from_millis(1_795_285_800_250)),
        correlation_id: Some("0199a1b2-c3d4-7000-8000-000000000000".into()),
        causation_id: Some("order-123".into()),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        tracestate: Some("vendor=opaque".to_owned()),
        content_type: Some("application/json".to_owned()),
        schema: Some("https://example.com/temperature.json".to_owned()),
        extensions: BTreeMap::from([
            ("attempt".to_owned(), Attribute::Integer(3)),
            ("isretained".to_owned(), Attribute::Boolean(true)),
            ("room".to_owned(), Attribute::String("Küche".to_owned())),
        ]),
        ..Envelope::new(id, source, Temperature::event_type())
    };
    CloudEvent::new(envelope, Temperature { celsius: 21.5 })
}

#[test]
fn all_attributes_are_written_as_in_the_golden_file_and_read_again() {
    let golden = include_str!("golden/full.json");
    assert_eq!(written(&full()), golden);
    assert_eq!(read(golden).unwrap(), full());
}

#[test]
fn what_an_event_does_not_tell_is_not_written() {
    let golden = include_str!("golden/least.json");
    let envelope = Envelope::new("7", "/home", Temperature::event_type());
    let event = CloudEvent::new(envelope, Temperature { celsius: -4.0 });
    assert_eq!(written(&event), golden);
    assert_eq!(read(golden).unwrap(), event);
}

#[test]
fn the_examples_of_the_specification_are_read_and_written() {
    let golden = include_str!("golden/text.json");
    let text: CloudEvent<String> = serde_json::from_str(golden).unwrap();
    assert_eq!(text.data, r#"<much wow="xml"/>"#);
    let five = Attribute::Integer(5);
    assert_eq!(text.envelope.extensions["comexampleothervalue"], five);
    assert_eq!(written(&text), golden);

    let golden = include_str!("golden/binary.json");
    let binary: CloudEvent<Vec<u8>> = serde_json::from_str(golden).unwrap();
    assert_eq!(binary.data, [0, 1, 2, 0xfd, 0xfe, 0xff, b'f']);
    assert_eq!(written(&binary), golden);

    let golden = include_str!("golden/implied.json");
    let implied: CloudEvent<String> = serde_json::from_str(golden).unwrap();
    assert_eq!(implied.data, "I'm just a string");
    assert_eq!(implied.envelope.subject, None);
    assert_eq!(implied.envelope.time, text.envelope.time, "of another zone");
}

#[test]
fn an_envelope_is_read_alone_to_know_what_its_data_is() {
    let golden = include_str!("golden/full.json");
    let envelope: Envelope = serde_json::from_str(golden).unwrap();
    assert_eq!(envelope, full().envelope);
    let alone = serde_json::to_string(&envelope).unwrap();
    assert_eq!(serde_json::from_str::<Envelope>(&alone).unwrap(), envelope);
}

#[test]
fn an_event_without_data_is_read_where_its_type_needs_none() {
    let text = r#"{"specversion":"1.0","id":"1","source":"/","type":"t"}"#;
    let event: CloudEvent<()> = serde_json::from_str(text).unwrap();
    assert_eq!(event.envelope.id, EventId::from("1"));
    let event: CloudEvent<Option<u8>> = serde_json::from_str(text).unwrap();
    assert_eq!(event.data, None);
}

#[test]
fn what_is_no_cloud_event_is_told_by_kind() {
    let golden: Value = serde_json::from_str(include_str!("golden/full.json")).unwrap();
    let with = |name: &str, value: Value| {
        let mut object = golden.clone();
        object[name] = value;
        read(&object.to_string()).unwrap_err()
    };
    for attribute in ["specversion", "id", "source", "type", "data"] {
        let mut object = golden.clone();
        object.as_object_mut().unwrap().remove(attribute);
        let error = read(&object.to_string()).unwrap_err();
        assert!(
            matches!(error, CloudEventError::Missing { attribute: a } if a == attribute),
            "{error}"
        );
        if attribute != "data" {
            let error = with(attribute, Value::Null);
            assert!(
                matches!(error, CloudEventError::Missing { attribute: a } if a == attribute),
                "{error}"
            );
        }
    }
    let error = with("specversion", json!("0.3"));
    assert!(matches!(&error, CloudEventError::SpecVersion { found } if found == "0.3"));
    let error = with("type", json!("com.example.other"));
    assert!(
        matches!(&error, CloudEventError::WrongType { expected, found }
            if *expected == Temperature::event_type() && found == "com.example.other"),
        "{error}"
    );
    let wrong = [
        ("id", json!(7)),
        ("id", json!("")),
        ("source", json!("a b")),
        ("source", json!(["/"])),
        ("type", json!({})),
        ("time", json!("2026-02-30T00:00:00Z")),
        ("time", json!(1_795_285_800)),
        ("subject", json!("")),
        ("subject", json!("a\u{0}")),
        ("partitionkey", json!(true)),
        ("causationid", json!("")),
        ("dataschema", json!("not a uri")),
        ("attempt", json!(3_000_000_000_u64)),
        ("attempt", json!(1.5)),
        ("attempt", json!([1])),
        ("data_base64", json!("AA==")),
    ];
    for (name, value) in wrong {
        let error = with(name, value.clone());
        assert!(
            matches!(&error, CloudEventError::Invalid { attribute, .. } if attribute == name),
            "{name}: {value}: {error}"
        );
    }
    for name in ["Attempt", "ce_id", "größe", ""] {
        let error = with(name, json!(1));
        assert!(
            matches!(&error, CloudEventError::Name { attribute } if attribute == name),
            "{error}"
        );
    }
    let error = with("data", json!({ "kelvin": 1 }));
    assert!(matches!(error, CloudEventError::Format(_)), "{error}");
    for text in ["", "[]", "7", "null", "{", r#"{"id":}"#] {
        let error = read(text).unwrap_err();
        assert!(
            matches!(error, CloudEventError::Format(_)),
            "{text}: {error}"
        );
    }
    let error = read(r#"{"id":"1","data":{"celsius":1},"id":"2"}"#).unwrap_err();
    assert!(
        matches!(&error, CloudEventError::Duplicate { attribute } if attribute == "id"),
        "{error}"
    );
}

#[test]
fn an_error_of_serde_says_the_same_in_words() {
    let error = serde_json::from_str::<CloudEvent<Value>>(r#"{"specversion":"1.0"}"#).unwrap_err();
    assert!(error.to_string().contains("`id` is missing"), "{error}");
}

#[test]
fn what_could_not_be_read_again_is_not_written() {
    let refused = |change: fn(&mut Envelope)| {
        let mut event = full();
        change(&mut event.envelope);
        serde_json::to_string(&event).unwrap_err().to_string()
    };
    assert!(refused(|e| e.source.clear()).contains("`source`"));
    assert!(refused(|e| e.subject = Some("\n".to_owned())).contains("`subject`"));
    assert!(refused(|e| e.id = EventId::from("")).contains("`id`"));
    assert!(
        refused(|e| {
            e.extensions
                .insert("data".to_owned(), Attribute::Boolean(true));
        })
        .contains("`data`")
    );
    assert!(
        refused(|e| e.time = Some(UNIX_EPOCH + Duration::from_secs(1 << 40))).contains("`time`")
    );
    assert!(refused(|e| e.content_type = Some("text/xml".to_owned())).contains("Vec<u8>"));
}

#[test]
fn a_path_with_any_name_makes_a_source() {
    assert_eq!(source_of("home/kitchen/lights"), "/home/kitchen/lights");
    assert_eq!(source_of("home/a b%\"é"), "/home/a%20b%25%22%C3%A9");
}

#[test]
fn times_are_those_of_the_calendar() {
    for (text, seconds) in [
        ("1970-01-01T00:00:00Z", 0),
        ("2000-02-29T23:59:59Z", 951_868_799),
        ("2100-03-01T00:00:00Z", 4_107_542_400),
        ("1969-12-31T23:59:59Z", -1),
        ("0000-01-01T00:00:00Z", -62_167_219_200),
        ("9999-12-31T23:59:59Z", 253_402_300_799_i64),
    ] {
        let span = Duration::from_secs(seconds.unsigned_abs());
        let moment = match seconds < 0 {
            true => UNIX_EPOCH - span,
            false => UNIX_EPOCH + span,
        };
        assert_eq!(time::read(text), Some(moment), "{text}");
        assert_eq!(time::write(moment).as_deref(), Some(text));
    }
    let same = [
        "2026-11-21T18:30:00.5Z",
        "2026-11-21t18:30:00.500000000999z",
        "2026-11-21T19:30:00.50+01:00",
        "2026-11-21T10:00:00.5-08:30",
    ];
    let moments: HashSet<_> = same.iter().map(|text| time::read(text).unwrap()).collect();
    assert_eq!(moments.len(), 1);
    for text in [
        "2026-11-21",
        "2026-11-21T18:30Z",
        "2026-11-21T18:30:00",
        "2026-11-21 18:30:00Z",
        "2026-11-21T24:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-01-00T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2026-11-21T18:30:61Z",
        "2026-11-21T18:30:00.Z",
        "2026-11-21T18:30:00+24:00",
        "2026-11-21T18:30:00Zx",
        "+026-11-21T18:30:00Z",
    ] {
        assert_eq!(time::read(text), None, "{text}");
    }
}

#[test]
fn base64_is_that_of_the_rfc() {
    for (bytes, text) in [
        ("", ""),
        ("f", "Zg=="),
        ("fo", "Zm8="),
        ("foo", "Zm9v"),
        ("foob", "Zm9vYg=="),
        ("fooba", "Zm9vYmE="),
        ("foobar", "Zm9vYmFy"),
    ] {
        assert_eq!(base64::write(bytes.as_bytes()), text);
        assert_eq!(base64::read(text).as_deref(), Some(bytes.as_bytes()));
    }
    for text in ["Zg", "Zg=", "Z===", "====", "Zg==Zg==", "Z_==", "Zm9v\n"] {
        assert_eq!(base64::read(text), None, "{text}");
    }
}

#[test]
fn ids_are_uuids_that_sort_in_the_order_they_were_given() {
    let ids = Ids::random(7);
    let began = SystemTime::now();
    let given: Vec<EventId> = (0..20_000).map(|_| ids.next().0).collect();
    assert!(given.is_sorted_by(|a, b| a < b));
    let texts: Vec<String> = given.iter().map(EventId::to_string).collect();
    assert!(texts.is_sorted_by(|a, b| a < b));
    for (text, id) in texts.iter().zip(&given) {
        assert_eq!(text.len(), 36);
        assert_eq!(&text[14..15], "7", "the version");
        assert!(
            matches!(&text[19..20], "8" | "9" | "a" | "b"),
            "the variant"
        );
        assert_eq!(EventId::from(text.as_str()), *id);
        assert!(id.as_foreign().is_none());
    }
    let millis = i128::from_str_radix(&texts[0][..13].replace('-', ""), 16).unwrap();
    let since = began.duration_since(UNIX_EPOCH).unwrap().as_millis() as i128;
    assert!((0..10_000).contains(&(millis - since)), "{}", texts[0]);
    let other = Ids::random(8);
    assert!(!given.contains(&other.next().0));
}

#[tokio::test(start_paused = true)]
async fn a_simulation_gives_the_same_ids_and_times_again() {
    let run = async || {
        let ids = Ids::simulated(7);
        let first = [ids.next(), ids.next()];
        tokio::time::sleep(Duration::from_millis(1500)).await;
        [first[0].clone(), first[1].clone(), ids.next()]
    };
    let events = run().await;
    assert_eq!(run().await, events);
    let [first, _, last] = events;
    assert_eq!(time::write(first.1).unwrap(), "2000-01-01T00:00:00Z");
    assert_eq!(time::write(last.1).unwrap(), "2000-01-01T00:00:01.500Z");
}

#[test]
fn only_the_usual_text_of_a_uuid_is_kept_as_a_number() {
    for text in [
        "0199A1B2-C3D4-7001-8A0B-0C0D0E0F1011",
        "0199a1b2c3d470018a0b0c0d0e0f1011",
        "0199a1b2-c3d4-7001-8a0b-0c0d0e0f101",
        "0199a1b2-c3d4-7001-8a0b0-c0d0e0f1011",
        "0199a1b2-c3d4-7001-8a0b-0c0d0e0f10é",
    ] {
        let id = EventId::from(text);
        assert_eq!(id.as_foreign(), Some(text));
        assert_eq!(id.to_string(), text);
    }
}

fn text() -> impl Strategy<Value = String> {
    "[^\\p{Cc}]{1,20}"
}

fn id() -> impl Strategy<Value = EventId> {
    prop_oneof![
        text().prop_map(EventId::from),
        any::<u64>().prop_map(|seed| Ids::random(seed).next().0),
    ]
}

fn attribute() -> impl Strategy<Value = Attribute> {
    prop_oneof![
        any::<bool>().prop_map(Attribute::Boolean),
        any::<i32>().prop_map(Attribute::Integer),
        "[^\\p{Cc}]{0,20}".prop_map(Attribute::String),
    ]
}

fn moment() -> impl Strategy<Value = SystemTime> {
    (-62_167_219_200_i64..=253_402_300_799, 0..1_000_000_000_u32).prop_map(|(seconds, nanos)| {
        let span = Duration::from_secs(seconds.unsigned_abs());
        let whole = match seconds < 0 {
            true => UNIX_EPOCH - span,
            false => UNIX_EPOCH + span,
        };
        whole + Duration::from_nanos(u64::from(nanos))
    })
}

fn envelope() -> impl Strategy<Value = Envelope> {
    let required = (id(), "[!#-;=?-\\[\\]_a-z{-~]{1,20}", text());
    let texts = vec(proptest::option::of(text()), 4);
    let ids = vec(proptest::option::of(id()), 2);
    let time = proptest::option::of(moment());
    let extensions = btree_map("x[a-z0-9]{0,9}", attribute(), 0..4);
    let json = proptest::option::of(prop_oneof![
        Just("application/json"),
        Just("text/json; charset=utf-8"),
        Just("application/vnd.example+JSON"),
    ]);
    (required, texts, ids, time, extensions, json).prop_map(
        |((id, source, event_type), mut texts, mut ids, time, extensions, json)| {
            let mut text = || texts.pop().flatten();
            let mut id_of = || ids.pop().flatten();
            Envelope {
                subject: text(),
                key: text(),
                traceparent: text(),
                tracestate: text(),
                correlation_id: id_of(),
                causation_id: id_of(),
                content_type: json.map(str::to_owned),
                time,
                extensions,
                ..Envelope::new(id, source, event_type)
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn what_is_written_is_read_again(envelope in envelope(), data in text(), bytes: Vec<u8>) {
        let event = CloudEvent::new(envelope, data);
        let text = serde_json::to_string(&event).unwrap();
        prop_assert_eq!(&serde_json::from_str::<CloudEvent<String>>(&text).unwrap(), &event);
        // Whatever the order of its members.
        let value: Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&serde_json::from_value::<CloudEvent<String>>(value).unwrap(), &event);

        let mut event = CloudEvent::new(event.envelope, bytes);
        event.envelope.content_type = Some("application/octet-stream".to_owned());
        let text = serde_json::to_string(&event).unwrap();
        prop_assert_eq!(&serde_json::from_str::<CloudEvent<Vec<u8>>>(&text).unwrap(), &event);
    }

    #[test]
    fn no_input_is_a_panic(places in vec((any::<prop::sample::Index>(), any::<u8>()), 0..6), cut: prop::sample::Index) {
        for golden in [include_str!("golden/full.json"), include_str!("golden/binary.json")] {
            let mut text = golden.as_bytes().to_vec();
            for (place, byte) in &places {
                let place = place.index(text.len());
                text[place] = *byte;
            }
            for text in [&text[..], &text[..cut.index(text.len())]] {
                let mut json = serde_json::Deserializer::from_slice(text);
                // What is read can be written, but for an object that is said not to be JSON.
                if let Ok(event) = CloudEvent::<Temperature>::read(&mut json) {
                    prop_assert_eq!(serde_json::to_string(&event).is_ok(), event.envelope.is_json());
                }
                if let Ok(event) = serde_json::from_slice::<CloudEvent<Vec<u8>>>(text) {
                    prop_assert!(serde_json::to_string(&event).is_ok());
                }
            }
        }
    }

    #[test]
    fn no_member_is_a_panic(name in "[a-z_0-9]{1,12}|specversion|id|source|type|time|data|data_base64|datacontenttype|dataschema", value in member()) {
        let mut object: Value = serde_json::from_str(include_str!("golden/full.json")).unwrap();
        object[&name] = value;
        let read = serde_json::from_value::<CloudEvent<Value>>(object);
        if let Ok(event) = read
            && event.envelope.is_json()
        {
            let text = serde_json::to_string(&event).unwrap();
            prop_assert_eq!(serde_json::from_str::<CloudEvent<Value>>(&text).unwrap(), event);
        }
    }
}

fn member() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e9..1e9).prop_map(|n: f64| Value::from(n.trunc())),
        ".{0,12}".prop_map(Value::from),
        Just(json!("1.0")),
        Just(json!("2026-11-21T18:30:00Z")),
        Just(json!("AA==")),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map(".{0,6}", inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}
