//! From a map to stored bytes.

use resource::{Error, Map, Value, json};

use super::{
    AttributeId, CHECKSUM_AT, Dictionary, FLAG_UNLISTED, FLAG_WIDE, FORMAT_VERSION, HEADER_BYTES,
    MAX_DEPTH, Span, TypeMark, checksum,
};

/// Longest JSON text of a record, 1 GiB: half of what the engine takes as one value.
pub const MAX_RECORD_BYTES: usize = 1 << 30;

/// Encodes a record. New attribute names get their number in `dictionary`; it must be stored in the same
/// transaction if it has grown.
///
/// # Errors
///
/// 413 for a text of more than [`MAX_RECORD_BYTES`], 400 for nesting beyond 128 levels.
pub fn encode(map: &Map, dictionary: &mut Dictionary) -> Result<Vec<u8>, Error> {
    let mut writer = Writer::default();
    writer.out.reserve(256);
    writer.out.resize(HEADER_BYTES, 0);
    writer.record(map, dictionary)?;
    writer.finish()
}

/// The text so far, and the tables that will follow it.
#[derive(Default)]
struct Writer {
    out: Vec<u8>,
    spans: Vec<(AttributeId, Span)>,
    types: Vec<(usize, TypeMark)>,
    unlisted: bool,
}

impl Writer {
    fn record(&mut self, map: &Map, dictionary: &mut Dictionary) -> Result<(), Error> {
        self.out.push(b'{');
        for (index, (name, value)) in map.iter().enumerate() {
            self.member_name(index, name);
            let start = self.position();
            self.value(value, 1)?;
            let end = self.position();
            match dictionary.number(name) {
                // The count of spans has two bytes; ids are unique within a map, so it suffices.
                Some(id) => self.spans.push((id, Span { start, end })),
                None => self.unlisted = true,
            }
        }
        self.out.push(b'}');
        self.spans.sort_unstable_by_key(|(id, _)| *id);
        Ok(())
    }

    /// Where the next value will start, counted from the start of the text.
    fn position(&self) -> usize {
        self.out.len() - HEADER_BYTES
    }

    fn member_name(&mut self, index: usize, name: &str) {
        if index > 0 {
            self.out.push(b',');
        }
        json::write_string(name, &mut self.out);
        self.out.push(b':');
    }

    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        if let Some(mark) = mark_of(value) {
            self.types.push((self.position(), mark));
        }
        match value {
            Value::Array(_) | Value::Map(_) if depth >= MAX_DEPTH => Err(Error::bad_request(
                format!("The record is nested deeper than {MAX_DEPTH} levels"),
            )),
            Value::Array(items) => {
                self.out.push(b'[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        self.out.push(b',');
                    }
                    self.value(item, depth + 1)?;
                }
                self.out.push(b']');
                Ok(())
            }
            Value::Map(map) => {
                self.out.push(b'{');
                for (index, (name, value)) in map.iter().enumerate() {
                    self.member_name(index, name);
                    self.value(value, depth + 1)?;
                }
                self.out.push(b'}');
                Ok(())
            }
            scalar => {
                json::write(scalar, &mut self.out);
                Ok(())
            }
        }
    }

    fn finish(mut self) -> Result<Vec<u8>, Error> {
        let text = self.position();
        if text > MAX_RECORD_BYTES {
            return Err(Error::payload_too_large(format!(
                "The record is too large: {text} bytes, at most {MAX_RECORD_BYTES}"
            )));
        }
        let wide = text > usize::from(u16::MAX);
        let offset_bytes = if wide { 4 } else { 2 };
        let put = |out: &mut Vec<u8>, offset: usize| {
            out.extend_from_slice(&offset.to_le_bytes()[..offset_bytes]);
        };
        for (id, span) in &self.spans {
            self.out.extend_from_slice(&id.to_le_bytes());
            put(&mut self.out, span.start);
            put(&mut self.out, span.end);
        }
        for (start, mark) in &self.types {
            put(&mut self.out, *start);
            self.out.push(*mark as u8);
        }
        self.header(text, wide);
        Ok(self.out)
    }

    /// Fills in the header. Every count is below the length of the text, which fits.
    fn header(&mut self, text: usize, wide: bool) {
        let flags =
            if wide { FLAG_WIDE } else { 0 } | if self.unlisted { FLAG_UNLISTED } else { 0 };
        self.out[0] = FORMAT_VERSION;
        self.out[1] = flags;
        self.out[2..4].copy_from_slice(&(self.spans.len() as u16).to_le_bytes());
        self.out[4..8].copy_from_slice(&(text as u32).to_le_bytes());
        self.out[8..12].copy_from_slice(&(self.types.len() as u32).to_le_bytes());
        let sum = checksum(&self.out);
        self.out[CHECKSUM_AT..HEADER_BYTES].copy_from_slice(&sum.to_le_bytes());
    }
}

/// The mark of a value whose JSON text reads as another type.
fn mark_of(value: &Value) -> Option<TypeMark> {
    match value {
        Value::Date(_) => Some(TypeMark::Date),
        Value::Bytes(_) => Some(TypeMark::Bytes),
        Value::Float(n) if n.is_nan() => Some(TypeMark::Nan),
        Value::Float(n) if n.is_infinite() => Some(match n.is_sign_negative() {
            true => TypeMark::NegativeInfinity,
            false => TypeMark::Infinity,
        }),
        Value::Float(n) if *n == 0.0 && n.is_sign_negative() => Some(TypeMark::NegativeZero),
        // Larger ones are written with an exponent or a fraction.
        Value::Float(n) if n.fract() == 0.0 && n.abs() < 1e15 => Some(TypeMark::Float),
        _ => None,
    }
}
