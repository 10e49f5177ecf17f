//! Events as lines.

use std::borrow::Cow;
use std::fmt::{self, Write};
use std::sync::Arc;
use std::time::SystemTime;

use tracing::Event;
use tracing::field::{Field, Visit};

use super::routes::TAG_FIELD;
use super::stamp::Stamp;
use super::{LogFormat, LogLevel, json};

/// Names of threads that the log shows under another name: `motet-worker-3` is `http/3`.
const THREAD_NAMES: [(&str, &str); 1] = [("motet-worker", "http")];

/// Crates whose events are the program's own: a tag would say nothing.
const UNTAGGED: [&str; 3] = ["motet", "server", "telemetry"];

/// The tag of lines about the log itself.
const OWN_TAG: &str = "log";

/// What surrounds the text of a line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    pub(crate) has_time: bool,
    pub(crate) has_colors: bool,
}

/// An event and what is known about it.
pub(crate) struct Line<'a> {
    pub(crate) event: &'a Event<'a>,
    pub(crate) level: LogLevel,
    /// The component that it belongs to.
    pub(crate) component: Option<&'a str>,
    /// The tag that the configuration sets for that component.
    pub(crate) configured_tag: Option<&'a str>,
    /// The tag that the event brings.
    pub(crate) event_tag: Option<&'a str>,
    /// Names and fields of the spans around it, outermost first.
    pub(crate) spans: Vec<(&'static str, String)>,
}

impl<'a> Line<'a> {
    /// The tags: first that of the configuration, then that of the event; if there is neither, the name of
    /// the component; if there is none, of what the target names.
    pub(crate) fn tags(&self) -> impl Iterator<Item = Cow<'a, str>> + use<'a> {
        // An event that only says to which component it belongs needs no second tag.
        let own = self
            .event_tag
            .filter(|tag| self.configured_tag.is_none() || self.component != Some(*tag));
        let first = self.configured_tag.or(own);
        let second = own.filter(|own| Some(*own) != first);
        let first = first.or(self.component).map(tag_text);
        let first = first.or_else(|| target_tag(self.event.metadata().target()));
        first.into_iter().chain(second.map(tag_text))
    }
}

/// Writes one line with its line break.
pub(crate) fn write_line(out: &mut String, format: LogFormat, layout: Layout, line: &Line<'_>) {
    match format {
        LogFormat::Text => write_text(out, layout, line),
        LogFormat::Json => json::write_nested(out, line),
        LogFormat::FlatJson => json::write_flat(out, line),
    }
}

fn write_text(out: &mut String, layout: Layout, line: &Line<'_>) {
    write_head(out, layout, line.level, line.tags());
    out.push(':');
    let mut fields = TextFields(Escaping(out));
    for (name, text) in &line.spans {
        fields.put(format_args!(" {name}"));
        if !text.is_empty() {
            fields.put(format_args!("{{{text}}}"));
        }
        fields.put(format_args!(":"));
    }
    line.event.record(&mut fields);
    out.push('\n');
}

/// `time [thread] [level] [tag]…`
fn write_head<'a>(
    out: &mut String,
    layout: Layout,
    level: LogLevel,
    tags: impl Iterator<Item = Cow<'a, str>>,
) {
    if layout.has_time {
        out.push_str(Stamp::of(SystemTime::now()).as_str());
        out.push(' ');
    }
    out.push('[');
    out.push_str(&this_thread());
    out.push_str("] [");
    match color(level) {
        Some(color) if layout.has_colors => {
            // Writing to a string does not fail.
            let _ = write!(out, "\x1b[{color}m{level}\x1b[0m");
        }
        _ => out.push_str(level.as_str()),
    }
    out.push(']');
    for tag in tags {
        out.push_str(" [");
        out.push_str(&tag);
        out.push(']');
    }
}

/// The ANSI colour of a level.
fn color(level: LogLevel) -> Option<u8> {
    match level {
        LogLevel::Trace | LogLevel::Debug => Some(90),
        LogLevel::Info => None,
        LogLevel::Warn => Some(33),
        LogLevel::Error | LogLevel::Fatal => Some(31),
        LogLevel::Notify => Some(36),
    }
}

/// The part of a target that names what logs: `http` of `http`, `core-listener` of
/// `core_listener::engine::http1`, `mqtt` of `proto_mqtt::session`.
fn target_tag(target: &str) -> Option<Cow<'_, str>> {
    let root = target.split("::").next().unwrap_or(target);
    let root = root.strip_prefix("proto_").unwrap_or(root);
    let is_told = !root.is_empty() && !UNTAGGED.contains(&root);
    is_told.then(|| match root.contains('_') {
        true => root.replace('_', "-").into(),
        false => tag_text(root),
    })
}

/// A tag must not end the brackets around it.
fn tag_text(tag: &str) -> Cow<'_, str> {
    let is_bad = |character: char| matches!(character, '[' | ']') || character.is_control();
    match tag.contains(is_bad) {
        true => tag.replace(is_bad, "_").into(),
        false => tag.into(),
    }
}

/// The name of this thread as `name/number`.
pub(crate) fn this_thread() -> Arc<str> {
    thread_local! {
        static NAME: Arc<str> = thread_name(std::thread::current().name().unwrap_or("thread")).into();
    }
    // A destructor of another thread-local may log after this one is gone.
    NAME.try_with(Arc::clone)
        .unwrap_or_else(|_| Arc::from("thread/0"))
}

fn thread_name(name: &str) -> String {
    let numbered = name.rsplit_once('-').filter(|(_, number)| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    });
    let (base, number) = numbered.unwrap_or((name, "0"));
    let shown = THREAD_NAMES.iter().find(|(known, _)| *known == base);
    let shown = shown.map_or(base, |(_, shown)| *shown);
    format!("{}/{number}", tag_text(shown))
}

/// Keeps a line one line, and a terminal from obeying what a peer sent: control characters are written as
/// escapes.
struct Escaping<'a>(&'a mut String);

impl Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // Most text has no byte that could be part of a control character.
        if text
            .bytes()
            .all(|byte| byte >= 0x20 && byte != 0x7F && byte != 0xC2)
        {
            self.0.push_str(text);
            return Ok(());
        }
        let is_control = |character: char| character.is_control() && character != '\t';
        let mut rest = text;
        while let Some(at) = rest.find(is_control) {
            let (plain, tail) = rest.split_at(at);
            self.0.push_str(plain);
            let mut characters = tail.chars();
            self.0
                .extend(characters.next().into_iter().flat_map(char::escape_default));
            rest = characters.as_str();
        }
        self.0.push_str(rest);
        Ok(())
    }
}

/// Appends the message as it is and the other fields as `name=value`.
struct TextFields<'a>(Escaping<'a>);

impl TextFields<'_> {
    fn put(&mut self, text: fmt::Arguments<'_>) {
        // A value whose formatting fails is cut; the line goes on.
        let _ = self.0.write_fmt(text);
    }
}

impl Visit for TextFields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.put(format_args!(" {value:?}")),
            TAG_FIELD => {}
            name => self.put(format_args!(" {name}={value:?}")),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.put(format_args!(" {value}")),
            _ => self.record_debug(field, &value),
        }
    }
}

/// The fields of a span as text: `client=7 name="a"`.
#[derive(Debug, Default)]
pub(crate) struct SpanText(String);

impl SpanText {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Visit for SpanText {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let separator = if self.0.is_empty() { "" } else { " " };
        // Writing to a string fails only when the value does; then its text is cut.
        let _ = match field.name() {
            "message" => write!(self.0, "{separator}{value:?}"),
            name => write!(self.0, "{separator}{name}={value:?}"),
        };
    }
}

/// A warning of the log about itself, for instance that `lost` lines are missing.
pub(crate) fn own_line(
    format: LogFormat,
    has_time: bool,
    message: &str,
    lost: Option<u64>,
) -> String {
    let mut line = String::new();
    if format == LogFormat::Text {
        let layout = Layout {
            has_time,
            has_colors: false,
        };
        let tags = std::iter::once(OWN_TAG.into());
        write_head(&mut line, layout, LogLevel::Warn, tags);
        let _ = write!(Escaping(&mut line), ": {message}");
        line.push('\n');
        return line;
    }
    json::write_own(&mut line, OWN_TAG, message, lost);
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_shown_as_name_and_number() {
        for (name, shown) in [
            ("main", "main/0"),
            ("motet-worker-3", "http/3"),
            ("store-data", "store-data/0"),
            ("job-12", "job/12"),
            ("-", "-/0"),
        ] {
            assert_eq!(thread_name(name), shown);
        }
    }

    #[test]
    fn a_line_stays_one_line() {
        let mut out = String::new();
        write!(Escaping(&mut out), "a\r\nb\x1b[2Jc\td\u{85}é").unwrap();
        assert_eq!(out, "a\\r\\nb\\u{1b}[2Jc\td\\u{85}é");
    }

    #[test]
    fn a_tag_stays_between_its_brackets() {
        assert_eq!(tag_text("a] [b\n"), "a_ _b_");
        assert_eq!(
            target_tag("core_listener::engine").unwrap(),
            "core-listener"
        );
        assert_eq!(target_tag("proto_mqtt::session").unwrap(), "mqtt");
        assert_eq!(target_tag("server::compose"), None);
    }
}
