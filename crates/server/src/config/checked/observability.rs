//! `metrics` and `health` after checking.

use std::collections::BTreeMap;

use crate::config::file;
use crate::config::load::ConfigError;

pub use file::MetricsAuth;

/// `metrics`.
#[derive(Debug, Clone, PartialEq)]
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
    /// Upper bounds of histograms, ascending, by family.
    pub buckets: BTreeMap<String, Vec<f64>>,
    /// Since when each series is counted, in OpenMetrics.
    pub created: bool,
}

/// Buckets of one histogram; each is a number for each route, method and class of codes.
const MAX_BUCKETS: usize = 50;

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
        buckets: buckets(&section.buckets)?,
        created: section.created,
    })
}

fn buckets(given: &BTreeMap<String, Vec<f64>>) -> Result<BTreeMap<String, Vec<f64>>, ConfigError> {
    for (family, bounds) in given {
        let key = format!("metrics.buckets.{family}");
        if !file::HISTOGRAMS.contains(&family.as_str()) {
            let expected = format!("one of {}", file::HISTOGRAMS.join(", "));
            return Err(ConfigError::wrong("metrics.buckets", family, &expected));
        }
        let is_whole = family.ends_with("_bytes");
        let is_fine =
            |bound: &f64| bound.is_finite() && *bound > 0.0 && (!is_whole || bound.fract() == 0.0);
        let is_ascending = bounds.is_sorted_by(|one, next| one < next);
        let fits = (1..=MAX_BUCKETS).contains(&bounds.len());
        if !(fits && is_ascending && bounds.iter().all(is_fine)) {
            let expected = match is_whole {
                true => "1 to 50 whole numbers of bytes above 0, ascending",
                false => "1 to 50 numbers of seconds above 0, ascending",
            };
            return Err(ConfigError::wrong(&key, format!("{bounds:?}"), expected));
        }
    }
    Ok(given.clone())
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
