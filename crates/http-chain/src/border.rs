//! The border to tower, in both directions.
//!
//! - A finished [`Chain`] is a `Service<http::Request<B>>` for any body `B` and never fails, so a
//!   listener, hyper (through `hyper_util`'s adapter) or any tower middleware can drive it.
//! - [`LayerWrap`] puts an infallible `tower::Layer` into a chain, [`ServiceHandler`] an infallible
//!   `tower::Service`.

use std::convert::Infallible;
use std::future::poll_fn;
use std::ops::ControlFlow;
use std::task::{Context, Poll};

use bytes::Bytes;
use tower_layer::Layer;
use tower_service::Service;

use crate::body::{Body, BoxError};
use crate::chain::{Chain, Next, OwnedNext};
use crate::request::Request;
use crate::response::{Response, internal_server_error};
use crate::stage::{BoxFuture, Handler, Wrap};

/// The engine should put the connection's `Arc<base::ConnInfo>` into the request's extensions; see
/// [`Exchange::conn`](crate::Exchange::conn) for what happens without it.
impl<B> Service<http::Request<B>> for Chain
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let chain = self.clone();
        let request = Request::from_http(request);
        Box::pin(async move { Ok(chain.answer(request).await.into()) })
    }
}

/// A tower layer as a [`Wrap`]. The layer is applied once, when the wrap is made; the service it makes
/// is cloned for each request.
///
/// The rest of the chain reaches the layer as a [`RestOfChain`]. It finds its way by a mark in the
/// request's extensions, so a layer has to pass those on, as layers do.
pub struct LayerWrap<S>(S);

impl<S> LayerWrap<S> {
    /// Applies `layer` to the rest of the chain.
    pub fn new<L>(layer: &L) -> Self
    where
        L: Layer<RestOfChain, Service = S>,
    {
        Self(layer.layer(RestOfChain { _private: () }))
    }
}

impl<S, B> Wrap for LayerWrap<S>
where
    S: Service<http::Request<Body>, Response = http::Response<B>, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    fn wrap<'a>(&'a self, mut request: Request, next: Next<'a>) -> BoxFuture<'a, Response> {
        request.extensions_mut().insert(next.to_owned());
        Box::pin(call(self.0.clone(), request))
    }
}

/// The part of a chain behind a [`LayerWrap`], as the layer's inner service.
#[derive(Debug, Clone)]
pub struct RestOfChain {
    _private: (),
}

impl<B> Service<http::Request<B>> for RestOfChain
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: http::Request<B>) -> Self::Future {
        let next = request.extensions_mut().remove::<OwnedNext>();
        let request = Request::from_http(request);
        Box::pin(async move {
            let Some(next) = next else {
                tracing::error!(target: "http", "a tower layer dropped the request's extensions; the rest of the chain is lost");
                return Ok(internal_server_error().into());
            };
            Ok(next.run(request).await.into())
        })
    }
}

/// A tower service as a [`Handler`] that answers everything it gets. It is cloned for each request.
pub struct ServiceHandler<S>(S);

impl<S> ServiceHandler<S> {
    /// A handler that asks `service`.
    pub fn new(service: S) -> Self {
        Self(service)
    }
}

impl<S, B> Handler for ServiceHandler<S>
where
    S: Service<http::Request<Body>, Response = http::Response<B>, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    fn handle(&self, request: Request) -> BoxFuture<'_, ControlFlow<Response, Request>> {
        let answer = call(self.0.clone(), request);
        Box::pin(async move { ControlFlow::Break(answer.await) })
    }
}

async fn call<S, B>(mut service: S, request: Request) -> Response
where
    S: Service<http::Request<Body>, Response = http::Response<B>, Error = Infallible>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let Ok(()) = poll_fn(|cx| service.poll_ready(cx)).await;
    let Ok(response) = service.call(request.into()).await;
    Response::from_http(response)
}
