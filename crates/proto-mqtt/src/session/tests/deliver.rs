//! Publications to the client.

use super::*;

#[test]
fn mqtt_3_8_4_8_the_lower_qos_of_publication_and_subscription_counts() {
    for version in BOTH {
        for (subscribed, published, expected) in [
            (0, QoS::ExactlyOnce, "PUBLISH q0 a x"),
            (1, QoS::ExactlyOnce, "PUBLISH q1 #1 a x"),
            (2, QoS::ExactlyOnce, "PUBLISH q2 #1 a x"),
            (2, QoS::AtLeastOnce, "PUBLISH q1 #1 a x"),
            (1, QoS::AtMostOnce, "PUBLISH q0 a x"),
        ] {
            let mut client = Client::connected(version);
            let key = client.subscribe("a", subscribed);
            client.deliver(
                key,
                Publication {
                    qos: published,
                    ..message("a", "x")
                },
            );
            assert_eq!(client.sent(), [expected]);
        }
    }
}

#[test]
fn mqtt_3_3_1_12_and_13_retain_says_state_or_follows_the_publication_if_asked() {
    const RETAIN_AS_PUBLISHED: u8 = 0x08;
    for (options, origin, expected) in [
        (0, Origin::Initial, "PUBLISH q0 retain a x"),
        (0, Origin::Retained, "PUBLISH q0 a x"),
        (0, Origin::Message, "PUBLISH q0 a x"),
        (
            RETAIN_AS_PUBLISHED,
            Origin::Initial,
            "PUBLISH q0 retain a x",
        ),
        (
            RETAIN_AS_PUBLISHED,
            Origin::Retained,
            "PUBLISH q0 retain a x",
        ),
        (RETAIN_AS_PUBLISHED, Origin::Message, "PUBLISH q0 a x"),
    ] {
        let mut client = Client::connected(V5);
        let key = client.subscribe("a", options);
        client.deliver(
            key,
            Publication {
                origin,
                ..message("a", "x")
            },
        );
        assert_eq!(client.sent(), [expected]);
    }
}

#[test]
fn mqtt_3_8_3_3_no_local_leaves_out_what_the_client_published() {
    const NO_LOCAL: u8 = 0x04;
    let own = Publication {
        publisher: Some(Arc::from("c")),
        ..message("a", "own")
    };
    let other = Publication {
        publisher: Some(Arc::from("d")),
        ..message("a", "other")
    };
    for (options, expected) in [
        (0, &["PUBLISH q0 a own", "PUBLISH q0 a other"][..]),
        (NO_LOCAL, &["PUBLISH q0 a other"]),
    ] {
        let mut client = Client::connected(V5);
        let key = client.subscribe("a", options);
        client.deliver(key, own.clone());
        client.deliver(key, other.clone());
        assert_eq!(client.sent(), expected);
    }
}

#[test]
fn mqtt_3_3_4_5_the_subscription_identifier_comes_back() {
    let mut client = Client::connected(V5);
    let key = client.subscribe_with("a", 0, &[0x0B, 0xFF, 0xFF, 0xFF, 0x7F]);
    let plain = client.subscribe("b", 0);
    client.deliver(key, message("a", "x"));
    client.deliver(plain, message("b", "x"));
    assert_eq!(
        client.sent(),
        ["PUBLISH q0 a x sub=268435455", "PUBLISH q0 b x"]
    );
}

#[test]
fn mqtt_3_3_2_17_and_18_properties_are_forwarded_unaltered_in_5_0() {
    let properties = resource::MessageProperties {
        payload_format_indicator: Some(1),
        content_type: Some("text/plain".into()),
        response_topic: Some("r".into()),
        correlation_data: Some("id".into()),
        user_properties: vec![
            ("b".into(), "1".into()),
            ("a".into(), "2".into()),
            ("b".into(), "3".into()),
        ],
        ..resource::MessageProperties::default()
    };
    for (version, expected) in [
        (V3, "PUBLISH q0 a x"),
        (
            V5,
            "PUBLISH q0 a x format=1 type=text/plain response=r correlation=b\"id\" b=1 a=2 b=3",
        ),
    ] {
        let mut client = Client::connected(version);
        let key = client.subscribe("a", 0);
        let mut publication = message("a", "x");
        publication.message.properties = Some(Arc::new(properties.clone()));
        client.deliver(key, publication);
        assert_eq!(client.sent(), [expected]);
    }
}

#[test]
fn mqtt_4_3_2_a_qos_1_identifier_is_free_after_puback() {
    for version in BOTH {
        let mut client = Client::connected(version);
        let key = client.subscribe("a", 1);
        client.deliver(key, message("a", "x"));
        client.deliver(key, message("a", "y"));
        client.send(&puback(1));
        client.send(&puback(1)); // a late one changes nothing
        client.deliver(key, message("a", "z"));
        assert_eq!(
            client.sent(),
            [
                "PUBLISH q1 #1 a x",
                "PUBLISH q1 #2 a y",
                "PUBLISH q1 #3 a z"
            ]
        );
        assert_eq!(client.cause(), None);
    }
}

#[test]
fn mqtt_4_3_3_qos_2_is_delivered_in_two_steps() {
    for version in BOTH {
        let mut client = Client::connected(version);
        let key = client.subscribe("a", 2);
        client.deliver(key, message("a", "x"));
        client.send(&pubrec(1));
        client.send(&pubrec(1));
        client.send(&pubcomp(1));
        assert_eq!(client.sent(), ["PUBLISH q2 #1 a x", "PUBREL 1", "PUBREL 1"]);
        assert_eq!(client.cause(), None);
    }
}

#[test]
fn mqtt_4_4_0_2_a_refused_delivery_counts_as_acknowledged() {
    let mut client = Client::new(V5);
    client.connect(&Connect {
        properties: vec![0x21, 0, 1],
        ..Connect::new(V5)
    });
    let key = client.subscribe("a", 2);
    client.deliver(key, message("a", "x"));
    client.deliver(key, message("a", "y"));
    assert_eq!(client.sent(), ["PUBLISH q2 #1 a x"]);
    client.send(&pubrec_error(1, 0x80));
    assert_eq!(
        client.sent(),
        ["PUBLISH q2 #2 a y"],
        "no PUBREL, and the window is open again"
    );
}

#[test]
fn an_acknowledgement_of_nothing_is_harmless_and_one_of_the_wrong_kind_is_not() {
    for (version, expected) in [(V3, "PUBREL 9"), (V5, "PUBREL 9 92")] {
        let mut client = Client::connected(version);
        client.send(&puback(9));
        client.send(&pubcomp(9));
        client.send(&pubrec(9));
        assert_eq!(client.sent(), [expected]);
        assert_eq!(client.cause(), None);
    }
    for (qos, answer) in [
        (1, pubrec(1)),
        (1, pubcomp(1)),
        (2, puback(1)),
        (2, pubcomp(1)),
    ] {
        let mut client = Client::connected(V5);
        let key = client.subscribe("a", qos);
        client.deliver(key, message("a", "x"));
        client.send(&answer);
        assert_eq!(client.farewell().as_deref(), Some("DISCONNECT 82"));
    }
}

#[test]
fn mqtt_3_3_4_9_no_more_than_the_clients_receive_maximum_is_unacknowledged() {
    let mut client = Client::new(V5);
    client.connect(&Connect {
        properties: vec![0x21, 0, 2],
        ..Connect::new(V5)
    });
    let key = client.subscribe("a", 2);
    ["1", "2", "3", "4"]
        .into_iter()
        .for_each(|payload| client.deliver(key, message("a", payload)));
    assert_eq!(client.sent(), ["PUBLISH q2 #1 a 1", "PUBLISH q2 #2 a 2"]);
    client.send(&pubrec(1));
    assert_eq!(client.sent(), ["PUBREL 1"], "PUBREC alone opens nothing");
    client.send(&pingreq()); // [MQTT-3.3.4-10]
    client.send(&pubcomp(1));
    assert_eq!(client.sent(), ["PINGRESP", "PUBLISH q2 #3 a 3"]);
}

#[test]
fn a_client_without_receive_maximum_has_the_configured_window() {
    for version in BOTH {
        let mut client = Client::connected(version);
        let key = client.subscribe("a", 1);
        (0..101).for_each(|_| client.deliver(key, message("a", "x")));
        assert_eq!(client.sent().len(), 100);
        client.send(&puback(50));
        assert_eq!(client.sent(), ["PUBLISH q1 #101 a x"]);
    }
}

#[test]
fn mqtt_2_2_1_4_identifiers_in_use_are_skipped_when_they_wrap() {
    let mut client = Client::connected(V3);
    let key = client.subscribe("a", 1);
    client.deliver(key, message("a", "first"));
    for id in 2..=u16::MAX {
        client.deliver(key, message("a", "x"));
        client.send(&puback(id));
        client.sent();
    }
    client.deliver(key, message("a", "x"));
    assert_eq!(
        client.sent(),
        ["PUBLISH q1 #2 a x"],
        "1 is still in use, 0 does not exist"
    );
}

#[test]
fn mqtt_3_3_2_5_and_6_expiry_counts_down_and_drops() {
    let mut client = Client::new(V5);
    client.connect(&Connect {
        properties: vec![0x21, 0, 1],
        ..Connect::new(V5)
    });
    let key = client.subscribe("a", 1);
    let expiring = |client: &Client, payload, seconds| Publication {
        expires_at: Some(client.now + Duration::from_secs(seconds)),
        ..message("a", payload)
    };
    client.deliver(key, expiring(&client, "1", 10));
    client.deliver(key, expiring(&client, "2", 10));
    client.deliver(key, expiring(&client, "3", 3));
    client.deliver(key, message("a", "4"));
    client.advance(Duration::from_millis(4_500));
    client.send(&puback(1));
    client.send(&puback(2));
    assert_eq!(
        client.sent(),
        [
            "PUBLISH q1 #1 a 1 expiry=10",
            "PUBLISH q1 #2 a 2 expiry=6",
            "PUBLISH q1 #3 a 4"
        ]
    );
    assert_eq!(client.session.counters().dropped_expired, 1);
}

#[test]
fn mqtt_3_1_2_25_a_delivery_that_is_too_large_is_dropped_as_if_it_were_sent() {
    let mut client = Client::new(V5);
    let properties = [&[0x27][..], &60_u32.to_be_bytes()].concat();
    client.connect(&Connect {
        properties,
        ..Connect::new(V5)
    });
    let key = client.subscribe("a", 1);
    client.deliver(
        key,
        message(
            "a",
            "0123456789012345678901234567890123456789012345678901234567890",
        ),
    );
    client.deliver(key, message("a", "x"));
    assert_eq!(client.sent(), ["PUBLISH q1 #1 a x"]);
    assert_eq!(client.session.counters().dropped_too_large, 1);
}

#[test]
fn a_full_outbox_holds_deliveries_back() {
    let mut client = Client::connected(V5);
    let key = client.subscribe("a", 0);
    let large = Publication {
        message: Message {
            topic: "a".into(),
            payload: vec![b'x'; 65_536].into(),
            ..Message::default()
        },
        ..message("a", "")
    };
    client.deliver(key, large.clone());
    assert!(client.session.is_congested() && !client.session.wants_publications());
    client.deliver(key, large);
    assert_eq!(client.sent().len(), 1);
    client.session.deliver_waiting(client.now);
    assert_eq!(client.sent().len(), 1);
    assert!(client.session.wants_publications());
}
