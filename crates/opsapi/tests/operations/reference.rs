//! `docs/operations.md`: written from the table of operations and from what stands here, every example executed.
//!
//! `UPDATE_DOCS=1 cargo test -p opsapi reference` writes it anew.

mod entries;

use std::fmt::Write as _;
use std::path::PathBuf;

use opsapi::Need;
use resource::Value;

use self::entries::{ENTRIES, Entry};
use crate::fixture::{Fixture, admin, value};

/// What an example asks is put together with the facts of one run.
fn filled(request: &str, fixture: &Fixture, job: &str, backup: &str) -> String {
    let directory = fixture.components.path().display().to_string();
    request
        .replace("<job>", job)
        .replace("<backup>", backup)
        .replace("<directory>", &directory)
}

/// Whether an answer is as the example says; `…` stands for what differs from run to run.
fn fits(expected: &Value, actual: &Value) -> bool {
    match (expected, actual) {
        (Value::String(expected), _) if expected == "…" => true,
        (Value::String(expected), Value::String(actual)) => match expected.split_once('…') {
            None => expected == actual,
            Some((start, end)) => {
                let enough = actual.len() >= start.len() + end.len();
                enough && actual.starts_with(start) && actual.ends_with(end)
            }
        },
        (Value::Array(expected), Value::Array(actual)) => match expected.as_slice() {
            [start @ .., Value::String(rest)] if rest == "…" => {
                let pairs = start.iter().zip(actual);
                actual.len() >= start.len() && pairs.clone().all(|(e, a)| fits(e, a))
            }
            expected => {
                expected.len() == actual.len()
                    && expected.iter().zip(actual).all(|(e, a)| fits(e, a))
            }
        },
        (Value::Map(expected), Value::Map(actual)) => {
            let is_open = expected.contains_key("…");
            let named = expected.iter().filter(|(name, _)| *name != "…");
            let mut named = named.peekable();
            let count = expected.len() - usize::from(is_open);
            named.all(|(name, value)| actual.get(name).is_some_and(|found| fits(value, found)))
                && (is_open || actual.len() == count)
        }
        _ => expected == actual,
    }
}

#[tokio::test]
async fn every_example_of_the_reference_is_answered_as_it_says() {
    let fixture = Fixture::new().await;
    let (mut job, mut backup) = (String::new(), String::new());
    for entry in ENTRIES.iter().filter(|entry| !entry.request.is_empty()) {
        let request = filled(entry.request, &fixture, &job, &backup);
        let (status, text) = fixture.ask(&admin(), &request).await;
        assert_eq!(status, 200, "{request} -> {text}");
        if entry.answer.is_empty() {
            continue;
        }
        let actual = value(&text);
        let expected = value(&filled(entry.answer, &fixture, &job, &backup));
        assert!(
            fits(&expected, &actual),
            "{request}\nexpected {}\nfound {text}",
            entry.answer
        );
        let found = actual.as_map().and_then(|map| map.get("job_id"));
        if let Some(id) = found.and_then(Value::as_str) {
            job = id.to_owned();
            let ended = fixture.ended(&job).await;
            let result = ended.get("result").and_then(Value::as_map);
            let made = result.and_then(|result| result.get("backup_id"));
            if let Some(id) = made.and_then(Value::as_str) {
                backup = id.to_owned();
            }
        }
    }
}

#[tokio::test]
async fn the_reference_page_is_what_the_program_has() {
    let fixture = Fixture::new().await;
    let page = page(&fixture);
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/operations.md");
    if wants_update() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/operations.md is not current: run UPDATE_DOCS=1 cargo test -p opsapi reference"
    );
}

#[expect(
    clippy::disallowed_methods,
    reason = "asks whoever runs the test, and changes nothing that is tested"
)]
fn wants_update() -> bool {
    std::env::var_os("UPDATE_DOCS").is_some()
}

/// One row of the table of operations.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) aliases: Vec<&'static str>,
    pub(crate) shown: &'static str,
    pub(crate) need: Need,
    pub(crate) is_available: bool,
}

fn page(fixture: &Fixture) -> String {
    let mut page = String::from(PREFACE);
    let (built, missing): (Vec<&Row>, Vec<&Row>) =
        fixture.rows.iter().partition(|row| row.is_available);
    for row in &built {
        let known = ENTRIES.iter().any(|entry| entry.name == row.name);
        assert!(known, "'{}' is not in the reference", row.name);
    }
    let mut group = "";
    for entry in ENTRIES {
        let row = built.iter().find(|row| row.name == entry.name);
        let row = row.unwrap_or_else(|| panic!("'{}' is no operation", entry.name));
        if entry.group != group {
            group = entry.group;
            writeln!(page, "\n## {group}").unwrap();
        }
        write_entry(&mut page, entry, row);
    }
    page.push_str("\n## Not in this build\n\nThese names are known and answer 501:\n\n");
    let names: Vec<String> = missing
        .iter()
        .map(|row| format!("`{}`", row.name))
        .collect();
    writeln!(page, "{}.", names.join(", ")).unwrap();
    page
}

fn write_entry(page: &mut String, entry: &Entry, row: &Row) {
    writeln!(page, "\n### {}\n\n{}\n", entry.name, entry.text).unwrap();
    let need = match row.need {
        Need::Nothing => "nothing",
        Need::User => entry.need,
        Need::Structure => "a super user, or a structure user of the database",
        Need::Databases => "a super user, or a structure user of all databases",
        Need::SuperUser => "a super user",
    };
    write!(page, "Needs {need}.").unwrap();
    if row.shown != row.name {
        write!(page, " Denials call it `{}`.", row.shown).unwrap();
    }
    if !row.aliases.is_empty() {
        let aliases: Vec<String> = row.aliases.iter().map(|name| format!("`{name}`")).collect();
        write!(page, " Also called {}.", aliases.join(", ")).unwrap();
    }
    page.push('\n');
    if !entry.parameters.is_empty() {
        page.push_str("\n| Parameter | |\n|---|---|\n");
        for (name, text) in entry.parameters {
            writeln!(page, "| `{name}` | {text} |").unwrap();
        }
    }
    if !entry.request.is_empty() {
        writeln!(page, "\n```json\n{}\n```", entry.request).unwrap();
    }
    if !entry.answer.is_empty() {
        writeln!(page, "\n```json\n{}\n```", entry.answer).unwrap();
    }
    if !entry.errors.is_empty() {
        page.push_str("\n| Status | Error |\n|---|---|\n");
        for (status, text) in entry.errors {
            writeln!(page, "| {status} | {text} |").unwrap();
        }
    }
}

const PREFACE: &str = "\
<!-- Written by a test of the crate opsapi; change tests/operations/reference/entries.rs instead. -->
# Operations

One operation is one object, sent by `POST /` to the operations port or to the Unix socket; its member `operation`
is the name. The answer is an object or an array in the format that `Accept` asks for: JSON, CBOR, MessagePack, CSV.
In the examples `…` stands for what differs from run to run, and `<job>`, `<backup>` and `<directory>` for ids that
earlier answers gave and a directory of the server.

Errors are objects `{\"error\": …}` with these statuses, besides those that stand with an operation:

| Status | When |
|---|---|
| 400 | a parameter is missing or wrong; all that is wrong is told at once, joined by `. ` |
| 401 | `Must login`, `Login failed` |
| 403 | the role does not allow it: `error`, `unauthorized_access`, `invalid_schema_items` |
| 404 | `database 'x' does not exist`, `Table 'db.t' does not exist` (400 where something is written) |
| 406 | no acceptable format |
| 413 | the body is larger than the limit |
| 501 | the operation is known and not in this build |
| 503 | overload; try again later |

An operation that starts a job answers `{\"message\": \"Starting job with id …\", \"job_id\": \"…\"}` at once; `get_job`
tells how it is doing. A job that a restart interrupts ends with the status `ERROR`. In the tables, old names of
parameters are given after a slash.
";
