//! `application/octet-stream`: bytes without further meaning.

use bytes::Bytes;
use resource::Value;

use crate::{Codec, DecodeContext, DecodeError, Direction, EncodeError};

/// Bytes as they are. Going out they need no negotiation: a value that is bytes is sent as bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Octets;

impl Codec for Octets {
    fn media_types(&self) -> &'static [&'static str] {
        &["application/octet-stream"]
    }
    fn direction(&self) -> Direction {
        Direction::In
    }
    fn decode(&self, bytes: &[u8], _: &DecodeContext<'_>) -> Result<Value, DecodeError> {
        Ok(Value::Bytes(Bytes::copy_from_slice(bytes)))
    }
    fn encode(&self, value: &Value, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match value {
            Value::Bytes(bytes) => out.extend_from_slice(bytes),
            other => return Err(EncodeError::new("application/octet-stream", other.kind())),
        }
        Ok(())
    }
}
