//! Forms with files: no panic.
#![no_main]

use content::ContentTypes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let types = ContentTypes::standard();
    let _ = types.decode(Some("multipart/form-data; boundary=XX"), bytes);
});
