//! CBOR: no panic, and what was read is written and read again.
#![no_main]

use content::cbor;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(value) = cbor::decode(bytes) {
        let mut written = Vec::new();
        cbor::encode(&value, &mut written);
        let again = cbor::decode(&written).expect("what was written is read again");
        // NaN is not equal to itself, so the bytes are compared.
        let mut rewritten = Vec::new();
        cbor::encode(&again, &mut rewritten);
        assert_eq!(written, rewritten);
    }
});
