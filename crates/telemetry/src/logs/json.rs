//! Events as JSON objects, written straight into the line: building a document first costs three times as
//! much.

use std::borrow::Cow;
use std::fmt::{self, Write};
use std::time::SystemTime;

use serde_json::Value;
use tracing::Event;
use tracing::field::{Field, Visit};

use super::LogLevel;
use super::format::{Line, this_thread};
use super::routes::TAG_FIELD;
use super::stamp::Stamp;

/// Members of a flat object that fields must not hide.
const RESERVED: [&str; 2] = ["ts", "level"];

/// `{"ts":…,"thread":…,"level":…,"tag":…,"target":…,"message":…,"fields":{…},"spans":[…]}`
pub(crate) fn write_nested(out: &mut String, line: &Line<'_>) {
    let mut object = Object::begin(out);
    write_head(&mut object, line.level, line.tags());
    object.text("target", line.event.metadata().target());
    object.key("message");
    object.message(line.event);
    let before = object.out.len();
    object.key("fields");
    let mut fields = Object::begin(object.out);
    fields.fields(line.event, &[]);
    match fields.is_empty {
        true => object.out.truncate(before),
        false => fields.end(),
    }
    if !line.spans.is_empty() {
        object.key("spans");
        object.list(line.spans.iter(), |out, (name, text)| {
            let separator = if text.is_empty() { "" } else { " " };
            push_text(out, format_args!("{name}{separator}{text}"));
        });
    }
    object.end();
    out.push('\n');
}

/// `{"ts":…,"level":…,"message":…,` and the fields.
pub(crate) fn write_flat(out: &mut String, line: &Line<'_>) {
    let mut object = Object::begin(out);
    object.text("ts", Stamp::of(SystemTime::now()).as_str());
    object.text("level", line.level.as_str());
    let before = object.out.len();
    object.key("message");
    let start = object.out.len();
    object.message(line.event);
    if &object.out[start..] == "\"\"" {
        object.out.truncate(before);
    }
    object.fields(line.event, &RESERVED);
    object.end();
    out.push('\n');
}

/// A warning of the log about itself.
pub(crate) fn write_own(out: &mut String, tag: &str, message: &str, lost: Option<u64>) {
    let mut object = Object::begin(out);
    write_head(&mut object, LogLevel::Warn, std::iter::once(tag.into()));
    object.text("message", message);
    if let Some(lost) = lost {
        object.key("fields");
        let mut fields = Object::begin(object.out);
        fields.plain("lost", format_args!("{lost}"));
        fields.end();
    }
    object.end();
    out.push('\n');
}

fn write_head<'a>(
    object: &mut Object<'_>,
    level: LogLevel,
    tags: impl Iterator<Item = Cow<'a, str>>,
) {
    object.text("ts", Stamp::of(SystemTime::now()).as_str());
    object.text("thread", &this_thread());
    object.text("level", level.as_str());
    let mut tags = tags;
    match (tags.next(), tags.next()) {
        (None, _) => {}
        (Some(tag), None) => object.text("tag", &tag),
        (Some(first), Some(second)) => {
            object.key("tags");
            let tags = [first, second].into_iter().chain(tags);
            object.list(tags, |out, tag| push_text(out, format_args!("{tag}")));
        }
    }
}

/// An object that is being written.
struct Object<'a> {
    out: &'a mut String,
    is_empty: bool,
}

impl<'a> Object<'a> {
    fn begin(out: &'a mut String) -> Self {
        out.push('{');
        Self {
            out,
            is_empty: true,
        }
    }

    fn end(self) {
        self.out.push('}');
    }

    fn key(&mut self, name: &str) {
        if !std::mem::replace(&mut self.is_empty, false) {
            self.out.push(',');
        }
        push_text(self.out, format_args!("{name}"));
        self.out.push(':');
    }

    fn text(&mut self, name: &str, text: &str) {
        self.key(name);
        push_text(self.out, format_args!("{text}"));
    }

    /// A member whose value is JSON as it is.
    fn plain(&mut self, name: &str, value: fmt::Arguments<'_>) {
        self.key(name);
        // Writing to a string does not fail.
        let _ = self.out.write_fmt(value);
    }

    fn list<T>(&mut self, items: impl Iterator<Item = T>, push: impl Fn(&mut String, T)) {
        self.out.push('[');
        for (number, item) in items.enumerate() {
            if number > 0 {
                self.out.push(',');
            }
            push(self.out, item);
        }
        self.out.push(']');
    }

    /// The message of an event as a value; empty if it has none.
    fn message(&mut self, event: &Event<'_>) {
        self.out.push('"');
        event.record(&mut Message(Escaping(self.out)));
        self.out.push('"');
    }

    /// The other fields as members.
    fn fields(&mut self, event: &Event<'_>, reserved: &'static [&'static str]) {
        event.record(&mut Fields {
            object: self,
            reserved,
        });
    }
}

/// A text in its quotation marks.
fn push_text(out: &mut String, text: fmt::Arguments<'_>) {
    out.push('"');
    // A value whose formatting fails is cut; the line goes on.
    let _ = Escaping(out).write_fmt(text);
    out.push('"');
}

/// Writes the inside of a JSON string (RFC 8259, section 7).
struct Escaping<'a>(&'a mut String);

impl Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // 0xC2 begins the control characters beyond ASCII, which a terminal may obey, and some others.
        let is_plain = |byte: u8| byte >= 0x20 && !matches!(byte, b'"' | b'\\' | 0x7F | 0xC2);
        if text.bytes().all(is_plain) {
            self.0.push_str(text);
            return Ok(());
        }
        for character in text.chars() {
            match character {
                '"' => self.0.push_str("\\\""),
                '\\' => self.0.push_str("\\\\"),
                '\n' => self.0.push_str("\\n"),
                '\r' => self.0.push_str("\\r"),
                '\t' => self.0.push_str("\\t"),
                control if control.is_control() => {
                    write!(self.0, "\\u{:04x}", u32::from(control))?;
                }
                plain => self.0.push(plain),
            }
        }
        Ok(())
    }
}

/// Appends the field `message` and nothing else.
struct Message<'a>(Escaping<'a>);

impl Visit for Message<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            // As in `push_text`.
            let _ = write!(self.0, "{value:?}");
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

/// Appends the fields besides message and tag. Numbers and booleans keep their type; everything else is text.
struct Fields<'a, 'b> {
    object: &'a mut Object<'b>,
    reserved: &'static [&'static str],
}

impl Fields<'_, '_> {
    fn is_meant(&self, field: &Field) -> bool {
        !matches!(field.name(), "message" | TAG_FIELD) && !self.reserved.contains(&field.name())
    }

    fn plain(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        if self.is_meant(field) {
            self.object.plain(field.name(), value);
        }
    }
}

impl Visit for Fields<'_, '_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if self.is_meant(field) {
            self.object.key(field.name());
            push_text(self.object.out, format_args!("{value:?}"));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.plain(field, format_args!("{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.plain(field, format_args!("{value}"));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no infinity and no NaN; this writes null for them.
        self.plain(field, format_args!("{}", Value::from(value)));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.plain(field, format_args!("{value}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped_as_json_wants_it() {
        let text: String = (0..0x100).filter_map(char::from_u32).collect();
        let text = text + "\u{1F600}\"\\";
        let mut out = String::new();
        push_text(&mut out, format_args!("{text}"));
        assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
        assert!(!out.contains(char::is_control));
    }
}
