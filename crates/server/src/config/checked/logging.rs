//! `logging`, checked, and the logs of components.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base::units::{parse_duration, parse_size};
use telemetry::LogLevel;

use super::values::duration;
use crate::config::file::{self, ComponentLogging, DurationSetting, SizeSetting};
use crate::config::load::ConfigError;

/// `logging`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logging {
    /// Least severe level that is written.
    pub level: LogLevel,
    /// The file, if one is written.
    pub file: Option<PathBuf>,
    /// Also to standard output.
    pub std_streams: bool,
    /// Collect what components print.
    pub console: bool,
    /// Colours on a terminal.
    pub colors: bool,
    /// Text or JSON.
    pub format: LogFormat,
    /// When a file is put aside.
    pub rotation: Rotation,
    /// Write failed authentications.
    pub failed_authentications: bool,
    /// Write successful authentications.
    pub successful_authentications: bool,
    /// Logs of components, by section.
    pub components: Vec<ComponentLog>,
    /// Keep the change log.
    pub audit: bool,
    /// How long.
    pub audit_retention: Duration,
}

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// `timestamp [thread/id] [level] [tag]: message`.
    Text,
    /// One JSON object.
    Json,
}

/// When a file is put aside and a new one begun, and what becomes of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rotation {
    /// After this time.
    pub interval: Option<Duration>,
    /// After this many bytes.
    pub max_bytes: Option<u64>,
    /// Compress with gzip.
    pub compress: bool,
    /// Directory; that of the log when absent.
    pub directory: Option<PathBuf>,
    /// Age after which it is deleted.
    pub retention: Option<Duration>,
}

/// A log of one component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentLog {
    /// The section it belongs to, such as `mqtt`.
    pub component: &'static str,
    /// Least severe level; absent is that of the main log.
    pub level: Option<LogLevel>,
    /// A file of its own.
    pub file: Option<PathBuf>,
    /// Name in the line.
    pub tag: Option<String>,
    /// Also to standard output; absent as the main log.
    pub std_streams: Option<bool>,
}

pub(super) fn check(file: &file::FileConfig, root: &Path) -> Result<Logging, ConfigError> {
    let logging = &file.logging;
    let directory = logging
        .root
        .as_ref()
        .map_or_else(|| root.join("log"), PathBuf::from);
    let path = logging
        .path
        .as_ref()
        .map_or_else(|| directory.join("hdb.log"), PathBuf::from);
    let tls = match &file.tls {
        file::TlsEntries::One(one) => one.logging.as_ref(),
        file::TlsEntries::Many(many) => many.iter().find_map(|entry| entry.logging.as_ref()),
    };
    let sections = [
        ("mqtt", file.mqtt.logging.as_ref()),
        ("authentication", file.authentication.logging.as_ref()),
        ("tls", tls),
        ("storage", file.storage.logging.as_ref()),
        ("external", logging.external.as_ref()),
    ];
    let components = sections
        .into_iter()
        .filter_map(|(name, section)| Some((name, section?)))
        .map(|(name, section)| component(name, section, root))
        .collect::<Result<_, _>>()?;
    Ok(Logging {
        level: level("logging.level", Some(&logging.level))?.expect("a level was given"),
        file: logging.file.then_some(path),
        std_streams: logging.std_streams,
        console: logging.console,
        colors: logging.colors,
        format: log_format("logging.format", &logging.format)?,
        rotation: rotation(&logging.rotation)?,
        failed_authentications: logging.audit_auth_events.log_failed,
        successful_authentications: logging.audit_auth_events.log_successful,
        components,
        audit: logging.audit_log,
        audit_retention: duration("logging.auditRetention", &logging.audit_retention)?,
    })
}

fn component(
    name: &'static str,
    section: &ComponentLogging,
    root: &Path,
) -> Result<ComponentLog, ConfigError> {
    let key = match name {
        "external" => "logging.external.level".to_owned(),
        _ => format!("{name}.logging.level"),
    };
    Ok(ComponentLog {
        component: name,
        level: level(&key, section.level.as_ref())?,
        file: log_path(section.path.as_ref(), section.root.as_ref(), name, root),
        tag: section.tag.clone(),
        std_streams: section.std_streams,
    })
}

fn rotation(rotation: &file::Rotation) -> Result<Rotation, ConfigError> {
    if !rotation.enabled {
        return Ok(Rotation::default());
    }
    Ok(Rotation {
        interval: rotation.interval.as_deref().map(interval).transpose()?,
        max_bytes: rotation.max_size.as_ref().map(max_size).transpose()?,
        compress: rotation.compress,
        directory: rotation.path.as_ref().map(PathBuf::from),
        retention: rotation.retention.as_ref().map(retention).transpose()?,
    })
}

/// A number and `D`, `H` or `M`, of which the last is minutes.
fn interval(text: &str) -> Result<Duration, ConfigError> {
    let key = "logging.rotation.interval";
    let seconds = match text.chars().last().map(|unit| unit.to_ascii_uppercase()) {
        Some('D') => 86_400,
        Some('H') => 3_600,
        Some('M') => 60,
        _ => {
            return Err(ConfigError::new(format!(
                "Invalid {key} unit. Available units are D, H or M (minutes): '{text}'"
            )));
        }
    };
    let number = text[..text.len() - 1].trim().parse::<u32>().ok();
    match number.filter(|number| *number > 0) {
        Some(number) => Ok(Duration::from_secs(u64::from(number) * seconds)),
        None => Err(ConfigError::new(format!(
            "Invalid {key} value. Value should be a number followed by unit e.g. '10M': '{text}'"
        ))),
    }
}

fn max_size(setting: &SizeSetting) -> Result<u64, ConfigError> {
    let key = "logging.rotation.maxSize";
    let bytes = match setting {
        SizeSetting::Bytes(bytes) => *bytes,
        SizeSetting::Text(text) => parse_size(text).map_err(|_| {
            ConfigError::new(format!(
                "Invalid {key} unit. Available units are G, M or K: '{text}'"
            ))
        })?,
    };
    match bytes {
        0..1024 => Err(ConfigError::wrong(key, bytes, "at least 1K")),
        enough => Ok(enough),
    }
}

fn retention(setting: &DurationSetting) -> Result<Duration, ConfigError> {
    let text = match setting {
        DurationSetting::Number(number) => number.to_string(),
        DurationSetting::Text(text) => text.clone(),
    };
    parse_duration(&text, Duration::from_millis(1)).map_err(|_| {
        let expected = "a number of milliseconds, or a number and one of s, m, h, d";
        ConfigError::wrong("logging.rotation.retention", text, expected)
    })
}

/// The named level.
pub(super) fn level(key: &str, given: Option<&String>) -> Result<Option<LogLevel>, ConfigError> {
    let Some(given) = given else { return Ok(None) };
    match given.parse() {
        Ok(level) => Ok(Some(level)),
        Err(_) => {
            let levels = LogLevel::ALL.map(LogLevel::as_str).join(", ");
            Err(ConfigError::wrong(key, given, format!("one of {levels}")))
        }
    }
}

/// `text` or `json`.
pub(super) fn log_format(key: &str, given: &str) -> Result<LogFormat, ConfigError> {
    match given {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        other => Err(ConfigError::wrong(key, other, "text or json")),
    }
}

/// The file of a component: its path, else `<name>.log` in its directory, else none. Relative to the root.
pub(super) fn log_path(
    path: Option<&String>,
    directory: Option<&String>,
    name: &str,
    root: &Path,
) -> Option<PathBuf> {
    match (path, directory) {
        (Some(path), _) => Some(root.join(path)),
        (None, Some(directory)) => Some(root.join(directory).join(format!("{name}.log"))),
        (None, None) => None,
    }
}
