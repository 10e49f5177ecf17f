//! The `tracing` layer: from an event to lines in the queues of its destinations.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::LogLevel;
use super::format::{Line, SpanText, write_line};
use super::routes::{Route, Routes, TAG_FIELD};

/// Memory that a thread keeps for its next line.
const KEPT_BYTES: usize = 16 * 1024;

thread_local! {
    static LINE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Events that were written, by level. Shared by all threads: what a line costs hides the price of the atomic.
#[derive(Debug, Default)]
pub(crate) struct Counts([AtomicU64; LogLevel::ALL.len()]);

impl Counts {
    pub(crate) fn read(&self) -> [u64; LogLevel::ALL.len()] {
        std::array::from_fn(|level| self.0[level].load(Ordering::Relaxed))
    }
}

/// What all threads log through.
pub(crate) struct LogLayer {
    pub(crate) routes: Arc<ArcSwap<Routes>>,
    pub(crate) counts: Arc<Counts>,
}

impl<S> Layer<S> for LogLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        match self.routes.load().may_pass(metadata) {
            true => Interest::always(),
            false => Interest::never(),
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.routes.load().may_pass(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.routes.load().max_level_hint())
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut text = SpanText::default();
            attributes.record(&mut text);
            span.extensions_mut().insert(text);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(text) = span.extensions_mut().get_mut::<SpanText>()
        {
            values.record(text);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        let event_tag = event_tag(event);
        let routes = self.routes.load();
        let Some(route) = routes.route(metadata, event_tag.as_deref()) else {
            return;
        };
        let level = LogLevel::of(metadata);
        self.counts.0[level as usize].fetch_add(1, Ordering::Relaxed);
        let scope = context.event_scope(event).into_iter();
        let spans = scope.flat_map(|scope| scope.from_root()).map(|span| {
            let extensions = span.extensions();
            let fields = extensions.get::<SpanText>().map_or("", SpanText::as_str);
            (span.name(), fields.to_owned())
        });
        let line = Line {
            event,
            level,
            component: route.name.as_deref(),
            configured_tag: route.tag.as_deref(),
            event_tag: event_tag.as_deref(),
            spans: spans.collect(),
        };
        send(route, &line);
    }
}

/// Formats the line for each destination and queues it there.
fn send(route: &Route, line: &Line<'_>) {
    if let Some(file) = &route.file {
        with_buffer(|text| {
            write_line(text, file.format, file.layout, line);
            file.writer.push(text.as_bytes());
        });
    }
    if let Some(streams) = &route.streams {
        with_buffer(|text| {
            write_line(text, streams.format, streams.layout, line);
            match line.level {
                LogLevel::Error | LogLevel::Fatal => streams.error.push(text.as_bytes()),
                _ => streams.output.push(text.as_bytes()),
            }
        });
    }
}

/// Lends the thread's buffer, empty. A value that logs while it is formatted, or a thread that ends, gets
/// one of its own.
fn with_buffer(write: impl FnOnce(&mut String)) {
    let mut write = Some(write);
    let _ = LINE.try_with(|line| {
        if let Ok(mut line) = line.try_borrow_mut()
            && let Some(write) = write.take()
        {
            line.clear();
            write(&mut line);
            line.clear();
            line.shrink_to(KEPT_BYTES);
        }
    });
    if let Some(write) = write {
        write(&mut String::new());
    }
}

/// The value of the field `tag`, which names a component that is known at run time only.
fn event_tag(event: &Event<'_>) -> Option<String> {
    event.metadata().fields().field(TAG_FIELD)?;
    let mut tag = Tag(None);
    event.record(&mut tag);
    tag.0.filter(|tag| !tag.is_empty())
}

struct Tag(Option<String>);

impl Visit for Tag {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == TAG_FIELD {
            self.0 = Some(format!("{value:?}"));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == TAG_FIELD {
            self.0 = Some(value.to_owned());
        }
    }
}
