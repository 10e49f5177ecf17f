//! Text of paths and queries as values of a declared type (`schema-and-storage.md` §3.2, `rest.md` §7.4).

use resource::{AttributeType, Conversion, Error, Value, coerce};

use super::types::{bigint, date, shortened};

/// The value of key text; `null` and the empty text are null where the type is not text.
pub(super) fn key_value(attribute: &str, kind: &AttributeType, text: &str) -> Result<Value, Error> {
    let value = match kind {
        AttributeType::Id | AttributeType::String => Value::from(text),
        AttributeType::Any if text == "null" => Value::Null,
        AttributeType::Any => number(text).unwrap_or_else(|| Value::from(text)),
        kind => coerce::declared(attribute, text, kind)?,
    };
    let in_range = match (kind, &value) {
        (AttributeType::Int, Value::Int(n)) => i32::try_from(*n).is_ok(),
        (AttributeType::Int | AttributeType::Long, Value::BigInt(_)) => false,
        (AttributeType::Long, Value::Int(n)) => n.unsigned_abs() <= 1 << 53,
        _ => true,
    };
    match in_range {
        true => Ok(value),
        false => Err(invalid(attribute, kind, text)),
    }
}

/// The operand that query text stands for.
pub(super) fn operand(
    attribute: &str,
    kind: &AttributeType,
    text: &str,
    conversion: Conversion,
) -> Result<Value, Error> {
    match (conversion, kind) {
        (Conversion::Typed, AttributeType::Date | AttributeType::BigInt) => {
            coerce::declared(attribute, text, kind)
        }
        (Conversion::Typed, _) | (_, AttributeType::String) => Ok(Value::from(text)),
        // The bare word is null for every operator; `string:null` arrives as typed.
        (_, _) if text == "null" => Ok(Value::Null),
        (Conversion::Declared, AttributeType::Any) => Ok(Value::from(text)),
        (Conversion::Guess, AttributeType::Any) => Ok(coerce::guess(text)),
        (_, kind) => coerce::declared(attribute, text, kind),
    }
}

/// A typed operand; only numbers that stand for dates or big integers convert.
pub(super) fn typed_operand(kind: &AttributeType, value: &Value) -> Value {
    let converted = match kind {
        AttributeType::Date => date(value).map(Value::Date),
        AttributeType::BigInt => bigint(value),
        _ => None,
    };
    converted.unwrap_or_else(|| value.clone())
}

fn invalid(attribute: &str, kind: &AttributeType, text: &str) -> Error {
    Error::bad_request(format!(
        "Invalid value for attribute {attribute}: \"{}\", expecting {}",
        shortened(text),
        kind.name()
    ))
}

/// A number by its look, as key text of an untyped attribute.
fn number(text: &str) -> Option<Value> {
    match coerce::guess(text) {
        Value::Float(number) if !number.is_finite() => None,
        number @ (Value::Int(_) | Value::BigInt(_) | Value::Float(_)) => Some(number),
        _ => None,
    }
}
