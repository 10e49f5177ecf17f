//! Routes: a path pattern and a method lead to an endpoint.
//!
//! | Segment | Matches | Parameter |
//! |---|---|---|
//! | `users` | exactly that, after percent-decoding | |
//! | `{id}` | any one segment | `id` |
//! | `{name:regex}` | one segment that the expression matches as a whole | `name` |
//! | `*` | any one segment | |
//! | `**`, `{rest:**}` (last only) | one or more segments | `rest`, as received |
//!
//! The path is split at `/` before it is decoded, so `%2F` stays inside a segment; empty segments do
//! not count. At each segment the candidates are tried in the order exact, expressions as registered,
//! `{id}` and `*`, `**`, going back when the rest does not match. Lookup cost grows with the pattern's
//! depth, not with the number of routes.

mod layered;
mod pattern;
mod tree;

use std::fmt;
use std::future::Future;
use std::ops::ControlFlow;
use std::sync::Arc;

use http::{HeaderValue, Method, StatusCode, header};

use crate::percent;
use crate::request::Request;
use crate::response::Response;
use crate::stage::{BoxFuture, Handler, Stage};

use self::layered::Layered;
pub use self::pattern::PatternError;
use self::pattern::{Pattern, RouteParams};
use self::tree::{Found, Node, Slashes};

/// What a route leads to: answers every request it gets.
///
/// An `async` closure or function from [`Request`] to anything that converts into a [`Response`] is one.
pub trait Endpoint: Send + Sync {
    /// Answers.
    fn call(&self, request: Request) -> BoxFuture<'_, Response>;
}

impl<F, Fut> Endpoint for F
where
    F: Fn(Request) -> Fut + Send + Sync,
    Fut: Future + Send + 'static,
    Fut::Output: Into<Response>,
{
    fn call(&self, request: Request) -> BoxFuture<'_, Response> {
        let answer = self(request);
        Box::pin(async move { answer.await.into() })
    }
}

/// A route that cannot be registered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// The pattern is malformed; the source says how.
    #[error("route '{pattern}'")]
    Pattern {
        /// The pattern as given.
        pattern: String,
        /// What is wrong with it.
        source: PatternError,
    },
    /// An endpoint for this method and an equal pattern is registered already.
    #[error("route '{pattern}' is registered twice for {method}")]
    Duplicate {
        /// The pattern as given.
        pattern: String,
        /// The method, `any method` for [`Router::any`].
        method: String,
    },
}

/// A [`Handler`] that looks up the path and method among its routes.
///
/// A path that no pattern matches is handed back to the chain. A path that some pattern matches, but
/// not with this method, is answered with 405 and `Allow`. `HEAD` is served by the endpoint of `GET`
/// unless it has its own.
///
/// ```
/// use http::Method;
/// use http_chain::{Chain, Request, Router, Stage};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut routes = Router::new();
/// routes.on(Method::GET, "/users/{id}", |request: Request| async move {
///     format!("user {}", request.param("id").unwrap_or_default())
/// })?;
/// let chain = Chain::new([("routes", Stage::handler(routes))]);
///
/// let answer = chain.answer(Request::new(Method::GET, "/users/a%20b")?).await;
/// assert_eq!(answer.into_body().collect(100).await?, "user a b");
/// let answer = chain.answer(Request::new(Method::POST, "/users/7")?).await;
/// assert_eq!((answer.status().as_u16(), &answer.headers()["allow"]), (405, &"GET, HEAD".parse()?));
/// # Ok(())
/// # }
/// ```
#[derive(Default)]
pub struct Router {
    root: Node,
    /// All routes, for a router that takes them over.
    routes: Vec<(Option<Method>, String, Arc<dyn Endpoint>)>,
    /// Around the routes to come.
    layers: Vec<(Arc<str>, Stage)>,
    slashes: Slashes,
    answers_options: bool,
    not_found: Option<Arc<dyn Endpoint>>,
    method_not_allowed: Option<Arc<dyn Endpoint>>,
}

/// The methods that the patterns matching this path have, sorted: in the extensions of the request that the
/// endpoint for [other methods](Router::method_not_allowed) gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedMethods(pub Vec<Method>);

/// The pattern whose endpoint answered, in the extensions of the response: a label of bounded cardinality
/// for metrics. See [`Response::route`].
#[derive(Debug, Clone)]
pub(crate) struct AnsweredBy(pub(crate) Arc<str>);

impl Router {
    /// A router without routes.
    pub fn new() -> Self {
        Self::default()
    }

    /// A router without routes for which `/a/`, `//a` and `/a` are three paths. For others they are one.
    pub fn strict_slashes() -> Self {
        Self {
            slashes: Slashes::Strict,
            ..Self::default()
        }
    }

    /// Surrounds the routes that are registered from now on with a gate or a wrap, inside those that were
    /// added before. The endpoints for 404 and 405 are not surrounded: what is meant for them too belongs in
    /// front of the router in its chain. A tower layer is a `Stage::wrap(LayerWrap::new(&layer))`.
    ///
    /// ```
    /// use http::{HeaderValue, Method, header};
    /// use http_chain::stages::DefaultFields;
    /// use http_chain::{Request, Router, Stage};
    ///
    /// let mut routes = Router::new();
    /// routes.on(Method::GET, "/plain", |_: Request| async { "as it is" })?;
    /// let fresh = DefaultFields::new([(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"))]);
    /// routes.layer("no cache", Stage::gate(fresh));
    /// routes.on(Method::GET, "/fresh", |_: Request| async { "with Cache-Control" })?;
    /// # Ok::<(), http_chain::router::RouteError>(())
    /// ```
    pub fn layer(&mut self, name: &str, stage: Stage) -> &mut Self {
        self.layers.push((name.into(), stage));
        self
    }

    /// As [`on`](Self::on), or [`any`](Self::any) for no method, in place of the route that is registered for
    /// this method and an equal pattern, if there is one.
    ///
    /// # Errors
    ///
    /// [`RouteError::Pattern`] for a malformed pattern.
    pub fn replace(
        &mut self,
        method: impl Into<Option<Method>>,
        pattern: &str,
        endpoint: impl Endpoint + 'static,
    ) -> Result<&mut Self, RouteError> {
        let method = method.into();
        let endpoint = self.surrounded(Arc::new(endpoint));
        if let Some(before) = self.insert(method.clone(), pattern, &endpoint, true)? {
            self.routes
                .retain(|(other, known, _)| *other != method || **known != *before);
        }
        self.routes.push((method, pattern.to_owned(), endpoint));
        Ok(self)
    }

    /// Leads `method` on `pattern` to `endpoint`. A specific method beats [`any`](Self::any).
    ///
    /// # Errors
    ///
    /// [`RouteError`] for a malformed pattern, or one registered for this method already (the names of
    /// parameters make no difference).
    pub fn on(
        &mut self,
        method: Method,
        pattern: &str,
        endpoint: impl Endpoint + 'static,
    ) -> Result<&mut Self, RouteError> {
        self.register(Some(method), pattern, Arc::new(endpoint))
    }

    /// Leads every method on `pattern` to `endpoint`.
    ///
    /// # Errors
    ///
    /// As [`on`](Self::on).
    pub fn any(
        &mut self,
        pattern: &str,
        endpoint: impl Endpoint + 'static,
    ) -> Result<&mut Self, RouteError> {
        self.register(None, pattern, Arc::new(endpoint))
    }

    /// Answers `OPTIONS` on a known path with 204 and `Allow`, unless a route has its own. Off by
    /// default: then it is a 405 like any other method.
    #[must_use]
    pub fn auto_options(mut self, answers_options: bool) -> Self {
        self.answers_options = answers_options;
        self
    }

    /// Answers what no pattern matches, which is otherwise handed back to the chain.
    #[must_use]
    pub fn not_found(mut self, endpoint: impl Endpoint + 'static) -> Self {
        self.not_found = Some(Arc::new(endpoint));
        self
    }

    /// Answers what some pattern matches, but not with this method. The request has [`AllowedMethods`];
    /// `Allow` is added unless the answer has it.
    #[must_use]
    pub fn method_not_allowed(mut self, endpoint: impl Endpoint + 'static) -> Self {
        self.method_not_allowed = Some(Arc::new(endpoint));
        self
    }

    /// Takes over the routes of `other` under `prefix`, which may have parameters. What `other` does besides
    /// (404, 405, `OPTIONS`) is not taken over.
    ///
    /// # Errors
    ///
    /// As [`on`](Self::on); the routes before the refused one are then registered.
    pub fn nest(&mut self, prefix: &str, other: Self) -> Result<&mut Self, RouteError> {
        for (method, pattern, endpoint) in other.routes {
            let pattern = format!(
                "{}/{}",
                prefix.trim_end_matches('/'),
                pattern.trim_start_matches('/')
            );
            self.register(method, &pattern, endpoint)?;
        }
        Ok(self)
    }

    fn register(
        &mut self,
        method: Option<Method>,
        pattern: &str,
        endpoint: Arc<dyn Endpoint>,
    ) -> Result<&mut Self, RouteError> {
        let endpoint = self.surrounded(endpoint);
        if self
            .insert(method.clone(), pattern, &endpoint, false)?
            .is_some()
        {
            return Err(RouteError::Duplicate {
                pattern: pattern.to_owned(),
                method: method.map_or_else(|| "any method".to_owned(), |method| method.to_string()),
            });
        }
        self.routes.push((method, pattern.to_owned(), endpoint));
        Ok(self)
    }

    /// Returns the pattern of the route that was there before.
    fn insert(
        &mut self,
        method: Option<Method>,
        pattern: &str,
        endpoint: &Arc<dyn Endpoint>,
        replaces: bool,
    ) -> Result<Option<Arc<str>>, RouteError> {
        let parsed =
            Pattern::parse(pattern, self.slashes).map_err(|source| RouteError::Pattern {
                pattern: pattern.to_owned(),
                source,
            })?;
        Ok(self
            .root
            .insert(parsed, method, Arc::clone(endpoint), replaces))
    }

    fn surrounded(&self, endpoint: Arc<dyn Endpoint>) -> Arc<dyn Endpoint> {
        match self.layers.is_empty() {
            true => endpoint,
            false => Arc::new(Layered::new(&self.layers, endpoint)),
        }
    }

    async fn answer_other_method(&self, mut request: Request, allowed: Vec<Method>) -> Response {
        let allowed = self.completed(allowed);
        let is_auto_options = self.answers_options && *request.method() == Method::OPTIONS;
        let Some(endpoint) = self
            .method_not_allowed
            .as_ref()
            .filter(|_| !is_auto_options)
        else {
            return plain_answer(is_auto_options, &allowed);
        };
        let field = allow_field(&allowed);
        request.extensions_mut().insert(AllowedMethods(allowed));
        let mut response = endpoint.call(request).await;
        response.headers_mut().entry(header::ALLOW).or_insert(field);
        response
    }

    fn completed(&self, mut allowed: Vec<Method>) -> Vec<Method> {
        if self.answers_options {
            allowed.push(Method::OPTIONS);
        }
        if allowed.contains(&Method::GET) {
            allowed.push(Method::HEAD);
        }
        allowed.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        allowed.dedup();
        allowed
    }
}

fn allow_field(allowed: &[Method]) -> HeaderValue {
    let list = allowed
        .iter()
        .map(Method::as_str)
        .collect::<Vec<_>>()
        .join(", ");
    // Methods are tokens, and a list of tokens is a valid field value.
    HeaderValue::try_from(list).unwrap_or(HeaderValue::from_static(""))
}

fn plain_answer(is_auto_options: bool, allowed: &[Method]) -> Response {
    let response = match is_auto_options {
        true => Response::new(StatusCode::NO_CONTENT),
        false => Response::text(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed\n"),
    };
    response.with_header(header::ALLOW, allow_field(allowed))
}

impl Handler for Router {
    fn handle(&self, mut request: Request) -> BoxFuture<'_, ControlFlow<Response, Request>> {
        // `OPTIONS *` and the authority form of CONNECT name no path.
        if !request.pathname().starts_with('/') {
            return Box::pin(std::future::ready(ControlFlow::Continue(request)));
        }
        if percent::decode(request.pathname()).is_err() {
            let response = Response::text(
                StatusCode::BAD_REQUEST,
                "Malformed percent-encoding in the path\n",
            );
            return Box::pin(std::future::ready(ControlFlow::Break(response)));
        }
        match self
            .root
            .find(request.pathname(), request.method(), self.slashes)
        {
            Found::Endpoint { endpoint, matched } => {
                let label = AnsweredBy(Arc::clone(&matched.pattern));
                request.extensions_mut().insert(matched);
                Box::pin(async move {
                    let mut response = endpoint.call(request).await;
                    response.extensions_mut().insert(label);
                    ControlFlow::Break(response)
                })
            }
            Found::OtherMethods(allowed) => Box::pin(async move {
                ControlFlow::Break(self.answer_other_method(request, allowed).await)
            }),
            Found::Nothing => match &self.not_found {
                Some(endpoint) => {
                    Box::pin(async move { ControlFlow::Break(endpoint.call(request).await) })
                }
                None => Box::pin(std::future::ready(ControlFlow::Continue(request))),
            },
        }
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Router")
    }
}

/// The route that a [`Router`] chose, in the extensions of the request.
#[derive(Debug, Clone)]
pub struct Matched {
    pattern: Arc<str>,
    params: RouteParams,
}

impl Matched {
    /// The pattern as registered.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// The value of the parameter `name`, percent-decoded; that of `{rest:**}` as received.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params
            .iter()
            .find(|param| &*param.name == name)
            .map(|param| &*param.decoded)
    }

    /// The value of the parameter `name` as received.
    pub fn raw_param(&self, name: &str) -> Option<&str> {
        self.params
            .iter()
            .find(|param| &*param.name == name)
            .map(|param| &*param.raw)
    }

    /// Names and decoded values, in the order of the pattern.
    pub fn params(&self) -> impl Iterator<Item = (&str, &str)> {
        self.params
            .iter()
            .map(|param| (&*param.name, &*param.decoded))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(routes: &[(&str, &str)]) -> Router {
        let mut router = Router::new();
        for (method, pattern) in routes {
            let text = pattern.to_string();
            let endpoint = move |request: Request| {
                let params: Vec<_> = match request.extensions().get::<Matched>() {
                    Some(matched) => matched
                        .params()
                        .map(|(name, value)| format!("{name}={value}"))
                        .collect(),
                    None => Vec::new(),
                };
                let text = format!("{text} {}", params.join(","));
                async move { text.trim_end().to_owned() }
            };
            match *method {
                "any" => router.any(pattern, endpoint).unwrap(),
                method => router
                    .on(method.parse().unwrap(), pattern, endpoint)
                    .unwrap(),
            };
        }
        router
    }

    /// Status and text; 404 stands for "handed back".
    async fn ask(router: &Router, method: &str, url: &str) -> (u16, String) {
        match router
            .handle(Request::new(method.parse().unwrap(), url).unwrap())
            .await
        {
            ControlFlow::Continue(_) => (404, String::new()),
            ControlFlow::Break(response) => {
                let status = response.status().as_u16();
                let allow = response
                    .headers()
                    .get("allow")
                    .map(|value| value.to_str().unwrap().to_owned());
                let body = response.into_body().collect(1000).await.unwrap();
                (
                    status,
                    allow.unwrap_or_else(|| String::from_utf8(body.to_vec()).unwrap()),
                )
            }
        }
    }

    async fn check(router: &Router, request: &str, status: u16, text: &str) {
        let (method, url) = request.split_once(' ').unwrap();
        assert_eq!(
            ask(router, method, url).await,
            (status, text.to_owned()),
            "{request}"
        );
    }

    #[tokio::test]
    async fn strict_slashes_tell_three_paths_apart() {
        let mut router = Router::strict_slashes();
        for pattern in ["/", "/a", "/a/", "/a/{id}", "/b/**"] {
            let text = pattern.to_owned();
            let endpoint = move |request: Request| {
                let id = request.param("id").unwrap_or_default();
                std::future::ready(format!("{text} {id}"))
            };
            router.on(Method::GET, pattern, endpoint).unwrap();
        }
        check(&router, "GET /", 200, "/ ").await;
        check(&router, "GET /a", 200, "/a ").await;
        check(&router, "GET /a/", 200, "/a/ ").await;
        check(&router, "GET /a/x", 200, "/a/{id} x").await;
        check(&router, "GET /b/c/", 200, "/b/** ").await;
        for path in ["//a", "/a//", "/a/x/", "/b", "/b/"] {
            check(&router, &format!("GET {path}"), 404, "").await;
        }
        check(&router, "PUT /a/", 405, "GET, HEAD").await;
    }

    #[tokio::test]
    async fn a_route_can_be_replaced_and_is_then_nested_once() {
        let mut inner = router(&[("GET", "/a/{x}"), ("PUT", "/a/{x}")]);
        let endpoint = |request: Request| {
            let id = request.param("y").unwrap_or_default().to_owned();
            std::future::ready(format!("new {id}"))
        };
        inner.replace(Method::GET, "/a/{y}", endpoint).unwrap();
        inner
            .replace(None, "/b", |_: Request| std::future::ready("b"))
            .unwrap();
        check(&inner, "GET /a/7", 200, "new 7").await;
        check(&inner, "PUT /a/7", 200, "/a/{x} x=7").await;
        check(&inner, "DELETE /b", 200, "b").await;
        let mut outer = Router::new();
        outer.nest("/v1", inner).unwrap();
        check(&outer, "GET /v1/a/7", 200, "new 7").await;
        assert!(
            outer
                .replace(None, "no slash", |_: Request| std::future::ready(""))
                .is_err()
        );
    }

    #[tokio::test]
    async fn a_layer_surrounds_the_routes_that_come_after_it_and_no_405() {
        struct Mark(&'static str);
        impl crate::stage::Gate for Mark {
            fn leave(&self, exchange: &crate::Exchange, response: &mut Response) {
                let text = format!("{} for {}", self.0, exchange.caller().is_some());
                response.append_header("x-mark", &text).unwrap();
            }
        }
        let endpoint = |_: Request| std::future::ready("x");
        let mut router = Router::new();
        router.on(Method::GET, "/before", endpoint).unwrap();
        router.layer("outer", Stage::gate(Mark("outer")));
        router.on(Method::GET, "/one", endpoint).unwrap();
        router.layer("inner", Stage::gate(Mark("inner")));
        router.on(Method::GET, "/two", endpoint).unwrap();
        for (method, path, marks) in [
            ("GET", "/before", &[][..]),
            ("GET", "/one", &["outer for true"]),
            ("GET", "/two", &["inner for true", "outer for true"]),
            ("PUT", "/two", &[]),
        ] {
            let mut request = Request::new(method.parse().unwrap(), path).unwrap();
            request.extensions_mut().insert(resource::Caller::Anonymous);
            let ControlFlow::Break(response) = router.handle(request).await else {
                panic!("{path} was handed back");
            };
            let all = response.headers().get_all("x-mark");
            let all: Vec<_> = all.iter().map(|mark| mark.to_str().unwrap()).collect();
            assert_eq!(all, marks, "{method} {path}");
        }
    }

    #[tokio::test]
    async fn an_exact_segment_beats_a_parameter() {
        let router = router(&[("GET", "/u/{id}"), ("GET", "/u/me")]);
        check(&router, "GET /u/me", 200, "/u/me").await;
        check(&router, "GET /u/a%20b", 200, "/u/{id} id=a b").await;
        check(&router, "GET /u/a%2Fb", 200, "/u/{id} id=a/b").await;
        check(&router, "GET /u", 404, "").await;
    }

    #[tokio::test]
    async fn an_expression_matches_the_whole_segment_and_beats_a_parameter() {
        let router = router(&[
            ("GET", "/f/{s}"),
            ("GET", r"/f/{n:\d{2,}}"),
            ("GET", "/f/{x:a|b}/y"),
        ]);
        check(&router, "GET /f/12", 200, r"/f/{n:\d{2,}} n=12").await;
        check(&router, "GET /f/12a", 200, "/f/{s} s=12a").await;
        check(&router, "GET /f/b/y", 200, "/f/{x:a|b}/y x=b").await;
        check(&router, "GET /f/bc/y", 404, "").await;
    }

    #[tokio::test]
    async fn a_double_star_needs_one_segment_and_comes_last() {
        let router = router(&[
            ("GET", "/a/*"),
            ("GET", "/a/b"),
            ("GET", "/a/**"),
            ("GET", "/r/{rest:**}"),
        ]);
        check(&router, "GET /a/b", 200, "/a/b").await;
        check(&router, "GET /a/c", 200, "/a/*").await;
        check(&router, "GET /a/c/d", 200, "/a/**").await;
        check(&router, "GET /a", 404, "").await;
        check(
            &router,
            "GET /r/x%20y/z?q",
            200,
            "/r/{rest:**} rest=x%20y/z",
        )
        .await;
    }

    #[tokio::test]
    async fn the_search_goes_back_when_the_rest_does_not_match() {
        let router = router(&[
            ("GET", "/a/b/c"),
            ("GET", "/a/{x}/d"),
            ("GET", "/{y}/b/e"),
            ("GET", "/**"),
        ]);
        check(&router, "GET /a/b/d", 200, "/a/{x}/d x=b").await;
        check(&router, "GET /a/b/e", 200, "/{y}/b/e y=a").await;
        check(&router, "GET /a/b/f", 200, "/**").await;
    }

    #[tokio::test]
    async fn parameters_of_one_place_may_have_different_names() {
        let router = router(&[("GET", "/a/{x}"), ("GET", "/a/{y}/b")]);
        check(&router, "GET /a/1", 200, "/a/{x} x=1").await;
        check(&router, "GET /a/1/b", 200, "/a/{y}/b y=1").await;
    }

    #[tokio::test]
    async fn empty_segments_do_not_count() {
        let router = router(&[("GET", "/a/b"), ("GET", "/")]);
        for url in ["/a/b", "/a/b/", "//a//b"] {
            check(&router, &format!("GET {url}"), 200, "/a/b").await;
        }
        check(&router, "GET /", 200, "/").await;
    }

    #[tokio::test]
    async fn rfc9110_15_5_6_a_405_lists_the_methods_of_all_matching_patterns() {
        let router = router(&[("GET", "/x/{a}"), ("POST", "/x/y"), ("DELETE", "/**")]);
        check(&router, "PUT /x/y", 405, "DELETE, GET, HEAD, POST").await;
        check(&router, "PUT /x/z", 405, "DELETE, GET, HEAD").await;
        check(&router, "POST /x/y", 200, "/x/y").await;
        check(&router, "GET /x/y", 200, "/x/{a} a=y").await;
        check(&router, "HEAD /x/y", 200, "/x/{a} a=y").await;
        check(
            &router.auto_options(true),
            "OPTIONS /x/z",
            204,
            "DELETE, GET, HEAD, OPTIONS",
        )
        .await;
    }

    #[tokio::test]
    async fn a_specific_method_beats_any_whatever_the_order() {
        let router = router(&[("any", "/a"), ("POST", "/a"), ("HEAD", "/a")]);
        let (_, text) = ask(&router, "POST", "/a").await;
        assert_eq!(text, "/a");
        check(&router, "BREW /a", 200, "/a").await;
    }

    #[tokio::test]
    async fn a_bad_escape_is_400_and_a_target_without_path_is_handed_back() {
        let router = router(&[("any", "/**"), ("any", "/*")]);
        check(
            &router,
            "GET /%zz",
            400,
            "Malformed percent-encoding in the path\n",
        )
        .await;
        check(
            &router,
            "GET /%ff",
            400,
            "Malformed percent-encoding in the path\n",
        )
        .await;
        check(&router, "OPTIONS *", 404, "").await;
    }

    #[test]
    fn a_malformed_or_second_pattern_is_refused() {
        async fn endpoint(_: Request) -> &'static str {
            ""
        }
        let mut router = Router::new();
        for bad in [
            "a", "/a/**/b", "/{}", "/v{n}", "/{a}/{a}", "/{a:(}", "/{a", "/{:x}", "/%zz",
        ] {
            let error = router
                .on(Method::GET, bad, endpoint)
                .map(|_| ())
                .unwrap_err();
            assert!(
                matches!(error, RouteError::Pattern { .. }),
                "{bad}: {error}"
            );
        }
        router.on(Method::GET, "/a/{x}", endpoint).unwrap();
        let error = router
            .on(Method::GET, "/a/{y}", endpoint)
            .map(|_| ())
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "route '/a/{y}' is registered twice for GET"
        );
        router.on(Method::PUT, "/a/{y}", endpoint).unwrap();
    }
}
