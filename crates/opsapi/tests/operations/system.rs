//! §13: system information.

use resource::{Map, Value};

use crate::fixture::{Fixture, admin, value};

async fn ask(fixture: &Fixture, attributes: &str) -> Map {
    let body = format!(r#"{{"operation": "system_information"{attributes}}}"#);
    let (status, answer) = fixture.ask(&admin(), &body).await;
    assert_eq!(status, 200, "{answer}");
    value(&answer).as_map().unwrap().clone()
}

#[tokio::test]
async fn s13_parts_are_chosen_and_unknown_ones_ignored() {
    let fixture = Fixture::new().await;
    for (attributes, expected) in [
        (
            r#", "attributes": ["time", "nothing", "disk"]"#,
            &["time", "disk"][..],
        ),
        (r#", "attributes": ["database_metrics"]"#, &["metrics"]),
        (r#", "attributes": ["nothing"]"#, &[]),
    ] {
        let answer = ask(&fixture, attributes).await;
        assert_eq!(answer.keys().collect::<Vec<_>>(), expected);
    }
    let all = [
        "system",
        "time",
        "cpu",
        "memory",
        "disk",
        "network",
        "harperdb_processes",
        "table_size",
        "metrics",
        "threads",
    ];
    for attributes in ["", r#", "attributes": []"#] {
        assert_eq!(
            ask(&fixture, attributes).await.keys().collect::<Vec<_>>(),
            all
        );
    }
    let wrong = r#"{"operation": "system_information", "attributes": "cpu"}"#;
    fixture
        .refuses(&admin(), wrong, 400, "'attributes' must be an array")
        .await;
}

#[tokio::test]
async fn s13_tables_are_counted() {
    let fixture = Fixture::new().await;
    let answer = ask(&fixture, r#", "attributes": ["table_size", "metrics"]"#).await;
    let expected = value(
        r#"[{"schema": "data", "table": "Dog", "table_size": 16384, "record_count": 3,
             "transaction_log_size": 0, "transaction_log_record_count": 0},
            {"schema": "inventory", "table": "Item", "table_size": 16384, "record_count": 2,
             "transaction_log_size": 0, "transaction_log_record_count": 0}]"#,
    );
    assert_eq!(answer.get("table_size"), Some(&expected));
    let expected = value(
        r#"{"data": {"size": 45056, "audit": {"size": 8192}, "tables": {"Dog": {"size": 16384, "record_count": 3}}},
            "inventory": {"size": 45056, "audit": {"size": 8192}, "tables": {"Item": {"size": 16384, "record_count": 2}}}}"#,
    );
    assert_eq!(answer.get("metrics"), Some(&expected));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn s13_the_machine_describes_itself() {
    let fixture = Fixture::new().await;
    let answer = ask(&fixture, "").await;
    let part = |name: &str| answer.get(name).unwrap().as_map().unwrap();
    let number = |map: &Map, name: &str| {
        map.get(name)
            .and_then(Value::as_f64)
            .unwrap_or_else(|| panic!("{name}"))
    };
    assert_eq!(part("system").get("platform"), Some(&Value::from("linux")));
    assert!(part("system").contains_key("hostname"));
    assert!(number(part("time"), "current") > 1.7e12);
    assert!(number(part("time"), "uptime") > 0.0);
    assert!(number(part("cpu"), "cores") >= 1.0);
    assert!(number(part("memory"), "total") > number(part("memory"), "rss"));
    let core = part("harperdb_processes")
        .get("core")
        .unwrap()
        .as_array()
        .unwrap();
    assert_eq!(
        number(core[0].as_map().unwrap(), "pid"),
        f64::from(std::process::id())
    );
    let threads = answer.get("threads").unwrap().as_array().unwrap();
    assert!(
        threads.len() > 1,
        "this one and at least one that hashes passwords"
    );
    assert!(number(threads[0].as_map().unwrap(), "utilization") <= 1.0);
}
