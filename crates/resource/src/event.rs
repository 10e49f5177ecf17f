//! Change events and their delivery.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use base::Timestamp;
use bytes::Bytes;

use crate::{Body, Key};

/// What publishes events: one table, or one resource made of code. Unique in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SourceId(u64);

impl SourceId {
    /// The next unused id.
    pub fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Kind of change (`realtime.md` §1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// The record was created or replaced; `body` is the full record.
    Put,
    /// Some properties changed; `body` is the full record and `delta` what changed.
    Patch,
    /// The record was removed.
    Delete,
    /// A message was published; the record is unchanged.
    Message,
    /// The cached value was dropped.
    Invalidate,
}

impl EventKind {
    /// The `type` of the envelope. A patch is shown as `put` unless raw events were asked for.
    pub fn name(self, raw: bool) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Patch if raw => "patch",
            Self::Patch => "put",
            Self::Delete => "delete",
            Self::Message => "message",
            Self::Invalidate => "invalidate",
        }
    }

    /// Whether a newer event of the same record makes this one superfluous.
    pub fn is_state(self) -> bool {
        !matches!(self, Self::Message)
    }
}

/// Properties of an MQTT 5.0 message that travel with it unchanged.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MessageProperties {
    /// Payload Format Indicator: 0 bytes, 1 UTF-8 text.
    pub payload_format_indicator: Option<u8>,
    /// Seconds the message is worth delivering, counted from its publication.
    pub message_expiry_interval: Option<u32>,
    /// Content Type.
    pub content_type: Option<String>,
    /// Response Topic.
    pub response_topic: Option<String>,
    /// Correlation Data.
    pub correlation_data: Option<Bytes>,
    /// User Properties in order.
    pub user_properties: Vec<(String, String)>,
    /// QoS (0 to 2) that the publisher used; subscribers get the message with no more. Not a property on the
    /// wire, but it travels with them. `None` when unknown.
    pub qos: Option<u8>,
    /// Number of a QoS 2 publication within the session that sent it, kept in the log so that it is found there
    /// when its sender cannot know whether it arrived. Never sent.
    pub receipt: Option<u64>,
}

impl MessageProperties {
    fn approximate_bytes(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let pair = |(name, value): &(String, String)| name.len() + value.len();
        text(&self.content_type)
            + text(&self.response_topic)
            + self.correlation_data.as_ref().map_or(0, Bytes::len)
            + self.user_properties.iter().map(pair).sum::<usize>()
            + size_of::<Self>()
    }
}

/// One committed change, shared by all workers.
#[derive(Debug, Clone)]
pub struct Event {
    /// Who published it.
    pub source: SourceId,
    /// What happened.
    pub kind: EventKind,
    /// The record or topic; `None` is the root topic of the source.
    pub key: Option<Key>,
    /// The full record after the change, or the message; `None` for a delete.
    pub body: Option<Body>,
    /// For a patch, only what changed.
    pub delta: Option<Body>,
    /// Version of the record, the one behind its `ETag`.
    pub version: Timestamp,
    /// When it was appended to the local log; strictly increasing per database, and the resume position.
    pub local_time: Timestamp,
    /// Whether it is the first event of its transaction.
    pub begin_transaction: bool,
    /// The client session that published it.
    pub publisher: Option<Arc<str>>,
    /// Properties of a message.
    pub properties: Option<Arc<MessageProperties>>,
}

impl Event {
    /// An event of `source` whose version and place in the log are both `at`, which must be later than that of
    /// every earlier event of the same source. For resources made of code.
    pub fn new(
        source: SourceId,
        kind: EventKind,
        key: Option<Key>,
        body: Option<Body>,
        at: Timestamp,
    ) -> Self {
        Self {
            source,
            kind,
            key,
            body,
            delta: None,
            version: at,
            local_time: at,
            begin_transaction: true,
            publisher: None,
            properties: None,
        }
    }
}

impl Event {
    /// About as many bytes as it takes in memory, for bounds on what may wait.
    pub fn approximate_bytes(&self) -> usize {
        let properties = self.properties.as_ref();
        let bodies = self.body.iter().chain(&self.delta);
        bodies.map(Body::approximate_bytes).sum::<usize>()
            + properties.map_or(0, |properties| properties.approximate_bytes())
            + size_of::<Self>()
    }
}

/// Why a subscriber gets an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// It is part of the state at the time of the subscription (MQTT: `retain=1`).
    Initial,
    /// It is replayed from the log.
    Replay,
    /// It just happened.
    Live,
}

/// An [`Event`] on one worker, together with its encodings, which all subscribers of the worker share.
pub struct Delivery {
    /// The event.
    pub event: Arc<Event>,
    /// Why it is delivered.
    pub phase: Phase,
    /// Without the encodings.
    approximate_bytes: usize,
    encodings: Mutex<Vec<(u64, Bytes)>>,
}

impl Delivery {
    /// A delivery without encodings yet.
    pub fn new(event: Arc<Event>, phase: Phase) -> Self {
        Self {
            approximate_bytes: event.approximate_bytes(),
            event,
            phase,
            encodings: Mutex::new(Vec::new()),
        }
    }

    pub(crate) fn approximate_bytes(&self) -> usize {
        self.approximate_bytes
    }

    /// The bytes of one encoding, made by `encode` the first time they are asked for.
    ///
    /// `encoding` names the format and protocol; see [`encoding_id`]. The lock is only ever contended when an
    /// embedder moves subscriptions between threads.
    pub fn encode_once(&self, encoding: u64, encode: impl FnOnce(&Event) -> Bytes) -> Bytes {
        let mut encodings = self
            .encodings
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((_, bytes)) = encodings.iter().find(|(id, _)| *id == encoding) {
            return bytes.clone();
        }
        let bytes = encode(&self.event);
        encodings.push((encoding, bytes.clone()));
        bytes
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("event", &self.event)
            .field("phase", &self.phase)
            .finish_non_exhaustive()
    }
}

/// A number for the name of an encoding, e.g. `sse/json`, for [`Delivery::encode_once`] (FNV-1a).
pub const fn encoding_id(name: &str) -> u64 {
    let bytes = name.as_bytes();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0100_0000_01b3);
        at += 1;
    }
    hash
}
