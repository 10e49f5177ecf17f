//! One connection to a sub-protocol, which sees a byte stream.
//!
//! The stream is one end of a pipe in memory. The task at the other end turns bytes into binary messages and
//! back, so that pings are answered and close frames understood whatever the sub-protocol is waiting for.

use std::future::Future;

use base::{BoxedIo, Shutdown};
use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex, split};

use crate::close::Close;
use crate::link::{Ended, Link, LinkEvent};

/// Bytes that may wait in the pipe, in each direction.
const PIPE_BYTES: usize = 16 << 10;
/// Bytes of the largest message we make of what the sub-protocol writes.
const READ_BYTES: usize = 4 << 10;

/// Serves the connection until the sub-protocol ends.
pub(crate) async fn run<Fut>(mut link: Link, shutdown: Shutdown, serve: impl FnOnce(BoxedIo) -> Fut)
where
    Fut: Future<Output = ()> + Send,
{
    let (ours, theirs) = duplex(PIPE_BYTES);
    let served = serve(Box::new(theirs));
    let carried = async move {
        // The pipe is dropped here, so that the sub-protocol sees the end of its stream.
        let ended = carry(&mut link, ours, &shutdown).await;
        link.finish(ended).await;
    };
    tokio::join!(carried, served);
}

/// Carries bytes in both directions until the WebSocket ends or the sub-protocol has said all.
async fn carry(link: &mut Link, pipe: DuplexStream, shutdown: &Shutdown) -> Ended {
    let (mut from_protocol, mut to_protocol) = split(pipe);
    let mut incoming = Bytes::new();
    let mut outgoing = BytesMut::new();
    loop {
        let is_delivered = incoming.is_empty();
        let has_room = link.has_room();
        outgoing.reserve(READ_BYTES);
        let written = to_protocol.write(&incoming);
        tokio::select! {
            event = link.next(is_delivered) => match event {
                Ok(LinkEvent::Binary(bytes)) => incoming = bytes,
                Ok(LinkEvent::Drained) => {}
                Ok(LinkEvent::Text(_)) => {
                    return Close::unsupported_data("binary messages expected").into();
                }
                Err(ended) => return ended,
            },
            written = written, if !is_delivered => match written {
                Ok(count) => incoming.advance(count),
                // It does not listen any more, but may still have something to say.
                Err(_) => incoming.clear(),
            },
            read = from_protocol.read_buf(&mut outgoing), if has_room => match read {
                Ok(0) | Err(_) => return last_word(shutdown).into(),
                Ok(_) => link.send(&outgoing.split().freeze(), false),
            },
        }
    }
}

fn last_word(shutdown: &Shutdown) -> Close {
    match shutdown.is_started() {
        true => Close::going_away(),
        false => Close::normal(),
    }
}
