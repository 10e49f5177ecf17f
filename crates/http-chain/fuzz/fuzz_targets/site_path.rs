//! The path of a URL as the path of a file: nothing leads up, out, or to a second reading.
#![no_main]

use std::path::Component;

use http_chain::files::path::decode;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (bool, &str)| {
    let (colons, path) = input;
    let Ok(decoded) = decode(path, colons) else {
        return;
    };
    let text = decoded.relative.to_str().expect("decoded from UTF-8");
    assert!(!text.contains(['\\', '\0']) && (colons || !text.contains(':')));
    let is_normal = |component| matches!(component, Component::Normal(_));
    assert!(decoded.relative.is_relative() && decoded.relative.components().all(is_normal));
});
