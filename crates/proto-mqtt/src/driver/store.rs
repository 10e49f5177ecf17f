//! Where sessions are kept while nobody is connected, and across restarts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::StreamExt;
use resource::{Answer, Context, Error, Map, Resource, Target, Value, Write, WriteKind};

/// Longest client identifier of a session that is kept, in bytes: it becomes a key.
pub(super) const MAX_KEPT_CLIENT_ID: usize = 512;

const STATE: &str = "state";

/// Keeps one record for each session that outlives its connection or has a Will.
///
/// Saves of one session come one after the other; an answer means that the record is as durable as it gets.
pub trait SessionStore: Send + Sync {
    /// The record of a client identifier.
    fn load<'a>(&'a self, client_id: &'a str) -> Answer<'a, Option<Bytes>>;
    /// All of them, in no order.
    fn list(&self) -> Answer<'_, Vec<(String, Bytes)>>;
    /// Makes or replaces a record.
    fn save<'a>(&'a self, client_id: &'a str, record: Bytes) -> Answer<'a, ()>;
    /// Removes a record, if there is one.
    fn remove<'a>(&'a self, client_id: &'a str) -> Answer<'a, ()>;
}

/// Sessions that outlive their connections, but not the process.
#[derive(Debug, Default)]
pub struct MemorySessions(Mutex<HashMap<String, Bytes>>);

impl MemorySessions {
    fn records(&self) -> MutexGuard<'_, HashMap<String, Bytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionStore for MemorySessions {
    fn load<'a>(&'a self, client_id: &'a str) -> Answer<'a, Option<Bytes>> {
        Answer::ready(Ok(self.records().get(client_id).cloned()))
    }

    fn list(&self) -> Answer<'_, Vec<(String, Bytes)>> {
        let records = self.records();
        let list = records
            .iter()
            .map(|(id, record)| (id.clone(), record.clone()));
        Answer::ready(Ok(list.collect()))
    }

    fn save<'a>(&'a self, client_id: &'a str, record: Bytes) -> Answer<'a, ()> {
        self.records().insert(client_id.to_owned(), record);
        Answer::ready(Ok(()))
    }

    fn remove<'a>(&'a self, client_id: &'a str) -> Answer<'a, ()> {
        self.records().remove(client_id);
        Answer::ready(Ok(()))
    }
}

/// Sessions in a table of their own, whose primary key is text and which has an attribute `state` of bytes. It
/// needs no log and must not be exported.
pub struct TableSessions(Arc<dyn Resource>);

impl TableSessions {
    /// Sessions in that table.
    pub fn new(table: Arc<dyn Resource>) -> Self {
        Self(table)
    }

    async fn write(
        &self,
        client_id: &str,
        kind: WriteKind,
        body: Option<Value>,
    ) -> Result<(), Error> {
        let write = Write::new(Some(client_id.into()), kind, body);
        self.0.write(vec![write], &Context::internal()).await?;
        Ok(())
    }
}

impl SessionStore for TableSessions {
    fn load<'a>(&'a self, client_id: &'a str) -> Answer<'a, Option<Bytes>> {
        Answer::pending(async move {
            let target = Target::record(client_id);
            let record = self.0.get(&target, &Context::internal()).await?;
            Ok(record.and_then(|record| state(&record.body)))
        })
    }

    fn list(&self) -> Answer<'_, Vec<(String, Bytes)>> {
        Answer::pending(async move {
            let mut list = Vec::new();
            let mut records = self
                .0
                .search(&Target::collection(), &Context::internal())
                .await?;
            while let Some(batch) = records.next().await {
                for record in batch? {
                    let found = record.key.as_ref().zip(state(&record.body));
                    list.extend(found.map(|(key, state)| (key.to_string(), state)));
                }
            }
            Ok(list)
        })
    }

    fn save<'a>(&'a self, client_id: &'a str, record: Bytes) -> Answer<'a, ()> {
        let body = Value::Map(Map::from_iter([(STATE, Value::Bytes(record))]));
        Answer::pending(self.write(client_id, WriteKind::Put, Some(body)))
    }

    fn remove<'a>(&'a self, client_id: &'a str) -> Answer<'a, ()> {
        Answer::pending(self.write(client_id, WriteKind::Delete, None))
    }
}

fn state(body: &resource::Body) -> Option<Bytes> {
    match body.attribute(STATE)? {
        Value::Bytes(bytes) => Some(bytes),
        _ => None,
    }
}
