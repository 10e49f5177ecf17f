//! One event as JSON (`realtime.md` §2.3), and as a block.

use base::Timestamp;
use bytes::Bytes;
use resource::event::encoding_id;
use resource::{Delivery, Event, EventKind, Phase, json};

use crate::framing::Block;

const ENCODING: u64 = encoding_id("sse/json");

/// How the events of one stream look. Streams of the same style share the encoded bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style {
    /// Patches stay patches.
    pub(crate) is_raw: bool,
    /// `event:` carries the type.
    pub(crate) has_names: bool,
    /// The target is one record.
    pub(crate) is_single: bool,
}

impl Style {
    /// The block of a delivery, encoded once for all streams of this style on this worker.
    pub(crate) fn encode(self, delivery: &Delivery) -> Bytes {
        // The state of a collection comes in the order of keys: resuming after one of its events would lose
        // records that were changed earlier and come later.
        let has_id = self.is_single || delivery.phase != Phase::Initial;
        let variant = [self.is_raw, self.has_names, has_id]
            .iter()
            .fold(0, |bits, flag| bits << 1 | u64::from(*flag));
        let encoding = ENCODING.wrapping_add(variant);
        delivery.encode_once(encoding, |event| self.encode_event(event, has_id))
    }

    fn encode_event(self, event: &Event, has_id: bool) -> Bytes {
        let mut out = Vec::with_capacity(256);
        let id = has_id.then(|| position(event.local_time));
        let block = Block {
            event: self.has_names.then(|| event.kind.name(self.is_raw)),
            data: Some(&envelope(event, self.is_raw)),
            id: id.as_deref(),
            retry_ms: None,
        };
        block.encode(&mut out);
        out.into()
    }
}

/// A local time as it is written in `id:` and `localTime`.
pub(crate) fn position(at: Timestamp) -> String {
    let mut text = Vec::with_capacity(20);
    json::write_float(at.as_millis(), &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// `{"id":…,"localTime":…,"value":…,"version":…,"type":…}`; a delete has no value.
fn envelope(event: &Event, is_raw: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(b"{\"id\":");
    match &event.key {
        Some(key) => json::write(&key.to_value(), &mut out),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"localTime\":");
    json::write_float(event.local_time.as_millis(), &mut out);
    let body = match (event.kind, &event.delta) {
        (EventKind::Delete, _) => None,
        (EventKind::Patch, Some(delta)) if is_raw => Some(delta),
        _ => event.body.as_ref(),
    };
    if let Some(body) = body {
        out.extend_from_slice(b",\"value\":");
        out.extend_from_slice(&body.json());
    }
    out.extend_from_slice(b",\"version\":");
    json::write_float(event.version.as_millis(), &mut out);
    out.extend_from_slice(b",\"type\":\"");
    out.extend_from_slice(event.kind.name(is_raw).as_bytes());
    out.extend_from_slice(b"\"}");
    out
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use resource::{Body, Key, Map, SourceId, Value};

    use super::*;

    fn event(kind: EventKind) -> Event {
        let body = |name: &str, value: &str| {
            Body::from(Value::Map(Map::from_iter([(name, Value::from(value))])))
        };
        Event {
            source: SourceId::next(),
            kind,
            key: Some(Key::from("1")),
            body: Some(body("name", "Rex\n")),
            delta: Some(body("name", "R")),
            version: Timestamp::from_millis(1_736_432_705_269.0).unwrap(),
            local_time: Timestamp::from_millis(1_736_432_705_270.2).unwrap(),
            begin_transaction: false,
            publisher: None,
            properties: None,
        }
    }

    fn check(event: Event, is_raw: bool, expected: &str) {
        let text = String::from_utf8(envelope(&event, is_raw)).unwrap();
        assert_eq!(text, expected);
    }

    #[test]
    fn an_envelope_has_id_times_value_and_type() {
        let times = r#""localTime":1736432705270.2"#;
        let put = format!(
            r#"{{"id":"1",{times},"value":{{"name":"Rex\n"}},"version":1736432705269,"type":"put"}}"#
        );
        check(event(EventKind::Put), true, &put);
        // The whole record, unless raw events were asked for.
        check(event(EventKind::Patch), false, &put);
        let patch = put.replace(r"Rex\n", "R").replace("put", "patch");
        check(event(EventKind::Patch), true, &patch);
        let delete = format!(r#"{{"id":"1",{times},"version":1736432705269,"type":"delete"}}"#);
        check(event(EventKind::Delete), false, &delete);
        let root = Event {
            key: None,
            body: Some(Body::from(Value::Int(7))),
            ..event(EventKind::Message)
        };
        let message =
            format!(r#"{{"id":null,{times},"value":7,"version":1736432705269,"type":"message"}}"#);
        check(root, false, &message);
    }

    #[test]
    fn streams_of_one_style_share_the_bytes() {
        let delivery = Delivery::new(Arc::new(event(EventKind::Put)), Phase::Live);
        let plain = Style {
            is_raw: false,
            has_names: false,
            is_single: false,
        };
        let named = Style {
            has_names: true,
            ..plain
        };
        let first = plain.encode(&delivery);
        assert_eq!(first.as_ptr(), plain.encode(&delivery).as_ptr());
        assert!(first.starts_with(b"data: {"));
        assert!(first.ends_with(b"\nid: 1736432705270.2\n\n"));
        assert!(named.encode(&delivery).starts_with(b"event: put\ndata: {"));
    }

    #[test]
    fn the_state_of_a_collection_has_no_ids() {
        let delivery = Delivery::new(Arc::new(event(EventKind::Put)), Phase::Initial);
        let collection = Style {
            is_raw: false,
            has_names: false,
            is_single: false,
        };
        let single = Style {
            is_single: true,
            ..collection
        };
        let has_id = |style: Style| style.encode(&delivery).windows(4).any(|at| at == b"\nid:");
        assert_eq!((has_id(collection), has_id(single)), (false, true));
    }
}
