//! Counts of connections, messages and closes, one set for each worker (`metrics-and-health.md` §3.4).

use std::array;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base::WorkerId;

/// Sets of counters; workers beyond that share them.
const SETS: usize = 64;
/// Close codes that are counted one by one: 1000 to 1015. Those of applications share one more place.
const FIRST_CODE: u16 = 1000;
const CODES: usize = 17;
/// 1006, which no frame carries: the connection was lost.
const ABNORMAL: u16 = 1006;

/// Totals of all workers since the start, for metrics.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WsStatistics {
    /// Connections without a sub-protocol.
    pub none: ConnectionTotals,
    /// Connections that speak MQTT (`mqtt`, `mqttv3.1`).
    pub mqtt: ConnectionTotals,
    /// Connections of all other sub-protocols.
    pub other: ConnectionTotals,
    /// Messages of clients.
    pub received: MessageTotals,
    /// Messages to clients.
    pub sent: MessageTotals,
    /// How connections ended, by code; only pairs that were seen.
    pub closed: Vec<CloseTotal>,
}

/// Connections of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConnectionTotals {
    /// Open now.
    pub open: u64,
    /// Opening handshakes that were accepted.
    pub accepted: u64,
    /// Opening handshakes that were refused.
    pub rejected: u64,
}

/// Messages in one direction. Bytes are those of the content, before compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MessageTotals {
    /// Text messages.
    pub text: u64,
    /// Bytes in text messages.
    pub text_bytes: u64,
    /// Binary messages.
    pub binary: u64,
    /// Bytes in binary messages.
    pub binary_bytes: u64,
    /// Pings.
    pub pings: u64,
    /// Pongs.
    pub pongs: u64,
}

/// Connections that ended in one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloseTotal {
    /// 1000 to 1015; `None` for the codes of libraries and applications. 1005: a close frame without code;
    /// 1006: no close frame at all.
    pub code: Option<u16>,
    /// Whether the client closed first (or was lost), and not this server.
    pub by_client: bool,
    /// How many.
    pub count: u64,
}

/// Which [`ConnectionTotals`] count a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    None,
    Mqtt,
    Other,
}

impl Kind {
    pub(crate) fn of(sub_protocol: Option<&str>) -> Self {
        match sub_protocol {
            None => Self::None,
            Some("mqtt" | "mqttv3.1") => Self::Mqtt,
            Some(_) => Self::Other,
        }
    }
}

/// Where messages and control frames go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    In,
    Out,
}

/// What a frame or message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    Text(usize),
    Binary(usize),
    Ping,
    Pong,
}

#[derive(Debug)]
pub(crate) struct Statistics(Box<[Cells]>);

/// The alignment keeps two workers off one cache line, and off the pair that adjacent-line prefetch moves
/// together.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Cells {
    connections: [ConnectionCells; 3],
    messages: [MessageCells; 2],
    /// By the server, by the client.
    closed: [[AtomicU64; CODES]; 2],
}

#[derive(Debug, Default)]
struct ConnectionCells {
    opened: AtomicU64,
    ended: AtomicU64,
    accepted: AtomicU64,
    rejected: AtomicU64,
}

#[derive(Debug, Default)]
struct MessageCells {
    text: AtomicU64,
    text_bytes: AtomicU64,
    binary: AtomicU64,
    binary_bytes: AtomicU64,
    pings: AtomicU64,
    pongs: AtomicU64,
}

impl Default for Statistics {
    fn default() -> Self {
        Self((0..SETS).map(|_| Cells::default()).collect())
    }
}

impl Statistics {
    pub(crate) fn accept(&self, worker: WorkerId, kind: Kind) {
        add(&self.cells(worker).connections[kind as usize].accepted, 1);
    }

    pub(crate) fn reject(&self, worker: WorkerId, kind: Kind) {
        add(&self.cells(worker).connections[kind as usize].rejected, 1);
    }

    pub(crate) fn read(&self) -> WsStatistics {
        let [none, mqtt, other] = array::from_fn(|kind| self.read_connections(kind));
        let [received, sent] = array::from_fn(|direction| self.read_messages(direction));
        let mut closed = Vec::new();
        for (by, by_client) in [false, true].into_iter().enumerate() {
            for at in 0..CODES {
                let count = self.sum(|cells| &cells.closed[by][at]);
                let code = (at + 1 < CODES).then(|| FIRST_CODE + at as u16);
                if count > 0 {
                    closed.push(CloseTotal {
                        code,
                        by_client,
                        count,
                    });
                }
            }
        }
        WsStatistics {
            none,
            mqtt,
            other,
            received,
            sent,
            closed,
        }
    }

    fn read_connections(&self, kind: usize) -> ConnectionTotals {
        // In this order: one that is opened and ended meanwhile must not count as ended alone.
        let ended = self.sum(|cells| &cells.connections[kind].ended);
        let opened = self.sum(|cells| &cells.connections[kind].opened);
        ConnectionTotals {
            open: opened.saturating_sub(ended),
            accepted: self.sum(|cells| &cells.connections[kind].accepted),
            rejected: self.sum(|cells| &cells.connections[kind].rejected),
        }
    }

    fn read_messages(&self, direction: usize) -> MessageTotals {
        let sum = |cell: fn(&MessageCells) -> &AtomicU64| {
            self.sum(|cells| cell(&cells.messages[direction]))
        };
        MessageTotals {
            text: sum(|cells| &cells.text),
            text_bytes: sum(|cells| &cells.text_bytes),
            binary: sum(|cells| &cells.binary),
            binary_bytes: sum(|cells| &cells.binary_bytes),
            pings: sum(|cells| &cells.pings),
            pongs: sum(|cells| &cells.pongs),
        }
    }

    fn sum(&self, cell: impl Fn(&Cells) -> &AtomicU64) -> u64 {
        let cells = self.0.iter();
        cells.map(|cells| cell(cells).load(Ordering::Relaxed)).sum()
    }

    fn cells(&self, worker: WorkerId) -> &Cells {
        &self.0[worker.index() % SETS]
    }
}

fn add(cell: &AtomicU64, count: usize) {
    cell.fetch_add(count as u64, Ordering::Relaxed);
}

/// Counts for one connection, which is open until this is dropped.
#[derive(Debug)]
pub(crate) struct ConnectionCount {
    statistics: Arc<Statistics>,
    worker: WorkerId,
    kind: Kind,
    /// How it ends is counted.
    has_ended: bool,
}

impl ConnectionCount {
    pub(crate) fn open(statistics: Arc<Statistics>, worker: WorkerId, kind: Kind) -> Self {
        add(
            &statistics.cells(worker).connections[kind as usize].opened,
            1,
        );
        Self {
            statistics,
            worker,
            kind,
            has_ended: false,
        }
    }

    pub(crate) fn count(&self, direction: Direction, counted: Counted) {
        let cells = &self.statistics.cells(self.worker).messages[direction as usize];
        match counted {
            Counted::Text(bytes) => {
                add(&cells.text, 1);
                add(&cells.text_bytes, bytes);
            }
            Counted::Binary(bytes) => {
                add(&cells.binary, 1);
                add(&cells.binary_bytes, bytes);
            }
            Counted::Ping => add(&cells.pings, 1),
            Counted::Pong => add(&cells.pongs, 1),
        }
    }

    /// The connection is about to be closed, in this way.
    pub(crate) fn ends(&mut self, code: u16, by_client: bool) {
        if self.has_ended {
            return;
        }
        self.has_ended = true;
        let cells = self.statistics.cells(self.worker);
        let at = usize::from(code.wrapping_sub(FIRST_CODE)).min(CODES - 1);
        add(&cells.closed[usize::from(by_client)][at], 1);
    }
}

impl Drop for ConnectionCount {
    fn drop(&mut self) {
        // Without any other reason, it was lost.
        self.ends(ABNORMAL, true);
        let cells = self.statistics.cells(self.worker);
        add(&cells.connections[self.kind as usize].ended, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_sums_over_workers() {
        let statistics = Arc::new(Statistics::default());
        let open = |worker, kind| {
            statistics.accept(worker, kind);
            ConnectionCount::open(Arc::clone(&statistics), worker, kind)
        };
        statistics.reject(WorkerId(0), Kind::None);
        let mut first = open(WorkerId(0), Kind::None);
        let second = open(WorkerId(1), Kind::None);
        let mut third = open(WorkerId(64), Kind::of(Some("mqtt")));
        first.count(Direction::In, Counted::Text(5));
        second.count(Direction::In, Counted::Text(7));
        third.count(Direction::Out, Counted::Binary(1));
        third.count(Direction::Out, Counted::Ping);
        first.ends(4000, false);
        third.ends(1001, false);
        drop((first, third));
        let read = statistics.read();
        let totals = |open, accepted, rejected| ConnectionTotals {
            open,
            accepted,
            rejected,
        };
        assert_eq!(read.none, totals(1, 2, 1));
        assert_eq!(read.mqtt, totals(0, 1, 0));
        assert_eq!((read.received.text, read.received.text_bytes), (2, 12));
        assert_eq!((read.sent.binary, read.sent.pings), (1, 1));
        drop(second);
        let ended = |code, by_client| CloseTotal {
            code,
            by_client,
            count: 1,
        };
        let expected = [
            ended(Some(1001), false),
            ended(None, false),
            ended(Some(1006), true),
        ];
        assert_eq!(statistics.read().closed, expected);
    }
}
