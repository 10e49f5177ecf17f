//! Trailer fields (RFC 9110, section 6.5) in both directions.
//!
//! A request's trailers are the last frame of its body: [`Body::collect_with_trailers`]. A response's are
//! sent on HTTP/2 and on chunked HTTP/1.1 to clients that say `TE: trailers`; an engine drops them where the
//! protocol has no place for them.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue};
use http_body::{Frame, SizeHint};

use crate::body::{Body, BodyError};
use crate::response::Response;

/// Fields that frame, route or authenticate a message, or say how to read it: a recipient that merged them
/// from a trailer could be misled (RFC 9110, section 6.5.1).
const FORBIDDEN: [HeaderName; 20] = [
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::CONNECTION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::EXPECT,
    header::HOST,
    header::LOCATION,
    header::MAX_FORWARDS,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::RANGE,
    header::SET_COOKIE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::WWW_AUTHENTICATE,
];

/// A field that may not be sent as a trailer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} cannot be a trailer field")]
pub struct ForbiddenTrailer(HeaderName);

/// Whether a field may be a trailer.
pub(crate) fn check(name: &HeaderName) -> Result<(), ForbiddenTrailer> {
    match FORBIDDEN.contains(name) {
        true => Err(ForbiddenTrailer(name.clone())),
        false => Ok(()),
    }
}

impl Response {
    /// Sends `trailers` after the body and announces them in `Trailer`. The body is then sent without
    /// `Content-Length`, since HTTP/1.1 has trailers behind chunks only.
    ///
    /// ```
    /// use http::{HeaderMap, HeaderName, HeaderValue};
    /// use http_chain::Response;
    ///
    /// let mut response = Response::from("rows\n");
    /// let count = (HeaderName::from_static("row-count"), HeaderValue::from_static("1"));
    /// response.set_trailers(HeaderMap::from_iter([count]))?;
    /// assert_eq!(response.headers()["trailer"], "row-count");
    /// # Ok::<(), http_chain::trailers::ForbiddenTrailer>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ForbiddenTrailer`] names the first field that may not be one; the response is then unchanged.
    pub fn set_trailers(&mut self, trailers: HeaderMap) -> Result<(), ForbiddenTrailer> {
        trailers.keys().try_for_each(check)?;
        let names: Vec<&str> = trailers.keys().map(HeaderName::as_str).collect();
        // Names are tokens, and a list of tokens is a valid field value.
        if let Ok(names) = HeaderValue::try_from(names.join(", ")) {
            self.headers_mut().insert(header::TRAILER, names);
        }
        self.headers_mut().remove(header::CONTENT_LENGTH);
        let body = self.take_body();
        self.set_body(body.with_trailers(trailers));
        Ok(())
    }
}

impl Body {
    /// The same body with these trailers behind it, merged with those it has. Its length is unknown from
    /// then on, so that an HTTP/1.1 engine sends chunks.
    #[must_use]
    pub fn with_trailers(self, trailers: HeaderMap) -> Self {
        Self::new(Trailed {
            inner: self,
            trailers: Some(trailers),
        })
    }
}

/// A body followed by trailers.
struct Trailed {
    inner: Body,
    trailers: Option<HeaderMap>,
}

impl http_body::Body for Trailed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let frame = match ready!(Pin::new(&mut this.inner).poll_frame(cx)) {
            Some(Ok(frame)) => frame.into_trailers().map_err(Ok),
            Some(Err(error)) => Err(Err(error)),
            None => Ok(HeaderMap::new()),
        };
        Poll::Ready(match frame {
            Err(data_or_error) => Some(data_or_error),
            Ok(own) => this.trailers.take().map(|mut trailers| {
                trailers.extend(own);
                Ok(Frame::trailers(trailers))
            }),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = SizeHint::new();
        hint.set_lower(self.inner.size_hint().lower());
        hint
    }
}
