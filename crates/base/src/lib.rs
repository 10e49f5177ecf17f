//! What every other crate may know: identifiers, units, the clock and the facts of a connection.
//!
//! Nothing here performs input or output. [`conn`] names the byte stream and the facts that the
//! listener hands to a protocol; [`clock`] makes the strictly increasing time stamps that order
//! commits; [`units`] reads durations and sizes as operators write them; [`shutdown`] tells
//! connections to finish.
#![forbid(unsafe_code)]

pub mod clock;
pub mod conn;
pub mod id;
pub mod shutdown;
pub mod units;

pub use crate::clock::{Timestamp, VersionClock};
pub use crate::conn::{BoxedIo, ClientCertificate, ConnInfo, Io, Peer, TlsFacts, UpgradeTask};
pub use crate::id::{ConnectionId, WorkerId};
pub use crate::shutdown::Shutdown;
