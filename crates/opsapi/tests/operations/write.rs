//! §5: records are inserted, updated, upserted and deleted.

use crate::fixture::{Fixture, admin};

const ALL_ITEMS: &str = r#"{"operation": "search_by_value", "database": "inventory", "table": "Item",
    "attribute": "id", "value": "*"}"#;

#[tokio::test]
async fn insert_skips_what_exists_and_makes_keys() {
    let fixture = Fixture::new().await;
    fixture.check(
        &admin(),
        r#"{"operation": "insert", "database": "inventory", "table": "Item", "records": [
            {"id": "a3", "sku": "S-3"}, {"id": "a1", "sku": "X"}, {"id": "a3", "sku": "Y"}]}"#,
        200,
        r#"{"message": "inserted 1 of 3 records", "inserted_hashes": ["a3"], "skipped_hashes": ["a1", "a3"]}"#,
    ).await;
    fixture.check(
        &admin(),
        r#"{"operation": "insert", "schema": "inventory", "table": "Item", "records": [{"id": "", "sku": "n"}, {"sku": "n"}, {"id": null, "sku": "n"}]}"#,
        200,
        r#"{"message": "inserted 3 of 3 records", "inserted_hashes": ["new-3", "new-4", "new-5"], "skipped_hashes": []}"#,
    ).await;
}

#[tokio::test]
async fn update_merges_and_skips_what_is_missing() {
    let fixture = Fixture::new().await;
    fixture.check(
        &admin(),
        r#"{"operation": "update", "database": "inventory", "table": "Item", "records": [
            {"id": "a1", "qty": 4}, {"id": "zz", "qty": 1}]}"#,
        200,
        r#"{"message": "updated 1 of 2 records", "update_hashes": ["a1"], "skipped_hashes": ["zz"]}"#,
    ).await;
    fixture
        .check(
            &admin(),
            ALL_ITEMS,
            200,
            r#"[{"id": "a1", "sku": "S-1", "qty": 4}, {"id": "a2", "sku": "S-2", "extra": true}]"#,
        )
        .await;
    for record in [r#"{"qty": 1}"#, r#"{"id": "", "qty": 1}"#] {
        let body = format!(
            r#"{{"operation": "update", "database": "inventory", "table": "Item", "records": [{{"id": "a1", "qty": 9}}, {record}]}}"#
        );
        let text =
            "a valid hash attribute must be provided with update record, check log for more info";
        fixture.refuses(&admin(), &body, 400, text).await;
    }
    let one = r#"{"operation": "search_by_id", "schema": "inventory", "table": "Item", "ids": ["a1"], "get_attributes": ["qty"]}"#;
    fixture.check(&admin(), one, 200, r#"[{"qty": 4}]"#).await;
}

#[tokio::test]
async fn upsert_merges_or_inserts_and_reports_no_skipped() {
    let fixture = Fixture::new().await;
    fixture
        .check(
            &admin(),
            r#"{"operation": "upsert", "database": "inventory", "table": "Item", "records": [
            {"id": "a1", "qty": 7}, {"id": "b1", "sku": "B"}, {"sku": "C"}]}"#,
            200,
            r#"{"message": "upserted 3 of 3 records", "upserted_hashes": ["a1", "b1", "new-3"]}"#,
        )
        .await;
}

#[tokio::test]
async fn delete_counts_and_knows_the_singular() {
    let fixture = Fixture::new().await;
    let delete = |ids: &str| {
        format!(
            r#"{{"operation": "delete", "database": "inventory", "table": "Item", "ids": {ids}}}"#
        )
    };
    fixture.check(
        &admin(),
        &delete(r#"["a1", "zz"]"#),
        200,
        r#"{"message": "1 of 2 records successfully deleted", "deleted_hashes": ["a1"], "skipped_hashes": ["zz"]}"#,
    ).await;
    fixture.check(
        &admin(),
        r#"{"operation": "delete", "schema": "inventory", "table": "Item", "hash_values": ["a2"]}"#,
        200,
        r#"{"message": "1 of 1 record successfully deleted", "deleted_hashes": ["a2"], "skipped_hashes": []}"#,
    ).await;
    for (body, status, message) in [
        (delete("\"a1\""), 400, "'hash_values' must be an array"),
        (delete("[true]"), 400, "Invalid primary key type: boolean"),
        (
            r#"{"operation": "delete"}"#.to_owned(),
            400,
            "'table' is required. 'hash_values' is required",
        ),
        (
            r#"{"operation": "delete", "table": "x", "ids": []}"#.to_owned(),
            404,
            "Table 'data.x' does not exist",
        ),
    ] {
        fixture.refuses(&admin(), &body, status, message).await;
    }
}

#[tokio::test]
async fn s5_common_mistakes_are_400() {
    let fixture = Fixture::new().await;
    for operation in ["insert", "update", "upsert"] {
        for (rest, message) in [
            ("", "'table' is required. 'records' is required"),
            (
                r#", "table": true, "records": {}"#,
                "'table' must be a string. 'records' must be an array",
            ),
            (
                r#", "table": "Dog", "records": [1, {}, null]"#,
                "'records[0]' must be an object. 'records[2]' must be an object",
            ),
            (
                r#", "table": "x", "records": []"#,
                "Table 'data.x' does not exist",
            ),
            (
                r#", "database": "x", "table": "x", "records": []"#,
                "database 'x' does not exist",
            ),
            (
                r#", "table": "Dog", "records": [{"id": "null"}]"#,
                "Invalid hash value: 'null' is not a valid hash attribute value, check log for more info",
            ),
            (
                r#", "table": "Dog", "records": [{"id": true}]"#,
                "Invalid primary key type: boolean",
            ),
            (
                r#", "table": "Dog", "records": [], "expiresAt": "soon""#,
                "'expiresAt' must be a time in milliseconds since the epoch",
            ),
        ] {
            let body = format!(r#"{{"operation": "{operation}"{rest}}}"#);
            fixture.refuses(&admin(), &body, 400, message).await;
        }
    }
}

#[tokio::test]
async fn s5_a_violation_leaves_nothing_behind() {
    let fixture = Fixture::new().await;
    let body = r#"{"operation": "insert", "database": "inventory", "table": "Item", "records": [
        {"id": "c1", "sku": "C"}, {"id": "c2", "qty": "many"}]}"#;
    let (status, _) = fixture.ask(&admin(), body).await;
    assert_eq!(status, 400);
    let one = r#"{"operation": "search_by_id", "database": "inventory", "table": "Item", "ids": ["c1"], "get_attributes": ["*"]}"#;
    fixture.check(&admin(), one, 200, "[]").await;
}

#[tokio::test]
async fn s5_numbers_are_names_in_data_operations() {
    let fixture = Fixture::new().await;
    let create =
        r#"{"operation": "create_table", "database": "123", "table": "4", "primary_key": "id"}"#;
    fixture
        .says(&admin(), create, "table '123.4' successfully created.")
        .await;
    fixture.check(
        &admin(),
        r#"{"operation": "insert", "database": 123, "table": 4, "records": [{"id": 1}]}"#,
        200,
        r#"{"message": "inserted 1 of 1 records", "inserted_hashes": [1], "skipped_hashes": []}"#,
    ).await;
}

#[tokio::test]
async fn s3_4_three_system_tables_may_be_written_by_super_users() {
    let fixture = Fixture::new().await;
    let insert = r#"{"operation": "insert", "database": "system", "table": "hdb_role", "records": [{"id": "r", "role": "r"}]}"#;
    assert_eq!(fixture.ask(&admin(), insert).await.0, 200);
    let other = insert.replace("hdb_role", "hdb_job");
    fixture.check(
        &admin(),
        &other,
        403,
        r#"{"error": "This operation is not authorized due to role restrictions and/or invalid database items",
            "unauthorized_access": [{"schema": "system", "table": "hdb_job",
                "required_table_permissions": ["insert"], "required_attribute_permissions": []}],
            "invalid_schema_items": []}"#,
    ).await;
    let text = "The 'system' database, tables and records are used internally by HarperDB and cannot be updated or removed.";
    let delete =
        r#"{"operation": "delete", "database": "system", "table": "hdb_job", "ids": ["r"]}"#;
    fixture.refuses(&admin(), delete, 403, text).await;
    fixture
        .refuses(&crate::fixture::caller("{}"), insert, 403, text)
        .await;
}
