//! Routing, the URL grammar and methods: `rest.md` §1-3.

mod support;

use std::sync::Arc;

use content::cbor;
use http_chain::{Chain, Handler as _, Request, Stage};
use resource::{
    Answer, Caller, Catalog, Context, Error, Exposure, Methods, Record, Registry, Resource,
    TableDefinition, TableStatistics, Target, Value,
};
use rest::{Rest, RestConfig};

use crate::support::{Call, Service, Table};

#[tokio::test]
async fn c1_describe_list_and_case() {
    let service = Service::new();
    service.put("/Dog/1", r#"{"name":"Rex"}"#).await.is(204, "");
    let describe = service.get("/Dog").await;
    describe.is(
        200,
        concat!(
            r#"{"records":"./","name":"Dog","database":"data","attributes":["#,
            r#"{"name":"id","type":"ID","isPrimaryKey":true,"nullable":false},"#,
            r#"{"name":"name","type":"String"},{"name":"breed","type":"String","indexed":true},"#,
            r#"{"name":"age","type":"Int"},{"name":"picture","type":"Bytes"},{"name":"n","type":"Any"}]}"#
        ),
    );
    assert_eq!(describe.header("link"), "</Dog/>; rel=\"collection\"");
    assert_eq!(describe.header("etag"), "");
    service.shows("/Dog/", r#"[{"id":"1","name":"Rex"}]"#).await;
    service.get("/dog/").await.is(404, "Not found\n");
    service.get("/Dogs").await.is(404, "Not found\n");
    service.get("/").await.is(404, "Not found\n");
}

/// A catalog that knows sizes, and nothing else.
struct Sizes;

impl Catalog for Sizes {
    fn databases(&self) -> Vec<String> {
        Vec::new()
    }
    fn tables(&self, _: &str) -> Option<Vec<Arc<dyn Resource>>> {
        None
    }
    fn table(&self, database: &str, table: &str) -> Result<Arc<dyn Resource>, Error> {
        Err(Error::not_found(format!("{database}.{table}")))
    }
    fn create_database<'a>(&'a self, _: &'a str) -> Answer<'a, ()> {
        Answer::ready(Ok(()))
    }
    fn drop_database<'a>(&'a self, _: &'a str) -> Answer<'a, ()> {
        Answer::ready(Ok(()))
    }
    fn create_table(&self, definition: TableDefinition) -> Answer<'_, Arc<dyn Resource>> {
        Answer::ready(self.table(&definition.database, &definition.table))
    }
    fn drop_table<'a>(&'a self, _: &'a str, _: &'a str) -> Answer<'a, ()> {
        Answer::ready(Ok(()))
    }
    fn statistics<'a>(
        &'a self,
        database: &'a str,
        table: &'a str,
        exact: bool,
    ) -> Answer<'a, TableStatistics> {
        assert_eq!((database, table, exact), ("data", "Dog", false));
        Answer::ready(Ok(TableStatistics {
            record_count: 100,
            estimated_range: Some((90, 110)),
            audit_bytes: 42,
            ..TableStatistics::default()
        }))
    }
}

#[tokio::test]
async fn section_11_a_description_has_sizes_where_there_is_a_catalog() {
    let describe = async |include_record_counts| {
        let service = Service::with(RestConfig {
            catalog: Some(Arc::new(Sizes)),
            include_record_counts,
            ..RestConfig::default()
        });
        service.get("/Dog").await.text().to_owned()
    };
    let start = r#"{"records":"./","name":"Dog","database":"data","auditSize":42,"#;
    assert!(
        describe(false)
            .await
            .starts_with(&format!("{start}\"attributes\":"))
    );
    let counts = r#""recordCount":100,"estimatedRecordRange":[90,110],"attributes":"#;
    assert!(
        describe(true)
            .await
            .starts_with(&format!("{start}{counts}"))
    );
}

#[tokio::test]
async fn r2_r4_paths_with_slashes_and_c18_single_letters() {
    let service = Service::new();
    service.export("api/dogs", Arc::new(Table::dogs()));
    service.export("A", Arc::new(Table::dogs()));
    service.put("/api/dogs/1", "{}").await.is(204, "");
    service.put("/A/1", "{}").await.is(204, "");
    service.shows("/api/dogs/1", r#"{"id":"1"}"#).await;
    service.shows("/A/1", r#"{"id":"1"}"#).await;
    let created = service
        .send(Call::new("POST", "/api/dogs/").json("{}"))
        .await;
    assert_eq!(created.header("location"), "/api/dogs/generated-1");
}

#[tokio::test]
async fn r3_an_export_without_rest_is_invisible() {
    let registry = Arc::new(Registry::new());
    let exposure = Exposure {
        rest: false,
        ..Exposure::default()
    };
    registry.export("Dog", Arc::new(Table::dogs()), exposure);
    let rest = Rest::new(registry, RestConfig::default());
    let chain = Chain::new([("rest", Stage::handler(rest))]);
    let request = Request::new(http::Method::GET, "/Dog/").unwrap();
    assert_eq!(chain.answer(request).await.status(), 404);
}

#[tokio::test]
async fn r5_r6_suffixes_and_the_root_export() {
    let service = Service::new();
    let as_cbor = service.get("/Dog.cbor").await;
    assert_eq!(as_cbor.header("content-type"), "application/cbor");
    let description = cbor::decode(as_cbor.bytes()).unwrap();
    assert_eq!(
        description.as_map().unwrap().get("name"),
        Some(&Value::from("Dog"))
    );
    service.get("/Dog.png").await.is(404, "Not found\n");

    service.export("", Arc::new(Table::books()));
    service
        .put("/7", r#"{"title":"Foundation"}"#)
        .await
        .is(204, "");
    service
        .shows("/7", r#"{"id":7,"title":"Foundation"}"#)
        .await;
    service
        .shows("/", r#"[{"id":7,"title":"Foundation"}]"#)
        .await;
    service
        .shows("/.json?price==null", r#"[{"id":7,"title":"Foundation"}]"#)
        .await;
    assert_eq!(
        service.get("/Dog.cbor").await.header("content-type"),
        "application/cbor"
    );
    service.get("/nothing").await.fails(
        400,
        r#"Invalid value for attribute id: "nothing", expecting Long"#,
    );
}

#[tokio::test]
async fn r8_conflicting_paths_are_500_for_every_request() {
    let service = Service::new();
    service.export("Dog", Arc::new(Table::dogs()));
    for method in ["GET", "PUT", "OPTIONS", "X"] {
        let reply = service.send(Call::new(method, "/Dog/1")).await;
        reply.fails(500, "Conflicting paths for Dog");
    }
}

#[tokio::test]
async fn other_peoples_requests_are_handed_back() {
    let service = Service::new();
    let rest = Rest::new(Arc::clone(&service.registry), RestConfig::default());
    let request = |url: &str, headers: &[(&str, &str)]| {
        let mut request = http::Request::get(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Request::from(request.body(http_chain::Body::Empty).unwrap())
    };
    for (url, headers, is_answered) in [
        ("/Dog/", &[][..], true),
        ("/Dog/", &[("accept", "*/*, text/event-stream;q=0.1")], true),
        ("/Cat/", &[], false),
        ("/Dog/", &[("accept", "text/event-stream")], false),
        (
            "/Dog/",
            &[("connection", "Upgrade"), ("upgrade", "websocket")],
            false,
        ),
    ] {
        let answer = rest.handle(request(url, headers)).await;
        assert_eq!(answer.is_break(), is_answered, "{url} {headers:?}");
    }
}

#[tokio::test]
async fn u_the_url_grammar_reaches_records_collections_and_properties() {
    let service = Service::new();
    for (url, name) in [
        ("/Dog/1", "Rex"),
        ("/Dog/a/b", "Ada"),
        ("/Dog/a/c/d", "Bob"),
        ("/Dog/ax", "Kim"),
    ] {
        service
            .put(url, &format!(r#"{{"name":"{name}"}}"#))
            .await
            .is(204, "");
    }
    service.shows("/Dog/1.name", r#""Rex""#).await;
    service
        .shows(
            "/Dog/a/",
            r#"[{"id":"a/b","name":"Ada"},{"id":"a/c/d","name":"Bob"}]"#,
        )
        .await;
    service
        .shows("/Dog/a/?name=Bob", r#"[{"id":"a/c/d","name":"Bob"}]"#)
        .await;
    service
        .shows("/Dog?name=Kim", r#"[{"id":"ax","name":"Kim"}]"#)
        .await;
    service.shows("/Dog/?", r#"[{"id":"1","name":"Rex"},{"id":"a/b","name":"Ada"},{"id":"a/c/d","name":"Bob"},{"id":"ax","name":"Kim"}]"#).await;
    service.shows("/Dog/1?select(name)", r#""Rex""#).await;
    service
        .shows("/Dog/1?select(name,)", r#"{"name":"Rex"}"#)
        .await;
    service
        .shows("/Dog/1?select([name,breed,$id])", r#"["Rex",null,"1"]"#)
        .await;
    service.get("/Dog/1?select(breed)").await.is(404, "");
    service.get("/Dog/1.breed").await.is(404, "");
    service
        .get("/Dog/1.name?select(name)")
        .await
        .fails(400, "A property takes no select");
    service
        .get("/Dog/%zz")
        .await
        .fails(400, "malformed percent-encoding in '%zz'");
}

#[tokio::test]
async fn c11_c12_i7_encoded_separators_and_undeclared_suffixes_are_keys() {
    let service = Service::new();
    for key in ["a%2Fb", "file.name2", "readme%2Ejson", "%2e%2e", "1%2E2"] {
        service.put(&format!("/Dog/{key}"), "{}").await.is(204, "");
    }
    service.shows("/Dog/a/b", r#"{"id":"a/b"}"#).await;
    service
        .shows("/Dog/file.name2", r#"{"id":"file.name2"}"#)
        .await;
    service
        .shows("/Dog/readme%2Ejson", r#"{"id":"readme.json"}"#)
        .await;
    service.get("/Dog/readme.json").await.is(404, "");
    service.shows("/Dog/%2E%2E", r#"{"id":".."}"#).await;
    service.shows("/Dog/1.2", r#"{"id":"1.2"}"#).await;
}

#[tokio::test]
async fn i2_ids_are_coerced_to_the_type_of_the_key() {
    let service = Service::new();
    service.put("/Book/51", "{}").await.is(204, "");
    service.shows("/Book/$1f", r#"{"id":51}"#).await;
    service.get("/Book/abc").await.fails(
        400,
        r#"Invalid value for attribute id: "abc", expecting Long"#,
    );
    service.put("/Book/abc", "{}").await.fails(
        400,
        r#"Invalid value for attribute id: "abc", expecting Long"#,
    );
    service
        .get("/Book/null")
        .await
        .fails(400, "Invalid primary key of null");
}

#[tokio::test]
async fn options_lists_what_is_implemented_at_this_address_to_anybody() {
    let service = Service::new().by(Caller::Anonymous);
    for (url, allow) in [
        ("/Dog", "GET, HEAD, POST, DELETE, OPTIONS, QUERY"),
        ("/Dog/", "GET, HEAD, POST, PUT, DELETE, OPTIONS, QUERY"),
        ("/Dog/a/", "GET, HEAD, POST, PUT, DELETE, OPTIONS, QUERY"),
        (
            "/Dog/1",
            "GET, HEAD, PUT, PATCH, DELETE, OPTIONS, COPY, MOVE",
        ),
        ("/Dog/1.name", "GET, HEAD, OPTIONS"),
    ] {
        let reply = service.send(Call::new("OPTIONS", url)).await;
        reply.is(204, "");
        assert_eq!(reply.header("allow"), allow, "{url}");
    }
}

#[tokio::test]
async fn methods_where_they_mean_nothing_are_405_with_allow() {
    let service = Service::new();
    for (method, url) in [
        ("PUT", "/Dog"),
        ("PATCH", "/Dog"),
        ("PATCH", "/Dog/"),
        ("PATCH", "/Dog/a/"),
        ("POST", "/Dog/1"),
        ("QUERY", "/Dog/1"),
        ("COPY", "/Dog/"),
        ("MOVE", "/Dog/1.name"),
        ("TRACE", "/Dog/1"),
        ("PUT", "/Dog/1.name"),
        ("DELETE", "/Dog/1.name"),
    ] {
        let reply = service.send(Call::new(method, url).json("{}")).await;
        let detail = format!(
            "The Dog does not have a {} method implemented to handle HTTP method {method}",
            method.to_lowercase()
        );
        reply.fails(405, &detail);
        let allow = reply.header("allow");
        assert!(allow.starts_with("GET, HEAD"), "{method}");
        assert!(
            !allow.split(", ").any(|allowed| allowed == method),
            "{method} {url}: {allow}"
        );
    }
}

#[tokio::test]
async fn unknown_methods_are_501_and_tea_is_418() {
    let service = Service::new();
    let reply = service.send(Call::new("FROB", "/Dog/1")).await;
    reply.fails(501, "Method FROB is not recognized");
    let reply = service.send(Call::new("BREW", "/Dog/1")).await;
    reply.fails(418, "Dog is short and stout and can't brew coffee");
}

#[tokio::test]
async fn head_is_get_without_body() {
    let service = Service::new();
    service.put("/Dog/1", r#"{"name":"Rex"}"#).await.is(204, "");
    for url in ["/Dog/1", "/Dog", "/Dog/1.name", "/Dog/", "/Dog/2"] {
        let get = service.get(url).await;
        let head = service.send(Call::new("HEAD", url)).await;
        assert_eq!(head.status, get.status, "{url}");
        assert!(head.bytes().is_empty());
        for name in ["content-type", "etag", "vary"] {
            assert_eq!(
                head.headers.get_all(name).iter().collect::<Vec<_>>(),
                get.headers.get_all(name).iter().collect::<Vec<_>>(),
                "{url} {name}"
            );
        }
    }
    let head = service.send(Call::new("HEAD", "/Dog/1")).await;
    assert_eq!(head.header("content-length"), "23");
    let head = service.send(Call::new("HEAD", "/Dog/?limit(0)")).await;
    assert_eq!(head.header("content-length"), "2");
    let head = service.send(Call::new("HEAD", "/Dog/")).await;
    assert_eq!(head.header("content-length"), "", "nobody has counted");
}

#[tokio::test]
async fn options_of_the_server_as_a_whole() {
    let service = Service::new().by(Caller::Anonymous);
    let reply = service.send(Call::new("OPTIONS", "*")).await;
    reply.is(204, "");
    assert_eq!(
        reply.header("allow"),
        "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, QUERY, COPY, MOVE"
    );
}

/// A resource that answers with its key.
struct Echo;

impl Resource for Echo {
    fn name(&self) -> &str {
        "Echo"
    }
    fn methods(&self) -> Methods {
        Methods {
            get: true,
            ..Methods::NONE
        }
    }
    fn direct_url_mapping(&self) -> bool {
        true
    }
    fn get<'a>(&'a self, target: &'a Target, _: &'a Context) -> Answer<'a, Option<Record>> {
        Answer::ready(Ok(target.key.as_ref().map(|key| Record {
            key: None,
            version: base::Timestamp::ZERO,
            expires_at: None,
            body: key.to_value().into(),
        })))
    }
}

#[tokio::test]
async fn i5_with_direct_url_mapping_the_rest_of_the_url_is_the_id() {
    let service = Service::new();
    service.export("Echo", Arc::new(Echo));
    for (url, expected) in [
        ("/Echo/a.json", "\"a.json\""),
        ("/Echo/a/b/?x=1&select(y)", "\"a/b/?x=1&select(y)\""),
        ("/Echo/", "\"\""),
        ("/Echo/?q", "\"?q\""),
        ("/Echo/%C3%A9", "\"é\""),
    ] {
        service.shows(url, expected).await;
    }
    service
        .shows("/Echo", r#"{"records":"./","name":"Echo"}"#)
        .await;
    assert_eq!(service.get("/Echo/%").await.status, 400);
}

/// A resource made of code, with actions.
struct Kennel;

impl Resource for Kennel {
    fn name(&self) -> &str {
        "Kennel"
    }
    fn methods(&self) -> Methods {
        Methods {
            get: true,
            post: true,
            ..Methods::NONE
        }
    }
    fn get<'a>(&'a self, target: &'a Target, _: &'a Context) -> Answer<'a, Option<Record>> {
        let body = match target.key.as_ref().map(ToString::to_string).as_deref() {
            Some("secret") => return Answer::ready(Err(Error::internal("password is hunter2"))),
            Some("number") => Value::Int(7),
            _ => return Answer::ready(Ok(None)),
        };
        Answer::ready(Ok(Some(Record {
            key: None,
            version: base::Timestamp::ZERO,
            expires_at: None,
            body: body.into(),
        })))
    }
    fn post<'a>(&'a self, _: &'a Target, body: Value, _: &'a Context) -> Answer<'a, Option<Value>> {
        Answer::ready(Ok((!body.is_null()).then_some(body)))
    }
}

#[tokio::test]
async fn p8_custom_actions_answer_200_or_204() {
    let service = Service::new();
    service.export("Kennel", Arc::new(Kennel));
    for url in ["/Kennel/", "/Kennel/1", "/Kennel"] {
        service
            .send(Call::new("POST", url).json(r#"{"bark":2}"#))
            .await
            .is(200, r#"{"bark":2}"#);
        service
            .send(Call::new("POST", url).json("null"))
            .await
            .is(204, "");
    }
    service
        .send(Call::new("POST", "/Kennel/").body("application/octet-stream", [1, 2]))
        .await
        .is(200, r#"{"type":"Buffer","data":[1,2]}"#);
    let reply = service.send(Call::new("OPTIONS", "/Kennel/")).await;
    assert_eq!(reply.header("allow"), "GET, HEAD, POST, OPTIONS, QUERY");
    let reply = service.put("/Kennel/1", "{}").await;
    reply.fails(
        405,
        "The Kennel does not have a put method implemented to handle HTTP method PUT",
    );
    service.shows("/Kennel/number", "7").await;
    service
        .shows("/Kennel", r#"{"records":"./","name":"Kennel"}"#)
        .await;
    service.get("/Kennel/1").await.is(404, "");
    assert_eq!(service.get("/Kennel/number").await.header("etag"), "");
}

#[tokio::test]
async fn a_500_tells_nothing_about_the_inside() {
    let service = Service::new();
    service.export("Kennel", Arc::new(Kennel));
    for accept in ["application/json", "text/plain", "application/cbor"] {
        let reply = service
            .send(Call::new("GET", "/Kennel/secret").accept(accept))
            .await;
        assert_eq!(reply.status, 500);
        assert!(!String::from_utf8_lossy(reply.bytes()).contains("hunter2"));
    }
}
