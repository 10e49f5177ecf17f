//! `metrics` and `health` after checking.

use crate::config::file;
use crate::config::load::ConfigError;

pub use file::MetricsAuth;

/// `metrics`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metrics {
    /// Who may read them; `None` is everybody on this machine and every user elsewhere.
    pub auth: Option<MetricsAuth>,
    /// On the application ports, too.
    pub on_application_port: bool,
    /// What all names begin with.
    pub prefix: String,
    /// Write the families of a StarRocks backend, too.
    pub compat: bool,
    /// What the names of the core form begin with, without the last `_`.
    pub core_prefix: String,
    /// Series of one family.
    pub max_series_per_family: usize,
}

/// `health`.
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    /// On the application ports, too.
    pub on_application_port: bool,
    /// Body of `/health`.
    pub text: String,
    /// Part of a file system that must be free, from 0 to 1.
    pub min_free_disk_ratio: f64,
    /// An application that could not be loaded makes the server not ready.
    pub strict_components: bool,
}

pub(super) fn metrics(section: &file::Metrics) -> Result<Metrics, ConfigError> {
    let check = |key: &str, prefix: &str| {
        let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':';
        let starts_well = prefix
            .bytes()
            .next()
            .is_none_or(|byte| !byte.is_ascii_digit());
        match starts_well && prefix.bytes().all(is_fine) {
            true => Ok(prefix.to_owned()),
            false => Err(ConfigError::wrong(
                key,
                prefix,
                "letters, digits, _ and :, not beginning with a digit",
            )),
        }
    };
    if section.max_series_per_family == 0 {
        return Err(ConfigError::wrong(
            "metrics.maxSeriesPerFamily",
            0,
            "at least 1",
        ));
    }
    Ok(Metrics {
        auth: section.auth,
        on_application_port: section.on_application_port,
        prefix: check("metrics.prefix", &section.prefix)?,
        compat: section.compat.is_some(),
        core_prefix: check("metrics.corePrefix", &section.core_prefix)?,
        max_series_per_family: section.max_series_per_family as usize,
    })
}

pub(super) fn health(section: &file::Health) -> Result<Health, ConfigError> {
    let percent = section.min_free_disk;
    if !(0.0..=100.0).contains(&percent) {
        return Err(ConfigError::wrong(
            "health.minFreeDisk",
            percent,
            "hundredths of a file system, 0 to 100",
        ));
    }
    Ok(Health {
        on_application_port: section.on_application_port,
        text: section.text.clone(),
        min_free_disk_ratio: percent / 100.0,
        strict_components: section.strict_components,
    })
}
