//! Which events are written, and how many were.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::LogLevel;

/// Levels by target.
pub(crate) struct Thresholds {
    default: LogLevel,
    /// Longest target first, so that the first match is the closest.
    targets: Vec<(String, LogLevel)>,
}

impl Thresholds {
    pub(crate) fn new(default: LogLevel, mut targets: Vec<(String, LogLevel)>) -> Self {
        targets.sort_by_key(|(target, _)| std::cmp::Reverse(target.len()));
        Self { default, targets }
    }

    fn passes(&self, metadata: &Metadata<'_>) -> bool {
        LogLevel::of(metadata) >= self.threshold(metadata.target())
    }

    fn threshold(&self, target: &str) -> LogLevel {
        let is_at_or_above = |module: &str| {
            target
                .strip_prefix(module)
                .is_some_and(|below| below.is_empty() || below.starts_with("::"))
        };
        self.targets
            .iter()
            .find(|(module, _)| is_at_or_above(module))
            .map_or(self.default, |(_, level)| *level)
    }
}

impl<S: Subscriber> Layer<S> for Thresholds {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        match self.passes(metadata) {
            true => Interest::always(),
            false => Interest::never(),
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.passes(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let levels = self.targets.iter().map(|(_, level)| *level);
        Some(match levels.fold(self.default, LogLevel::min) {
            LogLevel::Trace => LevelFilter::TRACE,
            LogLevel::Debug => LevelFilter::DEBUG,
            LogLevel::Info => LevelFilter::INFO,
            LogLevel::Warn => LevelFilter::WARN,
            // `fatal` and `notify` are marked events of the level error.
            LogLevel::Error | LogLevel::Fatal | LogLevel::Notify => LevelFilter::ERROR,
        })
    }
}

/// Events that passed, by level. Shared by all threads: what a line costs hides the price of the atomic.
#[derive(Debug, Default)]
pub(crate) struct Counts([AtomicU64; LogLevel::ALL.len()]);

impl Counts {
    pub(crate) fn read(&self) -> [u64; LogLevel::ALL.len()] {
        std::array::from_fn(|level| self.0[level].load(Ordering::Relaxed))
    }
}

/// The layer that counts.
pub(crate) struct Counting(pub(crate) Arc<Counts>);

impl<S: Subscriber> Layer<S> for Counting {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = LogLevel::of(event.metadata());
        self.0.0[level as usize].fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_target_decides() {
        let targets = [
            ("http", LogLevel::Error),
            ("http::files", LogLevel::Trace),
            ("store", LogLevel::Debug),
        ];
        let targets = targets.map(|(target, level)| (target.to_owned(), level));
        let thresholds = Thresholds::new(LogLevel::Info, targets.to_vec());
        for (target, level) in [
            ("http", LogLevel::Error),
            ("http::chain", LogLevel::Error),
            ("http::files::range", LogLevel::Trace),
            ("https", LogLevel::Info),
            ("store", LogLevel::Debug),
            ("", LogLevel::Info),
        ] {
            assert_eq!(thresholds.threshold(target), level, "{target}");
        }
    }
}
