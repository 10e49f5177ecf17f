//! Plans: what is read, what is explained, what is refused (`schema-and-storage.md` §15.2, §15.3).

mod support;

use std::sync::Arc;

use futures_util::StreamExt as _;
use resource::{
    Comparator, Condition, Key, Query, Resource, SortKey, Target, Value, Write, WriteKind,
};
use support::{Fixture, all, any, compare, internal, json, keys, matching, search};

const READING: &str = "type Reading @table { id: Int @primaryKey, sensor: Int @indexed, at: Int @indexed, kind: String @indexed, note: String }";

/// Records of the large table; a million take a minute, so a smaller number stands in by default.
#[allow(
    clippy::disallowed_methods,
    reason = "the size of a test is no setting of the program"
)]
fn record_count() -> i64 {
    let wanted = std::env::var("MOTET_TEST_RECORDS").ok();
    wanted.map_or(20_000, |count| {
        count.parse().expect("MOTET_TEST_RECORDS is a number")
    })
}

async fn readings(fixture: &Fixture, count: i64) -> Arc<dyn Resource> {
    let table = fixture.table(READING).await;
    let mut id = 0;
    while id < count {
        let end = (id + 5_000).min(count);
        let writes = (id..end).map(|id| {
            let kind = if id % 3 == 0 { "hot" } else { "cold" };
            let body = format!(
                r#"{{"sensor":{},"at":{},"kind":"{kind}"}}"#,
                id / 10,
                count - id
            );
            Write::new(Some(Key::Int(id)), WriteKind::Put, Some(json(&body)))
        });
        table.write(writes.collect(), &internal()).await.unwrap();
        id = end;
    }
    table
}

fn by(attribute: &str, descending: bool) -> Vec<SortKey> {
    vec![SortKey {
        attribute: vec![attribute.to_owned()],
        descending,
    }]
}

fn limited(condition: Option<Condition>, sort: Vec<SortKey>, limit: u64) -> Query {
    Query {
        condition,
        sort,
        limit: Some(limit),
        ..Query::default()
    }
}

#[tokio::test]
async fn s15_2_a_query_that_an_index_answers_touches_only_what_it_returns() {
    use Comparator as C;
    let fixture = Fixture::new();
    let count = record_count();
    let table = readings(&fixture, count).await;
    let range = |low: i64, high: i64| Value::Array(vec![Value::Int(low), Value::Int(high)]);
    let few = Value::Array((0..5_i64).map(|n| Value::Int(n * 20)).collect());
    for (what, query, returned, entries) in [
        ("a key", matching(compare("id", C::Equals, 7_i64)), 1, 0),
        (
            "keys",
            matching(compare("id", C::Between, range(10, 29))),
            20,
            0,
        ),
        (
            "an equality",
            matching(compare("sensor", C::Equals, 70_i64)),
            10,
            10,
        ),
        (
            "a range",
            matching(compare("sensor", C::Between, range(5, 9))),
            50,
            50,
        ),
        (
            "several values",
            matching(compare("sensor", C::In, few)),
            50,
            50,
        ),
        (
            "the end of an order",
            limited(None, by("at", false), 10),
            10,
            10,
        ),
        (
            "the end of a range in its order",
            limited(
                Some(compare("at", C::GreaterThan, 100_i64)),
                by("at", true),
                10,
            ),
            10,
            10,
        ),
        ("the first records", limited(None, Vec::new(), 10), 10, 0),
    ] {
        let before = fixture.store.query_counts("data").unwrap();
        assert_eq!(
            search(&table, query).await.unwrap().len(),
            returned,
            "{what}"
        );
        let after = fixture.store.query_counts("data").unwrap();
        let read = (
            after.records - before.records,
            after.index_entries - before.index_entries,
        );
        assert_eq!(
            read,
            (returned as u64, entries),
            "{what} of {count} records"
        );
    }
}

#[tokio::test]
async fn s15_2_an_intersection_reads_only_records_that_both_indexes_have() {
    let fixture = Fixture::new();
    let table = readings(&fixture, 3_000).await;
    let query = matching(all(vec![
        compare("kind", Comparator::Equals, "hot"),
        compare("sensor", Comparator::Equals, 7_i64),
    ]));
    let before = fixture.store.query_counts("data").unwrap();
    assert_eq!(keys(&table, query).await, ["72", "75", "78"]);
    let after = fixture.store.query_counts("data").unwrap();
    assert_eq!(
        after.records - before.records,
        3,
        "of the ten of that sensor"
    );
}

#[tokio::test]
async fn s15_2_explain_lists_conditions_in_the_order_of_execution() {
    use Comparator as C;
    let fixture = Fixture::new();
    let table = readings(&fixture, 1_000).await;
    let explain = async |query| {
        let explained = table
            .explain(&Target::query(query), &internal())
            .await
            .unwrap();
        String::from_utf8(resource::json::to_vec(&explained)).unwrap()
    };
    let query = matching(all(vec![
        compare("note", C::Contains, "x"),
        compare("kind", C::Equals, "hot"),
        compare("sensor", C::Equals, 7_i64),
    ]));
    assert_eq!(
        explain(Query {
            sort: by("at", false),
            ..query
        })
        .await,
        concat!(
            r#"{"conditions":[{"attribute":"sensor","comparator":"equals","value":7,"estimated_count":10},"#,
            r#"{"attribute":"kind","comparator":"equals","value":"hot","estimated_count":334},"#,
            r#"{"attribute":"note","comparator":"contains","value":"x","estimated_count":null}],"#,
            r#""operator":"and","postOrdering":true,"selectApplied":false,"fullScan":false,"#,
            r#""drivenBy":["sensor"],"estimatedRecords":10}"#
        )
    );
    let union = matching(any(vec![
        compare("sensor", C::Equals, 7_i64),
        compare("at", C::GreaterThan, 5_i64),
    ]));
    let explained = explain(union).await;
    assert!(explained.contains(r#""operator":"or""#), "{explained}");
    assert!(
        explained.contains(r#""drivenBy":["sensor","at"]"#),
        "{explained}"
    );
    let scan = explain(matching(compare("note", C::Equals, "x"))).await;
    assert!(scan.contains(r#""fullScan":true"#), "{scan}");
    let ordered = explain(limited(None, by("at", true), 3)).await;
    assert!(ordered.contains(r#""postOrdering":false"#), "{ordered}");
    assert!(ordered.contains(r#""drivenBy":["at"]"#), "{ordered}");
}

#[tokio::test]
async fn s15_2_a_scan_without_an_index_is_allowed_up_to_a_bound() {
    use Comparator as C;
    let fixture = Fixture::with(|config| config.max_scan_records = 100);
    let table = readings(&fixture, 100).await;
    let unindexed = matching(compare("note", C::Equals, Value::Null));
    assert_eq!(keys(&table, unindexed.clone()).await.len(), 100);
    let one_more = Write::new(Some(Key::Int(100)), WriteKind::Put, Some(json("{}")));
    table.write(vec![one_more], &internal()).await.unwrap();

    let refused = async |query| {
        let error = search(&table, query).await.unwrap_err();
        (error.status(), error.message().to_owned())
    };
    assert_eq!(
        refused(unindexed.clone()).await,
        (
            404,
            "\"note\" is not indexed, can not search for this attribute; \
             the table has more than the 100 records that are searched without one"
                .to_owned()
        )
    );
    assert_eq!(
        refused(matching(compare("kind", C::Contains, "o"))).await,
        (
            403,
            "Can not use contains operator without combining with a condition that uses an index, \
             can not search for attribute kind; the table has more than the 100 records that are searched without one"
                .to_owned()
        )
    );
    let either = any(vec![
        compare("sensor", C::Equals, 1_i64),
        compare("note", C::Equals, "x"),
    ]);
    assert_eq!(refused(matching(either)).await.0, 404);
    let combined = all(vec![
        compare("note", C::Equals, Value::Null),
        compare("sensor", C::Equals, 1_i64),
    ]);
    assert_eq!(keys(&table, matching(combined)).await.len(), 10);
    assert_eq!(
        keys(&table, Query::default()).await.len(),
        101,
        "no condition, no search"
    );
}

#[tokio::test]
async fn a_list_of_values_has_a_bound() {
    let fixture = Fixture::new();
    let table = readings(&fixture, 10).await;
    let list = |count| Value::Array((0..count).map(Value::Int).collect());
    let query = |count| matching(compare("sensor", Comparator::In, list(count)));
    assert_eq!(keys(&table, query(10_000)).await.len(), 10);
    let error = search(&table, query(10_001)).await.unwrap_err();
    assert_eq!(error.status(), 400);
    assert_eq!(
        error.message(),
        "'in' takes 10000 values at most for sensor"
    );
}

#[tokio::test]
async fn s15_5_a_query_that_is_abandoned_stops_reading() {
    let fixture = Fixture::new();
    let table = readings(&fixture, 20_000).await;
    let before = fixture.store.query_counts("data").unwrap();
    let mut stream = table
        .search(&Target::collection(), &internal())
        .await
        .unwrap();
    stream.next().await.unwrap().unwrap();
    drop(stream);
    // Queries are executed in turn, so by the end of this one the abandoned one has noticed.
    loop {
        let after = fixture.store.query_counts("data").unwrap();
        let read = after.records - before.records;
        if read > 0 {
            assert!(read < 2_000, "{read}");
            break;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn s15_5_all_pieces_of_an_answer_come_from_one_snapshot() {
    let fixture = Fixture::new();
    let table = readings(&fixture, 3_000).await;
    let mut stream = table
        .search(&Target::collection(), &internal())
        .await
        .unwrap();
    let mut count = stream.next().await.unwrap().unwrap().len();
    for id in [2_999, 5_000] {
        let kind = if id < 3_000 {
            WriteKind::Delete
        } else {
            WriteKind::Put
        };
        let body = (id >= 3_000).then(|| json("{}"));
        let write = Write::new(Some(Key::Int(id)), kind, body);
        table.write(vec![write], &internal()).await.unwrap();
    }
    while let Some(piece) = stream.next().await {
        count += piece.unwrap().len();
    }
    assert_eq!(count, 3_000);
}
