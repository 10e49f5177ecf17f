//! Fields that every response gets unless a handler chose another value.

use http::HeaderValue;
use http::header::{self, HeaderName};

use crate::exchange::Exchange;
use crate::response::Response;
use crate::stage::Gate;

/// Sets fields that the response does not have, such as `Server`.
///
/// Place: at the edge.
#[derive(Debug, Clone, Default)]
pub struct DefaultFields {
    fields: Vec<(HeaderName, HeaderValue)>,
}

impl DefaultFields {
    /// Sets these.
    pub fn new(fields: impl IntoIterator<Item = (HeaderName, HeaderValue)>) -> Self {
        Self {
            fields: fields.into_iter().collect(),
        }
    }
}

impl Gate for DefaultFields {
    fn leave(&self, _exchange: &Exchange, response: &mut Response) {
        for (name, value) in &self.fields {
            response
                .headers_mut()
                .entry(name)
                .or_insert_with(|| value.clone());
        }
    }
}

/// Values of the fields that tell browsers to be careful (`http.securityHeaders`); `None` leaves one out.
#[derive(Debug, Clone)]
pub struct SecurityHeadersConfig {
    /// `Strict-Transport-Security`, sent to clients that came by HTTPS only (RFC 6797, section 7.2).
    /// Default: `max-age=31536000`.
    pub strict_transport_security: Option<HeaderValue>,
    /// `X-Content-Type-Options`. Default: `nosniff`.
    pub content_type_options: Option<HeaderValue>,
    /// `X-Frame-Options`. Default: `SAMEORIGIN`.
    pub frame_options: Option<HeaderValue>,
    /// `Referrer-Policy`. Default: `strict-origin-when-cross-origin`.
    pub referrer_policy: Option<HeaderValue>,
    /// `Content-Security-Policy`. Default: none, since only the application knows what it loads.
    pub content_security_policy: Option<HeaderValue>,
}

impl Default for SecurityHeadersConfig {
    fn default() -> Self {
        let value = |text| Some(HeaderValue::from_static(text));
        Self {
            strict_transport_security: value("max-age=31536000"),
            content_type_options: value("nosniff"),
            frame_options: value("SAMEORIGIN"),
            referrer_policy: value("strict-origin-when-cross-origin"),
            content_security_policy: None,
        }
    }
}

/// Adds the security fields that handlers did not set themselves.
///
/// Place: at the edge, so that error pages have them, too.
#[derive(Debug, Clone)]
pub struct SecurityHeaders {
    always: DefaultFields,
    secure_only: DefaultFields,
}

impl SecurityHeaders {
    /// Adds what `config` names.
    pub fn new(config: SecurityHeadersConfig) -> Self {
        let always = [
            (header::X_CONTENT_TYPE_OPTIONS, config.content_type_options),
            (header::X_FRAME_OPTIONS, config.frame_options),
            (header::REFERRER_POLICY, config.referrer_policy),
            (
                header::CONTENT_SECURITY_POLICY,
                config.content_security_policy,
            ),
        ];
        let set = |(name, value): (HeaderName, Option<HeaderValue>)| Some((name, value?));
        let transport = config
            .strict_transport_security
            .map(|value| (header::STRICT_TRANSPORT_SECURITY, value));
        Self {
            always: DefaultFields::new(always.into_iter().filter_map(set)),
            secure_only: DefaultFields::new(transport),
        }
    }
}

impl Gate for SecurityHeaders {
    fn leave(&self, exchange: &Exchange, response: &mut Response) {
        self.always.leave(exchange, response);
        if exchange.is_secure() {
            self.secure_only.leave(exchange, response);
        }
    }
}
