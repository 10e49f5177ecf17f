//! Configuration: where a value comes from, what it may be, and what the rest of the program sees.
//!
//! Lowest to highest: built-in defaults, the profile (`motet dev`, or `DEFAULTS_MODE`), `HARPER_DEFAULT_CONFIG`, the
//! file, `HARPER_CONFIG`, environment variables (`HTTP_PORT`), the command line (`--HTTP_PORT 9930`),
//! `HARPER_SET_CONFIG`. A wrong value stops the start; an
//! unknown key is reported with the nearest known one and otherwise ignored.

mod aliases;
mod checked;
pub mod file;
mod load;
mod names;
mod profile;
mod setting;
mod watch;
mod yaml;

pub use self::checked::{
    Administrator, Authentication, ComponentLog, Compression, Config, Cors, Crl, Failures, Health,
    Http, LogFormat, Logging, Metrics, MetricsAuth, Mode, Mqtt, Mtls, Ocsp, Operations, RateLimit,
    RequestLog, Rotation, Shutdown, Storage, Times, Tls, TlsSource, Verification,
};
pub use self::load::{ConfigError, Sources, load};
pub use self::setting::{section_names, setting_path, unknown_setting};
pub use self::watch::{ConfigWatch, logs_differ};
