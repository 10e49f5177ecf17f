//! A resource made of code that ticks: `cargo run -p proto-sse --example clock`, then
//! `curl -N -H 'Accept: text/event-stream' http://127.0.0.1:8080/clock`.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use base::{Timestamp, WorkerId};
use core_listener::{HttpConfig, Listener, Server};
use http_chain::{Chain, Stage};
use proto_sse::{Sse, SseConfig};
use resource::*;

struct Clock(Hub, SourceId);

impl Resource for Clock {
    fn name(&self) -> &str {
        "clock"
    }
    fn methods(&self) -> Methods {
        let mut methods = Methods::NONE;
        methods.subscribe = true;
        methods
    }
    fn authorize(&self, _: &Context, _: &[Action]) -> Result<(), Error> {
        Ok(())
    }
    fn subscribe<'a>(
        &'a self,
        scope: Scope,
        _: &'a SubscribeOptions,
        _: &'a Context,
    ) -> Answer<'a, Subscription> {
        let live = self.0.subscribe(WorkerId(0), self.1, &scope);
        Answer::ready(Ok(Subscription::new(live, Timestamp::ZERO, None)))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (hub, source) = (Hub::new(1), SourceId::next());
    let clock = Arc::new(Clock(hub.clone(), source));
    let registry = Arc::new(Registry::new());
    registry.export("clock", clock, Exposure::default());
    let sse = Stage::handler(Sse::new(registry, SseConfig::default()));
    let service = Chain::new([("sse", sse)]);
    let (address, config) = ("127.0.0.1:8080".parse()?, HttpConfig::default());
    let listener = Listener::http("http.port", address, config, move |_| service.clone());
    let _server = Server::new(NonZeroU16::MIN).listen(listener).start()?;
    loop {
        let body = Some(Value::from("tick").into());
        let event = Event::new(source, EventKind::Message, None, body, Timestamp::now());
        hub.publish(&[Arc::new(event)]);
        // Delivers, and has nothing more to do until the next second.
        let dispatched = hub.dispatch(WorkerId(0));
        let _ = tokio::time::timeout(Duration::from_secs(1), dispatched).await;
    }
}
