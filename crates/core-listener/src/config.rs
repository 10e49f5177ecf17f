//! Settings of a server and of its HTTP listeners, with their defaults.

use std::time::Duration;

use crate::engine::RefusalHook;

/// TCP options of listening and accepted sockets.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TcpConfig {
    /// Connections that the kernel keeps for each worker until it accepts them. Default 1024 (the
    /// kernel may cap it, on Linux by `net.core.somaxconn`).
    pub backlog: u32,
    /// `TCP_NODELAY`. Default on: we write whole messages.
    pub nodelay: bool,
    /// Silence after which the kernel probes the peer; `None` never does. Default 600 s.
    pub keepalive: Option<Duration>,
    /// Open ports that another process of the same user shares as well, each getting a part of the
    /// connections. Default off: a port in use is an error. For a restart, handing over the sockets
    /// ([`ServerHandle::hand_over`](crate::ServerHandle::hand_over)) loses nothing, and this may lose a few.
    pub share_port: bool,
    /// Sockets on IPv6 addresses take IPv6 alone. Default off: the wildcard takes IPv4 as well, and other
    /// addresses are what the system makes of them.
    pub v6_only: bool,
}

impl Default for TcpConfig {
    fn default() -> Self {
        Self {
            backlog: 1024,
            nodelay: true,
            keepalive: Some(Duration::from_secs(600)),
            share_port: false,
            v6_only: false,
        }
    }
}

/// Time-outs and limits of the HTTP connections of one listener. `None` means no limit.
///
/// ```
/// use std::time::Duration;
/// use core_listener::HttpConfig;
///
/// let mut config = HttpConfig::default();
/// config.keep_alive_timeout = Some(Duration::from_secs(5));
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HttpConfig {
    /// From accepting the connection (first request) or from the first byte of a later request to the end
    /// of its head. A partial head is answered with 408, silence with a silent close. Default 60 s.
    pub headers_timeout: Option<Duration>,
    /// Silence between two requests, or without an open HTTP/2 stream, after which the connection is
    /// closed. Advertised as `Keep-Alive: timeout=N` when it is a second or more. Default 30 s.
    pub keep_alive_timeout: Option<Duration>,
    /// From the end of a request's head to the end of its body. After it the handler's next read fails
    /// with [`RequestBodyError::TimedOut`](crate::RequestBodyError) and the connection closes after the
    /// response. Runs only while the handler waits for bytes. Default 120 s.
    pub request_timeout: Option<Duration>,
    /// How long the client may send nothing while the handler waits for its body; ends as `request_timeout`
    /// does. Default 60 s.
    pub body_idle_timeout: Option<Duration>,
    /// How long the peer may accept no byte of what we write before the connection is dropped, and how long
    /// the window of one HTTP/2 stream may stay closed before that stream is reset. Default 60 s.
    pub write_timeout: Option<Duration>,
    /// Request line and header fields together; a larger head is answered with 431. Also the limit of
    /// chunked trailers and of an HTTP/2 header list. Default 16,394 bytes.
    pub max_header_bytes: usize,
    /// Offer `h2` by ALPN on a TLS listener. Default on.
    pub http2: bool,
    /// Recognise the HTTP/2 preface on a plaintext listener. Default off: the preface is answered with 400.
    pub http2_prior_knowledge: bool,
    /// Offer extended `CONNECT` on HTTP/2 (RFC 8441). Default off: a browser that is offered it opens its
    /// WebSockets in this way alone, so the service has to answer them.
    pub http2_extended_connect: bool,
    /// Limits of HTTP/2 connections.
    pub http2_limits: Http2Limits,
    /// Hears of the answers that the engine gives without the service, and may give them content. Default
    /// none: they are counted and have no content.
    pub on_refusal: Option<RefusalHook>,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            headers_timeout: Some(Duration::from_secs(60)),
            keep_alive_timeout: Some(Duration::from_secs(30)),
            request_timeout: Some(Duration::from_secs(120)),
            body_idle_timeout: Some(Duration::from_secs(60)),
            write_timeout: Some(Duration::from_secs(60)),
            max_header_bytes: 16_394,
            http2: true,
            http2_prior_knowledge: false,
            http2_extended_connect: false,
            http2_limits: Http2Limits::default(),
            on_refusal: None,
        }
    }
}

/// Limits of one HTTP/2 connection (`http-server.md` H6).
///
/// A peer that never opens its flow-control window holds at most `max_concurrent_streams` times
/// `stream_send_buffer_bytes` of our memory.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Http2Limits {
    /// Requests open at once. Default 100.
    pub max_concurrent_streams: u32,
    /// Request body bytes of one stream that may arrive before the handler reads them. Default 256 KiB.
    pub stream_window_bytes: u32,
    /// The same for the whole connection. Default 1 MiB.
    pub connection_window_bytes: u32,
    /// Response bytes of one stream that may wait for the peer's window. Default 64 KiB.
    pub stream_send_buffer_bytes: usize,
    /// Requests that the peer may cancel within ten seconds before the connection is dropped (rapid reset,
    /// CVE-2023-44487). Default 100.
    pub max_cancelled_streams: u32,
    /// Interval of PING frames that detect a vanished peer; it has 20 s to answer. Default 30 s.
    pub ping_interval: Option<Duration>,
}

impl Default for Http2Limits {
    fn default() -> Self {
        Self {
            max_concurrent_streams: 100,
            stream_window_bytes: 256 * 1024,
            connection_window_bytes: 1024 * 1024,
            stream_send_buffer_bytes: 64 * 1024,
            max_cancelled_streams: 100,
            ping_interval: Some(Duration::from_secs(30)),
        }
    }
}
