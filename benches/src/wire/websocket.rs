//! WebSocket as a client: the handshake, masked text frames, and where server frames end.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};

use anyhow::{Result, bail, ensure};

/// Upgrades a connection.
///
/// # Errors
///
/// If the server does not switch protocols.
pub fn connect(address: SocketAddr, path: &str) -> Result<TcpStream> {
    let mut stream = super::connect(address)?;
    // The key need not be random here: no cache is between us and the server.
    let fields = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    stream.write_all(&super::http::request("GET", path, &fields, None))?;
    let head = super::read_until(&mut stream, b"\r\n\r\n")?;
    ensure!(
        head.starts_with(b"HTTP/1.1 101"),
        "no upgrade: {}",
        String::from_utf8_lossy(&head)
    );
    Ok(stream)
}

/// A masked text frame of at most 125 bytes.
pub fn text(payload: &[u8]) -> Vec<u8> {
    const KEY: [u8; 4] = [0x12, 0x34, 0x56, 0x78];
    let length = u8::try_from(payload.len()).expect("payloads in cases are short");
    assert!(length < 126, "payloads in cases are short");
    let mut frame = vec![0x81, 0x80 | length];
    frame.extend(KEY);
    frame.extend(
        payload
            .iter()
            .zip(KEY.iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
    frame
}

/// Counts data frames of one connection.
#[derive(Debug, Default)]
pub struct Frames {
    header: Vec<u8>,
    body_left: usize,
}

impl Frames {
    /// Counts the text and binary frames that end in these bytes.
    ///
    /// # Errors
    ///
    /// If the server closes the connection by a close frame.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<u64> {
        let mut ended = 0;
        while !bytes.is_empty() {
            if self.body_left > 0 {
                let taken = self.body_left.min(bytes.len());
                self.body_left -= taken;
                bytes = &bytes[taken..];
                ended += u64::from(self.body_left == 0);
                continue;
            }
            self.header.push(bytes[0]);
            bytes = &bytes[1..];
            let Some(length) = length(&self.header) else {
                continue;
            };
            let opcode = self.header[0] & 0x0f;
            self.header.clear();
            match opcode {
                0..=2 if length > 0 => self.body_left = length,
                0..=2 => ended += 1,
                opcode => bail!("the server sent a control frame, opcode {opcode}"),
            }
        }
        Ok(ended)
    }
}

/// The payload length once the header is complete; servers do not mask.
fn length(header: &[u8]) -> Option<usize> {
    match (header.get(1)? & 0x7f, header.len()) {
        (126, 4) => Some(usize::from(u16::from_be_bytes([header[2], header[3]]))),
        (127, 10) => usize::try_from(u64::from_be_bytes(header[2..10].try_into().ok()?)).ok(),
        (126 | 127, _) => None,
        (short, _) => Some(usize::from(short)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_end_at_their_length_wherever_the_bytes_are_cut() {
        let mut bytes = vec![0x81, 2, b'h', b'i', 0x82, 126, 0, 200];
        bytes.extend([7; 200]);
        bytes.extend([0x81, 0]);
        for cut in 0..bytes.len() {
            let mut frames = Frames::default();
            let ended = frames.feed(&bytes[..cut]).unwrap() + frames.feed(&bytes[cut..]).unwrap();
            assert_eq!(ended, 3, "cut at {cut}");
        }
    }
}
