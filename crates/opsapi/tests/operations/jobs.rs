//! §8: jobs, bulk loads, exports and deletions by age.

use std::convert::Infallible;
use std::fs;
use std::sync::Arc;

use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use opsapi::{JobLimits, Jobs};
use resource::{Catalog, Context, Key, Map, Target, Value, Write, WriteKind, json};
use tokio::net::TcpListener;

use crate::fixture::{Fixture, admin, caller, value};
use crate::memory::MemoryCatalog;

fn body(members: &[(&str, &str)]) -> String {
    let members = members
        .iter()
        .map(|(name, text)| (*name, Value::from(*text)));
    String::from_utf8(json::to_vec(&Value::Map(members.collect()))).unwrap()
}

#[tokio::test]
async fn s8_a_load_answers_at_once_and_its_job_tells_the_result() {
    let fixture = Fixture::new().await;
    let load = body(&[
        ("operation", "csv_data_load"),
        ("table", "Dog"),
        (
            "data",
            "id,name,age\n4,Bo,2\n5,Kit,\"{\"\"years\"\": 1}\"\n1,Rex,9\n",
        ),
    ]);
    let job = fixture.job(&admin(), &load).await;
    let number = |name: &str| job.get(name).and_then(Value::as_i64).unwrap();
    assert!(number("created_datetime") <= number("start_datetime"));
    assert!(number("start_datetime") <= number("end_datetime"));
    assert_eq!(job.get("type"), Some(&Value::from("csv_data_load")));
    assert_eq!(job.get("user"), Some(&Value::from("admin")));
    assert_eq!(job.get("status"), Some(&Value::from("COMPLETE")));
    // Record 1 exists and is skipped.
    let message = Value::from("successfully loaded 2 of 2 records");
    assert_eq!(job.get("message"), Some(&message));
    assert_eq!(
        job.get("progress"),
        Some(&value(r#"{"done": 3, "total": 3}"#))
    );
    assert!(!job.contains_key("request"));
    let search = r#"{"operation": "search_by_id", "table": "Dog", "ids": [1, 4, 5],
        "get_attributes": ["name", "age"]}"#;
    let expected = r#"[{"name": "Rex", "age": 3}, {"name": "Bo", "age": 2},
        {"name": "Kit", "age": {"years": 1}}]"#;
    fixture.check(&admin(), search, 200, expected).await;
}

#[tokio::test]
async fn s8_the_action_decides_what_happens_to_existing_records() {
    let fixture = Fixture::new().await;
    let rows = ("data", "id,name\n1,Rexy\n9,New\n");
    for (action, loaded, expected) in [
        ("update", 1, r#"[{"name": "Rexy"}]"#),
        ("upsert", 2, r#"[{"name": "Rexy"}, {"name": "New"}]"#),
    ] {
        let load = body(&[
            ("operation", "csv_data_load"),
            ("table", "Dog"),
            ("action", action),
            rows,
        ]);
        let message = format!("successfully loaded {loaded} of {loaded} records");
        fixture.completes(&admin(), &load, &message).await;
        let search = r#"{"operation": "search_by_id", "table": "Dog", "ids": [1, 9],
            "get_attributes": ["name"]}"#;
        fixture.check(&admin(), search, 200, expected).await;
    }
}

#[tokio::test]
async fn s8_a_bad_row_stops_a_load_before_the_first_write() {
    let fixture = Fixture::new().await;
    for (data, message) in [
        (
            "id,na/me\n8,x\n",
            "Invalid column name 'na/me', cancelling load operation",
        ),
        (
            "id,sku,qty\nb1,S-9,1\nb2,S-10,many\n",
            "Invalid value for attribute qty: \"many\", expecting Int",
        ),
    ] {
        let load = body(&[
            ("operation", "csv_data_load"),
            ("database", "inventory"),
            ("table", "Item"),
            ("data", data),
        ]);
        fixture.fails(&admin(), &load, message).await;
    }
    let load = body(&[
        ("operation", "csv_data_load"),
        ("table", "Dog"),
        ("data", "id,name\n"),
    ]);
    let message = "No records parsed from csv file.";
    fixture.completes(&admin(), &load, message).await;
    let search = r#"{"operation": "search_by_id", "database": "inventory", "table": "Item",
        "ids": ["b1"], "get_attributes": ["id"]}"#;
    fixture.check(&admin(), search, 200, "[]").await;
}

#[tokio::test]
async fn s8_parameters_are_checked_before_a_job_is_made() {
    let fixture = Fixture::new().await;
    for (request, status, message) in [
        (
            r#"{"operation": "csv_data_load"}"#,
            400,
            "'table' is required. 'data' is required",
        ),
        (
            r#"{"operation": "csv_data_load", "table": "Dog", "data": "id\n1", "action": "put"}"#,
            400,
            "'action' must be one of [insert, update, upsert]",
        ),
        (
            r#"{"operation": "csv_data_load", "table": "Cat", "data": "id\n1"}"#,
            400,
            "Table 'data.Cat' does not exist",
        ),
        (
            r#"{"operation": "csv_file_load", "table": "Dog", "file_path": "/no/such/file.csv"}"#,
            400,
            "No such file or directory /no/such/file.csv",
        ),
        (
            r#"{"operation": "csv_file_load", "table": "Dog", "file_path": "/"}"#,
            400,
            "/ is not a file",
        ),
        (
            r#"{"operation": "csv_url_load", "table": "Dog", "csv_url": "file:///etc/passwd"}"#,
            400,
            "'csv_url' must be a valid url",
        ),
        (
            r#"{"operation": "export_local", "format": "xml", "path": "/tmp", "filename": "../x"}"#,
            400,
            "'format' must be one of [json, csv]. 'filename' must be a name without a directory. \
             'search_operation' is required",
        ),
        (
            r#"{"operation": "delete_records_before", "table": "Dog", "date": "yesterday"}"#,
            400,
            "'date' must be in ISO 8601 date format",
        ),
        (r#"{"operation": "get_job"}"#, 400, "'id' is required"),
        (
            r#"{"operation": "search_jobs_by_start_date", "from_date": "x"}"#,
            400,
            "'from_date' must be in ISO 8601 date format. 'to_date' is required",
        ),
    ] {
        fixture.refuses(&admin(), request, status, message).await;
    }
    let all = r#"{"operation": "search_jobs_by_start_date", "from_date": "2000-01-01", "to_date": "2100-01-01"}"#;
    fixture.check(&admin(), all, 200, "[]").await;
    let unknown = r#"{"operation": "get_job", "id": "none"}"#;
    fixture.check(&admin(), unknown, 200, "[]").await;
}

#[tokio::test]
async fn s3_2_a_load_needs_the_permission_of_its_action() {
    let fixture = Fixture::new().await;
    let clerk = caller(
        r#"{"super_user": false, "data": {"tables": {"Dog": {"read": true, "insert": true,
            "update": false, "delete": false, "attribute_permissions": [
                {"attribute_name": "name", "read": true, "insert": true, "update": false}]}}}}"#,
    );
    let load = |action, data| {
        body(&[
            ("operation", "csv_data_load"),
            ("table", "Dog"),
            ("action", action),
            ("data", data),
        ])
    };
    let message = "successfully loaded 1 of 1 records";
    fixture
        .completes(&clerk, &load("insert", "id,name\n20,Bo\n"), message)
        .await;
    let (status, _) = fixture
        .ask(&clerk, &load("upsert", "id,name\n20,Bo\n"))
        .await;
    assert_eq!(status, 403);
    // Attributes are known when the job has read the header: the message is the permission object.
    let job = fixture.job(&clerk, &load("insert", "id,age\n21,3\n")).await;
    let object = job.get("message").and_then(Value::as_map).unwrap();
    let items = value(r#"["Attribute 'age' does not exist on 'data.Dog'"]"#);
    assert_eq!(object.get("invalid_schema_items"), Some(&items));
    let export =
        r#"{"operation": "export_local", "format": "csv", "path": "/tmp", "search_operation": {}}"#;
    let (status, answer) = fixture.ask(&clerk, export).await;
    assert_eq!(status, 403, "{answer}");
    assert!(answer.contains("Operation 'export_local' is restricted to 'super_user' roles"));
}

#[tokio::test]
async fn s8_files_are_loaded_and_exported() {
    let fixture = Fixture::new().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("dogs.csv");
    let rows: String = (100..2600).map(|id| format!("{id},d{id}\n")).collect();
    fs::write(&path, format!("id,name\n{rows}")).unwrap();
    let load = body(&[
        ("operation", "csv_file_load"),
        ("table", "Dog"),
        ("file_path", path.to_str().unwrap()),
    ]);
    let message = "successfully loaded 2500 of 2500 records";
    fixture.completes(&admin(), &load, message).await;

    for (format, shown) in [("json", "JSON"), ("csv", "CSV")] {
        let export = format!(
            r#"{{"operation": "export_local", "format": "{format}", "path": {:?}, "filename": "x.json",
                "search_operation": {{"operation": "search_by_value", "table": "Dog", "attribute": "id",
                "value": "*", "get_attributes": ["id", "name"]}}}}"#,
            directory.path().display().to_string()
        );
        let job = fixture.job(&admin(), &export).await;
        let id = job.get("id").and_then(Value::as_str).unwrap();
        let message = format!("Successfully completed job: {id}");
        assert_eq!(job.get("message"), Some(&Value::from(message)), "{job:?}");
        let result = job.get("result").and_then(Value::as_map).unwrap();
        let message = format!("Successfully exported {shown} locally.");
        assert_eq!(result.get("message"), Some(&Value::from(message)));
        let written =
            fs::read_to_string(directory.path().join(format!("x.json.{format}"))).unwrap();
        match format {
            "json" => assert_eq!(value(&written).as_array().unwrap().len(), 2503),
            _ => assert_eq!(written.lines().count(), 2504),
        }
    }
    // Nothing unfinished is left behind.
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3);
}

#[tokio::test]
async fn s8_an_export_that_fails_leaves_no_file() {
    let fixture = Fixture::new().await;
    let directory = tempfile::tempdir().unwrap();
    let export = |search: &str| {
        format!(
            r#"{{"operation": "export_local", "format": "json", "path": {:?}, "search_operation": {search}}}"#,
            directory.path().display().to_string()
        )
    };
    let missing =
        export(r#"{"operation": "search_by_value", "table": "Cat", "attribute": "a", "value": 1}"#);
    fixture
        .fails(&admin(), &missing, "Table 'data.Cat' does not exist")
        .await;
    let sql = export(r#"{"operation": "sql", "sql": "SELECT 1"}"#);
    fixture
        .fails(
            &admin(),
            &sql,
            "Operation 'sql' is not available in this build",
        )
        .await;
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

/// Answers every request with this type and body, and with the field `x-token` of the request.
fn serve(content_type: &'static str, body: &'static str) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let server = async move {
        let listener = TcpListener::from_std(listener).unwrap();
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let answer = service_fn(move |request: Request<hyper::body::Incoming>| async move {
                let is_known = request
                    .headers()
                    .get("x-token")
                    .is_some_and(|t| t == "secret");
                let status = if is_known { 200 } else { 403 };
                let response = Response::builder().status(status);
                let response = response.header("content-type", content_type);
                Ok::<_, Infallible>(response.body(Full::new(bytes::Bytes::from(body))).unwrap())
            });
            let served = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(socket), answer);
            drop(served.await);
        }
    };
    let thread = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(server)
    };
    std::thread::spawn(thread);
    format!("http://{address}/dogs.csv")
}

#[tokio::test]
async fn s8_urls_are_loaded() {
    let fixture = Fixture::new().await;
    let url = serve("text/csv; charset=utf-8", "id,name\n30,Ada\n31,Bob\n");
    let load = |url: &str, token: &str| {
        format!(
            r#"{{"operation": "csv_url_load", "table": "Dog", "csv_url": "{url}",
                "passthrough_headers": {{"x-token": "{token}"}}}}"#
        )
    };
    let message = "successfully loaded 2 of 2 records";
    fixture
        .completes(&admin(), &load(&url, "secret"), message)
        .await;
    let message = format!("cannot load {url}: the answer is 403 Forbidden");
    fixture
        .fails(&admin(), &load(&url, "wrong"), &message)
        .await;
    let url = serve("text/html", "<p>");
    let message = format!(
        "cannot load {url}: the type 'text/html' is none of text/csv, application/octet-stream, \
         text/plain, application/vnd.ms-excel"
    );
    fixture
        .fails(&admin(), &load(&url, "secret"), &message)
        .await;
}

#[tokio::test]
async fn s8_records_before_a_date_are_deleted() {
    let fixture = Fixture::new().await;
    let table = r#"{"operation": "create_table", "table": "Old", "primary_key": "id"}"#;
    let message = "table 'data.Old' successfully created.";
    fixture.says(&admin(), table, message).await;
    let insert = r#"{"operation": "insert", "table": "Old", "records": [
        {"id": 1, "__createdtime__": 1000}, {"id": 2, "__createdtime__": 2000}, {"id": 3, "__createdtime__": 3000}]}"#;
    let (status, _) = fixture.ask(&admin(), insert).await;
    assert_eq!(status, 200);
    let delete = |date: &str| {
        format!(r#"{{"operation": "delete_files_before", "table": "Old", "date": "{date}"}}"#)
    };
    fixture
        .completes(
            &admin(),
            &delete("1970-01-01T00:00:03Z"),
            "2 of 2 records successfully deleted",
        )
        .await;
    fixture
        .completes(
            &admin(),
            &delete("1970-01-01T00:00:03Z"),
            "No records found to delete",
        )
        .await;
    fixture
        .completes(
            &admin(),
            &delete("2100-01-01"),
            "1 of 1 record successfully deleted",
        )
        .await;
    let declared = r#"{"operation": "delete_records_before", "database": "inventory", "table": "Item",
        "date": "2020-01-01"}"#;
    fixture
        .refuses(
            &admin(),
            declared,
            400,
            "Table 'inventory.Item' has no attribute with the created time",
        )
        .await;
}

#[tokio::test]
async fn s8_jobs_are_found_by_their_start() {
    let fixture = Fixture::new().await;
    let load = body(&[
        ("operation", "csv_data_load"),
        ("table", "Dog"),
        ("data", "id\n77\n"),
    ]);
    let job = fixture.job(&admin(), &load).await;
    let search = r#"{"operation": "search_jobs_by_start_date", "from_date": "2000-01-01", "to_date": "2100-01-01"}"#;
    let (status, answer) = fixture.ask(&admin(), search).await;
    assert_eq!(status, 200, "{answer}");
    let found = value(&answer);
    let found = found.as_array().unwrap()[0].as_map().unwrap();
    assert_eq!(found.get("id"), job.get("id"));
    let text = found
        .get("start_datetime_converted")
        .and_then(Value::as_str);
    let date = resource::Date::parse(text.unwrap()).unwrap();
    let start = job.get("start_datetime").and_then(Value::as_i64);
    assert_eq!(Some(date.as_millis()), start);
    assert!(found.contains_key("end_datetime_converted"));
    let past = r#"{"operation": "search_jobs_by_start_date", "from_date": "2000-01-01", "to_date": "2001-01-01"}"#;
    fixture.check(&admin(), past, 200, "[]").await;
}

#[tokio::test]
async fn s8_jobs_that_a_restart_interrupted_are_reported_as_failed() {
    let memory = Arc::new(MemoryCatalog::default());
    let catalog = Arc::clone(&memory) as Arc<dyn Catalog>;
    let jobs = Jobs::start(&catalog, JobLimits::default()).unwrap();
    let table = loop {
        match catalog.table("system", "hdb_job") {
            Ok(table) => break table,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    let row = |id: &str, status: &str| {
        let row = Map::from_iter([
            ("id", Value::from(id)),
            ("status", Value::from(status)),
            ("created_datetime", Value::Int(1_700_000_000_000)),
        ]);
        Write::new(Some(Key::from(id)), WriteKind::Put, Some(Value::Map(row)))
    };
    let rows = vec![
        row("a", "IN_PROGRESS"),
        row("b", "COMPLETE"),
        row("c", "CREATED"),
    ];
    drop(jobs);
    table.write(rows, &Context::internal()).await.unwrap();
    let fixture = Fixture::on(memory, JobLimits::default()).await;
    for id in ["a", "c"] {
        let job = fixture.ended(id).await;
        assert_eq!(job.get("status"), Some(&Value::from("ERROR")), "{id}");
        let message = "The job was interrupted by a restart of the server";
        assert_eq!(job.get("message"), Some(&Value::from(message)));
    }
    let target = Target::record(Key::from("b"));
    let complete = table.get(&target, &Context::internal()).await.unwrap();
    let status = complete.unwrap().body.attribute("status");
    assert_eq!(status, Some(Value::from("COMPLETE")));
}

#[tokio::test]
async fn one_job_more_than_may_wait_is_refused() {
    let limits = JobLimits {
        running: 1,
        waiting: 1,
        ..JobLimits::default()
    };
    let fixture = Fixture::with_jobs(limits).await;
    // A server that accepts and never answers keeps the only running job.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/x.csv", listener.local_addr().unwrap());
    let load = format!(r#"{{"operation": "csv_url_load", "table": "Dog", "csv_url": "{url}"}}"#);
    let (status, answer) = fixture.ask(&admin(), &load).await;
    assert_eq!(status, 200, "{answer}");
    let connection = listener.accept().await.unwrap();
    // Now it runs. Another one waits in the queue.
    let (status, answer) = fixture.ask(&admin(), &load).await;
    assert_eq!(status, 200, "{answer}");
    let message = "Too many jobs are waiting, please try again later";
    fixture.refuses(&admin(), &load, 503, message).await;
    drop(connection);
}
