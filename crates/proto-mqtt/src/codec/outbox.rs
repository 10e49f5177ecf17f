//! Bytes that wait for the socket: small packets side by side, long payloads shared.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

/// Payloads up to this size are copied next to their headers: one more entry in a vectored write costs about
/// as much as copying that many bytes.
const COPY_AT_MOST: usize = 4096;

/// Capacity that an empty outbox keeps, so that idle connections hold little after a burst.
const KEEP_AT_MOST: usize = 16 * 1024;

/// Encoded packets in order. Reading it ([`Buf`]) is what the driver does; it holds no more than the session
/// puts in, which is bounded by `outbox_bytes` and one packet.
#[derive(Debug, Default)]
pub struct Outbox {
    /// In front of `tail`; never empty chunks.
    chunks: VecDeque<Bytes>,
    chunk_bytes: usize,
    tail: BytesMut,
}

impl Outbox {
    /// An empty outbox.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes waiting.
    pub fn len(&self) -> usize {
        self.chunk_bytes + self.tail.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where small packets are appended.
    pub(crate) fn tail(&mut self) -> &mut BytesMut {
        &mut self.tail
    }

    /// Moves everything out of `other`, behind what is here.
    pub(crate) fn append(&mut self, other: &mut Self) {
        for chunk in std::mem::take(&mut other.chunks) {
            self.push(&chunk);
        }
        other.chunk_bytes = 0;
        self.push(&other.tail.split().freeze());
    }

    /// Appends bytes, copying them only if they are few.
    pub(crate) fn push(&mut self, bytes: &Bytes) {
        if bytes.len() <= COPY_AT_MOST {
            self.tail.extend_from_slice(bytes);
            return;
        }
        if !self.tail.is_empty() {
            let sealed = self.tail.split().freeze();
            self.push_chunk(sealed);
        }
        self.push_chunk(bytes.clone());
    }

    fn push_chunk(&mut self, chunk: Bytes) {
        self.chunk_bytes += chunk.len();
        self.chunks.push_back(chunk);
    }
}

impl Buf for Outbox {
    fn remaining(&self) -> usize {
        self.len()
    }

    fn chunk(&self) -> &[u8] {
        self.chunks
            .front()
            .map_or(&self.tail[..], |chunk| &chunk[..])
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let tail = Some(&self.tail[..]).filter(|tail| !tail.is_empty());
        let parts = self.chunks.iter().map(|chunk| &chunk[..]).chain(tail);
        let mut used = 0;
        for (slice, part) in slices.iter_mut().zip(parts) {
            *slice = IoSlice::new(part);
            used += 1;
        }
        used
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.len(), "advanced past the end");
        while let Some(chunk) = self.chunks.front_mut() {
            if count < chunk.len() {
                chunk.advance(count);
                self.chunk_bytes -= count;
                return;
            }
            count -= chunk.len();
            self.chunk_bytes -= chunk.len();
            self.chunks.pop_front();
        }
        self.tail.advance(count);
        if self.tail.is_empty() && self.tail.capacity() > KEEP_AT_MOST {
            self.tail = BytesMut::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_in_the_order_they_went_in() {
        let mut outbox = Outbox::new();
        outbox.tail().extend_from_slice(b"head");
        outbox.push(&Bytes::from(vec![b'x'; COPY_AT_MOST + 1]));
        outbox.push(&Bytes::from_static(b"tail"));
        assert_eq!(outbox.len(), 4 + COPY_AT_MOST + 1 + 4);

        let mut slices = [IoSlice::new(&[]); 4];
        assert_eq!(outbox.chunks_vectored(&mut slices), 3);
        assert_eq!((&*slices[0], &*slices[2]), (&b"head"[..], &b"tail"[..]));

        outbox.advance(2);
        assert_eq!(outbox.chunk(), b"ad");
        outbox.advance(2 + COPY_AT_MOST + 1 + 1);
        assert_eq!((outbox.chunk(), outbox.len()), (&b"ail"[..], 3));
        outbox.advance(3);
        assert!(outbox.is_empty());
    }
}
