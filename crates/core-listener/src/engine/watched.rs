//! A stream that notes what passes through it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::Shared;
use super::activity::Phase;
use super::calm::Http2Watch;
use super::framing::{Answer, Scanner, Violation};
use crate::stats::CloseReason;
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
    version: Version,
    refusal: Refusal,
    /// An answer that hyper gave by itself was not written, since we give it in our own words.
    has_silenced: bool,
}

/// What is watched depends on the version.
enum Version {
    Http1(Scanner),
    Http2(Box<Http2Watch>),
}

/// What became of a head that broke a rule.
#[derive(Debug, Clone, Copy)]
enum Refusal {
    None,
    /// Held back until the requests before it are answered.
    Held(Answer),
    /// The engine was told that the input is over.
    Told(Answer),
}

impl Watched {
    pub(crate) fn new(stream: Prefixed<Stream>, shared: Arc<Shared>) -> Self {
        let config = &shared.engine.config;
        let version = if shared.activity.is_http1() {
            Version::Http1(Scanner::new(config.max_header_bytes))
        } else {
            let limit = config.http2_limits.max_cancelled_streams;
            Version::Http2(Box::new(Http2Watch::new(limit)))
        };
        Self {
            stream,
            half_close: None,
            version,
            refusal: Refusal::None,
            has_silenced: false,
            shared,
        }
    }

    /// What is owed to the peer, if a refused head is why the engine stopped.
    pub(crate) fn refusal(&self) -> Option<Answer> {
        match self.refusal {
            Refusal::Told(answer) => Some(answer),
            Refusal::None | Refusal::Held(_) => None,
        }
    }

    /// Whether hyper refused a head and its answer was kept back, so that one is owed to the peer.
    pub(crate) fn has_silenced(&self) -> bool {
        self.has_silenced
    }

    /// Whether what is to be written is an answer of hyper's own: on HTTP/1 it writes nothing else while no
    /// request is in flight and no response is left to flush.
    fn silences(&mut self) -> bool {
        self.has_silenced |=
            self.shared.activity.is_http1() && self.shared.activity.phase() != Phase::Busy;
        self.has_silenced
    }

    /// Ends the input once nothing before the refused head is unanswered. A flush asks again.
    fn poll_refusal(&mut self, answer: Answer) -> Poll<io::Result<()>> {
        if self.shared.activity.phase() == Phase::Busy {
            return Poll::Pending;
        }
        self.refusal = Refusal::Told(answer);
        let error = io::Error::new(io::ErrorKind::InvalidData, answer.status);
        Poll::Ready(Err(error))
    }

    /// Takes back the bytes that the engine must not see; returns how many it may.
    fn check(&mut self, buf: &mut ReadBuf<'_>, before: usize) -> usize {
        let read = &buf.filled()[before..];
        let (length, valid) = match &mut self.version {
            Version::Http1(scanner) => match scanner.scan(read) {
                Ok(passed) => {
                    if passed < read.len() {
                        let rest = Bytes::copy_from_slice(&read[passed..]);
                        self.stream.unread(rest);
                    }
                    (read.len(), passed)
                }
                Err(Violation { valid, answer }) => {
                    self.refusal = Refusal::Held(answer);
                    (read.len(), valid)
                }
            },
            Version::Http2(watch) => {
                let is_flood = watch.note_read(read, &self.shared.counters);
                if is_flood {
                    self.shared.counters.reset_floods.increment();
                    self.shared.ending.note(CloseReason::Limit);
                    tracing::warn!(
                        connection = %self.shared.info.id,
                        peer = %self.shared.info.peer,
                        "too many HTTP/2 streams reset, closing the connection"
                    );
                }
                (read.len(), if is_flood { 0 } else { read.len() })
            }
        };
        if valid < length {
            buf.set_filled(before + valid);
        }
        valid
    }

    /// Whether the answer to the last request decides what the next bytes are. A flush asks again.
    fn is_undecided(&mut self) -> bool {
        let Version::Http1(scanner) = &mut self.version else {
            return false;
        };
        if scanner.is_undecided() && self.shared.activity.phase() == Phase::Silent {
            scanner.decide_for_http();
        }
        scanner.is_undecided()
    }

    fn ending(&mut self) -> Option<&mut Http2Watch> {
        match &mut self.version {
            Version::Http2(watch) if watch.is_ending() => Some(watch),
            _ => None,
        }
    }

    /// Writes the rest of a frame that has begun, and lets everything after it disappear.
    fn poll_last_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let Version::Http2(watch) = &mut self.version else {
            return Poll::Ready(Ok(buf.len()));
        };
        let rest = watch.may_write(buf);
        if rest == 0 {
            return Poll::Ready(Ok(buf.len()));
        }
        let length = ready!(Pin::new(&mut self.stream).poll_write(cx, &buf[..rest]))?;
        watch.note_write(&buf[..length], &self.shared.counters);
        if watch.is_between_frames() {
            // The farewell waits for this.
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(length))
    }

    pub(crate) fn into_inner(self) -> Prefixed<Stream> {
        self.stream
    }

    /// Holds back the end of the input while its request is being answered.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let activity = &self.shared.activity;
        // A body that has arrived may still be on its way from hyper to the service.
        let has_arrived = match &self.version {
            Version::Http1(scanner) => scanner.is_between_messages(),
            Version::Http2(_) => false,
        };
        let is_complete = !activity.is_body_open() || has_arrived;
        if activity.is_http1() && activity.phase() == Phase::Busy && is_complete {
            let timer = self
                .half_close
                .get_or_insert_with(|| Box::pin(sleep(HALF_CLOSE)));
            return timer.as_mut().poll(cx).map(Ok);
        }
        Poll::Ready(Ok(()))
    }

    fn note_write(&mut self, result: &Poll<io::Result<usize>>, bufs: &[io::IoSlice<'_>]) {
        let mut written = match result {
            Poll::Ready(Ok(written)) => *written,
            Poll::Ready(Err(_)) => return,
            Poll::Pending => return self.shared.activity.note_write(false),
        };
        self.shared.activity.note_write(true);
        if let Version::Http2(watch) = &mut self.version {
            for buf in bufs {
                let part = written.min(buf.len());
                watch.note_write(&buf[..part], &self.shared.counters);
                written -= part;
            }
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
        if let Version::Http2(watch) = &mut this.version
            && watch.is_ending()
        {
            return watch
                .poll_end(&mut this.stream, cx, &this.shared.counters)
                .map(Err);
        }
        if let Refusal::Held(answer) | Refusal::Told(answer) = this.refusal {
            return this.poll_refusal(answer);
        }
        if this.shared.activity.peer_closed() {
            return this.poll_end(cx);
        }
        // Held-back bytes stay where they are; without them, we only look for the end.
        if this.is_undecided() && !this.stream.is_empty() {
            return Poll::Pending;
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        let length = buf.filled().len() - before;
        if length == 0 {
            this.shared.activity.note_read(0);
            return this.poll_end(cx);
        }
        match (this.check(buf, before), this.refusal) {
            (0, Refusal::Held(answer)) => this.poll_refusal(answer),
            (0, Refusal::None) => match &mut this.version {
                Version::Http2(watch) => watch
                    .poll_end(&mut this.stream, cx, &this.shared.counters)
                    .map(Err),
                // All of it was held back.
                Version::Http1(_) => Poll::Pending,
            },
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
        if self.ending().is_some() {
            return self.poll_last_write(cx, buf);
        }
        if self.silences() {
            return Poll::Ready(Ok(buf.len()));
        }
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.note_write(&result, &[io::IoSlice::new(buf)]);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.ending().is_some() {
            let first = bufs.iter().find(|buf| !buf.is_empty());
            return self.poll_last_write(cx, first.map_or(&[], |buf| &buf[..]));
        }
        if self.silences() {
            return Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()));
        }
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.note_write(&result, bufs);
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
                if matches!(&self.version, Version::Http1(scanner) if scanner.is_inside_head()) {
                    self.shared.activity.note_head_begun();
                }
                let is_undecided =
                    matches!(&self.version, Version::Http1(scanner) if scanner.is_undecided());
                if is_undecided || matches!(self.refusal, Refusal::Held(_)) {
                    cx.waker().wake_by_ref();
                }
            }
            Poll::Pending => self.shared.activity.note_write(false),
        }
        result
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let owes_answer = matches!(self.refusal, Refusal::Told(_)) || self.has_silenced;
        if owes_answer || self.ending().is_some() {
            // The answer is not written yet.
            return Poll::Ready(Ok(()));
        }
        let result = Pin::new(&mut self.stream).poll_shutdown(cx);
        match &result {
            Poll::Ready(Ok(())) => self.shared.activity.note_write(true),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.shared.activity.note_write(false),
        }
        result
    }
}
