//! Rules of the protocol, by transcript: what the client sends, what it gets, what the driver is asked to do.
//! The clock moves only when a test moves it.

mod connect;
mod deliver;
#[path = "../../tests/support/packets.rs"]
mod packets;
mod publish;
mod subscribe;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};

use self::packets::*;
use super::*;
use crate::codec::{Message, take_frame};
use crate::{QoS, Refusal};

const V3: Version = Version::V3_1_1;
const V5: Version = Version::V5;
const BOTH: [Version; 2] = [V3, V5];

/// A client and the session that serves it.
struct Client {
    session: Session,
    version: Version,
    now: Instant,
}

impl Client {
    /// A stream that has sent nothing yet.
    fn new(version: Version) -> Self {
        Self::with_config(version, MqttConfig::default())
    }

    fn with_config(version: Version, config: MqttConfig) -> Self {
        let now = Instant::now();
        let session = Session::new(Arc::new(config), Arc::from("assigned"), now);
        Self {
            session,
            version,
            now,
        }
    }

    /// One whose CONNECT was accepted; the answer is taken.
    fn connected(version: Version) -> Self {
        let mut client = Self::new(version);
        client.connect(&Connect::new(version));
        client
    }

    fn connect(&mut self, connect: &Connect) {
        self.send(&connect.encode());
        let asked = self.actions();
        assert!(matches!(asked[..], [Action::Authenticate(_)]), "{asked:?}");
        self.session
            .handle_authenticated(Ok(Admission::default()), self.now);
        let answer = self.sent();
        assert!(answer[0].starts_with("CONNACK 0 00"), "{answer:?}");
    }

    fn send(&mut self, bytes: &[u8]) {
        let mut buf = BytesMut::from(bytes);
        loop {
            match take_frame(&mut buf, self.session.frame_limits()) {
                Ok(Some(frame)) => self.session.handle_frame(&frame, self.now),
                Ok(None) => return,
                Err(error) => return self.session.close(error.into()),
            }
        }
    }

    /// What the client got since the last look.
    fn sent(&mut self) -> Vec<String> {
        let outbox = self.session.outbox();
        let mut bytes = BytesMut::from(&outbox.copy_to_bytes(outbox.len())[..]);
        let mut lines = Vec::new();
        while let Some(line) = describe(self.version, &mut bytes) {
            lines.push(line);
        }
        assert!(bytes.is_empty(), "{bytes:02x?} left");
        lines
    }

    fn actions(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.session.poll_action()).collect()
    }

    /// The publications that the driver is asked for, as `topic payload`.
    fn published(&mut self) -> Vec<String> {
        let line = |action| match action {
            Action::Publish(request)
            | Action::PublishWill(Will {
                publication: request,
                ..
            }) => {
                let payload = String::from_utf8_lossy(&request.payload).into_owned();
                let retain = if request.retain { "retain " } else { "" };
                format!("{retain}{} {payload}", request.topic)
            }
            other => panic!("{other:?}"),
        };
        self.actions().into_iter().map(line).collect()
    }

    /// Subscribes successfully and returns the key.
    fn subscribe(&mut self, filter: &str, options: u8) -> SubscriptionKey {
        self.subscribe_with(filter, options, &[])
    }

    fn subscribe_with(&mut self, filter: &str, options: u8, properties: &[u8]) -> SubscriptionKey {
        self.send(&subscribe_with(
            self.version,
            9,
            &[(filter, options)],
            properties,
        ));
        let key = match &self.actions()[..] {
            [Action::Subscribe(requests)] => requests[0].key,
            other => panic!("{other:?}"),
        };
        self.session.handle_subscribed(vec![Ok(())]);
        assert_eq!(self.sent().len(), 1);
        key
    }

    fn deliver(&mut self, key: SubscriptionKey, publication: Publication) {
        self.session.handle_publication(key, publication, self.now);
    }

    fn advance(&mut self, duration: Duration) {
        self.now += duration;
        self.session.handle_timeout(self.now);
    }

    fn cause(&self) -> Option<&CloseCause> {
        self.session.close_cause()
    }

    /// The whole story of a violation: the last packet, and that the session ended.
    fn farewell(&mut self) -> Option<String> {
        assert!(self.cause().is_some(), "not closed");
        assert!(!self.session.accepts_frames() && !self.session.wants_publications());
        self.sent().pop()
    }
}

/// A message on `topic`, as a subscription would deliver it.
fn message(topic: &'static str, payload: &'static str) -> Publication {
    Publication {
        message: Message {
            topic: topic.into(),
            payload: payload.into(),
            ..Message::default()
        },
        qos: QoS::ExactlyOnce,
        origin: Origin::Message,
        publisher: None,
        expires_at: None,
        position: None,
    }
}

fn refusal(reason: ReasonCode) -> Refusal {
    Refusal::new(reason, "because")
}
