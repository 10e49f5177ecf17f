//! The only part that awaits: moves bytes, time and results between a byte stream, a
//! [`Session`](crate::session::Session) and the resources, and decides nothing about the protocol.
//!
//! ```text
//! read ──▶ frames ──▶ session ──▶ actions ──▶ authenticate · subscribe      one at a time, in order
//!                        │                └─▶ publish                       many at a time, answered in order
//! write ◀── outbox ◀─────┴──◀── publications ◀── feeds (one a subscription)
//! ```
//!
//! One task serves one connection. Everything that is ready is handled before bytes are written, so that many
//! deliveries and acknowledgements share one write; a full outbox stops reading and fetching, and a socket that
//! takes no byte for [`write_timeout`](crate::MqttConfig::write_timeout) is closed.

mod broker;
mod connection;
mod feed;
mod maintenance;
mod operations;
mod record;
mod sessions;
mod shared;
mod socket;
mod store;
mod system;

use std::sync::Arc;

use base::{ConnInfo, Io, Shutdown};
use resource::{Caller, Credentials};

pub use self::broker::{Broker, Statistics};
pub use self::sessions::SessionInfo;
pub use self::store::{MemorySessions, SessionStore, TableSessions};

use self::connection::Connection;
use crate::CloseCause;

/// Who the transport says the client is, used when CONNECT names no user (`realtime.md` §4.3).
#[derive(Debug, Clone, Default)]
pub enum Identity {
    /// Nobody.
    #[default]
    None,
    /// Someone that was authenticated already, by the HTTP request that was upgraded.
    Caller(Caller),
    /// Proof that is still to be checked: a client certificate, or a trusted local peer.
    Credentials(Credentials),
}

/// Serves one client from its first byte to its last and says how that ended.
///
/// The future must run inside a tokio runtime with time enabled, and all subscriptions are delivered on
/// `conn.worker`, whose [`Hub::dispatch`](resource::Hub::dispatch) must be running. `shutdown` ends the
/// connection with 0x8B. Dropping the future closes the connection at once: the Will is not published and
/// publications that are not committed yet may or may not be.
///
/// ```no_run
/// # use std::sync::Arc;
/// # use base::{ConnInfo, Shutdown};
/// # use proto_mqtt::{Broker, Identity, serve};
/// # async fn accept(stream: impl base::Io + 'static, broker: Arc<Broker>) {
/// let cause = serve(stream, Arc::new(ConnInfo::loopback()), Shutdown::new(), broker, Identity::None).await;
/// println!("{cause}");
/// # }
/// ```
pub async fn serve(
    io: impl Io,
    conn: Arc<ConnInfo>,
    shutdown: Shutdown,
    broker: Arc<Broker>,
    identity: Identity,
) -> CloseCause {
    let mut connection = Connection::new(io, conn, broker, identity);
    connection.run(&shutdown).await;
    connection.finish().await
}
