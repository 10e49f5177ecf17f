//! Routes, a layer and a response written step by step, on hyper alone:
//! `cargo run -p http-chain --example streaming`, then `curl -N http://127.0.0.1:8080/count/5` and
//! `seq 9 | curl -NT - http://127.0.0.1:8080/sum`.
#![expect(
    clippy::disallowed_methods,
    reason = "the tasks of an example end with it"
)]

use std::error::Error;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, header};
use http_chain::server_stream::{ServerStream, stream_endpoint};
use http_chain::stages::DefaultFields;
use http_chain::{BoxError, Chain, Router, Stage};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;

/// Sends a line a second.
async fn count(mut stream: ServerStream) -> Result<(), BoxError> {
    let last: u32 = stream.request().param_as("last")?;
    for number in 1..=last {
        stream.write(format!("{number}\n")).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

/// Answers every piece of the body as it comes, and sums up in a trailer field.
async fn sum(mut stream: ServerStream) -> Result<(), BoxError> {
    let (sum, mut bytes) = (HeaderName::from_static("sum"), 0);
    let announced = HeaderValue::from_static("sum");
    stream.headers_mut()?.insert(header::TRAILER, announced);
    while let Some(piece) = stream.read().await? {
        bytes += piece.len();
        stream.write(format!("{bytes} bytes\n")).await?;
    }
    // Only for a client that takes it, `curl -H 'TE: trailers'`.
    stream.add_trailer(sum, bytes.into()).or(Ok(()))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let fresh = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    let mut routes = Router::new();
    routes.layer("fresh", Stage::gate(DefaultFields::new(fresh)));
    routes.on(Method::GET, "/count/{last:[0-9]+}", stream_endpoint(count))?;
    routes.on(Method::PUT, "/sum", stream_endpoint(sum))?;
    let chain = Chain::new([("routes", Stage::handler(routes))]);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    loop {
        let (socket, _peer) = listener.accept().await?;
        let service = TowerToHyperService::new(chain.clone());
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
    }
}
