//! Resources over WebSocket: the current state of a path, then every change of it.
//!
//! ```text
//! upgrade request ─▶ handler ─▶ handshake · target ─▶ Registry ─▶ authorize · subscribe ─▶ 101
//!                                                                                           │
//! socket ◀─▶ link ◀─▶ engine (frames) ◀─▶ live ◀── Subscription ── Hub                  ◀───┘
//!                                          └────▶ Resource::write (off by default)
//! socket ◀─▶ link ◀─▶ engine (frames) ◀─▶ tunnel ◀─▶ byte stream ◀─▶ a sub-protocol, e.g. MQTT
//! ```
//!
//! [`WebSockets`] is a handler of an `http-chain`. All that can fail fails before `101`, as an HTTP
//! response. Afterwards one task serves one connection: an event is encoded once for all readers of a
//! worker, everything that waits is written before the next batch is fetched, and a socket that takes
//! no byte for [`WsConfig::write_timeout`] is closed.
//!
//! The protocol itself is in modules that never touch a socket: [`handshake`], [`target`], [`engine`],
//! [`envelope`], [`command`], [`extension`], [`origin`] and [`close`].
//!
//! Code of an embedder speaks to a [`WebSocket`] that an [`Upgrader`] made of a request.
//!
//! Normative: RFC 6455 (WebSocket), RFC 7692 (compression), RFC 8441 (WebSocket over HTTP/2), `realtime.md` §1
//! and §2. Not here: sockets and TLS (`core-listener`), who the caller is (`http_chain::auth`), MQTT
//! (`proto-mqtt`, which the server joins as a sub-protocol).
#![forbid(unsafe_code)]

pub mod close;
pub mod command;
pub mod config;
mod deflate;
mod endpoint;
pub mod engine;
pub mod envelope;
pub mod extension;
mod frame;
mod handler;
pub mod handshake;
mod link;
mod live;
pub mod origin;
mod recheck;
mod refusal;
mod socket;
mod statistics;
mod sub_protocol;
mod talk;
pub mod target;
mod tunnel;
mod upgrade;
mod writes;

pub use crate::close::Close;
pub use crate::config::{DeflateConfig, WsConfig};
pub use crate::endpoint::Endpoint;
pub use crate::handler::WebSockets;
pub use crate::socket::{Closed, Message, WebSocket};
pub use crate::statistics::{CloseTotal, ConnectionTotals, MessageTotals, WsStatistics};
pub use crate::upgrade::Upgrader;
