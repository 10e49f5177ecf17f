//! Counters, one set for each listener of each worker, so that no two threads write the same cache line.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base::WorkerId;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Written by one worker, read by anyone. The alignment keeps two workers off one cache line, and
        /// off the pair that adjacent-line prefetch moves together.
        #[derive(Debug, Default)]
        #[repr(align(128))]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)*
        }

        /// What one worker counted on one listener since the start. See
        /// [`ServerHandle::stats`](crate::ServerHandle::stats).
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct ListenerStats {
            /// Name of the setting that opened the listener.
            pub listener: Arc<str>,
            /// The worker.
            pub worker: WorkerId,
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            pub(crate) fn snapshot(&self, listener: Arc<str>, worker: WorkerId) -> ListenerStats {
                ListenerStats { listener, worker, $($name: self.$name.read(),)* }
            }
        }
    };
}

counters! {
    /// Connections accepted.
    accepted,
    /// Connections open now, upgraded ones included.
    active,
    /// Failed calls of `accept`, for example because the process has no free file descriptor.
    accept_errors,
    /// Connections that had to wait because of the connection limit.
    limit_waits,
    /// TLS handshakes completed.
    tls_handshakes,
    /// Those of them that resumed an earlier session.
    tls_resumed,
    /// TLS handshakes that failed.
    tls_failures,
    /// TLS handshakes that took too long.
    handshake_timeouts,
    /// HTTP requests whose head was complete.
    requests,
    /// Connections closed because a request head took too long.
    header_timeouts,
    /// Connections closed because no request came.
    idle_timeouts,
    /// Requests whose body took too long.
    request_timeouts,
    /// Connections dropped because the peer stopped reading.
    write_timeouts,
    /// HTTP/2 connections dropped because the peer cancelled too many requests.
    reset_floods,
    /// Connections that became another protocol.
    upgrades,
    /// Panics caught in services, raw handlers and upgraded connections.
    panics,
}

/// A number that its own worker changes.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn decrement(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
