//! Runs a stream handler: first for the head of the response, then as its body.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::StatusCode;
use http_body::Frame;
use tokio::sync::mpsc;

use super::reader::RequestReader;
use super::writer::{Item, ResponseWriter, SharedEnding, WriteError};
use super::{ServerStream, StreamHandler};
use crate::body::{Body, BodyError, BoxError};
use crate::request::Request;
use crate::response::{Response, internal_server_error};
use crate::stage::BoxFuture;

pub(super) async fn answer(handler: &impl StreamHandler, request: Request) -> Response {
    // One piece in flight: the next one waits until the engine has taken it.
    let (sender, items) = mpsc::channel(1);
    let ending = SharedEnding::default();
    let is_head_request = *request.method() == http::Method::HEAD;
    let stream = ServerStream {
        writer: ResponseWriter::new(&request, sender, ending.clone()),
        reader: RequestReader::new(request),
    };
    let mut run = Run {
        handler: Some(handler.call(stream)),
        failure: None,
        items,
        ending,
    };
    let head = match poll_fn(|cx| run.poll_item(cx)).await {
        Some(Item::Head(head)) => head,
        // Writers send a head first; none means that the handler has ended without one.
        Some(Item::Data(_)) | None => match (run.failure.take(), run.unsent()) {
            (Some(error), _) => return failed(error),
            (None, Some(head)) => return run.without_data(head),
            (None, None) => return internal_server_error(),
        },
    };
    let mut response = Response::from_http(head.map(|()| Body::Empty));
    let status = response.status();
    if is_head_request {
        return response;
    }
    if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        // Nothing is sent but the head, so the handler may as well end first.
        while poll_fn(|cx| run.poll_item(cx)).await.is_some() {}
        return match run.failure.take() {
            Some(error) => failed(error),
            None => response,
        };
    }
    response.set_body(Body::new(run));
    response
}

/// What a client gets when the handler failed before there was a head.
fn failed(error: BoxError) -> Response {
    match error.downcast::<BodyError>() {
        Ok(error) => (*error).into(),
        Err(error) => {
            tracing::error!(target: "http", %error, "a stream handler failed");
            internal_server_error()
        }
    }
}

/// A running handler, and the body that it writes.
struct Run {
    /// Until it has ended.
    handler: Option<BoxFuture<'static, Result<(), BoxError>>>,
    failure: Option<BoxError>,
    items: mpsc::Receiver<Item>,
    ending: SharedEnding,
}

impl Run {
    /// What the writer sent next; `None` when it has ended and the handler too, or the handler has failed.
    fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        loop {
            let written = self.items.poll_recv(cx);
            if let Poll::Ready(Some(item)) = written {
                return Poll::Ready(Some(item));
            }
            let Some(handler) = &mut self.handler else {
                return written;
            };
            match handler.as_mut().poll(cx) {
                Poll::Ready(result) => {
                    self.handler = None;
                    if let Err(error) = result {
                        self.failure = Some(error);
                        // What was written before stays readable; nobody waits for more.
                        self.items.close();
                    }
                }
                // It may have written just now; that woke us.
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// The response of a handler that has ended and wrote nothing.
    fn without_data(mut self, head: http::Response<()>) -> Response {
        match self.end() {
            None => Response::from_http(head.map(|()| Body::Empty)),
            Some(Ok(trailers)) => {
                let trailers = trailers.into_trailers().unwrap_or_default();
                Response::from_http(head.map(|()| Body::Empty.with_trailers(trailers)))
            }
            Some(Err(error)) => {
                tracing::error!(target: "http", %error, "a stream handler ended too early");
                internal_server_error()
            }
        }
    }

    fn unsent(&self) -> Option<http::Response<()>> {
        self.ending.lock().unsent.take()
    }

    /// The end of the body: a failure, trailers or nothing.
    fn end(&mut self) -> Option<Result<Frame<Bytes>, BodyError>> {
        if let Some(error) = self.failure.take() {
            tracing::debug!(target: "http", %error, "a stream handler failed after the head");
            return Some(Err(BodyError::Read(error)));
        }
        let mut ending = self.ending.lock();
        if let Some(missing @ 1..) = ending.missing.take() {
            let error = WriteError::TooShort { missing };
            return Some(Err(BodyError::Read(error.into())));
        }
        let trailers = std::mem::take(&mut ending.trailers);
        (!trailers.is_empty()).then(|| Ok(Frame::trailers(trailers)))
    }
}

impl http_body::Body for Run {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        match this.poll_item(cx) {
            Poll::Ready(Some(Item::Data(data))) => Poll::Ready(Some(Ok(Frame::data(data)))),
            // A writer sends one head, and `answer` has taken it.
            Poll::Ready(Some(Item::Head(_))) => Poll::Ready(None),
            Poll::Ready(None) => Poll::Ready(this.end()),
            Poll::Pending => Poll::Pending,
        }
    }
}
