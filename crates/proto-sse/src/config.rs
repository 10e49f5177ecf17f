//! Settings of the handler.

use std::sync::Arc;
use std::time::Duration;

use content::ContentTypes;

/// Settings of [`Sse`](crate::Sse).
#[derive(Debug, Clone)]
pub struct SseConfig {
    /// Silence after which a comment is sent, so that proxies keep the connection. Default: 15 s.
    pub keep_alive: Duration,
    /// How long a browser waits before it connects again (`retry:`). Default: 3 s.
    pub retry: Duration,
    /// How often the caller's permission is checked again. Default: 30 s.
    pub recheck: Duration,
    /// Bytes after which events that are ready are sent as one chunk; more follow at once. Bounds what one
    /// stream adds to memory beyond its subscription. Default: 64 KiB.
    pub chunk_bytes: usize,
    /// The formats that an event stream competes with in `Accept`, and whose suffixes paths may have.
    /// Default: [`ContentTypes::standard`].
    pub types: Arc<ContentTypes>,
}

impl Default for SseConfig {
    fn default() -> Self {
        Self {
            keep_alive: Duration::from_secs(15),
            retry: Duration::from_secs(3),
            recheck: Duration::from_secs(30),
            chunk_bytes: 64 * 1024,
            types: Arc::new(ContentTypes::standard()),
        }
    }
}
