//! This process: its memory and its threads.

use resource::{Map, Value};

use super::{host, proc};

/// The part `memory`, in bytes.
pub(super) fn memory() -> Map {
    let text = proc::read("/proc/meminfo").unwrap_or_default();
    let bytes = |name: &str| proc::kilobytes(&text, name);
    let used = |total: &str, free: &str| bytes(total)?.checked_sub(bytes(free)?);
    let facts = [
        ("total", bytes("MemTotal")),
        ("free", bytes("MemFree")),
        ("used", used("MemTotal", "MemFree")),
        ("active", used("MemTotal", "MemAvailable")),
        ("available", bytes("MemAvailable")),
        ("swaptotal", bytes("SwapTotal")),
        ("swapused", used("SwapTotal", "SwapFree")),
        ("swapfree", bytes("SwapFree")),
        ("rss", resident_bytes()),
    ];
    let known = facts
        .into_iter()
        .filter_map(|(name, fact)| Some((name, Value::from(fact?))));
    known.collect()
}

fn resident_bytes() -> Option<u64> {
    proc::kilobytes(&proc::read("/proc/self/status")?, "VmRSS")
}

/// The part `harperdb_processes`: there is one.
pub(super) fn processes() -> Map {
    let core = process().into_iter().map(Value::Map).collect();
    Map::from_iter([("core", Value::Array(core))])
}

fn process() -> Option<Map> {
    let text = proc::read("/proc/self/stat")?;
    let (name, times) = proc::stat(&text)?;
    let mut map = Map::from_iter([
        ("pid", Value::from(std::process::id())),
        ("name", Value::from(name)),
    ]);
    if let Some(uptime) = host::uptime_secs() {
        let age = (uptime - times.started_secs).max(f64::EPSILON);
        map.insert("cpu", 100.0 * (times.user_secs + times.system_secs) / age);
        map.insert("cpuu", 100.0 * times.user_secs / age);
        map.insert("cpus", 100.0 * times.system_secs / age);
    }
    let total = proc::read("/proc/meminfo").and_then(|text| proc::kilobytes(&text, "MemTotal"));
    if let (Some(resident), Some(total)) = (resident_bytes(), total) {
        map.insert("mem", 100.0 * resident as f64 / total as f64);
        map.insert("memRss", resident / 1024);
    }
    Some(map)
}

/// The part `threads`: times in milliseconds, over the life of each thread.
pub(super) fn threads() -> Vec<Value> {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else {
        return Vec::new();
    };
    let mut ids: Vec<u32> = tasks
        .filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    ids.sort_unstable();
    let uptime = host::uptime_secs().unwrap_or_default();
    // One that ended since it was listed is left out.
    let threads = ids.into_iter().filter_map(|id| thread(id, uptime));
    threads.map(Value::Map).collect()
}

fn thread(id: u32, uptime: f64) -> Option<Map> {
    let text = proc::read(&format!("/proc/self/task/{id}/stat"))?;
    let (name, times) = proc::stat(&text)?;
    let age = (uptime - times.started_secs).max(0.0);
    let active = (times.user_secs + times.system_secs).min(age);
    let utilization = if age > 0.0 { active / age } else { 0.0 };
    Some(Map::from_iter([
        ("threadId", Value::from(id)),
        ("name", Value::from(name)),
        ("idle", Value::Float(1000.0 * (age - active))),
        ("active", Value::Float(1000.0 * active)),
        ("utilization", Value::Float(utilization)),
    ]))
}
