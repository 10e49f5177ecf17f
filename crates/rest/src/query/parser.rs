//! Query text to [`Query`].

use std::borrow::Cow;
use std::ops::Range;

use http_chain::percent;
use num_bigint::BigInt;
use resource::{
    Comparator, Comparison, Condition, Conversion, Date, Operator as Combination, Query, Value,
    json,
};

use super::level::Level;
use super::operator::{self, Found, Operator, Reading};
use super::{MAX_CONDITIONS, MAX_DEPTH, QueryError, functions};

type Outcome<T> = Result<T, QueryError>;

/// Reads the query of a URL: what follows the `?`, still percent-encoded.
///
/// `is_declared` says whether an attribute of that name is declared; it decides whether `lt=200` in
/// `price=gt=100&lt=200` is an upper bound or an attribute (§7.5).
///
/// ```
/// use resource::{Comparator, Condition, Conversion, Value};
///
/// let query = rest::query::parse("name==Rex&limit(5)", &|_| true)?;
/// assert_eq!(query.limit, Some(5));
/// let Some(Condition::Compare(comparison)) = query.condition else { unreachable!() };
/// assert_eq!(comparison.attribute, ["name"]);
/// assert_eq!(comparison.comparator, Comparator::Equals);
/// assert_eq!(comparison.value, Value::from("Rex"));
/// assert_eq!(comparison.conversion, Conversion::Guess);
///
/// let error = rest::query::parse("a=1&b=2|c=3", &|_| true).unwrap_err();
/// assert_eq!(error.position(), 8);
/// # Ok::<(), rest::query::QueryError>(())
/// ```
///
/// # Errors
///
/// [`QueryError`] for text that does not follow the grammar, is nested deeper than [`MAX_DEPTH`] or has
/// more than [`MAX_CONDITIONS`] conditions, and for forms that are not built yet, which it names.
pub fn parse(query: &str, is_declared: &dyn Fn(&str) -> bool) -> Result<Query, QueryError> {
    let mut parser = Parser {
        text: query,
        at: 0,
        is_form: is_form(query),
        is_declared,
        depth: 0,
        conditions: 0,
        parsed: Query::default(),
    };
    parser.parsed.condition = parser.group(None, 0)?;
    Ok(parser.parsed)
}

/// Whether the query is made of `name=value` pairs alone, as an HTML form sends them: then `+` is a space.
fn is_form(query: &str) -> bool {
    !query.contains(['(', ')', '[', ']', '|', '!', '<', '>', '.'])
        && !operator::has_word_operator(query)
}

/// The bracket that ends a group, and where the group began.
#[derive(Clone, Copy)]
struct Opened {
    closer: u8,
    at: usize,
}

struct Parser<'q> {
    text: &'q str,
    at: usize,
    is_form: bool,
    is_declared: &'q dyn Fn(&str) -> bool,
    /// How many selections it stands within.
    depth: usize,
    /// Of this query and those around and within it.
    conditions: usize,
    parsed: Query,
}

impl<'q> Parser<'q> {
    /// The items up to the bracket that ends the group, or up to the end of the text.
    fn group(&mut self, opened: Option<Opened>, depth: usize) -> Outcome<Option<Condition>> {
        if depth > MAX_DEPTH {
            return Err(self.error(format!("groups nested deeper than {MAX_DEPTH}"), self.at));
        }
        let mut level = Level::default();
        loop {
            match (self.peek(), opened) {
                (None, None) => return Ok(level.finish()),
                (None, Some(opened)) => return Err(self.error("unclosed group", opened.at)),
                (Some(byte), Some(opened)) if byte == opened.closer => {
                    self.at += 1;
                    return Ok(level.finish());
                }
                (Some(b'&'), _) => self.separator(&mut level, Combination::And)?,
                (Some(b'|'), _) => self.separator(&mut level, Combination::Or)?,
                (Some(bracket @ (b'(' | b'[')), _) => {
                    let closer = if bracket == b'(' { b')' } else { b']' };
                    let at = self.at;
                    self.at += 1;
                    let group = self.group(Some(Opened { closer, at }), depth + 1)?;
                    if let Some(condition) = group {
                        level.push(condition).map_err(|what| self.error(what, at))?;
                    }
                    self.expect_end_of_item(opened)?;
                }
                (Some(bracket @ (b')' | b']')), _) => {
                    let bracket = char::from(bracket);
                    return Err(self.error(format!("unexpected '{bracket}'"), self.at));
                }
                (Some(_), _) => self.item(&mut level, opened)?,
            }
        }
    }

    fn separator(&mut self, level: &mut Level, combination: Combination) -> Outcome<()> {
        level
            .separate(combination)
            .map_err(|what| self.error(what, self.at))?;
        self.at += 1;
        Ok(())
    }

    /// A condition, a chained comparison or a function.
    fn item(&mut self, level: &mut Level, opened: Option<Opened>) -> Outcome<()> {
        let start = self.at;
        let name = self.name();
        if self.peek() == Some(b'(') {
            return self.function(name, level, opened);
        }
        // S8: `name[]=x` is `name=x`.
        if self.rest().starts_with("[]") {
            self.at += 2;
        }
        let Some(operator) = self.operator()? else {
            // S7: a name alone is compared with the empty text.
            self.expect_end_of_item(opened)?;
            let attribute = self.attribute(name, start)?;
            let comparison = self.compare(attribute, Operator::PLAIN, "", self.at)?;
            return self.push(level, comparison, start);
        };
        if name.is_empty() {
            let attribute = level
                .chained_attribute(operator.comparator)
                .map_err(|what| self.error(what, start))?;
            return self.chained(level, attribute, operator, opened);
        }
        if let Some(bound) = self.named_bound(name, operator, level) {
            let attribute = level
                .chained_attribute(bound.comparator)
                .map_err(|what| self.error(what, start))?;
            return self.chained(level, attribute, bound, opened);
        }
        let attribute = self.attribute(name, start)?;
        let (value, at) = self.value(opened);
        let comparison = self.compare(attribute, operator, value, at)?;
        self.push(level, comparison, start)
    }

    /// §7.5: `lt=200` after a lower bound, where no attribute is called `lt`.
    fn named_bound(&self, name: &str, operator: Operator, level: &Level) -> Option<Operator> {
        if !operator.is_plain || !matches!(name, "lt" | "le" | "gt" | "ge") {
            return None;
        }
        let bound = Operator {
            comparator: Comparator::from_name(name)?,
            reading: Reading::Converting,
            is_plain: false,
        };
        (level.can_chain(bound.comparator) && !(self.is_declared)(name)).then_some(bound)
    }

    fn chained(
        &mut self,
        level: &mut Level,
        attribute: Vec<String>,
        operator: Operator,
        opened: Option<Opened>,
    ) -> Outcome<()> {
        let (value, at) = self.value(opened);
        let comparison = self.compare(attribute, operator, value, at)?;
        level.chain(comparison);
        Ok(())
    }

    fn push(&mut self, level: &mut Level, comparison: Comparison, at: usize) -> Outcome<()> {
        level
            .push(Condition::Compare(comparison))
            .map_err(|what| self.error(what, at))
    }

    fn function(&mut self, name: &str, level: &mut Level, opened: Option<Opened>) -> Outcome<()> {
        let bracket = self.at;
        self.at += 1;
        let arguments = self.arguments(bracket)?;
        if opened.is_some() {
            let what = format!("{name} stands inside a group");
            return Err(self.error(what, bracket - name.len()));
        }
        let start = bracket + 1;
        let mut parsed = std::mem::take(&mut self.parsed);
        let mut sub_query = |range: Range<usize>| {
            let nested = self.nested(start + range.start, start + range.end);
            nested.map_err(|error| {
                let (what, at) = error.into_parts();
                (what, at - start)
            })
        };
        let applied = functions::apply(name, arguments, &mut parsed, &mut sub_query);
        applied.map_err(|(what, at)| self.error(what, start + at))?;
        self.parsed = parsed;
        level.skip();
        self.expect_end_of_item(opened)
    }

    /// The query between two places of the text, which shapes a selected relationship.
    fn nested(&mut self, start: usize, end: usize) -> Outcome<Query> {
        let depth = self.depth + 1;
        let mut inner = Parser {
            text: &self.text[..end],
            at: start,
            is_form: false,
            // The attributes of the related resource are not known here.
            is_declared: &|_| false,
            depth,
            conditions: self.conditions,
            parsed: Query::default(),
        };
        inner.parsed.condition = inner.group(None, depth)?;
        self.conditions = inner.conditions;
        Ok(inner.parsed)
    }

    /// The text up to the bracket that ends the arguments; steps over it.
    fn arguments(&mut self, bracket: usize) -> Outcome<&'q str> {
        let start = self.at;
        let mut depth = 0_usize;
        for (at, byte) in self.rest().bytes().enumerate() {
            match byte {
                b'(' | b'[' | b'{' => depth += 1,
                b')' if depth == 0 => {
                    self.at = start + at + 1;
                    return Ok(&self.text[start..start + at]);
                }
                b')' | b']' | b'}' => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        Err(self.error("unclosed function call", bracket))
    }

    /// The raw text up to an operator, a bracket or a separator.
    fn name(&mut self) -> &'q str {
        let rest = self.rest();
        let end = rest
            .find(['=', '!', '<', '>', '(', ')', '[', ']', '&', '|'])
            .unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn operator(&mut self) -> Outcome<Option<Operator>> {
        match operator::find(self.rest()) {
            Found::Operator(operator, length) => {
                self.at += length;
                Ok(Some(operator))
            }
            Found::Unknown(word) if word.starts_with("not_") => {
                Err(self.error(format!("operator '{word}' is not supported yet"), self.at))
            }
            Found::Unknown(word) => {
                Err(self.error(format!("invalid FIQL operator '{word}'"), self.at))
            }
            Found::Nothing if self.peek() == Some(b'!') => {
                Err(self.error("expected '!='", self.at))
            }
            Found::Nothing => Ok(None),
        }
    }

    /// S4: the raw text of a value, and where it begins. Only a separator or the bracket that closes the
    /// innermost group ends it (S3).
    fn value(&mut self, opened: Option<Opened>) -> (&'q str, usize) {
        let start = self.at;
        let rest = self.rest();
        let ends = |byte: u8| {
            matches!(byte, b'&' | b'|') || opened.is_some_and(|opened| opened.closer == byte)
        };
        let end = rest.bytes().position(ends).unwrap_or(rest.len());
        self.at += end;
        (&rest[..end], start)
    }

    fn expect_end_of_item(&self, opened: Option<Opened>) -> Outcome<()> {
        match self.peek() {
            None | Some(b'&' | b'|') => Ok(()),
            Some(byte) if opened.is_some_and(|opened| opened.closer == byte) => Ok(()),
            Some(_) => Err(self.error("expected '&', '|' or the end of the group", self.at)),
        }
    }

    fn attribute(&self, name: &str, at: usize) -> Outcome<Vec<String>> {
        let spaced = self.with_spaces(name);
        functions::attribute(&spaced, at).map_err(|(what, at)| self.error(what, at))
    }

    fn compare(
        &mut self,
        attribute: Vec<String>,
        operator: Operator,
        raw: &str,
        at: usize,
    ) -> Outcome<Comparison> {
        self.conditions += 1;
        if self.conditions > MAX_CONDITIONS {
            return Err(self.error(format!("more than {MAX_CONDITIONS} conditions"), at));
        }
        let (comparator, value, conversion) = match operator.reading {
            Reading::Strict => {
                let text = self.decode(&self.with_spaces(raw), at)?;
                (
                    operator.comparator,
                    Value::String(text),
                    operator.conversion(),
                )
            }
            Reading::Wildcard if raw.contains('*') => self.wildcard(raw, at)?,
            Reading::Converting | Reading::Wildcard | Reading::Prefixed => {
                let (value, conversion) = self.single(raw, at, operator.conversion())?;
                (operator.comparator, value, conversion)
            }
            Reading::List => {
                let (values, conversion) = self.list(raw, at, operator)?;
                (operator.comparator, Value::Array(values), conversion)
            }
        };
        Ok(Comparison {
            attribute,
            comparator,
            value,
            conversion,
        })
    }

    /// `==text*`: texts that start with it.
    fn wildcard(&self, raw: &str, at: usize) -> Outcome<(Comparator, Value, Conversion)> {
        let star = raw.find('*').unwrap_or(raw.len());
        if star + 1 != raw.len() {
            let what = "wildcard can only be used at the end of a string";
            return Err(self.error(what, at + star));
        }
        let (value, conversion) = self.single(&raw[..star], at, Conversion::Declared)?;
        match value {
            Value::String(_) => Ok((Comparator::StartsWith, value, conversion)),
            other => {
                let what = format!("wildcard after {}", other.kind());
                Err(self.error(what, at + star))
            }
        }
    }

    fn list(&self, raw: &str, at: usize, operator: Operator) -> Outcome<(Vec<Value>, Conversion)> {
        let mut values = Vec::new();
        let mut conversions = Vec::new();
        let mut part_at = at;
        for part in raw.split(',') {
            let (value, conversion) = self.single(part, part_at, operator.conversion())?;
            values.push(value);
            conversions.push(conversion);
            part_at += part.len() + 1;
        }
        if operator.comparator == Comparator::Between && values.len() != 2 {
            return Err(self.error("between takes two values", at));
        }
        // One conversion holds for all: values with and without type prefix would need two.
        match conversions
            .iter()
            .all(|conversion| *conversion == conversions[0])
        {
            true => Ok((values, conversions[0])),
            false => Err(self.error("values with and without type in one list", at)),
        }
    }

    /// One value of an operator that converts: null, a value with its type before it, or text.
    fn single(&self, raw: &str, at: usize, conversion: Conversion) -> Outcome<(Value, Conversion)> {
        if raw == "null" {
            return Ok((Value::Null, Conversion::Typed));
        }
        match raw.split_once(':') {
            None => Ok((Value::String(self.decode(raw, at)?), conversion)),
            Some((kind, text)) => {
                let text = self.decode(text, at + kind.len() + 1)?;
                let value = self.typed(kind, text, at)?;
                Ok((value, Conversion::Typed))
            }
        }
    }

    fn typed(&self, kind: &str, text: String, at: usize) -> Outcome<Value> {
        let value = match kind {
            "string" => return Ok(Value::String(text)),
            "number" => number(&text),
            "boolean" if text == "true" => Some(Value::Bool(true)),
            "boolean" if text == "false" => Some(Value::Bool(false)),
            "boolean" => None,
            "date" => date(&text).map(Value::Date),
            _ => return Err(self.error(format!("Unknown type {kind}"), at)),
        };
        value.ok_or_else(|| self.error(format!("'{text}' is no {kind}"), at + kind.len() + 1))
    }

    fn with_spaces<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match self.is_form && text.contains('+') {
            true => Cow::Owned(text.replace('+', " ")),
            false => Cow::Borrowed(text),
        }
    }

    fn decode(&self, text: &str, at: usize) -> Outcome<String> {
        match percent::decode(text) {
            Ok(decoded) => Ok(decoded.into_owned()),
            Err(error) => Err(self.error(error.to_string(), at)),
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'q str {
        &self.text[self.at..]
    }

    fn error(&self, what: impl Into<String>, at: usize) -> QueryError {
        QueryError::new(what, at, self.text)
    }
}

/// A decimal number, or `$` and an integer in base 36.
fn number(text: &str) -> Option<Value> {
    if let Some(base36) = text.strip_prefix('$') {
        let is_plain = base36.bytes().all(|byte| byte.is_ascii_alphanumeric());
        return i64::from_str_radix(base36, 36)
            .ok()
            .filter(|_| is_plain)
            .map(Value::Int);
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_whole = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_whole && digits.len() <= json::MAX_INTEGER_DIGITS {
        return match text.parse::<i64>() {
            Ok(number) => Some(Value::Int(number)),
            Err(_) => BigInt::parse_bytes(text.as_bytes(), 10).map(Value::from),
        };
    }
    let is_number = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E'));
    let number = text.parse::<f64>().ok()?;
    (is_number && number.is_finite()).then_some(Value::Float(number))
}

/// Milliseconds since the epoch, or ISO 8601 text.
fn date(text: &str) -> Option<Date> {
    match text.parse::<i64>() {
        Ok(millis) => Date::from_millis(millis),
        Err(_) => Date::parse(text),
    }
}
