//! Frames of a client: what their headers must be like (RFC 6455 §5.2), on the headers of `tungstenite`.

use std::io::Cursor;

use bytes::{Buf as _, BytesMut};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use crate::close::Close;

/// Bytes of the largest payload of a control frame (§5.5).
const MAX_CONTROL_BYTES: u64 = 125;

/// A frame whose header was read; its payload is read piece by piece.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) opcode: OpCode,
    pub(crate) is_final: bool,
    /// RSV1: the message is compressed (RFC 7692 §6).
    pub(crate) is_compressed: bool,
    /// Bytes of payload that have not been read.
    pub(crate) remaining: u64,
    masking_key: [u8; 4],
}

impl Frame {
    /// Reads a header, and checks what can be checked by itself. `None`: more bytes are needed.
    pub(crate) fn begin(incoming: &mut BytesMut) -> Result<Option<Self>, Close> {
        let mut cursor = Cursor::new(&incoming[..]);
        let parsed = FrameHeader::parse(&mut cursor);
        // The only other failure is a reserved opcode.
        let parsed = parsed.map_err(|_| Close::protocol_error("reserved opcode"))?;
        let Some((header, length)) = parsed else {
            return Ok(None);
        };
        let header_bytes = cursor.position() as usize;
        check(&header, length, header_bytes)?;
        let masking_key = header
            .mask
            .ok_or_else(|| Close::protocol_error("frames of a client are masked"))?;
        incoming.advance(header_bytes);
        Ok(Some(Self {
            opcode: header.opcode,
            is_final: header.is_final,
            is_compressed: header.rsv1,
            remaining: length,
            masking_key,
        }))
    }

    /// Takes what is there of the payload, unmasked.
    pub(crate) fn take(&mut self, incoming: &mut BytesMut) -> BytesMut {
        let remaining = usize::try_from(self.remaining).unwrap_or(usize::MAX);
        let count = remaining.min(incoming.len());
        let mut piece = incoming.split_to(count);
        unmask(&mut piece, self.masking_key);
        self.masking_key.rotate_left(count % 4);
        self.remaining -= count as u64;
        piece
    }
}

fn check(header: &FrameHeader, length: u64, header_bytes: usize) -> Result<(), Close> {
    let fail = |reason: &str| Err(Close::protocol_error(reason));
    if header.rsv2 || header.rsv3 {
        return fail("reserved bits are not negotiated");
    }
    if length > i64::MAX as u64 || header.len(length) != header_bytes {
        return fail("the length of a payload is written in as few bytes as it takes");
    }
    match header.opcode {
        OpCode::Control(Control::Reserved(_)) | OpCode::Data(Data::Reserved(_)) => {
            fail("reserved opcode")
        }
        OpCode::Control(_) if !header.is_final => fail("control frames are not fragmented"),
        OpCode::Control(_) if length > MAX_CONTROL_BYTES => {
            fail("control frames carry 125 bytes at most")
        }
        // RFC 7692 §6.1: only the first frame of a message says that it is compressed.
        OpCode::Control(_) | OpCode::Data(Data::Continue) if header.rsv1 => {
            fail("RSV1 is for the first frame of a message")
        }
        _ => Ok(()),
    }
}

fn unmask(payload: &mut [u8], masking_key: [u8; 4]) {
    let [a, b, c, d] = masking_key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(masking_key.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(bytes: &[u8]) -> Result<Option<Frame>, Close> {
        Frame::begin(&mut BytesMut::from(bytes))
    }

    #[test]
    fn rfc6455_5_2_a_header_that_breaks_a_rule_is_1002() {
        let long = |bytes: &[u8]| [bytes, &[0; 4][..]].concat();
        for (rule, bytes) in [
            ("RSV2", vec![0xa1, 0x80, 0, 0, 0, 0]),
            ("RSV3", vec![0x91, 0x80, 0, 0, 0, 0]),
            ("RSV1 of a ping", vec![0xc9, 0x80, 0, 0, 0, 0]),
            ("RSV1 of a continuation", vec![0xc0, 0x80, 0, 0, 0, 0]),
            ("reserved opcode", vec![0x83, 0x80, 0, 0, 0, 0]),
            ("reserved control opcode", vec![0x8b, 0x80, 0, 0, 0, 0]),
            ("fragmented ping", vec![0x09, 0x80, 0, 0, 0, 0]),
            ("long ping", long(&[0x89, 0xfe, 0, 126])),
            ("no mask", vec![0x81, 0x00]),
            ("long form of 125", long(&[0x82, 0xfe, 0, 125])),
            (
                "longest form of 126",
                long(&[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0, 126]),
            ),
            (
                "most significant bit",
                long(&[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0]),
            ),
        ] {
            assert_eq!(begin(&bytes).unwrap_err().code(), 1002, "{rule}");
        }
        assert!(begin(&[0x82, 0xfe, 0, 126, 0, 0, 0]).unwrap().is_none());
    }

    #[test]
    fn rfc6455_5_3_unmasking_continues_over_pieces_of_any_size() {
        let plain: Vec<u8> = (0..100).collect();
        let key = [0x37, 0xfa, 0x21, 0x3d];
        let mut masked = plain.clone();
        unmask(&mut masked, key);
        assert_eq!(masked[1], plain[1] ^ 0xfa);
        for piece_bytes in 1..=plain.len() {
            let mut bytes = [&[0x82, 0x80 | 100][..], &key].concat();
            bytes.extend_from_slice(&masked);
            let (head, payload) = bytes.split_at(6);
            let mut frame = begin(head).unwrap().unwrap();
            let pieces = payload.chunks(piece_bytes);
            let read = pieces.map(|piece| frame.take(&mut BytesMut::from(piece)).to_vec());
            assert_eq!(read.collect::<Vec<_>>().concat(), plain);
            assert_eq!(frame.remaining, 0);
        }
    }
}
