//! What is logged, where and how: the settings, checked by their types.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{LogLevel, Rotation};

/// Name of the first part of rotated files of the main log, whatever the main log is called.
const MAIN_PREFIX: &str = "HDB";

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people; see the [module](super).
    #[default]
    Text,
    /// One JSON object a line: `ts`, `thread`, `level`, `tag`, `target`, `message`, `fields`, `spans`.
    Json,
    /// One JSON object a line: `ts`, `level`, `message` if there is one, then the fields of the event as
    /// members. For events that are records, as the request log is (`http-server.md` §9.3).
    FlatJson,
}

/// Whether lines on the standard streams are coloured by level. Files never are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Colors {
    /// When the streams are a terminal.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Bounds of what waits between a worker and a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLimits {
    /// Bytes of lines that may wait for one destination; further lines are dropped and counted. Default:
    /// 4 MiB, some 40,000 lines.
    pub queue_bytes: usize,
    /// How long a thread waits for room before its line is dropped. After one line has waited in vain,
    /// further ones are dropped at once until the destination moves again. Default: zero, since a worker
    /// must not wait; for programs that rather wait than lose a line.
    pub max_wait: Duration,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self {
            queue_bytes: 4 * 1024 * 1024,
            max_wait: Duration::ZERO,
        }
    }
}

/// What is logged, where and how.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// Least severe level that is written. Default: `warn`.
    pub level: LogLevel,
    /// Other levels for targets that are equal to, or modules below, the given one; the longest match
    /// counts, and counts more than the level of a component. Default: none.
    pub targets: Vec<(String, LogLevel)>,
    /// File to append to; missing directories are made. Default: none.
    pub file: Option<PathBuf>,
    /// Also to the standard streams: errors and worse to standard error, the rest to standard output,
    /// without the time. Default: off.
    pub std_streams: bool,
    /// Treat what application code prints (events with the target `console`) as other events. Otherwise it
    /// goes to the standard streams and nowhere else, whatever its level. Default: off.
    pub console: bool,
    /// How lines look. Default: text.
    pub format: LogFormat,
    /// Colours on the standard streams. Default: on a terminal.
    pub colors: Colors,
    /// When the file is put aside. Default: never.
    pub rotation: Option<Rotation>,
    /// Parts of the program with settings of their own. Default: none.
    pub components: Vec<ComponentLog>,
    /// Bounds of the queues.
    pub limits: LogLimits,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            level: LogLevel::Warn,
            targets: Vec::new(),
            file: None,
            std_streams: false,
            console: false,
            format: LogFormat::default(),
            colors: Colors::default(),
            rotation: None,
            components: Vec::new(),
            limits: LogLimits::default(),
        }
    }
}

/// The log settings of one part of the program: `<section>.logging`, `logging.external` or those of an
/// application. What is `None` is as in the main log.
///
/// An event belongs to the component that its field `tag` names, otherwise to the one with the longest
/// target that is equal to, or a module above, the target of the event.
///
/// ```
/// use telemetry::logs::ComponentLog;
///
/// // `http.logging: { level: info, path: /var/log/requests.log }`
/// let http = ComponentLog {
///     level: Some("info".parse()?),
///     file: Some("/var/log/requests.log".into()),
///     ..ComponentLog::section("http")
/// };
/// assert!(http.targets.iter().any(|target| target == "core_listener"));
/// # Ok::<(), telemetry::logs::UnknownLevel>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct ComponentLog {
    /// What the field `tag` of its events says, and the tag of its lines unless [`tag`](Self::tag) is set.
    pub name: String,
    /// Targets whose events belong to it.
    pub targets: Vec<String>,
    /// Least severe level that is written.
    pub level: Option<LogLevel>,
    /// File of its own; the main log then does not have its lines.
    pub file: Option<PathBuf>,
    /// Tag of its lines.
    pub tag: Option<String>,
    /// Also to the standard streams.
    pub std_streams: Option<bool>,
    /// How its lines look.
    pub format: Option<LogFormat>,
    /// When its own file is put aside. The directory is that of its file unless the rotation names one.
    pub rotation: Option<Rotation>,
}

impl ComponentLog {
    /// A component with the targets that this program's crates use for the section `name` of the
    /// configuration; `external` are the application loggers, and every other name is an application.
    pub fn section(name: &str) -> Self {
        let targets: &[&str] = match name {
            "http" => &["http", "http_chain", "core_listener"],
            "rest" => &["rest", "sse", "ws", "proto_sse", "proto_ws"],
            "mqtt" => &["mqtt", "proto_mqtt"],
            "authentication" => &["auth"],
            "operationsApi" => &["operations", "opsapi"],
            "tls" => &["tls", "core_listener::tls", "server::certificates"],
            "storage" => &["store"],
            "analytics" => &["analytics"],
            "replication" => &["replication", "cluster"],
            "external" => &["application"],
            _ => &[],
        };
        Self {
            name: name.to_owned(),
            targets: targets.iter().map(|target| (*target).to_owned()).collect(),
            ..Self::default()
        }
    }
}

/// One file as its writer needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileSettings {
    pub(crate) path: PathBuf,
    pub(crate) format: LogFormat,
    /// First part of the names of rotated files.
    pub(crate) prefix: String,
    pub(crate) rotation: Option<Rotation>,
}

impl FileSettings {
    /// Where rotated files go.
    pub(crate) fn archive(&self) -> &Path {
        let directory = self
            .rotation
            .as_ref()
            .and_then(|it| it.directory.as_deref());
        directory.unwrap_or_else(|| directory_of(&self.path))
    }
}

pub(crate) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

impl LogConfig {
    /// All files, each once: the main file and then those of components. When several components name one
    /// file, the first says how it is rotated.
    pub(crate) fn files(&self) -> Vec<FileSettings> {
        let main = self.file.iter().map(|path| FileSettings {
            path: path.clone(),
            format: self.format,
            prefix: MAIN_PREFIX.to_owned(),
            rotation: self.rotation.clone(),
        });
        let own = self.components.iter().filter_map(|component| {
            let path = component.file.as_ref()?;
            let stem = path.file_stem().unwrap_or(path.as_os_str());
            Some(FileSettings {
                path: path.clone(),
                format: component.format.unwrap_or(self.format),
                prefix: stem.to_string_lossy().to_uppercase(),
                rotation: component
                    .rotation
                    .clone()
                    .or_else(|| self.component_rotation()),
            })
        });
        let mut files: Vec<FileSettings> = Vec::new();
        for file in main.chain(own) {
            if files.iter().all(|known| known.path != file.path) {
                files.push(file);
            }
        }
        files
    }

    /// The rotation of the main log, for a file in another directory.
    fn component_rotation(&self) -> Option<Rotation> {
        self.rotation.clone().map(|rotation| Rotation {
            directory: None,
            ..rotation
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_opened_once_and_rotates_like_the_main_log_unless_told_otherwise() {
        let rotation = Rotation {
            max_bytes: Some(10),
            directory: Some("/old".into()),
            ..Rotation::default()
        };
        let component = |name: &str, path: &str| ComponentLog {
            file: Some(path.into()),
            ..ComponentLog::section(name)
        };
        let config = LogConfig {
            file: Some("/log/motet.log".into()),
            rotation: Some(rotation),
            components: vec![
                component("http", "/log/motet.log"),
                component("mqtt", "/log/m.log"),
                component("storage", "/log/m.log"),
            ],
            ..LogConfig::default()
        };
        let files = config.files();
        let seen: Vec<_> = files
            .iter()
            .map(|file| (file.prefix.as_str(), file.archive()))
            .collect();
        assert_eq!(seen, [("HDB", Path::new("/old")), ("M", Path::new("/log"))]);
        assert_eq!(files[1].rotation.as_ref().unwrap().max_bytes, Some(10));
    }
}
