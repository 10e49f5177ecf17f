//! Changes to roles (`auth.md` §8, §9; `operations-api.md` §9).

use base::Timestamp;
use resource::{Catalog, Context, Error, Map, Value, Write, WriteKind, WriteOutcome};

use crate::Directory;
use crate::permissions::{self, PermissionErrors};
use crate::users::on_behalf_of;

/// A role to add.
#[derive(Debug, Clone)]
pub struct NewRole {
    /// Its key; the name if `None`.
    pub id: Option<String>,
    /// Its name, unique.
    pub role: String,
    /// The permission object.
    pub permission: Value,
    /// Data of the application about the role.
    pub access: Option<Value>,
}

/// What to change about a role; `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct RoleChange {
    /// New name.
    pub role: Option<String>,
    /// New permission object, in place of the old one.
    pub permission: Option<Value>,
    /// New data of the application about the role.
    pub access: Option<Value>,
}

/// Why a role was not added or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RoleError {
    /// Caller: the permission object breaks rules; all of them are listed. Answered with 400 and
    /// [`PermissionErrors::to_map`].
    #[error("errors in the role permissions")]
    Permission(PermissionErrors),
    /// Anything else, with its status.
    #[error(transparent)]
    Refused(#[from] Error),
}

impl Directory {
    /// Adds a role and returns it as stored. With a `catalog`, what the permission object names must exist.
    ///
    /// # Errors
    ///
    /// [`RoleError::Permission`]; 409 `A role with name '<r>' already exists`.
    pub async fn add_role(
        &self,
        role: &NewRole,
        catalog: Option<&dyn Catalog>,
        context: &Context,
    ) -> Result<Map, RoleError> {
        validate(&role.permission, catalog)?;
        let changing = self.changing().await;
        if self.snapshot().role_named(&role.role).is_some() {
            return Err(name_taken(&role.role).into());
        }
        let id = role.id.as_ref().unwrap_or(&role.role);
        let mut body = Map::from_iter([
            ("id", Value::from(id.as_str())),
            ("role", Value::from(role.role.as_str())),
            ("permission", role.permission.clone()),
        ]);
        if let Some(access) = &role.access {
            body.insert("access", access.clone());
        }
        let kind = WriteKind::InsertIfAbsent;
        let outcome = self.write_role(id, kind, Some(body), context).await?.0;
        self.reload_while(&changing).await?;
        if outcome == WriteOutcome::Skipped {
            return Err(name_taken(id).into());
        }
        Ok(self.stored_role(id)?)
    }

    /// Changes a role and returns what was changed with the time of the change.
    ///
    /// # Errors
    ///
    /// [`RoleError::Permission`]; 400 `Invalid role id`; 409 for a name that is taken and for the role of the
    /// last active super users.
    pub async fn alter_role(
        &self,
        id: &str,
        change: &RoleChange,
        catalog: Option<&dyn Catalog>,
        context: &Context,
    ) -> Result<Map, RoleError> {
        let permissions = match &change.permission {
            Some(permission) => Some(validate(permission, catalog)?),
            None => None,
        };
        let changing = self.changing().await;
        if !self.snapshot().roles.contains_key(id) {
            return Err(Error::bad_request("Invalid role id").into());
        }
        if let Some(name) = &change.role
            && self
                .snapshot()
                .role_named(name)
                .is_some_and(|(other, _)| other != id)
        {
            return Err(name_taken(name).into());
        }
        if permissions.is_some_and(|permissions| !permissions.super_user) {
            self.require_super_user_of_other_role(id)?;
        }
        let mut body = Map::from_iter([("id", Value::from(id))]);
        for (name, value) in [
            ("role", change.role.as_deref().map(Value::from)),
            ("permission", change.permission.clone()),
            ("access", change.access.clone()),
        ] {
            if let Some(value) = value {
                body.insert(name, value);
            }
        }
        let kind = WriteKind::UpdateIfPresent;
        let written = self.write_role(id, kind, Some(body.clone()), context);
        let (outcome, version) = written.await?;
        self.reload_while(&changing).await?;
        if outcome == WriteOutcome::Skipped {
            return Err(Error::bad_request("Invalid role id").into());
        }
        body.insert("__updatedtime__", version.as_millis());
        Ok(body)
    }

    /// Removes a role; returns its name.
    ///
    /// # Errors
    ///
    /// 404 `Role not found`; 409 while users have it, inactive ones included.
    pub async fn drop_role(&self, id: &str, context: &Context) -> Result<String, Error> {
        let changing = self.changing().await;
        let name = match self.snapshot().roles.get(id) {
            Some(role) => role.name.to_string(),
            None => return Err(Error::not_found("Role not found")),
        };
        let is_used = |id: &str| {
            let snapshot = self.snapshot();
            let mut accounts = snapshot.users.values();
            accounts.any(|account| account.role_id == id)
        };
        if is_used(id) {
            return Err(Error::conflict(format!(
                "Cannot drop role {name} as it has active user(s) tied to this role"
            )));
        }
        self.write_role(id, WriteKind::Delete, None, context)
            .await?;
        self.reload_while(&changing).await?;
        Ok(name)
    }

    /// All roles by id, as stored.
    pub fn list_roles(&self) -> Vec<Map> {
        let snapshot = self.snapshot();
        let roles = snapshot.roles.values();
        roles.map(|role| role.record.clone()).collect()
    }

    fn stored_role(&self, id: &str) -> Result<Map, Error> {
        let snapshot = self.snapshot();
        let role = snapshot.roles.get(id).map(|role| role.record.clone());
        role.ok_or_else(|| Error::internal("a role vanished while it was added"))
    }

    /// Refuses what would lock everybody out.
    fn require_super_user_of_other_role(&self, id: &str) -> Result<(), Error> {
        let snapshot = self.snapshot();
        let is_of_role = |username: &str| {
            let account = snapshot.users.get(username);
            account.is_some_and(|account| account.role_id == id)
        };
        let mut of_role = snapshot
            .active_super_users()
            .map(|user| is_of_role(&user.username))
            .peekable();
        if of_role.peek().is_some() && of_role.all(|is_of_role| is_of_role) {
            return Err(Error::conflict(
                "Cannot take 'super_user' from the role of the last active super user",
            ));
        }
        Ok(())
    }

    async fn write_role(
        &self,
        id: &str,
        kind: WriteKind,
        body: Option<Map>,
        context: &Context,
    ) -> Result<(WriteOutcome, Timestamp), Error> {
        let write = Write::new(Some(id.into()), kind, body.map(Value::Map));
        let context = on_behalf_of(context);
        let written = self.roles().write(vec![write], &context).await?;
        let written = written.into_iter().next();
        written
            .map(|written| (written.outcome, written.version))
            .ok_or_else(|| Error::internal("a write of one role had no result"))
    }
}

fn validate(
    permission: &Value,
    catalog: Option<&dyn Catalog>,
) -> Result<resource::Permissions, RoleError> {
    let (permissions, errors) = permissions::parse(permission, catalog);
    match errors.is_empty() {
        true => Ok(permissions),
        false => Err(RoleError::Permission(errors)),
    }
}

fn name_taken(name: &str) -> Error {
    Error::conflict(format!("A role with name '{name}' already exists"))
}
