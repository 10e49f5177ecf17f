//! The measuring point of requests: a service around the chain of a port.
//!
//! It stands outside every stage, so that it sees what the listener sees: bytes after compression, clients that go
//! away, answers that no handler gave. For a request without a body it allocates nothing.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use base::UpgradeTask;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Version, header};
use http_body::{Body, Frame, SizeHint};
use telemetry::metrics::{Counter, TraceId, UpDown};
use tower_service::Service;

use super::http::{Coded, Form, HttpMetrics, Outcome};
use super::routes::{RouteId, Seen};
use super::stages::Uncompressed;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Counts what a service answers.
#[derive(Debug, Clone)]
pub struct Measured<S> {
    service: S,
    point: Arc<Point>,
}

/// What the requests of one listener on one worker share. Its count of references stays on that worker.
struct Point {
    metrics: Arc<HttpMetrics>,
    in_flight: UpDown,
}

impl std::fmt::Debug for Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Point")
    }
}

impl<S> Measured<S> {
    pub(super) fn new(metrics: &Arc<HttpMetrics>, listener: &str, service: S) -> Self {
        Self {
            service,
            point: Arc::new(Point {
                metrics: Arc::clone(metrics),
                in_flight: metrics.in_flight(listener),
            }),
        }
    }
}

impl<S, I, O> Service<Request<I>> for Measured<S>
where
    S: Service<Request<CountedBody<I>>, Response = Response<O>, Error = Infallible>,
    S::Future: Unpin,
    I: Body<Data = Bytes>,
    O: Body<Data = Bytes> + Unpin,
{
    type Response = Response<MeasuredBody<O>>;
    type Error = Infallible;
    type Future = Answering<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, request: Request<I>) -> Self::Future {
        let mut measurement = Measurement::begin(Arc::clone(&self.point), &request);
        let has_body = !request.body().is_end_stream();
        let continued = (has_body && expects_continue(&request))
            .then(|| self.point.metrics.continues().clone());
        if has_body {
            measurement.request_bytes = Some(Arc::default());
        }
        let request = request.map(|body| CountedBody {
            body,
            bytes: measurement.request_bytes.clone(),
            continued,
        });
        Answering {
            answer: self.service.call(request),
            measurement: Some(measurement),
        }
    }
}

/// A request from its head to its end; counts when it is dropped.
struct Measurement {
    point: Arc<Point>,
    form: Form,
    began: Instant,
    resource: Option<RouteId>,
    has_range: bool,
    trace: Option<TraceId>,
    seen: Seen,
    head: Option<Head>,
    has_body: bool,
    /// The coding of a compressed response, and what it was compressed from.
    compressed: Option<(usize, Uncompressed)>,
    request_bytes: Option<Arc<AtomicU64>>,
    response_bytes: u64,
}

/// What the head of the response said.
#[derive(Clone, Copy)]
struct Head {
    status: StatusCode,
    sent: Instant,
    is_upgrade: bool,
    is_event_stream: bool,
}

impl Measurement {
    fn begin<B>(point: Arc<Point>, request: &Request<B>) -> Self {
        point.in_flight.add(1);
        Self {
            form: Form::of(request.method(), request.version()),
            began: Instant::now(),
            resource: point.metrics.resource_route(request.uri().path()),
            has_range: request.headers().contains_key(header::RANGE),
            trace: trace(request.headers()),
            seen: Seen::NOTHING,
            head: None,
            // A client that goes away before the head does so at some time.
            has_body: true,
            compressed: None,
            request_bytes: None,
            response_bytes: 0,
            point,
        }
    }

    fn answered<B>(&mut self, response: &mut Response<B>) {
        // Most have no extensions, which is quicker to see than that one of them is missing.
        if !response.extensions().is_empty()
            && let Some(uncompressed) = response.extensions_mut().remove::<Uncompressed>()
        {
            let coding = response.headers().get(header::CONTENT_ENCODING);
            let coding = coding.and_then(|coding| Coded::of(coding.as_bytes()));
            self.compressed = coding.map(|coding| (coding, uncompressed));
        }
        let is_event_stream = response
            .headers()
            .get(header::CONTENT_TYPE)
            .is_some_and(is_event_stream);
        self.head = Some(Head {
            status: response.status(),
            sent: Instant::now(),
            is_upgrade: response.extensions().get::<UpgradeTask>().is_some(),
            is_event_stream,
        });
    }
}

/// The trace that a client or proxy has begun.
fn trace(headers: &HeaderMap) -> Option<TraceId> {
    TraceId::of_traceparent(headers.get(TRACEPARENT)?.to_str().ok()?)
}

/// Whether the engine sends 100 when the body is first asked for: HTTP/2 clients are not kept waiting.
fn expects_continue<B>(request: &Request<B>) -> bool {
    let expect = request.headers().get(header::EXPECT);
    request.version() == Version::HTTP_11
        && expect.is_some_and(|expect| expect.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

fn is_event_stream(content_type: &HeaderValue) -> bool {
    content_type.as_bytes().starts_with(b"text/event-stream")
}

impl Drop for Measurement {
    fn drop(&mut self) {
        self.point.in_flight.add(-1);
        let is_upgrade = self.head.is_some_and(|head| head.is_upgrade);
        let sent = self.head.map_or(self.began, |head| head.sent);
        // Without a body the head is the end, and the clock need not be read again.
        let ended = match self.has_body {
            true => Instant::now(),
            false => sent,
        };
        let compressed = self.compressed.as_ref();
        let request_bytes = self.request_bytes.as_ref();
        self.point.metrics.count(&Outcome {
            form: self.form,
            route: RouteId::of(self.seen.answerer, self.resource, is_upgrade),
            status: self.head.map(|head| head.status),
            is_stream: self
                .head
                .is_some_and(|head| head.is_upgrade || head.is_event_stream),
            ttfb: sent.duration_since(self.began),
            duration: ended.duration_since(self.began),
            request_bytes: request_bytes.map_or(0, |bytes| bytes.load(Ordering::Relaxed)),
            response_bytes: self.response_bytes,
            has_range: self.has_range,
            trace: self.trace,
            seen: self.seen,
            compressed: compressed.map(|(coding, from)| (*coding, from.bytes())),
        });
    }
}

/// A response in the making. Dropping it counts the request as `aborted`.
pub struct Answering<F> {
    answer: F,
    measurement: Option<Measurement>,
}

impl<F, O> Future for Answering<F>
where
    F: Future<Output = Result<Response<O>, Infallible>> + Unpin,
    O: Body<Data = Bytes> + Unpin,
{
    type Output = Result<Response<MeasuredBody<O>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let so_far = this
            .measurement
            .as_ref()
            .map_or(Seen::NOTHING, |measurement| measurement.seen);
        let (polled, seen) = so_far.during(|| Pin::new(&mut this.answer).poll(cx));
        if let Some(measurement) = &mut this.measurement {
            measurement.seen = seen;
        }
        let Ok(mut response) = ready!(polled);
        let has_body = !response.body().is_end_stream();
        if let Some(measurement) = &mut this.measurement {
            measurement.answered(&mut response);
            measurement.has_body = has_body;
        }
        // An empty body is never polled, and its request ends here.
        let measurement = this.measurement.take().filter(|_| has_body);
        Poll::Ready(Ok(response.map(|body| MeasuredBody { body, measurement })))
    }
}

/// The body of a response; the request ends with it.
pub struct MeasuredBody<B> {
    body: B,
    measurement: Option<Measurement>,
}

impl<B: Body<Data = Bytes> + Unpin> Body for MeasuredBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        if let Some(measurement) = &mut this.measurement {
            measurement.response_bytes += data_bytes(&frame);
        }
        if frame.is_none() || this.body.is_end_stream() {
            this.measurement = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

pin_project_lite::pin_project! {
    /// The body of a request.
    pub struct CountedBody<B> {
        #[pin]
        body: B,
        bytes: Option<Arc<AtomicU64>>,
        // Counts when the client that waits for it is told to go on.
        continued: Option<Counter>,
    }
}

impl<B: Body<Data = Bytes>> Body for CountedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        if let Some(continued) = this.continued.take() {
            continued.increment();
        }
        let frame = ready!(this.body.poll_frame(cx));
        if let Some(bytes) = this.bytes {
            bytes.fetch_add(data_bytes(&frame), Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn data_bytes<E>(frame: &Option<Result<Frame<Bytes>, E>>) -> u64 {
    let data = frame
        .as_ref()
        .and_then(|frame| frame.as_ref().ok()?.data_ref());
    data.map_or(0, |data| data.len() as u64)
}
