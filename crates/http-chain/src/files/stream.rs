//! The body of a file that is read as the client takes it.

use std::fs::File;
use std::io::{self, Read as _};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::task::JoinHandle;

use crate::body::BodyError;

/// Bytes read at a time, and so held for each slow client.
pub(super) const READ_BYTES: u64 = 64 * 1024;

/// `remaining` bytes of a file from its current position on. Each piece is read on a blocking thread.
///
/// A file that becomes shorter meanwhile ends in an error, so that the client sees a broken transfer and
/// not a short file.
pub(super) struct FileBody {
    state: State,
    remaining: u64,
}

enum State {
    Idle(File),
    Reading(JoinHandle<io::Result<(File, Bytes)>>),
    Done,
}

impl FileBody {
    pub(super) fn new(file: File, remaining: u64) -> Self {
        Self {
            state: State::Idle(file),
            remaining,
        }
    }
}

impl http_body::Body for FileBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        loop {
            match std::mem::replace(&mut this.state, State::Done) {
                State::Idle(_) if this.remaining == 0 => return Poll::Ready(None),
                State::Idle(file) => {
                    let length = this.remaining.min(READ_BYTES);
                    this.state =
                        State::Reading(tokio::task::spawn_blocking(move || read(file, length)));
                }
                State::Reading(mut reading) => {
                    let Poll::Ready(joined) = Pin::new(&mut reading).poll(cx) else {
                        this.state = State::Reading(reading);
                        return Poll::Pending;
                    };
                    let read = joined.unwrap_or_else(|error| Err(io::Error::other(error)));
                    return Poll::Ready(Some(match read {
                        Ok((file, bytes)) => {
                            this.remaining -= bytes.len() as u64;
                            this.state = State::Idle(file);
                            Ok(Frame::data(bytes))
                        }
                        Err(error) => Err(BodyError::Read(error.into())),
                    }));
                }
                State::Done => return Poll::Ready(None),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}

/// Reads up to `length` bytes, and at least one.
fn read(file: File, length: u64) -> io::Result<(File, Bytes)> {
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    let mut part = file.take(length);
    part.read_to_end(&mut bytes)?;
    if bytes.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the file became shorter",
        ));
    }
    Ok((part.into_inner(), bytes.into()))
}
