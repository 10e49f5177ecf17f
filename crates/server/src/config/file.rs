//! The settings as they are written in a file, the environment or on the command line.
//!
//! Names, units and defaults are those of `spec/http-server.md` §2 and `spec/config-and-cli.md` §3, so a
//! Harper configuration works as it is. Every key that exists appears in [`FileConfig::default`]: the list of
//! known keys, the names of environment variables and `config/motet.yaml` are all derived from it.

use serde::{Deserialize, Serialize};

/// A port as written: a number, a numeric text, `host:port`, a socket path, or nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PortSetting {
    /// A port number on all addresses.
    Number(i64),
    /// `9926`, `127.0.0.1:9926`, `[::1]:9926`, or a path with a slash.
    Text(String),
    /// `false` turns the listener off; `true` means nothing.
    Switch(bool),
}

/// One or several texts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany {
    /// One text.
    One(String),
    /// Several, `null` among them meaning "any" (as Harper's template writes it).
    Many(Vec<Option<String>>),
}

/// A duration as written: a number in the unit of the setting, or a text with a unit such as `3d`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum DurationSetting {
    /// A number without a unit.
    Number(f64),
    /// A number with a unit.
    Text(String),
}

/// A size as written: bytes, or a text such as `64M`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SizeSetting {
    /// Bytes.
    Bytes(u64),
    /// A number with `K`, `M`, `G` or `T`.
    Text(String),
}

/// `false` is off, `true` is on with the defaults of the section, a section is on with its settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Switchable<T> {
    /// The bare switch.
    Switch(bool),
    /// `null`: off.
    Absent(()),
    /// The section.
    Section(T),
}

impl<T: Clone + Default> Switchable<T> {
    /// The settings, if it is on.
    pub fn section(&self) -> Option<T> {
        match self {
            Self::Switch(false) | Self::Absent(()) => None,
            Self::Switch(true) => Some(T::default()),
            Self::Section(section) => Some(section.clone()),
        }
    }
}

macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $kind:ty = $default:expr,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(default, rename_all = "camelCase")]
        pub struct $name { $($(#[$field_doc])* pub $field: $kind,)* }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }
    };
}

mod http;
mod identity;
mod logging;
mod network;
mod observability;
mod tls;

pub use self::http::{Http, HttpLogging, RateLimit, RateLimitKey, SecurityHeaders};
pub use self::identity::{Authentication, Cookie, CookieSameSite, FailureLimit, HashFunction};
pub use self::logging::{AuditAuthEvents, ComponentLogging, Logging, Rotation};
pub use self::network::{
    Mqtt, MqttNetwork, OperationsApi, OperationsNetwork, Shutdown, SysInfo, ThreadRange, Threads,
    ThreadsSection,
};
pub use self::observability::{Health, Metrics, MetricsAuth, MetricsCompat};
pub use self::tls::{
    CertificateVerification, Crl, FailureMode, MtlsSection, MtlsUser, Ocsp, Tls, TlsEntries,
    TlsVersion,
};

section! {
    /// The whole file.
    FileConfig {
        /// Directory of everything persistent. A leading `~/` is the home directory.
        root_path: String = "~/motet".to_owned(),
        /// Directory of deployed applications; `<rootPath>/components` when absent.
        components_root: Option<String> = None,
        /// The application port.
        http: Http = Http::default(),
        /// Certificates of all secure ports.
        tls: TlsEntries = TlsEntries::One(Box::default()),
        /// Worker threads.
        threads: Threads = Threads::Section(ThreadsSection::default()),
        /// How the server stops.
        shutdown: Shutdown = Shutdown::default(),
        /// The Operations API.
        operations_api: OperationsApi = OperationsApi::default(),
        /// The MQTT broker.
        mqtt: Mqtt = Mqtt::default(),
        /// Identity.
        authentication: Authentication = Authentication::default(),
        /// Logs.
        logging: Logging = Logging::default(),
        /// Databases.
        storage: Storage = Storage::default(),
        /// Live delivery.
        realtime: Realtime = Realtime::default(),
        /// Numbers for monitoring.
        metrics: Metrics = Metrics::default(),
        /// What probes are told.
        health: Health = Health::default(),
    }
}

section! {
    /// `storage`.
    Storage {
        /// Directory of database files; `<rootPath>/database` when absent.
        path: Option<String> = None,
        /// Address space for one database; falls back to smaller where the system refuses.
        map_size: SizeSetting = SizeSetting::Text("1T".to_owned()),
        /// Estimated wait in the write queue above which writes are refused with 503; a number is seconds.
        max_transaction_queue_time: DurationSetting = DurationSetting::Text("45s".to_owned()),
        /// Records one query may look at without an index before it is refused.
        max_scan_records: u64 = 10_000_000,
        /// Rows a condition on related records may yield before the query is refused.
        max_join_rows: u64 = 100_000,
        /// Log of its own.
        logging: Option<ComponentLogging> = None,
    }
}

section! {
    /// `realtime`.
    Realtime {
        /// Events one subscriber may have waiting before older states of a record are left out.
        max_queued_events: u32 = 10_000,
        /// Bytes one subscriber may have waiting.
        max_queued_bytes: SizeSetting = SizeSetting::Text("16M".to_owned()),
        /// Milliseconds between keep-alive comments of an event stream.
        sse_keep_alive: u64 = 15_000,
        /// Let WebSocket clients write with messages such as `{"type":"put","id":"1","value":{}}`.
        web_socket_writes: bool = false,
        /// Origins whose pages may open a WebSocket; absent is any, and for a session's cookie the host alone.
        web_socket_origins: Option<OneOrMany> = None,
        /// Compress WebSocket messages for clients that offer it (permessage-deflate).
        web_socket_compression: bool = true,
    }
}

impl FileConfig {
    /// The defaults with every optional section written out: where the names of all keys come from.
    pub(super) fn with_all_sections() -> Self {
        let mut all = Self {
            http: Http::with_all_sections(),
            ..Self::default()
        };
        all.tls = TlsEntries::One(Box::new(Tls::with_all_sections()));
        all.operations_api.tls = Some(all.tls.clone());
        all.operations_api.network.mtls = Some(all.http.mtls.clone());
        all.mqtt.network.mtls = all.http.mtls.clone();
        all.mqtt.logging = Some(ComponentLogging::default());
        all.authentication.logging = Some(ComponentLogging::default());
        all.storage.logging = Some(ComponentLogging::default());
        all.logging.external = Some(ComponentLogging::default());
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commented_default_file_is_the_default() {
        let text = include_str!("../../../../config/motet.yaml");
        let written: serde_json::Value = serde_saphyr::from_str(text).unwrap();
        assert_eq!(
            written,
            serde_json::to_value(FileConfig::default()).unwrap()
        );
    }
}
