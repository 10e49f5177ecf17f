//! The way of one request through the service: into it with the facts of its connection, out of it with
//! the fields that belong to the connection.

use std::convert::Infallible;
use std::future::Future;
use std::panic::{self, AssertUnwindSafe};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use base::UpgradeTask;
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, request};
use http_body::Body;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use pin_project_lite::pin_project;

use super::body::RequestBody;
use super::response::{InFlight, ResponseBody};
use super::{BoxError, Shared, strict};
use crate::panics;

/// A service that answers HTTP requests and cannot fail.
///
/// Every [`tower_service::Service`] of this shape is one; do not implement it by hand. A clone is made for
/// each connection and again for each request, so a clone should cost no more than an `Arc`.
///
/// Request extensions: `Arc<base::ConnInfo>`, [`base::Shutdown`] and, of an extended `CONNECT`,
/// [`hyper::ext::Protocol`]. Response extension: [`base::UpgradeTask`], on a 101 response to a request with
/// `Upgrade`, or on a 2xx response to `CONNECT` (over HTTP/2: RFC 8441, if
/// [`HttpConfig`](crate::HttpConfig) allows it).
///
/// A service that panics is answered for with 500 and does no other harm.
pub trait HttpService: Clone + Send + 'static {
    /// Body of the response.
    type Body: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static;
    /// Response in the making.
    type Future: Future<Output = Result<Response<Self::Body>, Infallible>> + Send + 'static;

    /// See [`tower_service::Service::poll_ready`].
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>>;

    /// See [`tower_service::Service::call`].
    fn call(&mut self, request: Request<RequestBody>) -> Self::Future;
}

impl<S, B> HttpService for S
where
    S: tower_service::Service<Request<RequestBody>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Body = B;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        tower_service::Service::poll_ready(self, cx)
    }

    fn call(&mut self, request: Request<RequestBody>) -> S::Future {
        tower_service::Service::call(self, request)
    }
}

/// Makes a service of an async function.
pub fn service_fn<F>(function: F) -> ServiceFn<F> {
    ServiceFn(function)
}

/// See [`service_fn`].
#[derive(Debug, Clone)]
pub struct ServiceFn<F>(F);

impl<F, Fut, B> tower_service::Service<Request<RequestBody>> for ServiceFn<F>
where
    F: FnMut(Request<RequestBody>) -> Fut,
    Fut: Future<Output = Result<Response<B>, Infallible>>,
{
    type Response = Response<B>;
    type Error = Infallible;
    type Future = Fut;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody>) -> Fut {
        (self.0)(request)
    }
}

/// The service of one connection, as the HTTP engine sees it.
pub(crate) struct RequestService<S> {
    service: S,
    shared: Arc<Shared>,
}

impl<S> RequestService<S> {
    pub(crate) fn new(service: S, shared: Arc<Shared>) -> Self {
        Self { service, shared }
    }
}

impl<S: HttpService> hyper::service::Service<Request<Incoming>> for RequestService<S> {
    type Response = Response<ResponseBody<S::Body>>;
    type Error = Infallible;
    type Future = ResponseFuture<S>;

    fn call(&self, request: Request<Incoming>) -> ResponseFuture<S> {
        let shared = &self.shared;
        let (mut head, incoming) = request.into_parts();
        let exchange = Exchange::new(&mut head, InFlight::new(shared.clone()));
        let stage = match strict::check_head(&head) {
            Err(status) => Stage::Refused {
                status,
                head: Some(Box::new(head)),
            },
            Ok(()) => {
                head.extensions.insert(shared.info.clone());
                head.extensions.insert(shared.shutdown.clone());
                let body = RequestBody::new(incoming, shared);
                let request = Some(Request::from_parts(head, body));
                Stage::Waiting {
                    service: self.service.clone(),
                    request,
                }
            }
        };
        ResponseFuture {
            stage,
            exchange: Some(exchange),
        }
    }
}

pin_project! {
    /// One request on its way through the service.
    pub(crate) struct ResponseFuture<S: HttpService> {
        #[pin]
        stage: Stage<S, S::Future>,
        exchange: Option<Exchange>,
    }
}

pin_project! {
    #[project = StageProjection]
    enum Stage<S, F> {
        /// Until the service is ready for it.
        Waiting { service: S, request: Option<Request<RequestBody>> },
        Running { #[pin] future: F },
        /// The service never sees it.
        Refused { status: StatusCode, head: Option<Box<request::Parts>> },
    }
}

/// Why the service does not answer: the status, and the head if that is at fault.
type Refused = (StatusCode, Option<Box<request::Parts>>);

impl<S: HttpService> Stage<S, S::Future> {
    fn poll_response(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<S::Body>, Refused>> {
        loop {
            let future = match self.as_mut().project() {
                StageProjection::Waiting { service, request } => {
                    let Ok(()) = ready!(service.poll_ready(cx));
                    service.call(request.take().expect("this stage ends with the call"))
                }
                StageProjection::Running { future } => {
                    let Ok(response) = ready!(future.poll(cx));
                    return Poll::Ready(Ok(response));
                }
                StageProjection::Refused { status, head } => {
                    return Poll::Ready(Err((*status, head.take())));
                }
            };
            self.set(Self::Running { future });
        }
    }
}

impl<S: HttpService> Future for ResponseFuture<S> {
    type Output = Result<Response<ResponseBody<S::Body>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let stage = this.stage;
        // A service that has panicked is dropped with this future and never polled again.
        let polled = panic::catch_unwind(AssertUnwindSafe(|| stage.poll_response(cx)));
        let result = match polled {
            Ok(poll) => ready!(poll),
            Err(payload) => {
                tracing::error!(panic = panics::message(&*payload), "a service panicked");
                if let Some(exchange) = this.exchange {
                    exchange.in_flight.shared().counters.panics.increment();
                }
                Err((StatusCode::INTERNAL_SERVER_ERROR, None))
            }
        };
        let exchange = this
            .exchange
            .take()
            .expect("a future is not polled after it is ready");
        Poll::Ready(Ok(match result {
            Ok(response) => exchange.finish(response),
            Err((status, head)) => exchange.refuse(status, head.as_deref()),
        }))
    }
}

/// What has to be remembered of a request until its response.
struct Exchange {
    in_flight: InFlight,
    version: Version,
    is_connect: bool,
    wants_close: bool,
    upgrade: Option<OnUpgrade>,
}

impl Exchange {
    fn new(head: &mut request::Parts, in_flight: InFlight) -> Self {
        Self {
            in_flight,
            version: head.version,
            is_connect: head.method == Method::CONNECT,
            wants_close: has_close(&head.headers),
            upgrade: head.extensions.remove(),
        }
    }

    fn finish<B: Body>(mut self, mut response: Response<B>) -> Response<ResponseBody<B>> {
        if let Some(task) = response.extensions_mut().remove::<UpgradeTask>() {
            if !self.begin_upgrade(response.status(), task) {
                tracing::error!(status = %response.status(), "a service upgraded a request that cannot be upgraded");
                return self.refuse(StatusCode::INTERNAL_SERVER_ERROR, None);
            }
        } else {
            self.set_connection_fields(response.headers_mut());
        }
        response.map(|body| ResponseBody::new(Some(body), self.in_flight))
    }

    /// An answer of our own, after which an HTTP/1 connection is closed.
    fn refuse<B: Body>(
        self,
        status: StatusCode,
        head: Option<&request::Parts>,
    ) -> Response<ResponseBody<B>> {
        let is_http1 = self.in_flight.shared().activity.is_http1();
        let content = self.in_flight.shared().note_refusal(status, head, "");
        let (media_type, content) = content.unzip();
        let body = ResponseBody::own(content.unwrap_or_default(), self.in_flight);
        let mut response = Response::new(body);
        *response.status_mut() = status;
        if let Some(media_type) = media_type {
            response.headers_mut().insert(CONTENT_TYPE, media_type);
        }
        if is_http1 {
            response
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// Advertises how long the connection will stay open, unless it will not.
    fn set_connection_fields(&self, fields: &mut HeaderMap) {
        let shared = self.in_flight.shared();
        if !shared.activity.is_http1() {
            return;
        }
        if shared.activity.must_close() {
            fields.insert(CONNECTION, HeaderValue::from_static("close"));
        } else if let Some(keep_alive) = &shared.engine.keep_alive
            && self.version == Version::HTTP_11
            && !self.wants_close
            && !has_close(fields)
            && !shared.shutdown.is_started()
        {
            fields.insert(HeaderName::from_static("keep-alive"), keep_alive.clone());
        }
    }

    /// Arranges that `task` gets the connection, or the HTTP/2 stream, once the response is written.
    fn begin_upgrade(&mut self, status: StatusCode, task: UpgradeTask) -> bool {
        let shared = self.in_flight.shared();
        let Some(upgrade) = self.upgrade.take() else {
            return false;
        };
        let tunnels = self.is_connect && status.is_success();
        match (
            shared.activity.is_http1(),
            tunnels || status == StatusCode::SWITCHING_PROTOCOLS,
        ) {
            // The driver takes the bytes out of the engine, so hyper's own future is not needed.
            (true, true) => *shared.upgrade() = Some(task),
            (false, _) if tunnels => spawn_stream(shared.clone(), upgrade, task),
            _ => return false,
        }
        true
    }
}

/// Runs an upgraded HTTP/2 stream beside its connection, tracked like one.
fn spawn_stream(shared: Arc<Shared>, upgrade: OnUpgrade, task: UpgradeTask) {
    let open = InFlight::hold(shared.clone());
    let stream = async move {
        match upgrade.await {
            Ok(stream) => {
                let io = Box::new(TokioIo::new(stream));
                open.shared().run_upgrade(task, io).await;
            }
            Err(error) => tracing::debug!(%error, "the stream ended before it was upgraded"),
        }
    };
    shared.tasks.clone().spawn(async move {
        if !panics::contain("an upgraded stream", stream).await {
            shared.counters.panics.increment();
        }
    });
}

fn has_close(fields: &HeaderMap) -> bool {
    fields.get_all(CONNECTION).iter().any(|value| {
        let options = value.as_bytes().split(|byte| *byte == b',');
        options
            .map(<[u8]>::trim_ascii)
            .any(|option| option.eq_ignore_ascii_case(b"close"))
    })
}
