//! Resources over HTTP/2 (RFC 8441), through `core-listener` and the chain.
#![allow(
    clippy::disallowed_methods,
    reason = "spawned tasks end with the runtime of their test"
)]

mod support;

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use base::WorkerId;
use bytes::Bytes;
use core_listener::{HttpConfig, Listener, Server};
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use proto_ws::{WebSockets, WsConfig};
use resource::{Exposure, Hub, Registry, Resource};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::Memory;

const LIMIT: Duration = Duration::from_secs(20);

type Sender = SendRequest<Full<Bytes>>;

async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(LIMIT, future).await.expect("in time")
}

fn connect(path: &str, user: Option<&str>) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::default());
    *request.method_mut() = Method::CONNECT;
    *request.uri_mut() = format!("http://motet.test{path}").parse().unwrap();
    let protocol = hyper::ext::Protocol::from_static("websocket");
    request.extensions_mut().insert(protocol);
    let headers = request.headers_mut();
    headers.insert("sec-websocket-version", "13".parse().unwrap());
    if let Some(user) = user {
        headers.insert("x-user", user.parse().unwrap());
    }
    request
}

/// The payload of the next frame, which is short.
async fn payload(io: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut head = [0; 2];
    within(io.read_exact(&mut head)).await.unwrap();
    let mut length = usize::from(head[1]);
    if length == 126 {
        length = usize::from(within(io.read_u16()).await.unwrap());
    }
    let mut payload = vec![0; length];
    within(io.read_exact(&mut payload)).await.unwrap();
    payload
}

async fn open(sender: &mut Sender, path: &str) -> TokioIo<hyper::upgrade::Upgraded> {
    let response = within(sender.send_request(connect(path, Some("mira")))).await;
    let response = response.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    TokioIo::new(within(hyper::upgrade::on(response)).await.unwrap())
}

#[tokio::test]
async fn rfc8441_streams_of_one_connection_are_websockets_of_resources() {
    let hub = Hub::new(1);
    let dog = Memory::new(&hub);
    dog.put("1", r#"{"n":1}"#);
    dog.put("2", r#"{"n":2}"#);
    let registry = Arc::new(Registry::new());
    let exported = Arc::clone(&dog) as Arc<dyn Resource>;
    registry.export("Dog", exported, Exposure::default());
    let web_sockets = WebSockets::new(registry, WsConfig::default());
    let chain = support::chain(web_sockets.clone());
    tokio::spawn(async move { hub.dispatch(WorkerId(0)).await });
    let mut config = HttpConfig::default();
    config.http2_prior_knowledge = true;
    config.http2_extended_connect = true;
    let address = "127.0.0.1:0".parse().unwrap();
    let listener = Listener::http("http.port", address, config, move |_| chain.clone());
    let server = Server::new(NonZeroU16::MIN)
        .listen(listener)
        .start()
        .unwrap();

    let socket = TcpStream::connect(("127.0.0.1", server.port()))
        .await
        .unwrap();
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(socket));
    let (mut sender, connection) = within(handshake).await.unwrap();
    tokio::spawn(connection);
    // An ordinary request first: its response comes after the SETTINGS that allow the protocol.
    let ordinary = Request::get("http://motet.test/Dog/1").body(Full::default());
    let ordinary = within(sender.send_request(ordinary.unwrap()))
        .await
        .unwrap();
    assert_eq!(ordinary.status(), StatusCode::IM_A_TEAPOT);

    for (path, user, status) in [
        ("/Dog/1", None, 401),
        ("/Dog/1", Some("mallory"), 403),
        ("/Cat/1", Some("mira"), 404),
    ] {
        let refused = within(sender.send_request(connect(path, user))).await;
        assert_eq!(refused.unwrap().status(), status, "{path}");
    }

    let mut first = open(&mut sender, "/Dog/1").await;
    let mut second = open(&mut sender, "/Dog/2").await;
    for (io, id) in [(&mut first, "1"), (&mut second, "2")] {
        let event: serde_json::Value = serde_json::from_slice(&payload(io).await).unwrap();
        assert_eq!(event["id"], id);
    }
    dog.put("1", r#"{"n":3}"#);
    let event: serde_json::Value = serde_json::from_slice(&payload(&mut first).await).unwrap();
    assert_eq!(event["value"]["n"], 3);

    // One stream is closed, the other lives on.
    first.write_all(&[0x88, 0x80, 0, 0, 0, 0]).await.unwrap();
    assert_eq!(payload(&mut first).await, b"");
    dog.put("2", r#"{"n":4}"#);
    payload(&mut second).await;
    assert_eq!(web_sockets.statistics().none.open, 1);

    let shutdown = tokio::spawn(async move { server.shutdown(LIMIT).await });
    let going_away = payload(&mut second).await;
    assert_eq!(going_away[..2], 1001u16.to_be_bytes());
    second.write_all(&[0x88, 0x80, 0, 0, 0, 0]).await.unwrap();
    drop((first, second, sender));
    within(shutdown).await.unwrap();
}
