//! Text of paths and queries as values of a declared type (`schema-and-storage.md` §3.2, `rest.md` §7.4).

use num_bigint::BigInt;
use resource::{AttributeType, Conversion, Date, Error, Value};

use super::types::{bigint, date, shortened};

/// The value of key text; `null` and the empty text are null where the type is not text.
pub(super) fn key_value(attribute: &str, kind: &AttributeType, text: &str) -> Result<Value, Error> {
    let value = match kind {
        AttributeType::Id | AttributeType::String => Value::from(text),
        AttributeType::Any if text == "null" => Value::Null,
        AttributeType::Any => decimal(text).unwrap_or_else(|| Value::from(text)),
        kind => coerce(attribute, kind, text)?,
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
            coerce(attribute, kind, text)
        }
        (Conversion::Typed, _) | (_, AttributeType::String) => Ok(Value::from(text)),
        // The bare word is null for every operator; `string:null` arrives as typed.
        (_, _) if text == "null" => Ok(Value::Null),
        (Conversion::Declared, AttributeType::Any) => Ok(Value::from(text)),
        (Conversion::Guess, AttributeType::Any) => Ok(guess(text)),
        (_, kind) => coerce(attribute, kind, text),
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

/// Text as a value of a type that is declared.
fn coerce(attribute: &str, kind: &AttributeType, text: &str) -> Result<Value, Error> {
    let value = match (kind, text) {
        (AttributeType::String | AttributeType::Id | AttributeType::Any, _) => {
            Some(Value::from(text))
        }
        (_, "" | "null") => Some(Value::Null),
        (AttributeType::Int | AttributeType::Long, _) => integer(text),
        (AttributeType::Float, _) => float(text),
        (AttributeType::BigInt, _) => bigint(&Value::from(text)),
        (AttributeType::Date, _) => instant(text),
        (AttributeType::Boolean, _) => Some(boolean(text)),
        // Bytes are written as text in bodies too; the others match nothing.
        (AttributeType::Bytes, _) => Some(Value::Bytes(text.as_bytes().to_vec().into())),
        _ => Some(Value::from(text)),
    };
    value.ok_or_else(|| invalid(attribute, kind, text))
}

fn invalid(attribute: &str, kind: &AttributeType, text: &str) -> Error {
    Error::bad_request(format!(
        "Invalid value for attribute {attribute}: \"{}\", expecting {}",
        shortened(text),
        kind.name()
    ))
}

/// Strict digits with an optional `-`; after `$` digits of base 36.
fn integer(text: &str) -> Option<Value> {
    let (radix, digits) = match text.strip_prefix('$') {
        Some(rest) => (36, rest),
        None => (10, text),
    };
    let unsigned = digits.strip_prefix('-').unwrap_or(digits);
    let legal = (1..=300).contains(&unsigned.len()) && unsigned.chars().all(|c| c.is_digit(radix));
    legal
        .then(|| BigInt::parse_bytes(digits.as_bytes(), radix))
        .flatten()
        .map(Value::from)
}

/// A decimal number; words such as `inf` are none.
fn float(text: &str) -> Option<Value> {
    let text = text.trim();
    let decimal = text
        .bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
    let number: f64 = text.parse().ok().filter(|_| decimal)?;
    number.is_finite().then_some(Value::Float(number))
}

/// Epoch milliseconds if it is all digits, else ISO 8601.
fn instant(text: &str) -> Option<Value> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let millis = !unsigned.is_empty() && unsigned.bytes().all(|byte| byte.is_ascii_digit());
    match millis {
        true => text.parse().ok().and_then(Date::from_millis),
        false => Date::parse(text),
    }
    .map(Value::Date)
}

/// `true` and `false` in any case; other text stays text and matches nothing.
fn boolean(text: &str) -> Value {
    match text {
        _ if text.eq_ignore_ascii_case("true") => Value::Bool(true),
        _ if text.eq_ignore_ascii_case("false") => Value::Bool(false),
        _ => Value::from(text),
    }
}

/// What text without any type most likely is.
fn guess(text: &str) -> Value {
    match text {
        "true" | "TRUE" => return Value::Bool(true),
        "false" | "FALSE" => return Value::Bool(false),
        "null" | "NULL" | "undefined" => return Value::Null,
        "NaN" => return Value::Float(f64::NAN),
        _ => {}
    }
    let date_time = text.len() > 10 && text.as_bytes()[10] == b'T';
    let date = || Date::parse(text).filter(|_| date_time).map(Value::Date);
    decimal(text)
        .or_else(date)
        .unwrap_or_else(|| Value::from(text))
}

/// A number in the one spelling that text made from a number has: no leading zeros, no exponent.
fn decimal(text: &str) -> Option<Value> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = match unsigned.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (unsigned, None),
    };
    let digits = |part: &str| {
        (1..=300).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    if !digits(whole) || (whole.len() > 1 && whole.starts_with('0')) || text == "-0" {
        return None;
    }
    match fraction {
        None => text.parse::<BigInt>().ok().map(Value::from),
        Some(fraction) if digits(fraction) => text.parse().ok().map(Value::Float),
        Some(_) => None,
    }
}
