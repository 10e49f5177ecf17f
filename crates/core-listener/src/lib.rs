//! Sockets, worker threads, TLS and HTTP connections: everything between the kernel and a service.
//!
//! ```text
//!  worker 0            worker 1            worker N      one OS thread, one current-thread runtime each
//!  ┌────────────┐      ┌────────────┐
//!  │ accept     │      │ accept     │                    own SO_REUSEPORT sockets: the kernel spreads
//!  │   │        │      │   │        │                    connections, no thread hands them over
//!  │ TLS        │      │ TLS        │                    ALPN, one configuration for all workers
//!  │   │        │      │   │        │
//!  │ HTTP/1, /2 │      │ raw        │                    hyper, or the bytes themselves
//!  │   │        │      │   │        │
//!  │ service    │      │ handler    │                    built once for each worker by a factory
//!  └────────────┘      └────────────┘
//! ```
//!
//! A connection stays on its worker for life. An HTTP service is a [`tower_service::Service`] that takes an
//! `http::Request<`[`RequestBody`]`>` and never fails; a raw service takes the byte stream. Both learn who is
//! there from [`base::ConnInfo`] and when to finish from [`base::Shutdown`] (for HTTP both are request
//! extensions). A response that carries a [`base::UpgradeTask`] turns its connection into another protocol.
//!
//! [`Server`] collects listeners and starts; [`ServerHandle`] knows the addresses, counts and closes.
//!
//! ```
//! use std::convert::Infallible;
//! use std::num::NonZeroU16;
//! use std::time::Duration;
//!
//! use core_listener::{HttpConfig, Listener, RequestBody, Server, service_fn};
//! use http::{Request, Response};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::new(NonZeroU16::MIN)
//!     .listen(Listener::http("http.port", "127.0.0.1:0".parse()?, HttpConfig::default(), |_worker| {
//!         service_fn(|_request: Request<RequestBody>| async {
//!             Ok::<_, Infallible>(Response::new("hello\n".to_owned()))
//!         })
//!     }))
//!     .start()?;
//! assert_ne!(server.port(), 0);
//! server.shutdown(Duration::from_secs(1)).await;
//! # Ok(())
//! # }
//! ```
//!
//! Normative texts: RFC 9112 (HTTP/1.1), RFC 9113 (HTTP/2), RFC 7301 (ALPN). Deliberately absent: what a
//! request means (`http-chain`), protocols above bytes (`proto-*`), configuration files (`server`).
#![forbid(unsafe_code)]

mod accept;
mod address;
mod bind;
mod ciphers;
mod client_auth;
mod config;
mod engine;
mod error;
mod handle;
mod handover;
mod identity;
mod listener;
mod panics;
#[cfg(feature = "revocation")]
mod revocation;
mod server;
mod sni;
mod sockets;
mod stats;
mod stream;
mod tls;
mod worker;

pub use crate::address::{AddressError, ListenAddress};
pub use crate::ciphers::{CipherList, TlsVersion};
pub use crate::client_auth::{CertificateCheck, ClientAuth, ClientAuthorities};
pub use crate::config::{Http2Limits, HttpConfig, TcpConfig};
pub use crate::engine::{
    HttpService, Refusal, RefusalHook, RequestBody, RequestBodyError, ServiceFn, service_fn,
};
pub use crate::error::{BindError, StartError};
pub use crate::handle::{CloseReport, ConnectionCounts, ServerGuard, ServerHandle, ServerState};
pub use crate::handover::{HandOverError, InheritedSockets};
pub use crate::identity::Identity;
pub use crate::listener::{AnyPort, Listener, OpenSocket};
#[cfg(feature = "revocation")]
pub use crate::revocation::{
    CrlConfig, FailureMode, OcspConfig, Revocation, RevocationConfig, RevocationConfigError,
};
pub use crate::server::Server;
pub use crate::stats::{DurationHistogram, ErrorCodeCounts, ListenerStats};
pub use crate::tls::{CertificateInfo, TicketKeys, TlsAcceptor, TlsConfig, TlsEntry, TlsError};
