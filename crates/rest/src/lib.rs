//! Resources over HTTP: a URL is a record, a collection, a query or a property.
//!
//! [`Rest`] is a handler of an `http_chain` chain. It finds the resource that is exported at the path of a
//! request, or hands the request back; it turns method, URL, headers and body into calls of
//! [`resource::Resource`], and answers into responses:
//!
//! ```text
//! request ─▶ route (R1-R9) ─▶ target (URL grammar) ─▶ query ─▶ Resource::get, search, write, …
//!                                                                        │
//! response ◀─ problem, or content in the negotiated type ◀─ conditional ◀┘
//! ```
//!
//! [`openapi`] describes all exports in one document, and [`graphql`] answers queries over them; both are
//! handlers of their own, which stand before [`Rest`]. [`query`] is the query language of URLs, usable by itself. Rule ids in comments and names of tests
//! (`G1`, `U2`, `D4`, …) are those of the REST specification of this project; RFC 9110 is behind the
//! methods, statuses and conditional requests, RFC 4918 behind COPY and MOVE, RFC 9457 behind error bodies.
//!
//! ```
//! use std::sync::Arc;
//! use http_chain::{Chain, Stage};
//! use rest::{Rest, RestConfig};
//!
//! let registry = Arc::new(resource::Registry::new());
//! let rest = Rest::new(Arc::clone(&registry), RestConfig::default());
//! let chain = Chain::new([("rest", Stage::handler(rest))]);
//! # let _ = chain;
//! ```
//!
//! Not here: media types (`content`), event streams and WebSockets (`proto-sse`, `proto-ws`), which look
//! like GET and stand before this handler, storage, authentication (`http_chain::auth`).
//! Not built yet, and refused by name: `group-by`, `$distance`, `not_…` operators, COPY and MOVE to another
//! resource.
#![forbid(unsafe_code)]

mod address;
mod blob;
mod call;
mod collection;
mod conditional;
mod config;
mod describe;
mod etag;
mod failure;
pub mod graphql;
mod handler;
mod location;
pub mod openapi;
pub mod query;
mod range;
mod raw;
mod read;
mod route;
mod transfer;
mod verb;
mod write;

pub use crate::config::{ErrorFormat, RestConfig};
pub use crate::etag::EntityTag;
pub use crate::handler::Rest;
