//! Collections as bodies: encoded batch by batch, while the client reads (`rest.md` G2, §9.3).

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use content::Sequence;
use futures_core::Stream;
use http_chain::{Body, BoxError};
use resource::{Error, ErrorKind, RecordStream};

/// How much is encoded before it is handed on, if records keep coming without a wait. More is taken when
/// one batch is larger.
const CHUNK_BYTES: usize = 64 * 1024;

/// A collection on its way out. Memory is one batch of records and their bytes; dropping it releases the
/// snapshot behind the records.
pub(crate) struct Collection {
    /// `None` once the end, or a failure, has been written.
    records: Option<RecordStream>,
    sequence: Sequence,
}

impl Collection {
    pub(crate) fn new(records: RecordStream, sequence: Sequence) -> Self {
        Self {
            records: Some(records),
            sequence,
        }
    }

    /// The body. Records that are there at once are encoded now: a small collection becomes a body of
    /// known length, and a failure before the first record is still an error of the request.
    pub(crate) async fn into_body(mut self) -> Result<Body, Error> {
        let mut first = Vec::new();
        let ended = std::future::poll_fn(|cx| Poll::Ready(self.fill(cx, &mut first))).await;
        match ended {
            Poll::Ready(Ok(())) if self.records.is_none() => Ok(Body::from(first)),
            Poll::Ready(Err(Failed { error, is_first })) if is_first => Err(error),
            Poll::Ready(Err(failed)) => {
                let end = self.end_with(&failed.error, &mut first);
                Ok(Body::from_stream(Prefixed {
                    first: Some(Bytes::from(first)),
                    rest: self,
                    broken: end.err(),
                }))
            }
            Poll::Ready(Ok(())) | Poll::Pending => Ok(Body::from_stream(Prefixed {
                first: (!first.is_empty()).then(|| Bytes::from(first)),
                rest: self,
                broken: None,
            })),
        }
    }

    /// Encodes batches until a chunk is full, the records end or have to be waited for.
    fn fill(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> Poll<Result<(), Failed>> {
        let mut is_first = true;
        while let Some(records) = &mut self.records {
            match records.as_mut().poll_next(cx) {
                Poll::Pending if out.is_empty() => return Poll::Pending,
                Poll::Pending => break,
                Poll::Ready(None) => {
                    self.records = None;
                    self.sequence.finish(out);
                }
                Poll::Ready(Some(Err(error))) => {
                    self.records = None;
                    return Poll::Ready(Err(Failed { error, is_first }));
                }
                Poll::Ready(Some(Ok(batch))) => {
                    for record in &batch {
                        if let Err(error) = self.sequence.record(record, out) {
                            self.records = None;
                            let error = Error::from(error);
                            return Poll::Ready(Err(Failed { error, is_first }));
                        }
                        is_first = false;
                    }
                    if out.len() >= CHUNK_BYTES {
                        break;
                    }
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Says inside the collection that it is not whole; breaks the body off where the format cannot.
    fn end_with(&mut self, error: &Error, out: &mut Vec<u8>) -> Result<(), BoxError> {
        if error.kind() == ErrorKind::Internal {
            tracing::error!(target: "rest", %error, "a collection broke off");
        }
        match self.sequence.fail(error, out) {
            true => Ok(()),
            false => Err("the collection could not be read to its end".into()),
        }
    }
}

/// The records ended before their end.
struct Failed {
    error: Error,
    /// Whether nothing had been encoded before.
    is_first: bool,
}

/// The rest of a collection, after what was encoded before the response began.
struct Prefixed {
    first: Option<Bytes>,
    rest: Collection,
    /// The error that follows `first`.
    broken: Option<BoxError>,
}

impl Stream for Prefixed {
    type Item = Result<Bytes, BoxError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let mut out = Vec::new();
        let filled = match self.rest.fill(cx, &mut out) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(filled) => filled,
        };
        if let Err(failed) = filled
            && let Err(broken) = self.rest.end_with(&failed.error, &mut out)
        {
            if out.is_empty() {
                return Poll::Ready(Some(Err(broken)));
            }
            self.broken = Some(broken);
        }
        Poll::Ready((!out.is_empty()).then(|| Ok(Bytes::from(out))))
    }
}
