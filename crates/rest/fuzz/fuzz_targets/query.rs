//! The query language of URLs: no panic, and an error points into the query.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rest::query;

fuzz_target!(|text: &str| {
    for is_declared in [true, false] {
        if let Err(error) = query::parse(text, &|_| is_declared) {
            assert!(error.position() <= text.len());
        }
    }
});
