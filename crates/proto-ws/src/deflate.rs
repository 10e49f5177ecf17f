//! Compression of messages (RFC 7692 §7.2), on `flate2`.
//!
//! Compressor and decompressor are made when they are first needed, and given back after the message where
//! no context is taken over: a connection that is idle holds neither.

use bytes::{BufMut as _, Bytes, BytesMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::close::Close;
use crate::extension::DeflateParameters;

/// Ends a flushed block; left out on the wire and added again by the reader (§7.2.1 and §7.2.2).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];
/// Bytes that are compressed or inflated at once.
const CHUNK_BYTES: usize = 8 << 10;

/// Compresses the messages of one connection.
#[derive(Debug)]
pub(crate) struct Deflater {
    level: Compression,
    window_bits: u8,
    keeps_context: bool,
    stream: Option<Compress>,
}

impl Deflater {
    pub(crate) fn new(parameters: &DeflateParameters, level: u8) -> Self {
        Self {
            level: Compression::new(u32::from(level.clamp(1, 9))),
            window_bits: parameters.server_max_window_bits,
            keeps_context: !parameters.server_no_context_takeover,
            stream: None,
        }
    }

    /// Whether a message looks different after others, so that it cannot be shared or withheld.
    pub(crate) fn keeps_context(&self) -> bool {
        self.keeps_context
    }

    /// Two connections with the same number compress a message to the same bytes, if they keep no context.
    pub(crate) fn variant(&self) -> u64 {
        u64::from(self.window_bits) << 4 | u64::from(self.level.level())
    }

    /// The payload of a compressed message.
    pub(crate) fn deflate(&mut self, message: &[u8]) -> Bytes {
        let (level, window_bits) = (self.level, self.window_bits);
        let mut stream = self
            .stream
            .take()
            .unwrap_or_else(|| Compress::new_with_window_bits(level, false, window_bits));
        let compressed = deflate(&mut stream, message);
        if self.keeps_context {
            self.stream = Some(stream);
        }
        compressed
    }
}

fn deflate(stream: &mut Compress, message: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(message.len() / 4 + 64);
    let mut chunk = [0; CHUNK_BYTES];
    let mut rest = message;
    loop {
        let (read, written) = (stream.total_in(), stream.total_out());
        stream
            .compress(rest, &mut chunk, FlushCompress::Sync)
            .expect("a compressor that is not finished takes any input");
        rest = &rest[(stream.total_in() - read) as usize..];
        let written = (stream.total_out() - written) as usize;
        out.extend_from_slice(&chunk[..written]);
        // Room left over means that the flush is complete.
        if rest.is_empty() && written < CHUNK_BYTES {
            break;
        }
    }
    if out.ends_with(&TAIL) {
        out.truncate(out.len() - TAIL.len());
    }
    if out.is_empty() {
        // §7.2.3.6: an empty message is an empty block.
        out.put_u8(0);
    }
    out.freeze()
}

/// Inflates the messages of one connection.
#[derive(Debug)]
pub(crate) struct Inflater {
    window_bits: u8,
    keeps_context: bool,
    stream: Option<Decompress>,
}

impl Inflater {
    pub(crate) fn new(parameters: &DeflateParameters) -> Self {
        Self {
            window_bits: parameters.client_max_window_bits,
            keeps_context: !parameters.client_no_context_takeover,
            stream: None,
        }
    }

    /// Appends what a piece of a message inflates to. 1009 if `out` would grow beyond `max_bytes`, 1007 if the
    /// bytes are no DEFLATE data.
    pub(crate) fn inflate(
        &mut self,
        piece: &[u8],
        out: &mut BytesMut,
        max_bytes: usize,
    ) -> Result<(), Close> {
        let window_bits = self.window_bits;
        let stream = self
            .stream
            .get_or_insert_with(|| Decompress::new_with_window_bits(false, window_bits));
        let mut chunk = [0; CHUNK_BYTES];
        let mut rest = piece;
        loop {
            let (read, written) = (stream.total_in(), stream.total_out());
            let status = stream
                .decompress(rest, &mut chunk, FlushDecompress::Sync)
                .map_err(|_| Close::invalid_payload("not DEFLATE data"))?;
            let read = (stream.total_in() - read) as usize;
            let written = (stream.total_out() - written) as usize;
            rest = &rest[read..];
            if out.len() + written > max_bytes {
                return Err(Close::too_big("inflated message too big"));
            }
            out.extend_from_slice(&chunk[..written]);
            match status {
                // §7.2.3.4: a final block may be followed by more.
                Status::StreamEnd => stream.reset(false),
                Status::Ok if !rest.is_empty() || written == CHUNK_BYTES => {}
                Status::BufError if !rest.is_empty() && read + written > 0 => {}
                Status::BufError if !rest.is_empty() => {
                    return Err(Close::invalid_payload("not DEFLATE data"));
                }
                Status::Ok | Status::BufError => return Ok(()),
            }
        }
    }

    /// Ends a message.
    pub(crate) fn finish(&mut self, out: &mut BytesMut, max_bytes: usize) -> Result<(), Close> {
        self.inflate(&TAIL, out, max_bytes)?;
        if !self.keeps_context {
            self.stream = None;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DeflateConfig;

    fn parameters(offer: &str, context_takeover: bool) -> DeflateParameters {
        let config = DeflateConfig {
            context_takeover,
            ..DeflateConfig::default()
        };
        let offer = format!("permessage-deflate{offer}");
        let agreed = DeflateParameters::negotiate([offer.as_str()], &config);
        agreed.unwrap().unwrap()
    }

    fn inflated(inflater: &mut Inflater, payload: &[u8]) -> Result<Vec<u8>, Close> {
        let mut out = BytesMut::new();
        inflater.inflate(payload, &mut out, 1 << 20)?;
        inflater.finish(&mut out, 1 << 20)?;
        Ok(out.to_vec())
    }

    #[test]
    fn rfc7692_7_2_3_the_examples_inflate() {
        let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        let shared_window = [0xf2, 0x00, 0x11, 0x00, 0x00];
        let stored = [
            0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00,
        ];
        let final_block = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
        let two_blocks = [
            0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00,
        ];
        let mut keeping = Inflater::new(&parameters("", true));
        for payload in [
            &hello[..],
            &shared_window,
            &stored,
            &two_blocks,
            &final_block,
        ] {
            assert_eq!(inflated(&mut keeping, payload).unwrap(), b"Hello");
        }
        assert_eq!(inflated(&mut keeping, &[0]).unwrap(), b"");
        let mut forgetting = Inflater::new(&parameters("", false));
        assert_eq!(inflated(&mut forgetting, &hello).unwrap(), b"Hello");
        assert_eq!(
            inflated(&mut forgetting, &shared_window)
                .unwrap_err()
                .code(),
            1007
        );
    }

    #[test]
    fn what_is_deflated_inflates_in_every_window_and_context() {
        let long: Vec<u8> = (0..200_000u32)
            .flat_map(|n| n.wrapping_mul(n).to_be_bytes())
            .collect();
        for offer in [
            "",
            "; server_max_window_bits=9",
            "; server_max_window_bits=15",
        ] {
            for takeover in [false, true] {
                let parameters = parameters(offer, takeover);
                let mut deflater = Deflater::new(&parameters, 6);
                let mut inflater = Inflater::new(&parameters);
                for message in [&b"Hello"[..], b"Hello", b"", &long[..65_536], b"x"] {
                    let payload = deflater.deflate(message);
                    assert!(!payload.ends_with(&TAIL));
                    assert_eq!(
                        inflated(&mut inflater, &payload).unwrap(),
                        message,
                        "{offer}"
                    );
                }
                assert_eq!(deflater.stream.is_some(), takeover);
            }
        }
    }

    #[test]
    fn a_bomb_is_stopped_at_the_limit() {
        let parameters = parameters("", false);
        let bomb = Deflater::new(&parameters, 9).deflate(&vec![0; 8 << 20]);
        assert!(bomb.len() < 16 << 10);
        let mut out = BytesMut::new();
        let stopped = Inflater::new(&parameters).inflate(&bomb, &mut out, 1 << 20);
        assert_eq!(stopped.unwrap_err().code(), 1009);
        assert!(out.len() <= 1 << 20);
    }

    #[test]
    fn what_is_no_deflate_data_is_1007() {
        let mut inflater = Inflater::new(&parameters("", false));
        // A block of the reserved type.
        assert_eq!(
            inflated(&mut inflater, &[0xff; 8]).unwrap_err().code(),
            1007
        );
    }
}
