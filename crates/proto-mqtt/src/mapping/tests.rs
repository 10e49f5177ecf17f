//! Rules of `realtime.md` §4.5 to §4.8.

use std::time::{Duration, Instant};

use bytes::Bytes;
use resource::hub::Level;
use resource::{
    Body, Delivery, Event, EventKind, Exposure, Map, MessageProperties, Methods, Phase, Scope,
    SourceId, Value, json,
};

use super::*;
use crate::QoS;
use crate::session::Origin;

struct Named {
    name: &'static str,
    numeric: bool,
}

impl Resource for Named {
    fn name(&self) -> &str {
        self.name
    }
    fn methods(&self) -> Methods {
        Methods::TABLE
    }
    fn parse_key(&self, text: &str) -> Result<Key, Error> {
        match self.numeric {
            true => text
                .parse()
                .map(Key::Int)
                .map_err(|_| Error::bad_request("expecting Long")),
            false => Ok(Key::from(text)),
        }
    }
}

fn registry() -> Registry {
    let registry = Registry::new();
    for (name, numeric) in [("Dog", false), ("Sensor", true), ("api/dogs", false)] {
        registry.export(name, Arc::new(Named { name, numeric }), Exposure::default());
    }
    let hidden = Exposure {
        mqtt: false,
        ..Exposure::default()
    };
    registry.export(
        "Hidden",
        Arc::new(Named {
            name: "Hidden",
            numeric: false,
        }),
        hidden,
    );
    registry
}

fn destination_of(topic: &str) -> Result<(String, Option<Key>), ReasonCode> {
    match destination(&registry(), topic) {
        Ok(found) => Ok((found.resource.name().to_owned(), found.key)),
        Err(refusal) => Err(refusal.reason),
    }
}

#[test]
fn t1_to_t8_a_topic_is_a_path_and_a_key_without_decoding() {
    let found = |name: &str, key: Key| Ok((name.to_owned(), Some(key)));
    assert_eq!(destination_of("Dog/1"), found("Dog", Key::from("1")));
    assert_eq!(destination_of("Dog/a/b"), found("Dog", Key::from("a/b")));
    assert_eq!(destination_of("Dog/a/"), found("Dog", Key::from("a/")));
    assert_eq!(destination_of("Dog//a"), found("Dog", Key::from("/a")));
    assert_eq!(
        destination_of("Dog/1.json"),
        found("Dog", Key::from("1.json"))
    );
    assert_eq!(
        destination_of("Dog/a%2Fb?c"),
        found("Dog", Key::from("a%2Fb?c"))
    );
    assert_eq!(
        destination_of("api/dogs/1"),
        found("api/dogs", Key::from("1"))
    );
    assert_eq!(destination_of("Sensor/5"), found("Sensor", Key::Int(5)));
    assert_eq!(destination_of("Dog/"), Ok(("Dog".to_owned(), None)));
    assert_eq!(destination_of("Dog"), Ok(("Dog".to_owned(), None)));
    for unknown in [
        "/Dog/1", "dog/1", "Dogs/1", "api/1", "Hidden/1", "Sensor/x", "$SYS/x",
    ] {
        assert_eq!(
            destination_of(unknown),
            Err(ReasonCode::TopicNameInvalid),
            "{unknown}"
        );
    }
}

#[test]
fn an_unknown_topic_names_the_setting_that_would_allow_it() {
    let refusal = destination(&registry(), "nothing/1").err().unwrap();
    assert!(refusal.text.contains("mqtt.freeTopics"), "{refusal}");
}

fn levels(levels: &[&str], rest: bool) -> Scope {
    let level = |text: &&str| match *text {
        "+" => Level::Any,
        text => Level::Exact(text.to_owned()),
    };
    Scope::Levels {
        levels: levels.iter().map(level).collect(),
        rest,
    }
}

#[test]
fn filters_become_scopes_as_in_4_6() {
    for (filter, scope) in [
        ("Dog/1", Scope::Key(Key::from("1"))),
        ("Sensor/1", Scope::Key(Key::Int(1))),
        ("Dog/#", Scope::All),
        ("Dog/a/#", levels(&["a"], true)),
        ("Dog/+", levels(&["+"], false)),
        ("Dog/a/+", levels(&["a", "+"], false)),
        ("Dog/+/x", levels(&["+", "x"], false)),
        ("Dog/+/#", levels(&["+"], true)),
        ("Sensor/+", levels(&["+"], false)),
        ("Dog/", levels(&[""], false)),
        ("Dog", levels(&[""], false)),
        ("api/dogs/#", Scope::All),
    ] {
        assert_eq!(
            source(&registry(), filter).ok().map(|found| found.scope),
            Some(scope),
            "{filter}"
        );
    }
}

#[test]
fn a_wildcard_in_the_path_or_an_unknown_resource_is_refused() {
    let root = registry();
    root.export(
        "",
        Arc::new(Named {
            name: "root",
            numeric: false,
        }),
        Exposure::default(),
    );
    for filter in ["#", "+", "+/1", "+/#"] {
        for registry in [&registry(), &root] {
            let refusal = source(registry, filter).err().unwrap();
            assert_eq!(refusal.reason, ReasonCode::TopicFilterInvalid, "{filter}");
        }
    }
    for filter in ["nothing/#", "Hidden/#", "Sensor/x", "api/+/1"] {
        let refusal = source(&registry(), filter).err().unwrap();
        assert_eq!(refusal.reason, ReasonCode::TopicFilterInvalid, "{filter}");
    }
}

#[test]
fn t5_a_query_holds_options_and_is_no_part_of_the_topic() {
    let found = source(
        &registry(),
        "Dog/#?startTime=17&omitCurrent=true&previousCount=3",
    )
    .ok()
    .unwrap();
    assert_eq!(found.scope, Scope::All);
    assert_eq!(found.options.start_time, Timestamp::from_millis(17.0));
    assert_eq!(
        (found.options.omit_current, found.options.previous_count),
        (true, Some(3))
    );
    for bad in [
        "Dog/#?breed=Boxer",
        "Dog/#?previousCount=1001",
        "Dog/#?omitCurrent=x",
    ] {
        assert!(source(&registry(), bad).is_err(), "{bad}");
    }
    let refusal = source(&registry(), "Dog/#?breed=Boxer").err().unwrap();
    assert!(refusal.text.contains("breed"), "{refusal}");
}

fn request(payload: &'static str, retain: bool, content_type: Option<&str>) -> PublishRequest {
    PublishRequest {
        topic: Arc::from("Dog/1"),
        payload: Bytes::from(payload),
        qos: QoS::AtLeastOnce,
        retain,
        properties: Arc::new(MessageProperties {
            content_type: content_type.map(str::to_owned),
            ..MessageProperties::default()
        }),
        acknowledgement: None,
        receipt: None,
    }
}

fn written(request: &PublishRequest) -> Result<(WriteKind, Option<Value>), ReasonCode> {
    match write(request, Some(Key::from("1")), Timestamp::ZERO) {
        Ok(Write {
            kind: WriteKind::Message(_),
            body,
            ..
        }) => Ok((WriteKind::Message(None), body)),
        Ok(write) => Ok((write.kind, write.body)),
        Err(refusal) => Err(refusal.reason),
    }
}

fn raw(content_type: &str, data: &'static str) -> Value {
    Value::Map(Map::from_iter([
        ("contentType", Value::from(content_type)),
        ("data", Value::Bytes(Bytes::from(data))),
    ]))
}

#[test]
fn retain_and_payload_decide_what_is_written_as_in_4_8() {
    let object = json::from_slice(b"{\"a\":1}").unwrap();
    for (payload, retain, content_type, expected) in [
        (
            "{\"a\":1}",
            true,
            None,
            Ok((WriteKind::Put, Some(object.clone()))),
        ),
        (
            "{\"a\":1}",
            false,
            None,
            Ok((WriteKind::Message(None), Some(object.clone()))),
        ),
        (
            "[1]",
            false,
            None,
            Ok((
                WriteKind::Message(None),
                Some(Value::Array(vec![Value::Int(1)])),
            )),
        ),
        ("", true, None, Ok((WriteKind::Delete, None))),
        ("", false, None, Ok((WriteKind::Message(None), None))),
        (
            "hello",
            true,
            None,
            Ok((
                WriteKind::Put,
                Some(raw("application/octet-stream", "hello")),
            )),
        ),
        (
            "{broken",
            false,
            None,
            Ok((
                WriteKind::Message(None),
                Some(raw("application/octet-stream", "{broken")),
            )),
        ),
        (
            "7",
            false,
            Some("application/json"),
            Ok((WriteKind::Message(None), Some(Value::Int(7)))),
        ),
        (
            "{x",
            false,
            Some("application/ld+json"),
            Err(ReasonCode::PayloadFormatInvalid),
        ),
        (
            "{}",
            false,
            Some("text/plain"),
            Ok((WriteKind::Message(None), Some(raw("text/plain", "{}")))),
        ),
    ] {
        assert_eq!(
            written(&request(payload, retain, content_type)),
            expected,
            "{payload} {retain}"
        );
    }
}

#[test]
fn a_payload_announced_as_text_must_be_text() {
    let mut request = request("", false, None);
    request.payload = Bytes::from_static(b"\xFF");
    Arc::make_mut(&mut request.properties).payload_format_indicator = Some(1);
    assert_eq!(written(&request), Err(ReasonCode::PayloadFormatInvalid));
}

#[test]
fn a_retained_publication_names_a_record_and_expires_as_it_says() {
    let mut retained = request("{}", true, None);
    let refusal = write(&retained, None, Timestamp::ZERO).unwrap_err();
    assert_eq!(refusal.reason, ReasonCode::TopicNameInvalid);
    Arc::make_mut(&mut retained.properties).message_expiry_interval = Some(2);
    let write = write(&retained, Some(Key::from("1")), Timestamp::ZERO).unwrap();
    assert_eq!(write.expires_at, Timestamp::from_millis(2000.0));
}

fn delivery(kind: EventKind, phase: Phase, key: Option<Key>, body: Option<Value>) -> Delivery {
    let body = body.map(Body::from);
    let event = Event::new(SourceId::next(), kind, key, body, Timestamp::now());
    Delivery::new(Arc::new(event), phase)
}

fn published(path: &str, bare: bool, delivery: &Delivery) -> Option<(String, String, Origin)> {
    let publication =
        Publisher::new(Arc::from(path), bare).publication(delivery, Instant::now())?;
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    Some((
        text(&publication.message.topic),
        text(&publication.message.payload),
        publication.origin,
    ))
}

#[test]
fn t6_and_p1_an_event_is_its_value_on_the_topic_of_its_key() {
    let value = json::from_slice(b"{\"id\":5}").unwrap();
    let put = delivery(
        EventKind::Put,
        Phase::Initial,
        Some(Key::Int(5)),
        Some(value.clone()),
    );
    let expected = (
        "Sensor/5".to_owned(),
        "{\"id\":5}".to_owned(),
        Origin::Initial,
    );
    assert_eq!(published("Sensor", false, &put), Some(expected));

    let key = Key::Parts(vec![Key::from("a"), Key::Int(1)]);
    let patch = delivery(
        EventKind::Patch,
        Phase::Live,
        Some(key),
        Some(value.clone()),
    );
    let expected = (
        "Dog/a/1".to_owned(),
        "{\"id\":5}".to_owned(),
        Origin::Retained,
    );
    assert_eq!(published("Dog", false, &patch), Some(expected));

    let message = delivery(EventKind::Message, Phase::Live, None, Some(value));
    let expected = |topic: &str| Some((topic.to_owned(), "{\"id\":5}".to_owned(), Origin::Message));
    assert_eq!(published("Dog", false, &message), expected("Dog/"));
    // [MQTT-3.3.2-3]: the topic matches the filter, here `Dog`.
    assert_eq!(published("Dog", true, &message), expected("Dog"));
    assert_eq!(published("", false, &message), None);
    for key in ["a+b", "#", "a\0"] {
        let put = delivery(
            EventKind::Put,
            Phase::Live,
            Some(Key::from(key)),
            Some(Value::Int(1)),
        );
        assert_eq!(
            published("Dog", false, &put),
            None,
            "{key}: no topic can name it"
        );
    }
}

#[test]
fn p2_a_delete_has_an_empty_payload_and_an_invalidation_is_not_shown() {
    let delete = delivery(EventKind::Delete, Phase::Live, Some(Key::from("1")), None);
    let expected = ("Dog/1".to_owned(), String::new(), Origin::Retained);
    assert_eq!(published("Dog", false, &delete), Some(expected));
    for body in [None, Some(Value::Null)] {
        let message = delivery(EventKind::Message, Phase::Live, Some(Key::from("1")), body);
        let expected = ("Dog/1".to_owned(), String::new(), Origin::Message);
        assert_eq!(published("Dog", false, &message), Some(expected));
    }
    let invalidate = delivery(
        EventKind::Invalidate,
        Phase::Live,
        Some(Key::from("1")),
        None,
    );
    assert_eq!(published("Dog", false, &invalidate), None);
}

#[test]
fn bytes_come_back_as_they_were_with_their_content_type() {
    for (content_type, expected) in [
        ("application/octet-stream", None),
        ("image/png", Some("image/png")),
    ] {
        let put = delivery(
            EventKind::Put,
            Phase::Live,
            Some(Key::from("1")),
            Some(raw(content_type, "x\0y")),
        );
        let publisher = Publisher::new(Arc::from("Dog"), false);
        let message = publisher.publication(&put, Instant::now()).unwrap().message;
        assert_eq!(&message.payload[..], b"x\0y");
        assert_eq!(message.content_type, expected.map(Bytes::from));
    }
}

#[test]
fn topic_and_payload_are_encoded_once_for_all_subscribers_of_a_path() {
    let put = delivery(
        EventKind::Put,
        Phase::Live,
        Some(Key::from("1")),
        Some(Value::Map(Map::new())),
    );
    let message = |path: &str| {
        Publisher::new(Arc::from(path), false)
            .publication(&put, Instant::now())
            .unwrap()
            .message
    };
    let (one, other, elsewhere) = (message("Dog"), message("Dog"), message("Cat"));
    assert_eq!(one.topic.as_ptr(), other.topic.as_ptr());
    assert_eq!(one.payload.as_ptr(), elsewhere.payload.as_ptr());
    assert_eq!(&elsewhere.topic[..], b"Cat/1");
}

#[test]
fn mqtt_3_3_2_5_a_message_that_waited_too_long_in_the_log_is_not_delivered() {
    let message = |age_ms: f64| {
        let mut message = delivery(EventKind::Message, Phase::Replay, None, Some(Value::Int(1)));
        let event = Arc::get_mut(&mut message.event).unwrap();
        event.local_time = Timestamp::from_millis(Timestamp::now().as_millis() - age_ms).unwrap();
        event.properties = Some(Arc::new(MessageProperties {
            message_expiry_interval: Some(10),
            ..MessageProperties::default()
        }));
        message
    };
    let publisher = Publisher::new(Arc::from("Dog"), false);
    let now = Instant::now();
    let fresh = publisher.publication(&message(4000.0), now).unwrap();
    let left = fresh.expires_at.unwrap() - now;
    assert!(
        (Duration::from_secs(5)..=Duration::from_secs(6)).contains(&left),
        "{left:?}"
    );
    assert!(publisher.publication(&message(10_001.0), now).is_none());
}

#[test]
fn refusals_use_the_codes_of_4_7_and_4_8() {
    for (error, publish, subscribe) in [
        (
            Error::forbidden("x"),
            ReasonCode::NotAuthorized,
            ReasonCode::NotAuthorized,
        ),
        (
            Error::unauthorized("x"),
            ReasonCode::NotAuthorized,
            ReasonCode::NotAuthorized,
        ),
        (
            Error::not_found("x"),
            ReasonCode::TopicNameInvalid,
            ReasonCode::TopicFilterInvalid,
        ),
        (
            Error::validation(vec![]),
            ReasonCode::PayloadFormatInvalid,
            ReasonCode::UnspecifiedError,
        ),
        (
            Error::internal("secret"),
            ReasonCode::UnspecifiedError,
            ReasonCode::UnspecifiedError,
        ),
    ] {
        assert_eq!(publish_refusal(&error).reason, publish, "{error}");
        assert_eq!(subscribe_refusal(&error).reason, subscribe, "{error}");
    }
    assert_eq!(
        publish_refusal(&Error::internal("secret")).text,
        "internal error"
    );
}
