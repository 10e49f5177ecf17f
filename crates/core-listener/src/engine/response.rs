//! The body of a response, which keeps its request in flight until it is written.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::stall::Progress;
use super::{BoxError, Shared};

/// A request between the end of its head and the end of its response; noted in the connection's activity.
pub(crate) struct InFlight {
    shared: Arc<Shared>,
}

impl InFlight {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        shared.counters.requests.increment();
        Self::hold(shared)
    }

    /// Keeps the connection busy beyond the end of a request, for what it was upgraded to.
    pub(crate) fn hold(shared: Arc<Shared>) -> Self {
        shared.request_started();
        Self { shared }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.shared.request_ended();
    }
}

pin_project! {
    /// The body as the HTTP engine sees it: the service's, or none in an answer of our own.
    pub(crate) struct ResponseBody<B> {
        #[pin]
        body: Option<B>,
        // Of an answer of our own.
        content: Bytes,
        // Held for its drop.
        in_flight: InFlight,
        // Of HTTP/2.
        progress: Option<Arc<Progress>>,
    }
}

impl<B: Body> ResponseBody<B> {
    pub(crate) fn new(body: Option<B>, in_flight: InFlight) -> Self {
        let progress = Progress::current(&in_flight.shared.counters);
        Self {
            body,
            content: Bytes::new(),
            in_flight,
            progress,
        }
    }

    /// An answer of our own.
    pub(crate) fn own(content: Bytes, in_flight: InFlight) -> Self {
        Self {
            content,
            ..Self::new(None, in_flight)
        }
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
            let content = std::mem::take(this.content);
            return Poll::Ready((!content.is_empty()).then(|| Ok(Frame::data(content))));
        };
        if let Some(progress) = this.progress {
            progress.note_asked();
        }
        let frame = ready!(body.as_mut().poll_frame(cx));
        if let (Some(progress), Some(Ok(_))) = (this.progress, &frame) {
            progress.note_given();
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            Some(body) => body.is_end_stream(),
            None => self.content.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(
            || SizeHint::with_exact(self.content.len() as u64),
            Body::size_hint,
        )
    }
}
