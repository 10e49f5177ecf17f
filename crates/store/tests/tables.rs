//! Making, altering and dropping databases, tables and indexes.

mod support;

use std::sync::Arc;
use std::time::Duration;

use resource::{
    Attribute, AttributeType, Catalog as _, Comparator, Error, Key, Query, TableDefinition, Target,
    Value, Write, WriteKind,
};
use support::{Fixture, compare, internal, json, keys, matching, search, text, write, write_as};

fn dynamic(table: &str) -> TableDefinition {
    TableDefinition {
        database: "data".into(),
        table: table.into(),
        primary_key: "id".into(),
        attributes: vec![Attribute::new("id", AttributeType::Any)],
        schema_defined: false,
        sealed: false,
        audit: true,
        expiration_secs: None,
        export: None,
    }
}

fn message(result: Result<(), Error>) -> (u16, String) {
    let error = result.unwrap_err();
    (error.status(), error.message().to_owned())
}

#[tokio::test]
async fn s4_databases_and_tables_are_made_and_dropped_with_the_messages_of_operations() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    store.create_database("shop").await.unwrap();
    let again = message(store.create_database("shop").await);
    assert_eq!(again, (400, "database 'shop' already exists".into()));
    let definition = TableDefinition {
        database: "shop".into(),
        ..dynamic("Item")
    };
    let item = store.create_table(definition.clone()).await.unwrap();
    let again = message(store.create_table(definition.clone()).await.map(drop));
    assert_eq!(again, (400, "Table 'Item' already exists in 'shop'".into()));
    assert_eq!(store.databases(), ["shop"]);
    assert!(store.tables("system").is_some(), "reachable by name");
    write(&item, "1", WriteKind::Put, r#"{"a":1}"#)
        .await
        .unwrap();
    store.drop_table("shop", "Item").await.unwrap();
    assert_eq!(
        message(store.drop_table("shop", "Item").await),
        (404, "Table 'shop.Item' does not exist".into())
    );
    assert_eq!(message(store.table("shop", "Item").map(drop)).0, 404);
    assert_eq!(
        item.get(&Target::record("1"), &internal())
            .await
            .unwrap_err()
            .status(),
        404
    );
    assert_eq!(
        write(&item, "1", WriteKind::Put, "{}")
            .await
            .unwrap_err()
            .status(),
        404
    );
    // The same name again is another, empty table.
    let item = store.create_table(definition).await.unwrap();
    assert_eq!(text(&item, "1").await, "absent");
    store.settle("shop").await.unwrap();
    assert_eq!(fixture.verify("shop").await.log_entries, 0);
    store.drop_database("shop").await.unwrap();
    assert_eq!(
        message(store.drop_database("shop").await),
        (404, "database 'shop' does not exist".into())
    );
    assert!(!fixture.directory.path().join("shop.mdb").exists());
    assert_eq!(
        item.get(&Target::record("1"), &internal())
            .await
            .unwrap_err()
            .status(),
        404
    );
    store.create_database("shop").await.unwrap();
    assert_eq!(message(store.create_database("a/b").await).0, 400);
}

#[tokio::test]
async fn s1_2_new_properties_of_a_dynamic_table_become_indexed_attributes() {
    let fixture = Fixture::new();
    let table = fixture.store.create_table(dynamic("T")).await.unwrap();
    let names = || -> Vec<String> {
        let definition = table.table().unwrap();
        definition
            .attributes
            .iter()
            .map(|attribute| attribute.name.clone())
            .collect()
    };
    assert_eq!(names(), ["id", "__createdtime__", "__updatedtime__"]);
    let mut made = Vec::new();
    for _ in 0..3 {
        let written = write_as(&table, None, WriteKind::InsertIfAbsent, "{}", &internal())
            .await
            .unwrap();
        made.push(written.key.unwrap());
    }
    assert_eq!(made, [Key::Int(1), Key::Int(2), Key::Int(3)]);
    let body = r#"{"color":"red","size":{"w":1}}"#;
    write_as(&table, None, WriteKind::InsertIfAbsent, body, &internal())
        .await
        .unwrap();
    assert_eq!(names()[3..], ["color", "size"]);
    assert!(table.table().unwrap().attribute("color").unwrap().indexed);
    assert_eq!(
        keys(
            &table,
            matching(compare("color", Comparator::Equals, "red"))
        )
        .await,
        ["4"]
    );
    let absent = matching(compare("color", Comparator::Equals, resource::Value::Null));
    assert_eq!(keys(&table, absent).await, ["1", "2", "3"]);
    // What no record has yet is absent from all of them.
    let unheard_of = matching(compare("weight", Comparator::NotEqual, 1_i64));
    assert_eq!(keys(&table, unheard_of).await.len(), 4);
    fixture.verify("data").await;
    drop(table);
    let fixture = fixture.reopen();
    let table = fixture.store.table("data", "T").unwrap();
    assert!(table.table().unwrap().attribute("size").is_some());
    let error = write(&table, "5", WriteKind::Put, r#"{"a/b":1}"#)
        .await
        .unwrap_err();
    assert_eq!(
        error.message(),
        "Attribute names cannot include backticks or forward slashes"
    );
}

const PLAIN: &str = "type T @table { id: Int @primaryKey, a: Int }";
const INDEXED: &str = "type T @table { id: Int @primaryKey, a: Int @indexed, b: String }";

async fn fill(fixture: &Fixture, count: i64) {
    let table = fixture.store.table("data", "T").unwrap();
    for start in (0..count).step_by(1000) {
        let writes = (start..(start + 1000).min(count)).map(|n| {
            Write::new(
                Some(Key::Int(n)),
                WriteKind::Put,
                Some(json(&format!(r#"{{"a":{}}}"#, n % 10))),
            )
        });
        table.write(writes.collect(), &internal()).await.unwrap();
    }
}

#[tokio::test]
async fn s2_3_the_progress_of_an_index_is_told_until_it_is_complete() {
    let fixture = Fixture::with(|config| config.inline_index_records = 10);
    let schema = "type T @table { id: Int @primaryKey, n: Int, twice: Int @computed }";
    let table = fixture.table(schema).await;
    for id in 0..20 {
        let body = format!(r#"{{"n":{id}}}"#);
        write_as(
            &table,
            Some(Key::Int(id)),
            WriteKind::Put,
            &body,
            &internal(),
        )
        .await
        .unwrap();
    }
    // The index waits for its function, so its progress can be looked at.
    fixture
        .table(&schema.replace("@computed", "@computed @indexed"))
        .await;
    fixture.store.settle("data").await.unwrap();
    let expected = store::IndexProgress {
        table: "T".into(),
        attribute: "twice".into(),
        built: 0,
        records: 20,
    };
    assert_eq!(fixture.store.index_progress("data").unwrap(), [expected]);
    let query = matching(compare("twice", Comparator::Equals, 6_i64));
    assert_eq!(
        search(&table, query.clone()).await.unwrap_err().status(),
        503
    );
    let twice = |record: &resource::Map| Some(Value::Int(record.get("n")?.as_i64()? * 2));
    let store = &fixture.store;
    store
        .compute("data", "T", "twice", Arc::new(twice))
        .await
        .unwrap();
    store.settle("data").await.unwrap();
    assert_eq!(store.index_progress("data").unwrap(), []);
    assert_eq!(keys(&table, query).await, ["3"]);
    fixture.verify("data").await;
}

#[tokio::test]
async fn s2_3_an_index_of_a_large_table_is_built_in_the_background() {
    let fixture = Fixture::with(|config| config.inline_index_records = 10);
    fixture.table(PLAIN).await;
    fill(&fixture, 5000).await;
    let table = fixture.table(INDEXED).await;
    let query = matching(compare("a", Comparator::Equals, 3_i64));
    // Either it is being built, or that was fast.
    match search(&table, query.clone()).await {
        Ok(found) => assert_eq!(found.len(), 500),
        Err(error) => assert_eq!(
            (error.status(), error.message()),
            (
                503,
                "\"a\" is not indexed yet, can not search for this attribute"
            )
        ),
    }
    write_as(
        &table,
        Some(Key::Int(4999)),
        WriteKind::Put,
        r#"{"a":3}"#,
        &internal(),
    )
    .await
    .unwrap();
    write_as(
        &table,
        Some(Key::Int(3)),
        WriteKind::Delete,
        "",
        &internal(),
    )
    .await
    .unwrap();
    fixture.store.settle("data").await.unwrap();
    assert_eq!(keys(&table, query).await.len(), 500);
    let found = fixture.verify("data").await;
    assert_eq!((found.records, found.index_entries), (4999, 4999));
}

#[tokio::test]
async fn s2_3_an_index_that_is_no_longer_declared_is_removed() {
    let fixture = Fixture::new();
    let table = fixture.table(INDEXED).await;
    fill(&fixture, 3000).await;
    fixture.table(PLAIN).await;
    fixture.store.settle("data").await.unwrap();
    assert_eq!(fixture.verify("data").await.index_entries, 0);
    assert!(table.table().unwrap().attribute("b").is_none());
    assert_eq!(
        keys(&table, matching(compare("a", Comparator::Equals, 3_i64)))
            .await
            .len(),
        300
    );
    let fixture = {
        drop(table);
        fixture.reopen()
    };
    let table = fixture.table(INDEXED).await;
    assert_eq!(fixture.verify("data").await.index_entries, 3000);
    assert_eq!(keys(&table, Query::default()).await.len(), 3000);
}

#[tokio::test]
async fn a_definition_that_is_refused_leaves_all_tables_as_they_were() {
    let fixture = Fixture::new();
    let table = fixture.table(PLAIN).await;
    let schema = |text| store::schema::parse(text, "schema.graphql").unwrap().tables;
    let mut tables = schema("type New @table { id: ID @primaryKey }");
    tables.extend(schema(
        "type T @table { other: Int @primaryKey, a: Int @indexed }",
    ));
    let error = fixture.store.ensure(tables).await.err().unwrap();
    assert_eq!(
        error.message(),
        "The primary key of table 'T' is 'id' and can not be changed to 'other'"
    );
    assert!(fixture.store.table("data", "New").is_err());
    assert!(!table.table().unwrap().attribute("a").unwrap().indexed);
    write_as(&table, Some(Key::Int(1)), WriteKind::Put, "{}", &internal())
        .await
        .unwrap();
}

#[tokio::test]
async fn statistics_count_exactly() {
    let fixture = Fixture::new();
    let table = fixture.table(INDEXED).await;
    fill(&fixture, 100).await;
    write_as(
        &table,
        Some(Key::Int(5)),
        WriteKind::Delete,
        "",
        &internal(),
    )
    .await
    .unwrap();
    for exact in [false, true] {
        let statistics = fixture.store.statistics("data", "T", exact).await.unwrap();
        assert_eq!(statistics.record_count, 99);
        assert_eq!(statistics.estimated_range, None);
        assert!(statistics.table_bytes > 0 && statistics.database_bytes > statistics.table_bytes);
        assert!(statistics.audit_bytes > 0 && statistics.last_updated.is_some());
    }
    let error = fixture
        .store
        .statistics("data", "X", false)
        .await
        .unwrap_err();
    assert_eq!(error.message(), "Table 'data.X' does not exist");
}

#[tokio::test]
async fn the_map_size_falls_back_to_what_the_system_grants() {
    let fixture = Fixture::with(|config| config.map_size_bytes = 1 << 60);
    let table = fixture.table(PLAIN).await;
    write_as(&table, Some(Key::Int(1)), WriteKind::Put, "{}", &internal())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_file_with_an_impossible_name_stops_the_start() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("a`b.mdb"), "").unwrap();
    let error = store::Store::open(
        store::StoreConfig::new(directory.path()),
        resource::Hub::new(1),
    )
    .unwrap_err();
    assert_eq!(error.to_string(), "'a`b' is not a database name");
}

#[tokio::test]
async fn a_file_that_is_no_database_stops_the_start() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("bad.mdb"), vec![7; 65_536]).unwrap();
    let error = store::Store::open(
        store::StoreConfig::new(directory.path()),
        resource::Hub::new(1),
    )
    .unwrap_err();
    assert_eq!(error.to_string(), "cannot open database 'bad'");
}

#[tokio::test]
async fn closing_answers_what_is_queued() {
    let fixture = Fixture::new();
    let table = fixture.table(PLAIN).await;
    let context = internal();
    let writes: Vec<_> = (0..50)
        .map(|n| {
            table.write(
                vec![Write::new(
                    Some(Key::Int(n)),
                    WriteKind::Put,
                    Some(json("{}")),
                )],
                &context,
            )
        })
        .collect();
    let Fixture {
        directory, store, ..
    } = fixture;
    drop(store);
    for answer in futures_util::future::join_all(writes).await {
        answer.unwrap();
    }
    let refused = write_as(&table, Some(Key::Int(99)), WriteKind::Put, "{}", &context)
        .await
        .unwrap_err();
    assert_eq!(refused.status(), 503);
    let refused = tokio::time::timeout(Duration::from_secs(5), search(&table, Query::default()))
        .await
        .unwrap();
    assert_eq!(refused.unwrap_err().status(), 503);
    let config = store::StoreConfig::new(directory.path());
    let store = store::Store::open(config, resource::Hub::new(1)).unwrap();
    assert_eq!(store.verify("data").await.unwrap().records, 50);
}

#[tokio::test]
async fn a_directory_is_opened_by_one_store_at_a_time() {
    let fixture = Fixture::new();
    let config = store::StoreConfig::new(fixture.directory.path());
    let error = store::Store::open(config.clone(), resource::Hub::new(1)).unwrap_err();
    assert!(matches!(error, store::StoreError::InUse(_)), "{error}");
    drop(fixture.store);
    store::Store::open(config, resource::Hub::new(1)).unwrap();
}

#[tokio::test]
async fn s2_3_an_attribute_is_added_and_dropped_by_name() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let table = store.create_table(dynamic("T")).await.unwrap();
    write(&table, "1", WriteKind::Put, r#"{"color":"red"}"#)
        .await
        .unwrap();
    store.drop_attribute("data", "T", "color").await.unwrap();
    assert!(table.table().unwrap().attribute("color").is_none());
    assert!(text(&table, "1").await.contains("red"), "the value stays");
    let red = || matching(compare("color", Comparator::Equals, "red"));
    let mut attribute = Attribute::new("color", AttributeType::Any);
    attribute.indexed = true;
    store
        .create_attribute("data", "T", attribute.clone())
        .await
        .unwrap();
    assert_eq!(keys(&table, red()).await, ["1"], "and is indexed again");
    let again = message(store.create_attribute("data", "T", attribute).await);
    assert_eq!(
        again,
        (400, "attribute 'color' already exists in data.T".into())
    );
    let key = message(store.drop_attribute("data", "T", "id").await);
    assert_eq!(key, (400, "You cannot drop a hash attribute".into()));
    for (table, name) in [("T", "none"), ("U", "color")] {
        assert_eq!(
            message(store.drop_attribute("data", table, name).await).0,
            404
        );
    }
    // A schema that is loaded again makes no attribute that nobody writes.
    store.drop_attribute("data", "T", "color").await.unwrap();
    store.ensure(vec![dynamic("T")]).await.unwrap();
    assert!(table.table().unwrap().attribute("color").is_none());
    store.settle("data").await.unwrap();
    fixture.verify("data").await;
}

#[tokio::test]
async fn s2_3_a_change_of_type_builds_the_index_anew_and_can_be_taken_back() {
    let fixture = Fixture::with(|config| config.inline_index_records = 100);
    let schema =
        |kind: &str| format!("type T @table {{ id: Int @primaryKey, n: {kind} @indexed }}");
    let table = fixture.table(&schema("Int")).await;
    for start in (0..10_000).step_by(1_000) {
        let puts = (start..start + 1_000).map(|n| {
            let body = json(&format!(r#"{{"n":{n}}}"#));
            Write::new(Some(Key::Int(n)), WriteKind::Put, Some(body))
        });
        table.write(puts.collect(), &internal()).await.unwrap();
    }
    let seven = || matching(compare("n", Comparator::Equals, 7_i64));
    // Begun, and taken back before it ended: the index of before is gone, and is built again.
    for kind in ["Long", "Float", "Int"] {
        fixture.ensure(&schema(kind)).await;
        let progress = fixture.store.index_progress("data").unwrap();
        assert!(progress.len() <= 1, "one index at a time: {progress:?}");
        for index in progress {
            assert!(index.attribute == "n" && index.built <= index.records);
        }
        match search(&table, seven()).await {
            Ok(records) => assert_eq!(records.len(), 1),
            Err(error) => assert_eq!(error.status(), 503),
        }
    }
    // Writes go on meanwhile and are found.
    let put = Write::new(
        Some(Key::Int(20_000)),
        WriteKind::Put,
        Some(json(r#"{"n":7}"#)),
    );
    table.write(vec![put], &internal()).await.unwrap();
    fixture.store.settle("data").await.unwrap();
    assert!(fixture.store.index_progress("data").unwrap().is_empty());
    assert_eq!(keys(&table, seven()).await, ["7", "20000"]);
    let found = fixture.verify("data").await;
    assert_eq!(
        found.index_entries, 10_001,
        "nothing of the dropped ones is left"
    );
}

#[tokio::test]
async fn s2_3_indexes_come_and_go_while_many_write() {
    let fixture = Fixture::with(|config| config.inline_index_records = 10);
    let schema =
        |indexed: &str| format!("type T @table {{ id: Int @primaryKey, n: Int {indexed} }}");
    let table = fixture.table(&schema("")).await;
    let writers = (0..4_i64).map(|writer| {
        let table = Arc::clone(&table);
        async move {
            for round in 0..100_i64 {
                let puts = (0..50).map(|n| {
                    let body = json(&format!(r#"{{"n":{}}}"#, (round + n) % 10));
                    Write::new(
                        Some(Key::Int(writer * 1_000 + n)),
                        WriteKind::Put,
                        Some(body),
                    )
                });
                table.write(puts.collect(), &internal()).await.unwrap();
            }
        }
    });
    let schemas = async {
        for round in 0..20 {
            let indexed = if round % 2 == 0 { "@indexed" } else { "" };
            fixture.ensure(&schema(indexed)).await;
        }
        fixture.ensure(&schema("@indexed")).await;
    };
    futures_util::future::join(futures_util::future::join_all(writers), schemas).await;
    fixture.store.settle("data").await.unwrap();
    let found = fixture.verify("data").await;
    assert_eq!((found.records, found.index_entries), (200, 200));
    let mut count = 0;
    for n in 0..10_i64 {
        count += keys(&table, matching(compare("n", Comparator::Equals, n)))
            .await
            .len();
    }
    assert_eq!(count, 200);
}
