//! Payloads to values and events to messages (`realtime.md` §4.8).

use std::sync::Arc;
use std::time::{Duration, Instant};

use base::Timestamp;
use bytes::Bytes;
use resource::event::encoding_id;
use resource::{Body, Delivery, Event, EventKind, Key, Map, MessageProperties, Phase, Value, json};

use super::{Source, free};

use crate::codec::Message;
use crate::session::{Origin, Publication, PublishRequest};
use crate::{QoS, ReasonCode, Refusal};

/// Content type of a payload that says nothing about itself.
pub(super) const OCTET_STREAM: &str = "application/octet-stream";
pub(super) const CONTENT_TYPE: &str = "contentType";
pub(super) const DATA: &str = "data";

const JSON_PAYLOAD: u64 = encoding_id("mqtt/payload/json");
const CONTENT_TYPE_OF_PAYLOAD: u64 = encoding_id("mqtt/content-type");

/// The value in a payload: JSON when it starts like an object or array or says so, else bytes with their content
/// type. `None` when there is no payload.
pub(super) fn decode(request: &PublishRequest) -> Result<Option<Value>, Refusal> {
    check_format(request)?;
    let payload = &request.payload;
    let properties = &request.properties;
    let invalid = |text: String| Refusal::new(ReasonCode::PayloadFormatInvalid, text);
    if payload.is_empty() {
        return Ok(None);
    }
    let content_type = properties.content_type.as_deref();
    if content_type.is_some_and(is_json) {
        return json::from_slice(payload)
            .map(Some)
            .map_err(|error| invalid(error.to_string()));
    }
    let looks_like_json = content_type.is_none() && matches!(payload[0], b'{' | b'[');
    if let (true, Ok(value)) = (looks_like_json, json::from_slice(payload)) {
        return Ok(Some(value));
    }
    Ok(Some(Value::Map(Map::from_iter([
        (
            CONTENT_TYPE,
            Value::from(content_type.unwrap_or(OCTET_STREAM)),
        ),
        (DATA, Value::Bytes(payload.clone())),
    ]))))
}

/// [MQTT-3.3.2-4]: a payload that is announced as UTF-8 is UTF-8.
pub(super) fn check_format(request: &PublishRequest) -> Result<(), Refusal> {
    let is_text = request.properties.payload_format_indicator == Some(1);
    match is_text && std::str::from_utf8(&request.payload).is_err() {
        true => Err(Refusal::new(
            ReasonCode::PayloadFormatInvalid,
            "the payload is announced as UTF-8, but is not",
        )),
        false => Ok(()),
    }
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    essence == "application/json" || essence.ends_with("+json")
}

/// Turns the events of one subscription into publications. Topic and payload are encoded once for all
/// subscribers of a worker that see the resource under the same path.
#[derive(Debug, Clone)]
pub struct Publisher {
    path: Arc<str>,
    bare: bool,
    is_free: bool,
    /// Names the encoded topic among the encodings of a delivery.
    topic_encoding: u64,
}

impl Publisher {
    /// For the deliveries of `source`.
    pub fn of(source: &Source) -> Self {
        Self {
            is_free: source.is_free,
            ..Self::new(Arc::clone(&source.path), source.bare)
        }
    }

    /// For a subscription to the resource at `path`; `bare` as in [`Source`](super::Source).
    pub fn new(path: Arc<str>, bare: bool) -> Self {
        let form = if bare { "bare" } else { "topic" };
        Self {
            topic_encoding: encoding_id(&format!("mqtt/{form}/{path}")),
            path,
            bare,
            is_free: false,
        }
    }

    /// The publication of an event; `None` for an event that MQTT does not show, or that has no topic.
    pub fn publication(&self, delivery: &Delivery, now: Instant) -> Option<Publication> {
        let event = &delivery.event;
        if event.kind == EventKind::Invalidate {
            return None;
        }
        let topic = delivery.encode_once(self.topic_encoding, |event| self.topic(event));
        if topic.is_empty() {
            return None;
        }
        let properties = self.properties(event);
        let qos = properties
            .as_ref()
            .and_then(|properties| properties.qos)
            .and_then(QoS::from_bits);
        let time_left = time_left(event, properties.as_deref());
        if time_left == Some(Duration::ZERO) {
            return None; // [MQTT-3.3.2-5]
        }
        let content_type = delivery.encode_once(CONTENT_TYPE_OF_PAYLOAD, content_type);
        Some(Publication {
            message: Message {
                topic,
                payload: delivery.encode_once(JSON_PAYLOAD, payload),
                properties,
                content_type: Some(content_type).filter(|text| !text.is_empty()),
            },
            qos: qos.unwrap_or(QoS::ExactlyOnce),
            origin: match (delivery.phase, event.kind) {
                (Phase::Initial, _) => Origin::Initial,
                (_, EventKind::Message) => Origin::Message,
                _ => Origin::Retained,
            },
            publisher: event.publisher.clone(),
            expires_at: time_left.map(|left| now + left),
            position: (delivery.phase != Phase::Initial).then_some(event.local_time),
        })
    }

    /// A message has its own; those of a retained message on a free topic are kept in its record.
    fn properties(&self, event: &Event) -> Option<Arc<MessageProperties>> {
        let own = event.properties.clone();
        own.or_else(|| free::properties(event.body.as_ref().filter(|_| self.is_free)?))
    }

    /// T6: path, slash, key; the path and its slash for the resource itself. Empty for a key that no topic can
    /// express ([MQTT-3.3.2-2], [MQTT-4.7.3-2]).
    fn topic(&self, event: &Event) -> Bytes {
        let key = event.key.as_ref().map(Key::to_string);
        if key
            .as_ref()
            .is_some_and(|key| key.contains(['+', '#', '\0']))
        {
            return Bytes::new();
        }
        let slash = match (self.path.is_empty(), &key) {
            (true, _) => "",
            (false, None) if self.bare => "",
            (false, _) => "/",
        };
        Bytes::from([&self.path, slash, key.as_deref().unwrap_or_default()].concat())
    }
}

/// How long a message is still worth delivering; zero when it no longer is.
fn time_left(event: &Event, properties: Option<&MessageProperties>) -> Option<Duration> {
    let seconds = properties?.message_expiry_interval?;
    // A part of the current state may have no place in the log, but it has a version; a message has that of its
    // record, which may be of any age.
    let published = match event.kind {
        EventKind::Message => event.local_time,
        _ => event.local_time.max(event.version),
    }
    .as_millis();
    let age_ms = (Timestamp::now().as_millis() - published).max(0.0);
    let age = Duration::from_secs_f64(age_ms / 1000.0);
    Some(Duration::from_secs(seconds.into()).saturating_sub(age))
}

/// The value alone (P1): bytes for bytes with a content type, else JSON; nothing for a delete (P2) and for a
/// message without a value.
fn payload(event: &Event) -> Bytes {
    let body = match (&event.body, event.kind) {
        (None, _) | (_, EventKind::Delete) => return Bytes::new(),
        (Some(Body::Value(value)), EventKind::Message) if value.is_null() => return Bytes::new(),
        (Some(body), _) => body,
    };
    match raw(body) {
        Some((_, data)) => data,
        None => body.json(),
    }
}

/// The content type of bytes; nothing if it says nothing or cannot be said.
fn content_type(event: &Event) -> Bytes {
    match event.body.as_ref().and_then(raw) {
        Some((content_type, _)) if content_type != OCTET_STREAM && !content_type.contains('\0') => {
            Bytes::from(content_type)
        }
        _ => Bytes::new(),
    }
}

fn raw(body: &Body) -> Option<(String, Bytes)> {
    let Value::String(content_type) = body.attribute(CONTENT_TYPE)? else {
        return None;
    };
    match body.attribute(DATA)? {
        Value::Bytes(data) => Some((content_type, data)),
        Value::String(text) => Some((content_type, Bytes::from(text))),
        _ => None,
    }
}
