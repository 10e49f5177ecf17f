//! `authentication`.

use serde::{Deserialize, Serialize};

use super::{ComponentLogging, DurationSetting, OneOrMany};

/// How a password is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HashFunction {
    /// Salted SHA-256.
    Sha256,
    /// Argon2id.
    Argon2id,
}

section! {
    /// `authentication`.
    Authentication {
        /// Loopback peers without credentials are super users.
        authorize_local: bool = false,
        /// Milliseconds a checked password is remembered.
        #[serde(rename = "cacheTTL")]
        cache_ttl: u64 = 30_000,
        /// Sessions by cookie.
        enable_sessions: bool = true,
        /// Life of an operation token; a number is seconds.
        operation_token_timeout: DurationSetting = DurationSetting::Text("1d".to_owned()),
        /// Life of a refresh token; a number is seconds.
        refresh_token_timeout: DurationSetting = DurationSetting::Text("30d".to_owned()),
        /// How new passwords are kept.
        hash_function: HashFunction = HashFunction::Sha256,
        /// The cookie of a session.
        cookie: Cookie = Cookie::default(),
        /// Log of its own.
        logging: Option<ComponentLogging> = None,
    }
}

section! {
    /// `authentication.cookie`.
    Cookie {
        /// Domains a cookie may be valid for.
        domains: Option<OneOrMany> = None,
        /// Life of a session; a number is seconds. Absent is the life of the browser's session.
        expires: Option<DurationSetting> = None,
    }
}
