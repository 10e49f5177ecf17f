//! HTTPS with certificates that can be replaced, and a graceful end.
//!
//! `cargo run -p core-listener --example secure -- certificate.pem key.pem`, then
//! `curl -k https://127.0.0.1:8443/`. SIGHUP reads the files again, Ctrl-C finishes what is in flight.

use std::convert::Infallible;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use core_listener::{
    HttpConfig, Identity, Listener, RequestBody, Server, TicketKeys, TlsAcceptor, TlsConfig,
    TlsError, service_fn,
};
use http::{Request, Response};
use tokio::signal::unix::{SignalKind, signal};

async fn hello(request: Request<RequestBody>) -> Result<Response<String>, Infallible> {
    Ok(Response::new(format!("{:?}\n", request.version())))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut files = std::env::args_os().skip(1).map(PathBuf::from);
    let (certificate, key) = files
        .next()
        .zip(files.next())
        .ok_or("certificate and key?")?;
    // Shared by all settings, so that a new certificate does not end sessions.
    let ticket_keys = TicketKeys::new()?;
    let load = || -> Result<TlsConfig, TlsError> {
        let identity = Identity::from_pem_files(&certificate, &key)?;
        Ok(TlsConfig::new(identity).ticket_keys(ticket_keys.clone()))
    };
    let tls = TlsAcceptor::from_config(load()?)?;

    let address = "127.0.0.1:8443".parse()?;
    let listener = Listener::http("https", address, HttpConfig::default(), |_| {
        service_fn(hello)
    });
    let server = Server::new(NonZeroU16::new(2).expect("2 is not zero"))
        .listen(listener.tls(tls.clone()))
        .start()?;
    println!("serving on port {}", server.port());

    let mut hang_up = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = hang_up.recv() => match load().and_then(|config| tls.replace_config(config)) {
                Ok(()) => println!("using {}", certificate.display()),
                Err(error) => println!("the earlier certificate stays: {error}"),
            },
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    server.close_within(Duration::from_secs(10)).await;
    Ok(())
}
