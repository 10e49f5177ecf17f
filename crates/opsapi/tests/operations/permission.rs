//! §3: what a role allows, and the object that says what it does not.

use crate::fixture::{Fixture, admin, caller};

const ERROR: &str =
    "This operation is not authorized due to role restrictions and/or invalid database items";

fn denied(unauthorized_access: &str, invalid_schema_items: &str) -> String {
    format!(
        r#"{{"error": "{ERROR}", "unauthorized_access": {unauthorized_access},
            "invalid_schema_items": {invalid_schema_items}}}"#
    )
}

fn entry(table_permissions: &str, attribute_permissions: &str) -> String {
    format!(
        r#"[{{"schema": "inventory", "table": "Item", "required_table_permissions": {table_permissions},
            "required_attribute_permissions": {attribute_permissions}}}]"#
    )
}

#[tokio::test]
async fn s3_3_super_user_operations_show_their_internal_names() {
    let fixture = Fixture::new().await;
    let clerk = caller("{}");
    for (operation, shown) in [
        ("create_database", "createSchema"),
        ("create_schema", "createSchema"),
        ("drop_database", "dropSchema"),
        ("create_table", "createTable"),
        ("drop_table", "dropTable"),
        ("system_information", "systemInformation"),
        ("add_user", "addUser"),
        ("list_users", "listUsersExternal"),
        ("list_roles", "listRoles"),
        ("read_log", "readLog"),
        ("restart", "restart"),
        ("cluster_status", "cluster_status"),
    ] {
        let expected = format!(r#"["Operation '{shown}' is restricted to 'super_user' roles"]"#);
        let body = format!(r#"{{"operation": "{operation}"}}"#);
        fixture
            .check(&clerk, &body, 403, &denied(&expected, "[]"))
            .await;
    }
}

#[tokio::test]
async fn s3_1_structure_users_restructure_their_databases() {
    let fixture = Fixture::new().await;
    let everywhere = caller(r#"{"structure_user": true}"#);
    let body = r#"{"operation": "create_database", "database": "mine"}"#;
    fixture
        .says(&everywhere, body, "database 'mine' successfully created")
        .await;
    let in_mine = caller(r#"{"structure_user": ["mine"]}"#);
    let body =
        r#"{"operation": "create_table", "database": "mine", "table": "t", "primary_key": "id"}"#;
    fixture
        .says(&in_mine, body, "table 'mine.t' successfully created.")
        .await;
    let elsewhere = r#"{"operation": "drop_table", "table": "Dog"}"#;
    let text = "User does not have access to perform 'drop_table' against schema 'data'";
    fixture.refuses(&in_mine, elsewhere, 403, text).await;
    let whole = r#"{"operation": "drop_database", "database": "mine"}"#;
    let expected = r#"["Operation 'dropSchema' is restricted to 'super_user' roles"]"#;
    fixture
        .check(&in_mine, whole, 403, &denied(expected, "[]"))
        .await;
    let (_, all) = fixture
        .ask(&in_mine, r#"{"operation": "describe_all"}"#)
        .await;
    assert_eq!(all, r#"{"mine":{}}"#);
}

#[tokio::test]
async fn s9_1_a_list_of_operations_binds_and_allows() {
    let fixture = Fixture::new().await;
    let reader = caller(
        r#"{"operations": ["read_only", "system_information"], "Dog": {"read": true, "insert": true, "update": false, "delete": false}}"#,
    );
    let information = r#"{"operation": "system_information", "attributes": ["disk"]}"#;
    fixture
        .check(&reader, information, 200, r#"{"disk": {}}"#)
        .await;
    let search = r#"{"operation": "search_by_hash", "table": "Dog", "ids": [1], "get_attributes": ["name"]}"#;
    fixture
        .check(&reader, search, 200, r#"[{"name": "Rex"}]"#)
        .await;
    let insert = r#"{"operation": "insert", "table": "Dog", "records": [{"id": 9}]}"#;
    let expected = r#"["Operation 'insert' is not in the list of operations of role 'clerk'"]"#;
    fixture
        .check(&reader, insert, 403, &denied(expected, "[]"))
        .await;
}

#[tokio::test]
async fn s3_3_a_missing_table_permission_is_listed() {
    let fixture = Fixture::new().await;
    let reader = caller(
        r#"{"inventory": {"tables": {"Item": {"read": true, "insert": false, "update": false, "delete": false}}}}"#,
    );
    let records =
        r#""database": "inventory", "table": "Item", "records": [{"id": "a1", "qty": 1}]"#;
    for (operation, permissions) in [
        ("insert", r#"["insert"]"#),
        ("update", r#"["update"]"#),
        ("upsert", r#"["insert", "update"]"#),
    ] {
        let body = format!(r#"{{"operation": "{operation}", {records}}}"#);
        fixture
            .check(
                &reader,
                &body,
                403,
                &denied(&entry(permissions, "[]"), "[]"),
            )
            .await;
    }
    let delete =
        r#"{"operation": "delete", "database": "inventory", "table": "Item", "ids": ["a1"]}"#;
    fixture
        .check(
            &reader,
            delete,
            403,
            &denied(&entry(r#"["delete"]"#, "[]"), "[]"),
        )
        .await;
}

#[tokio::test]
async fn p21_what_is_invisible_does_not_exist() {
    let fixture = Fixture::new().await;
    let clerk = caller(
        r#"{"inventory": {"tables": {"Item": {"read": true, "insert": false, "update": false, "delete": false},
            "Hidden": {"read": false, "insert": false, "update": false, "delete": false}}}}"#,
    );
    for (database, table, item) in [
        (
            "inventory",
            "Hidden",
            "Table 'inventory.Hidden' does not exist",
        ),
        (
            "inventory",
            "nowhere",
            "Table 'inventory.nowhere' does not exist",
        ),
        ("data", "Dog", "database 'data' does not exist"),
        ("nowhere", "Dog", "database 'nowhere' does not exist"),
        ("system", "hdb_user", "database 'system' does not exist"),
    ] {
        let body = format!(
            r#"{{"operation": "search_by_id", "database": "{database}", "table": "{table}", "ids": [1], "get_attributes": ["*"]}}"#
        );
        fixture
            .check(&clerk, &body, 403, &denied("[]", &format!("[\"{item}\"]")))
            .await;
    }
}

/// Reads `sku`, writes `qty` in updates, and knows nothing of `tags`.
const SOME_ATTRIBUTES: &str = r#"{"inventory": {"tables": {"Item": {"read": true, "insert": true, "update": true, "delete": false,
    "attribute_permissions": [
        {"attribute_name": "sku", "read": true, "insert": true, "update": false},
        {"attribute_name": "qty", "read": false, "insert": false, "update": true}]}}}}"#;

#[tokio::test]
async fn s3_2_attributes_are_checked_wherever_they_are_named() {
    let fixture = Fixture::new().await;
    let clerk = caller(SOME_ATTRIBUTES);
    let ask = |operation: &str, rest: &str| {
        format!(
            r#"{{"operation": "{operation}", "database": "inventory", "table": "Item", {rest}}}"#
        )
    };
    let by_id = |names: &str| {
        ask(
            "search_by_id",
            &format!(r#""ids": ["a1"], "get_attributes": {names}"#),
        )
    };
    fixture
        .check(
            &clerk,
            &by_id(r#"["id", "sku"]"#),
            200,
            r#"[{"id": "a1", "sku": "S-1"}]"#,
        )
        .await;
    fixture
        .check(
            &clerk,
            &by_id(r#"["*"]"#),
            200,
            r#"[{"id": "a1", "sku": "S-1"}]"#,
        )
        .await;
    let qty_read = entry(
        "[]",
        r#"[{"attribute_name": "qty", "required_permissions": ["read"]}]"#,
    );
    let no_tags = r#"["Attribute 'tags' does not exist on 'inventory.Item'"]"#;
    fixture
        .check(
            &clerk,
            &by_id(r#"["qty", "tags"]"#),
            403,
            &denied(&qty_read, no_tags),
        )
        .await;
    for rest in [
        r#""conditions": [{"attribute": "qty", "value": 1}]"#,
        r#""conditions": [{"attribute": "sku", "value": "x"}], "sort": {"attribute": "qty"}"#,
    ] {
        fixture
            .check(
                &clerk,
                &ask("search_by_conditions", rest),
                403,
                &denied(&qty_read, "[]"),
            )
            .await;
    }
    let by_value = ask("search_by_value", r#""attribute": "qty", "value": 3"#);
    fixture
        .check(&clerk, &by_value, 403, &denied(&qty_read, "[]"))
        .await;

    let update = ask("update", r#""records": [{"id": "a1", "qty": 8}]"#);
    assert_eq!(fixture.ask(&clerk, &update).await.0, 200);
    let refused = ask(
        "update",
        r#""records": [{"id": "a1", "sku": "x", "new": 1}]"#,
    );
    let sku_update = entry(
        "[]",
        r#"[{"attribute_name": "sku", "required_permissions": ["update"]}]"#,
    );
    let no_new = r#"["Attribute 'new' does not exist on 'inventory.Item'"]"#;
    fixture
        .check(&clerk, &refused, 403, &denied(&sku_update, no_new))
        .await;
    let upsert = ask(
        "upsert",
        r#""records": [{"id": "a1", "sku": "x", "qty": 1}]"#,
    );
    let both = entry(
        "[]",
        r#"[{"attribute_name": "sku", "required_permissions": ["update"]}, {"attribute_name": "qty", "required_permissions": ["insert"]}]"#,
    );
    fixture
        .check(&clerk, &upsert, 403, &denied(&both, "[]"))
        .await;
}

#[tokio::test]
async fn s3_2_times_of_the_server_are_not_written_by_restricted_users() {
    let fixture = Fixture::new().await;
    let clerk = caller(
        r#"{"Dog": {"read": true, "insert": true, "update": true, "delete": false, "attribute_permissions": [
            {"attribute_name": "name", "read": true, "insert": true, "update": true}]}}"#,
    );
    let body =
        r#"{"operation": "insert", "table": "Dog", "records": [{"id": 9, "__createdtime__": 1}]}"#;
    let text = "Internal timestamp attributes - '__createdtime_' and '__updatedtime__' - cannot be inserted to or updated by HDB users.";
    fixture.refuses(&clerk, body, 403, text).await;
    let unrestricted =
        caller(r#"{"Dog": {"read": true, "insert": true, "update": true, "delete": false}}"#);
    let unknown =
        r#"{"operation": "insert", "table": "Dog", "records": [{"id": 9, "brand_new": 1}]}"#;
    assert_eq!(fixture.ask(&unrestricted, unknown).await.0, 200);
}

#[tokio::test]
async fn s3_2_a_table_of_which_nothing_is_readable_does_not_exist() {
    let fixture = Fixture::new().await;
    let clerk = caller(
        r#"{"Dog": {"read": true, "insert": true, "update": false, "delete": false, "attribute_permissions": [
            {"attribute_name": "name", "read": false, "insert": true, "update": false}]}}"#,
    );
    let body =
        r#"{"operation": "search_by_value", "table": "Dog", "attribute": "id", "value": "*"}"#;
    let expected = denied("[]", r#"["Table 'data.Dog' does not exist"]"#);
    fixture.check(&clerk, body, 403, &expected).await;
}

#[tokio::test]
async fn p19_replication_parameters_are_for_super_users() {
    let fixture = Fixture::new().await;
    let body =
        r#"{"operation": "insert", "table": "Dog", "records": [{"id": 9}], "replicateTo": 1}"#;
    let writer =
        caller(r#"{"Dog": {"read": true, "insert": true, "update": true, "delete": true}}"#);
    let text = "Can not specify replication parameters without super user permissions";
    fixture.refuses(&writer, body, 403, text).await;
    assert_eq!(fixture.ask(&admin(), body).await.0, 200);
}
