//! Shared subscriptions (section 4.8.2): who gets what, and what becomes of it when a member leaves.

#[path = "support/memory.rs"]
mod memory;
#[path = "support/packets.rs"]
mod packets;

use std::sync::Arc;

use proto_mqtt::{Identity, MemorySessions, MqttConfig, SessionStore, Version};
use resource::Hub;

use memory::*;
use packets::*;

const V3: Version = Version::V3_1_1;
const V5: Version = Version::V5;
const GROUP: &str = "$share/g/Dog/#";

/// CONNECT of a session that is kept.
fn lasting(client_id: &'static str) -> Connect {
    Connect {
        client_id,
        clean_start: false,
        properties: [&[0x11][..], &3600_u32.to_be_bytes()].concat(),
        ..user_connect(V5)
    }
}

async fn connect(server: &Server, connect: &Connect, answer: &str) -> Client {
    let mut client = server.open(connect.version, Identity::None, 64 * 1024);
    client.send(&connect.encode()).await;
    client.expect(&[answer]).await;
    client
}

async fn member(server: &Server, client_id: &'static str, qos: u8) -> Client {
    let mut client = server.connect(V5, client_id).await;
    client.subscribe(GROUP, qos).await;
    client
}

async fn end(mut client: Client) {
    client.hang_up();
    client.cause().await;
}

async fn snapshot(server: &Server) -> Arc<dyn SessionStore> {
    let copy = MemorySessions::default();
    for (key, record) in server.store.list().await.unwrap() {
        copy.save(&key, record).await.unwrap();
    }
    Arc::new(copy)
}

#[tokio::test]
async fn mqtt_4_8_2_each_message_goes_to_one_member_in_turn_over_all_workers() {
    for version in [V3, V5] {
        let hub = Hub::new(3);
        let server = Server::with_config(MqttConfig::default(), hub.clone());
        let mut members = Vec::new();
        for (worker, client_id) in ["a", "b", "c"].into_iter().enumerate() {
            let mut client = server.open_on(worker, version);
            let connect = Connect {
                client_id,
                ..user_connect(version)
            };
            client.send(&connect.encode()).await;
            client.expect(&["CONNACK 0 00"]).await;
            client.subscribe(GROUP, 0).await;
            members.push(client);
        }
        let mut alone = server.connect(version, "alone").await;
        alone.subscribe("Dog/#", 0).await;
        for n in 0..12 {
            server.dog.message("a", &n.to_string());
        }
        let mut all = Vec::new();
        for client in &mut members {
            let mut own = Vec::new();
            for _ in 0..4 {
                own.push(client.next().await);
            }
            client.expect_nothing().await;
            all.extend(own);
        }
        all.sort();
        let mut expected: Vec<_> = (0..12).map(|n| format!("PUBLISH q0 Dog/a {n}")).collect();
        for line in &expected {
            alone.expect(&[line]).await;
        }
        expected.sort();
        assert_eq!(all, expected);
    }
}

#[tokio::test]
async fn mqtt_4_8_2_a_member_gets_no_retained_messages() {
    let server = Server::new();
    server.dog.put("a", "{}");
    member(&server, "a", 1).await.expect_nothing().await;
}

#[tokio::test]
async fn mqtt_4_8_2_3_the_qos_is_that_of_each_members_subscription() {
    let server = Server::new();
    let (mut one, mut two) = (member(&server, "a", 0).await, member(&server, "b", 1).await);
    for n in 1..=2 {
        server.dog.message("a", &n.to_string());
    }
    one.expect(&["PUBLISH q0 Dog/a 1"]).await;
    two.expect(&["PUBLISH q1 #1 Dog/a 2"]).await;
}

#[tokio::test]
async fn a_slow_member_keeps_nothing_from_the_others() {
    let server = Server::new();
    let mut slow = server
        .connect_with(&Connect {
            client_id: "slow",
            properties: vec![0x21, 0, 1],
            ..user_connect(V5)
        })
        .await;
    slow.subscribe(GROUP, 1).await;
    let mut other = member(&server, "b", 1).await;
    for n in 1..=50 {
        server.dog.message("a", &n.to_string());
    }
    slow.expect(&["PUBLISH q1 #1 Dog/a 1"]).await;
    for n in 2..=50 {
        let line = format!("PUBLISH q1 #{} Dog/a {n}", n - 1);
        other.expect(&[&line]).await;
    }
    slow.send(&puback(1)).await;
    server.dog.message("a", "51");
    slow.expect(&["PUBLISH q1 #2 Dog/a 51"]).await;
}

#[tokio::test]
async fn mqtt_4_8_2_what_a_member_did_not_acknowledge_goes_to_another() {
    let server = Server::new();
    let mut one = member(&server, "a", 1).await;
    for n in 1..=3 {
        server.dog.message("a", &n.to_string());
        let line = format!("PUBLISH q1 #{n} Dog/a {n}");
        one.expect(&[&line]).await;
    }
    one.send(&puback(2)).await;
    one.expect_nothing().await;
    let mut two = member(&server, "b", 1).await;
    end(one).await;
    two.expect(&["PUBLISH q1 #1 Dog/a 1", "PUBLISH q1 #2 Dog/a 3"])
        .await;
}

#[tokio::test]
async fn mqtt_4_8_2_4_qos_2_that_was_sent_is_completed_with_the_same_session() {
    let server = Server::new();
    let mut one = connect(&server, &lasting("a"), "CONNACK 0 00").await;
    one.subscribe(GROUP, 2).await;
    for n in 1..=2 {
        server.dog.message("a", &n.to_string());
        let line = format!("PUBLISH q2 #{n} Dog/a {n}");
        one.expect(&[&line]).await;
    }
    one.send(&pubrec(1)).await;
    one.expect(&["PUBREL 1"]).await;
    let mut two = member(&server, "b", 2).await;
    end(one).await;
    two.expect_nothing().await;
    let mut one = connect(&server, &lasting("a"), "CONNACK 1 00").await;
    one.expect(&["PUBREL 1", "PUBLISH q2 dup #2 Dog/a 2"]).await;
    two.expect_nothing().await;
}

#[tokio::test]
async fn mqtt_4_8_2_5_qos_2_that_was_sent_ends_with_its_session() {
    let server = Server::new();
    let mut one = member(&server, "a", 2).await;
    server.dog.message("a", "1");
    one.expect(&["PUBLISH q2 #1 Dog/a 1"]).await;
    let mut two = member(&server, "b", 2).await;
    end(one).await;
    server.dog.message("a", "2");
    two.expect(&["PUBLISH q2 #1 Dog/a 2"]).await;
}

#[tokio::test]
async fn mqtt_4_8_2_6_what_a_member_refuses_is_discarded() {
    let server = Server::new();
    let mut one = member(&server, "a", 2).await;
    server.dog.message("a", "1");
    one.expect(&["PUBLISH q2 #1 Dog/a 1"]).await;
    let mut two = member(&server, "b", 2).await;
    one.send(&pubrec_error(1, 0x80)).await;
    one.expect_nothing().await;
    end(one).await;
    two.expect_nothing().await;
}

#[tokio::test]
async fn a_group_with_a_durable_member_goes_on_where_it_stopped() {
    let server = Server::new();
    let mut one = connect(&server, &lasting("a"), "CONNACK 0 00").await;
    one.subscribe(GROUP, 1).await;
    for n in 1..=3 {
        server.dog.message("a", &n.to_string());
        let line = format!("PUBLISH q1 #{n} Dog/a {n}");
        one.expect(&[&line]).await;
    }
    for id in [1, 3] {
        one.send(&puback(id)).await;
    }
    one.expect_nothing().await;
    end(one).await;
    server.dog.message("a", "4");
    let restarted = server.restarted(snapshot(&server).await);
    let maintenance = restarted.maintain();
    while restarted.broker.shared_subscriptions() == 0 {
        tokio::task::yield_now().await;
    }
    let mut one = connect(&restarted, &lasting("a"), "CONNACK 1 00").await;
    let mut lines = [one.next().await, one.next().await];
    lines.sort();
    assert_eq!(
        lines,
        ["PUBLISH q1 #4 Dog/a 2", "PUBLISH q1 #5 Dog/a 4"],
        "1 and 3 are finished"
    );
    one.expect_nothing().await;
    restarted.shutdown.start();
    maintenance.await.unwrap();
}

#[tokio::test]
async fn what_a_durable_member_is_away_for_goes_to_those_who_are_there() {
    let server = Server::new();
    let mut one = connect(&server, &lasting("a"), "CONNACK 0 00").await;
    one.subscribe(GROUP, 1).await;
    end(one).await;
    server.dog.message("a", "1");
    let mut two = member(&server, "b", 1).await;
    two.expect(&["PUBLISH q1 #1 Dog/a 1"]).await;
    two.send(&puback(1)).await;
    two.expect_nothing().await;
    let mut one = connect(&server, &lasting("a"), "CONNACK 1 00").await;
    one.expect_nothing().await;
}

#[tokio::test]
async fn a_group_is_forgotten_with_its_last_durable_member() {
    let server = Server::new();
    let mut one = connect(&server, &lasting("a"), "CONNACK 0 00").await;
    one.subscribe(GROUP, 1).await;
    assert!(server.store.load(GROUP).await.unwrap().is_some());
    one.send(&unsubscribe(V5, 2, &[GROUP])).await;
    one.expect(&["UNSUBACK 2 00"]).await;
    assert_eq!(server.broker.shared_subscriptions(), 0);
    one.subscribe(GROUP, 1).await;
    end(one).await;
    assert_eq!(server.broker.shared_subscriptions(), 1);
    let clean = Connect {
        clean_start: true,
        properties: Vec::new(),
        ..lasting("a")
    };
    connect(&server, &clean, "CONNACK 0 00").await;
    assert_eq!(server.broker.shared_subscriptions(), 0);
}

#[tokio::test]
async fn members_of_a_group_need_the_same_permissions() {
    let server = Server::new();
    let _one = member(&server, "a", 1).await;
    let mut other = server
        .connect_with(&Connect {
            client_id: "b",
            username: Some("v"),
            ..user_connect(V5)
        })
        .await;
    other.send(&subscribe(V5, 1, &[(GROUP, 1)])).await;
    other.expect(&["SUBACK 1 87"]).await;
}

#[tokio::test]
async fn a_client_identifier_cannot_stand_for_a_group() {
    let server = Server::new();
    let mut client = server.open(V5, Identity::None, 64 * 1024);
    let connect = Connect {
        client_id: GROUP,
        ..user_connect(V5)
    };
    client.send(&connect.encode()).await;
    assert!(client.next().await.starts_with("CONNACK 0 85"));
}
