//! Keys and index entries of any bytes: an error or a key, never a panic; a key has one encoding.
#![no_main]

use libfuzzer_sys::fuzz_target;
use store::order::{canonical_key, decode_key, encode_key, index_len};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(length) = index_len(bytes) {
        assert!(length <= bytes.len());
    }
    if let Ok(key) = decode_key(bytes)
        && let Ok(encoded) = encode_key(&key)
    {
        assert_eq!(decode_key(&encoded), Ok(canonical_key(key)));
    }
});
