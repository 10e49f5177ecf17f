//! Two workers; HTTP/1.1 and HTTP/2 with prior knowledge on one port, an echo protocol on another.
//!
//! `cargo run -p core-listener --example hello`, then `curl -i http://127.0.0.1:8080/`.

use std::convert::Infallible;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use base::{BoxedIo, ConnInfo, Shutdown};
use core_listener::{HttpConfig, Listener, RequestBody, Server, service_fn};
use http::{Request, Response};

/// Answers every request with a line that says who answered whom.
async fn hello(request: Request<RequestBody>) -> Result<Response<String>, Infallible> {
    let conn = request
        .extensions()
        .get::<Arc<ConnInfo>>()
        .expect("the listener inserts it");
    Ok(Response::new(format!(
        "hello {} from worker {}\n",
        conn.peer, conn.worker
    )))
}

/// Sends back what it reads until the peer closes or the server stops.
async fn echo(io: BoxedIo, _conn: Arc<ConnInfo>, shutdown: Shutdown) {
    let (mut reader, mut writer) = tokio::io::split(io);
    tokio::select! {
        _ = tokio::io::copy(&mut reader, &mut writer) => {}
        () = shutdown.started() => {}
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut config = HttpConfig::default();
    config.http2_prior_knowledge = true;
    let http = "127.0.0.1:8080".parse()?;
    let raw = "127.0.0.1:8081".parse()?;

    let server = Server::new(NonZeroU16::new(2).expect("2 is not zero"))
        .listen(Listener::http("http.port", http, config, |_| {
            service_fn(hello)
        }))
        .listen(Listener::raw("echo.port", raw, |_| echo))
        .start()?;
    for (setting, address) in server.addresses() {
        println!("{setting} {address}");
    }

    tokio::signal::ctrl_c().await?;
    let report = server.shutdown(Duration::from_secs(10)).await;
    println!(
        "{} connections finished, {} cut",
        report.drained, report.forced
    );
    Ok(())
}
