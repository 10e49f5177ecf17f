//! The byte stream: reading and writing without one waiting for the other, and closing so that the last packet
//! arrives.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use base::Io;
use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::codec::Outbox;

/// First and largest read. A connection that reads little keeps little: 10,000 idle ones hold 20 MiB.
const READ_AT_LEAST: usize = 2 * 1024;
const READ_AT_MOST: usize = 64 * 1024;

/// A stream with its read buffer.
pub(super) struct Socket<I> {
    io: I,
    pub(super) inbound: BytesMut,
    read_size: usize,
    /// Bytes were written and not flushed yet.
    unflushed: bool,
}

/// What polling the socket brought about.
#[derive(Debug)]
pub(super) struct Progress {
    /// Bytes read; `Some(0)` is the end of the stream.
    pub(super) read: Option<usize>,
    /// Bytes written.
    pub(super) written: usize,
}

impl<I: Io> Socket<I> {
    pub(super) fn new(io: I) -> Self {
        Self {
            io,
            inbound: BytesMut::new(),
            read_size: READ_AT_LEAST,
            unflushed: false,
        }
    }

    /// Writes what it can, flushes once all is written, and reads if `may_read`. Ready when either moved bytes.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        outbox: &mut Outbox,
        may_read: bool,
    ) -> Poll<io::Result<Progress>> {
        let written = self.write(cx, outbox)?;
        let read = match may_read {
            true => self.read(cx)?,
            false => None,
        };
        match (written, read) {
            (0, None) => Poll::Pending,
            _ => Poll::Ready(Ok(Progress { read, written })),
        }
    }

    fn write(&mut self, cx: &mut Context<'_>, outbox: &mut Outbox) -> io::Result<usize> {
        let mut written = 0;
        while !outbox.is_empty() {
            match pin!(self.io.write_buf(outbox)).poll(cx)? {
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(count) => written += count,
                Poll::Pending => return Ok(written),
            }
            self.unflushed = true;
        }
        if self.unflushed && Pin::new(&mut self.io).poll_flush(cx)?.is_ready() {
            self.unflushed = false;
        }
        Ok(written)
    }

    fn read(&mut self, cx: &mut Context<'_>) -> io::Result<Option<usize>> {
        self.inbound.reserve(self.read_size);
        let Poll::Ready(count) = pin!(self.io.read_buf(&mut self.inbound)).poll(cx)? else {
            return Ok(None);
        };
        // A full read means more is coming: take more of it next time.
        self.read_size = match count >= self.read_size {
            true => (self.read_size * 2).min(READ_AT_MOST),
            false => READ_AT_LEAST.max(self.read_size / 2),
        };
        Ok(Some(count))
    }

    /// Gives back the memory of a read buffer that has nothing in it and grew for one large packet.
    pub(super) fn trim(&mut self) {
        if self.inbound.is_empty() && self.inbound.capacity() > READ_AT_MOST {
            self.inbound = BytesMut::new();
        }
    }

    /// Writes the rest and closes the write half, within `limit`.
    pub(super) async fn close(&mut self, outbox: &mut Outbox, limit: Duration) {
        let close = async {
            self.io.write_all_buf(outbox).await?;
            self.io.shutdown().await
        };
        // The peer may be gone or not reading: there is nobody to tell.
        let _ = tokio::time::timeout(limit, close).await;
    }

    /// Reads and forgets until the peer closes, within `limit`: closing while bytes are unread makes TCP discard
    /// the packet that says why.
    pub(super) async fn linger(&mut self, limit: Duration) {
        let drain = async {
            let mut sink = [0; 1024];
            // A peer that keeps sending is not waited for.
            for _ in 0..256 {
                match self.io.read(&mut sink).await {
                    Ok(1..) => {}
                    _ => return,
                }
            }
        };
        let _ = tokio::time::timeout(limit, drain).await;
    }
}
