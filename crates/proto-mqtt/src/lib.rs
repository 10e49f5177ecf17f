//! The server side of MQTT 3.1, 3.1.1 and 5.0 over any byte stream, with resources as topics.
//!
//! Bytes go through [`codec`], packets through [`session`], topics and payloads through [`mapping`]; only
//! [`driver`] awaits anything:
//!
//! ```text
//! byte stream <-> driver <-> codec <-> session      packets and time in, actions out; no socket, no clock
//!                   |                     |
//!                   |                  Action: authenticate, publish, subscribe, …
//!                   v                     v
//!               resource::Registry <- mapping       topic = resource path / key, payload = value
//! ```
//!
//! A resource path is a topic, and the stored record is its retained message: publishing with retain is PUT,
//! publishing nothing with retain is DELETE, publishing without retain is a message that leaves the record
//! alone. Subscribers receive the current state first, then every change.
//!
//! Requirement tags such as `[MQTT-3.1.2-22]` are those of [MQTT 5.0]; where 3.1.1 differs, the comment says
//! so. `CONFORMANCE.md` names the test of each.
//!
//! Sessions outlive their connection and the server as positions in the log, not as copies of messages. Shared
//! subscriptions go round their members on all workers. Topics that are no resource can be made plain ones, kept
//! as keys of one table; `$SYS` topics tell super users how the broker is.
//!
//! Not here: accepting and TLS (`core-listener`), WebSocket framing (`proto-ws`), storage (`store`). Not yet:
//! enhanced authentication, which is refused in the protocol's own words.
//!
//! [MQTT 5.0]: https://docs.oasis-open.org/mqtt/mqtt/v5.0/os/mqtt-v5.0-os.html
#![forbid(unsafe_code)]

// The packet builders of `tests/support` name the crate as its users do.
#[cfg(test)]
extern crate self as proto_mqtt;

pub mod codec;
mod config;
#[cfg(feature = "driver")]
pub mod driver;
mod error;
pub mod mapping;
mod protocol;
pub mod session;

pub use crate::config::{ConfigError, MqttConfig};
#[cfg(feature = "driver")]
pub use crate::driver::{
    Broker, Identity, MemorySessions, SessionInfo, SessionStore, Statistics, TableSessions, serve,
};
pub use crate::error::{CloseCause, DecodeError, EncodeError, Refusal};
pub use crate::protocol::{PacketId, QoS, ReasonCode, RetainHandling, Version};
