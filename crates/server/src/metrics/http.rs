//! Families of HTTP requests (`metrics-and-health.md` §3.2), laid out so that counting needs no look-up by text.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{Method, StatusCode, Version};
use resource::Registry;
use telemetry::Metrics;
use telemetry::metrics::{
    Buckets, Counter, CounterFamily, Family, Histogram, HistogramFamily, MetricError, TraceId,
    Unit, UpDown, UpDownFamily,
};

use super::routes::{Answerer, Failure, RouteId, Routes, Seen};
use crate::config;

const GROUP: &str = "http";

const REQUESTS: Family = Family::new(
    "http_requests_total",
    "Finished requests; code is aborted if the client went away before the head of the response",
)
.unit(Unit::Requests)
.group(GROUP)
.labels(&["method", "route", "code", "protocol"]);

const DURATION: Family = Family::new(
    "http_request_duration_seconds",
    "From the head of the request to the last byte of the response; streams are not counted",
)
.unit(Unit::Seconds)
.group(GROUP)
.labels(&["method", "route", "code_class"]);

const TTFB: Family = Family::new(
    "http_request_ttfb_seconds",
    "From the head of the request to the head of the response",
)
.unit(Unit::Seconds)
.group(GROUP)
.labels(&["method", "route"]);

const REQUEST_BYTES: Family = Family::new(
    "http_request_body_bytes",
    "Bodies of requests as they came over the wire",
)
.unit(Unit::Bytes)
.group(GROUP)
.labels(&["method", "route"]);

const RESPONSE_BYTES: Family = Family::new(
    "http_response_body_bytes",
    "Bodies of responses as they went over the wire; streams are not counted",
)
.unit(Unit::Bytes)
.group(GROUP)
.labels(&["method", "route"]);

const REQUEST_BYTES_TOTAL: Family = Family::new(
    "http_request_body_bytes_total",
    "Bytes of bodies of requests",
)
.unit(Unit::Bytes)
.group(GROUP)
.labels(&["route"]);

const RESPONSE_BYTES_TOTAL: Family = Family::new(
    "http_response_body_bytes_total",
    "Bytes of bodies of responses, streams included",
)
.unit(Unit::Bytes)
.group(GROUP)
.labels(&["route"]);

const NOT_MODIFIED: Family = Family::new("http_not_modified_total", "Answers 304")
    .unit(Unit::Requests)
    .group(GROUP)
    .labels(&["route"]);

const RANGES: Family = Family::new("http_range_requests_total", "Requests with a Range")
    .unit(Unit::Requests)
    .group(GROUP)
    .labels(&["result"]);

const REJECTED: Family = Family::new(
    "http_requests_rejected_total",
    "Requests that were refused before a handler saw them",
)
.unit(Unit::Requests)
.group(GROUP)
.labels(&["reason"]);

const PANICS: Family = Family::new(
    "http_handler_panics_total",
    "Handlers that failed, for which the answer is 500",
)
.unit(Unit::Requests)
.group(GROUP)
.labels(&["route"]);

const TIMEOUTS: Family = Family::new(
    "http_handler_timeouts_total",
    "Handlers that took longer than they may",
)
.unit(Unit::Requests)
.group(GROUP)
.labels(&["route"]);

const COMPRESSION: Family = Family::new(
    "http_compression_bytes_total",
    "Bytes of responses that were compressed, before (in) and after (out)",
)
.unit(Unit::Bytes)
.group(GROUP)
.labels(&["encoding", "direction"]);

const CONTINUES: Family = Family::new(
    "http_continue_sent_total",
    "Clients that were told to go on with their body (100 Continue)",
)
.unit(Unit::Requests)
.group(GROUP);

const DENIED: Family = Family::new(
    "auth_denied_total",
    "Requests that permissions refused (403); those for an attribute count for its table",
)
.unit(Unit::Requests)
.group("auth")
.labels(&["kind"]);

const IN_FLIGHT: Family = Family::new("http_requests_in_flight", "Requests that are being handled")
    .unit(Unit::Requests)
    .group(GROUP)
    .labels(&["listener"]);

const METHODS: [&str; 11] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "QUERY",
    "OTHER",
];

const PROTOCOLS: [&str; 3] = ["1.0", "1.1", "2"];

/// Codes with a place of their own; the rest is rare enough to be looked up. The first is `aborted`.
const CODES: [u16; 41] = [
    0, 101, 200, 201, 202, 203, 204, 205, 206, 207, 300, 301, 302, 303, 304, 307, 308, 400, 401,
    403, 404, 405, 406, 408, 409, 411, 412, 413, 414, 415, 416, 417, 421, 422, 429, 431, 500, 501,
    503, 505, 507,
];

const CODE_CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

const RANGE_RESULTS: [&str; 3] = ["partial", "unsatisfiable", "ignored"];

/// Why a stage at the edge refused a request, by the status it answered.
const REJECTIONS: [(u16, &str); 12] = [
    (400, "bad_request"),
    (401, "unauthorized"),
    (408, "timeout"),
    (413, "body_too_large"),
    (414, "header_too_large"),
    (417, "expectation"),
    (421, "bad_request"),
    (429, "rate_limit"),
    (431, "header_too_large"),
    (501, "bad_request"),
    (503, "overload"),
    (505, "bad_request"),
];

/// Method and protocol of a request as indices.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    method: u8,
    protocol: u8,
}

impl Form {
    pub(super) fn of(method: &Method, version: Version) -> Self {
        let method = match *method {
            Method::GET => 0,
            Method::HEAD => 1,
            Method::POST => 2,
            Method::PUT => 3,
            Method::PATCH => 4,
            Method::DELETE => 5,
            Method::OPTIONS => 6,
            Method::CONNECT => 7,
            Method::TRACE => 8,
            ref other if other.as_str() == "QUERY" => 9,
            _ => 10,
        };
        let protocol = match version {
            Version::HTTP_10 => 0,
            Version::HTTP_2 => 2,
            _ => 1,
        };
        Self { method, protocol }
    }

    fn method(self) -> &'static str {
        METHODS[usize::from(self.method)]
    }

    fn protocol(self) -> &'static str {
        PROTOCOLS[usize::from(self.protocol)]
    }
}

/// What became of a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outcome {
    pub(super) form: Form,
    pub(super) route: RouteId,
    /// `None`: the client went away before there was one.
    pub(super) status: Option<StatusCode>,
    /// An event stream, or a connection that became another protocol.
    pub(super) is_stream: bool,
    pub(super) ttfb: Duration,
    pub(super) duration: Duration,
    pub(super) request_bytes: u64,
    pub(super) response_bytes: u64,
    pub(super) has_range: bool,
    pub(super) trace: Option<TraceId>,
    pub(super) seen: Seen,
    /// Index of the coding of a compressed response, and its bytes before.
    pub(super) compressed: Option<(usize, u64)>,
}

/// Content codings, by index.
pub(super) struct Coded;

impl Coded {
    const NAMES: [&str; 4] = ["br", "zstd", "gzip", "deflate"];

    /// The index of a value of `Content-Encoding`.
    pub(super) fn of(value: &[u8]) -> Option<usize> {
        Self::NAMES.iter().position(|name| name.as_bytes() == value)
    }
}

/// The families, and the cells of every route.
pub(super) struct HttpMetrics {
    families: Families,
    routes: Routes,
    ranges: [Counter; RANGE_RESULTS.len()],
    rejections: [Counter; REJECTIONS.len()],
    /// Bytes before and after, for each coding.
    compression: [[Counter; 2]; Coded::NAMES.len()],
    continues: Counter,
    /// Tables, and operations.
    denied: [Counter; 2],
}

struct Families {
    requests: CounterFamily,
    duration: HistogramFamily,
    ttfb: HistogramFamily,
    request_bytes: HistogramFamily,
    response_bytes: HistogramFamily,
    request_bytes_total: CounterFamily,
    response_bytes_total: CounterFamily,
    not_modified: CounterFamily,
    panics: CounterFamily,
    timeouts: CounterFamily,
    in_flight: UpDownFamily,
}

/// Cells of one route.
pub(super) struct RouteCells {
    label: Box<str>,
    methods: [OnceLock<Box<MethodCells>>; METHODS.len()],
    request_bytes: OnceLock<Counter>,
    response_bytes: OnceLock<Counter>,
    not_modified: OnceLock<Counter>,
}

/// Cells of one route and method, each made at its first use.
struct MethodCells {
    requests: [[OnceLock<Counter>; CODES.len()]; PROTOCOLS.len()],
    duration: [OnceLock<Histogram>; CODE_CLASSES.len()],
    ttfb: Histogram,
    request_bytes: Histogram,
    response_bytes: Histogram,
}

impl HttpMetrics {
    pub(super) fn register(
        registry: &Metrics,
        exports: Arc<Registry>,
        config: &config::Metrics,
    ) -> Result<Self, MetricError> {
        let bounds = |family: &str| config.buckets.get(family);
        let seconds = |family| match bounds(family) {
            Some(bounds) => Buckets::seconds(bounds),
            None => Buckets::request_seconds(),
        };
        let bytes = |family| match bounds(family) {
            Some(bounds) => {
                let whole: Vec<u64> = bounds.iter().map(|bound| *bound as u64).collect();
                Buckets::whole(&whole)
            }
            None => Buckets::bytes(),
        };
        let families = Families {
            requests: registry.counter(REQUESTS)?,
            duration: registry.histogram(DURATION, seconds("http_request_duration_seconds"))?,
            ttfb: registry.histogram(TTFB, seconds("http_request_ttfb_seconds"))?,
            request_bytes: registry.histogram(REQUEST_BYTES, bytes("http_request_body_bytes"))?,
            response_bytes: registry
                .histogram(RESPONSE_BYTES, bytes("http_response_body_bytes"))?,
            request_bytes_total: registry.counter(REQUEST_BYTES_TOTAL)?,
            response_bytes_total: registry.counter(RESPONSE_BYTES_TOTAL)?,
            not_modified: registry.counter(NOT_MODIFIED)?,
            panics: registry.counter(PANICS)?,
            timeouts: registry.counter(TIMEOUTS)?,
            in_flight: registry.up_down(IN_FLIGHT)?,
        };
        let ranges = registry.counter(RANGES)?;
        let rejections = registry.counter(REJECTED)?;
        let compression = registry.counter(COMPRESSION)?;
        let denied = registry.counter(DENIED)?;
        // Present from the start, so that a rate sees the first increase.
        rejections.series(&["draining"]);
        Ok(Self {
            families,
            routes: Routes::new(exports, config.max_series_per_family, RouteCells::new),
            ranges: RANGE_RESULTS.map(|result| ranges.series(&[result])),
            rejections: REJECTIONS.map(|(_, reason)| rejections.series(&[reason])),
            compression: Coded::NAMES
                .map(|coding| ["in", "out"].map(|way| compression.series(&[coding, way]))),
            continues: registry.counter(CONTINUES)?.series(&[]),
            denied: ["table", "operation"].map(|kind| denied.series(&[kind])),
        })
    }

    pub(super) fn in_flight(&self, listener: &str) -> UpDown {
        self.families.in_flight.series(&[listener])
    }

    /// Counts clients that are told to go on.
    pub(super) fn continues(&self) -> &Counter {
        &self.continues
    }

    /// The route of the resource that a path leads to.
    pub(super) fn resource_route(&self, path: &str) -> Option<RouteId> {
        self.routes.resource(path, RouteCells::new)
    }

    /// Counts a request that has ended.
    pub(super) fn count(&self, outcome: &Outcome) {
        let route = self.routes.cells(outcome.route);
        let method = route.method(outcome.form, &self.families);
        self.count_request(route, method, outcome);
        method.request_bytes.observe_units(outcome.request_bytes);
        if outcome.request_bytes > 0 {
            self.request_bytes_total(route).add(outcome.request_bytes);
        }
        if outcome.response_bytes > 0 {
            self.response_bytes_total(route).add(outcome.response_bytes);
        }
        let Some(status) = outcome.status else { return };
        method.ttfb.observe(outcome.ttfb);
        if !outcome.is_stream {
            method.response_bytes.observe_units(outcome.response_bytes);
            let class = usize::from(status.as_u16() / 100).clamp(1, CODE_CLASSES.len()) - 1;
            let duration = method.duration[class].get_or_init(|| {
                let values = [outcome.form.method(), &route.label, CODE_CLASSES[class]];
                self.families.duration.series(&values)
            });
            match outcome.trace {
                Some(trace) => duration.observe_in_trace(outcome.duration, trace),
                None => duration.observe(outcome.duration),
            }
        }
        if let Some((coding, before)) = outcome.compressed {
            let [bytes_in, bytes_out] = &self.compression[coding];
            bytes_in.add(before);
            bytes_out.add(outcome.response_bytes);
        }
        self.count_rare(route, status, outcome);
    }

    fn count_request(&self, route: &RouteCells, method: &MethodCells, outcome: &Outcome) {
        let code = outcome.status.map_or(0, |status| status.as_u16());
        let make = || {
            let code = match code {
                0 => "aborted".to_owned(),
                code => code.to_string(),
            };
            let form = outcome.form;
            let values = [form.method(), &*route.label, &code, form.protocol()];
            self.families.requests.series(&values)
        };
        match CODES.binary_search(&code) {
            Ok(at) => method.requests[usize::from(outcome.form.protocol)][at]
                .get_or_init(make)
                .increment(),
            Err(_) => make().increment(),
        }
    }

    /// Counts an answer that no handler gave.
    pub(super) fn count_refusal(&self, status: StatusCode) {
        let at = REJECTIONS
            .iter()
            .position(|(code, _)| *code == status.as_u16());
        if let Some(at) = at {
            self.rejections[at].increment();
        }
    }

    fn count_rare(&self, route: &RouteCells, status: StatusCode, outcome: &Outcome) {
        if status == StatusCode::NOT_MODIFIED {
            let family = &self.families.not_modified;
            let counter = route
                .not_modified
                .get_or_init(|| family.series(&[&route.label]));
            counter.increment();
        }
        if outcome.has_range {
            let result = match status {
                StatusCode::PARTIAL_CONTENT => Some(0),
                StatusCode::RANGE_NOT_SATISFIABLE => Some(1),
                StatusCode::OK => Some(2),
                _ => None,
            };
            if let Some(at) = result {
                self.ranges[at].increment();
            }
        }
        let Seen { answerer, failure } = outcome.seen;
        if answerer == Answerer::Nobody {
            self.count_refusal(status);
        }
        if status == StatusCode::FORBIDDEN {
            match answerer {
                Answerer::Resource => self.denied[0].increment(),
                Answerer::Operations => self.denied[1].increment(),
                _ => {}
            }
        }
        // Rare enough to be looked up.
        match failure {
            Some(Failure::Panic) if status == StatusCode::INTERNAL_SERVER_ERROR => {
                self.families.panics.series(&[&route.label]).increment();
            }
            Some(Failure::Timeout) => self.families.timeouts.series(&[&route.label]).increment(),
            _ => {}
        }
    }

    fn request_bytes_total<'r>(&self, route: &'r RouteCells) -> &'r Counter {
        let family = &self.families.request_bytes_total;
        route
            .request_bytes
            .get_or_init(|| family.series(&[&route.label]))
    }

    fn response_bytes_total<'r>(&self, route: &'r RouteCells) -> &'r Counter {
        let family = &self.families.response_bytes_total;
        route
            .response_bytes
            .get_or_init(|| family.series(&[&route.label]))
    }
}

impl RouteCells {
    fn new(label: &str) -> Self {
        Self {
            label: Box::from(label),
            methods: Default::default(),
            request_bytes: OnceLock::new(),
            response_bytes: OnceLock::new(),
            not_modified: OnceLock::new(),
        }
    }

    fn method(&self, form: Form, families: &Families) -> &MethodCells {
        self.methods[usize::from(form.method)].get_or_init(|| {
            let values = [form.method(), &*self.label];
            Box::new(MethodCells {
                requests: std::array::from_fn(|_| std::array::from_fn(|_| OnceLock::new())),
                duration: Default::default(),
                ttfb: families.ttfb.series(&values),
                request_bytes: families.request_bytes.series(&values),
                response_bytes: families.response_bytes.series(&values),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted_so_that_they_are_found() {
        assert!(CODES.is_sorted());
        assert!(REJECTIONS.iter().all(|(code, _)| CODES.contains(code)));
    }

    #[test]
    fn methods_keep_their_names() {
        for (at, name) in METHODS.iter().enumerate().take(METHODS.len() - 1) {
            let method = Method::from_bytes(name.as_bytes()).unwrap();
            assert_eq!(usize::from(Form::of(&method, Version::HTTP_11).method), at);
        }
        let unknown = Method::from_bytes(b"BREW").unwrap();
        assert_eq!(Form::of(&unknown, Version::HTTP_2).method(), "OTHER");
    }
}
