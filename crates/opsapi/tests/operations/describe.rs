//! §4: what there is, as far as the role reads it.

use resource::Value;

use crate::fixture::{Fixture, admin, caller, value};

const ITEM: &str = r#"{
    "schema": "inventory", "name": "Item", "hash_attribute": "id", "primary_key": "id",
    "audit": true, "schema_defined": true,
    "attributes": [
        {"attribute": "id", "type": "ID", "is_primary_key": true},
        {"attribute": "sku", "type": "String", "indexed": true, "nullable": false},
        {"attribute": "qty", "type": "Int"},
        {"attribute": "tags", "type": "array", "elements": "String"}],
    "db_size": 45056, "sources": [], "table_size": 16384, "db_audit_size": 8192,
    "record_count": 2, "last_updated_record": 1719942333101.5}"#;

#[tokio::test]
async fn describe_table_and_its_messages() {
    let fixture = Fixture::new().await;
    let admin = admin();
    let body = r#"{"operation": "describe_table", "database": "inventory", "table": "Item", "exact_count": true}"#;
    fixture.check(&admin, body, 200, ITEM).await;
    let (_, estimate) = fixture
        .ask(&admin, r#"{"operation": "describe_table", "table": "Dog"}"#)
        .await;
    let estimate = value(&estimate);
    let range = estimate
        .as_map()
        .unwrap()
        .get("estimated_record_range")
        .unwrap()
        .clone();
    assert_eq!(range, value("[3, 4]"));
    for (body, status, message) in [
        (
            r#"{"operation": "describe_table"}"#,
            400,
            "'table' is required",
        ),
        (
            r#"{"operation": "describe_table", "table": "x"}"#,
            404,
            "Table 'data.x' does not exist",
        ),
        (
            r#"{"operation": "describe_table", "schema": "x", "table": "x"}"#,
            404,
            "database 'x' does not exist",
        ),
        (
            r#"{"operation": "describe_all", "exact_count": 1, "include_computed": "no"}"#,
            400,
            "'exact_count' must be a boolean. 'include_computed' must be a boolean",
        ),
    ] {
        fixture.refuses(&admin, body, status, message).await;
    }
}

#[tokio::test]
async fn describe_database_and_describe_all_nest() {
    let fixture = Fixture::new().await;
    let admin = admin();
    let body = r#"{"operation": "describe_schema", "schema": "inventory", "exact_count": true}"#;
    fixture
        .check(&admin, body, 200, &format!("{{\"Item\": {ITEM}}}"))
        .await;
    let missing = r#"{"operation": "describe_database", "database": "x"}"#;
    fixture
        .refuses(&admin, missing, 404, "database 'x' does not exist")
        .await;
    let (_, all) = fixture
        .ask(
            &admin,
            r#"{"operation": "describe_all", "exact_count": true}"#,
        )
        .await;
    let all = value(&all);
    let all = all.as_map().unwrap();
    assert_eq!(
        all.keys().collect::<Vec<_>>(),
        ["data", "empty", "inventory"]
    );
    assert_eq!(all.get("empty"), Some(&value("{}")));
    assert_eq!(
        all.get("inventory"),
        Some(&value(&format!("{{\"Item\": {ITEM}}}")))
    );
}

#[tokio::test]
async fn s3_2_others_see_what_their_role_reads() {
    let fixture = Fixture::new().await;
    let clerk = caller(
        r#"{"inventory": {"tables": {"Item": {"read": true, "insert": true, "update": false, "delete": false,
            "attribute_permissions": [{"attribute_name": "sku", "read": true, "insert": false, "update": false}]}}},
            "data": {"tables": {"Dog": {"read": false, "insert": true, "update": false, "delete": false}}}}"#,
    );
    let (_, all) = fixture
        .ask(&clerk, r#"{"operation": "describe_all"}"#)
        .await;
    let all = value(&all);
    let databases = all.as_map().unwrap();
    assert_eq!(databases.keys().collect::<Vec<_>>(), ["inventory"]);
    let item = databases
        .get("inventory")
        .unwrap()
        .as_map()
        .unwrap()
        .get("Item")
        .unwrap();
    let attributes = item
        .as_map()
        .unwrap()
        .get("attributes")
        .unwrap()
        .as_array()
        .unwrap();
    let name = |attribute: &Value| {
        attribute
            .as_map()
            .unwrap()
            .get("attribute")
            .unwrap()
            .clone()
    };
    assert_eq!(
        attributes.iter().map(name).collect::<Vec<_>>(),
        [Value::from("id"), Value::from("sku")]
    );
    let system = "Your role does not have permission to view database metadata for 'system'";
    for (body, status, message) in [
        (
            r#"{"operation": "describe_table", "table": "Dog"}"#,
            404,
            "Table 'data.Dog' does not exist",
        ),
        (
            r#"{"operation": "describe_database"}"#,
            404,
            "database 'data' does not exist",
        ),
        (
            r#"{"operation": "describe_database", "database": "system"}"#,
            403,
            system,
        ),
        (
            r#"{"operation": "describe_table", "database": "system", "table": "hdb_user"}"#,
            403,
            system,
        ),
    ] {
        fixture.refuses(&clerk, body, status, message).await;
    }
    let system = r#"{"operation": "describe_table", "database": "system", "table": "hdb_user"}"#;
    assert_eq!(fixture.ask(&admin(), system).await.0, 200);
}
