//! Publishers and subscribers in pairs, each pair with a topic of its own; an operation is one message.

use std::net::TcpStream;
use std::time::Instant;

use anyhow::{Context as _, Result};

use crate::load::{Net, Script, Tally};
use crate::wire::mqtt::{self, Frame, Frames, Qos};

struct Pair {
    packet: Vec<u8>,
    identifier_at: Option<usize>,
    identifier: u16,
    sent: Instant,
    frames: Frames,
}

/// MQTT pairs with one message on the way each.
pub struct Pairs {
    pairs: Vec<Pair>,
    tally: Tally,
}

impl Pairs {
    /// Adds the connections of publishers, in order, and those subscribed to their topics.
    ///
    /// # Errors
    ///
    /// If the operating system refuses a socket.
    pub fn new(
        net: &mut Net,
        publishers: Vec<(TcpStream, String)>,
        subscribers: Vec<TcpStream>,
        payload: &[u8],
        qos: Qos,
    ) -> Result<Self> {
        let mut pairs = Vec::new();
        for (stream, topic) in publishers {
            net.add(stream)?;
            let packet = mqtt::publish(&topic, payload, qos);
            pairs.push(Pair {
                identifier_at: (qos == Qos::One)
                    .then(|| mqtt::packet_identifier_at(&packet, &topic)),
                packet,
                identifier: 0,
                sent: Instant::now(),
                frames: Frames::default(),
            });
        }
        for stream in subscribers {
            net.add(stream)?;
        }
        Ok(Self {
            pairs,
            tally: Tally::default(),
        })
    }

    fn publish(&mut self, index: usize, net: &mut Net) {
        let pair = &mut self.pairs[index];
        if let Some(at) = pair.identifier_at {
            pair.identifier = pair.identifier.checked_add(1).unwrap_or(1);
            pair.packet[at..at + 2].copy_from_slice(&pair.identifier.to_be_bytes());
        }
        pair.sent = Instant::now();
        net.send(index, &pair.packet);
    }
}

impl Script for Pairs {
    fn begin(&mut self, net: &mut Net) -> Result<()> {
        for index in 0..self.pairs.len() {
            self.publish(index, net);
        }
        Ok(())
    }

    fn receive(&mut self, from: usize, bytes: &[u8], net: &mut Net) -> Result<()> {
        // Publishers receive acknowledgements alone.
        let Some(index) = from.checked_sub(self.pairs.len()) else {
            return Ok(());
        };
        let pair = self.pairs.get_mut(index).context("a subscriber of ours")?;
        let mut messages = 0;
        pair.frames.feed(bytes, |frame| match frame {
            Frame::Publish => messages += 1,
            Frame::PublishAcknowledged(id) => {
                messages += 1;
                net.send(from, &mqtt::puback(id));
            }
            Frame::PubAck | Frame::Other(_) => {}
        })?;
        for _ in 0..messages {
            self.tally.complete(self.pairs[index].sent);
            self.publish(index, net);
        }
        Ok(())
    }

    fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }
}
