//! MessagePack: no panic, and what was read is written and read again.
#![no_main]

use content::msgpack;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(value) = msgpack::decode(bytes) {
        let mut written = Vec::new();
        msgpack::encode(&value, &mut written).expect("short enough");
        let again = msgpack::decode(&written).expect("what was written is read again");
        // NaN is not equal to itself, so the bytes are compared.
        let mut rewritten = Vec::new();
        msgpack::encode(&again, &mut rewritten).expect("short enough");
        assert_eq!(written, rewritten);
    }
});
