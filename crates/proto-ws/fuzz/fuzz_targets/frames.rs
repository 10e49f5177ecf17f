//! Frames of a client: no panic, and the same messages however the bytes are cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proto_ws::Close;
use proto_ws::engine::{Engine, Incoming};

fuzz_target!(|bytes: &[u8]| {
    assert_eq!(read(bytes, 1), read(bytes, bytes.len().max(1)));
});

fn read(bytes: &[u8], chunk: usize) -> (Vec<Incoming>, Option<Close>) {
    let mut engine = Engine::new(1024);
    let mut all = Vec::new();
    for piece in bytes.chunks(chunk) {
        engine.handle_bytes(piece);
        loop {
            match engine.poll_message() {
                Ok(Some(Incoming::Close)) => return (all, None),
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
