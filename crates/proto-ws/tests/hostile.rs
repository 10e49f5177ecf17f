//! Bytes from a peer never panic: the seeds of the fuzz targets as plain tests, whole, cut short at every
//! byte and with single bytes changed.

use std::fs;
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

use base::{ConnInfo, Shutdown};
use content::ContentTypes;
use http_chain::{Chain, Request, Stage};
use proto_ws::command::Command;
use proto_ws::engine::{Engine, Incoming};
use proto_ws::envelope::Encoding;
use proto_ws::extension::DeflateParameters;
use proto_ws::handshake::{Form, Offer};
use proto_ws::target::{self, Options};
use proto_ws::{DeflateConfig, Endpoint, WebSocket, WsConfig};
use resource::{Methods, Resource, Scope};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tungstenite::protocol::frame::FrameHeader;

type Target = fn(&[u8]);

struct Anything;

impl Resource for Anything {
    fn name(&self) -> &str {
        "Anything"
    }
    fn methods(&self) -> Methods {
        Methods::NONE
    }
}

/// Everything but the borders at which bytes arrive decides what is read.
fn frames(bytes: &[u8]) {
    let config = WsConfig {
        max_message_bytes: 1024,
        max_frame_bytes: 1024,
        ..WsConfig::default()
    };
    let agreed = DeflateParameters::negotiate(["permessage-deflate"], &DeflateConfig::DEFAULT);
    let agreed = agreed.unwrap();
    let read = |chunk: usize| {
        let mut engine = Engine::new(&config, agreed.as_ref());
        let mut all = Vec::new();
        for piece in bytes.chunks(chunk) {
            engine.handle_bytes(piece);
            loop {
                match engine.poll_message() {
                    Ok(Some(Incoming::Close(close))) => return (all, close),
                    Ok(Some(incoming)) => all.push(incoming),
                    Ok(None) => break,
                    Err(close) => {
                        engine.close(&close);
                        return (all, Some(close));
                    }
                }
            }
        }
        (all, None)
    };
    assert_eq!(read(1), read(bytes.len().max(1)));
}

/// A whole connection ends by itself, whatever its client sends, and sends nothing but frames.
fn session(bytes: &[u8]) {
    let clock_that_jumps = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let sent = clock_that_jumps.block_on(converse(bytes));
    let mut cursor = Cursor::new(&sent[..]);
    while let Some((header, length)) = FrameHeader::parse(&mut cursor).unwrap() {
        assert_eq!(header.mask, None);
        cursor.set_position(cursor.position() + length);
    }
    assert_eq!(cursor.position(), sent.len() as u64);
}

async fn converse(bytes: &[u8]) -> Vec<u8> {
    let echo = Endpoint::new(WsConfig::default(), |mut socket: WebSocket| async move {
        while let Some(message) = socket.next().await {
            if socket.send(message).await.is_err() {
                break;
            }
        }
    });
    let mut request = Request::new(http::Method::GET, "/").unwrap();
    for (name, value) in [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-extensions", "permessage-deflate"),
    ] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let chain = Chain::new([("echo", Stage::handler(echo))]);
    let response = chain.answer(request).await;
    let (mut client, server) = tokio::io::duplex(1 << 20);
    client.write_all(bytes).await.unwrap();
    let conn = Arc::new(ConnInfo::loopback());
    let task = response.upgrade_task().unwrap();
    let served = task.start(Box::new(server), conn, Shutdown::new());
    served.unwrap().await;
    let mut sent = Vec::new();
    client.read_to_end(&mut sent).await.unwrap();
    sent
}

/// A request head without its first line.
fn handshake(bytes: &[u8]) {
    let mut headers = http::HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let name = parts.next().map(http::HeaderName::from_bytes);
        let value = parts.next().map(http::HeaderValue::from_bytes);
        if let (Some(Ok(name)), Some(Ok(value))) = (name, value) {
            headers.append(name, value);
        }
    }
    for form in [Form::Upgrade, Form::Connect] {
        if let Ok(offer) = Offer::parse(form, &headers, Some(&DeflateConfig::DEFAULT)) {
            let _ = offer.response(offer.protocols().next());
        }
    }
    let _ = proto_ws::origin::check(&headers, Some("example.org"), None, true);
}

fn command(bytes: &[u8]) {
    for encoding in [Encoding::Json, Encoding::Cbor, Encoding::MessagePack] {
        let _ = Command::decode(bytes, encoding).map(Command::into_write);
    }
}

fn path(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    let _ = target::Target::parse(&Anything, &ContentTypes::standard(), path);
    let _ = Options::parse(Some(query), &Scope::All);
}

#[test]
fn seeds_and_their_mutations_do_not_panic() {
    let targets: [(&str, Target); 5] = [
        ("frames", frames),
        ("frames", session),
        ("handshake", handshake),
        ("command", command),
        ("target", path),
    ];
    for (name, run) in targets {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fuzz/seeds")
            .join(name);
        let mut count = 0;
        for file in fs::read_dir(directory).unwrap() {
            let seed = fs::read(file.unwrap().path()).unwrap();
            (0..=seed.len()).for_each(|end| run(&seed[..end]));
            for at in 0..seed.len() {
                for change in [0x00, 0x01, 0x7f, 0x80, 0xff] {
                    let mut changed = seed.clone();
                    changed[at] ^= change;
                    run(&changed);
                }
            }
            count += 1;
        }
        assert!(count > 0, "{name} has no seeds");
    }
}
