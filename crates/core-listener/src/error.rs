//! Why a server does not start.

use std::io;
use std::sync::Arc;

use base::WorkerId;

/// A socket that could not be opened. The message names the setting, the address and the reason, for
/// example `cannot listen on 127.0.0.1:9926 (http.port): address in use`.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} ({setting}): {}", reason(.error))]
pub struct BindError {
    /// Name of the setting.
    pub setting: Arc<str>,
    /// The address as it was tried.
    pub address: String,
    /// What the system answered; already part of the message.
    pub error: io::Error,
}

/// Why [`Server::start`](crate::Server::start) failed. Nothing is left running or listening.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A socket could not be opened.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Configuration: two listeners want the same port. With `SO_REUSEPORT` the kernel would let them have
    /// it and spread connections over both.
    #[error("{first} and {second} both listen on {address}")]
    SameAddress {
        /// Setting of the listener that was added first.
        first: Arc<str>,
        /// Setting of the other one.
        second: Arc<str>,
        /// The address of the second one.
        address: String,
    },
    /// Configuration: the worker range of a listener contains no worker.
    #[error("no worker opens {setting}: its range {range} is outside the {workers} workers")]
    NoWorker {
        /// Setting of the listener.
        setting: Arc<str>,
        /// The range, as `first-last`.
        range: String,
        /// How many workers there are.
        workers: u16,
    },
    /// Configuration: TLS on a Unix socket.
    #[error("{setting} is a Unix socket, which cannot use TLS")]
    TlsOnUnixSocket {
        /// Setting of the listener.
        setting: Arc<str>,
    },
    /// Configuration: another port is allowed for a socket that is open already.
    #[error("{setting} has an open socket, for which no other port can be chosen")]
    AnyPortOfOpenSocket {
        /// Setting of the listener.
        setting: Arc<str>,
    },
    /// The system gave no event queue or no thread.
    #[error("cannot start worker {worker}: {error}")]
    Worker {
        /// The worker.
        worker: WorkerId,
        /// What the system answered; already part of the message.
        error: io::Error,
    },
    /// The process could not prepare to wait for signals
    /// ([`Server::serve_blocking`](crate::Server::serve_blocking)).
    #[error("cannot wait for signals: {error}")]
    Signals {
        /// What the system answered; already part of the message.
        error: io::Error,
    },
    /// A listening socket could not be duplicated or prepared.
    #[error("cannot duplicate the listening socket of {setting}: {error}")]
    Duplicate {
        /// Setting of the listener.
        setting: Arc<str>,
        /// What the system answered; already part of the message.
        error: io::Error,
    },
    /// A service factory or a start hook panicked.
    #[error("worker {worker} panicked while it built its services: {message}")]
    FactoryPanicked {
        /// The worker.
        worker: WorkerId,
        /// The text of the panic.
        message: String,
    },
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "address in use".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
        _ => error.to_string(),
    }
}
