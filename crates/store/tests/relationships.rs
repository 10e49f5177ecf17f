//! Relationships: conditions, selections and sorts that follow them, in both directions and many to many.

mod support;

use std::sync::Arc;

use resource::{
    Comparator, Comparison, Condition, Conversion, Error, Key, Permissions, Query, Record,
    Resource, Select, SelectItem, SortKey, TableAccess, Target, Value, WriteKind,
};
use support::{
    Fixture, all, any, compare, internal, keys, matching, search, search_as, user, write_as,
};

const LIBRARY: &str = r#"
    type Book @table {
        id: Long @primaryKey
        title: String @indexed
        price: Float @indexed
        authorId: Long @indexed
        author: Author @relationship(from: "authorId")
        tagIds: [ID] @indexed
        tags: [Tag] @relationship(from: tagIds)
        isbn: String
        edition: Edition @relationship(from: isbn, to: isbn)
    }
    type Author @table {
        id: Long @primaryKey
        name: String @indexed
        age: Int
        mentorId: Long @indexed
        mentor: Author @relationship(from: mentorId)
        books: [Book] @relationship(to: authorId)
    }
    type Tag @table {
        id: ID @primaryKey
        rank: Int @indexed
        books: [Book] @relationship(to: tagIds)
    }
    type Edition @table { id: Long @primaryKey, isbn: String @indexed, year: Int }
"#;

struct Library {
    fixture: Fixture,
    book: Arc<dyn Resource>,
    author: Arc<dyn Resource>,
    tag: Arc<dyn Resource>,
}

async fn put_all(table: &Arc<dyn Resource>, records: &[&str]) {
    for record in records {
        let value = support::json(record);
        let key = Key::from_value(value.as_map().unwrap().get("id").unwrap()).unwrap();
        write_as(table, Some(key), WriteKind::Put, record, &internal())
            .await
            .unwrap();
    }
}

async fn library() -> Library {
    library_with(Fixture::new()).await
}

async fn library_with(fixture: Fixture) -> Library {
    let tables = fixture.ensure(LIBRARY).await;
    let [book, author, tag, edition] = <[_; 4]>::try_from(tables).ok().unwrap();
    put_all(
        &author,
        &[
            r#"{"id":1,"name":"Asimov","age":72}"#,
            r#"{"id":2,"name":"Lem","age":84,"mentorId":1}"#,
            r#"{"id":3,"name":"Unread","age":30,"mentorId":2}"#,
        ],
    )
    .await;
    put_all(
        &tag,
        &[
            r#"{"id":"war","rank":3}"#,
            r#"{"id":"sea","rank":1}"#,
            r#"{"id":"ice","rank":2}"#,
        ],
    )
    .await;
    put_all(
        &book,
        &[
            r#"{"id":10,"title":"Foundation","price":9.5,"authorId":1,"tagIds":["war","sea"],"isbn":"a"}"#,
            r#"{"id":11,"title":"Robots","price":12,"authorId":1,"tagIds":["ice"]}"#,
            r#"{"id":12,"title":"Solaris","price":8,"authorId":2,"tagIds":["sea","ice","gone"]}"#,
            r#"{"id":13,"title":"Orphan","price":1}"#,
            r#"{"id":14,"title":"Lost","price":2,"authorId":99,"tagIds":[]}"#,
        ],
    )
    .await;
    put_all(&edition, &[r#"{"id":1,"isbn":"a","year":1951}"#]).await;
    Library {
        fixture,
        book,
        author,
        tag,
    }
}

fn along(path: &str, comparator: Comparator, value: impl Into<Value>) -> Condition {
    Condition::Compare(Comparison {
        attribute: path.split('.').map(str::to_owned).collect(),
        comparator,
        value: value.into(),
        conversion: Conversion::Typed,
    })
}

fn sorted(path: &str, descending: bool) -> SortKey {
    SortKey {
        attribute: path.split('.').map(str::to_owned).collect(),
        descending,
    }
}

fn names(items: &[&str]) -> Vec<SelectItem> {
    items.iter().map(|name| SelectItem::named(*name)).collect()
}

fn nested(name: &str, query: Query) -> SelectItem {
    SelectItem {
        name: name.to_owned(),
        nested: Some(Box::new(query)),
    }
}

fn object(items: Vec<SelectItem>) -> Query {
    Query {
        select: Some(Select::Object(items)),
        ..Query::default()
    }
}

/// One attribute of every result, as JSON.
async fn joined(table: &Arc<dyn Resource>, query: Query, name: &str) -> Vec<String> {
    let records = search(table, query).await.unwrap();
    let text = |record: &Record| {
        let json = record.body.attribute_json(name);
        json.map_or("absent".to_owned(), |json| {
            String::from_utf8(json.to_vec()).unwrap()
        })
    };
    records.iter().map(text).collect()
}

#[tokio::test]
async fn s9_conditions_follow_a_foreign_key_in_both_directions() {
    use Comparator as C;
    let library = library().await;
    for (condition, expected) in [
        (along("author.name", C::Equals, "Asimov"), vec!["10", "11"]),
        (along("author.age", C::GreaterThan, 80_i64), vec!["12"]),
        (along("author.name", C::StartsWith, "Un"), vec![]),
        (along("author.mentor.name", C::Equals, "Asimov"), vec!["12"]),
        (along("tags.rank", C::Equals, 1_i64), vec!["10", "12"]),
        (
            along("tags.rank", C::GreaterThan, 1_i64),
            vec!["10", "11", "12"],
        ),
        (along("edition.year", C::Equals, 1951_i64), vec!["10"]),
        (
            all(vec![
                along("author.name", C::Equals, "Asimov"),
                compare("price", C::LessThan, 10_i64),
            ]),
            vec!["10"],
        ),
        (
            any(vec![
                along("author.name", C::Equals, "Lem"),
                along("tags.rank", C::Equals, 2_i64),
                compare("title", C::Equals, "Lost"),
            ]),
            vec!["11", "12", "14"],
        ),
    ] {
        let mut found = keys(&library.book, matching(condition.clone())).await;
        found.sort();
        assert_eq!(found, expected, "{condition:?}");
    }
    let by_book = along("books.price", C::LessThan, 9_i64);
    assert_eq!(keys(&library.author, matching(by_book)).await, ["2"]);
    let by_tag = along("books.tags.rank", C::Equals, 3_i64);
    assert_eq!(keys(&library.author, matching(by_tag)).await, ["1"]);
    let by_author = along("books.author.name", C::Equals, "Lem");
    let mut tags = keys(&library.tag, matching(by_author)).await;
    tags.sort();
    assert_eq!(tags, ["ice", "sea"]);
}

#[tokio::test]
async fn s9_a_relationship_appears_only_when_selected_and_in_the_shape_asked_for() {
    let library = library().await;
    let whole = search(&library.book, Query::default()).await.unwrap();
    assert!(
        whole
            .iter()
            .all(|record| record.body.attribute("author").is_none())
    );
    for (item, expected) in [
        (
            nested("author", object(names(&["name"]))),
            [
                r#"{"name":"Asimov"}"#,
                r#"{"name":"Asimov"}"#,
                r#"{"name":"Lem"}"#,
                "null",
                "null",
            ],
        ),
        (
            nested(
                "author",
                Query {
                    select: Some(Select::One(SelectItem::named("name"))),
                    ..Query::default()
                },
            ),
            [r#""Asimov""#, r#""Asimov""#, r#""Lem""#, "null", "null"],
        ),
        (
            nested(
                "author",
                Query {
                    select: Some(Select::Array(names(&["$id", "mentorId"]))),
                    ..Query::default()
                },
            ),
            ["[1,null]", "[1,null]", "[2,1]", "null", "null"],
        ),
        (
            SelectItem::named("author"),
            [
                r#"{"id":1,"name":"Asimov","age":72}"#,
                r#"{"id":1,"name":"Asimov","age":72}"#,
                r#"{"id":2,"name":"Lem","age":84,"mentorId":1}"#,
                "null",
                "null",
            ],
        ),
        (
            nested(
                "author",
                object(vec![nested("mentor", object(names(&["name"])))]),
            ),
            [
                r#"{"mentor":null}"#,
                r#"{"mentor":null}"#,
                r#"{"mentor":{"name":"Asimov"}}"#,
                "null",
                "null",
            ],
        ),
    ] {
        let shown = format!("{item:?}");
        let found = joined(&library.book, object(vec![item]), "author").await;
        assert_eq!(found, expected, "{shown}");
    }
}

#[tokio::test]
async fn s9_lists_keep_the_order_of_their_keys_and_leave_out_what_is_missing() {
    let library = library().await;
    let ids = |query| joined(&library.book, object(vec![nested("tags", query)]), "tags");
    let one = Query {
        select: Some(Select::One(SelectItem::named("id"))),
        ..Query::default()
    };
    assert_eq!(
        ids(one.clone()).await,
        [
            r#"["war","sea"]"#,
            r#"["ice"]"#,
            r#"["sea","ice"]"#,
            "[]",
            "[]"
        ]
    );
    let by_rank = Query {
        sort: vec![sorted("rank", true)],
        limit: Some(1),
        ..one
    };
    assert_eq!(
        ids(by_rank).await,
        [r#"["war"]"#, r#"["ice"]"#, r#"["ice"]"#, "[]", "[]"]
    );
    let books = Query {
        condition: Some(compare("price", Comparator::GreaterThan, 9_i64)),
        select: Some(Select::One(SelectItem::named("title"))),
        ..Query::default()
    };
    assert_eq!(
        joined(
            &library.author,
            object(vec![nested("books", books)]),
            "books"
        )
        .await,
        [r#"["Foundation","Robots"]"#, "[]", "[]"]
    );
}

#[tokio::test]
async fn s9_a_collection_that_is_filtered_and_selected_shows_what_matched() {
    let library = library().await;
    let query = Query {
        condition: Some(along("books.price", Comparator::GreaterThan, 10_i64)),
        ..object(vec![nested("books", object(names(&["title"])))])
    };
    assert_eq!(
        joined(&library.author, query, "books").await,
        [r#"[{"title":"Robots"}]"#]
    );
}

#[tokio::test]
async fn s9_a_record_by_key_is_joined_too() {
    let library = library().await;
    let target = Target {
        query: object(vec![nested("books", object(names(&["id"])))]),
        ..Target::record(1_i64)
    };
    let record = library
        .author
        .get(&target, &internal())
        .await
        .unwrap()
        .unwrap();
    let books = record.body.attribute_json("books").unwrap();
    assert_eq!(&books[..], br#"[{"id":10},{"id":11}]"#);
    assert!(record.version.as_millis() > 0.0);
    let absent = Target {
        key: Some(Key::Int(77)),
        ..target
    };
    assert!(
        library
            .author
            .get(&absent, &internal())
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn results_are_sorted_by_related_attributes() {
    let library = library().await;
    let order = async |path, descending| {
        let query = Query {
            sort: vec![sorted(path, descending), sorted("id", false)],
            ..Query::default()
        };
        keys(&library.book, query).await
    };
    assert_eq!(
        order("author.name", false).await,
        ["13", "14", "10", "11", "12"]
    );
    assert_eq!(
        order("author.name", true).await,
        ["12", "10", "11", "13", "14"]
    );
    assert_eq!(
        order("tags.rank", false).await,
        ["13", "14", "10", "12", "11"]
    );
    assert_eq!(
        order("author.mentor.age", true).await,
        ["12", "10", "11", "13", "14"]
    );
}

async fn refused(table: &Arc<dyn Resource>, query: Query) -> Error {
    search(table, query).await.unwrap_err()
}

#[tokio::test]
async fn s9_what_a_relationship_can_not_do_is_refused() {
    let library = library().await;
    let direct = refused(
        &library.book,
        matching(compare("author", Comparator::Equals, 1_i64)),
    )
    .await;
    assert_eq!(
        (direct.status(), direct.message()),
        (
            400,
            "Can not directly query a relational attribute, must query an attribute within the target table"
        )
    );
    let unknown = along("author.shoe", Comparator::Equals, 1_i64);
    assert_eq!(
        refused(&library.book, matching(unknown)).await.status(),
        404
    );
    let no_relation = along("title.x", Comparator::Equals, 1_i64);
    let error = refused(&library.book, matching(no_relation)).await;
    assert_eq!(
        error.message(),
        "title is not a relationship, can not search for title.x"
    );
    let body = r#"{"id":1,"author":{"id":1}}"#;
    let error = write_as(&library.book, None, WriteKind::Put, body, &internal())
        .await
        .unwrap_err();
    assert_eq!(
        error.message(),
        "Relationship author may not be directly assigned a value"
    );
}

#[tokio::test]
async fn c16_a_related_table_shows_what_its_reader_may_see() {
    let library = library().await;
    let mut permissions = Permissions::default();
    let read = TableAccess {
        read: true,
        ..TableAccess::default()
    };
    let mut tables = std::collections::HashMap::from([("Book".to_owned(), read.clone())]);
    permissions.tables.insert("data".to_owned(), tables.clone());
    let selected = object(vec![nested("author", object(names(&["name"])))]);
    let filtered = matching(along("author.name", Comparator::Equals, "Lem"));
    let only_books = user(permissions.clone());
    for query in [selected.clone(), filtered.clone()] {
        let error = search_as(&library.book, query, &only_books)
            .await
            .unwrap_err();
        assert_eq!(error.status(), 403);
    }
    let flags = resource::access::AttributeFlags {
        read: true,
        ..Default::default()
    };
    let mut attributes = resource::AttributeAccess::default();
    attributes.attributes.insert("age".to_owned(), flags);
    let restricted = TableAccess {
        attributes: Some(Arc::new(attributes)),
        ..read
    };
    tables.insert("Author".to_owned(), restricted);
    permissions.tables.insert("data".to_owned(), tables);
    let ages_only = user(permissions);
    let found = search_as(&library.book, selected, &ages_only)
        .await
        .unwrap();
    assert_eq!(
        &found[0].body.attribute_json("author").unwrap()[..],
        b"{}",
        "the name is left out"
    );
    let error = search_as(&library.book, filtered, &ages_only)
        .await
        .unwrap_err();
    assert_eq!(error.status(), 403);
}

#[tokio::test]
async fn related_records_are_read_once_for_many_results() {
    let fixture = Fixture::new();
    let library = library_with(fixture).await;
    let many: Vec<String> = (100..300)
        .map(|id| format!(r#"{{"id":{id},"title":"t","authorId":{}}}"#, id % 2 + 1))
        .collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    put_all(&library.book, &many).await;
    let counts = || library.fixture.store.query_counts("data").unwrap();
    let before = counts();
    let query = Query {
        condition: Some(compare("title", Comparator::Equals, "t")),
        ..object(vec![nested("author", object(names(&["name"])))])
    };
    let found = search(&library.book, query).await.unwrap();
    assert_eq!(found.len(), 200);
    let read = counts().records - before.records;
    assert!((202..=220).contains(&read), "two authors, not 200: {read}");

    let before = counts();
    let query = matching(along("author.name", Comparator::Equals, "Lem"));
    assert_eq!(keys(&library.book, query).await.len(), 101);
    let read = counts().records - before.records;
    assert_eq!(read, 102, "one author and its books");
}

#[tokio::test]
async fn a_condition_on_related_records_is_checked_for_the_few_that_others_leave() {
    let library = library_with(Fixture::with(|config| config.max_join_rows = 2)).await;
    let counts = || library.fixture.store.query_counts("data").unwrap();
    let before = counts();
    // Alone it leads to more records than may be held.
    let others = along("tags.rank", Comparator::GreaterThan, 0_i64);
    let query = matching(all(vec![
        others,
        compare("title", Comparator::Equals, "Robots"),
        along("author.name", Comparator::NotEqual, "Lem"),
    ]));
    assert_eq!(keys(&library.book, query.clone()).await, ["11"]);
    let read = counts().records - before.records;
    assert_eq!(read, 3, "the book, its tag and its author");
    let explained = library
        .book
        .explain(&Target::query(query), &internal())
        .await
        .unwrap();
    let conditions = explained.as_map().unwrap().get("conditions").unwrap();
    let first =
        String::from_utf8(resource::json::to_vec(&conditions.as_array().unwrap()[0])).unwrap();
    assert!(first.starts_with(r#"{"attribute":"title""#), "{first}");
}

#[tokio::test]
async fn a_relationship_to_more_records_than_may_be_held_is_refused() {
    let library = library_with(Fixture::with(|config| config.max_join_rows = 2)).await;
    let query = matching(along("tags.rank", Comparator::GreaterThan, 0_i64));
    let error = refused(&library.book, query).await;
    assert_eq!(error.status(), 400);
    assert_eq!(
        error.message(),
        "The relationship tags leads to more than 2 records at once, add conditions that select fewer"
    );
}

#[tokio::test]
async fn matches_of_a_related_condition_are_deleted() {
    let library = library().await;
    let target = Target::query(matching(along("author.name", Comparator::Equals, "Asimov")));
    assert_eq!(
        library
            .book
            .delete_matching(&target, &internal())
            .await
            .unwrap(),
        2
    );
    assert_eq!(
        keys(&library.book, Query::default()).await,
        ["12", "13", "14"]
    );
    library.fixture.verify("data").await;
}

#[tokio::test]
async fn relationships_survive_a_restart() {
    let library = library().await;
    let fixture = library.fixture.reopen();
    let book = resource::Catalog::table(&*fixture.store, "data", "Book").unwrap();
    let query = matching(along("author.name", Comparator::Equals, "Lem"));
    assert_eq!(keys(&book, query).await, ["12"]);
}

#[tokio::test]
async fn s2_2_enumerable_attributes_are_part_of_results_that_select_nothing() {
    let fixture = Fixture::new();
    let tables = fixture
        .ensure(
            r#"type Owner @table { id: ID @primaryKey, name: String, dogs: [Dog] @relationship(to: ownerId) @enumerable }
               type Dog @table {
                 id: ID @primaryKey
                 ownerId: ID @indexed
                 age: Int
                 owner: Owner @relationship(from: ownerId) @enumerable
                 months: Int @computed(from: "age * 12") @enumerable
                 days: Int @computed(from: "age * 365")
               }"#,
        )
        .await;
    let (owner, dog) = (&tables[0], &tables[1]);
    support::put(owner, "o", r#"{"name":"Ann"}"#).await;
    support::put(dog, "d", r#"{"ownerId":"o","age":2}"#).await;
    let whole = r#"{"id":"d","ownerId":"o","age":2,"owner":{"id":"o","name":"Ann"},"months":24}"#;
    assert_same(&support::text(dog, "d").await, whole);
    let found = support::search(dog, Query::default()).await.unwrap();
    let json = String::from_utf8(found[0].body.json().to_vec()).unwrap();
    assert_same(&json, whole);
    // Who may not read one does not get it, and is not refused either.
    let flags = resource::access::AttributeFlags {
        read: true,
        ..Default::default()
    };
    let attributes = ["age", "months"].map(|name| (name.to_owned(), flags));
    let access = resource::TableAccess {
        read: true,
        attributes: Some(std::sync::Arc::new(resource::AttributeAccess {
            attributes: attributes.into_iter().collect(),
        })),
        ..Default::default()
    };
    let tables = std::collections::HashMap::from([("Dog".to_owned(), access)]);
    let context = support::user(resource::Permissions {
        tables: std::collections::HashMap::from([("data".to_owned(), tables)]),
        ..Default::default()
    });
    let target = resource::Target::record("d");
    let record = dog.get(&target, &context).await.unwrap().unwrap();
    let json = String::from_utf8(record.body.json().to_vec()).unwrap();
    assert_same(&json, r#"{"id":"d","age":2,"months":24}"#);
}

/// The same members in any order.
fn assert_same(found: &str, expected: &str) {
    let members = |text: &str| {
        let map = support::map(text);
        let members = map.iter().map(|(name, value)| format!("{name}: {value:?}"));
        let mut members: Vec<String> = members.collect();
        members.sort();
        members
    };
    assert_eq!(members(found), members(expected), "{found}");
}
