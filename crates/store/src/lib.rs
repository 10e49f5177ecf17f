//! Transactional storage of resources: one file per database, one writer per file, readers that never wait.
//!
//! A [`Store`] opens the databases of a directory and hands out their tables as [`resource::Resource`]s; it is a
//! [`resource::Catalog`]. Schema files become table definitions in [`schema`]; bodies, keys and query operands
//! are checked in [`validate`].
//!
//! ```text
//! Table::write ── prepare ─▶ commit queue ─▶ writer thread: stage ─▶ apply ─▶ durable commit
//!  (a worker)     (checked)     (bounded)       (many transactions, one commit)     │
//!                                                                     events ◀──────┤
//!                                                              resource::Hub        ▼
//! Table::get ───── one read of the engine, on the worker                        the answers
//! Table::search ── plan ─▶ scan ─▶ pieces, on the query threads, from one snapshot
//! Table::subscribe ─ live queue first, then a snapshot: current state or log, then live
//! ```
//!
//! Invariants
//! - What is acknowledged is durable. Records, indexes, log, counters and definitions of a database change in one
//!   engine transaction.
//! - A transaction that fails a condition leaves no trace and does not disturb those committed with it: it is
//!   worked out completely before anything is changed.
//! - Events are published after their commit, by one thread per database, in the order of the log.
//! - Workers read single records and nothing else; everything that may wait for a disk runs on threads of the
//!   store. Every queue and every set of snapshots has a bound.
//!
//! The engine is LMDB. A database left by a killed process needs no recovery. Its files must be on a local file
//! system. Records are stored in the form described in [`document`], keys and index entries in the order of
//! [`order`]. Queries follow relationships within a database, [`Expression`]s compute attributes, and a
//! [`CachedTable`] fetches what it lacks from a [`Source`]. Contents of type `Blob` are streamed into files of their
//! own and out of them.
//!
//! Not here: protocols, users and roles (`auth` keeps them in tables of the `system` database),
//! compaction at start.
#![deny(unsafe_code)]

mod apply;
mod audit;
mod batch;
mod blob;
mod cache;
mod computed;
mod config;
mod counter;
mod database;
pub mod document;
mod environment;
mod error;
mod expiry;
mod explain;
mod filter;
mod format;
mod garbage;
mod index;
mod join;
mod maintenance;
mod measure;
pub mod order;
mod plan;
mod pool;
mod prepare;
mod pump;
mod queue;
mod record;
mod replay;
mod scan;
pub mod schema;
mod search;
mod selection;
mod snapshot;
mod sort;
mod stage;
mod statistics;
mod store;
mod stored_table;
mod structure;
mod subscribe;
mod table;
pub mod validate;
mod verify;
mod writer;

pub use crate::cache::{
    CacheControl, CacheLifetime, CachedTable, ChangeKind, Loaded, Source, SourceChange,
    SourceChanges,
};
pub use crate::computed::{ComputeFunction, Expression, ExpressionError};
pub use crate::config::StoreConfig;
pub use crate::database::QueryCounts;
pub use crate::error::{EngineError, StoreError};
pub use crate::format::FormatError;
pub use crate::measure::{CommitTimes, DatabaseStatistics, TableCounts};
pub use crate::statistics::IndexProgress;
pub use crate::store::{SYSTEM_DATABASE, Store};
pub use crate::table::Table;
pub use crate::verify::Verification;
