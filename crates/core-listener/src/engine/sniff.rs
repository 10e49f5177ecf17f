//! Looks at the first bytes of a connection to see what it speaks.

use std::future::Future;
use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::listener::Connection;
use crate::stats::CloseReason;
use crate::stream::Prefixed;

/// The first bytes of an HTTP/2 connection (RFC 9113, section 3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How long a connection that has said nothing may stay when a shutdown begins: its first bytes may have
/// arrived in the kernel and not here.
const DRAIN_NEW: Duration = Duration::from_millis(100);

/// Whether the connection speaks HTTP/2, with prior knowledge, and not HTTP/1. Nothing is taken from the
/// stream. `None` if the peer left, or let the limit or the shutdown pass before it was certain.
///
/// Usually one read tells, since no HTTP/1 method begins like the preface for long.
pub(crate) async fn is_http2(
    stream: &mut Prefixed<impl AsyncRead + Unpin>,
    limit: Option<Duration>,
    connection: &Connection,
) -> Option<bool> {
    let (sniffed, read) = in_time(read_version(stream), limit, connection).await?;
    stream.unread(read);
    Some(sniffed)
}

/// The first byte, which stays in the stream. `None` as above.
pub(crate) async fn first_byte(
    stream: &mut Prefixed<impl AsyncRead + Unpin>,
    limit: Option<Duration>,
    connection: &Connection,
) -> Option<u8> {
    let mut read = BytesMut::with_capacity(1024);
    in_time(stream.read_buf(&mut read), limit, connection).await?;
    let first = read.first().copied();
    stream.unread(read.freeze());
    first
}

async fn in_time<T>(
    read: impl Future<Output = io::Result<T>>,
    limit: Option<Duration>,
    connection: &Connection,
) -> Option<T> {
    let mut read = std::pin::pin!(read);
    let expired = async {
        match limit {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        read = &mut read => return read.ok(),
        () = connection.shutdown.started() => {}
        () = expired => {
            connection.counters.idle_timeouts.increment();
            connection.ending.note(CloseReason::IdleTimeout);
            return None;
        }
    }
    tokio::time::timeout(DRAIN_NEW, read).await.ok()?.ok()
}

/// Reads until the version is certain; also returns what was read.
async fn read_version(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<(bool, Bytes)> {
    let mut read = BytesMut::with_capacity(1024);
    loop {
        if stream.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let compared = read.len().min(PREFACE.len());
        if read[..compared] != PREFACE[..compared] {
            return Ok((false, read.freeze()));
        }
        if compared == PREFACE.len() {
            return Ok((true, read.freeze()));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    async fn check(pieces: &[&[u8]]) -> io::Result<(bool, Bytes)> {
        let (mut client, mut server) = tokio::io::duplex(1);
        let write = async {
            for piece in pieces {
                client.write_all(piece).await.unwrap();
            }
            drop(client);
        };
        tokio::join!(read_version(&mut server), write).0
    }

    #[tokio::test]
    async fn the_preface_is_recognised_in_any_pieces() {
        assert_eq!(check(&[PREFACE]).await.unwrap(), (true, PREFACE.into()));
        assert_eq!(
            check(&[&PREFACE[..5], &PREFACE[5..]]).await.unwrap(),
            (true, PREFACE.into())
        );
    }

    #[tokio::test]
    async fn anything_else_is_http1_and_nothing_is_lost() {
        assert_eq!(check(&[b"G"]).await.unwrap(), (false, b"G"[..].into()));
        assert_eq!(check(&[b"PRO"]).await.unwrap(), (false, b"PRO"[..].into()));
        assert!(check(&[b"PRI"]).await.is_err());
    }
}
