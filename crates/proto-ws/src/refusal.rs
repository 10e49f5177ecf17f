//! Requests that do not become a WebSocket, and the HTTP responses that say so (RFC 9457, `rest.md` §10).

use http::{HeaderValue, StatusCode, header};
use http_chain::Response;
use resource::{Error, ErrorKind, Map, Value, json};

use crate::handshake::{Form, HandshakeError, VERSION};
use crate::origin::ForeignOrigin;

/// Why there is no `101`.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    detail: String,
}

impl Refusal {
    /// The response for a request of the path `instance` that asked in this form.
    pub(crate) fn into_response(self, instance: &str, form: Form) -> Response {
        let title = self.status.canonical_reason().unwrap_or("Error");
        let code = self.status.as_u16();
        let problem = Map::from_iter([
            (
                "type",
                Value::from(format!("https://httpstatuses.com/{code}")),
            ),
            ("title", Value::from(title)),
            ("status", Value::Int(i64::from(code))),
            ("detail", Value::from(self.detail)),
            ("instance", Value::from(instance)),
        ]);
        let body = json::to_vec(&Value::Map(problem));
        let response = Response::with_body(self.status, body).with_header(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if self.status != StatusCode::UPGRADE_REQUIRED {
            return response;
        }
        // RFC 6455 §4.4 and RFC 9110 §15.5.22.
        let response = response.with_header(
            header::SEC_WEBSOCKET_VERSION,
            HeaderValue::from_static(VERSION),
        );
        if form == Form::Connect {
            // RFC 9113 §8.2.2: HTTP/2 has no fields about the connection.
            return response;
        }
        response
            .with_header(header::UPGRADE, HeaderValue::from_static("websocket"))
            .with_header(header::CONNECTION, HeaderValue::from_static("Upgrade"))
    }
}

impl From<Error> for Refusal {
    /// The text of an internal error goes to the log.
    fn from(error: Error) -> Self {
        let status =
            StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let detail = match error.kind() {
            ErrorKind::Internal => {
                tracing::error!(target: "ws", %error, "subscription failed");
                "Internal server error"
            }
            _ => error.message(),
        };
        Self {
            status,
            detail: detail.to_owned(),
        }
    }
}

impl From<HandshakeError> for Refusal {
    fn from(error: HandshakeError) -> Self {
        let status = match error {
            HandshakeError::Version => StatusCode::UPGRADE_REQUIRED,
            HandshakeError::Key
            | HandshakeError::Protocols
            | HandshakeError::Extensions(_)
            | HandshakeError::Body => StatusCode::BAD_REQUEST,
        };
        Self {
            status,
            detail: error.to_string(),
        }
    }
}

impl From<ForeignOrigin> for Refusal {
    fn from(error: ForeignOrigin) -> Self {
        Self {
            status: StatusCode::FORBIDDEN,
            detail: error.to_string(),
        }
    }
}
