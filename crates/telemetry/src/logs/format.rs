//! Events as lines.

use std::fmt::{self, Write};
use std::sync::Arc;

use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use super::sink::DroppedLine;
use super::{LogFormat, LogLevel};

/// Names of threads that the log shows under another name: `motet-worker-3` is `http/3`.
const THREAD_NAMES: [(&str, &str); 1] = [("motet-worker", "http")];

/// Crates whose events are the program's own: a tag would say nothing.
const UNTAGGED: [&str; 3] = ["motet", "server", "telemetry"];

/// What surrounds the text of a line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    pub(crate) has_time: bool,
    pub(crate) has_colors: bool,
}

/// Makes the lines of one destination.
pub(crate) struct LineFormat {
    format: LogFormat,
    layout: Layout,
}

impl LineFormat {
    pub(crate) fn new(format: LogFormat, layout: Layout) -> Self {
        Self { format, layout }
    }
}

impl<S, N> FormatEvent<S, N> for LineFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let spans = context
            .event_scope()
            .into_iter()
            .flat_map(|scope| scope.from_root());
        let spans = spans.map(|span| {
            let extensions = span.extensions();
            let fields = extensions.get::<FormattedFields<N>>();
            let fields = fields.map_or("", |fields| fields.fields.as_str());
            match fields.is_empty() {
                true => span.name().to_owned(),
                false => format!("{} {fields}", span.name()),
            }
        });
        match self.format {
            LogFormat::Text => write_text(&mut out, self.layout, event, spans),
            LogFormat::Json => write_json(&mut out, event, spans.collect()),
        }
    }
}

fn write_text(
    out: &mut dyn Write,
    layout: Layout,
    event: &Event<'_>,
    spans: impl Iterator<Item = String>,
) -> fmt::Result {
    let metadata = event.metadata();
    write_head(out, layout, LogLevel::of(metadata), tag(metadata))?;
    let mut line = Escaping(out);
    for span in spans {
        write!(line, " [{span}]")?;
    }
    line.write_char(':')?;
    let mut fields = TextFields {
        line,
        result: Ok(()),
    };
    event.record(&mut fields);
    fields.result?;
    out.write_char('\n')
}

/// `time [thread] [level] [tag]`
fn write_head(
    out: &mut dyn Write,
    layout: Layout,
    level: LogLevel,
    tag: Option<&str>,
) -> fmt::Result {
    if layout.has_time {
        write_time(out, OffsetDateTime::now_utc())?;
        out.write_char(' ')?;
    }
    write!(out, "[{}] ", this_thread())?;
    match color(level) {
        Some(color) if layout.has_colors => write!(out, "\x1b[{color}m[{level}]\x1b[0m")?,
        _ => write!(out, "[{level}]")?,
    }
    match tag {
        Some(tag) => write!(Escaping(out), " [{}]", Dashed(tag)),
        None => Ok(()),
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

/// ISO 8601 in UTC with milliseconds.
fn write_time(out: &mut dyn Write, at: OffsetDateTime) -> fmt::Result {
    write!(
        out,
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second(),
        at.millisecond(),
    )
}

/// The part of a target that names what logs: `http` of `http`, `core_listener` of
/// `core_listener::engine::http1`, `mqtt` of `proto_mqtt::session`.
fn tag<'m>(metadata: &Metadata<'m>) -> Option<&'m str> {
    let target = metadata.target();
    let root = target.split("::").next().unwrap_or(target);
    let root = root.strip_prefix("proto_").unwrap_or(root);
    (!UNTAGGED.contains(&root)).then_some(root)
}

/// The name of a crate as people write it.
struct Dashed<'a>(&'a str);

impl fmt::Display for Dashed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .chars()
            .try_for_each(|character| f.write_char(if character == '_' { '-' } else { character }))
    }
}

/// The name of this thread as `name/number`.
fn this_thread() -> Arc<str> {
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
    format!("{shown}/{number}")
}

/// Keeps a line one line, and a terminal from obeying what a peer sent: control characters are written as
/// escapes.
struct Escaping<'a>(&'a mut dyn Write);

impl Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let is_control = |character: char| character.is_control() && character != '\t';
        let mut rest = text;
        while let Some(at) = rest.find(is_control) {
            let (plain, tail) = rest.split_at(at);
            self.0.write_str(plain)?;
            let mut characters = tail.chars();
            if let Some(control) = characters.next() {
                write!(self.0, "{}", control.escape_default())?;
            }
            rest = characters.as_str();
        }
        self.0.write_str(rest)
    }
}

/// Appends the message as it is and the other fields as `name=value`.
struct TextFields<'a> {
    line: Escaping<'a>,
    result: fmt::Result,
}

impl Visit for TextFields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let written = match field.name() {
            "message" => write!(self.line, " {value:?}"),
            name => write!(self.line, " {name}={value:?}"),
        };
        self.result = self.result.and(written);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.record_debug(field, &format_args!("{value}")),
            _ => self.record_debug(field, &value),
        }
    }
}

fn write_json(out: &mut dyn Write, event: &Event<'_>, spans: Vec<String>) -> fmt::Result {
    let mut fields = JsonFields::default();
    event.record(&mut fields);
    let metadata = event.metadata();
    let tag = tag(metadata).map(|tag| Dashed(tag).to_string());
    let mut line = json_head(LogLevel::of(metadata), tag);
    line.insert("target".to_owned(), metadata.target().into());
    line.insert("message".to_owned(), fields.message.into());
    if !fields.others.is_empty() {
        line.insert("fields".to_owned(), fields.others.into());
    }
    if !spans.is_empty() {
        line.insert("spans".to_owned(), spans.into());
    }
    writeln!(out, "{}", Value::Object(line))
}

fn json_head(level: LogLevel, tag: Option<String>) -> Map<String, Value> {
    let mut time = String::with_capacity(24);
    // Writing to a string does not fail.
    let _ = write_time(&mut time, OffsetDateTime::now_utc());
    let mut line = Map::new();
    line.insert("ts".to_owned(), time.into());
    line.insert("thread".to_owned(), (&*this_thread()).into());
    line.insert("level".to_owned(), level.as_str().into());
    if let Some(tag) = tag {
        line.insert("tag".to_owned(), tag.into());
    }
    line
}

/// Numbers and booleans keep their type; everything else is text.
#[derive(Default)]
struct JsonFields {
    message: String,
    others: Map<String, Value>,
}

impl JsonFields {
    fn put(&mut self, field: &Field, value: Value) {
        self.others.insert(field.name().to_owned(), value);
    }
}

impl Visit for JsonFields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            _ => self.put(field, format!("{value:?}").into()),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message = value.to_owned(),
            _ => self.put(field, value.into()),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}

/// The line a destination gets after lines for it were lost.
pub(crate) fn dropped_line(format: LogFormat, has_time: bool) -> DroppedLine {
    Box::new(move |lines, reason| {
        let message = format!("{lines} log lines were lost: {reason}");
        match format {
            LogFormat::Text => {
                let layout = Layout {
                    has_time,
                    has_colors: false,
                };
                let mut line = String::new();
                // Writing to a string does not fail.
                let _ = write_head(&mut line, layout, LogLevel::Warn, Some("log"));
                line + ": " + &message + "\n"
            }
            LogFormat::Json => {
                let mut line = json_head(LogLevel::Warn, Some("log".to_owned()));
                line.insert("message".to_owned(), json!(message));
                line.insert("fields".to_owned(), json!({ "lost": lines }));
                Value::Object(line).to_string() + "\n"
            }
        }
    })
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
    fn the_time_has_milliseconds_and_is_utc() {
        let at = OffsetDateTime::from_unix_timestamp_nanos(1_770_106_302_007_999_999).unwrap();
        let mut out = String::new();
        write_time(&mut out, at).unwrap();
        assert_eq!(out, "2026-02-03T08:11:42.007Z");
    }
}
