//! Errors as GraphQL tells them (October 2021, §7.1.2).

use resource::{Error, ErrorKind, Map, Value};

/// A place in a document, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) line: usize,
    pub(super) column: usize,
}

impl Location {
    /// The place of a byte.
    pub(super) fn of(document: &str, at: usize) -> Self {
        let before = document.get(..at).unwrap_or(document);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

/// What is wrong with a document, or with one field of an answer.
#[derive(Debug, Clone)]
pub(super) struct Mistake {
    message: String,
    location: Option<Location>,
    /// The response key of the field.
    path: Option<String>,
    /// The status that REST would answer.
    pub(super) status: u16,
}

impl Mistake {
    /// The document asks for what can not be.
    pub(super) fn new(message: impl Into<String>, location: Option<Location>) -> Self {
        Self {
            message: message.into(),
            location,
            path: None,
            status: 400,
        }
    }

    /// A field could not be answered.
    pub(super) fn of_field(error: &Error, field: &str, location: Location) -> Self {
        let is_internal = error.kind() == ErrorKind::Internal;
        if is_internal {
            tracing::error!(target: "rest", %error, "a GraphQL field failed");
        }
        let message = match is_internal {
            true => "An unexpected failure, which has been logged",
            false => error.message(),
        };
        Self {
            message: message.to_owned(),
            location: Some(location),
            path: Some(field.to_owned()),
            status: error.status(),
        }
    }

    pub(super) fn to_value(&self) -> Value {
        let mut value = Map::from_iter([("message", Value::from(self.message.as_str()))]);
        let number = |number: usize| Value::from(number as u64);
        if let Some(Location { line, column }) = self.location {
            let location = Map::from_iter([("line", number(line)), ("column", number(column))]);
            value.insert("locations", vec![Value::Map(location)]);
        }
        if let Some(path) = &self.path {
            value.insert("path", vec![Value::from(path.as_str())]);
        }
        let status = Map::from_iter([("status", Value::from(u32::from(self.status)))]);
        value.insert("extensions", status);
        Value::Map(value)
    }
}
