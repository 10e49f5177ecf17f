//! What the role of the caller allows, and the object that says what it does not (`operations-api.md` §3).

use std::collections::HashSet;

use resource::access::StructureUser;
use resource::{Action, Map, TableAccess, TableDefinition, User, Value};

use crate::operation::{Need, Operation, must_login};
use crate::parameters::{DATABASE, DEFAULT_DATABASE};
use crate::{Call, Failure};

const NOT_AUTHORIZED: &str =
    "This operation is not authorized due to role restrictions and/or invalid database items";

/// The `system` database (§3.4).
pub(crate) const SYSTEM: &str = "system";

/// Its tables that a super user may write.
const WRITABLE_SYSTEM_TABLES: [&str; 3] = ["hdb_nodes", "hdb_role", "hdb_user"];

/// Whether `operation` may be called at all.
pub(crate) fn require_operation(operation: &Operation, call: &Call) -> Result<(), Failure> {
    if operation.need() == Need::Nothing {
        return Ok(());
    }
    let user = call.context.caller.user().ok_or_else(must_login)?;
    let permissions = &user.permissions;
    if permissions.super_user {
        return Ok(());
    }
    if let Some(allowed) = &permissions.operations {
        return match operation.names().any(|name| allowed.contains(name)) {
            true => Ok(()),
            false => Err(denied(vec![Value::from(format!(
                "Operation '{}' is not in the list of operations of role '{}'",
                operation.shown_name(),
                user.role
            ))])),
        };
    }
    match (operation.need(), &permissions.structure_user) {
        (Need::Nothing | Need::User, _) => Ok(()),
        (Need::Databases | Need::Structure, StructureUser::All) => Ok(()),
        (Need::Structure, StructureUser::Databases(databases)) => {
            let database = DATABASE.of(&call.parameters).and_then(Value::as_str);
            let database = database.unwrap_or(DEFAULT_DATABASE);
            match databases.contains(database) {
                true => Ok(()),
                false => Err(Failure::new(
                    403,
                    format!(
                        "User does not have access to perform '{}' against schema '{database}'",
                        operation.name()
                    ),
                )),
            }
        }
        _ => Err(denied(vec![Value::from(format!(
            "Operation '{}' is restricted to 'super_user' roles",
            operation.shown_name()
        ))])),
    }
}

/// The permission object with entries that are not about one table.
fn denied(unauthorized_access: Vec<Value>) -> Failure {
    permission_object(unauthorized_access, Vec::new())
}

fn permission_object(
    unauthorized_access: Vec<Value>,
    invalid_schema_items: Vec<String>,
) -> Failure {
    let invalid = invalid_schema_items.into_iter().map(Value::from).collect();
    Failure::with_body(
        403,
        Map::from_iter([
            ("error", Value::from(NOT_AUTHORIZED)),
            ("unauthorized_access", Value::Array(unauthorized_access)),
            ("invalid_schema_items", Value::Array(invalid)),
        ]),
    )
}

/// What the caller may do with one table.
pub(crate) struct TablePermission<'a> {
    database: &'a str,
    table: &'a str,
    pub(crate) access: TableAccess,
}

impl<'a> TablePermission<'a> {
    /// Asks for `actions`, before the table is looked up: who may not know it learns nothing (P21).
    pub(crate) fn require(
        user: &User,
        database: &'a str,
        table: &'a str,
        actions: &[Action],
    ) -> Result<Self, Failure> {
        let permission = Self {
            database,
            table,
            access: user.permissions.table(database, table),
        };
        if !is_visible(&permission.access) {
            return Err(permission.invisible(user));
        }
        let missing = actions
            .iter()
            .filter(|action| !permission.access.allows(**action));
        let missing: Vec<Action> = missing.copied().collect();
        match missing.is_empty() {
            true => Ok(permission),
            false => Err(denied(vec![permission.entry(&missing, Vec::new())])),
        }
    }

    /// Asks for `actions` on every attribute named. An attribute without any permission is reported as one
    /// that does not exist.
    pub(crate) fn require_attributes<'n>(
        &self,
        definition: &TableDefinition,
        names: impl IntoIterator<Item = &'n str>,
        actions: &[Action],
    ) -> Result<(), Failure> {
        let Some(attributes) = &self.access.attributes else {
            return Ok(());
        };
        let key = definition.primary_key.as_str();
        let (mut refused, mut invalid) = (Vec::new(), Vec::new());
        let mut seen = HashSet::new();
        for name in names.into_iter().filter(|name| seen.insert(*name)) {
            let allows = |action: Action| attributes.allows(action, name, key);
            let missing: Vec<Action> = actions.iter().copied().filter(|a| !allows(*a)).collect();
            if missing.is_empty() {
                continue;
            }
            let has_any = [Action::Read, Action::Insert, Action::Update]
                .into_iter()
                .any(allows);
            match has_any {
                true => refused.push(attribute_entry(name, &missing)),
                false => invalid.push(format!(
                    "Attribute '{name}' does not exist on '{}.{}'",
                    self.database, self.table
                )),
            }
        }
        if refused.is_empty() && invalid.is_empty() {
            return Ok(());
        }
        let entries = match refused.is_empty() {
            true => Vec::new(),
            false => vec![self.entry(&[], refused)],
        };
        Err(permission_object(entries, invalid))
    }

    /// Whether the caller may read this attribute.
    pub(crate) fn reads(&self, definition: &TableDefinition, name: &str) -> bool {
        self.access
            .attributes
            .as_ref()
            .is_none_or(|attributes| attributes.allows(Action::Read, name, &definition.primary_key))
    }

    /// The answer to somebody who may read none of the attributes: there is no such table.
    pub(crate) fn nothing_readable(&self) -> Failure {
        permission_object(Vec::new(), vec![self.no_such_table()])
    }

    /// Whether all attributes may be used.
    pub(crate) fn is_unrestricted(&self) -> bool {
        self.access.attributes.is_none()
    }

    fn invisible(&self, user: &User) -> Failure {
        let knows_database = user
            .permissions
            .tables
            .get(self.database)
            .is_some_and(|tables| self.database != SYSTEM && tables.values().any(is_visible));
        let item = match knows_database {
            true => self.no_such_table(),
            false => format!("database '{}' does not exist", self.database),
        };
        permission_object(Vec::new(), vec![item])
    }

    fn no_such_table(&self) -> String {
        format!("Table '{}.{}' does not exist", self.database, self.table)
    }

    fn entry(&self, table_permissions: &[Action], attribute_permissions: Vec<Value>) -> Value {
        table_entry(
            self.database,
            self.table,
            table_permissions,
            attribute_permissions,
        )
    }
}

/// Whether a write may go on as far as the `system` database is concerned (§3.4): super users write three
/// of its tables.
pub(crate) fn require_not_internal(
    user: &User,
    database: &str,
    table: &str,
    actions: &[Action],
) -> Result<(), Failure> {
    if database != SYSTEM {
        return Ok(());
    }
    match (user.permissions.super_user, actions) {
        (true, _) if WRITABLE_SYSTEM_TABLES.contains(&table) => Ok(()),
        (true, [Action::Insert | Action::Update, ..]) => Err(denied(vec![table_entry(
            database,
            table,
            actions,
            Vec::new(),
        )])),
        _ => Err(internal_database()),
    }
}

fn table_entry(
    database: &str,
    table: &str,
    table_permissions: &[Action],
    attribute_permissions: Vec<Value>,
) -> Value {
    Value::Map(Map::from_iter([
        ("schema", Value::from(database)),
        ("table", Value::from(table)),
        ("required_table_permissions", words(table_permissions)),
        (
            "required_attribute_permissions",
            Value::Array(attribute_permissions),
        ),
    ]))
}

fn attribute_entry(name: &str, actions: &[Action]) -> Value {
    Value::Map(Map::from_iter([
        ("attribute_name", Value::from(name)),
        ("required_permissions", words(actions)),
    ]))
}

fn words(actions: &[Action]) -> Value {
    Value::Array(
        actions
            .iter()
            .map(|action| Value::from(action.as_str()))
            .collect(),
    )
}

/// Whether any of the flags is set; a table without any is invisible.
pub(crate) fn is_visible(access: &TableAccess) -> bool {
    access.read || access.insert || access.update || access.delete
}

/// The 403 of every change to the `system` database.
pub(crate) fn internal_database() -> Failure {
    Failure::new(
        403,
        "The 'system' database, tables and records are used internally by HarperDB and cannot be \
         updated or removed.",
    )
}

/// Refuses the `system` database; nobody restructures it.
pub(crate) fn require_not_system(database: &str) -> Result<(), Failure> {
    match database == SYSTEM {
        true => Err(internal_database()),
        false => Ok(()),
    }
}
