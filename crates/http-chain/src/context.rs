//! What is left for a request: the time until its deadline, and somebody who waits for its answer.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use base::Shutdown;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, sleep_until};

use crate::body::{Body, BodyError};
use crate::chain::Next;
use crate::request::Request;
use crate::response::Response;
use crate::stage::{BoxFuture, Wrap};

/// Why nobody waits for the answer any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CancelReason {
    /// The client went away before it had the whole response.
    ClientGone,
    /// The deadline has passed.
    DeadlineExceeded,
    /// The server was closed and gave up waiting for the request.
    ForcedClose,
    /// Somebody called [`RequestContext::cancel`] for a reason of their own.
    Other,
}

/// Deadline and cancellation of one request, for work that a handler hands to others: tasks, threads, calls
/// to other servers. (The handler itself is dropped when it is cancelled, and needs not ask.)
///
/// Clones are the same context. [`Request::context`] has the one of a request; [`Contexts`] makes it. Values
/// of other types that belong to a request are in its [extensions](Request::extensions).
///
/// ```
/// use std::time::Duration;
/// use http_chain::context::{CancelReason, RequestContext};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let request = RequestContext::default();
/// let query = request.child(Some(Duration::from_secs(3)));
/// request.cancel(CancelReason::ClientGone);
/// assert_eq!(query.cancelled().await, CancelReason::ClientGone);
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct RequestContext(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    deadline: Option<Instant>,
    /// Fires when the context is cancelled; a child of the parent's.
    cancelled: Shutdown,
    reason: OnceLock<CancelReason>,
    parent: Option<RequestContext>,
    /// The server's.
    shutdown: Shutdown,
}

impl RequestContext {
    /// A context without a deadline, of a server that closes when `shutdown` says so.
    pub fn new(shutdown: Shutdown) -> Self {
        Self(Arc::new(Inner {
            shutdown,
            ..Inner::default()
        }))
    }

    /// When the answer must be there.
    pub fn deadline(&self) -> Option<Instant> {
        self.0.deadline
    }

    /// Waits until nobody waits for the answer any more, and says why. Dropping the future has no effect.
    /// Needs a Tokio runtime with time if there is a deadline.
    pub async fn cancelled(&self) -> CancelReason {
        match self.0.deadline {
            None => self.0.cancelled.started().await,
            Some(deadline) => tokio::select! {
                biased;
                () = self.0.cancelled.started() => {}
                () = sleep_until(deadline) => {}
            },
        }
        self.reason().unwrap_or(CancelReason::Other)
    }

    /// Whether [`cancelled`](Self::cancelled) would return at once.
    pub fn is_cancelled(&self) -> bool {
        self.reason().is_some()
    }

    /// Why it is cancelled; `None` if it is not.
    pub fn reason(&self) -> Option<CancelReason> {
        let given = self.0.reason.get().copied();
        let parents = || self.0.parent.as_ref().and_then(Self::reason);
        given.or_else(parents).or_else(|| {
            let passed = self.0.deadline.is_some_and(|end| end <= Instant::now());
            passed.then_some(CancelReason::DeadlineExceeded)
        })
    }

    /// Cancels this context and its children. The first reason stays.
    pub fn cancel(&self, reason: CancelReason) {
        // A second reason changes nothing.
        let _ = self.0.reason.set(reason);
        self.0.cancelled.start();
    }

    /// Waits until the server is closing. What lasts long, an event stream for instance, should then end in
    /// its own way. Dropping the future has no effect.
    pub async fn shutdown(&self) {
        self.0.shutdown.started().await;
    }

    /// A context that ends with this one, or by itself after `limit`. Its deadline is the earlier of both.
    pub fn child(&self, limit: Option<Duration>) -> Self {
        let own = limit.and_then(|limit| Instant::now().checked_add(limit));
        let deadline = match (own, self.0.deadline) {
            (Some(own), Some(other)) => Some(own.min(other)),
            (own, other) => own.or(other),
        };
        Self(Arc::new(Inner {
            deadline,
            cancelled: self.0.cancelled.child(),
            reason: OnceLock::new(),
            parent: Some(self.clone()),
            shutdown: self.0.shutdown.clone(),
        }))
    }
}

impl Request {
    /// The context of this request. Without a stage that makes one ([`Contexts`],
    /// [`HandlerTimeout`](crate::stages::HandlerTimeout)) it has no deadline and is never cancelled.
    pub fn context(&self) -> RequestContext {
        let known = self.extensions().get::<RequestContext>().cloned();
        known.unwrap_or_else(|| {
            let shutdown = self.extensions().get::<Shutdown>().cloned();
            RequestContext::new(shutdown.unwrap_or_default())
        })
    }
}

/// Gives every request a [`RequestContext`] that is cancelled when its client goes away, or the connection is
/// cut, before the response is sent to its end.
///
/// Place: around whatever asks for the context. It costs a boxed future and one for the body, so leave it
/// out where nobody asks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Contexts;

impl Wrap for Contexts {
    fn wrap<'a>(&'a self, mut request: Request, next: Next<'a>) -> BoxFuture<'a, Response> {
        Box::pin(async move {
            let context = request.context();
            request.extensions_mut().insert(context.clone());
            let waiting = Waiting(Some(context));
            let mut response = next.run(request).await;
            match response.take_body() {
                body @ Body::Stream(_) => response.set_body(Body::new(Awaited {
                    inner: body,
                    waiting,
                })),
                body => {
                    waiting.end();
                    response.set_body(body);
                }
            }
            response
        })
    }
}

/// Somebody waits. Cancels the context when dropped before it is served.
struct Waiting(Option<RequestContext>);

impl Waiting {
    fn end(mut self) {
        self.0 = None;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(context) = self.0.take() {
            let reason = match context.0.shutdown.is_started() {
                true => CancelReason::ForcedClose,
                false => CancelReason::ClientGone,
            };
            context.cancel(reason);
        }
    }
}

/// A body that somebody waits for.
struct Awaited {
    inner: Body,
    waiting: Waiting,
}

impl http_body::Body for Awaited {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_frame(cx);
        // An engine does not ask again after a frame that it knows to be the last.
        if matches!(polled, Poll::Ready(None)) || this.inner.is_end_stream() {
            this.waiting.0 = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Runs `future` until it is ready or `context` is cancelled.
///
/// # Errors
///
/// The reason of the cancellation; `future` is dropped then.
pub async fn unless_cancelled<T>(
    context: &RequestContext,
    future: impl Future<Output = T>,
) -> Result<T, CancelReason> {
    tokio::select! {
        biased;
        reason = context.cancelled() => Err(reason),
        value = future => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn a_child_has_the_earlier_deadline_and_ends_with_its_parent() {
        let parent = RequestContext::default().child(Some(50 * MS));
        let (sooner, later) = (parent.child(Some(10 * MS)), parent.child(Some(90 * MS)));
        assert!(sooner.deadline() < parent.deadline());
        assert_eq!(later.deadline(), parent.deadline());
        assert_eq!(parent.child(None).deadline(), parent.deadline());
        assert_eq!(sooner.cancelled().await, CancelReason::DeadlineExceeded);
        assert!(sooner.is_cancelled() && !parent.is_cancelled());
        parent.cancel(CancelReason::ClientGone);
        assert_eq!(later.cancelled().await, CancelReason::ClientGone);
    }

    #[tokio::test]
    async fn the_first_reason_stays_and_a_child_does_not_cancel_its_parent() {
        let parent = RequestContext::default();
        let child = parent.child(None);
        child.cancel(CancelReason::Other);
        parent.cancel(CancelReason::ForcedClose);
        parent.cancel(CancelReason::ClientGone);
        assert_eq!(child.reason(), Some(CancelReason::Other));
        assert_eq!(parent.reason(), Some(CancelReason::ForcedClose));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_cancelled_is_not_run_to_its_end() {
        let context = RequestContext::default().child(Some(10 * MS));
        let slow = tokio::time::sleep(20 * MS);
        let result = unless_cancelled(&context, slow).await;
        assert_eq!(result, Err(CancelReason::DeadlineExceeded));
        assert_eq!(
            unless_cancelled(&RequestContext::default(), async { 7 }).await,
            Ok(7)
        );
    }
}
