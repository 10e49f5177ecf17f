//! Changing one value of a YAML text and leaving every other line as it is.
//!
//! The text is never written anew: the line of a key is changed, or lines are added to the mapping it belongs
//! to. Block mappings are what it knows; a mapping in braces becomes one line. Whatever comes out is parsed
//! again and must say what was meant and nothing else, so a form that is not understood ends in an error and
//! never in a damaged file.

use std::ops::Range;

use serde_json::Value;

/// Why a text cannot be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unchangeable(String);

impl std::fmt::Display for Unchangeable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a text says; an empty one is null.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    let parsed = serde_saphyr::from_str::<Option<Value>>(text);
    parsed
        .map(Option::unwrap_or_default)
        .map_err(|error| error.to_string())
}

/// Puts a value into nested mappings, which are made where they are missing.
pub(super) fn insert(into: &mut Value, path: &[String], value: Value) {
    let [first, rest @ ..] = path else {
        *into = value;
        return;
    };
    if !into.is_object() {
        *into = Value::Object(serde_json::Map::new());
    }
    if let Value::Object(members) = into {
        insert(
            members.entry(first.clone()).or_insert(Value::Null),
            rest,
            value,
        );
    }
}

/// The text with one value changed or added.
pub(super) fn set(text: &str, path: &[String], value: &Value) -> Result<String, Unchangeable> {
    let mut expected = parse(text).map_err(Unchangeable)?;
    insert(&mut expected, path, value.clone());
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let everything = 0..lines.len();
    edit(&mut lines, everything, 0, path, value);
    let mut changed = lines.join("\n");
    changed.push('\n');
    match parse(&changed) {
        Ok(found) if found == expected => Ok(changed),
        _ => Err(Unchangeable(format!(
            "the place of '{}' has a form that is not understood",
            path.join(".")
        ))),
    }
}

/// Changes the mapping in these lines, whose keys begin at `indent`.
fn edit(
    lines: &mut Vec<String>,
    range: Range<usize>,
    indent: usize,
    path: &[String],
    value: &Value,
) {
    let [name, rest @ ..] = path else { return };
    let Some(at) = range.clone().find(|at| is_key(&lines[*at], indent, name)) else {
        let end = last_line(lines, &range).map_or(range.start, |last| last + 1);
        lines.splice(end..end, nested(indent, path, value));
        return;
    };
    let block = at + 1..end_of_block(lines, at, &range, indent);
    let key = Key::of(&lines[at]);
    if rest.is_empty() {
        lines[at] = key.with(&inline(value));
        lines.drain(block);
        return;
    }
    match (key.value.as_str(), first_indent(lines, &block)) {
        ("", Some(inner)) if inner > indent => edit(lines, block, inner, rest, value),
        ("" | "~" | "null", _) => {
            lines[at] = key.with("");
            lines.splice(at + 1..at + 1, nested(indent + 2, rest, value));
        }
        (flow, _) => {
            // A mapping in braces stays one; a bare switch gives way to its section.
            let mut section = parse(flow).unwrap_or_default();
            insert(&mut section, rest, value.clone());
            lines[at] = key.with(&inline(&section));
            lines.drain(block);
        }
    }
}

/// A line `name: value # comment`, in its parts.
struct Key {
    /// Up to the colon.
    head: String,
    value: String,
    /// With the blanks before it.
    comment: String,
}

impl Key {
    fn of(line: &str) -> Self {
        let colon = colon(line).unwrap_or(line.len());
        let (head, rest) = line.split_at(colon);
        let rest = rest.strip_prefix(':').unwrap_or(rest);
        let end = comment_start(rest).unwrap_or(rest.len());
        let (value, comment) = rest.split_at(end);
        let blanks = value.len() - value.trim_end().len();
        let comment = match comment.is_empty() {
            true => String::new(),
            false => format!("{}{comment}", &value[value.len() - blanks..]),
        };
        Self {
            head: head.to_owned(),
            value: value.trim().to_owned(),
            comment,
        }
    }

    fn with(&self, value: &str) -> String {
        let space = if value.is_empty() { "" } else { " " };
        format!("{}:{space}{value}{}", self.head, self.comment)
    }
}

/// Where the colon behind the key is.
fn colon(line: &str) -> Option<usize> {
    let start = line.len() - line.trim_start().len();
    let from = match line.as_bytes().get(start) {
        Some(quote @ (b'"' | b'\'')) => {
            let quote = char::from(*quote);
            start + 1 + line[start + 1..].find(quote)?
        }
        _ => start,
    };
    let found = line[from..].char_indices().find(|(at, c)| {
        let next = line.as_bytes().get(from + at + 1);
        *c == ':' && next.is_none_or(u8::is_ascii_whitespace)
    });
    found.map(|(at, _)| from + at)
}

/// Where a comment begins that is not inside quotation marks.
fn comment_start(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut previous = ' ';
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if open == c && previous != '\\' => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') if !previous.is_alphanumeric() => quote = Some(c),
            (None, '#') if previous.is_whitespace() => return Some(at),
            _ => {}
        }
        previous = c;
    }
    None
}

fn is_key(line: &str, indent: usize, name: &str) -> bool {
    let is_here = indent_of(line) == Some(indent);
    let head = colon(line)
        .filter(|_| is_here)
        .map(|colon| line[..colon].trim());
    head.is_some_and(|head| {
        let bare = head.trim_matches(['"', '\'']);
        bare == name
    })
}

/// Blanks before the content; `None` for lines without any.
fn indent_of(line: &str) -> Option<usize> {
    let content = line.trim_start();
    let has_content = !content.is_empty() && !content.starts_with('#');
    has_content.then(|| line.len() - content.len())
}

fn first_indent(lines: &[String], range: &Range<usize>) -> Option<usize> {
    lines[range.clone()].iter().find_map(|line| indent_of(line))
}

fn last_line(lines: &[String], range: &Range<usize>) -> Option<usize> {
    range
        .clone()
        .rev()
        .find(|at| indent_of(&lines[*at]).is_some())
}

/// The line behind what belongs to the key in line `at`: lines that are indented more, and the items of a
/// list, which need not be. Comments and empty lines at the end belong to what follows.
fn end_of_block(lines: &[String], at: usize, range: &Range<usize>, indent: usize) -> usize {
    let mut end = at + 1;
    let following = lines.iter().enumerate().take(range.end).skip(at + 1);
    for (next, line) in following {
        match indent_of(line) {
            None => {}
            Some(inner) if inner > indent => end = next + 1,
            Some(inner) if inner == indent && line.trim_start().starts_with("- ") => {
                end = next + 1;
            }
            Some(_) => break,
        }
    }
    end
}

/// The lines of a value in mappings of its own.
fn nested(indent: usize, path: &[String], value: &Value) -> Vec<String> {
    let mut lines = Vec::with_capacity(path.len());
    for (depth, name) in path.iter().enumerate() {
        let blanks = " ".repeat(indent + 2 * depth);
        let value = match depth + 1 == path.len() {
            true => format!(" {}", inline(value)),
            false => String::new(),
        };
        lines.push(format!("{blanks}{name}:{value}"));
    }
    lines
}

/// JSON is YAML.
fn inline(value: &Value) -> String {
    value.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn changed(text: &str, path: &str, value: &Value) -> String {
        let path: Vec<String> = path.split('.').map(str::to_owned).collect();
        set(text, &path, value).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    #[test]
    fn only_the_line_of_the_value_changes() {
        let text = "# head\n\nhttp:  # the server\n    port: 1 # one\n    'cors': \"a # b\"   # c\nlog: x\n";
        assert_eq!(
            changed(text, "http.port", &json!(2)),
            text.replace("port: 1", "port: 2")
        );
        assert_eq!(
            changed(text, "http.cors", &json!(false)),
            text.replace("\"a # b\"", "false")
        );
        assert_eq!(
            changed(text, "http.http2", &json!(true)),
            text.replace("# c\n", "# c\n    http2: true\n")
        );
        assert_eq!(
            changed(text, "a.b", &json!({"c": [1, "d"]})),
            format!("{text}a:\n  b: {{\"c\":[1,\"d\"]}}\n")
        );
        assert_eq!(changed("", "a", &json!(null)), "a: null\n");
    }

    #[test]
    fn a_value_of_many_lines_is_replaced_whole() {
        let text = "a:\n- 1\n- 2\n# of b\nb: |\n  c: 1\n  d\n\ne: {f: 1, g: 2} # flow\nh:\n";
        assert_eq!(
            changed(text, "a", &json!([3])),
            "a: [3]\n# of b\nb: |\n  c: 1\n  d\n\ne: {f: 1, g: 2} # flow\nh:\n"
        );
        assert_eq!(
            changed(text, "b", &json!("x")),
            "a:\n- 1\n- 2\n# of b\nb: \"x\"\n\ne: {f: 1, g: 2} # flow\nh:\n"
        );
        assert_eq!(
            changed(text, "e.f", &json!(9)),
            text.replace("{f: 1, g: 2}", "{\"f\":9,\"g\":2}")
        );
        assert_eq!(
            changed(text, "h.i.j", &json!(1)),
            format!("{text}  i:\n    j: 1\n")
        );
        assert_eq!(
            changed("m: true # switch\n", "m.n", &json!(1)),
            "m: {\"n\":1} # switch\n"
        );
    }

    #[test]
    fn what_is_not_understood_is_an_error_and_no_damage() {
        let path = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
        for text in [
            "{a: 1,\n b: 2}\n",
            "a: [1\n",
            "x: &anchor 1\na: *anchor\n...\n",
        ] {
            let set = set(text, &path("a.b"), &json!(1));
            if let Ok(changed) = set {
                assert_eq!(parse(&changed).unwrap()["a"]["b"], 1, "{changed}");
            }
        }
        assert!(set("{a: 1}\n", &path("a"), &json!(2)).is_err());
    }
}
