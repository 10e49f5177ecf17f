//! What the server counts, and `/metrics` (`metrics-and-health.md` §2-4).
//!
//! ```text
//! request ─▶ edge::Measured ─▶ chain ─▶ edge: one series per method, route, code  ┐ cells of this thread
//! listener, store, hub, sse, ws, mqtt, log ─▶ their own counters, asked at a scrape ├─▶ Snapshot ─▶ endpoint
//! /proc, statvfs ─▶ read at a scrape, off the workers, within the scrape's time      ┘
//! ```
//!
//! [`ServerMetrics`] is made before everything else and given what it asks ([`Sources`]) as it comes to be.

mod accept;
mod compat;
mod core_form;
mod edge;
mod endpoint;
mod families;
mod host;
mod http;
mod identity;
mod procfs;
mod routes;
mod slow;
mod stages;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::SystemTime;

use ::http::StatusCode;
use core_listener::ServerHandle;
use resource::{Authenticator, Registry};
use telemetry::Metrics;
use telemetry::metrics::{CounterFamily, Family, MetricError, MetricLimits, Selection, Unit};
use tokio::runtime::Handle;

pub(crate) use self::accept::prefers_json;
pub use self::edge::{Answering, CountedBody, Measured, MeasuredBody};
pub use self::endpoint::MetricsEndpoint;
pub(crate) use self::endpoint::method_not_allowed;
pub use self::families::Sources;
pub use self::routes::{Answered, Answerer, NobodyYet};
pub(crate) use self::slow::DiskSpace;
pub use self::stages::{AroundTimeout, BeforeCompression, UserRequests};

use self::http::HttpMetrics;
use self::slow::Slow;
use crate::config::Config;

/// Written on request alone, to super users: it names users.
const USER_REQUESTS: Family = Family::new(
    "http_user_requests_total",
    "Requests of each user, whatever was answered",
)
.unit(Unit::Requests)
.group("http")
.labels(&["user"]);

/// All numbers of one server.
pub struct ServerMetrics {
    registry: Metrics,
    http: Arc<HttpMetrics>,
    logins: identity::LoginCounters,
    sources: Arc<Sources>,
    slow: Arc<Slow>,
    rates: core_form::Rates,
    users: CounterFamily,
    max_users: usize,
    /// Since when everything is counted.
    created: SystemTime,
}

impl ServerMetrics {
    /// The families of this server, before anything is counted. From now on panics of this process are noted, before
    /// the panic hook that is in place hears of them.
    ///
    /// # Errors
    ///
    /// [`MetricError`] for two families of one name: a mistake of this program.
    pub fn new(config: &Config, exports: Arc<Registry>) -> Result<Arc<Self>, MetricError> {
        let workers = usize::from(config.workers.get());
        let registry = Metrics::with_limits(MetricLimits {
            max_series_per_family: config.metrics.max_series_per_family,
            // A block for each worker, and some for the threads that work for them.
            threads: workers + 4,
        });
        routes::watch_panics();
        let http = HttpMetrics::register(&registry, exports, &config.metrics)?;
        let sources = Arc::new(Sources::new(workers));
        let slow = Arc::new(Slow::default());
        families::register(&registry, &sources, &slow)?;
        Ok(Arc::new(Self {
            logins: identity::LoginCounters::register(&registry)?,
            http: Arc::new(http),
            users: registry.counter(USER_REQUESTS)?,
            max_users: config.metrics.max_series_per_family,
            created: SystemTime::now(),
            registry,
            sources,
            slow,
            rates: core_form::Rates::default(),
        }))
    }

    /// What is asked at a scrape.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Counts what `service` answers on a listener, on one worker.
    pub fn measured<S>(&self, setting: &str, service: S) -> Measured<S> {
        Measured::new(&self.http, listener_label(setting), service)
    }

    /// Counts an answer that the HTTP engine gave without asking the chain.
    pub fn refused(&self, status: StatusCode) {
        self.http.count_refusal(status);
    }

    /// A gate that counts the requests of each user.
    pub fn user_requests(&self) -> UserRequests {
        UserRequests::new(self.users.clone(), self.max_users, self.sources.workers)
    }

    /// Counts the answers of `authenticator`.
    pub fn authenticator(&self, authenticator: Arc<dyn Authenticator>) -> Arc<dyn Authenticator> {
        Arc::new(self.logins.counting(authenticator))
    }

    /// Bytes that bulk loads have received; 0 for a server without them.
    fn loaded_bytes(&self) -> u64 {
        let selection = Selection {
            names: vec!["bulk_load_received_bytes_total".to_owned()],
            ..Selection::default()
        };
        let loaded = compat::sum(&self.registry.select(&selection), &selection.names[0]);
        u64::try_from(loaded).unwrap_or(0)
    }

    /// Takes note of a worker's runtime; called once on each, inside it.
    pub fn worker_started(&self) {
        self.registry.enlist_thread();
        self.sources.add_runtime(Handle::current().metrics());
    }

    /// The listeners are bound.
    pub fn serves(&self, handle: &ServerHandle) {
        self.sources.set_listeners(handle.clone());
    }
}

/// The label of a listener by the setting that opened it.
pub(crate) fn listener_label(setting: &str) -> &'static str {
    match setting {
        "http.port" => "http",
        "http.securePort" => "https",
        "operationsApi.network.port" => "operations",
        "operationsApi.network.securePort" => "operations_secure",
        "operationsApi.network.domainSocket" => "operations_socket",
        "mqtt.network.port" => "mqtt",
        "mqtt.network.securePort" => "mqtts",
        _ => "other",
    }
}
