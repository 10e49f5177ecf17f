//! Messages in both directions between a client and a resource made of code (`realtime.md` §2.5).

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_core::Stream;

use crate::{Error, Value};

/// What a client sends, decoded; text and bytes that are in no known format come as they are. It ends with
/// the connection, and at once for a client that cannot send (server-sent events).
///
/// The protocol reads one message ahead: a resource that does not take them slows its client down.
pub type Incoming = Pin<Box<dyn Stream<Item = Value> + Send>>;

/// What the client is sent. The end of the stream ends the connection, an error says why. It is not polled
/// while the client is slow, and dropped when it is gone.
pub type Replies = Pin<Box<dyn Stream<Item = Result<Reply, Error>> + Send>>;

/// One message to a client.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// A value, in the format that the client asked for.
    Value(Value),
    /// Bytes that are encoded already.
    Raw {
        /// Their media type.
        content_type: Arc<str>,
        /// The message.
        data: Bytes,
    },
}
