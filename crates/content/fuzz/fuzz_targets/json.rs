//! JSON text: no panic, and what was read is written and read again as the same text.
#![no_main]

use content::json;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(value) = json::decode(bytes) {
        let text = resource::json::to_vec(&value);
        let again = json::decode(&text).expect("what was written is read again");
        assert_eq!(resource::json::to_vec(&again), text);
    }
});
