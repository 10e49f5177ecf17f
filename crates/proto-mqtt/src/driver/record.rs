//! The record of a session in the store: whose it is, how long it is kept, its Will and its state.

use std::sync::Arc;

use bytes::Bytes;
use resource::{Caller, MessageProperties, Permissions, User};

use crate::QoS;
use crate::session::blob::{Reader, Writer};
use crate::session::{PublishRequest, SessionState, Will};

/// First byte of the encoded form.
const FORMAT: u8 = 1;

/// Never, as a Session Expiry Interval.
const FOR_EVER: u32 = u32::MAX;

#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct SessionRecord {
    /// `None` for an anonymous client.
    pub(super) username: Option<Arc<str>>,
    pub(super) expiry_s: u32,
    /// When the connection ended, in milliseconds since the epoch; `None` while it lives, or if the server was
    /// killed meanwhile.
    pub(super) ended_at_ms: Option<u64>,
    pub(super) will: Option<Will>,
    /// When the Will is to be published, once the connection has ended.
    pub(super) will_due_ms: Option<u64>,
    pub(super) state: SessionState,
}

impl SessionRecord {
    /// When the session ends; `None` if never, or not while it is connected.
    pub(super) fn expires_at_ms(&self) -> Option<u64> {
        let ended_at = self.ended_at_ms.filter(|_| self.expiry_s != FOR_EVER)?;
        Some(ended_at.saturating_add(u64::from(self.expiry_s) * 1000))
    }

    /// Whether there is a session to resume.
    pub(super) fn is_alive(&self, now_ms: u64) -> bool {
        self.expiry_s > 0 && self.expires_at_ms().is_none_or(|end| now_ms < end)
    }

    /// Whether there is anything to be kept.
    pub(super) fn is_kept(&self) -> bool {
        self.expiry_s > 0 || self.will.is_some()
    }

    /// When something is to be done about it next.
    pub(super) fn due_ms(&self) -> Option<u64> {
        [self.will_due_ms, self.expires_at_ms()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Notes that the connection has ended; a Will whose delay is not over waits for it or for the end of the
    /// session, whichever comes first ([MQTT-3.1.3-9]).
    pub(super) fn end(&mut self, now_ms: u64, grace_ms: u64) {
        self.ended_at_ms = Some(now_ms);
        self.will_due_ms = self.will.as_ref().map(|will| {
            let delay_s = u64::from(will.delay_s.min(self.expiry_s));
            now_ms + grace_ms + delay_s * 1000
        });
    }

    /// The user that connected; what it may do now is for the authenticator to say.
    pub(super) fn caller(&self) -> Caller {
        match &self.username {
            None => Caller::Anonymous,
            Some(username) => Caller::User(Arc::new(User {
                username: Arc::clone(username),
                role: Arc::from(""),
                permissions: Arc::new(Permissions::default()),
            })),
        }
    }

    pub(super) fn encode(&self) -> Bytes {
        let mut out = Writer::default();
        out.u8(FORMAT);
        out.option(self.username.as_deref(), |out, name| {
            out.bytes(name.as_bytes())
        });
        out.u32(self.expiry_s);
        out.option(self.ended_at_ms, Writer::u64);
        out.option(self.will_due_ms, Writer::u64);
        out.option(self.will.as_ref(), encode_will);
        out.bytes(&self.state.encode());
        out.0.into()
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut input = Reader(bytes);
        if input.u8()? != FORMAT {
            return None;
        }
        Some(Self {
            username: input.option(|input| input.text().map(Arc::from))?,
            expiry_s: input.u32()?,
            ended_at_ms: input.option(Reader::u64)?,
            will_due_ms: input.option(Reader::u64)?,
            will: input.option(decode_will)?,
            state: SessionState::decode(input.bytes()?)?,
        })
    }
}

fn encode_will(out: &mut Writer, will: &Will) {
    let publication = &will.publication;
    out.u32(will.delay_s);
    out.bytes(publication.topic.as_bytes());
    out.bytes(&publication.payload);
    out.u8(publication.qos as u8);
    out.u8(u8::from(publication.retain));
    out.properties(&publication.properties);
}

fn decode_will(input: &mut Reader<'_>) -> Option<Will> {
    let delay_s = input.u32()?;
    let topic = Arc::from(input.text()?);
    let payload = Bytes::copy_from_slice(input.bytes()?);
    let qos = QoS::from_bits(input.u8()?)?;
    let retain = input.flag()?;
    let properties = MessageProperties {
        qos: Some(qos as u8),
        ..input.properties()?
    };
    Some(Will {
        delay_s,
        publication: PublishRequest {
            topic,
            payload,
            qos,
            retain,
            properties: Arc::new(properties),
            acknowledgement: None,
            receipt: None,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> SessionRecord {
        SessionRecord {
            username: Some(Arc::from("ann")),
            expiry_s: 60,
            will: Some(Will {
                delay_s: 90,
                publication: PublishRequest {
                    topic: Arc::from("Dog/1"),
                    payload: Bytes::from_static(b"gone"),
                    qos: QoS::AtLeastOnce,
                    retain: true,
                    properties: Arc::new(MessageProperties {
                        content_type: Some("text/plain".to_owned()),
                        user_properties: vec![("k".to_owned(), "v".to_owned())],
                        qos: Some(1),
                        ..MessageProperties::default()
                    }),
                    acknowledgement: None,
                    receipt: None,
                },
            }),
            ..SessionRecord::default()
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_kept() {
        let record = record();
        let bytes = record.encode();
        assert_eq!(SessionRecord::decode(&bytes), Some(record));
        for end in 0..bytes.len() {
            assert_eq!(SessionRecord::decode(&bytes[..end]), None, "{end}");
        }
    }

    #[test]
    fn mqtt_3_1_3_9_a_delayed_will_waits_no_longer_than_the_session_lasts() {
        let mut record = record();
        record.end(1000, 0);
        assert_eq!(record.will_due_ms, Some(61_000));
        assert_eq!(record.expires_at_ms(), Some(61_000));
        assert!(record.is_alive(60_999) && !record.is_alive(61_000));
    }
}
