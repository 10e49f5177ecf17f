//! CONNECT and CONNACK (sections 3.1 and 3.2).

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::authentication::Exchange;
use super::{
    Action, Admission, AuthenticateRequest, EnhancedLogin, Login, PublishRequest, Session, State,
};
use crate::codec::encode::{self, ConnAck};
use crate::codec::{Connect, Frame, Packet, PacketType, Will, connect_version, decode};
use crate::{CloseCause, DecodeError, ReasonCode, Refusal, Version};

impl Session {
    /// Answers the [`Action::Authenticate`]: CONNACK with success, or with the reason of the refusal and the end.
    pub fn handle_authenticated(&mut self, result: Result<Admission, Refusal>, now: Instant) {
        if !matches!(self.state, State::Authenticating) {
            return; // closed in the meantime
        }
        match result {
            Ok(admission) => {
                let connack = self.connack(&admission);
                let version = self.v();
                if !self.try_send(|out| encode::connack(version, &connack, out)) {
                    return self.close(CloseCause::AnswerTooLarge);
                }
                self.state = State::Connected;
                self.last_packet = now;
                if let Some(exchange) = &mut self.exchange {
                    exchange.is_checking = false;
                }
                self.client.session_expiry_interval_s = admission.session_expiry_interval_s;
                self.durable.enabled = admission.session_expiry_interval_s > 0;
                let taken_up = match &admission.resumed {
                    Some(state) => self.resume(state),
                    None => {
                        self.incoming.begin(admission.first_receipt);
                        Ok(())
                    }
                };
                if let Err(cause) = taken_up {
                    self.close(cause);
                }
            }
            Err(refusal) => self.close(CloseCause::Refused(refusal)),
        }
    }

    pub(super) fn handle_first_frame(&mut self, frame: &Frame) -> Result<(), CloseCause> {
        // [MQTT-3.1.0-1]
        if frame.packet_type() != PacketType::Connect {
            return Err(self.out_of_order(frame.packet_type()));
        }
        self.client.version = version_of_answer(frame);
        match decode(frame, Version::V5)? {
            Packet::Connect(connect) => self.handle_connect(&connect, frame.body()),
            other => Err(self.out_of_order(other.packet_type())),
        }
    }

    fn handle_connect(&mut self, connect: &Connect<'_>, body: &Bytes) -> Result<(), CloseCause> {
        self.client.keep_alive_s = self.keep_alive_s(connect);
        self.client.is_keep_alive_ours = self.client.keep_alive_s != connect.keep_alive_s;
        self.client.max_packet_bytes = connect
            .maximum_packet_size
            .map_or(usize::MAX, |size| size.get() as usize);
        self.client.problem_information = connect.request_problem_information;
        self.client.session_expiry_interval_s = connect.session_expiry_interval_s;
        self.outgoing
            .set_window(connect.receive_maximum, &self.config);
        self.outgoing
            .set_aliases(connect.topic_alias_maximum, &self.config);
        if self.config.server_reference.is_some() {
            return Err(CloseCause::Refused(Refusal::new(
                ReasonCode::UseAnotherServer,
                "connect to the server that is referred to",
            )));
        }
        let method = connect.authentication_method.map(Arc::from);
        self.exchange = method.clone().map(Exchange::new);
        self.take_client_id(connect)?;
        self.will = connect.will.as_ref().map(|will| will_request(will, body));
        self.state = State::Authenticating;
        self.actions
            .push_back(Action::Authenticate(AuthenticateRequest {
                version: connect.version,
                client_id: Arc::clone(&self.client.client_id),
                login: connect.username.map(|username| Login {
                    username: username.to_owned(),
                    password: connect.password.unwrap_or_default().to_vec(),
                }),
                clean_start: connect.clean_start,
                session_expiry_interval_s: match (connect.version.is_v5(), connect.clean_start) {
                    (true, _) => connect.session_expiry_interval_s,
                    (false, true) => 0,
                    (false, false) => u32::MAX,
                },
                will: self.will.clone(),
                enhanced: method.map(|method| EnhancedLogin {
                    method,
                    data: connect.authentication_data.map(|data| body.slice_ref(data)),
                }),
            }));
        Ok(())
    }

    /// [MQTT-3.2.2-21], [MQTT-3.2.2-22]: the client's, or the one it is told.
    fn keep_alive_s(&self, connect: &Connect<'_>) -> u16 {
        let asked = connect.keep_alive_s;
        match self.config.server_keep_alive_s.map(NonZeroU16::get) {
            Some(ours) if connect.version.is_v5() && (asked == 0 || asked > ours) => ours,
            _ => asked,
        }
    }

    /// [MQTT-3.1.3-6], [MQTT-3.1.3-7]; 3.1.1 wants an identifier from clients that want state to be kept
    /// (3.1.1, [MQTT-3.1.3-8]), 3.1 always.
    fn take_client_id(&mut self, connect: &Connect<'_>) -> Result<(), CloseCause> {
        if !connect.client_id.is_empty() {
            self.client.client_id = Arc::from(connect.client_id);
            self.client.assigned = false;
            return Ok(());
        }
        let may_be_empty = match connect.version {
            Version::V5 => true,
            Version::V3_1_1 => connect.clean_start,
            Version::V3_1 => false,
        };
        match may_be_empty {
            true => Ok(()),
            false => Err(CloseCause::Refused(Refusal::new(
                ReasonCode::ClientIdentifierNotValid,
                "a client identifier is needed",
            ))),
        }
    }

    fn connack(&self, admission: &Admission) -> ConnAck {
        let granted = admission.session_expiry_interval_s;
        ConnAck {
            session_present: admission.resumed.is_some(),
            reason: ReasonCode::Success,
            reason_string: None,
            // The client is told when it gets less than it asked for.
            session_expiry_interval_s: (self.client.session_expiry_interval_s != granted)
                .then_some(granted),
            receive_maximum: Some(self.config.receive_maximum.get()),
            maximum_packet_size: Some(self.config.max_packet_size.get()),
            assigned_client_identifier: self
                .client
                .assigned
                .then(|| self.client.client_id.to_string()),
            topic_alias_maximum: Some(self.config.topic_alias_maximum),
            server_keep_alive_s: self
                .client
                .is_keep_alive_ours
                .then_some(self.client.keep_alive_s),
            server_reference: None,
            authentication: self.exchange.as_ref().map(|exchange| {
                let data = admission.authentication_data.clone();
                (exchange.method.to_string(), data)
            }),
            announce_capabilities: true,
        }
    }

    /// The CONNACK of a connection that is not to be, where there is one to send.
    pub(super) fn refuse_connect(&mut self, cause: &CloseCause) {
        let (Some(version), Some(reason)) = (self.client.version, connack_reason(cause)) else {
            return;
        };
        let is_refusal = matches!(
            cause,
            CloseCause::Refused(_)
                | CloseCause::ShuttingDown
                | CloseCause::Malformed(DecodeError::ProtocolLevel(_))
        );
        // 3.1.1, [MQTT-3.1.4-1]: a CONNECT that does not conform gets no answer.
        if !version.is_v5() && !is_refusal {
            return;
        }
        let mut connack = ConnAck::new(reason);
        if reason == ReasonCode::UseAnotherServer {
            connack.server_reference = self.config.server_reference.clone();
        }
        connack.reason_string = Some(cause.to_string());
        if !self.try_send(|out| encode::connack(version, &connack, out)) {
            connack.reason_string = None; // [MQTT-3.2.2-19]
            self.try_send(|out| encode::connack(version, &connack, out));
        }
    }
}

/// In which form a CONNACK can be understood: for a level that is not served, the nearest one that is.
fn version_of_answer(frame: &Frame) -> Option<Version> {
    match connect_version(frame) {
        Ok(version) => Some(version),
        Err(DecodeError::ProtocolLevel(0..5)) => Some(Version::V3_1_1),
        Err(DecodeError::ProtocolLevel(_)) => Some(Version::V5),
        Err(_) => None,
    }
}

fn connack_reason(cause: &CloseCause) -> Option<ReasonCode> {
    match cause {
        CloseCause::ShuttingDown => Some(ReasonCode::ServerUnavailable),
        other => other.reason_code(),
    }
}

fn will_request(will: &Will<'_>, body: &Bytes) -> super::Will {
    let publication = PublishRequest {
        topic: Arc::from(will.topic),
        payload: body.slice_ref(will.payload),
        qos: will.qos,
        retain: will.retain,
        properties: will.properties.to_message_properties(will.qos, body),
        acknowledgement: None,
        receipt: None,
    };
    super::Will {
        publication,
        delay_s: will.delay_interval_s,
    }
}
