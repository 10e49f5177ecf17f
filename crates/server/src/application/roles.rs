//! `roles`: roles from YAML files (`config-and-cli.md` §7, `auth.md` §9.5).
//!
//! A role is added if there is none of its name and altered only where it differs; none is ever dropped.

use std::path::{Path, PathBuf};

use auth::{NewRole, RoleChange, RoleError};
use resource::{Catalog, Context, Map, Value};

use super::Host;
use super::files::name_within;

/// A role as a file declares it.
#[derive(Debug, PartialEq)]
struct Declared {
    name: String,
    permission: Value,
    access: Option<Value>,
}

/// Adds and alters the roles of all files. The answer are the errors; the other roles are in force all the same.
pub(super) async fn load(directory: &Path, paths: &[PathBuf], host: &Host) -> Vec<String> {
    let mut errors = Vec::new();
    for path in paths {
        let name = name_within(directory, path);
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                errors.push(format!("{name}: {error}"));
                continue;
            }
        };
        match parse(&text) {
            Err(problem) => errors.push(format!("{name}: {problem}")),
            Ok(roles) => {
                for role in roles {
                    let line = line_of(&text, &role.name);
                    if let Err(error) = apply(&role, host).await {
                        let (role, error) = (&role.name, describe(&error));
                        errors.push(format!("{name}:{line}: role '{role}': {error}"));
                    }
                }
            }
        }
    }
    errors
}

async fn apply(role: &Declared, host: &Host) -> Result<(), RoleError> {
    let catalog: &dyn Catalog = host.store.as_ref();
    let context = Context::internal();
    let roles = host.directory.list_roles();
    let of_name = |stored: &&Map| stored.get("role").and_then(Value::as_str) == Some(&role.name);
    let Some(stored) = roles.iter().find(of_name) else {
        let new = NewRole {
            id: None,
            role: role.name.clone(),
            permission: role.permission.clone(),
            access: role.access.clone(),
        };
        host.directory
            .add_role(&new, Some(catalog), &context)
            .await?;
        tracing::info!("added the role '{}'", role.name);
        return Ok(());
    };
    let is_same = stored.get("permission") == Some(&role.permission)
        && (role.access.is_none() || stored.get("access") == role.access.as_ref());
    if is_same {
        return Ok(());
    }
    let id = stored.get("id").and_then(Value::as_str);
    let change = RoleChange {
        role: None,
        permission: Some(role.permission.clone()),
        access: role.access.clone(),
    };
    host.directory
        .alter_role(id.unwrap_or(&role.name), &change, Some(catalog), &context)
        .await?;
    tracing::info!("altered the role '{}'", role.name);
    Ok(())
}

fn describe(error: &RoleError) -> String {
    match error {
        RoleError::Permission(errors) => {
            let of_tables = errors
                .tables
                .iter()
                .flat_map(|(table, list)| list.iter().map(move |text| format!("{table}: {text}")));
            let all: Vec<_> = errors.main.iter().cloned().chain(of_tables).collect();
            all.join("; ")
        }
        other => other.to_string(),
    }
}

/// The line of a top-level key, from 1.
fn line_of(text: &str, key: &str) -> usize {
    let is_key = |line: &str| {
        let line = line.trim_start_matches(['"', '\'']);
        let rest = line.strip_prefix(key);
        rest.is_some_and(|rest| rest.trim_start_matches(['"', '\'', ' ']).starts_with(':'))
    };
    text.lines().position(is_key).map_or(1, |line| line + 1)
}

fn parse(text: &str) -> Result<Vec<Declared>, String> {
    let value: Option<Value> =
        serde_saphyr::from_str(text).map_err(|error| super::yaml_problem(&error))?;
    let roles = match value {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Map(roles)) => roles,
        Some(other) => {
            return Err(format!(
                "is {}: expected a mapping of role names to permissions",
                other.kind()
            ));
        }
    };
    roles
        .iter()
        .map(|(name, body)| match body {
            Value::Map(body) => Ok(declared(name, body)),
            other => Err(format!(
                "role '{name}' is {}: expected a mapping of permissions",
                other.kind()
            )),
        })
        .collect()
}

fn declared(name: &str, body: &Map) -> Declared {
    let permission = match body.get("permission") {
        Some(permission) => permission.clone(),
        None => Value::Map(permission(body)),
    };
    Declared {
        name: name.to_owned(),
        permission,
        access: body.get("access").cloned(),
    }
}

/// The permission object that the short form stands for.
fn permission(body: &Map) -> Map {
    let is_super = body.get("super_user").and_then(Value::as_bool) == Some(true);
    let mut permission = Map::new();
    for flag in ["super_user", "structure_user"] {
        match body.get(flag) {
            Some(value) => _ = permission.insert(flag, value.clone()),
            // A super user may have no other permission, not even one that is false.
            None if !is_super => _ = permission.insert(flag, false),
            None => {}
        }
    }
    for (name, value) in body.iter() {
        match (name, value) {
            ("super_user" | "structure_user" | "access", _) => {}
            ("operations" | "cluster_user", _) => _ = permission.insert(name, value.clone()),
            (_, Value::Map(database)) => {
                let tables = match database.get("tables") {
                    Some(Value::Map(tables)) => tables,
                    _ => database,
                };
                let tables = tables.iter().map(|(name, flags)| (name, table(flags)));
                let database = Map::from_iter([("tables", Value::Map(tables.collect()))]);
                permission.insert(name, Value::Map(database));
            }
            // Named by the check of permissions.
            (_, other) => _ = permission.insert(name, other.clone()),
        }
    }
    permission
}

const FLAGS: [&str; 4] = ["read", "insert", "update", "delete"];

/// Missing flags are false; `attributes` becomes the list of the full form.
fn table(flags: &Value) -> Value {
    let Value::Map(given) = flags else {
        return flags.clone();
    };
    let mut table = with_flags(given, &FLAGS);
    let attributes = match (given.get("attributes"), given.get("attribute_permissions")) {
        (Some(Value::Map(attributes)), _) => {
            Value::Array(attributes.iter().map(attribute).collect())
        }
        (Some(other), _) => other.clone(),
        (None, list) => list.cloned().unwrap_or(Value::Null),
    };
    table.insert("attribute_permissions", attributes);
    let others = given.iter().filter(|(name, _)| {
        !FLAGS.contains(name) && !["attributes", "attribute_permissions"].contains(name)
    });
    // Named by the check of permissions.
    for (name, value) in others {
        table.insert(name, value.clone());
    }
    Value::Map(table)
}

fn attribute((name, flags): (&str, &Value)) -> Value {
    let Value::Map(given) = flags else {
        return flags.clone();
    };
    let mut attribute = Map::from_iter([("attribute_name", Value::from(name))]);
    let flags = with_flags(given, &FLAGS[..3]);
    for (name, value) in flags.iter().chain(given.iter()) {
        attribute.insert(name, value.clone());
    }
    Value::Map(attribute)
}

/// These flags, false where they are not given.
fn with_flags(given: &Map, flags: &[&str]) -> Map {
    let value = |flag: &&str| given.get(flag).cloned().unwrap_or(Value::Bool(false));
    flags.iter().map(|flag| (*flag, value(flag))).collect()
}

#[cfg(test)]
mod tests {
    use resource::json;

    use super::*;

    fn permission_of(text: &str) -> String {
        let roles = parse(text).unwrap();
        String::from_utf8(json::to_vec(&roles[0].permission)).unwrap()
    }

    #[test]
    fn auth_9_5_levels_may_be_left_out_and_missing_flags_are_false() {
        let expected = r#"{"super_user":false,"structure_user":false,"shop":{"tables":{"orders":{"read":true,"insert":true,"update":false,"delete":false,"attribute_permissions":[{"attribute_name":"note","read":true,"insert":false,"update":false}]}}}}"#;
        let orders = "orders: {read: true, insert: true, attributes: {note: {read: true}}}";
        assert_eq!(
            permission_of(&format!("clerk:\n  shop:\n    {orders}\n")),
            expected
        );
        assert_eq!(
            permission_of(&format!("clerk:\n  shop:\n    tables:\n      {orders}\n")),
            expected
        );
    }

    #[test]
    fn the_explicit_form_is_taken_as_it_is_and_access_is_kept() {
        let roles =
            parse("a:\n  access: {region: eu}\n  permission: {super_user: true}\n").unwrap();
        assert_eq!(
            json::to_vec(&roles[0].permission),
            br#"{"super_user":true}"#
        );
        assert_eq!(
            json::to_vec(roles[0].access.as_ref().unwrap()),
            br#"{"region":"eu"}"#
        );
        assert_eq!(
            permission_of("a: {super_user: true}"),
            r#"{"super_user":true}"#
        );
    }

    #[test]
    fn what_is_no_role_is_named() {
        assert!(parse("- a").unwrap_err().contains("expected a mapping"));
        assert!(parse("a: 1").unwrap_err().starts_with("role 'a' is"));
        assert_eq!(parse("# nothing yet\n"), Ok(Vec::new()));
        assert_eq!(line_of("a:\n  x: 1\n'b':\n", "b"), 3);
    }
}
