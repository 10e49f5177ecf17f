//! The limit on request bodies.

use std::ops::ControlFlow;

use crate::exchange::Exchange;
use crate::request::Request;
use crate::response::{Response, body_too_large};
use crate::stage::Gate;

/// Answers 413 to a request whose announced body is over the limit, before anything of it is read (and
/// so before `100 Continue`), and ends a body without announced length as soon as it passes the limit.
///
/// Place: at the edge, before every handler that reads a body.
///
/// The default is 10,000,000 bytes (`http.maxRequestBodySize`).
#[derive(Debug, Clone, Copy)]
pub struct BodyLimit {
    limit_bytes: u64,
}

impl Default for BodyLimit {
    fn default() -> Self {
        Self {
            limit_bytes: 10_000_000,
        }
    }
}

impl BodyLimit {
    /// Allows bodies of at most `limit_bytes`.
    pub fn new(limit_bytes: u64) -> Self {
        Self { limit_bytes }
    }
}

impl Gate for BodyLimit {
    fn enter(&self, _exchange: &Exchange, request: &mut Request) -> ControlFlow<Response> {
        if request
            .body()
            .known_length()
            .is_some_and(|length| length > self.limit_bytes)
        {
            return ControlFlow::Break(body_too_large(self.limit_bytes));
        }
        request.map_body(|body| body.limit(self.limit_bytes));
        ControlFlow::Continue(())
    }
}
