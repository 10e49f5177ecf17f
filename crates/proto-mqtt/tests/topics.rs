//! Topics that are no resource: free topics (`mqtt.freeTopics`) and what the broker says about itself.

#[path = "support/memory.rs"]
mod memory;
#[path = "support/packets.rs"]
mod packets;

use std::time::Duration;

use proto_mqtt::{Identity, MqttConfig, Version};
use resource::{Caller, Hub};

use memory::*;
use packets::*;

const V3: Version = Version::V3_1_1;
const V5: Version = Version::V5;
const BOTH: [Version; 2] = [V3, V5];

#[tokio::test]
async fn a_topic_of_no_resource_is_refused_unless_free_topics_are_on() {
    let server = Server::new();
    let mut client = server.connect(V5, "c").await;
    client.send(&publish(V5, "home/hall", "1", 1, 1)).await;
    client
        .send(&subscribe(V5, 2, &[("home/#", 0), ("#", 0)]))
        .await;
    client.expect(&["PUBACK 1 90", "SUBACK 2 8f 8f"]).await;
    server.with_free_topics();
    client.send(&publish(V5, "home/hall", "1", 1, 1)).await;
    client
        .send(&subscribe(V5, 2, &[("home/#", 0), ("#", 0)]))
        .await;
    client.expect(&["PUBACK 1", "SUBACK 2 00 00"]).await;
}

#[tokio::test]
async fn free_topics_carry_any_payload_as_it_is() {
    for version in BOTH {
        let server = Server::new();
        server.with_free_topics();
        let mut subscriber = server.connect(version, "s").await;
        subscriber.subscribe("+/hall/#", 2).await;
        let mut publisher = server.connect(version, "p").await;
        for (id, payload) in [(1, "21.5"), (2, "{ \"a\" : 1 }"), (3, "[1"), (4, "")] {
            let bytes = publish(version, "home/hall", payload, 1, id);
            publisher.send(&bytes).await;
            let line = format!("PUBLISH q1 #{id} home/hall {payload}");
            subscriber.expect(&[line.trim_end()]).await;
            subscriber.send(&puback(id)).await;
        }
    }
}

#[tokio::test]
async fn mqtt_3_3_1_5_a_retained_free_message_is_kept_with_qos_and_properties_and_emptied() {
    let server = Server::new();
    let table = server.with_free_topics();
    let mut publisher = server.connect(V5, "p").await;
    let properties = [
        &[0x01, 1][..],
        &[0x03],
        &string("text/plain"),
        &[0x26],
        &string("k"),
        &string("v"),
    ]
    .concat();
    let retained = publish_with(V5, "home/hall", "on", 1, 1, &properties, true);
    publisher.send(&retained).await;
    publisher.expect(&["PUBACK 1"]).await;
    let mut subscriber = server.connect(V5, "s").await;
    subscriber.subscribe("home/#", 2).await;
    let line = "PUBLISH q1 retain #1 home/hall on format=1 type=text/plain k=v";
    subscriber.expect(&[line]).await;
    publisher
        .send(&publish_with(V5, "home/hall", "", 1, 2, &[], true))
        .await;
    publisher.expect(&["PUBACK 2"]).await;
    subscriber.expect(&["PUBLISH q2 #2 home/hall"]).await;
    assert_eq!(table.record("home/hall"), None);
}

#[tokio::test]
async fn resources_win_over_free_topics() {
    let server = Server::new();
    let table = server.with_free_topics();
    let mut client = server.connect(V5, "c").await;
    client.subscribe("#", 0).await;
    client
        .send(&publish_with(V5, "Dog/1", "{}", 1, 1, &[], true))
        .await;
    client.expect(&["PUBACK 1"]).await;
    assert_eq!(table.logged(), 0);
    client.send(&publish(V5, "Dogs/1", "x", 0, 0)).await;
    client.expect(&["PUBLISH q0 Dogs/1 x"]).await;
}

#[tokio::test]
async fn a_durable_session_gets_the_free_messages_it_missed() {
    let server = Server::new();
    server.with_free_topics();
    let lasting = Connect {
        client_id: "s",
        clean_start: false,
        properties: [&[0x11][..], &3600_u32.to_be_bytes()].concat(),
        ..user_connect(V5)
    };
    let mut subscriber = server.connect_with(&lasting).await;
    subscriber.subscribe("home/+", 1).await;
    subscriber.hang_up();
    subscriber.cause().await;
    let mut publisher = server.connect(V5, "p").await;
    for id in 1..=2 {
        publisher
            .send(&publish(V5, "home/hall", &id.to_string(), 1, id))
            .await;
    }
    publisher.expect(&["PUBACK 1", "PUBACK 2"]).await;
    let mut subscriber = server.open(V5, Identity::None, 64 * 1024);
    subscriber.send(&lasting.encode()).await;
    subscriber
        .expect(&[
            "CONNACK 1 00",
            "PUBLISH q1 #1 home/hall 1",
            "PUBLISH q1 #2 home/hall 2",
        ])
        .await;
}

#[tokio::test]
async fn the_table_of_free_topics_decides_who_may_use_them() {
    let server = Server::new();
    let table = server.with_free_topics();
    let mut client = server.connect(V5, "c").await;
    client.send(&publish(V5, "forbidden", "1", 1, 1)).await;
    client.expect(&["PUBACK 1 87"]).await;
    table.revoke();
    client.send(&subscribe(V5, 2, &[("home/#", 0)])).await;
    client.expect(&["SUBACK 2 87"]).await;
}

#[tokio::test]
async fn mqtt_4_7_2_1_wildcards_do_not_match_topics_of_the_server_and_nobody_publishes_there() {
    let server = Server::new();
    server.with_free_topics();
    let mut client = server.connect(V5, "c").await;
    client.subscribe("#", 0).await;
    client
        .send(&publish(V5, "$SYS/broker/uptime", "1", 1, 1))
        .await;
    client.send(&publish(V5, "$other/x", "1", 1, 2)).await;
    client.expect(&["PUBACK 1 90", "PUBACK 2 90"]).await;
    client.send(&subscribe(V5, 3, &[("$other/#", 0)])).await;
    client.expect(&["SUBACK 3 8f"]).await;
}

#[tokio::test]
async fn sys_topics_are_for_super_users() {
    let server = Server::new();
    let mut client = server.connect(V5, "c").await;
    client.send(&subscribe(V5, 1, &[("$SYS/#", 0)])).await;
    client.expect(&["SUBACK 1 87"]).await;
}

#[tokio::test]
async fn sys_topics_are_there_at_once_and_follow_the_broker() {
    let config = MqttConfig {
        system_interval: Duration::from_millis(10),
        ..MqttConfig::default()
    };
    let server = Server::with_config(config, Hub::new(1));
    let maintained = server.maintain();
    for version in BOTH {
        let identity = Identity::Caller(Caller::internal("root"));
        let mut client = server.open(version, identity, 64 * 1024);
        let connect = Connect {
            client_id: "root",
            ..Connect::new(version)
        };
        client.send(&connect.encode()).await;
        client.expect(&["CONNACK 0 00"]).await;
        client.subscribe("$SYS/broker/clients/+", 0).await;
        let topic = "$SYS/broker/clients/connected";
        while !client.next().await.contains(&format!("{topic} 1")) {}
        let _other = server.connect(version, "other").await;
        while !client.next().await.contains(&format!("{topic} 2")) {}
        client.send(&disconnect()).await;
        client.cause().await;
    }
    server.shutdown.start();
    maintained.await.unwrap();
}
