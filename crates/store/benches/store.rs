//! What the engine costs: `cargo bench -p store`. Wall time on a real directory; for people, not for CI.
#![allow(missing_docs, reason = "a program, not a library")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use resource::{
    Comparator, Comparison, Condition, Context, Conversion, Hub, Key, Query, Resource, Target,
    Value, Write, WriteKind,
};
use store::{Store, StoreConfig};

const SCHEMA: &str = "type Item @table { id: Int @primaryKey, group: Int @indexed, name: String @indexed, price: Float }";
const RECORDS: i64 = 100_000;

fn put(n: i64) -> Write {
    let name = format!("item number {n}");
    let body = [
        ("group", Value::Int(n % 1000)),
        ("name", Value::String(name)),
        ("price", Value::Float(n as f64 / 100.0)),
    ];
    let body = Value::Map(body.into_iter().collect());
    Write::new(Some(Key::Int(n)), WriteKind::Put, Some(body))
}

fn report(what: &str, count: u64, time: Duration) {
    let each = time.as_secs_f64() / count as f64;
    println!(
        "{what:<52} {:>10.2} µs each {:>12.0} a second",
        each * 1e6,
        1.0 / each
    );
}

async fn writes(item: &Arc<dyn Resource>, context: &Context) {
    let started = Instant::now();
    for n in 0..500 {
        item.write(vec![put(n)], context).await.unwrap();
    }
    report(
        "put, one after the other (a commit each)",
        500,
        started.elapsed(),
    );

    let started = Instant::now();
    for start in (0..20_000).step_by(256) {
        join_all((start..start + 256).map(|n| item.write(vec![put(n)], context))).await;
    }
    report("put, 256 at the same time", 20_000, started.elapsed());

    let started = Instant::now();
    for start in (0..RECORDS).step_by(1000) {
        item.write((start..start + 1000).map(put).collect(), context)
            .await
            .unwrap();
    }
    report(
        "put, 1000 in a transaction",
        RECORDS as u64,
        started.elapsed(),
    );
}

async fn reads(item: &Arc<dyn Resource>, context: &Context) {
    let started = Instant::now();
    let mut bytes = 0;
    for n in 0..200_000 {
        let target = Target::record(n * 7919 % RECORDS);
        bytes += item
            .get(&target, context)
            .await
            .unwrap()
            .unwrap()
            .body
            .json()
            .len();
    }
    report("get by key as JSON", 200_000, started.elapsed());
    assert!(bytes > 0);

    let equals = Condition::Compare(Comparison {
        attribute: vec!["group".into()],
        comparator: Comparator::Equals,
        value: Value::Int(7),
        conversion: Conversion::Typed,
    });
    let by_index = Query {
        condition: Some(equals),
        ..Query::default()
    };
    for (what, query, times) in [
        ("found by an index", by_index, 200),
        ("found by a scan", Query::default(), 5),
    ] {
        let started = Instant::now();
        let mut found = 0;
        for _ in 0..times {
            let target = Target::query(query.clone());
            let mut stream = item.search(&target, context).await.unwrap();
            while let Some(batch) = stream.next().await {
                found += batch.unwrap().len() as u64;
            }
        }
        report(
            &format!("record {what}, {} each", found / times),
            found,
            started.elapsed(),
        );
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let directory = tempfile::tempdir().expect("a directory");
    let store = Store::open(StoreConfig::new(directory.path()), Hub::new(1)).expect("a store");
    let schema = store::schema::parse(SCHEMA, "bench.graphql").expect("a schema");
    runtime.block_on(async {
        let item = store
            .ensure(schema.tables)
            .await
            .expect("a table")
            .remove(0);
        let context = Context::internal();
        writes(&item, &context).await;
        reads(&item, &context).await;
    });
}
