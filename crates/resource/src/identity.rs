//! The question "who is this?", asked by HTTP and MQTT alike and answered by the `auth` crate.

use std::fmt;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use futures_core::Stream;

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
    /// The id of a session, from its cookie. One that is unknown, or over, is nobody and not an error.
    Session(String),
    /// A trusted local peer (Unix socket, or loopback in development): the first super user.
    LocalTrust,
}

impl fmt::Debug for Credentials {
    /// Never prints a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { username, .. } => write!(f, "Password {{ username: {username:?} }}"),
            Self::Bearer(_) => f.write_str("Bearer"),
            Self::Session(_) => f.write_str("Session"),
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

    /// As [`authenticate`](Self::authenticate), for a peer at this address, whose failures may be counted.
    ///
    /// By default the address is not looked at.
    fn authenticate_from<'a>(
        &'a self,
        credentials: &'a Credentials,
        peer: Option<IpAddr>,
    ) -> Answer<'a, Caller> {
        let _ = peer;
        self.authenticate(credentials)
    }

    /// The caller as it is now: the user may have been dropped, deactivated or given another role since.
    /// Cheap; called again for long-lived connections. `None` ends the connection.
    fn refresh(&self, caller: &Caller) -> Option<Caller>;

    /// Says when callers may have changed, so that a connection need not wait for its next periodic
    /// [`refresh`](Self::refresh). By default they never change.
    fn changes(&self) -> IdentityChanges {
        IdentityChanges::never()
    }
}

/// A session that has just begun.
#[derive(Clone)]
pub struct Session {
    /// The secret that its cookie carries.
    pub id: String,
    /// Who logged in.
    pub caller: Caller,
    /// How long it lives; `None` is for ever.
    pub lifetime: Option<Duration>,
}

impl fmt::Debug for Session {
    /// Never prints the id.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("caller", &self.caller)
            .field("lifetime", &self.lifetime)
            .finish_non_exhaustive()
    }
}

/// Begins and ends sessions. That a session id is who it is, is a question to the [`Authenticator`].
pub trait Sessions: Send + Sync {
    /// Begins a session with a new id.
    ///
    /// The error is 401 `Login failed`, 429, or 400 `No session for login` when there are no sessions.
    fn login<'a>(
        &'a self,
        username: &'a str,
        password: &'a [u8],
        peer: Option<IpAddr>,
    ) -> Answer<'a, Session>;

    /// Ends a session; whether there was one.
    fn logout<'a>(&'a self, id: &'a str) -> Answer<'a, bool>;
}

/// Changes of users or roles, as one long-lived connection awaits them.
///
/// An authenticator whose users change makes the first one due at once: it stands for what happened between
/// the check of the credentials and the call of [`changes`](Authenticator::changes).
pub struct IdentityChanges(Option<Pin<Box<dyn Stream<Item = ()> + Send>>>);

impl IdentityChanges {
    /// For users who never change.
    pub fn never() -> Self {
        Self(None)
    }

    /// One item after each change, or after several.
    pub fn new(changes: impl Stream<Item = ()> + Send + 'static) -> Self {
        Self(Some(Box::pin(changes)))
    }

    /// Waits for the next change; for ever if there will be none.
    ///
    /// Cancel safe: a change is reported by the next call if this one was dropped.
    pub async fn next(&mut self) {
        if let Some(changes) = &mut self.0
            && poll_fn(|cx| changes.as_mut().poll_next(cx)).await.is_some()
        {
            return;
        }
        self.0 = None;
        std::future::pending().await
    }
}

impl fmt::Debug for IdentityChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.0.is_some() { "some" } else { "never" };
        write!(f, "IdentityChanges({name})")
    }
}
