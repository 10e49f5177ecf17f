//! Topics that are no resource (`mqtt.freeTopics`): keys of one table, whose records are retained messages.
//!
//! A payload is kept as the bytes it is, with the properties and the QoS of its publication; nothing is parsed.

use std::sync::Arc;

use base::Timestamp;
use bytes::Bytes;
use resource::{Body, Key, Map, MessageProperties, Resource, Value, Write, WriteKind};

use super::payload::{CONTENT_TYPE, DATA, OCTET_STREAM, check_format};
use super::{Destination, Topics, expires_at};
use crate::session::PublishRequest;
use crate::session::blob::{Reader, Writer};
use crate::{ReasonCode, Refusal};

/// Attribute of a record: the properties of the retained message.
const PROPERTIES: &str = "mqttProperties";

/// The table of free topics, if `topic` may be one.
pub(super) fn table<'a>(
    topics: &Topics<'a>,
    topic: &str,
    reason: ReasonCode,
) -> Result<&'a Arc<dyn Resource>, Refusal> {
    // [MQTT-4.7.2-1]: wildcards do not match them, because there are none.
    if topic.starts_with('$') {
        return Err(Refusal::new(
            reason,
            "topics that begin with $ belong to the server",
        ));
    }
    topics.free.ok_or_else(|| {
        Refusal::new(
            reason,
            "no exported resource has this topic, and mqtt.freeTopics is off",
        )
    })
}

pub(super) fn destination(
    topics: &Topics<'_>,
    topic: &str,
    reason: ReasonCode,
) -> Result<Destination, Refusal> {
    let table = table(topics, topic, reason)?;
    let key = table
        .parse_key(topic)
        .map_err(|error| Refusal::new(reason, error.message()))?;
    Ok(Destination {
        resource: Arc::clone(table),
        key: Some(key),
        is_free: true,
    })
}

/// What a publication on a free topic does: the same as [`write`](super::write), with the payload as it is.
///
/// # Errors
///
/// 0x99 for a payload that is announced as UTF-8 and is not.
pub fn write_free(
    request: &PublishRequest,
    key: Option<Key>,
    now: Timestamp,
) -> Result<Write, Refusal> {
    check_format(request)?;
    let properties = &request.properties;
    let is_retained = request.retain && !request.payload.is_empty();
    let kind = match (request.retain, is_retained) {
        (true, true) => WriteKind::Put,
        (true, false) => WriteKind::Delete,
        (false, _) => WriteKind::Message(Some(Arc::clone(properties))),
    };
    let content_type = properties.content_type.as_deref().unwrap_or(OCTET_STREAM);
    let mut body = Map::from_iter([
        (CONTENT_TYPE, Value::from(content_type)),
        (DATA, Value::Bytes(request.payload.clone())),
    ]);
    if is_retained {
        body.insert(PROPERTIES, Value::Bytes(encode(properties)));
    }
    let body = (!request.payload.is_empty()).then_some(Value::Map(body));
    let mut write = Write::new(key, kind, body);
    if is_retained {
        write.expires_at = expires_at(properties, now);
    }
    Ok(write)
}

fn encode(properties: &MessageProperties) -> Bytes {
    let mut out = Writer::default();
    out.option(properties.qos, Writer::u8);
    out.properties(properties);
    out.0.into()
}

/// The properties of a retained message.
pub(super) fn properties(body: &Body) -> Option<Arc<MessageProperties>> {
    let Value::Bytes(bytes) = body.attribute(PROPERTIES)? else {
        return None;
    };
    let mut input = Reader(&bytes);
    let qos = input.option(Reader::u8)?;
    let properties = input.properties()?;
    Some(Arc::new(MessageProperties { qos, ..properties }))
}
