//! What surrounds the handlers of every port: logs, limits, fields of responses, compression.
//!
//! The order is that of processing; each stage says where it belongs.

use std::num::NonZeroUsize;
use std::time::Duration;

use anyhow::Context as _;
use http::{HeaderValue, header};
use http_chain::coding::ContentCoding;
use http_chain::compression::{Compression, CompressionConfig, RequestDecoding};
use http_chain::stages::{
    BodyLimit, DefaultFields, HandlerTimeout, HostCheck, InFlightLimit,
    LogLevel as RequestLogLevel, RateLimit, RateLimitConfig, RateLimitKey, RequestLog,
    RequestLogConfig, RequestLogFormat, SecurityHeaders, SecurityHeadersConfig, ServerOptions,
    ServerTiming, TrustedProxies, WriteQueue, WriteQueueConfig,
};
use http_chain::{Chains, Ports, Stage};
use telemetry::LogLevel;

use crate::chains::operations_ports;
use crate::config::{self, Config, file};

/// Bytes of a body on the operations ports (`operations-api.md` §1).
const OPERATIONS_BODY_BYTES: u64 = 1 << 30;

/// Registers the stages that surround everything, probes excepted.
///
/// # Errors
///
/// If a setting is no header value, or a network.
pub fn register(chains: &mut Chains, config: &Config) -> anyhow::Result<()> {
    let http = &config.http;
    if !http.trusted_proxies.is_empty() {
        let proxies = TrustedProxies::parse(&http.trusted_proxies)
            .context("'http.trustedProxies': expected addresses or networks such as 10.0.0.0/8")?;
        chains.edge(Ports::All, "proxies", Stage::gate(proxies));
    }
    if let Some(requests) = &http.request_log {
        // Outside the limits, so that every answer is logged, whoever gave it.
        let log = RequestLog::new(request_log(requests, config));
        chains.edge(Ports::All, "log", Stage::gate(log));
    }
    register_limits(chains, config)?;
    // Before anything uses the host.
    chains.edge(Ports::All, "host", Stage::gate(HostCheck));
    chains.edge(Ports::All, "options", Stage::gate(ServerOptions::default()));
    register_fields(chains, config)?;
    if let Some(compression) = &http.compression {
        let compression = Compression::new(compression_config(compression));
        chains.edge(Ports::All, "compression", Stage::gate(compression));
    }
    // Outside the limits of bodies, which count inflated bytes.
    chains.edge(Ports::All, "decoding", Stage::gate(RequestDecoding));
    let body = BodyLimit::new(http.max_body_bytes);
    chains.edge(Ports::application(), "body limit", Stage::gate(body));
    let body = BodyLimit::new(OPERATIONS_BODY_BYTES);
    chains.edge(operations_ports(), "body limit", Stage::gate(body));
    Ok(())
}

/// Registers what measures and limits the handlers behind authentication.
pub fn register_inner(chains: &mut Chains, config: &Config) -> anyhow::Result<()> {
    let http = &config.http;
    if let Some(limit) = http.rate_limit
        && limit.by == file::RateLimitKey::User
    {
        let limit = RateLimit::new(rate_limit(limit))?;
        chains.last(Ports::application(), "rate limit", Stage::gate(limit));
    }
    if let Some(limit) = http.handler_timeout {
        let timeout = HandlerTimeout::new(limit);
        chains.last(Ports::application(), "timeout", Stage::wrap(timeout));
    }
    if http.server_timing {
        let timing = ServerTiming::default();
        chains.last(Ports::application(), "timing", Stage::gate(timing));
        let timing = ServerTiming::operations();
        chains.last(operations_ports(), "timing", Stage::gate(timing));
    }
    Ok(())
}

fn register_limits(chains: &mut Chains, config: &Config) -> anyhow::Result<()> {
    let http = &config.http;
    let workers = NonZeroUsize::from(config.workers);
    if let Some(limit) = http.max_requests_in_flight {
        let limit = usize::try_from(limit.get()).unwrap_or(usize::MAX);
        let in_flight = InFlightLimit::new(limit).workers(workers);
        chains.edge(Ports::application(), "in flight", Stage::wrap(in_flight));
    }
    if let Some(limit) = http.rate_limit
        && limit.by == file::RateLimitKey::Ip
    {
        let limit = RateLimit::new(rate_limit(limit))?;
        chains.edge(Ports::application(), "rate limit", Stage::gate(limit));
    }
    let queues = [
        (Ports::application(), http.times.queue),
        (operations_ports(), config.operations.times.queue),
    ];
    for (ports, limit) in queues {
        if let Some(limit) = limit {
            chains.edge(
                ports,
                "write queue",
                Stage::wrap(write_queue(limit, workers)),
            );
        }
    }
    Ok(())
}

fn write_queue(limit: Duration, workers: NonZeroUsize) -> WriteQueue {
    WriteQueue::new(WriteQueueConfig {
        limit,
        workers,
        ..WriteQueueConfig::default()
    })
}

fn rate_limit(limit: config::RateLimit) -> RateLimitConfig {
    RateLimitConfig {
        requests: limit.requests,
        interval: limit.interval,
        burst: limit.burst,
        by: match limit.by {
            file::RateLimitKey::Ip => RateLimitKey::Ip,
            file::RateLimitKey::User => RateLimitKey::User,
        },
        max_clients: limit.max_clients,
    }
}

/// Fields that every response has.
fn register_fields(chains: &mut Chains, config: &Config) -> anyhow::Result<()> {
    if let Some(server) = &config.http.server_header {
        let server = value("http.serverHeader", Some(server))?;
        let fields = DefaultFields::new(server.map(|server| (header::SERVER, server)));
        chains.edge(Ports::All, "fields", Stage::gate(fields));
    }
    if let Some(given) = &config.http.security_headers {
        let of = |name: &str, given: &Option<String>| {
            value(&format!("http.securityHeaders.{name}"), given.as_ref())
        };
        let security = SecurityHeaders::new(SecurityHeadersConfig {
            strict_transport_security: of(
                "strictTransportSecurity",
                &given.strict_transport_security,
            )?,
            content_type_options: of("contentTypeOptions", &given.content_type_options)?,
            frame_options: of("frameOptions", &given.frame_options)?,
            referrer_policy: of("referrerPolicy", &given.referrer_policy)?,
            content_security_policy: of("contentSecurityPolicy", &given.content_security_policy)?,
        });
        chains.edge(Ports::All, "security", Stage::gate(security));
    }
    Ok(())
}

fn value(setting: &str, text: Option<&String>) -> anyhow::Result<Option<HeaderValue>> {
    let read = |text: &String| {
        HeaderValue::from_str(text)
            .with_context(|| format!("'{setting}' is '{text}': expected the value of a field"))
    };
    text.map(read).transpose()
}

fn compression_config(given: &config::Compression) -> CompressionConfig {
    let coding = |name: &String| match name.as_str() {
        "br" => Some(ContentCoding::Br),
        "zstd" => Some(ContentCoding::Zstd),
        "gzip" => Some(ContentCoding::Gzip),
        "deflate" => Some(ContentCoding::Deflate),
        _ => None,
    };
    CompressionConfig {
        threshold_bytes: given.threshold_bytes,
        codings: given.encodings.iter().filter_map(coding).collect(),
        level: given.level,
        event_streams: given.event_streams,
        ..CompressionConfig::default()
    }
}

fn request_log(requests: &config::RequestLog, config: &Config) -> RequestLogConfig {
    RequestLogConfig {
        level: match requests.level.unwrap_or(config.logging.level) {
            level if level <= LogLevel::Info => RequestLogLevel::Info,
            LogLevel::Warn => RequestLogLevel::Warn,
            _ => RequestLogLevel::Error,
        },
        format: match requests.format {
            config::LogFormat::Text => RequestLogFormat::Text,
            config::LogFormat::Json => RequestLogFormat::Fields,
        },
        timing: requests.timing,
        headers: requests.headers,
        id: requests.id,
        id_header: config.http.request_id,
    }
}
