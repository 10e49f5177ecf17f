//! `threads`, `shutdown`, `operationsApi` and `mqtt`.

use serde::{Deserialize, Serialize};

use super::{
    ComponentLogging, DurationSetting, MtlsSection, OneOrMany, PortSetting, SizeSetting,
    Switchable, TlsEntries,
};

/// `threads: 4`, or `threads: { count: 4 }`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Threads {
    /// The bare number.
    Count(u16),
    /// The section.
    Section(ThreadsSection),
}

/// Workers as `"0-3"` or `[0, 3]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ThreadRange {
    /// `first-last`.
    Text(String),
    /// First and last.
    Pair([u16; 2]),
}

section! {
    /// `threads`.
    #[derive(Eq)]
    ThreadsSection {
        /// Worker threads; absent means one for each processor but one, and at least two.
        count: Option<u16> = None,
        /// Accepted and without effect, as are the next three: they are of a JavaScript engine.
        max_heap_memory: Option<u64> = None,
        /// See `max_heap_memory`.
        debug: Option<serde_json::Value> = None,
        /// See `max_heap_memory`.
        preload: Option<OneOrMany> = None,
        /// See `max_heap_memory`.
        preload_require: Option<OneOrMany> = None,
    }
}

section! {
    /// `shutdown`.
    #[derive(Eq)]
    Shutdown {
        /// Milliseconds requests in flight get to end.
        grace_period: u64 = 10_000,
        /// Milliseconds the server still serves after it said that it is not ready.
        readiness_delay: u64 = 0,
    }
}

section! {
    /// `operationsApi`.
    OperationsApi {
        /// Its listeners.
        network: OperationsNetwork = OperationsNetwork::default(),
        /// Certificates of its TLS port; absent as `tls`.
        tls: Option<TlsEntries> = None,
        /// What `system_information` may look at.
        sys_info: SysInfo = SysInfo::default(),
    }
}

section! {
    /// `operationsApi.sysInfo`.
    #[derive(Eq)]
    SysInfo {
        /// Network interfaces.
        network: bool = false,
        /// Disks.
        disk: bool = false,
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
        /// Milliseconds for a request body; absent as `http`.
        timeout: Option<u64> = None,
        /// Milliseconds for a request head; absent as `http`.
        headers_timeout: Option<u64> = None,
        /// Milliseconds an idle connection is kept; absent as `http`.
        keep_alive_timeout: Option<u64> = None,
        /// As `http.requestQueueLimit`; absent as `http`.
        request_queue_limit: Option<u64> = None,
        /// Client certificates on the TLS port; absent as `http`.
        mtls: Option<Switchable<MtlsSection>> = None,
        /// Offer HTTP/2 by ALPN on the TLS port.
        http2: bool = false,
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
        /// Topics that match no exported resource are those of a plain broker.
        free_topics: bool = false,
        /// Largest packet in bytes.
        max_packet_size: SizeSetting = SizeSetting::Text("100M".to_owned()),
        /// How long the session of a 3.1.1 client is kept after its connection; a number is seconds.
        session_expiry: DurationSetting = DurationSetting::Text("7d".to_owned()),
        /// Longest that a 5.0 client can ask for; a number is seconds. Absent is for ever.
        max_session_expiry: Option<DurationSetting> = None,
        /// Log of its own.
        logging: Option<ComponentLogging> = None,
    }
}

section! {
    /// `mqtt.network`.
    MqttNetwork {
        /// Plaintext port.
        port: Option<PortSetting> = Some(PortSetting::Number(1883)),
        /// TLS port.
        secure_port: Option<PortSetting> = Some(PortSetting::Number(8883)),
        /// Client certificates on the TLS port.
        mtls: Switchable<MtlsSection> = Switchable::Switch(false),
    }
}
