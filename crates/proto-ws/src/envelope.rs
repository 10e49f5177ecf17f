//! What is sent to a client: one message an event (`realtime.md` §2.3).

use base::Timestamp;
use bytes::Bytes;
use content::{EncodeError, Format, cbor, msgpack};
use resource::event::encoding_id;
use resource::{Body, Error, ErrorKind, Event, EventKind, Key, Map, Value, json};

/// The format of the messages of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Text messages.
    Json,
    /// Binary messages.
    Cbor,
    /// Binary messages.
    MessagePack,
}

impl Encoding {
    /// The encoding of a negotiated format.
    ///
    /// # Errors
    ///
    /// 406 for a format that has no meaning here, such as CSV.
    pub fn of(format: &Format) -> Result<Self, Error> {
        match format.media_type() {
            "application/json" => Ok(Self::Json),
            "application/cbor" => Ok(Self::Cbor),
            "application/x-msgpack" | "application/msgpack" => Ok(Self::MessagePack),
            other => Err(Error::not_acceptable(format!(
                "WebSocket messages can be JSON, CBOR or MessagePack in this build, not {other}"
            ))),
        }
    }

    /// The encoding that a sub-protocol stands for: `json`, `cbor` or `msgpack`.
    pub fn of_sub_protocol(name: &str) -> Option<Self> {
        match name {
            "json" => Some(Self::Json),
            "cbor" => Some(Self::Cbor),
            "msgpack" => Some(Self::MessagePack),
            _ => None,
        }
    }

    /// Whether messages are text.
    pub fn is_text(self) -> bool {
        self == Self::Json
    }

    /// Under which name encoded events are shared. Only patches look different with raw events.
    pub(crate) fn id(self, is_raw_patch: bool) -> u64 {
        const JSON: [u64; 2] = [encoding_id("ws/json"), encoding_id("ws/json/raw")];
        const CBOR: [u64; 2] = [encoding_id("ws/cbor"), encoding_id("ws/cbor/raw")];
        const PACK: [u64; 2] = [encoding_id("ws/msgpack"), encoding_id("ws/msgpack/raw")];
        let ids = match self {
            Self::Json => JSON,
            Self::Cbor => CBOR,
            Self::MessagePack => PACK,
        };
        ids[usize::from(is_raw_patch)]
    }

    pub(crate) fn encode(self, value: &Value) -> Result<Bytes, EncodeError> {
        let mut out = Vec::with_capacity(128);
        match self {
            Self::Json => json::write(value, &mut out),
            Self::Cbor => cbor::encode(value, &mut out),
            Self::MessagePack => msgpack::encode(value, &mut out)?,
        }
        Ok(out.into())
    }
}

/// The envelope of an event. With `raw`, a patch carries what changed instead of the full record.
///
/// A stored document goes into JSON without being decoded.
///
/// # Errors
///
/// [`EncodeError`] if the format can not express the value.
pub fn event(event: &Event, raw: bool, encoding: Encoding) -> Result<Bytes, EncodeError> {
    let body = content_of(event, raw);
    let kind = event.kind.name(raw);
    match encoding {
        Encoding::Json => Ok(event_json(event, body, kind)),
        _ => encoding.encode(&event_value(event, body, kind)),
    }
}

fn content_of(event: &Event, raw: bool) -> Option<&Body> {
    match event.kind {
        EventKind::Delete => None,
        EventKind::Patch if raw => event.delta.as_ref().or(event.body.as_ref()),
        _ => event.body.as_ref(),
    }
}

fn event_json(event: &Event, body: Option<&Body>, kind: &str) -> Bytes {
    let value = body.map(Body::json);
    let mut out = Vec::with_capacity(128 + value.as_ref().map_or(0, Bytes::len));
    out.extend_from_slice(b"{\"id\":");
    json::write(&id(event.key.as_ref()), &mut out);
    out.extend_from_slice(b",\"localTime\":");
    json::write_float(event.local_time.as_millis(), &mut out);
    if let Some(value) = value {
        out.extend_from_slice(b",\"value\":");
        out.extend_from_slice(&value);
    }
    out.extend_from_slice(b",\"version\":");
    json::write_float(event.version.as_millis(), &mut out);
    out.extend_from_slice(b",\"type\":");
    json::write_string(kind, &mut out);
    out.push(b'}');
    out.into()
}

fn event_value(event: &Event, body: Option<&Body>, kind: &str) -> Value {
    let time = |time: Timestamp| Value::Float(time.as_millis());
    let mut envelope = Map::with_capacity(5);
    envelope.insert("id", id(event.key.as_ref()));
    envelope.insert("localTime", time(event.local_time));
    if let Some(body) = body {
        envelope.insert("value", body.to_value());
    }
    envelope.insert("version", time(event.version));
    envelope.insert("type", kind);
    Value::Map(envelope)
}

fn id(key: Option<&Key>) -> Value {
    key.map_or(Value::Null, Key::to_value)
}

/// The message after the current state, for those who asked for it (`markInitial`).
///
/// # Errors
///
/// As [`event`].
pub fn end_of_initial(encoding: Encoding) -> Result<Bytes, EncodeError> {
    let mark = Map::from_iter([("type", Value::from("end_of_initial"))]);
    encoding.encode(&Value::Map(mark))
}

/// The control message before the current state that stands for a replay which is not possible any more.
///
/// # Errors
///
/// As [`event`].
pub fn reset(encoding: Encoding) -> Result<Bytes, EncodeError> {
    let reset = Map::from_iter([("type", Value::from("reset"))]);
    encoding.encode(&Value::Map(reset))
}

/// The answer to a command that failed. The text of an internal error stays here.
///
/// # Errors
///
/// As [`event`].
pub fn failure(id: Value, error: &Error, encoding: Encoding) -> Result<Bytes, EncodeError> {
    let message = match error.kind() {
        ErrorKind::Internal => "Internal server error",
        _ => error.message(),
    };
    let answer = Map::from_iter([
        ("type", Value::from("error")),
        ("id", id),
        ("status", Value::Int(i64::from(error.status()))),
        ("message", Value::from(message)),
    ]);
    encoding.encode(&Value::Map(answer))
}

#[cfg(test)]
mod tests {
    use resource::SourceId;

    use super::*;

    fn sample(kind: EventKind) -> Event {
        let body = |name: &str| {
            let map = Map::from_iter([(name, Value::from("Rex"))]);
            Some(Body::from(Value::Map(map)))
        };
        let local_time = Timestamp::from_millis(1_736_432_705_270.2).unwrap();
        let key = Some(Key::from("1"));
        Event {
            delta: body("changed"),
            version: Timestamp::from_millis(1_736_432_705_269.0).unwrap(),
            ..Event::new(SourceId::next(), kind, key, body("name"), local_time)
        }
    }

    fn text(kind: EventKind, raw: bool) -> String {
        let bytes = event(&sample(kind), raw, Encoding::Json).unwrap();
        String::from_utf8(bytes.into()).unwrap()
    }

    #[test]
    fn the_envelope_is_that_of_the_specification() {
        assert_eq!(
            text(EventKind::Put, false),
            r#"{"id":"1","localTime":1736432705270.2,"value":{"name":"Rex"},"version":1736432705269,"type":"put"}"#
        );
        assert_eq!(
            text(EventKind::Delete, false),
            r#"{"id":"1","localTime":1736432705270.2,"version":1736432705269,"type":"delete"}"#
        );
        let root = Event {
            key: None,
            ..sample(EventKind::Message)
        };
        let bytes = event(&root, false, Encoding::Json).unwrap();
        assert!(bytes.starts_with(b"{\"id\":null,"));
    }

    #[test]
    fn a_patch_is_a_put_unless_raw_events_were_asked_for() {
        let whole = text(EventKind::Patch, false);
        assert!(whole.contains(r#""value":{"name":"Rex"}"#) && whole.contains(r#""type":"put""#));
        let raw = text(EventKind::Patch, true);
        assert!(raw.contains(r#""value":{"changed":"Rex"}"#) && raw.contains(r#""type":"patch""#));
        assert_eq!(text(EventKind::Put, true), text(EventKind::Put, false));
    }

    #[test]
    fn every_encoding_says_the_same() {
        let from_json = content::json::decode(text(EventKind::Put, false).as_bytes()).unwrap();
        let put = sample(EventKind::Put);
        let cbor = event(&put, false, Encoding::Cbor).unwrap();
        let pack = event(&put, false, Encoding::MessagePack).unwrap();
        let name = |value: &Value| {
            let map = value.as_map().unwrap();
            let value = map.get("value").unwrap().as_map().unwrap();
            (map.get("id").cloned(), value.get("name").cloned())
        };
        assert_eq!(
            name(&content::cbor::decode(&cbor).unwrap()),
            name(&from_json)
        );
        assert_eq!(
            name(&content::msgpack::decode(&pack).unwrap()),
            name(&from_json)
        );
    }

    #[test]
    fn internal_errors_are_not_told() {
        let answer = failure(Value::Null, &Error::internal("secret"), Encoding::Json).unwrap();
        assert_eq!(
            answer,
            r#"{"type":"error","id":null,"status":500,"message":"Internal server error"}"#
        );
    }
}
