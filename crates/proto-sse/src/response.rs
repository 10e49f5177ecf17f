//! The head of an event stream.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream::Stream;
use http::{HeaderName, HeaderValue, StatusCode, header};
use http_chain::{Body, Request, Response};

const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");
const VARY: HeaderValue = HeaderValue::from_static("Accept, Accept-Encoding");
/// Tells a proxy to pass events on at once.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The response whose body are these chunks.
pub(crate) fn of_stream<S>(chunks: S) -> Response
where
    S: Stream<Item = Result<Bytes, Infallible>> + Send + 'static,
{
    of_body(Body::from_stream(chunks))
}

pub(crate) fn of_body(body: Body) -> Response {
    Response::with_body(StatusCode::OK, body)
        .with_header(header::CONTENT_TYPE, EVENT_STREAM)
        .with_header(header::CACHE_CONTROL, NO_CACHE)
        .with_header(header::VARY, VARY)
        .with_header(X_ACCEL_BUFFERING, HeaderValue::from_static("no"))
}

/// Where a client that comes back wants to continue; `None` if it says nothing.
///
/// ```
/// let request = http::Request::get("/").header("last-event-id", "7").body("".into());
/// assert_eq!(proto_sse::last_event_id(&request.unwrap().into()), Some("7"));
/// ```
pub fn last_event_id(request: &Request) -> Option<&str> {
    request.header("last-event-id").filter(|id| !id.is_empty())
}
