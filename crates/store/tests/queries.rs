//! Queries: comparisons, plans, order and limits, also against an evaluator that knows no index.

mod support;

use std::sync::Arc;

use futures_util::StreamExt as _;
use proptest::prelude::*;
use resource::{
    AttributeAccess, Comparator, Condition, Key, Permissions, Query, Resource, SortKey,
    TableAccess, Target, Value, WriteKind,
};
use support::{
    Fixture, all, any, compare, internal, json, keys, matching, put, search, search_as, user,
    write_as,
};

const PERSON: &str = "type Person @table { id: Int @primaryKey, age: Int @indexed, name: String, tags: [String] @indexed }";

async fn people(fixture: &Fixture) -> Arc<dyn Resource> {
    let person = fixture.table(PERSON).await;
    let ages = ["5", "5", "8", "4", "6", "4", "1", "3", "9", "7", "null"];
    for (index, age) in ages.iter().enumerate() {
        let key = Key::Int(index as i64 + 1);
        let body = format!(r#"{{"age":{age},"name":"p{age}"}}"#);
        write_as(&person, Some(key), WriteKind::Put, &body, &internal())
            .await
            .unwrap();
    }
    person
}

fn sort(attribute: &str, descending: bool) -> SortKey {
    SortKey {
        attribute: vec![attribute.to_owned()],
        descending,
    }
}

#[tokio::test]
async fn s18_4_comparisons_leave_out_null() {
    use Comparator as C;
    let fixture = Fixture::new();
    let person = people(&fixture).await;
    let range = |low: i64, high: i64| Value::Array(vec![Value::Int(low), Value::Int(high)]);
    let expected = [
        (C::GreaterThan, Value::Int(4), 6),
        (C::GreaterThanEqual, Value::Int(4), 8),
        (C::LessThan, Value::Int(4), 2),
        (C::LessThanEqual, Value::Int(4), 4),
        (C::Between, range(2, 5), 5),
        (C::Between, range(5, 5), 2),
        (C::Equals, Value::Null, 1),
        (C::NotEqual, Value::Null, 10),
        (C::NotEqual, Value::Int(5), 9),
        (
            C::In,
            Value::Array(vec![Value::Int(5), Value::Int(9), Value::Null]),
            4,
        ),
    ];
    for (comparator, value, count) in expected {
        let query = matching(compare("age", comparator, value.clone()));
        assert_eq!(
            keys(&person, query).await.len(),
            count,
            "{comparator:?} {value:?}"
        );
    }
}

#[tokio::test]
async fn s18_3_a_prefix_of_the_key_finds_texts_in_key_order() {
    let fixture = Fixture::new();
    let table = fixture.table("type T @table { id: Any @primaryKey }").await;
    for key in [Key::Int(0), Key::from("011"), Key::from("00011")] {
        write_as(&table, Some(key), WriteKind::Put, "{}", &internal())
            .await
            .unwrap();
    }
    let query = matching(compare("id", Comparator::StartsWith, "0"));
    assert_eq!(keys(&table, query).await, ["00011", "011"]);
}

#[tokio::test]
async fn s18_5_an_element_of_a_list_is_found_once() {
    let fixture = Fixture::new();
    let person = fixture.table(PERSON).await;
    let body = r#"{"tags":["a","b","b","c"]}"#;
    write_as(
        &person,
        Some(Key::Int(1)),
        WriteKind::Put,
        body,
        &internal(),
    )
    .await
    .unwrap();
    for condition in [
        compare("tags", Comparator::Equals, "a"),
        compare("tags", Comparator::GreaterThan, ""),
        compare("tags", Comparator::StartsWith, "b"),
        any(vec![
            compare("tags", Comparator::Equals, "a"),
            compare("tags", Comparator::Equals, "b"),
        ]),
        compare(
            "tags",
            Comparator::In,
            Value::Array(vec!["c".into(), "a".into()]),
        ),
    ] {
        assert_eq!(
            keys(&person, matching(condition.clone())).await,
            ["1"],
            "{condition:?}"
        );
    }
    assert_eq!(
        keys(&person, matching(compare("tags", Comparator::Equals, "z")))
            .await
            .len(),
        0
    );
}

#[tokio::test]
async fn s18_12_null_finds_all_records_that_lack_the_attribute() {
    let fixture = Fixture::new();
    let person = fixture.table(PERSON).await;
    for key in 0..5 {
        write_as(
            &person,
            Some(Key::Int(key)),
            WriteKind::Put,
            "{}",
            &internal(),
        )
        .await
        .unwrap();
    }
    assert_eq!(
        keys(
            &person,
            matching(compare("age", Comparator::Equals, Value::Null))
        )
        .await
        .len(),
        5
    );
    assert_eq!(
        keys(
            &person,
            matching(compare("name", Comparator::Equals, Value::Null))
        )
        .await
        .len(),
        5
    );
}

#[tokio::test]
async fn results_come_in_the_order_of_the_driving_index_or_of_the_sort() {
    let fixture = Fixture::new();
    let person = people(&fixture).await;
    let over_four = compare("age", Comparator::GreaterThan, 4_i64);
    assert_eq!(
        keys(&person, matching(over_four.clone())).await,
        ["1", "2", "5", "10", "3", "9"]
    );
    let with_sort = |condition: Option<Condition>, sort: Vec<SortKey>| Query {
        condition,
        sort,
        ..Query::default()
    };
    let by_age = with_sort(Some(over_four.clone()), vec![sort("age", true)]);
    assert_eq!(keys(&person, by_age).await, ["9", "3", "10", "5", "2", "1"]);
    let by_key = with_sort(Some(over_four), vec![sort("id", true)]);
    assert_eq!(keys(&person, by_key).await, ["10", "9", "5", "3", "2", "1"]);
    let all_by_age = with_sort(None, vec![sort("age", false)]);
    assert_eq!(
        keys(&person, all_by_age).await,
        ["11", "7", "8", "4", "6", "1", "2", "5", "10", "3", "9"]
    );
    let ties = with_sort(None, vec![sort("age", false), sort("id", true)]);
    assert_eq!(
        keys(&person, ties).await,
        ["11", "7", "8", "6", "4", "2", "1", "5", "10", "3", "9"]
    );
    let by_name = with_sort(None, vec![sort("name", true)]);
    assert_eq!(keys(&person, by_name).await[..2], ["11", "9"]);
    let backwards = with_sort(None, vec![sort("id", true)]);
    assert_eq!(keys(&person, backwards).await[..3], ["11", "10", "9"]);
}

#[tokio::test]
async fn q16_offset_and_limit_apply_after_filter_and_sort() {
    let fixture = Fixture::new();
    let person = people(&fixture).await;
    for sorted in [
        vec![sort("age", false)],
        vec![sort("age", false), sort("id", false)],
    ] {
        let query = Query {
            condition: Some(compare("age", Comparator::NotEqual, 5_i64)),
            sort: sorted,
            offset: 2,
            limit: Some(3),
            ..Query::default()
        };
        assert_eq!(keys(&person, query).await, ["8", "4", "6"]);
    }
    let none = Query {
        limit: Some(0),
        ..Query::default()
    };
    assert_eq!(keys(&person, none).await.len(), 0);
}

#[tokio::test]
async fn q1_q10_q19_what_a_query_may_not_use_is_refused() {
    let fixture = Fixture::new();
    let person = people(&fixture).await;
    let status = async |query: Query| search(&person, query).await.unwrap_err();
    let error = status(matching(compare("shoe", Comparator::Equals, 1_i64))).await;
    assert_eq!(
        (error.status(), error.message()),
        (404, "shoe is not a defined attribute")
    );
    let sorted = Query {
        sort: vec![sort("shoe", false)],
        ..Query::default()
    };
    assert_eq!(status(sorted).await.status(), 404);
    let mut related = compare("name", Comparator::Equals, 1_i64);
    if let Condition::Compare(comparison) = &mut related {
        comparison.attribute.push("x".into());
    }
    let error = status(matching(related)).await;
    assert_eq!(error.status(), 400);
    assert!(error.message().contains("not a relationship"), "{error}");
    let error = status(matching(compare("age", Comparator::Between, 1_i64))).await;
    assert_eq!(error.status(), 400);

    let readable = resource::access::AttributeFlags {
        read: true,
        ..Default::default()
    };
    let attributes = AttributeAccess {
        attributes: [("name".to_owned(), readable)].into(),
    };
    let table = TableAccess {
        read: true,
        attributes: Some(Arc::new(attributes)),
        ..TableAccess::default()
    };
    let context = user(Permissions {
        tables: [("data".to_owned(), [("Person".to_owned(), table)].into())].into(),
        ..Permissions::default()
    });
    let hidden = matching(compare("age", Comparator::Equals, 1_i64));
    assert_eq!(
        search_as(&person, hidden, &context)
            .await
            .unwrap_err()
            .status(),
        403
    );
    let sorted = Query {
        sort: vec![sort("age", false)],
        ..Query::default()
    };
    assert_eq!(
        search_as(&person, sorted, &context)
            .await
            .unwrap_err()
            .status(),
        403
    );
    let seen = search_as(
        &person,
        matching(compare("name", Comparator::Equals, "p9")),
        &context,
    )
    .await
    .unwrap();
    assert_eq!(seen[0].body.json(), r#"{"id":9,"name":"p9"}"#);
}

#[tokio::test]
async fn q15_a_sort_of_too_many_rows_is_400_unless_limited() {
    let fixture = Fixture::with(|config| config.max_sort_rows = 5);
    let person = people(&fixture).await;
    let query = Query {
        sort: vec![sort("name", false)],
        ..Query::default()
    };
    assert_eq!(
        search(&person, query.clone()).await.unwrap_err().status(),
        400
    );
    let limited = Query {
        limit: Some(5),
        ..query
    };
    assert_eq!(keys(&person, limited).await.len(), 5);
}

#[tokio::test]
async fn q17_a_sub_collection_holds_the_keys_below_it() {
    let fixture = Fixture::new();
    let table = fixture
        .table("type T @table { id: ID @primaryKey, n: Int @indexed }")
        .await;
    for (n, key) in ["a", "a/1", "a/2", "ab", "b/1"].iter().enumerate() {
        put(&table, key, &format!(r#"{{"n":{n}}}"#)).await;
    }
    let below = async |query: Query| {
        let target = Target {
            key: Some(Key::from("a/")),
            ..Target::query(query)
        };
        let mut stream = table.search(&target, &internal()).await.unwrap();
        let mut found = Vec::new();
        while let Some(batch) = stream.next().await {
            found.extend(
                batch
                    .unwrap()
                    .into_iter()
                    .map(|record| record.key.unwrap().to_string()),
            );
        }
        found
    };
    assert_eq!(below(Query::default()).await, ["a/1", "a/2"]);
    assert_eq!(
        below(matching(compare("n", Comparator::LessThanEqual, 1_i64))).await,
        ["a/1"]
    );
}

#[tokio::test]
async fn q18_a_stream_sees_one_snapshot_and_its_bound_is_503() {
    let fixture = Fixture::with(|config| config.max_snapshots = 1);
    let table = fixture.table("type T @table { id: Int @primaryKey }").await;
    for chunk in 0..4 {
        let writes = (0..500).map(|n| {
            resource::Write::new(
                Some(Key::Int(chunk * 500 + n)),
                WriteKind::Put,
                Some(json("{}")),
            )
        });
        table.write(writes.collect(), &internal()).await.unwrap();
    }
    let mut stream = table
        .search(&Target::collection(), &internal())
        .await
        .unwrap();
    let mut found = stream.next().await.unwrap().unwrap().len();
    let everything = Target::collection();
    let refused = table.search(&everything, &internal()).await.err().unwrap();
    assert_eq!(refused.status(), 503);
    write_as(
        &table,
        Some(Key::Int(5000)),
        WriteKind::Put,
        "{}",
        &internal(),
    )
    .await
    .unwrap();
    while let Some(batch) = stream.next().await {
        found += batch.unwrap().len();
    }
    assert_eq!(found, 2000);
    drop(stream);
    assert_eq!(keys(&table, Query::default()).await.len(), 2001);
}

#[tokio::test]
async fn delete_matching_removes_every_match() {
    let fixture = Fixture::new();
    let person = people(&fixture).await;
    let target = Target::query(matching(compare("age", Comparator::LessThan, 5_i64)));
    assert_eq!(
        person.delete_matching(&target, &internal()).await.unwrap(),
        4
    );
    assert_eq!(keys(&person, Query::default()).await.len(), 7);
    fixture.verify("data").await;
}

/// Values of every class, with collisions across number types.
fn value() -> impl Strategy<Value = Value> {
    let long = prop_oneof![Just("b".repeat(700)), Just("b".repeat(800))].prop_map(Value::String);
    prop_oneof![
        8 => scalar(),
        2 => long.clone(),
        2 => proptest::collection::vec(prop_oneof![4 => scalar(), 1 => long], 0..3).prop_map(Value::Array),
        1 => Just(Value::Map([("x", Value::Int(1))].into_iter().collect())),
    ]
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any_bool(),
        (-4_i64..4).prop_map(Value::Int),
        (-8_i64..8).prop_map(|n| Value::Float(n as f64 / 2.0)),
        Just(Value::from(num_bigint::BigInt::from(1) << 70)),
        (-2_i64..2).prop_map(|n| Value::Date(resource::Date::from_millis(n).unwrap())),
        "[ab]{0,3}".prop_map(Value::String),
    ]
}

fn any_bool() -> impl Strategy<Value = Value> {
    proptest::bool::ANY.prop_map(Value::Bool)
}

/// Where a value stands in a sort: equal for values that may come in any order.
fn order_of(value: &Value) -> Vec<u8> {
    let mut encoded = Vec::new();
    store::order::encode_index(value, &mut encoded);
    encoded
}

fn condition() -> impl Strategy<Value = Condition> {
    use Comparator as C;
    let comparators = vec![
        C::Equals,
        C::NotEqual,
        C::LessThan,
        C::LessThanEqual,
        C::GreaterThan,
        C::GreaterThanEqual,
        C::StartsWith,
        C::EndsWith,
        C::Contains,
    ];
    let single = (0..3_usize, proptest::sample::select(comparators), value()).prop_map(
        |(attribute, comparator, value)| compare(["a", "b", "id"][attribute], comparator, value),
    );
    let several = (
        0..3_usize,
        proptest::bool::ANY,
        proptest::collection::vec(value(), 2),
    )
        .prop_map(|(attribute, between, values)| {
            let comparator = if between { C::Between } else { C::In };
            compare(
                ["a", "b", "id"][attribute],
                comparator,
                Value::Array(values),
            )
        });
    let leaf = prop_oneof![4 => single, 1 => several];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 1..4).prop_map(all),
            proptest::collection::vec(inner, 1..4).prop_map(any),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// The same records in a table with indexes on `a` and `b` and in one without give the same results, however
    /// the conditions combine; sorted results have the same order.
    #[test]
    fn an_index_changes_nothing_but_the_time(
        records in proptest::collection::vec((0..20_i64, value(), scalar()), 1..40),
        odd in proptest::option::weighted(0.3, value()),
        conditions in proptest::collection::vec(condition(), 12),
        descending in proptest::bool::ANY,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let fixture = Fixture::new();
            let tables = fixture.ensure(
                "type Indexed @table { id: Any @primaryKey, a: Any @indexed, b: Any @indexed }
                 type Plain @table { id: Any @primaryKey, a: Any, b: Any }",
            ).await;
            // Without an odd one the index on `b` is its order.
            let odd = odd.map(|odd| (7, Value::Null, odd));
            for (key, a, b) in records.into_iter().chain(odd) {
                let key = if key % 3 == 0 { Key::String("ab"[..(key as usize % 2) + 1].to_owned() + &key.to_string()) } else { Key::Int(key) };
                let body = Value::Map([("a", a), ("b", b)].into_iter().collect());
                for table in &tables {
                    let write = resource::Write::new(Some(key.clone()), WriteKind::Put, Some(body.clone()));
                    table.write(vec![write], &internal()).await.unwrap();
                }
            }
            fixture.verify("data").await;
            for condition in conditions {
                let query = matching(condition.clone());
                let (mut indexed, mut plain) = (keys(&tables[0], query.clone()).await, keys(&tables[1], query.clone()).await);
                indexed.sort();
                plain.sort();
                assert_eq!(indexed, plain, "{condition:?}");
                let sorted = Query { sort: vec![sort("a", descending), sort("id", false)], ..query };
                assert_eq!(keys(&tables[0], sorted.clone()).await, keys(&tables[1], sorted.clone()).await, "{condition:?}");
                // Sorted by one attribute, records with equal values may come in any order.
                let sorted = Query { sort: vec![sort("b", descending)], ..sorted };
                let values = async |table| {
                    let found = search(table, sorted.clone()).await.unwrap();
                    let value = |record: resource::Record| record.body.attribute("b").unwrap_or_default();
                    found.into_iter().map(value).map(|value| order_of(&value)).collect::<Vec<_>>()
                };
                assert_eq!(values(&tables[0]).await, values(&tables[1]).await, "{condition:?}");
            }
        });
    }
}

#[tokio::test]
async fn q18_a_reader_that_stops_reading_loses_its_snapshot() {
    let fixture = Fixture::with(|config| {
        config.max_snapshots = 1;
        config.max_snapshot_age = std::time::Duration::from_millis(50);
    });
    let table = fixture.table("type T @table { id: Int @primaryKey }").await;
    let writes = (0..2000)
        .map(|n| resource::Write::new(Some(Key::Int(n)), WriteKind::Put, Some(json("{}"))));
    table.write(writes.collect(), &internal()).await.unwrap();
    let mut stalled = table
        .search(&Target::collection(), &internal())
        .await
        .unwrap();
    stalled.next().await.unwrap().unwrap();
    while search(&table, matching(compare("id", Comparator::Equals, 1_i64)))
        .await
        .is_err()
    {
        tokio::task::yield_now().await;
    }
    let mut rest = stalled.collect::<Vec<_>>().await;
    assert_eq!(rest.pop().unwrap().unwrap_err().status(), 503);
}
