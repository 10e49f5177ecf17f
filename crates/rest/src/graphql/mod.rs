//! Queries in GraphQL over everything that is exported.
//!
//! Each export is a field of the query type, named by the last segment of its path, or by its whole path with
//! `_` for whatever a name can not have. It answers a list. Arguments are conditions, all of which hold: an
//! attribute with a value, with several in a list, or with an object that holds conditions on a related record.
//! `limit`, `offset` and `sort` (`"price"`, `"-price"` or a list of those) shape the list where no attribute has
//! their name. Fields within are attributes; those of relationships take the same arguments.
//!
//! ```graphql
//! query Books($genre: String!) {
//!   Book(genre: $genre, author: { name: "Asimov" }, sort: "-price", limit: 5) {
//!     title
//!     author { name }
//!   }
//! }
//! ```
//!
//! Documents follow the GraphQL specification of October 2021: fragments, variables, `@skip` and `@include`.
//! Not built, and refused by name: mutations, subscriptions, introspection (but `__typename`). Requests and
//! responses follow the draft of GraphQL over HTTP.

mod error;
mod execute;
mod flatten;
mod plan;
mod request;
mod syntax;

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use base::WorkerId;
use content::ContentTypes;
use http::{HeaderValue, Method, StatusCode, header};
use http_chain::{BoxFuture, Handler, Request, Response};
use resource::{Context, Error, Map, Protocol, Registry, Value, json};

use self::error::Mistake;
use crate::config::ErrorFormat;
use crate::failure::Failure;

const RESPONSE_TYPE: &str = "application/graphql-response+json";

/// Settings of [`GraphQl`].
#[derive(Debug, Clone)]
pub struct GraphQlConfig {
    /// The path it answers at. Default: `/graphql`.
    pub path: String,
    /// Longest request body in bytes. Default: 1 MiB.
    pub max_body_bytes: u64,
    /// Most tokens of a document. Default: 10,000.
    pub max_tokens: usize,
    /// Deepest nesting of a document. Default: 32.
    pub max_depth: usize,
    /// Most fields of an operation, with fragments and their fields counted at each use. Default: 1,000.
    pub max_fields: usize,
    /// Most fields of the query type in an operation, each of which is a query. Default: 32.
    pub max_queries: usize,
    /// Most records of one answer. Default: 10,000.
    pub max_records: usize,
    /// About as many bytes as the records of one answer may take in memory. Default: 64 MiB.
    pub max_answer_bytes: usize,
}

impl Default for GraphQlConfig {
    fn default() -> Self {
        Self {
            path: "/graphql".to_owned(),
            max_body_bytes: 1 << 20,
            max_tokens: 10_000,
            max_depth: 32,
            max_fields: 1000,
            max_queries: 32,
            max_records: 10_000,
            max_answer_bytes: 64 << 20,
        }
    }
}

/// Answers GraphQL queries at one path, and hands every other request back.
///
/// ```
/// use std::sync::Arc;
/// use http_chain::{Chain, Stage};
/// use rest::graphql::{GraphQl, GraphQlConfig};
///
/// let registry = Arc::new(resource::Registry::new());
/// let graphql = GraphQl::new(registry, GraphQlConfig::default());
/// let chain = Chain::new([("graphql", Stage::handler(graphql))]);
/// # let _ = chain;
/// ```
#[derive(Clone)]
pub struct GraphQl {
    shared: Arc<Shared>,
}

struct Shared {
    registry: Arc<Registry>,
    config: GraphQlConfig,
}

impl GraphQl {
    /// A handler for the exports of `registry` as they are at each request.
    pub fn new(registry: Arc<Registry>, config: GraphQlConfig) -> Self {
        Self {
            shared: Arc::new(Shared { registry, config }),
        }
    }
}

impl Shared {
    async fn answer(&self, mut request: Request) -> Response {
        let media_type = response_type(&request);
        let asked = match request::read(&mut request, self.config.max_body_bytes).await {
            Ok(asked) => asked,
            Err(failure) => return refuse(failure, &request),
        };
        let worker = request.conn().map_or(WorkerId(0), |conn| conn.worker);
        let context = Context::new(request.caller().clone(), worker, Protocol::Rest);
        let fields = match flatten::operation(&asked, &self.config) {
            Ok(fields) => fields,
            Err(mistake) => return mistaken(media_type, &mistake),
        };
        let answer = execute::run(
            &self.registry,
            &self.config,
            &context,
            &fields,
            &asked.document,
        )
        .await;
        // A client that nobody knows has to be told so by status to give its credentials.
        let is_unknown = context.caller.user().is_none()
            && answer.mistakes.iter().any(|mistake| mistake.status == 401);
        let status = match is_unknown {
            true => StatusCode::UNAUTHORIZED,
            false => StatusCode::OK,
        };
        let mut body = Map::from_iter([("data", Value::Map(answer.data))]);
        if !answer.mistakes.is_empty() {
            let mistakes: Vec<Value> = answer.mistakes.iter().map(Mistake::to_value).collect();
            body.insert("errors", mistakes);
        }
        respond(status, media_type, body)
    }
}

/// A document that can not be carried out: with the type of its own a failure, with plain JSON a success that
/// holds errors, as the draft has it for older clients.
fn mistaken(media_type: &'static str, mistake: &Mistake) -> Response {
    let status = match media_type {
        RESPONSE_TYPE => StatusCode::BAD_REQUEST,
        _ => StatusCode::OK,
    };
    let errors = Value::Array(vec![mistake.to_value()]);
    respond(status, media_type, Map::from_iter([("errors", errors)]))
}

fn respond(status: StatusCode, media_type: &'static str, body: Map) -> Response {
    let mut response = Response::with_body(status, json::to_vec(&Value::Map(body)))
        .with_header(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response.add_vary("Accept");
    response
}

fn response_type(request: &Request) -> &'static str {
    let accepts = request.header("accept").unwrap_or_default();
    let is_named = accepts
        .split(',')
        .filter_map(|element| element.split(';').next())
        .any(|name| name.trim().eq_ignore_ascii_case(RESPONSE_TYPE));
    match is_named {
        true => RESPONSE_TYPE,
        false => "application/json",
    }
}

fn refuse(failure: Failure, request: &Request) -> Response {
    let types = ContentTypes::standard();
    let is_not_allowed = failure.status() == StatusCode::METHOD_NOT_ALLOWED;
    let format = types.default_format();
    let mut response = failure.into_response(format, ErrorFormat::Problem, request.pathname());
    if is_not_allowed {
        let allow = HeaderValue::from_static("GET, POST");
        response.headers_mut().insert(header::ALLOW, allow);
    }
    response
}

fn not_allowed(method: &Method) -> Failure {
    let method = method.as_str().to_ascii_lowercase();
    Error::method_not_allowed("graphql", &method).into()
}

impl Handler for GraphQl {
    fn accepts(&self, request: &Request) -> bool {
        request.pathname() == self.shared.config.path && !request.is_websocket()
    }

    fn handle(&self, request: Request) -> BoxFuture<'_, ControlFlow<Response, Request>> {
        if !self.accepts(&request) {
            return Box::pin(std::future::ready(ControlFlow::Continue(request)));
        }
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { ControlFlow::Break(shared.answer(request).await) })
    }
}

impl fmt::Debug for GraphQl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GraphQl")
            .field("config", &self.shared.config)
            .finish_non_exhaustive()
    }
}
