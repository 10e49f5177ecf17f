//! A schema file of any text: tables or errors with a position, never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|source: &str| {
    if let Err(error) = store::schema::parse(source, "fuzz.graphql") {
        assert!(error.line > 0 && error.column > 0);
    }
});
