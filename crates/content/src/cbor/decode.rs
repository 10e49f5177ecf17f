//! CBOR to a value.

use bytes::Bytes;
use minicbor::Decoder;
use minicbor::data::Type;
use num_bigint::{BigInt, Sign};
use resource::{Date, Map, Value};

use crate::{DecodeError, MAX_BIG_INTEGER_BYTES, MAX_DEPTH};

/// Reads one value, all of `bytes`.
///
/// `undefined` is null, and as the value of a map leaves the member out; names of members are text or
/// integers. Tags: 0 and 1 (dates), 2 and 3 (big integers), 64 (bytes), 258 (set), 259 (map), 32 (URI)
/// and 55799 (CBOR itself); other tags are refused, since what they mean would be lost.
///
/// ```
/// let error = content::cbor::decode(&[0x82, 0x01]).unwrap_err();
/// assert_eq!(error.to_string(), "CBOR: unexpected end at byte 2");
/// ```
///
/// # Errors
///
/// [`DecodeError::Malformed`] with the position of the item that does not fit, also for nesting beyond
/// [`MAX_DEPTH`] and integers beyond [`MAX_BIG_INTEGER_BYTES`].
pub fn decode(bytes: &[u8]) -> Result<Value, DecodeError> {
    let mut reader = Reader {
        input: Decoder::new(bytes),
        length: bytes.len(),
    };
    let value = reader.value(0)?.unwrap_or_default();
    match reader.input.position() == bytes.len() {
        true => Ok(value),
        false => Err(reader.error("unexpected bytes after the value", reader.input.position())),
    }
}

struct Reader<'b> {
    input: Decoder<'b>,
    length: usize,
}

impl<'b> Reader<'b> {
    /// One item; `None` for `undefined`.
    fn value(&mut self, depth: usize) -> Result<Option<Value>, DecodeError> {
        let start = self.input.position();
        let value = match self.kind()? {
            Type::Null => self.read(Decoder::null).map(|()| Value::Null)?,
            Type::Undefined => return self.read(Decoder::undefined).map(|()| None),
            Type::Bool => Value::Bool(self.read(Decoder::bool)?),
            Type::U8
            | Type::U16
            | Type::U32
            | Type::U64
            | Type::I8
            | Type::I16
            | Type::I32
            | Type::I64
            | Type::Int => {
                let number = i128::from(self.read(Decoder::int)?);
                i64::try_from(number).map_or_else(|_| BigInt::from(number).into(), Value::Int)
            }
            Type::F16 => Value::Float(self.read(Decoder::f16)?.into()),
            Type::F32 => Value::Float(self.read(Decoder::f32)?.into()),
            Type::F64 => Value::Float(self.read(Decoder::f64)?),
            Type::Bytes => Value::Bytes(Bytes::copy_from_slice(self.read(Decoder::bytes)?)),
            Type::BytesIndef => Value::Bytes(self.bytes_in_chunks()?.into()),
            Type::String => Value::String(self.read(Decoder::str)?.to_owned()),
            Type::StringIndef => Value::String(self.text_in_chunks()?),
            Type::Array | Type::ArrayIndef => self.array(self.deeper(depth)?)?,
            Type::Map | Type::MapIndef => self.map(self.deeper(depth)?)?,
            Type::Tag => return self.tagged(self.deeper(depth)?).map(Some),
            Type::Simple => return Err(self.error("unassigned simple value", start)),
            Type::Break => return Err(self.error("unexpected break", start)),
            Type::Unknown(byte) => {
                return Err(self.error(&format!("malformed item {byte:#04x}"), start));
            }
        };
        Ok(Some(value))
    }

    fn array(&mut self, depth: usize) -> Result<Value, DecodeError> {
        let declared = self.read(Decoder::array)?;
        // The declared length reserves nothing: each item has to be there.
        let mut items = Vec::new();
        let mut read = 0;
        while self.has_next(declared, read)? {
            items.push(self.value(depth)?.unwrap_or_default());
            read += 1;
        }
        Ok(Value::Array(items))
    }

    fn map(&mut self, depth: usize) -> Result<Value, DecodeError> {
        let declared = self.read(Decoder::map)?;
        let mut map = Map::new();
        let mut read = 0;
        while self.has_next(declared, read)? {
            let name = self.member_name()?;
            if let Some(value) = self.value(depth)? {
                map.insert(name, value);
            }
            read += 1;
        }
        Ok(Value::Map(map))
    }

    /// Whether another item of an array or map follows; steps over the break of an indefinite one.
    fn has_next(&mut self, declared: Option<u64>, read: u64) -> Result<bool, DecodeError> {
        if let Some(declared) = declared {
            return Ok(read < declared);
        }
        let is_break = self.kind()? == Type::Break;
        if is_break {
            self.input.set_position(self.input.position() + 1);
        }
        Ok(!is_break)
    }

    fn member_name(&mut self) -> Result<String, DecodeError> {
        let start = self.input.position();
        match self.kind()? {
            Type::String => self.read(Decoder::str).map(str::to_owned),
            Type::StringIndef => self.text_in_chunks(),
            Type::U8 | Type::U16 | Type::U32 | Type::U64 => {
                self.read(Decoder::u64).map(|number| number.to_string())
            }
            Type::I8 | Type::I16 | Type::I32 | Type::I64 | Type::Int => {
                self.read(Decoder::int).map(|number| number.to_string())
            }
            other => Err(self.error(&format!("{other} as the name of a member"), start)),
        }
    }

    fn tagged(&mut self, depth: usize) -> Result<Value, DecodeError> {
        let start = self.input.position();
        let tag = self.read(Decoder::tag)?.as_u64();
        let content = match tag {
            0..=3 | 32 | 64 | 258 | 259 | 55799 => self.value(depth)?.unwrap_or_default(),
            _ => return Err(self.error(&format!("unknown tag {tag}"), start)),
        };
        let value = match (tag, content) {
            (0, Value::String(text)) => Date::parse(&text).map(Value::Date),
            (1, seconds @ (Value::Int(_) | Value::Float(_))) => date(&seconds).map(Value::Date),
            (2, Value::Bytes(magnitude)) => big_integer(&magnitude).map(Value::from),
            (3, Value::Bytes(magnitude)) => {
                big_integer(&magnitude).map(|n| Value::from(BigInt::from(-1) - n))
            }
            (32, text @ Value::String(_)) => Some(text),
            (64, bytes @ Value::Bytes(_)) => Some(bytes),
            (258, set @ Value::Array(_)) => Some(set),
            (259, map @ Value::Map(_)) => Some(map),
            (55799, any) => Some(any),
            _ => None,
        };
        value.ok_or_else(|| self.error(&format!("content does not fit tag {tag}"), start))
    }

    fn bytes_in_chunks(&mut self) -> Result<Vec<u8>, DecodeError> {
        let start = self.input.position();
        let chunks: Result<Vec<&[u8]>, _> = self
            .input
            .bytes_iter()
            .and_then(Iterator::collect::<Result<_, _>>);
        match chunks {
            Ok(chunks) => Ok(chunks.concat()),
            Err(error) => Err(self.explain(&error, start)),
        }
    }

    fn text_in_chunks(&mut self) -> Result<String, DecodeError> {
        let start = self.input.position();
        let chunks: Result<Vec<&str>, _> = self
            .input
            .str_iter()
            .and_then(Iterator::collect::<Result<_, _>>);
        match chunks {
            Ok(chunks) => Ok(chunks.concat()),
            Err(error) => Err(self.explain(&error, start)),
        }
    }

    fn kind(&self) -> Result<Type, DecodeError> {
        let start = self.input.position();
        self.input
            .datatype()
            .map_err(|error| self.explain(&error, start))
    }

    fn read<T>(
        &mut self,
        read: impl FnOnce(&mut Decoder<'b>) -> Result<T, minicbor::decode::Error>,
    ) -> Result<T, DecodeError> {
        let start = self.input.position();
        read(&mut self.input).map_err(|error| self.explain(&error, start))
    }

    fn deeper(&self, depth: usize) -> Result<usize, DecodeError> {
        match depth < MAX_DEPTH {
            true => Ok(depth + 1),
            false => Err(self.error(
                &format!("nested deeper than {MAX_DEPTH} levels"),
                self.input.position(),
            )),
        }
    }

    fn explain(&self, error: &minicbor::decode::Error, start: usize) -> DecodeError {
        match error.is_end_of_input() {
            true => self.error("unexpected end", self.length),
            false => self.error("malformed item", start),
        }
    }

    fn error(&self, what: &str, at: usize) -> DecodeError {
        DecodeError::malformed("CBOR", format!("{what} at byte {at}"))
    }
}

/// Seconds since the epoch, as an integer or a float, in whole milliseconds.
fn date(seconds: &Value) -> Option<Date> {
    let millis = match seconds {
        Value::Int(seconds) => seconds.checked_mul(1000)?,
        Value::Float(seconds) if seconds.is_finite() => (seconds * 1000.0).round() as i64,
        _ => return None,
    };
    Date::from_millis(millis)
}

fn big_integer(magnitude: &Bytes) -> Option<BigInt> {
    (magnitude.len() <= MAX_BIG_INTEGER_BYTES).then(|| BigInt::from_bytes_be(Sign::Plus, magnitude))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
            .collect()
    }

    fn error(bytes: &str) -> String {
        decode(&hex(bytes)).expect_err(bytes).to_string()
    }

    /// RFC 8949, appendix A, as far as it has a counterpart here.
    #[test]
    fn the_examples_of_the_standard() {
        let json = |text: &str| resource::json::from_slice(text.as_bytes()).unwrap();
        for (bytes, expected) in [
            ("00", Value::Int(0)),
            ("1818", Value::Int(24)),
            ("1b000000e8d4a51000", Value::Int(1_000_000_000_000)),
            ("1bffffffffffffffff", json("18446744073709551615")),
            ("c249010000000000000000", json("18446744073709551616")),
            ("3bffffffffffffffff", json("-18446744073709551616")),
            ("c349010000000000000000", json("-18446744073709551617")),
            ("20", Value::Int(-1)),
            ("3903e7", Value::Int(-1000)),
            ("f93c00", Value::Float(1.0)),
            ("fa47c35000", Value::Float(100_000.0)),
            ("fb3ff199999999999a", Value::Float(1.1)),
            ("f97c00", Value::Float(f64::INFINITY)),
            ("f4", Value::Bool(false)),
            ("f6", Value::Null),
            ("f7", Value::Null),
            (
                "c074323031332d30332d32315432303a30343a30305a",
                Value::Date(Date::parse("2013-03-21T20:04:00Z").unwrap()),
            ),
            (
                "c11a514b67b0",
                Value::Date(Date::parse("2013-03-21T20:04:00Z").unwrap()),
            ),
            (
                "c1fb41d452d9ec200000",
                Value::Date(Date::parse("2013-03-21T20:04:00.500Z").unwrap()),
            ),
            (
                "4401020304",
                Value::Bytes(Bytes::from_static(&[1, 2, 3, 4])),
            ),
            ("62c3bc", Value::from("ü")),
            ("83010203", json("[1,2,3]")),
            ("a201020304", json(r#"{"1":2,"3":4}"#)),
            ("a26161016162820203", json(r#"{"a":1,"b":[2,3]}"#)),
            (
                "5f42010243030405ff",
                Value::Bytes(Bytes::from_static(&[1, 2, 3, 4, 5])),
            ),
            ("7f657374726561646d696e67ff", Value::from("streaming")),
            ("9fff", json("[]")),
            ("9f018202039f0405ffff", json("[1,[2,3],[4,5]]")),
            ("bf61610161629f0203ffff", json(r#"{"a":1,"b":[2,3]}"#)),
            ("a16161f7", json("{}")),
            ("d9d9f701", Value::Int(1)),
            ("d90102820102", json("[1,2]")),
        ] {
            assert_eq!(decode(&hex(bytes)), Ok(expected), "{bytes}");
        }
    }

    #[test]
    fn an_error_says_what_and_where() {
        for (bytes, expected) in [
            ("", "CBOR: unexpected end at byte 0"),
            ("0000", "CBOR: unexpected bytes after the value at byte 1"),
            ("8301", "CBOR: unexpected end at byte 2"),
            ("62c328", "CBOR: malformed item at byte 0"),
            ("ff", "CBOR: unexpected break at byte 0"),
            ("81ff", "CBOR: unexpected break at byte 1"),
            ("1c", "CBOR: malformed item"),
            ("f8ff", "CBOR: unassigned simple value at byte 0"),
            ("d81800", "CBOR: unknown tag 24 at byte 0"),
            ("81c06161", "CBOR: content does not fit tag 0 at byte 1"),
            (
                "c1fb7ff8000000000000",
                "CBOR: content does not fit tag 1 at byte 0",
            ),
            (
                "c11bffffffffffffffff",
                "CBOR: content does not fit tag 1 at byte 0",
            ),
            ("a1f500", "CBOR: bool as the name of a member at byte 1"),
            ("5f6161ff", "CBOR: malformed item at byte 0"),
        ] {
            let error = error(bytes);
            assert!(error.starts_with(expected), "{bytes}: {error}");
        }
    }

    #[test]
    fn a_declared_length_reserves_nothing() {
        for bytes in [
            "9bffffffffffffffff00",
            "bbffffffffffffffff6161",
            "5bffffffffffffffff00",
            "7bffffffffffffffff61",
            "9b00000000ffffffff",
        ] {
            assert!(error(bytes).contains("unexpected end"), "{}", error(bytes));
        }
    }

    #[test]
    fn nesting_and_integers_are_bounded() {
        for opening in ["81", "9f", "a16161", "c1", "d9d9f7"] {
            let deep = decode(&hex(&opening.repeat(100_000)))
                .unwrap_err()
                .to_string();
            assert!(deep.contains("nested deeper"), "{deep}");
        }
        let mut large = vec![0xC2, 0x59, 0xFF, 0xFF];
        large.resize(4 + 0xFFFF, 0xFF);
        assert!(decode(&large).is_err());
    }
}
