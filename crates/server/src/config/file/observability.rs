//! `metrics` and `health`.

use serde::{Deserialize, Serialize};

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
