//! Requests that cannot be answered as asked, and the bodies that say so (`rest.md` §10, RFC 9457).

use content::Format;
use http::{HeaderValue, StatusCode, header};
use http_chain::{BodyError, BoxError, Response};
use resource::{Error, ErrorKind, Map, Value};

use crate::config::ErrorFormat;

/// Why there is no success.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    detail: String,
    violations: Vec<String>,
    ends_connection: bool,
}

impl Failure {
    /// A failure with a text for the client.
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
            violations: Vec::new(),
            ends_connection: false,
        }
    }

    /// The status it will be answered with.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// The response, in a format that the client accepts. `instance` is the path that was asked for.
    pub(crate) fn into_response(
        self,
        format: &Format,
        style: ErrorFormat,
        instance: &str,
    ) -> Response {
        let is_text = format.media_type().starts_with("text/");
        let value = match style {
            ErrorFormat::Legacy => Value::from(format!("{}: {}", self.name(), self.detail)),
            ErrorFormat::Problem if is_text => {
                Value::from(format!("{}: {}", self.title(), self.detail))
            }
            ErrorFormat::Problem => self.problem(instance),
        };
        let content_type = match (style, format.media_type()) {
            (ErrorFormat::Problem, "application/json") => "application/problem+json",
            _ if is_text => "text/plain; charset=utf-8",
            _ => format.content_type(),
        };
        let body = match (is_text, &value) {
            (true, Value::String(text)) => text.clone().into_bytes(),
            // An error can always be told, if not in the format that failed then in JSON.
            _ => format
                .to_vec(&value)
                .unwrap_or_else(|_| resource::json::to_vec(&value)),
        };
        let mut response = Response::with_body(self.status, body);
        if let Ok(content_type) = HeaderValue::from_str(content_type) {
            response
                .headers_mut()
                .insert(header::CONTENT_TYPE, content_type);
        }
        if self.ends_connection {
            response = response.with_header(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    fn problem(&self, instance: &str) -> Value {
        let mut problem = Map::from_iter([
            (
                "type",
                Value::from(format!("https://httpstatuses.com/{}", self.status.as_u16())),
            ),
            ("title", Value::from(self.title())),
            ("status", Value::from(u32::from(self.status.as_u16()))),
            ("detail", Value::from(self.detail.as_str())),
            ("instance", Value::from(instance)),
        ]);
        if !self.violations.is_empty() {
            let violations = self.violations.iter().cloned().map(Value::String);
            problem.insert("errors", Value::Array(violations.collect()));
        }
        Value::Map(problem)
    }

    fn title(&self) -> &'static str {
        self.status.canonical_reason().unwrap_or("Error")
    }

    fn name(&self) -> &'static str {
        match self.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "AccessViolation",
            status if status.is_client_error() => "ClientError",
            _ => "ServerError",
        }
    }
}

impl From<Error> for Failure {
    /// What went wrong inside is for the log; the client learns that something did.
    fn from(error: Error) -> Self {
        let status =
            StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if error.kind() == ErrorKind::Internal {
            tracing::error!(target: "rest", %error, "a request failed");
            return Self::new(status, "An unexpected failure, which has been logged");
        }
        Self {
            violations: error.details().to_vec(),
            ..Self::new(status, error.message())
        }
    }
}

impl From<BodyError> for Failure {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge { limit } => Self::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("Request body too large, maximum size is {limit} bytes"),
            ),
            error if error.is_timeout() => Self {
                ends_connection: true,
                ..Self::new(StatusCode::REQUEST_TIMEOUT, "Request body timed out")
            },
            error => {
                tracing::debug!(target: "rest", %error, "a request body could not be read");
                Self::new(StatusCode::BAD_REQUEST, "Request body could not be read")
            }
        }
    }
}

impl From<content::DecodeError> for Failure {
    fn from(error: content::DecodeError) -> Self {
        Error::from(error).into()
    }
}

/// The failure of a body, as a resource that reads it passes it on.
pub(crate) fn of_body(error: BodyError) -> Error {
    match error {
        BodyError::TooLarge { limit } => Error::payload_too_large(format!(
            "Request body too large, maximum size is {limit} bytes"
        )),
        error => {
            tracing::debug!(target: "rest", %error, "a request body could not be read");
            Error::bad_request("Request body could not be read")
        }
    }
}

/// [`of_body`], for a failure that has lost its type on the way.
pub(crate) fn of_source(source: BoxError) -> Error {
    match source.downcast::<BodyError>() {
        Ok(error) => of_body(*error),
        Err(source) => of_body(BodyError::from_source(source)),
    }
}

impl From<content::multipart::FormError> for Failure {
    fn from(error: content::multipart::FormError) -> Self {
        match error {
            content::multipart::FormError::Decode(error) => error.into(),
            content::multipart::FormError::Read(source) => match source.downcast::<BodyError>() {
                Ok(error) => Self::from(*error),
                Err(source) => BodyError::from_source(source).into(),
            },
        }
    }
}

impl From<content::EncodeError> for Failure {
    fn from(error: content::EncodeError) -> Self {
        Error::from(error).into()
    }
}

impl From<content::NotAcceptable> for Failure {
    fn from(error: content::NotAcceptable) -> Self {
        Error::from(error).into()
    }
}

impl From<crate::query::QueryError> for Failure {
    fn from(error: crate::query::QueryError) -> Self {
        Error::from(error).into()
    }
}
