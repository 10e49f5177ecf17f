//! `Accept` and `Content-Type`: no panic, and a media type is printed as it can be read.
#![no_main]

use content::{ContentTypes, MediaType};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let types = ContentTypes::standard();
    let _ = types.negotiate(Some(text), None);
    let _ = types.prefers_event_stream(text);
    if let Some(media_type) = MediaType::parse(text) {
        assert_eq!(MediaType::parse(&media_type.to_string()), Some(media_type));
    }
});
