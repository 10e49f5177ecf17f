//! MQTT by rumqttc, version 3.1.1 and 5.0, with a thread that turns its event loop into a queue.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::Duration;

use crate::wait::LIMIT;

/// A message as a subscriber sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Topic.
    pub topic: String,
    /// Payload as text.
    pub payload: String,
    /// Whether it is retained state.
    pub retain: bool,
}

/// A connected client of either version.
pub struct Client {
    sender: Sender,
    messages: mpsc::Receiver<Received>,
    acknowledged: mpsc::Receiver<()>,
}

enum Sender {
    V4(rumqttc::Client),
    V5(rumqttc::v5::Client),
}

impl Client {
    /// Connects with version 3.1.1.
    pub fn v4(address: SocketAddr, client_id: &str) -> Self {
        use rumqttc::{Event, Packet};
        let mut options =
            rumqttc::MqttOptions::new(client_id, address.ip().to_string(), address.port());
        options.set_keep_alive(Duration::from_secs(10));
        let (client, mut connection) = rumqttc::Client::new(options, 100);
        let (send, messages) = mpsc::channel();
        let (acknowledge, acknowledged) = mpsc::channel();
        std::thread::spawn(move || {
            for event in connection.iter() {
                let delivered = match event {
                    Ok(Event::Incoming(Packet::Publish(publish))) => send
                        .send(Received {
                            topic: publish.topic.clone(),
                            payload: String::from_utf8_lossy(&publish.payload).into_owned(),
                            retain: publish.retain,
                        })
                        .is_ok(),
                    Ok(Event::Incoming(Packet::PubAck(_) | Packet::SubAck(_))) => {
                        acknowledge.send(()).is_ok()
                    }
                    Ok(_) => true,
                    Err(error) => {
                        eprintln!("MQTT connection ended: {error}");
                        return;
                    }
                };
                if !delivered {
                    return;
                }
            }
        });
        Self {
            sender: Sender::V4(client),
            messages,
            acknowledged,
        }
    }

    /// Connects with version 5.0.
    pub fn v5(address: SocketAddr, client_id: &str) -> Self {
        use rumqttc::v5::mqttbytes::v5::Packet;
        use rumqttc::v5::{Client, Event, MqttOptions};
        let mut options = MqttOptions::new(client_id, address.ip().to_string(), address.port());
        options.set_keep_alive(Duration::from_secs(10));
        let (client, mut connection) = Client::new(options, 100);
        let (send, messages) = mpsc::channel();
        let (acknowledge, acknowledged) = mpsc::channel();
        std::thread::spawn(move || {
            for event in connection.iter() {
                let delivered = match event {
                    Ok(Event::Incoming(Packet::Publish(publish))) => send
                        .send(Received {
                            topic: String::from_utf8_lossy(&publish.topic).into_owned(),
                            payload: String::from_utf8_lossy(&publish.payload).into_owned(),
                            retain: publish.retain,
                        })
                        .is_ok(),
                    Ok(Event::Incoming(Packet::PubAck(_) | Packet::SubAck(_))) => {
                        acknowledge.send(()).is_ok()
                    }
                    Ok(_) => true,
                    Err(error) => {
                        eprintln!("MQTT connection ended: {error}");
                        return;
                    }
                };
                if !delivered {
                    return;
                }
            }
        });
        Self {
            sender: Sender::V5(client),
            messages,
            acknowledged,
        }
    }

    /// Subscribes with QoS 1 and waits for the acknowledgement.
    pub fn subscribe(&self, filter: &str) {
        match &self.sender {
            Sender::V4(client) => client
                .subscribe(filter, rumqttc::QoS::AtLeastOnce)
                .expect("subscribe"),
            Sender::V5(client) => {
                client
                    .subscribe(filter, rumqttc::v5::mqttbytes::QoS::AtLeastOnce)
                    .expect("subscribe");
            }
        }
        self.acknowledged.recv_timeout(LIMIT).expect("SUBACK");
    }

    /// Publishes with QoS 1 and waits for the acknowledgement.
    pub fn publish(&self, topic: &str, payload: &str, retain: bool) {
        match &self.sender {
            Sender::V4(client) => {
                client
                    .publish(topic, rumqttc::QoS::AtLeastOnce, retain, payload)
                    .expect("publish");
            }
            Sender::V5(client) => {
                let qos = rumqttc::v5::mqttbytes::QoS::AtLeastOnce;
                client
                    .publish(topic, qos, retain, payload.to_owned())
                    .expect("publish");
            }
        }
        self.acknowledged.recv_timeout(LIMIT).expect("PUBACK");
    }

    /// The next message.
    ///
    /// # Panics
    ///
    /// If none comes within the time limit.
    pub fn next(&self) -> Received {
        self.messages
            .recv_timeout(LIMIT)
            .expect("a message within the time limit")
    }
}
