//! Messages that ask for writes: no panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proto_ws::command::Command;
use proto_ws::envelope::Encoding;

fuzz_target!(|bytes: &[u8]| {
    for encoding in [Encoding::Json, Encoding::Cbor, Encoding::MessagePack] {
        let _ = Command::decode(bytes, encoding).map(Command::into_write);
    }
});
