//! `decode(encode(p)) == p`, however the bytes are split, with mqttbytes as the other side: it writes what we
//! read, and reads what we write.

#[path = "support/packets.rs"]
mod packets;

use bytes::{Buf, Bytes, BytesMut};
use mqttbytes::{v4, v5};
use proptest::prelude::*;
use proto_mqtt::codec::{
    Frame, FrameLimits, Message, Outbox, Packet, PublishHeader, SubscriptionOptions, decode,
    encode_publish, take_frame,
};
use proto_mqtt::{PacketId, QoS, RetainHandling, Version};

const LIMITS: FrameLimits = FrameLimits {
    publish: 1_000_000,
    control: 1_000_000,
};

/// Feeds the bytes in two pieces; the packet is there exactly when the last byte is.
fn frame(bytes: &[u8], split: usize) -> Frame {
    let split = split % bytes.len();
    let mut buf = BytesMut::from(&bytes[..split]);
    assert_eq!(take_frame(&mut buf, LIMITS), Ok(None));
    buf.extend_from_slice(&bytes[split..]);
    let frame = take_frame(&mut buf, LIMITS).unwrap().expect("complete");
    assert!(buf.is_empty());
    frame
}

/// Text of up to four levels, with all that UTF-8 allows but wildcards and null.
fn topic() -> impl Strategy<Value = String> {
    "[^+#/\0]{1,8}(/[^+#/\0]{0,8}){0,3}"
}
fn text() -> impl Strategy<Value = String> {
    "[^\0]{0,20}"
}
fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..300)
}
fn qos() -> impl Strategy<Value = QoS> {
    prop_oneof![
        Just(QoS::AtMostOnce),
        Just(QoS::AtLeastOnce),
        Just(QoS::ExactlyOnce)
    ]
}
fn theirs(qos: QoS) -> mqttbytes::QoS {
    mqttbytes::qos(qos as u8).unwrap()
}
fn packet_id() -> impl Strategy<Value = PacketId> {
    (1..=u16::MAX).prop_map(|id| PacketId::new(id).unwrap())
}
fn user_properties() -> impl Strategy<Value = Vec<(String, String)>> {
    prop::collection::vec((text(), text()), 0..3)
}

fn v5_publish_properties() -> impl Strategy<Value = v5::PublishProperties> {
    let numbers = (
        prop::option::of(0..2_u8),
        prop::option::of(any::<u32>()),
        prop::option::of(1..100_u16),
    );
    let texts = (
        prop::option::of(topic()),
        prop::option::of(text()),
        prop::option::of(payload()),
    );
    (numbers, texts, user_properties()).prop_map(|(numbers, texts, user_properties)| {
        v5::PublishProperties {
            payload_format_indicator: numbers.0,
            message_expiry_interval: numbers.1,
            topic_alias: numbers.2,
            response_topic: texts.0,
            content_type: texts.1,
            correlation_data: texts.2.map(Bytes::from),
            user_properties,
            subscription_identifiers: Vec::new(),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn publish_from_a_5_0_client(
        topic in topic(), qos in qos(), id in packet_id(), retain: bool, dup: bool,
        payload in payload(), properties in v5_publish_properties(), split: usize,
    ) {
        let dup = dup && qos > QoS::AtMostOnce;
        let mut publish = v5::Publish::new(topic.clone(), theirs(qos), payload.clone());
        (publish.pkid, publish.retain, publish.dup) = (id.get(), retain, dup);
        publish.properties = Some(properties.clone());
        let mut bytes = BytesMut::new();
        publish.write(&mut bytes).unwrap();

        let frame = frame(&bytes, split);
        let Ok(Packet::Publish(read)) = decode(&frame, Version::V5) else { panic!("{bytes:02x?}") };
        prop_assert_eq!((read.topic, read.qos, read.retain, read.dup), (&topic[..], qos, retain, dup));
        prop_assert_eq!(read.packet_id, (qos > QoS::AtMostOnce).then_some(id));
        prop_assert_eq!(read.payload, &payload[..]);
        prop_assert_eq!(read.topic_alias.map(std::num::NonZeroU16::get), properties.topic_alias);
        let read = read.properties;
        prop_assert_eq!(read.payload_format_indicator, properties.payload_format_indicator);
        prop_assert_eq!(read.message_expiry_interval_s, properties.message_expiry_interval);
        prop_assert_eq!(read.content_type, properties.content_type.as_deref());
        prop_assert_eq!(read.response_topic, properties.response_topic.as_deref());
        prop_assert_eq!(read.correlation_data, properties.correlation_data.as_deref());
        let expected: Vec<(&str, &str)> =
            properties.user_properties.iter().map(|(name, value)| (&name[..], &value[..])).collect();
        prop_assert_eq!(read.user_properties, expected);
    }

    #[test]
    fn publish_from_a_3_1_1_client(
        topic in topic(), qos in qos(), id in packet_id(), retain: bool, payload in payload(), split: usize,
    ) {
        let mut publish = v4::Publish::new(topic.clone(), theirs(qos), payload.clone());
        (publish.pkid, publish.retain) = (id.get(), retain);
        let mut bytes = BytesMut::new();
        publish.write(&mut bytes).unwrap();
        let frame = frame(&bytes, split);
        let Ok(Packet::Publish(read)) = decode(&frame, Version::V3_1_1) else { panic!("{bytes:02x?}") };
        prop_assert_eq!((read.topic, read.qos, read.retain), (&topic[..], qos, retain));
        prop_assert_eq!(read.packet_id, (qos > QoS::AtMostOnce).then_some(id));
        prop_assert_eq!(read.payload, &payload[..]);
    }

    #[test]
    fn publish_from_the_server(
        topic in topic(), qos in qos(), id in packet_id(), retain: bool, payload in payload(),
        properties in v5_publish_properties(), identifier in prop::option::of(1..=268_435_455_u32),
    ) {
        let message = Message {
            topic: topic.clone().into(),
            payload: payload.clone().into(),
            properties: Some(std::sync::Arc::new(resource::MessageProperties {
                payload_format_indicator: properties.payload_format_indicator,
                content_type: properties.content_type.clone(),
                response_topic: properties.response_topic.clone(),
                correlation_data: properties.correlation_data.clone(),
                user_properties: properties.user_properties.clone(),
                ..resource::MessageProperties::default()
            })),
            content_type: None,
        };
        let header = PublishHeader {
            dup: false,
            qos,
            retain,
            packet_id: (qos > QoS::AtMostOnce).then_some(id),
            subscription_identifier: identifier,
            message_expiry_interval_s: properties.message_expiry_interval,
            topic_alias: None,
        };
        let mut outbox = Outbox::new();
        encode_publish(Version::V5, &header, &message, &mut outbox).unwrap();
        encode_publish(Version::V3_1_1, &header, &message, &mut outbox).unwrap();
        let mut bytes = BytesMut::from(&outbox.copy_to_bytes(outbox.len())[..]);

        let Ok(v5::Packet::Publish(read)) = v5::read(&mut bytes, usize::MAX) else { panic!("{bytes:02x?}") };
        let mut expected = v5::Publish::new(topic.clone(), theirs(qos), payload.clone());
        (expected.pkid, expected.retain) = (header.packet_id.map_or(0, PacketId::get), retain);
        expected.properties = Some(v5::PublishProperties {
            topic_alias: None,
            subscription_identifiers: identifier.into_iter().map(|number| number as usize).collect(),
            ..properties
        });
        // mqttbytes has no properties where there are none.
        if read.properties.is_none() {
            expected.properties = None;
        }
        prop_assert_eq!(read, expected);

        let Ok(v4::Packet::Publish(read)) = v4::read(&mut bytes, usize::MAX) else { panic!("{bytes:02x?}") };
        let mut expected = v4::Publish::new(topic, theirs(qos), payload);
        (expected.pkid, expected.retain) = (header.packet_id.map_or(0, PacketId::get), retain);
        prop_assert_eq!(read, expected);
        prop_assert!(bytes.is_empty());
    }

    #[test]
    fn connect_from_a_5_0_client(
        client_id in text(), clean_session: bool, keep_alive: u16, login in prop::option::of((text(), text())),
        will in prop::option::of((topic(), payload(), qos(), any::<bool>(), any::<u32>())),
        numbers in (any::<u32>(), 1..=u16::MAX, 1..=u32::MAX, any::<u16>(), 0..2_u8, 0..2_u8), split: usize,
    ) {
        let mut connect = v5::Connect::new(client_id.clone());
        (connect.clean_session, connect.keep_alive) = (clean_session, keep_alive);
        // Our own default is true, theirs empty.
        connect.login = login.clone().map(|(username, password)| v5::Login { username, password });
        connect.last_will = will.clone().map(|(topic, payload, qos, retain, delay)| v5::LastWill {
            topic,
            message: payload.into(),
            qos: theirs(qos),
            retain,
            properties: Some(v5::WillProperties {
                delay_interval: Some(delay),
                payload_format_indicator: None,
                message_expiry_interval: None,
                content_type: None,
                response_topic: None,
                correlation_data: None,
                user_properties: Vec::new(),
            }),
        });
        connect.properties = Some(v5::ConnectProperties {
            session_expiry_interval: Some(numbers.0),
            receive_maximum: Some(numbers.1),
            max_packet_size: Some(numbers.2),
            topic_alias_max: Some(numbers.3),
            request_response_info: Some(numbers.4),
            request_problem_info: Some(numbers.5),
            user_properties: Vec::new(),
            authentication_method: None,
            authentication_data: None,
        });
        let mut bytes = BytesMut::new();
        connect.write(&mut bytes).unwrap();

        let frame = frame(&bytes, split);
        let Ok(Packet::Connect(read)) = decode(&frame, Version::V3_1_1) else { panic!("{bytes:02x?}") };
        prop_assert_eq!(read.version, Version::V5);
        prop_assert_eq!((read.client_id, read.clean_start, read.keep_alive_s), (&client_id[..], clean_session, keep_alive));
        prop_assert_eq!(read.session_expiry_interval_s, numbers.0);
        prop_assert_eq!(read.receive_maximum.map(|number| number.get()), Some(numbers.1));
        prop_assert_eq!(read.maximum_packet_size.map(|number| number.get()), Some(numbers.2));
        prop_assert_eq!(read.topic_alias_maximum, numbers.3);
        prop_assert_eq!(read.request_response_information, numbers.4 == 1);
        prop_assert_eq!(read.request_problem_information, numbers.5 == 1);
        let present = |text: String| Some(text).filter(|text| !text.is_empty());
        let (username, password) = login.map_or((None, None), |(name, pass)| (present(name), present(pass)));
        prop_assert_eq!(read.username, username.as_deref());
        prop_assert_eq!(read.password, password.as_deref().map(str::as_bytes));
        let read = read.will.map(|will| {
            (will.topic.to_owned(), will.payload.to_vec(), will.qos, will.retain, will.delay_interval_s)
        });
        prop_assert_eq!(read, will);
    }

    #[test]
    fn subscribe_from_a_5_0_client(
        id in packet_id(), split: usize,
        filters in prop::collection::vec((topic(), qos(), any::<bool>(), any::<bool>(), 0..3_u8), 1..5),
    ) {
        let options = |(_, qos, no_local, retain_as_published, handling): &(String, QoS, bool, bool, u8)| {
            *qos as u8 | u8::from(*no_local) << 2 | u8::from(*retain_as_published) << 3 | handling << 4
        };
        let asked: Vec<(&str, u8)> = filters.iter().map(|filter| (&filter.0[..], options(filter))).collect();
        let bytes = packets::subscribe(Version::V5, id.get(), &asked);
        let frame = frame(&bytes, split);
        let read = decode(&frame, Version::V5);
        // A share name in front of No Local is refused.
        prop_assume!(!filters.iter().any(|filter| filter.2 && filter.0.starts_with("$share/")));
        let Ok(Packet::Subscribe(read)) = read else { panic!("{bytes:02x?}") };
        let expected: Vec<(&str, SubscriptionOptions)> = filters.iter().map(|filter| {
            let (topic, qos, no_local, retain_as_published, handling) = filter;
            let retain_handling = match handling {
                0 => RetainHandling::Send,
                1 => RetainHandling::SendIfNew,
                _ => RetainHandling::DoNotSend,
            };
            let (qos, no_local, retain_as_published) = (*qos, *no_local, *retain_as_published);
            (&topic[..], SubscriptionOptions { qos, no_local, retain_as_published, retain_handling })
        }).collect();
        prop_assert_eq!((read.packet_id, read.filters), (id, expected));
    }
}
