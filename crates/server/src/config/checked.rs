//! The settings after checking: what the rest of the program sees.

use std::num::{NonZeroU16, NonZeroU32};
use std::path::PathBuf;
use std::time::Duration;

use base::units::{parse_duration, parse_size};
use core_listener::ListenAddress;

use super::file::{
    self, DurationSetting, FileConfig, OneOrMany, PortSetting, SizeSetting, Threads,
};
use super::load::{ConfigError, expand};
use http_chain::auth::CertificateUser;
use telemetry::LogLevel;

/// Which command starts the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `motet run`: nothing is trusted.
    Run,
    /// `motet dev`: loopback is trusted, logs go to the terminal.
    Dev,
}

/// Where a certificate or key comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsSource {
    /// A file.
    File(PathBuf),
    /// PEM text in the configuration.
    Text(String),
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
    /// The Operations API.
    pub operations: Operations,
    /// The MQTT broker.
    pub mqtt: Mqtt,
    /// Loopback peers without credentials are super users.
    pub authorize_local: bool,
    /// How long a checked password is remembered.
    pub credential_cache: Duration,
    /// Logs.
    pub logging: Logging,
    /// Databases.
    pub storage: Storage,
    /// Events one subscriber may have waiting.
    pub max_queued_events: usize,
    /// Bytes one subscriber may have waiting.
    pub max_queued_bytes: u64,
    /// Time between keep-alive comments of an event stream.
    pub sse_keep_alive: Duration,
    /// WebSocket clients may write.
    pub web_socket_writes: bool,
    /// What is odd but not wrong; logged at the start.
    pub warnings: Vec<String>,
}

/// `http`.
#[derive(Debug, Clone)]
pub struct Http {
    /// Plaintext port.
    pub port: Option<ListenAddress>,
    /// TLS port.
    pub secure_port: Option<ListenAddress>,
    /// Offer HTTP/2.
    pub http2: bool,
    /// Allowed origins, if cross-origin requests are answered.
    pub cors: Option<Cors>,
    /// Smallest compressed body; `None` is off.
    pub compression_threshold: Option<u64>,
    /// Time for a whole body.
    pub request_timeout: Duration,
    /// Time for a head.
    pub headers_timeout: Duration,
    /// Time an idle connection is kept.
    pub keep_alive_timeout: Duration,
    /// Time for a TLS handshake.
    pub tls_handshake_timeout: Duration,
    /// Bytes of a head.
    pub max_header_bytes: u32,
    /// Bytes of a body.
    pub max_body_bytes: u64,
    /// Connections at one time.
    pub max_connections: Option<u32>,
}

/// Cross-origin rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    /// Allowed origins; empty is any.
    pub origins: Vec<String>,
    /// Value of `Access-Control-Allow-Headers`.
    pub allow_headers: String,
}

/// `http.mtls`, if it is on.
#[derive(Debug, Clone)]
pub struct Mtls {
    /// Whether a handshake without a client certificate fails.
    pub required: bool,
    /// The user behind a certificate.
    pub user: CertificateUser,
    /// Who may sign client certificates.
    pub authorities: Vec<TlsSource>,
}

/// `tls`, or one entry of it.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Server names that get this certificate; those in the certificate when empty.
    pub hosts: Vec<String>,
    /// Certificate chain.
    pub certificate: TlsSource,
    /// Private key.
    pub private_key: TlsSource,
    /// Authorities that may sign client certificates.
    pub authority: TlsSource,
    /// Whether both are the default files, which the first start makes.
    pub is_default: bool,
}

/// `operationsApi`.
#[derive(Debug, Clone)]
pub struct Operations {
    /// Plaintext port.
    pub port: Option<ListenAddress>,
    /// TLS port.
    pub secure_port: Option<ListenAddress>,
    /// Unix socket.
    pub domain_socket: Option<PathBuf>,
    /// Allowed origins.
    pub cors: Option<Cors>,
}

/// `mqtt`.
#[derive(Debug, Clone)]
pub struct Mqtt {
    /// Plaintext port.
    pub port: Option<ListenAddress>,
    /// TLS port.
    pub secure_port: Option<ListenAddress>,
    /// Accept `mqtt` on the HTTP ports.
    pub web_socket: bool,
    /// Refuse clients without credentials.
    pub require_authentication: bool,
    /// Largest packet.
    pub max_packet_bytes: NonZeroU32,
}

/// `logging`.
#[derive(Debug, Clone)]
pub struct Logging {
    /// Least severe level that is written.
    pub level: LogLevel,
    /// The file, if one is written.
    pub file: Option<PathBuf>,
    /// Also to standard output.
    pub std_streams: bool,
    /// Keep the change log.
    pub audit: bool,
    /// How long.
    pub audit_retention: Duration,
    /// One line a request.
    pub requests: bool,
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
}

impl Config {
    pub(super) fn check(
        mode: Mode,
        file: FileConfig,
        root: PathBuf,
        warnings: Vec<String>,
    ) -> Result<Self, ConfigError> {
        let under = |given: &Option<String>, default: &str| match given {
            Some(path) => expand(path, root.parent().and_then(|parent| parent.to_str())),
            None => Ok(root.join(default)),
        };
        if file.mqtt.free_topics {
            return Err(ConfigError::wrong(
                "mqtt.freeTopics",
                true,
                "false: free topics are not available in this build",
            ));
        }
        let tls = check_tls(&file.tls, &root)?;
        Ok(Self {
            mode,
            components_root: under(&file.components_root, "components")?,
            http: check_http(&file.http)?,
            mtls: check_mtls(&file.http.mtls, &tls),
            tls,
            workers: check_workers(&file.threads)?,
            operations: check_operations(&file, &root)?,
            mqtt: check_mqtt(&file.mqtt)?,
            authorize_local: file
                .authentication
                .authorize_local
                .unwrap_or(mode == Mode::Dev),
            credential_cache: Duration::from_millis(file.authentication.cache_ttl),
            logging: check_logging(mode, &file.logging, &root)?,
            storage: Storage {
                directory: under(&file.storage.path, "database")?,
                map_bytes: size("storage.mapSize", &file.storage.map_size)?,
                max_queue_time: duration(
                    "storage.maxTransactionQueueTime",
                    &file.storage.max_transaction_queue_time,
                )?,
            },
            max_queued_events: file.realtime.max_queued_events as usize,
            max_queued_bytes: size("realtime.maxQueuedBytes", &file.realtime.max_queued_bytes)?,
            sse_keep_alive: Duration::from_millis(file.realtime.sse_keep_alive),
            web_socket_writes: file.realtime.web_socket_writes,
            root,
            warnings,
        })
    }
}

fn check_http(http: &file::Http) -> Result<Http, ConfigError> {
    let (plain, secure) = ports("http", &http.port, &http.secure_port)?;
    Ok(Http {
        port: plain,
        secure_port: secure,
        http2: http.http2,
        cors: cors(
            http.cors,
            &http.cors_access_list,
            &http.cors_access_control_allow_headers,
        ),
        compression_threshold: (http.compression_threshold > 0)
            .then_some(http.compression_threshold),
        request_timeout: Duration::from_millis(http.timeout),
        headers_timeout: Duration::from_millis(http.headers_timeout),
        keep_alive_timeout: Duration::from_millis(http.keep_alive_timeout),
        tls_handshake_timeout: Duration::from_millis(http.tls_handshake_timeout),
        max_header_bytes: http.max_header_size,
        max_body_bytes: size("http.maxRequestBodySize", &http.max_request_body_size)?,
        max_connections: http.max_connections,
    })
}

fn check_tls(tls: &file::TlsEntries, root: &std::path::Path) -> Result<Vec<Tls>, ConfigError> {
    let entries = match tls {
        file::TlsEntries::One(one) => std::slice::from_ref(one),
        file::TlsEntries::Many(many) => many,
    };
    if entries.is_empty() {
        let expected = "a section, or a list of at least one";
        return Err(ConfigError::wrong("tls", "[]", expected));
    }
    Ok(entries.iter().map(|entry| tls_entry(entry, root)).collect())
}

fn check_mtls(mtls: &file::Mtls, tls: &[Tls]) -> Option<Mtls> {
    let default = file::MtlsSection::default();
    let section = match mtls {
        file::Mtls::Switch(false) => return None,
        file::Mtls::Switch(true) => &default,
        file::Mtls::Section(section) => section,
    };
    Some(Mtls {
        required: section.required,
        user: match &section.user {
            file::MtlsUser::Nobody(()) => CertificateUser::Nobody,
            file::MtlsUser::Name(name) if ["CN", "Common Name"].contains(&name.as_str()) => {
                CertificateUser::CommonName
            }
            file::MtlsUser::Name(name) => CertificateUser::Named(name.clone()),
        },
        authorities: match &section.certificate_authority {
            Some(text) if text.contains("-----BEGIN") => vec![TlsSource::Text(text.clone())],
            Some(path) => vec![TlsSource::File(PathBuf::from(path))],
            None => tls.iter().map(|entry| entry.authority.clone()).collect(),
        },
    })
}

fn tls_entry(tls: &file::Tls, root: &std::path::Path) -> Tls {
    let source = |given: &Option<String>, default: &str| match given {
        Some(text) if text.contains("-----BEGIN") => TlsSource::Text(text.clone()),
        Some(path) => TlsSource::File(PathBuf::from(path)),
        None => TlsSource::File(root.join("keys").join(default)),
    };
    Tls {
        hosts: match &tls.host {
            None => Vec::new(),
            Some(OneOrMany::One(text)) => {
                text.split(',').map(|host| host.trim().to_owned()).collect()
            }
            Some(OneOrMany::Many(hosts)) => hosts.iter().flatten().cloned().collect(),
        },
        certificate: source(&tls.certificate, "certificate.pem"),
        private_key: source(&tls.private_key, "privateKey.pem"),
        authority: source(&tls.certificate_authority, "ca.pem"),
        is_default: tls.certificate.is_none() && tls.private_key.is_none(),
    }
}

fn check_operations(file: &FileConfig, root: &std::path::Path) -> Result<Operations, ConfigError> {
    let network = &file.operations_api.network;
    let (port, secure_port) = ports("operationsApi.network", &network.port, &network.secure_port)?;
    let domain_socket = match &network.domain_socket {
        None => Some(root.join("operations-server")),
        Some(PortSetting::Switch(false)) => None,
        Some(PortSetting::Text(path)) if !path.is_empty() => Some(PathBuf::from(path)),
        Some(other) => {
            return Err(ConfigError::wrong(
                "operationsApi.network.domainSocket",
                show(other),
                "a path or false",
            ));
        }
    };
    let cors = cors(
        network.cors,
        &network.cors_access_list,
        &file.http.cors_access_control_allow_headers,
    );
    Ok(Operations {
        port,
        secure_port,
        domain_socket,
        cors,
    })
}

fn check_mqtt(mqtt: &file::Mqtt) -> Result<Mqtt, ConfigError> {
    let (port, secure_port) = ports(
        "mqtt.network",
        &mqtt.network.port,
        &mqtt.network.secure_port,
    )?;
    let bytes = size("mqtt.maxPacketSize", &mqtt.max_packet_size)?;
    let max_packet_bytes = u32::try_from(bytes)
        .ok()
        .filter(|bytes| (64..=268_435_460).contains(bytes))
        .and_then(NonZeroU32::new)
        .ok_or_else(|| {
            ConfigError::wrong(
                "mqtt.maxPacketSize",
                bytes,
                "64 to 268435460 bytes (MQTT's own limit)",
            )
        })?;
    Ok(Mqtt {
        port,
        secure_port,
        web_socket: mqtt.web_socket,
        require_authentication: mqtt.require_authentication,
        max_packet_bytes,
    })
}

fn check_logging(
    mode: Mode,
    logging: &file::Logging,
    root: &std::path::Path,
) -> Result<Logging, ConfigError> {
    let level = match &logging.level {
        None if mode == Mode::Dev => LogLevel::Info,
        None => LogLevel::Warn,
        Some(level) => level.parse().map_err(|_| {
            let levels = LogLevel::ALL.map(LogLevel::as_str).join(", ");
            ConfigError::wrong("logging.level", level, format!("one of {levels}"))
        })?,
    };
    let directory = logging
        .root
        .as_ref()
        .map_or_else(|| root.join("log"), PathBuf::from);
    let path = logging
        .path
        .as_ref()
        .map_or_else(|| directory.join("hdb.log"), PathBuf::from);
    Ok(Logging {
        level,
        file: logging.file.then_some(path),
        std_streams: logging.std_streams.unwrap_or(mode == Mode::Dev),
        audit: logging.audit_log,
        audit_retention: duration("logging.auditRetention", &logging.audit_retention)?,
        requests: logging.requests,
    })
}

fn check_workers(threads: &Threads) -> Result<NonZeroU16, ConfigError> {
    let count = match threads {
        Threads::Count(count) => Some(*count),
        Threads::Section(section) => section.count,
    };
    let count = match count {
        // The specification's 0 serves from the main thread; one worker is the same to a client.
        Some(0) => 1,
        Some(count) if count > 1000 => {
            return Err(ConfigError::wrong("threads.count", count, "0 to 1000"));
        }
        Some(count) => count,
        None => {
            let processors = std::thread::available_parallelism().map_or(1, usize::from);
            u16::try_from(processors.saturating_sub(1).max(2))
                .unwrap_or(1000)
                .min(1000)
        }
    };
    Ok(NonZeroU16::new(count).expect("at least 1 by the arms above"))
}

/// Both ports of a section; equal ones mean TLS alone (L2).
fn ports(
    section: &str,
    plain: &Option<PortSetting>,
    secure: &Option<PortSetting>,
) -> Result<(Option<ListenAddress>, Option<ListenAddress>), ConfigError> {
    let plain = port(&format!("{section}.port"), plain)?;
    let secure = port(&format!("{section}.securePort"), secure)?;
    // Two ports "0" are two different free ports.
    let free = |address: &ListenAddress| match address {
        ListenAddress::Wildcard(port) | ListenAddress::Host(_, port) => *port == 0,
        ListenAddress::Tcp(address) => address.port() == 0,
        _ => false,
    };
    let keep = |address: &ListenAddress| free(address) || secure.as_ref() != Some(address);
    Ok((plain.filter(keep), secure))
}

fn port(key: &str, setting: &Option<PortSetting>) -> Result<Option<ListenAddress>, ConfigError> {
    let expected = "a port (0 to 65535), host:port, a socket path with a slash, or null";
    let text = match setting {
        None | Some(PortSetting::Switch(false)) => return Ok(None),
        Some(PortSetting::Switch(true)) => return Err(ConfigError::wrong(key, true, expected)),
        Some(PortSetting::Text(text)) if text.is_empty() || text == "null" => return Ok(None),
        Some(setting) => show(setting),
    };
    match text.parse() {
        Ok(address) => Ok(Some(address)),
        Err(_) => Err(ConfigError::wrong(key, text, expected)),
    }
}

fn show(setting: &PortSetting) -> String {
    match setting {
        PortSetting::Number(port) => port.to_string(),
        PortSetting::Text(text) => text.clone(),
        PortSetting::Switch(on) => on.to_string(),
    }
}

fn cors(enabled: bool, list: &Option<OneOrMany>, allow_headers: &str) -> Option<Cors> {
    let origins: Vec<String> = match list {
        None => Vec::new(),
        Some(OneOrMany::One(text)) => text
            .split(',')
            .map(|origin| origin.trim().to_owned())
            .collect(),
        Some(OneOrMany::Many(origins)) => origins.iter().flatten().cloned().collect(),
    };
    let any = origins.iter().any(|origin| origin == "*");
    enabled.then(|| Cors {
        origins: if any { Vec::new() } else { origins },
        allow_headers: allow_headers.to_owned(),
    })
}

fn duration(key: &str, setting: &DurationSetting) -> Result<Duration, ConfigError> {
    let text = match setting {
        DurationSetting::Number(number) => number.to_string(),
        DurationSetting::Text(text) => text.clone(),
    };
    parse_duration(&text, Duration::from_secs(1)).map_err(|_| {
        ConfigError::wrong(key, text, "a number and one of ms, s, m, h, d, M (30 days)")
    })
}

fn size(key: &str, setting: &SizeSetting) -> Result<u64, ConfigError> {
    match setting {
        SizeSetting::Bytes(bytes) => Ok(*bytes),
        SizeSetting::Text(text) => parse_size(text).map_err(|_| {
            ConfigError::wrong(
                key,
                text,
                "a whole number of bytes and optionally K, M, G or T",
            )
        }),
    }
}
