//! Who is asking, and what may they do: users, roles, passwords, permissions.
//!
//! Users and roles are records of two tables of the `system` database ([`tables`]). A [`Directory`] keeps
//! all of them as one immutable snapshot, which is swapped whole after every change; credentials are
//! checked against it, and so are long-lived connections:
//!
//! ```text
//! hdb_user ┐  subscribe   ┌───────────┐  authenticate   http-chain, proto-mqtt
//! hdb_role ┴────────────▶ │ Directory │ ◀────────────── (resource::Authenticator)
//!            ◀──────────  │ snapshot  │
//!   write: add_user, …    └─────┬─────┘
//!                               │ unknown to the cache
//!                         hashing threads (argon2id, bounded queue)
//! ```
//!
//! A check that succeeded is remembered for [`AuthConfig::cache_ttl`] under a keyed hash of user name,
//! stored form and password, so a changed password is forgotten by itself and a changed role costs no
//! hashing. Unknown users and older stored forms cost what a wrong password costs.
//!
//! Role objects become [`resource::Permissions`] in [`permissions`]; the checks themselves are methods of
//! that type, shared by all protocols. Normative: `auth.md` §3, §8, §9.
//!
//! Tokens ([`TokenConfig`]) are JSON Web Tokens that need no look-up but the user's; cookie sessions
//! ([`SessionConfig`]) are records under the hash of a random id. Who fails too often has to wait
//! ([`FailureLimits`]), before anything is hashed.
//!
//! Not here: the syntax of HTTP or MQTT that carries credentials, the storage of the tables.
#![forbid(unsafe_code)]

mod administrator;
mod cache;
mod config;
mod directory;
mod failures;
mod impersonation;
mod password;
pub mod permissions;
mod pool;
mod roles;
mod sessions;
mod snapshot;
pub mod tables;
mod tokens;
mod users;
mod verifier;

pub use crate::administrator::GeneratedPassword;
pub use crate::config::AuthConfig;
pub use crate::directory::{Directory, StartError};
pub use crate::failures::FailureLimits;
pub use crate::password::HashFunction;
pub use crate::permissions::PermissionErrors;
pub use crate::roles::{NewRole, RoleChange, RoleError};
pub use crate::sessions::SessionConfig;
pub use crate::tokens::{
    KeyError, KeySource, NewTokenKeys, TokenConfig, TokenKeys, TokenPair, TokenRequest,
};
pub use crate::users::{NewUser, UserChange};
