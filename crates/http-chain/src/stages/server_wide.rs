//! Requests that are about the server and not about a resource, and expectations.

use std::ops::ControlFlow;

use http::{HeaderValue, Method, StatusCode, Version, header};

use crate::exchange::Exchange;
use crate::request::Request;
use crate::response::Response;
use crate::stage::Gate;

/// Answers `OPTIONS *` with 204 and the methods that this server knows at all (RFC 9110, section 9.3.7).
///
/// Place: at the edge, inside [`HostCheck`](super::HostCheck).
#[derive(Debug, Clone)]
pub struct ServerOptions {
    allow: HeaderValue,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self::new(HeaderValue::from_static(
            "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT",
        ))
    }
}

impl ServerOptions {
    /// Answers with this `Allow`.
    pub fn new(allow: HeaderValue) -> Self {
        Self { allow }
    }
}

impl Gate for ServerOptions {
    fn enter(&self, _exchange: &Exchange, request: &mut Request) -> ControlFlow<Response> {
        if *request.method() != Method::OPTIONS || request.uri().path() != "*" {
            return ControlFlow::Continue(());
        }
        let response = Response::new(StatusCode::NO_CONTENT);
        ControlFlow::Break(response.with_header(header::ALLOW, self.allow.clone()))
    }
}

/// Answers 417 to an `Expect` that is not `100-continue` alone (RFC 9110, section 10.1.1). The 100 itself is
/// sent by the engine when a handler first reads the body, and so after every check on the way there.
///
/// `core-listener` checks this before the chain; the stage is for other engines.
///
/// Place: at the edge, inside the request log.
#[derive(Debug, Clone, Copy, Default)]
pub struct ExpectCheck;

impl Gate for ExpectCheck {
    fn enter(&self, _exchange: &Exchange, request: &mut Request) -> ControlFlow<Response> {
        let mut expectations = request.headers().get_all(header::EXPECT).iter();
        let is_met =
            expectations.all(|expected| expected.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        // HTTP/1.0 knows no expectations: the field is ignored.
        match is_met || request.version() < Version::HTTP_11 {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(Response::text(
                StatusCode::EXPECTATION_FAILED,
                "Unknown expectation\n",
            )),
        }
    }
}
