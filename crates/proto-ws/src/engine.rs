//! Messages without a socket (RFC 6455 §5 to §8, RFC 7692): bytes go in, messages come out, and the other way
//! round.
//!
//! A message is assembled while its bytes arrive: unmasked, inflated and checked piece by piece, so that
//! invalid text, or too much of it, fails at once. Pings and close frames are answered here. Outgoing messages
//! are one unmasked frame each, written straight into the outgoing buffer, so that a shared payload is copied
//! once.

use std::mem;
use std::str::from_utf8;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use crate::close::Close;
use crate::config::{DeflateConfig, WsConfig};
use crate::deflate::{Deflater, Inflater};
use crate::extension::DeflateParameters;
use crate::frame::Frame;

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
    /// A ping; the answer to it is in the outgoing buffer.
    Ping,
    /// A pong.
    Pong,
    /// A close frame, with its code and reason if it had any; the answer to it is in the outgoing buffer.
    /// Nothing comes after it.
    Close(Option<Close>),
}

/// The server's end of one WebSocket.
///
/// ```
/// use proto_ws::WsConfig;
/// use proto_ws::engine::{Engine, Incoming};
///
/// let mut engine = Engine::new(&WsConfig::default(), None);
/// // A masked text frame with the mask 0, in two pieces.
/// engine.handle_bytes(&[0x81, 0x82, 0, 0, 0]);
/// assert_eq!(engine.poll_message(), Ok(None));
/// engine.handle_bytes(&[0, b'h', b'i']);
/// assert_eq!(engine.poll_message(), Ok(Some(Incoming::Text("hi".into()))));
/// ```
#[derive(Debug)]
pub struct Engine {
    max_message_bytes: usize,
    max_frame_bytes: usize,
    incoming: BytesMut,
    outgoing: BytesMut,
    frame: Option<Frame>,
    message: Option<Message>,
    compression: Option<Compression>,
    /// We sent a close frame: nothing follows it.
    has_sent_close: bool,
    /// The peer closed, or broke a rule: nothing is read any more.
    is_over: bool,
}

#[derive(Debug)]
struct Compression {
    deflater: Deflater,
    inflater: Inflater,
    threshold_bytes: usize,
}

/// A message whose last frame has not come yet.
#[derive(Debug)]
struct Message {
    is_text: bool,
    is_compressed: bool,
    content: BytesMut,
    /// So much of `content` is known to be UTF-8.
    checked_bytes: usize,
}

impl Message {
    /// Checks what was appended. An incomplete character at the end may be continued, unless the message
    /// `is_complete`.
    fn check(&mut self, is_complete: bool) -> Result<(), Close> {
        if !self.is_text {
            return Ok(());
        }
        match from_utf8(&self.content[self.checked_bytes..]) {
            Ok(_) => self.checked_bytes = self.content.len(),
            Err(error) if error.error_len().is_none() && !is_complete => {
                self.checked_bytes += error.valid_up_to();
            }
            Err(_) => return Err(Close::invalid_payload("text that is not UTF-8")),
        }
        Ok(())
    }
}

impl Engine {
    /// An engine right after the opening handshake, with the limits and the compression of `config`, and what
    /// the handshake agreed about compression.
    pub fn new(config: &WsConfig, deflate: Option<&DeflateParameters>) -> Self {
        let settings = config.deflate.unwrap_or(DeflateConfig::DEFAULT);
        Self {
            max_message_bytes: config.max_message_bytes,
            max_frame_bytes: config.max_frame_bytes,
            incoming: BytesMut::new(),
            outgoing: BytesMut::new(),
            frame: None,
            message: None,
            compression: deflate.map(|parameters| Compression {
                deflater: Deflater::new(parameters, settings.level),
                inflater: Inflater::new(parameters),
                threshold_bytes: settings.threshold_bytes,
            }),
            has_sent_close: false,
            is_over: false,
        }
    }

    /// Takes bytes of the peer.
    pub fn handle_bytes(&mut self, bytes: &[u8]) {
        self.incoming.extend_from_slice(bytes);
    }

    /// Where bytes of the peer are appended without a detour.
    pub(crate) fn incoming_mut(&mut self) -> &mut BytesMut {
        &mut self.incoming
    }

    /// The next whole message; `None` when more bytes are needed, or none will be read.
    ///
    /// Answers to pings and to a close frame appear in [`outgoing`](Self::outgoing).
    ///
    /// # Errors
    ///
    /// Why the connection has to be closed: 1002, 1007 or 1009. No more bytes are read then; tell the
    /// peer by [`close`](Self::close).
    pub fn poll_message(&mut self) -> Result<Option<Incoming>, Close> {
        if self.is_over {
            return Ok(None);
        }
        let result = self.read();
        if matches!(result, Err(_) | Ok(Some(Incoming::Close(_)))) {
            self.is_over = true;
            self.incoming = BytesMut::new();
            self.message = None;
        }
        result
    }

    fn read(&mut self) -> Result<Option<Incoming>, Close> {
        loop {
            let Some(mut frame) = self.frame.take() else {
                let Some(frame) = Frame::begin(&mut self.incoming)? else {
                    return Ok(None);
                };
                self.check_place(&frame)?;
                self.frame = Some(frame);
                continue;
            };
            if let OpCode::Control(kind) = frame.opcode {
                // Its payload is short enough to wait for.
                if (self.incoming.len() as u64) < frame.remaining {
                    self.frame = Some(frame);
                    return Ok(None);
                }
                let payload = frame.take(&mut self.incoming);
                return self.handle_control(kind, &payload).map(Some);
            }
            let piece = frame.take(&mut self.incoming);
            self.append(&piece)?;
            if frame.remaining > 0 {
                self.frame = Some(frame);
                return Ok(None);
            }
            if frame.is_final {
                return self.complete().map(Some);
            }
        }
    }

    /// Whether a frame may come now, and fits into its message; begins the message.
    fn check_place(&mut self, frame: &Frame) -> Result<(), Close> {
        let OpCode::Data(kind) = frame.opcode else {
            return Ok(());
        };
        match (&self.message, kind) {
            (None, Data::Continue) => {
                return Err(Close::protocol_error("a continuation of no message"));
            }
            (Some(_), Data::Text | Data::Binary) => {
                return Err(Close::protocol_error("a message within a message"));
            }
            (None, _) => {
                if frame.is_compressed && self.compression.is_none() {
                    return Err(Close::protocol_error("compression was not negotiated"));
                }
                self.message = Some(Message {
                    is_text: kind == Data::Text,
                    is_compressed: frame.is_compressed,
                    content: BytesMut::new(),
                    checked_bytes: 0,
                });
            }
            (Some(_), _) => {}
        }
        if frame.remaining > self.max_frame_bytes as u64 {
            return Err(Close::too_big("frame too big"));
        }
        let assembled = match &self.message {
            Some(message) if !message.is_compressed => message.content.len() as u64,
            _ => 0,
        };
        match assembled + frame.remaining > self.max_message_bytes as u64 {
            true => Err(Close::too_big("message too big")),
            false => Ok(()),
        }
    }

    fn append(&mut self, piece: &[u8]) -> Result<(), Close> {
        let Some(message) = &mut self.message else {
            return Ok(());
        };
        match (&mut self.compression, message.is_compressed) {
            (Some(compression), true) => {
                let inflater = &mut compression.inflater;
                inflater.inflate(piece, &mut message.content, self.max_message_bytes)?;
            }
            _ => message.content.extend_from_slice(piece),
        }
        message.check(false)
    }

    fn complete(&mut self) -> Result<Incoming, Close> {
        let mut message = self.message.take().expect("its frames have been read");
        if let (Some(compression), true) = (&mut self.compression, message.is_compressed) {
            let inflater = &mut compression.inflater;
            inflater.finish(&mut message.content, self.max_message_bytes)?;
        }
        message.check(true)?;
        let content = message.content.freeze();
        Ok(match message.is_text {
            true => Incoming::Text(content),
            false => Incoming::Binary(content),
        })
    }

    fn handle_control(&mut self, kind: Control, payload: &[u8]) -> Result<Incoming, Close> {
        match kind {
            Control::Ping => {
                // §5.5.3: the answer has the same payload.
                self.send_control(Control::Pong, payload);
                Ok(Incoming::Ping)
            }
            Control::Close => {
                let close = read_close(payload)?;
                // §5.5.1: the answer echoes the code.
                self.send_close(payload.get(..2).unwrap_or_default());
                Ok(Incoming::Close(close))
            }
            Control::Pong | Control::Reserved(_) => Ok(Incoming::Pong),
        }
    }

    /// Sends a text message. The caller vouches for UTF-8. Nothing is sent after a close frame.
    pub fn send_text(&mut self, text: &[u8]) {
        self.send(Data::Text, text);
    }

    /// Sends a binary message. Nothing is sent after a close frame.
    pub fn send_binary(&mut self, bytes: &[u8]) {
        self.send(Data::Binary, bytes);
    }

    fn send(&mut self, kind: Data, message: &[u8]) {
        if self.has_sent_close {
            return;
        }
        match &mut self.compression {
            Some(compression) if message.len() >= compression.threshold_bytes.max(1) => {
                let deflater = &mut compression.deflater;
                let compressed = deflater.deflate(message);
                match compressed.len() < message.len() || deflater.keeps_context() {
                    true => self.write_frame(OpCode::Data(kind), true, &compressed),
                    false => self.write_frame(OpCode::Data(kind), false, message),
                }
            }
            _ => self.write_frame(OpCode::Data(kind), false, message),
        }
    }

    /// Names how a message of this size is compressed on this connection, if it is, and in a way that other
    /// connections share.
    pub(crate) fn shared_compression(&self, message_bytes: usize) -> Option<u64> {
        let compression = self.compression.as_ref()?;
        let is_shared = !compression.deflater.keeps_context();
        let is_compressed = message_bytes >= compression.threshold_bytes.max(1);
        (is_shared && is_compressed).then(|| compression.deflater.variant())
    }

    /// Compresses a message for all connections whose [`shared_compression`](Self::shared_compression) is the
    /// same.
    pub(crate) fn compress_shared(&mut self, message: &[u8]) -> Bytes {
        match &mut self.compression {
            Some(compression) => compression.deflater.deflate(message),
            None => Bytes::new(),
        }
    }

    /// Sends a message as it is.
    pub(crate) fn send_plain(&mut self, is_text: bool, message: &[u8]) {
        let kind = if is_text { Data::Text } else { Data::Binary };
        if !self.has_sent_close {
            self.write_frame(OpCode::Data(kind), false, message);
        }
    }

    /// Sends a message that was compressed by [`compress_shared`](Self::compress_shared).
    pub(crate) fn send_compressed(&mut self, is_text: bool, compressed: &[u8]) {
        let kind = if is_text { Data::Text } else { Data::Binary };
        if !self.has_sent_close {
            self.write_frame(OpCode::Data(kind), true, compressed);
        }
    }

    /// Sends a ping without payload.
    pub fn ping(&mut self) {
        self.send_control(Control::Ping, &[]);
    }

    fn send_control(&mut self, kind: Control, payload: &[u8]) {
        if !self.has_sent_close {
            self.write_frame(OpCode::Control(kind), false, payload);
        }
    }

    /// Sends a close frame, unless one was sent before.
    pub fn close(&mut self, close: &Close) {
        let mut payload = Vec::with_capacity(2 + close.reason().len());
        payload.extend_from_slice(&close.code().to_be_bytes());
        payload.extend_from_slice(close.reason().as_bytes());
        self.send_close(&payload);
    }

    fn send_close(&mut self, payload: &[u8]) {
        self.send_control(Control::Close, payload);
        self.has_sent_close = true;
    }

    fn write_frame(&mut self, opcode: OpCode, is_compressed: bool, payload: &[u8]) {
        let header = FrameHeader {
            opcode,
            rsv1: is_compressed,
            ..FrameHeader::default()
        };
        let outgoing = &mut self.outgoing;
        outgoing.reserve(header.len(payload.len() as u64) + payload.len());
        header
            .format(payload.len() as u64, &mut outgoing.writer())
            .expect("a buffer takes every byte");
        outgoing.extend_from_slice(payload);
    }

    /// Bytes for the peer.
    pub fn outgoing(&self) -> &[u8] {
        &self.outgoing
    }

    /// The first `count` of the outgoing bytes were sent.
    pub fn advance(&mut self, count: usize) {
        self.outgoing.advance(count);
        if self.outgoing.is_empty() && self.outgoing.capacity() > KEPT_WRITE_BUFFER_BYTES {
            drop(mem::take(&mut self.outgoing));
        }
    }
}

/// Code and reason of a close frame (§5.5.1, §7.4).
fn read_close(payload: &[u8]) -> Result<Option<Close>, Close> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return match payload.is_empty() {
            true => Ok(None),
            false => Err(Close::protocol_error("half a close code")),
        };
    };
    let code = u16::from_be_bytes(*code);
    // 1004 to 1006, 1015 and what nobody assigned are never sent (§7.4.1, and IANA's registry).
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(Close::protocol_error("a close code that is not to be sent"));
    }
    let reason = from_utf8(reason)
        .map_err(|_| Close::invalid_payload("a close reason that is not UTF-8"))?;
    Ok(Some(Close::new(code, reason)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first, 0x80 | payload.len() as u8, 0, 0, 0, 0];
        frame.extend_from_slice(payload);
        frame
    }

    fn engine() -> Engine {
        let config = WsConfig {
            max_message_bytes: 16,
            max_frame_bytes: 12,
            ..WsConfig::default()
        };
        Engine::new(&config, None)
    }

    fn close_code(bytes: &[u8]) -> u16 {
        let mut engine = engine();
        engine.handle_bytes(bytes);
        loop {
            match engine.poll_message() {
                Ok(Some(_)) => {}
                Ok(None) => return 0,
                Err(close) => return close.code(),
            }
        }
    }

    fn deflating(threshold_bytes: usize) -> Engine {
        let settings = DeflateConfig {
            threshold_bytes,
            ..DeflateConfig::DEFAULT
        };
        let config = WsConfig {
            max_message_bytes: 1000,
            deflate: Some(settings),
            ..WsConfig::default()
        };
        let agreed = DeflateParameters::negotiate(["permessage-deflate"], &settings);
        Engine::new(&config, agreed.unwrap().as_ref())
    }

    #[test]
    fn rfc6455_5_4_fragments_are_joined_and_control_frames_may_stand_between() {
        let mut engine = engine();
        engine.handle_bytes(&masked(0x01, b"ab"));
        engine.handle_bytes(&masked(0x89, b"p"));
        engine.handle_bytes(&masked(0x00, b""));
        engine.handle_bytes(&masked(0x80, b"c"));
        assert_eq!(engine.poll_message(), Ok(Some(Incoming::Ping)));
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
            (masked(0x88, &[3, 0xed]), 1002),
            (masked(0x88, &[3, 0xe8, 0xff]), 1007),
            (masked(0x81, b"\xff"), 1007),
            (masked(0x81, b"\xc3"), 1007),
            (masked(0x82, &[0; 13]), 1009),
            (masked(0x82, &[0; 12]), 0),
        ] {
            assert_eq!(close_code(&bytes), code, "{bytes:x?}");
        }
        let fragments = [masked(0x02, &[0; 12]), masked(0x80, &[0; 5])].concat();
        assert_eq!(close_code(&fragments), 1009);
        let nested = [masked(0x02, b"x"), masked(0x82, b"x")].concat();
        assert_eq!(close_code(&nested), 1002);
    }

    #[test]
    fn rfc6455_8_1_invalid_text_fails_before_its_frame_is_complete() {
        let mut engine = engine();
        engine.handle_bytes(&masked(0x01, "κ".as_bytes()));
        engine.handle_bytes(&[0x80, 0x8a, 0, 0, 0, 0, 0xed]);
        assert_eq!(engine.poll_message(), Ok(None));
        // A surrogate.
        engine.handle_bytes(&[0xa0]);
        assert_eq!(engine.poll_message().unwrap_err().code(), 1007);
        assert_eq!(engine.poll_message(), Ok(None));
    }

    #[test]
    fn rfc6455_8_1_a_character_may_be_split_between_frames() {
        let mut engine = engine();
        for byte in "𝄞".bytes().take(3) {
            let first = if engine.message.is_none() { 0x01 } else { 0x00 };
            engine.handle_bytes(&masked(first, &[byte]));
            assert_eq!(engine.poll_message(), Ok(None));
        }
        engine.handle_bytes(&masked(0x80, &"𝄞".as_bytes()[3..]));
        assert_eq!(engine.poll_message(), Ok(Some(Incoming::Text("𝄞".into()))));
    }

    #[test]
    fn rfc6455_5_5_1_a_close_frame_is_answered_with_its_code_and_is_the_last_frame() {
        let mut engine = engine();
        engine.handle_bytes(&masked(0x88, &[3, 0xe8, b'x']));
        let close = Incoming::Close(Some(Close::new(1000, "x")));
        assert_eq!(engine.poll_message(), Ok(Some(close)));
        assert_eq!(engine.outgoing(), [0x88, 2, 3, 0xe8]);
        engine.send_binary(b"late");
        engine.ping();
        engine.close(&Close::normal());
        assert_eq!(engine.outgoing().len(), 4);
        engine.handle_bytes(&masked(0x82, b"late"));
        assert_eq!(engine.poll_message(), Ok(None));
    }

    #[test]
    fn rfc6455_7_4_close_codes_that_may_be_sent() {
        for code in [1000, 1003, 1007, 1011, 1012, 1014, 3000, 4999] {
            assert!(read_close(&u16::to_be_bytes(code)).is_ok(), "{code}");
        }
        for code in [
            0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65535,
        ] {
            assert!(read_close(&u16::to_be_bytes(code)).is_err(), "{code}");
        }
        assert_eq!(read_close(&[]), Ok(None));
    }

    #[test]
    fn a_failure_can_still_be_told() {
        let mut engine = engine();
        engine.handle_bytes(&[0x81, 1, b'x']);
        let close = engine.poll_message().unwrap_err();
        engine.close(&close);
        assert_eq!(engine.outgoing()[..1], [0x88]);
        assert_eq!(engine.outgoing()[2..4], 1002u16.to_be_bytes());
    }

    #[test]
    fn rfc7692_6_1_a_compressed_message_has_rsv1_in_its_first_frame_only() {
        let mut engine = deflating(1);
        engine.send_text(&[b'a'; 300]);
        let frame = engine.outgoing().to_vec();
        assert_eq!(frame[0], 0xc1);
        assert!(frame.len() < 100, "{}", frame.len());
        let payload = &frame[2..];
        let (first, rest) = payload.split_at(3);
        engine.handle_bytes(&masked(0x41, first));
        engine.handle_bytes(&masked(0x89, b""));
        engine.handle_bytes(&masked(0x80, rest));
        assert_eq!(engine.poll_message(), Ok(Some(Incoming::Ping)));
        let text = Incoming::Text(vec![b'a'; 300].into());
        assert_eq!(engine.poll_message(), Ok(Some(text)));
        engine.handle_bytes(&masked(0x01, first));
        engine.handle_bytes(&masked(0xc0, rest));
        assert_eq!(engine.poll_message().unwrap_err().code(), 1002);
    }

    #[test]
    fn a_message_below_the_threshold_or_that_does_not_shrink_is_sent_as_it_is() {
        let mut engine = deflating(10);
        engine.send_text(b"short");
        assert_eq!(engine.outgoing()[0], 0x81);
        engine.advance(7);
        engine.send_binary(&[7, 250, 3, 99, 41, 180, 12, 77, 201, 8, 143]);
        assert_eq!(engine.outgoing()[0], 0x82);
    }

    #[test]
    fn the_limit_holds_for_inflated_bytes() {
        let mut sender = deflating(1);
        let mut engine = deflating(1);
        sender.send_text(&[b'a'; 1001]);
        engine.handle_bytes(&masked(0xc1, &sender.outgoing()[2..]));
        assert_eq!(engine.poll_message().unwrap_err().code(), 1009);
    }
}
