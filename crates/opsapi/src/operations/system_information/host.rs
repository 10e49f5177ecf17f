//! The machine and its clock.

use base::Timestamp;
use resource::{Map, Value};

use super::proc;

/// The part `system`.
pub(super) fn system(version: &str) -> Map {
    let release = proc::read("/etc/os-release").unwrap_or_default();
    let release = |name: &str| {
        let value = proc::field(&release, name, '=')?;
        Some(value.trim_matches('"').to_owned())
    };
    let facts = [
        ("platform", Some(std::env::consts::OS.to_owned())),
        ("distro", release("NAME")),
        ("release", release("VERSION_ID")),
        ("codename", release("VERSION_CODENAME")),
        ("kernel", proc::line("/proc/sys/kernel/osrelease")),
        ("arch", Some(arch().to_owned())),
        ("hostname", proc::line("/proc/sys/kernel/hostname")),
        ("motet_version", Some(version.to_owned())),
    ];
    let known = facts
        .into_iter()
        .filter_map(|(name, fact)| Some((name, Value::from(fact?))));
    known.collect()
}

/// The name under which clients know the architecture.
fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The part `time`. The server works in UTC, whatever the clock on the wall shows.
pub(super) fn time() -> Map {
    let mut map = Map::from_iter([(
        "current",
        Value::Float(Timestamp::now().as_millis().floor()),
    )]);
    if let Some(uptime) = uptime_secs() {
        map.insert("uptime", uptime);
    }
    map.insert("timezone", "GMT+0000");
    map.insert("timezoneName", "UTC");
    map
}

/// Seconds since the machine started.
pub(super) fn uptime_secs() -> Option<f64> {
    let line = proc::line("/proc/uptime")?;
    proc::numbers::<f64>(&line).first().copied()
}

/// The part `network`, which is empty unless configured.
pub(super) fn network() -> Map {
    let nothing = || Value::Array(Vec::new());
    Map::from_iter([
        ("default_interface", Value::Null),
        ("latency", Value::Map(Map::new())),
        ("interfaces", nothing()),
        ("stats", nothing()),
        ("connections", nothing()),
    ])
}
