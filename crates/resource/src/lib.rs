//! The data contract of Motet: what a resource is, without bytes on a wire and without disks.
//!
//! A path is at once a URL, a record, a topic and a retained message. Protocol crates find a
//! [`Resource`] by path in the [`Registry`], call it with a [`Context`] that says who asks, and carry
//! [`Value`]s and [`Record`]s. A store implements the trait and publishes every commit as [`Event`]s to
//! the [`Hub`], which matches them against the subscriptions of each worker:
//!
//! ```text
//! protocol -> Registry -> dyn Resource -> (store) -> commit -> Hub::publish -> mailbox of each worker
//!                                                                 Subscription <- tree of that worker
//! ```
//!
//! Not here: encodings other than the canonical JSON text ([`json`]), storage, sockets, timers.
#![forbid(unsafe_code)]

pub mod access;
mod blob;
pub mod catalog;
pub mod coerce;
mod connect;
mod context;
mod contract;
mod error;
pub mod event;
pub mod hub;
pub mod identity;
pub mod json;
mod key;
mod live_filter;
pub mod query;
mod record;
pub mod registry;
pub mod schema;
mod value;

pub use crate::access::{Action, AttributeAccess, Permissions, TableAccess};
pub use crate::blob::{BLOB_DESCRIPTION, Blob, BlobContent, BlobStream, TakenBlob};
pub use crate::catalog::{Catalog, TableStatistics};
pub use crate::connect::{Incoming, Replies, Reply};
pub use crate::context::{Caller, Context, Protocol, User};
pub use crate::contract::{
    Answer, Methods, Precondition, RecordStream, Resource, SubscribeOptions, Target, Write,
    WriteKind, WriteOutcome, Written,
};
pub use crate::error::{Error, ErrorKind};
pub use crate::event::{Delivery, Event, EventKind, MessageProperties, Phase, SourceId};
pub use crate::hub::{Hub, Scope, Subscription};
pub use crate::identity::{Authenticator, Credentials, IdentityChanges, Session, Sessions};
pub use crate::key::Key;
pub use crate::query::{
    Comparator, Comparison, Condition, Conversion, Operator, Query, Select, SelectItem, SortKey,
};
pub use crate::record::{Body, Document, Record};
pub use crate::registry::{Exposure, Registry};
pub use crate::schema::{Attribute, AttributeType, Computed, Relation, TableDefinition};
pub use crate::value::{Date, Map, Value};
