//! The body of something seekable that is read as the client takes it.

use std::collections::VecDeque;
use std::io::{self, Read, Seek, SeekFrom};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::task::JoinHandle;

use super::range::ByteRange;
use crate::body::{Body, BodyError};

/// Bytes read at a time, and so held for each slow client.
const READ_BYTES: u64 = 64 * 1024;

/// What content is read from; reading and seeking may block.
pub(super) trait Seekable: Read + Seek + Send {}

impl<T: Read + Seek + Send> Seekable for T {}

/// A piece of a body.
#[derive(Debug)]
pub(super) enum Segment {
    Text(Bytes),
    Part(ByteRange),
}

impl Segment {
    fn length(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::Part(part) => part.length(),
        }
    }
}

/// Bytes of all `segments`. The parts of one representation do not overlap and their number is limited,
/// so the sum is no larger than its size and some text.
pub(super) fn total_length(segments: &[Segment]) -> u64 {
    segments.iter().map(Segment::length).sum()
}

/// A body of `segments` from memory.
pub(super) fn from_bytes(bytes: &Bytes, segments: Vec<Segment>) -> Body {
    if let [Segment::Part(part)] = segments[..] {
        return bytes.slice(in_memory(part)).into();
    }
    let mut joined = Vec::new();
    for segment in segments {
        match segment {
            Segment::Text(text) => joined.extend_from_slice(&text),
            Segment::Part(part) => joined.extend_from_slice(&bytes[in_memory(part)]),
        }
    }
    joined.into()
}

/// A body of `segments` of `source`: what is short is read here and now, the rest piece by piece as the
/// client takes it. Call it where blocking is allowed.
pub(super) fn from_source(
    mut source: Box<dyn Seekable>,
    segments: Vec<Segment>,
) -> io::Result<Body> {
    if total_length(&segments) > READ_BYTES {
        return Ok(Body::new(SourceBody::new(source, segments)));
    }
    let mut joined = Vec::new();
    for segment in segments {
        match segment {
            Segment::Text(text) => joined.extend_from_slice(&text),
            Segment::Part(part) => read_into(&mut joined, &mut source, part)?,
        }
    }
    Ok(joined.into())
}

/// `part` as positions in memory, where it lies as a whole.
fn in_memory(part: ByteRange) -> std::ops::Range<usize> {
    let position = |at: u64| usize::try_from(at).expect("within bytes in memory");
    position(part.start)..position(part.end)
}

/// Each piece is read on a blocking thread, and only when the one before has been taken.
///
/// A source that becomes shorter meanwhile ends in an error, so that the client sees a broken transfer and
/// not a short file. Dropping the body ends the reading after the piece under way.
struct SourceBody {
    state: State,
    segments: VecDeque<Segment>,
    remaining: u64,
}

enum State {
    Idle(Box<dyn Seekable>),
    Reading(JoinHandle<io::Result<(Box<dyn Seekable>, Bytes)>>),
    Done,
}

impl SourceBody {
    fn new(source: Box<dyn Seekable>, segments: Vec<Segment>) -> Self {
        Self {
            state: State::Idle(source),
            remaining: total_length(&segments),
            segments: segments.into(),
        }
    }

    /// Takes the next piece to read off the front part.
    fn next_piece(part: &mut ByteRange) -> ByteRange {
        let end = part.end.min(part.start + READ_BYTES.min(part.length()));
        let piece = ByteRange { end, ..*part };
        part.start = end;
        piece
    }
}

impl http_body::Body for SourceBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        loop {
            match std::mem::replace(&mut this.state, State::Done) {
                State::Idle(source) => match this.segments.front_mut() {
                    None => return Poll::Ready(None),
                    Some(Segment::Text(text)) => {
                        let text = std::mem::take(text);
                        this.segments.pop_front();
                        this.remaining -= text.len() as u64;
                        this.state = State::Idle(source);
                        return Poll::Ready(Some(Ok(Frame::data(text))));
                    }
                    Some(Segment::Part(part)) if part.start == part.end => {
                        this.segments.pop_front();
                        this.state = State::Idle(source);
                    }
                    Some(Segment::Part(part)) => {
                        let piece = Self::next_piece(part);
                        let reading = tokio::task::spawn_blocking(move || read(source, piece));
                        this.state = State::Reading(reading);
                    }
                },
                State::Reading(mut reading) => {
                    let Poll::Ready(joined) = Pin::new(&mut reading).poll(cx) else {
                        this.state = State::Reading(reading);
                        return Poll::Pending;
                    };
                    let read = joined.unwrap_or_else(|error| Err(io::Error::other(error)));
                    return Poll::Ready(Some(match read {
                        Ok((source, bytes)) => {
                            this.remaining -= bytes.len() as u64;
                            this.state = State::Idle(source);
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

fn read(mut source: Box<dyn Seekable>, part: ByteRange) -> io::Result<(Box<dyn Seekable>, Bytes)> {
    let mut bytes = Vec::new();
    read_into(&mut bytes, &mut source, part)?;
    Ok((source, bytes.into()))
}

/// Reads all of `part`, which is no longer than a piece.
fn read_into(bytes: &mut Vec<u8>, source: &mut dyn Seekable, part: ByteRange) -> io::Result<()> {
    bytes.reserve(usize::try_from(part.length()).unwrap_or_default());
    source.seek(SeekFrom::Start(part.start))?;
    let read = source.take(part.length()).read_to_end(bytes)?;
    if (read as u64) < part.length() {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the content became shorter",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn part(start: u64, end: u64) -> Segment {
        Segment::Part(ByteRange { start, end })
    }

    fn segments() -> Vec<Segment> {
        let text = |text: &'static str| Segment::Text(Bytes::from_static(text.as_bytes()));
        vec![
            text("<"),
            part(150_000, 200_000),
            text("|"),
            part(0, 140_000),
            text(">"),
        ]
    }

    #[tokio::test]
    async fn pieces_of_a_source_arrive_in_order_and_as_many_as_announced() {
        let content: Vec<u8> = (0..200_000u32).map(|at| (at % 251) as u8).collect();
        let expected = [b"<", &content[150_000..], b"|", &content[..140_000], b">"].concat();
        let body = from_source(Box::new(Cursor::new(content.clone())), segments()).unwrap();
        assert_eq!(body.known_length(), Some(190_003));
        assert_eq!(body.collect(1_000_000).await.unwrap(), expected);
        let body = from_bytes(&Bytes::from(content), segments());
        assert_eq!(body.collect(1_000_000).await.unwrap(), expected);
    }

    #[tokio::test]
    async fn a_source_that_is_too_short_breaks_the_transfer() {
        let short = || Box::new(Cursor::new(vec![0; 160_000]));
        let body = from_source(short(), segments()).unwrap();
        assert!(body.collect(1_000_000).await.is_err());
        assert!(from_source(short(), vec![part(159_000, 160_001)]).is_err());
    }
}
