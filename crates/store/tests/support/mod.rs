//! A store in a directory of its own, and short ways to ask it.
#![allow(dead_code, reason = "each test file uses a part")]

use std::sync::Arc;
use std::time::Duration;

use base::{Timestamp, WorkerId};
use futures_util::StreamExt as _;
use resource::{
    Caller, Comparator, Comparison, Condition, Context, Conversion, Delivery, Error, Hub, Key, Map,
    Operator, Permissions, Protocol, Query, Record, Resource, Subscription, Target, User, Value,
    Write, WriteKind, Written,
};
use store::{Store, StoreConfig};

/// Longest wait for an event that must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A store that is removed with the test.
pub(crate) struct Fixture {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) hub: Hub,
    pub(crate) store: Arc<Store>,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut StoreConfig)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut config = StoreConfig::new(directory.path());
        change(&mut config);
        let hub = Hub::new(2);
        let store = Store::open(config, hub.clone()).unwrap();
        Self {
            directory,
            hub,
            store,
        }
    }

    /// Closes the store and opens it again.
    pub(crate) fn reopen(self) -> Self {
        let Self {
            directory,
            hub,
            store,
        } = self;
        drop(store);
        let store = Store::open(StoreConfig::new(directory.path()), hub.clone()).unwrap();
        Self {
            directory,
            hub,
            store,
        }
    }

    /// The tables of a schema file.
    pub(crate) async fn ensure(&self, schema: &str) -> Vec<Arc<dyn Resource>> {
        let schema = store::schema::parse(schema, "schema.graphql").unwrap();
        self.store.ensure(schema.tables).await.unwrap()
    }

    /// The only table of a schema file.
    pub(crate) async fn table(&self, schema: &str) -> Arc<dyn Resource> {
        self.ensure(schema).await.remove(0)
    }

    /// Nothing must be wrong with a database.
    pub(crate) async fn verify(&self, database: &str) -> store::Verification {
        let found = self.store.verify(database).await.unwrap();
        assert_eq!(found.problem_count, 0, "{:#?}", found.problems);
        found
    }

    /// Delivers events on both workers for as long as the test's runtime lives.
    pub(crate) fn dispatch(&self) {
        for worker in 0..2 {
            let hub = self.hub.clone();
            #[allow(
                clippy::disallowed_methods,
                reason = "it ends with the runtime of the test"
            )]
            tokio::spawn(async move { hub.dispatch(WorkerId(worker)).await });
        }
    }
}

/// Everything is allowed.
pub(crate) fn internal() -> Context {
    Context::internal()
}

/// A user whose role has these permissions.
pub(crate) fn user(permissions: Permissions) -> Context {
    let user = User {
        username: Arc::from("ann"),
        role: Arc::from("role"),
        permissions: Arc::new(permissions),
    };
    Context::new(Caller::User(Arc::new(user)), WorkerId(0), Protocol::Rest)
}

/// A value from JSON.
pub(crate) fn json(text: &str) -> Value {
    resource::json::from_slice(text.as_bytes()).unwrap()
}

pub(crate) fn map(text: &str) -> Map {
    match json(text) {
        Value::Map(map) => map,
        other => panic!("{other:?} is no object"),
    }
}

pub(crate) async fn write_as(
    table: &Arc<dyn Resource>,
    key: Option<Key>,
    kind: WriteKind,
    body: &str,
    context: &Context,
) -> Result<Written, Error> {
    let body = (!body.is_empty()).then(|| json(body));
    let mut written = table
        .write(vec![Write::new(key, kind, body)], context)
        .await?;
    Ok(written.remove(0))
}

pub(crate) async fn write(
    table: &Arc<dyn Resource>,
    key: &str,
    kind: WriteKind,
    body: &str,
) -> Result<Written, Error> {
    write_as(table, Some(Key::from(key)), kind, body, &internal()).await
}

pub(crate) async fn put(table: &Arc<dyn Resource>, key: &str, body: &str) -> Timestamp {
    write(table, key, WriteKind::Put, body)
        .await
        .unwrap()
        .version
}

pub(crate) async fn get(table: &Arc<dyn Resource>, key: impl Into<Key>) -> Option<Record> {
    table.get(&Target::record(key), &internal()).await.unwrap()
}

/// The record as JSON text, or `absent`.
pub(crate) async fn text(table: &Arc<dyn Resource>, key: impl Into<Key>) -> String {
    match get(table, key).await {
        Some(record) => String::from_utf8(record.body.json().to_vec()).unwrap(),
        None => "absent".to_owned(),
    }
}

pub(crate) async fn search(table: &Arc<dyn Resource>, query: Query) -> Result<Vec<Record>, Error> {
    search_as(table, query, &internal()).await
}

pub(crate) async fn search_as(
    table: &Arc<dyn Resource>,
    query: Query,
    context: &Context,
) -> Result<Vec<Record>, Error> {
    let mut stream = table.search(&Target::query(query), context).await?;
    let mut records = Vec::new();
    while let Some(batch) = stream.next().await {
        records.extend(batch?);
    }
    Ok(records)
}

/// Keys of the matches, as texts, in result order.
pub(crate) async fn keys(table: &Arc<dyn Resource>, query: Query) -> Vec<String> {
    let records = search(table, query).await.unwrap();
    records
        .into_iter()
        .map(|record| record.key.unwrap().to_string())
        .collect()
}

pub(crate) fn compare(
    attribute: &str,
    comparator: Comparator,
    value: impl Into<Value>,
) -> Condition {
    Condition::Compare(Comparison {
        attribute: vec![attribute.to_owned()],
        comparator,
        value: value.into(),
        conversion: Conversion::Typed,
    })
}

pub(crate) fn all(members: Vec<Condition>) -> Condition {
    Condition::Group(Operator::And, members)
}

pub(crate) fn any(members: Vec<Condition>) -> Condition {
    Condition::Group(Operator::Or, members)
}

pub(crate) fn matching(condition: Condition) -> Query {
    Query {
        condition: Some(condition),
        ..Query::default()
    }
}

/// The next deliveries until `count` have come; the end of the backlog is passed over.
pub(crate) async fn deliveries(
    subscription: &mut Subscription,
    count: usize,
) -> Vec<Arc<Delivery>> {
    let mut received = Vec::new();
    while received.len() < count {
        let next = tokio::time::timeout(PATIENCE, subscription.next()).await;
        received.extend(next.expect("an event must come").unwrap());
    }
    assert_eq!(received.len(), count, "more events came than expected");
    received
}

/// The deliveries of the backlog.
pub(crate) async fn backlog(subscription: &mut Subscription) -> Vec<Arc<Delivery>> {
    let mut received = Vec::new();
    loop {
        let next = tokio::time::timeout(PATIENCE, subscription.next()).await;
        match next.expect("the backlog must end").unwrap() {
            batch if batch.is_empty() => return received,
            batch => received.extend(batch),
        }
    }
}

/// An event in short: kind, key and body.
pub(crate) fn short(delivery: &Delivery) -> String {
    let event = &delivery.event;
    let key = event.key.as_ref().map(Key::to_string).unwrap_or_default();
    let body = event
        .body
        .as_ref()
        .map(|body| String::from_utf8(body.json().to_vec()).unwrap());
    format!(
        "{} {key} {}",
        event.kind.name(true),
        body.unwrap_or_default()
    )
}
