//! The two profiles: defaults for a developer's machine and for production (`http-server.md` §2.10).

use super::load::ConfigError;

/// Defaults that differ from those of [`super::file::FileConfig`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Profile {
    /// Plaintext ports, loopback trusted, one worker, log on the terminal.
    Developer,
    /// TLS alone, no cross-origin requests, nobody trusted.
    Production,
}

impl Profile {
    /// Of `DEFAULTS_MODE`.
    pub(super) fn named(name: &str) -> Result<Self, ConfigError> {
        match name.to_ascii_lowercase().as_str() {
            "dev" => Ok(Self::Developer),
            "prod" => Ok(Self::Production),
            _ => Err(ConfigError::wrong("DEFAULTS_MODE", name, "dev or prod")),
        }
    }

    /// The settings, in the shape of the file.
    pub(super) fn settings(self) -> serde_json::Value {
        match self {
            Self::Developer => serde_json::json!({
                "http": { "cors": true, "corsAccessList": ["*"] },
                "authentication": { "authorizeLocal": true },
                "threads": { "count": 1 },
                "logging": { "level": "info", "stdStreams": true },
            }),
            Self::Production => serde_json::json!({
                "http": { "port": null, "securePort": 9926, "cors": false, "corsAccessList": [null] },
                "operationsApi": { "network": { "port": null, "securePort": 9925 } },
                "authentication": { "authorizeLocal": false },
                "logging": { "level": "warn", "stdStreams": false },
            }),
        }
    }
}
