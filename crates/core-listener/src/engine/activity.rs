//! What a connection is doing, as far as time-outs are concerned.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::task::Waker;

use futures_util::task::AtomicWaker;

/// Facts noted by the bytes and the requests of one connection, read by its watchdog.
///
/// ```text
///             first byte                head complete               response written
///   Silent ───────────────▶  Head  ───────────────▶  Busy  ───────────────────────▶  Silent
///   idle time-out            header time-out         body and write time-outs
/// ```
///
/// HTTP/2 has no `Head`: frames arrive at any time, and hyper bounds the size of an unfinished head.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    is_http1: bool,
    in_flight: AtomicU32,
    started: AtomicU32,
    served: AtomicBool,
    head_begun: AtomicBool,
    unflushed: AtomicBool,
    write_blocked: AtomicBool,
    writes: AtomicU32,
    peer_closed: AtomicBool,
    must_close: AtomicBool,
    body_open: AtomicBool,
    unread: AtomicBool,
    driver: AtomicWaker,
}

/// See [`Activity`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// No request is in flight and no byte of the next one has arrived.
    Silent,
    /// Part of a head has arrived.
    Head,
    /// A request is in flight, or its response is not flushed.
    Busy,
}

impl Activity {
    pub(crate) fn http1() -> Self {
        Self {
            is_http1: true,
            ..Self::default()
        }
    }

    pub(crate) fn http2() -> Self {
        Self::default()
    }

    pub(crate) fn is_http1(&self) -> bool {
        self.is_http1
    }

    pub(crate) fn phase(&self) -> Phase {
        if self.in_flight.load(Relaxed) > 0 || self.unflushed.load(Relaxed) {
            Phase::Busy
        } else if self.head_begun.load(Relaxed) {
            Phase::Head
        } else {
            Phase::Silent
        }
    }

    /// Requests whose head was complete, since the connection began (wrapping). Together with the phase it
    /// shows every change, because no phase can come back without a request in between.
    pub(crate) fn started(&self) -> u32 {
        self.started.load(Relaxed)
    }

    /// Whether there has been a request.
    pub(crate) fn has_served(&self) -> bool {
        self.served.load(Relaxed)
    }

    /// While a write waits for the peer: how many writes have succeeded (wrapping).
    pub(crate) fn blocked_write(&self) -> Option<u32> {
        self.write_blocked
            .load(Relaxed)
            .then(|| self.writes.load(Relaxed))
    }

    pub(crate) fn peer_closed(&self) -> bool {
        self.peer_closed.load(Relaxed)
    }

    /// Whether a request body took too long, so that nothing can follow it.
    pub(crate) fn must_close(&self) -> bool {
        self.must_close.load(Relaxed)
    }

    pub(crate) fn set_must_close(&self) {
        self.must_close.store(true, Relaxed);
    }

    /// Whether bytes of a request body may still be read (of the only request, so HTTP/1 alone asks).
    pub(crate) fn is_body_open(&self) -> bool {
        self.body_open.load(Relaxed)
    }

    /// Whether a request body was given up before it had arrived, so that more of it may come.
    pub(crate) fn has_unread(&self) -> bool {
        self.unread.load(Relaxed)
    }

    pub(crate) fn body_opened(&self) {
        self.body_open.store(true, Relaxed);
    }

    pub(crate) fn body_closed(&self, complete: bool) {
        self.body_open.store(false, Relaxed);
        if !complete {
            self.unread.store(true, Relaxed);
        }
    }

    /// Names the task to wake when the last HTTP/2 stream ends, which happens in a task of its own.
    pub(crate) fn register_driver(&self, waker: &Waker) {
        self.driver.register(waker);
    }

    pub(crate) fn note_read(&self, bytes: usize) {
        if bytes == 0 {
            self.peer_closed.store(true, Relaxed);
        } else if self.is_http1 && self.in_flight.load(Relaxed) == 0 {
            self.head_begun.store(true, Relaxed);
        }
    }

    /// Part of a head arrived behind an earlier request, which has its answer now.
    pub(crate) fn note_head_begun(&self) {
        if self.phase() == Phase::Silent {
            self.head_begun.store(true, Relaxed);
        }
    }

    pub(crate) fn note_write(&self, done: bool) {
        self.write_blocked.store(!done, Relaxed);
        if done {
            self.writes.fetch_add(1, Relaxed);
        }
    }

    /// The HTTP engine flushes the socket only after it has written all that it had.
    pub(crate) fn note_flushed(&self) {
        self.write_blocked.store(false, Relaxed);
        if self.in_flight.load(Relaxed) == 0 {
            self.unflushed.store(false, Relaxed);
        }
    }

    /// Returns whether none was in flight before.
    pub(crate) fn request_started(&self) -> bool {
        self.started.fetch_add(1, Relaxed);
        self.served.store(true, Relaxed);
        self.head_begun.store(false, Relaxed);
        self.in_flight.fetch_add(1, Relaxed) == 0
    }

    /// Returns whether it was the last one in flight.
    pub(crate) fn request_ended(&self) -> bool {
        // HTTP/2 is told of window updates by the same flushes, so there they say nothing about responses.
        self.unflushed.store(self.is_http1, Relaxed);
        let was_last = self.in_flight.fetch_sub(1, Relaxed) == 1;
        if was_last {
            self.driver.wake();
        }
        was_last
    }
}
