//! Starting, refusing to start, and stopping, as an operator meets them.
#![forbid(unsafe_code)]

use std::os::unix::fs::PermissionsExt as _;

use motet_tests::http::{Connection, curl, operation};
use motet_tests::{Builder, eventually};
use serde_json::json;
use tempfile::TempDir;

const SCHEMA: &str = "type Dog @table @export { id: ID @primaryKey  name: String }";

#[test]
fn a_wrong_value_stops_the_start_with_key_value_and_what_was_expected() {
    let failure = Builder::new().set("LOGGING_LEVEL", "loud").fail();
    assert_eq!(failure.status.code(), Some(78));
    assert!(
        failure
            .stderr
            .contains("'logging.level' is 'loud': expected one of trace, debug"),
        "{}",
        failure.stderr
    );
}

#[test]
fn a_port_in_use_is_named_with_its_setting() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let failure = Builder::new().set("HTTP_PORT", &address).fail();
    assert_eq!(failure.status.code(), Some(1));
    assert!(
        failure.stderr.contains("http.port") && failure.stderr.contains(&address),
        "{}",
        failure.stderr
    );
}

#[test]
fn an_unknown_key_is_reported_with_the_nearest_one() {
    let root = TempDir::new().unwrap();
    std::fs::write(root.path().join("motet.yaml"), "htpp:\n  port: 1\n").unwrap();
    let mut motet = Builder::new().root(root.path()).start();
    eventually("the warning", || {
        motet
            .output()
            .contains("'htpp' is not a setting")
            .then_some(())
    });
}

#[test]
fn the_first_start_makes_an_administrator_and_run_trusts_nobody() {
    let application = TempDir::new().unwrap();
    let parent = TempDir::new().unwrap();
    let mut motet = Builder::new()
        .trusting_nobody()
        .schema(&application, SCHEMA)
        .root(&parent.path().join("new/root"))
        .start();
    let mode =
        |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(motet.root()), 0o700);
    let file = motet.root().join("admin-password");
    assert_eq!(mode(&file), 0o600);
    let credentials = std::fs::read_to_string(&file).unwrap().trim().to_owned();
    let (username, password) = credentials.split_once(':').unwrap();
    assert_eq!(username, "admin");
    assert!(
        password.len() >= 20 && motet.output().contains(password),
        "printed once"
    );

    let url = motet.url("/Dog/");
    assert_eq!(curl("GET", &url, None, &[]).0, 401);
    assert_eq!(curl("GET", &url, None, &["-u", "admin:wrong"]).0, 401);
    assert_eq!(
        curl("GET", &url, None, &["-u", &credentials]),
        (200, "[]".to_owned())
    );
    let (status, answer) = operation(
        &motet.operations_url(),
        &json!({ "operation": "describe_all" }),
    );
    assert_eq!((status, answer), (401, json!({ "error": "Must login" })));
}

#[test]
fn a_second_server_on_the_same_root_is_refused_with_the_pid() {
    let root = TempDir::new().unwrap();
    let motet = Builder::new().root(root.path()).start();
    let failure = Builder::new().root(root.path()).fail();
    assert_eq!(failure.status.code(), Some(4));
    assert!(
        failure.stderr.contains(&format!("(pid: {})", motet.pid())),
        "{}",
        failure.stderr
    );
}

#[test]
fn a_schema_error_names_file_line_and_column_and_the_previous_tables_keep_working() {
    let application = TempDir::new().unwrap();
    let root = TempDir::new().unwrap();
    let mut motet = Builder::new()
        .schema(&application, SCHEMA)
        .root(root.path())
        .start();
    assert_eq!(
        curl(
            "PUT",
            &motet.url("/Dog/1"),
            Some(&json!({ "name": "Rex" })),
            &[]
        )
        .0,
        204
    );
    assert!(motet.stop().success());

    std::fs::write(
        application.path().join("other.graphql"),
        "type Cat @table {\n  id ID\n}\n",
    )
    .unwrap();
    let mut motet = Builder::new()
        .application(application.path())
        .root(root.path())
        .start();
    eventually("the error", || {
        motet.output().contains("other.graphql:2:").then_some(())
    });
    let (status, body) = curl("GET", &motet.url("/Dog/1"), None, &[]);
    assert_eq!(status, 200);
    assert!(body.contains("Rex"), "{body}");
}

#[test]
fn sigterm_lets_a_request_finish_and_ends_with_success() {
    let application = TempDir::new().unwrap();
    let mut motet = Builder::new().schema(&application, SCHEMA).start();
    let mut connection = Connection::open(motet.address("http.port")).unwrap();
    let head = "PUT /Dog/1 HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 14\r\n\r\n";
    connection.send(head.as_bytes()).unwrap();
    connection.send(br#"{"name""#).unwrap();
    // The server has read the head: another connection is answered after it.
    assert_eq!(curl("GET", &motet.url("/Dog/"), None, &[]).0, 200);
    motet.signal("TERM");
    eventually("the end of listening", || {
        Connection::open(motet.address("http.port")).err()
    });
    connection.send(br#":"Rex"}"#).unwrap();
    assert_eq!(connection.response().unwrap().0, 204);
    assert!(motet.stop_after_signal().success());
}

#[test]
fn sighup_reopens_the_log() {
    let mut motet = Builder::new().set("LOGGING_LEVEL", "info").start();
    let log = motet.root().join("log/hdb.log");
    eventually("the log", || log.exists().then_some(()));
    std::fs::rename(&log, motet.root().join("log/old.log")).unwrap();
    motet.signal("HUP");
    eventually("a new log", || {
        std::fs::read_to_string(&log)
            .ok()
            .filter(|text| text.contains("reopened"))
    });
    assert!(motet.stop().success());
}

#[test]
fn a_changed_log_level_is_used_without_a_restart_and_a_mistake_leaves_it_as_it_was() {
    let root = tempfile::TempDir::new().unwrap();
    let write = |text: &str| std::fs::write(root.path().join("motet.yaml"), text).unwrap();
    write("logging:\n  level: warn\n");
    let mut motet = Builder::new().trusting_nobody().root(root.path()).start();
    let log = root.path().join("log/hdb.log");
    let text = || std::fs::read_to_string(&log).unwrap_or_default();
    write("logging:\n  level: info\n");
    eventually("the line about the change", || {
        text()
            .contains("as the changed configuration says")
            .then_some(())
    });
    write("logging:\n  level: loud\n");
    eventually("the complaint", || {
        text().contains("'logging.level' is 'loud'").then_some(())
    });
    assert!(motet.stop().success());
}
