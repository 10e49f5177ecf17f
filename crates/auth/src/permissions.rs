//! From the permission object of a role to [`Permissions`] (`auth.md` §9.1, `operations-api.md` §9).
//!
//! One pass reads and validates: [`parse`] always returns the most restrictive reading together with
//! everything it did not like. A new role with errors is refused; a stored one takes effect as far as it
//! was understood.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use resource::access::{AttributeFlags, StructureUser};
use resource::{
    Action, AttributeAccess, Catalog, Map, Permissions, TableAccess, TableDefinition, Value,
};

/// Operations of the group `read_only`.
const READ_ONLY: [&str; 15] = [
    "search",
    "search_by_conditions",
    "search_by_hash",
    "search_by_id",
    "search_by_value",
    "sql",
    "describe_all",
    "describe_schema",
    "describe_database",
    "describe_table",
    "user_info",
    "get_job",
    "get_analytics",
    "list_metrics",
    "describe_metric",
];

/// What the group `standard_user` adds to `read_only`.
const STANDARD_USER: [&str; 8] = [
    "insert",
    "update",
    "upsert",
    "delete",
    "csv_data_load",
    "csv_file_load",
    "csv_url_load",
    "import_from_s3",
];

/// Times that the server sets: at most readable (P5).
const INTERNAL_TIMES: [&str; 2] = ["__createdtime__", "__updatedtime__"];

const ACTIONS: [Action; 4] = [Action::Read, Action::Insert, Action::Update, Action::Delete];

/// What is wrong with a permission object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PermissionErrors {
    /// About the object as a whole.
    pub main: Vec<String>,
    /// About single tables, by `<database>_<table>`.
    pub tables: BTreeMap<String, Vec<String>>,
}

impl PermissionErrors {
    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.main.is_empty() && self.tables.is_empty()
    }

    /// All texts; those about a table begin with its key.
    pub fn messages(&self) -> impl Iterator<Item = String> {
        let tables = self.tables.iter().flat_map(|(key, messages)| {
            messages
                .iter()
                .map(move |message| format!("{key}: {message}"))
        });
        self.main.iter().cloned().chain(tables)
    }

    /// The answer to a client: `error`, `main_permissions`, `schema_permissions`.
    pub fn to_map(&self) -> Map {
        let texts = |texts: &[String]| {
            Value::Array(
                texts
                    .iter()
                    .map(|text| Value::from(text.as_str()))
                    .collect(),
            )
        };
        let tables = self
            .tables
            .iter()
            .map(|(key, list)| (key.as_str(), texts(list)));
        Map::from_iter([
            (
                "error",
                Value::from("Errors in the role permissions JSON provided"),
            ),
            ("main_permissions", texts(&self.main)),
            ("schema_permissions", Value::Map(tables.collect())),
        ])
    }
}

/// Reads a permission object. With a `catalog`, databases, tables and attributes have to exist.
///
/// ```
/// use resource::json;
///
/// let object = json::from_slice(br#"{"shop": {"tables": {"orders": {
///     "read": true, "insert": false, "update": false, "delete": "no"}}}}"#).unwrap();
/// let (permissions, errors) = auth::permissions::parse(&object, None);
/// assert!(permissions.table("shop", "orders").read);
/// assert_eq!(errors.tables["shop_orders"], ["Table DELETE permission must be a boolean"]);
/// ```
pub fn parse(permission: &Value, catalog: Option<&dyn Catalog>) -> (Permissions, PermissionErrors) {
    let mut reader = Reader {
        catalog,
        permissions: Permissions::default(),
        errors: PermissionErrors::default(),
    };
    match permission {
        Value::Map(permission) => reader.read(permission),
        _ => reader.main("'permission' must be an object"),
    }
    (reader.permissions, reader.errors)
}

struct Reader<'a> {
    catalog: Option<&'a dyn Catalog>,
    permissions: Permissions,
    errors: PermissionErrors,
}

impl Reader<'_> {
    fn main(&mut self, message: impl Into<String>) {
        self.errors.main.push(message.into());
    }

    fn read(&mut self, permission: &Map) {
        let mut unknown = Vec::new();
        for (name, value) in permission.iter() {
            match name {
                "super_user" => self.permissions.super_user = self.read_flag(name, value),
                // Inter-node users of an older kind of cluster: accepted and without meaning.
                "cluster_user" => _ = self.read_flag(name, value),
                "structure_user" => self.read_structure_user(value),
                "operations" => self.read_operations(value),
                _ => match value {
                    Value::Map(value) if is_short_form(value) => {
                        self.read_table("data", name, value);
                    }
                    Value::Map(value) => self.read_database(name, value),
                    _ => unknown.push(format!("'{name}'")),
                },
            }
        }
        match unknown.as_slice() {
            [] => {}
            [one] => self.main(format!("Invalid key in JSON body - {one}")),
            many => self.main(format!("Invalid keys in JSON body - {}", many.join(", "))),
        }
        if self.permissions.super_user && permission.len() > 1 {
            self.main("Roles with 'super_user' set to true cannot have other permissions set.");
        }
    }

    fn read_flag(&mut self, name: &str, value: &Value) -> bool {
        value.as_bool().unwrap_or_else(|| {
            self.main(format!("Value for '{name}' permission must be a boolean"));
            false
        })
    }

    fn read_structure_user(&mut self, value: &Value) {
        self.permissions.structure_user = match value {
            Value::Bool(true) => StructureUser::All,
            Value::Bool(false) => StructureUser::No,
            Value::Array(databases) => {
                let databases = databases.iter().filter_map(Value::as_str);
                let databases: HashSet<_> = databases.map(str::to_owned).collect();
                let mut missing: Vec<_> = databases
                    .iter()
                    .filter(|database| !self.has_database(database))
                    .map(|database| format!("database '{database}' does not exist"))
                    .collect();
                missing.sort_unstable();
                self.errors.main.extend(missing);
                StructureUser::Databases(databases)
            }
            _ => {
                self.main("Value for 'structure_user' permission must be a boolean or Array");
                StructureUser::No
            }
        };
    }

    fn read_operations(&mut self, value: &Value) {
        // An allow-list that is not understood allows nothing.
        let mut allowed = HashSet::new();
        match value {
            Value::Array(names) if names.iter().all(|name| name.as_str().is_some()) => {
                for name in names.iter().filter_map(Value::as_str) {
                    let group: &[&[&str]] = match name {
                        "read_only" => &[&READ_ONLY],
                        "standard_user" => &[&READ_ONLY, &STANDARD_USER],
                        one => &[&[one]],
                    };
                    allowed.extend(group.iter().copied().flatten().map(|&name| name.to_owned()));
                }
            }
            _ => self.main("Value for 'operations' permission must be an Array of operation names"),
        }
        self.permissions.operations = Some(allowed);
    }

    fn read_database(&mut self, database: &str, value: &Map) {
        if !self.has_database(database) {
            self.main(format!("database '{database}' does not exist"));
            return;
        }
        let unknown: Vec<_> = value.keys().filter(|name| *name != "tables").collect();
        for name in unknown {
            self.main(format!("Invalid key in JSON body - '{database}.{name}'"));
        }
        match value.get("tables") {
            None => {}
            Some(Value::Map(tables)) => {
                for (table, flags) in tables.iter() {
                    match flags {
                        Value::Map(flags) => self.read_table(database, table, flags),
                        _ => self.main(format!("Invalid key in JSON body - '{database}.{table}'")),
                    }
                }
            }
            Some(_) => self.main(format!("Invalid key in JSON body - '{database}.tables'")),
        }
    }

    fn read_table(&mut self, database: &str, table: &str, value: &Map) {
        let definition = match self.catalog.map(|catalog| catalog.table(database, table)) {
            Some(Err(error)) => {
                self.main(error.message());
                return;
            }
            Some(Ok(table)) => table.table(),
            None => None,
        };
        let mut messages = Vec::new();
        let access = read_table(value, definition.as_deref(), &mut messages);
        if conflicts(&access) {
            messages.push(format!(
                "You have a conflict with TABLE permissions for '{database}.{table}' being false and \
                 ATTRIBUTE permissions being true"
            ));
        }
        if !messages.is_empty() {
            self.errors
                .tables
                .insert(format!("{database}_{table}"), messages);
        }
        self.permissions
            .tables
            .entry(database.to_owned())
            .or_default()
            .insert(table.to_owned(), access);
    }

    fn has_database(&self, database: &str) -> bool {
        self.catalog
            .is_none_or(|catalog| catalog.tables(database).is_some())
    }
}

/// `permission.<table>` for the database `data`: flags where a database has `tables`.
fn is_short_form(value: &Map) -> bool {
    !value.contains_key("tables")
        && (value.contains_key("attribute_permissions")
            || ACTIONS
                .iter()
                .any(|action| value.contains_key(action.as_str())))
}

fn read_table(
    value: &Map,
    definition: Option<&TableDefinition>,
    messages: &mut Vec<String>,
) -> TableAccess {
    for name in value.keys() {
        let is_flag = ACTIONS.iter().any(|action| action.as_str() == name);
        if !is_flag && name != "attribute_permissions" {
            messages.push(format!("Invalid table permission key value '{name}'"));
        }
    }
    let [read, insert, update, delete] = ACTIONS.map(|action| {
        let shown = action.as_str().to_uppercase();
        read_flag(
            value.get(action.as_str()),
            messages,
            |problem| match problem {
                Problem::Missing => format!("Missing table {shown} permission"),
                Problem::NotBoolean => format!("Table {shown} permission must be a boolean"),
            },
        )
    });
    TableAccess {
        read,
        insert,
        update,
        delete,
        attributes: read_attributes(value.get("attribute_permissions"), definition, messages),
    }
}

fn read_attributes(
    value: Option<&Value>,
    definition: Option<&TableDefinition>,
    messages: &mut Vec<String>,
) -> Option<Arc<AttributeAccess>> {
    let list = match value {
        None | Some(Value::Null) => return None,
        Some(Value::Array(list)) if list.is_empty() => return None,
        Some(Value::Array(list)) => list.as_slice(),
        Some(_) => {
            messages.push("Value for 'attribute_permissions' must be an array".to_owned());
            &[]
        }
    };
    let mut attributes = HashMap::new();
    for item in list {
        let item = item.as_map();
        let name = item.and_then(|item| item.get("attribute_name")?.as_str());
        let (Some(item), Some(name)) = (item, name) else {
            messages.push(
                "Permission object in 'attribute_permission' missing an 'attribute_name'"
                    .to_owned(),
            );
            continue;
        };
        if definition.is_some_and(|definition| definition.attribute(name).is_none()) {
            messages.push(format!(
                "Invalid attribute '{name}' in 'attribute_permissions'"
            ));
        }
        attributes.insert(name.to_owned(), read_attribute(name, item, messages));
    }
    Some(Arc::new(AttributeAccess { attributes }))
}

fn read_attribute(name: &str, item: &Map, messages: &mut Vec<String>) -> AttributeFlags {
    let actions = [Action::Read, Action::Insert, Action::Update];
    for key in item.keys() {
        let is_flag = actions.iter().any(|action| action.as_str() == key);
        if !is_flag && key != "attribute_name" {
            messages.push(format!("Invalid attribute permission key value '{key}'"));
        }
    }
    let [read, insert, update] = actions.map(|action| {
        let shown = action.as_str().to_uppercase();
        read_flag(
            item.get(action.as_str()),
            messages,
            |problem| match problem {
                Problem::Missing => format!("{shown} attribute permission missing for '{name}'"),
                Problem::NotBoolean => {
                    format!("{shown} attribute permission for '{name}' must be a boolean")
                }
            },
        )
    });
    let is_writable = !INTERNAL_TIMES.contains(&name);
    AttributeFlags {
        read,
        insert: insert && is_writable,
        update: update && is_writable,
    }
}

enum Problem {
    Missing,
    NotBoolean,
}

fn read_flag(
    value: Option<&Value>,
    messages: &mut Vec<String>,
    text: impl Fn(Problem) -> String,
) -> bool {
    match value {
        Some(Value::Bool(flag)) => *flag,
        Some(_) => {
            messages.push(text(Problem::NotBoolean));
            false
        }
        None => {
            messages.push(text(Problem::Missing));
            false
        }
    }
}

fn conflicts(access: &TableAccess) -> bool {
    let Some(attributes) = &access.attributes else {
        return false;
    };
    attributes.attributes.values().any(|flags| {
        (flags.read && !access.read)
            || (flags.insert && !access.insert)
            || (flags.update && !access.update)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use resource::json;

    fn parsed(text: &str) -> (Permissions, PermissionErrors) {
        parse(&json::from_slice(text.as_bytes()).unwrap(), None)
    }

    /// The permission object and all the messages it deserves.
    fn check(text: &str, expected: &[&str]) {
        let messages: Vec<_> = parsed(text).1.messages().collect();
        assert_eq!(messages, expected, "{text}");
    }

    #[test]
    fn s9_1_a_full_object_is_understood() {
        let (permissions, errors) = parsed(
            r#"{"super_user": false, "structure_user": ["shop"], "operations": ["read_only", "insert"],
                "shop": {"tables": {"orders": {
                    "read": true, "insert": true, "update": true, "delete": false,
                    "attribute_permissions": [
                        {"attribute_name": "note", "read": true, "insert": true, "update": false},
                        {"attribute_name": "__createdtime__", "read": true, "insert": true, "update": true}]}}}}"#,
        );
        assert!(errors.is_empty(), "{errors:?}");
        assert!(permissions.may_restructure("shop"));
        assert!(!permissions.may_restructure("other"));
        let operations = permissions.operations.as_ref().unwrap();
        assert!(operations.contains("search_by_value") && operations.contains("insert"));
        assert!(!operations.contains("delete"));
        let table = permissions.table("shop", "orders");
        assert!(table.read && table.insert && table.update && !table.delete);
        let attributes = table.attributes.unwrap();
        assert!(attributes.allows(Action::Insert, "note", "id"));
        assert!(!attributes.allows(Action::Read, "margin", "id"));
        assert!(attributes.allows(Action::Read, "__createdtime__", "id"));
        assert!(!attributes.allows(Action::Update, "__createdtime__", "id"));
    }

    #[test]
    fn s9_1_the_short_form_means_the_database_data() {
        let (permissions, errors) =
            parsed(r#"{"Dog": {"read": true, "insert": false, "update": false, "delete": false}}"#);
        assert!(errors.is_empty(), "{errors:?}");
        assert!(permissions.table("data", "Dog").read);
    }

    #[test]
    fn s9_an_empty_attribute_list_means_all_attributes() {
        for list in ["[]", "null"] {
            let (permissions, errors) = parsed(&format!(
                r#"{{"db": {{"tables": {{"t": {{"read": true, "insert": false, "update": false,
                    "delete": false, "attribute_permissions": {list}}}}}}}}}"#
            ));
            assert!(errors.is_empty());
            assert_eq!(permissions.table("db", "t").attributes, None);
        }
    }

    #[test]
    fn a16_every_rule_has_its_message() {
        check("7", &["'permission' must be an object"]);
        check(
            r#"{"super_user": true, "db": {"tables": {}}}"#,
            &["Roles with 'super_user' set to true cannot have other permissions set."],
        );
        check(
            r#"{"super_user": "yes", "cluster_user": 1, "structure_user": 2, "a": 3, "b": 4}"#,
            &[
                "Value for 'super_user' permission must be a boolean",
                "Value for 'cluster_user' permission must be a boolean",
                "Value for 'structure_user' permission must be a boolean or Array",
                "Invalid keys in JSON body - 'a', 'b'",
            ],
        );
        check(r#"{"a": 3}"#, &["Invalid key in JSON body - 'a'"]);
        check(
            r#"{"db": {"tables": {"t": {"read": 1, "insert": true, "update": true, "x": 1,
                "attribute_permissions": 5}}}}"#,
            &[
                "db_t: Invalid table permission key value 'x'",
                "db_t: Table READ permission must be a boolean",
                "db_t: Missing table DELETE permission",
                "db_t: Value for 'attribute_permissions' must be an array",
            ],
        );
        check(
            r#"{"db": {"tables": {"t": {"read": false, "insert": true, "update": true, "delete": true,
                "attribute_permissions": [{"read": true},
                    {"attribute_name": "a", "read": true, "insert": 1, "y": 2}]}}}}"#,
            &[
                "db_t: Permission object in 'attribute_permission' missing an 'attribute_name'",
                "db_t: Invalid attribute permission key value 'y'",
                "db_t: INSERT attribute permission for 'a' must be a boolean",
                "db_t: UPDATE attribute permission missing for 'a'",
                "db_t: You have a conflict with TABLE permissions for 'db.t' being false and ATTRIBUTE \
                 permissions being true",
            ],
        );
    }

    #[test]
    fn what_is_not_understood_is_not_allowed() {
        let (permissions, _) = parsed(r#"{"super_user": "true", "operations": "all"}"#);
        assert!(!permissions.super_user);
        assert_eq!(permissions.operations, Some(HashSet::new()));
        let (permissions, _) = parsed(
            r#"{"db": {"tables": {"t": {"read": true, "insert": true, "update": true, "delete": true,
                "attribute_permissions": "none"}}}}"#,
        );
        let attributes = permissions.table("db", "t").attributes.unwrap();
        assert!(!attributes.allows(Action::Read, "id", "id"));
    }
}
