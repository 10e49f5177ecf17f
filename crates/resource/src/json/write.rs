//! A [`Value`] to JSON text.

use super::plain_run;
use crate::Value;

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
        Value::Array(items) => write_sequence(out, b'[', b']', items.iter(), write),
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
    out.reserve(text.len() + 2);
    out.push(b'"');
    let mut rest = text.as_bytes();
    loop {
        let (plain, tail) = rest.split_at(plain_run(rest));
        out.extend_from_slice(plain);
        let Some((special, tail)) = tail.split_first() else {
            break;
        };
        write_escaped(*special, out);
        rest = tail;
    }
    out.push(b'"');
}

fn write_escaped(byte: u8, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let (high, low) = (usize::from(byte >> 4), usize::from(byte & 15));
    match byte {
        b'"' => out.extend_from_slice(b"\\\""),
        b'\\' => out.extend_from_slice(b"\\\\"),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        _ => out.extend_from_slice(&[b'\\', b'u', b'0', b'0', HEX[high], HEX[low]]),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Date;

    #[test]
    fn every_kind_has_its_text() {
        for (value, text) in [
            (Value::Float(f64::NAN), "null"),
            (Value::Float(-0.0), "0"),
            (Value::Float(1e21), "1e21"),
            (Value::Float(0.1), "0.1"),
            (
                Value::from(Date::from_millis(0).unwrap()),
                "\"1970-01-01T00:00:00.000Z\"",
            ),
            (
                Value::Bytes(bytes::Bytes::from_static(&[0, 255])),
                r#"{"type":"Buffer","data":[0,255]}"#,
            ),
            (
                Value::from("a\"\\\n\r\t\u{0}\u{7f}€"),
                "\"a\\\"\\\\\\n\\r\\t\\u0000\u{7f}€\"",
            ),
        ] {
            assert_eq!(to_vec(&value), text.as_bytes());
        }
    }
}
