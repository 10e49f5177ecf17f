//! Message bodies: nothing, bytes in memory, or a stream of frames.

use std::any::Any;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use futures_util::TryStreamExt as _;
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::{BodyExt as _, StreamBody};

/// Any error, as the tower and hyper crates pass it around.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a request or response.
///
/// It implements [`http_body::Body`], so trailers travel with it, and [`Body::new`] accepts any other
/// implementation without a second box.
#[derive(Debug, Default)]
pub enum Body {
    /// No bytes.
    #[default]
    Empty,
    /// All bytes, in memory.
    Full(Bytes),
    /// Frames that arrive over time.
    Stream(Streaming),
}

/// Why a body could not be read to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// Peer: it sent more than the limit.
    #[error("body larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// Peer or network: the stream failed; the source says how.
    #[error("body could not be read")]
    Read(#[source] BoxError),
}

impl BodyError {
    /// Wraps an error of a foreign body, keeping one that already is a `BodyError`.
    pub fn from_source(source: impl Into<BoxError>) -> Self {
        match source.into().downcast::<Self>() {
            Ok(own) => *own,
            Err(foreign) => Self::Read(foreign),
        }
    }

    /// Whether the peer was too slow: some source is an [`io::Error`] of the kind `TimedOut`.
    pub fn is_timeout(&self) -> bool {
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            if error
                .downcast_ref::<io::Error>()
                .is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
            {
                return true;
            }
            source = error.source();
        }
        false
    }
}

impl Body {
    /// Takes over `body`. One that is at its end already becomes [`Body::Empty`], and a `Body` is
    /// returned unchanged.
    pub fn new<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let mut slot = Some(body);
        if let Some(own) = (&mut slot as &mut dyn Any).downcast_mut::<Option<Self>>() {
            return own.take().unwrap_or_default();
        }
        match slot {
            Some(body) if !body.is_end_stream() => Self::Stream(Streaming::new(body)),
            _ => Self::Empty,
        }
    }

    /// A body of the chunks that `stream` yields.
    ///
    /// ```
    /// use futures_util::stream;
    /// use http_chain::Body;
    ///
    /// let rows = ["[1,", "2]"].map(|row| Ok::<_, std::io::Error>(row.into()));
    /// let body = Body::from_stream(stream::iter(rows));
    /// assert_eq!(body.known_length(), None);
    /// ```
    pub fn from_stream<S, E>(stream: S) -> Self
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        Self::Stream(Streaming::new(StreamBody::new(stream.map_ok(Frame::data))))
    }

    /// The number of bytes, when it is known before reading.
    pub fn known_length(&self) -> Option<u64> {
        self.size_hint().exact()
    }

    /// The same body, which fails with [`BodyError::TooLarge`] as soon as it passes `limit` bytes.
    #[must_use]
    pub fn limit(self, limit: u64) -> Self {
        match self {
            Self::Empty => Self::Empty,
            Self::Full(bytes) if bytes.len() as u64 <= limit => Self::Full(bytes),
            inner => {
                let mut remaining = limit;
                inner.inspect(move |frame| {
                    let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                    remaining = remaining
                        .checked_sub(length)
                        .ok_or(BodyError::TooLarge { limit })?;
                    Ok(())
                })
            }
        }
    }

    /// The same body, each of whose frames `look` sees on its way. An error of `look` ends the body; what
    /// `look` owns is dropped with the body.
    #[must_use]
    pub fn inspect(
        self,
        look: impl FnMut(&Frame<Bytes>) -> Result<(), BodyError> + Send + Unpin + 'static,
    ) -> Self {
        match self {
            Self::Empty => Self::Empty,
            inner => Self::Stream(Streaming::new(Inspected { inner, look })),
        }
    }

    /// Reads everything into memory; trailers are dropped.
    ///
    /// Nothing is polled (and so no `100 Continue` is sent) when the announced length is over the
    /// limit. Dropping the future drops the body.
    ///
    /// # Errors
    ///
    /// [`BodyError::TooLarge`] if there are more than `limit` bytes, [`BodyError::Read`] if the
    /// stream fails.
    pub async fn collect(self, limit: u64) -> Result<Bytes, BodyError> {
        let (bytes, _trailers) = self.collect_with_trailers(limit).await?;
        Ok(bytes)
    }

    /// As [`collect`](Self::collect), and keeps the trailers; empty if there are none. The engine bounds
    /// their size like that of a head.
    ///
    /// # Errors
    ///
    /// As [`collect`](Self::collect).
    pub async fn collect_with_trailers(
        mut self,
        limit: u64,
    ) -> Result<(Bytes, HeaderMap), BodyError> {
        if self.size_hint().lower() > limit {
            return Err(BodyError::TooLarge { limit });
        }
        let mut first = Bytes::new();
        let mut rest = BytesMut::new();
        let mut trailers = HeaderMap::new();
        let mut length = 0u64;
        while let Some(frame) = self.frame().await {
            let data = match frame?.into_data() {
                Ok(data) => data,
                Err(other) => {
                    trailers.extend(other.into_trailers().unwrap_or_default());
                    continue;
                }
            };
            length += data.len() as u64;
            if length > limit {
                return Err(BodyError::TooLarge { limit });
            }
            // One frame, the usual case, is returned as it came.
            if first.is_empty() && rest.is_empty() {
                first = data;
                continue;
            }
            if rest.is_empty() {
                rest.extend_from_slice(&first);
            }
            rest.extend_from_slice(&data);
        }
        let bytes = if rest.is_empty() {
            first
        } else {
            rest.freeze()
        };
        Ok((bytes, trailers))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let body = self.get_mut();
        match body {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *body = Self::Empty;
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Stream(stream) => stream.inner_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Stream(stream) => stream.look(|body| body.is_end_stream()),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(stream) => stream.look(|body| body.size_hint()),
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() {
            Self::Empty
        } else {
            Self::Full(bytes)
        }
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes()).into()
    }
}

type DynBody = dyn http_body::Body<Data = Bytes, Error = BodyError> + Send;

/// A stream of frames whose type no longer matters.
///
/// The mutex is never waited for: a poll has exclusive access and goes around it. It is there because
/// it makes the body `Sync` without asking that of every stream, so that a handler may keep a
/// `&Request` across an `.await`.
pub struct Streaming(Mutex<Pin<Box<DynBody>>>);

impl Streaming {
    fn new<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self(Mutex::new(Box::pin(body.map_err(BodyError::from_source))))
    }

    fn inner_mut(&mut self) -> Pin<&mut DynBody> {
        self.0
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .as_mut()
    }

    fn look<T>(&self, read: impl FnOnce(&DynBody) -> T) -> T {
        read(
            self.0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .as_ref()
                .get_ref(),
        )
    }
}

impl fmt::Debug for Streaming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Streaming")
    }
}

/// See [`Body::inspect`].
struct Inspected<F> {
    inner: Body,
    look: F,
}

impl<F> http_body::Body for Inspected<F>
where
    F: FnMut(&Frame<Bytes>) -> Result<(), BodyError> + Unpin,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Err(error) = (this.look)(frame)
        {
            this.inner = Body::Empty;
            return Poll::Ready(Some(Err(error)));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    fn chunks(chunks: &[&'static str]) -> Body {
        let chunks: Vec<_> = chunks
            .iter()
            .map(|chunk| Ok::<_, BoxError>(Bytes::from_static(chunk.as_bytes())))
            .collect();
        Body::from_stream(stream::iter(chunks))
    }

    #[tokio::test]
    async fn collecting_joins_the_chunks() {
        assert_eq!(
            chunks(&["a", "", "b", "c"]).collect(3).await.unwrap(),
            "abc"
        );
        assert_eq!(chunks(&["abc"]).collect(3).await.unwrap(), "abc");
        assert_eq!(Body::Empty.collect(0).await.unwrap(), "");
    }

    #[tokio::test]
    async fn collecting_stops_at_the_limit() {
        for body in [
            chunks(&["ab", "cd"]),
            Body::from("abcd"),
            Body::from("abcd").limit(3),
            chunks(&["ab", "cd"]).limit(3),
        ] {
            let error = body.collect(3).await.unwrap_err();
            assert!(
                matches!(error, BodyError::TooLarge { limit: 3 }),
                "{error:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_limit_survives_a_second_wrapping() {
        let body = Body::new(http_body_util::Full::new(Bytes::from_static(b"abcd"))).limit(3);
        let error = Body::new(body).collect(100).await.unwrap_err();
        assert!(
            matches!(error, BodyError::TooLarge { limit: 3 }),
            "{error:?}"
        );
    }

    #[test]
    fn a_finished_foreign_body_is_empty() {
        assert!(matches!(
            Body::new(http_body_util::Empty::<Bytes>::new()),
            Body::Empty
        ));
        assert!(matches!(Body::new(Body::from("x")), Body::Full(_)));
    }

    #[test]
    fn a_request_can_be_shared_while_its_body_streams() {
        fn assert_sync<T: Send + Sync + Unpin>() {}
        assert_sync::<Body>();
    }
}
