//! §4: databases and tables are made and dropped.

use crate::fixture::{Fixture, admin};

#[tokio::test]
async fn create_database_and_its_messages() {
    let fixture = Fixture::new().await;
    let admin = admin();
    fixture
        .says(
            &admin,
            r#"{"operation": "create_database", "database": "h*rper%1"}"#,
            "database 'h*rper%1' successfully created",
        )
        .await;
    fixture
        .says(
            &admin,
            r#"{"operation": "create_schema", "schema": "old"}"#,
            "database 'old' successfully created",
        )
        .await;
    for (body, status, message) in [
        (
            r#"{"operation": "create_database", "database": "old"}"#,
            400,
            "database 'old' already exists",
        ),
        (
            r#"{"operation": "create_database"}"#,
            400,
            "database 'data' already exists",
        ),
        (
            r#"{"operation": "create_database", "database": 7}"#,
            400,
            "'schema' must be a string",
        ),
        (
            r#"{"operation": "create_database", "database": ""}"#,
            400,
            "'schema' is not allowed to be empty",
        ),
        (
            r#"{"operation": "create_database", "schema": "a/b"}"#,
            400,
            "'schema' names cannot include backticks or forward slashes",
        ),
    ] {
        fixture.refuses(&admin, body, status, message).await;
    }
}

#[tokio::test]
async fn drop_database_and_its_messages() {
    let fixture = Fixture::new().await;
    let admin = admin();
    for (body, status, message) in [
        (
            r#"{"operation": "drop_database"}"#,
            400,
            "'schema' is required",
        ),
        (
            r#"{"operation": "drop_database", "database": "x"}"#,
            404,
            "database 'x' does not exist",
        ),
    ] {
        fixture.refuses(&admin, body, status, message).await;
    }
    fixture
        .says(
            &admin,
            r#"{"operation": "drop_schema", "schema": "inventory"}"#,
            "successfully deleted 'inventory'",
        )
        .await;
    let body = r#"{"operation": "describe_database", "database": "inventory"}"#;
    fixture
        .refuses(&admin, body, 404, "database 'inventory' does not exist")
        .await;
}

#[tokio::test]
async fn create_table_and_its_messages() {
    let fixture = Fixture::new().await;
    let admin = admin();
    for (body, message) in [
        (
            r#"{"operation": "create_table", "database": "new", "table": "T", "hash_attribute": "id"}"#,
            "table 'new.T' successfully created.",
        ),
        (
            r#"{"operation": "create_table", "table": "123", "primary_key": "id", "expiration": 3600,
                "audit": false, "replicate": false}"#,
            "table 'data.123' successfully created.",
        ),
    ] {
        fixture.says(&admin, body, message).await;
    }
    for (body, message) in [
        (
            r#"{"operation": "create_table"}"#,
            "'table' is required. 'hash_attribute' is required",
        ),
        (
            r#"{"operation": "create_table", "database": 1, "table": 2, "primary_key": "id"}"#,
            "'schema' must be a string. 'table' must be a string",
        ),
        (
            r#"{"operation": "create_table", "table": "Dog", "primary_key": "id"}"#,
            "Table 'Dog' already exists in 'data'",
        ),
        (
            r#"{"operation": "create_table", "table": "T", "primary_key": "id", "expiration": "1d", "audit": 1}"#,
            "'expiration' must be a number. 'audit' must be a boolean",
        ),
        (
            r#"{"operation": "create_table", "table": "T", "attributes": [{"type": "Text"}, 7]}"#,
            "'attributes[0].name' is required. 'attributes[0].type' must be one of [Int, Long, Float, BigInt, ID, \
             String, Boolean, Date, Bytes, Blob, Any, array]. 'attributes[1]' must be an object. \
             'hash_attribute' is required",
        ),
        (
            r#"{"operation": "create_table", "table": "T", "primary_key": "b", "attributes": [
                {"name": "a", "is_primary_key": true}, {"name": "a"}]}"#,
            "'attributes[1].name' appears twice. only one attribute may be the primary key",
        ),
    ] {
        fixture.refuses(&admin, body, 400, message).await;
    }
}

#[tokio::test]
async fn a_table_without_declared_attributes_starts_with_three() {
    let fixture = Fixture::new().await;
    let body = r#"{"operation": "create_table", "table": "T", "primary_key": "key"}"#;
    fixture
        .says(&admin(), body, "table 'data.T' successfully created.")
        .await;
    let (_, described) = fixture
        .ask(&admin(), r#"{"operation": "describe_table", "table": "T"}"#)
        .await;
    let described = crate::fixture::value(&described);
    let described = described.as_map().unwrap();
    assert_eq!(
        described.get("attributes"),
        Some(&crate::fixture::value(
            r#"[{"attribute": "key", "is_primary_key": true},
                {"attribute": "__createdtime__", "indexed": true, "assigned_created_time": true},
                {"attribute": "__updatedtime__", "indexed": true, "assigned_updated_time": true}]"#
        ))
    );
    assert_eq!(described.get("schema_defined"), Some(&false.into()));
}

#[tokio::test]
async fn drop_table_and_its_messages() {
    let fixture = Fixture::new().await;
    let admin = admin();
    for (body, status, message) in [
        (r#"{"operation": "drop_table"}"#, 400, "'table' is required"),
        (
            r#"{"operation": "drop_table", "table": 1}"#,
            400,
            "'table' must be a string",
        ),
        (
            r#"{"operation": "drop_table", "table": "x"}"#,
            404,
            "Table 'data.x' does not exist",
        ),
        (
            r#"{"operation": "drop_table", "database": "x", "table": "x"}"#,
            404,
            "database 'x' does not exist",
        ),
    ] {
        fixture.refuses(&admin, body, status, message).await;
    }
    let body = r#"{"operation": "drop_table", "database": "inventory", "table": "Item"}"#;
    fixture
        .says(&admin, body, "successfully deleted table 'inventory.Item'")
        .await;
}

#[tokio::test]
async fn s3_4_nobody_restructures_the_system_database() {
    let fixture = Fixture::new().await;
    let text = "The 'system' database, tables and records are used internally by HarperDB and cannot be updated or removed.";
    for body in [
        r#"{"operation": "create_database", "database": "system"}"#,
        r#"{"operation": "drop_database", "database": "system"}"#,
        r#"{"operation": "create_table", "database": "system", "table": "x", "primary_key": "id"}"#,
        r#"{"operation": "drop_table", "database": "system", "table": "hdb_user"}"#,
    ] {
        fixture.refuses(&admin(), body, 403, text).await;
    }
}
