//! Which events are written, and where.

use tracing::Metadata;
use tracing::level_filters::LevelFilter;

use super::config::{ComponentLog, LogConfig};
use super::format::Layout;
use super::sink::QueueWriter;
use super::{LogFormat, LogLevel};

/// The field of an event that names its component at run time.
pub(crate) const TAG_FIELD: &str = "tag";
/// Target of what application code prints.
const CONSOLE: &str = "console";

/// A destination and how lines look there.
#[derive(Clone)]
pub(crate) struct Output {
    pub(crate) writer: QueueWriter,
    pub(crate) format: LogFormat,
    pub(crate) layout: Layout,
}

/// Standard output, and standard error for what is serious.
#[derive(Clone)]
pub(crate) struct StreamOutput {
    pub(crate) output: QueueWriter,
    pub(crate) error: QueueWriter,
    pub(crate) format: LogFormat,
    pub(crate) layout: Layout,
}

/// Where the lines of a component go.
#[derive(Clone)]
pub(crate) struct Route {
    pub(crate) level: LogLevel,
    /// The component, unless it is the main log.
    pub(crate) name: Option<String>,
    /// A tag that the configuration sets.
    pub(crate) tag: Option<String>,
    pub(crate) file: Option<Output>,
    pub(crate) streams: Option<StreamOutput>,
}

/// All routes: an immutable snapshot that a change of the configuration replaces.
pub(crate) struct Routes {
    main: Route,
    components: Vec<Route>,
    /// Targets of components; longest first, so that the first match is the closest.
    by_target: Vec<(String, usize)>,
    /// Targets with a level of their own; longest first.
    levels: Vec<(String, LogLevel)>,
    /// Where the console goes that is not part of the log.
    console: Option<Route>,
    /// The least severe level of all, which is what a run-time tag can lead to.
    lowest: LogLevel,
}

impl Routes {
    /// `route` makes the outputs of a component, or of the main log.
    pub(crate) fn new(
        config: &LogConfig,
        mut route: impl FnMut(Option<&ComponentLog>) -> Route,
        streams: StreamOutput,
    ) -> Self {
        let components: Vec<Route> = config
            .components
            .iter()
            .map(|component| route(Some(component)))
            .collect();
        let targets = config.components.iter().enumerate();
        let mut by_target: Vec<_> = targets
            .flat_map(|(index, component)| {
                let targets = component.targets.iter();
                targets.map(move |target| (target.clone(), index))
            })
            .collect();
        by_target.sort_by_key(|(target, _)| std::cmp::Reverse(target.len()));
        let mut levels = config.targets.clone();
        levels.sort_by_key(|(target, _)| std::cmp::Reverse(target.len()));

        let main = route(None);
        let of_components = components.iter().map(|route| route.level);
        let of_targets = levels.iter().map(|(_, level)| *level);
        let lowest = of_components
            .chain(of_targets)
            .fold(main.level, LogLevel::min);
        let console = (!config.console).then(|| Route {
            level: LogLevel::Trace,
            name: None,
            tag: None,
            file: None,
            streams: Some(streams),
        });
        Self {
            main,
            components,
            by_target,
            levels,
            console,
            lowest,
        }
    }

    /// Whether an event may be written, as far as that is known before it happens.
    pub(crate) fn may_pass(&self, metadata: &Metadata<'_>) -> bool {
        let threshold = match metadata.fields().field(TAG_FIELD) {
            Some(_) => self.lowest,
            None => self.find(metadata.target(), None).1,
        };
        self.is_console(metadata.target()) || LogLevel::of(metadata) >= threshold
    }

    /// Where an event with this run-time tag goes; `None` if it is below the level.
    pub(crate) fn route(&self, metadata: &Metadata<'_>, tag: Option<&str>) -> Option<&Route> {
        if let Some(console) = &self.console
            && is_at_or_below(metadata.target(), CONSOLE)
        {
            return Some(console);
        }
        let (route, threshold) = self.find(metadata.target(), tag);
        (LogLevel::of(metadata) >= threshold).then_some(route)
    }

    /// The least severe level that `tracing` must not suppress.
    pub(crate) fn max_level_hint(&self) -> LevelFilter {
        let lowest = match self.console {
            Some(_) => LogLevel::Trace,
            None => self.lowest,
        };
        match lowest {
            LogLevel::Trace => LevelFilter::TRACE,
            LogLevel::Debug => LevelFilter::DEBUG,
            LogLevel::Info => LevelFilter::INFO,
            LogLevel::Warn => LevelFilter::WARN,
            // `fatal` and `notify` are marked events of the level error.
            LogLevel::Error | LogLevel::Fatal | LogLevel::Notify => LevelFilter::ERROR,
        }
    }

    fn is_console(&self, target: &str) -> bool {
        self.console.is_some() && is_at_or_below(target, CONSOLE)
    }

    /// The route of a target and the level that counts there.
    fn find(&self, target: &str, tag: Option<&str>) -> (&Route, LogLevel) {
        let by_tag = tag.and_then(|tag| {
            let mut components = self.components.iter();
            components.find(|route| route.name.as_deref() == Some(tag))
        });
        if let Some(route) = by_tag {
            return (route, route.level);
        }
        let closest = self
            .by_target
            .iter()
            .find(|(module, _)| is_at_or_below(target, module));
        let route = closest.map_or(&self.main, |(_, index)| &self.components[*index]);
        let level = self
            .levels
            .iter()
            .find(|(module, _)| is_at_or_below(target, module));
        (route, level.map_or(route.level, |(_, level)| *level))
    }
}

/// Whether `target` is `module` or a module below it.
fn is_at_or_below(target: &str, module: &str) -> bool {
    target
        .strip_prefix(module)
        .is_some_and(|below| below.is_empty() || below.starts_with("::"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::LogLimits;
    use crate::logs::sink::{Sink, Stream};

    fn routes(config: &LogConfig) -> Routes {
        let sink = Sink::start("test", Stream::error(LogFormat::Text), LogLimits::default());
        let writer = sink.unwrap().writer();
        let streams = StreamOutput {
            output: writer.clone(),
            error: writer,
            format: LogFormat::Text,
            layout: Layout {
                has_time: false,
                has_colors: false,
            },
        };
        let route = |component: Option<&ComponentLog>| Route {
            level: component
                .and_then(|component| component.level)
                .unwrap_or(config.level),
            name: component.map(|component| component.name.clone()),
            tag: None,
            file: None,
            streams: None,
        };
        Routes::new(config, route, streams)
    }

    #[test]
    fn the_closest_target_decides() {
        let targets = [
            ("http", LogLevel::Error),
            ("http::files", LogLevel::Trace),
            ("store", LogLevel::Debug),
        ];
        let config = LogConfig {
            level: LogLevel::Info,
            targets: targets
                .map(|(target, level)| (target.to_owned(), level))
                .to_vec(),
            ..LogConfig::default()
        };
        let routes = routes(&config);
        for (target, level) in [
            ("http", LogLevel::Error),
            ("http::chain", LogLevel::Error),
            ("http::files::range", LogLevel::Trace),
            ("https", LogLevel::Info),
            ("store", LogLevel::Debug),
            ("", LogLevel::Info),
        ] {
            assert_eq!(routes.find(target, None).1, level, "{target}");
        }
    }

    #[test]
    fn a_tag_names_a_component_before_the_target_does() {
        let component = |name: &str, level| ComponentLog {
            level: Some(level),
            ..ComponentLog::section(name)
        };
        let config = LogConfig {
            components: vec![
                component("external", LogLevel::Error),
                component("weather", LogLevel::Debug),
                component("tls", LogLevel::Trace),
                component("http", LogLevel::Fatal),
            ],
            ..LogConfig::default()
        };
        let routes = routes(&config);
        let name = |target, tag| routes.find(target, tag).0.name.as_deref();
        assert_eq!(name("application", Some("weather")), Some("weather"));
        assert_eq!(name("application", Some("other")), Some("external"));
        assert_eq!(name("core_listener::tls::stapling", None), Some("tls"));
        assert_eq!(name("core_listener::engine", None), Some("http"));
        assert_eq!(name("weather", None), None);
        assert_eq!(routes.lowest, LogLevel::Trace);
    }
}
