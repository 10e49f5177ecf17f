//! The Operations API over the real store: messages, statuses and aliases of `spec/operations-api.md` §1-§6.
#![forbid(unsafe_code)]

use motet_tests::http::{curl, operation};
use motet_tests::{Builder, Motet};
use serde_json::{Value, json};
use tempfile::TempDir;

fn start() -> Motet {
    Builder::new().start()
}

/// Runs operations in order and compares status and whole answer.
fn run(motet: &Motet, rows: &[(Value, u16, Value)]) {
    for (body, status, expected) in rows {
        let (given, answer) = operation(&motet.operations_url(), body);
        assert_eq!((given, &answer), (*status, expected), "{body}");
    }
}

fn message(text: &str) -> Value {
    json!({ "message": text })
}

fn error(text: &str) -> Value {
    json!({ "error": text })
}

/// Database `inventory` with the table `Item`, declared attributes and two records.
fn with_items() -> Motet {
    let motet = start();
    run(
        &motet,
        &[
            (
                json!({ "operation": "create_table", "database": "inventory", "table": "Item", "attributes": [
                    { "name": "id", "type": "ID", "is_primary_key": true },
                    { "name": "sku", "type": "String", "indexed": true },
                    { "name": "qty", "type": "Int" }, { "name": "color", "type": "String" } ] }),
                200,
                message("table 'inventory.Item' successfully created."),
            ),
            (
                json!({ "operation": "insert", "database": "inventory", "table": "Item", "records": [
                    { "id": "a1", "sku": "S-1", "qty": 3 }, { "id": "a2", "sku": "S-2" } ] }),
                200,
                json!({ "message": "inserted 2 of 2 records", "inserted_hashes": ["a1", "a2"],
                    "skipped_hashes": [] }),
            ),
        ],
    );
    motet
}

#[test]
fn operations_1_1_a_body_without_an_operation_is_400_and_says_why() {
    let motet = start();
    let url = motet.operations_url();
    let rows = [
        ("3", "Invalid JSON."),
        ("[]", "Invalid JSON."),
        ("", "Invalid JSON."),
        ("{}", "Request body must include an 'operation' property."),
        (r#"{"operation":"zap"}"#, "Operation 'zap' not found"),
    ];
    for (body, says) in rows {
        let more = ["-H", "Content-Type: application/json", "-d", body];
        let (status, text) = curl("POST", &url, None, &more);
        let answer: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((status, answer), (400, error(says)), "{body}");
    }
    let more = [
        "-H",
        "Content-Type: application/json",
        "-d",
        "{\"operation\":",
    ];
    let (status, text) = curl("POST", &url, None, &more);
    assert!(status == 400 && text.contains("line 1"), "{text}");
}

#[test]
fn an_operation_that_is_not_built_names_itself() {
    let motet = start();
    for name in [
        "sql",
        "restore_backup",
        "list_certificates",
        "import_from_s3",
        "add_node",
    ] {
        let (status, answer) = operation(&motet.operations_url(), &json!({ "operation": name }));
        let text = answer["error"].as_str().unwrap_or_default();
        assert!(
            status == 501 && text.contains(&format!("'{name}'")),
            "{name}: {status} {answer}"
        );
    }
}

#[test]
fn operations_4_databases_and_tables_have_their_messages_under_both_names() {
    let motet = start();
    run(
        &motet,
        &[
            (
                json!({ "operation": "create_database", "database": "inventory" }),
                200,
                message("database 'inventory' successfully created"),
            ),
            (
                json!({ "operation": "create_schema", "schema": "inventory" }),
                400,
                error("database 'inventory' already exists"),
            ),
            (
                json!({ "operation": "describe_database", "database": "inventory" }),
                200,
                json!({}),
            ),
            (
                json!({ "operation": "describe_schema", "schema": "none" }),
                404,
                error("database 'none' does not exist"),
            ),
            (
                json!({ "operation": "create_table", "schema": "inventory", "table": "Item",
                "hash_attribute": "id" }),
                200,
                message("table 'inventory.Item' successfully created."),
            ),
            (
                json!({ "operation": "create_table", "database": "inventory", "table": "Item",
                "primary_key": "id" }),
                400,
                error("Table 'Item' already exists in 'inventory'"),
            ),
            (
                json!({ "operation": "create_table", "database": "inventory" }),
                400,
                error("'table' is required. 'hash_attribute' is required"),
            ),
            (
                json!({ "operation": "create_database", "database": 5 }),
                400,
                error("'schema' must be a string"),
            ),
            (
                json!({ "operation": "describe_table" }),
                400,
                error("'table' is required"),
            ),
            (
                json!({ "operation": "describe_table", "database": "inventory", "table": "x" }),
                404,
                error("Table 'inventory.x' does not exist"),
            ),
            (
                json!({ "operation": "drop_table", "database": "inventory", "table": "Item" }),
                200,
                message("successfully deleted table 'inventory.Item'"),
            ),
            (
                json!({ "operation": "drop_table", "database": "inventory", "table": "Item" }),
                404,
                error("Table 'inventory.Item' does not exist"),
            ),
            (
                json!({ "operation": "drop_database" }),
                400,
                error("'schema' is required"),
            ),
            (
                json!({ "operation": "drop_schema", "schema": "inventory" }),
                200,
                message("successfully deleted 'inventory'"),
            ),
            (
                json!({ "operation": "drop_database", "database": "inventory" }),
                404,
                error("database 'inventory' does not exist"),
            ),
        ],
    );
}

#[test]
fn operations_4_a_description_has_the_fields_clients_read() {
    let motet = with_items();
    let url = motet.operations_url();
    let describe =
        json!({ "operation": "describe_table", "database": "inventory", "table": "Item" });
    let (status, table) = operation(&url, &describe);
    assert_eq!(status, 200, "{table}");
    for (field, value) in [
        ("schema", json!("inventory")),
        ("name", json!("Item")),
        ("hash_attribute", json!("id")),
        ("audit", json!(true)),
        ("schema_defined", json!(true)),
        ("record_count", json!(2)),
        ("sources", json!([])),
    ] {
        assert_eq!(table[field], value, "{field}");
    }
    let id = json!({ "attribute": "id", "type": "ID", "is_primary_key": true });
    let sku = json!({ "attribute": "sku", "type": "String", "indexed": true });
    assert_eq!(
        (&table["attributes"][0], &table["attributes"][1]),
        (&id, &sku)
    );
    assert!(table["last_updated_record"].is_number() && table["db_size"].is_u64());
    let (_, all) = operation(&url, &json!({ "operation": "describe_all" }));
    assert_eq!(all["inventory"]["Item"]["attributes"], table["attributes"]);
    assert!(all.get("system").is_none(), "{all}");
}

#[test]
fn operations_5_writes_count_and_list_what_they_did() {
    let motet = with_items();
    let write = |operation: &str, records: Value| json!({ "operation": operation, "database": "inventory", "table": "Item", "records": records });
    run(
        &motet,
        &[
            (
                write(
                    "insert",
                    json!([{ "id": "a1", "sku": "no" }, { "id": "a3" }, { "id": "a3" }]),
                ),
                200,
                json!({ "message": "inserted 1 of 3 records", "inserted_hashes": ["a3"],
                    "skipped_hashes": ["a1", "a3"] }),
            ),
            (
                write(
                    "update",
                    json!([{ "id": "a1", "color": "red" }, { "id": "zz" }]),
                ),
                200,
                json!({ "message": "updated 1 of 2 records", "update_hashes": ["a1"],
                    "skipped_hashes": ["zz"] }),
            ),
            (
                write(
                    "update",
                    json!([{ "id": "a1", "color": "blue" }, { "color": "x" }]),
                ),
                400,
                error(
                    "a valid hash attribute must be provided with update record, check log for more info",
                ),
            ),
            (
                write("upsert", json!([{ "id": "a1", "qty": 4 }, { "id": "a4" }])),
                200,
                json!({ "message": "upserted 2 of 2 records", "upserted_hashes": ["a1", "a4"] }),
            ),
            (
                write(
                    "insert",
                    json!([{ "id": "ok" }, { "id": "bad", "qty": "x" }]),
                ),
                400,
                error(
                    "Value \"x\" in property qty must be an integer (from -2147483648 to 2147483647)",
                ),
            ),
            (
                write("insert", json!([{ "id": "null" }])),
                400,
                error(
                    "Invalid hash value: 'null' is not a valid hash attribute value, check log for more info",
                ),
            ),
            (
                write("insert", json!([{ "id": "q", "a/b": 1 }])),
                400,
                error("Attribute names cannot include backticks or forward slashes"),
            ),
            (
                write("insert", json!({})),
                400,
                error("'records' must be an array"),
            ),
            (
                json!({ "operation": "insert" }),
                400,
                error("'table' is required. 'records' is required"),
            ),
            (
                json!({ "operation": "insert", "database": "none", "table": "x", "records": [{}] }),
                400,
                error("database 'none' does not exist"),
            ),
            (
                json!({ "operation": "upsert", "database": "inventory", "table": "x", "records": [{}] }),
                400,
                error("Table 'inventory.x' does not exist"),
            ),
            (
                json!({ "operation": "search_by_id", "database": "inventory", "table": "Item",
                "ids": ["a1", "ok"], "get_attributes": ["sku", "qty", "color"] }),
                200,
                json!([{ "sku": "S-1", "qty": 4, "color": "red" }]),
            ),
            (
                json!({ "operation": "delete", "database": "inventory", "table": "Item",
                "ids": ["a1", "zz"] }),
                200,
                json!({ "message": "1 of 2 records successfully deleted", "deleted_hashes": ["a1"],
                    "skipped_hashes": ["zz"] }),
            ),
            (
                json!({ "operation": "delete", "schema": "inventory", "table": "Item",
                "hash_values": ["a2"] }),
                200,
                json!({ "message": "1 of 1 record successfully deleted", "deleted_hashes": ["a2"],
                    "skipped_hashes": [] }),
            ),
            (
                json!({ "operation": "delete", "database": "inventory", "table": "x", "ids": [1] }),
                404,
                error("Table 'inventory.x' does not exist"),
            ),
        ],
    );
}

#[test]
fn operations_6_searches_answer_under_old_and_new_parameter_names() {
    let motet = with_items();
    let search = |operation: &str, more: Value| {
        let mut body = json!({ "operation": operation, "database": "inventory", "table": "Item" });
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        body
    };
    run(
        &motet,
        &[
            (
                search(
                    "search_by_id",
                    json!({ "ids": ["a2", "zz", "a1"], "get_attributes": ["sku", "color"] }),
                ),
                200,
                json!([{ "sku": "S-2", "color": null }, { "sku": "S-1", "color": null }]),
            ),
            (
                search(
                    "search_by_hash",
                    json!({ "hash_values": ["a2"], "get_attributes": ["*"] }),
                ),
                200,
                json!([{ "id": "a2", "sku": "S-2" }]),
            ),
            (
                search(
                    "search_by_id",
                    json!({ "ids": "a1", "get_attributes": ["*"] }),
                ),
                400,
                error("'hash_values' must be an array"),
            ),
            (
                search(
                    "search_by_id",
                    json!({ "ids": ["a1"], "get_attributes": ["aa", "bb", "cc"] }),
                ),
                400,
                error("unknown attribute 'aa, bb and cc'"),
            ),
            (
                search(
                    "search_by_value",
                    json!({ "attribute": "sku", "value": "S-*", "get_attributes": ["id"] }),
                ),
                200,
                json!([{ "id": "a1" }, { "id": "a2" }]),
            ),
            (
                search(
                    "search_by_value",
                    json!({ "search_attribute": "sku", "search_value": "*-2",
                "get_attributes": ["id"] }),
                ),
                200,
                json!([{ "id": "a2" }]),
            ),
            (
                search(
                    "search_by_value",
                    json!({ "attribute": "id", "value": "*", "reverse": true, "limit": 1,
                "get_attributes": ["id"] }),
                ),
                200,
                json!([{ "id": "a2" }]),
            ),
            (
                search(
                    "search_by_value",
                    json!({ "attribute": "nope", "value": "x" }),
                ),
                400,
                error("unknown attribute 'nope'"),
            ),
            (
                search(
                    "search_by_conditions",
                    json!({ "select": ["id"], "conditions": [
                { "search_attribute": "qty", "search_type": "between", "search_value": [3, 10] } ] }),
                ),
                200,
                json!([{ "id": "a1" }]),
            ),
            (
                search(
                    "search_by_conditions",
                    json!({ "get_attributes": ["id"], "operator": "OR",
                "sort": { "attribute": "sku", "descending": true }, "conditions": [
                    { "attribute": "qty", "comparator": "equals", "value": null },
                    { "operator": "and", "conditions": [
                        { "attribute": "sku", "comparator": "ends_with", "value": "1" } ] } ] }),
                ),
                200,
                json!([{ "id": "a2" }, { "id": "a1" }]),
            ),
            (
                search(
                    "search_by_conditions",
                    json!({ "conditions": [
                { "attribute": "qty", "comparator": "gt", "value": 1 } ] }),
                ),
                400,
                error(
                    "'conditions[0].search_type' must be one of [equals, not_equal, contains, starts_with, \
                       ends_with, greater_than, greater_than_equal, less_than, less_than_equal, between]",
                ),
            ),
            (
                search("search_by_conditions", json!({ "conditions": [] })),
                400,
                error("'conditions' must contain at least 1 items"),
            ),
            (
                json!({ "operation": "search_by_conditions", "database": "inventory", "table": "x",
                "conditions": [{ "attribute": "a", "value": 1 }] }),
                404,
                error("Table 'inventory.x' does not exist"),
            ),
            (
                json!({ "operation": "search_by_value", "database": "none", "table": "x",
                "attribute": "a", "value": 1 }),
                404,
                error("database 'none' does not exist"),
            ),
        ],
    );
}

#[test]
fn operations_3_4_the_system_database_is_kept_from_drops() {
    let motet = start();
    let refused = error(
        "The 'system' database, tables and records are used internally by HarperDB and cannot be updated or removed.",
    );
    run(
        &motet,
        &[
            (
                json!({ "operation": "drop_database", "database": "system" }),
                403,
                refused.clone(),
            ),
            (
                json!({ "operation": "drop_table", "database": "system", "table": "hdb_user" }),
                403,
                refused,
            ),
        ],
    );
}

#[test]
fn operations_13_system_information_gives_the_parts_asked_for() {
    let motet = start();
    let body =
        json!({ "operation": "system_information", "attributes": ["time", "threads", "bogus"] });
    let (status, answer) = operation(&motet.operations_url(), &body);
    assert_eq!(status, 200, "{answer}");
    let parts: Vec<_> = answer.as_object().unwrap().keys().collect();
    assert_eq!(parts, ["time", "threads"]);
    assert!(answer["time"]["current"].is_number(), "{answer}");
}

#[test]
fn operations_1_the_unix_socket_answers_the_same_without_credentials() {
    let motet = Builder::new().trusting_nobody().start();
    let body = json!({ "operation": "create_database", "database": "inventory" });
    let (status, answer) = operation(&motet.operations_url(), &body);
    assert_eq!((status, answer), (401, error("Must login")));
    let socket = motet.root().join("operations-server");
    let more = ["--unix-socket", socket.to_str().unwrap()];
    let (status, text) = curl("POST", "http://localhost/", Some(&body), &more);
    assert_eq!(status, 200, "{text}");
    assert!(
        text.contains("database 'inventory' successfully created"),
        "{text}"
    );
}

/// A dynamic table `data.T` with the key `id`.
fn with_dynamic_table() -> Motet {
    let motet = start();
    let create = json!({ "operation": "create_table", "table": "T", "primary_key": "id" });
    assert_eq!(operation(&motet.operations_url(), &create).0, 200);
    motet
}

/// The keys that a condition finds.
fn found(motet: &Motet, attribute: &str, comparator: &str, value: &Value) -> Vec<Value> {
    let body = json!({ "operation": "search_by_conditions", "table": "T", "get_attributes": ["id"],
        "conditions": [{ "attribute": attribute, "comparator": comparator, "value": value }] });
    let (status, answer) = operation(&motet.operations_url(), &body);
    assert_eq!(status, 200, "{answer}");
    let rows = answer.as_array().unwrap();
    rows.iter().map(|row| row["id"].clone()).collect()
}

#[test]
fn storage_18_1_keys_of_a_dynamic_table_are_increasing_numbers() {
    let motet = with_dynamic_table();
    let insert = json!({ "operation": "insert", "table": "T", "records": [{}] });
    let mut keys = Vec::new();
    for _ in 0..3 {
        let (_, answer) = operation(&motet.operations_url(), &insert);
        keys.push(answer["inserted_hashes"][0].as_i64().unwrap());
    }
    assert!(keys.is_sorted_by(|one, next| one < next), "{keys:?}");
}

#[test]
fn storage_18_3_zero_and_texts_of_zeros_are_different_keys() {
    let motet = with_dynamic_table();
    let insert = json!({ "operation": "insert", "table": "T",
        "records": [{ "id": 0 }, { "id": "011" }, { "id": "00011" }] });
    let (_, answer) = operation(&motet.operations_url(), &insert);
    assert_eq!(answer["message"], "inserted 3 of 3 records");
    let keys = found(&motet, "id", "starts_with", &json!("0"));
    assert_eq!(keys, ["00011", "011"]);
}

#[test]
fn storage_18_4_comparisons_leave_null_out_and_equals_null_finds_it() {
    let motet = with_dynamic_table();
    let ages = json!([5, 5, 8, 4, 6, 4, 1, 3, 9, 7, null]);
    let ages = ages.as_array().unwrap().iter().enumerate();
    let records: Vec<_> = ages
        .map(|(index, age)| json!({ "id": index + 1, "age": age }))
        .collect();
    let insert = json!({ "operation": "insert", "table": "T", "records": records });
    assert_eq!(operation(&motet.operations_url(), &insert).0, 200);
    for (comparator, value, count) in [
        ("greater_than", json!(4), 6),
        ("greater_than_equal", json!(4), 8),
        ("less_than", json!(4), 2),
        ("less_than_equal", json!(4), 4),
        ("between", json!([2, 5]), 5),
        ("between", json!([5, 5]), 2),
        ("equals", json!(null), 1),
    ] {
        let keys = found(&motet, "age", comparator, &value);
        assert_eq!(keys.len(), count, "{comparator} {value}: {keys:?}");
    }
}

#[test]
fn storage_18_6_a_sealed_table_takes_nothing_undeclared_and_nothing_of_that_request() {
    let application = TempDir::new().unwrap();
    let schema = "type Strict @table @export @sealed { id: ID @primaryKey  name: String }
        type Timed @table @export { id: ID @primaryKey  changed: String @updatedTime }";
    let motet = Builder::new().schema(&application, schema).start();
    run(
        &motet,
        &[
            (
                json!({ "operation": "insert", "table": "Strict",
                    "records": [{ "id": "1", "name": "x" }, { "id": "2", "extra": 1 }] }),
                400,
                error("Property extra is not allowed"),
            ),
            (
                json!({ "operation": "search_by_value", "table": "Strict", "attribute": "id", "value": "*" }),
                200,
                json!([]),
            ),
        ],
    );
    // Vector 11: the time of a change is the server's, in the declared type.
    let insert = json!({ "operation": "insert", "table": "Timed",
        "records": [{ "id": "1", "changed": "yesterday" }] });
    assert_eq!(operation(&motet.operations_url(), &insert).0, 200);
    let (_, text) = curl("GET", &motet.url("/Timed/1.changed"), None, &[]);
    assert!(text.starts_with("\"2") && text.ends_with("Z\""), "{text}");
}

#[test]
fn operations_3_3_a_refusal_lists_what_is_missing_and_hides_what_is_not_for_this_role() {
    let motet = with_items();
    let url = motet.operations_url();
    let role = json!({ "operation": "add_role", "role": "clerk", "permission": {
        "super_user": false, "inventory": { "tables": { "Item": {
            "read": true, "insert": true, "update": false, "delete": false, "attribute_permissions": [
                { "attribute_name": "sku", "read": true, "insert": true, "update": false },
                { "attribute_name": "qty", "read": false, "insert": true, "update": false } ] } } } } });
    let user = json!({ "operation": "add_user", "role": "clerk", "username": "joe", "password": "secret",
        "active": true });
    assert_eq!(operation(&url, &role).0, 200);
    assert_eq!(operation(&url, &user).0, 200);
    let item = |more: Value| {
        let mut body = json!({ "database": "inventory", "table": "Item" });
        let more = more.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(more);
        body
    };
    let missing = |table: Value, attributes: Value, items: Value| {
        let access = json!([{ "schema": "inventory", "table": "Item",
            "required_table_permissions": table, "required_attribute_permissions": attributes }]);
        (access, items)
    };
    let none = json!([]);
    let rows = [
        (
            json!({ "operation": "create_database", "database": "x" }),
            (
                json!(["Operation 'createSchema' is restricted to 'super_user' roles"]),
                none.clone(),
            ),
        ),
        (
            json!({ "operation": "system_information" }),
            (
                json!(["Operation 'systemInformation' is restricted to 'super_user' roles"]),
                none.clone(),
            ),
        ),
        (
            item(json!({ "operation": "update", "records": [{ "id": "a1", "sku": "x" }] })),
            missing(json!(["update"]), none.clone(), none.clone()),
        ),
        (
            item(json!({ "operation": "delete", "ids": ["a1"] })),
            missing(json!(["delete"]), none.clone(), none.clone()),
        ),
        (
            item(json!({ "operation": "insert", "records": [{ "id": "b", "color": "x" }] })),
            (
                none.clone(),
                json!(["Attribute 'color' does not exist on 'inventory.Item'"]),
            ),
        ),
        (
            item(json!({ "operation": "search_by_id", "ids": ["a1"], "get_attributes": ["qty"] })),
            missing(
                none.clone(),
                json!([{ "attribute_name": "qty", "required_permissions": ["read"] }]),
                none.clone(),
            ),
        ),
        (
            json!({ "operation": "insert", "database": "inventory", "table": "Secret", "records": [{}] }),
            (
                none.clone(),
                json!(["Table 'inventory.Secret' does not exist"]),
            ),
        ),
    ];
    for (body, (access, items)) in rows {
        let (status, text) = curl("POST", &url, Some(&body), &["-u", "joe:secret"]);
        let answer: Value = serde_json::from_str(&text).unwrap();
        let expected = json!({
            "error": "This operation is not authorized due to role restrictions and/or invalid database items",
            "unauthorized_access": access, "invalid_schema_items": items });
        assert_eq!((status, answer), (403, expected), "{body}");
    }
    let all = item(json!({ "operation": "search_by_id", "ids": ["a1"], "get_attributes": ["*"] }));
    let (_, text) = curl("POST", &url, Some(&all), &["-u", "joe:secret"]);
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(answer, json!([{ "id": "a1", "sku": "S-1" }]));
}
