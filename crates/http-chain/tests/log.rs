//! What the request log says, through a subscriber.

use std::fmt::{Debug, Write as _};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use base::{ConnInfo, Shutdown, UpgradeTask};
use bytes::Bytes;
use http::{Method, StatusCode};
use http_chain::stages::{LogLevel, RequestLog, RequestLogConfig, RequestLogFormat};
use http_chain::{Body, Chain, Request, Response, Stage};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

/// Events as `LEVEL field=value …`, the message without its name.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<String>>>);

impl Captured {
    fn start() -> (Self, DefaultGuard) {
        let captured = Self::default();
        let subscriber = tracing_subscriber::registry().with(captured.clone());
        (captured, tracing::subscriber::set_default(subscriber))
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl<S: tracing::Subscriber> Layer<S> for Captured {
    fn on_event(&self, event: &tracing::Event<'_>, _context: Context<'_, S>) {
        if event.metadata().target() == "http" {
            let mut line = Line(event.metadata().level().to_string());
            event.record(&mut line);
            self.0.lock().unwrap().push(line.0);
        }
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => write!(self.0, " {value:?}").unwrap(),
            // The clock, and a counter that other tests share.
            "ms" | "id" => write!(self.0, " {}", field.name()).unwrap(),
            name => write!(self.0, " {name}={value:?}").unwrap(),
        }
    }
}

fn chain(config: RequestLogConfig) -> Chain {
    let handler = Stage::handler(|mut request: Request| async move {
        let status = request.pathname()[1..].parse().unwrap_or(200u16);
        let body = request.bytes(1000).await.unwrap();
        let rows = futures_util::stream::iter([Ok::<_, std::io::Error>(body)]);
        let body = match request.query() {
            Some("stream") => Body::from_stream(rows),
            _ => Body::from("12345"),
        };
        let status = StatusCode::from_u16(status).unwrap();
        ControlFlow::Break(Response::with_body(status, body))
    });
    Chain::new([
        ("log", Stage::gate(RequestLog::new(config))),
        ("handler", handler),
    ])
}

fn request(method: Method, url: &str, body: &'static str) -> Request {
    let mut request = Request::new(method, url).unwrap();
    request
        .extensions_mut()
        .insert(Arc::new(ConnInfo::loopback()));
    request.map_body(|_| Body::from(body));
    request
}

#[tokio::test]
async fn a12_the_level_selects_by_status_and_each_line_has_its_own() {
    for (level, expected) in [
        (
            LogLevel::Info,
            &[
                "INFO GET /200 HTTP/1.1 200",
                "WARN GET /404 HTTP/1.1 404",
                "ERROR GET /503 HTTP/1.1 503",
            ][..],
        ),
        (
            LogLevel::Warn,
            &["WARN GET /404 HTTP/1.1 404", "ERROR GET /503 HTTP/1.1 503"],
        ),
        (LogLevel::Error, &["ERROR GET /503 HTTP/1.1 503"]),
    ] {
        let (captured, _guard) = Captured::start();
        let chain = chain(RequestLogConfig {
            level,
            ..RequestLogConfig::default()
        });
        for url in ["/200", "/404", "/503"] {
            chain.answer(request(Method::GET, url, "")).await;
        }
        assert_eq!(captured.take(), expected);
    }
}

fn fields() -> RequestLogConfig {
    RequestLogConfig {
        format: RequestLogFormat::Fields,
        ..RequestLogConfig::default()
    }
}

#[tokio::test]
async fn an_entry_of_fields_is_written_when_the_body_has_ended_and_counts_it() {
    let (captured, _guard) = Captured::start();
    let chain = chain(fields());
    let response = chain
        .answer(request(Method::PUT, "/201?stream", "123"))
        .await;
    assert!(captured.take().is_empty());
    let body = response.into_body().collect(100).await.unwrap();
    assert_eq!(body, Bytes::from_static(b"123"));
    let expected = "INFO id worker=0 ip=127.0.0.1 method=\"PUT\" url=\"/201?stream\" proto=\"HTTP/1.1\" status=201 ms bytes_in=3 bytes_out=3";
    assert_eq!(captured.take(), [expected]);

    // A client that does not read to the end gets an entry as well.
    drop(chain.answer(request(Method::GET, "/200?stream", "")).await);
    assert_eq!(captured.take().len(), 1);
}

#[tokio::test]
async fn an_entry_of_fields_knows_the_bytes_of_a_body_in_memory_and_that_head_sends_none() {
    let (captured, _guard) = Captured::start();
    let chain = chain(fields());
    chain.answer(request(Method::GET, "/404", "")).await;
    chain.answer(request(Method::HEAD, "/200", "")).await;
    let lines = captured.take();
    assert!(
        lines[0].starts_with("WARN ") && lines[0].ends_with("bytes_out=5"),
        "{lines:?}"
    );
    assert!(lines[1].ends_with("bytes_out=0"), "{lines:?}");
}

#[tokio::test]
async fn a_session_is_logged_on_close_with_its_bytes() {
    for (format, start, end) in [
        (
            RequestLogFormat::Text,
            "INFO GET /ws HTTP/1.1 101 ",
            "ms in: 3 out: 4",
        ),
        (RequestLogFormat::Fields, "INFO ", "bytes_in=3 bytes_out=4"),
    ] {
        let (captured, _guard) = Captured::start();
        let handler = Stage::handler(|_: Request| async {
            let task = UpgradeTask::new(|mut io, _conn, _shutdown| async move {
                let mut buffer = [0; 3];
                io.read_exact(&mut buffer).await.unwrap();
                io.write_all(b"four").await.unwrap();
            });
            ControlFlow::Break(Response::upgrade(http::HeaderMap::new(), task))
        });
        let config = RequestLogConfig {
            format,
            ..RequestLogConfig::default()
        };
        let log = Stage::gate(RequestLog::new(config));
        let chain = Chain::new([("log", log), ("handler", handler)]);
        let response = chain.answer(request(Method::GET, "/ws", "")).await;
        assert!(captured.take().is_empty());
        let (mut client, server) = tokio::io::duplex(64);
        client.write_all(b"abc").await.unwrap();
        let conn = Arc::new(ConnInfo::loopback());
        let task = response.upgrade_task().unwrap();
        let session = task.start(Box::new(server), conn, Shutdown::new()).unwrap();
        session.await;
        let lines = captured.take();
        assert_eq!(lines.len(), 1);
        assert!(
            lines[0].starts_with(start) && lines[0].ends_with(end),
            "{lines:?}"
        );
    }
}

#[test]
fn an_answer_of_the_engine_is_logged_without_a_request() {
    let (captured, _guard) = Captured::start();
    let log = RequestLog::new(RequestLogConfig::default());
    log.log_refusal(&ConnInfo::loopback(), StatusCode::REQUEST_TIMEOUT, None);
    assert_eq!(captured.take(), ["WARN - - HTTP/1.1 408"]);
    let (head, ()) = http::Request::get("/a?b")
        .version(http::Version::HTTP_10)
        .body(())
        .unwrap()
        .into_parts();
    log.log_refusal(&ConnInfo::loopback(), StatusCode::BAD_REQUEST, Some(&head));
    assert_eq!(captured.take(), ["WARN GET /a?b HTTP/1.0 400"]);
}

#[tokio::test]
async fn a_client_that_leaves_before_the_head_is_an_entry_with_499() {
    for (config, line) in [
        (RequestLogConfig::default(), "WARN GET /stuck HTTP/1.1 499"),
        (
            fields(),
            "WARN id worker=0 ip=127.0.0.1 method=\"GET\" url=\"/stuck\" proto=\"HTTP/1.1\" status=499 ms bytes_in=0 bytes_out=0",
        ),
    ] {
        let (captured, _guard) = Captured::start();
        let stuck =
            Stage::handler(|_: Request| std::future::pending::<ControlFlow<Response, Request>>());
        let log = Stage::gate(RequestLog::new(config));
        let chain = Chain::new([("log", log), ("stuck", stuck)]);
        let mut answer = Box::pin(chain.answer(request(Method::GET, "/stuck", "")));
        assert!(futures_util::poll!(&mut answer).is_pending());
        assert!(captured.take().is_empty());
        drop(answer);
        assert_eq!(captured.take(), [line]);
    }
}
