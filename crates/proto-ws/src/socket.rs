//! One connection in the hands of the embedder's code: messages in, messages out.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use base::{ConnInfo, Shutdown};
use bytes::Bytes;
use resource::Caller;

use crate::close::Close;
use crate::link::{Ended, Link, LinkEvent};

/// A whole message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Text; the bytes are UTF-8.
    Text(Bytes),
    /// Anything.
    Binary(Bytes),
}

impl Message {
    /// A text message.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into().into())
    }

    /// A binary message.
    pub fn binary(bytes: impl Into<Bytes>) -> Self {
        Self::Binary(bytes.into())
    }
}

/// The connection is over: nothing can be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the WebSocket is closed")]
pub struct Closed;

/// An open WebSocket, made by [`Upgrader::upgrade`](crate::Upgrader::upgrade).
///
/// Pings, close frames and time limits are looked after while [`next`](Self::next) or [`send`](Self::send) is
/// awaited. Dropping it closes with 1000.
pub struct WebSocket {
    /// `Some` until it is dropped.
    link: Option<Link>,
    conn: Arc<ConnInfo>,
    shutdown: Shutdown,
    caller: Caller,
    protocol: Option<Arc<str>>,
    ended: Option<Ended>,
    /// Where the link goes when this is dropped, to be closed properly.
    farewell: Farewell,
}

type Farewell = Arc<Mutex<Option<(Link, Ended)>>>;

impl WebSocket {
    /// The next message; `None` when the connection is over, because the client closed it, was lost or broke
    /// the protocol, or because this server shuts down (1001).
    ///
    /// Cancel safe.
    pub async fn next(&mut self) -> Option<Message> {
        let link = self.link.as_mut().filter(|_| self.ended.is_none())?;
        loop {
            let event = tokio::select! {
                () = self.shutdown.started() => Err(Close::going_away().into()),
                event = link.next(true) => event,
            };
            match event {
                Ok(LinkEvent::Text(text)) => return Some(Message::Text(text)),
                Ok(LinkEvent::Binary(bytes)) => return Some(Message::Binary(bytes)),
                Ok(LinkEvent::Drained) => {}
                Err(ended) => {
                    self.ended = Some(ended);
                    return None;
                }
            }
        }
    }

    /// Sends a message and waits until the socket has taken it: a slow client makes its sender slow. One that
    /// takes no byte for [`WsConfig::write_timeout`](crate::WsConfig::write_timeout) is given up.
    ///
    /// Dropping the future does not take the message back.
    ///
    /// # Errors
    ///
    /// [`Closed`] if the connection is over.
    pub async fn send(&mut self, message: Message) -> Result<(), Closed> {
        let link = self.link.as_mut().filter(|_| self.ended.is_none());
        let link = link.ok_or(Closed)?;
        match &message {
            Message::Text(text) => link.send(text, true),
            Message::Binary(bytes) => link.send(bytes, false),
        }
        if let Err(ended) = link.flush().await {
            self.ended = Some(ended);
            return Err(Closed);
        }
        Ok(())
    }

    /// Closes the connection with this code; it is what the client is told unless the connection is over.
    pub fn close(mut self, close: Close) {
        self.ended.get_or_insert(Ended::Close(close));
    }

    /// The code and reason that the client closed with, once [`next`](Self::next) has answered `None`.
    pub fn close_of_client(&self) -> Option<&Close> {
        match &self.ended {
            Some(Ended::ByPeer(close)) => close.as_ref(),
            _ => None,
        }
    }

    /// The sub-protocol that was selected.
    pub fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    /// Who is connected, as authentication settled it.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Facts of the connection.
    pub fn conn(&self) -> &Arc<ConnInfo> {
        &self.conn
    }
}

impl Drop for WebSocket {
    fn drop(&mut self) {
        let Some(link) = self.link.take() else {
            return;
        };
        let ended = self.ended.take().unwrap_or_else(|| Close::normal().into());
        let mut farewell = self.farewell.lock().unwrap_or_else(PoisonError::into_inner);
        *farewell = Some((link, ended));
    }
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket")
            .field("connection", &self.conn.id)
            .field("protocol", &self.protocol)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

/// Runs `serve` on the connection, and the closing handshake after it.
pub(crate) async fn run<F, Fut>(
    link: Link,
    conn: Arc<ConnInfo>,
    shutdown: Shutdown,
    caller: Caller,
    protocol: Option<Arc<str>>,
    serve: F,
) where
    F: FnOnce(WebSocket) -> Fut + Send,
    Fut: Future<Output = ()> + Send,
{
    let farewell = Farewell::default();
    let socket = WebSocket {
        link: Some(link),
        conn,
        shutdown,
        caller,
        protocol,
        ended: None,
        farewell: Arc::clone(&farewell),
    };
    serve(socket).await;
    let left = farewell
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    // Nothing is left if `serve` gave the socket away, for example to another task.
    if let Some((link, ended)) = left {
        link.finish(ended).await;
    }
}
