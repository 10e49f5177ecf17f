//! `/metrics` and `/metrics/memory` (`metrics-and-health.md` §2).
//!
//! The endpoint stands at the edge, before the request log and the limits, and has a small chain of its own for what
//! it needs of theirs: compression and authentication.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method, StatusCode, header};
use http_chain::auth::Authentication;
use http_chain::compression::Compression;
use http_chain::{BoxFuture, Chain, Handler, Request, Response, Stage, percent};
use store::Store;
use telemetry::metrics::{Selection, Snapshot, render};

use super::families::{MORE_TABLE_FAMILIES, TABLE_FAMILIES};
use super::{BeforeCompression, ServerMetrics, USER_REQUESTS, accept, compat, procfs};
use crate::config::{self, MetricsAuth};
use crate::local;

const PATH: &str = "/metrics";
const MEMORY_PATH: &str = "/metrics/memory";
const SCRAPE_TIMEOUT: &str = "x-prometheus-scrape-timeout-seconds";
/// What a scrape may take when the scraper does not say how long it waits.
const DEFAULT_BUDGET: Duration = Duration::from_secs(5);
/// The scraper's time-out less this is left for reading; the rest is for the way.
const MARGIN: Duration = Duration::from_millis(500);

/// Answers `/metrics` and `/metrics/memory`, and hands everything else back.
pub struct MetricsEndpoint {
    chain: Chain,
}

impl MetricsEndpoint {
    /// An endpoint over `metrics`; `directory` is that of the databases.
    pub fn new(
        metrics: &Arc<ServerMetrics>,
        config: &config::Metrics,
        store: &Arc<Store>,
        directory: PathBuf,
        authentication: Authentication,
    ) -> Self {
        let scrapes = Scrapes(Arc::new(Inner {
            metrics: Arc::clone(metrics),
            config: config.clone(),
            store: Arc::clone(store),
            directory,
        }));
        let chain = Chain::new([
            ("compression", Stage::gate(Compression::default())),
            ("uncompressed", Stage::gate(BeforeCompression::new(0))),
            ("authentication", Stage::wrap(authentication)),
            ("metrics", Stage::handler(scrapes)),
        ]);
        Self { chain }
    }
}

impl Handler for MetricsEndpoint {
    fn accepts(&self, request: &Request) -> bool {
        matches!(request.pathname(), PATH | MEMORY_PATH)
    }

    fn handle(&self, request: Request) -> BoxFuture<'_, ControlFlow<Response, Request>> {
        Box::pin(async move { ControlFlow::Break(self.chain.answer(request).await) })
    }
}

/// The innermost handler, behind authentication.
#[derive(Clone)]
struct Scrapes(Arc<Inner>);

struct Inner {
    metrics: Arc<ServerMetrics>,
    config: config::Metrics,
    store: Arc<Store>,
    directory: PathBuf,
}

impl Handler for Scrapes {
    fn handle(&self, request: Request) -> BoxFuture<'_, ControlFlow<Response, Request>> {
        Box::pin(async move { ControlFlow::Break(self.answer(&request).await) })
    }
}

impl Scrapes {
    async fn answer(&self, request: &Request) -> Response {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return method_not_allowed();
        }
        if let Err(refusal) = self.check_access(request) {
            return *refusal;
        }
        let inner = &self.0;
        let scrape = Scrape::of(request);
        let (store, directory) = (Arc::clone(&inner.store), inner.directory.clone());
        let with_tables = scrape.tables.is_some();
        let slow = &inner.metrics.slow;
        slow.refresh(store, directory, with_tables, budget(request))
            .await;
        let (inner, is_memory) = (Arc::clone(inner), request.pathname() == MEMORY_PATH);
        let write = move || match is_memory {
            true => (render::CORE_TYPE, inner.memory()),
            false => inner.write(&scrape),
        };
        // It reads `/proc` and may write a megabyte: not for a worker.
        match tokio::task::spawn_blocking(write).await {
            Ok((content_type, text)) => Response::with_body(StatusCode::OK, text)
                .with_header(header::CONTENT_TYPE, HeaderValue::from_static(content_type))
                .with_header(header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
            Err(error) => {
                tracing::error!("a scrape failed: {error}");
                Response::json_error(StatusCode::INTERNAL_SERVER_ERROR, "the scrape failed")
            }
        }
    }

    /// Labels carry names of tables and routes, so the answer is not for everybody (§2.5).
    fn check_access(&self, request: &Request) -> Result<(), Box<Response>> {
        let caller = request.caller();
        let (is_open, needs_super_user) = match self.0.config.auth {
            Some(MetricsAuth::None) => (true, false),
            Some(MetricsAuth::Any) => (false, false),
            Some(MetricsAuth::SuperUser) => (false, true),
            None => (local::is_on_this_machine(request), false),
        };
        if is_open {
            return Ok(());
        }
        let refusal = match caller.user() {
            None => Response::json_error(StatusCode::UNAUTHORIZED, "Must login"),
            Some(_) if needs_super_user && !caller.is_super_user() => Response::json_error(
                StatusCode::FORBIDDEN,
                "Metrics are restricted to super users",
            ),
            Some(_) => return Ok(()),
        };
        Err(Box::new(refusal))
    }
}

/// 405 of the endpoints of this server.
pub(crate) fn method_not_allowed() -> Response {
    Response::json_error(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed")
        .with_header(header::ALLOW, HeaderValue::from_static("GET, HEAD"))
        .with_header(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))
}

fn budget(request: &Request) -> Duration {
    let seconds = request
        .header(SCRAPE_TIMEOUT)
        .and_then(|text| text.parse::<f64>().ok());
    let timeout = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    // A scraper that waits for ever does not make us read for ever.
    timeout.map_or(DEFAULT_BUDGET, |timeout| {
        timeout.saturating_sub(MARGIN).min(Duration::from_secs(60))
    })
}

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Prometheus,
    OpenMetrics,
    Json,
    Core,
}

impl Format {
    /// The parameter wins over `Accept`, and a value that is not known stands for the text (§2.1).
    fn of(kind: Option<&str>, accept: &str) -> Self {
        match kind {
            Some(kind) if kind.eq_ignore_ascii_case("core") => return Self::Core,
            Some(kind) if kind.eq_ignore_ascii_case("json") => return Self::Json,
            Some(_) => return Self::Prometheus,
            None => {}
        }
        // Wildcards choose the text, so the others have to be named.
        let has = |media_type| accept::named(accept, media_type) > 0;
        let weigh = |media_type, version| match has(media_type) {
            true => accept::weight(accept, media_type, version),
            false => 0,
        };
        let open = weigh("application/openmetrics-text", Some("1.0.0"));
        let json = weigh("application/json", None);
        let text = match has("text/plain") {
            true => accept::weight(accept, "text/plain", Some("0.0.4")),
            false => 0,
        };
        match (open, json) {
            (0, 0) => Self::Prometheus,
            (open, json) if open >= json && open >= text => Self::OpenMetrics,
            (_, json) if json > text => Self::Json,
            _ => Self::Prometheus,
        }
    }
}

/// Which tables are described.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tables {
    All,
    Minified,
}

/// The parameters of a scrape (§2.6).
#[derive(Debug)]
struct Scrape {
    format: Format,
    selection: Selection,
    tables: Option<Tables>,
    /// Asked for, and by a super user.
    users: bool,
    compat: bool,
}

impl Scrape {
    fn of(request: &Request) -> Self {
        let mut selection = Selection::default();
        let (mut kind, mut tables, mut users, mut compat) = (None, None, false, false);
        for (name, value) in parameters(request.query().unwrap_or_default()) {
            match (&*name, &*value) {
                ("type", _) => kind = Some(value.into_owned()),
                ("collect[]", _) => selection.groups.push(value.into_owned()),
                ("name[]", _) => selection.names.push(value.into_owned()),
                ("with_table_metrics", "all") => tables = Some(Tables::All),
                ("with_table_metrics", "minified") => tables = Some(Tables::Minified),
                ("with_user_connections", _) => users = request.caller().is_super_user(),
                ("compat", "starrocks") => compat = true,
                _ => {}
            }
        }
        let accept = request.headers().get_all(header::ACCEPT).iter();
        let accept: Vec<&str> = accept.filter_map(|line| line.to_str().ok()).collect();
        Self {
            format: Format::of(kind.as_deref(), &accept.join(",")),
            selection,
            tables,
            users,
            compat,
        }
    }
}

/// Names and values of a query; what is not decodable is taken as it came.
fn parameters(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    let decode = |text| percent::decode(text).unwrap_or(Cow::Borrowed(text));
    let parts = query.split('&').filter(|part| !part.is_empty());
    parts.map(move |part| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (decode(name), decode(value))
    })
}

impl Inner {
    fn write(&self, scrape: &Scrape) -> (&'static str, String) {
        let prefix = &self.config.prefix;
        let mut text = String::new();
        if scrape.format == Format::Core {
            let loaded = self.metrics.loaded_bytes();
            render::core(
                &self.metrics.rates.families(loaded),
                &self.config.core_prefix,
                &mut text,
            );
            return (render::CORE_TYPE, text);
        }
        let ours = self.select(scrape);
        let wants_compat = self.config.compat || scrape.compat;
        let theirs = wants_compat.then(|| self.theirs(scrape));
        match scrape.format {
            Format::Prometheus | Format::Core => {
                render::prometheus(&ours, prefix, &mut text);
                if let Some(theirs) = theirs {
                    render::prometheus(&theirs, compat::PREFIX, &mut text);
                }
                (render::PROMETHEUS_TYPE, text)
            }
            Format::OpenMetrics => {
                let created = self.config.created.then_some(self.metrics.created);
                if let Some(theirs) = theirs {
                    render::openmetrics(&theirs, compat::PREFIX, created, &mut text);
                    // Each writes the end, which may be there once.
                    text.truncate(text.len() - "# EOF\n".len());
                }
                render::openmetrics(&ours, prefix, created, &mut text);
                (render::OPENMETRICS_TYPE, text)
            }
            Format::Json => {
                render::json(&with_bare_names(ours, theirs), &mut text);
                (render::JSON_TYPE, text)
            }
        }
    }

    fn select(&self, scrape: &Scrape) -> Snapshot {
        let mut snapshot = self.metrics.registry.select(&scrape.selection);
        if scrape.tables != Some(Tables::All) {
            snapshot
                .families
                .retain(|family| !MORE_TABLE_FAMILIES.contains(&family.name));
        }
        if scrape.tables.is_none() {
            snapshot
                .families
                .retain(|family| !TABLE_FAMILIES.contains(&family.name));
        }
        if !scrape.users {
            let named = USER_REQUESTS.name();
            snapshot.families.retain(|family| family.name != named);
        }
        snapshot
    }

    /// The families of the other program that are asked for by name, made from all of ours.
    fn theirs(&self, scrape: &Scrape) -> Snapshot {
        let ours = self.metrics.registry.snapshot();
        let mut theirs = compat::families(&ours, &self.metrics.slow.disks.load());
        let names = &scrape.selection.names;
        theirs.families.retain(|family| {
            let is_named = |name: &String| name.strip_prefix(compat::PREFIX) == Some(family.name);
            names.is_empty() || names.iter().any(is_named)
        });
        theirs
    }

    /// Free form: who holds how much.
    fn memory(&self) -> String {
        let process = procfs::Process::read().unwrap_or_default();
        let page = rustix::param::page_size() as u64;
        let mut text = String::new();
        let mut line = |name: &str, bytes: u64| {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{name}: {bytes}");
        };
        line("process_resident", process.resident_pages * page);
        line("process_anonymous", procfs::anonymous_bytes().unwrap_or(0));
        line("process_virtual", process.virtual_bytes);
        for database in &**self.metrics.slow.databases.load() {
            line(
                &format!("database_file_{}", database.database),
                database.used_bytes,
            );
        }
        text
    }
}

/// Names of the JSON form have no prefix, so a family of theirs that is called like one of ours is left out.
fn with_bare_names(mut ours: Snapshot, theirs: Option<Snapshot>) -> Snapshot {
    let theirs = theirs.map(|theirs| theirs.families).unwrap_or_default();
    let is_new = |name: &str| !ours.families.iter().any(|family| family.name == name);
    let new: Vec<_> = theirs
        .into_iter()
        .filter(|family| is_new(family.name))
        .collect();
    ours.families.extend(new);
    ours.families.sort_by_key(|family| family.name);
    ours
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(url: &str, accept: Option<&'static str>) -> Format {
        let mut request = Request::new(Method::GET, url).unwrap();
        if let Some(accept) = accept {
            let accept = HeaderValue::from_static(accept);
            request.headers_mut().insert(header::ACCEPT, accept);
        }
        Scrape::of(&request).format
    }

    #[test]
    fn the_type_wins_over_accept_and_an_unknown_one_is_the_text() {
        let json = Some("application/json");
        assert_eq!(format("/metrics?type=Core", json), Format::Core);
        assert_eq!(format("/metrics?type=json", None), Format::Json);
        assert_eq!(format("/metrics?type=nonsense", json), Format::Prometheus);
        assert_eq!(format("/metrics", json), Format::Json);
    }

    #[test]
    fn accept_is_weighed_and_ties_go_to_openmetrics() {
        let accept = |accept| format("/metrics", Some(accept));
        // Prometheus 2.x.
        let scraper = "application/openmetrics-text;version=1.0.0;q=0.5,\
                       application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        assert_eq!(accept(scraper), Format::OpenMetrics);
        assert_eq!(
            accept("application/openmetrics-text,application/json,text/plain"),
            Format::OpenMetrics
        );
        assert_eq!(
            accept("application/openmetrics-text;version=0.0.1"),
            Format::Prometheus
        );
        assert_eq!(
            accept("text/plain, application/json;q=0.5"),
            Format::Prometheus
        );
        assert_eq!(accept("*/*"), Format::Prometheus);
        assert_eq!(accept("image/png"), Format::Prometheus);
        assert_eq!(format("/metrics", None), Format::Prometheus);
    }

    #[test]
    fn parameters_repeat_and_brackets_may_be_encoded() {
        let url = "/metrics?collect[]=http&collect%5B%5D=tls&name[]=a&with_table_metrics=all&x=1";
        let scrape = Scrape::of(&Request::new(Method::GET, url).unwrap());
        assert_eq!(scrape.selection.groups, ["http", "tls"]);
        assert_eq!(scrape.selection.names, ["a"]);
        assert_eq!((scrape.tables, scrape.compat), (Some(Tables::All), false));
    }

    #[test]
    fn the_budget_is_what_the_scraper_waits_less_the_way() {
        let mut request = Request::new(Method::GET, "/metrics").unwrap();
        assert_eq!(budget(&request), DEFAULT_BUDGET);
        for (sent, expected) in [("2.5", 2000), ("0.1", 0), ("nonsense", 5000), ("-1", 5000)] {
            let sent = HeaderValue::from_static(sent);
            request.headers_mut().insert(SCRAPE_TIMEOUT, sent);
            assert_eq!(budget(&request), Duration::from_millis(expected));
        }
    }
}
