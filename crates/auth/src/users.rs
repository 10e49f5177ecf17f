//! Changes to users (`auth.md` §8, `operations-api.md` §9).
//!
//! Whoever calls these has checked that the caller may; the caller's name goes to the audit log. A change
//! is in effect on all workers when its future ends.

use std::fmt;

use base::Timestamp;
use resource::{Caller, Context, Error, Map, Value, Write, WriteKind, WriteOutcome};
use tokio::sync::MutexGuard;

use crate::{Directory, tokens};

/// A user to add.
#[derive(Clone)]
pub struct NewUser {
    /// Unique name, not empty.
    pub username: String,
    /// Password, not empty.
    pub password: String,
    /// Name of the role.
    pub role: String,
    /// Whether it may log in.
    pub active: bool,
}

/// What to change about a user; `None` stays as it is.
#[derive(Clone, Default)]
pub struct UserChange {
    /// New password.
    pub password: Option<String>,
    /// Name of the new role.
    pub role: Option<String>,
    /// Whether it may log in.
    pub active: Option<bool>,
}

impl fmt::Debug for NewUser {
    /// Never prints the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewUser")
            .field("username", &self.username)
            .field("role", &self.role)
            .field("active", &self.active)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for UserChange {
    /// Never prints the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserChange")
            .field("password", &self.password.as_ref().map(|_| "…"))
            .field("role", &self.role)
            .field("active", &self.active)
            .finish()
    }
}

impl Directory {
    /// Adds a user.
    ///
    /// # Errors
    ///
    /// 400 for an empty name or password, 404 `<role> role not found`, 409 `User <name> already exists`.
    pub async fn add_user(&self, user: &NewUser, context: &Context) -> Result<(), Error> {
        let changing = self.changing().await;
        self.add_user_while(&changing, user, context).await
    }

    pub(crate) async fn add_user_while(
        &self,
        changing: &MutexGuard<'_, ()>,
        user: &NewUser,
        context: &Context,
    ) -> Result<(), Error> {
        if user.username.is_empty() || user.password.is_empty() {
            let texts = [("username", &user.username), ("password", &user.password)];
            let empty = texts.iter().filter(|(_, text)| text.is_empty());
            let violations = empty.map(|(name, _)| format!("'{name}' is not allowed to be empty"));
            return Err(Error::validation(violations.collect()));
        }
        let role_id = self.role_id(&user.role);
        let role_id =
            role_id.ok_or_else(|| Error::not_found(format!("{} role not found", user.role)))?;
        let body = Map::from_iter([
            ("username", Value::from(user.username.as_str())),
            ("active", Value::Bool(user.active)),
            ("role", Value::from(role_id)),
            (
                "password",
                Value::from(self.passwords().hash(&user.password).await?),
            ),
            (
                "hash_function",
                Value::from(self.passwords().function().name()),
            ),
        ]);
        let kind = WriteKind::InsertIfAbsent;
        let outcome = self.write_user(&user.username, kind, Some(body), context);
        let outcome = outcome.await?.0;
        self.reload_while(changing).await?;
        match outcome {
            WriteOutcome::Skipped => Err(Error::conflict(format!(
                "User {} already exists",
                user.username
            ))),
            _ => Ok(()),
        }
    }

    /// Changes a user; returns the time of the change.
    ///
    /// # Errors
    ///
    /// 400 for nothing to change or empty texts, 404 for an unknown user or role, 409 for the last active
    /// super user.
    pub async fn alter_user(
        &self,
        username: &str,
        change: &UserChange,
        context: &Context,
    ) -> Result<Timestamp, Error> {
        let changing = self.changing().await;
        let mut body = Map::new();
        let mut stays_super_user = true;
        if let Some(active) = change.active {
            stays_super_user &= active;
            body.insert("active", active);
        }
        if let Some(role) = &change.role {
            if role.is_empty() {
                return Err(Error::bad_request(
                    "If role is specified, it cannot be empty.",
                ));
            }
            let role_id = self.role_id(role).ok_or_else(|| {
                Error::not_found(format!(
                    "Update failed.  Requested '{role}' role not found."
                ))
            })?;
            stays_super_user &= self.is_super_user_role(&role_id);
            body.insert("role", role_id);
        }
        if let Some(password) = &change.password {
            if password.is_empty() {
                return Err(Error::bad_request("password cannot be an empty string"));
            }
            body.insert("password", self.passwords().hash(password).await?);
            body.insert("hash_function", self.passwords().function().name());
            for (name, value) in tokens::revoked(self.tokens_valid_from(username)) {
                body.insert(name, value);
            }
        }
        if change.active == Some(false) {
            for (name, value) in tokens::revoked(self.tokens_valid_from(username)) {
                body.insert(name, value);
            }
        }
        if body.is_empty() {
            return Err(Error::bad_request(
                "nothing to update, must supply active, role or password to update",
            ));
        }
        self.require_user(username)?;
        if !stays_super_user {
            self.require_other_super_user(username)?;
        }
        let kind = WriteKind::UpdateIfPresent;
        let written = self.write_user(username, kind, Some(body), context);
        let (outcome, version) = written.await?;
        self.reload_while(&changing).await?;
        match outcome {
            WriteOutcome::Skipped => Err(no_such_user(username)),
            _ => Ok(version),
        }
    }

    /// Removes a user.
    ///
    /// # Errors
    ///
    /// 404 `User <name> does not exist`, 409 for the last active super user.
    pub async fn drop_user(&self, username: &str, context: &Context) -> Result<(), Error> {
        let changing = self.changing().await;
        self.require_user(username)?;
        self.require_other_super_user(username)?;
        let written = self.write_user(username, WriteKind::Delete, None, context);
        let outcome = written.await?.0;
        self.reload_while(&changing).await?;
        match outcome {
            WriteOutcome::Skipped => Err(no_such_user(username)),
            _ => Ok(()),
        }
    }

    /// All users by name, without secrets, each with its role expanded.
    pub fn list_users(&self) -> Vec<Map> {
        let snapshot = self.snapshot();
        let accounts = snapshot.users.values();
        accounts
            .map(|account| snapshot.visible_user(account))
            .collect()
    }

    /// One user, as in [`list_users`](Self::list_users).
    pub fn user_info(&self, username: &str) -> Option<Map> {
        let snapshot = self.snapshot();
        let account = snapshot.users.get(username)?;
        Some(snapshot.visible_user(account))
    }

    fn role_id(&self, name: &str) -> Option<String> {
        let snapshot = self.snapshot();
        snapshot.role_named(name).map(|(id, _)| id.to_owned())
    }

    fn is_super_user_role(&self, id: &str) -> bool {
        let snapshot = self.snapshot();
        let role = snapshot.roles.get(id);
        role.is_some_and(|role| role.permissions.super_user)
    }

    fn require_user(&self, username: &str) -> Result<(), Error> {
        match self.snapshot().users.contains_key(username) {
            true => Ok(()),
            false => Err(no_such_user(username)),
        }
    }

    /// Refuses what would lock everybody out.
    fn require_other_super_user(&self, username: &str) -> Result<(), Error> {
        let snapshot = self.snapshot();
        let mut super_users = snapshot.active_super_users();
        match (super_users.next(), super_users.next()) {
            (Some(last), None) if &*last.username == username => Err(Error::conflict(format!(
                "User {username} is the last active super user"
            ))),
            _ => Ok(()),
        }
    }

    pub(crate) async fn write_user(
        &self,
        username: &str,
        kind: WriteKind,
        body: Option<Map>,
        context: &Context,
    ) -> Result<(WriteOutcome, Timestamp), Error> {
        let write = Write::new(Some(username.into()), kind, body.map(Value::Map));
        let context = on_behalf_of(context);
        let written = self.users().write(vec![write], &context).await?;
        let written = written.into_iter().next();
        written
            .map(|written| (written.outcome, written.version))
            .ok_or_else(|| Error::internal("a write of one user had no result"))
    }
}

fn no_such_user(username: &str) -> Error {
    Error::not_found(format!("User {username} does not exist"))
}

/// The right to change the `system` tables, under the name of the caller, who may be somebody to whom only
/// the single operation is allowed.
pub(crate) fn on_behalf_of(context: &Context) -> Context {
    let mut context = context.clone();
    context.caller = match context.caller.username() {
        Some(username) => Caller::internal(username),
        None => Context::internal().caller,
    };
    context
}
