//! Newline-delimited JSON: no panic.
#![no_main]

use content::ndjson;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = ndjson::decode(bytes);
});
