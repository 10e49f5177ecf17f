//! The numbers of `?type=core`, some of them rates (`metrics-and-health.md` §2.4).

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use telemetry::metrics::{Snapshot, Unit};

use super::host::{gauge, sample};
use super::procfs;

/// Rates are means over about this time.
const WINDOW: Duration = Duration::from_secs(15);
/// Readings that are kept: enough for a script that asks every second.
const MAX_READINGS: usize = 32;

/// What rates are made from.
#[derive(Debug, Clone)]
struct Reading {
    at: Instant,
    /// Milliseconds of input and output of each disk.
    disks: Vec<(String, u64)>,
    /// Bytes in and out of each interface.
    interfaces: Vec<(String, u64, u64)>,
    /// Bytes fetched from storage, if the system tells.
    storage: Option<u64>,
    /// Bytes that bulk loads received.
    loaded: u64,
}

impl Reading {
    fn take(loaded: u64) -> Self {
        let column = |numbers: &[u64], at: usize| numbers.get(at).copied().unwrap_or(0);
        let disks = procfs::disks().into_iter();
        let interfaces = procfs::interfaces("/proc/net/dev").into_iter();
        Self {
            at: Instant::now(),
            disks: disks.map(|(name, row)| (name, column(&row, 9))).collect(),
            interfaces: interfaces
                .filter(|(name, _)| name != "lo")
                .map(|(name, row)| (name, column(&row, 0), column(&row, 8)))
                .collect(),
            storage: procfs::storage_bytes_read(),
            loaded,
        }
    }
}

/// Remembers readings between two scrapes.
#[derive(Debug)]
pub(super) struct Rates(Mutex<VecDeque<Reading>>);

impl Default for Rates {
    /// The first rate is that since the start.
    fn default() -> Self {
        Self(Mutex::new(VecDeque::from([Reading::take(0)])))
    }
}

impl Rates {
    /// The families that scripts know; `loaded` counts the bytes that bulk loads have received.
    pub(super) fn families(&self, loaded: u64) -> Snapshot {
        let now = Reading::take(loaded);
        let before = self.before(&now);
        let seconds = now.at.duration_since(before.at).as_secs_f64().max(0.001);
        let busiest_disk = pairs(&now.disks, &before.disks)
            .map(|(now, before)| now.1.saturating_sub(before.1) as f64 / 10.0 / seconds)
            .fold(0.0, f64::max);
        let interfaces = || pairs(&now.interfaces, &before.interfaces);
        let received = interfaces().map(|(now, before)| now.1.saturating_sub(before.1));
        let sent = interfaces().map(|(now, before)| now.2.saturating_sub(before.2));
        let rate = |bytes: Option<u64>| bytes.unwrap_or(0) as f64 / seconds;
        let (received, sent) = (rate(received.max()), rate(sent.max()));
        let single = |name, unit, number: f64| gauge(name, unit, &[], vec![sample(&[], number)]);
        let mut families = vec![
            single(
                "max_disk_io_util_percent",
                Unit::Percent,
                busiest_disk.min(100.0),
            ),
            single("max_network_send_bytes_rate", Unit::Bytes, sent),
            single("max_network_receive_bytes_rate", Unit::Bytes, received),
            single(
                "push_request_write_bytes_per_second",
                Unit::Bytes,
                rate(now.loaded.checked_sub(before.loaded)),
            ),
        ];
        if let (Some(now), Some(before)) = (now.storage, before.storage) {
            let scanned = rate(now.checked_sub(before));
            let name = "query_scan_bytes_per_second";
            families.push(single(name, Unit::Bytes, scanned));
        }
        if let Some(used) = procfs::open_descriptors() {
            families.push(single("process_fd_num_used", Unit::None, used as f64));
        }
        if let Some(process) = procfs::Process::read() {
            families.push(single(
                "process_thread_num",
                Unit::None,
                process.threads as f64,
            ));
        }
        Snapshot { families }
    }

    /// The youngest reading that is as old as the window, or the oldest there is; keeps `now` for later.
    fn before(&self, now: &Reading) -> Reading {
        let mut readings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_old = |reading: &Reading| now.at.duration_since(reading.at) >= WINDOW;
        while readings.len() > 1 && readings.get(1).is_some_and(is_old) {
            readings.pop_front();
        }
        let before = readings.front().cloned().unwrap_or_else(|| now.clone());
        if readings.len() < MAX_READINGS {
            readings.push_back(now.clone());
        }
        before
    }
}

/// Rows of the same name.
fn pairs<'r, T: Named>(now: &'r [T], before: &'r [T]) -> impl Iterator<Item = (&'r T, &'r T)> {
    now.iter().filter_map(|row| {
        let then = before.iter().find(|then| then.name() == row.name())?;
        Some((row, then))
    })
}

trait Named {
    fn name(&self) -> &str;
}

impl Named for (String, u64) {
    fn name(&self) -> &str {
        &self.0
    }
}

impl Named for (String, u64, u64) {
    fn name(&self) -> &str {
        &self.0
    }
}
