//! The core form for shell scripts: three words a line.

use std::fmt::Write as _;

use super::super::{Number, SampleValue, Snapshot};

/// The families that scripts know, in their order.
const NAMES: [&str; 7] = [
    "process_fd_num_used",
    "process_thread_num",
    "push_request_write_bytes_per_second",
    "query_scan_bytes_per_second",
    "max_disk_io_util_percent",
    "max_network_send_bytes_rate",
    "max_network_receive_bytes_rate",
];

/// Appends `PREFIX_name LONG number` for those of the known families that exist; numbers are rounded.
pub fn core(snapshot: &Snapshot, prefix: &str, out: &mut String) {
    for name in NAMES {
        let family = snapshot.families.iter().find(|family| family.name == name);
        for sample in family.into_iter().flat_map(|family| &family.samples) {
            let number = match sample.value {
                SampleValue::Single(Number::Integer(number)) => number,
                SampleValue::Single(Number::Float(number)) => number.round() as i64,
                SampleValue::Distribution(_) => continue,
            };
            // Writing to a string does not fail.
            let _ = writeln!(out, "{prefix}_{name} LONG {number}");
        }
    }
}
