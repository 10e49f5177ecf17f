//! A broker in one file: `cargo run -p proto-mqtt --example tiny_broker [ADDRESS]`, then
//! `mosquitto_sub -t 'chat/#' -v` and `mosquitto_pub -t chat/hello -m 'good morning'`.

use std::sync::Arc;

use base::{ConnInfo, Shutdown, VersionClock, WorkerId};
use proto_mqtt::{Broker, Identity, MqttConfig, serve};
use resource::*;

/// A resource that keeps nothing: what is published goes to whoever listens.
struct Chat {
    hub: Hub,
    source: SourceId,
    clock: VersionClock,
}

impl Resource for Chat {
    fn name(&self) -> &str {
        "chat"
    }
    fn methods(&self) -> Methods {
        Methods {
            publish: true,
            subscribe: true,
            ..Methods::NONE
        }
    }
    fn write<'a>(&'a self, writes: Vec<Write>, context: &'a Context) -> Answer<'a, Vec<Written>> {
        Answer::ready(
            writes
                .into_iter()
                .map(|write| self.send(write, context))
                .collect(),
        )
    }
    fn subscribe<'a>(
        &'a self,
        scope: Scope,
        _: &'a SubscribeOptions,
        context: &'a Context,
    ) -> Answer<'a, Subscription> {
        let live = self.hub.subscribe(context.worker, self.source, &scope);
        Answer::ready(Ok(Subscription::new(live, self.clock.tick(), None)))
    }
}

impl Chat {
    fn send(&self, write: Write, context: &Context) -> Result<Written, Error> {
        let WriteKind::Message(properties) = write.kind else {
            return Err(Error::method_not_allowed("chat", "put"));
        };
        let (key, version) = (write.key, self.clock.tick());
        let (source, publisher) = (self.source, context.publisher.clone());
        let body = write.body.map(Body::from);
        let event = Event {
            source,
            kind: EventKind::Message,
            key: key.clone(),
            body,
            delta: None,
            version,
            local_time: version,
            begin_transaction: true,
            publisher,
            properties,
        };
        self.hub.publish(&[Arc::new(event)]);
        Ok(Written {
            key,
            outcome: WriteOutcome::Sent,
            version,
        })
    }
}

/// Lets nobody in by name: everyone here is anonymous.
struct Nobody;
impl Authenticator for Nobody {
    fn authenticate<'a>(&'a self, _: &'a Credentials) -> Answer<'a, Caller> {
        Answer::ready(Err(Error::unauthorized("Login failed")))
    }
    fn refresh(&self, caller: &Caller) -> Option<Caller> {
        Some(caller.clone())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (hub, registry) = (Hub::new(1), Arc::new(Registry::new()));
    let chat = Chat {
        hub: hub.clone(),
        source: SourceId::next(),
        clock: VersionClock::default(),
    };
    registry.export("chat", Arc::new(chat), Exposure::default());
    let config = MqttConfig {
        require_authentication: false,
        ..MqttConfig::default()
    };
    let broker = Broker::new(registry, Arc::new(Nobody), config, 1)?;
    tokio::spawn(async move { hub.dispatch(WorkerId(0)).await });

    let address = std::env::args()
        .nth(1)
        .unwrap_or("127.0.0.1:1883".to_owned());
    let listener = tokio::net::TcpListener::bind(&address).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        let (conn, broker) = (Arc::new(ConnInfo::loopback()), Arc::clone(&broker));
        tokio::spawn(async {
            println!(
                "{}",
                serve(stream, conn, Shutdown::new(), broker, Identity::None).await
            )
        });
    }
}
