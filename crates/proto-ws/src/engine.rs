//! Frames without a socket (RFC 6455 §5): bytes go in, messages come out, and the other way round.
//!
//! Incoming frames, the answers to pings and the closing handshake are those of `tungstenite`, which reads
//! from and writes to two buffers here. Outgoing messages are one unmasked frame each, written straight
//! into the outgoing buffer, so that a shared payload is copied once.

use std::fmt;
use std::io::{self, Read, Write};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::protocol::{Message, Role, WebSocket, WebSocketConfig};
use tungstenite::{Error, error::ProtocolError};

use crate::close::Close;

/// Bytes that are read from a socket at once. Every connection holds a buffer of this size.
pub(crate) const READ_BUFFER_BYTES: usize = 4 << 10;
/// An empty outgoing buffer larger than this is given back.
const KEPT_WRITE_BUFFER_BYTES: usize = 64 << 10;

/// What a client sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// A whole text message, which is UTF-8.
    Text(Bytes),
    /// A whole binary message.
    Binary(Bytes),
    /// A close frame; the answer to it is in the outgoing buffer. Nothing comes after it.
    Close,
}

/// The server's end of one WebSocket.
///
/// ```
/// use proto_ws::engine::{Engine, Incoming};
///
/// let mut engine = Engine::new(1024);
/// // A masked text frame with the mask 0, in two pieces.
/// engine.handle_bytes(&[0x81, 0x82, 0, 0, 0]);
/// assert_eq!(engine.poll_message(), Ok(None));
/// engine.handle_bytes(&[0, b'h', b'i']);
/// assert_eq!(engine.poll_message(), Ok(Some(Incoming::Text("hi".into()))));
/// ```
pub struct Engine {
    socket: WebSocket<Buffers>,
}

#[derive(Debug, Default)]
struct Buffers {
    incoming: BytesMut,
    outgoing: BytesMut,
}

impl Engine {
    /// An engine right after the opening handshake. Messages over `max_message_bytes` are a failure.
    pub fn new(max_message_bytes: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0)
            .max_message_size(Some(max_message_bytes))
            .max_frame_size(Some(max_message_bytes));
        let buffers = Buffers::default();
        Self {
            socket: WebSocket::from_raw_socket(buffers, Role::Server, Some(config)),
        }
    }

    /// Takes bytes of the peer.
    pub fn handle_bytes(&mut self, bytes: &[u8]) {
        self.incoming_mut().extend_from_slice(bytes);
    }

    /// Where bytes of the peer are appended without a detour.
    pub(crate) fn incoming_mut(&mut self) -> &mut BytesMut {
        &mut self.socket.get_mut().incoming
    }

    /// The next whole message; `None` when more bytes are needed.
    ///
    /// Answers to pings appear in [`outgoing`](Self::outgoing).
    ///
    /// # Errors
    ///
    /// Why the connection has to be closed: 1002, 1007 or 1009. No more bytes can be read then; tell the
    /// peer by [`close`](Self::close).
    pub fn poll_message(&mut self) -> Result<Option<Incoming>, Close> {
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => return Ok(Some(Incoming::Text(text.into()))),
                Ok(Message::Binary(bytes)) => return Ok(Some(Incoming::Binary(bytes))),
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {}
                Ok(Message::Close(_)) => {
                    // Puts the answer into the buffer and reports that the handshake is complete.
                    let _ = self.socket.flush();
                    return Ok(Some(Incoming::Close));
                }
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(None);
                }
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => {
                    return Ok(Some(Incoming::Close));
                }
                Err(error) => return Err(failure(&error)),
            }
        }
    }

    /// Sends a text message. The caller vouches for UTF-8. Nothing is sent after a close frame.
    pub fn send_text(&mut self, text: &Bytes) {
        self.send(Data::Text, text);
    }

    /// Sends a binary message. Nothing is sent after a close frame.
    pub fn send_binary(&mut self, bytes: &[u8]) {
        self.send(Data::Binary, bytes);
    }

    fn send(&mut self, kind: Data, payload: &[u8]) {
        if !self.socket.can_write() {
            return;
        }
        let header = FrameHeader {
            opcode: OpCode::Data(kind),
            ..FrameHeader::default()
        };
        let outgoing = &mut self.socket.get_mut().outgoing;
        outgoing.reserve(header.len(payload.len() as u64) + payload.len());
        header
            .format(payload.len() as u64, &mut outgoing.writer())
            .expect("a buffer takes every byte");
        outgoing.extend_from_slice(payload);
    }

    /// Sends a ping without payload.
    pub fn ping(&mut self) {
        if self.socket.can_write() {
            self.must_write(Message::Ping(Bytes::new()));
        }
    }

    /// Sends a close frame, once, unless the peer sent one first.
    pub fn close(&mut self, close: &Close) {
        if self.socket.can_write() {
            self.must_write(Message::Close(Some(close.to_frame())));
        }
    }

    fn must_write(&mut self, message: Message) {
        // The buffers take every byte, and the state was checked.
        if let Err(error) = self.socket.send(message) {
            tracing::debug!(target: "ws", %error, "control frame not sent");
        }
    }

    /// Bytes for the peer.
    pub fn outgoing(&self) -> &[u8] {
        &self.socket.get_ref().outgoing
    }

    /// The first `count` of the outgoing bytes were sent.
    pub fn advance(&mut self, count: usize) {
        let outgoing = &mut self.socket.get_mut().outgoing;
        outgoing.advance(count);
        if outgoing.is_empty() && outgoing.capacity() > KEPT_WRITE_BUFFER_BYTES {
            *outgoing = BytesMut::new();
        }
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("outgoing_bytes", &self.outgoing().len())
            .finish_non_exhaustive()
    }
}

impl Read for Buffers {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = out.len().min(self.incoming.len());
        if count == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.incoming.copy_to_slice(&mut out[..count]);
        Ok(count)
    }
}

impl Write for Buffers {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outgoing.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn failure(error: &Error) -> Close {
    match error {
        Error::Capacity(capacity) => Close::too_big(capacity.to_string()),
        Error::Utf8(_) => Close::invalid_payload("text that is not UTF-8"),
        Error::Protocol(ProtocolError::InvalidCloseSequence) => {
            Close::protocol_error("malformed close frame")
        }
        Error::Protocol(violation) => Close::protocol_error(violation.to_string()),
        other => Close::unexpected(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first, 0x80 | payload.len() as u8, 0, 0, 0, 0];
        frame.extend_from_slice(payload);
        frame
    }

    fn close_code(bytes: &[u8]) -> u16 {
        let mut engine = Engine::new(16);
        engine.handle_bytes(bytes);
        loop {
            match engine.poll_message() {
                Ok(Some(_)) => {}
                Ok(None) => return 0,
                Err(close) => return close.code(),
            }
        }
    }

    #[test]
    fn rfc6455_5_4_fragments_are_joined_and_control_frames_may_stand_between() {
        let mut engine = Engine::new(16);
        engine.handle_bytes(&masked(0x01, b"ab"));
        engine.handle_bytes(&masked(0x89, b"p"));
        engine.handle_bytes(&masked(0x80, b"c"));
        assert_eq!(
            engine.poll_message(),
            Ok(Some(Incoming::Text("abc".into())))
        );
        assert_eq!(engine.outgoing(), [0x8a, 1, b'p']);
    }

    #[test]
    fn rfc6455_7_4_each_violation_has_its_code() {
        for (bytes, code) in [
            (vec![0x81, 1, b'x'], 1002),
            (masked(0x83, b"x"), 1002),
            (masked(0xc1, b"x"), 1002),
            (masked(0x80, b"x"), 1002),
            (masked(0x09, b"x"), 1002),
            (masked(0x88, b"x"), 1002),
            (masked(0x81, b"\xff"), 1007),
            (masked(0x82, &[0; 17]), 1009),
            (masked(0x82, &[0; 16]), 0),
        ] {
            assert_eq!(close_code(&bytes), code, "{bytes:x?}");
        }
        let fragments = [masked(0x02, &[0; 16]), masked(0x80, b"x")].concat();
        assert_eq!(close_code(&fragments), 1009);
    }

    #[test]
    fn rfc6455_5_5_1_a_close_frame_is_answered_with_its_code_and_is_the_last_frame() {
        let mut engine = Engine::new(16);
        engine.handle_bytes(&masked(0x88, &[3, 0xe8]));
        assert_eq!(engine.poll_message(), Ok(Some(Incoming::Close)));
        assert_eq!(engine.outgoing(), [0x88, 2, 3, 0xe8]);
        engine.send_binary(b"late");
        engine.ping();
        engine.close(&Close::normal());
        assert_eq!(engine.outgoing().len(), 4);
        assert_eq!(engine.poll_message(), Ok(Some(Incoming::Close)));
    }

    #[test]
    fn a_failure_can_still_be_told() {
        let mut engine = Engine::new(16);
        engine.handle_bytes(&[0x81, 1, b'x']);
        let close = engine.poll_message().unwrap_err();
        engine.close(&close);
        assert_eq!(engine.outgoing()[..1], [0x88]);
        assert_eq!(engine.outgoing()[2..4], 1002u16.to_be_bytes());
    }
}
