//! The HTTP request pipeline of one port: from a request head to a response, without a socket in sight.
//!
//! ```text
//! engine ─▶ Chain ─▶ edge: Gate ─ Gate ─ Wrap ─▶ list: Handler ─ Gate ─ Wrap ─ Handler ─ Handler ─▶ 404
//!                    (log, host, limits,               (static)  (CORS) (auth)  (rest)    (…)
//!                     compression)
//! ```
//!
//! [`Request`] and [`Response`] are `http` types under the names of the Fetch standard. Three kinds of
//! [stages](stage) see them, in one order for each port:
//!
//! - a [`Gate`] looks at the request on its way in and the response on its way out, and awaits nothing;
//! - a [`Wrap`] surrounds the rest, for what has to await or to undo;
//! - a [`Handler`] answers or hands the request back, so that the end of one service's handlers is the
//!   beginning of the next service on the port, and the gates see whatever answered.
//!
//! [`Chains`] collects registrations while a server is composed; a finished [`Chain`] is a
//! `tower_service::Service` that never fails, and the [`border`] takes tower layers and services in.
//! [`Exchange`] keeps the facts that outlive the request. [`Router`] leads paths to endpoints, which answer with
//! a value or, by [`server_stream`], step by step. [`context`] tells how long somebody waits for the answer.
//! Ready-made: [`stages`], [`auth`], `compression` and `files` (features of the same name, on by default).
//!
//! Normative: RFC 9110 (semantics), RFC 9112 and 9113 (hosts and targets), RFC 6265 (cookies), the Fetch
//! standard (CORS). Not here: sockets, TLS, HTTP framing and their timeouts (`core-listener`), the
//! decoding of bodies (`content`), resources and their permissions (row 3).
#![forbid(unsafe_code)]

pub mod auth;
pub mod body;
pub mod border;
pub mod chain;
pub mod chains;
#[cfg(any(feature = "compression", feature = "files"))]
pub mod coding;
#[cfg(feature = "compression")]
pub mod compression;
pub mod context;
pub mod cookies;
pub mod early_hints;
pub mod exchange;
#[cfg(feature = "files")]
pub mod files;
mod mounts;
mod order;
pub mod percent;
pub mod request;
pub mod response;
pub mod router;
pub mod server_stream;
pub mod stage;
pub mod stages;
pub mod trailers;
mod worker_cells;

pub use crate::body::{Body, BodyError, BoxError};
pub use crate::border::{LayerWrap, ServiceHandler};
pub use crate::chain::{Chain, Next};
pub use crate::chains::{Chains, Ports, Registration};
pub use crate::context::RequestContext;
pub use crate::exchange::Exchange;
pub use crate::request::Request;
pub use crate::response::Response;
pub use crate::router::{Endpoint, Router};
pub use crate::stage::{BoxFuture, Gate, Handler, Stage, Wrap};
