//! The request half of a stream.

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::BodyExt as _;

use crate::body::{Body, BodyError};
use crate::request::Request;

/// Reads the body of a request piece by piece. The first read makes the engine send `100 Continue` to a client
/// that waits for it.
#[derive(Debug)]
pub struct RequestReader {
    request: Request,
    body: Option<Body>,
    trailers: Option<HeaderMap>,
}

impl RequestReader {
    pub(super) fn new(mut request: Request) -> Self {
        let body = Some(request.take_body());
        Self {
            request,
            body,
            trailers: None,
        }
    }

    /// The request without its body.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// The next bytes, as they come; never an empty piece. `None` at the end. Cancel safe: dropping the future
    /// loses nothing.
    ///
    /// # Errors
    ///
    /// [`BodyError`] if the body is malformed, too large for a limit, too slow or cut; after it, the body is at
    /// its end.
    pub async fn read(&mut self) -> Result<Option<Bytes>, BodyError> {
        while let Some(body) = &mut self.body {
            let Some(frame) = body.frame().await else {
                self.body = None;
                break;
            };
            let frame = frame.inspect_err(|_| self.body = None)?;
            match frame.into_data() {
                Ok(data) if data.is_empty() => {}
                Ok(data) => return Ok(Some(data)),
                Err(other) => self.trailers = other.into_trailers().ok(),
            }
        }
        Ok(None)
    }

    /// All bytes that are left.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read), and [`BodyError::TooLarge`] if there are more than `limit`. Then the body is at
    /// its end.
    pub async fn read_to_end(&mut self, limit: u64) -> Result<Bytes, BodyError> {
        let Some(body) = self.body.take() else {
            return Ok(Bytes::new());
        };
        let (bytes, trailers) = body.collect_with_trailers(limit).await?;
        if !trailers.is_empty() {
            self.trailers = Some(trailers);
        }
        Ok(bytes)
    }

    /// The trailer fields; reads past what is left of the body. `None` if there are none.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub async fn read_trailers(&mut self) -> Result<Option<HeaderMap>, BodyError> {
        while self.read().await?.is_some() {}
        Ok(self.trailers.take())
    }

    /// Whether the body was read to its end or closed.
    pub fn at_eof(&self) -> bool {
        use http_body::Body as _;
        self.body.as_ref().is_none_or(|body| body.is_end_stream())
    }

    /// Gives up what is left of the body. An HTTP/1 connection then closes after the response, if it was not
    /// little; an HTTP/2 stream is reset.
    pub fn close(&mut self) {
        self.body = None;
    }
}
