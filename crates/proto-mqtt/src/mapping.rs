//! Topics to resources, payloads to values, and back (`realtime.md` §4.5 to §4.8). No I/O.
//!
//! A topic is the path of an exported resource, `/`, and a key; nothing is decoded or stripped, so `/Dog/1` and
//! `dog/1` are other topics than `Dog/1`. `Dog/` and `Dog` are the topic of the resource itself.
//!
//! A topic of no resource is a *free topic*, if those are on: a key of one table that is nobody's export.

mod filter;
mod free;
mod payload;

use std::sync::Arc;

use base::Timestamp;
use resource::registry::Match;
use resource::{
    Error, ErrorKind, Key, MessageProperties, Protocol, Registry, Resource, Write, WriteKind,
};

pub use self::filter::{Source, source};
pub use self::free::write_free;
pub use self::payload::Publisher;

use crate::session::PublishRequest;
use crate::{ReasonCode, Refusal};

/// First level of the topics on which the broker tells about itself.
pub const SYSTEM: &str = "$SYS";

/// What topics can stand for.
#[derive(Clone, Copy)]
pub struct Topics<'a> {
    /// Exported resources, which win.
    pub registry: &'a Registry,
    /// The table whose keys are the topics of no resource; `None` while `mqtt.freeTopics` is off.
    pub free: Option<&'a Arc<dyn Resource>>,
    /// What is below [`SYSTEM`].
    pub system: Option<&'a Arc<dyn Resource>>,
}

impl<'a> From<&'a Registry> for Topics<'a> {
    fn from(registry: &'a Registry) -> Self {
        Self {
            registry,
            free: None,
            system: None,
        }
    }
}

/// Where a publication goes.
#[derive(Clone)]
pub struct Destination {
    /// The resource.
    pub resource: Arc<dyn Resource>,
    /// The record; `None` for the resource itself.
    pub key: Option<Key>,
    /// Whether it is a free topic, to be written by [`write_free`].
    pub is_free: bool,
}

/// Finds the resource and key that a topic names (T1 to T3, T7, T8).
///
/// # Errors
///
/// 0x90 if no resource matches or the key does not fit its type.
pub fn destination<'a>(topics: impl Into<Topics<'a>>, topic: &str) -> Result<Destination, Refusal> {
    let topics = topics.into();
    let reason = ReasonCode::TopicNameInvalid;
    let Some(found) = find(topics.registry, topic) else {
        return free::destination(&topics, topic, reason);
    };
    let resource = usable(&found)?;
    let key = match key_text(&found) {
        "" => None,
        text => Some(
            resource
                .parse_key(text)
                .map_err(|error| Refusal::new(ReasonCode::TopicNameInvalid, error.message()))?,
        ),
    };
    Ok(Destination {
        resource,
        key,
        is_free: false,
    })
}

/// What a publication does: retain with a payload puts the record, retain without deletes it, and no retain
/// sends a message and leaves the record alone.
///
/// # Errors
///
/// 0x90 for a retained publication that names no record, 0x99 for a payload that is not what it says.
pub fn write(request: &PublishRequest, key: Option<Key>, now: Timestamp) -> Result<Write, Refusal> {
    if request.retain && key.is_none() {
        return Err(Refusal::new(
            ReasonCode::TopicNameInvalid,
            "a retained publication needs a topic that names a record",
        ));
    }
    let body = payload::decode(request)?;
    let kind = match (request.retain, request.payload.is_empty()) {
        (true, true) => WriteKind::Delete,
        (true, false) => WriteKind::Put,
        (false, _) => WriteKind::Message(Some(Arc::clone(&request.properties))),
    };
    let mut write = Write::new(key, kind, body);
    if request.retain && !request.payload.is_empty() {
        write.expires_at = expires_at(&request.properties, now);
    }
    Ok(write)
}

/// When the record of a retained publication is to go.
fn expires_at(properties: &MessageProperties, now: Timestamp) -> Option<Timestamp> {
    let seconds = properties.message_expiry_interval?;
    Timestamp::from_millis(now.as_millis() + f64::from(seconds) * 1000.0)
}

/// The refusal of a publication that a resource did not carry out (`realtime.md` §4.8).
pub fn publish_refusal(error: &Error) -> Refusal {
    let reason = match error.kind() {
        ErrorKind::Unauthorized | ErrorKind::Forbidden => ReasonCode::NotAuthorized,
        ErrorKind::NotFound | ErrorKind::MethodNotAllowed => ReasonCode::TopicNameInvalid,
        ErrorKind::BadRequest | ErrorKind::Validation | ErrorKind::UnsupportedMediaType => {
            ReasonCode::PayloadFormatInvalid
        }
        ErrorKind::NotImplemented => ReasonCode::ImplementationSpecificError,
        ErrorKind::InsufficientStorage
        | ErrorKind::TooManyRequests
        | ErrorKind::PayloadTooLarge => ReasonCode::QuotaExceeded,
        _ => ReasonCode::UnspecifiedError,
    };
    Refusal::new(reason, public_text(error))
}

/// The refusal of a subscription that a resource did not grant (U3).
pub fn subscribe_refusal(error: &Error) -> Refusal {
    let reason = match error.kind() {
        ErrorKind::Unauthorized | ErrorKind::Forbidden => ReasonCode::NotAuthorized,
        ErrorKind::NotFound | ErrorKind::MethodNotAllowed | ErrorKind::BadRequest => {
            ReasonCode::TopicFilterInvalid
        }
        ErrorKind::NotImplemented => ReasonCode::ImplementationSpecificError,
        ErrorKind::TooManyRequests => ReasonCode::QuotaExceeded,
        _ => ReasonCode::UnspecifiedError,
    };
    Refusal::new(reason, public_text(error))
}

/// What a client may read of an error: not what went wrong inside.
fn public_text(error: &Error) -> &str {
    match error.kind() {
        ErrorKind::Internal => "internal error",
        _ => error.message(),
    }
}

fn find<'p>(registry: &Registry, topic: &'p str) -> Option<Match<'p>> {
    registry.find(topic, Protocol::Mqtt)
}

fn usable(found: &Match<'_>) -> Result<Arc<dyn Resource>, Refusal> {
    found
        .entry
        .resource
        .clone()
        .map_err(|error| publish_refusal(&error))
}

/// What follows the path and its slash. The root export has no path, and so no slash after it.
fn key_text<'p>(found: &Match<'p>) -> &'p str {
    found.rest.strip_prefix('/').unwrap_or(found.rest)
}

#[cfg(test)]
mod tests;
