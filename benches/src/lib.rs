//! Whole-server measurements: a load generator, the peers, the cases and the report.
//!
//! ```text
//! case ─▶ peers::start (server cores) ◀── sockets ──▶ load (client core) ─▶ Sample
//!   └─ rounds: every contestant in turn ──▶ measure::Series (medians) ─▶ report (table, JSON, SVG)
//! ```
//!
//! The figure to trust is the processor time of the server for one operation, which the operating system
//! counts: it does not depend on what else runs on the machine or on how fast the client is. Throughput and
//! latency are for a quiet machine. Figures of different runs are never compared, only ratios in one run.
//!
//! Not here: what a crate measures about itself (`cargo bench -p CRATE`), and building (`cargo xtask bench`).
#![forbid(unsafe_code)]

pub mod cases;
pub mod cpu;
pub mod load;
pub mod measure;
pub mod peers;
pub mod quick;
pub mod report;
pub mod scripts;
pub mod svg;
pub mod tls;
pub mod wire;
