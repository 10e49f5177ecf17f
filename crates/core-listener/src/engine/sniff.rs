//! Tells HTTP/2 with prior knowledge from HTTP/1 on a plaintext port.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::listener::Connection;

/// The first bytes of an HTTP/2 connection (RFC 9113, section 3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A version, and the bytes that were read to recognise it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sniffed {
    Http1(Bytes),
    Http2(Bytes),
}

/// Reads until the version is certain: usually one read, since no HTTP/1 method begins like the preface
/// for long. `None` if the peer left, or let the time limit or the shutdown pass before it was certain.
pub(crate) async fn version(
    stream: &mut (impl AsyncRead + Unpin),
    limit: Option<Duration>,
    connection: &Connection,
) -> Option<Sniffed> {
    let expired = async {
        match limit {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        sniffed = read(stream) => sniffed.ok(),
        () = connection.shutdown.started() => None,
        () = expired => {
            connection.counters.idle_timeouts.increment();
            None
        }
    }
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Sniffed> {
    let mut read = BytesMut::with_capacity(1024);
    loop {
        if stream.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let compared = read.len().min(PREFACE.len());
        if read[..compared] != PREFACE[..compared] {
            return Ok(Sniffed::Http1(read.freeze()));
        }
        if compared == PREFACE.len() {
            return Ok(Sniffed::Http2(read.freeze()));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    async fn check(pieces: &[&[u8]]) -> io::Result<Sniffed> {
        let (mut client, mut server) = tokio::io::duplex(1);
        let write = async {
            for piece in pieces {
                client.write_all(piece).await.unwrap();
            }
            drop(client);
        };
        tokio::join!(read(&mut server), write).0
    }

    #[tokio::test]
    async fn the_preface_is_recognised_in_any_pieces() {
        assert_eq!(
            check(&[PREFACE]).await.unwrap(),
            Sniffed::Http2(PREFACE.into())
        );
        assert_eq!(
            check(&[&PREFACE[..5], &PREFACE[5..]]).await.unwrap(),
            Sniffed::Http2(PREFACE.into())
        );
    }

    #[tokio::test]
    async fn anything_else_is_http1_and_nothing_is_lost() {
        assert_eq!(
            check(&[b"G"]).await.unwrap(),
            Sniffed::Http1(b"G"[..].into())
        );
        assert_eq!(
            check(&[b"PRO"]).await.unwrap(),
            Sniffed::Http1(b"PRO"[..].into())
        );
        assert!(check(&[b"PRI"]).await.is_err());
    }
}
