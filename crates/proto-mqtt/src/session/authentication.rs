//! Enhanced authentication (section 4.12): the exchange of AUTH packets, before CONNACK and again later.
//!
//! What the data means is for a method outside of the session; here is who may send what when.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::{Action, Session, State};
use crate::codec::{Auth, Frame, Packet, decode, encode};
use crate::{CloseCause, ReasonCode, Version};

/// Authentication Method and Data of a packet. Debug output hides the data.
#[derive(Clone, PartialEq, Eq)]
pub struct EnhancedLogin {
    /// Authentication Method.
    pub method: Arc<str>,
    /// Authentication Data.
    pub data: Option<Bytes>,
}

impl fmt::Debug for EnhancedLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnhancedLogin")
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}

/// Where the exchange is once CONNECT has named a method.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) method: Arc<str>,
    /// It is the client's turn to send AUTH with Continue.
    is_clients_turn: bool,
    /// A step is being checked; further packets have to wait behind it.
    pub(super) is_checking: bool,
}

impl Exchange {
    pub(super) fn new(method: Arc<str>) -> Self {
        Self {
            method,
            is_clients_turn: false,
            is_checking: false,
        }
    }
}

impl Session {
    /// Sends the client the data of the next step, AUTH with 0x18 ([MQTT-4.12.0-2]).
    pub fn handle_challenge(&mut self, data: Option<&[u8]>, now: Instant) {
        let Some(exchange) = &mut self.exchange else {
            return;
        };
        exchange.is_clients_turn = true;
        exchange.is_checking = false;
        if matches!(self.state, State::Authenticating) {
            let deadline = now + self.config.connect_timeout;
            self.state = State::Exchanging { deadline };
        }
        self.send_auth(ReasonCode::ContinueAuthentication, data);
    }

    /// Says that the client has proved again who it is, AUTH with 0x00.
    pub fn handle_reauthenticated(&mut self, data: Option<&[u8]>) {
        if let Some(exchange) = &mut self.exchange {
            (exchange.is_clients_turn, exchange.is_checking) = (false, false);
            self.send_auth(ReasonCode::Success, data);
        }
    }

    fn send_auth(&mut self, reason: ReasonCode, data: Option<&[u8]>) {
        let Some(method) = self.exchange.as_ref().map(|one| Arc::clone(&one.method)) else {
            return;
        };
        if !self.try_send(|out| encode::auth(reason, &method, data, out)) {
            self.close(CloseCause::AnswerTooLarge);
        }
    }

    /// A packet before CONNACK: the client may go on with AUTH, or leave.
    pub(super) fn handle_exchange_frame(&mut self, frame: &Frame) -> Result<(), CloseCause> {
        match decode(frame, Version::V5)? {
            Packet::Auth(auth) => {
                self.handle_auth(auth, frame.body())?;
                self.state = State::Authenticating;
                Ok(())
            }
            Packet::Disconnect(_) => Err(CloseCause::Disconnected),
            other => Err(self.out_of_order(other.packet_type())), // [MQTT-3.1.2-30]
        }
    }

    pub(super) fn handle_auth(&mut self, auth: Auth<'_>, body: &Bytes) -> Result<(), CloseCause> {
        let is_connected = self.is_connected();
        let Some(exchange) = &mut self.exchange else {
            // [MQTT-4.12.0-7]
            return Err(CloseCause::ProtocolError(
                "AUTH without an authentication method",
            ));
        };
        // [MQTT-4.12.0-5], [MQTT-4.12.1-1]
        if auth.method != Some(&*exchange.method) {
            return Err(CloseCause::ProtocolError(
                "AUTH with another authentication method",
            ));
        }
        let is_again = match (auth.reason, exchange.is_clients_turn) {
            (ReasonCode::ContinueAuthentication, true) => false, // [MQTT-4.12.0-3]
            (ReasonCode::ReAuthenticate, false) if is_connected => true,
            _ => return Err(CloseCause::ProtocolError("AUTH with a code out of turn")),
        };
        (exchange.is_clients_turn, exchange.is_checking) = (false, true);
        self.actions.push_back(Action::Exchange {
            begins: is_again,
            data: auth.data.map(|data| body.slice_ref(data)),
        });
        Ok(())
    }
}
