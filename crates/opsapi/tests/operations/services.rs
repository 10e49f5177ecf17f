//! Operations that ask the program around them: attributes, the log of changes, logs, settings, restarts, status.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base::Timestamp;
use futures_util::stream;
use http_chain::Body;
use opsapi::{
    Configuration, History, HistoryEntry, HistoryStream, Lifecycle, LogSource, Structure,
};
use resource::{Answer, Attribute, Error, EventKind, Key, Map, Value};
use telemetry::logs::LogFiles;

use crate::fixture::{Fixture, admin, caller, value};
use crate::memory::MemoryCatalog;

impl Structure for MemoryCatalog {
    fn create_attribute<'a>(
        &'a self,
        database: &'a str,
        table: &'a str,
        attribute: Attribute,
    ) -> Answer<'a, ()> {
        self.alter(database, table, |definition| {
            definition.attributes.push(attribute);
        });
        Answer::ready(Ok(()))
    }

    fn drop_attribute<'a>(
        &'a self,
        database: &'a str,
        table: &'a str,
        attribute: &'a str,
    ) -> Answer<'a, ()> {
        self.alter(database, table, |definition| {
            definition
                .attributes
                .retain(|known| known.name != attribute);
        });
        Answer::ready(Ok(()))
    }
}

/// A log of three transactions: Ana inserts two records and changes one, Bob deletes the other.
pub(crate) struct Past;

impl History for Past {
    fn entries<'a>(
        &'a self,
        _: &'a str,
        _: &'a str,
        from: Timestamp,
        until: Option<Timestamp>,
    ) -> Answer<'a, HistoryStream> {
        let entry = |millis: f64, user: &str, operation: &str, kind, key: &str, body: &str| {
            let body = (!body.is_empty()).then(|| value(body));
            HistoryEntry {
                kind,
                key: Some(Key::from(key)),
                body,
                user: user.to_owned(),
                operation: operation.to_owned(),
                time: Timestamp::from_millis(millis).unwrap(),
            }
        };
        let put = EventKind::Put;
        let batches = vec![
            vec![entry(1000.5, "ana", "insert", put, "a1", r#"{"id": "a1"}"#)],
            vec![
                entry(1000.5, "ana", "insert", put, "a2", r#"{"id": "a2"}"#),
                entry(
                    2000.0,
                    "ana",
                    "update",
                    EventKind::Patch,
                    "a1",
                    r#"{"qty": 1}"#,
                ),
                entry(3000.0, "bob", "", EventKind::Delete, "a2", ""),
            ],
        ];
        let is_in = move |entry: &HistoryEntry| {
            entry.time >= from && until.is_none_or(|until| entry.time <= until)
        };
        let batches = batches
            .into_iter()
            .map(move |batch| Ok::<_, Error>(batch.into_iter().filter(is_in).collect()));
        Answer::ready(Ok(Box::pin(stream::iter(batches.collect::<Vec<_>>()))))
    }

    fn remove_before<'a>(&'a self, _: &'a str, _: &'a str, before: Timestamp) -> Answer<'a, u64> {
        Answer::ready(Ok(if before.as_millis() > 1000.5 { 2 } else { 0 }))
    }
}

/// The log in a directory; nothing waits.
pub(crate) struct Files(pub(crate) tempfile::TempDir);

impl LogSource for Files {
    fn files(&self, name: Option<&str>) -> Option<LogFiles> {
        let path = self.0.path().join(name.unwrap_or("hdb.log"));
        (name.is_none_or(|name| name == "hdb.log")).then(|| LogFiles::new(path))
    }

    fn flush(&self) {}
}

#[derive(Default)]
pub(crate) struct Settings(Mutex<Map>);

impl Configuration for Settings {
    fn current(&self) -> Answer<'_, Map> {
        Answer::ready(Ok(self.0.lock().unwrap().clone()))
    }

    fn change(&self, changes: Map) -> Answer<'_, ()> {
        if changes
            .get("http_cors")
            .is_some_and(|cors| cors.as_bool().is_none())
        {
            return Answer::ready(Err(Error::bad_request(
                "HarperDB config file validation error: 'http.cors' must be a boolean",
            )));
        }
        let mut settings = self.0.lock().unwrap();
        for (name, value) in changes {
            settings.insert(name, value);
        }
        Answer::ready(Ok(()))
    }
}

#[derive(Default)]
pub(crate) struct Process(pub(crate) AtomicUsize);

impl Lifecycle for Process {
    fn restart(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn component_status(&self) -> Vec<Map> {
        vec![Map::from_iter([
            ("name", Value::from("shop")),
            ("status", Value::from("healthy")),
        ])]
    }
}

#[tokio::test]
async fn s4_attributes_are_created_and_dropped() {
    let fixture = Fixture::new().await;
    let create = r#"{"operation": "create_attribute", "database": "inventory", "table": "Item", "attribute": "color"}"#;
    fixture
        .says(
            &admin(),
            create,
            "attribute 'inventory.Item.color' successfully created.",
        )
        .await;
    fixture
        .refuses(
            &admin(),
            create,
            400,
            "attribute 'color' already exists in inventory.Item",
        )
        .await;
    let drop = r#"{"operation": "drop_attribute", "database": "inventory", "table": "Item", "attribute": "color"}"#;
    fixture
        .says(&admin(), drop, "successfully deleted attribute 'color'")
        .await;
    fixture
        .refuses(
            &admin(),
            drop,
            404,
            "Attribute 'color' does not exist on 'inventory.Item'",
        )
        .await;
}

#[tokio::test]
async fn s4_records_of_a_dynamic_table_forget_a_dropped_attribute() {
    let fixture = Fixture::new().await;
    let drop = r#"{"operation": "drop_attribute", "table": "Dog", "attribute": "age"}"#;
    fixture
        .says(&admin(), drop, "successfully deleted attribute 'age'")
        .await;
    let search =
        r#"{"operation": "search_by_id", "table": "Dog", "ids": [1, 3], "get_attributes": ["*"]}"#;
    let (status, answer) = fixture.ask(&admin(), search).await;
    assert_eq!(status, 200);
    assert!(
        !answer.contains("age") && answer.contains("Rex"),
        "{answer}"
    );
}

#[tokio::test]
async fn s4_some_attributes_cannot_be_created_or_dropped() {
    let fixture = Fixture::new().await;
    for (request, status, message) in [
        (
            r#"{"operation": "create_attribute"}"#,
            400,
            "'table' is required. 'attribute' is required",
        ),
        (
            r#"{"operation": "create_attribute", "table": "Dog", "attribute": "a/b"}"#,
            400,
            "Attribute names cannot include backticks or forward slashes",
        ),
        (
            r#"{"operation": "create_attribute", "table": "Cat", "attribute": "a"}"#,
            404,
            "Table 'data.Cat' does not exist",
        ),
        (
            r#"{"operation": "drop_attribute", "table": "Dog", "attribute": "id"}"#,
            400,
            "You cannot drop a hash attribute",
        ),
        (
            r#"{"operation": "drop_attribute", "table": "Dog", "attribute": "__createdtime__"}"#,
            400,
            "cannot drop internal timestamp attribute: __createdtime__",
        ),
        (
            r#"{"operation": "drop_attribute", "database": "system", "table": "hdb_user", "attribute": "role"}"#,
            403,
            "The 'system' database, tables and records are used internally by HarperDB and cannot be updated or removed.",
        ),
    ] {
        fixture.refuses(&admin(), request, status, message).await;
    }
    let reader = caller(
        r#"{"super_user": false, "data": {"tables": {"Dog": {"read": true, "insert": false,
            "update": false, "delete": false, "attribute_permissions": []}}}}"#,
    );
    for request in [
        r#"{"operation": "create_attribute", "table": "Dog", "attribute": "a"}"#,
        r#"{"operation": "drop_attribute", "table": "Dog", "attribute": "age"}"#,
    ] {
        assert_eq!(fixture.ask(&reader, request).await.0, 403);
    }
}

const INSERT: &str = r#"{"operation": "insert", "user_name": "ana", "user": "ana", "timestamp": 1000.5,
    "hash_values": ["a1", "a2"], "records": [{"id": "a1"}, {"id": "a2"}]}"#;
const UPDATE: &str = r#"{"operation": "update", "user_name": "ana", "user": "ana", "timestamp": 2000,
    "hash_values": ["a1"], "records": [{"qty": 1}]}"#;
const DELETE: &str = r#"{"operation": "delete", "user_name": "bob", "user": "bob", "timestamp": 3000,
    "hash_values": ["a2"]}"#;

#[tokio::test]
async fn s12_the_log_of_changes_is_read_by_time_key_and_user() {
    let fixture = Fixture::new().await;
    let of_a1 = INSERT
        .replace(r#"["a1", "a2"]"#, r#"["a1"]"#)
        .replace(r#", {"id": "a2"}"#, "");
    for (parameters, expected) in [
        ("", format!("[{INSERT}, {UPDATE}, {DELETE}]")),
        (r#", "limit": 1"#, format!("[{INSERT}]")),
        (
            r#", "search_type": "timestamp", "search_values": [2000]"#,
            format!("[{UPDATE}, {DELETE}]"),
        ),
        (
            r#", "search_type": "timestamp", "search_values": ["1000.5", 2000]"#,
            format!("[{INSERT}, {UPDATE}]"),
        ),
        (
            r#", "search_type": "hash_value", "search_values": ["a1", "zz"]"#,
            format!(r#"{{"a1": [{of_a1}, {UPDATE}], "zz": []}}"#),
        ),
        (
            r#", "search_type": "username", "search_values": ["bob"]"#,
            format!(r#"{{"bob": [{DELETE}]}}"#),
        ),
    ] {
        let request = format!(r#"{{"operation": "read_audit_log", "table": "Dog"{parameters}}}"#);
        fixture.check(&admin(), &request, 200, &expected).await;
    }
    let request =
        r#"{"operation": "read_transaction_log", "table": "Dog", "from": 1500, "to": 2500}"#;
    fixture
        .check(&admin(), request, 200, &format!("[{UPDATE}]"))
        .await;
}

#[tokio::test]
async fn s12_the_log_of_changes_has_rules() {
    let fixture = Fixture::new().await;
    let silent =
        r#"{"operation": "create_table", "table": "Silent", "primary_key": "id", "audit": false}"#;
    assert_eq!(fixture.ask(&admin(), silent).await.0, 200);
    for (request, status, message) in [
        (
            r#"{"operation": "read_audit_log", "table": "Silent"}"#,
            400,
            "To use this operation audit log must be enabled in harperdb-config.yaml",
        ),
        (
            r#"{"operation": "read_audit_log", "table": "Dog", "search_type": "color"}"#,
            400,
            "'search_type' must be one of [timestamp, hash_value, username]",
        ),
        (
            r#"{"operation": "read_audit_log", "table": "Cat"}"#,
            404,
            "Table 'data.Cat' does not exist",
        ),
        (
            r#"{"operation": "delete_audit_logs_before", "table": "Dog", "timestamp": "soon"}"#,
            400,
            "'timestamp' must be a time in milliseconds since the epoch",
        ),
    ] {
        fixture.refuses(&admin(), request, status, message).await;
    }
    for name in ["delete_audit_logs_before", "delete_transaction_logs_before"] {
        let request = format!(r#"{{"operation": "{name}", "table": "Dog", "timestamp": "2000"}}"#);
        let job = fixture.job(&admin(), &request).await;
        let id = job.get("id").and_then(Value::as_str).unwrap();
        let message = format!("Successfully completed job: {id}");
        assert_eq!(job.get("message"), Some(&Value::from(message)));
        assert_eq!(job.get("result"), Some(&value(r#"{"entries_deleted": 2}"#)));
    }
}

#[tokio::test]
async fn s12_logs_are_read_with_filters() {
    let fixture = Fixture::new().await;
    let error = r#"{"level": "error", "message": "broke\nat once", "timestamp": "2025-07-02T18:05:33.101Z",
        "thread": "http/3", "tags": ["auth-event"]}"#;
    let notify = r#"{"level": "notify", "message": "started", "timestamp": "2025-07-02T18:05:30.000Z",
        "thread": "main/0", "tags": []}"#;
    for (parameters, expected) in [
        ("", format!("[{notify}, {error}]")),
        (r#", "order": "desc""#, format!("[{error}, {notify}]")),
        (r#", "level": "error""#, format!("[{error}]")),
        (
            r#", "start": 1, "limit": 5, "log_name": "hdb.log""#,
            format!("[{error}]"),
        ),
        (r#", "from": "2025-07-02T18:05:31Z""#, format!("[{error}]")),
        (r#", "to": "2025-07-02T18:05:31Z""#, format!("[{notify}]")),
        (r#", "until": 1751479531000"#, format!("[{notify}]")),
        (r#", "filter": "broke""#, format!("[{error}]")),
    ] {
        let request = format!(r#"{{"operation": "read_log"{parameters}}}"#);
        fixture.check(&admin(), &request, 200, &expected).await;
    }
    for (parameters, status, message) in [
        (
            r#""log_name": "../hdb.log""#,
            404,
            "There is no log '../hdb.log'",
        ),
        (
            r#""level": "loud", "order": "up", "limit": 0, "from": "then""#,
            400,
            "'level' must be one of [notify, fatal, error, warn, info, debug, trace]. \
             'order' must be one of [asc, desc]. 'from' must be a valid date. \
             'limit' must be greater than or equal to 1",
        ),
    ] {
        let request = format!(r#"{{"operation": "read_log", {parameters}}}"#);
        fixture.refuses(&admin(), &request, status, message).await;
    }
}

#[tokio::test]
async fn s11_settings_are_read_and_changed() {
    let fixture = Fixture::new().await;
    let set = r#"{"operation": "set_configuration", "logging_level": "info", "http_port": 9930}"#;
    let message = "Configuration successfully set. You must restart HarperDB for new config settings to take effect.";
    fixture.says(&admin(), set, message).await;
    let get = r#"{"operation": "get_configuration"}"#;
    let expected = r#"{"logging_level": "info", "http_port": 9930}"#;
    fixture.check(&admin(), get, 200, expected).await;
    let wrong = r#"{"operation": "set_configuration", "http_cors": "spinach"}"#;
    let message = "HarperDB config file validation error: 'http.cors' must be a boolean";
    fixture.refuses(&admin(), wrong, 400, message).await;
    let empty = r#"{"operation": "set_configuration"}"#;
    fixture
        .refuses(&admin(), empty, 400, "at least one setting is required")
        .await;
}

#[tokio::test]
async fn s13_a_restart_is_answered_first_and_closes_the_connection() {
    let fixture = Fixture::new().await;
    let request = |version, body: &str| {
        http::Request::post("/")
            .version(version)
            .header("content-type", "application/json")
            .extension(admin())
            .body(Body::from(body.to_owned()))
            .unwrap()
    };
    let restart = r#"{"operation": "restart"}"#;
    let response = fixture.send(request(http::Version::HTTP_11, restart)).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["connection"], "close");
    let body = crate::fixture::text(response).await;
    assert_eq!(
        value(&body),
        value(r#"{"message": "Restarting HarperDB. This may take up to 60 seconds."}"#)
    );
    assert_eq!(fixture.process.0.load(Ordering::SeqCst), 1);
    // HTTP/2 has no such field.
    let response = fixture.send(request(http::Version::HTTP_2, restart)).await;
    assert!(!response.headers().contains_key("connection"));

    let service = r#"{"operation": "restart_service", "service": "http_workers"}"#;
    let (status, answer) = fixture.ask(&admin(), service).await;
    assert_eq!(status, 200, "{answer}");
    let answer = value(&answer);
    let answer = answer.as_map().unwrap();
    assert_eq!(
        answer.get("message"),
        Some(&Value::from("Restarting http_workers"))
    );
    let job = fixture
        .ended(answer.get("job_id").and_then(Value::as_str).unwrap())
        .await;
    assert_eq!(job.get("status"), Some(&Value::from("COMPLETE")));
    while fixture.process.0.load(Ordering::SeqCst) < 3 {
        tokio::task::yield_now().await;
    }
    let unknown = r#"{"operation": "restart_service", "service": "kettle"}"#;
    fixture
        .refuses(&admin(), unknown, 400, "Invalid service")
        .await;
}

#[tokio::test]
async fn s13_a_status_is_set_read_and_cleared() {
    let fixture = Fixture::new().await;
    let set = r#"{"operation": "set_status", "status": "draining"}"#;
    let (status, answer) = fixture.ask(&admin(), set).await;
    assert_eq!(status, 200, "{answer}");
    let record = value(&answer);
    assert_eq!(
        record.as_map().unwrap().get("id"),
        Some(&Value::from("primary"))
    );
    assert_eq!(
        record.as_map().unwrap().get("status"),
        Some(&Value::from("draining"))
    );
    let one = r#"{"operation": "get_status", "id": "primary"}"#;
    fixture.check(&admin(), one, 200, &answer).await;
    let all = r#"{"operation": "get_status"}"#;
    let components = r#"[{"name": "shop", "status": "healthy"}]"#;
    let expected = format!(
        r#"{{"systemStatus": [{answer}], "componentStatus": {components}, "restartRequired": false}}"#
    );
    fixture.check(&admin(), all, 200, &expected).await;
    fixture
        .says(
            &admin(),
            r#"{"operation": "clear_status"}"#,
            "Status successfully cleared",
        )
        .await;
    let expected = format!(
        r#"{{"systemStatus": [], "componentStatus": {components}, "restartRequired": false}}"#
    );
    fixture.check(&admin(), all, 200, &expected).await;
    let long = format!(
        r#"{{"operation": "set_status", "status": "{}"}}"#,
        "x".repeat(513)
    );
    for (request, status, message) in [
        (one, 404, "There is no status 'primary'"),
        (
            r#"{"operation": "set_status", "id": "availability", "status": "maybe"}"#,
            400,
            "Status \"availability\" only accepts these values: Available, Unavailable",
        ),
        (
            r#"{"operation": "set_status", "id": "mood"}"#,
            400,
            "'id' must be one of [primary, maintenance, availability]. 'status' is required",
        ),
        (
            &long,
            400,
            "'status' length must be less than or equal to 512 characters long",
        ),
    ] {
        fixture.refuses(&admin(), request, status, message).await;
    }
}

#[tokio::test]
async fn s3_3_denials_name_the_function() {
    let fixture = Fixture::new().await;
    let clerk = caller(r#"{"super_user": false}"#);
    for (operation, shown) in [
        ("read_audit_log", "readAuditLog"),
        ("delete_audit_logs_before", "deleteAuditLogsBefore"),
        ("delete_files_before", "deleteFilesBefore"),
        ("read_log", "readLog"),
        ("get_configuration", "getConfiguration"),
        ("set_configuration", "setConfiguration"),
        ("restart", "restart"),
        ("restart_service", "restartService"),
        ("set_status", "setStatus"),
        ("search_jobs_by_start_date", "handleGetJobsByStartDate"),
        ("drop_attribute", "dropAttribute"),
    ] {
        let (status, answer) = fixture
            .ask(&clerk, &format!(r#"{{"operation": "{operation}"}}"#))
            .await;
        assert_eq!(status, 403, "{operation}");
        let text = format!("Operation '{shown}' is restricted to 'super_user' roles");
        assert!(answer.contains(&text), "{operation}: {answer}");
    }
}

/// A log with two entries, one of them in two lines.
pub(crate) fn log_directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let text = "2025-07-02T18:05:30.000Z [main/0] [notify]: started\n\
                2025-07-02T18:05:33.101Z [http/3] [error] [auth-event]: broke\nat once\n";
    std::fs::write(directory.path().join("hdb.log"), text).unwrap();
    directory
}

/// Everything that a fixture needs from here.
pub(crate) fn settings() -> Arc<Settings> {
    Arc::default()
}
