//! The question "who is this?", asked by HTTP and MQTT alike and answered by the `auth` crate.

use crate::{Answer, Caller};

/// Proof of identity, freed from the syntax of the protocol that carried it.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Credentials {
    /// User name and password (HTTP Basic, MQTT CONNECT).
    Password {
        /// User name.
        username: String,
        /// Password; empty when the protocol lets it be absent.
        password: Vec<u8>,
    },
    /// A bearer token.
    Bearer(String),
    /// The subject of a client certificate that TLS has verified.
    Certificate {
        /// Common name of the subject.
        common_name: String,
    },
    /// A trusted local peer (Unix socket, or loopback in development): the first super user.
    LocalTrust,
}

impl std::fmt::Debug for Credentials {
    /// Never prints a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Password { username, .. } => write!(f, "Password {{ username: {username:?} }}"),
            Self::Bearer(_) => f.write_str("Bearer"),
            Self::Certificate { common_name } => {
                write!(f, "Certificate {{ common_name: {common_name:?} }}")
            }
            Self::LocalTrust => f.write_str("LocalTrust"),
        }
    }
}

/// Checks credentials. Slow work (password hashing) happens off the calling worker.
pub trait Authenticator: Send + Sync {
    /// The caller behind `credentials`.
    ///
    /// The error is 401 with the text for the client: `Login failed`,
    /// `Cannot complete request: User is inactive`, `invalid token`, or 429.
    fn authenticate<'a>(&'a self, credentials: &'a Credentials) -> Answer<'a, Caller>;

    /// The caller as it is now: the user may have been dropped, deactivated or given another role since.
    /// Cheap; called again for long-lived connections. `None` ends the connection.
    fn refresh(&self, caller: &Caller) -> Option<Caller>;
}
