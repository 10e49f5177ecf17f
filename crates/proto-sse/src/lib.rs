//! Resources as Server-Sent Events: a GET that does not end.
//!
//! ```text
//! GET /Dog/ + Accept: text/event-stream ─▶ Sse ─▶ Registry ─▶ Resource::subscribe ─▶ Subscription
//!                                           │                                            │ batches
//!       id, data, blank line ◀── stream ◀── framing ◀── envelope (once for all readers) ◀┘
//! ```
//!
//! [`Sse`] is a handler of `http-chain`. It answers a GET whose client prefers `text/event-stream` and whose path
//! leads to a resource exported for SSE, and hands everything else back. Permission, target and options are
//! settled before the first byte, so that every refusal is an ordinary HTTP error; after that only the stream
//! can speak, in events called `reset`, `overflow`, `unauthorized` and `error`.
//!
//! A browser that loses the connection comes back with `Last-Event-ID`, which continues the stream where it
//! was. Ids are positions in the log of the database. While the current state of a collection is sent, in the
//! order of keys, no position is true yet: those events have no id, and a block of nothing but an id follows
//! the last of them.
//!
//! Normative: the section "Server-sent events" of the [HTML standard], `realtime.md` §1 and §3. [`framing`] and
//! the envelope are pure; only `stream`, `channel` and `custom` await. Code of an embedder sends events by
//! [`EventStreams`]. Not here: compression (never used on these streams).
//!
//! [HTML standard]: https://html.spec.whatwg.org/multipage/server-sent-events.html
#![forbid(unsafe_code)]

mod channel;
mod config;
mod custom;
mod envelope;
mod event;
mod failure;
pub mod framing;
mod handler;
mod response;
mod statistics;
mod stream;
mod target;

pub use crate::channel::{EventSender, EventStreamConfig, EventStreams, SendError, WhenFull};
pub use crate::config::SseConfig;
pub use crate::event::{InvalidField, SseEvent};
pub use crate::handler::Sse;
pub use crate::response::last_event_id;
pub use crate::statistics::{DroppedEvents, RouteStatistics, SseStatistics};
