//! SUBSCRIBE and UNSUBSCRIBE.

use super::*;

fn asked(client: &mut Client) -> Vec<(String, SubscriptionKey)> {
    match client.actions().pop() {
        Some(Action::Subscribe(requests)) => requests
            .into_iter()
            .map(|request| (request.filter.to_string(), request.key))
            .collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn mqtt_3_8_4_1_and_3_9_3_1_suback_has_a_code_for_each_filter_in_order() {
    for (version, expected) in [(V3, "SUBACK 7 00 01 02 80"), (V5, "SUBACK 7 00 01 02 87")] {
        let mut client = Client::connected(version);
        client.send(&subscribe(
            version,
            7,
            &[("a/1", 0), ("a/2", 1), ("a/3", 2), ("a/4", 1)],
        ));
        assert!(!client.session.accepts_frames(), "the next packet waits");
        assert_eq!(asked(&mut client).len(), 4);
        let refused = Err(refusal(ReasonCode::NotAuthorized));
        client
            .session
            .handle_subscribed(vec![Ok(()), Ok(()), Ok(()), refused]);
        assert_eq!(client.sent(), [expected]);
        assert!(client.session.accepts_frames());
    }
}

#[test]
fn mqtt_4_7_1_1_an_invalid_filter_fails_alone() {
    for (version, expected) in [(V3, "SUBACK 7 80 01"), (V5, "SUBACK 7 8f 01")] {
        let mut client = Client::connected(version);
        client.send(&subscribe(version, 7, &[("a#", 0), ("a/#", 1)]));
        assert_eq!(asked(&mut client)[0].0, "a/#");
        client.session.handle_subscribed(vec![Ok(())]);
        assert_eq!(client.sent(), [expected]);
    }
}

#[test]
fn mqtt_4_8_2_1_and_2_a_share_needs_a_name_and_a_filter() {
    for version in [V3, V5] {
        let mut client = Client::connected(version);
        client.send(&subscribe(version, 7, &[("$share/g/a", 0)]));
        assert_eq!(asked(&mut client)[0].0, "$share/g/a");
        let mut client = Client::connected(version);
        client.send(&subscribe(version, 7, &[("$share/g", 0)]));
        let refused = if version == V5 {
            "SUBACK 7 8f"
        } else {
            "SUBACK 7 80"
        };
        assert_eq!(client.sent(), [refused]);
    }
}

#[test]
fn mqtt_3_8_4_3_the_same_filter_keeps_its_key() {
    let mut client = Client::connected(V5);
    let first = client.subscribe("a/#", 0);
    assert_eq!(client.subscribe("a/#", 1), first);
    assert_ne!(client.subscribe("a/+", 1), first);
    client.send(&subscribe(V5, 7, &[("b", 0), ("b", 1)]));
    let keys = asked(&mut client);
    assert_eq!(keys[0].1, keys[1].1);
}

#[test]
fn mqtt_3_8_4_3_the_options_of_the_replacement_count() {
    let mut client = Client::connected(V5);
    let key = client.subscribe("a", 1);
    client.subscribe_with("a", 0, &[0x0B, 5]);
    client.deliver(key, message("a", "x"));
    assert_eq!(client.sent(), ["PUBLISH q0 a x sub=5"]);
}

#[test]
fn a_failed_replacement_leaves_the_subscription_as_it_was() {
    let mut client = Client::connected(V5);
    let key = client.subscribe("a", 1);
    client.send(&subscribe(V5, 7, &[("a", 0)]));
    client
        .session
        .handle_subscribed(vec![Err(refusal(ReasonCode::UnspecifiedError))]);
    client.deliver(key, message("a", "x"));
    assert_eq!(client.sent(), ["SUBACK 7 80", "PUBLISH q1 #1 a x"]);
}

#[test]
fn mqtt_3_10_4_4_and_5_unsuback_answers_every_unsubscribe() {
    for (version, expected) in [(V3, "UNSUBACK 8"), (V5, "UNSUBACK 8 00 11")] {
        let mut client = Client::connected(version);
        let key = client.subscribe("a/#", 0);
        client.send(&unsubscribe(version, 8, &["a/#", "b"]));
        assert_eq!(client.sent(), [expected]);
        assert_eq!(client.actions(), [Action::Unsubscribe(key)]);
    }
}

#[test]
fn mqtt_3_10_4_1_filters_are_compared_character_by_character() {
    let mut client = Client::connected(V5);
    client.subscribe("a/#", 0);
    client.send(&unsubscribe(V5, 8, &["A/#", "a/+", "a"]));
    assert_eq!(client.sent(), ["UNSUBACK 8 11 11 11"]);
}

#[test]
fn mqtt_3_10_4_2_nothing_is_delivered_after_unsuback() {
    let mut client = Client::new(V5);
    let receive_maximum = vec![0x21, 0, 1];
    client.connect(&Connect {
        properties: receive_maximum,
        ..Connect::new(V5)
    });
    let key = client.subscribe("a", 1);
    client.deliver(key, message("a", "1"));
    client.deliver(key, message("a", "2")); // waits for the window
    client.send(&unsubscribe(V5, 8, &["a"]));
    client.deliver(key, message("a", "3"));
    client.send(&puback(1));
    assert_eq!(client.sent(), ["PUBLISH q1 #1 a 1", "UNSUBACK 8 00"]);
}

#[test]
fn a_subscribe_that_is_not_one_closes() {
    for (bytes, reason) in [
        (packet(0x82, &[0, 1, 0]), "82"),                  // [MQTT-3.8.3-2]
        (packet(0xA2, &[0, 1, 0]), "82"),                  // [MQTT-3.10.3-2]
        (subscribe(V5, 0, &[("a", 0)]), "82"),             // [MQTT-2.2.1-3]
        (subscribe(V5, 1, &[("a", 3)]), "81"),             // QoS 3
        (subscribe(V5, 1, &[("a", 0x40)]), "81"),          // [MQTT-3.8.3-5]
        (subscribe(V5, 1, &[("a", 0x30)]), "82"),          // retain handling 3
        (subscribe(V5, 1, &[("$share/g/a", 0x04)]), "82"), // [MQTT-3.8.3-4]
        (subscribe(V5, 1, &[("", 0)]), "82"),              // [MQTT-4.7.3-1]
        (subscribe_with(V5, 1, &[("a", 0)], &[0x0B, 0]), "82"), // subscription identifier 0
    ] {
        let mut client = Client::connected(V5);
        client.send(&bytes);
        assert_eq!(
            client.farewell(),
            Some(format!("DISCONNECT {reason}")),
            "{bytes:02x?}"
        );
    }
    let mut client = Client::connected(V3);
    client.send(&subscribe(V3, 1, &[("a", 0x04)]));
    assert_eq!(client.farewell(), None, "3.1.1 has no options but the QoS");
}

#[test]
fn subscriptions_beyond_the_limit_are_refused() {
    let config = MqttConfig {
        max_subscriptions: 2.try_into().unwrap(),
        ..MqttConfig::default()
    };
    let mut client = Client::with_config(V5, config);
    client.connect(&Connect::new(V5));
    client.subscribe("a", 0);
    client.send(&subscribe(V5, 7, &[("b", 0), ("c", 0), ("a", 1)]));
    assert_eq!(asked(&mut client).len(), 2, "b and the replacement of a");
    client.session.handle_subscribed(vec![Ok(()), Ok(())]);
    assert_eq!(client.sent(), ["SUBACK 7 00 97 01"]);
}

#[test]
fn a_packet_while_subscribe_is_answered_is_not_accepted() {
    let mut client = Client::connected(V5);
    client.send(&subscribe(V5, 7, &[("a", 0)]));
    client.actions();
    client.send(&pingreq());
    assert!(matches!(
        client.cause(),
        Some(CloseCause::OutOfOrder { .. })
    ));
    client.session.handle_subscribed(vec![Ok(())]);
    assert_eq!(client.farewell().as_deref(), Some("DISCONNECT 82"));
}

#[test]
fn mqtt_3_10_4_3_a_started_delivery_is_completed_after_unsubscribe() {
    let mut client = Client::connected(V5);
    let key = client.subscribe("a", 2);
    client.deliver(key, message("a", "1"));
    client.send(&unsubscribe(V5, 8, &["a"]));
    client.send(&pubrec(1));
    client.send(&pubcomp(1));
    assert_eq!(
        client.sent(),
        ["PUBLISH q2 #1 a 1", "UNSUBACK 8 00", "PUBREL 1"]
    );
    assert_eq!(client.cause(), None);
}
