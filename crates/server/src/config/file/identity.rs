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

/// Whether a cookie travels with requests from other sites.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CookieSameSite {
    /// When the user follows a link.
    Lax,
    /// Never.
    Strict,
    /// Always, over TLS.
    None,
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
        hash_function: HashFunction = HashFunction::Argon2id,
        /// Failed logins before a client has to wait.
        failure_limit: FailureLimit = FailureLimit::default(),
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
        /// Life of a session; a number is seconds. Absent is for ever.
        expires: Option<DurationSetting> = None,
        /// Whether it travels with requests from other sites: `lax`, `strict` or `none`.
        same_site: CookieSameSite = CookieSameSite::Lax,
    }
}

section! {
    /// `authentication.failureLimit`.
    #[derive(Eq)]
    FailureLimit {
        /// Failures of one user name from one address; 0 is no limit.
        per_user: u32 = 10,
        /// Failures from one address; 0 is no limit.
        per_address: u32 = 50,
        /// Milliseconds they are counted in.
        window: u64 = 60_000,
    }
}
