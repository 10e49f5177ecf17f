//! A client library that was not written for this broker, over real sockets: rumqttc in both versions.

#![allow(
    clippy::disallowed_methods,
    reason = "a test's runtime ends with the test, and its tasks with it"
)]

#[path = "support/memory.rs"]
mod memory;
#[path = "support/packets.rs"]
mod packets;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base::ConnInfo;
use proto_mqtt::{Identity, serve};
use tokio::net::TcpListener;

use memory::Server;

/// Serves `server` on a free port.
async fn listen(server: &Server) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (broker, shutdown) = (Arc::clone(&server.broker), server.shutdown.clone());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let conn = Arc::new(ConnInfo::loopback());
            tokio::spawn(serve(
                stream,
                conn,
                shutdown.clone(),
                Arc::clone(&broker),
                Identity::None,
            ));
        }
    });
    address
}

macro_rules! conversation {
    ($name:ident, $api:path, $packet:path, $options:expr, $qos:ident, $topic:expr) => {
        #[tokio::test]
        async fn $name() {
            use $api::{AsyncClient, Event, EventLoop, MqttOptions, mqttbytes::QoS};
            use $packet as Packet;

            /// Polls until a publication arrives; returns topic, payload and the retain flag.
            async fn arrival(eventloop: &mut EventLoop) -> (String, String, bool) {
                loop {
                    if let Event::Incoming(Packet::Publish(publish)) =
                        eventloop.poll().await.unwrap()
                    {
                        let topic: String = $topic(&publish);
                        let payload = String::from_utf8(publish.payload.to_vec()).unwrap();
                        return (topic, payload, publish.retain);
                    }
                }
            }
            let expected = |payload: &str, retain| ("Dog/1".to_owned(), payload.to_owned(), retain);

            let server = Server::new();
            server.dog.put("1", "{\"name\":\"Rex\"}");
            let address = listen(&server).await;
            let options = |id: &str| {
                let mut options = MqttOptions::new(id, address.ip().to_string(), address.port());
                options
                    .set_credentials("u", "p")
                    .set_keep_alive(Duration::from_secs(5));
                $options(&mut options);
                options
            };
            let (subscriber, mut subscriptions) = AsyncClient::new(options("s"), 10);
            subscriber.subscribe("Dog/+", QoS::$qos).await.unwrap();
            assert_eq!(
                arrival(&mut subscriptions).await,
                expected("{\"name\":\"Rex\"}", true)
            );

            let (publisher, mut publications) = AsyncClient::new(options("p"), 10);
            let pump = tokio::spawn(async move { while publications.poll().await.is_ok() {} });
            for payload in ["{\"n\":1}", "{\"n\":2}"] {
                publisher
                    .publish("Dog/1", QoS::$qos, true, payload)
                    .await
                    .unwrap();
            }
            publisher
                .publish("Dog/1", QoS::$qos, false, "plain")
                .await
                .unwrap();
            publisher
                .publish("Dog/1", QoS::$qos, true, "")
                .await
                .unwrap();
            for payload in ["{\"n\":1}", "{\"n\":2}", "plain", ""] {
                assert_eq!(arrival(&mut subscriptions).await, expected(payload, false));
            }
            assert_eq!(server.dog.record("1"), None);
            publisher.disconnect().await.unwrap();
            pump.await.unwrap();
            assert_eq!(server.broker.statistics().protocol_violations, 0);
        }
    };
}

fn v4_topic(publish: &rumqttc::Publish) -> String {
    publish.topic.clone()
}
fn v5_topic(publish: &rumqttc::v5::mqttbytes::v5::Publish) -> String {
    String::from_utf8(publish.topic.to_vec()).unwrap()
}
fn v4_options(_: &mut rumqttc::MqttOptions) {}
fn v5_options(options: &mut rumqttc::v5::MqttOptions) {
    options.set_clean_start(true);
}

conversation!(
    r7_v4_qos_0,
    rumqttc,
    rumqttc::Packet,
    v4_options,
    AtMostOnce,
    v4_topic
);
conversation!(
    r7_v4_qos_1,
    rumqttc,
    rumqttc::Packet,
    v4_options,
    AtLeastOnce,
    v4_topic
);
conversation!(
    r7_v4_qos_2,
    rumqttc,
    rumqttc::Packet,
    v4_options,
    ExactlyOnce,
    v4_topic
);
conversation!(
    r7_v5_qos_0,
    rumqttc::v5,
    rumqttc::v5::mqttbytes::v5::Packet,
    v5_options,
    AtMostOnce,
    v5_topic
);
conversation!(
    r7_v5_qos_1,
    rumqttc::v5,
    rumqttc::v5::mqttbytes::v5::Packet,
    v5_options,
    AtLeastOnce,
    v5_topic
);
conversation!(
    r7_v5_qos_2,
    rumqttc::v5,
    rumqttc::v5::mqttbytes::v5::Packet,
    v5_options,
    ExactlyOnce,
    v5_topic
);
