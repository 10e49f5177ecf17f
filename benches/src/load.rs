//! The load generator: many sockets, one thread, one epoll; what to say is a [`Script`]'s business.
//!
//! Input of one wake-up is handed to the script socket by socket; what the script sends meanwhile leaves
//! in one write per socket at the end of the wake-up, as a good client would do it.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use hdrhistogram::Histogram;
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;

use crate::cpu;
use crate::measure::Sample;

/// Longest time without any progress before a measurement is given up.
const STALL: Duration = Duration::from_secs(20);
/// Input read from one socket in one turn, in bytes.
const READ_BYTES: usize = 256 * 1024;

/// What the clients of one measurement say and count. Sockets are known by their index.
pub trait Script {
    /// Sends the first messages.
    ///
    /// # Errors
    ///
    /// If the scenario cannot begin.
    fn begin(&mut self, net: &mut Net) -> Result<()>;

    /// Takes what socket `from` received.
    ///
    /// # Errors
    ///
    /// If the server answered what it must not.
    fn receive(&mut self, from: usize, bytes: &[u8], net: &mut Net) -> Result<()>;

    /// When [`Self::handle_due`] is to be called next.
    fn due(&self) -> Option<Instant> {
        None
    }

    /// Sends what is due.
    ///
    /// # Errors
    ///
    /// If the scenario cannot go on.
    fn handle_due(&mut self, _net: &mut Net) -> Result<()> {
        Ok(())
    }

    /// Operations and latencies counted so far.
    fn tally(&mut self) -> &mut Tally;
}

/// What a script has counted.
#[derive(Debug)]
pub struct Tally {
    /// Operations that are complete.
    pub operations: u64,
    /// Time of each operation in nanoseconds: from when it was due in an open loop, from when it was
    /// sent in a closed one.
    pub latency: Histogram<u64>,
}

impl Default for Tally {
    fn default() -> Self {
        let latency = Histogram::new_with_bounds(100, 60_000_000_000, 3);
        Self {
            operations: 0,
            latency: latency.expect("the bounds are in order and three digits are few"),
        }
    }
}

impl Tally {
    /// Counts one operation that began at `start`.
    pub fn complete(&mut self, start: Instant) {
        self.operations += 1;
        self.latency
            .saturating_record(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }
}

struct Socket {
    stream: TcpStream,
    outbound: Vec<u8>,
    written: usize,
    dirty: bool,
    waits_for_room: bool,
}

/// The sockets of one measurement.
pub struct Net {
    epoll: OwnedFd,
    sockets: Vec<Socket>,
    dirty: Vec<usize>,
    buffer: Vec<u8>,
}

impl Net {
    /// No sockets yet.
    ///
    /// # Errors
    ///
    /// If the operating system has no more file descriptors.
    pub fn new() -> Result<Self> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC).context("epoll_create")?,
            sockets: Vec::new(),
            dirty: Vec::new(),
            buffer: vec![0; READ_BYTES],
        })
    }

    /// Adds a connected socket and returns its index.
    ///
    /// # Errors
    ///
    /// If the operating system refuses.
    pub fn add(&mut self, stream: TcpStream) -> Result<usize> {
        let index = self.sockets.len();
        stream.set_nodelay(true)?;
        stream.set_read_timeout(None)?;
        stream.set_nonblocking(true)?;
        let data = epoll::EventData::new_u64(index as u64);
        epoll::add(&self.epoll, &stream, data, epoll::EventFlags::IN).context("epoll_ctl")?;
        self.sockets.push(Socket {
            stream,
            outbound: Vec::new(),
            written: 0,
            dirty: false,
            waits_for_room: false,
        });
        Ok(index)
    }

    /// How many sockets there are.
    pub fn len(&self) -> usize {
        self.sockets.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// Queues bytes on a socket; they leave at the end of this turn.
    pub fn send(&mut self, to: usize, bytes: &[u8]) {
        let socket = &mut self.sockets[to];
        socket.outbound.extend_from_slice(bytes);
        if !socket.dirty {
            socket.dirty = true;
            self.dirty.push(to);
        }
    }

    fn flush(&mut self) -> Result<()> {
        for index in std::mem::take(&mut self.dirty) {
            self.sockets[index].dirty = false;
            self.write(index)?;
        }
        Ok(())
    }

    fn write(&mut self, index: usize) -> Result<()> {
        let socket = &mut self.sockets[index];
        while socket.written < socket.outbound.len() {
            match socket.stream.write(&socket.outbound[socket.written..]) {
                Ok(written) => socket.written += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("the server closed a connection"),
            }
        }
        let waits = socket.written < socket.outbound.len();
        if !waits {
            socket.outbound.clear();
            socket.written = 0;
        }
        if waits != socket.waits_for_room {
            socket.waits_for_room = waits;
            let mut flags = epoll::EventFlags::IN;
            flags.set(epoll::EventFlags::OUT, waits);
            let data = epoll::EventData::new_u64(index as u64);
            epoll::modify(&self.epoll, &socket.stream, data, flags).context("epoll_ctl")?;
        }
        Ok(())
    }

    /// Waits at most `limit` and hands all input to the script. Whether there was any.
    fn turn(&mut self, script: &mut impl Script, limit: Duration) -> Result<bool> {
        let mut events = [epoll::Event {
            flags: epoll::EventFlags::empty(),
            data: epoll::EventData::new_u64(0),
        }; 256];
        let limit = Timespec::try_from(limit).context("a wait is shorter than centuries")?;
        let ready = match epoll::wait(&self.epoll, &mut events[..], Some(&limit)) {
            Ok(ready) => ready,
            Err(rustix::io::Errno::INTR) => 0,
            Err(error) => return Err(error).context("epoll_wait"),
        };
        let mut buffer = std::mem::take(&mut self.buffer);
        let result: Result<()> = events[..ready].iter().try_for_each(|event| {
            let index = usize::try_from(event.data.u64()).expect("an index of ours");
            let flags = event.flags;
            if flags.contains(epoll::EventFlags::OUT) {
                self.write(index)?;
            }
            if flags
                .intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR)
            {
                self.read(index, &mut buffer, script)?;
            }
            Ok(())
        });
        self.buffer = buffer;
        result?;
        self.flush()?;
        Ok(ready > 0)
    }

    fn read(&mut self, index: usize, buffer: &mut [u8], script: &mut impl Script) -> Result<()> {
        match self.sockets[index].stream.read(buffer) {
            Ok(0) => bail!("the server closed connection {index}"),
            Ok(length) => script.receive(index, &buffer[..length], self),
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                Ok(())
            }
            Err(error) => Err(error).with_context(|| format!("connection {index}")),
        }
    }

    /// Reads and drops what servers send on their own, until it is silent for `quiet`.
    ///
    /// # Errors
    ///
    /// If a connection ends, or it is never silent.
    pub fn settle(&mut self, quiet: Duration) -> Result<()> {
        let start = Instant::now();
        while self.turn(&mut Silence::default(), quiet)? {
            if start.elapsed() > STALL {
                bail!("the server does not stop sending");
            }
        }
        Ok(())
    }
}

/// Takes input and says nothing.
#[derive(Default)]
struct Silence(Tally);

impl Script for Silence {
    fn begin(&mut self, _net: &mut Net) -> Result<()> {
        Ok(())
    }
    fn receive(&mut self, _from: usize, _bytes: &[u8], _net: &mut Net) -> Result<()> {
        Ok(())
    }
    fn tally(&mut self) -> &mut Tally {
        &mut self.0
    }
}

/// How long a measurement takes.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    /// Load that is not counted, first.
    pub warm_up: Duration,
    /// Load that is counted.
    pub measured: Duration,
}

/// Runs the script against the server with this process id for the span.
///
/// # Errors
///
/// If a connection ends, the server answers what it must not, or nothing comes for 20 seconds.
pub fn run(net: &mut Net, script: &mut impl Script, span: Span, server: u32) -> Result<Sample> {
    script.begin(net)?;
    net.flush()?;
    drive(net, script, |_, start| start.elapsed() >= span.warm_up)?;
    script.tally().latency.reset();
    let operations = script.tally().operations;
    let (server_before, client_before) = (cpu::time_of(server)?, cpu::time_of_this_thread()?);
    let start = Instant::now();
    drive(net, script, |_, start| start.elapsed() >= span.measured)?;
    let elapsed = start.elapsed();
    Ok(Sample {
        operations: script.tally().operations - operations,
        elapsed,
        server: cpu::time_of(server)?.saturating_sub(server_before),
        client: cpu::time_of_this_thread()?.saturating_sub(client_before),
        latency: script.tally().latency.clone(),
    })
}

/// Runs the script until it has counted so many operations more; it has begun when `begin` is false.
///
/// # Errors
///
/// As [`run`].
pub fn run_operations(
    net: &mut Net,
    script: &mut impl Script,
    count: u64,
    begin: bool,
) -> Result<()> {
    if begin {
        script.begin(net)?;
        net.flush()?;
    }
    let goal = script.tally().operations + count;
    drive(net, script, |operations, _| operations >= goal)
}

fn drive(
    net: &mut Net,
    script: &mut impl Script,
    done: impl Fn(u64, Instant) -> bool,
) -> Result<()> {
    let start = Instant::now();
    let (mut progress, mut seen) = (start, script.tally().operations);
    while !done(script.tally().operations, start) {
        let mut limit = Duration::from_millis(20);
        if let Some(due) = script.due() {
            limit = limit.min(due.saturating_duration_since(Instant::now()));
        }
        net.turn(script, limit)?;
        if script.due().is_some_and(|due| due <= Instant::now()) {
            script.handle_due(net)?;
            net.flush()?;
        }
        if script.tally().operations != seen {
            (progress, seen) = (Instant::now(), script.tally().operations);
        } else if progress.elapsed() > STALL {
            bail!(
                "nothing completed for {} s: {seen} operations so far",
                STALL.as_secs()
            );
        }
    }
    Ok(())
}
