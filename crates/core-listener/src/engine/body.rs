//! The body of a request, limited in time.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until};

use super::Shared;
use crate::stats::CloseReason;

/// The body of a request as it arrives, trailers included.
///
/// The first poll sends `100 Continue` if the client waits for it. A body that is not complete within
/// [`HttpConfig::request_timeout`](crate::HttpConfig::request_timeout), or of which nothing comes for
/// [`HttpConfig::body_idle_timeout`](crate::HttpConfig::body_idle_timeout), ends with an error.
#[derive(Debug)]
pub struct RequestBody {
    incoming: Incoming,
    /// Until the last byte has been read; a request without a body never has it.
    open: Option<OpenBody>,
}

/// Why a request body ended early.
///
/// Each variant has an [`io::Error`] of a telling kind as its source, so that a crate which knows only
/// `http_body` can still tell them apart by looking along the sources.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestBodyError {
    /// Peer: too slow; owed a 408. [`io::ErrorKind::TimedOut`].
    #[error("the request body was not complete within the time limit")]
    TimedOut(#[source] io::Error),
    /// Peer: bad framing; owed a 400. [`io::ErrorKind::InvalidData`].
    #[error("the request body is malformed")]
    Malformed(#[source] io::Error),
    /// Peer: gone. [`io::ErrorKind::UnexpectedEof`].
    #[error("the client left before the request body was complete")]
    Disconnected(#[source] io::Error),
}

/// Notes on the connection what became of a body.
struct OpenBody {
    shared: Arc<Shared>,
    /// For the whole body.
    deadline: Option<Instant>,
    /// For the next part of it.
    idle_limit: Option<Duration>,
    /// When that ends; set while the handler waits.
    idle_deadline: Option<Instant>,
    /// Made at the first wait: most bodies have arrived by then.
    timer: Option<Pin<Box<Sleep>>>,
    expired: bool,
    complete: bool,
}

impl fmt::Debug for OpenBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenBody")
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

impl RequestBody {
    pub(super) fn new(incoming: Incoming, shared: &Arc<Shared>) -> Self {
        let open = (!incoming.is_end_stream()).then(|| OpenBody::new(shared.clone()));
        Self { incoming, open }
    }

    fn close_complete(&mut self) {
        if let Some(mut open) = self.open.take() {
            open.complete = true;
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.incoming).poll_frame(cx) {
            Poll::Ready(frame) => {
                if frame.is_none() || this.incoming.is_end_stream() {
                    this.close_complete();
                } else if let Some(open) = &mut this.open {
                    open.idle_deadline = None;
                }
                Poll::Ready(frame.map(|frame| frame.map_err(classify)))
            }
            Poll::Pending => match &mut this.open {
                Some(open) => open.poll_expired(cx).map(|error| Some(Err(error))),
                None => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl OpenBody {
    fn new(shared: Arc<Shared>) -> Self {
        shared.activity.body_opened();
        let config = &shared.engine.config;
        let idle_limit = config.body_idle_timeout;
        let deadline = config
            .request_timeout
            .and_then(|limit| Instant::now().checked_add(limit));
        Self {
            shared,
            deadline,
            idle_limit,
            idle_deadline: None,
            timer: None,
            expired: false,
            complete: false,
        }
    }

    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<RequestBodyError> {
        if self.idle_deadline.is_none() {
            self.idle_deadline = self
                .idle_limit
                .and_then(|limit| Instant::now().checked_add(limit));
        }
        let nearest = [self.deadline, self.idle_deadline];
        let Some(nearest) = nearest.into_iter().flatten().min() else {
            return Poll::Pending;
        };
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(nearest)));
        if timer.deadline() != nearest {
            timer.as_mut().reset(nearest);
        }
        ready!(timer.as_mut().poll(cx));
        if !self.expired {
            self.expired = true;
            self.shared.counters.request_timeouts.increment();
            self.shared.activity.set_must_close();
            if self.shared.activity.is_http1() {
                self.shared.ending.note(CloseReason::ReadTimeout);
            }
        }
        Poll::Ready(RequestBodyError::TimedOut(io::ErrorKind::TimedOut.into()))
    }
}

impl Drop for OpenBody {
    fn drop(&mut self) {
        self.shared.activity.body_closed(self.complete);
    }
}

fn classify(error: hyper::Error) -> RequestBodyError {
    let kind = error
        .source()
        .and_then(|source| source.downcast_ref::<io::Error>())
        .map(io::Error::kind);
    match kind {
        Some(io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) => {
            RequestBodyError::Malformed(io::Error::new(io::ErrorKind::InvalidData, error))
        }
        _ => RequestBodyError::Disconnected(io::Error::new(io::ErrorKind::UnexpectedEof, error)),
    }
}
