//! Methods of enhanced authentication that a broker can be given (section 4.12).

use std::sync::Arc;

use bytes::Bytes;
use resource::{Answer, Caller};

/// A way to find out who connects by more than one question, such as SCRAM or Kerberos.
pub trait AuthenticationMethod: Send + Sync {
    /// Authentication Method as CONNECT names it.
    fn name(&self) -> &str;
    /// A conversation with one client, from its first data to its last.
    fn begin(&self) -> Box<dyn AuthenticationExchange>;
}

/// A conversation with one client.
pub trait AuthenticationExchange: Send {
    /// Takes the client's Authentication Data and goes on. An error is told as 0x87; 429 as 0x9F, 503 as 0x88.
    fn step(&mut self, data: Option<Bytes>) -> Answer<'_, AuthenticationStep>;
}

/// What comes next.
#[derive(Debug, Clone)]
pub enum AuthenticationStep {
    /// The client is to answer this: AUTH with 0x18.
    Continue(Option<Bytes>),
    /// The client is who it says; the data goes with CONNACK or the last AUTH.
    Done {
        /// Who it is.
        caller: Caller,
        /// What the client needs to know the server by.
        data: Option<Bytes>,
    },
}

pub(super) type Methods = Vec<Arc<dyn AuthenticationMethod>>;
