//! Publications to the client: the send window, packet identifiers, expiry and size (sections 3.3, 4.3, 4.9).

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Session, SubscriptionKey};
use crate::codec::{Ack, Message, PublishHeader, encode, encode_publish, encoded_publish_len};
use crate::{CloseCause, MqttConfig, PacketId, QoS};

/// Publications waiting in the session beyond which it asks for no more; a batch may exceed it.
const ENOUGH_WAITING: usize = 32;

/// Why a publication is delivered; decides its RETAIN flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It is the current state, sent because of the subscription: RETAIN 1.
    Initial,
    /// It just changed the current state: RETAIN 1 if the subscription keeps the flag ([MQTT-3.3.1-13]).
    Retained,
    /// It is a message that leaves the state alone: RETAIN 0.
    Message,
}

/// Something to deliver on one subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// What all its receivers share.
    pub message: Message,
    /// QoS of the publication; it is delivered with no more ([MQTT-3.8.4-8]).
    pub qos: QoS,
    /// Why it is delivered.
    pub origin: Origin,
    /// Client identifier of the session that published it, for No Local.
    pub publisher: Option<Arc<str>>,
    /// When it is no longer worth delivering.
    pub expires_at: Option<Instant>,
}

/// What was sent and is not finished, and what waits.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// QoS 1 and 2 publications that may be unacknowledged at a time.
    window: usize,
    next_id: PacketId,
    in_flight: HashMap<PacketId, Owed>,
    waiting: VecDeque<(SubscriptionKey, Publication)>,
}

/// The packet that the client owes us next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owed {
    /// PUBACK.
    Acknowledgement,
    /// PUBREC.
    Receipt,
    /// PUBCOMP.
    Completion,
}

impl Outgoing {
    pub(super) fn new(window: u16) -> Self {
        Self {
            window: usize::from(window),
            next_id: PacketId::MIN,
            in_flight: HashMap::new(),
            waiting: VecDeque::new(),
        }
    }

    /// [MQTT-3.3.4-9]: no more than the client's Receive Maximum, and no more than we want to hold.
    pub(super) fn set_window(&mut self, receive_maximum: Option<NonZeroU16>, config: &MqttConfig) {
        let window = receive_maximum.map_or(config.send_window, |maximum| {
            maximum.min(config.max_send_window)
        });
        self.window = usize::from(window.get());
    }

    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        self.in_flight.clear();
    }

    /// An identifier that is not in use ([MQTT-2.2.1-4]). The window leaves at least one.
    fn take_id(&mut self) -> PacketId {
        loop {
            let id = self.next_id;
            self.next_id = id.checked_add(1).unwrap_or(PacketId::MIN);
            if !self.in_flight.contains_key(&id) {
                return id;
            }
        }
    }
}

impl Session {
    /// Whether [`handle_publication`](Self::handle_publication) should be called: the client reads and
    /// acknowledges fast enough. What is not fetched waits, bounded, in its subscription.
    pub fn wants_publications(&self) -> bool {
        self.is_connected() && self.outgoing.waiting.len() < ENOUGH_WAITING && !self.is_congested()
    }

    /// Delivers a publication, or lets it wait until the send window opens. One for a subscription that has
    /// ended is dropped.
    pub fn handle_publication(
        &mut self,
        key: SubscriptionKey,
        publication: Publication,
        now: Instant,
    ) {
        let Some(subscribed) = self.subscriptions.get(key).filter(|_| self.is_connected()) else {
            return;
        };
        // [MQTT-3.8.3-3]
        let own = publication.publisher.as_ref() == Some(&self.client.client_id);
        if own && subscribed.no_local {
            return;
        }
        self.outgoing.waiting.push_back((key, publication));
        self.deliver_waiting(now);
    }

    /// Sends what waits as far as window and outbox allow; to be called when bytes were written.
    pub fn deliver_waiting(&mut self, now: Instant) {
        while self.is_connected() && !self.is_congested() {
            let Some((key, publication)) = self.outgoing.waiting.front() else {
                return;
            };
            // Gone after UNSUBSCRIBE ([MQTT-3.10.4-2]).
            let header = self
                .subscriptions
                .get(*key)
                .map(|subscribed| PublishHeader {
                    qos: subscribed.qos.min(publication.qos),
                    retain: match publication.origin {
                        Origin::Initial => true,
                        Origin::Retained => subscribed.retain_as_published,
                        Origin::Message => false,
                    },
                    subscription_identifier: subscribed.identifier.map(|number| number.get()),
                    ..PublishHeader::default()
                });
            let needs_window = header.is_some_and(|header| header.qos > QoS::AtMostOnce);
            if needs_window && self.outgoing.in_flight.len() >= self.outgoing.window {
                return; // [MQTT-4.9.0-2]
            }
            let front = self.outgoing.waiting.pop_front();
            if let (Some((_, publication)), Some(header)) = (front, header) {
                self.deliver(&publication, header, now);
            }
        }
    }

    fn deliver(&mut self, publication: &Publication, mut header: PublishHeader, now: Instant) {
        if let Some(expires_at) = publication.expires_at {
            if expires_at <= now {
                self.counters.dropped_expired += 1; // [MQTT-3.3.2-5]
                return;
            }
            header.message_expiry_interval_s = Some(seconds_left(expires_at - now)); // [MQTT-3.3.2-6]
        }
        // Any identifier has the same size.
        header.packet_id = (header.qos > QoS::AtMostOnce).then_some(PacketId::MIN);
        let version = self.v();
        let message = &publication.message;
        let fits = encoded_publish_len(version, &header, message)
            .is_ok_and(|size| size <= self.client.max_packet_bytes);
        if !fits {
            self.counters.dropped_too_large += 1; // [MQTT-3.1.2-25]
            return;
        }
        if header.packet_id.is_some() {
            let id = self.outgoing.take_id();
            let owed = match header.qos {
                QoS::ExactlyOnce => Owed::Receipt,
                _ => Owed::Acknowledgement,
            };
            self.outgoing.in_flight.insert(id, owed);
            header.packet_id = Some(id);
        }
        encode_publish(version, &header, message, &mut self.outbox)
            .expect("its size was found above");
        self.counters.packets_sent += 1;
        self.counters.publishes_sent += 1;
    }

    pub(super) fn handle_puback(&mut self, ack: Ack, now: Instant) -> Result<(), CloseCause> {
        match self.outgoing.in_flight.get(&ack.packet_id) {
            Some(Owed::Acknowledgement) => self.finish(ack.packet_id, now),
            Some(_) => return Err(CloseCause::ProtocolError("PUBACK for a QoS 2 publication")),
            None => {} // a late one; there is nothing to answer
        }
        Ok(())
    }

    pub(super) fn handle_pubrec(&mut self, ack: Ack, now: Instant) -> Result<(), CloseCause> {
        let found = match self.outgoing.in_flight.get(&ack.packet_id) {
            Some(Owed::Acknowledgement) => {
                return Err(CloseCause::ProtocolError("PUBREC for a QoS 1 publication"));
            }
            // [MQTT-4.4.0-2]: refused, and with that acknowledged.
            Some(_) if ack.reason.is_error() => {
                self.finish(ack.packet_id, now);
                return Ok(());
            }
            Some(_) => true,
            None if ack.reason.is_error() => return Ok(()),
            None => false,
        };
        if found {
            self.outgoing
                .in_flight
                .insert(ack.packet_id, Owed::Completion);
        }
        let version = self.v();
        self.send(|out| encode::pubrel(version, ack.packet_id, found, out)) // [MQTT-4.3.3-4]
    }

    pub(super) fn handle_pubcomp(&mut self, ack: Ack, now: Instant) -> Result<(), CloseCause> {
        match self.outgoing.in_flight.get(&ack.packet_id) {
            Some(Owed::Completion) => self.finish(ack.packet_id, now),
            Some(_) => return Err(CloseCause::ProtocolError("PUBCOMP before PUBREL")),
            None => {}
        }
        Ok(())
    }

    fn finish(&mut self, id: PacketId, now: Instant) {
        self.outgoing.in_flight.remove(&id);
        self.deliver_waiting(now);
    }
}

/// Whole seconds, rounded up so that what is delivered is not announced as expired.
fn seconds_left(left: Duration) -> u32 {
    let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
    u32::try_from(seconds).unwrap_or(u32::MAX)
}
