//! All users and roles at one moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use base::Timestamp;
use resource::{Map, Permissions, Record, User, Value};

use crate::permissions;
use crate::tokens::StoredToken;

/// Members of a user record that never leave the server (`auth.md` §8).
const SECRETS: [&str; 6] = [
    "password",
    "hash",
    "hash_function",
    "refresh_token",
    "refresh_tokens",
    "tokens_valid_from",
];

/// Users by name and roles by id; never changed, only replaced.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) users: BTreeMap<String, Account>,
    pub(crate) roles: BTreeMap<String, Role>,
}

/// One user.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) active: bool,
    /// Stored form of the password; empty if the record has none, which nothing matches.
    pub(crate) password: Arc<str>,
    pub(crate) role_id: String,
    /// The user with what the role allows; `None` when there is no such role.
    pub(crate) user: Option<Arc<User>>,
    /// Refresh tokens that are valid until they expire.
    pub(crate) refresh_tokens: Vec<StoredToken>,
    /// Seconds since 1970; tokens from before are worthless.
    pub(crate) tokens_valid_from: u64,
    /// Version of the record.
    pub(crate) version: Timestamp,
    /// The record without secrets.
    visible: Map,
}

/// One role.
#[derive(Debug)]
pub(crate) struct Role {
    pub(crate) name: Arc<str>,
    pub(crate) permissions: Arc<Permissions>,
    /// The record as stored.
    pub(crate) record: Map,
}

impl Snapshot {
    /// Reads the records of both tables. A record without its key, which the tables do not allow, is left
    /// out and logged.
    pub(crate) fn of(users: &[Record], roles: &[Record]) -> Self {
        let roles: BTreeMap<_, _> = roles.iter().filter_map(Role::of).collect();
        let account = |record| Account::of(record, &roles);
        let users = users.iter().filter_map(account).collect();
        Self { users, roles }
    }

    /// The super user that local peers act as: the first active one by name.
    pub(crate) fn first_super_user(&self) -> Option<&Arc<User>> {
        self.active_super_users().next()
    }

    /// Active users whose role allows everything.
    pub(crate) fn active_super_users(&self) -> impl Iterator<Item = &Arc<User>> {
        self.users
            .values()
            .filter(|account| account.active)
            .filter_map(|account| account.user.as_ref())
            .filter(|user| user.permissions.super_user)
    }

    /// The role that is called `name`, else the one with that id.
    pub(crate) fn role_named(&self, name: &str) -> Option<(&str, &Role)> {
        let named = self.roles.iter().find(|(_, role)| &*role.name == name);
        named
            .or_else(|| self.roles.get_key_value(name))
            .map(|(id, role)| (id.as_str(), role))
    }

    /// A user for the eyes of others: no secrets, the role expanded.
    pub(crate) fn visible_user(&self, account: &Account) -> Map {
        let mut visible = account.visible.clone();
        if let Some(role) = self.roles.get(&account.role_id) {
            visible.insert("role", role.record.clone());
        }
        visible
    }
}

impl Account {
    fn of(record: &Record, roles: &BTreeMap<String, Role>) -> Option<(String, Self)> {
        let mut map = map_of(record, "user")?;
        let username = text_of(&map, "username", "user")?;
        let text = |name: &str| map.get(name).and_then(Value::as_str).unwrap_or_default();
        let role_id = text("role").to_owned();
        let user = roles.get(&role_id).map(|role| {
            Arc::new(User {
                username: Arc::from(username.as_str()),
                role: Arc::clone(&role.name),
                permissions: Arc::clone(&role.permissions),
            })
        });
        let password = Arc::from(text("password"));
        let refresh_tokens = StoredToken::all(map.get("refresh_tokens"));
        let valid_from = map.get("tokens_valid_from").and_then(Value::as_i64);
        let tokens_valid_from = valid_from.map_or(0, |from| u64::try_from(from).unwrap_or(0));
        let active = map.get("active").and_then(Value::as_bool) == Some(true);
        map.retain(|name, _| !SECRETS.contains(&name));
        let account = Self {
            active,
            password,
            role_id,
            user,
            refresh_tokens,
            tokens_valid_from,
            version: record.version,
            visible: map,
        };
        Some((username, account))
    }
}

impl Role {
    fn of(record: &Record) -> Option<(String, Self)> {
        let record = map_of(record, "role")?;
        let id = text_of(&record, "id", "role")?;
        let name = record.get("role").and_then(Value::as_str).unwrap_or(&id);
        let (name, permission) = (Arc::from(name), record.get("permission"));
        let (permissions, errors) = permissions::parse(permission.unwrap_or(&Value::Null), None);
        for error in errors.messages() {
            // What cannot be read is not allowed; somebody must learn why.
            tracing::warn!(target: "auth", role = %name, %error, "part of a role was not understood");
        }
        let role = Self {
            name,
            permissions: Arc::new(permissions),
            record,
        };
        Some((id, role))
    }
}

fn map_of(record: &Record, what: &str) -> Option<Map> {
    match record.body.to_value() {
        Value::Map(map) => Some(map),
        _ => {
            tracing::error!(target: "auth", "a {what} record is no object and was left out");
            None
        }
    }
}

fn text_of(map: &Map, name: &str, what: &str) -> Option<String> {
    let text = map.get(name).and_then(Value::as_str).map(str::to_owned);
    if text.is_none() {
        tracing::error!(target: "auth", "a {what} record without {name} was left out");
    }
    text
}
