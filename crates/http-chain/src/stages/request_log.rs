//! Request numbers and the request log.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use base::{ConnInfo, UpgradeTask, WorkerId};
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version, header};

use super::counted_io::{Counted, Traffic};
use crate::body::Body;
use crate::exchange::Exchange;
use crate::request::{Request, http_version, path_and_query};
use crate::response::Response;
use crate::stage::Gate;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// In the log alone: the client went away before the head of its response. RFC 9110 has no status for it;
/// this number is what servers commonly write.
const CLIENT_GONE: StatusCode = match StatusCode::from_u16(499) {
    Ok(status) => status,
    Err(_) => StatusCode::BAD_REQUEST,
};

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

/// How an entry is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RequestLogFormat {
    /// A line of text as the message of the event, when the head of the response is complete.
    #[default]
    Text,
    /// Fields and no message, when the response has ended, so that its bytes are known: `id`, `worker`,
    /// `ip`, `user`, `method`, `url`, `proto`, `status`, `ms`, `bytes_in`, `bytes_out`. Unknown ones are
    /// absent. The subscriber adds the time and writes them down, as JSON for example. Implies numbering.
    Fields,
}

/// What the request log writes; the names of `http.logging`.
#[derive(Debug, Clone, Copy, Default)]
pub struct RequestLogConfig {
    /// Which requests. Default: all.
    pub level: LogLevel,
    /// How they are written. Default: text.
    pub format: RequestLogFormat,
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
/// Status below 400 at `info`, 400-499 at `warn`, 500 and above at `error`. A WebSocket session is one
/// entry with status 101 when it ends, with its duration and bytes. A client that goes away before the
/// head of its response is an entry with status 499, which nobody is sent.
///
/// Place: outermost, so that every answer is logged, whoever gave it. What the engine answers itself never
/// comes here: see [`log_refusal`](Self::log_refusal).
#[derive(Debug, Clone, Default)]
pub struct RequestLog {
    config: RequestLogConfig,
}

impl RequestLog {
    /// A log that writes what `config` asks for.
    pub fn new(config: RequestLogConfig) -> Self {
        Self { config }
    }

    /// Logs an answer that the HTTP engine gave without asking the chain: 400, 408, 431. `head` is what it could
    /// read of the request. Whoever owns the engine calls it.
    pub fn log_refusal(
        &self,
        conn: &ConnInfo,
        status: StatusCode,
        head: Option<&http::request::Parts>,
    ) {
        let entry = Entry {
            config: self.config,
            worker: conn.worker,
            ip: conn.peer.ip(),
            is_secure: conn.tls.is_some(),
            request: head.map(|head| (head.method.clone(), head.uri.clone())),
            version: head.map_or(Version::HTTP_11, |head| head.version),
            ..Entry::empty(status)
        };
        entry.write();
    }

    fn has_ids(&self) -> bool {
        let config = self.config;
        config.id || config.id_header || config.format == RequestLogFormat::Fields
    }

    fn entry(&self, exchange: &Exchange, status: StatusCode) -> Entry {
        Entry {
            config: self.config,
            id: exchange.note(),
            worker: exchange.conn().worker,
            ip: exchange.client_ip(),
            user: exchange
                .caller()
                .and_then(|caller| caller.username())
                .cloned(),
            is_secure: exchange.is_secure(),
            request: Some((exchange.method().clone(), exchange.target().clone())),
            version: exchange.version(),
            headers: exchange.note().map(|HeaderText(text)| text),
            status,
            arrived: exchange.arrived(),
            traffic: exchange.note().unwrap_or_default(),
            is_session: false,
        }
    }
}

/// The request headers as the log shows them, kept from the way in to the way out.
#[derive(Clone)]
struct HeaderText(Arc<str>);

impl Gate for RequestLog {
    fn enter(&self, exchange: &Exchange, request: &mut Request) -> ControlFlow<Response> {
        if self.has_ids() {
            let id = RequestId::next();
            exchange.leave_note(id);
            request.extensions_mut().insert(id);
        }
        if self.config.headers {
            exchange.leave_note(HeaderText(header_text(request.headers()).into()));
        }
        if self.config.format == RequestLogFormat::Fields {
            let traffic = Arc::new(Traffic::default());
            exchange.leave_note(Arc::clone(&traffic));
            request.map_body(|body| count_in(body, traffic));
        }
        exchange.leave_note(Unanswered::new(self.entry(exchange, CLIENT_GONE)));
        ControlFlow::Continue(())
    }

    fn leave(&self, exchange: &Exchange, response: &mut Response) {
        if let (true, Some(RequestId(id))) = (self.config.id_header, exchange.note()) {
            response
                .headers_mut()
                .insert(X_REQUEST_ID, HeaderValue::from(id));
        }
        if let Some(Unanswered(guard)) = exchange.note() {
            guard.answered.store(true, Ordering::Relaxed);
        }
        let entry = self.entry(exchange, response.status());
        if let Some(task) = response.extensions_mut().remove::<UpgradeTask>() {
            response.extensions_mut().insert(log_session(entry, task));
            return;
        }
        match (self.config.format, response.take_body()) {
            (RequestLogFormat::Text, body) => {
                response.set_body(body);
                entry.write();
            }
            (RequestLogFormat::Fields, body @ Body::Stream(_)) if entry.sends_body() => {
                response.set_body(log_at_end(entry, body));
            }
            (RequestLogFormat::Fields, body) => {
                if entry.sends_body() {
                    let length = body.known_length().unwrap_or(0);
                    entry.traffic.add_out(length);
                }
                response.set_body(body);
                entry.write();
            }
        }
    }
}

/// A note that writes an entry when the exchange is dropped without an answer, which is how a request ends
/// whose client has gone.
#[derive(Clone)]
struct Unanswered(Arc<UnansweredEntry>);

struct UnansweredEntry {
    entry: Entry,
    answered: AtomicBool,
}

impl Unanswered {
    fn new(entry: Entry) -> Self {
        Self(Arc::new(UnansweredEntry {
            entry,
            answered: AtomicBool::new(false),
        }))
    }
}

impl Drop for UnansweredEntry {
    fn drop(&mut self) {
        if !*self.answered.get_mut() {
            self.entry.write();
        }
    }
}

fn count_in(body: Body, traffic: Arc<Traffic>) -> Body {
    body.inspect(move |frame| {
        traffic.add_in(frame.data_ref().map_or(0, |data| data.len() as u64));
        Ok(())
    })
}

/// Writes `entry` when the body has ended or was dropped.
fn log_at_end(entry: Entry, body: Body) -> Body {
    let entry = WrittenOnDrop(entry);
    body.inspect(move |frame| {
        let traffic = &entry.0.traffic;
        traffic.add_out(frame.data_ref().map_or(0, |data| data.len() as u64));
        Ok(())
    })
}

/// Writes `entry` when the session that `task` runs has ended, in whatever way.
fn log_session(entry: Entry, task: UpgradeTask) -> UpgradeTask {
    let entry = WrittenOnDrop(Entry {
        status: StatusCode::SWITCHING_PROTOCOLS,
        is_session: true,
        ..entry
    });
    UpgradeTask::new(move |io, conn, shutdown| async move {
        let io = Counted::new(io, Arc::clone(&entry.0.traffic));
        if let Some(session) = task.start(Box::new(io), conn, shutdown) {
            session.await;
        }
        drop(entry);
    })
}

struct WrittenOnDrop(Entry);

impl Drop for WrittenOnDrop {
    fn drop(&mut self) {
        self.0.write();
    }
}

/// One entry of the log.
struct Entry {
    config: RequestLogConfig,
    id: Option<RequestId>,
    worker: WorkerId,
    ip: Option<IpAddr>,
    user: Option<Arc<str>>,
    is_secure: bool,
    /// Absent when the engine could not read one.
    request: Option<(Method, Uri)>,
    version: Version,
    headers: Option<Arc<str>>,
    status: StatusCode,
    arrived: Instant,
    traffic: Arc<Traffic>,
    is_session: bool,
}

/// Emits one event; the macros need their level as a constant.
macro_rules! emit {
    ($status:expr, $($fields:tt)*) => {
        match $status {
            500.. => tracing::error!(target: "http", $($fields)*),
            400.. => tracing::warn!(target: "http", $($fields)*),
            _ => tracing::info!(target: "http", $($fields)*),
        }
    };
}

impl Entry {
    fn empty(status: StatusCode) -> Self {
        Self {
            config: RequestLogConfig::default(),
            id: None,
            worker: WorkerId::default(),
            ip: None,
            user: None,
            is_secure: false,
            request: None,
            version: Version::HTTP_11,
            headers: None,
            status,
            arrived: Instant::now(),
            traffic: Arc::default(),
            is_session: false,
        }
    }

    /// Whether the bytes of the body go out: not for `HEAD` and the statuses without one.
    fn sends_body(&self) -> bool {
        let is_head = matches!(&self.request, Some((method, _)) if *method == Method::HEAD);
        !is_head && !matches!(self.status.as_u16(), 100..200 | 204 | 304)
    }

    fn is_wanted(&self) -> bool {
        let status = self.status.as_u16();
        match self.config.level {
            LogLevel::Info => true,
            LogLevel::Warn => status >= 400,
            LogLevel::Error => status >= 500,
        }
    }

    fn write(&self) {
        if !self.is_wanted() {
            return;
        }
        match self.config.format {
            RequestLogFormat::Text => emit!(self.status.as_u16(), "{}", self.line()),
            RequestLogFormat::Fields => self.write_fields(),
        }
    }

    fn write_fields(&self) {
        let status = self.status.as_u16();
        emit!(
            status,
            id = self.id.map(RequestId::as_u64),
            worker = self.worker.0,
            ip = self.ip.map(tracing::field::display),
            user = self.user.as_deref(),
            method = self.request.as_ref().map(|(method, _)| method.as_str()),
            url = self
                .request
                .as_ref()
                .map(|(_, target)| path_and_query(target)),
            proto = self.protocol(),
            status,
            ms = (self.milliseconds() * 100.0).round() / 100.0,
            bytes_in = self.traffic.bytes_in(),
            bytes_out = self.traffic.bytes_out(),
        );
    }

    fn line(&self) -> String {
        let (method, url) = match &self.request {
            Some((method, target)) => (method.as_str(), path_and_query(target)),
            None => ("-", "-"),
        };
        let mut line = format!("{method} {url} {}", self.protocol());
        if let Some(headers) = &self.headers {
            let _ = write!(line, " {headers}");
        }
        let _ = write!(line, " {}", self.status.as_u16());
        if self.config.timing || self.is_session {
            let _ = write!(line, " {:.2}ms", self.milliseconds());
        }
        if self.is_session {
            let (bytes_in, bytes_out) = (self.traffic.bytes_in(), self.traffic.bytes_out());
            let _ = write!(line, " in: {bytes_in} out: {bytes_out}");
        }
        if let (true, Some(RequestId(id))) = (self.config.id, self.id) {
            let _ = write!(line, " id: {id}");
        }
        line
    }

    fn protocol(&self) -> &'static str {
        let version = http_version(self.version);
        match (self.is_secure, version) {
            (true, "2.0") => "HTTPS/2.0",
            (false, "2.0") => "HTTP/2.0",
            (true, "1.0") => "HTTPS/1.0",
            (false, "1.0") => "HTTP/1.0",
            (true, _) => "HTTPS/1.1",
            (false, _) => "HTTP/1.1",
        }
    }

    fn milliseconds(&self) -> f64 {
        self.arrived.elapsed().as_secs_f64() * 1000.0
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
        let entry = log.entry(&exchange, StatusCode::NO_CONTENT);
        assert_eq!(entry.line(), expected);
    }

    #[test]
    fn numbers_increase() {
        assert!(RequestId::next().as_u64() < RequestId::next().as_u64());
    }
}
