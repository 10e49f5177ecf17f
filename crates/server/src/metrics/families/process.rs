//! The process, its runtimes and its log (`metrics-and-health.md` §3.8).

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use telemetry::Metrics;
use telemetry::logs::LogLevel;
use telemetry::metrics::{Family, Kind, MetricError, Number, Unit};

use super::{Sources, collect};
use crate::metrics::procfs::{self, Process};

pub(super) fn register(registry: &Metrics, sources: &Arc<Sources>) -> Result<(), MetricError> {
    register_build(registry)?;
    for (name, help, unit, kind, read) in PROCESS {
        let family = Family::new(name, help).unit(unit).group("process");
        registry.collect(family, kind, move |samples| {
            if let Some(number) = read() {
                samples.push(&[], number);
            }
        })?;
    }
    register_runtime(registry, sources)?;
    register_state(registry, sources)
}

fn register_build(registry: &Metrics) -> Result<(), MetricError> {
    let family = Family::new("build_info", "What this program was built from")
        .group("runtime")
        .labels(&["version", "commit", "rustc"]);
    registry.collect(family, Kind::Gauge, |samples| {
        let commit = option_env!("MOTET_COMMIT").unwrap_or("unknown");
        let values = [env!("CARGO_PKG_VERSION"), commit, env!("MOTET_RUSTC")];
        samples.push(&values, 1_u64);
    })
}

type Fact = (
    &'static str,
    &'static str,
    Unit,
    Kind,
    fn() -> Option<Number>,
);

const PROCESS: [Fact; 9] = [
    (
        "process_start_time_seconds",
        "Start of the process since 1970",
        Unit::Seconds,
        Kind::Gauge,
        start_time,
    ),
    (
        "process_cpu_seconds_total",
        "Processor time, user and system",
        Unit::Seconds,
        Kind::Counter,
        || Some(seconds(Process::read()?.cpu_ticks).into()),
    ),
    (
        "process_resident_memory_bytes",
        "Memory that is in use, mapped files included",
        Unit::Bytes,
        Kind::Gauge,
        || Some((Process::read()?.resident_pages * rustix::param::page_size() as u64).into()),
    ),
    (
        "process_virtual_memory_bytes",
        "Address space",
        Unit::Bytes,
        Kind::Gauge,
        || Some(Process::read()?.virtual_bytes.into()),
    ),
    (
        "process_open_fds",
        "Open file descriptors",
        Unit::None,
        Kind::Gauge,
        || Some(procfs::open_descriptors()?.into()),
    ),
    (
        "process_max_fds",
        "Limit of file descriptors",
        Unit::None,
        Kind::Gauge,
        || Some(procfs::descriptor_limits()?.0?.into()),
    ),
    (
        "process_threads",
        "Threads",
        Unit::None,
        Kind::Gauge,
        || Some(Process::read()?.threads.into()),
    ),
    (
        "process_network_receive_bytes_total",
        "Bytes received by all interfaces of the network namespace",
        Unit::Bytes,
        Kind::Counter,
        || Some(interface_bytes(0).into()),
    ),
    (
        "process_network_transmit_bytes_total",
        "Bytes sent by all interfaces of the network namespace",
        Unit::Bytes,
        Kind::Counter,
        || Some(interface_bytes(8).into()),
    ),
];

fn start_time() -> Option<Number> {
    let started = seconds(Process::read()?.start_ticks);
    Some((procfs::boot_time_seconds()? as f64 + started).into())
}

fn seconds(ticks: u64) -> f64 {
    ticks as f64 / procfs::TICKS_PER_SECOND as f64
}

fn interface_bytes(column: usize) -> u64 {
    let interfaces = procfs::interfaces("/proc/self/net/dev");
    interfaces
        .iter()
        .filter_map(|(_, numbers)| numbers.get(column))
        .sum()
}

fn register_runtime(registry: &Metrics, sources: &Arc<Sources>) -> Result<(), MetricError> {
    let gauge = |name, help| Family::new(name, help).group("runtime");
    let family = gauge("runtime_workers", "Worker threads");
    collect(
        registry,
        sources,
        family,
        Kind::Gauge,
        |sources, samples| {
            samples.push(&[], sources.workers);
        },
    )?;
    let family = gauge("runtime_tasks", "Tasks of all workers");
    collect(
        registry,
        sources,
        family,
        Kind::Gauge,
        |sources, samples| {
            let tasks = sources.runtimes();
            samples.push(
                &[],
                tasks
                    .iter()
                    .map(|runtime| runtime.num_alive_tasks())
                    .sum::<usize>(),
            );
        },
    )?;
    let family = gauge(
        "runtime_queue_depth",
        "Tasks woken from other threads that wait for a worker",
    );
    collect(
        registry,
        sources,
        family,
        Kind::Gauge,
        |sources, samples| {
            let queues = sources.runtimes();
            samples.push(
                &[],
                queues
                    .iter()
                    .map(|runtime| runtime.global_queue_depth())
                    .sum::<usize>(),
            );
        },
    )?;
    let family = gauge(
        "runtime_blocking_threads",
        "Threads for files, passwords and scans that block",
    );
    registry.collect(family, Kind::Gauge, |samples| {
        // The runtime counts them for those alone who build it with unstable features; their names are its own.
        if let Some(threads) = procfs::threads_named("tokio-r") {
            samples.push(&[], threads);
        }
    })?;
    let family = Family::new(
        "runtime_worker_busy_seconds_total",
        "Time that a worker was not waiting",
    )
    .unit(Unit::Seconds)
    .group("runtime")
    .labels(&["worker"]);
    collect(
        registry,
        sources,
        family,
        Kind::Counter,
        |sources, samples| {
            for (worker, runtime) in sources.runtimes().iter().enumerate() {
                let busy = runtime.worker_total_busy_duration(0).as_secs_f64();
                samples.push(&[&worker.to_string()], busy);
            }
        },
    )
}

fn register_state(registry: &Metrics, sources: &Arc<Sources>) -> Result<(), MetricError> {
    let family = Family::new("server_ready", "1 if /readyz answers 200").group("runtime");
    collect(
        registry,
        sources,
        family,
        Kind::Gauge,
        |sources, samples| {
            let ready = sources
                .health
                .get()
                .is_some_and(|health| health.ready().is_ok());
            samples.push(&[], ready);
        },
    )?;
    let family = Family::new("server_draining", "1 if the server is stopping").group("runtime");
    collect(
        registry,
        sources,
        family,
        Kind::Gauge,
        |sources, samples| {
            let draining = sources
                .health
                .get()
                .is_some_and(|health| health.is_draining());
            samples.push(&[], draining);
        },
    )?;
    let family = Family::new(
        "config_last_reload_success",
        "1 if the configuration was right when it was read last",
    )
    .group("runtime");
    collect(
        registry,
        sources,
        family,
        Kind::Gauge,
        |sources, samples| samples.push(&[], sources.reload().0),
    )?;
    let family = Family::new(
        "config_last_reload_timestamp_seconds",
        "When the configuration was read last, since 1970",
    )
    .unit(Unit::Seconds)
    .group("runtime");
    collect(
        registry,
        sources,
        family,
        Kind::Gauge,
        |sources, samples| {
            let since = sources.reload().1.duration_since(UNIX_EPOCH);
            samples.push(&[], since.unwrap_or_default().as_secs());
        },
    )?;
    let family = Family::new("component_status", "1 for the status that a component has")
        .group("runtime")
        .labels(&["component", "status"]);
    collect(
        registry,
        sources,
        family,
        Kind::Gauge,
        |sources, samples| {
            let Some(health) = sources.health.get() else {
                return;
            };
            for (component, failed) in health.components() {
                let (ok, error) = (!failed, failed);
                samples.push(&[&component, "ok"], ok);
                samples.push(&[&component, "error"], error);
            }
        },
    )?;
    let family = Family::new(
        "log_messages_total",
        "Log events that passed the level filter",
    )
    .group("runtime")
    .labels(&["level"]);
    collect(
        registry,
        sources,
        family,
        Kind::Counter,
        |sources, samples| {
            let Some(log) = sources.log.get() else { return };
            let statistics = log();
            for (level, count) in LogLevel::ALL.iter().zip(statistics.events) {
                samples.push(&[&level.to_string()], count);
            }
        },
    )?;
    let family = Family::new(
        "log_messages_lost_total",
        "Log lines that found no room in a queue",
    )
    .group("runtime");
    collect(
        registry,
        sources,
        family,
        Kind::Counter,
        |sources, samples| {
            samples.push(&[], sources.log.get().map_or(0, |log| log().lost));
        },
    )
}
