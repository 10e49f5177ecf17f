//! `text/yaml` (YAML 1.2), written only.
//!
//! Collections are in block style. A text that could be taken for anything else is quoted; dates are plain
//! timestamps, bytes are `!!binary`, big integers keep all digits. Our own writer, as it has to write a
//! collection record by record, and integers of any size.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use resource::{Record, Value, json};

use crate::{Codec, DecodeContext, DecodeError, Direction, EncodeError, Framing, Layout};

/// YAML, written only: a request body of this type is kept as content.
#[derive(Debug, Clone, Copy, Default)]
pub struct Yaml;

/// Longest name that is written before a colon without a question mark. YAML 1.2 (§8.2.2) allows 1024
/// characters, escapes included.
const MAX_IMPLICIT_KEY_BYTES: usize = 128;

/// Appends a document with this value.
///
/// ```
/// use resource::json;
/// let value = json::from_slice(br#"{"name":"Rex","tags":["a","no"],"none":[]}"#).unwrap();
/// let mut out = Vec::new();
/// content::yaml::encode(&value, &mut out);
/// assert_eq!(out, b"name: Rex\ntags:\n  - a\n  - \"no\"\nnone: []\n");
/// ```
pub fn encode(value: &Value, out: &mut Vec<u8>) {
    write_node(value, 0, out);
    if !out.ends_with(b"\n") {
        out.push(b'\n');
    }
}

/// A value at the beginning of a line that is indented by `indent` already.
fn write_node(value: &Value, indent: usize, out: &mut Vec<u8>) {
    match value {
        Value::Array(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    write_indent(indent, out);
                }
                write_item(item, indent, out);
            }
        }
        Value::Map(map) if !map.is_empty() => {
            for (index, (name, value)) in map.iter().enumerate() {
                if index > 0 {
                    write_indent(indent, out);
                }
                write_member(name, value, indent, out);
            }
        }
        scalar => {
            write_scalar(scalar, out);
            out.push(b'\n');
        }
    }
}

fn write_item(item: &Value, indent: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(b"- ");
    write_node(item, indent + 2, out);
}

fn write_member(name: &str, value: &Value, indent: usize, out: &mut Vec<u8>) {
    if name.len() > MAX_IMPLICIT_KEY_BYTES {
        out.extend_from_slice(b"? ");
        write_text(name, out);
        out.push(b'\n');
        write_indent(indent, out);
    } else {
        write_text(name, out);
    }
    match is_block(value) {
        true => {
            out.extend_from_slice(b":\n");
            write_indent(indent + 2, out);
            write_node(value, indent + 2, out);
        }
        false => {
            out.extend_from_slice(b": ");
            write_scalar(value, out);
            out.push(b'\n');
        }
    }
}

fn is_block(value: &Value) -> bool {
    match value {
        Value::Array(items) => !items.is_empty(),
        Value::Map(map) => !map.is_empty(),
        _ => false,
    }
}

fn write_indent(indent: usize, out: &mut Vec<u8>) {
    out.resize(out.len() + indent, b' ');
}

/// A value that takes no line of its own.
fn write_scalar(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Float(number) if number.is_nan() => out.extend_from_slice(b".nan"),
        Value::Float(number) if number.is_infinite() => {
            out.extend_from_slice(if *number > 0.0 { b".inf" } else { b"-.inf" });
        }
        Value::String(text) => write_text(text, out),
        Value::Date(date) => out.extend_from_slice(date.to_string().as_bytes()),
        Value::Bytes(bytes) => {
            out.extend_from_slice(b"!!binary \"");
            out.extend_from_slice(STANDARD.encode(bytes).as_bytes());
            out.push(b'"');
        }
        other => json::write(other, out),
    }
}

/// A text: plain where it can be nothing else, otherwise in double quotes.
fn write_text(text: &str, out: &mut Vec<u8>) {
    if is_plain(text) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            // Not printable in YAML 1.2 (§5.1), or a line break in YAML 1.1.
            '\0'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{feff}'
            | '\u{fffe}'
            | '\u{ffff}' => {
                // Writing to a string does not fail.
                let _ = write!(quoted, "\\u{:04x}", u32::from(character));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    out.extend_from_slice(quoted.as_bytes());
}

/// Whether every reader takes it for a text: a letter, then letters, digits and harmless signs, and no
/// word of YAML 1.1 or 1.2.
fn is_plain(text: &str) -> bool {
    const WORDS: &[&str] = &["null", "true", "false", "yes", "no", "on", "off", "y", "n"];
    let is_harmless = |byte: u8| byte.is_ascii_alphanumeric() || b" _-./@$".contains(&byte);
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && !text.ends_with(' ')
        && text.bytes().all(is_harmless)
        && !WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
}

impl Codec for Yaml {
    fn media_types(&self) -> &'static [&'static str] {
        &["text/yaml"]
    }
    fn weight(&self) -> f32 {
        0.7
    }
    fn direction(&self) -> Direction {
        Direction::Out
    }
    fn decode(&self, _: &[u8], context: &DecodeContext<'_>) -> Result<Value, DecodeError> {
        let essence = context.media_type.essence();
        Err(DecodeError::UnknownMediaType(essence.to_owned()))
    }
    fn encode(&self, value: &Value, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        encode(value, out);
        Ok(())
    }
    fn encode_record(
        &self,
        record: &Record,
        layout: &Layout,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let value = layout.projection.project(record).unwrap_or_default();
        write_item(&value, 0, out);
        Ok(())
    }
    fn single(&self, record: &Record, layout: Layout) -> Result<bytes::Bytes, EncodeError> {
        let mut out = Vec::with_capacity(256);
        encode(
            &layout.projection.project(record).unwrap_or_default(),
            &mut out,
        );
        Ok(out.into())
    }
    fn framing(&self) -> Framing {
        Framing {
            empty: Some(b"[]\n"),
            ..Framing::default()
        }
    }
    fn encode_failure(&self, error: &resource::Error, out: &mut Vec<u8>) -> bool {
        write_item(&crate::codec::failure(error), 0, out);
        true
    }
}

#[cfg(test)]
mod tests {
    use num_bigint::BigInt;
    use resource::{Date, Map};

    use super::*;

    fn map(members: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
        Value::Map(members.into_iter().collect::<Map>())
    }

    fn yaml(value: &Value) -> String {
        let mut out = Vec::new();
        encode(value, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn types_beyond_json_are_kept() {
        let value = map([
            ("big", Value::from(BigInt::from(1) << 80)),
            ("nan", Value::Float(f64::NAN)),
            ("at", Value::Date(Date::from_millis(0).unwrap())),
            ("bytes", Value::Bytes(b"\x01\x02".as_slice().into())),
            ("text", "1970-01-01T00:00:00.000Z".into()),
        ]);
        assert_eq!(
            yaml(&value),
            "big: 1208925819614629174706176\nnan: .nan\nat: 1970-01-01T00:00:00.000Z\n\
             bytes: !!binary \"AQI=\"\ntext: \"1970-01-01T00:00:00.000Z\"\n"
        );
    }

    #[test]
    fn collections_nest_in_blocks() {
        let inner = Value::Array(vec![
            Value::Array(vec![1_i64.into(), 2_i64.into()]),
            map([]),
        ]);
        let value = Value::Array(vec![map([("a", inner), ("b", Value::Null)]), Value::Null]);
        assert_eq!(
            yaml(&value),
            "- a:\n    - - 1\n      - 2\n    - {}\n  b: null\n- null\n"
        );
    }

    #[test]
    fn a_text_stays_a_text() {
        for (text, expected) in [
            ("Rex", "Rex"),
            ("two words", "two words"),
            ("NO", "\"NO\""),
            ("", "\"\""),
            ("12", "\"12\""),
            ("a: b", "\"a: b\""),
            ("a #b", "\"a #b\""),
            ("é", "\"é\""),
            ("a\u{85}\n", "\"a\\u0085\\n\""),
        ] {
            assert_eq!(yaml(&Value::from(text)), format!("{expected}\n"));
        }
    }
}
