//! The time a response may take.

use std::future::Future as _;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};

use crate::body::{Body, BodyError};
use crate::chain::Next;
use crate::request::Request;
use crate::response::Response;
use crate::stage::{BoxFuture, Wrap};

/// Answers 503 `handler timed out` when the head of the response is not there in time. The future of
/// the handler is dropped, so handlers must be safe to cancel. A body that streams afterwards is not
/// covered unless [`cover_body`](Self::cover_body) says so.
///
/// Place: inside [`InFlightLimit`](super::InFlightLimit), around the handlers it shall cover. Needs a
/// Tokio runtime with time.
#[derive(Debug, Clone, Copy)]
pub struct HandlerTimeout {
    limit: Duration,
    status: StatusCode,
    text: &'static str,
    covers_body: bool,
}

/// A status that does not say that something went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no error status")]
pub struct NotAnError(StatusCode);

impl HandlerTimeout {
    /// Allows `limit` until the head of the response.
    pub fn new(limit: Duration) -> Self {
        Self {
            limit,
            status: StatusCode::SERVICE_UNAVAILABLE,
            text: "handler timed out",
            covers_body: false,
        }
    }

    /// Answers with this status and text instead.
    ///
    /// # Errors
    ///
    /// [`NotAnError`] unless the status is 400 or above.
    pub fn with_answer(self, status: StatusCode, text: &'static str) -> Result<Self, NotAnError> {
        let is_error = status.is_client_error() || status.is_server_error();
        let answer = Self {
            status,
            text,
            ..self
        };
        is_error.then_some(answer).ok_or(NotAnError(status))
    }

    /// Covers the body, too: one that is not at its end in time fails, and the client sees that it was cut.
    #[must_use]
    pub fn cover_body(self, covers_body: bool) -> Self {
        Self {
            covers_body,
            ..self
        }
    }
}

impl Wrap for HandlerTimeout {
    fn wrap<'a>(&'a self, request: Request, next: Next<'a>) -> BoxFuture<'a, Response> {
        Box::pin(async move {
            let deadline = Instant::now() + self.limit;
            match timeout_at(deadline, pin!(next.run(request))).await {
                Ok(mut response) => {
                    if let (true, Body::Stream(_)) = (self.covers_body, response.body()) {
                        let inner = response.take_body();
                        response.set_body(Body::new(Hurried {
                            inner,
                            deadline: Box::pin(sleep_until(deadline)),
                        }));
                    }
                    response
                }
                Err(_elapsed) => Response::text(self.status, self.text),
            }
        })
    }
}

/// A body that fails at its deadline.
struct Hurried {
    inner: Body,
    deadline: Pin<Box<Sleep>>,
}

impl http_body::Body for Hurried {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if this.deadline.as_mut().poll(cx).is_ready() && !this.inner.is_end_stream() {
            this.inner = Body::Empty;
            let late = io::Error::from(io::ErrorKind::TimedOut);
            return Poll::Ready(Some(Err(BodyError::Read(late.into()))));
        }
        Pin::new(&mut this.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
