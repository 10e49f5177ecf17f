//! Publications to the client: the send window, packet identifiers, expiry and size (sections 3.3, 4.3, 4.9).

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base::Timestamp;

use super::{SavedDelivery, Session, SessionState, SubscriptionKey};
use crate::codec::{Ack, Message, PublishHeader, encode, encode_publish, encoded_publish_len};
use crate::{CloseCause, MqttConfig, PacketId, QoS};

/// Publications waiting in the session beyond which it asks for no more; a batch may exceed it.
const ENOUGH_WAITING: usize = 32;

/// Acknowledgements of one subscription that may wait for an older one before delivery pauses: each is kept
/// with the session.
const MAX_GAPS: usize = 10_000;

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
    /// Its place in the log; `None` for a part of the current state, which has none.
    pub position: Option<Timestamp>,
}

/// What was sent and is not finished, and what waits.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// QoS 1 and 2 publications that may be unacknowledged at a time.
    window: usize,
    next_id: PacketId,
    in_flight: HashMap<PacketId, InFlight>,
    /// Of an earlier connection: what the replay of the log brings again, and the packet it had.
    resent: HashMap<(SubscriptionKey, u64), PacketId>,
    waiting: VecDeque<(SubscriptionKey, Publication)>,
}

/// One QoS 1 or 2 publication that the client has not finished.
#[derive(Debug, Clone, Copy)]
struct InFlight {
    owed: Owed,
    key: SubscriptionKey,
    position: Option<Timestamp>,
}

/// The packet that the client owes us next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Owed {
    /// PUBACK.
    Acknowledgement = 0,
    /// PUBREC.
    Receipt = 1,
    /// PUBCOMP.
    Completion = 2,
}

impl Owed {
    fn from_u8(byte: u8) -> Self {
        match byte {
            0 => Self::Acknowledgement,
            1 => Self::Receipt,
            _ => Self::Completion,
        }
    }
}

impl Outgoing {
    pub(super) fn new(window: u16) -> Self {
        Self {
            window: usize::from(window),
            next_id: PacketId::MIN,
            in_flight: HashMap::new(),
            resent: HashMap::new(),
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

    /// Forgets what was never sent; it is still in the log.
    pub(super) fn clear_waiting(&mut self) {
        self.waiting.clear();
    }

    /// Takes up what was in flight when the earlier connection ended, and answers which PUBRELs are to be sent
    /// again.
    pub(super) fn restore(&mut self, state: &SessionState) -> Vec<PacketId> {
        self.next_id = state.next_packet_id.unwrap_or(PacketId::MIN);
        let mut releases = Vec::new();
        for saved in &state.deliveries {
            let (key, owed) = (SubscriptionKey(saved.key), Owed::from_u8(saved.owed));
            let position = Timestamp::from_bits(saved.position);
            let in_flight = InFlight {
                owed,
                key,
                position,
            };
            self.in_flight.insert(saved.packet_id, in_flight);
            match owed {
                Owed::Completion => releases.push(saved.packet_id),
                _ => {
                    self.resent.insert((key, saved.position), saved.packet_id);
                }
            }
        }
        releases
    }

    /// What is in flight and has a place in the log.
    pub(super) fn save(&self, state: &mut SessionState) {
        state.next_packet_id = Some(self.next_id);
        let saved = |(id, in_flight): (&PacketId, &InFlight)| {
            let owed = match (in_flight.position, in_flight.owed) {
                (Some(_), owed) => owed,
                // The state is delivered anew, so all that is left is that the client forgets the identifier.
                (None, Owed::Acknowledgement) => return None,
                (None, _) => Owed::Completion,
            };
            Some(SavedDelivery {
                packet_id: *id,
                key: in_flight.key.0,
                position: in_flight.position.unwrap_or(Timestamp::ZERO).to_bits(),
                owed: owed as u8,
            })
        };
        state.deliveries = self.in_flight.iter().filter_map(saved).collect();
        state.deliveries.sort_by_key(|delivery| delivery.position); // [MQTT-4.6.0-4]
    }

    /// Whether a publication of that place was sent on an earlier connection and its PUBREC came.
    fn is_released(&self, key: SubscriptionKey, position: Option<Timestamp>) -> bool {
        position.is_some()
            && self.in_flight.values().any(|in_flight| {
                in_flight.owed == Owed::Completion
                    && in_flight.key == key
                    && in_flight.position == position
            })
    }

    /// Forgets what the replay did not bring again, because it has expired or may no longer be read.
    fn drop_missing(&mut self, key: SubscriptionKey) -> Vec<Option<Timestamp>> {
        let missing: Vec<_> = self
            .resent
            .extract_if(|(of, _), _| *of == key)
            .map(|(_, id)| id)
            .collect();
        missing
            .into_iter()
            .filter_map(|id| self.in_flight.remove(&id))
            .map(|in_flight| in_flight.position)
            .collect()
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
    /// QoS 1 and 2 deliveries that the client may have unacknowledged.
    pub fn send_window(&self) -> usize {
        self.outgoing.window
    }

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
        if !self.is_connected() {
            return;
        }
        let position = publication.position;
        let is_released = self.outgoing.is_released(key, position);
        let Some(subscribed) = self.subscriptions.get_mut(key) else {
            return;
        };
        let is_new = subscribed.is_shared || subscribed.progress.begin(position);
        if !is_new || is_released {
            return; // finished on an earlier connection, or all but
        }
        // [MQTT-3.8.3-3]
        let own = publication.publisher.as_ref() == Some(&self.client.client_id);
        if own && subscribed.no_local {
            return self.finish_position(key, position);
        }
        self.outgoing.waiting.push_back((key, publication));
        self.deliver_waiting(now);
    }

    /// Notes that the state or the log has been delivered up to there; live events follow.
    pub fn handle_caught_up(&mut self, key: SubscriptionKey, covered: Timestamp) {
        if let Some(subscribed) = self.subscriptions.get_mut(key) {
            if !subscribed.is_shared {
                subscribed.progress.catch_up(covered);
            }
            self.touch();
        }
        // What still waits may be among it.
        let waits = self.outgoing.waiting.iter().any(|(of, _)| *of == key);
        if !waits {
            for position in self.outgoing.drop_missing(key) {
                self.finish_position(key, position);
            }
        }
    }

    fn finish_position(&mut self, key: SubscriptionKey, position: Option<Timestamp>) {
        let Some(subscribed) = self.subscriptions.get_mut(key) else {
            return;
        };
        match subscribed.is_shared {
            true => self
                .shared_finished
                .extend(position.map(|position| (key, position))),
            false => subscribed.progress.finish(position),
        }
        self.touch();
    }

    /// Deliveries of shared subscriptions that are finished, to be told to their groups.
    pub fn take_shared_finished(&mut self) -> Vec<(SubscriptionKey, Timestamp)> {
        std::mem::take(&mut self.shared_finished)
    }

    /// Whether the delivery of that place was sent and is not finished, and with which QoS.
    pub fn in_flight(&self, key: SubscriptionKey, position: Timestamp) -> Option<QoS> {
        let mut sent = self.outgoing.in_flight.values();
        let found = sent.find(|one| one.key == key && one.position == Some(position))?;
        Some(match found.owed {
            Owed::Acknowledgement => QoS::AtLeastOnce,
            Owed::Receipt | Owed::Completion => QoS::ExactlyOnce,
        })
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
            if needs_window && !self.has_window(*key, publication.position) {
                return; // [MQTT-4.9.0-2]
            }
            let front = self.outgoing.waiting.pop_front();
            if let (Some((key, publication)), Some(header)) = (front, header)
                && !self.deliver(key, &publication, header, now)
            {
                self.finish_position(key, publication.position);
            }
        }
    }

    /// Whether one more QoS 1 or 2 publication may be sent. One that is sent again has its place already.
    fn has_window(&self, key: SubscriptionKey, position: Option<Timestamp>) -> bool {
        let is_resent =
            position.is_some_and(|at| self.outgoing.resent.contains_key(&(key, at.to_bits())));
        let sent = self.outgoing.in_flight.len() - self.outgoing.resent.len();
        let window = self.outgoing.window;
        let gaps = self
            .subscriptions
            .get(key)
            .map_or(0, |subscribed| subscribed.progress.gaps());
        match is_resent {
            true => sent < window,
            false => self.outgoing.in_flight.len() < window && gaps < MAX_GAPS,
        }
    }

    /// Sends a publication; `false` if that is the end of it.
    fn deliver(
        &mut self,
        key: SubscriptionKey,
        publication: &Publication,
        mut header: PublishHeader,
        now: Instant,
    ) -> bool {
        if let Some(expires_at) = publication.expires_at {
            if expires_at <= now {
                self.counters.dropped_expired += 1; // [MQTT-3.3.2-5]
                return false;
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
            return false;
        }
        let owed = match header.qos {
            QoS::AtMostOnce => None,
            QoS::AtLeastOnce => Some(Owed::Acknowledgement),
            QoS::ExactlyOnce => Some(Owed::Receipt),
        };
        if let Some(owed) = owed {
            header.packet_id = Some(self.take_flight(key, publication.position, owed, &mut header));
        }
        // A QoS 2 packet must be known by its identifier after a crash, or it would come twice.
        let must_be_saved = owed == Some(Owed::Receipt) && !header.dup;
        encode_publish(version, &header, message, self.output(must_be_saved))
            .expect("its size was found above");
        self.counters.packets_sent += 1;
        self.counters.publishes_sent += 1;
        owed.is_some()
    }

    /// The packet identifier of a delivery: a free one, or the one it had on an earlier connection
    /// ([MQTT-4.4.0-1]).
    fn take_flight(
        &mut self,
        key: SubscriptionKey,
        position: Option<Timestamp>,
        owed: Owed,
        header: &mut PublishHeader,
    ) -> PacketId {
        let earlier = position.and_then(|at| self.outgoing.resent.remove(&(key, at.to_bits())));
        header.dup = earlier.is_some(); // [MQTT-3.3.1-1]
        let id = earlier.unwrap_or_else(|| self.outgoing.take_id());
        let in_flight = InFlight {
            owed,
            key,
            position,
        };
        self.outgoing.in_flight.insert(id, in_flight);
        self.touch();
        id
    }

    /// What the client owes for an identifier.
    fn owed(&self, id: PacketId) -> Option<Owed> {
        self.outgoing
            .in_flight
            .get(&id)
            .map(|in_flight| in_flight.owed)
    }

    pub(super) fn handle_puback(&mut self, ack: Ack, now: Instant) -> Result<(), CloseCause> {
        match self.owed(ack.packet_id) {
            Some(Owed::Acknowledgement) => self.finish(ack.packet_id, now),
            Some(_) => return Err(CloseCause::ProtocolError("PUBACK for a QoS 2 publication")),
            None => {} // a late one; there is nothing to answer
        }
        Ok(())
    }

    pub(super) fn handle_pubrec(&mut self, ack: Ack, now: Instant) -> Result<(), CloseCause> {
        let found = match self.owed(ack.packet_id) {
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
        if let Some(in_flight) = self.outgoing.in_flight.get_mut(&ack.packet_id) {
            in_flight.owed = Owed::Completion;
            if let Some(at) = in_flight.position {
                self.outgoing.resent.remove(&(in_flight.key, at.to_bits()));
            }
        }
        // Once the client has PUBREL it forgets the identifier, so the publication must never come again.
        self.send_saved(found, |version, out| {
            encode::pubrel(version, ack.packet_id, found, out); // [MQTT-4.3.3-4]
        })
    }

    pub(super) fn handle_pubcomp(&mut self, ack: Ack, now: Instant) -> Result<(), CloseCause> {
        match self.owed(ack.packet_id) {
            Some(Owed::Completion) => self.finish(ack.packet_id, now),
            Some(_) => return Err(CloseCause::ProtocolError("PUBCOMP before PUBREL")),
            None => {}
        }
        Ok(())
    }

    fn finish(&mut self, id: PacketId, now: Instant) {
        if let Some(in_flight) = self.outgoing.in_flight.remove(&id) {
            if let Some(at) = in_flight.position {
                self.outgoing.resent.remove(&(in_flight.key, at.to_bits()));
            }
            self.finish_position(in_flight.key, in_flight.position);
        }
        self.deliver_waiting(now);
    }
}

/// Whole seconds, rounded up so that what is delivered is not announced as expired.
fn seconds_left(left: Duration) -> u32 {
    let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
    u32::try_from(seconds).unwrap_or(u32::MAX)
}
