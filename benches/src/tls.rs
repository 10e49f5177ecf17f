//! TLS clients: handshakes one after the other, and HTTP/2 requests over kept connections.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::cpu;
use crate::load::{Span, Tally};
use crate::measure::Sample;
use crate::peers::Certificate;

/// Connections of the HTTP/2 case.
const CONNECTIONS: usize = 8;
/// Requests on the way on each of them.
const STREAMS: usize = 16;

fn config(certificate: &Certificate, protocols: &[&str]) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(certificate.der().to_vec()))?;
    let mut config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    Ok(config)
}

fn localhost() -> ServerName<'static> {
    ServerName::try_from("localhost").expect("a host name")
}

/// Full or resumed handshakes, each on a new connection and one at a time.
pub struct Handshakes {
    address: SocketAddr,
    config: Arc<ClientConfig>,
    resumed: bool,
}

impl Handshakes {
    /// A client that resumes its last session, or one that keeps none.
    ///
    /// # Errors
    ///
    /// If the certificate cannot be trusted.
    pub fn new(address: SocketAddr, certificate: &Certificate, resumed: bool) -> Result<Self> {
        let mut config = config(certificate, &["http/1.1"])?;
        config.resumption = match resumed {
            true => Resumption::in_memory_sessions(16),
            false => Resumption::disabled(),
        };
        Ok(Self {
            address,
            config: Arc::new(config),
            resumed,
        })
    }

    /// Handshakes for the span.
    ///
    /// # Errors
    ///
    /// If one fails, or is not of the wanted kind.
    pub fn run(&self, span: Span, server: u32) -> Result<Sample> {
        let mut tally = Tally::default();
        // The first one has nothing to resume.
        self.once()?;
        let begin = Instant::now();
        while begin.elapsed() < span.warm_up {
            self.checked()?;
        }
        let before = (cpu::time_of(server)?, cpu::time_of_this_thread()?);
        let start = Instant::now();
        while start.elapsed() < span.measured {
            let begin = Instant::now();
            self.checked()?;
            tally.complete(begin);
        }
        sample(tally, start, before, server)
    }

    fn checked(&self) -> Result<()> {
        let resumed = self.once()?;
        ensure!(
            resumed == self.resumed,
            "resumed: {resumed}, wanted: {}",
            self.resumed
        );
        Ok(())
    }

    /// Whether the session was resumed. Ends when a ticket has come: then the server has seen the end of the
    /// handshake, and the next one has something to resume.
    fn once(&self) -> Result<bool> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        let mut client = ClientConnection::new(Arc::clone(&self.config), localhost())?;
        while client.is_handshaking() {
            client.complete_io(&mut stream).context("TLS handshake")?;
        }
        while client.tls13_tickets_received() == 0 {
            ensure!(client.read_tls(&mut stream)? > 0, "no ticket");
            client.process_new_packets()?;
        }
        Ok(client.handshake_kind() == Some(rustls::HandshakeKind::Resumed))
    }
}

fn sample(
    tally: Tally,
    start: Instant,
    before: (std::time::Duration, std::time::Duration),
    server: u32,
) -> Result<Sample> {
    Ok(Sample {
        operations: tally.operations,
        elapsed: start.elapsed(),
        server: cpu::time_of(server)?.saturating_sub(before.0),
        client: cpu::time_of_this_thread()?.saturating_sub(before.1),
        latency: tally.latency,
    })
}

/// `GET path` over HTTP/2 on TLS: 8 connections with 16 requests on the way each.
///
/// # Errors
///
/// If a connection fails or a response is not 200.
pub fn http2(
    address: SocketAddr,
    certificate: &Certificate,
    path: &str,
    span: Span,
    server: u32,
) -> Result<Sample> {
    let connector = TlsConnector::from(Arc::new(config(certificate, &["h2"])?));
    let uri = format!("https://localhost{path}");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut drivers = JoinSet::new();
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            let stream = tokio::net::TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let tls = connector.connect(localhost(), stream).await?;
            let (client, driver) = handshake(TokioExecutor::new(), TokioIo::new(tls)).await?;
            drivers.spawn(async move {
                // Ends with the client; a failure shows in its requests.
                let _ = driver.await;
            });
            clients.push(client);
        }
        load(&clients, &uri, span.warm_up).await?;
        let before = (cpu::time_of(server)?, cpu::time_of_this_thread()?);
        let start = Instant::now();
        let tally = load(&clients, &uri, span.measured).await?;
        sample(tally, start, before, server)
    })
}

async fn load(
    clients: &[SendRequest<Empty<Bytes>>],
    uri: &str,
    time: std::time::Duration,
) -> Result<Tally> {
    let start = Instant::now();
    let mut streams = JoinSet::new();
    for client in clients {
        for _ in 0..STREAMS {
            let (client, uri) = (client.clone(), uri.to_owned());
            streams.spawn(async move {
                let mut tally = Tally::default();
                while start.elapsed() < time {
                    let begin = Instant::now();
                    request(client.clone(), &uri).await?;
                    tally.complete(begin);
                }
                anyhow::Ok(tally)
            });
        }
    }
    let mut total = Tally::default();
    while let Some(tally) = streams.join_next().await {
        let tally = tally??;
        total.operations += tally.operations;
        total.latency.add(&tally.latency)?;
    }
    Ok(total)
}

async fn request(mut client: SendRequest<Empty<Bytes>>, uri: &str) -> Result<()> {
    client.ready().await?;
    let response = client
        .send_request(Request::get(uri).body(Empty::new())?)
        .await?;
    ensure!(response.status() == 200, "{uri}: {}", response.status());
    response.into_body().collect().await?;
    Ok(())
}
