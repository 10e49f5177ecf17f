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

/// `threads: 4`, or `threads: { count: 4 }`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Threads {
    /// The bare number.
    Count(u16),
    /// The section.
    Section(ThreadsSection),
}

/// `http.mtls`: off, on with the defaults, or on with these settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Mtls {
    /// The bare switch.
    Switch(bool),
    /// The section.
    Section(MtlsSection),
}

/// Which user a client certificate stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum MtlsUser {
    /// `null`: none.
    Nobody(()),
    /// `CN` or `Common Name` for that of the certificate, or the name of a user.
    Name(String),
}

/// `tls` as one section, or as a list of sections of which the server name chooses one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TlsEntries {
    /// One certificate.
    One(Tls),
    /// Several.
    Many(Vec<Tls>),
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
        tls: TlsEntries = TlsEntries::One(Tls::default()),
        /// Worker threads.
        threads: Threads = Threads::Section(ThreadsSection::default()),
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
    }
}

section! {
    /// `http`.
    Http {
        /// Plaintext port.
        port: Option<PortSetting> = Some(PortSetting::Number(9926)),
        /// TLS port.
        secure_port: Option<PortSetting> = None,
        /// Client certificates on the TLS port.
        mtls: Mtls = Mtls::Switch(false),
        /// Offer HTTP/2 by ALPN on the TLS port.
        http2: bool = false,
        /// Answer cross-origin requests.
        cors: bool = true,
        /// Allowed origins; absent or `*` is any.
        cors_access_list: Option<OneOrMany> = None,
        /// Value of `Access-Control-Allow-Headers`.
        cors_access_control_allow_headers: String = "Accept, Content-Type, Authorization".to_owned(),
        /// Smallest body that is compressed, in bytes; 0 turns compression off.
        compression_threshold: u64 = 1200,
        /// Milliseconds for a whole request body.
        timeout: u64 = 120_000,
        /// Milliseconds for a request head.
        headers_timeout: u64 = 60_000,
        /// Milliseconds an idle connection is kept.
        keep_alive_timeout: u64 = 30_000,
        /// Milliseconds for a TLS handshake.
        tls_handshake_timeout: u64 = 10_000,
        /// Bytes of a request head.
        max_header_size: u32 = 16_394,
        /// Bytes of a request body.
        max_request_body_size: SizeSetting = SizeSetting::Bytes(10_000_000),
        /// Connections at one time over all listeners; absent is no limit.
        max_connections: Option<u32> = None,
    }
}

section! {
    /// `tls`.
    Tls {
        /// Certificate chain in PEM: a path, or the text itself; `<rootPath>/keys/certificate.pem` when absent.
        certificate: Option<String> = None,
        /// Private key in PEM; `<rootPath>/keys/privateKey.pem` when absent.
        private_key: Option<String> = None,
        /// Authority in PEM; `<rootPath>/keys/ca.pem` when absent.
        certificate_authority: Option<String> = None,
        /// Server names that get this certificate; those in the certificate when absent.
        #[serde(alias = "hosts", alias = "hostname", alias = "hostnames")]
        host: Option<OneOrMany> = None,
    }
}

section! {
    /// `http.mtls` as a section.
    MtlsSection {
        /// Whether a handshake without a client certificate fails.
        required: bool = false,
        /// The user behind a certificate.
        user: MtlsUser = MtlsUser::Name("CN".to_owned()),
        /// Authorities in PEM that may sign client certificates; those of `tls` when absent.
        certificate_authority: Option<String> = None,
    }
}

section! {
    /// `threads`.
    #[derive(Eq)]
    ThreadsSection {
        /// Worker threads; absent means one for each processor but one, and at least two.
        count: Option<u16> = None,
    }
}

section! {
    /// `operationsApi`.
    OperationsApi {
        /// Its listeners.
        network: OperationsNetwork = OperationsNetwork::default(),
    }
}

section! {
    /// `operationsApi.network`.
    OperationsNetwork {
        /// Plaintext port.
        port: Option<PortSetting> = Some(PortSetting::Number(9925)),
        /// TLS port.
        secure_port: Option<PortSetting> = None,
        /// Owner-only Unix socket whose peers are super users; `<rootPath>/operations-server` when absent, `false` is off.
        domain_socket: Option<PortSetting> = None,
        /// Answer cross-origin requests.
        cors: bool = true,
        /// Allowed origins; absent or `*` is any.
        cors_access_list: Option<OneOrMany> = Some(OneOrMany::Many(vec![Some("*".to_owned())])),
    }
}

section! {
    /// `mqtt`.
    Mqtt {
        /// Its listeners.
        network: MqttNetwork = MqttNetwork::default(),
        /// Accept the sub-protocol `mqtt` on the HTTP ports.
        web_socket: bool = true,
        /// Refuse clients without credentials.
        require_authentication: bool = true,
        /// Accept topics that match no exported resource. Not built yet: `true` stops the start.
        free_topics: bool = false,
        /// Largest packet in bytes.
        max_packet_size: SizeSetting = SizeSetting::Text("100M".to_owned()),
    }
}

section! {
    /// `mqtt.network`.
    MqttNetwork {
        /// Plaintext port.
        port: Option<PortSetting> = Some(PortSetting::Number(1883)),
        /// TLS port.
        secure_port: Option<PortSetting> = Some(PortSetting::Number(8883)),
    }
}

section! {
    /// `authentication`.
    Authentication {
        /// Loopback peers without credentials are super users; absent means only under `motet dev`.
        authorize_local: Option<bool> = None,
        /// Milliseconds a checked password is remembered.
        #[serde(rename = "cacheTTL")]
        cache_ttl: u64 = 30_000,
    }
}

section! {
    /// `logging`.
    Logging {
        /// `trace`, `debug`, `info`, `warn`, `error`, `fatal` or `notify`; absent means `warn`, and `info` under `motet dev`.
        level: Option<String> = None,
        /// Write a file.
        file: bool = true,
        /// Directory of log files; `<rootPath>/log` when absent.
        root: Option<String> = None,
        /// The file; `<root>/hdb.log` when absent.
        path: Option<String> = None,
        /// Also write to standard output; absent means only under `motet dev`.
        std_streams: Option<bool> = None,
        /// Keep the change log; a table can decide otherwise with `@table(audit:)`.
        audit_log: bool = true,
        /// How far back subscriptions can resume; a number is seconds.
        audit_retention: DurationSetting = DurationSetting::Text("3d".to_owned()),
        /// One line a request.
        requests: bool = false,
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
