//! Processors: which ones the server and the client may use, and how long a process has used them.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The processors of this process, split between the servers and the load generator.
#[derive(Debug, Clone)]
pub struct Layout {
    server: Vec<usize>,
    client: Vec<usize>,
}

impl Layout {
    /// The last processor for the client and all others for the servers; both share one where there is
    /// only one.
    ///
    /// # Errors
    ///
    /// If the operating system does not say which processors there are.
    pub fn detect() -> Result<Self> {
        let allowed = sched_getaffinity(None).context("cannot read the processor affinity")?;
        let all: Vec<usize> = (0..CpuSet::MAX_CPU)
            .filter(|&cpu| allowed.is_set(cpu))
            .collect();
        let (last, rest) = all.split_last().context("there is no processor")?;
        let server = if rest.is_empty() {
            vec![*last]
        } else {
            rest.to_vec()
        };
        Ok(Self {
            server,
            client: vec![*last],
        })
    }

    /// How many processors the servers have.
    pub fn server_count(&self) -> usize {
        self.server.len()
    }

    /// Moves the calling thread, and what it starts from now on, to the processors of the load generator.
    ///
    /// # Errors
    ///
    /// If the operating system refuses.
    pub fn pin_client(&self) -> Result<()> {
        pin(&self.client)
    }

    /// Calls `start` on a thread of the first `count` processors for servers; the processes it starts
    /// inherit them.
    ///
    /// # Errors
    ///
    /// If the operating system refuses, or those of `start`.
    pub fn on_server_cores<T: Send>(
        &self,
        count: usize,
        start: impl FnOnce() -> Result<T> + Send,
    ) -> Result<T> {
        let cores = &self.server[..count.clamp(1, self.server.len())];
        std::thread::scope(|scope| {
            let starter = scope.spawn(|| {
                pin(cores)?;
                start()
            });
            starter
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

fn pin(cores: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    for &core in cores {
        set.set(core);
    }
    sched_setaffinity(None, &set).context("cannot set the processor affinity")
}

/// Processor time that a process, all its threads and its children have used so far.
///
/// The scheduler's own count in nanoseconds (`/proc/PID/task/*/schedstat`) where the kernel keeps it,
/// otherwise `utime` and `stime` of `/proc/PID/stat`, which count in hundredths of a second.
///
/// # Errors
///
/// If the process has ended.
pub fn time_of(pid: u32) -> Result<Duration> {
    let mut total = Duration::ZERO;
    for pid in family(pid) {
        total += match schedstat(pid) {
            Some(time) => time,
            None => stat(pid)?,
        };
    }
    Ok(total)
}

/// Processor time of the calling thread.
///
/// # Errors
///
/// If the kernel does not tell.
pub fn time_of_this_thread() -> Result<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")
        .or_else(|_| std::fs::read_to_string("/proc/thread-self/stat").map(|text| ticks(&text)))
        .context("cannot read the processor time of this thread")?;
    nanoseconds(&text).context("cannot read the processor time of this thread")
}

/// Resident memory of a process and its children, in bytes.
///
/// # Errors
///
/// If the process has ended.
pub fn resident_bytes(pid: u32) -> Result<u64> {
    let mut total = 0;
    for pid in family(pid) {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))
            .with_context(|| format!("process {pid} has ended"))?;
        let kib: u64 = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.trim().strip_suffix(" kB"))
            .and_then(|number| number.trim().parse().ok())
            .with_context(|| format!("/proc/{pid}/status has no VmRSS"))?;
        total += kib * 1024;
    }
    Ok(total)
}

/// The process and its children, down to the last grandchild.
pub(crate) fn family(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut next = 0;
    while next < found.len() {
        let path = format!("/proc/{0}/task/{0}/children", found[next]);
        let children = std::fs::read_to_string(path).unwrap_or_default();
        found.extend(
            children
                .split_whitespace()
                .filter_map(|pid| pid.parse::<u32>().ok()),
        );
        next += 1;
    }
    found
}

fn schedstat(pid: u32) -> Option<Duration> {
    let mut total = Duration::ZERO;
    for task in Path::new("/proc")
        .join(pid.to_string())
        .join("task")
        .read_dir()
        .ok()?
    {
        let Ok(text) = std::fs::read_to_string(task.ok()?.path().join("schedstat")) else {
            // The thread ended in between.
            continue;
        };
        total += nanoseconds(&text)?;
    }
    Some(total)
}

fn nanoseconds(schedstat: &str) -> Option<Duration> {
    let first = schedstat.split_whitespace().next()?;
    Some(Duration::from_nanos(first.parse().ok()?))
}

fn stat(pid: u32) -> Result<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("process {pid} has ended"))?;
    nanoseconds(&ticks(&text)).with_context(|| format!("/proc/{pid}/stat has an unknown form"))
}

/// `utime + stime` of a `stat` line, in nanoseconds as text; `USER_HZ` is 100 on every Linux.
fn ticks(stat: &str) -> String {
    // The name in parentheses may hold anything, including blanks and parentheses.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    (ticks * 10_000_000).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_the_fourteenth_and_fifteenth_field_whatever_the_name_is() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 25 75 0 0 20 0 1";
        assert_eq!(nanoseconds(&ticks(stat)), Some(Duration::from_secs(1)));
    }

    #[test]
    fn work_shows_in_the_time_of_this_process() {
        let before = time_of(std::process::id()).unwrap();
        let mut sum = 0_u64;
        while time_of_this_thread().unwrap() < Duration::from_millis(20) {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(time_of(std::process::id()).unwrap() > before);
        assert!(resident_bytes(std::process::id()).unwrap() > 100_000);
    }

    #[test]
    fn a_process_that_ended_is_an_error() {
        assert!(time_of(u32::MAX / 2).is_err());
    }
}
