//! Ranges of encoded values among which all matches of a comparison are.

use resource::{Comparator, Key, Value};

use crate::filter::Test;
use crate::order::{self, Indexed};

/// First byte of the forms that follow all texts: the lists.
pub(super) const TEXT_END: [u8; 1] = [0x40];
/// First byte of the forms that follow all numbers: the texts.
const NUMBER_END: [u8; 1] = [0x30];

pub(super) type Encode = dyn Fn(&Value) -> Option<(Vec<u8>, Indexed)>;

/// The form of a value in an index.
pub(super) fn index_value(value: &Value) -> Option<(Vec<u8>, Indexed)> {
    let mut out = Vec::new();
    match order::encode_index(value, &mut out) {
        Indexed::Absent => None,
        indexed => Some((out, indexed)),
    }
}

/// The form of a value as a primary key.
pub(super) fn key_value(value: &Value) -> Option<(Vec<u8>, Indexed)> {
    let value = match value {
        Value::Date(date) => Value::Int(date.as_millis()),
        value => value.clone(),
    };
    let key = order::canonical_key(Key::from_value(&value).ok()?);
    order::encode_key(&key)
        .ok()
        .map(|encoded| (encoded, Indexed::Exact))
}

/// The encoded values among which all matches are, the upper end not included; `None` if the order of values
/// does not help. What can match nothing gives an empty range.
pub(super) fn value_range(test: &Test, encode: &Encode) -> Option<(Vec<u8>, Vec<u8>)> {
    let [first, rest @ ..] = test.operands.as_slice() else {
        return None;
    };
    let nothing = || Some((Vec::new(), Vec::new()));
    match test.comparator {
        // Lists and what has no order are not found by their elements.
        Comparator::Equals
            if matches!(first, Value::Array(_) | Value::Map(_) | Value::Bytes(_)) =>
        {
            None
        }
        Comparator::Equals => {
            let (value, _) = encode(first)?;
            let end = after(&value);
            Some((value, end))
        }
        Comparator::StartsWith => match first {
            Value::String(prefix) => {
                let range = order::text_prefix_range(prefix);
                Some((range.lower, range.upper))
            }
            _ => nothing(),
        },
        Comparator::Between => {
            let (Some((lower, _)), Some(upper)) = (class(first), rest.first()) else {
                return nothing();
            };
            if class(upper).map(|class| class.0) != Some(lower) {
                return nothing();
            }
            Some((
                lower_end(first, true, encode)?,
                upper_end(upper, true, encode)?,
            ))
        }
        comparator @ (Comparator::LessThan
        | Comparator::LessThanEqual
        | Comparator::GreaterThan
        | Comparator::GreaterThanEqual) => {
            let Some((start, end)) = class(first) else {
                return nothing();
            };
            match comparator {
                Comparator::LessThan => Some((start, upper_end(first, false, encode)?)),
                Comparator::LessThanEqual => Some((start, upper_end(first, true, encode)?)),
                Comparator::GreaterThan => Some((lower_end(first, false, encode)?, end)),
                _ => Some((lower_end(first, true, encode)?, end)),
            }
        }
        _ => None,
    }
}

/// Where the values of the same type start and end.
fn class(value: &Value) -> Option<(Vec<u8>, Vec<u8>)> {
    let boolean = |value| index_value(&Value::Bool(value)).map(|(form, _)| form);
    match value {
        Value::Bool(_) => Some((boolean(false)?, order::FIRST_NUMBER.to_vec())),
        Value::Int(_) | Value::BigInt(_) | Value::Float(_) | Value::Date(_) => {
            Some((order::FIRST_NUMBER.to_vec(), NUMBER_END.to_vec()))
        }
        Value::String(_) => Some((NUMBER_END.to_vec(), TEXT_END.to_vec())),
        Value::Null | Value::Bytes(_) | Value::Array(_) | Value::Map(_) => None,
    }
}

fn lower_end(value: &Value, included: bool, encode: &Encode) -> Option<Vec<u8>> {
    let (form, indexed) = encode(value)?;
    // A cut form stands for greater values, too.
    Some(match included || indexed == Indexed::Cut {
        true => form,
        false => after(&form),
    })
}

fn upper_end(value: &Value, included: bool, encode: &Encode) -> Option<Vec<u8>> {
    let (form, indexed) = encode(value)?;
    Some(match included || indexed == Indexed::Cut {
        true => after(&form),
        false => form,
    })
}

/// The end of all that starts with `form`.
pub(crate) fn after(form: &[u8]) -> Vec<u8> {
    let mut end = form.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            break;
        }
    }
    end
}
