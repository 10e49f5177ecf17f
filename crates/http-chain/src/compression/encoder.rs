//! One open encoder, fed and emptied synchronously.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use async_compression::Level;
use async_compression::tokio::write::{BrotliEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder};
use bytes::Bytes;
use tokio::io::AsyncWrite;

use super::LARGE_BYTES;
use crate::coding::ContentCoding;

/// Compresses into memory. The encoders of `async-compression` write to anything asynchronous; writing
/// to a vector never waits, which turns them into plain functions.
pub(super) struct Encoder(Kind);

enum Kind {
    /// Boxed: its state is far larger than the others.
    Br(Box<BrotliEncoder<Vec<u8>>>),
    Zstd(ZstdEncoder<Vec<u8>>),
    Gzip(GzipEncoder<Vec<u8>>),
    Deflate(ZlibEncoder<Vec<u8>>),
}

impl Encoder {
    /// Opens an encoder for a body of `length` bytes, `None` for a stream. `level` is brought into the range
    /// of the coding.
    pub(super) fn new(coding: ContentCoding, level: Option<u8>, length: Option<u64>) -> Self {
        let level = level.map_or_else(|| fast_level(coding, length), i32::from);
        let (lowest, highest) = match coding {
            ContentCoding::Br => (0, 11),
            ContentCoding::Zstd => (1, 22),
            ContentCoding::Gzip | ContentCoding::Deflate => (0, 9),
        };
        let level = Level::Precise(level.clamp(lowest, highest));
        let sink = Vec::new();
        Self(match coding {
            ContentCoding::Br => Kind::Br(Box::new(BrotliEncoder::with_quality(sink, level))),
            ContentCoding::Zstd => Kind::Zstd(ZstdEncoder::with_quality(sink, level)),
            ContentCoding::Gzip => Kind::Gzip(GzipEncoder::with_quality(sink, level)),
            ContentCoding::Deflate => Kind::Deflate(ZlibEncoder::with_quality(sink, level)),
        })
    }

    /// Takes in all of `input`. What comes out is ready whenever the encoder thinks fit.
    pub(super) fn write(&mut self, mut input: &[u8]) -> io::Result<()> {
        while !input.is_empty() {
            let written = at_once(|cx| self.writer().poll_write(cx, input))?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            input = &input[written..];
        }
        Ok(())
    }

    /// Makes all input so far readable for the other end.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        at_once(|cx| self.writer().poll_flush(cx))
    }

    /// Ends the encoding. Nothing may be written afterwards.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        at_once(|cx| self.writer().poll_shutdown(cx))
    }

    /// Bytes that are ready.
    pub(super) fn ready_bytes(&self) -> usize {
        match &self.0 {
            Kind::Br(encoder) => encoder.get_ref().len(),
            Kind::Zstd(encoder) => encoder.get_ref().len(),
            Kind::Gzip(encoder) => encoder.get_ref().len(),
            Kind::Deflate(encoder) => encoder.get_ref().len(),
        }
    }

    /// Moves out what is ready.
    pub(super) fn take(&mut self) -> Bytes {
        let ready = match &mut self.0 {
            Kind::Br(encoder) => encoder.get_mut(),
            Kind::Zstd(encoder) => encoder.get_mut(),
            Kind::Gzip(encoder) => encoder.get_mut(),
            Kind::Deflate(encoder) => encoder.get_mut(),
        };
        std::mem::take(ready).into()
    }

    fn writer(&mut self) -> Pin<&mut (dyn AsyncWrite + Unpin)> {
        Pin::new(match &mut self.0 {
            Kind::Br(encoder) => &mut **encoder,
            Kind::Zstd(encoder) => encoder,
            Kind::Gzip(encoder) => encoder,
            Kind::Deflate(encoder) => encoder,
        })
    }
}

/// Levels by measurement: fast enough for answers made on the fly. A stream of query results gets brotli 2,
/// which it usually repays with the similarity of its rows.
fn fast_level(coding: ContentCoding, length: Option<u64>) -> i32 {
    match coding {
        ContentCoding::Br if length.is_some_and(|length| length <= LARGE_BYTES) => 1,
        ContentCoding::Br => 2,
        ContentCoding::Zstd => 1,
        ContentCoding::Gzip | ContentCoding::Deflate => 2,
    }
}

/// Runs one step that has nothing to wait for.
fn at_once<T>(step: impl FnOnce(&mut Context<'_>) -> Poll<io::Result<T>>) -> io::Result<T> {
    match step(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::Error::other(
            "the encoder waits although its sink is memory",
        )),
    }
}
