//! A small service with a path for every behaviour, and clients that speak bytes.

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use base::{ConnInfo, Shutdown, UpgradeTask};
use bytes::Bytes;
use core_listener::{
    HttpConfig, HttpService, Listener, ListenerStats, RequestBody, Server, ServerHandle, service_fn,
};
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

pub(crate) const MS: Duration = Duration::from_millis(1);
/// Longer than anything here takes, so that a test which hangs fails instead.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Lets a test hold requests to `/slow`, and know that they are being held.
#[derive(Debug, Default, Clone)]
pub(crate) struct Gate {
    entered: Arc<Notify>,
    open: Arc<Notify>,
}

impl Gate {
    pub(crate) async fn entered(&self) {
        within(self.entered.notified()).await;
    }

    pub(crate) fn open(&self) {
        self.open.notify_one();
    }
}

pub(crate) fn service(gate: Gate) -> impl HttpService {
    service_fn(move |request: Request<RequestBody>| {
        let gate = gate.clone();
        async move { Ok::<_, Infallible>(answer(request, gate).await) }
    })
}

async fn answer(request: Request<RequestBody>, gate: Gate) -> Response<Body> {
    let info = request
        .extensions()
        .get::<Arc<ConnInfo>>()
        .expect("the listener inserts it")
        .clone();
    match request.uri().path() {
        "/worker" => text(info.worker.to_string()),
        "/info" => text(format!("{info:?}")),
        "/echo" => match request.into_body().collect().await {
            Ok(body) => Response::new(Full::new(body.to_bytes()).boxed_unsync()),
            Err(error) => {
                let kind = error
                    .source()
                    .and_then(|source| source.downcast_ref())
                    .map(io::Error::kind);
                let status = match kind {
                    Some(io::ErrorKind::TimedOut) => StatusCode::REQUEST_TIMEOUT,
                    _ => StatusCode::BAD_REQUEST,
                };
                let mut response = text(error.to_string());
                *response.status_mut() = status;
                response
            }
        },
        "/slow" => {
            gate.entered.notify_one();
            gate.open.notified().await;
            text("done".to_owned())
        }
        "/endless" => {
            let frames = futures_util::stream::repeat_with(|| {
                Ok(Frame::data(Bytes::from_static(&[7; 16 * 1024])))
            });
            Response::new(StreamBody::new(frames).boxed_unsync())
        }
        "/panic" => panic!("a test asked for it"),
        "/upgrade" => upgrade(),
        "/upgrade-without-101" => {
            let mut response = upgrade();
            *response.status_mut() = StatusCode::OK;
            response
        }
        path => text(path.to_owned()),
    }
}

/// Echoes until the peer closes, then or at the shutdown says goodbye.
fn upgrade() -> Response<Body> {
    let task = UpgradeTask::new(|mut io, _info, shutdown: Shutdown| async move {
        let mut buffer = [0; 64];
        loop {
            tokio::select! {
                read = io.read(&mut buffer) => match read {
                    Ok(length @ 1..) => io.write_all(&buffer[..length]).await.unwrap(),
                    _ => break,
                },
                () = shutdown.started() => break,
            }
        }
        let _ = io.write_all(b"goodbye").await;
        let _ = io.shutdown().await;
    });
    let mut response = text(String::new());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response
        .headers_mut()
        .insert("connection", "upgrade".parse().unwrap());
    response
        .headers_mut()
        .insert("upgrade", "echo".parse().unwrap());
    response.extensions_mut().insert(task);
    response
}

pub(crate) fn text(text: String) -> Response<Body> {
    Response::new(Full::from(text).boxed_unsync())
}

pub(crate) fn workers(count: u16) -> Server {
    Server::new(NonZeroU16::new(count).unwrap())
}

/// One worker, one plaintext listener named `http.port` on a free port of the loopback.
pub(crate) fn serve(config: HttpConfig) -> (ServerHandle, Gate) {
    let gate = Gate::default();
    (
        workers(1).listen(listener(config, &gate)).start().unwrap(),
        gate,
    )
}

pub(crate) fn listener(config: HttpConfig, gate: &Gate) -> Listener {
    let gate = gate.clone();
    Listener::http(
        "http.port",
        "127.0.0.1:0".parse().unwrap(),
        config,
        move |_| service(gate.clone()),
    )
}

pub(crate) fn config(change: impl FnOnce(&mut HttpConfig)) -> HttpConfig {
    let mut config = HttpConfig::default();
    change(&mut config);
    config
}

pub(crate) async fn connect(server: &ServerHandle) -> TcpStream {
    connect_to(server.address("http.port").unwrap()).await
}

pub(crate) async fn connect_to(address: SocketAddr) -> TcpStream {
    within(TcpStream::connect(address)).await.unwrap()
}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("took too long")
}

pub(crate) async fn send(io: &mut (impl AsyncWrite + Unpin), bytes: &str) {
    within(io.write_all(bytes.as_bytes())).await.unwrap();
}

pub(crate) async fn get(io: &mut (impl AsyncRead + AsyncWrite + Unpin), path: &str) -> String {
    send(io, &format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n")).await;
    read_response(io).await
}

/// Reads one response with a `Content-Length`, head and body.
pub(crate) async fn read_response(io: &mut (impl AsyncRead + Unpin)) -> String {
    let mut response = read_head(io).await;
    let length = response
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    within(io.read_exact(&mut body)).await.unwrap();
    response.push_str(&String::from_utf8(body).unwrap());
    response
}

pub(crate) async fn read_head(io: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within(io.read_u8()).await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// Everything that comes until the peer closes; a reset counts as a close.
pub(crate) async fn read_to_close(io: &mut (impl AsyncRead + Unpin)) -> String {
    let mut read = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = within(io.read(&mut buffer)).await {
        read.extend_from_slice(&buffer[..length]);
    }
    String::from_utf8_lossy(&read).into_owned()
}

pub(crate) fn total(server: &ServerHandle, count: impl Fn(&ListenerStats) -> u64) -> u64 {
    server.stats().iter().map(count).sum()
}

/// Waits for a counter to reach a value. Counters have no event, so this one looks again and again.
pub(crate) async fn until(
    server: &ServerHandle,
    count: impl Fn(&ListenerStats) -> u64,
    value: u64,
) {
    within(async {
        while total(server, &count) != value {
            tokio::time::sleep(MS).await;
        }
    })
    .await;
}
