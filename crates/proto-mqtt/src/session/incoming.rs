//! Publications from the client: aliases, the receive maximum, and QoS 2 receipt (sections 3.3 and 4.3).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;

use super::{
    Acknowledgement, Action, PublishRequest, ReceiptRequest, ReceiptSearch, Session, SessionState,
};
use crate::codec::{Ack, Publish, encode};
use crate::{CloseCause, PacketId, QoS, ReasonCode, Refusal};

/// What was received and is not finished yet.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    /// Topics by alias, for this connection only ([MQTT-3.3.2-7]).
    aliases: HashMap<u16, Arc<str>>,
    /// QoS 1 and 2 publications that count against the Receive Maximum.
    unacknowledged: usize,
    /// QoS 2 publications until PUBREL.
    exactly_once: HashMap<PacketId, Receipt>,
    /// Number of the next QoS 2 publication.
    next_receipt: u64,
    /// What the earlier connection left: a publication that is sent again may be in the log already.
    resumed: Option<Resumed>,
}

/// What was known of the client's publications when the session was kept.
#[derive(Debug)]
struct Resumed {
    first_unknown: u64,
    /// The numbers of this connection begin here.
    end: u64,
    since_ms: u64,
    /// Of the publications that were sent again, those that are not recorded yet.
    resending: HashSet<PacketId>,
    /// The client has sent something new, so it has sent everything again that it will ([MQTT-4.6.0-1]).
    is_complete: bool,
}

impl Incoming {
    pub(super) fn begin(&mut self, first_receipt: u64) {
        self.next_receipt = first_receipt;
    }

    pub(super) fn restore(&mut self, state: &SessionState) {
        let recorded = state.received.iter().map(|id| (*id, Receipt::Recorded));
        self.exactly_once = recorded.collect();
        // Whatever number was given to one that the state does not know is not used again.
        self.next_receipt = state.next_receipt + u64::from(u16::MAX);
        self.resumed = Some(Resumed {
            first_unknown: state.unknown_from,
            end: self.next_receipt,
            since_ms: state.unknown_since_ms,
            resending: HashSet::new(),
            is_complete: false,
        });
    }

    pub(super) fn save(&self, state: &mut SessionState, now_ms: u64) {
        let (mut first_unknown, mut received) = (self.next_receipt, Vec::new());
        for (id, receipt) in &self.exactly_once {
            match receipt {
                Receipt::Recorded => received.push(*id),
                Receipt::Publishing(number) => first_unknown = first_unknown.min(*number),
            }
        }
        state.received = received;
        state.next_receipt = self.next_receipt;
        (state.unknown_from, state.unknown_since_ms) = match &self.resumed {
            Some(resumed) => (resumed.first_unknown, resumed.since_ms),
            None => (first_unknown, now_ms),
        };
    }

    /// The receipt of a QoS 2 publication that is not known, and so new, unless the server was killed before it
    /// could keep it.
    fn take_receipt(&mut self, id: PacketId, dup: bool) -> ReceiptRequest {
        let number = self.next_receipt;
        self.next_receipt += 1;
        self.exactly_once.insert(id, Receipt::Publishing(number));
        let search = self.resumed.as_mut().and_then(|resumed| {
            resumed.is_complete |= !dup;
            if dup {
                resumed.resending.insert(id);
            }
            dup.then_some(ReceiptSearch {
                numbers: resumed.first_unknown..resumed.end,
                since_ms: resumed.since_ms,
            })
        });
        ReceiptRequest {
            number,
            packet_id: id,
            search,
        }
    }

    fn record(&mut self, id: PacketId) {
        self.exactly_once.insert(id, Receipt::Recorded);
        if let Some(resumed) = &mut self.resumed {
            resumed.resending.remove(&id);
            if resumed.is_complete && resumed.resending.is_empty() {
                self.resumed = None;
            }
        }
    }

    fn count_acknowledged(&mut self) {
        self.unacknowledged = self.unacknowledged.saturating_sub(1);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Receipt {
    /// Being published under that number; PUBREC follows.
    Publishing(u64),
    /// PUBREC was sent: the same identifier means the same publication ([MQTT-4.3.3-10]).
    Recorded,
}

impl Session {
    /// Acknowledges a publication, in the order of the requests. A refusal is told in 5.0; 3.1.1 has no word for
    /// it, so the client gets its acknowledgement, or is disconnected if configured.
    pub fn handle_published(
        &mut self,
        acknowledgement: Option<Acknowledgement>,
        result: Result<(), Refusal>,
    ) {
        if result.is_err() {
            self.counters.publishes_refused += 1;
        }
        if !self.is_connected() {
            // The client will send it again on its next connection: it must not be published twice.
            if let (Some(Acknowledgement::PubRec(id)), Ok(())) = (acknowledgement, &result) {
                self.incoming.record(id);
            }
            return;
        }
        let acknowledged = match (result, self.v().is_v5()) {
            (Err(refusal), false) if self.config.close_on_refused_publish => {
                Err(CloseCause::PublishRefused(refusal))
            }
            (Ok(()) | Err(_), false) => {
                self.acknowledge(acknowledgement, ReasonCode::Success, None)
            }
            (Ok(()), true) => self.acknowledge(acknowledgement, ReasonCode::Success, None),
            (Err(refusal), true) => {
                self.acknowledge(acknowledgement, refusal.reason, Some(&refusal.text))
            }
        };
        if let Err(cause) = acknowledged {
            self.close(cause);
        }
    }

    pub(super) fn handle_publish(
        &mut self,
        publish: &Publish<'_>,
        body: &Bytes,
    ) -> Result<(), CloseCause> {
        self.counters.publishes_received += 1;
        let topic = self.resolve_topic(publish)?;
        let mut receipt = None;
        let acknowledgement = match (publish.qos, publish.packet_id) {
            (QoS::AtLeastOnce, Some(id)) => Some(Acknowledgement::PubAck(id)),
            (QoS::ExactlyOnce, Some(id)) => match self.incoming.exactly_once.get(&id) {
                // [MQTT-4.3.3-10]: acknowledged again, published once.
                Some(Receipt::Publishing(_)) => return Ok(()),
                Some(Receipt::Recorded) => {
                    let version = self.v();
                    return self
                        .send(|out| encode::pubrec(version, id, ReasonCode::Success, None, out));
                }
                None => {
                    receipt = Some(self.incoming.take_receipt(id, publish.dup));
                    Some(Acknowledgement::PubRec(id))
                }
            },
            _ => None,
        };
        if acknowledgement.is_some() {
            self.count_unacknowledged()?;
        }
        self.actions.push_back(Action::Publish(PublishRequest {
            topic,
            payload: body.slice_ref(publish.payload),
            qos: publish.qos,
            retain: publish.retain,
            properties: publish.properties.to_message_properties(publish.qos, body),
            acknowledgement,
            receipt,
        }));
        Ok(())
    }

    /// PUBREL: the client will not send this publication again.
    pub(super) fn handle_pubrel(&mut self, ack: Ack) -> Result<(), CloseCause> {
        let found = match self.incoming.exactly_once.get(&ack.packet_id) {
            Some(Receipt::Publishing(_)) => {
                return Err(CloseCause::ProtocolError("PUBREL before PUBREC"));
            }
            Some(Receipt::Recorded) => true,
            None => false,
        };
        if found {
            self.incoming.exactly_once.remove(&ack.packet_id);
            self.incoming.count_acknowledged();
        }
        // The client may use the identifier again, for another publication that must not be taken for this one.
        self.send_saved(found, |version, out| {
            encode::pubcomp(version, ack.packet_id, found, out); // [MQTT-4.3.3-11]
        })
    }

    /// The topic of a PUBLISH, whose alias may stand for it or be set by it (section 3.3.2.3.4).
    fn resolve_topic(&mut self, publish: &Publish<'_>) -> Result<Arc<str>, CloseCause> {
        let Some(alias) = publish.topic_alias.map(std::num::NonZeroU16::get) else {
            return Ok(Arc::from(publish.topic));
        };
        if alias > self.config.topic_alias_maximum {
            return Err(CloseCause::TopicAliasInvalid(alias)); // [MQTT-3.3.2-9]
        }
        if publish.topic.is_empty() {
            let known = self.incoming.aliases.get(&alias).cloned();
            return known.ok_or(CloseCause::ProtocolError(
                "a topic alias that was never set",
            ));
        }
        let topic: Arc<str> = Arc::from(publish.topic);
        self.incoming.aliases.insert(alias, Arc::clone(&topic));
        Ok(topic)
    }

    /// [MQTT-3.3.4-7]; 3.1.1 knows no such limit, there the driver stops reading.
    fn count_unacknowledged(&mut self) -> Result<(), CloseCause> {
        self.incoming.unacknowledged += 1;
        let limit = self.config.receive_maximum.get();
        match self.v().is_v5() && self.incoming.unacknowledged > usize::from(limit) {
            true => Err(CloseCause::ReceiveMaximumExceeded { limit }),
            false => Ok(()),
        }
    }

    fn acknowledge(
        &mut self,
        acknowledgement: Option<Acknowledgement>,
        reason: ReasonCode,
        text: Option<&str>,
    ) -> Result<(), CloseCause> {
        let version = self.v();
        match acknowledgement {
            None => Ok(()),
            Some(Acknowledgement::PubAck(id)) => {
                self.incoming.count_acknowledged();
                self.send_with_text(text, |text, out| {
                    encode::puback(version, id, reason, text, out)
                })
            }
            Some(Acknowledgement::PubRec(id)) => {
                if reason.is_error() {
                    // [MQTT-4.3.3-9]: the identifier is free again.
                    self.incoming.exactly_once.remove(&id);
                    self.incoming.count_acknowledged();
                } else {
                    self.incoming.record(id);
                    return self.send_saved(true, |version, out| {
                        encode::pubrec(version, id, reason, None, out);
                    });
                }
                self.send_with_text(text, |text, out| {
                    encode::pubrec(version, id, reason, text, out)
                })
            }
        }
    }
}
