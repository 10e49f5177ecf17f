//! Encodings whose byte order is the order of values (`schema-and-storage.md` §8.1).
//!
//! One encoding serves primary keys and index entries. Every encoded value says where it ends, so two of
//! them can stand behind each other (`value ++ key`) and still sort by the first, then by the second.
//!
//! ```text
//! null      10                             a tag byte sets the order of types
//! false     18
//! true      19
//! number    1F … 24                        see `number`: integers, floats and big integers by value
//! text      30  bytes  00 00               a NUL inside is 00 FF
//!           30  bytes  00 01               text that was cut: sorts after the same text uncut
//! array     40  elements  00               01 instead of 00: elements were cut
//! ```
//!
//! Dates are numbers of milliseconds. Maps, bytes and anything that contains them have no place in the order.

mod number;

use num_bigint::BigInt;
use resource::{Date, Error, Key, Value};

use crate::FormatError;

/// Largest encoded primary key, the most that the engine takes as a key (`schema-and-storage.md` §4).
pub const MAX_KEY_BYTES: usize = 1978;

/// Where the text of an index entry is cut. Long enough to tell texts apart, short enough to keep many
/// entries on a page; matches of a cut entry are checked against the record.
pub const MAX_INDEX_BYTES: usize = 512;

/// Deepest nesting of arrays that is ordered; deeper elements count as cut.
const MAX_DEPTH: usize = 32;

mod tag {
    pub(super) const NULL: u8 = 0x10;
    pub(super) const FALSE: u8 = 0x18;
    pub(super) const TRUE: u8 = 0x19;
    pub(super) const TEXT: u8 = 0x30;
    pub(super) const ARRAY: u8 = 0x40;
}

const END: u8 = 0x00;
const CUT: u8 = 0x01;
const ESCAPED_NUL: u8 = 0xFF;

const fn damaged(reason: &'static str) -> FormatError {
    FormatError::new("key", reason)
}

/// What became of a value that was to be encoded for an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Indexed {
    /// The entry stands for exactly this value.
    Exact,
    /// The entry also stands for other values with the same beginning: check the record.
    Cut,
    /// Nothing was written: maps and bytes are not indexed.
    Absent,
}

/// A range of encoded values: `lower` is included, `upper` is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// The first encoded value that may match.
    pub lower: Vec<u8>,
    /// Greater than every encoded value that may match.
    pub upper: Vec<u8>,
    /// Whether every value in the range matches; otherwise check the record.
    pub exact: bool,
}

/// Encodes a primary key.
///
/// A number has one encoding whatever its type: a float without fraction is the key of the integer.
///
/// ```
/// use resource::Key;
/// use store::order::{decode_key, encode_key};
/// let (small, large) = (encode_key(&Key::Int(9)).unwrap(), encode_key(&Key::Int(10)).unwrap());
/// assert!(small < large && large < encode_key(&Key::from("1")).unwrap());
/// assert_eq!(decode_key(&large), Ok(Key::Int(10)));
/// ```
///
/// # Errors
///
/// 400 `Primary key size is too large: <n>` beyond [`MAX_KEY_BYTES`], 400 for a big integer of 2^64 or more
/// and for nesting deeper than 32 levels.
pub fn encode_key(key: &Key) -> Result<Vec<u8>, Error> {
    let mut out = Vec::with_capacity(24);
    write_key(key, &mut out, 0)?;
    match out.len() {
        size if size > MAX_KEY_BYTES => Err(Error::bad_request(format!(
            "Primary key size is too large: {size}"
        ))),
        _ => Ok(out),
    }
}

fn write_key(key: &Key, out: &mut Vec<u8>, depth: usize) -> Result<(), Error> {
    match key {
        Key::Int(n) => number::write_int(*n, out),
        Key::Float(n) => number::write_float(n.as_f64(), out),
        Key::BigInt(n) if n.bits() <= 64 => number::write_big(n, out),
        Key::BigInt(_) => {
            return Err(Error::bad_request(
                "Invalid primary key: a big integer must be less than 2^64",
            ));
        }
        Key::String(text) => write_text(text, out),
        Key::Parts(_) if depth == MAX_DEPTH => {
            return Err(Error::bad_request(
                "Invalid primary key: nested deeper than 32 levels",
            ));
        }
        Key::Parts(parts) => {
            out.push(tag::ARRAY);
            for part in parts {
                write_key(part, out, depth + 1)?;
            }
            out.push(END);
        }
    }
    Ok(())
}

/// Reads a key written by [`encode_key`].
///
/// # Errors
///
/// [`FormatError`] if the bytes are not one whole key.
pub fn decode_key(bytes: &[u8]) -> Result<Key, FormatError> {
    let mut reader = Reader { bytes };
    let key = reader.key(0)?;
    match reader.bytes {
        [] => Ok(key),
        _ => Err(damaged("bytes follow its end")),
    }
}

/// The form a key takes when it was stored and read back: whole numbers are integers where they fit.
///
/// Keys in memory are compared by type and value, so a key from outside must take this form first.
pub fn canonical_key(key: Key) -> Key {
    match key {
        Key::Float(n) => number::canonical_float(n.as_f64()).unwrap_or(key),
        Key::BigInt(n) => i64::try_from(&n).map_or(Key::BigInt(n), Key::Int),
        Key::Parts(parts) => Key::Parts(parts.into_iter().map(canonical_key).collect()),
        Key::Int(_) | Key::String(_) => key,
    }
}

/// The encoded keys below `prefix`: texts that start with it, or lists that continue it.
///
/// # Errors
///
/// As [`encode_key`]; 400 if `prefix` is a number, below which there are no keys.
pub fn key_prefix_range(prefix: &Key) -> Result<Range, Error> {
    let mut lower = encode_key(prefix)?;
    let end = match prefix {
        Key::String(_) => 2,
        Key::Parts(_) => 1,
        _ => return Err(Error::bad_request("A number is no prefix of keys")),
    };
    lower.truncate(lower.len() - end);
    Ok(match prefix {
        Key::Parts(_) => Range {
            upper: [lower.as_slice(), &[u8::MAX]].concat(),
            // Past the end marks: the list itself is not below itself.
            lower: [lower.as_slice(), &[CUT + 1]].concat(),
            exact: true,
        },
        _ => Range {
            upper: successor(&lower),
            lower,
            exact: true,
        },
    })
}

/// Appends the index form of `value`.
///
/// The result is self-delimiting and at most a little longer than [`MAX_INDEX_BYTES`]. Equal values have
/// equal forms, and a smaller value never has a greater form.
///
/// ```
/// use resource::Value;
/// use store::order::{encode_index, Indexed};
/// let encoded = |value: Value| {
///     let mut out = Vec::new();
///     assert_eq!(encode_index(&value, &mut out), Indexed::Exact);
///     out
/// };
/// assert!(encoded(Value::Null) < encoded(Value::Bool(true)));
/// assert!(encoded(Value::Float(2.5)) < encoded(Value::Int(3)));
/// assert_eq!(encoded(Value::Float(3.0)), encoded(Value::Int(3)));
/// ```
pub fn encode_index(value: &Value, out: &mut Vec<u8>) -> Indexed {
    let start = out.len();
    let outcome = write_index(value, out, start + MAX_INDEX_BYTES, 0);
    if outcome == Indexed::Absent {
        out.truncate(start);
    }
    outcome
}

/// The entries that an attribute puts into its index (`schema-and-storage.md` §8.2): one for a scalar,
/// one for `null` or absence, one for each distinct element of an array, none for maps and bytes.
pub fn index_entries(value: Option<&Value>) -> Vec<Vec<u8>> {
    let encode = |value: &Value| {
        let mut out = Vec::with_capacity(16);
        (encode_index(value, &mut out) != Indexed::Absent).then_some(out)
    };
    match value {
        None => vec![vec![tag::NULL]],
        Some(Value::Array(elements)) => {
            let mut entries: Vec<Vec<u8>> = elements.iter().filter_map(encode).collect();
            entries.sort_unstable();
            entries.dedup();
            entries
        }
        Some(scalar) => encode(scalar).into_iter().collect(),
    }
}

/// The index forms of texts that start with `prefix`.
///
/// ```
/// use resource::Value;
/// use store::order::{encode_index, text_prefix_range};
/// let range = text_prefix_range("ab");
/// let mut entry = Vec::new();
/// encode_index(&Value::from("abc"), &mut entry);
/// assert!(range.lower <= entry && entry < range.upper);
/// ```
pub fn text_prefix_range(prefix: &str) -> Range {
    let mut lower = Vec::with_capacity(prefix.len() + 2);
    lower.push(tag::TEXT);
    let whole = write_escaped(prefix, &mut lower, MAX_INDEX_BYTES);
    Range {
        upper: successor(&lower),
        lower,
        exact: whole,
    }
}

/// The least index form that is greater than `null`, `false` and `true`: where the numbers start.
pub const FIRST_NUMBER: [u8; 1] = [number::FIRST_TAG];

/// How many bytes the index form at the start of `bytes` takes, so that `value ++ key` can be parted.
///
/// # Errors
///
/// [`FormatError`] if no whole value is there.
pub fn index_len(bytes: &[u8]) -> Result<usize, FormatError> {
    let mut reader = Reader { bytes };
    reader.skip(0)?;
    Ok(bytes.len() - reader.bytes.len())
}

fn write_index(value: &Value, out: &mut Vec<u8>, limit: usize, depth: usize) -> Indexed {
    match value {
        Value::Null => out.push(tag::NULL),
        Value::Bool(false) => out.push(tag::FALSE),
        Value::Bool(true) => out.push(tag::TRUE),
        Value::Int(n) => number::write_int(*n, out),
        Value::Float(n) => number::write_float(*n, out),
        Value::BigInt(n) => return number::write_big_index(n, out),
        Value::Date(date) => number::write_int(Date::as_millis(*date), out),
        Value::String(text) => return write_cut_text(text, out, limit),
        Value::Array(items) => return write_index_array(items, out, limit, depth),
        Value::Bytes(_) | Value::Map(_) => return Indexed::Absent,
    }
    Indexed::Exact
}

/// Elements are written until the limit is reached. Where that happens depends only on what was written
/// before, so two arrays with the same beginning are cut at the same place and stay in order.
fn write_index_array(items: &[Value], out: &mut Vec<u8>, limit: usize, depth: usize) -> Indexed {
    out.push(tag::ARRAY);
    for item in items {
        if out.len() >= limit || depth == MAX_DEPTH {
            out.push(CUT);
            return Indexed::Cut;
        }
        match write_index(item, out, limit, depth + 1) {
            Indexed::Exact => {}
            Indexed::Cut => {
                out.push(CUT);
                return Indexed::Cut;
            }
            Indexed::Absent => return Indexed::Absent,
        }
    }
    out.push(END);
    Indexed::Exact
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    out.push(tag::TEXT);
    write_escaped(text, out, usize::MAX);
    out.extend_from_slice(&[END, END]);
}

fn write_cut_text(text: &str, out: &mut Vec<u8>, limit: usize) -> Indexed {
    out.push(tag::TEXT);
    let (mark, outcome) = match write_escaped(text, out, limit) {
        true => (END, Indexed::Exact),
        false => (CUT, Indexed::Cut),
    };
    out.extend_from_slice(&[END, mark]);
    outcome
}

/// Appends the bytes of `text` with NUL escaped, until `out` has `limit` bytes; whether all was written.
fn write_escaped(text: &str, out: &mut Vec<u8>, limit: usize) -> bool {
    let room = limit.saturating_sub(out.len());
    if text.len() <= room && !text.as_bytes().contains(&0) {
        out.extend_from_slice(text.as_bytes());
        return true;
    }
    for byte in text.bytes() {
        if out.len() >= limit {
            return false;
        }
        out.push(byte);
        if byte == 0 {
            out.push(ESCAPED_NUL);
        }
    }
    true
}

/// The least byte string that is greater than every one that starts with `prefix`, which starts with a tag.
fn successor(prefix: &[u8]) -> Vec<u8> {
    let mut upper = prefix.to_vec();
    while let Some(last) = upper.pop() {
        if last < u8::MAX {
            upper.push(last + 1);
            break;
        }
    }
    upper
}

/// Takes values from the front of a byte string.
struct Reader<'a> {
    bytes: &'a [u8],
}

impl Reader<'_> {
    fn byte(&mut self) -> Result<u8, FormatError> {
        let (first, rest) = self
            .bytes
            .split_first()
            .ok_or(damaged("it ends too early"))?;
        self.bytes = rest;
        Ok(*first)
    }

    fn key(&mut self, depth: usize) -> Result<Key, FormatError> {
        match self.byte()? {
            tag::TEXT => self.text().map(Key::String),
            tag::ARRAY if depth < MAX_DEPTH => {
                let mut parts = Vec::new();
                while self.bytes.first() != Some(&END) {
                    parts.push(self.key(depth + 1)?);
                }
                self.byte()?;
                Ok(Key::Parts(parts))
            }
            tag => number::read_key(tag, &mut self.bytes),
        }
    }

    fn text(&mut self) -> Result<String, FormatError> {
        let mut text = Vec::new();
        loop {
            let nul = self.bytes.iter().position(|byte| *byte == 0);
            let (run, rest) = self
                .bytes
                .split_at(nul.ok_or(damaged("a text has no end"))?);
            text.extend_from_slice(run);
            self.bytes = &rest[1..];
            match self.byte()? {
                END => break,
                ESCAPED_NUL => text.push(0),
                _ => return Err(damaged("a text is cut")),
            }
        }
        String::from_utf8(text).map_err(|_| damaged("a text is not UTF-8"))
    }

    fn skip(&mut self, depth: usize) -> Result<(), FormatError> {
        match self.byte()? {
            tag::NULL | tag::FALSE | tag::TRUE => Ok(()),
            tag::TEXT => loop {
                let nul = self.bytes.iter().position(|byte| *byte == 0);
                self.bytes = &self.bytes[nul.ok_or(damaged("a text has no end"))? + 1..];
                if self.byte()? != ESCAPED_NUL {
                    return Ok(());
                }
            },
            tag::ARRAY if depth <= MAX_DEPTH => loop {
                match self.bytes.first() {
                    Some(&(END | CUT)) => return self.byte().map(drop),
                    _ => self.skip(depth + 1)?,
                }
            },
            tag => number::skip(tag, &mut self.bytes),
        }
    }
}

/// A big integer with its sign, for `number`.
fn is_negative(n: &BigInt) -> bool {
    n.sign() == num_bigint::Sign::Minus
}

#[cfg(test)]
mod tests;
