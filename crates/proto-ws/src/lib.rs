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
//! [`envelope`], [`command`] and [`close`].
//!
//! Normative: RFC 6455 (WebSocket), `realtime.md` §1 and §2. Not here: sockets and TLS
//! (`core-listener`), who the caller is (`http_chain::auth`), MQTT (`proto-mqtt`, which the server joins as
//! a sub-protocol). Not built: permessage-deflate (RFC 7692), WebSocket over HTTP/2 (RFC 8441), live
//! filters, streams of custom resources (`connect`).
#![forbid(unsafe_code)]

pub mod close;
pub mod command;
pub mod config;
pub mod engine;
pub mod envelope;
mod handler;
pub mod handshake;
mod link;
mod live;
mod refusal;
mod sub_protocol;
pub mod target;
mod tunnel;
mod writes;

pub use crate::close::Close;
pub use crate::config::WsConfig;
pub use crate::handler::WebSockets;
