//! JSON text to a [`Value`].

use num_bigint::BigInt;

use super::{JsonError, MAX_DEPTH, MAX_INTEGER_DIGITS, plain_run};
use crate::{Map, Value};

/// Reads one JSON text; anything after it but white space is an error.
///
/// An integer stays an integer, however large; a number with a fraction or an exponent is a float. Of
/// members with the same name the last one counts.
///
/// ```
/// use resource::{Value, json};
/// assert_eq!(json::from_slice(b"9007199254740993").unwrap(), Value::Int(9_007_199_254_740_993));
/// let error = json::from_slice(b"{\n  \"a\": 1,\n}").unwrap_err();
/// assert_eq!(error.to_string(), "expected a member name in quotes at line 3 column 1");
/// ```
///
/// # Errors
///
/// [`JsonError`] that says what and where; also for nesting beyond [`MAX_DEPTH`], an integer of more than
/// [`MAX_INTEGER_DIGITS`] digits, a float too large for 64 bits and half of a surrogate pair.
pub fn from_slice(text: &[u8]) -> Result<Value, JsonError> {
    let valid = match std::str::from_utf8(text) {
        Ok(text) => text,
        Err(error) => return Err(error_at("not UTF-8", text, error.valid_up_to())),
    };
    let mut reader = Reader { text: valid, at: 0 };
    let value = reader.document();
    value.map_err(|message| error_at(message, text, reader.at))
}

fn error_at(message: &'static str, text: &[u8], at: usize) -> JsonError {
    let before = &text[..at.min(text.len())];
    let line_start = before
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |newline| newline + 1);
    JsonError {
        message,
        line: 1 + before.iter().filter(|byte| **byte == b'\n').count(),
        column: 1 + before.len() - line_start,
    }
}

/// A message; the place is where the reader stands.
type Outcome<T> = Result<T, &'static str>;

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Reader<'t> {
    fn document(&mut self) -> Outcome<Value> {
        let value = self.value(0)?;
        self.skip_white_space();
        match self.peek() {
            None => Ok(value),
            Some(_) => Err("unexpected text after the value"),
        }
    }

    fn value(&mut self, depth: usize) -> Outcome<Value> {
        self.skip_white_space();
        match self.peek() {
            Some(b'"') => self.string().map(Value::String),
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            Some(_) => Err("expected a value"),
            None => Err("unexpected end, expected a value"),
        }
    }

    fn object(&mut self, depth: usize) -> Outcome<Value> {
        let depth = deeper(depth)?;
        self.at += 1;
        let mut map = Map::new();
        if self.skip_to(b'}') {
            return Ok(Value::Map(map));
        }
        loop {
            self.skip_white_space();
            if self.peek() != Some(b'"') {
                return Err("expected a member name in quotes");
            }
            let name = self.string()?;
            if !self.skip_to(b':') {
                return Err("expected ':'");
            }
            let value = self.value(depth)?;
            map.insert(name, value);
            if self.skip_to(b'}') {
                return Ok(Value::Map(map));
            }
            if !self.skip_to(b',') {
                return Err("expected ',' or '}'");
            }
        }
    }

    fn array(&mut self, depth: usize) -> Outcome<Value> {
        let depth = deeper(depth)?;
        self.at += 1;
        let mut items = Vec::new();
        if self.skip_to(b']') {
            return Ok(Value::Array(items));
        }
        loop {
            items.push(self.value(depth)?);
            if self.skip_to(b']') {
                return Ok(Value::Array(items));
            }
            if !self.skip_to(b',') {
                return Err("expected ',' or ']'");
            }
        }
    }

    fn string(&mut self) -> Outcome<String> {
        self.at += 1;
        let run = self.run();
        if self.peek() == Some(b'"') {
            self.at += 1;
            return Ok(run.to_owned());
        }
        let mut text = run.to_owned();
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => text.push(self.escape()?),
                Some(_) => return Err("control character in a string"),
                None => return Err("unexpected end of a string"),
            }
            text.push_str(self.run());
        }
    }

    /// The text up to the next byte that ends or interrupts a string.
    fn run(&mut self) -> &'t str {
        let start = self.at;
        self.at += plain_run(&self.text.as_bytes()[start..]);
        &self.text[start..self.at]
    }

    fn escape(&mut self) -> Outcome<char> {
        let escaped = match self.text.as_bytes().get(self.at + 1) {
            Some(b'u') => return self.unicode_escape(),
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            _ => return Err("unknown escape sequence"),
        };
        self.at += 2;
        Ok(escaped)
    }

    /// `\uXXXX`, or two of them that make a surrogate pair.
    fn unicode_escape(&mut self) -> Outcome<char> {
        const LONE: &str = "half of a surrogate pair";
        let first = self.code_unit(self.at)?;
        let (code, length) = match first {
            0xD800..=0xDBFF => {
                let second = self.code_unit(self.at + 6).map_err(|_| LONE)?;
                if !(0xDC00..=0xDFFF).contains(&second) {
                    return Err(LONE);
                }
                (0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00), 12)
            }
            unit => (unit, 6),
        };
        let character = char::from_u32(code).ok_or(LONE)?;
        self.at += length;
        Ok(character)
    }

    fn code_unit(&self, at: usize) -> Outcome<u32> {
        const MALFORMED: &str = "expected four hexadecimal digits after \\u";
        let Some([b'\\', b'u', digits @ ..]) = self.text.as_bytes().get(at..at + 6) else {
            return Err(MALFORMED);
        };
        digits.iter().try_fold(0, |unit, digit| {
            let digit = char::from(*digit).to_digit(16).ok_or(MALFORMED)?;
            Ok(unit << 4 | digit)
        })
    }

    fn number(&mut self) -> Outcome<Value> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let digits = self.at;
        match (self.digits(), self.text.as_bytes().get(digits)) {
            (0, _) => return Err("expected a digit"),
            (2.., Some(b'0')) => {
                self.at = digits;
                return Err("a number may not begin with 0");
            }
            _ => {}
        }
        let digits = self.at - digits;
        let mut is_integer = true;
        if self.peek() == Some(b'.') {
            is_integer = false;
            self.at += 1;
            if self.digits() == 0 {
                return Err("expected a digit after '.'");
            }
        }
        if let Some(b'e' | b'E') = self.peek() {
            is_integer = false;
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            if self.digits() == 0 {
                return Err("expected a digit in the exponent");
            }
        }
        let text = &self.text[start..self.at];
        let value = match is_integer {
            true => integer(text, digits),
            false => float(text),
        };
        value.inspect_err(|_| self.at = start)
    }

    /// Steps over decimal digits; returns how many.
    fn digits(&mut self) -> usize {
        let rest = &self.text.as_bytes()[self.at..];
        let count = rest
            .iter()
            .position(|byte| !byte.is_ascii_digit())
            .unwrap_or(rest.len());
        self.at += count;
        count
    }

    fn word(&mut self, word: &str, value: Value) -> Outcome<Value> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err("expected a value");
        }
        self.at += word.len();
        Ok(value)
    }

    /// Steps over white space, and over `byte` if it follows; returns whether it did.
    fn skip_to(&mut self, byte: u8) -> bool {
        self.skip_white_space();
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn skip_white_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

fn deeper(depth: usize) -> Outcome<usize> {
    match depth < MAX_DEPTH {
        true => Ok(depth + 1),
        false => Err("nested deeper than 128 levels"),
    }
}

fn integer(text: &str, digits: usize) -> Outcome<Value> {
    // Eighteen digits always fit in 64 bits; a nineteenth may not.
    if let Ok(number) = text.parse::<i64>() {
        return Ok(Value::Int(number));
    }
    if digits > MAX_INTEGER_DIGITS {
        return Err("integer of more than 1024 digits");
    }
    let number = BigInt::parse_bytes(text.as_bytes(), 10).ok_or("expected a digit")?;
    Ok(Value::from(number))
}

fn float(text: &str) -> Outcome<Value> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(Value::Float(number)),
        _ => Err("number too large for 64 bits"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::to_vec;
    use super::*;

    fn error(text: &str) -> String {
        from_slice(text.as_bytes()).expect_err(text).to_string()
    }

    #[test]
    fn text_survives_a_round_trip() {
        let text = br#"{"a":[1,-2.5,true,null,"x\"\\\n\u0001"],"b":{"c":18446744073709551615}}"#;
        assert_eq!(to_vec(&from_slice(text).unwrap()), text.to_vec());
    }

    #[test]
    fn an_integer_keeps_all_its_digits() {
        for digits in [
            "0",
            "-1",
            "9007199254740993",
            "9223372036854775807",
            "-9223372036854775808",
            "9223372036854775808",
            "-9223372036854775809",
            "18446744073709551616",
            "340282366920938463463374607431768211457",
            &"7".repeat(MAX_INTEGER_DIGITS),
        ] {
            let value = from_slice(digits.as_bytes()).unwrap();
            assert!(matches!(value, Value::Int(_) | Value::BigInt(_)));
            assert_eq!(to_vec(&value), digits.as_bytes());
        }
        assert_eq!(
            error(&format!("[{}]", "7".repeat(MAX_INTEGER_DIGITS + 1))),
            "integer of more than 1024 digits at line 1 column 2"
        );
    }

    #[test]
    fn a_fraction_or_exponent_makes_a_float() {
        for (text, number) in [
            ("1.0", 1.0),
            ("1e2", 100.0),
            ("-0.5E-1", -0.05),
            ("0e0", 0.0),
        ] {
            assert_eq!(
                from_slice(text.as_bytes()),
                Ok(Value::Float(number)),
                "{text}"
            );
        }
        assert_eq!(
            error("1e400"),
            "number too large for 64 bits at line 1 column 1"
        );
    }

    #[test]
    fn strings_may_hold_any_character_once_escaped() {
        let text = r#""\u20ac\ud83d\ude00\/\b\f\n\r\t\u0000é""#;
        let expected = "€😀/\u{8}\u{c}\n\r\t\0é";
        assert_eq!(from_slice(text.as_bytes()), Ok(Value::from(expected)));
    }

    #[test]
    fn of_equal_names_the_last_counts() {
        let value = from_slice(br#"{"a":1,"b":2,"a":3}"#).unwrap();
        assert_eq!(to_vec(&value), br#"{"a":3,"b":2}"#);
    }

    #[test]
    fn an_error_says_what_and_where() {
        for (text, expected) in [
            ("", "unexpected end, expected a value at line 1 column 1"),
            (
                "{\"a\":1,}",
                "expected a member name in quotes at line 1 column 8",
            ),
            ("{\"a\" 1}", "expected ':' at line 1 column 6"),
            ("{\"a\":1", "expected ',' or '}' at line 1 column 7"),
            ("[1,\n 2 3]", "expected ',' or ']' at line 2 column 4"),
            ("[1,]", "expected a value at line 1 column 4"),
            ("1 2", "unexpected text after the value at line 1 column 3"),
            ("nul", "expected a value at line 1 column 1"),
            ("-", "expected a digit at line 1 column 2"),
            ("01", "a number may not begin with 0 at line 1 column 1"),
            ("1.", "expected a digit after '.' at line 1 column 3"),
            ("1e+", "expected a digit in the exponent at line 1 column 4"),
            ("\"a", "unexpected end of a string at line 1 column 3"),
            (
                "\"a\nb\"",
                "control character in a string at line 1 column 3",
            ),
            ("\"\\x\"", "unknown escape sequence at line 1 column 2"),
            ("\"\\", "unknown escape sequence at line 1 column 2"),
            (
                "\"\\u12g4\"",
                "expected four hexadecimal digits after \\u at line 1 column 2",
            ),
            ("\"\\ud800\"", "half of a surrogate pair at line 1 column 2"),
            (
                "\"\\ud800\\u0041\"",
                "half of a surrogate pair at line 1 column 2",
            ),
            ("\"\\udc00\"", "half of a surrogate pair at line 1 column 2"),
            ("'a'", "expected a value at line 1 column 1"),
        ] {
            assert_eq!(error(text), expected, "{text}");
        }
        let error = from_slice(b"{\n\"\xff\"}").unwrap_err();
        assert_eq!((error.line(), error.column()), (2, 2));
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |levels| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(from_slice(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert!(error(&nested(MAX_DEPTH + 1)).starts_with("nested deeper"));
        assert!(error(&"{\"a\":".repeat(200_000)).starts_with("nested deeper"));
    }
}
