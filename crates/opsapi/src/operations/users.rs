//! Users and roles (`operations-api.md` §9).

use std::sync::Arc;

use auth::{Directory, NewRole, NewUser, RoleChange, UserChange};
use resource::{Catalog, Map, Value};

use crate::operations::write::updated_one;
use crate::parameters::{Check, Parameter};
use crate::{Call, Failure, Need, Operation, Reply};

const USERNAME: Parameter = Parameter::plain("username");
const PASSWORD: Parameter = Parameter::plain("password");
const ROLE: Parameter = Parameter::plain("role");
const ACTIVE: Parameter = Parameter::plain("active");
const ID: Parameter = Parameter::plain("id");
const PERMISSION: Parameter = Parameter::plain("permission");
const ACCESS: Parameter = Parameter::plain("access");

type Users = Arc<Directory>;
type Roles = (Arc<Directory>, Arc<dyn Catalog>);

pub(super) fn operations(directory: Arc<Directory>, catalog: Arc<dyn Catalog>) -> Vec<Operation> {
    let roles: Roles = (Arc::clone(&directory), catalog);
    let only = Need::SuperUser;
    vec![
        Operation::on(&directory, "user_info", Need::User, user_info),
        Operation::on(&directory, "list_users", only, list_users).shown_as("listUsersExternal"),
        Operation::on(&directory, "add_user", only, add_user).shown_as("addUser"),
        Operation::on(&directory, "alter_user", only, alter_user).shown_as("alterUser"),
        Operation::on(&directory, "drop_user", only, drop_user).shown_as("dropUser"),
        Operation::on(&directory, "list_roles", only, list_roles).shown_as("listRoles"),
        Operation::on(&directory, "drop_role", only, drop_role).shown_as("dropRole"),
        Operation::on(&roles, "add_role", only, add_role).shown_as("addRole"),
        Operation::on(&roles, "alter_role", only, alter_role).shown_as("alterRole"),
    ]
}

async fn user_info(users: Users, call: Call) -> Result<Reply, Failure> {
    let user = call.user()?;
    // Who acts inside the process, or was dropped a moment ago, is described by what the check said.
    let info = users.user_info(&user.username).unwrap_or_else(|| {
        let super_user = Value::Bool(user.permissions.super_user);
        let permission = Map::from_iter([("super_user", super_user)]);
        let role = Map::from_iter([
            ("role", Value::from(&*user.role)),
            ("permission", Value::Map(permission)),
        ]);
        Map::from_iter([
            ("username", Value::from(&*user.username)),
            ("role", Value::Map(role)),
        ])
    });
    Ok(Reply::value(info))
}

async fn list_users(users: Users, _: Call) -> Result<Reply, Failure> {
    Ok(Reply::value(maps(users.list_users())))
}

async fn add_user(users: Users, call: Call) -> Result<Reply, Failure> {
    let mut check = Check::new(&call.parameters);
    let username = check.required_text(USERNAME);
    let password = check.required_text(PASSWORD);
    let role = check.required_text(ROLE);
    let active = check.required_flag(ACTIVE);
    let required = username.zip(password).zip(role).zip(active);
    let (((username, password), role), active) = check.finish_with(required)?;
    let user = NewUser {
        username: username.to_owned(),
        password: password.to_owned(),
        role: role.to_owned(),
        active,
    };
    users.add_user(&user, &call.context).await?;
    Ok(Reply::message(format!("{username} successfully added")))
}

async fn alter_user(users: Users, call: Call) -> Result<Reply, Failure> {
    let mut check = Check::new(&call.parameters);
    let username = check.required_text(USERNAME);
    let change = UserChange {
        // Empty texts have messages of their own, further in.
        password: any_text(&mut check, &call, PASSWORD),
        role: any_text(&mut check, &call, ROLE),
        active: match ACTIVE.of(&call.parameters) {
            None => None,
            Some(Value::Bool(active)) => Some(*active),
            Some(_) => {
                check.complain("active must be true or false");
                None
            }
        },
    };
    let username = check.finish_with(username)?;
    let at = users.alter_user(username, &change, &call.context).await?;
    Ok(updated_one(username, at))
}

fn any_text(check: &mut Check<'_>, call: &Call, parameter: Parameter) -> Option<String> {
    match parameter.of(&call.parameters)? {
        Value::String(text) => Some(text.clone()),
        _ => {
            check.violation(parameter, "must be a string");
            None
        }
    }
}

async fn drop_user(users: Users, call: Call) -> Result<Reply, Failure> {
    let mut check = Check::new(&call.parameters);
    let username = check.required_text(USERNAME);
    let username = check.finish_with(username)?;
    users.drop_user(username, &call.context).await?;
    Ok(Reply::message(format!("{username} successfully deleted")))
}

async fn list_roles(users: Users, _: Call) -> Result<Reply, Failure> {
    Ok(Reply::value(maps(users.list_roles())))
}

async fn add_role((users, catalog): Roles, call: Call) -> Result<Reply, Failure> {
    let mut check = Check::new(&call.parameters);
    let role = check.required_text(ROLE);
    let permission = check.required(PERMISSION);
    let id = check.text(ID);
    let (role, permission) = check.finish_with(role.zip(permission))?;
    let role = NewRole {
        id: id.map(str::to_owned),
        role: role.to_owned(),
        permission: permission.clone(),
        access: ACCESS.of(&call.parameters).cloned(),
    };
    let stored = users
        .add_role(&role, Some(&*catalog), &call.context)
        .await?;
    Ok(Reply::value(stored))
}

async fn alter_role((users, catalog): Roles, call: Call) -> Result<Reply, Failure> {
    let mut check = Check::new(&call.parameters);
    let id = check.required_text(ID);
    let permission = check.required(PERMISSION);
    let role = check.text(ROLE);
    let (id, permission) = check.finish_with(id.zip(permission))?;
    let change = RoleChange {
        role: role.map(str::to_owned),
        permission: Some(permission.clone()),
        access: ACCESS.of(&call.parameters).cloned(),
    };
    let altered = users.alter_role(id, &change, Some(&*catalog), &call.context);
    Ok(Reply::value(altered.await?))
}

async fn drop_role(users: Users, call: Call) -> Result<Reply, Failure> {
    let mut check = Check::new(&call.parameters);
    let id = check.required_text(ID);
    let id = check.finish_with(id)?;
    let name = users.drop_role(id, &call.context).await?;
    Ok(Reply::message(format!("{name} successfully deleted")))
}

fn maps(maps: Vec<Map>) -> Value {
    Value::Array(maps.into_iter().map(Value::Map).collect())
}
