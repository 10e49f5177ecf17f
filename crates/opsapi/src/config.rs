//! Settings of the section `operationsApi`, checked.

use std::time::Duration;

/// Bounds and facts of the Operations API.
#[derive(Debug, Clone)]
pub struct OpsConfig {
    /// Bytes of the largest body. Default 1 GiB.
    pub body_limit_bytes: u64,
    /// Bytes of the largest body of a caller who is not logged in; a larger one is answered 401 and not
    /// read. Default 64 KiB, which is plenty for a login: nobody may make the server hold a gigabyte
    /// before saying who they are.
    pub anonymous_body_limit_bytes: u64,
    /// Version of the program, shown by `system_information`. Default: the version of this crate.
    pub version: String,
}

impl Default for OpsConfig {
    fn default() -> Self {
        Self {
            body_limit_bytes: 1 << 30,
            anonymous_body_limit_bytes: 64 << 10,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// Bounds of bulk loads.
#[derive(Debug, Clone)]
pub struct BulkLimits {
    /// Bytes of the largest file that is loaded from a URL. Default 1 GiB.
    pub download_bytes: u64,
    /// Time for a download. Default 10 minutes.
    pub download_timeout: Duration,
}

impl Default for BulkLimits {
    fn default() -> Self {
        Self {
            download_bytes: 1 << 30,
            download_timeout: Duration::from_secs(600),
        }
    }
}
