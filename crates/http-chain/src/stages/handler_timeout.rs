//! The time a response may take.

use std::fmt;
use std::future::Future as _;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};

use crate::body::{Body, BodyError};
use crate::chain::Next;
use crate::context::CancelReason;
use crate::request::Request;
use crate::response::Response;
use crate::stage::{BoxFuture, Wrap};

/// Answers 503 `handler timed out` when the head of the response is not there in time. The future of
/// the handler is dropped, so handlers must be safe to cancel. A body that streams afterwards is not
/// covered unless [`cover_body`](Self::cover_body) says so.
///
/// The request gets a [`RequestContext`](crate::RequestContext) with this deadline, or an earlier one that it has already.
///
/// Place: inside [`InFlightLimit`](super::InFlightLimit), around the handlers it shall cover. Needs a
/// Tokio runtime with time.
#[derive(Clone)]
pub struct HandlerTimeout {
    limit: Duration,
    status: StatusCode,
    text: &'static str,
    covers_body: bool,
    keeper: Option<Arc<Keeper>>,
}

/// Runs what is left of a handler whose time is up.
type Keeper = dyn Fn(BoxFuture<'static, ()>) + Send + Sync;

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
            keeper: None,
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

impl HandlerTimeout {
    /// Lets a handler whose time is up run to its end instead of dropping it; its answer is thrown away.
    ///
    /// `keeper` gets what is left of it and has to poll it, usually as a task. Count these tasks: nothing here
    /// bounds them, and no limit on requests in flight sees them.
    ///
    /// ```
    /// use std::time::Duration;
    /// use http_chain::stages::HandlerTimeout;
    /// use tokio_util::task::TaskTracker;
    ///
    /// let tasks = TaskTracker::new();
    /// let timeout = HandlerTimeout::new(Duration::from_secs(5)).detach({
    ///     let tasks = tasks.clone();
    ///     move |rest| drop(tasks.spawn(rest))
    /// });
    /// ```
    #[must_use]
    pub fn detach(self, keeper: impl Fn(BoxFuture<'static, ()>) + Send + Sync + 'static) -> Self {
        Self {
            keeper: Some(Arc::new(keeper)),
            ..self
        }
    }

    /// The answer of the rest of the chain, or `None` if it was not there in time.
    async fn run(&self, deadline: Instant, request: Request, next: Next<'_>) -> Option<Response> {
        let Some(keeper) = &self.keeper else {
            return timeout_at(deadline, pin!(next.run(request))).await.ok();
        };
        // Borrowed from nobody, since it may outlive this request.
        let mut rest = Box::pin(next.to_owned().run(request));
        match timeout_at(deadline, &mut rest).await {
            Ok(response) => Some(response),
            Err(_elapsed) => {
                keeper(Box::pin(async move { drop(rest.await) }));
                None
            }
        }
    }
}

impl fmt::Debug for HandlerTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerTimeout")
            .field("limit", &self.limit)
            .field("status", &self.status)
            .field("covers_body", &self.covers_body)
            .field("detaches", &self.keeper.is_some())
            .finish_non_exhaustive()
    }
}

impl Wrap for HandlerTimeout {
    fn wrap<'a>(&'a self, mut request: Request, next: Next<'a>) -> BoxFuture<'a, Response> {
        Box::pin(async move {
            let context = request.context().child(Some(self.limit));
            request.extensions_mut().insert(context.clone());
            let own = Instant::now() + self.limit;
            let deadline = context.deadline().map_or(own, |deadline| deadline.min(own));
            match self.run(deadline, request, next).await {
                Some(mut response) => {
                    if let (true, Body::Stream(_)) = (self.covers_body, response.body()) {
                        let inner = response.take_body();
                        response.set_body(Body::new(Hurried {
                            inner,
                            deadline: Box::pin(sleep_until(deadline)),
                        }));
                    }
                    response
                }
                None => {
                    context.cancel(CancelReason::DeadlineExceeded);
                    Response::text(self.status, self.text)
                }
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
