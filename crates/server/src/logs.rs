//! From the settings of `logging`, and of the logs of components, to those of `telemetry`.

use telemetry::logs::{Colors, ComponentLog, LogConfig, LogFormat, Rotation};

use crate::config::{self, Config, Logging};

/// Every section, so that a line carries the name of the one it belongs to.
const SECTIONS: [&str; 10] = [
    "http",
    "rest",
    "mqtt",
    "authentication",
    "operationsApi",
    "tls",
    "storage",
    "analytics",
    "replication",
    "external",
];

/// What is logged, where and how.
pub fn log_config(config: &Config) -> LogConfig {
    let logging = &config.logging;
    LogConfig {
        level: logging.level,
        file: logging.file.clone(),
        std_streams: logging.std_streams,
        console: logging.console,
        format: format(logging.format),
        colors: match logging.colors {
            true => Colors::Auto,
            false => Colors::Never,
        },
        rotation: rotation(logging),
        components: SECTIONS
            .iter()
            .map(|name| component(config, name))
            .collect(),
        ..LogConfig::default()
    }
}

fn component(config: &Config, name: &str) -> ComponentLog {
    let section = ComponentLog::section(name);
    if let ("http", Some(requests)) = (name, &config.http.request_log) {
        return ComponentLog {
            level: requests.level,
            file: requests.file.clone(),
            std_streams: requests.std_streams,
            // Requests are records; the other lines of the section keep their message.
            format: match requests.format {
                config::LogFormat::Json => Some(LogFormat::FlatJson),
                config::LogFormat::Text => None,
            },
            ..section
        };
    }
    let own = config.logging.components.iter();
    match own.clone().find(|own| own.component == name) {
        None => section,
        Some(own) => ComponentLog {
            level: own.level,
            file: own.file.clone(),
            tag: own.tag.clone(),
            std_streams: own.std_streams,
            ..section
        },
    }
}

fn rotation(logging: &Logging) -> Option<Rotation> {
    let config::Rotation {
        interval,
        max_bytes,
        compress,
        directory,
        retention,
    } = logging.rotation.clone();
    (interval.is_some() || max_bytes.is_some()).then_some(Rotation {
        max_bytes,
        interval,
        compress,
        directory,
        retention,
    })
}

fn format(format: config::LogFormat) -> LogFormat {
    match format {
        config::LogFormat::Text => LogFormat::Text,
        config::LogFormat::Json => LogFormat::Json,
    }
}
