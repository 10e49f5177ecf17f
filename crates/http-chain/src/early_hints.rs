//! `103 Early Hints` (RFC 8297), as far as the engine lets us.
//!
//! hyper has no way to send an informational response from a server other than the 100 it sends by itself,
//! over HTTP/1.1 nor HTTP/2. An engine that can puts an [`InformationalSink`] into the extensions of its
//! requests; with any other, [`Request::send_early_hints`] says so by a typed error, and nothing is lost but
//! the head start: the final response should name its links anyway.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use crate::request::Request;

/// Writes informational responses of one request, in front of the final one.
pub trait InformationalSink: Send + Sync {
    /// Queues one. Its status is 1xx and not 101.
    ///
    /// # Errors
    ///
    /// [`EarlyHintsError::TooLate`] when the head of the final response is written.
    fn send(&self, head: Response<()>) -> Result<(), EarlyHintsError>;
}

/// The [`InformationalSink`] of a request, as its extension.
#[derive(Clone)]
pub struct Informational(pub Arc<dyn InformationalSink>);

/// Why no early hints were sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EarlyHintsError {
    /// The engine of this connection cannot send informational responses.
    #[error("the HTTP engine cannot send 103 Early Hints")]
    Unsupported,
    /// The client speaks HTTP/1.0, which has no informational responses (RFC 9110, section 15.2).
    #[error("HTTP/1.0 clients cannot read 103 Early Hints")]
    Http10,
    /// The head of the final response is written.
    #[error("the final response has begun")]
    TooLate,
}

impl Request {
    /// Sends a 103 with this `Link` and further fields.
    ///
    /// # Errors
    ///
    /// [`EarlyHintsError`]; none of them is a reason not to answer the request.
    ///
    /// ```
    /// use http_chain::Request;
    /// use http_chain::early_hints::EarlyHintsError;
    ///
    /// let request = Request::new(http::Method::GET, "/").unwrap();
    /// let link = http::HeaderValue::from_static("</main.css>; rel=preload; as=style");
    /// let sent = request.send_early_hints(link, http::HeaderMap::new());
    /// assert_eq!(sent, Err(EarlyHintsError::Unsupported));
    /// ```
    pub fn send_early_hints(
        &self,
        link: HeaderValue,
        headers: HeaderMap,
    ) -> Result<(), EarlyHintsError> {
        if self.version() < http::Version::HTTP_11 {
            return Err(EarlyHintsError::Http10);
        }
        let Some(Informational(sink)) = self.extensions().get() else {
            return Err(EarlyHintsError::Unsupported);
        };
        let mut hints = Response::new(());
        *hints.status_mut() = StatusCode::EARLY_HINTS;
        *hints.headers_mut() = headers;
        hints.headers_mut().append(header::LINK, link);
        sink.send(hints)
    }
}
