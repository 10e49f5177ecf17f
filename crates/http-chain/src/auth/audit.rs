//! The log of authentications (`auth.md` §11): one JSON object a line, with the target `auth-event`.

use resource::Caller;
use resource::identity::Credentials;

use crate::exchange::Exchange;
use crate::request::Request;

/// Which authentications are written (`logging.auditAuthEvents`). Default: none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AuditEvents {
    /// Failures, as errors.
    pub failed: bool,
    /// Successes.
    pub successful: bool,
}

impl AuditEvents {
    pub(super) fn record(
        self,
        exchange: &Exchange,
        request: &Request,
        credentials: &Credentials,
        answer: &Result<Caller, resource::Error>,
    ) {
        match answer {
            Ok(caller) if self.successful => {
                let name = caller.username().map(|name| &**name);
                let event = event(exchange, request, credentials, name, "success");
                tracing::info!(target: "auth-event", "{event}");
            }
            Err(_) if self.failed => {
                let name = match credentials {
                    Credentials::Password { username, .. } => Some(username.as_str()),
                    Credentials::Certificate { common_name } => Some(common_name.as_str()),
                    _ => None,
                };
                let event = event(exchange, request, credentials, name, "failure");
                tracing::error!(target: "auth-event", "{event}");
            }
            _ => {}
        }
    }
}

fn event(
    exchange: &Exchange,
    request: &Request,
    credentials: &Credentials,
    username: Option<&str>,
    status: &str,
) -> serde_json::Value {
    let strategy = match credentials {
        Credentials::Password { .. } => "Basic",
        Credentials::Bearer(_) => "Bearer",
        Credentials::Certificate { .. } => "mTLS",
        Credentials::Session(_) => "cookie",
        Credentials::LocalTrust => "local",
        _ => "other",
    };
    let mut event = serde_json::json!({
        "username": username,
        "status": status,
        "type": "authentication",
        "originating_ip": request.ip().map(|ip| ip.to_string()),
        "request_method": exchange.method().as_str(),
        "path": exchange.target().path(),
        "auth_strategy": strategy,
    });
    for name in ["referer", "origin"] {
        if let Some(value) = request.header(name) {
            event[name] = value.into();
        }
    }
    event
}
