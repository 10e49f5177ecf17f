//! §4 and §20: backups.

use std::fs;
use std::path::PathBuf;

use http_chain::Body;
use opsapi::Backups;
use resource::{Answer, Error, Map, Value};

use crate::fixture::{Fixture, admin, text, value};

/// A copy says of which database it is.
pub(crate) struct Copies;

impl Backups for Copies {
    fn file_name(&self, database: &str) -> String {
        format!("{database}.mdb")
    }

    fn copy<'a>(&'a self, database: &'a str, path: PathBuf) -> Answer<'a, ()> {
        let written = fs::write(path, format!("copy of {database}"));
        Answer::ready(written.map_err(|error| Error::internal(error.to_string())))
    }

    fn verify(&self, directory: PathBuf) -> Answer<'_, Vec<String>> {
        let damaged = fs::read_dir(directory).unwrap().flatten().filter(|entry| {
            !fs::read_to_string(entry.path())
                .unwrap()
                .starts_with("copy of")
        });
        let damaged = damaged.map(|entry| format!("{:?} is damaged", entry.file_name()));
        Answer::ready(Ok(damaged.collect()))
    }
}

#[tokio::test]
async fn s4_a_database_is_sent_as_a_file() {
    let fixture = Fixture::new().await;
    let request = http::Request::post("/")
        .header("content-type", "application/json")
        .extension(admin())
        .body(Body::from(
            r#"{"operation": "get_backup", "database": "inventory"}"#,
        ))
        .unwrap();
    let response = fixture.send(request).await;
    assert_eq!(response.status(), 200);
    let field = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(field("content-type"), "application/octet-stream");
    assert_eq!(
        field("content-disposition"),
        "attachment; filename=\"inventory\""
    );
    assert!(field("date").ends_with(" GMT"));
    assert_eq!(text(response).await, "copy of inventory");
    assert_eq!(fs::read_dir(fixture.backups.path()).unwrap().count(), 0);
    for (request, status, message) in [
        (
            r#"{"operation": "get_backup", "database": "nope"}"#,
            404,
            "database 'nope' does not exist",
        ),
        (
            r#"{"operation": "get_backup", "table": "Dog"}"#,
            501,
            "get_backup of single tables is not available in this build",
        ),
    ] {
        fixture.refuses(&admin(), request, status, message).await;
    }
}

async fn create(fixture: &Fixture) -> String {
    let job = fixture
        .job(&admin(), r#"{"operation": "create_backup"}"#)
        .await;
    assert_eq!(job.get("status"), Some(&Value::from("COMPLETE")), "{job:?}");
    let result = job.get("result").and_then(Value::as_map).unwrap();
    result
        .get("backup_id")
        .and_then(Value::as_str)
        .unwrap()
        .to_owned()
}

async fn list(fixture: &Fixture) -> Vec<Map> {
    let (status, answer) = fixture
        .ask(&admin(), r#"{"operation": "list_backups"}"#)
        .await;
    assert_eq!(status, 200, "{answer}");
    let answer = value(&answer);
    let found = answer.as_array().unwrap().iter();
    found
        .map(|backup| backup.as_map().unwrap().clone())
        .collect()
}

#[tokio::test]
async fn s20_backups_are_made_listed_verified_and_deleted() {
    let fixture = Fixture::new().await;
    assert_eq!(list(&fixture).await, Vec::<Map>::new());
    let first = create(&fixture).await;
    let found = list(&fixture).await;
    assert_eq!(
        found[0].get("backup_id"),
        Some(&Value::from(first.as_str()))
    );
    // data, empty, inventory and system
    assert_eq!(found[0].get("file_count"), Some(&Value::Int(4)));
    assert!(found[0].get("size").and_then(Value::as_i64).unwrap() > 40);
    let verify = format!(r#"{{"operation": "verify_backup", "backup_id": "{first}"}}"#);
    fixture
        .completes(&admin(), &verify, "The backup is complete and undamaged")
        .await;
    fs::write(fixture.backups.path().join(&first).join("data.mdb"), "torn").unwrap();
    fixture
        .fails(&admin(), &verify, "\"data.mdb\" is damaged")
        .await;

    let second = create(&fixture).await;
    fixture
        .says(
            &admin(),
            r#"{"operation": "purge_backups", "keep_count": 1}"#,
            "Successfully deleted 1 backups",
        )
        .await;
    assert_eq!(list(&fixture).await.len(), 1);
    let delete = format!(r#"{{"operation": "delete_backup", "backup_id": "{second}"}}"#);
    let message = format!("Successfully deleted backup: {second}");
    fixture.says(&admin(), &delete, &message).await;
    let message = format!("Backup '{second}' does not exist");
    fixture.refuses(&admin(), &delete, 404, &message).await;
    let outside = r#"{"operation": "delete_backup", "backup_id": ".."}"#;
    fixture
        .refuses(&admin(), outside, 404, "Backup '..' does not exist")
        .await;
}
