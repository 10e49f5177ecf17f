//! A table in memory, and a reader of event streams.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use base::{Timestamp, VersionClock, WorkerId};
use futures_util::stream;
use http_body_util::BodyExt as _;
use http_chain::Body;
use resource::hub::QueueLimits;
use resource::{
    Answer, Condition, Context, Delivery, Error, Event, EventKind, Hub, Key, Map, Methods, Phase,
    Resource, Scope, SourceId, SubscribeOptions, Subscription, Value,
};

/// Records with a log, published through a hub.
pub(crate) struct Table {
    hub: Hub,
    source: SourceId,
    clock: VersionClock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    records: BTreeMap<String, Arc<Event>>,
    log: Vec<Arc<Event>>,
    /// Events up to here are forgotten.
    log_start: Timestamp,
}

impl Table {
    /// An empty table. Its events are delivered for as long as the runtime runs.
    pub(crate) fn start(limits: QueueLimits) -> Arc<Self> {
        let hub = Hub::with_limits(1, limits);
        let dispatched = hub.clone();
        #[expect(
            clippy::disallowed_methods,
            reason = "ends with the runtime of the test"
        )]
        tokio::spawn(async move { dispatched.dispatch(WorkerId(0)).await });
        Arc::new(Self {
            hub,
            source: SourceId::next(),
            clock: VersionClock::default(),
            state: Mutex::default(),
        })
    }

    pub(crate) fn put(&self, key: &str, value: &str) -> Timestamp {
        self.commit(EventKind::Put, key, Some(value), None)
    }

    pub(crate) fn patch(&self, key: &str, value: &str, delta: &str) -> Timestamp {
        self.commit(EventKind::Patch, key, Some(value), Some(delta))
    }

    pub(crate) fn delete(&self, key: &str) -> Timestamp {
        self.commit(EventKind::Delete, key, None, None)
    }

    pub(crate) fn message(&self, key: &str, value: &str) -> Timestamp {
        self.commit(EventKind::Message, key, Some(value), None)
    }

    pub(crate) fn subscriptions(&self) -> u64 {
        self.hub.statistics().subscriptions
    }

    fn commit(
        &self,
        kind: EventKind,
        key: &str,
        value: Option<&str>,
        delta: Option<&str>,
    ) -> Timestamp {
        let body = |text: &str| Value::Map(Map::from_iter([("name", Value::from(text))])).into();
        let mut state = self.state.lock().unwrap();
        let at = self.clock.tick();
        let body_of = |text: Option<&str>| text.map(body);
        let event = Arc::new(Event {
            delta: body_of(delta),
            ..Event::new(self.source, kind, Some(Key::from(key)), body_of(value), at)
        });
        match kind {
            EventKind::Put | EventKind::Patch => {
                state.records.insert(key.to_owned(), Arc::clone(&event));
            }
            EventKind::Delete => {
                state.records.remove(key);
            }
            _ => {}
        }
        state.log.push(Arc::clone(&event));
        self.hub.publish(&[event]);
        at
    }

    /// Forgets the log so far.
    pub(crate) fn truncate_log(&self) {
        let mut state = self.state.lock().unwrap();
        state.log_start = self.clock.tick();
        state.log.clear();
    }

    fn has_forgotten(&self, options: &SubscribeOptions) -> bool {
        let log_start = self.state.lock().unwrap().log_start;
        options.start_time.is_some_and(|start| start < log_start)
    }

    fn backlog(&self, scope: &Scope, options: &SubscribeOptions) -> (Timestamp, Vec<Delivery>) {
        let state = self.state.lock().unwrap();
        let covers = |event: &&Arc<Event>| scope.covers(event.key.as_ref());
        let deliver = |phase| move |event: &Arc<Event>| Delivery::new(Arc::clone(event), phase);
        let log = state.log.iter().filter(covers);
        let backlog = match (options.start_time, options.previous_count) {
            (Some(start), _) if start >= state.log_start => log
                .filter(|event| event.local_time > start)
                .map(deliver(Phase::Replay))
                .collect(),
            (None, Some(count)) => {
                let events: Vec<_> = log.collect();
                let skipped = events.len().saturating_sub(count as usize);
                events[skipped..]
                    .iter()
                    .copied()
                    .map(deliver(Phase::Replay))
                    .collect()
            }
            (None, None) if options.omit_current => Vec::new(),
            (Some(_), _) | (None, None) => {
                let records = state.records.values().filter(covers);
                records.map(deliver(Phase::Initial)).collect()
            }
        };
        let covered = state
            .log
            .last()
            .map_or(Timestamp::ZERO, |event| event.local_time);
        (covered, backlog)
    }
}

impl Resource for Table {
    fn name(&self) -> &str {
        "Dog"
    }

    fn methods(&self) -> Methods {
        Methods::TABLE
    }

    fn subscribe<'a>(
        &'a self,
        scope: Scope,
        options: &'a SubscribeOptions,
        context: &'a Context,
    ) -> Answer<'a, Subscription> {
        if options.previous_count == Some(0) {
            return Answer::ready(Err(Error::bad_request("nothing is asked for")));
        }
        let live = self.hub.subscribe(context.worker, self.source, &scope);
        let (covered, deliveries) = self.backlog(&scope, options);
        // Each event is a batch, so that the reader meets several.
        let batches = deliveries.into_iter().map(|delivery| Ok(vec![delivery]));
        let backlog = Box::pin(stream::iter(batches.collect::<Vec<_>>()));
        let mut subscription = Subscription::new(live, covered, Some(backlog));
        if self.has_forgotten(options) {
            subscription = subscription.with_reset();
        }
        if let Some(Condition::Compare(wanted)) = options.filter.clone() {
            subscription = subscription.with_filter(Box::new(move |event| {
                let value = event.body.as_ref().map(|body| body.to_value());
                let found = value.as_ref().and_then(Value::as_map);
                let found = found.and_then(|map| map.get(&wanted.attribute[0]));
                let passes = event.kind == EventKind::Delete || found == Some(&wanted.value);
                passes.then(|| Arc::clone(event))
            }));
        }
        Answer::ready(Ok(subscription))
    }
}

/// Reads the blocks of one stream.
pub(crate) struct Reader {
    body: Body,
    text: String,
}

impl Reader {
    pub(crate) fn new(body: Body) -> Self {
        Self {
            body,
            text: String::new(),
        }
    }

    /// The next block without its empty line; `None` at the end of the stream.
    pub(crate) async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let block = block.to_owned();
                self.text = rest.to_owned();
                return Some(block);
            }
            let Some(frame) = self.body.frame().await else {
                assert_eq!(self.text, "", "the stream ended within a block");
                return None;
            };
            let data = frame.unwrap().into_data().unwrap();
            self.text.push_str(std::str::from_utf8(&data).unwrap());
        }
    }

    /// The next block with data as its envelope and its id. Blocks without data are skipped, as a browser
    /// does, but for the id they carry.
    pub(crate) async fn event(&mut self) -> (serde_json::Value, Option<String>) {
        loop {
            let block = self.block().await.expect("an event");
            let field = |name: &str| {
                let mut lines = block.lines();
                lines
                    .find_map(|line| line.strip_prefix(name))
                    .map(str::to_owned)
            };
            if let Some(data) = field("data: ") {
                return (serde_json::from_str(&data).unwrap(), field("id: "));
            }
        }
    }

    /// `(type, id, name)` of the next event.
    pub(crate) async fn summary(&mut self) -> (String, String, Option<String>) {
        let (event, _) = self.event().await;
        let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
        let name = text(&event["value"]["name"]);
        (
            text(&event["type"]).unwrap(),
            text(&event["id"]).unwrap(),
            name,
        )
    }

    /// What is left of a frame, as it came.
    pub(crate) async fn frame(&mut self) -> Option<bytes::Bytes> {
        let frame = self.body.frame().await?;
        Some(frame.unwrap().into_data().unwrap())
    }
}
