//! Lines on the terminal, and counters from four threads: `cargo run -p telemetry --example numbers`.

use std::error::Error;
use std::time::Instant;

use telemetry::metrics::{Buckets, Family, Metrics, Unit, render};
use telemetry::{LogConfig, LogLevel, logs};

fn main() -> Result<(), Box<dyn Error>> {
    let logs = logs::install(LogConfig {
        level: LogLevel::Info,
        targets: vec![("counting".to_owned(), LogLevel::Debug)],
        std_streams: true,
        ..LogConfig::default()
    })?;
    let metrics = Metrics::new();
    let additions = Family::new("additions_total", "Additions made")
        .unit(Unit::Operations)
        .labels(&["thread"]);
    let additions = metrics.counter(additions)?;
    let seconds = Family::new("addition_seconds", "Time of ten thousand additions");
    let seconds = metrics.histogram(seconds.unit(Unit::Seconds), Buckets::request_seconds())?;

    telemetry::notify!("started");
    std::thread::scope(|scope| {
        for number in 0..4 {
            let counter = additions.series(&[&number.to_string()]);
            let seconds = seconds.series(&[]);
            scope.spawn(move || {
                let start = Instant::now();
                (0..10_000).for_each(|_| counter.increment());
                seconds.observe(start.elapsed());
                tracing::debug!(target: "counting", number, elapsed = ?start.elapsed(), "done");
            });
        }
    });
    tracing::warn!("no more to count");

    let mut text = String::new();
    render::prometheus(&metrics.snapshot(), "", &mut text);
    logs.flush();
    print!("{text}");
    Ok(())
}
