//! Forms: no panic.
#![no_main]

use content::form;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = form::decode(bytes, None);
});
