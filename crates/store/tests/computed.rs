//! Computed attributes, from expressions and from functions (`schema-and-storage.md` §10), and `@expiresAt`.

mod support;

use std::sync::Arc;

use resource::{
    Comparator, Key, Permissions, Query, Resource, Select, SelectItem, SortKey, TableAccess, Value,
    Write, WriteKind,
};
use support::{
    Fixture, compare, get, internal, json, keys, matching, put, search, search_as, text, user,
    write,
};

const ITEM: &str = r#"type Item @table {
    id: ID @primaryKey
    qty: Int
    price: Float
    name: String
    total: Float @computed(from: "qty * price") @indexed
    words: [String] @computed(from: "name.toLowerCase().split(' ')") @indexed
    size: String @computed(from: "total > 10 ? 'large' : 'small'")
    label: String @computed(from: "name + ' (' + qty + ')'")
}"#;

async fn items(fixture: &Fixture) -> Arc<dyn Resource> {
    let item = fixture.table(ITEM).await;
    put(&item, "a", r#"{"qty":2,"price":1.5,"name":"Red Box"}"#).await;
    put(&item, "b", r#"{"qty":10,"price":2,"name":"Blue Box"}"#).await;
    put(&item, "c", r#"{"name":"Nothing"}"#).await;
    item
}

fn selecting(names: &[&str]) -> Query {
    Query {
        select: Some(Select::Object(
            names.iter().map(|name| SelectItem::named(*name)).collect(),
        )),
        ..Query::default()
    }
}

#[tokio::test]
async fn s10_a_computed_attribute_is_there_when_it_is_asked_for_and_never_stored() {
    let fixture = Fixture::new();
    let item = items(&fixture).await;
    assert_eq!(
        text(&item, "a").await,
        r#"{"id":"a","qty":2,"price":1.5,"name":"Red Box"}"#
    );
    let records = search(&item, selecting(&["total", "label"])).await.unwrap();
    let values = records.iter().map(|record| record.body.attribute("total"));
    assert!(matches!(
        &values.collect::<Vec<_>>()[..],
        [Some(Value::Float(3.0)), Some(Value::Float(20.0)), Some(Value::Float(nan))] if nan.is_nan()
    ));
    let label = records[0].body.attribute("label");
    assert_eq!(label, Some(Value::from("Red Box (2)")));
    let record = get(&item, "b").await.unwrap();
    assert_eq!(&record.body.attribute_json("total").unwrap()[..], b"20");
    let error = write(&item, "a", WriteKind::Patch, r#"{"total":1}"#)
        .await
        .unwrap_err();
    assert_eq!(
        (error.status(), error.message()),
        (
            400,
            "Computed property total may not be directly assigned a value"
        )
    );
}

#[tokio::test]
async fn s10_an_expression_sees_stored_attributes_only() {
    let fixture = Fixture::new();
    let item = items(&fixture).await;
    let records = search(&item, selecting(&["size"])).await.unwrap();
    let sizes: Vec<_> = records
        .iter()
        .map(|record| record.body.attribute("size"))
        .collect();
    assert_eq!(
        sizes,
        vec![Some(Value::from("small")); 3],
        "total is undefined there"
    );
}

#[tokio::test]
async fn s10_an_indexed_computed_attribute_is_searched_and_sorted_by_its_index() {
    let fixture = Fixture::new();
    let item = items(&fixture).await;
    let total = |value: f64| matching(compare("total", Comparator::GreaterThan, value));
    assert_eq!(keys(&item, total(5.0)).await, ["b"]);
    let word = matching(compare("words", Comparator::Equals, "box"));
    assert_eq!(keys(&item, word.clone()).await, ["a", "b"]);
    write(&item, "a", WriteKind::Patch, r#"{"qty":100,"name":"Gold"}"#)
        .await
        .unwrap();
    assert_eq!(keys(&item, total(5.0)).await, ["b", "a"]);
    assert_eq!(keys(&item, word.clone()).await, ["b"]);
    write(&item, "b", WriteKind::Delete, "").await.unwrap();
    assert_eq!(keys(&item, word).await, Vec::<String>::new());
    let sorted = Query {
        sort: vec![SortKey {
            attribute: vec!["label".into()],
            descending: false,
        }],
        ..Query::default()
    };
    assert_eq!(keys(&item, sorted).await, ["a", "c"]);
    fixture.verify("data").await;
}

#[tokio::test]
async fn s10_another_expression_makes_the_index_anew() {
    for inline in [0, 10_000] {
        let fixture = Fixture::with(|config| config.inline_index_records = inline);
        let item = items(&fixture).await;
        let query = matching(compare("total", Comparator::Equals, 12.0));
        assert_eq!(keys(&item, query.clone()).await, Vec::<String>::new());
        fixture
            .ensure(&ITEM.replace("qty * price", "qty + price"))
            .await;
        fixture.store.settle("data").await.unwrap();
        assert_eq!(keys(&item, query).await, ["b"]);
        fixture.verify("data").await;
    }
}

#[tokio::test]
async fn s10_a_function_computes_what_the_program_registers() {
    let fixture = Fixture::new();
    let schema =
        "type Dog @table { id: ID @primaryKey, name: String, initial: String @computed @indexed }";
    let dog = fixture.table(schema).await;
    let error = write(&dog, "1", WriteKind::Put, r#"{"name":"Rex"}"#)
        .await
        .unwrap_err();
    assert_eq!(
        (error.status(), error.message()),
        (
            503,
            "The function of the indexed computed attribute initial is not registered"
        )
    );
    let initial = |dog: &resource::Map| dog.get("name")?.as_str()?.get(..1).map(Value::from);
    let store = &fixture.store;
    store
        .compute("data", "Dog", "initial", Arc::new(initial))
        .await
        .unwrap();
    store.settle("data").await.unwrap();
    put(&dog, "1", r#"{"name":"Rex"}"#).await;
    let query = matching(compare("initial", Comparator::Equals, "R"));
    assert_eq!(keys(&dog, query.clone()).await, ["1"]);
    fixture.verify("data").await;

    let fixture = fixture.reopen();
    fixture.verify("data").await;
    let dog = resource::Catalog::table(&*fixture.store, "data", "Dog").unwrap();
    let error = write(&dog, "1", WriteKind::Delete, "").await.unwrap_err();
    assert_eq!(error.status(), 503, "its index entry could not be removed");
    let store = &fixture.store;
    store
        .compute("data", "Dog", "initial", Arc::new(initial))
        .await
        .unwrap();
    write(&dog, "1", WriteKind::Delete, "").await.unwrap();
    assert_eq!(keys(&dog, query).await, Vec::<String>::new());
    fixture.verify("data").await;
    let wrong = store
        .compute("data", "Dog", "name", Arc::new(initial))
        .await
        .unwrap_err();
    assert_eq!(wrong.status(), 400);
}

#[tokio::test]
async fn c16_a_computed_attribute_is_hidden_from_who_may_not_read_it() {
    let fixture = Fixture::new();
    let item = items(&fixture).await;
    let flags = resource::access::AttributeFlags {
        read: true,
        ..Default::default()
    };
    let context = |names: &[&str]| {
        let mut attributes = resource::AttributeAccess::default();
        for name in names {
            attributes.attributes.insert((*name).to_owned(), flags);
        }
        let access = TableAccess {
            read: true,
            attributes: Some(Arc::new(attributes)),
            ..TableAccess::default()
        };
        user(Permissions {
            tables: [("data".to_owned(), [("Item".to_owned(), access)].into())].into(),
            ..Permissions::default()
        })
    };
    let found = search_as(&item, selecting(&["total"]), &context(&["total"]))
        .await
        .unwrap();
    assert_eq!(found[0].body.attribute("total"), Some(Value::Float(3.0)));
    let found = search_as(&item, selecting(&["total"]), &context(&["qty"]))
        .await
        .unwrap();
    assert_eq!(found[0].body.attribute("total"), None);
}

#[tokio::test]
async fn s2_2_expires_at_holds_the_time_of_removal() {
    let fixture = Fixture::new();
    let schema = "type T @table { id: Int @primaryKey, until: Long @expiresAt }";
    let table = fixture.table(schema).await;
    let later = base::Timestamp::now().as_millis().round() + 3_600_000.0;
    for (key, until) in [(1, "1"), (2, &format!("{later}")), (3, "null")] {
        let body = json(&format!(r#"{{"until":{until}}}"#));
        let write = Write::new(Some(Key::Int(key)), WriteKind::Put, Some(body));
        table.write(vec![write], &internal()).await.unwrap();
    }
    assert_eq!(keys(&table, Query::default()).await, ["2", "3"]);
    let record = get(&table, 2_i64).await.unwrap();
    assert_eq!(
        record.expires_at.map(base::Timestamp::as_millis),
        Some(later)
    );
    let soonest = matching(compare("until", Comparator::GreaterThan, 5_i64));
    assert_eq!(keys(&table, soonest).await, ["2"], "it is indexed");
}

#[test]
fn open_question_6_expressions_follow_javascript_where_types_mix() {
    let stored = |name: &str| {
        Some(match name {
            "n" => Value::Int(3),
            "s" => Value::from(" Big Red Box "),
            "list" => json(r#"["a","b"]"#),
            "place" => json(r#"{"city":"Oslo"}"#),
            "none" => Value::Null,
            _ => return None,
        })
    };
    for (expression, expected) in [
        ("n * 2 + 1", "7"),
        ("1 + 2 * 3 - 4 / 2", "5"),
        ("(1 + 2) * 3 % 4", "1"),
        ("-n + +'4'", "1"),
        ("n / 2", "1.5"),
        ("n + '1'", "\"31\""),
        ("none + 1", "1"),
        ("missing + 1", "null"),
        ("missing", "absent"),
        ("missing ?? n", "3"),
        ("none || 'x'", "\"x\""),
        ("0 ?? 5", "0"),
        ("n && s.length", "13"),
        ("n > 2 && n <= 3", "true"),
        ("'a' < 'b'", "true"),
        ("'10' < 9", "false"),
        ("n == '3'", "true"),
        ("n === '3'", "false"),
        ("none == missing", "true"),
        ("none === missing", "false"),
        ("!n", "false"),
        ("n != 3 ? 'x' : n > 2 ? 'y' : 'z'", "\"y\""),
        ("s.trim().toUpperCase()", "\"BIG RED BOX\""),
        (
            "s.trim().toLowerCase().split(' ')",
            r#"["big","red","box"]"#,
        ),
        ("s.includes('Red')", "true"),
        ("list.includes('b')", "true"),
        ("list.length", "2"),
        ("list[1]", "\"b\""),
        ("[n, 'x', missing]", r#"[3,"x",null]"#),
        ("place.city", "\"Oslo\""),
        ("place['city'].length", "4"),
        ("n.trim()", "absent"),
        (r#"'it\'s' + "\n""#, "\"it's\\n\""),
    ] {
        let parsed = store::Expression::parse(expression).unwrap();
        let value = parsed.evaluate(&stored);
        let shown = value.map_or("absent".to_owned(), |value| {
            String::from_utf8(resource::json::to_vec(&value)).unwrap()
        });
        assert_eq!(shown, expected, "{expression}");
    }
    for (expression, reason) in [
        ("", "it ends too early at position 0 of the expression"),
        ("a b", "unexpected 'b' at position 2 of the expression"),
        ("a.foo()", "the method foo is unknown"),
        ("foo(1)", "the function foo is unknown"),
        ("s.split(/ /)", "regular expressions are not supported"),
        ("a = 1", "unexpected '='"),
        ("'a", "a text without end"),
        ("s.trim(1)", "trim takes 0 arguments"),
    ] {
        let error = store::Expression::parse(expression)
            .unwrap_err()
            .to_string();
        assert!(error.contains(reason), "{expression}: {error}");
    }
    assert!(store::Expression::parse(&"(".repeat(4000)).is_err());
    assert!(store::Expression::parse(&"!".repeat(4000)).is_err());
    assert!(store::Expression::parse(&"a+".repeat(3000)).is_err());
}
