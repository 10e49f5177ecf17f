//! Settings, all with defaults that a server can start with.

use std::time::Duration;

/// How WebSocket connections are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WsConfig {
    /// Largest message a client may send, in bytes, assembled from its frames and inflated; more closes with
    /// 1009. Default: 100 MiB.
    pub max_message_bytes: usize,
    /// Largest frame a client may send, in bytes; more closes with 1009. Default: 100 MiB, since browsers send
    /// a message as one frame.
    pub max_frame_bytes: usize,
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
    /// Origins whose pages may connect, like `https://example.org`; `*` is any. The host itself always may, and
    /// so may clients that are no browser and send no `Origin`. Others are refused with 403.
    /// Default: `None`: any, except that a caller who is known by a cookie must come from the host itself.
    pub allowed_origins: Option<Vec<String>>,
    /// Compression of messages for clients that offer it (RFC 7692). `None` switches it off.
    /// Default: on, see [`DeflateConfig`].
    pub deflate: Option<DeflateConfig>,
}

impl Default for WsConfig {
    fn default() -> Self {
        Self {
            max_message_bytes: 100 << 20,
            max_frame_bytes: 100 << 20,
            ping_interval: Duration::from_secs(30),
            pong_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(30),
            close_timeout: Duration::from_secs(5),
            refresh_interval: Duration::from_secs(30),
            accept_writes: false,
            allowed_origins: None,
            deflate: Some(DeflateConfig::DEFAULT),
        }
    }
}

/// How messages are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeflateConfig {
    /// Whether a message may refer to earlier ones. It makes small messages smaller; but a connection then holds
    /// up to 300 KiB, and an event is compressed once for each of its readers. Default: no.
    pub context_takeover: bool,
    /// Size of the windows, as a power of two: 9 to 15. Default: 15, which is 32 KiB.
    pub window_bits: u8,
    /// Effort: 1 (fast) to 9 (small). Default: 1.
    pub level: u8,
    /// Messages of fewer bytes are sent as they are. Default: 1024.
    pub threshold_bytes: usize,
}

impl DeflateConfig {
    /// The defaults.
    pub const DEFAULT: Self = Self {
        context_takeover: false,
        window_bits: 15,
        level: 1,
        threshold_bytes: 1024,
    };
}

impl Default for DeflateConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}
