//! Events of your own: `cargo run -p proto-sse --example feed`, then `curl -N http://127.0.0.1:8080/`.
//! A client that comes back (`-H 'Last-Event-ID: 7'`) continues where it was.

use std::future::ready;
use std::num::NonZeroU16;
use std::ops::ControlFlow;
use std::time::Duration;

use core_listener::{HttpConfig, Listener, Server};
use http_chain::{BoxFuture, Chain, Handler, Request, Response, Stage};
use proto_sse::{EventSender, EventStreamConfig, EventStreams, SseEvent, last_event_id};

struct Feed(EventStreams);

impl Handler for Feed {
    fn handle(&self, request: Request) -> BoxFuture<'_, ControlFlow<Response, Request>> {
        let seen = last_event_id(&request).and_then(|id| id.parse().ok());
        let next = seen.map_or(0, |seen: u64| seen.wrapping_add(1));
        let response = self.0.produce(&request, move |events| count(events, next));
        Box::pin(ready(ControlFlow::Break(response)))
    }
}

/// One number a second, until the client is gone.
async fn count(
    events: EventSender,
    first: u64,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    for number in first.. {
        let event = SseEvent::new(format!("{{\"number\":{number}}}"));
        events.send(event.id(number.to_string())?).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let feed = Feed(EventStreams::new("/", EventStreamConfig::default()));
    let chain = Chain::new([("feed", Stage::handler(feed))]);
    let (address, http) = ("127.0.0.1:8080".parse()?, HttpConfig::default());
    let listener = Listener::http("http.port", address, http, move |_| chain.clone());
    let server = Server::new(NonZeroU16::MIN).listen(listener).start()?;
    println!("http://127.0.0.1:{}/", server.port());
    Ok(tokio::signal::ctrl_c().await?)
}
