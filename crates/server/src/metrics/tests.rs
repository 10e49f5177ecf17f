//! Requests through small chains, and what is counted of them.

use std::future::{pending, poll_fn};
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body::Body as _;
use http_chain::compression::{Compression, CompressionConfig};
use http_chain::stages::HandlerTimeout;
use http_chain::{Body, Chain, Request, Response, Stage};
use resource::{Exposure, Methods, Registry, Resource};
use telemetry::metrics::render;
use tower_service::Service as _;

use super::{Answered, Answerer, AroundTimeout, BeforeCompression, ServerMetrics};
use crate::config::{self, Config, Mode, Sources};

struct Dog;

impl Resource for Dog {
    fn name(&self) -> &str {
        "Dog"
    }
    fn methods(&self) -> Methods {
        Methods::NONE
    }
}

fn config(text: &str) -> Result<Config, config::ConfigError> {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("motet.yaml"), text).unwrap();
    let sources = Sources {
        environment: vec![("ROOTPATH".to_owned(), root.path().display().to_string())],
        ..Sources::default()
    };
    config::load(Mode::Dev, &sources)
}

fn metrics(text: &str) -> Arc<ServerMetrics> {
    let exports = Arc::new(Registry::new());
    exports.export("Dog", Arc::new(Dog), Exposure::default());
    ServerMetrics::new(&config(text).unwrap(), exports).unwrap()
}

fn openmetrics(metrics: &ServerMetrics) -> String {
    let mut text = String::new();
    render::openmetrics(&metrics.registry.snapshot(), "", None, &mut text);
    text
}

#[track_caller]
fn assert_line(metrics: &ServerMetrics, line: &str) {
    let text = openmetrics(metrics);
    assert!(text.lines().any(|one| one == line), "{line} in\n{text}");
}

fn resource<F, Fut>(answer: F) -> (&'static str, Stage)
where
    F: Fn(Request) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ControlFlow<Response, Request>> + Send + 'static,
{
    let handler = Answered::by(Answerer::Resource, answer);
    ("rest", Stage::handler(handler))
}

/// One GET to the end of its response.
async fn get<const N: usize>(
    metrics: &ServerMetrics,
    stages: [(&'static str, Stage); N],
    headers: HeaderMap,
) -> StatusCode {
    let mut service = metrics.measured("http.port", Chain::new(stages));
    let mut request = http::Request::get("/Dog/1").body(Body::Empty).unwrap();
    *request.headers_mut() = headers;
    let response = service.call(request).await.unwrap();
    let (head, mut body) = response.into_parts();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        frame.unwrap();
    }
    head.status
}

#[tokio::test]
async fn a_handler_that_panics_is_counted_once_and_one_that_answers_500_is_not() {
    let metrics = metrics("");
    let fails = resource(|_| async {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        ControlFlow::Break(Response::new(status))
    });
    get(&metrics, [fails], HeaderMap::new()).await;
    assert!(!openmetrics(&metrics).contains("http_handler_panics_total{"));
    let panics = resource(|_| async { panic!("on purpose") });
    let status = get(&metrics, [panics], HeaderMap::new()).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_line(&metrics, "http_handler_panics_total{route=\"/Dog/\"} 1");
}

#[tokio::test]
async fn a_handler_that_takes_too_long_is_counted_for_its_route() {
    let metrics = metrics("");
    let limit = Duration::from_millis(5);
    let stages = [
        ("late", Stage::gate(AroundTimeout::new(limit))),
        ("timeout", Stage::wrap(HandlerTimeout::new(limit))),
        resource(|_| pending()),
    ];
    let status = get(&metrics, stages, HeaderMap::new()).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_line(&metrics, "http_handler_timeouts_total{route=\"/Dog/\"} 1");
    // It is no refusal: a handler saw it.
    assert_line(
        &metrics,
        "http_requests_rejected_total{reason=\"overload\"} 0",
    );
}

#[tokio::test]
async fn compressed_bytes_are_counted_before_and_after_whole_or_streamed() {
    let metrics = metrics("");
    let whole = || Body::from(vec![b'a'; 10_000]);
    let streamed = || {
        let chunk = Ok::<_, std::io::Error>(vec![b'a'; 10_000].into());
        Body::from_stream(futures_util::stream::iter([chunk]))
    };
    let bodies: [fn() -> Body; 2] = [whole, streamed];
    for body in bodies {
        let compression = Compression::new(CompressionConfig::default());
        let stages = [
            ("compression", Stage::gate(compression)),
            ("uncompressed", Stage::gate(BeforeCompression::new(1200))),
            resource(move |_| async move {
                let response = Response::with_body(StatusCode::OK, body());
                ControlFlow::Break(response)
            }),
        ];
        let gzip = [(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"))];
        get(&metrics, stages, gzip.into_iter().collect()).await;
    }
    assert_line(
        &metrics,
        "http_compression_bytes_total{direction=\"in\",encoding=\"gzip\"} 20000",
    );
    let text = openmetrics(&metrics);
    let after = "http_compression_bytes_total{direction=\"out\",encoding=\"gzip\"} ";
    let after = text.lines().find_map(|line| line.strip_prefix(after));
    let after: u64 = after.unwrap().parse().unwrap();
    assert!((1..2000).contains(&after), "{after}");
}

#[tokio::test]
async fn a_request_of_a_trace_is_the_exemplar_of_its_bucket() {
    let metrics = metrics("");
    let answers = || resource(|_| async { ControlFlow::Break(Response::from("hello")) });
    get(&metrics, [answers()], HeaderMap::new()).await;
    assert!(!openmetrics(&metrics).contains("trace_id"));
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", HeaderValue::from_static(parent));
    get(&metrics, [answers()], headers).await;
    let text = openmetrics(&metrics);
    let mut examples = text.lines().filter(|line| line.contains(" # {"));
    let example = examples.next().unwrap();
    assert!(
        example.starts_with("http_request_duration_seconds_bucket{"),
        "{example}"
    );
    let trace = "# {trace_id=\"4bf92f3577b34da6a3ce929d0e0e4736\"} ";
    assert!(example.contains(trace), "{example}");
    assert_eq!(examples.next(), None);
}

#[tokio::test]
async fn bounds_of_histograms_can_be_set_and_wrong_ones_stop_the_start() {
    let set = "metrics:\n  buckets:\n    http_request_ttfb_seconds: [0.5, 2]\n    http_response_body_bytes: [3, 100]\n";
    let metrics = metrics(set);
    let answers = resource(|_| async { ControlFlow::Break(Response::from("hello")) });
    get(&metrics, [answers], HeaderMap::new()).await;
    for line in [
        "http_request_ttfb_seconds_bucket{method=\"GET\",route=\"/Dog/\",le=\"0.5\"} 1",
        "http_request_ttfb_seconds_bucket{method=\"GET\",route=\"/Dog/\",le=\"2\"} 1",
        "http_response_body_bytes_bucket{method=\"GET\",route=\"/Dog/\",le=\"3\"} 0",
        "http_response_body_bytes_bucket{method=\"GET\",route=\"/Dog/\",le=\"100\"} 1",
        "http_request_body_bytes_bucket{method=\"GET\",route=\"/Dog/\",le=\"256\"} 1",
    ] {
        assert_line(&metrics, line);
    }
    for (wrong, named) in [
        ("http_request_ttfb_seconds: [2, 1]", "ascending"),
        ("http_request_ttfb_seconds: []", "1 to 50"),
        ("http_response_body_bytes: [1.5]", "whole numbers"),
        ("http_requests: [1]", "http_request_duration_seconds"),
    ] {
        let error = config(&format!("metrics:\n  buckets:\n    {wrong}\n")).unwrap_err();
        let error = error.to_string();
        let is_told = error.contains("metrics.buckets") && error.contains(named);
        assert!(is_told, "{wrong}: {error}");
    }
}
