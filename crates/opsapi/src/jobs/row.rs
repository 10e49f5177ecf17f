//! The row of a job in `system.hdb_job`.

use base::Timestamp;
use resource::{Attribute, AttributeType, Map, TableDefinition, Value};

use super::Outcome;
use super::outcome::Content;
use crate::Failure;
use crate::permission::SYSTEM;

/// The table of jobs.
const TABLE: &str = "hdb_job";

pub(super) const STATUS: &str = "status";
pub(super) const START: &str = "start_datetime";
pub(super) const PROGRESS: &str = "progress";
const END: &str = "end_datetime";
pub(super) const CREATED_AT: &str = "created_datetime";
const MESSAGE: &str = "message";
const RESULT: &str = "result";
const REQUEST: &str = "request";

pub(super) const CREATED: &str = "CREATED";
pub(super) const IN_PROGRESS: &str = "IN_PROGRESS";
const COMPLETE: &str = "COMPLETE";
const ERROR: &str = "ERROR";

/// Seconds for which ended jobs are remembered after their last change: 30 days. Without an end the table
/// would grow for as long as the server runs.
const RETENTION_SECS: u64 = 30 * 24 * 60 * 60;

/// What a client sees of a row, in this order.
const SHOWN: [&str; 9] = [
    "id", "user", "type", STATUS, START, END, CREATED_AT, MESSAGE, RESULT,
];

/// One row for each job, kept for 30 days.
pub(super) fn table() -> TableDefinition {
    let text = |name: &str| Attribute::new(name, AttributeType::String);
    let any = |name: &str| Attribute::new(name, AttributeType::Any);
    let time = |name: &str| Attribute::new(name, AttributeType::Long);
    let indexed = |attribute: Attribute| Attribute {
        indexed: true,
        ..attribute
    };
    TableDefinition {
        database: SYSTEM.to_owned(),
        table: TABLE.to_owned(),
        primary_key: "id".to_owned(),
        attributes: vec![
            text("id"),
            text("user"),
            text("type"),
            indexed(text(STATUS)),
            indexed(time(START)),
            time(END),
            time(CREATED_AT),
            any(MESSAGE),
            any(RESULT),
            any(REQUEST),
            any(PROGRESS),
        ],
        schema_defined: true,
        sealed: false,
        audit: false,
        expiration_secs: Some(RETENTION_SECS),
        export: None,
    }
}

/// Milliseconds since the epoch.
pub(super) fn now_millis() -> i64 {
    Timestamp::now().as_millis() as i64
}

fn now() -> Value {
    Value::Int(now_millis())
}

/// The row of a job that waits. Its start is that of waiting until it runs, so that it can be found by time.
pub(super) fn created(id: &str, kind: &str, user: &str, request: Map) -> Map {
    Map::from_iter([
        ("id", Value::from(id)),
        ("user", Value::from(user)),
        ("type", Value::from(kind)),
        (STATUS, Value::from(CREATED)),
        (START, now()),
        (CREATED_AT, now()),
        (REQUEST, Value::Map(request)),
    ])
}

pub(super) fn started() -> Map {
    Map::from_iter([(STATUS, Value::from(IN_PROGRESS)), (START, now())])
}

/// The end of a job; its request is not needed any more.
pub(super) fn ended(id: &str, result: Result<Outcome, Failure>) -> Map {
    let (status, message, result) = match result.map(|outcome| outcome.content) {
        Ok(Content::Message(text)) => (COMPLETE, Value::from(text), None),
        Ok(Content::Result(value)) => {
            let message = format!("Successfully completed job: {id}");
            (COMPLETE, Value::from(message), Some(value))
        }
        Err(failure) => (ERROR, error_message(failure), None),
    };
    let mut end = Map::from_iter([
        (STATUS, Value::from(status)),
        (END, now()),
        (MESSAGE, message),
        (REQUEST, Value::Null),
    ]);
    if let Some(result) = result {
        end.insert(RESULT, result);
    }
    end
}

/// The text of an error, or the whole object if it says more than that.
fn error_message(failure: Failure) -> Value {
    let mut body = failure.into_body();
    match body.len() {
        1 => body.remove("error").unwrap_or_default(),
        _ => Value::Map(body),
    }
}

pub(super) fn interrupted() -> Map {
    Map::from_iter([
        (STATUS, Value::from(ERROR)),
        (END, now()),
        (
            MESSAGE,
            Value::from("The job was interrupted by a restart of the server"),
        ),
        (REQUEST, Value::Null),
    ])
}

/// The row as clients see it.
pub(super) fn shown(row: &Value) -> Option<Map> {
    let row = row.as_map()?;
    let members = SHOWN.iter().chain([&PROGRESS]);
    let members = members.filter_map(|name| Some((*name, row.get(name)?.clone())));
    Some(members.filter(|(_, value)| !value.is_null()).collect())
}
