//! What one log line costs the thread that logs.
//!
//! ```text
//! cargo bench -p telemetry --bench log_line
//! ```
//!
//! Each case is next to `disabled`, the price of an event below its level, because only ratios of one run say
//! something on a shared machine.

use std::hint::black_box;

use criterion::Criterion;
use telemetry::logs::{self, LogConfig, LogFormat, LogLevel, LogLimits};
use tracing::dispatcher::with_default;

/// Runs `log` again and again with a file of this format behind it.
fn measure(criterion: &mut Criterion, name: &str, format: LogFormat, log: impl Fn(u64)) {
    let directory = tempfile::tempdir().expect("the system has a directory for us");
    let config = LogConfig {
        level: LogLevel::Info,
        file: Some(directory.path().join("hdb.log")),
        format,
        // The writer keeps up on average; a burst of the measurement must not turn into dropped lines, which
        // are cheaper.
        limits: LogLimits {
            queue_bytes: 256 * 1024 * 1024,
            ..LogLimits::default()
        },
        ..LogConfig::default()
    };
    let (dispatch, logs) = logs::build(config).expect("the directory is ours");
    with_default(&dispatch, || {
        let mut number = 0;
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| {
                number += 1;
                log(black_box(number));
            });
        });
    });
    assert_eq!(
        logs.statistics().lost,
        0,
        "dropped lines would be too cheap"
    );
}

fn log_line(criterion: &mut Criterion) {
    measure(criterion, "disabled", LogFormat::Text, |number| {
        tracing::debug!(target: "http", number, "not written");
    });
    let request = |number| tracing::info!(target: "http", "GET /Dog/{number} HTTP/1.1 200 3.41ms id: {number}");
    measure(criterion, "text", LogFormat::Text, request);
    measure(criterion, "text with fields", LogFormat::Text, |number| {
        tracing::info!(target: "mqtt", client = number, topic = "a/b", "a session began");
    });
    measure(criterion, "json", LogFormat::Json, request);
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    log_line(&mut criterion);
    criterion.final_summary();
}
