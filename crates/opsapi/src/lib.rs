//! The Operations API: `POST /` with one object that names an `operation`, one answer back.
//!
//! [`Operations`] is a handler of an `http-chain`, the same for TCP ports and for the owner-only Unix
//! socket, since who asks is settled before it:
//!
//! ```text
//! body ─▶ decode ─▶ operation known? ─▶ role allows? ─▶ parameters valid? ─▶ run ─▶ encode, streamed
//!          400         400                403, object        400, all listed    one transaction
//! ```
//!
//! Every [`Operation`] is a row of one table: name, aliases, the name that denials show, what the caller
//! needs, and a function from a [`Call`] to a [`Reply`]. The operations on databases, tables, records,
//! users and the system stand in this crate; a program adds its own with
//! [`Operations::with_operation`]. An operation that the specification names and this version does not
//! have answers 501 with its name.
//!
//! Data is reached through [`resource::Catalog`] and [`resource::Resource`] alone, users through
//! [`auth::Directory`]. Normative: `operations-api.md`. Parameters of a wrong type answer 400 where the
//! original answers 500. Not here: authentication, CORS and compression (`http-chain`).
//!
//! ```
//! use std::sync::Arc;
//! use opsapi::{Need, Operation, Operations, OpsConfig, Reply};
//!
//! # fn compose(catalog: Arc<dyn resource::Catalog>) -> Operations {
//! let ping = Operation::new("ping", Need::User, |_call| async { Ok(Reply::message("pong")) });
//! Operations::new(catalog, OpsConfig::default()).with_operation(ping)
//! # }
//! ```
#![forbid(unsafe_code)]

mod config;
mod failure;
mod handler;
mod jobs;
mod operation;
mod operations;
mod parameters;
mod permission;
mod redact;
mod reply;
mod system_table;

pub use crate::config::{BulkLimits, OpsConfig};
pub use crate::failure::Failure;
pub use crate::handler::Operations;
pub use crate::jobs::{JobLimits, Jobs};
pub use crate::operation::{Call, Need, Operation};
pub use crate::operations::{
    Backups, ComponentsConfig, Configuration, History, HistoryEntry, HistoryStream, Lifecycle,
    LogSource, Structure,
};
pub use crate::reply::Reply;
