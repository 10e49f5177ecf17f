//! `threads`, `operationsApi` and `mqtt`, checked.

use std::num::{NonZeroU16, NonZeroU32};
use std::path::{Path, PathBuf};
use std::time::Duration;

use core_listener::ListenAddress;

use super::http::{Cors, Times, cors};
use super::tls::{self, Mtls, Tls};
use super::values::{duration, limit, ports, show, size};
use crate::config::file::{self, FileConfig, PortSetting, Threads};
use crate::config::load::ConfigError;

/// `operationsApi`.
#[derive(Debug, Clone)]
pub struct Operations {
    /// Plaintext port.
    pub port: Option<ListenAddress>,
    /// TLS port.
    pub secure_port: Option<ListenAddress>,
    /// Unix socket.
    pub domain_socket: Option<PathBuf>,
    /// Offer HTTP/2 on the TLS port.
    pub http2: bool,
    /// Allowed origins.
    pub cors: Option<Cors>,
    /// Time limits of a connection.
    pub times: Times,
    /// Certificates of the TLS port; those of `tls` when absent.
    pub tls: Option<Vec<Tls>>,
    /// Client certificates on the TLS port.
    pub mtls: Option<Mtls>,
}

/// `mqtt`.
#[derive(Debug, Clone)]
pub struct Mqtt {
    /// Plaintext port.
    pub port: Option<ListenAddress>,
    /// TLS port.
    pub secure_port: Option<ListenAddress>,
    /// Client certificates on the TLS port.
    pub mtls: Option<Mtls>,
    /// Accept `mqtt` on the HTTP ports.
    pub web_socket: bool,
    /// Refuse clients without credentials.
    pub require_authentication: bool,
    /// Topics that match no exported resource are topics of a plain broker.
    pub free_topics: bool,
    /// Largest packet.
    pub max_packet_bytes: NonZeroU32,
    /// Seconds the session of a 3.1.1 client is kept.
    pub session_expiry_s: u32,
    /// Seconds a 5.0 client can ask for at most.
    pub max_session_expiry_s: u32,
}

pub(super) fn operations(
    file: &FileConfig,
    tls: &[Tls],
    root: &Path,
) -> Result<Operations, ConfigError> {
    let network = &file.operations_api.network;
    let key = "operationsApi.network";
    let (port, secure_port) = ports(key, &network.port, &network.secure_port)?;
    let own_tls = match &file.operations_api.tls {
        None => None,
        Some(entries) => Some(tls::check("operationsApi.tls", entries, root)?),
    };
    let mtls = match &network.mtls {
        Some(own) => tls::mtls(
            &format!("{key}.mtls"),
            own,
            own_tls.as_deref().unwrap_or(tls),
        )?,
        None => tls::mtls("http.mtls", &file.http.mtls, tls)?,
    };
    let http = &file.http;
    let or = |own: Option<u64>, default| Duration::from_millis(own.unwrap_or(default));
    Ok(Operations {
        port,
        secure_port,
        domain_socket: domain_socket(network.domain_socket.as_ref(), root)?,
        http2: network.http2,
        cors: cors(
            network.cors,
            network.cors_access_list.as_ref(),
            &http.cors_access_control_allow_headers,
        ),
        times: Times {
            request: or(network.timeout, http.timeout),
            headers: or(network.headers_timeout, http.headers_timeout),
            keep_alive: or(network.keep_alive_timeout, http.keep_alive_timeout),
            queue: limit(
                network
                    .request_queue_limit
                    .unwrap_or(http.request_queue_limit),
            ),
        },
        tls: own_tls,
        mtls,
    })
}

fn domain_socket(
    setting: Option<&PortSetting>,
    root: &Path,
) -> Result<Option<PathBuf>, ConfigError> {
    match setting {
        None => Ok(Some(root.join("operations-server"))),
        Some(PortSetting::Switch(false)) => Ok(None),
        Some(PortSetting::Text(path)) if !path.is_empty() => Ok(Some(PathBuf::from(path))),
        Some(other) => {
            let key = "operationsApi.network.domainSocket";
            Err(ConfigError::wrong(key, show(other), "a path or false"))
        }
    }
}

pub(super) fn mqtt(mqtt: &file::Mqtt, tls: &[Tls]) -> Result<Mqtt, ConfigError> {
    let network = &mqtt.network;
    let (port, secure_port) = ports("mqtt.network", &network.port, &network.secure_port)?;
    let bytes = size("mqtt.maxPacketSize", &mqtt.max_packet_size)?;
    let max_packet_bytes = u32::try_from(bytes)
        .ok()
        .filter(|bytes| (64..=268_435_460).contains(bytes))
        .and_then(NonZeroU32::new)
        .ok_or_else(|| {
            let expected = "64 to 268435460 bytes (MQTT's own limit)";
            ConfigError::wrong("mqtt.maxPacketSize", bytes, expected)
        })?;
    Ok(Mqtt {
        port,
        secure_port,
        mtls: tls::mtls("mqtt.network.mtls", &network.mtls, tls)?,
        web_socket: mqtt.web_socket,
        require_authentication: mqtt.require_authentication,
        free_topics: mqtt.free_topics,
        max_packet_bytes,
        session_expiry_s: seconds("mqtt.sessionExpiry", &mqtt.session_expiry)?,
        max_session_expiry_s: match &mqtt.max_session_expiry {
            None => u32::MAX,
            Some(expiry) => seconds("mqtt.maxSessionExpiry", expiry)?,
        },
    })
}

/// Whole seconds; more than MQTT can say is for ever.
fn seconds(key: &str, setting: &file::DurationSetting) -> Result<u32, ConfigError> {
    let duration = duration(key, setting)?;
    Ok(u32::try_from(duration.as_secs()).unwrap_or(u32::MAX))
}

pub(super) fn workers(
    threads: &Threads,
    warnings: &mut Vec<String>,
) -> Result<NonZeroU16, ConfigError> {
    let count = match threads {
        Threads::Count(count) => Some(*count),
        Threads::Section(section) => {
            unused_thread_settings(section, warnings);
            section.count
        }
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

fn unused_thread_settings(section: &file::ThreadsSection, warnings: &mut Vec<String>) {
    let given = [
        ("maxHeapMemory", section.max_heap_memory.is_some()),
        ("debug", section.debug.is_some()),
        ("preload", section.preload.is_some()),
        ("preloadRequire", section.preload_require.is_some()),
    ];
    for (name, _) in given.iter().filter(|(_, given)| *given) {
        warnings.push(format!(
            "'threads.{name}' is accepted and has no effect: it is for a JavaScript engine"
        ));
    }
}
