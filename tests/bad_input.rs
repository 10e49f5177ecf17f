//! The client's fault is a 4xx or the protocol's own code, says what and where, and touches nothing else.
#![forbid(unsafe_code)]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use motet_tests::http::{Connection, curl};
use motet_tests::{Builder, Motet, mqtt, wait, websocket};
use serde_json::{Value, json};
use tempfile::TempDir;

const SCHEMA: &str = "
type Dog @table @export { id: ID @primaryKey  name: String!  age: Int @indexed }
type Counter @table @export { id: Long @primaryKey  n: Int }
";

fn start(application: &TempDir) -> Motet {
    Builder::new()
        .schema(application, SCHEMA)
        .set("HTTP_MAXREQUESTBODYSIZE", "10K")
        .start()
}

fn put(motet: &Motet, path: &str, content_type: &str, body: &str) -> (u16, String) {
    let header = format!("Content-Type: {content_type}");
    curl(
        "PUT",
        &motet.url(path),
        None,
        &["-H", &header, "--data-binary", body],
    )
}

#[test]
fn bad_bodies_are_4xx_with_what_and_where_and_nothing_is_half_written() {
    let application = TempDir::new().unwrap();
    let motet = start(&application);
    let refused = |path: &str, content_type: &str, body: &str, status: u16, says: &str| {
        let (given, text) = put(&motet, path, content_type, body);
        assert_eq!(given, status, "{path} {body}: {text}");
        assert!(text.contains(says), "{path} {body}: {text}");
    };
    refused(
        "/Dog/1",
        "application/json",
        r#"{"name":"Rex","#,
        400,
        "line 1",
    );
    refused("/Dog/1", "application/cbor", "\u{7f}\u{7f}\u{7f}", 400, "");
    refused("/Dog/1", "application/x-msgpack", "\u{7f}junk", 400, "");
    refused(
        "/Dog/1",
        "application/json",
        r#"{"age":1}"#,
        400,
        "Property name is required",
    );
    refused(
        "/Dog/1",
        "application/json",
        r#"{"name":7,"age":"x"}"#,
        400,
        "Value 7 in property name must be a string",
    );
    refused(
        "/Counter/abc",
        "application/json",
        r#"{"n":1}"#,
        400,
        "expecting Long",
    );
    refused(
        "/Dog/",
        "application/json",
        r#"[{"id":"1","name":"a"},{"id":"2"}]"#,
        400,
        "Property name is required",
    );
    refused(
        "/Dog/1",
        "application/json",
        &format!(r#"{{"name":"{}"}}"#, "x".repeat(20_000)),
        413,
        "10240",
    );
    refused("/Dog/1", "application/json", &"[".repeat(5000), 400, "");
    let (status, text) = curl("GET", &motet.url("/Dog/?age=gt=abc"), None, &[]);
    assert_eq!(
        (status, text.contains("Invalid value for attribute age")),
        (400, true),
        "{text}"
    );
    let (status, text) = curl("GET", &motet.url("/Dog/?age=xx=1"), None, &["-g"]);
    assert_eq!(status, 400, "{text}");
    let (status, text) = curl("GET", &motet.url("/Dog/?nope=1"), None, &[]);
    assert_eq!(
        (status, text.contains("nope is not a defined attribute")),
        (404, true),
        "{text}"
    );
    let (_, all) = curl("GET", &motet.url("/Dog/"), None, &[]);
    assert_eq!(all, "[]", "nothing was written");
}

#[test]
fn what_is_not_acceptable_or_not_understood_has_its_status() {
    let application = TempDir::new().unwrap();
    let motet = start(&application);
    assert_eq!(
        put(&motet, "/Dog/1", "application/json", r#"{"name":"Rex"}"#).0,
        204
    );
    assert_eq!(
        curl(
            "GET",
            &motet.url("/Dog/1"),
            None,
            &["-H", "Accept: image/png"]
        )
        .0,
        406
    );
    let encoded = [
        "-H",
        "Content-Encoding: compress",
        "-H",
        "Content-Type: application/json",
        "--data-binary",
        "{}",
    ];
    assert_eq!(curl("PUT", &motet.url("/Dog/1"), None, &encoded).0, 415);
    assert_eq!(curl("BREW", &motet.url("/Dog/1"), None, &[]).0, 418);
    assert_eq!(curl("GET", &motet.url("/Nothing/1"), None, &[]).0, 404);
    let (status, text) = curl("GET", &motet.url("/Dog/%zz"), None, &[]);
    assert_eq!(status, 400, "{text}");
}

#[test]
fn a_malformed_packet_closes_that_connection_and_no_other() {
    let application = TempDir::new().unwrap();
    let motet = start(&application);
    let address = motet.address("mqtt.network.port");
    let healthy = mqtt::Client::v5(address, "healthy");
    healthy.subscribe("Dog/#");
    for garbage in [
        &[0x00, 0x00][..],
        &[0xff; 64][..],
        &[0x10, 0xff, 0xff, 0xff, 0xff, 0x7f][..],
        b"GET / HTTP/1.1\r\n\r\n",
        &[
            0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', 9, 2, 0, 60, 0, 1, b'c',
        ][..],
    ] {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(wait::LIMIT)).unwrap();
        stream.write_all(garbage).unwrap();
        let mut answer = Vec::new();
        // Closed, orderly or by a reset; never left open.
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.len() < 64, "{answer:?}");
    }
    healthy.publish("Dog/1", r#"{"name":"Rex"}"#, true);
    assert!(healthy.next().payload.contains("Rex"));
}

#[test]
fn a_malformed_frame_closes_with_the_protocols_code_and_touches_no_other() {
    let application = TempDir::new().unwrap();
    let motet = start(&application);
    let address = motet.address("http.port");
    let mut healthy = websocket::Client::connect(address, "/Dog/");
    let mut broken = websocket::Client::connect(address, "/Dog/");
    // Reserved opcode 3, and not masked: both are forbidden to a client.
    broken
        .socket()
        .get_mut()
        .write_all(&[0x83, 0x01, b'x'])
        .unwrap();
    let close = loop {
        match broken.socket().read() {
            Ok(tungstenite::Message::Close(frame)) => break frame,
            Ok(_) => {}
            Err(error) => panic!("no close frame: {error}"),
        }
    };
    assert_eq!(u16::from(close.unwrap().code), 1002);
    assert_eq!(
        put(&motet, "/Dog/1", "application/json", r#"{"name":"Rex"}"#).0,
        204
    );
    assert_eq!(healthy.event()["value"]["name"], "Rex");
    assert!(
        websocket::Client::try_connect(address, "/Nothing/")
            .err()
            .unwrap()
            .contains("404")
    );
}

#[test]
fn garbage_instead_of_tls_or_http_closes_that_connection_alone() {
    let application = TempDir::new().unwrap();
    let motet = start(&application);
    for setting in ["mqtt.network.securePort", "http.port"] {
        let mut connection = Connection::open(motet.address(setting)).unwrap();
        connection
            .send(&[
                0x16, 0x03, 0x01, 0xff, 0xff, 0x00, 0x0a, 0x0d, 0x0a, 0x0d, 0x0a,
            ])
            .unwrap();
        let answer = connection.read_to_end().unwrap_or_default();
        assert!(answer.len() < 1024, "{answer:?}");
    }
    assert_eq!(curl("GET", &motet.url("/Dog/"), None, &[]).0, 200);
}

#[test]
fn errors_are_problem_details() {
    let application = TempDir::new().unwrap();
    let motet = start(&application);
    let (status, text) = put(&motet, "/Dog/1", "application/json", r#"{"name":7}"#);
    let problem: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(status, 400);
    assert_eq!(problem["status"], 400);
    assert_eq!(problem["instance"], "/Dog/1");
    assert_eq!(
        problem["errors"],
        json!(["Value 7 in property name must be a string"])
    );
}
