//! The `$SYS` topics: what the broker says about itself, to super users.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use base::{Timestamp, VersionClock, WorkerId};
use bytes::Bytes;
use futures_util::stream;
use resource::{
    Action, Answer, Body, Context, Delivery, Error, Event, EventKind, Hub, Key, Map, Methods,
    Phase, Resource, Scope, SourceId, SubscribeOptions, Subscription, Value,
};

use super::broker::Statistics;
use crate::mapping::SYSTEM;

/// Its hub is its own, so one worker is enough for the few who listen.
const WORKER: WorkerId = WorkerId(0);

/// Values by topic below `$SYS`. Nobody can publish there.
pub(super) struct SystemTopics {
    hub: Hub,
    source: SourceId,
    clock: VersionClock,
    started: Instant,
    /// Locked while values are exchanged and while a subscription begins, so that none is missed between.
    values: Mutex<BTreeMap<&'static str, (String, Arc<Event>)>>,
}

impl Default for SystemTopics {
    fn default() -> Self {
        Self {
            hub: Hub::new(1),
            source: SourceId::next(),
            clock: VersionClock::default(),
            started: Instant::now(),
            values: Mutex::default(),
        }
    }
}

impl SystemTopics {
    /// Delivers what changes, for as long as it is polled.
    pub(super) async fn dispatch(&self) {
        self.hub.dispatch(WORKER).await;
    }

    /// Takes the numbers as they are now; subscribers get those that changed.
    pub(super) fn refresh(&self, statistics: &Statistics) {
        let uptime_s = self.started.elapsed().as_secs();
        let dropped = statistics.dropped_expired + statistics.dropped_too_large;
        let numbers = [
            ("broker/uptime", uptime_s),
            ("broker/clients/connected", statistics.sessions),
            ("broker/connections/total", statistics.connections),
            ("broker/bytes/received", statistics.bytes_received),
            ("broker/bytes/sent", statistics.bytes_sent),
            ("broker/messages/received", statistics.packets_received),
            ("broker/messages/sent", statistics.packets_sent),
            (
                "broker/publish/messages/received",
                statistics.publishes_received,
            ),
            ("broker/publish/messages/sent", statistics.publishes_sent),
            (
                "broker/publish/messages/refused",
                statistics.publishes_refused,
            ),
            ("broker/publish/messages/dropped", dropped),
        ];
        let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        let version = ("broker/version", env!("CARGO_PKG_VERSION").to_owned());
        let numbers = numbers.map(|(topic, number)| (topic, number.to_string()));
        let mut changed = Vec::new();
        for (topic, text) in numbers.into_iter().chain([version]) {
            if values.get(topic).is_none_or(|(before, _)| *before != text) {
                let event = Arc::new(self.event(topic, body(&text)));
                values.insert(topic, (text, Arc::clone(&event)));
                changed.push(event);
            }
        }
        self.hub.publish(&changed);
    }

    fn event(&self, topic: &str, body: Body) -> Event {
        let (key, at) = (Key::from(topic), self.clock.tick());
        Event::new(self.source, EventKind::Put, Some(key), Some(body), at)
    }

    fn open(&self, scope: &Scope, options: &SubscribeOptions) -> Subscription {
        let values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        let live = self.hub.subscribe(WORKER, self.source, scope);
        let newest = values.values().map(|(_, event)| event.local_time).max();
        // There is no log: who comes back gets the values as they are.
        let wanted = values
            .values()
            .map(|(_, event)| event)
            .filter(|event| !options.omit_current && scope.covers(event.key.as_ref()));
        let state: Vec<_> = wanted
            .map(|event| Delivery::new(Arc::clone(event), Phase::Initial))
            .collect();
        let covered = newest.unwrap_or(Timestamp::ZERO);
        let backlog = Box::pin(stream::iter([Ok(state)]));
        Subscription::new(live, covered, Some(backlog))
    }
}

/// Text, delivered as it is.
fn body(text: &str) -> Body {
    let data = Value::Bytes(Bytes::copy_from_slice(text.as_bytes()));
    Body::from(Value::Map(Map::from_iter([
        ("contentType", Value::from("text/plain")),
        ("data", data),
    ])))
}

impl Resource for SystemTopics {
    fn name(&self) -> &str {
        SYSTEM
    }

    fn methods(&self) -> Methods {
        Methods {
            subscribe: true,
            ..Methods::NONE
        }
    }

    fn subscribe<'a>(
        &'a self,
        scope: Scope,
        options: &'a SubscribeOptions,
        context: &'a Context,
    ) -> Answer<'a, Subscription> {
        let allowed: Result<(), Error> = self.authorize(context, &[Action::Read]);
        Answer::ready(allowed.map(|()| self.open(&scope, options)))
    }
}
