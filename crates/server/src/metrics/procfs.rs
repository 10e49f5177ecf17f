//! Facts from `/proc`, which the kernel writes as text. What a system does not offer is absent.

use std::fs;

/// Kernel ticks in a second as `/proc` counts them; 100 on every Linux (`USER_HZ`).
pub(super) const TICKS_PER_SECOND: u64 = 100;

/// What `/proc/self` says of this process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Process {
    /// Ticks of processor time, user and system.
    pub(super) cpu_ticks: u64,
    pub(super) threads: u64,
    /// Ticks from the start of the system to that of the process.
    pub(super) start_ticks: u64,
    pub(super) virtual_bytes: u64,
    pub(super) resident_pages: u64,
}

impl Process {
    pub(super) fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/stat").ok()?)
    }

    fn parse(stat: &str) -> Option<Self> {
        // The name of the program is in parentheses and may hold anything.
        let (_, fields) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        // proc(5) counts from 1, and the state, the first one here, is field 3.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: field(14)? + field(15)?,
            threads: field(20)?,
            start_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

/// Seconds from 1970 to the start of the system.
pub(super) fn boot_time_seconds() -> Option<u64> {
    number_after(&fs::read_to_string("/proc/stat").ok()?, "btime ")
}

/// Open descriptors of this process; the one that reads them is not counted.
pub(super) fn open_descriptors() -> Option<u64> {
    let entries = fs::read_dir("/proc/self/fd").ok()?;
    Some((entries.count() as u64).saturating_sub(1))
}

/// Threads of this process whose name begins so; the kernel keeps 15 bytes of a name.
pub(super) fn threads_named(prefix: &str) -> Option<u64> {
    let tasks = fs::read_dir("/proc/self/task").ok()?;
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    Some(names.filter(|name| name.starts_with(prefix)).count() as u64)
}

/// Bytes that this process had the kernel fetch from storage, mapped files included.
pub(super) fn storage_bytes_read() -> Option<u64> {
    number_after(&fs::read_to_string("/proc/self/io").ok()?, "read_bytes:")
}

/// The soft and the hard limit of descriptors; `None` is unlimited.
pub(super) fn descriptor_limits() -> Option<(Option<u64>, Option<u64>)> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    let mut numbers = line.split_ascii_whitespace().map(|word| word.parse().ok());
    Some((numbers.next()?, numbers.next()?))
}

/// Resident bytes without those of files.
pub(super) fn anonymous_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    Some(number_after(&status, "RssAnon:")? * 1024)
}

/// One row of a table: its name, and numbers in the order of the file.
pub(super) type Row = (String, Vec<u64>);

/// Interfaces: bytes and packets in (columns 0 and 1), and out (8 and 9). `file` is `/proc/net/dev`, that of the
/// whole system, or `/proc/self/net/dev`.
pub(super) fn interfaces(file: &str) -> Vec<Row> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let rows = text.lines().filter_map(|line| line.split_once(':'));
    rows.map(|(name, rest)| (name.trim().to_owned(), numbers(rest)))
        .collect()
}

/// Disks: the columns of `/proc/diskstats` after the name. Partitions and loops are left out.
pub(super) fn disks() -> Vec<Row> {
    let text = fs::read_to_string("/proc/diskstats").unwrap_or_default();
    let row = |line: &str| {
        let mut words = line.split_ascii_whitespace().skip(2);
        let name = words.next()?.to_owned();
        let is_disk = fs::exists(format!("/sys/block/{name}")).unwrap_or(false);
        let is_real = !name.starts_with("loop") && !name.starts_with("ram");
        (is_disk && is_real).then(|| (name, words.filter_map(|word| word.parse().ok()).collect()))
    };
    text.lines().filter_map(row).collect()
}

/// Ticks of all processors together, in the order of `/proc/stat`.
pub(super) fn processor_ticks() -> Vec<u64> {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("cpu "));
    line.map(numbers).unwrap_or_default()
}

/// A number of the table `Tcp` of `/proc/net/snmp`.
pub(super) fn tcp(names: &[&str]) -> Vec<Option<u64>> {
    let text = fs::read_to_string("/proc/net/snmp").unwrap_or_default();
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (heads, values) = (lines.next().unwrap_or(""), lines.next().unwrap_or(""));
    let of = |name: &&str| {
        let at = heads
            .split_ascii_whitespace()
            .position(|head| head == *name)?;
        values.split_ascii_whitespace().nth(at)?.parse().ok()
    };
    names.iter().map(of).collect()
}

/// Descriptors of the whole system: used, and how many there may be.
pub(super) fn system_descriptors() -> Option<(u64, u64)> {
    let text = fs::read_to_string("/proc/sys/fs/file-nr").ok()?;
    let numbers = numbers(&text);
    let used = numbers.first()?.checked_sub(*numbers.get(1)?)?;
    Some((used, *numbers.get(2)?))
}

fn numbers(text: &str) -> Vec<u64> {
    text.split_ascii_whitespace()
        .map_while(|word| word.parse().ok())
        .collect()
}

fn number_after(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_name_with_parentheses_and_spaces_is_skipped() {
        let stat = "7 (a) b 1 2) S 1 7 7 0 -1 4194560 100 0 0 0 30 12 0 0 20 0 5 0 900 8192 3 18446744073709551615";
        let expected = Process {
            cpu_ticks: 42,
            threads: 5,
            start_ticks: 900,
            virtual_bytes: 8192,
            resident_pages: 3,
        };
        assert_eq!(Process::parse(stat), Some(expected));
    }

    #[test]
    fn this_process_has_threads_descriptors_and_a_start() {
        let process = Process::read().unwrap();
        assert!(process.threads >= 1 && process.resident_pages > 0);
        assert!(open_descriptors().unwrap() >= 3);
        let (soft, _) = descriptor_limits().unwrap();
        assert!(soft.is_none_or(|soft| soft >= open_descriptors().unwrap()));
        assert!(boot_time_seconds().unwrap() > 1_000_000_000);
        assert!(!processor_ticks().is_empty());
    }
}
