//! Counters, one set for each listener of each worker, so that no two threads write the same cache line.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use base::WorkerId;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Written by one worker, read by anyone. The alignment keeps two workers off one cache line, and
        /// off the pair that adjacent-line prefetch moves together.
        #[derive(Debug, Default)]
        #[repr(align(128))]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)*
            pub(crate) connection_duration: Histogram<12>,
            pub(crate) tls_handshake_duration: Histogram<14>,
            pub(crate) http2_resets_by_client: Codes,
            pub(crate) http2_resets_by_server: Codes,
            pub(crate) http2_goaways: Codes,
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
            /// How long the connections lasted that have ended.
            pub connection_duration: DurationHistogram,
            /// How long completed TLS handshakes took.
            pub tls_handshake_duration: DurationHistogram,
            /// RST_STREAM frames received, by error code.
            pub http2_resets_by_client: ErrorCodeCounts,
            /// RST_STREAM frames sent, by error code.
            pub http2_resets_by_server: ErrorCodeCounts,
            /// GOAWAY frames sent, by error code.
            pub http2_goaways: ErrorCodeCounts,
        }

        impl Counters {
            pub(crate) fn snapshot(&self, listener: Arc<str>, worker: WorkerId) -> ListenerStats {
                ListenerStats {
                    listener,
                    worker,
                    $($name: self.$name.read(),)*
                    connection_duration: self.connection_duration.snapshot(&CONNECTION_BOUNDS),
                    tls_handshake_duration: self.tls_handshake_duration.snapshot(&HANDSHAKE_BOUNDS),
                    http2_resets_by_client: self.http2_resets_by_client.snapshot(),
                    http2_resets_by_server: self.http2_resets_by_server.snapshot(),
                    http2_goaways: self.http2_goaways.snapshot(),
                }
            }
        }
    };
}

counters! {
    /// Connections accepted.
    accepted,
    /// Connections open now, upgraded ones included.
    active,
    /// Those of them with a request in flight, upgraded, or of a raw protocol.
    busy,
    /// Those of them that wait for another request. The rest of `active` is new: no request yet.
    idle,
    /// Failed calls of `accept`, for example because the process has no free file descriptor.
    accept_errors,
    /// Those of them for want of file descriptors (EMFILE, ENFILE).
    accept_errors_no_files,
    /// Connections that had to wait because of the connection limit.
    limit_waits,
    /// Bytes read from sockets, encrypted as they came.
    bytes_in,
    /// Bytes written to sockets, encrypted as they went.
    bytes_out,
    /// TLS handshakes completed.
    tls_handshakes,
    /// Those of them that resumed an earlier session.
    tls_resumed,
    /// TLS 1.2 handshakes among the completed ones; the others are TLS 1.3.
    tls12_handshakes,
    /// TLS 1.2 handshakes among the resumed ones.
    tls12_resumed,
    /// TLS handshakes that failed.
    tls_failures,
    /// TLS handshakes that took too long.
    handshake_timeouts,
    /// Connections whose client certificate was presented and counts for nothing: untrusted or refused.
    refused_certificates,
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
    /// HTTP/2 connections closed because the peer reset too many streams.
    reset_floods,
    /// HTTP/2 streams reset because the peer took nothing of the response.
    http2_stalled_streams,
    /// HTTP/2 requests in flight.
    http2_streams,
    /// HTTP/2 streams that the peers opened.
    http2_streams_opened,
    /// PING frames received, acknowledgements included.
    http2_pings_in,
    /// PING frames sent, acknowledgements included.
    http2_pings_out,
    /// Connections that became another protocol.
    upgrades,
    /// Panics caught in services, raw handlers and upgraded connections.
    panics,
    /// Connections ended by the peer, or as the two agreed.
    closed_client,
    /// Connections ended for want of a request.
    closed_idle_timeout,
    /// Connections ended after a body that took too long.
    closed_read_timeout,
    /// Connections ended because of a head, or a TLS handshake, that took too long.
    closed_header_timeout,
    /// Connections ended because the peer stopped reading.
    closed_write_timeout,
    /// Connections ended after bytes that broke the protocol.
    closed_protocol_error,
    /// Connections that ended in a drain.
    closed_drain,
    /// Connections that were cut.
    closed_force,
    /// Connections ended because the peer passed a limit.
    closed_limit,
    /// Connections ended by a panic.
    closed_panic,
}

impl ListenerStats {
    /// Connections without a request so far.
    pub fn new_connections(&self) -> u64 {
        // The three are read one after the other, so they may disagree for a moment.
        self.active
            .saturating_sub(self.busy)
            .saturating_sub(self.idle)
    }

    /// Ended connections by reason, with the label values of `server_connections_closed_total`.
    pub fn closed(&self) -> [(&'static str, u64); 10] {
        [
            ("client", self.closed_client),
            ("idle_timeout", self.closed_idle_timeout),
            ("read_timeout", self.closed_read_timeout),
            ("header_timeout", self.closed_header_timeout),
            ("write_timeout", self.closed_write_timeout),
            ("protocol_error", self.closed_protocol_error),
            ("drain", self.closed_drain),
            ("force", self.closed_force),
            ("limit", self.closed_limit),
            ("panic", self.closed_panic),
        ]
    }
}

/// A number that its own worker changes.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn increment(&self) {
        self.add(1);
    }

    pub(crate) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    pub(crate) fn decrement(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Bounds of connections, in milliseconds (`metrics-and-health.md` §3.10).
const CONNECTION_BOUNDS: [Duration; 12] = milliseconds([
    50, 100, 500, 1000, 5000, 10_000, 30_000, 60_000, 300_000, 600_000, 1_800_000, 3_600_000,
]);

/// Bounds of handshakes, in microseconds (`metrics-and-health.md` §3.10).
const HANDSHAKE_BOUNDS: [Duration; 14] = microseconds([
    500, 1000, 2500, 5000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000,
]);

const fn milliseconds<const N: usize>(numbers: [u64; N]) -> [Duration; N] {
    let mut bounds = [Duration::ZERO; N];
    let mut at = 0;
    while at < N {
        bounds[at] = Duration::from_millis(numbers[at]);
        at += 1;
    }
    bounds
}

const fn microseconds<const N: usize>(numbers: [u64; N]) -> [Duration; N] {
    let mut bounds = [Duration::ZERO; N];
    let mut at = 0;
    while at < N {
        bounds[at] = Duration::from_micros(numbers[at]);
        at += 1;
    }
    bounds
}

/// Durations by size, written by one worker.
#[derive(Debug)]
pub(crate) struct Histogram<const N: usize> {
    buckets: [Counter; N],
    above: Counter,
    sum_us: Counter,
}

impl<const N: usize> Default for Histogram<N> {
    fn default() -> Self {
        Self {
            buckets: std::array::from_fn(|_| Counter::default()),
            above: Counter::default(),
            sum_us: Counter::default(),
        }
    }
}

impl<const N: usize> Histogram<N> {
    fn record(&self, bounds: &[Duration; N], duration: Duration) {
        let at = bounds.partition_point(|bound| *bound < duration);
        self.buckets.get(at).unwrap_or(&self.above).increment();
        self.sum_us
            .add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    fn snapshot(&self, bounds: &'static [Duration; N]) -> DurationHistogram {
        let mut counts: Vec<_> = self.buckets.iter().map(Counter::read).collect();
        counts.push(self.above.read());
        DurationHistogram {
            bounds,
            counts,
            sum: Duration::from_micros(self.sum_us.read()),
        }
    }
}

impl Counters {
    pub(crate) fn record_connection(&self, duration: Duration) {
        self.connection_duration
            .record(&CONNECTION_BOUNDS, duration);
    }

    pub(crate) fn record_handshake(&self, duration: Duration) {
        self.tls_handshake_duration
            .record(&HANDSHAKE_BOUNDS, duration);
    }

    pub(crate) fn count_handshake(&self, handshake: HandshakeKind) {
        let HandshakeKind { is_tls12, resumed } = handshake;
        for (counts, counter) in [
            (true, &self.tls_handshakes),
            (resumed, &self.tls_resumed),
            (is_tls12, &self.tls12_handshakes),
            (is_tls12 && resumed, &self.tls12_resumed),
        ] {
            if counts {
                counter.increment();
            }
        }
    }

    pub(crate) fn record_end(&self, reason: CloseReason) {
        match reason {
            CloseReason::Client => &self.closed_client,
            CloseReason::IdleTimeout => &self.closed_idle_timeout,
            CloseReason::ReadTimeout => &self.closed_read_timeout,
            CloseReason::HeaderTimeout => &self.closed_header_timeout,
            CloseReason::WriteTimeout => &self.closed_write_timeout,
            CloseReason::ProtocolError => &self.closed_protocol_error,
            CloseReason::Drain => &self.closed_drain,
            CloseReason::Force => &self.closed_force,
            CloseReason::Limit => &self.closed_limit,
            CloseReason::Panic => &self.closed_panic,
        }
        .increment();
    }
}

/// How a TLS handshake went.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HandshakeKind {
    pub(crate) is_tls12: bool,
    pub(crate) resumed: bool,
}

/// Durations by size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DurationHistogram {
    /// Upper bounds of the buckets, each included in its bucket.
    pub bounds: &'static [Duration],
    /// How many fell into each bucket alone (not cumulative), and last those above all bounds.
    pub counts: Vec<u64>,
    /// All durations together, to the microsecond.
    pub sum: Duration,
}

impl DurationHistogram {
    /// How many there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// Names of the HTTP/2 error codes (RFC 9113, section 7), in the order of their numbers, then one for all
/// others.
const ERROR_CODES: [&str; 15] = [
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
    "other",
];

/// Counts for each HTTP/2 error code.
#[derive(Debug, Default)]
pub(crate) struct Codes([Counter; ERROR_CODES.len()]);

impl Codes {
    pub(crate) fn increment(&self, code: u32) {
        let last = ERROR_CODES.len() - 1;
        let at = usize::try_from(code).map_or(last, |code| code.min(last));
        self.0[at].increment();
    }

    fn snapshot(&self) -> ErrorCodeCounts {
        ErrorCodeCounts(std::array::from_fn(|at| self.0[at].read()))
    }
}

/// Counts for each HTTP/2 error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorCodeCounts([u64; ERROR_CODES.len()]);

impl ErrorCodeCounts {
    /// Name and count of every code of RFC 9113, section 7, and last `other`.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        ERROR_CODES.into_iter().zip(self.0)
    }

    /// All codes together.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The count of the code with this name; 0 if there is no such name.
    pub fn of(&self, name: &str) -> u64 {
        self.iter()
            .find(|(code, _)| *code == name)
            .map_or(0, |(_, count)| count)
    }
}

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum CloseReason {
    Client,
    IdleTimeout,
    ReadTimeout,
    HeaderTimeout,
    WriteTimeout,
    ProtocolError,
    Drain,
    Force,
    Limit,
    Panic,
}

impl CloseReason {
    const ALL: [Self; 10] = [
        Self::Client,
        Self::IdleTimeout,
        Self::ReadTimeout,
        Self::HeaderTimeout,
        Self::WriteTimeout,
        Self::ProtocolError,
        Self::Drain,
        Self::Force,
        Self::Limit,
        Self::Panic,
    ];
}

/// The reason why one connection ends, noted by whoever ends it. The first one counts.
#[derive(Debug, Default)]
pub(crate) struct Ending(AtomicU8);

impl Ending {
    pub(crate) fn note(&self, reason: CloseReason) {
        // `Client` is what nobody notes.
        let noted = reason as u8;
        let _ = self
            .0
            .compare_exchange(0, noted, Ordering::Relaxed, Ordering::Relaxed);
    }

    pub(crate) fn reason(&self) -> CloseReason {
        let noted = usize::from(self.0.load(Ordering::Relaxed));
        CloseReason::ALL
            .get(noted)
            .copied()
            .unwrap_or(CloseReason::Client)
    }
}

/// Counts a connection as busy while it lives.
pub(crate) struct Busy(Arc<Counters>);

impl Busy {
    pub(crate) fn new(counters: Arc<Counters>) -> Self {
        counters.busy.increment();
        Self(counters)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.decrement();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_on_a_bound_belongs_to_its_bucket_and_a_longer_one_to_the_next() {
        let counters = Counters::default();
        for ms in [50, 51, 4_000_000] {
            counters.record_connection(Duration::from_millis(ms));
        }
        let histogram = counters
            .snapshot("a".into(), WorkerId(0))
            .connection_duration;
        assert_eq!(
            (
                histogram.counts[0],
                histogram.counts[1],
                histogram.counts[12]
            ),
            (1, 1, 1)
        );
        assert_eq!(histogram.count(), 3);
        assert_eq!(histogram.sum, Duration::from_millis(4_000_101));
    }

    #[test]
    fn the_first_reason_of_an_end_counts() {
        let ending = Ending::default();
        assert_eq!(ending.reason(), CloseReason::Client);
        ending.note(CloseReason::Limit);
        ending.note(CloseReason::Drain);
        assert_eq!(ending.reason(), CloseReason::Limit);
        for (number, reason) in CloseReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, number);
        }
    }

    #[test]
    fn an_unknown_error_code_is_counted_as_other() {
        let codes = Codes::default();
        codes.increment(8);
        codes.increment(u32::MAX);
        let counts = codes.snapshot();
        assert_eq!((counts.of("CANCEL"), counts.of("other")), (1, 1));
        assert_eq!(counts.total(), 2);
    }
}
