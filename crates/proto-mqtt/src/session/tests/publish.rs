//! Publications from the client.

use super::*;

fn done(client: &mut Client, acknowledgement: Acknowledgement, result: Result<(), Refusal>) {
    client
        .session
        .handle_published(Some(acknowledgement), result);
}

fn id(number: u16) -> crate::PacketId {
    crate::PacketId::new(number).unwrap()
}

#[test]
fn mqtt_3_3_4_1_qos_0_is_not_answered() {
    for version in BOTH {
        let mut client = Client::connected(version);
        client.send(&publish(version, "Dog/1", "{}", 0, 0));
        assert_eq!(client.published(), ["Dog/1 {}"]);
        client
            .session
            .handle_published(None, Err(refusal(ReasonCode::NotAuthorized)));
        assert!(client.sent().is_empty());
        assert_eq!(client.session.counters().publishes_refused, 1);
    }
}

#[test]
fn mqtt_4_3_2_4_qos_1_is_acknowledged_once_published() {
    for version in BOTH {
        let mut client = Client::connected(version);
        client.send(&publish(version, "Dog/1", "{}", 1, 7));
        assert_eq!(client.published(), ["Dog/1 {}"]);
        assert!(client.sent().is_empty());
        done(&mut client, Acknowledgement::PubAck(id(7)), Ok(()));
        assert_eq!(client.sent(), ["PUBACK 7"]);
    }
}

#[test]
fn mqtt_4_3_2_5_an_acknowledged_identifier_is_a_new_publication() {
    let mut client = Client::connected(V5);
    for _ in 0..2 {
        client.send(&publish(V5, "Dog/1", "{}", 1, 7));
        assert_eq!(client.published().len(), 1);
        done(&mut client, Acknowledgement::PubAck(id(7)), Ok(()));
    }
    assert_eq!(client.sent(), ["PUBACK 7", "PUBACK 7"]);
}

#[test]
fn a_refusal_is_told_in_5_0_and_acknowledged_in_3_1_1() {
    for (version, puback, pubrec) in [
        (V3, "PUBACK 7", "PUBREC 8"),
        (V5, "PUBACK 7 87", "PUBREC 8 99"),
    ] {
        let mut client = Client::connected(version);
        client.send(&publish(version, "Dog/1", "{}", 1, 7));
        client.send(&publish(version, "Dog/1", "{}", 2, 8));
        assert_eq!(client.published().len(), 2);
        done(
            &mut client,
            Acknowledgement::PubAck(id(7)),
            Err(refusal(ReasonCode::NotAuthorized)),
        );
        done(
            &mut client,
            Acknowledgement::PubRec(id(8)),
            Err(refusal(ReasonCode::PayloadFormatInvalid)),
        );
        assert_eq!(client.sent(), [puback, pubrec]);
    }
}

#[test]
fn a_refusal_closes_a_3_1_1_connection_if_configured() {
    let config = MqttConfig {
        close_on_refused_publish: true,
        ..MqttConfig::default()
    };
    let mut client = Client::with_config(V3, config);
    client.connect(&Connect::new(V3));
    client.send(&publish(V3, "Dog/1", "{}", 1, 7));
    done(
        &mut client,
        Acknowledgement::PubAck(id(7)),
        Err(refusal(ReasonCode::NotAuthorized)),
    );
    assert!(matches!(
        client.cause(),
        Some(CloseCause::PublishRefused(_))
    ));
    assert_eq!(client.farewell(), None);
}

#[test]
fn mqtt_4_3_3_10_a_qos_2_publication_that_comes_again_is_published_once() {
    for version in BOTH {
        let mut client = Client::connected(version);
        let publish = publish(version, "Dog/1", "{}", 2, 7);
        client.send(&publish);
        assert_eq!(client.published(), ["Dog/1 {}"]);
        client.send(&publish);
        assert!(client.actions().is_empty(), "still being published");
        done(&mut client, Acknowledgement::PubRec(id(7)), Ok(()));
        assert_eq!(client.sent(), ["PUBREC 7"]);
        client.send(&publish);
        assert!(client.actions().is_empty());
        assert_eq!(client.sent(), ["PUBREC 7"]);
        client.send(&pubrel(7));
        assert_eq!(client.sent(), ["PUBCOMP 7"]); // [MQTT-4.3.3-11]
        client.send(&publish);
        assert_eq!(client.published(), ["Dog/1 {}"], "[MQTT-4.3.3-12]");
    }
}

#[test]
fn mqtt_4_3_3_9_a_refused_qos_2_identifier_is_free_again() {
    let mut client = Client::connected(V5);
    let publish = publish(V5, "Dog/1", "{}", 2, 7);
    client.send(&publish);
    client.actions();
    done(
        &mut client,
        Acknowledgement::PubRec(id(7)),
        Err(refusal(ReasonCode::NotAuthorized)),
    );
    client.send(&publish);
    assert_eq!(client.published().len(), 1);
}

#[test]
fn a_pubrel_for_nothing_is_completed_all_the_same() {
    for (version, expected) in [(V3, "PUBCOMP 5"), (V5, "PUBCOMP 5 92")] {
        let mut client = Client::connected(version);
        client.send(&pubrel(5));
        assert_eq!(client.sent(), [expected]);
    }
}

#[test]
fn mqtt_3_3_4_7_more_than_the_receive_maximum_closes() {
    let config = MqttConfig {
        receive_maximum: 2.try_into().unwrap(),
        ..MqttConfig::default()
    };
    let mut client = Client::with_config(V5, config.clone());
    client.connect(&Connect::new(V5));
    client.send(&publish(V5, "Dog/1", "{}", 1, 1));
    client.send(&publish(V5, "Dog/1", "{}", 2, 2));
    done(&mut client, Acknowledgement::PubAck(id(1)), Ok(()));
    client.send(&publish(V5, "Dog/1", "{}", 1, 3));
    client.sent();
    assert_eq!(client.cause(), None);
    client.send(&publish(V5, "Dog/1", "{}", 1, 4));
    assert_eq!(client.farewell().as_deref(), Some("DISCONNECT 93"));

    let mut client = Client::with_config(V3, config);
    client.connect(&Connect::new(V3));
    (1..9).for_each(|id| client.send(&publish(V3, "Dog/1", "{}", 1, id)));
    assert_eq!(client.cause(), None, "3.1.1 knows no such limit");
}

#[test]
fn mqtt_3_3_2_12_topic_aliases_stand_for_their_topic() {
    let alias = |number: u16| [&[0x23][..], &number.to_be_bytes()].concat();
    let mut client = Client::connected(V5);
    client.send(&publish_with(V5, "Dog/1", "a", 0, 0, &alias(16), false));
    client.send(&publish_with(V5, "", "b", 0, 0, &alias(16), false));
    client.send(&publish_with(V5, "Dog/2", "c", 0, 0, &alias(16), false));
    client.send(&publish_with(V5, "", "d", 0, 0, &alias(16), false));
    assert_eq!(
        client.published(),
        ["Dog/1 a", "Dog/1 b", "Dog/2 c", "Dog/2 d"]
    );
    // [MQTT-3.3.2-9]
    client.send(&publish_with(V5, "Dog/1", "", 0, 0, &alias(17), false));
    assert_eq!(client.farewell().as_deref(), Some("DISCONNECT 94"));
    let mut client = Client::connected(V5);
    client.send(&publish_with(V5, "", "", 0, 0, &alias(1), false));
    assert_eq!(client.farewell().as_deref(), Some("DISCONNECT 82"));
}

#[test]
fn properties_and_qos_travel_with_the_publication() {
    let properties = [
        &[0x01, 1, 0x26][..],
        &string("a"),
        &string("b"),
        &[0x09],
        &binary(&[1, 2]),
    ]
    .concat();
    let mut client = Client::connected(V5);
    client.send(&publish_with(V5, "Dog/1", "{}", 2, 7, &properties, true));
    let Some(Action::Publish(request)) = client.session.poll_action() else {
        panic!()
    };
    assert!(request.retain);
    assert_eq!(
        (request.qos, request.properties.qos),
        (QoS::ExactlyOnce, Some(2))
    );
    assert_eq!(request.properties.payload_format_indicator, Some(1));
    assert_eq!(
        request.properties.user_properties,
        [("a".to_owned(), "b".to_owned())]
    );
    assert_eq!(
        request.properties.correlation_data.as_deref(),
        Some(&[1, 2][..])
    );
}

#[test]
fn a_malformed_packet_closes_with_its_reason() {
    for (bytes, reason) in [
        (packet(0x36, &[]), "81"),            // QoS 3, [MQTT-3.3.1-4]
        (packet(0x38, &string("a")), "81"),   // DUP on QoS 0, [MQTT-3.3.1-2]
        (publish(V5, "a/+", "", 0, 0), "90"), // [MQTT-3.3.2-2]
        (publish(V5, "", "", 0, 0), "82"),    // [MQTT-4.7.3-1]
        (publish(V5, "a", "", 1, 0), "82"),   // [MQTT-2.2.1-3]
        (publish_with(V5, "a", "", 0, 0, &[0x0B, 1], false), "81"), // [MQTT-3.3.4-6]
        (packet(0x20, &[0, 0]), "82"),        // CONNACK from a client
        (vec![0x30, 0xFF, 0xFF, 0xFF, 0xFF], "81"),
        (vec![0x82, 0x80, 0x80, 0x80, 0x01], "95"),
        (packet(0xC0, &[0]), "81"),
        (packet(0x40, &[0, 1, 0x8E]), "81"), // [MQTT-3.4.2-1]
    ] {
        let mut client = Client::connected(V5);
        client.send(&bytes);
        assert_eq!(
            client.farewell(),
            Some(format!("DISCONNECT {reason}")),
            "{bytes:02x?}"
        );
        assert!(
            client
                .cause()
                .is_some_and(CloseCause::is_protocol_violation)
        );
    }
}

#[test]
fn what_was_accepted_before_a_violation_is_still_published() {
    let mut client = Client::connected(V5);
    client.send(&[publish(V5, "Dog/1", "{}", 1, 1), packet(0x36, &[])].concat());
    assert_eq!(client.farewell().as_deref(), Some("DISCONNECT 81"));
    assert_eq!(client.published(), ["Dog/1 {}"]);
    done(&mut client, Acknowledgement::PubAck(id(1)), Ok(()));
    assert!(
        client.sent().is_empty(),
        "[MQTT-3.14.4-1]: nothing after DISCONNECT"
    );
}

#[test]
fn mqtt_3_1_2_29_reason_strings_are_left_out_if_not_wanted() {
    let answer_bytes = |wanted: u8| {
        let mut client = Client::new(V5);
        client.connect(&Connect {
            properties: vec![0x17, wanted],
            ..Connect::new(V5)
        });
        client.send(&publish(V5, "Dog/1", "{}", 1, 1));
        done(
            &mut client,
            Acknowledgement::PubAck(id(1)),
            Err(refusal(ReasonCode::NotAuthorized)),
        );
        client.session.outbox().len()
    };
    assert_eq!(answer_bytes(0), 5);
    assert_eq!(answer_bytes(1), 5 + 1 + 3 + "because".len());
}

#[test]
fn a_response_topic_has_no_wildcards() {
    let mut client = Client::connected(V5);
    let properties = [&[0x08][..], &string("a/#")].concat();
    client.send(&publish_with(V5, "Dog/1", "", 0, 0, &properties, false));
    assert_eq!(client.farewell().as_deref(), Some("DISCONNECT 90"));
}
