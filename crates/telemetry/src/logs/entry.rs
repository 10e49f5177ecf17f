//! From lines back to entries.

use std::io::{self, BufRead};

use serde_json::{Map, Value};

use super::LogLevel;
use super::stamp::Stamp;

/// Bytes of an entry that are kept; a message does not grow so long, but a file may hold anything.
const ENTRY_BYTES: usize = 256 * 1024;

/// One entry of a log, as `read_log` answers it (`operations-api.md` §12).
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct LogEntry {
    /// How serious it is.
    pub level: LogLevel,
    /// Its text, with the lines that follow the first.
    pub message: String,
    /// When, in UTC with milliseconds.
    pub timestamp: String,
    /// Name and number of the thread; empty if the line does not say.
    pub thread: String,
    /// Tags in order.
    pub tags: Vec<String>,
}

impl LogEntry {
    /// What it takes in memory, roughly.
    pub(crate) fn bytes(&self) -> usize {
        let tags: usize = self.tags.iter().map(String::len).sum();
        size_of::<Self>() + self.message.len() + self.thread.len() + tags
    }
}

/// The part of an entry that a query looks at first, and its whole text.
#[derive(Debug)]
pub(crate) struct RawEntry {
    pub(crate) at: Stamp,
    pub(crate) level: LogLevel,
    pub(crate) text: String,
    is_json: bool,
    is_cut: bool,
}

impl RawEntry {
    /// The entry that begins with `line`; `None` if the line continues another one.
    fn begin(line: &str) -> Option<Self> {
        let is_json = line.starts_with('{');
        let (at, level) = match is_json {
            true => {
                let members: Map<String, Value> = serde_json::from_str(line).ok()?;
                json_head(&members)?
            }
            false => {
                let head = Head::parse(line)?;
                (head.at, head.level)
            }
        };
        Some(Self {
            at,
            level,
            text: line.to_owned(),
            is_json,
            is_cut: false,
        })
    }

    fn continue_with(&mut self, line: &str) {
        match self.text.len() + line.len() < ENTRY_BYTES {
            true => {
                self.text.push('\n');
                self.text.push_str(line);
            }
            false => self.is_cut = true,
        }
    }

    /// The entry in its parts.
    pub(crate) fn into_entry(self) -> LogEntry {
        let (first, rest) = match self.text.split_once('\n') {
            Some((first, rest)) => (first, Some(rest)),
            None => (self.text.as_str(), None),
        };
        let mut entry = match self.is_json {
            true => json_entry(first, self.at, self.level),
            false => text_entry(first, self.at, self.level),
        };
        if let Some(rest) = rest {
            entry.message.push('\n');
            entry.message.push_str(rest);
        }
        if self.is_cut {
            entry.message.push('…');
        }
        entry
    }
}

/// `2026-02-03T08:11:42.007Z [http/3] [warn] [mqtt]: message`
struct Head<'a> {
    at: Stamp,
    thread: &'a str,
    level: LogLevel,
    /// ` [a] [b]`
    tags: &'a str,
    message: &'a str,
}

impl<'a> Head<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let at = Stamp::parse(line.get(..24)?)?;
        let rest = line.get(24..)?.strip_prefix(" [")?;
        let (thread, rest) = rest.split_once("] [")?;
        let (level, rest) = rest.split_once(']')?;
        let level = level.parse().ok()?;
        let mut after = rest;
        while let Some(tag) = after.strip_prefix(" [") {
            after = tag.split_once(']')?.1;
        }
        let tags = &rest[..rest.len() - after.len()];
        let message = after.strip_prefix(':')?;
        Some(Self {
            at,
            thread,
            level,
            tags,
            message: message.strip_prefix(' ').unwrap_or(message),
        })
    }
}

fn text_entry(line: &str, at: Stamp, level: LogLevel) -> LogEntry {
    let head = Head::parse(line);
    let (thread, tags, message) = match &head {
        Some(head) => (head.thread, head.tags, head.message),
        None => ("", "", line),
    };
    let tags = tags.split(" [").skip(1);
    LogEntry {
        level,
        message: message.to_owned(),
        timestamp: at.as_str().to_owned(),
        thread: thread.to_owned(),
        tags: tags
            .map(|tag| tag.trim_end_matches(']').to_owned())
            .collect(),
    }
}

fn json_head(members: &Map<String, Value>) -> Option<(Stamp, LogLevel)> {
    let at = Stamp::parse(members.get("ts")?.as_str()?)?;
    let level = members.get("level")?.as_str()?.parse().ok()?;
    Some((at, level))
}

/// The message of a JSON line is that of the event and its fields as a text line has them.
fn json_entry(line: &str, at: Stamp, level: LogLevel) -> LogEntry {
    let mut members: Map<String, Value> = serde_json::from_str(line).unwrap_or_default();
    let mut text = |name: &str| match members.shift_remove(name) {
        Some(Value::String(text)) => text,
        _ => String::new(),
    };
    let (thread, tag, mut message) = (text("thread"), text("tag"), text("message"));
    let mut tags: Vec<String> = [tag].into_iter().filter(|tag| !tag.is_empty()).collect();
    for known in ["ts", "level", "target", "spans"] {
        members.shift_remove(known);
    }
    if let Some(Value::Array(more)) = members.shift_remove("tags") {
        tags.extend(more.iter().filter_map(Value::as_str).map(str::to_owned));
    }
    if let Some(Value::Object(fields)) = members.shift_remove("fields") {
        members.extend(fields);
    }
    for (name, value) in &members {
        let separator = if message.is_empty() { "" } else { " " };
        message.push_str(&format!("{separator}{name}={value}"));
    }
    LogEntry {
        level,
        message,
        timestamp: at.as_str().to_owned(),
        thread,
        tags,
    }
}

/// Reads entries one after the other and holds one at a time. Lines before the first entry are passed over.
pub(crate) struct Entries<R> {
    reader: R,
    line: Vec<u8>,
    next: Option<RawEntry>,
}

impl<R: BufRead> Entries<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self {
            reader,
            line: Vec::new(),
            next: None,
        }
    }

    /// The next entry; `None` at the end.
    pub(crate) fn read(&mut self) -> io::Result<Option<RawEntry>> {
        loop {
            if !read_line(&mut self.reader, &mut self.line)? {
                return Ok(self.next.take());
            }
            let line = String::from_utf8_lossy(&self.line);
            match (RawEntry::begin(&line), &mut self.next) {
                (Some(entry), next) => {
                    if let Some(before) = next.replace(entry) {
                        return Ok(Some(before));
                    }
                }
                (None, Some(next)) => next.continue_with(&line),
                (None, None) => {}
            }
        }
    }
}

/// Reads a line without its end; what exceeds [`ENTRY_BYTES`] is passed over. `false` at the end.
fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let mut has_any = false;
    loop {
        let available = match reader.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            available => available?,
        };
        if available.is_empty() {
            return Ok(has_any);
        }
        has_any = true;
        let end = available.iter().position(|byte| *byte == b'\n');
        let text = &available[..end.unwrap_or(available.len())];
        let room = ENTRY_BYTES - line.len();
        line.extend_from_slice(&text[..text.len().min(room)]);
        let consumed = text.len() + usize::from(end.is_some());
        reader.consume(consumed);
        if end.is_some() {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(text: &[u8]) -> Vec<LogEntry> {
        // A small buffer, so that lines span several.
        let mut entries = Entries::new(io::BufReader::with_capacity(7, text));
        std::iter::from_fn(|| entries.read().unwrap())
            .map(RawEntry::into_entry)
            .collect()
    }

    fn entry(message: &str, tags: &[&str]) -> LogEntry {
        LogEntry {
            level: LogLevel::Warn,
            message: message.to_owned(),
            timestamp: "2026-02-03T08:11:42.007Z".to_owned(),
            thread: "http/3".to_owned(),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        }
    }

    #[test]
    fn lines_that_begin_no_entry_belong_to_the_one_before() {
        let text = b"lost\n\
            2026-02-03T08:11:42.007Z [http/3] [warn] [mqtt]: one: [a]\n\
            \tat a [b]: c\n\
            \n\
            2026-02-03T08:11:42.007Z [http/3] [loud]: no level\n\
            2026-02-03T08:11:42.007Z [http/3] [warn] [a b] [c]: two\n\
            2026-02-03T08:11:42.007Z [http/3] [warn]:\n\
            2026-02-03T08:11:42.007Z [http/3] [warn]: \xFF without an end";
        let noise = "one: [a]\n\tat a [b]: c\n\n2026-02-03T08:11:42.007Z [http/3] [loud]: no level";
        let expected = [
            entry(noise, &["mqtt"]),
            entry("two", &["a b", "c"]),
            entry("", &[]),
            entry("\u{FFFD} without an end", &[]),
        ];
        assert_eq!(entries(text), expected);
    }

    #[test]
    fn json_lines_give_the_same_entries() {
        let text = br#"{"ts":"2026-02-03T08:11:42.007Z","thread":"http/3","level":"warn","tag":"mqtt","target":"mqtt","message":"one","fields":{"port":80}}
{"ts":"2026-02-03T08:11:42.007Z","level":"warn","method":"GET","status":404}
{"no":"entry"}"#;
        let mut flat = entry("method=\"GET\" status=404\n{\"no\":\"entry\"}", &[]);
        flat.thread.clear();
        assert_eq!(entries(text), [entry("one port=80", &["mqtt"]), flat]);
    }

    #[test]
    fn an_entry_without_end_does_not_fill_the_memory() {
        let head = "2026-02-03T08:11:42.007Z [http/3] [warn]: ";
        let long = format!("{head}{}\n{head}b\n", "a".repeat(3 * ENTRY_BYTES));
        let found = entries(long.as_bytes());
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].message.len(), ENTRY_BYTES - head.len());

        let many = format!("{head}a\n{}", "continued\n".repeat(ENTRY_BYTES / 4));
        let found = entries(many.as_bytes());
        assert!(found[0].message.len() <= ENTRY_BYTES && found[0].message.ends_with('…'));
    }
}
