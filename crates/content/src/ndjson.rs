//! `application/x-ndjson`: one JSON value a line.

use bytes::Bytes;
use resource::{Body, Record, Value, json};

use crate::{Codec, DecodeContext, DecodeError, EncodeError, Layout};

/// Newline-delimited JSON. A body is always a list: the array of its lines.
#[derive(Debug, Clone, Copy, Default)]
pub struct NdJson;

/// Reads a value from each line that is not blank.
///
/// ```
/// use content::ndjson;
/// use resource::Value;
/// let lines = ndjson::decode(b"{\"a\":1}\r\n\n2\n")?;
/// assert_eq!(lines.as_array().map(<[Value]>::len), Some(2));
/// let error = ndjson::decode(b"1\n{\"a\": nil}\n").unwrap_err();
/// assert_eq!(error.to_string(), "NDJSON: expected a value at line 2 column 7");
/// # Ok::<(), content::DecodeError>(())
/// ```
///
/// # Errors
///
/// [`DecodeError::Malformed`] with line and column.
pub fn decode(bytes: &[u8]) -> Result<Value, DecodeError> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let mut values = Vec::new();
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        if !line.trim_ascii().is_empty() {
            values.push(json::from_slice(line).map_err(|error| at_line(index + 1, &error))?);
        }
    }
    Ok(Value::Array(values))
}

fn at_line(line: usize, error: &json::JsonError) -> DecodeError {
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or_default();
    let column = error.column();
    DecodeError::malformed("NDJSON", format!("{what} at line {line} column {column}"))
}

impl Codec for NdJson {
    fn media_types(&self) -> &'static [&'static str] {
        &["application/x-ndjson", "application/ndjson"]
    }
    fn weight(&self) -> f32 {
        0.7
    }
    fn decode(&self, bytes: &[u8], _: &DecodeContext<'_>) -> Result<Value, DecodeError> {
        decode(bytes)
    }
    /// An array is a line for each element, anything else one line.
    fn encode(&self, value: &Value, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        for line in value.as_array().unwrap_or(std::slice::from_ref(value)) {
            json::write(line, out);
            out.push(b'\n');
        }
        Ok(())
    }
    fn encode_body(&self, body: &Body, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.extend_from_slice(&body.json());
        out.push(b'\n');
        Ok(())
    }
    fn single(&self, record: &Record, layout: Layout) -> Result<Bytes, EncodeError> {
        let mut out = Vec::with_capacity(256);
        self.encode_record(record, &layout, &mut out)?;
        Ok(out.into())
    }
    fn encode_record(
        &self,
        record: &Record,
        layout: &Layout,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        layout.projection.write_json(record, out);
        out.push(b'\n');
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_again() {
        let value = json::from_slice(br#"[{"a":"x\ny"},[1,[]],null,"",9007199254740993]"#).unwrap();
        let mut out = Vec::new();
        NdJson.encode(&value, &mut out).unwrap();
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 5);
        assert_eq!(decode(&out).unwrap(), value);
        assert_eq!(decode(b"").unwrap(), Value::Array(Vec::new()));
    }
}
