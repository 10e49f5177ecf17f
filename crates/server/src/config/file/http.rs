//! `http`.

use serde::{Deserialize, Serialize};

use super::{MtlsSection, OneOrMany, PortSetting, SizeSetting, Switchable, ThreadRange};

/// By what clients are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RateLimitKey {
    /// The address; of the client behind a trusted proxy.
    Ip,
    /// The authenticated user; anonymous clients by address.
    User,
}

section! {
    /// `http`.
    Http {
        /// Plaintext port.
        port: Option<PortSetting> = Some(PortSetting::Number(9926)),
        /// TLS port.
        secure_port: Option<PortSetting> = None,
        /// Client certificates on the TLS port.
        mtls: Switchable<MtlsSection> = Switchable::Switch(false),
        /// Offer HTTP/2 by ALPN on the TLS port.
        http2: bool = false,
        /// Accept HTTP/2 with prior knowledge on the plaintext port.
        http2_prior_knowledge: bool = false,
        /// WebSocket over HTTP/2 by extended CONNECT (RFC 8441).
        http2_web_socket: bool = true,
        /// Answer cross-origin requests.
        cors: bool = true,
        /// Allowed origins; absent or `*` is any.
        cors_access_list: Option<OneOrMany> = None,
        /// Value of `Access-Control-Allow-Headers`.
        cors_access_control_allow_headers: String = "Accept, Content-Type, Authorization".to_owned(),
        /// Smallest body that is compressed, in bytes; 0 turns compression off.
        compression_threshold: u64 = 1200,
        /// Content codings in the order of preference.
        compression_encodings: Vec<String> = vec!["br".to_owned(), "gzip".to_owned()],
        /// Level of every coding; absent is a fast one for streams and a denser one for whole bodies.
        compression_level: Option<u8> = None,
        /// Compress event streams, too; some proxies then hold events back.
        compression_event_streams: bool = false,
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
        /// Milliseconds a handler may take before the answer is 503; absent is no limit.
        handler_timeout: Option<u64> = None,
        /// Milliseconds a write may wait in front of its handler (estimated) before the answer is 503; 0 is no limit.
        request_queue_limit: u64 = 20_000,
        /// Requests handled at one time on one worker before the answer is 503; absent is no limit.
        max_requests_in_flight: Option<u32> = None,
        /// Requests of one client in a time (429 above).
        rate_limit: Switchable<RateLimit> = Switchable::Switch(false),
        /// Networks (CIDR) of proxies whose `Forwarded` and `X-Forwarded-*` fields are believed.
        trusted_proxies: Vec<String> = Vec::new(),
        /// Answer with `Server-Timing`.
        server_timing: bool = true,
        /// Value of `Server`; absent is none.
        server_header: Option<String> = None,
        /// Answer with `X-Request-Id`, the number in the request log.
        request_id: bool = false,
        /// Fields that tell browsers to be careful.
        security_headers: Switchable<SecurityHeaders> = Switchable::Switch(false),
        /// The request log; absent is none.
        logging: Option<HttpLogging> = None,
        /// The workers that open the application ports, as `first-last` from 0; absent is all.
        thread_range: Option<ThreadRange> = None,
        /// Deprecated and without effect: the kernel spreads connections.
        session_affinity: Option<String> = None,
        /// Without effect: the limit of an older router.
        max_param_length: u32 = 1000,
    }
}

section! {
    /// `http.rateLimit` as a section.
    RateLimit {
        /// Requests that may come in one interval.
        requests: u32 = 100,
        /// Milliseconds of the interval.
        interval: u64 = 1000,
        /// Requests that may come at once; absent is `requests`.
        burst: Option<u32> = None,
        /// `ip` or `user`.
        by: RateLimitKey = RateLimitKey::Ip,
        /// Clients remembered at one time.
        max_clients: u32 = 100_000,
    }
}

section! {
    /// `http.securityHeaders` as a section; an absent value leaves the field out.
    SecurityHeaders {
        /// `Strict-Transport-Security`, on TLS only.
        strict_transport_security: Option<String> = Some("max-age=31536000".to_owned()),
        /// `X-Content-Type-Options`.
        content_type_options: Option<String> = Some("nosniff".to_owned()),
        /// `X-Frame-Options`.
        frame_options: Option<String> = Some("SAMEORIGIN".to_owned()),
        /// `Referrer-Policy`.
        referrer_policy: Option<String> = Some("strict-origin-when-cross-origin".to_owned()),
        /// `Content-Security-Policy`.
        content_security_policy: Option<String> = None,
    }
}

section! {
    /// `http.logging`.
    HttpLogging {
        /// `info` logs every request, `warn` those with a status of 400 and above, `error` of 500 and above; absent is
        /// the level of the main log.
        level: Option<String> = None,
        /// A file of its own.
        path: Option<String> = None,
        /// A directory of its own, for a file `http.log`.
        root: Option<String> = None,
        /// Append the duration.
        timing: bool = false,
        /// Append the request fields, secrets masked.
        headers: bool = false,
        /// Append the number of the request.
        id: bool = false,
        /// `text` or `json`.
        format: String = "text".to_owned(),
        /// Also to standard output; absent as the main log.
        std_streams: Option<bool> = None,
    }
}

impl Http {
    pub(super) fn with_all_sections() -> Self {
        Self {
            mtls: Switchable::Section(MtlsSection::with_all_sections()),
            rate_limit: Switchable::Section(RateLimit::default()),
            security_headers: Switchable::Section(SecurityHeaders::default()),
            logging: Some(HttpLogging::default()),
            ..Self::default()
        }
    }
}
