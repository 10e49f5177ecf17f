//! The time a response may take.

use std::time::Duration;

use http::StatusCode;

use crate::chain::Next;
use crate::request::Request;
use crate::response::Response;
use crate::stage::{BoxFuture, Wrap};

/// Answers 503 `handler timed out` when the head of the response is not there in time. The future of
/// the handler is dropped, so handlers must be safe to cancel. A body that streams afterwards is not
/// covered.
///
/// Place: inside [`InFlightLimit`](super::InFlightLimit), around the handlers it shall cover. Needs a
/// Tokio runtime with time.
#[derive(Debug, Clone, Copy)]
pub struct HandlerTimeout {
    limit: Duration,
}

impl HandlerTimeout {
    /// Allows `limit` until the head of the response.
    pub fn new(limit: Duration) -> Self {
        Self { limit }
    }
}

impl Wrap for HandlerTimeout {
    fn wrap<'a>(&'a self, request: Request, next: Next<'a>) -> BoxFuture<'a, Response> {
        Box::pin(async move {
            match tokio::time::timeout(self.limit, next.run(request)).await {
                Ok(response) => response,
                Err(_elapsed) => {
                    Response::text(StatusCode::SERVICE_UNAVAILABLE, "handler timed out")
                }
            }
        })
    }
}
