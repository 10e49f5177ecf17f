//! `application/x-msgpack` and `application/msgpack`.
//!
//! Dates are the timestamp extension (type -1), integers outside 64 bits the extension type 0x42 (a
//! big-endian two's complement), as JavaScript's encoders write them. A collection goes out as values one
//! after the other, without an array around them.

mod decode;
mod encode;

use resource::Value;

pub use self::decode::{decode, decode_first};
pub use self::encode::encode;
use crate::{Codec, DecodeContext, DecodeError, EncodeError};

/// Extension type of a point in time.
const TIMESTAMP: i8 = -1;
/// Extension type of a big integer.
const BIG_INTEGER: i8 = 0x42;
/// Extension type under which JavaScript's encoders write `undefined`.
const UNDEFINED: i8 = 0;

/// MessagePack.
#[derive(Debug, Clone, Copy, Default)]
pub struct MessagePack;

impl Codec for MessagePack {
    fn media_types(&self) -> &'static [&'static str] {
        &["application/x-msgpack", "application/msgpack"]
    }
    fn suffix(&self) -> Option<&'static str> {
        Some("msgpack")
    }
    fn weight(&self) -> f32 {
        0.9
    }
    fn decode(&self, bytes: &[u8], _: &DecodeContext<'_>) -> Result<Value, DecodeError> {
        decode(bytes)
    }
    fn encode(&self, value: &Value, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        encode(value, out)
    }
}
