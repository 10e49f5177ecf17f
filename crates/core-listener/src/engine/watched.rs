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
use crate::stream::{Prefixed, Stream};

/// How long a request without a body may go on after the client has ended its direction. hyper takes
/// that for a vanished client and drops the request at once, but a client that sends and then half-closes
/// (`nc -N`) still waits for its answer, and looks the same.
const HALF_CLOSE: Duration = Duration::from_secs(1);

/// The stream as the HTTP engine sees it.
pub(crate) struct Watched {
    stream: Prefixed<Stream>,
    shared: Arc<Shared>,
    half_close: Option<Pin<Box<Sleep>>>,
}

impl Watched {
    pub(crate) fn new(stream: Prefixed<Stream>, shared: Arc<Shared>) -> Self {
        Self {
            stream,
            shared,
            half_close: None,
        }
    }

    pub(crate) fn into_inner(self) -> Prefixed<Stream> {
        self.stream
    }

    /// Holds back the end of the input while its request is being answered.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let activity = &self.shared.activity;
        if activity.is_http1() && activity.phase() == Phase::Busy && !activity.is_body_open() {
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
        if this.shared.activity.peer_closed() {
            return this.poll_end(cx);
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        let length = buf.filled().len() - before;
        this.shared.activity.note_read(length);
        if length == 0 {
            this.poll_end(cx)
        } else {
            Poll::Ready(Ok(()))
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
            Poll::Ready(_) => self.shared.activity.note_flushed(),
            Poll::Pending => self.shared.activity.note_write(false),
        }
        result
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.note_write(&result);
        result
    }
}
