//! A route with stages around it.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::Endpoint;
use crate::chain::Chain;
use crate::exchange::Exchange;
use crate::request::Request;
use crate::response::Response;
use crate::stage::{BoxFuture, Handler, Stage};

/// An endpoint at the end of a chain of its own.
pub(super) struct Layered(Chain);

impl Layered {
    pub(super) fn new(layers: &[(Arc<str>, Stage)], endpoint: Arc<dyn Endpoint>) -> Self {
        let endpoint = (Arc::from("endpoint"), Stage::handler(Innermost(endpoint)));
        Self(Chain::new(layers.iter().cloned().chain([endpoint])))
    }
}

impl Endpoint for Layered {
    fn call(&self, request: Request) -> BoxFuture<'_, Response> {
        Box::pin(async move {
            let exchange = Arc::new(Exchange::continued(&request));
            self.0.walk(0, &exchange, request).await
        })
    }
}

struct Innermost(Arc<dyn Endpoint>);

impl Handler for Innermost {
    fn handle(&self, request: Request) -> BoxFuture<'_, ControlFlow<Response, Request>> {
        Box::pin(async move { ControlFlow::Break(self.0.call(request).await) })
    }
}
