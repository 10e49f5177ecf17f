//! What the broker counts (`metrics-and-health.md` §3.5).

#[path = "support/memory.rs"]
mod memory;
#[path = "support/packets.rs"]
mod packets;

use proto_mqtt::{Identity, Version};

use memory::*;
use packets::*;

const V5: Version = Version::V5;

#[tokio::test]
async fn packets_and_messages_are_counted_by_type_direction_and_qos() {
    let server = Server::new();
    let mut client = server.connect(V5, "c").await;
    client.subscribe("Dog/#", 1).await;
    client.subscribe("$share/g/Dog/none", 0).await;
    client.send(&publish(V5, "Dog/a", "1234", 2, 7)).await;
    let mut lines = [client.next().await, client.next().await];
    lines.sort();
    assert_eq!(lines, ["PUBLISH q1 #1 Dog/a 1234", "PUBREC 7"]);
    // The second is counted when the first has been answered.
    client.expect_nothing().await;
    client.expect_nothing().await;

    let now = server.broker.statistics();
    assert_eq!((now.subscriptions, now.shared_subscriptions), (1, 1));
    assert_eq!((now.in_flight, now.queued), (1, 0));
    let received = now.packets_received_by_type;
    assert_eq!((received[1], received[3], received[8]), (1, 1, 2));
    let sent = now.packets_sent_by_type;
    assert_eq!((sent[2], sent[3], sent[5], sent[9]), (1, 1, 1, 2));
    assert_eq!(received.iter().sum::<u64>(), now.packets_received);
    assert_eq!(sent.iter().sum::<u64>(), now.packets_sent);
    assert_eq!(now.publishes_received_by_qos, [0, 0, 1]);
    assert_eq!(now.publishes_sent_by_qos, [0, 1, 0]);
    assert_eq!(now.payload_received_by_qos, [0, 0, 4]);
    assert_eq!(now.payload_sent_by_qos, [0, 4, 0]);

    client.send(&disconnect()).await;
    client.cause().await;
    let now = server.broker.statistics();
    assert_eq!((now.subscriptions, now.shared_subscriptions), (0, 0));
    assert_eq!((now.in_flight, now.closed_by_client), (0, 1));
}

#[tokio::test]
async fn wills_failures_and_ends_are_counted_by_reason() {
    let server = Server::new();
    let with_will = Connect {
        will: Some(("Dog/w", "{}", 0, false)),
        ..user_connect(V5)
    };
    let mut client = server.connect_with(&with_will).await;
    client.hang_up();
    client.cause().await;
    let mut stranger = server.open(V5, Identity::None, 64 * 1024);
    let wrong = Connect {
        password: Some("wrong"),
        ..user_connect(V5)
    };
    stranger.send(&wrong.encode()).await;
    stranger.expect(&["CONNACK 0 86", "closed"]).await;
    stranger.cause().await;
    let now = server.broker.statistics();
    assert_eq!((now.wills, now.closed_by_network), (1, 1));
    assert_eq!(
        (now.authentication_failures, now.refused_connections),
        (1, 1)
    );
}
