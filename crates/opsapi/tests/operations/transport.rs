//! §1: bodies, formats, the order of checks.

use std::sync::Arc;

use base::{ConnInfo, Peer};
use http_chain::auth::{Authentication, LocalTrust};
use http_chain::{Body, Chain, Request, Stage};
use opsapi::{Need, Operation, Operations, OpsConfig, Reply};
use resource::{Caller, Value};

use crate::fixture::{Fixture, admin, text, value};
use crate::memory::MemoryCatalog;

const LIST: &str = r#"{"operation": "search_by_value", "table": "Dog", "attribute": "id", "value": "*",
    "get_attributes": ["id", "name"]}"#;

#[tokio::test]
async fn s1_1_what_is_wrong_with_a_body_is_said_in_order() {
    let fixture = Fixture::new().await;
    for (body, status, message) in [
        ("", 400, "Invalid JSON."),
        ("[]", 400, "Invalid JSON."),
        ("\"insert\"", 400, "Invalid JSON."),
        (
            "{}",
            400,
            "Request body must include an 'operation' property.",
        ),
        (
            r#"{"operation": null}"#,
            400,
            "Request body must include an 'operation' property.",
        ),
        (
            r#"{"operation": "nope"}"#,
            400,
            "Operation 'nope' not found",
        ),
        (r#"{"operation": 5}"#, 400, "Operation '5' not found"),
        (
            r#"{"operation": "insert"}"#,
            400,
            "'table' is required. 'records' is required",
        ),
        (
            r#"{"operation": "sql", "sql": "SELECT 1"}"#,
            501,
            "Operation 'sql' is not available in this build",
        ),
        (
            r#"{"operation": "insert", "impersonate": {"username": "x"}}"#,
            404,
            "User x does not exist",
        ),
        (
            r#"{"operation": "alter_user", "impersonate": {"username": "admin"}}"#,
            403,
            "'alter_user' is refused while impersonating",
        ),
    ] {
        fixture.refuses(&admin(), body, status, message).await;
    }
    let (status, body) = fixture.ask(&admin(), "{\"operation\": }").await;
    assert_eq!(status, 400);
    assert!(body.contains("line 1 column 15"), "{body}");
}

#[tokio::test]
async fn s9_3_everything_but_logins_needs_a_user() {
    let fixture = Fixture::new().await;
    let anonymous = Caller::Anonymous;
    for body in [
        r#"{"operation": "describe_all"}"#,
        r#"{"operation": "nope"}"#,
        r#"{"operation": "user_info"}"#,
    ] {
        fixture.refuses(&anonymous, body, 401, "Must login").await;
    }
    let login = r#"{"operation": "login", "username": "a", "password": "b"}"#;
    fixture
        .refuses(&anonymous, login, 400, "No session for login")
        .await;
}

#[tokio::test]
async fn bodies_are_bounded_and_more_so_before_a_login() {
    let config = OpsConfig {
        body_limit_bytes: 2000,
        anonymous_body_limit_bytes: 100,
        ..OpsConfig::default()
    };
    let fixture = Fixture::with(config).await;
    let body = |length: usize| {
        format!(
            r#"{{"operation": "describe_all", "x": "{}"}}"#,
            "x".repeat(length)
        )
    };
    fixture
        .refuses(&Caller::Anonymous, &body(200), 401, "Must login")
        .await;
    assert_eq!(fixture.ask(&admin(), &body(200)).await.0, 200);
    let text = "Request body too large, maximum size is 2000 bytes";
    fixture.refuses(&admin(), &body(3000), 413, text).await;
}

#[tokio::test]
async fn a_large_body_is_decoded_elsewhere() {
    let fixture = Fixture::new().await;
    let records: Vec<String> = (0..9000)
        .map(|n| format!(r#"{{"id": "k{n}", "name": "{}"}}"#, "x".repeat(30)))
        .collect();
    let body = format!(
        r#"{{"operation": "insert", "table": "Dog", "records": [{}]}}"#,
        records.join(",")
    );
    assert!(body.len() > 256 << 10);
    let (status, answer) = fixture.ask(&admin(), &body).await;
    assert_eq!(status, 200);
    assert!(answer.contains("inserted 9000 of 9000 records"));
}

#[tokio::test]
async fn health_needs_nobody_and_other_paths_are_handed_back() {
    let fixture = Fixture::new().await;
    let ask = async |method: &str, path: &str| {
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .body(Body::Empty)
            .unwrap();
        let response = fixture.send(request).await;
        (response.status().as_u16(), text(response).await)
    };
    assert_eq!(
        ask("GET", "/health").await,
        (200, "HarperDB is running.".to_owned())
    );
    assert_eq!(ask("GET", "/").await.0, 404);
    assert_eq!(ask("POST", "/Dog/").await.0, 404);
    assert_eq!(ask("PUT", "/").await.0, 404);
}

#[tokio::test]
async fn s1_requests_and_answers_have_each_of_the_formats() {
    let fixture = Fixture::new().await;
    let types = content::ContentTypes::standard();
    let expected =
        value(r#"[{"id": 1, "name": "Rex"}, {"id": 2, "name": "Max"}, {"id": 3, "name": "Roxy"}]"#);
    for media_type in ["application/json", "application/cbor"] {
        let format = types.by_media_type(media_type).unwrap();
        let request = http::Request::post("/")
            .header("content-type", media_type)
            .header("accept", media_type)
            .extension(admin())
            .body(Body::from(format.to_vec(&value(LIST)).unwrap()))
            .unwrap();
        let response = fixture.send(request).await;
        assert_eq!(response.headers()["content-type"], media_type);
        assert_eq!(response.headers()["vary"], "Accept");
        let bytes = response.into_body().collect(1000).await.unwrap();
        assert_eq!(
            types.decode(Some(media_type), &bytes).unwrap(),
            expected,
            "{media_type}"
        );
    }
    let msgpack = types.by_media_type("application/x-msgpack").unwrap();
    let request = http::Request::post("/")
        .header("content-type", "application/x-msgpack")
        .header("accept", "application/x-msgpack")
        .extension(admin())
        .body(Body::from(
            msgpack.to_vec(&value(r#"{"operation": "nope"}"#)).unwrap(),
        ))
        .unwrap();
    let response = fixture.send(request).await;
    assert_eq!(response.status(), 400);
    let bytes = response.into_body().collect(1000).await.unwrap();
    let error = types.decode(Some("application/x-msgpack"), &bytes).unwrap();
    assert_eq!(error, value(r#"{"error": "Operation 'nope' not found"}"#));
}

#[tokio::test]
async fn s1_csv_has_the_selected_columns() {
    let fixture = Fixture::new().await;
    let request = http::Request::post("/")
        .header("accept", "text/csv")
        .extension(admin())
        .body(Body::from(LIST))
        .unwrap();
    let response = fixture.send(request).await;
    assert_eq!(
        text(response).await,
        "id,name\r\n1,Rex\r\n2,Max\r\n3,Roxy\r\n"
    );
}

#[tokio::test]
async fn s1_an_unacceptable_format_is_406_before_anything_happens() {
    let fixture = Fixture::new().await;
    let drop = r#"{"operation": "drop_table", "table": "Dog"}"#;
    let request = http::Request::post("/")
        .header("accept", "image/png")
        .extension(admin())
        .body(Body::from(drop))
        .unwrap();
    assert_eq!(fixture.send(request).await.status(), 406);
    let request = http::Request::post("/")
        .header("content-type", "image/png")
        .extension(admin())
        .body(Body::from(drop))
        .unwrap();
    assert_eq!(fixture.send(request).await.status(), 415);
    fixture
        .says(&admin(), drop, "successfully deleted table 'data.Dog'")
        .await;
}

#[tokio::test]
async fn results_of_several_batches_are_streamed() {
    let fixture = Fixture::new().await;
    let request = |body: &str| {
        let request = http::Request::post("/").extension(admin());
        request.body(Body::from(body.to_owned())).unwrap()
    };
    let response = fixture.send(request(LIST)).await;
    assert_eq!(response.body().known_length(), None);
    assert_eq!(
        text(response).await,
        r#"[{"id":1,"name":"Rex"},{"id":2,"name":"Max"},{"id":3,"name":"Roxy"}]"#
    );
    let one =
        r#"{"operation": "search_by_id", "table": "Dog", "ids": [1], "get_attributes": ["id"]}"#;
    let response = fixture.send(request(one)).await;
    assert_eq!(response.body().known_length(), Some(10));
}

#[tokio::test]
async fn an_error_in_the_middle_of_a_result_is_its_last_element() {
    let fixture = Fixture::new().await;
    // The first keys make a batch of their own; the failure comes after the status.
    let ids = vec!["1"; 256].join(",");
    let body = format!(
        r#"{{"operation": "search_by_id", "table": "Dog", "ids": [{ids}, "broken"], "get_attributes": ["id"]}}"#
    );
    let (status, answer) = fixture.ask(&admin(), &body).await;
    assert_eq!(status, 200);
    let answer = value(&answer);
    let last = answer.as_array().unwrap().last().unwrap().as_map().unwrap();
    assert!(last.contains_key("error"), "{last:?}");
    let only = r#"{"operation": "search_by_id", "table": "Dog", "ids": ["broken"], "get_attributes": ["id"]}"#;
    let text = "There was an error processing your request. Check logs and try again.";
    fixture.refuses(&admin(), only, 500, text).await;
}

#[tokio::test]
async fn a_program_can_add_operations() {
    let whoami = Operation::new("whoami", Need::User, |call| async move {
        Ok(Reply::value(Value::from(&*call.user()?.username)))
    });
    let operations = Operations::new(Arc::new(MemoryCatalog::default()), OpsConfig::default())
        .with_operation(whoami.with_aliases(&["who"]));
    let chain = Chain::new([("operations", Stage::handler(operations))]);
    let request = http::Request::post("/").extension(admin());
    let request = request.body(Body::from(r#"{"operation": "who"}"#)).unwrap();
    assert_eq!(
        text(chain.answer(request.into()).await).await,
        r#"{"message":"admin"}"#
    );
}

#[tokio::test]
async fn the_unix_socket_acts_as_super_user_and_others_log_in() {
    let fixture = Fixture::new().await;
    let trust = LocalTrust {
        unix_sockets: true,
        ..LocalTrust::default()
    };
    let authentication = Authentication::new(fixture.directory.clone()).with_local_trust(trust);
    let operations = Operations::new(Arc::new(MemoryCatalog::default()), OpsConfig::default());
    let chain = Chain::new([
        ("authentication", Stage::wrap(authentication)),
        ("operations", Stage::handler(operations)),
    ]);
    let ask = async |peer: Option<Peer>, authorization: Option<&str>| {
        let mut request = http::Request::post("/");
        if let Some(peer) = peer {
            request = request.extension(Arc::new(ConnInfo {
                peer,
                ..ConnInfo::loopback()
            }));
        }
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        let body = Body::from(r#"{"operation": "create_database", "database": "x"}"#);
        let response = chain
            .answer(Request::from(request.body(body).unwrap()))
            .await;
        let challenge = response.headers().contains_key("www-authenticate");
        (response.status().as_u16(), challenge, text(response).await)
    };
    let unix = Peer::Unix("/run/operations-server".into());
    assert_eq!(
        ask(None, None).await,
        (401, true, r#"{"error":"Must login"}"#.to_owned())
    );
    let (status, _, body) = ask(Some(unix), None).await;
    assert_eq!(
        (status, &*body),
        (200, r#"{"message":"database 'x' successfully created"}"#)
    );
    // admin:root
    let (status, _, body) = ask(None, Some("Basic YWRtaW46cm9vdA==")).await;
    assert_eq!(
        (status, &*body),
        (400, r#"{"error":"database 'x' already exists"}"#)
    );
    let (status, challenge, body) = ask(None, Some("Basic YWRtaW46Um9vdA==")).await;
    assert_eq!(
        (status, challenge, &*body),
        (401, true, r#"{"error":"Login failed"}"#)
    );
}
