//! HTTP/1.1 requests over connections that are kept: closed loop with a window, or open loop with a rate.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::load::{Net, Script, Tally};
use crate::wire;
use crate::wire::http::Responses;

/// When the next request is sent.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// As soon as a response has come, with so many requests on the way on each connection.
    Closed(usize),
    /// This many requests a second over all connections. One that finds no free connection waits, and
    /// its time counts from when it was due, so that a stalled server is not forgiven.
    Open(f64),
}

struct Connection {
    responses: Responses,
    /// When each request on the way was due.
    started: VecDeque<Instant>,
}

/// Requests that are counted, and optionally writers beside them that are not.
pub struct HttpLoad {
    requests: Vec<Vec<u8>>,
    next: usize,
    pace: Pace,
    counted: usize,
    background: Vec<Vec<u8>>,
    next_background: usize,
    connections: Vec<Connection>,
    due: Option<Instant>,
    overdue: VecDeque<Instant>,
    tally: Tally,
}

impl HttpLoad {
    /// Opens connections; the requests are sent in turn, over and over.
    ///
    /// # Errors
    ///
    /// If the server does not accept them.
    pub fn open(
        net: &mut Net,
        address: SocketAddr,
        connections: usize,
        requests: Vec<Vec<u8>>,
        pace: Pace,
    ) -> Result<Self> {
        ensure!(!requests.is_empty(), "a load without requests");
        let mut load = Self {
            requests,
            next: 0,
            pace,
            counted: connections,
            background: Vec::new(),
            next_background: 0,
            connections: Vec::new(),
            due: None,
            overdue: VecDeque::new(),
            tally: Tally::default(),
        };
        load.connect(net, address, connections)?;
        Ok(load)
    }

    /// Adds connections whose requests follow each other without being counted.
    ///
    /// # Errors
    ///
    /// If the server does not accept them.
    pub fn with_background(
        mut self,
        net: &mut Net,
        address: SocketAddr,
        connections: usize,
        requests: Vec<Vec<u8>>,
    ) -> Result<Self> {
        self.background = requests;
        self.connect(net, address, connections)?;
        Ok(self)
    }

    fn connect(&mut self, net: &mut Net, address: SocketAddr, count: usize) -> Result<()> {
        for _ in 0..count {
            let index = net.add(wire::connect(address)?)?;
            ensure!(
                index == self.connections.len(),
                "HTTP has the network to itself"
            );
            self.connections.push(Connection {
                responses: Responses::default(),
                started: VecDeque::new(),
            });
        }
        Ok(())
    }

    fn send(&mut self, on: usize, due: Instant, net: &mut Net) {
        let (requests, next) = if on < self.counted {
            (&self.requests, &mut self.next)
        } else {
            (&self.background, &mut self.next_background)
        };
        net.send(on, &requests[*next]);
        *next = (*next + 1) % requests.len();
        self.connections[on].started.push_back(due);
    }

    fn free(&self) -> Option<usize> {
        (0..self.counted).find(|&index| self.connections[index].started.is_empty())
    }
}

impl Script for HttpLoad {
    fn begin(&mut self, net: &mut Net) -> Result<()> {
        let now = Instant::now();
        match self.pace {
            Pace::Closed(window) => {
                for index in 0..self.counted {
                    for _ in 0..window {
                        self.send(index, now, net);
                    }
                }
            }
            Pace::Open(_) => self.due = Some(now),
        }
        for index in self.counted..self.connections.len() {
            self.send(index, now, net);
        }
        Ok(())
    }

    fn receive(&mut self, from: usize, bytes: &[u8], net: &mut Net) -> Result<()> {
        for _ in 0..self.connections[from].responses.feed(bytes)? {
            let started = self.connections[from].started.pop_front();
            let started = started.context("a response that nobody asked for")?;
            if from >= self.counted {
                self.send(from, Instant::now(), net);
                continue;
            }
            self.tally.complete(started);
            match self.pace {
                Pace::Closed(_) => self.send(from, Instant::now(), net),
                Pace::Open(_) => {
                    if let Some(due) = self.overdue.pop_front() {
                        self.send(from, due, net);
                    }
                }
            }
        }
        Ok(())
    }

    fn due(&self) -> Option<Instant> {
        self.due
    }

    fn handle_due(&mut self, net: &mut Net) -> Result<()> {
        let Pace::Open(rate) = self.pace else {
            return Ok(());
        };
        let now = Instant::now();
        while let Some(due) = self.due.filter(|due| *due <= now) {
            match self.free() {
                Some(index) => self.send(index, due, net),
                None => self.overdue.push_back(due),
            }
            self.due = Some(due + Duration::from_secs_f64(1.0 / rate));
        }
        Ok(())
    }

    fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }
}
