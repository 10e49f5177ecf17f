//! A chain on hyper alone: `cargo run -p http-chain --example hello`, then
//! `curl -i http://127.0.0.1:8080/hello/world`.
#![expect(
    clippy::disallowed_methods,
    reason = "the tasks of an example end with it"
)]

use std::error::Error;
use std::sync::Arc;

use base::{ConnInfo, Peer};
use http::Method;
use http_chain::compression::Compression;
use http_chain::files::{StaticFiles, StaticFilesConfig};
use http_chain::stages::{Cors, HostCheck};
use http_chain::{Chains, Ports, Request, Router, Stage};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tower_service::Service;

async fn hello(request: Request) -> String {
    format!("hello {}\n", request.param("name").unwrap_or_default())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut routes = Router::new();
    routes.on(Method::GET, "/hello/{name}", hello)?;
    let files = StaticFiles::new(StaticFilesConfig::new("."))?;

    let mut chains = Chains::default();
    chains.edge(Ports::All, "host", Stage::gate(HostCheck));
    chains.edge(
        Ports::All,
        "compression",
        Stage::gate(Compression::default()),
    );
    chains.last(Ports::All, "static", Stage::handler(files));
    chains.last(Ports::All, "cors", Stage::gate(Cors::default()));
    chains.last(Ports::All, "routes", Stage::handler(routes));
    let chain = chains.chain_for("http.port");

    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    loop {
        let (socket, peer) = listener.accept().await?;
        let peer = Peer::Tcp(peer);
        let conn = Arc::new(ConnInfo {
            peer,
            ..ConnInfo::loopback()
        });
        let chain = chain.clone();
        let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(Arc::clone(&conn));
            chain.clone().call(request)
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
    }
}
