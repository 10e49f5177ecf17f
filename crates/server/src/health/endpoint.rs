//! `/livez`, `/readyz`, `/startupz`, `/health` and `/api/health`.
//!
//! The endpoint stands at the edge, before the request log and every limit, so that a probe is never logged, refused
//! or kept waiting.

use std::ops::ControlFlow;
use std::sync::Arc;

use http::{HeaderValue, Method, StatusCode, header};
use http_chain::auth::Authentication;
use http_chain::{BoxFuture, Chain, Handler, Request, Response, Stage};
use resource::{Protocol, Registry};
use serde_json::json;

use super::{Health, Report};
use crate::application::Live;
use crate::local;
use crate::metrics::{method_not_allowed, prefers_json};

/// What a path asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Probe {
    Live,
    Ready,
    Started,
    /// `/health`: an answer at all.
    Text,
    /// `/api/health`.
    Api,
}

impl Probe {
    fn of(path: &str) -> Option<Self> {
        Some(match path {
            "/livez" | "/healthz" | "/live" => Self::Live,
            "/readyz" | "/ready" => Self::Ready,
            "/startupz" => Self::Started,
            "/health" => Self::Text,
            "/api/health" => Self::Api,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Live => "livez",
            Self::Ready => "readyz",
            Self::Started => "startupz",
            Self::Text => "health",
            Self::Api => "api/health",
        }
    }
}

/// Paths that no application can have for itself where probes are answered.
const RESERVED: [&str; 2] = ["/livez", "/readyz"];

/// Answers probes and hands everything else back.
pub struct HealthEndpoint {
    health: Arc<Health>,
    text: String,
    /// On an application port: what wins over a probe of the same path.
    application: Option<Application>,
    /// Answers 204 to users.
    login: Chain,
}

struct Application {
    exports: Arc<Registry>,
    live: Arc<Live>,
}

impl HealthEndpoint {
    /// An endpoint for operations ports; `text` is the body of `/health`.
    pub fn new(health: &Arc<Health>, text: &str, authentication: Authentication) -> Self {
        let known = |request: Request| async move {
            let status = match request.caller().user() {
                Some(_) => StatusCode::NO_CONTENT,
                None => StatusCode::UNAUTHORIZED,
            };
            ControlFlow::Break(Response::new(status))
        };
        Self {
            health: Arc::clone(health),
            text: text.to_owned(),
            application: None,
            login: Chain::new([
                ("authentication", Stage::wrap(authentication)),
                ("known", Stage::handler(known)),
            ]),
        }
    }

    /// For application ports: without `/health`, and behind the exports and the static files that have the same
    /// path, except for `/livez` and `/readyz`.
    #[must_use]
    pub fn beside_applications(mut self, exports: Arc<Registry>, live: Arc<Live>) -> Self {
        self.application = Some(Application { exports, live });
        self
    }

    async fn answer(&self, probe: Probe, request: Request) -> Response {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return method_not_allowed();
        }
        let response = match probe {
            Probe::Text => Response::text(StatusCode::OK, self.text.clone()),
            Probe::Api => self.api(),
            Probe::Live | Probe::Ready | Probe::Started => self.check(probe, request).await,
        };
        response.with_header(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))
    }

    /// 200 as long as the process can answer; the form is that of a StarRocks front.
    fn api(&self) -> Response {
        let status = match self.health.is_draining() {
            true => "SHUTTING_DOWN",
            false => "OK",
        };
        let body = json!({
            "status": status, "msg": "Success", "code": "0", "message": "OK",
            "online_backend_num": 1, "total_backend_num": 1,
        });
        Response::json(StatusCode::OK, body.to_string())
    }

    async fn check(&self, probe: Probe, request: Request) -> Response {
        let query = Query::of(request.query().unwrap_or_default());
        let accept = request.header(header::ACCEPT.as_str()).unwrap_or_default();
        let wants_json = prefers_json(accept);
        let with_details = self.may_see_details(&request).await;
        let health = Arc::clone(&self.health);
        let checks = move || match probe {
            Probe::Live => health.live(),
            Probe::Ready => health.ready(),
            _ => health.started(),
        };
        let Ok(report) = tokio::task::spawn_blocking(checks).await else {
            return Response::text(StatusCode::SERVICE_UNAVAILABLE, "the checks failed\n");
        };
        let report: Report = report.excluding(&query.exclude);
        let status = match report.is_ok() {
            true => StatusCode::OK,
            false => StatusCode::SERVICE_UNAVAILABLE,
        };
        match wants_json {
            true => Response::json(status, report.json(with_details)),
            false => {
                let text = report.text(probe.name(), query.is_verbose, with_details);
                Response::text(status, text)
            }
        }
    }

    /// Details are for this machine and for users.
    async fn may_see_details(&self, request: &Request) -> bool {
        if local::is_on_this_machine(request) {
            return true;
        }
        if !request.headers().contains_key(header::AUTHORIZATION) {
            return false;
        }
        let Ok(mut login) = Request::new(Method::GET, "/") else {
            return false;
        };
        login.headers_mut().clone_from(request.headers());
        login.extensions_mut().clone_from(request.extensions());
        self.login.answer(login).await.status() == StatusCode::NO_CONTENT
    }

    fn belongs_to_application(&self, path: &str) -> bool {
        let Some(application) = &self.application else {
            return false;
        };
        if RESERVED.contains(&path) {
            return false;
        }
        if path == "/health" {
            return true;
        }
        let name = path.trim_start_matches('/');
        // The root export has every path, and none by this name.
        let is_export = |entry: &resource::registry::Entry, _: &str| &*entry.path == name;
        let is_exported = application
            .exports
            .look(name, Protocol::Internal, is_export);
        is_exported == Some(true) || application.live.has_file(name)
    }
}

impl Handler for HealthEndpoint {
    fn accepts(&self, request: &Request) -> bool {
        let path = request.pathname();
        Probe::of(path).is_some() && !self.belongs_to_application(path)
    }

    fn handle(&self, request: Request) -> BoxFuture<'_, ControlFlow<Response, Request>> {
        Box::pin(async move {
            match Probe::of(request.pathname()) {
                Some(probe) => ControlFlow::Break(self.answer(probe, request).await),
                None => ControlFlow::Continue(request),
            }
        })
    }
}

/// The parameters of a probe; unknown ones are ignored.
#[derive(Debug, Default, PartialEq, Eq)]
struct Query {
    is_verbose: bool,
    exclude: Vec<String>,
}

impl Query {
    fn of(query: &str) -> Self {
        let mut parsed = Self::default();
        for part in query.split('&') {
            match part.split_once('=').unwrap_or((part, "")) {
                ("verbose", value) => parsed.is_verbose = value != "false",
                ("exclude", name) => parsed.exclude.push(name.to_owned()),
                _ => {}
            }
        }
        parsed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_a_switch_and_a_list() {
        let query = Query::of("verbose&exclude=disk&exclude=storage&x=1");
        let expected = Query {
            is_verbose: true,
            exclude: vec!["disk".to_owned(), "storage".to_owned()],
        };
        assert_eq!(query, expected);
        assert_eq!(Query::of(""), Query::default());
    }
}
