//! The driver over pipes: order, acknowledgement after commit, take-over, permissions, slow and silent clients.

#[path = "support/memory.rs"]
mod memory;
#[path = "support/packets.rs"]
mod packets;

use std::time::Duration;

use proto_mqtt::{CloseCause, Identity, MqttConfig, Version};
use resource::hub::QueueLimits;
use resource::{Caller, Credentials, Hub};
use tokio::io::AsyncReadExt;

use memory::*;
use packets::*;

const V3: Version = Version::V3_1_1;
const V5: Version = Version::V5;
const BOTH: [Version; 2] = [V3, V5];

#[tokio::test]
async fn a_retained_publication_is_the_record_and_every_change_is_delivered() {
    for version in BOTH {
        let server = Server::new();
        let mut publisher = server.connect(version, "p").await;
        publisher
            .send(&publish_with(
                version,
                "Dog/1",
                "{\"name\":\"Rex\"}",
                1,
                1,
                &[],
                true,
            ))
            .await;
        publisher.expect(&["PUBACK 1"]).await;
        assert_eq!(
            server.dog.record("1").as_deref(),
            Some("{\"name\":\"Rex\"}")
        );

        let mut subscriber = server.connect(version, "s").await;
        subscriber.subscribe("Dog/1", 1).await;
        subscriber
            .expect(&["PUBLISH q1 retain #1 Dog/1 {\"name\":\"Rex\"}"])
            .await;
        server.dog.put("1", "{\"name\":\"Max\"}");
        subscriber
            .expect(&["PUBLISH q1 #2 Dog/1 {\"name\":\"Max\"}"])
            .await;
        publisher
            .send(&publish(version, "Dog/1", "{\"event\":\"bark\"}", 1, 2))
            .await;
        subscriber
            .expect(&["PUBLISH q1 #3 Dog/1 {\"event\":\"bark\"}"])
            .await;
        assert_eq!(
            server.dog.record("1").as_deref(),
            Some("{\"name\":\"Max\"}"),
            "a message changes nothing"
        );
        publisher
            .send(&publish_with(version, "Dog/1", "", 1, 3, &[], true))
            .await;
        publisher.expect(&["PUBACK 2", "PUBACK 3"]).await;
        subscriber.expect(&["PUBLISH q1 #4 Dog/1"]).await;
        assert_eq!(server.dog.record("1"), None);
    }
}

#[tokio::test]
async fn wildcards_filter_the_state_and_the_changes() {
    let server = Server::new();
    for key in ["a", "a/b", "a/b/c"] {
        server.dog.put(key, "{}");
    }
    server.sensor.put("5", "{}");
    for (filter, state, change) in [
        ("Dog/#", &["Dog/a", "Dog/a/b", "Dog/a/b/c"][..], "x"),
        ("Dog/a/#", &["Dog/a", "Dog/a/b", "Dog/a/b/c"], "a/z"),
        ("Dog/+", &["Dog/a"], "x"),
        ("Dog/+/b", &["Dog/a/b"], "z/b"),
        ("Sensor/+", &["Sensor/5"], "7"),
        ("Sensor/5", &["Sensor/5"], "5"),
    ] {
        let mut client = server.connect(V5, "s").await;
        client.subscribe(filter, 0).await;
        for topic in state {
            client
                .expect(&[&format!("PUBLISH q0 retain {topic} {{}}")])
                .await;
        }
        let (table, path) = match filter.starts_with("Dog") {
            true => (&server.dog, "Dog"),
            false => (&server.sensor, "Sensor"),
        };
        if path == "Dog" {
            table.put("other/than/that/one", "{}");
        }
        table.put(change, "{\"new\":1}");
        if filter == "Dog/#" {
            client
                .expect(&["PUBLISH q0 Dog/other/than/that/one {}"])
                .await;
        }
        client
            .expect(&[&format!("PUBLISH q0 {path}/{change} {{\"new\":1}}")])
            .await;
        for key in ["x", "a/z", "z/b", "other/than/that/one"] {
            client
                .send(&publish_with(
                    V5,
                    &format!("Dog/{key}"),
                    "",
                    1,
                    9,
                    &[],
                    true,
                ))
                .await;
        }
        client.send(&disconnect()).await;
        client.cause().await;
    }
}

#[tokio::test]
async fn packets_of_one_connection_are_handled_in_order_even_in_one_write() {
    for version in BOTH {
        let server = Server::new();
        let mut client = server.open(version, Identity::None, 64 * 1024);
        let everything = [
            user_connect(version).encode(),
            publish_with(version, "Dog/1", "{\"n\":1}", 0, 0, &[], true),
            subscribe(version, 1, &[("Dog/1", 0)]),
            publish_with(version, "Dog/1", "{\"n\":2}", 0, 0, &[], true),
            unsubscribe(version, 2, &["Dog/1"]),
            publish_with(version, "Dog/1", "{\"n\":3}", 0, 0, &[], true),
            pingreq(),
        ]
        .concat();
        client.send(&everything).await;
        client.expect(&["CONNACK 0 00", "SUBACK 1 00"]).await;
        let mut rest = Vec::new();
        loop {
            match client.next().await.as_str() {
                "PINGRESP" => break,
                line => rest.push(line.to_owned()),
            }
        }
        // The state was there before the unsubscription; whether the change made it is a matter of time.
        rest.retain(|line| !line.starts_with("PUBLISH q0 Dog/1 {\"n\":2}"));
        let unsuback = if version == V5 {
            "UNSUBACK 2 00"
        } else {
            "UNSUBACK 2"
        };
        rest.retain(|line| line != "PUBLISH q0 retain Dog/1 {\"n\":1}");
        assert_eq!(rest, [unsuback]);
        client.send(&disconnect()).await;
        client.cause().await;
        assert_eq!(server.dog.record("1").as_deref(), Some("{\"n\":3}"));
    }
}

#[tokio::test]
async fn a_client_that_subscribes_and_publishes_at_once_hears_itself() {
    let server = Server::new();
    let mut client = server.connect(V5, "c").await;
    client
        .send(
            &[
                subscribe(V5, 1, &[("Dog/1", 1)]),
                publish(V5, "Dog/1", "{}", 1, 5),
            ]
            .concat(),
        )
        .await;
    client.expect(&["SUBACK 1 01"]).await;
    let mut both = [client.next().await, client.next().await];
    both.sort();
    assert_eq!(both, ["PUBACK 5", "PUBLISH q1 #1 Dog/1 {}"]);
}

#[tokio::test]
async fn mqtt_6_0_0_2_packets_may_arrive_byte_by_byte() {
    let server = Server::new();
    let mut client = server.open(V5, Identity::None, 1);
    let bytes = [
        user_connect(V5).encode(),
        publish_with(V5, "Dog/1", "{}", 1, 7, &[], true),
    ]
    .concat();
    let (mut read, mut write) = tokio::io::split(client.stream);
    let writer = async {
        tokio::io::AsyncWriteExt::write_all(&mut write, &bytes)
            .await
            .unwrap();
        tokio::io::AsyncWriteExt::shutdown(&mut write)
            .await
            .unwrap();
    };
    let mut answer = Vec::new();
    let (_, read) = tokio::join!(writer, read.read_to_end(&mut answer));
    read.unwrap();
    let mut answer = bytes::BytesMut::from(&answer[..]);
    assert_eq!(describe(V5, &mut answer).unwrap(), "CONNACK 0 00");
    assert_eq!(describe(V5, &mut answer).unwrap(), "PUBACK 7");
    client.stream = tokio::io::duplex(1).0; // the old one was split
    assert_eq!(client.cause().await, CloseCause::EndOfStream);
}

#[tokio::test]
async fn mqtt_4_6_0_2_publications_share_commits_and_are_acknowledged_in_order() {
    for version in BOTH {
        let server = Server::new();
        let mut client = server.connect(version, "c").await;
        server.dog.committing.send_replace(false);
        let batch: Vec<u8> = (1..=50)
            .flat_map(|id| publish(version, &format!("Dog/{id}"), "{}", 1 + id as u8 % 2, id))
            .collect();
        client.send(&batch).await;
        // All are handed in before the first is committed; an answer to PINGREQ shows that they were read.
        client.expect_nothing().await;
        let submitted: Vec<String> = (1..=50).map(|id: u16| id.to_string()).collect();
        assert_eq!(*server.dog.submitted.lock().unwrap(), submitted);
        server.dog.committing.send_replace(true);
        for id in 1..=50 {
            let name = if id % 2 == 0 { "PUBACK" } else { "PUBREC" };
            client.expect(&[&format!("{name} {id}")]).await;
        }
    }
}

#[tokio::test]
async fn publications_beyond_the_bound_are_not_read() {
    let config = MqttConfig {
        max_publishes_in_progress: 3.try_into().unwrap(),
        ..MqttConfig::default()
    };
    let server = Server::with_config(config, Hub::new(1));
    let mut client = server.connect(V3, "c").await;
    server.dog.committing.send_replace(false);
    let batch: Vec<u8> = (1..=9)
        .flat_map(|id| publish(V3, "Dog/1", "{}", 1, id))
        .collect();
    client.send(&batch).await;
    let handed_in = || server.dog.submitted.lock().unwrap().len();
    while handed_in() < 3 {
        tokio::task::yield_now().await;
    }
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    assert_eq!(handed_in(), 3);
    server.dog.committing.send_replace(true);
    for id in 1..=9 {
        client.expect(&[&format!("PUBACK {id}")]).await;
    }
}

#[tokio::test]
async fn a_refusal_says_why_in_5_0() {
    let server = Server::new();
    let mut client = server.connect(V5, "c").await;
    for (topic, expected) in [
        ("nothing/1", "PUBACK 1 90"),
        ("/Dog/1", "PUBACK 1 90"),
        ("Sensor/x", "PUBACK 1 90"),
        ("Dog/forbidden", "PUBACK 1 87"),
        ("Dog/invalid", "PUBACK 1 99"),
    ] {
        client.send(&publish(V5, topic, "{}", 1, 1)).await;
        client.expect(&[expected]).await;
    }
    client
        .send(&subscribe(
            V5,
            2,
            &[("nothing/#", 0), ("#", 0), ("Sensor/x", 0), ("Dog/1", 0)],
        ))
        .await;
    client.expect(&["SUBACK 2 8f 8f 8f 00"]).await;
    server.dog.revoke();
    client.send(&subscribe(V5, 3, &[("Dog/2", 0)])).await;
    client.expect(&["SUBACK 3 87"]).await;

    let mut client = server.connect(V3, "d").await;
    client.send(&publish(V3, "nothing/1", "{}", 1, 1)).await;
    client.send(&subscribe(V3, 2, &[("nothing/#", 0)])).await;
    client.expect(&["PUBACK 1", "SUBACK 2 80"]).await;
    assert_eq!(server.broker.statistics().publishes_refused, 6);
}

#[tokio::test]
async fn credentials_and_transport_decide_who_connects() {
    let wrong = |version| Connect {
        password: Some("x"),
        ..user_connect(version)
    };
    let caller = || Identity::Caller(user("u"));
    let none = || Identity::None;
    let local = || Identity::Credentials(Credentials::LocalTrust);
    let certificate = || {
        Identity::Credentials(Credentials::Certificate {
            common_name: "stranger".into(),
        })
    };
    let server = Server::new();
    for (version, connect, identity, expected) in [
        (V3, user_connect(V3), none(), "CONNACK 0 00"),
        (V3, wrong(V3), none(), "CONNACK 0 04"), // R14
        (V5, wrong(V5), none(), "CONNACK 0 86"),
        (V5, wrong(V5), local(), "CONNACK 0 86"),
        (V3, Connect::new(V3), none(), "CONNACK 0 05"),
        (V5, Connect::new(V5), none(), "CONNACK 0 87"),
        (
            V5,
            Connect::new(V5),
            Identity::Caller(Caller::Anonymous),
            "CONNACK 0 87",
        ),
        (V5, Connect::new(V5), caller(), "CONNACK 0 00"),
        (V5, Connect::new(V5), local(), "CONNACK 0 00"),
        (V5, Connect::new(V5), certificate(), "CONNACK 0 87"),
    ] {
        let mut client = server.open(version, identity, 1024);
        client.send(&connect.encode()).await;
        client.expect(&[expected]).await;
        match expected.ends_with("00") {
            true => client.send(&disconnect()).await,
            false => client.expect(&["closed"]).await,
        }
        client.hang_up();
        client.cause().await;
    }
    let config = MqttConfig {
        require_authentication: false,
        ..MqttConfig::default()
    };
    let server = Server::with_config(config, Hub::new(1));
    server.connect_with(&Connect::new(V5)).await;
}

#[tokio::test]
async fn mqtt_3_1_4_3_the_newer_connection_takes_the_session_over() {
    for (version, farewell) in [(V3, "closed"), (V5, "DISCONNECT 8e")] {
        let server = Server::new();
        let mut older = server.connect(version, "c").await;
        let mut newer = server.connect(version, "c").await;
        older.expect(&[farewell]).await;
        assert_eq!(server.broker.sessions().len(), 1);
        newer.expect_nothing().await;
        older.hang_up();
        assert_eq!(older.cause().await, CloseCause::TakenOver);
        assert_eq!(server.broker.statistics().take_overs, 1);
    }
}

#[tokio::test]
async fn m6_another_user_cannot_take_a_session_over() {
    let server = Server::new();
    let mut owner = server.connect(V5, "c").await;
    let mut other = server.open(V5, Identity::None, 1024);
    other
        .send(
            &Connect {
                username: Some("v"),
                client_id: "c",
                ..user_connect(V5)
            }
            .encode(),
        )
        .await;
    other.expect(&["CONNACK 0 87", "closed"]).await;
    owner.expect_nothing().await;
}

#[tokio::test]
async fn r11_a_will_is_published_when_the_stream_ends_and_not_after_disconnect() {
    for version in BOTH {
        let server = Server::new();
        let mut observer = server.connect(version, "o").await;
        observer.subscribe("Dog/#", 0).await;
        let will = |payload| Connect {
            client_id: "w",
            will: Some(("Dog/w", payload, 1, true)),
            ..user_connect(version)
        };
        let mut leaves = server.connect_with(&will("{\"n\":1}")).await;
        leaves.send(&disconnect()).await;
        assert_eq!(leaves.cause().await, CloseCause::Disconnected);
        let mut dies = server.connect_with(&will("{\"n\":2}")).await;
        dies.hang_up();
        assert_eq!(dies.cause().await, CloseCause::EndOfStream);
        observer.expect(&["PUBLISH q0 Dog/w {\"n\":2}"]).await;
        observer.expect_nothing().await;
    }
}

#[tokio::test]
async fn a_publication_right_before_disconnect_is_carried_out() {
    let server = Server::new();
    let mut client = server.connect(V3, "c").await;
    server.dog.committing.send_replace(false);
    client
        .send(
            &[
                publish_with(V3, "Dog/1", "{}", 0, 0, &[], true),
                disconnect(),
            ]
            .concat(),
        )
        .await;
    client.expect(&["closed"]).await;
    assert_eq!(server.dog.record("1"), None);
    server.dog.committing.send_replace(true);
    assert_eq!(client.cause().await, CloseCause::Disconnected);
    assert_eq!(server.dog.record("1").as_deref(), Some("{}"));
}

#[tokio::test]
async fn mqtt_3_3_1_9_to_11_retain_handling_decides_whether_state_is_sent() {
    let server = Server::new();
    server.dog.put("1", "{}");
    let mut client = server.connect(V5, "c").await;
    let state = "PUBLISH q0 retain Dog/1 {}";
    for (handling, expected) in [(1, true), (1, false), (0, true), (2, false), (0, true)] {
        client
            .send(&subscribe(V5, 1, &[("Dog/1", handling << 4)]))
            .await;
        client.expect(&["SUBACK 1 00"]).await;
        if expected {
            client.expect(&[state]).await;
        }
        client.expect_nothing().await;
    }
    server.dog.put("1", "{\"n\":1}");
    client.expect(&["PUBLISH q0 Dog/1 {\"n\":1}"]).await;
    client.expect_nothing().await;
}

#[tokio::test]
async fn u7_overlapping_subscriptions_get_a_copy_each_and_u9_unsubscribe_ends_one() {
    let server = Server::new();
    let mut client = server.connect(V5, "c").await;
    client.subscribe("Dog/#", 0).await;
    client.subscribe("Dog/1", 1).await;
    server.dog.put("1", "{}");
    let mut copies = [client.next().await, client.next().await];
    copies.sort();
    assert_eq!(copies, ["PUBLISH q0 Dog/1 {}", "PUBLISH q1 #1 Dog/1 {}"]);
    client.send(&unsubscribe(V5, 2, &["Dog/#"])).await;
    client.expect(&["UNSUBACK 2 00"]).await;
    server.dog.put("1", "{}");
    client.expect(&["PUBLISH q1 #2 Dog/1 {}"]).await;
    client.expect_nothing().await;
    assert_eq!(server.hub.statistics().subscriptions, 1);
}

#[tokio::test]
async fn bytes_that_are_no_json_come_back_as_they_were() {
    let server = Server::new();
    let mut client = server.connect(V5, "c").await;
    let properties = [&[0x03][..], &string("text/plain")].concat();
    client
        .send(&publish_with(V5, "Dog/1", "hello", 1, 1, &properties, true))
        .await;
    client.expect(&["PUBACK 1"]).await;
    client.subscribe("Dog/1", 0).await;
    client
        .expect(&["PUBLISH q0 retain Dog/1 hello type=text/plain"])
        .await;
    client.send(&publish(V5, "Dog/1", "", 0, 0)).await;
    client.expect(&["PUBLISH q0 Dog/1"]).await;
}

#[tokio::test]
async fn a_large_payload_arrives_whole() {
    let server = Server::new();
    let mut client = server.connect(V5, "c").await;
    client.subscribe("Dog/1", 1).await;
    let payload = format!("{{\"text\":\"{}\"}}", "x".repeat(1_000_000));
    let packet = publish(V5, "Dog/1", &payload, 1, 1);
    let (mut read, mut write) = tokio::io::split(client.stream);
    let writer = async move {
        tokio::io::AsyncWriteExt::write_all(&mut write, &packet)
            .await
            .unwrap()
    };
    let mut received = Vec::new();
    let reader = async {
        let mut chunk = vec![0; 65_536];
        while received.len() < 1_000_000 {
            let count = read.read(&mut chunk).await.unwrap();
            received.extend_from_slice(&chunk[..count]);
        }
    };
    tokio::join!(writer, reader);
    let mut received = bytes::BytesMut::from(&received[..]);
    let mut lines =
        [describe(V5, &mut received), describe(V5, &mut received)].map(Option::unwrap_or_default);
    lines.sort();
    assert_eq!(
        lines,
        [
            "PUBACK 1".to_owned(),
            format!("PUBLISH q1 #1 Dog/1 {payload}")
        ]
    );
}

#[tokio::test]
async fn lost_permission_or_user_ends_the_connection_at_once() {
    for (version, farewell) in [(V3, "closed"), (V5, "DISCONNECT 87")] {
        let server = Server::new();
        let mut reader = server.connect(version, "r").await;
        let mut idle = server.connect(version, "i").await;
        reader.subscribe("Dog/1", 0).await;
        server.dog.revoke();
        server.users.announce_change();
        reader.expect(&[farewell]).await;
        idle.expect_nothing().await;
        server.users.remove("u");
        server.users.announce_change();
        idle.expect(&[farewell]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn permissions_are_checked_every_30_s() {
    let server = Server::new();
    let mut client = server.connect(V5, "c").await;
    server.users.remove("u");
    let before = tokio::time::Instant::now();
    client.expect(&["DISCONNECT 87"]).await;
    let after = before.elapsed();
    assert!(
        (Duration::from_secs(29)..Duration::from_secs(31)).contains(&after),
        "{after:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn r17_silence_closes_after_one_and_a_half_keep_alives() {
    let server = Server::new();
    let mut client = server
        .connect_with(&Connect {
            keep_alive_s: 2,
            ..user_connect(V5)
        })
        .await;
    let before = tokio::time::Instant::now();
    client.expect(&["DISCONNECT 8d", "closed"]).await;
    let after = before.elapsed();
    assert!(
        (Duration::from_secs(3)..Duration::from_secs(4)).contains(&after),
        "{after:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_never_says_connect_is_closed() {
    let server = Server::new();
    let mut client = server.open(V5, Identity::None, 1024);
    client.send(&[0x10]).await;
    client.expect(&["closed"]).await;
    assert!(matches!(
        client.cause().await,
        CloseCause::ConnectTimeout(_)
    ));
}

#[tokio::test(start_paused = true)]
async fn r16_a_reader_that_stops_reading_is_closed_and_others_are_served() {
    let limits = QueueLimits {
        subscriber_events: 100,
        ..QueueLimits::default()
    };
    let server = Server::with_config(MqttConfig::default(), Hub::with_limits(1, limits));
    let mut stuck = server.open(V5, Identity::None, 1024);
    stuck.send(&user_connect(V5).encode()).await;
    stuck.send(&subscribe(V5, 1, &[("Dog/#", 0)])).await;
    let mut reader = server.connect(V5, "r").await;
    reader.subscribe("Dog/#", 0).await;
    let mut writer = server.connect(V5, "w").await;
    let payload = format!("{{\"text\":\"{}\"}}", "x".repeat(1000));
    for _ in 0..2000 {
        writer.send(&publish(V5, "Dog/1", &payload, 0, 0)).await;
        assert!(reader.next().await.ends_with("\"}"));
    }
    let cause = stuck.cause().await;
    assert!(matches!(cause, CloseCause::SlowReader(_)), "{cause}");
    assert_eq!(server.broker.statistics().slow_readers, 1);
    assert_eq!(server.hub.statistics().overflows, 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_but_never_reads_is_not_read_for_ever() {
    let config = MqttConfig {
        outbox_bytes: 1024.try_into().unwrap(),
        ..MqttConfig::default()
    };
    let server = Server::with_config(config, Hub::new(1));
    let mut client = server.open(V5, Identity::None, 512);
    client.send(&user_connect(V5).encode()).await;
    let pings = async {
        loop {
            if tokio::io::AsyncWriteExt::write_all(&mut client.stream, &pingreq())
                .await
                .is_err()
            {
                break;
            }
        }
    };
    pings.await;
    assert!(matches!(client.cause().await, CloseCause::SlowReader(_)));
}

#[tokio::test]
async fn shutdown_is_told_and_leaves_wills() {
    let server = Server::new();
    let will = Connect {
        will: Some(("Dog/w", "{}", 0, true)),
        ..user_connect(V5)
    };
    let mut client = server.connect_with(&will).await;
    server.shutdown.start();
    client.expect(&["DISCONNECT 8b", "closed"]).await;
    client.hang_up();
    assert_eq!(client.cause().await, CloseCause::ShuttingDown);
    assert_eq!(server.dog.record("w").as_deref(), Some("{}"));
}

#[tokio::test]
async fn an_operator_sees_sessions_and_ends_one() {
    let server = Server::new();
    let mut client = server.connect(V5, "c").await;
    let info = server.broker.sessions().remove(0);
    assert_eq!(
        (&*info.client_id, info.username.as_deref(), info.version),
        ("c", Some("u"), V5)
    );
    assert!(!server.broker.disconnect("nobody"));
    assert!(server.broker.disconnect("c"));
    client.expect(&["DISCONNECT 98"]).await;
    client.hang_up();
    client.cause().await;
    let statistics = server.broker.statistics();
    assert_eq!((statistics.sessions, statistics.connections), (0, 1));
    assert_eq!(
        (statistics.packets_received, statistics.packets_sent),
        (1, 2)
    );
    assert!(statistics.bytes_received > 0 && statistics.bytes_sent > 0);
}

#[tokio::test]
async fn a_violation_closes_that_connection_and_touches_no_other() {
    let server = Server::new();
    let mut other = server.connect(V5, "o").await;
    let mut client = server.connect(V5, "c").await;
    client.send(&packet(0x36, &[])).await;
    client.expect(&["DISCONNECT 81", "closed"]).await;
    other.expect_nothing().await;
    client.hang_up();
    client.cause().await;
    assert_eq!(server.broker.statistics().protocol_violations, 1);
}

/// A worker of its own: a thread with a runtime.
fn on_another_thread<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> std::thread::JoinHandle<T> {
    std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(future)
    })
}

#[tokio::test]
async fn r12_a_session_is_taken_over_across_workers() {
    let server = Server::new();
    let (mut older, serving) = server.open_unserved(V5);
    let worker = on_another_thread(serving);
    older.send(&user_connect(V5).encode()).await;
    older.expect(&["CONNACK 0 00"]).await;
    let mut newer = server.connect(V5, "c").await;
    older.expect(&["DISCONNECT 8e"]).await;
    older.hang_up();
    assert_eq!(worker.join().unwrap(), CloseCause::TakenOver);
    newer.expect_nothing().await;
    assert_eq!(server.broker.sessions().len(), 1);
}

#[tokio::test]
async fn l3_a_will_has_the_rights_that_its_user_has_when_it_is_published() {
    let server = Server::new();
    let mut observer = server.open(V5, Identity::Credentials(Credentials::LocalTrust), 1024);
    observer
        .send(
            &Connect {
                client_id: "o",
                ..Connect::new(V5)
            }
            .encode(),
        )
        .await;
    observer.expect(&["CONNACK 0 00"]).await;
    observer.subscribe("Dog/w", 0).await;
    let will = Connect {
        will: Some(("Dog/w", "{}", 0, false)),
        ..user_connect(V5)
    };
    let mut client = server.connect_with(&will).await;
    server.users.remove("u");
    client.hang_up();
    assert_eq!(client.cause().await, CloseCause::EndOfStream);
    observer.expect_nothing().await;
    assert_eq!(server.broker.statistics().publishes_refused, 1);
}

#[tokio::test]
async fn mqtt_3_8_4_4_replacing_a_subscription_loses_nothing() {
    for handling in [0, 1, 2] {
        let server = Server::new();
        let mut publisher = server.connect(V5, "p").await;
        let mut subscriber = server.connect(V5, "s").await;
        subscriber.subscribe("Dog/1", 1).await;
        let mut expected = Vec::new();
        for n in 0..40 {
            // Messages, which no state would bring back, around replacements of the subscription.
            publisher
                .send(&publish(V5, "Dog/1", &format!("{{\"n\":{n}}}"), 0, 0))
                .await;
            expected.push(format!("Dog/1 {{\"n\":{n}}}"));
            if n % 4 == 0 {
                subscriber
                    .send(&subscribe(V5, 7, &[("Dog/1", 1 | handling << 4)]))
                    .await;
            }
        }
        let mut received = Vec::new();
        while received.len() < 40 {
            let line = subscriber.next().await;
            if let Some((_, message)) = line.split_once(" Dog/1 ") {
                received.push(format!("Dog/1 {message}"));
                let id = received.len() as u16;
                subscriber.send(&puback(id)).await;
            }
        }
        assert_eq!(received, expected);
        subscriber.expect_only("SUBACK 7 01").await;
    }
}

#[tokio::test]
async fn a_flood_of_publications_leaves_others_their_turn() {
    let limits = QueueLimits {
        subscriber_events: 1000,
        ..QueueLimits::default()
    };
    let server = Server::with_config(MqttConfig::default(), Hub::with_limits(1, limits));
    let mut reader = server.open(V5, Identity::None, 4 * 1024 * 1024);
    let mut writer = server.open(V5, Identity::None, 4 * 1024 * 1024);
    for (client, client_id) in [(&mut reader, "r"), (&mut writer, "w")] {
        client
            .send(
                &Connect {
                    client_id,
                    ..user_connect(V5)
                }
                .encode(),
            )
            .await;
        client.expect(&["CONNACK 0 00"]).await;
    }
    reader.subscribe("Dog/#", 0).await;
    let flood: Vec<u8> = (0..20_000)
        .flat_map(|_| publish(V5, "Dog/1", "{}", 0, 0))
        .collect();
    writer.send(&flood).await;
    for _ in 0..20_000 {
        reader.expect(&["PUBLISH q0 Dog/1 {}"]).await;
    }
    assert_eq!(server.hub.statistics().overflows, 0);
}

#[tokio::test]
async fn mqtt_3_1_2_26_topic_aliases_save_the_topic_and_keep_to_the_clients_maximum() {
    let server = Server::new();
    let connect = Connect {
        properties: vec![0x22, 0, 1],
        ..user_connect(V5)
    };
    let mut client = server.connect_with(&connect).await;
    client.subscribe("Dog/#", 1).await;
    for key in ["first", "second", "first"] {
        server.dog.message(key, "1");
    }
    client
        .expect(&[
            "PUBLISH q1 #1 Dog/first 1 alias=1",
            "PUBLISH q1 #2 Dog/second 1",
            "PUBLISH q1 #3 1 alias=1",
        ])
        .await;
}

#[tokio::test]
async fn mqtt_3_1_2_27_a_client_that_takes_no_topic_aliases_gets_none() {
    for version in BOTH {
        let server = Server::new();
        let mut client = server.connect(version, "c").await;
        client.subscribe("Dog/#", 0).await;
        for _ in 0..2 {
            server.dog.message("first", "1");
            client.expect(&["PUBLISH q0 Dog/first 1"]).await;
        }
    }
}

#[tokio::test]
async fn mqtt_3_2_2_21_a_client_is_told_a_shorter_keep_alive_and_held_to_it() {
    let config = MqttConfig {
        server_keep_alive_s: std::num::NonZeroU16::new(1),
        ..MqttConfig::default()
    };
    let server = Server::with_config(config, Hub::new(1));
    for asked in [0, 60] {
        let mut client = server.open(V5, Identity::None, 64 * 1024);
        let connect = Connect {
            keep_alive_s: asked,
            ..user_connect(V5)
        };
        client.send(&connect.encode()).await;
        client.expect(&["CONNACK 0 00 keepalive=1"]).await;
        client.expect(&["DISCONNECT 8d", "closed"]).await;
        client.cause().await;
    }
    server.connect(V3, "old").await;
}

#[tokio::test]
async fn a_server_reference_sends_clients_elsewhere() {
    let config = MqttConfig {
        server_reference: Some("other:1883".to_owned()),
        ..MqttConfig::default()
    };
    let server = Server::with_config(config, Hub::new(1));
    for (version, answer) in [(V5, "CONNACK 0 9c server=other:1883"), (V3, "CONNACK 0 03")] {
        let mut client = server.open(version, Identity::None, 64 * 1024);
        client.send(&user_connect(version).encode()).await;
        client.expect(&[answer, "closed"]).await;
    }
}
