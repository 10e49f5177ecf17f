//! The tables of the `system` database that hold users, roles and sessions (`schema-and-storage.md` §16).

use std::time::Duration;

use resource::{Attribute, AttributeType, TableDefinition};

/// The database of the tables.
pub const SYSTEM_DATABASE: &str = "system";
/// The table of users.
pub const USER_TABLE: &str = "hdb_user";
/// The table of roles.
pub const ROLE_TABLE: &str = "hdb_role";
/// The table of cookie sessions.
pub const SESSION_TABLE: &str = "hdb_session";

/// Users by `username`: hash of the password, id of the role, whether active.
pub fn user_table() -> TableDefinition {
    let text = AttributeType::String;
    system_table(
        USER_TABLE,
        "username",
        [
            ("username", text.clone()),
            ("password", text.clone()),
            ("hash_function", text.clone()),
            ("role", text),
            ("active", AttributeType::Boolean),
            ("refresh_tokens", AttributeType::Any),
            ("tokens_valid_from", AttributeType::Long),
        ],
    )
}

/// Sessions by the hash of their id: user, and milliseconds since 1970 when it ends. Not in the change log;
/// the table removes records that are older than `lifetime`.
pub fn session_table(lifetime: Option<Duration>) -> TableDefinition {
    TableDefinition {
        audit: false,
        expiration_secs: lifetime.map(|lifetime| lifetime.as_secs().max(1)),
        ..system_table(
            SESSION_TABLE,
            "id",
            [
                ("id", AttributeType::String),
                ("user", AttributeType::String),
                ("expires", AttributeType::Long),
            ],
        )
    }
}

/// Roles by `id`: name and permission object.
pub fn role_table() -> TableDefinition {
    system_table(
        ROLE_TABLE,
        "id",
        [
            ("id", AttributeType::String),
            ("role", AttributeType::String),
            ("permission", AttributeType::Any),
            ("access", AttributeType::Any),
        ],
    )
}

fn system_table<const N: usize>(
    table: &str,
    primary_key: &str,
    declared: [(&str, AttributeType); N],
) -> TableDefinition {
    let mut attributes: Vec<Attribute> = declared
        .into_iter()
        .map(|(name, kind)| Attribute::new(name, kind))
        .collect();
    attributes.push(Attribute {
        assigned_created_time: true,
        ..Attribute::new("__createdtime__", AttributeType::Long)
    });
    attributes.push(Attribute {
        assigned_updated_time: true,
        ..Attribute::new("__updatedtime__", AttributeType::Long)
    });
    TableDefinition {
        database: SYSTEM_DATABASE.to_owned(),
        table: table.to_owned(),
        primary_key: primary_key.to_owned(),
        attributes,
        schema_defined: true,
        sealed: false,
        audit: true,
        expiration_secs: None,
        export: None,
    }
}
