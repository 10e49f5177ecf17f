//! What a running server says about itself: log lines and numbers.
//!
//! ```text
//! tracing event ─▶ level of its target ─▶ one line (text or JSON) ─▶ bounded queue ─▶ thread ─▶ file, terminal
//! counter.add() ─▶ cell of this thread ┐
//! gauge closure ───────────────────────┴─▶ Snapshot (sums) ─▶ Prometheus, OpenMetrics, JSON, core
//! ```
//!
//! [`logs`] installs a `tracing-subscriber` whose writers never hold a worker: a line goes into a bounded
//! queue, a thread writes what is there at once, and [`Logs`] waits for the rest at the end. Files are put
//! aside by size and age, compressed, deleted when they are old, and [read](logs::read()) again.
//! [`metrics`] keeps numbers in one block of cells for each thread, so that counting touches no cache line
//! that another worker writes; sums are made when somebody asks.
//!
//! Not here: who may read numbers and logs and at which path (`server`), the line of a request (`http-chain`).
#![forbid(unsafe_code)]

pub mod logs;
pub mod metrics;

pub use crate::logs::{LogConfig, LogLevel, Logs};
pub use crate::metrics::Metrics;

#[doc(hidden)]
pub use tracing;
