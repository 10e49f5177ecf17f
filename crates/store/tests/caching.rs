//! Caching tables (`schema-and-storage.md` §12).

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use base::Timestamp;
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use resource::{
    Answer, Context, Error, ErrorKind, EventKind, Key, Permissions, Query, Record, Resource, Scope,
    SubscribeOptions, TableAccess, Target, Value, Write, WriteKind,
};
use store::{CacheControl, CacheLifetime, CachedTable, ChangeKind, Loaded, Source, SourceChange};
use support::{Fixture, deliveries, get, internal, json, keys, user, write, write_as};

/// A source that counts, waits and fails as it is told.
#[derive(Default)]
struct Origin {
    loads: AtomicUsize,
    replaced: AtomicUsize,
    written: AtomicUsize,
    fails: AtomicBool,
    unreachable: AtomicBool,
    absent: AtomicBool,
    unchanged: AtomicBool,
    /// Loads go on when this is free.
    gate: tokio::sync::Mutex<()>,
}

impl Source for Origin {
    fn load<'a>(
        &'a self,
        key: &'a Key,
        replacing: Option<&'a Record>,
        _: &'a Context,
    ) -> Answer<'a, Loaded> {
        Answer::pending(async move {
            let number = self.loads.fetch_add(1, Ordering::SeqCst) + 1;
            self.replaced
                .fetch_add(usize::from(replacing.is_some()), Ordering::SeqCst);
            drop(self.gate.lock().await);
            let set = |flag: &AtomicBool| flag.load(Ordering::SeqCst);
            if set(&self.unreachable) {
                return Err(Error::unavailable("connection refused"));
            }
            if set(&self.fails) {
                return Err(Error::internal("the origin is broken"));
            }
            if set(&self.absent) {
                return Ok(Loaded::Absent);
            }
            if set(&self.unchanged) {
                return Ok(Loaded::Unchanged);
            }
            Ok(Loaded::Record {
                value: json(&format!(r#"{{"name":"{key}","load":{number}}}"#)),
                expires_at: None,
            })
        })
    }

    fn write<'a>(&'a self, writes: &'a [Write], _: &'a Context) -> Answer<'a, ()> {
        if self.fails.load(Ordering::SeqCst) {
            return Answer::ready(Err(Error::unavailable("the origin takes no writes")));
        }
        self.written.fetch_add(writes.len(), Ordering::SeqCst);
        Answer::ready(Ok(()))
    }
}

struct Cache {
    fixture: Fixture,
    table: Arc<dyn Resource>,
    cached: Arc<CachedTable>,
    origin: Arc<Origin>,
}

async fn cache(expiration: Duration) -> Cache {
    let fixture = Fixture::new();
    let table = fixture
        .table("type Page @table { id: ID @primaryKey, name: String @indexed, load: Int }")
        .await;
    let origin = Arc::new(Origin::default());
    let lifetime = CacheLifetime {
        expiration,
        eviction: Duration::from_secs(3600),
    };
    let source: Arc<dyn Source> = origin.clone();
    let cached = fixture
        .store
        .sourced_from("data", "Page", source, lifetime)
        .unwrap();
    Cache {
        fixture,
        table,
        cached,
        origin,
    }
}

impl Cache {
    /// The number of the load that a read gets.
    async fn load(&self, control: CacheControl) -> Result<Option<i64>, Error> {
        let target = Target::record("a");
        let record = self.cached.get_with(&target, control, &internal()).await?;
        Ok(record.map(|record| record.body.attribute("load").unwrap().as_i64().unwrap()))
    }

    fn loads(&self) -> usize {
        self.origin.loads.load(Ordering::SeqCst)
    }
}

const FRESH: Duration = Duration::from_secs(3600);
const STALE: Duration = Duration::ZERO;

#[tokio::test]
async fn s12_1_a_record_is_fetched_once_and_then_served_from_the_table() {
    let cache = cache(FRESH).await;
    for _ in 0..3 {
        assert_eq!(cache.load(CacheControl::default()).await.unwrap(), Some(1));
    }
    assert_eq!(cache.loads(), 1);
    assert_eq!(keys(&cache.table, Query::default()).await, ["a"]);
    let record = get(&cache.table, "a").await.unwrap();
    assert_eq!(record.body.json(), r#"{"id":"a","name":"a","load":1}"#);
}

#[tokio::test]
async fn s18_9_a_hundred_parallel_reads_make_one_call_of_the_source() {
    let cache = cache(FRESH).await;
    let closed = cache.origin.gate.lock().await;
    let reads = join_all((0..100).map(|_| cache.load(CacheControl::default())));
    let open = async {
        while cache.loads() == 0 {
            tokio::task::yield_now().await;
        }
        drop(closed);
    };
    let (results, ()) = tokio::join!(reads, open);
    assert!(results.into_iter().all(|result| result.unwrap() == Some(1)));
    assert_eq!(cache.loads(), 1);
}

#[tokio::test]
async fn s12_1_who_waits_for_a_request_that_goes_away_loads_the_record() {
    let cache = cache(FRESH).await;
    let closed = cache.origin.gate.lock().await;
    let mut first = Box::pin(cache.load(CacheControl::default()));
    let mut second = Box::pin(cache.load(CacheControl::default()));
    assert!((&mut first).now_or_never().is_none());
    assert!((&mut second).now_or_never().is_none());
    assert_eq!(cache.loads(), 1);
    drop((first, closed));
    assert_eq!(second.await.unwrap(), Some(2));
}

#[tokio::test]
async fn s12_1_a_stale_record_is_fetched_again_and_stands_in_when_that_fails() {
    let cache = cache(STALE).await;
    let default = CacheControl::default();
    assert_eq!(cache.load(default).await.unwrap(), Some(1));
    assert_eq!(cache.load(default).await.unwrap(), Some(2));
    assert_eq!(cache.origin.replaced.load(Ordering::SeqCst), 1);

    cache.origin.unreachable.store(true, Ordering::SeqCst);
    assert_eq!(
        cache.load(default).await.unwrap(),
        Some(2),
        "the source can not be reached"
    );
    let strict = CacheControl {
        must_revalidate: true,
        ..default
    };
    assert_eq!(cache.load(strict).await.unwrap_err().status(), 503);

    cache.origin.unreachable.store(false, Ordering::SeqCst);
    cache.origin.fails.store(true, Ordering::SeqCst);
    assert_eq!(cache.load(default).await.unwrap_err().status(), 500);
    let lenient = CacheControl {
        stale_if_error: true,
        ..default
    };
    assert_eq!(cache.load(lenient).await.unwrap(), Some(2));
    cache.origin.fails.store(false, Ordering::SeqCst);
    cache.origin.unchanged.store(true, Ordering::SeqCst);
    assert_eq!(
        cache.load(default).await.unwrap(),
        Some(2),
        "it is still right"
    );
}

#[tokio::test]
async fn s12_1_a_request_controls_what_the_cache_does() {
    let cache = cache(FRESH).await;
    let default = CacheControl::default();
    let only_if_cached = CacheControl {
        only_if_cached: true,
        ..default
    };
    let error = cache.load(only_if_cached).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.message()),
        (ErrorKind::GatewayTimeout, "Entry is not cached")
    );
    let no_store = CacheControl {
        no_store: true,
        ..default
    };
    assert_eq!(cache.load(no_store).await.unwrap(), Some(1));
    assert_eq!(
        cache.load(default).await.unwrap(),
        Some(2),
        "the first was not kept"
    );
    let no_cache = CacheControl {
        no_cache: true,
        ..default
    };
    assert_eq!(cache.load(no_cache).await.unwrap(), Some(3));
    assert_eq!(cache.load(only_if_cached).await.unwrap(), Some(3));
}

#[tokio::test]
async fn s12_1_a_record_that_the_source_has_no_more_is_removed() {
    let cache = cache(STALE).await;
    assert_eq!(cache.load(CacheControl::default()).await.unwrap(), Some(1));
    cache.origin.absent.store(true, Ordering::SeqCst);
    assert_eq!(cache.load(CacheControl::default()).await.unwrap(), None);
    assert_eq!(
        keys(&cache.table, Query::default()).await,
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn s12_2_a_write_is_made_when_the_source_has_made_it() {
    let cache = cache(FRESH).await;
    let cached: Arc<dyn Resource> = cache.cached.clone();
    write(&cached, "b", WriteKind::Put, r#"{"name":"b","load":0}"#)
        .await
        .unwrap();
    assert_eq!(cache.origin.written.load(Ordering::SeqCst), 1);
    let record = get(&cached, "b").await.unwrap();
    assert_eq!(record.body.attribute("load"), Some(Value::Int(0)));
    assert!(record.expires_at.unwrap() > Timestamp::now());
    assert_eq!(cache.loads(), 0);

    cache.origin.fails.store(true, Ordering::SeqCst);
    let error = write(&cached, "b", WriteKind::Delete, "")
        .await
        .unwrap_err();
    assert_eq!(error.status(), 503);
    assert!(
        get(&cache.table, "b").await.is_some(),
        "nothing was removed"
    );
}

#[tokio::test]
async fn p1_a_write_that_its_author_may_not_make_does_not_reach_the_source() {
    let cache = cache(FRESH).await;
    let cached: Arc<dyn Resource> = cache.cached.clone();
    write(&cached, "a", WriteKind::Put, "{}").await.unwrap();
    let access = TableAccess {
        insert: true,
        ..TableAccess::default()
    };
    let context = user(Permissions {
        tables: [("data".to_owned(), [("Page".to_owned(), access)].into())].into(),
        ..Permissions::default()
    });
    for (kind, body) in [
        (WriteKind::Put, "{}"),
        (WriteKind::Delete, ""),
        (WriteKind::Put, r#"{"load":"x"}"#),
    ] {
        let error = write_as(&cached, Some(Key::from("a")), kind, body, &context).await;
        assert!(matches!(error.unwrap_err().status(), 400 | 403));
    }
    assert_eq!(cache.origin.written.load(Ordering::SeqCst), 1);
    write_as(
        &cached,
        Some(Key::from("b")),
        WriteKind::Put,
        "{}",
        &context,
    )
    .await
    .unwrap();
    assert_eq!(cache.origin.written.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn s12_a_table_has_one_source() {
    let cache = cache(FRESH).await;
    let lifetime = CacheLifetime {
        expiration: FRESH,
        eviction: STALE,
    };
    let source: Arc<dyn Source> = Arc::new(Origin::default());
    let error = cache
        .fixture
        .store
        .sourced_from("data", "Page", source, lifetime)
        .unwrap_err();
    assert_eq!(
        error.message(),
        "Can not have multiple canonical (non-intermediate) sources"
    );
}

fn follow(cache: &Cache, changes: Vec<SourceChange>) -> impl Future<Output = ()> {
    let cached = Arc::clone(&cache.cached);
    let one_by_one = changes.into_iter().map(|change| Ok(vec![change]));
    let stream = futures_util::stream::iter(one_by_one.collect::<Vec<_>>());
    async move { cached.follow(Box::pin(stream)).await.unwrap() }
}

fn change(key: &str, kind: ChangeKind, value: &str) -> SourceChange {
    let value = (!value.is_empty()).then(|| json(value));
    SourceChange::new(Some(Key::from(key)), kind, value)
}

#[tokio::test]
async fn s12_3_what_a_source_reports_is_made_in_the_table_and_not_sent_back() {
    let cache = cache(Duration::from_secs(3600)).await;
    let changes = vec![
        change("p", ChangeKind::Put, r#"{"name":"put","load":100}"#),
        change("p", ChangeKind::Patch, r#"{"load":101}"#),
        change("d", ChangeKind::Put, r#"{"name":"gone"}"#),
        change("d", ChangeKind::Delete, ""),
        // It can not be made; those that follow are.
        change("x", ChangeKind::Put, "7"),
        SourceChange::new(
            None,
            ChangeKind::Put,
            Some(json(r#"{"id":"k","name":"key"}"#)),
        ),
        SourceChange::new(None, ChangeKind::Put, Some(json(r#"{"name":"no key"}"#))),
    ];
    follow(&cache, changes).await;
    assert_eq!(keys(&cache.table, Query::default()).await, ["k", "p"]);
    let record = get(&cache.table, "p").await.unwrap();
    assert_eq!(record.body.json(), r#"{"id":"p","name":"put","load":101}"#);
    let lifetime = record.expires_at.unwrap().as_millis() - record.version.as_millis();
    assert!(
        (lifetime / 1000.0 - 7200.0).abs() < 1.0,
        "expiration and eviction"
    );
    assert_eq!(cache.origin.written.load(Ordering::SeqCst), 0);
    cache.fixture.verify("data").await;
}

#[tokio::test]
async fn s12_3_the_changes_of_a_transaction_happen_together_in_all_tables() {
    let cache = cache(Duration::from_secs(3600)).await;
    let other = cache
        .fixture
        .table("type Other @table { id: ID @primaryKey, n: Int }")
        .await;
    let in_other = |value: &str| SourceChange {
        table: Some("Other".to_owned()),
        ..change("1", ChangeKind::Put, value)
    };
    let together = [
        // The second write of the first breaks a rule, so neither is made.
        vec![
            change("a", ChangeKind::Put, r#"{"name":"half"}"#),
            in_other(r#"{"n":"text"}"#),
        ],
        vec![
            change("b", ChangeKind::Put, r#"{"name":"both"}"#),
            in_other(r#"{"n":1}"#),
        ],
    ];
    let stream = futures_util::stream::iter(together.map(Ok));
    cache.cached.follow(Box::pin(stream)).await.unwrap();
    assert_eq!(keys(&cache.table, Query::default()).await, ["b"]);
    assert_eq!(keys(&other, Query::default()).await, ["1"]);
}

#[tokio::test]
async fn s12_2_an_invalidated_record_is_asked_for_again_and_subscribers_are_told() {
    let cache = cache(Duration::from_secs(3600)).await;
    cache.fixture.dispatch();
    assert_eq!(cache.load(CacheControl::default()).await.unwrap(), Some(1));
    let options = SubscribeOptions {
        omit_current: true,
        ..SubscribeOptions::default()
    };
    let context = internal();
    let subscription = cache.table.subscribe(Scope::All, &options, &context);
    let mut subscription = subscription.await.unwrap();
    assert!(cache.cached.invalidate(&Key::from("a")).await.unwrap());
    let event = deliveries(&mut subscription, 1).await.remove(0);
    assert_eq!(event.event.kind, EventKind::Invalidate);
    assert!(event.event.body.is_none());
    assert!(
        !cache.cached.invalidate(&Key::from("a")).await.unwrap(),
        "not held"
    );
    assert_eq!(cache.load(CacheControl::default()).await.unwrap(), Some(2));
    assert_eq!(cache.origin.written.load(Ordering::SeqCst), 0);
    cache.fixture.verify("data").await;
}

#[tokio::test]
async fn s12_3_what_was_loaded_before_a_change_does_not_replace_it() {
    let cache = cache(Duration::from_secs(3600)).await;
    let closed = cache.origin.gate.lock().await;
    let control = CacheControl::default();
    let mut load = Box::pin(cache.load(control));
    assert!(
        load.as_mut().now_or_never().is_none(),
        "it waits for the source"
    );
    follow(
        &cache,
        vec![change("a", ChangeKind::Put, r#"{"name":"new","load":100}"#)],
    )
    .await;
    drop(closed);
    assert_eq!(
        load.await.unwrap(),
        Some(1),
        "who asked before gets what was then"
    );
    assert_eq!(cache.load(control).await.unwrap(), Some(100));
}
