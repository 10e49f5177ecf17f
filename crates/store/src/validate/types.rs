//! Values against declared types: one violation a rule, none forgotten.

use std::borrow::Cow;

use bytes::Bytes;
use num_bigint::BigInt;
use num_traits::FromPrimitive as _;
use resource::schema::{Element, ObjectType};
use resource::{AttributeType, Date, Error, Map, Value, json};

use crate::blob;

/// Largest magnitude of a `Long`, 2^53.
const LONG_MAX: i64 = 9_007_199_254_740_992;
/// Digits of a `BigInt`.
const MAX_BIGINT_DIGITS: usize = 300;
/// Violations that are listed; a long array of wrong elements must not make a long answer.
const MAX_VIOLATIONS: usize = 100;
/// Characters of a value or name that a message shows.
const MAX_SHOWN: usize = 1000;

/// Collects the violations of one record.
#[derive(Default)]
pub(super) struct Checker {
    violations: Vec<String>,
    more: usize,
}

impl Checker {
    pub(super) fn violation(&mut self, message: String) {
        match self.violations.len() < MAX_VIOLATIONS {
            true => self.violations.push(message),
            false => self.more += 1,
        }
    }

    pub(super) fn required(&mut self, path: &str) {
        self.violation(format!("Property {path} is required"));
    }

    /// How many violations there are so far.
    pub(super) fn count(&self) -> usize {
        self.violations.len() + self.more
    }

    /// `checked`, unless there were violations.
    pub(super) fn finish<T>(mut self, checked: T) -> Result<T, Error> {
        if self.violations.is_empty() {
            return Ok(checked);
        }
        if self.more > 0 {
            self.violations
                .push(format!("{} more values are wrong", self.more));
        }
        Err(Error::validation(self.violations))
    }

    /// Checks a value that is not null, and gives it the form in which it is stored.
    pub(super) fn value(&mut self, kind: &AttributeType, value: &mut Value, path: &str) {
        match (kind, &mut *value) {
            (AttributeType::Array(element), Value::Array(items)) => {
                return self.elements(element, items, path);
            }
            (AttributeType::Object(object), Value::Map(map)) => {
                return self.object(object, map, path);
            }
            _ => {}
        }
        match fit(kind, value) {
            Fit::AsItIs => {}
            Fit::As(stored) => *value = stored,
            Fit::No => {
                let expected = expectation(kind);
                let shown = shown(value);
                self.violation(format!(
                    "Value {shown} in property {path} must be {expected}"
                ));
            }
        }
    }

    fn elements(&mut self, element: &Element, items: &mut [Value], path: &str) {
        let path = format!("{path}[*]");
        for item in items {
            match item {
                Value::Null if element.nullable => {}
                Value::Null => self.required(&path),
                item => self.value(&element.kind, item, &path),
            }
        }
    }

    fn object(&mut self, object: &ObjectType, map: &mut Map, path: &str) {
        for property in &object.properties {
            let inner = || format!("{path}.{}", property.name);
            match map.get_mut(&property.name) {
                Some(Value::Null) | None if !property.nullable => self.required(&inner()),
                Some(Value::Null) | None => {}
                Some(value) => self.value(&property.kind, value, &inner()),
            }
        }
        if !object.sealed {
            return;
        }
        for name in map.keys() {
            if !object.properties.iter().any(|known| known.name == name) {
                self.violation(format!(
                    "Property {} is not allowed within object in property {path}",
                    shortened(name)
                ));
            }
        }
    }
}

/// Whether a value fits a type.
enum Fit {
    /// It is stored as it is.
    AsItIs,
    /// It is stored in this form.
    As(Value),
    No,
}

impl From<bool> for Fit {
    fn from(fits: bool) -> Self {
        if fits { Self::AsItIs } else { Self::No }
    }
}

impl<T: Into<Value>> From<Option<T>> for Fit {
    fn from(stored: Option<T>) -> Self {
        stored.map_or(Self::No, |stored| Self::As(stored.into()))
    }
}

fn fit(kind: &AttributeType, value: &Value) -> Fit {
    match (kind, value) {
        (AttributeType::Any, _)
        | (AttributeType::Float, Value::Float(_))
        | (AttributeType::Id | AttributeType::String, Value::String(_))
        | (AttributeType::Boolean, Value::Bool(_))
        | (AttributeType::Blob, Value::String(_) | Value::Bytes(_)) => Fit::AsItIs,
        (AttributeType::Blob, Value::Map(map)) if blob::is_form(map) => Fit::AsItIs,
        (AttributeType::Blob, Value::Map(_)) => bytes(value).into(),
        (AttributeType::Int, _) => whole(value).filter(|n| i32::try_from(*n).is_ok()).into(),
        (AttributeType::Long, _) => whole(value)
            .filter(|n| (-LONG_MAX..=LONG_MAX).contains(n))
            .into(),
        (AttributeType::Float, Value::Int(n)) => Fit::As(Value::Float(*n as f64)),
        (AttributeType::Id, Value::Array(parts)) => {
            let texts = parts.iter().all(|part| matches!(part, Value::String(_)));
            Fit::from(texts && !parts.is_empty())
        }
        (AttributeType::Date, _) => date(value).into(),
        (AttributeType::BigInt, _) => bigint(value).into(),
        (AttributeType::Bytes, _) => bytes(value).into(),
        _ => Fit::No,
    }
}

/// What follows `must be`.
fn expectation(kind: &AttributeType) -> Cow<'static, str> {
    Cow::Borrowed(match kind {
        AttributeType::Int => "an integer (from -2147483648 to 2147483647)",
        AttributeType::Long => "an integer (from -9007199254740992 to 9007199254740992)",
        AttributeType::Float => "a number",
        AttributeType::Id => "a string, or an array of strings",
        AttributeType::String => "a string",
        AttributeType::Boolean => "a boolean",
        AttributeType::Date => "a Date",
        AttributeType::BigInt => "a bigint",
        AttributeType::Bytes => "a Buffer or Uint8Array",
        AttributeType::Array(_) => "an Array",
        AttributeType::Object(object) => {
            return Cow::Owned(format!("an object ({})", object.name));
        }
        AttributeType::Blob => "a Blob",
        other => return Cow::Owned(format!("of type {}", other.name())),
    })
}

/// A whole number, also if it was written as a float.
fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::Int(_) | Value::Float(_) => value.as_i64(),
        _ => None,
    }
}

/// A date from a date, text or milliseconds.
pub(super) fn date(value: &Value) -> Option<Date> {
    match value {
        Value::Date(date) => Some(*date),
        Value::String(text) => Date::parse(text),
        Value::Int(millis) => Date::from_millis(*millis),
        // The cast saturates, and what saturates is out of range.
        Value::Float(millis) if millis.is_finite() => Date::from_millis(millis.trunc() as i64),
        _ => None,
    }
}

/// A big integer from an integer, a whole float or digits, in the smallest form.
pub(super) fn bigint(value: &Value) -> Option<Value> {
    let n = match value {
        Value::Int(_) => return Some(value.clone()),
        // log2(10) > 3.32: more bits than this are more digits than allowed.
        Value::BigInt(n) if n.bits() <= MAX_BIGINT_DIGITS as u64 * 10 / 3 => n.clone(),
        Value::Float(n) if n.fract() == 0.0 && n.abs() < 1e300 => BigInt::from_f64(*n)?,
        Value::String(text) => digits(text)?,
        _ => return None,
    };
    Some(Value::from(n))
}

fn digits(text: &str) -> Option<BigInt> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let plausible = (1..=MAX_BIGINT_DIGITS).contains(&unsigned.len());
    (plausible && unsigned.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

/// Bytes from bytes, text, or their JSON form.
fn bytes(value: &Value) -> Option<Bytes> {
    match value {
        Value::Bytes(bytes) => Some(bytes.clone()),
        Value::String(text) => Some(Bytes::copy_from_slice(text.as_bytes())),
        Value::Map(map) if map.len() == 2 && map.get("type")?.as_str() == Some("Buffer") => map
            .get("data")?
            .as_array()?
            .iter()
            .map(|byte| whole(byte).and_then(|byte| u8::try_from(byte).ok()))
            .collect::<Option<Vec<u8>>>()
            .map(Bytes::from),
        _ => None,
    }
}

/// A value as a message shows it: JSON, cut when long.
pub(super) fn shown(value: &Value) -> String {
    let text = json::to_vec(value);
    shortened(&String::from_utf8_lossy(&text)).into_owned()
}

/// A text as a message shows it.
pub(super) fn shortened(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(MAX_SHOWN) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
    }
}
