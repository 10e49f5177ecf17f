//! `application/x-www-form-urlencoded` (WHATWG URL, §5), read only.

use percent_encoding::percent_decode;
use resource::{AttributeType, Map, TableDefinition, Value, coerce};

use crate::{Codec, DecodeContext, DecodeError, Direction, EncodeError};

/// Most pairs of one form. Each costs much more memory than the two bytes that it may take.
pub const MAX_PAIRS: usize = 1000;

/// Forms, read only.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Form;

/// Reads a form: an object, whose repeated names become arrays.
///
/// Values are text; those of attributes that `table` declares are read by their type.
///
/// ```
/// use resource::json;
/// let form = content::form::decode(b"name=Rex+II&tag=a&tag=b%26c", None)?;
/// assert_eq!(json::to_vec(&form), br#"{"name":"Rex II","tag":["a","b&c"]}"#);
/// # Ok::<(), content::DecodeError>(())
/// ```
///
/// # Errors
///
/// [`DecodeError::Malformed`] for text that is not UTF-8 and values that do not fit their attribute,
/// [`DecodeError::OverLimit`] for more than [`MAX_PAIRS`] pairs.
pub fn decode(bytes: &[u8], table: Option<&TableDefinition>) -> Result<Value, DecodeError> {
    let mut fields = Fields::new(table);
    let pairs = bytes.split(|byte| *byte == b'&');
    for (index, pair) in pairs.filter(|pair| !pair.is_empty()).enumerate() {
        if index == MAX_PAIRS {
            let what = format!("a form of more than {MAX_PAIRS} pairs");
            return Err(DecodeError::OverLimit(what));
        }
        let equals = pair.iter().position(|byte| *byte == b'=');
        let (name, value) = match equals {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, &[][..]),
        };
        fields.push_text("form", decode_text(name)?, decode_text(value)?)?;
    }
    Ok(fields.finish())
}

fn decode_text(raw: &[u8]) -> Result<String, DecodeError> {
    let spaced: Vec<u8> = raw
        .iter()
        .map(|byte| if *byte == b'+' { b' ' } else { *byte })
        .collect();
    match percent_decode(&spaced).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => {
            let shown = String::from_utf8_lossy(raw).into_owned();
            Err(DecodeError::malformed(
                "form",
                format!("'{shown}' is not UTF-8"),
            ))
        }
    }
}

/// The fields of a form as they are read: an object in the making.
#[derive(Debug)]
pub struct Fields<'t> {
    table: Option<&'t TableDefinition>,
    map: Map,
}

impl<'t> Fields<'t> {
    /// No fields; those that `table` declares will be read by their types.
    pub fn new(table: Option<&'t TableDefinition>) -> Self {
        Self {
            table,
            map: Map::new(),
        }
    }

    /// The declared type of a field.
    fn kind(&self, name: &str) -> Option<&'t AttributeType> {
        Some(&self.table?.attribute(name)?.kind)
    }

    /// Adds a field of text, read by the type of its attribute.
    pub(crate) fn push_text(
        &mut self,
        format: &'static str,
        name: String,
        text: String,
    ) -> Result<(), DecodeError> {
        let value = match self.kind(&name) {
            Some(kind) => coerce::declared(&name, &text, kind)
                .map_err(|error| DecodeError::malformed(format, error.message()))?,
            None => Value::String(text),
        };
        self.push(name, value);
        Ok(())
    }

    /// Adds a field; the second of a name makes it an array.
    pub fn push(&mut self, name: String, value: Value) {
        let is_list = matches!(self.kind(&name), Some(AttributeType::Array(_)));
        match self.map.get_mut(&name) {
            Some(Value::Array(values)) => values.push(value),
            Some(first) => {
                let both = vec![std::mem::take(first), value];
                *first = Value::Array(both);
            }
            None if is_list => {
                self.map.insert(name, vec![value]);
            }
            None => {
                self.map.insert(name, value);
            }
        }
    }

    /// The object.
    pub fn finish(self) -> Value {
        Value::Map(self.map)
    }
}

impl Codec for Form {
    fn media_types(&self) -> &'static [&'static str] {
        &["application/x-www-form-urlencoded"]
    }
    fn direction(&self) -> Direction {
        Direction::In
    }
    fn decode(&self, bytes: &[u8], context: &DecodeContext<'_>) -> Result<Value, DecodeError> {
        decode(bytes, context.table)
    }
    fn encode(&self, value: &Value, _: &mut Vec<u8>) -> Result<(), EncodeError> {
        Err(EncodeError::new("form", value.kind()))
    }
}

#[cfg(test)]
mod tests {
    use resource::json;

    use super::*;

    fn read(form: &str) -> String {
        String::from_utf8(json::to_vec(&decode(form.as_bytes(), None).unwrap())).unwrap()
    }

    #[test]
    fn pairs_are_decoded_after_they_are_split() {
        assert_eq!(read(""), "{}");
        assert_eq!(read("&&a&b=&=c&"), r#"{"a":"","b":"","":"c"}"#);
        assert_eq!(read("a%3Db=c%26d=e"), r#"{"a=b":"c&d=e"}"#);
        assert_eq!(read("a=1&a=2&a=3"), r#"{"a":["1","2","3"]}"#);
    }

    #[test]
    fn what_is_no_form_is_an_error() {
        assert!(decode(b"a=%FF", None).is_err());
        let many = "a&".repeat(MAX_PAIRS + 1);
        let error: resource::Error = decode(many.as_bytes(), None).unwrap_err().into();
        assert_eq!(error.status(), 413);
    }
}
