//! POST, PUT, PATCH, DELETE and their conditions: `rest.md` §3.2-3.5, §6.

mod support;

use std::collections::HashMap;
use std::sync::Arc;

use resource::{AttributeAccess, Caller, Map, Permissions, TableAccess, User, Value};
use rest::{EntityTag, RestConfig};

use crate::support::{Call, Service};

const ALREADY: &str = "Record already exists";

#[tokio::test]
async fn c2_p3_post_creates_and_its_location_can_be_read() {
    let service = Service::new();
    let created = service
        .send(Call::new("POST", "/Dog/").json(r#"{"name":"Rex"}"#))
        .await;
    created.is(201, r#""generated-1""#);
    assert_eq!(created.header("location"), "/Dog/generated-1");
    let read = service.get(created.header("location")).await;
    read.is(200, r#"{"id":"generated-1","name":"Rex"}"#);
    assert_eq!(read.header("etag"), created.header("etag"));
    let again = service
        .send(Call::new("GET", "/Dog/generated-1").header("if-none-match", read.header("etag")))
        .await;
    again.is(304, "");
    assert_eq!(again.header("etag"), read.header("etag"));
    assert_eq!(again.headers.get_all("vary").iter().count(), 2);
    service
        .send(Call::new("POST", "/Dog").json("{}"))
        .await
        .is(201, r#""generated-2""#);
    service
        .send(Call::new("POST", "/Book/").json("{}"))
        .await
        .is(201, "1");
}

#[tokio::test]
async fn c20_p4_an_existing_key_is_409_and_nothing_changes() {
    let service = Service::new();
    let post = |json: &'static str| service.send(Call::new("POST", "/Dog/").json(json));
    post(r#"{"id":"1","name":"Rex"}"#).await.is(201, r#""1""#);
    post(r#"{"id":"1","name":"Ada"}"#).await.fails(409, ALREADY);
    post(r#"[{"id":"2"},{"id":"1"}]"#).await.fails(409, ALREADY);
    service.shows("/Dog/", r#"[{"id":"1","name":"Rex"}]"#).await;
}

#[tokio::test]
async fn p5_a_sub_collection_generates_keys_below_itself() {
    let service = Service::new();
    let created = service.send(Call::new("POST", "/Dog/a/").json("{}")).await;
    assert_eq!(created.status, 201);
    let key = created.text().trim_matches('"').to_owned();
    let uuid = key.strip_prefix("a/").expect("below the prefix");
    assert!(uuid::Uuid::parse_str(uuid).is_ok(), "{key}");
    assert_eq!(created.header("location"), format!("/Dog/{key}"));
    service
        .shows("/Dog/a/", &format!(r#"[{{"id":"{key}"}}]"#))
        .await;
}

#[tokio::test]
async fn p6_bodies_of_post() {
    let service = Service::new();
    let many = service
        .send(Call::new("POST", "/Book/").json(r#"[{"title":"a"},{"title":"b"}]"#))
        .await;
    many.is(201, "[1,2]");
    assert_eq!(many.header("location"), "");
    for (json, detail) in [
        ("5", "A record has to be an object, found integer"),
        ("[1]", "A record has to be an object, found integer"),
        ("[]", "The array holds nothing to create"),
        ("", "A body is required"),
        (
            "{",
            "JSON: expected a member name in quotes at line 1 column 2",
        ),
    ] {
        service
            .send(Call::new("POST", "/Book/").json(json))
            .await
            .fails(400, detail);
    }
    assert_eq!(service.dogs.len(), 0);
}

#[tokio::test]
async fn c3_u1_t1_put_replaces_and_patch_merges() {
    let service = Service::new();
    let put = service
        .put("/Dog/1", r#"{"name":"Rex","breed":"Boxer"}"#)
        .await;
    put.is(204, "");
    assert_eq!(put.header("etag"), r#""AACAVv68eEI""#, "E2, E5");
    let patch = |json: &'static str| service.send(Call::new("PATCH", "/Dog/1").json(json));
    patch(r#"{"age":3,"n":{"a":1}}"#).await.is(204, "");
    patch(r#"{"n":{"b":2},"x.y":null}"#).await.is(204, "");
    service
        .shows(
            "/Dog/1",
            r#"{"id":"1","name":"Rex","breed":"Boxer","age":3,"n":{"b":2},"x.y":null}"#,
        )
        .await;
    service.put("/Dog/1", r#"{"name":"Rex"}"#).await.is(204, "");
    service.shows("/Dog/1", r#"{"id":"1","name":"Rex"}"#).await;
    service
        .send(Call::new("PATCH", "/Dog/2").json(r#"{"age":1}"#))
        .await
        .is(204, "");
    service.shows("/Dog/2", r#"{"id":"2","age":1}"#).await;
}

#[tokio::test]
async fn u1_put_of_a_new_record_is_201_where_that_is_configured() {
    let service = Service::with(RestConfig {
        put_created: true,
        ..RestConfig::default()
    });
    service.put("/Dog/1", "{}").await.is(201, "");
    service.put("/Dog/1", "{}").await.is(204, "");
    service
        .send(Call::new("PATCH", "/Dog/2").json("{}"))
        .await
        .is(204, "");
}

#[tokio::test]
async fn u2_the_key_in_the_body_is_that_of_the_url() {
    let service = Service::new();
    let detail = r#"The primary key id is "2" in the body and "1" in the URL"#;
    service
        .put("/Dog/1", r#"{"id":"2"}"#)
        .await
        .fails(400, detail);
    service
        .send(Call::new("PATCH", "/Dog/1").json(r#"{"id":"2"}"#))
        .await
        .fails(400, detail);
    service.put("/Book/1", r#"{"id":"1"}"#).await.fails(
        400,
        r#"The primary key id is "1" in the body and 1 in the URL"#,
    );
    service.put("/Book/1", r#"{"id":1.0}"#).await.is(204, "");
    service.put("/Dog/1", r#"{"id":"1"}"#).await.is(204, "");
    service.put("/Dog/2", r#"{"id":null}"#).await.is(204, "");
}

#[tokio::test]
async fn u3_put_of_an_array_writes_all_or_nothing() {
    let service = Service::new();
    service
        .put("/Dog/", r#"[{"id":"1","name":"Rex"},{"id":"a/2"}]"#)
        .await
        .is(204, "");
    assert_eq!(service.dogs.len(), 2);
    for (url, json, detail) in [
        (
            "/Dog/",
            r#"[{"id":"3"},{"name":"x"}]"#,
            "Element 1 has no primary key 'id'",
        ),
        (
            "/Dog/",
            r#"[{"id":"3"},{"id":"4","name":7}]"#,
            "Value 7 in property name must be a string",
        ),
        (
            "/Dog/",
            "{}",
            "PUT on a collection takes an array of records",
        ),
        (
            "/Dog/",
            "[1]",
            "A record has to be an object, found integer",
        ),
        (
            "/Dog/a/",
            r#"[{"id":"b/1"}]"#,
            "Element 0: the key b/1 does not start with a/",
        ),
    ] {
        service.put(url, json).await.fails(400, detail);
    }
    assert_eq!(service.dogs.len(), 2);
    let csv = Call::new("PUT", "/Book/").body("text/csv", "id,title,price\n1,007,9.5\n2,,\n");
    service.send(csv).await.is(204, "");
    service
        .shows(
            "/Book/",
            r#"[{"id":1,"title":"007","price":9.5},{"id":2,"title":"","price":null}]"#,
        )
        .await;
}

#[tokio::test]
async fn validation_lists_every_violation() {
    let service = Service::new();
    let reply = service.put("/Dog/1", r#"{"name":7,"age":"x"}"#).await;
    reply.is(
        400,
        concat!(
            r#"{"type":"https://httpstatuses.com/400","title":"Bad Request","status":400,"#,
            r#""detail":"Value 7 in property name must be a string. Value \"x\" in property age must be an integer","#,
            r#""instance":"/Dog/1","errors":["Value 7 in property name must be a string","#,
            r#""Value \"x\" in property age must be an integer"]}"#
        ),
    );
    assert_eq!(reply.header("content-type"), "application/problem+json");
}

#[tokio::test]
async fn c6_t3_a_hundred_increments_add_up() {
    let service = Service::new();
    let increment = r#"{"n":{"__op__":"add","value":1}}"#;
    let patches = (0..100).map(|_| service.send(Call::new("PATCH", "/Dog/1").json(increment)));
    for reply in futures_util::future::join_all(patches).await {
        reply.is(204, "");
    }
    service.shows("/Dog/1.n", "100").await;
    let unknown = Call::new("PATCH", "/Dog/1").json(r#"{"n":{"__op__":"mul","value":1}}"#);
    service.send(unknown).await.fails(400, "unknown __op__");
}

#[tokio::test]
async fn d1_delete_answers_whether_there_was_a_record() {
    let service = Service::new();
    service.put("/Dog/1", "{}").await.is(204, "");
    service
        .send(Call::new("DELETE", "/Dog/1"))
        .await
        .is(200, "true");
    service
        .send(Call::new("DELETE", "/Dog/1"))
        .await
        .is(200, "false");
    let strict = Service::with(RestConfig {
        strict_delete: true,
        ..RestConfig::default()
    });
    strict.send(Call::new("DELETE", "/Dog/1")).await.is(404, "");
}

#[tokio::test]
async fn c15_d2_d4_delete_by_query_and_never_everything_by_accident() {
    let service = Service::new();
    let fill = || async {
        let dogs = r#"[{"id":"1","breed":"x"},{"id":"2","breed":"y"},{"id":"a/3","breed":"x"},{"id":"a/4"}]"#;
        service.put("/Dog/", dogs).await.is(204, "");
    };
    let delete = |url: &'static str| service.send(Call::new("DELETE", url));
    fill().await;
    delete("/Dog/?breed=x").await.is(200, "true");
    service.shows("/Dog/?select(id)", r#"["2","a/4"]"#).await;
    for url in ["/Dog/", "/Dog", "/Dog/?limit(5)", "/Dog/?select(id)"] {
        delete(url).await.fails(
            400,
            "Deleting a whole collection requires an explicit condition",
        );
    }
    assert_eq!(service.dogs.len(), 2);
    fill().await;
    delete("/Dog/a/").await.is(200, "true");
    service.shows("/Dog/?select(id)", r#"["1","2"]"#).await;
    fill().await;
    delete("/Dog/a/?*").await.is(200, "true");
    assert_eq!(service.dogs.len(), 2, "the prefix still counts");
    delete("/Dog/?*").await.is(200, "true");
    assert_eq!(service.dogs.len(), 0);
    fill().await;
    let confirmed = Call::new("DELETE", "/Dog/").header("x-confirm-delete-all", "true");
    service.send(confirmed).await.is(200, "true");
    assert_eq!(service.dogs.len(), 0);
    delete("/Dog/?nope=1")
        .await
        .fails(404, "nope is not a defined attribute");
}

#[tokio::test]
async fn a_condition_on_a_write_of_one_record_is_refused_and_not_ignored() {
    let service = Service::new();
    service.put("/Dog/1", r#"{"breed":"x"}"#).await.is(204, "");
    let reply = service.send(Call::new("DELETE", "/Dog/1?breed=y")).await;
    reply.fails(
        400,
        "Conditions do not apply to a write of a single record; use If-Match",
    );
    assert_eq!(service.dogs.len(), 1);
}

#[tokio::test]
async fn c4_of_two_writers_with_the_same_if_match_one_succeeds() {
    let service = Service::new();
    let tag = service
        .put("/Dog/1", r#"{"age":1}"#)
        .await
        .header("etag")
        .to_owned();
    let put = |json: &'static str| {
        let call = Call::new("PUT", "/Dog/1")
            .json(json)
            .header("if-match", &tag);
        service.send(call)
    };
    let first = put(r#"{"age":2}"#).await;
    first.is(204, "");
    assert_ne!(first.header("etag"), tag);
    put(r#"{"age":3}"#).await.fails(412, "Precondition failed");
    service.shows("/Dog/1.age", "2").await;
}

#[tokio::test]
async fn c5_preconditions_of_writes() {
    let service = Service::new();
    let tag = service.put("/Dog/1", "{}").await.header("etag").to_owned();
    let foreign = r#""AQAAAAAAAAA""#;
    for (method, url, name, value, status) in [
        ("PUT", "/Dog/1", "if-none-match", "*", 412),
        ("PUT", "/Dog/2", "if-none-match", "*", 204),
        ("PUT", "/Dog/1", "if-match", "*", 204),
        ("PUT", "/Dog/3", "if-match", "*", 412),
        ("PUT", "/Dog/1", "if-match", &tag, 412),
        ("PATCH", "/Dog/3", "if-match", foreign, 412),
        ("PATCH", "/Dog/1", "if-match", "\"unknown\"", 412),
        ("DELETE", "/Dog/1", "if-match", foreign, 412),
        (
            "PUT",
            "/Dog/1",
            "if-unmodified-since",
            "Tue, 14 Nov 2023 22:13:19 GMT",
            412,
        ),
        (
            "PUT",
            "/Dog/1",
            "if-unmodified-since",
            "Tue, 14 Nov 2023 22:13:20 GMT",
            204,
        ),
        ("PUT", "/Dog/1", "if-unmodified-since", "not a date", 204),
        ("DELETE", "/Dog/1", "if-none-match", foreign, 200),
        ("POST", "/Dog/", "if-match", foreign, 412),
        ("PUT", "/Dog/", "if-none-match", "*", 412),
        ("DELETE", "/Dog/?*", "if-match", foreign, 412),
    ] {
        let call = Call::new(method, url).json("{}").header(name, value);
        let reply = service.send(call).await;
        assert_eq!(
            reply.status, status,
            "{method} {url} {name}: {value}: {:?}",
            reply.body
        );
    }
}

#[tokio::test]
async fn e3_tags_are_on_records_and_properties_alone() {
    let service = Service::new();
    let written = service.put("/Dog/1", r#"{"name":"Rex"}"#).await;
    let tag = written.header("etag");
    assert!(EntityTag::parse(tag).is_some());
    for url in [
        "/Dog/1",
        "/Dog/1.name",
        "/Dog/1.cbor",
        "/Dog/1?select(name)",
    ] {
        assert_eq!(service.get(url).await.header("etag"), tag, "{url}");
        let conditional = Call::new("GET", url).header("if-none-match", tag);
        assert_eq!(service.send(conditional).await.status, 304, "{url}");
        let failing = Call::new("GET", url).header("if-match", "\"x\"");
        assert_eq!(service.send(failing).await.status, 412, "{url}");
    }
    for url in ["/Dog/", "/Dog", "/Dog/?name=Rex"] {
        assert_eq!(service.get(url).await.header("etag"), "", "{url}");
    }
}

#[tokio::test]
async fn last_modified_is_sent_where_that_is_configured() {
    let service = Service::with(RestConfig {
        last_modified: true,
        ..RestConfig::default()
    });
    service.put("/Dog/1", "{}").await.is(204, "");
    let date = "Tue, 14 Nov 2023 22:13:20 GMT";
    assert_eq!(service.get("/Dog/1").await.header("last-modified"), date);
    let unchanged = Call::new("GET", "/Dog/1").header("if-modified-since", date);
    assert_eq!(service.send(unchanged).await.status, 304);
}

fn role(access: TableAccess) -> Caller {
    let mut permissions = Permissions::default();
    let tables = HashMap::from([("Dog".to_owned(), access)]);
    permissions.tables.insert("data".to_owned(), tables);
    Caller::User(Arc::new(User {
        username: "ann".into(),
        role: "reader".into(),
        permissions: Arc::new(permissions),
    }))
}

#[tokio::test]
async fn permissions_come_before_bodies_and_preconditions() {
    let anonymous = Service::new().by(Caller::Anonymous);
    let reader = Service::new().by(role(TableAccess {
        read: true,
        ..TableAccess::default()
    }));
    for (method, url) in [
        ("PUT", "/Dog/1"),
        ("PATCH", "/Dog/1"),
        ("POST", "/Dog/"),
        ("PUT", "/Dog/"),
        ("DELETE", "/Dog/1"),
        ("DELETE", "/Dog/"),
        ("GET", "/Dog"),
        ("GET", "/Dog/"),
        ("GET", "/Dog/1"),
        ("QUERY", "/Dog/"),
    ] {
        let call = || Call::new(method, url).json("{").header("if-match", "\"x\"");
        anonymous.send(call()).await.fails(401, "Must login");
        if !matches!(method, "GET" | "QUERY") {
            reader
                .send(call())
                .await
                .fails(403, "Unauthorized access to resource");
        }
    }
    let replicated = Call::new("PUT", "/Dog/1")
        .json("{}")
        .header("x-replicate-to", "2");
    reader.send(replicated).await.fails(
        403,
        "Can not specify replication parameters without super user permissions",
    );
}

#[tokio::test]
async fn p13_a_query_delete_needs_read_as_well() {
    let service = Service::new().by(role(TableAccess {
        delete: true,
        ..TableAccess::default()
    }));
    service.dogs.fill([Map::from_iter([
        ("id", Value::from("1")),
        ("breed", Value::from("x")),
    ])]);
    service
        .send(Call::new("DELETE", "/Dog/?breed=x"))
        .await
        .fails(403, "Unauthorized access to resource");
    service
        .send(Call::new("DELETE", "/Dog/1"))
        .await
        .is(200, "true");
}

fn transfer<'a>(method: &'a str, url: &'a str, destination: &'a str) -> Call<'a> {
    Call::new(method, url).header("destination", destination)
}

#[tokio::test]
async fn copy_and_move_within_a_resource() {
    let service = Service::new();
    service.put("/Dog/1", r#"{"name":"Rex"}"#).await.is(204, "");
    let reply = service.send(transfer("COPY", "/Dog/1", "/Dog/a%2Eb")).await;
    reply.is(201, "");
    assert_eq!(reply.header("location"), "/Dog/a%2Eb");
    assert!(!reply.header("etag").is_empty());
    service
        .shows("/Dog/a%2Eb", r#"{"id":"a.b","name":"Rex"}"#)
        .await;
    let call = transfer("COPY", "/Dog/1", "/Dog/a%2Eb").header("overwrite", "F");
    assert_eq!(service.send(call).await.status, 412);
    let call = transfer(
        "MOVE",
        "http://dogs.example/Dog/1",
        "http://dogs.example/Dog/2",
    )
    .header("host", "dogs.example");
    service.send(call).await.is(201, "");
    service.get("/Dog/1").await.is(404, "");
    service.shows("/Dog/2.name", "\"Rex\"").await;
    service
        .send(transfer("MOVE", "/Dog/2", "/Dog/a%2Eb"))
        .await
        .is(204, "");
    assert_eq!(service.dogs.len(), 1);
}

#[tokio::test]
async fn copy_and_move_refuse_what_they_can_not_do() {
    let service = Service::new();
    service.put("/Dog/1", r#"{"name":"Rex"}"#).await.is(204, "");
    service
        .send(Call::new("COPY", "/Dog/1"))
        .await
        .fails(400, "COPY needs a Destination");
    for (destination, status) in [
        ("/Dog/1", 403),
        ("/Dog/", 400),
        ("/Dog/2.json", 400),
        ("/Dog/2.name", 400),
        ("/Dog/%", 400),
        ("/Book/2", 501),
        ("/Nothing/2", 501),
        ("http://elsewhere.example/Dog/2", 502),
    ] {
        let reply = service.send(transfer("MOVE", "/Dog/1", destination)).await;
        assert_eq!(reply.status, status, "{destination}");
    }
    service
        .send(transfer("COPY", "/Dog/9", "/Dog/2"))
        .await
        .is(404, "");
    let stale = transfer("MOVE", "/Dog/1", "/Dog/2").header("if-match", "\"x\"");
    assert_eq!(service.send(stale).await.status, 412);
    assert_eq!(service.dogs.len(), 1);
}

#[tokio::test]
async fn p16_copy_needs_read_and_insert_and_move_also_delete() {
    let all = TableAccess::ALL;
    for (access, copies, moves) in [
        (
            TableAccess {
                read: false,
                ..all.clone()
            },
            403,
            403,
        ),
        (
            TableAccess {
                insert: false,
                ..all.clone()
            },
            403,
            403,
        ),
        (
            TableAccess {
                delete: false,
                ..all.clone()
            },
            201,
            403,
        ),
        (all, 201, 201),
    ] {
        let service = Service::new().by(role(access));
        service
            .dogs
            .fill([Map::from_iter([("id", Value::from("1"))])]);
        let reply = service.send(transfer("COPY", "/Dog/1", "/Dog/2")).await;
        assert_eq!(reply.status, copies);
        let reply = service.send(transfer("MOVE", "/Dog/1", "/Dog/3")).await;
        assert_eq!(reply.status, moves);
    }
}

#[tokio::test]
async fn c16_an_attribute_that_may_not_be_read_can_not_be_probed() {
    let flags = resource::access::AttributeFlags {
        read: true,
        ..Default::default()
    };
    let service = Service::new().by(role(TableAccess {
        read: true,
        attributes: Some(Arc::new(AttributeAccess {
            attributes: HashMap::from([("name".to_owned(), flags)]),
        })),
        ..TableAccess::default()
    }));
    service.dogs.fill([Map::from_iter([
        ("id", Value::from("1")),
        ("name", Value::from("Rex")),
        ("age", Value::Int(3)),
    ])]);
    service.shows("/Dog/1", r#"{"id":"1","name":"Rex"}"#).await;
    service
        .shows("/Dog/?select(*)", r#"[{"id":"1","name":"Rex"}]"#)
        .await;
    service.get("/Dog/1.age").await.is(404, "");
    service
        .get("/Dog/?age=3")
        .await
        .fails(403, "Unauthorized access to resource");
    service
        .get("/Dog/?sort(age)")
        .await
        .fails(403, "Unauthorized access to resource");
    assert!(!service.get("/Dog").await.text().contains("age"));
    assert_eq!(
        service.get("/Dog/.csv").await.text(),
        "id,name\r\n1,Rex\r\n"
    );
}

#[tokio::test]
async fn a_body_over_the_limit_is_413() {
    let service = Service::with(RestConfig {
        max_body_bytes: 10,
        ..RestConfig::default()
    });
    service
        .put("/Dog/1", r#"{"name":1}"#)
        .await
        .fails(400, "Value 1 in property name must be a string");
    let reply = service.put("/Dog/1", r#"{"name":12}"#).await;
    reply.fails(413, "Request body too large, maximum size is 10 bytes");
}
