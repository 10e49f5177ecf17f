//! Request numbers and the request log.

use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue, header};

use crate::exchange::Exchange;
use crate::request::{Request, http_version};
use crate::response::Response;
use crate::stage::Gate;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Fields whose value would let a reader of the log act for the client.
const SECRET_FIELDS: [HeaderName; 3] = [
    header::AUTHORIZATION,
    header::COOKIE,
    header::PROXY_AUTHORIZATION,
];

/// The number of a request: positive, unique and increasing in this process. It is in the extensions of
/// the request and a note of the exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestId(u64);

impl RequestId {
    fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// The number.
    pub fn as_u64(self) -> u64 {
        self.0
    }
}

/// Which requests are logged, by the status of their response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogLevel {
    /// All.
    #[default]
    Info,
    /// Status 400 and above.
    Warn,
    /// Status 500 and above.
    Error,
}

/// What the request log writes; the names of `http.logging`.
#[derive(Debug, Clone, Copy, Default)]
pub struct RequestLogConfig {
    /// Which requests. Default: all.
    pub level: LogLevel,
    /// Appends the milliseconds until the head of the response. Default: off.
    pub timing: bool,
    /// Appends the request headers, secrets masked. Default: off.
    pub headers: bool,
    /// Numbers the requests and appends the number. Default: off, since all workers share the counter.
    pub id: bool,
    /// Sends the number as `X-Request-Id`; implies numbering. Default: off.
    pub id_header: bool,
}

/// Writes one `tracing` event with target `http` for each head of a response:
///
/// ```text
/// GET /Dog/?name=Harper HTTP/1.1 200 3.41ms id: 17
/// ```
///
/// Status below 400 at `info`, 400-499 at `warn`, 500 and above at `error`.
///
/// Place: outermost, so that every answer is logged, whoever gave it.
#[derive(Debug, Clone, Default)]
pub struct RequestLog {
    config: RequestLogConfig,
}

impl RequestLog {
    /// A log that writes what `config` asks for.
    pub fn new(config: RequestLogConfig) -> Self {
        Self { config }
    }

    fn line(&self, exchange: &Exchange, response: &Response) -> String {
        let scheme = if exchange.conn().tls.is_some() {
            "HTTPS"
        } else {
            "HTTP"
        };
        let version = http_version(exchange.version());
        let mut line = format!(
            "{} {} {scheme}/{version}",
            exchange.method(),
            exchange.url()
        );
        if let Some(HeaderText(headers)) = exchange.note() {
            let _ = write!(line, " {headers}");
        }
        let _ = write!(line, " {}", response.status().as_u16());
        if self.config.timing {
            let _ = write!(line, " {:.2}ms", exchange.elapsed().as_secs_f64() * 1000.0);
        }
        if let (true, Some(RequestId(id))) = (self.config.id, exchange.note()) {
            let _ = write!(line, " id: {id}");
        }
        line
    }
}

/// The request headers as the log shows them, kept from the way in to the way out.
#[derive(Clone)]
struct HeaderText(String);

impl Gate for RequestLog {
    fn enter(&self, exchange: &Exchange, request: &mut Request) -> ControlFlow<Response> {
        if self.config.id || self.config.id_header {
            let id = RequestId::next();
            exchange.leave_note(id);
            request.extensions_mut().insert(id);
        }
        if self.config.headers {
            exchange.leave_note(HeaderText(header_text(request.headers())));
        }
        ControlFlow::Continue(())
    }

    fn leave(&self, exchange: &Exchange, response: &mut Response) {
        if let (true, Some(RequestId(id))) = (self.config.id_header, exchange.note()) {
            response
                .headers_mut()
                .insert(X_REQUEST_ID, HeaderValue::from(id));
        }
        // The macros need their level as a constant.
        match response.status().as_u16() {
            500.. => tracing::error!(target: "http", "{}", self.line(exchange, response)),
            400.. if self.config.level != LogLevel::Error => {
                tracing::warn!(target: "http", "{}", self.line(exchange, response));
            }
            0..400 if self.config.level == LogLevel::Info => {
                tracing::info!(target: "http", "{}", self.line(exchange, response));
            }
            _ => {}
        }
    }
}

fn header_text(headers: &HeaderMap) -> String {
    let mut text = String::new();
    for (name, value) in headers {
        let separator = if text.is_empty() { "" } else { ", " };
        let shown = match SECRET_FIELDS.contains(name) {
            true => "***".into(),
            // Bytes beyond ASCII are legal in a value and may not reach a terminal as they are.
            false => value.as_bytes().escape_ascii().to_string(),
        };
        let _ = write!(text, "{separator}{name}: {shown}");
    }
    text
}

#[cfg(test)]
mod tests {
    use http::{Method, StatusCode};

    use super::*;

    #[test]
    fn the_line_names_request_status_and_number_and_hides_secrets() {
        let config = RequestLogConfig {
            headers: true,
            id: true,
            id_header: true,
            ..RequestLogConfig::default()
        };
        let log = RequestLog::new(config);
        let mut request = Request::new(Method::GET, "/Dog/?name=Harper").unwrap();
        request.headers_mut().insert(
            header::AUTHORIZATION,
            HeaderValue::from_static("Basic c2VjcmV0"),
        );
        request
            .headers_mut()
            .insert(header::ACCEPT, HeaderValue::from_bytes(b"\xff\"").unwrap());
        let exchange = Exchange::of(&request);
        assert!(log.enter(&exchange, &mut request).is_continue());
        let id = request.extensions().get::<RequestId>().unwrap().as_u64();
        let mut response = Response::new(StatusCode::NO_CONTENT);
        log.leave(&exchange, &mut response);
        assert_eq!(response.headers()["x-request-id"], id.to_string());
        let expected = format!(
            r#"GET /Dog/?name=Harper HTTP/1.1 authorization: ***, accept: \xff\" 204 id: {id}"#
        );
        assert_eq!(log.line(&exchange, &response), expected);
    }

    #[test]
    fn numbers_increase() {
        assert!(RequestId::next().as_u64() < RequestId::next().as_u64());
    }
}
