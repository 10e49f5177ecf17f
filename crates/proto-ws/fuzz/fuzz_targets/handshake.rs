//! Fields of an opening handshake: no panic, and every answer can be sent.
#![no_main]

use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use proto_ws::DeflateConfig;
use proto_ws::handshake::{Form, Offer};

fuzz_target!(|bytes: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let name = parts.next().map(HeaderName::from_bytes);
        let value = parts.next().map(HeaderValue::from_bytes);
        if let (Some(Ok(name)), Some(Ok(value))) = (name, value) {
            headers.append(name, value);
        }
    }
    for form in [Form::Upgrade, Form::Connect] {
        if let Ok(offer) = Offer::parse(form, &headers, Some(&DeflateConfig::DEFAULT)) {
            let _ = offer.response(offer.protocols().next());
        }
    }
    let _ = proto_ws::origin::check(&headers, Some("example.org"), None, true);
});
