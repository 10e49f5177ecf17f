//! Values: what a record, a message or a query operand is made of.

use std::fmt;

use bytes::Bytes;
use num_bigint::BigInt;

/// A point in time: whole milliseconds since the Unix epoch, negative before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(i64);

impl Date {
    /// The range that RFC 3339 text can express: years 0000 to 9999.
    const MIN_MILLIS: i64 = -62_167_219_200_000;
    const MAX_MILLIS: i64 = 253_402_300_799_999;

    /// A date of that many milliseconds, or `None` outside the years 0000 to 9999.
    pub fn from_millis(millis: i64) -> Option<Self> {
        (Self::MIN_MILLIS..=Self::MAX_MILLIS)
            .contains(&millis)
            .then_some(Self(millis))
    }

    /// Milliseconds since the epoch.
    pub fn as_millis(self) -> i64 {
        self.0
    }

    /// Reads ISO 8601 text as it is used in JSON: a date, or a date and a time with `T` or a space; a
    /// missing zone means UTC.
    ///
    /// ```
    /// use resource::Date;
    /// let date = Date::parse("2025-07-14T06:30:00+02:00").unwrap();
    /// assert_eq!(date.to_string(), "2025-07-14T04:30:00.000Z");
    /// assert_eq!(Date::parse("2025-07-14"), Date::parse("2025-07-14T00:00:00Z"));
    /// assert_eq!(Date::parse("yesterday"), None);
    /// ```
    pub fn parse(text: &str) -> Option<Self> {
        use time::format_description::well_known::Rfc3339;
        let text = text.trim();
        if !text.is_ascii() || text.len() < 10 {
            return None;
        }
        let (day, rest) = text.split_at(10);
        let full = match rest.as_bytes() {
            [] => format!("{day}T00:00:00Z"),
            [b'T' | b't' | b' ', clock @ ..] => {
                let clock = std::str::from_utf8(clock).ok()?;
                let zone_at = clock.find(['Z', 'z', '+', '-']);
                let (time, zone) = zone_at.map_or((clock, "Z"), |at| clock.split_at(at));
                let seconds = if time.len() == 5 { ":00" } else { "" };
                let colon = zone.len() == 5 && !zone.contains(':');
                match colon {
                    true => format!("{day}T{time}{seconds}{}:{}", &zone[..3], &zone[3..]),
                    false => format!("{day}T{time}{seconds}{zone}"),
                }
            }
            _ => return None,
        };
        let instant = time::OffsetDateTime::parse(&full, &Rfc3339).ok()?;
        let millis = instant.unix_timestamp_nanos().div_euclid(1_000_000);
        Self::from_millis(i64::try_from(millis).ok()?)
    }
}

impl fmt::Display for Date {
    /// ISO 8601 with milliseconds and `Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (secs, millis) = (self.0.div_euclid(1000), self.0.rem_euclid(1000));
        let at = time::OffsetDateTime::from_unix_timestamp(secs).map_err(|_| fmt::Error)?;
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{millis:03}Z",
            at.year(),
            u8::from(at.month()),
            at.day(),
            at.hour(),
            at.minute(),
            at.second(),
        )
    }
}

/// A value of any type that records and messages may hold.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Value {
    /// Nothing; also an attribute that is absent where presence does not matter.
    #[default]
    Null,
    /// True or false.
    Bool(bool),
    /// A 64-bit integer.
    Int(i64),
    /// An integer outside the 64-bit range. Use [`Value::from`] of a `BigInt` to get the smallest form.
    BigInt(BigInt),
    /// A 64-bit float, NaN and infinities included.
    Float(f64),
    /// Text.
    String(String),
    /// Bytes without meaning of their own.
    Bytes(Bytes),
    /// A point in time.
    Date(Date),
    /// An ordered list.
    Array(Vec<Value>),
    /// Named members in the order they were given.
    Map(Map),
}

impl Value {
    /// About as many bytes as it takes in memory, for bounds on what may wait.
    pub fn approximate_bytes(&self) -> usize {
        let content = match self {
            Self::String(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::BigInt(number) => usize::try_from(number.bits() / 8).unwrap_or(usize::MAX),
            Self::Array(items) => items.iter().map(Self::approximate_bytes).sum(),
            Self::Map(map) => map
                .iter()
                .map(|(name, value)| name.len() + value.approximate_bytes())
                .sum(),
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::Float(_) | Self::Date(_) => 0,
        };
        content.saturating_add(size_of::<Self>())
    }
    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The members of a map.
    pub fn as_map(&self) -> Option<&Map> {
        match self {
            Self::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The elements of an array.
    pub fn as_array(&self) -> Option<&[Value]> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    /// True or false.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// A number as a float (big integers are rounded).
    pub fn as_f64(&self) -> Option<f64> {
        use num_traits::ToPrimitive as _;
        match self {
            Self::Int(n) => Some(*n as f64),
            Self::Float(n) => Some(*n),
            Self::BigInt(n) => n.to_f64(),
            _ => None,
        }
    }

    /// A whole number that fits in 64 bits; a float without a fraction counts.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Int(n) => Some(*n),
            Self::Float(n) if n.fract() == 0.0 && n.abs() <= 9_007_199_254_740_992.0 => {
                Some(*n as i64)
            }
            _ => None,
        }
    }

    /// Whether this is [`Value::Null`].
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// What kind of value it is, for messages: `null`, `boolean`, `integer`, `number`, `string`, …
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Int(_) | Self::BigInt(_) => "integer",
            Self::Float(_) => "number",
            Self::String(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::Date(_) => "date",
            Self::Array(_) => "array",
            Self::Map(_) => "object",
        }
    }
}

macro_rules! value_from {
    ($($source:ty => $build:expr),* $(,)?) => {$(
        impl From<$source> for Value {
            fn from(value: $source) -> Self {
                let build: fn($source) -> Value = $build;
                build(value)
            }
        }
    )*};
}
value_from! {
    bool => Value::Bool,
    i64 => Value::Int,
    i32 => |n| Value::Int(i64::from(n)),
    u32 => |n| Value::Int(i64::from(n)),
    u64 => |n| i64::try_from(n).map_or_else(|_| Value::BigInt(n.into()), Value::Int),
    f64 => Value::Float,
    String => Value::String,
    &str => |text| Value::String(text.to_owned()),
    Bytes => Value::Bytes,
    Date => Value::Date,
    Vec<Value> => Value::Array,
    Map => Value::Map,
    BigInt => |n| i64::try_from(&n).map_or_else(|_| Value::BigInt(n), Value::Int),
}

/// Named values that keep their order. Setting an existing name keeps its place.
///
/// ```
/// use resource::{Map, Value};
/// let map = Map::from_iter([("b", Value::Int(1)), ("a", Value::Int(2))]);
/// assert_eq!(map.keys().collect::<Vec<_>>(), ["b", "a"]);
/// assert_eq!(map.get("a"), Some(&Value::Int(2)));
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Map(indexmap::IndexMap<String, Value>);

impl Map {
    /// An empty map.
    pub fn new() -> Self {
        Self::default()
    }
    /// An empty map with room for `members`.
    pub fn with_capacity(members: usize) -> Self {
        Self(indexmap::IndexMap::with_capacity(members))
    }
    /// How many members there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// The value of a member.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }
    /// The value of a member, to change it.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Value> {
        self.0.get_mut(name)
    }
    /// Whether a member of that name exists.
    pub fn contains_key(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
    /// Sets a member; returns the value it had.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<Value>) -> Option<Value> {
        self.0.insert(name.into(), value.into())
    }
    /// Removes a member and keeps the order of the others.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        self.0.shift_remove(name)
    }
    /// Names and values in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
    /// Names in order.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
    /// Keeps the members for which `keep` is true, in their order.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &mut Value) -> bool) {
        self.0.retain(|name, value| keep(name, value));
    }
}

impl<K: Into<String>> FromIterator<(K, Value)> for Map {
    fn from_iter<I: IntoIterator<Item = (K, Value)>>(members: I) -> Self {
        Self(
            members
                .into_iter()
                .map(|(name, value)| (name.into(), value))
                .collect(),
        )
    }
}

impl IntoIterator for Map {
    type Item = (String, Value);
    type IntoIter = indexmap::map::IntoIter<String, Value>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_without_zone_is_utc_and_bad_text_is_none() {
        assert_eq!(
            Date::parse("2019-11-02 18:45"),
            Date::parse("2019-11-02T18:45:00.000Z")
        );
        assert_eq!(
            Date::parse("2019-11-02T18:45:00+0100"),
            Date::parse("2019-11-02T17:45:00Z")
        );
        for bad in [
            "",
            "2019-13-01",
            "2019-11-02T25:00:00Z",
            "2019-11-02x",
            "éééééééééé",
            "2019-11-02T1Z",
        ] {
            assert_eq!(Date::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn integers_take_the_smallest_form() {
        assert_eq!(Value::from(BigInt::from(7)), Value::Int(7));
        assert!(matches!(Value::from(u64::MAX), Value::BigInt(_)));
    }
}
