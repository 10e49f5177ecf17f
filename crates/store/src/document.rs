//! The form of a stored record: JSON text that can be sent as it is, and tables that make it more than text.
//!
//! ```text
//! offset  bytes  header
//!      0      1  format version, 1
//!      1      1  flags: 1 = offsets take four bytes instead of two, 2 = some attributes have no span
//!      2      2  number of spans
//!      4      4  length of the text
//!      8      4  number of types
//!     12      4  CRC-32 of everything else
//!     16         text:  canonical JSON (`resource::json`)
//!                spans: attribute id (2), start, end of its value; ascending by id
//!                types: start (of a value at any depth), type (1); ascending by start
//! ```
//!
//! All numbers are little endian. A GET sends the text, a selection copies slices of it, a filter finds one
//! attribute by binary search among the spans. A value whose type JSON cannot tell (a date, bytes, a float
//! that reads like an integer, NaN) has an entry in the types, so every type survives at every depth; other
//! values say their type with their first byte.
//!
//! Attribute ids come from the [`Dictionary`] of the table. Its size is bounded; attributes that come after
//! it is full are stored without a span and found by reading the text.
//!
//! # What is checked when
//!
//! [`StoredDocument::open`] checks the header and the checksum, so bytes that were damaged on disk are an error
//! and are never sent to anyone. For a record of 1 KiB that is 24 ns of a read that takes 1.3 µs (measured
//! with the carry-less multiplication of current processors), less than a walk through its spans would take.
//! [`StoredDocument::verify`] also reads the whole text and compares it with the spans; it costs as much as
//! decoding, finds mistakes of the writer rather than of the disk, and is for integrity checks.
//! Whatever the bytes are, nothing here panics.

mod dictionary;
mod read;
mod write;

use std::sync::Arc;

use bytes::Bytes;
use resource::{Document, Map, Value};

pub use self::dictionary::{AttributeId, Dictionary, MAX_ATTRIBUTES};
use self::read::Reader;
pub use self::write::{MAX_RECORD_BYTES, encode};
use crate::FormatError;
use crate::computed::ComputedSet;

const FORMAT_VERSION: u8 = 1;
const HEADER_BYTES: usize = 16;
const CHECKSUM_AT: usize = 12;

const FLAG_WIDE: u8 = 1;
const FLAG_UNLISTED: u8 = 2;

/// Deepest nesting of arrays and maps in a record.
const MAX_DEPTH: usize = resource::json::MAX_DEPTH;

const fn damaged(reason: &'static str) -> FormatError {
    FormatError::new("record", reason)
}

/// A type that JSON text cannot tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum TypeMark {
    /// A float without fraction, written like an integer.
    Float = 1,
    /// Text of a date.
    Date = 2,
    /// The object form of bytes.
    Bytes = 3,
    /// `null` that stands for NaN.
    Nan = 4,
    /// `null` that stands for positive infinity.
    Infinity = 5,
    /// `null` that stands for negative infinity.
    NegativeInfinity = 6,
    /// `0` that stands for negative zero.
    NegativeZero = 7,
}

impl TypeMark {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Float,
            2 => Self::Date,
            3 => Self::Bytes,
            4 => Self::Nan,
            5 => Self::Infinity,
            6 => Self::NegativeInfinity,
            7 => Self::NegativeZero,
            _ => return None,
        })
    }
}

/// CRC-32 over a record without its checksum field.
fn checksum(record: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&record[..CHECKSUM_AT]);
    hasher.update(&record[HEADER_BYTES..]);
    hasher.finalize()
}

/// A record as it is stored, read without being decoded as a whole.
///
/// ```
/// use std::sync::Arc;
/// use resource::{Document as _, Map, Value};
/// use store::document::{Dictionary, StoredDocument, encode};
///
/// let mut dictionary = Dictionary::default();
/// let dog = Map::from_iter([("name", Value::from("Rex")), ("weight", Value::Float(30.0))]);
/// let bytes = encode(&dog, &mut dictionary).unwrap();
///
/// let stored = StoredDocument::open(bytes.into(), Arc::new(dictionary)).unwrap();
/// assert_eq!(stored.json(), r#"{"name":"Rex","weight":30}"#);
/// assert_eq!(stored.attribute("weight"), Some(Value::Float(30.0)));
/// assert_eq!(stored.attribute("age"), None);
/// ```
#[derive(Debug, Clone)]
pub struct StoredDocument {
    bytes: Bytes,
    dictionary: Arc<Dictionary>,
    layout: Layout,
    /// What is worked out from it.
    computed: Option<Arc<ComputedSet>>,
}

/// Where the parts of a record are.
#[derive(Debug, Clone, Copy)]
struct Layout {
    text_end: usize,
    spans_end: usize,
    /// Bytes of an offset: 2 or 4.
    offset_bytes: usize,
    unlisted: bool,
}

impl StoredDocument {
    /// A record from the bytes that [`encode`] made, with the table's dictionary of that time or later.
    ///
    /// # Errors
    ///
    /// [`FormatError`] if the header or the checksum is wrong; see the [module](self) for why both.
    pub fn open(bytes: Bytes, dictionary: Arc<Dictionary>) -> Result<Self, FormatError> {
        let layout = Layout::read(&bytes)?;
        if bytes[CHECKSUM_AT..HEADER_BYTES] != checksum(&bytes).to_le_bytes() {
            return Err(damaged("its checksum differs"));
        }
        Ok(Self {
            bytes,
            dictionary,
            layout,
            computed: None,
        })
    }

    /// The record with the computed attributes of its table. They are found by name, and are no part of the whole.
    pub(crate) fn with_computed(self, computed: Option<Arc<ComputedSet>>) -> Self {
        Self { computed, ..self }
    }

    /// The value of a stored attribute.
    fn stored_attribute(&self, name: &str) -> Option<Value> {
        let span = report(self.locate(name))??;
        report(self.value_at(span))
    }

    /// `None`: there is no computed attribute of that name.
    fn computed_attribute(&self, name: &str) -> Option<Option<Value>> {
        let computed = self
            .computed
            .as_ref()
            .filter(|computed| computed.has(name))?;
        let stored = |name: &str| self.stored_attribute(name);
        let whole = || report(self.decode()).unwrap_or_default();
        Some(computed.value(name, &stored, &whole))
    }

    /// Checks that text, spans and types agree.
    ///
    /// # Errors
    ///
    /// [`FormatError`] that says what is damaged.
    pub fn verify(&self) -> Result<(), FormatError> {
        let map = self.decode()?;
        for (name, value) in map.iter() {
            let same = match self.span_of(name) {
                Some(span) => same_value(&self.value_at(span)?, value),
                None => self.layout.unlisted,
            };
            if !same {
                return Err(damaged("its spans do not match its text"));
            }
        }
        Ok(())
    }

    /// Decodes the whole record with all types.
    ///
    /// # Errors
    ///
    /// [`FormatError`] if the text is damaged.
    pub fn decode(&self) -> Result<Map, FormatError> {
        let mut reader = self.reader(0);
        let map = match reader.value()? {
            Value::Map(map) => map,
            _ => return Err(damaged("its text is no object")),
        };
        match reader.at_end() {
            true => Ok(map),
            false => Err(damaged("its text goes on after the end")),
        }
    }

    /// Bytes of the record as stored.
    pub fn stored_bytes(&self) -> usize {
        self.bytes.len()
    }

    fn text(&self) -> &[u8] {
        &self.bytes[HEADER_BYTES..self.layout.text_end]
    }

    fn spans(&self) -> Spans<'_> {
        Spans {
            bytes: &self.bytes[self.layout.text_end..self.layout.spans_end],
            offset_bytes: self.layout.offset_bytes,
        }
    }

    /// A reader of the text from `start`.
    fn reader(&self, start: usize) -> Reader<'_> {
        let types = Types {
            bytes: &self.bytes[self.layout.spans_end..],
            offset_bytes: self.layout.offset_bytes,
        };
        Reader::new(self.text(), types, start)
    }

    /// The span of an attribute that has one.
    fn span_of(&self, name: &str) -> Option<Span> {
        self.spans().find(self.dictionary.id(name)?)
    }

    fn value_at(&self, span: Span) -> Result<Value, FormatError> {
        let mut reader = self.reader(span.start);
        let value = reader.value()?;
        match reader.position() == span.end {
            true => Ok(value),
            false => Err(damaged("a span ends within a value")),
        }
    }

    /// The place of an attribute, with or without a span.
    fn locate(&self, name: &str) -> Result<Option<Span>, FormatError> {
        match self.span_of(name) {
            None if self.layout.unlisted => self.reader(0).find_member(name),
            Some(span) if span.start > span.end || span.end > self.text().len() => {
                Err(damaged("a span is out of place"))
            }
            found => Ok(found),
        }
    }
}

impl Document for StoredDocument {
    fn json(&self) -> Bytes {
        self.bytes.slice(HEADER_BYTES..self.layout.text_end)
    }

    fn attribute_json(&self, name: &str) -> Option<Bytes> {
        if let Some(computed) = self.computed_attribute(name) {
            return Some(Bytes::from(resource::json::to_vec(&computed?)));
        }
        let span = report(self.locate(name))??;
        let text = self.json();
        Some(text.slice(span.start..span.end))
    }

    fn attribute(&self, name: &str) -> Option<Value> {
        match self.computed_attribute(name) {
            Some(computed) => computed,
            None => self.stored_attribute(name),
        }
    }

    fn to_value(&self) -> Value {
        report(self.decode()).map_or(Value::Null, Value::Map)
    }
}

/// The contract of a document has no error. What `open` let pass and cannot be read was written wrongly; it
/// is logged and treated as absent.
fn report<T>(result: Result<T, FormatError>) -> Option<T> {
    result
        .inspect_err(|error| tracing::error!(%error, "a stored record was written wrongly"))
        .ok()
}

/// Equality in which NaN equals itself.
fn same_value(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Float(left), Value::Float(right)) => left.to_bits() == right.to_bits(),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(l, r)| same_value(l, r))
        }
        (Value::Map(left), Value::Map(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .zip(right.iter())
                    .all(|((ln, l), (rn, r))| ln == rn && same_value(l, r))
        }
        _ => left == right,
    }
}

impl Layout {
    fn read(bytes: &[u8]) -> Result<Self, FormatError> {
        let (header, _) = bytes
            .split_first_chunk::<HEADER_BYTES>()
            .ok_or(damaged("its header is incomplete"))?;
        let [version, flags, s0, s1, t0, t1, t2, t3, y0, y1, y2, y3, ..] = *header;
        if version != FORMAT_VERSION {
            return Err(damaged("its format version is unknown"));
        }
        if flags & !(FLAG_WIDE | FLAG_UNLISTED) != 0 {
            return Err(damaged("its flags are unknown"));
        }
        let offset_bytes = if flags & FLAG_WIDE == 0 { 2 } else { 4 };
        let spans = usize::from(u16::from_le_bytes([s0, s1])) * Spans::entry_bytes(offset_bytes);
        let text = u32::from_le_bytes([t0, t1, t2, t3]);
        let types = u32::from_le_bytes([y0, y1, y2, y3]);
        // In 64 bits, so that no sum of header fields overflows.
        let spans_end = HEADER_BYTES as u64 + u64::from(text) + spans as u64;
        let end = spans_end + u64::from(types) * Types::entry_bytes(offset_bytes) as u64;
        if end != bytes.len() as u64 {
            return Err(damaged("its length does not match its header"));
        }
        let text_end = HEADER_BYTES + text as usize;
        let text = &bytes[HEADER_BYTES..text_end];
        if text.first() != Some(&b'{') || text.last() != Some(&b'}') {
            return Err(damaged("its text is no object"));
        }
        Ok(Self {
            text_end,
            spans_end: text_end + spans,
            offset_bytes,
            unlisted: flags & FLAG_UNLISTED != 0,
        })
    }
}

/// Where a value stands in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    start: usize,
    end: usize,
}

/// The table of attribute id, start and end.
#[derive(Clone, Copy)]
struct Spans<'a> {
    bytes: &'a [u8],
    offset_bytes: usize,
}

impl Spans<'_> {
    const fn entry_bytes(offset_bytes: usize) -> usize {
        2 + 2 * offset_bytes
    }

    fn entry(self, bytes: &[u8]) -> (AttributeId, Span) {
        let (id, offsets) = bytes.split_at(2);
        let (start, end) = offsets.split_at(self.offset_bytes);
        let span = Span {
            start: offset(start),
            end: offset(end),
        };
        (offset(id) as AttributeId, span)
    }

    fn find(self, wanted: AttributeId) -> Option<Span> {
        let size = Self::entry_bytes(self.offset_bytes);
        let (mut low, mut high) = (0, self.bytes.len() / size);
        while low < high {
            let middle = (low + high) / 2;
            let (id, span) = self.entry(&self.bytes[middle * size..(middle + 1) * size]);
            match id.cmp(&wanted) {
                std::cmp::Ordering::Equal => return Some(span),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }
}

/// The table of start and type.
#[derive(Clone, Copy)]
struct Types<'a> {
    bytes: &'a [u8],
    offset_bytes: usize,
}

impl Types<'_> {
    const fn entry_bytes(offset_bytes: usize) -> usize {
        offset_bytes + 1
    }

    fn len(self) -> usize {
        self.bytes.len() / Self::entry_bytes(self.offset_bytes)
    }

    /// Start and type byte of an entry.
    fn entry(self, index: usize) -> Option<(usize, u8)> {
        let size = Self::entry_bytes(self.offset_bytes);
        let entry = self.bytes.get(index * size..(index + 1) * size)?;
        let (start, mark) = entry.split_at(self.offset_bytes);
        Some((offset(start), mark[0]))
    }

    /// The first entry at or after a place in the text.
    fn first_from(self, start: usize) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = (low + high) / 2;
            match self.entry(middle) {
                Some((at, _)) if at < start => low = middle + 1,
                _ => high = middle,
            }
        }
        low
    }
}

/// A little-endian number of up to four bytes.
fn offset(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .rev()
        .fold(0, |sum, byte| sum << 8 | usize::from(*byte))
}

#[cfg(test)]
mod tests;
