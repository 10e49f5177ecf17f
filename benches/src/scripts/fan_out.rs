//! One publisher, many subscribers; an operation is one delivery to one subscriber.

use std::collections::VecDeque;
use std::net::TcpStream;
use std::time::Instant;

use anyhow::{Context as _, Result};

use crate::load::{Net, Script, Tally};
use crate::wire::mqtt::{self, Frame, Qos};
use crate::wire::{http, sse, websocket};

/// How one subscriber counts its messages.
pub enum Reader {
    /// MQTT; QoS 1 is acknowledged.
    Mqtt(mqtt::Frames),
    /// WebSocket text frames.
    WebSocket(websocket::Frames),
    /// Server-Sent Events.
    Sse(sse::Events),
}

impl Reader {
    /// Messages in these bytes; what must be answered is appended to `answer`.
    fn feed(&mut self, bytes: &[u8], answer: &mut Vec<u8>) -> Result<u64> {
        match self {
            Self::Mqtt(frames) => {
                let mut count = 0;
                frames.feed(bytes, |frame| match frame {
                    Frame::Publish => count += 1,
                    Frame::PublishAcknowledged(id) => {
                        count += 1;
                        answer.extend(mqtt::puback(id));
                    }
                    Frame::PubAck | Frame::Other(_) => {}
                })?;
                Ok(count)
            }
            Self::WebSocket(frames) => frames.feed(bytes),
            Self::Sse(events) => Ok(events.feed(bytes)),
        }
    }
}

/// How messages are sent.
pub enum Publisher {
    /// PUBLISH on one connection.
    Mqtt {
        /// The connection.
        stream: TcpStream,
        /// Topic of all messages.
        topic: String,
        /// Payload of all messages.
        payload: Vec<u8>,
        /// QoS of all messages.
        qos: Qos,
    },
    /// Requests over HTTP/1.1, one on the way on each connection.
    Http {
        /// The connections.
        streams: Vec<TcpStream>,
        /// Sent in turn.
        requests: Vec<Vec<u8>>,
    },
}

enum Sending {
    Mqtt {
        packet: Vec<u8>,
        identifier_at: Option<usize>,
        identifier: u16,
        frames: mqtt::Frames,
    },
    Http {
        requests: Vec<Vec<u8>>,
        next: usize,
        free: Vec<usize>,
        responses: Vec<http::Responses>,
    },
}

/// A publisher that keeps `window` messages on the way to its subscribers.
pub struct FanOut {
    sending: Sending,
    publishers: usize,
    readers: Vec<Reader>,
    received: Vec<u64>,
    window: u64,
    published: u64,
    deliveries: u64,
    /// When the messages from number `first` on were sent.
    sent: VecDeque<Instant>,
    first: u64,
    answer: Vec<u8>,
    tally: Tally,
}

impl FanOut {
    /// Adds the publisher and the subscribed connections to the network, which must be empty.
    ///
    /// # Errors
    ///
    /// If the operating system refuses a socket.
    pub fn new(
        net: &mut Net,
        publisher: Publisher,
        subscribers: Vec<(TcpStream, Reader)>,
        window: u64,
    ) -> Result<Self> {
        let sending = Sending::new(net, publisher)?;
        let publishers = net.len();
        let mut readers = Vec::new();
        for (stream, reader) in subscribers {
            net.add(stream)?;
            readers.push(reader);
        }
        Ok(Self {
            sending,
            publishers,
            received: vec![0; readers.len()],
            readers,
            window,
            published: 0,
            deliveries: 0,
            sent: VecDeque::new(),
            first: 0,
            answer: Vec::new(),
            tally: Tally::default(),
        })
    }

    fn publish(&mut self, net: &mut Net) {
        let subscribers = self.readers.len() as u64;
        while self.published - self.deliveries / subscribers < self.window && self.sending.send(net)
        {
            self.published += 1;
            self.sent.push_back(Instant::now());
        }
    }

    fn count(&mut self, subscriber: usize, messages: u64) {
        for _ in 0..messages {
            let number = self.received[subscriber];
            self.received[subscriber] += 1;
            self.deliveries += 1;
            // More than was published is initial state of a subscription that came late.
            let sent = number
                .checked_sub(self.first)
                .and_then(|index| self.sent.get(usize::try_from(index).ok()?));
            if let Some(sent) = sent {
                self.tally.complete(*sent);
            }
        }
        if self.sent.len() as u64 > 4 * self.window + 1024 {
            let slowest = self.received.iter().copied().min().unwrap_or(0);
            while self.first < slowest && self.sent.pop_front().is_some() {
                self.first += 1;
            }
        }
    }
}

impl Sending {
    fn new(net: &mut Net, publisher: Publisher) -> Result<Self> {
        Ok(match publisher {
            Publisher::Mqtt {
                stream,
                topic,
                payload,
                qos,
            } => {
                net.add(stream)?;
                let packet = mqtt::publish(&topic, &payload, qos);
                let identifier_at =
                    (qos == Qos::One).then(|| mqtt::packet_identifier_at(&packet, &topic));
                Self::Mqtt {
                    packet,
                    identifier_at,
                    identifier: 0,
                    frames: mqtt::Frames::default(),
                }
            }
            Publisher::Http { streams, requests } => {
                let (mut free, mut responses) = (Vec::new(), Vec::new());
                for stream in streams {
                    free.push(net.add(stream)?);
                    responses.push(http::Responses::default());
                }
                Self::Http {
                    requests,
                    next: 0,
                    free,
                    responses,
                }
            }
        })
    }

    /// Sends one message if a connection is free.
    fn send(&mut self, net: &mut Net) -> bool {
        match self {
            Self::Mqtt {
                packet,
                identifier_at,
                identifier,
                ..
            } => {
                if let Some(at) = *identifier_at {
                    *identifier = identifier.checked_add(1).unwrap_or(1);
                    packet[at..at + 2].copy_from_slice(&identifier.to_be_bytes());
                }
                net.send(0, packet);
                true
            }
            Self::Http {
                requests,
                next,
                free,
                ..
            } => {
                let Some(connection) = free.pop() else {
                    return false;
                };
                net.send(connection, &requests[*next]);
                *next = (*next + 1) % requests.len();
                true
            }
        }
    }

    fn receive(&mut self, from: usize, bytes: &[u8]) -> Result<()> {
        match self {
            Self::Mqtt { frames, .. } => frames.feed(bytes, |_| ()),
            Self::Http {
                free, responses, ..
            } => {
                let responses = responses.get_mut(from).context("a publisher of ours")?;
                for _ in 0..responses.feed(bytes)? {
                    free.push(from);
                }
                Ok(())
            }
        }
    }
}

impl Script for FanOut {
    fn begin(&mut self, net: &mut Net) -> Result<()> {
        self.publish(net);
        Ok(())
    }

    fn receive(&mut self, from: usize, bytes: &[u8], net: &mut Net) -> Result<()> {
        if from < self.publishers {
            self.sending.receive(from, bytes)?;
        } else {
            let subscriber = from - self.publishers;
            // Sockets without a reader are subscribers that are not to receive anything.
            let Some(reader) = self.readers.get_mut(subscriber) else {
                return Ok(());
            };
            let messages = reader.feed(bytes, &mut self.answer)?;
            if !self.answer.is_empty() {
                net.send(from, &self.answer);
                self.answer.clear();
            }
            self.count(subscriber, messages);
        }
        self.publish(net);
        Ok(())
    }

    fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }
}
