//! What a session asks its driver to do.

use std::fmt;
use std::sync::Arc;

use base::Timestamp;
use bytes::Bytes;
use resource::MessageProperties;

use super::SessionState;

use crate::codec::SubscriptionOptions;
use crate::{PacketId, QoS, Version};

/// Something to be done outside of the session, in the order it is handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Find out who connects, end other connections with the same client identifier, and answer by
    /// [`handle_authenticated`](super::Session::handle_authenticated).
    Authenticate(AuthenticateRequest),
    /// Publish, and answer by [`handle_published`](super::Session::handle_published) with the same
    /// `acknowledgement`. Several may be under way; answers are given in the order of the requests
    /// ([MQTT-4.6.0-2], [MQTT-4.6.0-3]).
    Publish(PublishRequest),
    /// Publish the Will, with the rights that the user has now and when its delay has passed; nobody waits for the
    /// answer, but a refusal counts.
    PublishWill(Will),
    /// Subscribe to all of these after everything before has been published, and answer by
    /// [`handle_subscribed`](super::Session::handle_subscribed). Deliveries may start once that was called.
    Subscribe(Vec<FilterRequest>),
    /// Deliver nothing more for this subscription.
    Unsubscribe(SubscriptionKey),
    /// Open the subscriptions of a session that was resumed, each from its position in the log, and answer by
    /// [`handle_resumed`](super::Session::handle_resumed) with those that may no longer be read.
    Resume(Vec<ResumeRequest>),
}

/// A subscription of a session that was resumed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResumeRequest {
    /// Key, filter and options.
    pub filter: FilterRequest,
    /// Where to replay the log from. `None` before the current state was delivered.
    pub start: Option<Timestamp>,
    /// Of a shared subscription: places in the log that this session is to be sent again ([MQTT-4.8.2-4]).
    pub resend: Vec<Timestamp>,
}

/// The number of a QoS 2 publication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptRequest {
    /// Unique within the session.
    pub number: u64,
    /// Its Packet Identifier.
    pub packet_id: PacketId,
    /// Where to look whether it was published before a crash; `None` if it cannot have been.
    pub search: Option<ReceiptSearch>,
}

/// Publications that may be in the log although the session does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptSearch {
    /// Their numbers.
    pub numbers: std::ops::Range<u64>,
    /// About when they began to be published, in milliseconds since the epoch.
    pub since_ms: u64,
}

/// A CONNECT that needs an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthenticateRequest {
    /// Protocol version.
    pub version: Version,
    /// Client identifier, given or assigned.
    pub client_id: Arc<str>,
    /// Credentials of the packet, if it has a user name.
    pub login: Option<Login>,
    /// Whether state of an earlier connection is to be discarded.
    pub clean_start: bool,
    /// How long the session is to outlive the connection, in seconds (5.0), or `u32::MAX` for Clean Session 0.
    pub session_expiry_interval_s: u32,
    /// The Will, to be kept until the connection ends.
    pub will: Option<Will>,
}

/// What is published when a connection ends without a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will {
    /// The publication.
    pub publication: PublishRequest,
    /// Will Delay Interval in seconds: a client that is back by then does not trigger it.
    pub delay_s: u32,
}

/// User Name and Password of CONNECT. Debug output hides the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// User Name.
    pub username: String,
    /// Password; empty if absent.
    pub password: Vec<u8>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// The good news for an [`AuthenticateRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Admission {
    /// State of an earlier connection, if it is resumed ([MQTT-3.2.2-3]).
    pub resumed: Option<Box<SessionState>>,
    /// How long the session outlives the connection, in seconds; with 0, nothing is kept.
    pub session_expiry_interval_s: u32,
    /// Number for the first QoS 2 publication of a session that begins: one that no other session is near.
    pub first_receipt: u64,
}

/// A publication by the client, or its Will.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishRequest {
    /// Topic Name, aliases resolved; not empty and without wildcards.
    pub topic: Arc<str>,
    /// Application Message, shared with the read buffer.
    pub payload: Bytes,
    /// Quality of service.
    pub qos: QoS,
    /// Whether it replaces (or, when empty, removes) the retained message.
    pub retain: bool,
    /// Properties that travel with it.
    pub properties: Arc<MessageProperties>,
    /// What the client waits for; `None` for QoS 0 and the Will.
    pub acknowledgement: Option<Acknowledgement>,
    /// Of a QoS 2 publication.
    pub receipt: Option<ReceiptRequest>,
}

/// The packet that acknowledges a publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acknowledgement {
    /// QoS 1.
    PubAck(PacketId),
    /// QoS 2.
    PubRec(PacketId),
}

/// One subscription of a session; never used again after it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubscriptionKey(pub(super) u64);

/// One filter of a SUBSCRIBE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterRequest {
    /// Under which its publications are delivered. A key that is subscribed already is a replacement
    /// ([MQTT-3.8.4-3]): nothing may be lost, and the state is sent again if the options say so.
    pub key: SubscriptionKey,
    /// Topic Filter, checked; with the share name in front of it if it is shared.
    pub filter: Arc<str>,
    /// Its options.
    pub options: SubscriptionOptions,
}
