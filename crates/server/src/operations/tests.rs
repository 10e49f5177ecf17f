//! Operations on a real store: what databases in memory cannot show.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use auth::{AuthConfig, Directory};
use http_chain::{Body, Chain, Stage};
use opsapi::{BulkLimits, JobLimits, Jobs, Operations, OpsConfig};
use resource::{Caller, Catalog, Hub, Map, Value, json};
use store::{Store, StoreConfig};
use tempfile::TempDir;

use super::backups::StoreBackups;
use super::structure::StoreStructure;

struct Server {
    chain: Chain,
    store: Arc<Store>,
    root: TempDir,
}

impl Server {
    async fn new() -> Self {
        Self::on(tempfile::tempdir().unwrap()).await
    }

    async fn on(root: TempDir) -> Self {
        let store = Store::open(StoreConfig::new(root.path().join("database")), Hub::new(1));
        let store = store.unwrap();
        let tables = vec![auth::tables::user_table(), auth::tables::role_table()];
        let tables = store.ensure(tables).await.unwrap();
        let [users, roles] = tables.try_into().ok().unwrap();
        let directory = Directory::load(users, roles, AuthConfig::default()).await;
        let catalog = Arc::clone(&store) as Arc<dyn Catalog>;
        let jobs = Jobs::start(&catalog, JobLimits::default()).unwrap();
        let operations = Operations::new(catalog, OpsConfig::default())
            .with_directory(directory.unwrap())
            .with_jobs(&jobs, &BulkLimits::default())
            .with_structure(Arc::new(StoreStructure::new(&store)))
            .with_backups(
                Arc::new(StoreBackups(Arc::clone(&store))),
                root.path().join("backup"),
                &jobs,
            );
        Self {
            chain: Chain::new([("operations", Stage::handler(operations))]),
            store,
            root,
        }
    }

    async fn ask(&self, body: &str) -> (u16, Value) {
        let request = http::Request::post("/")
            .header("content-type", "application/json")
            .extension(Caller::internal("admin"))
            .body(Body::from(body.to_owned()))
            .unwrap();
        let response = self.chain.answer(request.into()).await;
        let status = response.status().as_u16();
        let bytes = response.into_body().collect(100_000_000).await.unwrap();
        (status, json::from_slice(&bytes).unwrap())
    }

    async fn done(&self, body: &str) -> Map {
        let (status, answer) = self.ask(body).await;
        assert_eq!(status, 200, "{body} -> {answer:?}");
        match answer {
            Value::Map(map) => map,
            other => Map::from_iter([("rows", other)]),
        }
    }

    async fn job(&self, body: &str) -> Map {
        let answer = self.done(body).await;
        self.ended(answer.get("job_id").and_then(Value::as_str).unwrap())
            .await
    }

    async fn ended(&self, id: &str) -> Map {
        let question = format!(r#"{{"operation": "get_job", "id": "{id}"}}"#);
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let rows = self.done(&question).await;
            let row = rows.get("rows").and_then(Value::as_array).unwrap()[0].clone();
            let row = row.as_map().unwrap().clone();
            if row.contains_key("end_datetime") {
                return row;
            }
            assert!(Instant::now() < deadline, "{row:?}");
            tokio::task::yield_now().await;
        }
    }
}

fn message(row: &Map) -> &str {
    row.get("message").and_then(Value::as_str).unwrap()
}

const DOGS: &str = r#"{"operation": "create_table", "table": "Dog", "primary_key": "id"}"#;

fn load(rows: usize) -> String {
    let mut data = String::from("id,name,age\n");
    for id in 0..rows {
        writeln!(data, "{id},dog {id},{}", id % 20).unwrap();
    }
    let request = Map::from_iter([
        ("operation", Value::from("csv_data_load")),
        ("table", Value::from("Dog")),
        ("data", Value::from(data)),
    ]);
    String::from_utf8(json::to_vec(&Value::Map(request))).unwrap()
}

#[tokio::test]
async fn s8_a_long_load_leaves_reads_and_writes_responsive() {
    let server = Server::new().await;
    server.done(DOGS).await;
    let answer = server.done(&load(20_000)).await;
    let id = answer
        .get("job_id")
        .and_then(Value::as_str)
        .unwrap()
        .to_owned();
    // Others are served while it runs.
    let insert =
        r#"{"operation": "insert", "table": "Dog", "records": [{"id": "other", "name": "x"}]}"#;
    let inserted = server.done(insert).await;
    assert_eq!(message(&inserted), "inserted 1 of 1 records");
    let question = format!(r#"{{"operation": "get_job", "id": "{id}"}}"#);
    let rows = server.done(&question).await;
    let row = rows.get("rows").and_then(Value::as_array).unwrap()[0].clone();
    let running = row.as_map().unwrap().get("end_datetime").is_none();
    assert!(running, "the load ended before anybody could look: {row:?}");
    let row = server.ended(&id).await;
    assert_eq!(message(&row), "successfully loaded 20000 of 20000 records");
    let search = r#"{"operation": "search_by_id", "table": "Dog", "ids": [19999], "get_attributes": ["name", "age"]}"#;
    let (_, found) = server.ask(search).await;
    assert_eq!(json::to_vec(&found), br#"[{"name":"dog 19999","age":19}]"#);
}

#[tokio::test]
async fn s8_jobs_that_a_stop_interrupts_are_failed_after_the_next_start() {
    let server = Server::new().await;
    server.done(DOGS).await;
    let answer = server.done(&load(20_000)).await;
    let id = answer
        .get("job_id")
        .and_then(Value::as_str)
        .unwrap()
        .to_owned();
    let Server { chain, store, root } = server;
    // Jobs let go of the store when they are told to, or the files could not be opened again.
    drop(chain);
    assert_eq!(Arc::strong_count(&store), 1);
    drop(store);
    let server = Server::on(root).await;
    let row = server.ended(&id).await;
    assert_eq!(row.get("status"), Some(&Value::from("ERROR")));
    assert_eq!(
        message(&row),
        "The job was interrupted by a restart of the server"
    );
}

#[tokio::test]
async fn s4_an_attribute_of_a_dynamic_table_is_gone_from_definition_and_records() {
    let server = Server::new().await;
    server.done(DOGS).await;
    let insert = r#"{"operation": "insert", "table": "Dog", "records": [
        {"id": 1, "name": "Rex", "age": 3}, {"id": 2, "name": "Max"}]}"#;
    server.done(insert).await;
    let create = r#"{"operation": "create_attribute", "table": "Dog", "attribute": "color"}"#;
    let created = server.done(create).await;
    assert_eq!(
        message(&created),
        "attribute 'data.Dog.color' successfully created."
    );
    assert_eq!(server.ask(create).await.0, 400);
    let drop = r#"{"operation": "drop_attribute", "table": "Dog", "attribute": "age"}"#;
    server.done(drop).await;
    let definition = server.store.table("data", "Dog").unwrap().table().unwrap();
    assert!(!definition.schema_defined, "it is still dynamic");
    assert!(definition.attribute("age").is_none() && definition.attribute("color").is_some());
    let search =
        r#"{"operation": "search_by_value", "table": "Dog", "attribute": "id", "value": "*"}"#;
    let (_, found) = server.ask(search).await;
    let found = String::from_utf8(json::to_vec(&found)).unwrap();
    assert!(found.contains("Rex") && !found.contains("age"), "{found}");
    // A new value makes the attribute anew.
    let insert = r#"{"operation": "insert", "table": "Dog", "records": [{"id": 3, "age": 9}]}"#;
    server.done(insert).await;
    let definition = server.store.table("data", "Dog").unwrap().table().unwrap();
    assert!(definition.attribute("age").is_some());
}

#[tokio::test]
async fn s8_records_before_a_date_are_deleted_in_every_form_of_the_time() {
    let server = Server::new().await;
    server.done(DOGS).await;
    let declared =
        "type Item @table(database: \"data\") { id: ID @primaryKey, made: Date @createdTime }";
    let schema = store::schema::parse(declared, "item.graphql").unwrap();
    server.store.ensure(schema.tables).await.unwrap();
    for table in ["Dog", "Item"] {
        let insert = format!(
            r#"{{"operation": "insert", "table": "{table}", "records": [{{"id": "1"}}, {{"id": "2"}}]}}"#
        );
        server.done(&insert).await;
        let delete = |date: &str| {
            format!(
                r#"{{"operation": "delete_records_before", "table": "{table}", "date": "{date}"}}"#
            )
        };
        let row = server.job(&delete("2001-01-01")).await;
        assert_eq!(message(&row), "No records found to delete", "{table}");
        let row = server.job(&delete("2200-01-01")).await;
        assert_eq!(
            message(&row),
            "2 of 2 records successfully deleted",
            "{table}"
        );
    }
}

#[tokio::test]
async fn s20_a_backup_is_verified_and_can_be_opened() {
    let server = Server::new().await;
    server.done(DOGS).await;
    server
        .done(r#"{"operation": "insert", "table": "Dog", "records": [{"id": 1, "name": "Rex"}]}"#)
        .await;
    let row = server.job(r#"{"operation": "create_backup"}"#).await;
    let result = row.get("result").and_then(Value::as_map).unwrap();
    let id = result.get("backup_id").and_then(Value::as_str).unwrap();
    let verify = format!(r#"{{"operation": "verify_backup", "backup_id": "{id}"}}"#);
    let row = server.job(&verify).await;
    assert_eq!(message(&row), "The backup is complete and undamaged");
    let directory = server.root.path().join("backup").join(id);
    let copy = Store::open(StoreConfig::new(&directory), Hub::new(1)).unwrap();
    assert_eq!(copy.databases(), ["data"]);
    drop(copy);
    // A page that was overwritten is found.
    let file = directory.join("data.mdb");
    let mut bytes = std::fs::read(&file).unwrap();
    let at = bytes.windows(3).position(|bytes| bytes == b"Rex").unwrap();
    bytes[at] = b'Q';
    std::fs::write(&file, bytes).unwrap();
    let row = server.job(&verify).await;
    assert_eq!(row.get("status"), Some(&Value::from("ERROR")), "{row:?}");
}
