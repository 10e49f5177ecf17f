//! A file server on hyper alone: `cargo run -p http-chain --example file_server -- public`, then
//! `curl -i -r 0-9,20-29 http://127.0.0.1:8080/index.html`.
#![expect(
    clippy::disallowed_methods,
    reason = "the tasks of an example end with it"
)]

use std::error::Error;

use http::Method;
use http_chain::files::{
    Content, EntityTag, EntityTags, StaticFiles, StaticFilesConfig, serve_content,
};
use http_chain::stages::HostCheck;
use http_chain::{Chain, Request, Response, Router, Stage};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;

/// A table that is made once, but may be fetched in parts and asked for again like a file.
async fn squares(request: Request) -> Response {
    let table: String = (0..10_000u64).map(|n| format!("{n},{}\n", n * n)).collect();
    let etag = EntityTag::strong("squares-1").expect("visible characters");
    let content = Content::bytes(table).name("squares.csv").etag(etag);
    serve_content(&request, content).await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let root = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let files = StaticFiles::new(StaticFilesConfig {
        // Strong tags, so that a client may resume a download by `If-Range`.
        entity_tags: EntityTags::Content {
            max_bytes: 64 << 20,
        },
        ..StaticFilesConfig::file_server(root)
    })?;
    let mut routes = Router::new();
    routes.on(Method::GET, "/squares.csv", squares)?;
    let chain = Chain::new([
        ("host", Stage::gate(HostCheck)),
        ("routes", Stage::handler(routes)),
        ("files", Stage::handler(files)),
    ]);

    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    loop {
        let (socket, _) = listener.accept().await?;
        let service = TowerToHyperService::new(chain.clone());
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
    }
}
