//! Sessions that outlive their connection and their server: positions, packets in flight, receipts and Wills.

#[path = "support/memory.rs"]
mod memory;
#[path = "support/packets.rs"]
mod packets;

use std::sync::Arc;
use std::time::Duration;

use base::{Shutdown, WorkerId};
use bytes::Bytes;
use proto_mqtt::{Identity, MemorySessions, MqttConfig, SessionStore, Version};
use resource::Hub;

use memory::*;
use packets::*;

const V3: Version = Version::V3_1_1;
const V5: Version = Version::V5;
const BOTH: [Version; 2] = [V3, V5];

/// CONNECT of a session that is kept.
fn lasting(version: Version) -> Connect {
    let expiry = [&[0x11][..], &3600_u32.to_be_bytes()].concat();
    Connect {
        client_id: "s",
        clean_start: false,
        properties: if version == V5 { expiry } else { Vec::new() },
        ..user_connect(version)
    }
}

async fn connect(server: &Server, connect: &Connect, answer: &str) -> Client {
    let mut client = server.open(connect.version, Identity::None, 64 * 1024);
    client.send(&connect.encode()).await;
    client.expect(&[answer]).await;
    client
}

async fn end(mut client: Client) {
    client.hang_up();
    client.cause().await;
}

/// What a server that is killed now leaves behind.
async fn snapshot(server: &Server) -> Arc<dyn SessionStore> {
    let copy = MemorySessions::default();
    for (client_id, record) in server.store.list().await.unwrap() {
        copy.save(&client_id, record).await.unwrap();
    }
    Arc::new(copy)
}

#[tokio::test]
async fn r10_a_durable_session_gets_what_it_did_not_acknowledge_and_what_came_meanwhile() {
    for version in BOTH {
        let server = Server::new();
        let mut client = connect(&server, &lasting(version), "CONNACK 0 00").await;
        client.subscribe("Dog/#", 1).await;
        for n in 1..=6 {
            server.dog.message("a", &n.to_string());
            let line = format!("PUBLISH q1 #{n} Dog/a {n}");
            client.expect(&[&line]).await;
        }
        // Scrambled, and not all.
        for id in [5, 1, 3] {
            client.send(&puback(id)).await;
        }
        client.expect_nothing().await;
        end(client).await;
        server.dog.message("a", "7");
        server.dog.message("b", "8");

        let mut client = connect(&server, &lasting(version), "CONNACK 1 00").await;
        client
            .expect(&[
                "PUBLISH q1 dup #2 Dog/a 2",
                "PUBLISH q1 dup #4 Dog/a 4",
                "PUBLISH q1 dup #6 Dog/a 6",
                "PUBLISH q1 #7 Dog/a 7",
                "PUBLISH q1 #8 Dog/b 8",
            ])
            .await;
        for id in [2, 4, 6, 7, 8] {
            client.send(&puback(id)).await;
        }
        client.expect_nothing().await;
        end(client).await;
        let mut client = connect(&server, &lasting(version), "CONNACK 1 00").await;
        client.expect_nothing().await;
    }
}

#[tokio::test]
async fn mqtt_3_1_2_4_clean_start_discards_the_session() {
    for version in BOTH {
        let server = Server::new();
        let mut client = connect(&server, &lasting(version), "CONNACK 0 00").await;
        client.subscribe("Dog/#", 1).await;
        end(client).await;
        server.dog.message("a", "1");
        let clean = Connect {
            clean_start: true,
            properties: Vec::new(),
            ..lasting(version)
        };
        let mut client = connect(&server, &clean, "CONNACK 0 00").await;
        client.expect_nothing().await;
        end(client).await;
        assert!(server.store.list().await.unwrap().is_empty());
        connect(&server, &lasting(version), "CONNACK 0 00").await;
    }
}

#[tokio::test]
async fn m6_a_kept_session_belongs_to_its_user() {
    let server = Server::new();
    end(connect(&server, &lasting(V5), "CONNACK 0 00").await).await;
    let other = Connect {
        username: Some("v"),
        ..lasting(V5)
    };
    let mut client = server.open(V5, Identity::None, 64 * 1024);
    client.send(&other.encode()).await;
    assert!(client.next().await.starts_with("CONNACK 0 87"));
    connect(&server, &lasting(V5), "CONNACK 1 00").await;
}

#[tokio::test]
async fn mqtt_4_4_0_1_qos_2_goes_on_where_it_stopped_when_the_server_is_killed() {
    for version in BOTH {
        let server = Server::new();
        let mut client = connect(&server, &lasting(version), "CONNACK 0 00").await;
        client.subscribe("Dog/#", 2).await;
        for n in 1..=3 {
            server.dog.message("a", &n.to_string());
            let line = format!("PUBLISH q2 #{n} Dog/a {n}");
            client.expect(&[&line]).await;
        }
        client.send(&pubrec(1)).await;
        client.expect(&["PUBREL 1"]).await;
        client.send(&pubcomp(1)).await;
        client.send(&pubrec(2)).await;
        client.expect(&["PUBREL 2"]).await;

        // PUBREL went out after its state was kept, so nothing after it is needed.
        let restarted = server.restarted(snapshot(&server).await);
        let mut client = connect(&restarted, &lasting(version), "CONNACK 1 00").await;
        client
            .expect(&["PUBREL 2", "PUBLISH q2 dup #3 Dog/a 3"])
            .await;
        client.send(&pubcomp(2)).await;
        client.send(&pubrec(3)).await;
        client.expect(&["PUBREL 3"]).await;
        client.send(&pubcomp(3)).await;
        client.expect_nothing().await;
        end(client).await;
        let mut client = connect(&restarted, &lasting(version), "CONNACK 1 00").await;
        client.expect_nothing().await;
    }
}

/// The same PUBLISH with the DUP flag.
fn again(mut publish: Vec<u8>) -> Vec<u8> {
    publish[0] |= 0x08;
    publish
}

#[tokio::test]
async fn mqtt_4_3_3_10_a_receipt_survives_connection_and_server() {
    for version in BOTH {
        let server = Server::new();
        let mut client = connect(&server, &lasting(version), "CONNACK 0 00").await;
        let once = publish(version, "Dog/a", "{\"n\":1}", 2, 5);
        client.send(&once).await;
        client.expect(&["PUBREC 5"]).await;
        let killed = server.restarted(snapshot(&server).await);
        end(client).await;
        for server in [&server, &killed] {
            let mut client = connect(server, &lasting(version), "CONNACK 1 00").await;
            client.send(&again(once.clone())).await;
            client.expect(&["PUBREC 5"]).await;
            client.send(&pubrel(5)).await;
            client.expect(&["PUBCOMP 5"]).await;
            assert_eq!(server.dog.logged(), 1);
            end(client).await;
        }
        // The identifier is free again.
        let mut client = connect(&server, &lasting(version), "CONNACK 1 00").await;
        client.send(&once).await;
        client.expect(&["PUBREC 5"]).await;
        assert_eq!(server.dog.logged(), 2);
    }
}

#[tokio::test]
async fn r13_a_commit_whose_receipt_was_not_kept_before_the_kill_is_found_in_the_log() {
    for version in BOTH {
        let server = Server::new();
        let mut client = connect(&server, &lasting(version), "CONNACK 0 00").await;
        // The server is killed after the commits of 5 and 6, before the session is kept.
        let store = snapshot(&server).await;
        let publish = |id: u16| publish(version, "Dog/a", &format!("{{\"n\":{id}}}"), 2, id);
        for id in [5, 6] {
            client.send(&publish(id)).await;
            client.expect(&[&format!("PUBREC {id}")]).await;
        }
        let restarted = server.restarted(store);
        let mut client = connect(&restarted, &lasting(version), "CONNACK 1 00").await;
        for id in [5, 6, 7] {
            client.send(&again(publish(id))).await;
            client.expect(&[&format!("PUBREC {id}")]).await;
        }
        assert_eq!(restarted.dog.logged(), 3, "5 and 6 once, 7 was never there");
    }
}

#[tokio::test]
async fn d4_a_subscription_is_durable_before_suback() {
    let server = Server::new();
    let mut client = connect(&server, &lasting(V5), "CONNACK 0 00").await;
    client.subscribe("Dog/#", 1).await;
    let restarted = server.restarted(snapshot(&server).await);
    let mut client = connect(&restarted, &lasting(V5), "CONNACK 1 00").await;
    restarted.dog.message("a", "1");
    client.expect(&["PUBLISH q1 #1 Dog/a 1"]).await;
}

#[tokio::test]
async fn mqtt_3_10_4_1_an_unsubscribed_filter_stays_away() {
    let server = Server::new();
    let mut client = connect(&server, &lasting(V5), "CONNACK 0 00").await;
    client.subscribe("Dog/#", 1).await;
    client.send(&unsubscribe(V5, 2, &["Dog/#"])).await;
    client.expect(&["UNSUBACK 2 00"]).await;
    let restarted = server.restarted(snapshot(&server).await);
    let mut client = connect(&restarted, &lasting(V5), "CONNACK 1 00").await;
    restarted.dog.message("a", "1");
    client.expect_nothing().await;
}

#[tokio::test]
async fn mqtt_3_1_2_23_a_session_ends_with_its_expiry_interval_and_5_0_is_told_a_shorter_one() {
    let config = MqttConfig {
        max_session_expiry_s: 1,
        ..MqttConfig::default()
    };
    let server = Server::with_config(config, Hub::new(1));
    let client = connect(&server, &lasting(V5), "CONNACK 0 00 expiry=1").await;
    end(client).await;
    assert_eq!(server.store.list().await.unwrap().len(), 1);
    let (broker, shutdown) = (Arc::clone(&server.broker), Shutdown::new());
    let maintained = broker.maintain(WorkerId(0), &shutdown);
    tokio::select! {
        () = maintained => {}
        () = until_empty(&*server.store) => {}
    }
    connect(&server, &lasting(V5), "CONNACK 0 00 expiry=1").await;
}

async fn until_empty(store: &dyn SessionStore) {
    while !store.list().await.unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn mqtt_3_1_3_9_a_client_that_is_back_in_time_calls_its_will_off() {
    let server = Server::new();
    let with_will = Connect {
        will: Some(("Dog/w", "{\"gone\":1}", 1, false)),
        will_properties: [&[0x18][..], &1_u32.to_be_bytes()].concat(),
        ..lasting(V5)
    };
    let mut watcher = server.connect(V5, "w").await;
    watcher.subscribe("Dog/w", 0).await;
    end(connect(&server, &with_will, "CONNACK 0 00").await).await;
    let client = connect(&server, &with_will, "CONNACK 1 00").await;
    watcher.expect_nothing().await;
    // Not back in time.
    end(client).await;
    let (broker, shutdown) = (Arc::clone(&server.broker), Shutdown::new());
    let maintained = broker.maintain(WorkerId(0), &shutdown);
    tokio::select! {
        () = maintained => {}
        line = watcher.next() => assert_eq!(line, "PUBLISH q0 Dog/w {\"gone\":1}"),
    }
}

#[tokio::test]
async fn l6_a_will_survives_the_server_and_is_published_once() {
    for version in BOTH {
        let server = Server::new();
        let with_will = Connect {
            client_id: "c",
            will: Some(("Dog/w", "{\"gone\":1}", 1, true)),
            ..user_connect(version)
        };
        let _client = connect(&server, &with_will, "CONNACK 0 00").await;
        let restarted = server.restarted(snapshot(&server).await);
        let mut watcher = restarted.connect(version, "w").await;
        watcher.subscribe("Dog/w", 0).await;
        let (broker, shutdown) = (Arc::clone(&restarted.broker), Shutdown::new());
        let maintained = broker.maintain(WorkerId(0), &shutdown);
        tokio::select! {
            () = maintained => {}
            line = watcher.next() => assert_eq!(line, "PUBLISH q0 Dog/w {\"gone\":1}"),
        }
        assert_eq!(restarted.dog.logged(), 1);
    }
}

#[tokio::test]
async fn l5_disconnect_removes_the_will_and_a_clean_session_leaves_nothing() {
    let server = Server::new();
    let with_will = Connect {
        will: Some(("Dog/w", "{}", 1, false)),
        ..user_connect(V5)
    };
    let mut client = connect(&server, &with_will, "CONNACK 0 00").await;
    assert_eq!(server.store.list().await.unwrap().len(), 1);
    client.send(&disconnect()).await;
    client.cause().await;
    assert!(server.store.list().await.unwrap().is_empty());
    assert_eq!(server.dog.logged(), 0);
}

#[tokio::test]
async fn a_damaged_record_is_a_session_that_begins_anew() {
    let server = Server::new();
    server
        .store
        .save("s", Bytes::from_static(b"\x01\xFF"))
        .await
        .unwrap();
    connect(&server, &lasting(V5), "CONNACK 0 00").await;
}
