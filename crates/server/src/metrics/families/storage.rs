//! Databases and disks (`metrics-and-health.md` §3.9), from the last reading of [`Slow`].

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use store::{DatabaseStatistics, TableCounts};
use telemetry::Metrics;
use telemetry::metrics::{Distribution, Family, Kind, MetricError, Samples, Unit};

use super::collect;
use crate::metrics::slow::Slow;

/// Names of families that are written on request alone.
pub(in crate::metrics) const TABLE_FAMILIES: [&str; 2] = ["table_records", "table_bytes"];
/// Names of those that are written when everything is asked for.
pub(in crate::metrics) const MORE_TABLE_FAMILIES: [&str; 2] =
    ["table_read_total", "table_write_total"];

type PerDatabase = (
    &'static str,
    &'static str,
    Unit,
    Kind,
    &'static [&'static str],
    fn(&DatabaseStatistics, &mut Samples),
);

const DATABASES: [PerDatabase; 14] = [
    (
        "storage_transactions_total",
        "Transactions by how they ended; retried ones were tried again alone",
        Unit::Operations,
        Kind::Counter,
        &["database", "result"],
        |one, samples| {
            samples.push(&[&one.database, "committed"], one.committed);
            samples.push(&[&one.database, "aborted"], one.aborted);
            samples.push(&[&one.database, "retried"], one.retried);
        },
    ),
    (
        "storage_commit_seconds",
        "Durable commits, each of many transactions",
        Unit::Seconds,
        Kind::Histogram,
        &["database"],
        |one, samples| {
            let bounds = one.commits.bounds.iter().map(Duration::as_secs_f64);
            let sum = one.commits.sum.as_secs_f64();
            let times = Distribution::of_counts(bounds.collect(), &one.commits.counts, sum);
            samples.push_distribution(&[&one.database], times);
        },
    ),
    (
        "storage_write_queue",
        "Transactions that wait for the writer",
        Unit::Operations,
        Kind::Gauge,
        &["database"],
        |one, samples| samples.push(&[&one.database], one.queued_transactions),
    ),
    (
        "storage_write_queue_records",
        "Writes of the waiting transactions",
        Unit::Rows,
        Kind::Gauge,
        &["database"],
        |one, samples| samples.push(&[&one.database], one.queued_writes),
    ),
    (
        "storage_write_queue_seconds",
        "How long a new transaction is expected to wait",
        Unit::Seconds,
        Kind::Gauge,
        &["database"],
        |one, samples| samples.push(&[&one.database], one.expected_wait.as_secs_f64()),
    ),
    (
        "storage_records_read_total",
        "Records that were read by key or looked at by queries",
        Unit::Rows,
        Kind::Counter,
        &["database"],
        |one, samples| samples.push(&[&one.database], one.records_read),
    ),
    (
        "storage_records_written_total",
        "Records written by committed transactions",
        Unit::Rows,
        Kind::Counter,
        &["database"],
        |one, samples| samples.push(&[&one.database], one.records_written),
    ),
    (
        "storage_read_snapshots",
        "Snapshots that queries hold",
        Unit::None,
        Kind::Gauge,
        &["database"],
        |one, samples| samples.push(&[&one.database], one.open_snapshots),
    ),
    (
        "storage_oldest_snapshot_seconds",
        "For how long the oldest snapshot is held, which keeps the file from reusing pages; 0 if there is none",
        Unit::Seconds,
        Kind::Gauge,
        &["database"],
        |one, samples| {
            let oldest = one.oldest_snapshot.unwrap_or_default();
            samples.push(&[&one.database], oldest.as_secs_f64());
        },
    ),
    (
        "storage_readers_used",
        "Slots for readers in the engine that were ever in use",
        Unit::None,
        Kind::Gauge,
        &["database"],
        |one, samples| samples.push(&[&one.database], u64::from(one.readers.1)),
    ),
    (
        "storage_map_bytes",
        "Address space of the file, beyond which it cannot grow",
        Unit::Bytes,
        Kind::Gauge,
        &["database"],
        |one, samples| samples.push(&[&one.database], one.map_bytes),
    ),
    (
        "storage_file_bytes",
        "Bytes of the file that are or were in use",
        Unit::Bytes,
        Kind::Gauge,
        &["database"],
        |one, samples| samples.push(&[&one.database], one.used_bytes),
    ),
    (
        "storage_database_bytes",
        "Bytes by what is in them",
        Unit::Bytes,
        Kind::Gauge,
        &["database", "kind"],
        |one, samples| {
            samples.push(&[&one.database, "data"], one.record_bytes);
            samples.push(&[&one.database, "index"], one.index_bytes);
            samples.push(&[&one.database, "audit"], one.audit_bytes);
        },
    ),
    (
        "storage_audit_entries",
        "Entries of the audit log",
        Unit::Rows,
        Kind::Gauge,
        &["database"],
        |one, samples| samples.push(&[&one.database], one.audit_entries),
    ),
];

pub(super) fn register(registry: &Metrics, slow: &Arc<Slow>) -> Result<(), MetricError> {
    for (name, help, unit, kind, labels, read) in DATABASES {
        let family = Family::new(name, help)
            .unit(unit)
            .group("storage")
            .labels(labels);
        collect(registry, slow, family, kind, move |slow, samples| {
            for one in &**slow.databases.load() {
                read(one, samples);
            }
        })?;
    }
    let family = Family::new(
        "storage_disk_free_ratio",
        "Free part of the file system, 0 to 1",
    )
    .group("storage")
    .labels(&["path"]);
    collect(registry, slow, family, Kind::Gauge, |slow, samples| {
        for disk in &**slow.disks.load() {
            samples.push(&[&disk.path.to_string_lossy()], disk.free_ratio());
        }
    })?;
    register_tables(registry, slow)?;
    let family = Family::new("metrics_collect_seconds", "How long the last reading took")
        .unit(Unit::Seconds)
        .labels(&["collector"]);
    collect(registry, slow, family, Kind::Gauge, |slow, samples| {
        for (collector, took) in &*slow.took.lock().unwrap_or_else(PoisonError::into_inner) {
            samples.push(&[collector], took.as_secs_f64());
        }
    })
}

fn register_tables(registry: &Metrics, slow: &Arc<Slow>) -> Result<(), MetricError> {
    let family = |name, help, unit| {
        Family::new(name, help)
            .unit(unit)
            .group("storage")
            .labels(&["database", "table"])
    };
    let [records, bytes] = TABLE_FAMILIES;
    let records = family(records, "Records of a table", Unit::Rows);
    collect(registry, slow, records, Kind::Gauge, |slow, samples| {
        for (name, statistics) in &*slow.tables() {
            samples.push(&[&name.database, &name.table], statistics.record_count);
        }
    })?;
    let [read, written] = MORE_TABLE_FAMILIES;
    type Count = fn(&TableCounts) -> u64;
    let counted: [(_, _, Count); 2] = [
        (
            read,
            "Records of a table that were read by key or looked at by queries",
            |table| table.records_read,
        ),
        (
            written,
            "Committed changes of a table: records written or removed, messages",
            |table| table.records_written,
        ),
    ];
    for (name, help, count) in counted {
        let counted = family(name, help, Unit::Rows);
        collect(
            registry,
            slow,
            counted,
            Kind::Counter,
            move |slow, samples| {
                for one in &**slow.databases.load() {
                    for table in &one.tables {
                        samples.push(&[&one.database, &table.table], count(table));
                    }
                }
            },
        )?;
    }
    let bytes = family(bytes, "Bytes of a table and its indexes", Unit::Bytes);
    collect(registry, slow, bytes, Kind::Gauge, |slow, samples| {
        for (name, statistics) in &*slow.tables() {
            samples.push(&[&name.database, &name.table], statistics.table_bytes);
        }
    })
}
