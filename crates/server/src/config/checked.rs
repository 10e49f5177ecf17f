//! The settings after checking: what the rest of the program sees.

mod http;
mod logging;
mod network;
mod observability;
mod tls;
mod values;

use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use self::values::{duration, list, size};
use super::file::{self, FileConfig};
use super::load::{ConfigError, expand};

pub use self::http::{Compression, Cors, Http, RateLimit, RequestLog, Times};
pub use self::logging::{ComponentLog, LogFormat, Logging, Rotation};
pub use self::network::{Mqtt, Operations};
pub use self::observability::{Health, Metrics, MetricsAuth};
pub use self::tls::{Crl, Mtls, Ocsp, Tls, TlsSource, Verification};

/// Which command starts the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `motet run`: nothing is trusted.
    Run,
    /// `motet dev`: loopback is trusted, logs go to the terminal.
    Dev,
}

/// All settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// `motet run` or `motet dev`.
    pub mode: Mode,
    /// Directory of everything persistent.
    pub root: PathBuf,
    /// Deployed applications.
    pub components_root: PathBuf,
    /// The application port.
    pub http: Http,
    /// Certificates.
    pub tls: Vec<Tls>,
    /// Client certificates on `http.securePort`.
    pub mtls: Option<Mtls>,
    /// Worker threads.
    pub workers: NonZeroU16,
    /// How the server stops.
    pub shutdown: Shutdown,
    /// The Operations API.
    pub operations: Operations,
    /// The MQTT broker.
    pub mqtt: Mqtt,
    /// Identity.
    pub authentication: Authentication,
    /// The user that the first start makes.
    pub administrator: Administrator,
    /// Logs.
    pub logging: Logging,
    /// Databases.
    pub storage: Storage,
    /// Numbers for monitoring.
    pub metrics: Metrics,
    /// What probes are told.
    pub health: Health,
    /// Events one subscriber may have waiting.
    pub max_queued_events: usize,
    /// Bytes one subscriber may have waiting.
    pub max_queued_bytes: u64,
    /// Time between keep-alive comments of an event stream.
    pub sse_keep_alive: Duration,
    /// WebSocket clients may write.
    pub web_socket_writes: bool,
    /// Origins whose pages may open a WebSocket; `None` is any.
    pub web_socket_origins: Option<Vec<String>>,
    /// Compress WebSocket messages.
    pub web_socket_compression: bool,
    /// The file the settings were read from.
    pub file: Option<PathBuf>,
    /// All settings as they would be written in a file.
    pub settings: serde_json::Value,
    /// Where the program before this one left its listening sockets, and the process that holds them.
    pub inherit: Option<(PathBuf, u32)>,
    /// No application is loaded (`HARPER_SAFE_MODE`).
    pub safe_mode: bool,
    /// What is odd but not wrong; logged at the start.
    pub warnings: Vec<String>,
}

/// `authentication`.
#[derive(Debug, Clone)]
pub struct Authentication {
    /// Loopback peers without credentials are super users.
    pub authorize_local: bool,
    /// How long a checked password is remembered.
    pub cache_ttl: Duration,
    /// Sessions by cookie.
    pub sessions: bool,
    /// Life of an operation token.
    pub operation_token: Duration,
    /// Life of a refresh token.
    pub refresh_token: Duration,
    /// How new passwords are kept.
    pub hash_function: file::HashFunction,
    /// Domains a session's cookie may be valid for.
    pub cookie_domains: Vec<String>,
    /// Life of a session; `None` is for ever.
    pub cookie_expires: Option<Duration>,
    /// Whether the cookie travels with requests from other sites.
    pub same_site: file::CookieSameSite,
    /// Failed logins before a client has to wait.
    pub failures: Failures,
}

/// `authentication.failureLimit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failures {
    /// Of one user name from one address; 0 is no limit.
    pub per_user: u32,
    /// From one address; 0 is no limit.
    pub per_address: u32,
    /// The time they are counted in.
    pub window: Duration,
}

/// The user that the first start makes.
#[derive(Clone)]
pub struct Administrator {
    /// `HDB_ADMIN_USERNAME`.
    pub username: String,
    /// `HDB_ADMIN_PASSWORD`; a random one when absent.
    pub password: Option<String>,
}

impl std::fmt::Debug for Administrator {
    /// Never prints the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Administrator")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

impl Default for Administrator {
    fn default() -> Self {
        Self {
            username: "admin".to_owned(),
            password: None,
        }
    }
}

/// `shutdown`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shutdown {
    /// Time that requests in flight get to end.
    pub grace_period: Duration,
    /// Time that the server still serves after it said that it is not ready.
    pub readiness_delay: Duration,
}

/// `storage`.
#[derive(Debug, Clone)]
pub struct Storage {
    /// Directory of database files.
    pub directory: PathBuf,
    /// Address space of one database.
    pub map_bytes: u64,
    /// Longest estimated wait of a write.
    pub max_queue_time: Duration,
    /// Records one query may look at without an index.
    pub max_scan_records: u64,
    /// Rows a condition on related records may yield.
    pub max_join_rows: u64,
}

impl Config {
    pub(super) fn check(
        mode: Mode,
        file: FileConfig,
        root: PathBuf,
        mut warnings: Vec<String>,
    ) -> Result<Self, ConfigError> {
        let under = |given: &Option<String>, default: &str| match given {
            Some(path) => expand(path, root.parent().and_then(|parent| parent.to_str())),
            None => Ok(root.join(default)),
        };
        let tls = tls::check("tls", &file.tls, &root)?;
        let http = http::check(&file.http, &root, &mut warnings)?;
        let is_any = |cors: &Cors| cors.origins.is_none();
        // A developer's machine has no users whose sessions a foreign page could use.
        if mode == Mode::Run
            && file.authentication.enable_sessions
            && http.cors.as_ref().is_some_and(is_any)
        {
            warnings.push(
                "'http.corsAccessList' is any origin and 'authentication.enableSessions' is true: pages of every site can \
                 read with a user's session where the browser sends its cookie; list the origins"
                    .to_owned(),
            );
        }
        Ok(Self {
            mode,
            components_root: under(&file.components_root, "components")?,
            http,
            mtls: tls::mtls("http.mtls", &file.http.mtls, &tls)?,
            workers: network::workers(&file.threads, &mut warnings)?,
            shutdown: Shutdown {
                grace_period: Duration::from_millis(file.shutdown.grace_period),
                readiness_delay: Duration::from_millis(file.shutdown.readiness_delay),
            },
            operations: network::operations(&file, &tls, &root)?,
            mqtt: network::mqtt(&file.mqtt, &tls)?,
            tls,
            authentication: authentication(&file.authentication)?,
            administrator: Administrator::default(),
            logging: logging::check(&file, &root)?,
            storage: Storage {
                directory: under(&file.storage.path, "database")?,
                map_bytes: size("storage.mapSize", &file.storage.map_size)?,
                max_queue_time: duration(
                    "storage.maxTransactionQueueTime",
                    &file.storage.max_transaction_queue_time,
                )?,
                max_scan_records: file.storage.max_scan_records,
                max_join_rows: file.storage.max_join_rows,
            },
            metrics: observability::metrics(&file.metrics)?,
            health: observability::health(&file.health)?,
            max_queued_events: file.realtime.max_queued_events as usize,
            max_queued_bytes: size("realtime.maxQueuedBytes", &file.realtime.max_queued_bytes)?,
            sse_keep_alive: Duration::from_millis(file.realtime.sse_keep_alive),
            web_socket_writes: file.realtime.web_socket_writes,
            web_socket_origins: file
                .realtime
                .web_socket_origins
                .as_ref()
                .map(|origins| list(Some(origins))),
            web_socket_compression: file.realtime.web_socket_compression,
            file: None,
            inherit: None,
            safe_mode: false,
            settings: serde_json::Value::Null,
            root,
            warnings,
        })
    }
}

fn authentication(section: &file::Authentication) -> Result<Authentication, ConfigError> {
    let expires = section.cookie.expires.as_ref();
    Ok(Authentication {
        authorize_local: section.authorize_local,
        cache_ttl: Duration::from_millis(section.cache_ttl),
        sessions: section.enable_sessions,
        operation_token: duration(
            "authentication.operationTokenTimeout",
            &section.operation_token_timeout,
        )?,
        refresh_token: duration(
            "authentication.refreshTokenTimeout",
            &section.refresh_token_timeout,
        )?,
        hash_function: section.hash_function,
        cookie_domains: list(section.cookie.domains.as_ref()),
        cookie_expires: expires
            .map(|expires| duration("authentication.cookie.expires", expires))
            .transpose()?,
        same_site: section.cookie.same_site,
        failures: Failures {
            per_user: section.failure_limit.per_user,
            per_address: section.failure_limit.per_address,
            window: Duration::from_millis(section.failure_limit.window),
        },
    })
}
