//! Primary keys.

use std::cmp::Ordering;
use std::fmt;

use num_bigint::BigInt;
use num_traits::FromPrimitive as _;

use crate::{Error, Value};

/// A legal primary key: a number, a text, or a list of those; never null, boolean or object.
///
/// Equality is by type and value (`7` and `"7"` differ). The order is that of stored records: numbers by value
/// whatever their type, then texts by their bytes, then lists by their parts.
///
/// ```
/// use resource::{Key, Value};
/// let half = Key::from_value(&Value::Float(1.5)).unwrap();
/// assert!(Key::Int(1) < half && half < Key::Int(2) && Key::Int(2) < Key::from("1"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    /// A whole number.
    Int(i64),
    /// A number with a fraction, as the bits of the float; see [`Key::from_value`].
    Float(FloatKey),
    /// A whole number outside the 64-bit range.
    BigInt(BigInt),
    /// A text; slashes make it a topic of several levels.
    String(String),
    /// A key of several parts.
    Parts(Vec<Key>),
}

/// A finite float ordered by value.
#[derive(Debug, Clone, Copy)]
pub struct FloatKey(f64);

impl FloatKey {
    /// The number.
    pub fn as_f64(self) -> f64 {
        self.0
    }
}

impl PartialEq for FloatKey {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for FloatKey {}
impl PartialOrd for FloatKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for FloatKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}
impl std::hash::Hash for FloatKey {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Int(left), Self::Int(right)) => left.cmp(right),
            (Self::Float(left), Self::Float(right)) => left.cmp(right),
            (Self::BigInt(left), Self::BigInt(right)) => left.cmp(right),
            (Self::String(left), Self::String(right)) => left.cmp(right),
            (Self::Parts(left), Self::Parts(right)) => left.cmp(right),
            // Equal numbers of two types are two keys, so that the order agrees with equality.
            (left, right) => match (left.numeral(), right.numeral()) {
                (Some(left_number), Some(right_number)) => left_number
                    .cmp(&right_number)
                    .then_with(|| left.rank().cmp(&right.rank())),
                _ => left.rank().cmp(&right.rank()),
            },
        }
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Key {
    fn rank(&self) -> u8 {
        match self {
            Self::Int(_) => 0,
            Self::Float(_) => 1,
            Self::BigInt(_) => 2,
            Self::String(_) => 3,
            Self::Parts(_) => 4,
        }
    }

    /// A number as its floor, and what is above it.
    fn numeral(&self) -> Option<(BigInt, FloatKey)> {
        match self {
            Self::Int(n) => Some((BigInt::from(*n), FloatKey(0.0))),
            Self::BigInt(n) => Some((n.clone(), FloatKey(0.0))),
            Self::Float(FloatKey(n)) => {
                // Without value only for NaN and infinities, which no key is made of.
                let floor = BigInt::from_f64(n.floor())?;
                Some((floor, FloatKey(n - n.floor())))
            }
            Self::String(_) | Self::Parts(_) => None,
        }
    }

    /// The key a value stands for; a float without fraction becomes an integer.
    ///
    /// # Errors
    ///
    /// 400 `Invalid primary key of null` or `Invalid primary key type: …` for a value that is no key.
    pub fn from_value(value: &Value) -> Result<Self, Error> {
        match value {
            Value::Int(n) => Ok(Self::Int(*n)),
            Value::BigInt(n) => Ok(Self::BigInt(n.clone())),
            Value::Float(n) if n.is_finite() => match value.as_i64() {
                Some(whole) => Ok(Self::Int(whole)),
                None => Ok(Self::Float(FloatKey(*n))),
            },
            Value::String(text) => Ok(Self::String(text.clone())),
            Value::Array(parts) if !parts.is_empty() => parts
                .iter()
                .map(Self::from_value)
                .collect::<Result<_, _>>()
                .map(Self::Parts),
            Value::Null => Err(Error::bad_request("Invalid primary key of null")),
            other => Err(Error::bad_request(format!(
                "Invalid primary key type: {}",
                other.kind()
            ))),
        }
    }

    /// The key as a value.
    pub fn to_value(&self) -> Value {
        match self {
            Self::Int(n) => Value::Int(*n),
            Self::Float(n) => Value::Float(n.0),
            Self::BigInt(n) => Value::BigInt(n.clone()),
            Self::String(text) => Value::String(text.clone()),
            Self::Parts(parts) => Value::Array(parts.iter().map(Self::to_value).collect()),
        }
    }
}

impl fmt::Display for Key {
    /// The key as path or topic text: parts are joined by `/`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(n) => n.fmt(f),
            Self::Float(n) => n.0.fmt(f),
            Self::BigInt(n) => n.fmt(f),
            Self::String(text) => f.write_str(text),
            Self::Parts(parts) => parts.iter().enumerate().try_for_each(|(index, part)| {
                if index > 0 {
                    f.write_str("/")?;
                }
                part.fmt(f)
            }),
        }
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<i64> for Key {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}
