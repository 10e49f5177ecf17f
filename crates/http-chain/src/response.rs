//! The response, by the names of the Fetch standard, around an [`http::Response`].

use base::UpgradeTask;
use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{Extensions, HeaderMap, HeaderValue, StatusCode};

use crate::body::{Body, BodyError, BoxError};
use crate::cookies::{CookieError, SetCookie};
use crate::request::ParamError;
use crate::router::AnsweredBy;

/// `text/plain` in UTF-8.
pub(crate) const TEXT_PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const APPLICATION_JSON: HeaderValue = HeaderValue::from_static("application/json");

/// One HTTP response. It is an [`http::Response`] and converts to and from one for nothing.
///
/// Text, bytes, a [`StatusCode`], a pair of status and body, a [`BodyError`] and a `Result` of any of
/// these convert into one, so a route may return them.
///
/// ```
/// use http::StatusCode;
/// use http_chain::Response;
///
/// let created = Response::from((StatusCode::CREATED, "made it\n"));
/// assert_eq!(created.status(), 201);
/// assert_eq!(created.headers()["content-type"], "text/plain; charset=utf-8");
/// ```
#[derive(Debug)]
pub struct Response(http::Response<Body>);

/// In the extensions of a response whose content had to be fetched from the source of a cache: drives
/// `Server-Timing: …, miss`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheMiss;

/// A name or value that no header field may have, for example one with a line break.
#[derive(Debug, thiserror::Error)]
#[error("not a valid header field: {name}")]
pub struct InvalidHeader {
    name: String,
}

impl Response {
    /// A response without headers and body.
    pub fn new(status: StatusCode) -> Self {
        let mut response = http::Response::new(Body::Empty);
        *response.status_mut() = status;
        Self(response)
    }

    /// A response with `body` and no headers.
    pub fn with_body(status: StatusCode, body: impl Into<Body>) -> Self {
        let mut response = Self::new(status);
        response.set_body(body);
        response
    }

    /// Plain text in UTF-8.
    pub fn text(status: StatusCode, text: impl Into<Body>) -> Self {
        Self::with_body(status, text).with_header(header::CONTENT_TYPE, TEXT_PLAIN)
    }

    /// JSON text that is serialized already.
    pub fn json(status: StatusCode, json: impl Into<Body>) -> Self {
        Self::with_body(status, json).with_header(header::CONTENT_TYPE, APPLICATION_JSON)
    }

    /// The error object `{"error": message}` in JSON.
    pub fn json_error(status: StatusCode, message: &str) -> Self {
        Self::json(status, serde_json::json!({ "error": message }).to_string())
    }

    /// `101 Switching Protocols`. `headers` name the protocol (`Connection: Upgrade` is added if
    /// absent); the listener writes the response, takes the connection out of the HTTP engine and
    /// runs `task` on it.
    ///
    /// ```
    /// use base::UpgradeTask;
    /// use http_chain::Response;
    ///
    /// let headers = [(http::header::UPGRADE, "echo".parse().unwrap())].into_iter().collect();
    /// let response = Response::upgrade(headers, UpgradeTask::new(|_io, _conn, _shutdown| async {}));
    /// assert_eq!(response.status(), 101);
    /// assert!(response.upgrade_task().is_some());
    /// ```
    pub fn upgrade(headers: HeaderMap, task: UpgradeTask) -> Self {
        let mut response = Self::new(StatusCode::SWITCHING_PROTOCOLS);
        *response.headers_mut() = headers;
        response
            .headers_mut()
            .entry(header::CONNECTION)
            .or_insert(HeaderValue::from_static("Upgrade"));
        response.extensions_mut().insert(task);
        response
    }

    /// The task of an [`upgrade`](Self::upgrade).
    pub fn upgrade_task(&self) -> Option<&UpgradeTask> {
        self.extensions().get()
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.0.status()
    }

    /// Replaces the status.
    pub fn set_status(&mut self, status: StatusCode) {
        *self.0.status_mut() = status;
    }

    /// The header fields.
    pub fn headers(&self) -> &HeaderMap {
        self.0.headers()
    }

    /// The header fields, to change them.
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        self.0.headers_mut()
    }

    /// The same response with one field set, in place of any of that name.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers_mut().insert(name, value);
        self
    }

    /// Sets a field from text, in place of any of that name.
    ///
    /// # Errors
    ///
    /// [`InvalidHeader`] if the name is no token or the value contains a control character: this is
    /// where an attempt to split the response ends.
    pub fn set_header(&mut self, name: &str, value: &str) -> Result<(), InvalidHeader> {
        let (name, value) = checked_field(name, value)?;
        self.headers_mut().insert(name, value);
        Ok(())
    }

    /// Adds a field line from text beside those of the same name, as `Set-Cookie` needs it.
    ///
    /// # Errors
    ///
    /// As [`set_header`](Self::set_header).
    pub fn append_header(&mut self, name: &str, value: &str) -> Result<(), InvalidHeader> {
        let (name, value) = checked_field(name, value)?;
        self.headers_mut().append(name, value);
        Ok(())
    }

    /// Sets a cookie at the client, on a field line of its own.
    ///
    /// # Errors
    ///
    /// [`CookieError`] for a cookie that a client would drop or misread; the response is then unchanged.
    pub fn add_cookie(&mut self, cookie: &SetCookie) -> Result<(), CookieError> {
        let line = cookie.encode()?;
        self.headers_mut().append(header::SET_COOKIE, line);
        Ok(())
    }

    /// Adds `field_name` to `Vary` unless it is listed, so a cache keeps the variants apart.
    pub fn add_vary(&mut self, field_name: &'static str) {
        let listed = self
            .headers()
            .get_all(header::VARY)
            .iter()
            .filter_map(|value| value.to_str().ok());
        let mut names = listed.flat_map(|line| line.split(',').map(str::trim));
        if !names.any(|name| name == "*" || name.eq_ignore_ascii_case(field_name)) {
            self.headers_mut()
                .append(header::VARY, HeaderValue::from_static(field_name));
        }
    }

    /// Facts for outer stages and the listener.
    pub fn extensions(&self) -> &Extensions {
        self.0.extensions()
    }

    /// Facts for outer stages and the listener.
    pub fn extensions_mut(&mut self) -> &mut Extensions {
        self.0.extensions_mut()
    }

    /// The pattern of the [`Router`](crate::Router) whose endpoint answered: a label for metrics.
    pub fn route(&self) -> Option<&str> {
        Some(&self.extensions().get::<AnsweredBy>()?.0)
    }

    /// The body.
    pub fn body(&self) -> &Body {
        self.0.body()
    }

    /// Replaces the body; headers stay as they are.
    pub fn set_body(&mut self, body: impl Into<Body>) {
        *self.0.body_mut() = body.into();
    }

    /// Moves the body out and leaves [`Body::Empty`].
    pub fn take_body(&mut self) -> Body {
        std::mem::take(self.0.body_mut())
    }

    /// The body alone.
    pub fn into_body(self) -> Body {
        self.0.into_body()
    }

    /// Takes over a response with any kind of body.
    pub fn from_http<B>(response: http::Response<B>) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self(response.map(Body::new))
    }
}

/// `404 Not found`, for a request that no handler answered.
pub(crate) fn not_found() -> Response {
    Response::text(StatusCode::NOT_FOUND, "Not found\n")
}

/// `500`, with a body that tells nothing about the inside.
pub(crate) fn internal_server_error() -> Response {
    Response::text(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error\n")
}

/// `503` with `Retry-After: 1`, for a server that is busy but well.
pub(crate) fn overloaded(text: &'static str) -> Response {
    Response::text(StatusCode::SERVICE_UNAVAILABLE, text)
        .with_header(header::RETRY_AFTER, HeaderValue::from_static("1"))
}

fn checked_field(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), InvalidHeader> {
    match (name.parse(), HeaderValue::from_str(value)) {
        (Ok(name), Ok(value)) => Ok((name, value)),
        _ => Err(InvalidHeader {
            name: name.escape_debug().to_string(),
        }),
    }
}

impl From<http::Response<Body>> for Response {
    fn from(response: http::Response<Body>) -> Self {
        Self(response)
    }
}

impl From<Response> for http::Response<Body> {
    fn from(response: Response) -> Self {
        response.0
    }
}

impl From<StatusCode> for Response {
    fn from(status: StatusCode) -> Self {
        Self::new(status)
    }
}

impl From<&'static str> for Response {
    fn from(text: &'static str) -> Self {
        Self::text(StatusCode::OK, text)
    }
}

impl From<String> for Response {
    fn from(text: String) -> Self {
        Self::text(StatusCode::OK, text)
    }
}

impl From<Bytes> for Response {
    fn from(bytes: Bytes) -> Self {
        Self::with_body(StatusCode::OK, bytes)
    }
}

impl From<Body> for Response {
    fn from(body: Body) -> Self {
        Self::with_body(StatusCode::OK, body)
    }
}

impl<T: Into<Response>> From<(StatusCode, T)> for Response {
    fn from((status, rest): (StatusCode, T)) -> Self {
        let mut response = rest.into();
        response.set_status(status);
        response
    }
}

impl<T: Into<Response>, E: Into<Response>> From<Result<T, E>> for Response {
    fn from(result: Result<T, E>) -> Self {
        match result {
            Ok(value) => value.into(),
            Err(error) => error.into(),
        }
    }
}

impl From<ParamError> for Response {
    fn from(error: ParamError) -> Self {
        Self::text(StatusCode::BAD_REQUEST, format!("{error}\n"))
    }
}

impl From<BodyError> for Response {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge { limit } => body_too_large(limit),
            error if error.is_timeout() => {
                Self::text(StatusCode::REQUEST_TIMEOUT, "Request body timed out\n")
                    .with_header(header::CONNECTION, HeaderValue::from_static("close"))
            }
            BodyError::Read(source) => {
                tracing::debug!(target: "http", error = %source, "request body could not be read");
                Self::text(StatusCode::BAD_REQUEST, "Request body could not be read\n")
            }
        }
    }
}

/// `413`, with the text clients of this server know.
pub(crate) fn body_too_large(limit: u64) -> Response {
    let text = format!("Request body too large, maximum size is {limit} bytes");
    Response::text(StatusCode::PAYLOAD_TOO_LARGE, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_value_cannot_split_the_response() {
        let mut response = Response::new(StatusCode::OK);
        for bad in ["a\r\nSet-Cookie: x=y", "a\nb", "a\0"] {
            assert!(response.set_header("location", bad).is_err());
            assert!(response.append_header("location", bad).is_err());
        }
        assert!(response.set_header("bad name", "x").is_err());
        assert!(response.headers().is_empty());
    }

    #[test]
    fn vary_lists_a_name_once() {
        let mut response = Response::new(StatusCode::OK)
            .with_header(header::VARY, HeaderValue::from_static("Accept, origin"));
        response.add_vary("Origin");
        response.add_vary("Accept-Encoding");
        response.add_vary("Accept-Encoding");
        let lines: Vec<_> = response.headers().get_all(header::VARY).iter().collect();
        assert_eq!(lines, ["Accept, origin", "Accept-Encoding"]);
    }

    #[test]
    fn a_body_that_was_too_slow_becomes_408_however_deep_the_cause() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] std::io::Error);

        let error = |kind: std::io::ErrorKind| BodyError::from_source(Outer(kind.into()));
        assert_eq!(
            Response::from(error(std::io::ErrorKind::TimedOut)).status(),
            408
        );
        assert_eq!(
            Response::from(error(std::io::ErrorKind::InvalidData)).status(),
            400
        );
    }

    #[test]
    fn a_body_over_the_limit_becomes_413_with_the_known_text() {
        let response = Response::from(BodyError::TooLarge { limit: 10 });
        assert_eq!(response.status(), 413);
        let Body::Full(text) = response.into_body() else {
            panic!("text expected")
        };
        assert_eq!(text, "Request body too large, maximum size is 10 bytes");
    }
}
