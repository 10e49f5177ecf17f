//! A chain with the operations, some data, and callers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use auth::{AuthConfig, Directory};
use base::WorkerId;
use http_chain::{Body, Chain, Request, Response, Stage};
use opsapi::{BulkLimits, ComponentsConfig, JobLimits, Jobs, Lifecycle, Operations, OpsConfig};
use resource::{Caller, Catalog, Context, Map, Protocol, User, Value, json};
use tempfile::TempDir;

use crate::backup::Copies;
use crate::memory::MemoryCatalog;
use crate::services::{Files, Past, Process, log_directory, settings};

pub(crate) struct Fixture {
    pub(crate) chain: Chain,
    pub(crate) directory: Arc<Directory>,
    pub(crate) process: Arc<Process>,
    pub(crate) components: TempDir,
    pub(crate) backups: TempDir,
}

/// `inventory.Item` is declared, `data.Dog` is dynamic, `empty` has no tables.
const DATA: [&str; 5] = [
    r#"{"operation": "create_database", "database": "empty"}"#,
    r#"{"operation": "create_table", "database": "inventory", "table": "Item", "attributes": [
        {"name": "id", "type": "ID", "is_primary_key": true},
        {"name": "sku", "type": "String", "indexed": true, "nullable": false},
        {"name": "qty", "type": "Int"},
        {"name": "tags", "type": "array", "elements": "String"}]}"#,
    r#"{"operation": "insert", "database": "inventory", "table": "Item", "records": [
        {"id": "a1", "sku": "S-1", "qty": 3}, {"id": "a2", "sku": "S-2", "extra": true}]}"#,
    r#"{"operation": "create_table", "table": "Dog", "primary_key": "id"}"#,
    r#"{"operation": "insert", "table": "Dog", "records": [
        {"id": 1, "name": "Rex", "age": 3}, {"id": 2, "name": "Max", "age": 5},
        {"id": 3, "name": "Roxy", "age": 3, "note": "*star"}]}"#,
];

impl Fixture {
    pub(crate) async fn new() -> Self {
        Self::with(OpsConfig::default()).await
    }

    pub(crate) async fn with(config: OpsConfig) -> Self {
        Self::build(
            Arc::new(MemoryCatalog::default()),
            config,
            JobLimits::default(),
        )
        .await
    }

    pub(crate) async fn with_jobs(limits: JobLimits) -> Self {
        Self::build(
            Arc::new(MemoryCatalog::default()),
            OpsConfig::default(),
            limits,
        )
        .await
    }

    /// On a catalog that may have content of its own.
    pub(crate) async fn on(catalog: Arc<MemoryCatalog>, limits: JobLimits) -> Self {
        Self::build(catalog, OpsConfig::default(), limits).await
    }

    async fn build(memory: Arc<MemoryCatalog>, config: OpsConfig, limits: JobLimits) -> Self {
        let catalog = Arc::clone(&memory) as Arc<dyn Catalog>;
        let users = catalog
            .create_table(auth::tables::user_table())
            .await
            .unwrap();
        let roles = catalog
            .create_table(auth::tables::role_table())
            .await
            .unwrap();
        let directory = Directory::load(users, roles, AuthConfig::default())
            .await
            .unwrap();
        directory
            .ensure_administrator("admin", Some("root"))
            .await
            .unwrap();
        let jobs = Jobs::start(&catalog, limits).unwrap();
        let process = Arc::new(Process::default());
        let components = tempfile::tempdir().unwrap();
        let backups = tempfile::tempdir().unwrap();
        let component_limits = ComponentsConfig {
            reserved: vec!["http".to_owned()],
            package_bytes: 1 << 20,
            ..ComponentsConfig::new(components.path())
        };
        let lifecycle = Arc::clone(&process) as Arc<dyn Lifecycle>;
        let operations = Operations::new(catalog, config)
            .with_directory(Arc::clone(&directory))
            .with_jobs(&jobs, &BulkLimits::default())
            .with_structure(memory)
            .with_history(Arc::new(Past), &jobs)
            .with_logs(Arc::new(Files(log_directory())))
            .with_configuration(settings())
            .with_backups(Arc::new(Copies), backups.path().to_owned(), &jobs)
            .with_components(component_limits, Arc::clone(&lifecycle))
            .with_lifecycle(lifecycle, &jobs);
        let chain = Chain::new([("operations", Stage::handler(operations))]);
        let fixture = Self {
            chain,
            directory,
            process,
            components,
            backups,
        };
        for request in DATA {
            let (status, body) = fixture.ask(&admin(), request).await;
            assert_eq!(status, 200, "{body}");
        }
        fixture
    }

    /// Status and text of the answer to a JSON request.
    pub(crate) async fn ask(&self, caller: &Caller, body: &str) -> (u16, String) {
        let request = http::Request::post("/")
            .header("content-type", "application/json")
            .extension(caller.clone())
            .body(Body::from(body.to_owned()))
            .unwrap();
        let response = self.chain.answer(request.into()).await;
        (response.status().as_u16(), text(response).await)
    }

    /// The answer, whose members may be in any order.
    pub(crate) async fn check(&self, caller: &Caller, body: &str, status: u16, expected: &str) {
        let (actual_status, actual) = self.ask(caller, body).await;
        assert_eq!(
            (actual_status, value(&actual)),
            (status, value(expected)),
            "{body} -> {actual}"
        );
    }

    /// The answer `{"error": message}`.
    pub(crate) async fn refuses(&self, caller: &Caller, body: &str, status: u16, message: &str) {
        let expected = resource::Map::from_iter([("error", Value::from(message))]);
        let expected = json::to_vec(&Value::Map(expected));
        let expected = String::from_utf8(expected).unwrap();
        self.check(caller, body, status, &expected).await;
    }

    /// The answer `{"message": message}`.
    pub(crate) async fn says(&self, caller: &Caller, body: &str, message: &str) {
        self.check(caller, body, 200, &format!("{{\"message\": {message:?}}}"))
            .await;
    }

    /// Starts a job, waits for its end, and answers its row.
    pub(crate) async fn job(&self, caller: &Caller, body: &str) -> Map {
        let (status, answer) = self.ask(caller, body).await;
        assert_eq!(status, 200, "{body} -> {answer}");
        let answer = value(&answer);
        let answer = answer.as_map().unwrap();
        let id = answer.get("job_id").and_then(Value::as_str).unwrap();
        let message = answer.get("message").and_then(Value::as_str).unwrap();
        assert_eq!(message.split(' ').nth(4), Some(id), "{message}");
        self.ended(id).await
    }

    /// The row of a job once it has ended.
    pub(crate) async fn ended(&self, id: &str) -> Map {
        let question = format!(r#"{{"operation": "get_job", "id": {id:?}}}"#);
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let (status, answer) = self.ask(&admin(), &question).await;
            assert_eq!(status, 200, "{answer}");
            let answer = value(&answer);
            let job = answer.as_array().unwrap()[0].as_map().unwrap().clone();
            if job.contains_key("end_datetime") {
                return job;
            }
            assert!(Instant::now() < deadline, "{job:?}");
            tokio::task::yield_now().await;
        }
    }

    /// Runs a job that ends well, with this message.
    pub(crate) async fn completes(&self, caller: &Caller, body: &str, message: &str) {
        let job = self.job(caller, body).await;
        let ended = (job.get("status"), job.get("message"));
        let expected = (&Value::from("COMPLETE"), &Value::from(message));
        assert_eq!(ended, (Some(expected.0), Some(expected.1)), "{body}");
    }

    /// Runs a job that fails, with this message.
    pub(crate) async fn fails(&self, caller: &Caller, body: &str, message: &str) {
        let job = self.job(caller, body).await;
        let ended = (job.get("status"), job.get("message"));
        let expected = (&Value::from("ERROR"), &Value::from(message));
        assert_eq!(ended, (Some(expected.0), Some(expected.1)), "{body}");
    }

    pub(crate) async fn send(&self, request: http::Request<Body>) -> Response {
        self.chain.answer(Request::from(request)).await
    }
}

pub(crate) async fn text(response: Response) -> String {
    let bytes = response.into_body().collect(10_000_000).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub(crate) fn value(text: &str) -> Value {
    json::from_slice(text.as_bytes()).unwrap_or_else(|error| panic!("{error}: {text}"))
}

pub(crate) fn admin() -> Caller {
    Caller::internal("admin")
}

/// A user whose role has this permission object.
pub(crate) fn caller(permission: &str) -> Caller {
    let (permissions, errors) = auth::permissions::parse(&value(permission), None);
    assert!(errors.is_empty(), "{errors:?}");
    Caller::User(Arc::new(User {
        username: Arc::from("ana"),
        role: Arc::from("clerk"),
        permissions: Arc::new(permissions),
    }))
}

pub(crate) fn context(caller: Caller) -> Context {
    Context::new(caller, WorkerId(0), Protocol::Operations)
}
