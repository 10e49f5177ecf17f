//! A broker without a store: `cargo run -p proto-mqtt --example tiny_broker [ADDRESS]`, then
//! `mosquitto_sub -t 'chat/#' -v` and `mosquitto_pub -t chat/hello -m 'good morning'`.

#![allow(
    clippy::disallowed_methods,
    reason = "nothing waits for connections to drain here"
)]

mod chat;

use std::sync::Arc;

use base::{ConnInfo, Shutdown, WorkerId};
use proto_mqtt::{Broker, Identity, MqttConfig, serve};
use resource::{Answer, Authenticator, Caller, Credentials, Error, Exposure, Hub, Registry};
use tokio::net::TcpListener;

/// Knows no user by name: everyone here is anonymous.
struct Nobody;

impl Authenticator for Nobody {
    fn authenticate<'a>(&'a self, _: &'a Credentials) -> Answer<'a, Caller> {
        Answer::ready(Err(Error::unauthorized("Login failed")))
    }
    fn refresh(&self, _: &Caller) -> Option<Caller> {
        None
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let hub = Hub::new(1);
    let registry = Arc::new(Registry::new());
    let chat = Arc::new(chat::Chat::new(hub.clone()));
    registry.export("chat", chat, Exposure::default());
    let config = MqttConfig {
        require_authentication: false,
        ..MqttConfig::default()
    };
    let broker = Broker::new(registry, Arc::new(Nobody), config, 1)?;
    tokio::spawn(async move { hub.dispatch(WorkerId(0)).await });

    let address = std::env::args().nth(1);
    let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:1883")).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, peer) = listener.accept().await?;
        let conn = Arc::new(ConnInfo::loopback());
        let serving = serve(
            stream,
            conn,
            Shutdown::new(),
            broker.clone(),
            Identity::None,
        );
        tokio::spawn(async move { println!("{peer}: {}", serving.await) });
    }
}
