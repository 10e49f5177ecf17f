//! The destinations in use, and the routes that lead to them.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::archive::Archive;
use super::config::{Colors, ComponentLog, FileSettings, LogConfig};
use super::file::LogFile;
use super::format::Layout;
use super::routes::{Output, Route, Routes, StreamOutput};
use super::sink::{Command, Sink, Stream, Totals};
use super::{FLUSH_TIMEOUT, LogError, LogFormat};

/// Files, each with a thread, and the standard streams, each with a thread.
pub(crate) struct Outputs {
    files: Vec<(PathBuf, Sink)>,
    output: Sink,
    error: Sink,
}

impl Outputs {
    /// Starts the standard streams, which are there even when nothing goes to them yet.
    pub(crate) fn start(config: &LogConfig) -> Result<Self, LogError> {
        let output = Sink::start("log-stdout", Stream::output(config.format), config.limits);
        let error = Sink::start("log-stderr", Stream::error(config.format), config.limits);
        Ok(Self {
            files: Vec::new(),
            output: output.map_err(LogError::Thread)?,
            error: error.map_err(LogError::Thread)?,
        })
    }

    /// Opens those of `files` that are not open; all or none.
    pub(crate) fn open(
        &mut self,
        files: &[FileSettings],
        config: &LogConfig,
        archive: &Archive,
    ) -> Result<(), LogError> {
        let mut opened = Vec::new();
        for settings in files {
            if self.file(&settings.path).is_some() {
                continue;
            }
            let path = settings.path.clone();
            let file = LogFile::open(settings.clone(), archive.bell())
                .map_err(|source| LogError::open(&path, source))?;
            let sink = Sink::start("log-file", file, config.limits).map_err(LogError::Thread)?;
            opened.push((path, sink));
        }
        self.files.append(&mut opened);
        Ok(())
    }

    /// Hands the settings to all destinations.
    pub(crate) fn configure(
        &self,
        files: &[FileSettings],
        config: &LogConfig,
    ) -> Result<(), LogError> {
        for sink in self.sinks() {
            sink.set_limits(config.limits);
        }
        let streams =
            [&self.output, &self.error].map(|sink| (sink, Command::Format(config.format)));
        let files = files.iter().filter_map(|settings| {
            let sink = self.file(&settings.path)?;
            Some((sink, Command::Configure(settings.clone())))
        });
        let mut result = Ok(());
        for (sink, command) in files.chain(streams) {
            // These commands do no input or output, so they do not fail.
            if sink.ask(command, FLUSH_TIMEOUT).is_none() {
                result = Err(LogError::Stuck);
            }
        }
        result
    }

    /// Writes what waits for files that are not among `files`, closes them and returns their totals.
    pub(crate) fn close_others(&mut self, files: &[FileSettings]) -> Totals {
        let is_used = |path: &PathBuf| files.iter().any(|settings| settings.path == *path);
        let (used, unused) = std::mem::take(&mut self.files)
            .into_iter()
            .partition(|(path, _)| is_used(path));
        self.files = used;
        let unused: Vec<(PathBuf, Sink)> = unused;
        let mut totals = Totals::default();
        for (_, sink) in unused {
            sink.flush(FLUSH_TIMEOUT);
            totals += sink.totals();
        }
        totals
    }

    pub(crate) fn files(&self) -> &[(PathBuf, Sink)] {
        &self.files
    }

    pub(crate) fn sinks(&self) -> impl Iterator<Item = &Sink> {
        let files = self.files.iter().map(|(_, sink)| sink);
        files.chain([&self.output, &self.error])
    }

    /// Waits until what was queued is written; `timeout` is for all together.
    pub(crate) fn flush(&self, timeout: Duration) -> bool {
        let until = Instant::now() + timeout;
        let mut is_done = true;
        for sink in self.sinks() {
            // One that hangs keeps none of the others from being asked.
            let left = until.saturating_duration_since(Instant::now());
            is_done &= sink.flush(left);
        }
        is_done
    }

    /// The routes that `config` describes, to the destinations that are open.
    pub(crate) fn routes(&self, config: &LogConfig) -> Result<Routes, LogError> {
        let of_components = config.components.iter();
        let tags = of_components.flat_map(|it| it.tag.iter().chain([&it.name]));
        let is_bad = |tag: &str| {
            let is_bad = |character: char| matches!(character, '[' | ']') || character.is_control();
            tag.is_empty() || tag.contains(is_bad)
        };
        if let Some(tag) = tags.into_iter().find(|tag| is_bad(tag)) {
            return Err(LogError::Tag(tag.clone()));
        }
        let route = |component: Option<&ComponentLog>| self.route(config, component);
        Ok(Routes::new(
            config,
            route,
            self.streams(config, config.format),
        ))
    }

    fn route(&self, config: &LogConfig, component: Option<&ComponentLog>) -> Route {
        let format = component
            .and_then(|component| component.format)
            .unwrap_or(config.format);
        let level = component.and_then(|component| component.level);
        let file = component
            .and_then(|component| component.file.as_deref())
            .or(config.file.as_deref());
        let has_streams = component
            .and_then(|component| component.std_streams)
            .unwrap_or(config.std_streams);
        let layout = Layout {
            has_time: true,
            has_colors: false,
        };
        Route {
            level: level.unwrap_or(config.level),
            name: component.map(|component| component.name.clone()),
            tag: component.and_then(|component| component.tag.clone()),
            file: file.and_then(|path| self.file(path)).map(|sink| Output {
                writer: sink.writer(),
                format,
                layout,
            }),
            streams: has_streams.then(|| self.streams(config, format)),
        }
    }

    fn file(&self, path: &Path) -> Option<&Sink> {
        let mut files = self.files.iter();
        files.find(|(known, _)| known == path).map(|(_, sink)| sink)
    }

    fn streams(&self, config: &LogConfig, format: LogFormat) -> StreamOutput {
        let has_colors = match config.colors {
            Colors::Auto => io::stdout().is_terminal() && io::stderr().is_terminal(),
            Colors::Always => true,
            Colors::Never => false,
        };
        StreamOutput {
            output: self.output.writer(),
            error: self.error.writer(),
            format,
            layout: Layout {
                has_time: false,
                has_colors,
            },
        }
    }
}
