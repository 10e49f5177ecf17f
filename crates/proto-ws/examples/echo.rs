//! Sends every message back: `cargo run -p proto-ws --example echo`, then connect to `ws://127.0.0.1:9001/`.

use std::num::NonZeroU16;

use core_listener::{HttpConfig, Listener, Server};
use http_chain::{Chain, Stage};
use proto_ws::{Endpoint, WebSocket, WsConfig};

async fn echo(mut socket: WebSocket) {
    while let Some(message) = socket.next().await {
        if socket.send(message).await.is_err() {
            break;
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:9001").parse()?;
    let endpoint = Endpoint::new(WsConfig::default(), echo);
    let chain = Chain::new([("echo", Stage::handler(endpoint.clone()))]);
    let http = HttpConfig::default();
    let listener = Listener::http("echo", address, http, move |_| chain.clone());
    let server = Server::new(NonZeroU16::MIN).listen(listener).start()?;
    println!("ws://127.0.0.1:{}/", server.port());
    tokio::signal::ctrl_c().await?;
    println!("{:#?}", endpoint.statistics());
    Ok(())
}
