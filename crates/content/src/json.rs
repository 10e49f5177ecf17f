//! `application/json` (RFC 8259).

use bytes::Bytes;
use resource::{Body, Record, Value, json};

use crate::{Codec, DecodeContext, DecodeError, EncodeError, Framing, Layout};

/// JSON; stored documents are copied, not decoded.
#[derive(Debug, Clone, Copy, Default)]
pub struct Json;

/// Reads one value; a byte order mark is skipped.
///
/// ```
/// let error = content::json::decode(b"{\"a\": nil}").unwrap_err();
/// assert_eq!(error.to_string(), "JSON: expected a value at line 1 column 7");
/// ```
///
/// # Errors
///
/// [`DecodeError::Malformed`] with line and column.
pub fn decode(bytes: &[u8]) -> Result<Value, DecodeError> {
    let text = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    json::from_slice(text).map_err(|error| DecodeError::malformed("JSON", error.to_string()))
}

impl Codec for Json {
    fn media_types(&self) -> &'static [&'static str] {
        &["application/json"]
    }
    fn suffix(&self) -> Option<&'static str> {
        Some("json")
    }
    fn weight(&self) -> f32 {
        0.8
    }
    fn decode(&self, bytes: &[u8], _: &DecodeContext<'_>) -> Result<Value, DecodeError> {
        decode(bytes)
    }
    fn encode(&self, value: &Value, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        json::write(value, out);
        Ok(())
    }
    fn encode_body(&self, body: &Body, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match body {
            Body::Value(value) => json::write(value, out),
            Body::Document(document) => out.extend_from_slice(&document.json()),
        }
        Ok(())
    }
    fn single(&self, record: &Record, layout: Layout) -> Result<Bytes, EncodeError> {
        Ok(layout
            .projection
            .json(record)
            .unwrap_or(Bytes::from_static(b"null")))
    }
    fn encode_record(
        &self,
        record: &Record,
        layout: &Layout,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        layout.projection.write_json(record, out);
        Ok(())
    }
    fn framing(&self) -> Framing {
        Framing {
            open: b"[",
            separator: b",",
            close: b"]",
            empty: None,
        }
    }
}
