//! Frames of a client: no panic, and the same messages however the bytes are cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proto_ws::engine::{Engine, Incoming};
use proto_ws::extension::DeflateParameters;
use proto_ws::{Close, DeflateConfig, WsConfig};

fuzz_target!(|bytes: &[u8]| {
    assert_eq!(read(bytes, 1), read(bytes, bytes.len().max(1)));
});

fn read(bytes: &[u8], chunk: usize) -> (Vec<Incoming>, Option<Close>) {
    let config = WsConfig {
        max_message_bytes: 1024,
        max_frame_bytes: 1024,
        ..WsConfig::default()
    };
    let agreed = DeflateParameters::negotiate(["permessage-deflate"], &DeflateConfig::DEFAULT);
    let mut engine = Engine::new(&config, agreed.unwrap().as_ref());
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
}
