//! Settings, all with defaults that a server can start with.

use std::time::Duration;

/// How WebSocket connections are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WsConfig {
    /// Largest message a client may send, in bytes, assembled from its frames; more closes with 1009.
    /// Default: 100 MiB.
    pub max_message_bytes: usize,
    /// How often a client is pinged. Default: 30 s.
    pub ping_interval: Duration,
    /// How long after a ping a connection may stay silent before it is closed. Default: 60 s.
    pub pong_timeout: Duration,
    /// How long a socket may take no byte before it is closed. Default: 30 s.
    pub write_timeout: Duration,
    /// How long the closing handshake may take. Default: 5 s.
    pub close_timeout: Duration,
    /// How often the caller's account and permissions are checked again. Default: 30 s.
    pub refresh_interval: Duration,
    /// Whether messages of a client are carried out as writes with its own rights
    /// ([`Command`](crate::command::Command)). Default: no; they are ignored.
    pub accept_writes: bool,
}

impl Default for WsConfig {
    fn default() -> Self {
        Self {
            max_message_bytes: 100 << 20,
            ping_interval: Duration::from_secs(30),
            pong_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(30),
            close_timeout: Duration::from_secs(5),
            refresh_interval: Duration::from_secs(30),
            accept_writes: false,
        }
    }
}
