//! The families of a StarRocks backend, from ours (`metrics-and-health.md` §3.1).

use telemetry::metrics::{Number, SampleValue, Snapshot, Unit};

use super::host::{self, counter, gauge, sample};
use super::slow::DiskSpace;

/// What their names begin with.
pub(super) const PREFIX: &str = "starrocks_be_";

/// Theirs: sums of ours, and what the machine says.
pub(super) fn families(ours: &Snapshot, data: &[DiskSpace]) -> Snapshot {
    let requests = sum(ours, "http_requests_total");
    let bytes = sum(ours, "http_response_body_bytes_total");
    let connections = sum(ours, "server_connections");
    let mut families = host::families(data);
    families.push(counter(
        "http_requests_total",
        Unit::Requests,
        &[],
        vec![sample(&[], requests)],
    ));
    families.push(counter(
        "http_request_send_bytes",
        Unit::Bytes,
        &[],
        vec![sample(&[], bytes)],
    ));
    families.push(gauge(
        "http_connections_num",
        Unit::Connections,
        &[],
        vec![sample(&[], connections)],
    ));
    families.sort_by_key(|family| family.name);
    Snapshot { families }
}

/// All samples of a family of single numbers together.
pub(super) fn sum(snapshot: &Snapshot, name: &str) -> i64 {
    let family = snapshot.families.iter().find(|family| family.name == name);
    let samples = family.into_iter().flat_map(|family| &family.samples);
    samples
        .filter_map(|sample| match sample.value {
            SampleValue::Single(Number::Integer(number)) => Some(number),
            _ => None,
        })
        .sum()
}
