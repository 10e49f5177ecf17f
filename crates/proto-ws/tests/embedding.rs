//! Code of an embedder on a WebSocket: over HTTP/1.1 and HTTP/2, with and without compression.
#![allow(
    clippy::disallowed_methods,
    reason = "spawned tasks end with the runtime of their test"
)]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base::{ConnInfo, Shutdown, UpgradeTask};
use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode, Version};
use http_chain::{Chain, Stage};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use proto_ws::engine::{Engine, Incoming};
use proto_ws::extension::DeflateParameters;
use proto_ws::{Close, DeflateConfig, Endpoint, Message, Upgrader, WebSocket, WsConfig};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tower_service::Service as _;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

const LIMIT: Duration = Duration::from_secs(20);
const MASK: [u8; 4] = [1, 2, 3, 4];

async fn echo(mut socket: WebSocket) {
    while let Some(message) = socket.next().await {
        if message == Message::text("stop") {
            return socket.close(Close::new(4000, "as you wish"));
        }
        if socket.send(message).await.is_err() {
            return;
        }
    }
}

struct Server {
    address: SocketAddr,
    shutdown: Shutdown,
}

impl Server {
    /// Serves `upgrader` with [`echo`].
    async fn start(upgrader: Upgrader, is_http2: bool) -> Self {
        let endpoint = Endpoint::with_upgrader(upgrader, echo);
        let chain = Chain::new([("echo", Stage::handler(endpoint))]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = Shutdown::new();
        let given = shutdown.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, chain.clone(), given.clone(), is_http2));
            }
        });
        Self { address, shutdown }
    }

    /// Opens a WebSocket by hand on HTTP/1.1; the head of the response, and the socket.
    async fn open(&self, fields: &str) -> (String, TcpStream) {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        let head = format!(
            "GET / HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{fields}\r\n",
            self.address
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(within(socket.read_u8()).await.unwrap());
        }
        (String::from_utf8(answer).unwrap(), socket)
    }
}

async fn serve(socket: TcpStream, chain: Chain, shutdown: Shutdown, is_http2: bool) {
    let conn = Arc::new(ConnInfo::loopback());
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        let upgrade = hyper::upgrade::on(&mut request);
        let (mut chain, conn, shutdown) = (chain.clone(), Arc::clone(&conn), shutdown.clone());
        async move {
            let mut response = chain.call(request).await?;
            if let Some(task) = response.extensions_mut().remove::<UpgradeTask>() {
                tokio::spawn(async move {
                    let io = TokioIo::new(upgrade.await.unwrap());
                    task.start(Box::new(io), conn, shutdown).unwrap().await;
                });
            }
            Ok::<_, Infallible>(response)
        }
    });
    let io = TokioIo::new(socket);
    if is_http2 {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        let _ = builder
            .enable_connect_protocol()
            .serve_connection(io, service)
            .await;
    } else {
        let connection = http1::Builder::new().serve_connection(io, service);
        let _ = connection.with_upgrades().await;
    }
}

async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(LIMIT, future).await.expect("in time")
}

fn masked(opcode: OpCode, is_compressed: bool, payload: &[u8]) -> Vec<u8> {
    let header = FrameHeader {
        opcode,
        rsv1: is_compressed,
        mask: Some(MASK),
        ..FrameHeader::default()
    };
    let mut frame = Vec::new();
    header.format(payload.len() as u64, &mut frame).unwrap();
    let keys = MASK.iter().cycle();
    frame.extend(payload.iter().zip(keys).map(|(byte, key)| byte ^ key));
    frame
}

fn text(payload: &[u8]) -> Vec<u8> {
    masked(OpCode::Data(Data::Text), false, payload)
}

fn close(payload: &[u8]) -> Vec<u8> {
    masked(OpCode::Control(Control::Close), false, payload)
}

/// The next frame of the server: header and payload.
async fn frame(io: &mut (impl AsyncRead + Unpin)) -> (FrameHeader, Bytes) {
    let mut bytes = BytesMut::new();
    loop {
        let mut cursor = std::io::Cursor::new(&bytes[..]);
        if let Some((header, length)) = FrameHeader::parse(&mut cursor).unwrap() {
            let start = cursor.position() as usize;
            let missing = (start + length as usize).checked_sub(bytes.len()).unwrap();
            let mut rest = vec![0; missing];
            within(io.read_exact(&mut rest)).await.unwrap();
            bytes.extend_from_slice(&rest);
            return (header, bytes.freeze().slice(start..));
        }
        bytes.extend_from_slice(&[within(io.read_u8()).await.unwrap()]);
    }
}

async fn check_echo(io: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    io.write_all(&text(b"hello")).await.unwrap();
    let (header, payload) = frame(io).await;
    assert_eq!(
        (header.opcode, &payload[..]),
        (OpCode::Data(Data::Text), &b"hello"[..])
    );
    io.write_all(&text(b"stop")).await.unwrap();
    let (header, payload) = frame(io).await;
    assert_eq!(header.opcode, OpCode::Control(Control::Close));
    assert_eq!(payload, b"\x0f\xa0as you wish"[..]);
    io.write_all(&close(&payload[..2])).await.unwrap();
    // The server closes the stream first (RFC 6455 §7.1.1).
    assert_eq!(within(io.read(&mut [0; 1])).await.unwrap(), 0);
}

#[tokio::test]
async fn an_embedder_gets_messages_and_says_how_the_socket_closes() {
    let upgrader = Upgrader::new(WsConfig::default()).with_protocols(["chat"]);
    let server = Server::start(upgrader.clone(), false).await;
    let (head, mut socket) = server.open("Sec-WebSocket-Protocol: other, chat\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.contains("sec-websocket-protocol: chat\r\n"), "{head}");
    check_echo(&mut socket).await;
    let (head, _) = server.open("Sec-WebSocket-Extensions: ;\r\n").await;
    assert!(head.starts_with("HTTP/1.1 400 "), "{head}");

    let statistics = upgrader.statistics();
    assert_eq!(
        (statistics.other.accepted, statistics.none.rejected),
        (1, 1)
    );
    assert_eq!(
        (statistics.received.text, statistics.received.text_bytes),
        (2, 9)
    );
    assert_eq!((statistics.sent.text, statistics.sent.text_bytes), (1, 5));
    let [ended] = statistics.closed[..] else {
        panic!("{statistics:?}");
    };
    assert_eq!((ended.code, ended.by_client, ended.count), (None, false, 1));
}

#[tokio::test]
async fn rfc8441_an_extended_connect_becomes_a_websocket_on_its_stream() {
    let upgrader = Upgrader::new(WsConfig::default()).with_protocols(["chat"]);
    let server = Server::start(upgrader, true).await;
    let socket = TcpStream::connect(server.address).await.unwrap();
    let handshake =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket));
    let (mut sender, connection) = within(handshake).await.unwrap();
    tokio::spawn(connection);
    let connect = |protocol: &'static str, version: &str| {
        let mut request = http::Request::new(String::new());
        *request.method_mut() = Method::CONNECT;
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = "http://server.test/echo".parse().unwrap();
        let protocol = hyper::ext::Protocol::from_static(protocol);
        request.extensions_mut().insert(protocol);
        let headers = request.headers_mut();
        headers.insert("sec-websocket-version", version.parse().unwrap());
        headers.insert("sec-websocket-protocol", "chat".parse().unwrap());
        headers.insert(
            "sec-websocket-extensions",
            "permessage-deflate".parse().unwrap(),
        );
        request
    };
    // The first response comes after the SETTINGS that allow the protocol.
    let settled = within(sender.send_request(http::Request::new(String::new()))).await;
    assert_eq!(settled.unwrap().status(), StatusCode::NOT_FOUND);

    let refused = within(sender.send_request(connect("websocket", "12")))
        .await
        .unwrap();
    assert_eq!(refused.status(), StatusCode::UPGRADE_REQUIRED);
    assert_eq!(refused.headers()["sec-websocket-version"], "13");

    let response = within(sender.send_request(connect("websocket", "13")))
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["sec-websocket-protocol"], "chat");
    assert!(response.headers().contains_key("sec-websocket-extensions"));
    assert!(!response.headers().contains_key("sec-websocket-accept"));
    let mut stream = TokioIo::new(within(hyper::upgrade::on(response)).await.unwrap());
    check_echo(&mut stream).await;
}

#[tokio::test]
async fn rfc7692_large_messages_are_compressed_for_clients_that_offer_it() {
    let server = Server::start(Upgrader::new(WsConfig::default()), false).await;
    let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
    let (head, mut socket) = server.open(offer).await;
    let answer = "sec-websocket-extensions: permessage-deflate; server_no_context_takeover; \
                  client_no_context_takeover\r\n";
    assert!(head.contains(answer), "{head}");

    let message = "drei Chinesen mit dem Kontrabass ".repeat(1000);
    socket.write_all(&text(message.as_bytes())).await.unwrap();
    let (header, compressed) = frame(&mut socket).await;
    assert!(header.rsv1 && compressed.len() < message.len() / 10);

    // The compressed form goes back in fragments, the second time too: no context is taken over.
    for _ in 0..2 {
        socket
            .write_all(&masked(OpCode::Data(Data::Text), true, &compressed))
            .await
            .unwrap();
        let (header, again) = frame(&mut socket).await;
        assert!(header.rsv1);
        let agreed = DeflateParameters::negotiate(["permessage-deflate"], &DeflateConfig::DEFAULT);
        let mut engine = Engine::new(&WsConfig::default(), agreed.unwrap().as_ref());
        engine.handle_bytes(&masked(OpCode::Data(Data::Text), true, &again));
        let text = Incoming::Text(message.clone().into());
        assert_eq!(engine.poll_message(), Ok(Some(text)));
    }
    socket.write_all(&text(b"short")).await.unwrap();
    let (header, payload) = frame(&mut socket).await;
    assert_eq!((header.rsv1, &payload[..]), (false, &b"short"[..]));
}

#[tokio::test]
async fn compression_is_not_agreed_when_it_is_off_or_not_offered() {
    let off = WsConfig {
        deflate: None,
        ..WsConfig::default()
    };
    for (config, offer) in [
        (off, "Sec-WebSocket-Extensions: permessage-deflate\r\n"),
        (WsConfig::default(), ""),
    ] {
        let server = Server::start(Upgrader::new(config), false).await;
        let (head, mut socket) = server.open(offer).await;
        assert!(!head.contains("extensions"), "{head}");
        socket
            .write_all(&masked(OpCode::Data(Data::Text), true, b"x"))
            .await
            .unwrap();
        let (_, payload) = frame(&mut socket).await;
        assert_eq!(payload[..2], 1002u16.to_be_bytes());
    }
}

#[tokio::test]
async fn w6_a_page_of_a_foreign_origin_is_refused() {
    let config = WsConfig {
        allowed_origins: Some(vec!["https://app.test".to_owned()]),
        ..WsConfig::default()
    };
    let server = Server::start(Upgrader::new(config), false).await;
    for (origin, status) in [
        ("Origin: https://evil.test\r\n".to_owned(), "403"),
        ("Origin: https://app.test\r\n".to_owned(), "101"),
        (format!("Origin: http://{}\r\n", server.address), "101"),
        (String::new(), "101"),
    ] {
        let (head, _) = server.open(&origin).await;
        assert_eq!(&head[9..12], status, "{origin}");
    }
}

#[tokio::test]
async fn a_shutdown_closes_with_1001() {
    let server = Server::start(Upgrader::new(WsConfig::default()), false).await;
    let (_, mut socket) = server.open("").await;
    server.shutdown.start();
    let (_, payload) = frame(&mut socket).await;
    assert_eq!(payload[..2], 1001u16.to_be_bytes());
}

#[tokio::test]
async fn rfc6455_7_1_5_how_a_client_closed_is_known() {
    let upgrader = Upgrader::new(WsConfig::default());
    let server = Server::start(upgrader.clone(), false).await;
    for (payload, code) in [
        (&b"\x0b\xb8bye"[..], None),
        (b"", Some(1005)),
        (b"\x03\xe9", Some(1001)),
    ] {
        let (_, mut socket) = server.open("").await;
        socket.write_all(&close(payload)).await.unwrap();
        let (_, answer) = frame(&mut socket).await;
        assert_eq!(answer, payload.get(..2).unwrap_or_default());
        assert_eq!(within(socket.read(&mut [0; 1])).await.unwrap(), 0);
        let closed = upgrader.statistics().closed;
        assert!(
            closed
                .iter()
                .any(|total| total.code == code && total.by_client),
            "{closed:?}"
        );
    }
}
