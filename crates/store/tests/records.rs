//! Writing and reading records: the verbs, keys, times, permissions and preconditions.

mod support;

use std::collections::HashMap;
use std::sync::Arc;

use resource::access::AttributeFlags;
use resource::{
    AttributeAccess, Context, Error, Key, Permissions, Precondition, Resource, TableAccess, Target,
    Value, Write, WriteKind, WriteOutcome, Written,
};
use support::{Fixture, get, internal, json, put, text, user, write, write_as};

const DOG: &str = "type Dog @table { id: ID @primaryKey, name: String @indexed, age: Int }";

#[tokio::test]
async fn a_put_record_is_read_back_after_a_restart() {
    let fixture = Fixture::new();
    let dog = fixture.table(DOG).await;
    let version = put(&dog, "1", r#"{"name":"Rex","age":3}"#).await;
    assert_eq!(text(&dog, "1").await, r#"{"id":"1","name":"Rex","age":3}"#);
    drop(dog);
    let fixture = fixture.reopen();
    let dog = fixture.table(DOG).await;
    assert_eq!(text(&dog, "1").await, r#"{"id":"1","name":"Rex","age":3}"#);
    assert_eq!(get(&dog, "1").await.unwrap().version, version);
    assert!(put(&dog, "1", r#"{"name":"Rex"}"#).await > version);
    assert_eq!(fixture.verify("data").await.records, 1);
}

#[tokio::test]
async fn a_put_replaces_and_a_patch_merges_top_level_properties() {
    let fixture = Fixture::new();
    let dog = fixture.table(DOG).await;
    let put_once = write(&dog, "1", WriteKind::Put, r#"{"name":"Rex","age":3}"#)
        .await
        .unwrap();
    assert_eq!(put_once.outcome, WriteOutcome::Created);
    let put_again = write(&dog, "1", WriteKind::Put, r#"{"name":"Max"}"#)
        .await
        .unwrap();
    assert_eq!(put_again.outcome, WriteOutcome::Updated);
    assert_eq!(text(&dog, "1").await, r#"{"id":"1","name":"Max"}"#);
    write(
        &dog,
        "1",
        WriteKind::Patch,
        r#"{"age":4,"extra":{"a":1,"b":2}}"#,
    )
    .await
    .unwrap();
    write(
        &dog,
        "1",
        WriteKind::Patch,
        r#"{"age":null,"extra":{"c":3}}"#,
    )
    .await
    .unwrap();
    assert_eq!(
        text(&dog, "1").await,
        r#"{"id":"1","name":"Max","age":null,"extra":{"c":3}}"#
    );
    let created = write(&dog, "2", WriteKind::Patch, r#"{"age":1}"#)
        .await
        .unwrap();
    assert_eq!(created.outcome, WriteOutcome::Created);
    assert_eq!(text(&dog, "2").await, r#"{"id":"2","age":1}"#);
    fixture.verify("data").await;
}

#[tokio::test]
async fn an_add_operation_adds_to_the_stored_number_or_to_nothing() {
    let fixture = Fixture::new();
    let dog = fixture.table(DOG).await;
    let add = |n: &str| format!(r#"{{"age":{{"__op__":"add","value":{n}}}}}"#);
    write(&dog, "1", WriteKind::Patch, &add("5")).await.unwrap();
    write(&dog, "1", WriteKind::Patch, &add("-2"))
        .await
        .unwrap();
    assert_eq!(text(&dog, "1").await, r#"{"id":"1","age":3}"#);
    let error = write(
        &dog,
        "1",
        WriteKind::Patch,
        r#"{"name":{"__op__":"add","value":1}}"#,
    )
    .await;
    assert_eq!(error.unwrap_err().status(), 400);
    let error = write(
        &dog,
        "1",
        WriteKind::Patch,
        r#"{"age":{"__op__":"multiply","value":2}}"#,
    )
    .await;
    assert_eq!(error.unwrap_err().status(), 400);
    assert_eq!(text(&dog, "1").await, r#"{"id":"1","age":3}"#);
}

#[tokio::test]
async fn p4_create_of_an_existing_key_is_409() {
    let fixture = Fixture::new();
    let dog = fixture.table(DOG).await;
    put(&dog, "1", r#"{"name":"Rex"}"#).await;
    let error = write_as(&dog, None, WriteKind::Create, r#"{"id":"1"}"#, &internal())
        .await
        .unwrap_err();
    assert_eq!(
        (error.status(), error.message()),
        (409, "Record already exists")
    );
    let made = write_as(
        &dog,
        None,
        WriteKind::Create,
        r#"{"name":"Max"}"#,
        &internal(),
    )
    .await
    .unwrap();
    let Some(Key::String(key)) = made.key else {
        panic!("a text key")
    };
    assert_eq!(key.len(), 36, "a UUID");
    assert_eq!(
        text(&dog, key.as_str()).await,
        format!(r#"{{"id":"{key}","name":"Max"}}"#)
    );
}

#[tokio::test]
async fn insert_update_and_delete_skip_what_does_not_apply() {
    let fixture = Fixture::new();
    let dog = fixture.table(DOG).await;
    let writes = |kind: WriteKind, bodies: &[&str]| -> Vec<Write> {
        bodies
            .iter()
            .map(|body| Write::new(None, kind.clone(), Some(json(body))))
            .collect()
    };
    let outcomes = |written: Vec<Written>| {
        written
            .into_iter()
            .map(|written| written.outcome)
            .collect::<Vec<_>>()
    };
    let inserts = writes(
        WriteKind::InsertIfAbsent,
        &[r#"{"id":"1"}"#, r#"{"id":"1"}"#, r#"{"id":""}"#],
    );
    let inserted = dog.write(inserts, &internal()).await.unwrap();
    assert_eq!(inserted[2].key.as_ref().unwrap().to_string().len(), 36);
    assert_eq!(
        outcomes(inserted),
        [
            WriteOutcome::Created,
            WriteOutcome::Skipped,
            WriteOutcome::Created
        ]
    );
    let updates = writes(
        WriteKind::UpdateIfPresent,
        &[r#"{"id":"1","age":2}"#, r#"{"id":"zz","age":2}"#],
    );
    let updated = dog.write(updates, &internal()).await.unwrap();
    assert_eq!(
        outcomes(updated),
        [WriteOutcome::Updated, WriteOutcome::Skipped]
    );
    let upserts = writes(
        WriteKind::Upsert,
        &[r#"{"id":"1","name":"Rex"}"#, r#"{"id":"3","age":1}"#],
    );
    let upserted = dog.write(upserts, &internal()).await.unwrap();
    assert_eq!(
        outcomes(upserted),
        [WriteOutcome::Updated, WriteOutcome::Created]
    );
    assert_eq!(text(&dog, "1").await, r#"{"id":"1","age":2,"name":"Rex"}"#);
    assert_eq!(text(&dog, "zz").await, "absent");
    for expected in [WriteOutcome::Deleted, WriteOutcome::Skipped] {
        assert_eq!(
            write(&dog, "1", WriteKind::Delete, "")
                .await
                .unwrap()
                .outcome,
            expected
        );
    }
    let keyless = writes(
        WriteKind::UpdateIfPresent,
        &[r#"{"id":"3","age":9}"#, r#"{"age":2}"#],
    );
    assert_eq!(
        dog.write(keyless, &internal()).await.unwrap_err().status(),
        400
    );
    assert_eq!(text(&dog, "3").await, r#"{"id":"3","age":1}"#);
    fixture.verify("data").await;
}

#[tokio::test]
async fn u2_a_key_in_the_body_that_differs_from_the_target_is_400() {
    let fixture = Fixture::new();
    let dog = fixture.table(DOG).await;
    let error = write(&dog, "1", WriteKind::Put, r#"{"id":"2"}"#)
        .await
        .unwrap_err();
    assert_eq!(error.status(), 400);
    let error = write_as(&dog, None, WriteKind::Put, r#"{"name":"Rex"}"#, &internal())
        .await
        .unwrap_err();
    assert_eq!(error.message(), "Invalid primary key of null");
    let error = write(&dog, "1", WriteKind::Put, "[1]").await.unwrap_err();
    assert_eq!(error.message(), "A record must be an object, not array");
}

#[tokio::test]
async fn s18_1_generated_integers_increase_also_after_a_restart() {
    const COUNTER: &str = "type Counter @table { id: Long @primaryKey, n: Int }";
    let fixture = Fixture::new();
    let counter = fixture.table(COUNTER).await;
    let mut keys = Vec::new();
    for _ in 0..3 {
        keys.push(
            write_as(&counter, None, WriteKind::Create, "{}", &internal())
                .await
                .unwrap()
                .key
                .unwrap(),
        );
    }
    // Keys that a client chose are passed over.
    for key in 4..40_i64 {
        write_as(
            &counter,
            Some(Key::Int(key)),
            WriteKind::Put,
            "{}",
            &internal(),
        )
        .await
        .unwrap();
    }
    drop(counter);
    let fixture = fixture.reopen();
    let counter = fixture.table(COUNTER).await;
    keys.push(
        write_as(&counter, None, WriteKind::Upsert, r#"{"n":1}"#, &internal())
            .await
            .unwrap()
            .key
            .unwrap(),
    );
    assert_eq!(keys, [Key::Int(1), Key::Int(2), Key::Int(3), Key::Int(40)]);
    assert_eq!(text(&counter, Key::Int(40)).await, r#"{"id":40,"n":1}"#);
    assert_eq!(text(&counter, Key::Int(1)).await, r#"{"id":1}"#);
}

#[tokio::test]
async fn s6_3_created_and_updated_times_are_assigned_by_the_store() {
    const NOTE: &str = "type Note @table { id: ID @primaryKey, made: Long @createdTime, changed: String @updatedTime }";
    let fixture = Fixture::new();
    let note = fixture.table(NOTE).await;
    let first = put(&note, "1", r#"{"made":5,"changed":"never"}"#).await;
    let made = get(&note, "1")
        .await
        .unwrap()
        .body
        .attribute("made")
        .unwrap();
    assert_eq!(made.as_i64(), Some(first.as_millis() as i64));
    let changed = get(&note, "1")
        .await
        .unwrap()
        .body
        .attribute("changed")
        .unwrap();
    assert_eq!(
        resource::Date::parse(changed.as_str().unwrap())
            .unwrap()
            .as_millis(),
        first.as_millis() as i64
    );
    put(&note, "1", r#"{"made":7}"#).await;
    let second = get(&note, "1").await.unwrap().body;
    assert_eq!(second.attribute("made"), Some(made.clone()));
    write(&note, "1", WriteKind::Patch, r#"{"made":9,"x":1}"#)
        .await
        .unwrap();
    assert_eq!(
        get(&note, "1").await.unwrap().body.attribute("made"),
        Some(made)
    );
    write(&note, "2", WriteKind::Patch, "{}").await.unwrap();
    assert!(
        get(&note, "2")
            .await
            .unwrap()
            .body
            .attribute("made")
            .is_some()
    );
}

#[tokio::test]
async fn s18_6_a_violation_refuses_the_whole_request() {
    let fixture = Fixture::new();
    let dog = fixture
        .table("type Dog @table @sealed { id: ID @primaryKey, age: Int! }")
        .await;
    let writes = [
        r#"{"id":"1","age":1}"#,
        r#"{"id":"2","age":1,"extra":true}"#,
    ];
    let writes = writes
        .map(|body| Write::new(None, WriteKind::Put, Some(json(body))))
        .to_vec();
    let error = dog.write(writes, &internal()).await.unwrap_err();
    assert_eq!(
        (error.status(), error.message()),
        (400, "Property extra is not allowed")
    );
    assert_eq!(text(&dog, "1").await, "absent");
    // An upsert that makes a record needs a whole one.
    let error = write(&dog, "3", WriteKind::Upsert, "{}").await.unwrap_err();
    assert_eq!(error.status(), 400);
}

async fn conditional(
    table: &Arc<dyn Resource>,
    kind: WriteKind,
    precondition: Precondition,
) -> Result<Written, Error> {
    let body = (kind != WriteKind::Delete).then(|| json(r#"{"name":"new"}"#));
    let mut write = Write::new(Some(Key::from("1")), kind, body);
    write.precondition = precondition;
    Ok(table.write(vec![write], &internal()).await?.remove(0))
}

#[tokio::test]
async fn rest_6_2_a_precondition_that_does_not_hold_is_412() {
    let fixture = Fixture::new();
    let dog = fixture.table(DOG).await;
    let if_match = |versions: Vec<_>| Precondition {
        if_match: Some(versions),
        ..Precondition::default()
    };
    let if_none_match = |versions: Vec<_>| Precondition {
        if_none_match: Some(versions),
        ..Precondition::default()
    };
    let status =
        |result: Result<Written, Error>| result.map_or_else(|error| error.status(), |_| 204);
    // Absent: If-Match fails, even for a delete; If-None-Match: * holds.
    assert_eq!(
        status(conditional(&dog, WriteKind::Put, if_match(Vec::new())).await),
        412
    );
    assert_eq!(
        status(conditional(&dog, WriteKind::Delete, if_match(Vec::new())).await),
        412
    );
    assert_eq!(
        status(conditional(&dog, WriteKind::Put, if_none_match(Vec::new())).await),
        204
    );
    assert_eq!(
        status(conditional(&dog, WriteKind::Put, if_none_match(Vec::new())).await),
        412
    );
    let version = get(&dog, "1").await.unwrap().version;
    assert_eq!(
        status(conditional(&dog, WriteKind::Patch, if_none_match(vec![version])).await),
        412
    );
    assert_eq!(
        status(conditional(&dog, WriteKind::Patch, if_match(vec![version])).await),
        204
    );
    assert_eq!(
        status(conditional(&dog, WriteKind::Patch, if_match(vec![version])).await),
        412
    );
    assert_eq!(
        status(conditional(&dog, WriteKind::Patch, if_match(Vec::new())).await),
        204
    );
    let unmodified = |since| Precondition {
        if_unmodified_since: Some(since),
        ..Precondition::default()
    };
    let now = get(&dog, "1").await.unwrap().version;
    let earlier = base::Timestamp::from_millis(now.as_millis() - 5000.0).unwrap();
    assert_eq!(
        status(conditional(&dog, WriteKind::Put, unmodified(earlier)).await),
        412
    );
    assert_eq!(
        status(conditional(&dog, WriteKind::Delete, unmodified(now)).await),
        204
    );
}

#[tokio::test]
async fn s11_2_an_expired_record_is_absent_and_its_key_is_free() {
    let fixture =
        Fixture::with(|config| config.sweep_interval = std::time::Duration::from_millis(20));
    let dog = fixture.table(DOG).await;
    let mut writes = Vec::new();
    for (key, millis) in [("old", 1.0), ("new", 9e12)] {
        let mut write = Write::new(
            Some(Key::from(key)),
            WriteKind::Put,
            Some(json(r#"{"name":"x"}"#)),
        );
        write.expires_at = base::Timestamp::from_millis(millis);
        writes.push(write);
    }
    dog.write(writes.clone(), &internal()).await.unwrap();
    assert_eq!(text(&dog, "old").await, "absent");
    assert_eq!(
        get(&dog, "new").await.unwrap().expires_at,
        base::Timestamp::from_millis(9e12)
    );
    let query = support::matching(support::compare("name", resource::Comparator::Equals, "x"));
    assert_eq!(support::keys(&dog, query).await, ["new"]);
    let made = write_as(
        &dog,
        None,
        WriteKind::Create,
        r#"{"id":"old"}"#,
        &internal(),
    )
    .await;
    assert_eq!(made.unwrap().outcome, WriteOutcome::Created);
    dog.write(writes, &internal()).await.unwrap();
    // The sweep removes it with its index entries.
    use resource::Catalog as _;
    while fixture
        .store
        .statistics("data", "Dog", false)
        .await
        .unwrap()
        .record_count
        > 1
    {
        tokio::task::yield_now().await;
    }
    let found = fixture.verify("data").await;
    assert_eq!((found.records, found.index_entries), (1, 1));
}

fn restricted(table: TableAccess) -> Context {
    let tables = HashMap::from([(
        "data".to_owned(),
        HashMap::from([("Dog".to_owned(), table)]),
    )]);
    user(Permissions {
        tables,
        ..Permissions::default()
    })
}

fn flags(read: bool, insert: bool, update: bool) -> AttributeFlags {
    AttributeFlags {
        read,
        insert,
        update,
    }
}

#[tokio::test]
async fn p1_to_p13_table_flags_decide_by_existence() {
    let fixture = Fixture::new();
    let dog = fixture.table(DOG).await;
    put(&dog, "1", r#"{"name":"Rex"}"#).await;
    let only = |insert, update, delete| {
        restricted(TableAccess {
            insert,
            update,
            delete,
            ..TableAccess::default()
        })
    };
    let status = async |context: Context, key: &str, kind: WriteKind| {
        let body = if kind == WriteKind::Delete {
            ""
        } else {
            r#"{"age":1}"#
        };
        let result = write_as(&dog, Some(Key::from(key)), kind, body, &context).await;
        result.map_or_else(|error| error.status(), |_| 200)
    };
    assert_eq!(
        status(only(true, false, false), "1", WriteKind::Put).await,
        403
    );
    assert_eq!(
        status(only(true, false, false), "2", WriteKind::Put).await,
        200
    );
    assert_eq!(
        status(only(false, true, false), "3", WriteKind::Patch).await,
        403
    );
    assert_eq!(
        status(only(false, true, false), "1", WriteKind::Patch).await,
        200
    );
    assert_eq!(
        status(only(true, true, false), "1", WriteKind::Delete).await,
        403
    );
    assert_eq!(
        status(only(false, false, true), "1", WriteKind::Delete).await,
        200
    );
    assert_eq!(
        status(only(false, true, false), "4", WriteKind::Upsert).await,
        403
    );
    let anonymous = Context::new(
        resource::Caller::Anonymous,
        base::WorkerId(0),
        resource::Protocol::Rest,
    );
    assert_eq!(status(anonymous, "1", WriteKind::Put).await, 401);
    // P12: all or nothing.
    let writes =
        ["5", "2"].map(|key| Write::new(Some(Key::from(key)), WriteKind::Put, Some(json("{}"))));
    let error = dog
        .write(writes.to_vec(), &only(true, false, false))
        .await
        .unwrap_err();
    assert_eq!(error.status(), 403);
    assert_eq!(text(&dog, "5").await, "absent");
    let error = dog
        .get(&Target::record("2"), &only(true, true, true))
        .await
        .unwrap_err();
    assert_eq!(error.status(), 403);
}

#[tokio::test]
async fn p9_to_p11_attribute_permissions_hold_inside_the_commit() {
    let fixture = Fixture::new();
    let dog = fixture.table(DOG).await;
    put(&dog, "1", r#"{"name":"Rex","age":3,"secret":"s"}"#).await;
    let attributes = AttributeAccess {
        attributes: HashMap::from([
            ("name".to_owned(), flags(true, true, true)),
            ("age".to_owned(), flags(true, false, false)),
        ]),
    };
    let context = restricted(TableAccess {
        attributes: Some(Arc::new(attributes)),
        ..TableAccess::ALL
    });
    let record = dog
        .get(&Target::record("1"), &context)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(record.body.json(), r#"{"id":"1","name":"Rex","age":3}"#);
    let put_as = async |key: &str, body: &str| {
        let result = write_as(&dog, Some(Key::from(key)), WriteKind::Put, body, &context).await;
        result.map_or_else(|error| error.status(), |_| 200)
    };
    assert_eq!(put_as("1", r#"{"name":"Max","age":4}"#).await, 403);
    assert_eq!(put_as("1", r#"{"name":"Max","secret":"t"}"#).await, 403);
    assert_eq!(put_as("2", r#"{"name":"Max","age":4}"#).await, 403);
    // P10: an unchanged value is no change. P11: what may not be changed is kept.
    assert_eq!(put_as("1", r#"{"name":"Max","age":3}"#).await, 200);
    assert_eq!(
        text(&dog, "1").await,
        r#"{"id":"1","name":"Max","age":3,"secret":"s"}"#
    );
    assert_eq!(put_as("1", "{}").await, 200);
    assert_eq!(text(&dog, "1").await, r#"{"id":"1","age":3,"secret":"s"}"#);
    assert_eq!(put_as("2", r#"{"name":"Max"}"#).await, 200);
}

#[tokio::test]
async fn keys_of_different_types_are_different_records() {
    let fixture = Fixture::new();
    let any = fixture
        .table("type Any1 @table { id: Any @primaryKey }")
        .await;
    for key in [
        Key::Int(7),
        Key::from("7"),
        Key::Parts(vec![Key::from("a"), Key::Int(1)]),
        Key::from("a/1"),
    ] {
        let kind = WriteKind::Put;
        write_as(&any, Some(key.clone()), kind, "{}", &internal())
            .await
            .unwrap();
        assert_eq!(get(&any, key.clone()).await.unwrap().key, Some(key));
    }
    assert_eq!(any.parse_key("7").unwrap(), Key::Int(7));
    assert_eq!(any.parse_key("011").unwrap(), Key::from("011"));
    let long = Key::String("x".repeat(3000));
    let error = write_as(&any, Some(long), WriteKind::Put, "{}", &internal())
        .await
        .unwrap_err();
    assert_eq!(
        (error.status(), error.message()),
        (400, "Primary key size is too large: 3003")
    );
    // A key too long to stand in an index entry.
    let long = Key::String("x".repeat(1900));
    let indexed = fixture
        .table("type Long1 @table { id: ID @primaryKey, a: String @indexed }")
        .await;
    write_as(
        &indexed,
        Some(long.clone()),
        WriteKind::Put,
        r#"{"a":"v"}"#,
        &internal(),
    )
    .await
    .unwrap();
    let query = support::matching(support::compare("a", resource::Comparator::Equals, "v"));
    assert_eq!(support::keys(&indexed, query).await, [long.to_string()]);
    fixture.verify("data").await;
}

#[tokio::test]
async fn values_keep_their_types() {
    let fixture = Fixture::new();
    let table = fixture
        .table("type T @table { id: ID @primaryKey, at: Date, big: BigInt, raw: Bytes }")
        .await;
    put(
        &table,
        "1",
        r#"{"at":"2024-02-03T04:05:06Z","big":123456789012345678901234567890,"raw":"hi","f":1.5}"#,
    )
    .await;
    let body = get(&table, "1").await.unwrap().body;
    assert!(matches!(body.attribute("at"), Some(Value::Date(_))));
    assert!(matches!(body.attribute("big"), Some(Value::BigInt(_))));
    assert_eq!(
        body.attribute("raw"),
        Some(Value::Bytes(bytes::Bytes::from_static(b"hi")))
    );
}

#[tokio::test]
async fn s2_1_split_segments_makes_keys_of_several_parts() {
    let fixture = Fixture::new();
    let schema = "type T @table @splitSegments { id: ID @primaryKey, n: Int }";
    let table = fixture.table(schema).await;
    let parts = |parts: &[&str]| Key::Parts(parts.iter().map(|part| Key::from(*part)).collect());
    assert_eq!(table.parse_key("a").unwrap(), Key::from("a"));
    assert_eq!(table.parse_key("a/b").unwrap(), parts(&["a", "b"]));
    for (key, n) in [("a", 1), ("a/b", 2), ("a/b/c", 3), ("b", 4)] {
        let key = table.parse_key(key).unwrap();
        let body = format!(r#"{{"n":{n}}}"#);
        write_as(&table, Some(key), WriteKind::Put, &body, &internal())
            .await
            .unwrap();
    }
    let found = get(&table, parts(&["a", "b"])).await.unwrap();
    assert_eq!(found.body.json(), r#"{"id":["a","b"],"n":2}"#);
    assert!(
        get(&table, "a/b").await.is_none(),
        "the text is another key"
    );
    // The same key in a body.
    let body = r#"{"id":["a","b"],"n":5}"#;
    write_as(&table, None, WriteKind::Put, body, &internal())
        .await
        .unwrap();
    let found = get(&table, parts(&["a", "b"])).await.unwrap();
    assert_eq!(found.body.attribute("n"), Some(Value::Int(5)));
    let fixture = fixture.reopen();
    let table = fixture.table(schema).await;
    assert_eq!(table.parse_key("a/b").unwrap(), parts(&["a", "b"]));
    fixture.verify("data").await;
}
