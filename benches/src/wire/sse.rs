//! Server-Sent Events as a client: opens a stream, and counts events by their `data` lines.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};

use anyhow::{Result, ensure};

const MARK: &[u8] = b"\ndata:";

/// Opens a stream and reads the head of the response.
///
/// # Errors
///
/// If the server does not answer with a stream.
pub fn connect(address: SocketAddr, path: &str) -> Result<TcpStream> {
    let mut stream = super::connect(address)?;
    let fields = [("Accept", "text/event-stream")];
    stream.write_all(&super::http::request("GET", path, &fields, None))?;
    let head = super::read_until(&mut stream, b"\r\n\r\n")?;
    ensure!(
        head.starts_with(b"HTTP/1.1 200"),
        "no event stream: {}",
        String::from_utf8_lossy(&head)
    );
    Ok(stream)
}

/// Counts events of one stream. Each has one `data` line, as records in JSON have.
#[derive(Debug, Default)]
pub struct Events {
    tail: Vec<u8>,
}

impl Events {
    /// Counts the events that begin in these bytes.
    pub fn feed(&mut self, bytes: &[u8]) -> u64 {
        let mut seam = std::mem::take(&mut self.tail);
        let kept = seam.len();
        seam.extend_from_slice(&bytes[..bytes.len().min(MARK.len() - 1)]);
        // A mark that begins in the old bytes ends in the new ones.
        let across = memchr::memmem::find(&seam, MARK)
            .filter(|at| *at < kept)
            .is_some();
        let inside = memchr::memmem::find_iter(bytes, MARK).count();
        if bytes.len() >= MARK.len() - 1 {
            seam.clear();
            seam.extend_from_slice(&bytes[bytes.len() - (MARK.len() - 1)..]);
        } else {
            let cut = seam.len().saturating_sub(MARK.len() - 1);
            seam.drain(..cut);
        }
        self.tail = seam;
        inside as u64 + u64::from(across)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_counts_once_wherever_the_bytes_are_cut() {
        let text = b"id: 1\ndata: {}\n\nid: 2\ndata: {}\n\n";
        for cut in 0..text.len() {
            let mut events = Events::default();
            assert_eq!(
                events.feed(&text[..cut]) + events.feed(&text[cut..]),
                2,
                "cut at {cut}"
            );
        }
        let mut events = Events::default();
        let single: u64 = text.chunks(1).map(|byte| events.feed(byte)).sum();
        assert_eq!(single, 2);
    }
}
