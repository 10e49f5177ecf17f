//! A body that is compressed while it is sent.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame};

use super::encoder::Encoder;
use crate::body::{Body, BodyError};
use crate::coding::ContentCoding;

/// Output is handed on in pieces of about this size.
const PIECE_BYTES: usize = 16 * 1024;

/// After this much input a piece is handed on in any case, so that one poll takes about a millisecond
/// and the other connections of the worker get their turn.
const INPUT_BUDGET_BYTES: usize = 64 * 1024;

/// A place among the encoders that may be open at the same time; given back when dropped.
pub(super) struct OpenEncoder(Arc<AtomicUsize>);

impl OpenEncoder {
    pub(super) fn try_new(open: &Arc<AtomicUsize>, limit: usize) -> Option<Self> {
        let place = Self(Arc::clone(open));
        let open_before = open.fetch_add(1, Ordering::Relaxed);
        (open_before < limit).then_some(place)
    }
}

impl Drop for OpenEncoder {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Compresses the frames of a body and keeps its trailers.
///
/// When the source pauses, what it gave so far is flushed: the first rows of a slow query are not held
/// back until the encoder's window is full.
pub(super) struct EncodedBody {
    source: Body,
    encoder: Encoder,
    /// Input that was received and not yet encoded.
    unread: Bytes,
    /// Whether the encoder holds input that the other end cannot read yet.
    is_unflushed: bool,
    trailers: Option<HeaderMap>,
    state: State,
    _place: OpenEncoder,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    /// The encoding is complete; its last bytes and the trailers may still have to go out.
    Finished,
    /// Failed; the error was reported.
    Failed,
}

impl EncodedBody {
    pub(super) fn new(
        source: Body,
        coding: ContentCoding,
        level: Option<u8>,
        place: OpenEncoder,
    ) -> Self {
        Self {
            encoder: Encoder::new(coding, level, source.known_length()),
            source,
            unread: Bytes::new(),
            is_unflushed: false,
            trailers: None,
            state: State::Reading,
            _place: place,
        }
    }

    /// Reads and encodes until a piece is ready, the source pauses or the source ends.
    fn poll_encode(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        let mut budget = INPUT_BUDGET_BYTES;
        loop {
            while !self.unread.is_empty() {
                let piece = self.unread.split_to(self.unread.len().min(budget));
                self.encoder.write(&piece).map_err(encoding_failed)?;
                self.is_unflushed = true;
                budget -= piece.len();
                if self.encoder.ready_bytes() >= PIECE_BYTES {
                    return Poll::Ready(Ok(()));
                }
                if budget == 0 {
                    return Poll::Ready(self.flush());
                }
            }
            match Pin::new(&mut self.source).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => self.take_in(frame),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(None) => {
                    self.encoder.finish().map_err(encoding_failed)?;
                    self.state = State::Finished;
                    return Poll::Ready(Ok(()));
                }
                Poll::Pending if self.is_unflushed => return Poll::Ready(self.flush()),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn take_in(&mut self, frame: Frame<Bytes>) {
        match frame.into_data() {
            Ok(data) => self.unread = data,
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    self.trailers.get_or_insert_default().extend(trailers);
                }
            }
        }
    }

    fn flush(&mut self) -> Result<(), BodyError> {
        self.is_unflushed = false;
        self.encoder.flush().map_err(encoding_failed)
    }
}

fn encoding_failed(error: io::Error) -> BodyError {
    BodyError::Read(error.into())
}

impl http_body::Body for EncodedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        loop {
            if this.encoder.ready_bytes() > 0 && this.state != State::Failed {
                return Poll::Ready(Some(Ok(Frame::data(this.encoder.take()))));
            }
            match this.state {
                State::Reading => match this.poll_encode(cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => {
                        this.state = State::Failed;
                        return Poll::Ready(Some(Err(error)));
                    }
                    Poll::Pending => return Poll::Pending,
                },
                State::Finished => {
                    return Poll::Ready(
                        this.trailers
                            .take()
                            .map(|trailers| Ok(Frame::trailers(trailers))),
                    );
                }
                State::Failed => return Poll::Ready(None),
            }
        }
    }
}
