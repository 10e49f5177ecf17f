//! From stored text back to values.
//!
//! The text is our own, so the reader is strict: no white space, no comments, no second spelling. It
//! exists beside `resource::json` because it must know where in the text each value starts, to find its
//! type, and because a float must come back with all its bits.

use bytes::Bytes;
use num_bigint::BigInt;
use resource::{Date, Map, Value};

use super::{MAX_DEPTH, Span, TypeMark, Types, damaged};
use crate::FormatError;

/// Reads values from a place in the text on.
pub(super) struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    types: Types<'a>,
    /// Index of the next entry of `types`.
    next_type: usize,
    depth: usize,
}

type Result<T> = std::result::Result<T, FormatError>;

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a [u8], types: Types<'a>, start: usize) -> Self {
        Self {
            text,
            at: start,
            types,
            next_type: types.first_from(start),
            depth: 0,
        }
    }

    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// Whether text and types are used up.
    pub(super) fn at_end(&self) -> bool {
        self.at == self.text.len() && self.next_type == self.types.len()
    }

    /// Reads one value.
    pub(super) fn value(&mut self) -> Result<Value> {
        if let Some(mark) = self.mark()? {
            return self.marked(mark);
        }
        match self.peek()? {
            b'{' | b'[' if self.depth == MAX_DEPTH => Err(damaged("it is nested too deeply")),
            b'"' => self.string().map(Value::String),
            b'{' => self.map().map(Value::Map),
            b'[' => self.array().map(Value::Array),
            b't' => self.word(b"true", Value::Bool(true)),
            b'f' => self.word(b"false", Value::Bool(false)),
            b'n' => self.word(b"null", Value::Null),
            _ => number(self.number_text()?),
        }
    }

    /// Finds a member of the object that starts here, reading past the others.
    pub(super) fn find_member(&mut self, wanted: &str) -> Result<Option<Span>> {
        let mut found = None;
        self.members(|reader, name| {
            let start = reader.at;
            reader.value()?;
            if found.is_none() && name == wanted {
                found = Some(Span {
                    start,
                    end: reader.at,
                });
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// The type of the value that starts here, if it is one that text cannot tell.
    fn mark(&mut self) -> Result<Option<TypeMark>> {
        match self.types.entry(self.next_type) {
            Some((start, byte)) if start == self.at => {
                self.next_type += 1;
                let mark = TypeMark::from_byte(byte).ok_or(damaged("a type is unknown"))?;
                Ok(Some(mark))
            }
            Some((start, _)) if start < self.at => Err(damaged("a type is out of place")),
            _ => Ok(None),
        }
    }

    fn marked(&mut self, mark: TypeMark) -> Result<Value> {
        match mark {
            TypeMark::Float => match number(self.number_text()?)? {
                Value::Int(n) => Ok(Value::Float(n as f64)),
                _ => Err(damaged("a float is not whole")),
            },
            TypeMark::Date => Date::parse(&self.string()?)
                .map(Value::Date)
                .ok_or(damaged("a date is unreadable")),
            TypeMark::Bytes => self.bytes().map(Value::Bytes),
            TypeMark::Nan => self.word(b"null", Value::Float(f64::NAN)),
            TypeMark::Infinity => self.word(b"null", Value::Float(f64::INFINITY)),
            TypeMark::NegativeInfinity => self.word(b"null", Value::Float(f64::NEG_INFINITY)),
            TypeMark::NegativeZero => self.word(b"0", Value::Float(-0.0)),
        }
    }

    fn peek(&self) -> Result<u8> {
        self.text
            .get(self.at)
            .copied()
            .ok_or(damaged("its text ends too early"))
    }

    fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn expect(&mut self, wanted: &[u8]) -> Result<()> {
        if !self.rest().starts_with(wanted) {
            return Err(damaged("its text is no JSON"));
        }
        self.at += wanted.len();
        Ok(())
    }

    fn word(&mut self, text: &[u8], value: Value) -> Result<Value> {
        self.expect(text).map(|()| value)
    }

    fn number_text(&mut self) -> Result<&'a str> {
        let rest = self.rest();
        let length = rest
            .iter()
            .position(|byte| !matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
            .unwrap_or(rest.len());
        self.at += length;
        std::str::from_utf8(&rest[..length]).map_err(|_| damaged("its text is no JSON"))
    }

    fn string(&mut self) -> Result<String> {
        self.expect(b"\"")?;
        let mut out = Vec::new();
        loop {
            let rest = self.rest();
            let stop = memchr::memchr2(b'"', b'\\', rest).ok_or(damaged("a text has no end"))?;
            out.extend_from_slice(&rest[..stop]);
            self.at += stop + 1;
            match rest[stop] {
                b'"' => break,
                _ => self.escape(&mut out)?,
            }
        }
        String::from_utf8(out).map_err(|_| damaged("a text is not UTF-8"))
    }

    /// Reads an escape after its backslash; only those that `resource::json` writes exist.
    fn escape(&mut self, out: &mut Vec<u8>) -> Result<()> {
        let kind = self.peek()?;
        self.at += 1;
        out.push(match kind {
            b'"' | b'\\' => kind,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let digits = self.rest().get(..4).ok_or(damaged("an escape is cut"))?;
                let text =
                    std::str::from_utf8(digits).map_err(|_| damaged("an escape is wrong"))?;
                let code =
                    u8::from_str_radix(text, 16).map_err(|_| damaged("an escape is wrong"))?;
                if code >= 0x20 {
                    return Err(damaged("an escape is wrong"));
                }
                self.at += 4;
                code
            }
            _ => return Err(damaged("an escape is wrong")),
        });
        Ok(())
    }

    fn map(&mut self) -> Result<Map> {
        let mut map = Map::new();
        self.members(|reader, name| {
            let value = reader.value()?;
            match map.insert(name, value) {
                None => Ok(()),
                Some(_) => Err(damaged("a member occurs twice")),
            }
        })?;
        Ok(map)
    }

    /// Calls `each` for every member of an object, with the reader at its value.
    fn members(&mut self, mut each: impl FnMut(&mut Self, String) -> Result<()>) -> Result<()> {
        self.sequence(b"{", b'}', |reader| {
            let name = reader.string()?;
            reader.expect(b":")?;
            each(reader, name)
        })
    }

    fn array(&mut self) -> Result<Vec<Value>> {
        let mut items = Vec::new();
        self.sequence(b"[", b']', |reader| {
            items.push(reader.value()?);
            Ok(())
        })?;
        Ok(items)
    }

    fn bytes(&mut self) -> Result<Bytes> {
        let mut bytes = Vec::new();
        self.expect(br#"{"type":"Buffer","data":"#)?;
        self.sequence(b"[", b']', |reader| {
            let byte = reader.number_text()?.parse();
            bytes.push(byte.map_err(|_| damaged("a byte is unreadable"))?);
            Ok(())
        })?;
        self.expect(b"}")?;
        Ok(bytes.into())
    }

    /// Reads items between brackets, separated by commas.
    fn sequence(
        &mut self,
        open: &[u8],
        close: u8,
        mut item: impl FnMut(&mut Self) -> Result<()>,
    ) -> Result<()> {
        self.expect(open)?;
        if self.peek()? == close {
            self.at += 1;
            return Ok(());
        }
        self.depth += 1;
        loop {
            item(self)?;
            let next = self.peek()?;
            self.at += 1;
            match next {
                b',' => {}
                next if next == close => break,
                _ => return Err(damaged("its text is no JSON")),
            }
        }
        self.depth -= 1;
        Ok(())
    }
}

/// A number by its text: with a fraction or an exponent it is a float, else an integer of the smallest form.
fn number(text: &str) -> Result<Value> {
    let unreadable = damaged("a number is unreadable");
    if text.contains(['.', 'e', 'E']) {
        let float: f64 = text.parse().map_err(|_| unreadable)?;
        return Ok(Value::Float(float));
    }
    if let Ok(n) = text.parse::<i64>() {
        return Ok(Value::Int(n));
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(unreadable);
    }
    text.parse::<BigInt>()
        .map(Value::from)
        .map_err(|_| unreadable)
}
