//! A stream that notes what passes through it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::Shared;
use super::activity::Phase;
use super::framing::{Scanner, Violation};
use crate::stream::{Prefixed, Stream};

/// How long a request whose body has arrived may go on after the client has ended its direction. hyper takes
/// that for a vanished client and drops the request at once, but a client that sends and then half-closes
/// (`nc -N`) still waits for its answer, and looks the same.
const HALF_CLOSE: Duration = Duration::from_secs(1);

/// The stream as the HTTP engine sees it.
pub(crate) struct Watched {
    stream: Prefixed<Stream>,
    shared: Arc<Shared>,
    half_close: Option<Pin<Box<Sleep>>>,
    /// For HTTP/1.
    scanner: Option<Scanner>,
    refusal: Refusal,
}

/// What became of a head that broke a rule.
#[derive(Debug, Clone, Copy)]
enum Refusal {
    None,
    /// Held back until the requests before it are answered.
    Held(&'static str),
    /// The engine was told that the input is over.
    Told(&'static str),
}

impl Watched {
    pub(crate) fn new(stream: Prefixed<Stream>, shared: Arc<Shared>) -> Self {
        let activity = &shared.activity;
        let max_head_bytes = shared.engine.config.max_header_bytes;
        Self {
            stream,
            half_close: None,
            scanner: activity.is_http1().then(|| Scanner::new(max_head_bytes)),
            refusal: Refusal::None,
            shared,
        }
    }

    /// The status that is owed to the peer, if a refused head is why the engine stopped.
    pub(crate) fn refusal(&self) -> Option<&'static str> {
        match self.refusal {
            Refusal::Told(status) => Some(status),
            Refusal::None | Refusal::Held(_) => None,
        }
    }

    /// Ends the input once nothing before the refused head is unanswered. A flush asks again.
    fn poll_refusal(&mut self, status: &'static str) -> Poll<io::Result<()>> {
        if self.shared.activity.phase() == Phase::Busy {
            return Poll::Pending;
        }
        self.refusal = Refusal::Told(status);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, status)))
    }

    /// Takes back the bytes that the engine must not see; returns how many it may.
    fn check(&mut self, buf: &mut ReadBuf<'_>, before: usize) -> usize {
        let read = &buf.filled()[before..];
        let result = self
            .scanner
            .as_mut()
            .map_or(Ok(()), |scanner| scanner.scan(read));
        let Err(Violation { valid, status }) = result else {
            return read.len();
        };
        self.refusal = Refusal::Held(status);
        buf.set_filled(before + valid);
        valid
    }

    pub(crate) fn into_inner(self) -> Prefixed<Stream> {
        self.stream
    }

    /// Holds back the end of the input while its request is being answered.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let activity = &self.shared.activity;
        // A body that has arrived may still be on its way from hyper to the service.
        let has_arrived = |scanner: &Scanner| scanner.is_between_messages();
        let is_complete =
            !activity.is_body_open() || self.scanner.as_ref().is_some_and(has_arrived);
        if activity.is_http1() && activity.phase() == Phase::Busy && is_complete {
            let timer = self
                .half_close
                .get_or_insert_with(|| Box::pin(sleep(HALF_CLOSE)));
            return timer.as_mut().poll(cx).map(Ok);
        }
        Poll::Ready(Ok(()))
    }

    fn note_write<T>(&self, result: &Poll<io::Result<T>>) {
        match result {
            Poll::Ready(Ok(_)) => self.shared.activity.note_write(true),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.shared.activity.note_write(false),
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Refusal::Held(status) | Refusal::Told(status) = this.refusal {
            return this.poll_refusal(status);
        }
        if this.shared.activity.peer_closed() {
            return this.poll_end(cx);
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        let length = buf.filled().len() - before;
        if length == 0 {
            this.shared.activity.note_read(0);
            return this.poll_end(cx);
        }
        match (this.check(buf, before), this.refusal) {
            (0, Refusal::Held(status)) => this.poll_refusal(status),
            (length, _) => {
                this.shared.activity.note_read(length);
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.note_write(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.note_write(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        match &result {
            Poll::Ready(_) => {
                self.shared.activity.note_flushed();
                if matches!(self.refusal, Refusal::Held(_)) {
                    cx.waker().wake_by_ref();
                }
            }
            Poll::Pending => self.shared.activity.note_write(false),
        }
        result
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Refusal::Told(_) = self.refusal {
            // The answer is not written yet.
            return Poll::Ready(Ok(()));
        }
        let result = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.note_write(&result);
        result
    }
}
