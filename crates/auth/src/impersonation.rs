//! Acting as somebody else (`auth.md` §10): super users alone, and never with all rights.

use std::sync::Arc;

use resource::{Caller, Catalog, Error, Map, Permissions, User, Value};

use crate::{Directory, permissions};

impl Directory {
    /// The caller that an operation with the member `impersonate` runs as.
    ///
    /// `role` wins over `role_name`, which wins over `username`. Rights of a super user are left out whichever it is.
    ///
    /// # Errors
    ///
    /// 403 for a caller who is no super user, or an inactive user; 404 for an unknown user or role; 400 for
    /// anything else that is wrong.
    pub fn impersonate(
        &self,
        caller: &Caller,
        wanted: &Value,
        catalog: Option<&dyn Catalog>,
    ) -> Result<Caller, Error> {
        let Some(own) = caller.user().filter(|user| user.permissions.super_user) else {
            return Err(Error::forbidden("Only super users can impersonate"));
        };
        let Value::Map(wanted) = wanted else {
            return Err(Error::bad_request("'impersonate' must be an object"));
        };
        let username = text(wanted, "username")?;
        let (role, permissions) = match (wanted.get("role"), text(wanted, "role_name")?, username) {
            (Some(role), _, _) => (Arc::from("inline"), inline(role, catalog)?),
            (None, Some(name), _) => self.role_permissions(name)?,
            (None, None, Some(username)) => self.user_permissions(username)?,
            (None, None, None) => {
                let text = "'impersonate' needs 'username', 'role_name' or 'role'";
                return Err(Error::bad_request(text));
            }
        };
        let user = User {
            username: username.map_or_else(|| Arc::clone(&own.username), Arc::from),
            role,
            permissions: Arc::new(Permissions {
                super_user: false,
                ..permissions
            }),
        };
        tracing::info!(
            target: "auth-event",
            by = &*own.username, r#as = &*user.username, role = &*user.role, "impersonation"
        );
        Ok(Caller::User(Arc::new(user)))
    }

    fn role_permissions(&self, name: &str) -> Result<(Arc<str>, Permissions), Error> {
        let snapshot = self.snapshot();
        let (_, role) = snapshot
            .role_named(name)
            .ok_or_else(|| Error::not_found(format!("{name} role not found")))?;
        Ok((Arc::clone(&role.name), (*role.permissions).clone()))
    }

    fn user_permissions(&self, username: &str) -> Result<(Arc<str>, Permissions), Error> {
        let snapshot = self.snapshot();
        let account = snapshot
            .users
            .get(username)
            .ok_or_else(|| Error::not_found(format!("User {username} does not exist")))?;
        match &account.user {
            Some(user) if account.active => {
                Ok((Arc::clone(&user.role), (*user.permissions).clone()))
            }
            _ => Err(Error::forbidden(format!("User {username} is inactive"))),
        }
    }
}

fn inline(role: &Value, catalog: Option<&dyn Catalog>) -> Result<Permissions, Error> {
    let Value::Map(role) = role else {
        return Err(Error::bad_request("'impersonate.role' must be an object"));
    };
    let permission = role.get("permission").unwrap_or(&Value::Null);
    let (permissions, errors) = permissions::parse(permission, catalog);
    match errors.messages().next() {
        None => Ok(permissions),
        Some(first) => Err(Error::bad_request(format!("'impersonate.role': {first}"))),
    }
}

fn text<'a>(map: &'a Map, name: &str) -> Result<Option<&'a str>, Error> {
    match map.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Error::bad_request(format!(
            "'impersonate.{name}' must be a string"
        ))),
    }
}
