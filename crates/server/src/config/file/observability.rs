//! `metrics` and `health`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Histograms whose bounds can be set: of seconds, and of bytes.
pub const HISTOGRAMS: [&str; 4] = [
    "http_request_duration_seconds",
    "http_request_ttfb_seconds",
    "http_request_body_bytes",
    "http_response_body_bytes",
];

/// Who may read `/metrics`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricsAuth {
    /// Everybody.
    None,
    /// Every user.
    Any,
    /// Super users.
    SuperUser,
}

/// Whose names are written beside ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MetricsCompat {
    /// Those of a StarRocks backend.
    StarRocks,
}

section! {
    /// `metrics`.
    Metrics {
        /// Who may read them; absent is everybody on this machine and every user elsewhere.
        auth: Option<MetricsAuth> = None,
        /// Answer on the application ports, too.
        on_application_port: bool = false,
        /// What all names begin with.
        prefix: String = String::new(),
        /// Write the families of another program, too.
        compat: Option<MetricsCompat> = None,
        /// What the names of the core form begin with.
        core_prefix: String = "starrocks_be".to_owned(),
        /// Series of one family; the rest is counted together as `overflow`.
        max_series_per_family: u32 = 2000,
        /// Upper bounds of the buckets of histograms, by family; those of `HISTOGRAMS`.
        buckets: BTreeMap<String, Vec<f64>> = BTreeMap::new(),
        /// Say in OpenMetrics since when each series is counted.
        created: bool = false,
    }
}

section! {
    /// `health`.
    Health {
        /// Answer on the application ports, too.
        on_application_port: bool = true,
        /// Body of `/health`.
        text: String = "HarperDB is running.".to_owned(),
        /// Hundredths of a file system that must be free.
        min_free_disk: f64 = 1.0,
        /// An application that could not be loaded makes the server not ready.
        strict_components: bool = false,
    }
}
