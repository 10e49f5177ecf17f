//! A table in memory that publishes its changes, as the store does.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use base::{Timestamp, VersionClock};
use futures_util::stream;
use resource::{
    Answer, Body, Context, Error, Event, EventKind, Hub, Key, Map, Methods, Record, RecordStream,
    Resource, Scope, SourceId, SubscribeOptions, Subscription, Target, Value, Write, WriteKind,
    WriteOutcome, Written,
};

pub(crate) struct MemoryTable {
    name: &'static str,
    hub: Hub,
    source: SourceId,
    clock: VersionClock,
    records: Mutex<BTreeMap<Key, Record>>,
    pub(crate) fails: AtomicBool,
}

impl MemoryTable {
    pub(crate) fn new(name: &'static str, hub: &Hub) -> Arc<Self> {
        Arc::new(Self {
            name,
            hub: hub.clone(),
            source: SourceId::next(),
            clock: VersionClock::default(),
            records: Mutex::default(),
            fails: AtomicBool::new(false),
        })
    }

    pub(crate) fn text(&self, key: &str, attribute: &str) -> Option<String> {
        let records = self.records.lock().unwrap();
        let value = records.get(&Key::from(key))?.body.attribute(attribute)?;
        value.as_str().map(str::to_owned)
    }

    fn apply(&self, write: Write) -> Result<Written, Error> {
        let mut records = self.records.lock().unwrap();
        let key = write.key.unwrap();
        let old = records.get(&key);
        if let Some(versions) = &write.precondition.if_match
            && !old.is_some_and(|old| versions.contains(&old.version))
        {
            return Err(Error::precondition_failed("changed"));
        }
        let version = self.clock.tick();
        let (outcome, body) = match (&write.kind, old) {
            (WriteKind::InsertIfAbsent, Some(_)) | (WriteKind::UpdateIfPresent, None) => {
                (WriteOutcome::Skipped, None)
            }
            (WriteKind::Delete, None) => (WriteOutcome::Skipped, None),
            (WriteKind::Delete, Some(_)) => (WriteOutcome::Deleted, None),
            (WriteKind::InsertIfAbsent, None) => (WriteOutcome::Created, write.body),
            (WriteKind::UpdateIfPresent, Some(old)) => {
                let mut merged = old.body.to_value().as_map().unwrap().clone();
                for (name, value) in write.body.unwrap().as_map().unwrap().iter() {
                    merged.insert(name, value.clone());
                }
                (WriteOutcome::Updated, Some(Value::Map(merged)))
            }
            other => panic!("not needed here: {other:?}"),
        };
        match (&body, outcome) {
            (_, WriteOutcome::Deleted) => {
                records.remove(&key);
            }
            (Some(body), _) => {
                let body = Body::from(body.clone());
                let record = Record {
                    key: Some(key.clone()),
                    version,
                    expires_at: None,
                    body,
                };
                records.insert(key.clone(), record);
            }
            _ => {}
        }
        self.publish(&key, version);
        Ok(Written {
            key: Some(key),
            outcome,
            version,
        })
    }

    fn publish(&self, key: &Key, version: Timestamp) {
        self.hub.publish(&[Arc::new(Event {
            source: self.source,
            kind: EventKind::Put,
            key: Some(key.clone()),
            body: None,
            delta: None,
            version,
            local_time: version,
            begin_transaction: true,
            publisher: None,
            properties: None,
        })]);
    }
}

impl Resource for MemoryTable {
    fn name(&self) -> &str {
        self.name
    }

    fn methods(&self) -> Methods {
        Methods::TABLE
    }

    fn search<'a>(&'a self, _: &'a Target, context: &'a Context) -> Answer<'a, RecordStream> {
        assert!(context.caller.is_super_user());
        if self.fails.load(Ordering::SeqCst) {
            return Answer::ready(Err(Error::internal("on purpose")));
        }
        let records: Vec<Record> = self.records.lock().unwrap().values().cloned().collect();
        Answer::ready(Ok(Box::pin(stream::iter([Ok(records)]))))
    }

    fn get<'a>(&'a self, target: &'a Target, context: &'a Context) -> Answer<'a, Option<Record>> {
        assert!(context.caller.is_super_user());
        let key = target.key.as_ref().unwrap();
        Answer::ready(Ok(self.records.lock().unwrap().get(key).cloned()))
    }

    fn write<'a>(&'a self, writes: Vec<Write>, context: &'a Context) -> Answer<'a, Vec<Written>> {
        assert!(context.caller.is_super_user());
        let written = writes.into_iter().map(|write| self.apply(write)).collect();
        Answer::ready(written)
    }

    fn subscribe<'a>(
        &'a self,
        scope: Scope,
        _: &'a SubscribeOptions,
        context: &'a Context,
    ) -> Answer<'a, Subscription> {
        let live = self.hub.subscribe(context.worker, self.source, &scope);
        Answer::ready(Ok(Subscription::new(live, Timestamp::ZERO, None)))
    }
}

/// Writes one record as the generic operations would.
pub(crate) async fn put(
    table: &MemoryTable,
    kind: WriteKind,
    key: &str,
    members: &[(&str, Value)],
) {
    let body = Map::from_iter(members.iter().map(|(name, value)| (*name, value.clone())));
    let write = Write::new(Some(Key::from(key)), kind, Some(Value::Map(body)));
    let context = Context::internal();
    table.write(vec![write], &context).await.unwrap();
}
