//! `http`, checked.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use core_listener::ListenAddress;
use telemetry::LogLevel;

use super::logging::{LogFormat, level, log_format, log_path};
use super::values::{limit, list, ports, size};
use crate::config::file::{self, OneOrMany, RateLimitKey, SecurityHeaders, ThreadRange};
use crate::config::load::ConfigError;

/// `http`.
#[derive(Debug, Clone)]
pub struct Http {
    /// Plaintext port.
    pub port: Option<ListenAddress>,
    /// TLS port.
    pub secure_port: Option<ListenAddress>,
    /// Offer HTTP/2 on the TLS port.
    pub http2: bool,
    /// Accept HTTP/2 with prior knowledge on the plaintext port.
    pub http2_prior_knowledge: bool,
    /// WebSocket over HTTP/2.
    pub http2_web_socket: bool,
    /// Allowed origins, if cross-origin requests are answered.
    pub cors: Option<Cors>,
    /// Compression of answers; `None` is off.
    pub compression: Option<Compression>,
    /// Time limits of a connection.
    pub times: Times,
    /// Time for a TLS handshake.
    pub tls_handshake_timeout: Duration,
    /// Time a handler may take.
    pub handler_timeout: Option<Duration>,
    /// Bytes of a head.
    pub max_header_bytes: u32,
    /// Bytes of a body.
    pub max_body_bytes: u64,
    /// Connections at one time.
    pub max_connections: Option<u32>,
    /// Requests handled at one time on one worker.
    pub max_requests_in_flight: Option<NonZeroU32>,
    /// Requests of one client.
    pub rate_limit: Option<RateLimit>,
    /// Networks of proxies that are believed.
    pub trusted_proxies: Vec<String>,
    /// Answer with `Server-Timing`.
    pub server_timing: bool,
    /// Value of `Server`.
    pub server_header: Option<String>,
    /// Answer with `X-Request-Id`.
    pub request_id: bool,
    /// Fields that tell browsers to be careful.
    pub security_headers: Option<SecurityHeaders>,
    /// The request log.
    pub request_log: Option<RequestLog>,
    /// The workers that open the application ports.
    pub workers: Option<RangeInclusive<u16>>,
}

/// Time limits of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// For a whole body.
    pub request: Duration,
    /// For a head.
    pub headers: Duration,
    /// An idle connection is kept.
    pub keep_alive: Duration,
    /// A write may wait in front of its handler.
    pub queue: Option<Duration>,
}

/// Cross-origin rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    /// Allowed origins; `None` is any.
    pub origins: Option<Vec<String>>,
    /// Value of `Access-Control-Allow-Headers`.
    pub allow_headers: String,
}

/// Compression of answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compression {
    /// Bodies longer than this.
    pub threshold_bytes: u64,
    /// Content codings in the order of preference.
    pub encodings: Vec<String>,
    /// Level of every coding.
    pub level: Option<u8>,
    /// Event streams, too.
    pub event_streams: bool,
}

/// Requests of one client in a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests in one interval.
    pub requests: NonZeroU32,
    /// The interval.
    pub interval: Duration,
    /// Requests at once.
    pub burst: NonZeroU32,
    /// By what clients are told apart.
    pub by: RateLimitKey,
    /// Clients remembered.
    pub max_clients: u32,
}

/// The request log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestLog {
    /// Least severe level; absent is that of the main log.
    pub level: Option<LogLevel>,
    /// A file of its own.
    pub file: Option<std::path::PathBuf>,
    /// Append the duration.
    pub timing: bool,
    /// Append the request fields.
    pub headers: bool,
    /// Append the number.
    pub id: bool,
    /// Text or JSON.
    pub format: LogFormat,
    /// Also to standard output; absent as the main log.
    pub std_streams: Option<bool>,
}

const ENCODINGS: [&str; 4] = ["br", "zstd", "gzip", "deflate"];

pub(super) fn check(
    http: &file::Http,
    root: &Path,
    warnings: &mut Vec<String>,
) -> Result<Http, ConfigError> {
    let (plain, secure) = ports("http", &http.port, &http.secure_port)?;
    if let Some(affinity) = &http.session_affinity {
        warnings.push(format!(
            "'http.sessionAffinity' is '{affinity}': deprecated and without effect; the kernel spreads connections over \
             the workers, and every worker gives the same answers"
        ));
    }
    Ok(Http {
        port: plain,
        secure_port: secure,
        http2: http.http2,
        http2_prior_knowledge: http.http2_prior_knowledge,
        http2_web_socket: http.http2_web_socket,
        cors: cors(
            http.cors,
            http.cors_access_list.as_ref(),
            &http.cors_access_control_allow_headers,
        ),
        compression: compression(http)?,
        times: Times {
            request: Duration::from_millis(http.timeout),
            headers: Duration::from_millis(http.headers_timeout),
            keep_alive: Duration::from_millis(http.keep_alive_timeout),
            queue: limit(http.request_queue_limit),
        },
        tls_handshake_timeout: Duration::from_millis(http.tls_handshake_timeout),
        handler_timeout: http.handler_timeout.and_then(limit),
        max_header_bytes: http.max_header_size,
        max_body_bytes: size("http.maxRequestBodySize", &http.max_request_body_size)?,
        max_connections: http.max_connections,
        max_requests_in_flight: http.max_requests_in_flight.and_then(NonZeroU32::new),
        rate_limit: rate_limit(http)?,
        trusted_proxies: http.trusted_proxies.clone(),
        server_timing: http.server_timing,
        server_header: http.server_header.clone(),
        request_id: http.request_id,
        security_headers: http.security_headers.section(),
        request_log: request_log(http, root)?,
        workers: http.thread_range.as_ref().map(workers).transpose()?,
    })
}

fn compression(http: &file::Http) -> Result<Option<Compression>, ConfigError> {
    let unknown = |name: &&String| !ENCODINGS.contains(&name.as_str());
    if let Some(name) = http.compression_encodings.iter().find(unknown) {
        let expected = format!("some of {}", ENCODINGS.join(", "));
        return Err(ConfigError::wrong(
            "http.compressionEncodings",
            name,
            expected,
        ));
    }
    Ok((http.compression_threshold > 0).then(|| Compression {
        threshold_bytes: http.compression_threshold,
        encodings: http.compression_encodings.clone(),
        level: http.compression_level,
        event_streams: http.compression_event_streams,
    }))
}

fn rate_limit(http: &file::Http) -> Result<Option<RateLimit>, ConfigError> {
    let Some(limit) = http.rate_limit.section() else {
        return Ok(None);
    };
    let positive = |key: &str, value: u32| {
        NonZeroU32::new(value).ok_or_else(|| ConfigError::wrong(key, value, "at least 1"))
    };
    if limit.interval == 0 {
        let expected = "at least 1 millisecond";
        return Err(ConfigError::wrong("http.rateLimit.interval", 0, expected));
    }
    Ok(Some(RateLimit {
        requests: positive("http.rateLimit.requests", limit.requests)?,
        interval: Duration::from_millis(limit.interval),
        burst: positive(
            "http.rateLimit.burst",
            limit.burst.unwrap_or(limit.requests),
        )?,
        by: limit.by,
        max_clients: positive("http.rateLimit.maxClients", limit.max_clients)?.get(),
    }))
}

fn request_log(http: &file::Http, root: &Path) -> Result<Option<RequestLog>, ConfigError> {
    let Some(logging) = &http.logging else {
        return Ok(None);
    };
    let key = "http.logging";
    Ok(Some(RequestLog {
        level: level(&format!("{key}.level"), logging.level.as_ref())?,
        file: log_path(logging.path.as_ref(), logging.root.as_ref(), "http", root),
        timing: logging.timing,
        headers: logging.headers,
        id: logging.id,
        format: log_format(&format!("{key}.format"), &logging.format)?,
        std_streams: logging.std_streams,
    }))
}

fn workers(range: &ThreadRange) -> Result<RangeInclusive<u16>, ConfigError> {
    let (first, last) = match range {
        ThreadRange::Pair([first, last]) => (Some(*first), Some(*last)),
        ThreadRange::Text(text) => match text.split_once('-') {
            Some((first, last)) => (first.trim().parse().ok(), last.trim().parse().ok()),
            None => (text.trim().parse().ok(), text.trim().parse().ok()),
        },
    };
    match (first, last) {
        (Some(first), Some(last)) if first <= last => Ok(first..=last),
        _ => {
            let shown = match range {
                ThreadRange::Text(text) => text.clone(),
                ThreadRange::Pair(pair) => format!("{pair:?}"),
            };
            let expected = "'first-last' or [first, last], counted from 0";
            Err(ConfigError::wrong("http.threadRange", shown, expected))
        }
    }
}

/// A list that is absent or has a `*` is any origin; a `null` in it is the origin `null` (K2).
pub(super) fn cors(
    enabled: bool,
    setting: Option<&OneOrMany>,
    allow_headers: &str,
) -> Option<Cors> {
    let origins = match setting {
        None => None,
        Some(OneOrMany::Many(origins)) => Some(
            origins
                .iter()
                .map(|origin| origin.clone().unwrap_or_else(|| "null".to_owned()))
                .collect(),
        ),
        text => Some(list(text)),
    };
    enabled.then(|| Cors {
        origins: origins.filter(|origins| !origins.iter().any(|origin| origin == "*")),
        allow_headers: allow_headers.to_owned(),
    })
}
