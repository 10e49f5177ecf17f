//! One message there and back on each connection.

use std::net::TcpStream;
use std::time::Instant;

use anyhow::Result;

use crate::load::{Net, Script, Tally};
use crate::wire::websocket::Frames;

enum Reader {
    WebSocket(Frames),
    Bytes { length: usize, seen: usize },
}

/// Connections that send a message and wait for its return.
pub struct Echo {
    message: Vec<u8>,
    readers: Vec<(Reader, Instant)>,
    tally: Tally,
}

impl Echo {
    /// Upgraded connections to a server that returns messages; `message` is a whole frame.
    ///
    /// # Errors
    ///
    /// If the operating system refuses a socket.
    pub fn websocket(net: &mut Net, streams: Vec<TcpStream>, message: Vec<u8>) -> Result<Self> {
        Self::new(net, streams, message, |_| {
            Reader::WebSocket(Frames::default())
        })
    }

    /// Connections to a server that returns bytes.
    ///
    /// # Errors
    ///
    /// If the operating system refuses a socket.
    pub fn bytes(net: &mut Net, streams: Vec<TcpStream>, message: Vec<u8>) -> Result<Self> {
        Self::new(net, streams, message, |length| Reader::Bytes {
            length,
            seen: 0,
        })
    }

    fn new(
        net: &mut Net,
        streams: Vec<TcpStream>,
        message: Vec<u8>,
        reader: impl Fn(usize) -> Reader,
    ) -> Result<Self> {
        let mut readers = Vec::new();
        for stream in streams {
            net.add(stream)?;
            readers.push((reader(message.len()), Instant::now()));
        }
        Ok(Self {
            message,
            readers,
            tally: Tally::default(),
        })
    }

    fn send(&mut self, on: usize, net: &mut Net) {
        self.readers[on].1 = Instant::now();
        net.send(on, &self.message);
    }
}

impl Script for Echo {
    fn begin(&mut self, net: &mut Net) -> Result<()> {
        for index in 0..self.readers.len() {
            self.send(index, net);
        }
        Ok(())
    }

    fn receive(&mut self, from: usize, bytes: &[u8], net: &mut Net) -> Result<()> {
        let (reader, sent) = &mut self.readers[from];
        let messages = match reader {
            Reader::WebSocket(frames) => frames.feed(bytes)?,
            Reader::Bytes { length, seen } => {
                *seen += bytes.len();
                let whole = *seen / *length;
                *seen %= *length;
                whole as u64
            }
        };
        for _ in 0..messages {
            self.tally.complete(*sent);
        }
        if messages > 0 {
            self.send(from, net);
        }
        Ok(())
    }

    fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }
}
