//! GraphQL over what is exported.

mod support;

use std::sync::Arc;

use base::ConnInfo;
use http::Request;
use http_chain::{Body, Chain, Stage};
use resource::{Caller, Exposure, Map, Registry, Value, json};
use rest::graphql::{GraphQl, GraphQlConfig};

use crate::support::Table;

struct Service {
    chain: Chain,
    caller: Caller,
}

impl Service {
    fn new() -> Self {
        Self::with(GraphQlConfig::default())
    }

    fn with(config: GraphQlConfig) -> Self {
        let registry = Arc::new(Registry::new());
        let books = Table::books();
        books.fill((1..=4_i64).map(|id| {
            Map::from_iter([
                ("id", Value::Int(id)),
                ("title", Value::from(format!("T{id}"))),
                (
                    "genre",
                    Value::from(if id % 2 == 0 { "war" } else { "sea" }),
                ),
                ("price", Value::Float(id as f64 / 2.0)),
            ])
        }));
        registry.export("library/Book", Arc::new(books), Exposure::default());
        let dogs = Table::dogs();
        let owner = json::from_slice(br#"{"id":"1","name":"Rex","n":{"city":"Rome","zip":7}}"#);
        let other = json::from_slice(br#"{"id":"2","name":"Ada","n":5}"#);
        dogs.fill([owner, other].map(|dog| dog.unwrap().as_map().unwrap().clone()));
        registry.export("Dog", Arc::new(dogs), Exposure::default());
        Self {
            chain: Chain::new([("graphql", Stage::handler(GraphQl::new(registry, config)))]),
            caller: Caller::internal("test"),
        }
    }

    async fn send(&self, mut request: Request<Body>) -> (u16, String) {
        request.extensions_mut().insert(self.caller.clone());
        request
            .extensions_mut()
            .insert(Arc::new(ConnInfo::loopback()));
        let response: http::Response<Body> = self.chain.answer(request.into()).await.into();
        let status = response.status().as_u16();
        let body = response.into_body().collect(u64::MAX).await.unwrap();
        (status, String::from_utf8(body.into()).unwrap())
    }

    async fn post(&self, body: &str) -> (u16, String) {
        let request = Request::post("/graphql")
            .header("content-type", "application/json")
            .header("accept", "application/graphql-response+json");
        self.send(request.body(Body::from(body.to_owned())).unwrap())
            .await
    }

    async fn ask(&self, document: &str) -> (u16, String) {
        self.ask_with(document, "{}").await
    }

    async fn ask_with(&self, document: &str, variables: &str) -> (u16, String) {
        let document = String::from_utf8(json::to_vec(&Value::from(document))).unwrap();
        self.post(&format!(
            r#"{{"query":{document},"variables":{variables}}}"#
        ))
        .await
    }

    #[track_caller]
    fn answers(&self, document: &str, expected: &str) -> impl Future<Output = ()> {
        let place = std::panic::Location::caller();
        async move {
            let answer = self.ask(document).await;
            let expected = format!(r#"{{"data":{expected}}}"#);
            assert_eq!(answer, (200, expected), "{document} at {place}");
        }
    }

    #[track_caller]
    fn refuses(&self, document: &str, message: &str) -> impl Future<Output = ()> {
        let place = std::panic::Location::caller();
        async move {
            let (status, body) = self.ask(document).await;
            assert_eq!(status, 400, "{document} at {place}: {body}");
            assert!(body.contains(message), "{document} at {place}: {body}");
        }
    }
}

#[tokio::test]
async fn arguments_are_conditions_and_fields_a_selection() {
    let service = Service::new();
    service
        .answers(
            r#"{ Book(id: 2) { id title } }"#,
            r#"{"Book":[{"id":2,"title":"T2"}]}"#,
        )
        .await;
    service
        .answers(
            r#"query { Book(genre: "sea", price: 1.5) { title nothing __typename } }"#,
            r#"{"Book":[{"title":"T3","nothing":null,"__typename":"Book"}]}"#,
        )
        .await;
    service
        .answers(
            r#"{ Book(id: ["1", "4"]) { id } dogs: Dog { name } }"#,
            r#"{"Book":[{"id":1},{"id":4}],"dogs":[{"name":"Rex"},{"name":"Ada"}]}"#,
        )
        .await;
    service
        .answers(
            r#"{ library_Book(sort: ["genre", "-id"], limit: 2, offset: 1) { id } }"#,
            r#"{"library_Book":[{"id":1},{"id":4}]}"#,
        )
        .await;
    service
        .answers(
            r#"{ Dog(id: "1") { home: n { town: city } n { zip } } }"#,
            r#"{"Dog":[{"home":{"town":"Rome"},"n":{"zip":7}}]}"#,
        )
        .await;
}

#[tokio::test]
async fn fragments_variables_and_directives() {
    let service = Service::new();
    service
        .answers(
            r#"query A { Dog(id: "2") { ...Names ... on Dog @include(if: true) { id } n @skip(if: true) } }
               fragment Names on Dog { name id }"#,
            r#"{"Dog":[{"name":"Ada","id":"2"}]}"#,
        )
        .await;
    let document =
        r#"query ($id: ID!, $genre: String = "war") { Book(id: $id, genre: $genre) { id } }"#;
    let answer = service.ask_with(document, r#"{"id":"2"}"#).await;
    assert_eq!(answer, (200, r#"{"data":{"Book":[{"id":2}]}}"#.to_owned()));
    let (status, body) = service.ask_with(document, "{}").await;
    assert_eq!(status, 400);
    assert!(body.contains("variable '$id' has to be ID!"), "{body}");
    let many =
        r#"{"query":"query A { Dog { id } } query B { Book(id: 1) { id } }","operationName":"B"}"#;
    let answer = service.post(many).await;
    assert_eq!(answer, (200, r#"{"data":{"Book":[{"id":1}]}}"#.to_owned()));
}

#[tokio::test]
async fn a_document_that_can_not_be_carried_out_says_where() {
    let service = Service::new();
    let (status, body) = service.ask("{ Dog {\n  id(a: ) } }").await;
    assert_eq!(status, 400);
    assert!(body.contains(r#""locations":[{"line":2,"#), "{body}");
    service
        .refuses("mutation { Dog { id } }", "only queries")
        .await;
    service
        .refuses("type A { a: Int }", "defines no types")
        .await;
    service
        .refuses("fragment F on Dog { id }", "no operation")
        .await;
    service
        .refuses("{ Dog { ...F } }", "fragment 'F' is not defined")
        .await;
    service
        .refuses("{ ...F } fragment F on Query { ...F }", "contains itself")
        .await;
    service
        .refuses("{ Dog(id: $x) { id } }", "'$x' is not defined")
        .await;
    service
        .refuses("{ Dog { id @live } }", "'@live' is not known")
        .await;
    service
        .refuses("{ Dog { a: id a: name } }", "'a' stands for two fields")
        .await;
    service
        .refuses(
            "query A { Dog { id } } query B { Dog { id } }",
            "operationName",
        )
        .await;
}

#[tokio::test]
async fn a_field_that_fails_is_null_beside_the_others() {
    let service = Service::new();
    for (field, message, status) in [
        ("Cat { id }", "there is no 'Cat' to query", 404),
        (
            "Dog(age: 1, nickname: 2) { id }",
            "nickname is not a defined attribute",
            404,
        ),
        ("Dog(limit: -1) { id }", "'limit' takes a whole number", 400),
        (
            "Dog { id { x } }",
            "fields are selected of string, which has none",
            400,
        ),
        ("Book(id: \"x\") { id }", "expecting Long", 400),
        (
            "__schema { types { name } }",
            "introspection is not supported yet",
            501,
        ),
        (
            "Dog { a: n(x: 1) { y } b: n(x: 2) { y } }",
            "one set of arguments only",
            400,
        ),
    ] {
        let (code, body) = service
            .ask(&format!("{{ x: {field} ok: __typename }}"))
            .await;
        assert_eq!(code, 200, "{body}");
        assert!(body.starts_with(r#"{"data":{"x":null,"ok":"Query"},"errors":[{"message":""#));
        assert!(body.contains(message), "{body}");
        let end = format!(r#""path":["x"],"extensions":{{"status":{status}}}}}]}}"#);
        assert!(body.ends_with(&end), "{body}");
    }
}

#[tokio::test]
async fn what_a_client_may_ask_is_bounded() {
    let service = Service::with(GraphQlConfig {
        max_fields: 20,
        max_depth: 8,
        max_tokens: 200,
        max_queries: 2,
        max_records: 5,
        ..GraphQlConfig::default()
    });
    let bomb = "{ ...A } fragment A on Q { ...B ...B ...B } fragment B on Q { ...C ...C ...C } \
                fragment C on Q { a: __typename }";
    service.refuses(bomb, "more than 20 fields").await;
    let deep = format!("{{ Dog {} id {} }}", "{ n ".repeat(9), "}".repeat(9));
    assert_eq!(service.ask(&deep).await.0, 400);
    let deep = format!(
        "{{ Dog(a: {}1{}) {{ id }} }}",
        "[".repeat(20_000),
        "]".repeat(20_000)
    );
    assert_eq!(service.ask(&deep).await.0, 400);
    let (_, body) = service
        .ask("{ a: Dog { id } b: Dog { id } c: Dog { id } }")
        .await;
    assert!(body.contains("More than 2 queries at once"), "{body}");
    let (_, body) = service.ask("{ a: Book { id } b: Book { id } }").await;
    assert!(
        body.contains("The answer is larger than 5 records"),
        "{body}"
    );
}

#[tokio::test]
async fn requests_by_get_and_by_other_types() {
    let service = Service::new();
    let get = |url: &str| Request::get(url).body(Body::Empty).unwrap();
    let expected = r#"{"data":{"Dog":[{"id":"1"}]}}"#.to_owned();
    let url = "/graphql?query=query(%24n:String)%7BDog(name:%24n)%7Bid%7D%7D&variables=%7B%22n%22:%22Rex%22%7D";
    assert_eq!(service.send(get(url)).await, (200, expected.clone()));
    let text = Request::post("/graphql")
        .header("content-type", "application/graphql")
        .body(Body::from(r#"{ Dog(name: "Rex") { id } }"#))
        .unwrap();
    assert_eq!(service.send(text).await, (200, expected));
    // Older clients look at the errors and not at the status.
    let mistaken = service.send(get("/graphql?query=%7B")).await;
    assert_eq!(mistaken.0, 200);
    assert!(mistaken.1.starts_with(r#"{"errors":[{"#));
    assert_eq!(service.send(get("/graphql")).await.0, 400);
    assert_eq!(service.send(get("/graphql?query=%zz")).await.0, 400);
    assert_eq!(service.post("[]").await.0, 400);
    assert_eq!(service.post(r#"{"query":1}"#).await.0, 400);
    let put = Request::put("/graphql").body(Body::Empty).unwrap();
    assert_eq!(service.send(put).await.0, 405);
    let image = Request::post("/graphql").header("content-type", "image/png");
    let image = image.body(Body::from("x")).unwrap();
    assert_eq!(service.send(image).await.0, 415);
}

#[tokio::test]
async fn p18_nobody_has_to_log_in_for_tables() {
    let mut service = Service::new();
    service.caller = Caller::Anonymous;
    let (status, body) = service.ask("{ Dog { id } }").await;
    assert_eq!(status, 401);
    assert!(body.contains("Must login"), "{body}");
}

#[tokio::test]
async fn nothing_that_a_client_sends_panics() {
    const PIECES: &[&str] = &[
        "{",
        "}",
        "(",
        ")",
        "[",
        "]",
        ":",
        "!",
        "...",
        "on",
        "query",
        "fragment",
        "A",
        "Dog",
        "id",
        "$a",
        "@skip",
        "\"",
        "\"\"\"",
        "\\u",
        "\"x\\uD800\"",
        "1",
        "1.5e9",
        "-",
        "null",
        "true",
        ",",
        "#",
        "\n",
        "é",
        "\u{0}",
        "=",
        "type",
        "&",
        "|",
    ];
    let service = Service::new();
    let mut state = 1_u64;
    let mut below = |bound: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % bound
    };
    for _ in 0..5_000 {
        let document: Vec<&str> = (0..below(16))
            .map(|_| PIECES[below(PIECES.len())])
            .collect();
        service
            .ask(&document.join(if below(2) == 0 { "" } else { " " }))
            .await;
    }
    let whole = r#"query A($a: [Int!]! = [1]) { x: Dog(id: "\u0041", n: {a: [1, null]}) @skip(if: false) { ...F } } fragment F on Dog { id }"#;
    for end in 0..=whole.len() {
        service.ask(&whole[..end]).await;
    }
}
