//! Text without a type (URLs, CSV cells) to values, by declared type or by look
//! (`schema-and-storage.md` §3.2).

use bytes::Bytes;
use num_bigint::BigInt;

use crate::json::MAX_INTEGER_DIGITS;
use crate::{AttributeType, Date, Error, Key, Value};

/// The value that `text` stands for in an attribute of type `kind`.
///
/// Text and untyped attributes take it as it is. For the others an empty text and `null` are null. A list
/// takes it as one element. A boolean or an object that does not read as one stays text, which then
/// equals nothing and fails validation.
///
/// ```
/// use resource::{coerce, AttributeType, Value};
/// assert_eq!(coerce::declared("a", "$1f", &AttributeType::Long).unwrap(), Value::Int(51));
/// let error = coerce::declared("id", "abc", &AttributeType::Long).unwrap_err();
/// assert_eq!(error.message(), r#"Invalid value for attribute id: "abc", expecting Long"#);
/// ```
///
/// # Errors
///
/// 400 `Invalid value for attribute <name>: "<text>", expecting <Type>`.
pub fn declared(name: &str, text: &str, kind: &AttributeType) -> Result<Value, Error> {
    match kind {
        AttributeType::String | AttributeType::Id | AttributeType::Any => {
            return Ok(Value::from(text));
        }
        AttributeType::Array(element) => return declared(name, text, &element.kind),
        _ if text.is_empty() || text == "null" => return Ok(Value::Null),
        _ => {}
    }
    let value = match kind {
        AttributeType::Int | AttributeType::Long => whole(text),
        AttributeType::BigInt => decimal(text),
        AttributeType::Float => float(text),
        AttributeType::Date => date(text),
        AttributeType::Boolean if text.eq_ignore_ascii_case("true") => Some(Value::Bool(true)),
        AttributeType::Boolean if text.eq_ignore_ascii_case("false") => Some(Value::Bool(false)),
        AttributeType::Bytes => Some(Value::Bytes(Bytes::copy_from_slice(text.as_bytes()))),
        _ => Some(Value::from(text)),
    };
    value.ok_or_else(|| {
        let kind = kind.name();
        Error::bad_request(format!(
            "Invalid value for attribute {name}: {text:?}, expecting {kind}"
        ))
    })
}

/// The value that `text` looks like: `true`, `false`, `null`, `undefined`, `NaN`, a number without leading
/// zero or exponent, an ISO 8601 date and time; anything else is text.
///
/// ```
/// use resource::{coerce, Value};
/// assert_eq!(coerce::guess("0.5"), Value::Float(0.5));
/// assert_eq!(coerce::guess("007"), Value::from("007"));
/// ```
pub fn guess(text: &str) -> Value {
    match text {
        "true" | "TRUE" => Value::Bool(true),
        "false" | "FALSE" => Value::Bool(false),
        "null" | "NULL" | "undefined" => Value::Null,
        "NaN" => Value::Float(f64::NAN),
        _ => number_by_look(text)
            .or_else(|| date_by_look(text))
            .unwrap_or_else(|| Value::from(text)),
    }
}

/// The primary key that decoded path text stands for in a table whose key attribute is `name` of type
/// `kind`. Without a declared type a number by its look is a number, and all else is text.
///
/// # Errors
///
/// As [`declared`], and 400 for a text that makes no key.
pub fn key(name: &str, text: &str, kind: &AttributeType) -> Result<Key, Error> {
    match kind {
        AttributeType::Any => match number_by_look(text) {
            Some(number) => Key::from_value(&number),
            None => Ok(Key::from(text)),
        },
        _ => Key::from_value(&declared(name, text, kind)?),
    }
}

fn is_decimal(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// `-?[0-9]+`, as exact as it gets.
fn decimal(text: &str) -> Option<Value> {
    if !is_decimal(text) || text.len() > MAX_INTEGER_DIGITS {
        return None;
    }
    match text.parse::<i64>() {
        Ok(number) => Some(Value::Int(number)),
        Err(_) => BigInt::parse_bytes(text.as_bytes(), 10).map(Value::from),
    }
}

/// [`decimal`], or `$` and base 36.
fn whole(text: &str) -> Option<Value> {
    match text.strip_prefix('$') {
        Some(base36) if base36.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            i64::from_str_radix(base36, 36).ok().map(Value::Int)
        }
        Some(_) => None,
        None => decimal(text),
    }
}

fn float(text: &str) -> Option<Value> {
    let is_number = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E'));
    let number = text.parse::<f64>().ok().filter(|_| is_number)?;
    Some(Value::Float(number))
}

fn date(text: &str) -> Option<Value> {
    let date = match is_decimal(text) {
        true => Date::from_millis(text.parse().ok()?),
        false => Date::parse(text),
    };
    date.map(Value::Date)
}

fn number_by_look(text: &str) -> Option<Value> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = match unsigned.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (unsigned, None),
    };
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let has_leading_zero = whole.len() > 1 && whole.starts_with('0');
    if whole.is_empty() || !all_digits(whole) || has_leading_zero {
        return None;
    }
    match fraction {
        None => decimal(text),
        Some(fraction) if !fraction.is_empty() && all_digits(fraction) => float(text),
        Some(_) => None,
    }
}

fn date_by_look(text: &str) -> Option<Value> {
    let has_time = text.as_bytes().get(10) == Some(&b'T');
    let date = Date::parse(text).filter(|_| has_time)?;
    Some(Value::Date(date))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Element;

    #[test]
    fn declared_types_decide() {
        let date = Value::Date(Date::parse("2025-07-14T06:30:00Z").unwrap());
        for (text, kind, expected) in [
            ("42", AttributeType::Int, Value::Int(42)),
            ("-7", AttributeType::Long, Value::Int(-7)),
            ("null", AttributeType::Long, Value::Null),
            ("", AttributeType::Date, Value::Null),
            ("", AttributeType::String, Value::from("")),
            ("null", AttributeType::String, Value::from("null")),
            ("42", AttributeType::Id, Value::from("42")),
            ("42", AttributeType::Any, Value::from("42")),
            ("1e3", AttributeType::Float, Value::Float(1000.0)),
            ("TRUE", AttributeType::Boolean, Value::Bool(true)),
            ("yes", AttributeType::Boolean, Value::from("yes")),
            ("1752474600000", AttributeType::Date, date.clone()),
            ("2025-07-14T06:30", AttributeType::Date, date),
            (
                "18446744073709551616",
                AttributeType::BigInt,
                Value::from(BigInt::from(1u128 << 64)),
            ),
        ] {
            assert_eq!(
                declared("a", text, &kind).unwrap(),
                expected,
                "{text} {kind:?}"
            );
        }
        let list = AttributeType::Array(Box::new(Element {
            kind: AttributeType::Int,
            nullable: true,
        }));
        assert_eq!(declared("a", "5", &list).unwrap(), Value::Int(5));
    }

    #[test]
    fn text_that_does_not_fit_names_attribute_and_type() {
        for (text, kind) in [
            ("1.5", AttributeType::Int),
            ("+1", AttributeType::Long),
            ("$", AttributeType::Long),
            ("$+1", AttributeType::Long),
            ("NaN", AttributeType::Float),
            ("inf", AttributeType::Float),
            ("yesterday", AttributeType::Date),
            ("12x", AttributeType::BigInt),
        ] {
            let error = declared("a", text, &kind).unwrap_err();
            assert_eq!(error.status(), 400);
            assert!(error.message().ends_with(kind.name()), "{error}");
        }
    }

    #[test]
    fn a_guess_leaves_doubtful_text_alone() {
        for text in [
            "007",
            "1e5",
            "-",
            "",
            ".5",
            "5.",
            "1,5",
            "2019-11-02",
            "True",
            "0x1f",
            "-01",
        ] {
            assert_eq!(guess(text), Value::from(text));
        }
        for (text, expected) in [
            ("0", Value::Int(0)),
            ("-12", Value::Int(-12)),
            ("-0.25", Value::Float(-0.25)),
            ("undefined", Value::Null),
            (
                "2019-11-02T18:45:00.000Z",
                Value::Date(Date::parse("2019-11-02T18:45:00Z").unwrap()),
            ),
        ] {
            assert_eq!(guess(text), expected);
        }
    }

    #[test]
    fn i2_i3_path_text_becomes_a_key_by_the_type_of_the_primary_key() {
        assert_eq!(key("id", "12", &AttributeType::Any).unwrap(), Key::Int(12));
        assert_eq!(
            key("id", "12", &AttributeType::Id).unwrap(),
            Key::from("12")
        );
        assert_eq!(
            key("id", "true", &AttributeType::Any).unwrap(),
            Key::from("true")
        );
        assert_eq!(
            key("id", "$1f", &AttributeType::Long).unwrap(),
            Key::Int(51)
        );
        assert_eq!(
            key("id", "null", &AttributeType::Long)
                .unwrap_err()
                .status(),
            400
        );
    }
}
