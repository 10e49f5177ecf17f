//! The families of the machine that a StarRocks backend has (`metrics-and-health.md` §3.1).

use telemetry::metrics::{FamilySnapshot, Kind, Number, Sample, SampleValue, Unit};

use super::procfs::{self, Process};
use super::slow::DiskSpace;

const MODES: [&str; 10] = [
    "user",
    "nice",
    "system",
    "idle",
    "iowait",
    "irq",
    "soft_irq",
    "steal",
    "guest",
    "guest_nice",
];

/// Columns of `/proc/diskstats` after the name; sectors are 512 bytes, whatever the disk says.
const DISK_COLUMNS: [(&str, usize, u64, Unit); 7] = [
    ("disk_bytes_read", 2, 512, Unit::Bytes),
    ("disk_bytes_written", 6, 512, Unit::Bytes),
    ("disk_reads_completed", 0, 1, Unit::Operations),
    ("disk_writes_completed", 4, 1, Unit::Operations),
    ("disk_read_time_ms", 3, 1, Unit::Milliseconds),
    ("disk_write_time_ms", 7, 1, Unit::Milliseconds),
    ("disk_io_time_ms", 9, 1, Unit::Milliseconds),
];

const NETWORK_COLUMNS: [(&str, usize, Unit); 4] = [
    ("network_receive_bytes", 0, Unit::Bytes),
    ("network_receive_packets", 1, Unit::Packets),
    ("network_send_bytes", 8, Unit::Bytes),
    ("network_send_packets", 9, Unit::Packets),
];

const TCP: [(&str, &str); 4] = [
    ("tcp_in_errs", "InErrs"),
    ("tcp_retrans_segs", "RetransSegs"),
    ("tcp_in_segs", "InSegs"),
    ("tcp_out_segs", "OutSegs"),
];

/// Everything that the machine says of itself now.
pub(super) fn families(data: &[DiskSpace]) -> Vec<FamilySnapshot> {
    let mut families = process();
    families.push(counter("cpu", Unit::Percent, &["mode"], {
        let ticks = procfs::processor_ticks();
        let labelled = MODES.into_iter().zip(ticks);
        labelled
            .map(|(mode, ticks)| sample(&[mode], ticks))
            .collect()
    }));
    let disks = procfs::disks();
    for (name, column, scale, unit) in DISK_COLUMNS {
        families.push(counter(
            name,
            unit,
            &["device"],
            rows(&disks, column, scale),
        ));
    }
    let interfaces = procfs::interfaces("/proc/net/dev");
    for (name, column, unit) in NETWORK_COLUMNS {
        families.push(counter(
            name,
            unit,
            &["device"],
            rows(&interfaces, column, 1),
        ));
    }
    let tcp = procfs::tcp(&TCP.map(|(_, kernel)| kernel));
    let tcp = TCP.into_iter().zip(tcp);
    let tcp = tcp.filter_map(|((name, _), number)| Some(sample(&[name], number?)));
    families.push(counter("snmp", Unit::None, &["name"], tcp.collect()));
    families.extend(disk_space(data));
    families
}

fn process() -> Vec<FamilySnapshot> {
    let process = Process::read();
    let (soft, hard) = procfs::descriptor_limits().unwrap_or_default();
    let system = procfs::system_descriptors();
    let single = |name, unit, number: Option<u64>| {
        let samples = number
            .map(|number| sample(&[], number))
            .into_iter()
            .collect();
        gauge(name, unit, &[], samples)
    };
    vec![
        single(
            "process_fd_num_used",
            Unit::None,
            procfs::open_descriptors(),
        ),
        single("process_fd_num_limit_soft", Unit::None, soft),
        single("process_fd_num_limit_hard", Unit::None, hard),
        single(
            "process_thread_num",
            Unit::None,
            process.map(|process| process.threads),
        ),
        single("process_mem_bytes", Unit::Bytes, procfs::anonymous_bytes()),
        single("fd_num_used", Unit::None, system.map(|(used, _)| used)),
        single("fd_num_limit", Unit::None, system.map(|(_, limit)| limit)),
    ]
}

fn disk_space(data: &[DiskSpace]) -> [FamilySnapshot; 4] {
    let of = |name, unit, number: fn(&DiskSpace) -> u64| {
        let samples = data
            .iter()
            .map(|disk| sample(&[&disk.path.to_string_lossy()], number(disk)));
        gauge(name, unit, &["path"], samples.collect())
    };
    [
        of("disks_total_capacity", Unit::Bytes, |disk| disk.total_bytes),
        of("disks_avail_capacity", Unit::Bytes, |disk| disk.free_bytes),
        of("disks_data_used_capacity", Unit::Bytes, |disk| {
            disk.total_bytes.saturating_sub(disk.free_bytes)
        }),
        of("disks_state", Unit::None, |_| 1),
    ]
}

fn rows(rows: &[procfs::Row], column: usize, scale: u64) -> Vec<Sample> {
    let cell = |(name, numbers): &procfs::Row| Some(sample(&[name], numbers.get(column)? * scale));
    rows.iter().filter_map(cell).collect()
}

pub(super) fn sample(labels: &[&str], number: impl Into<Number>) -> Sample {
    Sample {
        labels: labels.iter().map(|label| Box::from(*label)).collect(),
        value: SampleValue::Single(number.into()),
    }
}

pub(super) fn gauge(
    name: &'static str,
    unit: Unit,
    labels: &'static [&'static str],
    samples: Vec<Sample>,
) -> FamilySnapshot {
    FamilySnapshot {
        name,
        help: "As a StarRocks backend has it",
        unit,
        kind: Kind::Gauge,
        labels,
        samples,
    }
}

pub(super) fn counter(
    name: &'static str,
    unit: Unit,
    labels: &'static [&'static str],
    samples: Vec<Sample>,
) -> FamilySnapshot {
    FamilySnapshot {
        kind: Kind::Counter,
        ..gauge(name, unit, labels, samples)
    }
}
