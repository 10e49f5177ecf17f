//! What is left of a session when its connection ends (section 4.1): no copies of messages, only positions in
//! the log.

use std::num::NonZeroU32;
use std::sync::Arc;

use base::Timestamp;

use super::blob::{Reader, Writer};
use super::subscriptions::is_shared;
use crate::codec::SubscriptionOptions;
use crate::{PacketId, QoS, RetainHandling};

/// First byte of the encoded form.
const FORMAT: u8 = 1;

/// State that outlives a connection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SessionState {
    /// Its subscriptions.
    pub subscriptions: Vec<SavedSubscription>,
    /// QoS 1 and 2 deliveries that were sent and are not finished, in the order they were sent.
    pub deliveries: Vec<SavedDelivery>,
    /// QoS 2 publications of the client that were received and wait for PUBREL.
    pub received: Vec<PacketId>,
    /// Where the search for the next packet identifier starts.
    pub next_packet_id: Option<PacketId>,
    /// Number of the next QoS 2 publication of the client.
    pub next_receipt: u64,
    /// Publications with smaller numbers are all in `received` or finished; of others the log must be asked.
    pub unknown_from: u64,
    /// About when the first of those was begun, in milliseconds since the epoch.
    pub unknown_since_ms: u64,
}

/// One subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedSubscription {
    /// Its key within the session.
    pub key: u64,
    /// Topic Filter as the client wrote it.
    pub filter: Arc<str>,
    /// Its options.
    pub options: SubscriptionOptions,
    /// Subscription Identifier.
    pub identifier: Option<NonZeroU32>,
    /// Local time up to which everything is finished, as bits; `None` before the state was delivered.
    pub position: Option<u64>,
    /// What was finished beyond it.
    pub finished: Vec<u64>,
}

/// One delivery in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SavedDelivery {
    /// Its Packet Identifier.
    pub packet_id: PacketId,
    /// Its subscription.
    pub key: u64,
    /// Its place in the log, as bits.
    pub position: u64,
    /// What the client owes: 0 PUBACK, 1 PUBREC, 2 PUBCOMP.
    pub owed: u8,
}

impl SessionState {
    /// The form in which it is kept.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.u8(FORMAT);
        out.count(self.subscriptions.len());
        for subscription in &self.subscriptions {
            subscription.encode(&mut out);
        }
        out.count(self.deliveries.len());
        for delivery in &self.deliveries {
            out.u16(delivery.packet_id.get());
            out.u64(delivery.key);
            out.u64(delivery.position);
            out.u8(delivery.owed);
        }
        out.count(self.received.len());
        for id in &self.received {
            out.u16(id.get());
        }
        out.u16(self.next_packet_id.map_or(0, PacketId::get));
        out.u64(self.next_receipt);
        out.u64(self.unknown_from);
        out.u64(self.unknown_since_ms);
        out.0
    }

    /// The state that was kept; `None` if the bytes are no such thing.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut input = Reader(bytes);
        if input.u8()? != FORMAT {
            return None;
        }
        let state = Self {
            subscriptions: input.list(SavedSubscription::decode)?,
            deliveries: input.list(|input| {
                Some(SavedDelivery {
                    packet_id: input.packet_id()?,
                    key: input.u64()?,
                    position: input.u64().filter(is_position)?,
                    owed: input.u8().filter(|owed| *owed <= 2)?,
                })
            })?,
            received: input.list(Reader::packet_id)?,
            next_packet_id: PacketId::new(input.u16()?),
            next_receipt: input.u64()?,
            unknown_from: input.u64()?,
            unknown_since_ms: input.u64()?,
        };
        input.0.is_empty().then_some(state)
    }
}

impl SessionState {
    /// Places of QoS 2 deliveries of a shared subscription that PUBREC has not answered.
    pub(super) fn owed_receipts(&self, subscription: &SavedSubscription) -> Vec<Timestamp> {
        if !is_shared(&subscription.filter) {
            return Vec::new();
        }
        let owed = |one: &&SavedDelivery| one.key == subscription.key && one.owed == 1;
        let owed = self.deliveries.iter().filter(owed);
        owed.filter_map(|one| Timestamp::from_bits(one.position))
            .collect()
    }
}

impl SavedSubscription {
    fn encode(&self, out: &mut Writer) {
        let options = &self.options;
        out.u64(self.key);
        out.bytes(self.filter.as_bytes());
        out.u8(options.qos as u8);
        out.u8(u8::from(options.no_local));
        out.u8(u8::from(options.retain_as_published));
        out.u8(match options.retain_handling {
            RetainHandling::Send => 0,
            RetainHandling::SendIfNew => 1,
            RetainHandling::DoNotSend => 2,
        });
        out.u32(self.identifier.map_or(0, NonZeroU32::get));
        out.option(self.position, Writer::u64);
        out.count(self.finished.len());
        for position in &self.finished {
            out.u64(*position);
        }
    }

    fn decode(input: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            key: input.u64()?,
            filter: Arc::from(input.text()?),
            options: SubscriptionOptions {
                qos: QoS::from_bits(input.u8()?)?,
                no_local: input.flag()?,
                retain_as_published: input.flag()?,
                retain_handling: match input.u8()? {
                    0 => RetainHandling::Send,
                    1 => RetainHandling::SendIfNew,
                    2 => RetainHandling::DoNotSend,
                    _ => return None,
                },
            },
            identifier: NonZeroU32::new(input.u32()?),
            position: input.option(|input| input.u64().filter(is_position))?,
            finished: input.list(|input| input.u64().filter(is_position))?,
        })
    }

    /// Where to replay from.
    pub fn start(&self) -> Option<Timestamp> {
        self.position.and_then(Timestamp::from_bits)
    }
}

fn is_position(bits: &u64) -> bool {
    Timestamp::from_bits(*bits).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_as_it_was_kept() {
        let state = SessionState {
            subscriptions: vec![SavedSubscription {
                key: 3,
                filter: Arc::from("Dog/#"),
                options: SubscriptionOptions {
                    qos: QoS::ExactlyOnce,
                    no_local: true,
                    retain_as_published: false,
                    retain_handling: RetainHandling::SendIfNew,
                },
                identifier: NonZeroU32::new(7),
                position: Some(1.5_f64.to_bits()),
                finished: vec![2.0_f64.to_bits()],
            }],
            deliveries: vec![SavedDelivery {
                packet_id: PacketId::MAX,
                key: 3,
                position: 3.0_f64.to_bits(),
                owed: 2,
            }],
            received: vec![PacketId::MIN],
            next_packet_id: PacketId::new(9),
            next_receipt: u64::MAX,
            unknown_from: 2,
            unknown_since_ms: 1,
        };
        let bytes = state.encode();
        assert_eq!(SessionState::decode(&bytes), Some(state));
        for end in 0..bytes.len() {
            assert_eq!(SessionState::decode(&bytes[..end]), None, "{end}");
        }
    }
}
