//! One connection as a state machine: packets and time in, actions and bytes out. No socket, no runtime, no
//! clock of its own.
//!
//! ```text
//!                 CONNECT                    handle_authenticated(Ok)
//! AwaitingConnect ──────▶ Authenticating ───────────────────────────▶ Connected ──▶ Closed
//!        └──────────────────────┴───────── any error, time-out, close() ──────────────┘
//! ```
//!
//! The driver feeds [`Session::handle_frame`] while [`Session::accepts_frames`], performs each
//! [`Session::poll_action`], reports results by the other `handle_*`, and writes [`Session::outbox`]. When
//! [`Session::close_cause`] is there, it writes what is left and closes the stream. Everything a peer can make
//! a session hold is bounded by [`MqttConfig`].
//!
//! What outlives the connection is a [`SessionState`]: receipts of QoS 2, packet identifiers in flight, and one
//! position in the log for each subscription.

mod action;
pub(crate) mod blob;
mod connect;
mod durable;
mod incoming;
mod outgoing;
mod progress;
mod state;
mod subscriptions;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base::Timestamp;
use bytes::BytesMut;

pub use self::action::{
    Acknowledgement, Action, Admission, AuthenticateRequest, FilterRequest, Login, PublishRequest,
    ReceiptRequest, ReceiptSearch, ResumeRequest, SubscriptionKey, Will,
};
pub use self::outgoing::{Origin, Publication};
#[cfg(feature = "driver")]
pub(crate) use self::progress::Progress;
pub use self::state::{SavedDelivery, SavedSubscription, SessionState};

use self::durable::Durable;
use self::incoming::Incoming;
use self::outgoing::Outgoing;
use self::subscriptions::{PendingSubscribe, Subscriptions};
use crate::codec::{Disconnect, Frame, FrameLimits, Outbox, Packet, PacketType, decode, encode};
use crate::{CloseCause, MqttConfig, ReasonCode, Version};

/// What a session did, as running totals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Packets read.
    pub packets_received: u64,
    /// Packets written.
    pub packets_sent: u64,
    /// PUBLISH packets read.
    pub publishes_received: u64,
    /// PUBLISH packets written.
    pub publishes_sent: u64,
    /// Publications of the client that were refused.
    pub publishes_refused: u64,
    /// Deliveries dropped because their Message Expiry Interval had passed ([MQTT-3.3.2-5]).
    pub dropped_expired: u64,
    /// Deliveries dropped because they exceed what the client or the protocol takes ([MQTT-3.1.2-25]).
    pub dropped_too_large: u64,
}

/// The server side of one connection.
#[derive(Debug)]
pub struct Session {
    config: Arc<MqttConfig>,
    state: State,
    client: Client,
    /// When the last packet came; start of the Keep Alive period.
    last_packet: Instant,
    incoming: Incoming,
    outgoing: Outgoing,
    subscriptions: Subscriptions,
    /// A SUBSCRIBE that waits for its answer; further packets have to wait behind it.
    subscribing: Option<PendingSubscribe>,
    /// The subscriptions of an earlier connection are being opened; packets have to wait behind that, too.
    resuming: bool,
    will: Option<Will>,
    actions: VecDeque<Action>,
    outbox: Outbox,
    durable: Durable,
    /// Deliveries of shared subscriptions that are finished.
    shared_finished: Vec<(SubscriptionKey, Timestamp)>,
    counters: Counters,
}

impl State {
    fn is_connected(&self) -> bool {
        matches!(self, Self::Connected)
    }
}

#[derive(Debug)]
enum State {
    AwaitingConnect { deadline: Instant },
    Authenticating,
    Connected,
    Closed(CloseCause),
}

/// What CONNECT said.
#[derive(Debug)]
struct Client {
    /// `None` until CONNECT named a version that can be answered.
    version: Option<Version>,
    client_id: Arc<str>,
    /// Whether the server made the client identifier.
    assigned: bool,
    keep_alive_s: u16,
    max_packet_bytes: usize,
    session_expiry_interval_s: u32,
    problem_information: bool,
}

impl Session {
    /// A session that waits for CONNECT. A client that gives no identifier gets `assigned_client_id`, which
    /// must be unique on this server ([MQTT-3.2.2-16]).
    pub fn new(config: Arc<MqttConfig>, assigned_client_id: Arc<str>, now: Instant) -> Self {
        Self {
            state: State::AwaitingConnect {
                deadline: now + config.connect_timeout,
            },
            client: Client {
                version: None,
                client_id: assigned_client_id,
                assigned: true,
                keep_alive_s: 0,
                max_packet_bytes: usize::MAX,
                session_expiry_interval_s: 0,
                problem_information: true,
            },
            last_packet: now,
            incoming: Incoming::default(),
            outgoing: Outgoing::new(config.send_window.get()),
            subscriptions: Subscriptions::default(),
            subscribing: None,
            resuming: false,
            durable: Durable::default(),
            shared_finished: Vec::new(),
            will: None,
            actions: VecDeque::new(),
            outbox: Outbox::new(),
            counters: Counters::default(),
            config,
        }
    }

    /// Whether the next packet may be given to [`handle_frame`](Self::handle_frame): not before CONNECT or
    /// SUBSCRIBE has been answered, since packets are processed in order.
    pub fn accepts_frames(&self) -> bool {
        self.subscribing.is_none()
            && !self.resuming
            && matches!(self.state, State::AwaitingConnect { .. } | State::Connected)
    }

    /// The size limits for the next packet.
    pub fn frame_limits(&self) -> FrameLimits {
        let publish = self.config.max_packet_size;
        FrameLimits {
            publish: publish.get(),
            control: self.config.max_control_packet_size.min(publish).get(),
        }
    }

    /// Handles one packet. What it asks for comes out of [`poll_action`](Self::poll_action) and
    /// [`outbox`](Self::outbox); a violation of the protocol closes the session. A packet that comes while
    /// [`accepts_frames`](Self::accepts_frames) is false is such a violation.
    pub fn handle_frame(&mut self, frame: &Frame, now: Instant) {
        self.last_packet = now;
        self.counters.packets_received += 1;
        let handled = match self.state {
            State::AwaitingConnect { .. } => self.handle_first_frame(frame),
            State::Connected if self.subscribing.is_none() && !self.resuming => {
                self.handle_next_frame(frame, now)
            }
            State::Closed(_) => Ok(()),
            _ => Err(self.out_of_order(frame.packet_type())),
        };
        if let Err(cause) = handled {
            self.close(cause);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::AwaitingConnect { deadline } => Some(deadline),
            State::Connected if self.client.keep_alive_s > 0 => {
                // [MQTT-3.1.2-22]: one and a half times the Keep Alive.
                let patience = Duration::from_millis(1500 * u64::from(self.client.keep_alive_s));
                Some(self.last_packet + patience)
            }
            _ => None,
        }
    }

    /// Closes the session if its time is up.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_none_or(|deadline| now < deadline) {
            return;
        }
        self.close(match self.state {
            State::AwaitingConnect { .. } => {
                CloseCause::ConnectTimeout(self.config.connect_timeout)
            }
            _ => CloseCause::KeepAliveTimeout {
                keep_alive_s: self.client.keep_alive_s,
            },
        });
    }

    /// Starts the Keep Alive period again because it was not the client that was silent: nothing was read.
    pub fn defer_keep_alive(&mut self, now: Instant) {
        self.last_packet = now;
    }

    /// The next thing to do outside of the session.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Bytes for the client.
    pub fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// Whether so many bytes wait for the client that nothing should be read from it.
    pub fn is_congested(&self) -> bool {
        self.outbox.len() + self.durable.len() >= self.config.outbox_bytes.get()
    }

    /// When [`poll_save`](Self::poll_save) is due although nothing waits for it.
    pub fn save_timeout(&self) -> Option<Instant> {
        self.durable.deadline()
    }

    /// Ends the session: tells the client why, where its version and state allow that, and asks for the Will to
    /// be published unless the client left in good order. Later causes are ignored.
    pub fn close(&mut self, cause: CloseCause) {
        let state = std::mem::replace(&mut self.state, State::Closed(cause.clone()));
        match state {
            State::Closed(first) => return self.state = State::Closed(first),
            State::AwaitingConnect { .. } | State::Authenticating => {
                self.refuse_connect(&cause);
                self.will = None;
            }
            State::Connected => self.send_disconnect(&cause),
        }
        self.subscribing = None;
        self.outgoing.clear_waiting();
        // What was accepted before is still carried out.
        self.actions
            .retain(|action| matches!(action, Action::Publish(_)));
        if let Some(will) = self.will.take().filter(|_| cause.publishes_will()) {
            self.actions.push_back(Action::PublishWill(will));
        }
    }

    /// Why the session ended; `None` while it lives.
    pub fn close_cause(&self) -> Option<&CloseCause> {
        match &self.state {
            State::Closed(cause) => Some(cause),
            _ => None,
        }
    }

    /// Whether CONNECT was accepted and the session has not ended.
    pub fn is_connected(&self) -> bool {
        matches!(self.state, State::Connected)
    }

    /// The client identifier, or the one that would be assigned.
    pub fn client_id(&self) -> &Arc<str> {
        &self.client.client_id
    }

    /// The version that CONNECT named.
    pub fn version(&self) -> Option<Version> {
        self.client.version
    }

    /// Totals since the start.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn handle_next_frame(&mut self, frame: &Frame, now: Instant) -> Result<(), CloseCause> {
        match decode(frame, self.v())? {
            Packet::Publish(publish) => self.handle_publish(&publish, frame.body()),
            Packet::PubAck(ack) => self.handle_puback(ack, now),
            Packet::PubRec(ack) => self.handle_pubrec(ack, now),
            Packet::PubRel(ack) => self.handle_pubrel(ack),
            Packet::PubComp(ack) => self.handle_pubcomp(ack, now),
            Packet::Subscribe(subscribe) => self.handle_subscribe(&subscribe),
            Packet::Unsubscribe(unsubscribe) => self.handle_unsubscribe(&unsubscribe),
            Packet::PingReq => self.send(encode::pingresp),
            Packet::Disconnect(disconnect) => Err(self.handle_disconnect(disconnect)),
            // [MQTT-4.12.0-7]: no connection got here with an Authentication Method.
            Packet::Auth(_) => Err(CloseCause::ProtocolError(
                "AUTH without an authentication method",
            )),
            Packet::Connect(_) => Err(self.out_of_order(PacketType::Connect)),
        }
    }

    fn handle_disconnect(&mut self, disconnect: Disconnect) -> CloseCause {
        let expiry = disconnect.session_expiry_interval_s.unwrap_or(0);
        if expiry > 0 && self.client.session_expiry_interval_s == 0 {
            return CloseCause::ProtocolError("a session expiry in DISCONNECT, but not in CONNECT");
        }
        if let Some(seconds) = disconnect.session_expiry_interval_s {
            let seconds = seconds.min(self.config.max_session_expiry_s);
            self.client.session_expiry_interval_s = seconds;
        }
        match disconnect.reason {
            ReasonCode::Success => CloseCause::Disconnected,
            reason => CloseCause::DisconnectedWithWill(reason),
        }
    }

    fn out_of_order(&self, packet: PacketType) -> CloseCause {
        let state = match self.state {
            State::AwaitingConnect { .. } => "waiting for CONNECT",
            State::Authenticating => "authenticating",
            State::Connected if self.subscribing.is_some() => "subscribing",
            State::Connected if self.resuming => "resuming",
            State::Connected => "connected",
            State::Closed(_) => "closed",
        };
        CloseCause::OutOfOrder { packet, state }
    }

    /// The version of a client that was heard.
    fn v(&self) -> Version {
        self.client.version.unwrap_or(Version::V5)
    }

    fn send_disconnect(&mut self, cause: &CloseCause) {
        if let (Version::V5, Some(reason)) = (self.v(), cause.reason_code()) {
            let text = cause.to_string();
            // If not even the short form fits, the client is left to see the stream end.
            let _ = self.try_send(|out| encode::disconnect(reason, Some(&text), out))
                || self.try_send(|out| encode::disconnect(reason, None, out));
        }
    }

    /// Queues a control packet that has no optional part.
    fn send(&mut self, write: impl FnOnce(&mut BytesMut)) -> Result<(), CloseCause> {
        match self.try_send(write) {
            true => Ok(()),
            false => Err(CloseCause::AnswerTooLarge),
        }
    }

    /// Queues a control packet with a Reason String, if the client wants it ([MQTT-3.1.2-29]) and it fits
    /// ([MQTT-3.4.2-2] and its siblings), else without.
    fn send_with_text(
        &mut self,
        text: Option<&str>,
        write: impl Fn(Option<&str>, &mut BytesMut),
    ) -> Result<(), CloseCause> {
        self.send_with_text_to(false, text, write)
    }

    /// The same, behind the next save if `must_be_saved`.
    fn send_with_text_to(
        &mut self,
        must_be_saved: bool,
        text: Option<&str>,
        write: impl Fn(Option<&str>, &mut BytesMut),
    ) -> Result<(), CloseCause> {
        let with_text = text.is_some() && self.client.problem_information;
        if with_text && self.try_send_to(must_be_saved, |out| write(text, out)) {
            return Ok(());
        }
        match self.try_send_to(must_be_saved, |out| write(None, out)) {
            true => Ok(()),
            false => Err(CloseCause::AnswerTooLarge),
        }
    }

    /// Queues a control packet unless it exceeds the client's Maximum Packet Size ([MQTT-3.1.2-24]).
    fn try_send(&mut self, write: impl FnOnce(&mut BytesMut)) -> bool {
        self.try_send_to(false, write)
    }

    fn try_send_to(&mut self, must_be_saved: bool, write: impl FnOnce(&mut BytesMut)) -> bool {
        let limit = self.client.max_packet_bytes;
        let out = self.output(must_be_saved).tail();
        let start = out.len();
        write(out);
        if out.len() - start > limit {
            out.truncate(start);
            return false;
        }
        self.counters.packets_sent += 1;
        true
    }
}
