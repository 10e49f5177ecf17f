//! Connections, TLS and HTTP/2 (`metrics-and-health.md` §3.3), summed over the workers of a listener.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use core_listener::{DurationHistogram, ListenerStats};
use telemetry::Metrics;
use telemetry::metrics::{Distribution, Family, Kind, MetricError, Samples, Unit};

use super::{Sources, collect};
use crate::metrics::listener_label;

const GROUP: &str = "http";

/// A family with one number for each listener and value of a second label.
struct Counted {
    family: Family,
    kind: Kind,
    read: fn(&ListenerStats) -> Vec<(&'static str, u64)>,
}

pub(super) fn register(registry: &Metrics, sources: &Arc<Sources>) -> Result<(), MetricError> {
    for Counted { family, kind, read } in counted() {
        collect(registry, sources, family, kind, move |sources, samples| {
            sum(sources, read, samples);
        })?;
    }
    for (name, help, group, read) in DURATIONS {
        let family = Family::new(name, help)
            .unit(Unit::Seconds)
            .group(group)
            .labels(&["listener"]);
        collect(
            registry,
            sources,
            family,
            Kind::Histogram,
            move |sources, samples| {
                durations(sources, read, samples);
            },
        )?;
    }
    register_queues(registry, sources)?;
    register_tls(registry, sources)?;
    register_http2(registry, sources)
}

type Duration = (
    &'static str,
    &'static str,
    &'static str,
    fn(&ListenerStats) -> &DurationHistogram,
);

const DURATIONS: [Duration; 2] = [
    (
        "server_connection_duration_seconds",
        "How long connections lasted that have ended",
        GROUP,
        |stats| &stats.connection_duration,
    ),
    (
        "tls_handshake_duration_seconds",
        "How long completed TLS handshakes took",
        "tls",
        |stats| &stats.tls_handshake_duration,
    ),
];

fn counted() -> [Counted; 7] {
    let connections = |name, help| Family::new(name, help).unit(Unit::Connections).group(GROUP);
    [
        Counted {
            family: connections("server_connections", "Open connections")
                .labels(&["listener", "state"]),
            kind: Kind::Gauge,
            read: |stats| {
                vec![
                    ("new", stats.new_connections()),
                    ("active", stats.busy),
                    ("idle", stats.idle),
                ]
            },
        },
        Counted {
            family: connections("server_connections_total", "Accepted connections")
                .labels(&["listener"]),
            kind: Kind::Counter,
            read: |stats| vec![("", stats.accepted)],
        },
        Counted {
            family: connections("server_connections_closed_total", "Connections that ended")
                .labels(&["listener", "reason"]),
            kind: Kind::Counter,
            read: |stats| stats.closed().to_vec(),
        },
        Counted {
            family: connections(
                "server_accept_errors_total",
                "Connections that could not be accepted",
            )
            .labels(&["listener", "error"]),
            kind: Kind::Counter,
            read: |stats| {
                let no_files = stats.accept_errors_no_files;
                vec![
                    ("emfile", no_files),
                    ("other", stats.accept_errors.saturating_sub(no_files)),
                ]
            },
        },
        Counted {
            family: Family::new(
                "server_bytes_total",
                "Bytes of sockets, encrypted as they went",
            )
            .unit(Unit::Bytes)
            .group(GROUP)
            .labels(&["listener", "direction"]),
            kind: Kind::Counter,
            read: |stats| vec![("in", stats.bytes_in), ("out", stats.bytes_out)],
        },
        Counted {
            family: Family::new("http2_streams", "Open HTTP/2 streams")
                .unit(Unit::Requests)
                .group("h2")
                .labels(&["listener"]),
            kind: Kind::Gauge,
            read: |stats| vec![("", stats.http2_streams)],
        },
        Counted {
            family: Family::new("http2_streams_total", "HTTP/2 streams that were opened")
                .unit(Unit::Requests)
                .group("h2")
                .labels(&["listener"]),
            kind: Kind::Counter,
            read: |stats| vec![("", stats.http2_streams_opened)],
        },
    ]
}

fn sum(
    sources: &Sources,
    read: fn(&ListenerStats) -> Vec<(&'static str, u64)>,
    samples: &mut Samples,
) {
    let mut sums: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for stats in sources.listener_stats() {
        let listener = listener_label(&stats.listener);
        for (value, count) in read(&stats) {
            *sums.entry((listener, value)).or_default() += count;
        }
    }
    for ((listener, value), count) in sums {
        match value {
            "" => samples.push(&[listener], count),
            value => samples.push(&[listener, value], count),
        }
    }
}

fn durations(
    sources: &Sources,
    read: fn(&ListenerStats) -> &DurationHistogram,
    samples: &mut Samples,
) {
    let mut sums: BTreeMap<&str, Distribution> = BTreeMap::new();
    for stats in sources.listener_stats() {
        let histogram = read(&stats);
        let bounds = histogram
            .bounds
            .iter()
            .map(std::time::Duration::as_secs_f64);
        let new = Distribution::of_counts(
            bounds.collect(),
            &histogram.counts,
            histogram.sum.as_secs_f64(),
        );
        sums.entry(listener_label(&stats.listener))
            .and_modify(|sum| sum.merge(&new))
            .or_insert(new);
    }
    for (listener, distribution) in sums {
        samples.push_distribution(&[listener], distribution);
    }
}

fn register_queues(registry: &Metrics, sources: &Arc<Sources>) -> Result<(), MetricError> {
    let family = Family::new(
        "http_requests_queued",
        "Writes that wait for their turn; listeners of one kind share a queue",
    )
    .unit(Unit::Requests)
    .group(GROUP)
    .labels(&["listener"]);
    collect(
        registry,
        sources,
        family,
        Kind::Gauge,
        |sources, samples| {
            for (listener, queue) in sources.queues() {
                samples.push(&[listener], queue.waiting());
            }
        },
    )
}

fn register_tls(registry: &Metrics, sources: &Arc<Sources>) -> Result<(), MetricError> {
    let family = Family::new(
        "tls_certificate_expiry_timestamp_seconds",
        "End of the validity of a certificate, since 1970",
    )
    .unit(Unit::Seconds)
    .group("tls")
    .labels(&["name"]);
    collect(
        registry,
        sources,
        family,
        Kind::Gauge,
        |sources, samples| {
            let certificates = sources
                .certificates
                .get()
                .map(|certificates| certificates.in_use());
            // Two of one name, as of two kinds of keys: the first to end is what matters.
            let mut ends: BTreeMap<String, u64> = BTreeMap::new();
            for certificate in certificates.unwrap_or_default() {
                let end = certificate
                    .not_after
                    .and_then(|end| end.duration_since(UNIX_EPOCH).ok());
                if let Some(end) = end {
                    let first = ends.entry(certificate.name).or_insert(u64::MAX);
                    *first = end.as_secs().min(*first);
                }
            }
            for (name, end) in ends {
                samples.push(&[&name], end);
            }
        },
    )?;
    let family = Family::new(
        "tls_handshakes_total",
        "TLS handshakes by version and result",
    )
    .group("tls")
    .labels(&["listener", "version", "result"]);
    collect(
        registry,
        sources,
        family,
        Kind::Counter,
        |sources, samples| {
            let mut sums: BTreeMap<_, u64> = BTreeMap::new();
            for stats in sources.listener_stats() {
                let listener = listener_label(&stats.listener);
                let (completed, resumed) = (stats.tls_handshakes, stats.tls_resumed);
                let tls12_full = stats.tls12_handshakes.saturating_sub(stats.tls12_resumed);
                let full = completed.saturating_sub(resumed);
                for (version, result, count) in [
                    ("1.2", "full", tls12_full),
                    ("1.2", "resumed", stats.tls12_resumed),
                    ("1.3", "full", full.saturating_sub(tls12_full)),
                    (
                        "1.3",
                        "resumed",
                        resumed.saturating_sub(stats.tls12_resumed),
                    ),
                    // A handshake that fails has settled no version.
                    (
                        "none",
                        "failed",
                        stats.tls_failures + stats.handshake_timeouts,
                    ),
                ] {
                    *sums.entry((listener, version, result)).or_default() += count;
                }
            }
            for ((listener, version, result), count) in sums {
                samples.push(&[listener, version, result], count);
            }
        },
    )
}

fn register_http2(registry: &Metrics, sources: &Arc<Sources>) -> Result<(), MetricError> {
    let family = Family::new(
        "http2_streams_reset_total",
        "RST_STREAM frames by error code",
    )
    .group("h2")
    .labels(&["by", "code"]);
    collect(
        registry,
        sources,
        family,
        Kind::Counter,
        |sources, samples| {
            let mut sums: BTreeMap<_, u64> = BTreeMap::new();
            for stats in sources.listener_stats() {
                let client = stats
                    .http2_resets_by_client
                    .iter()
                    .map(|code| ("client", code));
                let server = stats
                    .http2_resets_by_server
                    .iter()
                    .map(|code| ("server", code));
                for (by, (code, count)) in client.chain(server) {
                    *sums.entry((by, code)).or_default() += count;
                }
            }
            for ((by, code), count) in sums {
                samples.push(&[by, code], count);
            }
        },
    )?;
    let family = Family::new(
        "http2_goaway_sent_total",
        "GOAWAY frames sent, by error code",
    )
    .group("h2")
    .labels(&["code"]);
    collect(
        registry,
        sources,
        family,
        Kind::Counter,
        |sources, samples| {
            let mut sums: BTreeMap<_, u64> = BTreeMap::new();
            for stats in sources.listener_stats() {
                for (code, count) in stats.http2_goaways.iter() {
                    *sums.entry(code).or_default() += count;
                }
            }
            for (code, count) in sums {
                samples.push(&[code], count);
            }
        },
    )?;
    let family = Family::new(
        "http2_pings_total",
        "PING frames, acknowledgements included",
    )
    .unit(Unit::Packets)
    .group("h2")
    .labels(&["direction"]);
    collect(
        registry,
        sources,
        family,
        Kind::Counter,
        |sources, samples| {
            let stats = sources.listener_stats();
            samples.push(
                &["in"],
                stats.iter().map(|stats| stats.http2_pings_in).sum::<u64>(),
            );
            samples.push(
                &["out"],
                stats.iter().map(|stats| stats.http2_pings_out).sum::<u64>(),
            );
        },
    )
}
