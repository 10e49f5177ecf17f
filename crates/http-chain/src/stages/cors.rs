//! Cross-origin resource sharing (the Fetch standard, section "HTTP CORS protocol").

use std::ops::ControlFlow;
use std::time::Duration;

use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use crate::exchange::Exchange;
use crate::request::Request;
use crate::response::Response;
use crate::stage::Gate;

/// Origins whose scripts may read our responses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum CorsOrigins {
    /// Every origin.
    #[default]
    All,
    /// These, compared as text: `https://app.example.com`. The origin `null` is only the member `null`.
    Listed(Vec<String>),
}

impl CorsOrigins {
    /// The meaning of an access list in the configuration: absent or with the member `*` is everybody.
    pub fn from_access_list(list: Option<Vec<String>>) -> Self {
        match list {
            Some(list) if !list.iter().any(|origin| origin == "*") => Self::Listed(list),
            _ => Self::All,
        }
    }

    fn include(&self, origin: &HeaderValue) -> bool {
        match self {
            Self::All => true,
            Self::Listed(list) => list
                .iter()
                .any(|listed| listed.as_bytes() == origin.as_bytes()),
        }
    }
}

/// The policy of one kind of port. The defaults are those of application ports.
#[derive(Debug, Clone)]
pub struct CorsConfig {
    /// Who may read. Default: everybody.
    pub origins: CorsOrigins,
    /// Methods a preflight allows. Default: `POST, GET, PUT, DELETE, PATCH, OPTIONS`.
    pub allow_methods: HeaderValue,
    /// Request headers a preflight allows. Default: `Accept, Content-Type, Authorization`.
    pub allow_headers: HeaderValue,
    /// Lets scripts send the user's cookies; on when sessions are enabled. Default: off.
    pub allow_credentials: bool,
    /// How long a browser may remember a preflight, whole seconds. Default: 600 s.
    pub max_age: Duration,
}

impl Default for CorsConfig {
    fn default() -> Self {
        Self {
            origins: CorsOrigins::All,
            allow_methods: HeaderValue::from_static("POST, GET, PUT, DELETE, PATCH, OPTIONS"),
            allow_headers: HeaderValue::from_static("Accept, Content-Type, Authorization"),
            allow_credentials: false,
            max_age: Duration::from_secs(600),
        }
    }
}

impl CorsConfig {
    /// The policy of the Operations API with these origins.
    pub fn operations(origins: CorsOrigins) -> Self {
        let allow_headers = HeaderValue::from_static("Content-Type, Authorization, Accept");
        Self {
            origins,
            allow_headers,
            ..Self::default()
        }
    }

    /// Why an operator should think twice about this policy; for a warning at start.
    pub fn risk(&self) -> Option<&'static str> {
        (self.origins == CorsOrigins::All && self.allow_credentials).then_some(
            "every site may use the cookie sessions of its visitors: list the allowed origins",
        )
    }
}

/// Answers the preflights of allowed origins and marks the other responses as readable by them.
///
/// A request without `Origin` is left alone, one of an origin that is not allowed is processed without
/// a mark, and its browser keeps the response from the script. The origin is echoed, never `*`.
///
/// Place: directly outside authentication, since preflights carry no credentials and a browser must be
/// able to read a 401.
#[derive(Debug, Clone, Default)]
pub struct Cors {
    config: CorsConfig,
}

impl Cors {
    /// Applies `config`.
    pub fn new(config: CorsConfig) -> Self {
        Self { config }
    }

    fn mark(&self, headers: &mut HeaderMap, origin: &HeaderValue) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        if self.config.allow_credentials {
            headers.insert(
                header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
                HeaderValue::from_static("true"),
            );
        }
    }

    fn preflight(&self, origin: &HeaderValue) -> Response {
        let config = &self.config;
        let fields: [(HeaderName, HeaderValue); 3] = [
            (
                header::ACCESS_CONTROL_ALLOW_METHODS,
                config.allow_methods.clone(),
            ),
            (
                header::ACCESS_CONTROL_ALLOW_HEADERS,
                config.allow_headers.clone(),
            ),
            (
                header::ACCESS_CONTROL_MAX_AGE,
                HeaderValue::from(config.max_age.as_secs()),
            ),
        ];
        let mut response = Response::new(StatusCode::OK);
        response.headers_mut().extend(fields);
        self.mark(response.headers_mut(), origin);
        response.add_vary("Origin");
        response
    }

    fn allowed<'e>(&self, exchange: &'e Exchange) -> Option<&'e HeaderValue> {
        exchange
            .origin()
            .filter(|origin| self.config.origins.include(origin))
    }
}

impl Gate for Cors {
    fn enter(&self, exchange: &Exchange, _request: &mut Request) -> ControlFlow<Response> {
        match self.allowed(exchange) {
            Some(origin) if *exchange.method() == Method::OPTIONS => {
                ControlFlow::Break(self.preflight(origin))
            }
            _ => ControlFlow::Continue(()),
        }
    }

    fn leave(&self, exchange: &Exchange, response: &mut Response) {
        if let Some(origin) = self.allowed(exchange) {
            self.mark(response.headers_mut(), origin);
        }
        // A cache must not give the response for one origin, or for none, to another.
        let is_cacheable = matches!(*exchange.method(), Method::GET | Method::HEAD);
        let is_selective = self.config.origins != CorsOrigins::All;
        if exchange.origin().is_some() || (is_selective && is_cacheable) {
            response.add_vary("Origin");
        }
    }
}
