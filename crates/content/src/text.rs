//! `text/plain`: text as it is, other values in their shortest text form.

use resource::{Error, Value, json};

use crate::{Codec, DecodeContext, DecodeError, EncodeError, Framing, MediaType};

/// Text: strings as they are, numbers, booleans and dates as in JSON without quotation marks, null as
/// nothing, arrays and objects as JSON.
#[derive(Debug, Clone, Copy, Default)]
pub struct Text;

/// Reads text in the encoding of the `charset` parameter: UTF-8 (also when there is none), US-ASCII or
/// ISO-8859-1.
///
/// # Errors
///
/// [`DecodeError::UnknownCharset`], or [`DecodeError::Malformed`] with the place of the first wrong byte.
pub fn decode(bytes: &[u8], media_type: &MediaType) -> Result<String, DecodeError> {
    let charset = media_type.parameter("charset").unwrap_or("utf-8");
    let is = |name: &str| charset.eq_ignore_ascii_case(name);
    if is("iso-8859-1") || is("latin1") {
        return Ok(bytes.iter().copied().map(char::from).collect());
    }
    if !(is("utf-8") || is("utf8") || is("us-ascii") || is("ascii")) {
        return Err(DecodeError::UnknownCharset(charset.to_owned()));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(error) => Err(DecodeError::malformed(
            "text",
            format!("not UTF-8 at byte {}", error.valid_up_to()),
        )),
    }
}

/// Appends the text form of a value.
pub fn encode(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => {}
        Value::String(text) => out.extend_from_slice(text.as_bytes()),
        Value::Date(date) => out.extend_from_slice(date.to_string().as_bytes()),
        other => json::write(other, out),
    }
}

impl Codec for Text {
    fn media_types(&self) -> &'static [&'static str] {
        &["text/plain"]
    }
    fn weight(&self) -> f32 {
        0.2
    }
    fn decode(&self, bytes: &[u8], context: &DecodeContext<'_>) -> Result<Value, DecodeError> {
        decode(bytes, context.media_type).map(Value::String)
    }
    fn encode(&self, value: &Value, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        encode(value, out);
        Ok(())
    }
    fn framing(&self) -> Framing {
        Framing {
            separator: b"\n",
            ..Framing::default()
        }
    }
    fn encode_failure(&self, _: &Error, _: &mut Vec<u8>) -> bool {
        false
    }
}
