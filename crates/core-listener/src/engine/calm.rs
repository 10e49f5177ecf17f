//! Counts what passes on an HTTP/2 connection, and ends it when the peer resets too many streams.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::frames::{self, Flood, Frame, Frames};
use super::sniff::PREFACE;
use crate::stats::Counters;

/// How long a peer that was sent GOAWAY may go on sending before the connection is dropped. Closing with
/// unread input would reset the connection, and the peer might never read why.
const LINGER: Duration = Duration::from_millis(500);

/// See the module.
pub(crate) struct Http2Watch {
    inbound: Frames,
    outbound: Frames,
    last_stream: u32,
    flood: Flood,
    farewell: Option<Farewell>,
}

/// GOAWAY with ENHANCE_YOUR_CALM, then the end.
struct Farewell {
    frame: [u8; 17],
    sent: usize,
    ends: Pin<Box<Sleep>>,
}

impl Http2Watch {
    pub(crate) fn new(max_cancelled_streams: u32) -> Self {
        Self {
            inbound: Frames::after(PREFACE.len()),
            outbound: Frames::after(0),
            last_stream: 0,
            flood: Flood::new(max_cancelled_streams),
            farewell: None,
        }
    }

    /// Notes bytes that were read. Whether they are a reset too many, so that the engine must not see them.
    pub(crate) fn note_read(&mut self, bytes: &[u8], counters: &Counters) -> bool {
        let Self {
            inbound,
            last_stream,
            flood,
            ..
        } = self;
        let mut exceeded = false;
        inbound.observe(bytes, |frame| match frame {
            Frame::Headers(stream) if stream > *last_stream => {
                *last_stream = stream;
                counters.http2_streams_opened.increment();
            }
            Frame::Reset(code) => {
                counters.http2_resets_by_client.increment(code);
                exceeded |= flood.is_exceeded_by_another();
            }
            Frame::Ping => counters.http2_pings_in.increment(),
            Frame::Headers(_) | Frame::GoAway(_) => {}
        });
        if exceeded {
            self.farewell = Some(Farewell {
                frame: frames::enhance_your_calm(self.last_stream),
                sent: 0,
                ends: Box::pin(sleep(LINGER)),
            });
        }
        exceeded
    }

    /// Notes bytes that were written.
    pub(crate) fn note_write(&mut self, bytes: &[u8], counters: &Counters) {
        self.outbound.observe(bytes, |frame| match frame {
            Frame::Reset(code) => counters.http2_resets_by_server.increment(code),
            Frame::GoAway(code) => counters.http2_goaways.increment(code),
            Frame::Ping => counters.http2_pings_out.increment(),
            Frame::Headers(_) => {}
        });
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.farewell.is_some()
    }

    /// While the connection is ending: how much of this write may still go out, which is the rest of a
    /// frame that has begun.
    pub(crate) fn may_write(&self, bytes: &[u8]) -> usize {
        self.outbound.rest_of_frame(bytes)
    }

    pub(crate) fn is_between_frames(&self) -> bool {
        self.outbound.is_between_frames()
    }

    /// Says farewell on `io` and discards what still comes. Ready, with the error for the engine, when
    /// that is done.
    pub(crate) fn poll_end(
        &mut self,
        io: &mut (impl AsyncRead + AsyncWrite + Unpin),
        cx: &mut Context<'_>,
        counters: &Counters,
    ) -> Poll<io::Error> {
        let aborted = || io::Error::new(io::ErrorKind::ConnectionAborted, "too many streams reset");
        let is_between_frames = self.is_between_frames();
        let Some(farewell) = &mut self.farewell else {
            return Poll::Pending;
        };
        if farewell.ends.as_mut().poll(cx).is_ready() {
            return Poll::Ready(aborted());
        }
        if !is_between_frames {
            // The write that ends the frame wakes us.
            return Poll::Pending;
        }
        while farewell.sent < farewell.frame.len() {
            match ready!(Pin::new(&mut *io).poll_write(cx, &farewell.frame[farewell.sent..])) {
                Ok(length @ 1..) => farewell.sent += length,
                Ok(0) | Err(_) => return Poll::Ready(aborted()),
            }
            if farewell.sent == farewell.frame.len() {
                counters.http2_goaways.increment(11);
            }
        }
        // TLS may hold the frame back until it is flushed; the shutdown does that too.
        if ready!(Pin::new(&mut *io).poll_shutdown(cx)).is_err() {
            return Poll::Ready(aborted());
        }
        let mut discarded = [0; 4096];
        loop {
            let mut buffer = ReadBuf::new(&mut discarded);
            let read = ready!(Pin::new(&mut *io).poll_read(cx, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                return Poll::Ready(aborted());
            }
        }
    }
}
