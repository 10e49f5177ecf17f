//! CONNECT, CONNACK, Keep Alive, DISCONNECT and the Will.

use super::*;

fn request(client: &mut Client) -> AuthenticateRequest {
    match client.actions().pop() {
        Some(Action::Authenticate(request)) => request,
        other => panic!("{other:?}"),
    }
}

#[test]
fn mqtt_3_1_0_1_the_first_packet_is_connect() {
    let mut client = Client::new(V5);
    client.send(&pingreq());
    assert_eq!(client.farewell(), None);
    assert!(matches!(
        client.cause(),
        Some(CloseCause::OutOfOrder { .. })
    ));
}

#[test]
fn mqtt_3_1_0_2_a_second_connect_closes() {
    for (version, farewell) in [(V3, None), (V5, Some("DISCONNECT 82".to_owned()))] {
        let mut client = Client::connected(version);
        client.send(&Connect::new(version).encode());
        assert_eq!(client.farewell(), farewell);
    }
}

#[test]
fn connect_asks_for_authentication_with_what_it_carries() {
    let mut client = Client::new(V5);
    let connect = Connect {
        username: Some("u"),
        password: Some("p"),
        ..Connect::new(V5)
    };
    client.send(&connect.encode());
    let request = request(&mut client);
    assert_eq!(
        (
            &*request.client_id,
            request.clean_start,
            request.session_expiry_interval_s
        ),
        ("c", true, 0)
    );
    let login = request.login.unwrap();
    assert_eq!((&login.username[..], &login.password[..]), ("u", &b"p"[..]));
    assert!(
        !format!("{login:?}").contains("112"),
        "the password is not printed"
    );
    assert!(!client.session.accepts_frames());
}

#[test]
fn mqtt_3_2_2_a_refusal_is_a_connack_in_the_words_of_the_version_and_the_end() {
    for (reason, v3, v5) in [
        (
            ReasonCode::BadUserNameOrPassword,
            "CONNACK 0 04",
            "CONNACK 0 86",
        ),
        (ReasonCode::NotAuthorized, "CONNACK 0 05", "CONNACK 0 87"),
        (ReasonCode::ServerBusy, "CONNACK 0 03", "CONNACK 0 89"),
        (ReasonCode::SessionTakenOver, "CONNACK 0 03", "CONNACK 0 80"),
    ] {
        for (version, expected) in [(V3, v3), (V5, v5)] {
            let mut client = Client::new(version);
            client.send(&Connect::new(version).encode());
            client
                .session
                .handle_authenticated(Err(refusal(reason)), client.now);
            assert_eq!(client.farewell().as_deref(), Some(expected));
        }
    }
}

#[test]
fn mqtt_3_1_2_2_an_unknown_level_is_told_so() {
    let connect = |level: u8| {
        [
            &[0x10, 13],
            &string("MQTT")[..],
            &[level, 2, 0, 0],
            &string("c")[..],
        ]
        .concat()
    };
    let mut newer = Client::new(V5);
    newer.send(&connect(6));
    assert_eq!(newer.farewell().as_deref(), Some("CONNACK 0 84"));
    let mut older = Client::new(V3);
    older.send(&connect(2));
    assert_eq!(older.farewell().as_deref(), Some("CONNACK 0 01"));
}

#[test]
fn mqtt_3_1_2_1_another_protocol_gets_no_answer() {
    let mut client = Client::new(V3);
    client.send(
        &[
            &[0x10, 13],
            &string("HTTP")[..],
            &[4, 2, 0, 0],
            &string("c")[..],
        ]
        .concat(),
    );
    assert_eq!(client.farewell(), None);
}

#[test]
fn mqtt_3_1_4_1_a_malformed_connect_is_answered_in_5_0_only() {
    for (version, expected) in [(V3, None), (V5, Some("CONNACK 0 81".to_owned()))] {
        let mut client = Client::new(version);
        let mut connect = Connect::new(version).encode();
        connect[9] |= 1; // [MQTT-3.1.2-3]
        client.send(&connect);
        assert_eq!(client.farewell(), expected);
    }
}

#[test]
fn mqtt_3_1_3_7_an_empty_identifier_is_replaced_and_told() {
    let mut client = Client::new(V5);
    client.send(
        &Connect {
            client_id: "",
            ..Connect::new(V5)
        }
        .encode(),
    );
    assert_eq!(&*request(&mut client).client_id, "assigned");
    client
        .session
        .handle_authenticated(Ok(Admission::default()), client.now);
    assert_eq!(client.sent(), ["CONNACK 0 00 assigned=assigned"]);

    let mut client = Client::new(V3);
    client.send(
        &Connect {
            client_id: "",
            ..Connect::new(V3)
        }
        .encode(),
    );
    assert_eq!(&*request(&mut client).client_id, "assigned");
}

#[test]
fn mqtt_3_1_3_8_an_empty_identifier_is_refused_when_state_is_to_be_kept() {
    for (version, clean_start) in [(V3, false), (Version::V3_1, true)] {
        let mut client = Client::new(version);
        client.send(
            &Connect {
                client_id: "",
                clean_start,
                ..Connect::new(version)
            }
            .encode(),
        );
        assert_eq!(client.farewell().as_deref(), Some("CONNACK 0 02"));
    }
}

#[test]
fn mqtt_3_2_2_3_sessions_end_with_their_connection_and_5_0_is_told() {
    let expiry = [&[0x11][..], &3600_u32.to_be_bytes()].concat();
    let connect = Connect {
        clean_start: false,
        properties: expiry,
        ..Connect::new(V5)
    };
    let mut client = Client::new(V5);
    client.send(&connect.encode());
    assert_eq!(request(&mut client).session_expiry_interval_s, 3600);
    client
        .session
        .handle_authenticated(Ok(Admission::default()), client.now);
    assert_eq!(client.sent(), ["CONNACK 0 00 expiry=0"]);

    let mut client = Client::new(V3);
    client.send(
        &Connect {
            clean_start: false,
            ..Connect::new(V3)
        }
        .encode(),
    );
    assert_eq!(request(&mut client).session_expiry_interval_s, u32::MAX);
    client
        .session
        .handle_authenticated(Ok(Admission::default()), client.now);
    assert_eq!(client.sent(), ["CONNACK 0 00"]);
}

#[test]
fn mqtt_4_12_0_7_auth_without_a_method_is_a_protocol_error() {
    let mut client = Client::connected(V5);
    client.send(&packet(0xF0, &[0x18, 0]));
    assert_eq!(client.farewell().as_deref(), Some("DISCONNECT 82"));
    let mut client = Client::connected(V3);
    client.send(&packet(0xF0, &[0x18, 0]));
    assert_eq!(client.farewell(), None);
}

#[test]
fn silence_before_connect_closes() {
    let mut client = Client::new(V5);
    client.advance(Duration::from_millis(9_999));
    assert_eq!(client.cause(), None);
    client.advance(Duration::from_millis(1));
    assert!(matches!(
        client.cause(),
        Some(CloseCause::ConnectTimeout(_))
    ));
    assert_eq!(client.farewell(), None);
}

#[test]
fn mqtt_3_1_2_22_silence_for_one_and_a_half_keep_alives_closes() {
    for (version, farewell) in [(V3, None), (V5, Some("DISCONNECT 8d".to_owned()))] {
        let mut client = Client::new(version);
        client.connect(&Connect {
            keep_alive_s: 2,
            ..Connect::new(version)
        });
        client.advance(Duration::from_millis(2_999));
        assert_eq!(client.cause(), None);
        client.send(&pingreq());
        assert_eq!(client.sent(), ["PINGRESP"]); // [MQTT-3.12.4-1]
        client.advance(Duration::from_millis(2_999));
        assert_eq!(client.cause(), None);
        client.advance(Duration::from_millis(1));
        assert_eq!(client.farewell(), farewell);
    }
}

#[test]
fn a_keep_alive_of_zero_never_ends() {
    let client = Client::connected(V5);
    assert_eq!(client.session.poll_timeout(), None);
}

fn with_will(version: Version) -> Client {
    let mut client = Client::new(version);
    client.connect(&Connect {
        will: Some(("Dog/1", "gone", 1, true)),
        ..Connect::new(version)
    });
    client
}

#[test]
fn mqtt_3_1_2_8_the_will_is_published_when_the_connection_just_ends() {
    for version in BOTH {
        for cause in [
            CloseCause::EndOfStream,
            CloseCause::TakenOver,
            CloseCause::ShuttingDown,
        ] {
            let mut client = with_will(version);
            client.session.close(cause);
            assert_eq!(client.published(), ["retain Dog/1 gone"]);
            client.session.close(CloseCause::EndOfStream);
            assert!(client.actions().is_empty(), "published once");
        }
    }
}

#[test]
fn mqtt_3_14_4_3_a_disconnect_discards_the_will_unless_it_says_otherwise() {
    for version in BOTH {
        let mut client = with_will(version);
        client.send(&disconnect());
        assert_eq!(client.cause(), Some(&CloseCause::Disconnected));
        assert!(client.actions().is_empty());
        assert_eq!(client.farewell(), None);
    }
    let mut client = with_will(V5);
    client.send(&disconnect_with(0x04));
    assert_eq!(client.published(), ["retain Dog/1 gone"]);
}

#[test]
fn a_will_of_a_connection_that_was_refused_is_not_published() {
    let mut client = Client::new(V5);
    client.send(
        &Connect {
            will: Some(("Dog/1", "gone", 1, true)),
            ..Connect::new(V5)
        }
        .encode(),
    );
    client.actions();
    client
        .session
        .handle_authenticated(Err(refusal(ReasonCode::NotAuthorized)), client.now);
    assert!(client.actions().is_empty());
}

#[test]
fn section_3_14_2_2_2_a_session_expiry_cannot_appear_in_disconnect() {
    let mut client = Client::connected(V5);
    client.send(&packet(0xE0, &[0, 5, 0x11, 0, 0, 0, 9]));
    assert_eq!(client.farewell().as_deref(), Some("DISCONNECT 82"));
}

#[test]
fn mqtt_3_14_0_1_causes_from_outside_are_told_in_5_0() {
    for (cause, expected) in [
        (CloseCause::TakenOver, "DISCONNECT 8e"), // [MQTT-3.1.4-3]
        (CloseCause::ShuttingDown, "DISCONNECT 8b"),
        (CloseCause::Administrative, "DISCONNECT 98"),
        (CloseCause::NotAuthorized("x".into()), "DISCONNECT 87"),
        (CloseCause::SlowReader("x".into()), "DISCONNECT 97"),
    ] {
        let mut client = Client::connected(V5);
        client.session.close(cause.clone());
        assert_eq!(client.farewell().as_deref(), Some(expected));
        let mut client = Client::connected(V3);
        client.session.close(cause);
        assert_eq!(client.farewell(), None);
    }
}

#[test]
fn mqtt_3_1_2_24_no_answer_exceeds_the_clients_maximum_packet_size() {
    let size = |bytes: u32| [&[0x27][..], &bytes.to_be_bytes()].concat();
    // A DISCONNECT with its text is longer than 30 bytes, one without fits.
    let mut client = Client::new(V5);
    client.connect(&Connect {
        properties: size(30),
        ..Connect::new(V5)
    });
    client.session.close(CloseCause::TakenOver);
    assert_eq!(client.farewell().as_deref(), Some("DISCONNECT 8e"));
    // What CONNACK has to announce does not fit, the bare refusal may.
    for (limit, expected) in [(10, Some("CONNACK 0 95".to_owned())), (4, None)] {
        let mut client = Client::new(V5);
        client.send(
            &Connect {
                properties: size(limit),
                ..Connect::new(V5)
            }
            .encode(),
        );
        client
            .session
            .handle_authenticated(Ok(Admission::default()), client.now);
        assert_eq!(client.cause(), Some(&CloseCause::AnswerTooLarge));
        assert_eq!(client.farewell(), expected);
    }
}

#[test]
fn a_session_may_be_closed_while_it_authenticates() {
    let mut client = Client::new(V5);
    client.send(&Connect::new(V5).encode());
    client.session.close(CloseCause::ShuttingDown);
    assert_eq!(client.farewell().as_deref(), Some("CONNACK 0 88"));
    assert!(client.actions().is_empty());
    client
        .session
        .handle_authenticated(Ok(Admission::default()), client.now);
    assert!(client.sent().is_empty());
}
