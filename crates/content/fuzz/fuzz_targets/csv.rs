//! CSV: no panic.
#![no_main]

use content::csv;
use libfuzzer_sys::fuzz_target;
use resource::coerce;

fuzz_target!(|bytes: &[u8]| {
    let _ = csv::decode(bytes, |_, text| Ok(coerce::guess(text)));
});
