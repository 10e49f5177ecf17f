//! One socket: moves bytes between it and the [`Engine`], keeps it alive, and closes it.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use base::BoxedIo;
use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use crate::close::Close;
use crate::config::WsConfig;
use crate::engine::{Engine, Incoming, READ_BUFFER_BYTES};
use crate::extension::DeflateParameters;
use crate::statistics::{ConnectionCount, Counted, Direction};

/// With so many bytes waiting to be written, nothing is added: no message, and no answer to a ping.
const OUTGOING_LIMIT_BYTES: usize = 64 << 10;

/// What happened on the link.
#[derive(Debug)]
pub(crate) enum LinkEvent {
    Text(Bytes),
    Binary(Bytes),
    /// All that was sent has been written.
    Drained,
}

/// Why the connection is over, and so what is left to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    /// We end it, by the closing handshake.
    #[error("closed with {} {}", .0.code(), .0.reason())]
    Close(Close),
    /// The peer broke the protocol: it is told, but not listened to any more.
    #[error("failed with {} {}", .0.code(), .0.reason())]
    Broken(Close),
    /// The peer sent a close frame, perhaps with a code.
    #[error("closed by the peer with {}", code_of(.0.as_ref()))]
    ByPeer(Option<Close>),
    /// There is no connection any more, or none that takes bytes.
    #[error("lost: {0}")]
    Gone(#[source] io::Error),
}

/// 1005 stands for no code (RFC 6455 §7.1.5).
fn code_of(close: Option<&Close>) -> u16 {
    close.map_or(1005, Close::code)
}

impl From<Close> for Ended {
    fn from(close: Close) -> Self {
        Self::Close(close)
    }
}

/// A socket with its frames and its clock.
pub(crate) struct Link {
    io: BoxedIo,
    engine: Engine,
    config: Arc<WsConfig>,
    count: ConnectionCount,
    unflushed: bool,
    next_ping: Instant,
    /// When the oldest ping was sent that nothing has followed.
    unanswered_since: Option<Instant>,
    /// Since when the socket has taken no byte, while some wait.
    stalled_since: Option<Instant>,
    /// Set to the next deadline or earlier; see [`Self::poll_timer`].
    timer: Pin<Box<Sleep>>,
}

impl Link {
    /// Must be called within a tokio runtime.
    pub(crate) fn new(
        io: BoxedIo,
        config: Arc<WsConfig>,
        deflate: Option<&DeflateParameters>,
        count: ConnectionCount,
    ) -> Self {
        let next_ping = Instant::now() + config.ping_interval;
        Self {
            io,
            engine: Engine::new(&config, deflate),
            config,
            count,
            unflushed: false,
            next_ping,
            unanswered_since: None,
            stalled_since: None,
            timer: Box::pin(sleep_until(next_ping)),
        }
    }

    /// Queues a message; it is written while [`next`](Self::next) is awaited.
    pub(crate) fn send(&mut self, message: &Bytes, is_text: bool) {
        self.count_sent(message, is_text);
        match is_text {
            true => self.engine.send_text(message),
            false => self.engine.send_binary(message),
        }
    }

    /// [`send`](Self::send) for a message that goes to other connections, too. `share` gets the name of the way
    /// in which this one compresses, and what does it, and answers with the compressed message.
    pub(crate) fn send_shared(
        &mut self,
        message: &Bytes,
        is_text: bool,
        share: impl FnOnce(u64, &mut dyn FnMut() -> Bytes) -> Bytes,
    ) {
        let Some(variant) = self.engine.shared_compression(message.len()) else {
            return self.send(message, is_text);
        };
        let compressed = share(variant, &mut || self.engine.compress_shared(message));
        self.count_sent(message, is_text);
        match compressed.len() < message.len() {
            true => self.engine.send_compressed(is_text, &compressed),
            false => self.engine.send_plain(is_text, message),
        }
    }

    fn count_sent(&self, message: &Bytes, is_text: bool) {
        let counted = match is_text {
            true => Counted::Text(message.len()),
            false => Counted::Binary(message.len()),
        };
        self.count.count(Direction::Out, counted);
    }

    /// Writes all that was sent.
    ///
    /// Cancel safe.
    pub(crate) async fn flush(&mut self) -> Result<(), Ended> {
        poll_fn(|cx| {
            loop {
                if let Poll::Ready(written) = self.poll_write(cx) {
                    return Poll::Ready(written.map(drop));
                }
                ready!(self.poll_timer(cx))?;
            }
        })
        .await
    }

    /// Whether more should be sent now.
    pub(crate) fn has_room(&self) -> bool {
        self.engine.outgoing().len() < OUTGOING_LIMIT_BYTES
    }

    /// Whether all that was sent has been written.
    pub(crate) fn is_drained(&self) -> bool {
        self.engine.outgoing().is_empty() && !self.unflushed
    }

    /// Drives the connection until something happens. Without `reads`, messages are left in the socket.
    ///
    /// Cancel safe.
    pub(crate) async fn next(&mut self, reads: bool) -> Result<LinkEvent, Ended> {
        poll_fn(|cx| self.poll_next(cx, reads)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, reads: bool) -> Poll<Result<LinkEvent, Ended>> {
        loop {
            if let Poll::Ready(has_written) = self.poll_write(cx)
                && has_written?
            {
                return Poll::Ready(Ok(LinkEvent::Drained));
            }
            if !reads {
                // A pong can not be seen now, so its absence proves nothing.
                self.unanswered_since = None;
            } else if self.has_room() {
                match self.poll_incoming(cx)? {
                    Poll::Ready(Incoming::Text(text)) => {
                        return Poll::Ready(Ok(LinkEvent::Text(text)));
                    }
                    Poll::Ready(Incoming::Binary(bytes)) => {
                        return Poll::Ready(Ok(LinkEvent::Binary(bytes)));
                    }
                    // Their answers have to be written.
                    Poll::Ready(Incoming::Ping | Incoming::Pong) => continue,
                    Poll::Ready(Incoming::Close(close)) => {
                        return Poll::Ready(Err(Ended::ByPeer(close)));
                    }
                    Poll::Pending if self.has_new_outgoing() => continue,
                    Poll::Pending => {}
                }
            }
            // A ping is due, which has to be written.
            ready!(self.poll_timer(cx))?;
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Ended>> {
        if self.is_drained() {
            return Poll::Ready(Ok(false));
        }
        while !self.engine.outgoing().is_empty() {
            match Pin::new(&mut self.io).poll_write(cx, self.engine.outgoing()) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(gone(io::ErrorKind::WriteZero))),
                Poll::Ready(Ok(count)) => {
                    self.engine.advance(count);
                    self.stalled_since = None;
                    self.unflushed = true;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Ended::Gone(error))),
                Poll::Pending => {
                    self.stall();
                    return Poll::Pending;
                }
            }
        }
        match Pin::new(&mut self.io).poll_flush(cx) {
            Poll::Ready(Ok(())) => {
                self.stalled_since = None;
                self.unflushed = false;
                Poll::Ready(Ok(true))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(Ended::Gone(error))),
            Poll::Pending => {
                self.stall();
                Poll::Pending
            }
        }
    }

    /// Whether there are bytes that writing was not tried for: reading may answer a ping.
    fn has_new_outgoing(&self) -> bool {
        !self.engine.outgoing().is_empty() && self.stalled_since.is_none()
    }

    fn stall(&mut self) {
        if self.stalled_since.is_none() {
            let now = Instant::now();
            self.stalled_since = Some(now);
            let deadline = now + self.config.write_timeout;
            if deadline < self.timer.deadline() {
                self.timer.as_mut().reset(deadline);
            }
        }
    }

    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, Ended>> {
        loop {
            match self.engine.poll_message() {
                Ok(Some(incoming)) => {
                    self.count_received(&incoming);
                    return Poll::Ready(Ok(incoming));
                }
                Ok(None) => {}
                Err(close) => return Poll::Ready(Err(Ended::Broken(close))),
            }
            if !self.has_room() {
                // Answers to pings have to be written first; they wake the task.
                return Poll::Pending;
            }
            let buffer = self.engine.incoming_mut();
            buffer.reserve(READ_BUFFER_BYTES);
            match ready!(pin!(self.io.read_buf(buffer)).poll(cx)) {
                Ok(0) => return Poll::Ready(Err(gone(io::ErrorKind::UnexpectedEof))),
                Ok(_) => self.unanswered_since = None,
                Err(error) => return Poll::Ready(Err(Ended::Gone(error))),
            }
        }
    }

    fn count_received(&self, incoming: &Incoming) {
        let count = |counted| self.count.count(Direction::In, counted);
        match incoming {
            Incoming::Text(text) => count(Counted::Text(text.len())),
            Incoming::Binary(bytes) => count(Counted::Binary(bytes.len())),
            Incoming::Ping => {
                count(Counted::Ping);
                self.count.count(Direction::Out, Counted::Pong);
            }
            Incoming::Pong => count(Counted::Pong),
            Incoming::Close(_) => {}
        }
    }

    /// Ready when a ping was sent, or a deadline has passed.
    ///
    /// Deadlines mostly move into the future, so the timer is left alone until it fires and is set anew then.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let now = Instant::now();
            let slow = self
                .stalled_since
                .map(|since| since + self.config.write_timeout);
            let silent = self
                .unanswered_since
                .map(|since| since + self.config.pong_timeout);
            if slow.is_some_and(|deadline| deadline <= now) {
                return Poll::Ready(Err(gone(io::ErrorKind::TimedOut)));
            }
            if silent.is_some_and(|deadline| deadline <= now) {
                return Poll::Ready(Err(Close::unexpected("ping was not answered").into()));
            }
            if self.next_ping <= now {
                self.next_ping = now + self.config.ping_interval;
                if self.has_room() {
                    self.engine.ping();
                    self.count.count(Direction::Out, Counted::Ping);
                    self.unanswered_since.get_or_insert(now);
                    return Poll::Ready(Ok(()));
                }
            }
            let deadlines = [Some(self.next_ping), slow, silent].into_iter().flatten();
            let next = deadlines.min().unwrap_or(self.next_ping);
            self.timer.as_mut().reset(next);
        }
    }

    /// Says good-bye as far as that is possible within [`close_timeout`](WsConfig::close_timeout).
    pub(crate) async fn finish(mut self, ended: Ended) {
        tracing::debug!(target: "ws", "connection {ended}");
        match &ended {
            Ended::Close(close) | Ended::Broken(close) => self.count.ends(close.code(), false),
            Ended::ByPeer(close) => self.count.ends(code_of(close.as_ref()), true),
            // Without a close frame on either side.
            Ended::Gone(error) => {
                let is_ours = error.kind() == io::ErrorKind::TimedOut;
                self.count.ends(1006, !is_ours);
            }
        }
        let limit = self.config.close_timeout;
        // The peer had its chance; what is left is dropped.
        let _ = timeout(limit, self.say_good_bye(&ended)).await;
    }

    async fn say_good_bye(&mut self, ended: &Ended) -> Result<(), Ended> {
        match ended {
            Ended::Gone(_) => return Ok(()),
            Ended::ByPeer(_) => {}
            Ended::Close(close) | Ended::Broken(close) => self.engine.close(close),
        }
        poll_fn(|cx| self.poll_write(cx)).await?;
        if matches!(ended, Ended::Close(_)) {
            loop {
                // An answer to a ping may stand in the way of reading.
                poll_fn(|cx| self.poll_write(cx)).await?;
                let incoming = poll_fn(|cx| self.poll_incoming(cx)).await?;
                if matches!(incoming, Incoming::Close(_)) {
                    break;
                }
            }
        }
        self.io.shutdown().await.map_err(Ended::Gone)?;
        if matches!(ended, Ended::Broken(_)) {
            // Closing a socket with unread bytes would take the close frame back from the peer.
            let copied = tokio::io::copy(&mut self.io, &mut tokio::io::sink()).await;
            copied.map_err(Ended::Gone)?;
        }
        Ok(())
    }
}

fn gone(kind: io::ErrorKind) -> Ended {
    Ended::Gone(kind.into())
}
