//! The body of a response, which keeps its request in flight until it is written.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::{BoxError, Shared};

/// A request between the end of its head and the end of its response; noted in the connection's activity.
pub(crate) struct InFlight {
    shared: Arc<Shared>,
    complete: bool,
}

impl InFlight {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        shared.counters.requests.increment();
        shared.activity.request_started();
        Self {
            shared,
            complete: false,
        }
    }

    /// Keeps the connection busy beyond the end of a request, for a stream that was upgraded.
    pub(crate) fn hold(shared: Arc<Shared>) -> Self {
        shared.activity.request_started();
        Self {
            shared,
            complete: true,
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Says that it will not have been cancelled when it is dropped.
    pub(crate) fn set_complete(&mut self) {
        self.complete = true;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.shared.activity.request_ended(self.complete);
    }
}

pin_project! {
    /// The body as the HTTP engine sees it: the service's, or none in an answer of our own.
    pub(crate) struct ResponseBody<B> {
        #[pin]
        body: Option<B>,
        in_flight: InFlight,
    }
}

impl<B: Body> ResponseBody<B> {
    pub(crate) fn new(body: Option<B>, mut in_flight: InFlight) -> Self {
        if body.as_ref().is_none_or(Body::is_end_stream) {
            in_flight.set_complete();
        }
        Self { body, in_flight }
    }
}

impl<B> Body for ResponseBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut this = self.project();
        let Some(mut body) = this.body.as_mut().as_pin_mut() else {
            return Poll::Ready(None);
        };
        let frame = ready!(body.as_mut().poll_frame(cx));
        // A body that fails is not the peer's doing either.
        if !matches!(frame, Some(Ok(_))) || body.is_end_stream() {
            this.in_flight.set_complete();
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}
