//! Bytes into the decoder.
#![no_main]

#[path = "../harness.rs"]
mod harness;
#[path = "../../tests/support/packets.rs"]
mod packets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| harness::decode_any(data));
