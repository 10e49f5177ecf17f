//! §9: users and roles.

use resource::{Authenticator, Credentials, Value};

use crate::fixture::{Fixture, admin, caller, context, value};

const ADD_ANA: &str = r#"{"operation": "add_user", "role": "clerk", "username": "ana", "password": "s3cret!", "active": true}"#;
const ADD_CLERK: &str = r#"{"operation": "add_role", "role": "clerk", "permission": {"super_user": false,
    "inventory": {"tables": {"Item": {"read": true, "insert": false, "update": false, "delete": false, "attribute_permissions": []}}}}}"#;

#[tokio::test]
async fn users_are_added_altered_and_dropped() {
    let fixture = Fixture::new().await;
    let admin = admin();
    fixture
        .refuses(&admin, ADD_ANA, 404, "clerk role not found")
        .await;
    assert_eq!(fixture.ask(&admin, ADD_CLERK).await.0, 200);
    fixture
        .says(&admin, ADD_ANA, "ana successfully added")
        .await;
    fixture
        .refuses(&admin, ADD_ANA, 409, "User ana already exists")
        .await;
    let credentials = Credentials::Password {
        username: "ana".into(),
        password: b"s3cret!".to_vec(),
    };
    let ana = fixture.directory.authenticate(&credentials).await.unwrap();
    let search = r#"{"operation": "search_by_id", "database": "inventory", "table": "Item", "ids": ["a1"], "get_attributes": ["sku"]}"#;
    fixture
        .check(&ana, search, 200, r#"[{"sku": "S-1"}]"#)
        .await;

    let (status, altered) = fixture
        .ask(
            &admin,
            r#"{"operation": "alter_user", "username": "ana", "active": false}"#,
        )
        .await;
    assert_eq!(status, 200);
    let altered = value(&altered);
    let altered = altered.as_map().unwrap();
    assert_eq!(
        altered.get("message"),
        Some(&Value::from("updated 1 of 1 records"))
    );
    assert_eq!(altered.get("update_hashes"), Some(&value(r#"["ana"]"#)));
    assert!(fixture.directory.authenticate(&credentials).await.is_err());

    let drop = r#"{"operation": "drop_user", "username": "ana"}"#;
    fixture.says(&admin, drop, "ana successfully deleted").await;
    fixture
        .refuses(&admin, drop, 404, "User ana does not exist")
        .await;
}

#[tokio::test]
async fn user_operations_and_their_messages() {
    let fixture = Fixture::new().await;
    for (body, status, message) in [
        (
            r#"{"operation": "add_user"}"#,
            400,
            "'username' is required. 'password' is required. 'role' is required. 'active' is required",
        ),
        (
            r#"{"operation": "add_user", "username": "", "password": 1, "role": "x", "active": "yes"}"#,
            400,
            "'username' is not allowed to be empty. 'password' must be a string. 'active' must be a boolean",
        ),
        (
            r#"{"operation": "alter_user"}"#,
            400,
            "'username' is required",
        ),
        (
            r#"{"operation": "alter_user", "username": "admin"}"#,
            400,
            "nothing to update, must supply active, role or password to update",
        ),
        (
            r#"{"operation": "alter_user", "username": "admin", "active": 1}"#,
            400,
            "active must be true or false",
        ),
        (
            r#"{"operation": "alter_user", "username": "admin", "password": ""}"#,
            400,
            "password cannot be an empty string",
        ),
        (
            r#"{"operation": "alter_user", "username": "admin", "role": ""}"#,
            400,
            "If role is specified, it cannot be empty.",
        ),
        (
            r#"{"operation": "alter_user", "username": "admin", "role": "x"}"#,
            404,
            "Update failed.  Requested 'x' role not found.",
        ),
        (
            r#"{"operation": "drop_user", "username": "x"}"#,
            404,
            "User x does not exist",
        ),
        (
            r#"{"operation": "drop_user", "username": "admin"}"#,
            409,
            "User admin is the last active super user",
        ),
        (
            r#"{"operation": "add_role"}"#,
            400,
            "'role' is required. 'permission' is required",
        ),
        (
            r#"{"operation": "alter_role", "id": "x", "permission": {}}"#,
            400,
            "Invalid role id",
        ),
        (
            r#"{"operation": "drop_role", "id": "x"}"#,
            404,
            "Role not found",
        ),
        (
            r#"{"operation": "drop_role", "id": "super_user"}"#,
            409,
            "Cannot drop role super_user as it has active user(s) tied to this role",
        ),
    ] {
        fixture.refuses(&admin(), body, status, message).await;
    }
}

#[tokio::test]
async fn roles_are_checked_against_the_tables_there_are() {
    let fixture = Fixture::new().await;
    let admin = admin();
    fixture.check(
        &admin,
        r#"{"operation": "add_role", "role": "r", "permission": {"nope": {"tables": {}},
            "inventory": {"tables": {"nope": {}, "Item": {"read": 1, "insert": false, "update": false, "delete": false,
                "attribute_permissions": [{"attribute_name": "nope", "read": false, "insert": false, "update": false}]}}}}}"#,
        400,
        r#"{"error": "Errors in the role permissions JSON provided",
            "main_permissions": ["database 'nope' does not exist", "Table 'inventory.nope' does not exist"],
            "schema_permissions": {"inventory_Item": ["Table READ permission must be a boolean",
                "Invalid attribute 'nope' in 'attribute_permissions'"]}}"#,
    ).await;
    assert_eq!(fixture.ask(&admin, ADD_CLERK).await.0, 200);
    fixture
        .refuses(
            &admin,
            ADD_CLERK,
            409,
            "A role with name 'clerk' already exists",
        )
        .await;
    let (status, altered) = fixture.ask(&admin, r#"{"operation": "alter_role", "id": "clerk", "role": "boss", "permission": {"super_user": true}}"#).await;
    assert_eq!(status, 200);
    let altered = value(&altered);
    assert!(
        altered.as_map().unwrap().contains_key("__updatedtime__"),
        "{altered:?}"
    );
    fixture
        .check(
            &admin,
            r#"{"operation": "list_roles"}"#,
            200,
            r#"[{"id": "clerk", "role": "boss", "permission": {"super_user": true}},
            {"id": "super_user", "role": "super_user", "permission": {"super_user": true}}]"#,
        )
        .await;
    fixture
        .says(
            &admin,
            r#"{"operation": "drop_role", "id": "clerk"}"#,
            "boss successfully deleted",
        )
        .await;
}

#[tokio::test]
async fn s9_secrets_do_not_leave() {
    let fixture = Fixture::new().await;
    let user = r#"{"username": "admin", "active": true,
        "role": {"id": "super_user", "role": "super_user", "permission": {"super_user": true}}}"#;
    fixture
        .check(
            &admin(),
            r#"{"operation": "list_users"}"#,
            200,
            &format!("[{user}]"),
        )
        .await;
    fixture
        .check(&admin(), r#"{"operation": "user_info"}"#, 200, user)
        .await;
    fixture.check(
        &caller("{}"),
        r#"{"operation": "user_info"}"#,
        200,
        r#"{"username": "ana", "role": {"role": "clerk", "permission": {"super_user": false}}}"#,
    ).await;
}

#[tokio::test]
async fn an_allowed_operation_acts_with_the_rights_it_needs_and_the_name_of_the_caller() {
    let fixture = Fixture::new().await;
    let manager = caller(r#"{"operations": ["add_role", "list_roles"]}"#);
    assert_eq!(fixture.ask(&manager, ADD_CLERK).await.0, 200);
    assert_eq!(
        context(manager).caller.username().map(|name| &**name),
        Some("ana")
    );
}
