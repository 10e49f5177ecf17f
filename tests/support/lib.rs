//! What the end-to-end tests share: the server as a process, and the clients that talk to it.
//!
//! Everything listens on loopback at free ports and ends with the test; processes are ended by their id.
#![forbid(unsafe_code)]

pub mod authority;
pub mod browser;
pub mod command;
pub mod http;
pub mod motet;
pub mod mqtt;
pub mod mqtt_packets;
pub mod prometheus;
pub mod wait;
pub mod websocket;

pub use crate::motet::{Builder, Motet};
pub use crate::wait::eventually;
