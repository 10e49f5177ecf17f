//! The two tables of the `system` database that hold users and roles (`schema-and-storage.md` §16).

use resource::{Attribute, AttributeType, TableDefinition};

/// The database of both tables.
pub const SYSTEM_DATABASE: &str = "system";
/// The table of users.
pub const USER_TABLE: &str = "hdb_user";
/// The table of roles.
pub const ROLE_TABLE: &str = "hdb_role";

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
        ],
    )
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
