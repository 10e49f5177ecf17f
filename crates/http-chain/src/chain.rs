//! A finished chain and how a request walks it.

use std::fmt;
use std::future::{Future, poll_fn};
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use http::{HeaderValue, Method, StatusCode, header};

use crate::body::Body;
use crate::exchange::Exchange;
use crate::request::Request;
use crate::response::{Response, internal_server_error, not_found};
use crate::stage::{Gate, Stage};

/// The ordered stages of one port, ready to answer requests.
///
/// Cloning shares the stages. It is a `tower_service::Service` for requests with any body, and never
/// fails: see the [module of the border](crate::border).
///
/// ```
/// use std::ops::ControlFlow;
/// use http_chain::{Chain, Request, Response, Stage};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), http::Error> {
/// let hello = Stage::handler(|request: Request| async move {
///     match request.pathname() {
///         "/hello" => ControlFlow::Break(Response::from("hello\n")),
///         _ => ControlFlow::Continue(request),
///     }
/// });
/// let chain = Chain::new([("hello", hello)]);
/// assert_eq!(chain.answer(Request::new(http::Method::GET, "/hello")?).await.status(), 200);
/// assert_eq!(chain.answer(Request::new(http::Method::GET, "/other")?).await.status(), 404);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Chain {
    stages: Arc<[NamedStage]>,
}

/// A stage and the name that logs give it.
#[derive(Debug, Clone)]
pub(crate) struct NamedStage {
    pub(crate) name: Arc<str>,
    pub(crate) stage: Stage,
}

impl Chain {
    /// A chain of these stages, outermost first. The name of a stage appears in logs.
    pub fn new<N: Into<Arc<str>>>(stages: impl IntoIterator<Item = (N, Stage)>) -> Self {
        Self::of_named(stages.into_iter().map(|(name, stage)| NamedStage {
            name: name.into(),
            stage,
        }))
    }

    pub(crate) fn of_named(stages: impl Iterator<Item = NamedStage>) -> Self {
        Self {
            stages: stages.collect(),
        }
    }

    /// Names of the stages, outermost first.
    pub fn stage_names(&self) -> impl Iterator<Item = &str> {
        self.stages.iter().map(|named| &*named.name)
    }

    /// Answers one request. A request that no handler takes gets `404 Not found`; a stage that panics
    /// costs its own request a 500 and nothing else. Dropping the future cancels the request.
    pub async fn answer(&self, request: Request) -> Response {
        let exchange = Arc::new(Exchange::of(&request));
        let walk = self.walk(0, &exchange, request);
        let response = guarded("chain", walk)
            .await
            .unwrap_or_else(|Panicked| internal_server_error());
        without_forbidden_body(exchange.method(), response)
    }

    /// Walks the stages from `start` on: gates are entered and, in reverse, left; the first wrap takes
    /// over everything behind it; the first handler that answers ends the walk.
    pub(crate) async fn walk(
        &self,
        start: usize,
        exchange: &Arc<Exchange>,
        mut request: Request,
    ) -> Response {
        let mut at = start;
        let mut response = loop {
            let Some(NamedStage { name, stage }) = self.stages.get(at) else {
                break not_found();
            };
            match stage {
                Stage::Gate(gate) => {
                    if let ControlFlow::Break(response) = gate.enter(exchange, &mut request) {
                        break response;
                    }
                }
                Stage::Handler(handler) if !handler.accepts(&request) => {}
                Stage::Handler(handler) => match guarded(name, handler.handle(request)).await {
                    Ok(ControlFlow::Continue(handed_back)) => request = handed_back,
                    Ok(ControlFlow::Break(response)) => break response,
                    Err(Panicked) => break internal_server_error(),
                },
                Stage::Wrap(wrap) => {
                    let next = Next {
                        chain: self,
                        start: at + 1,
                        exchange,
                    };
                    break guarded(name, wrap.wrap(request, next))
                        .await
                        .unwrap_or_else(|Panicked| internal_server_error());
                }
            }
            at += 1;
        };
        for gate in self.gates_between(start, at).rev() {
            gate.leave(exchange, &mut response);
        }
        response
    }

    fn gates_between(
        &self,
        start: usize,
        end: usize,
    ) -> impl DoubleEndedIterator<Item = &dyn Gate> {
        self.stages[start..end]
            .iter()
            .filter_map(|named| match &named.stage {
                Stage::Gate(gate) => Some(&**gate),
                Stage::Wrap(_) | Stage::Handler(_) => None,
            })
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.stage_names()).finish()
    }
}

/// The rest of the chain, as a [`Wrap`](crate::Wrap) sees it.
#[derive(Clone)]
pub struct Next<'a> {
    chain: &'a Chain,
    start: usize,
    exchange: &'a Arc<Exchange>,
}

impl<'a> Next<'a> {
    /// Runs the rest of the chain.
    pub async fn run(self, request: Request) -> Response {
        self.chain.walk(self.start, self.exchange, request).await
    }

    /// Runs `other` from its start in place of the rest.
    pub(crate) async fn run_other(self, other: &'a Chain, request: Request) -> Response {
        other.walk(0, self.exchange, request).await
    }

    /// Facts of the exchange.
    pub fn exchange(&self) -> &'a Exchange {
        self.exchange
    }

    /// The same rest, borrowed from nobody: for a task or a service that outlives this call.
    pub fn to_owned(&self) -> OwnedNext {
        OwnedNext {
            chain: self.chain.clone(),
            start: self.start,
            exchange: Arc::clone(self.exchange),
        }
    }
}

/// A [`Next`] that owns its share of the chain.
#[derive(Clone)]
pub struct OwnedNext {
    chain: Chain,
    start: usize,
    exchange: Arc<Exchange>,
}

impl OwnedNext {
    /// Runs the rest of the chain.
    pub async fn run(self, request: Request) -> Response {
        self.chain.walk(self.start, &self.exchange, request).await
    }
}

/// A stage panicked; the log says which.
struct Panicked;

/// Runs `future` and turns a panic into an error, so that it ends this request and not the connection,
/// which on HTTP/2 carries other requests.
async fn guarded<T>(stage: &str, future: impl Future<Output = T>) -> Result<T, Panicked> {
    let mut future = pin!(future);
    // Unwind safety: the future is never polled again, and shared state behind `&self` is guarded by
    // its own locks.
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => {
            tracing::error!(target: "http", stage, message = panic_text(&*panic), "a stage panicked");
            Poll::Ready(Err(Panicked))
        }
    })
    .await
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&'static str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

/// Drops a body that the answer may not carry (RFC 9110, sections 9.3.2, 15.2, 15.3.5, 15.4.5), so that
/// nobody produces it. `HEAD` keeps the length that `GET` would send.
fn without_forbidden_body(method: &Method, mut response: Response) -> Response {
    let status = response.status();
    let has_no_body = status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if has_no_body {
        response.set_body(Body::Empty);
        // What 304 has here is the length of the 200 that it stands for.
        if status != StatusCode::NOT_MODIFIED {
            response.headers_mut().remove(header::CONTENT_LENGTH);
        }
    } else if *method == Method::HEAD {
        if let (Some(length), false) = (
            response.body().known_length(),
            response.headers().contains_key(header::CONTENT_LENGTH),
        ) {
            response
                .headers_mut()
                .insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        response.set_body(Body::Empty);
    }
    response
}
