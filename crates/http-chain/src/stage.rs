//! The three kinds of stages a chain is made of.

use std::fmt;
use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;

use crate::chain::Next;
use crate::exchange::Exchange;
use crate::request::Request;
use crate::response::Response;

/// An owned future that may move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Sees a request on the way in and its response on the way out. Synchronous, and owns nothing in
/// between: when the client goes away in the middle, `leave` never runs.
///
/// The gate that answers in `enter` does not see its answer in `leave`; the gates before it do.
pub trait Gate: Send + Sync {
    /// Looks at the request, may change it, or answers at once.
    fn enter(&self, exchange: &Exchange, request: &mut Request) -> ControlFlow<Response> {
        let _ = (exchange, request);
        ControlFlow::Continue(())
    }

    /// Looks at the response and may change it.
    fn leave(&self, exchange: &Exchange, response: &mut Response) {
        let _ = (exchange, response);
    }
}

/// Surrounds the rest of the chain, at the price of one boxed future for each request. Prefer a
/// [`Gate`] where nothing is awaited.
///
/// Dropping the future is how a request is cancelled: what must be undone belongs in a drop guard.
pub trait Wrap: Send + Sync {
    /// Answers, usually with what [`next`](Next::run) answers.
    fn wrap<'a>(&'a self, request: Request, next: Next<'a>) -> BoxFuture<'a, Response>;
}

/// Answers a request (`Break`) or hands it back for the next handler (`Continue`).
///
/// An `async` closure or function from [`Request`] to `ControlFlow<Response, Request>` is a handler.
pub trait Handler: Send + Sync {
    /// A cheap look without a future. `false` means that [`handle`](Self::handle) would hand the
    /// request back; `true` promises nothing.
    fn accepts(&self, request: &Request) -> bool {
        let _ = request;
        true
    }

    /// Answers or hands the request back, whole: a handler that took the body has to answer.
    fn handle(&self, request: Request) -> BoxFuture<'_, ControlFlow<Response, Request>>;
}

impl<F, Fut> Handler for F
where
    F: Fn(Request) -> Fut + Send + Sync,
    Fut: Future<Output = ControlFlow<Response, Request>> + Send + 'static,
{
    fn handle(&self, request: Request) -> BoxFuture<'_, ControlFlow<Response, Request>> {
        Box::pin(self(request))
    }
}

/// One element of a chain. Cloning shares it.
#[derive(Clone)]
pub enum Stage {
    /// See [`Gate`].
    Gate(Arc<dyn Gate>),
    /// See [`Wrap`].
    Wrap(Arc<dyn Wrap>),
    /// See [`Handler`].
    Handler(Arc<dyn Handler>),
}

impl Stage {
    /// A gate.
    pub fn gate(gate: impl Gate + 'static) -> Self {
        Self::Gate(Arc::new(gate))
    }

    /// A wrap.
    pub fn wrap(wrap: impl Wrap + 'static) -> Self {
        Self::Wrap(Arc::new(wrap))
    }

    /// A handler.
    pub fn handler(handler: impl Handler + 'static) -> Self {
        Self::Handler(Arc::new(handler))
    }
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gate(_) => "Gate",
            Self::Wrap(_) => "Wrap",
            Self::Handler(_) => "Handler",
        })
    }
}
