//! A whole connection: it ends by itself, whatever its client sends, and sends nothing but frames.
#![no_main]

use std::io::Cursor;
use std::sync::Arc;

use base::{ConnInfo, Shutdown};
use http_chain::{Chain, Request, Stage};
use libfuzzer_sys::fuzz_target;
use proto_ws::{Endpoint, WebSocket, WsConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tungstenite::protocol::frame::FrameHeader;

fuzz_target!(|bytes: &[u8]| {
    let clock_that_jumps = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let sent = clock_that_jumps.block_on(converse(bytes));
    let mut cursor = Cursor::new(&sent[..]);
    while let Some((header, length)) = FrameHeader::parse(&mut cursor).expect("a header") {
        assert_eq!(header.mask, None);
        cursor.set_position(cursor.position() + length);
    }
    assert_eq!(cursor.position(), sent.len() as u64);
});

async fn converse(bytes: &[u8]) -> Vec<u8> {
    let echo = Endpoint::new(WsConfig::default(), |mut socket: WebSocket| async move {
        while let Some(message) = socket.next().await {
            if socket.send(message).await.is_err() {
                break;
            }
        }
    });
    let mut request = Request::new(http::Method::GET, "/").expect("a request");
    for (name, value) in [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-extensions", "permessage-deflate"),
    ] {
        let value = value.parse().expect("visible ASCII");
        request.headers_mut().insert(name, value);
    }
    let chain = Chain::new([("echo", Stage::handler(echo))]);
    let response = chain.answer(request).await;
    let (mut client, server) = tokio::io::duplex(4 << 20);
    client.write_all(bytes).await.expect("room for the input");
    let task = response.upgrade_task().expect("101");
    let conn = Arc::new(ConnInfo::loopback());
    let served = task.start(Box::new(server), conn, Shutdown::new());
    served.expect("started once").await;
    let mut sent = Vec::new();
    client.read_to_end(&mut sent).await.expect("a pipe");
    sent
}
