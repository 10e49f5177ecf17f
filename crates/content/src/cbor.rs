//! `application/cbor` (RFC 8949).
//!
//! Dates are tag 1 (seconds since the epoch), integers outside 64 bits are tags 2 and 3. Collections go
//! out as one array of indefinite length.

mod decode;
mod encode;

use resource::Value;

pub use self::decode::decode;
pub use self::encode::encode;
use crate::{Codec, DecodeContext, DecodeError, EncodeError, Framing};

/// CBOR.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cbor;

impl Codec for Cbor {
    fn media_types(&self) -> &'static [&'static str] {
        &["application/cbor"]
    }
    fn suffix(&self) -> Option<&'static str> {
        Some("cbor")
    }
    fn weight(&self) -> f32 {
        1.0
    }
    fn decode(&self, bytes: &[u8], _: &DecodeContext<'_>) -> Result<Value, DecodeError> {
        decode(bytes)
    }
    fn encode(&self, value: &Value, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        encode(value, out);
        Ok(())
    }
    fn framing(&self) -> Framing {
        Framing {
            open: b"\x9F",
            separator: b"",
            close: b"\xFF",
            empty: None,
        }
    }
}
