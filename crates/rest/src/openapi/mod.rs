//! The description of everything that is exported, as an OpenAPI 3.1 document (`rest.md` §12).

mod document;
mod paths;
mod schema;

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use content::ContentTypes;
use http::{HeaderValue, Method, StatusCode, header};
use http_chain::{BoxFuture, Handler, Request, Response};
use resource::{Error, Map, Registry, Value, json};

pub use self::document::document;

use crate::config::ErrorFormat;
use crate::failure::Failure;

/// Settings of [`OpenApi`].
#[derive(Debug, Clone)]
pub struct OpenApiConfig {
    /// The path it answers at. Default: `/openapi`.
    pub path: String,
    /// `info.title`. Default: `Motet HTTP REST interface`.
    pub title: String,
    /// `info.version`: that of the server. Default: that of this crate.
    pub version: String,
    /// The formats that the described interface speaks. Default: [`ContentTypes::standard`].
    pub types: Arc<ContentTypes>,
}

impl Default for OpenApiConfig {
    fn default() -> Self {
        Self {
            path: "/openapi".to_owned(),
            title: "Motet HTTP REST interface".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            types: Arc::new(ContentTypes::standard()),
        }
    }
}

/// Answers at one path with the document, to super users alone; hands every other request back, also one
/// to its path with a query.
///
/// ```
/// use std::sync::Arc;
/// use http_chain::{Chain, Stage};
/// use rest::openapi::{OpenApi, OpenApiConfig};
///
/// let registry = Arc::new(resource::Registry::new());
/// let openapi = OpenApi::new(registry, OpenApiConfig::default());
/// let chain = Chain::new([("openapi", Stage::handler(openapi))]);
/// # let _ = chain;
/// ```
#[derive(Clone)]
pub struct OpenApi {
    registry: Arc<Registry>,
    config: Arc<OpenApiConfig>,
}

impl OpenApi {
    /// A handler that describes the exports of `registry` as they are at each request.
    pub fn new(registry: Arc<Registry>, config: OpenApiConfig) -> Self {
        Self {
            registry,
            config: Arc::new(config),
        }
    }

    fn answer(&self, request: &Request) -> Response {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let method = request.method().as_str().to_ascii_lowercase();
            let allow = HeaderValue::from_static("GET, HEAD");
            return self
                .refuse(Error::method_not_allowed("openapi", &method), request)
                .with_header(header::ALLOW, allow);
        }
        match (request.caller().user(), request.caller().is_super_user()) {
            (None, _) => self.refuse(Error::unauthorized("Must login"), request),
            (_, false) => self.refuse(Error::forbidden("Forbidden"), request),
            (_, true) => {
                let server = server_url(request);
                let value = document(&self.registry, &self.config, server.as_deref());
                Response::json(StatusCode::OK, json::to_vec(&value))
            }
        }
    }

    fn refuse(&self, error: Error, request: &Request) -> Response {
        let format = self.config.types.default_format();
        Failure::from(error).into_response(format, ErrorFormat::Problem, request.pathname())
    }
}

/// Scheme and host of the request (A2).
fn server_url(request: &Request) -> Option<String> {
    let url = request.absolute_url()?;
    let host_at = url.find("://")? + 3;
    let end = url[host_at..]
        .find('/')
        .map_or(url.len(), |at| host_at + at);
    Some(url[..end].to_owned())
}

impl Handler for OpenApi {
    fn accepts(&self, request: &Request) -> bool {
        request.pathname() == self.config.path && request.query().is_none()
    }

    fn handle(&self, request: Request) -> BoxFuture<'_, ControlFlow<Response, Request>> {
        let answer = match self.accepts(&request) {
            true => ControlFlow::Break(self.answer(&request)),
            false => ControlFlow::Continue(request),
        };
        Box::pin(std::future::ready(answer))
    }
}

impl fmt::Debug for OpenApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenApi")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// An object of the document.
fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    Value::Map(Map::from_iter(members))
}

/// An object with one member.
fn one(name: &str, value: impl Into<Value>) -> Value {
    object([(name, value.into())])
}

/// A reference to a component.
fn reference(kind: &str, name: &str) -> Value {
    one("$ref", format!("#/components/{kind}/{name}"))
}
