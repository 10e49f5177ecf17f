//! Refusals before the first byte, as problem details (RFC 9457).

use http::{HeaderValue, StatusCode, header};
use http_chain::Response;
use resource::{Error, ErrorKind, Map, Value, json};

const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// The response to a request that cannot have its stream. `instance` is the path that was asked for.
pub(crate) fn response(error: &Error, instance: &str) -> Response {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut problem = problem(error);
    problem.insert("instance", instance);
    Response::with_body(status, json::to_vec(&Value::Map(problem)))
        .with_header(header::CONTENT_TYPE, PROBLEM_JSON)
}

/// Type, title, status and detail. What went wrong inside is for the log; the client learns that something
/// did.
pub(crate) fn problem(error: &Error) -> Map {
    let detail = match error.kind() {
        ErrorKind::Internal => {
            tracing::error!(target: "sse", %error, "an event stream failed");
            "An unexpected failure, which has been logged"
        }
        _ => error.message(),
    };
    let status = error.status();
    let title = StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason());
    Map::from_iter([
        (
            "type",
            Value::from(format!("https://httpstatuses.com/{status}")),
        ),
        ("title", Value::from(title.unwrap_or("Error"))),
        ("status", Value::from(u32::from(status))),
        ("detail", Value::from(detail)),
    ])
}
