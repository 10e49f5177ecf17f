//! MessagePack to a value.

use bytes::Bytes;
use num_bigint::BigInt;
use resource::{Date, Map, Value};
use rmp::Marker;

use super::{BIG_INTEGER, TIMESTAMP, UNDEFINED};
use crate::{DecodeError, MAX_BIG_INTEGER_BYTES, MAX_DEPTH};

/// Reads one value, all of `bytes`.
///
/// ```
/// let error = content::msgpack::decode(&[0x92, 0x01]).unwrap_err();
/// assert_eq!(error.to_string(), "MessagePack: unexpected end at byte 2");
/// ```
///
/// # Errors
///
/// As [`decode_first`], and for bytes after the value.
pub fn decode(bytes: &[u8]) -> Result<Value, DecodeError> {
    let (value, length) = decode_first(bytes)?;
    match length == bytes.len() {
        true => Ok(value),
        false => Err(error("unexpected bytes after the value", length)),
    }
}

/// Reads the first of several values that follow each other, as collections are sent; returns it and its
/// length in bytes.
///
/// Names of members are text or integers. Extension types: -1 (timestamp), 0x42 (big integer) and 0
/// (`undefined`: null, and as the value of a map it leaves the member out); others are refused, since
/// what they mean would be lost.
///
/// # Errors
///
/// [`DecodeError::Malformed`] with the position of the item that does not fit, also for nesting beyond
/// [`MAX_DEPTH`] and integers beyond [`MAX_BIG_INTEGER_BYTES`].
pub fn decode_first(bytes: &[u8]) -> Result<(Value, usize), DecodeError> {
    let mut reader = Reader { bytes, at: 0 };
    let value = reader.value(0)?.unwrap_or_default();
    Ok((value, reader.at))
}

fn error(what: &str, at: usize) -> DecodeError {
    DecodeError::malformed("MessagePack", format!("{what} at byte {at}"))
}

struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Reader<'b> {
    /// One item; `None` for `undefined`.
    fn value(&mut self, depth: usize) -> Result<Option<Value>, DecodeError> {
        let start = self.at;
        let value = match self.marker()? {
            Marker::Null => Value::Null,
            Marker::False => Value::Bool(false),
            Marker::True => Value::Bool(true),
            Marker::FixPos(n) => Value::Int(n.into()),
            Marker::FixNeg(n) => Value::Int(n.into()),
            Marker::U8 => Value::Int(u8::from_be_bytes(self.array()?).into()),
            Marker::U16 => Value::Int(u16::from_be_bytes(self.array()?).into()),
            Marker::U32 => Value::Int(u32::from_be_bytes(self.array()?).into()),
            Marker::U64 => Value::from(u64::from_be_bytes(self.array()?)),
            Marker::I8 => Value::Int(i8::from_be_bytes(self.array()?).into()),
            Marker::I16 => Value::Int(i16::from_be_bytes(self.array()?).into()),
            Marker::I32 => Value::Int(i32::from_be_bytes(self.array()?).into()),
            Marker::I64 => Value::Int(i64::from_be_bytes(self.array()?)),
            Marker::F32 => Value::Float(f32::from_be_bytes(self.array()?).into()),
            Marker::F64 => Value::Float(f64::from_be_bytes(self.array()?)),
            marker @ (Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32) => {
                Value::String(self.text(marker)?)
            }
            marker @ (Marker::Bin8 | Marker::Bin16 | Marker::Bin32) => {
                let length = self.length(marker)?;
                Value::Bytes(Bytes::copy_from_slice(self.take(length)?))
            }
            marker @ (Marker::FixArray(_) | Marker::Array16 | Marker::Array32) => {
                let depth = deeper(depth, start)?;
                let length = self.length(marker)?;
                // The declared length reserves nothing: each item has to be there.
                let mut items = Vec::new();
                for _ in 0..length {
                    items.push(self.value(depth)?.unwrap_or_default());
                }
                Value::Array(items)
            }
            marker @ (Marker::FixMap(_) | Marker::Map16 | Marker::Map32) => {
                let depth = deeper(depth, start)?;
                let length = self.length(marker)?;
                Value::Map(self.map(length, depth)?)
            }
            Marker::Reserved => return Err(error("malformed item 0xc1", start)),
            marker => return self.extension(marker, start),
        };
        Ok(Some(value))
    }

    fn map(&mut self, length: usize, depth: usize) -> Result<Map, DecodeError> {
        let mut map = Map::new();
        for _ in 0..length {
            let name = self.member_name()?;
            if let Some(value) = self.value(depth)? {
                map.insert(name, value);
            }
        }
        Ok(map)
    }

    fn member_name(&mut self) -> Result<String, DecodeError> {
        let start = self.at;
        // Nesting is not allowed here, so the depth is at its end already.
        match self.value(MAX_DEPTH) {
            Ok(Some(Value::String(text))) => Ok(text),
            Ok(Some(Value::Int(number))) => Ok(number.to_string()),
            Ok(Some(Value::BigInt(number))) => Ok(number.to_string()),
            Ok(other) => {
                let kind = other.unwrap_or_default().kind();
                Err(error(&format!("{kind} as the name of a member"), start))
            }
            Err(_) if self.starts_collection(start) => {
                Err(error("array or object as the name of a member", start))
            }
            Err(error) => Err(error),
        }
    }

    fn starts_collection(&self, at: usize) -> bool {
        matches!(
            self.bytes.get(at).copied().map(Marker::from_u8),
            Some(
                Marker::FixArray(_)
                    | Marker::Array16
                    | Marker::Array32
                    | Marker::FixMap(_)
                    | Marker::Map16
                    | Marker::Map32
            )
        )
    }

    fn text(&mut self, marker: Marker) -> Result<String, DecodeError> {
        let length = self.length(marker)?;
        let start = self.at;
        match std::str::from_utf8(self.take(length)?) {
            Ok(text) => Ok(text.to_owned()),
            Err(invalid) => Err(error("not UTF-8", start + invalid.valid_up_to())),
        }
    }

    fn extension(&mut self, marker: Marker, start: usize) -> Result<Option<Value>, DecodeError> {
        let length = self.length(marker)?;
        let kind = i8::from_be_bytes(self.array()?);
        let content = self.take(length)?;
        let value = match kind {
            UNDEFINED if length == 1 => return Ok(None),
            TIMESTAMP => timestamp(content).map(Value::Date),
            BIG_INTEGER if length <= MAX_BIG_INTEGER_BYTES => {
                Some(Value::from(BigInt::from_signed_bytes_be(content)))
            }
            BIG_INTEGER => None,
            _ => return Err(error(&format!("unknown extension type {kind}"), start)),
        };
        match value {
            Some(value) => Ok(Some(value)),
            None => Err(error(
                &format!("content does not fit extension type {kind}"),
                start,
            )),
        }
    }

    fn marker(&mut self) -> Result<Marker, DecodeError> {
        let [byte] = self.array()?;
        Ok(Marker::from_u8(byte))
    }

    /// The length that follows a marker, or is part of it.
    fn length(&mut self, marker: Marker) -> Result<usize, DecodeError> {
        Ok(match marker {
            Marker::FixStr(n) | Marker::FixArray(n) | Marker::FixMap(n) => n.into(),
            Marker::Str8 | Marker::Bin8 | Marker::Ext8 => u8::from_be_bytes(self.array()?).into(),
            Marker::Str16 | Marker::Bin16 | Marker::Array16 | Marker::Map16 | Marker::Ext16 => {
                u16::from_be_bytes(self.array()?).into()
            }
            Marker::FixExt1 => 1,
            Marker::FixExt2 => 2,
            Marker::FixExt4 => 4,
            Marker::FixExt8 => 8,
            Marker::FixExt16 => 16,
            // Str32, Bin32, Array32, Map32, Ext32: a length beyond the address space is beyond the end.
            _ => usize::try_from(u32::from_be_bytes(self.array()?)).unwrap_or(usize::MAX),
        })
    }

    fn take(&mut self, length: usize) -> Result<&'b [u8], DecodeError> {
        let rest = &self.bytes[self.at..];
        match rest.get(..length) {
            Some(taken) => {
                self.at += length;
                Ok(taken)
            }
            None => Err(error("unexpected end", self.bytes.len())),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let taken = self.take(N)?;
        Ok(taken.try_into().expect("take returns the length asked for"))
    }
}

fn deeper(depth: usize, at: usize) -> Result<usize, DecodeError> {
    match depth < MAX_DEPTH {
        true => Ok(depth + 1),
        false => Err(error(&format!("nested deeper than {MAX_DEPTH} levels"), at)),
    }
}

/// The three forms of the timestamp extension; nanoseconds are cut to milliseconds.
fn timestamp(content: &[u8]) -> Option<Date> {
    let (seconds, nanos) = match content.len() {
        4 => (i64::from(u32::from_be_bytes(content.try_into().ok()?)), 0),
        8 => {
            let word = u64::from_be_bytes(content.try_into().ok()?);
            // 30 bits of nanoseconds above 34 bits of seconds: both fit their types.
            ((word & 0x3_FFFF_FFFF) as i64, (word >> 34) as u32)
        }
        12 => {
            let (nanos, seconds) = content.split_at(4);
            (
                i64::from_be_bytes(seconds.try_into().ok()?),
                u32::from_be_bytes(nanos.try_into().ok()?),
            )
        }
        _ => return None,
    };
    if nanos > 999_999_999 {
        return None;
    }
    let millis = seconds
        .checked_mul(1000)?
        .checked_add(i64::from(nanos / 1_000_000))?;
    Date::from_millis(millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_item() {
        let json = |text: &str| resource::json::from_slice(text.as_bytes()).unwrap();
        let date = |text: &str| Value::Date(Date::parse(text).unwrap());
        for (bytes, expected) in [
            (&[0xC0][..], Value::Null),
            (&[0xC2], Value::Bool(false)),
            (&[0x7F], Value::Int(127)),
            (&[0xE0], Value::Int(-32)),
            (&[0xCC, 0xFF], Value::Int(255)),
            (&[0xD1, 0x80, 0x00], Value::Int(-32768)),
            (
                &[0xCF, 255, 255, 255, 255, 255, 255, 255, 255],
                json("18446744073709551615"),
            ),
            (&[0xCA, 0x3F, 0x80, 0, 0], Value::Float(1.0)),
            (&[0xD9, 2, 0xC3, 0xBC], Value::from("ü")),
            (
                &[0xC4, 2, 0, 0xFF],
                Value::Bytes(Bytes::from_static(&[0, 0xFF])),
            ),
            (&[0xDC, 0, 2, 1, 2], json("[1,2]")),
            (&[0x82, 0xA1, b'a', 1, 0x05, 2], json(r#"{"a":1,"5":2}"#)),
            (&[0xDE, 0, 1, 0xA1, b'a', 0xD4, 0, 0], json("{}")),
            (
                &[0xD6, 0xFF, 0x51, 0x4B, 0x67, 0xB0],
                date("2013-03-21T20:04:00Z"),
            ),
            (
                &[
                    0xC7, 12, 0xFF, 0x1D, 0xCD, 0x65, 0, 255, 255, 255, 255, 255, 255, 255, 255,
                ],
                date("1969-12-31T23:59:59.500Z"),
            ),
            (
                &[0xC7, 9, 0x42, 1, 0, 0, 0, 0, 0, 0, 0, 0],
                json("18446744073709551616"),
            ),
            (
                &[0xC7, 9, 0x42, 255, 0, 0, 0, 0, 0, 0, 0, 0],
                json("-18446744073709551616"),
            ),
        ] {
            assert_eq!(decode(bytes), Ok(expected), "{bytes:x?}");
        }
    }

    #[test]
    fn an_error_says_what_and_where() {
        for (bytes, expected) in [
            (&[][..], "unexpected end at byte 0"),
            (&[1, 2], "unexpected bytes after the value at byte 1"),
            (&[0x93, 1], "unexpected end at byte 2"),
            (&[0xA2, b'a', 0xFF], "not UTF-8 at byte 2"),
            (&[0xC1], "malformed item 0xc1 at byte 0"),
            (
                &[0x81, 0xC3, 1],
                "boolean as the name of a member at byte 1",
            ),
            (
                &[0x81, 0x90, 1],
                "array or object as the name of a member at byte 1",
            ),
            (&[0x91, 0xD4, 5, 0], "unknown extension type 5 at byte 1"),
            (
                &[0xD4, 0xFF, 0],
                "content does not fit extension type -1 at byte 0",
            ),
            (
                &[0xD7, 0xFF, 255, 255, 255, 255, 255, 255, 255, 255],
                "content does not fit extension type -1 at byte 0",
            ),
        ] {
            let error = decode(bytes).expect_err(expected).to_string();
            assert_eq!(error, format!("MessagePack: {expected}"));
        }
    }

    #[test]
    fn a_declared_length_reserves_nothing() {
        for marker in [0xDDu8, 0xDF, 0xDB, 0xC6, 0xC9] {
            let bytes = [marker, 255, 255, 255, 255, 0xA1, b'a'];
            let error = decode(&bytes).unwrap_err().to_string();
            assert!(error.contains("unexpected end"), "{error}");
        }
    }

    #[test]
    fn nesting_and_integers_are_bounded() {
        for opening in [&[0x91u8][..], &[0x81, 0xA1, b'a'], &[0xDC, 0, 1]] {
            let error = decode(&opening.repeat(100_000)).unwrap_err().to_string();
            assert!(error.contains("nested deeper"), "{error}");
        }
        let mut large = vec![0xC8, 0xFF, 0xFF, 0x42];
        large.resize(4 + 0xFFFF, 0x7F);
        assert!(decode(&large).is_err());
    }
}
