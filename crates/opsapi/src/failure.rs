//! An answer that is not what was asked for.

use auth::RoleError;
use http_chain::BodyError;
use resource::{Error, ErrorKind, Map, Value};

/// Text for the client when the reason is only in the log.
const INTERNAL: &str = "There was an error processing your request. Check logs and try again.";

/// A status and the object that says what is wrong, `{"error": …}` or a larger one.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    status: u16,
    body: Map,
}

impl Failure {
    /// `{"error": message}`.
    pub fn new(status: u16, message: impl Into<String>) -> Self {
        let message: String = message.into();
        let message = match message.is_empty() {
            true if status == 400 => "Invalid request".to_owned(),
            _ => message,
        };
        Self::with_body(status, Map::from_iter([("error", Value::from(message))]))
    }

    /// An object of its own; it should have a member `error`.
    pub fn with_body(status: u16, body: Map) -> Self {
        Self { status, body }
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// What the client is told.
    pub fn body(&self) -> &Map {
        &self.body
    }

    pub(crate) fn into_body(self) -> Map {
        self.body
    }

    /// A 404 as 400: where an operation writes, what is missing is a mistake of the request.
    pub(crate) fn missing_is_bad_request(error: Error) -> Self {
        match error.kind() {
            ErrorKind::NotFound => Self::new(400, error.message()),
            _ => error.into(),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        if error.kind() == ErrorKind::Internal {
            tracing::error!(target: "operations", %error, "an operation failed");
            return Self::new(error.status(), INTERNAL);
        }
        Self::new(error.status(), error.message())
    }
}

impl From<RoleError> for Failure {
    fn from(error: RoleError) -> Self {
        match error {
            RoleError::Permission(errors) => Self::with_body(400, errors.to_map()),
            RoleError::Refused(error) => error.into(),
            other => Self::new(400, other.to_string()),
        }
    }
}

impl From<BodyError> for Failure {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge { limit } => Self::new(
                413,
                format!("Request body too large, maximum size is {limit} bytes"),
            ),
            other => {
                tracing::debug!(target: "operations", error = %other, "request body could not be read");
                Self::new(400, "Request body could not be read")
            }
        }
    }
}
