//! What must hold for any input; run by the fuzz targets on new inputs and by `tests/fuzz.rs` on the kept ones.

#![allow(dead_code, reason = "each target uses its part")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use proto_mqtt::codec::{Frame, FrameLimits, Message, decode, take_frame};
use proto_mqtt::session::{Action, Admission, Origin, Publication, Session, SubscriptionKey, Will};
use proto_mqtt::{CloseCause, DecodeError, MqttConfig, QoS, ReasonCode, Refusal, Version};

use super::packets;

const VERSIONS: [Version; 3] = [Version::V3_1, Version::V3_1_1, Version::V5];

/// Any bytes: no panic, and the same packets however the bytes are split. The first byte chooses the version and
/// the size of the pieces.
pub(crate) fn decode_any(data: &[u8]) {
    let Some((&choice, bytes)) = data.split_first() else {
        return;
    };
    let version = VERSIONS[usize::from(choice % 3)];
    let whole = frames(bytes, bytes.len().max(1));
    assert_eq!(whole, frames(bytes, usize::from(choice / 3) + 1));
    for frame in whole.0 {
        let _ = decode(&frame, version);
    }
}

/// All frames until an error or the end, when the bytes come in pieces of that size.
fn frames(bytes: &[u8], piece: usize) -> (Vec<Frame>, Option<DecodeError>) {
    let (mut buf, mut frames) = (BytesMut::new(), Vec::new());
    for piece in bytes.chunks(piece) {
        buf.extend_from_slice(piece);
        loop {
            match take_frame(&mut buf, FrameLimits::uniform(10_000)) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}

/// Any sequence of events in the life of a session: no panic, and what the client gets is at all times a
/// sequence of packets that another decoder understands, CONNACK first, once, and nothing after the end.
///
/// Each operation is a byte and what it needs: 0 to 99 bytes from the client, the answer to an action, a
/// delivery, time that passes.
pub(crate) fn session_any(data: &[u8]) {
    let mut model = Model::new();
    let mut data = data;
    while let Some((&operation, rest)) = data.split_first() {
        data = match operation {
            0..100 => {
                let (bytes, rest) = rest.split_at(rest.len().min(usize::from(operation)));
                model.receive(bytes);
                rest
            }
            100..150 => {
                model.act(operation % 2 == 0);
                rest
            }
            150..200 => {
                model.deliver(operation);
                rest
            }
            200..240 => {
                model.now += Duration::from_secs(u64::from(operation - 199));
                model.session.handle_timeout(model.now);
                rest
            }
            240..250 => {
                model.session.deliver_waiting(model.now);
                rest
            }
            _ => {
                model.session.close(CloseCause::ShuttingDown);
                rest
            }
        };
        model.check();
    }
}

struct Model {
    session: Session,
    now: Instant,
    inbound: BytesMut,
    /// Asked for and not answered yet.
    actions: Vec<Action>,
    keys: Vec<SubscriptionKey>,
    outbound: BytesMut,
    lines: usize,
}

impl Model {
    fn new() -> Self {
        let now = Instant::now();
        let config = MqttConfig {
            max_subscriptions: 20.try_into().unwrap(),
            ..MqttConfig::default()
        };
        Self {
            session: Session::new(Arc::new(config), Arc::from("assigned"), now),
            now,
            inbound: BytesMut::new(),
            actions: Vec::new(),
            keys: Vec::new(),
            outbound: BytesMut::new(),
            lines: 0,
        }
    }

    fn receive(&mut self, bytes: &[u8]) {
        self.inbound.extend_from_slice(bytes);
        while self.session.accepts_frames() {
            match take_frame(&mut self.inbound, self.session.frame_limits()) {
                Ok(Some(frame)) => self.session.handle_frame(&frame, self.now),
                Ok(None) => break,
                Err(error) => self.session.close(error.into()),
            }
            self.actions
                .extend(std::iter::from_fn(|| self.session.poll_action()));
        }
    }

    /// Answers the oldest action, well or badly.
    fn act(&mut self, well: bool) {
        self.actions
            .extend(std::iter::from_fn(|| self.session.poll_action()));
        if self.actions.is_empty() {
            return;
        }
        if well && self.session.poll_save(self.now, 1).is_some() {
            self.session.handle_saved();
        }
        let bad = || Refusal::new(ReasonCode::NotAuthorized, "no");
        match self.actions.remove(0) {
            Action::Exchange { begins, .. } => match (well, begins) {
                (true, true) => self.session.handle_reauthenticated(None),
                (true, false) => self.session.handle_challenge(None, self.now),
                (false, _) => self.session.handle_authenticated(Err(bad()), self.now),
            },
            Action::Authenticate(_) => {
                let result = if well {
                    Ok(Admission {
                        session_expiry_interval_s: 60,
                        ..Admission::default()
                    })
                } else {
                    Err(bad())
                };
                self.session.handle_authenticated(result, self.now);
            }
            Action::Publish(request)
            | Action::PublishWill(Will {
                publication: request,
                ..
            }) => {
                let result = if well { Ok(()) } else { Err(bad()) };
                self.session
                    .handle_published(request.acknowledgement, result);
            }
            Action::Subscribe(requests) => {
                self.keys.extend(requests.iter().map(|request| request.key));
                let results = requests
                    .iter()
                    .map(|_| if well { Ok(()) } else { Err(bad()) });
                self.session.handle_subscribed(results.collect());
            }
            Action::Unsubscribe(_) => {}
            Action::Resume(requests) => {
                self.keys
                    .extend(requests.iter().map(|request| request.filter.key));
                let keys: Vec<_> = requests.iter().map(|request| request.filter.key).collect();
                self.session.handle_resumed(if well { &[] } else { &keys });
            }
        }
        self.receive(&[]);
    }

    fn deliver(&mut self, choice: u8) {
        let Some(key) = self.keys.get(usize::from(choice) % self.keys.len().max(1)) else {
            return;
        };
        let publication = Publication {
            message: Message {
                topic: "a/b".into(),
                payload: "x".into(),
                ..Message::default()
            },
            qos: QoS::from_bits(choice % 3).expect("below 3"),
            origin: if choice.is_multiple_of(2) {
                Origin::Initial
            } else {
                Origin::Message
            },
            publisher: None,
            position: None,
            expires_at: choice
                .is_multiple_of(5)
                .then(|| self.now + Duration::from_secs(3)),
        };
        self.session.handle_publication(*key, publication, self.now);
    }

    fn check(&mut self) {
        let outbox = self.session.outbox();
        self.outbound
            .extend_from_slice(&outbox.copy_to_bytes(outbox.len()));
        let version = self.session.version();
        while !self.outbound.is_empty() {
            let version = version.expect("nothing is sent before CONNECT");
            let line = packets::describe(version, &mut self.outbound).expect("whole packets");
            self.lines += 1;
            assert_eq!(line.starts_with("CONNACK"), self.lines == 1, "{line}");
        }
        if self.session.close_cause().is_some() {
            assert!(!self.session.accepts_frames() && !self.session.wants_publications());
            assert_eq!(self.session.poll_timeout(), None);
        }
    }
}
