//! Canonical JSON text of a [`Value`], and back.
//!
//! Dates are ISO 8601 text, bytes are `{"type":"Buffer","data":[…]}`, big integers keep all digits, NaN and
//! infinities are `null`. Reading returns plain JSON types; declared attribute types restore the rest.

use std::fmt;

use num_bigint::BigInt;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::{Map, Value};

/// Deepest nesting of arrays and objects that is read.
pub const MAX_DEPTH: usize = 128;

/// Why a text is not JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct JsonError {
    message: String,
}

/// Writes `value` as JSON text.
///
/// ```
/// use resource::{json, Map, Value};
/// let value = Value::Map(Map::from_iter([("a", Value::Int(1)), ("b", Value::Float(0.5))]));
/// assert_eq!(json::to_vec(&value), br#"{"a":1,"b":0.5}"#);
/// ```
pub fn to_vec(value: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    write(value, &mut out);
    out
}

/// Appends `value` as JSON text.
pub fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Int(n) => out.extend_from_slice(itoa::Buffer::new().format(*n).as_bytes()),
        Value::BigInt(n) => out.extend_from_slice(n.to_string().as_bytes()),
        Value::Float(n) => write_float(*n, out),
        Value::String(text) => write_string(text, out),
        Value::Bytes(bytes) => write_bytes(bytes, out),
        Value::Date(date) => {
            out.push(b'"');
            out.extend_from_slice(date.to_string().as_bytes());
            out.push(b'"');
        }
        Value::Array(items) => {
            write_sequence(out, b'[', b']', items.iter(), |item, out| write(item, out))
        }
        Value::Map(map) => write_sequence(out, b'{', b'}', map.iter(), |(name, value), out| {
            write_string(name, out);
            out.push(b':');
            write(value, out);
        }),
    }
}

/// Appends a float: whole numbers without a fraction, as JSON clients print them.
pub fn write_float(number: f64, out: &mut Vec<u8>) {
    if !number.is_finite() {
        out.extend_from_slice(b"null");
    } else if number.fract() == 0.0 && number.abs() < 1e15 {
        out.extend_from_slice(itoa::Buffer::new().format(number as i64).as_bytes());
    } else {
        out.extend_from_slice(ryu::Buffer::new().format_finite(number).as_bytes());
    }
}

/// Appends a text in quotes, escaping what JSON requires.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.reserve(text.len() + 2);
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut start = 0;
    for (at, byte) in bytes.iter().copied().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[start..at]);
        start = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => out.extend_from_slice(&[
                b'\\',
                b'u',
                b'0',
                b'0',
                HEX[usize::from(byte >> 4)],
                HEX[usize::from(byte & 15)],
            ]),
        }
    }
    out.extend_from_slice(&bytes[start..]);
    out.push(b'"');
}

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"type":"Buffer","data":"#);
    write_sequence(out, b'[', b']', bytes.iter(), |byte, out| {
        out.extend_from_slice(itoa::Buffer::new().format(*byte).as_bytes());
    });
    out.push(b'}');
}

fn write_sequence<T>(
    out: &mut Vec<u8>,
    open: u8,
    close: u8,
    items: impl Iterator<Item = T>,
    each: impl Fn(T, &mut Vec<u8>),
) {
    out.push(open);
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        each(item, out);
    }
    out.push(close);
}

/// Reads one JSON text; anything after it but white space is an error.
///
/// # Errors
///
/// [`JsonError`] that says what and where (line and column), also for nesting beyond [`MAX_DEPTH`].
pub fn from_slice(text: &[u8]) -> Result<Value, JsonError> {
    let error = |error: serde_json::Error| JsonError {
        message: error.to_string(),
    };
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = Seed { depth: 0 }.deserialize(&mut reader).map_err(error)?;
    reader.end().map_err(error)?;
    Ok(value)
}

/// Reads values of any serde format into [`Value`].
#[derive(Clone, Copy)]
struct Seed {
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Seed {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Seed {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.depth < MAX_DEPTH {
            true => Ok(Self {
                depth: self.depth + 1,
            }),
            false => Err(E::custom(format_args!(
                "nested deeper than {MAX_DEPTH} levels"
            ))),
        }
    }
}

impl<'de> Visitor<'de> for Seed {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }
    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(Value::from(BigInt::from(value)))
    }
    fn visit_u128<E>(self, value: u128) -> Result<Value, E> {
        Ok(Value::from(BigInt::from(value)))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }
    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }
    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }
    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Value, E> {
        Ok(Value::Bytes(bytes.to_vec().into()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let deeper = self.deeper()?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(deeper)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let deeper = self.deeper()?;
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(deeper)?;
            map.insert(name, value);
        }
        Ok(Value::Map(map))
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Seed { depth: 0 }.deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_survives_a_round_trip() {
        let text = br#"{"a":[1,-2.5,true,null,"x\"\\\n\u0001"],"b":{"c":18446744073709551615}}"#;
        assert_eq!(to_vec(&from_slice(text).unwrap()), text.to_vec());
    }

    #[test]
    fn an_error_says_where() {
        let error = from_slice(b"{\"a\":1,}").unwrap_err();
        assert!(error.to_string().contains("line 1 column 8"), "{error}");
        assert!(from_slice(b"1 2").is_err());
    }

    #[test]
    fn deep_nesting_is_refused() {
        let text = "[".repeat(200_000);
        assert!(from_slice(text.as_bytes()).is_err());
    }
}
