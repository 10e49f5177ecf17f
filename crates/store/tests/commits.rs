//! Transactions: all or nothing, isolated from those they are committed with, durable before they are answered.

mod support;

use std::sync::Arc;

use futures_util::future::join_all;
use resource::{Catalog as _, Key, Precondition, Write, WriteKind, WriteOutcome};
use support::{Fixture, get, internal, json, put, text, write};

const COUNTER: &str = "type Counter @table { id: ID @primaryKey, n: Long, name: String @indexed }";

fn put_of(key: &str, body: &str) -> Write {
    Write::new(Some(Key::from(key)), WriteKind::Put, Some(json(body)))
}

#[tokio::test]
async fn a_hundred_parallel_adds_make_a_hundred() {
    let fixture = Fixture::new();
    let counter = fixture.table(COUNTER).await;
    let add = r#"{"n":{"__op__":"add","value":1}}"#;
    let adds = join_all((0..100).map(|_| write(&counter, "1", WriteKind::Patch, add))).await;
    assert!(adds.iter().all(Result::is_ok));
    assert_eq!(text(&counter, "1").await, r#"{"id":"1","n":100}"#);
    let mut versions: Vec<_> = adds
        .into_iter()
        .map(|written| written.unwrap().version)
        .collect();
    versions.dedup();
    assert_eq!(versions.len(), 100, "every transaction has its own version");
}

#[tokio::test]
async fn rest_6_2_of_many_writers_with_the_same_if_match_one_succeeds() {
    let fixture = Fixture::new();
    let counter = fixture.table(COUNTER).await;
    let version = put(&counter, "1", r#"{"n":0}"#).await;
    let context = internal();
    let attempts = (1..=20).map(|n| {
        let mut write = put_of("1", &format!(r#"{{"n":{n}}}"#));
        write.precondition = Precondition {
            if_match: Some(vec![version]),
            ..Precondition::default()
        };
        counter.write(vec![write], &context)
    });
    let results = join_all(attempts.collect::<Vec<_>>()).await;
    let failed = results.iter().filter_map(|result| result.as_ref().err());
    assert_eq!(
        failed.map(resource::Error::status).collect::<Vec<_>>(),
        [412; 19]
    );
}

#[tokio::test]
async fn a_failing_transaction_among_many_leaves_no_trace_and_disturbs_none() {
    let fixture = Fixture::new();
    fixture.dispatch();
    let counter = fixture.table(COUNTER).await;
    put(&counter, "taken", "{}").await;
    let options = resource::SubscribeOptions {
        omit_current: true,
        ..Default::default()
    };
    let mut subscription = counter
        .subscribe(resource::Scope::All, &options, &internal())
        .await
        .unwrap();
    let context = internal();
    let transactions = (0..60).map(|n| {
        let mut writes = vec![
            put_of(&format!("{n}-a"), r#"{"name":"x"}"#),
            put_of(&format!("{n}-b"), r#"{"name":"y"}"#),
        ];
        if n % 3 == 0 {
            let kind = WriteKind::Create;
            writes.push(Write::new(Some(Key::from("taken")), kind, Some(json("{}"))));
        }
        counter.write(writes, &context)
    });
    let results = join_all(transactions.collect::<Vec<_>>()).await;
    for (n, result) in results.iter().enumerate() {
        assert_eq!(result.is_err(), n % 3 == 0, "{n}");
        assert_eq!(
            get(&counter, format!("{n}-a").as_str()).await.is_some(),
            n % 3 != 0
        );
    }
    let events = support::deliveries(&mut subscription, 80).await;
    for pair in events.chunks(2) {
        let name = |index: usize| pair[index].event.key.as_ref().unwrap().to_string();
        assert_eq!(
            name(0).replace("-a", "-b"),
            name(1),
            "events of a transaction are together"
        );
        assert!(pair[0].event.begin_transaction && !pair[1].event.begin_transaction);
        assert_eq!(pair[0].event.version, pair[1].event.version);
    }
    let times: Vec<_> = events
        .iter()
        .map(|delivery| delivery.event.local_time)
        .collect();
    assert!(times.is_sorted_by(|a, b| a < b), "in the order of the log");
    let found = fixture.verify("data").await;
    assert_eq!((found.records, found.log_entries), (81, 81));
}

#[tokio::test]
async fn s18_7_a_transaction_over_tables_is_all_or_nothing() {
    let fixture = Fixture::new();
    let tables = fixture
        .ensure("type A @table { id: ID @primaryKey, n: Int } type B @table { id: ID @primaryKey, n: Int! }")
        .await;
    let store = Arc::clone(&fixture.store);
    let both = async |b: &str, kind: WriteKind| {
        let a = ("A".to_owned(), put_of("1", r#"{"n":1}"#));
        let b = (
            "B".to_owned(),
            Write::new(Some(Key::from("1")), kind, Some(json(b))),
        );
        store.transaction("data", vec![a, b], &internal()).await
    };
    assert_eq!(both("{}", WriteKind::Put).await.unwrap_err().status(), 400);
    assert_eq!(text(&tables[0], "1").await, "absent");
    let written = both(r#"{"n":2}"#, WriteKind::Put).await.unwrap();
    assert_eq!(written[0].version, written[1].version);
    assert_eq!(text(&tables[1], "1").await, r#"{"id":"1","n":2}"#);
    // The second fails inside the commit.
    assert_eq!(
        both(r#"{"n":3}"#, WriteKind::Create)
            .await
            .unwrap_err()
            .status(),
        409
    );
    assert_eq!(
        get(&tables[0], "1").await.unwrap().version,
        written[0].version
    );
    let missing = vec![("C".to_owned(), put_of("1", "{}"))];
    let error = store
        .transaction("data", missing, &internal())
        .await
        .unwrap_err();
    assert_eq!(
        (error.status(), error.message()),
        (404, "Table 'data.C' does not exist")
    );
    fixture.verify("data").await;
}

#[tokio::test]
async fn writes_of_a_transaction_see_each_other() {
    let fixture = Fixture::new();
    let counter = fixture.table(COUNTER).await;
    let patch = |body: &str| Write::new(Some(Key::from("1")), WriteKind::Patch, Some(json(body)));
    let add = patch(r#"{"n":{"__op__":"add","value":2}}"#);
    let delete = Write::new(Some(Key::from("1")), WriteKind::Delete, None);
    let writes = vec![
        put_of("1", r#"{"n":1,"name":"a"}"#),
        add.clone(),
        delete,
        add,
        patch(r#"{"name":"b"}"#),
    ];
    let written = counter.write(writes, &internal()).await.unwrap();
    let outcomes: Vec<_> = written.iter().map(|written| written.outcome).collect();
    use WriteOutcome::{Created, Deleted, Updated};
    assert_eq!(outcomes, [Created, Updated, Deleted, Created, Updated]);
    assert_eq!(text(&counter, "1").await, r#"{"id":"1","n":2,"name":"b"}"#);
    let found = fixture.verify("data").await;
    assert_eq!(
        (found.records, found.index_entries, found.log_entries),
        (1, 1, 5)
    );
}

#[tokio::test]
async fn a_full_database_answers_507_and_keeps_what_was_acknowledged() {
    let fixture = Fixture::with(|config| config.map_size_bytes = 4 << 20);
    let counter = fixture.table(COUNTER).await;
    let body = format!(r#"{{"text":"{}"}}"#, "x".repeat(50_000));
    let mut acknowledged = 0;
    let error = loop {
        match write(&counter, &acknowledged.to_string(), WriteKind::Put, &body).await {
            Ok(_) => acknowledged += 1,
            Err(error) => break error,
        }
        assert!(acknowledged < 200, "the map must get full");
    };
    assert_eq!(error.status(), 507);
    assert!(acknowledged > 5, "{acknowledged}");
    for key in 0..acknowledged {
        assert!(get(&counter, key.to_string().as_str()).await.is_some());
    }
    // Among those committed together, one that fits is not refused because of one that does not.
    let context = internal();
    let small = (0..4).map(|n| {
        let body = if n == 2 {
            body.clone()
        } else {
            "{}".to_owned()
        };
        counter.write(vec![put_of(&format!("s{n}"), &body)], &context)
    });
    let results = join_all(small.collect::<Vec<_>>()).await;
    assert!(results[0].is_ok(), "{results:?}");
    assert_eq!(results[2].as_ref().unwrap_err().status(), 507);
    fixture.verify("data").await;
}

#[tokio::test]
async fn a_queue_that_is_full_answers_503() {
    let fixture = Fixture::with(|config| config.max_queued_transactions = 4);
    let counter = fixture.table(COUNTER).await;
    let context = internal();
    // Nothing is polled in between, so the queue fills faster than a durable commit empties it.
    let answers: Vec<_> = (0..2000)
        .map(|n| counter.write(vec![put_of(&n.to_string(), "{}")], &context))
        .collect();
    let results = join_all(answers).await;
    let refused: Vec<_> = results
        .iter()
        .filter_map(|result| result.as_ref().err())
        .collect();
    assert!(!refused.is_empty() && refused.len() < 2000);
    assert!(refused.iter().all(|error| error.status() == 503));
    let made = fixture
        .store
        .statistics("data", "Counter", false)
        .await
        .unwrap()
        .record_count;
    assert_eq!(made as usize, 2000 - refused.len());
}

#[tokio::test]
async fn a_copy_made_during_writes_is_a_whole_database() {
    let fixture = Fixture::new();
    let counter = fixture.table(COUNTER).await;
    put(&counter, "1", r#"{"name":"a"}"#).await;
    let elsewhere = tempfile::tempdir().unwrap();
    fixture
        .store
        .copy_to("data", elsewhere.path().join("data.mdb"))
        .await
        .unwrap();
    put(&counter, "2", r#"{"name":"b"}"#).await;
    let config = store::StoreConfig::new(elsewhere.path());
    let copy = store::Store::open(config, resource::Hub::new(1)).unwrap();
    let found = copy.verify("data").await.unwrap();
    assert_eq!((found.records, found.problems), (1, Vec::new()));
}

#[tokio::test]
async fn an_empty_transaction_is_answered() {
    let fixture = Fixture::new();
    let counter = fixture.table(COUNTER).await;
    assert_eq!(counter.write(Vec::new(), &internal()).await.unwrap(), []);
}
